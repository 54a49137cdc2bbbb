//! What a client says of itself is not who it is: messages that no SDK sends, to a real server.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use e2e::upstream::{self, HttpServer};
use e2e::{Client, Deployment, Door, Options, Sdk, wait_until};
use serde_json::{Value, json};

const POLICY: &str = r#"
@id("reading")
permit (principal in Agent::"bot", action in Action::"tools/call", resource in Server::"everything")
when { resource.harm == ["reads-data"] };

@id("nobody-else")
forbid (principal, action in Action::"tools/call", resource in Server::"everything")
unless { principal in Agent::"bot" };
"#;

const VERSION: &str = "2026-07-28";

fn deployment() -> (Deployment, HttpServer) {
    let server = upstream::everything();
    let servers = vec![("everything".to_owned(), server.configured())];
    let policy = POLICY.to_owned();
    let deployment = Deployment::start(&Options { servers, policy, ..Options::default() });
    deployment.onboard(&["everything"], "reads-data");
    deployment.agent(("other", "sam"), &[]);
    (deployment, server)
}

/// A call of `echo` in the stateless era, by a client that says that it is the agent `name`.
fn call(name: &str) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": name, "version": "1" },
        "agent_id": name,
        "client_id": name,
    });
    let arguments = json!({ "message": "hello" });
    let params = json!({ "name": "echo", "arguments": arguments, "_meta": meta });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })
}

/// Whether the tool did it.
fn is_done(answer: &Value) -> bool {
    answer.pointer("/body/result/content/0/text") == Some(&json!("Echo: hello"))
}

fn headers() -> Value {
    json!({ "mcp-protocol-version": VERSION, "mcp-method": "tools/call", "mcp-name": "echo" })
}

/// R1, R38: what body, `_meta` and headers say of identity changes nothing.
#[test]
fn n_001_identity_comes_from_the_credential_alone() {
    let (deployment, server) = deployment();
    let mut headers = headers();
    for name in ["x-agent-id", "x-client-id", "x-forwarded-user", "agent"] {
        headers[name] = "bot".into();
    }
    let mut other = Client::raw(&deployment, ("other", "everything"));
    let answer = other.ask(&json!({ "post": call("bot"), "headers": headers }));
    let refused = &answer["body"]["result"]["structuredContent"]["code"];
    assert_eq!(*refused, "unknown_tool", "it is still the agent `other`: {answer}");
    assert_eq!(server.recorder.calls("tools/call").len(), 0, "nothing reached the tool");

    let mut bot = Client::raw(&deployment, ("bot", "everything"));
    let answer = bot.ask(&json!({ "post": call("other"), "headers": headers }));
    assert!(is_done(&answer), "it is still the agent `bot`: {answer}");
    let asserted = server.recorder.calls("tools/call")[0].asserted();
    assert_eq!(asserted["client_id"], "bot", "and the tool is told so");
    let by = |record: &&Value| record["action"] == "everything/echo";
    let records = deployment.records();
    let agents: Vec<_> = records.iter().filter(by).map(|record| &record["agent"]).collect();
    assert_eq!(agents, ["bot"]);
    // Who could never be permitted the call is refused before a decision, and recorded.
    let refused = |record: &Value| record["kind"] == "refusal" && record["agent"] == "other";
    wait_until("the refusal is recorded", || {
        deployment.records().iter().any(refused).then_some(())
    });
}

/// What header and body say must be the same, said once; nothing else reaches the tool.
#[test]
fn n_045_header_and_body_must_agree() {
    let (deployment, server) = deployment();
    let mut client = Client::raw(&deployment, ("bot", "everything"));
    let mut check = |name: &str, value: Value, (status, code): (u64, i64)| {
        let mut headers = headers();
        headers[name] = value;
        headers.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        let answer = client.ask(&json!({ "post": call("bot"), "headers": headers }));
        assert_eq!(answer["status"], status, "{name}: {headers} {answer}");
        assert_eq!(answer["body"]["error"]["code"], code, "{name}: {headers} {answer}");
    };
    let mismatch = (400, -32_020);
    check("mcp-method", json!("tools/list"), mismatch);
    check("mcp-method", json!("Tools/Call"), mismatch);
    check("mcp-method", json!(["tools/call", "tools/call"]), mismatch);
    check("mcp-method", Value::Null, mismatch);
    check("mcp-name", json!("get-env"), mismatch);
    check("mcp-name", json!("=?base64?Z2V0LWVudg==?="), mismatch);
    check("mcp-name", json!("=?base64?not base64?="), mismatch);
    check("mcp-name", json!(["echo", "get-env"]), mismatch);
    check("mcp-name", Value::Null, mismatch);
    check("mcp-protocol-version", json!("2025-11-25"), mismatch);
    check("mcp-protocol-version", json!("2027-01-01"), mismatch);
    check("mcp-protocol-version", Value::Null, mismatch);
    assert_eq!(server.recorder.calls("tools/call").len(), 0, "nothing reached the tool");

    // The same name written the other way is the same name.
    let mut encoded = headers();
    encoded["mcp-name"] = "=?base64?ZWNobw==?=".into();
    let answer = client.ask(&json!({ "post": call("bot"), "headers": encoded }));
    assert!(is_done(&answer), "{answer}");
    let mut discover = call("bot");
    discover["method"] = "server/discover".into();
    let said = json!({ "mcp-protocol-version": VERSION, "mcp-method": "server/discover" });
    let answer = client.ask(&json!({ "post": discover, "headers": said }));
    assert_eq!(answer["status"], 200, "a client may ask what there is: {answer}");
}

/// Everybody uses the same request id; everybody hears their own answers.
#[test]
fn n_046_equal_ids_of_many_clients_never_meet() {
    const CLIENTS: u64 = 100;
    let (deployment, server) = deployment();
    let mut client = Client::raw(&deployment, ("bot", "everything"));
    let heard = client.ask(&json!({ "collide": CLIENTS }));
    assert_eq!(heard, json!({ "own": CLIENTS * 3, "other": 0 }));
    assert_eq!(server.recorder.calls("tools/call").len() as u64, CLIENTS * 3);
}

/// R32: the gateway is gone, through every door: nothing reaches the tool, the refusal says why,
/// and when it is back all goes on.
#[test]
fn r_32_without_the_gateway_nothing_reaches_the_tool() {
    let (mut deployment, server) = deployment();
    let hello = json!({ "call": "echo", "arguments": { "message": "hello" } });
    let doors = [
        (Sdk::PythonStateless, Door::Stdio),
        (Sdk::TypeScript1, Door::Stdio),
        (Sdk::PythonStateless, Door::Listen),
        (Sdk::TypeScript2Stateless, Door::Dpop),
    ];
    let who = ("bot", "everything");
    let mut clients = doors.map(|way| Client::start(&deployment, who, way));
    for client in &mut clients {
        assert_eq!(client.ask(&hello)["isError"], false);
    }
    let before = server.recorder.calls("tools/call").len();
    deployment.process.as_mut().expect("it runs").kill();
    for (client, (sdk, door)) in clients.iter_mut().zip(doors) {
        let refused = client.ask(&hello);
        if door == Door::Dpop {
            // Nobody stands between: the client sees that nobody is there.
            assert!(refused["raised"].is_string(), "{sdk:?}: {refused}");
            continue;
        }
        assert_eq!(refused["isError"], true, "{sdk:?} {door:?}: {refused}");
        assert_eq!(refused["structured"]["code"], "unavailable", "{sdk:?} {door:?}: {refused}");
        let text = refused["text"].as_str().unwrap_or_default();
        assert!(text.contains("Nothing happened"), "it says what did not happen: {text}");
    }
    assert_eq!(server.recorder.calls("tools/call").len(), before, "nothing reached the tool");

    deployment.serve();
    for (client, (sdk, door)) in clients.iter_mut().zip(doors) {
        let era_of_sessions = sdk.version() != VERSION;
        let again = client.ask(&hello);
        let expected = if era_of_sessions { json!(null) } else { json!(false) };
        assert_eq!(again["isError"], expected, "{sdk:?} {door:?}: {again}");
    }
    assert!(deployment.verify().contains("the log verifies"));
}
