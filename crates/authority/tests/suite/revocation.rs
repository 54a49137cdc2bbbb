//! I-10, I-11: after a revocation returns, no decision that used older facts commits.

use std::sync::Arc;

use authority::{AdminAct, ChangedBy, NotPermitted};
use model::record::{SystemRecord, VERSION};
use model::{
    Agent, AgentState, Device, DeviceState, Elevation, FactKey, Instance, InstanceState, Person,
    PersonState, RecordId, ResourceRef, Task, TaskState, Thumbprint,
};
use proptest::prelude::*;
use serde_json::json;
use store::{Effect, Store as _, Unit};

use crate::support::elevations::{approving, revoking};
use crate::support::runs::run;
use crate::support::stores::OnCommit;
use crate::support::{Facts, World, put};

/// How often deciders and revokers act in one case.
const ROUNDS: usize = 12;

/// A device of the agent that somebody else than its sponsor enrolled.
pub(crate) fn device(facts: &Facts, number: u8) -> Device {
    Device {
        agent: facts.agent.name.clone(),
        id: Thumbprint::from_bytes([number; 32]),
        key: json!({}),
        name: "laptop".to_owned(),
        by: facts.other.id.clone(),
        enrolled: facts.task.opened,
        valid_until: facts.task.deadline,
        state: DeviceState::Active,
    }
}

/// Asserts that `broken` standing is denied for `reason`.
async fn check(broken: impl FnOnce(&mut Facts), reason: &str) {
    let world = World::with(broken).await;
    for act in [world.call("lookup", json!({})), world.method("tools/list")] {
        match world.authorize(act).await {
            Err(NotPermitted::Denied { denial, .. }) => assert_eq!(denial.code(), reason),
            other => panic!("{reason}: {other:?}"),
        }
    }
    let reasons: Vec<_> = world.records("decision").await;
    assert!(reasons.iter().all(|it| it.text_of("reason") == reason));
}

#[tokio::test]
async fn i_10_an_acting_instance_has_everybody_active_behind_it() {
    let now = World::new().await.standing.task.opened;
    let since = now;
    check(|it| it.sponsor.state = PersonState::Inactive { since }, "sponsor_not_active").await;
    let cutoff = PersonState::Active { authorization_cutoff: Some(now) };
    check(|it| it.sponsor.state = cutoff, "sponsor_not_active").await;
    let suspended = AgentState::Suspended { reason: String::new(), since };
    check(|it| it.agent.state = suspended, "actor_not_active").await;
    check(|it| it.agent.state = AgentState::Retired { since }, "actor_not_active").await;
    check(|it| it.agent.key_expires = now, "actor_not_active").await;
    check(|it| it.agent.valid_until = Some(now), "lease_ended").await;
    let revoked = InstanceState::Revoked { reason: String::new(), since };
    check(|it| it.instance.state = revoked, "actor_not_active").await;
    let ended = TaskState::Ended { how: model::TaskEnd::Revoked, reason: String::new(), since };
    check(|it| it.task.state = ended, "task_not_open").await;
    check(|it| it.task.deadline = now, "task_not_open").await;
    check(|it| it.mandate.valid_until = now, "mandate_not_valid").await;
}

/// Takes something away, as of an instant.
type TakesAway = fn(&World, model::Timestamp) -> Effect;

/// Whatever is taken away between the reading and the commit is seen by the decision.
#[tokio::test]
async fn i_11_a_revocation_between_reading_and_commit_is_seen() {
    let since = World::new().await.standing.task.opened;
    let takes_away: [(&str, TakesAway); 5] = [
        ("sponsor_not_active", |world, since| {
            let person = world.standing.sponsor.clone();
            put(
                FactKey::person(&person.id),
                &Person { state: PersonState::Inactive { since }, ..person.clone() },
            )
        }),
        ("actor_not_active", |world, since| {
            let state = AgentState::Suspended { reason: String::new(), since };
            let agent = Agent { state, ..world.standing.agent.clone() };
            put(FactKey::agent(&agent.name), &agent)
        }),
        ("actor_not_active", |world, since| {
            let state = InstanceState::Revoked { reason: String::new(), since };
            let instance = Instance { state, ..world.standing.instance.clone() };
            put(FactKey::instance(instance.id), &instance)
        }),
        ("task_not_open", |world, since| {
            let state =
                TaskState::Ended { how: model::TaskEnd::Revoked, reason: String::new(), since };
            let task = Task { state, ..world.standing.task.clone() };
            put(FactKey::task(task.id), &task)
        }),
        ("tool_not_pinned", |world, since| {
            let mut tool = world.standing.tools[0].clone();
            tool.state = model::ToolState::Gone { seen: since };
            put(FactKey::tool(&tool.tool), &tool)
        }),
    ];
    for (reason, takes_away) in takes_away {
        let world = World::new().await;
        // Once before, so that everything is known and nothing need be read again.
        drop(world.authorize(world.call("lookup", json!({}))).await.unwrap());
        let unit = Unit { effects: vec![takes_away(&world, since)], ..Unit::default() };
        world.store.on_commit([OnCommit::After(unit)]);
        match world.authorize(world.call("lookup", json!({}))).await {
            Err(NotPermitted::Denied { denial, .. }) => assert_eq!(denial.code(), reason),
            other => panic!("{reason}: {other:?}"),
        }
    }
}

/// The device that vouched for an instance, and who enrolled it, stand behind it like its sponsor.
#[tokio::test]
async fn i_11_a_device_that_is_taken_away_between_reading_and_commit_is_seen() {
    let takes_away: [fn(&Device, &Person) -> Effect; 2] = [
        |device, _| {
            let state = DeviceState::Revoked { reason: String::new(), since: device.enrolled };
            put(FactKey::device(&device.agent, &device.id), &Device { state, ..device.clone() })
        },
        |device, by| {
            let state = PersonState::Inactive { since: device.enrolled };
            put(FactKey::person(&by.id), &Person { state, ..by.clone() })
        },
    ];
    for takes_away in takes_away {
        let world = World::new().await;
        let facts = &world.standing;
        let device = device(facts, 7);
        let instance = Instance { device: Some(device.id), ..facts.instance.clone() };
        world.put(FactKey::device(&device.agent, &device.id), &device).await;
        world.put(FactKey::instance(instance.id), &instance).await;
        drop(world.authorize(world.call("lookup", json!({}))).await.unwrap());
        let unit = Unit { effects: vec![takes_away(&device, &facts.other)], ..Unit::default() };
        world.store.on_commit([OnCommit::After(unit)]);
        match world.authorize(world.call("lookup", json!({}))).await {
            Err(NotPermitted::Denied { denial, .. }) => {
                assert_eq!(denial.code(), "device_not_active");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn i_11_a_policy_that_takes_away_between_reading_and_commit_is_seen() {
    let world = World::new().await;
    let snapshot = world.compile(r#"@id("no") forbid (principal, action, resource);"#).await;
    let unit = crate::support::policy_unit(&snapshot);
    // Nobody tells the authority: it finds out by itself.
    world.store.on_commit([OnCommit::After(unit)]);
    match world.authorize(world.call("lookup", json!({}))).await {
        Err(NotPermitted::Denied { denial, .. }) => assert_eq!(denial.code(), "not_granted"),
        other => panic!("{other:?}"),
    }
}

/// The administrator's own standing counts at the commit too.
#[tokio::test]
async fn i_11_an_administrator_who_is_deactivated_meanwhile_changes_nothing() {
    let world = World::new().await;
    world.store.on_commit([OnCommit::After(world.sponsor_leaves())]);
    let key = FactKey::from_text("mark");
    let act = AdminAct {
        by: ChangedBy::person(world.standing.sponsor.id.clone()),
        action: "person/add",
        target: ResourceRef::Person(world.standing.other.id.clone()),
        change: json!({}),
        reads: (Vec::new(), model::Revision(u64::MAX)),
        effects: vec![put(key.clone(), &json!({}))],
    };
    assert!(world.authority.administer(act).await.is_err());
    assert_eq!(world.store.load(&[key]).await.unwrap().bodies, [None]);
    let record = world.records("administration").await.pop().unwrap();
    assert_eq!(record.text_of("reason"), "administrator_not_active");
}

/// An elevation that is taken back between the reading and the commit is seen, and so is who leaves.
#[tokio::test]
async fn r_54_an_elevation_taken_back_between_reading_and_commit_is_seen() {
    type Ends = fn(&World, &Elevation) -> Unit;
    let leaves = |world: &World, _: &Elevation| {
        let state = PersonState::Inactive { since: world.standing.task.opened };
        let person = Person { state, ..world.standing.other.clone() };
        Unit { effects: vec![put(FactKey::person(&person.id), &person)], ..Unit::default() }
    };
    let taken_back: Ends = |_, elevation| revoking(elevation);
    for ends in [taken_back, leaves] {
        let world = narrow().await;
        let elevation = world.elevate(&world.standing.task, &["refund"]).await;
        let refund = || world.authorize(world.call("refund", json!({ "amount": 5 })));
        drop(refund().await.unwrap());
        world.store.on_commit([OnCommit::After(ends(&world, &elevation))]);
        match refund().await {
            Err(NotPermitted::Denied { denial, .. }) => assert_eq!(denial.code(), "outside_scope"),
            other => panic!("{other:?}"),
        }
    }
}

/// A deployment whose task is for looking up alone.
async fn narrow() -> World {
    World::with(|facts| {
        facts.task.scope.tools = ["crm/lookup".parse().expect("a pattern")].into();
    })
    .await
}

/// What is turned off and on again, and who notices how.
struct Switch {
    world: World,
    tool: &'static str,
    /// Why a call is denied while it is off.
    denied: &'static str,
    /// What turns it off, and on.
    turns: [Vec<Effect>; 2],
}

impl Switch {
    async fn sponsor() -> Self {
        let world = World::new().await;
        let person = &world.standing.sponsor;
        let on = vec![put(FactKey::person(&person.id), person)];
        let turns = [world.sponsor_leaves().effects, on];
        Self { world, tool: "lookup", denied: "sponsor_not_active", turns }
    }

    async fn elevation() -> Self {
        let world = narrow().await;
        let elevation = world.elevate(&world.standing.task, &["refund"]).await;
        let turns = [revoking(&elevation).effects, approving(&elevation).effects];
        Self { world, tool: "refund", denied: "outside_scope", turns }
    }

    /// A unit that turns it, with a record that says so.
    fn turn(&self, on: bool) -> Unit {
        let record = SystemRecord {
            details: std::collections::BTreeMap::new(),
            event: if on { "turned_on" } else { "turned_off" }.to_owned(),
            id: RecordId::new(self.world.standing.task.opened, self.world.entropy.as_ref()),
            kind: "system".to_owned(),
            time: self.world.standing.task.opened,
            v: VERSION,
        };
        let entries = vec![authority::entry(*record.id.as_bytes(), &record, None)];
        Unit { entries, effects: self.turns[usize::from(on)].clone(), ..Unit::default() }
    }
}

/// Deciders and a revoker at once, in whatever order they get to it. `pace` says how often each
/// decider lets others go first.
async fn interleave(switch: Switch, pace: Vec<u8>) -> Arc<Switch> {
    let switch = Arc::new(switch);
    let mut all = Vec::new();
    for (decider, pace) in pace.into_iter().enumerate() {
        let switch = switch.clone();
        all.push(tokio::spawn(async move {
            let Switch { world, tool, denied, .. } = switch.as_ref();
            for round in 0..ROUNDS {
                for _ in 0..pace {
                    tokio::task::yield_now().await;
                }
                // Each act by itself, so that no outcome of one is awaited for another.
                let account = format!("{decider}-{round}");
                let act = world.call(tool, json!({ "account": account, "amount": 5 }));
                match world.authorize(act).await {
                    Ok(permit) => drop(permit),
                    Err(NotPermitted::Denied { denial, .. }) => assert_eq!(denial.code(), *denied),
                    Err(NotPermitted::Contended) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }));
    }
    let revoker = switch.clone();
    all.push(tokio::spawn(async move {
        for round in 0..ROUNDS {
            let turned = revoker.world.store.commit(revoker.turn(round % 2 == 1)).await;
            turned.expect("it commits");
            // From here on nobody is permitted who read before: the log is the witness.
        }
    }));
    for task in all {
        task.await.expect("nobody panics");
    }
    switch
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// The order of the log is the order of authority: between *off* and *on* nothing is permitted.
    #[test]
    fn i_11_no_permit_stands_after_the_revocation_that_it_did_not_see(
        pace in prop::collection::vec(0_u8..20, 1..5),
        elevated in any::<bool>(),
    ) {
        let log = run(async {
            let switch = if elevated { Switch::elevation().await } else { Switch::sponsor().await };
            interleave(switch, pace).await.world.log().await
        });
        let mut on = true;
        for entry in log {
            match (entry.text_of("kind"), entry.text_of("event"), entry.text_of("decision")) {
                ("system", "turned_on", _) => on = true,
                ("system", "turned_off", _) => on = false,
                ("decision", _, "permit") => {
                    prop_assert!(on, "permitted at {} after the revocation", entry.index);
                }
                _ => {}
            }
        }
    }
}
