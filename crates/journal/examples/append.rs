//! What a durable decision costs: `cargo run --release -p chancery-journal --example append [DIR]`.
//!
//! Measures, in one run on one disk: a bare `fdatasync` of 4 KiB, one caller, and 64 callers. A
//! caller makes a decision record, its canonical bytes, leaf hash and sealed disclosure, and commits
//! them with what a decision changes: a proof used, a call counted, a permit opened, seven facts
//! read. CPU is that of the whole process, user and system.
#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use journal::{Journal, Sealer};
use keys::SealingKey;
use model::record::{Commitments, DecisionRecord, Disclosure, FactsRef, VERSION, Verdict};
use model::{
    Answers, Attestation, Binding, Clock, DecisionId, FactKey, Harm, InstanceId, MandateDigest,
    PersonId, PolicyDigest, RecordDigest, RecordId, Revision, TaskId, Timestamp,
};
use nix::sys::resource::{UsageWho, getrusage};
use store::{CounterKey, Effect, OnceScope, Store as _, Unit};
use store_sqlite::{Options, SqliteStore};
use testkit::SeededEntropy;

/// How long each part is measured.
const FOR: Duration = Duration::from_secs(4);

/// How many callers there are in the second part.
const CALLERS: u64 = 64;

struct Machine(Instant);

impl Clock for Machine {
    fn now(&self) -> Timestamp {
        let since = i64::try_from(self.0.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(1_764_000_000_000 + since)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A caller's decisions.
struct Caller {
    journal: Journal,
    person: PersonId,
    next: Arc<AtomicU64>,
}

impl Caller {
    async fn decide(&self) {
        let store = self.journal.store();
        let _on_its_way = store.announce();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (record, disclosure) = decision(number);
        let sealed = self.journal.seal(&self.person, &disclosure).await.expect("it seals");
        let entry = journal::entry(*record.id.as_bytes(), &record, Some(sealed));
        let mut once = [0; 32];
        once[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let expires = Timestamp::from_millis(i64::MAX);
        let counter = CounterKey(format!("{}/calls", number % CALLERS));
        let effects = vec![
            Effect::UseOnce { scope: OnceScope::Proof, id: once, expires },
            Effect::Count { counter, amount: 1, limit: None },
            Effect::OpenPermit,
        ];
        let reads =
            (0..7).map(|n| FactKey::from_text(&format!("fact/{n}/0193-4bf92f35"))).collect();
        let unit =
            Unit { entries: vec![entry], reads, effects, revision: Revision(1), ..Unit::default() };
        store.commit(unit).await.expect("it commits");
    }
}

fn decision(number: u64) -> (DecisionRecord, Disclosure) {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let mut seed = [3; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    let mut disclosure = Disclosure::new(seed);
    let arguments = serde_json::json!({ "customer": "c-10042", "amount": 125, "note": "refund" });
    let commitments = Commitments::from([
        ("arguments".to_owned(), disclosure.commit("arguments", arguments)),
        ("session".to_owned(), disclosure.commit("session", serde_json::json!({ "calls": 3 }))),
        ("sponsor".to_owned(), disclosure.commit("sponsor", "alice".into())),
    ]);
    let record = DecisionRecord {
        action: "payments/refund".to_owned(),
        agent: "support-bot".parse().expect("a name"),
        answers: Answers::default(),
        attestation: Attestation::User,
        binding: Binding::Dpop,
        commitments: commitments.try_into().expect("it names a sponsor"),
        decision: Verdict::Permit,
        enforcement: None,
        facts: FactsRef {
            id: RecordId::from_bytes([1; 16]),
            leaf: RecordDigest::from_bytes([1; 32]),
            revision: Revision(9),
        },
        harm: vec![Harm::MovesMoney],
        id: DecisionId::from_bytes(id),
        instance: InstanceId::from_bytes([2; 16]),
        kind: "decision".to_owned(),
        latency_us: 321,
        mandate: MandateDigest::from_bytes([4; 32]),
        obligations: Vec::new(),
        observed: Vec::new(),
        pin: None,
        point: "gateway/mcp-http".to_owned(),
        policies: vec!["refunds".into()],
        policy: PolicyDigest::from_bytes([5; 32]),
        purpose: "refunds".parse().expect("a purpose"),
        reason: "granted".to_owned(),
        remedies: Vec::new(),
        resource: "Tool::payments/refund".to_owned(),
        task: TaskId::from_bytes([6; 16]),
        time: Timestamp::from_millis(1_764_000_000_000),
        trace: None,
        v: VERSION,
    };
    (record, disclosure)
}

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the kernel counts");
    let of = |time: nix::sys::time::TimeVal| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(micros.unsigned_abs())
    };
    of(usage.user_time()) + of(usage.system_time())
}

/// The median time of a bare sync of 4 KiB.
fn bare_sync(directory: &Path) -> Duration {
    let file = File::create(directory.join("bare")).expect("a file");
    let (mut times, began, mut at) = (Vec::new(), Instant::now(), 0);
    while began.elapsed() < FOR / 2 {
        file.write_all_at(&[7; 4_096], at).expect("it writes");
        at += 4_096;
        let before = Instant::now();
        file.sync_data().expect("it syncs");
        times.push(before.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

async fn measure(caller: &Caller, store: &SqliteStore, callers: u64, bare: Duration) {
    let (cpu_before, syncs, began) = (cpu(), store.syncs(), Instant::now());
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let Caller { journal, person, next } = caller;
            let own =
                Caller { journal: journal.clone(), person: person.clone(), next: next.clone() };
            tokio::spawn(async move {
                let mut times = Vec::new();
                while began.elapsed() < FOR {
                    let before = Instant::now();
                    own.decide().await;
                    times.push(before.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("no caller panics"));
    }
    let (elapsed, cpu) = (began.elapsed(), cpu().saturating_sub(cpu_before));
    let syncs = store.syncs() - syncs;
    times.sort_unstable();
    let count = u32::try_from(times.len()).unwrap_or(u32::MAX);
    let (median, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    let per_sync = f64::from(count) / f64::from(u32::try_from(syncs).unwrap_or(u32::MAX));
    println!(
        "{callers:>3} callers: {:>7.0} records/s, {per_sync:>5.1} a sync, p50 {median:?} \
         ({:+.3} ms to a bare sync), p99 {p99:?}, CPU {:.2} µs a record",
        f64::from(count) / elapsed.as_secs_f64(),
        (median.as_secs_f64() - bare.as_secs_f64()) * 1e3,
        cpu.as_secs_f64() * 1e6 / f64::from(count),
    );
}

#[tokio::main]
async fn main() {
    let directory = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let directory = tempfile::tempdir_in(directory).expect("a directory");
    let on_fatal = Arc::new(|error| panic!("{error}"));
    let clock = Arc::new(Machine(Instant::now()));
    let store = SqliteStore::open(&directory.path().join("db"), Options { clock, on_fatal });
    let store = Arc::new(store.expect("it opens"));
    let sealer = Sealer::new(SealingKey::from_bytes([9; 32]), Arc::new(SeededEntropy::new(1)));
    let journal = Journal::new(store.clone(), Arc::new(sealer));
    let person: PersonId = "alice".parse().expect("a person");
    let data_key = journal.sealer().new_data_key(&person);
    let effects = vec![Effect::Put { key: data_key.key, body: data_key.body }];
    store.commit(Unit { effects, ..Unit::default() }).await.expect("it commits");
    let caller = Caller { journal, person, next: Arc::default() };
    for _ in 0..2 {
        let bare = bare_sync(directory.path());
        println!("bare fdatasync of 4 KiB: p50 {bare:?}");
        measure(&caller, &store, 1, bare).await;
        measure(&caller, &store, CALLERS, bare).await;
    }
}
