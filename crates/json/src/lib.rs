//! The `json` crate.
