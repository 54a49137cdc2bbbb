//! Devices: a key asks to be enrolled by whoever confirms the code that it shows (as in RFC 8628), and
//! then signs *enrolments*, by each of which one instance of the agent authenticates once.
//!
//! What RFC 8628 calls the device code is the key itself here: who asks what became of it proves it
//! each time (RFC 9449), and nothing that could be copied stands for it.

use keys::{Signer, VerifyingKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::OAuthError;
use crate::form::{Parameters, invalid};
use crate::jws::{self, JwsError, text};

/// The `client_assertion_type` of an enrolment.
pub const TYPE: &str = "urn:chancery:oauth:client-assertion-type:enrolment";

/// The `typ` of an enrolment.
pub const TYP: &str = "enrolment+jwt";

/// How long an enrolment is good for, in seconds.
pub const LIFETIME_MAX_S: i64 = 60;

/// How long a device waits before it asks again, in seconds (RFC 8628 §3.2).
pub const INTERVAL_S: i64 = 2;

/// The longest name that a device calls itself by, in bytes.
pub const NAME_MAX: usize = 64;

/// What a device asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The agent for whose instances it would vouch.
    pub agent: String,
    /// What it calls itself.
    pub name: String,
}

/// What a device is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Told {
    /// Nobody has answered: the members are those of RFC 8628 §3.2.
    Pending {
        /// What the person types, in the page and nowhere else.
        user_code: String,
        /// Where that page is.
        verification_uri: String,
        /// For how many seconds the code can be typed.
        expires_in: i64,
        /// How many seconds to wait before asking again.
        interval: i64,
    },
    /// Somebody enrolled it.
    Enrolled {
        /// Who.
        by: String,
        /// When it vouches no longer, in seconds since the epoch.
        valid_until: i64,
    },
}

/// An enrolment that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The thumbprint of the one key of an instance that it is for.
    pub jkt: String,
    /// Its id, to be used once.
    pub jti: String,
    /// When it ends, in seconds since the epoch.
    pub exp: i64,
}

/// Reads the form of a device that asks.
pub fn parse(form: &[u8]) -> Result<Asked, OAuthError> {
    let mut form = Parameters::read(form)?;
    let (agent, name) = (form.need("client_id")?, form.need("device_name")?);
    if name.len() > NAME_MAX {
        return Err(invalid(&format!("`device_name` has at most {NAME_MAX} bytes")));
    }
    Ok(Asked { agent, name })
}

/// Which device an enrolment claims to be of. Nothing is verified: it says by whose key to verify it.
pub fn claimed(enrolment: &str) -> Option<[u8; 32]> {
    let device = jws::claimed(enrolment, TYP, "iss")?;
    keys::from_base64url(&device)?.try_into().ok()
}

/// Verifies that the device whose key is `key` signed `enrolment` of `agent` for `issuer`, at `now`.
pub fn verify(
    enrolment: &str,
    (agent, issuer): (&str, &str),
    key: &VerifyingKey,
    now: i64,
) -> Result<Enrolment, JwsError> {
    let device = key.thumbprint_text();
    let parties = (device.as_str(), issuer);
    let (claims, exp) = jws::said(enrolment, TYP, parties, key, (LIFETIME_MAX_S, now))?;
    if text(&claims, "sub")? != agent {
        return Err(JwsError::Claim("sub"));
    }
    let jkt = claims.get("cnf").and_then(|cnf| cnf.get("jkt")).and_then(Value::as_str);
    let jkt = jkt.ok_or(JwsError::Claim("cnf"))?.to_owned();
    Ok(Enrolment { jkt, jti: jws::id(&claims)?, exp })
}

/// Signs an enrolment of `agent` for `issuer` by the device.
pub fn make(
    (agent, issuer): (&str, &str),
    signer: &dyn Signer,
    now: i64,
    enrolment: &Enrolment,
) -> Result<String, JwsError> {
    let Enrolment { jkt, jti, exp } = enrolment;
    let claims = json!({
        "iss": signer.public().thumbprint_text(),
        "sub": agent,
        "aud": issuer,
        "iat": now,
        "exp": exp,
        "jti": jti,
        "cnf": { "jkt": jkt },
    });
    jws::sign(TYP, &claims, signer)
}

#[cfg(test)]
mod tests {
    use keys::{KeyAlgorithm, SigningKey};

    use super::*;
    use crate::jws::SKEW_S;

    const NOW: i64 = 1_800_000_000;

    fn key() -> SigningKey {
        SigningKey::generate(KeyAlgorithm::Es256).expect("a key")
    }

    fn enrolment() -> Enrolment {
        Enrolment { jkt: "of-an-instance".to_owned(), jti: "one".to_owned(), exp: NOW + 60 }
    }

    #[test]
    fn an_enrolment_is_of_one_device_for_one_agent_and_key_and_a_moment() {
        let (own, other) = (key(), key());
        let made = make(("bot", "https://g"), &own, NOW, &enrolment()).expect("signed");
        assert_eq!(claimed(&made), Some(own.verifying().thumbprint()));
        let read = verify(&made, ("bot", "https://g"), own.verifying(), NOW);
        assert_eq!(read, Ok(enrolment()));
        let check = |parties, key: &SigningKey, now, expected| {
            assert_eq!(verify(&made, parties, key.verifying(), now), Err(expected));
        };
        check(("bot", "https://g"), &other, NOW, JwsError::WrongSignature);
        check(("bob", "https://g"), &own, NOW, JwsError::Claim("sub"));
        check(("bot", "https://h"), &own, NOW, JwsError::Claim("aud"));
        check(("bot", "https://g"), &own, NOW + LIFETIME_MAX_S, JwsError::Claim("exp"));
        check(("bot", "https://g"), &own, NOW - SKEW_S - 1, JwsError::Claim("iat"));
        let long = Enrolment { exp: NOW + LIFETIME_MAX_S + 1, ..enrolment() };
        let made = make(("bot", "https://g"), &own, NOW, &long).expect("signed");
        let read = verify(&made, ("bot", "https://g"), own.verifying(), NOW);
        assert_eq!(read, Err(JwsError::Claim("exp")));
    }

    #[test]
    fn n_028_an_enrolment_is_of_its_own_type_and_names_the_key_that_signs() {
        let own = key();
        let check = |typ: &str, change: fn(&mut Value), expected: JwsError| {
            let mut claims = json!({
                "iss": own.verifying().thumbprint_text(), "sub": "bot", "aud": "https://g",
                "iat": NOW, "exp": NOW + 60, "jti": "one", "cnf": { "jkt": "of-an-instance" },
            });
            change(&mut claims);
            let signed = jws::sign(typ, &claims, &own).expect("signed");
            let read = verify(&signed, ("bot", "https://g"), own.verifying(), NOW);
            assert_eq!(read, Err(expected), "{typ} {claims}");
        };
        for typ in ["JWT", "dpop+jwt", "initiation+jwt", "administrator+jwt"] {
            check(typ, |_| (), JwsError::WrongType(TYP));
        }
        check(TYP, |claims| claims["iss"] = json!("another"), JwsError::Claim("iss"));
        check(TYP, |claims| claims["cnf"] = json!("of-an-instance"), JwsError::Claim("cnf"));
        check(TYP, |claims| claims["jti"] = json!("x".repeat(1_000)), JwsError::Claim("jti"));
    }

    #[test]
    fn i_18_a_name_has_a_limit() {
        let of = |name: &str| {
            parse(crate::form::form(&[("client_id", "bot"), ("device_name", name)]).as_bytes())
        };
        let (agent, name) = ("bot".to_owned(), "x".repeat(NAME_MAX));
        assert_eq!(of(&name), Ok(Asked { agent, name }));
        assert!(of(&"x".repeat(NAME_MAX + 1)).is_err());
        assert!(of("").is_err());
    }
}
