//! What is taken away from who acts, as the command for it does, and what is over by that.

use authority::{AdminAct, ChangedBy, Ending, NotAdministered, NotPermitted};
use model::{
    Agent, AgentName, AgentState, Clock as _, Device, DeviceState, FactKey, InitiatingSystem,
    Instance, InstanceState, Mandate, Person, PersonId, PersonState, ResourceRef, SystemName,
    SystemState, Task, TaskEnd, TaskState, TaskSubject, Timestamp, Withdrawn,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use store::Store as _;

use crate::client::Sts;
use crate::delegation::{Holder, task_of};
use crate::initiations::enter;
use crate::resume::task_id;
use crate::support::put;

/// How often an administrator tries again where others change the same meanwhile.
const ATTEMPTS_MAX: usize = 16;

/// How something ends on which somebody's work rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The holder gives its task up.
    GivenUp,
    /// An administrator ends the task.
    Task,
    /// The instance is revoked.
    Instance,
    /// The instance is quarantined.
    Quarantine,
    /// The device that vouches for the instance is revoked.
    Device,
    /// The agent is suspended.
    Agent,
    /// The key of the agent vouches no longer.
    Key,
    /// The sponsor of the agent leaves.
    Sponsor,
    /// The mandate is withdrawn.
    Mandate,
    /// The person leaves on whose behalf it is.
    Person,
    /// The system is suspended that started it.
    System,
}

impl End {
    /// What is over by it, with all below, as records name it: a task, an instance, or all that an agent does.
    pub(crate) fn name(self, holder: &Holder) -> String {
        match self {
            Self::GivenUp | Self::Task => task_id(holder),
            Self::Instance | Self::Quarantine | Self::Device => holder.claims.instance().to_owned(),
            Self::Agent | Self::Key | Self::Sponsor => holder.of.name.clone(),
            Self::Mandate | Self::Person | Self::System => root(holder),
        }
    }

    /// Takes it away from `holder`; gives the id of the record of that, if an administrator did.
    pub(crate) async fn of(self, sts: &Sts, holder: &Holder) -> Option<String> {
        let record = match self {
            Self::GivenUp => {
                let (instance, how) = (holder.instance(), TaskEnd::Failed);
                let ending = Ending { instance, how, uses: Vec::new(), workload: None };
                sts.world.authority.end_task(ending).await.expect("it ends");
                return None;
            }
            // No act of anybody: its time is over.
            Self::Key => {
                let place = FactKey::agent(&holder.of.name.parse().expect("an agent"));
                let mut agent: Agent = sts.fact(place.clone()).await;
                agent.key_expires = sts.world.clock.now();
                sts.world.put(place, &agent).await;
                return None;
            }
            Self::Instance | Self::Quarantine | Self::Device => {
                of_instance(self, sts, holder).await
            }
            Self::Agent | Self::Sponsor => of_agent(self, sts, holder).await,
            Self::Task | Self::Mandate | Self::Person | Self::System => {
                of_work(self, sts, holder).await
            }
        };
        Some(record)
    }
}

/// The root task of the work of `holder`.
fn root(holder: &Holder) -> String {
    holder.claims.txn.clone().expect("a token names it")
}

/// Gives the agent `name` a sponsor who answers for nothing else.
pub(crate) async fn sponsored(sts: &Sts, name: &str) {
    let sponsor = enter(sts, &format!("sponsor-of-{name}")).await;
    let place = FactKey::agent(&name.parse().expect("an agent"));
    let mut agent: Agent = sts.fact(place.clone()).await;
    agent.sponsor = sponsor.id;
    sts.world.put(place, &agent).await;
}

/// Deactivates the person `id`; gives the id of the record.
pub(crate) async fn leaves(sts: &Sts, id: &PersonId) -> String {
    let (target, place) = (ResourceRef::Person(id.clone()), FactKey::person(id));
    administered(sts, ("person/deactivate", target, place), |person: &mut Person, since| {
        person.state = PersonState::Inactive { since };
    })
    .await
}

async fn of_instance(how: End, sts: &Sts, holder: &Holder) -> String {
    let id = holder.instance();
    let (target, place) = (ResourceRef::Instance(id), FactKey::instance(id));
    if how == End::Device {
        let instance: Instance = sts.fact(place).await;
        let device = instance.device.expect("a device vouches for it");
        let place = FactKey::device(&instance.agent, &device);
        let revoked = ("device/revoke", ResourceRef::Agent(instance.agent), place);
        return administered(sts, revoked, |device: &mut Device, since| {
            device.state = DeviceState::Revoked { reason: said(), since };
        })
        .await;
    }
    let action = if how == End::Quarantine { "instance/quarantine" } else { "instance/revoke" };
    administered(sts, (action, target, place), |instance: &mut Instance, since| {
        instance.state = match how {
            End::Quarantine => InstanceState::Quarantined { signal: said(), since },
            _ => InstanceState::Revoked { reason: said(), since },
        };
    })
    .await
}

async fn of_agent(how: End, sts: &Sts, holder: &Holder) -> String {
    let name: AgentName = holder.of.name.parse().expect("an agent");
    let place = FactKey::agent(&name);
    if how == End::Sponsor {
        let agent: Agent = sts.fact(place).await;
        return leaves(sts, &agent.sponsor).await;
    }
    let suspended = ("agent/suspend", ResourceRef::Agent(name), place);
    administered(sts, suspended, |agent: &mut Agent, since| {
        agent.state = AgentState::Suspended { reason: said(), since };
    })
    .await
}

async fn of_work(how: End, sts: &Sts, holder: &Holder) -> String {
    let task = task_of(sts, holder).await;
    match how {
        End::Mandate => {
            let (target, place) =
                (ResourceRef::Mandate(task.mandate), FactKey::mandate(task.mandate));
            administered(
                sts,
                ("mandate/withdraw", target, place),
                |mandate: &mut Mandate, since| {
                    mandate.withdrawn = Some(Withdrawn { reason: said(), since });
                },
            )
            .await
        }
        End::Person => {
            let TaskSubject::OnBehalfOf { person } = &task.subject else {
                panic!("it is on nobody's behalf");
            };
            leaves(sts, person).await
        }
        End::System => {
            let portal: SystemName = "portal".parse().expect("a system");
            let place = FactKey::system(&portal);
            let suspended = ("system/suspend", ResourceRef::System(portal), place);
            administered(sts, suspended, |system: &mut InitiatingSystem, since| {
                system.state = SystemState::Suspended { reason: said(), since };
            })
            .await
        }
        _ => {
            let (target, place) = (ResourceRef::Task(task.id), FactKey::task(task.id));
            administered(sts, ("task/end", target, place), |task: &mut Task, since| {
                task.state = TaskState::Ended { how: TaskEnd::Revoked, reason: said(), since };
            })
            .await
        }
    }
}

fn said() -> String {
    "said".to_owned()
}

/// Has an administrator change the fact at `place` by this act; gives the id of the record.
async fn administered<T: DeserializeOwned + Serialize>(
    sts: &Sts,
    (action, target, place): (&'static str, ResourceRef, FactKey),
    change: impl Fn(&mut T, Timestamp),
) -> String {
    for _ in 0..ATTEMPTS_MAX {
        let loaded = sts.world.store.load(std::slice::from_ref(&place)).await;
        let loaded = loaded.expect("it can be read");
        let body = loaded.bodies[0].as_ref().expect("it is there");
        let mut known: T = serde_json::from_slice(body).expect("a fact");
        change(&mut known, sts.world.clock.now());
        let act = AdminAct {
            by: ChangedBy::person(sts.world.standing.sponsor.id.clone()),
            action,
            target: target.clone(),
            change: json!({}),
            reads: (vec![place.clone()], loaded.revision),
            effects: vec![put(place.clone(), &known)],
        };
        match sts.world.authority.administer(act).await {
            Ok(done) => return done.decision.to_string(),
            Err(NotAdministered::NotPermitted(error @ NotPermitted::Denied { .. })) => {
                panic!("{action}: {error}");
            }
            // Others changed the same, or it took too long: it is looked at again.
            Err(_) => {}
        }
    }
    panic!("{action}: it was not done")
}
