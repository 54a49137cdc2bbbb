//! R44: what agents could do now without anybody being asked, on what that rests, who answers for it, how often it was used;
//! and what is to be removed.

use std::fmt::Write as _;
use std::time::Duration;

use model::{
    Clock as _, FactKey, InstanceId, InstanceState, Mandate, MandateId, PersonState,
    RegisteredClient, Stopped, Timestamp, ToolState,
};
use pap::{Command, Content, PolicyFiles};
use serde_json::{Value, json};

use crate::desk::{Desk, SAM, jwk};
use crate::owners::house;
use crate::reach::{CHAIN, desk, puts_in_force, unknown};

/// Whoever may call all of the server.
const ALL: &str = r#"
    @id("tools") permit (principal in Agent::"billing", action in Action::"tools/call", resource in Server::"crm");
"#;

/// What is told of all agents, or of one, used since then.
async fn unattended(desk: &Desk, agent: Option<&str>, since: Timestamp) -> Value {
    let agent = agent.map(str::to_owned);
    desk.run(Command::Unattended { agent, since }).await.expect("it is told")
}

/// The acts, a line each: who, what, of which classes, owned by whom, how often; and for what, on which policies, by whom
/// handed on.
fn lines(told: &Value) -> String {
    let mut all = String::new();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for agent in list(&told["agents"]) {
        for act in list(&agent["acts"]) {
            let Value::Array(rests) = &act["rests"] else { panic!("it rests on something: {act}") };
            for it in rests {
                let _ = writeln!(
                    all,
                    "{} {} {} {} {}: {} {} {} {}",
                    agent["agent"],
                    act["tool"],
                    act["harm"],
                    act["owner"],
                    act["used"],
                    it["purpose"],
                    it["owner"],
                    it["basis"],
                    it["by"],
                );
            }
        }
    }
    all.replace('"', "").replace(SAM, "sam")
}

#[tokio::test]
async fn r_44_each_act_is_told_with_its_basis_its_owners_and_its_use() {
    let desk = desk(CHAIN).await;
    let since = desk.world.clock.now();
    for _ in 0..2 {
        assert_eq!(desk.call("lookup").await, "permitted");
    }
    let told = unattended(&desk, None, since).await;
    // What is handed on is an act of whoever does it.
    let all = "billing crm/lookup [reads-data] sam 2: care sam [reads] []\n\
               deep crm/deploy [changes-production] sam 0: care sam [deploys] [billing,reader]\n\
               reader crm/refund [moves-money] sam 0: care sam [refunds] [billing]\n";
    assert_eq!(lines(&told), all, "{told}");
    let (billing, deep) = (&told["agents"][0], &told["agents"][1]);
    for role in ["sponsor", "business_owner", "technical_owner"] {
        assert_eq!(billing[role], SAM, "{role}");
    }
    assert_eq!((&billing["unused"], &billing["remove"]), (&json!([]), &Value::Null));
    assert_eq!(billing["acts"][0]["last"], desk.world.clock.now().to_string());
    assert_eq!(deep["unused"], json!(["crm/deploy"]));
    let suggest = json!({ "do": "suggest", "agent": "deep", "since": since });
    assert_eq!(deep["remove"], suggest);
    // One agent is told of by itself, and all that comes to it.
    let told = unattended(&desk, Some("deep"), since).await;
    assert_eq!(lines(&told), all.lines().nth(1).expect("a line").to_owned() + "\n");
    let nobody = Command::Unattended { agent: Some("nobody".to_owned()), since };
    let refused = desk.run(nobody).await.expect_err("there is none");
    assert!(refused.to_string().contains("there is no agent `nobody`"), "{refused}");
    let since = desk.world.clock.now().plus(Duration::from_millis(1));
    let refused = desk.run(Command::Unattended { agent: None, since }).await;
    assert!(refused.expect_err("it is yet to come").to_string().contains("is yet to come"));
}

/// What somebody has to approve is not told; what nobody has to approve with some arguments is.
#[tokio::test]
async fn r_44_what_is_approved_first_is_not_unattended() {
    let check = async |forbid: &str, expected: &[&str]| {
        let desk = desk(&format!("{ALL}{forbid}")).await;
        let told = unattended(&desk, None, desk.world.clock.now()).await;
        let acts = told["agents"][0]["acts"].as_array().expect("acts").iter();
        let tools: Vec<_> = acts.map(|act| act["tool"].clone()).collect();
        assert_eq!(tools, expected, "{forbid}");
    };
    let all = ["crm/deploy", "crm/lookup", "crm/refund"];
    let approved = r#"@id("asks") @remedy("approval") forbid (principal, action == Action::"crm/refund", resource)"#;
    check("", &all).await;
    check(&format!("{approved};"), &all[..2]).await;
    check(
        &format!("{approved} when {{ context.input has amount && context.input.amount > 9 }};"),
        &all,
    )
    .await;
    check(&format!("{approved} when {{ context.depth > 0 }};"), &all).await;
}

/// R50: what is proposed for removal is what was not used; it is held against what was done before, and gone once it is
/// in force.
#[tokio::test]
async fn r_44_what_was_not_used_is_proposed_for_removal() {
    let desk = desk(ALL).await;
    let since = desk.world.clock.now();
    assert_eq!(desk.call("lookup").await, "permitted");
    let told = unattended(&desk, Some("billing"), since).await;
    let billing = &told["agents"][0];
    assert_eq!(billing["unused"], json!(["crm/deploy", "crm/refund"]));
    let remove: Command = serde_json::from_value(billing["remove"].clone()).expect("a command");
    let told = desk.run(remove).await.expect("it is told");
    let files: PolicyFiles = serde_json::from_value(told["files"].clone()).expect("a set");
    let replay = Command::PolicyReplay { files: files.clone(), from: 0, since: None };
    let replayed = desk.run(replay).await.expect("it is replayed");
    assert_eq!(replayed["flips"], json!([]), "{replayed}");
    let content = Content { files, ..Content::default() };
    desk.publisher.replace(content).await.expect("it compiles");
    let told = unattended(&desk, Some("billing"), since).await;
    assert_eq!(lines(&told), "billing crm/lookup [reads-data] sam 1: care sam [tools] []\n");
    assert_eq!(told["agents"][0]["remove"], Value::Null);

    // What was used and is not permitted any more is told apart.
    puts_in_force(&desk, r#"@id("none") forbid (principal is Instance, action, resource);"#).await;
    let told = unattended(&desk, None, since).await;
    let billing = &told["agents"][0];
    assert_eq!((lines(&told).as_str(), &billing["unused"]), ("", &json!([])));
    assert_eq!(billing["used_otherwise"][0]["tool"], "crm/lookup");
    assert_eq!(billing["used_otherwise"][0]["used"], 1);
}

#[tokio::test]
async fn r_44_who_owns_the_policy_that_decides_is_told() {
    let house = house().await;
    let since = house.desk.world.clock.now();
    let told = unattended(&house.desk, None, since).await;
    assert_eq!(unknown(&told), ["policy unowned"]);
    house.release_for(2, "olga").await;
    let told = unattended(&house.desk, None, since).await;
    let policy = &told["policy"];
    let [author, approver] = [&house.signers.author.0, &house.signers.approver.0];
    let behind = [&policy["release"], &policy["owner"], &policy["author"], &policy["approver"]];
    assert_eq!(behind, [&json!(2), &json!("olga"), &json!(author), &json!(approver)]);
    let in_force = house.desk.world.authority.pip().policy().snapshot.digest();
    assert_eq!(policy["digest"], json!(in_force));
    assert!(unknown(&told).is_empty(), "{told}");
    house.leaves("olga").await;
    let told = unattended(&house.desk, None, since).await;
    assert_eq!(unknown(&told), ["policy owner_gone"]);
}

/// What has no bound, is not known, or has nobody who answers for it is named.
#[tokio::test]
async fn r_44_what_has_no_bound_or_no_owner_is_named() {
    let desk = desk(&format!(
        "{ALL} @id(\"files\") permit (principal in Agent::\"billing\", action == Action::\"resources/read\", resource in Server::\"crm\");"
    )).await;
    let (world, now) = (&desk.world, desk.world.clock.now());
    let facts = &world.standing;
    let mut lookup = facts.tools[0].clone();
    lookup.owner = Some(facts.other.id.clone());
    world.put(FactKey::tool(&lookup.tool), &lookup).await;
    let mut other = facts.other.clone();
    other.state = PersonState::Inactive { since: now };
    world.put(FactKey::person(&other.id), &other).await;
    let mut refund = facts.tools[1].clone();
    refund.state = ToolState::Gone { seen: now };
    world.put(FactKey::tool(&refund.tool), &refund).await;
    let mut server = facts.server.clone();
    server.enforcement = model::Enforcement::Cooperative;
    world.put(FactKey::server(&server.name), &server).await;
    world.portal(jwk()).await;
    for n in 0..64 {
        let id = MandateId::from_bytes([100 + n; 16]);
        world.put(FactKey::mandate(id), &Mandate { id, ..facts.mandate.clone() }).await;
    }
    let told = unattended(&desk, None, now).await;
    assert_eq!(unknown(&told), ["portal initiates", "policy unowned"]);
    let billing = &told["agents"][0];
    let mut named = unknown(billing);
    named.sort();
    let all = [
        "billing more_mandates",
        "crm cooperative",
        "crm resources/read",
        "crm/lookup owner_gone",
        "crm/refund gone",
    ];
    assert_eq!(named, all);
    let acts = billing["acts"].as_array().expect("acts").iter();
    let acts: Vec<_> = acts.map(|act| act["tool"].clone()).collect();
    assert_eq!(acts, ["crm/deploy", "crm/lookup"]);
}

/// Of whom it was not looked at everything, that is told though nothing was found; so is it of whose new instances start
/// stopped, while those at work may go on.
#[tokio::test]
async fn r_44_who_could_do_nothing_as_far_as_it_was_looked_is_named() {
    let desk = desk("").await;
    let (world, now) = (&desk.world, desk.world.clock.now());
    let told = unattended(&desk, None, now).await;
    assert_eq!(told["agents"], json!([]), "nobody could do anything");
    for n in 0..64 {
        let id = MandateId::from_bytes([100 + n; 16]);
        let mandate = Mandate { id, ..world.standing.mandate.clone() };
        world.put(FactKey::mandate(id), &mandate).await;
    }
    let told = unattended(&desk, None, now).await;
    assert_eq!(unknown(&told["agents"][0]), ["billing more_mandates"]);

    let desk = crate::reach::desk(CHAIN).await;
    let signal = "test".to_owned();
    let state = InstanceState::Quarantined { signal, since: now };
    let stopped = Stopped([(InstanceId::from_bytes([77; 16]), state)].into());
    desk.world.put(FactKey::stopped(&"reader".parse().expect("a name")), &stopped).await;
    let told = unattended(&desk, None, now).await;
    assert_eq!(lines(&told), "billing crm/lookup [reads-data] sam 0: care sam [reads] []\n");
    let reader = &told["agents"][1];
    assert_eq!((&reader["agent"], &reader["acts"]), (&json!("reader"), &json!([])));
    assert_eq!(unknown(reader), ["reader new_instances_stopped"]);
}

/// What is permitted to tokens that are bound to no key alone is an act of an agent that takes such.
#[tokio::test]
async fn r_44_what_a_bearer_token_alone_permits_is_told() {
    let desk = desk(
        r#"@id("bearer") permit (principal in Agent::"billing", action == Action::"crm/lookup", resource)
           when { context.binding == "none" };"#,
    )
    .await;
    let now = desk.world.clock.now();
    assert_eq!(lines(&unattended(&desk, None, now).await), "");
    let mut agent = desk.world.standing.agent.clone();
    let id = "https://client.example/billing.json".to_owned();
    agent.client = Some(RegisteredClient { id, bearer: true, since: now });
    desk.world.put(FactKey::agent(&agent.name), &agent).await;
    let all = "billing crm/lookup [reads-data] sam 0: care sam [bearer] []\n";
    assert_eq!(lines(&unattended(&desk, None, now).await), all);
}

/// Whoever has no mandate that counts, or may do nothing, does nothing unattended.
#[tokio::test]
async fn r_44_without_a_mandate_or_while_stopped_nothing_is_unattended() {
    let desk = desk(ALL).await;
    let since = desk.world.clock.now();
    assert_eq!(desk.call("lookup").await, "permitted");
    let what: model::StopTarget = "agent/billing".parse().expect("it can be stopped");
    desk.run(Command::Stop { what, reason: "test".to_owned() }).await.expect("it stops");
    let told = unattended(&desk, None, since).await;
    let billing = &told["agents"][0];
    assert_eq!((lines(&told).as_str(), &billing["dead"]), ("", &json!("stopped")));
    assert_eq!(billing["used_otherwise"][0]["tool"], "crm/lookup");

    let desk = crate::reach::desk(ALL).await;
    desk.world.clock.advance(Duration::from_secs(1));
    let id = desk.world.standing.mandate.id.to_string();
    let withdraw = Command::MandateWithdraw { id, reason: "test".to_owned() };
    desk.run(withdraw).await.expect("it is withdrawn");
    let told = unattended(&desk, None, since).await;
    assert_eq!(told["agents"], json!([]), "nobody did anything, or could");
}
