//! Takes what reviewers decided: all that a file says, in one commit, or nothing of it.

use std::collections::BTreeSet;

use model::{
    Agent, Certification, Certified, FactKey, Person, PersonId, ResourceRef, Review, ReviewId,
    SETTLED_BEFORE, Scope, Sha256Digest, Timestamp, ToolPattern,
};
use serde_json::{Value, json};

use super::decisions::{Said, Wrong, parse};
use super::uses::{Tally, Uses, since_review};
use super::{CERTIFY, found, item, state};
use crate::command::{AdminError, Administration, Draft};
use crate::logged_in::By;
use crate::register::{put, registered};

impl Administration {
    /// Takes the decisions of `file` on the review `id`, once the records are counted that some of them rest on. A
    /// file that was taken before changes nothing.
    pub(super) async fn review_import(
        &self,
        by: &PersonId,
        (id, file): (&str, &str),
    ) -> Result<Value, AdminError> {
        let id: ReviewId = id.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "review/import", ResourceRef::Deployment).await?;
        let mut review = found(&mut draft.reader, id).await?;
        let digest = Sha256Digest::of(file.as_bytes());
        if review.items.values().flatten().any(|it| it.file == digest) {
            let change = json!({ "review": id, "file": digest, "again": true });
            let done = draft.make(change, Vec::new()).await?;
            return Ok(told(&review, &digest, (true, &done.decision)));
        }
        let all = parse(file, id).map_err(AdminError::Invalid)?;
        let uses = match self.uses_of_reduced(&mut draft, (by, id), &all).await? {
            Tally::All(uses) => uses,
            Tally::SoFar(told) => return Ok(told),
        };
        let now = self.now();
        let (mut wrong, mut effects, mut decided) = (Wrong::default(), Vec::new(), Vec::new());
        for said in all {
            let taken = self.taken(&mut draft, (&review, &said), (by, &uses, now)).await?;
            let agent = match taken {
                Ok(agent) => agent,
                Err(why) => {
                    wrong.note(said.line, why);
                    continue;
                }
            };
            effects.push(put(FactKey::agent(&agent.name), &agent));
            let Said { agent, version, decision, reviewer, reason, .. } = said;
            let certified =
                Certified { decision, reviewer, reason, version, at: now, file: digest };
            let mut told = json!(certified);
            told["agent"] = json!(agent);
            decided.push(told);
            review.items.insert(agent, Some(certified));
        }
        wrong.told().map_err(AdminError::Invalid)?;
        effects.push(put(FactKey::review(id), &review));
        let change = json!({ "review": id, "file": digest, "decided": decided });
        let done = draft.make(change, effects).await?;
        Ok(told(&review, &digest, (false, &done.decision)))
    }

    /// What the agents used that are to keep no more than that.
    async fn uses_of_reduced(
        &self,
        draft: &mut Draft<'_>,
        (by, id): (&PersonId, ReviewId),
        all: &[Said],
    ) -> Result<Tally, AdminError> {
        let mut agents = Vec::new();
        for said in all.iter().filter(|said| said.decision == Certification::Reduce) {
            agents.push(registered(&mut draft.reader, &said.agent).await?);
        }
        if agents.is_empty() {
            return Ok(Tally::All(Uses::new()));
        }
        self.tally(by, Some(id), since_review(&agents)).await
    }

    /// What the agent of `said` is by that decision; why not, if it cannot be taken.
    async fn taken(
        &self,
        draft: &mut Draft<'_>,
        (review, said): (&Review, &Said),
        (by, uses, now): (&PersonId, &Uses, Timestamp),
    ) -> Result<Result<Agent, String>, AdminError> {
        let name = &said.agent;
        let Some(known) = review.items.get(name) else {
            return Ok(Err(format!("`{}` is no item of it", item(review.id, name))));
        };
        let is = match state(review, known.as_ref(), now.plus(SETTLED_BEFORE)) {
            "awaiting" => None,
            // By when it is taken, it may have.
            "lapsed" => Some("lapsed, or does within a minute"),
            other => Some(other),
        };
        if let Some(is) = is {
            return Ok(Err(format!("`{name}` awaits no decision any more: {is}")));
        }
        let mut agent = registered(&mut draft.reader, name).await?;
        // Nobody keeps an agent from being revoked by changing it meanwhile.
        let goes_on = said.decision != Certification::Revoke;
        if goes_on && agent.version() != said.version {
            let why = "has changed since it was exported: export it again, and decide anew";
            return Ok(Err(format!("`{name}` {why}")));
        }
        if let Err(why) = self.reviewed_by(draft, (said, &agent), by).await? {
            return Ok(Err(why));
        }
        agent.review.open = None;
        match said.decision {
            Certification::Keep => agent.review.passed = Some(now),
            Certification::Reduce => {
                let Some(ceiling) = reduced(&agent, uses) else {
                    return Ok(Err(format!("`{name}` used nothing that it may: revoke it")));
                };
                (agent.ceiling, agent.review.passed) = (ceiling, Some(now));
            }
            Certification::Revoke => {
                let reason = format!("review {}: {}", review.id, said.reason);
                agent.suspend(reason, now);
            }
        }
        Ok(Ok(agent))
    }

    /// Whether the reviewer is somebody who is here and not the agent, and whether those who act may do so:
    /// who certifies that it goes on, and who suspends. Who brings decisions on what they sponsor
    /// themselves needs the right to certify it too: that another did is only their word.
    async fn reviewed_by(
        &self,
        draft: &mut Draft<'_>,
        (said, agent): (&Said, &Agent),
        by: &PersonId,
    ) -> Result<Result<(), String>, AdminError> {
        let reviewer = &said.reviewer;
        let person = draft.reader.find::<Person>(FactKey::person(reviewer)).await;
        let person = person.map_err(AdminError::unavailable)?;
        let is_agent = reviewer.as_str() == agent.name.as_str();
        if is_agent || person.is_none_or(|person| !person.is_active()) {
            return Ok(Err(format!("the reviewer `{reviewer}` is no person who is here")));
        }
        let (action, who) = match said.decision {
            Certification::Keep | Certification::Reduce if agent.sponsor == *by => {
                (CERTIFY, BTreeSet::from([reviewer, by]))
            }
            Certification::Keep | Certification::Reduce => (CERTIFY, BTreeSet::from([reviewer])),
            Certification::Revoke => ("agent/suspend", BTreeSet::from([by])),
        };
        for person in who {
            let target = ResourceRef::Agent(agent.name.clone());
            let answer = draft.includes(By::from(person), action, target).await?;
            if let Err(why) = answer {
                return Ok(Err(format!("`{person}` may not `{action}` `{}`: {why}", agent.name)));
            }
        }
        Ok(Ok(()))
    }
}

/// The ceiling of `agent` without what it did not use; none, if it used nothing of it.
fn reduced(agent: &Agent, uses: &Uses) -> Option<Scope> {
    let own = uses.get(&agent.name).into_iter().flat_map(|used| used.keys());
    let held = |tool: &&model::ToolRef| agent.ceiling.tools.iter().any(|it| it.covers(tool));
    let tools: BTreeSet<ToolPattern> = own.filter(held).map(ToolPattern::of).collect();
    (!tools.is_empty()).then(|| Scope { tools, ..agent.ceiling.clone() })
}

/// What the file came to, or had come to before.
fn told(
    review: &Review,
    file: &Sha256Digest,
    (again, decision): (bool, &model::DecisionId),
) -> Value {
    let of_file = review.items.values().flatten().filter(|it| it.file == *file);
    let decisions: Vec<_> = of_file.map(|it| it.decision).collect();
    let count = |what| decisions.iter().filter(|it| **it == what).count();
    json!({
        "review": review.id,
        "file": file,
        "again": again,
        "kept": count(Certification::Keep),
        "reduced": count(Certification::Reduce),
        "revoked": count(Certification::Revoke),
        "awaiting": review.items.values().filter(|it| it.is_none()).count(),
        "decision": decision,
    })
}
