//! I-02, I-03, I-04: without a durable record of a permit there is no permit.

use std::collections::BTreeSet;

use authority::NotPermitted;
use model::record::OutcomeKind;
use model::{Denial, FactKey, Harm, InstanceId, KernelRule, Principal, ToolState};
use serde_json::json;
use store::{CommitError, Store as _};

use crate::support::elevations::revoking;
use crate::support::stores::{OnCommit, OnLoad};
use crate::support::{Act, POLICY, World, tool};

/// The reason, in one word.
fn reason(answer: &Result<authority::Permit<Act>, NotPermitted>) -> &'static str {
    match answer {
        Ok(_) => "permitted",
        Err(NotPermitted::Denied { denial, .. }) => denial.code(),
        Err(NotPermitted::FactsUnavailable(_)) => "facts_unavailable",
        Err(NotPermitted::ClockUnsure(_)) => "clock_unsure",
        Err(NotPermitted::Unrecorded(_)) => "unrecorded",
        Err(NotPermitted::Replayed(_)) => "replayed",
        Err(NotPermitted::Contended) => "contended",
        Err(NotPermitted::TimedOut) => "timed_out",
        Err(NotPermitted::Overloaded) => "overloaded",
    }
}

/// Breaks one step of one decision that would be permitted: it is refused as told, no record says
/// that it was permitted (unless the answer was lost), and the next decision is permitted.
async fn check(prepare: impl FnOnce(&World), expected: &str) {
    let world = World::new().await;
    // Nothing is read before that is still known, so the step is reached.
    prepare(&world);
    let answer = world.authorize(world.call("refund", json!({ "amount": 5 }))).await;
    assert_eq!(reason(&answer), expected);
    drop(answer);
    let permits = world.records("decision").await;
    assert!(permits.iter().all(|it| it.text_of("decision") != "permit"), "{permits:?}");
    let again = world.authorize(world.call("refund", json!({ "amount": 6 }))).await;
    assert_eq!(reason(&again), "permitted", "it does not go on");
}

fn refuse(error: CommitError) -> impl FnOnce(&World) {
    move |world| world.store.on_commit([OnCommit::Refuse(error)])
}

#[tokio::test]
async fn i_02_a_step_that_fails_is_a_denial_and_no_permit() {
    check(|world| world.store.on_load([OnLoad::Fail]), "facts_unavailable").await;
    check(|world| world.store.on_load([OnLoad::Damage]), "facts_unavailable").await;
    let unavailable = || CommitError::Unavailable("the disk is full".into());
    check(refuse(unavailable()), "unrecorded").await;
    check(refuse(CommitError::Overloaded), "unrecorded").await;
    check(refuse(CommitError::Used(None)), "replayed").await;
    check(refuse(CommitError::Lost), "unrecorded").await;
    let changed = || CommitError::Changed { key: FactKey::active_policy() };
    let three = |world: &World| {
        world.store.on_commit((0..3).map(|_| OnCommit::Refuse(changed())));
    };
    check(three, "contended").await;
    let exists = || CommitError::Exists { key: FactKey::active_policy() };
    let three = |world: &World| {
        world.store.on_commit((0..3).map(|_| OnCommit::Refuse(exists())));
    };
    check(three, "contended").await;
}

#[tokio::test]
async fn i_02_a_disclosure_that_cannot_be_sealed_is_no_permit() {
    let world = World::new().await;
    let data_key = FactKey::data_key(&world.standing.sponsor.id);
    world.put(data_key, &json!({ "wrapped": "00" })).await;
    let answer = world.authorize(world.call("lookup", json!({}))).await;
    assert_eq!(reason(&answer), "unrecorded");
    assert!(world.records("decision").await.is_empty());
}

/// Facts that were changed twice while it was decided: the third time it is permitted.
#[tokio::test]
async fn a_decision_is_made_again_when_its_facts_change() {
    let world = World::new().await;
    let agent = &world.standing.agent;
    let rewritten = || {
        OnCommit::After(store::Unit {
            effects: vec![crate::support::put(FactKey::agent(&agent.name), agent)],
            ..store::Unit::default()
        })
    };
    world.store.on_commit([rewritten(), rewritten()]);
    let permit = world.authorize(world.call("lookup", json!({}))).await;
    assert_eq!(reason(&permit), "permitted");
    assert_eq!(world.records("decision").await.len(), 1);
    drop(permit);
    world.store.on_commit([rewritten(), rewritten(), rewritten()]);
    let answer = world.authorize(world.call("lookup", json!({}))).await;
    assert_eq!(reason(&answer), "contended");
}

/// A hang ends in a denial at the deadline, by the clock of the runtime, which is made to stand
/// still: nothing else passes the time.
#[tokio::test]
async fn i_02_a_hanging_commit_is_a_denial_at_the_deadline() {
    let world = World::new().await;
    drop(world.authorize(world.call("lookup", json!({}))).await.expect("facts are known now"));
    world.drained().await;
    world.store.on_commit([OnCommit::Hang]);
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let answer = world.authorize(world.call("lookup", json!({}))).await;
    assert_eq!(reason(&answer), "timed_out");
    let took = began.elapsed();
    assert!(took >= crate::support::DECISION_TIMEOUT, "{took:?}");
    assert!(took < crate::support::DECISION_TIMEOUT + std::time::Duration::from_millis(50));
}

#[tokio::test]
async fn i_02_a_hanging_read_is_a_denial_at_the_deadline() {
    let world = World::new().await;
    world.store.on_load([OnLoad::Hang]);
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let answer = world.authorize(world.call("lookup", json!({}))).await;
    assert_eq!(reason(&answer), "timed_out");
    let took = began.elapsed();
    assert!(took < crate::support::DECISION_TIMEOUT + std::time::Duration::from_millis(50));
}

/// The commit of a decision that took too long may still permit: then the permit, which nobody
/// holds, is closed, and an equal act is not forbidden.
#[tokio::test]
async fn i_02_a_permit_that_came_too_late_is_closed_as_not_started() {
    let world = World::new().await;
    world.store.on_commit([OnCommit::Hold]);
    let act = world.call("refund", json!({ "amount": 5 }));
    let asked = world.authority.authorize(act.clone());
    tokio::select! {
        _ = asked => panic!("the commit was not held"),
        () = world.store.commits_came() => {}
    }
    world.store.release();
    world.drained().await;
    assert_eq!(world.outcomes().await, ["not_started"]);
    assert!(world.store.open_permits().await.unwrap().is_empty());
    assert_eq!(reason(&world.authorize(act).await), "permitted");
}

#[tokio::test]
async fn i_02_an_answer_that_was_lost_is_a_denial_and_ends_as_unknown() {
    let world = World::new().await;
    world.store.on_commit([OnCommit::WrittenButLost]);
    let act = world.call("refund", json!({ "amount": 5 }));
    assert_eq!(reason(&world.authorize(act.clone()).await), "unrecorded");
    let world = world.restarted().await;
    assert_eq!(world.outcomes().await, ["unknown"]);
    assert_eq!(reason(&world.authorize(act).await), "outcome_unknown");
}

#[tokio::test]
async fn i_03_absence_never_permits() {
    // No policy set was ever put in force.
    let world = World::new().await;
    world.publish("").await;
    let answer = world.authorize(world.call("lookup", json!({}))).await;
    assert_eq!(reason(&answer), "not_granted");
    // No rule names the tool.
    world.publish(r#"@id("a") permit (principal, action, resource);"#).await;
    let answer = world.authorize(world.call("lookup", json!({}))).await;
    assert_eq!(reason(&answer), "not_granted");
    // No such tool, no such instance.
    world.publish(POLICY).await;
    let answer = world.authorize(world.call("nothing", json!({}))).await;
    assert_eq!(reason(&answer), "malformed");
    let mut act = world.call("lookup", json!({}));
    let nobody = InstanceId::from_bytes([7; 16]);
    act.circumstances.actor = authority::Actor::Known(nobody);
    act.request.principal = Principal::Instance(nobody);
    assert_eq!(reason(&world.authorize(act).await), "facts_unavailable");
    // A fact that everything rests on is gone.
    for key in [
        FactKey::person(&world.standing.sponsor.id),
        FactKey::agent(&world.standing.agent.name),
        FactKey::purpose(&world.standing.purpose.id),
        FactKey::mandate(world.standing.mandate.id),
        FactKey::task(world.standing.task.id),
        FactKey::instance(world.standing.instance.id),
    ] {
        let world = World::new().await;
        let effects = vec![store::Effect::Remove { key: key.clone() }];
        let unit = store::Unit { effects, ..store::Unit::default() };
        world.store.commit(unit).await.unwrap();
        let answer = world.authorize(world.call("lookup", json!({}))).await;
        assert_eq!(reason(&answer), "facts_unavailable", "without {key}");
    }
}

#[tokio::test]
async fn i_03_the_facts_of_another_instance_permit_nothing() {
    let world = World::new().await;
    let mut act = world.call("lookup", json!({}));
    act.request.principal = Principal::Instance(InstanceId::from_bytes([7; 16]));
    assert_eq!(reason(&world.authorize(act).await), "malformed");
}

#[tokio::test]
async fn i_04_a_policy_that_errors_denies_and_the_record_says_which() {
    let world = World::new().await;
    let broken = r#"@id("guard") forbid (principal, action == Action::"crm/lookup", resource)
                    when { context.input has amount && context.input.amount + 9223372036854775807 < 0 };"#;
    world.publish(&format!("{POLICY}{broken}")).await;
    let answer = world.authorize(world.call("lookup", json!({ "amount": 5 }))).await;
    assert_eq!(reason(&answer), "unevaluable");
    let record = world.records("decision").await.pop().unwrap();
    assert_eq!(record.value["policies"], json!(["guard"]));
    assert_eq!(record.text_of("decision"), "deny");
    let answer = world.authorize(world.call("lookup", json!({ "amount": -5 }))).await;
    assert_eq!(reason(&answer), "permitted");
}

#[tokio::test]
async fn i_07_a_tool_that_is_not_what_was_pinned_is_not_called() {
    let now = World::new().await.standing.task.opened;
    let changed = ToolState::Changed { descriptor: json!({}), seen: now };
    for state in [changed, ToolState::Gone { seen: now }] {
        let world = World::with(|facts| facts.tools[0].state = state).await;
        let answer = world.authorize(world.call("lookup", json!({}))).await;
        assert_eq!(reason(&answer), KernelRule::ToolNotPinned.as_str());
    }
}

#[tokio::test]
async fn denials_are_recorded_with_their_reason_before_they_are_told() {
    let world = World::new().await;
    let answer = world.authorize(world.call("refund", json!({ "amount": 500 }))).await;
    let Err(NotPermitted::Denied { denial, decision }) = answer else { panic!("it is denied") };
    assert!(matches!(*denial, Denial::NotGranted { .. }));
    let record = world.records("decision").await.pop().unwrap();
    assert_eq!(record.text_of("id"), decision.to_string());
    assert_eq!(record.text_of("reason"), "not_granted");
    assert!(world.outcomes().await.is_empty());
}

/// What a permit owes reaches whoever performs the act, and the record.
#[tokio::test]
async fn a_permit_tells_what_it_owes_and_so_does_its_record() {
    let world = World::new().await;
    let permit = world.authorize(world.call("deploy", json!({}))).await.unwrap();
    let owed: Vec<_> = permit.context().obligations.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(owed, ["notify:operations"]);
    let record = world.records("decision").await.pop().unwrap();
    assert_eq!(record.value["obligations"], json!(["notify:operations"]));
    assert!(permit.begin(world.clock.as_ref()).is_err(), "nobody can discharge it");
    let permit = world.authorize(world.call("lookup", json!({}))).await.unwrap();
    assert!(permit.context().obligations.is_empty());
}

/// Lets the step be done that a test adds.
const STEP: &str = r#"@id("step") permit (principal, action == Action::"crm/step", resource);"#;

/// R37: in a session that two people approved, each step that does more than read is decided for itself, on what
/// holds by then. That the same was permitted a step before is no answer.
#[tokio::test]
async fn r_37_in_an_approved_session_each_step_is_decided_for_itself() {
    for harm in Harm::ALL.into_iter().filter(|harm| *harm != Harm::ReadsData) {
        let world = World::with(|facts| {
            let owner = facts.sponsor.id.clone();
            facts.tools.push(tool("step", harm, &owner));
            facts.task.scope.tools = BTreeSet::from(["crm/lookup".parse().expect("a pattern")]);
        })
        .await;
        let step = async |amount: u64| {
            let answer = world.authorize(world.call("step", json!({ "amount": amount }))).await;
            let told = reason(&answer);
            if let Ok(permit) = answer {
                let Ok(begun) = permit.begin(world.clock.as_ref()) else { panic!("it begins") };
                begun.running.finish(OutcomeKind::Returned, None);
                world.drained().await;
            }
            told
        };
        world.publish(&format!("{POLICY}{STEP}")).await;
        let approved = world.elevate(&world.standing.task, &["step"]).await;
        for amount in [1, 1, 2] {
            assert_eq!(step(amount).await, "permitted", "{harm}");
        }
        world.publish(POLICY).await;
        assert_eq!(step(2).await, "not_granted", "{harm}");
        world.publish(&format!("{POLICY}{STEP}")).await;
        assert_eq!(step(2).await, "permitted", "{harm}");
        world.store.commit(revoking(&approved)).await.expect("it commits");
        assert_eq!(step(2).await, "outside_scope", "{harm}");

        let decisions = world.records("decision").await;
        let answers: Vec<_> = decisions.iter().map(|it| it.text_of("decision")).collect();
        assert_eq!(answers, ["permit", "permit", "permit", "deny", "permit", "deny"], "{harm}");
        let own: BTreeSet<_> = decisions.iter().map(|it| it.text_of("id")).collect();
        assert_eq!(own.len(), decisions.len(), "{harm}");
        let approvals: BTreeSet<_> = decisions
            .iter()
            .filter(|it| it.text_of("decision") == "permit")
            .map(|it| it.text_of("elevation").to_owned())
            .collect();
        assert_eq!(approvals, BTreeSet::from([approved.id.to_string()]), "{harm}");
    }
}
