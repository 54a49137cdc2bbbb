//! Drills: what somebody broke on purpose, and what came of it, in the log like everything else.

use std::collections::BTreeMap;

use authority::{Unit, Urgency};
use model::record::{SystemRecord, VERSION};
use model::{PersonId, RecordId, ResourceRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};

/// The most rows of one drill.
pub const DRILL_ROWS_MAX: usize = 16;

/// The longest name of a row.
const NAME_MAX: usize = 32;

/// What came of taking one part away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillRow {
    /// The part.
    pub part: String,
    /// How many acts were tried while it was away.
    pub attempts: u64,
    /// How many of them were refused and did not happen.
    pub blocked: u64,
    /// How many happened.
    pub leaked: u64,
    /// The longest that anybody waited for an answer, in milliseconds.
    pub slowest_ms: u64,
    /// Whether acts were permitted again by themselves when the part was back; none if that cannot
    /// be waited for.
    pub recovered: Option<bool>,
}

impl DrillRow {
    fn told(&self) -> String {
        let Self { attempts, blocked, leaked, slowest_ms, recovered, .. } = self;
        let recovered = recovered.map_or("not awaited", |so| if so { "yes" } else { "no" });
        format!(
            "attempts {attempts}, blocked {blocked}, leaked {leaked}, slowest {slowest_ms} ms, \
             recovered {recovered}"
        )
    }

    fn is_sound(&self) -> bool {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        !self.part.is_empty()
            && self.part.len() <= NAME_MAX
            && self.part.bytes().all(plain)
            && self.attempts > 0
    }
}

/// What a drill says about the control: `held`, or `cosmetic` if anything leaked.
pub fn verdict(rows: &[DrillRow]) -> &'static str {
    let held = |row: &DrillRow| row.leaked == 0 && row.blocked == row.attempts;
    if rows.iter().all(held) { "held" } else { "cosmetic" }
}

impl Administration {
    /// Records an outage drill: that it begins, if there are no rows yet, else its result.
    pub(crate) async fn drill(
        &self,
        by: &PersonId,
        version: &str,
        rows: &[DrillRow],
    ) -> Result<Value, AdminError> {
        if rows.len() > DRILL_ROWS_MAX || !rows.iter().all(DrillRow::is_sound) {
            return Err(AdminError::Invalid("the rows are not those of a drill".to_owned()));
        }
        let draft = self.draft(by, "drill/run", ResourceRef::Deployment).await?;
        let change = json!({ "drill": "outage", "version": version, "rows": rows });
        let done = draft.make(change, Vec::new()).await?;
        if rows.is_empty() {
            return Ok(json!({ "begun": done.decision }));
        }
        let record = self.outage_record(version, rows, &done.decision.to_string());
        let entries = vec![authority::entry(*record.id.as_bytes(), &record, None)];
        let unit = Unit { entries, urgency: Urgency::Awaited, ..Unit::default() };
        let committed = self.authority.journal().store().commit(unit).await;
        committed.map_err(AdminError::unavailable)?;
        Ok(json!({ "record": record.id, "verdict": verdict(rows) }))
    }

    fn outage_record(&self, version: &str, rows: &[DrillRow], decision: &str) -> SystemRecord {
        let now = self.authority.clock().now();
        let mut details: BTreeMap<String, String> =
            rows.iter().map(|row| (format!("part_{}", row.part), row.told())).collect();
        let version: String = version.chars().filter(char::is_ascii_graphic).take(64).collect();
        details.insert("version".to_owned(), version);
        details.insert("verdict".to_owned(), verdict(rows).to_owned());
        details.insert("decision".to_owned(), decision.to_owned());
        details.insert("date".to_owned(), now.to_string());
        SystemRecord {
            details,
            event: "drill_outage".to_owned(),
            id: RecordId::new(now, self.authority.entropy().as_ref()),
            kind: "system".to_owned(),
            time: now,
            v: VERSION,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(attempts: u64, blocked: u64, leaked: u64) -> DrillRow {
        let part = "store".to_owned();
        DrillRow { part, attempts, blocked, leaked, slowest_ms: 1, recovered: Some(true) }
    }

    #[test]
    fn r_33_a_leak_is_cosmetic() {
        for (rows, expected) in [
            (vec![row(5, 5, 0)], "held"),
            (vec![row(5, 5, 0), row(5, 4, 1)], "cosmetic"),
            (vec![row(5, 4, 0)], "cosmetic"),
        ] {
            assert_eq!(verdict(&rows), expected, "{rows:?}");
        }
    }

    #[test]
    fn a_row_without_an_attempt_shows_nothing() {
        assert!(row(1, 1, 0).is_sound());
        assert!(!row(0, 0, 0).is_sound());
        assert!(!DrillRow { part: "a b".to_owned(), ..row(1, 1, 0) }.is_sound());
    }
}
