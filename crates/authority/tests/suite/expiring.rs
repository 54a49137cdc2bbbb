//! Tasks that ran out are ended on record, once, and little is looked at for it.

use std::time::Duration;

use authority::{ENDED_AT_ONCE, Expiring, NotStopped, TASKS_AT_ONCE};
use model::{Clock as _, FactKey, InstanceId, Task, TaskEnd, TaskId, TaskState, Timestamp};
use serde_json::{Value, json};
use store::{Store as _, Unit};

use crate::budgets::told;
use crate::support::{World, put};

/// How long it takes at least until all are looked at again.
const ROUND: Duration = Duration::from_secs(10);

impl World {
    /// So many tasks that are made now and end after `lasts`.
    async fn opened(&self, count: usize, lasts: Duration) -> Vec<Task> {
        let now = self.clock.now();
        let deadline = now.plus(lasts);
        let opened = |_| {
            let id = TaskId::new(now, self.entropy.as_ref());
            Task { id, opened: now, deadline, ..self.standing.task.clone() }
        };
        let tasks: Vec<_> = (0..count).map(opened).collect();
        let effects = tasks.iter().map(|task| put(FactKey::task(task.id), task)).collect();
        let committed = self.store.commit(Unit { effects, ..Unit::default() }).await;
        committed.expect("it commits");
        tasks
    }

    async fn opens(&self, lasts: Duration) -> Task {
        self.opened(1, lasts).await.remove(0)
    }

    async fn ends(&self, from: &mut Expiring) -> Result<(), NotStopped> {
        self.authority.end_expired(from, self.clock.now()).await
    }

    /// Looks at all of them, after a while.
    async fn ends_all(&self, from: &mut Expiring) {
        self.clock.advance(ROUND);
        self.ends(from).await.expect("they are looked at");
    }

    async fn state_of(&self, task: &Task) -> TaskState {
        let loaded = self.store.load(&[FactKey::task(task.id)]).await.expect("it is read");
        let body = loaded.bodies[0].as_ref().expect("it is there");
        serde_json::from_slice::<Task>(body).expect("a task").state
    }

    /// What the records say of tasks that have ended.
    async fn ended(&self) -> Vec<Value> {
        let all = self.records("system").await.into_iter();
        let such = all.filter(|record| record.text_of("event") == "task_ended");
        such.map(|record| record.value["details"].clone()).collect()
    }

    /// Since when the tasks were made of which one may be open, as it is written down.
    async fn settled(&self) -> Option<Timestamp> {
        let loaded = self.store.load(&[FactKey::tasks_settled()]).await.expect("it is read");
        loaded.bodies[0].as_ref().map(|body| serde_json::from_slice(body).expect("a time"))
    }
}

#[tokio::test]
async fn a_task_that_ran_out_is_ended_on_record_once() {
    let world = World::new().await;
    let (task, hour) = (world.standing.task.clone(), Duration::from_hours(1));
    world.put(FactKey::said(task.id), &json!({})).await;
    let mut from = Expiring::default();
    world.ends_all(&mut from).await;
    world.clock.advance((8 * hour).saturating_sub(2 * ROUND + Duration::from_millis(1)));
    world.ends_all(&mut from).await;
    assert_eq!((world.state_of(&task).await, world.ended().await.len()), (TaskState::Open, 0));
    world.clock.advance(Duration::from_millis(1));
    let call = || world.authorize(world.call("lookup", json!({})));
    assert_eq!(told(&call().await), "task_not_open");
    world.ends_all(&mut from).await;
    let (how, reason) = (TaskEnd::Expired, "its deadline passed".to_owned());
    let ended = TaskState::Ended { how, reason, since: task.deadline };
    assert_eq!(world.state_of(&task).await, ended);
    let expected = json!({
        "agent": "billing",
        "instance": world.standing.instance.id,
        "task": task.id,
        "mandate": task.mandate_digest,
        "how": "expired",
    });
    assert_eq!(world.ended().await, std::slice::from_ref(&expected));
    assert_eq!(told(&call().await), "task_not_open", "as before");
    let said = world.store.load(&[FactKey::said(task.id)]).await.expect("it is read");
    assert_eq!(said.bodies, [None], "what was said in it is forgotten");
    // Neither later nor after a restart.
    world.ends_all(&mut from).await;
    world.ends_all(&mut Expiring::default()).await;
    assert_eq!(world.ended().await, [expected]);
}

/// What somebody ended before stays as it ended.
#[tokio::test]
async fn a_task_that_has_ended_does_not_run_out() {
    let world = World::new().await;
    for how in [TaskEnd::Completed, TaskEnd::Failed, TaskEnd::Changed, TaskEnd::Revoked] {
        let task = world.opens(ROUND).await;
        let state = TaskState::Ended { how, reason: String::new(), since: task.opened };
        world.put(FactKey::task(task.id), &Task { state: state.clone(), ..task.clone() }).await;
        world.ends_all(&mut Expiring::default()).await;
        assert_eq!((world.state_of(&task).await, world.ended().await.len()), (state, 0), "{how:?}");
    }
}

/// However many there are: some of them at once, and all of them in the end, though it fails meanwhile.
#[tokio::test]
async fn tasks_that_ran_out_are_ended_some_at_once() {
    let world = World::new().await;
    let tasks = world.opened(ENDED_AT_ONCE + 5, ROUND).await;
    let mut from = Expiring::default();
    world.clock.advance(ROUND);
    world.store.fail_deferred(1);
    world.ends(&mut from).await.expect_err("the disk is full");
    assert_eq!(world.ended().await.len(), 0);
    world.ends_all(&mut from).await;
    assert_eq!(world.ended().await.len(), ENDED_AT_ONCE);
    // At the next look, without waiting for a new round.
    world.ends(&mut from).await.expect("they are looked at");
    let ended = world.ended().await;
    let named: std::collections::BTreeSet<_> = ended.iter().map(|it| it["task"].as_str()).collect();
    assert_eq!((ended.len(), named.len()), (tasks.len(), tasks.len()), "each once");
    for task in tasks {
        assert!(matches!(world.state_of(&task).await, TaskState::Ended { .. }));
    }
}

/// Only so many are looked at at once, whether or not any has run out.
#[tokio::test]
async fn tasks_are_looked_at_some_at_once() {
    let world = World::new().await;
    world.opened(TASKS_AT_ONCE, Duration::from_hours(1)).await;
    world.clock.advance(Duration::from_secs(1));
    let last = world.opens(ROUND).await;
    let mut from = Expiring::default();
    world.ends_all(&mut from).await;
    assert_eq!(world.state_of(&last).await, TaskState::Open);
    world.ends(&mut from).await.expect("they are looked at");
    assert!(matches!(world.state_of(&last).await, TaskState::Ended { .. }));
}

/// What was made before the oldest that may be open is not looked at again, by whoever starts next either; unless the
/// clock was set back, when what is made is older than what was.
#[tokio::test]
async fn it_is_looked_from_the_oldest_task_on_that_may_be_open() {
    let world = World::new().await;
    let (minute, hour) = (Duration::from_mins(1), Duration::from_hours(1));
    let begun = world.clock.now();
    let first = world.opens(hour).await;
    world.clock.advance(30 * minute);
    let mut from = Expiring::default();
    world.ends_all(&mut from).await;
    assert_eq!(world.settled().await, Some(begun), "it is open");
    world.clock.advance(hour);
    world.ends_all(&mut from).await;
    assert!(matches!(world.state_of(&first).await, TaskState::Ended { .. }));
    assert_eq!(world.settled().await, Some(world.clock.now().minus(10 * minute)));
    // It is as if it had come too late to be found.
    let late = Task { id: TaskId::before(begun), ..first.clone() };
    world.put(FactKey::task(late.id), &late).await;
    world.ends_all(&mut from).await;
    world.ends_all(&mut Expiring::default()).await;
    assert_eq!(world.state_of(&late).await, TaskState::Open);
    world.clock.step_wall(-i64::try_from(hour.as_millis()).expect("an hour"));
    let back = world.opens(minute).await;
    world.clock.advance(minute);
    world.ends_all(&mut from).await;
    assert!(matches!(world.state_of(&back).await, TaskState::Ended { .. }));
    assert_eq!(world.settled().await, Some(world.clock.now().minus(10 * minute)));
    world.ends_all(&mut Expiring::default()).await;
    assert_eq!(world.ended().await.len(), 2);
}

/// What cannot be read holds nothing else up.
#[tokio::test]
async fn a_damaged_task_keeps_no_other_from_ending() {
    let world = World::new().await;
    world.put(FactKey::tasks_settled(), &"damaged").await;
    let tasks = world.opened(3, ROUND).await;
    let [damaged, nobodys, task] = tasks.as_slice() else { panic!("three: {tasks:?}") };
    world.put(FactKey::task(damaged.id), &"damaged").await;
    let nobodys = Task { instance: InstanceId::from_bytes([9; 16]), ..nobodys.clone() };
    world.put(FactKey::task(nobodys.id), &nobodys).await;
    world.ends_all(&mut Expiring::default()).await;
    assert_eq!(world.state_of(&nobodys).await, TaskState::Open);
    assert!(matches!(world.state_of(task).await, TaskState::Ended { .. }));
}
