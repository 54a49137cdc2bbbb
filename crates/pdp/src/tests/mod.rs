//! Tests of the decision point: data in, text out.

#![expect(
    clippy::needless_pass_by_value,
    clippy::needless_raw_string_hashes,
    reason = "a check takes its data and its expectation whole; snapshots write their own hashes"
)]

mod administration;
mod agentcore;
mod agreed;
mod arguments;
mod at_risk;
mod budget_amounts;
mod budget_matches;
mod budgets;
mod compared;
mod compile;
mod compromised;
mod conjunction;
mod decide;
mod delegation;
mod departures;
mod differential;
mod differing;
mod elevations;
mod ends;
mod explain;
mod extent;
pub(crate) mod fixtures;
mod kept;
mod kernel;
mod labels;
mod lifting;
mod lint;
mod listing;
mod observe;
mod observed;
mod openings;
mod parts;
mod provable;
mod remedies;
mod remembered;
mod schema_parts;
mod server_requests;
mod strictness;
mod table;
mod typed;
