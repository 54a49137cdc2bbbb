//! The socket of administration.

use pap::Command;
use serde_json::json;

use crate::openapi::{About, JSON, Operation};

/// The whole.
pub(crate) fn about() -> About {
    About {
        title: "Chancery: administration",
        description: "The Unix socket `admin.sock` in the state directory, which the user of the \
                      service alone opens. Who opens it is the administrator, as the kernel says: \
                      nothing else is shown.",
        schemes: json!({}),
    }
}

/// One command.
pub(crate) fn command() -> Operation {
    let error = || {
        let text = json!({ "type": "string" });
        json!({ "type": "object", "properties": { "error": text }, "required": ["error"] })
    };
    let refused: [(u16, &str); 6] = [
        (400, "the command cannot be read, or what it asks for does not make sense"),
        (403, "it is not permitted"),
        (404, "there is no such thing"),
        (409, "it conflicts with what is there"),
        (413, "the command is too large"),
        (503, "something that it needs is down"),
    ];
    let operation = Operation::new("command", "Does one act of administration")
        .described("What `chancery` sends on the command line; each act is decided and recorded.")
        .takes::<Command>()
        .answers_with((200, "it is done; what is told depends on the command"), JSON, json!({}));
    let refuse = |operation: Operation, told: (u16, &'static str)| -> Operation {
        operation.answers_with(told, JSON, error())
    };
    // Beyond the largest body nothing is read, and the answer is text.
    refused.into_iter().fold(operation, refuse).answers_text(413, "the body is too large")
}
