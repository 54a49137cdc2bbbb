//! The `oauth` crate.
