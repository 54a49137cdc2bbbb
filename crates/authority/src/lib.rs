//! The `authority` crate.
