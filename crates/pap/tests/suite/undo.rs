//! A mistaken signal is undone by two people, and brings back nobody else.

use std::time::Duration;

use model::{Clock as _, FactKey, PersonId, Timestamp};
use pap::{Command, UndoAsked};
use serde_json::{Value, json};

use crate::desk::{Desk, word};
use crate::directories::{Scene, user};
use crate::streams::{RISC, Signals};
use crate::support::World;

/// The directory `okta` with a stream, and two administrators.
async fn signals() -> (Signals, [PersonId; 2]) {
    let world = World::with(|facts| {
        facts.other.groups.insert("administrators".parse().expect("a group"));
    })
    .await;
    let people = [world.standing.sponsor.id.clone(), world.standing.other.id.clone()];
    let scene = Box::pin(Scene::over(Desk::over(world).await)).await;
    (Box::pin(Signals::over(scene, |said| said)).await, people)
}

fn asked(change: impl FnOnce(&mut UndoAsked)) -> Command {
    let mut asked = UndoAsked {
        record: None,
        directory: None,
        stream: None,
        from: None,
        until: None,
        reason: "a job of the directory went wrong".to_owned(),
    };
    change(&mut asked);
    Command::SignalUndo { asked, word: None }
}

/// All that the directory told from `from` until now.
fn since(desk: &Desk, from: Timestamp) -> Command {
    let until = desk.world.clock.now();
    asked(|it| {
        (it.directory, it.from, it.until) = (Some("okta".to_owned()), Some(from), Some(until));
    })
}

fn approve(told: &Value) -> Command {
    Command::SignalApprove { id: told["waits"].as_str().expect("an id").to_owned(), word: None }
}

async fn person(desk: &Desk, id: &str) -> Value {
    let key = FactKey::person(&id.parse().expect("a person"));
    desk.fact(key).await.expect("they are known")
}

async fn is_here(desk: &Desk, id: &str) -> bool {
    person(desk, id).await["state"]["is"] == "active"
}

/// Of many whom a directory sends away by mistake, all are back who are gone by nothing else: part by part, by
/// the word of two; and what was granted before is over.
#[tokio::test]
async fn sc_02_a_mistake_is_undone_by_two_and_brings_back_nobody_else() {
    let (signals, [a, b]) = Box::pin(signals()).await;
    let desk = &signals.scene.desk;
    let names: Vec<_> =
        (0..40).map(|number| format!("p{number:02}")).chain(["ann".to_owned()]).collect();
    for name in &names {
        signals.scene.creates(user(name)).await;
    }
    let step = || desk.world.clock.advance(Duration::from_mins(1));
    step();
    // Gone before it, by the same directory.
    signals.scene.activity("p00", false).await.expect("gone");
    step();
    let from = desk.world.clock.now();
    for name in &names[1..] {
        signals.scene.activity(name, false).await.expect("gone");
    }
    step();
    let command = since(desk, from);
    step();
    // Gone after it too: by an administrator, by a stream, and by the directory once more.
    let deactivate = Command::PersonDeactivate { id: "p01".to_owned() };
    desk.run(deactivate).await.expect("gone");
    signals.tell(&format!("{RISC}account-disabled"), signals.now()).await;
    signals.scene.activity("p02", true).await.expect("back");
    signals.scene.activity("p02", false).await.expect("gone");
    let told = desk.run_as(&a, command).await.expect("it waits");
    assert_eq!(told["people"], 37);
    assert_eq!(word(&desk.run_as(&a, approve(&told)).await), "refused");
    desk.has_refused_for("approved_by_the_same_person").await;
    assert!(!is_here(desk, "p03").await, "nobody approved it");
    // And by an administrator since it was asked for.
    let deactivate = Command::PersonDeactivate { id: "p39".to_owned() };
    step();
    desk.run(deactivate).await.expect("gone");
    let done = desk.run_as(&b, approve(&told)).await.expect("it is undone");
    assert_eq!((&done["restored"], &done["of"]), (&json!(36), &json!(37)));
    for (number, name) in names.iter().enumerate() {
        assert_eq!(is_here(desk, name).await, (3..39).contains(&number), "{name}");
    }
    let cutoff = &person(desk, "p03").await["state"]["authorization_cutoff"];
    assert_eq!(cutoff, desk.world.clock.now().as_millis(), "what was granted before is over");
    assert_eq!(word(&desk.run_as(&b, approve(&told)).await), "invalid", "once");
    // They leave again as ever.
    signals.scene.activity("p03", false).await.expect("gone");
    assert!(!is_here(desk, "p03").await);
    let acts = desk.world.records("administration").await;
    let parts = acts.iter().filter(|it| it.text_of("action") == "signal/approve");
    assert_eq!(parts.filter(|it| it.text_of("decision") == "permit").count(), 3);
}

/// One signal is undone by its record; whom the stream tells of again is gone again.
#[tokio::test]
async fn sc_02_one_signal_is_undone_by_its_record() {
    let (signals, [a, b]) = Box::pin(signals()).await;
    let desk = &signals.scene.desk;
    let ann = signals.scene.creates(user("ann")).await;
    let disabled = format!("{RISC}account-disabled");
    signals.tell(&disabled, signals.now()).await;
    assert!(!is_here(desk, &ann).await);
    let record = desk.world.records("administration").await.pop().expect("a record");
    let record = record.text_of("id").to_owned();
    let told =
        desk.run_as(&a, asked(|it| it.record = Some(record.clone()))).await.expect("it waits");
    desk.run_as(&b, approve(&told)).await.expect("it is undone");
    assert!(is_here(desk, &ann).await);
    let again = desk.run_as(&a, asked(|it| it.record = Some(record))).await;
    assert_eq!(word(&again), "invalid", "she is here");
    desk.world.clock.advance(Duration::from_secs(1));
    signals.tell(&disabled, signals.now()).await;
    assert!(!is_here(desk, &ann).await);
}

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
    desk.world.clock.advance(model::UNDO_WAITS);
    assert_eq!(word(&desk.run_as(&b, approve(&told)).await), "invalid", "too late");
    let told = desk.run_as(&a, since(desk, from)).await.expect("it waits");
    desk.run_as(&b, Command::PersonDeactivate { id: a.to_string() }).await.expect("gone");
    assert_eq!(word(&desk.run_as(&b, approve(&told)).await), "invalid", "who asked has left");
    assert!(!is_here(desk, &ann).await);
}
