//! Who a workload is, as its platform vouches for it, and which workloads may become an instance of
//! an agent.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Sha256Digest;

/// How the issuer of a trust domain's identities begins, and no other issuer.
pub const SPIFFE_SCHEME: &str = "spiffe://";

/// The longest issuer, in bytes.
pub const ISSUER_MAX: usize = 512;

/// The longest subject, in bytes: that of a SPIFFE ID (SPIFFE-ID §2.3).
pub const SUBJECT_MAX: usize = 2_048;

/// The longest name of a claim, in bytes.
pub const CLAIM_NAME_MAX: usize = 256;

/// The longest value of a claim, in bytes.
pub const CLAIM_VALUE_MAX: usize = 1_024;

/// The most claims that a rule may ask for.
pub const RULE_CLAIMS_MAX: usize = 16;

/// The most rules that an agent may have.
pub const RULES_MAX: usize = 16;

/// What a rule says of a claim that is to be there, whatever its value.
const ANY_VALUE: &str = "*";

/// Claims about the token and not about its holder (RFC 7519 §4.1), or given in another place.
pub const REGISTERED: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

/// A workload, as its platform vouches for it.
///
/// Issuer and subject together are who it is; neither means anything alone. An issuer of OpenID
/// Connect tokens never has the name of a trust domain, so issuers of both kinds are apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadIdentity {
    /// Who vouches for it: `iss`, or `spiffe://TRUST-DOMAIN`.
    pub issuer: String,
    /// Whom it vouches for: `sub`.
    pub subject: String,
    /// What else the platform says of it: texts, whole numbers, `true` and `false`, as text, each by
    /// its name; those inside of objects by their path, with dots between.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
}

impl WorkloadIdentity {
    /// Whether `other` is the same workload, whatever else is said of it.
    pub fn is(&self, other: &Self) -> bool {
        (&self.issuer, &self.subject) == (&other.issuer, &other.subject)
    }

    /// The digest of who it is, whatever else is said of it: names it where nobody is to read it.
    pub fn id(&self) -> Sha256Digest {
        let who = serde_json::json!([self.issuer, self.subject]);
        Sha256Digest::of(&json::canonical(&who))
    }

    /// The same, as far as `rules` ask for it: with the claims by which they admit it.
    #[must_use]
    pub fn known_by(&self, rules: &[WorkloadRule]) -> Self {
        let admitting = rules.iter().filter(|rule| rule.admits(self));
        let asked = admitting.flat_map(|rule| rule.0.claims.keys());
        let own = asked.filter_map(|name| self.claims.get_key_value(name));
        let claims = own.map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { issuer: self.issuer.clone(), subject: self.subject.clone(), claims }
    }
}

/// Why a rule is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadRuleError {
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
pub struct WorkloadRule(Written);

/// A rule as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    /// Exactly this issuer; `spiffe://TRUST-DOMAIN` for a trust domain.
    issuer: String,
    /// Exactly this subject; or, with a `*` at its end, every subject that goes on behind.
    subject: String,
    /// Exactly these values of these claims; `*` is any value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    claims: BTreeMap<String, String>,
}

impl WorkloadRule {
    /// A rule for `subject`, or what it stands for, of `issuer`, whose identity has all of `claims`.
    pub fn new(
        issuer: impl Into<String>,
        subject: impl Into<String>,
        claims: BTreeMap<String, String>,
    ) -> Result<Self, WorkloadRuleError> {
        Written { issuer: issuer.into(), subject: subject.into(), claims }.try_into()
    }

    /// Whether `identity` may become an instance by this rule.
    pub fn admits(&self, identity: &WorkloadIdentity) -> bool {
        let Written { issuer, subject, claims } = &self.0;
        let is_subject = match subject.strip_suffix('*') {
            None => identity.subject == *subject,
            Some(start) => {
                identity.subject.strip_prefix(start).is_some_and(|rest| !rest.is_empty())
            }
        };
        let has = |(name, value): (&String, &String)| {
            identity.claims.get(name).is_some_and(|own| own == value || value == ANY_VALUE)
        };
        identity.issuer == *issuer && is_subject && claims.iter().all(has)
    }

    /// An identity that may become an instance by this rule.
    pub fn example(&self) -> WorkloadIdentity {
        let Written { issuer, subject, claims } = self.0.clone();
        // What stands for any subject, or any value, is one.
        WorkloadIdentity { issuer, subject, claims }
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

impl TryFrom<Written> for WorkloadRule {
    type Error = WorkloadRuleError;

    fn try_from(written: Written) -> Result<Self, WorkloadRuleError> {
        let Written { issuer, subject, claims } = &written;
        if !(1..=ISSUER_MAX).contains(&issuer.len()) {
            return Err(WorkloadRuleError::Issuer);
        }
        if !(1..=SUBJECT_MAX).contains(&subject.len()) {
            return Err(WorkloadRuleError::Subject);
        }
        let start = subject.strip_suffix('*');
        let is_bounded = start.is_none_or(|start| start.ends_with(['/', ':']));
        if !is_bounded || start.unwrap_or(subject).contains('*') {
            return Err(WorkloadRuleError::Star);
        }
        if issuer.starts_with(SPIFFE_SCHEME) {
            let rest = subject.strip_prefix(issuer.as_str());
            if !rest.is_some_and(|rest| rest.starts_with('/')) {
                return Err(WorkloadRuleError::OtherDomain);
            }
        }
        if claims.len() > RULE_CLAIMS_MAX {
            return Err(WorkloadRuleError::TooManyClaims);
        }
        let can_be = |(name, value): (&String, &String)| {
            (1..=CLAIM_NAME_MAX).contains(&name.len())
                && value.len() <= CLAIM_VALUE_MAX
                && !REGISTERED.contains(&name.as_str())
        };
        if !claims.iter().all(can_be) {
            return Err(WorkloadRuleError::Claim);
        }
        Ok(Self(written))
    }
}

impl From<WorkloadRule> for Written {
    fn from(rule: WorkloadRule) -> Self {
        rule.0
    }
}
