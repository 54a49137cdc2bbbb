//! R11: accounts of ours at servers, and agents that share one, or a workload: found, and a fact for policy.

use std::collections::BTreeMap;
use std::time::Duration;

use authority::Cut;
use model::{
    AgentName, FactKey, Finding, Instance, InstanceId, Principal, Server, ServerName, Sha256Digest,
    Task, TaskId, WorkloadIdentity,
};
use serde_json::json;
use store::Store as _;

use crate::support::{Act, POLICY, World};

/// Lets no two agents share an account.
const APART: &str = r#"@id("apart") forbid (principal, action in Action::"tools/call", resource is Tool)
                       when { resource.account == "shared" };"#;

/// A deployment whose server is called with an account, and a call by the one instance of each of two
/// agents.
async fn before() -> (World, Act, Act) {
    let account = Some(Sha256Digest::of(b"the credential"));
    let world = World::with(|facts| facts.server.account = account).await;
    let facts = &world.standing;
    let (mut agent, mut mandate) = (facts.agent.clone(), facts.mandate.clone());
    agent.name = "second".parse().expect("an agent");
    (mandate.id, mandate.agent) = (model::MandateId::from_bytes([33; 16]), agent.name.clone());
    let (id, task) = (InstanceId::from_bytes([11; 16]), TaskId::from_bytes([22; 16]));
    let instance = Instance { id, agent: agent.name.clone(), task, ..facts.instance.clone() };
    let task = Task {
        id: task,
        instance: id,
        mandate: mandate.id,
        mandate_digest: mandate.digest(),
        ..facts.task.clone()
    };
    world.put(FactKey::agent(&agent.name), &agent).await;
    world.put(FactKey::mandate(mandate.id), &mandate).await;
    world.put(FactKey::instance(id), &instance).await;
    world.put(FactKey::task(task.id), &task).await;
    let own = world.call("lookup", json!({}));
    let mut other = own.clone();
    other.request.principal = Principal::Instance(id);
    other.circumstances.actor = authority::Actor::Known(id);
    (world, own, other)
}

async fn permitted(world: &World, act: &Act) -> bool {
    world.authorize(act.clone()).await.map(drop).is_ok()
}

/// The agents that call with the account, as the register has them.
async fn callers(world: &World) -> Vec<AgentName> {
    let account = world.standing.server.account.expect("it has one");
    let loaded = world.store.load(&[FactKey::account(&account)]).await.expect("it can be read");
    let body = loaded.bodies.into_iter().next().flatten();
    body.map(|body| serde_json::from_slice(&body).expect("names")).unwrap_or_default()
}

#[tokio::test]
async fn r_11_an_account_that_two_agents_share_is_found() {
    let (world, own, other) = before().await;
    let keeper = world.authority.finding_keeper(None, Duration::from_mins(1)).await;
    for _ in 0..2 {
        assert!(permitted(&world, &own).await);
    }
    assert_eq!(callers(&world).await, ["billing".parse::<AgentName>().expect("a name")]);
    for _ in 0..2 {
        assert!(permitted(&world, &other).await && permitted(&world, &own).await);
    }
    let keeper = keeper.expect("the register can be read");
    world.keeps(keeper, 1).await;
    let found = world.store.list("finding/", None, 10).await.expect("it can be read").facts;
    assert_eq!(found.len(), 1, "it is found once");
    let found: Finding = serde_json::from_slice(&found[0].1).expect("a finding");
    assert_eq!((found.count, found.stranger.cause.as_str()), (1, "account_shared"));
    assert_eq!(found.stranger.agents, callers(&world).await);
    assert_eq!(found.stranger.agents.len(), 2);
    assert_eq!(found.stranger.server.as_ref().map(ServerName::as_str), Some("crm"));
}

#[tokio::test]
async fn r_11_policy_keeps_the_second_agent_from_the_account() {
    let (world, own, other) = before().await;
    world.publish(&format!("{POLICY} {APART}")).await;
    assert!(permitted(&world, &own).await);
    assert!(!permitted(&world, &other).await, "it would share");
    assert_eq!(callers(&world).await.len(), 1, "who may not has not called");
    assert!(permitted(&world, &own).await, "nobody else's it is");
    let denied = world.records("decision").await;
    assert!(denied.iter().any(|it| it.value["policies"] == json!(["apart"])));
}

/// The account is what counts, not by which server it is used.
#[tokio::test]
async fn r_11_an_account_is_one_whatever_server_it_is_used_at() {
    let (world, own, other) = before().await;
    world.publish(&format!("{POLICY} {APART}")).await;
    assert!(permitted(&world, &own).await);
    let mut elsewhere: Server = world.standing.server.clone();
    elsewhere.account = Some(Sha256Digest::of(b"another credential"));
    world.put(FactKey::server(&elsewhere.name), &elsewhere).await;
    assert!(permitted(&world, &other).await, "a server with an account of its own");
    elsewhere.account = None;
    world.put(FactKey::server(&elsewhere.name), &elsewhere).await;
    assert!(permitted(&world, &own).await && permitted(&world, &other).await);
}

/// Whom a platform vouches for under the names of two agents: whatever is under way when that becomes so is cut.
#[tokio::test]
async fn r_11_policy_forbids_what_agents_of_one_workload_do() {
    let (issuer, subject) = ("https://platform.example".to_owned(), "pod".to_owned());
    let workload = WorkloadIdentity { issuer, subject, claims: BTreeMap::new() };
    let own = Some(workload.clone());
    let world = World::with(|facts| facts.instance.workload = own).await;
    let apart = r#"@id("workloads-apart") forbid (principal, action in Action::"tools/call", resource is Tool)
                   when { context.shared_workload };"#;
    world.publish(&format!("{POLICY} {apart}")).await;
    let agents = async |names: &[&str]| {
        let names: Vec<AgentName> =
            names.iter().map(|name| name.parse().expect("an agent")).collect();
        world.put(FactKey::agents_of(&workload), &names).await;
    };
    let act = world.call("lookup", json!({}));
    // Also where it is not kept who entered, as it was not at first.
    assert!(permitted(&world, &act).await);
    agents(&["billing"]).await;
    assert!(permitted(&world, &act).await);
    let permit = world.authorize(act.clone()).await.expect("it is permitted");
    let watch = world.authority.watch(&permit);
    let _begun = permit.begin(world.clock.as_ref()).expect("it begins");
    agents(&["billing", "second"]).await;
    let Cut::Denied(denial) = watch.no_longer_permitted().await else { panic!("it is denied") };
    assert_eq!(denial.code(), "forbidden");
    assert!(!permitted(&world, &act).await, "it shares");
    let denied = world.records("decision").await.pop().expect("it is decided");
    assert_eq!(denied.value["policies"], json!(["workloads-apart"]));
    let standing = world.disclosure(&world.records("facts").await.pop().expect("a leaf")).await;
    let standing = standing.value("standing").expect("it is in it");
    assert_eq!(standing["sharing"], json!(["billing", "second"]));
}
