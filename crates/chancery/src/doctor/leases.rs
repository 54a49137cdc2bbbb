//! Until when agents act without their sponsors saying anew that they are to.

use std::time::Duration;

use model::{CLOCK_STEP_MAX, LEASE_MAX, PROPAGATION_MAX, Timestamp};
use pap::Command as Asked;
use serde_json::Value;

use super::Observation;
use crate::config::Config;
use crate::socket;

/// Of leases that end within this, each is told.
const ENDING: Duration = Duration::from_hours(7 * 24);

/// Asks the service.
pub(super) async fn check(config: &Config, now: Timestamp) -> Vec<Observation> {
    match socket::call(&config.admin_socket(), &Asked::AgentList { as_of: None }).await {
        Ok(listed) => ending(&listed, now),
        Err(error) => {
            let what = format!("it did not tell when leases end: {error:#}");
            vec![Observation::weak("leases", what, "see its log")]
        }
    }
}

/// What is told of the agents that were `listed`: by when a leaver whom nobody reports does nothing any
/// more, and which of them end soon.
fn ending(listed: &Value, now: Timestamp) -> Vec<Observation> {
    let days = LEASE_MAX.as_secs() / (24 * 3_600);
    let beyond = (CLOCK_STEP_MAX + PROPAGATION_MAX).as_secs();
    let bound = format!(
        "what a sponsor leaves behind ends within {days} days and {beyond} seconds of their last word, \
         though nobody says that they left"
    );
    let rows = listed.as_array().into_iter().flatten();
    let soon = rows.filter(|row| row["state"]["is"] == "active").filter_map(|row| {
        let text = |member: &str| row[member].as_str().unwrap_or_default();
        let until: Timestamp = text("lease_until").parse().ok()?;
        if until > now.plus(ENDING) {
            return None;
        }
        let (name, sponsor, by) = (text("name"), text("sponsor"), text("ends_by"));
        let what = if until <= now {
            format!("`{name}` does nothing any more: `{sponsor}` did not renew it by {until}")
        } else {
            format!("`{name}` ends by {by}, unless `{sponsor}` renews it")
        };
        let remedy = format!("chancery agent renew {name}, by `{sponsor}` (docs/sponsors.md)");
        Some(Observation::weak("leases", what, remedy))
    });
    std::iter::once(Observation::ok("leases", bound)).chain(soon).chain(unbounded(listed)).collect()
}

/// Agents of which nobody knows who set what they may be given, as of those that were registered before
/// that was kept: they do nothing that is more than reading.
fn unbounded(listed: &Value) -> impl Iterator<Item = Observation> {
    let rows = listed.as_array().into_iter().flatten();
    let rows = rows.filter(|row| row["state"]["is"] == "active" && row["bounded_by"].is_null());
    rows.map(|row| {
        let name = row["name"].as_str().unwrap_or_default();
        let what = format!("`{name}` only reads: nobody is known to have set what it may be given");
        let remedy = format!("name its owners: chancery agent owners {name} (docs/sponsors.md)");
        Observation::weak("owners", what, remedy)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn r_14_the_bound_is_told_and_what_ends_soon() {
        let now = Timestamp::from_seconds(1_800_000_000);
        let row = |name: &str, days: i64, state: &str| {
            let until = Timestamp::from_seconds(now.as_seconds() + days * 24 * 3_600);
            json!({
                "name": name, "sponsor": "sam", "state": { "is": state },
                "lease_until": until.to_string(), "ends_by": until.to_string(),
                "bounded_by": (name != "soon").then_some("sam"),
            })
        };
        let rows = json!([
            row("later", 8, "active"),
            row("soon", 7, "active"),
            row("over", 0, "active"),
            row("suspended", 1, "suspended"),
        ]);
        let told: Vec<_> = ending(&rows, now).into_iter().map(|it| it.what).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[0].contains("within 30 days and 7 seconds"), "{told:?}");
        assert!(told[1].starts_with("`soon` ends by 2027-01-22"), "{told:?}");
        assert!(told[2].starts_with("`over` does nothing any more"), "{told:?}");
        assert!(told[3].starts_with("`soon` only reads"), "{told:?}");
    }
}
