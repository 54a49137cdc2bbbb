//! Access reviews: agents of which somebody has to say by a date that they keep what they have.
//!
//! INVARIANT: no answer by the date is an end. Nobody has to be there for it: the date stands in the agent,
//! which every decision on it reads, and the kernel holds it against the clock
//! (`r_75_an_agent_that_nobody_answered_lapses_also_while_nothing_runs`).

mod decisions;
mod export;
mod table;
mod taking;
mod uses;
mod withdrawing;

use std::collections::{BTreeMap, BTreeSet};

use authority::Reader;
use model::{
    Agent, AgentName, AgentState, Certified, FactKey, OpenReview, PersonId, REVIEW_ITEMS_MAX,
    REVIEW_MAX, REVIEW_MIN, ResourceRef, Review, ReviewId, ReviewWithdrawn, Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) use self::uses::{Counted, Tally, Used};
use crate::asked::Command;
use crate::command::{AdminError, Administration};
use crate::register::{known, put, put_new, registered};

/// What deciding that an agent goes on needs.
const CERTIFY: &str = "review/certify";

/// What is to be reviewed, and by when.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewAsked {
    /// These agents; without any, all that can be.
    #[serde(default)]
    pub agents: Vec<String>,
    /// Those of this sponsor alone.
    #[serde(default)]
    pub sponsor: Option<String>,
    /// By when whoever is not answered lapses: a time or a date (RFC 3339).
    pub due: String,
}

/// How a review is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReviewFormat {
    /// A table (RFC 4180).
    Csv,
    /// A list of resources (RFC 7644).
    Scim,
}

impl Administration {
    pub(crate) async fn reviews(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        match command {
            Command::ReviewOpen(asked) => self.review_open(by, &asked).await,
            Command::ReviewExport { id, format } => self.review_export(by, (&id, format)).await,
            Command::ReviewImport { id, file } => self.review_import(by, (&id, &file)).await,
            Command::ReviewWithdraw { id, reason } => self.review_withdraw(by, (&id, reason)).await,
            Command::ReviewShow { id } => self.review_show(by, &id).await,
            _ => self.review_list(by).await,
        }
    }

    /// Opens a review: from its date on what nobody answered is over.
    async fn review_open(&self, by: &PersonId, asked: &ReviewAsked) -> Result<Value, AdminError> {
        let due: Timestamp = asked.due.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "review/open", ResourceRef::Deployment).await?;
        let now = self.now();
        if due < now.plus(REVIEW_MIN) || due > now.plus(REVIEW_MAX) {
            let why = "a review is due in a day at the earliest, and in 90 days at the latest";
            return Err(AdminError::Invalid(why.to_owned()));
        }
        let agents = self.reviewed(&mut draft.reader, asked).await?;
        let id = ReviewId::new(now, self.authority.entropy().as_ref());
        let (opened_by, items, withdrawn) = (by.clone(), BTreeMap::new(), None);
        let mut review = Review { id, opened_by, opened: now, due, items, withdrawn };
        let mut effects = Vec::new();
        for mut agent in agents {
            agent.review.open = Some(OpenReview { id, due, opened_by: by.clone() });
            effects.push(put(FactKey::agent(&agent.name), &agent));
            review.items.insert(agent.name, None);
        }
        effects.push(put_new(FactKey::review(id), &review));
        let done = draft.make(json!(review), effects).await?;
        Ok(json!({
            "review": id,
            "due": due.to_string(),
            "agents": review.items.keys().collect::<Vec<_>>(),
            "decision": done.decision,
        }))
    }

    /// The agents that a review is of: those that are named, each of which must be fit for one, or all that
    /// are, perhaps of one sponsor.
    async fn reviewed(
        &self,
        reader: &mut Reader<'_>,
        asked: &ReviewAsked,
    ) -> Result<Vec<Agent>, AdminError> {
        let sponsor = asked.sponsor.as_deref().map(str::parse::<PersonId>).transpose();
        let sponsor = sponsor.map_err(AdminError::invalid)?;
        let named = asked.agents.iter().map(|name| name.parse::<AgentName>());
        let named: BTreeSet<_> = named.collect::<Result<_, _>>().map_err(AdminError::invalid)?;
        let all = authority::all::<Agent>(self.authority.pip().store(), "agent/").await;
        let all = all.map_err(AdminError::unavailable)?.into_iter();
        let is_of = |agent: &Agent| sponsor.as_ref().is_none_or(|id| agent.sponsor == *id);
        let all = all.filter(|agent| is_of(agent) && unfit(agent).is_none());
        let all = if named.is_empty() { all.map(|agent| agent.name).collect() } else { named };
        if all.is_empty() || all.len() > REVIEW_ITEMS_MAX {
            let why = format!("a review is of one agent at least and {REVIEW_ITEMS_MAX} at most");
            return Err(AdminError::Invalid(format!("{why}: these are {}", all.len())));
        }
        let mut agents = Vec::new();
        for name in all {
            let agent = registered(reader, &name).await?;
            let why = unfit(&agent).or_else(|| (!is_of(&agent)).then_some("is another's"));
            if let Some(why) = why {
                return Err(AdminError::Invalid(format!("the agent `{name}` {why}")));
            }
            agents.push(agent);
        }
        Ok(agents)
    }

    async fn review_show(&self, by: &PersonId, id: &str) -> Result<Value, AdminError> {
        let id: ReviewId = id.parse().map_err(AdminError::invalid)?;
        self.may_read(by, "review").await?;
        let review = found(&mut self.reader(), id).await?;
        let now = self.now();
        let items = review.items.iter().map(|(agent, decided)| {
            let mut item = json!({
                "item": item(id, agent), "agent": agent,
                "state": state(&review, decided.as_ref(), now),
            });
            if let Some(decided) = decided {
                item["decided"] = json!({
                    "reviewer": decided.reviewer, "reason": decided.reason,
                    "version": decided.version, "at": decided.at.to_string(),
                });
            }
            item
        });
        let items: Vec<_> = items.collect();
        let mut told = summary(&review, now);
        told["items"] = items.into();
        Ok(told)
    }

    async fn review_list(&self, by: &PersonId) -> Result<Value, AdminError> {
        self.may_read(by, "review/").await?;
        let all = authority::all::<Review>(self.authority.pip().store(), "review/").await;
        let (all, now) = (all.map_err(AdminError::unavailable)?, self.now());
        Ok(all.iter().map(|review| summary(review, now)).collect())
    }
}

/// How it stands with a review as a whole.
fn stands(review: &Review, now: Timestamp) -> &'static str {
    let is_answered = review.items.values().all(Option::is_some);
    match &review.withdrawn {
        Some(_) => "withdrawn",
        None if is_answered => "answered",
        None if review.due <= now => "lapsed",
        None => "open",
    }
}

/// Why `agent` cannot be reviewed now, if it cannot.
fn unfit(agent: &Agent) -> Option<&'static str> {
    match (&agent.state, &agent.review.open) {
        (AgentState::Active, None) => None,
        (AgentState::Active, Some(_)) => Some("is in a review that nobody has answered"),
        (AgentState::Suspended { .. } | AgentState::Retired { .. }, _) => Some("is suspended"),
    }
}

/// The review `id`, which there must be.
async fn found(reader: &mut Reader<'_>, id: ReviewId) -> Result<Review, AdminError> {
    known::<Review>(reader, FactKey::review(id), &format!("review `{id}`")).await
}

/// Names the item of a review that is about `agent`, always the same.
fn item(review: ReviewId, agent: &AgentName) -> String {
    format!("{review}/{agent}")
}

/// How it stands with an item.
fn state(review: &Review, decided: Option<&Certified>, now: Timestamp) -> &'static str {
    match decided {
        Some(decided) => decided.decision.as_str(),
        None if review.withdrawn.is_some() => "withdrawn",
        None if review.due <= now => "lapsed",
        None => "awaiting",
    }
}

/// What a review has come to.
fn summary(review: &Review, now: Timestamp) -> Value {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for decided in review.items.values() {
        *counts.entry(state(review, decided.as_ref(), now)).or_default() += 1;
    }
    let mut told = json!({
        "review": review.id,
        "state": stands(review, now),
        "opened_by": review.opened_by,
        "opened": review.opened.to_string(),
        "due": review.due.to_string(),
        "agents": review.items.len(),
        "counts": counts,
    });
    if let Some(ReviewWithdrawn { by, at, reason }) = &review.withdrawn {
        told["withdrawn"] = json!({ "by": by, "at": at.to_string(), "reason": reason });
    }
    told
}
