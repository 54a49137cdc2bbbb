//! The third step of every act: an outcome, whatever happened to whoever performed it.

use std::time::Duration;

use authority::{BEGIN_WITHIN, NotPermitted};
use model::record::OutcomeKind;
use model::{Denial, FactKey, Sha256Digest};
use serde_json::{Value, json};
use store::{Effect, Store as _, Unit};

use crate::support::World;

#[tokio::test]
async fn r_63_every_permit_ends_in_an_outcome_however_it_ends() {
    let world = &World::new().await;
    let permit = |n: i64| world.authorize(world.call("lookup", json!({ "amount": n })));
    let begun = async |n: i64| {
        let permit = permit(n).await.expect("it is permitted");
        permit.begin(world.clock.as_ref()).expect("it begins")
    };
    let told = [(0, OutcomeKind::Returned), (1, OutcomeKind::Failed), (2, OutcomeKind::Cut)];
    for (n, outcome) in told {
        let result = Some(Sha256Digest::of(b"result"));
        begun(n).await.running.finish(outcome, result);
        world.drained().await;
    }
    // Dropped, and dropped while a panic unwinds: nobody knows.
    drop(begun(3).await);
    world.drained().await;
    let running = begun(4).await.running;
    let lost = tokio::spawn(async move {
        let _running = running;
        panic!("on purpose");
    });
    assert!(lost.await.unwrap_err().is_panic());
    world.drained().await;
    // Never begun.
    drop(permit(5).await.expect("it is permitted"));
    world.drained().await;
    let expected = ["returned", "failed", "cut", "unknown", "unknown", "not_started"];
    assert_eq!(world.outcomes().await, expected);
    assert!(world.store.open_permits().await.unwrap().is_empty());
    // Each names its decision, in the order of the acts.
    let log = world.log().await;
    let of = |kind: &str, member: &str| -> Vec<String> {
        let all = log.iter().filter(|entry| entry.is(kind));
        all.map(|entry| entry.text_of(member).to_owned()).collect()
    };
    assert_eq!(of("decision", "id"), of("outcome", "decision"));
    let mandate = world.standing.task.mandate_digest.to_string();
    assert_eq!(of("outcome", "mandate"), vec![mandate; expected.len()]);
}

#[tokio::test]
async fn a_permit_that_is_too_old_is_not_begun() {
    let world = World::new().await;
    let permit = world.authorize(world.call("refund", json!({}))).await;
    assert!(permit.is_err(), "there is no amount");
    let act = || world.call("refund", json!({ "amount": 5 }));
    let permit = world.authorize(act()).await.unwrap();
    world.clock.advance(BEGIN_WITHIN);
    let begun = permit.begin(world.clock.as_ref()).expect("it is not too old yet");
    begun.running.finish(OutcomeKind::Returned, None);
    let permit = world.authorize(act()).await.unwrap();
    world.clock.advance(BEGIN_WITHIN + Duration::from_millis(1));
    assert!(permit.begin(world.clock.as_ref()).is_err());
    world.drained().await;
    assert_eq!(world.outcomes().await.last().unwrap(), "not_started");
    // It did nothing, so an equal act is not forbidden.
    assert!(world.authorize(act()).await.is_ok());
}

#[tokio::test]
async fn i_11_a_permit_whose_facts_are_known_to_have_changed_is_not_begun() {
    let world = World::new().await;
    let permit = world.authorize(world.call("lookup", json!({}))).await.unwrap();
    world.store.commit(world.sponsor_leaves()).await.unwrap();
    assert!(permit.begin(world.clock.as_ref()).is_err());
    world.drained().await;
    assert_eq!(world.outcomes().await, ["not_started"]);
    // What has nothing to do with it is no reason.
    let world = World::new().await;
    let permit = world.authorize(world.call("lookup", json!({}))).await.unwrap();
    world.put(FactKey::from_text("agent/somebody-else"), &json!({})).await;
    assert!(permit.begin(world.clock.as_ref()).is_ok());
}

/// Whether `tool` with `input` is refused because an equal act has an unknown outcome.
async fn is_unknown(world: &World, tool: &str, input: Value) -> bool {
    match world.authorize(world.call(tool, input)).await {
        Ok(_) => false,
        Err(NotPermitted::Denied { denial, .. }) => {
            assert_eq!(*denial, Denial::OutcomeUnknown);
            true
        }
        Err(other) => panic!("{other}"),
    }
}

async fn lose(world: &World, tool: &str, input: Value) {
    let permit = world.authorize(world.call(tool, input)).await.expect("it is permitted");
    drop(permit.begin(world.clock.as_ref()).expect("it begins"));
    world.drained().await;
}

#[tokio::test]
async fn n_040h_an_unknown_outcome_forbids_equal_consequential_acts_and_only_those() {
    let world = World::new().await;
    lose(&world, "refund", json!({ "amount": 5, "account": "a" })).await;
    // The same act, however it is spelled.
    for same in [
        r#"{"amount":5,"account":"a"}"#,
        r#"{"account":"a","amount":5.0}"#,
        r#"{ "account": "a", "amount": 5e0 }"#,
    ] {
        let input: Value = serde_json::from_str(same).unwrap();
        assert!(is_unknown(&world, "refund", input).await, "{same}");
    }
    assert!(!is_unknown(&world, "refund", json!({ "amount": 6, "account": "a" })).await);
    assert!(!is_unknown(&world, "refund", json!({ "amount": 5, "account": "b" })).await);
    assert!(!is_unknown(&world, "refund", json!({ "amount": 5 })).await);
    assert!(!is_unknown(&world, "deploy", json!({ "amount": 5, "account": "a" })).await);
    // A tool that only reads may be asked again.
    lose(&world, "lookup", json!({ "account": "a" })).await;
    assert!(!is_unknown(&world, "lookup", json!({ "account": "a" })).await);
    // It is remembered over a restart.
    let world = world.restarted().await;
    assert!(is_unknown(&world, "refund", json!({ "amount": 5, "account": "a" })).await);
    // Until somebody settles it, and again when it happens again.
    let page = world.store.list("unknown/", None, 10).await.unwrap();
    let effects = page.facts.into_iter().map(|(key, _)| Effect::Remove { key }).collect();
    world.store.commit(Unit { effects, ..Unit::default() }).await.unwrap();
    let input = json!({ "amount": 5, "account": "a" });
    assert!(!is_unknown(&world, "refund", input.clone()).await);
    lose(&world, "refund", input.clone()).await;
    assert!(is_unknown(&world, "refund", input).await);
}

/// Two equal acts at once: the second is permitted before the first is lost, and not begun.
#[tokio::test]
async fn an_equal_act_that_was_permitted_before_is_not_begun_after_the_loss() {
    let world = World::new().await;
    let act = || world.call("refund", json!({ "amount": 5 }));
    let (first, second) = (world.authorize(act()).await.unwrap(), world.authorize(act()).await);
    drop(first.begin(world.clock.as_ref()).unwrap());
    crate::support::until("the loss is recorded", || async {
        world.outcomes().await.contains(&"unknown".to_owned())
    })
    .await;
    assert!(second.unwrap().begin(world.clock.as_ref()).is_err());
}

#[tokio::test]
async fn n_122_recovery_closes_open_permits_as_unknown_once() {
    let world = World::new().await;
    let permit = world.authorize(world.call("refund", json!({ "amount": 5 }))).await.unwrap();
    let read = world.authorize(world.call("lookup", json!({ "amount": 5 }))).await.unwrap();
    let begun = (permit.begin(world.clock.as_ref()), read.begin(world.clock.as_ref()));
    // The process ends: nobody drops anything.
    std::mem::forget(begun);
    world.clock.advance(Duration::from_secs(7));
    let world = world.restarted().await;
    assert_eq!(world.outcomes().await, ["unknown", "unknown"]);
    let outcome = world.records("outcome").await.remove(0);
    let decision = world.records("decision").await.remove(0);
    assert_eq!(outcome.value["decision"], decision.value["id"]);
    assert_eq!(outcome.text_of("mandate"), world.standing.task.mandate_digest.to_string());
    assert_eq!(outcome.value["duration_ms"], 7_000);
    let sponsor = &decision.value["commitments"]["sponsor"];
    assert_eq!(outcome.value["commitments"], json!({ "sponsor": sponsor }));
    assert!(is_unknown(&world, "refund", json!({ "amount": 5 })).await);
    assert!(!is_unknown(&world, "lookup", json!({ "amount": 5 })).await);
    world.drained().await;
    let before = world.outcomes().await.len();
    let world = world.restarted().await;
    assert_eq!(world.outcomes().await.len(), before, "it was closed twice");
}

/// A log that cannot grow does not lose outcomes: they are tried again.
#[tokio::test]
async fn an_outcome_that_could_not_be_written_is_written_later() {
    let world = World::new().await;
    let permit = world.authorize(world.call("lookup", json!({}))).await.unwrap();
    let begun = permit.begin(world.clock.as_ref()).unwrap();
    world.store.fail_deferred(3);
    begun.running.finish(OutcomeKind::Returned, None);
    world.drained().await;
    assert_eq!(world.outcomes().await, ["returned"]);
    assert_eq!(world.store.deferred_failures_left(), 0);
}

/// What has nowhere to put its outcome is not permitted.
#[tokio::test]
async fn i_18_more_open_permits_than_may_be_are_refused() {
    let world = World::new().await;
    let mut held = Vec::new();
    for _ in 0..authority::OUTCOMES_OPEN_MAX / 64 {
        let asked = (0..64).map(|_| world.authorize(world.method("tools/list")));
        held.extend(futures::future::join_all(asked).await);
    }
    assert!(held.iter().all(Result::is_ok), "all have a place");
    let more = world.authorize(world.method("tools/list")).await;
    assert!(matches!(more, Err(NotPermitted::Overloaded)));
    held.pop();
    crate::support::until("a place is free", || async {
        world.authorize(world.method("tools/list")).await.is_ok()
    })
    .await;
}
