//! Refusals before a decision are in the log too, and a flood of them does not fill it.

use std::collections::BTreeMap;
use std::time::Duration;

use authority::{REFUSALS_PER_SECOND_MAX, RefusalLog, Refused};
use serde_json::json;

use crate::support::{World, until};

const PLACE: (&str, &str) = ("gateway/mcp-http", "unknown_tool");

/// How many refusals the log tells of, and in how many records.
async fn told(world: &World) -> (u64, usize) {
    let records = world.records("refusal").await;
    let count = |it: &crate::support::log::Entry| it.value["count"].as_u64().unwrap();
    (records.iter().map(count).sum(), records.len())
}

#[tokio::test]
async fn r_63_a_refusal_is_recorded_with_what_is_known_of_who_was_refused() {
    let world = World::new().await;
    let log = RefusalLog::default();
    let refused = Refused {
        agent: Some(world.standing.agent.name.clone()),
        instance: Some(world.standing.instance.id),
        mandate: Some(world.standing.task.mandate_digest),
        details: Some(BTreeMap::from([("held_by_agent".to_owned(), "other".to_owned())])),
    };
    world.authority.record_refusal(&log, PLACE, refused);
    world.authority.record_refusal(&log, PLACE, Refused::default());
    until("both are there", || async { told(&world).await == (2, 2) }).await;
    let records = world.records("refusal").await;
    assert_eq!(records[0].value["agent"], "billing");
    assert_eq!(records[0].value["mandate"], json!(world.standing.task.mandate_digest));
    assert_eq!(records[0].text_of("cause"), "unknown_tool");
    assert_eq!(records[0].text_of("point"), "gateway/mcp-http");
    assert_eq!(records[1].value.get("agent").or(records[1].value.get("mandate")), None);
    let system = world.records("system").await;
    assert_eq!(system[0].text_of("event"), "unknown_tool");
    assert_eq!(system[0].value["details"], json!({ "held_by_agent": "other" }));
}

/// At most so many a second; of the others one record says how many, for each cause, though no
/// other refusal follows.
#[tokio::test]
async fn n_110_a_flood_of_refusals_is_folded_and_none_is_forgotten() {
    let world = World::new().await;
    let log = RefusalLog::default();
    let flood = REFUSALS_PER_SECOND_MAX * 3;
    for _ in 0..flood {
        world.authority.record_refusal(&log, PLACE, Refused::default());
    }
    for _ in 0..7 {
        world.authority.record_refusal(&log, ("gateway/mcp-http", "malformed"), Refused::default());
    }
    until("all are told of", || async { told(&world).await.0 == flood + 7 }).await;
    let records = world.records("refusal").await;
    let one_by_one = usize::try_from(REFUSALS_PER_SECOND_MAX).unwrap();
    assert_eq!(records.len(), one_by_one + 2);
    let folded: BTreeMap<_, _> = records[one_by_one..]
        .iter()
        .map(|it| (it.text_of("cause"), it.value["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(folded, BTreeMap::from([("malformed", 7), ("unknown_tool", flood - 100)]));
    // Another second, another hundred; another listener counts by itself.
    world.clock.advance(Duration::from_secs(1));
    world.authority.record_refusal(&log, PLACE, Refused::default());
    world.authority.record_refusal(&RefusalLog::default(), PLACE, Refused::default());
    until("they are told of", || async { told(&world).await.0 == flood + 9 }).await;
}

/// A log that does not answer keeps nobody waiting and takes a bounded number of refusals.
#[tokio::test]
async fn i_18_refusals_that_cannot_be_written_are_counted() {
    let world = World::new().await;
    let log = RefusalLog::default();
    world.store.hang_deferred(true);
    for second in 0..30 {
        world.clock.advance(Duration::from_secs(second));
        for _ in 0..REFUSALS_PER_SECOND_MAX {
            world.authority.record_refusal(&log, PLACE, Refused::default());
        }
    }
    world.store.hang_deferred(false);
    until("what was counted is told", || async {
        world.records("refusal").await.iter().any(|it| it.value["count"].as_u64() > Some(1_000))
    })
    .await;
}
