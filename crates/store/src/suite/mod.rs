//! The conformance suite: what every back end must do, so that nobody can tell two of them apart.
//!
//! A back end says how it is opened ([`BackEnd`]) and runs [`crate::conformance!`] in its tests,
//! which makes one test of each function here. Each begins with an empty store of its own.
//!
//! The functions panic where a back end is wrong: they are tests.
#![expect(clippy::disallowed_methods, reason = "tests race each other")]

pub mod facts;
pub mod limits;
pub mod log;
pub mod races;
pub mod units;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use model::{FactKey, RecordDigest, Timestamp};

use crate::{
    CounterKey, Effect, NewEntry, OnceScope, OpenPermit, SealedDisclosure, Store, StoreError, Unit,
};

/// A back end under test, with an empty store.
#[async_trait]
pub trait BackEnd: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// Lets so long pass on the store's clock.
    fn advance(&self, by: Duration);

    /// Steps the store's wall clock alone by so many milliseconds.
    fn step(&self, by_ms: i64);

    /// What the next start finds if the process is killed at this moment.
    async fn killed(&self) -> Arc<dyn Store>;

    /// Tries to change, remove, replace and insert entries and to put the checkpoint back, past the
    /// store's own code; gives the attempts that were not refused.
    async fn tampered(&self) -> Vec<String>;
}

/// Makes a test of each function of the suite. `$open` is an async function that gives a
/// [`suite::BackEnd`](BackEnd); the crate that uses it needs `tokio` with its macros.
#[macro_export]
macro_rules! conformance {
    ($open:path) => {
        $crate::conformance! { $open;
            facts: [
                what_was_written_is_read,
                keys_are_bytes_and_nothing_else,
                a_list_gives_each_fact_with_the_prefix_once,
                a_list_under_the_last_character_is_complete,
                what_facts_were_is_read_as_of_each_time,
                a_clock_that_was_ahead_hides_no_change,
                a_revision_counts_what_wrote_facts,
                listeners_hear_of_each_unit_with_its_own_revision,
            ],
            units: [
                a_refused_unit_leaves_nothing,
                i_11_a_unit_that_read_what_has_changed_is_refused,
                i_11_of_two_units_of_one_batch_the_second_is_refused,
                permits_open_and_close_once,
                i_11_two_units_as_one_are_there_together_or_not_at_all,
                a_counter_stays_within_its_limit,
                counters_are_listed_by_prefix,
                what_expired_is_forgotten_and_nothing_else,
                a_dropped_commit_is_made_whole_or_not_at_all,
            ],
            races: [
                promise_4_of_64_racers_exactly_one_uses_a_thing,
                of_64_racers_as_many_count_as_the_limit_lets,
                i_14_64_racers_leave_no_gap,
                n_104_of_two_writers_one_replaces_the_checkpoint,
                of_64_racers_one_closes_a_permit,
            ],
            log: [
                i_14_entries_are_never_changed,
                entries_are_found_by_index_and_by_id,
                disclosures_are_kept_apart,
                a_checkpoint_is_replaced_by_its_successor_only,
                promise_1_what_was_acknowledged_survives_a_kill,
            ],
            limits: [
                a_unit_at_its_limit_passes_and_one_over_does_not,
                a_record_at_its_limit_passes_and_one_over_does_not,
                a_key_at_its_limit_passes_and_one_over_does_not,
                a_load_at_its_limit_passes_and_one_over_does_not,
                a_page_has_a_limit,
                the_queue_has_a_limit,
            ],
        }
    };
    ($open:path; $($module:ident: [$($name:ident),* $(,)?],)*) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                $crate::suite::$module::$name(&$open().await).await;
            }
        )*)*
    };
}

static ENTRIES: AtomicU64 = AtomicU64::new(0);

/// An entry unlike any other.
pub(crate) fn entry() -> NewEntry {
    let number = ENTRIES.fetch_add(1, Ordering::Relaxed);
    sized_entry(number, format!("{{\"n\":{number}}}").into_bytes())
}

pub(crate) fn sized_entry(number: u64, bytes: Vec<u8>) -> NewEntry {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let leaf = RecordDigest::of(&bytes);
    NewEntry { id, bytes, leaf, disclosure: None }
}

pub(crate) fn key(text: &str) -> FactKey {
    FactKey::from_text(text)
}

pub(crate) fn put(text: &str, body: &str) -> Effect {
    Effect::Put { key: key(text), body: body.as_bytes().to_vec() }
}

pub(crate) fn put_new(text: &str) -> Effect {
    Effect::PutNew { key: key(text), body: b"new".to_vec() }
}

pub(crate) fn remove(text: &str) -> Effect {
    Effect::Remove { key: key(text) }
}

pub(crate) fn use_once(id: u8) -> Effect {
    use_until(id, i64::MAX)
}

pub(crate) fn use_until(id: u8, expires: i64) -> Effect {
    let expires = Timestamp::from_millis(expires);
    Effect::UseOnce { scope: OnceScope::Proof, id: [id; 32], expires }
}

pub(crate) fn count(name: &str, amount: i64, limit: Option<i64>) -> Effect {
    Effect::Count { counter: counter(name), amount, limit }
}

/// Opens a permit at the entry, of which something is to be known when it is closed.
pub(crate) fn open_permit(entry: usize) -> Effect {
    Effect::OpenPermit { entry, body: Some(b"{}".to_vec()) }
}

pub(crate) fn counter(name: &str) -> CounterKey {
    CounterKey(name.to_owned())
}

/// A unit with one record and `effects`.
pub(crate) fn unit(effects: Vec<Effect>) -> Unit {
    Unit { entries: vec![entry()], effects, ..Unit::default() }
}

/// Everything that a store shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) facts: Vec<(FactKey, Vec<u8>)>,
    pub(crate) revision: u64,
    pub(crate) size: u64,
    pub(crate) entries: Vec<([u8; 16], Vec<u8>)>,
    pub(crate) open: Vec<OpenPermit>,
    pub(crate) counters: Vec<i64>,
    pub(crate) disclosures: Vec<(u64, SealedDisclosure)>,
    pub(crate) checkpoint: Option<u64>,
}

/// Everything that `store` shows, with the counters of these names.
pub(crate) async fn shown(store: &dyn Store, counters: &[&str]) -> Result<Shown, StoreError> {
    let counters: Vec<_> = counters.iter().map(|name| counter(name)).collect();
    let entries = store.entries(0, crate::PAGE_MAX).await?;
    let mut disclosures = Vec::new();
    for entry in &entries {
        disclosures.extend(store.disclosures(entry.index, 1).await?);
    }
    Ok(Shown {
        facts: store.list("", None, crate::PAGE_MAX).await?.facts,
        revision: store.load(&[]).await?.revision.0,
        size: store.log_size().await?,
        entries: entries.into_iter().map(|entry| (entry.id, entry.bytes)).collect(),
        open: store.open_permits().await?,
        counters: store.counters(&counters).await?,
        disclosures,
        checkpoint: store.checkpoint().await?.map(|row| row.size),
    })
}

/// Polls once: what a commit does before it waits.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}
