//! The log: entries, their disclosures, and the checkpoint.

use super::{BackEnd, count, entry, key, open_permit, put, shown, sized_entry, unit, use_once};
use crate::{CheckpointRow, SealedDisclosure, Unit};

/// Not by the store's code, and not past it.
pub async fn i_14_entries_are_never_changed(back_end: &impl BackEnd) {
    let store = back_end.store();
    for _ in 0..3 {
        store.commit(unit(vec![put("a", "1")])).await.unwrap();
    }
    let row = CheckpointRow { size: 3, note: b"note".to_vec() };
    assert!(store.swap_checkpoint(None, &row).await.unwrap());
    let before = shown(store.as_ref(), &[]).await.unwrap();
    assert_eq!(back_end.tampered().await, Vec::<String>::new(), "these were not refused");
    assert_eq!(shown(store.as_ref(), &[]).await.unwrap(), before);
    assert_eq!(store.commit(unit(Vec::new())).await.unwrap().indices, [3]);
}

/// By index: in order, from anywhere. By id: also the newest, which no index has reached.
pub async fn entries_are_found_by_index_and_by_id(back_end: &impl BackEnd) {
    let store = back_end.store();
    assert_eq!(store.entries(0, 10).await.unwrap(), []);
    let mut written = Vec::new();
    while written.len() < 1_200 {
        let entries: Vec<_> = (0..50).map(|_| entry()).collect();
        written.extend(entries.iter().cloned());
        store.commit(Unit { entries, ..Unit::default() }).await.unwrap();
        for index in [0, written.len() / 2, written.len() - 1] {
            let wanted = &written[index];
            let found = store.find(&wanted.id).await.unwrap().unwrap();
            assert_eq!((found.index, &found.bytes), (index as u64, &wanted.bytes));
            assert_eq!(found.leaf, wanted.leaf);
        }
    }
    for (from, max, count) in [(0, 7, 7), (1_195, 10, 5), (1_200, 10, 0), (u64::MAX, 1, 0)] {
        let page = store.entries(from, max).await.unwrap();
        assert_eq!(page.len(), count, "{from}");
        for (entry, index) in page.iter().zip(from..) {
            let wanted = &written[usize::try_from(index).unwrap()];
            assert_eq!((entry.index, entry.id), (index, wanted.id));
        }
    }
    assert_eq!(store.find(&[0xee; 16]).await.unwrap(), None);
    // Of two entries with one id the first is found, whether an index has reached it or not.
    let twins = [sized_entry(1 << 40, vec![1]), sized_entry(1 << 40, vec![2])];
    for twin in &twins {
        store.commit(Unit { entries: vec![twin.clone()], ..Unit::default() }).await.unwrap();
    }
    assert_eq!(store.find(&twins[0].id).await.unwrap().unwrap().bytes, [1]);
}

/// A disclosure belongs to one entry, and is no part of it.
pub async fn disclosures_are_kept_apart(back_end: &impl BackEnd) {
    let store = back_end.store();
    let sealed = SealedDisclosure { data_key: key("datakey/ü"), sealed: vec![0, 0xff, 1] };
    let mut with = unit(Vec::new());
    with.entries.push(entry());
    with.entries[1].disclosure = Some(sealed.clone());
    store.commit(with).await.unwrap();
    let kept = vec![(1, sealed)];
    for (index, max, found) in
        [(0, 1, &[][..]), (1, 1, &kept), (0, 2, &kept), (0, 9, &kept), (1, 0, &[]), (2, 9, &[])]
    {
        let disclosures = store.disclosures(index, max).await.unwrap();
        assert_eq!(disclosures, found, "{max} from {index}");
    }
}

/// The first has no predecessor; every other names it; none is smaller.
pub async fn a_checkpoint_is_replaced_by_its_successor_only(back_end: &impl BackEnd) {
    let store = back_end.store();
    let row = |size: u64| CheckpointRow { size, note: size.to_string().into_bytes() };
    assert_eq!(store.checkpoint().await.unwrap(), None);
    let steps = [
        (Some(0), 1, false, None),
        (None, 0, true, Some(0)),
        (None, 1, false, Some(0)),
        (Some(1), 2, false, Some(0)),
        (Some(0), 5, true, Some(5)),
        (Some(0), 6, false, Some(5)),
        (None, 6, false, Some(5)),
        (Some(5), 9, true, Some(9)),
    ];
    for (from, to, swapped, newest) in steps {
        assert_eq!(store.swap_checkpoint(from, &row(to)).await.unwrap(), swapped, "{from:?} {to}");
        assert_eq!(store.checkpoint().await.unwrap(), newest.map(row), "{from:?} {to}");
    }
    let smaller = store.swap_checkpoint(Some(9), &row(4)).await;
    assert!(!matches!(smaller, Ok(true)));
    assert_eq!(store.checkpoint().await.unwrap(), Some(row(9)));
    // A refused one harms nobody who was committed beside it.
    store.commit(unit(Vec::new())).await.unwrap();
}

/// Facts, records, what was used, counters, permits, the checkpoint: all of it, and it goes on.
pub async fn promise_1_what_was_acknowledged_survives_a_kill(back_end: &impl BackEnd) {
    let store = back_end.store();
    for number in 0..40_u8 {
        let name = format!("k/{number}");
        let effects = vec![use_once(number), put(&name, "1"), count("c", 1, None), open_permit(0)];
        let mut unit = unit(effects);
        let data_key = key("datakey/p");
        unit.entries[0].disclosure = Some(SealedDisclosure { data_key, sealed: vec![number] });
        store.commit(unit).await.unwrap();
    }
    let row = CheckpointRow { size: 40, note: b"note".to_vec() };
    assert!(store.swap_checkpoint(None, &row).await.unwrap());
    let before = shown(store.as_ref(), &["c"]).await.unwrap();
    let first = store.entries(0, 1).await.unwrap().remove(0);

    let restarted = back_end.killed().await;
    assert_eq!(shown(restarted.as_ref(), &["c"]).await.unwrap(), before);
    assert_eq!(restarted.find(&first.id).await.unwrap(), Some(first));
    restarted.commit(unit(vec![use_once(7)])).await.unwrap_err();
    let next = restarted.commit(unit(vec![put("k/x", "1")])).await.unwrap();
    assert_eq!(next.indices, [40]);
    assert!(next.revision.0 > before.revision);
}
