//! Whom a signal is about, among a directory's people.

use model::{FactKey, Finding};
use pap::StreamRegistration;
use serde_json::{Value, json};
use store::{Effect, Store as _, Unit};

use crate::directories::user;
use crate::streams::{AUDIENCE, CAEP, ISSUER, RISC, Signals};

#[tokio::test]
async fn a_signal_is_about_whom_it_names_among_the_directorys_people() {
    let mut ann = user("ann");
    ann["emails"] = json!([{ "value": "Ann@Acme.example" }]);
    let check = async |email: bool, subject: Value, is_known: bool| {
        let signals = Signals::with(|said| StreamRegistration { email, ..said }).await;
        signals.scene.creates(ann.clone()).await;
        signals.scene.creates(user("ben@acme.example")).await;
        let mut claims = signals.claims(&format!("{RISC}account-disabled"), signals.now());
        claims["sub_id"] = subject.clone();
        signals.take(&signals.sign(&claims)).await.expect("it is taken");
        assert_eq!(!signals.is_active("ann").await, is_known, "{subject}");
        assert!(signals.is_active("ben@acme.example").await);
        let outcomes = signals.outcomes().await;
        assert_eq!(outcomes.is_empty(), is_known, "{outcomes:?}");
        let words = ["ambiguous_subject", "not_all_of_the_person", "unknown_subject"];
        assert!(outcomes.iter().all(|it| words.contains(&it.as_str())), "{outcomes:?}");
    };
    let address = |email: &str| json!({ "format": "email", "email": email });
    let scim = |uri: &str, id: &str| json!({ "format": "scim", "uri": uri, "externalId": id });
    let login = |sub: &str| json!({ "format": "iss_sub", "iss": ISSUER, "sub": sub });
    check(false, login("x-ann"), true).await;
    check(false, login("ann"), false).await;
    check(false, json!({ "format": "iss_sub", "iss": AUDIENCE, "sub": "x-ann" }), false).await;
    check(false, address("Ann@Acme.example"), false).await;
    check(true, address("Ann@Acme.example"), true).await;
    check(true, address("ann@acme.example"), false).await;
    check(false, scim("/Users/ann", "x-ann"), true).await;
    check(false, scim("/Users/ben@acme.example", "x-ann"), false).await;
    check(false, json!({ "format": "scim", "externalId": "x-ann" }), true).await;
    let uri = "https://chancery.example/scim/v2/Users/ann";
    check(false, json!({ "format": "uri", "uri": uri }), true).await;
    check(false, json!({ "format": "uri", "uri": format!("{uri}/") }), false).await;
    // Others have users of the same names.
    for other in [
        "https://x.example/Users/ann",
        "https://x.example/scim/v2/Users/ann",
        "https://chancery.example/scim/v2/x/Users/ann",
        "https://chancery.example/scim/v2.x.example/Users/ann",
        "urn:x:/Users/ann",
    ] {
        check(false, json!({ "format": "uri", "uri": other }), false).await;
        check(false, json!({ "format": "scim", "uri": other }), false).await;
    }
    check(true, json!({ "format": "opaque", "id": "ann" }), false).await;
    let session = json!({ "format": "opaque", "id": "s" });
    let complex = json!({ "format": "complex", "user": login("x-ann"), "session": session });
    check(false, complex, false).await;
    let tenant = json!({ "format": "complex", "user": login("x-ann"), "tenant": session });
    check(false, tenant, true).await;
    check(false, json!({ "format": "complex", "session": session }), false).await;
    let aliases = |all: &[Value]| json!({ "format": "aliases", "identifiers": all });
    check(false, aliases(&[address("nobody@x.example"), login("x-ann")]), true).await;
    check(false, aliases(&[login("x-ben@acme.example"), login("x-ann")]), false).await;
    // Whoever is not of the directory.
    let signals = Signals::set().await;
    let other = signals.scene.desk.world.standing.other.id.to_string();
    let place = FactKey::login(ISSUER, "x-ann");
    let effects = vec![Effect::Put { key: place, body: json!(other).to_string().into_bytes() }];
    let unit = Unit { effects, ..Unit::default() };
    signals.scene.desk.world.store.commit(unit).await.expect("it is written");
    signals.tell(&format!("{RISC}account-disabled"), signals.now()).await;
    assert!(signals.is_active(&other).await);
    assert_eq!(signals.outcomes().await, ["unknown_subject"]);
}

/// What is said of less than a person is not said of all of them, but that their logins end; of what is not
/// understood only what takes away is.
#[tokio::test]
async fn what_is_said_of_a_part_is_not_said_of_the_person() {
    let check = async |event: &str, part: &str, expected: &str| {
        let signals = Signals::set().await;
        signals.scene.creates(user("ann")).await;
        let mut claims = signals.claims(event, signals.now());
        claims["events"][event]["principal"] = json!("USER");
        claims["events"][event]["current_level"] = json!("HIGH");
        claims["sub_id"] = json!({
            "format": "complex",
            "user": { "format": "iss_sub", "iss": ISSUER, "sub": "x-ann" },
            part: { "format": "opaque", "id": "1" },
        });
        let place = FactKey::person(&"ann".parse().unwrap());
        let before = signals.scene.desk.fact(place.clone()).await;
        signals.take(&signals.sign(&claims)).await.expect("it is taken");
        let comes = signals.scene.desk.fact(place).await != before;
        let outcome = if comes { "changed".to_owned() } else { signals.outcomes().await.concat() };
        assert_eq!(outcome, expected, "{event} {part}");
    };
    let left = format!("{RISC}account-disabled");
    let (revoked, risk) = (format!("{CAEP}session-revoked"), format!("{CAEP}risk-level-change"));
    for part in ["application", "group", "org_unit", "session", "device"] {
        check(&left, part, "not_all_of_the_person").await;
        check(&risk, part, "not_all_of_the_person").await;
        check(&revoked, part, "changed").await;
    }
    check(&left, "robot", "changed").await;
    check(&risk, "robot", "not_all_of_the_person").await;
    check(&revoked, "robot", "changed").await;
    for event in [&left, &revoked, &risk] {
        check(event, "arm", "not_understood").await;
    }
    for event in [&left, &revoked, &risk] {
        check(event, "tenant", "changed").await;
    }
}

/// What its transmitter says has to be understood, and is not, is of nobody (SSF 1.0 §7.1): it is taken, as it will
/// never be understood, and people are told of that once.
#[tokio::test]
async fn what_has_to_be_understood_and_is_not_is_discarded_and_found() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    for at in [signals.now(), signals.now() + 1] {
        let mut claims = signals.claims(&format!("{RISC}account-disabled"), at);
        claims["sub_id"] = json!({
            "format": "complex",
            "user": { "format": "iss_sub", "iss": ISSUER, "sub": "x-ann" },
            "arm": { "format": "opaque", "id": "1" },
        });
        signals.take(&signals.sign(&claims)).await.expect("it is taken");
    }
    assert!(signals.is_active("ann").await);
    assert_eq!(signals.outcomes().await, ["not_understood", "not_understood"]);
    let store = signals.scene.desk.world.store.as_ref();
    let findings = authority::all::<Finding>(store, "finding/").await.expect("they can be read");
    let told: Vec<_> = findings.iter().map(|it| (&*it.stranger.cause, it.count)).collect();
    assert_eq!(told, [("signal_not_understood", 2)]);
    assert_eq!(findings[0].stranger.claimed.as_deref(), Some("caep"));
}

/// The same by the events of CAEP's interoperability profile, whose subjects are addresses.
#[tokio::test]
async fn an_address_ends_what_was_begun_for_one_user_or_for_nobody() {
    for event in ["session-revoked", "credential-change"] {
        let event = format!("{CAEP}{event}");
        let signals = Signals::with(|said| StreamRegistration { email: true, ..said }).await;
        for name in ["ann", "ben"] {
            let mut user = user(name);
            let own = format!("{name}@x.example");
            user["emails"] = json!([{ "value": own }, { "value": "all@x.example" }]);
            signals.scene.creates(user).await;
        }
        let fact = async |name: &str| {
            signals.scene.desk.fact(FactKey::person(&name.parse().unwrap())).await
        };
        let tell = async |email: &str| {
            let mut claims = signals.claims(&event, signals.now());
            claims["sub_id"] = json!({ "format": "email", "email": email });
            claims["events"][&event]["credential_type"] = json!("password");
            claims["events"][&event]["change_type"] = json!("update");
            signals.take(&signals.sign(&claims)).await.expect("it is taken");
        };
        let before = (fact("ann").await, fact("ben").await);
        tell("all@x.example").await;
        tell("carl@x.example").await;
        assert_eq!((fact("ann").await, fact("ben").await), before, "{event}");
        tell("ann@x.example").await;
        assert_ne!(fact("ann").await, before.0, "{event}");
        assert_eq!(fact("ben").await, before.1, "{event}");
        assert!(signals.is_active("ann").await, "what Ann sponsors goes on");
        assert_eq!(signals.outcomes().await, ["ambiguous_subject", "unknown_subject"]);
    }
}

/// A name is one user's, whoever else has it as an address; an address of several is nobody's, and neither
/// is one among more users than are looked at. All that is a word, and taken.
#[tokio::test]
async fn an_address_names_one_user_or_nobody() {
    let signals = Signals::with(|said| StreamRegistration { email: true, ..said }).await;
    for (name, address) in [("a@x.example", "b@x.example"), ("b@x.example", "c@x.example")] {
        let mut user = user(name);
        user["emails"] = json!([{ "value": address }, { "value": "all@x.example" }]);
        signals.scene.creates(user).await;
    }
    let tell = async |email: &str| {
        let mut claims = signals.claims(&format!("{RISC}account-disabled"), signals.now());
        claims["sub_id"] = json!({ "format": "email", "email": email });
        signals.take(&signals.sign(&claims)).await.expect("it is taken");
    };
    tell("all@x.example").await;
    tell("b@x.example").await;
    assert!(signals.is_active("a@x.example").await);
    assert!(!signals.is_active("b@x.example").await);
    let world = &signals.scene.desk.world;
    let place = FactKey::scim_user(&signals.scene.okta.name, "a@x.example");
    let body = signals.scene.desk.fact(place).await.expect("a user").to_string().into_bytes();
    for first in (0..=pap::directory::SCANNED_MAX).step_by(100) {
        let user = |number| FactKey::scim_user(&signals.scene.okta.name, &format!("u{number}"));
        let put = |number| Effect::Put { key: user(number), body: body.clone() };
        let effects = (first..first + 100).map(put).collect();
        world.store.commit(Unit { effects, ..Unit::default() }).await.expect("they are written");
    }
    tell("c@x.example").await;
    assert_eq!(signals.outcomes().await, ["ambiguous_subject", "too_many_users"]);
}
