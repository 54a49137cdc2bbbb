//! Sealing and erasing: what is personal can go, and every proof stays.

use std::sync::Arc;

use journal::{Journal, LogDirectory, Sealer};
use keys::SealingKey;
use model::record::{Disclosure, Record as _};
use model::{FactKey, PersonId};
use store::{Effect, Unit};
use testkit::SeededEntropy;
use tlog::{Checkpoint, LeafIndex, inclusion_proof, leaf_hash, verify_inclusion};

use super::support::{Log, decision, facts, founding, verify_as_outsider};

fn sealer() -> Arc<Sealer> {
    Arc::new(Sealer::new(SealingKey::from_bytes([9; 32]), Arc::new(SeededEntropy::new(1))))
}

fn remove(key: &FactKey) -> Unit {
    Unit { effects: vec![Effect::Remove { key: key.clone() }], ..Unit::default() }
}

#[tokio::test]
async fn n_108_erasing_a_disclosure_keeps_every_proof_valid() {
    let log = Log::new();
    let journal = Journal::new(log.store(), sealer());
    let alice: PersonId = "alice".parse().unwrap();
    let data_key = journal.sealer().new_data_key(&alice);
    let (key, body) = (data_key.key, data_key.body);
    let mut disclosure = Disclosure::new([3; 32]);
    let mut record = decision(1);
    let arguments = serde_json::json!({ "customer": "Bob, born 1970" });
    record.commitments.insert("arguments", disclosure.commit("arguments", &arguments));
    let new_key = Effect::Put { key: key.clone(), body };
    let effects = vec![new_key];
    journal.store().commit(Unit { effects, ..Unit::default() }).await.unwrap();
    let sealed = journal.seal(&alice, &disclosure).await.unwrap();
    assert!(!sealed.sealed.windows(3).any(|bytes| bytes == b"Bob"));

    let mut entries = vec![
        journal::entry([1; 16], &founding(), None),
        journal::entry([2; 16], &facts(), None),
        journal::entry(*record.id.as_bytes(), &record, Some(sealed)),
    ];
    entries.push(journal::entry([4; 16], &super::support::outcome(1), None));
    journal.store().commit(Unit { entries, ..Unit::default() }).await.unwrap();
    let mut integrator = log.integrator(journal.store().clone()).await;
    let note = integrator.step().await.unwrap().unwrap();
    let disclosed = journal.disclosure(2).await.unwrap().unwrap();
    assert_eq!(disclosed, disclosure);
    assert_eq!(disclosed.mismatch(&record.commitments), None);

    let before = log.files().into_iter().map(|name| log.read(&name)).collect::<Vec<_>>();
    journal.store().commit(remove(&key)).await.unwrap();
    assert!(journal.disclosure(2).await.unwrap().is_none(), "who had the key in memory, too");
    let other = Journal::new(journal.store().clone(), sealer());
    assert!(other.disclosure(2).await.unwrap().is_none());
    journal.seal(&alice, &disclosure).await.unwrap_err();

    let after = log.files().into_iter().map(|name| log.read(&name)).collect::<Vec<_>>();
    assert_eq!(before, after);
    assert_eq!(verify_as_outsider(&log, Some(&note)), 4);
    let checkpoint = Checkpoint::open(&log.read("checkpoint"), &log.key.verifier).unwrap();
    let directory = LogDirectory::new(log.path());
    let (index, size) = (LeafIndex::new(2), checkpoint.size());
    let proof = inclusion_proof(&|tile| directory.tile(tile), index, size).unwrap();
    let leaf = leaf_hash(&record.to_canonical_bytes());
    verify_inclusion(leaf, index, size, &proof, checkpoint.root()).unwrap();
}

/// Two people, each with a data key of their own.
async fn two_people(journal: &Journal) -> [PersonId; 2] {
    let people: [PersonId; 2] = ["alice".parse().unwrap(), "bob".parse().unwrap()];
    for person in &people {
        let data_key = journal.sealer().new_data_key(person);
        let effects = vec![Effect::Put { key: data_key.key, body: data_key.body }];
        journal.store().commit(Unit { effects, ..Unit::default() }).await.unwrap();
    }
    people
}

#[tokio::test]
async fn what_was_sealed_for_one_person_does_not_open_for_another() {
    let log = Log::new();
    let journal = Journal::new(log.store(), sealer());
    let people = two_people(&journal).await;
    let mut disclosure = Disclosure::new([3; 32]);
    disclosure.commit("sponsor", "alice");
    let mut sealed = journal.seal(&people[0], &disclosure).await.unwrap();
    sealed.data_key = FactKey::data_key(&people[1]);
    let entry = journal::entry([1; 16], &founding(), Some(sealed));
    let unit = Unit { entries: vec![entry], ..Unit::default() };
    journal.store().commit(unit).await.unwrap();
    journal.disclosure(0).await.unwrap_err();
}

/// A page unwraps each key once: what follows is opened by its own key all the same, or not at all.
#[tokio::test]
async fn each_disclosure_of_a_page_is_opened_by_the_key_that_it_is_sealed_under() {
    let log = Log::new();
    let journal = Journal::new(log.store(), sealer());
    let people = two_people(&journal).await;
    let of = |at: u8| {
        let mut disclosure = Disclosure::new([at; 32]);
        disclosure.commit("sponsor", &at);
        disclosure
    };
    let mut entries = Vec::new();
    for at in 0..6 {
        let mut sealed = journal.seal(&people[usize::from(at % 2)], &of(at)).await.unwrap();
        match at {
            2 => *sealed.sealed.last_mut().unwrap() ^= 1,
            3 => sealed.data_key = FactKey::data_key(&people[0]),
            _ => {}
        }
        entries.push(journal::entry([at + 1; 16], &founding(), Some(sealed)));
    }
    journal.store().commit(Unit { entries, ..Unit::default() }).await.unwrap();
    let page = journal.disclosures(0, 6).await.unwrap();
    let opened = page.into_iter().map(|(at, opened)| (at, opened.ok()));
    let expected = [Some(of(0)), Some(of(1)), None, None, Some(of(4)), Some(of(5))];
    assert_eq!(opened.collect::<Vec<_>>(), (0_u64..).zip(expected).collect::<Vec<_>>());
}
