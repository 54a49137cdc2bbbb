//! One key written ends thousands of acts under way. `cascade`: that of a root task, below which all
//! of them are. `suspend`: that of the person who sponsors all the agents, by an administrator's act.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use authority::Watch;
use model::{
    AccessRequest, ActionName, Clock as _, DecisionId, Delegation, FactKey, Instance, InstanceId,
    Principal, ResourceRef, ServerName, Task, TaskEnd, TaskId, TaskState,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::house::{House, put};
use crate::machine::{self, SERVER_CORE};
use crate::report::{Goal, Round, Row};
use crate::workload::SERVER;
use crate::world::Random;

const ROUNDS: usize = 3;

/// How many agents the person sponsors who leaves.
const SPONSORED: usize = 5_000;

/// How many tasks are parts of the root task, and how many are parts of each of these.
const FANS: (usize, usize) = (100, 99);

/// How long it may take at most, in milliseconds.
const LIMIT_MS: f64 = 1_000.0;

/// How long to wait before the row is void.
const PATIENCE: Duration = Duration::from_mins(1);

/// Measures how soon all that is below a task is cut when the task ends.
pub(crate) fn cascade(dir: &Path) -> anyhow::Result<Row> {
    measure("cascade", dir, async |dir| end_root(dir, FANS).await)
}

/// Measures how soon all that a person sponsors is cut when the person is gone.
pub(crate) fn suspend(dir: &Path) -> anyhow::Result<Row> {
    measure("suspend", dir, async |dir| Box::pin(end_sponsor(dir, SPONSORED)).await)
}

fn measure(
    row: &'static str,
    dir: &Path,
    once: impl AsyncFn(&Path) -> anyhow::Result<f64>,
) -> anyhow::Result<Row> {
    machine::pin(SERVER_CORE)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let dir = dir.join(format!("round-{round}"));
        std::fs::create_dir(&dir)?;
        let value = runtime.block_on(once(&dir))?;
        rounds.push(Round { value, ratio: value / LIMIT_MS });
    }
    let against = format!("{LIMIT_MS:.0} ms");
    let goal = Goal { value_at_most: Some(LIMIT_MS), ..Goal::default() };
    Ok(Row::new(row, "ms", rounds).against(against).wants(goal))
}

/// How long it takes, in milliseconds, from ending the root task until every act is cut.
async fn end_root(dir: &Path, fans: (usize, usize)) -> anyhow::Result<f64> {
    let house = House::open(dir, json!({})).await?;
    house.put(vec![put(FactKey::agent(&"team".parse()?), &house.agent("team", json!({})))]).await?;
    house.put(vec![put(FactKey::agent(&"hand".parse()?), &house.agent("hand", json!({})))]).await?;
    let mut watches = Vec::new();
    for _ in 0..fans.0 {
        let (team, below) = part(&house, "team", &house.lead.task).await?;
        watches.push(watched(&house, team).await?);
        for _ in 0..fans.1 {
            let (hand, _) = part(&house, "hand", &below).await?;
            watches.push(watched(&house, hand).await?);
        }
    }
    let (how, since) = (TaskEnd::Revoked, house.clock.now());
    let state = TaskState::Ended { how, reason: "measured".to_owned(), since };
    let ended = Task { state, ..house.lead.task.clone() };
    cut(watches, house.put(vec![put(FactKey::task(ended.id), &ended)])).await
}

/// How long it takes, in milliseconds, from the leaving of the sponsor of `agents` agents until the
/// act of each is cut; none of them begins another.
async fn end_sponsor(dir: &Path, agents: usize) -> anyhow::Result<f64> {
    let house = House::open(dir, json!({})).await?;
    let mut watches = Vec::with_capacity(agents);
    let mut last = None;
    for number in 0..agents {
        let instance = house.sponsored(&format!("agent-{number}")).await?;
        watches.push(watched(&house, instance).await?);
        last = Some(instance);
    }
    let by = house.administrator().await?;
    let took = cut(watches, house.deactivate_sponsor(by)).await?;
    let again = watched(&house, last.context("there are agents")?).await;
    ensure!(again.is_err(), "an agent of somebody who left still acts");
    Ok(took)
}

/// How long it takes, in milliseconds, from the beginning of what `ends` all until every one of `watches` is
/// told.
async fn cut(
    watches: Vec<Watch>,
    ends: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<f64> {
    let all = watches.len();
    let (left, none_left) = (Arc::new(AtomicUsize::new(all)), Arc::new(Notify::new()));
    for watch in watches {
        let (left, none_left) = (left.clone(), none_left.clone());
        tokio::spawn(async move {
            watch.no_longer_permitted().await;
            if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                none_left.notify_one();
            }
        });
    }
    // All of them wait before it is written.
    tokio::time::sleep(Duration::from_millis(200)).await;
    ensure!(left.load(Ordering::Acquire) == all, "some are cut before anything ended");
    let started = Instant::now();
    ends.await?;
    let told = tokio::time::timeout(PATIENCE, none_left.notified()).await;
    told.with_context(|| format!("{} of {all} are not cut", left.load(Ordering::Acquire)))?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

/// A new instance of `agent` with a part of `parent`.
async fn part(house: &House, agent: &str, parent: &Task) -> anyhow::Result<(InstanceId, Task)> {
    let now = house.clock.now();
    let (instance, task) = (InstanceId::new(now, &Random), TaskId::new(now, &Random));
    let decision = DecisionId::new(now, &Random);
    let delegation = Some(Delegation { parent: parent.id, by: parent.instance, decision });
    let task = Task { id: task, instance, delegation, ..parent.clone() };
    let instance = Instance {
        id: instance,
        agent: agent.parse()?,
        task: task.id,
        ..house.lead.instance.clone()
    };
    let effects =
        vec![put(FactKey::instance(instance.id), &instance), put(FactKey::task(task.id), &task)];
    house.put(effects).await?;
    Ok((instance.id, task))
}

/// An act of `instance` that is under way.
async fn watched(house: &House, instance: InstanceId) -> anyhow::Result<Watch> {
    let server: ServerName = SERVER.parse()?;
    let request = AccessRequest {
        principal: Principal::Instance(instance),
        action: ActionName::method("tools/list"),
        resource: ResourceRef::Server(server),
        input: Value::Null,
    };
    let permit = house.authority.authorize(house.act(instance, request)).await?;
    Ok(house.authority.watch(&permit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_act_below_is_cut() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        end_root(dir.path(), (2, 3)).await.expect("all of them are cut");
    }

    #[tokio::test]
    async fn every_agent_of_the_sponsor_is_cut() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Box::pin(end_sponsor(dir.path(), 3)).await.expect("all of them are cut");
    }
}
