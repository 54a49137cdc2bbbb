//! A release decides beside the set in force before it is put in force; and what is only observed takes two people.

use model::{Clock as _, FactKey, Releases};
use pap::{AdminError, Command};
use serde_json::{Value, json};
use store::Unit;

use crate::desk::{policy_key, word as word_of};
use crate::releases::{CLOSED, House};
use crate::support::stores::OnCommit;

/// A house in which release 2, which forbids lookups, is approved.
async fn approved() -> House {
    let house = House::new().await;
    house.publish(2, CLOSED).await.expect("it is published");
    house.approve(2).await.expect("it is approved");
    house
}

async fn observe(house: &House, version: Option<u64>) -> Result<Value, AdminError> {
    house.desk.run(Command::PolicyObserve { version }).await
}

/// What `policy history` tells of the set under observation.
async fn told(house: &House) -> Value {
    house.desk.run(Command::PolicyHistory).await.expect("it is told")["observed"].clone()
}

/// A call, and by which policies the set under observation would have denied it; nothing, if none is. One that was not
/// answered in time is asked again.
async fn looked_up(house: &House) -> (String, Value) {
    loop {
        let answer = house.desk.call("lookup").await;
        let record = house.newest("decision").await;
        if record["observed_set"]["reason"] != "late" {
            return (answer, record["observed_set"]["policies"].clone());
        }
    }
}

#[tokio::test]
async fn r_39_a_release_is_observed_before_it_is_in_force() {
    let house = House::new().await;
    house.publish(2, CLOSED).await.expect("it is published");
    assert_eq!(word_of(&observe(&house, Some(2)).await), "invalid", "nobody approved it");
    assert_eq!(word_of(&observe(&house, Some(1)).await), "invalid", "it is in force");
    assert_eq!(word_of(&observe(&house, Some(7)).await), "missing");
    house.approve(2).await.expect("it is approved");
    assert_eq!(looked_up(&house).await, ("permitted".to_owned(), Value::Null));
    assert_eq!(told(&house).await, Value::Null);

    observe(&house, Some(2)).await.expect("it is observed");
    assert_eq!(looked_up(&house).await, ("permitted".to_owned(), json!(["closed"])));
    let observed = told(&house).await;
    assert_eq!((&observed["release"], &observed["newly_denied"]), (&json!(2), &json!(1)));
    let records = house.desk.world.records("system").await;
    let record = records.iter().rfind(|it| it.text_of("event") == "policy_under_observation");
    let details = &record.expect("it is recorded").value["details"];
    assert_eq!(*details, json!({ "from": "release 2", "policy": observed["digest"] }));
    // What changes the tools, and whoever looks, leaves it as it is.
    house.desk.publisher.publish().await.expect("it compiles");
    assert_eq!(house.follows().await, "in force");
    assert_eq!(told(&house).await["digest"], observed["digest"]);
    let replayed = house.desk.run(Command::LogReplay).await.expect("it is replayed");
    assert_eq!(replayed["differ"], json!([]));
    assert!(replayed["observed"].as_u64().is_some_and(|observed| observed > 0), "{replayed}");

    // Once it is in force, it is not observed any more.
    house.activate(2).await.expect("it is in force");
    assert_eq!(looked_up(&house).await, ("forbidden".to_owned(), Value::Null));
    assert_eq!(told(&house).await, Value::Null);
}

/// What is recorded of a set under observation follows from that set, which is kept.
#[tokio::test]
async fn r_38_what_a_set_under_observation_came_to_is_made_again() {
    let house = approved().await;
    observe(&house, Some(2)).await.expect("it is observed");
    assert_eq!(looked_up(&house).await.1, json!(["closed"]));
    let digest = told(&house).await["digest"].clone();
    let digest = serde_json::from_value(digest).expect("a digest");
    let replayed = house.desk.run(Command::LogReplay).await.expect("it is replayed");
    assert_eq!(replayed["differ"], json!([]));
    assert!(replayed["observed"].as_u64().is_some_and(|observed| observed > 0), "{replayed}");
    house.desk.world.put(FactKey::policy(&digest), &pdp::Bundle::default()).await;
    let replayed = house.desk.run(Command::LogReplay).await.expect("it is replayed");
    let differ = replayed["differ"].as_array().expect("a list");
    assert!(!differ.is_empty(), "{replayed}");
    let is_told = |it: &Value| it.as_str().is_some_and(|it| it.ends_with("is not kept"));
    assert!(differ.iter().all(is_told), "{replayed}");
    assert_eq!(replayed["observed"], 0);
}

#[tokio::test]
async fn an_observation_ends_when_somebody_says_so_and_goes_on_with_what_is_newer() {
    let house = approved().await;
    assert_eq!(word_of(&observe(&house, None).await), "invalid", "none is observed");
    observe(&house, Some(2)).await.expect("it is observed");
    observe(&house, None).await.expect("it ends");
    assert_eq!(looked_up(&house).await, ("permitted".to_owned(), Value::Null));
    // Whoever follows what is kept finds the one that is newer than the one in force.
    house.publish(3, CLOSED).await.expect("it is published");
    house.approve(3).await.expect("it is approved");
    observe(&house, Some(3)).await.expect("it is observed");
    house.activate(2).await.expect("it is in force");
    assert_eq!(looked_up(&house).await, ("forbidden".to_owned(), json!(["closed"])));
    house.desk.publisher.observe(None).await.expect("it ends");
    assert_eq!(house.follows().await, "in force");
    assert_eq!(looked_up(&house).await, ("forbidden".to_owned(), json!(["closed"])));
}

#[tokio::test]
async fn an_observation_ends_when_its_release_is_withdrawn() {
    let house = approved().await;
    observe(&house, Some(2)).await.expect("it is observed");
    house.desk.run(Command::PolicyWithdraw { version: 2 }).await.expect("it is withdrawn");
    assert_eq!(looked_up(&house).await, ("permitted".to_owned(), Value::Null));
    assert_eq!(told(&house).await, Value::Null);
    // Where one that was withdrawn is still said to be observed, nothing is wrong, and none is.
    let kept = Releases { newest: 2, active: 1, observed: Some(2) };
    let world = &house.desk.world;
    world.put(FactKey::releases(), &kept).await;
    let key = policy_key(world.dir.path());
    let found = pap::observed_release(world.authority.journal(), &key, world.clock.now()).await;
    assert_eq!(found.expect("nothing is wrong"), None);
}

/// What could not be observed because something failed in passing is, by whoever looks next.
#[tokio::test]
async fn an_observation_that_failed_in_passing_is_tried_again() {
    let house = approved().await;
    let full = authority::CommitError::Unavailable("the disk is full".into());
    house.desk.world.store.on_commit([OnCommit::After(Unit::default()), OnCommit::Refuse(full)]);
    assert_eq!(word_of(&observe(&house, Some(2)).await), "unavailable");
    assert_eq!(told(&house).await, json!({ "release": 2 }));
    assert_eq!(house.follows().await, "in force");
    assert_eq!(looked_up(&house).await, ("permitted".to_owned(), json!(["closed"])));
}

/// Whatever is wrong with what is observed, what is in force decides, and is followed.
#[tokio::test]
async fn n_094_a_release_under_observation_that_was_altered_decides_nothing() {
    let house = approved().await;
    let good = house.release(2).await;
    let place = FactKey::policy(&good.terms.content);
    let content = house.desk.fact(place.clone()).await.expect("it is kept");
    let altered = json!({ "policies": { "test.cedar": "permit (principal, action, resource);" } });
    house.desk.world.put(place.clone(), &altered).await;
    assert_eq!(word_of(&observe(&house, Some(2)).await), "refused");
    house.desk.world.put(place.clone(), &content).await;
    observe(&house, Some(2)).await.expect("it is observed");
    house.desk.world.put(place.clone(), &altered).await;
    assert_eq!(house.follows().await, "in force");
    assert_eq!(looked_up(&house).await, ("permitted".to_owned(), Value::Null));
    assert_eq!(told(&house).await, json!({ "release": 2 }));
    house.desk.world.put(place.clone(), &content).await;
    assert_eq!(house.follows().await, "in force");
    assert_eq!(looked_up(&house).await, ("permitted".to_owned(), json!(["closed"])));
    // One that nobody approved, whoever wrote that it is observed.
    house.publish(3, "").await.expect("it is published");
    let kept = Releases { newest: 3, active: 1, observed: Some(3) };
    house.desk.world.put(FactKey::releases(), &kept).await;
    assert_eq!(house.follows().await, "in force");
    assert_eq!(looked_up(&house).await, ("permitted".to_owned(), Value::Null));
}

/// To observe a policy that decided takes the two people of a release, like every other change.
#[tokio::test]
async fn n_094_nobody_puts_a_policy_into_observation_alone() {
    let house = House::new().await;
    house.release_all(2, CLOSED).await;
    let observed = CLOSED.replace("@id", "@mode(\"observe\") @id");
    house.publish(3, &observed).await.expect("it is published");
    assert_eq!(word_of(&house.activate(3).await), "invalid", "nobody approved it");
    let own = house.approve_as(&house.signers.author, 3).await.expect_err("it takes another");
    assert!(own.to_string().ends_with("nobody approves what they asked for themselves"), "{own}");
    assert_eq!(word_of(&house.activate(3).await), "invalid", "nobody approved it");
    assert_eq!(word_of(&observe(&house, Some(3)).await), "invalid", "nobody approved it");
    assert_eq!(house.desk.call("lookup").await, "forbidden");
    house.approve(3).await.expect("it is approved");
    house.activate(3).await.expect("it is in force");
    assert_eq!(house.desk.call("lookup").await, "permitted");
    assert_eq!(house.newest("decision").await["observed"], json!(["closed"]));
}
