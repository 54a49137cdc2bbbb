//! What the authority promises, over the real store.
#![allow(clippy::disallowed_methods, reason = "tests race, wait and read the clock")]

#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod administration;
mod budget_places;
mod budget_sums;
mod budgets;
mod circumstances;
mod clock;
mod collapse;
mod counters;
mod decisions;
mod departures;
mod expiring;
mod findings;
mod forgetting;
mod kept;
mod labels;
mod leading;
mod leases;
mod memory;
mod observing;
mod outcomes;
mod policy;
mod privacy;
mod provenance;
mod refusals;
mod revocation;
mod settled;
mod stops;
mod streams;
mod strictness;
mod watch;
