//! Tokens against sources whose keys are in files, behind a real TLS server on loopback, and behind a
//! real Workload API on a Unix socket. Time passes when a test says so.
#![allow(clippy::disallowed_methods, reason = "tests make keys and run servers")]

mod agent;
mod claims;
mod config;
mod errors;
mod interop;
mod issuer;
mod issuer_keys;
mod jose;
mod keys;
mod signing;
mod spiffe_ids;
mod svid;
mod times;
mod trust;
mod workload_api;

use std::sync::Arc;
use std::time::Duration;

use ::keys::base64url;
use model::Clock as _;
use outbound::{Fetcher, Trust};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::ManualClock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Parts, Sources, SourcesConfig, Verified, VerifyError, WorkloadToken};
use issuer::Authority;
use signing::TestKey;

/// Our audience.
const US: &str = "https://chancery.example";

/// An issuer whose keys are in a file.
const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";

/// When every manual clock starts, in seconds since the epoch.
const NOW: i64 = 1_767_225_600;

/// Sources by a manual clock.
struct World {
    clock: Arc<ManualClock>,
    tasks: TaskTracker,
    stopped: CancellationToken,
    sources: Sources,
}

impl World {
    /// Sources as `config` says, which fetch from localhost if `authority` vouches for it.
    fn new(config: Value, authority: &Authority) -> Self {
        let config: SourcesConfig = serde_json::from_value(config).expect("a configuration");
        let (clock, tasks) = (Arc::new(ManualClock::new()), TaskTracker::new());
        assert_eq!(clock.now().as_seconds(), NOW);
        let parts =
            Parts { fetcher: fetcher(authority), clock: clock.clone(), tasks: tasks.clone() };
        let sources = Sources::new(config, parts).expect("sources");
        Self { clock, tasks, stopped: CancellationToken::new(), sources }
    }

    async fn oidc(&self, token: &str) -> Result<Verified, VerifyError> {
        self.sources.verify(WorkloadToken::Oidc(token)).await
    }

    async fn svid(&self, token: &str) -> Result<Verified, VerifyError> {
        self.sources.verify(WorkloadToken::JwtSvid(token)).await
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn keep_fresh(&self) {
        self.sources.keep_fresh(&self.stopped);
    }
}

fn fetcher(authority: &Authority) -> Fetcher {
    let private_hosts = ["localhost".to_owned()].into();
    let authorities = vec![authority.certificate.clone()];
    Fetcher::new(Trust { private_hosts, authorities }).expect("there is an authority")
}

/// An issuer and a trust domain, `example.org`, whose keys are in files.
struct Files {
    world: World,
    folder: TempDir,
}

impl Files {
    /// The keys of both, as JWKs.
    fn new(jwks: &[Value], bundle: &[Value]) -> Self {
        Self::with(jwks, bundle, |_| {})
    }

    fn with(jwks: &[Value], bundle: &[Value], change: impl FnOnce(&mut Value)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (jwks_file, bundle_file) = (folder.path().join("jwks"), folder.path().join("bundle"));
        let mut config = json!({
            "oidc": [{ "issuer": CLUSTER, "audience": US, "jwks_file": jwks_file }],
            "spiffe": [
                { "trust_domain": "example.org", "audience": US, "bundle_file": bundle_file },
            ],
        });
        change(&mut config);
        let files = Self { world: World::new(config, &Authority::new()), folder };
        files.write("jwks", jwks);
        files.write("bundle", bundle);
        files
    }

    fn write(&self, file: &str, keys: &[Value]) {
        self.write_text(file, &json!({ "keys": keys }).to_string());
    }

    fn write_text(&self, file: &str, text: &str) {
        std::fs::write(self.folder.path().join(file), text).unwrap();
    }
}

/// Claims of a service account's token that is good for an hour.
fn account() -> Value {
    json!({
        "iss": CLUSTER,
        "sub": "system:serviceaccount:payments:bot",
        "aud": [US],
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 3_600,
        "jti": "b6e5d1ab",
        "kubernetes.io": {
            "namespace": "payments",
            "serviceaccount": { "name": "bot", "uid": "54ac" },
            "warnafter": 1_767_229_207,
        },
    })
}

/// Claims of a JWT-SVID that is good for five minutes.
fn workload() -> Value {
    json!({ "sub": "spiffe://example.org/ns/payments/sa/bot", "aud": [US], "exp": NOW + 300 })
}

/// `value` with the member `name`; without it where `member` is null.
fn with(value: &Value, name: &str, member: impl Into<Value>) -> Value {
    let mut changed = value.clone();
    match member.into() {
        Value::Null => drop(changed.as_object_mut().unwrap().remove(name)),
        member => changed[name] = member,
    }
    changed
}

/// A compact JWS over exactly these texts.
fn sign_texts(header: &str, claims: &str, key: &TestKey) -> String {
    let input = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
    let signature = key.sign(input.as_bytes());
    format!("{input}.{}", base64url(&signature))
}

/// A compact JWS with this header and these claims.
fn sign(header: &Value, claims: &Value, key: &TestKey) -> String {
    sign_texts(&header.to_string(), &claims.to_string(), key)
}

/// A token by `key`, whose name is `kid`.
fn token(kid: &str, claims: &Value, key: &TestKey) -> String {
    sign(&json!({ "alg": key.alg, "kid": kid }), claims, key)
}

/// The error's code, or `ok`.
fn told(result: &Result<Verified, VerifyError>) -> &'static str {
    result.as_ref().map_or_else(VerifyError::code, |_| "ok")
}

/// Whether no key of its name is known, whether or not its issuer could be asked.
fn is_unknown(result: &Result<Verified, VerifyError>) -> bool {
    ["unknown_key", "key_unasked"].contains(&told(result))
}

/// Waits until it is so. What is waited for happens on its own; nobody looks at how long it takes.
async fn until(is_so: impl AsyncFn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_mins(1), "it does not happen");
        tokio::task::yield_now().await;
    }
}
