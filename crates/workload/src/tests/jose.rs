//! The header chooses nothing, and there is one reading.

use ::keys::base64url;
use aws_lc_rs::hmac;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::signing::{ALGORITHMS, TestKey};
use super::{Files, NOW, account, sign, sign_texts, token, told, with, workload};
use crate::VerifyError;

/// The keys by which the tokens of these tests are signed, by both platforms.
fn files(key: &TestKey) -> Files {
    Files::new(&[key.jwk("k1")], &[key.svid_jwk("k1")])
}

/// What becomes of a token with this header, by both platforms.
async fn under(files: &Files, header: &Value, key: &TestKey) -> [&'static str; 2] {
    let oidc = files.world.oidc(&sign(header, &account(), key)).await;
    let svid = files.world.svid(&sign(header, &workload(), key)).await;
    [told(&oidc), told(&svid)]
}

async fn check(header: Value, expected: &str) {
    let key = TestKey::new("ES256");
    assert_eq!(under(&files(&key), &header, &key).await, [expected; 2], "{header}");
}

#[tokio::test]
async fn a_token_is_taken_by_each_algorithm_that_its_platform_has() {
    for alg in ALGORITHMS {
        let key = TestKey::new(alg);
        let oidc = ["RS256", "PS256", "ES256", "ES384", "EdDSA"].contains(&alg);
        let expected = |may| if may { "ok" } else { "algorithm" };
        let found = under(&files(&key), &json!({ "alg": alg, "kid": "k1" }), &key).await;
        assert_eq!(found, [expected(oidc), expected(alg != "EdDSA")], "{alg}");
    }
}

#[tokio::test]
async fn n_020_a_token_without_algorithm_or_signature_is_refused() {
    for alg in ["none", "None", "nOnE", "NONE", "", " none", "none\u{0}"] {
        check(json!({ "alg": alg, "kid": "k1" }), "algorithm").await;
    }
    check(json!({ "kid": "k1" }), "algorithm").await;
    for alg in [json!(null), json!(1), json!(["ES256"]), json!({ "ES256": 1 }), json!(true)] {
        check(json!({ "alg": alg, "kid": "k1" }), "algorithm").await;
    }

    let key = TestKey::new("ES256");
    let files = files(&key);
    let signed = token("k1", &account(), &key);
    let (input, signature) = signed.rsplit_once('.').unwrap();
    for wrong in ["", "AA", "AAAA", &"A".repeat(86)] {
        let found = files.world.oidc(&format!("{input}.{wrong}")).await;
        assert_eq!(told(&found), "signature", "{wrong}");
    }
    assert_eq!(told(&files.world.oidc(input).await), "unreadable");
    assert_eq!(told(&files.world.oidc(&format!("{input}.{signature}")).await), "ok");
}

/// A public key, however it is written down, is no HMAC key here: there is no HMAC.
#[tokio::test]
async fn n_021_a_public_key_is_never_a_shared_secret() {
    for key in [TestKey::new("RS256"), TestKey::new("ES256")] {
        let files = files(&key);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", "MIIB");
        let spellings = [
            key.public().to_string(),
            key.jwk("k1").to_string(),
            format!(" \r\n{pem}"),
            format!("\u{feff}{pem}"),
            pem,
        ];
        for secret in spellings {
            for alg in ["HS256", "HS384", "HS512", "hs256", key.alg] {
                for claims in [account(), workload()] {
                    let header = json!({ "alg": alg, "kid": "k1" }).to_string();
                    let claims = claims.to_string();
                    let input = [header, claims].map(|part| base64url(part.as_bytes())).join(".");
                    let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
                    let tag = hmac::sign(&secret, input.as_bytes());
                    let token = format!("{input}.{}", base64url(tag.as_ref()));
                    let expected = if alg == key.alg { "signature" } else { "algorithm" };
                    let oidc = files.world.oidc(&token).await;
                    let svid = files.world.svid(&token).await;
                    assert!([told(&oidc), told(&svid)].contains(&expected), "{alg}");
                    assert!(oidc.is_err() && svid.is_err());
                }
            }
        }
    }
}

#[tokio::test]
async fn n_022_an_algorithm_that_nobody_has_is_refused() {
    let unknown =
        ["XX256", "ES256K", "RS1", "HS256", "Ed25519", "es256", "ES256 ", "dir", "A128KW"];
    for alg in unknown {
        check(json!({ "alg": alg, "kid": "k1" }), "algorithm").await;
    }
}

/// Every key, under the name of every other algorithm: by none but its own kind's, and by one alone
/// where its JWK says so.
#[tokio::test]
async fn n_022_a_key_verifies_by_its_own_algorithms_alone() {
    for alg in ALGORITHMS {
        let key = TestKey::new(alg);
        let said = Files::new(&[key.jwk("k1")], &[with(&key.svid_jwk("k1"), "alg", alg)]);
        let unsaid = Files::new(&[with(&key.jwk("k1"), "alg", Value::Null)], &[]);
        for named in ALGORITHMS.into_iter().filter(|named| *named != alg) {
            let header = json!({ "alg": named, "kid": "k1" });
            for found in under(&said, &header, &key).await {
                assert_eq!(found, "algorithm", "{alg} as {named}");
            }
            let is_rsa = |alg: &str| alg.starts_with("RS") || alg.starts_with("PS");
            let found = unsaid.world.oidc(&sign(&header, &account(), &key)).await;
            let same = is_rsa(alg) && ["RS256", "PS256"].contains(&named);
            let expected = if same { "signature" } else { "algorithm" };
            assert_eq!(told(&found), expected, "{alg} as {named}");
        }
    }
    // An RSA key of which nothing is said signs by what the issuer may sign by.
    let key = TestKey::new("RS256");
    let unsaid = Files::new(&[with(&key.jwk("k1"), "alg", Value::Null)], &[key.svid_jwk("k1")]);
    for (alg, expected) in [("PS256", ["ok", "ok"]), ("PS384", ["algorithm", "ok"])] {
        let header = json!({ "alg": alg, "kid": "k1" });
        assert_eq!(under(&unsaid, &header, &key.by(alg)).await, expected, "{alg}");
    }
}

#[tokio::test]
async fn n_022_an_issuer_signs_by_the_algorithms_that_it_may_and_no_others() {
    let key = TestKey::new("RS256");
    let files = Files::with(&[with(&key.jwk("k1"), "alg", Value::Null)], &[], |config| {
        config["oidc"][0]["algorithms"] = json!(["ES256", "PS256"]);
    });
    assert_eq!(told(&files.world.oidc(&token("k1", &account(), &key)).await), "algorithm");
    let found = files.world.oidc(&token("k1", &account(), &key.by("PS256"))).await;
    assert_eq!(told(&found), "ok");
}

/// Refused before anybody is asked for a key: see also `n_023_nothing_that_a_token_offers_is_fetched`.
#[tokio::test]
async fn n_023_keys_that_a_token_offers_are_refused() {
    let theirs = TestKey::new("ES256");
    let offers = [
        ("jwk", theirs.jwk("k1")),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["MIIB"])),
    ];
    for (name, offer) in offers {
        let header = json!({ "alg": "ES256", "kid": "k1", name: offer });
        check(header.clone(), "unreadable").await;
        let key = TestKey::new("ES256");
        assert_eq!(under(&files(&key), &header, &theirs).await, ["unreadable"; 2]);
    }
}

/// GitHub and Entra name their certificates so. It brings nothing along.
#[tokio::test]
async fn a_thumbprint_of_a_certificate_is_no_matter_to_an_issuers_token() {
    for name in ["x5t", "x5t#S256"] {
        let key = TestKey::new("ES256");
        let header = |kid: &str| json!({ "alg": "ES256", "kid": kid, name: "dGh1bWI" });
        let found = under(&files(&key), &header("k1"), &key).await;
        assert_eq!(found, ["ok", "header_member"]);
        let found = under(&files(&key), &header("k2"), &key).await;
        assert_eq!(found, ["unknown_key", "header_member"]);
    }
    // JWT-SVID §2 lets nothing stand in a header but what it names.
    let key = TestKey::new("ES256");
    let header = json!({ "alg": "ES256", "kid": "k1", "cty": "JWT" });
    assert_eq!(under(&files(&key), &header, &key).await, ["ok", "header_member"]);
}

#[tokio::test]
async fn n_024_a_kid_is_a_name_and_nothing_else() {
    let long = "k".repeat(10_000 / 2);
    let names = [
        "../../../../dev/null",
        "/etc/passwd",
        "' OR 1=1 --",
        "k1' --",
        "k1\u{0}",
        "K1",
        " k1",
        "",
        "https://evil.example/k1",
        "*",
        &long,
    ];
    for kid in names {
        check(json!({ "alg": "ES256", "kid": kid }), "unknown_key").await;
    }
    for kid in [json!(null), json!(1), json!(["k1"]), json!({ "k1": 1 })] {
        check(json!({ "alg": "ES256", "kid": kid }), "unknown_key").await;
    }
}

#[tokio::test]
async fn n_024_two_keys_of_one_name_are_no_keys() {
    let (one, other) = (TestKey::new("ES256"), TestKey::new("ES256"));
    let files =
        Files::new(&[one.jwk("k1"), other.jwk("k1")], &[one.svid_jwk("k1"), other.svid_jwk("k1")]);
    for key in [&one, &other] {
        let header = json!({ "alg": "ES256", "kid": "k1" });
        assert_eq!(under(&files, &header, key).await, ["keys_unavailable"; 2]);
    }
}

#[tokio::test]
async fn a_token_names_its_key_where_there_are_several() {
    let (one, other) = (TestKey::new("ES256"), TestKey::new("ES256"));
    let nameless = json!({ "alg": "ES256" });
    assert_eq!(under(&files(&one), &nameless, &one).await, ["ok"; 2]);
    let both =
        Files::new(&[one.jwk("k1"), other.jwk("k2")], &[one.svid_jwk("k1"), other.svid_jwk("k2")]);
    assert_eq!(under(&both, &nameless, &one).await, ["unknown_key"; 2]);
    assert_eq!(under(&both, &json!({ "alg": "ES256", "kid": "k2" }), &other).await, ["ok"; 2]);
    assert_eq!(under(&both, &json!({ "alg": "ES256", "kid": "k2" }), &one).await, ["signature"; 2]);
    // A key without a name is meant by who names none; in a bundle it is no key.
    let unnamed = Files::new(
        &[with(&one.jwk("k1"), "kid", Value::Null)],
        &[with(&one.svid_jwk("k1"), "kid", Value::Null)],
    );
    assert_eq!(under(&unnamed, &nameless, &one).await, ["ok", "unknown_key"]);
}

#[tokio::test]
async fn n_025_critical_and_repeated_header_members_are_refused() {
    let members = [
        ("crit", json!(["exp"])),
        ("crit", json!(["b64"])),
        ("crit", json!([])),
        ("crit", json!(["urn:example:unknown"])),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
    ];
    for (name, member) in members {
        check(json!({ "alg": "ES256", "kid": "k1", name: member }), "unreadable").await;
    }
    let key = TestKey::new("ES256");
    let files = files(&key);
    for header in [
        r#"{"alg":"ES256","kid":"k1","kid":"k1"}"#,
        r#"{"alg":"none","alg":"ES256","kid":"k1"}"#,
        r#"{"alg":"ES256","\u0061lg":"ES256","kid":"k1"}"#,
        r#"{"alg":"ES256","Alg":"none","kid":"k1"}"#,
        "[]",
        "\u{feff}{}",
        "",
    ] {
        let found = files.world.oidc(&sign_texts(header, &account().to_string(), &key)).await;
        assert_eq!(told(&found), "unreadable", "{header}");
    }
}

#[tokio::test]
async fn n_026_repeated_claims_are_refused() {
    let key = TestKey::new("ES256");
    let files = files(&key);
    let header = json!({ "alg": "ES256", "kid": "k1" }).to_string();
    let oidc = account().to_string();
    for twice in [
        r#"{"sub":"system:serviceaccount:payments:bot","#,
        r#"{"\u0073ub":"admin","#,
        r#"{"Sub":"admin","#,
        r#"{"iss":"https://evil.example","#,
        r#"{"aud":"other","#,
    ] {
        let claims = oidc.replacen('{', twice, 1);
        let found = files.world.oidc(&sign_texts(&header, &claims, &key)).await;
        assert_eq!(told(&found), "unreadable", "{twice}");
        let claims = workload().to_string().replacen('{', twice, 1);
        let found = files.world.svid(&sign_texts(&header, &claims, &key)).await;
        let expected = if twice.contains("iss") { "ok" } else { "unreadable" };
        assert_eq!(told(&found), expected, "{twice}");
    }
    let nested = oidc.replace(r#""namespace":"#, r#""namespace":"admin","namespace":"#);
    let found = files.world.oidc(&sign_texts(&header, &nested, &key)).await;
    assert_eq!(told(&found), "unreadable");
}

#[tokio::test]
async fn n_026_another_spelling_of_the_same_token_is_refused() {
    let key = TestKey::new("ES256");
    let files = files(&key);
    let signed = token("k1", &account(), &key);
    let parts: Vec<&str> = signed.split('.').collect();
    let spellings = [
        format!("{signed}="),
        format!("{signed}\n"),
        format!(" {signed}"),
        format!("{signed}."),
        format!("{signed}.e30"),
        format!("{}=.{}.{}", parts[0], parts[1], parts[2]),
        signed.replace('-', "+").replace('_', "/") + "+",
        json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string(),
        json!({
            "payload": parts[1],
            "signatures": [{ "protected": parts[0], "signature": parts[2] }],
        })
        .to_string(),
        String::new(),
        "..".to_owned(),
        ".".repeat(1_000),
        "a".repeat(9_000),
    ];
    for spelling in spellings {
        let found = files.world.oidc(&spelling).await;
        assert_eq!(told(&found), "unreadable", "{spelling}");
        assert_eq!(told(&files.world.svid(&spelling).await), "unreadable", "{spelling}");
    }
}

/// Five parts, as an encrypted token has, and its header.
#[tokio::test]
async fn an_encrypted_token_is_never_accepted() {
    let key = TestKey::new("ES256");
    let files = files(&key);
    let header = base64url(br#"{"alg":"RSA-OAEP","enc":"A256GCM","kid":"k1"}"#);
    for token in [format!("{header}.AAAA.AAAA.AAAA.AAAA"), format!("{header}.AAAA.AAAA")] {
        assert_eq!(told(&files.world.oidc(&token).await), "unreadable");
        assert_eq!(told(&files.world.svid(&token).await), "unreadable");
    }
}

#[tokio::test]
async fn n_028_a_token_of_another_type_is_refused() {
    let header = |typ: &str| json!({ "alg": "ES256", "kid": "k1", "typ": typ });
    check(header("JWT"), "ok").await;
    for typ in [
        "at+jwt",
        "application/at+jwt",
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "txntoken+jwt",
        "wit+jwt",
        "wpt+jwt",
        "oauth-id-jag+jwt",
        "client-authentication+jwt",
        "JWT ",
        "JWE",
        "",
    ] {
        check(header(typ), "unreadable").await;
    }
    for typ in [json!(null), json!(1), json!(["JWT"])] {
        check(json!({ "alg": "ES256", "kid": "k1", "typ": typ }), "unreadable").await;
    }
    // JWT-SVID §2.3 knows one more.
    let key = TestKey::new("ES256");
    assert_eq!(under(&files(&key), &header("JOSE"), &key).await, ["unreadable", "ok"]);
    assert_eq!(under(&files(&key), &header("jwt"), &key).await, ["ok", "unreadable"]);
}

/// What is a token to log out, or bound to a key, does not always say so in its type.
#[tokio::test]
async fn n_028_a_token_of_another_kind_is_refused_by_its_claims() {
    let key = TestKey::new("ES256");
    let files = files(&key);
    let logout = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    for (name, claim) in [
        ("events", logout),
        ("events", json!(null)),
        ("cnf", json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" })),
    ] {
        let mut claims = [account(), workload()];
        for claims in &mut claims {
            claims[name] = claim.clone();
        }
        let [oidc, svid] = claims;
        let found = files.world.oidc(&token("k1", &oidc, &key)).await;
        assert_eq!(found, Err(VerifyError::OtherKind(name)));
        let found = files.world.svid(&token("k1", &svid, &key)).await;
        assert_eq!(found, Err(VerifyError::OtherKind(name)));
    }
    // One kind as the other.
    assert_eq!(told(&files.world.svid(&token("k1", &account(), &key)).await), "not_spiffe_id");
    assert_eq!(told(&files.world.oidc(&token("k1", &workload(), &key)).await), "claim");
    // The trust domain's key is not the issuer's, whatever the token calls itself.
    let spiffe = TestKey::new("ES256");
    let apart = Files::new(&[key.jwk("k1")], &[spiffe.svid_jwk("k1")]);
    let both = with(&account(), "sub", "spiffe://example.org/ns/payments/sa/bot");
    let signed = token("k1", &both, &key);
    assert_eq!(told(&apart.world.svid(&signed).await), "signature");
    assert_eq!(told(&apart.world.oidc(&signed).await), "ok");
    let signed = token("k1", &both, &spiffe);
    assert_eq!(told(&apart.world.oidc(&signed).await), "signature");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is changed of a token, by one byte or many: it is that token, or none.
    #[test]
    fn no_other_token_is_taken_for_a_signed_one(
        at in 0_usize..2_000, byte in any::<u8>(), cut in 0_usize..2_000, keep in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let key = TestKey::new("ES256");
            let files = files(&key);
            let signed = [token("k1", &account(), &key), token("k1", &workload(), &key)];
            for (number, signed) in signed.into_iter().enumerate() {
                let mut bytes = signed.clone().into_bytes();
                let length = bytes.len();
                if keep { bytes[at % length] = byte } else { bytes.truncate(cut % length) }
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                if changed == signed { continue }
                let found = match number {
                    0 => files.world.oidc(&changed).await,
                    _ => files.world.svid(&changed).await,
                };
                assert!(found.is_err(), "{changed}");
            }
        });
    }

    /// Whoever has no key of a platform has no identity, whatever the claims and the header say.
    #[test]
    fn nobody_signs_for_a_platform_but_it(alg in 0_usize..10, named in 0_usize..10, kid: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, theirs) = (TestKey::new("ES384"), TestKey::other_rsa("RS256"));
            let files = Files::new(
                &[ours.jwk("k1"), TestKey::new("RS256").jwk("k2")],
                &[ours.svid_jwk("k1"), TestKey::new("RS256").svid_jwk("k2")],
            );
            let theirs = match ALGORITHMS[alg] {
                rsa if rsa.starts_with("RS") || rsa.starts_with("PS") => theirs.by(rsa),
                other => TestKey::new(other),
            };
            let kid = if kid { "k1" } else { "k2" };
            let header = json!({ "alg": ALGORITHMS[named], "kid": kid });
            for found in under(&files, &header, &theirs).await {
                assert_ne!(found, "ok");
            }
        });
    }
}

/// What is refused says nothing of the token.
#[tokio::test]
async fn i_12_no_error_tells_what_a_token_holds() {
    let key = TestKey::new("ES256");
    let files = files(&key);
    let secret = "c4n4ry";
    let header = |name: &str| json!({ "alg": "ES256", "kid": name });
    let mut tokens = Vec::new();
    for name in ["iss", "sub", "aud", "exp", "jti", "kubernetes.io"] {
        tokens.push(sign(&header("k1"), &with(&account(), name, secret), &key));
    }
    tokens.push(sign(&header(secret), &account(), &key));
    tokens.push(sign(&json!({ "alg": secret }), &account(), &key));
    tokens.push(sign(&json!({ "alg": "ES256", "typ": secret }), &account(), &key));
    tokens.push(token("k1", &with(&account(), "exp", NOW - 60), &TestKey::new("ES256")));
    tokens.push(secret.repeat(3));
    for token in tokens {
        for found in [files.world.oidc(&token).await, files.world.svid(&token).await] {
            let Err(error) = found else { continue };
            let error: &dyn std::error::Error = &error;
            let causes = std::iter::successors(Some(error), |error| error.source());
            let text: Vec<_> = causes.map(|cause| format!("{cause} {cause:?}")).collect();
            let text = text.join(": ");
            assert!(!text.contains(secret) && !text.contains(&token), "{text}");
        }
    }
}
