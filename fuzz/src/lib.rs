//! Fuzzing on stable: every parser of untrusted bytes, driven by mutated real examples.
//!
//! A [`targets::Target`] takes any bytes, says whether its parser accepted them, and panics if a
//! promise of the parser does not hold: what is accepted has one reading, is written back as it was
//! read, and is signed by whoever can sign. [`drive`] runs one from the examples in
//! `corpus/TARGET/`; an input that breaks a promise is written there and stays. As tests they run
//! for `CHANCERY_FUZZ_SECONDS` seconds each (3 unless said otherwise), by `cargo xtask fuzz` for
//! longer.
//!
//! [`drive`] guarantees the same inputs in the same order on every run; how far it comes depends on
//! the machine. It knows no coverage: inputs are kept that were accepted. With the feature
//! `coverage`, libFuzzer drives the same targets by the program `covered`.
#![allow(
    clippy::disallowed_methods,
    reason = "a driver of tests reads the clock and the environment"
)]

mod drive;
mod mutate;
pub mod targets;

pub use drive::{corpus, drive, time};
