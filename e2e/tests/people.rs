//! Who the organisation's people are, as a directory signs it.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use e2e::{Deployment, Options, Page};
use serde_json::{Value, json};

fn rows(deployment: &Deployment, listed: &[&str]) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).expect("a row is JSON");
    deployment.run(listed).lines().map(parse).collect()
}

/// The page's commands, as they stand there.
#[test]
fn the_page_on_people_shows_what_works() {
    let deployment = Deployment::start(&Options::default());
    assert_eq!(Page::read("people.md", &[]).run(&deployment).len(), 3);
    let people = rows(&deployment, &["person", "list"]);
    let ben = people.iter().find(|person| person["id"] == "ben").expect("he was listed");
    assert_eq!((&ben["manager"], &ben["source"]), (&json!("ann"), &json!("hr")));
    let source = &rows(&deployment, &["people", "source", "list"])[0];
    assert_eq!(source["applied"]["version"], 1);
    // The same list again, and one for another deployment.
    let home = |name: &str| deployment.path(&format!("home/{name}")).display().to_string();
    let again = deployment.run_refused(&["people", "apply", &home("people.jwt")]);
    assert!(again.contains("is not newer than version 1"), "{again}");
    let (list, key) = (home("people.json"), home("hr.pem"));
    let sign = ["people", "sign", &list, "--source", "hr", "--key", &key, "--url"];
    let elsewhere = deployment.run(&[&sign[..], &["https://other.example"]].concat());
    std::fs::write(home("elsewhere.jwt"), elsewhere).expect("it can be written");
    let refused = deployment.run_refused(&["people", "apply", &home("elsewhere.jwt")]);
    assert!(refused.contains("the claim `aud`"), "{refused}");
    deployment.verify();
}
