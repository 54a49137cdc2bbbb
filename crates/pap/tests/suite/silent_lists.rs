//! Silence of whoever signs lists: whose people are unconfirmed, and from when on.

use std::time::Duration;

use model::{Clock as _, FactKey};
use oauth::people::ListedPerson;
use pap::{Command, StreamRegistration};
use serde_json::{Value, json};

use crate::desk::{Desk, jwk, source_key, word};
use crate::directories::user;
use crate::streams::{CAEP, Signals};

const MINUTE: Duration = Duration::from_mins(1);

/// Whoever signs lists is heard by each newer one, from when it was signed, and not by what is refused.
#[tokio::test]
async fn who_signs_lists_is_heard_by_each_newer_one_from_when_it_was_signed() {
    let desk = Desk::new().await;
    let said = source_key("hr", desk.hr.verifying().to_jwk());
    let add = async |silence_min: Option<u32>| {
        let said = said.clone();
        word(&desk.run(Command::PeopleSourceAdd { said, silence_min }).await)
    };
    for wrong in [0, 7 * 24 * 60 + 1] {
        assert_eq!(add(Some(wrong)).await, "invalid");
    }
    assert_eq!(add(Some(60)).await, "done");
    let until = async || -> Value {
        let place = FactKey::heard(&"hr".parse().unwrap());
        desk.fact(place).await.unwrap_or_default()
    };
    let clock = &desk.world.clock;
    let in_minutes = |of: u32| json!({ "directory": clock.now().plus(of * MINUTE).as_millis() });
    let list = |version: u64| {
        let (id, groups, logins) = ("ann".to_owned(), Vec::new(), Vec::new());
        let ann = ListedPerson { id, active: true, groups, unit: None, manager: None, logins };
        desk.signed(&desk.hr, version, &[ann])
    };
    let apply = async |file: &str| {
        let file = file.to_owned();
        word(&desk.run(Command::PeopleApply { file }).await)
    };
    assert_eq!(until().await, in_minutes(60), "it begins when it is registered");
    clock.advance(30 * MINUTE);
    let held_back = list(2);
    clock.advance(60 * MINUTE);
    assert_eq!(apply(&held_back).await, "done");
    assert_eq!(until().await, in_minutes(0), "what was held back tells of then");
    let newer = list(3);
    assert_eq!(apply(&newer).await, "done");
    assert_eq!(until().await, in_minutes(60));
    clock.advance(30 * MINUTE);
    assert_eq!(apply(&newer).await, "invalid");
    assert_eq!(apply(&list(1)).await, "invalid");
    assert_eq!(until().await, in_minutes(30), "nothing came into force");
    let rekey = source_key("hr", jwk());
    desk.run(Command::PeopleSourceRekey(rekey)).await.expect("it has another key");
    assert_eq!(apply(&list(4)).await, "invalid", "nor does what another key signed");
    assert_eq!(until().await, in_minutes(30));
    let silence = async |silence_min: Option<u32>| {
        let said = Command::PeopleSilence { name: "hr".to_owned(), silence_min };
        word(&desk.run(said).await)
    };
    assert_eq!(silence(Some(0)).await, "invalid");
    assert_eq!(silence(None).await, "done");
    assert_eq!(until().await, json!({}), "nobody waits for it");
    assert_eq!(silence(Some(20)).await, "done");
    assert_eq!(until().await, in_minutes(20));
    let listed = desk.run(Command::PeopleSourceList).await.expect("it is told");
    assert_eq!(listed[0]["silence_min"], 20);
}

/// Without a word of it a list has the bound of all; and one name says one thing.
#[tokio::test]
async fn who_signs_lists_has_a_bound_and_a_name_of_their_own() {
    let signals = Signals::set().await;
    let desk = &signals.scene.desk;
    let said = json!({
        "do": "people-source-add",
        "said": { "name": "hr", "key": jwk(), "expires": desk.world.clock.now().plus(MINUTE) },
    });
    let add: Command = serde_json::from_value(said).expect("a command");
    desk.run(add).await.expect("it is registered");
    let heard = desk.fact(FactKey::heard(&"hr".parse().unwrap())).await.expect("it has a bound");
    let until = desk.world.clock.now().plus(15 * MINUTE);
    assert_eq!(heard, json!({ "directory": until.as_millis() }));
    let (said, silence_min) = (source_key("okta", jwk()), None);
    let taken = desk.run(Command::PeopleSourceAdd { said, silence_min }).await;
    assert_eq!(word(&taken), "conflict");
    // What is said of lists says nothing of a directory of that name, where both were registered before.
    let [hr, okta] = ["hr", "okta"].map(|name| FactKey::people_source(&name.parse().unwrap()));
    let mut both = desk.fact(hr).await.expect("it is registered");
    both["name"] = json!("okta");
    desk.world.put(okta, &both).await;
    let heard = async || desk.fact(FactKey::heard(&"okta".parse().unwrap())).await;
    let before = heard().await;
    for silence_min in [None, Some(60)] {
        let said = Command::PeopleSilence { name: "okta".to_owned(), silence_min };
        assert_eq!(word(&desk.run(said).await), "conflict");
    }
    assert_eq!(heard().await, before);
}

/// Until when who tells of people counts as heard is in the lists of them, and since when people are unconfirmed.
#[tokio::test]
async fn who_is_unconfirmed_and_since_when_is_in_the_lists() {
    let signals = Signals::with(|it| StreamRegistration { silence_min: Some(15), ..it }).await;
    signals.scene.creates(user("ann")).await;
    let desk = &signals.scene.desk;
    let (said, silence_min) = (source_key("hr", desk.hr.verifying().to_jwk()), Some(60));
    desk.run(Command::PeopleSourceAdd { said, silence_min }).await.expect("it is registered");
    let (id, groups, logins) = ("ben".to_owned(), Vec::new(), Vec::new());
    let ben = ListedPerson { id, active: true, groups, unit: None, manager: None, logins };
    let file = desk.signed(&desk.hr, 1, &[ben]);
    desk.run(Command::PeopleApply { file }).await.expect("it is in force");
    let listed = async |command: Command, member: &str, name: &str| -> Value {
        let listed = desk.run(command).await.expect("they are listed");
        let mut rows = listed.as_array().expect("rows").iter();
        rows.find(|row| row[member] == name).expect("it is there").clone()
    };
    let clock = &desk.world.clock;
    let (start, none) = (clock.now(), Value::Null);
    let in_minutes = |of: u32| json!(start.plus(of * MINUTE).to_string());
    // What the lists say of the stream, of the directory for which it speaks, of who signs lists, and of people.
    let check = async |stream: &Value, [okta, ann]: [&Value; 2], hr: [&Value; 2], ben: &Value| {
        let of = listed(Command::StreamList, "name", "caep").await;
        assert_eq!(of["heard_until"], *stream);
        let of = listed(Command::DirectoryList, "name", "okta").await;
        assert_eq!(of["heard_until"], none, "nobody waits for it itself");
        assert_eq!(of["unconfirmed_since"], *okta);
        let silent = if okta.is_null() { Value::Null } else { json!(["stream/caep"]) };
        assert_eq!(of["silent"], silent);
        let of = listed(Command::PeopleSourceList, "name", "hr").await;
        assert_eq!([&of["heard_until"], &of["unconfirmed_since"]], hr);
        let silent = if hr[1].is_null() { Value::Null } else { json!(["directory"]) };
        assert_eq!(of["silent"], silent);
        for (id, since) in [("ann", ann), ("ben", ben), ("olga.other@example.org", &none)] {
            let of = listed(Command::PersonList, "id", id).await;
            assert_eq!(of["unconfirmed_since"], *since, "{id}");
        }
    };
    let (fifteen, hour) = (in_minutes(15), in_minutes(60));
    clock.advance(Duration::from_millis(15 * 60_000 - 1));
    check(&fifteen, [&none, &none], [&hour, &none], &none).await;
    clock.advance(Duration::from_millis(1));
    check(&fifteen, [&fifteen, &fifteen], [&hour, &none], &none).await;
    clock.advance(45 * MINUTE);
    check(&fifteen, [&fifteen, &fifteen], [&hour, &hour], &hour).await;
    // What is heard again is seen as that.
    signals.tell(&format!("{CAEP}session-presented"), signals.now()).await;
    check(&in_minutes(75), [&none, &none], [&hour, &hour], &hour).await;
    let name = "hr".to_owned();
    desk.run(Command::PeopleSilence { name, silence_min: None }).await.expect("nobody waits");
    check(&in_minutes(75), [&none, &none], [&none, &none], &none).await;
}
