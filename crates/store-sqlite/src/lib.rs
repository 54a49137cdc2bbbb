//! The `store-sqlite` crate.
