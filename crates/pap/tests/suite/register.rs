//! People, agents and instances: who answers must be there, and who leaves takes everything along.

use std::time::Duration;

use keys::{KeyAlgorithm, SigningKey};
use model::{
    Agent, Clock as _, FactKey, Finding, Instance, InstanceId, MandateId, WorkloadIdentity,
};
use pap::{ClientRegistration, Command};
use serde_json::{Value, json};
use store::Store as _;

use crate::desk::{Desk, SAM, jwk, word};

fn registration() -> Value {
    json!({
        "do": "agent-add", "name": "new", "sponsor": SAM, "purpose": "care",
        "business_owner": SAM, "technical_owner": SAM, "key": jwk(),
    })
}

/// A registration that is wrong in one way is refused, says which, and leaves nothing behind.
async fn check(change: impl FnOnce(&mut Value), says: &str) {
    let desk = Desk::new().await;
    let gone = Command::PersonAdd { id: "gone".to_owned(), groups: Vec::new() };
    desk.run(gone).await.unwrap();
    desk.run(Command::PersonDeactivate { id: "gone".to_owned() }).await.unwrap();
    let mut asked = registration();
    change(&mut asked);
    let before = desk.revision().await;
    let error = desk.run(serde_json::from_value(asked).unwrap()).await.expect_err(says);
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!(desk.revision().await, before);
}

#[tokio::test]
async fn r_12_a_registration_names_people_who_are_there_and_a_purpose() {
    for (member, role) in [
        ("sponsor", "sponsor"),
        ("business_owner", "business owner"),
        ("technical_owner", "technical owner"),
    ] {
        let unknown = format!("the {role} `nobody` is not a known person");
        check(|it| it[member] = json!("nobody"), &unknown).await;
        check(|it| it[member] = json!("gone"), &format!("the {role} `gone` is not active")).await;
        check(|it| it[member] = json!("no one"), "is not a person id").await;
        check(|it| it[member] = json!(""), "is not a person id").await;
    }
    check(|it| it["purpose"] = json!("nothing"), "there is no purpose `nothing`: add it with")
        .await;
    check(|it| it["purpose"] = json!(""), "is not a purpose id").await;
    check(|it| it["name"] = json!("No Name"), "is not an agent name").await;
    check(|it| it["key"] = json!({ "kty": "oct", "k": "AA" }), "the key").await;
    // Nobody answers by not being named.
    for member in ["sponsor", "business_owner", "technical_owner", "purpose"] {
        for missing in [None, Some(Value::Null)] {
            let mut asked = registration();
            let members = asked.as_object_mut().unwrap();
            members.remove(member);
            members.extend(missing.map(|value| (member.to_owned(), value)));
            assert!(serde_json::from_value::<Command>(asked).is_err(), "{member}");
        }
    }
    let desk = Desk::new().await;
    desk.run(serde_json::from_value(registration()).unwrap()).await.unwrap();
    let agent = desk.fact(FactKey::agent(&"new".parse().unwrap())).await.unwrap();
    let lasts = agent["key_expires"].as_i64().unwrap() - agent["registered"].as_i64().unwrap();
    assert_eq!(Duration::from_millis(lasts.unsigned_abs()), Duration::from_hours(90 * 24));
}

/// Nor is a purpose entered for which nobody who is here answers.
#[tokio::test]
async fn r_12_a_purpose_names_an_owner_who_is_there() {
    let desk = Desk::new().await;
    for id in ["gone", "rob"] {
        let add = Command::PersonAdd { id: id.to_owned(), groups: Vec::new() };
        desk.run(add).await.unwrap();
    }
    desk.run(Command::PersonDeactivate { id: "gone".to_owned() }).await.unwrap();
    let asked = |owner: Value| {
        json!({
            "do": "purpose-add", "id": "new", "owner": owner, "tools": ["crm/lookup"],
            "harm": [], "max_calls": null, "max_tasks_a_day": null, "description": "",
        })
    };
    for (owner, says) in [
        ("nobody", "the owner `nobody` is not a known person"),
        ("gone", "the owner `gone` is not active"),
        ("", "is not a person id"),
    ] {
        let before = desk.revision().await;
        let command = serde_json::from_value(asked(json!(owner))).unwrap();
        let error = desk.run(command).await.expect_err(says);
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(desk.revision().await, before);
    }
    // Nobody answers by not being named.
    assert!(serde_json::from_value::<Command>(asked(Value::Null)).is_err());
    desk.run(serde_json::from_value(asked(json!("rob"))).unwrap()).await.unwrap();
}

/// N-099: a name is given once; who asks for it again inherits nothing and changes nothing.
#[tokio::test]
async fn n_099_what_is_registered_is_not_registered_over() {
    let desk = Desk::new().await;
    desk.run(serde_json::from_value(registration()).unwrap()).await.unwrap();
    let agent = desk.fact(FactKey::agent(&"new".parse().unwrap())).await;
    let again = desk.run(serde_json::from_value(registration()).unwrap()).await;
    assert_eq!(word(&again), "conflict");
    assert_eq!(desk.fact(FactKey::agent(&"new".parse().unwrap())).await, agent);
    let sponsor = desk.world.standing.sponsor.id.to_string();
    let person = Command::PersonAdd { id: sponsor, groups: Vec::new() };
    assert_eq!(word(&desk.run(person).await), "conflict");
}

#[tokio::test]
async fn i_11_when_deactivation_returns_nothing_that_is_older_commits() {
    let desk = Desk::new().await;
    assert_eq!(desk.call("lookup").await, "permitted");
    let other =
        Command::PersonAdd { id: "chief".to_owned(), groups: vec!["administrators".to_owned()] };
    desk.run(other).await.unwrap();
    let sponsor = desk.world.standing.sponsor.id.to_string();
    let chief = "chief".parse().unwrap();
    let permit = desk.world.authorize(desk.world.call("lookup", json!({}))).await.unwrap();
    let watch = desk.world.authority.watch(&permit);
    let _begun = permit.begin(desk.world.clock.as_ref()).unwrap();
    desk.run_as(&chief, Command::PersonDeactivate { id: sponsor }).await.unwrap();
    let cut = watch.no_longer_permitted().await;
    assert_eq!(cut.to_string(), "denied by the built-in rule `sponsor_not_active`");
    assert_eq!(desk.call("lookup").await, "sponsor_not_active");
    let log = desk.world.log().await;
    let done = log.iter().rposition(|it| it.text_of("action") == "person/deactivate").unwrap();
    let permits = log[done..].iter().filter(|it| it.is("decision"));
    assert!(permits.into_iter().all(|it| it.text_of("decision") == "deny"));
}

/// While the clock is unsure nothing is administered but this, and this only by who may.
#[tokio::test]
async fn n_120_an_administrator_says_that_the_clock_is_right_and_that_is_recorded() {
    let desk = Desk::new().await;
    desk.world.clock.step_wall(-600_000);
    let trust = || Command::ClockTrust { reason: "the time server was wrong".to_owned() };
    let person = || Command::PersonAdd { id: "new".to_owned(), groups: Vec::new() };
    assert_eq!(word(&desk.run(person()).await), "unavailable");
    let other = desk.world.standing.other.id.clone();
    assert_eq!(word(&desk.run_as(&other, trust()).await), "refused");
    assert_eq!(word(&desk.run(person()).await), "unavailable");
    desk.run(trust()).await.unwrap();
    assert_eq!(word(&desk.run(person()).await), "done");
    // What a clock that ran ahead gave lasts longer than a lease may.
    assert_eq!(desk.call("lookup").await, "lease_ended");
    let name = desk.world.standing.agent.name.to_string();
    let renew = Command::AgentRenew { name, key: None, compromised: false, word: None };
    assert_eq!(word(&desk.run(renew).await), "done");
    assert_eq!(desk.call("lookup").await, "permitted");
    let acts = desk.world.records("administration").await;
    let acts: Vec<_> = acts.iter().map(|it| it.text_of("action")).collect();
    assert_eq!(acts, ["clock/trust", "clock/trust", "person/add", "agent/renew"]);
}

#[tokio::test]
async fn r_15_suspension_and_revocation_stop_what_they_name() {
    let desk = Desk::new().await;
    let instance = desk.world.standing.instance.id.to_string();
    let nobody = InstanceId::from_bytes([9; 16]).to_string();
    let revoke =
        |id: &str| Command::InstanceRevoke { id: id.to_owned(), reason: "test".to_owned() };
    assert_eq!(word(&desk.run(revoke(&nobody)).await), "missing");
    assert_eq!(desk.call("lookup").await, "permitted");
    desk.run(revoke(&instance)).await.unwrap();
    assert_eq!(desk.call("lookup").await, "actor_not_active");
    let desk = Desk::new().await;
    let suspend =
        |name: &str| Command::AgentSuspend { name: name.to_owned(), reason: String::new() };
    assert_eq!(word(&desk.run(suspend("nothing")).await), "missing");
    desk.run(suspend("billing")).await.unwrap();
    assert_eq!(desk.call("lookup").await, "actor_not_active");
}

/// A lease that somebody renews goes on for what is begun from then on; what is begun is bounded by the
/// one that it was begun under.
#[tokio::test]
async fn r_15_a_lease_is_renewed_by_a_recorded_act() {
    let desk = Desk::new().await;
    let name = desk.world.standing.agent.name.clone();
    let renew =
        |key| Command::AgentRenew { name: name.to_string(), key, compromised: false, word: None };
    let day = Duration::from_hours(24);
    desk.world.clock.advance(20 * day);
    let told = desk.run(renew(None)).await.unwrap();
    let now = desk.world.clock.now();
    assert_eq!(told["key_expires"], now.plus(90 * day).to_string());
    let agent = async || desk.fact(FactKey::agent(&name)).await.expect("it is registered");
    assert_eq!(agent().await["key"], desk.world.standing.agent.key);
    assert_eq!(agent().await["key_expires"], json!(now.plus(90 * day)));
    let place = FactKey::standing_mandate(&name, &desk.world.standing.purpose.id);
    let id = desk.fact(place).await.expect("it has one");
    let id: MandateId = serde_json::from_value(id).unwrap();
    let mandate = desk.fact(FactKey::mandate(id)).await.expect("it is there");
    assert_eq!(
        (&mandate["given"], &mandate["valid_until"]),
        (&json!(now), &json!(now.plus(30 * day)))
    );
    let key = jwk();
    desk.run(renew(Some(key.clone()))).await.unwrap();
    assert_eq!(agent().await["key"], key);
    // Nobody goes on for whom nobody answers.
    let mut second = desk.world.standing.other.clone();
    second.groups.insert("administrators".parse().unwrap());
    desk.world.put(FactKey::person(&second.id), &second).await;
    desk.world.store.commit(desk.world.sponsor_leaves()).await.unwrap();
    assert_eq!(word(&desk.run_as(&second.id, renew(None)).await), "refused");
    assert_eq!(word(&desk.run(renew(None)).await), "refused");
}

/// An exchanged key ends nothing that is at work; of one that was in other hands all is over that it alone vouched
/// for, and the report of offboarding says by which record.
#[tokio::test]
async fn r_15_a_compromised_key_takes_along_what_it_vouched_for() {
    let desk = crate::offboard::desk().await;
    let name = desk.world.standing.agent.name.to_string();
    let renew = async |key, compromised| {
        let command = Command::AgentRenew { name: name.clone(), key, compromised, word: None };
        desk.run(command).await
    };
    assert_eq!(word(&renew(None, true).await), "invalid", "nobody is left without a key");
    let first = jwk();
    renew(Some(first.clone()), false).await.unwrap();
    assert_eq!(desk.call("lookup").await, "permitted");
    for times in [1, 2] {
        renew(Some(jwk()), true).await.unwrap();
        assert_eq!(desk.call("lookup").await, "agent_key_compromised");
        let agent = desk.fact(FactKey::agent(&name.parse().unwrap())).await.unwrap();
        assert_eq!(agent["keys_compromised"], times);
    }
    assert_eq!(word(&renew(Some(first), false).await), "invalid", "no key comes back");
    let acts = desk.world.records("administration").await;
    let by: Vec<_> = acts.iter().filter(|it| it.text_of("action") == "agent/renew").collect();
    let report = desk.as_root(Command::AgentOffboard { name: name.clone(), since: None }).await;
    let report = report.expect("it is reported");
    let rows = report["credentials"].as_array().expect("there are some");
    let row = rows.iter().find(|row| row["kind"] == "instance").expect("it is there");
    assert_eq!((&row["state"], &row["why"]), (&json!("dead"), &json!("agent_key_compromised")));
    // The first one that said so: the one before it replaced the key, and took nothing away.
    assert_eq!(row["by"]["record"], by[1].text_of("id"), "{row}");
}

/// One client is one agent, until an administrator says otherwise: then it is nobody's, or another's.
#[tokio::test]
async fn n_092_a_client_that_is_taken_back_is_nobodys() {
    let desk = Desk::new().await;
    let own = desk.world.standing.agent.clone();
    let other = Agent { name: "other".parse().unwrap(), ..own.clone() };
    desk.world.put(FactKey::agent(&other.name), &other).await;
    let id = "https://client.example/oauth.json";
    let say = async |agent: &Agent, id: Option<&str>| {
        let client = id.map(|id| ClientRegistration { id: id.to_owned(), bearer: true });
        word(&desk.run(Command::AgentClient { name: agent.name.to_string(), client }).await)
    };
    let whose = async || desk.fact(FactKey::client(id)).await;
    assert_eq!(say(&own, Some(id)).await, "done");
    assert_eq!(whose().await, Some(json!(own.name)));
    assert_eq!(say(&other, Some(id)).await, "conflict");
    let since = async || {
        let agent = desk.fact(FactKey::agent(&own.name)).await.expect("an agent");
        agent["client"]["since"].as_i64().expect("a time")
    };
    let before = since().await;
    desk.world.clock.advance(Duration::from_secs(1));
    assert_eq!(say(&own, Some(id)).await, "done", "as before");
    assert!(before < since().await, "what came of it before is over");
    for wrong in ["http://client.example/oauth.json", "https://client.example", "desk"] {
        assert_eq!(say(&own, Some(wrong)).await, "invalid", "{wrong}");
    }
    assert_eq!(say(&own, None).await, "done");
    assert_eq!(whose().await, None);
    assert_eq!(desk.fact(FactKey::agent(&own.name)).await.unwrap().get("client"), None);
    assert_eq!(say(&other, Some(id)).await, "done");
    assert_eq!(whose().await, Some(json!(other.name)));
}

/// N-096: who answers for an agent does not let it go again; another administrator does.
#[tokio::test]
async fn n_096_a_quarantined_instance_is_not_released_by_its_agents_sponsor() {
    let desk = Desk::new().await;
    let facts = &desk.world.standing;
    let (id, sponsor) = (facts.instance.id.to_string(), facts.sponsor.id.clone());
    let mut second = facts.other.clone();
    second.groups.insert("administrators".parse().unwrap());
    desk.world.put(FactKey::person(&second.id), &second).await;
    let reason = || "test".to_owned();
    let release = || Command::InstanceRelease { id: id.clone(), reason: reason(), word: None };
    let quarantine = || Command::InstanceQuarantine { id: id.clone(), reason: reason() };
    assert_eq!(word(&desk.run(release()).await), "invalid", "it is not stopped");
    desk.run(quarantine()).await.unwrap();
    assert_eq!(desk.call("lookup").await, "instance_quarantined");
    assert_eq!(word(&desk.run_as(&sponsor, release()).await), "refused");
    assert_eq!(desk.call("lookup").await, "instance_quarantined");
    desk.has_refused_for("released_by_own_sponsor").await;
    desk.run_as(&second.id, release()).await.unwrap();
    assert_eq!(desk.call("lookup").await, "permitted");
    let stopped = FactKey::stopped(&facts.agent.name);
    assert_eq!(desk.fact(stopped.clone()).await, None);
    // What is revoked stays so; but new ones may start after it.
    let revoke = Command::InstanceRevoke { id: id.clone(), reason: reason() };
    desk.run(revoke).await.unwrap();
    assert_eq!(word(&desk.run(quarantine()).await), "invalid", "revoked is more");
    assert!(desk.fact(stopped.clone()).await.is_some());
    desk.run_as(&second.id, release()).await.unwrap();
    assert_eq!(desk.call("lookup").await, "actor_not_active");
    assert_eq!(desk.fact(stopped).await, None);
}

/// A workload is stopped with its instance, whichever agent it says it is next, and let go with it.
#[tokio::test]
async fn a_stop_stands_with_the_workload_as_with_the_agent() {
    let desk = Desk::new().await;
    let facts = &desk.world.standing;
    let mut second = facts.other.clone();
    second.groups.insert("administrators".parse().unwrap());
    desk.world.put(FactKey::person(&second.id), &second).await;
    let (issuer, subject) =
        ("spiffe://example.org".to_owned(), "spiffe://example.org/a".to_owned());
    let workload = WorkloadIdentity { issuer, subject, claims: [].into() };
    let instance = Instance { workload: Some(workload.clone()), ..facts.instance.clone() };
    desk.world.put(FactKey::instance(instance.id), &instance).await;
    let marks = [FactKey::stopped(&instance.agent), FactKey::stopped_workload(&workload)];
    let (id, reason) = (instance.id.to_string(), "test".to_owned());
    for stop in [
        Command::InstanceQuarantine { id: id.clone(), reason: reason.clone() },
        Command::InstanceRevoke { id: id.clone(), reason: reason.clone() },
    ] {
        desk.run(stop).await.unwrap();
        for mark in &marks {
            assert!(desk.fact(mark.clone()).await.is_some(), "{mark}");
        }
        let release =
            Command::InstanceRelease { id: id.clone(), reason: reason.clone(), word: None };
        desk.run_as(&second.id, release).await.unwrap();
        for mark in &marks {
            assert_eq!(desk.fact(mark.clone()).await, None, "{mark}");
        }
    }
}

/// R2, R11: a key is of one agent or system alone, and never of an instance; that it was to be
/// another's too is found.
#[tokio::test]
async fn r_11_a_key_is_registered_once() {
    let desk = Desk::new().await;
    let keeper = desk.world.authority.finding_keeper(None, Duration::from_mins(1)).await;
    let (key, theirs) = (jwk(), SigningKey::generate(KeyAlgorithm::Es256).expect("a key"));
    let purpose = desk.world.standing.purpose.id.to_string();
    let sponsor = desk.world.standing.sponsor.id.to_string();
    let agent = |name: &str, key: &Value| {
        let mut asked = registration();
        (asked["name"], asked["key"]) = (name.into(), key.clone());
        serde_json::from_value::<Command>(asked).expect("a command")
    };
    let system = |key: &Value| {
        Command::SystemAdd(pap::SystemRegistration {
            name: "crm-desk".to_owned(),
            owner: sponsor.clone(),
            agents: vec!["billing".to_owned()],
            purposes: vec![purpose.clone()],
            key: key.clone(),
        })
    };
    desk.run(agent("one", &key)).await.expect("it is registered");
    for again in [agent("two", &key), system(&key)] {
        let refused = desk.run(again).await.expect_err("it is another's");
        assert!(refused.to_string().contains("agent/one"), "{refused}");
    }
    let own = model::Thumbprint::from_bytes(theirs.verifying().thumbprint());
    desk.world.put(FactKey::key(&own), &desk.world.standing.instance.id).await;
    let theirs = theirs.verifying().to_jwk();
    assert_eq!(word(&desk.run(agent("two", &theirs)).await), "invalid");
    desk.run(agent("two", &jwk())).await.expect("with a key of its own");

    let keeper = keeper.expect("the register can be read");
    desk.world.keeps(keeper, 2).await;
    let found = desk.world.store.list("finding/", None, 10).await.unwrap().facts;
    let found = found.iter().map(|(_, body)| serde_json::from_slice::<Finding>(body).unwrap());
    let shares: Vec<_> = found.map(|it| (it.stranger.claimed, it.stranger.holder)).collect();
    let pair = |of: &str, with: &str| (Some(of.to_owned()), Some(with.to_owned()));
    assert!(shares.contains(&pair("agent/two", "agent/one")), "{shares:?}");
    assert!(shares.contains(&pair("system/crm-desk", "agent/one")), "{shares:?}");
}
