//! Builds the records of a decision: the decision itself and, once per reading, its facts.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use journal::{Journal, SealError};
use model::record::{
    ActCommitments, Commitments, DECISION_VERSION, DecisionRecord, Disclosure, FactsRecord,
    FactsRef, HandedOn, ObservedSet, PeopleCommitments, VERSION, Verdict,
};
use model::{
    AccessRequest, ActDigest, ActionName, AgentFacts, AgentName, Binding, BudgetName, Decision,
    DecisionId, ElevationId, Entropy, Facts, PersonId, PolicyId, RecordId, ResourceRef, Server,
    SessionFacts, Standing, Stops, Timestamp, Tool,
};
use moka::sync::Cache;
use serde::Serialize;
use serde_json::Value;
use store::NewEntry;

use crate::observing::fits;
use crate::permit::Circumstances;
use crate::pip::Gathered;

/// The most readings whose facts leaf is remembered.
const FACTS_LEAVES_MAX: u64 = 100_000;

/// The facts leaves that this process has written, by who acts on what.
pub(crate) struct FactsLeaves(Cache<Place, Arc<FactsLeaf>>);

/// Who acts, on which server and tool.
type Place = (model::InstanceId, Option<model::ServerName>, Option<model::ToolRef>);

/// One facts leaf, written with the first decision that used it.
pub(crate) struct FactsLeaf {
    standing: Arc<Standing>,
    server: Option<Arc<Server>>,
    tool: Option<Arc<Tool>>,
    agent: Option<Arc<AgentFacts>>,
    stops: Arc<Stops>,
    /// None, once it is in the log: what is sealed in it is the largest part of a leaf.
    unwritten: ArcSwapOption<NewEntry>,
    reference: FactsRef,
}

impl FactsLeaf {
    /// The entry, if it is not in the log yet.
    pub(crate) fn unwritten(&self) -> Option<NewEntry> {
        self.unwritten.load_full().map(|entry| entry.as_ref().clone())
    }

    pub(crate) fn mark_written(&self) {
        self.unwritten.store(None);
    }
}

impl FactsLeaves {
    pub(crate) fn new() -> Self {
        Self(Cache::new(FACTS_LEAVES_MAX))
    }

    /// The leaf that commits to what `gathered` says of who acts and of the tool.
    pub(crate) async fn leaf(
        &self,
        gathered: &Gathered,
        (now, entropy): (Timestamp, &dyn Entropy),
        journal: &Journal,
    ) -> Result<Arc<FactsLeaf>, SealError> {
        let tool = gathered.tool.as_ref().map(|tool| tool.tool.clone());
        let server = gathered.server.as_ref().map(|server| server.name.clone());
        let place = (gathered.standing.instance.id, server, tool);
        if let Some(known) = self.0.get(&place).filter(|known| known.is_of(gathered)) {
            return Ok(known);
        }
        let leaf = Arc::new(facts_leaf(gathered, (now, entropy), journal).await?);
        self.0.insert(place, leaf.clone());
        Ok(leaf)
    }
}

impl FactsLeaf {
    fn is_of(&self, gathered: &Gathered) -> bool {
        same(self.tool.as_ref(), gathered.tool.as_ref())
            && same(self.server.as_ref(), gathered.server.as_ref())
            && Arc::ptr_eq(&self.standing, &gathered.standing)
            && self.agent == gathered.agent
            && self.stops == gathered.stops
    }
}

/// Whether both are one reading, or neither was read.
fn same<T>(mine: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (mine, other) {
        (Some(mine), Some(other)) => Arc::ptr_eq(mine, other),
        (None, None) => true,
        _ => false,
    }
}

/// The leaf that commits to what `gathered` says, which is kept nowhere.
pub(crate) async fn facts_leaf(
    gathered: &Gathered,
    (now, entropy): (Timestamp, &dyn Entropy),
    journal: &Journal,
) -> Result<FactsLeaf, SealError> {
    let Gathered { standing, server, tool, tool_owner, agent, stops, revision, .. } = gathered;
    let mut all = (Disclosure::new(seed(entropy)), Commitments::new());
    commit_if(&mut all, "standing", Some(standing.as_ref()));
    commit_if(&mut all, "server", server.as_deref());
    commit_if(&mut all, "tool", tool.as_deref());
    commit_if(&mut all, "tool_owner", tool_owner.as_deref());
    commit_if(&mut all, "agent", agent.as_deref());
    commit_if(&mut all, "stops", Some(stops.as_ref()).filter(|stops| !stops.0.is_empty()));
    let (disclosure, commitments) = all;
    let (id, revision) = (RecordId::new(now, entropy), *revision);
    let record =
        FactsRecord { commitments, id, kind: "facts".to_owned(), revision, time: now, v: VERSION };
    let sealed = journal.seal(data_subject(standing), &disclosure).await?;
    let entry = journal::entry(*id.as_bytes(), &record, Some(sealed));
    let reference = FactsRef { id, leaf: entry.leaf, revision };
    Ok(FactsLeaf {
        standing: standing.clone(),
        server: server.clone(),
        tool: tool.clone(),
        agent: agent.clone(),
        stops: stops.clone(),
        unwritten: ArcSwapOption::from_pointee(entry),
        reference,
    })
}

/// The person under whose key the disclosures of this instance's records are sealed.
fn data_subject(standing: &Standing) -> &PersonId {
    standing.subject.as_ref().map_or(&standing.sponsor.id, |person| &person.id)
}

/// Commits to `value` as the `member`, if there is one.
fn commit_if<T: Serialize>(
    (disclosure, commitments): &mut (Disclosure, Commitments),
    member: &str,
    value: Option<&T>,
) {
    let Some(value) = value else { return };
    commitments.insert(member.to_owned(), disclosure.commit(member, value));
}

fn seed(entropy: &dyn Entropy) -> [u8; 32] {
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    seed
}

/// A decision on its way into the log.
pub(crate) struct DecisionEntry {
    pub(crate) id: DecisionId,
    pub(crate) entry: NewEntry,
    /// The commitments that outcome records repeat.
    pub(crate) people: PeopleCommitments,
}

/// What one decision is about, for its record.
pub(crate) struct Decided<'a> {
    pub(crate) request: &'a AccessRequest,
    pub(crate) circumstances: &'a Circumstances,
    pub(crate) gathered: &'a Gathered,
    pub(crate) facts: &'a Facts,
    pub(crate) decision: &'a Decision,
    /// What the set under observation would have answered, if one is.
    pub(crate) observed_set: Option<ObservedSet>,
    pub(crate) latency_us: u64,
}

/// Builds the record of `decided`, whose facts `leaf` commits to.
pub(crate) async fn decision_entry(
    decided: &Decided<'_>,
    leaf: &FactsLeaf,
    entropy: &dyn Entropy,
    journal: &Journal,
) -> Result<DecisionEntry, SealError> {
    let standing = decided.gathered.standing.as_ref();
    let (disclosure, commitments) = commit_members(decided, Disclosure::new(seed(entropy)));
    let id = DecisionId::new(decided.facts.now, entropy);
    let people = commitments.people();
    let mut record = record_of(decided, (id, commitments), leaf.reference);
    if record.observed_set.is_some() && !fits(&record) {
        record.observed_set = None;
    }
    if !record.observed.is_empty() && !fits(&record) {
        record.observed = Vec::new();
    }
    let sealed = journal.seal(data_subject(standing), &disclosure).await?;
    let entry = journal::entry(*id.as_bytes(), &record, Some(sealed));
    Ok(DecisionEntry { id, entry, people })
}

fn commit_members(
    decided: &Decided<'_>,
    mut disclosure: Disclosure,
) -> (Disclosure, ActCommitments) {
    let Decided { request, circumstances, gathered, facts, decision, .. } = decided;
    let standing = gathered.standing.as_ref();
    let sponsor = disclosure.commit("sponsor", &standing.sponsor.id);
    let mut all = (disclosure, ActCommitments::new(sponsor));
    commit(&mut all, "session", &facts.session);
    if let Some(subject) = &standing.subject {
        commit(&mut all, "subject", &subject.id);
    }
    if !request.input.is_null() {
        commit(&mut all, "arguments", &request.input);
    }
    let is_of_token = match decision {
        Decision::Permit(grant) => grant.uses_token,
        Decision::Deny(denial) => denial.is_of_token(),
    };
    if let Some(token) = circumstances.token.filter(|_| is_of_token) {
        commit(&mut all, "token", &token.jti);
    }
    for (member, enclosed) in &circumstances.enclosed {
        commit(&mut all, member, enclosed);
    }
    match &request.resource {
        ResourceRef::Resource { uri, .. } => commit(&mut all, "object", uri),
        ResourceRef::Prompt { name, .. } => commit(&mut all, "object", name),
        _ => {}
    }
    all
}

/// Commits to `value` as the `member`.
fn commit<T: Serialize>(
    (disclosure, commitments): &mut (Disclosure, ActCommitments),
    member: &str,
    value: &T,
) {
    commitments.insert(member, disclosure.commit(member, value));
}

fn record_of(
    decided: &Decided<'_>,
    (id, commitments): (DecisionId, ActCommitments),
    facts: FactsRef,
) -> DecisionRecord {
    let Decided { request, circumstances, gathered, facts: read, decision, .. } = decided;
    let standing = gathered.standing.as_ref();
    let told = told(decision);
    let observed = match decision {
        Decision::Permit(grant) => grant.observed.clone(),
        Decision::Deny(_) => gathered.snapshot.observed(request, read),
    };
    DecisionRecord {
        action: request.action.to_string(),
        agent: standing.agent.name.clone(),
        answers: told.answers,
        attestation: standing.attestation(),
        binding: circumstances.binding,
        budget: told.budget,
        commitments,
        decision: told.verdict,
        delegators: HandedOn::all(standing),
        elevation: told.elevation,
        enforcement: gathered.server.as_ref().map(|server| server.enforcement),
        facts,
        harm: gathered.tool.iter().flat_map(|tool| tool.harm.iter().copied()).collect(),
        id,
        instance: standing.instance.id,
        kind: "decision".to_owned(),
        latency_us: decided.latency_us,
        mandate: standing.task.mandate_digest,
        obligations: told.obligations,
        observed: observed.into_iter().collect(),
        observed_set: decided.observed_set.clone(),
        pin: read.pin(),
        point: circumstances.point.to_owned(),
        policies: told.policies,
        policy: gathered.snapshot.digest(),
        purpose: standing.purpose.id.clone(),
        reason: told.reason.to_owned(),
        remedies: told.remedies,
        resource: resource_text(&request.resource),
        task: standing.task.id,
        time: read.now,
        trace: circumstances.trace.clone(),
        v: DECISION_VERSION,
    }
}

/// What a record tells of a decision.
pub(crate) struct Told {
    pub(crate) verdict: Verdict,
    pub(crate) reason: &'static str,
    pub(crate) policies: Vec<PolicyId>,
    answers: model::Answers,
    budget: Option<BudgetName>,
    elevation: Option<ElevationId>,
    obligations: Vec<model::Obligation>,
    remedies: Vec<model::Remedy>,
}

pub(crate) fn told(decision: &Decision) -> Told {
    match decision {
        Decision::Permit(grant) => Told {
            verdict: Verdict::Permit,
            reason: "granted",
            policies: grant.basis.iter().cloned().collect(),
            answers: grant.answers,
            budget: None,
            elevation: grant.elevation,
            obligations: grant.obligations.iter().cloned().collect(),
            remedies: Vec::new(),
        },
        Decision::Deny(denial) => Told {
            verdict: Verdict::Deny,
            reason: denial.code(),
            policies: denial.policies().into_iter().collect(),
            answers: denial.answers(),
            budget: denial.budget().cloned(),
            elevation: None,
            obligations: Vec::new(),
            remedies: denial.remedies().into_iter().collect(),
        },
    }
}

/// The kind of a resource and, where it is not personal, which.
pub fn resource_text(resource: &ResourceRef) -> String {
    match resource {
        ResourceRef::Tool(tool) => format!("Tool::{tool}"),
        ResourceRef::Server(server) => format!("Server::{server}"),
        ResourceRef::Resource { server, .. } => format!("Resource::{server}"),
        ResourceRef::Prompt { server, .. } => format!("Prompt::{server}"),
        ResourceRef::Task(task) => format!("Task::{task}"),
        ResourceRef::Mandate(mandate) => format!("Mandate::{mandate}"),
        ResourceRef::Elevation(elevation) => format!("Elevation::{elevation}"),
        ResourceRef::Agent(agent) => format!("Agent::{agent}"),
        ResourceRef::Instance(instance) => format!("Instance::{instance}"),
        ResourceRef::Person(_) => "Person".to_owned(),
        ResourceRef::Purpose(purpose) => format!("Purpose::{purpose}"),
        ResourceRef::System(system) => format!("System::{system}"),
        ResourceRef::Bundle(digest) => format!("Bundle::{digest}"),
        ResourceRef::Deployment => "Deployment".to_owned(),
    }
}

/// The digest of a whole act: equal for equal acts in the work of one agent, whatever the spelling,
/// and whoever does them of those to whom that `agent` handed the work on.
pub(crate) fn act_digest(agent: &AgentName, request: &AccessRequest) -> ActDigest {
    let AccessRequest { action, resource, input, .. } = request;
    ActDigest::of(&json::canonical_of(&Act { action, agent, input, resource }))
}

/// What the digest of an act covers.
#[derive(Serialize)]
struct Act<'a> {
    action: &'a ActionName,
    agent: &'a AgentName,
    input: &'a Value,
    resource: &'a ResourceRef,
}

/// The facts that `decide` reads, from what was gathered and what was shown: how the token is bound, and when
/// it was issued, if one was.
pub(crate) fn facts_of(
    gathered: &Gathered,
    (binding, issued): (Binding, Option<Timestamp>),
    now: Timestamp,
) -> Facts {
    let token_age_s = issued.map(|issued| now.since(issued).as_secs());
    Facts {
        revision: gathered.revision,
        now,
        principal: model::PrincipalFacts::Instance(gathered.standing.clone()),
        tool: gathered.tool.clone(),
        server: gathered.server.clone(),
        tool_owner: gathered.tool_owner.clone(),
        agent: gathered.agent.clone(),
        session: SessionFacts { token_age_s, ..gathered.session.clone() },
        binding,
        stops: gathered.stops.clone(),
    }
}
