//! Work that is handed on: what a sub-agent may, what all branches share, what a thief gets, and what
//! ends with its parent.

use anyhow::{Context as _, ensure};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::deployment::until;
use crate::instance::{self, Instance};
use crate::relay::Fate;
use crate::stage::{AGENT, Stage, TEAM, WORKER};
use crate::story::say;
use crate::web::Answer;

/// How many sub-agents work at once.
const BRANCHES: usize = 10;

/// How many calls all of them have.
const CALLS: usize = 3;

/// A part of the task: these tools, for ten minutes.
fn part(tools: &[&str], harm: &[&str], max_calls: Option<usize>) -> Value {
    json!({
        "type": "agent_task",
        "purpose": "customer-care",
        "tools": tools,
        "harm": harm,
        "max_calls": max_calls,
        "until": instance::now() + 600,
    })
}

fn told(answer: &Answer) -> Value {
    answer.json()["result"]["structuredContent"].clone()
}

/// A sub-agent has a token of its own for what it was handed, and gets none for anything else.
pub(super) async fn sub_agent(stage: &mut Stage) -> anyhow::Result<()> {
    let deployment = &stage.deployment;
    let before = stage.effects()?.len();
    let lead = Instance::enrol(deployment, (AGENT, "crm")).await?;
    say(&format!("`{AGENT}` hands on to `{WORKER}`: look customers up, and nothing else"));
    let reads = part(&["crm/lookup"], &[], None);
    let worker = lead.hands_on(deployment, (WORKER, "crm"), &reads).await?;
    let customer = json!({ "customer": "C-7" });
    let answer = worker.call(("lookup", &customer), &worker.proof()?).await?;
    let result = &answer.json()["result"];
    ensure!(answer.status == 200 && result["isError"] == false, "it may not read: {result}");
    let effect = stage.one_more(before)?;
    say(&format!("it looks a customer up ({})", effect.decision));
    let chain = deployment.typed_json(&["log", "chain", &effect.decision]).await?;
    let hops = chain["chain"].as_array().context("there is no chain")?;
    let agents: Vec<_> = hops.iter().filter_map(|hop| hop["agent"].as_str()).collect();
    ensure!(agents == [AGENT, WORKER], "the chain is {agents:?}");
    say(&format!("`log chain` tells every hop: {}", agents.join(" → ")));

    let pays = worker.elsewhere(deployment, "payments")?;
    let refused = pays.ask_for_token(&[("grant_type", "client_credentials")]).await?;
    say(&format!("a token for payments → {}", refused.json()));
    ensure!(refused.json()["error"] == "invalid_target", "it got a token for payments");
    let wider = part(&["crm/lookup", "payments/refund"], &["moves-money"], None);
    let deeper = Instance::new(deployment, (TEAM, "payments"))?;
    let refused = pays.delegates(&deeper, &wider).await?;
    say(&format!("it hands more on than it has → {}", refused.json()));
    ensure!(refused.json()["error"] == "invalid_scope", "more was handed on than there was");
    stage.one_more(before).map(drop)
}

/// Ten branches at once have as many calls as what they are branches of.
pub(super) async fn branches(stage: &mut Stage) -> anyhow::Result<()> {
    let deployment = &stage.deployment;
    let before = stage.effects()?.len();
    let lead = Instance::enrol(deployment, (AGENT, "crm")).await?;
    let limited = part(&["crm/lookup"], &[], Some(CALLS));
    let team = lead.hands_on(deployment, (TEAM, "crm"), &limited).await?;
    say(&format!(
        "`{TEAM}` may look up {CALLS} customers, and hands that on to {BRANCHES} at once"
    ));
    let customer = json!({ "customer": "C-7" });
    let branch = async |_| {
        let worker = team.hands_on(deployment, (WORKER, "crm"), &limited).await?;
        let answer = worker.call(("lookup", &customer), &worker.proof()?).await?;
        anyhow::Ok(answer.json()["result"]["isError"] == false)
    };
    let done: Vec<bool> =
        join_all((0..BRANCHES).map(branch)).await.into_iter().collect::<anyhow::Result<_>>()?;
    let done = done.into_iter().filter(|done| *done).count();
    let reached = stage.effects()?.len() - before;
    say(&format!("{done} were done, {} denied: {reached} reached the tool", BRANCHES - done));
    ensure!(done == CALLS && reached == CALLS, "the limit of {CALLS} did not hold");
    let answer = team.call(("lookup", &customer), &team.proof()?).await?;
    let text = &answer.json()["result"]["content"][0]["text"];
    say(&format!("`{TEAM}` itself, once more → {text}"));
    ensure!(told(&answer)["code"] == "denied", "there was one more");
    Ok(())
}

/// Who has stolen a token hands nothing on with it.
pub(super) async fn thief(stage: &mut Stage) -> anyhow::Result<()> {
    let deployment = &stage.deployment;
    let lead = Instance::enrol(deployment, (AGENT, "crm")).await?;
    let mut thief = Instance::new(deployment, (WORKER, "crm"))?;
    thief.token.clone_from(&lead.token);
    let accomplice = Instance::new(deployment, (TEAM, "crm"))?;
    say(&format!("`{WORKER}` has stolen the token of `{AGENT}`, and asks to exchange it"));
    let refused = thief.delegates(&accomplice, &part(&["crm/lookup"], &[], None)).await?;
    say(&format!("→ {} {}", refused.status, refused.json()));
    ensure!(refused.json()["error"] == "invalid_request", "the theft paid");
    let found = async || {
        let findings = deployment.typed(&["finding", "list"]).await?;
        Ok(findings.contains("holder_absent").then_some(()))
    };
    until("the theft is found", found).await?;
    say("`chancery finding list` names it: holder_absent");
    Ok(())
}

/// What a sub-agent is doing is cut when what it is doing it for is over.
pub(super) async fn parent(stage: &mut Stage) -> anyhow::Result<()> {
    let deployment = &stage.deployment;
    let before = stage.effects()?.len();
    let lead = Instance::enrol(deployment, (AGENT, "payments")).await?;
    let pays = part(&["payments/refund"], &["moves-money"], None);
    let worker = lead.hands_on(deployment, (TEAM, "payments"), &pays).await?;
    let first = json!({ "order": "A-1001", "cents": 100 });
    let answer = worker.call(("refund", &first), &worker.proof()?).await?;
    ensure!(answer.json()["result"]["isError"] == false, "it may not pay: {}", answer.json());
    let effect = stage.one_more(before)?;
    let chain = deployment.typed_json(&["log", "chain", &effect.decision]).await?;
    let root = chain["chain"][0]["task"].as_str().context("there is no root task")?.to_owned();
    say(&deployment.typed(&["task", "show", &root]).await?);

    say("the relay holds the sub-agent's next call; meanwhile the root task is taken away");
    stage.relay()?.hold();
    let end = async {
        stage.relay()?.held().await?;
        deployment.typed(&["task", "end", &root, "--reason", "the customer withdrew"]).await
    };
    let second = json!({ "order": "A-1001", "cents": 200 });
    let proof = worker.proof()?;
    let (answer, ended) = tokio::join!(worker.call(("refund", &second), &proof), end);
    ended?;
    let answer = answer?;
    stage.relay()?.release(Fate::Lost);
    say(&format!("refund {second} → {}", answer.json()["result"]["content"][0]["text"]));
    ensure!(answer.json()["result"]["isError"] != false, "it went on");
    let cut = async || {
        let records = deployment.records().await?;
        let is_cut = |record: &Value| record["kind"] == "outcome" && record["outcome"] == "cut";
        Ok(records.iter().any(is_cut).then_some(()))
    };
    until("the call is recorded as cut", cut).await?;
    let renewed = worker.ask_for_token(&[("grant_type", "client_credentials")]).await?;
    ensure!(renewed.json()["error"] == "access_denied", "it got another token");
    say("its call is cut, and it gets no other token");
    stage.one_more(before).map(drop)
}
