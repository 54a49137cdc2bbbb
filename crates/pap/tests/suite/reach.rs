//! R49, R50: what an instance could do now, itself and by handing its work on; since when; and what of what an agent was given it
//! uses.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use authority::Actor;
use model::{
    AccessRequest, ActionName, Agent, AgentName, Clock as _, DecisionId, Delegation, FactKey,
    Instance, InstanceId, Principal, ResourceRef, SessionFacts, Task, TaskId, ToolRef, ToolState,
};
use pap::{Command, PolicyFiles};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::desk::{Desk, files};
use crate::support::{Act, World};

/// The agents: who works, and those to whom it may hand work on.
const AGENTS: [&str; 3] = ["billing", "reader", "deep"];

/// The tools.
const TOOLS: [&str; 3] = ["lookup", "refund", "deploy"];

/// Who administers and asks; what else may happen, each test says.
pub(crate) const ASKING: &str = r#"
    @id("asking") permit (principal in Group::"administrators", action, resource);
"#;

/// What each test of a fixed world begins with: who hands on to whom, and who may call what.
pub(crate) const CHAIN: &str = r#"
    @id("to-reader") permit (principal in Agent::"billing", action == Action::"delegate", resource == Agent::"reader");
    @id("to-deep") permit (principal in Agent::"reader", action == Action::"delegate", resource == Agent::"deep");
    @id("reads") permit (principal in Agent::"billing", action == Action::"crm/lookup", resource);
    @id("refunds") permit (principal in Agent::"reader", action == Action::"crm/refund", resource)
    when { context.input has amount && context.input.amount <= 100 };
    @id("deploys") permit (principal in Agent::"deep", action == Action::"crm/deploy", resource);
"#;

/// Another agent of the same sponsor, for the same purpose.
async fn enters(world: &World, name: &str, change: impl FnOnce(&mut Agent)) -> Agent {
    let mut agent = Agent { name: name.parse().expect("a name"), ..world.standing.agent.clone() };
    change(&mut agent);
    world.put(FactKey::agent(&agent.name), &agent).await;
    agent
}

/// A deployment with the agents and `policy`.
pub(crate) async fn desk(policy: &str) -> Desk {
    let desk = Desk::new().await;
    for name in &AGENTS[1..] {
        enters(&desk.world, name, |_| {}).await;
    }
    puts_in_force(&desk, policy).await;
    desk
}

pub(crate) async fn puts_in_force(desk: &Desk, policy: &str) {
    let files = files(&format!("{ASKING}{policy}"));
    desk.publisher.replace(files).await.expect("it compiles");
}

pub(crate) async fn reach(desk: &Desk, since: Option<model::Timestamp>) -> Value {
    let instance = desk.world.standing.instance.id.to_string();
    desk.run(Command::Reach { instance, since }).await.expect("it is told")
}

/// The tools in reach, a line each: how by itself, how by others, and by whom.
fn lines(told: &Value) -> String {
    let tools = told["tools"].as_object().expect("tools");
    let lines = tools.iter().map(|(tool, row)| {
        format!("{tool}: {} {} {}\n", row["direct"], row["by_delegation"], row["chain"])
    });
    lines.collect::<String>().replace('"', "")
}

/// What is unknown, a line each.
pub(crate) fn unknown(told: &Value) -> Vec<String> {
    let all = told["unknown"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    all.map(|it| format!("{} {}", text(&it["what"]), text(&it["why"]))).collect()
}

#[tokio::test]
async fn r_49_what_is_in_reach_is_told_by_harm_and_by_whom() {
    let desk = desk(CHAIN).await;
    let told = reach(&desk, None).await;
    let all = "crm/deploy: null now [reader,deep]\ncrm/lookup: now null null\n\
               crm/refund: null now [reader]\n";
    assert_eq!(lines(&told), all);
    assert_eq!(
        told["harm"][0],
        json!({
            "class": "reads-data", "tools": { "direct": ["crm/lookup"], "by_delegation": [] },
        })
    );
    assert_eq!(told["harm"][1]["tools"]["by_delegation"], json!(["crm/refund"]));
    assert_eq!(told["agents"], json!({ "reader": ["reader"], "deep": ["reader", "deep"] }));
    assert_eq!((&told["dead"], unknown(&told).len()), (&Value::Null, 0), "{told}");

    // What may not be handed on so far, and what is left of what may.
    puts_in_force(&desk, &format!(
        "{CHAIN} @id(\"shallow\") forbid (principal, action in Action::\"tools/call\", resource)
         when {{ context.depth > 1 }};
         @id(\"asks\") @remedy(\"approval\") forbid (principal, action == Action::\"crm/lookup\", resource);"
    )).await;
    let told = reach(&desk, None).await;
    assert_eq!(lines(&told), "crm/lookup: if_lifted null null\ncrm/refund: null now [reader]\n");

    // Nobody does anything in a task that is over, and no new instance starts while one is stopped.
    puts_in_force(&desk, CHAIN).await;
    let reader: AgentName = "reader".parse().unwrap();
    let stopped = model::Stopped(
        [(
            InstanceId::from_bytes([77; 16]),
            model::InstanceState::Quarantined {
                signal: "test".to_owned(),
                since: desk.world.clock.now(),
            },
        )]
        .into(),
    );
    desk.world.put(FactKey::stopped(&reader), &stopped).await;
    assert_eq!(lines(&reach(&desk, None).await), "crm/lookup: now null null\n");
    let id = desk.world.standing.task.id.to_string();
    desk.run(Command::TaskEnd { id, reason: "test".to_owned() }).await.expect("it ends");
    let told = reach(&desk, None).await;
    assert_eq!((lines(&told).as_str(), &told["dead"]), ("", &json!("task_not_open")));
}

#[tokio::test]
async fn r_49_what_has_no_bound_or_is_not_known_is_named() {
    let desk = desk(&format!(
        "{CHAIN} @id(\"files\") permit (principal, action == Action::\"resources/read\", resource in Server::\"crm\");"
    )).await;
    let facts = &desk.world.standing;
    let mut refund = facts.tools[1].clone();
    refund.state = ToolState::Changed { descriptor: json!({}), seen: desk.world.clock.now() };
    desk.world.put(FactKey::tool(&refund.tool), &refund).await;
    let mut server = facts.server.clone();
    server.enforcement = model::Enforcement::Bypassable;
    desk.world.put(FactKey::server(&server.name), &server).await;
    let told = reach(&desk, None).await;
    assert_eq!(lines(&told), "crm/deploy: null now [reader,deep]\ncrm/lookup: now null null\n");
    assert_eq!(unknown(&told), ["crm/refund changed", "crm bypassable", "crm resources/read"]);

    // More agents than are looked at: each may hand on to each.
    let all = "@id(\"all\") permit (principal, action == Action::\"delegate\", resource);";
    puts_in_force(&desk, all).await;
    for n in 0..8 {
        enters(&desk.world, &format!("agent-{n}"), |_| {}).await;
    }
    let told = reach(&desk, None).await;
    assert!(unknown(&told).contains(&"beyond 256 more_chains".to_owned()), "{:?}", unknown(&told));
}

#[tokio::test]
async fn r_49_limits_are_told_with_what_is_left() {
    let desk = desk(CHAIN).await;
    let mut task = desk.world.standing.task.clone();
    task.scope.max_calls = Some(3);
    desk.world.put(FactKey::task(task.id), &task).await;
    assert_eq!(desk.called("lookup").await, "permitted");
    let told = reach(&desk, None).await;
    let limits = &told["limits"];
    assert_eq!(
        (&limits["calls_left"], &limits["ends"]),
        (&json!(2), &json!(task.deadline.to_string()))
    );
    assert_eq!(limits["calls"][0]["of"], format!("{}/calls", task.id));
}

#[tokio::test]
async fn r_49_what_came_and_went_is_told_with_its_cause() {
    let desk = desk(CHAIN).await;
    let clock = &desk.world.clock;
    clock.advance(Duration::from_mins(1));
    let since = clock.now();
    clock.advance(Duration::from_mins(1));
    let told = reach(&desk, Some(since)).await;
    assert_eq!((&told["change"]["gained"], &told["change"]["lost"]), (&json!([]), &json!([])));
    let later = CHAIN.replace(
        "Agent::\"billing\", action == Action::\"crm/lookup\"",
        "Agent::\"billing\", action == Action::\"crm/deploy\"",
    );
    let later = later.replace("@id(\"to-deep\")", "@id(\"to-deep\") @mode(\"observe\")");
    puts_in_force(&desk, &later).await;
    enters(&desk.world, "reader", |reader| {
        reader.ceiling.tools = ["crm/lookup".parse().unwrap()].into();
    })
    .await;
    let told = reach(&desk, Some(since)).await;
    assert_eq!(lines(&told), "crm/deploy: now null null\n");
    // What others could do then the instance does itself by now: it was in reach already.
    assert_eq!(told["change"]["gained"], json!([]));
    let lost = json!([{ "tool": "crm/lookup", "by": "policy" }, { "tool": "crm/refund", "by": "register" }]);
    assert_eq!(told["change"]["lost"], lost);
    let instance = desk.world.standing.instance.id.to_string();
    let before = Some(model::Timestamp::from_seconds(1));
    let refused =
        desk.run(Command::Reach { instance, since: before }).await.expect_err("nobody knows");
    assert!(refused.to_string().contains("kept since"), "{refused}");
}

/// R50: what an agent was given and did not use is told, and forbidden to it beside what is in force, once that was held
/// against what it did before.
#[tokio::test]
async fn r_50_what_is_suggested_only_takes_away() {
    let permits = r#"@id("tools") permit (principal, action in Action::"tools/call", resource in Server::"crm");"#;
    let desk = desk(permits).await;
    assert_eq!(desk.call("refund").await, "permitted");
    desk.world.drained().await;
    desk.world.clock.advance(Duration::from_mins(1));
    let since = desk.world.clock.now();
    assert_eq!(desk.call("lookup").await, "permitted");
    let suggest = || Command::Suggest { agent: "billing".to_owned(), since };
    let told = desk.run(suggest()).await.expect("it is told");
    let used = told["granted"].as_array().unwrap().iter();
    let used: Vec<_> = used.map(|row| format!("{} {}", row["tool"], row["used"])).collect();
    assert_eq!(used, ["\"crm/deploy\" 0", "\"crm/lookup\" 1", "\"crm/refund\" 0"]);
    let text = told["policy"]["text"].as_str().expect("a text");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.ends_with("unless { resource in [Tool::\"crm/lookup\"] };"), "{text}");

    // What it would have broken before.
    let files: PolicyFiles = serde_json::from_value(told["files"].clone()).expect("a set");
    let replay = Command::PolicyReplay { files: files.clone(), from: 0, since: None };
    let replayed = desk.run(replay).await.expect("it is replayed");
    assert_eq!(replayed["flips"][0]["kind"]["resource"], "Tool::crm/refund", "{replayed}");
    assert_eq!(replayed["flips"].as_array().map(Vec::len), Some(1), "{replayed}");

    desk.publisher
        .replace(pap::Content { files, ..pap::Content::default() })
        .await
        .expect("it compiles");
    assert_eq!(desk.call("lookup").await, "permitted");
    assert_eq!(desk.call("refund").await, "forbidden");
    // A later one stands beside it: nothing that was taken comes back.
    let told = desk.run(suggest()).await.expect("it is told");
    assert_eq!(told["policy"]["id"], "used-by-billing-2");
    assert!(told["files"]["policies"].get("used-by-billing.cedar").is_some());
}

/// Conditions of policies; the last two look at arguments.
const CONDITIONS: [&str; 8] = [
    "true",
    "context.depth > 0",
    "context.depth < 2",
    r#"context.session.labels.contains("external")"#,
    r#"context.attestation == "user""#,
    r#"context.risk == "none""#,
    "context.input has amount && context.input.amount <= 5",
    r#"context.input has account && context.input.account == "a""#,
];

/// What an agent may be given at most.
const CEILINGS: [&[&str]; 4] =
    [&["crm/*"], &["crm/lookup"], &["crm/refund", "crm/deploy"], &["crm/lookup", "crm/refund"]];

/// A world: permits and forbids (agent, tool, condition), who hands on to whom, ceilings, whether something was read.
#[derive(Clone, Debug)]
struct Drawn {
    policies: Vec<(bool, usize, usize, usize)>,
    hands_on: BTreeSet<(usize, usize)>,
    ceilings: [usize; 3],
    is_marked: bool,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let policy = (prop::bool::weighted(0.8), 0..=AGENTS.len(), 0..TOOLS.len(), 0..CONDITIONS.len());
    let policies = prop::collection::vec(policy, 2..8);
    let hands_on = prop::collection::btree_set((0..AGENTS.len(), 0..AGENTS.len()), 1..6);
    let ceilings = [0..CEILINGS.len(), 0..CEILINGS.len(), 0..CEILINGS.len()];
    (policies, hands_on, ceilings, any::<bool>()).prop_map(
        |(policies, hands_on, ceilings, is_marked)| Drawn {
            policies,
            hands_on,
            ceilings,
            is_marked,
        },
    )
}

impl Drawn {
    fn policy(&self) -> String {
        let mut text = String::new();
        for (n, (is_permit, agent, tool, condition)) in self.policies.iter().enumerate() {
            let effect = if *is_permit { "permit" } else { "forbid" };
            let principal = AGENTS.get(*agent).map(|name| format!(" in Agent::\"{name}\""));
            let _ = write!(
                text,
                "@id(\"p{n}\") {effect} (principal{}, action == Action::\"crm/{}\", resource) when {{ {} }};",
                principal.unwrap_or_default(),
                TOOLS[*tool],
                CONDITIONS[*condition],
            );
        }
        for (from, to) in &self.hands_on {
            let _ = write!(
                text,
                "@id(\"d{from}{to}\") permit (principal in Agent::\"{}\", action == Action::\"delegate\", resource == Agent::\"{}\");",
                AGENTS[*from], AGENTS[*to],
            );
        }
        text
    }
}

/// Whoever holds the task, or a part of it.
#[derive(Clone)]
struct Party {
    agent: Agent,
    instance: Instance,
    task: Task,
}

impl Party {
    fn act(
        &self,
        world: &World,
        (action, resource, input): (ActionName, ResourceRef, Value),
    ) -> Act {
        let principal = Principal::Instance(self.instance.id);
        let mut act = world.call("lookup", json!({}));
        act.request = AccessRequest { principal, action, resource, input };
        act.circumstances.actor = Actor::Known(self.instance.id);
        act
    }

    /// Whether it may hand work on to `agent`.
    async fn hands_on(&self, world: &World, agent: &AgentName) -> bool {
        let resource = ResourceRef::Agent(agent.clone());
        let act = self.act(world, (ActionName::method("delegate"), resource, json!(null)));
        world.authorize(act).await.is_ok()
    }

    /// An instance of `agent`, the `n`th, to which it hands on a part that is as wide as it may be.
    async fn hand(&self, world: &World, (agent, n): (&Agent, u8), above: &[Self]) -> Option<Self> {
        let facts = &world.standing;
        let mut scope = agent.ceiling.clone();
        for party in above {
            scope = scope.meet(&party.task.scope).meet(&party.agent.ceiling);
        }
        if scope.tools.is_empty() {
            return None;
        }
        let decision = DecisionId::from_bytes([n; 16]);
        let (id, task) = (InstanceId::from_bytes([n; 16]), TaskId::from_bytes([n; 16]));
        let delegation = Some(Delegation { parent: self.task.id, by: self.instance.id, decision });
        let instance = Instance { id, agent: agent.name.clone(), task, ..facts.instance.clone() };
        let task = Task { id: task, instance: id, delegation, scope, ..facts.task.clone() };
        world.put(FactKey::instance(id), &instance).await;
        world.put(FactKey::task(task.id), &task).await;
        Some(Self { agent: agent.clone(), instance, task })
    }
}

/// Whatever is permitted to the instance is in its reach, and whatever is permitted to whom work was handed on
/// is in its reach by that; and it is told of what its agent does unattended, unless it is what was read that permits it.
async fn is_sound(drawn: &Drawn) {
    let desk = desk(&drawn.policy()).await;
    let (world, mut agents) = (&desk.world, Vec::new());
    for (name, ceiling) in AGENTS.iter().zip(drawn.ceilings) {
        let tools = CEILINGS[ceiling].iter().map(|tool| tool.parse().expect("a pattern")).collect();
        agents.push(enters(world, name, |agent| agent.ceiling.tools = tools).await);
    }
    if drawn.is_marked {
        let labels = ["external".parse().expect("a label")].into();
        let session = SessionFacts { labels, ..SessionFacts::default() };
        world.put(FactKey::session(world.standing.task.id), &session).await;
    }
    let told = reach(&desk, None).await;
    let is_told = |tool: &str, places: &[&str]| {
        let row = &told["tools"][format!("crm/{tool}")];
        places.iter().any(|place| row[*place] == "now")
    };
    let since = world.clock.now();
    let unattended = desk.run(Command::Unattended { agent: None, since }).await;
    let unattended = unattended.expect("it is told");
    let is_listed = |agent: &AgentName, tool: &ToolRef| {
        let mut agents = unattended["agents"].as_array().expect("a list").iter();
        let row = agents.find(|row| row["agent"] == agent.as_str());
        let mut acts = row.into_iter().flat_map(|row| row["acts"].as_array().expect("acts"));
        acts.any(|act| act["tool"] == tool.to_string())
    };
    let facts = &world.standing;
    let (instance, task) = (facts.instance.clone(), facts.task.clone());
    let mut next = vec![vec![Party { agent: agents[0].clone(), instance, task }]];
    let mut n = 100;
    while let Some(chain) = next.pop() {
        let holder = chain.last().expect("a holder");
        let places: &[&str] =
            if chain.len() == 1 { &["direct"] } else { &["direct", "by_delegation"] };
        for tool in TOOLS {
            for input in [json!({}), json!({ "amount": 3, "account": "a" }), json!({ "amount": 9 })]
            {
                let name: ToolRef = format!("crm/{tool}").parse().expect("a tool");
                let what = (ActionName::tool(&name), ResourceRef::Tool(name.clone()), input);
                let permitted = world.authorize(holder.act(world, what)).await.is_ok();
                let by: Vec<_> = chain.iter().map(|party| party.agent.name.as_str()).collect();
                assert!(!permitted || is_told(tool, places), "{tool} by {by:?}: {}", lines(&told));
                let is_listed = drawn.is_marked || is_listed(&holder.agent.name, &name);
                assert!(!permitted || is_listed, "{tool} by {by:?}: {unattended}");
            }
        }
        for agent in &agents {
            if chain.len() < 3 && holder.hands_on(world, &agent.name).await {
                n += 1;
                if let Some(below) = holder.hand(world, (agent, n), &chain).await {
                    next.push(chain.iter().cloned().chain([below]).collect());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn r_49_whatever_is_permitted_is_in_reach(drawn in drawn()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(is_sound(&drawn));
    }
}
