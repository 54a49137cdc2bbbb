//! What is denied tells what policies under observation would have done; and nobody puts a built-in rule there.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{
    AccessRequest, AgentFacts, DELEGATIONS_MAX, Decision, DirectoryState, Facts, Gives, Harm,
    PersonState, ResourceRef,
};
use serde_json::json;

use super::delegation::above;
use super::fixtures::{Case, NOW, OPEN, person, snapshot, tool};
use super::kernel::{CHANGES, INACTIVE};

const READS: &str =
    r#"@id("reads") permit (principal is Instance, action == Action::"crm/lookup", resource);"#;
const CLERKS: &str =
    r#"@id("clerks") permit (principal in Group::"clerks", action, resource in Server::"crm");"#;
const ALL: &str = r#"@id("all") permit (principal, action, resource);"#;
const NO: &str = r#"@id("no") forbid (principal, action, resource);"#;
const FAILS: &str = r#"@id("fails") forbid (principal, action in Action::"tools/call", resource)
    when { context.session.counters.calls + 9223372036854775807 > 0 };"#;

fn observe(policy: &str) -> String {
    format!("@mode(\"observe\") {policy}")
}

#[test]
fn what_is_denied_tells_what_is_observed() {
    let mut alone = Case::call("crm/lookup", json!({ "id": 1 }));
    alone.facts.session.counters.insert("calls".to_owned(), 1);
    let carla = alone.clone().on_behalf_of(person("carla", &["clerks"]));
    let check = |case: &Case,
                 (in_force, tried): (&[&str], &[&str]),
                 reason: &str,
                 told: &[&str]| {
        let tried: String = tried.iter().map(|it| observe(it)).collect();
        let set = snapshot(&format!("{}{tried}", in_force.concat()));
        let Decision::Deny(denial) = case.decide(&set) else { panic!("{in_force:?} {tried}") };
        let observed = set.observed(&case.request, &case.facts());
        let observed: Vec<_> = observed.iter().map(model::PolicyId::as_str).collect();
        assert_eq!((denial.code(), observed.as_slice()), (reason, told), "{in_force:?} {tried}");
    };
    // It would have permitted, though nothing in force names the tool.
    check(&alone, (&[], &[READS]), "not_granted", &["reads"]);
    check(&alone, (&[ALL], &[READS]), "not_granted", &["reads"]);
    // It would not: it names no tool, is of the instance alone, or something forbids it.
    check(&alone, (&[], &[ALL]), "not_granted", &[]);
    check(&carla, (&[], &[READS]), "not_granted", &[]);
    check(&carla, (&[READS], &[CLERKS]), "not_granted", &["clerks"]);
    check(&carla, (&[], &[READS, CLERKS]), "not_granted", &["clerks", "reads"]);
    check(&alone, (&[READS, NO], &[CLERKS]), "forbidden", &[]);
    check(&alone, (&[NO], &[READS]), "not_granted", &[]);
    // What forbids it as well, or fails, is told whatever denies it.
    check(&alone, (&[CLERKS], &[NO]), "not_granted", &["no"]);
    check(&alone, (&[READS, FAILS], &[NO]), "unevaluable", &["no"]);
    check(&alone, (&[CLERKS], &[FAILS]), "not_granted", &["fails"]);
    check(&alone, (&[CLERKS, READS, NO], &[]), "forbidden", &[]);
}

/// Acts that built-in rules deny which [`CHANGES`] does not reach: of chains, and of administration.
fn others() -> Vec<(AccessRequest, Facts)> {
    let lookup = || Case::call("crm/lookup", json!({ "id": 1 }));
    let mut left = lookup().handed_on(1);
    above(&mut left, 0).sponsor.state = PersonState::Inactive { since: NOW };
    let mut missing = lookup().handed_on(2);
    Arc::make_mut(&mut missing.standing.delegators).pop();
    let deep = lookup().handed_on(u8::try_from(DELEGATIONS_MAX).expect("few") + 1);
    let mut again = lookup().handed_on(1);
    let name = again.standing.agent.name.clone();
    above(&mut again, 0).instance.agent = name.clone();
    above(&mut again, 0).agent.name = name.clone();
    let mut own = lookup().handed_on(1);
    own.tool.as_mut().expect("one").not_delegable = true;
    let mut stolen = lookup();
    stolen.standing.agent.keys_compromised = Some(1);
    let mut nobody = lookup();
    nobody.tool.as_mut().expect("one").requires_subject = true;
    let target = || ResourceRef::Agent(name.clone());
    let agent = Case::of("agent/suspend", target());
    let gone = person("ada", &["administrators"]);
    let gone = model::Person { state: INACTIVE, ..gone };
    let gone = Case::administer("agent/suspend", target(), gone);
    let known = lookup().standing;
    let of_agent = |action: &str, by| {
        let mut case = Case::administer(action, target(), by);
        let (agent, sponsor) = (known.agent.clone(), known.sponsor.clone());
        case.facts.agent = Some(Arc::new(AgentFacts { agent, sponsor, succession: None }));
        case
    };
    let own_successor = of_agent("agent/take-over", known.sponsor.clone());
    let renews = of_agent("agent/renew", person("ada", &["administrators"]));
    let forgets = of_agent("agent/forget", person("ada", &["administrators"]));
    let mut cases = vec![left, missing, deep, again, own, nobody, agent, gone, own_successor];
    cases.extend([renews, forgets, stolen]);
    let suspended = DirectoryState::Suspended { reason: "test".to_owned(), since: NOW };
    let directory = super::administration::case("person/provision", Gives::Added, &[], suspended);
    cases.iter().map(|case| (case.request.clone(), case.facts())).chain([directory]).collect()
}

/// Whatever a policy under observation would say: what a built-in rule denies is denied, for the same reason,
/// and nothing is told that would have been.
#[test]
fn built_in_rules_cannot_be_observed() {
    let everything = r#"@id("yes") permit (principal, action, resource in Server::"crm");"#;
    let tried = [NO, ALL, everything].map(observe).concat();
    let (set, tried) = (snapshot(OPEN), snapshot(&format!("{OPEN}{tried}")));
    let reads = Case::call("crm/lookup", json!({ "id": 1 }));
    let acts = Case { tool: Some(tool("crm/lookup", &[Harm::MovesMoney])), ..reads.clone() };
    let lists = Case::method("tools/list", "crm");
    let mut asked = others();
    for (_, change) in CHANGES {
        for case in [&reads, &acts, &lists] {
            let mut case = case.clone();
            change(&mut case);
            asked.push((case.request.clone(), case.facts()));
        }
    }
    let mut denied = BTreeSet::new();
    for (request, facts) in &asked {
        let Decision::Deny(denial) = set.decide(request, facts) else { continue };
        denied.insert(denial.code());
        assert_eq!(tried.decide(request, facts), Decision::Deny(denial), "{request:?}");
        assert_eq!(tried.observed(request, facts), BTreeSet::new(), "{request:?}");
    }
    let rules = [
        "actor_not_active",
        "administrator_not_active",
        "agent_key_compromised",
        "agents_do_not_administer",
        "bearer_not_admitted",
        "delegation_collapse",
        "delegation_cycle",
        "delegation_too_deep",
        "delegator_not_active",
        "device_not_active",
        "directory_not_active",
        "instance_quarantined",
        "lease_ended",
        "malformed",
        "mandate_not_valid",
        "no_originator",
        "not_delegable",
        "outside_ceiling",
        "outside_mandate",
        "outside_scope",
        "owners_not_active",
        "review_lapsed",
        "sponsor_is_not_successor",
        "sponsor_moved",
        "sponsor_not_active",
        "sponsor_renews",
        "stopped",
        "taken_over",
        "task_not_open",
        "technical_owner_answers",
        "tool_not_pinned",
        "tool_unaccounted",
    ];
    assert_eq!(denied, BTreeSet::from(rules));
}
