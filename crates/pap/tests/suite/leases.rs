//! R14: standing access ends unless the sponsor renews it, so that a leaver whom nobody reported is
//! bounded.

use std::time::Duration;

use model::{
    Agent, BACKUPS_MAX, CLOCK_STEP_MAX, Clock as _, FactKey, LEASE_MAX, PROPAGATION_MAX, Timestamp,
};
use pap::Command;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::desk::{Desk, SAM, jwk, word};
use crate::support::World;

const DAY: Duration = Duration::from_hours(24);

/// A deployment in which all but leases last for years.
async fn desk() -> Desk {
    let world = World::with(|facts| {
        let far = facts.task.opened.plus(3_650 * DAY);
        (facts.mandate.valid_until, facts.task.deadline) = (far, far);
        facts.task.mandate_digest = facts.mandate.digest();
    });
    Desk::over(world.await).await
}

fn renew(desk: &Desk) -> Command {
    let name = desk.world.standing.agent.name.to_string();
    Command::AgentRenew { name, key: None, compromised: false, word: None }
}

async fn agent(desk: &Desk) -> Agent {
    let key = FactKey::agent(&desk.world.standing.agent.name);
    serde_json::from_value(desk.fact(key).await.expect("it is known")).expect("an agent")
}

/// The first member `name` of a row that is listed.
async fn listed(desk: &Desk, name: &str) -> Value {
    desk.run(Command::AgentList { as_of: None }).await.expect("it is told")[0][name].clone()
}

fn registration(backups: &[&str]) -> Command {
    serde_json::from_value(json!({
        "do": "agent-add", "name": "new", "sponsor": SAM, "purpose": "care",
        "business_owner": SAM, "technical_owner": SAM, "backups": backups, "key": jwk(),
    }))
    .expect("a command")
}

/// The sponsor left at some time, and nobody ever said so: what they sponsor acts until its lease ends,
/// to the millisecond, and never after; however often it had been renewed before, and by then.
async fn lost_leaver(renewed: &[u64], looks: &[u64]) {
    let desk = desk().await;
    for hours in renewed {
        desk.world.clock.advance(Duration::from_hours(*hours));
        let is_over = agent(&desk).await.leased_until() <= desk.world.clock.now();
        assert_eq!(desk.call("lookup").await == "lease_ended", is_over);
        desk.run(renew(&desk)).await.expect("it is renewed");
    }
    let (last, agent) = (desk.world.clock.now(), agent(&desk).await);
    assert_eq!(agent.leased_until(), last.plus(LEASE_MAX));
    assert_eq!(agent.bound(), last.plus(LEASE_MAX + CLOCK_STEP_MAX + PROPAGATION_MAX));
    let mut looks: Vec<Timestamp> =
        looks.iter().map(|millis| last.plus(Duration::from_millis(*millis))).collect();
    let end = agent.leased_until();
    let before = Timestamp::from_millis(end.as_millis() - 1);
    // The key ends with nothing: a denial later than that has another reason.
    looks.extend([before, end, agent.bound(), end.plus(59 * DAY)]);
    looks.sort_unstable();
    for at in looks {
        desk.world.clock.advance(at.since(desk.world.clock.now()));
        let expected = if at < end { "permitted" } else { "lease_ended" };
        assert_eq!(desk.call("lookup").await, expected, "at {at}, the lease ends at {end}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn r_14_a_leaver_whom_nobody_reported_is_bounded_by_the_lease(
        renewed in prop::collection::vec(0_u64..40 * 24, 0..4),
        looks in prop::collection::vec(0_u64..89 * 24 * 3_600_000, 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(lost_leaver(&renewed, &looks));
    }
}

/// Just before the lease ends the clock falls behind by `late`: if nobody notices, what they sponsor acts for so much
/// longer. All of it is over by the time that was told, by a clock that runs true, also what was permitted last and goes on
/// without hearing of the end.
async fn late_clock(late: Duration) {
    let desk = desk().await;
    let (clock, tick) = (&desk.world.clock, Duration::from_millis(1));
    let told = listed(&desk, "ends_by").await;
    let ends_by: Timestamp = told.as_str().expect("a time").parse().expect("a time");
    let mut now = Timestamp::from_millis(agent(&desk).await.leased_until().as_millis() - 1);
    clock.advance(now.since(clock.now()));
    assert_eq!(desk.call("lookup").await, "permitted");
    clock.step_wall(-i64::try_from(late.as_millis()).expect("it is short"));
    let (last, is_noticed) = (now.plus(late), late > CLOCK_STEP_MAX);
    for at in [last, last.plus(tick), ends_by, ends_by.plus(DAY)] {
        clock.advance(at.since(now));
        now = at;
        let is_permitted = desk.call("lookup").await == "permitted";
        assert_eq!(is_permitted, at == last && !is_noticed, "at {at}, {late:?} late");
        assert!(!is_permitted || at.plus(PROPAGATION_MAX) < ends_by, "at {at}, {late:?} late");
    }
}

/// However late the clock is: by what nobody notices the bound is the longer, and by more nothing is permitted.
#[tokio::test]
async fn r_14_no_clock_that_is_late_keeps_anything_going_beyond_the_bound() {
    for millis in [0, 1, 1_999, 2_000, 2_001, 4_000] {
        Box::pin(late_clock(Duration::from_millis(millis))).await;
    }
}

/// The bound is what is shown: at registration, at renewal, and in the list.
#[tokio::test]
async fn r_14_the_bound_is_shown() {
    let desk = desk().await;
    let bound = agent(&desk).await.bound();
    assert_eq!(listed(&desk, "ends_by").await, json!(bound.to_string()));
    desk.world.clock.advance(DAY);
    let now = desk.world.clock.now();
    let added = desk.run(registration(&[])).await.expect("it is registered");
    let renewed = desk.run(renew(&desk)).await.expect("it is renewed");
    for told in [added, renewed] {
        assert_eq!(told["lease_until"], json!(now.plus(30 * DAY).to_string()));
        assert_eq!(told["ends_by"], json!(now.plus(30 * DAY + Duration::from_secs(7)).to_string()));
    }
    assert_eq!(listed(&desk, "ends_by").await, json!(agent(&desk).await.bound().to_string()));
}

/// No silent extension: not by an administrator, not by whoever is to follow, not by affirming, and not
/// by a sponsor who answers for it no longer.
#[tokio::test]
async fn r_14_nobody_but_the_sponsor_renews() {
    let desk = desk().await;
    let before = agent(&desk).await;
    desk.world.clock.advance(DAY);
    let mut second = desk.world.standing.other.clone();
    second.groups.insert("administrators".parse().unwrap());
    desk.world.put(FactKey::person(&second.id), &second).await;
    let refused = desk.run_as(&second.id, renew(&desk)).await;
    assert_eq!(word(&refused), "refused");
    let why = refused.expect_err("it is refused").to_string();
    assert!(why.contains("only its sponsor says that it goes on"), "{why}");
    let name = before.name.to_string();
    desk.run(Command::AgentAffirm { name, word: None }).await.expect("it is affirmed");
    let mut moved = desk.world.standing.sponsor.clone();
    moved.moved = Some(desk.world.clock.now());
    desk.world.put(FactKey::person(&moved.id), &moved).await;
    assert_eq!(word(&desk.run(renew(&desk)).await), "invalid", "they affirm it first");
    assert_eq!(agent(&desk).await.leased_until(), before.leased_until());
}

/// Backups are other people who are there, and no more of them than there may be.
#[tokio::test]
async fn i_18_backups_are_named_up_to_their_limit() {
    let desk = desk().await;
    for id in ["ann", "bob", "carl", "dora", "gone"] {
        let add = Command::PersonAdd { id: id.to_owned(), groups: Vec::new() };
        desk.run(add).await.expect("they are added");
    }
    desk.run(Command::PersonDeactivate { id: "gone".to_owned() }).await.expect("they left");
    let all = ["ann", "bob", "carl", "dora"];
    for wrong in [
        &all[..],
        &["gone"],
        &["nobody"],
        &["ann", "ann"],
        &["sam.sponsor@example.org"],
        &["no one"],
    ] {
        assert_eq!(word(&desk.run(registration(wrong)).await), "invalid", "{wrong:?}");
    }
    desk.run(registration(&all[..BACKUPS_MAX])).await.expect("it is registered");
    let key = FactKey::agent(&"new".parse().unwrap());
    assert_eq!(desk.fact(key).await.unwrap()["backups"], json!(&all[..BACKUPS_MAX]));
}
