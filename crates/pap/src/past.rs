//! The register as it is, or was at a time: agents, what acts as them, and who answers.
//!
//! What was is what the store kept of each fact; when an instance was last seen by then is in the records. A page is of
//! one time; without one, the next page is of when it is asked for.

mod seen;

use std::collections::{BTreeMap, BTreeSet};

use authority::{NotKept, all_as_of};
use model::{
    Agent, AgentName, FactKey, Instance, InstanceId, InstanceState, Person, PersonId, Stop, Task,
    TaskId, TaskState, Timestamp,
};
use oauth::access_token;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) use self::seen::Lookings;
use self::seen::{Look, Looking};
use crate::command::{AdminError, Administration};
use crate::lease::with_lease;
use crate::stop::mark_stopped;

/// The most agents of one page of the register.
const AGENTS_PAGE: usize = 100;

/// The most instances of one agent that are shown.
const INSTANCES_MAX: usize = 100;

/// Of when something is read.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    /// What was durable then is read, and deadlines are judged by it.
    at: Timestamp,
    /// Whether it is now: then what is is read, and what is not kept too.
    is_now: bool,
}

impl Administration {
    /// Lists agents, each with when its lease ends, and by when nothing of it acts any more then.
    pub(crate) async fn agent_list(
        &self,
        by: &PersonId,
        as_of: Option<&str>,
    ) -> Result<Value, AdminError> {
        let moment = self.moment(as_of)?;
        self.may_read(by, "agent/").await?;
        let agents: Vec<Agent> = self.facts_at("agent/", moment).await?;
        let stops: Vec<Stop> = self.facts_at("stop/", moment).await?;
        Ok(agents.iter().map(|agent| row(agent, &stops)).collect())
    }

    /// Shows a page of agents, those after the one named, each with what acts as it. Until the records of a time are looked
    /// through it tells how far that is; whoever waits asks again.
    pub(crate) async fn register_show(
        &self,
        by: &PersonId,
        (as_of, after): (Option<&str>, Option<&str>),
    ) -> Result<Value, AdminError> {
        let (moment, mut looking) = (self.moment(as_of)?, None);
        if !moment.is_now {
            match self.look(by, moment).await? {
                Look::Through(looked) => looking = Some(looked),
                Look::SoFar(told) => return Ok(told),
            }
        }
        self.may_read(by, "register").await?;
        let after = after.map(str::parse::<AgentName>).transpose().map_err(AdminError::invalid)?;
        let agents: Vec<Agent> = self.facts_at("agent/", moment).await?;
        let is_next = |agent: &Agent| after.as_ref().is_none_or(|after| agent.name > *after);
        let mut agents: Vec<_> = agents.into_iter().filter(is_next).collect();
        agents.sort_by(|one, other| one.name.cmp(&other.name));
        let is_more = agents.len() > AGENTS_PAGE;
        agents.truncate(AGENTS_PAGE);
        let stops: Vec<Stop> = self.facts_at("stop/", moment).await?;
        let people: Vec<Person> = self.facts_at("person/", moment).await?;
        let people: BTreeMap<_, _> = people.into_iter().map(|it| (it.id.clone(), it)).collect();
        let mut working = self.working(&agents, moment).await?;
        let mut rows = Vec::new();
        for agent in &agents {
            let mut row = row(agent, &stops);
            let sponsor = people.get(&agent.sponsor);
            row["answered_for"] = sponsor.is_some_and(|it| agent.is_answered_for_by(it)).into();
            row["owned"] = agent.is_owned(&people).into();
            row["memory_per_task_by"] = json!(agent.answers_for_memory(&people));
            let mut instances = working.remove(&agent.name).unwrap_or_default();
            row["more_instances"] = (instances.len() > INSTANCES_MAX).into();
            instances.truncate(INSTANCES_MAX);
            match &looking {
                Some(looking) => looking.tell(&mut instances)?,
                None => self.last_seen(&mut instances).await?,
            }
            row["instances"] = instances.into();
            rows.push(row);
        }
        let next = agents.last().filter(|_| is_more).map(|agent| &agent.name);
        let unseen = looking.as_ref().and_then(Looking::unseen);
        let told = json!({ "agents": rows, "next": next, "unseen": unseen });
        if let Some(looking) = looking.filter(|_| next.is_some()) {
            self.looking.keep(by, looking);
        }
        Ok(told)
    }

    /// What acts as `agents`, by agent: instances whose task is open, or that are stopped.
    async fn working(
        &self,
        agents: &[Agent],
        moment: Moment,
    ) -> Result<BTreeMap<AgentName, Vec<Value>>, AdminError> {
        let tasks: Vec<Task> = self.facts_at("task/", moment).await?;
        let is_open = |task: &Task| task.state == TaskState::Open && moment.at < task.deadline;
        let tasks: BTreeMap<TaskId, Task> = tasks.into_iter().map(|it| (it.id, it)).collect();
        let mut children: BTreeMap<InstanceId, Vec<InstanceId>> = BTreeMap::new();
        for task in tasks.values().filter(|task| is_open(task)) {
            if let Some(delegation) = task.delegation {
                children.entry(delegation.by).or_default().push(task.instance);
            }
        }
        let instances: Vec<Instance> = self.facts_at("instance/", moment).await?;
        let named: BTreeSet<_> = agents.iter().map(|agent| &agent.name).collect();
        let mut working: BTreeMap<AgentName, Vec<Value>> = BTreeMap::new();
        for instance in instances {
            // What another took over since is no longer this one's.
            let is_own = |task: &&Task| task.instance == instance.id && is_open(task);
            let task = tasks.get(&instance.task).filter(is_own);
            let is_quarantined = matches!(instance.state, InstanceState::Quarantined { .. });
            if named.contains(&instance.agent) && (task.is_some() || is_quarantined) {
                let below = children.remove(&instance.id).unwrap_or_default();
                let all = working.entry(instance.agent.clone()).or_default();
                all.push(shown(&instance, task, &below));
            }
        }
        Ok(working)
    }

    /// How many instances act now as each of `agents`, or are stopped.
    pub(crate) async fn instances_at_work(
        &self,
        agents: &[Agent],
    ) -> Result<BTreeMap<AgentName, usize>, AdminError> {
        let working = self.working(agents, self.moment(None)?).await?;
        Ok(working.into_iter().map(|(agent, instances)| (agent, instances.len())).collect())
    }

    /// Says of `instances` until when the last token is good that each was given, and when each was last seen: by
    /// its newest decision since this process started, which is exact, or else not before that token was given, or
    /// it started.
    async fn last_seen(&self, instances: &mut [Value]) -> Result<(), AdminError> {
        let mut reader = self.reader();
        for instance in instances {
            let id = id_of(instance)?;
            let renewal = reader.find::<Value>(FactKey::renewal(id)).await;
            let renewal = renewal.map_err(AdminError::unavailable)?;
            let until = renewal.as_ref().map(|renewal| &renewal["until"]);
            let last = until.and_then(|until| match until {
                Value::Object(of_servers) => of_servers.values().filter_map(Value::as_i64).max(),
                until => until.as_i64(),
            });
            let given = last.map(|until| until - access_token::LIFETIME_MAX_S * 1_000);
            let asked = self.authority.last_seen(id).map(Timestamp::as_millis);
            let (seen, by) = match (asked, given) {
                (Some(asked), _) => (text(asked).into(), "decision"),
                (None, Some(given)) => (text(given).into(), "token"),
                (None, None) => (instance["started"].clone(), "start"),
            };
            (instance["last_seen"], instance["last_seen_by"]) = (seen, by.into());
            instance["token_until"] = last.map(text).into();
        }
        Ok(())
    }

    /// When `as_of` is; now, without one.
    pub(crate) fn moment(&self, as_of: Option<&str>) -> Result<Moment, AdminError> {
        match as_of {
            None => Ok(Moment { at: self.now(), is_now: true }),
            Some(as_of) => self.moment_at(as_of.parse().map_err(AdminError::invalid)?),
        }
    }

    /// The moment that was `at` that time.
    pub(crate) fn moment_at(&self, at: Timestamp) -> Result<Moment, AdminError> {
        // What is now may change yet.
        let now = self.now();
        if at >= now {
            return Err(AdminError::Invalid(format!("{at} is yet to come: it is {now}")));
        }
        Ok(Moment { at, is_now: false })
    }

    pub(crate) async fn facts_at<T: DeserializeOwned>(
        &self,
        prefix: &str,
        moment: Moment,
    ) -> Result<Vec<T>, AdminError> {
        let store = self.authority.pip().store();
        if moment.is_now {
            return authority::all(store, prefix).await.map_err(AdminError::unavailable);
        }
        let all = all_as_of(store, (prefix, moment.at)).await;
        all.map_err(AdminError::unavailable)?.map_err(|why| AdminError::Invalid(not_kept(why)))
    }
}

/// The id of an instance that is shown.
fn id_of(instance: &Value) -> Result<InstanceId, AdminError> {
    let id = instance["id"].as_str().unwrap_or_default().parse::<InstanceId>();
    id.map_err(AdminError::unavailable)
}

/// A time as it is told.
fn text(millis: i64) -> String {
    Timestamp::from_millis(millis).to_string()
}

/// Why it is not told what was.
fn not_kept(why: NotKept) -> String {
    match why {
        NotKept::Since(since) => {
            format!("the register is kept since {since}: nobody knows what was before")
        }
        NotKept::Ahead(until) => {
            format!("the clock was ahead until {until}: what was is told again from then on")
        }
    }
}

/// What is told of an agent.
fn row(agent: &Agent, stops: &[Stop]) -> Value {
    let mut row = with_lease(json!(agent), agent);
    mark_stopped(&mut row, stops, true);
    row
}

/// What is told of an instance that works on `task`, and handed parts of it on to those `below`.
fn shown(instance: &Instance, task: Option<&Task>, below: &[InstanceId]) -> Value {
    json!({
        "id": instance.id,
        "state": instance.state,
        "attestation": instance.attestation,
        "started": instance.started.to_string(),
        "task": instance.task,
        "purpose": task.map(|task| &task.purpose),
        "tools": task.map(|task| &task.scope.tools),
        "until": task.map(|task| task.deadline.to_string()),
        "parent": task.and_then(|task| task.delegation).map(|delegation| delegation.by),
        "children": below,
    })
}
