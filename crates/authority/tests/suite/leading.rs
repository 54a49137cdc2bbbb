//! Two acts of which one leads to the other: on record at once, or one after the other, and never the
//! second without the first.

use std::time::Duration;

use authority::{BEGIN_WITHIN, CounterKey, Effect, Next, NotPermitted, OnceScope, Permit};
use model::{FactKey, Timestamp};
use serde_json::json;
use store::{CommitError, Store as _};

use crate::support::stores::OnCommit;
use crate::support::{Act, World, put};

/// What uses up the thing of this number.
fn once(number: u8) -> Effect {
    let expires = Timestamp::from_millis(i64::MAX);
    Effect::UseOnce { scope: OnceScope::Proof, id: [number; 32], expires }
}

/// A call of `tool` that uses up the thing of this number.
fn using(world: &World, tool: &str, number: u8) -> Act {
    let mut act = world.call(tool, json!({ "amount": 5 }));
    act.circumstances.uses.push(once(number));
    act
}

/// An act that may lead to another one, and uses up the thing of this number.
fn leading(world: &World, number: u8) -> Act {
    let mut act = world.method("tools/list");
    act.circumstances.uses.push(once(number));
    act
}

/// Asks for two acts of which the first leads to the second; gives what became of each.
async fn both(
    world: &World,
    (first, next): (Act, Act),
) -> Result<(Permit<Act>, Result<Permit<Act>, NotPermitted>), NotPermitted> {
    let decided = world.authority.decide(first).await?;
    let (first, next) = world.authority.record_with(decided, next).await?;
    let next = match next {
        Next::Permitted(next) => Ok(*next),
        Next::Unasked(next, _) => world.authorize(next).await,
    };
    Ok((first, next))
}

/// What the log says of the decisions, in its order.
async fn decisions(world: &World) -> Vec<String> {
    let all = world.records("decision").await;
    all.iter().map(|it| format!("{} {}", it.text_of("action"), it.text_of("decision"))).collect()
}

/// How the permitted acts ended, in the order of the words.
async fn ended(world: &World) -> Vec<String> {
    let mut outcomes = world.outcomes().await;
    outcomes.sort_unstable();
    outcomes
}

const FIRST: &str = "tools/list permit";
const BOTH: [&str; 2] = [FIRST, "crm/refund permit"];

#[tokio::test]
async fn i_02_both_are_in_one_commit_and_each_has_its_place_and_its_outcome() {
    let world = World::new().await;
    let acts = (leading(&world, 1), using(&world, "refund", 2));
    let (first, next) = both(&world, acts).await.expect("the first is permitted");
    let next = next.expect("the second is permitted");
    let log = world.log().await;
    for permit in [&first, &next] {
        let index = usize::try_from(permit.context().index).unwrap();
        assert_eq!(log[index].text_of("id"), permit.context().decision.to_string());
    }
    let open: Vec<_> = world.store.open_permits().await.unwrap();
    let open: Vec<_> = open.iter().map(|permit| permit.index).collect();
    assert_eq!(open, [first.context().index, next.context().index]);
    drop((first, next));
    world.drained().await;
    assert_eq!(ended(&world).await, ["not_started", "unknown"]);
    assert!(world.store.open_permits().await.unwrap().is_empty());
}

/// Whatever the store says of the two together, no more of them is permitted than is on record, the
/// second never without the first, and nothing of which nobody knows whether it is on record already.
#[tokio::test]
async fn i_02_what_cannot_be_recorded_together_is_recorded_one_after_the_other() {
    let changed = || OnCommit::Refuse(CommitError::Changed { key: FactKey::active_policy() });
    let unavailable = || OnCommit::Refuse(CommitError::Unavailable("the disk is full".into()));
    let rows = || {
        [
            ("nothing", vec![], 2, BOTH.as_slice()),
            ("one has changed", vec![changed()], 2, &BOTH),
            ("one was used", vec![OnCommit::Refuse(CommitError::Used(None))], 2, &BOTH),
            ("both have changed", vec![changed(), changed()], 0, &[]),
            ("the disk is full", vec![unavailable()], 0, &[]),
            ("nobody knows", vec![OnCommit::WrittenButLost], 0, &BOTH),
        ]
    };
    for are_used in [true, false] {
        for (what, on_commit, expected, on_record) in rows() {
            let world = World::new().await;
            world.store.on_commit(on_commit);
            let (mut first, mut next) = (leading(&world, 1), using(&world, "refund", 2));
            if !are_used {
                first.circumstances.uses.clear();
                next.circumstances.uses.clear();
            }
            let permitted = match both(&world, (first, next)).await {
                Ok((_, next)) => 1 + usize::from(next.is_ok()),
                Err(_) => 0,
            };
            assert_eq!(permitted, expected, "{what}, used up: {are_used}");
            assert_eq!(decisions(&world).await, on_record, "{what}, used up: {are_used}");
        }
    }
}

#[tokio::test]
async fn what_the_second_has_used_before_costs_the_first_nothing() {
    let world = World::new().await;
    drop(world.authorize(using(&world, "deploy", 2)).await.expect("it is permitted"));
    let acts = (leading(&world, 1), using(&world, "refund", 2));
    let (_first, next) = both(&world, acts).await.expect("the first is permitted");
    assert!(matches!(next, Err(NotPermitted::Replayed(_))));
    assert_eq!(decisions(&world).await[1..], [FIRST]);
    let acts = (leading(&world, 1), using(&world, "refund", 3));
    assert!(matches!(both(&world, acts).await, Err(NotPermitted::Replayed(_))));
}

#[tokio::test]
async fn of_two_of_which_the_second_is_denied_the_first_is_on_record_before_it() {
    let world = World::new().await;
    let mut next = using(&world, "refund", 2);
    next.request.input = json!({ "amount": 5_000 });
    let (_first, next) = both(&world, (leading(&world, 1), next)).await.unwrap();
    assert!(matches!(next, Err(NotPermitted::Denied { .. })));
    assert_eq!(decisions(&world).await, [FIRST, "crm/refund deny"]);
}

/// A revocation that comes between the decisions and their commit stops both.
#[tokio::test]
async fn i_11_neither_is_permitted_on_what_has_changed_since() {
    let world = World::new().await;
    let decided = world.authority.decide(leading(&world, 1)).await.unwrap();
    world.store.on_commit([OnCommit::After(world.sponsor_leaves())]);
    let answer = world.authority.record_with(decided, using(&world, "refund", 2)).await;
    assert!(matches!(answer, Err(NotPermitted::Contended)));
    assert!(decisions(&world).await.is_empty());
    let decided = world.authority.decide(leading(&world, 1)).await;
    assert!(matches!(decided, Err(NotPermitted::Denied { .. })), "it is decided anew");
}

/// Nobody waits for the two any more, and their commit comes: with it the first has led to what the
/// second enters.
#[tokio::test]
async fn i_02_of_two_permits_that_came_too_late_the_first_may_have_led_to_something() {
    let world = World::new().await;
    world.store.on_commit([OnCommit::Hold]);
    let acts = (leading(&world, 1), using(&world, "refund", 2));
    tokio::select! {
        _ = both(&world, acts) => panic!("the commit was not held"),
        () = world.store.commits_came() => {}
    }
    world.store.release();
    world.drained().await;
    assert_eq!(world.outcomes().await, ["unknown", "not_started"]);
    assert!(world.store.open_permits().await.unwrap().is_empty());
}

/// The same of a first that is not begun, because what it rests on changed after their commit.
#[tokio::test]
async fn i_02_a_first_that_is_not_begun_may_have_led_to_something() {
    let world = World::new().await;
    let acts = (leading(&world, 1), using(&world, "refund", 2));
    let (first, next) = both(&world, acts).await.expect("the first is permitted");
    world.store.commit(world.sponsor_leaves()).await.expect("it commits");
    assert!(first.begin(world.clock.as_ref()).is_err());
    drop(next);
    world.drained().await;
    assert_eq!(ended(&world).await, ["not_started", "unknown"]);
}

/// What the second has counted is told from what the first has.
#[tokio::test]
async fn the_calls_of_a_session_are_those_that_the_second_counts() {
    let world = World::new().await;
    let mut first = world.method("tools/list");
    let counter = CounterKey("test/counter".to_owned());
    first.circumstances.uses.push(Effect::Count { counter, amount: 50, limit: None });
    let next = world.call("lookup", json!({}));
    let request = next.request.clone();
    let (_first, next) = both(&world, (first, next)).await.expect("the first is permitted");
    assert!(next.is_ok());
    let instance = world.standing.instance.id;
    let gathered = world.authority.pip().gather(instance, &request).await.expect("it is read");
    assert_eq!(gathered.session.counters["calls"], 1);
}

/// What was decided is true as of then: it is on record soon after, or not at all.
#[tokio::test]
async fn what_was_decided_too_long_ago_is_not_recorded() {
    let world = World::new().await;
    for is_followed in [false, true] {
        for (waited, is_recorded) in
            [(BEGIN_WITHIN, true), (BEGIN_WITHIN + Duration::from_millis(1), false)]
        {
            let before = decisions(&world).await.len();
            let decided = world.authority.decide(world.method("tools/list")).await.unwrap();
            world.clock.advance(waited);
            let recorded = if is_followed {
                let next = world.call("lookup", json!({}));
                world.authority.record_with(decided, next).await.map(drop)
            } else {
                world.authority.record(decided).await.map(drop)
            };
            let is_late = matches!(recorded, Err(NotPermitted::TimedOut));
            assert_eq!((recorded.is_ok(), is_late), (is_recorded, !is_recorded), "{waited:?}");
            assert_eq!(decisions(&world).await.len() > before, is_recorded, "{waited:?}");
        }
    }
}

#[tokio::test]
#[should_panic(expected = "what is counted is recorded as it is decided")]
async fn what_counts_against_a_session_leads_to_nothing() {
    let world = World::new().await;
    let _ = world.authority.decide(world.call("lookup", json!({}))).await;
}

/// What a reader took for read is read again once it has changed, also where there was nothing.
#[tokio::test]
async fn i_11_what_was_read_before_is_read_again_when_it_has_changed() {
    let world = World::new().await;
    let (key, pip) = (FactKey::from_text("test/fact"), world.authority.pip());
    let read = async || {
        let mut reader = pip.reader();
        let fact = reader.find::<u32>(key.clone()).await.expect("it is read");
        (fact, reader.sourced(()).revision)
    };
    let (nothing, first) = read().await;
    assert_eq!(nothing, None);
    for (round, fact) in [1_u32, 2, 2].into_iter().enumerate() {
        world.put(key.clone(), &fact).await;
        let (found, revision) = read().await;
        assert_eq!(found, Some(fact), "round {round}");
        assert!(revision > first, "as of when is told too");
        assert_eq!(read().await, (found, revision), "nothing has changed");
    }
    let effects = vec![Effect::Remove { key: key.clone() }];
    world.store.commit(store::Unit { effects, ..store::Unit::default() }).await.unwrap();
    assert_eq!(read().await.0, None);
    // Something else changes: what is known is true as of then.
    let before = read().await.1;
    let unit = store::Unit {
        effects: vec![put(FactKey::from_text("test/other"), &1)],
        ..store::Unit::default()
    };
    world.store.commit(unit).await.unwrap();
    assert_eq!(read().await.0, None);
    assert!(read().await.1 > before);
}
