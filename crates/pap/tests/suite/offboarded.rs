//! What a report of offboarding is of: every kind of credential, and the signals by which they died.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::record::{ActCommitments, IssuanceRecord, VERSION};
use model::{
    Agent, Agreed, Attestation, Binding, Clock as _, Commitment, DecisionId, Device, DeviceState,
    Elevation, ElevationId, ElevationState, FactKey, Family, HostRule, Mandate, MandateBasis,
    MandateId, RecordId, RegisteredClient, Salt, Sha256Digest, Thumbprint, WorkloadRule,
};
use pap::{Command, CredentialKind};
use serde_json::{Value, json};
use store::Unit;

use crate::desk::{Desk, jwk};
use crate::directories::Scene;
use crate::offboard::desk;
use crate::streams::{ISSUER, RISC, Signals};

/// The OAuth client that is the agent of the tests.
const CLIENT: &str = "https://client.example/oauth.json";

/// Gives the sponsor of the tests, and their agent, whatever kind of credential they have not.
async fn gives_all(desk: &Desk) {
    let (world, now) = (&desk.world, desk.world.clock.now());
    let facts = &world.standing;
    let (sponsor, agent) = (facts.sponsor.id.clone(), facts.agent.name.clone());
    let until = now.plus(Duration::from_hours(24));
    let workload = WorkloadRule::new("https://cluster.example", "sa:billing", BTreeMap::new());
    let is = Agent {
        key: jwk(),
        host: Some(HostRule { exe: None, uid: 1_000 }),
        workloads: vec![workload.expect("a rule")],
        client: Some(RegisteredClient { id: CLIENT.to_owned(), bearer: true, since: now }),
        ..facts.agent.clone()
    };
    world.put(FactKey::agent(&agent), &is).await;
    world.put(FactKey::client(CLIENT), &agent).await;
    world.portal(jwk()).await;
    let (subject, request) = (facts.other.id.clone(), Sha256Digest::of(b"what was asked"));
    let system = "portal".parse().expect("a system");
    let initiated = MandateBasis::Initiated { system, request, subject: subject.clone() };
    let agreed = Agreed::default();
    let consented =
        MandateBasis::Consented { subject, request, once: false, agreed, session: None };
    for (id, basis) in [([31; 16], initiated), ([32; 16], consented)] {
        let id = MandateId::from_bytes(id);
        let mandate = Mandate { id, basis, given: now, ..facts.mandate.clone() };
        world.put(FactKey::mandate(id), &mandate).await;
    }
    let device = Device {
        agent: agent.clone(),
        id: Thumbprint::from_bytes([33; 32]),
        key: jwk(),
        name: "laptop".to_owned(),
        by: sponsor.clone(),
        enrolled: now,
        valid_until: until,
        state: DeviceState::Active,
    };
    world.put(FactKey::device(&agent, &device.id), &device).await;
    let family = Family {
        client_id: CLIENT.to_owned(),
        since: now,
        instance: facts.instance.id,
        server: facts.server.name.clone(),
        refresh: Sha256Digest::of(b"a refresh token"),
    };
    world.put(FactKey::family(&Sha256Digest::of(b"a family")), &family).await;
    let elevation = Elevation {
        id: ElevationId::from_bytes([34; 16]),
        name: "month-end".parse().expect("a name"),
        task: facts.task.id,
        instance: facts.instance.id,
        tools: BTreeMap::new(),
        max_calls: None,
        lasts_s: 900,
        reason: "a test".to_owned(),
        asked_by: sponsor.clone(),
        key: None,
        asked: now,
        state: ElevationState::Asked,
    };
    world.put(FactKey::elevation(elevation.id), &elevation).await;
    world.put(FactKey::login(ISSUER, "x-sam"), &sponsor).await;
    world.put(FactKey::from_text(&format!("founder-key/{sponsor}")), &jwk()).await;
    issued(desk).await;
}

/// The instance of the tests was given a token.
pub(crate) async fn issued(desk: &Desk) {
    let (world, now) = (&desk.world, desk.world.clock.now());
    let facts = &world.standing;
    let sponsor = Commitment::to(&Salt::from_bytes([7; 32]), b"\"sam\"");
    let record = IssuanceRecord {
        agent: facts.agent.name.clone(),
        attestation: Attestation::User,
        audience: "https://chancery.example/mcp/crm".to_owned(),
        binding: Binding::Dpop,
        commitments: ActCommitments::new(sponsor),
        decision: DecisionId::from_bytes([35; 16]),
        delegators: Vec::new(),
        expires: now.plus(Duration::from_mins(5)),
        id: RecordId::from_bytes([36; 16]),
        instance: facts.instance.id,
        jti: Sha256Digest::of(b"a token"),
        key: facts.instance.key,
        kind: "issuance".to_owned(),
        mandate: Some(facts.task.mandate_digest),
        purpose: facts.purpose.id.clone(),
        task: facts.task.id,
        time: now,
        v: VERSION,
    };
    let entries = vec![authority::entry(*record.id.as_bytes(), &record, None)];
    let unit = Unit { entries, ..Unit::default() };
    world.journal.store().commit(unit).await.expect("it commits");
}

/// The rows of `kind` in `report`; there are some.
fn rows(report: &Value, kind: CredentialKind) -> Vec<&Value> {
    let all = report["credentials"].as_array().expect("there are some");
    let rows: Vec<_> = all.iter().filter(|row| row["kind"] == json!(kind)).collect();
    assert!(!rows.is_empty(), "{kind:?}: {report}");
    rows
}

/// Each kind of credential is listed: while it counts it fails the report, and once it does not, when that was
/// and by which record is told.
#[tokio::test]
async fn r_19_every_kind_of_credential_is_in_the_report_alive_and_dead() {
    let desk = Box::pin(desk()).await;
    gives_all(&desk).await;
    let report = desk.report().await;
    for kind in CredentialKind::ALL {
        for row in rows(&report, *kind) {
            assert_eq!(row["state"], "valid", "{row}");
            assert!(row.get("died").is_none() && row.get("by").is_none(), "{row}");
        }
    }
    // Of those that count there may be none, of whatever kind.
    let all = report["credentials"].as_array().expect("there are some").len();
    assert_eq!((&report["valid"], &report["is_over"]), (&json!(all), &json!(false)));

    desk.world.clock.advance(Duration::from_secs(1));
    let died = desk.world.clock.now().to_string();
    let id = desk.world.standing.sponsor.id.to_string();
    let left = desk.as_root(Command::PersonDeactivate { id }).await.expect("they leave");
    let report = desk.report().await;
    for kind in CredentialKind::ALL {
        for row in rows(&report, *kind) {
            assert_eq!((&row["state"], &row["died"]), (&json!("dead"), &json!(died)), "{row}");
            let by = (&row["by"]["record"], &row["by"]["action"]);
            assert_eq!(by, (&left["decision"], &json!("person/deactivate")), "{row}");
            assert!(row["why"].is_string(), "{row}");
        }
    }
    assert_eq!((&report["valid"], &report["is_over"]), (&json!(0), &json!(true)), "{report}");
}

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

/// What a client kept that was taken back is dead, and the record that took it back is named.
#[tokio::test]
async fn n_092_what_a_client_kept_is_dead_by_the_record_that_took_it_back() {
    let desk = Box::pin(desk()).await;
    gives_all(&desk).await;
    desk.world.clock.advance(Duration::from_secs(1));
    let name = desk.world.standing.agent.name.to_string();
    let taken = Command::AgentClient { name: name.clone(), client: None };
    let taken = desk.as_root(taken).await.expect("it is taken back");
    let report = Command::AgentOffboard { name, since: None };
    let report = desk.as_root(report).await.expect("it is reported");
    let [family] = rows(&report, CredentialKind::ClientFamily)[..] else { panic!("{report}") };
    assert_eq!((&family["state"], &family["why"]), (&json!("dead"), &json!("client_changed")));
    let by = (&family["by"]["record"], &family["by"]["action"]);
    assert_eq!(by, (&taken["decision"], &json!("agent/client")), "{family}");
    let all = report["credentials"].as_array().expect("there are some");
    assert!(!all.iter().any(|row| row["kind"] == json!(CredentialKind::OauthClient)));
}
