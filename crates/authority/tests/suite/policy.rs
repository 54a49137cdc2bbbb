//! What the store says is in force is what counts, whoever put it there and however much happened
//! since.

use authority::{ChangedBy, Governed as _};
use model::FactKey;
use serde_json::json;
use store::{Effect, Store as _, Unit};

use crate::support::{POLICY, World, policy_unit};

/// More keys than whose last change is remembered.
const MANY: usize = 70_000;

/// The effects of one unit, within what one may have.
const OF_ONE: usize = 60;

/// A publication that was abandoned between its commit and its effect here: the next decision finds
/// out, and decides on what is in force.
#[tokio::test]
async fn i_11_a_set_that_nobody_told_of_is_found_in_the_store() {
    let world = World::new().await;
    drop(world.authorize(world.call("lookup", json!({}))).await.unwrap());
    let snapshot = world.compile(r#"@id("none") forbid (principal, action, resource);"#).await;
    let digest = snapshot.digest();
    world.store.commit(policy_unit(&snapshot)).await.unwrap();
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_err());
    let record = world.records("decision").await.pop().unwrap();
    assert_eq!(record.text_of("policy"), digest.to_string());
    // The same for what lists show.
    let snapshot = world.compile(POLICY).await;
    world.store.commit(policy_unit(&snapshot)).await.unwrap();
    let call = world.call("lookup", json!({}));
    let shown = world.authority.could_permit(call.request(), call.circumstances()).await;
    assert!(matches!(shown, Ok(true)), "{shown:?}");
    // The same for administration.
    let snapshot = world.compile(&format!("{POLICY}\n")).await;
    let digest = snapshot.digest();
    world.store.commit(policy_unit(&snapshot)).await.unwrap();
    let act = authority::AdminAct {
        by: ChangedBy::person(world.standing.sponsor.id.clone()),
        action: "log/read",
        target: model::ResourceRef::Deployment,
        change: json!({}),
        reads: (Vec::new(), model::Revision(u64::MAX)),
        effects: Vec::new(),
    };
    assert!(world.authority.administer(act).await.is_ok());
    let record = world.records("administration").await.pop().unwrap();
    assert_eq!(record.text_of("policy"), digest.to_string());
}

/// A set in the store that does not compile permits nothing.
#[tokio::test]
async fn i_03_a_set_in_the_store_that_does_not_compile_permits_nothing() {
    let world = World::new().await;
    let effects =
        vec![crate::support::put(FactKey::active_policy(), &json!({ "digest": "00".repeat(32) }))];
    world.store.commit(Unit { effects, ..Unit::default() }).await.unwrap();
    let answer = world.authorize(world.call("lookup", json!({}))).await;
    assert!(matches!(answer, Err(authority::NotPermitted::FactsUnavailable(_))), "{answer:?}");
}

/// After more changes than are remembered, what was read before cannot be judged: it is read again,
/// and the service goes on.
#[tokio::test]
async fn i_18_decisions_go_on_after_more_changes_than_are_remembered() {
    let world = World::new().await;
    drop(world.authorize(world.call("lookup", json!({}))).await.unwrap());
    let keys: Vec<_> = (0..MANY).map(|n| FactKey::from_text(&format!("task/{n}"))).collect();
    let units = keys.chunks(OF_ONE).map(|keys| {
        let put = |key: &FactKey| Effect::Put { key: key.clone(), body: b"{}".to_vec() };
        let effects = keys.iter().map(put).collect();
        world.store.commit(Unit { effects, ..Unit::default() })
    });
    let committed = futures::future::join_all(units).await;
    assert!(committed.iter().all(Result::is_ok));
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_ok());
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_ok());
}
