//! What agents of a review used: counted in the records, told to reviewers, and kept where nothing else is.

use std::collections::BTreeMap;
use std::time::Duration;

use expect_test::expect;
use model::record::DecisionRecord;
use model::{Clock as _, DecisionId};
use pap::{Command, ReviewFormat};
use serde_json::{Value, json};
use store::{Store as _, Unit};

use crate::handed_on::{CHILD, calls, hand_on};
use crate::reviews::{DAY, desk};

/// What is reduced keeps what it used since it was last reviewed.
#[tokio::test]
async fn r_75_what_a_reviewer_reduces_keeps_what_it_used() {
    let desk = desk().await.with_importer().await;
    let review = desk.review(2 * DAY).await;
    let line = desk.line(&review, "billing", "reduce").await;
    let unused = desk.imports(&review, &line).await.expect_err("it used nothing").to_string();
    assert!(unused.contains("used nothing that it may: revoke it"), "{unused}");
    assert_eq!(desk.call("lookup").await, "permitted");
    desk.imports(&review, &line).await.expect("it is taken");
    assert_eq!(desk.call("lookup").await, "permitted");
    assert_eq!(desk.call("refund").await, "outside_ceiling");
    let tools = desk.reviewed("billing").await.ceiling.tools;
    assert_eq!(tools.iter().map(ToString::to_string).collect::<Vec<_>>(), ["crm/lookup"]);
}

/// What was handed on to another is used by whoever handed it on: the other's calls need that.
#[tokio::test]
async fn r_75_what_is_reduced_keeps_what_those_used_to_whom_it_was_handed_on() {
    let desk = desk().await.with_importer().await;
    hand_on(&desk.world).await;
    let told = desk.opens(&["billing", "reader"], 2 * DAY).await.expect("it is opened");
    let review = told["review"].as_str().expect("an id");
    assert_eq!(calls(&desk, CHILD, "lookup").await, "permitted");
    let mut lines = desk.line(review, "billing", "reduce").await;
    lines += &desk.line(review, "reader", "reduce").await;
    let told = desk.imports(review, &lines).await.expect("it is taken");
    assert_eq!(told["reduced"], 2);
    for name in ["billing", "reader"] {
        let tools = desk.reviewed(name).await.ceiling.tools;
        assert_eq!(tools.iter().map(ToString::to_string).collect::<Vec<_>>(), ["crm/lookup"]);
    }
    assert_eq!(calls(&desk, CHILD, "lookup").await, "permitted");
}

/// However long the log is, one request counts a part of it; what is used while it is counted counts too.
#[tokio::test]
async fn i_18_an_import_counts_the_log_a_part_at_a_time() {
    let desk = desk().await.with_importer().await;
    let review = desk.review(2 * DAY).await;
    let world = &desk.world;
    for _ in 0..50 {
        let entropy = world.entropy.as_ref();
        let entry = |_| authority::event((world.clock.now(), entropy), "test", BTreeMap::new());
        let entries = (0..1_000).map(entry).collect();
        world.store.commit(Unit { entries, ..Unit::default() }).await.expect("they are written");
    }
    let line = desk.line(&review, "billing", "reduce").await;
    let told = desk.imports(&review, &line).await.expect("it is under way");
    assert_eq!(told["counted"], 50_000, "{told}");
    assert!(told["of"].as_u64() > Some(50_000), "{told}");
    assert!(desk.reviewed("billing").await.review.open.is_some(), "nothing is taken yet");
    assert_eq!(desk.call("lookup").await, "permitted");
    let told = desk.imports(&review, &line).await.expect("it is taken");
    assert_eq!(told["reduced"], 1, "{told}");
    let tools = desk.reviewed("billing").await.ceiling.tools;
    assert_eq!(tools.iter().map(ToString::to_string).collect::<Vec<_>>(), ["crm/lookup"]);
}

/// What is used while the last of the records are read counts too.
#[tokio::test]
async fn r_75_what_is_used_while_the_log_is_read_to_its_end_counts() {
    let desk = desk().await.with_importer().await;
    let review = desk.review(2 * DAY).await;
    let world = &desk.world;
    assert_eq!(desk.call("lookup").await, "permitted");
    let all = world.store.entries(0, 1_000).await.expect("it can be read");
    let lookup = all.iter().find_map(|it| serde_json::from_slice::<DecisionRecord>(&it.bytes).ok());
    let id = DecisionId::new(world.clock.now(), world.entropy.as_ref());
    let resource = "Tool::crm/refund".to_owned();
    let refund = DecisionRecord { id, resource, ..lookup.expect("it is recorded") };
    let entries = vec![journal::entry(*refund.id.as_bytes(), &refund, None)];
    let line = desk.line(&review, "billing", "reduce").await;
    world.store.after_reading(Unit { entries, ..Unit::default() });
    let told = desk.imports(&review, &line).await.expect("it is taken");
    assert_eq!(told["reduced"], 1, "{told}");
    let tools = desk.reviewed("billing").await.ceiling.tools;
    let tools: Vec<_> = tools.iter().map(ToString::to_string).collect();
    assert_eq!(tools, ["crm/lookup", "crm/refund"]);
}

/// What is shown of an agent: what it has, and what of it it used since it was last reviewed.
#[tokio::test]
async fn r_75_an_export_shows_what_is_had_and_what_is_used() {
    let desk = desk().await.with_importer().await;
    let add = Command::PersonAdd { id: "+eve".to_owned(), groups: Vec::new() };
    desk.run(add).await.expect("they are added");
    let (name, technical_owner) = ("billing".to_owned(), Some("+eve".to_owned()));
    desk.run(Command::AgentOwners { name, business_owner: None, technical_owner }).await.unwrap();
    let review = desk.review(2 * DAY).await;
    for _ in 0..2 {
        assert_eq!(desk.call("lookup").await, "permitted");
    }
    let table = desk.exported(&review, ReviewFormat::Csv).await;
    let lines = csv::parse(&table).expect("it is a table");
    let version = desk.reviewed("billing").await.version().to_string();
    let told = lines[0].fields.iter().zip(&lines[1].fields).map(|(name, value)| {
        let value = value.replace(&review, "REVIEW").replace(&version, "VERSION");
        format!("{name}: {value}\n")
    });
    expect![[r"
        item: REVIEW/billing
        version: VERSION
        agent: billing
        state: awaiting
        due: 2026-01-03T00:00:01.000Z
        active: true
        sponsor: sam.sponsor@example.org
        business_owner: sam.sponsor@example.org
        technical_owner: '+eve
        backups: 
        purposes: care
        tools: crm/*
        harm: reads-data exposes-data moves-money changes-production runs-code
        standing_mandates: man_03030303030303030303030303030303
        consents: 0
        client: 
        devices: 
        lease_until: 2026-01-30T00:00:00.000Z
        instances: 1
        used_since: 2026-01-01T00:00:00.000Z
        uses: crm/lookup=2
        last_use: 2026-01-01T00:00:01.000Z
        never_used: crm/deploy crm/refund
    "]]
    .assert_eq(&told.collect::<String>());

    let list: Value =
        serde_json::from_str(&desk.exported(&review, ReviewFormat::Scim).await).unwrap();
    assert_eq!(list["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:ListResponse");
    assert_eq!(list["totalResults"], 1);
    let own = &list["Resources"][0]["urn:chancery:scim:schemas:extension:review:2.0:Agent"];
    assert_eq!(own["item"], format!("{review}/billing"));
    assert_eq!(own["technicalOwner"], "+eve", "it is for no spreadsheet");
    assert_eq!(
        (&own["uses"][0]["tool"], &own["uses"][0]["count"]),
        (&json!("crm/lookup"), &json!(2))
    );
    assert_eq!(own["neverUsed"], json!(["crm/deploy", "crm/refund"]));

    // From one review to the next.
    let keep = desk.line(&review, "billing", "keep").await;
    desk.world.clock.advance(Duration::from_secs(1));
    desk.imports(&review, &keep).await.expect("it is taken");
    let next = desk.review(2 * DAY).await;
    let list: Value =
        serde_json::from_str(&desk.exported(&next, ReviewFormat::Scim).await).unwrap();
    let own = &list["Resources"][0]["urn:chancery:scim:schemas:extension:review:2.0:Agent"];
    assert_eq!(own["uses"], json!([]));
}
