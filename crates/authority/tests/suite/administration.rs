//! Acts of administration: decided, recorded and done in one transaction, or not at all.

use authority::{AdminAct, ChangedBy, CommitError, NotAdministered, NotPermitted};
use model::{FactKey, PersonId, ResourceRef, Revision};
use serde_json::json;
use store::Store as _;

use crate::support::stores::{OnCommit, OnLoad};
use crate::support::{DECISION_TIMEOUT, World, put};

fn mark() -> FactKey {
    FactKey::from_text("person/new")
}

fn act(by: &PersonId) -> AdminAct {
    AdminAct {
        by: ChangedBy::person(by.clone()),
        action: "person/add",
        target: ResourceRef::Person("new".parse().unwrap()),
        change: json!({ "what": "it" }),
        reads: (Vec::new(), Revision(u64::MAX)),
        effects: vec![put(mark(), &json!({}))],
    }
}

async fn is_done(world: &World) -> bool {
    world.store.load(&[mark()]).await.unwrap().bodies[0].is_some()
}

#[tokio::test]
async fn i_22_an_act_and_its_record_are_one_transaction() {
    let world = World::new().await;
    let by = &world.standing.sponsor.id;
    for error in
        [|| CommitError::Unavailable("the disk is full".into()), || CommitError::Overloaded]
    {
        world.store.on_commit([OnCommit::Refuse(error())]);
        let answer = world.authority.administer(act(by)).await;
        let unrecorded = NotAdministered::NotPermitted(NotPermitted::Unrecorded(error()));
        assert_eq!(answer.unwrap_err().to_string(), unrecorded.to_string());
        assert!(!is_done(&world).await);
        assert!(world.records("administration").await.is_empty());
    }
    world.store.on_commit([OnCommit::Refuse(CommitError::Lost)]);
    let lost = world.authority.administer(act(by)).await;
    assert!(matches!(lost, Err(NotAdministered::Unknown)), "{lost:?}");
    let done = world.authority.administer(act(by)).await.unwrap();
    assert!(is_done(&world).await);
    let record = world.records("administration").await.pop().unwrap();
    assert_eq!(record.text_of("id"), done.decision.to_string());
    assert_eq!(record.text_of("decision"), "permit");
    let behind = world.disclosure(&record).await;
    assert_eq!(behind.value("change"), Some(&json!({ "what": "it" })));
    assert_eq!(behind.value("administrator").unwrap()["id"], by.to_string());
}

#[tokio::test]
async fn i_22_a_denied_act_is_recorded_and_not_done() {
    let world = World::new().await;
    let other = &world.standing.other.id;
    for answer in [
        world.authority.administer(act(other)).await.map(drop),
        world.authority.may_administer(&act(other)).await.map(drop).map_err(NotAdministered::from),
    ] {
        assert!(matches!(answer, Err(NotAdministered::NotPermitted(NotPermitted::Denied { .. }))));
    }
    assert!(!is_done(&world).await);
    let records = world.records("administration").await;
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|it| it.text_of("reason") == "not_granted"));
    // That one may is no record: what it leads to will be.
    world.authority.may_administer(&act(&world.standing.sponsor.id)).await.unwrap();
    assert_eq!(world.records("administration").await.len(), 2);
}

#[tokio::test]
async fn a_change_of_what_an_act_rests_on_is_a_conflict() {
    let world = World::new().await;
    let by = &world.standing.sponsor.id;
    let read = FactKey::purpose(&world.standing.purpose.id);
    let before = world.store.load(std::slice::from_ref(&read)).await.unwrap().revision;
    world.put(read.clone(), &world.standing.purpose).await;
    let act = AdminAct { reads: (vec![read], before), ..act(by) };
    let answer = world.authority.administer(act).await;
    assert!(matches!(answer, Err(NotAdministered::Conflict(_))), "{answer:?}");
    assert!(!is_done(&world).await);
}

#[tokio::test]
async fn i_17_administration_never_hangs() {
    let world = World::new().await;
    let by = world.standing.sponsor.id.clone();
    world.store.on_commit([OnCommit::Hang]);
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let answer = world.authority.administer(act(&by)).await;
    assert!(matches!(answer, Err(NotAdministered::Unknown)), "{answer:?}");
    assert!(began.elapsed() < DECISION_TIMEOUT + std::time::Duration::from_millis(50));
}

/// One instant for one act: what is decided on is what is recorded.
#[tokio::test]
async fn n_120_nothing_is_given_while_the_clock_is_unsure() {
    let world = World::new().await;
    let by = &world.standing.sponsor.id;
    world.authority.administer(act(by)).await.unwrap();
    world.clock.step_wall(600_000);
    let answer = world.authority.administer(act(by)).await;
    let unsure = NotAdministered::NotPermitted(authority::ClockUnsure.into());
    assert_eq!(answer.unwrap_err().to_string(), unsure.to_string());
    assert_eq!(world.records("administration").await.len(), 1);
    // What only takes away waits for no clock.
    let stop = AdminAct {
        action: "deployment/stop",
        target: ResourceRef::Deployment,
        effects: vec![put(FactKey::from_text("stop/all"), &json!({}))],
        ..act(by)
    };
    world.authority.may_administer(&stop).await.unwrap();
    world.authority.administer(stop).await.unwrap();
    assert_eq!(world.records("administration").await.len(), 2);
}

/// What is committed when nobody waits any more is not told as not done, and what never was is.
#[tokio::test]
async fn an_act_that_is_committed_late_may_have_been_done() {
    let world = World::new().await;
    let by = world.standing.sponsor.id.clone();
    world.store.on_commit([OnCommit::WrittenAndSilent]);
    tokio::time::pause();
    let answer = world.authority.administer(act(&by)).await;
    assert!(matches!(answer, Err(NotAdministered::Unknown)), "{answer:?}");
    tokio::time::resume();
    crate::support::until("it is done", || async { is_done(&world).await }).await;

    let world = World::new().await;
    world.store.on_load([OnLoad::Hang]);
    tokio::time::pause();
    let answer = world.authority.administer(act(&by)).await;
    let timed_out = NotAdministered::NotPermitted(NotPermitted::TimedOut);
    assert_eq!(answer.unwrap_err().to_string(), timed_out.to_string());
}
