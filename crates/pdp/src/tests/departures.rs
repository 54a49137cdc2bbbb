//! In what acts depart from what is declared, how often that is let pass, and what is wrong with rules of it.

use expect_test::expect;
use model::{Decision, Declared, Denial, Departure, ResourceRef, Scope};
use serde_json::json;

use super::compared::{keeps, strictness};
use super::fixtures::{Case, snapshot};
use super::strictness::{POLICY, check};
use crate::{Strictness, departs};

/// A call, reading a resource, and a method of the server.
fn acts() -> [(&'static str, Case); 3] {
    let resource = ResourceRef::Resource {
        server: "crm".parse().expect("a server"),
        uri: "crm://1".to_owned(),
    };
    [
        ("call", Case::call("crm/lookup", json!({ "id": 1 }))),
        ("read", Case::of("resources/read", resource)),
        ("list", Case::method("tools/list", "crm")),
    ]
}

/// What can be declared: by the time of the fixture, 08:00 on a Friday, these are its hours, or later ones are.
fn declared() -> [(&'static str, Declared); 4] {
    let hours = |text: &str| Declared { calls_an_hour: None, hours: text.parse().ok() };
    [
        ("none", Declared::default()),
        ("now", hours("fri 08:00-09:00 Z")),
        ("later", hours("fri 09:00-10:00 Z")),
        ("rate", Declared { calls_an_hour: Some(10), hours: None }),
    ]
}

/// Every act, by what is declared of the agent, within its ceiling and outside of it.
#[test]
fn r_48_what_an_act_departs_in_follows_from_what_is_declared() {
    let (snapshot, mut table) = (snapshot(POLICY), Vec::new());
    for (act, case) in acts() {
        for (said, declared) in declared() {
            for is_outside in [false, true] {
                let mut case = case.clone();
                case.standing.agent.declared = declared.clone();
                if is_outside {
                    let tools = ["tickets/*".parse().expect("a pattern")].into();
                    case.standing.agent.ceiling = Scope { tools, ..Scope::default() };
                }
                let decision = case.decide(&snapshot);
                let (code, denial) = match &decision {
                    Decision::Permit(_) => ("granted", None),
                    Decision::Deny(denial) => (denial.code(), Some(denial)),
                };
                let kinds = departs(&case.request, &case.facts(), denial);
                let kinds: Vec<_> = kinds.iter().map(|kind| kind.signal()).collect();
                let row = format!("{act:<6}{said:<7}{code:<17}{}", kinds.join(", "));
                table.push(row.trim_end().to_owned());
            }
        }
    }
    let expected = expect![[r#"
            call  none   granted
            call  none   outside_ceiling
            call  now    granted
            call  now    outside_ceiling
            call  later  granted          departed_time
            call  later  outside_ceiling  departed_time
            call  rate   granted          departed_rate
            call  rate   outside_ceiling  departed_rate
            read  none   granted
            read  none   outside_ceiling  departed_data
            read  now    granted
            read  now    outside_ceiling  departed_data
            read  later  granted          departed_time
            read  later  outside_ceiling  departed_data, departed_time
            read  rate   granted          departed_rate
            read  rate   outside_ceiling  departed_data, departed_rate
            list  none   granted
            list  none   outside_ceiling  departed_tool
            list  now    granted
            list  now    outside_ceiling  departed_tool
            list  later  granted
            list  later  outside_ceiling  departed_tool
            list  rate   granted
            list  rate   outside_ceiling  departed_tool"#]];
    expected.assert_eq(&table.join("\n"));
}

/// Data of others is named by who asks for it: what whoever handed the work on left out is declared, and so is what
/// names nothing, or what nobody may call for what it touches.
#[test]
fn r_48_what_an_act_names_departs_if_it_is_not_declared() {
    let snapshot = snapshot(POLICY);
    let bound = |scope: &mut Scope| scope.objects = Some(["crm/7".parse().expect("it")].into());
    let check = |case: &Case, expected: (&str, &[Departure])| {
        let Decision::Deny(denial) = case.decide(&snapshot) else { panic!("it is outside") };
        let kinds: Vec<_> =
            departs(&case.request, &case.facts(), Some(&denial)).into_iter().collect();
        assert_eq!((denial.code(), kinds.as_slice()), expected);
    };
    let data: (_, &[Departure]) = ("outside_purpose", &[Departure::Data]);
    let call = |places: Option<&str>| {
        let mut case = Case::call("crm/lookup", json!({ "id": 8 }));
        let tool = case.tool.as_mut().expect("a tool");
        tool.objects = places.map(|place| [place.to_owned()].into());
        case
    };
    let resource = acts().into_iter().map(|(_, case)| case).nth(1).expect("it reads one");
    for case in [call(Some("/id")), resource] {
        let mut of_purpose = case.clone();
        bound(&mut of_purpose.standing.purpose.scope);
        check(&of_purpose, data);
        let mut of_ceiling = case.clone();
        bound(&mut of_ceiling.standing.agent.ceiling);
        check(&of_ceiling, data);
        let mut of_task = case;
        bound(&mut of_task.standing.task.scope);
        check(&of_task, ("outside_purpose", &[]));
    }
    let mut unnamed = call(None);
    bound(&mut unnamed.standing.purpose.scope);
    check(&unnamed, ("object_unknown", &[]));
    let mut hidden = call(Some("/id"));
    bound(&mut hidden.standing.purpose.scope);
    let tool = hidden.tool.as_mut().expect("a tool");
    tool.data = ["customers".parse().expect("a category")].into();
    hidden.standing.purpose.data = ["orders".parse().expect("a category")].into();
    check(&hidden, ("outside_purpose", &[]));
}

/// What a server asks of an instance is no act of the instance's.
#[test]
fn what_a_server_asks_departs_in_nothing() {
    let case = Case::method("server/request", "crm");
    for denial in [Denial::OutsideCeiling, Denial::OutsideMandate] {
        assert!(departs(&case.request, &case.facts(), Some(&denial)).is_empty(), "{denial:?}");
    }
}

/// It comes again with another token.
#[test]
fn what_is_denied_for_its_token_departs_in_nothing() {
    for (act, mut case) in acts() {
        case.standing.agent.declared = Declared { calls_an_hour: Some(1), hours: None };
        let denials = [Denial::TokenUsed, Denial::TokenTooOld { within_s: 5 }];
        for denial in denials {
            assert!(departs(&case.request, &case.facts(), Some(&denial)).is_empty(), "{act}");
        }
        let is_call = act != "list";
        assert_eq!(
            departs(&case.request, &case.facts(), None).len(),
            usize::from(is_call),
            "{act}"
        );
    }
}

/// What is not said is built in; of what is said, the strictest counts.
#[test]
fn r_48_of_the_rules_for_an_agent_the_strictest_counts() {
    let tolerance = |strictness: &Strictness, kind, agent: &str| {
        let it = strictness.tolerance(kind, &agent.parse().expect("an agent"));
        (it.after, it.level.as_str(), it.lasts.as_secs() / 3_600)
    };
    let nothing = Strictness::default();
    for kind in Departure::ALL {
        let after = if matches!(kind, Departure::Data | Departure::Tool) { 3 } else { 1 };
        assert_eq!(tolerance(&nothing, kind, "any"), (after, "medium", 24), "{kind:?}");
    }
    let some = strictness(
        "departures:
  - { description: x, after: 10 }
  - { description: x, after: 20, lasts_h: 48, kinds: [tool, data] }
  - { description: x, after: 2, risk: low, agents: [billing], kinds: [tool] }
",
    );
    assert_eq!(tolerance(&some, Departure::Tool, "any"), (10, "medium", 48));
    assert_eq!(tolerance(&some, Departure::Tool, "billing"), (2, "low", 48));
    assert_eq!(tolerance(&some, Departure::Rate, "billing"), (10, "medium", 24));
    let both = strictness(
        "departures:
  - { description: x, risk: low }
  - { description: x, risk: medium, agents: [billing] }
",
    );
    assert_eq!(tolerance(&both, Departure::Time, "any"), (1, "low", 24));
    assert_eq!(tolerance(&both, Departure::Time, "billing"), (1, "medium", 24));
}

#[test]
fn a_set_lets_pass_no_more_than_another_one_for_each_agent_and_kind() {
    let check = |[one, other]: [&str; 2], expected: [bool; 2]| {
        let [a, b] = [one, other].map(|rules| strictness(&format!("departures: [{rules}]")));
        let is = [keeps(b.differing(&a)), keeps(a.differing(&b))];
        assert_eq!(is, expected, "{one} and {other}");
    };
    let (alike, stricter, neither) = ([true, true], [true, false], [false, false]);
    let tool = "{ description: x, kinds: [tool], after: 3, risk: medium, lasts_h: 24 }";
    check(["", ""], alike);
    check(["", tool], alike);
    check(["", "{ description: x, kinds: [tool], after: 4 }"], stricter);
    check(["", "{ description: x, kinds: [data], risk: low }"], stricter);
    check(["", "{ description: x, agents: [billing], lasts_h: 23 }"], stricter);
    check(["{ description: x, agents: [billing], lasts_h: 25 }", ""], stricter);
    check(["{ description: x, after: 2, kinds: [tool], lasts_h: 23 }", ""], neither);
    check(
        ["{ description: x, after: 1, agents: [a] }", "{ description: x, after: 1, agents: [b] }"],
        neither,
    );
}

#[test]
fn what_a_rule_of_departures_cannot_say_is_told_with_its_line() {
    check(
        "departures:
  - { description: Those who pay, agents: [billing], kinds: [tool, data], after: 1, risk: medium, lasts_h: 720 }
  - { description: Night shifts, risk: low, after: 1000 }
",
        expect![[r#"
            Those who pay: an instance that departs in data or tool is at risk `medium`, from number 1 of an hour on, for 720 h
            Night shifts: an instance that departs in anything is at risk `low`, from number 1000 of an hour on"#]],
    );
    check(
        "departures:
  - { description: x, after: 0 }
  - { description: x, after: 1001 }
  - { description: x, risk: high }
  - { description: x, lasts_h: 721 }
  - { description: x, lasts_h: -1 }
  - { description: x, agents: [billing] }
",
        expect![[r#"
            strictness.yaml:2: `after` is not within 1 and 1000
            strictness.yaml:3: `after` is not within 1 and 1000
            strictness.yaml:4: `risk` is neither `low` nor `medium`
            strictness.yaml:5: `lasts_h` is not within 1 and 720
            strictness.yaml:6: `lasts_h` is not within 1 and 720
            strictness.yaml:7: it says none of `after`, `risk` and `lasts_h`"#]],
    );
}
