//! Client authentication by `private_key_jwt`: RFC 7523 §3, with the audience of RFC 7523bis.

use keys::SigningKey;
use oauth::client_assertion::{LIFETIME_MAX_S, VerifiedAssertion, make, verify};
use oauth::dpop::JTI_MAX;
use oauth::jws::JwsError;
use serde_json::{Value, json};

use crate::support::{NOW, eddsa, es256, sign, with};

const CLIENT: &str = "support-bot";
const ISSUER: &str = "https://chancery.example";

fn claims() -> Value {
    json!({ "iss": CLIENT, "sub": CLIENT, "aud": ISSUER, "iat": NOW, "exp": NOW + 60, "jti": "a" })
}

fn check(assertion: &str, key: &SigningKey) -> Result<VerifiedAssertion, JwsError> {
    verify(assertion, (CLIENT, ISSUER), key.verifying(), NOW)
}

fn with_claims(claims: &Value) -> Result<VerifiedAssertion, JwsError> {
    let key = eddsa();
    check(&sign(&json!({ "alg": "EdDSA", "typ": "JWT" }), claims, &key), &key)
}

#[track_caller]
fn refuse(name: &'static str, value: impl Into<Value>) {
    let value = value.into();
    let refused = with_claims(&with(&claims(), name, value.clone()));
    assert_eq!(refused, Err(JwsError::Claim(name)), "{value}");
}

#[test]
fn an_assertion_of_ours_holds() {
    for key in [es256(), eddsa()] {
        let made = make((CLIENT, ISSUER), &key, NOW, "once").unwrap();
        let expected = VerifiedAssertion { jti: "once".to_owned(), exp: NOW + LIFETIME_MAX_S };
        assert_eq!(check(&made, &key), Ok(expected));
        assert!(check(&made, &es256()).is_err());
    }
}

#[test]
fn every_claim_is_needed() {
    for name in ["iss", "sub", "aud", "iat", "exp", "jti"] {
        refuse(name, Value::Null);
        refuse(name, "");
        refuse(name, json!([]));
        refuse(name, json!({}));
        refuse(name, true);
    }
}

/// An agent asserts itself, and nobody else, under either name.
#[test]
fn n_001_another_client_is_refused() {
    for other in ["other-bot", "Support-Bot", "support-bot ", "support-bot\u{0}", "*"] {
        refuse("iss", other);
        refuse("sub", other);
    }
}

/// RFC 7523bis §4: the issuer, and it alone: neither the token endpoint nor a list.
#[test]
fn n_003_another_audience_is_refused() {
    for other in [
        json!("https://chancery.example/oauth/token"),
        json!("https://chancery.example/"),
        json!("https://CHANCERY.example"),
        json!("https://evil.example"),
        json!([ISSUER, "https://evil.example"]),
        json!([ISSUER, ISSUER]),
        json!([[ISSUER]]),
        json!([]),
    ] {
        refuse("aud", other);
    }
    assert!(with_claims(&with(&claims(), "aud", json!([ISSUER]))).is_ok());
}

#[test]
fn an_assertion_is_good_for_a_minute() {
    let at = |iat: i64, exp: i64| {
        with_claims(&with(&with(&claims(), "iat", NOW + iat), "exp", NOW + exp)).map(|_| ())
    };
    let (exp, iat) = (Err(JwsError::Claim("exp")), Err(JwsError::Claim("iat")));
    assert_eq!(at(0, 60), Ok(()));
    assert_eq!(at(-55, 5), Ok(()));
    assert_eq!(at(-60, 0), Ok(()));
    // Clocks may differ by five seconds, either way.
    assert_eq!(at(5, 65), Ok(()));
    assert_eq!(at(6, 65), iat);
    assert_eq!(at(6, 66), exp);
    assert_eq!(at(-64, -4), Ok(()));
    assert_eq!(at(-65, -5), exp);
    // One that was made for longer is refused at any time of its life.
    assert_eq!(at(0, 61), exp);
    assert_eq!(at(-1, 60), exp);
    assert_eq!(at(-86_400, 30), exp);
    assert_eq!(at(-NOW, 30), exp);
}

#[test]
fn n_027_times_are_whole_numbers() {
    let bad = [
        json!(NOW.to_string()),
        json!(1_764_000_030.5),
        json!(-1),
        json!(10_000_000_000_000_000_000_u64),
        json!([NOW]),
    ];
    for name in ["iat", "exp", "nbf"] {
        for value in &bad {
            refuse(name, value.clone());
        }
    }
    refuse("nbf", NOW + 6);
    assert!(with_claims(&with(&claims(), "nbf", NOW + 5)).is_ok());
}

#[test]
fn a_jti_is_a_text_of_bearable_length() {
    let longest = "x".repeat(JTI_MAX);
    assert_eq!(with_claims(&with(&claims(), "jti", longest.clone())).unwrap().jti, longest);
    refuse("jti", "x".repeat(JTI_MAX + 1));
    refuse("jti", 7);
}

#[test]
fn n_028_another_kind_of_token_is_no_assertion() {
    let key = eddsa();
    for typ in ["at+jwt", "dpop+jwt", "secevent+jwt", "oauth-id-jag+jwt", "application/", ""] {
        let token = sign(&json!({ "alg": "EdDSA", "typ": typ }), &claims(), &key);
        assert_eq!(check(&token, &key), Err(JwsError::WrongType("")), "{typ}");
    }
    let untyped = sign(&json!({ "alg": "EdDSA" }), &claims(), &key);
    assert!(check(&untyped, &key).is_ok());
}

#[test]
fn n_020_n_023_the_registered_key_alone_verifies() {
    let (ours, theirs) = (eddsa(), eddsa());
    let offered = json!({ "alg": "EdDSA", "jwk": theirs.verifying().to_jwk() });
    let forged = sign(&offered, &claims(), &theirs);
    assert_eq!(check(&forged, &ours), Err(JwsError::HeaderMember("jwk")));
    for alg in ["none", "ES256", "HS256", "RS256"] {
        let forged = sign(&json!({ "alg": alg }), &claims(), &ours);
        assert_eq!(check(&forged, &ours), Err(JwsError::WrongAlgorithm));
    }
    let forged = sign(&json!({ "alg": "EdDSA" }), &claims(), &theirs);
    assert_eq!(check(&forged, &ours), Err(JwsError::WrongSignature));
    for name in ["jku", "x5u", "x5c", "crit"] {
        let offered = with(&json!({ "alg": "EdDSA" }), name, json!(["https://evil.example"]));
        let token = sign(&offered, &claims(), &ours);
        assert_eq!(check(&token, &ours), Err(JwsError::HeaderMember(name)));
    }
}
