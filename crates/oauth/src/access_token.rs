//! Access tokens of ours: `at+jwt` (RFC 9068), bound to a key (RFC 7800 `cnf`), for one audience.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keys::{Signer, TokenKeys};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::jws::{self, JwsError};

/// The `typ` of an access token.
pub const TYP: &str = "at+jwt";

/// How long an access token is good for, in seconds.
pub const LIFETIME_MAX_S: i64 = 300;

/// The key to which a token is bound (RFC 9449 §6.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// The claims of an access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// Who issued it.
    pub iss: String,
    /// The instance, where nobody is acted for.
    pub sub: String,
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
    /// The key to which it is bound.
    pub cnf: Confirmation,
    /// The task that it belongs to.
    pub authorization_details: Vec<AgentTask>,
}

/// Signs a token.
pub fn mint(claims: &AccessTokenClaims, signer: &dyn Signer) -> Result<String, JwsError> {
    let claims = serde_json::to_value(claims).map_err(|_| JwsError::Unsigned)?;
    jws::sign(TYP, &claims, signer)
}

/// Verifies a token that `issuer` signed for `audience`, at `now` (seconds since the epoch).
pub fn verify(
    token: &str,
    keys: &TokenKeys,
    (issuer, audience): (&str, &str),
    now: i64,
) -> Result<AccessTokenClaims, JwsError> {
    let unverified = jws::read(token, TYP)?;
    if unverified.header.contains_key("jwk") {
        return Err(JwsError::HeaderMember("jwk"));
    }
    let key = unverified.kid().and_then(|kid| keys.find(kid)).ok_or(JwsError::UnknownKey)?;
    let claims = unverified.verified_by(key)?;
    let claims: AccessTokenClaims = serde_json::from_value(Value::Object(claims))
        .map_err(|_| JwsError::Claim("authorization_details"))?;
    if claims.iss != issuer {
        return Err(JwsError::Claim("iss"));
    }
    if claims.aud != audience {
        return Err(JwsError::Claim("aud"));
    }
    if claims.exp <= now || claims.exp > now.saturating_add(LIFETIME_MAX_S) {
        return Err(JwsError::Claim("exp"));
    }
    Ok(claims)
}
