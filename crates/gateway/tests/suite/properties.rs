//! What must hold whatever is sent, and whatever the policy says.

use std::collections::BTreeMap;

use mcp::Era;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::support::{Agent, Client, Setup, Upstream, World, tool};
use crate::{ERAS, POLICY, before, onboarded};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// JSON as an attacker writes it: odd spacing, escapes, numbers and names, some of it invalid.
fn hostile() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just(r#""a""#.to_owned()),
        Just(r#""A""#.to_owned()),
        Just(r#""\u0061""#.to_owned()),
        Just(r#""arguments""#.to_owned()),
        Just(r#""name""#.to_owned()),
        Just(r#""_meta""#.to_owned()),
        Just(r#""__proto__""#.to_owned()),
        "[a-c]{0,3}".prop_map(|text| format!("\"{text}\"")),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("-0".to_owned()),
        Just("1e2".to_owned()),
        Just("1.50".to_owned()),
        Just("9007199254740993".to_owned()),
        Just(r#""\u0000\ud83d\ude00 \\ \" \/""#.to_owned()),
        Just(r#""\ud800""#.to_owned()),
        Just("\"\u{2028}é\"".to_owned()),
        any::<i32>().prop_map(|n| n.to_string()),
        Just("01".to_owned()),
    ];
    let space = prop_oneof![Just(""), Just(" "), Just("\n\t"), Just("\r\n")];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let member = (name.clone(), space.clone(), inner.clone());
        let member =
            member.prop_map(|(name, space, value)| format!("{space}{name}{space}:{value}"));
        prop_oneof![
            prop::collection::vec(member, 0..4).prop_map(|all| format!("{{{}}}", all.join(","))),
            prop::collection::vec(inner, 0..4).prop_map(|all| format!("[{}]", all.join(" ,"))),
        ]
    })
}

/// I-06: what arrives in `arguments` is, byte for byte, what was decided on, or nothing arrives.
#[test]
fn i_06_what_was_decided_is_what_is_sent() {
    let runtime = runtime();
    for era in ERAS {
        for server in ERAS {
            let up = runtime.block_on(Upstream::start(server, vec![tool("echo"), tool("pay")]));
            let (world, bot) = runtime.block_on(before(&up, ""));
            let client = runtime.block_on(bot.connected(&world, "up", era));
            let mut runner = TestRunner::new(Config { cases: 96, ..Config::default() });
            let checked = runner.run(&hostile(), |arguments| {
                runtime.block_on(sends_what_was_decided(&client, &up, &arguments))
            });
            checked.unwrap_or_else(|error| panic!("{era:?} → {server:?}: {error}"));
        }
    }
}

async fn sends_what_was_decided(
    client: &Client<'_>,
    up: &Upstream,
    arguments: &str,
) -> Result<(), TestCaseError> {
    let before = up.seen_of("tools/call").len();
    let body = client.body(&json!(1), "tools/call", json!({ "name": "echo" })).to_string();
    let body = body.replacen("{\"_meta\"", &format!("{{\"arguments\":{arguments},\"_meta\""), 1);
    let body = body.replacen("{\"name\"", &format!("{{\"arguments\":{arguments},\"name\""), 1);
    let mut headers = client.headers("POST");
    if client.era == Era::Stateless {
        let mirrored = client.body(&json!(1), "tools/call", json!({ "name": "echo" }));
        Client::mirror(&mut headers, &mirrored);
    }
    let answer = client.post_raw(&headers, body).await;
    let seen = up.seen_of("tools/call");
    let arrived = seen.len() - before;
    prop_assert!(arrived <= 1);
    let read = json::parse(arguments.as_bytes(), json::Limits::default());
    let is_taken = read.as_ref().is_ok_and(Value::is_object);
    prop_assert_eq!(arrived == 1, is_taken, "{} was answered {:?}", arguments, answer);
    if arrived == 1 {
        let sent = &seen.last().expect("it arrived").body;
        let found = sent.contains(&format!("\"arguments\":{arguments}"));
        prop_assert!(found, "{} arrived as {}", arguments, sent);
    } else {
        let refused = answer.error().is_some() || answer.refused().is_some();
        prop_assert!(refused, "{} was answered {:?}", arguments, answer);
    }
    Ok(())
}

/// One policy of a random set, on the tools `a` to `d`.
fn rule() -> impl Strategy<Value = String> {
    let effect = prop_oneof![3 => Just("permit"), 1 => Just("forbid")];
    let principal = prop_oneof![
        Just("principal".to_owned()),
        Just("principal in Agent::\"bot\"".to_owned()),
        Just("principal in Agent::\"nobody\"".to_owned()),
    ];
    let action = prop_oneof![
        "[a-d]".prop_map(|tool| format!("action == Action::\"up/{tool}\"")),
        Just("action in Action::\"tools/call\"".to_owned()),
    ];
    let condition = prop_oneof![
        Just(String::new()),
        Just("when { context.input has x }".to_owned()),
        Just("when { context.input has x && context.input.x > 3 }".to_owned()),
        Just("unless { context.input has x && context.input.x > 3 }".to_owned()),
        Just("when { resource.harm == [\"reads-data\"] }".to_owned()),
        Just("when { context.purpose == \"another\" }".to_owned()),
    ];
    (effect, principal, action, condition).prop_map(|(effect, principal, action, condition)| {
        format!("{effect} ({principal}, {action}, resource in Server::\"up\") {condition};")
    })
}

fn numbered(name: &str) -> Value {
    json!({
        "name": name,
        "inputSchema": { "type": "object", "properties": { "x": { "type": "integer" } } },
    })
}

async fn of_four() -> (Upstream, World, Agent) {
    let tools = ["a", "b", "c", "d"].map(numbered).to_vec();
    let up = Upstream::start(Era::Session, tools).await;
    let (policy, routes) = (POLICY.to_owned(), vec![("up", up.target())]);
    let setup = Setup { policy, routes, ..Setup::default() };
    let (world, bot) = onboarded(setup, &["*=reads-data"]).await;
    (up, world, bot)
}

/// I-24: a tool is listed if and only if some arguments are permitted; what is hidden is as if
/// absent when it is called all the same.
#[test]
fn i_24_what_is_listed_is_what_could_be_permitted() {
    let runtime = runtime();
    let (_up, world, bot) = runtime.block_on(of_four());
    let client = runtime.block_on(bot.connected(&world, "up", Era::Session));
    let mut runner = TestRunner::new(Config { cases: 24, ..Config::default() });
    let sets = prop::collection::vec(rule(), 0..6);
    let checked = runner.run(&sets, |rules| {
        runtime.block_on(lists_what_could_be_permitted(&world, &client, &rules))
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}

async fn lists_what_could_be_permitted(
    world: &World,
    client: &Client<'_>,
    rules: &[String],
) -> Result<(), TestCaseError> {
    let named = rules.iter().enumerate().map(|(n, rule)| format!("@id(\"r{n}\") {rule}\n"));
    // The starter policy permits reading tools that some permit names: here, only the random ones.
    let methods = POLICY.split("@id(\"up-methods\")").nth(1).expect("the methods");
    let text = named.collect::<String>() + "@id(\"up-methods\")" + methods;
    let starter = pdp::STARTER_POLICY.split("@id(\"starter-reading\")").next().expect("its start");
    let files = BTreeMap::from([
        ("starter.cedar".to_owned(), starter.to_owned()),
        ("test.cedar".to_owned(), text.clone()),
    ]);
    world.publisher.replace(files).await.map_err(|error| TestCaseError::fail(error.to_string()))?;
    let listed = client.tools().await;
    for name in ["a", "b", "c", "d"] {
        let mut permitted = false;
        for arguments in [json!({}), json!({ "x": 1 }), json!({ "x": 9 })] {
            let answer = client.call(name, arguments).await;
            permitted |= answer.refused().is_none();
            let hidden = answer.refused().as_deref() == Some("unknown_tool");
            let is_listed = listed.contains(&name.to_owned());
            prop_assert!(
                is_listed || hidden,
                "{} is hidden and told of: {:?}\n{}",
                name,
                answer,
                text
            );
        }
        // The arguments tried are one for every way in which the conditions can come out.
        let is_listed = listed.contains(&name.to_owned());
        prop_assert!(is_listed || !permitted, "{} is hidden and permitted\n{}", name, text);
        let contradicts = is_listed && !permitted;
        prop_assert!(
            !contradicts || may_only_seem(&text),
            "{} is listed, never permitted\n{}",
            name,
            text
        );
    }
    Ok(())
}

/// A list may show what no single set of arguments satisfies, if a permit and a forbid both depend
/// on the arguments (`pdp::possible`).
fn may_only_seem(text: &str) -> bool {
    let depends = |line: &&str| line.contains("context.input");
    text.lines().filter(depends).count() > 1
}
