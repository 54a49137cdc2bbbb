//! How it ends: the sponsor leaves, the books are compared, the log is verified.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::accounts::{Ended, Line, compare};
use crate::deployment::until;
use crate::stage::{AGENT, SPONSOR, Stage};
use crate::story::say;

/// An agent stops with the person who answers for it, at the next commit.
pub(super) async fn sponsor(stage: &mut Stage) -> anyhow::Result<()> {
    let comment = json!({ "ticket": "T-1", "text": "refunded" });
    stage.does(("tickets", "comment"), &comment).await?;
    stage.deployment.typed(&["person", "deactivate", SPONSOR]).await?;
    say(&format!("{SPONSOR}, who answers for `{AGENT}`, is deactivated; the same run goes on"));
    let before = stage.effects()?.len();
    let answer = stage.agent("tickets").await?.call("comment", &comment).await?;
    say(&format!("comment {comment} → {} ({})", answer.text, answer.code()));
    ensure!(answer.is_error, "the call was done");
    stage.none_more(before)?;
    let records = stage.deployment.records().await?;
    let on_tool = |record: &&serde_json::Value| {
        record["kind"] == "decision" && record["resource"] == "Tool::tickets/comment"
    };
    let record = records.iter().rev().find(on_tool).context("the decision is not recorded")?;
    let (verdict, reason) = (&record["decision"], &record["reason"]);
    say(&format!("the record says: {verdict} {reason}"));
    ensure!(
        *verdict == "deny" && *reason == "sponsor_not_active",
        "it was denied for another reason"
    );
    Ok(())
}

/// The tools' own files hold what was permitted and nothing else.
pub(super) async fn accounts(stage: &mut Stage) -> anyhow::Result<()> {
    let effects = stage.effects()?;
    let closed = until("every permit has an outcome", async || {
        let records = stage.deployment.records().await?;
        let compared = compare(&effects, &records);
        let is_open = |wrong: &crate::accounts::Discrepancy| {
            matches!(wrong, crate::accounts::Discrepancy::Unclosed { .. })
        };
        let open = compared.as_ref().is_err_and(|wrong| wrong.iter().any(is_open));
        Ok((!open).then_some(compared))
    });
    let lines = closed.await?.map_err(|wrong| {
        let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", wrong.join("; "))
    })?;
    tell(&lines);
    let count = |ended| lines.iter().filter(|line| line.ended == ended).count();
    let (returned, failed) = (count(Ended::Returned), count(Ended::FailedAtTool));
    let of = |ended| lines.iter().filter(move |line| line.ended == ended);
    let acted = |ended| of(ended).filter(|line| line.has_effect).count();
    let (unknown, cut) = (acted(Ended::Unknown), acted(Ended::Cut));
    say(&format!(
        "{} effects = {returned} returned + {failed} failed at the tool + {unknown} of the {} that \
         nobody knew + {cut} of the {} that were cut; none without a permit",
        effects.len(),
        count(Ended::Unknown),
        count(Ended::Cut)
    ));
    ensure!(effects.len() == returned + failed + unknown + cut, "the books do not add up");
    ensure!(returned > 0 && failed > 0, "too little happened to compare");
    let in_the_dark = (count(Ended::Unknown), unknown);
    ensure!(in_the_dark == (2, 1), "of two calls in the dark one should have arrived");
    Ok(())
}

/// Tells how each call ended; of those that returned, of which there are many, how many of each tool.
fn tell(lines: &[Line]) {
    let mut returned = BTreeMap::<&str, usize>::new();
    for Line { decision, tool, ended, has_effect } in lines {
        if *ended == Ended::Returned {
            *returned.entry(tool).or_default() += 1;
            continue;
        }
        let effect = if *has_effect { "1 effect" } else { "no effect" };
        say(&format!("{decision} {tool:<18} {effect:<9} {ended:?}"));
    }
    for (tool, times) in returned {
        say(&format!("{times:>4} times {tool:<18} 1 effect each, Returned"));
    }
}

/// Somebody who has a copy, the log's key and an earlier checkpoint needs nobody's word.
pub(super) async fn verified(stage: &mut Stage) -> anyhow::Result<()> {
    stage.deployment.publish().await?;
    let (log, copy) = (stage.deployment.path("state/log"), stage.deployment.path("copy-of-log"));
    copied(&log, &copy)?;
    let key = stage.deployment.path("state/keys/log.pub");
    let since = stage.early_checkpoint();
    let [copy, key, since] = [&copy, &key, &since].map(|path| path.to_str().unwrap_or_default());
    let told =
        stage.deployment.typed(&["log", "verify", copy, "--key", key, "--since", since]).await?;
    say(&format!("chancery log verify COPY --key log.pub --since CHECKPOINT\n{told}"));
    ensure!(told.contains("the log verifies"), "it does not say that the log verifies");
    Ok(())
}

/// Copies a published log: the checkpoint first, since what it covers was published before it.
fn copied(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    let checkpoint = std::fs::read(from.join("checkpoint"))?;
    copy_dir(from, to)?;
    std::fs::write(to.join("checkpoint"), checkpoint)?;
    Ok(())
}

fn copy_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// From a decision back: tool, instance, task, mandate, purpose, sponsor, rule, outcome.
pub(super) async fn chain(stage: &mut Stage) -> anyhow::Result<()> {
    let decision = stage.remembered.clone().context("nothing was permitted")?;
    let chain = stage.deployment.typed_json(&["log", "chain", &decision]).await?;
    say(&format!("chancery log chain {decision}"));
    say(&serde_json::to_string_pretty(&chain)?);
    let expected = [
        ("agent", AGENT),
        ("sponsor", SPONSOR),
        ("purpose", "customer-care"),
        ("answer", "permit"),
        ("outcome", "returned"),
        ("enforcement", "mandatory"),
    ];
    for (member, value) in expected {
        ensure!(chain[member] == value, "`{member}` is {}, not `{value}`", chain[member]);
    }
    for member in ["instance", "task", "mandate", "policies", "what"] {
        ensure!(!chain[member].is_null(), "the chain does not say `{member}`");
    }
    Ok(())
}
