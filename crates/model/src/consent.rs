//! Consents: what an agent asks a person to be allowed on their behalf, and what became of it.

use serde::{Deserialize, Serialize};

use crate::{
    AgentName, ConsentId, FactKey, MandateId, PersonId, PurposeId, Scope, ServerName, Sha256Digest,
    Timestamp,
};

/// What an agent asks some person for. It says what, never who: whoever consents does so for
/// themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// Its id, which nobody can guess.
    pub id: ConsentId,
    /// The agent that asks.
    pub agent: AgentName,
    /// What for.
    pub purpose: PurposeId,
    /// The most that may be done.
    pub scope: Scope,
    /// Until when, at the latest.
    pub until: Timestamp,
    /// When it was asked.
    pub asked: Timestamp,
    /// When it can be answered no longer.
    pub expires: Timestamp,
    /// What became of it.
    pub state: ConsentState,
    /// The OAuth client that sent the person here, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Box<SentBy>>,
}

/// The authorization request by which an OAuth client sent a person here (RFC 6749 §4.1.1), with
/// where the answer goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentBy {
    /// Who was logged in when it arrived: nobody else may answer.
    pub person: PersonId,
    /// The client.
    pub client_id: String,
    /// How it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where the answer goes: one of the client's own.
    pub redirect_uri: String,
    /// What the client is told again with the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The digest of what only the client knows (RFC 7636 §4.2, `S256`).
    pub challenge: Sha256Digest,
    /// The one server that the token will be for.
    pub server: ServerName,
    /// What the client asked for in `scope`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Whether it takes no token but one that is bound to a key (RFC 9449 §5.2).
    pub bound: bool,
    /// The code that it was given, once the person consented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
}

/// An authorization code (RFC 6749 §4.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// Its digest: the code itself is kept nowhere.
    pub digest: Sha256Digest,
    /// When it can be redeemed no longer.
    pub expires: Timestamp,
}

/// What became of a request for consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum ConsentState {
    /// Nobody has answered.
    Pending,
    /// A person consented.
    Given {
        /// The mandate that they gave.
        mandate: MandateId,
    },
    /// A person refused.
    Refused {
        /// When.
        since: Timestamp,
    },
}

impl Consent {
    /// Whether `person` may answer: where a client sent somebody here, nobody else.
    pub fn is_for(&self, person: &PersonId) -> bool {
        self.client.as_ref().is_none_or(|client| client.person == *person)
    }

    /// Where it stands with those that were asked of late and nobody answered: with its agent's, or,
    /// where a client sent a person here, with that person's.
    pub fn place(&self) -> FactKey {
        let person = self.client.as_ref().map(|client| &client.person);
        FactKey::asked(&self.agent, person)
    }

    /// Whether somebody can still answer at `now`.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.state == ConsentState::Pending && now < self.expires
    }
}
