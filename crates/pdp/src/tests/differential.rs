//! The candidate index and our way of asking, against Cedar's own authorizer over the whole set.

use std::collections::BTreeSet;

use cedar_policy::{AuthorizationError, Authorizer, Effect, PolicySet, Request};
use model::{Harm, ResourceRef};
use proptest::prelude::*;
use serde_json::json;

use super::fixtures::{Case, person, snapshot, tool};
use crate::Snapshot;
use crate::candidates::{Asked, Placed};
use crate::context::{self, AskedFor, Given};
use crate::decide::{arguments, entities};
use crate::entities::World;
use crate::evaluate::{Question, Said};
use crate::labels::Labels;
use crate::schema::Action;

pub(super) const PRINCIPALS: [&str; 8] = [
    "principal",
    r#"principal in Agent::"billing""#,
    r#"principal in Agent::"other""#,
    "principal is Instance",
    "principal is Person",
    r#"principal is Person in Group::"clerks""#,
    r#"principal in Group::"guests""#,
    r#"principal == Person::"carla""#,
];
pub(super) const ACTIONS: [&str; 7] = [
    "action",
    r#"action in Action::"tools/call""#,
    r#"action == Action::"payments/refund""#,
    r#"action == Action::"crm/lookup""#,
    r#"action in [Action::"tools/list", Action::"payments/refund"]"#,
    r#"action in [Action::"tools/call", Action::"crm/lookup"]"#,
    r#"action == Action::"tools/list""#,
];
pub(super) const RESOURCES: [&str; 8] = [
    "resource",
    "resource is Tool",
    "resource is Server",
    r#"resource in Server::"payments""#,
    r#"resource in Server::"crm""#,
    r#"resource is Tool in Server::"payments""#,
    r#"resource == Tool::"payments/refund""#,
    r#"resource == Server::"crm""#,
];
/// Some of them fail for some requests: sums that overflow, attributes that are not there.
const CONDITIONS: [&str; 16] = [
    "",
    "when { context has depth && context.depth == 0 }",
    r#"when { context has purpose && context.purpose == "care" }"#,
    r#"unless { context has session && context.session.labels.contains("external") }"#,
    "when { context has session && context.session.counters.calls * 2 > 4 }",
    "when { context has session && context.session.counters.calls + 1 < 3 }",
    "when { context has subject && context.subject.active }",
    r#"when { context has subject && context.subject in Group::"clerks" }"#,
    r#"when { context has sponsor && context.sponsor in Group::"staff" }"#,
    "when { context has sponsor && context.sponsor.active }",
    "when { resource has owner && resource.owner.active }",
    r#"when { resource in Server::"payments" || principal in Agent::"billing" }"#,
    r#"when { principal is Instance in Agent::"billing" }"#,
    r#"when { if context has subject then context.subject in Group::"clerks" else principal in Agent::"billing" }"#,
    r#"when { { of: principal in [Agent::"billing", Agent::"other"] }.of }"#,
    r#"unless { context has sponsor && [context.sponsor in Group::"staff"].contains(false) }"#,
];
/// Whom something is done to that is done to people.
const PEOPLE: [&str; 4] = [
    "resource",
    r#"resource in Group::"clerks""#,
    r#"resource is Person in Group::"clerks""#,
    r#"resource == Person::"carla""#,
];
/// What is asked of them.
const OF_PEOPLE: [&str; 5] = [
    "",
    "when { principal == resource }",
    "when { resource.active }",
    r#"when { resource has unit || resource in Group::"clerks" }"#,
    r#"unless { principal in Group::"clerks" && resource.active }"#,
];

pub(super) type Parts = (bool, usize, usize, usize, usize);

pub(super) fn policy() -> impl Strategy<Value = Parts> {
    let parts = (0..PRINCIPALS.len(), 0..ACTIONS.len(), 0..RESOURCES.len(), 0..CONDITIONS.len());
    (any::<bool>(), parts).prop_map(|(forbid, (p, a, r, c))| (forbid, p, a, r, c))
}

/// The text of a policy; some combinations can never match, and Cedar refuses those.
pub(super) fn text(position: usize, &(forbid, p, a, r, c): &Parts) -> Option<String> {
    let effect = if forbid { "forbid" } else { "permit" };
    let text = format!(
        "@id(\"p{position}\") {effect}({}, {}, {}) {};\n",
        PRINCIPALS[p], ACTIONS[a], RESOURCES[r], CONDITIONS[c]
    );
    Snapshot::compile(super::fixtures::bundle(&text)).is_ok().then_some(text)
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let calls = prop_oneof![0_i64..5, Just(i64::MAX), Just(i64::MAX / 2 + 1)];
    (0..3_usize, any::<Option<bool>>(), calls, any::<bool>()).prop_map(
        |(which, subject, calls, external)| {
            let mut case = match which {
                0 => Case::call("payments/refund", json!({ "amount": 5 })),
                1 => Case::call("crm/lookup", json!({ "id": 5 })),
                _ => Case::method("tools/list", "crm"),
            };
            if let Some(clerk) = subject {
                let groups: &[&str] = if clerk { &["clerks"] } else { &["guests", "staff"] };
                case = case.on_behalf_of(person(if clerk { "carla" } else { "gus" }, groups));
            }
            case.facts.session.counters.insert("calls".to_owned(), calls);
            if external {
                case.facts.session.labels.insert("external".parse().unwrap());
                case.tool = case.tool.map(|it| tool(&it.tool.to_string(), &[Harm::RunsCode]));
            }
            case
        },
    )
}

/// What Cedar says of the whole set, as sets of ids: permits or forbids, and errors.
struct Whole {
    allowed: bool,
    reasons: BTreeSet<String>,
    errors: BTreeSet<String>,
}

fn ask_cedar(snapshot: &Snapshot, case: &Case, as_subject: bool) -> Option<(Whole, Said)> {
    let facts = case.facts();
    let action = snapshot.vocabulary.actions.get(case.request.action.as_str())?;
    // They are looked for before it is known how far they look.
    let world = World::near(&case.request, &facts, &Labels::default());
    let principal = if as_subject { world.subject.clone()? } else { world.actor.clone() };
    let candidates = snapshot.candidates(&world, &principal, action).ok()?;
    let (placed, resource) = (&action.placed, &world.resource.clone());
    assert_eq!(candidates, scanned(snapshot, &principal, placed, resource));

    // We build what the candidates name; Cedar gets everything.
    let asked: Vec<_> = candidates.iter().map(|it| snapshot.policies[*it].as_ref()).collect();
    let ours = question(case, action, &AskedFor::by(&asked))?;
    let said = snapshot.ask(&ours, &principal, &candidates).ok()?;
    let question = question(case, action, &AskedFor::Everything)?;
    let policies = snapshot.policies.iter().flat_map(|it| it.alone.policies().cloned());
    let set = PolicySet::from_policies(policies).ok()?;
    let uids = (principal.uid.clone(), question.action.uid.clone(), question.resource.uid.clone());
    let request = Request::new(uids.0, uids.1, uids.2, question.context.clone(), None).ok()?;
    let response = Authorizer::new().is_authorized(&request, &set, &question.entities);
    let errors = response.diagnostics().errors();
    let errors =
        errors.map(|AuthorizationError::PolicyEvaluationError(it)| it.policy_id().to_string());
    let whole = Whole {
        allowed: response.decision() == cedar_policy::Decision::Allow,
        reasons: response.diagnostics().reason().map(ToString::to_string).collect(),
        errors: errors.collect(),
    };
    Some((whole, said))
}

/// What is said of the candidates, if they can be asked: what Cedar says of the whole set, in decision, reasons and
/// errors; but errors deny.
fn asked_alike(snapshot: &Snapshot, case: &Case, as_subject: bool) -> Option<Said> {
    let (whole, said) = ask_cedar(snapshot, case, as_subject)?;
    assert_eq!(names(snapshot, &said.errors), whole.errors);
    let reasons = if said.forbids.is_empty() { &said.permits } else { &said.forbids };
    assert_eq!(names(snapshot, reasons), whole.reasons);
    assert_eq!(said.permits(), whole.allowed && whole.errors.is_empty());
    Some(said)
}

fn question<'a>(case: &Case, action: &'a Action, asked: &AskedFor<'_>) -> Option<Question<'a>> {
    let facts = case.facts();
    let labels = Labels::default();
    let world = World::near(&case.request, &facts, &labels)
        .widened(asked, (&case.request, &facts, &labels));
    let (input, unread) = arguments(&case.request, action)?;
    let given = Given { input, unread: &unread, provenance: None, outside: false };
    let context = context::of((&facts, None), given, (&BTreeSet::new(), asked))?;
    let entities = entities(&action.placed, world.nodes, asked)?;
    Some(Question { action: &action.placed, resource: world.resource, context, entities, unread })
}

/// The policies whose scope matches, found without the index.
fn scanned(
    snapshot: &Snapshot,
    principal: &Placed,
    action: &Placed,
    resource: &Placed,
) -> Vec<usize> {
    let asked = Asked { principal, action, resource };
    let scopes = snapshot.index.scopes().iter().enumerate();
    scopes.filter(|(_, scope)| scope.matches(&asked)).map(|(position, _)| position).collect()
}

fn names(snapshot: &Snapshot, positions: &BTreeSet<usize>) -> BTreeSet<String> {
    snapshot.ids(positions).iter().map(ToString::to_string).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn asking_the_candidates_is_asking_the_whole_set(
        parts in prop::collection::vec(policy(), 0..12),
        cases in prop::collection::vec(case(), 1..6),
    ) {
        let policies = parts.iter().enumerate().filter_map(|(position, it)| text(position, it));
        let snapshot = snapshot(&policies.collect::<String>());
        for (case, as_subject) in cases.iter().flat_map(|case| [(case, false), (case, true)]) {
            asked_alike(&snapshot, case, as_subject);
        }
    }
}

/// The random sets above do reach every kind of answer.
#[test]
fn the_conditions_fail_and_hold() {
    let text = |n: usize, condition: &str| {
        format!(
            "@id(\"p{n}\") permit(principal, action in Action::\"tools/call\", resource) {condition};"
        )
    };
    let all: String = CONDITIONS.iter().enumerate().map(|(n, it)| text(n, it)).collect();
    let snapshot = snapshot(&all);
    let mut case = Case::call("crm/lookup", json!({ "id": 1 })).on_behalf_of(person("carla", &[]));
    let (_, said) = ask_cedar(&snapshot, &case, false).expect("it can be asked");
    assert_eq!(said.permits, BTreeSet::from([0, 1, 2, 3, 5, 6, 8, 9, 10, 11, 12, 14, 15]));
    case.facts.session.counters.insert("calls".to_owned(), i64::MAX);
    let (_, said) = ask_cedar(&snapshot, &case, true).expect("it can be asked");
    assert_eq!(said.errors, BTreeSet::from([4, 5]));
    assert!(snapshot.policies.iter().all(|it| it.effect == Effect::Permit));
}

/// Who asks for something may be whom it is done to, and then all is known of them. Of others nothing is: what looks at
/// that fails.
#[test]
fn what_is_done_to_people_is_asked_as_of_the_whole_set() {
    let is_person =
        |principal: &&str| !principal.contains("Agent") && !principal.contains("Instance");
    let all: Vec<_> = PRINCIPALS
        .into_iter()
        .filter(is_person)
        .flat_map(|principal| PEOPLE.map(|resource| (principal, resource)))
        .flat_map(|scope| OF_PEOPLE.map(|condition| (scope, condition)))
        .collect();
    let text = |(number, ((principal, resource), condition)): (usize, &((&str, &str), &str))| {
        format!(
            "@id(\"p{number}\") permit({principal}, action == Action::\"person/deactivate\", {resource}) {condition};"
        )
    };
    let snapshot = snapshot(&all.iter().enumerate().map(text).collect::<Vec<_>>().concat());
    let check = |(by, group): (&str, &str), whom: &str, fails: bool| {
        let whom = ResourceRef::Person(whom.parse().expect("a person"));
        let case = Case::administer("person/deactivate", whom, person(by, &[group]));
        let said = asked_alike(&snapshot, &case, false).expect("it can be asked");
        assert_eq!((said.permits.is_empty(), said.errors.is_empty()), (false, !fails), "{said:?}");
    };
    check(("carla", "clerks"), "carla", false);
    check(("carla", "clerks"), "gus", true);
    check(("gus", "guests"), "carla", true);
}

/// Nobody evaluates the scope of a policy that was found by it: so it is found by what Cedar would evaluate it with, also
/// where facts tell twice of somebody, and not the same.
#[test]
fn everybody_is_placed_as_their_entity_is() {
    let check = |case: &Case| {
        let (facts, labels) = (case.facts(), Labels::default());
        let world = World::of(&case.request, &facts, &labels);
        let World { actor, subject, resource, nodes } = &world;
        for placed in [actor, resource].into_iter().chain(subject) {
            let node = nodes.iter().find(|node| node.uid == placed.uid).expect("it has an entity");
            assert_eq!(node.parents, placed.ancestors, "{}", placed.uid);
        }
        // Policies are looked for among what is near.
        let near = World::near(&case.request, &facts, &labels);
        assert_eq!((&near.actor, &near.subject, &near.resource), (actor, subject, resource));
    };
    let case = Case::call("crm/lookup", json!({ "id": 1 }));
    check(&case);
    check(&case.on_behalf_of(person("carla", &["clerks"])));
    check(&Case::method("tools/list", "crm").on_behalf_of(person("sam", &["guests"])));
    check(&Case::call("crm/lookup", json!({ "id": 1 })).on_behalf_of(person("sam", &["guests"])));
    let carla = ResourceRef::Person("carla".parse().expect("a person"));
    check(&Case::administer("person/deactivate", carla, person("carla", &["clerks"])));
}
