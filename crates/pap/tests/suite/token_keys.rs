//! The key that signs tokens: exchanged by a recorded act, on disk before it is written which one.

use keys::Signer as _;
use model::FactKey;
use pap::{Command, KeptTokenKeys, WrittenKeys};
use store::CommitError;

use crate::desk::{Desk, word};
use crate::support::stores::OnCommit;
use crate::support::until;

fn rotate(compromised: bool) -> Command {
    Command::KeysRotate { reason: "due".to_owned(), compromised }
}

/// The names of the files with keys that sign tokens.
fn files(desk: &Desk) -> Vec<String> {
    let listed = std::fs::read_dir(desk.world.dir.path().join("keys")).expect("it is there");
    let names = listed.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("token")).collect()
}

#[tokio::test]
async fn n_029_the_key_that_signs_is_the_one_that_is_written() {
    let desk = Desk::new().await;
    let first = desk.token_keys.signer().public().thumbprint_text();
    assert_eq!(files(&desk), ["token.pem"]);
    for compromised in [false, false, true] {
        let before = desk.token_keys.signer().public().thumbprint_text();
        let told = desk.run(rotate(compromised)).await.expect("it is exchanged");
        let signer = desk.token_keys.signer().public().thumbprint_text();
        assert_ne!(signer, before);
        assert_eq!(told["key"], signer);
        assert_eq!(told["last_verifies_until"].is_null(), compromised);
        assert_eq!(files(&desk), [format!("token-{signer}.pem")]);
        let now = model::Clock::now(desk.world.clock.as_ref()).as_seconds();
        for old in [&first, &before] {
            assert_eq!(desk.token_keys.find(old, now).is_none(), compromised);
            assert!(desk.token_keys.find(old, now + 3_600).is_none());
        }
        // What a start finds.
        let known = desk.fact(FactKey::token_keys()).await.expect("it is written");
        let known = serde_json::from_value(known).expect("as it is written");
        let written = WrittenKeys { tokens: Some(known), events: None };
        let dir = desk.world.dir.path().join("keys");
        let opened = KeptTokenKeys::open(dir, &written).expect("the key is there");
        assert_eq!(opened.keys.jwks(now), desk.token_keys.jwks(now));
    }
}

/// Of two who exchange it at once, nobody's key is lost: the one that is written is there.
#[tokio::test]
async fn two_exchanges_at_once_leave_the_key_that_is_written() {
    let desk = Desk::new().await;
    let (first, second) = tokio::join!(desk.run(rotate(false)), desk.run(rotate(false)));
    assert!([&first, &second].into_iter().any(|answer| word(answer) == "done"));
    let known = desk.fact(FactKey::token_keys()).await.expect("it is written");
    let signer = desk.token_keys.signer().public().thumbprint_text();
    assert_eq!(known["current"], signer);
    assert!(files(&desk).contains(&format!("token-{signer}.pem")));
}

/// The key that is written signs, lies there alone, and no key verifies of before it was stolen.
async fn is_exchanged(desk: &Desk, stolen: &str) {
    let known = desk.fact(FactKey::token_keys()).await.expect("it is written");
    let signer = desk.token_keys.signer().public().thumbprint_text();
    assert_eq!(known["current"], signer);
    assert_eq!(files(desk), [format!("token-{signer}.pem")]);
    let now = model::Clock::now(desk.world.clock.as_ref()).as_seconds();
    assert_eq!(desk.token_keys.find(stolen, now), None);
}

/// It is written, and the answer is lost, or whoever waited for it has gone.
async fn exchanged_unheard(desk: &Desk, is_gone: bool) {
    if !is_gone {
        desk.world.store.on_commit([OnCommit::WrittenButLost]);
        assert_eq!(word(&desk.run(rotate(true)).await), "unknown");
        return;
    }
    desk.world.store.on_commit([OnCommit::WrittenAndSilent]);
    let is_written = || async { desk.fact(FactKey::token_keys()).await.is_some() };
    tokio::select! {
        answer = desk.run(rotate(true)) => panic!("nobody answers: {answer:?}"),
        () = until("it is written", is_written) => {}
    }
}

#[tokio::test]
async fn n_029_an_exchange_that_nobody_heard_of_is_made() {
    for is_gone in [false, true] {
        let desk = Desk::new().await;
        let stolen = desk.token_keys.signer().public().thumbprint_text();
        exchanged_unheard(&desk, is_gone).await;
        desk.administration.catch_up_token_keys().await;
        is_exchanged(&desk, &stolen).await;
    }
}

/// Before anybody looked, the next exchange finds it.
#[tokio::test]
async fn n_029_the_next_exchange_goes_on_from_one_that_nobody_heard_of() {
    for is_gone in [false, true] {
        let desk = Desk::new().await;
        let stolen = desk.token_keys.signer().public().thumbprint_text();
        exchanged_unheard(&desk, is_gone).await;
        let unheard = desk.fact(FactKey::token_keys()).await.expect("it is written");
        desk.run(rotate(false)).await.expect("it is exchanged");
        is_exchanged(&desk, &stolen).await;
        let now = model::Clock::now(desk.world.clock.as_ref()).as_seconds();
        let unheard = unheard["current"].as_str().expect("a thumbprint");
        assert!(desk.token_keys.find(unheard, now).is_some(), "it verifies for another hour");
    }
}

/// What is not written leaves no key: at once where that is certain, else with the next exchange or
/// the next start.
#[tokio::test]
async fn an_exchange_that_is_not_made_leaves_no_key() {
    let desk = Desk::new().await;
    let full = CommitError::Unavailable("the disk is full".into());
    desk.world.store.on_commit([OnCommit::Refuse(full)]);
    assert_eq!(word(&desk.run(rotate(true)).await), "unavailable");
    assert_eq!(files(&desk), ["token.pem"]);
    let abandoned = async || {
        let before = files(&desk).len();
        desk.world.store.on_commit([OnCommit::Hang]);
        tokio::select! {
            answer = desk.run(rotate(true)) => panic!("nobody answers: {answer:?}"),
            () = until("it is asked for", || async { desk.world.store.commits_left() == 0 }) => {}
        }
        desk.administration.catch_up_token_keys().await;
        assert_eq!(files(&desk).len(), before + 1, "it may be written yet");
    };
    abandoned().await;
    KeptTokenKeys::open(desk.world.dir.path().join("keys"), &WrittenKeys::default())
        .expect("the key is there");
    assert_eq!(files(&desk), ["token.pem"]);
    abandoned().await;
    desk.run(rotate(false)).await.expect("it is exchanged");
    let signer = desk.token_keys.signer().public().thumbprint_text();
    assert_eq!(files(&desk), [format!("token-{signer}.pem")]);
}
