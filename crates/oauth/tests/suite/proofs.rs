//! Proofs of possession: the examples of RFC 9449, and every way in which one does not fit.

use keys::{SigningKey, VerifyingKey};
use oauth::dpop::{DpopExpect, JTI_MAX, TYP, VerifiedProof, make_proof, verify_proof};
use oauth::jws::JwsError;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{NOW, base64, eddsa, es256, sign, unbase64, with};

const URL: &str = "https://chancery.example/mcp/payments";
const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";

/// The `ath` of that token, from RFC 9449 §7.1.
const ATH: &str = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo";

const RFC_4_1: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";

const RFC_7_1: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";

fn expect() -> DpopExpect<'static> {
    DpopExpect { method: "POST", url: URL, access_token: Some(TOKEN), now: NOW, max_skew_s: 60 }
}

fn header(key: &SigningKey) -> Value {
    let alg = key.verifying().algorithm().as_str();
    json!({ "alg": alg, "typ": TYP, "jwk": key.verifying().to_jwk() })
}

fn claims() -> Value {
    json!({ "htm": "POST", "htu": URL, "iat": NOW, "jti": "once", "ath": ATH })
}

/// What a proof with this claim in place of the right one gets.
fn with_claim(name: &str, value: impl Into<Value>) -> Result<VerifiedProof, JwsError> {
    let key = es256();
    verify_proof(&sign(&header(&key), &with(&claims(), name, value), &key), &expect())
}

#[track_caller]
fn refuse(name: &'static str, value: impl Into<Value>) {
    let value = value.into();
    assert_eq!(with_claim(name, value.clone()), Err(JwsError::Claim(name)), "{value}");
}

#[test]
fn the_proof_of_rfc_9449_4_1() {
    let expect = DpopExpect {
        method: "POST",
        url: "https://server.example.com/token",
        access_token: None,
        now: 1_562_262_616,
        max_skew_s: 60,
    };
    let proof = verify_proof(RFC_4_1, &expect).unwrap();
    assert_eq!(proof.jti, "-BwC3ESc6acc2lTc");
    assert_eq!((proof.iat, proof.nonce), (1_562_262_616, None));
    assert_eq!(base64(proof.thumbprint), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}

/// With the access token of the example, and the thumbprint to which it is bound (§6.1).
#[test]
fn the_proof_of_rfc_9449_7_1() {
    let expect = DpopExpect {
        method: "GET",
        url: "https://resource.example.org/protectedresource",
        access_token: Some(TOKEN),
        now: 1_562_262_618,
        max_skew_s: 60,
    };
    let proof = verify_proof(RFC_7_1, &expect).unwrap();
    assert_eq!(proof.jti, "e1j3V_bKic8-LAEB");
    assert_eq!(base64(proof.thumbprint), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    let other = DpopExpect { access_token: Some("another"), ..expect };
    assert_eq!(verify_proof(RFC_7_1, &other), Err(JwsError::Claim("ath")));
}

#[test]
fn a_proof_of_ours_holds() {
    for key in [es256(), eddsa()] {
        let made = make_proof(&key, &expect(), ("id", Some("nonce"))).unwrap();
        let proof = verify_proof(&made, &expect()).unwrap();
        let nonce = Some("nonce".to_owned());
        let (thumbprint, key) = (key.verifying().thumbprint(), key.verifying().clone());
        assert_eq!(proof, VerifiedProof { key, thumbprint, jti: "id".to_owned(), iat: NOW, nonce });
    }
    assert!(with_claim("nonce", Value::Null).unwrap().nonce.is_none());
}

#[test]
fn n_144_another_url_is_refused() {
    let others = [
        "https://chancery.example/mcp/payment",
        "https://chancery.example/mcp/payments/",
        "https://chancery.example/mcp/Payments",
        "https://chancery.example/mcp//payments",
        "https://chancery.example/mcp/./payments",
        "https://chancery.example/mcp/x/../payments",
        "https://chancery.example/mcp/p%61yments",
        "https://chancery.example/mcp%2Fpayments",
        "https://chancery.example:8443/mcp/payments",
        "https://chancery.example:80/mcp/payments",
        "https://chancery.example:65979/mcp/payments",
        "https://chancery.example:+443/mcp/payments",
        "https://chancery.example:443x/mcp/payments",
        "https://chancery.example:99999/mcp/payments",
        "http://chancery.example/mcp/payments",
        "wss://chancery.example/mcp/payments",
        "https://chancery.example.evil.example/mcp/payments",
        "https://evil.example/mcp/payments",
        "https://chancery.example@evil.example/mcp/payments",
        "https://user@chancery.example/mcp/payments",
        "https://chancery.example./mcp/payments",
        "https://xn--chancery.example/mcp/payments",
        "https://chаncery.example/mcp/payments",
        "https://[::1]/mcp/payments",
        "//chancery.example/mcp/payments",
        "/mcp/payments",
        "chancery.example/mcp/payments",
        "https://chancery.example",
        "https:///mcp/payments",
        " https://chancery.example/mcp/payments",
        "https://chancery.example/mcp/payments ",
        "https://chancery.example\\mcp\\payments",
        "",
    ];
    for other in others {
        refuse("htu", other);
    }
    for other in [json!(null), json!(1), json!([URL]), json!({ "url": URL })] {
        refuse("htu", other);
    }
}

/// RFC 9449 §4.3 leaves out query and fragment; RFC 3986 §6.2 the rest.
#[test]
fn n_144_other_spellings_of_the_same_url_are_taken() {
    for same in [
        URL,
        "https://chancery.example/mcp/payments?x=1",
        "https://chancery.example/mcp/payments#part",
        "https://chancery.example/mcp/payments?x=1#part",
        "HTTPS://Chancery.EXAMPLE/mcp/payments",
        "https://chancery.example:443/mcp/payments",
        "https://chancery.example:/mcp/payments",
    ] {
        assert!(with_claim("htu", same).is_ok(), "{same}");
    }
}

#[test]
fn n_144_addresses_in_brackets_and_percent_case() {
    let check = |expected: &str, claimed: &str, taken: bool| {
        let key = es256();
        let proof = sign(&header(&key), &with(&claims(), "htu", claimed), &key);
        let expect = DpopExpect { url: expected, ..expect() };
        assert_eq!(verify_proof(&proof, &expect).is_ok(), taken, "{claimed} for {expected}");
    };
    check("http://[::1]:8420/mcp/a", "http://[::1]:8420/mcp/a", true);
    check("http://[::1]:8420/mcp/a", "http://[::1]/mcp/a", false);
    check("http://[::1]:8420/mcp/a", "http://[0:0:0:0:0:0:0:1]:8420/mcp/a", false);
    check("http://[::1]:8420/mcp/a", "http://127.0.0.1:8420/mcp/a", false);
    check("http://127.0.0.1:80/mcp/a", "http://127.0.0.1/mcp/a", true);
    check("http://127.0.0.1/mcp/a", "http://2130706433/mcp/a", false);
    check("https://a.example/%2f", "https://a.example/%2F", false);
    check("https://a.example", "https://a.example/", true);
}

#[test]
fn n_145_another_method_is_refused() {
    for other in ["post", "Post", "GET", "POST ", "PO\u{0}ST", "", "POST,GET", "ＰＯＳＴ"] {
        refuse("htm", other);
    }
    for other in [json!(null), json!(["POST"]), json!(1)] {
        refuse("htm", other);
    }
}

#[test]
fn n_146_a_proof_of_another_time_is_refused() {
    for off in [0, 1, -1, 59, -59, 60, -60] {
        assert!(with_claim("iat", NOW + off).is_ok(), "{off}");
    }
    for off in [61, -61, 3_600, -3_600] {
        refuse("iat", NOW + off);
    }
}

#[test]
fn n_027_a_time_that_is_no_whole_number_is_refused() {
    for iat in [
        json!(NOW.to_string()),
        json!("1764000000"),
        json!(1_764_000_000.5),
        json!(-1),
        json!(-1_764_000_000),
        json!(-1_000_000_000_000_000_000_i64),
        json!(10_000_000_000_000_000_000_u64),
        json!(true),
        json!([NOW]),
        json!(null),
    ] {
        refuse("iat", iat);
    }
    let key = es256();
    let text = |iat: &str| {
        let claims = claims().to_string().replace(&NOW.to_string(), iat);
        crate::support::sign_texts(&header(&key).to_string(), &claims, &key)
    };
    for inexact in ["1e400", "-1e400", "9223372036854775808", "9007199254740993", "NaN", "01"] {
        let refused = verify_proof(&text(inexact), &expect());
        assert_eq!(refused, Err(JwsError::NotJson("claims")), "{inexact}");
    }
    for whole in ["1e18", "1e19", "1e300"] {
        assert_eq!(verify_proof(&text(whole), &expect()), Err(JwsError::Claim("iat")), "{whole}");
    }
    // Another spelling of the same whole number is the same time.
    assert!(verify_proof(&text("1764000000.0"), &expect()).is_ok());
    assert!(verify_proof(&text("1.764e9"), &expect()).is_ok());
}

#[test]
fn n_147_a_missing_or_other_ath_is_refused() {
    for other in [json!(null), json!(""), json!(1), json!([ATH]), json!(TOKEN)] {
        refuse("ath", other);
    }
    for other in [format!("{ATH}="), ATH[..42].to_owned(), ATH.to_lowercase(), format!(" {ATH}")] {
        refuse("ath", other);
    }
    // The hash as hexadecimal, and that of another token.
    let hex: String = format!("{:02x?}", unbase64(ATH)).replace([',', ' ', '[', ']'], "");
    refuse("ath", hex);
    refuse("ath", base64([0; 32]));
}

#[test]
fn n_148_a_private_symmetric_or_other_key_is_refused() {
    let key = es256();
    let jwk = key.verifying().to_jwk();
    let others = [
        with(&jwk, "d", base64([1; 32])),
        with(&jwk, "k", base64([1; 32])),
        json!({ "kty": "oct", "k": base64([1; 32]) }),
        json!({ "kty": "RSA", "n": base64([0xff; 64]), "e": "AQAB" }),
        with(&jwk, "crv", "P-384"),
        with(&jwk, "alg", "ES384"),
        with(&jwk, "use", "enc"),
        with(&jwk, "x", base64([0; 32])),
        with(&jwk, "y", Value::Null),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": base64([0; 32]) }),
        json!("a key"),
        json!([jwk.clone()]),
        json!({}),
        Value::Null,
    ];
    for other in others {
        let proof = sign(&with(&header(&key), "jwk", other.clone()), &claims(), &key);
        assert_eq!(verify_proof(&proof, &expect()), Err(JwsError::UnknownKey), "{other}");
    }
}

/// Whoever can put any signature below the identity point's key proves nothing.
#[test]
fn n_148_a_forged_proof_under_a_key_of_small_order_is_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(identity) });
    let header = json!({ "alg": "EdDSA", "typ": TYP, "jwk": jwk });
    let input = format!("{}.{}", base64(header.to_string()), base64(claims().to_string()));
    // R is the identity and S is zero: it verifies for every message where such keys are taken.
    let signature = [identity, [0; 32]].concat();
    let proof = format!("{input}.{}", base64(signature));
    assert_eq!(verify_proof(&proof, &expect()), Err(JwsError::UnknownKey));
}

#[test]
fn a_proof_is_signed_by_the_key_that_it_brings() {
    let (ours, theirs) = (es256(), es256());
    let proof = sign(&header(&theirs), &claims(), &ours);
    assert_eq!(verify_proof(&proof, &expect()), Err(JwsError::WrongSignature));
    let other_kind = sign(&header(&eddsa()), &claims(), &ours);
    assert_eq!(verify_proof(&other_kind, &expect()), Err(JwsError::WrongSignature));
    let other_alg = sign(&with(&header(&ours), "alg", "EdDSA"), &claims(), &ours);
    assert_eq!(verify_proof(&other_alg, &expect()), Err(JwsError::WrongAlgorithm));
}

#[test]
fn n_020_n_023_a_proof_is_read_as_strictly_as_a_token() {
    let key = es256();
    for alg in ["none", "None", "HS256", "RS256", ""] {
        let proof = sign(&with(&header(&key), "alg", alg), &claims(), &key);
        assert_eq!(verify_proof(&proof, &expect()), Err(JwsError::WrongAlgorithm));
    }
    for (name, value) in [
        ("jku", json!("https://evil.example")),
        ("x5u", json!("https://evil.example")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
    ] {
        let proof = sign(&with(&header(&key), name, value), &claims(), &key);
        assert_eq!(verify_proof(&proof, &expect()), Err(JwsError::HeaderMember(name)));
    }
}

#[test]
fn n_028_a_token_is_no_proof() {
    let key = es256();
    for typ in ["at+jwt", "JWT", "dpop+JWT", "DPOP+JWT", "dpop"] {
        let proof = sign(&with(&header(&key), "typ", typ), &claims(), &key);
        assert_eq!(verify_proof(&proof, &expect()), Err(JwsError::WrongType(TYP)));
    }
    let untyped = sign(&with(&header(&key), "typ", Value::Null), &claims(), &key);
    assert_eq!(verify_proof(&untyped, &expect()), Err(JwsError::WrongType(TYP)));
}

#[test]
fn a_jti_is_a_text_of_bearable_length() {
    assert_eq!(with_claim("jti", "x".repeat(JTI_MAX)).unwrap().jti.len(), JTI_MAX);
    for jti in [json!("x".repeat(JTI_MAX + 1)), json!(""), json!(null), json!(1), json!(["once"])] {
        refuse("jti", jti);
    }
}

/// A nonce that is no text is none, so it never equals one that was demanded.
#[test]
fn a_nonce_that_is_no_text_is_none() {
    for nonce in [json!(1), json!(["nonce"]), json!({ "nonce": 1 }), json!(true)] {
        assert_eq!(with_claim("nonce", nonce).unwrap().nonce, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// A proof holds for exactly what it was made for.
    #[test]
    fn a_proof_is_for_one_request(
        methods in prop::array::uniform2("GET|POST|DELETE"),
        paths in prop::array::uniform2("/[a-c]{0,2}"),
        tokens in prop::array::uniform2("[a-b]{1,2}"),
        off in -70_i64..70,
    ) {
        let key: SigningKey = eddsa();
        let of = |at: usize, url: &'static str| DpopExpect {
            method: ["GET", "POST", "DELETE"].into_iter().find(|m| *m == methods[at]).unwrap(),
            url,
            access_token: None,
            now: NOW,
            max_skew_s: 60,
        };
        let urls = paths.each_ref().map(|path| format!("https://a.example{path}"));
        let made = DpopExpect { url: &urls[0], access_token: Some(&tokens[0]), ..of(0, "") };
        let asked = DpopExpect { url: &urls[1], access_token: Some(&tokens[1]), now: NOW + off, ..of(1, "") };
        let proof = make_proof(&key, &made, ("id", None)).unwrap();
        let same = methods[0] == methods[1] && paths[0] == paths[1] && tokens[0] == tokens[1];
        prop_assert_eq!(verify_proof(&proof, &asked).is_ok(), same && off.abs() <= 60);
    }
}

/// The key in a proof is read as any other key is.
#[test]
fn the_thumbprint_is_that_of_the_key_in_the_proof() {
    let key = es256();
    let adorned = with(&key.verifying().to_jwk(), "kid", "something else");
    let proof = sign(&with(&header(&key), "jwk", adorned.clone()), &claims(), &key);
    let read = VerifyingKey::from_jwk(&adorned).unwrap();
    assert_eq!(verify_proof(&proof, &expect()).unwrap().thumbprint, read.thumbprint());
}
