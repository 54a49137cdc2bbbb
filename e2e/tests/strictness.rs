//! How strict a policy set is beyond what it permits, at the real program, as the page on it says it.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use e2e::{Caller, Canary, Deployment, Options, Page};
use serde_json::{Value, json};

const POLICY: &str = r#"
@id("canary") permit (principal, action in Action::"tools/call", resource in Server::"canary");
"#;

/// Permits what the cases of the page ask for.
const PAYING: &str = r#"
@id("pays") @description("Money") permit (principal, action == Action::"bank/pay", resource);
@id("deploys") @description("Deploys") permit (principal, action == Action::"ci/deploy", resource);
"#;

const STRICTNESS: &str = "
tokens: [{ description: The bot is looked at every minute, agents: [bot], lasts_s: 60 }]
";

/// At medium risk what reads goes on, and no token is renewed.
const RENEWING: &str = r#"
@id("renewing") forbid (principal, action == Action::"token/issue", resource) when { context.risk == "medium" };
"#;

/// How many calls `chancery mcp` gets at once.
const AT_ONCE: usize = 6;

/// For how many milliseconds the newest token was issued.
fn lasts(deployment: &Deployment) -> i64 {
    let records = deployment.records();
    let issued = records.iter().rfind(|record| record["kind"] == "issuance").expect("a token");
    let time = |name: &str| issued[name].as_i64().expect("a time");
    time("expires") - time("time")
}

#[test]
fn r_3_tokens_last_as_long_as_the_policy_set_says() {
    let canary = Canary::start();
    let policy = POLICY.to_owned();
    let options = Options { policy, ..Options::default() };
    let deployment = Deployment::with_canary(canary.port, "reads-data", options);
    assert!(Caller::new(&deployment, "canary").call("touch", "one").is_done());
    assert!((299_000..=300_000).contains(&lasts(&deployment)), "{}", lasts(&deployment));

    deployment.put_in_force("strictness.yaml", STRICTNESS);
    assert!(Caller::new(&deployment, "canary").call("touch", "two").is_done());
    assert!((59_000..=60_000).contains(&lasts(&deployment)), "{}", lasts(&deployment));

    let page = Page::read("strictness.md", &[]);
    let example = deployment.path("home/example");
    std::fs::create_dir_all(example.join("cases")).expect("it can be made");
    let [rules, cases] = page.blocks("yaml").try_into().expect("rules, and cases");
    let approvals = page.blocks("cedar").concat();
    for (file, text) in [
        ("it.cedar", PAYING),
        ("payer.cedar", &approvals),
        ("strictness.yaml", &rules),
        ("cases/it.yaml", &cases),
    ] {
        std::fs::write(example.join(file), text).expect("it can be written");
    }
    let told = page.run(&deployment);
    for cost in [
        "strictness: Who can move money is looked at every minute: tokens last 60 s, which costs an instance at work \
         up to 120 renewals an hour for each server, in place of 14",
        "strictness: Whoever moves money has a token for that call alone: each call needs a token of its own, which \
         costs a renewal a call, and every other call is refused once before it",
        "strictness: Who changes production was attested just before: attested at most 20 s before a call, which \
         costs an instance at work up to 180 renewals an hour for each server, in place of 14",
        "strictness: Who asks for what is not its own is at risk for a week: an instance that departs in data or tool \
         is at risk, from number 2 of an hour on, for 168 h",
        "strictness: `payer-asks` wants an approval, which costs a person's time",
        "5 cases, 0 of which do not hold",
    ] {
        assert!(told[0].contains(cost), "{cost}: {}", told[0]);
    }

    // What is wrong is told with its line.
    std::fs::write(example.join("strictness.yaml"), STRICTNESS.replace("60", "6"))
        .expect("written");
    let told = deployment.run_refused(&["policy", "check", example.to_str().unwrap()]);
    assert!(told.contains("strictness.yaml:2: `lasts_s` is not within 40 and 300"), "{told}");
}

/// What `url` answers to a call of `touch` with `mark`.
fn touch(url: &str, mark: &str) -> Value {
    const VERSION: &str = "2026-07-28";
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "name": "touch", "arguments": { "mark": mark }, "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let (host, path) =
        url.strip_prefix("http://").and_then(|it| it.split_once('/')).expect("a URL");
    let body = body.to_string();
    let request = format!(
        "POST /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
         content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
         mcp-protocol-version: {VERSION}\r\nmcp-method: tools/call\r\nmcp-name: touch\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(host).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_mins(1))).expect("it is a duration");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (start, end) = (answer.find("{\"").unwrap_or(0), answer.rfind('}').unwrap_or(0));
    let json = answer.get(start..=end).unwrap_or_default();
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// Whoever shows a token a second time is told to show another; `chancery mcp` does so by itself, also for calls
/// at once.
#[test]
fn a_token_that_is_good_for_one_call_is_asked_for_by_the_shim_itself() {
    let canary = Canary::start();
    let policy = POLICY.to_owned();
    let options = Options { policy, ..Options::default() };
    let deployment = Deployment::with_canary(canary.port, "moves-money", options);
    let once = "calls: [{ description: x, harm: [moves-money], token: once }]";
    deployment.put_in_force("strictness.yaml", once);
    let mut caller = Caller::new(&deployment, "canary");
    assert!(caller.call("touch", "one").is_done());
    for _ in 0..2 {
        let refused = caller.call("touch", "two");
        assert_eq!((refused.status, refused.code().as_str()), (401, "token_needed"));
    }
    caller.obtain().expect("another token");
    assert!(caller.call("touch", "two").is_done());
    assert_eq!(canary.effects().len(), 2);

    let (_shim, url) = e2e::listen(&deployment, ("bot", "canary"));
    for round in 0..3 {
        let calls = (0..AT_ONCE).map(|number| {
            let (url, mark) = (url.clone(), format!("{round}-{number}"));
            std::thread::spawn(move || touch(&url, &mark))
        });
        let calls: Vec<_> = calls.collect();
        for answer in calls.into_iter().map(|call| call.join().expect("it is answered")) {
            assert_eq!(answer["result"]["isError"], false, "{answer}");
        }
    }
    assert_eq!(canary.effects().len(), 2 + 3 * AT_ONCE);
    let permitted =
        |record: &&Value| record["kind"] == "decision" && record["decision"] == "permit";
    let records = deployment.records();
    let calls = records.iter().filter(permitted).filter(|it| it["action"] == "canary/touch");
    assert_eq!(calls.count(), 2 + 3 * AT_ONCE);
    assert!(deployment.run(&["log", "replay"]).contains("decisions agree"));
}

/// A renewal that is refused stops the work, and nothing else: each call is answered by `chancery mcp`, none
/// reaches the tool, and it goes on with the next token that it is given.
#[test]
fn r_9_a_refused_renewal_stops_the_work_of_the_shim_cleanly() {
    let canary = Canary::start();
    let options = Options { policy: format!("{POLICY}{RENEWING}"), ..Options::default() };
    let deployment = Deployment::with_canary(canary.port, "reads-data", options);
    deployment.put_in_force("strictness.yaml", "calls: [{ description: x, token: once }]");
    let (mut shim, url) = e2e::listen(&deployment, ("bot", "canary"));
    let told = |mark: &str| {
        let answer = touch(&url, mark);
        let result = &answer["result"];
        (result["isError"].clone(), result["structuredContent"]["code"].clone())
    };
    let (done, stopped) = ((json!(false), Value::Null), (json!(true), json!("denied")));
    assert_eq!(["one", "two"].map(told), [done.clone(), done.clone()], "renewed between them");

    deployment.run(&["risk", "raise", "agent/bot", "medium", "--reason", "test"]);
    assert_eq!(["three", "four"].map(told), [stopped.clone(), stopped]);
    let (key, url) = (deployment.path("bob.pem").display().to_string(), deployment.url());
    let lower = ["risk", "lower", "agent/bot", "none", "--reason", "test", "--as", "bob"];
    deployment.run(&[&lower[..], &["--key", &key, "--url", &url]].concat());
    assert_eq!(told("five"), done);
    assert!(shim.ended().is_none(), "it runs until its client goes away");

    let marks: Vec<_> = canary.effects().into_iter().map(|effect| effect.mark).collect();
    assert_eq!(marks, ["one", "two", "five"]);
    let records = deployment.records();
    let refused =
        |it: &&Value| it["action"] == "token/issue" && it["policies"] == json!(["renewing"]);
    assert_eq!(records.iter().filter(refused).count(), 2, "each renewal is asked for, and decided");
}
