//! `append-1`, `append-64`: a decision made durable, as the gateway's own decisions are.
//!
//! Each unit has a canonical decision record with its leaf hash, its sealed disclosure, a proof's
//! id that is used once, a call that is counted and a permit that is opened. Beside it, in the same
//! directory and the same run, a bare append of as many bytes with one `fdatasync`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use journal::{Journal, Sealer};
use keys::SealingKey;
use model::record::{Commitments, DecisionRecord, Disclosure, FactsRef, VERSION, Verdict};
use model::{
    Answer, Answers, Binding, Clock as _, DecisionId, Enforcement, Entropy as _, Harm,
    PolicyDigest, RecordDigest, RecordId, Revision, Sha256Digest, Standing,
};
use serde_json::json;
use store::{CounterKey, Effect, OnceScope, Unit, Urgency};
use store_sqlite::{Options, SqliteStore};
use tokio::runtime::Runtime;

use crate::machine::{self, BareSync, SERVER_CORE};
use crate::report::{Goal, Round, Row, short};
use crate::stats::median;
use crate::workload;
use crate::world::{Random, WallClock};

const ROUNDS: usize = 5;

/// How many commits a round of one caller makes.
const ALONE: usize = 400;

/// How many callers `append-64` has.
const CALLERS: usize = 64;

/// How long a round of many callers lasts.
const TOGETHER: Duration = Duration::from_secs(2);

/// How many bare syncs are made before and after a round.
const SYNCS: usize = 101;

/// How long a proof's id is remembered, as in the gateway.
const ONCE_FOR: Duration = Duration::from_mins(2);

/// A store on this disk, and one instance that acts.
struct Bench {
    journal: Journal,
    store: Arc<SqliteStore>,
    standing: Standing,
    clock: Arc<WallClock>,
}

impl Bench {
    async fn open(dir: &Path) -> anyhow::Result<Self> {
        let clock = Arc::new(WallClock::new());
        let abort = |_| std::process::abort();
        let options = Options { clock: clock.clone(), on_fatal: Arc::new(abort) };
        let store = Arc::new(SqliteStore::open(&dir.join("append.db"), options)?);
        let mut master = [0; 32];
        Random.fill(&mut master);
        let sealer = Sealer::new(SealingKey::from_bytes(master), Arc::new(Random));
        let journal = Journal::new(store.clone(), Arc::new(sealer));
        let standing = workload::standing("team-1", "support", 1);
        let key = journal.sealer().new_data_key(&standing.sponsor.id);
        let effects = vec![Effect::Put { key: key.key, body: key.body }];
        journal.store().commit(Unit { effects, ..Unit::default() }).await?;
        Ok(Self { journal, store, standing, clock })
    }

    /// One decision: recorded, sealed, committed.
    async fn decide(&self) -> anyhow::Result<()> {
        let _on_its_way = self.journal.store().announce();
        let unit = self.unit().await?;
        self.journal.store().commit(unit).await?;
        Ok(())
    }

    async fn unit(&self) -> anyhow::Result<Unit> {
        let mut seed = [0; 32];
        Random.fill(&mut seed);
        let mut disclosure = Disclosure::new(seed);
        let mut commitments = Commitments::new();
        let members = [
            ("sponsor", json!(self.standing.sponsor.id)),
            ("session", json!({ "counters": { "calls": 1 }, "labels": [] })),
            ("arguments", json!({ "account": "ACME-0042", "amount": 250, "reason": "late" })),
        ];
        for (member, value) in members {
            commitments.insert(member.to_owned(), disclosure.commit(member, &value));
        }
        let record = self.record(commitments);
        let id = *record.id.as_bytes();
        let sealed = self.journal.seal(&self.standing.sponsor.id, &disclosure).await?;
        let entries = vec![journal::entry(id, &record, Some(sealed))];
        let counter = CounterKey(format!("{}/calls", self.standing.task.id));
        let reserved = format!(r#"{{"{}":"1"}}"#, counter.0).into_bytes();
        let effects = vec![
            Effect::UseOnce {
                scope: OnceScope::Proof,
                id: seed,
                expires: record.time.plus(ONCE_FOR),
            },
            Effect::Count { counter, amount: 1, limit: None },
            Effect::OpenPermit { entry: 0, body: Some(reserved) },
        ];
        Ok(Unit { entries, effects, urgency: Urgency::Awaited, ..Unit::default() })
    }

    fn record(&self, commitments: Commitments) -> DecisionRecord {
        let standing = &self.standing;
        let now = self.clock.now();
        let yes = Some(Answer::Permit);
        let answers = Answers { kernel: yes, mandate: yes, instance: yes, ..Answers::default() };
        let answers = Answers { ceiling: yes, scope: yes, ..answers };
        DecisionRecord {
            action: "payments/refund".to_owned(),
            agent: standing.agent.name.clone(),
            answers,
            attestation: standing.attestation(),
            binding: Binding::Dpop,
            budget: None,
            commitments: commitments.try_into().expect("it names a sponsor"),
            decision: Verdict::Permit,
            delegators: Vec::new(),
            elevation: None,
            enforcement: Some(Enforcement::Bypassable),
            facts: FactsRef {
                id: RecordId::from_bytes([5; 16]),
                leaf: RecordDigest::from_bytes([5; 32]),
                revision: Revision(7),
            },
            harm: vec![Harm::MovesMoney],
            id: DecisionId::new(now, &Random),
            instance: standing.instance.id,
            kind: "decision".to_owned(),
            latency_us: 120,
            mandate: standing.task.mandate_digest,
            obligations: Vec::new(),
            observed: Vec::new(),
            observed_set: None,
            pin: Some(Sha256Digest::from_bytes([6; 32])),
            point: "gateway/mcp-http".to_owned(),
            policies: vec!["small-refunds".into()],
            policy: PolicyDigest::from_bytes([8; 32]),
            purpose: standing.purpose.id.clone(),
            reason: "granted".to_owned(),
            remedies: Vec::new(),
            resource: "Tool::payments/refund".to_owned(),
            task: standing.task.id,
            time: now,
            trace: None,
            v: VERSION,
        }
    }

    /// How many bytes one unit makes durable.
    async fn size(&self) -> anyhow::Result<usize> {
        let unit = self.unit().await?;
        let sealed = |entry: &store::NewEntry| {
            entry.disclosure.as_ref().map_or(0, |disclosure| disclosure.sealed.len())
        };
        Ok(unit.entries.iter().map(|entry| entry.bytes.len() + sealed(entry)).sum())
    }
}

/// One core and one worker thread, as the server has.
fn runtime() -> anyhow::Result<Runtime> {
    machine::pin(SERVER_CORE)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(1).enable_all().build()?)
}

/// One caller: what a commit takes beyond one sync, commit and sync taking turns.
pub(crate) fn alone(dir: &Path) -> anyhow::Result<Row> {
    let runtime = runtime()?;
    let bench = runtime.block_on(Bench::open(dir))?;
    let mut bare = BareSync::new(dir, runtime.block_on(bench.size())?)?;
    let (mut rounds, mut syncs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (mut commits, mut bares) = (Vec::new(), Vec::new());
        for _ in 0..ALONE {
            let started = Instant::now();
            runtime.block_on(bench.decide())?;
            commits.push(started.elapsed().as_secs_f64() * 1e3);
            bares.push(bare.once()?);
        }
        let (commit, sync) = (median(&commits), median(&bares));
        syncs.push(sync);
        rounds.push(Round { value: commit - sync, ratio: commit / sync });
    }
    let against = format!("one `fdatasync`: {:.3} ms", median(&syncs));
    let goal = Goal { value_at_most: Some(0.25), ..Goal::default() };
    Ok(Row::new("append-1", "ms beyond it", rounds).against(against).wants(goal))
}

/// What a round of many callers came to.
struct Together {
    per_second: f64,
    per_sync: f64,
    cpu_us: f64,
    sync_ms: f64,
}

/// Many callers: the rate, against what sync and processor allow.
pub(crate) fn together(dir: &Path) -> anyhow::Result<Row> {
    let runtime = runtime()?;
    let bench = Arc::new(runtime.block_on(Bench::open(dir))?);
    let mut bare = BareSync::new(dir, CALLERS * runtime.block_on(bench.size())?)?;
    runtime.block_on(callers(&bench, TOGETHER / 4))?;
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        all.push(round(&runtime, &bench, &mut bare)?);
    }
    let of = |get: fn(&Together) -> f64| median(&all.iter().map(get).collect::<Vec<_>>());
    let rounds = all.iter().map(|it| {
        let by_sync = CALLERS_F * 1e3 / it.sync_ms;
        let by_processor = 1e6 / it.cpu_us;
        Round { value: it.per_second, ratio: it.per_second / by_sync.min(by_processor) }
    });
    let (per_sync, cpu_us) = (of(|it| it.per_sync), of(|it| it.cpu_us));
    let sync = of(|it| it.sync_ms);
    let (per_sync_text, cpu_text) = (short(per_sync), short(cpu_us));
    let against = format!(
        "the lesser of 64 in each sync of {sync:.3} ms and the processor's {cpu_text} µs a record; \
         {per_sync_text} records a commit"
    );
    let goal = Goal { ratio_at_least: Some(0.5), ..Goal::default() };
    Ok(Row::new("append-64", "records/s", rounds.collect())
        .against(against)
        .wants(goal)
        .and_wants(per_sync >= 20.0, format!("{per_sync_text} records a sync, not 20"))
        .and_wants(cpu_us <= 12.0, format!("{cpu_text} µs a record, not 12")))
}

/// [`CALLERS`] as a number of the other kind.
const CALLERS_F: f64 = 64.0;

fn round(runtime: &Runtime, bench: &Arc<Bench>, bare: &mut BareSync) -> anyhow::Result<Together> {
    let before = bare.median(SYNCS)?;
    let (cpu, batches) = (machine::cpu_time(std::process::id())?, bench.store.syncs());
    let started = Instant::now();
    let records = runtime.block_on(callers(bench, TOGETHER))?;
    let seconds = started.elapsed().as_secs_f64();
    let batches = bench.store.syncs() - batches;
    let cpu = machine::cpu_time(std::process::id())?.saturating_sub(cpu);
    let after = bare.median(SYNCS)?;
    ensure!(records > 0 && batches > 0, "nothing was committed");
    let count = |number: u64| u32::try_from(number).map(f64::from).context("too many");
    let (records, batches) = (count(records)?, count(batches)?);
    Ok(Together {
        per_second: records / seconds,
        per_sync: records / batches,
        cpu_us: cpu.as_secs_f64() * 1e6 / records,
        sync_ms: median(&[before, after]),
    })
}

/// Commits by many callers at once for as long as `lasting`; how many records that made.
async fn callers(bench: &Arc<Bench>, lasting: Duration) -> anyhow::Result<u64> {
    let over = Arc::new(AtomicBool::new(false));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let (bench, over) = (bench.clone(), over.clone());
        callers.spawn(async move {
            let mut records = 0;
            while !over.load(Ordering::Relaxed) {
                bench.decide().await?;
                records += 1;
            }
            anyhow::Ok(records)
        });
    }
    tokio::time::sleep(lasting).await;
    over.store(true, Ordering::Relaxed);
    let mut records = 0;
    while let Some(done) = callers.join_next().await {
        records += done??;
    }
    Ok(records)
}
