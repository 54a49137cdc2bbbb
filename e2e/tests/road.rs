//! The road: a client that somebody else wrote calls a tool on a server that somebody else wrote.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use e2e::{Deployment, Options};
use serde_json::{Value, json};

const POLICY: &str = r#"
@id("everything-reading")
permit (principal, action in Action::"tools/call", resource in Server::"everything")
when { resource.harm == ["reads-data"] };

@id("no-secrets")
forbid (principal, action == Action::"everything/echo", resource)
when { context.input has message && context.input.message like "*secret*" };

@id("no-environment")
forbid (principal, action == Action::"everything/get-env", resource);
"#;

fn deployment() -> Deployment {
    let script = e2e::node_modules().join("@modelcontextprotocol/server-everything/dist/index.js");
    let server = format!("{{ command: node, args: ['{}', stdio] }}", script.display());
    let servers = vec![("everything".to_owned(), server)];
    let policy = POLICY.to_owned();
    let deployment = Deployment::start(&Options { servers, policy, ..Options::default() });
    deployment.onboard(&["everything"], "reads-data");
    deployment
}

/// Runs the official Python client through `chancery mcp` and gives a line for each step.
fn client(deployment: &Deployment, steps: &[Value]) -> Vec<Value> {
    let key = deployment.agent_key("bot");
    let mut child = Command::new(e2e::python())
        .arg(e2e::repository().join("e2e/clients/python/stdio_client.py"))
        .arg(e2e::binary())
        .args(["mcp", "everything", "--agent", "bot", "--url", &deployment.url(), "--key"])
        .arg(&key)
        .arg("--host-socket")
        .arg(deployment.host_socket())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let lines: Vec<_> = steps.iter().map(|step| format!("{step}\n")).collect();
    let lines = lines.concat();
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("it listens");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect()
}

fn echo(message: &Value) -> Value {
    json!({ "call": "echo", "arguments": { "message": message } })
}

/// R30, R31, R60, R63: what policy permits happens, everything else does not, each is recorded.
#[test]
fn r_31_the_official_python_client_is_governed() {
    let deployment = deployment();
    let steps = [
        json!({ "list": true }),
        echo(&json!("hello")),
        echo(&json!("a secret")),
        echo(&json!(5)),
        json!({ "call": "get-env" }),
        json!({ "call": "no-such-tool" }),
    ];
    let answers = client(&deployment, &steps);
    let [greeted, listed, said, denied, invalid, hidden, absent] = answers.as_slice() else {
        panic!("not an answer for each step: {answers:?}");
    };
    assert_eq!(greeted["greeted"], "2025-11-25");
    let tools = listed["tools"].as_array().expect("a list");
    assert!(tools.contains(&json!("echo")));
    assert!(!tools.contains(&json!("get-env")), "a tool that is denied for every input is hidden");
    assert_eq!(*said, json!({ "isError": false, "text": "Echo: hello", "structured": null }));
    assert_eq!(denied["structured"]["code"], "denied");
    assert_eq!(denied["structured"]["policies"], json!(["no-secrets"]));
    assert_eq!(invalid["structured"]["code"], "arguments_invalid");
    assert_eq!(hidden, absent, "hidden and absent are the same answer");
    assert_eq!(absent["structured"], json!({ "code": "unknown_tool" }));

    let decision = denied["structured"]["decision_id"].as_str().expect("an id");
    let chain: Value = serde_json::from_str(&deployment.run(&["log", "chain", decision])).unwrap();
    assert_eq!(chain["agent"], "bot");
    assert_eq!(chain["sponsor"], "sam");
    assert_eq!(chain["policies"], json!(["no-secrets"]));

    let records = deployment.records();
    let calls = records
        .iter()
        .filter(|record| record["kind"] == "decision" && record["action"] == "everything/echo");
    let answers: Vec<_> = calls.map(|record| record["decision"].clone()).collect();
    assert_eq!(answers, [json!("permit"), json!("deny")]);
    let text = records.iter().map(ToString::to_string).collect::<String>();
    for personal in ["sam", "alice", "hello", "secret\""] {
        assert!(!text.contains(&format!("\"{personal}")), "a record has `{personal}` in clear");
    }
    assert!(deployment.run(&["log", "replay"]).contains(" agree"));
    assert!(deployment.verify().contains("the log verifies"));
}

/// F7: the sponsor leaves, the agent stops at the next commit.
#[test]
fn i_10_a_sponsor_who_leaves_stops_the_agent() {
    let deployment = deployment();
    assert_eq!(client(&deployment, &[echo(&json!("hello"))])[1]["isError"], false);
    deployment.run(&["person", "deactivate", "sam"]);
    let before = deployment.records().len();
    assert!(client(&deployment, &[echo(&json!("hello"))]).is_empty(), "no token, no session");
    let after = &deployment.records()[before..];
    let denied = after.iter().find(|record| record["kind"] == "decision").expect("it is recorded");
    assert_eq!(denied["action"], "token/issue");
    assert_eq!(denied["reason"], "sponsor_not_active");
}

/// N-100, N-101: an edit and a truncation are found, and the record is named.
#[test]
fn n_100_an_edited_log_does_not_verify() {
    let deployment = deployment();
    client(&deployment, &[echo(&json!("hello"))]);
    let copy = deployment.path("copy");
    let key = deployment.path("home/state/keys/log.pub");
    let (bundle, mut bytes, at) = e2e::wait_until("the call is published", || {
        assert!(deployment.verify().contains("the log verifies"));
        let bundle = newest(&copy);
        let bytes = std::fs::read(&bundle).expect("a bundle");
        let at = find(&bytes, b"\"everything/echo\"")?;
        Some((bundle, bytes, at))
    });
    bytes[at + 1] = b'E';
    std::fs::write(&bundle, bytes).expect("it is a copy");
    let said = deployment.run_refused(&[
        "log",
        "verify",
        copy.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
    ]);
    assert!(said.contains("is not what its leaf committed to"), "{said}");
    assert!(said.contains("dec_"), "the record is named: {said}");
}

/// P1: what was acknowledged survives SIGKILL, and the service comes back by itself.
#[test]
fn n_122_a_killed_service_loses_no_record() {
    let mut deployment = deployment();
    client(&deployment, &[echo(&json!("hello"))]);
    let before = deployment.records();
    deployment.process.as_mut().expect("it runs").kill();
    deployment.serve();
    let after = deployment.records();
    assert_eq!(after[..before.len()], before[..]);
    assert_eq!(client(&deployment, &[echo(&json!("again"))])[1]["text"], "Echo: again");
    assert!(deployment.verify().contains("the log verifies"));
}

/// N-128: a policy file cut in half leaves the last good set in force.
#[test]
fn n_128_a_broken_policy_file_changes_nothing() {
    let deployment = deployment();
    let path = deployment.path("home/policies/test.cedar");
    std::fs::write(&path, &POLICY[..POLICY.len() / 2]).expect("it can be written");
    let metrics = || deployment.observed("/metrics");
    e2e::wait_until("the broken file is seen", || {
        metrics().contains("chancery_policy_stale 1").then_some(())
    });
    assert_eq!(client(&deployment, &[echo(&json!("hello"))])[1]["isError"], false);
    assert_eq!(client(&deployment, &[echo(&json!("a secret"))])[1]["structured"]["code"], "denied");
    std::fs::write(&path, POLICY).expect("it can be written");
    e2e::wait_until("the good file is seen", || {
        metrics().contains("chancery_policy_stale 0").then_some(())
    });
}

/// The bundle that the copied checkpoint ends with: one that is wider may be on its way already.
fn newest(copy: &std::path::Path) -> std::path::PathBuf {
    let note = std::fs::read_to_string(copy.join("checkpoint")).expect("it was copied");
    let size = note.lines().nth(1).expect("a size");
    copy.join("tile/entries/000.p").join(size)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
