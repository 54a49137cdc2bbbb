//! Work on behalf of a person: what she is shown, what she gives, and what is beyond that.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::browser::{Browser, origin, quoted};
use crate::instance::{Instance, now};
use crate::provider::SUBJECT;
use crate::stage::{ERRAND, PERSON, Stage, TEAM, WORKER};
use crate::story::say;

/// What is asked for: these tools, for an hour.
fn task(tools: &[&str], harm: &[&str]) -> Value {
    json!({
        "type": "agent_task", "purpose": "customer-care", "tools": tools, "harm": harm,
        "until": now() + 3_600,
    })
}

/// A person consents, in a browser, to exactly what an agent asks; the agent gets that and no more.
pub(super) async fn given_and_exceeded(stage: &mut Stage) -> anyhow::Result<()> {
    let before = stage.effects()?.len();
    let deployment = &stage.deployment;
    let mut errand = Instance::new(deployment, (ERRAND, "crm"))?;
    let refused = errand.pushes(&task(&["crm/export"], &["exposes-data"])).await?;
    say(&format!("`{ERRAND}` asks for more than its purpose allows → {}", refused.json()));
    ensure!(refused.json()["error"] == "invalid_scope", "it could ask for that");
    let pushed = errand.pushes(&task(&["crm/lookup"], &[])).await?.json();
    let asked = pushed["request_uri"].as_str().context("nothing was pushed")?.to_owned();
    let page = pushed["consent_uri"].as_str().context("there is no page")?.to_owned();
    let pending = errand.redeems(&asked).await?.json();
    ensure!(pending["error"] == "authorization_pending", "nobody answered: {pending}");
    say(&format!("it asks to look customers up for {PERSON}, and gives her a link to {page}"));

    consents(&page, stage).await?;
    let answer = errand.redeems(&asked).await?;
    errand.takes(&answer)?;
    let customer = json!({ "customer": "C-7" });
    let answer = errand.call(("lookup", &customer), &errand.proof()?).await?;
    ensure!(answer.json()["result"]["isError"] == false, "it may not read: {}", answer.json());
    let effect = stage.one_more(before)?;
    let chain = stage.deployment.typed_json(&["log", "chain", &effect.decision]).await?;
    ensure!(chain["subject"] == PERSON, "it was done for {}", chain["subject"]);
    say(&format!("it looks a customer up for {PERSON} ({})", effect.decision));

    exceeded(&errand, stage).await?;
    stage.one_more(before).map(drop)
}

/// The person logs in, reads, and consents.
async fn consents(page: &str, stage: &Stage) -> anyhow::Result<()> {
    let mut browser = Browser::default();
    let first = browser.get(page).await?;
    let link = quoted(&String::from_utf8_lossy(&first.body), "<a href=\"")?;
    let shown = browser.get(&format!("{}{link}", origin(page))).await?;
    let text = String::from_utf8_lossy(&shown.body).into_owned();
    ensure!(shown.status == 200, "{PERSON} is not shown what is asked: {text}");
    for row in text.split("<dt>").skip(1) {
        let row = row.split("</dd>").next().unwrap_or_default();
        say(&format!("  {}", row.replace("</dt><dd>", ": ")));
    }
    let csrf = quoted(&text, "name=\"csrf\" value=\"")?;
    let digest = quoted(&text, "name=\"shown\" value=\"")?;
    let fields = [("csrf", csrf.as_str()), ("shown", &digest), ("choice", "once")];
    let answered = browser.post(page, &fields).await?;
    ensure!(answered.status == 200, "the consent did not count");
    let records = stage.deployment.records().await?;
    let is_recorded = records.iter().any(|record| record["action"] == "mandate/give");
    ensure!(is_recorded, "the consent is not recorded");
    say(&format!(
        "{PERSON} logs in as `{SUBJECT}` at her provider, reads that, and says yes, once"
    ));
    Ok(())
}

/// Beyond the mandate there is nothing: no other tool to be handed on, and no token for another server.
async fn exceeded(errand: &Instance, stage: &Stage) -> anyhow::Result<()> {
    let wider = task(&["crm/lookup", "payments/refund"], &["moves-money"]);
    for agent in [TEAM, WORKER] {
        let other = Instance::new(&stage.deployment, (agent, "payments"))?;
        let refused = errand.delegates(&other, &wider).await?.json();
        ensure!(refused["error"] == "invalid_scope", "more was handed on: {refused}");
        say(&format!("it hands refunds on to `{agent}` → {refused}"));
    }
    let pays = errand.elsewhere(&stage.deployment, "payments")?;
    let refused = pays.ask_for_token(&[("grant_type", "client_credentials")]).await?.json();
    ensure!(refused["access_token"].is_null(), "it got a token for payments");
    say(&format!("it asks for a token for payments → {refused}"));
    Ok(())
}
