//! R12, R22: who answers for what is named, and what can do more than read waits for who is missing.

use std::time::Duration;

use model::{Agent, Clock as _, FactKey, Person, PersonState};
use pap::Command;
use serde_json::{Value, json};

use crate::desk::{Desk, SAM, files, jwk, word};
use crate::support::POLICY;

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
        "policy": { "put_in_force_by": pap::BOOTSTRAP, "since": since },
        "tool_owner": sam,
        "purpose_owner": "pia",
        "business_owner": "bea",
        "technical_owner": "tom",
        "sponsor": sam,
    });
    assert_eq!(told["answerable"], expected);
    // Of each agent of the chain, the same.
    for owner in ["boundary_set_by", "business_owner", "technical_owner", "sponsor"] {
        assert_eq!(told["chain"][0][owner], expected[owner], "{owner}");
    }
}
