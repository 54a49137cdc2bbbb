//! What came into reach and went out of it since a time: the same questions, about the same work, put to the policy set
//! that was in force then, with who answered for it, what could be given, risk, stops and elevations as those were.
//!
//! What is kept of the past is asked of the past; what is not is as it is now, and named ([`Then::as_now`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::{
    ACTIVATIONS, Agent, AgentName, Delegator, DeviceState, ELEVATION_WAITS, Elevated, Elevation,
    ElevationState, Enrolled, FactKey, Hop, Initiator, Instance, InstanceId, InstanceState, Person,
    PersonId, PolicyDigest, Purpose, Scope, Standing, Stop, Stops, SystemState, Task, Timestamp,
    ToolRef,
};
use pdp::Snapshot;
use serde_json::{Value, json};

use super::readable::Readable;
use super::search::Reach;
use super::world::World;
use super::{Known, Unknown};
use crate::command::{AdminError, Administration};
use crate::policy::Activations;
use crate::recall::Recall;

/// Of what nothing is kept but how it is.
const NOT_KEPT: [&str; 4] = ["new_instances", "servers", "session", "tools"];

/// What was, as far as it is kept.
struct Then {
    at: Timestamp,
    agents: BTreeMap<AgentName, Agent>,
    people: BTreeMap<PersonId, Person>,
    /// The purpose of the work.
    purpose: Option<Purpose>,
    stops: Arc<Stops>,
    /// The agents whose new instances started stopped, by instances that are stopped still.
    stopped: BTreeSet<AgentName>,
    /// Those of who holds the work and who handed it on that had begun, each with its task.
    begun: BTreeMap<InstanceId, (Instance, Task)>,
    /// Whatever became of them: all that anybody asked for in the task.
    elevations: Vec<Elevation>,
}

impl Administration {
    /// What is in `reach` now and was not at `since`, and the reverse; and so of the data that is `readable`.
    pub(super) async fn change(
        &self,
        (world, standing): (&World, &Arc<Standing>),
        (reach, readable): (&Reach, &Readable),
        since: Timestamp,
    ) -> Result<Value, AdminError> {
        let was = self.then(standing, since).await?;
        let digest = self.in_force_at(since).await?;
        let snapshot = self.snapshot(digest, &mut Recall::default()).await?;
        let Some(snapshot) = snapshot else {
            let why = format!("the policy set {digest} of {since} is not kept");
            return Err(AdminError::Unavailable(why));
        };
        let entropy = self.authority.entropy().as_ref();
        let old_policy = World { snapshot: snapshot.clone(), ..world.clone() };
        let old = was.world(&old_policy);
        let old_standing = Arc::new(was.standing(&old, standing));
        let as_now = was.as_now(standing, &old_standing);
        let then = Box::pin(Reach::of(&old, old_standing.clone(), entropy)).await;
        let readable_then = Readable::of(&old, &old_standing, &then);
        let by_policy = Box::pin(Reach::of(&old_policy, standing.clone(), entropy)).await;
        let [now, then, by_policy] = [reach, &then, &by_policy].map(|reach| names(world, reach));
        let cause = |tool: &ToolRef, is_gained: bool| {
            if !is_onboarded(&snapshot, tool) {
                "tool"
            } else if by_policy.contains(tool) != is_gained {
                "policy"
            } else {
                "register"
            }
        };
        let told = |one: &BTreeSet<ToolRef>, other: &BTreeSet<ToolRef>, is_gained| {
            let tools = one.difference(other);
            let rows = tools.map(|tool| json!({ "tool": tool, "by": cause(tool, is_gained) }));
            rows.collect::<Vec<_>>()
        };
        Ok(json!({
            "since": since.to_string(),
            "policy": digest,
            "gained": told(&now, &then, true),
            "lost": told(&then, &now, false),
            "data": readable.change_since(&readable_then),
            "as_now": as_now.iter().map(Unknown::told).collect::<Vec<_>>(),
        }))
    }

    /// What is kept of what was at `at`, around the work of who stands as `standing` says.
    async fn then(&self, standing: &Standing, at: Timestamp) -> Result<Then, AdminError> {
        let moment = self.moment_at(at)?;
        let agents: Vec<Agent> = self.facts_at("agent/", moment).await?;
        let people: Vec<Person> = self.facts_at("person/", moment).await?;
        let stops: Vec<Stop> = self.facts_at("stop/", moment).await?;
        let purposes: Vec<Purpose> = self.facts_at("purpose/", moment).await?;
        let work: Vec<_> = standing.hops().map(|hop| (hop.instance.id, hop.task.id)).collect();
        let mut begun = BTreeMap::new();
        for (instance, task) in work {
            let instance = FactKey::instance(instance);
            let instance = self.facts_at::<Instance>(instance.as_str(), moment).await?.pop();
            let task = FactKey::task(task);
            let task = self.facts_at::<Task>(task.as_str(), moment).await?.pop();
            begun.extend(instance.zip(task).map(|both| (both.0.id, both)));
        }
        let was_stopped = |state: &InstanceState| match state {
            InstanceState::Active => false,
            InstanceState::Quarantined { since, .. } | InstanceState::Revoked { since, .. } => {
                *since <= at
            }
        };
        let stopped = self.stopped_of(&agents, was_stopped).await?;
        let store = self.authority.pip().store();
        let elevations = authority::all::<Elevation>(store, "elevation/").await;
        let elevations = elevations.map_err(AdminError::unavailable)?.into_iter();
        Ok(Then {
            at,
            agents: agents.into_iter().map(|agent| (agent.name.clone(), agent)).collect(),
            people: people.into_iter().map(|person| (person.id.clone(), person)).collect(),
            purpose: purposes.into_iter().find(|purpose| purpose.id == standing.purpose.id),
            stops: Arc::new(Stops(stops.into_iter().map(|stop| stop.what).collect())),
            stopped,
            begun,
            elevations: elevations.filter(|it| it.task == standing.task.id).collect(),
        })
    }

    /// The policy set that was in force at `at`.
    async fn in_force_at(&self, at: Timestamp) -> Result<PolicyDigest, AdminError> {
        let (mut newest, mut pages) = (None, self.pages(ACTIVATIONS));
        while let Some(facts) = pages.next().await.map_err(AdminError::unavailable)? {
            for (key, body) in facts {
                let known: Activations =
                    serde_json::from_slice(&body).map_err(AdminError::unavailable)?;
                let Some(since) = known.at(at).map(|activation| activation.since) else { continue };
                let digest = key.as_str().strip_prefix(ACTIVATIONS);
                let digest = digest.and_then(|digest| digest.parse::<PolicyDigest>().ok());
                newest = newest.max(digest.map(|digest| (since, digest)));
            }
        }
        let why = || AdminError::Invalid(format!("nobody knows which policy was in force at {at}"));
        newest.map(|(_, digest)| digest).ok_or_else(why)
    }
}

impl Then {
    /// `world` as it was.
    fn world(&self, world: &World) -> World {
        World {
            now: self.at,
            agents: self.agents.values().cloned().collect(),
            people: self.people.clone(),
            stopped: self.stopped.clone(),
            stops: self.stops.clone(),
            ..world.clone()
        }
    }

    /// How who stands as `standing` says stood in `world`, as that was. Who had not begun is asked about as they are.
    fn standing(&self, world: &World, standing: &Standing) -> Standing {
        let above = standing.delegators.iter().map(|above| self.holder(above.hop()));
        let delegators = Arc::new(above.collect());
        let own = standing.hops().next().map(|own| self.holder(own));
        let mut was = Standing { delegators, ..standing.clone() };
        if let Some(own) = own {
            (was.instance, was.agent, was.sponsor) = (own.instance, own.agent, own.sponsor);
            (was.device, was.task) = (own.device, own.task);
        }
        was.subject = standing.subject.as_ref().map(|person| self.known(person));
        was.initiator = standing.initiator.as_ref().map(|initiator| self.initiator(initiator));
        was.mandate.withdrawn = was.mandate.withdrawn.filter(|it| it.since <= self.at);
        was.elevations = self.elevated(&was.task);
        was.purpose = self.purpose.clone().unwrap_or_else(|| {
            let (scope, data) = (Scope::default(), BTreeSet::new());
            Purpose { scope, data, ..standing.purpose.clone() }
        });
        world.known(was)
    }

    /// Who holds a task, or handed it on, with who answered for them. Whoever was not registered could be given nothing.
    fn holder(&self, hop: Hop<'_>) -> Delegator {
        let begun = self.begun.get(&hop.instance.id).cloned();
        let (instance, task) = begun.unwrap_or_else(|| (hop.instance.clone(), hop.task.clone()));
        let agent = self.agents.get(&hop.agent.name).cloned().unwrap_or_else(|| {
            let (purposes, ceiling) = (BTreeSet::new(), Scope::default());
            Agent { purposes, ceiling, ..hop.agent.clone() }
        });
        let sponsor = self.people.get(&agent.sponsor).unwrap_or(hop.sponsor).clone();
        Delegator { instance, agent, sponsor, device: hop.device.map(|it| self.device(it)), task }
    }

    /// Who vouched by `enrolled`: a device that is taken away does not come back.
    fn device(&self, enrolled: &Enrolled) -> Enrolled {
        let mut device = enrolled.device.clone();
        if matches!(&device.state, DeviceState::Revoked { since, .. } if *since > self.at) {
            device.state = DeviceState::Active;
        }
        Enrolled { device, by: self.known(&enrolled.by) }
    }

    /// Who started the work: a system that is suspended does not come back.
    fn initiator(&self, initiator: &Initiator) -> Initiator {
        let mut system = initiator.system.clone();
        if matches!(&system.state, SystemState::Suspended { since, .. } if *since > self.at) {
            system.state = SystemState::Active;
        }
        Initiator { system, owner: self.known(&initiator.owner) }
    }

    /// `person` as they were; as they are, if they were not registered.
    fn known(&self, person: &Person) -> Person {
        self.people.get(&person.id).unwrap_or(person).clone()
    }

    /// The elevations that counted in `task`, by those who wanted them and were there.
    fn elevated(&self, task: &Task) -> Vec<Elevated> {
        let approved = self.elevations.iter().filter_map(|elevation| {
            let ElevationState::Approved { by, at, .. } = &elevation.state else { return None };
            let asked_by = self.people.get(&elevation.asked_by)?.clone();
            let approved_by = self.people.get(by)?.clone();
            let elevation = elevation.clone();
            (*at <= self.at).then_some(Elevated { elevation, asked_by, approved_by })
        });
        approved.filter(|it| it.is_in_force(task, self.at)).collect()
    }

    /// What is taken for as it is now, as nothing else is kept, or because it was not there yet; and the elevations that
    /// may have counted then and are taken for none.
    fn as_now(&self, standing: &Standing, was: &Standing) -> Vec<Unknown> {
        let named = |what: String, why| Unknown { what, why };
        let instances = standing.hops().map(|hop| hop.instance.id);
        let later = instances.filter(|id| !self.begun.contains_key(id));
        let later = later.map(|id| named(id.to_string(), "began_later"));
        let gone = self.elevations.iter().filter(|it| self.may_have_counted(it));
        let gone = gone.map(|it| named(it.id.to_string(), "revoked_since"));
        // Who is confirmed now may have been silent then.
        let heard = was.heard.keys().map(|source| named(source.to_string(), "heard"));
        let not_kept = NOT_KEPT.iter().map(|what| named((*what).to_owned(), "not_kept"));
        later.chain(gone).chain(heard).chain(not_kept).collect()
    }

    /// Whether `elevation`, of which it is not kept any more when it was approved, may have counted.
    fn may_have_counted(&self, elevation: &Elevation) -> bool {
        let ElevationState::Revoked { since, .. } = &elevation.state else { return false };
        let lasts = ELEVATION_WAITS + Duration::from_secs(elevation.lasts_s);
        let ended = elevation.asked.plus(lasts).min(*since);
        elevation.asked <= self.at && self.at < ended
    }
}

/// The tools that are in reach, by whomever.
fn names(world: &World, reach: &Reach) -> BTreeSet<ToolRef> {
    let Known { direct, delegated } = Known::of(world, reach);
    direct.into_keys().chain(delegated.into_keys()).cloned().collect()
}

fn is_onboarded(snapshot: &Snapshot, tool: &ToolRef) -> bool {
    snapshot.bundle().tools.contains_key(tool)
}
