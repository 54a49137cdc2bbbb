//! What widens somebody's standing waits, at the real service.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use e2e::scim::Provider;
use e2e::{Deployment, Options, Page};
use serde_json::{Value, json};

/// A deployment with the directory `okta`.
struct Stage {
    deployment: Deployment,
    provider: Provider,
}

impl Stage {
    fn set() -> Self {
        let port = e2e::free_port();
        let options = Options { observers: Some(port), releases: true, ..Options::default() };
        let deployment = Deployment::start(&options);
        let file = deployment.path("okta.token").display().to_string();
        deployment.run(&["directory", "add", "okta", "--token", &file]);
        let token = std::fs::read_to_string(file).expect("it was written");
        let provider = Provider { base: format!("http://127.0.0.1:{port}/scim/v2"), token };
        Self { deployment, provider }
    }

    fn person(&self, id: &str) -> Value {
        let parse = |line: &str| serde_json::from_str::<Value>(line).expect("a row is JSON");
        let people = self.deployment.run(&["person", "list"]);
        people.lines().map(parse).find(|person| person["id"] == id).expect("somebody")
    }

    /// What the command says, by `founder`.
    fn by(&self, founder: &str, act: &[&str]) -> String {
        let key = self.deployment.path(&format!("{founder}.pem")).display().to_string();
        let url = self.deployment.url();
        self.deployment.run_any(&[act, &["--as", founder, "--key", &key, "--url", &url]].concat())
    }
}

/// Who comes back by their directory is gone until another person confirms it, or the time that was said is
/// over.
#[test]
fn sc_02_who_comes_back_waits_for_a_person_or_for_the_time() {
    let stage = Stage::set();
    stage.provider.add("carla", None);
    stage.provider.leaves("carla");
    let back = json!({ "op": "replace", "path": "active", "value": true });
    let (status, told) = stage.provider.patch("/Users/carla", &back);
    assert_eq!((status, &told["active"]), (200, &json!(true)), "{told}");
    let carla = stage.person("carla");
    assert_eq!(carla["state"]["is"], "inactive");
    assert!(carla["waits"]["returns"]["from"].is_i64(), "{carla}");
    let nobody = stage.deployment.run_any(&["person", "confirm", "carla"]);
    assert!(nobody.contains("a founder signs for this"), "{nobody}");
    let told = stage.by("alice", &["person", "confirm", "carla"]);
    assert!(told.contains(r#""person":"carla""#), "{told}");
    assert_eq!(stage.person("carla")["state"]["is"], "active");
    // By its time.
    stage.deployment.run(&["people", "widening", "--after", "1s"]);
    stage.provider.leaves("carla");
    assert_eq!(stage.provider.patch("/Users/carla", &back).0, 200);
    let is_back = || (stage.person("carla")["state"]["is"] == "active").then_some(());
    e2e::wait_until("it counts", is_back);
    let replayed = stage.deployment.run(&["log", "replay"]);
    assert!(replayed.contains("decisions agree"), "{replayed}");
    stage.deployment.verify();
}

/// Two founders undo what the directory told by mistake: whom it sent away is back at once, and only they.
#[test]
fn sc_02_a_mistake_of_the_directory_is_undone_by_two_founders() {
    let stage = Stage::set();
    for user in ["carla", "dave", "eve"] {
        stage.provider.add(user, None);
    }
    stage.provider.leaves("carla");
    stage.provider.leaves("dave");
    stage.deployment.run(&["person", "deactivate", "eve"]);
    let span = ["--from", "2020-01-01T00:00:00Z", "--until", "2099-01-01T00:00:00Z"];
    let undo = ["signal", "undo", "--directory", "okta", "--reason", "the wrong job"];
    let undo = [&undo[..], &span].concat();
    let nobody = stage.deployment.run_any(&undo);
    assert!(nobody.contains("a founder signs for this"), "{nobody}");
    let told: Value = serde_json::from_str(&stage.by("alice", &undo)).expect("JSON");
    assert_eq!(told["people"], 2, "{told}");
    let id = told["waits"].as_str().expect("an id");
    let approve = ["signal", "approve", id];
    let own = stage.by("alice", &approve);
    assert!(own.contains("nobody approves what they asked for themselves"), "{own}");
    let done = stage.by("bob", &approve);
    assert!(done.contains(r#""restored":2"#), "{done}");
    let states = ["carla", "dave", "eve"].map(|id| stage.person(id)["state"]["is"].clone());
    assert_eq!(states, ["active", "active", "inactive"]);
    assert_eq!(stage.provider.ask("GET", "/Users/carla", None).1["active"], true);
    let replayed = stage.deployment.run(&["log", "replay"]);
    assert!(replayed.contains("decisions agree"), "{replayed}");
    stage.deployment.verify();
}

/// The page's commands; and what the service's own user asked for takes two founders.
#[test]
fn the_page_on_what_waits_shows_what_works() {
    let stage = Stage::set();
    let printed = Page::read("widening.md", &[]).run(&stage.deployment);
    assert!(printed[0].contains("desk-leads"), "{printed:?}");
    let dora = stage.person("dora");
    assert_eq!(dora["groups"], json!(["staff"]));
    assert_eq!(dora["waits"]["joins"]["desk-leads"]["by"], "bootstrap-administrator");
    let confirm = ["person", "confirm", "dora"];
    let first = stage.by("alice", &confirm);
    assert!(first.contains(r#""by":"alice""#), "{first}");
    let again = stage.by("alice", &confirm);
    assert!(again.contains("nobody approves what they asked for themselves"), "{again}");
    stage.by("bob", &confirm);
    assert_eq!(stage.person("dora")["groups"], json!(["desk-leads", "staff"]));
}
