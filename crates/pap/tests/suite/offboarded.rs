//! What a report of offboarding is of: every kind of credential, and the signals by which they died.

use std::collections::BTreeSet;

use model::{Agent, FactKey, Sha256Digest};
use pap::Command;
use serde_json::json;

use crate::directories::Scene;
use crate::offboard::desk;
use crate::streams::{ISSUER, RISC, Signals};

/// From a signal, by its token's `jti`, to each agent that it suspended, and to no other.
#[tokio::test]
async fn sc_02_a_report_leads_from_a_signal_to_each_agent_that_it_suspended() {
    let scene = Box::pin(Scene::over(Box::pin(desk()).await)).await;
    let signals = Box::pin(Signals::over(scene, |said| said)).await;
    let desk = &signals.scene.desk;
    let facts = &desk.world.standing;
    let sponsor = facts.sponsor.id.clone();
    for (name, by) in [("second", sponsor.as_str()), ("third", sponsor.as_str()), ("else", "carl")]
    {
        let (name, by) = (name.parse().expect("an agent"), by.parse().expect("a person"));
        let agent = Agent { name, sponsor: by, ..facts.agent.clone() };
        desk.world.put(FactKey::agent(&agent.name), &agent).await;
    }
    desk.world.put(FactKey::login(ISSUER, "x-ann"), &sponsor).await;
    let adopt = Command::DirectoryAdopt { name: "okta".to_owned(), person: sponsor.to_string() };
    desk.run(adopt).await.expect("they are the directory's");
    signals.later();
    let claims = signals.claims(&format!("{RISC}account-disabled"), signals.now());
    signals.take(&signals.sign(&claims)).await.expect("it is taken");

    let jti = Sha256Digest::of(claims["jti"].as_str().expect("it has one").as_bytes());
    let records = desk.world.records("administration").await;
    let such = records.iter().filter(|it| it.value["signal"]["jti"] == json!(jti));
    let such: Vec<_> = such.collect();
    let [record] = such[..] else { panic!("one record is of it: {}", such.len()) };
    let report = desk.report().await;
    let rows = report["credentials"].as_array().expect("there are some");
    let mut suspended = BTreeSet::new();
    for row in rows {
        assert_eq!(row["state"], "dead", "{row}");
        assert_eq!(row["by"]["record"], record.text_of("id"), "{row}");
        assert_eq!(row["by"]["signal"], record.value["signal"], "{row}");
        if row["kind"] == "agent_key" {
            suspended.insert(row["of"].as_str().expect("an agent"));
        }
    }
    assert_eq!(suspended, BTreeSet::from([facts.agent.name.as_str(), "second", "third"]));
    let signal = &record.value["signal"];
    assert_eq!(
        (&signal["event"], &signal["stream"]),
        (&json!("risc/account-disabled"), &json!("caep"))
    );
}
