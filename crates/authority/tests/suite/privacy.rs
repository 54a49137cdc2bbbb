//! No leaf has personal data: people and arguments are committed to, and disclosed apart.

use authority::{AdminAct, ChangedBy, RefusalLog, Refused};
use model::record::{DecisionRecord, OutcomeKind, OutcomeRecord};
use model::{ActionName, MandateBasis, ResourceRef, Sha256Digest};
use serde_json::json;

use crate::support::{Act, World, person};

/// Argument values, and whatever else says something about somebody.
const PERSONAL: [&str; 4] =
    ["DE44500105175407324931", "olga.other@example.org", "sam.sponsor@example.org", "4711-secret"];

/// A world in which every kind of record that an act leads to was written.
async fn busy() -> World {
    let world = World::with(|facts| {
        facts.mandate.basis = MandateBasis::Initiated {
            system: "portal".parse().unwrap(),
            request: Sha256Digest::of(b"what it signed"),
            subject: facts.other.id.clone(),
        };
        facts.task.subject = facts.mandate.basis.subject();
        facts.task.mandate_digest = facts.mandate.digest();
    })
    .await;
    world.portal(json!({})).await;
    let permits_person = r#"@id("people") permit (principal is Person, action == Action::"crm/refund", resource);
        @id("reads") permit (principal, action == Action::"resources/read", resource);"#;
    world.publish(&format!("{}{permits_person}", crate::support::POLICY)).await;
    let iban = json!({ "amount": 7, "account": PERSONAL[0] });
    let permit = world.authorize(world.call("refund", iban.clone())).await.unwrap();
    permit.begin(world.clock.as_ref()).unwrap().running.finish(OutcomeKind::Returned, None);
    let permit = world.authorize(world.call("refund", iban.clone())).await.unwrap();
    drop(permit.begin(world.clock.as_ref()).unwrap());
    world.drained().await;
    assert!(world.authorize(world.call("refund", iban)).await.is_err());
    let server = world.standing.server.name.clone();
    let resource = ResourceRef::Resource { server, uri: format!("crm://{}", PERSONAL[3]) };
    let read: Act =
        world.act(ActionName::method("resources/read"), resource, serde_json::Value::Null);
    drop(world.authorize(read).await.unwrap());
    world.drained().await;
    let act = AdminAct {
        by: ChangedBy::person(world.standing.sponsor.id.clone()),
        action: "person/add",
        target: ResourceRef::Person(world.standing.other.id.clone()),
        change: json!(person(PERSONAL[1], &[])),
        reads: (Vec::new(), model::Revision(u64::MAX)),
        effects: Vec::new(),
    };
    world.authority.administer(act.clone()).await.unwrap();
    let denied = AdminAct { by: ChangedBy::person(world.standing.other.id.clone()), ..act };
    world.authority.administer(denied).await.unwrap_err();
    world.authority.record_refusal(
        &RefusalLog::default(),
        ("test", "malformed"),
        Refused::default(),
    );
    crate::support::until("the refusal is there", || async {
        !world.records("refusal").await.is_empty()
    })
    .await;
    world
}

#[tokio::test]
async fn no_leaf_has_personal_data() {
    let world = busy().await;
    let log = world.log().await;
    let kinds: std::collections::BTreeSet<_> = log.iter().map(|it| it.text_of("kind")).collect();
    let expected = ["administration", "decision", "facts", "outcome", "refusal"];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected);
    for entry in &log {
        for personal in PERSONAL {
            assert!(!entry.text.contains(personal), "{personal} is in {}", entry.text);
        }
        assert!(entry.text.len() <= model::record::MAX_RECORD_BYTES);
    }
    // What was committed to is there, apart.
    let first = log.iter().find(|entry| entry.is("decision")).unwrap();
    let behind = world.disclosure(first).await;
    assert_eq!(behind.value("arguments").unwrap()["account"], PERSONAL[0]);
    assert_eq!(behind.value("sponsor").unwrap(), PERSONAL[2]);
    assert_eq!(behind.value("subject").unwrap(), PERSONAL[1]);
}

/// R62: whatever an act leads to names its sponsor and its purpose.
#[tokio::test]
async fn r_62_every_record_of_an_act_has_sponsor_and_purpose() {
    let world = busy().await;
    let mut seen = 0;
    for entry in world.log().await {
        let (commitments, purpose) = match entry.text_of("kind") {
            "decision" => {
                let record: DecisionRecord = serde_json::from_str(&entry.text).unwrap();
                (record.commitments, record.purpose)
            }
            "outcome" => {
                let record: OutcomeRecord = serde_json::from_str(&entry.text).unwrap();
                (record.commitments, record.purpose)
            }
            _ => continue,
        };
        seen += 1;
        assert!(commitments.contains_key("sponsor"));
        assert!(commitments.contains_key("subject"), "it was done on somebody's behalf");
        assert_eq!(purpose, world.standing.purpose.id);
    }
    assert_eq!(seen, 4 + 3, "four decisions, three of them permits");
}

/// The same value twice is two commitments: nobody can tell from the log that it is the same.
#[tokio::test]
async fn equal_values_are_not_equal_in_the_log() {
    let world = busy().await;
    let decisions = world.records("decision").await;
    let of = |n: usize, member: &str| decisions[n].value["commitments"][member].clone();
    assert_eq!(decisions[0].value["action"], decisions[1].value["action"]);
    for member in ["arguments", "sponsor", "subject"] {
        assert!(of(0, member).is_string());
        assert_ne!(of(0, member), of(1, member));
    }
}
