//! Whether one set surely holds back as much as another one, and what both let one know of a token.

use std::sync::LazyLock;

use model::{Decision, Denial, Harm};
use proptest::prelude::*;
use serde_json::json;

use super::fixtures::{Case, bundle, tool};
use crate::{Before, Budgets, Bundle, PartChange, Snapshot, Strictness};

/// How long a token lasts of which nothing is said, in seconds.
const LASTS_MAX_S: u64 = 300;

/// Whether none of what is otherwise is a widening.
pub(super) fn keeps(parts: Vec<PartChange>) -> bool {
    parts.iter().all(|part| !part.widens)
}

/// What the file `text` says.
pub(super) fn strictness(text: &str) -> Strictness {
    let bundle = Bundle { strictness: Some(text.to_owned()), ..Bundle::default() };
    Strictness::of(&bundle).expect("it can be read")
}

/// The file with these rules of `kind`.
fn rules(kind: &str, rules: &[&str]) -> String {
    let rule = |rule: &&str| format!("{{ description: x, {rule} }}");
    format!("{kind}: [{}]", rules.iter().map(rule).collect::<Vec<_>>().join(", "))
}

#[test]
fn a_set_is_as_strict_as_another_one_for_each_agent_and_harm_class() {
    let check = |kind: &str, [one, other]: [&[&str]; 2], expected: [bool; 2]| {
        let [a, b] = [one, other].map(|it| strictness(&rules(kind, it)));
        let is = [keeps(b.differing(&a)), keeps(a.differing(&b))];
        assert_eq!(is, expected, "{kind}: {one:?} and {other:?}");
    };
    let (alike, stricter, neither) = ([true, true], [true, false], [false, false]);
    let (minute, money) = ("lasts_s: 60", "lasts_s: 60, harm: [moves-money]");
    check("tokens", [&[], &[]], alike);
    check("tokens", [&[minute], &[]], stricter);
    check("tokens", [&["lasts_s: 300"], &[]], alike);
    check("tokens", [&["lasts_s: 59"], &[minute]], stricter);
    check("tokens", [&[minute], &[money]], stricter);
    check("tokens", [&[minute], &["lasts_s: 59, harm: [moves-money]"]], neither);
    let both = "lasts_s: 60, agents: [a, b], harm: [moves-money, runs-code]";
    let (a, b) = ("lasts_s: 60, agents: [a]", "lasts_s: 60, agents: [b], harm: [moves-money]");
    check("tokens", [&[a, b], &[both]], neither);
    check("tokens", [&[a, b, "lasts_s: 40, agents: [b], harm: [runs-code]"], &[both]], stricter);
    let (once, new) = ("token: once", "attested_s: 60");
    check("calls", [&[once], &[]], stricter);
    check("calls", [&[once], &[new]], neither);
    check("calls", [&[once], &["attested_s: 300"]], stricter);
    check("calls", [&[once, new], &["token: once, attested_s: 60"]], alike);
    check("calls", [&["token: once, attested_s: 60"], &[once]], stricter);
    check("calls", [&[once], &["token: once, agents: [a]"]], stricter);
    // A tool that does no harm meets no rule that names harm.
    let all: Vec<_> = Harm::ALL.map(|it| format!("token: once, harm: [{}]", it.as_str())).into();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    check("calls", [&[once], &all], stricter);
}

/// What is asked of `case`: how long its token lasts, and whether a call uses it up, if it is new enough.
fn asked(strictness: &Strictness, case: &Case) -> (u64, Result<bool, Denial>) {
    let lasts = strictness.tokens_last(&case.standing).map_or(LASTS_MAX_S, |it| it.as_secs());
    (lasts, strictness.uses_token(&case.request, &case.facts()))
}

fn is_no_less(own: &(u64, Result<bool, Denial>), other: &(u64, Result<bool, Denial>)) -> bool {
    let of_call = match (&own.1, &other.1) {
        (
            Err(Denial::TokenTooOld { within_s: own }),
            Err(Denial::TokenTooOld { within_s: other }),
        ) => own <= other,
        (Ok(own), Ok(other)) => own >= other,
        (own, _) => own.is_err(),
    };
    of_call && own.0 <= other.0
}

/// Instances that act for themselves and for another agent, and tools that do each harm, none, or nobody knows which.
fn cases() -> Vec<Case> {
    let tools = Harm::ALL.map(|class| Some(vec![class])).into_iter();
    let tools = tools.chain([None, Some(Vec::new()), Some(vec![Harm::MovesMoney, Harm::RunsCode])]);
    let tools: Vec<_> = tools.collect();
    let mut cases = Vec::new();
    for depth in [0, 1] {
        for harm in &tools {
            for age in [None, Some(5), Some(60), Some(300), Some(301)] {
                let mut case = Case::call("crm/lookup", json!({ "id": 1 })).handed_on(depth);
                case.tool = harm.as_ref().map(|harm| tool("crm/lookup", harm));
                case.standing.task.scope.harm = harm.iter().flatten().copied().collect();
                case.facts.session.token_age_s = age;
                cases.push(case);
            }
        }
    }
    cases
}

/// For whom and what a rule may be.
fn of() -> impl Strategy<Value = String> {
    let agents = prop::sample::subsequence(vec!["billing", "lead-1", "other"], 0..=2);
    let harm = prop::sample::subsequence(Harm::ALL.map(Harm::as_str).to_vec(), 0..=2);
    (agents, harm).prop_map(|(agents, harm)| {
        format!("agents: [{}], harm: [{}]", agents.join(", "), harm.join(", "))
    })
}

/// Rules of tokens, and of calls.
fn any_rules() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    let lasts = prop::sample::select(vec!["lasts_s: 40", "lasts_s: 60", "lasts_s: 300"]);
    let wants =
        vec!["token: once", "attested_s: 5", "attested_s: 300", "token: once, attested_s: 60"];
    let said = |(what, of): (&str, String)| format!("{what}, {of}");
    let token = (lasts, of()).prop_map(said);
    let call = (prop::sample::select(wants), of()).prop_map(said);
    (prop::collection::vec(token, 0..3), prop::collection::vec(call, 0..3))
}

fn strictness_of((tokens, calls): &(Vec<String>, Vec<String>)) -> Strictness {
    let texts = |all: &[String], kind: &str| {
        rules(kind, &all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    strictness(&format!("{}\n{}", texts(tokens, "tokens"), texts(calls, "calls")))
}

/// Made once for all sets.
static CASES: LazyLock<Vec<Case>> = LazyLock::new(cases);

proptest! {
    #[test]
    fn what_is_no_widening_asks_no_less_of_anybody(
        one in any_rules(),
        other in any_rules(),
        is_added in any::<bool>(),
    ) {
        let (tokens, calls) = &other;
        let all = if is_added {
            ([&one.0[..], tokens].concat(), [&one.1[..], calls].concat())
        } else {
            one
        };
        let (own, other) = (strictness_of(&all), strictness_of(&other));
        let keeps = keeps(other.differing(&own));
        prop_assert!(keeps || !is_added, "it asks for all of it, and more");
        for case in CASES.iter().filter(|_| keeps) {
            let (own, other) = (asked(&own, case), asked(&other, case));
            prop_assert!(is_no_less(&own, &other), "{:?} {:?}", own, other);
        }
    }
}

/// What a commit makes of a permit that uses up its token is known by another set only as far as that did.
#[test]
fn whether_a_token_was_used_is_known_by_what_the_other_set_used_up() {
    const POLICY: &str = r#"@id("a") permit(principal, action, resource in Server::"crm");"#;
    let all = "calls: [{ description: x, token: once }]";
    let reading = "calls: [{ description: x, token: once, harm: [reads-data] }]";
    let other = "calls: [{ description: x, token: once, harm: [moves-money] }]";
    let check = |own: &str, then: &str, before: Before, expected: Option<&str>| {
        let bundle = Bundle { strictness: Some(own.to_owned()), ..bundle(POLICY) };
        let now = Snapshot::compile(bundle).expect("it compiles");
        let mut case = Case::call("crm/lookup", json!({ "id": 1 }));
        case.facts.session.token_age_s = Some(1);
        let settled = now.strictness().settled(case.decide(&now), (&strictness(then), before));
        let told = settled.as_ref().map(|it| match it {
            Decision::Permit(_) => "permitted",
            Decision::Deny(denial) => denial.code(),
        });
        assert_eq!(told, expected, "{own} after {then}: {before:?}");
    };
    let (used, unused) =
        (Before::Permitted { uses_token: true }, Before::Permitted { uses_token: false });
    for (own, then, before, expected) in [
        (reading, reading, used, Some("permitted")),
        (reading, reading, Before::TokenUsed, Some("token_used")),
        (reading, other, unused, None),
        (reading, "calls: []", unused, None),
        // More uses tokens up by now.
        (all, reading, used, None),
        (all, reading, Before::TokenUsed, Some("token_used")),
        // Less does.
        (reading, all, used, Some("permitted")),
        (reading, all, Before::TokenUsed, None),
        // It wants none of its own.
        (other, reading, used, Some("permitted")),
        (other, reading, Before::TokenUsed, Some("permitted")),
        (other, reading, unused, Some("permitted")),
        // With a token of its own it would be.
        (reading, "calls: []", Before::Denied, Some("permitted")),
    ] {
        check(own, then, before, expected);
    }
}

#[test]
fn a_budget_limits_as_much_as_another_one_if_it_counts_all_of_its_calls_alike() {
    const BUDGET: &str = "b: { description: x, match: { tools: [crm/a], harm: [moves-money], \
                          agents: [billing], purposes: [care] }, amount: /amount, cap: 5, \
                          per: agent, every: day }";
    let budgets = |text: &str| {
        let budgets = Some(format!("budgets:\n  {text}\n"));
        Budgets::of(&Bundle { budgets, ..Bundle::default() }).expect("it can be read")
    };
    let none = Budgets::default();
    let is = [none.differing(&budgets(BUDGET)), budgets(BUDGET).differing(&none)].map(keeps);
    assert_eq!(is, [true, false]);
    let (alike, stricter, neither) = ([true, true], [true, false], [false, false]);
    for (from, to, expected) in [
        ("description: x", "description: y", alike),
        ("cap: 5", "cap: 4", stricter),
        ("tools: [crm/a]", "tools: [crm/a, crm/b]", stricter),
        ("tools: [crm/a]", "tools: ['crm/*']", stricter),
        ("tools: [crm/a], ", "", stricter),
        ("tools: [crm/a]", "tools: [crm/b]", neither),
        ("harm: [moves-money], ", "", stricter),
        ("harm: [moves-money]", "harm: [runs-code, moves-money]", stricter),
        ("agents: [billing], ", "", stricter),
        ("agents: [billing]", "agents: [other]", neither),
        (", purposes: [care]", "", stricter),
        // Nobody can say of these.
        ("purposes: [care]", "purposes: [care], when: context.depth > 0", neither),
        ("amount: /amount", "amount: /other", neither),
        ("amount: /amount", "amount: /amount, places: 2", neither),
        ("amount: /amount", "amount: calls", neither),
        ("amount: /amount", "amount: { product: [/amount, 2] }", neither),
        // Who counts elsewhere begins anew.
        ("b: ", "c: ", neither),
        ("per: agent", "per: task", neither),
        (", every: day", "", neither),
    ] {
        let changed = BUDGET.replacen(from, to, 1);
        let (one, other) = (budgets(&changed), budgets(BUDGET));
        let is = [keeps(other.differing(&one)), keeps(one.differing(&other))];
        assert_eq!(is, expected, "{changed}");
    }
    let when = BUDGET.replace("purposes", "when: context.depth > 0, purposes");
    assert!(budgets(&when).differing(&budgets(&when)).is_empty());
}
