//! Reviews at the real service, as the page on them says it.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use e2e::{Caller, Canary, Deployment, Options, Page};
use serde_json::Value;

const POLICY: &str = r#"
@id("canary") permit (principal, action in Action::"tools/call", resource in Server::"canary");
"#;

/// An agent at work is reviewed: what the page shows is what happens, and what a reviewer revokes ends.
#[test]
fn r_75_the_page_on_reviews_shows_what_works() {
    let canary = Canary::start();
    let policy = POLICY.to_owned();
    let options = Options { policy, ..Options::default() };
    let deployment = Deployment::with_canary(canary.port, "changes-production", options);
    let mut caller = Caller::new(&deployment, "canary");
    assert!(caller.call("touch", "before").is_done());

    let told = Page::read("reviews.md", &[]).run(&deployment);
    assert!(told[0].contains(r#""agents":["bot"]"#), "{}", told[0]);
    assert!(told[1].starts_with("item,version,agent,state,due,"), "{}", told[1]);
    assert!(told[2].contains(r#""kept":1"#), "{}", told[2]);
    assert!(told[3].contains(r#""goes_on":["bot"]"#), "{}", told[3]);
    assert!(told[3].contains(r#""state":"answered""#), "{}", told[3]);
    assert!(told[3].contains(r#""state":"withdrawn""#), "{}", told[3]);
    let home = deployment.path("home");
    let table = std::fs::read_to_string(home.join("review.csv")).expect("it was written");
    assert!(table.contains("canary/touch=1"), "{table}");
    let list = std::fs::read_to_string(home.join("review.json")).expect("it was written");
    let list: Value = serde_json::from_str(&list).expect("it is JSON");
    let own = &list["Resources"][0]["urn:chancery:scim:schemas:extension:review:2.0:Agent"];
    assert_eq!(own["uses"][0]["count"], 1, "{list}");
    assert!(caller.call("touch", "kept").is_done());

    // The same file once more, and after it another review in which it is revoked.
    let review =
        list["Resources"][0]["urn:chancery:scim:schemas:extension:review:2.0:Agent"]["item"]
            .as_str()
            .and_then(|item| item.split_once('/'))
            .expect("it has one")
            .0;
    let file = home.join("decisions.csv").display().to_string();
    let again = deployment.run(&["review", "import", review, &file]);
    assert!(again.contains(r#""again":true"#), "{again}");
    let due = own["due"].as_str().expect("a time");
    let opened = deployment.run(&["review", "open", "--agent", "bot", "--due", due]);
    let opened: Value = serde_json::from_str(&opened).expect("it is JSON");
    let review = opened["review"].as_str().expect("an id");
    let decisions = std::fs::read_to_string(&file).expect("it was written");
    let item = decisions.lines().nth(1).and_then(|line| line.split_once('/')).expect("an item").0;
    let stale = decisions.replace(item, review);
    std::fs::write(&file, &stale).expect("it can be written");
    // Somebody else wants it now: that is another agent than was decided on.
    deployment.run(&["agent", "owners", "bot", "--business-owner", "bob"]);
    let refused = deployment.run_any(&["review", "import", review, &file]);
    assert!(refused.contains("line 2: `bot` has changed since it was exported"), "{refused}");
    let table = deployment.run(&["review", "export", review]);
    let version = |table: &str| {
        let line = table.lines().nth(1).expect("a row");
        line.split(',').nth(1).expect("a version").to_owned()
    };
    std::fs::write(
        &file,
        stale.replace("keep", "revoke").replace(&version(&stale), &version(&table)),
    )
    .expect("it can be");
    let taken = deployment.run(&["review", "import", review, &file]);
    assert!(taken.contains(r#""revoked":1"#), "{taken}");
    assert!(!caller.call("touch", "revoked").is_done());
}
