//! What `strictness.yaml` says, and what is wrong with one.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use model::{Decision, Denial, Harm};
use serde_json::json;

use super::fixtures::{Case, bundle};
use crate::{Bundle, STRICTNESS_MAX, Snapshot};

/// Permits whatever is done at `crm`.
pub(super) const POLICY: &str = r#"@id("a") permit(principal, action, resource in Server::"crm");"#;

fn with(strictness: &str) -> Bundle {
    Bundle { strictness: Some(strictness.to_owned()), ..bundle(POLICY) }
}

/// What the rules of the file `strictness` say, or what is wrong with it.
pub(super) fn check(strictness: &str, expected: Expect) {
    let found = match Snapshot::compile(with(strictness)) {
        Ok(snapshot) => {
            let rules = snapshot.strictness().rules();
            rules.map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
        Err(errors) => errors.to_string(),
    };
    expected.assert_eq(&found);
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_what_is_right_with_its_cost() {
    check(
        "tokens:
  - { description: Who moves money, lasts_s: 60, harm: [moves-money] }
  - { description: billing, lasts_s: 40, agents: [billing] }
  - { description: All, lasts_s: 300 }
",
        expect![[r#"
            Who moves money: tokens last 60 s, which costs an instance at work up to 120 renewals an hour for each server, in place of 14
            billing: tokens last 40 s, which costs an instance at work up to 360 renewals an hour for each server, in place of 14
            All: tokens last 300 s, which costs an instance at work up to 14 renewals an hour for each server, in place of 14"#]],
    );
    check(
        "tokens:
  - { description: x, lasts_s: 39 }
  - { description: x, lasts_s: 301 }
",
        expect![[r#"
            strictness.yaml:2: `lasts_s` is not within 40 and 300
            strictness.yaml:3: `lasts_s` is not within 40 and 300"#]],
    );
    check(
        "tokens: [{ description: x, lasts: 60 }]",
        expect![
            "strictness.yaml:1: unknown field `lasts`, expected one of description, lasts_s, agents, harm at line 1, column 28: see docs/strictness.md"
        ],
    );
    check(
        "tokens: [{ description: x, lasts_s: 60, harm: [steals] }]",
        expect![
            "strictness.yaml:1: unknown variant `steals`, expected one of reads-data, exposes-data, moves-money, changes-production, runs-code at line 1, column 48: see docs/strictness.md"
        ],
    );
    check(
        "",
        expect![
            "strictness.yaml: it says none of `tokens`, `calls` and `departures`: say one, or remove the file"
        ],
    );
}

#[test]
fn what_a_rule_of_calls_cannot_say_is_told_with_its_line() {
    check(
        "calls:
  - { description: Each payment, token: once, harm: [moves-money] }
  - { description: The payer, attested_s: 60, agents: [billing] }
  - { description: Both, token: once, attested_s: 300 }
",
        expect![[r#"
            Each payment: each call needs a token of its own, which costs a renewal a call, and every other call is refused once before it
            The payer: attested at most 60 s before a call, which costs an instance at work up to 60 renewals an hour for each server, in place of 14, and as many calls are refused once before it
            Both: each call needs a token of its own, which costs a renewal a call, and every other call is refused once before it; attested at most 300 s before a call, which costs an instance at work up to 14 renewals an hour for each server, in place of 14, and as many calls are refused once before it"#]],
    );
    check(
        "calls:
  - { description: x, attested_s: 4 }
  - { description: x, attested_s: 301 }
  - { description: x, agents: [billing] }
",
        expect![[r#"
            strictness.yaml:2: `attested_s` is not within 5 and 300
            strictness.yaml:3: `attested_s` is not within 5 and 300
            strictness.yaml:4: it says neither `token` nor `attested_s`: say one"#]],
    );
    check(
        "calls: [{ description: x, attested_s: -5 }]",
        expect!["strictness.yaml:1: `attested_s` is not within 5 and 300"],
    );
    check(
        "calls: [{ description: x, token: twice }]",
        expect![
            "strictness.yaml:1: unknown variant `twice`, expected one of once at line 1, column 34: see docs/strictness.md"
        ],
    );
    check(
        "calls: [{ description: x, token: once, harm: [steals] }]",
        expect![
            "strictness.yaml:1: unknown variant `steals`, expected one of reads-data, exposes-data, moves-money, changes-production, runs-code at line 1, column 47: see docs/strictness.md"
        ],
    );
    check(
        "calls: [{ description: x, token: once, agents: [No Name] }]",
        expect![
            "strictness.yaml:1: `No Name` is not an agent name: expected 1 to 63 characters of a-z, 0-9 and `-` at line 1, column 49: see docs/strictness.md"
        ],
    );
    check(
        "calls: [{ description: x, approval: required }]",
        expect![
            "strictness.yaml:1: unknown field `approval`, expected one of description, token, attested_s, agents, harm at line 1, column 27: see docs/strictness.md"
        ],
    );
    check(
        "approvals: []",
        expect![
            "strictness.yaml:1: unknown field `approvals`, expected one of tokens, calls, departures at line 1, column 1: see docs/strictness.md"
        ],
    );
}

/// Every agent and harm that a rule can be for, against who calls and what the tool does, and every knob.
#[test]
fn a_call_wants_what_the_rules_say_that_it_meets() {
    const AGENTS: [&str; 4] =
        ["", "agents: [billing], ", "agents: [lead-1], ", "agents: [other], "];
    let all_harm = [None].into_iter().chain(Harm::ALL.map(Some));
    for (agents, of) in AGENTS.into_iter().flat_map(|it| all_harm.clone().map(move |of| (it, of))) {
        let harm = of.map(|of| format!("harm: [{}], ", of.as_str())).unwrap_or_default();
        for (knobs, is_once, within_s) in [
            ("token: once", true, 300),
            ("attested_s: 60", false, 60),
            ("token: once, attested_s: 60", true, 60),
        ] {
            let rule = format!("calls: [{{ description: x, {agents}{harm}{knobs} }}]");
            let strictness = super::compared::strictness(&rule);
            for (depth, does) in [0, 1].into_iter().flat_map(|it| Harm::ALL.map(|of| (it, of))) {
                let mut case = Case::call("crm/lookup", json!({ "id": 1 })).handed_on(depth);
                case.tool.as_mut().expect("it is known").harm = [does].into();
                let is_agent = agents != AGENTS[3] && (agents != AGENTS[2] || depth == 1);
                let is_met = is_agent && of.is_none_or(|of| of == does);
                for age in [None, Some(0), Some(60), Some(61), Some(300), Some(301)] {
                    case.facts.session.token_age_s = age;
                    let answer = strictness.uses_token(&case.request, &case.facts());
                    let is_new = age.is_some_and(|age| age <= u64::from(within_s));
                    let expected = match (is_met, is_new) {
                        (true, false) => Err(Denial::TokenTooOld { within_s }),
                        _ => Ok(is_met && is_once),
                    };
                    assert_eq!(answer, expected, "{rule}: {does:?} at {age:?}, {depth}");
                }
            }
        }
    }
}

/// Only where nothing else denies is a new token asked for; and only calls of tools want one.
#[test]
fn r_3_of_the_rules_of_calls_the_strictest_counts_and_after_all_others() {
    let snapshot = Snapshot::compile(with(
        "calls:
  - { description: x, attested_s: 100 }
  - { description: x, attested_s: 60, harm: [reads-data] }
  - { description: x, attested_s: 5, harm: [moves-money] }
  - { description: x, token: once, agents: [billing] }
",
    ))
    .expect("it compiles");
    let mut case = Case::call("crm/lookup", json!({ "id": 1 }));
    let reason = |case: &Case| match case.decide(&snapshot) {
        Decision::Permit(grant) => format!("{}", grant.uses_token),
        Decision::Deny(denial) => denial.code().to_owned(),
    };
    assert_eq!(reason(&case), "token_too_old", "nobody knows how old it is");
    case.facts.session.token_age_s = Some(60);
    assert_eq!(reason(&case), "true");
    case.facts.session.token_age_s = Some(61);
    assert_eq!(reason(&case), "token_too_old");
    assert!(case.could_permit(&snapshot), "it is listed all the same");
    assert_eq!(reason(&Case::call("payments/refund", json!({}))), "not_granted");
    assert_eq!(reason(&Case::method("tools/list", "crm")), "false");
}

/// Of what an earlier build recorded nobody knows what its token was: it is not decided again, unless it is
/// denied whatever that was.
#[test]
fn a_token_of_which_nothing_is_known_is_no_answer_in_a_replay() {
    let (then, now) = (bundle(POLICY), with("calls: [{ description: x, token: once }]"));
    let then = Snapshot::compile(then).expect("it compiles");
    let now = Snapshot::compile(now).expect("it compiles");
    let beyond = |case: &Case| now.looks_beyond(&then, &case.request, &case.facts());
    let mut case = Case::call("crm/lookup", json!({ "id": 1 }));
    assert!(beyond(&case));
    assert!(!beyond(&Case::call("payments/refund", json!({}))));
    assert!(!then.looks_beyond(&now, &case.request, &case.facts()));
    case.facts.session.token_age_s = Some(299);
    assert!(!beyond(&case));
}

/// Of all rules that are met, the shortest counts: none makes another less strict.
#[test]
fn r_3_of_the_rules_that_are_met_the_shortest_counts() {
    let snapshot = Snapshot::compile(with(
        "tokens:
  - { description: x, lasts_s: 200 }
  - { description: x, lasts_s: 60, harm: [moves-money] }
  - { description: x, lasts_s: 50, agents: [lead-1], harm: [runs-code] }
  - { description: x, lasts_s: 40, agents: [other] }
",
    ))
    .expect("it compiles");
    let lasts = |case: &Case| {
        snapshot.strictness().tokens_last(&case.standing).map(|lasts| lasts.as_secs())
    };
    let mut case = Case::call("crm/lookup", json!({}));
    assert_eq!(lasts(&case), Some(60));
    assert_eq!(lasts(&Case::call("crm/lookup", json!({})).handed_on(1)), Some(50));
    case.standing.task.scope.harm.clear();
    assert_eq!(lasts(&case), Some(200));
    assert_eq!(Snapshot::empty().strictness().tokens_last(&case.standing), None);
}

#[test]
fn i_18_rules_have_a_limit() {
    let of = |count: usize| {
        let mut text = "tokens:\n".to_owned();
        for _ in 0..count {
            let _ = writeln!(text, "  - {{ description: x, lasts_s: 60 }}");
        }
        let _ = writeln!(text, "calls: [{{ description: x, token: once }}]");
        Snapshot::compile(with(&text)).map(drop).map_err(|errors| errors.to_string())
    };
    assert_eq!(of(STRICTNESS_MAX - 1), Ok(()));
    let over =
        format!("strictness.yaml: more than {STRICTNESS_MAX} rules: name several agents in one");
    assert_eq!(of(STRICTNESS_MAX), Err(over));
}

/// A bundle of before there was such a file keeps its digest, and what the file says has a part in it.
#[test]
fn the_digest_names_how_strict_the_set_is() {
    let without = bundle(POLICY);
    assert!(!String::from_utf8(json::canonical_of(&without)).unwrap().contains("\"strictness\""));
    assert_ne!(without.digest(), with("tokens: []").digest());
}
