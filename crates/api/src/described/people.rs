//! What people reach in a browser.

use serde_json::{Value, json};

use crate::openapi::{Operation, needed, optional};

/// By what the session of a browser is shown.
const SESSION: &str = "session";

/// How people show who they are.
pub(crate) fn schemes() -> Value {
    json!({
        SESSION: {
            "type": "apiKey", "in": "cookie", "name": "__Host-chancery-session",
            "description": "Without TLS, on loopback, the cookie is `chancery-session`.",
        },
    })
}

/// Every page: where nobody can log in there is none.
pub(crate) fn always(operation: Operation) -> Operation {
    super::hosted(operation).answers(404, "people cannot log in at this deployment")
}

/// How pages look.
pub(crate) fn style() -> Operation {
    let text = json!({ "type": "string" });
    Operation::new("style", "How pages look").answers_with((200, "a style sheet"), "text/css", text)
}

/// What stands beside the title.
pub(crate) fn icon() -> Operation {
    let text = json!({ "type": "string" });
    let kind = "image/svg+xml";
    Operation::new("icon", "The icon of pages").answers_with((200, "a picture"), kind, text)
}

/// Begins a login.
pub(crate) fn login() -> Operation {
    Operation::new("login", "Begins a login at the organisation's OpenID provider")
        .takes_query(&[
            optional(
                "prompt",
                "`login`: the provider asks who it is, whomever it knows the browser for",
            ),
            optional("to", "the path of the page to come back to"),
        ])
        .answers(303, "to the provider")
        .answers_page(400, "`to` is no page of ours")
        .answers_page(429, "too many logins were begun from there and not finished")
        .answers_page(503, "the provider does not answer, or too many logins were begun")
}

/// Finishes one.
pub(crate) fn callback() -> Operation {
    Operation::new("login_callback", "Finishes a login (OpenID Connect Core 1.0, RFC 9207)")
        .takes_query(&[
            optional("state", "the state that the login was begun with"),
            optional("code", "what is redeemed at the provider"),
            optional("error", "why there is no code"),
            optional("iss", "the issuer"),
        ])
        .answers(303, "to the page that was asked for, logged in")
        .answers_page(403, "nobody is logged in by this")
        .answers_page(500, "we cannot sign for the provider")
        .answers_page(503, "the provider does not answer, or there are too many sessions")
}

/// Ends a session.
pub(crate) fn logout() -> Operation {
    changing("logout", "Logs out").answers_page(200, "logged out")
}

/// Where a client sends a person.
pub(crate) fn authorize() -> Operation {
    Operation::new("authorize", "A client asks a person for consent (RFC 6749 §4.1.1, RFC 7636)")
        .shown_by(SESSION)
        .takes_query(&[
            needed("client_id", "the URL of the client's document"),
            needed("redirect_uri", "where the answer goes: one of the document's"),
            needed("response_type", "`code`"),
            needed("code_challenge", "the digest of the verifier (RFC 7636 §4.2)"),
            needed("code_challenge_method", "`S256`"),
            needed("resource", "the one server that the token is for (RFC 8707)"),
            optional("response_mode", "`query`"),
            optional("scope", "tools of the server, with spaces between"),
            optional("authorization_details", "the task (RFC 9396), instead of `scope`"),
            optional("state", "what the client is told again"),
            optional("dpop_jkt", "the one key for which the code is good (RFC 9449 §10)"),
        ])
        .answers(303, "to the page where the person answers, or to the client with an error")
        .answers_page(400, "the request cannot be read, or the client has no such `redirect_uri`")
        .answers_page(403, "nobody is logged in, or there is no such client")
        .answers_page(503, "something that it needs is down")
}

/// What an agent asks of a person.
pub(crate) fn consent() -> Operation {
    shown("consent", "What an agent asks the person for").answers_page(200, "what is asked")
}

/// The answer to that.
pub(crate) fn answer() -> Operation {
    let fields = [
        CSRF,
        needed("shown", "the digest of what was shown"),
        needed("choice", "`once`, `until` or `refuse`"),
        optional("day", "the last day, with `until`"),
    ];
    changing("consent_answer", "Answers what an agent asks")
        .takes_form(&fields)
        .answers_page(200, "what became of it")
        .answers(303, "to the client that sent the person here")
}

/// Where the code of a device is typed.
pub(crate) fn device() -> Operation {
    shown("device_code", "Where a person types the code that a device shows")
        .answers_page(200, "the form for the code")
}

/// The code of a device, and the answer to what it asks.
pub(crate) fn device_answer() -> Operation {
    let fields = [
        CSRF,
        needed("code", "the code"),
        optional("shown", "the digest of what was shown"),
        optional("choice", "`enrol` or `refuse`; without it, what the device asks is shown"),
    ];
    changing("device_answer", "Shows what a device asks, or answers it")
        .takes_form(&fields)
        .answers_page(200, "what it asks, or what became of it")
        .answers_page(429, "the person typed too many codes that no device shows")
}

/// What a person consented to.
pub(crate) fn mandates() -> Operation {
    shown("mandates", "What the person consented to").answers_page(200, "the list")
}

/// Takes one back.
pub(crate) fn withdraw() -> Operation {
    changing("mandate_withdraw", "Takes a consent back").answers(303, "to the list")
}

/// What a person answers for.
pub(crate) fn sponsored() -> Operation {
    shown(
        "sponsored",
        "The agents that the person answers for or keeps running, and those that they may take over",
    )
    .answers_page(200, "the list")
}

/// Renews it, affirms it, takes over, or says what it remembers.
pub(crate) fn sponsor() -> Operation {
    refused(Operation::new(
        "sponsor",
        "Renews an agent that the person answers for, affirms that they do, takes it over, or says what it remembers",
    ))
    .takes_form(&[
        CSRF,
        needed("choice", "`renew`, `affirm`, `take-over`, `forget` or `remember`"),
        optional("reason", "why, where they take over"),
    ])
    .answers(303, "to the list")
    .answers_page(400, "the form cannot be read, or somebody answers for the agent")
    .answers_page(409, "it conflicts with what is there")
}

const CSRF: crate::openapi::Field = needed("csrf", "the token of the session");

/// A page that changes nothing.
fn shown(id: &'static str, summary: &'static str) -> Operation {
    refused(Operation::new(id, summary))
}

/// A form that changes something.
fn changing(id: &'static str, summary: &'static str) -> Operation {
    refused(Operation::new(id, summary))
        .takes_form(&[CSRF])
        .answers_page(400, "the form cannot be read")
        .answers_page(409, "it conflicts with what is there")
}

fn refused(operation: Operation) -> Operation {
    operation
        .shown_by(SESSION)
        .answers_page(403, "nobody is logged in, or nobody who may")
        .answers_page(404, "there is no such thing")
        .answers_page(503, "something that it needs is down")
}
