//! Project Wycheproof's JWS vectors: every one is run. What we do not do is refused, and counted.

use std::collections::BTreeMap;

use crate::jws::{Foreign, JwsError};
use serde_json::Value;

use super::key::{PublicKey, Purpose};

const VECTORS: &str = include_str!("../../../../testdata/wycheproof/json_web_signature_test.json");

/// Whether the vector is taken under the key of its group, by the header rules and the signature.
/// Its payload is not looked at: it is mostly `foo`.
fn is_taken(key: &Value, jws: &str) -> bool {
    let key = key.as_object().and_then(|key| PublicKey::from_jwk(key, Purpose::Signatures));
    let Some(key) = key else { return false };
    let verified = Foreign::read(jws, &["JWT"]).and_then(|token| token.verified_by(&key));
    matches!(verified, Ok(_) | Err(JwsError::NotJson("claims")))
}

#[test]
fn wycheproof_vectors_are_taken_exactly_when_valid_and_of_an_algorithm_of_ours() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    // Of each algorithm: valid, and taken of them; invalid, of which none is.
    let mut counts = BTreeMap::<String, (u32, u32, u32)>::new();
    for group in vectors["testGroups"].as_array().unwrap() {
        let key = group.get("public").or_else(|| group.get("private")).unwrap();
        let algorithm = key["alg"].as_str().unwrap_or("no algorithm");
        let count = counts.entry(algorithm.to_owned()).or_default();
        for test in group["tests"].as_array().unwrap() {
            let taken = is_taken(key, test["jws"].as_str().unwrap_or_default());
            match test["result"].as_str().unwrap() {
                "valid" => {
                    count.0 += 1;
                    count.1 += u32::from(taken);
                }
                "invalid" => {
                    assert!(!taken, "{}: {} is taken", test["tcId"], test["comment"]);
                    count.2 += 1;
                }
                other => panic!("a vector is `{other}`"),
            }
        }
    }
    let expected = [
        ("ES256", (2, 2, 37)),
        ("ES521", (2, 0, 0)),
        ("HS256", (10, 0, 30)),
        // Two are signed by PS384 under a key that says PS256.
        ("PS256", (8, 6, 42)),
        ("PS384", (4, 4, 1)),
        ("PS512", (4, 4, 16)),
        ("RS256", (8, 8, 225)),
        ("RS384", (4, 4, 0)),
        ("RS512", (4, 4, 0)),
        ("no algorithm", (0, 0, 4)),
    ];
    assert_eq!(counts, expected.map(|(name, count)| (name.to_owned(), count)).into());
    let run: u32 = counts.values().map(|(valid, _, invalid)| valid + invalid).sum();
    assert_eq!(Value::from(run), vectors["numberOfTests"]);
}
