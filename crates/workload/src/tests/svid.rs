//! JWT-SVIDs: whose bundle verifies them.

use serde_json::{Value, json};

use super::signing::TestKey;
use super::{Files, US, token, told, with, workload};

const PATH: &str = "/ns/payments/sa/bot";

/// Two trust domains, each with a key under the same name.
fn two(ours: &TestKey, theirs: &TestKey) -> Files {
    let files = Files::with(&[], &[ours.svid_jwk("k1")], |config| {
        let file = config["spiffe"][0]["bundle_file"].as_str().unwrap();
        let file = format!("{}/theirs", file.strip_suffix("/bundle").unwrap());
        let other = json!({ "trust_domain": "other.org", "audience": US, "bundle_file": file });
        config["spiffe"].as_array_mut().unwrap().push(other);
    });
    files.write("theirs", &[theirs.svid_jwk("k1"), theirs.svid_jwk("k2")]);
    files
}

async fn check(files: &Files, of: &str, (kid, key): (&str, &TestKey), expected: &str) {
    let claims = with(&workload(), "sub", format!("{of}{PATH}"));
    let found = files.world.svid(&token(kid, &claims, key)).await;
    assert_eq!(told(&found), expected, "{of} by {kid}");
}

/// The subject says whose keys are to verify, and keys of several trust domains are never one set.
#[tokio::test]
async fn n_037_a_trust_domain_vouches_for_its_own_and_nobody_elses() {
    let (ours, theirs) = (TestKey::new("ES256"), TestKey::new("ES256"));
    let files = two(&ours, &theirs);
    check(&files, "spiffe://example.org", ("k1", &ours), "ok").await;
    check(&files, "spiffe://other.org", ("k1", &theirs), "ok").await;
    check(&files, "spiffe://example.org", ("k1", &theirs), "signature").await;
    check(&files, "spiffe://other.org", ("k1", &ours), "signature").await;
    check(&files, "spiffe://example.org", ("k2", &theirs), "key_unasked").await;
}

/// Also where the signature verifies by a key that we have of another.
#[tokio::test]
async fn n_037_a_foreign_trust_domain_is_refused() {
    let (ours, theirs) = (TestKey::new("ES256"), TestKey::new("ES256"));
    let files = two(&ours, &theirs);
    for foreign in [
        "spiffe://evil.org",
        "spiffe://example.org.evil.org",
        "spiffe://sub.example.org",
        "spiffe://example",
        "spiffe://example.org.",
    ] {
        check(&files, foreign, ("k1", &ours), "foreign_trust_domain").await;
        check(&files, foreign, ("k1", &theirs), "foreign_trust_domain").await;
    }
}

#[tokio::test]
async fn a_subject_is_the_spiffe_id_of_a_workload() {
    let key = TestKey::new("ES256");
    let files = two(&key, &key);
    for wrong in [
        "spiffe://EXAMPLE.org",
        "SPIFFE://example.org",
        "https://example.org",
        "spiffe:/example.org",
        "spiffe://user@example.org",
        "spiffe://example.org:443",
        "spiffe://example.org/",
        "spiffe://example.org/.",
        "spiffe://example.org/..",
        "spiffe://",
        "spiffe:///example.org",
    ] {
        check(&files, wrong, ("k1", &key), "not_spiffe_id").await;
    }
    let whole = with(&workload(), "sub", "spiffe://example.org");
    assert_eq!(told(&files.world.svid(&token("k1", &whole, &key)).await), "not_spiffe_id");
}

/// A bundle also holds the keys of X.509-SVIDs, and others that are not for us.
#[tokio::test]
async fn a_bundles_key_is_for_jwt_svids() {
    let key = TestKey::new("ES256");
    for (name, value, expected) in [
        ("use", json!("jwt-svid"), "ok"),
        ("use", json!("x509-svid"), "unknown_key"),
        ("use", json!("wit-svid"), "unknown_key"),
        ("use", json!("sig"), "unknown_key"),
        ("use", Value::Null, "unknown_key"),
        ("key_ops", json!(["verify"]), "ok"),
        ("key_ops", json!(["sign"]), "unknown_key"),
        ("kid", Value::Null, "unknown_key"),
    ] {
        let files = Files::new(&[], &[with(&key.svid_jwk("k1"), name, value.clone())]);
        let found = files.world.svid(&token("k1", &workload(), &key)).await;
        assert_eq!(told(&found), expected, "{name} = {value}");
    }
}

/// What a bundle says beside its keys is for those who federate.
#[tokio::test]
async fn a_bundle_file_is_as_spire_writes_it() {
    let key = TestKey::new("ES256");
    let files = Files::new(&[], &[]);
    let x509 = json!({ "use": "x509-svid", "kty": "EC", "crv": "P-256", "x": "x", "x5c": ["M"] });
    let bundle = json!({
        "keys": [x509, key.svid_jwk("k1")],
        "spiffe_sequence": 7,
        "spiffe_refresh_hint": 300,
    });
    files.write_text("bundle", &bundle.to_string());
    assert_eq!(told(&files.world.svid(&token("k1", &workload(), &key)).await), "ok");
}
