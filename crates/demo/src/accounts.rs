//! Compares what the tools did with what the log says was permitted.
//!
//! The tools' own files must hold exactly one effect for each permit whose outcome is *returned* or
//! *failed at the tool*, at most one for each that is *unknown* or was *cut*, and nothing else: never an effect
//! without a permit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What reached a tool, as the tool wrote it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Effect {
    /// When, in milliseconds since the epoch, by the tool's clock.
    pub(crate) time: u64,
    /// The decision that the caller showed.
    pub(crate) decision: String,
    /// `SERVER/TOOL`.
    pub(crate) tool: String,
    /// The arguments received.
    pub(crate) arguments: Value,
}

/// How a permitted call ended, by the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ended {
    /// The tool answered.
    Returned,
    /// The tool answered that it failed.
    FailedAtTool,
    /// It failed before the tool saw it.
    NotReached,
    /// The permit was not begun.
    NotStarted,
    /// Nobody knows.
    Unknown,
    /// It was cut, and may have acted.
    Cut,
}

/// One permitted call, and how often the tool saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) decision: String,
    pub(crate) tool: String,
    pub(crate) ended: Ended,
    pub(crate) has_effect: bool,
}

/// What does not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Discrepancy {
    /// A tool acted on what nobody permitted.
    #[error("`{tool}` acted on `{decision}`, which is no permit of the log")]
    EffectWithoutPermit { decision: String, tool: String },
    /// A tool acted on a permit for something else.
    #[error("`{tool}` acted on `{decision}`, which permits `{permitted}`")]
    EffectOfOther { decision: String, tool: String, permitted: String },
    /// A tool acted more than once on one permit.
    #[error("`{tool}` acted {times} times on `{decision}`")]
    EffectRepeated { decision: String, tool: String, times: usize },
    /// The log says that a call reached the tool, and the tool knows nothing of it.
    #[error("`{decision}` ended as {ended:?}, and `{tool}` knows nothing of it")]
    EffectMissing { decision: String, tool: String, ended: Ended },
    /// The log says that nothing was done, and something was.
    #[error("`{decision}` ended as {ended:?}, and `{tool}` acted on it")]
    EffectDenied { decision: String, tool: String, ended: Ended },
    /// A permit has no outcome.
    #[error("`{decision}` permitted `{tool}` and has no outcome")]
    Unclosed { decision: String, tool: String },
    /// A permit has more than one outcome.
    #[error("`{decision}` has more than one outcome")]
    ClosedTwice { decision: String },
    /// A record is not what it should be.
    #[error("a record is not as it should be: {0}")]
    Unreadable(String),
}

/// The file in `dir` in which the server `name` writes down what reaches it.
pub(crate) fn effects_file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.jsonl"))
}

/// Compares `effects` with `records`: every permitted call with how it ended, in the log's order,
/// or all that does not fit.
pub(crate) fn compare(
    effects: &[Effect],
    records: &[Value],
) -> Result<Vec<Line>, Vec<Discrepancy>> {
    let mut wrong = Vec::new();
    let outcomes = outcomes(records, &mut wrong);
    let permits: Vec<_> = records.iter().filter_map(permitted_call).collect();
    let mut seen: BTreeMap<&str, Vec<&Effect>> = BTreeMap::new();
    for effect in effects {
        seen.entry(&effect.decision).or_default().push(effect);
    }
    let mut lines = Vec::new();
    for (decision, tool) in permits {
        let acted = seen.remove(decision).unwrap_or_default();
        match line(decision, tool, outcomes.get(decision).copied(), &acted) {
            Ok(line) => lines.push(line),
            Err(discrepancy) => wrong.push(discrepancy),
        }
    }
    for effect in seen.into_values().flatten() {
        let (decision, tool) = (effect.decision.clone(), effect.tool.clone());
        wrong.push(Discrepancy::EffectWithoutPermit { decision, tool });
    }
    if wrong.is_empty() { Ok(lines) } else { Err(wrong) }
}

/// The decision and the tool of a record that permits a tool call.
fn permitted_call(record: &Value) -> Option<(&str, &str)> {
    let is_permit = record["kind"] == "decision" && record["decision"] == "permit";
    let tool = record["resource"].as_str()?.strip_prefix("Tool::")?;
    is_permit.then_some((record["id"].as_str()?, tool))
}

fn outcomes<'a>(records: &'a [Value], wrong: &mut Vec<Discrepancy>) -> BTreeMap<&'a str, Ended> {
    let mut outcomes = BTreeMap::new();
    for record in records.iter().filter(|record| record["kind"] == "outcome") {
        let (Some(decision), Some(ended)) = (record["decision"].as_str(), ended(record)) else {
            wrong.push(Discrepancy::Unreadable(record.to_string()));
            continue;
        };
        if outcomes.insert(decision, ended).is_some() {
            wrong.push(Discrepancy::ClosedTwice { decision: decision.to_owned() });
        }
    }
    outcomes
}

fn ended(record: &Value) -> Option<Ended> {
    let answered = record["result"].is_string();
    match record["outcome"].as_str()? {
        "returned" => Some(Ended::Returned),
        "failed" if answered => Some(Ended::FailedAtTool),
        "failed" => Some(Ended::NotReached),
        "not_started" => Some(Ended::NotStarted),
        "unknown" => Some(Ended::Unknown),
        "cut" => Some(Ended::Cut),
        _ => None,
    }
}

fn line(
    decision: &str,
    permitted: &str,
    ended: Option<Ended>,
    acted: &[&Effect],
) -> Result<Line, Discrepancy> {
    let (decision, tool) = (decision.to_owned(), permitted.to_owned());
    if let Some(other) = acted.iter().find(|effect| effect.tool != permitted) {
        let (permitted, tool) = (tool, other.tool.clone());
        return Err(Discrepancy::EffectOfOther { decision, tool, permitted });
    }
    if acted.len() > 1 {
        return Err(Discrepancy::EffectRepeated { decision, tool, times: acted.len() });
    }
    let has_effect = !acted.is_empty();
    let Some(ended) = ended else { return Err(Discrepancy::Unclosed { decision, tool }) };
    match ended {
        Ended::Returned | Ended::FailedAtTool if !has_effect => {
            Err(Discrepancy::EffectMissing { decision, tool, ended })
        }
        Ended::NotReached | Ended::NotStarted if has_effect => {
            Err(Discrepancy::EffectDenied { decision, tool, ended })
        }
        _ => Ok(Line { decision, tool, ended, has_effect }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Discrepancy, Effect, Ended, Line, compare};

    const TOOL: &str = "payments/refund";

    fn decision(id: &str, answer: &str) -> Value {
        let resource = format!("Tool::{TOOL}");
        json!({ "kind": "decision", "id": id, "decision": answer, "resource": resource })
    }

    fn outcome(decision: &str, outcome: &str, result: Option<&str>) -> Value {
        let mut record = json!({ "kind": "outcome", "decision": decision, "outcome": outcome });
        if let Some(result) = result {
            record["result"] = result.into();
        }
        record
    }

    fn effect(decision: &str, tool: &str) -> Effect {
        let (decision, tool) = (decision.to_owned(), tool.to_owned());
        Effect { time: 1, decision, tool, arguments: json!({ "cents": 1 }) }
    }

    fn check(effects: &[Effect], records: &[Value], expected: &[Discrepancy]) {
        let found = compare(effects, records).err().unwrap_or_default();
        assert_eq!(found, expected);
    }

    fn about(id: &str) -> (String, String) {
        (id.to_owned(), TOOL.to_owned())
    }

    #[test]
    fn what_was_permitted_and_done_fits() {
        let records = [
            decision("a", "permit"),
            outcome("a", "returned", Some("r")),
            decision("b", "permit"),
            outcome("b", "failed", Some("r")),
            decision("c", "permit"),
            outcome("c", "failed", None),
            decision("d", "permit"),
            outcome("d", "unknown", None),
            decision("e", "permit"),
            outcome("e", "unknown", None),
            decision("i", "permit"),
            outcome("i", "cut", None),
            decision("f", "deny"),
            decision("g", "permit"),
            outcome("g", "not_started", None),
            json!({ "kind": "decision", "id": "h", "decision": "permit", "resource": "Server::x" }),
            outcome("h", "returned", None),
        ];
        let effects = [effect("a", TOOL), effect("b", TOOL), effect("d", TOOL)];
        let line = |id: &str, ended, has_effect| {
            let (decision, tool) = about(id);
            Line { decision, tool, ended, has_effect }
        };
        let expected = vec![
            line("a", Ended::Returned, true),
            line("b", Ended::FailedAtTool, true),
            line("c", Ended::NotReached, false),
            line("d", Ended::Unknown, true),
            line("e", Ended::Unknown, false),
            line("i", Ended::Cut, false),
            line("g", Ended::NotStarted, false),
        ];
        assert_eq!(compare(&effects, &records), Ok(expected));
    }

    #[test]
    fn an_effect_without_a_permit_is_found() {
        let (decision_id, tool) = about("a");
        let expected = [Discrepancy::EffectWithoutPermit { decision: decision_id, tool }];
        check(&[effect("a", TOOL)], &[], &expected);
        check(&[effect("a", TOOL)], &[decision("a", "deny")], &expected);
        // A permit for a method of the server is none for a tool.
        let method =
            json!({ "kind": "decision", "id": "a", "decision": "permit", "resource": "Server::x" });
        check(&[effect("a", TOOL)], &[method], &expected);
    }

    #[test]
    fn an_effect_that_is_repeated_is_found() {
        for ended in ["returned", "unknown", "cut"] {
            let records = [decision("a", "permit"), outcome("a", ended, Some("r"))];
            let (decision, tool) = about("a");
            let expected = [Discrepancy::EffectRepeated { decision, tool, times: 2 }];
            check(&[effect("a", TOOL), effect("a", TOOL)], &records, &expected);
        }
    }

    #[test]
    fn a_permit_that_returned_without_effect_is_found() {
        for (said, ended) in [("returned", Ended::Returned), ("failed", Ended::FailedAtTool)] {
            let records = [decision("a", "permit"), outcome("a", said, Some("r"))];
            let (decision, tool) = about("a");
            check(&[], &records, &[Discrepancy::EffectMissing { decision, tool, ended }]);
        }
    }

    #[test]
    fn an_effect_that_the_log_denies_is_found() {
        for (said, ended) in [("failed", Ended::NotReached), ("not_started", Ended::NotStarted)] {
            let records = [decision("a", "permit"), outcome("a", said, None)];
            let (decision, tool) = about("a");
            let expected = [Discrepancy::EffectDenied { decision, tool, ended }];
            check(&[effect("a", TOOL)], &records, &expected);
        }
    }

    #[test]
    fn an_effect_of_another_tool_is_found() {
        let records = [decision("a", "permit"), outcome("a", "returned", Some("r"))];
        let (decision, permitted) = about("a");
        let tool = "crm/export".to_owned();
        let expected = [Discrepancy::EffectOfOther { decision, tool, permitted }];
        check(&[effect("a", "crm/export")], &records, &expected);
    }

    #[test]
    fn a_permit_has_exactly_one_outcome() {
        let (decision_id, tool) = about("a");
        let unclosed = [Discrepancy::Unclosed { decision: decision_id.clone(), tool }];
        check(&[effect("a", TOOL)], &[decision("a", "permit")], &unclosed);
        let twice = [
            decision("a", "permit"),
            outcome("a", "returned", Some("r")),
            outcome("a", "unknown", None),
        ];
        let expected = [Discrepancy::ClosedTwice { decision: decision_id }];
        check(&[effect("a", TOOL)], &twice, &expected);
    }
}
