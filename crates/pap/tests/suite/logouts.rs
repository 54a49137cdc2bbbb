//! A logout ends what was begun in the login session that it names, and nothing of any other of that person's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{
    Authentication, Clock as _, ConsentSession, DeviceAsked, FactKey, InstanceId, LoginSession,
    Mandate, MandateBasis, MandateId, Memory, PersonId, SessionDigest, Sha256Digest, TaskId,
    Thumbprint,
};
use pap::{AdminError, Answer, Answered, Command};
use serde_json::{Value, json};
use store::{CounterKey, Store as _, Unit};

use crate::desk::{Desk, word};
use crate::directories::Scene;
use crate::elevations::consented;
use crate::handed_on::{CHILD, calls, hand_on};
use crate::streams::{CAEP, ISSUER, RISC, Signals};
use crate::support::stores::OnCommit;
use crate::support::{World, person, put};
use crate::{consent, devices};

/// What works under what a person consented to in the session `one`; a part of it is handed on to [`CHILD`].
const ONE: [u8; 16] = [1; 16];

/// The same, in the session `two`.
const TWO: [u8; 16] = [51; 16];

/// The same, in a session that nobody knows: as whatever was begun before sessions were kept.
const UNNAMED: [u8; 16] = [52; 16];

/// All that works, by name.
const WORKS: [(&str, [u8; 16]); 4] =
    [("one", ONE), ("child of one", CHILD), ("two", TWO), ("unnamed", UNNAMED)];

pub(crate) fn session(name: &str) -> SessionDigest {
    SessionDigest::of(name.as_bytes())
}

/// The same consent, given in another session.
fn given_in(mandate: &Mandate, name: Option<&str>) -> Mandate {
    let (mut mandate, since) = (mandate.clone(), mandate.given);
    if let MandateBasis::Consented { session: of, .. } = &mut mandate.basis {
        let given = |name| LoginSession { id: Some(session(name)), since };
        *of = name.map(|name| ConsentSession::of(given(name), None));
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
pub(crate) async fn deployment() -> Signals {
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
    desk.world.put(FactKey::login(ISSUER, "x-sam"), &desk.world.standing.sponsor.id).await;
    let adopt = Command::DirectoryAdopt { name: "okta".to_owned(), person: person.to_string() };
    desk.run(adopt).await.expect("they are the directory's");
    let place = FactKey::session_of(session("one"));
    desk.world.put(place, &BTreeSet::from([person])).await;
    // As it was written before.
    let place = FactKey::session_of_one(&signals.scene.okta.name, session("two"));
    desk.world.put(place, person).await;
    signals.later();
    signals
}

/// Why each is denied a call; `permitted` where it is not.
pub(crate) async fn states(desk: &Desk) -> BTreeMap<&'static str, String> {
    let mut all = BTreeMap::new();
    for (name, id) in WORKS {
        all.insert(name, calls(desk, id, "lookup").await);
    }
    all
}

/// All are permitted a call, but these.
pub(crate) fn ended(names: &[&str]) -> BTreeMap<&'static str, String> {
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

pub(crate) fn opaque(session: &str) -> Value {
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
    let all: &[&str] = &["one", "child of one", "two", "unnamed"];
    let one: &[&str] = &["one", "child of one", "unnamed"];
    let two: &[&str] = &["two", "unnamed"];
    let (unnamed, none): (&[&str], &[&str]) = (&["unnamed"], &[]);
    let mut with_tenant = opaque("one");
    with_tenant["tenant"] = json!({ "format": "opaque", "id": "t" });
    let named = json!({ "session": { "format": "iss_sub", "iss": ISSUER, "sub": "two" } });
    let unlike_any = json!({ "session": { "format": "email", "email": "a@b" } });
    let alone = |name: &str| json!({ "format": "complex", "session": opaque(name)["session"] });
    let of_unknown = |name: &str| {
        let user = json!({ "format": "email", "email": "ann@example.com" });
        complex(&json!({ "user": user, "session": opaque(name)["session"] }))
    };
    let of_no_user = |name: &str| {
        let user = json!({ "format": "iss_sub", "iss": ISSUER, "sub": "x-sam" });
        complex(&json!({ "user": user, "session": opaque(name)["session"] }))
    };
    for (event, of, expected) in [
        (revoked, complex(&opaque("one")), one),
        (revoked, complex(&opaque("two")), two),
        (changed, complex(&opaque("one")), one),
        (revoked, complex(&with_tenant), one),
        (revoked, complex(&named), two),
        // Nobody knows it: only what may have been begun in it ends.
        (revoked, complex(&opaque("three")), unnamed),
        // Of no session, of one that is named as none is, or of the account: of all.
        (revoked, complex(&json!({})), all),
        (revoked, complex(&unlike_any), all),
        ("risc/sessions-revoked", complex(&opaque("one")), all),
        // Whose it is is known here, though it is not said.
        (revoked, alone("one"), one),
        (changed, opaque("two")["session"].clone(), two),
        (revoked, of_unknown("one"), one),
        (revoked, of_no_user("one"), one),
        // Nothing ends, or nobody's does.
        ("risc/sessions-revoked", alone("one"), none),
        ("caep/session-presented", complex(&opaque("one")), none),
        (revoked, alone("three"), none),
        (revoked, of_unknown("three"), none),
        (revoked, of_no_user("three"), none),
        ("risc/sessions-revoked", of_unknown("one"), none),
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

/// No session at the pages is kept: which of a person's are over, until when, is told, and that others may count.
#[tokio::test]
async fn r_19_a_report_says_which_sessions_at_the_pages_are_over() {
    let signals = Box::pin(deployment()).await;
    let desk = &signals.scene.desk;
    let mut claims = signals.claims(&format!("{CAEP}session-revoked"), signals.now());
    claims["sub_id"] = complex(&opaque("one"));
    signals.take(&signals.sign(&claims)).await.expect("it is taken");
    let over = desk.world.clock.now();
    let id = desk.world.standing.other.id.to_string();
    let report = desk.run(Command::PersonOffboard { id, since: None }).await.expect("a report");
    let rows = report["credentials"].as_array().expect("there are some");
    let rows = rows.iter().filter(|row| row["kind"] == "page_sessions");
    let rows = rows.map(|row| (&row["id"], &row["state"], &row["by"]["action"]));
    let ended = json!(format!("of session {}, begun by {over}", session("one")));
    let (dead, valid) = (json!("dead"), json!("valid"));
    let (any, restricted) = (json!("any"), json!("person/restrict"));
    let expected = [(&ended, &dead, &restricted), (&any, &valid, &Value::Null)];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
}

/// A session that is named alone, while somebody is logged in by it of whom nothing is known yet, is over for them, for
/// as long as they could stay logged in; nothing is consented to in it.
#[tokio::test]
async fn sc_02_a_session_that_ended_before_anybody_knew_it_is_over() {
    let signals = Box::pin(deployment()).await;
    let (desk, okta) = (&signals.scene.desk, &signals.scene.okta.name);
    let begun = desk.world.clock.now();
    let logged_in = async |name: &str, since| {
        let (who, id) = ((ISSUER, "x-ann"), Some(session(name)));
        let known = desk.administration.logged_in(who, LoginSession { id, since }).await;
        known.expect("it can be read").is_some()
    };
    signals.later();
    assert!(logged_in("three", begun).await);
    let event = format!("{CAEP}session-revoked");
    // Also if it is told twice.
    for _ in 0..2 {
        let mut claims = signals.claims(&event, signals.now());
        claims["sub_id"] = opaque("three")["session"].clone();
        signals.take(&signals.sign(&claims)).await.expect("it is acknowledged");
    }
    assert_eq!(signals.outcomes().await, ["unknown_subject", "unknown_subject"]);
    assert_eq!(states(desk).await, ended(&[]));
    assert!(!logged_in("three", begun).await);
    desk.has_refused_for("session_outdated").await;
    assert!(logged_in("two", begun).await);
    signals.later();
    assert!(logged_in("three", desk.world.clock.now()).await, "they logged in anew");
    // It is forgotten with the tokens that told of it, all of them.
    let place = FactKey::session_over(okta, session("three"));
    assert!(desk.fact(place.clone()).await.is_some());
    desk.world.clock.advance(Duration::from_hours(8 * 24));
    desk.administration.forget_signals(desk.world.clock.now()).await.expect("they are forgotten");
    assert_eq!(desk.fact(place).await, None);
    let counter = CounterKey("taken/caep".to_owned());
    let left = desk.world.store.counters(&[counter]).await.expect("it can be read");
    assert_eq!(left, [0]);
}

/// What a person consents to in a login session is kept with that session, and nothing is consented to in one that
/// ended since they came in by it.
#[tokio::test]
async fn sc_02_a_consent_is_of_the_session_in_which_it_is_given() {
    let one = session("one");
    let check = async |ended: &str, is_given: bool| {
        let (desk, carla, asked) = consent::desk().await;
        let session_here = LoginSession { id: Some(one), since: desk.world.clock.now() };
        desk.world.put(FactKey::login(ISSUER, "00u1"), &carla).await;
        desk.world.clock.advance(Duration::from_secs(1));
        let ended = BTreeSet::from([session(ended)]);
        let person = person("carla", &[]).logged_out(&ended, desk.world.clock.now());
        desk.world.put(FactKey::person(&carla), &person).await;
        let who = (ISSUER, "00u1");
        let known = desk.administration.logged_in(who, session_here).await.expect("it can be read");
        assert_eq!(known.is_some(), is_given);
        let (read, id) = (consent::shown(&desk, &carla, &asked).await, asked.id.to_string());
        let how = Authentication::said(Some(session_here.since), Some("loa2"), &BTreeSet::new());
        let (session, authentication) = (Some(session_here), how.as_ref());
        let by = pap::By { session, authentication, ..pap::By::from(&carla) };
        match desk.administration.consent_answer(by, &id, (Answer::Once, &read)).await {
            Ok(reply) => {
                let Answered::Given(mandate) = reply.answered else { panic!("it is given") };
                assert_eq!(
                    (mandate.basis.session(), mandate.begun()),
                    (Some(one), session_here.since)
                );
                assert_eq!(mandate.basis.authentication(), how.as_ref());
                assert!(is_given);
            }
            Err(error) => {
                assert!(matches!(error, AdminError::Conflict(_)), "{error:?}");
                assert!(!is_given);
                desk.has_refused_for("session_outdated").await;
            }
        }
    };
    check("one", false).await;
    check("two", true).await;
}

/// A signal that is taken while somebody consents in the session that it ends is in force first.
#[tokio::test]
async fn sc_02_nothing_is_consented_to_in_a_session_that_ends_meanwhile() {
    let (desk, carla, asked) = consent::desk().await;
    let read = consent::shown(&desk, &carla, &asked).await;
    let (one, since) = (session("one"), desk.world.clock.now());
    let person = person("carla", &[]).logged_out(&BTreeSet::from([one]), since);
    let effects = vec![put(FactKey::person(&carla), &person)];
    desk.world.store.on_commit([OnCommit::After(Unit { effects, ..Unit::default() })]);
    let session = Some(LoginSession { id: Some(one), since });
    let by = pap::By { session, ..pap::By::from(&carla) };
    let id = asked.id.to_string();
    let given = desk.administration.consent_answer(by, &id, (Answer::Once, &read)).await;
    assert!(matches!(given, Err(AdminError::Conflict(_))), "{given:?}");
}

/// What somebody read at the pages of which they do something.
struct Read {
    device: DeviceAsked,
    terms: String,
    asked: String,
    shown: String,
    /// What they consented to before.
    given: String,
}

impl Read {
    async fn by(desk: &Desk, person: &PersonId) -> Self {
        let device = devices::asks(desk, &devices::key());
        let terms = desk.administration.device_show(person, &device).await.expect("it is shown");
        let asked = consent::asked(desk).await;
        let (before, id) = (consent::shown(desk, person, &asked).await, asked.id.to_string());
        let given = desk.administration.consent_answer(person, &id, (Answer::Once, &before)).await;
        let Answered::Given(given) = given.expect("it is given").answered else {
            panic!("they said yes")
        };
        let asked = consent::asked(desk).await;
        let shown = consent::shown(desk, person, &asked).await;
        let (terms, asked) = (terms.digest().to_string(), asked.id.to_string());
        Self { device, terms, asked, shown, given: given.id.to_string() }
    }

    /// What `act` of theirs comes to.
    async fn does(&self, desk: &Desk, by: pap::By<'_>, act: &str) -> &'static str {
        let Self { device, terms, asked, shown, given } = self;
        let (pages, name) = (&desk.administration, "billing");
        let nothing = |()| Value::Null;
        word(&match act {
            "affirm" => pages.agent_affirm(by, Vec::new(), name).await,
            "renew" => pages.agent_renew(by, Vec::new(), (name, None)).await,
            "take-over" => pages.agent_take_over(by, Vec::new(), (name, "they left")).await,
            "forget" => pages.agent_memory(by, Vec::new(), (name, Memory::PerTask)).await,
            "enrol" => pages.device_enrol(by, (device, terms)).await.map(drop).map(nothing),
            "refuse" => {
                let answer = (Answer::Refuse, shown.as_str());
                pages.consent_answer(by, asked, answer).await.map(drop).map(nothing)
            }
            "withdraw" => pages.consent_withdraw(by, given).await.map(nothing),
            other => unreachable!("nobody does {other} at a page"),
        })
    }
}

/// Whatever somebody does at the pages, they do in no session that has ended, nor in one that ends between the page and
/// the commit; logged in anew, they do it.
#[tokio::test]
async fn sc_02_nothing_is_done_at_the_pages_in_a_session_that_ends() {
    let check = async |act: &str| {
        let world = World::with(|facts| facts.sponsor.manager = Some(facts.other.id.clone()));
        let desk = Desk::over(Box::pin(world).await).await;
        let facts = &desk.world.standing;
        let is_vacant = act == "take-over";
        let person = if is_vacant { facts.other.clone() } else { facts.sponsor.clone() };
        let read = Read::by(&desk, &facts.sponsor.id).await;
        let (one, clock) = (session("one"), &desk.world.clock);
        let step = || clock.advance(Duration::from_secs(1));
        step();
        if is_vacant {
            desk.world.journal.store().commit(desk.world.sponsor_leaves()).await.expect("left");
        }
        let ended = || person.clone().logged_out(&BTreeSet::from([one]), clock.now());
        let does = async || {
            let session = Some(LoginSession { id: Some(one), since: clock.now() });
            let by = pap::By { session, ..pap::By::from(&person.id) };
            Box::pin(read.does(&desk, by, act)).await
        };
        desk.world.put(FactKey::person(&person.id), &ended()).await;
        assert_eq!(does().await, "conflict", "{act}: it ended");
        desk.has_refused_for("session_outdated").await;
        step();
        let effects = vec![put(FactKey::person(&person.id), &ended())];
        desk.world.store.on_commit([OnCommit::After(Unit { effects, ..Unit::default() })]);
        assert_eq!(does().await, "conflict", "{act}: it ends meanwhile");
        assert_eq!(desk.world.store.commits_left(), 0, "{act}");
        step();
        assert_eq!(does().await, "done", "{act}");
    };
    for act in ["affirm", "renew", "take-over", "forget", "enrol", "refuse", "withdraw"] {
        Box::pin(check(act)).await;
    }
}

/// Which of two tokens told first that a session is over does not matter: it is remembered as long as either could come
/// again, and no longer.
#[tokio::test]
async fn sc_02_a_session_that_ended_is_remembered_as_long_as_any_token_that_told_of_it() {
    const DAY: Duration = Duration::from_hours(24);
    let check = async |days_ago: [i64; 2]| {
        let signals = Box::pin(deployment()).await;
        let (desk, okta) = (&signals.scene.desk, &signals.scene.okta.name);
        let told = desk.world.clock.now();
        for days in days_ago {
            let at = signals.now() - days * 24 * 60 * 60;
            let mut claims = signals.claims(&format!("{CAEP}session-revoked"), at);
            claims["iat"] = json!(at);
            claims["sub_id"] = opaque("three")["session"].clone();
            signals.take(&signals.sign(&claims)).await.expect("it is acknowledged");
        }
        let place = FactKey::session_over(okta, session("three"));
        let counter = [CounterKey("taken/caep".to_owned())];
        let later = async |days: u32| {
            desk.world.clock.advance(DAY * days);
            let forgotten = desk.administration.forget_signals(desk.world.clock.now()).await;
            forgotten.expect("they are forgotten");
            let left = desk.world.store.counters(&counter).await.expect("it can be read");
            (desk.fact(place.clone()).await.map(|over| over["until"].clone()), left[0])
        };
        assert_eq!(later(2).await, (Some(json!(told)), 2), "{days_ago:?}");
        assert_eq!(later(6).await, (None, 0), "{days_ago:?}");
    };
    Box::pin(check([6, 0])).await;
    Box::pin(check([0, 6])).await;
}
