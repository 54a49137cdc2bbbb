//! What the documents say of each endpoint: one module for each router.

pub(crate) mod admin;
pub(crate) mod agents;
pub(crate) mod directories;
pub(crate) mod observers;
pub(crate) mod people;
pub(crate) mod streams;

use crate::openapi::Operation;

/// Every operation of a listener that is reached by a name of its own (`hosts::check`).
pub(crate) fn hosted(operation: Operation) -> Operation {
    operation.answers_text(403, "the Host or Origin of the request is not ours")
}
