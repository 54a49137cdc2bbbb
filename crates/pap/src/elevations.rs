//! Elevations: one person asks that an instance may do something beyond its task, another approves it,
//! and whoever administers takes it back.
//!
//! INVARIANT: nobody approves what they asked for themselves, and the service's own user does neither
//! (`r_54_…`). A deployment for development has one administrator, who does both.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use authority::Reader;
use model::{
    ELEVATED_TOOLS_MAX, ELEVATION_MAX, ELEVATIONS_MAX, Elevation, ElevationId, ElevationState,
    FactKey, Harm, KernelRule, PersonId, ResourceRef, Standing, Task, TaskId, TaskState, Timestamp,
    Tool, ToolRef,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::asked::Command;
use crate::command::{AdminError, Administration};
use crate::founding::is_for_development;
use crate::register::{known, put, put_new};
use crate::words::{Acting, key_of, stands_behind};

/// What somebody asks for beyond a task.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the members are those of the command line, documented there")]
pub struct ElevationAsked {
    pub task: String,
    pub name: String,
    pub tools: Vec<String>,
    pub max_calls: Option<u64>,
    /// For how long, in seconds from its approval.
    pub lasts_s: u64,
    pub reason: String,
}

impl Administration {
    pub(crate) async fn elevations(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        match command {
            Command::ElevationAsk { asked, word } => {
                let said = json!({ "do": "elevation-ask", "asked": asked });
                let (by, uses) = self.acting_as_one(by, word.as_deref(), &said).await?;
                let done = self.elevation_ask((by, uses.clone()), asked).await;
                self.settled(done, uses).await
            }
            Command::ElevationApprove { id, word } => {
                let id: ElevationId = id.parse().map_err(AdminError::invalid)?;
                let found = self.reader().find::<Elevation>(FactKey::elevation(id)).await;
                let found = found.map_err(AdminError::unavailable)?;
                let digest = found.map(|elevation| elevation.digest());
                let said = json!({ "do": "elevation-approve", "id": id, "digest": digest });
                let (by, uses) = self.acting_as_one(by, word.as_deref(), &said).await?;
                let done = self.elevation_approve((by, uses.clone()), id).await;
                self.settled(done, uses).await
            }
            Command::ElevationRevoke { id, reason } => self.elevation_revoke(by, &id, reason).await,
            _ => self.list(by, "elevation/", "").await,
        }
    }

    /// Keeps what is asked for until somebody approves it: until then it lifts nothing.
    async fn elevation_ask(
        &self,
        (by, mut effects): Acting,
        asked: ElevationAsked,
    ) -> Result<Value, AdminError> {
        let ElevationAsked { task, name, tools, max_calls, lasts_s, reason } = asked;
        let task: TaskId = task.parse().map_err(AdminError::invalid)?;
        let name = name.parse().map_err(AdminError::invalid)?;
        let tools = named(&tools)?;
        if lasts_s == 0 || Duration::from_secs(lasts_s) > ELEVATION_MAX {
            let most = ELEVATION_MAX.as_secs();
            return Err(AdminError::Invalid(format!("an elevation lasts 1 to {most} seconds")));
        }
        let mut draft = self.draft(&by, "elevation/ask", ResourceRef::Task(task)).await?;
        let now = self.now();
        let held = open(&mut draft.reader, task, now).await?;
        let standing = authority::read_standing(&mut draft.reader, held.instance).await;
        let standing = standing.map_err(AdminError::unavailable)?;
        let tools = described(&mut draft.reader, tools, &standing).await?;
        let key = key_of(&mut draft.reader, &by).await?;
        let elevation = Elevation {
            id: ElevationId::new(now, self.authority.entropy().as_ref()),
            name,
            task,
            instance: held.instance,
            tools,
            max_calls,
            lasts_s,
            reason,
            asked_by: by.clone(),
            key,
            asked: now,
            state: ElevationState::Asked,
        };
        effects.push(put_new(FactKey::elevation(elevation.id), &elevation));
        let done = draft.make(json!(elevation), effects).await?;
        let until = now.plus(model::ELEVATION_WAITS).to_string();
        Ok(json!({
            "waits": elevation.id, "for": "somebody else's approval", "until": until,
            "decision": done.decision,
        }))
    }

    /// Approves what somebody else asked for: from now on it counts.
    async fn elevation_approve(
        &self,
        (by, mut effects): Acting,
        id: ElevationId,
    ) -> Result<Value, AdminError> {
        let mut draft = self.draft(&by, "elevation/approve", ResourceRef::Elevation(id)).await?;
        let mut elevation = found(&mut draft.reader, id).await?;
        let is_own = elevation.asked_by == by;
        if is_own && !is_for_development(self.authority.journal()).await? {
            return Err(self.takes_another("approved_by_the_same_person"));
        }
        let now = self.now();
        let asked = (&elevation.asked_by, elevation.asked);
        let is_wanted = stands_behind(&mut draft.reader, asked, elevation.key).await?;
        if !elevation.waits(now) || !is_wanted {
            let why = format!("elevation `{id}` waits for nobody's approval any longer");
            return Err(AdminError::Invalid(why));
        }
        let task = open(&mut draft.reader, elevation.task, now).await?;
        if task.instance != elevation.instance {
            let why = format!("task `{}` is held by another instance since", task.id);
            return Err(AdminError::Invalid(why));
        }
        let beside = beside(&mut draft.reader, (&elevation, &task), now).await?;
        let until = now.plus(Duration::from_secs(elevation.lasts_s)).min(task.deadline);
        elevation.state = ElevationState::Approved { by: by.clone(), at: now, until };
        effects.extend([
            put(FactKey::elevation(id), &elevation),
            put(FactKey::elevated(task.id), &beside),
        ]);
        let done = draft.make(json!(elevation), effects).await?;
        Ok(json!({
            "elevation": id, "name": elevation.name, "task": task.id, "until": until.to_string(),
            "decision": done.decision,
        }))
    }

    /// Takes an elevation back, or what was asked for: one key written, which every decision in its task
    /// reads.
    async fn elevation_revoke(
        &self,
        by: &PersonId,
        id: &str,
        reason: String,
    ) -> Result<Value, AdminError> {
        let id: ElevationId = id.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "elevation/revoke", ResourceRef::Elevation(id)).await?;
        let mut elevation = found(&mut draft.reader, id).await?;
        if let ElevationState::Revoked { .. } = elevation.state {
            return Err(AdminError::Invalid(format!("elevation `{id}` is revoked")));
        }
        let change = json!(reason);
        elevation.state = ElevationState::Revoked { by: by.clone(), reason, since: self.now() };
        let done = draft.make(change, vec![put(FactKey::elevation(id), &elevation)]).await?;
        Ok(json!({ "elevation": id, "decision": done.decision }))
    }
}

/// The tools with these names: one at least, each by itself and not all of a server.
fn named(tools: &[String]) -> Result<BTreeSet<ToolRef>, AdminError> {
    if tools.is_empty() || tools.len() > ELEVATED_TOOLS_MAX {
        let why = format!("an elevation names 1 to {ELEVATED_TOOLS_MAX} tools");
        return Err(AdminError::Invalid(why));
    }
    tools.iter().map(|tool| tool.parse().map_err(AdminError::invalid)).collect()
}

/// The `tools` as they are now. One that would be denied all the same is refused: nobody is asked to
/// approve what comes to nothing.
async fn described(
    reader: &mut Reader<'_>,
    tools: BTreeSet<ToolRef>,
    standing: &Standing,
) -> Result<BTreeMap<ToolRef, BTreeSet<Harm>>, AdminError> {
    let mut described = BTreeMap::new();
    for tool in tools {
        let found = known::<Tool>(reader, FactKey::tool(&tool), &format!("tool `{tool}`")).await?;
        if let Some(why) = unlifted(standing, &found) {
            let why = format!("no elevation lifts this for `{tool}`: {why}");
            return Err(AdminError::Invalid(why));
        }
        described.insert(tool, found.harm);
    }
    Ok(described)
}

/// What would deny a call of `tool` all the same, and what to do about it; nothing, if an elevation lifts
/// what there is.
fn unlifted(standing: &Standing, tool: &Tool) -> Option<String> {
    match standing.bars(tool) {
        Some(KernelRule::NotDelegable) => {
            let root = standing.root().id;
            Some(format!(
                "it may not be handed on; ask for it in task `{root}`, which began the work"
            ))
        }
        Some(_) => {
            let why = "it needs a person on whose behalf the work is done; begin a task for one";
            Some(why.to_owned())
        }
        None if !is_within(standing, tool) => {
            let why = "it is beyond the mandate, its purpose or the ceiling of an agent; begin a task \
                       that may have it";
            Some(why.to_owned())
        }
        None if !standing.mandate.agrees_to(tool) => {
            let why =
                "the person consented to less than it can do by now; ask them to consent anew";
            Some(why.to_owned())
        }
        None => None,
    }
}

/// Whether the mandate, its purpose and all ceilings cover a call of `tool`, and the data that it touches.
fn is_within(standing: &Standing, tool: &Tool) -> bool {
    let ceilings = standing.hops().map(|hop| &hop.agent.ceiling);
    let mut all = ceilings.chain([&standing.mandate.scope, &standing.purpose.scope]);
    all.all(|scope| scope.covers(&tool.tool, &tool.harm)) && standing.is_for(tool)
}

async fn found(reader: &mut Reader<'_>, id: ElevationId) -> Result<Elevation, AdminError> {
    known::<Elevation>(reader, FactKey::elevation(id), &format!("elevation `{id}`")).await
}

/// The task `id`, which must be open.
async fn open(reader: &mut Reader<'_>, id: TaskId, now: Timestamp) -> Result<Task, AdminError> {
    let task = known::<Task>(reader, FactKey::task(id), &format!("task `{id}`")).await?;
    if task.state == TaskState::Open && now < task.deadline {
        return Ok(task);
    }
    Err(AdminError::Invalid(format!("task `{id}` is over")))
}

/// The elevations of `task` once `elevation` is among them: no tool is named by two, so that it is
/// never a question on which of them a call rests.
async fn beside(
    reader: &mut Reader<'_>,
    (elevation, task): (&Elevation, &Task),
    now: Timestamp,
) -> Result<BTreeSet<ElevationId>, AdminError> {
    let others = authority::elevations(reader, task.id).await.map_err(AdminError::unavailable)?;
    let in_force = others.iter().filter(|other| other.is_in_force(task, now));
    let others: Vec<_> = in_force.map(|other| &other.elevation).collect();
    let names_same =
        |other: &&&Elevation| other.tools.keys().any(|tool| elevation.tools.contains_key(tool));
    if let Some(other) = others.iter().find(names_same) {
        let why = format!("elevation `{}` names one of its tools: revoke it first", other.id);
        return Err(AdminError::Invalid(why));
    }
    if others.len() >= ELEVATIONS_MAX {
        let why = format!("a task has at most {ELEVATIONS_MAX} elevations at a time");
        return Err(AdminError::Invalid(why));
    }
    Ok(others.iter().map(|other| other.id).chain([elevation.id]).collect())
}
