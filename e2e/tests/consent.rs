//! A person consents to what an agent asks, in a browser, logged in at a provider of others.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::process::{Command, Stdio};

use e2e::consenting::{Stage, asked, task};
use e2e::identity::{Browser, Shown, day};
use serde_json::{Value, json};

/// Logs in, and comes to the page at `uri`.
fn log_in(stage: &Stage, browser: &mut Browser, uri: &str) -> Shown {
    browser.log_in(&stage.people, uri)
}

fn answer(
    stage: &Stage,
    browser: &mut Browser,
    (uri, page): (&str, &Shown),
    choice: &str,
) -> Shown {
    let (csrf, shown) = (page.field("csrf"), page.field("shown"));
    let mut fields = vec![("csrf", csrf.as_str()), ("shown", &shown), ("choice", choice)];
    let day = day(2);
    fields.push(("day", &day));
    browser.post(uri, &fields, &stage.people)
}

/// What the chain of the newest call says.
fn chain(stage: &Stage) -> Value {
    let records = stage.deployment.records();
    let call = records.iter().rev().find(|it| it["action"] == "canary/touch");
    let id = call.expect("it was decided")["id"].as_str().expect("an id").to_owned();
    serde_json::from_str(&stage.deployment.run(&["log", "chain", &id])).expect("JSON")
}

/// The agent asks, the person reads and consents, both are seen at the tool, and it ends with her.
#[test]
fn r_56_a_person_consents_and_that_is_a_mandate() {
    let stage = Stage::set("carla");
    let mut caller = stage.caller();
    let refused = caller.obtain().expect_err("it has no standing mandate");
    assert_eq!(refused.code(), "unauthorized_client", "{refused:?}");
    assert!(refused.body["error_description"].to_string().contains("/oauth/par"), "{refused:?}");
    let link = refused.body["consent_uri"].as_str().expect("where a person can give one");
    assert!(link.starts_with(&format!("{}/consent/con_", stage.people)), "{refused:?}");
    assert_eq!(caller.push(&task(&["other/*"], 1)).code(), "invalid_scope");

    let pushed = caller.push(&task(&["canary/touch"], 1));
    assert_eq!(pushed.status, 201, "{pushed:?}");
    let uri = pushed.body["consent_uri"].as_str().expect("a link").to_owned();
    let pending = caller.obtain().expect_err("nobody answered");
    assert_eq!(pending.code(), "authorization_pending", "{pending:?}");
    assert_eq!(pending.body["consent_uri"], uri);

    let mut browser = Browser::default();
    let page = log_in(&stage, &mut browser, &uri);
    assert_eq!(page.status, 200, "{}", page.text);
    for told in [
        "Answer only what you yourself set going",
        "Asked",
        "desk",
        "sam",
        "carla",
        "work",
        "canary/touch",
        "changes-production",
        "at most 2",
    ] {
        assert!(page.text.contains(told), "{told}: {}", page.text);
    }
    let policy = page.header("content-security-policy").expect("nobody frames it");
    assert!(policy.contains("frame-ancestors 'none'"));
    // Opening it, from wherever, answers nothing; nor does a form of somebody else.
    browser.get(&format!("{uri}?choice=once"));
    let shown = page.field("shown");
    let without = browser.post(&uri, &[("choice", "once"), ("shown", &shown)], &stage.people);
    assert_eq!(without.status, 403, "{}", without.text);
    let csrf = page.field("csrf");
    let fields = [("csrf", csrf.as_str()), ("shown", &shown), ("choice", "once")];
    assert_eq!(browser.post(&uri, &fields, "http://evil.test").status, 403);
    assert_eq!(caller.obtain().expect_err("nobody answered").code(), "authorization_pending");

    let answered = answer(&stage, &mut browser, (&uri, &page), "once");
    assert_eq!(answered.status, 200, "{}", answered.text);
    assert!(caller.call("touch", "one").is_done());
    let asserted = stage.recorder.calls("tools/call")[0].asserted();
    let chain = chain(&stage);
    assert_eq!((&asserted["sub"], &asserted["act"]["sub"]), (&"carla".into(), &chain["instance"]));
    assert_eq!((&chain["subject"], &chain["sponsor"]), (&"carla".into(), &"sam".into()));
    let consent = json!({ "by": "carla", "once": true, "shown": shown });
    assert_eq!(chain["started_by"], json!({ "consent": consent }));
    let given = stage.deployment.records();
    let given = given.iter().find(|it| it["action"] == "mandate/give").expect("it is recorded");
    assert_eq!(given["kind"], "administration");

    // Once is once, and no more than was agreed.
    let mut second = stage.caller();
    second.push(&task(&["canary/touch"], 1));
    assert!(caller.call("touch", "two").is_done());
    assert!(!caller.call("touch", "three").is_done(), "two calls were agreed");
    let again = browser.get(&uri);
    assert_eq!(again.status, 200, "{}", again.text);
    assert!(again.text.contains("may work on your behalf until"), "{}", again.text);

    stage.deployment.run(&["person", "deactivate", "carla"]);
    assert!(!caller.call("touch", "four").is_done());
    let mandates = browser.get(&format!("{}/mandates", stage.people));
    assert_eq!(mandates.status, 403, "{}", mandates.text);
    assert!(mandates.text.contains("not one of the active people"), "{}", mandates.text);
    assert_eq!(stage.canary.effects().len(), 2);
    stage.deployment.verify();
}

/// A client whose agent lacks a mandate is told where a person can give one, and goes on once somebody has.
#[test]
fn r_56_a_client_is_told_where_a_person_can_consent_and_goes_on_once_they_have() {
    let stage = Stage::set("carla");
    let run = || {
        let mut command = Command::new(e2e::binary());
        command.args(["mcp", "canary", "--agent", "desk", "--key"]);
        command.arg(stage.deployment.agent_key("desk"));
        command.args(["--url", &stage.deployment.url(), "--host-socket"]);
        command.arg(stage.deployment.host_socket()).stdin(Stdio::null());
        command.env_remove("XDG_RUNTIME_DIR");
        command.env("XDG_STATE_HOME", stage.deployment.path("user"));
        let output = command.output().expect("it starts, and nobody waits for who holds the key");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let link = |told: &str| {
        let (_, link) = told.split_once("a person can consent at ").expect("a link");
        link.split(',').next().unwrap_or_default().to_owned()
    };
    let (is_given, told) = run();
    assert!(!is_given, "{told}");
    let uri = link(&told);
    let (is_given, told) = run();
    assert!(!is_given && link(&told) == uri, "it is asked once: {told}");

    let mut browser = Browser::default();
    let page = log_in(&stage, &mut browser, &uri);
    let answered = answer(&stage, &mut browser, (&uri, &page), "once");
    assert_eq!(answered.status, 200, "{}", answered.text);
    let (is_given, told) = run();
    assert!(is_given, "{told}");
    let records = stage.deployment.records();
    let of_kind = |kind: &str| records.iter().filter(|it| it["kind"] == kind).count();
    assert_eq!(of_kind("issuance"), 1, "{records:?}");
    assert!(records.iter().any(|it| it["action"] == "mandate/give"), "{records:?}");
    stage.deployment.verify();
}

/// Until a date it begins any number of tasks, until the person takes it back.
#[test]
fn a_person_takes_back_what_they_consented_to() {
    let stage = Stage::set("carla");
    let (mut caller, mut browser) = (stage.caller(), Browser::default());
    let uri = asked(&mut caller, &task(&["canary/*"], 24));
    let page = log_in(&stage, &mut browser, &uri);
    let answered = answer(&stage, &mut browser, (&uri, &page), "until");
    assert_eq!(answered.status, 200, "{}", answered.text);
    assert!(caller.call("touch", "one").is_done());

    let all = format!("{}/mandates", stage.people);
    let page = browser.get(&all);
    let action = page.text.split_once("action=\"/mandates/").expect("one is valid").1;
    let (mandate, _) = action.split_once('"').expect("an id");
    let csrf = page.field("csrf");
    let taken = format!("{all}/{mandate}");
    let taken = browser.post(&taken, &[("csrf", &csrf)], &stage.people);
    assert_eq!(taken.status, 303, "{}", taken.text);
    assert!(!caller.call("touch", "two").is_done());
    assert_eq!(chain(&stage)["reason"], "mandate_not_valid");

    // Who refuses is not asked twice.
    let mut refused = stage.caller();
    let uri = asked(&mut refused, &task(&["canary/touch"], 1));
    let page = browser.get(&uri);
    assert_eq!(answer(&stage, &mut browser, (&uri, &page), "refuse").status, 200);
    assert_eq!(refused.obtain().expect_err("she refused").code(), "access_denied");
    assert_eq!(stage.canary.effects().len(), 1);
    stage.deployment.verify();
}

/// The provider is down: that is told, and everything else goes on. What was known of it would serve
/// for an hour, so the service is started again, and then knows nothing.
#[test]
fn while_the_provider_is_down_nobody_logs_in_and_nothing_else_is_concerned() {
    let mut stage = Stage::set("carla");
    let (mut caller, mut browser) = (stage.caller(), Browser::default());
    let uri = asked(&mut caller, &task(&["canary/touch"], 24));
    let page = log_in(&stage, &mut browser, &uri);
    assert_eq!(answer(&stage, &mut browser, (&uri, &page), "until").status, 200);
    assert!(caller.call("touch", "one").is_done());

    stage.identity.kill();
    let mandates = format!("{}/mandates", stage.people);
    assert_eq!(browser.get(&mandates).status, 200, "who is logged in stays so");
    stage.deployment.stop();
    stage.deployment.serve();
    let login = format!("{}/login", stage.people);
    let told = browser.get(&login);
    assert_eq!((told.status, told.header("retry-after")), (503, Some("10")), "{}", told.text);
    assert!(told.text.contains("The provider does not answer: try again later."), "{}", told.text);
    assert!(caller.call("touch", "two").is_done());
    assert!(stage.deployment.observed("/readyz").starts_with("HTTP/1.1 200"));
    let is_refusal = |it: &Value| it["kind"] == "refusal" && it["cause"] == "provider_unavailable";
    e2e::wait_until("it is recorded", || {
        stage.deployment.records().iter().any(is_refusal).then_some(())
    });

    stage.identity.restart();
    e2e::wait_until("people log in again", || {
        browser.get(&login).text.contains("What you consented to").then_some(())
    });
    stage.deployment.verify();
}

/// Whom the provider vouches for is nobody here without a login in the register.
#[test]
fn n_040g_whoever_is_not_in_the_register_consents_to_nothing() {
    let stage = Stage::set("somebody else");
    let mut caller = stage.caller();
    let uri = asked(&mut caller, &task(&["canary/touch"], 1));
    let page = log_in(&stage, &mut Browser::default(), &uri);
    assert_eq!(page.status, 403);
    assert!(page.text.contains("not one of the active people"), "{}", page.text);
    assert_eq!(caller.obtain().expect_err("nobody answered").code(), "authorization_pending");
    let is_refusal = |it: &Value| it["kind"] == "refusal" && it["cause"] == "person_unknown";
    e2e::wait_until("it is recorded", || {
        stage.deployment.records().iter().any(is_refusal).then_some(())
    });
}
