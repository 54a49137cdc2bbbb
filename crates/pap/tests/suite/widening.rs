//! What widens somebody's standing waits, and what narrows it does not.

use std::time::Duration;

use model::{Clock as _, FactKey, PersonId};
use oauth::people::ListedPerson;
use pap::directory::UserChange;
use pap::{Command, WideningSaid};
use serde_json::{Value, json};

use crate::desk::{Desk, word};
use crate::directories::{Scene, status, user};
use crate::streams::{RISC, Signals};
use crate::support::World;

const HOUR: Duration = Duration::from_hours(1);

/// A deployment with a second administrator.
async fn desk() -> (Desk, [PersonId; 2]) {
    let world = World::with(|facts| {
        facts.other.groups.insert("administrators".parse().expect("a group"));
    })
    .await;
    let people = [world.standing.sponsor.id.clone(), world.standing.other.id.clone()];
    (Desk::over(world).await, people)
}

/// The directory `okta`, where joining `approvers`, and coming back, waits `after` seconds.
pub(crate) async fn scene(after_s: Option<u64>) -> (Scene, [PersonId; 2]) {
    let (desk, people) = Box::pin(desk()).await;
    let scene = Box::pin(Scene::over(desk)).await;
    waits(&scene.desk, after_s).await;
    (scene, people)
}

async fn waits(desk: &Desk, after_s: Option<u64>) {
    let said = WideningSaid { groups: vec!["approvers".to_owned(), "leads".to_owned()], after_s };
    desk.run(Command::PeopleWidening { said: Some(said) }).await.expect("it is said");
}

/// What of the person `id` counts: whether they are here, and in which groups; and what waits.
async fn stands(desk: &Desk, id: &str) -> (bool, Value, bool, Vec<String>) {
    let person = desk.fact(FactKey::person(&id.parse().expect("a person"))).await;
    let person = person.expect("they are known");
    let joins = person["waits"]["joins"].as_object().cloned().unwrap_or_default();
    let is_here = person["state"]["is"] == "active";
    let returns = !person["waits"]["returns"].is_null();
    (is_here, person["groups"].clone(), returns, joins.into_iter().map(|(name, _)| name).collect())
}

fn is(
    here: bool,
    groups: &[&str],
    returns: bool,
    joins: &[&str],
) -> (bool, Value, bool, Vec<String>) {
    (here, json!(groups), returns, joins.iter().map(|it| (*it).to_owned()).collect())
}

/// Time passes, and what is due counts.
async fn pass(desk: &Desk, time: Duration) {
    desk.world.clock.advance(time);
    desk.administration.widen(desk.world.clock.now()).await.expect("it can be read");
}

fn confirm(id: &str) -> Command {
    Command::PersonConfirm { id: id.to_owned(), word: None }
}

/// Who is new is here at once; what approves, and who comes back, waits; whatever is taken away meanwhile is
/// so at once, and does not come back by itself.
#[tokio::test]
async fn sc_02_who_comes_back_by_a_directory_waits_and_who_leaves_does_not() {
    let (scene, _) = Box::pin(scene(Some(3_600))).await;
    let desk = &scene.desk;
    let ann = scene.creates(user("ann")).await;
    assert_eq!(stands(desk, &ann).await, is(true, &[], false, &[]));
    scene.activity(&ann, false).await.expect("gone");
    pass(desk, HOUR).await;
    scene.activity(&ann, true).await.expect("taken");
    assert_eq!(stands(desk, &ann).await, is(false, &[], true, &[]));
    // Nothing of it is said twice, nor by another change, and the directory reads what it said.
    scene.activity(&ann, true).await.expect("taken");
    let mut again = user("ann");
    again["active"] = json!(true);
    scene.replaces(&ann, again).await.expect("taken");
    pass(desk, Duration::from_millis(3_599_999)).await;
    assert_eq!(stands(desk, &ann).await, is(false, &[], true, &[]));
    pass(desk, Duration::from_millis(1)).await;
    assert_eq!(stands(desk, &ann).await, is(true, &[], false, &[]));
    let person = desk.fact(FactKey::person(&ann.parse().unwrap())).await.expect("a person");
    let now = desk.world.clock.now().as_millis();
    assert_eq!(person["state"]["authorization_cutoff"], now, "what was granted before is over");
    let events = desk.world.records("system").await;
    let events: Vec<_> =
        events.iter().filter(|it| it.text_of("event") == "widening_in_force").collect();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].value["details"], json!({ "joins": "0", "returns": "true" }));
    // Gone again before it was time: nobody comes back.
    scene.activity(&ann, false).await.expect("gone");
    scene.activity(&ann, true).await.expect("taken");
    scene.activity(&ann, false).await.expect("gone");
    pass(desk, HOUR * 2).await;
    assert_eq!(stands(desk, &ann).await, is(false, &[], false, &[]));
}

#[tokio::test]
async fn sc_02_who_joins_a_group_that_approves_waits_and_who_leaves_it_affirms_anew() {
    let (scene, _) = Box::pin(scene(Some(3_600))).await;
    let desk = &scene.desk;
    let ann = scene.creates(user("ann")).await;
    let staff = scene.group("staff", &[&ann]).await.expect("a group");
    let leads = scene.group("leads", &[&ann]).await.expect("a group");
    assert_eq!(stands(desk, &ann).await, is(true, &["staff"], false, &["leads"]));
    // Somebody else joins: nothing of her changes.
    let bob = scene.creates(user("bob")).await;
    let add = json!({ "op": "add", "path": "members", "value": [{ "value": bob }] });
    scene.regroup(&leads, add).await.expect("taken");
    pass(desk, HOUR).await;
    assert_eq!(stands(desk, &ann).await, is(true, &["leads", "staff"], false, &[]));
    let moved = |person: Option<Value>| person.expect("a person")["moved"].clone();
    let key = FactKey::person(&ann.parse().unwrap());
    let leave = |id: &str| {
        let path = format!("members[value eq \"{id}\"]");
        json!({ "op": "remove", "path": path })
    };
    scene.regroup(&staff, leave(&ann)).await.expect("taken");
    assert_eq!(moved(desk.fact(key.clone()).await), Value::Null);
    scene.regroup(&leads, leave(&ann)).await.expect("taken");
    assert_eq!(stands(desk, &ann).await, is(true, &[], false, &[]));
    assert_eq!(moved(desk.fact(key).await), json!(desk.world.clock.now()));
}

/// What was told by a directory that is suspended since does not count by itself.
#[tokio::test]
async fn n_097_what_a_suspended_directory_told_waits_on() {
    let (scene, _) = Box::pin(scene(Some(3_600))).await;
    let desk = &scene.desk;
    let ann = scene.creates(user("ann")).await;
    scene.group("leads", &[&ann]).await.expect("a group");
    let (name, reason) = ("okta".to_owned(), "its token was stolen".to_owned());
    desk.run(Command::DirectorySuspend { name: name.clone(), reason }).await.expect("suspended");
    pass(desk, HOUR).await;
    assert_eq!(stands(desk, &ann).await, is(true, &[], false, &["leads"]));
    desk.run(Command::DirectoryResume { name }).await.expect("resumed");
    pass(desk, HOUR).await;
    assert_eq!(stands(desk, &ann).await, is(true, &["leads"], false, &[]));
}

/// A stream's word waits as the directory's does, and whoever leaves meanwhile stays away.
#[tokio::test]
async fn sc_02_who_comes_back_by_a_stream_waits() {
    let signals = Box::pin(Signals::set()).await;
    let desk = &signals.scene.desk;
    waits(desk, Some(3_600)).await;
    let ann = signals.scene.creates(user("ann")).await;
    let tell = async |kind: &str| {
        desk.world.clock.advance(Duration::from_secs(1));
        let now = signals.now();
        Box::pin(signals.tell(&format!("{RISC}{kind}"), now)).await;
    };
    tell("account-disabled").await;
    assert_eq!(stands(desk, &ann).await, is(false, &[], false, &[]));
    tell("account-enabled").await;
    assert_eq!(stands(desk, &ann).await, is(false, &[], true, &[]));
    tell("account-disabled").await;
    assert_eq!(stands(desk, &ann).await, is(false, &[], false, &[]));
    tell("account-enabled").await;
    assert_eq!(stands(desk, &ann).await, is(false, &[], true, &[]));
    pass(desk, HOUR).await;
    assert_eq!(stands(desk, &ann).await, is(true, &[], false, &[]));
}

#[tokio::test]
async fn sc_02_who_comes_back_by_a_list_waits_and_who_applied_it_does_not_confirm_that() {
    let (desk, [a, b]) = Box::pin(desk()).await;
    desk.directory().await;
    waits(&desk, None).await;
    let person = |active: bool| ListedPerson {
        id: "ann".to_owned(),
        active,
        groups: vec!["leads".to_owned()],
        unit: None,
        manager: None,
        logins: Vec::new(),
    };
    for (version, active) in [(1, true), (2, false), (3, true), (4, true)] {
        let file = desk.signed(&desk.hr, version, &[person(active)]);
        desk.run_as(&a, Command::PeopleApply { file }).await.expect("it is applied");
    }
    assert_eq!(stands(&desk, "ann").await, is(false, &[], true, &["leads"]));
    pass(&desk, HOUR * 24 * 365).await;
    assert_eq!(stands(&desk, "ann").await, is(false, &[], true, &["leads"]));
    assert_eq!(word(&desk.run_as(&a, confirm("ann")).await), "refused");
    desk.has_refused_for("confirmed_by_the_same_person").await;
    desk.run_as(&b, confirm("ann")).await.expect("it is confirmed");
    assert_eq!(stands(&desk, "ann").await, is(true, &["leads"], false, &[]));
}

/// Whoever is to administer waits for another person, who is neither them nor who asked; and nothing that was
/// taken away meanwhile is confirmed.
#[tokio::test]
async fn sc_02_what_waits_another_person_confirms() {
    let (desk, [a, b]) = Box::pin(desk()).await;
    waits(&desk, None).await;
    let add = |id: &str| {
        let groups = vec!["administrators".to_owned(), "staff".to_owned()];
        Command::PersonAdd { id: id.to_owned(), groups }
    };
    let told = desk.run_as(&a, add("carol")).await.expect("she is added");
    assert_eq!(told["waits"]["joins"]["administrators"]["by"], json!(a));
    assert_eq!(stands(&desk, "carol").await, is(true, &["staff"], false, &["administrators"]));
    let carol: PersonId = "carol".parse().unwrap();
    assert_eq!(word(&desk.run_as(&carol, confirm("carol")).await), "refused");
    assert_eq!(word(&desk.run_as(&a, confirm("carol")).await), "refused");
    assert_eq!(word(&desk.run_as(&b, confirm("nobody")).await), "missing");
    assert_eq!(word(&desk.run_as(&b, confirm(a.as_str())).await), "invalid");
    desk.run_as(&b, confirm("carol")).await.expect("it is confirmed");
    assert_eq!(stands(&desk, "carol").await.1, json!(["administrators", "staff"]));
    assert_eq!(word(&desk.run_as(&b, confirm("carol")).await), "invalid");
    // Two who administer do not confirm themselves, each for the other.
    desk.run_as(&carol, add("dora")).await.expect("she is added");
    desk.run_as(&a, Command::PersonDeactivate { id: "dora".to_owned() }).await.expect("gone");
    assert_eq!(
        word(&desk.run_as(&b, confirm("dora")).await),
        "invalid",
        "who is gone joins nothing"
    );
    // What the service's own user asked for takes two others.
    let anybody: PersonId = pap::BOOTSTRAP.parse().unwrap();
    let mut root = desk.world.standing.sponsor.clone();
    root.id = anybody.clone();
    desk.world.put(FactKey::person(&anybody), &root).await;
    let mut eve = root.clone();
    eve.id = "eve".parse().unwrap();
    eve.groups.clear();
    let due = model::Due { from: None, by: Some(anybody.clone()) };
    eve.waits.joins.insert("leads".parse().unwrap(), due);
    desk.world.put(FactKey::person(&eve.id), &eve).await;
    assert_eq!(word(&desk.run_as(&anybody, confirm("eve")).await), "refused");
    let told = desk.run_as(&a, confirm("eve")).await.expect("the first word");
    assert_eq!(told["waits"]["joins"]["leads"]["by"], json!(a));
    assert_eq!(word(&desk.run_as(&a, confirm("eve")).await), "refused");
    desk.run_as(&b, confirm("eve")).await.expect("the second");
    assert_eq!(stands(&desk, "eve").await, is(true, &["leads"], false, &[]));
}

/// Whatever is said of what waits makes sense, and nothing that waits already waits shorter by it.
#[tokio::test]
async fn what_waits_is_said_within_bounds_and_what_waits_already_waits_as_it_did() {
    let (scene, _) = Box::pin(scene(Some(3_600))).await;
    let desk = &scene.desk;
    let said = |groups: usize, after_s: u64| {
        let groups = (0..groups).map(|number| format!("g{number}")).collect();
        Command::PeopleWidening { said: Some(WideningSaid { groups, after_s: Some(after_s) }) }
    };
    let most = model::WAITS_MAX.as_secs();
    for (groups, after, expected) in
        [(64, 0, "done"), (65, 0, "invalid"), (0, most, "done"), (0, most + 1, "invalid")]
    {
        assert_eq!(word(&desk.run(said(groups, after)).await), expected, "{groups} {after}");
    }
    waits(desk, Some(3_600)).await;
    let ann = scene.creates(user("ann")).await;
    scene.group("leads", &[&ann]).await.expect("a group");
    waits(desk, Some(0)).await;
    assert_eq!(status(scene.replaces(&ann, user("ann")).await), 200);
    assert_eq!(stands(desk, &ann).await, is(true, &[], false, &["leads"]));
    let told = desk.run(Command::PeopleWidening { said: None }).await.expect("it is told");
    // What it said before goes on counting for founders.
    let until = desk.world.clock.now().plus(model::WAITS_MAX);
    let before = json!({ "after_s": most, "until": until });
    let told_now = json!({
        "groups": ["approvers", "leads"], "after_s": 0, "before": before,
        "loosened": desk.world.clock.now(),
    });
    assert_eq!(told, told_now);
}

/// Who comes back has the roles that were said of them while they were gone: others are another role.
#[tokio::test]
async fn sc_02_who_comes_back_has_the_roles_that_were_said_meanwhile() {
    let scene = Scene::set().await;
    let is = |active: bool, role: &str| {
        let mut said = user("ann");
        (said["active"], said["roles"]) = (json!(active), json!([{ "value": role }]));
        said
    };
    let ann = scene.creates(is(true, "c")).await;
    for (active, role) in [(false, "d"), (true, "d"), (true, "c")] {
        scene.desk.world.clock.advance(Duration::from_secs(1));
        scene.replaces(&ann, is(active, role)).await.expect("it is said");
    }
    let now = json!(scene.desk.world.clock.now());
    assert_eq!(scene.person(&ann).await["moved"], now, "they were there as `d`");
    // Nor has who was a user no longer those of before.
    scene.change(&ann, &UserChange::Delete).await.expect("they are deleted");
    scene.desk.world.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.creates(user("ann")).await, ann);
    scene.desk.world.clock.advance(Duration::from_secs(1));
    scene.replaces(&ann, is(true, "c")).await.expect("it is said");
    let now = json!(scene.desk.world.clock.now());
    assert_eq!(scene.person(&ann).await["moved"], now, "they were there as nothing");
}
