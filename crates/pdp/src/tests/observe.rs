//! Random sets, requests and sessions: what is under observation changes no answer, what is recorded can be
//! answered again, and a forbid that fails denies.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{AccessRequest, Decision, Denial, Facts, PolicyId, PrincipalFacts};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::differential::{Parts, case, policy, text};
use super::fixtures::{Case, bundle, snapshot};
use crate::{CANDIDATES_MAX, Snapshot};

/// The policies that can be in one set, in force or under observation.
fn texts(parts: &[Parts]) -> Vec<String> {
    parts.iter().enumerate().filter_map(|(number, parts)| text(number, parts)).collect()
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
        tool_owner: read_again(&facts.tool_owner),
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

/// So many permits of one call.
fn alike(name: &str, mode: &str, count: usize) -> String {
    let scope = r#"(principal, action == Action::"crm/lookup", resource)"#;
    (0..count).map(|n| format!("{mode}@id(\"{name}{n}\") permit{scope};\n")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn observed_policies_never_change_an_answer(
        parts in prop::collection::vec((policy(), any::<bool>()), 0..10),
        cases in prop::collection::vec(case(), 1..5),
        // Sometimes as many as one decision looks at, and more with those that are observed.
        crowd in prop_oneof![15 => Just((0_usize, 0_usize)), 1 => (240..=CANDIDATES_MAX, 16..20_usize)],
    ) {
        let (parts, observed): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let texts = texts(&parts);
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
        parts in prop::collection::vec((policy(), any::<bool>()), 0..10),
        cases in prop::collection::vec(case(), 1..5),
    ) {
        let (parts, observed): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let bundle = bundle(&named(&set(&texts(&parts), |number| observed[number])));
        let kept = json::canonical_of(&bundle);
        let snapshot = Snapshot::compile(bundle).expect("it compiles");
        let again = Snapshot::compile(serde_json::from_slice(&kept).expect("a bundle"));
        let again = again.expect("it compiles");
        prop_assert_eq!(again.digest(), snapshot.digest());
        for case in &cases {
            let facts = case.facts();
            let request: AccessRequest = read_again(&case.request);
            let first = snapshot.decide(&case.request, &facts);
            prop_assert_eq!(again.decide(&request, &disclosed(facts)), first);
        }
    }

    #[test]
    fn a_forbid_that_fails_denies_in_any_set(
        parts in prop::collection::vec(policy(), 0..10),
        cases in prop::collection::vec(case(), 1..5),
    ) {
        let texts = texts(&parts);
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
