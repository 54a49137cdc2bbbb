//! The rules that are compiled in, as a matrix: nothing that a policy says gets past them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use expect_test::expect;
use model::{
    AgentState, Agreed, Binding, CLOCK_STEP_MAX, Decision, Device, DeviceState, Enrolled, Harm,
    Initiator, InstanceId, InstanceState, LEASE_MAX, MandateBasis, MandateId, Person, PersonState,
    RegisteredClient, Sha256Digest, Stops, SystemState, TaskState, TaskSubject, Thumbprint,
    Timestamp, ToolState, Withdrawn,
};
use serde_json::{Value, json};

use super::fixtures::{Case, NOW, OPEN, at, open_review, person, scope, snapshot, tool, tool_ref};

pub(super) type Change = fn(&mut Case);

pub(super) const INACTIVE: PersonState = PersonState::Inactive { since: NOW };

/// The same with a bearer token of an agent whose client, which may use some, was said `since` then.
fn bearer(case: &mut Case, since: Timestamp) {
    case.facts.binding = Binding::None;
    let id = "https://client.example/oauth.json".to_owned();
    case.standing.agent.client = Some(RegisteredClient { id, bearer: true, since });
}

/// The same on behalf of Carla, as a system started it of which `change` is true.
fn started(case: &mut Case, change: impl FnOnce(&mut Initiator)) {
    *case = case.clone().on_behalf_of(person("carla", &[]));
    change(case.standing.initiator.as_mut().expect("a system started it"));
}

/// The same on behalf of Carla, who consented, but for `change`.
pub(super) fn consented(case: &mut Case, change: impl FnOnce(&mut Case)) {
    *case = case.clone().on_behalf_of(person("carla", &[]));
    let standing = &mut case.standing;
    standing.mandate.basis = MandateBasis::Consented {
        subject: "carla".parse().expect("a person"),
        request: Sha256Digest::of(b"what she was shown"),
        once: true,
        agreed: Agreed {
            harm: [(tool_ref("crm/lookup"), BTreeSet::from([Harm::MovesMoney]))].into(),
            ..Agreed::default()
        },
        session: None,
    };
    (standing.task.mandate_digest, standing.initiator) = (standing.mandate.digest(), None);
    change(case);
}

/// The same instance, for which a device vouched that Dora enrolled, but for `change`.
pub(super) fn enrolled(case: &mut Case, change: impl FnOnce(&mut Enrolled)) {
    let (id, by) = (Thumbprint::from_bytes([7; 32]), person("dora", &[]));
    let device = Device {
        agent: case.standing.agent.name.clone(),
        id,
        key: json!({}),
        name: "laptop".to_owned(),
        by: by.id.clone(),
        enrolled: at(-120),
        valid_until: at(1),
        state: DeviceState::Active,
    };
    let mut enrolled = Enrolled { device, by };
    change(&mut enrolled);
    (case.standing.instance.device, case.standing.device) = (Some(id), Some(enrolled));
}

/// Somebody who is to own something of it.
fn owner<'a>(case: &'a mut Case, id: &str) -> &'a mut Person {
    let person = person(id, &[]);
    case.standing.owners.entry(person.id.clone()).or_insert(person)
}

fn subject(case: &mut Case) -> &mut Person {
    case.standing.subject.as_mut().expect("somebody consented")
}

fn ended() -> TaskState {
    TaskState::Ended { how: model::TaskEnd::Revoked, reason: "said".to_owned(), since: NOW }
}

/// As if an administrator had stopped `what`.
pub(super) fn stopped(case: &mut Case, what: &str) {
    let stops = [what.parse().expect("it can be stopped")];
    case.facts.stops = Arc::new(Stops(stops.into()));
}

pub(super) const CHANGES: &[(&str, Change)] = &[
    ("nothing", |_| {}),
    ("all stopped", |case| stopped(case, "all")),
    ("the tool stopped", |case| stopped(case, "tool/crm/lookup")),
    ("another tool stopped", |case| stopped(case, "tool/crm/lookup-all")),
    ("the agent stopped", |case| stopped(case, "agent/billing")),
    ("another agent stopped", |case| stopped(case, "agent/billing-2")),
    ("stopped and revoked", |case| {
        stopped(case, "all");
        case.standing.instance.state =
            InstanceState::Revoked { reason: "lost".to_owned(), since: NOW };
    }),
    ("instance revoked", |case| {
        case.standing.instance.state =
            InstanceState::Revoked { reason: "lost".to_owned(), since: NOW };
    }),
    ("instance quarantined", |case| {
        case.standing.instance.state =
            InstanceState::Quarantined { signal: "key_copied".to_owned(), since: NOW };
    }),
    ("bearer token of no client that may use one", |case| case.facts.binding = Binding::None),
    ("bearer token of such a client", |case| bearer(case, at(-60))),
    ("bearer token of such a client that was said anew since", |case| bearer(case, NOW)),
    ("vouched for by a device", |case| enrolled(case, |_| {})),
    ("device revoked", |case| {
        enrolled(case, |enrolled| {
            let reason = "lost".to_owned();
            enrolled.device.state = DeviceState::Revoked { reason, since: NOW };
        });
    }),
    ("time of the device over now", |case| {
        enrolled(case, |enrolled| enrolled.device.valid_until = NOW);
    }),
    ("device enrolled anew since", |case| {
        enrolled(case, |enrolled| enrolled.device.enrolled = at(-59));
    }),
    ("device of another agent", |case| {
        enrolled(case, |enrolled| enrolled.device.agent = "other".parse().expect("an agent"));
    }),
    ("another device", |case| {
        enrolled(case, |enrolled| enrolled.device.id = Thumbprint::from_bytes([8; 32]));
    }),
    ("who enrolled the device left", |case| {
        enrolled(case, |enrolled| enrolled.by.state = INACTIVE);
    }),
    ("who enrolled the device came back since", |case| {
        enrolled(case, |enrolled| {
            enrolled.by.state = PersonState::Active { authorization_cutoff: Some(at(-120)) };
        });
    }),
    ("another person enrolled the device", |case| {
        enrolled(case, |enrolled| enrolled.by = person("carla", &[]));
    }),
    ("device unknown", |case| {
        enrolled(case, |_| {});
        case.standing.device = None;
    }),
    ("a device that vouched for nothing", |case| {
        enrolled(case, |_| {});
        case.standing.instance.device = None;
    }),
    ("agent suspended", |case| {
        case.standing.agent.state =
            AgentState::Suspended { reason: "review".to_owned(), since: NOW };
    }),
    ("agent retired", |case| case.standing.agent.state = AgentState::Retired { since: NOW }),
    ("key expires now", |case| case.standing.agent.key_expires = NOW),
    ("key expires later", |case| case.standing.agent.key_expires = at(1)),
    ("review due now", |case| case.standing.agent.review.open = Some(open_review(NOW))),
    ("review due later", |case| case.standing.agent.review.open = Some(open_review(at(1)))),
    ("lease ends now", |case| case.standing.agent.valid_until = Some(NOW)),
    ("lease ends later", |case| case.standing.agent.valid_until = Some(at(1))),
    ("lease ends as late as one may", |case| {
        let farthest = NOW.plus(LEASE_MAX).plus(CLOCK_STEP_MAX);
        case.standing.agent.key_expires = farthest.plus(Duration::from_mins(1));
        case.standing.agent.valid_until = Some(farthest);
    }),
    ("lease ends later than one may", |case| {
        let beyond = NOW.plus(LEASE_MAX).plus(CLOCK_STEP_MAX).plus(Duration::from_millis(1));
        case.standing.agent.valid_until = Some(beyond);
    }),
    ("sponsor inactive", |case| case.standing.sponsor.state = INACTIVE),
    ("sponsor came back after registration", |case| {
        case.standing.sponsor.state =
            PersonState::Active { authorization_cutoff: Some(at(-86_400)) };
    }),
    ("sponsor came back after the mandate", |case| {
        case.standing.agent.registered = at(-10);
        case.standing.sponsor.state = PersonState::Active { authorization_cutoff: Some(at(-60)) };
    }),
    ("task ended", |case| case.standing.task.state = ended()),
    ("deadline now", |case| case.standing.task.deadline = NOW),
    ("task of another instance", |case| {
        case.standing.task.instance = InstanceId::from_bytes([8; 16]);
    }),
    ("mandate over now", |case| {
        case.standing.mandate.valid_until = NOW;
        case.standing.task.mandate_digest = case.standing.mandate.digest();
    }),
    ("mandate changed since", |case| case.standing.mandate.valid_until = at(7_200)),
    ("another mandate", |case| case.standing.mandate.id = MandateId::from_bytes([9; 16])),
    ("mandate of another agent", |case| {
        case.standing.mandate.agent = "other".parse().expect("an agent");
        case.standing.task.mandate_digest = case.standing.mandate.digest();
    }),
    ("mandate too narrow", |case| {
        case.standing.mandate.scope = scope(&["payments/*"]);
        case.standing.task.mandate_digest = case.standing.mandate.digest();
    }),
    ("purpose too narrow", |case| case.standing.purpose.scope = scope(&["tickets/*"])),
    ("purpose without the harm", |case| case.standing.purpose.scope.harm.clear()),
    ("purpose not the agent's", |case| case.standing.agent.purposes.clear()),
    ("ceiling too low", |case| case.standing.agent.ceiling = scope(&["crm/other"])),
    ("task too narrow", |case| case.standing.task.scope = scope(&["tickets/*"])),
    ("tool changed", |case| {
        if let Some(tool) = &mut case.tool {
            tool.state = ToolState::Changed { descriptor: Value::Null, seen: NOW };
        }
    }),
    ("tool gone", |case| {
        if let Some(tool) = &mut case.tool {
            tool.state = ToolState::Gone { seen: NOW };
        }
    }),
    ("tool unknown", |case| case.tool = None),
    ("facts of another tool", |case| case.tool = Some(tool("crm/other", &[Harm::ReadsData]))),
    ("tool without owner", |case| {
        if let Some(tool) = &mut case.tool {
            tool.owner = None;
        }
    }),
    ("tool without harm class", |case| {
        if let Some(tool) = &mut case.tool {
            tool.harm.clear();
        }
    }),
    ("owner inactive", |case| {
        if let Some(owner) = case.facts.tool_owner.as_mut().map(Arc::make_mut) {
            owner.state = INACTIVE;
        }
    }),
    ("owner came back after it was theirs", |case| {
        if let Some(owner) = case.facts.tool_owner.as_mut().map(Arc::make_mut) {
            owner.state = PersonState::Active { authorization_cutoff: Some(at(-60)) };
        }
    }),
    ("owner came back and was asked again", |case| {
        if let (Some(who), Some(tool)) = (&mut case.facts.tool_owner, &mut case.tool) {
            Arc::make_mut(who).state = PersonState::Active { authorization_cutoff: Some(at(-60)) };
            tool.owned = Some(at(-10));
        }
    }),
    ("business owner left", |case| {
        owner(case, "olga").state = INACTIVE;
        case.standing.agent.business_owner = "olga".parse().expect("a person");
    }),
    ("technical owner left", |case| {
        owner(case, "olga").state = INACTIVE;
        case.standing.agent.technical_owner = "olga".parse().expect("a person");
    }),
    ("technical owner came back since", |case| {
        owner(case, "olga").state = PersonState::Active { authorization_cutoff: Some(at(-86_400)) };
        case.standing.agent.technical_owner = "olga".parse().expect("a person");
    }),
    ("technical owner came back before", |case| {
        owner(case, "olga").state = PersonState::Active { authorization_cutoff: Some(at(-86_401)) };
        case.standing.agent.technical_owner = "olga".parse().expect("a person");
    }),
    ("technical owner came back, nobody knows when it was theirs", |case| {
        owner(case, "olga").state = PersonState::Active { authorization_cutoff: Some(at(-86_401)) };
        case.standing.agent.technical_owner = "olga".parse().expect("a person");
        case.standing.agent.owned = None;
    }),
    ("owner of the purpose left", |case| {
        owner(case, "olga").state = INACTIVE;
        case.standing.purpose.owner = "olga".parse().expect("a person");
    }),
    ("owner of the purpose unknown", |case| {
        case.standing.purpose.owner = "olga".parse().expect("a person");
    }),
    ("owners unknown", |case| case.standing.owners.clear()),
    ("nobody set what the agent may be given", |case| case.standing.agent.bounded_by = None),
    ("owner unknown", |case| case.facts.tool_owner = None),
    ("owner is somebody else", |case| case.facts.tool_owner = Some(Arc::new(person("oleg", &[])))),
    ("subject left", |case| {
        let mut gone = person("carla", &[]);
        gone.state = INACTIVE;
        *case = case.clone().on_behalf_of(gone);
    }),
    ("started by a system", |case| started(case, |_| {})),
    ("system suspended", |case| {
        started(case, |of| {
            of.system.state = SystemState::Suspended { reason: "review".to_owned(), since: NOW };
        });
    }),
    ("key of the system expires now", |case| started(case, |of| of.system.key_expires = NOW)),
    ("owner of the system left", |case| started(case, |of| of.owner.state = INACTIVE)),
    ("owner of another system", |case| started(case, |of| of.owner = person("oleg", &[]))),
    ("system for other agents", |case| started(case, |of| of.system.agents.clear())),
    ("system for other purposes", |case| started(case, |of| of.system.purposes.clear())),
    ("another system", |case| {
        started(case, |of| of.system.name = "other".parse().expect("a system"));
    }),
    ("system unknown", |case| {
        started(case, |_| {});
        case.standing.initiator = None;
    }),
    ("a system that started nothing", |case| {
        let other = case.clone().on_behalf_of(person("carla", &[]));
        case.standing.initiator = other.standing.initiator;
    }),
    ("consented to", |case| consented(case, |_| {})),
    ("who consented left", |case| consented(case, |case| subject(case).state = INACTIVE)),
    ("who consented came back before the task", |case| {
        consented(case, |case| {
            case.standing.task.opened = at(-10);
            subject(case).state = PersonState::Active { authorization_cutoff: Some(at(-60)) };
        });
    }),
    ("session of who consented over", |case| {
        consented(case, |case| case.standing.task.opened = at(-10));
        subject(case).sessions_cutoff = Some(at(-60));
    }),
    ("session of the subject over", |case| {
        started(case, |_| {});
        subject(case).sessions_cutoff = Some(NOW);
    }),
    ("session of the sponsor over", |case| case.standing.sponsor.sessions_cutoff = Some(NOW)),
    ("another consented", |case| consented(case, |case| *subject(case) = person("dora", &[]))),
    ("consented to and withdrawn", |case| {
        consented(case, |case| {
            let withdrawn = Withdrawn { reason: "changed my mind".to_owned(), since: NOW };
            case.standing.mandate.withdrawn = Some(withdrawn);
        });
    }),
    ("consented to, and a system beside", |case| {
        let started = case.clone().on_behalf_of(person("carla", &[]));
        consented(case, |case| case.standing.initiator = started.standing.initiator);
    }),
    ("subject not the mandate's", |case| {
        started(case, |_| {});
        let dora = person("dora", &[]);
        case.standing.task.subject = TaskSubject::OnBehalfOf { person: dora.id.clone() };
        case.standing.subject = Some(dora);
    }),
    ("subject not the task's", |case| case.standing.subject = Some(person("carla", &[]))),
    ("facts of another instance", |case| {
        case.standing.instance.id = InstanceId::from_bytes([8; 16]);
    }),
    ("sponsor moved", |case| case.standing.sponsor.moved = Some(at(-60))),
    ("sponsor moved and affirmed", |case| {
        case.standing.sponsor.moved = Some(at(-60));
        case.standing.agent.affirmed = Some(at(-30));
    }),
    ("sponsor affirmed and moved", |case| {
        case.standing.sponsor.moved = Some(at(-30));
        case.standing.agent.affirmed = Some(at(-60));
    }),
    ("sponsor moved as they affirmed", |case| {
        case.standing.sponsor.moved = Some(at(-30));
        case.standing.agent.affirmed = Some(at(-30));
    }),
    ("agent taken over since", |case| {
        case.standing.agent.registered = case.standing.task.opened.plus(Duration::from_millis(1));
    }),
    ("agent taken over since the mandate", |case| {
        let registered = case.standing.mandate.given.plus(Duration::from_millis(1));
        case.standing.agent.registered = registered;
        case.standing.task.opened = registered;
    }),
    ("agent taken over since the device was enrolled", |case| {
        enrolled(case, |of| of.device.enrolled = at(-86_401));
    }),
    ("sponsor not the agent's", |case| case.standing.sponsor = person("mallory", &[])),
];

pub(super) fn outcome(case: &Case, snapshot: &crate::Snapshot) -> String {
    let listed = if case.could_permit(snapshot) { "" } else { " (hidden)" };
    match case.decide(snapshot) {
        Decision::Permit(_) => format!("permit{listed}"),
        Decision::Deny(denial) => format!("{}{listed}", denial.code()),
    }
}

/// Each change × {reading tool, consequential tool, method of the server}.
#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn the_matrix_of_built_in_rules() {
    let snapshot = snapshot(OPEN);
    let reads = Case::call("crm/lookup", json!({ "id": 1 }));
    let mut acts = reads.clone();
    acts.tool = Some(tool("crm/lookup", &[Harm::MovesMoney]));
    let lists = Case::method("tools/list", "crm");
    let mut table = String::new();
    for (name, change) in CHANGES {
        let outcomes = [&reads, &acts, &lists].map(|case| {
            let mut case = case.clone();
            change(&mut case);
            outcome(&case, &snapshot)
        });
        writeln!(table, "{name}: {}", outcomes.join(" | ")).expect("text");
    }
    expect![[r#"
        nothing: permit | permit | permit
        all stopped: stopped (hidden) | stopped (hidden) | stopped (hidden)
        the tool stopped: stopped (hidden) | stopped (hidden) | permit
        another tool stopped: permit | permit | permit
        the agent stopped: stopped (hidden) | stopped (hidden) | stopped (hidden)
        another agent stopped: permit | permit | permit
        stopped and revoked: stopped (hidden) | stopped (hidden) | stopped (hidden)
        instance revoked: actor_not_active (hidden) | actor_not_active (hidden) | actor_not_active (hidden)
        instance quarantined: instance_quarantined (hidden) | instance_quarantined (hidden) | instance_quarantined (hidden)
        bearer token of no client that may use one: bearer_not_admitted (hidden) | bearer_not_admitted (hidden) | bearer_not_admitted (hidden)
        bearer token of such a client: permit | permit | permit
        bearer token of such a client that was said anew since: bearer_not_admitted (hidden) | bearer_not_admitted (hidden) | bearer_not_admitted (hidden)
        vouched for by a device: permit | permit | permit
        device revoked: device_not_active (hidden) | device_not_active (hidden) | device_not_active (hidden)
        time of the device over now: device_not_active (hidden) | device_not_active (hidden) | device_not_active (hidden)
        device enrolled anew since: device_not_active (hidden) | device_not_active (hidden) | device_not_active (hidden)
        device of another agent: device_not_active (hidden) | device_not_active (hidden) | device_not_active (hidden)
        another device: device_not_active (hidden) | device_not_active (hidden) | device_not_active (hidden)
        who enrolled the device left: device_not_active (hidden) | device_not_active (hidden) | device_not_active (hidden)
        who enrolled the device came back since: device_not_active (hidden) | device_not_active (hidden) | device_not_active (hidden)
        another person enrolled the device: device_not_active (hidden) | device_not_active (hidden) | device_not_active (hidden)
        device unknown: device_not_active (hidden) | device_not_active (hidden) | device_not_active (hidden)
        a device that vouched for nothing: device_not_active (hidden) | device_not_active (hidden) | device_not_active (hidden)
        agent suspended: actor_not_active (hidden) | actor_not_active (hidden) | actor_not_active (hidden)
        agent retired: actor_not_active (hidden) | actor_not_active (hidden) | actor_not_active (hidden)
        key expires now: actor_not_active (hidden) | actor_not_active (hidden) | actor_not_active (hidden)
        key expires later: permit | permit | permit
        review due now: review_lapsed (hidden) | review_lapsed (hidden) | review_lapsed (hidden)
        review due later: permit | permit | permit
        lease ends now: lease_ended (hidden) | lease_ended (hidden) | lease_ended (hidden)
        lease ends later: permit | permit | permit
        lease ends as late as one may: permit | permit | permit
        lease ends later than one may: lease_ended (hidden) | lease_ended (hidden) | lease_ended (hidden)
        sponsor inactive: sponsor_not_active (hidden) | sponsor_not_active (hidden) | sponsor_not_active (hidden)
        sponsor came back after registration: sponsor_not_active (hidden) | sponsor_not_active (hidden) | sponsor_not_active (hidden)
        sponsor came back after the mandate: sponsor_not_active (hidden) | sponsor_not_active (hidden) | sponsor_not_active (hidden)
        task ended: task_not_open (hidden) | task_not_open (hidden) | task_not_open (hidden)
        deadline now: task_not_open (hidden) | task_not_open (hidden) | task_not_open (hidden)
        task of another instance: task_not_open (hidden) | task_not_open (hidden) | task_not_open (hidden)
        mandate over now: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        mandate changed since: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        another mandate: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        mandate of another agent: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        mandate too narrow: outside_mandate (hidden) | outside_mandate (hidden) | outside_mandate (hidden)
        purpose too narrow: outside_mandate (hidden) | outside_mandate (hidden) | outside_mandate (hidden)
        purpose without the harm: permit | outside_mandate (hidden) | permit
        purpose not the agent's: outside_mandate (hidden) | outside_mandate (hidden) | outside_mandate (hidden)
        ceiling too low: outside_ceiling (hidden) | outside_ceiling (hidden) | permit
        task too narrow: outside_scope (hidden) | outside_scope (hidden) | outside_scope (hidden)
        tool changed: tool_not_pinned (hidden) | tool_not_pinned (hidden) | permit
        tool gone: tool_not_pinned (hidden) | tool_not_pinned (hidden) | permit
        tool unknown: tool_not_pinned (hidden) | tool_not_pinned (hidden) | permit
        facts of another tool: malformed (hidden) | malformed (hidden) | permit
        tool without owner: tool_unaccounted (hidden) | tool_unaccounted (hidden) | permit
        tool without harm class: tool_unaccounted (hidden) | tool_unaccounted (hidden) | permit
        owner inactive: permit | tool_unaccounted (hidden) | permit
        owner came back after it was theirs: permit | tool_unaccounted (hidden) | permit
        owner came back and was asked again: permit | permit | permit
        business owner left: permit | owners_not_active (hidden) | permit
        technical owner left: permit | owners_not_active (hidden) | permit
        technical owner came back since: permit | owners_not_active (hidden) | permit
        technical owner came back before: permit | permit | permit
        technical owner came back, nobody knows when it was theirs: permit | owners_not_active (hidden) | permit
        owner of the purpose left: permit | owners_not_active (hidden) | permit
        owner of the purpose unknown: permit | owners_not_active (hidden) | permit
        owners unknown: permit | owners_not_active (hidden) | permit
        nobody set what the agent may be given: permit | owners_not_active (hidden) | permit
        owner unknown: permit | tool_unaccounted (hidden) | permit
        owner is somebody else: permit | tool_unaccounted (hidden) | permit
        subject left: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        started by a system: permit | permit | permit
        system suspended: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        key of the system expires now: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        owner of the system left: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        owner of another system: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        system for other agents: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        system for other purposes: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        another system: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        system unknown: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        a system that started nothing: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        consented to: permit | permit | permit
        who consented left: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        who consented came back before the task: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        session of who consented over: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        session of the subject over: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        session of the sponsor over: permit | permit | permit
        another consented: delegation_collapse (hidden) | delegation_collapse (hidden) | delegation_collapse (hidden)
        consented to and withdrawn: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        consented to, and a system beside: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        subject not the mandate's: mandate_not_valid (hidden) | mandate_not_valid (hidden) | mandate_not_valid (hidden)
        subject not the task's: delegation_collapse (hidden) | delegation_collapse (hidden) | delegation_collapse (hidden)
        facts of another instance: malformed (hidden) | malformed (hidden) | malformed (hidden)
        sponsor moved: sponsor_moved (hidden) | sponsor_moved (hidden) | sponsor_moved (hidden)
        sponsor moved and affirmed: permit | permit | permit
        sponsor affirmed and moved: sponsor_moved (hidden) | sponsor_moved (hidden) | sponsor_moved (hidden)
        sponsor moved as they affirmed: sponsor_moved (hidden) | sponsor_moved (hidden) | sponsor_moved (hidden)
        agent taken over since: taken_over (hidden) | taken_over (hidden) | taken_over (hidden)
        agent taken over since the mandate: taken_over (hidden) | taken_over (hidden) | taken_over (hidden)
        agent taken over since the device was enrolled: device_not_active (hidden) | device_not_active (hidden) | device_not_active (hidden)
        sponsor not the agent's: malformed (hidden) | malformed (hidden) | malformed (hidden)
    "#]].assert_eq(&table);
}
