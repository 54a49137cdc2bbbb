//! What agents and enforcement points reach.

use oauth::consent::Pushed;
use oauth::device::Told;
use oauth::token_endpoint::TokenResponse;
use serde_json::{Value, json};

use super::merged;
use crate::openapi::{About, Field, JSON, Operation, needed, optional};

/// By what the holder of a token is shown.
const DPOP: &str = "dpop";

/// The whole.
pub(crate) fn about() -> About {
    About {
        title: "Chancery: agents",
        description: "The enforcement point for MCP, the token service, and the transmitter of shared \
                      signals. Requests for tokens are authenticated by a client assertion in the \
                      form, and carry a proof of possession (RFC 9449) in the header `DPoP`.",
        schemes: merged(
            json!({
                DPOP: {
                    "type": "http", "scheme": "DPoP",
                    "description": "A token of ours, bound to a key (RFC 9449).",
                },
            }),
            super::receivers::schemes(),
        ),
    }
}

/// A message of MCP.
pub(crate) fn mcp_post() -> Operation {
    let message = json!({
        "type": "object",
        "properties": { "jsonrpc": { "const": "2.0" }, "method": { "type": "string" } },
        "required": ["jsonrpc"],
    });
    let unread = Operation::new("mcp", "Sends one message of MCP to a server (streamable HTTP)")
        .described("Each call is decided and recorded before the server sees it (`docs/mcp.md`).")
        .shown_by(DPOP)
        .takes_body(JSON, message)
        .answers_with((200, "the answer"), JSON, answer())
        .answers_with((200, "a stream of messages"), "text/event-stream", json!({}))
        .answers(202, "taken; there is no answer to it")
        .answers_text(406, "`Accept` does not list both kinds of answers")
        .answers_text(415, "the content type is not JSON, or the body is encoded");
    let answered = [
        (400, "the message cannot be read, or does not say what its headers say"),
        (401, "no token, or none for this server; also where there is no such server"),
        (403, "it is not permitted to this token"),
        (404, "there is no such session"),
        (500, "something is broken here"),
        (503, "too much is under way, or something that is needed is down"),
    ];
    body_unread(answered.into_iter().fold(unread, maybe_answered))
}

/// The end of a session of MCP.
pub(crate) fn mcp_delete() -> Operation {
    let operation = Operation::new("mcp_end", "Ends a session of MCP (2025 revisions)")
        .shown_by(DPOP)
        .answers(204, "it is ended")
        .answers(405, "this revision of MCP has no sessions");
    let answered = [
        (400, "what names the session cannot be read"),
        (401, "no token, or none for this server"),
        (404, "there is no such session"),
        (503, "too much is under way, or something that is needed is down"),
    ];
    answered.into_iter().fold(operation, maybe_answered)
}

/// A token.
pub(crate) fn token() -> Operation {
    form("token", "Issues a token (RFC 6749, RFC 8693)", &TOKEN)
        .described(
            "`docs/instances.md`, `docs/delegation.md`, `docs/consent.md`, `docs/transmitting.md`; its \
             errors: `docs/token-errors.md`.",
        )
        .tells::<TokenResponse>(200, "the token")
}

/// What an agent asks a person for.
pub(crate) fn push() -> Operation {
    form("par", "Takes what an agent asks a person for (RFC 9126)", &[DETAILS])
        .described("`docs/consent.md`.")
        .tells::<Pushed>(201, "where the person answers")
}

/// What a device asks a person for.
pub(crate) fn device() -> Operation {
    let fields = [
        needed("client_id", "the agent for whose instances it would vouch"),
        needed("device_name", "what it calls itself"),
    ];
    let summary = "Tells a device what became of what it asks (after RFC 8628)";
    let operation = Operation::new("device", summary)
        .described("The proof in `DPoP` is by the key of the device (`docs/enrolment.md`).")
        .takes_form(&fields)
        .tells::<Told>(200, "where a person answers, or who enrolled it");
    refusing(operation)
}

/// The end of a token.
pub(crate) fn revoke() -> Operation {
    let fields = [TOKEN_FIELD, optional("outcome", "`completed`, `failed` or `changed`")];
    form("revoke", "Gives a token up, and with it its task (RFC 7009)", &fields).answers_with(
        (200, "it is given up"),
        JSON,
        json!({ "type": "object" }),
    )
}

/// What a token is.
pub(crate) fn introspect() -> Operation {
    let active = json!({ "type": "boolean" });
    let answer =
        json!({ "type": "object", "properties": { "active": active }, "required": ["active"] });
    form("introspect", "Says what a token is to whom it was issued (RFC 7662)", &[TOKEN_FIELD])
        .answers_with((200, "what it is"), JSON, answer)
}

/// The authorization endpoint.
pub(crate) fn authorize(id: &'static str) -> Operation {
    Operation::new(id, "No authorization endpoint: nobody is sent here").answers_with(
        (400, "no response type is offered"),
        JSON,
        error(),
    )
}

/// The keys of tokens.
pub(crate) fn jwks() -> Operation {
    let set = json!({
        "type": "object", "properties": { "keys": { "type": "array" } }, "required": ["keys"],
    });
    Operation::new("jwks", "The keys that verify tokens (RFC 7517)").answers_with(
        (200, "the keys"),
        JSON,
        set,
    )
}

/// Metadata of the token service.
pub(crate) fn server_metadata() -> Operation {
    Operation::new("server_metadata", "The metadata of the token service (RFC 8414)").answers_with(
        (200, "the metadata"),
        JSON,
        with("issuer"),
    )
}

/// Metadata of a server as a resource.
pub(crate) fn resource_metadata() -> Operation {
    Operation::new("resource_metadata", "The metadata of a server as a resource (RFC 9728)")
        .described("Also of servers that there are not: who may know of one learns it elsewhere.")
        .answers_with((200, "the metadata"), JSON, with("resource"))
        .answers(404, "no server can have this name")
}

const TOKEN_FIELD: Field = needed("token", "the token");

const DETAILS: Field =
    needed("authorization_details", "the one `agent_task`, in a list in JSON (RFC 9396)");

/// How a client shows who it is; every form has these.
const CLIENT: [Field; 3] = [
    optional("client_assertion_type", "what `client_assertion` is (RFC 7521 §4.2)"),
    optional("client_assertion", "the signed word of the client, its trust domain or its device"),
    optional(
        "client_id",
        "the agent, where the assertion does not name it; alone, the URL of the client's document",
    ),
];

/// What a request for a token has beside.
const TOKEN: [Field; 25] = [
    needed("grant_type", "by what it is asked for"),
    optional("resource", "the one server that it is for (RFC 8707)"),
    optional("audience", "the same once more, if anything (RFC 8693 §2.1)"),
    optional(
        "scope",
        "`ssf.read`, `ssf.manage`, or both: it is a receiver of shared signals that asks",
    ),
    optional("purpose", "what for, where the agent has several purposes"),
    optional("attempt", "a new value for this renewal"),
    optional("previous_jti", "the id of the token before"),
    optional("renewal_nonce", "the nonce that came with it"),
    optional("voucher", "what the host says of the process"),
    optional("workload_token", "what the platform says of the workload"),
    optional("workload_token_type", "`oidc` or `jwt-svid`"),
    optional("assertion", "the initiation by which the work starts (RFC 7523)"),
    optional("task", "the task that is taken over, whose holder is gone"),
    optional("request_uri", "what a person was asked (RFC 9126)"),
    optional("subject_token", "the holder's own token, or the delegation (RFC 8693)"),
    optional("subject_token_type", "what that is"),
    optional("actor_token", "in which the other agent names its instance"),
    optional("actor_token_type", "what that is"),
    optional("actor_proof", "the proof of possession by which that instance agrees"),
    optional("requested_token_type", "a token, or a delegation"),
    optional("may_act", "who may take the delegation up, in JSON"),
    optional("code", "what a person came back to the client with (RFC 6749 §4.1.3)"),
    optional("redirect_uri", "where they came back"),
    optional("code_verifier", "what only the client knows that sent them (RFC 7636)"),
    optional("refresh_token", "what came with the token before (RFC 6749 §6)"),
];

/// A form of a client of the token service.
fn form(id: &'static str, summary: &'static str, further: &[Field]) -> Operation {
    let mut fields = [&CLIENT[..], further].concat();
    if id == "token" {
        fields.push(Field { is_needed: false, ..DETAILS });
    }
    refusing(Operation::new(id, summary).takes_form(&fields))
}

/// What is answered to a form that is refused.
fn refusing(operation: Operation) -> Operation {
    let refused = [
        (400, "refused, for the reason that `error` says"),
        (401, "the client did not show who it is"),
        (503, "it cannot be decided now"),
    ];
    let refused = refused.into_iter();
    let told = refused.fold(operation, |it, told| it.answers_with(told, JSON, error()));
    body_unread(told).answers_text(503, "too much is under way")
}

/// A body that is not read at all.
fn body_unread(operation: Operation) -> Operation {
    operation
        .answers_text(400, "the body broke off")
        .answers_text(408, "the body did not arrive in time")
        .answers_text(413, "the body is too large")
        .answers_text(503, "too much is under way")
}

/// An answer of JSON-RPC, or none.
fn maybe_answered(operation: Operation, told: (u16, &'static str)) -> Operation {
    operation.answers_with(told, JSON, answer())
}

fn answer() -> Value {
    with("jsonrpc")
}

/// An error (RFC 6749 §5.2).
fn error() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "properties": {
            "error": text,
            "error_description": text,
            "consent_uri": text,
            "request_uri": text,
        },
        "required": ["error"],
    })
}

/// An object with the member `name` and others.
fn with(name: &str) -> Value {
    json!({ "type": "object", "required": [name] })
}
