//! Directories see agents, register them and take them away, by SCIM, at the real service; and others' tests
//! and server of SCIM beside it.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::process::{Command, Stdio};

use e2e::scim::Scim;
use e2e::{Caller, Canary, Page, python};
use serde_json::{Value, json};

const GOVERNANCE: &str = "urn:chancery:scim:schemas:extension:governance:2.0:Agent";

/// What a directory says of a new agent for which `person` answers.
fn agent(name: &str, person: &str) -> Value {
    let person = json!({ "value": person });
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Agent", GOVERNANCE],
        "agentUserName": name,
        GOVERNANCE: {
            "sponsor": person, "businessOwner": person, "technicalOwner": person,
            "purposes": ["work"],
        },
    })
}

/// An agent that a directory registered calls nothing until its sponsor renewed it, does more than read once an
/// administrator answers for its boundary, and never anything after the directory said that it is gone.
#[test]
fn sc_01_an_agent_of_a_directory_acts_on_its_sponsors_word_alone() {
    let canary = Canary::start();
    let scim = Scim::with_agents(Some(&canary));
    let (deployment, provider) = (&scim.deployment, &scim.provider);
    deployment.onboard(&["canary"], "changes-production");
    deployment.run(&["directory", "adopt", "okta", "alice"]);
    let (status, told) = provider.ask("POST", "/Agents", Some(&agent("desk", "nobody")));
    let why = "`sponsor`: `nobody` is no user of this directory";
    assert_eq!((status, &told["detail"]), (400, &json!(why)), "{told}");
    let (status, told) = provider.ask("POST", "/Agents", Some(&agent("desk", "alice")));
    assert_eq!((status, &told["active"]), (201, &json!(true)), "{told}");
    let uid = nix::unistd::geteuid().to_string();
    deployment.run(&["agent", "attest", "desk", "--host-uid", &uid]);
    let key = deployment.agent_key("desk").display().to_string();
    let acts = ["agent", "renew", "desk", "--url", &deployment.url(), "--new-key", &key];
    let renew = |by: &str| {
        let file = deployment.path(&format!("{by}.pem")).display().to_string();
        deployment.run_any(&[&acts[..], &["--as", by, "--key", &file]].concat())
    };
    assert!(renew("bob").contains("sponsor"), "nobody else renews it");
    assert!(!deployment.path(&key).exists(), "and it has no key");
    let renewed = renew("alice");
    assert!(renewed.contains("lease_until"), "{renewed}");
    let mut caller = Caller::of(deployment, "desk", "canary");
    assert!(!caller.call("touch", "unbounded").is_done(), "nobody set what it may be given");
    deployment.run(&["agent", "owners", "desk", "--business-owner", "alice"]);
    assert!(caller.call("touch", "owned").is_done());

    let active = |value: bool| json!({ "op": "replace", "path": "active", "value": value });
    let (status, told) = provider.patch("/Agents/desk", &active(false));
    assert_eq!((status, &told["active"]), (200, &json!(false)), "{told}");
    assert!(!caller.call("touch", "gone").is_done());
    let (status, told) = provider.patch("/Agents/desk", &active(true));
    assert_eq!((status, &told["scimType"]), (400, &json!("mutability")), "{told}");
    assert!(!caller.call("touch", "returned").is_done());
    // What an administrator registered it does not see: its sponsor is not of the directory.
    assert_eq!(provider.ask("GET", "/Agents/bot", None).0, 404);
    assert_eq!(provider.ask("DELETE", "/Agents/desk", None).0, 204);
    assert_eq!(provider.ask("GET", "/Agents/desk", None).0, 404);
    let (status, told) = provider.ask("POST", "/Agents", Some(&agent("desk", "alice")));
    assert_eq!((status, &told["scimType"]), (409, &json!("uniqueness")), "{told}");
    let marks: Vec<_> = canary.effects().into_iter().map(|effect| effect.mark).collect();
    assert_eq!(marks, ["owned"]);
    let replayed = deployment.run(&["log", "replay"]);
    assert!(replayed.contains("decisions agree"), "{replayed}");
    deployment.verify();
}

/// Without the line of the configuration there are no agents; with it, the page's commands do what it says.
#[test]
fn the_page_on_agents_of_directories_shows_what_works() {
    let off = Scim::start(None);
    for (method, path) in [("GET", "/Agents"), ("POST", "/Agents"), ("GET", "/ResourceTypes/Agent")]
    {
        let body = (method == "POST").then(|| agent("desk", "alice"));
        assert_eq!(off.provider.ask(method, path, body.as_ref()).0, 404, "{method} {path}");
    }
    let (_, told) = off.provider.ask("GET", "/Schemas", None);
    assert_eq!(told["totalResults"], 3, "{told}");
    drop(off);

    let canary = Canary::start();
    let scim = Scim::with_agents(Some(&canary));
    let deployment = &scim.deployment;
    deployment.onboard(&["canary"], "reads-data");
    deployment.run(&["directory", "adopt", "okta", "alice"]);
    for file in ["alice.pem", "okta.token"] {
        let home = deployment.path("home").join(file);
        std::fs::copy(deployment.path(file), home).expect("it can be copied");
    }
    let url = scim.provider.base.trim_end_matches("/scim/v2");
    let printed =
        Page::read("directory-agents.md", &[("$CHANCERY_PEOPLE_URL", url)]).run(deployment);
    assert_eq!(printed.len(), 3);
    assert!(printed[2].contains(r#""active":false"#), "{}", printed[2]);
    deployment.verify();
}

/// The types are searched as one list (RFC 7644 §3.4.3).
#[test]
fn sc_01_all_types_are_searched_at_once() {
    let canary = Canary::start();
    let scim = Scim::with_agents(Some(&canary));
    let (deployment, provider) = (&scim.deployment, &scim.provider);
    deployment.onboard(&["canary"], "reads-data");
    for user in ["ann", "ben"] {
        provider.add(user, None);
    }
    let desk = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Desk",
    });
    assert_eq!(provider.ask("POST", "/Groups", Some(&desk)).0, 201);
    assert_eq!(provider.ask("POST", "/Agents", Some(&agent("bot-2", "ann"))).0, 201);
    let search = |mut body: Value| {
        body["schemas"] = json!(["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]);
        provider.ask("POST", "/.search", Some(&body))
    };
    let check = |body: Value, total: usize, names: &[&str]| {
        let (status, told) = search(body.clone());
        let named = |it: &Value| {
            let names = ["userName", "displayName", "agentUserName"].map(|name| &it[name]);
            names.into_iter().find_map(Value::as_str).unwrap_or_default().to_owned()
        };
        let found = told["Resources"].as_array().into_iter().flatten().map(named);
        let found: Vec<_> = found.collect();
        assert_eq!((status, &told["totalResults"]), (200, &json!(total)), "{body}: {told}");
        assert_eq!(found, names, "{body}");
    };
    check(json!({}), 4, &["ann", "ben", "Desk", "bot-2"]);
    check(json!({ "startIndex": 2, "count": 2 }), 4, &["ben", "Desk"]);
    check(json!({ "startIndex": 4 }), 4, &["bot-2"]);
    check(json!({ "startIndex": 9 }), 4, &[]);
    check(json!({ "count": 0 }), 4, &[]);
    check(json!({ "filter": "displayName eq \"desk\"" }), 1, &["Desk"]);
    check(json!({ "filter": "userName eq \"ann\" or agentUserName pr" }), 2, &["ann", "bot-2"]);
    check(json!({ "filter": "meta.resourceType eq \"Agent\"" }), 1, &["bot-2"]);
    let (status, told) = search(json!({ "filter": "active gt true" }));
    assert_eq!((status, &told["scimType"]), (400, &json!("invalidFilter")), "{told}");
    assert_eq!(provider.ask("POST", "/.search", Some(&json!({}))).0, 400);
}

/// Where no line of the configuration says that there are agents, there are none.
#[test]
fn sc_01_without_the_line_that_says_so_there_are_no_agents() {
    let scim = Scim::start(None);
    let provider = &scim.provider;
    assert_eq!(provider.ask("GET", "/Agents", None).0, 404);
    assert_eq!(provider.ask("POST", "/Agents", Some(&agent("bot-2", "ann"))).0, 404);
    let (status, told) = provider.ask("GET", "/ResourceTypes", None);
    assert_eq!((status, &told["totalResults"]), (200, &json!(2)), "{told}");
}

/// The tests of others, whole, with agents.
#[test]
fn scim2_tester_finds_nothing() {
    let canary = Canary::start();
    let scim = Scim::with_agents(Some(&canary));
    scim.deployment.onboard(&["canary"], "reads-data");
    scim.provider.add("sue", None);
    let script = e2e::repository().join("e2e/clients/python/scim.py");
    let mut run = Command::new(python());
    run.arg(script).args([&scim.provider.base, &scim.provider.token]).args(["sue", "work"]);
    let output = run.stdin(Stdio::null()).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    scim.deployment.verify();
}
