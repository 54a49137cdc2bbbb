//! The `sts` crate.
