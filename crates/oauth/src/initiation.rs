//! Initiations: what a registered system signs to start an agent's work for a person, redeemed as a
//! JWT authorization grant (RFC 7523 §2.1) by the agent that it names.
//!
//! It has a type of its own (RFC 8725 §3.11), is good for ten minutes and for one redemption, and
//! says exactly what it is for as one `agent_task` (RFC 9396).

use keys::{Signer, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access_token::AGENT_TASK;
use crate::jws::{self, JwsError, text};

/// The `grant_type` under which it is redeemed.
pub const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The `typ` of an initiation.
pub const TYP: &str = "initiation+jwt";

/// How long one may be redeemed, in seconds.
pub const LIFETIME_MAX_S: i64 = 600;

/// The task that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedTask {
    /// Always `agent_task`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What for: an entry of the register.
    pub purpose: String,
    /// The tools, as `SERVER/TOOL` or `SERVER/*`.
    pub tools: Vec<String>,
    /// The harm classes that those may have, beside reading.
    #[serde(default)]
    pub harm: Vec<String>,
    /// The data objects, as `SERVER/NAME` or `SERVER/BEGINNING*`; whichever there may be, if none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<String>,
    /// The most calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u64>,
    /// The most tasks of one day (UTC), where a person is asked for more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tasks_a_day: Option<u64>,
    /// When the task is over, in seconds since the epoch.
    pub until: i64,
}

/// An initiation that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initiation {
    /// The person on whose behalf.
    pub subject: String,
    /// The agent that may redeem it.
    pub agent: String,
    /// The task.
    pub task: AskedTask,
    /// Its id, to be used once.
    pub jti: String,
    /// When it ends, in seconds since the epoch.
    pub exp: i64,
}

/// Whom an initiation claims to be of. Nothing is verified: it says by whose key to verify it.
pub fn claimed(initiation: &str) -> Option<String> {
    jws::claimed(initiation, TYP, "iss")
}

/// Verifies that `system` signed `initiation` for `issuer` by `key`, at `now`.
pub fn verify(
    initiation: &str,
    (system, issuer): (&str, &str),
    key: &VerifyingKey,
    now: i64,
) -> Result<Initiation, JwsError> {
    let parties = (system, issuer);
    let (claims, exp) = jws::said(initiation, TYP, parties, key, (LIFETIME_MAX_S, now))?;
    let jti = jws::id(&claims)?;
    let details = claims.get("authorization_details").and_then(Value::as_array);
    let task = match details.map(Vec::as_slice) {
        Some([one]) if one.is_object() => serde_json::from_value::<AskedTask>(one.clone()).ok(),
        _ => None,
    };
    let task = task.filter(|task| task.kind == AGENT_TASK);
    let task = task.ok_or(JwsError::Claim("authorization_details"))?;
    let (subject, agent) = (text(&claims, "sub")?, text(&claims, "client_id")?);
    Ok(Initiation { subject, agent, task, jti, exp })
}

/// Signs an initiation by `system` for `issuer`.
pub fn make(
    (system, issuer): (&str, &str),
    signer: &dyn Signer,
    now: i64,
    initiation: &Initiation,
) -> Result<String, JwsError> {
    let claims = json!({
        "iss": system,
        "sub": initiation.subject,
        "aud": issuer,
        "client_id": initiation.agent,
        "iat": now,
        "exp": initiation.exp,
        "jti": initiation.jti,
        "authorization_details": [initiation.task],
    });
    jws::sign(TYP, &claims, signer)
}

#[cfg(test)]
mod tests {
    use keys::{KeyAlgorithm, SigningKey};

    use super::*;
    use crate::jws::SKEW_S;

    const NOW: i64 = 1_800_000_000;

    fn initiation() -> Initiation {
        let task = AskedTask {
            kind: AGENT_TASK.to_owned(),
            purpose: "care".to_owned(),
            tools: vec!["crm/lookup".to_owned()],
            harm: Vec::new(),
            objects: Vec::new(),
            max_calls: None,
            max_tasks_a_day: None,
            until: NOW + 3_600,
        };
        let (subject, agent) = ("carla".to_owned(), "bot".to_owned());
        Initiation { subject, agent, task, jti: "one".to_owned(), exp: NOW + LIFETIME_MAX_S }
    }

    #[test]
    fn what_was_signed_is_what_is_read() {
        let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        let made = make(("portal", "https://g"), &key, NOW, &initiation()).expect("signed");
        assert_eq!(claimed(&made).as_deref(), Some("portal"));
        let read = verify(&made, ("portal", "https://g"), key.verifying(), NOW);
        assert_eq!(read, Ok(initiation()));
        let other = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        let check = |parties, key: &SigningKey, now, expected| {
            assert_eq!(verify(&made, parties, key.verifying(), now), Err(expected));
        };
        check(("portal", "https://g"), &other, NOW, JwsError::WrongSignature);
        check(("other", "https://g"), &key, NOW, JwsError::Claim("iss"));
        check(("portal", "https://h"), &key, NOW, JwsError::Claim("aud"));
        check(("portal", "https://g"), &key, NOW + LIFETIME_MAX_S, JwsError::Claim("exp"));
        check(("portal", "https://g"), &key, NOW - SKEW_S - 1, JwsError::Claim("iat"));
    }

    #[test]
    fn n_028_an_initiation_is_of_its_own_type_and_says_one_task() {
        let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        let check = |typ: &str, change: fn(&mut Value), expected: JwsError| {
            let mut claims = json!({
                "iss": "portal", "sub": "carla", "aud": "https://g", "client_id": "bot",
                "iat": NOW, "exp": NOW + 60, "jti": "one",
                "authorization_details": [initiation().task],
            });
            change(&mut claims);
            let signed = jws::sign(typ, &claims, &key).expect("signed");
            let read = verify(&signed, ("portal", "https://g"), key.verifying(), NOW);
            assert_eq!(read, Err(expected), "{claims}");
        };
        let details = || JwsError::Claim("authorization_details");
        check("JWT", |_| (), JwsError::WrongType(TYP));
        check("at+jwt", |_| (), JwsError::WrongType(TYP));
        check(TYP, |claims| claims["authorization_details"] = json!([]), details());
        check(
            TYP,
            |claims| {
                let one = claims["authorization_details"][0].clone();
                claims["authorization_details"] = json!([one, one]);
            },
            details(),
        );
        check(TYP, |claims| claims["authorization_details"][0]["extra"] = json!(1), details());
        check(TYP, |claims| claims["authorization_details"][0]["type"] = json!("other"), details());
        check(TYP, |claims| claims["exp"] = json!(NOW + 601), JwsError::Claim("exp"));
        check(TYP, |claims| claims["sub"] = json!(""), JwsError::Claim("sub"));
        check(TYP, |claims| claims["client_id"] = json!(1), JwsError::Claim("client_id"));
        check(TYP, |claims| claims["aud"] = json!(["https://g", "x"]), JwsError::Claim("aud"));
        check(TYP, |claims| claims["nbf"] = json!(NOW + 60), JwsError::Claim("nbf"));
        check(TYP, |claims| claims["jti"] = json!("x".repeat(1_000)), JwsError::Claim("jti"));
    }
}
