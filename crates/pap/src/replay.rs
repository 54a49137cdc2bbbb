//! Replay: every recorded decision is made again, from its record and disclosures alone.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use authority::LogEntry;
use model::record::{AdministrationRecord, DECISION_VERSION, DecisionRecord, Disclosure, Verdict};
use model::{
    AccessRequest, ActionName, Binding, Decision, Directory, ElevationId, FactKey, Facts, Person,
    PolicyDigest, PolicyId, Principal, PrincipalFacts, ResourceRef, SessionFacts,
};
use pdp::{Bundle, Snapshot};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};
use crate::log::Disclosed;

/// The most records of one page.
const PAGE: usize = 1_000;

/// Denials that follow from state which the commit checks, not from the policy set.
const NOT_BY_POLICY: [&str; 2] = ["limit_reached", "outcome_unknown"];

/// Rules that builds before [`DECISION_VERSION`] did not have: what these permitted, they may deny.
const LATER: [&str; 1] = ["owners_not_active"];

#[derive(Default)]
struct Tally {
    agreed: u64,
    erased: u64,
    /// Permits of an earlier build that a later rule denies.
    earlier: u64,
    /// Whether a decision of this build was seen: none of an earlier one comes after it.
    is_current: bool,
    differ: Vec<String>,
}

/// What came of making one decision again.
enum Again {
    Agrees,
    Erased,
    /// An earlier build permitted what this later rule denies.
    DeniedLater(&'static str),
    Differs(String),
}

/// What a record says was answered.
struct Recorded<'a> {
    policy: PolicyDigest,
    verdict: Verdict,
    reason: &'a str,
    policies: &'a [PolicyId],
    elevation: Option<ElevationId>,
}

/// The snapshots that records were decided on, by digest; none if it is not what its digest says.
type Snapshots = HashMap<PolicyDigest, Option<Arc<Snapshot>>>;

impl Administration {
    /// Decides every recorded decision again; all must agree.
    pub(crate) async fn replay(&self) -> Result<Value, AdminError> {
        let (mut snapshots, mut tally) = (Snapshots::new(), Tally::default());
        let mut from = 0;
        loop {
            let entries = self.authority.journal().store().entries(from, PAGE).await;
            let entries = entries.map_err(AdminError::unavailable)?;
            for entry in &entries {
                let Some((id, again)) = self.again(entry, &mut snapshots).await? else { continue };
                tally.is_current |= is_current(entry);
                match again {
                    Again::DeniedLater(_) if !tally.is_current => tally.earlier += 1,
                    Again::DeniedLater(rule) => {
                        tally.differ.push(format!("{id}: recorded granted, now {rule}"));
                    }
                    Again::Agrees => tally.agreed += 1,
                    Again::Erased => tally.erased += 1,
                    Again::Differs(why) => tally.differ.push(format!("{id}: {why}")),
                }
            }
            if entries.is_empty() {
                break;
            }
            from += entries.len() as u64;
        }
        let Tally { agreed, erased, earlier, differ, .. } = tally;
        Ok(json!({ "agreed": agreed, "erased": erased, "earlier": earlier, "differ": differ }))
    }

    /// Makes the decision that `entry` records again, if it records one.
    async fn again(
        &self,
        entry: &LogEntry,
        snapshots: &mut Snapshots,
    ) -> Result<Option<(String, Again)>, AdminError> {
        if let Ok(record) = serde_json::from_slice::<DecisionRecord>(&entry.bytes) {
            let again = self.act_again(entry.index, &record, snapshots).await?;
            return Ok(Some((record.id.to_string(), again)));
        }
        if let Ok(record) = serde_json::from_slice::<AdministrationRecord>(&entry.bytes) {
            let again = self.administration_again(entry.index, &record, snapshots).await?;
            return Ok(Some((record.id.to_string(), again)));
        }
        Ok(None)
    }

    async fn act_again(
        &self,
        index: u64,
        record: &DecisionRecord,
        snapshots: &mut Snapshots,
    ) -> Result<Again, AdminError> {
        if NOT_BY_POLICY.contains(&record.reason.as_str()) {
            return Ok(Again::Agrees);
        }
        let own = match values(self.disclosed(index, &record.commitments).await?) {
            Ok(own) => own,
            Err(again) => return Ok(again),
        };
        let facts = match values(self.facts_of(record).await?) {
            Ok(facts) => facts,
            Err(again) => return Ok(again),
        };
        let recorded = Recorded {
            policy: record.policy,
            verdict: record.decision,
            reason: &record.reason,
            policies: &record.policies,
            elevation: record.elevation,
        };
        self.decided_again(recorded, question(record, &own, &facts), snapshots).await
    }

    async fn administration_again(
        &self,
        index: u64,
        record: &AdministrationRecord,
        snapshots: &mut Snapshots,
    ) -> Result<Again, AdminError> {
        let own = match values(self.disclosed(index, &record.commitments).await?) {
            Ok(own) => own,
            Err(again) => return Ok(again),
        };
        let recorded = Recorded {
            policy: record.policy,
            verdict: record.decision,
            reason: &record.reason,
            policies: &record.policies,
            elevation: None,
        };
        self.decided_again(recorded, administrative_question(record, &own), snapshots).await
    }

    /// Puts the question to the policy set that answered it, if that is kept.
    async fn decided_again(
        &self,
        recorded: Recorded<'_>,
        question: Result<(AccessRequest, Facts), String>,
        snapshots: &mut Snapshots,
    ) -> Result<Again, AdminError> {
        let Some(snapshot) = self.snapshot(recorded.policy, snapshots).await? else {
            return Ok(Again::Differs(format!("the policy set {} is not kept", recorded.policy)));
        };
        Ok(match question {
            Ok((request, facts)) => recorded.held_against(&snapshot.decide(&request, &facts)),
            Err(why) => Again::Differs(why),
        })
    }

    async fn snapshot(
        &self,
        digest: PolicyDigest,
        known: &mut Snapshots,
    ) -> Result<Option<Arc<Snapshot>>, AdminError> {
        if let Some(snapshot) = known.get(&digest) {
            return Ok(snapshot.clone());
        }
        let mut reader = self.reader();
        let bundle: Option<Bundle> =
            reader.find(FactKey::policy(&digest)).await.map_err(AdminError::unavailable)?;
        let snapshot = match bundle {
            Some(bundle) => Snapshot::compile(bundle).ok(),
            None => Some(Snapshot::empty()),
        };
        let snapshot = snapshot.filter(|snapshot| snapshot.digest() == digest).map(Arc::new);
        known.insert(digest, snapshot.clone());
        Ok(snapshot)
    }
}

impl Recorded<'_> {
    fn held_against(&self, decision: &Decision) -> Again {
        let (verdict, reason, policies, elevation) = match decision {
            Decision::Permit(grant) => {
                (Verdict::Permit, "granted", grant.basis.clone(), grant.elevation)
            }
            Decision::Deny(denial) => (Verdict::Deny, denial.code(), denial.policies(), None),
        };
        let later = LATER.into_iter().find(|rule| *rule == reason);
        if let (Verdict::Permit, Some(rule)) = (self.verdict, later) {
            return Again::DeniedLater(rule);
        }
        let recorded: BTreeSet<PolicyId> = self.policies.iter().cloned().collect();
        if verdict != self.verdict || reason != self.reason {
            return Again::Differs(format!("recorded {}, now {reason}", self.reason));
        }
        if policies != recorded {
            return Again::Differs("other policies determine it now".to_owned());
        }
        if elevation != self.elevation {
            return Again::Differs("it rests on another elevation now".to_owned());
        }
        Again::Agrees
    }
}

/// Whether `entry` is a decision that was made with all rules of this build.
fn is_current(entry: &LogEntry) -> bool {
    let record = serde_json::from_slice::<DecisionRecord>(&entry.bytes);
    record.is_ok_and(|record| record.v >= DECISION_VERSION)
}

/// What a record discloses; otherwise, what comes of deciding again without it.
fn values(disclosed: Disclosed) -> Result<Disclosure, Again> {
    match disclosed {
        Disclosed::Values(values) => Ok(values),
        Disclosed::Erased => Err(Again::Erased),
        Disclosed::Damaged(why) => Err(Again::Differs(why)),
    }
}

fn question(
    record: &DecisionRecord,
    own: &Disclosure,
    facts: &Disclosure,
) -> Result<(AccessRequest, Facts), String> {
    let standing = member(facts, "standing")?.ok_or("nobody stands behind it")?;
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
        agent: member(facts, "agent")?.map(Arc::new),
        session: member::<SessionFacts>(own, "session")?.unwrap_or_default(),
        binding: record.binding,
        stops: Arc::new(member(facts, "stops")?.unwrap_or_default()),
    };
    Ok((request, facts))
}

fn administrative_question(
    record: &AdministrationRecord,
    own: &Disclosure,
) -> Result<(AccessRequest, Facts), String> {
    let (principal, facts_of_principal) = asking(own)?;
    let request = AccessRequest {
        principal,
        action: ActionName::method(&record.action),
        resource: member(own, "target")?.ok_or("it was done to nothing")?,
        input: Value::Null,
    };
    let facts = Facts {
        revision: record.revision,
        now: record.time,
        principal: facts_of_principal,
        tool: None,
        server: None,
        tool_owner: None,
        agent: member(own, "agent")?.map(Arc::new),
        session: SessionFacts::default(),
        binding: Binding::None,
        stops: Arc::default(),
    };
    Ok((request, facts))
}

/// Who asked, as the record discloses it.
fn asking(own: &Disclosure) -> Result<(Principal, PrincipalFacts), String> {
    if let Some(directory) = member::<Directory>(own, "directory")? {
        let gives = member(own, "gives")?.ok_or("the directory gave nothing")?;
        let name = directory.name.clone();
        return Ok((Principal::Directory(name), PrincipalFacts::Directory(directory, gives)));
    }
    let person: Person = member(own, "administrator")?.ok_or("nobody asked for it")?;
    Ok((Principal::Person(person.id.clone()), PrincipalFacts::Administrator(person)))
}

fn member<T: DeserializeOwned>(from: &Disclosure, name: &str) -> Result<Option<T>, String> {
    let value = from.value(name).cloned().map(serde_json::from_value).transpose();
    value.map_err(|error| format!("`{name}` cannot be read: {error}"))
}

fn resource(record: &DecisionRecord, own: &Disclosure) -> Result<ResourceRef, String> {
    let object = || own.value("object").and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, name) = record.resource.split_once("::").unwrap_or((&record.resource, ""));
    let server = || name.parse().map_err(|error| format!("{error}"));
    match kind {
        "Tool" => Ok(ResourceRef::Tool(name.parse().map_err(|error| format!("{error}"))?)),
        "Server" => Ok(ResourceRef::Server(server()?)),
        "Task" => Ok(ResourceRef::Task(name.parse().map_err(|error| format!("{error}"))?)),
        "Agent" => Ok(ResourceRef::Agent(name.parse().map_err(|error| format!("{error}"))?)),
        "Resource" => Ok(ResourceRef::Resource { server: server()?, uri: object() }),
        "Prompt" => Ok(ResourceRef::Prompt { server: server()?, name: object() }),
        _ => Err(format!("`{}` is not a resource", record.resource)),
    }
}
