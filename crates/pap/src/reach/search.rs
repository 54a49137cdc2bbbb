//! Looks for all that an instance could do: itself, and by whom it could hand its work on to, breadth first.
//!
//! Of each agent that could be handed the work, one instance is looked at that is handed all that may be handed on, and for
//! which as much vouches as that agent's rules allow, or less. What is decided of it depends on who it is, on the agents of
//! its chain whatever their order, and on who vouches: nothing is looked at twice that agrees in these.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use model::{
    Agent, AgentName, Attestation, Binding, Bounds, DecisionId, Delegation, Delegator, Entropy,
    Instance, InstanceId, InstanceState, Rated, ServerName, Source, Standing, Task, TaskId,
    TaskState, Thumbprint, ToolRef,
};
use pdp::Outlook;

use super::world::{World, best};

/// The most holders of parts of the work that are looked at.
pub(super) const HOLDERS_MAX: usize = 256;

/// The most questions that are asked: of calls, and of handing work on.
pub(super) const QUESTIONS_MAX: usize = 50_000;

/// What reads things of a server that no list names in advance.
const BESIDE_TOOLS: [&str; 2] = ["prompts/get", "resources/read"];

/// The agents to which the work is handed on, one after the other; none for the instance itself.
pub(super) type Chain = Vec<AgentName>;

/// A tool that comes into reach as the work is handed on.
#[derive(Clone, Debug)]
pub(super) struct ByChain {
    pub(super) outlook: Outlook,
    pub(super) chain: Chain,
}

/// What is in reach.
#[derive(Default)]
pub(super) struct Reach {
    /// What the instance itself could do.
    pub(super) direct: BTreeMap<ToolRef, Outlook>,
    /// What it could not, and somebody could to whom the work is handed on: by the shortest chain.
    pub(super) delegated: BTreeMap<ToolRef, ByChain>,
    /// The agents to which the work could be handed on, each by the shortest chain.
    pub(super) agents: BTreeMap<AgentName, Chain>,
    /// Servers of which more could be read than tools, with the method.
    pub(super) beside: BTreeMap<(ServerName, &'static str), Chain>,
    /// Whether there are more holders than were looked at.
    pub(super) more_holders: bool,
    /// Whether there are more questions than were asked.
    pub(super) more_questions: bool,
    questions: usize,
}

/// Who holds the work, or a part of it.
struct Holder {
    standing: Arc<Standing>,
    chain: Chain,
}

impl Reach {
    /// What is in reach of who stands as `standing` says in `world`.
    pub(super) async fn of(world: &World, standing: Arc<Standing>, entropy: &dyn Entropy) -> Self {
        let (mut reach, mut seen) = (Self::default(), BTreeSet::new());
        let mut next = VecDeque::from([Holder { standing, chain: Chain::new() }]);
        let mut holders = 0;
        while let Some(holder) = next.pop_front() {
            if holders > HOLDERS_MAX {
                reach.more_holders = true;
                break;
            }
            holders += 1;
            reach.look(world, &holder).await;
            for below in reach.below(world, (&holder, entropy)).await {
                let place = below.place();
                if seen.insert(place) {
                    let name = below.standing.agent.name.clone();
                    reach.agents.entry(name).or_insert_with(|| below.chain.clone());
                    next.push_back(below);
                }
            }
        }
        reach
    }

    /// Asks what could come of each tool in the hands of `holder`, unless it is in reach already.
    async fn look(&mut self, world: &World, holder: &Holder) {
        for server in world.servers.keys().filter(|server| holder.touches(server)) {
            for method in BESIDE_TOOLS {
                let agent = &holder.standing.agent.name;
                if world.snapshot.could_touch(agent, (method, server)) {
                    let place = (server.clone(), method);
                    self.beside.entry(place).or_insert_with(|| holder.chain.clone());
                }
            }
        }
        for (name, tool) in &world.tools {
            let by_chain = self.delegated.get(name).map(|it| it.outlook);
            let known = [self.direct.get(name).copied(), by_chain];
            if known.contains(&Some(Outlook::Possible)) {
                continue;
            }
            if !self.may_ask().await {
                return;
            }
            let outlook = world.of_call(&holder.standing, tool);
            self.note(name, outlook, &holder.chain);
        }
    }

    /// Whether one more question may be asked.
    async fn may_ask(&mut self) -> bool {
        // Others want to be served meanwhile.
        tokio::task::yield_now().await;
        self.more_questions = self.questions == QUESTIONS_MAX;
        self.questions += usize::from(!self.more_questions);
        !self.more_questions
    }

    /// Those to whom `holder` could hand on all that it may, of each agent one for each that may vouch for it.
    async fn below(
        &mut self,
        world: &World,
        (holder, entropy): (&Holder, &dyn Entropy),
    ) -> Vec<Holder> {
        let mut all = Vec::new();
        for agent in world.agents.iter().filter(|agent| !world.stopped.contains(&agent.name)) {
            if !self.may_ask().await {
                break;
            }
            if world.hands_on(&holder.standing, agent) {
                all.extend(holder.hands_to(world, agent, entropy));
            }
        }
        all
    }

    fn note(&mut self, tool: &ToolRef, outlook: Outlook, chain: &Chain) {
        if outlook == Outlook::Denied {
            return;
        }
        if chain.is_empty() {
            self.direct.insert(tool.clone(), outlook);
            return;
        }
        let known = [self.direct.get(tool).copied(), self.delegated.get(tool).map(|it| it.outlook)];
        let known = known.into_iter().flatten().fold(Outlook::Denied, best);
        if best(known, outlook) != known {
            let chain = chain.clone();
            self.delegated.insert(tool.clone(), ByChain { outlook, chain });
        }
    }
}

impl Holder {
    /// What tells it from the others that are looked at.
    fn place(&self) -> (AgentName, BTreeSet<AgentName>, Attestation) {
        let Standing { agent, delegators, .. } = self.standing.as_ref();
        let above = delegators.iter().map(|delegator| delegator.agent.name.clone()).collect();
        (agent.name.clone(), above, self.standing.attestation())
    }

    /// Whether all that bounds it has to do with `server`.
    fn touches(&self, server: &ServerName) -> bool {
        let Standing { mandate, purpose, .. } = self.standing.as_ref();
        let hops = self.standing.hops().flat_map(|hop| [&hop.task.scope, &hop.agent.ceiling]);
        hops.chain([&mandate.scope, &purpose.scope]).all(|scope| scope.touches(server))
    }

    /// The instances of `agent` to which it hands on all that it may: one for each that may vouch for it.
    fn hands_to<'a>(
        &'a self,
        world: &'a World,
        agent: &'a Agent,
        entropy: &'a dyn Entropy,
    ) -> impl Iterator<Item = Self> + 'a {
        vouched(agent).filter_map(move |source| {
            let ids = (InstanceId::new(world.now, entropy), TaskId::new(world.now, entropy));
            let standing = handed(world, &self.standing, (agent, source), ids)?;
            let at = (Binding::Dpop, world.now);
            pdp::stands::standing(&standing, &world.stops, at).ok()?;
            let chain = self.chain.iter().chain([&agent.name]).cloned().collect();
            Some(Self { standing: Arc::new(standing), chain })
        })
    }
}

/// Where instances of `agent` can come from: nobody vouches for them but its key, or whoever its rules
/// admit.
fn vouched(agent: &Agent) -> impl Iterator<Item = (Attestation, Source)> {
    let key = (Attestation::User, Source::default());
    let host = agent.host.as_ref().map(|rule| {
        let source = Source { process: Some(rule.example()), ..Source::default() };
        (Attestation::Host, source)
    });
    let workload = agent.workloads.first().map(|rule| {
        let source = Source { workload: Some(rule.example()), ..Source::default() };
        (Attestation::Workload, source)
    });
    [Some(key), host, workload].into_iter().flatten()
}

/// The standing of an instance of `agent` to which who stands as `above` says hands on all that they may;
/// none, if that is nothing.
fn handed(
    world: &World,
    above: &Standing,
    (agent, (attestation, source)): (&Agent, (Attestation, Source)),
    (instance, task): (InstanceId, TaskId),
) -> Option<Standing> {
    let bounds = Bounds::of(above.hops(), agent, (&above.mandate, &above.purpose))?;
    let (scope, deadline) = (bounds.widest(), bounds.deadline);
    let sponsor = world.people.get(&agent.sponsor)?;
    if scope.tools.is_empty() || deadline <= world.now {
        return None;
    }
    let by = above.instance.id;
    // Nobody decided on it: it is asked what would be.
    let delegation =
        Delegation { parent: above.task.id, by, decision: DecisionId::from_bytes([0; 16]) };
    let delegator = Delegator {
        instance: above.instance.clone(),
        agent: above.agent.clone(),
        sponsor: above.sponsor.clone(),
        device: above.device.clone(),
        task: above.task.clone(),
    };
    let mut standing = Standing {
        instance: Instance {
            id: instance,
            agent: agent.name.clone(),
            key: Some(Thumbprint::from_bytes([0; 32])),
            attestation,
            process: source.process,
            workload: source.workload,
            device: None,
            task,
            departed: agent.departed.clone(),
            started: world.now,
            risk: agent.risk_of_new.clone(),
            rated: Rated::default(),
            state: InstanceState::Active,
        },
        agent: agent.clone(),
        sponsor: sponsor.clone(),
        device: None,
        task: Task {
            id: task,
            instance,
            delegation: Some(delegation),
            scope,
            opened: world.now,
            deadline,
            state: TaskState::Open,
            ..above.task.clone()
        },
        delegators: Arc::new(
            std::iter::once(delegator).chain(above.delegators.iter().cloned()).collect(),
        ),
        elevations: Vec::new(),
        ..above.clone()
    };
    let named: Vec<_> = standing.named_owners().into_iter().cloned().collect();
    let known = named.into_iter().filter_map(|id| world.people.get_key_value(&id));
    standing.owners = known.map(|(id, person)| (id.clone(), person.clone())).collect();
    let source = sponsor.source.as_ref();
    let heard = source.and_then(|source| world.heard.get_key_value(source));
    standing.heard.extend(heard.map(|(source, until)| (source.clone(), *until)));
    Some(standing)
}
