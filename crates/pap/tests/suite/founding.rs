//! How a deployment begins: leaf 0, founders, and codes that are good once.

use std::collections::BTreeMap;
use std::sync::Arc;

use journal::Journal;
use model::record::FoundingRecord;
use model::{FactKey, Sha256Digest, Thumbprint};
use pap::{AdminError, BOOTSTRAP, Command, Founder, Founding, PolicyFiles};
use serde_json::json;
use store::Store as _;
use testkit::{ManualClock, SeededEntropy};

use crate::desk::{Desk, jwk, policy_key, word};
use crate::support::stores::Interposed;
use crate::support::{World, log::entries};

fn founding(development: bool) -> Founding {
    let founder = |id: &str, code: &str| Founder {
        id: id.parse().unwrap(),
        code: (!development).then(|| Sha256Digest::of(code.as_bytes())),
    };
    Founding {
        founders: vec![founder("ann@example.org", "one"), founder("bob@example.org", "two")],
        keys: BTreeMap::from([("token".to_owned(), Thumbprint::from_bytes([8; 32]))]),
        origin: "chancery.example/log".to_owned(),
        configuration: Sha256Digest::of(b"configuration"),
        policy: PolicyFiles::default(),
        development,
    }
}

/// A database in which nothing is.
fn empty() -> (tempfile::TempDir, Arc<Interposed>, Journal, Arc<ManualClock>, Arc<SeededEntropy>) {
    let (clock, entropy) = (Arc::new(ManualClock::new()), Arc::new(SeededEntropy::new(5)));
    let dir = tempfile::tempdir().unwrap();
    let (store, journal) = crate::support::open(&dir, (&clock, &entropy));
    (dir, store, journal, clock, entropy)
}

#[tokio::test]
async fn leaf_0_says_how_it_began_and_names_nobody() {
    for development in [false, true] {
        let (dir, store, journal, clock, entropy) = empty();
        let key = policy_key(dir.path());
        let by = (clock.as_ref() as &dyn model::Clock, entropy.as_ref() as &dyn model::Entropy);
        assert!(!pap::is_founded(&journal).await.unwrap());
        let founded = pap::found(&journal, founding(development), &key, by);
        founded.await.unwrap();
        assert!(pap::is_founded(&journal).await.unwrap());
        let log = entries(&journal).await;
        assert_eq!(log.len(), 1);
        let record: FoundingRecord = serde_json::from_str(&log[0].text).unwrap();
        assert_eq!((log[0].index, record.kind.as_str()), (0, "founding"));
        assert_eq!(record.development, development);
        assert_eq!(record.founders.len(), 2);
        assert_ne!(record.founders[0].founder, record.founders[1].founder);
        assert!(!log[0].text.contains("example.org"));
        // Once, and never again over what is there.
        let again = pap::found(&journal, founding(development), &key, by);
        assert!(matches!(again.await, Err(AdminError::Conflict(_))));
        assert_eq!(entries(&journal).await.len(), 1);
        // A founder administers once the code is redeemed, or at once where there is none.
        let ann =
            store.load(&[FactKey::person(&"ann@example.org".parse().unwrap())]).await.unwrap();
        let ann: model::Person = serde_json::from_slice(ann.bodies[0].as_ref().unwrap()).unwrap();
        assert_eq!(ann.groups.is_empty(), !development);
        let bootstrap = FactKey::person(&BOOTSTRAP.parse().unwrap());
        assert!(store.load(&[bootstrap]).await.unwrap().bodies[0].is_some());
    }
}

#[tokio::test]
async fn a_founders_code_is_good_once_and_no_other_is_good() {
    let world = World::new().await;
    for (code, founder) in [("one", &world.standing.other.id), ("two", &world.standing.sponsor.id)]
    {
        let place = format!("founder/{}", Sha256Digest::of(code.as_bytes()));
        world.put(FactKey::from_text(&place), &json!({ "founder": founder })).await;
    }
    let desk = Desk::over(world).await;
    let redeem = |code: &str| Command::FounderRedeem { code: code.to_owned(), key: jwk() };
    let other = desk.world.standing.other.id.clone();
    assert_eq!(word(&desk.run(redeem("three")).await), "invalid");
    assert_eq!(word(&desk.run_as(&other, Command::PersonList).await), "refused");
    // Many at once: one of them.
    let racers = (0..8).map(|_| desk.run(redeem("one")));
    let answers = futures::future::join_all(racers).await;
    assert_eq!(answers.iter().filter(|it| it.is_ok()).count(), 1);
    assert_eq!(word(&desk.run(redeem("one")).await), "invalid");
    assert_eq!(word(&desk.run_as(&other, Command::PersonList).await), "done");
    assert!(desk.run(redeem("two")).await.is_ok());
    let bad = Command::FounderRedeem { code: "two".to_owned(), key: json!({ "kty": "RSA" }) };
    assert_eq!(word(&desk.run(bad).await), "invalid");
}
