//! Whose word counts on which workload somebody is (`docs/workload-identity.md`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use https_url::HttpsUrl;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use workload::SourcesConfig;

/// The platforms whose word counts on workloads.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Attestation {
    /// Issuers of OpenID Connect tokens: clusters, CI services, clouds.
    pub(crate) issuers: Vec<Issuer>,
    /// SPIFFE trust domains.
    pub(crate) trust_domains: Vec<TrustDomain>,
    /// For how many seconds keys are used after they were last seen.
    #[schemars(range(min = 10, max = 86_400))]
    pub(crate) keys_last_s: u64,
    /// Hosts in the operator's own network, in lower case, from which issuers' keys may be fetched.
    pub(crate) private_hosts: BTreeSet<String>,
    /// Files with certificates, in PEM, that vouch for issuers' servers beside the system's.
    pub(crate) ca_files: Vec<PathBuf>,
}

/// An issuer of OpenID Connect tokens.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Issuer {
    /// Its name, exactly as in `iss`.
    issuer: String,
    /// The audience for which workloads ask for their tokens. Default: `public_url`.
    #[serde(default)]
    audience: Option<String>,
    /// The algorithms by which it may sign. Default: RS256, PS256, ES256, ES384, `EdDSA`.
    #[serde(default)]
    algorithms: Option<Vec<String>>,
    /// The file with its keys. Without one they are fetched, by its metadata.
    #[serde(default)]
    jwks_file: Option<PathBuf>,
}

/// A SPIFFE trust domain. Its keys come from the Workload API or from a file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrustDomain {
    /// Its name, without `spiffe://`.
    trust_domain: String,
    /// The audience for which its workloads ask for their JWT-SVIDs. Default: `public_url`.
    #[serde(default)]
    audience: Option<String>,
    /// The socket of the Workload API: `unix:///PATH`.
    #[serde(default)]
    workload_api: Option<String>,
    /// The file with its bundle.
    #[serde(default)]
    bundle_file: Option<PathBuf>,
}

impl Default for Attestation {
    fn default() -> Self {
        let (issuers, trust_domains, ca_files) = (Vec::new(), Vec::new(), Vec::new());
        let private_hosts = BTreeSet::new();
        Self { issuers, trust_domains, keys_last_s: 3_600, private_hosts, ca_files }
    }
}

impl Attestation {
    /// Whether anybody's word counts.
    pub(crate) fn is_empty(&self) -> bool {
        self.issuers.is_empty() && self.trust_domains.is_empty()
    }

    /// The platforms, of which workloads ask for tokens for `us` where nothing else is said.
    pub(crate) fn sources(&self, us: &str) -> Result<SourcesConfig, String> {
        check_hosts(&self.private_hosts)?;
        let oidc = self.issuers.iter().map(|issuer| {
            let Issuer { issuer, audience, algorithms, jwks_file } = issuer;
            let audience = audience.as_deref().unwrap_or(us);
            let mut said =
                json!({ "issuer": issuer, "audience": audience, "jwks_file": jwks_file });
            if let Some(algorithms) = algorithms {
                said["algorithms"] = json!(algorithms);
            }
            said
        });
        let spiffe = self.trust_domains.iter().map(|domain| {
            let TrustDomain { trust_domain, audience, workload_api, bundle_file } = domain;
            json!({
                "trust_domain": trust_domain, "audience": audience.as_deref().unwrap_or(us),
                "workload_api": workload_api, "bundle_file": bundle_file,
            })
        });
        let all = json!({
            "oidc": oidc.collect::<Vec<_>>(), "spiffe": spiffe.collect::<Vec<_>>(),
            "keys_last_s": self.keys_last_s,
        });
        let config: SourcesConfig =
            serde_json::from_value(all).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }

    /// The files on which all of it rests, and the sockets of the Workload API: whoever reaches one of
    /// these is this machine's workload, if not this service.
    pub(super) fn places(&self) -> impl Iterator<Item = &Path> {
        let keys = self.issuers.iter().filter_map(|issuer| issuer.jwks_file.as_deref());
        let bundles = self.trust_domains.iter().filter_map(|domain| domain.bundle_file.as_deref());
        let sockets = self.trust_domains.iter().filter_map(|domain| domain.workload_api.as_deref());
        let sockets = sockets.filter_map(|socket| socket.strip_prefix("unix://")).map(Path::new);
        keys.chain(bundles).chain(sockets).chain(self.ca_files.iter().map(PathBuf::as_path))
    }

    /// Makes relative paths start at `base`.
    pub(super) fn anchor_at(&mut self, base: &Path) {
        let keys = self.issuers.iter_mut().filter_map(|issuer| issuer.jwks_file.as_mut());
        let bundles = self.trust_domains.iter_mut().filter_map(|it| it.bundle_file.as_mut());
        for file in keys.chain(bundles).chain(&mut self.ca_files) {
            *file = base.join(&*file);
        }
    }
}

/// Refuses what is no host as it is compared: one that every reader of a URL finds there, and nothing
/// else.
pub(crate) fn check_hosts(hosts: &BTreeSet<String>) -> Result<(), String> {
    let is_host = |host: &&String| {
        let read = HttpsUrl::parse(&format!("https://{host}/"));
        read.is_ok_and(|url| url.host() == *host)
    };
    match hosts.iter().find(|host| !is_host(host)) {
        Some(host) => Err(format!("`{host}` is not a host name in lower case without port")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::read::from_value;

    /// What is told of `attestation`, if it is refused.
    fn check(attestation: Value, expected: &str) {
        let tree = json!({ "state_dir": "state", "attestation": attestation });
        let told = from_value(tree, std::iter::empty()).map(drop);
        let told = told.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
        assert!(told.contains(expected), "{attestation}: {told}");
    }

    #[test]
    fn what_attestation_rests_on_is_out_of_reach_of_tool_servers() {
        let attestation = json!({
            "issuers": [{ "issuer": "https://k", "jwks_file": "/k/jwks" }],
            "trust_domains": [
                { "trust_domain": "a.org", "bundle_file": "/k/bundle" },
                { "trust_domain": "b.org", "workload_api": "unix:///run/spire/agent.sock" },
            ],
            "ca_files": ["/k/ca.pem"],
        });
        let tree = json!({ "state_dir": "/state", "attestation": attestation });
        let config = from_value(tree, std::iter::empty()).unwrap();
        let protected = config.named_protected();
        for place in ["/k/jwks", "/k/bundle", "/run/spire/agent.sock", "/k/ca.pem"] {
            assert!(protected.iter().any(|path| path.as_os_str() == place), "{place}");
        }
    }

    #[test]
    fn platforms_are_checked_before_anything_is_served() {
        let ci = json!({ "issuer": "https://token.actions.githubusercontent.com" });
        let domain = json!({ "trust_domain": "example.org", "bundle_file": "bundle.json" });
        check(json!({}), "ok");
        check(json!({ "issuers": [ci], "trust_domains": [domain] }), "ok");
        check(json!({ "issuers": [{ "issuer": "https://k", "jwks_file": "k.jwks" }] }), "ok");
        check(json!({ "private_hosts": ["idp.internal"], "keys_last_s": 600 }), "ok");
        check(json!({ "issuers": [ci, ci] }), "is written twice");
        check(json!({ "issuers": [{ "issuer": "cluster" }] }), "name an https URL, or a file");
        check(json!({ "issuers": [{ "isuer": "https://k" }] }), "unknown field");
        check(json!({ "issuers": [{ "issuer": "https://k", "algorithms": ["HS256"] }] }), "HS256");
        check(json!({ "trust_domains": [{ "trust_domain": "example.org" }] }), "needs either");
        check(json!({ "trust_domains": [{ "trust_domain": "spiffe://a" }] }), "a trust domain");
        let tcp = json!({ "trust_domain": "a", "workload_api": "tcp://127.0.0.1:1" });
        check(json!({ "trust_domains": [tcp] }), "unix:///PATH");
        check(json!({ "keys_last_s": 9 }), "keys last 10 to 86400 seconds");
        check(json!({ "private_hosts": ["*.internal"] }), "`*.internal` is not a host name");
        check(json!({ "isuers": [] }), "did you mean `attestation.issuers`?");
    }
}
