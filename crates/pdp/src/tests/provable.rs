//! What proofs assume, against what is decided.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::EntityUid;
use model::{Decision, Harm, ResourceRef, ToolRef};
use serde_json::json;

use super::fixtures::{Case, bundle, person, snapshot, tool_ref};
use crate::context::{self, AskedFor, Given};
use crate::decide::{arguments, entities};
use crate::entities::World;
use crate::evaluate::Question;
use crate::provable::{Posed, assumed, holds};
use crate::{CompileErrors, Snapshot};

const EVERYTHING: &str = r#"@id("all") permit (principal, action, resource);
    @id("crm") permit (principal, action, resource in Server::"crm");
    @id("refund") permit (principal, action == Action::"payments/refund", resource);"#;

fn harm() -> BTreeMap<ToolRef, BTreeSet<Harm>> {
    let tools = ["payments/refund", "crm/lookup"].map(tool_ref);
    tools.into_iter().map(|tool| (tool, BTreeSet::from([Harm::ReadsData]))).collect()
}

/// Whether all that proofs assume is so of the question that `case` puts; what is not so, else.
fn is_as_assumed(snapshot: &Snapshot, case: &Case, as_subject: bool) -> Option<Result<(), String>> {
    let facts = case.facts();
    let action = snapshot.vocabulary.actions.get(case.request.action.as_str())?;
    let world = World::of(&case.request, &facts, snapshot.labels());
    let principal = if as_subject { world.subject.clone()? } else { world.actor.clone() };
    let all = AskedFor::Everything;
    let (input, unread) = arguments(&case.request, action)?;
    let given = Given { input, unread: &unread, provenance: None, outside: false };
    let counted = &snapshot.remembered().counted;
    let context = context::of((&facts, None), given, (counted, &all))?;
    let entities = entities(&action.placed, world.nodes, &all)?;
    let resource = world.resource;
    let question = Question { action: &action.placed, resource, context, entities, unread };
    let request = question.of(&principal)?;
    let assumed = assumed(action, principal.uid.type_name().basename(), &harm());
    assert!(!assumed.is_empty());
    Some(assumed.iter().try_for_each(|it| holds(it, &request, &question.entities)))
}

/// Unless it is assumed wrongly, whatever is not as proofs assume is denied without any policy.
fn check(case: &Case, is_permitted: bool) {
    let snapshot = snapshot(EVERYTHING);
    let decision = case.decide(&snapshot);
    assert_eq!(matches!(decision, Decision::Permit(_)), is_permitted, "{decision:?}");
    let held = [false, true].map(|as_subject| is_as_assumed(&snapshot, case, as_subject));
    let held: Vec<_> = held.into_iter().flatten().collect();
    assert!(!held.is_empty());
    assert_eq!(held.iter().all(Result::is_ok), is_permitted, "{held:?}");
}

#[test]
fn what_is_permitted_is_as_proofs_assume() {
    let refund = || Case::call("payments/refund", json!({ "amount": 5 }));
    check(&refund(), true);
    check(&refund().on_behalf_of(person("carla", &["clerks"])), true);
    check(&Case::call("crm/lookup", json!({ "id": 5 })).handed_on(2), true);
    check(&Case::call("crm/lookup", json!({ "id": 5 })).handed_on(8), true);
    check(&Case::method("tools/list", "crm"), true);
    let purpose = || ResourceRef::Purpose("care".parse().expect("a purpose"));
    check(&Case::administer("purpose/add", purpose(), person("ada", &[])), true);

    let gone = |mut person: model::Person| {
        person.state = model::PersonState::Inactive { since: super::fixtures::NOW };
        person
    };
    check(&Case::administer("purpose/add", purpose(), gone(person("ada", &[]))), false);
    check(&refund().on_behalf_of(gone(person("carla", &[]))), false);
    let mut no_sponsor = refund();
    no_sponsor.standing.sponsor = gone(no_sponsor.standing.sponsor);
    check(&no_sponsor, false);
    let mut elsewhere = refund();
    elsewhere.request.resource = ResourceRef::Tool(tool_ref("crm/lookup"));
    check(&elsewhere, false);
}

/// A property says what is to be shown; it decides nothing, and no set has it.
#[test]
fn a_property_is_no_policy_and_a_policy_no_property() {
    let properties = |text: &str| Snapshot::compile_properties(bundle(text));
    let refused = |result: Result<Snapshot, CompileErrors>, why: &str| {
        let told = result.expect_err("it is refused").to_string();
        assert!(told.contains(why), "{told}");
    };
    let never = r#"@id("x") @property("never-permits") forbid (principal, action, resource);"#;
    assert!(properties(never).is_ok());
    refused(Snapshot::compile(bundle(never)), "belongs into `properties/`");
    refused(properties(EVERYTHING), "needs `@property`");
    let other = never.replace("forbid", "permit");
    refused(properties(&other), "`never-permits` is written as a forbid");
    let other = never.replace("never", "always");
    refused(properties(&other), "`always-permits` is written as a permit");
    refused(properties(&never.replace("never", "often")), "unknown property");
    let reaches = never.replace("never-permits", "never-reaches");
    refused(properties(&reaches), "names no principal");
    let named = reaches.replace("principal", r#"principal in Agent::"billing""#);
    let ids: Vec<_> = properties(&named).expect("it compiles").ids_of_all().cloned().collect();
    assert_eq!(ids, ["x", "x/handed-on", "x/by-others"].map(model::PolicyId::from));
    for people in [r#"principal in Group::"clerks""#, "principal is Person"] {
        refused(properties(&reaches.replace("principal", people)), "for whom work is done stays");
    }
    let observed = never.replace("forbid", r#"@mode("observe") forbid"#);
    refused(properties(&observed), "`@mode` means nothing of a property");
}

#[test]
fn a_set_as_text_has_what_decides_where_it_can_decide() {
    let policies = r#"@id("lookup") permit (principal, action == Action::"crm/lookup", resource);
        @id("calls") forbid (principal is Instance, action in Action::"tools/call", resource);
        @id("lists") permit (principal, action == Action::"tools/list", resource);
        @id("seen") @mode("observe") forbid (principal, action, resource);"#;
    let set = snapshot(policies).provable(&harm()).expect("it has a text");
    let check = |principal: &str, action: &str, expected: &[&str], is_callable: bool| {
        let mut all = set.environments.iter();
        let found = all.find(|it| it.principal == principal && it.action == action);
        let found = found.expect("it is there");
        let ids: Vec<_> = found.policies.iter().map(|it| set.policies[*it].id.as_str()).collect();
        assert_eq!((ids.as_slice(), found.is_callable), (expected, is_callable));
    };
    check("Instance", "crm/lookup", &["lookup", "calls"], true);
    check("Person", "crm/lookup", &["lookup"], true);
    check("Instance", "payments/refund", &["calls"], false);
    check("Person", "tools/list", &["lists"], true);
    check("Person", "purpose/add", &[], true);
    let no_policy = ["consent/withdraw", "person/restrict", "agent/restrict"];
    assert!(set.environments.iter().all(|it| !no_policy.contains(&it.action.as_str())));
}

#[test]
fn a_question_is_answered_as_a_decision_is() {
    let snapshot = snapshot(
        r#"@id("lookup") permit (principal in Agent::"billing", action == Action::"crm/lookup", resource in Server::"crm")
        when { context.input.id > 3 };
        @id("sum") forbid (principal, action == Action::"crm/lookup", resource)
        when { context.input.id + 1 < 0 };
        @id("calls") permit (principal, action in Action::"tools/call", resource);"#,
    );
    let uid = |text: &str| -> EntityUid { text.parse().expect("a name") };
    let entity = |text: &str, parents: &[&str]| {
        let name = |text: &str| json!({ "type": uid(text).type_name().to_string(), "id": uid(text).id().unescaped() });
        let parents: Vec<_> = parents.iter().map(|it| name(it)).collect();
        json!({ "uid": name(text), "attrs": {}, "parents": parents })
    };
    let pose = |tool: &str, id: i64| {
        let server = format!("Server::\"{}\"", tool.split('/').next().unwrap_or_default());
        let resource = format!("Tool::\"{tool}\"");
        let posed = Posed {
            principal: r#"Instance::"i""#.to_owned(),
            action: format!("Action::\"{tool}\""),
            resource: resource.clone(),
            context: json!({ "input": { "id": id } }),
            entities: json!([
                entity(r#"Instance::"i""#, &[r#"Agent::"billing""#]),
                entity(&resource, &[&server]),
            ]),
        };
        let answer = snapshot.pose(&posed, &[]).expect("it can be asked");
        (answer.is_permitted, answer.permits.len(), answer.errors.len())
    };
    assert_eq!(pose("crm/lookup", 5), (true, 2, 0));
    assert_eq!(pose("crm/lookup", 1), (true, 1, 0));
    assert_eq!(pose("crm/lookup", i64::MAX), (false, 2, 1));
    // No permit names it.
    assert_eq!(pose("payments/refund", 5), (false, 1, 0));
}
