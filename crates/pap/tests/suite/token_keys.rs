//! The key that signs tokens: exchanged by a recorded act, on disk before it is written which one.

use keys::Signer as _;
use model::FactKey;
use pap::{Command, KeptTokenKeys};

use crate::desk::{Desk, word};

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
        let dir = desk.world.dir.path().join("keys");
        let opened = KeptTokenKeys::open(dir, Some(&known)).expect("the key is there");
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
