//! What the authority promises, over the real store.

#[path = "../support/mod.rs"]
mod support;

mod administration;
mod clock;
mod counters;
mod decisions;
mod outcomes;
mod policy;
mod privacy;
mod refusals;
mod revocation;
mod watch;
