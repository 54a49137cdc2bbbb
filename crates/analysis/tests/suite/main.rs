//! Proofs about small sets, by the real solver; and solvers that do not answer.
#![allow(clippy::disallowed_methods, reason = "tests look for programs")]

mod chains;
mod proofs;
mod random;
mod solvers;
mod support;
