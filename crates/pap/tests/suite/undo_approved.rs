//! By whom, and until when, a mistaken signal is undone.

use std::time::Duration;

use model::{Clock as _, FactKey, Sha256Digest, UNDO_AGE_MAX, UNDO_WAITS, Undo, UndoState};
use pap::Command;
use serde_json::json;

use crate::desk::word;
use crate::directories::user;
use crate::undo::{approve, asked, is_here, signals, since};

/// What was asked for does not wait for ever, nor for somebody who left, and says what it is of.
#[tokio::test]
async fn what_is_undone_is_named_and_waits_an_hour() {
    let (signals, [a, b]) = Box::pin(signals()).await;
    let desk = &signals.scene.desk;
    let ann = signals.scene.creates(user("ann")).await;
    let from = desk.world.clock.now();
    signals.scene.activity(&ann, false).await.expect("gone");
    for (change, expected) in [
        (asked(|_| {}), "invalid"),
        (asked(|it| it.directory = Some("okta".to_owned())), "invalid"),
        (
            asked(|it| it.record = Some("dec_00000000000000000000000000000000".to_owned())),
            "missing",
        ),
        (since(desk, from.plus(Duration::from_secs(1))), "invalid"),
        (asked(|it| it.reason = String::new()), "invalid"),
    ] {
        let told = format!("{change:?}");
        assert_eq!(word(&desk.run_as(&a, change).await), expected, "{told}");
    }
    let told = desk.run_as(&a, since(desk, from)).await.expect("it waits");
    desk.world.clock.advance(UNDO_WAITS);
    assert_eq!(word(&desk.run_as(&b, approve(&told)).await), "invalid", "too late");
    let told = desk.run_as(&a, since(desk, from)).await.expect("it waits");
    desk.run_as(&b, Command::PersonDeactivate { id: a.to_string() }).await.expect("gone");
    assert_eq!(word(&desk.run_as(&b, approve(&told)).await), "invalid", "who asked has left");
    assert!(!is_here(desk, &ann).await);
}

/// What was told long ago is not undone: who is so for that long may have been meant.
#[tokio::test]
async fn what_is_undone_was_told_of_late() {
    let (signals, [a, _]) = Box::pin(signals()).await;
    let desk = &signals.scene.desk;
    let ann = signals.scene.creates(user("ann")).await;
    let from = desk.world.clock.now();
    signals.scene.activity(&ann, false).await.expect("gone");
    desk.world.clock.advance(UNDO_AGE_MAX);
    assert_eq!(word(&desk.run_as(&a, since(desk, from)).await), "done");
    desk.world.clock.advance(Duration::from_millis(1));
    assert_eq!(word(&desk.run_as(&a, since(desk, from)).await), "invalid");
}

/// What was cut short goes on for an hour. Who is not back by then stays as they are, and that is recorded.
#[tokio::test]
async fn what_was_approved_is_done_within_an_hour() {
    let millisecond = Duration::from_millis(1);
    for (after, is_back) in [(UNDO_WAITS.saturating_sub(millisecond), true), (UNDO_WAITS, false)] {
        let (signals, [a, b]) = Box::pin(signals()).await;
        let desk = &signals.scene.desk;
        for name in ["ann", "ben"] {
            signals.scene.creates(user(name)).await;
        }
        let from = desk.world.clock.now();
        for name in ["ann", "ben"] {
            signals.scene.activity(name, false).await.expect("gone");
        }
        let told = desk.run_as(&a, since(desk, from)).await.expect("it waits");
        let key =
            FactKey::undo(told["waits"].as_str().expect("an id").parse().expect("it is ours"));
        let read = desk.fact(key.clone()).await.expect("it waits");
        let mut undo: Undo = serde_json::from_value(read).expect("an undo");
        let (at, after_ann) = (desk.world.clock.now(), "ann".parse().expect("a person"));
        undo.state = UndoState::Approved { by: b.clone(), at, after: after_ann, restored: 1 };
        desk.world.put(key, &undo).await;
        desk.world.clock.advance(after);
        let done = desk.run_as(&b, approve(&told)).await.expect("it ends");
        let restored = 1 + usize::from(is_back);
        assert_eq!((&done["restored"], &done["of"]), (&json!(restored), &json!(2)));
        assert_eq!(is_here(desk, "ben").await, is_back);
        let record = desk.world.records("administration").await.pop().expect("a record");
        let change =
            desk.world.disclosure(&record).await.value("change").cloned().expect("it is told");
        let left_out = if is_back { json!([]) } else { json!(["ben"]) };
        assert_eq!(change["left_out"], left_out);
        assert_eq!(word(&desk.run_as(&b, approve(&told)).await), "invalid", "it is over");
    }
}

/// Who would be brought back has no word in it.
#[tokio::test]
async fn nobody_approves_what_brings_back_themselves() {
    let (signals, [a, b]) = Box::pin(signals()).await;
    let desk = &signals.scene.desk;
    let ann = signals.scene.creates(user("ann")).await;
    let from = desk.world.clock.now();
    signals.scene.activity(&ann, false).await.expect("gone");
    let told = desk.run_as(&a, since(desk, from)).await.expect("it waits");
    let id = told["waits"].as_str().expect("an id").parse().expect("it is ours");
    let key = FactKey::undo(id);
    let read = desk.fact(key.clone()).await.expect("it waits");
    let mut undo: Undo = serde_json::from_value(read).expect("an undo");
    let how = undo.people.values().next().expect("somebody").clone();
    undo.people.insert(b.clone(), how);
    desk.world.put(key, &undo).await;
    assert_eq!(word(&desk.run_as(&b, approve(&told)).await), "refused");
    desk.has_refused_for("approved_by_who_is_brought_back").await;
    assert!(!is_here(desk, &ann).await);
}

/// Who is to administer no longer stays where they are, whatever took a group from them before that, and whether it is
/// asked for before or after.
#[tokio::test]
async fn whom_a_founder_removed_no_undoing_puts_back() {
    for (removed, expected) in [
        ("never", json!(["staff"])),
        ("before it is asked for", json!([])),
        ("before it is approved", json!([])),
    ] {
        let (signals, [a, b]) = Box::pin(signals()).await;
        let (scene, desk) = (&signals.scene, &signals.scene.desk);
        let ann = scene.creates(user("ann")).await;
        let group = scene.group("staff", &[&ann]).await.expect("a group");
        let code = format!("founder/{}", Sha256Digest::of(b"a code of hers"));
        desk.world.put(FactKey::from_text(&code), &json!({ "founder": ann })).await;
        signals.later();
        let from = desk.world.clock.now();
        let leaves = json!({ "op": "remove", "path": format!("members[value eq \"{ann}\"]") });
        scene.regroup(&group, leaves).await.expect("it is said");
        let command = since(desk, from);
        signals.later();
        let remove = async || {
            let reason = "she left".to_owned();
            let remove = Command::FounderRemove { id: ann.clone(), reason };
            desk.run(remove).await.expect("one suffices");
        };
        if removed == "before it is asked for" {
            remove().await;
            assert_eq!(word(&desk.run_as(&a, command).await), "invalid", "{removed}");
        } else {
            let told = desk.run_as(&a, command).await.expect("it waits");
            if removed == "before it is approved" {
                remove().await;
            }
            desk.run_as(&b, approve(&told)).await.expect("it ends");
        }
        assert_eq!(signals.person(&ann).await["groups"], expected, "{removed}");
    }
}
