//! R35: of two requests that differ in one circumstance alone, policy can tell one from the other, and the record
//! shows by which value.

use std::time::Duration;

use model::{
    ActionName, Agreed, Binding, Clock as _, FactKey, Harm, MandateBasis, ResourceRef, Risk,
    RiskLevel, SessionFacts, Sha256Digest, TaskId, TaskSubject,
};
use serde_json::{Value, json};

use crate::labels::{assert_forbidden, labelled};
use crate::stops::handed_on;
use crate::support::{Act, Facts, World};

const ALL: &str = r#"@id("all") permit (principal, action, resource in Server::"crm");"#;
const CALL: &str = "tools/call";
const READ: &str = "resources/read";

fn call(world: &World) -> Act {
    world.call("lookup", json!({ "amount": 50 }))
}

fn read(world: &World, uri: &str) -> Act {
    let (server, uri) = (world.standing.server.name.clone(), uri.to_owned());
    world.act(ActionName::method(READ), ResourceRef::Resource { server, uri }, Value::Null)
}

async fn with(change: impl FnOnce(&mut Facts)) -> World {
    Box::pin(World::labelled_with(change)).await
}

/// What the newest decision tells at `place`: in clear (`record`), or as what it or its facts leaf commits to is
/// disclosed (`own`, `facts`).
async fn told(world: &World, place: &str) -> Value {
    let record = world.records("decision").await.pop().expect("it is recorded");
    let mut path = place.splitn(3, '/');
    let (of, member) = (path.next().expect("one"), path.next().expect("a member"));
    let rest = path.next().map(|rest| format!("/{rest}")).unwrap_or_default();
    let value = match of {
        "record" => record.value[member].clone(),
        "own" => world.disclosure(&record).await.value(member).cloned().unwrap_or_default(),
        _ => {
            let id = record.value["facts"]["id"].clone();
            let leaf = world.log().await.into_iter().find(|it| it.value["id"] == id);
            let leaf = world.disclosure(&leaf.expect("the leaf that it names")).await;
            leaf.value(member).cloned().unwrap_or_default()
        }
    };
    value.pointer(&rest).cloned().unwrap_or_default()
}

/// A policy that forbids `action` under a condition permits `usual` as things usually are, and denies `act` in the
/// `changed` world; the record says by which value.
async fn check(
    (action, condition): (&str, &str),
    usual: fn(&World) -> Act,
    (changed, act): (World, impl FnOnce(&World) -> Act),
    (place, value): (&str, Value),
) {
    let forbid = format!(
        r#"@id("it") forbid (principal, action in Action::"{action}", resource) when {{ {condition} }};"#
    );
    let usually = with(|_| {}).await;
    for world in [&usually, &changed] {
        world.publish_labelled(&format!("{ALL}{forbid}")).await;
    }
    let permitted = usually.authorize(usual(&usually)).await;
    assert!(permitted.is_ok(), "{condition}: {permitted:?}");
    assert_ne!(told(&usually, place).await, value, "{condition}");
    assert_forbidden(changed.authorize(act(&changed)).await);
    assert_eq!(told(&changed, place).await, value, "{condition}");
    assert_eq!(told(&changed, "record/policies").await, json!(["it"]));
}

/// The same mandate, changed, under the task.
fn mandated(facts: &mut Facts) {
    facts.task.mandate_digest = facts.mandate.digest();
}

/// The work as the other person agreed to it; parts of it may be handed on.
pub(crate) fn consented(facts: &mut Facts) {
    let subject = facts.other.id.clone();
    facts.task.subject = TaskSubject::OnBehalfOf { person: subject.clone() };
    let agreed = Agreed {
        harm: [("crm/lookup".parse().expect("a tool"), [Harm::ReadsData].into())].into(),
        delegable: true,
        ..Agreed::default()
    };
    let request = Sha256Digest::of(b"what they were shown");
    facts.mandate.basis =
        MandateBasis::Consented { subject, request, once: true, agreed, session: None };
    mandated(facts);
}

#[tokio::test]
async fn r_35_who_acts_for_whom_can_change_the_answer_and_is_recorded() {
    let subject = json!("olga.other@example.org");
    let world = with(consented).await;
    let place = ("facts/standing/subject/id", subject.clone());
    check((CALL, "context has subject"), call, (world, call), place).await;

    let world = with(consented).await;
    check((CALL, "context has subject"), call, (world, call), ("own/subject", subject)).await;

    let world = with(|facts| {
        let other: model::AgentName = "other".parse().expect("an agent");
        (facts.agent.name, facts.instance.agent) = (other.clone(), other.clone());
        facts.mandate.agent = other;
        mandated(facts);
    })
    .await;
    let is_other = r#"principal in Agent::"other""#;
    check((CALL, is_other), call, (world, call), ("record/agent", json!("other"))).await;

    let world = with(|facts| facts.sponsor.unit = Some("CC-47".parse().expect("a unit"))).await;
    let unit = r#"context.sponsor has unit && context.sponsor.unit == "CC-47""#;
    let place = ("facts/standing/sponsor/unit", json!("CC-47"));
    check((CALL, unit), call, (world, call), place).await;

    let world = labelled(Box::pin(handed_on(1)).await).await;
    let place = ("facts/standing/delegators/0/agent/name", json!("lead-1"));
    check((CALL, "context.depth == 1"), call, (world, call), place).await;
}

#[tokio::test]
async fn r_35_what_is_done_to_what_can_change_the_answer_and_is_recorded() {
    let deploy = |world: &World| world.call("deploy", json!({ "amount": 50 }));
    let tool = (CALL, r#"resource == Tool::"crm/deploy""#);
    let place = ("record/resource", json!("Tool::crm/deploy"));
    check(tool, call, (with(|_| {}).await, deploy), place).await;

    let much = |world: &World| world.call("lookup", json!({ "amount": 500 }));
    let amount = (CALL, "context.input has amount && context.input.amount > 100");
    let place = ("own/arguments/amount", json!(500));
    check(amount, call, (with(|_| {}).await, much), place).await;

    let uri = (READ, r#"resource == Resource::"crm/notes://b""#);
    let place = ("own/object", json!("notes://b"));
    let (one, other) =
        (|world: &World| read(world, "notes://a"), |world: &World| read(world, "notes://b"));
    check(uri, one, (with(|_| {}).await, other), place).await;

    let world = with(|facts| facts.tools[0].harm = [Harm::ReadsData, Harm::ExposesData].into());
    let sensitive = (CALL, r#"resource.harm.contains("exposes-data")"#);
    let place = ("facts/tool/harm", json!(["reads-data", "exposes-data"]));
    check(sensitive, call, (world.await, call), place).await;

    let world = with(|facts| {
        facts.server.place.environment = Some("production".parse().expect("an environment"));
    });
    let environment = (CALL, r#"resource.environment == "production""#);
    let place = ("facts/server/place/environment", json!("production"));
    check(environment, call, (world.await, call), place).await;

    let world = with(|facts| facts.server.enforcement = model::Enforcement::Bypassable);
    let route = (CALL, r#"resource.enforcement == "bypassable""#);
    check(route, call, (world.await, call), ("record/enforcement", json!("bypassable"))).await;
}

#[tokio::test]
async fn r_35_what_for_and_after_what_can_change_the_answer_and_is_recorded() {
    let world = with(|facts| {
        let sales: model::PurposeId = "sales".parse().expect("a purpose");
        facts.agent.purposes = [sales.clone()].into();
        (facts.purpose.id, facts.mandate.purpose) = (sales.clone(), sales.clone());
        facts.task.purpose = sales;
        mandated(facts);
    });
    let purpose = (CALL, r#"context.purpose == "sales""#);
    let place = ("facts/standing/purpose/id", json!("sales"));
    check(purpose, call, (world.await, call), place).await;

    let id = TaskId::from_bytes([5; 16]);
    let world = with(|facts| (facts.task.id, facts.instance.task) = (id, id));
    let task = format!(r#"context.task.id == "{id}""#);
    check((CALL, &task), call, (world.await, call), ("record/task", json!(id))).await;

    let world = with(|_| {}).await;
    let labels = ["private".parse().expect("a label")].into();
    let session = SessionFacts { labels, ..SessionFacts::default() };
    world.put(FactKey::session(world.standing.task.id), &session).await;
    let labels = (CALL, r#"context.session.labels.contains("private")"#);
    check(labels, call, (world, call), ("own/session/labels", json!(["private"]))).await;

    let world = with(|_| {}).await;
    world.done(call(&world)).await.expect("it is permitted");
    let calls = (CALL, "context.session.counters.calls >= 1");
    check(calls, call, (world, call), ("own/session/counters/calls", json!(1))).await;

    let world = with(|facts| {
        facts.agent.risk = Some(Risk { level: RiskLevel::High, since: facts.task.opened });
    });
    let risk = (CALL, r#"context.risk == "high""#);
    let place = ("facts/standing/agent/risk/level", json!("high"));
    check(risk, call, (world.await, call), place).await;

    let by_certificate = |world: &World| {
        let mut act = call(world);
        act.circumstances.binding = Binding::Mtls;
        act
    };
    let binding = (CALL, r#"context.binding == "mtls""#);
    let world = with(|_| {}).await;
    check(binding, call, (world, by_certificate), ("record/binding", json!("mtls"))).await;

    let world = with(|_| {}).await;
    world.clock.advance(Duration::from_hours(2));
    let now = json!(world.clock.now());
    let time = (CALL, r#"context.now >= datetime("2026-01-01T02:00:00Z")"#);
    check(time, call, (world, call), ("record/time", now)).await;
}
