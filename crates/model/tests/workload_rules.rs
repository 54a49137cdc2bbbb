//! Which identities a rule admits.

use model::workload::{ISSUER_MAX, RULE_CLAIMS_MAX, SUBJECT_MAX};
use model::{WorkloadIdentity, WorkloadRule, WorkloadRuleError};
use proptest::prelude::*;
use serde_json::{Value, json};

const GITHUB: &str = "https://token.actions.githubusercontent.com";

fn identity(issuer: &str, subject: &str, claims: &[(&str, &str)]) -> WorkloadIdentity {
    let claims = claims.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    let (issuer, subject) = (issuer.to_owned(), subject.to_owned());
    WorkloadIdentity { issuer, subject, claims: claims.collect() }
}

fn rule(issuer: &str, subject: &str) -> Result<WorkloadRule, WorkloadRuleError> {
    WorkloadRule::new(issuer, subject, [].into())
}

fn check(pattern: &str, admitted: &[&str], refused: &[&str]) {
    let rule = rule(GITHUB, pattern).expect("a rule");
    for subject in admitted {
        assert!(rule.admits(&identity(GITHUB, subject, &[])), "{pattern}: {subject}");
        assert!(!rule.admits(&identity("https://evil.example", subject, &[])));
    }
    for subject in refused {
        assert!(!rule.admits(&identity(GITHUB, subject, &[])), "{pattern}: {subject}");
    }
}

#[test]
fn a_subject_is_met_exactly_or_beyond_a_boundary() {
    let main = "repo:org/app:ref:refs/heads/main";
    check(
        main,
        &[main],
        &[
            "repo:org/app:ref:refs/heads/main2",
            "repo:org/app:ref:refs/heads/mai",
            "REPO:org/app:ref:refs/heads/main",
            " repo:org/app:ref:refs/heads/main",
            "",
        ],
    );
    check(
        "repo:org/app:*",
        &[main, "repo:org/app:x"],
        &[
            "repo:org/app:",
            "repo:org/app",
            "repo:org/app2:ref:refs/heads/main",
            "repo:org/application:x",
            "xrepo:org/app:x",
        ],
    );
    check("repo:org/*", &[main, "repo:org/app"], &["repo:org", "repo:org2/app", "repo:orga/app"]);
}

#[test]
fn a_star_stands_at_a_boundary_and_nowhere_else() {
    for wrong in ["*", "repo*", "repo:org/app*", "*:a", "a:*:b", "a:**", "a:*/*", "a*:*", "a:* "] {
        assert_eq!(rule(GITHUB, wrong), Err(WorkloadRuleError::Star), "{wrong}");
    }
    // What stands in a token is a text: a star in it is a star.
    let exact = rule(GITHUB, "a:b").unwrap();
    assert!(!exact.admits(&identity(GITHUB, "a:*", &[])));
    assert!(!exact.admits(&identity(GITHUB, "*", &[])));
}

#[test]
fn a_rule_for_a_trust_domain_is_within_it() {
    let domain = "spiffe://example.org";
    let of = |subject: &str| rule(domain, subject);
    let all = of("spiffe://example.org/ns/payments/*").unwrap();
    assert!(all.admits(&identity(domain, "spiffe://example.org/ns/payments/sa/bot", &[])));
    assert!(!all.admits(&identity(domain, "spiffe://example.org/ns/payments2/sa/bot", &[])));
    assert!(!all.admits(&identity(GITHUB, "spiffe://example.org/ns/payments/sa/bot", &[])));
    for wrong in [
        "spiffe://*",
        "spiffe://other.org/*",
        "spiffe://example.org",
        "spiffe://example.org.evil.org/*",
        "ns/payments",
    ] {
        assert_eq!(of(wrong), Err(WorkloadRuleError::OtherDomain), "{wrong}");
    }
}

#[test]
fn every_claim_of_a_rule_has_to_be_there_exactly() {
    let claims = [("environment", "production"), ("repository_id", "42")];
    let wanted = claims.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let rule = WorkloadRule::new(GITHUB, "repo:org/app:*", wanted).unwrap();
    let admits = |claims: &[(&str, &str)]| rule.admits(&identity(GITHUB, "repo:org/app:x", claims));
    assert!(admits(&claims));
    assert!(admits(&[claims[0], claims[1], ("more", "x")]));
    assert!(!admits(&[]));
    assert!(!admits(&claims[..1]));
    assert!(!admits(&[claims[0], ("repository_id", "43")]));
    assert!(!admits(&[claims[0], ("repository_id", "042")]));
    assert!(!admits(&[claims[0], ("repository_id", "")]));
    assert!(!admits(&[claims[0], ("Repository_id", "42")]));
}

/// `*` asks for a claim and not for its value, which is kept: so its change is seen.
#[test]
fn a_claim_of_any_value_has_to_be_there_and_is_kept() {
    let wanted = [("run".to_owned(), "*".to_owned())].into();
    let rule = WorkloadRule::new(GITHUB, "repo:org/app:*", wanted).unwrap();
    let seen = |claims: &[(&str, &str)]| identity(GITHUB, "repo:org/app:x", claims);
    for value in ["1", "2", "", "*"] {
        let own = seen(&[("run", value), ("more", "x")]);
        assert!(rule.admits(&own), "{value}");
        let known = own.known_by(std::slice::from_ref(&rule));
        assert_eq!(known, seen(&[("run", value)]));
        assert!(rule.admits(&known), "{value}");
    }
    assert!(!rule.admits(&seen(&[])));
    assert!(!rule.admits(&seen(&[("Run", "1")])));
}

#[test]
fn the_id_of_a_workload_is_that_of_its_issuer_and_subject() {
    let one = identity(GITHUB, "repo:a", &[("a", "1")]);
    assert_eq!(one.id(), identity(GITHUB, "repo:a", &[]).id());
    assert_ne!(one.id(), identity(GITHUB, "repo:b", &[]).id());
    assert_ne!(one.id(), identity(&format!("{GITHUB}r"), "epo:a", &[]).id());
}

/// What becomes of a rule as it is written.
fn read(rule: Value) -> Result<WorkloadRule, String> {
    serde_json::from_value(rule).map_err(|error| error.to_string())
}

#[test]
fn a_rule_is_written_with_known_members_alone_and_within_limits() {
    let right = json!({ "issuer": GITHUB, "subject": "repo:org/app:*" });
    let read_back = serde_json::to_value(read(right.clone()).unwrap()).unwrap();
    assert_eq!(read_back, right);
    let changed = |name: &str, value: Value| {
        let mut rule = right.clone();
        rule[name] = value;
        read(rule)
    };
    for (name, value) in [
        ("audience", json!("x")),
        ("Subject", json!("x")),
        ("claims", json!([])),
        ("claims", json!({ "a": 1 })),
        ("claims", json!({ "a": ["b"] })),
        ("issuer", json!("")),
        ("issuer", json!("i".repeat(ISSUER_MAX + 1))),
        ("subject", json!("")),
        ("subject", json!("s".repeat(SUBJECT_MAX + 1))),
        ("subject", json!("*")),
        ("claims", json!({ "": "a" })),
        ("claims", json!({ "a".repeat(257): "a" })),
        ("claims", json!({ "a": "a".repeat(1_025) })),
        ("claims", json!({ "sub": "admin" })),
    ] {
        assert!(changed(name, value.clone()).is_err(), "{name} = {value}");
    }
    for missing in ["issuer", "subject"] {
        let mut rule = right.clone();
        rule.as_object_mut().unwrap().remove(missing);
        assert!(read(rule).is_err(), "{missing}");
    }
    let many =
        |number: usize| -> Value { (0..number).map(|n| (format!("c{n}"), json!("x"))).collect() };
    assert!(changed("claims", many(RULE_CLAIMS_MAX)).is_ok());
    assert!(changed("claims", many(RULE_CLAIMS_MAX + 1)).is_err());
    assert!(changed("issuer", json!("i".repeat(ISSUER_MAX))).is_ok());
    assert!(changed("subject", json!("s".repeat(SUBJECT_MAX))).is_ok());
}

proptest! {
    /// Whatever the rule: who is admitted is of its issuer, and begins as its subject does, up to a
    /// whole segment.
    #[test]
    fn nobody_is_admitted_beside_the_rule(
        issuer in "[ab]{1,2}",
        pattern in "[ab:/]{0,6}[*]?",
        other in "[ab]{1,2}",
        subject in "[ab:/*]{0,8}",
    ) {
        let Ok(rule) = rule(&issuer, &pattern) else { return Ok(()) };
        if !rule.admits(&identity(&other, &subject, &[])) {
            return Ok(());
        }
        prop_assert_eq!(&issuer, &other);
        match pattern.strip_suffix('*') {
            None => prop_assert_eq!(pattern, subject),
            Some(start) => {
                prop_assert!(start.ends_with([':', '/']));
                prop_assert!(subject.starts_with(start) && subject.len() > start.len());
            }
        }
    }
}
