//! Whether a person is there: whose word of that counts, of a directory, its streams and administrators.

use model::FactKey;
use pap::directory::UserChange;
use pap::{Command, StreamRegistration};
use scim::USER;
use serde_json::{Value, json};

use crate::directories::{Scene, at_work, patch, token, user};
use crate::streams::{RISC, SCIM, Signals, TOKEN, said};

/// Whichever comes first, what happened last counts; of two things at once, that they left.
#[tokio::test]
async fn sc_02_the_later_word_wins_in_whichever_order_it_comes() {
    let (left, back) = (format!("{RISC}account-disabled"), format!("{SCIM}prov:activate"));
    let at = |second: i64, left: bool| (second, left);
    let stories = [
        [at(10, true), at(20, false), at(30, true)],
        [at(10, true), at(20, true), at(30, false)],
        [at(10, false), at(20, true), at(20, false)],
    ];
    for story in stories {
        let expected = story.iter().max_by_key(|(second, left)| (*second, *left)).unwrap();
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let signals = Signals::set().await;
            signals.scene.creates(user("ann")).await;
            let start = signals.now();
            signals.later();
            for position in order {
                let (second, is_left) = story[position];
                let event = if is_left { &left } else { &back };
                signals.tell(event, start + second).await;
                signals.later();
            }
            assert_eq!(signals.is_active("ann").await, !expected.1, "{story:?} as {order:?}");
        }
    }
}

/// A directory that says as before that they are here, and something else, has said nothing of whom a stream
/// sent away.
#[tokio::test]
async fn what_a_directory_changes_beside_brings_nobody_back() {
    let signals = Signals::set().await;
    signals.scene.creates(at_work("ann", "desk", "carl")).await;
    signals.tell(&format!("{RISC}account-disabled"), signals.now()).await;
    for manager in ["dora", "carl"] {
        signals.later();
        let mut said = at_work("ann", "desk", manager);
        said["active"] = json!(true);
        signals.scene.replaces("ann", said).await.expect("it is said");
        assert!(!signals.is_active("ann").await, "{manager}");
    }
}

/// Nobody is brought back whom somebody else sent away.
#[tokio::test]
async fn whom_an_administrator_sent_away_no_stream_brings_back() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    let (left, back) = (format!("{RISC}account-disabled"), format!("{RISC}account-enabled"));
    let deactivate = || Command::PersonDeactivate { id: "ann".to_owned() };
    signals.scene.desk.run(deactivate()).await.expect("they are sent away");
    signals.later();
    signals.tell(&back, signals.now()).await;
    assert!(!signals.is_active("ann").await);
    signals.later();
    signals.tell(&left, signals.now()).await;
    signals.later();
    signals.tell(&back, signals.now()).await;
    assert!(!signals.is_active("ann").await);
    assert_eq!(signals.outcomes().await, ["gone_otherwise", "left_already", "gone_otherwise"]);
    // Nor whom the directory itself has sent away since.
    let active = async |active: bool| {
        signals.scene.activity("ann", active).await.expect("it is said");
        signals.later();
    };
    active(false).await;
    active(true).await;
    assert!(signals.is_active("ann").await);
    signals.tell(&left, signals.now()).await;
    let between = signals.now();
    signals.later();
    active(false).await;
    signals.tell(&back, between + 1).await;
    assert!(!signals.is_active("ann").await);
    signals.tell(&back, signals.now()).await;
    assert!(signals.is_active("ann").await, "it is newer than both");
}

/// Who was sent away by several comes back once none of them says so any longer. A stream takes back its own
/// word, and what the directory told before.
#[tokio::test]
async fn nobody_comes_back_while_the_word_of_another_stands() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    let desk = &signals.scene.desk;
    let risc = ("risc", "risc.secret");
    let token = token(desk, risc.1, false);
    let said = StreamRegistration { token, ..said(desk, risc.0) };
    desk.run(Command::StreamAdd(said)).await.expect("it is registered");
    let (left, back) = (format!("{RISC}account-disabled"), format!("{RISC}account-enabled"));
    let tell = async |shown: (&str, &str), event: &str| {
        signals.later();
        let token = signals.sign(&signals.claims(event, signals.now()));
        signals.take_by(shown, &token).await.expect("it is taken");
        signals.is_active("ann").await
    };
    let caep = ("caep", TOKEN);
    let says = async |active: bool| {
        signals.later();
        signals.scene.activity("ann", active).await.expect("it is said");
        signals.is_active("ann").await
    };
    // Two streams: neither lifts what the other said, and both together do.
    assert!(!tell(caep, &left).await);
    assert!(!tell(risc, &left).await);
    assert!(!tell(risc, &back).await);
    assert!(tell(caep, &back).await);
    // Nor does it keep it from being said: whose word comes first changes nothing.
    let ahead = signals.claims(&back, signals.now() + 200);
    signals.take_by(risc, &signals.sign(&ahead)).await.expect("it is taken");
    assert!(!tell(caep, &left).await);
    assert!(!says(false).await);
    assert!(says(true).await);
    // One that said nothing lifts nothing but what the directory said.
    assert!(!tell(caep, &left).await);
    assert!(!tell(risc, &back).await);
    assert!(tell(caep, &back).await);
    assert!(!says(false).await);
    assert!(tell(risc, &back).await);
    // An administrator comes last.
    assert!(!says(false).await);
    signals.later();
    let deactivate = Command::PersonDeactivate { id: "ann".to_owned() };
    desk.run(deactivate).await.expect("they are sent away");
    assert!(!tell(caep, &back).await);
    assert!(!tell(caep, &left).await);
    assert!(!tell(caep, &back).await);
}

/// An older word that comes late undoes nothing, whoever of the directory or its streams said the newer.
#[tokio::test]
async fn what_happened_later_counts_whoever_tells_of_it() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    let (left, back) = (format!("{RISC}account-disabled"), format!("{RISC}account-enabled"));
    signals.later();
    signals.scene.activity("ann", false).await.expect("they leave");
    signals.later();
    let between = signals.now();
    // The transmitter's clock may be behind ours, by which the directory's word is dated.
    for _ in 0..6 {
        signals.later();
    }
    signals.scene.activity("ann", true).await.expect("they come back");
    signals.tell(&left, between).await;
    assert!(signals.is_active("ann").await);
    assert_eq!(signals.outcomes().await, ["older"]);
    signals.tell(&left, signals.now() - 200).await;
    assert!(!signals.is_active("ann").await);
    signals.tell(&back, between).await;
    assert!(!signals.is_active("ann").await);
}

/// That somebody is not here counts as of whenever their directory said it last, whatever else it said then.
#[tokio::test]
async fn a_directory_that_says_again_that_they_left_keeps_them_away() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    let back = format!("{RISC}account-enabled");
    signals.scene.activity("ann", false).await.expect("they leave");
    signals.later();
    let between = signals.now();
    signals.later();
    let title = patch(&USER, json!({ "op": "add", "path": "title", "value": "Dr" }));
    signals.scene.change("ann", &UserChange::Patch(&title)).await.expect("it is kept");
    signals.later();
    signals.tell(&back, between).await;
    assert!(!signals.is_active("ann").await);
    assert_eq!(signals.outcomes().await, ["gone_otherwise"]);
    // Who was deleted and is there again, and not active.
    signals.scene.change("ann", &UserChange::Delete).await.expect("they are deleted");
    signals.later();
    let between = signals.now();
    signals.later();
    let mut again = user("ann");
    again["active"] = json!(false);
    signals.scene.creates(again).await;
    signals.tell(&back, between).await;
    assert!(!signals.is_active("ann").await);
}

/// An `active` without a value is no word that they are here: who comes back by a stream's is so after.
#[tokio::test]
async fn whose_activity_was_taken_away_comes_back_whole() {
    let signals = Signals::set().await;
    signals.scene.creates(user("ann")).await;
    signals.scene.activity("ann", false).await.expect("they leave");
    signals.scene.replaces("ann", user("ann")).await.expect("it is said");
    let kept = async || {
        let place = FactKey::scim_user(&signals.scene.okta.name, "ann");
        signals.scene.desk.fact(place).await.expect("it is kept")["resource"]["active"].clone()
    };
    assert_eq!(kept().await, Value::Null);
    signals.later();
    signals.tell(&format!("{RISC}account-enabled"), signals.now()).await;
    assert!(signals.is_active("ann").await);
    assert_eq!(kept().await, json!(true));
}

/// Of two of one second, that they left counts, however exactly either is told, whichever comes first.
#[tokio::test]
async fn of_two_words_of_one_second_that_they_left_counts() {
    let (left, back) = (format!("{RISC}account-disabled"), format!("{RISC}account-enabled"));
    for (left_at, back_at) in [(0.0, 0.5), (0.5, 0.0), (0.5, 0.5), (0.0, 0.0)] {
        for is_left_first in [true, false] {
            let signals = Signals::set().await;
            signals.scene.creates(user("ann")).await;
            signals.later();
            let second = signals.now();
            signals.later();
            let tell = async |event: &str, fraction: f64| {
                let mut claims = signals.claims(event, second);
                if fraction > 0.0 {
                    let at = format!("{second}.5").parse::<f64>().expect("a number");
                    claims["events"][event]["event_timestamp"] = json!(at);
                }
                signals.take(&signals.sign(&claims)).await.expect("it is taken");
            };
            if is_left_first {
                tell(&left, left_at).await;
                tell(&back, back_at).await;
            } else {
                tell(&back, back_at).await;
                tell(&left, left_at).await;
            }
            assert!(!signals.is_active("ann").await, "{left_at} {back_at} {is_left_first}");
        }
    }
}

/// An `active` that was said and is taken away, by a PATCH or by a PUT without it, is not one; where it never
/// was said, nobody leaves by that.
#[tokio::test]
async fn whose_activity_is_taken_away_is_not_active() {
    let said = |active: Option<bool>| {
        let mut said = user("ann");
        if let Some(active) = active {
            said["active"] = json!(active);
        }
        said
    };
    let is_active = async |scene: &Scene| {
        let ann = scene.desk.fact(FactKey::person(&"ann".parse().unwrap())).await;
        ann.expect("they are known")["state"]["is"] == "active"
    };
    for (was, stays) in [(None, true), (Some(true), false), (Some(false), false)] {
        for number in 0..4 {
            let scene = Scene::set().await;
            scene.creates(said(was)).await;
            let patched = |operation: Value| patch(&USER, operation);
            let by = match number {
                0 => patched(json!({ "op": "remove", "path": "active" })),
                1 => patched(json!({ "op": "replace", "path": "active", "value": null })),
                2 => patched(json!({ "op": "replace", "value": { "active": null } })),
                _ => patched(json!({ "op": "add", "path": "title", "value": "Dr" })),
            };
            let change = match number {
                3 => UserChange::Replace(USER.read(said(None)).expect("it makes sense")),
                _ => UserChange::Patch(&by),
            };
            scene.change("ann", &change).await.expect("it is said");
            assert_eq!(is_active(&scene).await, stays, "{was:?}, {number}");
            scene.activity("ann", true).await.expect("it is said");
            assert!(is_active(&scene).await, "{was:?}, {number}");
        }
    }
}
