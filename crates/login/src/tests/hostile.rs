//! Tokens that try something (N-020 to N-029).

use aws_lc_rs::hmac;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::provider::{JWKS, Key, METADATA};
use super::{World, told};
use crate::SignatureAlgorithm::{EdDsa, Es256, Ps256, Rs256};
use crate::jws::{KID_MAX, TOKEN_MAX};
use crate::key_set::{KEYS_MAX, KeySet};

/// Logs in by what `make` makes of the claims that hold.
fn check(make: impl FnOnce(&World, &Value) -> String, expected: &str) {
    let world = World::new();
    let asked = world.begin().unwrap();
    let token = make(&world, &world.claims(&asked));
    assert_eq!(told(&world.finish_by(asked, &token)), expected, "{token}");
    assert_eq!(
        world.provider.fetched().iter().filter(|url| *url != METADATA && *url != JWKS).count(),
        0
    );
}

/// The same with the right key and the member `name` of the header as `member`.
fn check_header(name: &str, member: Value, expected: &str) {
    check(
        |world, claims| {
            let mut header = world.provider.header();
            match member {
                Value::Null => drop(header.as_object_mut().unwrap().remove(name)),
                member => header[name] = member,
            }
            Key::of(Rs256).sign(&header, claims)
        },
        expected,
    );
}

const OTHER_ALGORITHM: &str = "id_token_invalid: the algorithm is not the one that is expected";
const WRONG_SIGNATURE: &str = "id_token_invalid: the signature does not verify";
const NOT_COMPACT: &str = "id_token_invalid: it is not a compact JWS";
const UNKNOWN_KEY: &str = "id_token_invalid: the key is not one of the provider's";

#[test]
fn n_020_alg_none_is_refused() {
    for alg in ["none", "None", "nOnE", "NONE", "", " none", "none\u{0}"] {
        check_header("alg", alg.into(), OTHER_ALGORITHM);
    }
    check_header("alg", Value::Null, OTHER_ALGORITHM);
    for alg in ["none", "RS256"] {
        for signature in ["", "AA"] {
            let expected = if alg == "none" { OTHER_ALGORITHM } else { WRONG_SIGNATURE };
            check(
                |_, claims| {
                    let header = json!({ "alg": alg, "kid": "first" });
                    let token = Key::of(Rs256).sign(&header, claims);
                    let (input, _) = token.rsplit_once('.').unwrap();
                    format!("{input}.{signature}")
                },
                expected,
            );
        }
    }
}

#[test]
fn n_021_a_public_key_is_never_a_shared_secret() {
    let jwk = Key::of(Rs256).jwk("first");
    let n = jwk["n"].as_str().unwrap().to_owned();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{n}\n-----END PUBLIC KEY-----\n");
    let spellings = [
        pem.clone(),
        format!("  {pem}"),
        format!("\u{feff}{pem}"),
        pem.replace('\n', "\r\n"),
        jwk.to_string(),
        n,
    ];
    for secret in spellings {
        for (alg, expected) in [("HS256", OTHER_ALGORITHM), ("RS256", WRONG_SIGNATURE)] {
            check(
                |_, claims| {
                    let token = Key::of(Rs256).sign(&json!({ "alg": alg, "kid": "first" }), claims);
                    let (input, _) = token.rsplit_once('.').unwrap();
                    let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
                    let tag = hmac::sign(&secret, input.as_bytes());
                    format!("{input}.{}", keys::base64url(tag.as_ref()))
                },
                expected,
            );
        }
    }
}

#[test]
fn n_022_an_algorithm_that_is_not_expected_is_refused() {
    for alg in ["XX256", "RS384", "RS1", "rs256", "ES256", "HS256", "EdDSA"] {
        check_header("alg", alg.into(), OTHER_ALGORITHM);
    }
    for alg in [json!(1), json!(["RS256"]), json!({ "RS256": 1 }), json!(true)] {
        check_header("alg", alg, OTHER_ALGORITHM);
    }
    // The provider's own key by another of its algorithms is as little what is expected.
    for other in [Ps256, Es256, EdDsa] {
        check(
            |_, claims| {
                let header = json!({ "alg": other.as_str(), "kid": "first" });
                Key::of(other).sign(&header, claims)
            },
            OTHER_ALGORITHM,
        );
        check(
            |world, claims| Key::of(other).sign(&world.provider.header(), claims),
            WRONG_SIGNATURE,
        );
    }
}

#[test]
fn n_023_keys_that_a_token_offers_are_refused() {
    let theirs = Key::OtherRsa.jwk("first");
    for (name, offer) in [
        ("jwk", theirs),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["MIIB"])),
    ] {
        let expected = format!("id_token_invalid: the header has the member `{name}`");
        for key in [Key::of(Rs256), Key::OtherRsa] {
            check(
                |world, claims| {
                    let mut header = world.provider.header();
                    header[name] = offer.clone();
                    key.sign(&header, claims)
                },
                &expected,
            );
        }
    }
    // A digest of a certificate carries no key. Large providers write it.
    check_header("x5t", "dGh1bWI".into(), "carla-7");
}

#[test]
fn n_024_a_kid_is_a_name_and_nothing_else() {
    let names =
        ["../../etc/passwd", "' OR 1=1 --", "", "FIRST", "first\u{0}", "first ", "first/../first"];
    for kid in names {
        check_header("kid", kid.into(), UNKNOWN_KEY);
    }
    check_header("kid", "x".repeat(KID_MAX + 1).into(), UNKNOWN_KEY);
    check_header("kid", "x".repeat(10_000).into(), UNKNOWN_KEY);
    for kid in [json!(1), json!(["first"]), json!(true)] {
        check_header("kid", kid, UNKNOWN_KEY);
    }
    // Without a name it is the only key that there is.
    check_header("kid", Value::Null, "carla-7");
}

#[test]
fn n_024_a_name_of_two_keys_names_neither() {
    let (ours, other) = (Key::of(Rs256), Key::OtherRsa);
    let check = |keys: Vec<Value>, kid: Option<&str>, expected: bool| {
        let set = KeySet::read(&json!({ "keys": keys }), Rs256).unwrap();
        assert_eq!(set.find(kid).is_some(), expected, "{kid:?}");
    };
    check(vec![ours.jwk("a"), other.jwk("b")], Some("a"), true);
    check(vec![ours.jwk("a"), other.jwk("b")], None, false);
    check(vec![ours.jwk("a"), other.jwk("a")], Some("a"), false);
    check(vec![ours.jwk("a"), other.jwk("a")], None, false);
    // A key for something else does not stand in the way.
    let mut sealing = other.jwk("a");
    sealing["use"] = "enc".into();
    check(vec![ours.jwk("a"), sealing], Some("a"), true);
    check(vec![ours.jwk("a"), Key::of(Es256).jwk("a")], Some("a"), true);
    check(vec![], None, false);
}

#[test]
fn a_key_is_for_signatures_and_public() {
    let check = |member: &str, value: Value, expected: bool| {
        let mut jwk = Key::of(Rs256).jwk("a");
        jwk[member] = value;
        let set = KeySet::read(&json!({ "keys": [jwk] }), Rs256).unwrap();
        assert_eq!(set.find(Some("a")).is_some(), expected, "{member}");
    };
    check("alg", "RS256".into(), true);
    check("key_ops", json!(["verify"]), true);
    check("x5c", json!(["MIIB"]), true);
    for (member, value) in [
        ("alg", json!("PS256")),
        ("alg", json!(1)),
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("key_ops", json!("verify")),
        ("kty", json!("oct")),
        ("kty", json!("EC")),
        ("d", json!("AQAB")),
        ("k", json!("AQAB")),
        ("n", json!("")),
        ("n", json!("AQAB=")),
        ("n", json!(7)),
        ("e", json!("AAEAAQ")),
        ("kid", json!(7)),
        ("kid", json!("x".repeat(KID_MAX + 1))),
    ] {
        check(member, value, false);
    }
}

#[test]
fn a_key_that_is_too_short_verifies_nothing() {
    // A modulus of 1024 bits.
    let n = keys::base64url(&[0xab; 128]);
    let weak = json!({ "kty": "RSA", "n": n, "e": "AQAB", "kid": "first" });
    let world = World::new();
    world.provider.publish(JWKS, json!({ "keys": [weak] }));
    assert_eq!(told(&world.log_in(|_| ())), WRONG_SIGNATURE);
}

#[test]
fn i_18_a_provider_has_so_many_keys() {
    let read = |count: usize| {
        let keys: Vec<_> = (0..count).map(|one| Key::of(Rs256).jwk(&one.to_string())).collect();
        KeySet::read(&json!({ "keys": keys }), Rs256).is_ok()
    };
    assert_eq!([read(KEYS_MAX), read(KEYS_MAX + 1)], [true, false]);
    for wrong in [json!({}), json!([]), json!({ "keys": {} }), json!({ "keys": [1] })] {
        assert!(KeySet::read(&wrong, Rs256).is_err(), "{wrong}");
    }
}

#[test]
fn n_025_critical_and_repeated_header_members_are_refused() {
    for (name, value) in [
        ("crit", json!(["b64"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
    ] {
        let expected = format!("id_token_invalid: the header has the member `{name}`");
        check_header(name, value, &expected);
    }
    for twice in [
        r#"{"alg":"RS256","kid":"first","alg":"RS256"}"#,
        r#"{"alg":"none","kid":"first","al\u0067":"RS256"}"#,
        r#"{"alg":"RS256","kid":"first","Alg":"none"}"#,
        r#"["RS256"]"#,
    ] {
        check(
            |_, claims| Key::of(Rs256).sign_texts(twice, &claims.to_string()),
            "id_token_invalid: its header cannot be read as a JSON object in one way only",
        );
    }
}

#[test]
fn n_026_there_is_one_reading() {
    let twice = "id_token_invalid: its claims cannot be read as a JSON object in one way only";
    for second in
        [r#","sub":"mallory"}"#, r#","s\u0075b":"mallory"}"#, r#","Sub":"mallory"}"#, "}x"]
    {
        check(
            |world, claims| {
                let claims = claims.to_string();
                let claims = format!("{}{second}", claims.strip_suffix('}').unwrap());
                Key::of(Rs256).sign_texts(&world.provider.header().to_string(), &claims)
            },
            twice,
        );
    }
    let sign =
        |world: &World, claims: &Value| Key::of(Rs256).sign(&world.provider.header(), claims);
    let spoilt: [fn(String) -> String; 6] = [
        |token| format!("{token}="),
        |token| format!("{token}."),
        |token| format!("{token} "),
        |token| format!(" {token}"),
        |token| token.replacen('.', "..", 1),
        |token| format!(r#"{{"protected":"{token}"}}"#),
    ];
    for spoil in spoilt {
        check(|world, claims| spoil(sign(world, claims)), NOT_COMPACT);
    }
    // Five parts are an encrypted token.
    check(|world, claims| format!("{}.AA.AA", sign(world, claims)), NOT_COMPACT);
    check(|_, _| "e30".to_owned(), NOT_COMPACT);
    check(|_, _| "x".repeat(TOKEN_MAX + 1), "id_token_invalid: it is too long");
    check(|_, _| "x".repeat(TOKEN_MAX), NOT_COMPACT);
}

#[test]
fn n_028_a_token_of_another_type_is_refused() {
    for typ in ["at+jwt", "dpop+jwt", "logout+jwt", "secevent+jwt", "txntoken+jwt", "JOSE", ""] {
        check_header("typ", typ.into(), "id_token_invalid: it is of another type");
    }
    check_header("typ", json!(1), "id_token_invalid: it is of another type");
    for typ in ["JWT", "jwt", "application/jwt"] {
        check_header("typ", typ.into(), "carla-7");
    }
}

#[test]
fn n_038_deep_claims_are_refused() {
    check(
        |world, claims| {
            let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
            let claims = claims.to_string();
            let claims = format!("{},\"act\":{deep}}}", claims.strip_suffix('}').unwrap());
            Key::of(Rs256).sign_texts(&world.provider.header().to_string(), &claims)
        },
        "id_token_invalid: its claims cannot be read as a JSON object in one way only",
    );
}

proptest! {
    /// Whatever the token endpoint gives as a token, there is an answer, and it is no.
    #[test]
    fn n_026_no_other_text_is_a_token(token in "[ -~]{0,200}", place in 0..10_000_usize, byte in 32..127_u8) {
        prop_assert!(crate::jws::read(&token).is_err());
        let world = World::new();
        let asked = world.begin().unwrap();
        let right = Key::of(Rs256).sign(&world.provider.header(), &world.claims(&asked));
        let mut changed = right.clone().into_bytes();
        let place = place % changed.len();
        changed[place] = byte;
        let changed = String::from_utf8(changed).unwrap();
        prop_assert_eq!(world.finish_by(asked, &changed).is_ok(), changed == right);
    }
}
