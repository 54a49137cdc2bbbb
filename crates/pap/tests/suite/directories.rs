//! Directories push who their people are: what they take away counts at once, what they give is decided.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{Clock as _, FactKey, LoginRule, LoginSubject, Sha256Digest};
use pap::directory::{GroupChange, Kind, KnownDirectory, Place, UserChange};
use pap::{Command, DirectoryRegistration, NewToken};
use proptest::prelude::*;
use scim::{Error, GROUP, Patch, Query, Resource, ResourceType, USER};
use serde_json::{Value, json};
use store::CommitError;

use crate::desk::Desk;
use crate::support::POLICY;
use crate::support::stores::OnCommit;

pub(crate) const TOKEN: &str = "okta.secret";

const ISSUER: &str = "https://idp.example";

pub(crate) const BASE: &str = "https://chancery.example/scim/v2";

/// Where somebody works.
const WORK: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// A deployment with the directory `okta`.
pub(crate) struct Scene {
    pub(crate) desk: Desk,
    pub(crate) okta: KnownDirectory,
}

pub(crate) fn token(desk: &Desk, text: &str, read_only: bool) -> NewToken {
    let expires = desk.world.clock.now().plus(Duration::from_hours(24));
    NewToken { digest: Sha256Digest::of(text.as_bytes()), expires, read_only }
}

fn read(of: &'static ResourceType, said: Value) -> Resource {
    of.read(said).expect("it makes sense")
}

pub(crate) fn user(name: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": name, "externalId": format!("x-{name}"),
    })
}

pub(crate) fn at_work(name: &str, department: &str, manager: &str) -> Value {
    let mut user = user(name);
    user["schemas"] = json!([user["schemas"][0], WORK]);
    user[WORK] = json!({ "department": department, "manager": { "value": manager } });
    user
}

fn group(name: &str, members: &[&str]) -> Value {
    let members: Vec<_> = members.iter().map(|id| json!({ "value": id })).collect();
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": name, "members": members,
    })
}

pub(crate) fn patch(of: &'static ResourceType, operation: Value) -> Patch {
    let schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
    Patch::parse(json!({ "schemas": [schema], "Operations": [operation] }), of).expect("a patch")
}

impl Scene {
    pub(crate) async fn set() -> Self {
        Box::pin(Self::over(Desk::new().await)).await
    }

    pub(crate) async fn over(desk: Desk) -> Self {
        let logins = LoginRule { issuer: ISSUER.to_owned(), subject: LoginSubject::ExternalId };
        let (name, token) = ("okta".to_owned(), token(&desk, TOKEN, false));
        let said = DirectoryRegistration { name, logins: Some(logins), silence_min: None, token };
        desk.run(Command::DirectoryAdd(said)).await.expect("it is registered");
        let okta = desk.administration.known_directory(TOKEN).await.expect("it can be read");
        Self { desk, okta: okta.expect("it is known") }
    }

    pub(crate) async fn create(&self, said: Value) -> Result<String, Error> {
        let made = self.desk.administration.create_user(&self.okta, read(&USER, said)).await;
        made.map(|id| id.to_string())
    }

    pub(crate) async fn creates(&self, said: Value) -> String {
        self.create(said).await.expect("they are new")
    }

    pub(crate) async fn change(&self, id: &str, change: &UserChange<'_>) -> Result<(), Error> {
        self.desk.administration.change_user(&self.okta, (id, None), change).await
    }

    pub(crate) async fn replaces(&self, id: &str, said: Value) -> Result<(), Error> {
        self.change(id, &UserChange::Replace(read(&USER, said))).await
    }

    pub(crate) async fn activity(&self, id: &str, active: bool) -> Result<(), Error> {
        let operation = json!({ "op": "replace", "path": "active", "value": active });
        self.change(id, &UserChange::Patch(&patch(&USER, operation))).await
    }

    pub(crate) async fn group(&self, name: &str, members: &[&str]) -> Result<String, Error> {
        let said = read(&GROUP, group(name, members));
        self.desk.administration.create_group(&self.okta, said).await
    }

    pub(crate) async fn regroup(&self, id: &str, operation: Value) -> Result<(), Error> {
        let patch = patch(&GROUP, operation);
        let change = GroupChange::Patch(&patch);
        self.desk.administration.change_group(&self.okta, (id, None), &change).await
    }

    pub(crate) async fn person(&self, id: &str) -> Value {
        let key = FactKey::person(&id.parse().expect("a person"));
        self.desk.fact(key).await.unwrap_or(Value::Null)
    }

    async fn whose(&self, subject: &str) -> Option<Value> {
        self.desk.fact(FactKey::login(ISSUER, subject)).await
    }

    pub(crate) fn place(&self, kind: Kind) -> Place<'_> {
        Place { directory: &self.okta.name, kind, base: BASE, members: true }
    }

    pub(crate) async fn found(&self, kind: Kind, query: &str) -> Vec<String> {
        let of = if kind == Kind::Users { &USER } else { &GROUP };
        let query = Query::of_url(query, of).expect("a query");
        let page = self.desk.administration.directory_page(&self.place(kind), &query).await;
        let ids = page.expect("it can be answered").resources.into_iter();
        ids.map(|it| it["id"].as_str().expect("an id").to_owned()).collect()
    }
}

pub(crate) fn status(answer: Result<impl Sized, Error>) -> u16 {
    answer.map_or_else(|error| error.status, |_| 200)
}

#[tokio::test]
async fn sc_02_a_user_is_a_person_who_logs_in_and_leaves() {
    let scene = Scene::set().await;
    let ann = scene.creates(at_work("Ann@Acme.example", "Desk 4", "bob")).await;
    assert_eq!(ann, "ann@acme.example");
    let person = scene.person(&ann).await;
    assert_eq!((&person["unit"], &person["manager"]), (&json!("Desk 4"), &json!("bob")));
    assert_eq!((&person["source"], &person["state"]["is"]), (&json!("okta"), &json!("active")));
    assert_eq!(scene.whose("x-Ann@Acme.example").await, Some(json!(ann)));
    scene.activity(&ann, false).await.expect("they leave");
    assert_eq!(scene.person(&ann).await["state"]["is"], "inactive");
    assert_eq!(scene.person(&ann).await["manager"], "bob", "their line is known");
    scene.desk.world.clock.advance(Duration::from_secs(5));
    scene.activity(&ann, true).await.expect("they come back");
    let now = scene.desk.world.clock.now().as_millis();
    assert_eq!(scene.person(&ann).await["state"]["authorization_cutoff"], now);
    let actions: Vec<_> = scene.desk.world.records("administration").await;
    let actions: Vec<_> = actions.iter().map(|it| it.text_of("action").to_owned()).collect();
    let told = ["people/directory", "person/provision", "person/restrict", "person/provision"];
    assert_eq!(actions, told);
}

/// Whoever left is nobody else, whatever name comes again, and comes back as who they were.
#[tokio::test]
async fn sc_02_a_name_that_comes_again_is_somebody_else() {
    let scene = Scene::set().await;
    let first = scene.creates(user("carla")).await;
    scene.change(&first, &UserChange::Delete).await.expect("they are deleted");
    assert_eq!(status(scene.change(&first, &UserChange::Delete).await), 404);
    assert_eq!(scene.person(&first).await["state"]["is"], "inactive");
    assert_eq!(scene.whose("x-carla").await, None);
    let another = json!({ "schemas": user("x")["schemas"], "userName": "carla" });
    assert_eq!(scene.creates(another).await, "carla-2");
    // Whom the directory knows by the same id is the same person, who comes back.
    scene.desk.world.clock.advance(Duration::from_secs(5));
    let mut back = user("carla");
    back["userName"] = json!("carla.new");
    assert_eq!(scene.creates(back).await, "carla");
    assert_eq!(scene.whose("x-carla").await, Some(json!("carla")));
    let now = scene.desk.world.clock.now().as_millis();
    assert_eq!(scene.person("carla").await["state"]["authorization_cutoff"], now);
}

#[tokio::test]
async fn sc_01_what_identifies_a_user_is_one_users() {
    let scene = Scene::set().await;
    scene.creates(user("carla")).await;
    let check = async |said: Value| {
        let error = scene.create(said).await.expect_err("somebody has it");
        assert_eq!((error.status, error.to_json()["scimType"].as_str()), (409, Some("uniqueness")));
    };
    check(user("Carla")).await;
    check(json!({ "schemas": user("x")["schemas"], "userName": "other", "externalId": "x-carla" }))
        .await;
    // Somebody whom an administrator added is nobody's to take.
    check(user(scene.desk.world.standing.other.id.as_str())).await;
    assert_eq!(scene.found(Kind::Users, "filter=userName eq \"CARLA\"").await, ["carla"]);
    assert_eq!(scene.found(Kind::Users, "filter=externalId eq \"x-carla\"").await, ["carla"]);
    assert_eq!(scene.found(Kind::Users, "filter=userName sw \"c\" and active pr").await.len(), 0);
    assert_eq!(scene.found(Kind::Users, "filter=userName sw \"c\"").await, ["carla"]);
    assert_eq!(scene.found(Kind::Users, "count=0").await.len(), 0);
}

/// Whatever a policy forbids a directory to give, what it takes away counts.
#[tokio::test]
async fn what_a_directory_takes_away_no_policy_keeps() {
    let scene = Scene::set().await;
    for name in ["ann", "ben"] {
        scene.creates(at_work(name, "Desk 4", "bob")).await;
    }
    let staff = scene.group("Staff", &["ann", "ben"]).await.expect("a group");
    scene
        .desk
        .world
        .publish(&POLICY.replace("@id(\"directory\")", "@id(\"directory\") @mode(\"observe\")"))
        .await;
    assert_eq!(status(scene.create(user("dora")).await), 403);
    assert_eq!(scene.person("dora").await, Value::Null);
    // Of a request that does both, what takes away.
    let moved = UserChange::Replace(read(&USER, at_work("ann", "Desk 9", "carl")));
    assert_eq!(status(scene.change("ann", &moved).await), 403);
    let ann = scene.person("ann").await;
    assert_eq!((ann.get("unit"), ann.get("manager")), (None, None));
    assert!(ann["moved"].is_i64(), "{ann}");
    let leaves = json!({ "op": "remove", "path": "members[value eq \"ann\"]" });
    assert_eq!(status(scene.regroup(&staff, leaves).await), 200);
    assert_eq!(scene.person("ann").await["groups"], json!([]));
    assert_eq!(status(scene.activity("ben", false).await), 200);
    assert_eq!(scene.person("ben").await["state"]["is"], "inactive");
    assert_eq!(status(scene.activity("ben", true).await), 403);
    assert_eq!(scene.person("ben").await["state"]["is"], "inactive");
    assert_eq!(status(scene.change("ann", &UserChange::Delete).await), 200);
    assert_eq!(scene.person("ann").await["state"]["is"], "inactive");
}

/// Other roles are another role. In which order they are said and how they are shown, and what is said of a person
/// besides, is not.
#[tokio::test]
async fn sc_02_who_has_other_roles_has_moved() {
    let scene = Scene::set().await;
    let with = |roles: Value| {
        let mut said = user("ann");
        said["roles"] = roles;
        said
    };
    scene.creates(with(json!([{ "value": "a" }, { "value": "b" }]))).await;
    let check = async |said: Value, moves: bool| {
        scene.desk.world.clock.advance(Duration::from_secs(1));
        scene.replaces("ann", said.clone()).await.expect("it is said");
        let now = json!(scene.desk.world.clock.now());
        assert_eq!(scene.person("ann").await["moved"] == now, moves, "{said}");
    };
    check(with(json!([{ "value": "B", "display": "Bee" }, { "value": "a" }])), false).await;
    let mut titled = with(json!([{ "value": "a" }, { "value": "b" }]));
    (titled["title"], titled["userType"]) = (json!("Dr"), json!("Contractor"));
    check(titled, false).await;
    check(with(json!([{ "value": "a" }])), true).await;
    check(with(json!([{ "value": "c" }])), true).await;
    check(user("ann"), true).await;
    check(user("ann"), false).await;
    check(with(json!([{ "value": "c" }])), true).await;
}

/// Who leaves is gone, whatever else of the request is refused; and nobody comes back unasked.
#[tokio::test]
async fn who_leaves_is_gone_whatever_else_is_refused() {
    let scene = Scene::set().await;
    for name in ["former", "ann", "ben"] {
        scene.creates(at_work(name, "Desk 4", "bob")).await;
    }
    let gone = |mut said: Value| {
        said["active"] = json!(false);
        UserChange::Replace(read(&USER, said))
    };
    let mut renamed = user("ann");
    renamed["userName"] = json!("former");
    assert_eq!(status(scene.change("ann", &gone(renamed)).await), 409);
    let ann = scene.person("ann").await;
    assert_eq!(ann["state"]["is"], "inactive");
    assert_eq!((&ann["manager"], &ann["unit"]), (&json!("bob"), &json!("Desk 4")), "their line");
    // What is said of them afterwards brings them back only if it says so.
    let title = patch(&USER, json!({ "op": "add", "path": "title", "value": "Dr" }));
    scene.change("ann", &UserChange::Patch(&title)).await.expect("it is kept");
    let unsaid = patch(&USER, json!({ "op": "remove", "path": "active" }));
    scene.change("ann", &UserChange::Patch(&unsaid)).await.expect("it is kept");
    scene.change("ann", &UserChange::Replace(read(&USER, user("ann")))).await.expect("it is kept");
    assert_eq!(scene.person("ann").await["state"]["is"], "inactive");
    scene.activity("ann", true).await.expect("they come back");
    assert_eq!(scene.person("ann").await["state"]["is"], "active");
    // Whom an administrator deactivated, likewise.
    let deactivate = Command::PersonDeactivate { id: "ben".to_owned() };
    scene.desk.run(deactivate).await.expect("they are deactivated");
    scene.change("ben", &UserChange::Patch(&title)).await.expect("it is kept");
    assert_eq!(scene.person("ben").await["state"]["is"], "inactive");
    scene.change("former", &UserChange::Delete).await.expect("they are deleted");
    assert_eq!(scene.person("former").await["manager"], "bob", "their line");
}

/// What is refused of a group leaves nobody in it, and who leaves it has none of its names.
#[tokio::test]
async fn a_group_that_is_refused_or_cut_short_gives_nobody_anything() {
    let scene = Scene::set().await;
    for name in ["ann", "ben"] {
        scene.creates(user(name)).await;
    }
    scene.group("Desk", &[]).await.expect("a group");
    for (name, members, expected) in [
        ("Staff", ["ann", "nobody"], 400),
        ("Approvers", ["ann", "ben"], 403),
        ("desk", ["ann", "ben"], 409),
    ] {
        assert_eq!(status(scene.group(name, &members).await), expected, "{name}");
        assert_eq!(scene.person("ann").await["groups"], json!([]), "{name}");
    }
    assert_eq!(scene.found(Kind::Groups, "").await.len(), 1);
    // Renamed to what only one of two may be in; then both leave.
    let id = scene.group("Staff", &["ann", "ben"]).await.expect("a group");
    let renamed = json!({ "op": "replace", "path": "displayName", "value": "Approvers" });
    assert_eq!(status(scene.regroup(&id, renamed).await), 403);
    let all = json!({ "op": "remove", "path": "members" });
    scene.regroup(&id, all).await.expect("they leave");
    for name in ["ann", "ben"] {
        assert_eq!(scene.person(name).await["groups"], json!([]), "{name}");
    }
    // A deleted user is in no group any longer.
    let joins = json!({ "op": "add", "path": "members", "value": [{ "value": "ann" }] });
    scene.regroup(&id, joins).await.expect("she joins");
    scene.change("ann", &UserChange::Delete).await.expect("she is deleted");
    let joins = json!({ "op": "add", "path": "members", "value": [{ "value": "ben" }] });
    scene.regroup(&id, joins).await.expect("he joins");
    assert_eq!(scene.person("ann").await["groups"], json!([]));
}

/// Every record of a directory's can be decided again, also of who was denied to it first.
#[tokio::test]
async fn what_a_directory_did_and_was_denied_is_replayed() {
    let scene = Scene::set().await;
    scene
        .desk
        .world
        .publish(&POLICY.replace("@id(\"directory\")", "@id(\"directory\") @mode(\"observe\")"))
        .await;
    assert_eq!(status(scene.create(user("dora")).await), 403);
    assert_eq!(status(scene.create(user("dora")).await), 403);
    scene.desk.world.publish(POLICY).await;
    scene.creates(user("dora")).await;
    scene.activity("dora", false).await.expect("she leaves");
    let told = scene.desk.run(Command::LogReplay).await.expect("it is told");
    assert_eq!((&told["differ"], &told["erased"]), (&json!([]), &json!(0)), "{told}");
}

/// A policy sees which groups somebody joins.
#[tokio::test]
async fn a_directory_makes_nobody_what_policy_keeps_for_others() {
    let scene = Scene::set().await;
    scene.creates(user("ann")).await;
    assert_eq!(status(scene.group("Approvers", &["ann"]).await), 403);
    assert_eq!(scene.person("ann").await["groups"], json!([]));
    for name in ["Administrators", "administrators ", "ADMINISTRATORS"] {
        assert_eq!(status(scene.group(name, &["ann"]).await), 400, "{name}");
    }
    assert_eq!(status(scene.group("!!!", &[]).await), 400);
    let outsider = scene.desk.world.standing.other.id.to_string();
    assert_eq!(status(scene.group("Staff", &[&outsider]).await), 400);
    assert_eq!(scene.person(&outsider).await["source"], Value::Null);
}

/// A group that is renamed while the store fails at each of its commits is what was asked for once the same
/// is asked again.
#[tokio::test]
async fn what_was_cut_short_at_any_commit_is_done_when_it_is_asked_again() {
    for fails_at in 0..8 {
        let scene = Scene::set().await;
        for name in ["ann", "ben", "cleo"] {
            scene.creates(user(name)).await;
        }
        let id = scene.group("Staff", &["ann", "ben"]).await.expect("a group");
        let said = || GroupChange::Replace(read(&GROUP, group("Desk", &["ben", "cleo"])));
        let store = &scene.desk.world.store;
        let pass =
            std::iter::repeat_with(|| OnCommit::After(store::Unit::default())).take(fails_at);
        let refuse = CommitError::Unavailable("the disk is full".into());
        store.on_commit(pass.chain([OnCommit::Refuse(refuse)]));
        let administration = &scene.desk.administration;
        let first = administration.change_group(&scene.okta, (&id, None), &said()).await;
        let reached = store.commits_left() == 0;
        assert_eq!(first.is_err(), reached, "at {fails_at}");
        if !reached {
            assert!(fails_at > 4, "there are more commits than that");
            return;
        }
        administration.change_group(&scene.okta, (&id, None), &said()).await.expect("it is done");
        for (name, groups) in
            [("ann", json!([])), ("ben", json!(["desk"])), ("cleo", json!(["desk"]))]
        {
            assert_eq!(scene.person(name).await["groups"], groups, "{name}, at {fails_at}");
        }
        assert_eq!(scene.found(Kind::Groups, "filter=displayName eq \"Desk\"").await, [id]);
    }
    panic!("it never came to its end");
}

/// One thing that a directory says.
#[derive(Clone, Debug)]
enum Said {
    Create(u8),
    Active(u8, bool),
    Joins(u8, u8),
    Leaves(u8, u8),
    Delete(u8),
}

fn said() -> impl Strategy<Value = Said> {
    let (who, which) = (0..3_u8, 0..2_u8);
    prop_oneof![
        who.clone().prop_map(Said::Create),
        (who.clone(), any::<bool>()).prop_map(|(who, active)| Said::Active(who, active)),
        (who.clone(), which.clone()).prop_map(|(who, which)| Said::Joins(who, which)),
        (who.clone(), which).prop_map(|(who, which)| Said::Leaves(who, which)),
        who.prop_map(Said::Delete),
    ]
}

/// What a directory last said of each of its users: active, and in which groups.
type Model = BTreeMap<String, (bool, BTreeSet<String>)>;

/// Whatever a directory says, in whatever order: who is there is who it last said, in the groups that it
/// last said, and nobody else.
#[test]
fn who_is_there_is_whom_the_directory_last_said() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(24));
    let cases = proptest::collection::vec(said(), 1..16);
    let checked = runner.run(&cases, |all| {
        runtime.block_on(follows(&all));
        Ok(())
    });
    checked.expect("it follows");
}

async fn follows(all: &[Said]) {
    let scene = Scene::set().await;
    let groups = ["one", "two"];
    let mut ids = Vec::new();
    for name in groups {
        ids.push(scene.group(name, &[]).await.expect("a group"));
    }
    let mut model = Model::new();
    let mut of: BTreeMap<u8, String> = BTreeMap::new();
    for said in all {
        scene.desk.world.clock.advance(Duration::from_secs(1));
        match said {
            Said::Create(who) => {
                if let Ok(id) = scene.create(user(&format!("p{who}"))).await {
                    assert!(!of.values().any(|known| *known == id), "an id was given again");
                    model.insert(id.clone(), (true, BTreeSet::new()));
                    of.insert(*who, id);
                }
            }
            Said::Active(who, active) => {
                let Some(id) = of.get(who) else { continue };
                scene.activity(id, *active).await.expect("they are known");
                model.get_mut(id).expect("they are known").0 = *active;
            }
            Said::Joins(who, which) => {
                let Some(id) = of.get(who) else { continue };
                let which = usize::from(*which);
                let joins = json!({ "op": "add", "path": "members", "value": [{ "value": id }] });
                scene.regroup(&ids[which], joins).await.expect("they join");
                model.get_mut(id).expect("they are known").1.insert(groups[which].to_owned());
            }
            Said::Leaves(who, which) => {
                let Some(id) = of.get(who) else { continue };
                let which = usize::from(*which);
                let leaves =
                    json!({ "op": "remove", "path": format!("members[value eq \"{id}\"]") });
                // Who is not in it leaves nothing (`noTarget`).
                let _ = scene.regroup(&ids[which], leaves).await;
                model.get_mut(id).expect("they are known").1.remove(groups[which]);
            }
            Said::Delete(who) => {
                let Some(id) = of.remove(who) else { continue };
                scene.change(&id, &UserChange::Delete).await.expect("they are known");
                model.insert(id, (false, BTreeSet::new()));
            }
        }
    }
    for (id, (active, groups)) in &model {
        let person = scene.person(id).await;
        let state = if *active { "active" } else { "inactive" };
        assert_eq!((&person["state"]["is"], &person["groups"]), (&json!(state), &json!(groups)));
    }
    let there: BTreeSet<_> = scene.found(Kind::Users, "").await.into_iter().collect();
    assert_eq!(there, of.into_values().collect());
}
