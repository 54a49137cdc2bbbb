//! The store that fails on demand does what it is told, and no more.

use store::suite::BackEnd as _;
use store::{CheckpointRow, CommitError, Effect, Store as _, Unit};
use testkit::{Call, Fault, FaultyStore, GARBAGE};

use super::fresh;

fn unit() -> Unit {
    let key = model::FactKey::from_text("a");
    Unit { effects: vec![Effect::Put { key, body: b"1".to_vec() }], ..Unit::default() }
}

fn key() -> [model::FactKey; 1] {
    [model::FactKey::from_text("a")]
}

#[tokio::test]
async fn a_commit_fails_before_or_after_it_was_made() {
    for (fault, persists) in [(Fault::Fail, false), (Fault::FailButPersist, true)] {
        let back_end = fresh().await;
        let store = FaultyStore::over(back_end.store());
        store.once(Call::Commit, fault);
        let error = store.commit(unit()).await.unwrap_err();
        assert_eq!(matches!(error, CommitError::Lost), persists, "{error:?}");
        assert_eq!(store.load(&key()).await.unwrap().bodies[0].is_some(), persists);
        store.commit(unit()).await.unwrap();
        assert_eq!(store.count(Call::Commit), 2);
    }
}

#[tokio::test]
async fn what_hangs_goes_on_when_it_is_healed() {
    for (fault, persists) in [(Fault::Hang, false), (Fault::PersistAndHang, true)] {
        let back_end = fresh().await;
        let store = FaultyStore::over(back_end.store());
        store.always(Call::Commit, fault);
        let asked = store.clone();
        let asked = tokio::spawn(async move { asked.commit(unit()).await });
        store.hanging(Call::Commit, 1).await;
        assert_eq!(store.load(&key()).await.unwrap().bodies[0].is_some(), persists);
        store.heal();
        asked.await.unwrap().unwrap();
        assert!(store.load(&key()).await.unwrap().bodies[0].is_some());
        store.commit(unit()).await.unwrap();
    }
}

#[tokio::test]
async fn garbage_is_answered_and_nothing_is_done() {
    let back_end = fresh().await;
    let store = FaultyStore::over(back_end.store());
    for call in Call::ALL {
        store.always(call, Fault::Garbage);
    }
    assert!(store.commit(unit()).await.unwrap().indices.is_empty());
    assert_eq!(store.load(&key()).await.unwrap().bodies, [Some(GARBAGE.to_vec())]);
    let row = CheckpointRow { size: 1, note: Vec::new() };
    assert!(store.swap_checkpoint(None, &row).await.unwrap());
    assert_eq!(store.entries(3, 9).await.unwrap()[0].bytes, GARBAGE);
    store.heal();
    assert_eq!(store.load(&key()).await.unwrap().bodies, [None]);
    assert_eq!(store.checkpoint().await.unwrap(), None);
}
