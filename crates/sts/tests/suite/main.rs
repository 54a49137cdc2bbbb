//! The token service through its public face, with real keys, over the real store.
#![allow(clippy::disallowed_methods, reason = "tests race, wait and read the clock")]

#[path = "../../../authority/tests/support/mod.rs"]
mod support;

mod attested;
mod authorizing;
mod borrowed;
mod client;
mod codes;
mod consents;
mod delegation;
mod delegation_policy;
mod devices;
mod elevations;
mod ends;
mod errors;
mod exchanges;
mod given_up;
mod handing_over;
mod history;
mod initiations;
mod instances;
mod lifetime;
mod opened;
mod platforms;
mod proofs;
mod refreshes;
mod refusals;
mod renewals;
mod replaced;
mod resume;
mod reused;
mod taken_away;
mod trees;
mod workloads;

/// The issuer of the deployment.
const ISSUER: &str = "https://chancery.example";

/// The resource that a token is usually asked for.
const RESOURCE: &str = "https://chancery.example/mcp/crm";
