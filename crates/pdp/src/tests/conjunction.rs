//! A permit is a conjunction: person and instance, each by itself.

use std::sync::Arc;

use expect_test::{Expect, expect};
use serde_json::json;

use super::fixtures::{Case, at, person, show, snapshot};

const PERSON: &str = r#"@id("person") permit(principal in Group::"clerks", action,
                        resource in Server::"crm");"#;
const INSTANCE: &str = r#"@id("instance") permit(principal in Agent::"billing", action,
                          resource in Server::"crm");"#;

fn check(policies: &[&str], groups: &[&str], expected: Expect) {
    let case = Case::call("crm/lookup", json!({ "id": 1 })).on_behalf_of(person("carla", groups));
    expected.assert_eq(&show(&case.decide(&snapshot(&policies.concat()))));
}

#[test]
fn both_must_permit() {
    let both = [PERSON, INSTANCE];
    check(&both, &["clerks"], expect!["permit by instance, person [person yes, instance yes]"]);
    check(
        &both,
        &["guests"],
        expect!["deny (not_granted): no policy grants this access [person no, instance yes]"],
    );
    check(
        &[PERSON],
        &["clerks"],
        expect!["deny (not_granted): no policy grants this access [person yes, instance no]"],
    );
}

#[test]
fn a_forbid_for_either_denies() {
    let forbid = r#"@id("leave") forbid(principal == Person::"carla", action, resource);"#;
    check(
        &[PERSON, INSTANCE, forbid],
        &["clerks"],
        expect!["deny (forbidden): forbidden by policy `leave` [person no, instance yes]"],
    );
}

#[test]
fn an_error_for_either_denies() {
    let broken = r#"@id("broken") forbid(principal is Person, action in Action::"tools/call",
                    resource) when { (context.session.counters.calls + 9223372036854775807) > 1 };"#;
    let mut case =
        Case::call("crm/lookup", json!({ "id": 1 })).on_behalf_of(person("carla", &["clerks"]));
    case.facts.session.counters.insert("calls".to_owned(), 1);
    expect!["deny (unevaluable): could not evaluate policy `broken`"]
        .assert_eq(&show(&case.decide(&snapshot(&[PERSON, INSTANCE, broken].concat()))));
}

/// Whose source has been silent past its bound is unconfirmed, be it who answers for the act or on whose
/// behalf it is: policy says what follows.
#[test]
fn a_policy_sees_whether_the_people_behind_an_act_are_confirmed() {
    let silent = r#"@id("silent") forbid(principal, action in Action::"tools/call", resource)
                    when { !context.confirmed };"#;
    let check = |sources: [Option<&str>; 2], heard: &[(&str, i64)], expected: &str| {
        let mut case =
            Case::call("crm/lookup", json!({ "id": 1 })).on_behalf_of(person("carla", &["clerks"]));
        let [sponsor, subject] = sources.map(|name| name.map(|it| it.parse().expect("a source")));
        case.standing.sponsor.source = sponsor;
        case.standing.subject.as_mut().expect("carla").source = subject;
        let heard = heard.iter().map(|(name, s)| (name.parse().expect("a source"), at(*s)));
        case.standing.heard = heard.collect();
        let shown = show(&case.decide(&snapshot(&[PERSON, INSTANCE, silent].concat())));
        assert!(
            shown.starts_with(expected),
            "{sources:?} {heard_of:?}: {shown}",
            heard_of = case.standing.heard
        );
    };
    check([None, None], &[("okta", -60)], "permit");
    check([Some("okta"), Some("hr")], &[], "permit");
    check([Some("okta"), Some("hr")], &[("okta", 1), ("hr", 1)], "permit");
    check([Some("okta"), None], &[("okta", 0)], "deny (forbidden): forbidden by policy `silent`");
    check([Some("okta"), Some("hr")], &[("okta", 1), ("hr", 0)], "deny (forbidden)");
}

#[test]
fn an_autonomous_act_asks_no_person() {
    let case = Case::call("crm/lookup", json!({ "id": 1 }));
    expect!["permit by instance [instance yes]"]
        .assert_eq(&show(&case.decide(&snapshot(&[PERSON, INSTANCE].concat()))));
}

#[test]
fn the_sponsor_is_never_the_subject_by_default() {
    let sponsor = r#"@id("sponsor") permit(principal in Group::"staff", action,
                     resource in Server::"crm");"#;
    let case = Case::call("crm/lookup", json!({ "id": 1 }));
    expect!["deny (not_granted): no policy grants this access [instance no]"]
        .assert_eq(&show(&case.decide(&snapshot(sponsor))));
}

#[test]
fn r_35_each_circumstance_can_change_the_answer() {
    let policies = r#"@id("all") permit(principal, action == Action::"crm/lookup", resource)
      when {
        context.sponsor == Person::"sam" && context.sponsor.active
          && context.sponsor in Group::"staff"
          && context.purpose == "care" && context.depth == 0 && context.binding == "dpop"
          && context.attestation == "user" && context.risk == "none" && !context.shared_workload
          && context.session.counters.calls < 3 && context.now < context.task.deadline
          && context.now >= datetime("2027-01-15") && context.task.id like "tsk_*"
          && !(context has subject) && !(context has approval)
          && resource.owner == Person::"olga" && resource.owner.active
          && context.sponsor has unit && context.sponsor.unit == "CC-47"
          && !(resource.owner has unit)
          && resource.enforcement == "mandatory" && context.unread.isEmpty()
      };"#
    .replace("resource.owner ==", "resource has owner && resource.owner ==");
    let snapshot = snapshot(&policies);
    let mut case = Case::call("crm/lookup", json!({ "id": 1 }));
    case.standing.sponsor.unit = Some("CC-47".parse().expect("a unit"));
    expect!["permit by all [instance yes]"].assert_eq(&show(&case.decide(&snapshot)));
    let mut changed = Vec::new();
    let mut vary = |change: fn(&mut Case)| {
        let mut case = case.clone();
        change(&mut case);
        changed.push(case);
    };
    vary(|case| case.standing.sponsor.groups.clear());
    vary(|case| case.standing.sponsor.unit = None);
    vary(|case| {
        let owner = case.facts.tool_owner.as_mut().expect("one");
        Arc::make_mut(owner).unit = case.standing.sponsor.unit.clone();
    });
    vary(|case| case.facts.binding = model::Binding::Mtls);
    vary(|case| {
        let (issuer, subject) = ("https://ci.example", "repo:org/app");
        let rule = model::WorkloadRule::new(issuer, subject, [].into()).unwrap();
        let (issuer, subject) = (issuer.to_owned(), subject.to_owned());
        case.standing.agent.workloads = vec![rule];
        case.standing.instance.attestation = model::Attestation::Workload;
        case.standing.instance.workload =
            Some(model::WorkloadIdentity { issuer, subject, claims: [].into() });
    });
    vary(|case| case.standing.sharing = ["bot", "other"].map(|it| it.parse().unwrap()).into());
    vary(|case| case.facts.session.counters = [("calls".to_owned(), 3)].into());
    vary(|case| case.facts.server = None);
    vary(|case| case.request.input = json!({ "id": 1, "extra": 1 }));
    for place in 0..3 {
        let mut case = case.clone();
        let model::Standing { instance, agent, sponsor, .. } = &mut case.standing;
        let risk = [&mut instance.risk, &mut agent.risk, &mut sponsor.risk];
        let (level, since) = (model::RiskLevel::Low, case.facts.now);
        *risk.into_iter().nth(place).expect("one") = Some(model::Risk { level, since });
        changed.push(case);
    }
    for case in changed {
        expect!["deny (not_granted): no policy grants this access [instance no]"]
            .assert_eq(&show(&case.decide(&snapshot)));
    }
}
