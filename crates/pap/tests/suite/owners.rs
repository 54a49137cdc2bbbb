//! R12, R22: who answers for what is named, and what can do more than read waits for who is missing.

use std::time::Duration;

use model::record::OutcomeKind;
use model::{Agent, Clock as _, FactKey, Finding, Memory, Person, PersonState, Release, Stranger};
use pap::{AdminError, Command, ReleaseAsked};
use serde_json::{Value, json};

use crate::desk::{Desk, SAM, files, jwk, word};
use crate::releases::{CLOSED, House, asked};
use crate::support::{self, POLICY};

/// A deployment whose agent `bea` wants and `tom` keeps running, for a purpose of `pia`'s.
async fn desk() -> Desk {
    let desk = Desk::new().await;
    for id in ["bea", "tom", "pia", "rob"] {
        let add = Command::PersonAdd { id: id.to_owned(), groups: Vec::new() };
        desk.run(add).await.expect("they are added");
    }
    desk.owned_by(Some("bea"), Some("tom")).await;
    desk.run(desk.purpose_of("pia")).await.expect("it has an owner");
    desk.world.clock.advance(Duration::from_secs(1));
    desk
}

impl Desk {
    async fn owned_by(&self, business: Option<&str>, technical: Option<&str>) {
        let command = Command::AgentOwners {
            name: self.world.standing.agent.name.to_string(),
            business_owner: business.map(str::to_owned),
            technical_owner: technical.map(str::to_owned),
        };
        self.run(command).await.expect("it has owners");
    }

    fn purpose_of(&self, owner: &str) -> Command {
        let id = self.world.standing.purpose.id.to_string();
        Command::PurposeOwner { id, owner: owner.to_owned() }
    }

    async fn known(&self, id: &str) -> Person {
        let key = FactKey::person(&id.parse().expect("a person"));
        serde_json::from_value(self.fact(key).await.expect("they are known")).expect("a person")
    }

    async fn remembers(&self, who: &str, memory: Memory) -> &'static str {
        let name = self.world.standing.agent.name.to_string();
        let by = who.parse().expect("a person");
        word(&self.run_as(&by, Command::AgentMemory { name, memory, word: None }).await)
    }

    /// Who answers for it that the agent forgets, as the register shows it.
    async fn answers_for_memory(&self) -> Value {
        let name = self.world.standing.agent.name.to_string();
        let told = self.run(Command::RegisterShow { as_of: None, after: None }).await;
        let told = told.expect("it is shown");
        let rows = told["agents"].as_array().expect("there are some");
        let row = rows.iter().find(|row| row["name"] == *name).expect("it is shown");
        row["memory_per_task_by"].clone()
    }

    /// They leave, and come back.
    async fn comes_back(&self, id: &str) {
        let was = self.known(id).await;
        let active = PersonState::Active { authorization_cutoff: None };
        let is = was.becomes(Person { state: active, ..was.clone() }, self.world.clock.now());
        self.world.put(FactKey::person(&is.id), &is).await;
        self.world.clock.advance(Duration::from_secs(1));
    }
}

/// Reading goes on; whatever is more waits until somebody is named who is here.
#[tokio::test]
async fn r_22_nothing_that_does_more_than_read_is_done_without_its_owners() {
    for who in ["bea", "tom", "pia"] {
        let desk = desk().await;
        assert_eq!(desk.call("refund").await, "permitted");
        let permit = desk.world.authorize(desk.world.call("refund", json!({ "amount": 7 }))).await;
        let permit = permit.expect("it is permitted");
        let watch = desk.world.authority.watch(&permit);
        let _begun = permit.begin(desk.world.clock.as_ref()).expect("it begins");
        desk.run(Command::PersonDeactivate { id: who.to_owned() }).await.expect("they left");
        let cut = watch.no_longer_permitted().await;
        assert_eq!(cut.to_string(), "denied by the built-in rule `owners_not_active`", "{who}");
        assert_eq!(desk.call("refund").await, "owners_not_active", "{who}");
        assert_eq!(desk.call("lookup").await, "permitted", "{who}");
        desk.comes_back(who).await;
        assert_eq!(desk.call("refund").await, "owners_not_active", "{who} came back");
        match who {
            "bea" => desk.owned_by(Some("rob"), None).await,
            "tom" => desk.owned_by(None, Some("rob")).await,
            _ => drop(desk.run(desk.purpose_of("rob")).await.expect("it has an owner")),
        }
        assert_eq!(desk.call("refund").await, "permitted", "instead of {who}");
        let told = desk.run(Command::LogReplay).await.expect("it is told");
        assert_eq!(told["differ"], json!([]));
    }
}

/// An owner is somebody who is here: nobody else is named, and nobody stays by saying nothing.
#[tokio::test]
async fn r_12_owners_that_are_named_are_here() {
    let desk = desk().await;
    let name = desk.world.standing.agent.name.to_string();
    let owners = |business: Option<&str>| Command::AgentOwners {
        name: name.clone(),
        business_owner: business.map(str::to_owned),
        technical_owner: None,
    };
    desk.run(Command::PersonDeactivate { id: "tom".to_owned() }).await.expect("they left");
    for business in [None, Some("rob"), Some("tom"), Some("nobody")] {
        assert_eq!(word(&desk.run(owners(business)).await), "invalid", "{business:?}");
    }
    assert_eq!(word(&desk.run(desk.purpose_of("tom")).await), "invalid");
    // Whoever came back is an owner again only if somebody names them.
    desk.comes_back("tom").await;
    assert_eq!(word(&desk.run(owners(Some("rob"))).await), "invalid");
    assert_eq!(desk.call("refund").await, "owners_not_active");
    desk.owned_by(None, Some("tom")).await;
    assert_eq!(desk.call("refund").await, "permitted");
    desk.run(Command::PersonDeactivate { id: "pia".to_owned() }).await.expect("they left");
    let registration: Command = serde_json::from_value(json!({
        "do": "agent-add", "name": "new", "sponsor": SAM, "purpose": "care",
        "business_owner": SAM, "technical_owner": SAM, "key": jwk(),
    }))
    .expect("a command");
    let refused = desk.run(registration.clone()).await.expect_err("its purpose has no owner");
    assert!(refused.to_string().contains("purpose owner care"), "{refused}");
    desk.run(desk.purpose_of("rob")).await.expect("it has an owner");
    desk.run(registration).await.expect("it is registered");
}

/// Whoever registers an agent that forgets only asks for it. The word of anybody else is none, and that of its
/// technical owner ends with them; that it remembers all counts at once.
#[tokio::test]
async fn the_technical_owner_answers_for_it_that_an_agent_forgets() {
    let desk = desk().await;
    let key = FactKey::agent(&desk.world.standing.agent.name);
    let asked = desk.fact(key.clone()).await.expect("it is known");
    let asked: Agent = serde_json::from_value(asked).expect("an agent");
    desk.world.put(key, &Agent { memory: Memory::PerTask, ..asked }).await;
    assert_eq!(desk.answers_for_memory().await, Value::Null, "nobody said so");
    for who in [SAM, "bea", "rob"] {
        assert_eq!(desk.remembers(who, Memory::PerTask).await, "refused", "{who}");
    }
    assert_eq!(desk.answers_for_memory().await, Value::Null);
    // Who keeps it running sees it at the page for people.
    let tom = "tom".parse().expect("a person");
    let shown = desk.administration.sponsored(pap::By::from(&tom)).await.expect("it is told");
    let shown: Vec<_> = shown.into_iter().map(|it| it.stands).collect();
    assert_eq!(shown, [pap::Stands::Running]);
    assert_eq!(desk.remembers("tom", Memory::PerTask).await, "done");
    assert_eq!(desk.answers_for_memory().await, "tom");
    // Whoever left has said nothing, and revives nothing by coming back, nor by being named anew.
    desk.run(Command::PersonDeactivate { id: "tom".to_owned() }).await.expect("they left");
    assert_eq!(desk.answers_for_memory().await, Value::Null);
    desk.comes_back("tom").await;
    desk.owned_by(Some("bea"), Some("tom")).await;
    assert_eq!(desk.answers_for_memory().await, Value::Null);
    assert_eq!(desk.remembers("tom", Memory::PerTask).await, "done");
    assert_eq!(desk.answers_for_memory().await, "tom");
    // Nor does it pass to whoever follows.
    desk.owned_by(Some("bea"), Some("rob")).await;
    assert_eq!(desk.answers_for_memory().await, Value::Null);
    // Nor does it come back with who said it.
    desk.owned_by(Some("bea"), Some("tom")).await;
    assert_eq!(desk.answers_for_memory().await, Value::Null);
    desk.owned_by(Some("bea"), Some("rob")).await;
    assert_eq!(desk.remembers("tom", Memory::PerTask).await, "refused");
    assert_eq!(desk.remembers("rob", Memory::PerTask).await, "done");
    assert_eq!(desk.remembers("bea", Memory::Kept).await, "refused");
    assert_eq!(desk.answers_for_memory().await, "rob");
    assert_eq!(desk.remembers(SAM, Memory::Kept).await, "done");
    assert_eq!(desk.answers_for_memory().await, Value::Null);
    // Whoever came back is an owner again only once somebody names them.
    desk.run(Command::PersonDeactivate { id: "rob".to_owned() }).await.expect("they left");
    desk.comes_back("rob").await;
    assert_eq!(desk.remembers("rob", Memory::PerTask).await, "done");
    assert_eq!(desk.answers_for_memory().await, Value::Null);
    desk.owned_by(Some("bea"), Some("rob")).await;
    assert_eq!(desk.answers_for_memory().await, "rob");
}

/// Whoever takes over is what the one who left was beside, and nothing that another is.
#[tokio::test]
async fn r_13_who_takes_over_follows_in_what_the_sponsor_was_beside() {
    let desk = desk().await;
    let mut agent = desk.world.standing.agent.clone();
    (agent.technical_owner, agent.owned) = ("tom".parse().unwrap(), Some(agent.registered));
    desk.world.put(FactKey::agent(&agent.name), &agent).await;
    let mut sponsor = desk.world.standing.sponsor.clone();
    sponsor.manager = Some("rob".parse().unwrap());
    sponsor.state = PersonState::Inactive { since: desk.world.clock.now() };
    desk.world.put(FactKey::person(&sponsor.id), &sponsor).await;
    let (name, reason) = (agent.name.to_string(), "they left".to_owned());
    let command = Command::AgentTakeOver { name, reason, word: None };
    desk.run_as(&"rob".parse().unwrap(), command).await.expect("it is taken over");
    let key = FactKey::agent(&agent.name);
    let agent: Agent = serde_json::from_value(desk.fact(key).await.unwrap()).unwrap();
    let all = [&agent.sponsor, &agent.business_owner, &agent.technical_owner];
    assert_eq!(all.map(model::PersonId::as_str), ["rob", "rob", "tom"]);
}

/// R22: asked of an act, the log names who set the boundary, who put the policy in force, who owns the
/// tool, who sponsors, and who owns the rest.
#[tokio::test]
async fn r_22_who_answers_for_an_act_is_named() {
    let desk = desk().await;
    let forbid = r#"@id("never") forbid (principal, action == Action::"crm/deploy", resource);"#;
    desk.publisher.replace(files(&format!("{POLICY}{forbid}"))).await.expect("it compiles");
    let since = desk.world.clock.now().to_string();
    assert_eq!(desk.remembers("tom", Memory::PerTask).await, "done");
    desk.world.clock.advance(Duration::from_secs(1));
    let decision = desk.lose().await;
    desk.owned_by(Some("rob"), Some("rob")).await;
    // What came into force since was not what counted.
    desk.publisher.replace(files(POLICY)).await.expect("it compiles");
    desk.world.clock.advance(Duration::from_secs(1));
    desk.publisher.replace(files(&format!("{POLICY}{forbid}"))).await.expect("it compiles");
    let told: Value = desk.run(Command::LogChain { id: decision }).await.expect("it is told");
    let sam = "sam.sponsor@example.org";
    let expected = json!({
        "boundary_set_by": sam,
        // Files are nobody's.
        "policy": {
            "release": null, "owner": null, "author": null, "approver": null,
            "missing": ["owner", "author", "approver"],
            "put_in_force_by": pap::BOOTSTRAP, "since": since,
        },
        "tool_owner": sam,
        "purpose_owner": "pia",
        "business_owner": "bea",
        "technical_owner": "tom",
        "memory_per_task_by": "tom",
        "sponsor": sam,
    });
    assert_eq!(told["answerable"], expected);
    // Of each agent of the chain, the same.
    let owners = ["boundary_set_by", "business_owner", "technical_owner", "memory_per_task_by"];
    for owner in owners.into_iter().chain(["sponsor"]) {
        assert_eq!(told["chain"][0][owner], expected[owner], "{owner}");
    }
    assert_eq!((&told["data"], &told["chain"][0]["data"]), (&Value::Null, &Value::Null), "any");
}

/// A founded deployment where `olga` and `rob` are, too.
pub(crate) async fn house() -> House {
    let house = House::new().await;
    for id in ["olga", "rob"] {
        let add = Command::PersonAdd { id: id.to_owned(), groups: Vec::new() };
        house.desk.run(add).await.expect("they are added");
    }
    house
}

impl House {
    async fn publish_for(&self, version: u64, owner: &str) -> Result<Value, AdminError> {
        let (asked, files) = asked(version, CLOSED);
        let asked = ReleaseAsked { owner: Some(owner.parse().expect("a person")), ..asked };
        self.desk.run(self.published(asked, Some(files))).await
    }

    pub(crate) async fn release_for(&self, version: u64, owner: &str) {
        self.publish_for(version, owner).await.expect("it is published");
        self.approve(version).await.expect("it is approved");
        self.activate(version).await.expect("it is in force");
    }

    pub(crate) async fn leaves(&self, id: &str) {
        let leave = Command::PersonDeactivate { id: id.to_owned() };
        self.desk.run(leave).await.expect("they left");
    }

    /// Who is behind the policy of an act that is done now.
    async fn behind(&self, amount: u64) -> Value {
        let world = &self.desk.world;
        let call = world.call("refund", json!({ "amount": amount }));
        let permit = world.authorize(call).await.expect("it is permitted");
        let decision = permit.context().decision.to_string();
        let begun = permit.begin(world.clock.as_ref()).expect("it begins");
        begun.running.finish(OutcomeKind::Returned, None);
        world.clock.advance(Duration::from_secs(1));
        self.of(decision).await
    }

    async fn of(&self, decision: String) -> Value {
        let told = Box::pin(self.desk.run(Command::LogChain { id: decision.clone() })).await;
        let mut policy = told.expect("it is told")["answerable"]["policy"].take();
        policy["decision"] = decision.into();
        policy
    }
}

/// R22: who owns a set, who wrote and who approved it is told of each act that was decided by it; what is not
/// as it was signed, is not told.
#[tokio::test]
async fn r_22_who_owns_and_who_approved_the_policy_is_named() {
    let house = house().await;
    let (author, approver) = (&house.signers.author.0, &house.signers.approver.0);
    let check = |told: &Value, release: u64, owner: &str| {
        assert_eq!((&told["release"], &told["owner"]), (&json!(release), &json!(owner)));
        assert_eq!((&told["author"], &told["approver"]), (&json!(author), &json!(approver)));
    };
    house.release_for(2, "olga").await;
    let first = house.behind(1).await;
    check(&first, 2, "olga");
    // Another one owns the next release, though it has the same content.
    house.release_for(3, "rob").await;
    check(&house.behind(2).await, 3, "rob");
    // Who names nobody owns it.
    house.release_all(4, "").await;
    check(&house.behind(3).await, 4, author.as_str());
    let first = first["decision"].as_str().expect("an id").to_owned();
    check(&house.of(first.clone()).await, 2, "olga");
    let told = house.desk.run(Command::PolicyHistory).await.expect("it is told");
    let owners: Vec<_> = told["releases"].as_array().expect("a list").iter().collect();
    let owners: Vec<_> = owners.iter().map(|release| release["owner"].clone()).collect();
    assert_eq!(owners, [json!(null), json!("olga"), json!("rob"), json!(author)]);
    let mut forged: Release = house.release(2).await;
    forged.terms.owner = Some("rob".parse().expect("a person"));
    house.desk.world.put(FactKey::release(2), &forged).await;
    let told = house.of(first).await;
    assert_eq!((&told["release"], &told["owner"]), (&json!(2), &json!(null)));
    assert!(told["damaged"].as_str().is_some_and(|why| why.contains("altered")), "{told}");
}

/// R22: a set that nobody who is here owns goes no step further.
#[tokio::test]
async fn r_22_nothing_is_released_that_nobody_owns() {
    let house = house().await;
    let check = |done: Result<Value, AdminError>, says: &str| {
        let why = done.expect_err(says).to_string();
        assert!(why.contains(says) && why.contains("`--owner PERSON`"), "{why}");
    };
    check(house.publish_for(2, "nobody").await, "`nobody`, who is to own release 2");
    house.publish_for(2, "olga").await.expect("it is published");
    house.leaves("olga").await;
    check(house.publish_for(3, "olga").await, "`olga`, who is to own release 3");
    check(house.approve(2).await, "`olga`, who is to own release 2");
    // Whoever comes back is named anew.
    house.desk.comes_back("olga").await;
    check(house.approve(2).await, "`olga`, who is to own release 2");
    house.publish_for(3, "olga").await.expect("it is published");
    house.approve(3).await.expect("it is approved");
    house.leaves("olga").await;
    check(house.activate(3).await, "`olga`, who is to own release 3");
    assert_eq!(house.desk.call("lookup").await, "permitted", "neither is in force");
    house.release_for(4, "rob").await;
    assert_eq!(house.desk.call("lookup").await, "forbidden");
}

/// The set in force decides on though its owner leaves: that is told, and found once.
#[tokio::test]
async fn r_22_that_the_owner_of_the_policy_in_force_leaves_is_found() {
    let house = house().await;
    let world = &house.desk.world;
    let keeper = world.authority.finding_keeper(None, Duration::from_mins(15)).await;
    let keeping = tokio::spawn(keeper.expect("it is asked for once").run());
    let found = async |cause: &str| {
        let all = authority::all::<Finding>(world.store.as_ref(), "finding/").await;
        let mut all = all.expect("they can be read").into_iter();
        all.find(|it| it.stranger.cause == cause)
    };
    let owned = async || {
        let told = house.desk.run(Command::PolicyHistory).await.expect("it is told");
        (told["in_force"]["owner"].clone(), told["in_force"]["owned"].clone())
    };
    assert_eq!(house.follows().await, "in force", "what it was founded with is nobody's");
    assert_eq!(owned().await, (json!(null), json!(false)));
    house.release_for(2, "olga").await;
    assert_eq!(house.follows().await, "in force");
    assert_eq!(owned().await, (json!("olga"), json!(true)));
    house.leaves("olga").await;
    assert_eq!(house.follows().await, "in force");
    assert_eq!(owned().await, (json!("olga"), json!(false)));
    assert_eq!(house.desk.call("lookup").await, "forbidden");
    assert_eq!(house.desk.call("refund").await, "permitted");
    support::until("it is found", || async { found("release_unowned/2").await.is_some() }).await;
    assert_eq!(house.follows().await, "in force");
    let next = Stranger { cause: "next".to_owned(), ..Stranger::default() };
    world.authority.note_stranger(next);
    support::until("what comes after it is found", || async { found("next").await.is_some() })
        .await;
    assert_eq!(found("release_unowned/2").await.map(|it| it.count), Some(1));
    keeping.abort();
}

/// All of it is said at once, in one way; and what is not said is declared no more.
#[tokio::test]
async fn r_48_how_often_and_when_an_agent_acts_is_declared() {
    let desk = desk().await;
    let name = &desk.world.standing.agent.name;
    let declare = |calls_an_hour: Option<u32>, hours: Option<&str>| Command::AgentDeclare {
        name: name.to_string(),
        calls_an_hour,
        hours: hours.map(str::to_owned),
    };
    let known = || async { desk.fact(FactKey::agent(name)).await.expect("it is known") };
    let hours = "mon-fri 08:00-18:00 +01:00";
    desk.run(declare(Some(60), Some(hours))).await.expect("it is declared");
    let both = json!({ "calls_an_hour": 60, "hours": hours });
    assert_eq!(known().await["declared"], both);
    for wrong in
        [declare(Some(0), None), declare(None, Some("office hours")), declare(None, Some(""))]
    {
        let answer = desk.run(wrong.clone()).await;
        assert_eq!(word(&answer), "invalid", "{wrong:?}");
    }
    assert_eq!(known().await["declared"], both, "nothing of it was done");
    desk.run(declare(None, Some(hours))).await.expect("it is declared");
    assert_eq!(known().await["declared"], json!({ "hours": hours }));
    desk.run(declare(None, None)).await.expect("it is declared no more");
    assert_eq!(known().await["declared"], Value::Null);
}
