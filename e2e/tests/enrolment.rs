//! A person enrols a device, in a browser, logged in at a provider of others; `docs/enrolment.md` is done
//! as it stands there.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use e2e::consenting::Stage;
use e2e::identity::{Browser, Shown};
use e2e::{Client, Door, Sdk, Terminal};
use serde_json::{Value, json};

/// Carla's browser before a deployment with the agent `bot`, whose tool only reads.
struct Desk {
    stage: Stage,
    browser: Browser,
}

impl Desk {
    fn set() -> Self {
        Self::configured("")
    }

    fn configured(more: &str) -> Self {
        let stage = Stage::configured("carla", more);
        stage.deployment.run(&["tool", "describe", "canary/touch", "--harm", "reads-data"]);
        Self { stage, browser: Browser::default() }
    }

    /// The page where codes are typed, once Carla has logged in.
    fn open(&mut self, page: &str) -> Shown {
        let first = self.browser.get(page);
        if first.status == 200 {
            return first;
        }
        let link = format!("{}{}", self.stage.people, first.link());
        self.browser.get(&link)
    }

    fn send(&mut self, from: &Shown, fields: &[(&str, &str)]) -> Shown {
        let (url, csrf) = (format!("{}/device", self.stage.people), from.field("csrf"));
        let fields = [&[("csrf", csrf.as_str())], fields].concat();
        self.browser.post(&url, &fields, &self.stage.people)
    }

    /// Types the code and answers.
    fn answer(&mut self, terminal: &Terminal, choice: &str) -> Shown {
        let form = self.open(&terminal.page);
        let asked = self.send(&form, &[("code", &terminal.code)]);
        assert_eq!(asked.status, 200, "{}", asked.text);
        let (code, shown) = (asked.field("code"), asked.field("shown"));
        self.send(&asked, &[("code", &code), ("shown", &shown), ("choice", choice)])
    }

    /// A client whose `chancery mcp` knows nothing but what was enrolled.
    fn client(&self) -> Result<Client, String> {
        let whose = ("bot", "canary");
        Client::try_start(&self.stage.deployment, whose, (Sdk::PythonSession, Door::Enrolled))
    }

    /// The one key that was made on the device.
    fn key(&self) -> PathBuf {
        let dir = self.stage.deployment.path("laptop/.local/state/chancery/devices");
        let mut files = std::fs::read_dir(dir).expect("it was made").flatten();
        files.next().expect("a key was made").path()
    }

    fn devices(&self) -> Vec<Value> {
        let listed = self.stage.deployment.run(&["device", "list"]);
        listed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// What the chain of the newest call says.
    fn chain(&self) -> Value {
        let deployment = &self.stage.deployment;
        let records = deployment.records();
        let is_call = |it: &&Value| it["kind"] == "decision" && it["action"] == "canary/touch";
        let call = records.iter().rev().find(is_call).expect("it was decided");
        let id = call["id"].as_str().expect("an id");
        serde_json::from_str(&deployment.run(&["log", "chain", id])).expect("JSON")
    }
}

fn touch(client: &mut Client, mark: &str) -> Value {
    client.ask(&json!({ "call": "touch", "arguments": { "mark": mark } }))
}

/// From the login to the call of a tool, and what is left when the person goes.
#[test]
fn a_person_enrols_a_device_and_its_clients_are_instances() {
    let mut desk = Desk::set();
    assert!(desk.client().is_err(), "nobody vouches for it yet");
    let terminal = Terminal::open(&desk.stage.deployment);
    let key = desk.key();
    let mode = std::fs::metadata(&key).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(desk.client().is_err(), "a key that nobody enrolled vouches for nothing");

    let page = terminal.page.clone();
    let form = desk.open(&page);
    assert!(form.text.contains("If somebody sent you a code"), "{}", form.text);
    let wrong = desk.send(&form, &[("code", "BBBB-BBBB")]);
    assert_eq!(wrong.status, 404, "{}", wrong.text);
    let asked = desk.send(&form, &[("code", &terminal.code.to_lowercase())]);
    assert_eq!(asked.status, 200, "{}", asked.text);
    for told in ["bot", "sam", "work", "carla", "30 days", &terminal.fingerprint] {
        assert!(asked.text.contains(told), "{told}: {}", asked.text);
    }
    // A form of somebody else's page counts for nothing, nor one without what was shown.
    let (code, shown, csrf) = (asked.field("code"), asked.field("shown"), asked.field("csrf"));
    let fields = [("csrf", csrf.as_str()), ("code", &code), ("shown", &shown), ("choice", "enrol")];
    let url = format!("{}/device", desk.stage.people);
    assert_eq!(desk.browser.post(&url, &fields, "http://evil.test").status, 403);
    assert_eq!(desk.browser.post(&url, &fields[1..], &desk.stage.people).status, 403);
    let unread = desk.send(&asked, &[("code", &code), ("shown", "x"), ("choice", "enrol")]);
    assert_eq!(unread.status, 409, "{}", unread.text);
    assert!(desk.devices().is_empty());

    let enrolled = desk.answer(&terminal, "enrol");
    assert_eq!(enrolled.status, 200, "{}", enrolled.text);
    assert!(terminal.is_enrolled());
    let mut client = desk.client().expect("it is vouched for");
    assert_eq!(touch(&mut client, "one")["isError"], false);
    let mut second = desk.client().expect("as often as its key signs for it");
    assert_eq!(touch(&mut second, "two")["isError"], false);

    let chain = desk.chain();
    assert_eq!(chain["chain"][0]["device"]["by"], "carla", "{chain}");
    let records = desk.stage.deployment.records();
    let enrolled = records.iter().find(|it| it["action"] == "device/enrol");
    assert_eq!(enrolled.expect("it is recorded")["decision"], "permit");
    let calls = records.iter().filter(|it| it["action"] == "canary/touch");
    assert!(calls.clone().all(|it| it["attestation"] == "user"), "{records:?}");

    // Whoever logs in again is told that it is enrolled, and the key stays.
    let before = std::fs::read(&key).expect("it is there");
    let home = desk.stage.deployment.path("laptop");
    let mut again = Command::new(e2e::binary());
    again.args(["login", "--agent", "bot", "--url", &desk.stage.deployment.url()]);
    let again = again.env("HOME", home).env_remove("XDG_STATE_HOME").output().expect("it runs");
    let said = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(said.starts_with("carla enrolled this device for agent `bot` until"), "{said}");
    assert_eq!(std::fs::read(&key).expect("it is there"), before);

    desk.stage.deployment.run(&["person", "deactivate", "carla"]);
    assert_ne!(touch(&mut client, "three")["isError"], false);
    assert_eq!(desk.chain()["reason"], "device_not_active");
    assert!(desk.client().is_err(), "she enrols nothing any more");
    assert_eq!(desk.stage.canary.effects().len(), 2);
    desk.stage.deployment.verify();
}

/// Also where every proof needs a nonce.
#[test]
fn a_device_that_was_lost_is_revoked() {
    let mut desk = Desk::configured("tokens:\n  dpop_nonce_required: true\n");
    let refused = Terminal::open(&desk.stage.deployment);
    assert_eq!(desk.answer(&refused, "refuse").status, 200);
    assert!(!refused.is_enrolled());
    assert!(desk.devices().is_empty());
    std::fs::remove_file(desk.key()).expect("it is ours");

    let terminal = Terminal::open(&desk.stage.deployment);
    assert_eq!(desk.answer(&terminal, "enrol").status, 200);
    assert!(terminal.is_enrolled());
    let mut client = desk.client().expect("it is vouched for");
    assert_eq!(touch(&mut client, "one")["isError"], false);
    let devices = desk.devices();
    let [device] = devices.as_slice() else { panic!("{devices:?}") };
    let id = device["id"].as_str().expect("an id");
    desk.stage.deployment.run(&["device", "revoke", "bot", id, "--reason", "left in a train"]);
    assert_ne!(touch(&mut client, "two")["isError"], false);
    assert_eq!(desk.chain()["reason"], "device_not_active");
    assert!(desk.client().is_err());
    assert_eq!(desk.stage.canary.effects().len(), 1);
    desk.stage.deployment.verify();
}
