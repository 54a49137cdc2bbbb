//! The `keys` crate.
