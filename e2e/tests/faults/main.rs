//! The failure table, row by row: the real binary before a real tool server, one part broken.
//!
//! Every test sees the same: no effect without a permit, a denial within the deadline, health that
//! tells, recovery without an operator, and a log that verifies at the end.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

mod backup;
mod clock;
mod disk;
mod drill;
mod policy;
mod process;
mod store;
mod table;
mod upstream;
