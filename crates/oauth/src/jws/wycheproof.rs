//! Project Wycheproof's JWS vectors: every one is run. What we do not do is refused, and counted.

use std::collections::BTreeMap;

use keys::VerifyingKey;
use serde_json::Value;

use super::{Compact, TOKEN_MAX};

const VECTORS: &str = include_str!("../../../../testdata/wycheproof/json_web_signature_test.json");

/// How many vectors of one kind there were, and how many of them were taken.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    valid: u32,
    valid_taken: u32,
    invalid: u32,
    invalid_taken: u32,
}

/// Whether the vector is taken under the key of its group, by the header rules and the signature.
/// Its payload is not looked at: it is mostly `foo`.
fn is_taken(key: &Value, jws: &str) -> bool {
    let Ok(key) = VerifyingKey::from_jwk(key) else { return false };
    Compact::read(jws, TOKEN_MAX).and_then(|compact| compact.check(&key)).is_ok()
}

#[test]
fn wycheproof_vectors_are_taken_exactly_when_valid_and_of_an_algorithm_of_ours() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let mut counts = BTreeMap::<String, Count>::new();
    for group in vectors["testGroups"].as_array().unwrap() {
        let key = group.get("public").or_else(|| group.get("private")).unwrap();
        let algorithm = key["alg"].as_str().unwrap_or("no algorithm");
        let count = counts.entry(algorithm.to_owned()).or_default();
        for test in group["tests"].as_array().unwrap() {
            let taken = is_taken(key, test["jws"].as_str().unwrap_or_default());
            match test["result"].as_str().unwrap() {
                "valid" => {
                    count.valid += 1;
                    count.valid_taken += u32::from(taken);
                }
                "invalid" => {
                    assert!(!taken, "{}: {} is taken", test["tcId"], test["comment"]);
                    count.invalid += 1;
                    count.invalid_taken += u32::from(taken);
                }
                other => panic!("a vector is `{other}`"),
            }
        }
    }
    let refused = |valid, invalid| Count { valid, invalid, ..Count::default() };
    let expected = [
        ("ES256", Count { valid_taken: 2, ..refused(2, 37) }),
        ("ES521", refused(2, 0)),
        ("HS256", refused(10, 30)),
        ("PS256", refused(8, 42)),
        ("PS384", refused(4, 1)),
        ("PS512", refused(4, 16)),
        ("RS256", refused(8, 225)),
        ("RS384", refused(4, 0)),
        ("RS512", refused(4, 0)),
        ("no algorithm", refused(0, 4)),
    ];
    assert_eq!(counts, expected.map(|(name, count)| (name.to_owned(), count)).into());
    let run: u32 = counts.values().map(|count| count.valid + count.invalid).sum();
    assert_eq!(Value::from(run), vectors["numberOfTests"]);
}
