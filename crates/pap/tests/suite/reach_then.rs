//! R49: what was in reach at a time is asked of who answered, of risk, stops, leases and elevations as those were.

use std::time::Duration;

use model::{
    Agent, Clock as _, Elevation, ElevationState, FactKey, Instance, InstanceId, InstanceState,
    Person, PersonState, Risk, RiskLevel, Stop, StopTarget, Task, TaskId, Timestamp,
};
use pap::Command;
use serde_json::{Value, json};
use store::{Effect, Store as _, Unit};

use crate::reach::{desk, reach};
use crate::support::World;

/// The agent calls all tools, unless something is said to be at high risk.
const CALLS: &str = r#"
    @id("calls") permit (principal in Agent::"billing", action in Action::"tools/call", resource in Server::"crm");
    @id("risky") forbid (principal, action in Action::"tools/call", resource) when { context.risk == "high" };
"#;

/// All tools.
const ALL: &[&str] = &["deploy", "lookup", "refund"];

/// A fact as it was, and as it is; none, where there was or is none.
type Change = (FactKey, [Option<Value>; 2]);

const MINUTE: Duration = Duration::from_mins(1);

async fn becomes(world: &World, key: &FactKey, body: Option<Value>) {
    let effect = match body {
        Some(body) => return world.put(key.clone(), &body).await,
        None => Effect::Remove { key: key.clone() },
    };
    let unit = Unit { effects: vec![effect], ..Unit::default() };
    world.store.commit(unit).await.expect("it commits");
}

/// The tools that came, or went, each by what the register tells.
fn told(change: &Value, what: &str) -> Vec<String> {
    let rows = change[what].as_array().expect("a list").iter();
    rows.map(|row| {
        assert_eq!(row["by"], "register", "{change}");
        row["tool"].as_str().and_then(|tool| tool.strip_prefix("crm/")).expect("a tool").to_owned()
    })
    .collect()
}

/// Holds that `gained` came and `lost` went since a fact was otherwise, whoever asks now.
async fn check(change: impl Fn(&World) -> Change, (gained, lost): (&[&str], &[&str])) {
    let desk = desk(CALLS).await;
    let (clock, (key, [then, now])) = (&desk.world.clock, change(&desk.world));
    clock.advance(MINUTE);
    becomes(&desk.world, &key, then).await;
    clock.advance(MINUTE);
    let since = clock.now();
    clock.advance(MINUTE);
    becomes(&desk.world, &key, now).await;
    let answer = reach(&desk, Some(since)).await;
    let change = &answer["change"];
    assert_eq!((told(change, "gained"), told(change, "lost")), strings(gained, lost), "{key}");
}

fn strings(gained: &[&str], lost: &[&str]) -> (Vec<String>, Vec<String>) {
    let owned = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
    (owned(gained), owned(lost))
}

fn agent(world: &World, change: impl FnOnce(&mut Agent, Timestamp)) -> Change {
    let is = &world.standing.agent;
    let mut was = is.clone();
    change(&mut was, world.clock.now());
    (FactKey::agent(&is.name), [Some(json!(was)), Some(json!(is))])
}

fn instance(world: &World, state: InstanceState) -> Change {
    let is = &world.standing.instance;
    let was = Instance { state, ..is.clone() };
    (FactKey::instance(is.id), [Some(json!(was)), Some(json!(is))])
}

fn stop(world: &World) -> (FactKey, Value) {
    let (what, by) = (StopTarget::All, world.standing.sponsor.id.clone());
    let (reason, since) = ("test".to_owned(), world.clock.now());
    (FactKey::stop(&what), json!(Stop { what, by, reason, since, wish: None }))
}

/// At high risk since `since`.
fn high(since: Timestamp) -> Risk {
    Risk { level: RiskLevel::High, since }
}

#[tokio::test]
async fn r_49_what_stood_in_the_way_then_is_asked_of_then() {
    let reversed = |(key, [then, now]): Change| (key, [now, then]);
    let risk = |world: &World| agent(world, |it, now| it.risk = Some(high(now)));
    check(risk, (ALL, &[])).await;
    check(|world| reversed(risk(world)), (&[], ALL)).await;
    let stopped = |world: &World| {
        let (key, stop) = stop(world);
        (key, [Some(stop), None])
    };
    check(stopped, (ALL, &[])).await;
    check(|world| reversed(stopped(world)), (&[], ALL)).await;
    check(|world| agent(world, |it, now| it.valid_until = Some(now.plus(MINUTE / 2))), (ALL, &[]))
        .await;
    let nobody = || "nobody@example.org".parse().expect("a person");
    check(
        |world| agent(world, |it, _| it.technical_owner = nobody()),
        (&["deploy", "refund"], &[]),
    )
    .await;
    let left = |world: &World| {
        let is = &world.standing.sponsor;
        let state = PersonState::Inactive { since: world.clock.now() };
        let was = Person { state, ..is.clone() };
        (FactKey::person(&is.id), [Some(json!(was)), Some(json!(is))])
    };
    check(left, (ALL, &[])).await;
    let quarantined = |world: &World| {
        let (signal, since) = ("test".to_owned(), world.clock.now());
        instance(world, InstanceState::Quarantined { signal, since })
    };
    check(quarantined, (ALL, &[])).await;
    check(|world| reversed(quarantined(world)), (&[], ALL)).await;
    let narrow = |world: &World| {
        let is = &world.standing.task;
        (FactKey::task(is.id), [Some(json!(narrowed(is))), Some(json!(is))])
    };
    check(narrow, (&["deploy", "refund"], &[])).await;
}

/// `task` for `crm/lookup` alone.
fn narrowed(task: &Task) -> Task {
    let mut task = task.clone();
    task.scope.tools = ["crm/lookup".parse().expect("a tool")].into();
    task
}

/// What is taken as it is now, a line each, but for what is always so.
fn as_now(change: &Value) -> Vec<String> {
    let rows = change["as_now"].as_array().expect("a list").iter();
    let rows = rows.map(|row| [&row["what"], &row["why"]].map(|it| it.as_str().expect("a text")));
    let (always, others): (Vec<_>, Vec<_>) = rows.partition(|[_, why]| *why == "not_kept");
    let always: Vec<_> = always.iter().map(|[what, _]| *what).collect();
    assert_eq!(always, ["new_instances", "servers", "session", "tools"]);
    others.iter().map(|[what, why]| format!("{what} {why}")).collect()
}

#[tokio::test]
async fn r_49_an_elevation_counts_in_its_time() {
    let desk = desk(CALLS).await;
    let (world, clock) = (&desk.world, &desk.world.clock);
    let task = narrowed(&world.standing.task);
    world.put(FactKey::task(task.id), &task).await;
    let before = clock.now();
    clock.advance(MINUTE);
    let elevation = world.elevate(&task, &["refund"]).await;
    clock.advance(MINUTE / 2);
    let during = clock.now();
    let check = async |since: Timestamp, (gained, lost): (&[&str], &[&str]), named: &[String]| {
        let answer = reach(&desk, Some(since)).await;
        let change = &answer["change"];
        assert_eq!((told(change, "gained"), told(change, "lost")), strings(gained, lost));
        assert_eq!(as_now(change), named);
    };
    clock.advance(Duration::from_millis(1));
    check(before, (&["refund"], &[]), &[]).await;
    check(during, (&[], &[]), &[]).await;
    let id = elevation.id;
    let (by, reason, since) = (elevation.asked_by.clone(), "done".to_owned(), clock.now());
    let state = ElevationState::Revoked { by, reason, since };
    clock.advance(MINUTE);
    // It ended by itself, as it has it.
    check(during, (&[], &["refund"]), &[]).await;
    check(before, (&[], &[]), &[]).await;
    // Of one that was taken back it is not kept when it began.
    world.put(FactKey::elevation(id), &Elevation { state, ..elevation }).await;
    check(during, (&[], &[]), &[format!("{id} revoked_since")]).await;
    check(before, (&[], &[]), &[]).await;
    check(since, (&[], &[]), &[]).await;
}

/// Of work that began later it is asked what it could have done, as it is.
#[tokio::test]
async fn r_49_what_began_later_is_named() {
    let desk = desk(CALLS).await;
    let (world, clock) = (&desk.world, &desk.world.clock);
    clock.advance(MINUTE);
    let since = clock.now();
    clock.advance(MINUTE);
    let (id, own) = (InstanceId::from_bytes([21; 16]), TaskId::from_bytes([22; 16]));
    let started = clock.now();
    let instance = Instance { id, task: own, started, ..world.standing.instance.clone() };
    let task = Task { id: own, instance: id, opened: started, ..world.standing.task.clone() };
    world.put(FactKey::instance(id), &instance).await;
    world.put(FactKey::task(own), &task).await;
    let command = Command::Reach { instance: id.to_string(), since: Some(since) };
    let change = desk.run(command).await.expect("it is told")["change"].clone();
    assert_eq!((told(&change, "gained"), told(&change, "lost")), strings(&[], &[]));
    assert_eq!(as_now(&change), [format!("{id} began_later")]);
}
