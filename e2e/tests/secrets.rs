//! What must never be found: a run is made with real clients and servers, everything that passed is
//! known, and then everything that was written down or sent is searched for it.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use e2e::upstream::{self, HttpServer};
use e2e::{Client, Deployment, Door, Options, Recorder, Sdk, free_port, wait_until};
use serde_json::{Value, json};

/// The upstreams of the run.
const SERVERS: [&str; 4] = ["process", "session", "stateless", "keyed"];

const POLICY: &str = r#"
@id("SERVER-reading")
permit (principal, action in Action::"tools/call", resource in Server::"SERVER")
when { resource.harm == ["reads-data"] };

@id("SERVER-no-secrets")
forbid (principal, action == Action::"SERVER/echo", resource)
when { context.input has message && context.input.message like "*forbidden*" };
"#;

/// What only arguments say.
const PERMITTED: &str = "canary-permitted-7f3a91";
const DENIED: &str = "forbidden-canary-denied-58c2d0";
const INVALID: &str = "canary-invalid-c90b44";
const UNKNOWN: &str = "canary-unknown-e61f05";

/// What one upstream is shown as its own credential, and nobody else may see.
const BROKERED: &str = "canary-brokered-2b97d4";

/// A run, and everything that it left behind.
struct Run {
    deployment: Deployment,
    /// Stands before the gateway.
    front: Recorder,
    session: HttpServer,
    stateless: HttpServer,
    /// Has a credential of its own.
    keyed: HttpServer,
    dir: tempfile::TempDir,
    /// Where that lies: not where a server writes.
    _private: tempfile::TempDir,
    /// What clients were answered to what was done.
    answers: Vec<Value>,
    /// What they were answered to what was refused.
    refusals: Vec<Value>,
}

impl Run {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let port = free_port();
        let front = Recorder::to(port);
        let issuer = format!("http://127.0.0.1:{}", front.port());
        let session = upstream::everything();
        let stateless = upstream::modern(&issuer, &dir.path().join("effects"));
        let keyed = upstream::everything();
        let hidden = tempfile::tempdir().expect("a temporary directory can be made");
        let header = hidden.path().join("header");
        std::fs::write(&header, format!("Authorization: Bearer {BROKERED}")).expect("it is ours");
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&header, private).expect("it is ours");
        let bodies = [
            upstream::everything_process(&dir.path().join("heard")),
            session.configured(),
            stateless.configured(),
            format!("{{ url: '{}', header_file: '{}' }}", keyed.url(), header.display()),
        ];
        let servers = SERVERS.map(str::to_owned).into_iter().zip(bodies).collect();
        let deployment = Deployment::start(&Options {
            servers,
            configuration: "logging:\n  level: debug\n".to_owned(),
            policy: SERVERS.map(|server| POLICY.replace("SERVER", server)).concat(),
            port: Some(port),
            service_log: Some(dir.path().join("service.log")),
            public_url: Some(issuer),
            ..Options::default()
        });
        deployment.onboard(&SERVERS, "reads-data");
        let (answers, refusals) = (Vec::new(), Vec::new());
        Self {
            deployment,
            front,
            session,
            stateless,
            keyed,
            dir,
            _private: hidden,
            answers,
            refusals,
        }
    }

    /// Lets clients of both eras and through every door be permitted, denied, and refused.
    fn act(&mut self) {
        let clients = [
            ("process", (Sdk::PythonSession, Door::Dpop)),
            ("session", (Sdk::PythonStateless, Door::Dpop)),
            ("session", (Sdk::TypeScript1, Door::Dpop)),
            ("stateless", (Sdk::PythonSession, Door::Dpop)),
            ("stateless", (Sdk::PythonStateless, Door::Stdio)),
            ("keyed", (Sdk::PythonSession, Door::Dpop)),
        ];
        for (server, way) in clients {
            let mut client = Client::start(&self.deployment, ("bot", server), way);
            self.answers.push(client.ask(&json!({ "list": true })));
            let said = client.ask(&echo(&json!(PERMITTED)));
            assert_eq!(said["isError"], false, "{server} {way:?}: {said}");
            self.answers.push(said);
            for step in [
                echo(&json!(DENIED)),
                echo(&json!([INVALID])),
                json!({ "call": "no-such-tool", "arguments": { "x": UNKNOWN } }),
                json!({ "read": format!("demo://{UNKNOWN}") }),
            ] {
                self.refusals.push(client.ask(&step));
            }
            if server == "keyed" {
                // What is answered once it is gone names it, and not what it was shown.
                self.keyed.process.kill();
                self.refusals.push(client.ask(&echo(&json!("gone"))));
            }
            client.close();
        }
        let wanted = self.deployment.records().len();
        wait_until("all of it is published", || {
            let report = self.deployment.verify();
            let size = report.split_whitespace().nth(1).and_then(|size| size.parse().ok());
            size.is_some_and(|size: usize| size >= wanted).then_some(())
        });
    }

    /// What clients showed the gateway: tokens, proofs and assertions.
    fn credentials(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for passed in self.front.passed() {
            let token =
                passed.header("authorization").and_then(|value| value.strip_prefix("DPoP "));
            all.extend(token.map(str::to_owned));
            all.extend(passed.header("dpop").map(str::to_owned));
        }
        let text = String::from_utf8_lossy(&self.front.bytes()).into_owned();
        let forms = text.split("client_assertion=").skip(1);
        all.extend(
            forms.filter_map(|form| form.split(['&', '\r', '\n']).next()).map(str::to_owned),
        );
        all
    }

    /// Every private key of the deployment and its agents, as it is written and as it is.
    fn private_keys(&self) -> Vec<Vec<u8>> {
        let keys = self.deployment.path("home/state/keys");
        let mut files: Vec<PathBuf> = entries(&keys);
        // What may be read is beside them: public halves, and the number of the newest release.
        let is_open =
            |path: &PathBuf| path.extension().is_some_and(|it| it == "pub" || it == "newest");
        files.retain(|path| !is_open(path));
        files.extend(["alice", "bob", "bot"].map(|name| self.deployment.agent_key(name)));
        assert!(files.len() >= 6, "there are keys: {files:?}");
        files.iter().flat_map(|path| secrets_in(&std::fs::read(path).expect("a key"))).collect()
    }

    /// Everything that was written down or answered, by name.
    fn written(&self) -> Vec<(String, Vec<u8>)> {
        let state = self.deployment.path("home/state");
        let mut all = vec![
            ("metrics".to_owned(), self.deployment.observed("/metrics").into_bytes()),
            ("refusals".to_owned(), json!(self.refusals).to_string().into_bytes()),
        ];
        let database = entries(&state).into_iter().filter(|path| path.is_file());
        let log = walk(&state.join("log"));
        for path in database.chain(log).chain([self.dir.path().join("service.log")]) {
            all.push((path.display().to_string(), std::fs::read(path).expect("it is ours")));
        }
        all
    }

    /// Everything that upstreams heard, by name.
    fn upstream_traffic(&self) -> Vec<(String, Vec<u8>)> {
        let heard = std::fs::read(self.dir.path().join("heard")).expect("the process heard us");
        let servers = [&self.session, &self.stateless, &self.keyed];
        let bytes = servers.map(|server| server.recorder.bytes());
        let all = [heard].into_iter().chain(bytes);
        SERVERS.map(str::to_owned).into_iter().zip(all).collect()
    }
}

fn echo(message: &Value) -> Value {
    json!({ "call": "echo", "arguments": { "message": message } })
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir).expect("it is there").flatten();
    all.map(|entry| entry.path()).collect()
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let inside = |path: PathBuf| if path.is_dir() { walk(&path) } else { vec![path] };
    entries(dir).into_iter().flat_map(inside).collect()
}

/// What is secret in a key file: the whole of it, as it is written and in the other usual forms.
fn secrets_in(file: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(file);
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let raw = STANDARD.decode(body.trim()).unwrap_or_else(|_| file.to_vec());
    // PKCS#8 holds the secret as an octet string of 32 bytes; a seed is nothing else.
    let at = raw.windows(2).position(|window| window == [0x04, 0x20]).map_or(0, |at| at + 2);
    let secret = raw.get(at..at + 32).unwrap_or(&raw);
    let encoded = [STANDARD.encode(secret), URL_SAFE_NO_PAD.encode(secret)];
    let hex = secret.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let mut all = vec![secret.to_vec(), hex.into_bytes()];
    all.extend(encoded.map(String::into_bytes));
    all.extend((!body.is_empty()).then(|| body.into_bytes()));
    all
}

/// Nothing of `secrets` is in anything of `places`.
fn nowhere<'a>(secrets: impl IntoIterator<Item = &'a [u8]>, places: &[(String, Vec<u8>)]) {
    for secret in secrets {
        for (place, bytes) in places {
            let found = memchr::memmem::find(bytes, secret).is_some();
            assert!(!found, "`{}` is in {place}", String::from_utf8_lossy(secret));
        }
    }
}

#[test]
fn i_12_and_i_13_and_n_075_and_n_076_secrets_stay_where_they_belong() {
    let mut run = Run::new();
    run.act();
    let (written, upstream) = (run.written(), run.upstream_traffic());
    let sizes: Vec<_> = written.iter().map(|(place, bytes)| (place, bytes.len())).collect();
    assert!(sizes.iter().any(|(place, size)| place.ends_with("service.log") && *size > 0));
    assert!(sizes.iter().any(|(place, size)| place.ends_with("chancery.db") && *size > 0));

    // I-13, N-075: what clients showed goes no further, and is written nowhere.
    let credentials = run.credentials();
    assert!(credentials.len() > 30, "the run showed credentials: {}", credentials.len());
    nowhere(credentials.iter().map(String::as_bytes), &upstream);
    nowhere(credentials.iter().map(String::as_bytes), &written);

    // Nor is it in anything that a client was answered, whose wire has what it asked the service for.
    let answers = vec![("answers".to_owned(), json!(run.answers).to_string().into_bytes())];
    let wire = vec![("the wire of clients".to_owned(), run.front.answers())];
    nowhere(credentials.iter().map(String::as_bytes), &answers);

    // N-076: what an upstream is shown as its own goes to that one alone.
    let brokered = [BROKERED.as_bytes()];
    let (of_others, own): (Vec<_>, Vec<_>) =
        upstream.iter().cloned().partition(|(server, _)| server != "keyed");
    for places in [&of_others, &written, &answers, &wire] {
        nowhere(brokered, places);
    }
    assert!(memchr::memmem::find(&own[0].1, brokered[0]).is_some(), "it is shown to its own");
    let gone = run.refusals.last().expect("there are refusals").to_string();
    assert!(gone.contains("upstream_failed") || gone.contains("outcome_unknown"), "{gone}");
    assert!(memchr::memmem::find(&wire[0].1, PERMITTED.as_bytes()).is_some(), "it is searched");

    // I-12: keys are in their files and nowhere else.
    let keys = run.private_keys();
    nowhere(keys.iter().map(Vec::as_slice), &wire);
    nowhere(keys.iter().map(Vec::as_slice), &written);
    nowhere(keys.iter().map(Vec::as_slice), &upstream);

    // Arguments are committed to and sealed, and never in clear; what is refused reaches nobody.
    let arguments = [PERMITTED, DENIED, INVALID, UNKNOWN].map(str::as_bytes);
    nowhere(arguments, &written);
    nowhere(arguments.into_iter().skip(1), &upstream);
    for (place, bytes) in &upstream {
        let found = memchr::memmem::find(bytes, PERMITTED.as_bytes()).is_some();
        assert!(found, "the search finds what is there: {place}");
    }

    // What upstreams are shown instead is ours, short, and for each of them alone.
    for server in [&run.session, &run.stateless] {
        let own = format!("http://127.0.0.1:{}/mcp", server.recorder.port());
        for call in server.recorder.calls("tools/call") {
            let asserted = call.asserted();
            assert_eq!(asserted["aud"], json!(own));
            assert_eq!(asserted["iss"], json!(run.deployment.url()));
            let lifetime = asserted["exp"].as_i64().zip(asserted["iat"].as_i64());
            assert!(lifetime.is_some_and(|(end, start)| end - start <= 60), "{asserted}");
        }
    }
}
