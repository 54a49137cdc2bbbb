//! Which streams there are, and by what whoever pushes to each is known.

use model::{DirectoryTokens, FactKey, PersonId, Sha256Digest};
use pap::streams::NotTaken;
use pap::{Command, ManagedAct, NewToken, StreamAnswered, StreamManaged, StreamRegistration};
use serde_json::json;
use store::Unit;

use crate::desk::word;
use crate::directories::{Scene, token, user};
use crate::directory_tokens::kept;
use crate::furnished::{stream_answered, stream_managed};
use crate::streams::{RISC, SSF, Signals, TOKEN, code, said};
use crate::support::put;
use crate::support::stores::OnCommit;

#[tokio::test]
async fn a_stream_is_known_by_its_own_tokens_while_it_counts() {
    let signals = Signals::set().await;
    let desk = &signals.scene.desk;
    let known = async |name: &str, token: &str| match signals.receiver.known((name, token)).await {
        Ok(_) => true,
        Err(NotTaken::Stranger) => false,
        Err(other) => panic!("{other}"),
    };
    assert!(known("caep", TOKEN).await);
    for (name, token) in [("caep", "okta.secret"), ("okta", TOKEN), ("caep", ""), ("../x", TOKEN)] {
        assert!(!known(name, token).await, "{name} {token}");
    }
    let long = "x".repeat(257);
    assert!(!known("caep", &long).await);
    // A stream's token says nothing as a directory's.
    assert!(desk.administration.known_directory(TOKEN).await.unwrap().is_none());
    let another = |text: &str, alone| {
        let token = token(desk, text, false);
        Command::StreamToken { name: "caep".to_owned(), token, alone }
    };
    desk.run(another("caep.2", false)).await.unwrap();
    assert!(known("caep", TOKEN).await && known("caep", "caep.2").await);
    desk.run(another("caep.3", true)).await.unwrap();
    assert!(!known("caep", "caep.2").await && known("caep", "caep.3").await);
    let (name, reason) = ("caep".to_owned(), "test".to_owned());
    desk.run(Command::StreamSuspend { name: name.clone(), reason }).await.unwrap();
    assert!(!known("caep", "caep.3").await);
    desk.run(Command::StreamResume { name }).await.unwrap();
    assert!(known("caep", "caep.3").await);
    // While its directory is suspended, it speaks for nobody.
    signals.scene.creates(user("ann")).await;
    let (name, reason) = ("okta".to_owned(), "test".to_owned());
    let stream = signals.receiver.known(("caep", "caep.3")).await.unwrap();
    let polled = async || signals.receiver.stream(&stream.name).await.unwrap().is_some();
    assert!(polled().await);
    desk.run(Command::DirectorySuspend { name: name.clone(), reason }).await.unwrap();
    let claims = signals.claims(&format!("{RISC}account-disabled"), signals.now());
    let told = signals.sign(&claims);
    assert_eq!(code(signals.receiver.take(&stream, &told).await), "later");
    assert!(signals.is_active("ann").await && !polled().await);
    // What was told meanwhile is not lost.
    desk.run(Command::DirectoryResume { name }).await.unwrap();
    assert!(polled().await);
    assert_eq!(code(signals.receiver.take(&stream, &told).await), "taken");
    assert!(!signals.is_active("ann").await);
}

/// A token that is taken back after it was shown, and before what came with it is in force. What is polled
/// shows none.
#[tokio::test]
async fn what_is_pushed_with_a_token_that_is_taken_back_is_not_taken() {
    let signals = Signals::set().await;
    let desk = &signals.scene.desk;
    signals.scene.creates(user("ann")).await;
    let place = FactKey::stream_tokens(&"caep".parse().unwrap());
    let tokens = desk.fact(place.clone()).await.expect("it has one");
    let effects = || vec![put(place.clone(), &DirectoryTokens::default())];
    let events = ["account-disabled", "account-credential-change-required"].map(|it| (RISC, it));
    for (of, event) in events.into_iter().chain([(SSF, "stream-updated"), (SSF, "verification")]) {
        let stream = signals.receiver.known(("caep", TOKEN)).await.expect("it is known");
        let event = format!("{of}{event}");
        let mut claims = signals.claims(&event, signals.now());
        claims["events"][&event]["status"] = json!("paused");
        let told = signals.sign(&claims);
        let before = (kept(desk).await, signals.outcomes().await);
        let meanwhile = OnCommit::After(Unit { effects: effects(), ..Unit::default() });
        desk.world.store.on_commit([meanwhile]);
        assert_eq!(code(signals.receiver.take(&stream, &told).await), "stranger", "{event}");
        assert_eq!(desk.world.store.commits_left(), 0, "{event} was about to be committed");
        assert_eq!((kept(desk).await, signals.outcomes().await), before, "{event}");
        desk.world.put(place.clone(), &tokens).await;
    }
    let claims = signals.claims(&format!("{RISC}account-disabled"), signals.now());
    desk.world.put(place, &DirectoryTokens::default()).await;
    let polled = signals.receiver.stream(&"caep".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(code(signals.receiver.take(&polled, &signals.sign(&claims)).await), "taken");
    assert!(!signals.is_active("ann").await);
}

#[tokio::test]
async fn what_makes_no_sense_registers_no_stream() {
    let scene = Scene::set().await;
    let desk = &scene.desk;
    let add = async |change: fn(StreamRegistration) -> StreamRegistration| {
        word(&desk.run(Command::StreamAdd(change(said(desk, "caep")))).await)
    };
    let text = str::to_owned;
    assert_eq!(add(|it| StreamRegistration { name: "No Name".to_owned(), ..it }).await, "invalid");
    assert_eq!(add(|it| StreamRegistration { directory: "hr".to_owned(), ..it }).await, "missing");
    let issuer = |issuer: &str| StreamRegistration { issuer: text(issuer), ..said(desk, "caep") };
    for issuer in ["http://idp.example", "https://10.0.0.1", "idp.example", ""].map(issuer) {
        assert_eq!(word(&desk.run(Command::StreamAdd(issuer)).await), "invalid");
    }
    assert_eq!(add(|it| StreamRegistration { audience: String::new(), ..it }).await, "invalid");
    assert_eq!(add(|it| StreamRegistration { algorithms: Vec::new(), ..it }).await, "invalid");
    let none = |it| StreamRegistration { algorithms: vec!["none".to_owned()], ..it };
    assert_eq!(add(none).await, "invalid");
    let shared = |it| StreamRegistration { algorithms: vec!["HS256".to_owned()], ..it };
    assert_eq!(add(shared).await, "invalid");
    let reading = |it: StreamRegistration| {
        let token = NewToken { read_only: true, ..it.token.clone() };
        StreamRegistration { token, ..it }
    };
    assert_eq!(add(reading).await, "invalid");
    assert_eq!(add(|it| it).await, "done");
    assert_eq!(add(|it| it).await, "conflict");
}

/// What a transmitter is to be asked for is decided on and recorded; nothing changes here by it.
#[tokio::test]
async fn what_a_transmitter_is_asked_for_is_recorded() {
    let signals = Signals::set().await;
    let desk = &signals.scene.desk;
    let before = desk.revision().await;
    let paused = StreamManaged {
        act: ManagedAct::Pause,
        reason: Some("maintenance".to_owned()),
        ..stream_managed()
    };
    let told = desk.run(Command::StreamManage(paused)).await.unwrap();
    assert_eq!(desk.revision().await, before);
    let last = desk.world.records("administration").await.pop().unwrap();
    assert_eq!(
        (last.text_of("id"), last.text_of("action")),
        (told["decision"].as_str().unwrap(), "people/stream")
    );
    let said = json!({
        "name": "caep", "act": "pause", "id": "f67e39a0", "reason": "maintenance",
    });
    let change = desk.world.disclosure(&last).await.value("change").cloned().unwrap();
    assert_eq!(change, json!({ "at_transmitter": said }));

    let check = async |said: StreamManaged, expected: &str| {
        assert_eq!(word(&desk.run(Command::StreamManage(said)).await), expected);
    };
    let named = |name: &str| StreamManaged { name: name.to_owned(), ..stream_managed() };
    check(named("nothing"), "missing").await;
    check(named("No Name"), "invalid").await;
    let of = |id: &str| StreamManaged { id: Some(id.to_owned()), ..stream_managed() };
    check(of(""), "invalid").await;
    check(of("a\u{1b}"), "invalid").await;
    check(of(&"a".repeat(1_024)), "done").await;
    check(of(&"a".repeat(1_025)), "invalid").await;
    let events = |count: usize| StreamManaged {
        events: (0..count).map(|number| format!("urn:{number}")).collect(),
        ..stream_managed()
    };
    check(events(64), "done").await;
    check(events(65), "invalid").await;
}

/// Of what a transmitter answered there is the status and the digest, by whoever was permitted to ask it, and of
/// what they were permitted to ask.
#[tokio::test]
async fn what_a_transmitter_answered_is_recorded_by_whoever_asked_it() {
    let signals = Signals::set().await;
    let desk = &signals.scene.desk;
    let asked = desk.run(Command::StreamManage(stream_managed())).await.expect("it is permitted");
    let decision = asked["decision"].as_str().expect("an id");
    let by = desk.world.standing.sponsor.id.clone();
    let mut other = desk.world.standing.other.clone();
    other.groups.insert("administrators".parse().expect("a group"));
    desk.world.put(FactKey::person(&other.id), &other).await;
    let told = desk.run(Command::StreamAnswered(stream_answered(decision.to_owned()))).await;
    assert_eq!(told.expect("it is recorded")["stream"], "caep");
    let last = desk.world.records("administration").await.pop().unwrap();
    assert_eq!(last.text_of("action"), "people/stream");
    let change = desk.world.disclosure(&last).await.value("change").cloned().unwrap();
    let body = Sha256Digest::of(b"");
    let answered = json!({ "decision": decision, "status": 204, "body": body });
    assert_eq!(change, json!({ "answered": answered, "stream": "caep" }));

    let check = async |by: &PersonId, change: &dyn Fn(&mut StreamAnswered), expected: &str| {
        let mut said = stream_answered(decision.to_owned());
        change(&mut said);
        assert_eq!(word(&desk.run_as(by, Command::StreamAnswered(said)).await), expected);
    };
    let again = desk.run(Command::StreamManage(stream_managed())).await.expect("it is permitted");
    let again = again["decision"].as_str().expect("an id");
    let no_answer = |said: &mut StreamAnswered| {
        let decision = again.to_owned();
        *said = StreamAnswered { decision, status: None, body: None };
    };
    check(&by, &no_answer, "done").await;
    let revision = desk.revision().await;
    // Once: neither is it answered otherwise later.
    check(&by, &no_answer, "conflict").await;
    check(&by, &|_| {}, "conflict").await;
    check(&by, &|said| said.status = Some(500), "conflict").await;
    check(&by, &|said| said.status = None, "invalid").await;
    check(&by, &|said| said.body = None, "invalid").await;
    check(&by, &|said| said.status = Some(99), "invalid").await;
    check(&by, &|said| said.status = Some(600), "invalid").await;
    check(&by, &|said| said.decision = "nothing".to_owned(), "invalid").await;
    check(&by, &|said| said.decision = decision.replace(char::is_numeric, "0"), "missing").await;
    // Neither what somebody else was permitted, nor what was no such act.
    check(&other.id, &|_| {}, "missing").await;
    let records = desk.world.records("administration").await;
    let another = records.iter().find(|it| it.text_of("id") != decision).expect("there is another");
    check(&by, &|said| said.decision = another.text_of("id").to_owned(), "missing").await;
    assert_eq!(desk.revision().await, revision);
}

#[tokio::test]
async fn there_are_so_many_streams_and_no_more() {
    let scene = Scene::set().await;
    for number in 1..=pap::streams::STREAMS_MAX {
        let said = said(&scene.desk, &format!("caep-{number}"));
        scene.desk.run(Command::StreamAdd(said)).await.expect("it is registered");
    }
    let one_more = Command::StreamAdd(said(&scene.desk, "one-more"));
    assert_eq!(word(&scene.desk.run(one_more).await), "conflict");
}
