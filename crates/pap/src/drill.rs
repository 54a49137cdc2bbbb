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

/// The longest after a signal that anything may still happen, in milliseconds.
pub const LAST_EFFECT_MAX_MS: u64 = 1_000;

/// What is taken away from an agent at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrillSignal {
    /// One instance is revoked.
    Revoke,
    /// The sponsor is deactivated.
    Offboard,
}

impl DrillSignal {
    const fn event(self) -> &'static str {
        match self {
            Self::Revoke => "drill_revoke",
            Self::Offboard => "drill_offboard",
        }
    }
}

/// What came of taking something away from an agent at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillMeasured {
    /// How many acts were tried after the signal.
    pub attempts: u64,
    /// How many of them were done.
    pub done: u64,
    /// How long after the signal the last effect came, at the tool server, in milliseconds.
    pub last_effect_ms: u64,
    /// Whether what was under way was cut, and did not end by itself.
    pub stream_cut: bool,
    /// Whether who was not concerned went on; none if everybody was.
    pub others_go_on: Option<bool>,
    /// How long after another person took the agent over the first effect of it came, at the tool server, in
    /// milliseconds; none if nobody did, or none came.
    pub back_after_ms: Option<u64>,
}

impl DrillMeasured {
    /// What it says about the control over `signal`: `held`, or `cosmetic` if anything happened that must not, or
    /// nobody brings the agent back whose sponsor left.
    pub fn verdict(&self, signal: DrillSignal) -> &'static str {
        let Self { attempts, done, last_effect_ms, stream_cut, others_go_on, back_after_ms } =
            *self;
        let is_back = signal == DrillSignal::Revoke || back_after_ms.is_some();
        let held = is_back
            && attempts > 0
            && done == 0
            && last_effect_ms <= LAST_EFFECT_MAX_MS
            && stream_cut
            && others_go_on != Some(false);
        if held { "held" } else { "cosmetic" }
    }

    fn told(&self) -> [(&'static str, String); 6] {
        let go_on = self.others_go_on.map_or("not asked", |so| if so { "yes" } else { "no" });
        let back = self.back_after_ms.map_or_else(|| "never".to_owned(), |after| after.to_string());
        [
            ("attempts", self.attempts.to_string()),
            ("done", self.done.to_string()),
            ("last_effect_ms", self.last_effect_ms.to_string()),
            ("stream_cut", if self.stream_cut { "yes" } else { "no" }.to_owned()),
            ("others_go_on", go_on.to_owned()),
            ("back_after_ms", back),
        ]
    }
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
        let change = json!({ "drill": "outage", "version": version, "rows": rows });
        let told = rows.iter().map(|row| (format!("part_{}", row.part), row.told()));
        let result = (!rows.is_empty()).then(|| (told.collect(), verdict(rows)));
        self.drilled(by, ("drill_outage", version, change), result).await
    }

    /// The same of a drill that takes something away from an agent at work.
    pub(crate) async fn drill_signal(
        &self,
        by: &PersonId,
        version: &str,
        (signal, measured): (DrillSignal, Option<DrillMeasured>),
    ) -> Result<Value, AdminError> {
        let change = json!({ "drill": signal, "version": version, "measured": measured });
        let result = measured.map(|measured| {
            let told = measured.told().map(|(name, told)| (name.to_owned(), told));
            (BTreeMap::from(told), measured.verdict(signal))
        });
        self.drilled(by, (signal.event(), version, change), result).await
    }

    /// Records that a drill begins, or its result, if there is one.
    async fn drilled(
        &self,
        by: &PersonId,
        (event, version, change): (&str, &str, Value),
        result: Option<(BTreeMap<String, String>, &'static str)>,
    ) -> Result<Value, AdminError> {
        let draft = self.draft(by, "drill/run", ResourceRef::Deployment).await?;
        let done = draft.make(change, Vec::new()).await?;
        let Some((mut details, verdict)) = result else {
            return Ok(json!({ "begun": done.decision }));
        };
        let now = self.authority.clock().now();
        let version: String = version.chars().filter(char::is_ascii_graphic).take(64).collect();
        details.insert("version".to_owned(), version);
        details.insert("verdict".to_owned(), verdict.to_owned());
        details.insert("decision".to_owned(), done.decision.to_string());
        details.insert("date".to_owned(), now.to_string());
        let record = SystemRecord {
            details,
            event: event.to_owned(),
            id: RecordId::new(now, self.authority.entropy().as_ref()),
            kind: "system".to_owned(),
            time: now,
            v: VERSION,
        };
        let entries = vec![authority::entry(*record.id.as_bytes(), &record, None)];
        let unit = Unit { entries, urgency: Urgency::Awaited, ..Unit::default() };
        let committed = self.authority.journal().store().commit(unit).await;
        committed.map_err(AdminError::unavailable)?;
        Ok(json!({ "record": record.id, "verdict": verdict }))
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
    fn r_33_whatever_happens_after_the_signal_is_cosmetic() {
        let held = DrillMeasured {
            attempts: 9,
            done: 0,
            last_effect_ms: LAST_EFFECT_MAX_MS,
            stream_cut: true,
            others_go_on: Some(true),
            back_after_ms: Some(9),
        };
        let (revoke, offboard) = (DrillSignal::Revoke, DrillSignal::Offboard);
        for held in [held, DrillMeasured { others_go_on: None, ..held }] {
            assert_eq!((held.verdict(revoke), held.verdict(offboard)), ("held", "held"));
        }
        // Who was revoked is not to come back; whoever's sponsor left is, by another.
        let gone = DrillMeasured { back_after_ms: None, ..held };
        assert_eq!((gone.verdict(revoke), gone.verdict(offboard)), ("held", "cosmetic"));
        for wrong in [
            DrillMeasured { attempts: 0, ..held },
            DrillMeasured { done: 1, ..held },
            DrillMeasured { last_effect_ms: LAST_EFFECT_MAX_MS + 1, ..held },
            DrillMeasured { stream_cut: false, ..held },
            DrillMeasured { others_go_on: Some(false), ..held },
        ] {
            assert_eq!(wrong.verdict(offboard), "cosmetic", "{wrong:?}");
            assert_eq!(wrong.verdict(revoke), "cosmetic", "{wrong:?}");
        }
    }

    #[test]
    fn a_row_without_an_attempt_shows_nothing() {
        assert!(row(1, 1, 0).is_sound());
        assert!(!row(0, 0, 0).is_sound());
        assert!(!DrillRow { part: "a b".to_owned(), ..row(1, 1, 0) }.is_sound());
    }
}
