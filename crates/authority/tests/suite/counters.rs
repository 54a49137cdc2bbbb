//! Limits and counters that parallel calls share: exact, whoever comes when.

use std::sync::Arc;
use std::time::Duration;

use authority::NotPermitted;
use futures::future::join_all;
use model::{ActionName, Clock as _, Denial, ResourceRef, SessionFacts};
use serde_json::{Value, json};
use store::{CounterKey, Store as _, Unit};

use crate::labels::{assert_denied, of};
use crate::support::{POLICY, World, policy_unit};

const PARALLEL: u64 = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n_088_a_limit_is_never_passed_by_parallel_calls() {
    for limit in [0, 1, 10, PARALLEL] {
        let world = World::with(|facts| facts.task.scope.max_calls = Some(limit)).await;
        let world = Arc::new(world);
        let calls = (0..PARALLEL).map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.done(world.call("lookup", json!({}))).await })
        });
        let answers = join_all(calls).await;
        let permitted = answers.iter().filter(|it| matches!(it, Ok(Ok(())))).count();
        assert_eq!(permitted as u64, limit);
        for refused in answers.into_iter().filter_map(|it| it.unwrap().err()) {
            let NotPermitted::Denied { denial, .. } = refused else { panic!("{refused}") };
            assert!(matches!(*denial, Denial::LimitReached { .. }), "{denial}");
        }
        let counter = CounterKey(format!("{}/calls", world.standing.task.id));
        let stored = world.store.counters(&[counter]).await.unwrap();
        assert_eq!(stored, [i64::try_from(limit).unwrap()]);
        let log = world.records("decision").await;
        assert_eq!(log.len() as u64, PARALLEL, "each call has a record");
    }
}

/// What policy sees of the calls so far is what was counted, however many counted at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_counters_that_policy_sees_lose_no_parallel_call() {
    let world = Arc::new(World::new().await);
    for round in 1..=4 {
        let calls = (0..16).map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.done(world.call("lookup", json!({}))).await })
        });
        assert!(join_all(calls).await.into_iter().all(|it| it.unwrap().is_ok()));
        drop(world.authorize(world.method("tools/list")).await.unwrap());
        let last = world.records("decision").await.pop().unwrap();
        let session = world.disclosure(&last).await.value("session").cloned().unwrap();
        assert_eq!(session["counters"], json!({ "calls": round * 16 }));
    }
    let world = Arc::into_inner(world).expect("nobody else has it");
    world.drained().await;
    let world = world.restarted().await;
    drop(world.authorize(world.method("tools/list")).await.unwrap());
    let last = world.records("decision").await.pop().unwrap();
    let session = world.disclosure(&last).await.value("session").cloned().unwrap();
    assert_eq!(session["counters"], json!({ "calls": 64 }));
}

/// Where policy looks at how often one tool was called, that is counted from then on, also over a restart; of a
/// session that was opened before nobody knows how often it was.
#[tokio::test]
async fn the_calls_of_a_tool_are_counted_where_policy_looks_at_them() {
    let world = World::new().await;
    assert!(world.done(world.call("lookup", json!({}))).await.is_ok());
    let twice = r#"@id("twice") forbid (principal, action == Action::"crm/lookup", resource)
        when { context.session.counters["crm/lookup"] >= 2 };"#;
    let policy = format!("{POLICY}{twice}");
    world.publish(&policy).await;
    assert_denied(world.authorize(world.call("lookup", json!({}))).await, "unremembered");
    world.clock.advance(Duration::from_millis(1));
    let later = world.another(1).await;
    let lookup = |world: &World| of(later, world.call("lookup", json!({})));
    assert!(world.done(lookup(&world)).await.is_ok());
    world.drained().await;
    let world = world.restarted_by(&policy).await;
    assert!(world.done(lookup(&world)).await.is_ok());
    let read = world.store.counters_read();
    let third = world.authorize(lookup(&world)).await;
    assert_eq!(world.store.counters_read(), read, "what was counted is known");
    assert_denied(third, "forbidden");
    let last = world.records("decision").await.pop().unwrap();
    let session = world.disclosure(&last).await.value("session").cloned().unwrap();
    assert_eq!(session["counters"], json!({ "calls": 2, "crm/lookup": 2 }));
}

/// What did not happen is not counted; its tool is one that was used all the same: nobody takes it for not called.
#[tokio::test]
async fn a_call_that_did_not_happen_is_not_counted_and_its_tool_stays_used() {
    let world = World::new().await;
    let after = r#"@id("after") forbid (principal, action == Action::"crm/deploy", resource) when {
        context.session.counters["crm/lookup"] >= 1 || context.session.used_tools.contains("crm/lookup") };"#;
    world.publish(&format!("{POLICY}{after}")).await;
    world.clock.advance(Duration::from_millis(1));
    let later = world.another(1).await;
    let lookup = || of(later, world.call("lookup", json!({})));
    let seen = async || {
        let gathered = world.authority.pip().gather(later, &lookup().request).await;
        let SessionFacts { counters, used_tools, .. } = gathered.expect("it is read").session;
        let used: Vec<_> = used_tools.iter().map(ToString::to_string).collect();
        (json!(counters), used)
    };
    let permit = world.authorize(lookup()).await.expect("it is permitted");
    let used = vec!["crm/lookup".to_owned()];
    assert_eq!(seen().await, (json!({ "calls": 1, "crm/lookup": 1 }), used.clone()));
    drop(permit);
    world.drained().await;
    assert_eq!(seen().await, (json!({ "calls": 0, "crm/lookup": 0 }), used));
}

/// What is called while a set is on its way into force is not remembered for it: a session is only one of those that
/// are opened when it is.
#[tokio::test]
async fn what_is_called_while_a_set_comes_into_force_nobody_takes_for_not_called() {
    let world = World::new().await;
    let once = r#"@id("once") forbid (principal, action == Action::"crm/lookup", resource)
        when { context.session.counters["crm/lookup"] >= 1 };"#;
    let snapshot = world.compile(&format!("{POLICY}{once}")).await;
    let pip = world.authority.pip();
    let lookup = |instance| world.done(of(instance, world.call("lookup", json!({}))));
    let tick = || world.clock.advance(Duration::from_millis(1));
    let active = pip.activating(&snapshot).await.expect("it is read");
    tick();
    let beside = world.another(1).await;
    assert!(lookup(beside).await.is_ok());
    tick();
    let effects = policy_unit(&snapshot).effects.into_iter().chain([active.effect()]).collect();
    let committed = world.store.commit(Unit { effects, ..Unit::default() }).await.unwrap();
    pip.put_in_force(snapshot.clone(), committed.revision);
    // As long as nobody said since when, as after a crash, nothing counts as remembered.
    let sooner = world.another(2).await;
    assert_denied(lookup(beside).await, "unremembered");
    assert_denied(lookup(sooner).await, "unremembered");
    tick();
    let done = active.done(world.clock.now()).expect("it is new");
    let unit = Unit { effects: vec![done], ..Unit::default() };
    let committed = world.store.commit(unit).await.unwrap();
    pip.put_in_force(snapshot.clone(), committed.revision);
    tick();
    let later = world.another(3).await;
    assert_denied(lookup(beside).await, "unremembered");
    assert!(lookup(later).await.is_ok());
    assert_denied(lookup(later).await, "forbidden");
    let again = pip.activating(&snapshot).await.expect("it is read");
    assert!(again.done(world.clock.now()).is_none(), "it was remembered before");
}

/// Lists do not count, nor do denials.
#[tokio::test]
async fn what_is_no_permitted_call_does_not_count() {
    let world = World::with(|facts| facts.task.scope.max_calls = Some(1)).await;
    drop(world.authorize(world.method("tools/list")).await.unwrap());
    assert!(world.authorize(world.call("refund", json!({ "amount": 500 }))).await.is_err());
    assert!(world.done(world.call("lookup", json!({}))).await.is_ok());
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_err());
    assert!(world.authorize(world.method("tools/list")).await.is_ok());
}

/// What is read of a server's resources and prompts counts as a call does; to stop listening does not.
#[tokio::test]
async fn n_088_reading_counts_as_a_call() {
    let world = World::with(|facts| facts.task.scope.max_calls = Some(2)).await;
    let reading = r#"@id("read") permit (principal, action in [Action::"resources/read",
        Action::"resources/unsubscribe", Action::"prompts/get"], resource);"#;
    world.publish(&format!("{POLICY}{reading}")).await;
    let server = world.standing.server.name.clone();
    let uri = "crm://customers".to_owned();
    let resource = || ResourceRef::Resource { server: server.clone(), uri: uri.clone() };
    let prompt = ResourceRef::Prompt { server: server.clone(), name: "summary".to_owned() };
    let act = |name: &str, resource| world.act(ActionName::method(name), resource, Value::Null);
    assert!(world.done(act("resources/read", resource())).await.is_ok());
    assert!(world.done(act("prompts/get", prompt)).await.is_ok());
    let third = world.authorize(act("resources/read", resource())).await;
    let NotPermitted::Denied { denial, .. } = third.expect_err("two are used up") else {
        panic!("it is a denial")
    };
    assert!(matches!(*denial, Denial::LimitReached { .. }), "{denial}");
    assert!(world.authorize(act("resources/unsubscribe", resource())).await.is_ok());
}
