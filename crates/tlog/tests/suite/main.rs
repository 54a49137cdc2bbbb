//! Tests of the `tlog` crate through its public face.

mod hostile;
mod notes;
mod oracle;
mod support;
mod threats;
mod tiles;
mod vectors;
