//! Who administers: people, directories, never agents; and whom an agent falls to.

use std::sync::Arc;

use expect_test::expect;
use model::{
    AccessRequest, ActionName, AgentFacts, Decision, Directory, DirectoryState, Facts, Gives,
    Principal, PrincipalFacts, Provisioning, ResourceRef, Succession,
};
use serde_json::Value;

use super::fixtures::{Case, NOW, OPEN, person, snapshot};
use super::kernel::{INACTIVE, outcome, stopped};
use crate::schema::AskedBy;

/// A question of the directory `okta` about Ann, whom it gives what `gives` says.
pub(super) fn case(
    action: &str,
    gives: Gives,
    joins: &[&str],
    state: DirectoryState,
) -> (AccessRequest, Facts) {
    let ann = ResourceRef::Person("ann".parse().expect("a person"));
    let mut case = Case::administer(action, ann, person("ada", &[]));
    let directory = Directory {
        name: "okta".parse().expect("a source"),
        logins: None,
        silence_min: None,
        registered: NOW,
        state,
    };
    let joins = joins.iter().map(|group| group.parse().expect("a group")).collect();
    let person = Some(Box::new(person("ann", &["staff"])));
    let provisioning = Provisioning {
        person,
        gives,
        joins,
        unit: None,
        manager: None,
        login: false,
        purpose: None,
    };
    case.request.principal = Principal::Directory(directory.name.clone());
    case.facts.principal = PrincipalFacts::Directory(directory, provisioning);
    (case.request, case.facts)
}

fn answer((request, facts): &(AccessRequest, Facts), policy: &str) -> &'static str {
    match snapshot(policy).decide(request, facts) {
        Decision::Permit(_) => "permit",
        Decision::Deny(denial) => denial.code(),
    }
}

const PROVISION: &str = r#"
    @id("provision") permit (principal is Directory, action == Action::"person/provision", resource)
    unless { context.joins.contains("approvers") || context.gives == "returned" || context.login };"#;

#[test]
fn what_a_directory_gives_is_decided_and_what_it_takes_away_is_not() {
    let check = |action: &str, (gives, joins): (Gives, &[&str]), policy: &str, expected: &str| {
        let active = case(action, gives, joins, DirectoryState::Active);
        assert_eq!(answer(&active, policy), expected, "{action} {gives:?} {joins:?}");
        let state = DirectoryState::Suspended { reason: "test".to_owned(), since: NOW };
        let suspended = case(action, gives, joins, state);
        assert_eq!(answer(&suspended, policy), "directory_not_active");
    };
    let forbidding = r#"@id("no") forbid (principal, action, resource);"#;
    check("person/provision", (Gives::Added, &[]), PROVISION, "permit");
    check("person/provision", (Gives::Changed, &["staff"]), PROVISION, "permit");
    check("person/provision", (Gives::Changed, &["approvers"]), PROVISION, "not_granted");
    check("person/provision", (Gives::Returned, &[]), PROVISION, "not_granted");
    check("person/provision", (Gives::Added, &[]), forbidding, "forbidden");
    check("person/restrict", (Gives::Nothing, &[]), forbidding, "permit");
    // Neither is called by the other's name, and a directory does nothing else.
    check("person/restrict", (Gives::Changed, &["staff"]), PROVISION, "malformed");
    check("person/provision", (Gives::Nothing, &[]), PROVISION, "malformed");
    check("person/add", (Gives::Added, &[]), PROVISION, "malformed");
}

/// A policy sees who the person is.
#[test]
fn a_policy_sees_the_person_whom_a_directory_gives_something() {
    let check = |policy: &str, expected: &str| {
        let asked = case("person/provision", Gives::Changed, &["desk"], DirectoryState::Active);
        assert_eq!(answer(&asked, policy), expected, "{policy}");
    };
    let all = r#"@id("all") permit (principal is Directory, action, resource is Person)"#;
    let no = r#"@id("no") forbid (principal is Directory, action, resource in Group::"staff");"#;
    check(&format!("{all};"), "permit");
    check(&format!("{all}; {no}"), "forbidden");
    check(&format!("{all} when {{ resource.active }};"), "permit");
}

/// What a directory registers is decided, in the light of who is to answer for it and what for; that it is
/// gone is not.
#[test]
fn a_directory_registers_agents_as_policy_says() {
    let case = |action: &str, gives: Gives, target: ResourceRef| {
        let mut asked = case(action, gives, &[], DirectoryState::Active);
        if let PrincipalFacts::Directory(_, provisioning) = &mut asked.1.principal {
            let purpose = "refunds".parse().expect("a purpose");
            *provisioning = Provisioning::of_agent(person("ann", &["staff"]), purpose, gives);
        }
        asked.0.resource = target;
        asked
    };
    let desk = || ResourceRef::Agent("desk".parse().expect("an agent"));
    let check = |(action, gives): (&str, Gives), policy: &str, expected: &str| {
        assert_eq!(answer(&case(action, gives, desk()), policy), expected, "{action} {policy}");
    };
    let when = |condition: &str| {
        format!(
            r#"@id("p") permit (principal is Directory, action == Action::"agent/provision", resource)
               when {{ {condition} }};"#
        )
    };
    let added = ("agent/provision", Gives::Added);
    check(added, &when(r#"context.gives == "added" && context.purpose == "refunds""#), "permit");
    check(added, &when(r#"context.sponsor in Group::"staff""#), "permit");
    check(added, &when(r#"context.sponsor in Group::"interns""#), "not_granted");
    check(added, PROVISION, "not_granted");
    let forbidding = r#"@id("no") forbid (principal, action, resource);"#;
    check(("agent/restrict", Gives::Nothing), forbidding, "permit");
    let everything = r#"@id("all") permit (principal, action, resource);"#;
    check(("agent/provision", Gives::Nothing), everything, "malformed");
    check(("agent/restrict", Gives::Added), everything, "malformed");
    check(("agent/add", Gives::Added), everything, "malformed");
    check(("agent/renew", Gives::Added), everything, "malformed");
    // What is said of a person is said of nothing else.
    let ann = ResourceRef::Person("ann".parse().expect("a person"));
    let crossed = case("person/provision", Gives::Added, ann);
    assert_eq!(answer(&crossed, everything), "malformed");
}

/// Nobody acts in a directory's name.
#[test]
fn people_and_agents_are_no_directory() {
    let ann = || ResourceRef::Person("ann".parse().expect("a person"));
    let everything = r#"@id("all") permit (principal, action, resource);"#;
    for action in ["person/provision", "person/restrict"] {
        let by_person = Case::administer(action, ann(), person("ada", &["administrators"]));
        assert_eq!(answer(&(by_person.request, by_person.facts), everything), "malformed");
        let mut by_agent = Case::method("tools/list", "crm");
        (by_agent.request.action, by_agent.request.resource) = (ActionName::method(action), ann());
        let by_agent = (by_agent.request.clone(), by_agent.facts());
        assert_eq!(answer(&by_agent, everything), "agents_do_not_administer");
    }
    let (mut request, facts) = case("person/provision", Gives::Added, &[], DirectoryState::Active);
    request.principal = Principal::Directory("other".parse().expect("a source"));
    assert_eq!(answer(&(request, facts), everything), "malformed");
}

#[test]
fn an_agent_falls_to_whom_policy_says_and_never_to_who_let_it_go() {
    let policy = r#"
        @id("take-over") permit (principal is Person, action == Action::"agent/take-over", resource)
        when { context.line.contains(principal) || context.backup.contains(principal)
               || (context has unit && principal has unit && principal.unit == context.unit) };"#;
    let check = |who: &str, unit: Option<&str>, expected: &str| {
        let mut by = person(who, &["administrators"]);
        by.unit = unit.map(|unit| unit.parse().expect("a unit"));
        let mut known = Case::method("tools/list", "crm").standing;
        known.agent.backups = ["betty", "bob"].map(|id| id.parse().expect("a person")).into();
        let name = known.agent.name.clone();
        let mut case = Case::administer("agent/take-over", ResourceRef::Agent(name), by);
        let line = ["carl", "dora"].map(|id| id.parse().expect("a person")).into();
        let succession = Some(Succession { line, unit: Some("Desk 4".parse().expect("a unit")) });
        let (agent, sponsor) = (known.agent, known.sponsor);
        case.facts.agent = Some(Arc::new(AgentFacts { agent, sponsor, succession }));
        case.request.input = Value::Null;
        assert_eq!(answer(&(case.request, case.facts), policy), expected, "{who}");
    };
    let sponsor = Case::method("tools/list", "crm").standing.sponsor.id;
    check("carl", None, "permit");
    check("dora", None, "permit");
    check("betty", None, "permit");
    check("bob", None, "permit");
    check("eve", None, "not_granted");
    check("eve", Some("Desk 4"), "permit");
    check("eve", Some("Desk 5"), "not_granted");
    check(sponsor.as_str(), Some("Desk 4"), "sponsor_is_not_successor");
}

/// R14: the lease is renewed by the one person who answers for the agent, whatever policy says.
#[test]
fn r_14_nobody_but_its_sponsor_says_that_an_agent_is_to_go_on() {
    let check = |action: &str, who: &str, expected: &str| {
        let known = Case::method("tools/list", "crm").standing;
        let mut case = Case::administer(
            action,
            ResourceRef::Agent(known.agent.name.clone()),
            person(who, &["administrators"]),
        );
        let (agent, sponsor, succession) = (known.agent, known.sponsor, None);
        case.facts.agent = Some(Arc::new(AgentFacts { agent, sponsor, succession }));
        assert_eq!(answer(&(case.request, case.facts), OPEN), expected, "{who}");
    };
    for action in ["agent/renew", "agent/reinstate"] {
        check(action, "sam", "permit");
        check(action, "ada", "sponsor_renews");
    }
    // Nobody but its technical owner says that it forgets, and policy alone who says that it remembers.
    check("agent/forget", "sam", "permit");
    check("agent/forget", "ada", "technical_owner_answers");
    check("agent/remember", "ada", "permit");
}

#[test]
fn agents_never_administer_and_administrators_never_call() {
    let snapshot = snapshot(OPEN);
    let mut agent = Case::method("tools/list", "crm");
    let mut administrative: Vec<&String> = snapshot
        .vocabulary
        .actions
        .iter()
        .filter_map(|(name, action)| (action.asked_by != AskedBy::Instance).then_some(name))
        .collect();
    administrative.sort_unstable();
    for name in &administrative {
        agent.request.action = ActionName::method(name);
        assert_eq!(outcome(&agent, &snapshot), "agents_do_not_administer (hidden)", "{name}");
    }
    expect![[r#"["agent/add", "agent/affirm", "agent/attest", "agent/client", "agent/declare", "agent/forget", "agent/offboard", "agent/owners", "agent/provision", "agent/reinstate", "agent/remember", "agent/renew", "agent/restrict", "agent/start", "agent/stop", "agent/suspend", "agent/take-over", "clock/trust", "consent/withdraw", "deployment/start", "deployment/stop", "device/enrol", "device/revoke", "drill/run", "elevation/approve", "elevation/ask", "elevation/revoke", "finding/close", "founder/add", "founder/redeem", "founder/rekey", "founder/remove", "instance/quarantine", "instance/release", "instance/revoke", "keys/rotate", "label/remove", "log/read", "mandate/give", "mandate/withdraw", "outcome/settle", "people/apply", "people/directory", "people/source", "people/stream", "people/widening", "person/add", "person/confirm", "person/deactivate", "person/offboard", "person/provision", "person/restrict", "policy/activate", "policy/approve", "policy/observe", "policy/publish", "policy/withdraw", "purpose/add", "purpose/narrow", "purpose/owner", "purpose/widen", "review/certify", "review/import", "review/open", "review/withdraw", "risk/lower", "risk/raise", "server/add", "signal/approve", "signal/undo", "signals/receiver", "system/add", "system/suspend", "task/end", "tool/describe", "tool/pin", "tool/start", "tool/stop"]"#]].assert_eq(&format!("{administrative:?}"));
    let ada = person("ada", &["administrators"]);
    let list = ResourceRef::Server("crm".parse().expect("a server"));
    let listing = Case::administer("tools/list", list, ada.clone());
    assert_eq!(outcome(&listing, &snapshot), "malformed (hidden)");
    let publish = || ResourceRef::Bundle("00".to_owned());
    let publishing = Case::administer("policy/publish", publish(), ada.clone());
    assert_eq!(outcome(&publishing, &snapshot), "permit");
    let elsewhere = Case::administer("policy/publish", ResourceRef::Deployment, ada.clone());
    assert_eq!(outcome(&elsewhere, &snapshot), "malformed (hidden)");
    // Whatever is stopped, administrators administer.
    let mut stopping = publishing;
    stopped(&mut stopping, "all");
    assert_eq!(outcome(&stopping, &snapshot), "permit");
    let mut gone = ada;
    gone.state = INACTIVE;
    let gone = Case::administer("policy/publish", publish(), gone);
    assert_eq!(outcome(&gone, &snapshot), "administrator_not_active (hidden)");
}
