//! Attacks by somebody who has stolen what went over the wire.

use anyhow::{Context as _, ensure};
use http::Request;
use keys::{KeyAlgorithm, SigningKey};
use serde_json::{Value, json};

use crate::instance::{self, Instance};
use crate::stage::{AGENT, Stage};
use crate::story::say;
use crate::web::{self, Answer};

/// A token is worth nothing without the key it is bound to, and a proof is good for one request.
pub(super) async fn stolen(stage: &mut Stage) -> anyhow::Result<()> {
    let before = stage.effects()?.len();
    let honest = Instance::enrol(&stage.deployment, (AGENT, "payments")).await?;
    let refund = json!({ "order": "A-1002", "cents": 1_000 });
    let call = ("refund", &refund);

    say("a thief has the agent's token, and signs the proof with a key of their own");
    let thief = SigningKey::generate(KeyAlgorithm::Es256)?;
    let answer = honest.call(call, &honest.proof_by(&thief)?).await?;
    unauthenticated(&answer)?;
    stage.none_more(before)?;

    say("the agent itself, with the same token and its own key");
    let proof = honest.proof()?;
    let answer = honest.call(call, &proof).await?;
    let result = &answer.json()["result"];
    say(&format!("→ {} {}", answer.status, result["structuredContent"]));
    ensure!(answer.status == 200 && result["isError"] != true, "the agent itself was refused");
    stage.one_more(before)?;

    say("the thief sends exactly the same again, token, proof and all");
    unauthenticated(&honest.call(call, &proof).await?)?;
    stage.one_more(before)?;
    recorded(stage, &["proof_of_other_key", "proof_replayed"]).await
}

fn unauthenticated(answer: &Answer) -> anyhow::Result<()> {
    say(&format!("→ {} {}", answer.status, answer.header("www-authenticate")));
    ensure!(answer.status == 401, "it was not refused: {}", answer.json());
    Ok(())
}

/// Checks that refusals of all these causes are in the log.
async fn recorded(stage: &Stage, causes: &[&str]) -> anyhow::Result<()> {
    crate::deployment::until("the refusals are recorded", async || {
        let records = stage.deployment.records().await?;
        let has = |cause: &&str| {
            records.iter().any(|record| record["kind"] == "refusal" && record["cause"] == **cause)
        };
        Ok(causes.iter().all(has).then_some(()))
    })
    .await?;
    say(&format!("recorded as refusals: {}", causes.join(", ")));
    Ok(())
}

/// Whoever goes around the gateway meets a tool that knows only the gateway.
pub(super) async fn direct(stage: &mut Stage) -> anyhow::Result<()> {
    let refund = json!({ "order": "A-1002", "cents": 500 });
    stage.does(("payments", "refund"), &refund).await?;
    let overheard = stage.relay()?.overheard_token();
    let overheard = overheard.context("nothing was overheard on the wire")?;
    let own = Instance::enrol(&stage.deployment, (AGENT, "payments")).await?.token;
    let before = stage.effects()?.len();

    say("now straight to payments, with nothing to show");
    refused_by_tool(stage, None, &refund).await?;
    say("with the agent's own token for Chancery");
    refused_by_tool(stage, Some(&own), &refund).await?;
    say("with Chancery's assertion, overheard on the wire, for a larger amount");
    let more = json!({ "order": "A-1002", "cents": 5_000 });
    refused_by_tool(stage, Some(&overheard), &more).await?;
    say("with the same assertion for the same call");
    refused_by_tool(stage, Some(&overheard), &refund).await?;
    stage.none_more(before)
}

async fn refused_by_tool(
    stage: &Stage,
    token: Option<&str>,
    arguments: &Value,
) -> anyhow::Result<()> {
    let mut request = Request::post(stage.direct_url("payments")?);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = web::send(instance::call(request, "refund", arguments)?).await?;
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    say(&format!("→ {} {}", answer.status, said.trim()));
    ensure!(answer.status == 401, "payments let it in");
    Ok(())
}
