//! Which platforms are trusted, as the operator writes it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use https_url::HttpsUrl;
use model::workload::{ISSUER_MAX, SPIFFE_SCHEME};
use oauth::jwks::Algorithm;
use serde::Deserialize;

use crate::origin::Origin;
use crate::source::FETCH_EVERY;
use crate::spiffe_id::TrustDomain;
use crate::workload_api::Endpoint;

/// The most issuers, and the most trust domains.
pub(crate) const SOURCES_MAX: usize = 64;

/// The longest audience, in bytes.
pub(crate) const AUDIENCE_MAX: usize = 512;

/// For how long keys are used after they were last seen, in seconds, unless it is said otherwise.
const KEYS_LAST_S: u64 = 3_600;

/// The most seconds that may be said: beyond it a revoked key would be taken for days.
const KEYS_LAST_MAX_S: u64 = 86_400;

/// The platforms that are trusted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcesConfig {
    /// Issuers of OpenID Connect tokens.
    #[serde(default)]
    pub oidc: Vec<Issuer>,
    /// SPIFFE trust domains.
    #[serde(default)]
    pub spiffe: Vec<TrustDomainSource>,
    /// For how many seconds keys are used after they were last seen (3,600).
    #[serde(default = "keys_last_s")]
    pub keys_last_s: u64,
}

impl Default for SourcesConfig {
    fn default() -> Self {
        Self { oidc: Vec::new(), spiffe: Vec::new(), keys_last_s: KEYS_LAST_S }
    }
}

/// An issuer of OpenID Connect tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its name, exactly as in `iss`.
    pub issuer: String,
    /// The audience for which it issues tokens to us.
    pub audience: String,
    /// The algorithms by which it may sign, by default RS256, PS256, ES256, ES384 and `EdDSA`.
    #[serde(default = "oidc_algorithms")]
    pub algorithms: BTreeSet<Algorithm>,
    /// The file with its keys. Without one they are fetched, by its metadata.
    #[serde(default)]
    pub jwks_file: Option<PathBuf>,
}

/// A SPIFFE trust domain. Its keys come from the Workload API or from a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustDomainSource {
    /// Its name, without `spiffe://`.
    pub trust_domain: TrustDomain,
    /// The audience for which its workloads get tokens for us.
    pub audience: String,
    /// The socket of the Workload API: `unix:///PATH`.
    #[serde(default)]
    pub workload_api: Option<Endpoint>,
    /// The file with its bundle.
    #[serde(default)]
    pub bundle_file: Option<PathBuf>,
}

/// Why the platforms cannot be trusted as it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// There are too many.
    #[error("more than {SOURCES_MAX} issuers or trust domains")]
    TooMany,
    /// One is written twice.
    #[error("`{0}` is written twice")]
    Twice(String),
    /// It is no name of an issuer.
    #[error(
        "`{0}` is no issuer: it has 1 to {ISSUER_MAX} bytes and does not begin with `{SPIFFE_SCHEME}`"
    )]
    Issuer(String),
    /// It is no issuer whose metadata could be fetched.
    #[error("the metadata of `{0}` cannot be fetched: name an https URL, or a file of its keys")]
    NoMetadata(String),
    /// The audience is empty or too long.
    #[error("the audience for `{0}` has 1 to {AUDIENCE_MAX} bytes")]
    Audience(String),
    /// The issuer may sign by no algorithm, or by one that issuers do not use.
    #[error("the algorithms of `{0}` are none, or not among RS256, PS256, ES256, ES384 and EdDSA")]
    Algorithms(String),
    /// A trust domain has no source of keys, or two.
    #[error("the trust domain `{0}` needs either `workload_api` or `bundle_file`")]
    Keys(String),
    /// The keys' bound is too short to fetch them in time, or too long.
    #[error("keys last {} to {KEYS_LAST_MAX_S} seconds", FETCH_EVERY.as_secs())]
    KeysLast,
}

fn keys_last_s() -> u64 {
    KEYS_LAST_S
}

fn oidc_algorithms() -> BTreeSet<Algorithm> {
    Algorithm::OIDC.into()
}

impl SourcesConfig {
    /// Whether the platforms can be trusted as it is written.
    pub fn check(&self) -> Result<(), SetupError> {
        if self.oidc.len() > SOURCES_MAX || self.spiffe.len() > SOURCES_MAX {
            return Err(SetupError::TooMany);
        }
        self.keys_last()?;
        self.oidc.iter().try_for_each(|issuer| issuer.origin().map(drop))?;
        self.spiffe.iter().try_for_each(|domain| domain.origin().map(drop))?;
        let issuers = self.oidc.iter().map(|issuer| issuer.issuer.clone());
        let domains = self.spiffe.iter().map(|domain| domain.trust_domain.id());
        let mut known = BTreeSet::new();
        match issuers.chain(domains).find(|name| !known.insert(name.clone())) {
            Some(twice) => Err(SetupError::Twice(twice)),
            None => Ok(()),
        }
    }

    /// For how long keys are used after they were last seen.
    pub(crate) fn keys_last(&self) -> Result<Duration, SetupError> {
        let may = FETCH_EVERY.as_secs()..=KEYS_LAST_MAX_S;
        let seconds = Some(self.keys_last_s).filter(|seconds| may.contains(seconds));
        seconds.map(Duration::from_secs).ok_or(SetupError::KeysLast)
    }
}

impl Issuer {
    /// Where its keys come from, if all else is as it should be.
    pub(crate) fn origin(&self) -> Result<Origin, SetupError> {
        let named = || self.issuer.clone();
        let is_name = (1..=ISSUER_MAX).contains(&self.issuer.len());
        if !is_name || self.issuer.to_ascii_lowercase().starts_with(SPIFFE_SCHEME) {
            return Err(SetupError::Issuer(named()));
        }
        check_audience(&self.audience, &self.issuer)?;
        let may = |algorithm: &Algorithm| Algorithm::OIDC.contains(algorithm);
        if self.algorithms.is_empty() || !self.algorithms.iter().all(may) {
            return Err(SetupError::Algorithms(named()));
        }
        if let Some(file) = &self.jwks_file {
            return Ok(Origin::JwksFile(file.clone()));
        }
        // OpenID Connect Discovery §4: no query and no fragment.
        let is_plain = !self.issuer.contains(['?', '#']);
        let issuer = self.issuer.strip_suffix('/').unwrap_or(&self.issuer);
        let metadata = format!("{issuer}/.well-known/openid-configuration");
        let metadata = HttpsUrl::parse(&metadata).ok().filter(|_| is_plain);
        let metadata = metadata.ok_or_else(|| SetupError::NoMetadata(named()))?;
        Ok(Origin::Metadata { issuer: named(), metadata })
    }
}

impl TrustDomainSource {
    /// Where its keys come from, if all else is as it should be.
    pub(crate) fn origin(&self) -> Result<Origin, SetupError> {
        let named = || self.trust_domain.as_str().to_owned();
        check_audience(&self.audience, self.trust_domain.as_str())?;
        match (&self.workload_api, &self.bundle_file) {
            (Some(endpoint), None) => {
                Ok(Origin::WorkloadApi(endpoint.clone(), self.trust_domain.clone()))
            }
            (None, Some(file)) => Ok(Origin::BundleFile(file.clone())),
            _ => Err(SetupError::Keys(named())),
        }
    }
}

fn check_audience(audience: &str, of: &str) -> Result<(), SetupError> {
    let is_one = (1..=AUDIENCE_MAX).contains(&audience.len());
    if is_one { Ok(()) } else { Err(SetupError::Audience(of.to_owned())) }
}
