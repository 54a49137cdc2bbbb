//! Who is told of callers that are no active agent, as the configuration says it.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Within which of service accounts whoever answers for them is told; of agents, sooner. It is what `FedRAMP` takes
/// for AC-2 (h) (1) of NIST SP 800-53: that an account is no longer required.
pub(super) const SERVICE_ACCOUNTS: Duration = Duration::from_hours(24);

/// Who is told of callers that are no active agent, and how.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Findings {
    /// A URL that takes each finding by POST, with the person who is to be told; `https` unless it
    /// is on loopback.
    pub(crate) webhook: Option<String>,
    /// A file whose one line (`Name: value`) goes with it.
    pub(crate) header_file: Option<PathBuf>,
    /// After how long without anybody looking the next person is told, in milliseconds; less than 24 hours.
    pub(crate) escalate_after_ms: u64,
}

impl Default for Findings {
    fn default() -> Self {
        Self { webhook: None, header_file: None, escalate_after_ms: 900_000 }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::read::from_value;
    use super::Findings;

    /// Of an unknown agent the next person is told sooner than of a service account.
    #[test]
    fn r_25_unknown_agents_escalate_sooner_than_service_accounts() {
        let check = |millis: u64| {
            let tree = json!({ "state_dir": "state", "findings": { "escalate_after_ms": millis } });
            from_value(tree, std::iter::empty()).map(drop).map_err(|error| error.to_string())
        };
        let usual = Findings::default().escalate_after_ms;
        let day = 24 * 3_600_000;
        assert_eq!([check(usual), check(day - 1)], [Ok(()), Ok(())]);
        for millis in [day, u64::MAX] {
            let why = check(millis).expect_err("it is too long");
            let said = format!("`findings.escalate_after_ms`: `{millis}` is not less than {day}");
            assert!(why.starts_with(&said), "{why}");
        }
    }
}
