//! What is stopped: denied, recorded, cut, and known by outsiders to have been so.

use futures::FutureExt as _;
use model::{
    DELEGATIONS_MAX, DecisionId, Delegation, FactKey, InstanceId, Stop, StopTarget, TaskId,
};
use serde_json::json;
use store::{Effect, Store as _, Unit};

use crate::support::stores::OnCommit;
use crate::support::{Act, World, put};

fn stop(world: &World, what: &str) -> Unit {
    let what: StopTarget = what.parse().expect("it can be stopped");
    let (by, reason) = (world.standing.sponsor.id.clone(), "test".to_owned());
    let stop = Stop { what, by, reason, since: world.standing.task.opened, wish: None };
    Unit { effects: vec![put(FactKey::stop(&stop.what), &stop)], ..Unit::default() }
}

fn start(what: &str) -> Unit {
    let key = FactKey::stop(&what.parse().expect("it can be stopped"));
    Unit { effects: vec![Effect::Remove { key }], ..Unit::default() }
}

fn call(world: &World) -> Act {
    world.call("lookup", json!({}))
}

async fn answer(world: &World, act: Act) -> String {
    match world.authorize(act).await {
        Ok(_) => "permitted".to_owned(),
        Err(authority::NotPermitted::Denied { denial, .. }) => denial.code().to_owned(),
        Err(other) => other.to_string(),
    }
}

/// Each stop × {a call of the tool, a call of another, a method of the server, a token}, before,
/// while and after it stands.
#[tokio::test]
async fn what_is_stopped_is_denied_until_it_is_started() {
    let check = async |what: &str, expected: [&str; 4]| {
        let world = World::new().await;
        let answers = async || {
            let other = world.call("refund", json!({ "amount": 5 }));
            let acts =
                [call(&world), other, world.method("tools/list"), world.method("token/issue")];
            let mut answers = Vec::new();
            for act in acts {
                answers.push(answer(&world, act).await);
            }
            answers
        };
        assert_eq!(answers().await, ["permitted"; 4]);
        world.store.commit(stop(&world, what)).await.unwrap();
        assert_eq!(answers().await, expected, "{what}");
        let denied = world.records("decision").await;
        let denied = denied.iter().filter(|it| it.text_of("reason") == "stopped").count();
        assert_eq!(denied, expected.iter().filter(|it| **it == "stopped").count());
        world.store.commit(start(what)).await.unwrap();
        assert_eq!(answers().await, ["permitted"; 4]);
    };
    check("all", ["stopped"; 4]).await;
    check("agent/billing", ["stopped"; 4]).await;
    check("tool/crm/lookup", ["stopped", "permitted", "permitted", "permitted"]).await;
    check("agent/nobody", ["permitted"; 4]).await;
    check("tool/crm/deploy", ["permitted"; 4]).await;
}

/// one key is written, and a call under way is cut.
#[tokio::test]
async fn r_36_a_call_under_way_is_cut_when_it_is_stopped() {
    for what in ["all", "agent/billing", "tool/crm/lookup"] {
        let world = World::new().await;
        let permit = world.authorize(call(&world)).await.expect("it is permitted");
        let watch = world.authority.watch(&permit);
        let begun = permit.begin(world.clock.as_ref()).expect("it begins");
        let asked = watch.no_longer_permitted();
        tokio::pin!(asked);
        assert!((&mut asked).now_or_never().is_none(), "nothing has changed");
        let elsewhere = stop(&world, "tool/crm/deploy");
        world.store.commit(elsewhere).await.unwrap();
        assert!((&mut asked).now_or_never().is_none(), "what concerns others wakes nobody");
        world.store.commit(stop(&world, what)).await.unwrap();
        assert_eq!(asked.await.to_string(), "denied by the built-in rule `stopped`");
        drop(begun);
    }
}

/// I-11: a stop between reading and commit is seen, though there was no such fact when it was read.
#[tokio::test]
async fn i_11_a_stop_between_reading_and_commit_is_seen() {
    for what in ["all", "agent/billing", "tool/crm/lookup"] {
        let world = World::new().await;
        assert_eq!(answer(&world, call(&world)).await, "permitted");
        world.store.on_commit([OnCommit::After(stop(&world, what))]);
        assert_eq!(answer(&world, call(&world)).await, "stopped", "{what}");
    }
}

/// The facts leaf that a denial names says what was stopped: without it nobody could decide again.
#[tokio::test]
async fn what_was_stopped_is_among_the_facts_that_are_committed_to() {
    let world = World::new().await;
    assert_eq!(answer(&world, call(&world)).await, "permitted");
    world.store.commit(stop(&world, "tool/crm/lookup")).await.unwrap();
    assert_eq!(answer(&world, call(&world)).await, "stopped");
    assert_eq!(answer(&world, call(&world)).await, "stopped");
    let facts = world.records("facts").await;
    assert_eq!(facts.len(), 2, "one leaf for each reading");
    let stops: Vec<bool> =
        facts.iter().map(|it| it.value["commitments"].get("stops").is_some()).collect();
    assert_eq!(stops, [false, true]);
}

/// The deployment, in which the work of its instance was handed on by as many others; the nearest is
/// `lead-1`. Every task has a limit of its own.
pub(crate) async fn handed_on(times: u8) -> World {
    let mut leads = Vec::new();
    let world = World::with(|facts| {
        facts.task.scope.max_calls = Some(10);
        for time in 1..=times {
            let (mut agent, mut instance) = (facts.agent.clone(), facts.instance.clone());
            let mut task = facts.task.clone();
            agent.name = format!("lead-{time}").parse().expect("an agent");
            (instance.id, instance.agent) =
                (InstanceId::from_bytes([100 + time; 16]), agent.name.clone());
            (task.id, task.instance) = (TaskId::from_bytes([100 + time; 16]), instance.id);
            (instance.task, task.delegation) = (task.id, None);
            facts.mandate.agent = agent.name.clone();
            leads.push((agent, instance, task));
        }
        let digest = facts.mandate.digest();
        let decision = DecisionId::from_bytes([7; 16]);
        let mut below = &mut facts.task;
        below.mandate_digest = digest;
        for (_, _, task) in &mut leads {
            below.delegation = Some(Delegation { parent: task.id, by: task.instance, decision });
            task.mandate_digest = digest;
            below = task;
        }
    })
    .await;
    for (agent, instance, task) in &leads {
        world.put(FactKey::agent(&agent.name), agent).await;
        world.put(FactKey::instance(instance.id), instance).await;
        world.put(FactKey::task(task.id), task).await;
    }
    world
}

/// N-033: whoever is stopped stops all to whom they handed work on, however far below; and the longest
/// chain, all of whose tasks have a limit, fits one transaction.
#[tokio::test]
async fn n_033_a_stop_of_any_agent_of_the_chain_stops_those_below() {
    let longest = u8::try_from(DELEGATIONS_MAX).expect("few");
    for (times, stopped) in [(1, 1), (longest, 1), (longest, 4), (longest, longest)] {
        let world = handed_on(times).await;
        assert_eq!(answer(&world, call(&world)).await, "permitted", "{times}");
        let permit = world.authorize(call(&world)).await.expect("it is permitted");
        let watch = world.authority.watch(&permit);
        let begun = permit.begin(world.clock.as_ref()).expect("it begins");
        let what = format!("agent/lead-{stopped}");
        world.store.commit(stop(&world, &what)).await.unwrap();
        let cut = watch.no_longer_permitted().await.to_string();
        assert_eq!(cut, "denied by the built-in rule `stopped`");
        assert_eq!(answer(&world, call(&world)).await, "stopped", "{what} of {times}");
        drop(begun);
        world.store.commit(start(&what)).await.unwrap();
        assert_eq!(answer(&world, call(&world)).await, "permitted");
    }
}
