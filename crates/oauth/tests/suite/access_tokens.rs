//! Access tokens: RFC 9068, and nothing but what we mint ourselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use keys::{EventKey, RetiredKey, SigningKey, TokenKeys};
use oauth::access_token::{
    AccessTokenClaims, AgentTask, BEARER_LIFETIME_MAX_S, Confirmation, LIFETIME_MAX_S, TYP, mint,
    verify,
};
use oauth::jws::{self, JwsError, KID_MAX};
use serde_json::{Value, json};

use crate::support::{NOW, base64, eddsa, es256, sign, sign_texts, unbase64, with};

const ISSUER: &str = "https://chancery.example";
const AUDIENCE: &str = "https://chancery.example/mcp/payments";

fn claims() -> AccessTokenClaims {
    AccessTokenClaims {
        iss: ISSUER.to_owned(),
        act: None,
        sub: "instance-1".to_owned(),
        client_id: "support-bot".to_owned(),
        aud: AUDIENCE.to_owned(),
        exp: NOW + LIFETIME_MAX_S,
        iat: NOW,
        jti: "token-1".to_owned(),
        txn: Some("task-0".to_owned()),
        auth_time: Some(NOW - 60),
        acr: Some("urn:example:loa2".to_owned()),
        amr: ["pwd", "otp"].map(str::to_owned).into(),
        cnf: Some(Confirmation { jkt: base64([7; 32]) }),
        authorization_details: vec![AgentTask {
            kind: "agent_task".to_owned(),
            task: "task-1".to_owned(),
            purpose: "refunds".to_owned(),
            mandate: "mandate-1".to_owned(),
        }],
    }
}

fn plain() -> Value {
    serde_json::to_value(claims()).unwrap()
}

fn header(key: &SigningKey) -> Value {
    let key = key.verifying();
    json!({ "alg": key.algorithm().as_str(), "kid": key.thumbprint_text(), "typ": TYP })
}

fn check_at(token: &str, key: &SigningKey, now: i64) -> Result<AccessTokenClaims, JwsError> {
    let listed = RetiredKey { key: key.verifying().clone(), until: i64::MAX };
    let keys = TokenKeys::new(Arc::new(es256()), vec![listed]);
    verify(token, &keys, (ISSUER, AUDIENCE), now)
}

fn check(token: &str, key: &SigningKey) -> Result<AccessTokenClaims, JwsError> {
    check_at(token, key, NOW)
}

#[track_caller]
fn refuse(name: &'static str, value: impl Into<Value>) {
    let (key, value) = (es256(), value.into());
    let token = sign(&header(&key), &with(&plain(), name, value.clone()), &key);
    assert_eq!(check(&token, &key), Err(JwsError::Claim(name)), "{value}");
}

#[test]
fn a_token_of_ours_is_taken() {
    for key in [es256(), eddsa()] {
        let token = mint(&claims(), &key).unwrap();
        assert_eq!(check(&token, &key), Ok(claims()));
        let shown = unbase64(token.split('.').next().unwrap());
        assert_eq!(serde_json::from_slice::<Value>(&shown).unwrap(), header(&key));
    }
}

/// RFC 9068 §2.2 and §4: every claim that a token must have.
#[test]
fn a_token_without_a_claim_that_it_needs_is_refused() {
    for name in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "authorization_details"] {
        refuse(name, Value::Null);
        refuse(name, "");
        refuse(name, json!([]));
        refuse(name, json!({}));
    }
    for cnf in [json!(""), json!([]), json!({})] {
        refuse("cnf", cnf);
    }
    for name in ["iss", "aud", "sub", "client_id", "jti", "txn", "acr"] {
        refuse(name, 1);
        refuse(name, json!(["one"]));
    }
    refuse("txn", "");
    refuse("acr", "");
    for amr in [json!("pwd"), json!([1]), json!({})] {
        refuse("amr", amr);
    }
    let before = AccessTokenClaims { txn: None, auth_time: None, acr: None, ..claims() };
    let (key, before) = (es256(), AccessTokenClaims { amr: BTreeSet::new(), ..before });
    assert_eq!(check(&mint(&before, &key).unwrap(), &key), Ok(before));
}

#[test]
fn i_13_a_token_is_for_one_audience() {
    for other in [
        json!("https://chancery.example/mcp/crm"),
        json!("https://chancery.example/mcp/payments/"),
        json!("https://chancery.example/mcp/Payments"),
        json!("https://chancery.example"),
        json!([AUDIENCE]),
        json!([AUDIENCE, "https://chancery.example/mcp/crm"]),
    ] {
        refuse("aud", other);
    }
}

#[test]
fn n_014_a_token_of_another_issuer_is_refused() {
    for other in ["https://evil.example", "https://chancery.example/", "HTTPS://chancery.example"] {
        refuse("iss", other);
    }
}

#[test]
fn n_027_times_are_whole_numbers_in_bounds() {
    let bad = [
        json!((NOW + 60).to_string()),
        json!(1_764_000_060.5),
        json!(-1),
        json!(-1_000_000_000_000_000_000_i64),
        json!(10_000_000_000_000_000_000_u64),
        json!(true),
        json!([NOW]),
    ];
    for name in ["exp", "iat", "nbf", "auth_time"] {
        for value in &bad {
            refuse(name, value.clone());
        }
    }
    let key = es256();
    for inexact in ["1e400", "-1e400", "9007199254740993", "1764000060.00000001"] {
        let claims = plain().to_string().replace(&(NOW + 300).to_string(), inexact);
        let token = sign_texts(&header(&key).to_string(), &claims, &key);
        assert_eq!(check(&token, &key), Err(JwsError::NotJson("claims")), "{inexact}");
    }
}

#[test]
fn a_token_is_good_until_its_end_and_never_long() {
    let key = es256();
    let token = mint(&claims(), &key).unwrap();
    for (now, taken) in [(NOW, true), (NOW + 299, true), (NOW + 300, false), (NOW + 301, false)] {
        assert_eq!(check_at(&token, &key, now).is_ok(), taken, "{}", now - NOW);
    }
    refuse("exp", NOW + 301);
    refuse("exp", NOW);
    refuse("exp", NOW - 1);
    refuse("exp", 1_000_000_000_000_000_000_i64);
    // One that was good for longer than a token may be is refused in its last seconds too.
    refuse("iat", NOW + 6);
    let long = AccessTokenClaims { iat: NOW - 10, ..claims() };
    assert_eq!(check(&mint(&long, &key).unwrap(), &key), Err(JwsError::Claim("exp")));
    let early = AccessTokenClaims { iat: NOW + 5, ..claims() };
    assert!(check(&mint(&early, &key).unwrap(), &key).is_ok());
}

#[test]
fn a_token_is_not_good_before_it_says_so() {
    refuse("nbf", NOW + 6);
    let key = es256();
    let token = sign(&header(&key), &with(&plain(), "nbf", NOW + 5), &key);
    assert!(check(&token, &key).is_ok());
}

/// N-141: a token that is bound by other means could be used by whoever has it.
#[test]
fn n_141_a_token_is_bound_to_one_key_that_is_understood() {
    for cnf in [
        json!({ "jkt": "" }),
        json!({ "jkt": base64([7; 31]) }),
        json!({ "jkt": base64([7; 33]) }),
        json!({ "jkt": format!("{}=", base64([7; 32])) }),
        json!({ "jkt": 1 }),
        json!({ "x5t#S256": base64([7; 32]) }),
        json!({ "jkt": base64([7; 32]), "x5t#S256": base64([7; 32]) }),
        json!({ "jwk": { "kty": "OKP" } }),
        json!("jkt"),
        json!([base64([7; 32])]),
    ] {
        refuse("cnf", cnf);
    }
    assert_eq!(claims().bound_to(), Some([7; 32]));
}

/// One that is bound to nothing is good for less long, also where it was signed for longer.
#[test]
fn ma_04_a_token_that_is_bound_to_no_key_is_good_for_two_minutes() {
    let key = es256();
    let bearer = |exp: i64| AccessTokenClaims { cnf: None, iat: NOW, exp, ..claims() };
    let most = NOW + BEARER_LIFETIME_MAX_S;
    let read = check(&mint(&bearer(most), &key).unwrap(), &key).expect("it holds");
    assert_eq!(read.bound_to(), None);
    let long = check(&mint(&bearer(most + 1), &key).unwrap(), &key);
    assert_eq!(long, Err(JwsError::Claim("exp")));
}

#[test]
fn a_token_belongs_to_a_task_that_is_understood() {
    let task = plain()["authorization_details"][0].clone();
    for details in [
        json!([with(&task, "type", "payment_initiation")]),
        json!([task.clone(), with(&task, "type", "other")]),
        json!([with(&task, "amount", 5)]),
        json!([["agent_task", "task-1", "refunds", "mandate-1"]]),
        json!([with(&task, "mandate", Value::Null)]),
        task.clone(),
        json!("agent_task"),
    ] {
        refuse("authorization_details", details);
    }
}

#[test]
fn n_020_n_022_the_key_chooses_the_algorithm() {
    let key = es256();
    for alg in ["none", "HS256", "RS256", "EdDSA", "XX256"] {
        let token = sign(&with(&header(&key), "alg", alg), &plain(), &key);
        assert_eq!(check(&token, &key), Err(JwsError::WrongAlgorithm), "{alg}");
    }
}

#[test]
fn n_023_a_key_that_a_token_brings_is_not_taken() {
    let (ours, theirs) = (es256(), es256());
    let forged = with(&header(&ours), "jwk", theirs.verifying().to_jwk());
    let token = sign(&forged, &plain(), &theirs);
    assert_eq!(check(&token, &ours), Err(JwsError::HeaderMember("jwk")));
}

#[test]
fn n_024_a_kid_is_a_name_and_nothing_else() {
    let key = es256();
    let known = key.verifying().thumbprint_text();
    let others = [
        json!(null),
        json!(""),
        json!("../../../dev/null"),
        json!("/etc/passwd"),
        json!("' OR 1=1 --"),
        json!("key\u{0}"),
        json!(known.to_lowercase()),
        json!(format!("{known}=")),
        json!(format!(" {known}")),
        json!("x".repeat(KID_MAX)),
        json!("x".repeat(5_000)),
        json!(1),
        json!([known]),
        json!({ "kid": known }),
    ];
    for kid in others {
        let token = sign(&with(&header(&key), "kid", kid.clone()), &plain(), &key);
        assert_eq!(check(&token, &key), Err(JwsError::UnknownKey), "{kid}");
    }
    let long = sign(&with(&header(&key), "kid", "x".repeat(10_000)), &plain(), &key);
    assert_eq!(check(&long, &key), Err(JwsError::TooLong));
    let twice = format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"x","kid":"{known}"}}"#);
    let token = sign_texts(&twice, &plain().to_string(), &key);
    assert_eq!(check(&token, &key), Err(JwsError::NotJson("header")));
    // The name of one key with the signature of another.
    let other = sign(&header(&key), &plain(), &es256());
    assert_eq!(check(&other, &key), Err(JwsError::WrongSignature));
}

#[test]
fn n_028_a_token_of_another_type_is_refused() {
    let key = es256();
    for typ in ["dpop+jwt", "JWT", "logout+jwt", "secevent+jwt", "txntoken+jwt", "AT+JWT", "jwt"] {
        let token = sign(&with(&header(&key), "typ", typ), &plain(), &key);
        assert_eq!(check(&token, &key), Err(JwsError::WrongType(TYP)), "{typ}");
    }
    let untyped = sign(&with(&header(&key), "typ", Value::Null), &plain(), &key);
    assert_eq!(check(&untyped, &key), Err(JwsError::WrongType(TYP)));
    // RFC 9068 §4 allows the long form.
    let long = sign(&with(&header(&key), "typ", "application/at+jwt"), &plain(), &key);
    assert!(check(&long, &key).is_ok());
}

/// N-029: a key that is retired and still listed verifies; one that is not listed does not.
#[test]
fn n_029_a_token_by_a_retired_key_is_taken_while_the_key_is_listed() {
    let (new, old) = (Arc::new(es256()), Arc::new(es256()));
    let token = mint(&claims(), old.as_ref()).unwrap();
    let keys = TokenKeys::new(old.clone(), Vec::new());
    let check = |until: Option<i64>, expected: Result<(), JwsError>| {
        let listed = until.map(|until| RetiredKey { key: old.verifying().clone(), until });
        keys.replace(new.clone(), listed.into_iter().collect());
        let read = verify(&token, &keys, (ISSUER, AUDIENCE), NOW);
        assert_eq!(read.map(drop), expected, "{until:?}");
        let jwks = keys.jwks(NOW)["keys"].as_array().unwrap().len();
        assert_eq!(jwks, if expected.is_ok() { 2 } else { 1 }, "{until:?}");
    };
    assert!(verify(&token, &keys, (ISSUER, AUDIENCE), NOW).is_ok());
    check(Some(NOW + 1), Ok(()));
    check(Some(NOW), Err(JwsError::UnknownKey));
    check(None, Err(JwsError::UnknownKey));
}

/// The key that signs events signs no access token, whatever it is made to sign.
#[test]
fn a_token_by_the_key_of_events_is_never_taken() {
    let (own, event) = (Arc::new(es256()), Arc::new(EventKey::generate().unwrap()));
    let keys = TokenKeys::new(own.clone(), Vec::new());
    keys.replace_for_events(event.clone(), Vec::new());
    let check = |kid: String, expected: JwsError| {
        let header = json!({ "alg": "RS256", "kid": kid, "typ": TYP });
        let input = format!("{}.{}", base64(header.to_string()), base64(plain().to_string()));
        let token = format!("{input}.{}", base64(event.sign(input.as_bytes()).unwrap()));
        assert_eq!(verify(&token, &keys, (ISSUER, AUDIENCE), NOW), Err(expected), "{kid}");
    };
    check(event.public().thumbprint_text(), JwsError::UnknownKey);
    check(own.verifying().thumbprint_text(), JwsError::WrongAlgorithm);
}

#[test]
fn a_jwe_is_never_an_access_token() {
    let key = es256();
    let token = mint(&claims(), &key).unwrap();
    for jwe in [
        format!("{token}.AAAA.AAAA"),
        format!("{}..AAAA.AAAA.AAAA", base64(r#"{"alg":"dir","enc":"A128GCM"}"#)),
    ] {
        assert_eq!(check(&jwe, &key), Err(JwsError::NotCompact));
    }
    let disguised = sign(&with(&header(&key), "enc", "A128GCM"), &plain(), &key);
    assert_eq!(check(&disguised, &key), Err(JwsError::HeaderMember("enc")));
}

/// R53: who it is for, who acts, for what, under which mandate and in which task are one artefact: none of it is
/// altered.
#[test]
fn r_53_a_token_with_another_person_agent_scope_or_purpose_is_refused() {
    let key = es256();
    let token = mint(&claims(), &key).unwrap();
    let parts: Vec<_> = token.split('.').collect();
    let details =
        |member: &str| json!([with(&plain()["authorization_details"][0], member, "other")]);
    for (name, value) in [
        ("sub", json!("dora")),
        ("act", json!({ "sub": "instance-2" })),
        ("client_id", json!("another-bot")),
        ("aud", json!("https://chancery.example/mcp/crm")),
        ("exp", json!(NOW + LIFETIME_MAX_S - 1)),
        ("txn", json!("task-2")),
        ("auth_time", json!(NOW)),
        ("acr", json!("urn:example:loa3")),
        ("amr", json!(["hwk"])),
        ("cnf", json!({ "jkt": base64([8; 32]) })),
        ("authorization_details", details("task")),
        ("authorization_details", details("purpose")),
        ("authorization_details", details("mandate")),
    ] {
        let altered = base64(with(&plain(), name, value).to_string());
        let spliced = format!("{}.{altered}.{}", parts[0], parts[2]);
        assert_eq!(check(&spliced, &key), Err(JwsError::WrongSignature), "{name}");
    }
    assert!(jws::verify(&token, TYP, key.verifying()).is_ok());
}
