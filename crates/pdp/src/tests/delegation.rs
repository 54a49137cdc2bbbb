//! Work that was handed on: everybody above must stand, and nothing is wider than above.

use std::fmt::Write as _;
use std::sync::Arc;

use expect_test::expect;
use model::{
    ActionName, AgentState, DELEGATIONS_MAX, Decision, Delegator, Harm, InstanceId, InstanceState,
    MandateId, PersonState, ResourceRef, StopTarget, Stops, TaskId, TaskState, TaskSubject,
    Thumbprint, Withdrawn,
};
use proptest::prelude::*;
use serde_json::json;

use super::fixtures::{Case, NOW, OPEN, OPENED, at, person, scope, snapshot, tool};

type Change = fn(&mut Case, usize);

pub(super) fn above(case: &mut Case, position: usize) -> &mut Delegator {
    &mut Arc::make_mut(&mut case.standing.delegators)[position]
}

const CHANGES: &[(&str, Change)] = &[
    ("nothing", |_, _| {}),
    ("instance revoked", |case, at| {
        let reason = "lost".to_owned();
        above(case, at).instance.state = InstanceState::Revoked { reason, since: NOW };
    }),
    ("instance quarantined", |case, at| {
        let signal = "key_copied".to_owned();
        above(case, at).instance.state = InstanceState::Quarantined { signal, since: NOW };
    }),
    ("no device that vouches for it any more", |case, at| {
        above(case, at).instance.device = Some(Thumbprint::from_bytes([7; 32]));
    }),
    ("agent suspended", |case, at| {
        let reason = "review".to_owned();
        above(case, at).agent.state = AgentState::Suspended { reason, since: NOW };
    }),
    ("agent stopped", |case, position| {
        let what = StopTarget::Agent(above(case, position).agent.name.clone());
        case.facts.stops = Arc::new(Stops([what].into()));
    }),
    ("agent's key expires now", |case, at| above(case, at).agent.key_expires = NOW),
    ("agent's lease ends now", |case, at| above(case, at).agent.valid_until = Some(NOW)),
    ("sponsor left", |case, at| {
        above(case, at).sponsor.state = PersonState::Inactive { since: NOW };
    }),
    ("sponsor came back", |case, position| {
        let cutoff = PersonState::Active { authorization_cutoff: Some(at(-60)) };
        above(case, position).sponsor.state = cutoff;
    }),
    ("task ended", |case, at| {
        let reason = "said".to_owned();
        above(case, at).task.state =
            TaskState::Ended { how: model::TaskEnd::Revoked, reason, since: NOW };
    }),
    ("deadline now", |case, at| above(case, at).task.deadline = NOW),
    ("task of another instance", |case, at| {
        above(case, at).task.instance = case.standing.instance.id;
    }),
    ("task taken over", |case, at| {
        let other = InstanceId::from_bytes([77; 16]);
        (above(case, at).instance.id, above(case, at).task.instance) = (other, other);
    }),
    ("task too narrow", |case, at| above(case, at).task.scope = scope(&["tickets/*"])),
    ("ceiling too low", |case, at| above(case, at).agent.ceiling = scope(&["tickets/*"])),
    ("purpose not the agent's", |case, at| above(case, at).agent.purposes.clear()),
    ("n_036 task of another chain", |case, at| {
        above(case, at).task.id = TaskId::from_bytes([77; 16]);
    }),
    ("n_036 other mandate", |case, at| {
        above(case, at).task.mandate = MandateId::from_bytes([77; 16]);
    }),
    ("n_036 other purpose", |case, at| {
        above(case, at).task.purpose = "refunds".parse().expect("a purpose");
    }),
    ("n_036 other person", |case, at| {
        let person = person("dora", &[]).id;
        above(case, at).task.subject = TaskSubject::OnBehalfOf { person };
    }),
    ("a link is missing", |case, at| drop(Arc::make_mut(&mut case.standing.delegators).remove(at))),
    ("n_034 in another order", |case, at| {
        Arc::make_mut(&mut case.standing.delegators).swap(at, (at + 1) % 3);
    }),
    ("n_032 the same agent again", |case, at| {
        above(case, at).agent.name = case.standing.agent.name.clone();
        above(case, at).instance.agent = case.standing.agent.name.clone();
    }),
];

fn outcome(case: &Case, snapshot: &crate::Snapshot) -> String {
    match case.decide(snapshot) {
        Decision::Permit(_) => "permit".to_owned(),
        Decision::Deny(denial) => denial.code().to_owned(),
    }
}

/// Each change × {the nearest delegator, the one in the middle, the holder of the root task}.
#[test]
fn n_033_whoever_handed_the_work_on_must_stand() {
    let snapshot = snapshot(OPEN);
    let mut table = String::new();
    for (name, change) in CHANGES {
        let outcomes = [0, 1, 2].map(|position| {
            let mut case = Case::call("crm/lookup", json!({ "id": 1 })).handed_on(3);
            change(&mut case, position);
            outcome(&case, &snapshot)
        });
        writeln!(table, "{name}: {}", outcomes.join(" | ")).expect("text");
    }
    expect![[r#"
        nothing: permit | permit | permit
        instance revoked: delegator_not_active | delegator_not_active | delegator_not_active
        instance quarantined: delegator_not_active | delegator_not_active | delegator_not_active
        no device that vouches for it any more: delegator_not_active | delegator_not_active | delegator_not_active
        agent suspended: delegator_not_active | delegator_not_active | delegator_not_active
        agent stopped: stopped | stopped | stopped
        agent's key expires now: delegator_not_active | delegator_not_active | delegator_not_active
        agent's lease ends now: delegator_not_active | delegator_not_active | delegator_not_active
        sponsor left: delegator_not_active | delegator_not_active | delegator_not_active
        sponsor came back: delegator_not_active | delegator_not_active | delegator_not_active
        task ended: delegator_not_active | delegator_not_active | delegator_not_active
        deadline now: delegator_not_active | delegator_not_active | delegator_not_active
        task of another instance: delegator_not_active | delegator_not_active | delegator_not_active
        task taken over: delegator_not_active | delegator_not_active | delegator_not_active
        task too narrow: outside_scope | outside_scope | outside_scope
        ceiling too low: outside_ceiling | outside_ceiling | outside_ceiling
        purpose not the agent's: outside_mandate | outside_mandate | outside_mandate
        n_036 task of another chain: delegation_collapse | delegation_collapse | delegation_collapse
        n_036 other mandate: delegation_collapse | delegation_collapse | delegation_collapse
        n_036 other purpose: delegation_collapse | delegation_collapse | delegation_collapse
        n_036 other person: delegation_collapse | delegation_collapse | delegation_collapse
        a link is missing: delegation_collapse | delegation_collapse | delegation_collapse
        n_034 in another order: delegation_collapse | delegation_collapse | delegation_collapse
        n_032 the same agent again: delegation_cycle | delegation_cycle | delegation_cycle
    "#]]
    .assert_eq(&table);
}

/// The mandate that somebody gave is what every hop rests on, however far below: without it, as it was given, nobody
/// goes on.
#[test]
fn r_55_without_the_mandate_that_began_it_no_hop_goes_on() {
    type Change = (&'static str, fn(&mut Case));
    let snapshot = snapshot(OPEN);
    let changes: [Change; 5] = [
        ("expired", |case| case.standing.mandate.valid_until = NOW),
        ("withdrawn", |case| {
            let reason = "over".to_owned();
            case.standing.mandate.withdrawn = Some(Withdrawn { reason, since: NOW });
        }),
        ("another", |case| case.standing.mandate.id = MandateId::from_bytes([77; 16])),
        ("altered", |case| case.standing.mandate.scope = scope(&["crm/lookup"])),
        ("for another purpose", |case| {
            case.standing.mandate.purpose = "refunds".parse().expect("a purpose");
        }),
    ];
    for times in [0, 1, 3] {
        let case = Case::call("crm/lookup", json!({ "id": 1 }));
        let case = case.on_behalf_of(person("carla", &[])).handed_on(times);
        assert_eq!(outcome(&case, &snapshot), "permit", "{times}");
        for (what, change) in changes {
            let mut case = case.clone();
            change(&mut case);
            assert_eq!(outcome(&case, &snapshot), "mandate_not_valid", "{what}: {times}");
        }
    }
}

/// Work whose person is missing, or another than its tasks say, is nobody's at any hop; nor is there a person in work
/// that is for nobody.
#[test]
fn r_58_work_that_lost_its_person_goes_on_at_no_hop() {
    let snapshot = snapshot(OPEN);
    let (carla, dora) = (person("carla", &[]), person("dora", &[]));
    for times in [0, 1, 3] {
        let autonomous = Case::call("crm/lookup", json!({ "id": 1 }));
        let theirs = autonomous.clone().on_behalf_of(carla.clone()).handed_on(times);
        let autonomous = autonomous.handed_on(times);
        for (case, subject) in
            [(&theirs, None), (&theirs, Some(&dora)), (&autonomous, Some(&carla))]
        {
            assert_eq!(outcome(case, &snapshot), "permit", "{times}");
            let mut lost = case.clone();
            lost.standing.subject = subject.cloned();
            assert_eq!(outcome(&lost, &snapshot), "delegation_collapse", "{times}: {subject:?}");
        }
    }
}

/// What can do more than read needs the owners of everybody above, and of who acts.
#[test]
fn r_22_whoever_handed_the_work_on_is_owned_too() {
    let snapshot = snapshot(OPEN);
    for (harm, expected) in [(Harm::ReadsData, "permit"), (Harm::MovesMoney, "owners_not_active")] {
        for position in [0, 1, 2] {
            let mut case = Case::call("crm/lookup", json!({ "id": 1 }));
            case.tool = Some(tool("crm/lookup", &[harm]));
            let mut case = case.handed_on(3);
            assert_eq!(outcome(&case, &snapshot), "permit");
            let agent = &mut above(&mut case, position).agent;
            agent.technical_owner = "olga".parse().expect("a person");
            assert_eq!(outcome(&case, &snapshot), expected, "{position}");
        }
    }
}

#[test]
fn n_030_work_is_handed_on_so_often_and_no_oftener() {
    let snapshot = snapshot(OPEN);
    let most = u8::try_from(DELEGATIONS_MAX).expect("few");
    let check = |times, expected: &str, further: &str| {
        let case = Case::call("crm/lookup", json!({ "id": 1 })).handed_on(times);
        assert_eq!(outcome(&case, &snapshot), expected, "{times}");
        let mut on = case;
        on.request.action = ActionName::method("delegate");
        on.request.resource = ResourceRef::Agent("reader".parse().expect("an agent"));
        (on.tool, on.facts.server) = (None, None);
        assert_eq!(outcome(&on, &snapshot), further, "{times}");
    };
    check(0, "permit", "permit");
    check(most - 1, "permit", "permit");
    check(most, "permit", "delegation_too_deep");
    check(most + 1, "delegation_too_deep", "delegation_too_deep");
}

#[test]
fn n_032_work_is_handed_on_to_nobody_who_is_in_the_chain() {
    let snapshot = snapshot(OPEN);
    let check = |times, to: &str, expected: &str| {
        let mut case = Case::method("delegate", "crm").handed_on(times);
        case.request.resource = ResourceRef::Agent(to.parse().expect("an agent"));
        case.facts.server = None;
        assert_eq!(outcome(&case, &snapshot), expected, "{times} {to}");
    };
    for times in [0, 1, 3] {
        check(times, "billing", "delegation_cycle");
        check(times, "reader", "permit");
    }
    check(3, "lead-2", "delegation_cycle");
}

#[test]
fn tools_say_whom_they_serve() {
    let snapshot = snapshot(OPEN);
    let check = |change: fn(&mut model::Tool), expected: [&str; 4]| {
        let mut plain = Case::call("crm/lookup", json!({ "id": 1 }));
        let mut called = tool("crm/lookup", &[Harm::ReadsData]);
        change(&mut called);
        plain.tool = Some(called);
        let of = |case: Case| outcome(&case, &snapshot);
        let outcomes = [
            of(plain.clone()),
            of(plain.clone().on_behalf_of(person("carla", &[]))),
            of(plain.clone().handed_on(1)),
            of(plain.on_behalf_of(person("carla", &[])).handed_on(2)),
        ];
        assert_eq!(outcomes, expected);
    };
    check(|_| {}, ["permit", "permit", "permit", "permit"]);
    let no_originator = ["no_originator", "permit", "no_originator", "permit"];
    check(|tool| tool.requires_subject = true, no_originator);
    let not_delegable = ["permit", "permit", "not_delegable", "not_delegable"];
    check(|tool| tool.not_delegable = true, not_delegable);
}

/// The person is decided on as if nobody had handed anything on, and so is who acts.
#[test]
fn i_09_policy_decides_on_person_and_actor_alone() {
    let only = r#"@id("clerk") permit(principal == Person::"carla", action, resource);
                  @id("bot") permit(principal in Agent::"billing", action, resource);
                  @id("named") permit(principal == Person::"carla", action == Action::"crm/lookup", resource);"#;
    let snapshot = snapshot(only);
    let case = Case::call("crm/lookup", json!({ "id": 1 })).on_behalf_of(person("carla", &[]));
    assert_eq!(outcome(&case.clone().handed_on(3), &snapshot), "permit");
    let deep = r#"@id("shallow") permit(principal, action == Action::"crm/lookup", resource)
                  when { context.depth < 2 };"#;
    let snapshot = super::fixtures::snapshot(deep);
    assert_eq!(outcome(&case.clone().handed_on(1), &snapshot), "permit");
    assert_eq!(outcome(&case.handed_on(2), &snapshot), "not_granted");
}

proptest! {
    /// Whatever somebody in the chain cannot do, nobody below can.
    #[test]
    fn i_08_nothing_is_wider_than_above(
        scopes in prop::collection::vec(
            prop::sample::subsequence(vec!["crm/lookup", "crm/*", "payments/*", "tickets/*"], 0..=4),
            8,
        ),
    ) {
        let mut case = Case::call("crm/lookup", json!({ "id": 1 })).handed_on(3);
        let scopes: Vec<_> = scopes.iter().map(|tools| scope(tools)).collect();
        case.standing.task.scope = scopes[0].clone();
        case.standing.agent.ceiling = scopes[1].clone();
        let delegators = Arc::make_mut(&mut case.standing.delegators);
        for (delegator, pair) in delegators.iter_mut().zip(scopes[2..].chunks(2)) {
            delegator.task.scope = pair[0].clone();
            delegator.agent.ceiling = pair[1].clone();
        }
        let called = tool("crm/lookup", &[Harm::ReadsData]);
        let all_hold = scopes.iter().all(|scope| scope.covers(&called.tool, &called.harm));
        prop_assert_eq!(matches!(case.decide(&OPENED), Decision::Permit(_)), all_hold);
    }
}

#[test]
fn what_is_stopped_is_handed_no_work() {
    let snapshot = snapshot(OPEN);
    let mut case = Case::method("tools/list", "crm");
    case.request.action = ActionName::method("delegate");
    case.request.resource = ResourceRef::Agent("scout".parse().expect("an agent"));
    assert_eq!(outcome(&case, &snapshot), "permit");
    for (what, expected) in [("agent/scout", "stopped"), ("agent/scouts", "permit")] {
        case.facts.stops = Arc::new(Stops([what.parse().expect("it can be stopped")].into()));
        assert_eq!(outcome(&case, &snapshot), expected);
    }
}

proptest! {
    /// Whatever else is in order, nothing happens while anything is stopped that it needs; and what
    /// is stopped of others stops nobody.
    #[test]
    fn what_is_stopped_is_never_permitted(
        names in proptest::collection::btree_set(0..8_usize, 0..4),
        depth in 0..4_u8,
        tool in any::<bool>(),
    ) {
        const ALL: [&str; 8] = [
            "all", "tool/crm/lookup", "tool/crm/other", "agent/billing", "agent/lead-1",
            "agent/lead-2", "agent/lead-3", "agent/nobody",
        ];
        let mut case =
            if tool { Case::call("crm/lookup", json!({ "id": 1 })) } else { Case::method("tools/list", "crm") };
        case = case.handed_on(depth);
        let stops = names.iter().map(|name| ALL[*name].parse().expect("it can be stopped"));
        case.facts.stops = Arc::new(Stops(stops.collect()));
        let concerned = names.iter().any(|name| match name {
            0 | 3 => true,
            1 => tool,
            4..=6 => name - 3 <= usize::from(depth),
            _ => false,
        });
        let expected = if concerned { "stopped" } else { "permit" };
        prop_assert_eq!(outcome(&case, &OPENED), expected);
        prop_assert_eq!(case.could_permit(&OPENED), !concerned);
    }
}
