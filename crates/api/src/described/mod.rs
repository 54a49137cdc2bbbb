//! What the documents say of each endpoint: one module for each router.

pub(crate) mod admin;
pub(crate) mod agents;
pub(crate) mod directories;
pub(crate) mod observers;
pub(crate) mod people;
pub(crate) mod receivers;
pub(crate) mod streams;

use serde_json::Value;

use crate::openapi::Operation;

/// Every operation of a listener that is reached by a name of its own (`hosts::check`).
pub(crate) fn hosted(operation: Operation) -> Operation {
    operation.answers_text(403, "the Host or Origin of the request is not ours")
}

/// All schemes of both.
pub(crate) fn merged(mut schemes: Value, others: Value) -> Value {
    if let (Value::Object(schemes), Value::Object(others)) = (&mut schemes, others) {
        schemes.extend(others);
    }
    schemes
}
