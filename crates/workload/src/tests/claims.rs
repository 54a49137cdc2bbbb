//! What an identity knows of a workload.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::VerifyError;
use crate::claims::{CLAIMS_MAX, flat};
use model::workload::{CLAIM_NAME_MAX, CLAIM_VALUE_MAX};

fn check(claims: Value, expected: &[(&str, &str)]) {
    let found = flat(claims.as_object().unwrap()).expect("they are sound");
    let expected = expected.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(found, expected.collect(), "{claims}");
}

#[test]
fn claims_are_scalars_by_their_path() {
    check(
        json!({ "repository": "org/app", "run": 7, "protected": true }),
        &[("protected", "true"), ("repository", "org/app"), ("run", "7")],
    );
    check(
        json!({ "a.io": { "b": { "c": "d" }, "e": -1 } }),
        &[("a.io.b.c", "d"), ("a.io.e", "-1")],
    );
    check(json!({ "none": null, "list": ["a"], "half": 0.5, "object": {}, "": "x" }), &[]);
    check(
        json!({ "empty": "", "big": u64::MAX }),
        &[("big", "18446744073709551615"), ("empty", "")],
    );
}

#[test]
fn claims_about_the_token_are_not_about_its_holder() {
    let claims =
        json!({ "iss": "a", "sub": "b", "aud": "c", "exp": 1, "nbf": 1, "iat": 1, "jti": "d" });
    check(claims, &[]);
    check(json!({ "a": { "sub": "b" } }), &[("a.sub", "b")]);
}

#[test]
fn two_claims_of_one_path_are_none() {
    for claims in [
        json!({ "a.b": "x", "a": { "b": "y" } }),
        json!({ "a.b": ["x"], "a": { "b": "y" } }),
        json!({ "a.b": { "c": 1 }, "a": { "b.c": 1 } }),
        json!({ "a.b.c": 1, "a": { "b": { "c": 1 } } }),
    ] {
        assert_eq!(flat(claims.as_object().unwrap()), Err(VerifyError::Claims), "{claims}");
    }
}

#[test]
fn claims_are_as_many_and_as_long_as_may_be_and_no_more() {
    let many =
        |number: usize| -> Value { (0..number).map(|n| (format!("c{n}"), json!(n))).collect() };
    assert_eq!(flat(many(CLAIMS_MAX).as_object().unwrap()).unwrap().len(), CLAIMS_MAX);
    assert_eq!(flat(many(CLAIMS_MAX + 1).as_object().unwrap()), Err(VerifyError::Claims));
    let (name, value) = ("n".repeat(CLAIM_NAME_MAX), "v".repeat(CLAIM_VALUE_MAX));
    check(json!({ name.clone(): value.clone() }), &[(&name, &value)]);
    check(json!({ format!("{name}n"): "v" }), &[]);
    check(json!({ "n": format!("{value}v") }), &[]);
    let inner = "n".repeat(CLAIM_NAME_MAX - 2);
    check(json!({ "a": { inner.clone(): "v" } }), &[(&format!("a.{inner}"), "v")]);
    check(json!({ "aa": { inner: "v" } }), &[]);
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-c.]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-c.]{1,3}", inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    /// There is one way only to come to a claim.
    #[test]
    fn every_claim_is_at_one_place(value in values()) {
        let claims = json!({ "c": value });
        let Ok(found) = flat(claims.as_object().unwrap()) else { return Ok(()) };
        for (path, text) in found {
            let mut places = Vec::new();
            at(&claims, &path, &mut places);
            prop_assert_eq!(places.len(), 1, "{}", path);
            let is = match places[0] {
                Value::String(is) => is.clone(),
                other => other.to_string(),
            };
            prop_assert_eq!(is, text);
        }
    }
}

/// Everything in `value` to which `path` leads, wherever its dots separate.
fn at<'a>(value: &'a Value, path: &str, places: &mut Vec<&'a Value>) {
    for (name, inner) in value.as_object().into_iter().flatten() {
        if name == path && !inner.is_object() {
            places.push(inner);
        } else if let Some(rest) =
            path.strip_prefix(name.as_str()).and_then(|p| p.strip_prefix('.'))
        {
            at(inner, rest, places);
        }
    }
}
