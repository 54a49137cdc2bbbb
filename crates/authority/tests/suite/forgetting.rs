//! What no decision reads any more is forgotten, and nothing else.

use std::time::Duration;

use authority::{COUNTERS_AT_ONCE, Forgetting};
use model::{FactKey, Task, TaskEnd, TaskId, TaskState};
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

    async fn count(&self, names: impl Iterator<Item = String>) {
        let count = |name| Effect::Count { counter: CounterKey(name), amount: 1, limit: None };
        let unit = Unit { effects: names.map(count).collect(), ..Unit::default() };
        self.store.commit(unit).await.expect("it commits");
    }
}

#[tokio::test]
async fn what_was_counted_in_a_day_that_is_past_is_forgotten() {
    let world = World::budgeted(BUDGETS).await;
    let call = || world.authorize(world.call("lookup", json!({})));
    for expected in ["permitted", "permitted", "budget_exceeded"] {
        assert_eq!(told(&call().await), expected);
    }
    // What only looks like an hour or a day is none.
    let task = world.standing.task.id;
    let mandate = world.standing.mandate.id;
    let stay = [
        format!("{task}/calls/day-1/calls"),
        "agent/day-1/shown".to_owned(),
        "budget/day-1/ever/agent/hour-1".to_owned(),
        "kept/day-1/names".to_owned(),
    ];
    let past = ["agent/a/day-1/calls".to_owned(), format!("{mandate}/day-1/tasks")];
    world.count(stay.iter().chain(&past).cloned()).await;
    let mut from = Forgetting::default();
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
    let mut from = Forgetting::default();
    world.forget(&mut from).await;
    assert_eq!(world.counters().await.len(), 10);
    world.forget(&mut from).await;
    assert!(world.counters().await.is_empty());
}

#[tokio::test]
async fn what_results_said_is_forgotten_once_the_task_is_over() {
    let world = World::new().await;
    let open = &world.standing.task;
    let reason = String::new();
    let ended = TaskState::Ended { how: TaskEnd::Revoked, reason, since: open.opened };
    let tasks = [
        Task { id: TaskId::from_bytes([11; 16]), state: ended, ..open.clone() },
        Task { id: TaskId::from_bytes([12; 16]), deadline: open.opened, ..open.clone() },
    ];
    let said = json!({ "trusted": "", "untrusted": "", "is_over": true });
    for task in tasks.iter().chain([open]) {
        world.put(FactKey::task(task.id), task).await;
        world.put(FactKey::said(task.id), &said).await;
    }
    let left = async || {
        let page = world.store.list("said/", None, 9).await.expect("they are listed");
        page.facts.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    let mut from = Forgetting::default();
    world.forget(&mut from).await;
    assert_eq!(left().await, [open.id, tasks[1].id].map(FactKey::said));
    world.clock.advance(Duration::from_hours(24));
    world.forget(&mut from).await;
    assert_eq!(left().await, [FactKey::said(open.id)]);
    world.clock.advance(Duration::from_hours(8));
    world.forget(&mut from).await;
    assert_eq!(left().await, []);
}
