//! Instances by the word of their platform: what `docs/workload-identity.md` shows is done here as it
//! stands there, with a cluster's token and with a SPIFFE Workload API.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use e2e::{Canary, Child, Deployment, Options, wait_until};
use serde_json::{Value, json};

/// The issuer and the workloads that the page names.
const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
const ACCOUNT: &str = "system:serviceaccount:payments:bot";
const SVID: &str = "spiffe://example.org/ns/payments/sa/bot";

/// By what the page runs the shim.
const TOKEN: &str = "/var/run/secrets/chancery/token";
const SOCKET: &str = "/run/spire/agent.sock";

const SERVERS: [&str; 2] = ["crm", "second"];

const POLICY: &str = r#"
@id("crm") permit (principal, action in Action::"tools/call", resource in Server::"crm");
@id("second") permit (principal, action in Action::"tools/call", resource in Server::"second");
"#;

/// The fenced blocks of the page in this language.
fn blocks(language: &str) -> Vec<String> {
    let path = e2e::repository().join("docs/workload-identity.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let fence = format!("```{language}\n");
    let found = page.split(&fence).skip(1).filter_map(|rest| rest.split_once("\n```"));
    found.map(|(block, _)| block.to_owned()).collect()
}

/// A cluster and a trust domain.
struct Platform {
    dir: tempfile::TempDir,
    asked: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Platform {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(e2e::python());
        command.arg(e2e::repository().join("e2e/servers/attesting.py"));
        command.arg(dir.path()).arg(CLUSTER).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Child::start(&mut command);
        let (asked, output) = process.pipes();
        let mut platform =
            Self { dir, asked, answers: BufReader::new(output).lines(), _process: process };
        assert_eq!(platform.next(), "ready");
        platform
    }

    fn next(&mut self) -> String {
        self.answers.next().expect("it answers").expect("text")
    }

    fn ask(&mut self, what: &Value) -> String {
        writeln!(self.asked, "{what}").expect("it reads");
        self.next()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

struct Stage {
    deployment: Deployment,
    canary: Canary,
    platform: Platform,
}

impl Stage {
    /// The deployment that the page configures, and the agent whose workloads it names.
    fn set() -> Self {
        let (canary, platform) = (Canary::start(), Platform::start());
        let url = format!("{{ url: 'http://127.0.0.1:{}/mcp' }}", canary.port);
        let servers = SERVERS.map(|server| (server.to_owned(), url.clone())).to_vec();
        let shown = blocks("yaml");
        let shown = shown.iter().find(|block| block.contains("cluster.jwks")).expect("it is shown");
        let text = |path: PathBuf| path.display().to_string();
        let configuration = shown
            .replace("/etc/chancery/cluster.jwks", &text(platform.path("cluster.jwks")))
            .replace(SOCKET, &text(platform.path("agent.sock")));
        let policy = POLICY.to_owned();
        let options = Options { servers, configuration, policy, ..Options::default() };
        let deployment = Deployment::start(&options);
        deployment.onboard(&SERVERS, "changes-production");
        let stage = Self { deployment, canary, platform };
        let commands = blocks("sh");
        let attest: Vec<_> = commands.iter().filter(|it| it.contains("agent attest")).collect();
        let [attest] = attest.as_slice() else { panic!("one command is shown: {commands:?}") };
        stage.deployment.shell(attest);
        stage
    }

    fn attest(&self, rules: &[&str]) {
        let rules = rules.iter().flat_map(|rule| ["--workload", rule]);
        let all: Vec<_> = ["agent", "attest", "bot"].into_iter().chain(rules).collect();
        self.deployment.run(&all);
    }

    /// What the cluster puts into the workload's file, with these claims beside the usual ones.
    fn project(&mut self, more: &Value) {
        let mut claims = json!({
            "sub": ACCOUNT, "aud": [self.deployment.url()],
            "kubernetes.io": { "namespace": "payments", "pod": { "name": "bot-7" } },
        });
        let members = claims.as_object_mut().expect("an object");
        members.extend(more.as_object().expect("an object").clone());
        let token = self.platform.ask(&json!({ "issue": claims }));
        std::fs::write(self.platform.path("token"), token).expect("it is ours");
    }

    /// As whom the Workload API knows everybody.
    fn be(&mut self, identity: &Value) {
        assert_eq!(self.platform.ask(&json!({ "be": identity })), "done");
    }

    /// What the page shows, by this word of a platform, for `server`. What this test starts itself is
    /// one client's; what is started `apart` is another's.
    fn client(&self, by: &str, server: &str, apart: bool) -> Client {
        let commands = blocks("sh").join("\n");
        let shown =
            commands.lines().find(|line| line.contains("chancery mcp") && line.contains(by));
        let text = |path: PathBuf| path.display().to_string();
        let shown = shown.expect("it is shown").replace("crm", server);
        let shown = shown
            .replace("bot.pem", &text(self.deployment.agent_key("bot")))
            .replace(TOKEN, &text(self.platform.path("token")))
            .replace(SOCKET, &text(self.platform.path("agent.sock")));
        let mut command = Command::new(if apart { "sh".into() } else { e2e::binary() });
        if apart {
            command.args(["-c", "\"$@\"; exit", "sh"]).arg(e2e::binary());
        }
        command.args(shown.split_whitespace().skip(1)).args(["--url", &self.deployment.url()]);
        command.env("XDG_RUNTIME_DIR", self.platform.dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Child::start(&mut command);
        let (steps, output) = process.pipes();
        Client { steps, answers: BufReader::new(output).lines(), _process: process }
    }

    /// The newest call of a tool.
    fn call(&self) -> Value {
        let mut records = self.deployment.records().into_iter();
        let is_call =
            |it: &Value| it["action"].as_str().is_some_and(|action| action.ends_with("/touch"));
        records.rfind(is_call).expect("it is decided")
    }

    /// That somebody was refused for `cause`, and for nothing else, once that is recorded.
    fn assert_refused(&self, cause: &str) {
        let causes = wait_until("the refusal is recorded", || {
            let records = self.deployment.records().into_iter();
            let refusals = records.filter(|record| record["kind"] == "refusal");
            let causes: Vec<_> = refusals.map(|record| record["cause"].clone()).collect();
            (!causes.is_empty()).then_some(causes)
        });
        assert_eq!(causes, [cause]);
    }
}

struct Client {
    steps: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Client {
    /// Calls the tool; gives `done`, what it is told, or `ended` where nobody answers.
    fn touch(&mut self, mark: &str) -> String {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({ "name": "touch", "arguments": { "mark": mark }, "_meta": meta });
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let _ = writeln!(self.steps, "{call}");
        let Some(answer) = self.answers.next() else { return "ended".to_owned() };
        let answer: Value = serde_json::from_str(&answer.expect("text")).expect("JSON");
        if answer["result"]["isError"] == false { "done".to_owned() } else { answer.to_string() }
    }
}

const FILE: &str = "--workload-token";
const API: &str = "--spiffe-socket";

#[test]
fn r_6_a_clusters_token_makes_an_instance() {
    let mut stage = Stage::set();
    stage.project(&json!({}));
    let mut first = stage.client(FILE, "crm", false);
    assert_eq!(first.touch("a"), "done");
    assert_eq!(stage.call()["attestation"], "workload");
    // The same instance renews, by the token that lies in the file by then.
    stage.project(&json!({}));
    assert_eq!(stage.client(FILE, "second", false).touch("b"), "done");
    // Another client shows the same token, with a key of its own.
    assert_eq!(stage.client(FILE, "crm", true).touch("c"), "ended");
    stage.assert_refused("workload_token_shared");
    wait_until("it is found", || {
        let found = stage.deployment.run(&["finding", "list"]);
        found.contains("workload_token_shared").then_some(())
    });
    stage.project(&json!({}));
    assert_eq!(stage.client(FILE, "crm", true).touch("d"), "done");
    // That client has ended, and its holder gives the task up: the same token serves the next one.
    wait_until("the token is free", || {
        (stage.client(FILE, "crm", true).touch("e") == "done").then_some(())
    });

    // The rules ask for more: nobody vouches for the running instance, and it does nothing but read.
    stage.attest(&[&format!("{CLUSTER}={ACCOUNT},kubernetes.io.pod.name=bot-8")]);
    assert_ne!(first.touch("f"), "done");
    let call = stage.call();
    assert_eq!((&call["attestation"], &call["decision"]), (&json!("user"), &json!("deny")));
    assert_eq!(call["policies"], json!(["starter-attested"]));
    let marks: Vec<_> = stage.canary.effects().into_iter().map(|effect| effect.mark).collect();
    assert_eq!(marks, ["a", "b", "d", "e"]);
    stage.deployment.verify();
    stage.deployment.run(&["log", "replay"]);
}

#[test]
fn r_6_an_svid_makes_an_instance_without_a_key_of_the_agent() {
    let mut stage = Stage::set();
    assert_eq!(stage.client(API, "crm", true).touch("nobody"), "ended");
    stage.be(&json!(SVID));
    assert_eq!(stage.client(API, "crm", false).touch("a"), "done");
    assert_eq!(stage.client(API, "second", false).touch("b"), "done");
    assert_eq!(stage.call()["attestation"], "workload");
    let records = stage.deployment.records();
    let issued: Vec<_> = records.iter().filter(|record| record["kind"] == "issuance").collect();
    assert_eq!(issued[0]["instance"], issued[1]["instance"]);
    let shown = stage.deployment.run(&["log", "show", issued[0]["id"].as_str().expect("an id")]);
    assert!(shown.contains(SVID), "it is disclosed to auditors: {shown}");
    assert!(!issued[0].to_string().contains(SVID), "and to nobody else");
    // A workload that no rule admits.
    stage.be(&json!("spiffe://example.org/ns/other/sa/bot"));
    assert_eq!(stage.client(API, "crm", true).touch("c"), "ended");
    stage.assert_refused("workload_not_admitted");
    let marks: Vec<_> = stage.canary.effects().into_iter().map(|effect| effect.mark).collect();
    assert_eq!(marks, ["a", "b"]);
}

/// The key of an instance goes on in another workload: it is stopped, even though the rules admit
/// both.
#[test]
fn r_2_a_key_that_another_workload_shows_is_a_copied_one() {
    let mut stage = Stage::set();
    stage.be(&json!(SVID));
    let mut first = stage.client(API, "crm", false);
    assert_eq!(first.touch("a"), "done");
    stage.be(&json!("spiffe://example.org/ns/payments/sa/other"));
    assert_eq!(stage.client(API, "second", false).touch("b"), "ended");
    let records = stage.deployment.records();
    let signal = records.iter().find(|record| record["kind"] == "signal").expect("it is seen");
    assert_eq!(signal["signal"], "key_copied");
    assert_ne!(first.touch("c"), "done");
}

/// Other people's code makes the request, and verifies what comes of it by the published keys.
#[test]
fn an_independent_client_is_attested_and_verifies_its_token() {
    let mut stage = Stage::set();
    stage.project(&json!({}));
    let output = Command::new(e2e::python())
        .arg(e2e::repository().join("e2e/clients/python/attested.py"))
        .args([&format!("{}/mcp/crm", stage.deployment.url()), "bot"])
        .args([stage.deployment.agent_key("bot"), stage.platform.path("token")])
        .stderr(Stdio::inherit())
        .output()
        .expect("it starts");
    let claims: Value = serde_json::from_slice(&output.stdout).expect("it is given a token");
    let records = stage.deployment.records();
    let issued = records.iter().find(|record| record["kind"] == "issuance").expect("a token");
    assert_eq!((&issued["instance"], &issued["attestation"]), (&claims["sub"], &json!("workload")));
}

/// Who operates it sees whose word counts.
#[test]
fn the_platforms_keys_are_observed() {
    let mut stage = Stage::set();
    let told = |stage: &Stage, name: &str, missing: u8| {
        let line = format!("chancery_platform_keys_missing{{platform=\"{name}\"}} {missing}\n");
        stage.deployment.observed("/metrics").contains(&line).then_some(())
    };
    for name in [CLUSTER, "spiffe://example.org"] {
        wait_until("its keys are there", || told(&stage, name, 0));
    }
    std::fs::remove_file(stage.platform.path("cluster.jwks")).expect("it is there");
    stage.deployment.stop();
    stage.deployment.serve();
    wait_until("the trust domain is asked", || told(&stage, "spiffe://example.org", 0));
    assert!(told(&stage, CLUSTER, 1).is_some());
}
