//! What agents could do now without anybody being asked: each act with the policies on which it rests, who answers for it,
//! and how often it was used.
//!
//! INVARIANT: what is permitted to whoever begins work, or is handed it, is listed
//! (`r_49_whatever_is_permitted_is_in_reach`): nothing is left out but what is named as unbounded or unknown.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Agent, AgentName, Entropy, FactKey, InitiatingSystem, PersonId, PolicyId, Purpose, PurposeId,
    ResourceRef, SessionFacts, Standing, SystemState, Timestamp, Tool, ToolRef,
};
use pdp::{Foreseen, Outlook};
use serde_json::{Value, json};

use super::beginning::Beginnings;
use super::search::{Chain, HOLDERS_MAX, Holder, Holders, QUESTIONS_MAX, Questions, is_unlisted};
use super::world::World;
use super::{Unknown, beyond, of_servers, unknown_of};
use crate::asked::Command;
use crate::command::{AdminError, Administration};
use crate::policy::Activations;
use crate::register::registered;
use crate::review::{Tally, Used};
use crate::suggest::row;

/// On what an act rests for one purpose.
struct Ground {
    basis: BTreeSet<PolicyId>,
    /// Those by whom the work comes to the agent, who begins it first; nobody, where it begins it itself.
    by: Chain,
}

/// What one agent could do, each for which purposes.
#[derive(Default)]
struct Acts {
    acts: BTreeMap<ToolRef, BTreeMap<PurposeId, Ground>>,
    unknown: BTreeSet<(String, &'static str)>,
}

/// What agents could do.
#[derive(Default)]
struct Unattended {
    agents: BTreeMap<AgentName, Acts>,
    more_holders: bool,
    more_questions: bool,
}

/// What is told beside of agents and their acts.
struct Around<'a> {
    world: &'a World,
    purposes: &'a BTreeMap<PurposeId, Purpose>,
    beginnings: &'a Beginnings,
}

impl Administration {
    /// What agents, or one of them, could do now without anybody being asked, and how often they did it since then. Until the
    /// records are counted it tells how far it is; whoever waits asks again.
    pub(crate) async fn unattended(
        &self,
        by: &PersonId,
        (agent, since): (Option<&str>, Timestamp),
    ) -> Result<Value, AdminError> {
        let only = agent.map(str::parse::<AgentName>).transpose().map_err(AdminError::invalid)?;
        // Nothing was used since then, and all would be to be removed.
        if since > self.now() {
            return Err(AdminError::Invalid(format!("{since} is yet to come")));
        }
        let mut draft = self.draft(by, "log/read", ResourceRef::Deployment).await?;
        if let Some(only) = &only {
            registered(&mut draft.reader, only).await?;
        }
        let store = self.authority.pip().store();
        let agents = authority::all::<Agent>(store, "agent/").await;
        let names = agents.map_err(AdminError::unavailable)?.into_iter().map(|agent| agent.name);
        let names = names.filter(|name| only.as_ref().is_none_or(|only| only == name));
        let uses = match self.tally(by, None, names.map(|name| (name, since)).collect()).await? {
            Tally::All(uses) => uses,
            Tally::SoFar(told) => return Ok(told),
        };
        let _turn = self.report_turn()?;
        let in_force = self.authority.pip().policy();
        let decides = (in_force.snapshot.clone(), in_force.revision);
        let world = self.world_under(decides, SessionFacts::default()).await?;
        let purposes = authority::all::<Purpose>(store, "purpose/").await;
        let purposes = purposes.map_err(AdminError::unavailable)?.into_iter();
        let purposes: BTreeMap<_, _> = purposes.map(|it| (it.id.clone(), it)).collect();
        let beginnings = self.beginnings((&world, &purposes), only.as_ref()).await?;
        let entropy = self.authority.entropy().as_ref();
        let unattended = Box::pin(Unattended::of(&world, &beginnings, entropy)).await;
        let policy = self.policy_of(&world).await?;
        let mut unknown = self.unbounded(&policy).await?;
        unknown.extend(beyond([
            (unattended.more_holders, HOLDERS_MAX, "more_chains"),
            (unattended.more_questions, QUESTIONS_MAX, "more_questions"),
        ]));
        let around = Around { world: &world, purposes: &purposes, beginnings: &beginnings };
        let agents = world.agents.iter();
        let agents = agents.filter(|it| only.as_ref().is_none_or(|only| *only == it.name));
        let nothing = (Acts::default(), BTreeMap::new());
        let rows = agents.filter_map(|agent| {
            let found = unattended.agents.get(&agent.name).unwrap_or(&nothing.0);
            let calls = uses.get(&agent.name).unwrap_or(&nothing.1);
            around.row(agent, found, (calls, since))
        });
        let rows: Vec<_> = rows.collect();
        let change = json!({ "unattended": { "agent": only, "since": since.to_string() } });
        let done = draft.make(change, Vec::new()).await?;
        Ok(json!({
            "at": world.now.to_string(),
            "since": since.to_string(),
            "policy": policy,
            "agents": rows,
            "unknown": unknown.iter().map(Unknown::told).collect::<Vec<_>>(),
            "decision": done.decision,
        }))
    }

    /// The policy set that decides in `world`, and who is behind it.
    async fn policy_of(&self, world: &World) -> Result<Value, AdminError> {
        let digest = world.snapshot.digest();
        let place = FactKey::policy_activations(&digest);
        let known = self.reader().find::<Activations>(place).await;
        let known = known.map_err(AdminError::unavailable)?.unwrap_or_default();
        let mut told = self.behind_policy(known.at(world.now), world.now).await?;
        told["digest"] = json!(digest);
        Ok(told)
    }

    /// What has no bound of all agents: whom a system begins work for, and what nobody answers for.
    async fn unbounded(&self, policy: &Value) -> Result<Vec<Unknown>, AdminError> {
        let store = self.authority.pip().store();
        let systems = authority::all::<InitiatingSystem>(store, "system/").await;
        let systems = systems.map_err(AdminError::unavailable)?.into_iter();
        let active = systems.filter(|system| system.state == SystemState::Active);
        let mut all: Vec<_> = active
            .map(|system| Unknown { what: system.name.to_string(), why: "initiates" })
            .collect();
        let (_, is_here) = self.owner_in_force(policy["release"].as_u64()).await?;
        let why = policy["owner"].is_null().then_some("unowned");
        let why = why.or((!is_here).then_some("owner_gone"));
        all.extend(why.map(|why| Unknown { what: "policy".to_owned(), why }));
        Ok(all)
    }
}

impl Unattended {
    /// What could be done by whoever begins work, and by those to whom it is handed on.
    async fn of(world: &World, beginnings: &Beginnings, entropy: &dyn Entropy) -> Self {
        let (mut all, mut questions) = (Self::default(), Questions::default());
        for standings in &beginnings.by_mandate {
            if questions.more {
                break;
            }
            let mut holders = Holders::of(world, standings.iter().cloned(), entropy);
            while let Some(holder) = holders.next(&mut questions).await {
                let agent = all.agents.entry(holder.standing.agent.name.clone()).or_default();
                agent.look(world, &holder, &mut questions).await;
            }
            all.more_holders |= holders.more;
        }
        all.more_questions = questions.more;
        all
    }
}

impl Acts {
    /// Asks what could come of each tool in the hands of `holder`, unless it is known for this purpose, and for no work that
    /// comes by more.
    async fn look(&mut self, world: &World, holder: &Holder, questions: &mut Questions) {
        let (purpose, by) = (&holder.standing.purpose.id, by(&holder.standing));
        let places = holder.beside(world, questions).await.into_iter();
        let unlisted = places.filter(|(_, method)| is_unlisted(method));
        self.unknown.extend(unlisted.map(|(server, method)| (server.to_string(), method)));
        for (name, tool) in &world.tools {
            let known = self.acts.get(name).and_then(|known| known.get(purpose));
            if known.is_some_and(|known| known.by.len() <= by.len()) {
                continue;
            }
            if !questions.may_ask().await {
                return;
            }
            let Foreseen { outlook, basis } = world.of_call(&holder.standing, tool);
            if let Outlook::Denied | Outlook::Liftable = outlook {
                continue;
            }
            if let Some(why) = unknown_of(tool, outlook) {
                self.unknown.insert((name.to_string(), why));
                continue;
            }
            let ground = Ground { basis, by: by.clone() };
            self.acts.entry(name.clone()).or_default().insert(purpose.clone(), ground);
        }
    }
}

/// Those by whom the work came to who stands so, who began it first.
fn by(standing: &Standing) -> Chain {
    let above = standing.delegators.iter().rev();
    above.map(|delegator| delegator.agent.name.clone()).collect()
}

impl Around<'_> {
    /// What is told of an agent; nothing, if it could do nothing, as far as it was looked, and did nothing.
    fn row(
        &self,
        agent: &Agent,
        found: &Acts,
        (used, since): (&BTreeMap<ToolRef, Used>, Timestamp),
    ) -> Option<Value> {
        let is_nothing = found.acts.is_empty() && found.unknown.is_empty() && used.is_empty();
        if is_nothing && !self.is_told_anyhow(&agent.name) {
            return None;
        }
        let acts = found.acts.iter().filter_map(|(name, rests)| {
            let tool = self.world.tools.get(name)?;
            Some(self.act(tool, (rests, used.get(name))))
        });
        let otherwise = used.iter().filter(|(tool, _)| !found.acts.contains_key(*tool));
        let otherwise = otherwise.map(|(tool, used)| {
            json!({ "tool": tool, "used": used.count, "last": used.last.to_string() })
        });
        let unused: Vec<_> = found.acts.keys().filter(|tool| !used.contains_key(*tool)).collect();
        let suggest = Command::Suggest { agent: agent.name.to_string(), since };
        let suggest = (!unused.is_empty()).then_some(suggest);
        let unknown = self.unknown(agent, found);
        Some(json!({
            "agent": agent.name,
            "sponsor": agent.sponsor,
            "business_owner": agent.business_owner,
            "technical_owner": agent.technical_owner,
            "dead": self.beginnings.dead.get(&agent.name),
            "acts": acts.collect::<Vec<_>>(),
            "used_otherwise": otherwise.collect::<Vec<_>>(),
            "unused": unused,
            "remove": suggest,
            "unknown": unknown.iter().map(Unknown::told).collect::<Vec<_>>(),
        }))
    }

    /// Whether more is to be told of an agent than what it could do, or did.
    fn is_told_anyhow(&self, agent: &AgentName) -> bool {
        let Beginnings { more, dead, .. } = self.beginnings;
        more.contains(agent) || dead.contains_key(agent) || self.world.stopped.contains(agent)
    }

    /// What is told of an act.
    fn act(
        &self,
        tool: &Tool,
        (rests, used): (&BTreeMap<PurposeId, Ground>, Option<&Used>),
    ) -> Value {
        let rests = rests.iter().map(|(id, Ground { basis, by })| {
            let owner = self.purposes.get(id).map(|purpose| &purpose.owner);
            json!({ "purpose": id, "owner": owner, "basis": basis, "by": by })
        });
        let mut told = row(tool, used);
        told["owner"] = json!(tool.owner);
        told["rests"] = rests.collect();
        told
    }

    /// What has no bound, or cannot be told, of an agent; and who is to answer for something of it and is gone.
    fn unknown(&self, agent: &Agent, found: &Acts) -> Vec<Unknown> {
        let World { people, stopped, tools, .. } = self.world;
        let noted = found.unknown.iter().cloned();
        let mut all: Vec<_> = noted.map(|(what, why)| Unknown { what, why }).collect();
        let servers = found.acts.keys().map(|tool| &tool.server).collect();
        all.extend(of_servers(self.world, &agent.name, servers));
        let answers = |tool: &Tool| {
            let owner = tool.owner.as_ref().and_then(|owner| people.get(owner));
            owner.is_some_and(|owner| tool.is_answered_for_by(owner))
        };
        let unowned = found.acts.keys().filter_map(|name| tools.get(name));
        let unowned = unowned.filter(|tool| !answers(tool)).map(|tool| tool.tool.to_string());
        let purposes: BTreeSet<_> = found.acts.values().flat_map(BTreeMap::keys).collect();
        let purposes = purposes.into_iter().filter_map(|id| self.purposes.get(id));
        let purposes = purposes.filter(|it| !it.is_owned(people)).map(|it| it.id.to_string());
        let itself = (!agent.is_owned(people)).then(|| agent.name.to_string());
        let gone = unowned.chain(purposes).chain(itself);
        all.extend(gone.map(|what| Unknown { what, why: "owner_gone" }));
        let marks = [
            (self.beginnings.more.contains(&agent.name), "more_mandates"),
            (stopped.contains(&agent.name), "new_instances_stopped"),
        ];
        let marks = marks.into_iter().filter(|(holds, _)| *holds);
        all.extend(marks.map(|(_, why)| Unknown { what: agent.name.to_string(), why }));
        all
    }
}
