//! Which receivers there are, and how they manage their streams.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keys::Signer as _;
use model::{
    Clock as _, Covers, DirectoryToken, DirectoryTokens, FactKey, ReceiverKey, RiskLevel,
    RiskTarget, Sha256Digest,
};
use pap::receivers::{CHANGES_MAX, COVERED_MAX, RECEIVERS_MAX, Untold, VERIFIED_EVERY};
use pap::streams::{Key, NoKey, Receiver, TransmitterKeys};
use pap::{Command, NewToken, ReceiverRegistration, StreamRegistration};
use secevent::{PollAsked, SESSION_REVOKED, StatusAsked, StreamAsked, VerificationAsked};
use serde_json::{Value, json};
use store::{Effect, Store as _, Unit};

use crate::desk::{Desk, ISSUER, jwk, word};
use crate::directories::{BASE, Scene, token};
use crate::receivers::{AUDIENCE, TOKEN, Telling, said};
use crate::support::put;
use crate::support::stores::OnCommit;

const PUSH: &str = "urn:ietf:rfc:8935";
const POLL: &str = "urn:ietf:rfc:8936";

fn asked(value: &Value) -> StreamAsked {
    StreamAsked::parse(value.to_string().as_bytes()).expect("it can be read")
}

fn push(url: &str) -> Value {
    json!({ "method": PUSH, "endpoint_url": url })
}

#[tokio::test]
async fn what_makes_no_sense_registers_no_receiver() {
    let desk = Desk::new().await;
    let add = async |change: fn(ReceiverRegistration) -> ReceiverRegistration| {
        let said = change(said(&desk, Covers::All));
        word(&desk.run(Command::ReceiverAdd(said)).await)
    };
    assert_eq!(
        add(|it| ReceiverRegistration { name: "No Name".to_owned(), ..it }).await,
        "invalid"
    );
    assert_eq!(add(|it| ReceiverRegistration { audience: String::new(), ..it }).await, "invalid");
    let host = |host: &str| {
        let push_host = Some(host.to_owned());
        ReceiverRegistration { push_host, ..said(&desk, Covers::All) }
    };
    for wrong in
        ["10.0.0.1", "siem.example:8443", "siem.example/x", "SIEM.example", "a@siem.example", ""]
    {
        let answer = desk.run(Command::ReceiverAdd(host(wrong))).await;
        assert_eq!(word(&answer), "invalid", "{wrong}");
    }
    let misspelt = |it| {
        let covers = Covers::These(["biling".parse().unwrap()].into());
        ReceiverRegistration { covers, ..it }
    };
    assert_eq!(add(misspelt).await, "missing");
    let many = |it| {
        let names = (0..=COVERED_MAX).map(|number| format!("a-{number}").parse().unwrap());
        ReceiverRegistration { covers: Covers::These(names.collect()), ..it }
    };
    assert_eq!(add(many).await, "invalid");
    assert_eq!(add(|it| ReceiverRegistration { token: None, ..it }).await, "invalid");
    assert_eq!(add(|it| it).await, "done");
    assert_eq!(add(|it| it).await, "conflict");
    for number in 1..RECEIVERS_MAX {
        let (name, audience) = (format!("siem-{number}"), format!("https://{number}.example"));
        let said = ReceiverRegistration { name, audience, ..said(&desk, Covers::All) };
        desk.run(Command::ReceiverAdd(said)).await.expect("there is room");
    }
    let more = |it| {
        let (name, audience) = ("more".to_owned(), "https://more.example".to_owned());
        ReceiverRegistration { name, audience, ..it }
    };
    assert_eq!(add(more).await, "conflict");
}

#[tokio::test]
async fn a_key_of_a_receiver_is_one_and_its_own_and_ends() {
    let desk = Desk::new().await;
    let key = |jwk: Value, days: u64| {
        let expires = desk.world.clock.now().plus(Duration::from_hours(days * 24));
        Some(ReceiverKey { jwk, expires, read_only: false })
    };
    let add = async |name: &str, key: Option<ReceiverKey>| {
        let (name, audience) = (name.to_owned(), format!("https://{name}.example"));
        let said =
            ReceiverRegistration { name, audience, token: None, key, ..said(&desk, Covers::All) };
        word(&desk.run(Command::ReceiverAdd(said)).await)
    };
    for wrong in [key(json!({}), 1), key(jwk(), 0), key(jwk(), 367)] {
        assert_eq!(add("siem", wrong).await, "invalid");
    }
    let one = jwk();
    assert_eq!(add("siem", key(one.clone(), 366)).await, "done");
    assert_eq!(add("soar", key(one.clone(), 1)).await, "invalid", "it is the first one's");
    let change =
        async |key| word(&desk.run(Command::ReceiverKey { name: "siem".to_owned(), key }).await);
    let second = jwk();
    assert_eq!(change(key(second.clone(), 1)).await, "done");
    assert_eq!(change(key(one, 1)).await, "invalid", "what was replaced does not come back");
    // The one that it has counts for longer, and for less.
    assert_eq!(change(key(second.clone(), 367)).await, "invalid");
    let prolonged = key(second, 30).map(|key| ReceiverKey { read_only: true, ..key });
    assert_eq!(change(prolonged.clone()).await, "done");
    let receiver = desk.fact(FactKey::receiver(&"siem".parse().unwrap())).await;
    assert_eq!(receiver.expect("a receiver")["key"], json!(prolonged));
    assert_eq!(change(None).await, "done");
    let last = jwk();
    assert_eq!(change(key(last.clone(), 1)).await, "done");
    desk.run(Command::ReceiverRemove { name: "siem".to_owned() }).await.expect("it is removed");
    assert_eq!(add("siem", key(last, 1)).await, "invalid", "nor does that of one that was removed");
    assert_eq!(add("siem", key(jwk(), 1)).await, "done");
}

#[tokio::test]
async fn a_receiver_is_known_by_its_own_tokens_while_it_counts() {
    let telling = Telling::set(Covers::All).await;
    let desk = &telling.desk;
    let known = async |token: &str| match telling.transmitter.known(token).await {
        Ok(_) => true,
        Err(Untold::Stranger) => false,
        Err(other) => panic!("{other}"),
    };
    assert!(known(TOKEN).await);
    let long = format!("siem.{}", "x".repeat(257));
    for wrong in ["siem.other", "okta.secret", "secret", "", "../x.secret", &long] {
        assert!(!known(wrong).await, "{wrong}");
    }
    let another = |text: &str, alone| {
        let token = token(desk, text, false);
        Command::ReceiverToken { name: "siem".to_owned(), token, alone }
    };
    desk.run(another("siem.2", true)).await.unwrap();
    assert!(!known(TOKEN).await && known("siem.2").await);
    let (name, reason) = ("siem".to_owned(), "test".to_owned());
    desk.run(Command::ReceiverSuspend { name: name.clone(), reason }).await.unwrap();
    assert!(!known("siem.2").await);
    desk.run(Command::ReceiverResume { name }).await.unwrap();
    assert!(known("siem.2").await);
}

/// A receiver that is removed is no receiver any longer, with all that was kept of it; its name and its audience
/// are free.
#[tokio::test]
async fn a_receiver_that_is_removed_leaves_nothing() {
    let (telling, id) = Telling::of_all().await;
    let (desk, known) = (&telling.desk, telling.known().await);
    let name = "siem".parse().expect("a name");
    let remove = || Command::ReceiverRemove { name: "siem".to_owned() };
    desk.run(remove()).await.expect("it is removed");
    assert_eq!(word(&desk.run(remove()).await), "missing");
    for key in [
        FactKey::receiver(&name),
        FactKey::receiver_tokens(&name),
        FactKey::receiver_stream(&name),
        FactKey::telling(&name),
        FactKey::receiver_secret(&name),
    ] {
        assert_eq!(desk.fact(key.clone()).await, None, "{key:?}");
    }
    assert_eq!(telling.transmitter.known(TOKEN).await.err(), Some(Untold::Stranger));
    // Nor does it manage anything by what was under way.
    let created = telling.transmitter.create(&known, asked(&json!({}))).await;
    assert_eq!(created, Err(Untold::Stranger));
    assert_eq!(telling.transmitter.status(&known, &id).await, Err(Untold::Stranger));
    telling.transmitter.advance(&name).await.expect("there is nothing to do");
    desk.run(Command::ReceiverAdd(said(desk, Covers::All))).await.expect("it is registered anew");
    assert_eq!(telling.transmitter.read(&telling.known().await, None).await, Ok(json!([])));
    // Two of one audience would each take what is for the other.
    let twin = ReceiverRegistration { name: "twin".to_owned(), ..said(desk, Covers::All) };
    assert_eq!(word(&desk.run(Command::ReceiverAdd(twin)).await), "conflict");
}

/// What gives the receiver the token `text`, as if it had got it for itself.
async fn got(telling: &Telling, text: &str) -> Unit {
    let (digest, now) = (Sha256Digest::of(text.as_bytes()), telling.desk.world.clock.now());
    let expires = now.plus(Duration::from_mins(5));
    let place = FactKey::receiver_granted(&"siem".parse().expect("a name"));
    let before = telling.desk.fact(place.clone()).await;
    let mut tokens: DirectoryTokens =
        before.map(|it| serde_json::from_value(it).expect("tokens")).unwrap_or_default();
    tokens.0.push(DirectoryToken { digest, expires, read_only: false });
    Unit { effects: vec![put(place, &tokens)], ..Unit::default() }
}

/// What is taken back between the head of a request and its body, or during a long poll, does nothing any longer.
#[tokio::test]
async fn a_token_that_was_taken_back_since_it_was_shown_does_nothing() {
    let (telling, id) = Telling::of_all().await;
    let (desk, transmitter) = (&telling.desk, &telling.transmitter);
    telling.suspend("billing").await;
    let sets = telling.poll(&id, &[]).await;
    desk.world.store.commit(got(&telling, "siem.own").await).await.expect("it is given");
    let own = transmitter.known("siem.own").await.expect("it is known");
    let given = telling.known().await;
    let look = PollAsked { max: 16, ..PollAsked::default() };
    let ack = PollAsked { ack: vec![sets[0].0.clone()], ..look.clone() };
    for known in [&own, &given] {
        transmitter.poll(known, &id, &look).await.expect("it is answered");
    }
    let name = || "siem".to_owned();
    let token = token(desk, "siem.2", false);
    let alone = Command::ReceiverToken { name: name(), token, alone: true };
    desk.run(alone).await.expect("it is given another");
    desk.run(Command::ReceiverKey { name: name(), key: None }).await.expect("it is taken back");
    for known in [&own, &given] {
        let named = || asked(&json!({ "stream_id": id }));
        let status = json!({ "stream_id": id, "status": "disabled" }).to_string();
        let status = StatusAsked::parse(status.as_bytes()).expect("it can be read");
        let verification = VerificationAsked { id: id.clone(), state: None };
        let answers = [
            transmitter.poll(known, &id, &look).await.map(drop),
            transmitter.poll(known, &id, &ack).await.map(drop),
            transmitter.create(known, asked(&json!({}))).await.map(drop),
            transmitter.read(known, None).await.map(drop),
            transmitter.update(known, named(), false).await.map(drop),
            transmitter.update(known, named(), true).await.map(drop),
            transmitter.status(known, &id).await.map(drop),
            transmitter.set_status(known, status).await.map(drop),
            transmitter.verify(known, verification).await,
            transmitter.delete(known, &id).await,
        ];
        assert!(answers.iter().all(|it| *it == Err(Untold::Stranger)), "{answers:?}");
    }
    let known = transmitter.known("siem.2").await.expect("it is known");
    let polled = transmitter.poll(&known, &id, &look).await.expect("it is answered");
    assert_eq!(polled.sets.into_iter().collect::<Vec<_>>(), sets, "nothing was acknowledged");
}

/// Of two things at once: that a receiver gets another token keeps no other from counting, and that its key is
/// exchanged does.
#[tokio::test]
async fn what_a_receiver_does_rests_on_its_token() {
    let (telling, id) = Telling::of_all().await;
    let (desk, transmitter) = (&telling.desk, &telling.transmitter);
    desk.world.store.commit(got(&telling, "siem.own").await).await.expect("it is given");
    let known = transmitter.known("siem.own").await.expect("it is known");
    let described = async |as_what: &str, meanwhile: Unit| {
        desk.world.store.on_commit([OnCommit::After(meanwhile)]);
        let change = asked(&json!({ "stream_id": id, "description": as_what }));
        transmitter.update(&known, change, false).await.map(|told| told["description"].clone())
    };
    assert_eq!(described("one", got(&telling, "siem.next").await).await, Ok(json!("one")));
    let place = FactKey::receiver(known.name());
    let receiver = desk.fact(place.clone()).await.expect("a receiver");
    let granted = Effect::Remove { key: FactKey::receiver_granted(known.name()) };
    let effects = vec![put(place, &receiver), granted];
    let taken = Unit { effects, ..Unit::default() };
    assert_eq!(described("two", taken).await, Err(Untold::Later));
    let told = transmitter.read(&telling.known().await, Some(&id)).await.expect("it may read");
    assert_eq!(told["description"], "one");
    assert_eq!(transmitter.read(&known, None).await, Err(Untold::Stranger));
}

#[tokio::test]
async fn i_18_a_receiver_changes_its_stream_so_often_and_no_more() {
    let (telling, id) = Telling::of_all().await;
    let known = telling.known().await;
    let change = async || {
        let described = asked(&json!({ "stream_id": id, "description": "some" }));
        telling.transmitter.update(&known, described, false).await.map(drop)
    };
    // Its creation was the first.
    for _ in 1..CHANGES_MAX {
        change().await.expect("it is changed");
    }
    telling.desk.world.clock.advance(Duration::from_secs(10));
    let wait = Duration::from_secs(50);
    assert_eq!(change().await, Err(Untold::TooSoon(wait)));
    assert!(telling.transmitter.status(&known, &id).await.is_ok(), "it reads");
    telling.desk.world.clock.advance(wait);
    change().await.expect("it is changed");
}

#[tokio::test]
async fn ss_03_a_receiver_manages_its_stream() {
    let telling = Telling::set(Covers::All).await;
    let (transmitter, known) = (&telling.transmitter, telling.known().await);
    assert_eq!(transmitter.read(&known, None).await.unwrap(), json!([]));
    let url = "https://siem.example:8443/events";
    let wanted = json!({
        "delivery": push(url), "description": "all of it",
        "events_requested": [SESSION_REVOKED, "https://example.com/unknown"],
    });
    let created = transmitter.create(&known, asked(&wanted)).await.expect("it is created");
    let id = created["stream_id"].as_str().expect("an id").to_owned();
    let expected = json!({
        "stream_id": id, "iss": ISSUER, "aud": AUDIENCE,
        "delivery": { "method": PUSH, "endpoint_url": url },
        "events_supported": secevent::TOLD, "events_requested": [SESSION_REVOKED],
        "events_delivered": [SESSION_REVOKED], "min_verification_interval": 10,
        "description": "all of it",
    });
    assert_eq!(created, expected);
    assert_eq!(transmitter.create(&known, asked(&wanted)).await, Err(Untold::HasOne));
    assert_eq!(transmitter.read(&known, Some(&id)).await.unwrap(), expected);
    assert_eq!(transmitter.read(&known, None).await.unwrap(), json!([expected]));

    // What is not said stays, unless all is replaced; what is not the receiver's to say stays in any case.
    let change = async |change: Value, replaces: bool| {
        transmitter.update(&known, asked(&change), replaces).await
    };
    let described = json!({ "stream_id": id, "description": "some", "iss": ISSUER });
    let told = change(described, false).await.expect("it is changed");
    assert_eq!((&told["description"], &told["delivery"]["method"]), (&json!("some"), &json!(PUSH)));
    for (name, other) in [("iss", "https://evil.example"), ("aud", "https://evil.example")] {
        let answer = change(json!({ "stream_id": id, name: other }), false).await;
        assert!(matches!(answer, Err(Untold::Invalid(_))), "{name}: {answer:?}");
    }
    let told = change(json!({ "stream_id": id }), true).await.expect("it is replaced");
    let poll = json!({ "method": POLL, "endpoint_url": format!("{ISSUER}/ssf/poll/{id}") });
    assert_eq!(told["delivery"], poll);
    assert_eq!(told["events_requested"].as_array().map(Vec::len), Some(2));
    assert!(told.get("description").is_none());
    assert!(matches!(change(json!({}), false).await, Err(Untold::Invalid(_))));
    assert_eq!(change(json!({ "stream_id": "other" }), false).await, Err(Untold::NoStream));

    assert_eq!(transmitter.status(&known, "other").await, Err(Untold::NoStream));
    let status = json!({ "stream_id": id, "status": "paused", "reason": "upgrade" });
    let set = StatusAsked::parse(status.to_string().as_bytes()).expect("it can be read");
    assert_eq!(transmitter.set_status(&known, set).await.unwrap(), status);
    assert_eq!(transmitter.status(&known, &id).await.unwrap(), status);

    assert_eq!(transmitter.delete(&known, "other").await, Err(Untold::NoStream));
    transmitter.delete(&known, &id).await.expect("it is deleted");
    assert_eq!(transmitter.delete(&known, &id).await, Err(Untold::NoStream));
    let name = known.name();
    for key in
        [FactKey::receiver_stream(name), FactKey::telling(name), FactKey::receiver_secret(name)]
    {
        assert_eq!(telling.desk.fact(key).await, None);
    }
    let system = telling.desk.world.records("system").await;
    let done = system.iter().filter(|it| it.text_of("event") == "receiver_stream");
    let done: Vec<_> = done.map(|it| it.value["details"]["did"].as_str().unwrap()).collect();
    assert_eq!(done, ["created", "changed", "changed", "paused", "deleted"]);
}

#[tokio::test]
async fn ss_03_a_stream_is_verified_with_what_was_asked_but_not_all_the_time() {
    let telling = Telling::set(Covers::These([].into())).await;
    let id = telling.create(json!({})).await;
    let (transmitter, known) = (&telling.transmitter, telling.known().await);
    let verify = async |state: &str| {
        let asked = json!({ "stream_id": id, "state": state }).to_string();
        let asked = VerificationAsked::parse(asked.as_bytes()).expect("it can be read");
        transmitter.verify(&known, asked).await
    };
    verify("one").await.expect("it is told");
    assert_eq!(verify("two").await, Err(Untold::TooSoon(VERIFIED_EVERY)));
    telling.desk.world.clock.advance(VERIFIED_EVERY);
    verify("three").await.expect("it is told");
    let polled = PollAsked { max: 16, ..PollAsked::default() };
    let polled = transmitter.poll(&known, &id, &polled).await.expect("it is answered");
    let state = |set: &String| {
        let claims = set.split('.').nth(1).and_then(keys::from_base64url).expect("claims");
        let claims: Value = serde_json::from_slice(&claims).expect("JSON");
        assert_eq!(claims["sub_id"], json!({ "format": "opaque", "id": id }));
        claims["events"].as_object().unwrap().values().next().unwrap()["state"].to_string()
    };
    let states: BTreeSet<_> = polled.sets.values().map(state).collect();
    assert_eq!(states, ["\"one\"".to_owned(), "\"three\"".to_owned()].into());
}

/// Whoever has a token of a receiver sends what it is told nowhere but where an administrator said; and one
/// that reads changes nothing.
#[tokio::test]
async fn n_074_signals_are_pushed_to_the_host_that_was_registered_and_to_no_other() {
    let telling = Telling::set(Covers::All).await;
    let (transmitter, known) = (&telling.transmitter, telling.known().await);
    for url in
        ["https://evil.example/x", "https://siem.example.evil.example/", "https://localhost/"]
    {
        let answer = transmitter.create(&known, asked(&json!({ "delivery": push(url) }))).await;
        assert!(matches!(answer, Err(Untold::Invalid(_))), "{url}: {answer:?}");
    }
    for url in ["http://siem.example/", "https://10.0.0.1/", "https://a@siem.example/", "file:///x"]
    {
        let body = json!({ "delivery": push(url) }).to_string();
        assert!(StreamAsked::parse(body.as_bytes()).is_err(), "{url}");
    }
    let id = telling.create(json!({ "delivery": push("https://siem.example/") })).await;
    let expires = telling.desk.world.clock.now().plus(Duration::from_mins(1));
    let digest = Sha256Digest::of(b"siem.reads");
    let token = NewToken { digest, expires, read_only: true };
    let name = "siem".to_owned();
    let give = Command::ReceiverToken { name, token, alone: false };
    telling.desk.run(give).await.expect("it is given");
    let reads = transmitter.known("siem.reads").await.expect("it is known");
    transmitter.read(&reads, Some(&id)).await.expect("it may read");
    transmitter.status(&reads, &id).await.expect("it may read");
    let poll = asked(&json!({ "stream_id": id, "delivery": { "method": POLL } }));
    assert_eq!(transmitter.update(&reads, poll, false).await, Err(Untold::MayNot));
    assert_eq!(transmitter.create(&reads, asked(&json!({}))).await, Err(Untold::MayNot));
    assert_eq!(transmitter.delete(&reads, &id).await, Err(Untold::MayNot));
    let body = json!({ "stream_id": id, "status": "disabled" }).to_string();
    let status = StatusAsked::parse(body.as_bytes()).unwrap();
    assert_eq!(transmitter.set_status(&reads, status).await, Err(Untold::MayNot));
    let verification = VerificationAsked { id: id.clone(), state: None };
    assert_eq!(transmitter.verify(&reads, verification).await, Err(Untold::MayNot));
    // Another receiver's stream is nobody's.
    let other = ReceiverRegistration {
        name: "other".to_owned(),
        audience: "https://other.example".to_owned(),
        token: Some(crate::directories::token(&telling.desk, "other.secret", false)),
        ..said(&telling.desk, Covers::All)
    };
    telling.desk.run(Command::ReceiverAdd(other)).await.expect("it is registered");
    let other = transmitter.known("other.secret").await.expect("it is known");
    assert_eq!(transmitter.read(&other, Some(&id)).await, Err(Untold::NoStream));
    assert_eq!(transmitter.delete(&other, &id).await, Err(Untold::NoStream));
}

/// Our keys, as another deployment finds them.
struct Ours(Arc<keys::TokenKeys>);

#[async_trait]
impl TransmitterKeys for Ours {
    async fn key(&self, issuer: &str, kid: Option<&str>) -> Result<Arc<dyn Key>, NoKey> {
        assert_eq!(issuer, ISSUER);
        let key = kid.filter(|kid| *kid == self.0.signer().public().thumbprint_text());
        let key = key.and_then(|kid| self.0.find(kid, 0)).ok_or(NoKey::Unknown)?;
        Ok(Arc::new(key))
    }

    fn critical(&self, _: &str) -> Result<BTreeSet<String>, NoKey> {
        Ok(BTreeSet::new())
    }
}

/// What we tell we take, as we take what others tell: recorded, and without anything to do.
#[tokio::test]
async fn our_own_receiver_takes_what_we_tell() {
    let (telling, id) = Telling::of_all().await;
    let what = RiskTarget::Instance(telling.desk.world.standing.instance.id);
    let reason = "because".to_owned();
    let raise = Command::RiskRaise { what, level: RiskLevel::High, reason };
    telling.desk.run(raise).await.expect("it is raised");
    let known = telling.known().await;
    let asked = json!({ "stream_id": id, "state": "x" }).to_string();
    let asked = VerificationAsked::parse(asked.as_bytes()).unwrap();
    telling.transmitter.verify(&known, asked).await.expect("it is told");
    let sets = telling.poll(&id, &[]).await;
    assert_eq!(sets.len(), 3);
    let keys = Ours(telling.desk.token_keys.clone());
    let scene = Scene::over(telling.desk).await;
    let said = StreamRegistration {
        name: "up".to_owned(),
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        algorithms: vec!["ES256".to_owned()],
        directory: "okta".to_owned(),
        email: false,
        silence_min: None,
        token: token(&scene.desk, "up.secret", false),
    };
    scene.desk.run(Command::StreamAdd(said)).await.expect("it is registered");
    let receiver =
        Receiver::new(scene.desk.administration.clone(), Arc::new(keys), BASE.to_owned());
    let stream = receiver.known(("up", "up.secret")).await.expect("it is known");
    for (_, set) in &sets {
        Box::pin(receiver.take(&stream, set)).await.expect("it is taken");
    }
    let noted = scene.desk.world.records("system").await;
    let noted = noted.iter().filter(|it| it.text_of("event") == "signal_noted");
    let mut outcomes: Vec<_> =
        noted.map(|it| it.value["details"]["outcome"].as_str().unwrap().to_owned()).collect();
    outcomes.sort();
    assert_eq!(outcomes, ["noted", "unknown_subject", "verified"]);
}
