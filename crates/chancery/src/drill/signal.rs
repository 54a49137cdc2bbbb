//! The drills that take something away from an agent at work: one instance is revoked, or the directory of a
//! sponsor says that they left, while calls and a stream run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::directory::Directory;
use super::scratch::{LEAVER, LEAVING, PATIENCE, Scratch};
use crate::shim::Gateway;
use crate::socket;
use anyhow::{Context as _, ensure};
use futures::future::join_all;
use pap::{Command as Asked, DrillMeasured, DrillSignal, LAST_EFFECT_MAX_MS};
use tokio::sync::watch;

/// How many instances are at work when their sponsor is deactivated.
const INSTANCES: usize = 8;

/// How many calls are tried at once by the one that is revoked.
const AT_ONCE: usize = 4;

/// How much is done before anything is taken away.
const BEFORE: u64 = 20;

/// How many calls are begun after that at least, however long a busy machine takes for them.
const AFTER: u64 = 10;

/// How long it is looked on after the last moment at which something may still happen.
const WATCHED: Duration = Duration::from_millis(300);

/// How long somebody waits between two calls.
const PAUSE: Duration = Duration::from_millis(20);

/// What takes something away.
enum Taking<'a> {
    Revokes(Box<Asked>),
    Leaves(Directory<'a>),
}

/// One call: when it was begun, by the clock of the canary, and whether it was done.
#[derive(Clone, Copy)]
struct Tried {
    began: i64,
    is_done: bool,
}

/// Takes something away from an agent of the scratch copy that is at work.
pub(super) async fn run(scratch: &Scratch, signal: DrillSignal) -> anyhow::Result<DrillMeasured> {
    let (instances, each) = match signal {
        DrillSignal::Revoke => (1, AT_ONCE),
        DrillSignal::Offboard => (INSTANCES, 1),
    };
    let agents: Vec<Gateway> =
        (0..instances).map(|_| scratch.agent_of(LEAVING)).collect::<Result<_, _>>()?;
    let first = agents.first().context("there are some")?;
    // It has a token before many ask at once.
    ensure!(scratch.touch_as(first).await, "the agent of the drill does not work");
    let (taking, other) = match signal {
        DrillSignal::Offboard => (Taking::Leaves(Directory::of(scratch, LEAVER).await?), None),
        DrillSignal::Revoke => {
            let (id, reason) = (only_instance(scratch).await?, "a drill".to_owned());
            let other = scratch.agent_of(LEAVING)?;
            ensure!(scratch.touch_as(&other).await, "another instance does not work");
            (Taking::Revokes(Box::new(Asked::InstanceRevoke { id, reason })), Some(other))
        }
    };
    let (is_over, ended) = (AtomicBool::new(false), watch::Sender::new(0_u64));
    let works = agents.iter().flat_map(|agent| std::iter::repeat_n(agent, each));
    let work = join_all(works.map(|agent| works_on(scratch, agent, (&is_over, &ended))));
    let stream = scratch.follow(first);
    // Those that are under way when it is taken away end, too.
    let more = AFTER + (agents.len() * each) as u64;
    let taken = async {
        let taken = taken_away(scratch, &taking, (&ended, more)).await;
        is_over.store(true, Ordering::SeqCst);
        taken
    };
    let (tried, streamed, at) = tokio::join!(work, stream, taken);
    let at = at?;
    let tried = tried.concat();
    let later: Vec<_> = tried.iter().filter(|tried| tried.began > at).collect();
    let last = scratch.canary.last().saturating_sub(at).max(0);
    // One instance is revoked: another of the same agent goes on.
    let others_go_on = match &other {
        Some(other) => Some(scratch.touch_as(other).await),
        None => None,
    };
    let back_after_ms = match signal {
        DrillSignal::Revoke => None,
        DrillSignal::Offboard => comes_back(scratch).await?,
    };
    Ok(DrillMeasured {
        attempts: later.len() as u64,
        done: later.iter().filter(|tried| tried.is_done).count() as u64,
        last_effect_ms: u64::try_from(last).unwrap_or(0),
        stream_cut: !streamed,
        others_go_on,
        back_after_ms,
    })
}

/// Waits until all are at work, and does what takes something away; when that was answered, by the clock
/// of the canary. It is looked on for a while, and until so many `more` calls have `ended`.
async fn taken_away(
    scratch: &Scratch,
    taking: &Taking<'_>,
    (ended, more): (&watch::Sender<u64>, u64),
) -> anyhow::Result<i64> {
    scratch.is_busy(BEFORE).await?;
    match taking {
        Taking::Revokes(command) => {
            socket::call(&scratch.config.admin_socket(), command).await?;
        }
        Taking::Leaves(directory) => directory.deactivates(LEAVER).await?,
    }
    let (at, enough) = (scratch.canary.now(), *ended.borrow() + more);
    tokio::time::sleep(Duration::from_millis(LAST_EFFECT_MAX_MS) + WATCHED).await;
    let mut ended = ended.subscribe();
    // Where they do not come in time, what was tried until then is told.
    drop(tokio::time::timeout(PATIENCE, ended.wait_for(|ended| *ended >= enough)).await);
    Ok(at)
}

/// How long after another person took the agent over that nobody answers for its first effect came, by the clock of the
/// canary, in milliseconds; none if none did.
async fn comes_back(scratch: &Scratch) -> anyhow::Result<Option<u64>> {
    let agent = scratch.agent_of(LEAVING)?;
    // What goes wrong here is what the drill looks for: it is measured, and recorded with the rest.
    if scratch.touch_as(&agent).await {
        eprintln!("chancery: the agent works before anybody took it over");
        return Ok(None);
    }
    if let Err(error) = scratch.takes_over(LEAVING).await {
        eprintln!("chancery: nobody could take the agent over: {error:#}");
        return Ok(None);
    }
    let (at, started) = (scratch.canary.now(), Instant::now());
    while started.elapsed() < PATIENCE {
        if scratch.touch_as(&agent).await {
            let after = scratch.canary.last().saturating_sub(at).max(0);
            return Ok(Some(u64::try_from(after).unwrap_or(0)));
        }
        tokio::time::sleep(PAUSE).await;
    }
    eprintln!("chancery: another person took the agent over, and it does not work since");
    Ok(None)
}

/// The one instance that there is yet of the agent that something is taken away from.
async fn only_instance(scratch: &Scratch) -> anyhow::Result<String> {
    let all = socket::call(&scratch.config.admin_socket(), &Asked::InstanceList).await?;
    let mut all = all.as_array().into_iter().flatten();
    let found = all.find(|instance| instance["agent"] == LEAVING);
    let id = found.and_then(|instance| instance["id"].as_str());
    id.map(str::to_owned).context("the instance of the drill is not in the register")
}

/// Calls again and again until it is over, and counts the calls that have ended.
async fn works_on(
    scratch: &Scratch,
    agent: &Gateway,
    (is_over, ended): (&AtomicBool, &watch::Sender<u64>),
) -> Vec<Tried> {
    let mut all = Vec::new();
    while !is_over.load(Ordering::SeqCst) {
        let began = scratch.canary.now();
        all.push(Tried { began, is_done: scratch.touch_as(agent).await });
        ended.send_modify(|ended| *ended += 1);
        tokio::time::sleep(PAUSE).await;
    }
    all
}
