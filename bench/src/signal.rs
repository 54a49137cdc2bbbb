//! `signal`: the directory says that a sponsor is gone; how long after that the last effect at the tool.
//!
//! A thousand instances make 200 calls a second, each answered by a stream whose every event is an
//! effect. Sponsors leave one after the other. Whoever has a sponsor who stays is answered whole.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::task::JoinHandle;

use crate::client::Callers;
use crate::deployment::Deployment;
use crate::directory::{Directory, say};
use crate::governed::{Programs, progress};
use crate::http::Connection;
use crate::load;
use crate::open_loop::percentile;
use crate::report::{Goal, Round, Row};
use crate::upstream::{RESULT, Upstream};

const ROUNDS: usize = 3;

/// How many sponsors leave, each with one agent.
const SPONSORS: usize = 50;

/// How many instances each agent has.
const INSTANCES: usize = 20;

const PER_SECOND: u32 = 200;

/// How long nobody leaves, at first.
const CALM: Duration = Duration::from_secs(2);

/// How long between one who leaves and the next.
const BETWEEN: Duration = Duration::from_millis(200);

/// How many calls are made: until two seconds after the last has left.
const CALLS: usize = 2_800;

/// How late the last effect may be, in milliseconds.
const LIMIT_MS: f64 = 1_000.0;

/// What an agent whose sponsor is here may do.
const POLICY: &str = r#"
@id("by-part")
permit (principal, action == Action::"payments/refund", resource)
when { context.purpose == "care" && context.input.account like "PART-*" };
"#;

/// When a sponsor left: when it was said, and when that was acknowledged.
#[derive(Clone, Copy)]
struct Left {
    said: Instant,
    acknowledged: Instant,
}

/// A call as it went.
struct Called {
    sponsor: usize,
    begun: Instant,
    ended: Instant,
    whole: bool,
}

/// Measures the row.
pub(crate) fn measure(dir: &Path, programs: &Programs) -> anyhow::Result<Row> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let dir = dir.join(format!("round-{round}"));
        std::fs::create_dir(&dir)?;
        let mut late = once(&dir, programs)?;
        late.sort_unstable_by(f64::total_cmp);
        let value = percentile(&late, 99);
        progress(&format!("p50 {:.1} ms, p99 {value:.1} ms", percentile(&late, 50)));
        rounds.push(Round { value, ratio: value / LIMIT_MS });
    }
    let against = format!("{LIMIT_MS:.0} ms, from when the signal was sent");
    let goal = Goal { value_at_most: Some(LIMIT_MS), ..Goal::default() };
    Ok(Row::new("signal", "ms at p99", rounds).against(against).wants(goal))
}

/// How long after each signal the last effect was, in milliseconds.
fn once(dir: &Path, programs: &Programs) -> anyhow::Result<Vec<f64>> {
    let upstream = Upstream::start()?;
    let deployment = Deployment::start(dir, &programs.chancery, upstream.port, POLICY)?;
    let directory = Directory::register(&deployment)?;
    let mut callers = Vec::with_capacity(SPONSORS);
    for sponsor in 0..SPONSORS {
        let name = name_of(sponsor);
        load::on_load_core(async {
            let mut connection = Connection::open(directory.port).await?;
            say(&mut connection, &directory.new_user(&name), 201).await
        })?;
        deployment.register(&name, &name)?;
        callers.push(Callers::open(&deployment, &name, INSTANCES)?);
    }
    let requests = (0..CALLS).map(|id| {
        let sponsor = id % SPONSORS;
        callers[sponsor].signed_for(id / SPONSORS, &part_of(sponsor))
    });
    let requests: Vec<Vec<u8>> = requests.collect::<anyhow::Result<_>>()?;
    let port = deployment.port;
    let (called, left) = load::on_load_core(async move {
        let leaving = tokio::task::spawn_local(leave(directory));
        let called = call(port, Rc::new(requests)).await?;
        Ok((called, leaving.await??))
    })?;
    check(&called, &left)?;
    let mut late = Vec::with_capacity(SPONSORS);
    for (sponsor, left) in left.iter().enumerate() {
        let last = upstream.last_effect(&part_of(sponsor)).context("it never had an effect")?;
        late.push(last.saturating_duration_since(left.said).as_secs_f64() * 1e3);
    }
    Ok(late)
}

fn name_of(sponsor: usize) -> String {
    format!("s{sponsor}")
}

fn part_of(sponsor: usize) -> String {
    format!("PART-{sponsor}")
}

/// One sponsor after the other leaves.
async fn leave(directory: Directory) -> anyhow::Result<Vec<Left>> {
    let mut connection = Connection::open(directory.port).await?;
    let (began, mut left) = (tokio::time::Instant::now(), Vec::with_capacity(SPONSORS));
    for sponsor in 0..SPONSORS {
        let due = began + CALM + BETWEEN * u32::try_from(sponsor)?;
        tokio::time::sleep_until(due).await;
        let said = Instant::now();
        say(&mut connection, &directory.user_gone(&name_of(sponsor)), 200).await?;
        left.push(Left { said, acknowledged: Instant::now() });
    }
    Ok(left)
}

/// Makes every call when it is due, whoever is slow.
async fn call(port: u16, requests: Rc<Vec<Vec<u8>>>) -> anyhow::Result<Vec<Called>> {
    let first = tokio::time::Instant::now();
    let mut calls: Vec<JoinHandle<anyhow::Result<Called>>> = Vec::with_capacity(requests.len());
    for id in 0..requests.len() {
        let due = first + Duration::from_secs(1) * u32::try_from(id)? / PER_SECOND;
        tokio::time::sleep_until(due).await;
        let requests = requests.clone();
        calls.push(tokio::task::spawn_local(async move {
            let begun = Instant::now();
            let mut connection = Connection::open(port).await?;
            let told = connection.all(&requests[id]).await?;
            let whole = memchr::memmem::find(&told, RESULT.as_bytes()).is_some();
            Ok(Called { sponsor: id % SPONSORS, begun, ended: Instant::now(), whole })
        }));
    }
    let mut called = Vec::with_capacity(calls.len());
    for call in calls {
        called.push(call.await??);
    }
    Ok(called)
}

/// Whoever has a sponsor is answered whole; whoever has none any longer is not.
fn check(called: &[Called], left: &[Left]) -> anyhow::Result<()> {
    for Called { sponsor, begun, ended, whole } in called {
        let left = &left[*sponsor];
        ensure!(*whole || *ended > left.said, "a call of {sponsor} failed before they left");
        ensure!(!*whole || *begun < left.acknowledged, "a call of {sponsor} after they left");
    }
    ensure!(called.iter().any(|it| it.whole), "nothing was answered");
    ensure!(called.iter().any(|it| !it.whole), "nothing was stopped");
    Ok(())
}
