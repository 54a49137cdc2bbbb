//! Releases of policy: what its author published, another person approved, and somebody put in force.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{PersonId, PolicyDigest, Sha256Digest, Timestamp};

/// What an author publishes: the content by its digest, as a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseTerms {
    /// One more than the newest that there was.
    pub version: u64,
    /// The set without the tools that it is compiled with.
    pub content: PolicyDigest,
    /// Since when it may not be put in force any more, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The release whose content it brings back, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<u64>,
    /// What its author says is proved of it, by its digest: the service proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Sha256Digest>,
    /// Who answers for it from then on; without it, its author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<PersonId>,
}

/// What somebody signed by their own key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedBy {
    /// Who.
    pub person: PersonId,
    /// When it was taken.
    pub at: Timestamp,
    /// The base URL of the deployment for which it was signed.
    pub url: String,
    /// Their word (a JWS).
    pub word: String,
}

/// What a release replaces: what was active when it was approved, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// The release; 0 if none was active.
    pub version: u64,
    /// Its content; none if it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<PolicyDigest>,
}

/// That somebody approved a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// In place of what.
    pub base: Base,
    /// Who.
    pub by: SignedBy,
}

/// That a release was put in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// By whom.
    pub by: PersonId,
    /// When.
    pub at: Timestamp,
    /// The policy key's signature over [`Release::activated_bytes`] (base64url).
    pub signature: String,
}

/// A policy set as it was released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// What was published.
    pub terms: ReleaseTerms,
    /// Who published it; of the first one, which the founding record names, who signed it once they had a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<SignedBy>,
    /// How many cases of it held here when that was last tried; nobody has, if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cases: Option<u64>,
    /// Where it stands in its life.
    pub state: ReleaseState,
}

/// Where a release stands in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum ReleaseState {
    /// Its author published it.
    Proposed,
    /// Somebody else approved it.
    Released {
        /// Who, and in place of what.
        approval: Approval,
    },
    /// It is in force.
    Active {
        /// Who approved it; of the first one, nobody until another founder has a key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<Approval>,
        /// Who put it in force.
        activation: Activation,
    },
    /// It was in force until another one was.
    Superseded {
        /// Who approved it, unless nobody did the first one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<Approval>,
        /// Who put it in force.
        activation: Activation,
        /// Until when.
        until: Timestamp,
    },
    /// Somebody took it back before it was in force.
    Withdrawn {
        /// Who.
        by: PersonId,
        /// When.
        at: Timestamp,
    },
}

/// Which releases there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Releases {
    /// The newest.
    pub newest: u64,
    /// The one in force, once there is one.
    pub active: u64,
    /// The one under observation, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<u64>,
}

impl Base {
    /// That nothing was in force before.
    pub const NOTHING: Self = Self { version: 0, content: None };
}

impl ReleaseTerms {
    /// What its author signs.
    pub fn published(&self) -> Value {
        json!({ "do": "policy-publish", "terms": self })
    }
}

impl Release {
    /// What its approver signs: that it is to be in force in place of `base`.
    pub fn approval_over(&self, base: &Base) -> Value {
        let (version, digest) = (self.terms.version, self.digest());
        json!({ "do": "policy-approve", "version": version, "digest": digest, "base": base })
    }

    /// The digest of what its author published, with their signature.
    pub fn digest(&self) -> Sha256Digest {
        let published = json!({ "terms": self.terms, "author": self.author });
        Sha256Digest::of(&json::canonical(&published))
    }

    /// What the policy key signs when `by` puts it in force at `at`: all that makes it what it is.
    pub fn activated_bytes(&self, by: &PersonId, at: Timestamp) -> Vec<u8> {
        let mut signed = json!({
            "approval": self.approval(),
            "at": at,
            "author": self.author,
            "by": by,
            "terms": self.terms,
            "type": "chancery/policy-activation/v1",
        });
        if let Some(cases) = self.cases {
            signed["cases"] = cases.into();
        }
        json::canonical(&signed)
    }

    /// Who answers for it, since when it was published; nobody does for the first one before somebody signs it.
    pub fn owner(&self) -> Option<(&PersonId, Timestamp)> {
        let author = self.author.as_ref()?;
        Some((self.terms.owner.as_ref().unwrap_or(&author.person), author.at))
    }

    /// Its approval, if somebody approved it.
    pub const fn approval(&self) -> Option<&Approval> {
        match &self.state {
            ReleaseState::Proposed | ReleaseState::Withdrawn { .. } => None,
            ReleaseState::Released { approval } => Some(approval),
            ReleaseState::Active { approval, .. } | ReleaseState::Superseded { approval, .. } => {
                approval.as_ref()
            }
        }
    }

    /// Whether it is in force and nobody approved it: a deployment was founded with it.
    pub const fn is_unapproved(&self) -> bool {
        matches!(self.state, ReleaseState::Active { approval: None, .. })
    }

    /// What `person` signs, who founded the deployment with it and has a key now: that they are its author, or,
    /// after somebody else, that they approve it. Nothing, if others did.
    pub fn waits_for(&self, person: &PersonId) -> Option<Value> {
        if !self.is_unapproved() {
            return None;
        }
        match &self.author {
            None => Some(self.terms.published()),
            Some(author) if author.person == *person => None,
            Some(_) => Some(self.approval_over(&Base::NOTHING)),
        }
    }

    /// The same, of this author, if a deployment was founded with it and it is nobody's yet.
    #[must_use]
    pub fn authored(self, author: SignedBy) -> Option<Self> {
        let waits = self.is_unapproved() && self.author.is_none();
        waits.then_some(Self { author: Some(author), ..self })
    }

    /// The same, approved, if it waits for that: also if it was, in place of something else, and if a deployment was
    /// founded with it.
    #[must_use]
    pub fn approved(self, approval: Approval) -> Option<Self> {
        let state = match self.state {
            ReleaseState::Proposed => ReleaseState::Released { approval },
            ReleaseState::Released { approval: before } if before.base != approval.base => {
                ReleaseState::Released { approval }
            }
            ReleaseState::Active { approval: None, activation } if self.author.is_some() => {
                ReleaseState::Active { approval: Some(approval), activation }
            }
            _ => return None,
        };
        Some(Self { state, ..self })
    }

    /// The same, in force, if it was approved.
    #[must_use]
    pub fn activated(self, activation: Activation) -> Option<Self> {
        let ReleaseState::Released { approval } = self.state else { return None };
        let approval = Some(approval);
        Some(Self { state: ReleaseState::Active { approval, activation }, ..self })
    }

    /// The same, in force no longer since `until`, if it was.
    #[must_use]
    pub fn superseded(self, until: Timestamp) -> Option<Self> {
        let ReleaseState::Active { approval, activation } = self.state else { return None };
        Some(Self { state: ReleaseState::Superseded { approval, activation, until }, ..self })
    }

    /// The same, taken back by `by` at `at`, if it was not in force yet.
    #[must_use]
    pub fn withdrawn(self, by: PersonId, at: Timestamp) -> Option<Self> {
        match self.state {
            ReleaseState::Proposed | ReleaseState::Released { .. } => {
                Some(Self { state: ReleaseState::Withdrawn { by, at }, ..self })
            }
            _ => None,
        }
    }
}
