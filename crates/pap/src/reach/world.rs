//! What a question of reach is asked of: all that decisions read, as it was read once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use authority::Gathered;
use model::{
    AccessRequest, ActionName, Agent, AgentFacts, AgentName, Binding, FactKey, Facts, Heard,
    InstanceId, InstanceState, Label, Person, PersonId, Principal, PrincipalFacts, ResourceRef,
    Revision, Server, ServerName, SessionFacts, SourceName, Standing, Stop, Stopped, Stops,
    Timestamp, Tool, ToolRef, ToolState,
};
use pdp::{Foreseen, Outlook, Snapshot};
use serde_json::Value;

use crate::command::{AdminError, Administration};

/// All that decisions on the work of one instance may read.
#[derive(Clone)]
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) tools: BTreeMap<ToolRef, Arc<Tool>>,
    pub(super) servers: BTreeMap<ServerName, Arc<Server>>,
    pub(super) agents: Vec<Agent>,
    pub(super) people: BTreeMap<PersonId, Person>,
    /// Until when those are confirmed of whom each source tells.
    pub(super) heard: BTreeMap<SourceName, Timestamp>,
    /// The agents whose new instances start stopped.
    pub(super) stopped: BTreeSet<AgentName>,
    pub(super) stops: Arc<Stops>,
    /// What was read and used in the session.
    pub(super) session: SessionFacts,
    /// The labels of whatever each server keeps.
    pub(super) kept: BTreeMap<ServerName, BTreeSet<Label>>,
    pub(super) revision: Revision,
}

impl World {
    /// What could come of a call of `tool` by who stands as `standing` says. One that changed counts as
    /// it was approved.
    pub(super) fn of_call(&self, standing: &Arc<Standing>, tool: &Arc<Tool>) -> Foreseen {
        let name = &tool.tool;
        let request = request(standing, ActionName::tool(name), ResourceRef::Tool(name.clone()));
        let mut facts = self.facts(standing);
        facts.tool = Some(tool.clone());
        if !tool.is_pinned() {
            facts.tool = Some(Arc::new(Tool { state: ToolState::Pinned, ..Tool::clone(tool) }));
        }
        facts.server = self.servers.get(&name.server).cloned();
        let owner = tool.owner.as_ref().and_then(|owner| self.people.get(owner));
        facts.tool_owner = owner.cloned().map(Arc::new);
        let clean = self.snapshot.foresee(&request, &facts);
        let kept = self.kept_by(&request, &name.server);
        if kept.is_empty() || clean.outlook == Outlook::Possible {
            return clean;
        }
        // Nobody knows which of it is read: none that is labelled, or all.
        facts.session.labels.extend(kept);
        let marked = self.snapshot.foresee(&request, &facts);
        if best(clean.outlook, marked.outlook) == clean.outlook { clean } else { marked }
    }

    /// The labels of what `server` keeps, if it can be told of what is kept there by what `request` asks for.
    fn kept_by(&self, request: &AccessRequest, server: &ServerName) -> BTreeSet<Label> {
        let reads = !self.snapshot.labels().of(request).reads.is_empty();
        self.kept.get(server).filter(|_| reads).cloned().unwrap_or_default()
    }

    /// The labels of what can come back to who stands as `standing` says when they do this, whatever the arguments, at `server`.
    pub(super) fn carried(
        &self,
        standing: &Standing,
        (action, resource): (ActionName, ResourceRef),
        server: &ServerName,
    ) -> BTreeSet<Label> {
        let request = request(standing, action, resource);
        let labels = self.snapshot.labels();
        let mut all = labels.of(&request).carries;
        all.extend(self.kept_by(&request, server));
        all.extend(labels.revealed_by(server));
        all
    }

    /// `standing` with what is known of the people whom it names.
    pub(super) fn known(&self, mut standing: Standing) -> Standing {
        let named: Vec<_> = standing.named_owners().into_iter().cloned().collect();
        let known = named.into_iter().filter_map(|id| self.people.get_key_value(&id));
        standing.owners = known.map(|(id, person)| (id.clone(), person.clone())).collect();
        let people = standing.subject.iter().chain([&standing.sponsor]);
        let sources = people.filter_map(|person| person.source.as_ref());
        let heard = sources.filter_map(|source| self.heard.get_key_value(source));
        let heard: Vec<_> = heard.map(|(source, until)| (source.clone(), *until)).collect();
        standing.heard.extend(heard);
        standing
    }

    /// Whether who stands as `standing` says may hand work on to `agent`.
    pub(super) fn hands_on(&self, standing: &Arc<Standing>, agent: &Agent) -> bool {
        let Some(sponsor) = self.people.get(&agent.sponsor) else { return false };
        let resource = ResourceRef::Agent(agent.name.clone());
        let request = request(standing, ActionName::method("delegate"), resource);
        let mut facts = self.facts(standing);
        let (agent, sponsor) = (agent.clone(), sponsor.clone());
        facts.agent = Some(Arc::new(AgentFacts { agent, sponsor, succession: None }));
        self.snapshot.foresee(&request, &facts).outlook == Outlook::Possible
    }

    fn facts(&self, standing: &Arc<Standing>) -> Facts {
        Facts {
            revision: self.revision,
            now: self.now,
            principal: PrincipalFacts::Instance(standing.clone()),
            tool: None,
            server: None,
            tool_owner: None,
            agent: None,
            session: self.session.clone(),
            binding: binding(standing),
            stops: self.stops.clone(),
        }
    }
}

/// How the tokens of an instance are bound.
pub(super) fn binding(standing: &Standing) -> Binding {
    if standing.instance.key.is_some() { Binding::Dpop } else { Binding::None }
}

/// The better of both for whoever wants to do it.
pub(super) fn best(one: Outlook, other: Outlook) -> Outlook {
    let order = [Outlook::Possible, Outlook::Liftable, Outlook::Untold];
    order.into_iter().find(|it| [one, other].contains(it)).unwrap_or(Outlook::Denied)
}

fn request(standing: &Standing, action: ActionName, resource: ResourceRef) -> AccessRequest {
    let principal = Principal::Instance(standing.instance.id);
    AccessRequest { principal, action, resource, input: Value::Null }
}

impl Administration {
    /// The world of `instance` as it is, and how the instance stands in it.
    pub(super) async fn world(
        &self,
        instance: InstanceId,
    ) -> Result<(World, Arc<Standing>), AdminError> {
        let Gathered { standing, session, revision, snapshot, .. } =
            self.gathered(instance).await?;
        Ok((self.world_under((snapshot, revision), session).await?, standing))
    }

    /// The world as it is in which `snapshot` decides, as of `revision`, what is done in `session`.
    pub(super) async fn world_under(
        &self,
        (snapshot, revision): (Arc<Snapshot>, Revision),
        session: SessionFacts,
    ) -> Result<World, AdminError> {
        let store = self.authority.pip().store();
        let unavailable = AdminError::unavailable;
        let agents: Vec<Agent> = authority::all(store, "agent/").await.map_err(unavailable)?;
        let people: Vec<Person> = authority::all(store, "person/").await.map_err(unavailable)?;
        let tools: Vec<Arc<Tool>> = authority::all(store, "tool/").await.map_err(unavailable)?;
        let servers: Vec<Server> = authority::all(store, "server/").await.map_err(unavailable)?;
        let stops: Vec<Stop> = authority::all(store, "stop/").await.map_err(unavailable)?;
        let mut reader = self.reader();
        let mut heard = BTreeMap::new();
        for source in people.iter().filter_map(|person| person.source.as_ref()) {
            if heard.contains_key(source) {
                continue;
            }
            let known = reader.find::<Heard>(FactKey::heard(source)).await.map_err(unavailable)?;
            heard.insert(source.clone(), known.and_then(|known| known.until()));
        }
        let stopped = self.stopped_of(&agents, |_| true).await?;
        let (mut known, mut kept) = (BTreeMap::new(), BTreeMap::new());
        for mut server in servers {
            if let Some(account) = &server.account {
                let callers = reader.find(FactKey::account(account)).await;
                server.callers = callers.map_err(unavailable)?.unwrap_or_default();
            }
            let labels = reader.find::<BTreeSet<Label>>(FactKey::kept(&server.name, None)).await;
            kept.extend(labels.map_err(unavailable)?.map(|labels| (server.name.clone(), labels)));
            known.insert(server.name.clone(), Arc::new(server));
        }
        Ok(World {
            now: self.now(),
            snapshot,
            tools: tools.into_iter().map(|tool| (tool.tool.clone(), tool)).collect(),
            servers: known,
            agents,
            people: people.into_iter().map(|person| (person.id.clone(), person)).collect(),
            heard: heard.into_iter().filter_map(|(source, until)| Some((source, until?))).collect(),
            stopped,
            stops: Arc::new(Stops(stops.into_iter().map(|stop| stop.what).collect())),
            session,
            kept,
            revision,
        })
    }

    /// Those of `agents` whose new instances start stopped, by those instances whose state `counts`.
    pub(super) async fn stopped_of(
        &self,
        agents: &[Agent],
        counts: impl Fn(&InstanceState) -> bool + Send,
    ) -> Result<BTreeSet<AgentName>, AdminError> {
        let (mut reader, mut all) = (self.reader(), BTreeSet::new());
        for agent in agents {
            let mark = reader.find::<Stopped>(FactKey::stopped(&agent.name)).await;
            let mut mark = mark.map_err(AdminError::unavailable)?.unwrap_or_default();
            mark.0.retain(|_, state| counts(state));
            if mark.state_of_new() != InstanceState::Active {
                all.insert(agent.name.clone());
            }
        }
        Ok(all)
    }

    /// What is known of `instance` alone, whatever it does.
    async fn gathered(&self, instance: InstanceId) -> Result<Gathered, AdminError> {
        let request = AccessRequest {
            principal: Principal::Instance(instance),
            action: ActionName::method("delegate"),
            resource: ResourceRef::Deployment,
            input: Value::Null,
        };
        let gathered = self.authority.pip().gather(instance, &request).await;
        gathered.map_err(|error| match error {
            authority::FactsError::Missing(key) if key == FactKey::instance(instance) => {
                AdminError::Missing(format!("instance `{instance}`"))
            }
            other => AdminError::unavailable(other),
        })
    }
}
