//! Which identities may become an instance of an agent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::claims::{CLAIM_NAME_MAX, CLAIM_VALUE_MAX, REGISTERED};
use crate::identity::Identity;
use crate::spiffe_id::{ID_MAX, SCHEME};

/// The longest issuer, in bytes.
pub(crate) const ISSUER_MAX: usize = 512;

/// The longest subject, in bytes.
pub(crate) const SUBJECT_MAX: usize = ID_MAX;

/// The most claims that a rule may ask for.
pub(crate) const RULE_CLAIMS_MAX: usize = 16;

/// Why a rule is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Its issuer is empty or too long.
    #[error("the issuer of a rule has 1 to {ISSUER_MAX} bytes")]
    Issuer,
    /// Its subject is empty or too long.
    #[error("the subject of a rule has 1 to {SUBJECT_MAX} bytes")]
    Subject,
    /// Its subject has a `*` elsewhere than at its end, behind a `/` or `:`.
    #[error("`*` stands only at the end of a subject, behind `/` or `:`")]
    Star,
    /// It is for a trust domain, and its subject is not of it.
    #[error("the subject of a rule for a trust domain begins with the trust domain and `/`")]
    OtherDomain,
    /// It asks for too many claims.
    #[error("a rule asks for at most {RULE_CLAIMS_MAX} claims")]
    TooManyClaims,
    /// The name or the value of a claim is empty or too long, or no identity has such a claim.
    #[error("a rule asks for a claim that no identity can have")]
    Claim,
}

/// Says which identities may become an instance of an agent: all of it has to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Rule(Written);

/// A rule as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// Exactly this issuer; `spiffe://TRUST-DOMAIN` for a trust domain.
    issuer: String,
    /// Exactly this subject; or, with a `*` at its end, every subject that goes on behind.
    subject: String,
    /// Exactly these values of these claims.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    claims: BTreeMap<String, String>,
}

impl Rule {
    /// A rule for `subject`, or what it stands for, of `issuer`, whose identity has all of `claims`.
    pub fn new(
        issuer: impl Into<String>,
        subject: impl Into<String>,
        claims: BTreeMap<String, String>,
    ) -> Result<Self, RuleError> {
        Written { issuer: issuer.into(), subject: subject.into(), claims }.try_into()
    }

    /// Whether `identity` may become an instance by this rule.
    pub fn admits(&self, identity: &Identity) -> bool {
        let Written { issuer, subject, claims } = &self.0;
        let is_subject = match subject.strip_suffix('*') {
            None => identity.subject == *subject,
            Some(start) => {
                identity.subject.strip_prefix(start).is_some_and(|rest| !rest.is_empty())
            }
        };
        let has = |(name, value): (&String, &String)| identity.claims.get(name) == Some(value);
        identity.issuer == *issuer && is_subject && claims.iter().all(has)
    }

    /// Whose identities it is about.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Its subject, as it is written.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }
}

impl TryFrom<Written> for Rule {
    type Error = RuleError;

    fn try_from(written: Written) -> Result<Self, RuleError> {
        let Written { issuer, subject, claims } = &written;
        if !(1..=ISSUER_MAX).contains(&issuer.len()) {
            return Err(RuleError::Issuer);
        }
        if !(1..=SUBJECT_MAX).contains(&subject.len()) {
            return Err(RuleError::Subject);
        }
        let start = subject.strip_suffix('*');
        let is_bounded = start.is_none_or(|start| start.ends_with(['/', ':']));
        if !is_bounded || start.unwrap_or(subject).contains('*') {
            return Err(RuleError::Star);
        }
        if issuer.starts_with(SCHEME) {
            let rest = subject.strip_prefix(issuer.as_str());
            if !rest.is_some_and(|rest| rest.starts_with('/')) {
                return Err(RuleError::OtherDomain);
            }
        }
        if claims.len() > RULE_CLAIMS_MAX {
            return Err(RuleError::TooManyClaims);
        }
        let can_be = |(name, value): (&String, &String)| {
            (1..=CLAIM_NAME_MAX).contains(&name.len())
                && value.len() <= CLAIM_VALUE_MAX
                && !REGISTERED.contains(&name.as_str())
        };
        if !claims.iter().all(can_be) {
            return Err(RuleError::Claim);
        }
        Ok(Self(written))
    }
}

impl From<Rule> for Written {
    fn from(rule: Rule) -> Self {
        rule.0
    }
}
