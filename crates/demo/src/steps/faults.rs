//! What breaks: a log that cannot grow, a service that dies between permit and effect.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::deployment::{DECISION_MS, until};
use crate::relay::Fate;
use crate::stage::Stage;
use crate::story::say;

/// Twice the time within which every decision is answered.
const DENIED_WITHIN: Duration = Duration::from_millis(2 * DECISION_MS);

/// No record, no permit; and as soon as there is room again it goes on by itself.
pub(super) async fn full(stage: &mut Stage) -> anyhow::Result<()> {
    let refund = json!({ "order": "A-1002", "cents": 1_500 });
    stage.agent("payments").await?;
    stage.deployment.publish().await?;
    let service = stage.deployment.service_id()?;
    say("the service's files may not grow by a byte any more");
    stage.deployment.limit_files(Some(0))?;
    let started = Instant::now();
    let refused = stage.is_refused(("payments", "refund"), &refund, "unavailable").await;
    let took = started.elapsed();
    stage.deployment.limit_files(None)?;
    let refused = refused?;
    ensure!(took < DENIED_WITHIN, "the refusal took {took:?}");
    ensure!(refused.structured["retry_after_ms"].is_u64(), "it does not say when to try again");
    say("the limit is lifted, and nothing else is done");
    let decision = stage.does(("payments", "refund"), &refund).await?;
    stage.ends_as(&decision, "returned").await?;
    ensure!(stage.deployment.service_id()? == service, "the service was started again");
    Ok(())
}

/// Nobody knows whether it happened: then the record says so, nothing is done again, and an equal
/// call waits until somebody has looked.
pub(super) async fn killed(stage: &mut Stage, fate: Fate) -> anyhow::Result<()> {
    let cents = if fate == Fate::Lost { 4_000 } else { 5_000 };
    let refund = json!({ "order": "A-1003", "cents": cents });
    // The tools are compared with their pins just now, so the next bytes on the wire are the call.
    stage.agent("payments").await?.tools().await?;
    let before = stage.effects()?.len();
    say("the relay holds what Chancery sends to payments; then SIGKILL");
    stage.relay()?.hold();
    let strike = async {
        stage.relay()?.held().await?;
        stage.deployment.strike()
    };
    let call = stage.known_agent("payments")?.call("refund", &refund);
    let (answer, struck) = tokio::join!(call, strike);
    struck?;
    let answer = answer?;
    say(&format!("refund {refund} → {}", answer.text));
    ensure!(answer.is_error, "the agent was told that it is done");
    ensure!(answer.code() != "unavailable", "the agent was told that nothing happened");
    stage.relay()?.release(fate);
    stage.dismiss_all();
    stage.deployment.end().await?;
    let now = match fate {
        Fate::Lost => before,
        Fate::Delivered => {
            let arrived = async || Ok((stage.effects()?.len() > before).then_some(()));
            until("the call arrives", arrived).await?;
            before + 1
        }
    };

    stage.deployment.serve().await?;
    let decision = newest_refund(stage).await?;
    say(&format!("started again: {decision} is closed as unknown"));
    ensure!(stage.effects()?.len() == now, "something was done again");
    stage.is_refused(("payments", "refund"), &refund, "outcome_unknown").await?;
    let looked = if fate == Fate::Lost { "it never arrived" } else { "it was done" };
    let reason = format!("payments' own file says that {looked}");
    let settle = ["outcome", "settle", decision.as_str(), "--reason", reason.as_str()];
    stage.deployment.typed(&settle).await?;
    say(&format!("the administrator settles it: {reason}"));
    if fate == Fate::Lost {
        let again = stage.does(("payments", "refund"), &refund).await?;
        stage.ends_as(&again, "returned").await?;
    }
    Ok(())
}

/// The newest permit for a refund, whose outcome must be unknown.
async fn newest_refund(stage: &Stage) -> anyhow::Result<String> {
    let records = stage.deployment.records().await?;
    let is_refund = |record: &&Value| {
        record["kind"] == "decision" && record["resource"] == "Tool::payments/refund"
    };
    let mut permits = records.iter().rev().filter(|record| record["decision"] == "permit");
    let decision = permits.find(is_refund).context("no refund was permitted")?;
    let closes =
        |record: &&Value| record["kind"] == "outcome" && record["decision"] == decision["id"];
    let outcome = records.iter().rev().find(closes).context("the refund has no outcome")?;
    ensure!(outcome["outcome"] == "unknown", "the outcome is {}", outcome["outcome"]);
    decision["id"].as_str().map(str::to_owned).context("the decision has no id")
}
