//! A policy set under observation: it decides beside the one in force, is recorded, and changes no answer.

use std::time::Duration;

use authority::{AdminAct, ChangedBy, NotAdministered};
use model::{Clock as _, PolicyDigest, ResourceRef, Revision};
use pdp::Bundle;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::labels::of;
use crate::support::runs::run;
use crate::support::{Act, DECISION_TIMEOUT, POLICY, World, compiled};

/// What a set under observation may hold: what opens everything, guards, what cannot be evaluated, and what looks at the
/// session. All but the first four are what the set in force may hold, too.
const POLICIES: [&str; 9] = [
    r#"@id("all") permit (principal, action, resource);"#,
    r#"@id("crm") permit (principal, action, resource in Server::"crm");"#,
    r#"@id("nobody") forbid (principal, action, resource);"#,
    r#"@id("no-lookup") forbid (principal, action == Action::"crm/lookup", resource);"#,
    r#"@id("small") @remedy("approval") forbid (principal, action == Action::"crm/refund", resource)
       when { context.input has amount && context.input.amount > 50 };"#,
    r#"@id("fails") forbid (principal, action == Action::"crm/refund", resource)
       when { context.input has amount && context.input.amount * 9223372036854775807 < 0 };"#,
    r#"@id("after") forbid (principal, action == Action::"crm/refund", resource)
       when { context.session.used_tools.contains("crm/lookup") };"#,
    r#"@id("twice") forbid (principal, action == Action::"crm/lookup", resource)
       when { context.session.counters["crm/lookup"] >= 2 };"#,
    r#"@id("private") forbid (principal, action == Action::"crm/refund", resource)
       when { context.session.labels.contains("private") };"#,
];

/// How many sessions there are.
const SESSIONS: u16 = 2;

/// A call: in which session, of which tool, with which amount.
type Called = (u16, &'static str, i64);

fn called() -> impl Strategy<Value = Vec<Called>> {
    let tool = prop::sample::select(vec!["lookup", "refund", "deploy"]);
    prop::collection::vec((0..SESSIONS, tool, 0_i64..200), 1..10)
}

/// Has `policy` decide beside what is in force.
async fn observe(world: &World, policy: &str) -> PolicyDigest {
    observe_set(world, world.bundle(policy).await).await
}

async fn observe_set(world: &World, bundle: Bundle) -> PolicyDigest {
    let snapshot = compiled(bundle).await;
    let digest = snapshot.digest();
    world.authority.pip().observe(Some(snapshot));
    digest
}

/// What is answered to `act`.
async fn answer(world: &World, act: Act) -> String {
    match world.done(act).await {
        Ok(()) => "permitted".to_owned(),
        Err(error) => error.to_string(),
    }
}

async fn administer(world: &World) -> Result<(), NotAdministered> {
    let act = AdminAct {
        by: ChangedBy::person(world.standing.sponsor.id.clone()),
        action: "log/read",
        target: ResourceRef::Deployment,
        change: json!({}),
        reads: (Vec::new(), Revision(u64::MAX)),
        effects: Vec::new(),
    };
    world.authority.administer(act).await.map(drop)
}

/// The newest record of `kind`.
async fn newest(world: &World, kind: &str) -> Value {
    world.records(kind).await.pop().expect("it is recorded").value
}

/// What the set under observation came to where `act` is permitted, or is not: one that was not answered in time is asked
/// again.
async fn observed(world: &World, act: &Act, expected: &str) -> Value {
    loop {
        assert_eq!(answer(world, act.clone()).await, expected);
        let record = newest(world, "decision").await;
        if record["observed_set"]["reason"] != "late" {
            return record["observed_set"].clone();
        }
    }
}

/// What is answered to each call, and to an administrator, where what is `in_force` is besides what always is; and the
/// records of it, without what was observed.
async fn answers(
    in_force: &str,
    observed: Option<&str>,
    calls: &[Called],
) -> (Vec<String>, Vec<Value>) {
    let world = World::labelled().await;
    world.publish_labelled(&format!("{POLICY}{in_force}")).await;
    if let Some(observed) = observed {
        observe_set(&world, world.labelled_bundle(observed).await).await;
    }
    // All that the set in force looks at is remembered of sessions that are opened since it is.
    world.clock.advance(Duration::from_millis(1));
    let mut instances = Vec::new();
    for number in 0..SESSIONS {
        instances.push(world.another(number).await);
    }
    let mut answers = Vec::new();
    for &(session, tool, amount) in calls {
        let act = world.call(tool, json!({ "amount": amount }));
        answers.push(answer(&world, of(instances[usize::from(session)], act)).await);
    }
    answers.push(administer(&world).await.is_ok().to_string());
    let mut records = world.records("decision").await;
    records.extend(world.records("administration").await);
    let records = records.into_iter().map(|mut record| {
        let members = record.value.as_object_mut().expect("a record is an object");
        let was = members.remove("observed_set");
        assert_eq!(was.is_some(), observed.is_some(), "{members:?}");
        // Outcomes are written when they come: what was drawn for ids since is no part of an answer.
        for drawn in ["id", "commitments", "facts"] {
            members.remove(drawn);
        }
        record.value
    });
    (answers, records.collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn r_39_a_set_under_observation_changes_no_answer(
        in_force in prop::sample::subsequence(POLICIES[4..].to_vec(), 0..=POLICIES.len() - 4),
        observed in prop::sample::subsequence(POLICIES.to_vec(), 0..=POLICIES.len()),
        calls in called(),
    ) {
        let (in_force, observed) = (in_force.concat(), observed.concat());
        let (with, without) = run(async {
            let with = Box::pin(answers(&in_force, Some(&observed), &calls)).await;
            (with, Box::pin(answers(&in_force, None, &calls)).await)
        });
        prop_assert_eq!(with, without);
    }
}

/// What is drawn above answers by what was called before in the same session, and in no other.
#[tokio::test]
async fn what_is_in_force_beside_it_looks_at_the_session() {
    let calls = [
        (0, "refund", 1),
        (0, "lookup", 1),
        (0, "refund", 2),
        (1, "refund", 3),
        (0, "lookup", 1),
        (0, "lookup", 1),
    ];
    for (policy, denied) in [(POLICIES[6], 2_usize), (POLICIES[7], 5), (POLICIES[8], 2)] {
        let (answers, _) = Box::pin(answers(policy, None, &calls)).await;
        let calls = answers[..calls.len()].iter().enumerate();
        let others = calls.filter(|(_, answer)| *answer != "permitted").map(|(at, _)| at);
        assert_eq!(others.collect::<Vec<_>>(), [denied], "{policy}: {answers:?}");
    }
}

#[tokio::test]
async fn what_a_set_under_observation_would_have_answered_is_recorded_with_the_decision() {
    let world = World::new().await;
    let lookup = || world.call("lookup", json!({}));
    let refund = || world.call("refund", json!({ "amount": 80 }));
    let check = async |policy: &str, act: Act, told: Value| {
        let digest = observe(&world, policy).await;
        let mut observed = observed(&world, &act, "permitted").await;
        assert_eq!(observed["policy"], digest.to_string());
        observed.as_object_mut().expect("an object").remove("policy");
        assert_eq!(observed, told, "{policy}");
    };
    let denied = |reason: &str| json!({ "decision": "deny", "reason": reason });
    check("", lookup(), denied("not_granted")).await;
    check(
        POLICY,
        lookup(),
        json!({ "decision": "permit", "policies": ["reading"], "reason": "granted" }),
    )
    .await;
    let guarded = format!("{POLICY}{}{}", POLICIES[3], POLICIES[4]);
    let by =
        |id: &str, reason: &str| json!({ "decision": "deny", "policies": [id], "reason": reason });
    check(&guarded, lookup(), by("no-lookup", "forbidden")).await;
    check(&guarded, refund(), by("small", "forbidden")).await;
    let fails = format!("{POLICY}{}", POLICIES[5]);
    check(&fails, refund(), by("fails", "unevaluable")).await;
    let found = world.authority.pip().observation().expect("it is under observation");
    assert_eq!((found.alike, found.newly_denied, found.newly_permitted), (0, 1, 0));

    // What is denied is denied, whatever would permit it; and who administers is observed as well.
    let open = format!("{POLICY}{}", POLICIES[1]);
    observe(&world, &open).await;
    let much = world.call("refund", json!({ "amount": 500 }));
    let denied = "no policy grants this access";
    assert_eq!(observed(&world, &much, denied).await["decision"], "permit");
    let found = world.authority.pip().observation().expect("it is under observation");
    assert_eq!((found.alike, found.newly_permitted), (0, 1));
    assert!(administer(&world).await.is_ok());
    let record = newest(&world, "administration").await;
    assert!(["granted", "late"].contains(&record["observed_set"]["reason"].as_str().expect("why")));

    world.authority.pip().observe(None);
    assert_eq!(answer(&world, lookup()).await, "permitted");
    assert_eq!(newest(&world, "decision").await["observed_set"], Value::Null);
    assert_eq!(world.authority.pip().observation(), None);
}

/// A policy under observation is told of where it would have changed the answer, or denies the same, whatever the
/// answer was.
#[tokio::test]
async fn what_a_policy_under_observation_would_have_done_is_recorded_with_denials_too() {
    let world = World::new().await;
    let check = async |policy: &str, amount: i64, decision: &str, told: Value| {
        world.publish(&format!("{POLICY} @mode(\"observe\") {policy}")).await;
        answer(&world, world.call("refund", json!({ "amount": amount }))).await;
        let record = newest(&world, "decision").await;
        assert_eq!((&record["decision"], &record["observed"]), (&json!(decision), &told));
    };
    let more = r#"@id("more") permit (principal, action == Action::"crm/refund", resource);"#;
    check(more, 500, "deny", json!(["more"])).await;
    check(more, 50, "permit", Value::Null).await;
    check(POLICIES[2], 500, "deny", json!(["nobody"])).await;
    check(POLICIES[2], 50, "permit", json!(["nobody"])).await;
    check(POLICIES[5], 500, "deny", json!(["fails"])).await;
    check(POLICIES[3], 500, "deny", Value::Null).await;
}

/// A decision that has no time left is not made later by it.
#[tokio::test]
async fn a_set_under_observation_that_is_late_is_not_waited_for() {
    let world = World::new().await;
    observe(&world, POLICIES[2]).await;
    let mut act = world.call("lookup", json!({}));
    act.circumstances.arrived = world.clock.monotonic();
    world.clock.advance(DECISION_TIMEOUT);
    assert_eq!(answer(&world, act).await, "permitted");
    let observed = newest(&world, "decision").await["observed_set"].clone();
    assert_eq!((&observed["reason"], &observed["decision"]), (&json!("late"), &Value::Null));
    let found = world.authority.pip().observation().expect("it is under observation");
    assert_eq!(found.unanswered, 1);
}

/// A record that it would make too large is kept without it.
#[tokio::test]
async fn i_18_what_is_observed_makes_no_record_too_large() {
    let world = World::new().await;
    let forbid = |n: usize| {
        let id = format!("{n:0>120}");
        format!("@id(\"{id}\") forbid (principal, action == Action::\"crm/lookup\", resource);\n")
    };
    let many: String = (0..200).map(forbid).collect();
    observe(&world, &format!("{POLICY}{many}")).await;
    let call = world.call("lookup", json!({}));
    assert_eq!(observed(&world, &call, "permitted").await, Value::Null);
    let found = world.authority.pip().observation().expect("it is under observation");
    assert_eq!(found.newly_denied, 1);

    let many = many.replace("@id", "@mode(\"observe\") @id").replace("lookup", "refund");
    world.publish(&format!("{POLICY}{many}")).await;
    for (amount, decision) in [(50, "permit"), (500, "deny")] {
        answer(&world, world.call("refund", json!({ "amount": amount }))).await;
        let record = newest(&world, "decision").await;
        assert_eq!((&record["decision"], &record["observed"]), (&json!(decision), &Value::Null));
    }
}

/// What it looks at and nobody remembers yet it is not asked about, and no more is made of it.
#[tokio::test]
async fn what_is_not_remembered_for_a_set_under_observation_is_unknown_to_it() {
    let world = World::new().await;
    let twice = r#"@id("twice") forbid (principal, action == Action::"crm/lookup", resource)
        when { context.session.counters["crm/lookup"] >= 2 };"#;
    let counting = format!("{POLICY}{twice}");
    let lookup = || world.call("lookup", json!({}));
    observe(&world, &counting).await;
    let told = observed(&world, &lookup(), "permitted").await;
    assert_eq!((&told["reason"], &told["decision"]), (&json!("unknown"), &Value::Null));
    let refund = world.call("refund", json!({ "amount": 80 }));
    assert_eq!(observed(&world, &refund, "permitted").await["reason"], "granted");
    world.publish(&counting).await;
    world.clock.advance(Duration::from_millis(1));
    let later = of(world.another(1).await, lookup());
    assert_eq!(observed(&world, &later, "permitted").await["reason"], "granted");
}
