//! Whoever could begin work now: by each mandate that counts an instance of its agent that has just begun, for which as much
//! vouches as the agent's rules allow, or less, with all that may be given to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use authority::initiator;
use model::{
    Agent, AgentName, Attestation, Bounds, Denial, Entropy, Initiator, Instance, InstanceId,
    Mandate, MandateBasis, MandateId, Purpose, PurposeId, Source, Standing, Task, TaskId,
    TaskState, TaskSubject, Timestamp,
};

use super::search::{entered, vouched};
use super::world::{World, binding};
use crate::command::{AdminError, Administration};

/// The most mandates of one agent under which it is looked at.
const MANDATES_MAX: usize = 64;

/// The most mandates of all agents under which they are looked at.
const ALL_MANDATES_MAX: usize = 4_096;

/// In which order the mandates of an agent are looked at, the last first: a standing one, then the newest.
type Place = (bool, Timestamp, MandateId);

/// Whoever could begin work.
#[derive(Default)]
pub(super) struct Beginnings {
    /// By each mandate those who could.
    pub(super) by_mandate: Vec<Vec<Arc<Standing>>>,
    /// The agents that have more mandates than are looked at.
    pub(super) more: BTreeSet<AgentName>,
    /// Why an agent begins nothing under a mandate that it has.
    pub(super) dead: BTreeMap<AgentName, &'static str>,
}

impl Administration {
    /// Whoever could begin work in `world`, for one of `purposes`; those of the agent `first` before the others.
    pub(super) async fn beginnings(
        &self,
        (world, purposes): (&World, &BTreeMap<PurposeId, Purpose>),
        first: Option<&AgentName>,
    ) -> Result<Beginnings, AdminError> {
        let mut all = Beginnings::default();
        let mut mandates = self.mandates_that_count((world, first), &mut all.more).await?;
        let of_first = first.and_then(|first| mandates.remove_entry(first));
        let agents: BTreeMap<_, _> = world.agents.iter().map(|it| (&it.name, it)).collect();
        let entropy = self.authority.entropy().as_ref();
        for (name, mandates) in of_first.into_iter().chain(mandates) {
            let Some(agent) = agents.get(&name).copied() else { continue };
            for mandate in mandates.into_values().rev() {
                let Some(purpose) = purposes.get(&mandate.purpose) else { continue };
                let started = initiator(&mut self.reader(), &mandate.basis).await;
                let started = started.map_err(AdminError::unavailable)?;
                match begun(world, (agent, &mandate, purpose), (started, entropy)) {
                    Ok(standings) => all.by_mandate.push(standings),
                    Err(why) => {
                        all.dead.insert(name.clone(), why);
                    }
                }
            }
        }
        Ok(all)
    }

    /// The mandates that nobody withdrew and that have not ended, by agent; which have `more` than are looked at. Those of the
    /// agent `first` are looked at however many others have.
    async fn mandates_that_count(
        &self,
        (world, first): (&World, Option<&AgentName>),
        more: &mut BTreeSet<AgentName>,
    ) -> Result<BTreeMap<AgentName, BTreeMap<Place, Mandate>>, AdminError> {
        let (mut all, mut pages) = (BTreeMap::<_, BTreeMap<_, _>>::new(), self.pages("mandate/"));
        let mut kept = 0;
        while let Some(facts) = pages.next().await.map_err(AdminError::unavailable)? {
            for (_, body) in facts {
                let mandate: Mandate =
                    serde_json::from_slice(&body).map_err(AdminError::unavailable)?;
                if mandate.withdrawn.is_some() || mandate.valid_until <= world.now {
                    continue;
                }
                let is_standing = matches!(mandate.basis, MandateBasis::Standing { .. });
                let is_first = first == Some(&mandate.agent);
                let of_agent = all.entry(mandate.agent.clone()).or_default();
                of_agent.insert((is_standing, mandate.given, mandate.id), mandate);
                kept += 1;
                let is_full = kept > ALL_MANDATES_MAX && !is_first;
                if (is_full || of_agent.len() > MANDATES_MAX)
                    && let Some((_, beyond)) = of_agent.pop_first()
                {
                    kept -= 1;
                    more.insert(beyond.agent);
                }
            }
        }
        Ok(all)
    }
}

/// How instances of `agent` would stand that begin work under `mandate`, one for each that may vouch for it, and one whose
/// tokens are bound to no key, if the agent takes such; why none does, if none may do anything.
fn begun(
    world: &World,
    (agent, mandate, purpose): (&Agent, &Mandate, &Purpose),
    (initiator, entropy): (Option<Initiator>, &dyn Entropy),
) -> Result<Vec<Arc<Standing>>, &'static str> {
    let nobody = "nobody_answers";
    let sponsor = world.people.get(&agent.sponsor).ok_or(nobody)?;
    let subject = match mandate.basis.subject() {
        TaskSubject::OnBehalfOf { person } => Some(world.people.get(&person).ok_or(nobody)?),
        TaskSubject::Autonomous => None,
    };
    let bounds = Bounds::of(std::iter::empty(), agent, (mandate, purpose));
    let bounds = bounds.ok_or(Denial::OutsideMandate.code())?;
    let (mut all, mut dead) = (Vec::new(), None);
    let bearer = agent.takes_bearer().then(|| (false, (Attestation::User, Source::default())));
    for (is_bound, source) in vouched(agent).map(|source| (true, source)).chain(bearer) {
        let (instance, id) = (InstanceId::new(world.now, entropy), TaskId::new(world.now, entropy));
        let entered = entered(world, (agent, source), (instance, id));
        let standing = world.known(Standing {
            instance: Instance { key: entered.key.filter(|_| is_bound), ..entered },
            agent: agent.clone(),
            sponsor: sponsor.clone(),
            device: None,
            subject: subject.cloned(),
            task: Task {
                id,
                instance,
                delegation: None,
                mandate: mandate.id,
                mandate_digest: mandate.digest(),
                purpose: purpose.id.clone(),
                subject: mandate.basis.subject(),
                scope: bounds.widest(),
                opened: world.now,
                deadline: bounds.deadline,
                state: TaskState::Open,
            },
            delegators: Arc::default(),
            elevations: Vec::new(),
            mandate: mandate.clone(),
            initiator: initiator.clone(),
            purpose: purpose.clone(),
            owners: BTreeMap::new(),
            heard: BTreeMap::new(),
            sharing: BTreeSet::new(),
        });
        match pdp::stands::standing(&standing, &world.stops, (binding(&standing), world.now)) {
            Ok(()) => all.push(Arc::new(standing)),
            Err(rule) => dead = Some(Denial::Kernel(rule).code()),
        }
    }
    match dead {
        Some(why) if all.is_empty() => Err(why),
        _ => Ok(all),
    }
}
