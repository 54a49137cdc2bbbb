//! What no decision reads any more is forgotten, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use authority::{CLOCK_TRUST_AFTER, COUNTERS_AT_ONCE, Forgetting};
use model::{
    Clock as _, Elevation, ElevationId, FactKey, HostProcess, Instance, InstanceId, Label, Mandate,
    MandateId, ProcessMemory, Task, TaskEnd, TaskId, TaskState, Thumbprint, Withdrawn,
    WorkloadIdentity,
};
use serde_json::json;
use store::{CounterKey, Effect, Store as _, Unit};

use crate::budgets::told;
use crate::support::World;

const BUDGETS: &str = "
budgets:
  daily: { description: x, match: {}, amount: calls, cap: 2, per: agent, every: day }
  ever: { description: x, match: {}, amount: calls, cap: 9, per: agent }
  hourly: { description: x, match: {}, amount: calls, cap: 2, per: agent, every: hour }
";

impl World {
    /// The names of all counters.
    async fn counters(&self) -> Vec<String> {
        let listed = self.store.list_counters("", None, 4_096).await.expect("they are listed");
        listed.into_iter().map(|(counter, _)| counter.0).collect()
    }

    async fn forget(&self, from: &mut Forgetting) {
        let now = self.authority.trusted_now().expect("the clock is right");
        self.authority.forget_past(from, now).await.expect("it is forgotten");
    }

    /// Tasks of which one was ended, one ran out, and one goes on.
    async fn tasks(&self) -> [TaskId; 3] {
        let open = &self.standing.task;
        let reason = String::new();
        let ended = TaskState::Ended { how: TaskEnd::Revoked, reason, since: open.opened };
        let ended = Task { id: TaskId::from_bytes([11; 16]), state: ended, ..open.clone() };
        let out = TaskId::from_bytes([12; 16]);
        let out = Task { id: out, deadline: open.opened, ..open.clone() };
        for task in [&ended, &out] {
            self.put(FactKey::task(task.id), task).await;
        }
        [ended.id, out.id, open.id]
    }

    /// The facts whose keys begin with `prefix`.
    async fn facts(&self, prefix: &str) -> Vec<FactKey> {
        let page = self.store.list(prefix, None, 99).await.expect("they are listed");
        page.facts.into_iter().map(|(key, _)| key).collect()
    }

    async fn count(&self, names: impl Iterator<Item = String>) {
        let count = |name| Effect::Count { counter: CounterKey(name), amount: 1, limit: None };
        let unit = Unit { effects: names.map(count).collect(), ..Unit::default() };
        self.store.commit(unit).await.expect("it commits");
    }
}

#[tokio::test]
async fn what_was_counted_in_a_day_that_is_past_is_forgotten() {
    let world = World::budgeted(BUDGETS).await;
    let call = || world.done(world.call("lookup", json!({})));
    for expected in ["permitted", "permitted", "budget_exceeded"] {
        assert_eq!(told(&call().await), expected);
    }
    // What only looks like an hour or a day is none.
    let task = world.standing.task.id;
    let mandate = world.standing.mandate.id;
    let instance = world.standing.instance.id;
    let stay = [
        format!("{task}/calls/day-1/calls"),
        "agent/day-1/shown".to_owned(),
        "budget/day-1/ever/agent/hour-1".to_owned(),
        "kept/day-1/names".to_owned(),
        format!("{instance}/hour-1/calls"),
        format!("{task}/hour-1/departed_tool"),
    ];
    let past = [
        "agent/a/day-1/calls".to_owned(),
        format!("{mandate}/day-1/tasks"),
        format!("{instance}/hour-1/departed_tool"),
    ];
    world.count(stay.iter().chain(&past).cloned()).await;
    let mut from = Forgetting::new(|_| None);
    let before = world.counters().await;
    assert!(before.iter().any(|it| it.starts_with("budget/daily/day-")), "{before:?}");
    world.forget(&mut from).await;
    // Whoever began to decide before the hour was over still counts in it.
    let rest: Vec<_> = before.iter().filter(|it| !past.contains(it)).cloned().collect();
    assert_eq!(world.counters().await, rest);
    assert_eq!(told(&call().await), "budget_exceeded");
    world.clock.advance(Duration::from_hours(48));
    world.forget(&mut from).await;
    let windowed =
        |it: &&String| it.starts_with("budget/daily/") || it.starts_with("budget/hourly/");
    let rest: Vec<_> = rest.iter().filter(|it| !windowed(it)).cloned().collect();
    assert_eq!(world.counters().await, rest);
    assert_eq!(told(&call().await), "permitted");
    world.forget(&mut from).await;
    assert_eq!(world.counters().await.len(), rest.len() + 2);
    assert_eq!(world.used("ever").await, [("agent/billing".to_owned(), "3".to_owned())]);
}

/// As much as there is: a part of it at once, and all of it in the end.
#[tokio::test]
async fn what_is_past_is_forgotten_a_part_at_a_time() {
    let world = World::new().await;
    world.count((0..COUNTERS_AT_ONCE + 10).map(|it| format!("agent/{it:04}/day-1/calls"))).await;
    let mut from = Forgetting::new(|_| None);
    world.forget(&mut from).await;
    assert_eq!(world.counters().await.len(), 10);
    world.forget(&mut from).await;
    assert!(world.counters().await.is_empty());
}

#[tokio::test]
async fn what_results_said_is_forgotten_once_the_task_is_over() {
    let world = World::new().await;
    let said = json!({ "trusted": "", "untrusted": "", "is_over": true });
    let tasks = world.tasks().await;
    for task in tasks {
        world.put(FactKey::said(task), &said).await;
    }
    let [_, out, open] = tasks;
    let mut from = Forgetting::new(|_| None);
    world.forget(&mut from).await;
    assert_eq!(world.facts("said/").await, [open, out].map(FactKey::said));
    world.clock.advance(Duration::from_hours(24));
    world.forget(&mut from).await;
    assert_eq!(world.facts("said/").await, [FactKey::said(open)]);
    world.clock.advance(Duration::from_hours(8));
    world.forget(&mut from).await;
    assert_eq!(world.facts("said/").await, []);
}

/// It is as if the clock had run true all the time, whoever started meanwhile.
#[tokio::test]
async fn a_clock_that_ran_ahead_and_is_set_back_gives_nothing_back() {
    const AHEAD: i64 = 3 * 24 * 60 * 60 * 1_000;
    let world = World::budgeted(BUDGETS).await;
    let call = || world.done(world.call("lookup", json!({})));
    for expected in ["permitted", "permitted", "budget_exceeded"] {
        assert_eq!(told(&call().await), expected);
    }
    let mut from = Forgetting::new(|_| None);
    world.forget(&mut from).await;
    let before = world.counters().await;
    world.clock.step_wall(AHEAD);
    world.authority.trusted_now().expect_err("it stepped");
    world.clock.advance(CLOCK_TRUST_AFTER);
    world.forget(&mut from).await;
    world.forget(&mut Forgetting::new(|_| None)).await;
    world.clock.step_wall(-AHEAD);
    world.authority.trust_clock();
    world.forget(&mut from).await;
    assert_eq!(world.counters().await, before);
    assert_eq!(told(&call().await), "budget_exceeded");
    // What is over by then is forgotten as ever.
    world.clock.advance(Duration::from_hours(48));
    world.forget(&mut from).await;
    assert!(world.counters().await.len() < before.len());
    assert_eq!(told(&call().await), "permitted");
}

/// What is given back after that leaves no less than nothing.
#[tokio::test]
async fn what_was_counted_for_work_is_forgotten_once_that_is_over() {
    let world = World::new().await;
    let permit = world.authorize(world.call("lookup", json!({}))).await.expect("it is permitted");
    let tasks = world.tasks().await;
    let counters = |task: TaskId| {
        let instance = InstanceId::from_bytes(*task.as_bytes());
        let elevation = ElevationId::from_bytes(*task.as_bytes());
        [
            format!("budget/ever/ever/instance/{instance}"),
            format!("budget/ever/ever/task/{task}"),
            format!("{elevation}/calls"),
            format!("{task}/calls"),
            format!("{task}/calls/crm/lookup"),
            format!("{task}/parts"),
        ]
    };
    for task in tasks {
        let id = InstanceId::from_bytes(*task.as_bytes());
        let instance = Instance { id, task, ..world.standing.instance.clone() };
        world.put(FactKey::instance(id), &instance).await;
        let id = ElevationId::from_bytes(*task.as_bytes());
        let elevation = world.elevation(&world.standing.task, &["refund"]);
        world.put(FactKey::elevation(id), &Elevation { id, task, ..elevation }).await;
        world.count(counters(task).into_iter()).await;
    }
    let stay = ["budget/ever/ever/agent/billing".to_owned(), "kept/crm/names".to_owned()];
    world.count(stay.iter().cloned()).await;
    let mut from = Forgetting::new(|_| None);
    let all = world.counters().await;
    assert_eq!(all.len(), 3 * 6 + 2);
    world.forget(&mut from).await;
    assert_eq!(world.counters().await, all);
    world.clock.advance(Duration::from_hours(24));
    world.forget(&mut from).await;
    let mut left: Vec<_> = counters(tasks[2]).into_iter().chain(stay.clone()).collect();
    left.sort();
    assert_eq!(world.counters().await, left);
    world.clock.advance(Duration::from_hours(8));
    world.forget(&mut from).await;
    drop(permit);
    world.drained().await;
    assert_eq!(world.counters().await, stay);
}

/// Nobody does anything under it any more: whoever consents anew gives another.
#[tokio::test]
async fn what_was_used_up_under_a_mandate_is_forgotten_once_that_is_over() {
    let world = World::new().await;
    let (own, now) = (&world.standing.mandate, world.clock.now());
    let withdrawn = Some(Withdrawn { reason: String::new(), since: now });
    let withdrawn = Mandate { id: MandateId::from_bytes([11; 16]), withdrawn, ..own.clone() };
    let out = Mandate { id: MandateId::from_bytes([12; 16]), valid_until: now, ..own.clone() };
    for mandate in [&withdrawn, &out] {
        world.put(FactKey::mandate(mandate.id), mandate).await;
    }
    let counter = |id: MandateId| format!("budget/ever/ever/mandate/{id}");
    world.count([withdrawn.id, out.id, own.id].map(counter).into_iter()).await;
    let mut from = Forgetting::new(|_| None);
    world.forget(&mut from).await;
    assert_eq!(world.counters().await.len(), 3);
    world.clock.advance(Duration::from_hours(24));
    world.forget(&mut from).await;
    assert_eq!(world.counters().await, [counter(own.id)]);
}

/// What stands beside it is forgotten, and it stays.
#[tokio::test]
async fn what_hangs_on_something_damaged_holds_nothing_else_up() {
    let world = World::new().await;
    let [ended, damaged, _] = world.tasks().await;
    world.put(FactKey::task(damaged), &"damaged").await;
    world.put(FactKey::time_reached(), &"damaged").await;
    for task in [ended, damaged] {
        world.put(FactKey::said(task), &json!({})).await;
    }
    world.count([ended, damaged].into_iter().map(|task| format!("{task}/calls"))).await;
    world.clock.advance(Duration::from_hours(24));
    world.forget(&mut Forgetting::new(|_| None)).await;
    assert_eq!(world.facts("said/").await, [FactKey::said(damaged)]);
    assert_eq!(world.counters().await, [format!("{damaged}/calls")]);
}

/// Whether the process 7 of the tests runs.
static RUNS: AtomicBool = AtomicBool::new(true);

/// Work that it began goes on as long: whoever has its key acts with what it has read.
#[tokio::test]
async fn what_a_process_has_read_is_forgotten_a_day_after_it_ended() {
    let world = World::new().await;
    let process = |pid| HostProcess { exe: None, pid, started: 99, uid: 1_000 };
    let [runs, ended] = [7, 8].map(process);
    let mandate = MandateId::from_bytes([3; 16]);
    let runs = [FactKey::memory(&runs, None), FactKey::memory(&runs, Some(mandate))];
    // Its number is another's by now.
    let other = FactKey::memory(&HostProcess { started: 98, ..process(7) }, None);
    let gone = [FactKey::memory(&ended, None), other];
    let label = "private".parse().expect("a label");
    let read = ProcessMemory::default().with(world.standing.task.id, &[label].into());
    for key in runs.iter().chain(&gone) {
        world.put(key.clone(), &read).await;
    }
    let started = |pid| (pid == 7 && RUNS.load(Ordering::Relaxed)).then_some(99);
    let mut from = Forgetting::new(started);
    world.forget(&mut from).await;
    world.clock.advance(Duration::from_hours(24) - Duration::from_millis(1));
    world.forget(&mut from).await;
    assert_eq!(world.facts("memory/").await.len(), 4);
    world.clock.advance(Duration::from_millis(1));
    world.forget(&mut from).await;
    assert_eq!(world.facts("memory/").await, runs);
    // Who was not seen for a while, and is, has not ended.
    for (seen, later, left) in [(false, 23, 2), (true, 2, 2), (false, 23, 2), (false, 24, 0)] {
        RUNS.store(seen, Ordering::Relaxed);
        world.forget(&mut from).await;
        world.clock.advance(Duration::from_hours(later));
        world.forget(&mut from).await;
        assert_eq!(world.facts("memory/").await.len(), left, "{seen} {later}");
    }
}

/// Nobody tells when they end: a day after the last of their tasks was over nothing goes on that they began.
#[tokio::test]
async fn what_a_workload_and_a_device_have_read_is_forgotten_a_day_after_their_last_task() {
    let world = World::new().await;
    let [ended, out, open] = world.tasks().await;
    let (issuer, subject) = ("https://platform.example".to_owned(), "a".to_owned());
    let workload = WorkloadIdentity { issuer, subject, claims: BTreeMap::new() };
    let works = FactKey::memory_of_workload(&workload, None);
    let rests = FactKey::memory_of_device(&Thumbprint::from_bytes([5; 32]), None);
    let labels = BTreeSet::from(["private".parse::<Label>().expect("a label")]);
    let read = |tasks: [TaskId; 2]| {
        let with = |known: ProcessMemory, task| known.with(task, &labels).expect("it is new");
        tasks.into_iter().fold(ProcessMemory::default(), with)
    };
    world.put(works.clone(), &read([ended, open])).await;
    world.put(rests.clone(), &read([ended, out])).await;
    let mut from = Forgetting::new(|_| None);
    let (day, tick) = (Duration::from_hours(24), Duration::from_millis(1));
    let nearly = Duration::from_millis(24 * 3_600_000 - 1);
    world.forget(&mut from).await;
    world.clock.advance(nearly);
    world.forget(&mut from).await;
    assert_eq!(world.facts("memory/").await, [rests, works.clone()]);
    world.clock.advance(tick);
    world.forget(&mut from).await;
    assert_eq!(world.facts("memory/").await, std::slice::from_ref(&works));
    // Its last task is over by now, and goes on again.
    let deadline = world.standing.task.deadline.plus(3 * day);
    world.put(FactKey::task(open), &Task { deadline, ..world.standing.task.clone() }).await;
    world.clock.advance(day);
    world.forget(&mut from).await;
    assert_eq!(world.facts("memory/").await, std::slice::from_ref(&works));
    world.clock.advance(2 * day);
    world.forget(&mut from).await;
    world.clock.advance(nearly);
    world.forget(&mut from).await;
    assert_eq!(world.facts("memory/").await, [works]);
    world.clock.advance(tick);
    world.forget(&mut from).await;
    assert_eq!(world.facts("memory/").await, []);
}
