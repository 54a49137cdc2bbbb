//! `chancery offboard`: what a person or an agent holds, whether it still counts, and when it died.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use pap::Command as Asked;
use serde_json::Value;

use crate::cli::{NO_FILE, Offboard};
use crate::socket;

/// Nothing was reported: it was only said what the command is for.
const EXPLAINED: u8 = 2;

/// Something still counts, or went on, or there is more than a report holds.
const NOT_OVER: u8 = 3;

/// What the command is for.
const EXPLANATION: &str = "\
This command takes nothing away. With --report it lists every credential of a person or an agent:
whether it still counts, when it died and by which record, and when the last effect under it came.
It ends with 0 if nothing counts any longer, and with 3 otherwise.

Who leaves is deactivated by their directory (SCIM, or a signed list), or by
  chancery person deactivate PERSON
An agent is suspended, or stopped, by
  chancery agent suspend NAME --reason WHY
  chancery stop --agent NAME --reason WHY";

/// Reports, or says what that would be.
pub(crate) async fn run(typed: Offboard) -> anyhow::Result<ExitCode> {
    let Some(file) = typed.report else {
        eprintln!("{EXPLANATION}");
        return Ok(ExitCode::from(EXPLAINED));
    };
    let asked = match (typed.person, typed.agent) {
        (Some(id), None) => Asked::PersonOffboard { id, since: typed.since },
        (None, Some(name)) => Asked::AgentOffboard { name, since: typed.since },
        _ => anyhow::bail!("name a person, or an agent"),
    };
    let report = socket::call(&typed.socket.socket, &asked).await?;
    let written = serde_json::to_string_pretty(&report)?;
    if file != Path::new(NO_FILE) {
        std::fs::write(&file, format!("{written}\n"))
            .with_context(|| format!("could not write `{}`", file.display()))?;
    }
    if typed.json {
        println!("{written}");
    } else {
        print!("{}", drawn(&report));
    }
    let is_over = report["is_over"] == true;
    Ok(if is_over { ExitCode::SUCCESS } else { ExitCode::from(NOT_OVER) })
}

/// The report as a table.
fn drawn(report: &Value) -> String {
    let mut told = format!("{:<16} {:<44} {:<9} {:<24} by\n", "credential", "id", "state", "died");
    let rows = report["credentials"].as_array();
    for row in rows.into_iter().flatten() {
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        let told_by = &row["by"];
        let by = match (told_by["record"].as_str(), text("why")) {
            (Some(record), why) => {
                let action = told_by["action"].as_str().unwrap_or_default();
                format!("{action} {record} ({why}){}", signal(&told_by["signal"]))
            }
            (None, why) => why.to_owned(),
        };
        let id = mcp::render_untrusted(text("id"));
        let last = row["last_effect_ms"].as_u64();
        let last = last.map(|after| format!(", last effect after {after} ms")).unwrap_or_default();
        // Writing to a text cannot fail.
        let _ = writeln!(
            told,
            "{:<16} {id:<44} {:<9} {:<24} {by}{last}",
            text("kind"),
            text("state"),
            text("died")
        );
    }
    for (path, it) in report["paths"].as_object().into_iter().flatten() {
        let number = |name: &str| it[name].as_u64().unwrap_or_default();
        let last = it["last_effect_ms"].as_u64();
        let last = last.map_or("none".to_owned(), |after| format!("after {after} ms"));
        let _ = writeln!(
            told,
            "{path}: last effect {last}; {} ended later, of which {} were cut; {} under way; {} \
             permitted later",
            number("ended_later"),
            number("cut"),
            number("under_way"),
            number("permitted_later")
        );
    }
    for act in report["acts"].as_array().into_iter().flatten() {
        let text = |name: &str| act[name].as_str().unwrap_or_default();
        let resource = mcp::render_untrusted(text("resource"));
        let _ = writeln!(
            told,
            "{} {} {} {} {resource} {} (record {})",
            act["index"],
            text("time"),
            text("agent"),
            text("action"),
            act["outcome"].as_str().unwrap_or("no outcome"),
            text("record")
        );
    }
    told + &verdict(report) + "\n"
}

/// What a transmitter told by which something died, if it was that.
fn signal(told: &Value) -> String {
    let text = |name: &str| told[name].as_str().map(mcp::render_untrusted);
    let told = [text("event"), text("stream"), text("jti")];
    let [Some(event), Some(stream), Some(jti)] = told else { return String::new() };
    format!(", told by {event} of {stream}, jti {jti}")
}

/// What the report comes to.
fn verdict(report: &Value) -> String {
    let number = |name: &str| report[name].as_u64().unwrap_or_default();
    let (valid, dead) = (number("valid"), number("dead"));
    if report["is_over"] == true {
        let last = report["last_effect_ms"].as_u64();
        let last = last.map_or("none came after it".to_owned(), |ms| format!("after {ms} ms"));
        return format!("nothing counts any longer: {dead} are dead; last effect: {last}");
    }
    let (under_way, later) = (number("under_way"), number("permitted_later"));
    let more = if report["is_all"] == true { "" } else { "; there are more than are shown" };
    format!(
        "NOT over: {valid} still count, {under_way} acts are under way, {later} were permitted \
         after it was over{more}"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{drawn, verdict};

    #[test]
    fn what_still_counts_is_said_first() {
        let over = json!({ "is_over": true, "is_all": true, "dead": 3, "last_effect_ms": 40 });
        assert_eq!(
            verdict(&over),
            "nothing counts any longer: 3 are dead; last effect: after 40 ms"
        );
        let mut not = json!({ "is_over": false, "is_all": false, "valid": 2, "under_way": 1 });
        not["credentials"] = json!([{
            "kind": "instance", "id": "ins_1", "state": "valid", "of": "bot",
        }]);
        assert!(verdict(&not).starts_with("NOT over: 2 still count, 1 acts are under way"));
        assert!(verdict(&not).ends_with("there are more than are shown"));
        assert!(drawn(&not).contains("instance         ins_1"), "{}", drawn(&not));
    }

    #[test]
    fn what_a_transmitter_told_is_said_with_what_died_by_it() {
        let mut report = json!({ "credentials": [{
            "kind": "agent_key", "id": "k", "state": "dead", "of": "bot", "why": "sponsor_not_active",
            "by": { "record": "rec_1", "action": "person/restrict" },
        }] });
        let by = "person/restrict rec_1 (sponsor_not_active)";
        assert!(drawn(&report).contains(&format!("{by}\n")), "{}", drawn(&report));
        let told =
            json!({ "event": "risc/account-disabled", "jti": "sha256:00", "stream": "caep" });
        report["credentials"][0]["by"]["signal"] = told;
        let by = format!("{by}, told by risc/account-disabled of caep, jti sha256:00\n");
        assert!(drawn(&report).contains(&by), "{}", drawn(&report));
    }
}
