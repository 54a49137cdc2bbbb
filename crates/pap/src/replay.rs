//! Replay: every recorded decision is made again, from its record and disclosures alone.

use std::collections::HashMap;
use std::sync::Arc;

use model::record::{DecisionRecord, Disclosure, Verdict};
use model::{
    AccessRequest, ActionName, Decision, FactKey, Facts, PolicyDigest, Principal, PrincipalFacts,
    ResourceRef, SessionFacts,
};
use pdp::{Bundle, Snapshot};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};

/// The most records of one page.
const PAGE: usize = 1_000;

/// Denials that follow from state which the commit checks, not from the policy set.
const NOT_BY_POLICY: [&str; 2] = ["limit_reached", "outcome_unknown"];

#[derive(Default)]
struct Tally {
    agreed: u64,
    erased: u64,
    differ: Vec<String>,
}

impl Administration {
    /// Decides every recorded decision again; all must agree.
    pub(crate) async fn replay(&self) -> Result<Value, AdminError> {
        let mut snapshots = HashMap::new();
        let mut tally = Tally::default();
        let mut from = 0;
        loop {
            let entries = self.authority.journal().store().entries(from, PAGE).await;
            let entries = entries.map_err(AdminError::unavailable)?;
            for entry in &entries {
                let Ok(record) = serde_json::from_slice::<DecisionRecord>(&entry.bytes) else {
                    continue;
                };
                self.again(entry.index, &record, &mut snapshots, &mut tally).await?;
            }
            if entries.is_empty() {
                break;
            }
            from += entries.len() as u64;
        }
        let Tally { agreed, erased, differ } = tally;
        Ok(json!({ "agreed": agreed, "erased": erased, "differ": differ }))
    }

    async fn again(
        &self,
        index: u64,
        record: &DecisionRecord,
        snapshots: &mut HashMap<PolicyDigest, Arc<Snapshot>>,
        tally: &mut Tally,
    ) -> Result<(), AdminError> {
        if NOT_BY_POLICY.contains(&record.reason.as_str()) {
            tally.agreed += 1;
            return Ok(());
        }
        let own = self.authority.journal().disclosure(index).await;
        let own = own.map_err(AdminError::unavailable)?;
        let facts = self.facts_of(record, index).await?;
        let (Some(own), Some(facts)) = (own, facts) else {
            tally.erased += 1;
            return Ok(());
        };
        if let Some(member) = own.mismatch(&record.commitments) {
            tally.differ.push(format!("{}: `{member}` does not open its commitment", record.id));
            return Ok(());
        }
        let snapshot = self.snapshot(record.policy, snapshots).await?;
        let (request, facts) = question(record, &own, &facts)?;
        let decision = snapshot.decide(&request, &facts);
        let (verdict, reason) = match &decision {
            Decision::Permit(_) => (Verdict::Permit, "granted"),
            Decision::Deny(denial) => (Verdict::Deny, denial.code()),
        };
        if verdict == record.decision && reason == record.reason {
            tally.agreed += 1;
        } else {
            tally.differ.push(format!("{}: recorded {}, now {reason}", record.id, record.reason));
        }
        Ok(())
    }

    async fn snapshot(
        &self,
        digest: PolicyDigest,
        known: &mut HashMap<PolicyDigest, Arc<Snapshot>>,
    ) -> Result<Arc<Snapshot>, AdminError> {
        if let Some(snapshot) = known.get(&digest) {
            return Ok(snapshot.clone());
        }
        let mut reader = self.reader();
        let bundle: Option<Bundle> =
            reader.find(FactKey::policy(&digest)).await.map_err(AdminError::unavailable)?;
        let snapshot = match bundle {
            Some(bundle) => Snapshot::compile(bundle).map_err(AdminError::unavailable)?,
            None => Snapshot::empty(),
        };
        let snapshot = Arc::new(snapshot);
        known.insert(digest, snapshot.clone());
        Ok(snapshot)
    }
}

fn question(
    record: &DecisionRecord,
    own: &Disclosure,
    facts: &Disclosure,
) -> Result<(AccessRequest, Facts), AdminError> {
    let standing = member(facts, "standing")?;
    let standing = standing.ok_or_else(|| AdminError::Missing("standing".to_owned()))?;
    let request = AccessRequest {
        principal: Principal::Instance(record.instance),
        action: ActionName::method(&record.action),
        resource: resource(record, own)?,
        input: own.value("arguments").cloned().unwrap_or_default(),
    };
    let facts = Facts {
        revision: record.facts.revision,
        now: record.time,
        principal: PrincipalFacts::Instance(Arc::new(standing)),
        tool: member(facts, "tool")?.map(Arc::new),
        server: member(facts, "server")?.map(Arc::new),
        tool_owner: member(facts, "tool_owner")?,
        session: member::<SessionFacts>(own, "session")?.unwrap_or_default(),
        binding: record.binding,
    };
    Ok((request, facts))
}

fn member<T: DeserializeOwned>(from: &Disclosure, name: &str) -> Result<Option<T>, AdminError> {
    let value = from.value(name).cloned().map(serde_json::from_value).transpose();
    value.map_err(AdminError::unavailable)
}

fn resource(record: &DecisionRecord, own: &Disclosure) -> Result<ResourceRef, AdminError> {
    let object = || own.value("object").and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, name) = record.resource.split_once("::").unwrap_or((&record.resource, ""));
    let unknown = || AdminError::Invalid(format!("`{}` is not a resource", record.resource));
    let server = || name.parse().map_err(AdminError::invalid);
    match kind {
        "Tool" => Ok(ResourceRef::Tool(name.parse().map_err(AdminError::invalid)?)),
        "Server" => Ok(ResourceRef::Server(server()?)),
        "Resource" => Ok(ResourceRef::Resource { server: server()?, uri: object() }),
        "Prompt" => Ok(ResourceRef::Prompt { server: server()?, name: object() }),
        _ => Err(unknown()),
    }
}
