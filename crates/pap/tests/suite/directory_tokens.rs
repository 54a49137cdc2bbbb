//! Which directories there are, and by what each is known.

use std::time::Duration;

use model::{Clock as _, DirectoryTokens, FactKey};
use pap::directory::{AgentChange, UserChange};
use pap::{Command, DirectoryRegistration};
use scim::USER;
use serde_json::json;
use store::{Store as _, Unit};

use crate::desk::{Desk, word};
use crate::directories::{Scene, TOKEN, at_work, status, token, user};
use crate::directory_agents::{self, agent};
use crate::support::put;
use crate::support::stores::OnCommit;

/// That all tokens of `okta` are taken back, just before something else is committed.
fn taken_back_meanwhile(scene: &Scene) -> OnCommit {
    let place = FactKey::directory_tokens(&scene.okta.name);
    let effects = vec![put(place, &DirectoryTokens::default())];
    OnCommit::After(Unit { effects, ..Unit::default() })
}

/// All that is kept of people, and of what a directory says.
pub(crate) async fn kept(desk: &Desk) -> Vec<(FactKey, Vec<u8>)> {
    let mut all = Vec::new();
    for prefix in ["agent/", "person/", "scim/", "signal-mark/"] {
        let page = desk.world.store.list(prefix, None, 1_000).await.expect("it can be read");
        all.extend(page.facts);
    }
    all
}

#[tokio::test]
async fn a_directory_is_known_by_its_tokens_while_they_count() {
    let scene = Scene::set().await;
    let desk = &scene.desk;
    let known = async |text: &str| {
        desk.administration.known_directory(text).await.expect("it can be read").is_some()
    };
    let add = async |text: &str, read_only: bool, alone: bool| {
        let token = token(desk, text, read_only);
        let command = Command::DirectoryToken { name: "okta".to_owned(), token, alone };
        desk.run(command).await.expect("it is given");
    };
    assert!(known(TOKEN).await);
    for nobody in ["okta.other", "okta", "hr.secret", "okta.secret ", ""] {
        assert!(!known(nobody).await, "{nobody}");
    }
    add("okta.second", true, false).await;
    assert!(known(TOKEN).await && known("okta.second").await, "two at once");
    add("okta.third", false, false).await;
    assert!(!known(TOKEN).await && known("okta.second").await && known("okta.third").await);
    add("okta.last", false, true).await;
    assert!(!known("okta.third").await && known("okta.last").await);
    let last = desk.administration.known_directory("okta.last").await.expect("it can be read");
    let last = last.expect("it is known");
    let suspend = Command::DirectorySuspend { name: "okta".to_owned(), reason: "test".to_owned() };
    desk.run(suspend).await.expect("it is suspended");
    assert!(!known("okta.last").await);
    // What it began before is not done either: the decision reads that it is suspended.
    let ann = USER.read(user("ann")).expect("it makes sense");
    assert_eq!(status(desk.administration.create_user(&last, ann).await), 403);
    desk.run(Command::DirectoryResume { name: "okta".to_owned() }).await.expect("it goes on");
    assert!(known("okta.last").await);
    desk.world.clock.advance(Duration::from_hours(25));
    assert!(!known("okta.last").await, "it is over");
}

/// A token that is taken back after a request has shown it, and before what it asks for is in force.
#[tokio::test]
async fn what_is_under_way_with_a_token_that_is_taken_back_is_not_done() {
    for number in 0..8 {
        let scene = Scene::set().await;
        for name in ["ann", "ben"] {
            scene.creates(at_work(name, "Desk", "carl")).await;
        }
        let staff = scene.group("Staff", &["ann"]).await.expect("a group");
        let before = kept(&scene.desk).await;
        scene.desk.world.store.on_commit([taken_back_meanwhile(&scene)]);
        let renamed = json!({ "op": "replace", "path": "displayName", "value": "Desk" });
        let joins = json!({ "op": "add", "path": "members", "value": [{ "value": "ben" }] });
        let leaves = json!({ "op": "remove", "path": "members" });
        let moved = at_work("ann", "Counter", "carl");
        let (what, answer) = match number {
            0 => ("new", status(scene.create(user("eve")).await)),
            1 => ("gone", status(scene.activity("ann", false).await)),
            2 => ("moved", status(scene.replaces("ann", moved).await)),
            3 => ("deleted", status(scene.change("ann", &UserChange::Delete).await)),
            4 => ("a group", status(scene.group("Others", &["ann"]).await)),
            5 => ("renamed", status(scene.regroup(&staff, renamed).await)),
            6 => ("joins", status(scene.regroup(&staff, joins).await)),
            _ => ("leaves", status(scene.regroup(&staff, leaves).await)),
        };
        // Of a group that is not there yet, that is told when it is asked again.
        assert_eq!(answer, if number == 4 { 409 } else { 401 }, "{what}");
        assert_eq!(scene.desk.world.store.commits_left(), 0, "{what} was about to be committed");
        assert_eq!(kept(&scene.desk).await, before, "{what}");
        assert_eq!(status(scene.group("Others", &[]).await), 401, "{what}");
    }
}

/// A token that is taken back while an agent is registered, or stopped, with it.
#[tokio::test]
async fn a_token_that_is_taken_back_does_nothing_with_agents() {
    let scene = directory_agents::scene().await;
    scene.enrol(agent("desk")).await.expect("it is new");
    let place = FactKey::directory_tokens(&scene.okta.name);
    let tokens = scene.desk.fact(place.clone()).await.expect("it has some");
    let before = kept(&scene.desk).await;
    let meanwhile = || scene.desk.world.store.on_commit([taken_back_meanwhile(&scene)]);
    meanwhile();
    assert_eq!(status(scene.is_active("desk", false).await), 401);
    scene.desk.world.put(place.clone(), &tokens).await;
    meanwhile();
    assert_eq!(status(scene.alter("desk", &AgentChange::Delete).await), 401);
    scene.desk.world.put(place, &tokens).await;
    meanwhile();
    // It is told when it is asked again.
    assert_eq!(status(scene.enrol(agent("counter")).await), 409);
    assert_eq!(status(scene.enrol(agent("counter")).await), 401);
    assert_eq!(kept(&scene.desk).await, before);
}

#[tokio::test]
async fn what_makes_no_sense_registers_no_directory() {
    let scene = Scene::set().await;
    let desk = &scene.desk;
    let add = async |name: &str, expires: Duration| {
        let mut token = token(desk, "x.y", false);
        token.expires = desk.world.clock.now().plus(expires);
        let (name, logins, silence_min) = (name.to_owned(), None, None);
        let said = DirectoryRegistration { name, logins, silence_min, token };
        word(&desk.run(Command::DirectoryAdd(said)).await)
    };
    let day = Duration::from_hours(24);
    assert_eq!(add("okta", day).await, "conflict");
    assert_eq!(add("No Name", day).await, "invalid");
    assert_eq!(add("other", day * 366).await, "done");
    assert_eq!(add("late", day * 366 + Duration::from_secs(1)).await, "invalid");
    assert_eq!(add("over", Duration::ZERO).await, "invalid");
    desk.directory().await;
    assert_eq!(add("hr", day).await, "conflict", "one name says one thing");
    let adopt = async |person: &str| {
        let (name, person) = ("okta".to_owned(), person.to_owned());
        word(&desk.run(Command::DirectoryAdopt { name, person }).await)
    };
    let other = desk.world.standing.other.id.to_string();
    assert_eq!(adopt("nobody").await, "missing");
    assert_eq!(adopt(&other).await, "done");
    assert_eq!(adopt(&other).await, "conflict");
    assert_eq!(scene.creates(user(&other)).await, other, "they are the directory's now");
}
