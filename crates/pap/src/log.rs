//! Reading the log: records, their disclosures, and the chain of custody behind a decision.

use std::collections::BTreeMap;

use authority::{LogEntry, Reserved, Settling};
use journal::DisclosureError;
use model::record::{Commitments, DecisionRecord, Disclosure, FactsRecord, OutcomeRecord};
use model::{
    Bounds, DecisionId, Elevation, FactKey, Hop, MandateBasis, Person, PersonId, RecordId,
    ResourceRef, Standing,
};
use serde_json::{Value, json};
use tlog::{LeafIndex, TreeSize};

use crate::asked::Command;
use crate::command::{AdminError, Administration};
use crate::policy::Activations;

/// The most records of one page.
const PAGE: usize = 1_000;

/// What is behind the commitments of a record.
pub(crate) enum Disclosed {
    /// The values, each of which opens its commitment.
    Values(Disclosure),
    /// They were erased.
    Erased,
    /// They are not what was committed to, for this reason.
    Damaged(String),
}

/// The most exports of one person that are under way: beyond, the oldest is over.
const EXPORTS_MAX: usize = 16;

/// The exports that are under way, by the number that each was given.
#[derive(Default)]
pub(crate) struct Exports {
    given: u64,
    under_way: BTreeMap<u64, Export>,
}

/// An export that is under way.
struct Export {
    by: PersonId,
    /// Where the next page begins.
    next: u64,
    /// Where all ends.
    end: u64,
}

impl Exports {
    /// Where the export `number` of `by` ends, if its next page begins at `from`.
    fn end(&self, by: &PersonId, (number, from): (u64, u64)) -> Option<u64> {
        let export = self.under_way.get(&number);
        export.filter(|it| it.by == *by && it.next == from).map(|it| it.end)
    }

    /// Notes how far `by` has come with the export `number`, or with a new one; gives its number, unless it
    /// is over.
    fn came(&mut self, by: &PersonId, number: Option<u64>, (next, end): (u64, u64)) -> Option<u64> {
        if next >= end {
            if let Some(number) = number {
                self.under_way.remove(&number);
            }
            return None;
        }
        let number = number.unwrap_or_else(|| {
            self.given += 1;
            self.given
        });
        self.under_way.insert(number, Export { by: by.clone(), next, end });
        let own = self.under_way.iter().filter(|(_, it)| it.by == *by).map(|(number, _)| *number);
        let own: Vec<_> = own.collect();
        for oldest in own.iter().take(own.len().saturating_sub(EXPORTS_MAX)) {
            self.under_way.remove(oldest);
        }
        Some(number)
    }
}

impl Administration {
    pub(crate) async fn read_log(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        if let Command::LogExport { from, export } = command {
            return self.export(by, (export, from)).await;
        }
        self.may_read(by, "log").await?;
        match command {
            Command::LogShow { id } => {
                let (index, record) = self.found(&id).await?;
                let disclosure = self.authority.journal().disclosure(index).await;
                let disclosure = disclosure.map_err(AdminError::unavailable)?;
                Ok(json!({ "index": index, "record": record, "disclosure": disclosure }))
            }
            Command::LogChain { id } => self.chain(&id).await,
            Command::LogTail { n } => {
                let size = self.log_size().await?;
                let from = size.saturating_sub(n.min(PAGE) as u64);
                self.page(from, size).await
            }
            Command::LogProve { id } => self.prove(&id).await,
            Command::PolicyExplain { id } => self.explain(&id).await,
            Command::PolicyAsk { case } => self.ask(case).await,
            Command::PolicyCase { id } => self.as_case(&id).await,
            Command::PolicyReplay { files, from, since } => {
                self.try_policy(files, (from, since)).await
            }
            _ => self.replay().await,
        }
    }

    /// A page of an export, which is the log as it was when the export began. Its pages are one
    /// reading, recorded once; that the administrator still may is asked for each.
    async fn export(
        &self,
        by: &PersonId,
        (number, from): (Option<u64>, u64),
    ) -> Result<Value, AdminError> {
        let exports = || self.exports.lock().expect("no panic while it is held");
        let end = if let Some(number) = number {
            self.draft(by, "log/read", ResourceRef::Deployment).await?;
            let end = exports().end(by, (number, from));
            end.ok_or_else(|| {
                AdminError::Missing(format!("export {number} that goes on at {from}: begin anew"))
            })?
        } else {
            let end = self.log_size().await?;
            self.may_read(by, "log").await?;
            end
        };
        let mut page = self.page(from, end).await?;
        let next = page["next"].as_u64().unwrap_or(end);
        page["export"] = exports().came(by, number, (next, end)).into();
        Ok(page)
    }

    async fn log_size(&self) -> Result<u64, AdminError> {
        let size = self.authority.journal().store().log_size().await;
        size.map_err(AdminError::unavailable)
    }

    /// The records from `from` to `end` at most.
    async fn page(&self, from: u64, end: u64) -> Result<Value, AdminError> {
        let most = usize::try_from(end.saturating_sub(from)).unwrap_or(PAGE).min(PAGE);
        let entries = self.authority.journal().store().entries(from, most).await;
        let entries = entries.map_err(AdminError::unavailable)?;
        let records =
            entries.iter().map(|entry| String::from_utf8_lossy(&entry.bytes).into_owned());
        let records: Vec<String> = records.collect();
        let next = from + records.len() as u64;
        Ok(json!({ "records": records, "next": next }))
    }

    /// The record with this id: its index and its members.
    pub(crate) async fn found(&self, id: &str) -> Result<(u64, Value), AdminError> {
        let decision = id.parse::<DecisionId>().map(|id| *id.as_bytes());
        let bytes = decision.or_else(|_| id.parse::<RecordId>().map(|id| *id.as_bytes()));
        let bytes = bytes.map_err(AdminError::invalid)?;
        let found = self.authority.journal().store().find(&bytes).await;
        let found = found.map_err(AdminError::unavailable)?;
        let entry = found.ok_or_else(|| AdminError::Missing(format!("record `{id}`")))?;
        let record = serde_json::from_slice(&entry.bytes).map_err(AdminError::unavailable)?;
        Ok((entry.index, record))
    }

    /// From a decision back: tool, instance, task, mandate, purpose, sponsor, rule, outcome.
    async fn chain(&self, id: &str) -> Result<Value, AdminError> {
        let (index, record) = self.found(id).await?;
        let decision: DecisionRecord = serde_json::from_value(record)
            .map_err(|_| AdminError::Invalid(format!("`{id}` is not a decision on an act")))?;
        let (standing, tool_owner) = self.behind(&decision).await?.unzip();
        let answerable = match &standing {
            Some(standing) => {
                Some(self.answerable(&decision, standing, tool_owner.flatten()).await?)
            }
            None => None,
        };
        let outcome = self.outcome_of(index, &decision.id).await?;
        Ok(json!({
            "decision": decision.id,
            "index": index,
            "time": decision.time.to_string(),
            "what": { "action": decision.action, "resource": decision.resource },
            "agent": decision.agent,
            "instance": decision.instance,
            "task": decision.task,
            "mandate": decision.mandate,
            "purpose": decision.purpose,
            "sponsor": standing.as_ref().map(|standing| standing.sponsor.id.clone()),
            "organisation": self.issuer,
            "subject": standing.as_ref().and_then(|s| s.subject.as_ref().map(|p| p.id.clone())),
            "chain": standing.as_ref().map(hops),
            "answerable": answerable,
            "elevation": standing.as_ref().and_then(|standing| elevation(&decision, standing)),
            "started_by": standing.as_ref().and_then(started_by),
            "data": standing.as_ref().and_then(Standing::data),
            "given": standing.as_ref().map(|standing| standing.mandate.given.to_string()),
            "answer": decision.decision,
            "reason": decision.reason,
            "policies": decision.policies,
            "policy": decision.policy,
            "enforcement": decision.enforcement,
            "outcome": outcome.as_ref().map(|outcome| outcome.outcome),
        }))
    }

    /// Who stood behind a decision, and the owner of the tool, from the disclosure of its facts; none if
    /// that was erased.
    async fn behind(
        &self,
        decision: &DecisionRecord,
    ) -> Result<Option<(Standing, Option<Person>)>, AdminError> {
        match self.facts_of(decision).await? {
            Disclosed::Values(facts) => {
                let member = |name| facts.value(name).cloned().unwrap_or_default();
                let standing = serde_json::from_value(member("standing"));
                let owner = serde_json::from_value(member("tool_owner"));
                let both = standing.and_then(|standing| Ok(Some((standing, owner?))));
                both.map_err(AdminError::unavailable)
            }
            Disclosed::Erased => Ok(None),
            Disclosed::Damaged(why) => Err(AdminError::Unavailable(why)),
        }
    }

    /// Who answered for what, when `decision` was made: who set what the agent may be given, who is behind the
    /// policy, who owned the tool, the purpose and the agent, and who sponsored it.
    async fn answerable(
        &self,
        decision: &DecisionRecord,
        standing: &Standing,
        tool_owner: Option<Person>,
    ) -> Result<Value, AdminError> {
        let place = FactKey::policy_activations(&decision.policy);
        let known = self.reader().find::<Activations>(place).await;
        let known = known.map_err(AdminError::unavailable)?.unwrap_or_default();
        Ok(json!({
            "boundary_set_by": standing.agent.bounded_by,
            "policy": self.behind_policy(known.at(decision.time), decision.time).await?,
            "tool_owner": tool_owner.map(|owner| owner.id),
            "purpose_owner": standing.purpose.owner,
            "business_owner": standing.agent.business_owner,
            "technical_owner": standing.agent.technical_owner,
            "memory_per_task_by": standing.agent.answers_for_memory(&standing.owners),
            "sponsor": standing.sponsor.id,
        }))
    }

    /// The disclosure of the facts leaf that `decision` names.
    pub(crate) async fn facts_of(
        &self,
        decision: &DecisionRecord,
    ) -> Result<Disclosed, AdminError> {
        let named = decision.facts;
        let found = self.authority.journal().store().find(named.id.as_bytes()).await;
        let found = found.map_err(AdminError::unavailable)?;
        let is_named =
            |entry: &LogEntry| tlog::leaf_hash(&entry.bytes).as_bytes() == named.leaf.as_bytes();
        let entry = found.filter(is_named);
        let record =
            entry.as_ref().map(|entry| serde_json::from_slice::<FactsRecord>(&entry.bytes));
        let (Some(entry), Some(Ok(record))) = (entry, record) else {
            return Ok(Disclosed::Damaged("the facts that it names are not in the log".to_owned()));
        };
        self.disclosed(entry.index, &record.commitments).await
    }

    /// The disclosure of the record at `index`, held against its commitments.
    pub(crate) async fn disclosed(
        &self,
        index: u64,
        commitments: &Commitments,
    ) -> Result<Disclosed, AdminError> {
        held_against(self.authority.journal().disclosure(index).await, commitments)
    }

    async fn outcome_of(
        &self,
        index: u64,
        decision: &DecisionId,
    ) -> Result<Option<OutcomeRecord>, AdminError> {
        let mut from = index + 1;
        loop {
            let entries = self.authority.journal().store().entries(from, PAGE).await;
            let entries = entries.map_err(AdminError::unavailable)?;
            let outcomes = entries
                .iter()
                .filter_map(|entry| serde_json::from_slice::<OutcomeRecord>(&entry.bytes).ok());
            if let Some(found) = outcomes.into_iter().find(|found| found.decision == *decision) {
                return Ok(Some(found));
            }
            if entries.is_empty() {
                return Ok(None);
            }
            from += entries.len() as u64;
        }
    }

    /// A C2SP tlog-proof that the record is under the newest checkpoint.
    async fn prove(&self, id: &str) -> Result<Value, AdminError> {
        let (index, _) = self.found(id).await?;
        let note = self.log.checkpoint().map_err(AdminError::unavailable)?;
        let note = note.ok_or_else(|| AdminError::Unavailable("no checkpoint yet".to_owned()))?;
        let text = String::from_utf8_lossy(&note).into_owned();
        let size = text.lines().nth(1).and_then(|line| line.parse::<u64>().ok()).unwrap_or(0);
        let reader = |tile| self.log.tile(tile);
        let proof = tlog::inclusion_proof(&reader, LeafIndex::new(index), TreeSize::new(size));
        let proof = proof.map_err(AdminError::unavailable)?;
        let hashes: Vec<_> = proof.0.iter().map(|hash| hash.to_string() + "\n").collect();
        let hashes = hashes.concat();
        let proof = format!("c2sp.org/tlog-proof@v1\nindex {index}\n{hashes}\n{text}");
        Ok(json!({ "proof": proof }))
    }

    /// Says that somebody looked: an act equal to this decision's may be done again. If it did not happen, what
    /// it took of limits and budgets is given back.
    pub(crate) async fn settle(
        &self,
        by: &PersonId,
        (decision, did_not_happen): (&str, bool),
        reason: &str,
    ) -> Result<Value, AdminError> {
        let mut draft = self.draft(by, "outcome/settle", ResourceRef::Deployment).await?;
        let missing = || AdminError::Missing(format!("unknown outcome of `{decision}`"));
        let id: DecisionId = decision.parse().map_err(|_| missing())?;
        let store = self.authority.pip().store();
        let settling = Settling::of(&id, store, &mut draft.reader).await;
        let settling = settling.map_err(AdminError::unavailable)?;
        let Settling { reserved, mut effects } = settling.ok_or_else(missing)?;
        // Whoever finds that it happened leaves taken what it took.
        let given_back = if did_not_happen { reserved } else { Reserved::default() };
        effects.extend(given_back.given_back());
        let given_back = !given_back.is_empty();
        let change = json!({
            "decision": decision,
            "did_not_happen": did_not_happen,
            "given_back": given_back,
            "reason": reason,
        });
        let done = draft.make(change, effects).await?;
        Ok(json!({ "settled": decision, "given_back": given_back, "decision": done.decision }))
    }
}

/// What was disclosed, held against the commitments of its record.
pub(crate) fn held_against(
    disclosure: Result<Option<Disclosure>, DisclosureError>,
    commitments: &Commitments,
) -> Result<Disclosed, AdminError> {
    let values = match disclosure {
        Ok(None) => return Ok(Disclosed::Erased),
        Ok(Some(values)) => values,
        Err(DisclosureError::Store(error)) => return Err(AdminError::unavailable(error)),
        Err(error) => return Ok(Disclosed::Damaged(error.to_string())),
    };
    let missing = commitments.keys().find(|member| !values.has(member));
    let other = values.mismatch(commitments).or(missing.map(String::as_str));
    Ok(match other {
        Some(member) => Disclosed::Damaged(format!("`{member}` does not open its commitment")),
        None => Disclosed::Values(values),
    })
}

/// The system that started a task and who answers for it, or the consent on which it rests; nothing,
/// if its agent began it by itself.
fn started_by(standing: &Standing) -> Option<Value> {
    match (&standing.mandate.basis, &standing.initiator) {
        (MandateBasis::Consented { subject, request, once, .. }, _) => {
            Some(json!({ "consent": { "by": subject, "once": once, "shown": request } }))
        }
        (_, Some(by)) => Some(json!({ "system": by.system.name, "owner": by.owner.id })),
        (_, None) => None,
    }
}

/// The elevation that `decision` rests on, if the act was beyond its task.
fn elevation<'a>(decision: &DecisionRecord, standing: &'a Standing) -> Option<&'a Elevation> {
    let elevations = standing.elevations.iter().map(|it| &it.elevation);
    elevations.into_iter().find(|it| Some(it.id) == decision.elevation)
}

/// The delegation chain, the holder of the root task first: who held which task, who answers for
/// them and for their agents, what was handed on to them, and what of that was valid there: within
/// everything above, the ceilings, the mandate and the purpose, on data of the categories for which the work is.
fn hops(standing: &Standing) -> Vec<Value> {
    let Standing { mandate, purpose, .. } = standing;
    let hop = |(nth, hop): (usize, Hop<'_>)| {
        let within = Bounds::of(standing.hops().skip(nth), hop.agent, (mandate, purpose));
        json!({
            "agent": hop.agent.name,
            "instance": hop.instance.id,
            "sponsor": hop.sponsor.id,
            "business_owner": hop.agent.business_owner,
            "technical_owner": hop.agent.technical_owner,
            "boundary_set_by": hop.agent.bounded_by,
            "memory_per_task_by": hop.agent.answers_for_memory(&standing.owners),
            "device": hop.device.map(|it| json!({ "id": it.device.id, "by": it.by.id })),
            "task": hop.task.id,
            "handed_on_by": hop.task.delegation.map(|delegation| delegation.decision),
            "scope": hop.task.scope,
            "valid": within.map(|bounds| bounds.widest()),
            "data": standing.data(),
            "until": hop.task.deadline.to_string(),
        })
    };
    let mut told: Vec<_> = standing.hops().enumerate().map(hop).collect();
    told.reverse();
    told
}
