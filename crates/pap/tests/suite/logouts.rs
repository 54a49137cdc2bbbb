//! A logout ends what was begun in the login session that it names, and nothing of any other of that person's.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{
    Clock as _, FactKey, InstanceId, LoginSession, Mandate, MandateBasis, MandateId, SessionDigest,
    Sha256Digest, TaskId, Thumbprint,
};
use pap::Command;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::directories::Scene;
use crate::elevations::consented;
use crate::handed_on::{CHILD, calls, hand_on};
use crate::streams::{CAEP, ISSUER, RISC, Signals};
use crate::support::World;

/// What works under what a person consented to in the session `one`; a part of it is handed on to [`CHILD`].
const ONE: [u8; 16] = [1; 16];

/// The same, in the session `two`.
const TWO: [u8; 16] = [51; 16];

/// The same, in a session that nobody knows: as whatever was begun before sessions were kept.
const UNNAMED: [u8; 16] = [52; 16];

/// All that works, by name.
const WORKS: [(&str, [u8; 16]); 4] =
    [("one", ONE), ("child of one", CHILD), ("two", TWO), ("unnamed", UNNAMED)];

fn session(name: &str) -> SessionDigest {
    SessionDigest::of(name.as_bytes())
}

/// The same consent, given in another session.
fn given_in(mandate: &Mandate, name: Option<&str>) -> Mandate {
    let (mut mandate, since) = (mandate.clone(), mandate.given);
    if let MandateBasis::Consented { session: of, .. } = &mut mandate.basis {
        *of = name.map(|name| LoginSession { id: Some(session(name)), since });
    }
    mandate
}

/// Another instance works for the same person, by a consent that was given in `session`.
async fn works(world: &World, id: [u8; 16], session: Option<&str>) {
    let facts = &world.standing;
    let (mut instance, mut task) = (facts.instance.clone(), facts.task.clone());
    let mandate = Mandate { id: MandateId::from_bytes(id), ..given_in(&facts.mandate, session) };
    (instance.id, instance.task) = (InstanceId::from_bytes(id), TaskId::from_bytes(id));
    instance.key = Some(Thumbprint::from_bytes([id[0]; 32]));
    (task.id, task.instance) = (instance.task, instance.id);
    (task.mandate, task.mandate_digest) = (mandate.id, mandate.digest());
    world.put(FactKey::mandate(mandate.id), &mandate).await;
    world.put(FactKey::instance(instance.id), &instance).await;
    world.put(FactKey::task(task.id), &task).await;
}

/// A deployment in which all that works does so on behalf of one person of a directory, with its stream.
async fn deployment() -> Signals {
    let world = World::with(|facts| {
        consented(facts, &[]);
        facts.mandate = given_in(&facts.mandate, Some("one"));
        facts.task.mandate_digest = facts.mandate.digest();
    })
    .await;
    hand_on(&world).await;
    works(&world, TWO, Some("two")).await;
    works(&world, UNNAMED, None).await;
    let scene = Box::pin(Scene::over(Box::pin(Desk::over(world)).await)).await;
    let signals = Box::pin(Signals::over(scene, |said| said)).await;
    let desk = &signals.scene.desk;
    let person = &desk.world.standing.other.id;
    desk.world.put(FactKey::login(ISSUER, "x-ann"), person).await;
    let adopt = Command::DirectoryAdopt { name: "okta".to_owned(), person: person.to_string() };
    desk.run(adopt).await.expect("they are the directory's");
    signals.later();
    signals
}

/// Why each is denied a call; `permitted` where it is not.
async fn states(desk: &Desk) -> BTreeMap<&'static str, String> {
    let mut all = BTreeMap::new();
    for (name, id) in WORKS {
        all.insert(name, calls(desk, id, "lookup").await);
    }
    all
}

/// All are permitted a call, but these.
fn ended(names: &[&str]) -> BTreeMap<&'static str, String> {
    let state = |name| if names.contains(&name) { "mandate_not_valid" } else { "permitted" };
    WORKS.into_iter().map(|(name, _)| (name, state(name).to_owned())).collect()
}

/// The user, as the stream names them, with what else `beside` says.
fn complex(beside: &Value) -> Value {
    let user = json!({ "format": "iss_sub", "iss": ISSUER, "sub": "x-ann" });
    let mut subject = json!({ "format": "complex", "user": user });
    for (part, value) in beside.as_object().expect("parts") {
        subject[part] = value.clone();
    }
    subject
}

fn opaque(session: &str) -> Value {
    json!({ "session": { "format": "opaque", "id": session } })
}

/// What ends by `event` of the subject `of`, and the record that says by which token.
async fn check(event: &str, of: &Value, expected: &[&str]) {
    let (family, name) = event.split_once('/').expect("of a family");
    let event = format!("{}{name}", if family == "caep" { CAEP } else { RISC });
    let signals = Box::pin(deployment()).await;
    let desk = &signals.scene.desk;
    assert_eq!(states(desk).await, ended(&[]));
    let mut claims = signals.claims(&event, signals.now());
    claims["sub_id"] = of.clone();
    signals.take(&signals.sign(&claims)).await.expect("it is acknowledged");
    assert_eq!(states(desk).await, ended(expected), "{event}: {of}");
    let records = desk.world.records("administration").await;
    let jti = json!(Sha256Digest::of(claims["jti"].as_str().expect("it has one").as_bytes()));
    let such = records.iter().filter(|it| it.value["signal"]["jti"] == jti);
    let such: Vec<_> = such.map(|it| it.text_of("action").to_owned()).collect();
    if expected.is_empty() {
        assert_eq!((such.len(), signals.outcomes().await.len()), (0, 1), "{event}: {of}");
    } else {
        assert_eq!(such, ["person/restrict"], "{event}: {of}");
    }
    // Nothing brings it back.
    desk.world.clock.advance(Duration::from_mins(10));
    for back in ["session-established", "session-presented"] {
        let mut claims = signals.claims(&format!("{CAEP}{back}"), signals.now());
        claims["sub_id"] = of.clone();
        signals.take(&signals.sign(&claims)).await.expect("it is acknowledged");
    }
    signals.tell(&format!("{RISC}account-enabled"), signals.now()).await;
    assert_eq!(states(desk).await, ended(expected), "{event}: {of}, later");
}

#[tokio::test]
async fn sc_02_a_logout_ends_the_tasks_of_that_session_alone() {
    let (revoked, changed) = ("caep/session-revoked", "caep/credential-change");
    let all = ["one", "child of one", "two", "unnamed"].as_slice();
    let one = ["one", "child of one", "unnamed"].as_slice();
    let two = ["two", "unnamed"].as_slice();
    let mut with_tenant = opaque("one");
    with_tenant["tenant"] = json!({ "format": "opaque", "id": "t" });
    let named = json!({ "session": { "format": "iss_sub", "iss": ISSUER, "sub": "two" } });
    let unlike_any = json!({ "session": { "format": "email", "email": "a@b" } });
    let alone = json!({ "format": "complex", "session": opaque("three")["session"] });
    for (event, of, expected) in [
        (revoked, complex(&opaque("one")), one),
        (revoked, complex(&opaque("two")), two),
        (changed, complex(&opaque("one")), one),
        (revoked, complex(&with_tenant), one),
        (revoked, complex(&named), two),
        // Nobody knows it: only what may have been begun in it ends.
        (revoked, complex(&opaque("three")), &["unnamed"]),
        // Of no session, of one that is named as none is, or of the account: of all.
        (revoked, complex(&json!({})), all),
        (revoked, complex(&unlike_any), all),
        ("risc/sessions-revoked", complex(&opaque("one")), all),
        // Nothing ends, or nobody's does.
        ("caep/session-presented", complex(&opaque("one")), &[]),
        (revoked, alone, &[]),
    ] {
        Box::pin(check(event, &of, expected)).await;
    }
}

/// Who sponsors goes on, and what is under way is cut: the person's own standing is as it was.
#[tokio::test]
async fn sc_02_what_is_under_way_in_an_ended_session_is_cut_and_the_person_stays() {
    let signals = Box::pin(deployment()).await;
    let world = &signals.scene.desk.world;
    let permit = world.authorize(world.call("lookup", json!({}))).await.expect("it is permitted");
    let watch = world.authority.watch(&permit);
    let begun = permit.begin(world.clock.as_ref()).expect("it begins");
    let mut claims = signals.claims(&format!("{CAEP}session-revoked"), signals.now());
    claims["sub_id"] = complex(&opaque("one"));
    let token = signals.sign(&claims);
    signals.take(&token).await.expect("it is taken");
    let cut = watch.no_longer_permitted().await.to_string();
    assert_eq!(cut, "denied by the built-in rule `mandate_not_valid`");
    drop(begun);
    let person = signals.person(world.standing.other.id.as_str()).await;
    let over = json!({ session("one").to_string(): world.clock.now() });
    assert_eq!((&person["sessions_over"], &person["state"]["is"]), (&over, &json!("active")));
    assert!(person.get("sessions_cutoff").is_none(), "{person}");
    // The report of the agent names the session's record for what ended, and nothing for what goes on.
    let name = world.standing.agent.name.to_string();
    let report = signals.scene.desk.run(Command::AgentOffboard { name, since: None }).await;
    let report = report.expect("it is reported");
    let rows = report["credentials"].as_array().expect("there are some");
    let instance = |id: [u8; 16]| {
        let id = json!(InstanceId::from_bytes(id).to_string());
        rows.iter().find(|row| row["kind"] == "instance" && row["id"] == id).expect("it is there")
    };
    assert_eq!(instance(TWO)["state"], "valid");
    for id in [ONE, UNNAMED] {
        let row = instance(id);
        assert_eq!(
            (&row["state"], &row["by"]["action"]),
            (&json!("dead"), &json!("person/restrict"))
        );
    }
}
