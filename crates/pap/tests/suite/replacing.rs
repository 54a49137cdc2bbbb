//! What a release replaces: what it was approved over, the way back where that was altered, and what comes after its
//! time.

use std::time::Duration;

use model::{Base, Clock as _, FactKey, PersonState, Release, ReleaseState, Releases};
use pap::Command;
use serde_json::{Value, json};

use crate::desk::word as word_of;
use crate::releases::{CLOSED, House};
use crate::support;

/// Another forbid, which is urgent.
const URGENT: &str =
    r#"@id("urgent") forbid (principal, action == Action::"crm/lookup", resource);"#;

/// What was drafted before something urgent came into force does not take that back unseen.
#[tokio::test]
async fn n_094_an_approval_is_of_what_was_in_force_then() {
    let house = House::new().await;
    house.publish(2, URGENT).await.expect("it is published");
    house.publish(3, "").await.expect("it is published");
    house.approve(3).await.expect("it is approved");
    house.approve(2).await.expect("it is approved");
    house.activate(2).await.expect("it is in force");
    let why = house.activate(3).await.expect_err("it is not").to_string();
    assert!(why.contains("approve it again"), "{why}");
    assert_eq!(house.desk.call("lookup").await, "forbidden");
    // Nor does a word that was signed for the old base count for the new one.
    let content = house.release(1).await.terms.content;
    let old = house.release(3).await.approval_over(&Base { version: 1, content: Some(content) });
    let word = Some(crate::releases::signed(&house.signers.approver, &house.desk, old));
    let replayed = house.desk.run(Command::PolicyApprove { version: 3, word }).await;
    assert_eq!(word_of(&replayed), "refused");
    // Who has seen it against what is in force now approves it again; once suffices.
    house.approve(3).await.expect("it is approved again");
    assert_eq!(word_of(&house.approve(3).await), "invalid");
    house.activate(3).await.expect("it is in force");
    assert_eq!(house.desk.call("lookup").await, "permitted");
}

/// One person takes back what is not in force yet; nothing brings it back.
#[tokio::test]
async fn r_39_one_person_withdraws_what_is_not_in_force_yet() {
    let house = House::new().await;
    let withdraw = async |version| house.desk.run(Command::PolicyWithdraw { version }).await;
    for version in [2, 3] {
        house.publish(version, CLOSED).await.expect("it is published");
    }
    house.approve(3).await.expect("it is approved");
    for version in [2, 3] {
        withdraw(version).await.expect("it is withdrawn");
        assert_eq!(word_of(&house.approve(version).await), "invalid");
        assert_eq!(word_of(&house.activate(version).await), "invalid");
        assert_eq!(word_of(&withdraw(version).await), "invalid");
    }
    assert_eq!(word_of(&withdraw(1).await), "invalid", "it is in force");
    assert_eq!(word_of(&withdraw(9).await), "missing");
    house.release_all(4, CLOSED).await;
    assert_eq!(house.desk.call("lookup").await, "forbidden");
}

/// Whoever names the content puts that in force, or nothing.
#[tokio::test]
async fn n_094_what_is_put_in_force_is_what_was_named() {
    let house = House::new().await;
    house.publish(2, CLOSED).await.expect("it is published");
    house.approve(2).await.expect("it is approved");
    let activate = async |content| {
        let command = Command::PolicyActivate { version: 2, content: Some(content) };
        word_of(&house.desk.run(command).await)
    };
    assert_eq!(activate(house.release(1).await.terms.content).await, "invalid");
    assert_eq!(house.desk.call("lookup").await, "permitted");
    assert_eq!(activate(house.release(2).await.terms.content).await, "done");
    assert_eq!(house.desk.call("lookup").await, "forbidden");
}

/// Who signed it and is gone since does not stand behind it.
#[tokio::test]
async fn n_094_a_release_of_somebody_who_is_gone_is_not_put_in_force() {
    let house = House::new().await;
    house.publish(2, CLOSED).await.expect("it is published");
    house.approve(2).await.expect("it is approved");
    let mut gone = house.desk.world.standing.other.clone();
    gone.state = PersonState::Inactive { since: house.desk.world.clock.now() };
    house.desk.world.put(FactKey::person(&gone.id), &gone).await;
    assert_eq!(word_of(&house.activate(2).await), "invalid");
    assert_eq!(house.desk.call("lookup").await, "permitted");
}

/// Whoever may not publish, or approve, any longer stands behind nothing.
#[tokio::test]
async fn n_094_who_was_demoted_is_no_author_and_no_approver() {
    let house = House::new().await;
    let world = &house.desk.world;
    let demote = async |mut person: model::Person, is: bool| {
        if is {
            person.groups.clear();
        }
        world.put(FactKey::person(&person.id), &person).await;
    };
    // The author is the sponsor, who runs commands too: here somebody else approves and puts in force.
    let other = &world.standing.other;
    house.publish(2, CLOSED).await.expect("it is published");
    demote(world.standing.sponsor.clone(), true).await;
    let said = house
        .release(2)
        .await
        .approval_over(&Base { version: 1, content: Some(house.release(1).await.terms.content) });
    let approved = crate::releases::signed(&house.signers.approver, &house.desk, said);
    let approve = Command::PolicyApprove { version: 2, word: Some(approved) };
    let why = house.desk.run_as(&other.id, approve).await.expect_err("its author may not");
    assert!(why.to_string().contains("policy/publish"), "{why}");
    demote(world.standing.sponsor.clone(), false).await;
    house.approve(2).await.expect("it is approved");
    demote(other.clone(), true).await;
    let why = house.activate(2).await.expect_err("its approver may not");
    assert!(why.to_string().contains("policy/approve"), "{why}");
    assert_eq!(house.desk.call("lookup").await, "permitted");
    demote(other.clone(), false).await;
    house.activate(2).await.expect("it is in force");
}

/// However what is in force was altered where it is kept, the next release is listed, approved and put in force.
#[tokio::test]
async fn r_39_from_every_alteration_there_is_a_way_on() {
    type Alter = fn(&Release, Value) -> (FactKey, Value);
    let alterations: [(&str, Alter); 6] = [
        ("a row that is cut off", |_, _| (FactKey::release(2), json!("{\"terms\""))),
        ("a row of another state", |good, _| {
            let state = ReleaseState::Proposed;
            (FactKey::release(2), json!(Release { state, ..good.clone() }))
        }),
        ("a row without its author", |good, _| {
            (FactKey::release(2), json!(Release { author: None, ..good.clone() }))
        }),
        ("another content", |good, mut content| {
            content["policies"]["test.cedar"] = json!("permit (principal, action, resource);");
            (FactKey::policy(&good.terms.content), content)
        }),
        ("an older one", |_, _| {
            (FactKey::releases(), json!(Releases { newest: 2, active: 1, observed: None }))
        }),
        ("no list", |_, _| (FactKey::releases(), json!("half"))),
    ];
    for (what, alter) in alterations {
        let house = House::new().await;
        house.release_all(2, CLOSED).await;
        let good = house.release(2).await;
        let content = house.desk.fact(FactKey::policy(&good.terms.content)).await;
        let (place, body) = alter(&good, content.expect("it is kept"));
        house.desk.world.put(place, &body).await;
        assert_ne!(house.follows().await, "in force", "{what}");
        let told = house.desk.run(Command::PolicyHistory).await.expect(what);
        assert_eq!(told["base"]["version"], 2, "what is in force still is: {what}");
        assert_eq!(told["newest"], 2, "{what}");
        if what == "a row that is cut off" {
            assert_eq!(told["releases"][1]["state"]["is"], "damaged");
        }
        house.publish(3, "").await.expect(what);
        house.approve(3).await.expect(what);
        let told = house.activate(3).await.expect(what);
        // What was not sound is left as it was, and that is told and recorded.
        let is_sound = ["an older one", "no list"].contains(&what);
        assert_eq!(told["left"].is_null(), is_sound, "{what}: {told}");
        let last = house.desk.fact(FactKey::release(2)).await.expect("it is kept");
        let superseded = last["state"]["is"] == "superseded";
        assert_eq!(superseded, is_sound, "{what}");
        let id = told["decision"].as_str().expect("an id").to_owned();
        let shown = house.desk.run(Command::LogShow { id }).await.expect("it is shown").to_string();
        let left = told["left"].as_str().unwrap_or("left");
        assert!(shown.contains(left), "{what}: {shown}");
        assert_eq!(house.follows().await, "in force", "{what}");
        assert_eq!(house.desk.call("lookup").await, "permitted", "{what}");
    }
}

/// After its time and the grace, a release permits nothing to agents, and the next one is put in force all the same.
#[tokio::test]
async fn r_39_what_expired_decides_for_a_while_and_not_for_ever() {
    let grace = Duration::from_hours(1);
    let house = House::with(|facts| facts.limits.policy_grace = grace).await;
    let clock = &house.desk.world.clock;
    house.release_for_a_minute(2, "").await;
    let world = &house.desk.world;
    let act = || world.call("lookup", json!({}));
    let listed = async || {
        let act = act();
        let request = authority::Governed::request(&act);
        let circumstances = authority::Governed::circumstances(&act);
        let listed = world.authority.could_permit(request, circumstances).await;
        let asked_again = world.authority.would_permit(request, circumstances).await.is_ok();
        let listed = listed.expect("it is decided");
        assert_eq!(listed, asked_again, "a question that was held open is answered as a new one");
        listed
    };
    clock.advance(Duration::from_mins(1));
    assert!(house.follows().await.contains("expired"));
    assert_eq!(house.desk.call("lookup").await, "permitted", "in its grace");
    assert!(listed().await);
    clock.advance(grace);
    assert_eq!(house.desk.call("lookup").await, "policy_expired");
    assert!(!listed().await, "what is listed can be called");
    house.release_all(3, "").await;
    assert_eq!(house.follows().await, "in force");
    assert_eq!(house.desk.call("lookup").await, "permitted");
    let replayed = house.desk.run(Command::LogReplay).await.expect("it is replayed");
    assert_eq!(replayed["differ"], json!([]));
}

/// By one set nobody could release another: its author is told.
#[tokio::test]
async fn r_39_a_set_that_would_be_the_last_is_told() {
    let house = House::new().await;
    let warned = |told: &Value| told["warnings"].to_string().contains("no other could be released");
    let told = house.publish(2, CLOSED).await.expect("it is published");
    assert!(!warned(&told), "{told}");
    let alone = r#"@id("alone") forbid (principal, action == Action::"policy/approve", resource);"#;
    let told = house.publish(3, alone).await.expect("it is published");
    assert!(warned(&told) && told.to_string().contains("policy/approve by nobody"), "{told}");
}

/// Each release that is refused for another reason is a finding of its own, and so is that there is none.
#[tokio::test]
async fn n_094_tampering_does_not_hide_behind_another_finding() {
    let house = House::new().await;
    house.release_for_a_minute(2, CLOSED).await;
    let keeper = house.desk.world.authority.finding_keeper(None, Duration::from_mins(15)).await;
    let keeping = tokio::spawn(keeper.expect("it is asked for once").run());
    let world = &house.desk.world;
    let good = house.release(2).await;
    world.clock.advance(Duration::from_mins(1));
    let cases = [
        (FactKey::release(2), json!(good), "expired/2"),
        (FactKey::release(2), json!(Release { author: None, ..good.clone() }), "altered/2"),
        (FactKey::releases(), json!(Releases { newest: 2, active: 1, observed: None }), "older/1"),
        (FactKey::releases(), json!(Releases { newest: 2, active: 0, observed: None }), "none"),
        (FactKey::releases(), json!("half"), "damaged"),
    ];
    for (place, body, cause) in cases {
        world.put(place, &body).await;
        assert_ne!(house.follows().await, "in force", "{cause}");
        let cause = format!("release_refused/{cause}");
        support::until("it is found", || async {
            house.found().await.iter().any(|(found, _)| *found == cause)
        })
        .await;
    }
    keeping.abort();
}

/// Whose approval is gone, or is not what was signed, is a finding where it is kept; that it waits for one is none.
#[tokio::test]
async fn n_094_a_release_without_its_approval_is_found_unless_it_waits_for_that() {
    let house = House::new().await;
    let world = &house.desk.world;
    let keeper = world.authority.finding_keeper(None, Duration::from_mins(15)).await;
    let keeping = tokio::spawn(keeper.expect("it is asked for once").run());
    house.release_all(2, CLOSED).await;
    house.publish(3, URGENT).await.expect("it is published");
    let observe = Command::PolicyObserve { version: Some(3) };
    assert_eq!(word_of(&house.desk.run(observe).await), "invalid");
    assert_eq!(word_of(&house.activate(3).await), "invalid");
    // Findings are kept in turn: what waits would be one before this is.
    let good = house.release(2).await;
    let mut taken_out = good.clone();
    if let ReleaseState::Active { approval, .. } = &mut taken_out.state {
        *approval = None;
    }
    assert_ne!(taken_out, good);
    world.put(FactKey::release(2), &taken_out).await;
    assert!(house.follows().await.contains("did not countersign it"));
    let are_found = async |expected: &[&str]| {
        support::until("they are found", || async {
            house.found().await.iter().map(|(cause, _)| cause.as_str()).eq(expected.iter().copied())
        })
        .await;
    };
    are_found(&["release_refused/altered/2"]).await;
    world.put(FactKey::release(2), &good).await;
    house.approve(3).await.expect("it is approved");
    let mut unsigned = house.release(3).await;
    if let ReleaseState::Released { approval } = &mut unsigned.state {
        approval.by.word.clear();
    }
    world.put(FactKey::release(3), &unsigned).await;
    let why = house.activate(3).await.expect_err("it is refused").to_string();
    assert!(why.contains("its approver did not sign it"), "{why}");
    are_found(&["release_refused/altered/2", "release_refused/altered/3"]).await;
    keeping.abort();
}
