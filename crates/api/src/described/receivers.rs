//! What receivers of shared signals reach.

use secevent::POLL_SETS_MAX;
use serde_json::{Value, json};

use crate::openapi::{JSON, Operation, needed, optional};

/// By what a receiver is known.
const TOKEN: &str = "receiver";

/// How receivers show who they are.
pub(crate) fn schemes() -> Value {
    json!({
        TOKEN: {
            "type": "http", "scheme": "bearer",
            "description": "The token that `chancery receiver add` wrote, or one that the receiver got at \
                            `/oauth/token` by its key.",
        },
    })
}

/// What the transmitter says of itself.
pub(crate) fn metadata() -> Operation {
    let operation = Operation::new("ssf_metadata", "Says how streams are managed (SSF 1.0 §7.1)");
    operation.answers_with((200, "the metadata"), JSON, json!({ "type": "object" }))
}

/// A new stream.
pub(crate) fn create() -> Operation {
    let operation = managing("ssf_create", "Creates the stream of a receiver (SSF 1.0 §8.1.1.1)");
    let operation = operation.takes_body(JSON, stream(&[]));
    let operation = operation.answers_with((201, "the stream"), JSON, stream(&["stream_id"]));
    refused(operation, 409, "the receiver has a stream")
}

/// A stream, or all.
pub(crate) fn read() -> Operation {
    let operation = asked("ssf_read", "Shows the stream of a receiver (SSF 1.0 §8.1.1.2)");
    let operation = operation.takes_query(&[optional("stream_id", "which; all, without it")]);
    let shown = json!({ "anyOf": [stream(&["stream_id"]), { "type": "array" }] });
    of_stream(operation.answers_with((200, "the stream, or a list"), JSON, shown))
}

/// A stream that is changed.
pub(crate) fn update() -> Operation {
    change("ssf_update", "Changes what is said of a stream (SSF 1.0 §8.1.1.3)")
}

/// A stream that is replaced.
pub(crate) fn replace() -> Operation {
    change("ssf_replace", "Replaces what is said of a stream (SSF 1.0 §8.1.1.4)")
}

fn change(id: &'static str, summary: &'static str) -> Operation {
    let operation = managing(id, summary).takes_body(JSON, stream(&["stream_id"]));
    of_stream(operation.answers_with((200, "the stream"), JSON, stream(&["stream_id"])))
}

/// A stream that is deleted.
pub(crate) fn delete() -> Operation {
    let operation = managing("ssf_delete", "Deletes a stream (SSF 1.0 §8.1.1.5)");
    let operation = operation.takes_query(&[needed("stream_id", "which")]);
    of_stream(operation.answers(204, "it is gone, with what it was still to tell"))
}

/// Whether a stream tells anything.
pub(crate) fn status() -> Operation {
    let operation = asked("ssf_status", "Shows whether a stream tells anything (SSF 1.0 §8.1.2.1)");
    let operation = operation.takes_query(&[needed("stream_id", "which")]);
    of_stream(operation.answers_with((200, "its status"), JSON, status_of()))
}

/// The same, from now on.
pub(crate) fn set_status() -> Operation {
    let operation = managing("ssf_set_status", "Says whether it is to (SSF 1.0 §8.1.2.2)");
    let operation = operation.takes_body(JSON, status_of());
    of_stream(operation.answers_with((200, "its status"), JSON, status_of()))
}

/// An event that shows that a stream works.
pub(crate) fn verify() -> Operation {
    let body = json!({
        "type": "object", "required": ["stream_id"],
        "properties": { "stream_id": { "type": "string" }, "state": { "type": "string" } },
    });
    let operation = managing("ssf_verify", "Asks that a stream be verified (SSF 1.0 §8.1.4.2)");
    let operation = operation.takes_body(JSON, body).answers(204, "it is told");
    of_stream(operation)
}

/// What there is to be told.
pub(crate) fn poll() -> Operation {
    let body = json!({
        "type": "object",
        "properties": {
            "maxEvents": { "type": "integer", "minimum": 0 },
            "returnImmediately": { "type": "boolean" },
            "ack": { "type": "array", "items": { "type": "string" } },
            "setErrs": { "type": "object" },
        },
    });
    let polled = json!({
        "type": "object", "required": ["sets", "moreAvailable"],
        "properties": {
            "sets": {
                "type": "object", "maxProperties": POLL_SETS_MAX,
                "additionalProperties": { "type": "string" },
            },
            "moreAvailable": { "type": "boolean" },
        },
    });
    let operation = asked("ssf_poll", "Gives what a stream tells (RFC 8936)");
    of_stream(operation.takes_body(JSON, body).answers_with((200, "tokens"), JSON, polled))
}

/// What takes a token that manages.
fn managing(id: &'static str, summary: &'static str) -> Operation {
    let operation = refused(asked(id, summary), 403, "the token is for reading");
    refused(operation, 429, "too often, or a verification a moment ago: see `Retry-After`")
}

fn asked(id: &'static str, summary: &'static str) -> Operation {
    let operation = Operation::new(id, summary).shown_by(TOKEN);
    let operation = refused(operation, 400, "it cannot be read, or makes no sense");
    let operation = refused(operation, 401, "no token of a receiver that counts");
    refused(operation, 503, "it cannot be done now: try again")
}

fn of_stream(operation: Operation) -> Operation {
    refused(operation, 404, "the receiver has no such stream")
}

fn refused(operation: Operation, status: u16, when: &'static str) -> Operation {
    let error = json!({
        "type": "object", "required": ["err", "description"],
        "properties": { "err": { "type": "string" }, "description": { "type": "string" } },
    });
    operation.answers_with((status, when), JSON, error)
}

fn stream(required: &[&str]) -> Value {
    json!({
        "type": "object", "required": required,
        "properties": {
            "stream_id": { "type": "string" },
            "delivery": {
                "type": "object", "required": ["method"],
                "properties": {
                    "method": { "enum": ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"] },
                    "endpoint_url": { "type": "string" },
                    "authorization_header": { "type": "string", "writeOnly": true },
                },
            },
            "events_requested": { "type": "array", "items": { "type": "string" } },
            "description": { "type": "string" },
        },
    })
}

fn status_of() -> Value {
    json!({
        "type": "object", "required": ["stream_id", "status"],
        "properties": {
            "stream_id": { "type": "string" },
            "status": { "enum": ["enabled", "paused", "disabled"] },
            "reason": { "type": "string" },
        },
    })
}
