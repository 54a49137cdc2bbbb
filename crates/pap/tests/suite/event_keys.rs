//! The key that signs events by RS256: made for the first receiver that wants it, exchanged with the one that
//! signs tokens, and of no use for anything else.

use std::collections::BTreeSet;

use keys::Signer as _;
use model::{Clock as _, Covers, EventAlgorithm, FactKey};
use oauth::jwks::{Algorithm, KeySet, Purpose};
use pap::receivers::Transmitter;
use pap::{Command, KeptTokenKeys, ReceiverRegistration, WrittenKeys};
use secevent::{PollAsked, StreamAsked, Unverified};
use store::CommitError;

use crate::desk::{Desk, ISSUER, word};
use crate::receivers::{AUDIENCE, TOKEN, said, transmitter};
use crate::support::World;
use crate::support::stores::OnCommit;

fn registration(desk: &Desk) -> ReceiverRegistration {
    ReceiverRegistration { algorithm: EventAlgorithm::Rs256, ..said(desk, Covers::All) }
}

/// The names of the files with keys that sign events.
fn files(desk: &Desk) -> Vec<String> {
    let listed = std::fs::read_dir(desk.world.dir.path().join("keys")).expect("it is there");
    let names = listed.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("event")).collect()
}

/// The thumbprint of the key that signs events.
fn current(desk: &Desk) -> Option<String> {
    desk.token_keys.event_signer().map(|key| key.public().thumbprint_text())
}

fn now(desk: &Desk) -> i64 {
    desk.world.clock.now().as_seconds()
}

async fn stream(transmitter: &Transmitter) -> String {
    let known = transmitter.known(TOKEN).await.expect("it is known");
    let asked = StreamAsked::parse(b"{}").expect("it can be read");
    let told = transmitter.create(&known, asked).await.expect("it is created");
    told["stream_id"].as_str().expect("an id").to_owned()
}

/// The one token that is there, which was read by others' rules and verified by what `/oauth/jwks` lists; by
/// which key that was.
async fn told(desk: &Desk, transmitter: &Transmitter, id: &str) -> (String, String) {
    let known = transmitter.known(TOKEN).await.expect("it is known");
    let asked = PollAsked { max: 16, ..PollAsked::default() };
    let polled = transmitter.poll(&known, id, &asked).await.expect("it is answered");
    let sets: Vec<_> = polled.sets.into_iter().collect();
    let [(jti, set)] = <[_; 1]>::try_from(sets).expect("it is one");
    let algorithms = BTreeSet::from([Algorithm::Rs256]);
    let of = secevent::Transmitter { issuer: ISSUER, audience: AUDIENCE, algorithms: &algorithms };
    let read = Unverified::read(&set, of).expect("it is RS256");
    let kid = read.kid().expect("text").expect("a key").to_owned();
    let listed = desk.token_keys.jwks(now(desk));
    let listed = KeySet::parse(&listed, Purpose::Signatures).expect("a set of keys");
    let key = listed.find(Some(&kid)).expect("it is listed");
    let verified = read.verified_by(key.as_ref(), desk.world.clock.now().as_millis());
    assert_eq!(verified.expect("it is verified").jti, jti);
    (jti, kid)
}

#[tokio::test]
async fn ss_05_a_receiver_is_told_by_rs256_if_it_is_registered_so_and_over_exchanges_too() {
    let desk = Desk::over(World::new().await).await;
    desk.run(Command::ReceiverAdd(ReceiverRegistration {
        name: "soar".to_owned(),
        audience: "https://soar.example".to_owned(),
        ..said(&desk, Covers::All)
    }))
    .await
    .expect("it is registered");
    assert_eq!((files(&desk), current(&desk)), (Vec::new(), None), "nobody wants one");
    // Only one of them has the token.
    desk.run(Command::ReceiverRemove { name: "soar".to_owned() }).await.expect("it is removed");
    desk.run(Command::ReceiverAdd(registration(&desk))).await.expect("it is registered");
    let first = current(&desk).expect("it is made");
    assert_eq!(files(&desk), [format!("event-{first}.pem")]);
    let transmitter = transmitter(&desk);
    let id = stream(&transmitter).await;
    let (name, reason) = (desk.world.standing.agent.name.to_string(), "because".to_owned());
    desk.run(Command::AgentSuspend { name, reason }).await.expect("it is suspended");
    let (jti, kid) = told(&desk, &transmitter, &id).await;
    assert_eq!(kid, first);
    for compromised in [false, true] {
        let before = current(&desk).expect("there is one");
        let rotate = Command::KeysRotate { reason: "due".to_owned(), compromised };
        desk.run(rotate).await.expect("it is exchanged");
        let next = current(&desk).expect("there is one");
        assert_ne!(next, before);
        assert_eq!(files(&desk), [format!("event-{next}.pem")]);
        assert_eq!(desk.token_keys.lists(&before, now(&desk)), !compromised);
        // What waits is signed anew where its key counts no longer, as the same token.
        let (again, kid) = told(&desk, &transmitter, &id).await;
        assert_eq!((again, kid), (jti.clone(), if compromised { next } else { before }));
    }
    // What a start finds.
    let fact = async |key: FactKey| {
        serde_json::from_value(desk.fact(key).await.expect("it is written")).expect("as written")
    };
    let tokens = Some(fact(FactKey::token_keys()).await);
    let events = Some(fact(FactKey::event_keys()).await);
    let written = WrittenKeys { tokens, events };
    let dir = desk.world.dir.path().join("keys");
    let opened = KeptTokenKeys::open(dir, &written).expect("the keys are there");
    assert_eq!(opened.keys.jwks(now(&desk)), desk.token_keys.jwks(now(&desk)));
    let records = desk.world.records("administration").await;
    let exchanged = records.iter().find(|it| it.text_of("action") == "keys/rotate");
    let disclosed = desk.world.disclosure(exchanged.expect("it is recorded")).await;
    assert_eq!(disclosed.value("change").expect("it is told")["events"]["before"], first);
}

/// The key is there if the registration is, whoever heard of that; and if not, it is not.
#[tokio::test]
async fn a_key_for_events_is_made_with_the_registration_that_wants_it() {
    let full = || OnCommit::Refuse(CommitError::Unavailable("the disk is full".into()));
    for (on_commit, answer, is_made) in
        [(full(), "unavailable", false), (OnCommit::WrittenButLost, "unknown", true)]
    {
        let desk = Desk::over(World::new().await).await;
        desk.world.store.on_commit([on_commit]);
        let asked = desk.run(Command::ReceiverAdd(registration(&desk))).await;
        assert_eq!(word(&asked), answer);
        desk.administration.catch_up_token_keys().await;
        assert_eq!((current(&desk).is_some(), files(&desk).len()), (is_made, usize::from(is_made)));
        assert_eq!(desk.fact(FactKey::event_keys()).await.is_some(), is_made);
    }
}

/// A second receiver has the key of the first; the key that signs tokens is never it.
#[tokio::test]
async fn one_key_signs_events_for_all_and_none_signs_both() {
    let desk = Desk::over(World::new().await).await;
    let other = ReceiverRegistration {
        name: "soar".to_owned(),
        audience: "https://soar.example".to_owned(),
        ..registration(&desk)
    };
    desk.run(Command::ReceiverAdd(registration(&desk))).await.expect("it is registered");
    let first = current(&desk).expect("it is made");
    desk.run(Command::ReceiverAdd(other)).await.expect("it is registered");
    assert_eq!(current(&desk), Some(first.clone()));
    assert_ne!(desk.token_keys.signer().public().thumbprint_text(), first);
    assert_eq!(desk.token_keys.find(&first, now(&desk)), None);
}
