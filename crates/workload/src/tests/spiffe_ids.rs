//! SPIFFE IDs have one spelling.

use proptest::prelude::*;

use crate::{NotSpiffeId, SpiffeId, TrustDomain};
use model::workload::SUBJECT_MAX;

fn check(texts: &[&str], expected: Result<(), NotSpiffeId>) {
    for text in texts {
        assert_eq!(SpiffeId::parse(text).map(|_| ()), expected, "{text}");
    }
}

#[test]
fn a_spiffe_id_names_a_trust_domain_and_a_workload() {
    let id = SpiffeId::parse("spiffe://a-b_c.1/A/z.-_/9").expect("it is one");
    assert_eq!(id.trust_domain(), &TrustDomain::parse("a-b_c.1").unwrap());
    assert_eq!(id.trust_domain().id(), "spiffe://a-b_c.1");
    check(&["spiffe://example.org/a", "spiffe://example.org/...", "spiffe://1.2.3.4/a"], Ok(()));
    check(
        &["", "spiffe:", "Spiffe://a/b", "https://a/b", " spiffe://a/b"],
        Err(NotSpiffeId::Scheme),
    );
    check(&["spiffe://a", "spiffe://a?b", "spiffe://a#b"], Err(NotSpiffeId::Path));
    check(
        &["spiffe:///a", "spiffe://A/b", "spiffe://a:1/b", "spiffe://u@a/b", "spiffe://ä/b"],
        Err(NotSpiffeId::TrustDomain),
    );
    check(
        &[
            "spiffe://a/",
            "spiffe://a//b",
            "spiffe://a/b/",
            "spiffe://a/./b",
            "spiffe://a/../b",
            "spiffe://a/b?c",
            "spiffe://a/b#c",
            "spiffe://a/%62",
            "spiffe://a/b c",
            "spiffe://a/b\n",
            "spiffe://a/ü",
            "spiffe://a/b*",
        ],
        Err(NotSpiffeId::Path),
    );
}

#[test]
fn a_spiffe_id_is_as_long_as_may_be_and_no_longer() {
    let of = |length: usize| format!("spiffe://a/{}", "b".repeat(length - 11));
    check(&[&of(SUBJECT_MAX)], Ok(()));
    check(&[&of(SUBJECT_MAX + 1)], Err(NotSpiffeId::TooLong));
    assert!(TrustDomain::parse(&"a".repeat(255)).is_ok());
    assert_eq!(TrustDomain::parse(&"a".repeat(256)), Err(NotSpiffeId::TooLong));
}

proptest! {
    #[test]
    fn whatever_is_read_is_what_was_written(text in "(spiffe://)?[a-zA-Z0-9./:%@?#_ -]{0,40}") {
        if let Ok(id) = SpiffeId::parse(&text) {
            prop_assert_eq!(id.as_str(), &text);
            let path = text.strip_prefix(&id.trust_domain().id()).expect("it begins with it");
            prop_assert!(path.starts_with('/') && !path.contains("//") && !path.contains("/../"));
        }
    }
}
