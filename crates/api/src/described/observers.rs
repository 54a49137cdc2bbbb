//! What operators and outsiders reach.

use serde_json::json;

use crate::openapi::Operation;

/// Whether the process answers.
pub(crate) fn healthz() -> Operation {
    Operation::new("healthz", "Whether the process answers").answers_text(200, "it does")
}

/// Whether the service can do its work.
pub(crate) fn readyz() -> Operation {
    Operation::new("readyz", "Whether the service can do its work")
        .answers_text(200, "it can, by the policy set of this digest")
        .answers_text(503, "it cannot: one line for each thing that is wrong, and the policy set")
}

/// The metrics.
pub(crate) fn metrics() -> Operation {
    Operation::new("metrics", "The metrics, in the text format of Prometheus")
        .answers_text(200, "the metrics")
}

/// The newest checkpoint.
pub(crate) fn checkpoint() -> Operation {
    Operation::new("checkpoint", "The newest checkpoint of the log (C2SP tlog-tiles)")
        .answers_text(200, "the signed note")
        .answers(404, "there is none yet")
}

/// One tile of hashes.
pub(crate) fn tile() -> Operation {
    let bytes = json!({});
    Operation::new("tile", "A tile of hashes of the log (C2SP tlog-tiles)")
        .described("`path` is `L/N` or `L/N.p/W`, slashes as they are. Entries are for auditors.")
        .answers_with((200, "the hashes"), "application/octet-stream", bytes)
        .answers(404, "there is no such tile of hashes")
}
