//! Random sets, requests and sessions: what is under observation changes no answer, what is recorded can be
//! answered again, and a forbid that fails denies.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{
    AccessRequest, Amount, Decision, Denial, Facts, Origin, PolicyId, PrincipalFacts, Spend,
};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::differential::{self, policy, text};
use super::fixtures::{self, Case, tool_ref};
use crate::{Bundle, CANDIDATES_MAX, Snapshot};

/// What policies look at of a session, beside what those of [`policy`] do: what was called and read before, how often,
/// where arguments come from, how often work was handed on. One of them can fail.
const SESSIONS: [&str; 7] = [
    r#"context.session.used_tools.contains("crm/lookup")"#,
    r#"context.session.counters["payments/refund"] > 2"#,
    r#"context.session.counters["crm/lookup"] + 1 > 5"#,
    r#"context.session.labels.containsAny(["private", "outside"])"#,
    r#"context.provenance.untrusted.contains("amount")"#,
    r#"context.provenance.mandate.contains("id")"#,
    "context.depth > 1",
];

/// The most policies that one set has.
const POLICIES_MAX: usize = 14;

/// What is used up of by each call.
const BUDGETS: &str =
    "budgets: { it: { description: x, match: {}, amount: calls, cap: 3, per: task } }";

/// Whose word what is read is: without that no policy can look at where arguments come from.
const LABELS: &str = "labels: { outside: Others. }\noutsiders: [outside]\n";

fn bundle(policies: &str) -> Bundle {
    Bundle { labels: Some(LABELS.to_owned()), ..fixtures::bundle(policies) }
}

fn snapshot(policies: &str) -> Snapshot {
    Snapshot::compile(bundle(policies)).expect("the policies of a test compile")
}

fn of_session(number: usize, (forbid, condition): &(bool, usize)) -> String {
    let effect = if *forbid { "forbid" } else { "permit" };
    let condition = SESSIONS[*condition];
    format!(
        "@id(\"s{number}\") {effect}(principal, action in Action::\"tools/call\", resource) when {{ {condition} }};\n"
    )
}

/// The policies that can be in one set, in force or under observation.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let parts = prop::collection::vec(policy(), 0..10);
    let sessions = prop::collection::vec((any::<bool>(), 0..SESSIONS.len()), 0..5);
    (parts, sessions).prop_map(|(parts, sessions)| {
        let parts = parts.iter().enumerate().filter_map(|(number, parts)| text(number, parts));
        let sessions = sessions.iter().enumerate().map(|(number, it)| of_session(number, it));
        parts.chain(sessions).collect()
    })
}

/// Which of them are under observation.
fn observed() -> impl Strategy<Value = Vec<bool>> {
    prop::collection::vec(any::<bool>(), POLICIES_MAX)
}

/// Acts in sessions of which all is known that policies look at.
fn case() -> impl Strategy<Value = Case> {
    let some = |all: &[&'static str]| prop::sample::subsequence(all.to_vec(), 0..=all.len());
    let remembered = (some(&["private", "outside"]), some(&["crm/lookup", "payments/refund"]));
    let count = || prop_oneof![0_i64..8, Just(i64::MAX)];
    let origins = vec![Origin::Mandate, Origin::Trusted, Origin::Unknown, Origin::Untrusted];
    let said = (prop::sample::select(origins), 0_u8..4);
    (differential::case(), remembered, (count(), count()), said).prop_map(
        |(case, (labels, used), (lookups, refunds), (origin, depth))| {
            let mut case = case.handed_on(depth);
            let session = &mut case.facts.session;
            session.labels.extend(labels.iter().map(|label| label.parse().expect("a label")));
            session.used_tools.extend(used.into_iter().map(tool_ref));
            let counted = [("crm/lookup", lookups), ("payments/refund", refunds)];
            session.counters.extend(counted.map(|(tool, count)| (tool.to_owned(), count)));
            let arguments = case.request.input.as_object().into_iter();
            for name in arguments.flat_map(serde_json::Map::keys) {
                session.provenance.insert(name.clone(), origin);
            }
            case
        },
    )
}

fn set(texts: &[String], is_observed: impl Fn(usize) -> bool) -> String {
    let one = |(number, text): (usize, &String)| {
        let mode = if is_observed(number) { "@mode(\"observe\") " } else { "" };
        format!("{mode}{text}")
    };
    texts.iter().enumerate().map(one).collect()
}

/// The answer without what was observed.
fn answer(mut decision: Decision) -> Decision {
    if let Decision::Permit(grant) = &mut decision {
        grant.observed.clear();
    }
    decision
}

/// What is read of `value` after it was written down.
fn read_again<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let written = serde_json::to_vec(value).expect("it is a map with text keys");
    serde_json::from_slice(&written).expect("it is read as it was written")
}

/// The facts as the disclosures of a record have them.
fn disclosed(facts: Facts) -> Facts {
    let principal = match facts.principal {
        PrincipalFacts::Instance(standing) => {
            PrincipalFacts::Instance(Arc::new(read_again(standing.as_ref())))
        }
        other => other,
    };
    Facts {
        principal,
        tool: facts.tool.map(|tool| Arc::new(read_again(tool.as_ref()))),
        server: facts.server.map(|server| Arc::new(read_again(server.as_ref()))),
        tool_owner: facts.tool_owner.map(|owner| Arc::new(read_again(owner.as_ref()))),
        session: read_again(&facts.session),
        ..facts
    }
}

/// The ids of the forbids of the set that fail for `case`, each asked alone.
fn failing_forbids(texts: &[String], case: &Case) -> BTreeSet<PolicyId> {
    let forbids = texts.iter().filter(|text| text.contains(" forbid("));
    let failing = forbids.filter_map(|text| match case.decide(&snapshot(&named(text))) {
        Decision::Deny(Denial::Unevaluable { policies }) => Some(policies),
        _ => None,
    });
    failing.flatten().collect()
}

/// The same, and permits that name every tool: otherwise nothing is asked.
fn named(policies: &str) -> String {
    let permit = |server| {
        format!("@id(\"{server}\") permit(principal, action, resource in Server::\"{server}\");\n")
    };
    format!("{}{}{policies}", permit("crm"), permit("payments"))
}

/// Permits that name every tool, and never apply.
const NAMING: &str = r#"
    @id("crm") permit(principal, action in Action::"tools/call", resource in Server::"crm")
        when { context.depth > 100 };
    @id("payments") permit(principal, action in Action::"tools/call", resource in Server::"payments")
        when { context.depth > 100 };
"#;

/// A policy, with its condition, as it is in one set and in another: as it was, gone, new, with one more condition or one
/// less, or with another one.
fn in_both(
    number: usize,
    &(forbid, condition, how, more): &(bool, usize, usize, usize),
) -> [String; 2] {
    let one = of_session(number, &(forbid, condition));
    let longer = one.replace(";\n", &format!(" when {{ {} }};\n", SESSIONS[more]));
    match how {
        0 => [one.clone(), one],
        1 => [one, String::new()],
        2 => [String::new(), one],
        3 => [one, longer],
        4 => [longer, one],
        _ => [one, of_session(number, &(forbid, more))],
    }
}

/// So many permits of one call.
fn alike(name: &str, mode: &str, count: usize) -> String {
    let scope = r#"(principal, action == Action::"crm/lookup", resource)"#;
    let all: Vec<_> =
        (0..count).map(|n| format!("{mode}@id(\"{name}{n}\") permit{scope};\n")).collect();
    all.concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn observed_policies_never_change_an_answer(
        texts in texts(),
        observed in observed(),
        cases in prop::collection::vec(case(), 1..5),
        // Sometimes as many as one decision looks at, and more with those that are observed.
        crowd in prop_oneof![15 => Just((0_usize, 0_usize)), 1 => (240..=CANDIDATES_MAX, 16..20_usize)],
    ) {
        let (many, more) = (alike("in", "", crowd.0), alike("out", "@mode(\"observe\") ", crowd.1));
        let tried = set(&texts, |number| observed[number]);
        let tried = snapshot(&named(&format!("{tried}{many}{more}")));
        let in_force: Vec<String> = texts.iter().zip(&observed).filter(|(_, observed)| !**observed)
            .map(|(text, _)| text.clone()).collect();
        let without = snapshot(&named(&format!("{}{many}", in_force.concat())));
        for case in &cases {
            prop_assert_eq!(answer(case.decide(&tried)), case.decide(&without));
            prop_assert_eq!(case.could_permit(&tried), case.could_permit(&without));
        }
    }

    /// What a record and its disclosures are made of, written and read again, and the set compiled again
    /// from what is kept of it, answer bit for bit as before.
    #[test]
    fn replay_equals_the_record(
        texts in texts(),
        observed in observed(),
        cases in prop::collection::vec((case(), 0_i64..5), 1..5),
    ) {
        let bundle = bundle(&named(&set(&texts, |number| observed[number])));
        let bundle = Bundle { budgets: Some(BUDGETS.to_owned()), ..bundle };
        let kept = json::canonical_of(&bundle);
        let snapshot = Snapshot::compile(bundle).expect("it compiles");
        let again = Snapshot::compile(serde_json::from_slice(&kept).expect("a bundle"));
        let again = again.expect("it compiles");
        prop_assert_eq!(again.digest(), snapshot.digest());
        for (case, used) in &cases {
            let mut facts = case.facts();
            // What a commit would have found used up.
            if let Decision::Permit(grant) = case.decide(&snapshot) {
                let used = |spend: &Spend| (spend.counter(), Amount::from_parts(used * Amount::ONE.parts()));
                facts.session.used.extend(grant.spends.iter().map(used));
            }
            let request: AccessRequest = read_again(&case.request);
            let first = snapshot.decide(&case.request, &facts);
            prop_assert_eq!(again.decide(&request, &disclosed(facts)), first);
        }
    }

    /// Where a permit is gone that failed others may permit: that is told of no set.
    #[test]
    fn what_is_named_no_widening_permits_no_more(
        policies in prop::collection::vec(
            (any::<bool>(), 0..SESSIONS.len(), 0_usize..6, 0..SESSIONS.len()), 1..4),
        cases in prop::collection::vec(case(), 1..5),
    ) {
        let all: Vec<_> =
            policies.iter().enumerate().map(|(number, it)| in_both(number, it)).collect();
        let of = |at: usize| all.iter().fold(NAMING.to_owned(), |set, both| set + &both[at]);
        let sets = [of(0), of(1)];
        let [before, after] = sets.each_ref().map(|set| bundle(set).policies);
        let changes = crate::changes(&before, &after).expect("both can be read");
        if changes.iter().any(|it| it.widens) {
            return Ok(());
        }
        let [before, after] = sets.map(|set| snapshot(&set));
        for case in &cases {
            let denied = matches!(
                case.decide(&before),
                Decision::Deny(Denial::Forbidden { .. } | Denial::NotGranted { .. })
            );
            let is_permitted = matches!(case.decide(&after), Decision::Permit(_));
            prop_assert!(!(denied && is_permitted), "{changes:?}");
        }
    }

    #[test]
    fn a_forbid_that_fails_denies_in_any_set(
        texts in texts(),
        cases in prop::collection::vec(case(), 1..5),
    ) {
        let whole = snapshot(&named(&texts.concat()));
        for case in &cases {
            let failing = failing_forbids(&texts, case);
            if failing.is_empty() {
                continue;
            }
            let decision = case.decide(&whole);
            let Decision::Deny(Denial::Unevaluable { policies }) = &decision else {
                return Err(TestCaseError::fail(format!("{decision:?} although {failing:?} fail")));
            };
            prop_assert!(failing.is_subset(policies), "{failing:?} of {policies:?}");
            prop_assert!(!case.could_permit(&whole));
        }
    }
}

/// The random sessions above do reach both sides of all that policies look at of them, and the end of a budget.
#[test]
fn what_policies_look_at_of_sessions_holds_and_does_not() {
    let full = || {
        let mut case = Case::call("payments/refund", json!({ "amount": 5 })).handed_on(2);
        let session = &mut case.facts.session;
        session.labels.insert("outside".parse().expect("a label"));
        session.used_tools.insert(tool_ref("crm/lookup"));
        session.counters.extend(["crm/lookup", "payments/refund"].map(|it| (it.to_owned(), 5)));
        session.provenance.insert("amount".to_owned(), Origin::Untrusted);
        session.provenance.insert("id".to_owned(), Origin::Mandate);
        case
    };
    for number in 0..SESSIONS.len() {
        let forbid = snapshot(&named(&of_session(0, &(true, number))));
        let denied = full().decide(&forbid);
        assert!(matches!(denied, Decision::Deny(Denial::Forbidden { .. })), "{number}: {denied:?}");
        let empty = Case::call("payments/refund", json!({ "amount": 5 }));
        assert!(matches!(empty.decide(&forbid), Decision::Permit(_)), "{number}");
    }
    let mut most = full();
    most.facts.session.counters.insert("crm/lookup".to_owned(), i64::MAX);
    let fails = most.decide(&snapshot(&named(&of_session(0, &(true, 2)))));
    assert!(matches!(fails, Decision::Deny(Denial::Unevaluable { .. })), "{fails:?}");

    let bundle = Bundle { budgets: Some(BUDGETS.to_owned()), ..bundle(&named("")) };
    let set = Snapshot::compile(bundle).expect("it compiles");
    let case = Case::call("payments/refund", json!({ "amount": 5 }));
    let Decision::Permit(grant) = case.decide(&set) else { panic!("nothing speaks against it") };
    let counter = grant.spends.first().expect("it uses the budget up").counter();
    for (used, is_permitted) in [(2, true), (3, false)] {
        let mut facts = case.facts();
        let used = Amount::from_parts(used * Amount::ONE.parts());
        facts.session.used.insert(counter.clone(), used);
        let decision = set.decide(&case.request, &facts);
        assert_eq!(matches!(decision, Decision::Permit(_)), is_permitted, "{decision:?}");
    }
}
