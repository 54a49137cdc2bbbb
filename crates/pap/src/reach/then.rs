//! What came into reach and went out of it since a time: the same questions, about the same instance and its work as they are
//! now, put to the policy set and to what agents and the purpose could be given as those were then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use authority::{NotKept, all_as_of};
use model::{
    ACTIVATIONS, Agent, AgentName, PolicyDigest, Purpose, Scope, Standing, Timestamp, ToolRef,
};
use pdp::Snapshot;
use serde_json::{Value, json};

use super::Known;
use super::readable::Readable;
use super::search::Reach;
use super::world::World;
use crate::command::{AdminError, Administration};
use crate::policy::Activations;
use crate::recall::Recall;

/// What agents and the purpose of the work could be given at a time.
struct Register {
    agents: BTreeMap<AgentName, Agent>,
    purpose: Option<Purpose>,
}

impl Administration {
    /// What is in `reach` now and was not at `since`, and the reverse; and so of the data that is `readable`.
    pub(super) async fn change(
        &self,
        (world, standing): (&World, &Arc<Standing>),
        (reach, readable): (&Reach, &Readable),
        since: Timestamp,
    ) -> Result<Value, AdminError> {
        if since >= world.now {
            return Err(AdminError::Invalid(format!("{since} is yet to come")));
        }
        let register = self.register_then(standing, since).await?;
        let digest = self.in_force_at(since).await?;
        let snapshot = self.snapshot(digest, &mut Recall::default()).await?;
        let Some(snapshot) = snapshot else {
            let why = format!("the policy set {digest} of {since} is not kept");
            return Err(AdminError::Unavailable(why));
        };
        let entropy = self.authority.entropy().as_ref();
        let old_policy = World { snapshot: snapshot.clone(), ..world.clone() };
        let (old, old_standing) = register.applied(&old_policy, standing);
        let old_standing = Arc::new(old_standing);
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
        }))
    }

    async fn register_then(
        &self,
        standing: &Standing,
        at: Timestamp,
    ) -> Result<Register, AdminError> {
        let store = self.authority.pip().store();
        let not_kept = |why: NotKept| AdminError::Invalid(crate::past::not_kept(why));
        let agents = all_as_of::<Agent>(store, ("agent/", at)).await;
        let agents = agents.map_err(AdminError::unavailable)?.map_err(not_kept)?;
        let purposes = all_as_of::<Purpose>(store, ("purpose/", at)).await;
        let purposes = purposes.map_err(AdminError::unavailable)?.map_err(not_kept)?;
        let is_its = |purpose: &Purpose| purpose.id == standing.purpose.id;
        Ok(Register {
            agents: agents.into_iter().map(|agent| (agent.name.clone(), agent)).collect(),
            purpose: purposes.into_iter().find(is_its),
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

impl Register {
    /// `world` and `standing` with what agents and the purpose could be given then. Whoever was not
    /// registered could be given nothing.
    fn applied(&self, world: &World, standing: &Standing) -> (World, Standing) {
        let give = |agent: &mut Agent| {
            let known = self.agents.get(&agent.name);
            let nothing = || (Scope::default(), BTreeSet::new());
            (agent.ceiling, agent.purposes) =
                known.map_or_else(nothing, |it| (it.ceiling.clone(), it.purposes.clone()));
        };
        let (mut world, mut standing) = (world.clone(), standing.clone());
        world.agents.iter_mut().for_each(give);
        give(&mut standing.agent);
        for delegator in Arc::make_mut(&mut standing.delegators) {
            give(&mut delegator.agent);
        }
        let purpose = self.purpose.as_ref().map(|it| (it.scope.clone(), it.data.clone()));
        (standing.purpose.scope, standing.purpose.data) = purpose.unwrap_or_default();
        (world, standing)
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
