//! Token exchange by other people's code, which knows the service by its metadata alone.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::process::{Command, Stdio};

use e2e::{Canary, Deployment, Options, wait_until};
use serde_json::{Value, json};

/// Who hands on to whom; every instance may call what its task holds.
const POLICY: &str = r#"
@id("instances") permit (principal is Instance, action in Action::"tools/call", resource in Server::"canary");
@id("bot") permit (principal in Agent::"bot", action == Action::"delegate", resource == Agent::"reader");
@id("reader") permit (principal in Agent::"reader", action == Action::"delegate", resource == Agent::"deep");
"#;

/// Whoever asks shows nonces.
const NONCES: &str = "tokens:\n  dpop_nonce_required: true\n";

/// Authlib and joserfc hand work on twice, verify every token by the published keys, use the last
/// one, ask about it and give it up. What they read in the tokens is what is on record.
#[test]
fn r_52_an_independent_client_exchanges_verifies_introspects_and_revokes() {
    let canary = Canary::start();
    let (policy, configuration) = (POLICY.to_owned(), NONCES.to_owned());
    let options = Options { policy, configuration, ..Options::default() };
    let deployment = Deployment::with_canary(canary.port, "reads-data", options);
    for name in ["reader", "deep"] {
        deployment.agent((name, "sam"), &[]);
    }
    let records = deployment.records();
    let now = records.last().expect("a record")["time"].as_i64().expect("a time") / 1_000;
    let part = json!([{
        "type": "agent_task", "purpose": "work", "tools": ["canary/touch"], "harm": [], "until": now + 600,
    }]);
    let mut command = Command::new(e2e::python());
    command.arg(e2e::repository().join("e2e/clients/python/exchanging.py"));
    command.args([format!("{}/mcp/canary", deployment.url()), part.to_string()]);
    for name in ["bot", "reader", "deep"] {
        command.arg(name).arg(deployment.agent_key(name));
    }
    let output = command.stderr(Stdio::inherit()).output().expect("it starts");
    assert!(output.status.success(), "the client ended with {}", output.status);
    let tokens: Vec<Value> = serde_json::from_slice(&output.stdout).expect("claims");

    // One call by the last token, none by what was given up.
    let effects = canary.effects();
    let [touched] = effects.as_slice() else { panic!("it was touched once: {effects:?}") };
    assert_eq!(touched.mark, "by its token");
    let decision = touched.decision.as_deref().expect("it names its decision");
    let chain: Value =
        serde_json::from_str(&deployment.run(&["log", "chain", decision])).expect("JSON");
    let told = |name: &str| -> Vec<Value> {
        let hops = chain["chain"].as_array().expect("hops");
        hops.iter().map(|hop| hop[name].clone()).collect()
    };
    let last = tokens.last().expect("three tokens");
    let actors = [&last["sub"], &last["act"]["act"]["sub"], &last["act"]["sub"]];
    assert_eq!(told("instance"), actors.map(Clone::clone));
    assert_eq!(last["act"]["act"]["act"], Value::Null, "who began it is the subject");
    let tasks: Vec<_> =
        tokens.iter().map(|token| token["authorization_details"][0]["task"].clone()).collect();
    assert_eq!(told("task"), tasks);
    for token in &tokens {
        assert_eq!((&token["sub"], &token["txn"]), (&tokens[0]["sub"], &tasks[0]), "{token}");
        let [task] = token["authorization_details"].as_array().expect("a list").as_slice() else {
            panic!("one task: {token}")
        };
        assert_eq!((&task["purpose"], &task["mandate"]), (&json!("work"), &chain["mandate"]));
    }
    let expiries: Vec<_> = tokens.iter().map(|token| token["exp"].as_i64()).collect();
    assert!(expiries.is_sorted_by(|above, below| above >= below), "{expiries:?}");

    // Who knew no nonce was told one; and what is another's is given up by nobody else.
    let records = wait_until("both refusals are recorded", || {
        let records = deployment.records();
        let is_refused = |cause: &str| records.iter().any(|record| record["cause"] == cause);
        ["nonce_missing", "token_of_another"].into_iter().all(is_refused).then_some(records)
    });
    let after = records.iter().rfind(|record| record["action"] == "canary/touch");
    assert_eq!(after.expect("it was decided")["reason"], "task_not_open");
    deployment.verify();
}
