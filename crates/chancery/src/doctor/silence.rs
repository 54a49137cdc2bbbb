//! Whose people are unconfirmed, and by whose silence.

use pap::Command as Asked;
use serde_json::Value;

use super::Observation;
use crate::config::Config;
use crate::socket;

/// Asks the service.
pub(super) async fn check(config: &Config) -> Vec<Observation> {
    let mut told = Vec::new();
    for asked in [Asked::DirectoryList, Asked::PeopleSourceList] {
        match socket::call(&config.admin_socket(), &asked).await {
            Ok(listed) => told.extend(unconfirmed(&listed)),
            Err(error) => {
                let what = format!("it did not tell whose people are unconfirmed: {error:#}");
                return vec![Observation::weak("silence", what, "see its log")];
            }
        }
    }
    told
}

/// What is told of those who tell of people, as they were `listed`: of whom nobody waits for nothing is.
fn unconfirmed(listed: &Value) -> Vec<Observation> {
    let rows = listed.as_array().into_iter().flatten();
    let told = rows.filter_map(|row| {
        let name = row["name"].as_str().unwrap_or_default();
        let Some(since) = row["unconfirmed_since"].as_str() else {
            let until = row["heard_until"].as_str()?;
            return Some(Observation::ok(
                "silence",
                format!("`{name}` counts as heard until {until}"),
            ));
        };
        let silent = row["silent"].as_array().into_iter().flatten();
        let silent: Vec<_> = silent.filter_map(Value::as_str).collect();
        let silent = silent.join(", ");
        let what = format!(
            "the people of `{name}` are unconfirmed since {since}: nothing is heard of {silent}"
        );
        let remedy =
            "see that it reaches this service, or say how long it may be silent (docs/signals.md)";
        Some(Observation::weak("silence", what, remedy))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::State;
    use super::*;

    #[test]
    fn whose_people_are_unconfirmed_is_told_and_by_whose_silence() {
        let (then, later) = ("2027-01-15T08:00:00.000Z", "2027-01-15T08:15:00.000Z");
        let rows = json!([
            { "name": "okta", "heard_until": later, "unconfirmed_since": then, "silent": ["stream/caep"] },
            { "name": "entra", "heard_until": later },
            { "name": "none", "silence_min": null },
        ]);
        let told = unconfirmed(&rows);
        assert_eq!(told.iter().map(|it| it.state).collect::<Vec<_>>(), [State::Weak, State::Ok]);
        let expected = format!(
            "the people of `okta` are unconfirmed since {then}: nothing is heard of stream/caep"
        );
        assert_eq!(told[0].what, expected);
        assert_eq!(told[1].what, format!("`entra` counts as heard until {later}"));
        assert_eq!(unconfirmed(&json!([])), []);
    }
}
