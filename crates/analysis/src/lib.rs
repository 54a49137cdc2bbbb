//! Proves what a policy set permits, never permits, or permits no more than another: with Cedar's symbolic
//! compiler and an SMT solver, which runs as a process of its own.
//!
//! An answer is *proved*, a counterexample that [`pdp::Snapshot::decide`] has confirmed on facts that say it, one that
//! no decision confirms, which is told apart, or *not proved*, with the reason. INVARIANT: a solver that is late, silent, killed or missing, and a policy that cannot be
//! compiled, is never *proved* (`what_the_solver_does_not_say_is_not_proved`, `what_is_proved_is_so`).
//!
//! It is a proof about the policies alone, asked by one principal at a time. What the built-in rules deny
//! stays denied; what they guarantee is assumed where [`pdp::Environment::assumes`] says so.

mod chains;
mod claims;
mod compiled;
mod examples;
mod matching;
mod prove;
mod report;
mod solver;

pub use chains::CHAIN_AGENTS_MAX;
pub use claims::Claim;
pub use examples::{Chaining, Said, Saying};
pub use prove::{Subject, prove};
pub use report::{
    Assumptions, Chains, Counterexample, Mapping, Report, Shown, Step, Unshown, Verdict, Why,
};
pub use solver::{Solver, SolverMissing, program};
