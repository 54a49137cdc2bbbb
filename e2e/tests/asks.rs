//! What other people's servers ask of other people's clients: what policy permits reaches the one
//! client whose call is under way, through every door, and its answer the server; nothing else does.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use e2e::upstream::{self, HttpServer};
use e2e::{Client, Deployment, Door, Options, Sdk, free_port, wait_until};
use serde_json::{Value, json};

/// Lets every server ask, during the first calls of a task. Not for roots: the reference server asks
/// for those some time after it was greeted, whatever is under way or nothing.
const POLICY: &str = r#"
@id("SERVER-tools")
permit (principal, action in Action::"tools/call", resource in Server::"SERVER");

@id("SERVER-asks")
permit (principal, action == Action::"server/request", resource == Server::"SERVER")
when { context.session.counters.calls <= 4 };

@id("SERVER-roots")
forbid (principal, action == Action::"server/request", resource == Server::"SERVER")
when { context.input.method == "roots/list" };
"#;

const SERVERS: [&str; 4] = ["session-stdio", "session-http", "stateless-stdio", "stateless-http"];

/// A deployment with a server of each era, over stdio and over HTTP.
struct Bench {
    deployment: Deployment,
    _servers: [HttpServer; 2],
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let port = free_port();
        let file = |name: &str| dir.path().join(name);
        let session = upstream::everything();
        let stateless =
            upstream::modern(&format!("http://127.0.0.1:{port}"), &file("http.effects"));
        let process = upstream::modern_process(&file("stateless"), &file("stdio.effects"));
        let servers = [
            ("session-stdio", upstream::everything_process(&file("session"))),
            ("session-http", session.configured()),
            ("stateless-stdio", process),
            ("stateless-http", stateless.configured()),
        ];
        let hosts = |body: String| body.replace(" }", ", elicitation_hosts: [login.example] }");
        let servers = servers.map(|(name, body)| (name.to_owned(), hosts(body))).to_vec();
        let policy = SERVERS.map(|server| POLICY.replace("SERVER", server)).concat();
        let options = Options { servers, policy, port: Some(port), ..Options::default() };
        let deployment = Deployment::start(&options);
        deployment.onboard(&SERVERS, "reads-data");
        Self { deployment, _servers: [session, stateless], _dir: dir }
    }

    /// The answers to what servers asked from record `from` on, once each permit has its outcome; but not of roots.
    fn decided(&self, from: usize) -> Vec<(Value, Option<Value>)> {
        wait_until("every permit has an outcome", || {
            let records = self.deployment.records().split_off(from);
            let outcome = |decision: &Value| {
                let closes = records.iter().find(|record| {
                    record["kind"] == "outcome" && record["decision"] == decision["id"]
                });
                closes.map(|record| record["outcome"].clone())
            };
            let of_roots = |it: &Value| it.as_str().is_some_and(|by| by.ends_with("-roots"));
            let asked = records.iter().filter(|record| {
                record["action"] == "server/request" && !of_roots(&record["policies"][0])
            });
            let asked: Vec<_> = asked.map(|it| (it["decision"].clone(), outcome(it))).collect();
            let open = asked.iter().any(|(answer, end)| answer == "permit" && end.is_none());
            (!open).then_some(asked)
        })
    }
}

fn call(tool: &str, arguments: &Value) -> Value {
    json!({ "call": tool, "arguments": arguments })
}

fn text(answer: &Value) -> &str {
    answer["text"].as_str().unwrap_or_default()
}

fn permitted(outcome: &str) -> (Value, Option<Value>) {
    (json!("permit"), Some(json!(outcome)))
}

/// The session era: sampling, elicitation by form and by URL, then what is denied.
fn session(bench: &Bench, door: Door, server: &str) {
    let case = format!("{server} through {door:?}");
    let from = bench.deployment.records().len();
    let mut client = Client::able(&bench.deployment, ("bot", server), (Sdk::PythonSession, door));
    let asks = json!({ "prompt": "hello", "maxTokens": 5 });
    let answer = client.ask(&call("trigger-sampling-request", &asks));
    assert!(text(&answer).contains("words of a model"), "{case}: {answer}");
    let answer = client.ask(&call("trigger-elicitation-request", &json!({})));
    assert!(text(&answer).contains("- Name: Ada"), "{case}: {answer}");
    let login = json!({ "url": "https://login.example/", "message": "log in" });
    let answer = client.ask(&call("trigger-url-elicitation", &login));
    assert_eq!(answer["isError"], false, "{case}: {answer}");
    let evil = json!({ "url": "https://evil.example/", "message": "log in" });
    let answer = client.ask(&call("trigger-url-elicitation", &evil));
    assert!(text(&answer).contains("not offered by this client"), "{case}: {answer}");
    let asked = client.ask(&json!({ "asked": true }))["asked"].clone();
    let asked = asked.as_array().expect("a list");
    assert_eq!(asked.len(), 3, "{case}: {asked:?}");
    assert_eq!(asked[2]["url"], "https://login.example/", "{case}");
    // The fifth call of the task: policy denies, the server is told, and the call ends.
    let answer = client.ask(&call("trigger-elicitation-request", &json!({})));
    assert!(text(&answer).contains("not offered by this client"), "{case}: {answer}");
    assert_eq!(client.ask(&json!({ "asked": true }))["asked"], json!([]), "{case}");
    client.close();
    let denied = (json!("deny"), None);
    let all = [permitted("returned"), permitted("returned"), permitted("returned"), denied];
    assert_eq!(bench.decided(from), all, "{case}");
    let refused = |record: &Value| record["cause"] == "elicitation_host";
    wait_until("the refusal is recorded", || {
        bench.deployment.records().split_off(from).iter().any(refused).then_some(())
    });
}

/// The stateless era: a call that waits for input, is answered, and goes on.
fn stateless(bench: &Bench, door: Door, server: &str) {
    let case = format!("{server} through {door:?}");
    let from = bench.deployment.records().len();
    let way = (Sdk::PythonStateless, door);
    let mut client = Client::able(&bench.deployment, ("bot", server), way);
    for _ in 0..2 {
        // Each is two calls for us: the first waits for input, the second brings it.
        let answer = client.ask(&call("weather", &json!({})));
        assert_eq!(text(&answer), "Sunny in Bern.", "{case}: {answer}");
    }
    let asked = client.ask(&json!({ "asked": true }))["asked"].clone();
    assert_eq!(asked[0]["message"], "Which city?", "{case}: {asked}");
    assert_eq!(asked.as_array().map(Vec::len), Some(2), "{case}: {asked}");
    let answer = client.ask(&call("weather", &json!({})));
    assert_eq!(answer["structured"]["code"], "upstream_failed", "{case}: {answer}");
    assert_eq!(client.ask(&json!({ "asked": true }))["asked"], json!([]), "{case}");
    client.close();
    let denied = (json!("deny"), None);
    assert_eq!(
        bench.decided(from),
        [permitted("returned"), permitted("returned"), denied],
        "{case}"
    );
}

/// A client that does not declare that it may be asked never is.
fn unable(bench: &Bench, (sdk, server, tool): (Sdk, &str, &str)) {
    let from = bench.deployment.records().len();
    let mut client = Client::start(&bench.deployment, ("bot", server), (sdk, Door::Stdio));
    let answer = client.ask(&call(tool, &json!({})));
    assert!(answer["raised"].is_string() || answer["isError"] == true, "{server}: {answer}");
    client.close();
    assert_eq!(bench.decided(from), [], "{server}: nothing was asked");
}

fn check_all(door: Door) {
    let bench = Bench::new();
    session(&bench, door, "session-stdio");
    session(&bench, door, "session-http");
    stateless(&bench, door, "stateless-stdio");
    stateless(&bench, door, "stateless-http");
    unable(&bench, (Sdk::PythonSession, "session-stdio", "trigger-elicitation-request"));
    unable(&bench, (Sdk::PythonStateless, "stateless-stdio", "weather"));
    // A client of the session era answers a server of the other; the reverse cannot be.
    let from = bench.deployment.records().len();
    let way = (Sdk::PythonSession, door);
    let mut client = Client::able(&bench.deployment, ("bot", "stateless-http"), way);
    assert_eq!(text(&client.ask(&call("weather", &json!({})))), "Sunny in Bern.");
    client.close();
    assert_eq!(bench.decided(from), [permitted("returned")]);
    unable(&bench, (Sdk::PythonStateless, "session-stdio", "trigger-elicitation-request"));
    assert!(bench.deployment.run(&["log", "replay"]).contains(" agree"));
    assert!(bench.deployment.verify().contains("the log verifies"));
}

#[test]
fn n_084_servers_ask_clients_on_stdio_what_policy_permits() {
    check_all(Door::Stdio);
}

#[test]
fn n_084_servers_ask_clients_over_http_what_policy_permits() {
    check_all(Door::Listen);
}

#[test]
fn n_084_servers_ask_clients_with_their_own_proofs_what_policy_permits() {
    check_all(Door::Dpop);
}
