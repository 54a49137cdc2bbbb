//! Work that is handed on from agent to agent: each with a token of its own, each narrower.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use e2e::{Caller, Canary, Deployment, Options, Page, Recorder};
use serde_json::{Value, json};

/// Who may hand on to whom; everybody may call what their task holds.
const POLICY: &str = r#"
@id("instances") permit (principal is Instance, action in Action::"tools/call", resource in Server::"canary");
@id("carla") permit (principal == Person::"carla", action in Action::"tools/call", resource in Server::"canary");
@id("reader") permit (principal in Agent::"reader", action == Action::"delegate", resource == Agent::"deep");
@id("carla-delegates") permit (principal == Person::"carla", action == Action::"delegate", resource);
"#;

/// What `slow` reads is what others wrote.
const LABELS: &str = "
labels: { external: Text of others. }
tools: { canary/slow: { carries: [external] } }
";

struct Stage {
    deployment: Deployment,
    canary: Canary,
    recorder: Recorder,
    /// When what is handed on is over, in seconds since the epoch.
    until: i64,
}

/// The text that `value` is.
fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

impl Stage {
    fn set() -> Self {
        Self::founded(false)
    }

    /// The same, where `releases` says that it runs what two people released.
    fn founded(releases: bool) -> Self {
        let canary = Canary::start();
        let recorder = Recorder::to(canary.port);
        let url = format!("{{ url: 'http://127.0.0.1:{}/mcp' }}", recorder.port());
        // The page's own policy says that the lead hands on.
        let page = Page::read("delegation.md", &[("\"lead\"", "\"bot\"")]);
        let beyond = Page::read("elevation.md", &[]).blocks("cedar").concat();
        let policy = format!("{POLICY}{}{beyond}", page.blocks("cedar").concat());
        let servers = vec![("canary".to_owned(), url)];
        let options = Options { servers, policy, releases, ..Options::default() };
        let deployment = Deployment::start(&options);
        deployment.onboard(&["canary"], "changes-production");
        if releases {
            deployment.release();
        }
        deployment.run(&["person", "add", "rosa"]);
        let uid = nix::unistd::geteuid().to_string();
        for name in ["reader", "deep"] {
            deployment.agent((name, "rosa"), &["--on-behalf-only", "--host-uid", &uid]);
        }
        let records = deployment.records();
        let now = records.last().expect("a record")["time"].as_i64().expect("a time") / 1_000;
        Self { deployment, canary, recorder, until: now + 600 }
    }

    /// A part of the work: one call of `touch`.
    fn part(&self, more: &[(&str, Value)]) -> Value {
        let mut part = json!({
            "type": "agent_task", "purpose": "work", "tools": ["canary/touch"],
            "harm": ["changes-production"], "until": self.until,
        });
        for (name, value) in more {
            part[name] = value.clone();
        }
        part
    }

    /// An instance of `agent`, to which `from` hands `part` on.
    fn handed(&self, from: &mut Caller, agent: &str, part: &Value) -> Caller {
        let mut to = Caller::of(&self.deployment, agent, "canary");
        let answer = from.delegate(&mut to, part);
        assert_eq!(answer.status, 200, "{answer:?}");
        to
    }

    /// The newest decision on a call.
    fn decision(&self) -> Value {
        let records = self.deployment.records();
        let is_call = |record: &&Value| record["action"] == "canary/touch";
        let mut decisions = records.iter().rev().filter(|record| record["kind"] == "decision");
        decisions.find(is_call).expect("it was decided").clone()
    }

    fn chain(&self) -> Value {
        let decision = self.decision();
        let id = decision["id"].as_str().expect("an id");
        serde_json::from_str(&self.deployment.run(&["log", "chain", id])).expect("JSON")
    }
}

/// R51, R57, R59, R61: who started, who acts, what was passed, who answers: at the tool and in the
/// record.
#[test]
fn r_51_the_chain_is_at_the_tool_and_in_the_record() {
    let stage = Stage::set();
    let mut lead = Caller::new(&stage.deployment, "canary");
    assert!(lead.call("touch", "lead").is_done());
    let mut middle = stage.handed(&mut lead, "reader", &stage.part(&[("max_calls", json!(5))]));
    let deeper = stage.part(&[("max_calls", json!(2))]);
    let mut worker = stage.handed(&mut middle, "deep", &deeper);
    let answer = worker.call("touch", "worker");
    assert!(answer.is_done(), "{answer:?}");

    let chain = stage.chain();
    let hops = chain["chain"].as_array().expect("hops");
    let told = |name: &str| hops.iter().map(|hop| hop[name].clone()).collect::<Vec<_>>();
    assert_eq!(told("agent"), ["bot", "reader", "deep"]);
    assert_eq!(told("sponsor"), ["sam", "rosa", "rosa"]);
    let calls: Vec<_> = hops.iter().map(|hop| hop["scope"]["max_calls"].as_u64()).collect();
    assert_eq!(calls, [None, Some(5), Some(2)]);
    let asserted = stage.recorder.calls("tools/call").last().expect("a call").asserted();
    assert_eq!(asserted["client_id"], "deep");
    let instances = [&asserted["sub"], &asserted["act"]["act"]["sub"], &asserted["act"]["sub"]];
    assert_eq!(instances.map(Clone::clone).to_vec(), told("instance"));

    // The limit of two holds below, that of five above.
    assert!(worker.call("touch", "again").is_done());
    let answer = worker.call("touch", "too many");
    assert_eq!(
        (answer.code().as_str(), &stage.decision()["reason"]),
        ("denied", &json!("limit_reached"))
    );
    assert!(middle.call("touch", "middle").is_done());

    let root = hops[0]["task"].as_str().expect("a task");
    let drawn = stage.deployment.run(&["task", "show", root]);
    let lines: Vec<_> =
        drawn.lines().map(|line| line.split(' ').filter(|it| !it.is_empty()).nth(1)).collect();
    assert_eq!(lines, [Some("bot"), Some("reader"), Some("deep")], "{drawn}");
    assert_eq!(stage.canary.effects().len(), 4);
    stage.deployment.verify();
    assert!(stage.deployment.run(&["log", "replay"]).contains("decisions agree"));
}

/// R59: at each hop the tools and the data that are valid there are told, and are what it is held to.
#[test]
fn r_59_each_hop_tells_the_tools_and_the_data_that_it_is_held_to() {
    let stage = Stage::set();
    let deployment = &stage.deployment;
    for tool in ["canary/touch", "canary/slow"] {
        deployment.run(&["tool", "describe", tool, "--object", "/mark", "--data", "orders"]);
    }
    let narrow = ["purpose", "narrow", "work", "--object"];
    deployment.run(&[&narrow[..], &["canary/order-*", "--data", "orders"]].concat());
    let part = |tools: &[&str], objects: &[&str]| {
        stage.part(&[("tools", json!(tools)), ("objects", json!(objects))])
    };
    let (tools, orders) = (["canary/slow", "canary/touch"], ["canary/order-1", "canary/order-2"]);
    let mut lead = Caller::new(deployment, "canary");
    let mut middle = stage.handed(&mut lead, "reader", &part(&tools, &orders));
    let mut worker = stage.handed(&mut middle, "deep", &part(&tools[1..], &orders[..1]));
    assert!(worker.call("touch", "order-1").is_done());
    let chain = stage.chain();
    let told = |what: &str| -> Vec<Value> {
        let hops = chain["chain"].as_array().expect("hops");
        hops.iter().map(|hop| hop.pointer(what).cloned().unwrap_or_default()).collect()
    };
    let below = |pointer: &str| told(pointer)[1..].to_vec();
    for member in ["scope", "valid"] {
        let (tools_of, objects_of) = (format!("/{member}/tools"), format!("/{member}/objects"));
        assert_eq!(below(&tools_of), [json!(tools), json!(tools[1..])], "{member}");
        assert_eq!(below(&objects_of), [json!(orders), json!(orders[..1])], "{member}");
        assert_eq!(told(&tools_of)[0], json!(["canary/*"]), "{member}");
    }
    // Who began it was given whatever there is; what there is, the purpose says.
    let root = ["/scope/objects", "/valid/objects"].map(|pointer| told(pointer)[0].clone());
    assert_eq!(root, [Value::Null, json!(["canary/order-*"])]);
    assert!(told("/data").iter().all(|data| *data == json!(["orders"])), "{chain}");

    assert_eq!(worker.call("slow", "order-1").code(), "unknown_tool");
    assert_eq!(worker.call("touch", "order-2").code(), "denied");
    assert_eq!(stage.decision()["reason"], "outside_purpose");
    assert!(middle.call("touch", "order-2").is_done());
    assert_eq!(middle.call("touch", "order-3").code(), "denied");
    assert!(lead.call("touch", "order-3").is_done());

    // What is taken from the purpose is valid at no hop any more, whatever was handed on.
    deployment.run(&[&narrow[..], &["canary/order-1"]].concat());
    assert_eq!(middle.call("touch", "order-2").code(), "denied");
    let hop = &stage.chain()["chain"][1];
    let objects = ["scope", "valid"].map(|member| hop[member]["objects"].clone());
    assert_eq!(objects, [json!(orders), json!(orders[..1])]);
    let effects = stage.canary.effects();
    let done: Vec<_> = effects.iter().map(|effect| effect.mark.as_str()).collect();
    assert_eq!(done, ["order-1", "order-2", "order-3"]);
}

/// What is handed on ends with whatever is above it: the task, the holder, who answers for it.
#[test]
fn n_033_what_was_handed_on_ends_with_what_is_above() {
    let check = |end: &dyn Fn(&Stage, &Value)| {
        let stage = Stage::set();
        let mut lead = Caller::new(&stage.deployment, "canary");
        let mut middle = stage.handed(&mut lead, "reader", &stage.part(&[]));
        let mut worker = stage.handed(&mut middle, "deep", &stage.part(&[]));
        assert!(worker.call("touch", "before").is_done());
        end(&stage, &stage.chain()["chain"][1]);
        assert_eq!(worker.call("touch", "after").code(), "unknown_tool");
        assert_eq!(stage.decision()["reason"], "delegator_not_active");
        assert!(lead.call("touch", "the lead goes on").is_done());
        let refused = worker.obtain().expect_err("its delegator is stopped");
        assert_eq!(refused.code(), "access_denied", "{refused:?}");
        assert_eq!(stage.canary.effects().len(), 2);
    };
    check(&|stage, hop| {
        stage.deployment.run(&["task", "end", &text(&hop["task"]), "--reason", "not needed"]);
    });
    check(&|stage, hop| {
        let id = text(&hop["instance"]);
        stage.deployment.run(&["instance", "revoke", &id, "--reason", "lost"]);
    });
    check(&|stage, _| {
        stage.deployment.run(&["agent", "suspend", "reader", "--reason", "review"]);
    });
}

/// A mandate that is withdrawn ends everything that rests on it.
#[test]
fn r_55_a_withdrawn_mandate_ends_the_whole_tree() {
    let stage = Stage::set();
    let mut lead = Caller::new(&stage.deployment, "canary");
    let mut child = stage.handed(&mut lead, "reader", &stage.part(&[]));
    assert!(lead.call("touch", "before").is_done());
    assert!(child.call("touch", "before").is_done());
    let listed = stage.deployment.run(&["mandate", "list"]);
    let is_bots = |mandate: &Value| mandate["agent"] == "bot";
    let mut mandates =
        listed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let mandate = mandates.find(is_bots).expect("it has one")["id"].clone();
    let withdraw = ["mandate", "withdraw", mandate.as_str().expect("an id"), "--reason", "over"];
    stage.deployment.run(&withdraw);
    for caller in [&mut lead, &mut child] {
        assert_eq!(caller.call("touch", "after").code(), "unknown_tool");
        assert_eq!(stage.decision()["reason"], "mandate_not_valid");
    }
    assert!(stage.deployment.run_refused(&withdraw).contains("is withdrawn"));
    assert_eq!(stage.canary.effects().len(), 2);
}

/// A thief has the token and not the key: nothing comes of it but a finding.
#[test]
fn n_007_a_stolen_token_is_exchanged_for_nothing() {
    let stage = Stage::set();
    let mut lead = Caller::new(&stage.deployment, "canary");
    assert!(lead.call("touch", "before").is_done());
    let mut thief = lead.robbed_by(Caller::of(&stage.deployment, "reader", "canary"));
    let mut accomplice = Caller::of(&stage.deployment, "deep", "canary");
    let answer = thief.delegate(&mut accomplice, &stage.part(&[]));
    assert_eq!(answer.code(), "invalid_request", "{answer:?}");
    // Policy says who hands on to whom, and nothing wider comes of it.
    let answer = lead.delegate(&mut accomplice, &stage.part(&[]));
    assert_eq!(answer.code(), "invalid_request", "{answer:?}");
    let mut reader = Caller::of(&stage.deployment, "reader", "canary");
    let wider = stage.part(&[("tools", json!(["canary/*", "other/*"]))]);
    assert_eq!(lead.delegate(&mut reader, &wider).code(), "invalid_scope");
    e2e::wait_until("the theft is found", || {
        stage.deployment.run(&["finding", "list"]).contains("holder_absent").then_some(())
    });
    assert_eq!(stage.canary.effects().len(), 1);
}

/// What says that `alice`, or `bob`, signs.
fn signed(deployment: &Deployment) -> [Vec<String>; 2] {
    let url = deployment.url();
    ["alice", "bob"].map(|founder| {
        let key = deployment.path(&format!("{founder}.pem")).display().to_string();
        ["--as", founder, "--key", &key, "--url", &url].map(str::to_owned).to_vec()
    })
}

/// `command`, as the founder `signed` types it.
fn by<'a>(command: &[&'a str], signed: &'a [String]) -> Vec<&'a str> {
    command.iter().copied().chain(signed.iter().map(String::as_str)).collect()
}

/// R54: what a part of the work does not hold, its holder does once two people want it: so often, until
/// it is taken back, and nobody below does.
#[test]
fn r_54_a_child_that_may_not_is_elevated_by_two_and_by_nobody_else() {
    let stage = Stage::founded(true);
    let deployment = &stage.deployment;
    let mut lead = Caller::new(deployment, "canary");
    let narrow = stage.part(&[("tools", json!(["canary/slow"]))]);
    let mut child = stage.handed(&mut lead, "reader", &narrow);
    let mut below = stage.handed(&mut child, "deep", &narrow);
    assert!(child.call("slow", "what it holds").is_done());
    assert_eq!(child.call("touch", "before").code(), "unknown_tool");
    assert_eq!(stage.decision()["reason"], "outside_scope");
    let task = text(&stage.decision()["task"]);
    let ask = ["elevation", "ask", "--task", &task, "--name", "month-end", "--for", "15m"];
    let more = ["--tool", "canary/touch", "--max-calls", "1", "--reason", "the lead is busy"];
    let ask = [&ask[..], &more].concat();
    let anybody = deployment.run_refused(&ask);
    assert!(anybody.contains("a founder signs for this"), "{anybody}");
    let [alice, bob] = signed(deployment);
    let told = deployment.run(&by(&ask, &bob));
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let id = text(&told["waits"]);
    let approve = ["elevation", "approve", &id];
    let anybody = deployment.run_refused(&approve);
    assert!(anybody.contains("a founder signs for this"), "{anybody}");
    let own = deployment.run_refused(&by(&approve, &bob));
    assert!(own.contains("nobody approves what they asked for themselves"), "{own}");
    assert_eq!(child.call("touch", "before").code(), "unknown_tool");
    let mut forged = alice.clone();
    forged[3] = bob[3].clone();
    let forged = deployment.run_refused(&by(&approve, &forged));
    assert!(forged.contains("not signed by an administrator"), "{forged}");
    deployment.run(&by(&approve, &alice));
    assert!(deployment.run(&["task", "show", &task]).contains("  elevated elv_"));
    assert!(child.call("touch", "elevated").is_done());
    let chain = stage.chain();
    let elevation = &chain["elevation"];
    assert_eq!(elevation["asked_by"], "bob");
    assert_eq!((&elevation["state"]["by"], &elevation["id"]), (&json!("alice"), &told["waits"]));
    assert_eq!(child.call("touch", "too often").code(), "denied");
    assert_eq!(stage.decision()["reason"], "limit_reached");
    assert_eq!(below.call("touch", "below").code(), "unknown_tool");
    deployment.run(&["elevation", "revoke", &id, "--reason", "it is done"]);
    assert_eq!(child.call("touch", "after").code(), "unknown_tool");
    let effects = stage.canary.effects();
    let done: Vec<_> = effects.iter().map(|effect| effect.mark.as_str()).collect();
    assert_eq!(done, ["what it holds", "elevated"]);
    deployment.verify();
    assert!(deployment.run(&["log", "replay"]).contains("decisions agree"));
}

/// What is known of an instance that is quarantined stays, and can be read: what it did, what its work has read, what
/// was found of it, and by whom it may do more. Once it is released its work goes on, with all of that.
#[test]
fn r_18_a_quarantine_keeps_the_evidence_and_what_is_released_goes_on() {
    let stage = Stage::set();
    let deployment = &stage.deployment;
    deployment.put_in_force("labels.yaml", LABELS);
    let [alice, bob] = signed(deployment);
    let mut lead = Caller::new(deployment, "canary");
    let narrow = stage.part(&[("tools", json!(["canary/slow"]))]);
    let mut child = stage.handed(&mut lead, "reader", &narrow);
    assert!(child.call("slow", "what it holds").is_done());
    assert_eq!(child.call("touch", "before").code(), "unknown_tool");
    let task = text(&stage.decision()["task"]);
    let ask = ["elevation", "ask", "--task", &task, "--name", "month-end", "--for", "15m"];
    let ask = [&ask[..], &["--tool", "canary/touch", "--reason", "the lead is busy"]].concat();
    let told = deployment.run(&by(&ask, &bob));
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let elevation = text(&told["waits"]);
    deployment.run(&by(&["elevation", "approve", &elevation], &alice));
    assert!(child.call("touch", "elevated").is_done());
    let (decision, hops) = (text(&stage.decision()["id"]), stage.chain()["chain"].clone());
    let (root, instance) = (text(&hops[0]["task"]), text(&hops[1]["instance"]));
    let mut thief = child.robbed_by(Caller::of(deployment, "deep", "canary"));
    let mut accomplice = Caller::of(deployment, "deep", "canary");
    assert_eq!(thief.delegate(&mut accomplice, &narrow).code(), "invalid_request");
    let finding = e2e::wait_until("the theft is found", || {
        let listed = deployment.run(&["finding", "list"]);
        let found = listed.lines().find(|line| line.contains("holder_absent"))?;
        Some(text(&serde_json::from_str::<Value>(found).expect("JSON")["id"]))
    });
    let shown = || {
        let shown = deployment.run(&["log", "show", &decision]);
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        assert!(shown["disclosure"].is_object(), "{shown}");
        (shown["record"].clone(), shown["disclosure"].clone())
    };
    let (records, before) = (deployment.records(), shown());

    deployment.run(&["instance", "quarantine", &instance, "--reason", "a copy may be about"]);
    let is_kept = || {
        assert!(deployment.records().starts_with(&records), "nothing is taken from the log");
        assert_eq!(shown(), before);
        assert!(deployment.run(&["finding", "list"]).contains(&finding));
        assert!(deployment.run(&["elevation", "list"]).contains(&elevation));
        let session = deployment.run(&["task", "show", &root, "--json"]);
        assert!(session.contains("\"external\""), "{session}");
        assert!(deployment.run(&["instance", "list"]).contains(&instance));
    };
    is_kept();
    assert!(!child.call("touch", "while").is_done());
    assert_eq!(stage.decision()["reason"], "instance_quarantined");
    deployment.run(&by(&["instance", "release", &instance, "--reason", "no copy"], &bob));
    assert!(child.call("touch", "after").is_done());
    assert_eq!(stage.chain()["elevation"]["id"], elevation.as_str());
    is_kept();
    let effects = stage.canary.effects();
    let done: Vec<_> = effects.iter().map(|effect| effect.mark.as_str()).collect();
    assert_eq!(done, ["what it holds", "elevated", "after"]);
    deployment.verify();
}

/// The page's commands, as they stand there but for names.
#[test]
fn the_page_on_elevation_shows_what_works() {
    let stage = Stage::set();
    let deployment = &stage.deployment;
    for key in ["alice.pem", "bob.pem"] {
        let (kept, home) = (deployment.path(key), deployment.path(&format!("home/{key}")));
        std::fs::copy(kept, home).expect("it can be copied");
    }
    let mut lead = Caller::new(deployment, "canary");
    let narrow = stage.part(&[("tools", json!(["canary/slow"]))]);
    let mut child = stage.handed(&mut lead, "reader", &narrow);
    assert!(child.call("slow", "what it holds").is_done());
    assert_eq!(child.call("touch", "before").code(), "unknown_tool");
    let task = text(&stage.decision()["task"]);
    let ask = ["elevation", "ask", "--task", &task, "--name", "other", "--for", "1h"];
    let ask = [&ask[..], &["--tool", "canary/touch", "--reason", "test"]].concat();
    let [_, bob] = signed(deployment);
    let told = deployment.run(&by(&ask, &bob));
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let elevation = text(&told["waits"]);
    let named = [
        ("tsk_01a2165f6c5e7d0c9a55d2d3f5a6b7c8", task.as_str()),
        ("elv_01a2165f6c5e7d0c9a55d2d3f5a6b7c8", &elevation),
        ("crm/refund", "canary/touch"),
    ];
    let printed = Page::read("elevation.md", &named).run(deployment);
    assert!(printed[0].contains("\"name\":\"month-end\""), "{printed:?}");
    let acts = deployment.records();
    let acts: Vec<_> = acts.iter().filter_map(|record| record["action"].as_str()).collect();
    let of = |act: &str| acts.iter().filter(|known| **known == act).count();
    let counted = ["elevation/ask", "elevation/approve", "elevation/revoke"].map(of);
    assert_eq!(counted, [2, 1, 1]);
    assert_eq!(child.call("touch", "after").code(), "unknown_tool");
}

/// The page's commands and its part of a task, as they stand there but for names and times.
#[test]
fn the_page_on_delegation_shows_what_works() {
    let stage = Stage::set();
    let mut lead = Caller::new(&stage.deployment, "canary");
    let part = &Page::read("delegation.md", &[("crm/lookup", "canary/touch")]).blocks("json")[0];
    let mut part: Value = serde_json::from_str(part).expect("JSON");
    part[0]["until"] = stage.until.into();
    part[0]["harm"] = json!(["changes-production"]);
    let mut child = stage.handed(&mut lead, "reader", &part[0]);
    assert!(child.call("touch", "before").is_done());
    let ids = |what: &str| -> Vec<Value> {
        let listed = stage.deployment.run(&[what, "list"]);
        listed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let root = ids("task").into_iter().find(|task| task["delegation"].is_null()).expect("a task");
    let named = [
        ("tsk_01a2165f6c5e7d0c9a55d2d3f5a6b7c8", root["id"].as_str().expect("an id")),
        ("man_01a2165f6c5e7d0c9a55d2d3f5a6b7c8", root["mandate"].as_str().expect("an id")),
    ];
    let printed = Page::read("delegation.md", &named).run(&stage.deployment).concat();
    assert!(printed.contains("  tsk_"), "the tree is drawn: {printed}");
    assert_eq!(child.call("touch", "after").code(), "unknown_tool");
    let tree: Value =
        serde_json::from_str(&stage.deployment.run(&["task", "show", named[0].1, "--json"]))
            .expect("JSON");
    assert_eq!(tree["task"]["state"]["how"], "revoked");
    assert_eq!(
        tree["parts"][0]["task"]["state"]["is"], "open",
        "what is below is over by what is above"
    );
}
