//! What is beyond a task: permitted by an elevation that somebody asked for and somebody approved, and by
//! that the scope of the task alone is lifted.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{
    Decision, Elevated, Elevation, ElevationId, ElevationState, Harm, InstanceId, Person,
    PersonState, Stops, TaskId, ToolRef,
};
use proptest::prelude::*;
use serde_json::json;

use super::fixtures::{Case, NOW, OPEN, OPENED, at, person, scope, snapshot, tool};

/// An elevation in force of the task of `case` for `tools`, each with the harm class `moves-money`.
pub(super) fn elevated(case: &Case, number: u8, tools: &[&str]) -> Elevated {
    let (asked_by, approved_by) = (person("alice", &[]), person("bob", &[]));
    let classes = BTreeSet::from([Harm::ReadsData, Harm::MovesMoney]);
    let tool = |name: &&str| (name.parse::<ToolRef>().expect("a tool"), classes.clone());
    let by = approved_by.id.clone();
    let elevation = Elevation {
        id: ElevationId::from_bytes([number; 16]),
        name: "month-end".parse().expect("a name"),
        task: case.standing.task.id,
        instance: case.standing.instance.id,
        tools: tools.iter().map(tool).collect(),
        max_calls: None,
        lasts_s: 60,
        reason: "the month ends".to_owned(),
        asked_by: asked_by.id.clone(),
        key: None,
        asked: at(-60),
        state: ElevationState::Approved { by, at: at(-30), until: at(30) },
    };
    Elevated { elevation, asked_by, approved_by }
}

fn gone(person: &mut Person) {
    person.state = PersonState::Inactive { since: NOW };
}

fn back(person: &mut Person) {
    person.state = PersonState::Active { authorization_cutoff: Some(NOW) };
}

type Change = fn(&mut Elevated);

/// What takes the force of an elevation.
const ENDS: [(&str, Change); 13] = [
    ("over", |it| approved(it, at(-30), NOW)),
    ("asked for only", |it| it.elevation.state = ElevationState::Asked),
    ("revoked", |it| {
        let (by, reason) = (it.approved_by.id.clone(), "over".to_owned());
        it.elevation.state = ElevationState::Revoked { by, reason, since: at(-1) };
    }),
    ("of another task", |it| it.elevation.task = TaskId::from_bytes([77; 16])),
    ("of a task above", |it| it.elevation.task = TaskId::from_bytes([101; 16])),
    ("of another instance", |it| it.elevation.instance = InstanceId::from_bytes([77; 16])),
    ("who asked is gone", |it| gone(&mut it.asked_by)),
    ("who approved is gone", |it| gone(&mut it.approved_by)),
    ("who asked came back", |it| back(&mut it.asked_by)),
    ("who approved came back", |it| back(&mut it.approved_by)),
    ("somebody else asked", |it| it.asked_by.id = "dora".parse().expect("a person")),
    ("somebody else approved", |it| it.approved_by.id = "dora".parse().expect("a person")),
    ("for less harm", |it| {
        for harm in it.elevation.tools.values_mut() {
            harm.remove(&Harm::MovesMoney);
        }
    }),
];

fn approved(it: &mut Elevated, when: model::Timestamp, until: model::Timestamp) {
    it.elevation.state =
        ElevationState::Approved { by: it.approved_by.id.clone(), at: when, until };
}

/// A call of `crm/lookup`, which moves money here, in work that was handed on so often.
fn call(depth: u8) -> Case {
    let mut case = Case::call("crm/lookup", json!({ "id": 1 })).handed_on(depth);
    case.tool = Some(tool("crm/lookup", &[Harm::ReadsData, Harm::MovesMoney]));
    case
}

fn outcome(case: &Case, snapshot: &crate::Snapshot) -> String {
    match case.decide(snapshot) {
        Decision::Permit(grant) => match grant.elevation {
            Some(elevation) => format!("permit by {elevation}"),
            None => "permit".to_owned(),
        },
        Decision::Deny(denial) => denial.code().to_owned(),
    }
}

#[test]
fn r_54_an_elevation_lifts_its_task_while_it_is_in_force_and_both_stand_by_it() {
    let snapshot = snapshot(OPEN);
    for depth in [0, 1, 3] {
        let mut case = call(depth);
        case.standing.task.scope = scope(&["tickets/*"]);
        assert_eq!(outcome(&case, &snapshot), "outside_scope");
        let in_force = elevated(&case, 9, &["crm/lookup"]);
        case.standing.elevations = vec![in_force.clone()];
        assert_eq!(outcome(&case, &snapshot), format!("permit by {}", in_force.elevation.id));
        for (name, end) in ENDS {
            end(&mut case.standing.elevations[0]);
            assert_eq!(outcome(&case, &snapshot), "outside_scope", "{name} at {depth}");
            assert!(!case.could_permit(&snapshot), "{name} at {depth}");
            case.standing.elevations = vec![in_force.clone()];
        }
    }
}

proptest! {
    /// Whatever holds elsewhere: what is permitted lies within mandate, purpose and all ceilings; and
    /// within all tasks, or within an elevation of the task itself, which the answer names.
    #[test]
    fn r_54_an_elevation_lifts_the_scopes_of_tasks_and_nothing_else(
        scopes in prop::collection::vec(
            prop::sample::subsequence(vec!["crm/lookup", "crm/*", "payments/*"], 0..=3), 10,
        ),
        depth in 0..4_u8,
        elevations in prop::collection::vec((any::<bool>(), 0..20_usize), 0..3),
    ) {
        let mut case = call(depth);
        let scopes: Vec<_> = scopes.iter().map(|tools| scope(tools)).collect();
        (case.standing.task.scope, case.standing.agent.ceiling) = (scopes[0].clone(), scopes[1].clone());
        let delegators = Arc::make_mut(&mut case.standing.delegators);
        for (delegator, pair) in delegators.iter_mut().zip(scopes[2..].chunks(2)) {
            (delegator.task.scope, delegator.agent.ceiling) = (pair[0].clone(), pair[1].clone());
        }
        case.standing.purpose.scope = scopes[8].clone();
        case.standing.mandate.scope = scopes[9].clone();
        let mut case = case.mandated();
        let mut lifting = None;
        for (number, (names_it, end)) in elevations.iter().enumerate() {
            let tools = if *names_it { ["crm/lookup"] } else { ["crm/other"] };
            let mut one = elevated(&case, u8::try_from(number).expect("few"), &tools);
            match ENDS.get(*end) {
                Some((_, end)) => end(&mut one),
                None if *names_it => lifting = lifting.or(Some(one.elevation.id)),
                None => {}
            }
            case.standing.elevations.push(one);
        }
        let called = case.tool.clone().expect("a tool");
        let covers = |scope: &model::Scope| scope.covers(&called.tool, &called.harm);
        let Case { standing, .. } = &case;
        let may_ever = covers(&standing.mandate.scope)
            && covers(&standing.purpose.scope)
            && standing.hops().all(|hop| covers(&hop.agent.ceiling));
        let in_tasks = standing.hops().all(|hop| covers(&hop.task.scope));
        let decision = case.decide(&OPENED);
        prop_assert_eq!(case.could_permit(&OPENED), matches!(decision, Decision::Permit(_)));
        match decision {
            Decision::Permit(grant) => {
                prop_assert!(may_ever && (in_tasks || lifting.is_some()));
                prop_assert_eq!(grant.elevation, lifting.filter(|_| !in_tasks));
            }
            Decision::Deny(denial) => {
                let expected = may_ever && !in_tasks && lifting.is_none();
                prop_assert_eq!(denial.code() == "outside_scope", expected);
                prop_assert!(!may_ever || expected);
            }
        }
    }
}

/// The tool that is called.
fn called(case: &mut Case) -> &mut model::Tool {
    case.tool.as_mut().expect("a tool is called")
}

/// What the built-in rules and the set deny, they deny to who is elevated.
#[test]
fn r_54_an_elevation_lifts_no_rule_and_no_policy() {
    let check = |policy: &str, change: fn(&mut Case), expected: &str| {
        let mut case = call(1);
        case.standing.task.scope = scope(&["tickets/*"]);
        case.standing.elevations = vec![elevated(&case, 9, &["crm/lookup"])];
        change(&mut case);
        let decided = outcome(&case, &snapshot(policy));
        assert_eq!(decided.split(' ').next(), Some(expected), "{policy}");
    };
    check(OPEN, |_| {}, "permit");
    check(OPEN, |case| called(case).not_delegable = true, "not_delegable");
    check(OPEN, |case| called(case).requires_subject = true, "no_originator");
    check(OPEN, |case| called(case).harm.clear(), "tool_unaccounted");
    check(OPEN, |case| case.standing.task.deadline = NOW, "task_not_open");
    let stopped = |case: &mut Case| {
        let stop = "tool/crm/lookup".parse().expect("it can be stopped");
        case.facts.stops = Arc::new(Stops([stop].into()));
    };
    check(OPEN, stopped, "stopped");
    let forbids = format!(
        r#"{OPEN} @id("no") forbid(principal, action == Action::"crm/lookup", resource)
           when {{ context has elevation && context.elevation == "month-end" }};"#
    );
    check(&forbids, |_| {}, "forbidden");
    check(&forbids, |case| case.standing.task.scope = scope(&["crm/*"]), "permit");
    let only = r#"@id("only") permit(principal, action == Action::"crm/lookup", resource)
                  when { context has elevation && context.elevation == "quarter-end" };"#;
    check(only, |_| {}, "not_granted");
}

/// Beside the tools that it names, an elevation permits what they cannot be used without, at their
/// servers.
#[test]
fn r_54_beside_its_tools_an_elevation_permits_what_they_need() {
    let snapshot = snapshot(r#"@id("open") permit(principal, action, resource);"#);
    let check = |method: &str, server: &str, expected: &str| {
        let mut case = Case::method(method, server).handed_on(1);
        case.standing.task.scope = scope(&["tickets/*"]);
        case.standing.elevations = vec![elevated(&case, 9, &["crm/lookup"])];
        assert_eq!(
            outcome(&case, &snapshot).split(' ').next(),
            Some(expected),
            "{method} {server}"
        );
    };
    check("initialize", "crm", "permit");
    check("token/issue", "crm", "permit");
    check("tools/list", "crm", "permit");
    check("tools/list", "payments", "outside_scope");
    check("completion/complete", "crm", "outside_scope");
    let (server, uri) = ("crm".parse().expect("a server"), "file:///a".to_owned());
    let resource = model::ResourceRef::Resource { server, uri };
    let mut read = Case::of("resources/read", resource).handed_on(1);
    assert_eq!(outcome(&read, &snapshot), "permit");
    read.standing.task.scope = scope(&["tickets/*"]);
    read.standing.elevations = vec![elevated(&read, 9, &["crm/lookup"])];
    assert_eq!(outcome(&read, &snapshot), "outside_scope");
}
