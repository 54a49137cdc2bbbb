//! Other people's clients and other people's servers, each through every door, in every pair of
//! eras that has a real peer: what policy permits happens, nothing else does, and the log tells it.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use e2e::upstream::{self, HttpServer};
use e2e::{Client, Deployment, Door, Options, Sdk, free_port, wait_until};
use serde_json::{Value, json};

/// The upstreams: the reference server over stdio and HTTP, which speaks the session era, and a
/// server on the official Python SDK over both, which speaks 2026-07-28.
const SERVERS: [&str; 4] = ["session-stdio", "session-http", "stateless-stdio", "stateless-http"];

/// What policy says of one server.
const POLICY: &str = r#"
@id("SERVER-reading")
permit (principal, action in Action::"tools/call", resource in Server::"SERVER")
when { resource.harm == ["reads-data"] };

@id("SERVER-no-secrets")
forbid (principal, action == Action::"SERVER/echo", resource)
when { context.input has message && context.input.message like "*secret*" };

@id("SERVER-no-environment")
forbid (principal, action == Action::"SERVER/get-env", resource);

@id("SERVER-documents")
permit (principal, action == Action::"resources/read", resource in Server::"SERVER");

@id("SERVER-not-startup")
forbid (
  principal,
  action == Action::"resources/read",
  resource == Resource::"SERVER/demo://resource/static/document/startup.md"
);

@id("SERVER-prompts")
permit (principal, action == Action::"prompts/get", resource in Server::"SERVER");

@id("SERVER-no-arguments")
forbid (principal, action == Action::"prompts/get", resource == Prompt::"SERVER/args-prompt");
"#;

/// A deployment with all four upstreams, and what hears what reaches each.
struct Bench {
    deployment: Deployment,
    session: HttpServer,
    stateless: HttpServer,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::configured("")
    }

    fn configured(configuration: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let port = free_port();
        let issuer = format!("http://127.0.0.1:{port}");
        let file = |name: &str| dir.path().join(name);
        let session = upstream::everything();
        let stateless = upstream::modern(&issuer, &file("stateless-http.effects"));
        let process = upstream::modern_process(&file("stateless-stdio"), &file("stdio.effects"));
        let servers = [
            ("session-stdio", upstream::everything_process(&file("session-stdio"))),
            ("session-http", session.configured()),
            ("stateless-stdio", process),
            ("stateless-http", stateless.configured()),
        ];
        let servers = servers.map(|(name, body)| (name.to_owned(), body)).to_vec();
        let policy = SERVERS.map(|server| POLICY.replace("SERVER", server)).concat();
        let configuration = configuration.to_owned();
        let options =
            Options { servers, policy, configuration, port: Some(port), ..Options::default() };
        let deployment = Deployment::start(&options);
        deployment.onboard(&SERVERS, "reads-data");
        Self { deployment, session, stateless, dir }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The messages that reached `server`, each with what was asserted along with it and when.
    fn heard(&self, server: &str) -> Vec<(Value, Value, u64)> {
        let recorder = match server {
            "session-http" => &self.session.recorder,
            "stateless-http" => &self.stateless.recorder,
            process => {
                let lines = upstream::lines(&self.file(process));
                return lines.into_iter().map(|line| (line, Value::Null, u64::MAX)).collect();
            }
        };
        let passed = recorder.passed();
        passed.iter().map(|passed| (passed.body.clone(), passed.asserted(), passed.at)).collect()
    }

    fn heard_of(&self, server: &str, method: &str) -> Vec<(Value, Value, u64)> {
        let mut heard = self.heard(server);
        heard.retain(|(message, ..)| message["method"] == method);
        heard
    }
}

const DOCUMENT: &str = "demo://resource/static/document/features.md";
const OTHER_DOCUMENT: &str = "demo://resource/static/document/startup.md";

fn echo(message: &Value) -> Value {
    json!({ "call": "echo", "arguments": { "message": message } })
}

fn long(duration: f64, steps: u64, how: (&str, u64)) -> Value {
    let arguments = json!({ "duration": duration, "steps": steps });
    json!({ "call": "trigger-long-running-operation", "arguments": arguments, how.0: how.1 })
}

/// One client against one server: what it sees, what happens, what is recorded.
fn check(bench: &Bench, (sdk, door): (Sdk, Door), server: &str) {
    let case = format!("{sdk:?} through {door:?} to {server}");
    let deployment = &bench.deployment;
    let before = deployment.records().len();
    let calls_before = bench.heard_of(server, "tools/call").len();

    let mut client = Client::start(deployment, ("bot", server), (sdk, door));
    assert_eq!(client.greeted, sdk.version(), "{case}");
    let tools = client.ask(&json!({ "list": true }))["tools"].clone();
    let tools = tools.as_array().unwrap_or_else(|| panic!("{case}: no tools"));
    assert!(tools.contains(&json!("echo")), "{case}: {tools:?}");
    assert!(!tools.contains(&json!("get-env")), "{case}: what is always denied is hidden");
    decisions_are_enforced(&mut client, &case, server);
    progress_and_cancellation_flow(bench, &mut client, &case, server);
    let again = client.ask(&echo(&json!("again")));
    assert_eq!(again["text"], "Echo: again", "{case}: it works on after all that: {again}");
    client.close();

    the_log_tells_it(bench, &case, server, (before, calls_before));
}

fn decisions_are_enforced(client: &mut Client, case: &str, server: &str) {
    let said = client.ask(&echo(&json!("hello")));
    assert_eq!((&said["text"], &said["isError"]), (&json!("Echo: hello"), &json!(false)), "{case}");
    let denied = client.ask(&echo(&json!("a secret")));
    assert_eq!(denied["structured"]["code"], "denied", "{case}: {denied}");
    let by = format!("{server}-no-secrets");
    assert_eq!(denied["structured"]["policies"], json!([by]), "{case}: {denied}");
    let invalid = client.ask(&echo(&json!(5)));
    assert_eq!(invalid["structured"]["code"], "arguments_invalid", "{case}: {invalid}");
    let hidden = client.ask(&json!({ "call": "get-env" }));
    let absent = client.ask(&json!({ "call": "no-such-tool" }));
    assert_eq!(hidden, absent, "{case}: hidden and absent are the same answer");
    assert_eq!(absent["structured"], json!({ "code": "unknown_tool" }), "{case}: {absent}");

    let read = client.ask(&json!({ "read": DOCUMENT }));
    assert!(!read["text"].as_str().unwrap_or_default().is_empty(), "{case}: {read}");
    let denied = client.ask(&json!({ "read": OTHER_DOCUMENT }));
    assert_eq!((&denied["code"], &denied["data"]["code"]), (&json!(-32_001), &json!("denied")));
    let prompt = client.ask(&json!({ "prompt": "simple-prompt" }));
    let text = prompt["text"].as_str().unwrap_or_default();
    assert!(text.starts_with("This is a simple prompt"), "{case}: {prompt}");
    let denied = client.ask(&json!({ "prompt": "args-prompt", "arguments": { "city": "Bern" } }));
    assert_eq!((&denied["code"], &denied["data"]["code"]), (&json!(-32_001), &json!("denied")));
}

fn progress_and_cancellation_flow(bench: &Bench, client: &mut Client, case: &str, server: &str) {
    let done = client.ask(&long(0.2, 2, ("progress", 1)));
    // A client may take the answer before the last of the progress that came ahead of it.
    let (heard, all) = (numbers(&done["progress"]), numbers(&json!([[1, 2], [2, 2]])));
    assert!(!heard.is_empty() && all.starts_with(&heard), "{case}: {done}");
    assert!(done["text"].as_str().unwrap_or_default().contains("completed"), "{case}: {done}");

    let cut = client.ask(&long(60.0, 600, ("cancel", 1)));
    assert_eq!(cut["cancelled"], true, "{case}: {cut}");
    // How an upstream hears of it: a notification, or, over HTTP in the stateless era, nothing but
    // the end of the stream, on which the server ends its tool.
    wait_until("the upstream hears of the cancellation", || {
        if server == "stateless-http" {
            let effects = upstream::lines(&bench.file("stateless-http.effects"));
            let last = effects.iter().rev().find(|effect| effect["did"] != "echo");
            return last.is_some_and(|effect| effect["did"] == "cancelled").then_some(());
        }
        let calls = bench.heard_of(server, "tools/call");
        let id = calls.last().map(|(call, ..)| call["id"].clone());
        let cancelled = bench.heard_of(server, "notifications/cancelled");
        cancelled
            .iter()
            .any(|(it, ..)| Some(&it["params"]["requestId"]) == id.as_ref())
            .then_some(())
    });
}

/// Some write 1, some 1.0.
fn numbers(progress: &Value) -> Vec<Vec<Option<f64>>> {
    let pair = |pair: &Value| pair.as_array().into_iter().flatten().map(Value::as_f64).collect();
    progress.as_array().into_iter().flatten().map(pair).collect()
}

/// R38, R60, R61, R63: exactly one permit before each effect, and nothing but that reached the tool.
fn the_log_tells_it(bench: &Bench, case: &str, server: &str, (before, calls): (usize, usize)) {
    let effects = wait_until("what reached the tool is written down", || {
        let effects = bench.heard_of(server, "tools/call").split_off(calls);
        (effects.len() >= 4).then_some(effects)
    });
    let (echo_action, long_action) =
        (format!("{server}/echo"), format!("{server}/trigger-long-running-operation"));
    let names: Vec<_> = effects.iter().map(|(call, ..)| call["params"]["name"].clone()).collect();
    let long = "trigger-long-running-operation";
    assert_eq!(names, ["echo", long, long, "echo"].map(|name| json!(name)), "{case}");
    let records = wait_until("every permit has an outcome", || {
        let records = bench.deployment.records().split_off(before);
        let permits = permits(&records, server);
        let closed = |permit: &&Value| {
            records.iter().any(|r| r["kind"] == "outcome" && r["decision"] == permit["id"])
        };
        permits.iter().all(closed).then_some(records)
    });
    let permits = permits(&records, server);
    let actions: Vec<_> = permits.iter().map(|permit| permit["action"].clone()).collect();
    let expected = [&echo_action, &long_action, &long_action, &echo_action];
    assert_eq!(actions, expected.map(|action| json!(action)), "{case}: a permit for each effect");

    let shown: BTreeSet<_> = effects
        .iter()
        .filter_map(|(_, asserted, _)| asserted["chancery"]["decision_id"].as_str())
        .collect();
    if server.ends_with("-http") {
        let known: BTreeSet<_> =
            permits.iter().filter_map(|permit| permit["id"].as_str()).collect();
        assert_eq!(shown, known, "{case}: each effect knows the decision that permitted it");
        for ((_, asserted, at), permit) in effects.iter().zip(&permits) {
            assert_eq!(asserted["chancery"]["decision_id"], permit["id"], "{case}");
            assert!(permit["time"].as_u64() <= Some(*at), "{case}: the record is first");
        }
    }
    let denials = records.iter().filter(|record| record["decision"] == "deny");
    let denied: BTreeSet<_> = denials.map(|record| record["action"].to_string()).collect();
    for action in [&format!("{server}/echo"), "resources/read", "prompts/get"] {
        assert!(denied.contains(&format!("\"{action}\"")), "{case}: {action} in {denied:?}");
    }
    let last = permits.last().expect("there are four")["id"].as_str().expect("an id").to_owned();
    let chain = bench.deployment.run(&["log", "chain", &last]);
    let chain: Value = serde_json::from_str(&chain).expect("JSON");
    assert_eq!(chain["agent"], "bot", "{case}");
    assert_eq!(chain["sponsor"], "sam", "{case}");
    assert_eq!(chain["outcome"], "returned", "{case}");
}

/// The permitted calls of tools of `server`, in the order of the log.
fn permits<'a>(records: &'a [Value], server: &str) -> Vec<&'a Value> {
    let tool = format!("{server}/");
    let is_call = |record: &&Value| {
        record["kind"] == "decision"
            && record["decision"] == "permit"
            && record["action"].as_str().is_some_and(|action| action.starts_with(&tool))
    };
    records.iter().filter(is_call).collect()
}

/// All upstreams with one client through one door, then the log as a whole.
fn check_all(way: (Sdk, Door)) {
    let bench = Bench::new();
    for server in SERVERS {
        check(&bench, way, server);
    }
    assert!(bench.deployment.run(&["log", "replay"]).contains(" agree"));
    assert!(bench.deployment.verify().contains("the log verifies"));
}

#[test]
fn r_31_python_of_the_session_era_on_stdio_is_governed() {
    check_all((Sdk::PythonSession, Door::Stdio));
}

#[test]
fn r_31_python_of_the_session_era_over_http_is_governed() {
    check_all((Sdk::PythonSession, Door::Listen));
}

#[test]
fn r_31_python_of_the_session_era_with_its_own_proofs_is_governed() {
    check_all((Sdk::PythonSession, Door::Dpop));
}

#[test]
fn r_31_python_of_2026_on_stdio_is_governed() {
    check_all((Sdk::PythonStateless, Door::Stdio));
}

#[test]
fn r_31_python_of_2026_over_http_is_governed() {
    check_all((Sdk::PythonStateless, Door::Listen));
}

#[test]
fn r_31_python_of_2026_with_its_own_proofs_is_governed() {
    check_all((Sdk::PythonStateless, Door::Dpop));
}

#[test]
fn r_31_typescript_of_the_session_era_on_stdio_is_governed() {
    check_all((Sdk::TypeScript1, Door::Stdio));
}

#[test]
fn r_31_typescript_of_the_session_era_over_http_is_governed() {
    check_all((Sdk::TypeScript1, Door::Listen));
}

#[test]
fn r_31_typescript_of_the_session_era_with_its_own_proofs_is_governed() {
    check_all((Sdk::TypeScript1, Door::Dpop));
}

#[test]
fn r_31_typescript_of_2026_on_stdio_is_governed() {
    check_all((Sdk::TypeScript2Stateless, Door::Stdio));
}

#[test]
fn r_31_typescript_of_2026_over_http_is_governed() {
    check_all((Sdk::TypeScript2Stateless, Door::Listen));
}

/// The newer TypeScript SDK finds the token endpoint and proves possession by itself.
#[test]
fn r_31_typescript_of_2026_with_its_own_proofs_is_governed() {
    check_all((Sdk::TypeScript2Stateless, Door::Dpop));
}

/// The newer TypeScript SDK as it behaves unless told otherwise: in the session era.
#[test]
fn r_31_typescript_of_both_eras_with_its_own_proofs_is_governed() {
    check_all((Sdk::TypeScript2Session, Door::Dpop));
}

/// Where tokens are given for no proof without a nonce, clients ask again with the one that they are
/// told.
#[test]
fn n_146_clients_of_others_ask_again_with_the_nonce_that_they_are_told() {
    let bench = Bench::configured("tokens:\n  dpop_nonce_required: true\n");
    for way in [(Sdk::TypeScript2Stateless, Door::Dpop), (Sdk::PythonStateless, Door::Stdio)] {
        let mut client = Client::start(&bench.deployment, ("bot", "session-http"), way);
        let said = client.ask(&echo(&json!("hello")));
        assert_eq!(said["isError"], false, "{way:?}: {said}");
        client.close();
    }
    // Who called a server first had one from there.
    let demanded = |record: &Value| record["cause"] == "nonce_missing";
    wait_until("it is recorded that who knew none was told", || {
        bench.deployment.records().iter().any(demanded).then_some(())
    });
}
