//! Facts: read as they were written, listed in order, counted by revision.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::Timestamp;

use super::{BackEnd, key, open_permit, put, put_new, remove, unit};
use crate::{Effect, NotKept, Store, Unit};

/// What was put is loaded, what was put again replaces it, what was removed is gone.
pub async fn what_was_written_is_read(back_end: &impl BackEnd) {
    let store = back_end.store();
    let keys = [key("b"), key("a"), key("b"), key("none")];
    let loaded = store.load(&keys).await.unwrap();
    assert_eq!(loaded.bodies, vec![None; 4]);
    store.commit(unit(vec![put("a", "1"), put_new("b")])).await.unwrap();
    let loaded = store.load(&keys).await.unwrap().bodies;
    assert_eq!(loaded, [Some(b"new".to_vec()), Some(b"1".to_vec()), Some(b"new".to_vec()), None]);
    store.commit(unit(vec![put("a", ""), remove("b"), remove("none")])).await.unwrap();
    let loaded = store.load(&keys[..2]).await.unwrap().bodies;
    assert_eq!(loaded, [None, Some(Vec::new())], "an empty body is a body");
    store.commit(unit(vec![put_new("b"), put("b", "2"), remove("a"), put_new("a")])).await.unwrap();
    let loaded = store.load(&keys[..2]).await.unwrap().bodies;
    assert_eq!(loaded, [Some(b"2".to_vec()), Some(b"new".to_vec())], "effects happen in order");
    let raw = Effect::Put { key: key("raw"), body: vec![0, 0xff, 0x80, 0] };
    store.commit(unit(vec![raw])).await.unwrap();
    assert_eq!(store.load(&[key("raw")]).await.unwrap().bodies, [Some(vec![0, 0xff, 0x80, 0])]);
}

/// Keys that a collation might take for one another.
const ALIKE: [&str; 14] = [
    "Key",
    "key",
    "key ",
    " key",
    "KEY",
    "kéy",
    "ke\u{301}y",
    "ｋｅｙ",
    "ke%",
    "ke_",
    "k\\",
    "straße",
    "strasse",
    "\u{1f511}",
];

/// Case, accents, width, trailing spaces and wildcards all tell keys apart.
pub async fn keys_are_bytes_and_nothing_else(back_end: &impl BackEnd) {
    let store = back_end.store();
    let effects = ALIKE.iter().map(|text| put(text, text)).collect();
    store.commit(unit(effects)).await.unwrap();
    for text in ALIKE {
        let loaded = store.load(&[key(text)]).await.unwrap().bodies;
        assert_eq!(loaded, [Some(text.as_bytes().to_vec())], "{text:?}");
        let expected = ALIKE.iter().filter(|other| other.starts_with(text)).count();
        let page = store.list(text, None, 100).await.unwrap();
        assert_eq!(page.facts.len(), expected, "{text:?}");
    }
    store.commit(unit(vec![remove("key")])).await.unwrap();
    assert_eq!(store.list("", None, 100).await.unwrap().facts.len(), ALIKE.len() - 1);
}

async fn all(store: &dyn Store, prefix: &str, step: usize) -> Vec<String> {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(prefix, after.as_ref(), step).await.unwrap();
        assert!(page.facts.len() <= step);
        keys.extend(page.facts.into_iter().map(|(key, _)| key.as_str().to_owned()));
        after = page.next;
        if after.is_none() {
            return keys;
        }
    }
}

/// Whatever the size of a page, a list is complete, without repetition, in the order of bytes.
pub async fn a_list_gives_each_fact_with_the_prefix_once(back_end: &impl BackEnd) {
    let store = back_end.store();
    let keys = [
        "a",
        "a/",
        "a/0",
        "a/B",
        "a/a",
        "a/a/b",
        "a/b",
        "a/z",
        "a/ä",
        "a/\u{ffff}",
        "a/😀",
        "a/\u{10ffff}",
        "a/\u{10ffff}x",
        "a0",
        "b/",
        "B/",
    ];
    store.commit(unit(keys.iter().map(|text| put(text, "1")).collect())).await.unwrap();
    for prefix in ["", "a", "a/", "a/a", "a/b", "B", "z"] {
        let mut expected: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).collect();
        expected.sort_unstable();
        for step in [1, 2, 3, 5, 100] {
            assert_eq!(
                all(store.as_ref(), prefix, step).await.iter().collect::<Vec<_>>(),
                expected,
                "{prefix:?} by {step}"
            );
        }
    }
    // Where one goes on need not exist, nor lie within the prefix.
    let page = store.list("a/", Some(&key("A")), 1).await.unwrap();
    assert_eq!(page.facts[0].0, key("a/"));
    let page = store.list("a/", Some(&key("a/aa")), 1).await.unwrap();
    assert_eq!(page.facts[0].0, key("a/b"));
    assert_eq!(store.list("a/", Some(&key("b")), 9).await.unwrap().facts, []);
}

/// A prefix that ends in the greatest character has no simple successor.
pub async fn a_list_under_the_last_character_is_complete(back_end: &impl BackEnd) {
    let store = back_end.store();
    let keys =
        ["x\u{10ffff}", "x\u{10ffff}\u{10ffff}", "x\u{10ffff}a", "y", "\u{10ffff}", "\u{10ffff}b"];
    store.commit(unit(keys.iter().map(|text| put(text, "1")).collect())).await.unwrap();
    for (prefix, expected) in [("x\u{10ffff}", 3), ("\u{10ffff}", 2), ("x", 3)] {
        assert_eq!(all(store.as_ref(), prefix, 2).await.len(), expected, "{prefix:?}");
    }
}

/// The revision grows with each unit that writes facts, and with no other.
pub async fn a_revision_counts_what_wrote_facts(back_end: &impl BackEnd) {
    let store = back_end.store();
    let start = store.load(&[]).await.unwrap().revision;
    let first = store.commit(unit(vec![put("a", "1"), put("b", "1")])).await.unwrap();
    assert!(first.revision > start);
    assert_eq!(store.load(&[]).await.unwrap().revision, first.revision);
    let effects = vec![super::use_once(1), super::count("c", 1, None), open_permit(0)];
    let second = store.commit(unit(effects)).await.unwrap();
    assert_eq!(second.revision, first.revision);
    let refused = unit(vec![put("c", "1"), put_new("a")]);
    store.commit(refused).await.unwrap_err();
    assert_eq!(store.load(&[]).await.unwrap().revision, first.revision);
    let third = store.commit(Unit { effects: vec![remove("a")], ..Unit::default() }).await.unwrap();
    assert!(third.revision > first.revision);
    assert_eq!(third.indices, Vec::<u64>::new());
}

/// Also of units that were committed together: each was told its own revision, and so is whoever
/// listens, in order and before the commit returns.
pub async fn listeners_hear_of_each_unit_with_its_own_revision(back_end: &impl BackEnd) {
    let store = back_end.store();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = heard.clone();
    store.on_change(Arc::new(move |keys, revision| {
        hearing.lock().unwrap().push((keys.to_vec(), revision));
    }));
    let mut tasks = Vec::new();
    for number in 0..64 {
        let (store, heard) = (store.clone(), heard.clone());
        tasks.push(tokio::spawn(async move {
            let _on_its_way = store.announce();
            let name = format!("k/{number}");
            let committed = store.commit(unit(vec![put(&name, "1")])).await.unwrap();
            let told = (vec![key(&name)], committed.revision);
            assert!(heard.lock().unwrap().contains(&told), "{told:?}");
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 64);
    assert!(heard.is_sorted_by(|a, b| a.1 < b.1), "{heard:?}");
}

/// Facts, by key.
type Were<'a> = &'a [(&'a str, &'a str)];

/// What the facts of kept kinds were at each time, whatever the size of a page; of other kinds nothing is
/// kept, and of what was before the store began, nobody knows.
pub async fn what_facts_were_is_read_as_of_each_time(back_end: &impl BackEnd) {
    let store = back_end.store();
    let second = Duration::from_secs(1);
    let early = store.list_as_of(("agent/", Timestamp::from_millis(i64::MIN)), None, 10).await;
    let Err(NotKept::Since(begun)) = early.unwrap() else { panic!("nothing was before") };
    let steps: [(Vec<Effect>, Were<'_>); 6] = [
        (vec![put("agent/a", "1"), put("other/a", "1")], &[("agent/a", "1")]),
        (vec![put_new("agent/b")], &[("agent/a", "1"), ("agent/b", "new")]),
        (vec![put("agent/a", "2"), put("agent/a", "3")], &[("agent/a", "3"), ("agent/b", "new")]),
        (vec![remove("agent/a"), remove("agent/none")], &[("agent/b", "new")]),
        (vec![put("agent/a", "")], &[("agent/a", ""), ("agent/b", "new")]),
        (
            vec![put("agents", "1"), put("agent/", "1")],
            &[("agent/", "1"), ("agent/a", ""), ("agent/b", "new")],
        ),
    ];
    let mut times = vec![(begun, &[][..])];
    for (number, (effects, facts)) in (1..).zip(steps) {
        back_end.advance(second);
        store.commit(unit(effects)).await.unwrap();
        times.push((begun.plus(second * number), facts));
    }
    // What is refused was never there.
    back_end.advance(second);
    let refused = unit(vec![put("agent/c", "1"), put_new("agent/b")]);
    assert!(store.commit(refused).await.is_err());
    times.push((begun.plus(second * 7), times[6].1));
    for (at, expected) in times {
        let expected: Vec<_> =
            expected.iter().map(|(name, body)| (key(name), body.as_bytes().to_vec())).collect();
        for at in [at, at.plus(Duration::from_millis(999))] {
            for step in [1, 2, 10] {
                let (mut all, mut after) = (Vec::new(), None);
                loop {
                    let page = store.list_as_of(("agent/", at), after.as_ref(), step).await;
                    let page = page.unwrap().expect("it was kept");
                    all.extend(page.facts);
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!(all, expected, "at {at}, {step} at a time");
            }
        }
    }
    let others = store.list_as_of(("other/", begun.plus(second * 9)), None, 10).await;
    assert_eq!(others.unwrap().expect("it was kept").facts, []);
    let killed = back_end.killed().await;
    let page = killed.list_as_of(("agent/", begun.plus(second)), None, 10).await;
    assert_eq!(page.unwrap().expect("it was kept").facts, [(key("agent/a"), b"1".to_vec())]);
}

/// A clock that was ahead hides nothing: as long as changes are kept as of then, nothing is told of what
/// was, over a restart too; once it is then, all is.
pub async fn a_clock_that_was_ahead_hides_no_change(back_end: &impl BackEnd) {
    let (store, second) = (back_end.store(), Duration::from_secs(1));
    let early = store.list_as_of(("agent/", Timestamp::from_millis(i64::MIN)), None, 10).await;
    let Err(NotKept::Since(begun)) = early.unwrap() else { panic!("nothing was before") };
    back_end.advance(second);
    store.commit(unit(vec![put("agent/a", "1")])).await.unwrap();
    let (year, year_ms) = (Duration::from_hours(365 * 24), 365 * 24 * 3_600_000);
    back_end.step(year_ms);
    store.commit(unit(vec![put("agent/a", "2")])).await.unwrap();
    back_end.step(-year_ms);
    back_end.advance(second);
    store.commit(unit(vec![put("agent/a", "stopped")])).await.unwrap();
    back_end.advance(second);
    let ahead = begun.plus(second + year);
    let killed = back_end.killed().await;
    for store in [&store, &killed] {
        let told = store.list_as_of(("agent/", begun.plus(second * 2)), None, 10).await;
        assert_eq!(told.unwrap().err(), Some(NotKept::Ahead(ahead)));
    }
    back_end.advance(year);
    let page = store.list_as_of(("agent/", ahead), None, 10).await;
    let page = page.unwrap().expect("it was kept");
    assert_eq!(page.facts, [(key("agent/a"), b"stopped".to_vec())]);
}
