//! Instances that are not in the register yet, and the tasks that they will work on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use authority::{Authority, CounterKey, Effect, FactsError, Reader};
use model::{
    Agent, AgentName, Attestation, Delegation, Delegator, Entropy, FactKey, Instance, InstanceId,
    InstanceState, Mandate, MandateId, Person, PersonId, Purpose, PurposeId, Rated, Scope, Source,
    Sourced, Standing, Stopped, Task, TaskId, TaskState, TaskSubject, Thumbprint, Timestamp,
};
use oauth::initiation::AskedTask;
use serde::Serialize;

use crate::consented::Consented;
use crate::initiated::Initiated;
use crate::narrow;
use crate::renewal::Renewal;

/// How long a task lasts if what it rests on does. It is never prolonged, nor followed by another
/// one for the same instance, which would begin with a clean session: after it, a new instance with
/// a new key starts afresh.
pub(crate) const TASK_LIFETIME: Duration = Duration::from_hours(8);

/// How many parts of one task can be handed on, over all its life.
const PARTS_MAX: i64 = 10_000;

/// The most agents that are known of one workload: beyond them it is found all the same.
const NAMES_MAX: usize = 64;

/// An instance with its task, not yet in the register.
pub(crate) struct Proposed {
    pub(crate) standing: Sourced<Arc<Standing>>,
    pub(crate) effects: Vec<Effect>,
    /// The other agents as whose instances its workload was entered.
    pub(crate) others: BTreeSet<AgentName>,
}

impl Proposed {
    /// The last token of the instance: none, as nobody knows it yet.
    pub(crate) const fn given_before(&self) -> Sourced<Option<Renewal>> {
        Sourced { value: None, keys: Vec::new(), revision: self.standing.revision }
    }
}

/// On what the task of a new instance rests.
pub(crate) enum Rests {
    /// The sponsor's standing mandate for this purpose.
    Standing(PurposeId),
    /// The word of a system.
    Initiated(Box<Initiated>),
    /// The word of the person themselves.
    Consented(Consented),
    /// A part of another instance's task.
    Delegated(Box<Part>),
}

/// A part of a task, as its holder hands it on.
pub(crate) struct Part {
    /// By what.
    pub(crate) delegation: Delegation,
    /// What it is.
    pub(crate) task: AskedTask,
    /// What taking it up uses up.
    pub(crate) uses: Effect,
}

/// Why there is no instance to propose.
pub(crate) enum NotProposed {
    /// What was handed on is not a part of the task, or more than the agent may have.
    TooWide,
    /// The facts could not be read.
    Facts(FactsError),
}

impl From<FactsError> for NotProposed {
    fn from(error: FactsError) -> Self {
        Self::Facts(error)
    }
}

/// What a new task is made of.
struct Basis {
    mandate: Mandate,
    purpose: Purpose,
    scope: Scope,
    deadline: Timestamp,
    delegation: Option<Delegation>,
    delegators: Arc<Vec<Delegator>>,
    /// What opening it does besides.
    effects: Vec<Effect>,
}

/// On what the new task of `agent` rests.
async fn basis(
    reader: &mut Reader<'_>,
    (agent, rests): (&Agent, Rests),
    (now, entropy): (Timestamp, &dyn Entropy),
) -> Result<Basis, NotProposed> {
    let part = match rests {
        Rests::Standing(purpose) => {
            let key = FactKey::standing_mandate(&agent.name, &purpose);
            let id: MandateId = reader.need(key).await?;
            let mandate: Mandate = reader.need(FactKey::mandate(id)).await?;
            return Ok(root(reader, mandate, Vec::new()).await?);
        }
        Rests::Initiated(initiated) => {
            let uses = initiated.uses.clone();
            let mandate = initiated.mandate(&agent.name, (now, entropy));
            let entered = new_fact(FactKey::mandate(mandate.id), &mandate);
            return Ok(root(reader, mandate, vec![uses, entered]).await?);
        }
        Rests::Consented(Consented { mandate, uses, .. }) => {
            let mandate: Mandate = reader.need(FactKey::mandate(mandate)).await?;
            return Ok(root(reader, mandate, uses.into_iter().collect()).await?);
        }
        Rests::Delegated(part) => *part,
    };
    let Part { delegation, task, uses } = part;
    let delegators = authority::delegators(reader, Some(delegation.parent)).await?;
    let parent = delegators.first().map(|delegator| &delegator.task);
    let mandate = parent.ok_or(NotProposed::TooWide)?.mandate;
    let mandate: Mandate = reader.need(FactKey::mandate(mandate)).await?;
    let purpose: Purpose = reader.need(FactKey::purpose(&mandate.purpose)).await?;
    let on = narrow::Basis { agent, mandate: &mandate, purpose: &purpose };
    let narrowed = narrow::narrow(delegators.iter().map(Delegator::hop), &on, &task);
    let (scope, deadline) = narrowed.map_err(|narrow::TooWide| NotProposed::TooWide)?.into_parts();
    let (delegation, effects) = (Some(delegation), vec![uses]);
    Ok(Basis { mandate, purpose, scope, deadline, delegation, delegators, effects })
}

/// A root task is as wide as its mandate, and as long as both may be.
async fn root(
    reader: &mut Reader<'_>,
    mandate: Mandate,
    effects: Vec<Effect>,
) -> Result<Basis, FactsError> {
    let purpose: Purpose = reader.need(FactKey::purpose(&mandate.purpose)).await?;
    let (scope, deadline) = (mandate.scope.clone(), mandate.valid_until);
    let (delegation, delegators) = (None, Arc::default());
    Ok(Basis { mandate, purpose, scope, deadline, delegation, delegators, effects })
}

/// The standing of the new instance of `agent` that holds `key`, or none, whose task `rests` on a
/// mandate. The host vouched for its process, if it did, in `source`, or the platform for its workload.
/// While others of the agent or the workload are stopped, it starts as they are.
pub(crate) async fn propose(
    authority: &Authority,
    (agent, rests): (&AgentName, Rests),
    (instance, key, source): (InstanceId, Option<Thumbprint>, &Source),
) -> Result<Proposed, NotProposed> {
    let mut reader = authority.pip().reader();
    let agent: Agent = reader.need(FactKey::agent(agent)).await?;
    let sponsor: Person = reader.need(FactKey::person(&agent.sponsor)).await?;
    let (now, entropy) = (authority.clock().now(), authority.entropy().as_ref());
    let basis = basis(&mut reader, (&agent, rests), (now, entropy)).await?;
    let Basis { mandate, purpose, scope, deadline, delegation, delegators, mut effects } = basis;
    let initiator = authority::initiator(&mut reader, &mandate.basis).await?;
    let subject = mandate.basis.subject();
    let person = match &subject {
        TaskSubject::OnBehalfOf { person } => {
            Some(reader.need::<Person>(FactKey::person(person)).await?)
        }
        TaskSubject::Autonomous => None,
    };
    let task = Task {
        id: TaskId::new(now, entropy),
        instance,
        delegation,
        mandate: mandate.id,
        mandate_digest: mandate.digest(),
        purpose: purpose.id.clone(),
        subject,
        scope,
        opened: now,
        deadline: now.plus(TASK_LIFETIME).min(deadline),
        state: TaskState::Open,
    };
    let entering = Entering { id: instance, task: task.id, key, source };
    let instance = entered(&mut reader, &agent, (entering, now)).await?;
    let device = reader.vouched_by(&instance).await?;
    let (others, named) = names(&mut reader, &instance).await?;
    effects.extend(named);
    if let Some(parent) = task.parent() {
        let counter = CounterKey(format!("{parent}/parts"));
        effects.push(Effect::Count { counter, amount: 1, limit: Some(PARTS_MAX) });
        effects.push(new_fact(FactKey::part(parent, task.id), &task.id));
    }
    effects.extend(enters(&instance));
    effects.push(new_fact(FactKey::task(task.id), &task));
    let heard = authority::heard(&mut reader, (&sponsor, &delegators, person.as_ref())).await?;
    let mut standing = Standing {
        instance,
        agent,
        sponsor,
        device,
        subject: person,
        task,
        delegators,
        elevations: Vec::new(),
        mandate,
        initiator,
        purpose,
        owners: BTreeMap::new(),
        heard,
        sharing: BTreeSet::new(),
    };
    standing.sharing = authority::sharing(&mut reader, &standing).await?;
    standing.owners = forgetting(&mut reader, &standing).await?;
    effects.extend(authority::opening(&standing, now, authority.limits()));
    Ok(Proposed { standing: reader.sourced(Arc::new(standing)), effects, others })
}

/// Who is to answer for it that agents in `standing` forget, where somebody said that they do: a new task begins with
/// what counts as read. Owners are asked for besides when something is done.
async fn forgetting(
    reader: &mut Reader<'_>,
    standing: &Standing,
) -> Result<BTreeMap<PersonId, Person>, FactsError> {
    let said = standing.hops().filter(|hop| hop.agent.forgets.is_some());
    let owners: BTreeSet<_> = said.map(|hop| hop.agent.technical_owner.clone()).collect();
    let mut here = BTreeMap::new();
    for id in owners {
        let owner: Option<Person> = reader.find(FactKey::person(&id)).await?;
        here.extend(owner.map(|owner| (id, owner)));
    }
    Ok(here)
}

/// How `instance` starts: as the worst of those that are stopped, of its agent, or of its workload under
/// whatever name.
async fn state_of_new(
    reader: &mut Reader<'_>,
    instance: &Instance,
) -> Result<InstanceState, FactsError> {
    let mut all = Stopped::default();
    for mark in instance.stop_marks() {
        all.0.extend(reader.find::<Stopped>(mark).await?.unwrap_or_default().0);
    }
    Ok(all.state_of_new())
}

/// The other agents as whose instances the workload of `instance` was entered, and what entering it as
/// one of its agent adds to that.
pub(crate) async fn names(
    reader: &mut Reader<'_>,
    instance: &Instance,
) -> Result<(BTreeSet<AgentName>, Option<Effect>), FactsError> {
    let Some(workload) = &instance.workload else { return Ok((BTreeSet::new(), None)) };
    let key = FactKey::agents_of(workload);
    let mut all: BTreeSet<AgentName> = reader.find(key.clone()).await?.unwrap_or_default();
    let is_new = all.len() < NAMES_MAX && all.insert(instance.agent.clone());
    let entered = is_new.then(|| Effect::Put { key, body: json::canonical_of(&all) });
    all.remove(&instance.agent);
    Ok((all, entered))
}

/// An instance that enters the register.
pub(crate) struct Entering<'a> {
    pub(crate) id: InstanceId,
    /// The task that it holds.
    pub(crate) task: TaskId,
    /// The key that it holds, if its tokens are bound to one.
    pub(crate) key: Option<Thumbprint>,
    /// The host vouched for its process there, if it did.
    pub(crate) source: &'a Source,
}

/// The instance of `agent` that enters now. While others of the agent or the workload are stopped, it
/// starts as they are.
pub(crate) async fn entered(
    reader: &mut Reader<'_>,
    agent: &Agent,
    (entering, now): (Entering<'_>, Timestamp),
) -> Result<Instance, FactsError> {
    let Entering { id, task, key, source } = entering;
    let mut instance = Instance {
        id,
        agent: agent.name.clone(),
        key,
        attestation: attestation(agent, source),
        process: source.process.clone(),
        workload: source.workload.clone(),
        device: source.device,
        keys_compromised: agent.keys_compromised,
        task,
        departed: agent.departed.clone().filter(|it| it.level_at(now).is_some()),
        started: now,
        risk: agent.risk_of_new.clone(),
        rated: Rated::default(),
        state: InstanceState::Active,
    };
    instance.state = state_of_new(reader, &instance).await?;
    Ok(instance)
}

/// What enters `instance` in the register: its key, if it has one, is nobody else's.
pub(crate) fn enters(instance: &Instance) -> impl Iterator<Item = Effect> {
    let key = instance.key.into_iter().flat_map(|key| {
        let unregistered = Effect::Lacks { key: FactKey::registered(&key) };
        [unregistered, new_fact(FactKey::key(&key), &instance.id)]
    });
    key.chain([new_fact(FactKey::instance(instance.id), instance)])
}

/// A platform vouches for a workload, and the kernel for a process, that the agent's rules admit; for
/// any other, only the agent's registered key says that the instance is its own.
fn attestation(agent: &Agent, source: &Source) -> Attestation {
    if agent.admits_workload(source.workload.as_ref()) {
        Attestation::Workload
    } else if agent.admits(source.process.as_ref()) {
        Attestation::Host
    } else {
        Attestation::User
    }
}

pub(crate) fn new_fact<T: Serialize>(key: FactKey, fact: &T) -> Effect {
    Effect::PutNew { key, body: json::canonical_of(fact) }
}
