//! Which directories there are, and by what each is known.

use std::time::Duration;

use model::Clock as _;
use pap::{Command, DirectoryRegistration};

use crate::desk::word;
use crate::directories::{Scene, TOKEN, status, token, user};

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
    let suspend = Command::DirectorySuspend { name: "okta".to_owned(), reason: "test".to_owned() };
    desk.run(suspend).await.expect("it is suspended");
    assert!(!known("okta.last").await);
    // What it began before is not done either: the decision reads that it is suspended.
    assert_eq!(status(scene.create(user("ann")).await), 403);
    desk.run(Command::DirectoryResume { name: "okta".to_owned() }).await.expect("it goes on");
    assert!(known("okta.last").await);
    desk.world.clock.advance(Duration::from_hours(25));
    assert!(!known("okta.last").await, "it is over");
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
