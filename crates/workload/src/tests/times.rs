//! When a token holds.

use serde_json::{Value, json};

use super::signing::TestKey;
use super::{Files, NOW, account, sign_texts, token, told, with, workload};

const SKEW: i64 = 30;
const DAY: i64 = 86_400;

/// What becomes of tokens with these claims changed, by both platforms.
async fn check(changes: &[(&str, Value)], expected: [&str; 2]) {
    let key = TestKey::new("ES256");
    let files = Files::new(&[key.jwk("k1")], &[key.svid_jwk("k1")]);
    let change = |claims: Value| {
        changes.iter().fold(claims, |claims, (name, value)| with(&claims, name, value.clone()))
    };
    let oidc = files.world.oidc(&token("k1", &change(account()), &key)).await;
    let svid = files.world.svid(&token("k1", &change(workload()), &key)).await;
    assert_eq!([told(&oidc), told(&svid)], expected, "{changes:?}");
}

#[tokio::test]
async fn a_token_holds_from_its_begin_to_its_end() {
    let old = ("iat", json!(NOW - 7_200));
    check(&[old.clone(), ("exp", json!(NOW - SKEW + 1)), ("nbf", json!(null))], ["ok"; 2]).await;
    check(&[old, ("exp", json!(NOW - SKEW)), ("nbf", json!(null))], ["expired"; 2]).await;
    check(&[("nbf", json!(NOW + SKEW))], ["ok"; 2]).await;
    check(&[("nbf", json!(NOW + SKEW + 1))], ["not_yet"; 2]).await;
    check(&[("iat", json!(NOW + SKEW))], ["ok"; 2]).await;
    check(&[("iat", json!(NOW + SKEW + 1))], ["not_yet"; 2]).await;
}

#[tokio::test]
async fn a_token_lasts_a_day_at_most() {
    let lasts = |seconds| [("iat", json!(NOW - 60)), ("exp", json!(NOW - 60 + seconds))];
    check(&lasts(DAY), ["ok"; 2]).await;
    check(&lasts(DAY + 1), ["lifetime"; 2]).await;
    check(&lasts(10 * 365 * DAY), ["lifetime"; 2]).await;
    // Made after it ends.
    check(&[("iat", json!(NOW + 10)), ("exp", json!(NOW + 10))], ["lifetime"; 2]).await;
    check(&[("iat", json!(NOW + 10)), ("exp", json!(NOW))], ["lifetime"; 2]).await;
    // Who does not say when it was made made it now.
    let undated = |seconds| [("iat", json!(null)), ("exp", json!(NOW + seconds))];
    check(&undated(SKEW + DAY), ["claim", "ok"]).await;
    check(&undated(SKEW + DAY + 1), ["claim", "lifetime"]).await;
}

#[tokio::test]
async fn n_027_times_are_whole_numbers_that_are_not_negative() {
    for name in ["exp", "nbf", "iat"] {
        let texts = [json!("1767225700"), json!("soon"), json!(true), json!([NOW]), json!({})];
        for value in texts.into_iter().chain([json!(-1), json!(-EXACT_MAX), json!(NOW_FRACTION)]) {
            check(&[(name, value)], ["claim"; 2]).await;
        }
    }
    check(&[("exp", json!(null))], ["claim"; 2]).await;
    check(&[("exp", json!(EXACT_MAX))], ["lifetime"; 2]).await;
    check(&[("nbf", json!(EXACT_MAX))], ["not_yet"; 2]).await;
    for beyond in [json!(EXACT_MAX + 2), json!(i64::MAX), json!(u64::MAX), json!(i64::MIN)] {
        check(&[("exp", beyond)], ["unreadable"; 2]).await;
    }

    let key = TestKey::new("ES256");
    let files = Files::new(&[key.jwk("k1")], &[]);
    let header = json!({ "alg": "ES256", "kid": "k1" }).to_string();
    let right = account().to_string();
    let exp = format!(r#""exp":{}"#, NOW + 3_600);
    for (text, expected) in [
        ("1e400", "unreadable"),
        ("1767225700.5", "claim"),
        ("1.0e30", "claim"),
        ("NaN", "unreadable"),
        ("0x69", "unreadable"),
        ("01767225700", "unreadable"),
        ("-0", "expired"),
        ("null", "claim"),
        // One value, however it is spelt.
        ("1767225700.0", "ok"),
    ] {
        let claims = right.replace(&exp, &format!(r#""exp":{text}"#));
        assert_ne!(claims, right);
        let found = files.world.oidc(&sign_texts(&header, &claims, &key)).await;
        assert_eq!(told(&found), expected, "{text}");
    }
}

/// The largest number that every reader reads as it is written.
const EXACT_MAX: i64 = (1 << 53) - 1;

const NOW_FRACTION: f64 = 1_767_225_700.5;

#[tokio::test]
async fn a_token_that_held_holds_no_more_when_time_has_passed() {
    let key = TestKey::new("ES256");
    let files = Files::new(&[], &[key.svid_jwk("k1")]);
    let signed = token("k1", &workload(), &key);
    assert_eq!(told(&files.world.svid(&signed).await), "ok");
    files.world.pass(329);
    assert_eq!(told(&files.world.svid(&signed).await), "ok");
    files.world.pass(1);
    assert_eq!(told(&files.world.svid(&signed).await), "expired");
}
