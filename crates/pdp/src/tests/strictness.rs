//! What `strictness.yaml` says, and what is wrong with one.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use serde_json::json;

use super::fixtures::{Case, bundle};
use crate::{Bundle, STRICTNESS_MAX, Snapshot};

const POLICY: &str = r#"@id("a") permit(principal, action, resource in Server::"crm");"#;

fn with(strictness: &str) -> Bundle {
    Bundle { strictness: Some(strictness.to_owned()), ..bundle(POLICY) }
}

fn check(strictness: &str, expected: Expect) {
    let found = match Snapshot::compile(with(strictness)) {
        Ok(snapshot) => {
            let rules = snapshot.strictness().rules().iter();
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
            "strictness.yaml:1: unexpected end of input at line 1, column 1: see docs/strictness.md"
        ],
    );
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
        Snapshot::compile(with(&text)).map(drop).map_err(|errors| errors.to_string())
    };
    assert_eq!(of(STRICTNESS_MAX), Ok(()));
    let over = format!("strictness.yaml: more than {STRICTNESS_MAX} rules");
    assert_eq!(of(STRICTNESS_MAX + 1), Err(over));
}

/// A bundle of before there was such a file keeps its digest, and what the file says has a part in it.
#[test]
fn the_digest_names_how_strict_the_set_is() {
    let without = bundle(POLICY);
    assert!(!String::from_utf8(json::canonical_of(&without)).unwrap().contains("\"strictness\""));
    assert_ne!(without.digest(), with("tokens: []").digest());
}
