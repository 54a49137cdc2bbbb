//! Access tokens of ours: `at+jwt` (RFC 9068), for one audience, and bound to a key (RFC 7800 `cnf`) or,
//! for clients that have none, so much shorter (RFC 6750).
//!
//! Nobody else mints them, so whatever deviates from what [`mint`] writes is refused.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keys::{Signer, TokenKeys};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::jws::{self, JwsError, seconds, text};

/// The `typ` of an access token.
pub const TYP: &str = "at+jwt";

/// How long an access token is good for, in seconds.
pub const LIFETIME_MAX_S: i64 = 300;

/// How long one is that is bound to no key.
pub const BEARER_LIFETIME_MAX_S: i64 = 120;

/// How far clocks may differ, in seconds.
const SKEW_S: i64 = 5;

/// The `type` of the one kind of authorization details (RFC 9396 §2).
pub(crate) const AGENT_TASK: &str = "agent_task";

/// The key to which a token is bound (RFC 9449 §6.1). Another way of confirming is not understood,
/// and so not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// The RFC 7638 thumbprint, base64url.
    pub jkt: String,
}

impl Confirmation {
    /// The thumbprint's bytes, if it is one.
    pub fn thumbprint(&self) -> Option<[u8; 32]> {
        URL_SAFE_NO_PAD.decode(&self.jkt).ok()?.try_into().ok()
    }
}

/// What a token says of the task that it belongs to (RFC 9396).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentTask {
    /// Always `agent_task`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The task.
    pub task: String,
    /// What for.
    pub purpose: String,
    /// The digest of the mandate.
    pub mandate: String,
}

/// Who acts for the subject of a token (RFC 8693 §4.1): the newest actor outermost, within it the
/// ones before. Only the outermost counts; the others say by whom the work was handed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// The instance.
    pub sub: String,
    /// Who acted before it and handed the work on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Actor>>,
}

impl Actor {
    /// The actors of `chain`, of which the newest comes first; none if nobody is there.
    pub fn chain(newest_first: impl DoubleEndedIterator<Item = String>) -> Option<Self> {
        let wrapped = |before: Option<Self>, sub| Some(Self { sub, act: before.map(Box::new) });
        newest_first.rev().fold(None, wrapped)
    }
}

/// The claims of an access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// Who issued it.
    pub iss: String,
    /// The person on whose behalf it is used; where the work is on nobody's, the instance that began
    /// it.
    pub sub: String,
    /// Who acts, if that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Actor>,
    /// The agent.
    pub client_id: String,
    /// The one service that it is for.
    pub aud: String,
    /// When it ends, in seconds since the epoch.
    pub exp: i64,
    /// When it was issued.
    pub iat: i64,
    /// Its id.
    pub jti: String,
    /// The transaction: the root task, which whatever is handed on of it shares. Tokens of before this was said
    /// have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub txn: Option<String>,
    /// When the person authenticated who consented to the work, in seconds since the epoch, if that is known (§2.2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// The class of that authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// Its methods.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub amr: BTreeSet<String>,
    /// The key to which it is bound, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// The task that it belongs to.
    pub authorization_details: Vec<AgentTask>,
}

impl AccessTokenClaims {
    /// The instance that acts: whoever the token is of.
    pub fn instance(&self) -> &str {
        self.act.as_ref().map_or(&self.sub, |actor| &actor.sub)
    }

    /// The thumbprint of the key to which it is bound, if it is.
    pub fn bound_to(&self) -> Option<[u8; 32]> {
        self.cnf.as_ref().and_then(Confirmation::thumbprint)
    }
}

/// Signs a token.
pub fn mint(claims: &AccessTokenClaims, signer: &dyn Signer) -> Result<String, JwsError> {
    let claims = serde_json::to_value(claims).map_err(|_| JwsError::Unsigned)?;
    jws::sign(TYP, &claims, signer)
}

/// A token of which nothing is verified yet.
#[derive(Debug)]
pub struct Unverified<'a>(jws::Unverified<'a>);

impl<'a> Unverified<'a> {
    /// Reads a token.
    pub fn read(token: &'a str) -> Result<Self, JwsError> {
        jws::read(token, TYP).map(Self)
    }

    /// The audience that it claims to be for: it says as whose to verify it.
    pub fn audience(&self) -> Result<String, JwsError> {
        text(&self.0.claims, "aud")
    }

    /// The claims, if `issuer` signed it for `audience` and it counts at `now` (seconds since the
    /// epoch).
    pub fn verified(
        self,
        keys: &TokenKeys,
        parties: (&str, &str),
        now: i64,
    ) -> Result<AccessTokenClaims, JwsError> {
        let claims = self.signed((keys, now), parties)?;
        check_times(&claims, now)?;
        read(claims)
    }

    /// The claims, if `issuer` signed it for `audience`, whenever that was: enough to give it up, and
    /// for nothing else. Its key must count at `now`.
    pub fn verified_ever(
        self,
        keys: &TokenKeys,
        parties: (&str, &str),
        now: i64,
    ) -> Result<AccessTokenClaims, JwsError> {
        read(self.signed((keys, now), parties)?)
    }

    fn signed(
        self,
        keys: (&TokenKeys, i64),
        (issuer, audience): (&str, &str),
    ) -> Result<Map<String, Value>, JwsError> {
        let claims = self.0.verified_by_ours(keys)?;
        for (name, wanted) in [("iss", issuer), ("aud", audience)] {
            if text(&claims, name)? != wanted {
                return Err(JwsError::Claim(name));
            }
        }
        Ok(claims)
    }
}

/// Verifies a token that `issuer` signed for `audience`, at `now` (seconds since the epoch).
pub fn verify(
    token: &str,
    keys: &TokenKeys,
    parties: (&str, &str),
    now: i64,
) -> Result<AccessTokenClaims, JwsError> {
    Unverified::read(token)?.verified(keys, parties, now)
}

fn read(claims: Map<String, Value>) -> Result<AccessTokenClaims, JwsError> {
    jws::id(&claims)?;
    for name in ["sub", "client_id"] {
        text(&claims, name)?;
    }
    for name in ["txn", "acr"].into_iter().filter(|name| claims.contains_key(*name)) {
        text(&claims, name)?;
    }
    if claims.contains_key("auth_time") {
        seconds(&claims, "auth_time")?;
    }
    let are_texts =
        |amr: &Value| amr.as_array().is_some_and(|all| all.iter().all(Value::is_string));
    if claims.get("amr").is_some_and(|amr| !are_texts(amr)) {
        return Err(JwsError::Claim("amr"));
    }
    // What is derived would take an array for an object, and `null` for nothing.
    if let Some(cnf) = claims.get("cnf") {
        let cnf = Some(cnf).filter(|cnf| cnf.is_object()).cloned().unwrap_or_default();
        let bound = serde_json::from_value::<Confirmation>(cnf).ok();
        bound.and_then(|cnf| cnf.thumbprint()).ok_or(JwsError::Claim("cnf"))?;
    }
    if claims.get("act").is_some_and(|actor| !actor.is_object()) {
        return Err(JwsError::Claim("act"));
    }
    let details = claims.get("authorization_details").and_then(Value::as_array);
    if !details.is_some_and(|details| details.iter().all(Value::is_object)) {
        return Err(JwsError::Claim("authorization_details"));
    }
    let claims = serde_json::from_value::<AccessTokenClaims>(Value::Object(claims)).ok();
    let known = |claims: &AccessTokenClaims| {
        let details = &claims.authorization_details;
        !details.is_empty() && details.iter().all(|task| task.kind == AGENT_TASK)
    };
    claims.filter(known).ok_or(JwsError::Claim("authorization_details"))
}

fn check_times(claims: &Map<String, Value>, now: i64) -> Result<(), JwsError> {
    let (iat, exp) = (seconds(claims, "iat")?, seconds(claims, "exp")?);
    if iat > now.saturating_add(SKEW_S) {
        return Err(JwsError::Claim("iat"));
    }
    let is_bound = claims.contains_key("cnf");
    let most = if is_bound { LIFETIME_MAX_S } else { BEARER_LIFETIME_MAX_S };
    let too_long = exp > now.saturating_add(most) || exp - iat > most;
    if exp <= now || too_long {
        return Err(JwsError::Claim("exp"));
    }
    jws::not_before(claims, now.saturating_add(SKEW_S))
}
