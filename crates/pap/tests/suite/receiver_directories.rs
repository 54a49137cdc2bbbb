//! What receivers are told of what directories and streams say: agents that they stop, and people who leave or move.

use model::{Covers, RiskLevel, RiskTarget};
use pap::Command;
use pap::directory::AgentChange;
use pap::receivers::Transmitter;
use scim::AGENT;
use secevent::StreamAsked;
use serde_json::{Value, json};

use crate::directories::{at_work, patch};
use crate::directory_agents::agent;
use crate::receivers::{SESSION_REVOKED, TOKEN, Telling, said, short, transmitter};
use crate::streams::{CAEP, RISC, Signals};

/// Who sponsors `billing`, and is a user of the directory.
const SAM: &str = "sam.sponsor@example.org";

/// What a directory, or a stream for it, says.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// That an agent is not active.
    AgentInactive,
    /// That it is gone.
    AgentGone,
    /// How it is called.
    AgentRenamed,
    /// That its sponsor is not active.
    SponsorInactive,
    /// That they work elsewhere.
    SponsorMoves,
    /// What they are called beside.
    SponsorRenamed,
    /// That their account is disabled, by a stream.
    AccountDisabled,
    /// That they are logged out, by a stream.
    SessionRevoked,
}

/// A stream and a directory, one of whose people is the sponsor; and a receiver that is told of all agents.
async fn set() -> Signals {
    let signals = Box::pin(Signals::set()).await;
    let desk = &signals.scene.desk;
    let receiver = Command::ReceiverAdd(said(desk, Covers::All));
    desk.run(receiver).await.expect("it is registered");
    let adopt = Command::DirectoryAdopt { name: "okta".to_owned(), person: SAM.to_owned() };
    desk.run(adopt).await.expect("they are its own");
    signals
}

/// What `what` is told as: the event, of whom, and by which act.
async fn told(what: Says) -> Vec<(String, String, Value)> {
    let signals = set().await;
    let scene = &signals.scene;
    scene.creates(at_work(SAM, "Desk 4", "carl")).await;
    scene.enrol(agent("desk")).await.expect("it is new");
    let transmitter = transmitter(&scene.desk);
    let id = stream(&transmitter).await;
    signals.later();
    say(&signals, what).await;
    let Signals { scene, .. } = signals;
    let other = scene.desk.world.standing.other.id.clone();
    let all = Telling { desk: scene.desk, transmitter, other }.told(&id).await;
    let told = |claims: &Value| {
        let (event, whom) = short(claims);
        let payload = claims["events"].as_object().and_then(|it| it.values().next()).cloned();
        let payload = payload.unwrap_or_default();
        assert_eq!(payload["initiating_entity"], "system", "{claims}");
        (event, whom, payload["reason_admin"]["en"].clone())
    };
    let mut all: Vec<_> = all.iter().map(told).collect();
    all.sort_by(|one, other| one.1.cmp(&other.1));
    all
}

/// The stream of the receiver.
async fn stream(transmitter: &Transmitter) -> String {
    let known = transmitter.known(TOKEN).await.expect("it is known");
    let asked = StreamAsked::parse(b"{}").expect("it can be read");
    let stream = transmitter.create(&known, asked).await.expect("it is created");
    stream["stream_id"].as_str().expect("an id").to_owned()
}

async fn say(signals: &Signals, what: Says) {
    let scene = &signals.scene;
    let by_stream = async |event: String| {
        let mut claims = signals.claims(&event, signals.now());
        claims["sub_id"]["sub"] = json!(format!("x-{SAM}"));
        signals.take(&signals.sign(&claims)).await.expect("it is taken");
    };
    match what {
        Says::AgentInactive => scene.is_active("desk", false).await.expect("it is said"),
        Says::AgentGone => scene.alter("desk", &AgentChange::Delete).await.expect("it is said"),
        Says::AgentRenamed => {
            let name = json!({ "op": "replace", "path": "displayName", "value": "The desk" });
            let name = patch(&AGENT, name);
            scene.alter("desk", &AgentChange::Patch(&name)).await.expect("it is said");
        }
        Says::SponsorInactive => scene.activity(SAM, false).await.expect("it is said"),
        Says::SponsorMoves => {
            scene.replaces(SAM, at_work(SAM, "Desk 9", "carl")).await.expect("it is said");
        }
        Says::SponsorRenamed => {
            let mut said = at_work(SAM, "Desk 4", "carl");
            said["displayName"] = json!("Sam");
            scene.replaces(SAM, said).await.expect("it is said");
        }
        Says::AccountDisabled => by_stream(format!("{RISC}account-disabled")).await,
        Says::SessionRevoked => by_stream(format!("{CAEP}session-revoked")).await,
    }
}

/// Whatever stops by a directory's word is told, each by its name, and what stops nothing is not.
#[tokio::test]
async fn n_097_what_stops_by_a_directory_or_a_stream_is_told() {
    let both: &[&str] = &["billing", "desk"];
    for (what, whom, act) in [
        (Says::AgentInactive, &["desk"][..], "agent/restrict"),
        (Says::AgentGone, &["desk"], "agent/restrict"),
        (Says::AgentRenamed, &[], ""),
        (Says::SponsorInactive, both, "person/restrict"),
        (Says::SponsorMoves, both, "person/restrict"),
        (Says::SponsorRenamed, &[], ""),
        (Says::AccountDisabled, both, "person/restrict"),
        (Says::SessionRevoked, &[], ""),
    ] {
        let expected = |whom: &&str| (SESSION_REVOKED.to_owned(), (*whom).to_owned(), json!(act));
        let expected: Vec<_> = whom.iter().map(expected).collect();
        assert_eq!(Box::pin(told(what)).await, expected, "{what:?}");
    }
}

/// The greatest risk that anybody says of an agent is told: what a transmitter says is, where it changes that.
#[tokio::test]
async fn what_a_transmitter_rates_is_told_on_where_it_changes_the_greatest_risk() {
    let signals = set().await;
    let scene = &signals.scene;
    let transmitter = transmitter(&scene.desk);
    let id = stream(&transmitter).await;
    let rate = async |level: &str| {
        signals.later();
        let event = format!("{CAEP}risk-level-change");
        let mut claims = signals.claims(&event, signals.now());
        claims["events"][&event]["current_level"] = json!(level);
        claims["events"][&event]["principal"] = json!("APPLICATION");
        let application = json!({ "format": "opaque", "id": "billing" });
        claims["sub_id"] = json!({ "format": "complex", "application": application });
        signals.take(&signals.sign(&claims)).await.expect("it is taken");
    };
    for level in ["LOW", "MEDIUM", "MEDIUM", "HIGH"] {
        rate(level).await;
    }
    assert_eq!(signals.outcomes().await, ["rated_already"]);
    signals.later();
    let what = RiskTarget::Agent("billing".parse().expect("an agent"));
    let (level, reason) = (RiskLevel::Medium, "seen".to_owned());
    let raise = Command::RiskRaise { what, level, reason };
    scene.desk.run(raise).await.expect("it is said");
    for level in ["LOW", "MEDIUM"] {
        rate(level).await;
    }
    let Signals { scene, .. } = signals;
    let other = scene.desk.world.standing.other.id.clone();
    let all = Telling { desk: scene.desk, transmitter, other }.told(&id).await;
    let told = |claims: &Value| {
        let payload = claims["events"].as_object().and_then(|it| it.values().next()).cloned();
        let payload = payload.unwrap_or_default();
        (payload["event_timestamp"].as_i64(), payload["current_level"].clone())
    };
    let mut all: Vec<_> = all.iter().map(told).collect();
    all.sort_by_key(|(at, _)| *at);
    let levels: Vec<_> = all.into_iter().map(|(_, level)| level).collect();
    assert_eq!(levels, ["MEDIUM", "HIGH", "HIGH", "MEDIUM"]);
}
