//! Random trees of delegations: nobody reaches more than the root, and what ends anywhere ends
//! everything below.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{
    Agent, Clock as _, Elevation, Entropy as _, FactKey, Instance, InstanceState, Timestamp,
    ToolRef,
};
use testkit::SeededEntropy;

use crate::client::{Sts, key};
use crate::delegation::{
    Holder, Party, WAYS, Way, before, call, calls, hand_on, part, party, task_of,
};
use crate::elevations::{elevate, revoke};

/// How something in a tree ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Instance,
    Quarantine,
    Task,
    Agent,
}

const ENDS: [End; 4] = [End::Instance, End::Quarantine, End::Task, End::Agent];

async fn end(sts: &Sts, holder: &Holder, how: End) {
    let since = sts.world.clock.now();
    let place = FactKey::instance(holder.instance());
    let mut instance: Instance = sts.fact(place.clone()).await;
    match how {
        End::Instance => {
            instance.state = InstanceState::Revoked { reason: "lost".to_owned(), since }
        }
        End::Quarantine => {
            instance.state = InstanceState::Quarantined { signal: "seen".to_owned(), since };
        }
        End::Task => {
            let mut task = task_of(sts, holder).await;
            task.state = model::TaskState::Ended {
                how: model::TaskEnd::Revoked,
                reason: "said".to_owned(),
                since,
            };
            return sts.world.put(FactKey::task(task.id), &task).await;
        }
        End::Agent => {
            let place = FactKey::agent(&instance.agent);
            let mut agent: Agent = sts.fact(place.clone()).await;
            agent.state = model::AgentState::Suspended { reason: "review".to_owned(), since };
            return sts.world.put(place, &agent).await;
        }
    }
    sts.world.put(place, &instance).await;
}

/// Numbers that are the same for the same seed.
struct Draws(SeededEntropy);

impl Draws {
    fn below(&self, bound: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        usize::try_from(u64::from_be_bytes(bytes) % bound as u64).expect("it is small")
    }
}

/// What there is to be called.
const TOOLS: [&str; 2] = ["lookup", "refund"];

/// A node of a tree: who holds it, below whom, and what the model says that it may call.
struct Node {
    holder: Holder,
    above: Vec<usize>,
    tools: BTreeSet<&'static str>,
    until: Timestamp,
    /// What it may do beyond its task.
    elevation: Option<Elevation>,
}

/// Random trees: nobody reaches more than the root, but who is elevated, and what they hand on is no
/// more for that; what ends anywhere ends everything below, and nothing else.
#[tokio::test]
async fn i_08_random_trees_of_delegations_only_narrow() {
    for seed in 0..6 {
        let draws = Draws(SeededEntropy::new(seed));
        let (sts, lead, _) = before().await;
        let mut parties = vec![lead.of.clone()];
        for number in 0..6 {
            parties.push(party(&sts, &format!("agent-{number}")).await);
        }
        let until = task_of(&sts, &lead).await.deadline;
        let all = TOOLS.into_iter().collect();
        let root = Node { holder: lead, above: Vec::new(), tools: all, until, elevation: None };
        let mut nodes = vec![root];
        for _ in 0..14 {
            let position = draws.below(nodes.len());
            if draws.below(3) == 0 {
                let tools: &[&str] = if draws.below(2) == 0 { &TOOLS } else { &TOOLS[1..] };
                nodes[position].elevation =
                    Some(elevate(&sts, &nodes[position].holder, tools).await);
            }
            let (parent, to) = (&nodes[position], &parties[draws.below(parties.len())]);
            let tools: BTreeSet<_> = TOOLS.into_iter().filter(|_| draws.below(2) == 0).collect();
            let mut asked = part(&sts);
            asked.tools = tools.iter().map(|tool| format!("crm/{tool}")).collect();
            asked.harm = model::Harm::ALL.map(|harm| harm.to_string()).to_vec();
            asked.until = parent.until.as_seconds() + 1 - i64::try_from(draws.below(4)).unwrap();
            let way = WAYS[draws.below(2)];
            let is_in_chain = std::iter::once(&position)
                .chain(&parent.above)
                .any(|above| nodes[*above].holder.of.name == to.name);
            let fits = !tools.is_empty()
                && tools.is_subset(&parent.tools)
                && asked.until <= parent.until.as_seconds()
                && !is_in_chain;
            let handed = hand_on(&sts, &parent.holder, (to, way), &asked).await;
            assert_eq!(handed.is_ok(), fits, "seed {seed}: {asked:?} {:?}", handed.err());
            if let Ok(holder) = handed {
                let above = [vec![position], parent.above.clone()].concat();
                let until = Timestamp::from_seconds(asked.until);
                nodes.push(Node { holder, above, tools, until, elevation: None });
            }
        }
        let ended = draws.below(nodes.len());
        let how = ENDS[draws.below(ENDS.len())];
        end(&sts, &nodes[ended].holder, how).await;
        check(&sts, &nodes, (ended, how)).await;
        for node in &mut nodes {
            let Some(elevation) = node.elevation.take() else { continue };
            revoke(&sts, &elevation).await;
        }
        check(&sts, &nodes, (ended, how)).await;
    }
}

/// Everybody in the tree `nodes`, in which something `ended` so, may do what the model says.
async fn check(sts: &Sts, nodes: &[Node], (ended, how): (usize, End)) {
    let name = &nodes[ended].holder.of.name;
    for (position, node) in nodes.iter().enumerate() {
        let chain: Vec<_> = std::iter::once(&position).chain(&node.above).collect();
        let is_over = match how {
            End::Agent => chain.iter().any(|it| nodes[**it].holder.of.name == *name),
            _ => chain.contains(&&ended),
        };
        for tool in TOOLS {
            let called: ToolRef = format!("crm/{tool}").parse().expect("a tool");
            let elevated = node.elevation.as_ref();
            let is_elevated = elevated.is_some_and(|it| it.tools.contains_key(&called));
            let may = !is_over && (node.tools.contains(tool) || is_elevated);
            let called = calls(sts, &node.holder, tool).await;
            assert_eq!(called.is_ok(), may, "{how:?} at {ended}, {position} {tool}: {called:?}");
        }
    }
}

/// What a delegate's act came to is not known: nobody of that work does the same again (N-040h).
#[tokio::test]
async fn n_040h_an_unknown_act_of_a_delegate_is_not_done_again_above_it() {
    let (sts, lead, reader) = before().await;
    let mut asked = part(&sts);
    asked.tools = vec!["crm/refund".to_owned()];
    asked.harm = model::Harm::ALL.map(|harm| harm.to_string()).to_vec();
    let child = hand_on(&sts, &lead, (&reader, Way::TakeUp), &asked).await.expect("a token");
    let permit = sts.world.authorize(call(&sts, &child, "refund")).await.expect("it is permitted");
    drop(permit.begin(sts.world.clock.as_ref()).expect("it begins"));
    sts.world.drained().await;
    for holder in [&child, &lead] {
        assert_eq!(calls(&sts, holder, "refund").await, Err("outcome_unknown".to_owned()));
    }
}

/// A limit is not begun anew with a new instance, nor by another branch.
#[tokio::test]
async fn r_79_a_limit_of_the_mandate_holds_for_the_day() {
    let sts = Arc::new(
        Sts::with(|facts| {
            facts.mandate.scope.max_calls = Some(3);
            facts.task.mandate_digest = facts.mandate.digest();
        })
        .await,
    );
    let of = Party { name: "billing".to_owned(), key: sts.agent_key.clone() };
    let holder = async || {
        let own = key();
        let token = sts.send(sts.request(&own)).await.expect("a token");
        let claims = sts.verified(&token);
        Holder { of: of.clone(), key: own, token: token.access_token, claims }
    };
    let (one, two) = (holder().await, holder().await);
    for holder in [&one, &two, &one] {
        assert_eq!(calls(&sts, holder, "lookup").await, Ok(()));
    }
    for holder in [&one, &two, &holder().await] {
        assert_eq!(calls(&sts, holder, "lookup").await, Err("limit_reached".to_owned()));
    }
    sts.world.clock.advance(std::time::Duration::from_hours(24));
    assert_eq!(calls(&sts, &holder().await, "lookup").await, Ok(()));
}
