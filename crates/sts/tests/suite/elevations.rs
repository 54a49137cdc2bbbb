//! Elevations in work that is handed on: what is beyond a task is its holder's alone, and no token
//! outlives the elevation that it rests on.

use std::sync::Arc;
use std::time::Duration;

use keys::{Signer as _, SigningKey};
use model::{Agent, Device, DeviceState, Elevation, FactKey, Harm, Instance};
use oauth::ErrorCode;
use store::Store as _;

use crate::client::{Sts, key};
use crate::delegation::{Holder, WAYS, before, calls, hand_on, part, party, task_of};
use crate::devices::id;
use crate::support::elevations::revoking;
use crate::support::person;

/// Approves that `holder` may call `tools` for a minute, and nothing else beyond its task.
pub(crate) async fn elevate(sts: &Sts, holder: &Holder, tools: &[&str]) -> Elevation {
    sts.world.elevate(&task_of(sts, holder).await, tools).await
}

/// Takes `elevation` back.
pub(crate) async fn revoke(sts: &Sts, elevation: &Elevation) {
    sts.world.store.commit(revoking(elevation)).await.expect("it commits");
}

/// A child that may not refund does so once it is elevated, until that is over or taken back; nobody
/// above, below or beside it does by that.
#[tokio::test]
async fn r_54_an_elevation_is_its_holders_alone_and_not_handed_on() {
    for way in WAYS {
        let (sts, lead, reader) = before().await;
        let deep = party(&sts, "deep").await;
        let child = hand_on(&sts, &lead, (&reader, way), &part(&sts)).await.expect("a token");
        let below = hand_on(&sts, &child, (&deep, way), &part(&sts)).await.expect("a token");
        let beside = hand_on(&sts, &lead, (&deep, way), &part(&sts)).await.expect("a token");
        let outside = Err("outside_scope".to_owned());
        assert_eq!(calls(&sts, &child, "refund").await, outside);
        let first = elevate(&sts, &child, &["refund"]).await;
        // By the token that it has.
        assert_eq!(calls(&sts, &child, "refund").await, Ok(()));
        for holder in [&below, &beside] {
            assert_eq!(calls(&sts, holder, "refund").await, outside);
        }
        let mut wider = part(&sts);
        wider.tools.push("crm/refund".to_owned());
        wider.harm = Harm::ALL.map(|harm| harm.to_string()).to_vec();
        let handed = hand_on(&sts, &child, (&deep, way), &wider).await;
        assert_eq!(handed.map(drop).map_err(|it| it.code), Err(ErrorCode::InvalidScope));
        revoke(&sts, &first).await;
        assert_eq!(calls(&sts, &child, "refund").await, outside);
        elevate(&sts, &child, &["refund"]).await;
        assert_eq!(calls(&sts, &child, "refund").await, Ok(()));
        sts.world.clock.advance(Duration::from_mins(1));
        assert_eq!(calls(&sts, &child, "refund").await, outside);
    }
}

/// A token for a server that only an elevation lets its task reach ends with that.
#[tokio::test]
async fn r_54_no_token_outlives_the_elevation_that_it_rests_on() {
    let (sts, lead, _) = before().await;
    let task = task_of(&sts, &lead).await;
    let mut narrow = task.clone();
    narrow.scope.tools = ["desk/*".parse().expect("a pattern")].into();
    sts.world.put(FactKey::task(task.id), &narrow).await;
    let renewed = async || sts.send(sts.request(&lead.key)).await;
    assert_eq!(renewed().await.map(drop).map_err(|it| it.code), Err(ErrorCode::InvalidTarget));
    elevate(&sts, &lead, &["refund"]).await;
    sts.world.clock.advance(Duration::from_secs(18));
    assert_eq!(renewed().await.expect("a token").expires_in, 42);
    sts.world.clock.advance(Duration::from_secs(42));
    assert_eq!(renewed().await.map(drop).map_err(|it| it.code), Err(ErrorCode::InvalidTarget));
}

/// Names two owners for the agent `name` who stand behind nothing else.
async fn own(sts: &Sts, name: &str) {
    let key = FactKey::agent(&name.parse().expect("an agent"));
    let mut agent: Agent = sts.fact(key.clone()).await;
    for (role, owner) in
        [("wants", &mut agent.business_owner), ("keeps", &mut agent.technical_owner)]
    {
        *owner = format!("{role}-{name}").parse().expect("a person");
        sts.world.put(FactKey::person(owner), &person(owner.as_str(), &[])).await;
    }
    sts.world.put(key, &agent).await;
}

/// Has a device vouch for `instance`, enrolled by somebody who stands behind nothing else; gives its key.
pub(crate) async fn vouch(sts: &Sts, instance: model::InstanceId) -> Arc<SigningKey> {
    let mut instance: Instance = sts.fact(FactKey::instance(instance)).await;
    let key = key();
    let by = person(&format!("device-{}", instance.agent), &[]);
    let device = Device {
        agent: instance.agent.clone(),
        id: id(&key),
        key: key.public().to_jwk(),
        name: "desk".to_owned(),
        by: by.id.clone(),
        enrolled: instance.started,
        valid_until: instance.started.plus(Duration::from_hours(24)),
        state: DeviceState::Active,
    };
    instance.device = Some(device.id);
    sts.world.put(FactKey::person(&by.id), &by).await;
    sts.world.put(FactKey::device(&device.agent, &device.id), &device).await;
    sts.world.put(FactKey::instance(instance.id), &instance).await;
    key
}

/// Also at the end of the longest chain that there can be, each agent with owners and a device of its own,
/// with all the elevations that a task can have, a decision is one transaction.
#[tokio::test]
async fn r_54_the_longest_chain_with_all_elevations_is_decided_at_once() {
    let (sts, mut holder, _) = before().await;
    own(&sts, "billing").await;
    let mut chain = vec![holder.instance()];
    for number in 0..model::DELEGATIONS_MAX {
        let next = party(&sts, &format!("agent-{number}")).await;
        own(&sts, &next.name).await;
        holder = hand_on(&sts, &holder, (&next, WAYS[0]), &part(&sts)).await.expect("a token");
        chain.push(holder.instance());
    }
    for instance in chain {
        vouch(&sts, instance).await;
    }
    let task = task_of(&sts, &holder).await;
    let all = ["refund", "deploy", "more", "most"].map(|tool| sts.world.elevation(&task, &[tool]));
    assert_eq!(all.len(), model::ELEVATIONS_MAX);
    for elevation in &all {
        sts.world.put(FactKey::elevation(elevation.id), elevation).await;
    }
    let ids = all.map(|elevation| elevation.id);
    sts.world.put(FactKey::elevated(task.id), &ids).await;
    assert_eq!(calls(&sts, &holder, "refund").await, Ok(()));
}
