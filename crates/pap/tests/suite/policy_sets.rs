//! What another policy set would have answered, and how a recorded decision came about.

use model::Clock as _;
use pap::{Command, PolicyFiles};
use serde_json::{Value, json};

use crate::desk::{Desk, files, word};
use crate::support::POLICY;

fn set(policy: &str) -> PolicyFiles {
    PolicyFiles { policies: files(policy), ..PolicyFiles::default() }
}

/// All pages of a replay by `policy`, summed up: how many were decided, how many alike, and the flips.
async fn tried(desk: &Desk, policy: &str) -> (u64, u64, Vec<Value>) {
    let (mut from, mut decided, mut same, mut flips) = (0, 0, 0, Vec::new());
    loop {
        let files = set(policy);
        let told = desk.run(Command::PolicyReplay { files, from, since: None }).await.unwrap();
        assert_eq!((&told["erased"], &told["damaged"]), (&json!(0), &json!(0)), "{told}");
        decided += told["decided"].as_u64().unwrap();
        same += told["same"].as_u64().unwrap();
        flips.extend(told["flips"].as_array().unwrap().clone());
        let Some(next) = told["next"].as_u64() else { return (decided, same, flips) };
        from = next;
    }
}

/// What a policy would say by the tools that were called before is not guessed of when nobody took note of them.
#[tokio::test]
async fn which_tools_were_called_before_is_unknown_where_nobody_took_note() {
    let desk = Desk::new().await;
    for tool in ["lookup", "refund"] {
        assert_eq!(desk.call(tool).await, "permitted");
    }
    let after = r#"@id("after") forbid (principal, action == Action::"crm/refund", resource)
        when { context.session.used_tools.contains("crm/lookup") };"#;
    let files = set(&format!("{POLICY}{after}"));
    let told = desk.run(Command::PolicyReplay { files, from: 0, since: None }).await.unwrap();
    assert_eq!((&told["unknown"], &told["flips"]), (&json!(1), &json!([])), "{told}");
    assert!(told["same"].as_u64() >= Some(1), "{told}");
}

#[tokio::test]
async fn r_48_the_same_set_flips_nothing_and_another_says_what_and_by_which_rule() {
    let desk = Desk::new().await;
    assert_eq!(desk.call("lookup").await, "permitted");
    assert_eq!(desk.call("lookup").await, "permitted");
    let (decided, same, flips) = tried(&desk, POLICY).await;
    assert!(decided >= 2 && decided == same, "{decided} {same}");
    assert_eq!(flips, Vec::<Value>::new());

    let forbid =
        r#"@id("no-lookup") forbid (principal, action == Action::"crm/lookup", resource);"#;
    let (_, _, flips) = tried(&desk, &format!("{POLICY}{forbid}")).await;
    let kind = &flips[0]["kind"];
    assert_eq!(flips.len(), 1, "{flips:?}");
    assert_eq!(flips[0]["times"], 2);
    assert_eq!(kind["flip"], "newly_denied");
    assert_eq!(kind["resource"], "Tool::crm/lookup");
    assert_eq!(kind["agent"], json!(desk.world.standing.agent.name));
    assert_eq!(kind["sponsor"], json!(desk.world.standing.sponsor.id));
    assert!(kind["by"].as_str().unwrap().contains("no-lookup"), "{kind}");
    assert!(flips[0]["example"].as_str().unwrap().starts_with("dec_"));

    // And what was denied would be permitted, if nothing forbade it.
    desk.publisher.replace(files(&format!("{POLICY}{forbid}"))).await.unwrap();
    assert_eq!(desk.call("lookup").await, "forbidden");
    let (_, _, flips) = tried(&desk, POLICY).await;
    assert_eq!(flips.len(), 1, "{flips:?}");
    assert_eq!(
        (&flips[0]["kind"]["flip"], &flips[0]["times"]),
        (&json!("newly_permitted"), &json!(1))
    );
    assert!(!desk.world.log().await.is_empty());
}

#[tokio::test]
async fn a_set_that_is_tried_changes_nothing_and_says_what_is_wrong_with_it() {
    let desk = Desk::new().await;
    assert_eq!(desk.call("lookup").await, "permitted");
    let nothing = format!("{POLICY}@id(\"x\") forbid (principal, action, resource);");
    assert!(!tried(&desk, &nothing).await.2.is_empty());
    assert_eq!(desk.call("lookup").await, "permitted");
    for (policy, why) in
        [("permit (principal, action", "does not compile"), ("// none", "no policy")]
    {
        let tried = Command::PolicyReplay { files: set(policy), from: 0, since: None };
        let error = desk.run(tried).await.expect_err("it is no set").to_string();
        assert!(error.contains(why), "{error}");
    }
    let other = desk.world.standing.other.id.clone();
    let tried = Command::PolicyReplay { files: set(POLICY), from: 0, since: None };
    assert_eq!(word(&desk.run_as(&other, tried).await), "refused");
}

#[tokio::test]
async fn only_what_was_decided_since_is_tried() {
    let desk = Desk::new().await;
    assert_eq!(desk.call("lookup").await, "permitted");
    desk.world.clock.advance(std::time::Duration::from_mins(10));
    let since = Some(desk.world.clock.now());
    let asked = Command::PolicyReplay { files: set(POLICY), from: 0, since };
    let told = desk.run(asked).await.unwrap();
    // Nothing but that the log is read now.
    assert_eq!(told["decided"], 1, "{told}");
}

#[tokio::test]
async fn a_decision_is_explained_by_the_policies_that_were_asked_and_what_they_saw() {
    let desk = Desk::new().await;
    let forbid = r#"
        @id("guard") @description("Nobody looks up nine") @remedy("approval")
        forbid (principal, action == Action::"crm/lookup", resource)
        when { context.purpose == "care" && resource.harm == ["reads-data"] };"#;
    desk.publisher.replace(files(&format!("{POLICY}{forbid}"))).await.unwrap();
    assert_eq!(desk.call("lookup").await, "forbidden");
    let records = desk.world.log().await;
    let denied = records.iter().rev().find(|it| it.is("decision")).expect("it is recorded");
    let id = denied.value["id"].as_str().expect("it has an id").to_owned();
    let told = desk.run(Command::PolicyExplain { id: id.clone() }).await.unwrap();
    assert_eq!((&told["decision"], &told["answer"]), (&json!(id), &json!("deny")));
    assert_eq!(told["remedies"], json!(["approval"]));
    let asked = told["asked"].as_array().unwrap();
    let guard = asked.iter().find(|it| it["policy"] == "guard").expect("it was asked");
    assert_eq!(guard["applies"], true);
    assert_eq!(guard["description"], "Nobody looks up nine");
    let conditions = guard["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 2, "{guard}");
    assert_eq!(conditions[0]["met"], true);
    assert_eq!(conditions[0]["saw"], json!([["context.purpose", "\"care\""]]));
    assert_eq!(conditions[1]["saw"][0][0], "resource.harm");

    let missing = Command::PolicyExplain { id: "dec_00000000000000000000000000000000".to_owned() };
    assert_eq!(word(&desk.run(missing).await), "missing");
}
