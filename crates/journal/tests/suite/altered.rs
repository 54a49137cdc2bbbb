//! A published log altered in every way: the verifier says so, and names the record.

use journal::anchor_entry;
use proptest::prelude::*;
use tlog::{Entry, EntryBundle};

use super::support::{Log, append, records, verify_as_outsider};
use super::support::{decision, problems};
use model::record::Record as _;

/// How many records these logs have: a full bundle and a partial one, so that there are two levels.
const SIZE: u64 = 300;

/// The bundle at the edge of such a log.
const EDGE: &str = "tile/entries/001.p/44";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
}

/// A log that grew in three steps, so that partial files of older sizes lie beside the newest.
async fn grown() -> (Log, Vec<Vec<u8>>) {
    let log = Log::new();
    let store = log.store();
    let mut integrator = log.integrator(store.clone()).await;
    let (all, mut notes) = (records(SIZE), Vec::new());
    for (from, to) in [(0, 270), (270, 285), (285, 300)] {
        append(store.as_ref(), &all[from..to]).await;
        notes.push(integrator.step().await.unwrap().unwrap());
    }
    assert_eq!(verify_as_outsider(&log, Some(&notes[0])), SIZE);
    (log, notes)
}

fn entries(log: &Log) -> Vec<Vec<u8>> {
    let bundle = EntryBundle::from_path(EDGE).unwrap();
    let entries = bundle.decode(&log.read(EDGE)).unwrap();
    entries.into_iter().map(Entry::into_bytes).collect()
}

fn put_entries(log: &Log, entries: &[Vec<u8>]) {
    let entries: Vec<_> = entries.iter().cloned().map(|e| Entry::new(e).unwrap()).collect();
    log.write(EDGE, &EntryBundle::encode(&entries));
}

/// Any one bit of any file: partial files of older sizes are files too.
#[test]
fn n_100_a_flipped_bit_of_any_file_is_found() {
    let (log, notes) = runtime().block_on(grown());
    let files = log.files();
    assert!(files.iter().any(|name| name.ends_with("001.p/14")), "{files:?}");
    let config = ProptestConfig { cases: 150, failure_persistence: None, ..Default::default() };
    proptest!(config, |(file in 0..files.len(), at in any::<prop::sample::Index>(), bit in 0..8_u32)| {
        let name = &files[file];
        let good = log.read(name);
        let mut bad = good.clone();
        let at = at.index(bad.len());
        bad[at] ^= 1_u8 << bit;
        log.write(name, &bad);
        let found = problems(&log, Some(&notes[0]));
        log.write(name, &good);
        prop_assert!(!found.is_empty(), "{name}: bit {bit} of byte {at}");
        if name != "checkpoint" {
            let named = found.iter().any(|problem| problem.starts_with("record "));
            prop_assert!(named, "{name}: bit {bit} of byte {at}: {found:?}");
        }
    });
    assert_eq!(verify_as_outsider(&log, Some(&notes[1])), SIZE);
}

/// Each bit of one record, its length included, names that record.
#[test]
fn n_100_a_flipped_bit_of_a_record_names_it() {
    let (log, _) = runtime().block_on(grown());
    let (good, all) = (log.read(EDGE), entries(&log));
    let victim = 7;
    let start: usize = all[..victim].iter().map(|entry| entry.len() + 2).sum();
    let length = all[victim].len() + 2;
    for at in (start..start + length).step_by(5).chain([start, start + 1]) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        log.write(EDGE, &bad);
        let found = problems(&log, None);
        assert!(found[0].starts_with("record 263"), "byte {at}: {found:?}");
    }
}

#[test]
fn n_100_an_edited_record_is_named_with_its_id() {
    let (log, _) = runtime().block_on(grown());
    let mut all = entries(&log);
    let edited = String::from_utf8(all[6].clone()).unwrap().replace("crm/lookup", "crm/delete");
    all[6] = edited.into_bytes();
    put_entries(&log, &all);
    let id = decision(130).id;
    let expected = format!("record 262 ({id}): is not what its leaf committed to");
    assert_eq!(problems(&log, None), [expected]);
}

#[test]
fn n_100_a_deleted_record_is_named() {
    let (log, _) = runtime().block_on(grown());
    let mut all = entries(&log);
    all.remove(5);
    put_entries(&log, &all);
    let found = problems(&log, None);
    assert!(found.contains(&"record 261: is gone".to_owned()), "{found:?}");
}

#[test]
fn n_101_a_log_that_lost_its_tail_is_found() {
    let (log, notes) = runtime().block_on(grown());
    // The older checkpoint put back: what somebody holds says that there was more.
    log.write("checkpoint", &notes[0]);
    let found = problems(&log, Some(&notes[2]));
    assert!(found[0].starts_with("record 270: truncated"), "{found:?}");
    assert_eq!(verify_as_outsider(&log, None), 270, "nothing else can tell");
    let report = log.verify(None).unwrap();
    assert!(report.remarks[0].contains("larger log"), "{:?}", report.remarks);
    log.write("checkpoint", &notes[2]);
    // The last records gone from the bundle, or the bundle gone.
    let all = entries(&log);
    put_entries(&log, &all[..40]);
    let found = problems(&log, None);
    for index in 296..300 {
        assert!(found.contains(&format!("record {index}: is gone")), "{found:?}");
    }
    std::fs::remove_dir_all(log.file("tile/entries/001.p")).unwrap();
    let found = problems(&log, None);
    assert!(found.contains(&"record 256: is gone".to_owned()), "{found:?}");
}

#[test]
fn n_101_tiles_that_are_gone_are_found() {
    let (log, _) = runtime().block_on(grown());
    for name in ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"] {
        let good = log.read(name);
        std::fs::remove_file(log.file(name)).unwrap();
        let found = problems(&log, None);
        // Where a partial one is gone, the full one is looked for too.
        let name_of_it = name.split(".p/").next().unwrap();
        assert!(found.iter().any(|problem| problem.contains(name_of_it)), "{name}: {found:?}");
        log.write(name, &good);
    }
    log.write("tile/0/strange", b"x");
    assert_eq!(problems(&log, None), ["`tile/0/strange` is no file of a log"]);
}

#[test]
fn n_105_records_of_one_instant_in_another_order_are_named() {
    let (log, _) = runtime().block_on(grown());
    let mut all = entries(&log);
    all.swap(10, 12);
    put_entries(&log, &all);
    let found = problems(&log, None);
    let named = |index: u64, from: u64| {
        let says = format!("record {from} stands here");
        found.iter().any(|p| p.starts_with(&format!("record {index} ")) && p.ends_with(&says))
    };
    assert!(named(266, 268) && named(268, 266), "{found:?}");
}

#[test]
fn n_106_an_inserted_record_that_nobody_signed_is_named() {
    let (log, _) = runtime().block_on(grown());
    let mut all = entries(&log);
    // Well formed, and true to everything before it.
    let forged = decision(9_999);
    all.insert(20, forged.to_canonical_bytes());
    all.truncate(44);
    put_entries(&log, &all);
    let found = problems(&log, None);
    let expected = format!("record 276 ({}): is not what its leaf committed to", forged.id);
    assert!(found.contains(&expected), "{found:?}");
}

/// The log's owner has the key, and can sign anything: only what somebody kept tells.
#[test]
fn n_103_a_history_written_anew_is_found_by_who_kept_a_checkpoint() {
    let runtime = runtime();
    let (log, notes) = runtime.block_on(grown());
    let mut other = records(SIZE);
    other[280] = other[280].iter().map(|byte| if *byte == b'2' { b'3' } else { *byte }).collect();
    let rewritten = runtime.block_on(Log::of(&other));
    let whole = rewritten.verify(None).unwrap();
    let by_root = |problem: &&journal::verify::Problem| problem.what.contains("signed");
    assert!(!whole.problems.iter().any(|p| by_root(&p)), "alone, it is a log like any other");
    for (note, is_fork) in notes.iter().zip([false, true, true]) {
        let found = problems(&rewritten, Some(note));
        let forked = found.iter().find(|problem| problem.contains("forked"));
        assert_eq!(forked.is_some(), is_fork, "{found:?}");
    }
    // With all of them, it shows between which two.
    let anchors: Vec<u8> = notes.iter().flat_map(|note| anchor_entry(note)).collect();
    let found = problems(&rewritten, Some(&anchors));
    let forked = found.iter().find(|problem| problem.contains("forked")).unwrap();
    assert!(forked.starts_with("record 284: forked"), "{forked}");
    assert!(forked.ends_with("the first 270 are as they were"), "{forked}");
    let report = log.verify(Some(&anchors)).unwrap();
    assert_eq!((report.problems.len(), report.compared), (0, 3));
}

/// Two checkpoints of one size, shown to two auditors who compare notes.
#[test]
fn n_103_two_checkpoints_of_one_size_are_a_split_view() {
    let runtime = runtime();
    let (log, notes) = runtime.block_on(grown());
    let mut other = records(SIZE);
    other.swap(290, 292);
    let shown_to_another = runtime.block_on(Log::of(&other)).read("checkpoint");
    let anchors = [anchor_entry(&notes[2]), anchor_entry(&shown_to_another)].concat();
    let found = problems(&log, Some(&anchors));
    assert!(found[0].starts_with("record 299: split view"), "{found:?}");
    let found = problems(&log, Some(&shown_to_another));
    assert!(found[0].starts_with("record 299: forked"), "{found:?}");
}

#[test]
fn a_checkpoint_that_the_key_did_not_sign_is_no_checkpoint() {
    let (log, notes) = runtime().block_on(grown());
    let mut forged = notes[1].clone();
    let at = forged.len() - 20;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    assert!(problems(&log, Some(&forged))[0].contains("earlier checkpoint is not signed"));
    // In a file of anchors it is passed over, and said so; alone, it is no evidence at all.
    let anchors = [anchor_entry(&forged), anchor_entry(&notes[1])].concat();
    let report = log.verify(Some(&anchors)).unwrap();
    assert_eq!((report.problems.len(), report.compared, report.remarks.len()), (0, 1, 1));
    assert!(problems(&log, Some(&anchor_entry(&forged)))[0].contains("not signed"));
    log.write("checkpoint", &forged);
    assert!(problems(&log, None)[0].contains("checkpoint is not signed"));
}
