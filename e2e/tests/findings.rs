//! What people are told by a webhook: of a caller that is no active agent, which is refused like any other, found and
//! looked at; and of agents that stopped, or are to.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use e2e::breaking;
use e2e::scim::Scim;
use e2e::{Caller, Canary, Deployment, stage, wait_until};
use serde_json::{Value, json};

/// A token that nobody here signed.
const TOKEN: &str = "eyJhbGciOiJub25lIn0.e30.c2VjcmV0";

/// Something that takes what people are told by POST and answers 200.
fn webhook() -> (u16, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it listens").port();
    let (sender, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let Some(body) = body_of(stream) else { continue };
            let _ = sender.send(body);
        }
    });
    (port, told)
}

fn body_of(mut stream: TcpStream) -> Option<Value> {
    let (mut heard, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        heard.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&heard);
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
        if let Some(body) = body.and_then(|body| serde_json::from_str(body).ok()) {
            let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).ok()?;
            return Some(body);
        }
    }
}

/// Calls a tool with that token.
fn call(deployment: &Deployment) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", deployment.port)).expect("it listens");
    let params = json!({ "name": "touch", "arguments": { "mark": "unknown" } });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let body = body.to_string();
    let request = format!(
        "POST /mcp/canary HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\n\
         user-agent: curious/1.0\r\nauthorization: DPoP {TOKEN}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        deployment.port,
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn r_24_r_25_who_is_no_agent_is_refused_found_and_told_to_who_answers() {
    let (port, told) = webhook();
    let canary = Canary::start();
    let webhook = format!("findings: {{ webhook: 'http://127.0.0.1:{port}/found' }}\n");
    let deployment = Deployment::start(&stage::options(canary.port, stage::REQUEST, &webhook));
    deployment.onboard(&["canary"], "changes-production");

    assert!(call(&deployment).starts_with("HTTP/1.1 401 "), "it is refused");
    let found = told.recv().expect("somebody is told");
    // The owner of the server's tool.
    assert_eq!((&found["kind"], &found["to"]), (&"unknown_agent".into(), &"alice".into()));
    let stranger = &found["finding"]["stranger"];
    assert_eq!(stranger["server"], "canary");
    assert_eq!(stranger["source"], "127.0.0.1");
    assert_eq!(stranger["client"], "curious/1.0");
    assert!(!found.to_string().contains(TOKEN), "a credential is told by its digest alone");

    let listed = deployment.run(&["finding", "list"]);
    let listed: Value = serde_json::from_str(listed.trim()).expect("one finding");
    assert_eq!((&listed["state"], &listed["count"]), (&"unknown".into(), &1.into()));
    let id = listed["id"].as_str().expect("it has a name");
    wait_until("the metrics say so", || {
        deployment.observed("/metrics").contains("chancery_findings_open 1").then_some(())
    });
    deployment.run(&["finding", "close", id, "--reason", "a scanner of ours"]);
    let again = deployment.run_refused(&["finding", "close", id, "--reason", "twice"]);
    assert!(again.contains("there is no open finding"), "{again}");
    wait_until("it is closed", || {
        deployment.observed("/metrics").contains("chancery_findings_open 0").then_some(())
    });

    // An agent that stopped being one is found at the token endpoint.
    deployment.run(&["agent", "suspend", "bot", "--reason", "a test"]);
    assert!(Caller::new(&deployment, "canary").obtain().is_err(), "it gets no token");
    let found = told.recv().expect("somebody is told");
    let stranger = &found["finding"]["stranger"];
    let said = ["cause", "claimed", "tried", "server"].map(|name| stranger[name].as_str());
    assert_eq!(said, ["agent_not_active", "bot", "token", "canary"].map(Some));

    let records = deployment.records();
    let events: Vec<_> = records.iter().filter(|record| record["kind"] == "system").collect();
    assert!(events.iter().any(|record| record["event"] == "unknown_agent"));
    assert!(!Value::from_iter(records.clone()).to_string().contains("curious/1.0"));
    assert!(canary.effects().is_empty(), "nothing happened");
    assert!(deployment.verify().contains("the log verifies"));
}

/// Longer than what did not get through waits until it is tried again.
const AGAIN: Duration = Duration::from_secs(90);

/// Receives until each of these was told, of this kind, of this agent, to this person, and nothing twice.
fn are_told(told: &Receiver<Value>, heard: &mut Vec<Value>, wanted: &[[&str; 3]]) {
    let is = |news: &Value, wanted: &[&str; 3]| {
        ["kind", "agent", "to"].iter().zip(wanted).all(|(name, text)| news[*name] == **text)
    };
    while !wanted.iter().all(|wanted| heard.iter().any(|news| is(news, wanted))) {
        let news = told.recv_timeout(AGAIN);
        let news = news.unwrap_or_else(|_| panic!("some of {wanted:?} is not told: {heard:?}"));
        assert!(heard.iter().all(|before| before["id"] != news["id"]), "it is told again: {news}");
        heard.push(news);
    }
}

/// It is written what was told, and not only told: no other start tells it again.
fn are_recorded(deployment: &Deployment, heard: &[Value]) {
    let is_told = |it: &Value| {
        ["sponsor_left_told", "lease_reminder_told"].iter().any(|event| it["event"] == **event)
    };
    wait_until("it is recorded", || {
        let told = deployment.records().iter().filter(|it| is_told(it)).count();
        (told == heard.len()).then_some(())
    });
}

/// Backups are asked to follow a sponsor who left, and who answers for an agent is reminded that its review is due and
/// that its lease ends: each once, over restarts, after each of which the service looks at once.
#[test]
fn r_13_r_14_the_webhook_asks_backups_and_reminds_of_reviews_and_leases() {
    let (port, told) = webhook();
    let mut heard = Vec::new();
    let webhook = format!("findings: {{ webhook: 'http://127.0.0.1:{port}/people' }}\n");
    let mut scim = Scim::configured(None, &webhook);
    let deployment = &mut scim.deployment;
    for person in ["sam", "carla"] {
        deployment.run(&["person", "add", person]);
    }
    deployment.run(&["directory", "adopt", "okta", "sam"]);
    scim.provider.add("sam", Some("carla"));
    deployment.run(&["purpose", "add", "work", "--owner", "alice", "--tool", "crm/*"]);
    deployment.agent(("bot", "sam"), &["--backup", "bob"]);
    deployment.agent(("lone", "sam"), &[]);
    deployment.agent(("desk", "alice"), &["--backup", "bob"]);
    let date = Command::new("date").args(["-u", "-d", "+5 days", "+%Y-%m-%d"]).output();
    let date = String::from_utf8(date.expect("it starts").stdout).expect("it prints text");
    deployment.run(&["review", "open", "--agent", "desk", "--due", date.trim()]);
    scim.provider.leaves("sam");
    deployment.stop();
    deployment.serve();
    let asked = [["sponsor_left", "bot", "bob"], ["sponsor_left", "lone", "carla"]];
    let due = ["alice", "bob", "bootstrap-administrator"].map(|to| ["review_due", "desk", to]);
    are_told(&told, &mut heard, &[&asked[..], &due].concat());
    are_recorded(deployment, &heard);
    let of = |heard: &[Value], kind: &str, agent: &str| {
        let found = heard.iter().find(|it| it["kind"] == *kind && it["agent"] == *agent);
        found.expect("it was told").clone()
    };
    let left = of(&heard, "sponsor_left", "bot");
    let command = "chancery agent take-over bot --reason REASON --as bob --key KEY";
    for (name, expected) in
        [("sponsor", "sam"), ("why", "left"), ("act", "take-over"), ("command", command)]
    {
        assert_eq!(left[name], expected, "{left}");
    }
    let review = of(&heard, "review_due", "desk");
    assert_eq!(review["days"], 7, "{review}");
    assert!(review["review"].is_string(), "{review}");
    deployment.verify();

    // Twenty days later ten are left of each lease.
    deployment.stop();
    let clock = deployment.path("clock");
    std::fs::write(&clock, "+1728000").expect("it can be written");
    deployment.serve_under(breaking::by_clock(&clock));
    let ends = [("bot", "bob"), ("desk", "alice"), ("desk", "bob")];
    are_told(&told, &mut heard, &ends.map(|(agent, to)| ["lease_ends", agent, to]));
    are_recorded(deployment, &heard);
    let lease = of(&heard, "lease_ends", "desk");
    assert_eq!(lease["days"], 14, "{lease}");
    assert_eq!(lease["sponsor"], "alice", "{lease}");
}
