//! What was said is told from what was not, and what outsiders said from what others did.

use proptest::prelude::*;
use serde_json::json;
use testkit::SeededEntropy;

use super::*;

/// Values, some of which are one and the same.
const VALUES: [&str; 7] = ["DE12 x", "  de12 X\n", "ＤＥ１２ x", "FR34", "fr34", "7", "other"];

fn nothing() -> Said {
    Said::nothing(&SeededEntropy::new(1))
}

fn answer(values: impl IntoIterator<Item = String>, is_trusted: bool) -> Answer {
    Answer { values: values.into_iter().map(|value| Normal::of(&value)).collect(), is_trusted }
}

#[test]
fn values_are_compared_trimmed_in_lower_case_and_in_one_form() {
    let same = |one: &str, other: &str| Normal::of(one) == Normal::of(other);
    for (one, other) in [
        ("DE12", " de12\u{a0}"),
        ("ﬁne", "FINE"),
        ("１２", "12"),
        ("e\u{301}", "É"),
        ("\u{212a}", "k"),
    ] {
        assert!(same(one, other), "{one} {other}");
    }
    for (one, other) in [("DE12", "DE 12"), ("DE12", "REUxMg=="), ("a", "\u{430}")] {
        assert!(!same(one, other), "{one} {other}");
    }
    assert_eq!(
        values(&json!([1, 1.0, 1e0, "1", true, null]), Names::Count),
        [Normal::of("1")].into()
    );
    let inner = values(&json!({ "text": r#"{"to": "x", "n": [2]}"# }), Names::Tell);
    assert!(["x", "2"].iter().all(|value| inner.contains(&Normal::of(value))), "{inner:?}");
    assert!(!inner.contains(&Normal::of("to")), "{inner:?}");
}

#[test]
fn what_outsiders_say_beyond_the_limit_makes_all_untrusted() {
    let mut said = nothing();
    said.note(&answer(["ours".to_owned()], true));
    said.note(&answer((0..SAID_MAX).map(|n| format!("theirs {n}")), false));
    assert_eq!(said.origin(&Normal::of("ours")), Origin::Trusted);
    assert_eq!(said.origin(&Normal::of("other")), Origin::Unknown);
    said.note(&answer(["theirs too".to_owned()], false));
    said.note(&answer(["ours".to_owned()], true));
    for value in ["ours", "other", "theirs 1"] {
        assert_eq!(said.origin(&Normal::of(value)), Origin::Untrusted, "{value}");
    }
}

#[test]
fn what_others_say_beyond_the_limit_is_unknown() {
    let mut said = nothing();
    said.note(&answer((0..SAID_MAX).map(|n| format!("ours {n:04}")), true));
    said.note(&answer(["zz".to_owned()], true));
    assert_eq!(said.origin(&Normal::of("ours 0000")), Origin::Trusted);
    assert_eq!(said.origin(&Normal::of("zz")), Origin::Unknown);
    said.note(&answer(["zz".to_owned(), "ours 0000".to_owned()], false));
    assert_eq!(said.origin(&Normal::of("ours 0000")), Origin::Untrusted);
    assert_eq!(said.origin(&Normal::of("zz")), Origin::Untrusted);
}

/// Two that begin alike cannot be told apart: that counts against them only.
#[test]
fn what_is_longer_than_is_compared_is_never_trusted() {
    let long = |last: &str| format!("{}{last}", "x".repeat(VALUE_MAX));
    let mut said = nothing();
    said.note(&answer([long("a"), long("")], true));
    assert_eq!(said.origin(&Normal::of(&long("a"))), Origin::Unknown);
    assert_eq!(said.origin(&Normal::of(&long(""))), Origin::Trusted);
    said.note(&answer([long("a")], false));
    assert_eq!(said.origin(&Normal::of(&long("b"))), Origin::Untrusted);
}

proptest! {
    /// Whatever is said in whatever order, once an outsider has said it, it is untrusted and stays so, and
    /// they make nothing else of anything.
    #[test]
    fn what_outsiders_say_is_never_trusted(
        answers in prop::collection::vec(
            (any::<bool>(), prop::collection::vec(0..VALUES.len(), 0..4)),
            0..12,
        ),
    ) {
        let mut said = nothing();
        let mut by = [BTreeSet::new(), BTreeSet::new()];
        for (is_trusted, values) in answers {
            let answer = answer(values.iter().map(|at| VALUES[*at].to_owned()), is_trusted);
            by[usize::from(is_trusted)].extend(answer.values.clone());
            said.note(&answer);
            for value in VALUES.map(Normal::of) {
                let expected = match [&by[0], &by[1]].map(|values| values.contains(&value)) {
                    [true, _] => Origin::Untrusted,
                    [false, true] => Origin::Trusted,
                    [false, false] => Origin::Unknown,
                };
                prop_assert_eq!(said.origin(&value), expected);
            }
        }
        let kept = String::from_utf8(json::canonical_of(&said)).unwrap();
        prop_assert!(!kept.contains("other"), "{}", kept);
    }
}
