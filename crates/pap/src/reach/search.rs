//! Looks for all that an instance could do: itself, and by whom it could hand its work on to, breadth first.
//!
//! Of each agent that could be handed the work, one instance is looked at that is handed all that may be handed on, and for
//! which as much vouches as that agent's rules allow, or less. What is decided of it depends on who it is, on the agents of
//! its chain whatever their order, and on who vouches: nothing is looked at twice that agrees in these.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use model::{
    Agent, AgentName, Attestation, Binding, Bounds, DecisionId, Delegation, Delegator, Entropy,
    Instance, InstanceId, InstanceState, MandateBasis, Rated, ServerName, Source, Standing, Task,
    TaskId, TaskState, Thumbprint, ToolRef,
};
use pdp::Outlook;

use super::world::{World, best};

/// The most holders of parts of the work that are looked at.
pub(super) const HOLDERS_MAX: usize = 256;

/// The most questions that are asked: of calls, and of handing work on.
pub(super) const QUESTIONS_MAX: usize = 50_000;

/// What reads things of a server that no list names in advance, or tells it any.
const BESIDE_TOOLS: [&str; 5] = [
    "completion/complete",
    "prompts/get",
    "resources/read",
    "resources/subscribe",
    "server/request",
];

/// What lists the things of a server beside its tools.
const LISTS: [&str; 4] =
    ["prompts/list", "resources/list", "resources/templates/list", "subscriptions/listen"];

/// A server, and what could be done there beside calling its tools.
pub(super) type Place = (ServerName, &'static str);

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
    /// Servers where more could be done than call tools, with the method.
    pub(super) beside: BTreeMap<Place, Chain>,
    /// Whether there are more holders than were looked at.
    pub(super) more_holders: bool,
    /// Whether there are more questions than were asked.
    pub(super) more_questions: bool,
}

/// Who holds the work, or a part of it.
pub(super) struct Holder {
    pub(super) standing: Arc<Standing>,
    pub(super) chain: Chain,
}

/// The questions that may still be asked.
pub(super) struct Questions {
    left: usize,
    /// Whether there were more than may be.
    pub(super) more: bool,
    /// What was asked of agents already: where policy may permit more than tools.
    places: BTreeMap<AgentName, Arc<[Place]>>,
}

/// All who could hold the work, or a part of it, breadth first.
pub(super) struct Holders<'a> {
    world: &'a World,
    entropy: &'a dyn Entropy,
    next: VecDeque<Holder>,
    /// Who was told of last: to whom they could hand it on is asked when the next is wanted.
    last: Option<Arc<Holder>>,
    seen: BTreeSet<(AgentName, BTreeSet<AgentName>, Attestation)>,
    looked_at: usize,
    /// Whether there are more than are looked at.
    pub(super) more: bool,
}

impl<'a> Holders<'a> {
    /// Those by whom work begins in `world` that stand as `standings` say, and all to whom they could hand it on.
    pub(super) fn of(
        world: &'a World,
        standings: impl IntoIterator<Item = Arc<Standing>>,
        entropy: &'a dyn Entropy,
    ) -> Self {
        let begin = |standing| Holder { standing, chain: Chain::new() };
        let next = standings.into_iter().map(begin).collect();
        let (last, seen) = (None, BTreeSet::new());
        Self { world, entropy, next, last, seen, looked_at: 0, more: false }
    }

    /// The next of them.
    pub(super) async fn next(&mut self, questions: &mut Questions) -> Option<Arc<Holder>> {
        if let Some(last) = self.last.take() {
            for below in last.below((self.world, self.entropy), questions).await {
                if self.seen.insert(below.place()) {
                    self.next.push_back(below);
                }
            }
        }
        let holder = Arc::new(self.next.pop_front()?);
        if self.looked_at > HOLDERS_MAX {
            self.more = true;
            return None;
        }
        self.looked_at += 1;
        self.last = Some(holder.clone());
        Some(holder)
    }
}

impl Default for Questions {
    fn default() -> Self {
        Self { left: QUESTIONS_MAX, more: false, places: BTreeMap::new() }
    }
}

impl Questions {
    /// Whether one more may be asked.
    pub(super) async fn may_ask(&mut self) -> bool {
        // Others want to be served meanwhile.
        tokio::task::yield_now().await;
        self.more |= self.left == 0;
        self.left = self.left.saturating_sub(1);
        !self.more
    }

    /// Where policy in `world` may permit more than tools to instances of `agent`.
    async fn places(&mut self, world: &World, agent: &AgentName) -> Arc<[Place]> {
        if let Some(known) = self.places.get(agent) {
            return known.clone();
        }
        let mut all = Vec::new();
        for server in world.servers.keys() {
            // Others want to be served meanwhile.
            tokio::task::yield_now().await;
            let methods = BESIDE_TOOLS.iter().chain(&LISTS).copied();
            let permitted =
                methods.filter(|method| world.snapshot.could_touch(agent, (*method, server)));
            all.extend(permitted.map(|method| (server.clone(), method)));
        }
        let all: Arc<[Place]> = all.into();
        self.places.insert(agent.clone(), all.clone());
        all
    }
}

/// Whether what is done by `method` has no name in any list.
pub(super) fn is_unlisted(method: &str) -> bool {
    BESIDE_TOOLS.contains(&method)
}

impl Reach {
    /// What is in reach of who stands as `standing` says in `world`.
    pub(super) async fn of(world: &World, standing: Arc<Standing>, entropy: &dyn Entropy) -> Self {
        let (mut reach, mut questions) = (Self::default(), Questions::default());
        let mut holders = Holders::of(world, [standing], entropy);
        while let Some(holder) = holders.next(&mut questions).await {
            reach.look(world, &holder, &mut questions).await;
        }
        (reach.more_holders, reach.more_questions) = (holders.more, questions.more);
        reach
    }

    /// Asks what could come of each tool in the hands of `holder`, unless it is in reach already.
    async fn look(&mut self, world: &World, holder: &Holder, questions: &mut Questions) {
        if !holder.chain.is_empty() {
            let name = holder.standing.agent.name.clone();
            self.agents.entry(name).or_insert_with(|| holder.chain.clone());
        }
        for place in holder.beside(world, questions).await {
            self.beside.entry(place).or_insert_with(|| holder.chain.clone());
        }
        for (name, tool) in &world.tools {
            let by_chain = self.delegated.get(name).map(|it| it.outlook);
            let known = [self.direct.get(name).copied(), by_chain];
            if known.contains(&Some(Outlook::Possible)) {
                continue;
            }
            if !questions.may_ask().await {
                return;
            }
            let outlook = world.of_call(&holder.standing, tool).outlook;
            self.note(name, outlook, &holder.chain);
        }
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

    /// Those to whom it could hand on all that it may, of each agent one for each that may vouch for it.
    async fn below(
        &self,
        (world, entropy): (&World, &dyn Entropy),
        questions: &mut Questions,
    ) -> Vec<Self> {
        let mut all = Vec::new();
        for agent in world.agents.iter().filter(|agent| !world.stopped.contains(&agent.name)) {
            if !questions.may_ask().await {
                break;
            }
            if world.hands_on(&self.standing, agent) {
                all.extend(self.hands_to(world, agent, entropy));
            }
        }
        all
    }

    /// The servers where it could do more than call tools, each with the method: of who acts by a consent, but for lists, those
    /// that the person was shown.
    pub(super) async fn beside(&self, world: &World, questions: &mut Questions) -> Vec<Place> {
        let places = questions.places(world, &self.standing.agent.name).await;
        let agreed = match &self.standing.mandate.basis {
            MandateBasis::Consented { agreed, .. } => Some(&agreed.resources),
            MandateBasis::Standing { .. } | MandateBasis::Initiated { .. } => None,
        };
        let is_agreed = |(server, method): &&Place| {
            !is_unlisted(method) || agreed.is_none_or(|all| all.contains(server))
        };
        let places = places.iter().filter(is_agreed);
        places.filter(|(server, _)| self.touches(server)).cloned().collect()
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
pub(super) fn vouched(agent: &Agent) -> impl Iterator<Item = (Attestation, Source)> {
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
    (agent, vouched_by): (&Agent, (Attestation, Source)),
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
    let standing = Standing {
        instance: entered(world, (agent, vouched_by), (instance, task)),
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
    Some(world.known(standing))
}

/// An instance of `agent` that has just begun, as whoever vouches for it could.
pub(super) fn entered(
    world: &World,
    (agent, (attestation, source)): (&Agent, (Attestation, Source)),
    (id, task): (InstanceId, TaskId),
) -> Instance {
    Instance {
        id,
        agent: agent.name.clone(),
        key: Some(Thumbprint::from_bytes([0; 32])),
        attestation,
        process: source.process,
        workload: source.workload,
        device: None,
        keys_compromised: agent.keys_compromised,
        task,
        departed: agent.departed.clone(),
        started: world.now,
        risk: agent.risk_of_new.clone(),
        rated: Rated::default(),
        state: InstanceState::Active,
    }
}
