//! Whose a login session is of which a logout names nothing but the session.

use std::collections::BTreeSet;

use model::{Clock as _, FactKey, LoginSession, SESSION_PEOPLE_MAX};
use pap::{Answer, Command};
use serde_json::json;

use crate::consent;
use crate::logouts::{deployment, ended, opaque, session, states};
use crate::streams::CAEP;

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
        let session_here = LoginSession { id: Some(session("four")), since };
        let by = pap::By { person, groups: None, session: Some(session_here) };
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
        claims["sub_id"] = opaque("four")["session"].clone();
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
        let by = pap::By { person: &carla, groups: None, session: session_here };
        let given = desk.administration.consent_answer(by, &id, (Answer::Once, &read)).await;
        assert_eq!(given.is_ok(), is_given, "{known}: {given:?}");
    };
    check(SESSION_PEOPLE_MAX - 1, true).await;
    check(SESSION_PEOPLE_MAX, false).await;
}
