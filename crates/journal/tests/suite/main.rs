//! The decision log, end to end: integrated under faults, verified as an outsider, altered in every
//! way.

mod altered;
mod erased;
mod formats;
mod integrating;
mod records;
mod support;
