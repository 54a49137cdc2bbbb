//! JOSE: the header chooses nothing, and there is one reading.

use keys::{KeyAlgorithm, SigningKey, VerifyingKey};
use oauth::jwks::{PublicKey, Purpose};
use oauth::jws::{self, Foreign, JwsError};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{base64, eddsa, es256, sign, sign_texts, unbase64, with};

fn header(alg: &str) -> Value {
    json!({ "alg": alg, "typ": "test+jwt" })
}

fn verify(token: &str, key: &VerifyingKey) -> Result<(), JwsError> {
    jws::verify(token, "test+jwt", key).map(|_| ())
}

#[test]
fn a_token_of_ours_is_taken_by_its_own_key_only() {
    for key in [es256(), eddsa()] {
        let token = jws::sign("test+jwt", &json!({ "sub": "me" }), &key).unwrap();
        let claims = jws::verify(&token, "test+jwt", key.verifying()).unwrap();
        assert_eq!(Value::from(claims), json!({ "sub": "me" }));
        for other in [es256(), eddsa()] {
            assert!(verify(&token, other.verifying()).is_err());
        }
    }
}

/// The Ed25519 example of RFC 8037 A.4 has a payload that is no JSON: taken as a signature, refused
/// as a token.
#[test]
fn the_token_of_rfc_8037_a_4_is_no_token_of_claims() {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let key = VerifyingKey::from_jwk(&json!({ "kty": "OKP", "crv": "Ed25519", "x": x })).unwrap();
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(jws::verify(token, "", &key).map(|_| ()), Err(JwsError::NotJson("claims")));
}

#[test]
fn n_020_alg_none_is_refused() {
    let key = es256();
    for alg in ["none", "None", "nOnE", "NONE", "", " none", "none\u{0}"] {
        let signed = sign(&header(alg), &json!({}), &key);
        assert_eq!(verify(&signed, key.verifying()), Err(JwsError::WrongAlgorithm), "{alg}");
        let (input, _) = signed.rsplit_once('.').unwrap();
        for signature in ["", "AA", "AAAA"] {
            let unsigned = format!("{input}.{signature}");
            assert!(verify(&unsigned, key.verifying()).is_err(), "{alg}");
        }
        assert_eq!(verify(input, key.verifying()), Err(JwsError::NotCompact));
    }
    let right = sign(&header("ES256"), &json!({}), &key);
    let (input, _) = right.rsplit_once('.').unwrap();
    assert_eq!(verify(&format!("{input}."), key.verifying()), Err(JwsError::WrongSignature));
    let missing = sign(&json!({ "typ": "test+jwt" }), &json!({}), &key);
    assert_eq!(verify(&missing, key.verifying()), Err(JwsError::WrongAlgorithm));
}

/// A public key, however it is written down, is no HMAC key here: there is no HMAC.
#[test]
fn n_021_a_public_key_is_never_a_shared_secret() {
    use aws_lc_rs::hmac;
    let key = es256();
    let jwk = key.verifying().to_jwk().to_string();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64(key.verifying().as_bytes())
    );
    let spellings = [
        pem.clone(),
        format!("  {pem}"),
        format!("\u{feff}{pem}"),
        pem.replace('\n', "\r\n"),
        jwk,
        key.verifying().thumbprint_text(),
    ];
    for secret in spellings {
        for alg in ["HS256", "hs256", "ES256", "RS256"] {
            let input = format!("{}.{}", base64(header(alg).to_string()), base64("{}"));
            let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            let tag = hmac::sign(&secret, input.as_bytes());
            let token = format!("{input}.{}", base64(tag));
            assert!(verify(&token, key.verifying()).is_err(), "{alg}");
        }
    }
}

#[test]
fn n_022_an_algorithm_that_is_not_the_keys_is_refused() {
    let algorithms = [
        "XX256", "ES384", "ES512", "ES256K", "RS256", "PS256", "HS256", "EdDSA", "Ed25519", "es256",
    ];
    let key = es256();
    for alg in algorithms {
        let token = sign(&header(alg), &json!({}), &key);
        assert_eq!(verify(&token, key.verifying()), Err(JwsError::WrongAlgorithm), "{alg}");
    }
    for alg in [json!(null), json!(1), json!(["ES256"]), json!({ "ES256": 1 }), json!(true)] {
        let header = json!({ "alg": alg, "typ": "test+jwt" });
        let token = sign(&header, &json!({}), &key);
        assert_eq!(verify(&token, key.verifying()), Err(JwsError::WrongAlgorithm), "{header}");
    }
    let edwards = eddsa();
    let token = sign(&header("ES256"), &json!({}), &edwards);
    assert_eq!(verify(&token, edwards.verifying()), Err(JwsError::WrongAlgorithm));
}

/// Nothing is fetched: this crate has no way to. That they are refused, and not ignored, keeps
/// whoever else reads the token from following them.
#[test]
fn n_023_keys_that_a_token_offers_are_refused() {
    let (ours, theirs) = (es256(), es256());
    let offers = [
        ("jwk", theirs.verifying().to_jwk()),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("dGh1bWI")),
        ("x5t#S256", json!("dGh1bWI")),
    ];
    for (name, offer) in offers {
        for key in [&ours, &theirs] {
            let token = sign(&with(&header("ES256"), name, offer.clone()), &json!({}), key);
            let refused = verify(&token, ours.verifying());
            assert_eq!(refused, Err(JwsError::HeaderMember(name)), "{name}");
        }
    }
}

#[test]
fn n_025_critical_and_unencoded_headers_are_refused() {
    let key = es256();
    for (name, value) in [
        ("crit", json!(["b64"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
    ] {
        let token = sign(&with(&header("ES256"), name, value), &json!({}), &key);
        assert_eq!(verify(&token, key.verifying()), Err(JwsError::HeaderMember(name)));
    }
    for twice in [
        r#"{"alg":"ES256","typ":"test+jwt","alg":"ES256"}"#,
        r#"{"alg":"none","typ":"test+jwt","al\u0067":"ES256"}"#,
        r#"{"alg":"ES256","typ":"test+jwt","Alg":"none"}"#,
        r#"{"alg":"ES256","typ":"test+jwt","typ":"at+jwt"}"#,
        r#"["ES256"]"#,
        r#""ES256""#,
        "{\"alg\":\"ES256\",\"typ\":\"test+jwt\"} ,",
        "\u{feff}{\"alg\":\"ES256\",\"typ\":\"test+jwt\"}",
        "",
    ] {
        let token = sign_texts(twice, "{}", &key);
        let refused = verify(&token, key.verifying());
        assert_eq!(refused, Err(JwsError::NotJson("header")), "{twice}");
    }
}

#[test]
fn n_026_duplicate_claims_are_refused() {
    let key = es256();
    for claims in [
        r#"{"sub":"a","sub":"b"}"#,
        r#"{"sub":"a","su\u0062":"b"}"#,
        r#"{"sub":"a","SUB":"b"}"#,
        r#"{"cnf":{"jkt":"a","jkt":"b"}}"#,
        r#"{"sub":"\ud800"}"#,
        "[]",
        "null",
        "{}{}",
        "{} x",
        "",
    ] {
        let token = sign_texts(&header("ES256").to_string(), claims, &key);
        let refused = verify(&token, key.verifying());
        assert_eq!(refused, Err(JwsError::NotJson("claims")), "{claims}");
    }
}

#[test]
fn n_026_another_spelling_of_the_same_token_is_refused() {
    let key = es256();
    let token = sign(&header("ES256"), &json!({ "sub": "a?>" }), &key);
    assert_eq!(verify(&token, key.verifying()), Ok(()));
    let parts: Vec<_> = token.split('.').collect();
    let [head, claims, signature] = parts.as_slice() else { panic!("a token has three parts") };
    let respelled = |bits: u8| {
        // The last character of 64 bytes carries four bits that mean nothing.
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let last = signature.bytes().last().unwrap();
        let value = alphabet.iter().position(|byte| *byte == last).unwrap();
        let other = alphabet[value | usize::from(bits)];
        format!("{head}.{claims}.{}{}", &signature[..85], char::from(other))
    };
    let others = [
        format!("{token}="),
        format!("{token}=="),
        format!("{head}==.{claims}.{signature}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}\n"),
        format!(" {token}"),
        format!("{head}.{claims}.{signature}.{signature}"),
        format!("{head}.{claims}\n.{signature}"),
        format!("{head}%2E{claims}%2E{signature}"),
        token.replace('.', ". "),
        respelled(1),
        respelled(2),
        respelled(4),
    ];
    for other in others {
        let refused = verify(&other, key.verifying());
        assert_eq!(refused, Err(JwsError::NotCompact), "{other}");
    }
}

#[test]
fn n_026_a_longer_signature_is_refused() {
    let key = es256();
    let token = sign(&header("ES256"), &json!({}), &key);
    assert_eq!(verify(&format!("{token}A"), key.verifying()), Err(JwsError::WrongSignature));
    assert_eq!(verify(&format!("{token}AAAA"), key.verifying()), Err(JwsError::WrongSignature));
}

/// JSON serialisation (RFC 7515 §7.2), flattened or general, is not read.
#[test]
fn n_026_json_serialization_is_refused() {
    let key = es256();
    let token = sign(&header("ES256"), &json!({}), &key);
    let parts: Vec<_> = token.split('.').collect();
    let flat = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] });
    let general = json!({
        "payload": parts[1],
        "signatures": [{ "protected": parts[0], "signature": parts[2] }],
    });
    for text in [flat.to_string(), general.to_string()] {
        assert_eq!(verify(&text, key.verifying()), Err(JwsError::NotCompact));
    }
}

/// The example of RFC 7516 A.1, and tokens that only call themselves encrypted.
#[test]
fn a_jwe_is_never_accepted() {
    let key = es256();
    let jwe = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.OKOawDo13gRp2ojaHV7LFpZcgV7T6DVZKTyKOMTYUmKoTCVJRgckCL9kiMT03JGeipsEdY3mx_etLbbWSrFr05kLzcSr4qKAq7YN7e9jwQRb23nfa6c9d-StnImGyFDbSv04uVuxIp5Zms1gNxKKK2Da14B8S4rzVRltdYwam_lDp5XnZAYpQdb76FdIKLaVmqgfwX7XWRxv2322i-vDxRfqNzo_tETKzpVLzfiwQyeyPGLBIO56YJ7eObdv0je81860ppamavo35UgoRdbYaBcoh9QcfylQr66oc6vFWXRcZ_ZT2LawVCWTIy3brGPi6UklfCpIMfIjf7iGdXKHzg.48V1_ALb6US04U3b.5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6jiSdiwkIr3ajwQzaBtQD_A.XFBoMYUZodetZdvTiFvSkQ";
    for typ in ["", "at+jwt", "dpop+jwt", "test+jwt"] {
        let refused = jws::verify(jwe, typ, key.verifying()).map(|_| ());
        assert_eq!(refused, Err(JwsError::NotCompact));
    }
    let disguised = sign(&with(&header("ES256"), "enc", "A256GCM"), &json!({}), &key);
    assert_eq!(verify(&disguised, key.verifying()), Err(JwsError::HeaderMember("enc")));
    let empty_parts = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0...AAAA.AAAA";
    assert_eq!(verify(empty_parts, key.verifying()), Err(JwsError::NotCompact));
}

#[test]
fn n_028_a_token_of_another_type_is_refused() {
    let key = es256();
    let types = [
        "at+jwt",
        "dpop+jwt",
        "JWT",
        "logout+jwt",
        "secevent+jwt",
        "txntoken+jwt",
        "oauth-id-jag+jwt",
        "wit+jwt",
        "TEST+JWT",
        "test+jwt ",
        "application/application/test+jwt",
        "text/test+jwt",
        "",
    ];
    for typ in types.map(Value::from).into_iter().chain([json!(1), json!(["test+jwt"]), json!({})])
    {
        let token = sign(&json!({ "alg": "ES256", "typ": typ }), &json!({}), &key);
        assert_eq!(verify(&token, key.verifying()), Err(JwsError::WrongType("test+jwt")), "{typ}");
    }
    let untyped = sign(&json!({ "alg": "ES256" }), &json!({}), &key);
    assert_eq!(verify(&untyped, key.verifying()), Err(JwsError::WrongType("test+jwt")));
    let long = sign(&json!({ "alg": "ES256", "typ": "application/test+jwt" }), &json!({}), &key);
    assert_eq!(verify(&long, key.verifying()), Ok(()));
}

/// Where a plain JWT is expected, an absent `typ` will do, and no other type, not even one that is
/// no text.
#[test]
fn n_028_a_plain_jwt_is_of_no_type_or_of_its_own() {
    let key = es256();
    let check = |typ: Option<Value>, taken: bool| {
        let mut header = json!({ "alg": "ES256" });
        header.as_object_mut().unwrap().extend(typ.map(|typ| ("typ".to_owned(), typ)));
        let token = sign(&header, &json!({}), &key);
        assert_eq!(jws::verify(&token, "", key.verifying()).is_ok(), taken, "{header}");
    };
    check(None, true);
    check(Some(json!("JWT")), true);
    check(Some(json!("jwt")), true);
    check(Some(json!("application/jwt")), true);
    for typ in [
        json!("at+jwt"),
        json!("dpop+jwt"),
        json!("application/"),
        json!(""),
        json!(7),
        json!(null),
    ] {
        check(Some(typ), false);
    }
}

#[test]
fn a_token_has_a_limit() {
    let key = eddsa();
    // No part has every length, so one of two headers has to fit.
    let sized = |pad: usize| {
        [header("EdDSA"), with(&header("EdDSA"), "kid", "ab")]
            .map(|header| sign(&header, &json!({ "pad": "x".repeat(pad) }), &key))
    };
    let at = (5_900..6_144).flat_map(sized).find(|token| token.len() == jws::TOKEN_MAX).unwrap();
    assert_eq!(verify(&at, key.verifying()), Ok(()));
    let beyond = (5_900..6_200).flat_map(sized).find(|token| token.len() > jws::TOKEN_MAX).unwrap();
    assert_eq!(verify(&beyond, key.verifying()), Err(JwsError::TooLong));
}

#[test]
fn n_038_deep_claims_are_refused() {
    let key = es256();
    let nested =
        |levels: usize| format!("{{\"act\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
    let check = |levels: usize| {
        verify(&sign_texts(&header("ES256").to_string(), &nested(levels), &key), key.verifying())
    };
    assert_eq!(check(15), Ok(()));
    assert_eq!(check(16), Err(JwsError::NotJson("claims")));
    assert_eq!(check(2_500), Err(JwsError::NotJson("claims")));
}

fn any_key() -> impl Strategy<Value = KeyAlgorithm> {
    prop_oneof![Just(KeyAlgorithm::Es256), Just(KeyAlgorithm::EdDsa)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any change of any character of a token makes another token, and none that is taken.
    #[test]
    fn a_changed_token_is_refused(algorithm in any_key(), at: prop::sample::Index, to in "[A-Za-z0-9._-]") {
        let key = SigningKey::generate(algorithm).unwrap();
        let token = jws::sign("test+jwt", &json!({ "sub": "me", "n": 1 }), &key).unwrap();
        let at = at.index(token.len());
        let changed = format!("{}{to}{}", &token[..at], &token[at + 1..]);
        prop_assert_eq!(verify(&changed, key.verifying()).is_ok(), changed == token);
    }

    #[test]
    fn texts_that_nobody_signed_are_refused(head in "\\PC*", claims in "\\PC*", signature: Vec<u8>) {
        let key = es256();
        let token = format!("{}.{}.{}", base64(head), base64(claims), base64(signature));
        prop_assert!(verify(&token, key.verifying()).is_err());
    }
}

/// What we sign ourselves names its key and nothing that could be followed.
#[test]
fn our_own_header_has_three_members() {
    let key = es256();
    let token = jws::sign("test+jwt", &json!({}), &key).unwrap();
    let header = unbase64(token.split('.').next().unwrap());
    let header: Value = serde_json::from_slice(&header).unwrap();
    let kid = key.verifying().thumbprint_text();
    assert_eq!(header, json!({ "alg": "ES256", "kid": kid, "typ": "test+jwt" }));
}

/// What becomes of a token of another issuer's, by one key.
fn foreign(token: &str, key: &VerifyingKey) -> Result<(), JwsError> {
    Foreign::read(token, &["JWT"])?.verified_by(key).map(|_| ())
}

#[test]
fn n_020_n_023_a_token_of_another_issuer_is_read_as_strictly_as_one_of_ours() {
    let key = es256();
    let signed = |header: Value| sign(&header, &json!({ "sub": "me" }), &key);
    let right = json!({ "alg": "ES256", "kid": "k1" });
    for (name, member, expected) in [
        ("typ", json!("JWT"), Ok(())),
        ("typ", json!("jwt"), Err(JwsError::WrongType("JWT"))),
        ("x5t", json!("dGh1bWI"), Ok(())),
        ("typ", json!("at+jwt"), Err(JwsError::WrongType("JWT"))),
        ("typ", json!(1), Err(JwsError::WrongType("JWT"))),
        ("alg", json!("none"), Err(JwsError::WrongAlgorithm)),
        ("alg", json!("HS256"), Err(JwsError::WrongAlgorithm)),
        ("alg", json!("EdDSA"), Err(JwsError::WrongAlgorithm)),
        ("alg", json!(1), Err(JwsError::WrongAlgorithm)),
        ("jwk", key.verifying().to_jwk(), Err(JwsError::HeaderMember("jwk"))),
        ("jku", json!("https://evil.example"), Err(JwsError::HeaderMember("jku"))),
        ("x5u", json!("https://evil.example"), Err(JwsError::HeaderMember("x5u"))),
        ("x5c", json!([]), Err(JwsError::HeaderMember("x5c"))),
        ("crit", json!(["exp"]), Err(JwsError::HeaderMember("crit"))),
        ("b64", json!(false), Err(JwsError::HeaderMember("b64"))),
        ("zip", json!("DEF"), Err(JwsError::HeaderMember("zip"))),
        ("enc", json!("A128GCM"), Err(JwsError::HeaderMember("enc"))),
    ] {
        let token = signed(with(&right, name, member));
        assert_eq!(foreign(&token, key.verifying()), expected, "{name}");
        assert!(foreign(&token, es256().verifying()).is_err());
    }
}

#[test]
fn n_024_a_name_that_no_key_can_have_is_not_left_out() {
    let kid = |kid: Value| {
        let token = sign(&json!({ "alg": "ES256", "kid": kid }), &json!({}), &es256());
        let read = Foreign::read(&token, &[]).unwrap();
        read.kid().map(|kid| kid.map(str::to_owned))
    };
    assert_eq!(kid(json!("k1")), Ok(Some("k1".to_owned())));
    assert_eq!(kid(json!("k".repeat(256))), Ok(Some("k".repeat(256))));
    for wrong in [json!("k".repeat(257)), json!(1), json!(null), json!(["k1"])] {
        assert_eq!(kid(wrong), Err(JwsError::UnknownKey));
    }
    let nameless = sign(&json!({ "alg": "ES256" }), &json!({}), &es256());
    assert_eq!(Foreign::read(&nameless, &[]).unwrap().kid(), Ok(None));
}

/// RSA keys that are factored, or cost too much, and those for which signatures have been forged, are no keys (CAEP
/// interoperability profile 1.0: 2,048 bits or more).
#[test]
fn ss_05_an_rsa_key_has_2048_bits_or_more() {
    let is_key = |n: &[u8], e: &str| {
        let jwk = json!({ "kty": "RSA", "n": base64(n), "e": e });
        PublicKey::from_jwk(jwk.as_object().expect("members"), Purpose::Signatures).is_some()
    };
    for (bytes, expected) in [(128, false), (255, false), (256, true), (512, true), (513, false)] {
        assert_eq!(is_key(&vec![0xff; bytes], "AQAB"), expected, "{bytes}");
    }
    let mut shorter = vec![0xff; 256];
    shorter[0] = 0x7f;
    assert!(!is_key(&shorter, "AQAB"), "2,047 bits");
    assert!(!is_key(&[0xff; 256], "Aw"), "an exponent of 3");
}
