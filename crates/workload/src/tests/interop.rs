//! Other people's client of the Workload API against the server of these tests, and their validation
//! of the tokens: what both say of the same bundles and tokens.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use model::{Clock, Timestamp};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::agent::Agent;
use super::issuer::Authority;
use super::signing::TestKey;
use super::{US, fetcher, token, told, until, with};
use crate::{Parts, Sources, SourcesConfig, WorkloadToken};

/// Theirs goes by the machine's clock.
struct MachineClock(std::time::Instant);

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp::from_millis(since.as_millis().try_into().unwrap())
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A Python process with the package `spiffe`, which says on each line what it sees.
struct Theirs {
    _process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Theirs {
    fn start(socket: &Path, tokens: &[&str]) -> Self {
        let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let python = manifest.join("../../target/provision/python/bin/python");
        assert!(python.exists(), "no `{}`: run `cargo xtask test`", python.display());
        let mut process = Command::new(python)
            .arg(manifest.join("src/tests/interop.py"))
            .args([&format!("unix://{}", socket.display()), US])
            .args(tokens)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { _process: process, lines }
    }

    async fn expect(&mut self, expected: &str) {
        let line = self.lines.next_line().await.unwrap();
        assert_eq!(line.as_deref(), Some(expected));
    }
}

fn sources(agent: &Agent) -> Sources {
    let config: SourcesConfig = serde_json::from_value(agent.config("example.org")).unwrap();
    let clock = Arc::new(MachineClock(std::time::Instant::now()));
    let parts = Parts { fetcher: fetcher(&Authority::new()), clock, tasks: TaskTracker::new() };
    Sources::new(config, parts).unwrap()
}

#[tokio::test]
async fn an_independent_client_sees_the_same_bundles_and_takes_the_same_tokens() {
    let (old, new) = (TestKey::new("ES256"), TestKey::new("RS256"));
    let agent = Agent::start(&[("example.org", &[old.svid_jwk("k1")])]);
    let sources = sources(&agent);
    sources.keep_fresh(&CancellationToken::new());
    let now = MachineClock(std::time::Instant::now()).now().as_seconds();
    let claims = |lasts: i64, aud: &str| {
        let sub = "spiffe://example.org/ns/payments/sa/bot";
        json!({ "sub": sub, "aud": [aud], "iat": now - 600, "exp": now + lasts })
    };
    let tokens = [
        (token("k1", &claims(300, US), &old), "ok"),
        (token("k1", &claims(-300, US), &old), "expired"),
        (token("k1", &claims(300, "other"), &old), "audience"),
        (token("k1", &claims(300, US), &TestKey::new("ES256")), "signature"),
        (token("k3", &claims(300, US), &old), "unknown_key"),
        (token("k2", &claims(300, US), &new), "key_unasked"),
    ];
    let texts: Vec<&str> = tokens.iter().map(|(token, _)| token.as_str()).collect();
    let mut theirs = Theirs::start(&agent.socket(), &texts);

    theirs.expect("bundle example.org k1").await;
    for (number, (token, expected)) in tokens.iter().enumerate() {
        let found = sources.verify(WorkloadToken::JwtSvid(token)).await;
        assert_eq!(told(&found), *expected, "{number}");
    }
    for (number, (_, expected)) in tokens.iter().enumerate() {
        let said = if *expected == "ok" { "taken" } else { "refused" };
        theirs.expect(&format!("token {number} {said}")).await;
    }

    let bundles: [(&str, &[Value]); 2] = [
        ("example.org", &[with(&new.svid_jwk("k2"), "use", Value::Null)]),
        ("other.org", &[old.svid_jwk("k1")]),
    ];
    agent.rotate(&bundles);
    theirs.expect("bundle example.org k2 other.org k1").await;
    let is_taken = async |number: usize| {
        told(&sources.verify(WorkloadToken::JwtSvid(texts[number])).await) == "ok"
    };
    until(async || is_taken(5).await).await;
    assert!(!is_taken(0).await);
    for (number, said) in
        ["refused", "refused", "refused", "refused", "refused", "taken"].iter().enumerate()
    {
        theirs.expect(&format!("token {number} {said}")).await;
    }
}
