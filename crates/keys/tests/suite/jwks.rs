//! Public keys as JWK: the vectors of the RFCs, what is refused, and thumbprints.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keys::{JwkError, KeyAlgorithm, RetiredKey, Signer as _, SigningKey, TokenKeys, VerifyingKey};
use proptest::prelude::*;
use serde_json::{Value, json};

/// RFC 8037 A.2.
fn rfc_8037() -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
}

/// RFC 7517 A.1, without the members that say what it is for.
fn rfc_7517() -> Value {
    json!({
        "kty": "EC",
        "crv": "P-256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    })
}

fn with(mut jwk: Value, name: &str, value: impl Into<Value>) -> Value {
    jwk[name] = value.into();
    jwk
}

#[track_caller]
fn check(jwk: &Value, expected: Result<KeyAlgorithm, JwkError>) {
    assert_eq!(VerifyingKey::from_jwk(jwk).map(|key| key.algorithm()), expected, "{jwk}");
}

#[test]
fn the_keys_of_the_rfcs_are_read() {
    check(&rfc_8037(), Ok(KeyAlgorithm::EdDsa));
    check(&rfc_7517(), Ok(KeyAlgorithm::Es256));
    // Unknown members are ignored (RFC 7517 §4), and nothing in a key is ever fetched.
    check(&with(rfc_7517(), "x5u", "https://evil.example/key"), Ok(KeyAlgorithm::Es256));
}

#[test]
fn the_thumbprint_of_rfc_8037_a_3() {
    let key = VerifyingKey::from_jwk(&rfc_8037()).unwrap();
    assert_eq!(key.thumbprint_text(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn the_thumbprint_of_rfc_9449_6_1() {
    let key = json!({
        "kty": "EC",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        "crv": "P-256",
    });
    let key = VerifyingKey::from_jwk(&key).unwrap();
    assert_eq!(key.thumbprint_text(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}

/// RFC 7638 §3.1: only the required members count, so `kid`, `alg` and the order do not.
#[test]
fn a_thumbprint_covers_the_required_members_only() {
    let plain = VerifyingKey::from_jwk(&rfc_7517()).unwrap();
    let adorned = with(with(with(rfc_7517(), "kid", "1"), "alg", "ES256"), "use", "sig");
    let adorned = VerifyingKey::from_jwk(&adorned).unwrap();
    assert_eq!(plain.thumbprint(), adorned.thumbprint());
    assert_eq!(plain, adorned);
    let canonical = r#"{"crv":"P-256","kty":"EC","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;
    assert_eq!(plain.to_jwk().to_string(), canonical);
}

#[test]
fn a_key_is_told_by_what_describes_it_and_by_nothing_else() {
    for jwk in [rfc_7517(), rfc_8037()] {
        let key = VerifyingKey::from_jwk(&jwk).unwrap();
        let adorned = with(with(jwk.clone(), "kid", "1"), "use", "sig");
        assert!(key.is_of(&jwk) && key.is_of(&adorned), "{jwk}");
        let other = SigningKey::generate(key.algorithm()).unwrap().verifying().to_jwk();
        assert!(!key.is_of(&other) && !key.is_of(&Value::Null), "{jwk}");
        let x = with(other.clone(), "x", jwk["x"].clone());
        assert_eq!(key.is_of(&x), x == jwk, "{x}");
    }
}

/// The signature of RFC 8037 A.4, by the key of A.1.
#[test]
fn the_signature_of_rfc_8037_a_4_verifies() {
    let key = VerifyingKey::from_jwk(&rfc_8037()).unwrap();
    let input = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let text =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let signature = decode(text);
    assert!(key.verify(input, &signature));
    assert!(!key.verify(&input[1..], &signature));
    for at in 0..signature.len() {
        let mut changed = signature.clone();
        changed[at] ^= 1;
        assert!(!key.verify(input, &changed), "byte {at}");
    }
    assert!(!key.verify(input, &signature[..63]));
    assert!(!key.verify(input, &[signature.as_slice(), &[0]].concat()));
}

fn decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
}

#[test]
fn n_148_private_and_symmetric_keys_are_refused() {
    // RFC 7517 A.2 and A.3, RFC 8037 A.1: whoever sends one has given it away.
    let d = "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE";
    check(&with(rfc_7517(), "d", d), Err(JwkError::Private));
    let d = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    check(&with(rfc_8037(), "d", d), Err(JwkError::Private));
    check(&json!({ "kty": "oct", "k": "GawgguFyGrWKav7AX4VKUg" }), Err(JwkError::Private));
    for name in ["d", "k", "p", "q", "dp", "dq", "qi", "oth"] {
        check(&with(rfc_8037(), name, Value::Null), Err(JwkError::Private));
    }
}

/// RSA is no key here, weak or strong: the key of RFC 7638 §3.1, and one of 512 bits.
#[test]
fn n_148_rsa_keys_are_refused() {
    let modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let rsa = |n: &str| json!({ "kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256" });
    check(&rsa(modulus), Err(JwkError::Unsupported));
    check(&rsa(&modulus[..86]), Err(JwkError::Unsupported));
}

#[test]
fn n_148_keys_for_which_anybody_can_sign_are_refused() {
    let small = [
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",
        "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o",
        "7P_______________________________________38",
        "7f_______________________________________38",
        "7v_______________________________________38",
    ];
    let mut refused = 0;
    for mut key in small.map(decode) {
        for sign in [0, 0x80] {
            key[31] = key[31] & 0x7f | sign;
            let jwk = with(rfc_8037(), "x", keys::base64url(&key));
            refused += usize::from(VerifyingKey::from_jwk(&jwk) == Err(JwkError::Weak));
        }
    }
    assert_eq!(refused, 14);
}

#[test]
fn other_kinds_of_keys_are_refused() {
    check(&json!(null), Err(JwkError::Malformed));
    check(&json!([]), Err(JwkError::Malformed));
    check(&json!({}), Err(JwkError::Unsupported));
    for curve in ["P-384", "P-521", "secp256k1", "Ed448", "X25519", "p-256", ""] {
        check(&with(rfc_7517(), "crv", curve), Err(JwkError::Unsupported));
        check(&with(rfc_8037(), "crv", curve), Err(JwkError::Unsupported));
    }
    check(&with(rfc_7517(), "kty", "OKP"), Err(JwkError::Unsupported));
    check(&with(rfc_7517(), "kty", "ec"), Err(JwkError::Unsupported));
    for alg in
        [json!("EdDSA"), json!("ES384"), json!("none"), json!("es256"), json!(1), json!(null)]
    {
        check(&with(rfc_7517(), "alg", alg), Err(JwkError::Unsupported));
    }
}

/// RFC 7517 §4.2 and §4.3: the key of A.1 is for encryption.
#[test]
fn keys_for_another_use_are_refused() {
    check(&with(rfc_7517(), "use", "enc"), Err(JwkError::OtherUse));
    check(&with(rfc_7517(), "use", json!(null)), Err(JwkError::OtherUse));
    check(&with(rfc_7517(), "use", "sig"), Ok(KeyAlgorithm::Es256));
    for ops in [json!(["encrypt"]), json!([]), json!("verify"), json!(["sign"])] {
        check(&with(rfc_7517(), "key_ops", ops), Err(JwkError::OtherUse));
    }
    check(&with(rfc_7517(), "key_ops", json!(["sign", "verify"])), Ok(KeyAlgorithm::Es256));
}

#[test]
fn coordinates_have_one_spelling_and_are_on_the_curve() {
    let x = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
    let padded = format!("{x}=");
    let standard = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM".replace('_', "/");
    // The last character but one spare bit; one byte short; a leading zero byte; another alphabet.
    let spare_bits = format!("{}5", &x[..42]);
    for x in [padded.as_str(), &spare_bits, &x[..42], &format!("AA{x}"), "", &format!("{x}\n")] {
        check(&with(rfc_7517(), "x", x), Err(JwkError::Malformed));
    }
    check(&with(rfc_7517(), "x", standard + "+"), Err(JwkError::Malformed));
    check(&with(rfc_7517(), "x", json!(1)), Err(JwkError::Malformed));
    check(
        &with(rfc_8037(), "x", "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7A"),
        Err(JwkError::Malformed),
    );
    // A point of no curve: the coordinates of two keys mixed.
    let other = "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA";
    check(&with(rfc_7517(), "y", other), Err(JwkError::Malformed));
    let zero = keys::base64url(&[0; 32]);
    check(&with(with(rfc_7517(), "x", zero.clone()), "y", zero), Err(JwkError::Malformed));
}

#[test]
fn a_key_set_names_keys_by_thumbprint_and_has_no_private_member() {
    let keys = [KeyAlgorithm::Es256, KeyAlgorithm::EdDsa].map(|a| SigningKey::generate(a).unwrap());
    let [current, retired] = keys.each_ref().map(|key| key.verifying().clone());
    let [signer, _] = keys.map(Arc::new);
    let set = TokenKeys::new(signer, vec![RetiredKey { key: retired.clone(), until: 100 }]);
    assert_eq!(set.find(&retired.thumbprint_text(), 99).as_ref(), Some(&retired));
    assert_eq!(set.find(&retired.thumbprint_text(), 100), None);
    assert_eq!(set.find(&current.thumbprint_text(), i64::MAX - 1).as_ref(), Some(&current));
    assert_eq!(set.find("../../etc/passwd", 0), None);
    assert_eq!(set.find("", 0), None);
    assert_eq!(set.jwks(100)["keys"].as_array().unwrap().len(), 1);
    let listed = set.jwks(99);
    for (jwk, key) in listed["keys"].as_array().unwrap().iter().zip([&current, &retired]) {
        assert_eq!(VerifyingKey::from_jwk(jwk).as_ref(), Ok(key));
        assert_eq!(jwk["kid"], key.thumbprint_text());
        assert_eq!((&jwk["use"], &jwk["alg"]), (&json!("sig"), &json!(key.algorithm().as_str())));
        assert!(jwk.get("d").is_none());
    }
}

/// An exchange leaves what was verified as it is; where the signer of before verifies no longer, all of it is lost, and who
/// asked for that is told once.
#[test]
fn what_was_verified_counts_until_its_signer_was_in_other_hands() {
    let keys = [(); 4].map(|()| Arc::new(SigningKey::generate(KeyAlgorithm::Es256).unwrap()));
    let [first, second, third, fourth] = keys;
    let retired = |key: &SigningKey| vec![RetiredKey { key: key.verifying().clone(), until: 100 }];
    let set = TokenKeys::new(first.clone(), Vec::new());
    let told = Arc::new(AtomicUsize::new(0));
    let tell = told.clone();
    set.on_loss(move || {
        tell.fetch_add(1, Ordering::SeqCst);
    });
    let check = |counts: &[bool], times: usize| {
        let eras = 0..=set.era();
        assert_eq!(eras.map(|era| set.counts(era)).collect::<Vec<_>>(), counts);
        assert_eq!(told.load(Ordering::SeqCst), times, "{counts:?}");
    };
    check(&[true], 0);
    set.replace(second.clone(), retired(&first));
    check(&[true, true], 0);
    set.replace(third, Vec::new());
    check(&[false, false, true], 1);
    // Of two exchanges the first was not heard of: the key that signed here was in other hands by then.
    set.replace(fourth, retired(&second));
    check(&[false, false, false, true], 2);
}

#[test]
fn a_key_verifies_what_it_signed_and_nothing_else() {
    for algorithm in [KeyAlgorithm::Es256, KeyAlgorithm::EdDsa] {
        let (key, other) =
            (SigningKey::generate(algorithm).unwrap(), SigningKey::generate(algorithm).unwrap());
        let signature = key.sign(b"message").unwrap();
        assert_eq!(signature.len(), 64);
        let read = VerifyingKey::from_jwk(&key.public().to_jwk()).unwrap();
        assert!(read.verify(b"message", &signature));
        assert!(!read.verify(b"massage", &signature));
        assert!(!other.public().verify(b"message", &signature));
        assert!(!read.verify(b"message", &[]));
        assert!(!read.verify(b"message", &[0; 64]));
        assert_ne!(key.public(), other.public());
    }
}

proptest! {
    /// Whatever is read as a key is written as the same key, and has the same thumbprint.
    #[test]
    fn what_is_read_is_written_back(x in any::<[u8; 32]>()) {
        let jwk = with(rfc_8037(), "x", keys::base64url(&x));
        if let Ok(key) = VerifyingKey::from_jwk(&jwk) {
            prop_assert_eq!(key.as_bytes(), &x);
            prop_assert_eq!(VerifyingKey::from_jwk(&key.to_jwk()), Ok(key));
        }
    }
}
