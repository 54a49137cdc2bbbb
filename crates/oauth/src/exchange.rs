//! Token exchange (RFC 8693) as it is offered here: the holder of a task hands a part of it on to an
//! instance of another agent, which gets a token of its own, bound to its own key.
//!
//! Either the holder asks, and shows an *actor token* in which the other agent names its instance's
//! key; or the holder makes a *delegation* for one agent and one key (`may_act`, §4.4), which that
//! instance takes up, once and within a minute. In both the holder takes part by its proof of
//! possession: a token of ours that somebody else shows is worth nothing.

use keys::{Signer, TokenKeys, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access_token::{self, AGENT_TASK, Actor, Confirmation};
use crate::initiation::AskedTask;
use crate::jws::{self, JwsError, audience, text};

/// The `grant_type`.
pub const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The type of an access token (RFC 8693 §3).
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The type of an ID token (RFC 8693 §3): a person's own, and good for nothing here.
pub const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// The type of an actor token (RFC 8693 §3).
pub const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The type of a delegation.
pub const DELEGATION: &str = "urn:chancery:oauth:token-type:delegation";

/// The `typ` of an actor token.
const ACTOR_TYP: &str = "actor+jwt";

/// The `typ` of a delegation.
const DELEGATION_TYP: &str = "delegation+jwt";

/// How long a delegation may be taken up, in seconds.
pub const LIFETIME_MAX_S: i64 = 60;

/// Who may take a delegation up (RFC 8693 §4.4): one agent, by one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MayAct {
    /// The agent.
    pub client_id: String,
    /// The thumbprint of the instance's key (RFC 7638), base64url.
    pub jkt: String,
}

impl MayAct {
    /// The thumbprint's bytes, if it is one.
    pub fn thumbprint(&self) -> Option<[u8; 32]> {
        Confirmation { jkt: self.jkt.clone() }.thumbprint()
    }
}

/// What a holder signed off for another instance, as we signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegated {
    /// Who signed it, and whose it is to take: we ourselves.
    pub iss: String,
    /// The same.
    pub aud: String,
    /// The person on whose behalf, or the instance that works for nobody.
    pub sub: String,
    /// Who hands it on, by instance, as [`crate::access_token::AccessTokenClaims::act`] has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Actor>,
    /// The agent that hands it on.
    pub client_id: String,
    /// The task of which a part is handed on.
    pub task: String,
    /// Who may take it up.
    pub may_act: MayAct,
    /// The decision that permitted it.
    pub decision: String,
    /// The policy set that it was permitted by.
    pub policy: String,
    /// The part of the task: one.
    pub authorization_details: [AskedTask; 1],
    /// When it was made, in seconds since the epoch.
    pub iat: i64,
    /// Until when it can be taken up.
    pub exp: i64,
    /// Its id, to be used once.
    pub jti: String,
}

impl Delegated {
    /// The instance that hands it on.
    pub fn instance(&self) -> &str {
        self.act.as_ref().map_or(&self.sub, |actor| &actor.sub)
    }
}

/// Signs a delegation.
pub fn make(delegated: &Delegated, signer: &dyn Signer) -> Result<String, JwsError> {
    let claims = serde_json::to_value(delegated).map_err(|_| JwsError::Unsigned)?;
    jws::sign(DELEGATION_TYP, &claims, signer)
}

/// Verifies a delegation that `issuer` signed for itself, at `now` (seconds since the epoch).
pub fn verify(
    delegation: &str,
    keys: &TokenKeys,
    issuer: &str,
    now: i64,
) -> Result<Delegated, JwsError> {
    let claims = jws::verify_ours(delegation, DELEGATION_TYP, (keys, now))?;
    for name in ["iss", "aud"] {
        if text(&claims, name)? != issuer {
            return Err(JwsError::Claim(name));
        }
    }
    jws::short_lived(&claims, LIFETIME_MAX_S, now)?;
    jws::id(&claims)?;
    let read = serde_json::from_value::<Delegated>(Value::Object(claims)).ok();
    let read = read.ok_or(JwsError::Claim("may_act"))?;
    if read.authorization_details[0].kind != AGENT_TASK {
        return Err(JwsError::Claim("authorization_details"));
    }
    read.may_act.thumbprint().ok_or(JwsError::Claim("may_act"))?;
    Ok(read)
}

/// An actor token that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorToken {
    /// The instance's key.
    pub key: [u8; 32],
    /// Its id, to be used once.
    pub jti: String,
    /// When it ends, in seconds since the epoch.
    pub exp: i64,
}

/// An actor token of which nothing is verified yet.
#[derive(Debug)]
pub struct UnverifiedActor<'a>(jws::Unverified<'a>);

impl<'a> UnverifiedActor<'a> {
    /// Reads an actor token.
    pub fn read(actor_token: &'a str) -> Result<Self, JwsError> {
        jws::read(actor_token, ACTOR_TYP).map(Self)
    }

    /// The agent that it claims to be of: it says by whose key to verify it.
    pub fn agent(&self) -> Result<String, JwsError> {
        text(&self.0.claims, "sub")
    }

    /// Verifies that `agent` names, by its own `key`, for `issuer` and to the agent `holder` alone, the
    /// key of an instance, at `now`.
    pub fn verified(
        &self,
        (agent, holder, issuer): (&str, &str, &str),
        key: &VerifyingKey,
        now: i64,
    ) -> Result<ActorToken, JwsError> {
        let Self(jws::Unverified { claims, .. }) = self;
        self.0.check_by_known(key)?;
        for name in ["iss", "sub"] {
            if text(claims, name)? != agent {
                return Err(JwsError::Claim(name));
            }
        }
        if audience(claims)? != issuer {
            return Err(JwsError::Claim("aud"));
        }
        // Who else came by it has no use for it.
        if text(claims, "azp")? != holder {
            return Err(JwsError::Claim("azp"));
        }
        let exp = jws::short_lived(claims, access_token::LIFETIME_MAX_S, now)?;
        // Who acts is a top-level claim; a chain that the agent made up says nothing (RFC 8693 §4.1).
        if claims.contains_key("act") {
            return Err(JwsError::Claim("act"));
        }
        let cnf = claims.get("cnf").filter(|cnf| cnf.is_object()).cloned().unwrap_or_default();
        let bound = serde_json::from_value::<Confirmation>(cnf).ok();
        let key = bound.and_then(|cnf| cnf.thumbprint()).ok_or(JwsError::Claim("cnf"))?;
        Ok(ActorToken { key, jti: jws::id(claims)?, exp })
    }
}

/// Verifies an actor token as [`UnverifiedActor::verified`] does.
pub fn verify_actor(
    actor_token: &str,
    parties: (&str, &str, &str),
    key: &VerifyingKey,
    now: i64,
) -> Result<ActorToken, JwsError> {
    UnverifiedActor::read(actor_token)?.verified(parties, key, now)
}

/// Makes the actor token by which `agent` names, for `issuer` and to the agent `holder`, the instance
/// that holds the key with the thumbprint `jkt`.
pub fn make_actor(
    (agent, holder, issuer): (&str, &str, &str),
    signer: &dyn Signer,
    jkt: &str,
    (now, jti): (i64, &str),
) -> Result<String, JwsError> {
    let claims = json!({
        "iss": agent,
        "sub": agent,
        "aud": issuer,
        "azp": holder,
        "cnf": { "jkt": jkt },
        "iat": now,
        "exp": now + access_token::LIFETIME_MAX_S,
        "jti": jti,
    });
    jws::sign(ACTOR_TYP, &claims, signer)
}
