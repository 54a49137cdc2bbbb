//! Units: all of it or nothing, and only on facts that are still true.

use model::{Revision, Timestamp};

use super::{
    BackEnd, count, counter, entry, key, open_permit, poll_once, put, put_new, remove, shown, unit,
    use_once, use_until,
};
use crate::{CommitError, Effect, OpenPermit, SealedDisclosure, Unit};

/// What a refusal is, without what it says.
fn kind(error: &CommitError) -> &'static str {
    match error {
        CommitError::Changed { .. } => "changed",
        CommitError::Used(_) => "used",
        CommitError::OverLimit { .. } => "over limit",
        CommitError::Exists { .. } => "exists",
        CommitError::Overloaded => "overloaded",
        CommitError::Unavailable(_) => "unavailable",
        CommitError::Lost => "lost",
    }
}

/// Each effect × each refusal × both orders: nothing of a refused unit is there.
pub async fn a_refused_unit_leaves_nothing(back_end: &impl BackEnd) {
    let store = back_end.store();
    let standing = vec![put("old", "1"), use_once(1), count("full", 5, None), open_permit(0)];
    let open = store.commit(unit(standing)).await.unwrap().indices[0];
    let revision = store.load(&[]).await.unwrap().revision;
    let effects = [
        put("old", "2"),
        put("new", "2"),
        put_new("new"),
        remove("old"),
        use_once(2),
        count("free", 1, None),
        open_permit(0),
        Effect::ClosePermit { index: open },
    ];
    let refusals = [
        (use_once(1), "used"),
        (count("full", 1, Some(5)), "over limit"),
        (put_new("old"), "exists"),
        (Effect::Lacks { key: key("old") }, "exists"),
        (Effect::ClosePermit { index: 999 }, "used"),
    ];
    let before = shown(store.as_ref(), &["full", "free"]).await.unwrap();
    for effect in &effects {
        for (refusal, why) in &refusals {
            let is_demanded = matches!(refusal, Effect::PutNew { .. } | Effect::Lacks { .. });
            if matches!(effect, Effect::Remove { .. }) && is_demanded {
                continue;
            }
            for order in [[effect, refusal], [refusal, effect]] {
                let mut refused = unit(order.map(Clone::clone).to_vec());
                let data_key = key("datakey/p");
                let sealed = vec![1];
                refused.entries[0].disclosure = Some(SealedDisclosure { data_key, sealed });
                let error = store.commit(refused).await.unwrap_err();
                assert_eq!(kind(&error), *why, "{order:?}");
                let after = shown(store.as_ref(), &["full", "free"]).await.unwrap();
                assert_eq!(after, before, "{order:?}");
            }
        }
        let mut changed = unit(vec![effect.clone()]);
        (changed.reads, changed.revision) = (vec![key("old")], Revision(revision.0 - 1));
        let error = store.commit(changed).await.unwrap_err();
        assert_eq!(kind(&error), "changed", "{effect:?}");
        assert_eq!(shown(store.as_ref(), &["full", "free"]).await.unwrap(), before, "{effect:?}");
    }
    let recordless = Unit { effects: vec![put("new", "2"), open_permit(0)], ..Unit::default() };
    store.commit(recordless).await.unwrap_err();
    assert_eq!(shown(store.as_ref(), &["full", "free"]).await.unwrap(), before);
    // What the refused units would have used up is there to be used.
    let lacks = Effect::Lacks { key: key("new") };
    store.commit(unit(vec![use_once(2), lacks, put_new("new")])).await.unwrap();
}

/// Keys that existed, that did not, and that were removed; a key that did not change is no reason.
pub async fn i_11_a_unit_that_read_what_has_changed_is_refused(back_end: &impl BackEnd) {
    let store = back_end.store();
    store.commit(unit(vec![put("kept", "1"), put("gone", "1"), put("same", "1")])).await.unwrap();
    let read = store.load(&[key("kept"), key("gone"), key("absent")]).await.unwrap().revision;
    let changes = vec![put("kept", "1"), remove("gone"), put_new("absent"), put("other", "1")];
    let now = store.commit(unit(changes)).await.unwrap().revision;
    let on = |name: &str, revision| Unit {
        reads: vec![key("same"), key(name)],
        revision,
        ..unit(vec![put("effect", "1")])
    };
    for name in ["kept", "gone", "absent"] {
        match store.commit(on(name, read)).await {
            Err(CommitError::Changed { key: told }) => assert_eq!(told, key(name)),
            other => panic!("`{name}` changed, and yet: {other:?}"),
        }
        assert_eq!(store.load(&[key("effect")]).await.unwrap().bodies, [None]);
    }
    store.commit(on("never", read)).await.unwrap();
    // Read from a store that knew more than this one does: one that lost its end.
    let ahead = store.commit(on("same", Revision(now.0 + 10))).await.unwrap_err();
    assert_eq!(kind(&ahead), "changed");
    for name in ["kept", "gone", "absent"] {
        store.commit(on(name, now)).await.unwrap();
    }
}

/// What one unit of a batch writes, the next one of the same batch has not read.
pub async fn i_11_of_two_units_of_one_batch_the_second_is_refused(back_end: &impl BackEnd) {
    let store = back_end.store();
    store.commit(unit(vec![put("k", "0")])).await.unwrap();
    for round in 0..16 {
        let revision = store.load(&[key("k")]).await.unwrap().revision;
        let claim = |by: &str| Unit {
            reads: vec![key("k")],
            revision,
            ..unit(vec![put("k", by), count("done", 1, None)])
        };
        let _company = [store.announce(), store.announce()];
        let (one, two) = tokio::join!(store.commit(claim("1")), store.commit(claim("2")));
        assert!(one.is_ok() != two.is_ok(), "round {round}: {one:?}, {two:?}");
        let refused = one.err().or(two.err()).unwrap();
        assert_eq!(kind(&refused), "changed");
    }
    assert_eq!(store.counters(&[counter("done")]).await.unwrap(), [16]);
}

/// A permit is open from its record on until it is closed, once, with what is to be known then.
pub async fn permits_open_and_close_once(back_end: &impl BackEnd) {
    let store = back_end.store();
    store.commit(unit(Vec::new())).await.unwrap();
    let three = |entry_of| Unit {
        entries: vec![entry(), entry(), entry()],
        ..unit(vec![open_permit(entry_of)])
    };
    let first = store.commit(three(1)).await.unwrap().indices[1];
    assert_eq!(first, 2, "it is opened at the record that is named");
    assert_eq!(kind(&store.commit(three(3)).await.unwrap_err()), "unavailable");
    let second = store.commit(unit(vec![open_permit(0)])).await.unwrap().indices[0];
    let open = async || -> Vec<u64> {
        store.open_permits().await.unwrap().iter().map(|permit| permit.index).collect()
    };
    assert_eq!(open().await, [first, second]);
    let close = |index| unit(vec![Effect::ClosePermit { index }]);
    store.commit(close(first)).await.unwrap();
    assert_eq!(open().await, [second]);
    for index in [first, 0, 77] {
        assert_eq!(kind(&store.commit(close(index)).await.unwrap_err()), "used");
    }
    let silent = Effect::OpenPermit { entry: 0, body: None };
    let both = vec![silent, Effect::ClosePermit { index: second }];
    let third = store.commit(unit(both)).await.unwrap().indices[0];
    assert_eq!(store.open_permits().await.unwrap(), [OpenPermit { index: third, body: None }]);
    let fourth = store.commit(unit(vec![open_permit(0)])).await.unwrap().indices[0];
    let last = store.open_permits().await.unwrap().pop().unwrap();
    assert_eq!(last, OpenPermit { index: fourth, body: Some(b"{}".to_vec()) });
}

/// A counter may reach its limit and not pass it, nor the end of its numbers; giving back is free, and leaves
/// no less than nothing.
pub async fn a_counter_stays_within_its_limit(back_end: &impl BackEnd) {
    let store = back_end.store();
    let value = async || store.counters(&[counter("c")]).await.unwrap()[0];
    assert_eq!(value().await, 0);
    let steps = [
        (3, Some(2), None, 0),
        (2, Some(2), Some(()), 2),
        (1, Some(2), None, 2),
        (1, None, Some(()), 3),
        (-1, Some(0), Some(()), 2),
        (i64::MAX, None, None, 2),
        (i64::MAX - 2, None, Some(()), i64::MAX),
        (-i64::MAX, Some(0), Some(()), 0),
        (2, Some(2), Some(()), 2),
        (-5, Some(0), Some(()), 0),
        (-1, None, Some(()), 0),
        (2, Some(2), Some(()), 2),
    ];
    for (amount, limit, permitted, after) in steps {
        let counted = store.commit(unit(vec![count("c", amount, limit)])).await;
        assert_eq!(counted.is_ok(), permitted.is_some(), "{amount} within {limit:?}");
        assert_eq!(value().await, after, "{amount} within {limit:?}");
    }
    let names = [counter("C"), counter("c"), counter("none")];
    assert_eq!(store.counters(&names).await.unwrap(), [0, 2, 0]);
}

/// Counters with a prefix are listed in the order of their names, and no others, nor what came to zero.
pub async fn counters_are_listed_by_prefix(back_end: &impl BackEnd) {
    let store = back_end.store();
    for (name, value) in [("b/2", 2), ("a/1", 1), ("b/1", 1), ("b", 9), ("b0", 9), ("B/1", 9)] {
        store.commit(unit(vec![count(name, value, None)])).await.unwrap();
    }
    let after = async |prefix: &str, after: Option<&str>, limit| -> Vec<(String, i64)> {
        let after = after.map(counter);
        let listed = store.list_counters(prefix, after.as_ref(), limit).await.unwrap();
        listed.into_iter().map(|(name, value)| (name.0, value)).collect()
    };
    let listed = async |prefix: &str, limit| after(prefix, None, limit).await;
    assert_eq!(listed("b/", 9).await, [("b/1".to_owned(), 1), ("b/2".to_owned(), 2)]);
    assert_eq!(listed("b/", 1).await, [("b/1".to_owned(), 1)]);
    assert_eq!(listed("c/", 9).await, []);
    assert_eq!(listed("", 9).await.len(), 6);
    assert_eq!(after("b/", Some("b/1"), 9).await, [("b/2".to_owned(), 2)]);
    assert_eq!(after("b/", Some("b/2"), 9).await, []);
    assert_eq!(after("b/", Some("a/1"), 1).await, [("b/1".to_owned(), 1)]);
    store.commit(unit(vec![count("b/1", -1, None)])).await.unwrap();
    assert_eq!(listed("b/", 9).await, [("b/2".to_owned(), 2)]);
    store.commit(unit(vec![count("b/1", 3, Some(3))])).await.unwrap();
    assert_eq!(listed("b/", 1).await, [("b/1".to_owned(), 3)]);
}

/// What is used once stays used until it expires, in each scope by itself.
pub async fn what_expired_is_forgotten_and_nothing_else(back_end: &impl BackEnd) {
    let store = back_end.store();
    for (id, expires) in [(1, 1_000), (2, 2_000), (3, 3_000)] {
        store.commit(unit(vec![use_until(id, expires)])).await.unwrap();
    }
    let other = |scope| {
        let expires = Timestamp::from_millis(1_000);
        unit(vec![Effect::UseOnce { scope, id: [2; 32], expires }])
    };
    store.commit(other(crate::OnceScope::Assertion)).await.unwrap();
    store.forget_expired(Timestamp::from_millis(2_000)).await.unwrap();
    store.commit(unit(vec![use_until(1, 9_000)])).await.unwrap();
    store.commit(other(crate::OnceScope::Assertion)).await.unwrap();
    for id in [1, 2, 3] {
        let again = store.commit(unit(vec![use_until(id, 9_000)])).await.unwrap_err();
        let used = crate::Once { scope: crate::OnceScope::Proof, id: [id; 32] };
        assert!(matches!(again, CommitError::Used(Some(it)) if it == used), "{again:?}");
    }
    // Of several, the first is told.
    let both = unit(vec![use_until(9, 9_000), use_until(2, 9_000), use_until(1, 9_000)]);
    let again = store.commit(both).await.unwrap_err();
    assert!(matches!(again, CommitError::Used(Some(it)) if it.id == [2; 32]), "{again:?}");
    store.commit(unit(vec![use_until(9, 9_000)])).await.unwrap();
}

/// Whoever asked may go at any moment.
pub async fn a_dropped_commit_is_made_whole_or_not_at_all(back_end: &impl BackEnd) {
    let store = back_end.store();
    for number in 0..32 {
        let name = format!("k/{number}");
        let mut commit = store.commit(unit(vec![put(&name, "1"), count("n", 1, None)]));
        drop(poll_once(&mut commit));
        drop(commit);
    }
    store.commit(unit(Vec::new())).await.unwrap();
    let facts = store.list("k/", None, 100).await.unwrap().facts.len() as u64;
    assert_eq!(store.log_size().await.unwrap(), facts + 1);
    assert_eq!(store.counters(&[counter("n")]).await.unwrap()[0].unsigned_abs(), facts);
}

/// Whatever refuses one of them refuses both, and one that has read what the other writes is no part of
/// one unit with it.
pub async fn i_11_two_units_as_one_are_there_together_or_not_at_all(back_end: &impl BackEnd) {
    let store = back_end.store();
    store.commit(unit(vec![put("read", "1"), put("taken", "1")])).await.unwrap();
    let revision = store.load(&[]).await.unwrap().revision;
    store.commit(unit(vec![put("moved", "1")])).await.unwrap();
    let reading = |name: &str, effects: Vec<Effect>| Unit {
        reads: vec![key(name)],
        revision,
        ..unit([effects, vec![open_permit(0)]].concat())
    };
    let first = || reading("read", vec![put("one", "1"), use_once(1)]);
    assert!(first().and(reading("one", Vec::new())).is_none());
    assert!(first().and(reading("other", vec![put("read", "2")])).is_none());
    let refused = [
        (reading("other", vec![put_new("taken")]), "exists"),
        (reading("other", vec![use_once(1)]), "used"),
        (Unit { revision: Revision(revision.0 - 1), ..reading("read", Vec::new()) }, "changed"),
        (reading("moved", Vec::new()), "changed"),
    ];
    for (second, why) in refused {
        let both = first().and(second).expect("neither reads what the other writes");
        assert_eq!(kind(&store.commit(both).await.unwrap_err()), why);
        assert_eq!(store.load(&[key("one")]).await.unwrap().bodies, [None], "{why}");
    }
    let both = first().and(reading("other", vec![put("two", "1")])).expect("they are apart");
    let indices = store.commit(both).await.unwrap().indices;
    let open: Vec<_> = store.open_permits().await.unwrap().iter().map(|it| it.index).collect();
    assert_eq!(open, indices, "each has the permit of its own record");
    let bodies = store.load(&[key("one"), key("two")]).await.unwrap().bodies;
    assert!(bodies.iter().all(Option::is_some));
}
