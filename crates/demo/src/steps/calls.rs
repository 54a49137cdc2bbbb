//! Calls by an agent that plays by the rules, or tries not to.

use anyhow::ensure;
use serde_json::json;

use crate::stage::{AGENT, Stage};
use crate::story::say;

/// What policy permits happens: once, as asked, and recorded.
pub(super) async fn permitted(stage: &mut Stage) -> anyhow::Result<()> {
    say(&format!("`{AGENT}` asks payments to pay back 25.00 for an order"));
    let refund = json!({ "order": "A-1001", "cents": 2_500 });
    let decision = stage.does(("payments", "refund"), &refund).await?;
    stage.ends_as(&decision, "returned").await?;
    say(&format!("payments wrote it down under {decision} before it acted; it ended as returned"));
    stage.remembered = Some(decision);
    Ok(())
}

/// A tool that fails had its permit, and its effect is accounted for all the same.
pub(super) async fn failing(stage: &mut Stage) -> anyhow::Result<()> {
    say("the same for an order that payments does not know");
    let before = stage.effects()?.len();
    let refund = json!({ "order": "A-9999", "cents": 100 });
    let answer = stage.agent("payments").await?.call("refund", &refund).await?;
    say(&format!("refund {refund} → {}", answer.text));
    ensure!(answer.is_error && answer.code().is_empty(), "the tool itself should have failed");
    let effect = stage.one_more(before)?;
    stage.ends_as(&effect.decision, "failed").await?;
    say("permitted, reached the tool, ended as failed");
    Ok(())
}

/// An argument over the limit is denied, and the refusal names the policy.
pub(super) async fn denied(stage: &mut Stage) -> anyhow::Result<()> {
    say("500.00, where policy draws the line at 100.00");
    let refund = json!({ "order": "A-1003", "cents": 50_000 });
    let answer = stage.is_refused(("payments", "refund"), &refund, "denied").await?;
    let policies = &answer.structured["policies"];
    ensure!(*policies == json!(["refunds-up-to-100"]), "it names {policies}");
    say(&format!("recorded as {}; payments never saw it", answer.decision()));
    Ok(())
}

/// A tool that is not shown cannot be called either, and cannot be told from one that is not there.
pub(super) async fn hidden(stage: &mut Stage) -> anyhow::Result<()> {
    let tools = stage.agent("crm").await?.tools().await?;
    ensure!(tools == ["lookup"], "it is shown {tools:?}");
    say("crm also has `export`, which no policy permits: the agent is shown `lookup` alone");
    let arguments = json!({ "to": "everybody@example.com" });
    let hidden = stage.is_refused(("crm", "export"), &arguments, "unknown_tool").await?;
    let absent = stage.is_refused(("crm", "no-such-tool"), &arguments, "unknown_tool").await?;
    ensure!(hidden == absent, "hidden and absent can be told apart");
    Ok(())
}
