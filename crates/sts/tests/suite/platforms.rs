//! Two platforms whose keys are in files: an issuer of OpenID Connect tokens, and a trust domain.

use std::sync::Arc;

use keys::SigningKey;
use model::{Clock, WorkloadRule};
use outbound::{Fetcher, Trust};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;
use workload::{Parts, Sources};

use crate::ISSUER;
use crate::client::{Request, Sts, key};

/// The issuer.
pub(crate) const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";

/// The trust domain.
pub(crate) const DOMAIN: &str = "spiffe://example.org";

/// Of which the workloads are.
pub(crate) const ACCOUNT: &str = "system:serviceaccount:payments:bot";
pub(crate) const SVID: &str = "spiffe://example.org/ns/payments/sa/bot";

/// A deployment that takes the word of the two platforms.
pub(crate) struct Platforms {
    pub(crate) sts: Sts,
    pub(crate) key: Arc<SigningKey>,
    folder: TempDir,
}

/// How a workload is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A token of the issuer beside the agent's own assertion.
    Oidc,
    /// A JWT-SVID beside the agent's own assertion.
    Svid,
    /// The client authenticates by a JWT-SVID.
    Client,
}

impl Way {
    /// `request`, which shows `token` in this way.
    pub(crate) fn show(self, request: Request, token: &str) -> Request {
        let beside =
            |kind| request.clone().with("workload_token", token).with("workload_token_type", kind);
        match self {
            Self::Oidc => beside("oidc"),
            Self::Svid => beside("jwt-svid"),
            Self::Client => request
                .with("client_assertion_type", oauth::client_assertion::SPIFFE_TYPE)
                .with("client_assertion", token),
        }
    }
}

pub(crate) const WAYS: [Way; 3] = [Way::Oidc, Way::Svid, Way::Client];

/// A rule for `subject`, with these claims.
pub(crate) fn rule(issuer: &str, subject: &str, claims: &[(&str, &str)]) -> WorkloadRule {
    let claims = claims.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    WorkloadRule::new(issuer, subject, claims.collect()).expect("a rule")
}

impl Platforms {
    /// With the rules of the agent for both workloads.
    pub(crate) async fn new() -> Self {
        Self::admitting(vec![
            rule(CLUSTER, ACCOUNT, &[("kubernetes.io.namespace", "payments")]),
            rule(DOMAIN, SVID, &[]),
        ])
        .await
    }

    pub(crate) async fn admitting(rules: Vec<WorkloadRule>) -> Self {
        let (folder, key) = (tempfile::tempdir().expect("a directory"), key());
        let (jwks, bundle) = (folder.path().join("jwks"), folder.path().join("bundle"));
        let silent = format!("unix://{}", folder.path().join("silent.sock").display());
        let config = json!({
            "oidc": [{ "issuer": CLUSTER, "audience": ISSUER, "jwks_file": jwks }],
            "spiffe": [
                { "trust_domain": "example.org", "audience": ISSUER, "bundle_file": bundle },
                { "trust_domain": "silent.org", "audience": ISSUER, "workload_api": silent },
            ],
        });
        let config = serde_json::from_value(config).expect("a configuration");
        let change = |facts: &mut crate::support::Facts| facts.agent.workloads = rules;
        let sts = Sts::served(change, |service, world| {
            let (clock, tasks) = (world.clock.clone(), TaskTracker::new());
            let parts = Parts { fetcher: fetcher(), clock, tasks };
            service.attesting(Arc::new(Sources::new(config, parts).expect("they are in order")))
        })
        .await;
        let platforms = Self { sts, key, folder };
        platforms.publish();
        platforms
    }

    /// Writes the files of keys.
    pub(crate) fn publish(&self) {
        let jwk = |usage: &str| {
            let mut jwk = self.key.verifying().to_jwk();
            jwk["kid"] = self.key.verifying().thumbprint_text().into();
            jwk["use"] = usage.into();
            json!({ "keys": [jwk] }).to_string()
        };
        std::fs::write(self.folder.path().join("jwks"), jwk("sig")).expect("it is ours");
        std::fs::write(self.folder.path().join("bundle"), jwk("jwt-svid")).expect("it is ours");
    }

    /// Takes the files of keys away.
    pub(crate) fn withdraw(&self) {
        for file in ["jwks", "bundle"] {
            std::fs::remove_file(self.folder.path().join(file)).expect("it is there");
        }
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// What the platform says of its workload, good for ten minutes, to be changed.
    pub(crate) fn claims(&self, way: Way) -> Value {
        let now = self.sts.world.clock.now().as_seconds();
        let claims =
            json!({ "aud": [ISSUER], "iat": now, "exp": now + 600, "jti": self.sts.jti() });
        let more = match way {
            Way::Oidc => json!({
                "iss": CLUSTER, "sub": ACCOUNT,
                "kubernetes.io": { "namespace": "payments", "pod": { "name": "bot-7" } },
            }),
            Way::Svid | Way::Client => json!({ "sub": SVID }),
        };
        merged(claims, &more)
    }

    /// A token of the platform with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        oauth::jws::sign("JWT", claims, self.key.as_ref()).expect("it can be signed")
    }

    /// A request for the instance that holds `key`, which shows `token` in this `way`.
    pub(crate) fn request(&self, key: &SigningKey, way: Way, token: &str) -> Request {
        way.show(self.sts.request(key), token)
    }

    /// The same with a fresh token of the platform.
    pub(crate) fn fresh(&self, key: &SigningKey, way: Way) -> Request {
        self.request(key, way, &self.token(&self.claims(way)))
    }
}

/// `value` with the members of `more`; without those that are null.
pub(crate) fn merged(mut value: Value, more: &Value) -> Value {
    let members = value.as_object_mut().expect("an object");
    for (name, member) in more.as_object().expect("an object") {
        match member {
            Value::Null => drop(members.remove(name)),
            member => drop(members.insert(name.clone(), member.clone())),
        }
    }
    value
}

/// What fetches nothing here: all keys are in files.
fn fetcher() -> Fetcher {
    let key = rcgen::KeyPair::generate().expect("a key");
    let own = rcgen::CertificateParams::default().self_signed(&key).expect("a certificate");
    let authorities = vec![own.der().clone()];
    Fetcher::new(Trust { authorities, ..Trust::default() }).expect("there is an authority")
}
