//! What a record says was asked and answered, so that it can be asked again: by the record and its
//! disclosures alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use authority::{LogEntry, SharedCompiler};
use journal::DisclosureError;
use model::record::{
    AdministrationRecord, DECISION_VERSION, DecisionRecord, Disclosure, ObservedSet, OutcomeRecord,
    Verdict,
};
use model::{
    AccessRequest, ActionName, Answers, Binding, BudgetName, DecisionId, Directory, ElevationId,
    FactKey, Facts, Obligation, Person, PolicyDigest, PolicyId, Principal, PrincipalFacts,
    RecordDigest, RecordId, Remedy, ResourceRef, Revision, SessionFacts, Timestamp,
};
use pdp::{Bundle, Snapshot};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::command::{AdminError, Administration};
use crate::log::{Disclosed, held_against};

/// A decision as it is recorded.
pub(crate) struct Recorded {
    pub(crate) id: DecisionId,
    pub(crate) time: Timestamp,
    pub(crate) policy: PolicyDigest,
    pub(crate) verdict: Verdict,
    pub(crate) reason: String,
    pub(crate) policies: Vec<PolicyId>,
    pub(crate) elevation: Option<ElevationId>,
    /// The budget that determined it.
    pub(crate) budget: Option<BudgetName>,
    /// Whether it commits to the token that it used up or was denied with.
    pub(crate) is_of_token: bool,
    /// What a set under observation came to, if one was asked by all rules of this build.
    pub(crate) observed_set: Option<ObservedSet>,
    /// What else the record of an act tells of the answer, if it was made with all rules of this build.
    pub(crate) told: Option<Told>,
}

/// What a record tells of an answer beside what determined it.
pub(crate) struct Told {
    pub(crate) answers: Answers,
    pub(crate) obligations: BTreeSet<Obligation>,
    pub(crate) observed: BTreeSet<PolicyId>,
    pub(crate) remedies: BTreeSet<Remedy>,
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

/// The most policy sets that are kept while decisions are made again: those follow one another.
const SNAPSHOTS_MAX: usize = 8;

/// The most facts leaves that are.
const LEAVES_MAX: usize = 1_024;

/// How the bytes of a decision's record begin, and those of no other: members stand in the order of their names, and
/// only of a decision there is an action.
const BEGINS: &[u8] = br#"{"action":"#;

/// How those of an outcome begin, and of others that name an agent.
const BEGINS_WITH_AGENT: &[u8] = br#"{"agent":"#;

/// What the bytes of an outcome have that gave back what its permit took.
const GIVES_BACK: &str = r#""given_back":true"#;

/// How many records are gone through before others are served: to serve them is to leave the thread, which costs some
/// microseconds, and so many records take less than a millisecond.
const TURN: usize = 16;

/// What is read for one decision and kept for the next ones.
#[derive(Default)]
pub(crate) struct Recall {
    compiler: SharedCompiler,
    /// The snapshots that records were decided on, by digest; none if it is not what its digest says.
    snapshots: HashMap<PolicyDigest, Option<Arc<Snapshot>>>,
    /// What the facts leaves that records name disclose. Many decisions rest on one.
    leaves: HashMap<(RecordId, RecordDigest), Leaf>,
}

/// The decisions of a page of the log, which are gone through one after the other.
pub(crate) struct Decisions {
    /// How many records the page has.
    pub(crate) records: usize,
    entries: std::vec::IntoIter<LogEntry>,
    /// What they disclose, by index.
    disclosures: BTreeMap<u64, Result<Disclosure, DisclosureError>>,
    /// The permits of which the records that were gone through say that they gave back what they took.
    pub(crate) given_back: Vec<DecisionId>,
}

/// What a facts leaf discloses, for decisions that differ in their time and circumstances.
#[derive(Clone)]
enum Leaf {
    Facts(Box<Facts>),
    Erased,
    Damaged(String),
}

/// A record of a decision.
enum Read {
    Act(Box<DecisionRecord>),
    Administration(Box<AdministrationRecord>),
}

impl Recorded {
    fn of(read: Read) -> Self {
        match read {
            Read::Act(record) => {
                let is_of_this_build = record.v >= DECISION_VERSION;
                let told = Told {
                    answers: record.answers,
                    obligations: record.obligations.into_iter().collect(),
                    observed: record.observed.into_iter().collect(),
                    remedies: record.remedies.into_iter().collect(),
                };
                Self {
                    id: record.id,
                    time: record.time,
                    policy: record.policy,
                    verdict: record.decision,
                    reason: record.reason,
                    policies: record.policies,
                    elevation: record.elevation,
                    budget: record.budget,
                    is_of_token: record.commitments.contains_key("token"),
                    observed_set: record.observed_set.filter(|_| is_of_this_build),
                    told: is_of_this_build.then_some(told),
                }
            }
            Read::Administration(record) => Self {
                id: record.id,
                time: record.time,
                policy: record.policy,
                verdict: record.decision,
                reason: record.reason,
                policies: record.policies,
                elevation: None,
                budget: None,
                is_of_token: false,
                observed_set: record.observed_set,
                told: None,
            },
        }
    }
}

impl Recall {
    /// Forgets what was disclosed: it may be erased before it is asked for again.
    pub(crate) fn forget_disclosed(&mut self) {
        self.leaves.clear();
    }
}

impl Administration {
    /// The decisions among up to `max` records from the one at `index` on.
    pub(crate) async fn decisions(&self, index: u64, max: usize) -> Result<Decisions, AdminError> {
        let journal = self.authority.journal();
        let entries = journal.store().entries(index, max).await;
        let entries = entries.map_err(AdminError::unavailable)?;
        let records = entries.len();
        let disclosures = journal.disclosures(index, records).await;
        let disclosures = disclosures.map_err(AdminError::unavailable)?;
        let entries = entries.into_iter();
        Ok(Decisions { records, entries, disclosures, given_back: Vec::new() })
    }

    /// The next of `decisions`, with what was asked; none, if that was the last one.
    pub(crate) async fn recalled(
        &self,
        decisions: &mut Decisions,
        recall: &mut Recall,
    ) -> Result<Option<(Recorded, Question)>, AdminError> {
        while let Some(entry) = decisions.entries.next() {
            if decisions.entries.len().is_multiple_of(TURN) {
                tokio::task::yield_now().await;
            }
            let Some(read) = read(&entry) else {
                decisions.given_back.extend(given_back(&entry));
                continue;
            };
            let disclosure = decisions.disclosures.remove(&entry.index).transpose();
            let question = match &read {
                Read::Act(record) => {
                    let own = held_against(disclosure, &record.commitments)?;
                    self.act(record, own, recall).await?
                }
                Read::Administration(record) => {
                    match held_against(disclosure, &record.commitments)? {
                        Disclosed::Values(own) => {
                            decisions.given_back.extend(settled_as_nothing(record, &own));
                            administrative_question(record, &own).into()
                        }
                        other => Question::without(other),
                    }
                }
            };
            return Ok(Some((Recorded::of(read), question)));
        }
        Ok(None)
    }

    async fn act(
        &self,
        record: &DecisionRecord,
        own: Disclosed,
        recall: &mut Recall,
    ) -> Result<Question, AdminError> {
        let own = match own {
            Disclosed::Values(own) => own,
            other => return Ok(Question::without(other)),
        };
        Ok(match self.leaf(record, recall).await? {
            Leaf::Facts(facts) => question(record, &own, *facts).into(),
            Leaf::Erased => Question::Erased,
            Leaf::Damaged(why) => Question::Damaged(why),
        })
    }

    /// What the facts leaf that `record` names discloses.
    async fn leaf(&self, record: &DecisionRecord, recall: &mut Recall) -> Result<Leaf, AdminError> {
        let name = (record.facts.id, record.facts.leaf);
        if let Some(known) = recall.leaves.get(&name) {
            return Ok(known.clone());
        }
        let leaf = match self.facts_of(record).await? {
            Disclosed::Values(values) => match facts(&values) {
                Ok(facts) => Leaf::Facts(Box::new(facts)),
                Err(why) => Leaf::Damaged(why),
            },
            Disclosed::Erased => Leaf::Erased,
            Disclosed::Damaged(why) => Leaf::Damaged(why),
        };
        if recall.leaves.len() == LEAVES_MAX {
            recall.leaves.clear();
        }
        recall.leaves.insert(name, leaf.clone());
        Ok(leaf)
    }

    /// The policy set with `digest`, if it is kept and is what its digest says.
    pub(crate) async fn snapshot(
        &self,
        digest: PolicyDigest,
        recall: &mut Recall,
    ) -> Result<Option<Arc<Snapshot>>, AdminError> {
        if let Some(snapshot) = recall.snapshots.get(&digest) {
            return Ok(snapshot.clone());
        }
        let mut reader = self.reader();
        let bundle: Option<Bundle> =
            reader.find(FactKey::policy(&digest)).await.map_err(AdminError::unavailable)?;
        let snapshot = match bundle {
            Some(bundle) => {
                let mut snapshot = recall.compiler.compile(bundle.clone()).await.ok();
                // What does not compile, an earlier build decided by.
                let mut before = SharedCompiler::of_before().into_iter();
                while snapshot.is_none()
                    && let Some(compiler) = before.next()
                {
                    snapshot = compiler.compile(bundle.clone()).await.ok();
                }
                snapshot
            }
            None => Some(Arc::new(Snapshot::empty())),
        };
        let snapshot = snapshot.filter(|snapshot| snapshot.digest() == digest);
        if recall.snapshots.len() == SNAPSHOTS_MAX {
            recall.snapshots.clear();
        }
        recall.snapshots.insert(digest, snapshot.clone());
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

/// The permit of which the outcome at `entry` says that it gave back what it took.
fn given_back(entry: &LogEntry) -> Option<DecisionId> {
    if !entry.bytes.starts_with(BEGINS_WITH_AGENT) {
        return None;
    }
    // In text it is looked for many bytes at a time.
    let text = str::from_utf8(&entry.bytes).ok().filter(|it| it.contains(GIVES_BACK))?;
    let outcome: OutcomeRecord = serde_json::from_str(text).ok()?;
    outcome.given_back.then_some(outcome.decision)
}

/// The permit of which somebody found that what it permitted did not happen, so that it gave back what it took.
fn settled_as_nothing(record: &AdministrationRecord, own: &Disclosure) -> Option<DecisionId> {
    let is_settled = record.action == "outcome/settle" && record.decision == Verdict::Permit;
    let change = own.value("change").filter(|_| is_settled)?;
    let decision = change.get("decision").filter(|_| change["given_back"] == true);
    decision?.as_str()?.parse().ok()
}

fn read(entry: &LogEntry) -> Option<Read> {
    if !entry.bytes.starts_with(BEGINS) {
        return None;
    }
    // Else each of its texts is looked at for whether it is one.
    let text = str::from_utf8(&entry.bytes).ok()?;
    if let Ok(record) = serde_json::from_str(text) {
        return Some(Read::Act(Box::new(record)));
    }
    let record = serde_json::from_str(text).ok()?;
    Some(Read::Administration(Box::new(record)))
}

/// What a facts leaf says, whoever uses it when.
fn facts(values: &Disclosure) -> Result<Facts, String> {
    let standing = member(values, "standing")?.ok_or("nobody stands behind it")?;
    Ok(Facts {
        revision: Revision::default(),
        now: Timestamp::from_millis(0),
        principal: PrincipalFacts::Instance(Arc::new(standing)),
        tool: member(values, "tool")?.map(Arc::new),
        server: member(values, "server")?.map(Arc::new),
        tool_owner: member(values, "tool_owner")?.map(Arc::new),
        agent: member(values, "agent")?.map(Arc::new),
        session: SessionFacts::default(),
        binding: Binding::None,
        stops: Arc::new(member(values, "stops")?.unwrap_or_default()),
    })
}

fn question(
    record: &DecisionRecord,
    own: &Disclosure,
    facts: Facts,
) -> Result<(AccessRequest, Facts), String> {
    let request = AccessRequest {
        principal: Principal::Instance(record.instance),
        action: ActionName::method(&record.action),
        resource: resource(record, own)?,
        input: member(own, "arguments")?.unwrap_or_default(),
    };
    let facts = Facts {
        revision: record.facts.revision,
        now: record.time,
        session: member::<SessionFacts>(own, "session")?.unwrap_or_default(),
        binding: record.binding,
        ..facts
    };
    Ok((request, facts))
}

fn administrative_question(
    record: &AdministrationRecord,
    own: &Disclosure,
) -> Result<(AccessRequest, Facts), String> {
    let principal = asking(own)?;
    let target = member(own, "target")?.ok_or("it was done to nothing")?;
    let request = AccessRequest::of_administration(principal.principal(), &record.action, target);
    let agent = member(own, "agent")?.map(Arc::new);
    let facts = Facts::of_administration((record.revision, record.time), principal, agent);
    Ok((request, facts))
}

/// Who asked, as the record discloses it.
fn asking(own: &Disclosure) -> Result<PrincipalFacts, String> {
    if let Some(directory) = member::<Directory>(own, "directory")? {
        let gives = member(own, "gives")?.ok_or("the directory gave nothing")?;
        return Ok(PrincipalFacts::Directory(directory, gives));
    }
    let person: Person = member(own, "administrator")?.ok_or("nobody asked for it")?;
    Ok(PrincipalFacts::Administrator(person))
}

fn member<T: DeserializeOwned>(from: &Disclosure, name: &str) -> Result<Option<T>, String> {
    from.read(name).map_err(|error| format!("`{name}` cannot be read: {error}"))
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
