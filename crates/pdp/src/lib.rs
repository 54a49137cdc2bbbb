//! The `pdp` crate.
