//! N-128: a policy set that is not whole changes nothing.

use std::collections::BTreeMap;

use pap::PublishError;

use crate::desk::{Desk, files};
use crate::support::POLICY;

/// A set that must not be put in force: what was stays, and nothing is recorded.
async fn check(wrong: BTreeMap<String, String>, says: &str) {
    let desk = Desk::new().await;
    let before = desk.world.authority.pip().policy().snapshot.digest();
    let (revision, log) = (desk.revision().await, desk.world.log().await.len());
    let error = desk.publisher.replace(wrong).await.expect_err(says);
    assert!(matches!(&error, PublishError::Invalid(why) if why.contains(says)), "{error}");
    assert_eq!(desk.world.authority.pip().policy().snapshot.digest(), before);
    assert_eq!((desk.revision().await, desk.world.log().await.len()), (revision, log));
    assert_eq!(desk.call("lookup").await, "permitted");
    assert_eq!(desk.call("refund").await, "permitted");
    // Nor is it put in force by the next publication of something else.
    desk.publisher.publish().await.expect("the old files are whole");
    assert_eq!(desk.world.authority.pip().policy().snapshot.digest(), before);
}

#[tokio::test]
async fn n_128_a_set_that_is_not_whole_changes_nothing() {
    check(BTreeMap::new(), "there is no policy in the set").await;
    check(files(""), "test.cedar: holds no policy").await;
    check(files("// what was here?\n"), "test.cedar: holds no policy").await;
    let half = &POLICY[..POLICY.len() / 2];
    check(files(half), "test.cedar").await;
    let no_such_argument = r#"@id("x") permit (principal, action == Action::"crm/refund", resource)
        when { context.input.nothing == 1 };"#;
    check(files(no_such_argument), "test.cedar:2").await;
    let twice = format!("{POLICY}{POLICY}");
    check(files(&twice), "is also at").await;
    // One file of several was cut off: what it forbade would be permitted.
    let mut several = files(POLICY);
    several.insert("guards.cedar".to_owned(), String::new());
    check(several, "guards.cedar: holds no policy").await;
}

#[tokio::test]
async fn a_set_that_is_whole_is_in_force_when_that_returns() {
    let desk = Desk::new().await;
    let forbid = r#"@id("stop") forbid (principal, action == Action::"crm/lookup", resource);"#;
    desk.publisher.replace(files(&format!("{POLICY}{forbid}"))).await.unwrap();
    assert_eq!(desk.call("lookup").await, "forbidden");
    let record = desk.world.records("system").await.pop().unwrap();
    assert_eq!(record.text_of("event"), "policy_in_force");
    let digest = desk.world.authority.pip().policy().snapshot.digest().to_string();
    assert_eq!(record.value["details"]["policy"], digest);
    // The same once more is nothing new.
    let log = desk.world.log().await.len();
    desk.publisher.replace(files(&format!("{POLICY}{forbid}"))).await.unwrap();
    assert_eq!(desk.world.log().await.len(), log);
    desk.publisher.replace(files(POLICY)).await.unwrap();
    assert_eq!(desk.call("lookup").await, "permitted");
}

/// Whoever publishes at the same time as a broken set is replaced publishes the old one.
#[tokio::test]
async fn a_broken_set_is_nobody_elses_business() {
    let desk = Desk::new().await;
    let (broken, published) =
        tokio::join!(desk.publisher.replace(files("permit (")), desk.publisher.publish());
    assert!(broken.is_err());
    assert!(published.is_ok(), "{published:?}");
}

/// A log that cannot grow: the set is not put in force either.
#[tokio::test]
async fn i_17_a_set_that_cannot_be_recorded_is_not_in_force() {
    let desk = Desk::new().await;
    let refused = authority::CommitError::Unavailable("the disk is full".into());
    desk.world.store.on_commit([crate::support::stores::OnCommit::Refuse(refused)]);
    let forbid = r#"@id("stop") forbid (principal, action == Action::"crm/lookup", resource);"#;
    let answer = desk.publisher.replace(files(forbid)).await;
    assert!(matches!(answer, Err(PublishError::Unavailable(_))));
    assert_eq!(desk.call("lookup").await, "permitted");
}
