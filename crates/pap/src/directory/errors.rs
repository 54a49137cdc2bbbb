//! Why a directory is refused, beside what its requests themselves are refused for.

use scim::{Error, ScimType};

/// What a directory is told of something that changed while it was changed.
const CHANGED: &str = "it changed meanwhile: read it again";

/// There is none, or it is not this directory's.
pub(super) fn no_such(what: &str) -> Error {
    Error::of_status(404, format!("there is no such {what}"))
}

/// It was changed since the version that the client names (RFC 7644 §3.14).
pub(super) fn not_that_version() -> Error {
    Error::of_status(412, "it is at another version")
}

/// Another has it (RFC 7644 §3.3).
pub(super) fn taken(why: impl Into<String>) -> Error {
    Error::new(ScimType::Uniqueness, why)
}

/// It changed while it was changed.
pub(super) fn changed_meanwhile() -> Error {
    Error::of_status(409, CHANGED)
}

/// Whether that is so, and it may be tried again.
pub(crate) fn is_changed_meanwhile(error: &Error) -> bool {
    error.status == 409 && error.detail == CHANGED
}

/// What it shows is none of its tokens, or no longer one.
pub(super) fn stranger() -> Error {
    Error::of_status(401, "the token is none of a directory, or is over")
}

/// Something that it needs is down. What, a directory is not told.
pub(super) fn unavailable(error: impl std::fmt::Display) -> Error {
    tracing::warn!(%error, "a directory cannot be answered");
    Error::of_status(503, "try again later")
}
