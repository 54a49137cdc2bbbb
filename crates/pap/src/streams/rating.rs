//! What comes of it that a transmitter rates an agent, or one of its instances, as our own transmitter names
//! them: policy reads it, beside what is said here.
//!
//! INVARIANT: a stream rates those alone for whom its directory's people answer, or that its directory registered: the
//! person on whom their acts hang it may rate, and send away, anyhow
//! (`r_18_a_transmitter_rates_agents_and_instances_of_its_directorys_people_alone`).

use authority::{AdminAct, ChangedBy, Effect, NotAdministered, NotPermitted, Reader};
use model::{
    Agent, AgentName, FactKey, Gives, Instance, Person, Provisioning, ResourceRef, Risk, RiskLevel,
    RiskTarget, Sha256Digest, Speaker,
};
use secevent::{Identifier, Meaning, Set};
use serde_json::{Value, json};

use super::taking::{Comes, Taking, found};
use super::{NotTaken, later};
use crate::command::{AdminError, Administration};
use crate::register::put;
use crate::risk::passed_on;

/// What is rated (CAEP 1.0 §3.8, `principal`).
const USER: &str = "USER";
const APPLICATION: &str = "APPLICATION";
const SESSION: &str = "SESSION";

/// Of whom a transmitter says that they are at risk.
#[derive(Clone, Copy)]
pub(super) enum Rated<'a> {
    /// A person.
    Person,
    /// An agent, by its name.
    Agent(&'a str),
    /// An instance, by its id, and its agent, if that is named.
    Instance(&'a str, Option<&'a str>),
}

/// That an agent, or one of its instances, is rated otherwise.
pub(super) struct Rates {
    agent: Agent,
    sponsor: Person,
    gives: Gives,
    change: Value,
    effects: Vec<Effect>,
}

impl<'a> Rated<'a> {
    /// Of whom `set` says that they are at risk: of nobody whom policy knows, if that is another transmitter's
    /// device or session. Instances are subjects of the issuer `ours`.
    pub(super) fn by(set: &'a Set, ours: &str) -> Option<Self> {
        let Meaning::Risk { principal, .. } = &set.event.meaning else { return None };
        let named = |all: &'a [Identifier]| {
            all.iter().find_map(|it| match it {
                Identifier::Opaque(id) => Some(id.as_str()),
                _ => None,
            })
        };
        match principal.as_str() {
            USER => Some(Self::Person),
            APPLICATION => named(set.subject.part("application", &["tenant"])).map(Self::Agent),
            SESSION => {
                let session = set.subject.part("session", &["application", "tenant"]);
                let instance = session.iter().find_map(|it| match it {
                    Identifier::IssSub { iss, sub } if iss == ours => Some(sub.as_str()),
                    _ => None,
                })?;
                let agent = named(set.subject.part("application", &["session", "tenant"]));
                Some(Self::Instance(instance, agent))
            }
            _ => None,
        }
    }
}

impl Administration {
    /// What comes of it that the transmitter of a stream rates an agent or an instance at `level`: where it said
    /// so before, nothing but since when, unless somebody stops by it.
    pub(super) async fn rates(
        &self,
        reader: &mut Reader<'_>,
        taking: &Taking<'_>,
        (rated, level): (Rated<'_>, RiskLevel),
    ) -> Result<Comes, AdminError> {
        let nothing = |why| Ok(Comes::Nothing(why, Vec::new()));
        let Some((mut agent, instance)) = known(reader, rated).await? else {
            return nothing("unknown_subject");
        };
        let sponsor = reader.need::<Person>(FactKey::person(&agent.sponsor)).await;
        let sponsor = sponsor.map_err(AdminError::unavailable)?;
        let directory = &taking.stream.directory;
        if ![&agent.source, &sponsor.source].into_iter().flatten().any(|it| it == directory) {
            return nothing("unknown_subject");
        }
        let speaker = Speaker::stream(&taking.stream.name);
        let risk = Risk { level, since: taking.at().min(taking.now) };
        let known = instance.as_ref().map_or(&agent.rated, |instance| &instance.rated);
        if known.has_later(&speaker, &risk) {
            return nothing("older");
        }
        let known = known.by(&speaker).map(|known| known.level);
        let is_lower = known > Some(level);
        let mut effects = Vec::new();
        let (what, [was, is], rated) = if let Some(mut instance) = instance {
            let was = instance.risks(taking.now);
            instance.rated.say(&speaker, Some(risk.clone()));
            if !is_lower {
                effects.extend(passed_on(reader, &instance, &risk).await?);
            }
            if level == RiskLevel::High {
                effects.extend(self.at_high(reader, &mut instance, taking.now).await?);
            }
            let rated = put(FactKey::instance(instance.id), &instance);
            (RiskTarget::Instance(instance.id), [was, instance.risks(taking.now)], rated)
        } else {
            let was = agent.risks();
            agent.rated.say(&speaker, Some(risk.clone()));
            let rated = put(FactKey::agent(&agent.name), &agent);
            (RiskTarget::Agent(agent.name.clone()), [was, agent.risks()], rated)
        };
        if known == Some(level) && effects.is_empty() {
            return Ok(Comes::Nothing("rated_already", vec![rated]));
        }
        effects.push(rated);
        let change = json!({ "what": what, "rated": risk, "was": was, "is": is });
        let gives = if is_lower { Gives::Changed } else { Gives::Nothing };
        Ok(Comes::Rates(Box::new(Rates { agent, sponsor, gives, change, effects })))
    }

    /// Puts what a transmitter rates in force, as far as policy permits: what lowers a risk is decided. Says whether
    /// that is settled; if not, what it rests on changed meanwhile.
    pub(super) async fn rate(
        &self,
        reader: Reader<'_>,
        (taking, token): (&Taking<'_>, Sha256Digest),
        rates: Rates,
    ) -> Result<bool, NotTaken> {
        let Rates { agent, sponsor, gives, change, mut effects } = rates;
        let Some(purpose) = agent.purposes.first().cloned() else { return Err(NotTaken::Later) };
        effects.extend(taking.remembered(token));
        let read = reader.sourced(());
        let is_lower = gives != Gives::Nothing;
        let act = AdminAct {
            by: ChangedBy::Directory {
                name: taking.directory.name.clone(),
                person: sponsor.id.clone(),
                gives: Provisioning::of_agent(sponsor, purpose, gives),
                data_key: None,
                signal: Some(taking.reference()),
            },
            action: if is_lower { "agent/provision" } else { "agent/restrict" },
            target: ResourceRef::Agent(agent.name),
            change,
            reads: (read.keys, read.revision),
            effects,
        };
        match self.authority.administer(act).await {
            Ok(_) => Ok(true),
            Err(NotAdministered::Conflict(_)) => Ok(false),
            Err(NotAdministered::NotPermitted(NotPermitted::Denied { .. })) => {
                self.not_permitted((taking, token), gives).await
            }
            Err(error) => Err(later(error.into())),
        }
    }
}

/// The agent, and the instance, if it is one, that is `rated`.
async fn known(
    reader: &mut Reader<'_>,
    rated: Rated<'_>,
) -> Result<Option<(Agent, Option<Instance>)>, AdminError> {
    let (name, instance) = match rated {
        // A person is rated as one.
        Rated::Person => return Ok(None),
        Rated::Agent(name) => (name.parse::<AgentName>().ok(), None),
        Rated::Instance(id, named) => {
            let Ok(id) = id.parse() else { return Ok(None) };
            let instance = found::<Instance>(reader, FactKey::instance(id)).await?;
            let is_named = |it: &Instance| named.is_none_or(|name| name == it.agent.as_str());
            let instance = instance.filter(is_named);
            (instance.as_ref().map(|it| it.agent.clone()), instance)
        }
    };
    let Some(name) = name else { return Ok(None) };
    let agent = found::<Agent>(reader, FactKey::agent(&name)).await?;
    Ok(agent.map(|agent| (agent, instance)))
}
