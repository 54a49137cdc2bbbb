//! What transmitters of shared signals reach.

use secevent::MEDIA_TYPE;
use serde_json::{Value, json};

use crate::openapi::{JSON, Operation};

/// By what whoever pushes to a stream is known.
const TOKEN: &str = "stream";

/// How transmitters show that they may push.
pub(crate) fn schemes() -> Value {
    json!({
        TOKEN: {
            "type": "http", "scheme": "bearer",
            "description": "The token that `chancery stream add` wrote.",
        },
    })
}

/// Every endpoint of streams.
pub(crate) fn always(operation: Operation) -> Operation {
    super::hosted(operation).shown_by(TOKEN)
}

/// One token that is pushed to a stream.
pub(crate) fn push() -> Operation {
    pushed("ssf_push", "Takes a security event token (RFC 8935)")
}

/// One token that is pushed to the stream that the bearer token names.
pub(crate) fn push_by_token() -> Operation {
    let summary =
        "Takes a security event token of the stream whose bearer token is shown (RFC 8935)";
    pushed("ssf_push_by_token", summary)
}

fn pushed(id: &'static str, summary: &'static str) -> Operation {
    let error = json!({
        "type": "object",
        "properties": { "err": { "type": "string" }, "description": { "type": "string" } },
        "required": ["err", "description"],
    });
    let told = |operation: Operation, status, when| {
        operation.answers_with((status, when), JSON, error.clone())
    };
    let push = Operation::new(id, summary)
        .takes_body(MEDIA_TYPE, json!({ "type": "string" }))
        .answers(202, "it is recorded, with what comes of it")
        .answers(503, "it cannot be taken now: its key, or the store, cannot be had; try again");
    let push = told(push, 400, "it is refused, and always will be (RFC 8935 §2.4)");
    let push = told(push, 401, "no token of a stream that counts");
    let push = told(push, 408, "the body did not arrive in time");
    let push = told(push, 413, "the body is too large");
    told(push, 415, "the body is no security event token")
}
