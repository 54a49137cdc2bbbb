//! Acts of administration: decided by the same policy set, recorded and done in one transaction.

use model::record::{AdministrationRecord, Commitments, Disclosure, VERSION};
use model::{
    AccessRequest, ActionName, Binding, Decision, DecisionId, Denial, FactKey, Facts, Person,
    PersonId, Principal, PrincipalFacts, ResourceRef, SessionFacts,
};
use store::{CommitError, Effect, Unit, Urgency};

use crate::pip::Reader;
use crate::records::told;
use crate::{Authority, NotPermitted};

/// How often an act whose facts changed under it is decided again.
const ATTEMPTS_MAX: u32 = 3;

/// What a person wants to change.
#[derive(Clone, Debug)]
pub struct AdminAct {
    /// The person.
    pub administrator: PersonId,
    /// The act (`agent/add`).
    pub action: &'static str,
    /// What it changes.
    pub target: ResourceRef,
    /// The change, for the record: committed to, disclosed apart.
    pub change: serde_json::Value,
    /// The facts that the change rests on, with the revision at which they were read.
    pub reads: (Vec<FactKey>, model::Revision),
    /// The change itself.
    pub effects: Vec<Effect>,
}

/// A change that was permitted, recorded and made.
#[derive(Clone, Debug)]
pub struct Administered {
    /// The decision.
    pub decision: DecisionId,
    /// The revision since which it counts.
    pub revision: model::Revision,
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
}

impl Authority {
    /// Decides on `act` and, if it is permitted, makes the change with its record.
    pub async fn administer(&self, act: AdminAct) -> Result<Administered, NotAdministered> {
        for _ in 0..ATTEMPTS_MAX {
            let mut reader = Reader::new(self.journal.store().as_ref());
            let key = FactKey::person(&act.administrator);
            let person: Person = reader.need(key).await.map_err(NotPermitted::from)?;
            let read = reader.sourced(person);
            let (decision, policy) = self.decide_administration(&act, &read.value)?;
            let (id, mut unit) = self.administration_unit(&act, &decision, &policy).await?;
            if let Decision::Permit(_) = decision {
                unit.reads =
                    [read.keys, act.reads.0.clone(), vec![FactKey::active_policy()]].concat();
                unit.revision = read.revision.min(act.reads.1);
                unit.effects = act.effects.clone();
            }
            match (self.journal.store().commit(unit).await, decision) {
                (Ok(committed), Decision::Permit(_)) => {
                    return Ok(Administered { decision: id, revision: committed.revision });
                }
                (Ok(_), Decision::Deny(denial)) => return Err(denied(denial, id).into()),
                (Err(CommitError::Changed { key }), _) if !act.reads.0.contains(&key) => {}
                (
                    Err(
                        error @ (CommitError::Changed { .. }
                        | CommitError::Exists { .. }
                        | CommitError::Used),
                    ),
                    _,
                ) => return Err(NotAdministered::Conflict(error)),
                (Err(error), _) => return Err(NotPermitted::Unrecorded(error).into()),
            }
        }
        Err(NotPermitted::Contended.into())
    }

    fn decide_administration(
        &self,
        act: &AdminAct,
        person: &Person,
    ) -> Result<(Decision, model::PolicyDigest), NotPermitted> {
        let in_force = self.pip.policy();
        let request = AccessRequest {
            principal: Principal::Person(act.administrator.clone()),
            action: ActionName::method(act.action),
            resource: act.target.clone(),
            input: serde_json::Value::Null,
        };
        let facts = Facts {
            revision: in_force.revision,
            now: self.trusted_now()?,
            principal: PrincipalFacts::Administrator(person.clone()),
            tool: None,
            server: None,
            tool_owner: None,
            session: SessionFacts::default(),
            binding: Binding::None,
        };
        Ok((in_force.snapshot.decide(&request, &facts), in_force.snapshot.digest()))
    }

    async fn administration_unit(
        &self,
        act: &AdminAct,
        decision: &Decision,
        policy: &model::PolicyDigest,
    ) -> Result<(DecisionId, Unit), NotPermitted> {
        let now = self.clock.now();
        let mut seed = [0; 32];
        self.entropy.fill(&mut seed);
        let mut disclosure = Disclosure::new(seed);
        let mut commitments = Commitments::new();
        let target = serde_json::to_value(&act.target).expect("a resource is a map of text");
        let administrator = act.administrator.to_string().into();
        for (member, value) in
            [("administrator", administrator), ("target", target), ("change", act.change.clone())]
        {
            commitments.insert(member.to_owned(), disclosure.commit(member, value));
        }
        let told = told(decision);
        let id = DecisionId::new(now, self.entropy.as_ref());
        let record = AdministrationRecord {
            action: act.action.to_owned(),
            commitments,
            decision: told.verdict,
            id,
            kind: "administration".to_owned(),
            policies: told.policies,
            policy: *policy,
            reason: told.reason.to_owned(),
            revision: self.pip.policy().revision,
            time: now,
            v: VERSION,
        };
        let sealed = self.journal.seal(&act.administrator, &disclosure).await;
        let sealed = sealed.map_err(|error| NotPermitted::Unrecorded(error.into()))?;
        let entries = vec![journal::entry(*id.as_bytes(), &record, Some(sealed))];
        Ok((id, Unit { entries, urgency: Urgency::Awaited, ..Unit::default() }))
    }
}

fn denied(denial: Denial, decision: DecisionId) -> NotPermitted {
    NotPermitted::Denied { denial: Box::new(denial), decision }
}
