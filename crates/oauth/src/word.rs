//! The word of an administrator: what somebody signs by their own key to be known as themselves where
//! all who come look alike, as at a socket of the service's user.
//!
//! A JWT with a type of its own (RFC 8725 §3.11) that says one thing, to one deployment, for five
//! minutes, once.

use keys::{Signer, VerifyingKey};
use serde_json::{Value, json};

use crate::jws::{self, JwsError};

/// The `typ` of an administrator's word.
pub const TYP: &str = "administrator+jwt";

/// How long one counts, in seconds.
pub const LIFETIME_MAX_S: i64 = 300;

/// A word that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What is asked for: the command, as the socket takes it.
    pub command: Value,
    /// Its id, to be used once.
    pub jti: String,
    /// When it ends, in seconds since the epoch.
    pub exp: i64,
}

/// Whose word it claims to be. Nothing is verified: it says by whose key to verify it.
pub fn claimed(word: &str) -> Option<String> {
    jws::claimed(word, TYP, "iss")
}

/// Verifies that `person` signed `word` for `issuer` by `key`, at `now`.
pub fn verify(
    word: &str,
    (person, issuer): (&str, &str),
    key: &VerifyingKey,
    now: i64,
) -> Result<Word, JwsError> {
    let parties = (person, issuer);
    let (claims, exp) = jws::said(word, TYP, parties, key, (LIFETIME_MAX_S, now))?;
    let command = claims.get("command").filter(|command| command.is_object());
    let command = command.cloned().ok_or(JwsError::Claim("command"))?;
    Ok(Word { command, jti: jws::id(&claims)?, exp })
}

/// Signs the word of `person` for `issuer`.
pub fn make(
    (person, issuer): (&str, &str),
    signer: &dyn Signer,
    now: i64,
    word: &Word,
) -> Result<String, JwsError> {
    let Word { command, jti, exp } = word;
    let claims = json!({
        "iss": person,
        "aud": issuer,
        "iat": now,
        "exp": exp,
        "jti": jti,
        "command": command,
    });
    jws::sign(TYP, &claims, signer)
}

#[cfg(test)]
mod tests {
    use keys::{KeyAlgorithm, SigningKey};

    use super::*;
    use crate::jws::SKEW_S;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn a_word_is_of_one_person_for_one_deployment_and_a_moment() {
        let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        let other = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        let command = json!({ "do": "start", "what": "all" });
        let word = Word { command, jti: "one".to_owned(), exp: NOW + LIFETIME_MAX_S };
        let made = make(("alice", "https://g"), &key, NOW, &word).expect("signed");
        assert_eq!(claimed(&made).as_deref(), Some("alice"));
        let read = verify(&made, ("alice", "https://g"), key.verifying(), NOW);
        assert_eq!(read, Ok(word.clone()));
        let check = |parties, key: &SigningKey, now, expected| {
            assert_eq!(verify(&made, parties, key.verifying(), now), Err(expected));
        };
        check(("alice", "https://g"), &other, NOW, JwsError::WrongSignature);
        check(("bob", "https://g"), &key, NOW, JwsError::Claim("iss"));
        check(("alice", "https://h"), &key, NOW, JwsError::Claim("aud"));
        check(("alice", "https://g"), &key, NOW + LIFETIME_MAX_S, JwsError::Claim("exp"));
        check(("alice", "https://g"), &key, NOW - SKEW_S - 1, JwsError::Claim("iat"));
        let long = Word { exp: NOW + LIFETIME_MAX_S + 1, ..word.clone() };
        let none = Word { command: Value::Null, ..word };
        for (word, claim) in [(long, "exp"), (none, "command")] {
            let made = make(("alice", "https://g"), &key, NOW, &word).expect("signed");
            let read = verify(&made, ("alice", "https://g"), key.verifying(), NOW);
            assert_eq!(read, Err(JwsError::Claim(claim)));
        }
    }

    #[test]
    fn n_028_a_word_is_of_its_own_type() {
        let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        let claims = json!({
            "iss": "alice", "aud": "https://g", "iat": NOW, "exp": NOW + 60, "jti": "one",
            "command": {},
        });
        for typ in ["JWT", "at+jwt", "people+jwt", "initiation+jwt"] {
            let signed = jws::sign(typ, &claims, &key).expect("signed");
            let read = verify(&signed, ("alice", "https://g"), key.verifying(), NOW);
            assert_eq!(read, Err(JwsError::WrongType(TYP)), "{typ}");
        }
    }
}
