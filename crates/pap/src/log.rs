//! Reading the log: records, their disclosures, and the chain of custody behind a decision.

use authority::Effect;
use model::record::{DecisionRecord, OutcomeRecord};
use model::{DecisionId, FactKey, PersonId, RecordId, ResourceRef, Standing};
use serde_json::{Value, json};
use tlog::{LeafIndex, TreeSize};

use crate::command::{AdminError, Administration, Change, Command};

/// The most records of one page.
const PAGE: usize = 1_000;

impl Administration {
    pub(crate) async fn read_log(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        // The pages of one export are one reading.
        if !matches!(command, Command::LogExport { from } if from > 0) {
            self.may_read(by, "log").await?;
        }
        match command {
            Command::LogShow { id } => {
                let (index, record) = self.found(&id).await?;
                let disclosure = self.authority.journal().disclosure(index).await;
                let disclosure = disclosure.map_err(AdminError::unavailable)?;
                Ok(json!({ "index": index, "record": record, "disclosure": disclosure }))
            }
            Command::LogChain { id } => self.chain(&id).await,
            Command::LogTail { n } => {
                let size = self.authority.journal().store().log_size().await;
                let size = size.map_err(AdminError::unavailable)?;
                let from = size.saturating_sub(n.min(PAGE) as u64);
                self.page(from).await
            }
            Command::LogExport { from } => self.page(from).await,
            Command::LogProve { id } => self.prove(&id).await,
            _ => self.replay().await,
        }
    }

    async fn page(&self, from: u64) -> Result<Value, AdminError> {
        let entries = self.authority.journal().store().entries(from, PAGE).await;
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
        let standing = self.standing_of(&decision, index).await?;
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
            "subject": standing.as_ref().and_then(|s| s.subject.as_ref().map(|p| p.id.clone())),
            "given": standing.as_ref().map(|standing| standing.mandate.given.to_string()),
            "answer": decision.decision,
            "reason": decision.reason,
            "policies": decision.policies,
            "policy": decision.policy,
            "enforcement": decision.enforcement,
            "outcome": outcome.as_ref().map(|outcome| outcome.outcome),
        }))
    }

    /// Who stood behind a decision, from the disclosure of its facts; none if that was erased.
    pub(crate) async fn standing_of(
        &self,
        decision: &DecisionRecord,
        index: u64,
    ) -> Result<Option<Standing>, AdminError> {
        let Some(disclosure) = self.facts_of(decision, index).await? else { return Ok(None) };
        let standing = disclosure.value("standing").cloned().unwrap_or_default();
        serde_json::from_value(standing).map(Some).map_err(AdminError::unavailable)
    }

    /// The disclosure of the facts leaf that `decision` names, looked for backwards from `index`.
    pub(crate) async fn facts_of(
        &self,
        decision: &DecisionRecord,
        index: u64,
    ) -> Result<Option<model::record::Disclosure>, AdminError> {
        let journal = self.authority.journal();
        let mut end = index;
        loop {
            let from = end.saturating_sub(PAGE as u64);
            let span = usize::try_from(end - from).unwrap_or(PAGE);
            let entries = journal.store().entries(from, span).await;
            let entries = entries.map_err(AdminError::unavailable)?;
            let leaf = |bytes: &[u8]| *tlog::leaf_hash(bytes).as_bytes();
            let wanted = decision.facts.leaf.as_bytes();
            let found = entries.iter().rev().find(|entry| leaf(&entry.bytes) == *wanted);
            if let Some(entry) = found {
                let disclosure = journal.disclosure(entry.index).await;
                return disclosure.map_err(AdminError::unavailable);
            }
            if from == 0 {
                return Ok(None);
            }
            end = from;
        }
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

    /// Says that somebody looked: an act equal to this decision's may be done again.
    pub(crate) async fn settle(
        &self,
        by: &PersonId,
        decision: &str,
        reason: &str,
    ) -> Result<Value, AdminError> {
        let mark = self.unknown_mark(decision).await?;
        let change = Change {
            action: "outcome/settle",
            target: ResourceRef::Deployment,
            change: json!({ "decision": decision, "reason": reason }),
            reader: self.reader(),
            effects: vec![Effect::Remove { key: mark.clone() }],
        };
        let done = self.change(by, change).await?;
        self.authority.pip().settled(&mark);
        Ok(json!({ "settled": decision, "decision": done.decision }))
    }

    async fn unknown_mark(&self, decision: &str) -> Result<FactKey, AdminError> {
        let mut after = None;
        loop {
            let page = self.authority.pip().store().list("unknown/", after.as_ref(), PAGE).await;
            let page = page.map_err(AdminError::unavailable)?;
            let names = |body: &[u8]| {
                let value: Option<Value> = serde_json::from_slice(body).ok();
                value.is_some_and(|value| value["decision"] == decision)
            };
            if let Some((key, _)) = page.facts.iter().find(|(_, body)| names(body)) {
                return Ok(key.clone());
            }
            after = page.next;
            if after.is_none() {
                return Err(AdminError::Missing(format!("unknown outcome of `{decision}`")));
            }
        }
    }
}
