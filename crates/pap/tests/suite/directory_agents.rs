//! Agents, as directories see them and register them: nothing that a directory says lets one act.

use std::time::Duration;

use model::{Agent, AgentState, Clock as _, FactKey, Mandate, MandateId};
use pap::directory::{AgentChange, Kind, Place, SCANNED_MAX};
use pap::{AdminError, Command, DirectoryRegistration};
use proptest::prelude::*;
use scim::{AGENT, Error, GOVERNANCE, Query, Resource, Version};
use serde_json::{Value, json};
use store::{Effect, Store as _, Unit};

use crate::desk::{SAM, jwk};
use crate::directories::{BASE, Scene, patch, status, token, user};

/// A deployment whose directory has a user who answers for agents.
pub(crate) async fn scene() -> Scene {
    let scene = Box::pin(Scene::set()).await;
    let adopt = Command::DirectoryAdopt { name: "okta".to_owned(), person: SAM.to_owned() };
    scene.desk.run(adopt).await.expect("they are its own");
    scene
}

pub(crate) fn agent(name: &str) -> Value {
    let sam = json!({ "value": SAM });
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Agent", GOVERNANCE],
        "agentUserName": name, "displayName": name.to_uppercase(), "externalId": "x-1",
        GOVERNANCE: {
            "sponsor": sam, "businessOwner": sam, "technicalOwner": sam, "purposes": ["care"],
        },
    })
}

impl Scene {
    pub(crate) async fn enrol(&self, said: Value) -> Result<String, Error> {
        let said = AGENT.read(said)?;
        self.desk.administration.create_agent(&self.okta, &said).await
    }

    pub(crate) async fn alter(&self, id: &str, change: &AgentChange<'_>) -> Result<(), Error> {
        self.desk.administration.change_agent(&self.okta, (id, None), change).await
    }

    async fn says(&self, id: &str, operation: Value) -> Result<(), Error> {
        self.alter(id, &AgentChange::Patch(&patch(&AGENT, operation))).await
    }

    pub(crate) async fn is_active(&self, id: &str, active: bool) -> Result<(), Error> {
        self.says(id, json!({ "op": "replace", "path": "active", "value": active })).await
    }

    async fn renew(&self, id: &str) -> Result<Value, AdminError> {
        let (name, key) = (id.to_owned(), Some(jwk()));
        self.desk.run(Command::AgentRenew { name, key, compromised: false, word: None }).await
    }

    async fn registered(&self, id: &str) -> Option<Agent> {
        let fact = self.desk.fact(FactKey::agent(&id.parse().expect("an agent"))).await?;
        Some(serde_json::from_value(fact).expect("an agent"))
    }

    async fn seen(&self, id: &str) -> Result<(Resource, Version), Error> {
        self.desk.administration.directory_resource(&self.agents(), id).await
    }

    async fn sought(&self, query: &str) -> Vec<String> {
        let query = Query::of_url(query, &AGENT).expect("a query");
        let page = self.desk.administration.directory_page(&self.agents(), &query).await;
        let ids = page.expect("it can be answered").resources.into_iter();
        ids.map(|it| it["id"].as_str().expect("an id").to_owned()).collect()
    }

    fn agents(&self) -> Place<'_> {
        Place { directory: &self.okta.name, kind: Kind::Agents, base: BASE, members: true }
    }

    /// Whether anything of the agent may act.
    async fn may_act(&self, id: &str) -> bool {
        let agent = self.registered(id).await;
        let now = self.desk.world.clock.now();
        agent.is_some_and(|it| it.state == AgentState::Active && it.is_leased(now))
    }
}

/// What somebody does with the agent `desk`.
#[derive(Clone, Copy, Debug)]
enum Act {
    Create,
    Inactive,
    Active,
    Replace,
    Describe,
    Delete,
    /// The sponsor, by their own act.
    Renew,
}

/// Where the agent stands, as it must.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stands {
    Unknown,
    Dormant,
    Live,
    Gone,
}

/// Whatever a directory says in whatever order, an agent acts only after its sponsor said so, and never again
/// after the directory said that it is gone.
async fn acted_on(acts: &[Act]) {
    let scene = scene().await;
    let mut stands = Stands::Unknown;
    for act in acts {
        scene.desk.world.clock.advance(Duration::from_secs(1));
        let done = match act {
            Act::Create => scene.enrol(agent("desk")).await.map(drop).is_ok(),
            Act::Inactive => scene.is_active("desk", false).await.is_ok(),
            Act::Active => scene.is_active("desk", true).await.is_ok(),
            Act::Replace => {
                let said = AGENT.read(agent("desk")).expect("an agent");
                scene.alter("desk", &AgentChange::Replace(said)).await.is_ok()
            }
            Act::Describe => {
                let said = json!({ "op": "add", "path": "description", "value": "It helps." });
                scene.says("desk", said).await.is_ok()
            }
            Act::Delete => scene.alter("desk", &AgentChange::Delete).await.is_ok(),
            Act::Renew => scene.renew("desk").await.is_ok(),
        };
        stands = match (stands, act) {
            (Stands::Unknown, Act::Create) => Stands::Dormant,
            (Stands::Dormant | Stands::Live, Act::Inactive | Act::Delete) => Stands::Gone,
            (Stands::Dormant, Act::Renew) => Stands::Live,
            (stands, _) => stands,
        };
        assert_eq!(scene.may_act("desk").await, stands == Stands::Live, "{act:?} {done} {acts:?}");
        let is_widening = matches!(act, Act::Create | Act::Active | Act::Renew);
        assert!(!is_widening || !done || stands != Stands::Gone, "{act:?} {acts:?}");
    }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let one = prop_oneof![
        3 => Just(Act::Create),
        1 => Just(Act::Inactive),
        2 => Just(Act::Active),
        2 => Just(Act::Replace),
        1 => Just(Act::Describe),
        1 => Just(Act::Delete),
        2 => Just(Act::Renew),
    ];
    prop::collection::vec(one, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_directory_says_lets_an_agent_act(acts in acts()) {
        tokio::runtime::Runtime::new().expect("a runtime").block_on(Box::pin(acted_on(&acts)));
    }
}

/// What a directory registers has no key, no lease and no boundary: the sponsor gives it the first two, and an
/// administrator answers for the third before it does more than read.
#[tokio::test]
async fn what_a_directory_registers_waits_for_its_sponsor() {
    let scene = scene().await;
    assert_eq!(scene.enrol(agent("desk")).await.expect("it is new"), "desk");
    let now = scene.desk.world.clock.now();
    let desk = scene.registered("desk").await.expect("it is registered");
    assert_eq!((desk.source, desk.bounded_by), (Some(scene.okta.name.clone()), None));
    assert_eq!((desk.valid_until, desk.key_expires, &desk.key), (Some(now), now, &Value::Null));
    let care = "care".parse().expect("a purpose");
    let id = scene.desk.fact(FactKey::standing_mandate(&desk.name, &care)).await.expect("one");
    let id: MandateId = serde_json::from_value(id).expect("an id");
    let mandate = scene.desk.fact(FactKey::mandate(id)).await.expect("it is known");
    let mandate: Mandate = serde_json::from_value(mandate).expect("a mandate");
    assert_eq!((mandate.valid_until, &mandate.scope), (now, &desk.ceiling));
    // What is told changes when the sponsor renews it, and with it the version.
    let (told, version) = scene.seen("desk").await.expect("it is seen");
    assert_eq!(told[GOVERNANCE]["leaseUntil"], now.to_string());
    assert_eq!(told["owners"], json!([{ "value": SAM, "$ref": format!("{BASE}/Users/{SAM}") }]));
    scene.desk.world.clock.advance(Duration::from_mins(1));
    scene.renew("desk").await.expect("its sponsor renews it");
    let (again, renewed) = scene.seen("desk").await.expect("it is seen");
    assert!(version != renewed && again["meta"]["lastModified"] != told["meta"]["lastModified"]);
    let stale =
        AgentChange::Patch(&patch(&AGENT, json!({ "op": "remove", "path": "displayName" })));
    let tag = version.to_string();
    let named = ("desk", Some(tag.as_str()));
    let changed = scene.desk.administration.change_agent(&scene.okta, named, &stale).await;
    assert_eq!(status(changed), 412);
    let actions = scene.desk.world.records("administration").await;
    let actions: Vec<_> = actions.iter().map(|it| it.text_of("action").to_owned()).collect();
    let expected = ["people/directory", "people/directory", "agent/provision", "agent/renew"];
    assert_eq!(actions, expected);
}

#[tokio::test]
async fn who_is_named_is_here_and_the_directorys_own() {
    let scene = scene().await;
    let gone = scene.creates(user("gone")).await;
    scene.activity(&gone, false).await.expect("they leave");
    let other = scene.desk.world.standing.other.id.to_string();
    let before = scene.desk.revision().await;
    let check = async |change: &dyn Fn(&mut Value), kind: &str, expected: &str| {
        let mut said = agent("desk");
        change(&mut said);
        let error = scene.enrol(said).await.expect_err(expected);
        assert_eq!(error.to_json()["scimType"], kind, "{error}");
        assert_eq!(error.detail, expected);
    };
    let named = |member: &'static str, who: &str| {
        let who = json!({ "value": who });
        move |said: &mut Value| said[GOVERNANCE][member] = who.clone()
    };
    for member in ["sponsor", "businessOwner", "technicalOwner"] {
        let refused = |why: &str| format!("`{member}`: {why}");
        let inactive = refused("`gone` is not active");
        check(&named(member, "gone"), "invalidValue", &inactive).await;
        let stranger = refused("`nobody` is no user of this directory");
        check(&named(member, "nobody"), "invalidValue", &stranger).await;
        let foreign = refused(&format!("`{other}` is no user of this directory"));
        check(&named(member, &other), "invalidValue", &foreign).await;
        let missing = format!("attribute `{member}` is required");
        let remove = |said: &mut Value| said[GOVERNANCE][member] = Value::Null;
        check(&remove, "invalidValue", &missing).await;
    }
    let purposes = |all: Value| move |said: &mut Value| said[GOVERNANCE]["purposes"] = all.clone();
    let missing = "attribute `purposes` is required";
    for nothing in [Value::Null, json!([])] {
        check(&purposes(nothing), "invalidValue", missing).await;
    }
    let unknown = "`purposes`: there is no `none`";
    check(&purposes(json!(["none"])), "invalidValue", unknown).await;
    let several = "`purposes`: an agent is registered for one";
    check(&purposes(json!(["care", "none"])), "invalidValue", several).await;
    let name = |name: &'static str| move |said: &mut Value| said["agentUserName"] = json!(name);
    check(&name("billing"), "uniqueness", "`billing` is, or was, an agent").await;
    let odd = "`agentUserName`: `Desk 4` is not an agent name: expected 1 to 63 characters of a-z, 0-9 and `-`";
    check(&name("Desk 4"), "invalidValue", odd).await;
    assert_eq!(scene.desk.revision().await, before, "nothing was written");
}

/// What policy does not permit is not registered; that something is gone no policy keeps.
#[tokio::test]
async fn policy_says_which_agents_a_directory_registers() {
    let scene = scene().await;
    scene.creates(user("ida")).await;
    let operation = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "Interns", "members": [{ "value": "ida" }] });
    let group = scim::GROUP.read(operation).expect("a group");
    scene.desk.administration.create_group(&scene.okta, group).await.expect("a group");
    let mut said = agent("desk");
    said[GOVERNANCE]["sponsor"] = json!({ "value": "ida" });
    assert_eq!(status(scene.enrol(said).await), 403);
    assert!(scene.registered("desk").await.is_none());
    scene.enrol(agent("desk")).await.expect("it is permitted");
    let observed = crate::support::POLICY
        .replace("@id(\"directory-agents\")", "@id(\"directory-agents\") @mode(\"observe\")");
    scene.desk.world.publish(&observed).await;
    assert_eq!(status(scene.enrol(agent("other")).await), 403);
    scene.is_active("desk", false).await.expect("no policy keeps it");
    scene.alter("desk", &AgentChange::Delete).await.expect("no policy keeps it");
}

/// A directory sees what it registered and what its people answer for, and changes the former only.
#[tokio::test]
async fn an_agent_is_changed_by_the_directory_that_registered_it() {
    let scene = scene().await;
    scene.enrol(agent("desk")).await.expect("it is new");
    assert_eq!(scene.sought("").await, ["billing", "desk"]);
    let by_sponsor = format!("filter={GOVERNANCE}:sponsor.value eq \"{SAM}\" and externalId pr");
    assert_eq!(scene.sought(&by_sponsor).await, ["desk"]);
    assert_eq!(scene.sought("filter=agentUserName eq \"Desk\"").await, ["desk"]);
    assert_eq!(scene.sought("startIndex=2&count=5").await, ["desk"]);
    let past = "filter=active eq true and userName eq \"x\"";
    assert_eq!(scene.sought(past).await, Vec::<String>::new());
    // One that somebody else registered is shown, and is theirs.
    assert_eq!(scene.seen("billing").await.expect("it is seen").0["active"], true);
    assert_eq!(status(scene.is_active("billing", false).await), 403);
    assert_eq!(status(scene.alter("billing", &AgentChange::Delete).await), 403);
    assert!(scene.may_act("billing").await);
    // To another directory none of it is there.
    let desk = &scene.desk;
    let other = "other.secret";
    let said = DirectoryRegistration {
        name: "other".to_owned(),
        logins: None,
        silence_min: None,
        token: token(desk, other, false),
    };
    desk.run(Command::DirectoryAdd(said)).await.expect("it is registered");
    let okta = desk.administration.known_directory(other).await.expect("it can be read");
    let (desk, okta) = (scene.desk, okta.expect("it is known"));
    let scene = Scene { desk, okta };
    assert_eq!(scene.sought("").await, Vec::<String>::new());
    for id in ["desk", "billing", "nobody", "Not a name"] {
        assert_eq!(status(scene.seen(id).await), 404, "{id}");
        assert_eq!(status(scene.alter(id, &AgentChange::Delete).await), 404, "{id}");
    }
    let refused = scene.enrol(agent("desk")).await.expect_err("it has no such user");
    assert_eq!(refused.detail, format!("`sponsor`: `{SAM}` is no user of this directory"));
}

/// Who answers for an agent is no directory's to change, and neither is what it is for.
#[tokio::test]
async fn who_answers_for_an_agent_is_not_the_directorys_to_change() {
    let scene = scene().await;
    scene.creates(user("ida")).await;
    scene.enrol(agent("desk")).await.expect("it is new");
    let before = scene.registered("desk").await;
    let check = async |path: &str, value: Value| {
        let path = format!("{GOVERNANCE}:{path}");
        let said = json!({ "op": "replace", "path": path, "value": value });
        let error = scene.says("desk", said).await.expect_err("it is not its to change");
        assert_eq!(error.to_json()["scimType"], "mutability", "{error}");
    };
    for member in ["sponsor", "businessOwner", "technicalOwner"] {
        check(&format!("{member}.value"), json!("ida")).await;
    }
    check("purposes", json!(["other"])).await;
    let mut said = agent("desk");
    said[GOVERNANCE]["sponsor"] = json!({ "value": "ida" });
    let said = AGENT.read(said).expect("an agent");
    assert_eq!(status(scene.alter("desk", &AgentChange::Replace(said)).await), 400);
    let read_only = [json!(["crm/*"]), json!("2099-01-01T00:00:00Z")];
    for (member, value) in ["tools", "leaseUntil"].into_iter().zip(read_only) {
        let path = format!("{GOVERNANCE}:{member}");
        let schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
        let body = json!({ "schemas": [schema],
            "Operations": [{ "op": "replace", "path": path, "value": value }] });
        let error = scim::Patch::parse(body, &AGENT).expect_err("it is nobody's to write");
        assert_eq!(error.to_json()["scimType"], "mutability");
    }
    assert_eq!(scene.registered("desk").await, before);
}

/// What a directory takes away counts, whoever answers for the agent by now; the rest of what it says is
/// judged after that.
#[tokio::test]
async fn an_agent_is_suspended_by_its_directory_whoever_took_it_over() {
    for (member, followed) in [("sponsor", true), ("technicalOwner", false)] {
        let scene = scene().await;
        scene.creates(user("ida")).await;
        let mut said = agent("desk");
        said[GOVERNANCE][member] = json!({ "value": "ida" });
        scene.enrol(said.clone()).await.expect("it is new");
        let mut desk = scene.registered("desk").await.expect("it is registered");
        desk.technical_owner = SAM.parse().expect("a person");
        if followed {
            desk.sponsor = SAM.parse().expect("a person");
        }
        scene.desk.world.put(FactKey::agent(&desk.name), &desk).await;
        said["active"] = json!(false);
        said["displayName"] = json!("Another");
        let said = AGENT.read(said).expect("an agent");
        let refused = scene.alter("desk", &AgentChange::Replace(said)).await;
        let refused = refused.expect_err("the rest is not its to change");
        assert_eq!(refused.to_json()["scimType"], "mutability", "{refused}");
        assert!(!scene.may_act("desk").await);
        let (told, _) = scene.seen("desk").await.expect("it is seen");
        assert_eq!((&told["active"], &told["displayName"]), (&json!(false), &json!("DESK")));
        let suspended = scene.registered("desk").await.expect("it is registered").state;
        assert!(matches!(suspended, AgentState::Suspended { .. }), "{suspended:?}");
    }
    // What else is asked for, and may be, is done too.
    let scene = scene().await;
    scene.enrol(agent("desk")).await.expect("it is new");
    let mut said = agent("desk");
    (said["active"], said["displayName"]) = (json!(false), json!("Another"));
    let said = AGENT.read(said).expect("an agent");
    scene.alter("desk", &AgentChange::Replace(said)).await.expect("all of it is done");
    let (told, _) = scene.seen("desk").await.expect("it is seen");
    assert_eq!((&told["active"], &told["displayName"]), (&json!(false), &json!("Another")));
}

/// Saying nothing of who is not active says nothing, and who is gone is so since they first stopped.
#[tokio::test]
async fn a_suspension_is_not_taken_back_by_saying_nothing() {
    let scene = scene().await;
    scene.enrol(agent("desk")).await.expect("it is new");
    scene.renew("desk").await.expect("its sponsor renews it");
    scene.is_active("desk", false).await.expect("it is suspended");
    let suspended = scene.registered("desk").await.expect("it is registered").state;
    scene.desk.world.clock.advance(Duration::from_secs(1));
    scene.says("desk", json!({ "op": "remove", "path": "active" })).await.expect("it is heard");
    let said = AGENT.read(agent("desk")).expect("an agent");
    scene.alter("desk", &AgentChange::Replace(said)).await.expect("it is heard");
    // What it no longer says it is not told; it is not told either that the agent may act.
    assert_eq!(scene.seen("desk").await.expect("it is seen").0["active"], Value::Null);
    assert!(scene.renew("desk").await.is_err(), "nor does its sponsor bring it back");
    let back = scene.is_active("desk", true).await.expect_err("it does not come back");
    assert_eq!(back.to_json()["scimType"], "mutability");
    assert_eq!(scene.registered("desk").await.expect("it is registered").state, suspended);
    scene.alter("desk", &AgentChange::Delete).await.expect("it is gone");
    let retired = scene.registered("desk").await.expect("it is registered").state;
    assert!(matches!(retired, AgentState::Retired { .. }), "{retired:?}");
    assert_eq!(retired.stopped(), suspended.stopped());
}

/// Who may not register agents does not learn what there is by trying.
#[tokio::test]
async fn i_21_who_may_register_no_agent_is_not_told_what_there_is() {
    let scene = scene().await;
    let observed = crate::support::POLICY
        .replace("@id(\"directory-agents\")", "@id(\"directory-agents\") @mode(\"observe\")");
    scene.desk.world.publish(&observed).await;
    let tried = async |name: &str, purpose: &str| {
        let mut said = agent(name);
        said[GOVERNANCE]["purposes"] = json!([purpose]);
        let error = scene.enrol(said).await.expect_err("it is not permitted");
        let (why, _) = error.detail.split_once("(decision ").expect("it is recorded");
        (error.status, why.to_owned())
    };
    let expected = tried("desk", "care").await;
    assert_eq!(expected.0, 403);
    for (name, purpose) in [("billing", "care"), ("desk", "none"), ("billing", "none")] {
        assert_eq!(tried(name, purpose).await, expected, "{name} {purpose}");
    }
}

/// An agent's people are told to the directory that they are of, and to no other.
#[tokio::test]
async fn a_directory_is_told_of_its_own_people_alone() {
    let scene = scene().await;
    scene.enrol(agent("desk")).await.expect("it is new");
    let other = scene.desk.world.standing.other.id.clone();
    let mut desk = scene.registered("desk").await.expect("it is registered");
    (desk.sponsor, desk.technical_owner) = (other.clone(), other.clone());
    scene.desk.world.put(FactKey::agent(&desk.name), &desk).await;
    let (told, _) = scene.seen("desk").await.expect("it registered it");
    let hidden = json!({ "value": "(of another source)" });
    let governance = &told[GOVERNANCE];
    assert_eq!((&governance["sponsor"], &governance["technicalOwner"]), (&hidden, &hidden));
    assert_eq!(governance["businessOwner"]["value"], SAM);
    assert_eq!(told["owners"].as_array().expect("there is one").len(), 1);
    assert!(!Value::Object(told.clone()).to_string().contains(other.as_str()));
    let by = |who: &str| format!("filter={GOVERNANCE}:sponsor.value eq \"{who}\" and active pr");
    assert_eq!(scene.sought(&by(other.as_str())).await, Vec::<String>::new());
    // What it read it may say again; whom it cannot see it can neither name nor guess.
    let mut said = agent("desk");
    said[GOVERNANCE] = governance.clone();
    let same = AGENT.read(said.clone()).expect("an agent");
    scene.alter("desk", &AgentChange::Replace(same)).await.expect("nothing of it is other");
    said[GOVERNANCE]["sponsor"] = json!({ "value": other });
    let guess = AGENT.read(said).expect("an agent");
    assert_eq!(status(scene.alter("desk", &AgentChange::Replace(guess)).await), 400);
    scene.is_active("desk", false).await.expect("it takes away");
}

/// What a filter looks through is what the directory sees, up to a limit.
#[tokio::test]
async fn i_18_a_filter_of_agents_looks_through_what_the_directory_sees() {
    let scene = scene().await;
    let world = &scene.desk.world;
    let put = async |first: usize, change: &dyn Fn(&mut Agent)| {
        let mut effects = Vec::new();
        for number in first..first + 1_000 {
            let mut agent = world.standing.agent.clone();
            agent.name = format!("more-{number}").parse().expect("a name");
            change(&mut agent);
            let body = serde_json::to_vec(&agent).expect("an agent");
            effects.push(Effect::Put { key: FactKey::agent(&agent.name), body });
        }
        world.store.commit(Unit { effects, ..Unit::default() }).await.expect("they are written");
    };
    let others = |agent: &mut Agent| agent.sponsor = world.standing.other.id.clone();
    let retired = |agent: &mut Agent| agent.retire(agent.registered);
    let own = |agent: &mut Agent| agent.sponsor = SAM.parse().expect("a person");
    put(0, &others).await;
    put(1_000, &retired).await;
    // With `billing` they are as many as may be.
    for first in (2_000..2_000 + SCANNED_MAX).step_by(1_000) {
        put(first, &own).await;
    }
    let last = format!("more-{}", 2_000 + SCANNED_MAX - 1);
    let gone = FactKey::agent(&last.parse().expect("a name"));
    let effects = vec![Effect::Remove { key: gone.clone() }];
    world.store.commit(Unit { effects, ..Unit::default() }).await.expect("it is removed");
    let sought = "filter=active eq true&count=1";
    assert_eq!(scene.sought(sought).await, ["billing"]);
    world.put(gone, &Agent { name: last.parse().unwrap(), ..world.standing.agent.clone() }).await;
    let query = Query::of_url(sought, &AGENT).expect("a query");
    let refused = scene.desk.administration.directory_page(&scene.agents(), &query).await;
    let refused = refused.expect_err("it is one too many");
    assert_eq!(refused.to_json()["scimType"], "tooMany");
    assert_eq!(refused.detail, "more than 10000: filter by `agentUserName` or `id` with `eq`");
}
