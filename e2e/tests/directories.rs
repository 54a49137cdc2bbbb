//! Directories say who the people are, by SCIM, at the real service; and what follows for the agents of
//! who leaves.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use e2e::consenting::Stage;
use e2e::identity::Browser;
use e2e::scim::{Provider, Scim};
use e2e::{Caller, Canary, Deployment, Options, Page, Silent, free_port, wait_until};
use serde_json::{Value, json};

/// Agents call what their task holds, and hand on to `reader`.
const HANDS_ON: &str = r#"
@id("canary") permit (principal, action in Action::"tools/call", resource in Server::"canary");
@id("reader") permit (principal, action == Action::"delegate", resource == Agent::"reader");
"#;

/// The directory says that the sponsor is gone: the agent has stopped by the time that it is answered, and begins
/// again when the sponsor's manager has taken over. How long calls under way take to end, `offboarding.rs` and
/// `signals.rs` measure.
#[test]
fn r_13_when_the_directory_says_that_the_sponsor_left_the_agent_stops_until_another_takes_over() {
    let canary = Canary::start();
    let scim = Scim::start(Some(&canary));
    let deployment = &scim.deployment;
    deployment.onboard(&["canary"], "changes-production");
    deployment.run(&["directory", "adopt", "okta", "sam"]);
    scim.provider.add("sam", Some("bob"));
    let mut caller = Caller::new(deployment, "canary");
    assert!(caller.call("touch", "before").is_done());

    let signal = Instant::now();
    scim.provider.leaves("sam");
    assert!(!caller.call("touch", "after").is_done());
    assert!(signal.elapsed() < Duration::from_secs(2), "{:?}", signal.elapsed());
    assert!(Caller::new(deployment, "canary").obtain().is_err(), "no token either");

    // Coming back revives nothing, and to administer is no reason to take over.
    let returns = json!({ "op": "replace", "path": "active", "value": true });
    assert_eq!(scim.provider.patch("/Users/sam", &returns).0, 200);
    assert!(!caller.call("touch", "returned").is_done());
    let administrator = take_over(deployment, ("bot", "alice"));
    assert!(administrator.contains("no policy grants this access"), "{administrator}");
    let taken = take_over(deployment, ("bot", "bob"));
    assert!(taken.contains(r#""sponsor":"bob""#), "{taken}");
    assert!(!caller.call("touch", "of before").is_done(), "what it was given before is over");
    assert!(Caller::new(deployment, "canary").call("touch", "again").is_done());
    let marks: Vec<_> = canary.effects().into_iter().map(|effect| effect.mark).collect();
    assert_eq!(marks, ["before", "again"]);
    let replayed = deployment.run(&["log", "replay"]);
    assert!(replayed.contains("decisions agree"), "{replayed}");
    deployment.verify();
}

/// What the command says by which `founder` takes `agent` over.
fn take_over(deployment: &Deployment, (agent, founder): (&str, &str)) -> String {
    let key = deployment.path(&format!("{founder}.pem")).display().to_string();
    let (acts, url) = (["agent", "take-over", agent, "--reason", "Sam left"], deployment.url());
    let signed = ["--as", founder, "--key", &key, "--url", &url];
    deployment.run_any(&[&acts[..], &signed].concat())
}

/// Beside those to whom the sponsor reported, who is of the business owner's unit takes an agent over, and who was
/// named as a backup, each by the command; of the agent for which they are neither, nobody does.
#[test]
fn r_13_the_business_owners_unit_and_a_backup_take_over_and_nobody_else_does() {
    let canary = Canary::start();
    let scim = Scim::start(Some(&canary));
    let deployment = &scim.deployment;
    deployment.onboard(&["canary"], "changes-production");
    deployment.run(&["person", "add", "tom"]);
    for person in ["sam", "bob"] {
        deployment.run(&["directory", "adopt", "okta", person]);
    }
    scim.provider.add("sam", None);
    // Of one unit: the directory says it with whom they report to.
    for person in ["olga", "bob"] {
        scim.provider.add(person, Some("tom"));
    }
    let uid = nix::unistd::geteuid().to_string();
    let add = |agent: &str, more: &[&str]| {
        let key = deployment.agent_key(agent).display().to_string();
        let who = ["agent", "add", agent, "--sponsor", "sam", "--technical-owner", "tom"];
        let rest = ["--purpose", "work", "--host-uid", &uid, "--key", &key];
        deployment.run(&[&who[..], &rest, more].concat());
    };
    add("desk", &["--business-owner", "olga"]);
    add("spare", &["--business-owner", "tom", "--backup", "alice"]);
    let early = take_over(deployment, ("desk", "bob"));
    assert!(early.contains("nobody needs to"), "{early}");

    scim.provider.leaves("sam");
    for (agent, other, successor) in [("desk", "alice", "bob"), ("spare", "bob", "alice")] {
        assert!(Caller::of(deployment, agent, "canary").obtain().is_err(), "{agent}");
        let refused = take_over(deployment, (agent, other));
        assert!(refused.contains("no policy grants this access"), "{agent}: {refused}");
        let taken = take_over(deployment, (agent, successor));
        assert!(taken.contains(&format!(r#""sponsor":"{successor}""#)), "{agent}: {taken}");
        assert!(Caller::of(deployment, agent, "canary").call("touch", agent).is_done(), "{agent}");
    }
    let marks: Vec<_> = canary.effects().into_iter().map(|effect| effect.mark).collect();
    assert_eq!(marks, ["desk", "spare"]);
    let replayed = deployment.run(&["log", "replay"]);
    assert!(replayed.contains("decisions agree"), "{replayed}");
    deployment.verify();
}

/// A deployment before `silent`, with the directory `okta`, which tells of Sam, who sponsors `bot`; Alice sponsors
/// `desk`, and Rosa `reader`, to which both hand on.
fn handing_on(silent: &Silent) -> (Deployment, Provider) {
    let port = free_port();
    let (policy, observers) = (HANDS_ON.to_owned(), Some(port));
    let options = Options { policy, observers, ..Options::default() };
    let deployment = Deployment::with_canary(silent.port, "changes-production", options);
    let uid = nix::unistd::geteuid().to_string();
    deployment.run(&["person", "add", "rosa"]);
    deployment.agent(("desk", "alice"), &["--host-uid", &uid]);
    deployment.agent(("reader", "rosa"), &["--on-behalf-only", "--host-uid", &uid]);
    let file = deployment.path("okta.token").display().to_string();
    deployment.run(&["directory", "add", "okta", "--token", &file]);
    let token = std::fs::read_to_string(file).expect("it was written");
    let provider = Provider { base: format!("http://127.0.0.1:{port}/scim/v2"), token };
    deployment.run(&["directory", "adopt", "okta", "sam"]);
    provider.add("sam", None);
    (deployment, provider)
}

/// Work that was handed on to an agent of somebody who stays ends with the sponsor above it who leaves: the call under
/// way is cut, at the agent and at the tool, and there is no other; what another handed on to the same agent goes on.
#[test]
fn r_13_what_was_handed_on_to_anothers_agent_ends_with_the_sponsor_above_it() {
    let silent = Silent::start();
    let (deployment, provider) = handing_on(&silent);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let part = json!({
        "type": "agent_task", "purpose": "work", "tools": ["canary/touch"],
        "harm": ["changes-production"], "until": now + 600,
    });
    let handed = |lead: &str| {
        let mut child = Caller::of(&deployment, "reader", "canary");
        let answer = Caller::of(&deployment, lead, "canary").delegate(&mut child, &part);
        assert_eq!(answer.status, 200, "{lead}: {answer:?}");
        assert!(child.call("touch", Silent::QUICK).is_done(), "{lead}");
        child
    };
    let (mut child, mut other) = (handed("bot"), handed("desk"));
    let mut stream = TcpStream::connect(("127.0.0.1", deployment.port)).expect("it listens");
    child.begin(&mut stream, ("touch", "held"));
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).expect("it begins to be answered");
    assert_eq!(begun, *b"HTTP/1.1 200");
    wait_until("it is open at the tool", || (silent.open() == 1).then_some(()));

    let signal = Instant::now();
    provider.leaves("sam");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("it ends");
    assert!(rest.contains("outcome_unknown"), "{rest}");
    wait_until("the tool is hung up on", || (silent.open() == 0).then_some(()));
    assert!(signal.elapsed() < Duration::from_secs(2), "{:?}", signal.elapsed());
    assert_eq!(child.call("touch", Silent::QUICK).code(), "unknown_tool");
    let records = deployment.records();
    let is_call = |it: &&Value| it["kind"] == "decision" && it["action"] == "canary/touch";
    let newest = records.iter().rev().find(is_call).expect("it was decided");
    assert_eq!(newest["reason"], "delegator_not_active", "{newest}");
    assert!(child.obtain().is_err(), "no token either");
    assert!(other.call("touch", Silent::QUICK).is_done(), "of whom nobody left");
    deployment.verify();
}

/// Whoever's manager changes affirms what they sponsor; what was under way goes on then.
#[test]
fn r_13_a_sponsor_whose_manager_changes_affirms_what_they_answer_for() {
    let canary = Canary::start();
    let scim = Scim::start(Some(&canary));
    let deployment = &scim.deployment;
    deployment.onboard(&["canary"], "changes-production");
    deployment.agent(("desk", "alice"), &["--host-uid", &nix::unistd::geteuid().to_string()]);
    deployment.run(&["directory", "adopt", "okta", "alice"]);
    scim.provider.add("alice", Some("bob"));
    let mut caller = Caller::of(deployment, "desk", "canary");
    assert!(caller.call("touch", "before").is_done());
    let path = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value";
    let moves = json!({ "op": "replace", "path": path, "value": "carla" });
    let (status, told) = scim.provider.patch("/Users/alice", &moves);
    assert_eq!(status, 200, "{told}");
    assert!(!caller.call("touch", "moved").is_done());
    let home = deployment.path("home/alice.pem");
    std::fs::copy(deployment.path("alice.pem"), home).expect("it can be copied");
    let printed = Page::read("sponsors.md", &[]).run(deployment);
    assert_eq!(printed.len(), 2);
    assert!(printed[1].contains("ends_by"), "{}", printed[1]);
    assert!(caller.call("touch", "affirmed").is_done());
    assert_eq!(canary.effects().len(), 2);
}

/// Whoever the sponsor reported to sees the agent at the page for people, and takes it over there.
#[test]
fn r_13_the_manager_takes_over_at_the_page_for_people() {
    let stage = Stage::set("carla");
    let (deployment, people) = (&stage.deployment, &stage.people);
    let file = deployment.path("okta.token").display().to_string();
    deployment.run(&["directory", "add", "okta", "--token", &file]);
    let token = std::fs::read_to_string(file).expect("it was written");
    deployment.run(&["directory", "adopt", "okta", "sam"]);
    let provider = Provider { base: format!("{people}/scim/v2"), token };
    provider.add("sam", Some("carla"));
    let mut browser = Browser::default();
    let page = browser.log_in(people, &format!("{people}/agents"));
    assert!(page.text.contains("You answer for no agent"), "{}", page.text);
    provider.leaves("sam");
    let page = browser.get(&format!("{people}/agents"));
    assert!(page.text.contains("desk") && page.text.contains("Take it over"), "{}", page.text);
    let (csrf, uri) = (page.field("csrf"), format!("{people}/agents/desk"));
    for (reason, csrf, status) in
        [("Sam left", "x", 403), ("", &csrf, 400), ("Sam left", &csrf, 303)]
    {
        let fields = [("csrf", csrf), ("choice", "take-over"), ("reason", reason)];
        assert_eq!(browser.post(&uri, &fields, people).status, status, "{reason}");
    }
    let page = browser.get(&format!("{people}/agents"));
    assert!(page.text.contains("It is to go on for 30 days"), "{}", page.text);
    let lease = || {
        let agents = deployment.run(&["agent", "list"]);
        let desk = agents.lines().find(|line| line.contains(r#""name":"desk""#));
        let desk: Value = serde_json::from_str(desk.expect("it is there")).expect("JSON");
        desk["valid_until"].as_i64().expect("a time")
    };
    let (before, csrf) = (lease(), page.field("csrf"));
    let fields = [("csrf", csrf.as_str()), ("choice", "renew")];
    assert_eq!(browser.post(&uri, &fields, people).status, 303);
    assert!(lease() > before, "it is renewed");
    // She follows in keeping it running, too, and answers for what it remembers.
    assert!(page.text.contains("You keep it running"), "{}", page.text);
    let fields = [("csrf", csrf.as_str()), ("choice", "forget")];
    assert_eq!(browser.post(&uri, &fields, people).status, 303);
    let agents = deployment.run(&["agent", "list"]);
    let desk = agents.lines().find(|line| line.contains(r#""name":"desk""#)).expect("it is there");
    assert!(desk.contains(r#""sponsor":"carla""#), "{desk}");
    assert!(desk.contains(r#""forgets":{"by":"carla""#), "{desk}");
    deployment.verify();
}

/// The page's commands, as they stand there.
#[test]
fn the_page_on_directories_shows_what_works() {
    let port = free_port();
    let options = Options { observers: Some(port), ..Options::default() };
    let deployment = Deployment::start(&options);
    let url = format!("http://127.0.0.1:{port}");
    let page = Page::read("directories.md", &[("$CHANCERY_PEOPLE_URL", &url)]);
    let printed = page.run(&deployment);
    assert_eq!(printed.len(), 2);
    assert!(printed[1].contains(r#""is":"inactive""#), "{}", printed[1]);
}

/// A directory speaks of its own people only, and of nobody without its token.
#[test]
fn sc_01_a_directory_reads_and_changes_its_own_people_only() {
    let scim = Scim::start(None);
    let taken = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "Bob",
    });
    let (status, told) = scim.provider.ask("POST", "/Users", Some(&taken));
    assert_eq!((status, &told["scimType"]), (409, &json!("uniqueness")), "{told}");
    assert_eq!(scim.provider.ask("GET", "/Users/bob", None).0, 404);
    let nobody = Provider { token: "okta.none".to_owned(), base: scim.provider.base };
    assert_eq!(nobody.ask("GET", "/Users", None).0, 401);
}

/// Groups are who is in them, to policy; `administrators` is no directory's.
#[test]
fn sc_01_who_is_in_a_group_is_so_to_policy() {
    let scim = Scim::start(None);
    for user in ["ann", "ben"] {
        scim.provider.add(user, None);
    }
    let group = |name: &str| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": name, "members": [{ "value": "ann" }],
        })
    };
    let (status, told) = scim.provider.ask("POST", "/Groups", Some(&group("Administrators")));
    assert_eq!((status, &told["scimType"]), (400, &json!("invalidValue")), "{told}");
    let (status, told) = scim.provider.ask("POST", "/Groups", Some(&group("Finance Team")));
    assert_eq!(status, 201, "{told}");
    let path = format!("/Groups/{}", told["id"].as_str().expect("an id"));
    assert_eq!(scim.person("ann")["groups"], json!(["finance-team"]));
    let joins = json!({ "op": "add", "path": "members", "value": [{ "value": "ben" }] });
    assert_eq!(scim.provider.patch(&path, &joins).0, 200);
    let leaves = json!({ "op": "remove", "path": r#"members[value eq "ann"]"# });
    assert_eq!(scim.provider.patch(&path, &leaves).0, 200);
    assert_eq!(scim.person("ann")["groups"], json!([]));
    let renamed = json!({ "op": "replace", "path": "displayName", "value": "Payments" });
    assert_eq!(scim.provider.patch(&path, &renamed).0, 200);
    assert_eq!(scim.person("ben")["groups"], json!(["payments"]));
    assert_eq!(scim.provider.ask("DELETE", &path, None).0, 204);
    assert_eq!(scim.person("ben")["groups"], json!([]));
    scim.deployment.verify();
}
