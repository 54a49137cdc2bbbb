//! R36, R76: an act under way is decided again when what it rests on changes, and cut if it is denied.

use std::time::Duration;

use authority::{Begun, Cut, REVIEW_INTERVAL, Watch};
use futures::FutureExt as _;
use model::record::OutcomeKind;
use model::{
    Agent, AgentState, Clock as _, Denial, Elevation, FactKey, Instance, InstanceState, Mandate,
    Person, PersonState, Risk, RiskLevel, Task, TaskState, Withdrawn,
};
use serde_json::{Value, json};
use store::{Effect, Store as _, Unit};

use crate::support::elevations::revoking;
use crate::support::stores::OnLoad;
use crate::support::{Act, DECISION_TIMEOUT, POLICY, World, put};

/// A call under way.
async fn begun(world: &World, tool: &str, input: Value) -> (Watch, Begun<Act>) {
    let permit = world.authorize(world.call(tool, input)).await.expect("it is permitted");
    let watch = world.authority.watch(&permit);
    (watch, permit.begin(world.clock.as_ref()).expect("it begins"))
}

/// Whether `watch` says nothing, though it looked at every change so far.
async fn goes_on(watch: &Watch) -> bool {
    let looked = tokio::time::timeout(Duration::from_millis(200), watch.no_longer_permitted());
    looked.await.is_err()
}

/// A call under way is cut for `code` when `change` is committed.
async fn check(change: impl FnOnce(&World) -> Unit, code: &str) {
    let world = World::new().await;
    let (watch, begun) = begun(&world, "lookup", json!({})).await;
    let asked = watch.no_longer_permitted();
    tokio::pin!(asked);
    assert!((&mut asked).now_or_never().is_none(), "nothing has changed");
    world.store.commit(change(&world)).await.unwrap();
    match asked.await {
        Cut::Denied(denial) => assert_eq!(denial.code(), code),
        Cut::Undecidable(why) => panic!("{why}"),
    }
    begun.running.finish(OutcomeKind::Cut, None);
    world.drained().await;
    assert_eq!(world.outcomes().await, ["cut"]);
    assert_eq!(world.records("decision").await.len(), 1, "deciding again is not recorded");
}

#[tokio::test]
async fn r_36_a_call_under_way_is_cut_when_what_it_rests_on_is_taken_away() {
    check(World::sponsor_leaves, "sponsor_not_active").await;
    let suspended = |world: &World| {
        let state =
            AgentState::Suspended { reason: String::new(), since: world.standing.task.opened };
        let agent = Agent { state, ..world.standing.agent.clone() };
        Unit { effects: vec![put(FactKey::agent(&agent.name), &agent)], ..Unit::default() }
    };
    check(suspended, "actor_not_active").await;
    let quarantined = |world: &World| {
        let since = world.standing.task.opened;
        let state = InstanceState::Quarantined { signal: String::new(), since };
        let instance = Instance { state, ..world.standing.instance.clone() };
        let effects = vec![put(FactKey::instance(instance.id), &instance)];
        Unit { effects, ..Unit::default() }
    };
    check(quarantined, "instance_quarantined").await;
    let ended = |world: &World| {
        let state = TaskState::Ended {
            how: model::TaskEnd::Revoked,
            reason: String::new(),
            since: world.standing.task.opened,
        };
        let task = Task { state, ..world.standing.task.clone() };
        Unit { effects: vec![put(FactKey::task(task.id), &task)], ..Unit::default() }
    };
    check(ended, "task_not_open").await;
    let withdrawn = |world: &World| {
        let withdrawn = Withdrawn { reason: String::new(), since: world.standing.task.opened };
        let mandate = Mandate { withdrawn: Some(withdrawn), ..world.standing.mandate.clone() };
        Unit { effects: vec![put(FactKey::mandate(mandate.id), &mandate)], ..Unit::default() }
    };
    check(withdrawn, "mandate_not_valid").await;
    let compromised = |world: &World| {
        let agent = Agent { keys_compromised: Some(1), ..world.standing.agent.clone() };
        Unit { effects: vec![put(FactKey::agent(&agent.name), &agent)], ..Unit::default() }
    };
    check(compromised, "agent_key_compromised").await;
    let gone = |world: &World| {
        let mut tool = world.standing.tools[0].clone();
        tool.state = model::ToolState::Gone { seen: world.standing.task.opened };
        Unit { effects: vec![put(FactKey::tool(&tool.tool), &tool)], ..Unit::default() }
    };
    check(gone, "tool_not_pinned").await;
}

/// R76: a change of who answers for what acts, or of whether it may, is felt in mid-call: no review is waited for.
#[tokio::test]
async fn r_76_a_call_under_way_is_cut_by_what_a_review_would_find_later() {
    let of_sponsor = |change: fn(&World, &Person) -> Person| {
        move |world: &World| {
            world.clock.advance(Duration::from_secs(1));
            let is = change(world, &world.standing.sponsor);
            Unit { effects: vec![put(FactKey::person(&is.id), &is)], ..Unit::default() }
        }
    };
    let moves = |world: &World, was: &Person| {
        let manager = Some(world.standing.other.id.clone());
        was.becomes(Person { manager, ..was.clone() }, world.clock.now())
    };
    check(of_sponsor(moves), "sponsor_moved").await;
    // Who left and is back answers for nothing of before.
    let is_back = |world: &World, was: &Person| {
        let state = PersonState::Active { authorization_cutoff: Some(world.clock.now()) };
        Person { state, ..was.clone() }
    };
    check(of_sponsor(is_back), "sponsor_not_active").await;
    let taken_over = |world: &World| {
        world.clock.advance(Duration::from_secs(1));
        let (sponsor, registered) = (world.standing.other.id.clone(), world.clock.now());
        let agent = Agent { sponsor, registered, ..world.standing.agent.clone() };
        Unit { effects: vec![put(FactKey::agent(&agent.name), &agent)], ..Unit::default() }
    };
    check(taken_over, "taken_over").await;
    let revoked = |world: &World| {
        let (reason, since) = (String::new(), world.standing.task.opened);
        let state = InstanceState::Revoked { reason, since };
        let instance = Instance { state, ..world.standing.instance.clone() };
        let effects = vec![put(FactKey::instance(instance.id), &instance)];
        Unit { effects, ..Unit::default() }
    };
    check(revoked, "actor_not_active").await;
}

#[tokio::test]
async fn r_36_a_call_under_way_is_cut_when_policy_no_longer_permits_it() {
    let world = World::new().await;
    let (watch, _begun) = begun(&world, "lookup", json!({})).await;
    // Another set that still permits it.
    let other = r#"@id("other") permit (principal, action == Action::"crm/lookup", resource);"#;
    world.publish(other).await;
    assert!(goes_on(&watch).await);
    world.publish(r#"@id("none") forbid (principal, action, resource);"#).await;
    let Cut::Denied(denial) = watch.no_longer_permitted().await else { panic!("it is denied") };
    assert!(matches!(*denial, Denial::NotGranted { .. } | Denial::Forbidden { .. }));
}

/// Who is found to be at risk while it calls is cut, if policy says so.
#[tokio::test]
async fn r_36_a_call_under_way_is_cut_when_its_agent_is_at_risk() {
    let world = World::new().await;
    let calm = r#"@id("calm") forbid (principal, action in Action::"tools/call", resource)
                  when { context.risk == "high" };"#;
    world.publish(&format!("{POLICY}{calm}")).await;
    let (watch, _begun) = begun(&world, "lookup", json!({})).await;
    for (level, is_cut) in [(RiskLevel::Medium, false), (RiskLevel::High, true)] {
        let risk = Some(Risk { level, since: world.clock.now() });
        let agent = Agent { risk, ..world.standing.agent.clone() };
        world.put(FactKey::agent(&agent.name), &agent).await;
        assert_eq!(goes_on(&watch).await, !is_cut, "{level:?}");
    }
    let Cut::Denied(denial) = watch.no_longer_permitted().await else { panic!("it is denied") };
    assert_eq!(denial.code(), "forbidden");
}

#[tokio::test]
async fn a_change_that_takes_nothing_away_cuts_nothing() {
    let world = World::new().await;
    let (watch, _begun) = begun(&world, "refund", json!({ "amount": 5 })).await;
    let person = &world.standing.sponsor;
    world.put(FactKey::person(&person.id), person).await;
    world.put(FactKey::from_text("person/somebody-else"), &json!({})).await;
    // An equal act that was lost forbids the next one, not this one.
    let (_, lost) = begun(&world, "refund", json!({ "amount": 5 })).await;
    drop(lost);
    crate::support::until("the loss is recorded", || async {
        world.outcomes().await == ["unknown"]
    })
    .await;
    assert!(goes_on(&watch).await);
}

/// Has a set permit a look-up for an hour, and nothing after it.
async fn for_an_hour(world: &World) {
    let until = world.clock.now().plus(Duration::from_hours(1));
    let hours = format!(
        r#"@id("hours") permit (principal, action == Action::"crm/lookup", resource)
           when {{ context.now < datetime("{until}") }};"#
    );
    world.publish(&hours).await;
}

/// A set that looks at the clock is asked again though nothing has changed but the time.
#[tokio::test]
async fn r_36_a_call_under_way_is_cut_when_its_hours_are_over() {
    let world = World::new().await;
    for_an_hour(&world).await;
    let (watch, _begun) = begun(&world, "lookup", json!({})).await;
    assert!(goes_on(&watch).await);
    world.clock.advance(Duration::from_hours(2));
    let Cut::Denied(denial) = watch.no_longer_permitted().await else { panic!("it is denied") };
    assert_eq!(denial.code(), "not_granted");
}

/// As the service is run: what no change tells of is found within ten seconds.
#[tokio::test]
async fn r_36_a_call_under_way_is_decided_again_every_ten_seconds() {
    let world = World::with(|facts| facts.limits.review_interval = REVIEW_INTERVAL).await;
    for_an_hour(&world).await;
    let (watch, _begun) = begun(&world, "lookup", json!({})).await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let asked = watch.no_longer_permitted();
    tokio::pin!(asked);
    assert!((&mut asked).now_or_never().is_none(), "nothing has changed");
    world.clock.advance(Duration::from_hours(2));
    let Cut::Denied(denial) = asked.await else { panic!("it is denied") };
    assert_eq!(denial.code(), "not_granted");
    assert_eq!(began.elapsed().as_secs(), 10);
}

/// What it counted itself is no reason to cut it.
#[tokio::test]
async fn a_call_under_way_is_decided_again_with_the_counters_that_it_had() {
    let world = World::new().await;
    let first = r#"@id("first") permit (principal, action == Action::"crm/lookup", resource)
                   when { context.session.counters.calls < 1 };"#;
    world.publish(first).await;
    let (watch, _begun) = begun(&world, "lookup", json!({})).await;
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_err(), "that was the first");
    let agent = &world.standing.agent;
    world.put(FactKey::agent(&agent.name), agent).await;
    assert!(goes_on(&watch).await);
}

/// A change that came before anybody watched is seen when somebody does.
#[tokio::test]
async fn a_change_between_the_permit_and_the_watching_is_seen() {
    let world = World::new().await;
    let (watch, _begun) = begun(&world, "lookup", json!({})).await;
    world.store.commit(world.sponsor_leaves()).await.unwrap();
    assert!(matches!(watch.no_longer_permitted().await, Cut::Denied(_)));
}

#[tokio::test]
async fn what_cannot_be_decided_again_is_cut() {
    // The facts cannot be read.
    let world = World::new().await;
    let (watch, _begun) = begun(&world, "lookup", json!({})).await;
    let agent = &world.standing.agent;
    world.put(FactKey::agent(&agent.name), agent).await;
    world.store.on_load([OnLoad::Fail]);
    assert!(matches!(watch.no_longer_permitted().await, Cut::Undecidable(_)));
    // They are gone.
    let world = World::new().await;
    let (watch, _begun) = begun(&world, "lookup", json!({})).await;
    let effects = vec![Effect::Remove { key: FactKey::mandate(world.standing.mandate.id) }];
    world.store.commit(Unit { effects, ..Unit::default() }).await.unwrap();
    assert!(matches!(watch.no_longer_permitted().await, Cut::Undecidable(_)));
    // The reading hangs: at the deadline.
    let world = World::new().await;
    let (watch, _begun) = begun(&world, "lookup", json!({})).await;
    world.put(FactKey::agent(&world.standing.agent.name), &world.standing.agent).await;
    world.store.on_load([OnLoad::Hang]);
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    assert!(matches!(watch.no_longer_permitted().await, Cut::Undecidable(_)));
    assert!(began.elapsed() < DECISION_TIMEOUT + Duration::from_millis(50));
}

/// What an act is beyond its task by is taken back, or is over, or who wanted it leaves.
#[tokio::test]
async fn r_54_a_call_under_way_is_cut_when_its_elevation_ends() {
    type Ends = fn(&World, &Elevation) -> Unit;
    let leaves = |world: &World, _: &Elevation| {
        let state = PersonState::Inactive { since: world.clock.now() };
        let person = Person { state, ..world.standing.other.clone() };
        Unit { effects: vec![put(FactKey::person(&person.id), &person)], ..Unit::default() }
    };
    let over = |world: &World, _: &Elevation| {
        world.clock.advance(Duration::from_mins(1));
        Unit::default()
    };
    let taken_back: Ends = |_, elevation| revoking(elevation);
    for end in [taken_back, leaves, over] {
        let narrow = World::with(|facts| {
            facts.task.scope.tools = ["crm/lookup".parse().expect("a tool")].into();
        });
        let world = narrow.await;
        let elevation = world.elevate(&world.standing.task, &["refund"]).await;
        let (watch, _begun) = begun(&world, "refund", json!({ "amount": 5 })).await;
        assert!(goes_on(&watch).await);
        world.store.commit(end(&world, &elevation)).await.unwrap();
        let Cut::Denied(denial) = watch.no_longer_permitted().await else { panic!("it is denied") };
        assert_eq!(denial.code(), "outside_scope");
    }
}

/// A deadline is a change that nobody reports.
#[tokio::test]
async fn r_36_a_call_under_way_is_cut_when_its_task_ends_by_itself() {
    let world = World::new().await;
    let (watch, _begun) = begun(&world, "lookup", json!({})).await;
    let until = world.standing.task.deadline.since(world.standing.task.opened);
    tokio::time::pause();
    let clock = world.clock.clone();
    let asked = watch.no_longer_permitted();
    tokio::pin!(asked);
    assert!((&mut asked).now_or_never().is_none());
    clock.advance(until);
    let Cut::Denied(denial) = asked.await else { panic!("it is denied") };
    assert_eq!(denial.code(), "task_not_open");
}

#[tokio::test]
async fn what_has_changed_is_read_once_for_all_acts_that_rest_on_it() {
    let world = World::new().await;
    let mut under_way = Vec::new();
    for _ in 0..8 {
        under_way.push(begun(&world, "lookup", json!({})).await);
    }
    let asked = under_way.iter().map(|(watch, _)| watch.no_longer_permitted());
    let asked = futures::future::join_all(asked);
    tokio::pin!(asked);
    assert!((&mut asked).now_or_never().is_none(), "nothing has changed");
    let before = world.store.loaded();
    world.store.commit(world.sponsor_leaves()).await.unwrap();
    let cuts = asked.await;
    assert!(cuts.iter().all(|cut| matches!(cut, Cut::Denied(_))));
    assert_eq!(world.store.loaded() - before, 1);
}
