//! What a directory asks for that is too much, or too late.

use model::{FactKey, ScimResource};
use pap::directory::{GroupChange, Kind, SCANNED_MAX, UserChange};
use scim::{GROUP, Query, Resource, USER};
use serde_json::{Value, json};
use store::{Effect, Store as _, Unit};

use crate::directories::{Scene, patch, status, user};
use crate::directory_agents::{self, agent};

impl Scene {
    /// The resources with these numbers, each by itself and nobody's.
    async fn there_are(&self, kind: Kind, numbers: std::ops::Range<usize>) {
        let world = &self.desk.world;
        let now = world.standing.agent.registered;
        let written = |number: usize| {
            let id = format!("n{number}");
            let (key, name) = match kind {
                Kind::Users => (FactKey::scim_user(&self.okta.name, &id), "userName"),
                _ => (FactKey::scim_group(&self.okta.name, &id), "displayName"),
            };
            let resource = Resource::from_iter([(name.to_owned(), Value::String(id))]);
            let kept = ScimResource { resource, version: 1, created: now, modified: now };
            Effect::Put { key, body: serde_json::to_vec(&kept).expect("a resource") }
        };
        for first in numbers.clone().step_by(1_000) {
            let effects = (first..numbers.end.min(first + 1_000)).map(written).collect();
            let unit = Unit { effects, ..Unit::default() };
            world.store.commit(unit).await.expect("they are written");
        }
    }

    /// The version at which a resource is.
    async fn version(&self, kind: Kind, id: &str) -> String {
        let found = self.desk.administration.directory_resource(&self.place(kind), id).await;
        found.expect("it is there").1.to_string()
    }
}

/// What no index answers is looked through up to its limit, and beyond it is refused; what an index answers is
/// found however many there are.
#[tokio::test]
async fn sc_01_a_filter_looks_through_so_many_and_no_more() {
    let check = async |kind: Kind, known: &str, by: &str| {
        let scene = Box::pin(Scene::set()).await;
        scene.there_are(kind, 0..SCANNED_MAX).await;
        let sought = "filter=externalId pr or id eq \"n7\"";
        assert_eq!(scene.found(kind, sought).await, ["n7"]);
        scene.there_are(kind, SCANNED_MAX..SCANNED_MAX + 1).await;
        let of = if kind == Kind::Users { &USER } else { &GROUP };
        let query = Query::of_url(sought, of).expect("a query");
        let page = scene.desk.administration.directory_page(&scene.place(kind), &query).await;
        let refused = page.expect_err("it is one too many");
        assert_eq!((refused.status, &refused.to_json()["scimType"]), (400, &json!("tooMany")));
        let why = format!("more than {SCANNED_MAX}: filter by {by} with `eq`");
        assert_eq!(refused.detail, why);
        assert_eq!(scene.found(kind, "filter=id eq \"n7\" and not (externalId pr)").await, ["n7"]);
        assert_eq!(scene.found(kind, &format!("filter={known} eq \"none\"")).await.len(), 0);
    };
    check(Kind::Users, "userName", "`userName`, `externalId` or `id`").await;
    check(Kind::Groups, "displayName", "`displayName` or `id`").await;
}

/// Of two that read one version, whoever comes second changes nothing if they name it. What names none is taken as it
/// comes: there is nothing else by which one could be later.
#[tokio::test]
async fn sc_01_what_comes_late_and_names_its_version_changes_nothing() {
    let scene = Box::pin(Scene::set()).await;
    let ann = scene.creates(user("ann")).await;
    let staff = scene.group("Staff", &[]).await.expect("a group");
    let read = scene.version(Kind::Users, &ann).await;
    let group_read = scene.version(Kind::Groups, &staff).await;
    let active = |value: bool| json!({ "op": "replace", "path": "active", "value": value });
    scene.activity(&ann, false).await.expect("she leaves");
    let renamed = json!({ "op": "replace", "path": "displayName", "value": "Desk" });
    scene.regroup(&staff, renamed).await.expect("it is renamed");
    // Both were sent before, and come after.
    let before = scene.desk.revision().await;
    let administration = &scene.desk.administration;
    let back = patch(&USER, active(true));
    for change in [UserChange::Patch(&back), UserChange::Delete] {
        let late = administration.change_user(&scene.okta, (&ann, Some(&read)), &change).await;
        assert_eq!(status(late), 412);
    }
    let joins = json!({ "op": "add", "path": "members", "value": [{ "value": ann }] });
    let joins = patch(&GROUP, joins);
    for change in [GroupChange::Patch(&joins), GroupChange::Delete] {
        let named = (staff.as_str(), Some(group_read.as_str()));
        let late = administration.change_group(&scene.okta, named, &change).await;
        assert_eq!(status(late), 412);
    }
    assert_eq!(scene.desk.revision().await, before, "nothing was written");
    assert_eq!(scene.person(&ann).await["state"]["is"], "inactive");
    // Who has read it since may.
    let read = scene.version(Kind::Users, &ann).await;
    let named = (ann.as_str(), Some(read.as_str()));
    let change = UserChange::Patch(&back);
    administration.change_user(&scene.okta, named, &change).await.expect("it is at that");
    assert_eq!(scene.person(&ann).await["state"]["is"], "active");
    for there in [false, true, false] {
        scene.activity(&ann, there).await.expect("it is taken");
        let is = if there { "active" } else { "inactive" };
        assert_eq!(scene.person(&ann).await["state"]["is"], is);
    }
}

/// Whatever a directory changes, gives or takes away is announced: what else is on its way has a sync with it.
#[tokio::test]
async fn what_a_directory_says_is_announced_before_it_is_committed() {
    let scene = Box::pin(directory_agents::scene()).await;
    let store = &scene.desk.world.store;
    assert_ne!(store.unannounced(), 0, "what administrators do is not");
    let before = store.unannounced();
    for name in ["ann", "ben"] {
        scene.creates(user(name)).await;
    }
    let id = scene.group("Staff", &["ann", "ben"]).await.expect("a group");
    let remove = json!({ "op": "remove", "path": "members[value eq \"ann\"]" });
    scene.regroup(&id, remove).await.expect("she leaves");
    let rename = json!({ "op": "replace", "path": "displayName", "value": "Desk" });
    scene.regroup(&id, rename).await.expect("it is called so");
    scene.activity("ann", false).await.expect("she is gone");
    let bot = scene.enrol(agent("bot")).await.expect("it is registered");
    scene.is_active(&bot, false).await.expect("it stops");
    assert_eq!(store.unannounced(), before);
}
