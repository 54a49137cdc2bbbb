//! The `tlog` crate.
