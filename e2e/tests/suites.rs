//! What others test agents with, tried on policy by the real program, as the page says it.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::fs;
use std::path::Path;

use e2e::{Deployment, Options, Page, repository};

const RETAIL: &str = "policies/examples/retail";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it can be made");
    for entry in fs::read_dir(from).expect("it is a directory") {
        let from = entry.expect("it can be read").path();
        let to = to.join(from.file_name().expect("it has a name"));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("it can be copied");
        }
    }
}

/// The retail policy is in order, its cases hold and touch every policy, and what is claimed of it is proved.
#[test]
fn the_page_on_suites_shows_what_works() {
    let deployment = Deployment::start(&Options::default());
    let home = deployment.path("home");
    copy(&repository().join(RETAIL), &home.join(RETAIL));
    let told = Page::read("suites.md", &[]).run(&deployment);
    let [told] = told.as_slice() else { panic!("the page has one block: {told:?}") };
    assert!(!told.contains("warning"), "{told}");
    assert!(told.contains(", 0 of which do not hold"), "{told}");
    assert!(told.contains("16 of 16 policies apply in a case"), "{told}");
    let set = home.join(RETAIL);
    deployment.run(&["policy", "fmt", set.to_str().expect("it is text"), "--check"]);
}
