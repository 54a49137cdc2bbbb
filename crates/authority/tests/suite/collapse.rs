//! R58: work that has lost for whom it is: denied with a reason of its own, and found.

use std::time::Duration;

use authority::NotPermitted;
use futures::future::join_all;
use model::{FactKey, Finding, MandateId, Task, TaskId, TaskSubject};
use serde_json::json;
use store::Store as _;

use crate::stops::handed_on;
use crate::support::{World, person};

/// A call is denied by `rule` however often it is tried, and that is one finding, which names who called.
async fn check(world: World, rule: &str) {
    let keeper = world.authority.finding_keeper(None, Duration::from_mins(1)).await;
    for _ in 0..3 {
        let answer = world.authorize(world.call("lookup", json!({}))).await;
        let Err(NotPermitted::Denied { denial, .. }) = answer else { panic!("not `{rule}`") };
        assert_eq!(denial.code(), rule);
    }
    let keeper = keeper.expect("the register can be read");
    world.keeps(keeper, 1).await;
    let found = world.store.list("finding/", None, 10).await.expect("it can be read").facts;
    let [(_, body)] = found.as_slice() else { panic!("{rule}: found {} times", found.len()) };
    let Finding { stranger, .. } = serde_json::from_slice(body).expect("a finding");
    assert_eq!((stranger.cause.as_str(), stranger.tried.as_str()), (rule, "crm/lookup"));
    assert_eq!(stranger.server, Some(world.standing.server.name.clone()));
    assert_eq!(stranger.proven, Some(world.standing.agent.name.clone()));
    assert_eq!(stranger.holder, Some(world.standing.instance.id.to_string()));
}

/// The task above is for another person, or of another chain.
#[tokio::test]
async fn r_58_a_chain_that_was_put_together_is_denied_and_found() {
    let splices: [fn(&mut Task); 3] = [
        |task| {
            let person = person("dora", &[]).id;
            task.subject = TaskSubject::OnBehalfOf { person };
        },
        |task| task.mandate = MandateId::from_bytes([77; 16]),
        |task| task.purpose = "refunds".parse().expect("a purpose"),
    ];
    // Each waits for what is found: all at once.
    let checks = splices.map(async |splice: fn(&mut Task)| {
        let world = handed_on(2).await;
        let place = FactKey::task(TaskId::from_bytes([101; 16]));
        let loaded = world.store.load(std::slice::from_ref(&place)).await.expect("it can be read");
        let body = loaded.bodies[0].as_ref().expect("it is there");
        let mut above: Task = serde_json::from_slice(body).expect("a task");
        splice(&mut above);
        world.put(place, &above).await;
        check(world, "delegation_collapse").await;
    });
    join_all(checks).await;
}

#[tokio::test]
async fn r_58_a_tool_for_people_that_nobody_is_behind_is_denied_and_found() {
    let for_people = World::with(|facts| {
        facts.tools.iter_mut().for_each(|tool| tool.requires_subject = true);
    });
    check(for_people.await, "no_originator").await;
}
