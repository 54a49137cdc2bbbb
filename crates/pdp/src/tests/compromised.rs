//! A key of the agent was in other hands: what that alone vouched for is over, and nothing else.

use std::fmt::Write as _;

use expect_test::expect;
use model::{Attestation, HostProcess, HostRule};
use serde_json::json;

use super::delegation::above;
use super::fixtures::{Case, OPEN, snapshot};
use super::kernel::{Change, enrolled, outcome};

/// The same as who asks in a process that the host vouched for, whose user the rule of the agent still is, or not.
fn by_host(case: &mut Case, admits: bool) {
    let process = HostProcess { exe: None, pid: 1, started: 0, uid: 1_000 };
    case.standing.instance.attestation = Attestation::Host;
    case.standing.instance.process = Some(process);
    case.standing.agent.host = admits.then_some(HostRule { exe: None, uid: 1_000 });
}

/// How many keys of the agent are known to be in other hands, and how many were when the instance was entered.
fn compromised(case: &mut Case, now: u32, then: Option<u32>) {
    case.standing.agent.keys_compromised = Some(now);
    case.standing.instance.keys_compromised = then;
}

const CHANGES: &[(&str, Change)] = &[
    ("since it was entered", |case| compromised(case, 1, None)),
    ("before it was entered", |case| compromised(case, 1, Some(1))),
    ("before it was entered, and another one since", |case| compromised(case, 2, Some(1))),
    ("since, of one that nobody vouched for", |case| {
        compromised(case, 1, None);
        case.standing.instance.attestation = Attestation::None;
    }),
    ("since, of one that a device vouched for", |case| {
        compromised(case, 1, None);
        enrolled(case, |_| {});
    }),
    ("since, of one that the host vouched for", |case| {
        compromised(case, 1, None);
        by_host(case, true);
    }),
    ("since, of one that the host vouched for and would no longer", |case| {
        compromised(case, 1, None);
        by_host(case, false);
    }),
    ("since, of one that handed the work on", |case| {
        *case = case.clone().handed_on(2);
        above(case, 1).agent.keys_compromised = Some(1);
    }),
];

#[test]
fn what_only_a_compromised_key_vouched_for_is_over() {
    let snapshot = snapshot(OPEN);
    let mut table = String::new();
    for (name, change) in CHANGES {
        let mut case = Case::call("crm/lookup", json!({ "id": 1 }));
        change(&mut case);
        writeln!(table, "{name}: {}", outcome(&case, &snapshot)).expect("text");
    }
    expect![[r#"
        since it was entered: agent_key_compromised (hidden)
        before it was entered: permit
        before it was entered, and another one since: agent_key_compromised (hidden)
        since, of one that nobody vouched for: agent_key_compromised (hidden)
        since, of one that a device vouched for: permit
        since, of one that the host vouched for: permit
        since, of one that the host vouched for and would no longer: agent_key_compromised (hidden)
        since, of one that handed the work on: delegator_not_active (hidden)
    "#]]
    .assert_eq(&table);
}
