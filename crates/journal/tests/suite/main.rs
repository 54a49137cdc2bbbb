//! The decision log, end to end: integrated under faults, verified as an outsider, altered in every
//! way.
#![allow(clippy::disallowed_methods, reason = "tests race, wait and read the clock")]

mod altered;
mod erased;
mod formats;
mod integrating;
mod records;
mod support;
