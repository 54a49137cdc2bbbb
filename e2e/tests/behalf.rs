//! Work on behalf of a person, which a registered system of the organisation starts.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::io::Write as _;
use std::net::TcpStream;

use e2e::{Answer, Caller, Canary, Deployment, Options, Page, Recorder};
use serde_json::{Value, json};

/// The instance may call; of the people, only Carla. The agent `bot` hands work on.
const POLICY: &str = r#"
@id("instances") permit (principal is Instance, action in Action::"tools/call", resource in Server::"canary");
@id("carla") permit (principal == Person::"carla", action in Action::"tools/call", resource in Server::"canary");
@id("bot") permit (principal in Agent::"bot", action == Action::"delegate", resource == Agent::"reader");
"#;

struct Stage {
    deployment: Deployment,
    canary: Canary,
    recorder: Recorder,
}

impl Stage {
    fn set() -> Self {
        Self::before(Canary::start())
    }

    fn before(canary: Canary) -> Self {
        let recorder = Recorder::to(canary.port);
        let policy = POLICY.to_owned();
        let options = Options { policy, ..Options::default() };
        let deployment = Deployment::with_canary(recorder.port(), "changes-production", options);
        for person in ["carla", "dora"] {
            deployment.run(&["person", "add", person]);
        }
        let stage = Self { deployment, canary, recorder };
        stage.system("portal", "alice");
        stage
    }

    fn system(&self, name: &str, owner: &str) {
        let key = self.key(name);
        let add = ["system", "add", name, "--owner", owner, "--agent", "bot", "--purpose", "work"];
        self.deployment.run(&[&add[..], &["--key", &key]].concat());
    }

    fn key(&self, system: &str) -> String {
        self.deployment.path(&format!("{system}.pem")).display().to_string()
    }

    /// What `system` signs for the work of the agent `bot` on behalf of `subject`.
    fn initiation(&self, system: &str, subject: &str, further: &[&str]) -> String {
        let (key, url) = (self.key(system), self.deployment.url());
        let mut asked = vec!["system", "initiate", system, "--key", &key, "--url", &url];
        asked.extend(["--subject", subject, "--agent", "bot", "--purpose", "work"]);
        asked.extend(["--harm", "changes-production"]);
        asked.extend(further);
        self.deployment.run(&asked).trim().to_owned()
    }

    fn caller(&self, subject: &str) -> Caller {
        let initiation = self.initiation("portal", subject, &["--tool", "canary/touch"]);
        Caller::begun_by(&self.deployment, "canary", &initiation)
    }

    /// `person` touches the canary without an agent, by a token of their own from somewhere else: it
    /// takes whatever it is shown.
    fn by_hand(&self, person: &str, mark: &str) -> Answer {
        let claims = json!({ "sub": person, "client_id": "desk" }).to_string();
        let [head, claims] =
            [r#"{"alg":"none"}"#, &claims].map(|it| keys::base64url(it.as_bytes()));
        let version = "2026-07-28";
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({ "name": "touch", "arguments": { "mark": mark }, "_meta": meta });
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let (port, call) = (self.canary.port, call.to_string());
        let request = format!(
            "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\
             content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
             authorization: Bearer {head}.{claims}.\r\nmcp-protocol-version: {version}\r\n\
             mcp-method: tools/call\r\nmcp-name: touch\r\ncontent-length: {}\r\n\r\n{call}",
            call.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.write_all(request.as_bytes()).expect("it reads");
        Answer::of(stream)
    }

    /// What the chain of the newest call says.
    fn chain(&self) -> Value {
        let records = self.deployment.records();
        let is_call = |record: &&Value| record["action"] == "canary/touch";
        let call = records.iter().rev().filter(|record| record["kind"] == "decision").find(is_call);
        let id = call.expect("it was decided")["id"].as_str().expect("an id").to_owned();
        serde_json::from_str(&self.deployment.run(&["log", "chain", &id])).expect("JSON")
    }
}

/// Person, agent and instance stand apart in the record and at the tool, and both of them must be
/// permitted.
#[test]
fn r_56_a_system_starts_work_on_behalf_of_a_person() {
    let stage = Stage::set();
    let mut caller = stage.caller("carla");
    let answer = caller.call("touch", "one");
    assert!(answer.is_done(), "{answer:?}");
    let chain = stage.chain();
    assert_eq!((&chain["subject"], &chain["sponsor"]), (&"carla".into(), &"sam".into()));
    assert_eq!(chain["agent"], "bot");
    assert_eq!(chain["started_by"], json!({ "system": "portal", "owner": "alice" }));
    let asserted = stage.recorder.calls("tools/call")[0].asserted();
    assert_eq!((&asserted["sub"], &asserted["client_id"]), (&"carla".into(), &"bot".into()));
    assert_eq!(asserted["act"]["sub"], chain["instance"], "{asserted}");

    // Dora may not, whatever the instance may: for the two of them there is no such tool.
    assert_eq!(stage.caller("dora").call("touch", "two").code(), "unknown_tool");
    // An agent that works for nobody is told apart.
    let mut alone = Caller::new(&stage.deployment, "canary");
    assert!(alone.call("touch", "three").is_done());
    let asserted = stage.recorder.calls("tools/call")[1].asserted();
    assert_eq!((&asserted["sub"], asserted.get("act")), (&stage.chain()["instance"], None));
    assert_eq!(stage.canary.effects().len(), 2);
    stage.deployment.verify();
}

/// What Carla did herself and what an agent did on her behalf are told apart by who reads nothing but
/// the tool server's own log.
#[test]
fn r_68_the_servers_own_log_tells_a_human_from_an_agent_on_their_behalf() {
    let stage = Stage::set();
    let answer = stage.by_hand("carla", "herself");
    assert!(answer.is_done(), "{answer:?}");
    let answer = stage.caller("carla").call("touch", "for her");
    assert!(answer.is_done(), "{answer:?}");
    let chain = stage.chain();
    let effects = stage.canary.effects();
    let lines: Vec<_> = effects
        .iter()
        .map(|it| (&*it.mark, [&it.subject, &it.actor, &it.decision].map(Option::as_deref)))
        .collect();
    let [instance, decision] = ["instance", "decision"].map(|name| chain[name].as_str());
    assert!(instance.is_some() && decision.is_some(), "{chain}");
    let expected = [
        ("herself", [Some("carla"), None, None]),
        ("for her", [Some("carla"), instance, decision]),
    ];
    assert_eq!(lines, expected);
}

/// Of ten tools that an agent may call, and does in work of its own, it calls two in a task for two: the
/// server hears nothing of the others.
#[test]
fn r_40_in_a_task_for_two_of_ten_tools_the_server_hears_of_no_other() {
    let stage = Stage::before(Canary::with_operations(10));
    let uid = nix::unistd::geteuid().to_string();
    stage.deployment.agent(("reader", "sam"), &["--host-uid", &uid]);
    let tools: Vec<_> = (0..10).map(|number| format!("operation-{number}")).collect();
    let mut at_large = Caller::of(&stage.deployment, "reader", "canary");
    for tool in &tools {
        assert!(at_large.call(tool, "at large").is_done(), "{tool}");
    }

    let needed = ["operation-3", "operation-7"];
    let records = stage.deployment.records();
    let now = records.last().expect("a record")["time"].as_i64().expect("a time") / 1_000;
    let part = json!({
        "type": "agent_task", "purpose": "work", "harm": ["changes-production"],
        "tools": needed.map(|tool| format!("canary/{tool}")), "until": now + 600,
    });
    let mut lead = Caller::new(&stage.deployment, "canary");
    let mut reader = Caller::of(&stage.deployment, "reader", "canary");
    let answer = lead.delegate(&mut reader, &part);
    assert_eq!(answer.status, 200, "{answer:?}");
    // What it needs comes first: from then on there is a way to the server for all the others.
    for tool in needed {
        assert!(reader.call(tool, "in the task").is_done(), "{tool}");
    }
    let others = tools.iter().map(String::as_str).filter(|tool| !needed.contains(tool));
    let others: Vec<_> = others.collect();
    for tool in &others {
        assert_eq!(reader.call(tool, "in the task").code(), "unknown_tool", "{tool}");
    }
    let records = stage.deployment.records();
    let denied: Vec<_> = records
        .iter()
        .filter(|record| record["reason"] == "outside_scope")
        .filter_map(|record| record["action"].as_str()?.strip_prefix("canary/"))
        .collect();
    assert_eq!(denied, others);

    let calls = stage.recorder.calls("tools/call");
    let heard: Vec<_> =
        calls.iter().filter_map(|call| call.body["params"]["name"].as_str()).collect();
    let (before, after) = heard.split_at(10);
    assert_eq!(before, tools);
    assert_eq!(after, needed);
    assert_eq!(stage.canary.effects().len(), 12);
}

/// Whoever leaves stops what is done in their name: the person, the system's owner, the system.
#[test]
fn r_21_work_ends_with_whoever_stands_behind_it() {
    let stage = Stage::set();
    stage.deployment.run(&["person", "add", "olga"]);
    stage.system("tickets", "olga");
    let begun = |system: &str| {
        let initiation = stage.initiation(system, "carla", &["--tool", "canary/touch"]);
        let mut caller = Caller::begun_by(&stage.deployment, "canary", &initiation);
        assert!(caller.call("touch", "before").is_done());
        caller
    };
    let (mut of_portal, mut of_tickets) = (begun("portal"), begun("tickets"));
    stage.deployment.run(&["person", "deactivate", "olga"]);
    assert_eq!(of_tickets.call("touch", "after").code(), "unknown_tool");
    assert_eq!(stage.chain()["reason"], "mandate_not_valid");
    assert!(of_portal.call("touch", "still").is_done());
    stage.deployment.run(&["system", "suspend", "portal", "--reason", "it was broken into"]);
    assert_eq!(of_portal.call("touch", "after").code(), "unknown_tool");
    assert_eq!(stage.chain()["reason"], "mandate_not_valid");
    assert_eq!(stage.canary.effects().len(), 3);
    let refused = stage.caller("carla").obtain().expect_err("its system is suspended");
    assert_eq!(refused.code(), "access_denied", "{refused:?}");
}

/// What does not hold starts nothing.
#[test]
fn an_initiation_is_for_one_agent_one_purpose_and_one_redemption() {
    let stage = Stage::set();
    let touch = ["--tool", "canary/touch"];
    let check = |initiation: &str, code: &str| {
        let refused = Caller::begun_by(&stage.deployment, "canary", initiation).obtain();
        let refused = refused.expect_err("it does not hold");
        assert_eq!(refused.code(), code, "{refused:?}");
    };
    let once = stage.initiation("portal", "carla", &touch);
    Caller::begun_by(&stage.deployment, "canary", &once).obtain().expect("it holds");
    check(&once, "invalid_grant");
    check("not an initiation", "invalid_grant");
    check(&stage.initiation("portal", "nobody", &touch), "invalid_grant");
    check(&stage.initiation("portal", "carla", &["--tool", "other/*"]), "invalid_scope");
    let wider = ["--tool", "canary/touch", "--harm", "moves-money"];
    check(&stage.initiation("portal", "carla", &wider), "invalid_scope");
    let forged = stage.deployment.path("forged.pem").display().to_string();
    std::fs::copy(stage.deployment.agent_key("bot"), &forged).expect("it can be copied");
    std::fs::copy(&forged, stage.deployment.path("portal.pem")).expect("it can be copied");
    check(&stage.initiation("portal", "carla", &touch), "invalid_grant");
    assert_eq!(stage.canary.effects().len(), 0);
}

/// The page's commands, as they stand there but for the names of server and tool.
#[test]
fn the_page_on_initiations_shows_what_works() {
    let stage = Stage::set();
    std::fs::remove_file(stage.key("portal")).expect("the page makes its own");
    stage.deployment.run(&["system", "suspend", "portal", "--reason", "the page has another"]);
    let named = [("portal", "desk"), ("crm/lookup", "canary/touch"), ("mcp crm", "mcp canary")];
    let printed = Page::read("initiations.md", &named).run(&stage.deployment);
    assert_eq!(printed.len(), 3);
    let records = stage.deployment.records();
    let issued: Vec<_> = records.iter().filter(|it| it["kind"] == "issuance").collect();
    assert_eq!(issued.len(), 1, "the shim redeemed it: {issued:?}");
    let initiated = records.iter().rev().find(|it| it["action"] == "token/issue").expect("decided");
    let id = initiated["id"].as_str().expect("an id");
    let chain: Value =
        serde_json::from_str(&stage.deployment.run(&["log", "chain", id])).expect("JSON");
    assert_eq!(chain["subject"], "carla");
}
