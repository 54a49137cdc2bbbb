//! Whose a login session is of which a logout names nothing but the session.

use std::collections::BTreeSet;

use model::{Clock as _, FactKey, LoginSession, SESSION_PEOPLE_MAX, Sha256Digest};
use pap::{Answer, Command};
use serde_json::{Value, json};
use store::{CommitError, Effect, Store as _, Unit};

use crate::consent;
use crate::desk::SAM;
use crate::logouts::{deployment, ended, opaque, session, states};
use crate::streams::{CAEP, ISSUER, Signals, code};
use crate::support::stores::OnCommit;

/// Whose a session is, is known here once something was consented to in it: its end ends that, also where it is not said
/// whose it is, and where whoever consented became one of the directory's people only later.
#[tokio::test]
async fn sc_02_who_consents_in_a_session_is_known_by_it() {
    let check = async |is_adopted_later: bool| {
        let signals = Box::pin(deployment()).await;
        let desk = &signals.scene.desk;
        let (asked, person) = (consent::asked(desk).await, &desk.world.standing.other.id);
        if is_adopted_later {
            desk.world.put(FactKey::person(person), &desk.world.standing.other).await;
        }
        let since = desk.world.clock.now();
        let session_here = Some(LoginSession { id: Some(session("four")), since });
        let by = pap::By { session: session_here, ..pap::By::from(person) };
        let (read, id) = (consent::shown(desk, person, &asked).await, asked.id.to_string());
        signals.later();
        let given = desk.administration.consent_answer(by, &id, (Answer::Once, &read)).await;
        given.expect("it is given");
        if is_adopted_later {
            let (name, person) = ("okta".to_owned(), person.to_string());
            desk.run(Command::DirectoryAdopt { name, person }).await.expect("adopted");
        }
        let whose = desk.fact(FactKey::session_of(session("four"))).await;
        assert_eq!(whose, Some(json!([person])));
        let mut claims = signals.claims(&format!("{CAEP}session-revoked"), signals.now());
        claims["sub_id"] = named("four");
        signals.take(&signals.sign(&claims)).await.expect("it is acknowledged");
        let is = signals.person(person.as_str()).await;
        assert!(is["sessions_over"].get(session("four").to_string()).is_some(), "{is}");
        assert_eq!(states(desk).await, ended(&["unnamed"]));
        // They are told so.
        let given = desk.administration.consents_of(person).await.expect("they are theirs");
        assert_eq!(given.iter().map(|given| given.is_valid).collect::<Vec<_>>(), [false]);
    };
    for is_adopted_later in [false, true] {
        Box::pin(check(is_adopted_later)).await;
    }
}

/// Of so many people it is known that they consented in sessions of one name; whoever would be one more does so in none
/// of which a logout would end nothing.
#[tokio::test]
async fn sc_02_nobody_consents_in_a_session_of_too_many() {
    let check = async |known: usize, is_given: bool| {
        let (desk, carla, asked) = consent::desk().await;
        let others = (0..known).map(|number| format!("other-{number}"));
        let place = FactKey::session_of(session("one"));
        desk.world.put(place, &others.collect::<BTreeSet<_>>()).await;
        let since = desk.world.clock.now();
        let session_here = Some(LoginSession { id: Some(session("one")), since });
        let (read, id) = (consent::shown(&desk, &carla, &asked).await, asked.id.to_string());
        let by = pap::By { session: session_here, ..pap::By::from(&carla) };
        let given = desk.administration.consent_answer(by, &id, (Answer::Once, &read)).await;
        assert_eq!(given.is_ok(), is_given, "{known}: {given:?}");
    };
    check(SESSION_PEOPLE_MAX - 1, true).await;
    check(SESSION_PEOPLE_MAX, false).await;
}

/// Beside the person on whose behalf all works, another one of the directory: the session `five` is theirs, and `both` is
/// of both.
async fn of_two() -> Signals {
    let signals = Box::pin(deployment()).await;
    let desk = &signals.scene.desk;
    let (name, person) = ("okta".to_owned(), SAM.to_owned());
    desk.run(Command::DirectoryAdopt { name, person }).await.expect("adopted");
    for (login, person) in [("x-sam", SAM), ("x-stranger", "stranger")] {
        desk.world.put(FactKey::login(ISSUER, login), &person).await;
    }
    let ann = desk.world.standing.other.id.as_str();
    let of = [("five", vec![SAM]), ("both", vec![ann, SAM]), ("foreign", vec!["stranger"])];
    for (name, people) in of {
        let place = FactKey::session_of(session(name));
        desk.world.put(place, &people.into_iter().collect::<BTreeSet<_>>()).await;
    }
    signals.later();
    signals
}

fn aliases(identifiers: &[Value]) -> Value {
    json!({ "format": "aliases", "identifiers": identifiers })
}

fn login(subject: &str) -> Value {
    json!({ "format": "iss_sub", "iss": ISSUER, "sub": subject })
}

fn named(session: &str) -> Value {
    opaque(session)["session"].clone()
}

fn complex(user: &Value, session: &Value) -> Value {
    json!({ "format": "complex", "user": user, "session": session })
}

impl Signals {
    /// A token that tells that the sessions of the subject `of` ended.
    fn revoked(&self, of: &Value) -> Value {
        let mut claims = self.claims(&format!("{CAEP}session-revoked"), self.now());
        claims["sub_id"] = of.clone();
        claims
    }

    /// Which sessions are over of each of the two.
    async fn sessions_over(&self) -> [BTreeSet<String>; 2] {
        let ann = self.scene.desk.world.standing.other.id.as_str();
        let over = |is: &Value| {
            let all = is["sessions_over"].as_object().into_iter().flatten();
            all.map(|(session, _)| session.clone()).collect()
        };
        [over(&self.person(ann).await), over(&self.person(SAM).await)]
    }

    /// How many people's sessions ended by what `claims` tell.
    async fn ended_by(&self, claims: &Value) -> usize {
        let jti = json!(Sha256Digest::of(claims["jti"].as_str().expect("it has one").as_bytes()));
        let records = self.scene.desk.world.records("administration").await;
        records.iter().filter(|it| it.value["signal"]["jti"] == jti).count()
    }
}

fn digests(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| session(name).to_string()).collect()
}

/// Whoever may be meant, is: a session that may be several people's ends for each of them.
#[tokio::test]
async fn sc_02_a_session_of_several_people_ends_for_each_of_them() {
    let check = async |of: Value, both: &[&str], expected: &[&str]| {
        let signals = Box::pin(of_two()).await;
        let claims = signals.revoked(&of);
        let token = signals.sign(&claims);
        // It does nothing when it comes again.
        for _ in 0..2 {
            signals.take(&token).await.expect("it is acknowledged");
            signals.later();
            assert_eq!(signals.sessions_over().await, [digests(both), digests(both)], "{of}");
            let people = if both.is_empty() { 0 } else { 2 };
            assert_eq!(signals.ended_by(&claims).await, people, "{of}");
        }
        assert_eq!(states(&signals.scene.desk).await, ended(expected), "{of}");
        signals.outcomes().await.concat()
    };
    let users = aliases(&[login("x-ann"), login("x-sam")]);
    let (one, unnamed): (&[&str], &[&str]) = (&["one", "child of one", "unnamed"], &["unnamed"]);
    let (of_one, of_both, of_three): (&[&str], &[&str], &[&str]) =
        (&["one"], &["both"], &["three"]);
    for (of, both, expected) in [
        (aliases(&[named("one"), named("five")]), ["one", "five"].as_slice(), one),
        (named("both"), of_both, unnamed),
        (complex(&users, &named("one")), of_one, one),
        // Somebody who is not the directory's is named beside it.
        (complex(&login("x-stranger"), &named("both")), of_both, unnamed),
        // Nobody knows it: it may be either's.
        (complex(&users, &named("three")), of_three, unnamed),
    ] {
        assert_eq!(Box::pin(check(of, both, expected)).await, "");
    }
    // Of no session, and of one of somebody who is not the directory's.
    assert_eq!(Box::pin(check(users, &[], &[])).await, "ambiguous_subject");
    assert_eq!(Box::pin(check(named("foreign"), &[], &[])).await, "unknown_subject");
}

/// What is cut short between two people is not acknowledged, and done when it comes again.
#[tokio::test]
async fn sc_02_a_logout_of_two_people_is_acknowledged_once_it_is_in_force_for_both() {
    let signals = Box::pin(of_two()).await;
    let claims = signals.revoked(&named("both"));
    let token = signals.sign(&claims);
    let down = OnCommit::Refuse(CommitError::Unavailable("it is down".into()));
    signals.scene.desk.world.store.on_commit([OnCommit::After(Unit::default()), down]);
    assert_eq!(code(signals.take(&token).await), "later");
    assert_eq!(signals.ended_by(&claims).await, 1);
    signals.take(&token).await.expect("it is acknowledged");
    assert_eq!(signals.sessions_over().await, [digests(&["both"]), digests(&["both"])]);
    assert_eq!(signals.ended_by(&claims).await, 2);
}

/// Nobody waits for somebody of whom it cannot be done, as their data key is gone. It is acknowledged once it is done of
/// them, too.
#[tokio::test]
async fn sc_02_a_logout_ends_for_one_where_it_cannot_for_the_other() {
    let both = || digests(&["both"]);
    let check = async |gone: usize| {
        let signals = Box::pin(of_two()).await;
        let desk = &signals.scene.desk;
        let people = [desk.world.standing.other.id.clone(), SAM.parse().expect("a person")];
        let place = FactKey::data_key(&people[gone]);
        let key = desk.fact(place.clone()).await.expect("they have one");
        let effects = vec![Effect::Remove { key: place.clone() }];
        desk.world.store.commit(Unit { effects, ..Unit::default() }).await.expect("it is gone");
        let token = signals.sign(&signals.revoked(&named("both")));
        assert_eq!(code(signals.take(&token).await), "later");
        let mut expected = [both(), both()];
        expected[gone].clear();
        assert_eq!(signals.sessions_over().await, expected);
        desk.world.put(place, &key).await;
        signals.take(&token).await.expect("it is acknowledged");
        assert_eq!(signals.sessions_over().await, [both(), both()]);
    };
    for gone in [0, 1] {
        Box::pin(check(gone)).await;
    }
}
