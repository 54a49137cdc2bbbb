//! A person consents to what an agent asks, in a browser, logged in at a provider of others.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::time::{SystemTime, UNIX_EPOCH};

use e2e::identity::{Browser, Identity, Shown, day};
use e2e::{Caller, Canary, Deployment, Options, Recorder, free_port};
use serde_json::{Value, json};

/// The instance may call; of the people, only Carla.
const POLICY: &str = r#"
@id("instances") permit (principal is Instance, action in Action::"tools/call", resource in Server::"canary");
@id("carla") permit (principal == Person::"carla", action in Action::"tools/call", resource in Server::"canary");
"#;

struct Stage {
    deployment: Deployment,
    canary: Canary,
    recorder: Recorder,
    identity: Identity,
    people: String,
}

impl Stage {
    /// A deployment with the agent `desk`, which works for people only, and with whoever the
    /// directory says that `login` is.
    fn set(login: &str) -> Self {
        let (canary, port) = (Canary::start(), free_port());
        let (recorder, identity) = (Recorder::to(canary.port), Identity::start(port));
        let url = format!("{{ url: 'http://127.0.0.1:{}/mcp' }}", recorder.port());
        let deployment = Deployment::start(&Options {
            servers: vec![("canary".to_owned(), url)],
            policy: POLICY.to_owned(),
            configuration: identity.configuration(),
            observers: Some(port),
            ..Options::default()
        });
        deployment.onboard(&["canary"], "changes-production");
        let key = deployment.agent_key("desk").display().to_string();
        let uid = nix_uid();
        let add = ["agent", "add", "desk", "--sponsor", "sam", "--purpose", "work", "--key", &key];
        deployment.run(&[&add[..], &["--on-behalf-only", "--host-uid", &uid]].concat());
        let people = format!("http://127.0.0.1:{port}");
        let stage = Self { deployment, canary, recorder, identity, people };
        stage.identity.join(&stage.deployment, login);
        stage
    }

    fn caller(&self) -> Caller {
        Caller::of(&self.deployment, "desk", "canary")
    }

    /// Logs in, and comes to the page at `uri`.
    fn log_in(&self, browser: &mut Browser, uri: &str) -> Shown {
        browser.log_in(&self.people, uri)
    }

    fn answer(&self, browser: &mut Browser, (uri, page): (&str, &Shown), choice: &str) -> Shown {
        let (csrf, shown) = (page.field("csrf"), page.field("shown"));
        let mut fields = vec![("csrf", csrf.as_str()), ("shown", &shown), ("choice", choice)];
        let day = day(2);
        fields.push(("day", &day));
        browser.post(uri, &fields, &self.people)
    }

    /// What the chain of the newest call says.
    fn chain(&self) -> Value {
        let records = self.deployment.records();
        let call = records.iter().rev().find(|it| it["action"] == "canary/touch");
        let id = call.expect("it was decided")["id"].as_str().expect("an id").to_owned();
        serde_json::from_str(&self.deployment.run(&["log", "chain", &id])).expect("JSON")
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(since).expect("not that late")
}

fn nix_uid() -> String {
    let printed = std::process::Command::new("id").arg("-u").output().expect("id");
    String::from_utf8(printed.stdout).expect("text").trim().to_owned()
}

fn task(tools: &[&str], hours: i64) -> Value {
    json!({
        "type": "agent_task", "purpose": "work", "tools": tools,
        "harm": ["changes-production"], "max_calls": 2, "until": now() + hours * 3_600,
    })
}

/// The agent asks, the person reads and consents, both are seen at the tool, and it ends with her.
#[test]
fn r_56_a_person_consents_and_that_is_a_mandate() {
    let stage = Stage::set("carla");
    let mut caller = stage.caller();
    let refused = caller.obtain().expect_err("it has no standing mandate");
    assert_eq!(refused.code(), "invalid_grant", "{refused:?}");
    assert!(refused.body["error_description"].to_string().contains("/oauth/par"), "{refused:?}");
    assert_eq!(caller.push(&task(&["other/*"], 1)).code(), "invalid_scope");

    let pushed = caller.push(&task(&["canary/touch"], 1));
    assert_eq!(pushed.status, 201, "{pushed:?}");
    let uri = pushed.body["consent_uri"].as_str().expect("a link").to_owned();
    let pending = caller.obtain().expect_err("nobody answered");
    assert_eq!(pending.code(), "authorization_pending", "{pending:?}");
    assert_eq!(pending.body["consent_uri"], uri);

    let mut browser = Browser::default();
    let page = stage.log_in(&mut browser, &uri);
    assert_eq!(page.status, 200, "{}", page.text);
    for told in ["desk", "sam", "carla", "work", "canary/touch", "changes-production", "at most 2"]
    {
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

    let answered = stage.answer(&mut browser, (&uri, &page), "once");
    assert_eq!(answered.status, 200, "{}", answered.text);
    assert!(caller.call("touch", "one").is_done());
    let asserted = stage.recorder.calls("tools/call")[0].asserted();
    let chain = stage.chain();
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
    assert_eq!(browser.get(&uri).status, 404, "it was answered");

    stage.deployment.run(&["person", "deactivate", "carla"]);
    assert!(!caller.call("touch", "four").is_done());
    let mandates = browser.get(&format!("{}/mandates", stage.people));
    assert_eq!(mandates.status, 403, "{}", mandates.text);
    assert!(mandates.text.contains("not one of the active people"), "{}", mandates.text);
    assert_eq!(stage.canary.effects().len(), 2);
    stage.deployment.verify();
}

/// Until a date it begins any number of tasks, until the person takes it back.
#[test]
fn a_person_takes_back_what_they_consented_to() {
    let stage = Stage::set("carla");
    let (mut caller, mut browser) = (stage.caller(), Browser::default());
    let pushed = caller.push(&task(&["canary/*"], 24));
    let uri = pushed.body["consent_uri"].as_str().expect("a link").to_owned();
    let page = stage.log_in(&mut browser, &uri);
    let answered = stage.answer(&mut browser, (&uri, &page), "until");
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
    assert_eq!(stage.chain()["reason"], "mandate_not_valid");

    // Who refuses is not asked twice.
    let mut refused = stage.caller();
    let pushed = refused.push(&task(&["canary/touch"], 1));
    let uri = pushed.body["consent_uri"].as_str().expect("a link").to_owned();
    let page = browser.get(&uri);
    assert_eq!(stage.answer(&mut browser, (&uri, &page), "refuse").status, 200);
    assert_eq!(refused.obtain().expect_err("she refused").code(), "access_denied");
    assert_eq!(stage.canary.effects().len(), 1);
    stage.deployment.verify();
}

/// Whom the provider vouches for is nobody here without a login in the register.
#[test]
fn n_040g_whoever_is_not_in_the_register_consents_to_nothing() {
    let stage = Stage::set("somebody else");
    let mut caller = stage.caller();
    let pushed = caller.push(&task(&["canary/touch"], 1));
    let uri = pushed.body["consent_uri"].as_str().expect("a link").to_owned();
    let page = stage.log_in(&mut Browser::default(), &uri);
    assert_eq!(page.status, 403);
    assert!(page.text.contains("not one of the active people"), "{}", page.text);
    assert_eq!(caller.obtain().expect_err("nobody answered").code(), "authorization_pending");
    let is_refusal = |it: &Value| it["kind"] == "refusal" && it["cause"] == "person_unknown";
    e2e::wait_until("it is recorded", || {
        stage.deployment.records().iter().any(is_refusal).then_some(())
    });
}
