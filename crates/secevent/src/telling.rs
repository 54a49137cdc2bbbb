//! What a transmitter tells: of agents and their instances that stop, of how risky they are, and of its
//! streams themselves (CAEP 1.0, SSF 1.0 §8.1.4 and §8.1.5).

use keys::{EventKey, SignError};
use serde_json::{Map, Value, json};

use crate::event::{RiskLevel, StreamStatus};
use crate::set::TYPE;

/// Sessions are over.
pub const SESSION_REVOKED: &str =
    "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

/// A risk is another.
pub const RISK_LEVEL_CHANGE: &str =
    "https://schemas.openid.net/secevent/caep/event-type/risk-level-change";

/// A stream works.
const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";

/// A stream has another status.
const STREAM_UPDATED: &str = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated";

/// The events that can be asked for; those of a stream itself come unasked.
pub const TOLD: [&str; 2] = [SESSION_REVOKED, RISK_LEVEL_CHANGE];

/// Whom or what an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About<'a> {
    /// All sessions of an agent, which is `client_id` of its tokens.
    Agent(&'a str),
    /// One instance of an agent, which is `sub` of its tokens, or of `act` in them.
    Instance {
        /// The issuer of its tokens.
        issuer: &'a str,
        /// The agent.
        agent: &'a str,
        /// The instance.
        instance: &'a str,
    },
    /// A stream, by its id.
    Stream(&'a str),
}

impl About<'_> {
    /// The subject (SSF 1.0 §3). A name that is an agent's may be a person's, too: so an agent is never
    /// a subject of an issuer.
    pub fn to_json(self) -> Value {
        match self {
            Self::Agent(agent) => {
                json!({ "format": "complex", "application": { "format": "opaque", "id": agent } })
            }
            Self::Instance { issuer, agent, instance } => json!({
                "format": "complex",
                "application": { "format": "opaque", "id": agent },
                "session": { "format": "iss_sub", "iss": issuer, "sub": instance },
            }),
            Self::Stream(id) => json!({ "format": "opaque", "id": id }),
        }
    }

    /// What a risk is said to be that of (CAEP 1.0 §3.8, `principal`).
    const fn principal(self) -> &'static str {
        match self {
            Self::Agent(_) | Self::Stream(_) => "APPLICATION",
            Self::Instance { .. } => "SESSION",
        }
    }
}

/// Who made happen what is told (CAEP 1.0 §2, `initiating_entity`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    /// Somebody who administers.
    Admin,
    /// A rule.
    Policy,
    /// Another system.
    System,
}

impl Initiator {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Policy => "policy",
            Self::System => "system",
        }
    }
}

/// When something happened, and by whom and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause<'a> {
    /// When, in seconds since the epoch.
    pub at: i64,
    /// By whom.
    pub by: Initiator,
    /// Why, as a stable code: nothing that a person wrote.
    pub why: &'a str,
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tells<'a> {
    /// Sessions are over.
    SessionRevoked(Cause<'a>),
    /// A risk is another.
    RiskLevelChange(Cause<'a>, RiskLevel),
    /// The stream works.
    Verification {
        /// What the receiver asked to be told, if it asked for this.
        state: Option<&'a str>,
    },
    /// The stream has another status, which its receiver did not ask for.
    StreamUpdated {
        /// What it is from now on.
        status: StreamStatus,
        /// Why, as a stable code.
        reason: &'a str,
    },
}

/// From whom a token is, for whom, and which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Its issuer.
    pub issuer: &'a str,
    /// For whom it is.
    pub audience: &'a str,
    /// Its id.
    pub jti: &'a str,
    /// When it is issued, in seconds since the epoch.
    pub issued: i64,
    /// What several tokens of one cause have in common (RFC 8417 §2.2).
    pub txn: Option<&'a str>,
}

impl Tells<'_> {
    /// The event's URI.
    pub const fn uri(&self) -> &'static str {
        match self {
            Self::SessionRevoked(_) => SESSION_REVOKED,
            Self::RiskLevelChange(..) => RISK_LEVEL_CHANGE,
            Self::Verification { .. } => VERIFICATION,
            Self::StreamUpdated { .. } => STREAM_UPDATED,
        }
    }

    /// The claims of the token that tells it `about` something (SSF 1.0 §4.1): without `sub`, and without
    /// `exp`.
    pub fn claims(&self, about: About<'_>, envelope: Envelope<'_>) -> Value {
        let Envelope { issuer, audience, jti, issued, txn } = envelope;
        let events = Map::from_iter([(self.uri().to_owned(), self.payload(about))]);
        let mut claims = json!({
            "iss": issuer, "aud": audience, "jti": jti, "iat": issued,
            "sub_id": about.to_json(), "events": events,
        });
        if let Some(txn) = txn {
            claims["txn"] = txn.into();
        }
        claims
    }

    fn payload(&self, about: About<'_>) -> Value {
        let caused = |Cause { at, by, why }: &Cause<'_>| {
            json!({
                "event_timestamp": at, "initiating_entity": by.as_str(), "reason_admin": { "en": why },
            })
        };
        match self {
            Self::SessionRevoked(cause) => caused(cause),
            Self::RiskLevelChange(cause, level) => {
                let mut payload = caused(cause);
                payload["principal"] = about.principal().into();
                payload["current_level"] = level.as_str().into();
                payload
            }
            Self::Verification { state: Some(state) } => json!({ "state": state }),
            Self::Verification { state: None } => json!({}),
            Self::StreamUpdated { status, reason } => {
                json!({ "status": status.as_str(), "reason": reason })
            }
        }
    }
}

/// The token of `claims` by an RSA key, which signs nothing but such tokens, naming the key by its thumbprint.
pub fn sign_rs256(claims: &Value, key: &EventKey) -> Result<String, SignError> {
    let kid = key.public().thumbprint_text();
    let header = json!({ "alg": EventKey::ALGORITHM, "kid": kid, "typ": TYPE });
    let encode = |value: &Value| keys::base64url(value.to_string().as_bytes());
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let signature = keys::base64url(&key.sign(signed.as_bytes())?);
    Ok(format!("{signed}.{signature}"))
}
