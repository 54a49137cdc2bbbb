//! Acts of administration: decided by the same policy set, recorded and done in one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use journal::DataKey;
use model::record::{AdministrationRecord, Commitments, Disclosure, VERSION};
use model::{
    AccessRequest, Decision, DecisionId, Directory, FactKey, Facts, Gives, Person, PersonId,
    Principal, PrincipalFacts, Provisioning, ResourceRef, Revision, SignalRef, SourceName, Sourced,
};
use pdp::Snapshot;
use store::{CommitError, Effect, NewEntry, Unit, Urgency};

use crate::FactsError;
use crate::observing::{self, fits};
use crate::reader::Reader;
use crate::records::told;
use crate::{Authority, NotPermitted};

/// How often an act whose facts changed under it is decided again.
const ATTEMPTS_MAX: u32 = 3;

/// The acts that do not wait for a clock that can be trusted: that which says that it can, and those
/// that only take something away, for which there is never a wrong time.
const AT_ANY_TIME: [&str; 21] = [
    "agent/remember",
    "agent/restrict",
    "agent/stop",
    "agent/suspend",
    "clock/trust",
    "consent/withdraw",
    "deployment/stop",
    "device/revoke",
    "elevation/revoke",
    "founder/remove",
    "instance/quarantine",
    "instance/revoke",
    "mandate/withdraw",
    "person/deactivate",
    "person/restrict",
    "policy/withdraw",
    "purpose/narrow",
    "risk/raise",
    "system/suspend",
    "task/end",
    "tool/stop",
];

/// The act for which it matters whom an agent falls to.
const TAKE_OVER: &str = "agent/take-over";

/// Who wants to change something.
#[derive(Clone, Debug)]
pub enum ChangedBy {
    /// A person.
    Person {
        /// Who.
        id: PersonId,
        /// Where a provider vouches for the person, the groups that it says they are in: of those
        /// that the register knows, only these count.
        groups: Option<BTreeSet<String>>,
    },
    /// A directory, of one of its people, or of an agent that it registered.
    Directory {
        /// Which.
        name: SourceName,
        /// The person; the sponsor of the agent.
        person: PersonId,
        /// What it gives.
        gives: Provisioning,
        /// The key of somebody new, under which what is recorded is sealed; the effects store it.
        data_key: Option<DataKey>,
        /// The signal that told of it, if a stream spoke for the directory.
        signal: Option<SignalRef>,
    },
}

impl ChangedBy {
    /// A person, for whom no provider vouches.
    pub const fn person(id: PersonId) -> Self {
        Self::Person { id, groups: None }
    }

    /// The signal that told of it, if one did.
    const fn signal(&self) -> Option<&SignalRef> {
        match self {
            Self::Person { .. } => None,
            Self::Directory { signal, .. } => signal.as_ref(),
        }
    }
}

/// What somebody wants to change.
#[derive(Clone, Debug)]
pub struct AdminAct {
    /// Who.
    pub by: ChangedBy,
    /// The act (`agent/add`).
    pub action: &'static str,
    /// What it changes.
    pub target: ResourceRef,
    /// The change, for the record: committed to, disclosed apart.
    pub change: serde_json::Value,
    /// The facts that the change rests on, with the revision at which they were read.
    pub reads: (Vec<FactKey>, Revision),
    /// The change itself.
    pub effects: Vec<Effect>,
}

/// A change that was permitted, recorded and made.
#[derive(Clone, Debug)]
pub struct Administered {
    /// The decision.
    pub decision: DecisionId,
    /// The revision since which it counts.
    pub revision: Revision,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum NotAdministered {
    /// It was not permitted.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// Something that it rests on changed meanwhile, or what it adds exists.
    #[error("it conflicts with what is there: {0}")]
    Conflict(#[source] CommitError),
    /// It was permitted, and nobody can tell whether it was recorded and made.
    #[error("it may have been done")]
    Unknown,
}

/// A question about an act of administration, with its answer and what that rests on.
struct Asked {
    decision: Decision,
    request: AccessRequest,
    facts: Facts,
    /// The set that decided.
    in_force: Arc<Snapshot>,
    /// The facts that the answer rests on, all true as of `revision`.
    keys: Vec<FactKey>,
    revision: Revision,
}

impl Authority {
    /// Decides on `act` and, if it is permitted, makes the change with its record.
    pub async fn administer(&self, act: AdminAct) -> Result<Administered, NotAdministered> {
        self.administer_with(act, Vec::new()).await
    }

    /// As [`Authority::administer`]; what was `found` by it is recorded with the change.
    pub async fn administer_with(
        &self,
        act: AdminAct,
        found: Vec<NewEntry>,
    ) -> Result<Administered, NotAdministered> {
        let (within, handed_over) = (self.limits.decision_timeout, AtomicBool::new(false));
        let changing = self.decide_and_change((&act, found.as_slice()), &handed_over);
        match tokio::time::timeout(within, changing).await {
            Ok(answer) => answer,
            // What the store has taken may be committed, though nobody waits for it.
            Err(_) if handed_over.load(Ordering::Relaxed) => Err(NotAdministered::Unknown),
            Err(_) => Err(NotPermitted::TimedOut.into()),
        }
    }

    /// Whether `act` is permitted, with what that rests on, before anything is looked up for it, or where it is
    /// a part of another. A denial is recorded; a permit is not, because what it leads to will be decided and
    /// recorded by itself, or the record of the other tells of it.
    pub async fn may_administer(&self, act: &AdminAct) -> Result<Sourced<()>, NotPermitted> {
        let asked = async {
            let asked = self.answer_to(act).await?;
            match asked.decision {
                Decision::Permit(_) => {
                    let Asked { keys, revision, .. } = asked;
                    Ok(Sourced { value: (), keys, revision })
                }
                Decision::Deny(_) => Err(self.record_denial(act, asked).await),
            }
        };
        let within = self.limits.decision_timeout;
        tokio::time::timeout(within, asked).await.unwrap_or(Err(NotPermitted::TimedOut))
    }

    /// Whether `act` would be permitted now: for showing what can be asked for. Nothing is recorded.
    pub async fn would_administer(&self, act: &AdminAct) -> bool {
        let asked = tokio::time::timeout(self.limits.decision_timeout, self.answer_to(act)).await;
        matches!(asked, Ok(Ok(Asked { decision: Decision::Permit(_), .. })))
    }

    /// What is answered to `act` now.
    async fn answer_to(&self, act: &AdminAct) -> Result<Asked, NotPermitted> {
        for _ in 0..ATTEMPTS_MAX {
            if let Some(asked) = self.ask_administration(act).await? {
                return Ok(asked);
            }
        }
        Err(NotPermitted::Contended)
    }

    /// `handed_over` says whether the store has taken a unit of which it has said nothing.
    async fn decide_and_change(
        &self,
        (act, found): (&AdminAct, &[NewEntry]),
        handed_over: &AtomicBool,
    ) -> Result<Administered, NotAdministered> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(asked) = self.ask_administration(act).await? else { continue };
            if let Decision::Deny(_) = asked.decision {
                return Err(self.record_denial(act, asked).await.into());
            }
            let (id, mut unit) = self.administration_unit(act, &asked).await?;
            unit.reads = [asked.keys, act.reads.0.clone()].concat();
            // Older than both: what either read may not have changed since.
            unit.revision = asked.revision.min(act.reads.1);
            unit.effects.clone_from(&act.effects);
            unit.entries.extend_from_slice(found);
            handed_over.store(true, Ordering::Relaxed);
            let committed = self.journal.store().commit(unit).await;
            handed_over.store(false, Ordering::Relaxed);
            match committed {
                Ok(done) => return Ok(Administered { decision: id, revision: done.revision }),
                Err(CommitError::Changed { key }) if !act.reads.0.contains(&key) => {}
                Err(
                    error @ (CommitError::Changed { .. }
                    | CommitError::Exists { .. }
                    | CommitError::Used(_)),
                ) => return Err(NotAdministered::Conflict(error)),
                Err(CommitError::Lost) => return Err(NotAdministered::Unknown),
                Err(error) => return Err(NotPermitted::Unrecorded(error).into()),
            }
        }
        Err(NotPermitted::Contended.into())
    }

    /// Decides on `act`; `None` if what the answer would rest on was changing.
    async fn ask_administration(&self, act: &AdminAct) -> Result<Option<Asked>, NotPermitted> {
        let waits = !AT_ANY_TIME.contains(&act.action);
        let now = if waits { self.trusted_now()? } else { self.clock.now() };
        let mut reader = self.pip.reader();
        let (principal, facts_of_principal) = asking(&mut reader, &act.by).await?;
        let agent = match &act.target {
            ResourceRef::Agent(name) if act.action == TAKE_OVER => {
                reader.agent_with_succession(name).await?.map(Arc::new)
            }
            ResourceRef::Agent(name) => reader.agent(name).await?.map(Arc::new),
            _ => None,
        };
        let read = reader.sourced(());
        let in_force = self.pip.policy_as_it_is().await?;
        let policy_key = [FactKey::active_policy()];
        let sources =
            [(read.keys.as_slice(), read.revision), (policy_key.as_slice(), in_force.revision)];
        let Some(revision) = self.pip.changes().fresh_as_of(&sources) else { return Ok(None) };
        let target = act.target.clone();
        let request = AccessRequest::of_administration(principal, act.action, target);
        let facts = Facts::of_administration((revision, now), facts_of_principal, agent);
        let decision = in_force.snapshot.decide(&request, &facts);
        let keys = [read.keys, policy_key.to_vec()].concat();
        let in_force = in_force.snapshot.clone();
        Ok(Some(Asked { decision, request, facts, in_force, keys, revision }))
    }

    /// Records a denial, and says so. A denial needs no fence.
    async fn record_denial(&self, act: &AdminAct, asked: Asked) -> NotPermitted {
        let recorded = match self.administration_unit(act, &asked).await {
            Ok((id, mut unit)) => {
                // What is sealed opens as long as its key is kept.
                if let ChangedBy::Directory { data_key: Some(first), .. } = &act.by {
                    let (key, body) = (first.key.clone(), first.body.clone());
                    unit.effects.push(Effect::PutNew { key, body });
                }
                let committed = self.journal.store().commit(unit).await;
                committed.map(|_| id).map_err(NotPermitted::Unrecorded)
            }
            Err(error) => Err(error),
        };
        match (recorded, asked.decision) {
            (Ok(decision), Decision::Deny(denial)) => {
                NotPermitted::Denied { denial: Box::new(denial), decision }
            }
            (Ok(_), Decision::Permit(_)) => unreachable!("only denials are recorded here"),
            (Err(error), _) => error,
        }
    }

    async fn administration_unit(
        &self,
        act: &AdminAct,
        asked: &Asked,
    ) -> Result<(DecisionId, Unit), NotPermitted> {
        let mut seed = [0; 32];
        self.entropy.fill(&mut seed);
        let mut disclosure = Disclosure::new(seed);
        let mut commitments = Commitments::new();
        let target = serde_json::to_value(&act.target).expect("a resource is a map of text");
        let agent = asked.facts.agent.as_deref();
        let agent = agent.map(|agent| serde_json::to_value(agent).expect("it is a map of text"));
        let members = told_of(&asked.facts.principal).into_iter().chain([("target", target)]);
        let members = members.chain(agent.map(|agent| ("agent", agent)));
        for (member, value) in members.chain([("change", act.change.clone())]) {
            commitments.insert(member.to_owned(), disclosure.commit(member, &value));
        }
        let (told, now) = (told(&asked.decision), asked.facts.now);
        let id = DecisionId::new(now, self.entropy.as_ref());
        let question = (&asked.request, &asked.facts);
        let left = self.limits.decision_timeout;
        let observed = self.pip.observing().ask(question, &asked.in_force, left);
        let observed_set = observing::would(observed, &asked.decision).await;
        let mut record = AdministrationRecord {
            action: act.action.to_owned(),
            commitments,
            decision: told.verdict,
            id,
            kind: "administration".to_owned(),
            observed_set,
            policies: told.policies,
            policy: asked.in_force.digest(),
            reason: told.reason.to_owned(),
            revision: asked.revision,
            signal: act.by.signal().cloned(),
            time: now,
            v: VERSION,
        };
        if record.observed_set.is_some() && !fits(&record) {
            record.observed_set = None;
        }
        let sealed = match &act.by {
            ChangedBy::Person { id, .. } => self.journal.seal(id, &disclosure).await,
            ChangedBy::Directory { data_key: Some(first), .. } => {
                self.journal.seal_first(first, &disclosure)
            }
            ChangedBy::Directory { person, .. } => self.journal.seal(person, &disclosure).await,
        };
        let sealed = sealed.map_err(|error| NotPermitted::Unrecorded(error.into()))?;
        let entries = vec![journal::entry(*id.as_bytes(), &record, Some(sealed))];
        Ok((id, Unit { entries, urgency: urgency(&act.by), ..Unit::default() }))
    }
}

/// What a directory gives comes by the many, and none of it hurries; what it takes away does.
fn urgency(by: &ChangedBy) -> Urgency {
    match by {
        ChangedBy::Directory { gives, .. } if gives.gives != Gives::Nothing => Urgency::Gathered,
        _ => Urgency::Awaited,
    }
}

/// Who asks, with what is known about them.
async fn asking(
    reader: &mut Reader<'_>,
    by: &ChangedBy,
) -> Result<(Principal, PrincipalFacts), FactsError> {
    match by {
        ChangedBy::Person { id, groups } => {
            let mut person: Person = reader.need(FactKey::person(id)).await?;
            if let Some(groups) = groups {
                person.groups.retain(|group| groups.contains(group.as_str()));
            }
            Ok((Principal::Person(id.clone()), PrincipalFacts::Administrator(person)))
        }
        ChangedBy::Directory { name, gives, .. } => {
            let directory: Directory = reader.need(FactKey::directory(name)).await?;
            let facts = PrincipalFacts::Directory(directory, gives.clone());
            Ok((Principal::Directory(name.clone()), facts))
        }
    }
}

/// What a record commits to of who asked.
fn told_of(principal: &PrincipalFacts) -> Vec<(&'static str, serde_json::Value)> {
    let value = |value: Result<_, _>| value.expect("facts are maps of text");
    match principal {
        PrincipalFacts::Administrator(person) => {
            vec![("administrator", value(serde_json::to_value(person)))]
        }
        PrincipalFacts::Directory(directory, gives) => vec![
            ("directory", value(serde_json::to_value(directory))),
            ("gives", value(serde_json::to_value(gives))),
        ],
        PrincipalFacts::Instance(_) => unreachable!("an instance administers nothing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ends something is held up by no import.
    #[test]
    fn what_a_directory_takes_away_hurries_and_what_it_gives_does_not() {
        let ann: PersonId = "ann".parse().expect("a person");
        let check = |gives: Gives, expected: Urgency| {
            let by = ChangedBy::Directory {
                name: "okta".parse().expect("a directory"),
                person: ann.clone(),
                gives: Provisioning {
                    person: None,
                    gives,
                    joins: BTreeSet::new(),
                    unit: None,
                    manager: None,
                    login: false,
                    purpose: None,
                },
                data_key: None,
                signal: None,
            };
            assert_eq!(urgency(&by), expected, "{gives:?}");
        };
        check(Gives::Nothing, Urgency::Awaited);
        for gives in [Gives::Added, Gives::Returned, Gives::Changed] {
            check(gives, Urgency::Gathered);
        }
        assert_eq!(urgency(&ChangedBy::person(ann)), Urgency::Awaited);
    }
}
