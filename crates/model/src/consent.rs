//! Consents: what an agent asks a person to be allowed on their behalf, and what became of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    AgentName, ConsentId, DataCategory, FactKey, Harm, MandateId, PersonId, PurposeId, Scope,
    ServerName, Sha256Digest, Thumbprint, Timestamp, Tool, ToolRef,
};

/// What an agent asks some person for. It says what: whoever consents does so for themselves. Whom it
/// names narrows who may, and says nothing of anybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// Its id, which nobody can guess.
    pub id: ConsentId,
    /// The agent that asks.
    pub agent: AgentName,
    /// The only one who may see and answer it; nobody in particular, if the agent named nobody.
    pub of: Option<AskedOf>,
    /// What for.
    pub purpose: PurposeId,
    /// The most that may be done.
    pub scope: Scope,
    /// The servers of which it asks for more than tools and lists: resources and prompts, and that
    /// they may ask the agent something.
    pub resources: BTreeSet<ServerName>,
    /// Whether it asks to hand work on to other agents.
    pub delegable: bool,
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
    /// The key of the instance that asked for a token and lacks this, where that is how it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Thumbprint>,
}

/// The authorization request by which an OAuth client sent a person here (RFC 6749 §4.1.1), with
/// where the answer goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentBy {
    /// The client.
    pub client_id: String,
    /// Since when the client was registered when it asked.
    pub since: Timestamp,
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
    /// The one key for which the code is good, if it named one (RFC 9449 §10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jkt: Option<Thumbprint>,
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

/// The one person of whom something is asked, whether there is such a person or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum AskedOf {
    /// A person of the register.
    Person {
        /// Who.
        id: PersonId,
    },
    /// Whoever has a login.
    Login {
        /// Where the register says whose it is.
        key: FactKey,
    },
}

/// What a person was shown beside the scope, and agreed to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreed {
    /// The servers of which more than tools and lists may be used.
    pub resources: BTreeSet<ServerName>,
    /// Whether the work may be handed on to other agents.
    pub delegable: bool,
    /// What each tool could do, as it was shown.
    pub harm: BTreeMap<ToolRef, BTreeSet<Harm>>,
    /// Where the arguments of each tool named data objects (JSON pointers), as it was shown: of those of which somebody
    /// had said it, where the scope names data objects.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub objects: BTreeMap<ToolRef, BTreeSet<String>>,
    /// The categories of data that the purpose was for, as they were shown; any, where none was.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub data: BTreeSet<DataCategory>,
}

impl Agreed {
    /// Whether a call of `tool`, as that is by now, is of what was shown as `scope`: the tool can do no more
    /// than it could then, or is a later one of a server of which all tools were agreed to; and what named data
    /// objects then still does.
    pub fn covers(&self, tool: &Tool, scope: &Scope) -> bool {
        let may = match self.harm.get(&tool.tool) {
            Some(shown) => {
                tool.harm.iter().all(|class| *class == Harm::ReadsData || shown.contains(class))
            }
            None => scope.tools.iter().any(|all| all.exact().is_none() && all.covers(&tool.tool)),
        };
        // Of what nobody says any more which objects it is used on, nothing is permitted but on all.
        let names = match (self.objects.get(&tool.tool), &tool.objects) {
            (Some(shown), Some(places)) => shown.is_subset(places),
            _ => true,
        };
        may && names
    }
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
        /// Who.
        by: PersonId,
        /// When.
        since: Timestamp,
    },
}

impl Consent {
    /// The digest of its id, for records: who reads them cannot open it.
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.id.to_string().as_bytes())
    }

    /// Where it stands with those that were asked of late and nobody answered: with its agent's, or,
    /// where a client sent a person here, with that person's.
    pub fn place(&self) -> FactKey {
        let person = match (&self.client, &self.of) {
            (Some(_), Some(AskedOf::Person { id })) => Some(id),
            _ => None,
        };
        FactKey::asked(&self.agent, person)
    }

    /// Whether it was asked for the same instance as `other`, and the same, of the same person.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        self.key == other.key
            && (&self.of, &self.purpose) == (&other.of, &other.purpose)
            && (&self.scope, &self.resources) == (&other.scope, &other.resources)
            && self.delegable == other.delegable
    }

    /// Whether somebody can still answer at `now`.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.state == ConsentState::Pending && now < self.expires
    }
}
