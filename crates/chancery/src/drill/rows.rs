//! The rows of an outage drill: each breaks one part of the scratch copy, counts, and mends it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use model::record::{SystemRecord, VERSION};
use model::{Clock as _, RecordId};
use pap::DrillRow;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use store::{Store as _, Unit, Urgency};
use store_sqlite::SqliteStore;

use super::scratch::{FORBIDDEN, POLICY, Scratch, Tried};
use crate::system::{SystemClock, SystemEntropy};

/// How often a call is tried while a part is away.
const ATTEMPTS: u64 = 5;

/// How far ahead the last record is made to lie.
const AHEAD: Duration = Duration::from_mins(10);

/// How long another process may take to let go of the database.
const RETRIES: u32 = 20;

/// Counts what is tried while one part is away.
struct Count {
    row: DrillRow,
    before: u64,
}

impl Count {
    fn begin(part: &str, scratch: &Scratch) -> Self {
        let row = DrillRow {
            part: part.to_owned(),
            attempts: 0,
            blocked: 0,
            leaked: 0,
            slowest_ms: 0,
            recovered: None,
        };
        Self { row, before: scratch.canary.calls() }
    }

    /// Attempts of an agent that is known and of new ones, in turn.
    async fn known_and_strangers(&mut self, scratch: &mut Scratch) -> anyhow::Result<()> {
        for _ in 0..ATTEMPTS {
            let tried = scratch.touch("").await;
            self.add(&tried, scratch);
            let tried = scratch.touch_as_stranger().await?;
            self.add(&tried, scratch);
        }
        Ok(())
    }

    /// One try: blocked if the agent was refused and the canary saw nothing.
    fn add(&mut self, tried: &Tried, scratch: &Scratch) {
        let now = scratch.canary.calls();
        let reached = now - self.before;
        self.before = now;
        self.row.attempts += 1;
        self.row.leaked += reached;
        self.row.blocked += u64::from(!tried.done && reached == 0);
        let took = u64::try_from(tried.took.as_millis()).unwrap_or(u64::MAX);
        self.row.slowest_ms = self.row.slowest_ms.max(took);
    }

    fn end(mut self, recovered: Option<bool>) -> DrillRow {
        self.row.recovered = recovered;
        self.row
    }
}

/// All rows, in an order in which each begins with a copy that works; the clock is last, because
/// nobody waits until it is right again.
pub(super) async fn all(scratch: &mut Scratch) -> anyhow::Result<Vec<DrillRow>> {
    Ok(vec![
        store(scratch).await.context("the drill of the store broke off")?,
        log(scratch).await.context("the drill of the log broke off")?,
        policy(scratch).await.context("the drill of policy broke off")?,
        clock(scratch).await.context("the drill of the clock broke off")?,
    ])
}

/// The database is not where it was, for an agent that is known and for new ones.
async fn store(scratch: &mut Scratch) -> anyhow::Result<DrillRow> {
    let (database, aside) = (scratch.config.database(), scratch.config.state_dir.join("aside"));
    std::fs::rename(&database, &aside)?;
    let mut count = Count::begin("store", scratch);
    count.known_and_strangers(scratch).await?;
    std::fs::rename(&aside, &database)?;
    Ok(count.end(Some(scratch.recovers().await)))
}

/// The log cannot grow: the process may not write beyond the first byte of any file.
async fn log(scratch: &mut Scratch) -> anyhow::Result<DrillRow> {
    let pid = scratch.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let pid = pid.context("the scratch copy has ended")?;
    let old = rustix::process::getrlimit(Resource::Fsize);
    let none = Rlimit { current: Some(1), maximum: old.maximum };
    let old = prlimit(Some(pid), Resource::Fsize, none).context("could not set a limit")?;
    let mut count = Count::begin("log", scratch);
    for _ in 0..ATTEMPTS {
        let tried = scratch.touch("").await;
        count.add(&tried, scratch);
    }
    prlimit(Some(pid), Resource::Fsize, old).context("could not lift a limit")?;
    Ok(count.end(Some(scratch.recovers().await)))
}

/// The file with a forbid is cut in half, empty, or gone: what it forbids stays forbidden.
async fn policy(scratch: &mut Scratch) -> anyhow::Result<DrillRow> {
    let path = scratch.policy();
    let mut count = Count::begin("policy", scratch);
    for left in [Some(&POLICY[..POLICY.len() / 2]), Some(""), None] {
        match left {
            Some(text) => std::fs::write(&path, text)?,
            None => std::fs::remove_file(&path)?,
        }
        scratch.tells("chancery_policy_stale 1").await?;
        for _ in 0..ATTEMPTS {
            let tried = scratch.touch(FORBIDDEN).await;
            count.add(&tried, scratch);
        }
        std::fs::write(&path, POLICY)?;
        scratch.tells("chancery_policy_stale 0").await?;
    }
    Ok(count.end(Some(scratch.recovers().await)))
}

/// The clock runs before the last record: the copy starts on a log that ends in the future.
async fn clock(scratch: &mut Scratch) -> anyhow::Result<DrillRow> {
    scratch.stop().await?;
    record_ahead(scratch).await?;
    let mut tries = 0;
    while let Err(error) = scratch.serve_again().await {
        tries += 1;
        anyhow::ensure!(tries < RETRIES, "the copy does not start again: {error:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut count = Count::begin("clock", scratch);
    count.known_and_strangers(scratch).await?;
    Ok(count.end(None))
}

/// Appends a record of the future to the copy's log.
async fn record_ahead(scratch: &Scratch) -> anyhow::Result<()> {
    let clock = Arc::new(SystemClock::new());
    let ahead = clock.now().plus(AHEAD);
    let options = store_sqlite::Options { clock, on_fatal: crate::own_process::end_process() };
    let store = SqliteStore::open(&scratch.config.database(), options)?;
    let record = SystemRecord {
        details: BTreeMap::new(),
        event: "drill_clock".to_owned(),
        id: RecordId::new(ahead, &SystemEntropy::new()),
        kind: "system".to_owned(),
        time: ahead,
        v: VERSION,
    };
    let entries = vec![journal::entry(*record.id.as_bytes(), &record, None)];
    let unit = Unit { entries, urgency: Urgency::Awaited, ..Unit::default() };
    store.commit(unit).await?;
    Ok(())
}
