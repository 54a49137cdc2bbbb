//! What a case asks for of administration: what a person does, or what a directory tells.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{
    AccessRequest, AgentFacts, AgentName, Directory, DirectoryState, Facts, Gives, GroupName,
    Person, PersonId, PrincipalFacts, Provisioning, PurposeId, ResourceRef, Revision, SourceName,
    Succession, Timestamp, UnitName,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::by_instance::{Somebody, is_so};
use super::made_up::{agent, everything};
use super::{NOW, point_in_time, then};

/// The member of a case that names the act.
const ACT: &str = "act";

/// The act for which it matters whom an agent falls to.
const TAKE_OVER: &str = "agent/take-over";

/// Whether `question` asks for an act of administration.
pub(super) fn is_one(question: &Map<String, Value>) -> bool {
    question.contains_key(ACT)
}

/// What somebody who administers asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Administrative {
    act: Act,
    /// The person who asks, or else
    #[serde(default, skip_serializing_if = "Option::is_none")]
    person: Option<Somebody>,
    /// the directory that tells of somebody, or registers an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    directory: Option<Told>,
    /// The agent that it is done to, if one is registered by that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    registered: Option<Registered>,
    /// When it is asked; 2026-01-01T00:00:00Z, a Thursday, if it is left out.
    #[serde(default = "then", deserialize_with = "point_in_time", skip_serializing)]
    now: Timestamp,
}

/// An act of administration (`policy/publish`), and what it is done to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    name: String,
    #[serde(default = "deployment")]
    to: ResourceRef,
}

/// What a directory gives somebody of whom it tells, or an agent that it registers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    name: SourceName,
    /// Whether it may say anything.
    #[serde(default = "is_so", skip_serializing_if = "Clone::clone")]
    active: bool,
    gives: Gives,
    /// The person as they are, if they are registered; the sponsor of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    person: Option<Somebody>,
    /// The groups that they join.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    joins: BTreeSet<GroupName>,
    /// The unit that they are in from then on, if that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<UnitName>,
    /// To whom they report from then on, if that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manager: Option<PersonId>,
    /// Whether they log in as somebody whom they were not known by.
    #[serde(default)]
    login: bool,
    /// What the agent is to be for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purpose: Option<PurposeId>,
}

/// An agent that is registered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registered {
    /// Who answers for it.
    sponsor: Somebody,
    /// Who keeps it running, if that is not its sponsor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    technical_owner: Option<PersonId>,
    #[serde(default)]
    purposes: BTreeSet<PurposeId>,
    /// Who was named to be asked where its sponsor is gone.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    backups: BTreeSet<PersonId>,
    /// To whom its sponsor reported, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    line: Vec<PersonId>,
    /// The unit of its business owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<UnitName>,
}

const fn deployment() -> ResourceRef {
    ResourceRef::Deployment
}

impl Administrative {
    /// What is asked, and the facts that it is decided on.
    pub(super) fn put(&self) -> Result<(AccessRequest, Facts), String> {
        let principal = match (&self.person, &self.directory) {
            (Some(person), None) => PrincipalFacts::Administrator(person.into()),
            (None, Some(told)) => told.principal(),
            _ => return Err("it needs either the `person` or the `directory` that asks".to_owned()),
        };
        let Act { name, to } = &self.act;
        let agent = match (&self.registered, to) {
            (None, _) => None,
            (Some(registered), ResourceRef::Agent(agent)) => {
                Some(Arc::new(registered.agent(agent, name, self.now)))
            }
            (Some(_), _) => return Err("`registered` says of no agent who has it".to_owned()),
        };
        let request = AccessRequest::of_administration(principal.principal(), name, to.clone());
        let facts = Facts::of_administration((Revision(0), self.now), principal, agent);
        Ok((request, facts))
    }
}

impl Told {
    fn principal(&self) -> PrincipalFacts {
        let Self { name, active, gives, person, joins, unit, manager, login, purpose } =
            self.clone();
        let state = if active {
            DirectoryState::Active
        } else {
            DirectoryState::Suspended { reason: String::new(), since: NOW }
        };
        let directory = Directory { name, logins: None, silence_min: None, registered: NOW, state };
        let person = person.as_ref().map(|person| Box::new(Person::from(person)));
        let given = Provisioning { person, gives, joins, unit, manager, login, purpose };
        PrincipalFacts::Directory(directory, given)
    }

    fn of(directory: &Directory, given: &Provisioning) -> Self {
        let Provisioning { person, gives, joins, unit, manager, login, purpose } = given.clone();
        let (name, active) = (directory.name.clone(), directory.is_active());
        let person = person.as_deref().map(Somebody::from);
        Self { name, active, gives, person, joins, unit, manager, login, purpose }
    }
}

impl Registered {
    /// The agent `name`, as who decides on the act `act` at `now` knows it.
    fn agent(&self, name: &AgentName, act: &str, now: Timestamp) -> AgentFacts {
        let Self { sponsor, technical_owner, purposes, backups, line, unit } = self.clone();
        let sponsor = Person::from(&sponsor);
        let technical_owner = technical_owner.unwrap_or_else(|| sponsor.id.clone());
        let agent = agent((name, &sponsor), &everything(None), (now, now));
        let agent = model::Agent { technical_owner, purposes, backups, ..agent };
        let succession = (act == TAKE_OVER).then_some(Succession { line, unit });
        AgentFacts { agent, sponsor, succession }
    }

    fn of(known: &AgentFacts) -> Self {
        let AgentFacts { agent, sponsor, succession } = known.clone();
        let (line, unit) = succession.map(|it| (it.line, it.unit)).unwrap_or_default();
        let (purposes, backups) = (agent.purposes, agent.backups);
        let technical_owner = Some(agent.technical_owner).filter(|owner| *owner != sponsor.id);
        let sponsor = Somebody::from(&sponsor);
        Self { sponsor, technical_owner, purposes, backups, line, unit }
    }
}

/// The members of a case that asks what `request` does in the light of `facts`, where somebody administers.
pub(super) fn recorded(request: &AccessRequest, facts: &Facts) -> Map<String, Value> {
    let (person, directory) = match &facts.principal {
        PrincipalFacts::Administrator(person) => (Some(Somebody::from(person)), None),
        PrincipalFacts::Directory(directory, given) => (None, Some(Told::of(directory, given))),
        PrincipalFacts::Instance(_) => unreachable!("an instance administers nothing"),
    };
    let registered = facts.agent.as_deref().map(Registered::of);
    let act = Act { name: request.action.to_string(), to: request.resource.clone() };
    let case = Administrative { act, person, directory, registered, now: facts.now };
    let Value::Object(mut members) = json!(case) else { unreachable!("it is an object") };
    members.insert("now".to_owned(), facts.now.to_string().into());
    members
}
