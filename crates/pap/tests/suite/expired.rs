//! A task that ran out is shown as what it is at once, whoever writes that down and when.

use std::time::Duration;

use authority::Expiring;
use model::{Clock as _, TaskState};
use pap::Command;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::support::World;

/// The task of the tests as it is listed, and as it is shown.
async fn told(desk: &Desk) -> [Value; 2] {
    let id = desk.world.standing.task.id;
    let all = desk.run(Command::TaskList).await.expect("they are listed");
    let all = all.as_array().expect("a list").clone();
    let listed = all.into_iter().find(|task| task["id"] == json!(id)).expect("it is there");
    let show = Command::TaskShow { id: id.to_string() };
    let mut tree = desk.run(show).await.expect("it is shown");
    [listed, tree["task"].take()]
}

async fn swept(world: &World) {
    world.authority.end_expired(&mut Expiring::default(), world.clock.now()).await.expect("swept");
}

#[tokio::test]
async fn a_task_that_ran_out_is_shown_as_expired_at_once() {
    let desk = Desk::new().await;
    let task = &desk.world.standing.task;
    let tick = Duration::from_millis(1);
    let last = task.deadline.since(desk.world.clock.now()).saturating_sub(tick);
    desk.world.clock.advance(last);
    for told in told(&desk).await {
        assert_eq!(told["state"], json!(TaskState::Open));
    }
    desk.world.clock.advance(tick);
    let expected = json!({
        "is": "ended",
        "how": "expired",
        "reason": "its deadline passed",
        "since": task.deadline,
    });
    let before = told(&desk).await;
    for told in &before {
        assert_eq!(told["state"], expected);
    }
    swept(&desk.world).await;
    let records = desk.world.records("system").await;
    let ended = records.iter().filter(|record| record.text_of("event") == "task_ended");
    assert_eq!(ended.count(), 1);
    assert_eq!(told(&desk).await, before, "and stays so");
    let why = desk.run(end(&desk)).await.expect_err("it has ended").to_string();
    assert!(why.contains("has ended: expired"), "{why}");
}

fn end(desk: &Desk) -> Command {
    let id = desk.world.standing.task.id.to_string();
    Command::TaskEnd { id, reason: "not needed".to_owned() }
}

/// By a clock that runs ahead a task may have run out that goes on once that is set back: whoever ends it ends it.
#[tokio::test]
async fn a_task_that_ran_out_can_be_ended_until_that_is_written_down() {
    let desk = Desk::new().await;
    let task = &desk.world.standing.task;
    desk.world.clock.advance(task.deadline.since(desk.world.clock.now()));
    desk.run(end(&desk)).await.expect("it is ended");
    swept(&desk.world).await;
    for told in told(&desk).await {
        assert_eq!(told["state"]["how"], "revoked");
    }
}
