//! What reviewers are shown of agents.

use std::collections::{BTreeMap, BTreeSet};

use authority::FactsError;
use model::{
    Agent, AgentName, Device, DeviceState, FactKey, Mandate, MandateBasis, MandateId, PersonId,
    ResourceRef, Review, ReviewId, Sha256Digest, Timestamp, Tool, ToolRef,
};
use serde_json::{Value, json};

use super::table::{Row, csv, scim};
use super::uses::{Tally, Used, Uses, since_review};
use super::{ReviewFormat, found};
use crate::command::{AdminError, Administration};

/// What agents were given that is in no fact of their own.
#[derive(Default)]
pub(super) struct Given {
    /// Mandates by which the sponsor lets it work for nobody.
    pub(super) standing: Vec<MandateId>,
    /// How many people consented that it works for them.
    pub(super) consents: usize,
}

impl Administration {
    /// Exports a review: what each of its agents has, and what it used of that. Until the records are
    /// counted it tells how far it is; whoever waits asks again.
    pub(super) async fn review_export(
        &self,
        by: &PersonId,
        (id, format): (&str, ReviewFormat),
    ) -> Result<Value, AdminError> {
        let id: ReviewId = id.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "log/read", ResourceRef::Deployment).await?;
        let review = found(&mut draft.reader, id).await?;
        let mut agents = Vec::new();
        for name in review.items.keys() {
            let agent = draft.reader.need::<Agent>(FactKey::agent(name)).await;
            agents.push(agent.map_err(AdminError::unavailable)?);
        }
        let uses = match self.tally(by, Some(id), since_review(&agents)).await? {
            Tally::All(uses) => uses,
            Tally::SoFar(told) => return Ok(told),
        };
        let rows = self.rows(&review, &agents, &uses).await?;
        let file = match format {
            ReviewFormat::Csv => csv(&rows),
            ReviewFormat::Scim => scim(&rows).to_string(),
        };
        let digest = Sha256Digest::of(file.as_bytes());
        let change = json!({ "review": id, "exported": digest });
        let done = draft.make(change, Vec::new()).await?;
        Ok(json!({ "file": file, "agents": agents.len(), "decision": done.decision }))
    }

    async fn rows<'a>(
        &self,
        review: &'a Review,
        agents: &'a [Agent],
        uses: &'a Uses,
    ) -> Result<Vec<Row<'a>>, AdminError> {
        let now = self.now();
        let store = self.authority.pip().store();
        let mut given = self.given(agents, now).await.map_err(AdminError::unavailable)?;
        let instances = self.instances_at_work(agents).await?;
        let tools = authority::all::<Tool>(store, "tool/").await;
        let tools: Vec<ToolRef> =
            tools.map_err(AdminError::unavailable)?.into_iter().map(|tool| tool.tool).collect();
        let mut rows = Vec::new();
        for agent in agents {
            let devices = format!("device/{}/", agent.name);
            let devices = authority::all::<Device>(store, &devices).await;
            let devices = devices.map_err(AdminError::unavailable)?.into_iter();
            let vouches =
                |device: &Device| device.state == DeviceState::Active && now < device.valid_until;
            let decided = review.items.get(&agent.name).and_then(Option::as_ref);
            let of_agent = uses.get(&agent.name);
            rows.push(Row {
                item: super::item(review.id, &agent.name),
                agent,
                state: super::state(review, decided, now),
                due: review.due,
                given: given.remove(&agent.name).unwrap_or_default(),
                devices: devices.filter(vouches).map(|device| device.id).collect(),
                instances: instances.get(&agent.name).copied().unwrap_or_default(),
                never_used: never_used(agent, of_agent, &tools),
                used: of_agent.into_iter().flatten().collect(),
            });
        }
        Ok(rows)
    }

    /// The mandates of `agents` that count at `now`.
    async fn given(
        &self,
        agents: &[Agent],
        now: Timestamp,
    ) -> Result<BTreeMap<AgentName, Given>, FactsError> {
        let agents: BTreeMap<_, _> = agents.iter().map(|agent| (&agent.name, agent)).collect();
        let (mut all, mut pages) = (BTreeMap::<AgentName, Given>::new(), self.pages("mandate/"));
        while let Some(facts) = pages.next().await? {
            for (key, body) in facts {
                let mandate: Mandate = serde_json::from_slice(&body)
                    .map_err(|source| FactsError::Damaged { key, source })?;
                let agent = agents.get(&mandate.agent);
                let counts = agent.is_some_and(|agent| mandate.given >= agent.registered)
                    && mandate.withdrawn.is_none()
                    && now < mandate.valid_until;
                if !counts {
                    continue;
                }
                let given = all.entry(mandate.agent).or_default();
                match mandate.basis {
                    MandateBasis::Standing { .. } => given.standing.push(mandate.id),
                    MandateBasis::Consented { .. } => given.consents += 1,
                    // It is given anew for each task.
                    MandateBasis::Initiated { .. } => {}
                }
            }
        }
        Ok(all)
    }
}

/// What `agent` may call of `tools`, and by name, and did not.
fn never_used(
    agent: &Agent,
    used: Option<&BTreeMap<ToolRef, Used>>,
    tools: &[ToolRef],
) -> BTreeSet<ToolRef> {
    let patterns = &agent.ceiling.tools;
    let covered = tools.iter().filter(|tool| patterns.iter().any(|pattern| pattern.covers(tool)));
    let named = patterns.iter().filter_map(model::ToolPattern::exact);
    let is_used = |tool: &ToolRef| used.is_some_and(|used| used.contains_key(tool));
    covered.cloned().chain(named).filter(|tool| !is_used(tool)).collect()
}
