//! What a token is asked for: bound to the instance that asks, or to the one that it will be.

use std::time::Duration;

use authority::{Actor, Circumstances, Effect, FactsError, Governed, Pip, Reader};
use model::{
    AccessRequest, ActionName, Agent, AgentName, Attestation, Binding, Clock, Entropy, FactKey,
    Instance, InstanceId, Mandate, MandateId, Person, Principal, Purpose, PurposeId, ResourceRef,
    ServerName, Source, Sourced, Standing, Stopped, Task, TaskId, TaskState, TaskSubject,
    Thumbprint,
};
use serde::Serialize;

use crate::initiated::Initiated;
use crate::renewal::{Asked, Renewal};

/// How long a root task lasts if its mandate does. It is never prolonged, nor followed by another
/// one for the same instance, which would begin with a clean session: after it, a new instance with
/// a new key starts afresh.
pub(crate) const TASK_LIFETIME: Duration = Duration::from_hours(8);

/// The enforcement point as records name it.
pub(crate) const POINT: &str = "token-endpoint";

/// A token that somebody asks for.
#[derive(Debug)]
pub struct TokenGrant {
    request: AccessRequest,
    circumstances: Circumstances,
    pub(crate) server: ServerName,
    pub(crate) audience: String,
    pub(crate) key: Thumbprint,
    pub(crate) renewing: Renewing,
}

/// What the token follows, and from where it is asked for.
#[derive(Debug)]
pub(crate) struct Renewing {
    pub(crate) asked: Asked,
    /// What was given before; the token is not issued if that is another by then.
    pub(crate) last: Sourced<Option<Renewal>>,
    pub(crate) source: Source,
}

impl Governed for TokenGrant {
    fn request(&self) -> &AccessRequest {
        &self.request
    }

    fn circumstances(&self) -> &Circumstances {
        &self.circumstances
    }
}

/// Which instance asks.
pub(crate) enum Asker {
    /// One that is in the register.
    Known(Box<Instance>),
    /// One that will be.
    New(Box<Proposed>),
}

/// An instance with its root task, not yet in the register.
pub(crate) struct Proposed {
    standing: Sourced<Standing>,
    effects: Vec<Effect>,
}

impl Asker {
    pub(crate) fn instance(&self) -> InstanceId {
        match self {
            Self::Known(instance) => instance.id,
            Self::New(proposed) => proposed.standing.value.instance.id,
        }
    }
}

impl TokenGrant {
    pub(crate) fn new(
        asker: Asker,
        (server, audience): (ServerName, String),
        (key, renewing): (Thumbprint, Renewing),
        (uses, arrived): (Vec<Effect>, Duration),
    ) -> Self {
        let (instance, actor) = match asker {
            Asker::Known(instance) => (instance.id, Actor::Known(instance.id)),
            Asker::New(proposed) => {
                let Proposed { standing, effects } = *proposed;
                let instance = standing.value.instance.id;
                (instance, Actor::Proposed { standing: Box::new(standing), effects })
            }
        };
        let request = AccessRequest {
            principal: Principal::Instance(instance),
            action: ActionName::method("token/issue"),
            resource: ResourceRef::Server(server.clone()),
            input: serde_json::Value::Null,
        };
        let circumstances = Circumstances {
            actor,
            binding: Binding::Dpop,
            point: POINT,
            arrived,
            trace: None,
            uses,
            enclosed: Vec::new(),
        };
        Self { request, circumstances, server, audience, key, renewing }
    }
}

/// On what the task of a new instance rests.
pub(crate) enum Rests {
    /// The sponsor's standing mandate for this purpose.
    Standing(PurposeId),
    /// The word of a system.
    Initiated(Box<Initiated>),
}

/// The standing of a new instance of `agent` that holds `key`, whose task `rests` on a mandate. The
/// host vouched for its process, if it did, in `source`. While others of the agent are stopped, it
/// starts as they are.
pub(crate) async fn propose(
    pip: &Pip,
    (agent, rests): (&AgentName, Rests),
    (key, source): (Thumbprint, &Source),
    (clock, entropy): (&dyn Clock, &dyn Entropy),
) -> Result<Proposed, FactsError> {
    let mut reader = Reader::new(pip.store());
    let agent: Agent = reader.need(FactKey::agent(agent)).await?;
    let sponsor: Person = reader.need(FactKey::person(&agent.sponsor)).await?;
    let stopped = reader.find::<Stopped>(FactKey::stopped(&agent.name)).await?;
    let now = clock.now();
    let mut effects = Vec::new();
    let mandate = match rests {
        Rests::Standing(purpose) => {
            let key = FactKey::standing_mandate(&agent.name, &purpose);
            let id: MandateId = reader.need(key).await?;
            reader.need::<Mandate>(FactKey::mandate(id)).await?
        }
        Rests::Initiated(initiated) => {
            effects.push(initiated.uses.clone());
            let mandate = initiated.mandate(&agent.name, (now, entropy));
            effects.push(new_fact(FactKey::mandate(mandate.id), &mandate));
            mandate
        }
    };
    let initiator = authority::initiator(&mut reader, &mandate.basis).await?;
    let purpose: Purpose = reader.need(FactKey::purpose(&mandate.purpose)).await?;
    let subject = mandate.basis.subject();
    let person = match &subject {
        TaskSubject::OnBehalfOf { person } => {
            Some(reader.need::<Person>(FactKey::person(person)).await?)
        }
        TaskSubject::Autonomous => None,
    };
    let (instance, task) = (InstanceId::new(now, entropy), TaskId::new(now, entropy));
    let task = Task {
        id: task,
        instance,
        mandate: mandate.id,
        mandate_digest: mandate.digest(),
        purpose: purpose.id.clone(),
        subject,
        scope: mandate.scope.clone(),
        opened: now,
        deadline: now.plus(TASK_LIFETIME).min(mandate.valid_until),
        state: TaskState::Open,
    };
    let instance = Instance {
        id: instance,
        agent: agent.name.clone(),
        key,
        attestation: attestation(&agent, source),
        process: source.process.clone(),
        task: task.id,
        started: now,
        state: stopped.unwrap_or_default().state_of_new(),
    };
    effects.extend([
        new_fact(FactKey::key(&key), &instance.id),
        new_fact(FactKey::instance(instance.id), &instance),
        new_fact(FactKey::task(task.id), &task),
    ]);
    let standing =
        Standing { instance, agent, sponsor, subject: person, task, mandate, initiator, purpose };
    Ok(Proposed { standing: reader.sourced(standing), effects })
}

/// The kernel vouches for a process that the agent's rule admits; for any other, only the agent's
/// registered key says that the instance is its own.
fn attestation(agent: &Agent, source: &Source) -> Attestation {
    if agent.admits(source.process.as_ref()) { Attestation::Host } else { Attestation::User }
}

fn new_fact<T: Serialize>(key: FactKey, fact: &T) -> Effect {
    Effect::PutNew { key, body: json::canonical_of(fact) }
}
