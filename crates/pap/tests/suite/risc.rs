//! What the events of RISC 1.0 do to whom they are about, from their token at the receiver on.

use model::record::OutcomeKind;
use model::{FactKey, Sha256Digest, Timestamp};
use pap::Command;
use serde_json::json;

use crate::desk::Desk;
use crate::directories::{Scene, user};
use crate::offboard::desk;
use crate::streams::{ISSUER, RISC, Signals};

/// Reads something, and gives the decision.
async fn reads(desk: &Desk) -> String {
    let act = desk.world.call("lookup", json!({}));
    let permit = desk.world.authorize(act).await.expect("it is permitted");
    let decision = permit.context().decision.to_string();
    let running = permit.begin(desk.world.clock.as_ref()).expect("it begins").running;
    running.finish(OutcomeKind::Returned, None);
    desk.world.drained().await;
    decision
}

/// Whose account somebody else had stops with all that they sponsor, and the record leads to what was done since.
#[tokio::test]
async fn sc_02_who_was_compromised_stops_and_the_acts_since_are_listed() {
    for event in ["account-disabled", "credential-compromise"] {
        let scene = Box::pin(Scene::over(Box::pin(desk()).await)).await;
        let signals = Box::pin(Signals::over(scene, |said| said)).await;
        let desk = &signals.scene.desk;
        let sponsor = desk.world.standing.sponsor.id.clone();
        desk.world.put(FactKey::login(ISSUER, "x-ann"), &sponsor).await;
        let (name, person) = ("okta".to_owned(), sponsor.to_string());
        desk.run(Command::DirectoryAdopt { name, person }).await.expect("adopted");
        signals.later();
        reads(desk).await;
        signals.later();
        let at = signals.now();
        let since_then = reads(desk).await;
        signals.later();
        let uri = format!("{RISC}{event}");
        let mut claims = signals.claims(&uri, at);
        claims["events"][&uri]["reason"] = json!("hijacking");
        signals.take(&signals.sign(&claims)).await.expect("it is taken");

        assert!(!signals.is_active(sponsor.as_str()).await, "{event}");
        assert_eq!(desk.call("lookup").await, "sponsor_not_active", "{event}");
        let made = desk.world.records("administration").await;
        let last = made.last().expect("a record");
        assert_eq!(last.text_of("action"), "person/restrict");
        let jti = Sha256Digest::of(claims["jti"].as_str().expect("it has one").as_bytes());
        let signal = json!({
            "at": at * 1_000, "event": format!("risc/{event}"), "jti": jti, "stream": "caep",
        });
        assert_eq!(last.value["signal"], signal);
        let since: Timestamp =
            serde_json::from_value(last.value["signal"]["at"].clone()).expect("a time");
        let report = Command::PersonOffboard { id: sponsor.to_string(), since: Some(since) };
        let report = desk.as_root(report).await.expect("it is reported");
        let acts = report["acts"].as_array().expect("there are some");
        let told: Vec<_> = acts.iter().map(|act| act["record"].clone()).collect();
        assert_eq!(told, [json!(since_then)], "{event}");
    }
}

/// What says of an account nothing by which anybody has more or less is acknowledged and recorded, and that is all.
#[tokio::test]
async fn sc_02_what_says_nothing_of_anybodys_standing_is_noted_and_changes_nothing() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    let desk = &signals.scene.desk;
    let stands = async || {
        let login = desk.fact(FactKey::login(ISSUER, "x-ann")).await;
        let other = desk.fact(FactKey::login(ISSUER, "x-eve")).await;
        let acts = desk.world.records("administration").await.len();
        (signals.person("ann").await, login, other, acts)
    };
    let before = stands().await;
    assert_eq!((&before.1, &before.2), (&Some(json!("ann")), &None));
    for name in [
        "identifier-changed",
        "identifier-recycled",
        "opt-in",
        "opt-out-cancelled",
        "opt-out-effective",
        "opt-out-initiated",
        "recovery-activated",
        "recovery-information-changed",
    ] {
        let event = format!("{RISC}{name}");
        let mut claims = signals.claims(&event, signals.now());
        claims["events"][&event]["new-value"] = json!("x-eve");
        signals.take(&signals.sign(&claims)).await.expect("it is acknowledged");
        assert_eq!(stands().await, before, "{name}");
        let noted = desk.world.records("system").await;
        let noted = noted.iter().rfind(|it| it.text_of("event") == "signal_noted");
        let jti = Sha256Digest::of(claims["jti"].as_str().expect("it has one").as_bytes());
        let expected = json!({
            "event": format!("risc/{name}"), "jti": jti.to_string(), "outcome": "noted",
            "stream": "caep",
        });
        assert_eq!(noted.expect("it is recorded").value["details"], expected);
    }
}
