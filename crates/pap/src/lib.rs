//! The `pap` crate.
