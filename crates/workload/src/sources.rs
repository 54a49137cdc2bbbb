//! The platforms that are trusted, with their keys in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Clock;
use outbound::Fetcher;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{SetupError, SourcesConfig};
use crate::error::VerifyError;
use crate::identity::Verified;
use crate::source::{Source, World};
use crate::spiffe_id::TrustDomain;
use crate::verify::{OidcToken, OidcTrust, SpiffeTrust, SvidToken, WorkloadToken};

/// What [`Sources`] need of the world.
pub struct Parts {
    /// Fetches issuers' metadata and keys.
    pub fetcher: Fetcher,
    /// Says whether tokens hold and keys are fresh.
    pub clock: Arc<dyn Clock>,
    /// Waits for what is under way when the service stops.
    pub tasks: TaskTracker,
}

/// The platforms that are trusted, with their keys in memory.
pub struct Sources {
    issuers: BTreeMap<String, OidcTrust>,
    domains: BTreeMap<TrustDomain, SpiffeTrust>,
    world: Arc<World>,
}

impl Sources {
    /// The platforms of `config`. Nobody is asked for keys yet.
    pub fn new(config: SourcesConfig, parts: Parts) -> Result<Self, SetupError> {
        config.check()?;
        let Parts { fetcher, clock, tasks } = parts;
        let keys_last = config.keys_last()?;
        let world = Arc::new(World { fetcher, clock, tasks, keys_last });
        let (mut issuers, mut domains) = (BTreeMap::new(), BTreeMap::new());
        for issuer in config.oidc {
            let source = Source::new(issuer.issuer.clone(), issuer.origin()?, world.clone());
            let (audience, algorithms) = (issuer.audience, issuer.algorithms);
            issuers.insert(issuer.issuer, OidcTrust { audience, algorithms, source });
        }
        for domain in config.spiffe {
            let name = domain.trust_domain.id();
            let source = Source::new(name, domain.origin()?, world.clone());
            let trust = SpiffeTrust { audience: domain.audience, source };
            domains.insert(domain.trust_domain, trust);
        }
        Ok(Self { issuers, domains, world })
    }

    /// Keeps the keys of all platforms fresh, on tracked tasks, until `stopped`. Without it keys are
    /// asked for when a token needs them.
    pub fn keep_fresh(&self, stopped: &CancellationToken) {
        for source in self.all() {
            self.world.tasks.spawn(source.clone().keep_fresh(stopped.clone()));
        }
    }

    /// Each platform, and whether its keys verify anything now.
    pub fn freshness(&self) -> Vec<(&str, bool)> {
        self.all().map(|source| (source.name(), source.has_keys())).collect()
    }

    /// Whether JWT-SVIDs of any trust domain are taken.
    pub fn takes_svids(&self) -> bool {
        !self.domains.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Source>> {
        let oidc = self.issuers.values().map(|trust| &trust.source);
        oidc.chain(self.domains.values().map(|trust| &trust.source))
    }

    /// Says whose token it is.
    pub async fn verify(&self, token: WorkloadToken<'_>) -> Result<Verified, VerifyError> {
        match token {
            WorkloadToken::Oidc(token) => {
                let token = OidcToken::read(token)?;
                let trust = self.issuers.get(token.issuer()).ok_or(VerifyError::ForeignIssuer)?;
                token.verify(trust, self.world.clock.as_ref()).await
            }
            WorkloadToken::JwtSvid(token) => self.verify_svid(SvidToken::read(token)?).await,
            WorkloadToken::ClientSvid(token) => {
                self.verify_svid(SvidToken::read(token)?.for_us_alone()).await
            }
        }
    }

    async fn verify_svid(&self, token: SvidToken<'_>) -> Result<Verified, VerifyError> {
        let trust = self.domains.get(token.trust_domain());
        let trust = trust.ok_or(VerifyError::ForeignTrustDomain)?;
        token.verify(trust, self.world.clock.as_ref()).await
    }
}
