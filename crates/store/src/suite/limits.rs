//! Limits: at the limit it passes, one over it does not, and nothing is left of it.

use std::sync::{Arc, Condvar, Mutex};

use super::{BackEnd, count, entry, key, poll_once, put, shown, sized_entry, unit, use_once};
use crate::{
    BODY_MAX, CommitError, Effect, KEY_MAX, LOAD_MAX, PAGE_MAX, QUEUE_MAX, Store, UNIT_MAX, Unit,
};

async fn refuses(store: &dyn Store, unit: Unit) {
    let before = shown(store, &[]).await.unwrap();
    let error = store.commit(unit).await.unwrap_err();
    assert!(matches!(error, CommitError::Unavailable(_)), "{error:?}");
    assert_eq!(shown(store, &[]).await.unwrap(), before);
}

/// Entries, reads and effects together.
pub async fn a_unit_at_its_limit_passes_and_one_over_does_not(back_end: &impl BackEnd) {
    let store = back_end.store();
    let of = |entries, effects, reads| Unit {
        entries: (0..entries).map(|_| entry()).collect(),
        effects: (0..effects).map(|n| count(&format!("c/{n}"), 1, None)).collect(),
        reads: (0..reads).map(|n| key(&format!("r/{n}"))).collect(),
        ..Unit::default()
    };
    let third = UNIT_MAX / 3;
    for (a, b, c) in [(UNIT_MAX, 0, 0), (0, UNIT_MAX, 0), (third, UNIT_MAX - 2 * third, third)] {
        store.commit(of(a, b, c)).await.unwrap();
        refuses(store.as_ref(), of(a + 1, b, c)).await;
        refuses(store.as_ref(), of(a, b + 1, c)).await;
        refuses(store.as_ref(), of(a, b, c + 1)).await;
    }
}

/// 16 KiB.
pub async fn a_record_at_its_limit_passes_and_one_over_does_not(back_end: &impl BackEnd) {
    let store = back_end.store();
    let most = model::record::MAX_RECORD_BYTES;
    let of = |bytes: usize| Unit {
        entries: vec![entry(), sized_entry(bytes as u64, vec![b'x'; bytes])],
        ..Unit::default()
    };
    store.commit(of(most)).await.unwrap();
    assert_eq!(store.entries(1, 1).await.unwrap()[0].bytes.len(), most);
    refuses(store.as_ref(), of(most + 1)).await;
}

/// Keys of facts, names of counters, and bodies.
pub async fn a_key_at_its_limit_passes_and_one_over_does_not(back_end: &impl BackEnd) {
    let store = back_end.store();
    let (fits, over) = ("ä".repeat(KEY_MAX / 2), format!("{}a", "ä".repeat(KEY_MAX / 2)));
    store.commit(unit(vec![put(&fits, "1"), count(&fits, 1, None)])).await.unwrap();
    assert_eq!(store.load(&[key(&fits)]).await.unwrap().bodies, [Some(b"1".to_vec())]);
    assert_eq!(store.list(&fits, None, 9).await.unwrap().facts.len(), 1);
    refuses(store.as_ref(), unit(vec![put(&over, "1")])).await;
    refuses(store.as_ref(), unit(vec![count(&over, 1, None)])).await;
    let sized = |bytes| vec![Effect::Put { key: key("body"), body: vec![b'1'; bytes] }];
    store.commit(unit(sized(BODY_MAX))).await.unwrap();
    let removed = vec![Effect::Remove { key: key("body") }];
    store.commit(unit(removed)).await.unwrap();
    refuses(store.as_ref(), unit(sized(BODY_MAX + 1))).await;
}

/// More than one decision needs is a mistake.
pub async fn a_load_at_its_limit_passes_and_one_over_does_not(back_end: &impl BackEnd) {
    let store = back_end.store();
    let keys: Vec<_> = (0..=LOAD_MAX).map(|n| key(&n.to_string())).collect();
    assert_eq!(store.load(&keys[1..]).await.unwrap().bodies.len(), LOAD_MAX);
    store.load(&keys).await.unwrap_err();
}

/// Whatever is asked for, of facts and of entries.
pub async fn a_page_has_a_limit(back_end: &impl BackEnd) {
    let store = back_end.store();
    for first in (0..=PAGE_MAX).step_by(32) {
        let numbers = first..first + 32;
        let effects = numbers.clone().map(|n| put(&format!("k/{n:06}"), "1")).collect();
        let entries = numbers.map(|_| entry()).collect();
        store.commit(Unit { entries, effects, ..Unit::default() }).await.unwrap();
    }
    let page = store.list("k/", None, usize::MAX).await.unwrap();
    assert_eq!(page.facts.len(), PAGE_MAX);
    let rest = store.list("k/", page.next.as_ref(), usize::MAX).await.unwrap();
    assert_eq!((rest.facts.len(), rest.next), (32, None));
    assert_eq!(store.entries(0, usize::MAX).await.unwrap().len(), PAGE_MAX);
    assert_eq!(store.entries(0, PAGE_MAX - 1).await.unwrap().len(), PAGE_MAX - 1);
}

/// While a commit is held up, as many wait as may; the next is refused at once, and all that waited
/// are committed.
pub async fn the_queue_has_a_limit(back_end: &impl BackEnd) {
    let store = back_end.store();
    let gate = Arc::new((Mutex::new((false, false)), Condvar::new()));
    let held = gate.clone();
    store.on_change(Arc::new(move |keys, _| {
        if keys.contains(&key("hold")) {
            let (state, changed) = &*held;
            let mut state = state.lock().unwrap();
            state.0 = true;
            changed.notify_all();
            drop(changed.wait_while(state, |(_, open)| !*open).unwrap());
        }
    }));
    let holding = store.clone();
    let holding = tokio::spawn(async move { holding.commit(unit(vec![put("hold", "1")])).await });
    let reached = gate.clone();
    let reached = tokio::task::spawn_blocking(move || {
        let (state, changed) = &*reached;
        drop(changed.wait_while(state.lock().unwrap(), |(reached, _)| !*reached).unwrap());
    });
    reached.await.unwrap();

    let mut waiting: Vec<_> = (0..QUEUE_MAX).map(|_| store.commit(unit(Vec::new()))).collect();
    assert!(waiting.iter_mut().all(|commit| poll_once(commit).is_pending()));
    let refused = store.commit(unit(vec![use_once(1)])).await.unwrap_err();
    assert!(matches!(refused, CommitError::Overloaded), "{refused:?}");

    gate.0.lock().unwrap().1 = true;
    gate.1.notify_all();
    holding.await.unwrap().unwrap();
    for commit in waiting {
        commit.await.unwrap();
    }
    assert_eq!(store.log_size().await.unwrap(), QUEUE_MAX as u64 + 1);
    store.commit(unit(vec![use_once(1)])).await.unwrap();
}
