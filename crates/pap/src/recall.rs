//! What a record says was asked and answered, so that it can be asked again: by the record and its
//! disclosures alone.

use std::collections::HashMap;
use std::sync::Arc;

use authority::LogEntry;
use model::record::{AdministrationRecord, DECISION_VERSION, DecisionRecord, Disclosure, Verdict};
use model::{
    AccessRequest, ActionName, Binding, DecisionId, Directory, ElevationId, FactKey, Facts, Person,
    PolicyDigest, PolicyId, Principal, PrincipalFacts, ResourceRef, SessionFacts, Timestamp,
};
use pdp::{Bundle, Snapshot};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::command::{AdminError, Administration};
use crate::log::Disclosed;

/// A decision as it is recorded.
pub(crate) struct Recorded {
    pub(crate) id: DecisionId,
    pub(crate) time: Timestamp,
    pub(crate) policy: PolicyDigest,
    pub(crate) verdict: Verdict,
    pub(crate) reason: String,
    pub(crate) policies: Vec<PolicyId>,
    pub(crate) elevation: Option<ElevationId>,
    /// Whether it was made with all rules of this build.
    pub(crate) is_current: bool,
}

/// What was asked, as far as it can be known.
pub(crate) enum Question {
    /// All of it.
    Known(Box<(AccessRequest, Facts)>),
    /// It was erased.
    Erased,
    /// It is not what was committed to, or cannot be read, for this reason.
    Damaged(String),
}

/// The snapshots that records were decided on, by digest; none if it is not what its digest says.
pub(crate) type Snapshots = HashMap<PolicyDigest, Option<Arc<Snapshot>>>;

/// A record of a decision.
enum Read {
    Act(Box<DecisionRecord>),
    Administration(Box<AdministrationRecord>),
}

impl Recorded {
    fn of(read: &Read) -> Self {
        match read {
            Read::Act(record) => Self {
                id: record.id,
                time: record.time,
                policy: record.policy,
                verdict: record.decision,
                reason: record.reason.clone(),
                policies: record.policies.clone(),
                elevation: record.elevation,
                is_current: record.v >= DECISION_VERSION,
            },
            Read::Administration(record) => Self {
                id: record.id,
                time: record.time,
                policy: record.policy,
                verdict: record.decision,
                reason: record.reason.clone(),
                policies: record.policies.clone(),
                elevation: None,
                is_current: false,
            },
        }
    }
}

impl Administration {
    /// The decision that `entry` records, if it records one, with what was asked.
    pub(crate) async fn recalled(
        &self,
        entry: &LogEntry,
    ) -> Result<Option<(Recorded, Question)>, AdminError> {
        let Some(read) = read(entry) else { return Ok(None) };
        let recorded = Recorded::of(&read);
        let question = match &read {
            Read::Act(record) => self.act(entry.index, record).await?,
            Read::Administration(record) => {
                match self.disclosed(entry.index, &record.commitments).await? {
                    Disclosed::Values(own) => administrative_question(record, &own).into(),
                    other => Question::without(other),
                }
            }
        };
        Ok(Some((recorded, question)))
    }

    async fn act(&self, index: u64, record: &DecisionRecord) -> Result<Question, AdminError> {
        let own = match self.disclosed(index, &record.commitments).await? {
            Disclosed::Values(own) => own,
            other => return Ok(Question::without(other)),
        };
        Ok(match self.facts_of(record).await? {
            Disclosed::Values(facts) => question(record, &own, &facts).into(),
            other => Question::without(other),
        })
    }

    /// The policy set with `digest`, if it is kept and is what its digest says.
    pub(crate) async fn snapshot(
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

impl Question {
    fn without(disclosed: Disclosed) -> Self {
        match disclosed {
            Disclosed::Damaged(why) => Self::Damaged(why),
            Disclosed::Erased | Disclosed::Values(_) => Self::Erased,
        }
    }
}

impl From<Result<(AccessRequest, Facts), String>> for Question {
    fn from(question: Result<(AccessRequest, Facts), String>) -> Self {
        match question {
            Ok(known) => Self::Known(Box::new(known)),
            Err(why) => Self::Damaged(why),
        }
    }
}

fn read(entry: &LogEntry) -> Option<Read> {
    if let Ok(record) = serde_json::from_slice(&entry.bytes) {
        return Some(Read::Act(Box::new(record)));
    }
    let record = serde_json::from_slice(&entry.bytes).ok()?;
    Some(Read::Administration(Box::new(record)))
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
