//! Offboarding, reported: every credential of a person or an agent, whether it still counts, when it
//! died and by which record, and how long anything went on under it.
//!
//! INVARIANT: what is told to be dead is refused when it is tried: it is asked of the kernel's own rules
//! ([`pdp::stands`]), never read a second time (`r_19_what_a_report_calls_dead_is_refused`). It reads,
//! and changes nothing.

mod causes;
mod effects;
mod held;
mod kinds;
mod signals;

use authority::FactsError;
use model::{AgentName, FactKey, InstanceId, PersonId, ResourceRef, Sha256Digest, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use self::effects::Effects;
use self::held::{ByInstance, Held};
pub use self::kinds::CredentialKind;
pub(crate) use self::signals::{OF_PEOPLE, has_ended, people, rated, revoked};
use self::signals::{Signal, text};
use crate::command::{AdminError, Administration};
use crate::register::known;

/// The most credentials of one report; of whoever has more nothing is told to be over.
pub const CREDENTIALS_MAX: usize = 10_000;

/// Whose credentials are reported.
#[derive(Clone, Debug)]
enum Whose {
    Person(PersonId),
    Agent(AgentName),
}

/// One credential.
#[derive(Clone, Debug, Serialize)]
struct Credential {
    kind: CredentialKind,
    /// Its id; of what must stay secret, its digest.
    id: String,
    /// The agent or the person whose it is.
    of: String,
    /// `valid`, `dead`, or `passed_on` to somebody who answers for it now.
    state: State,
    /// By which rule it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    /// What somebody has to do so that it counts no longer, where that is not what the report is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<&'static str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    died: Option<Died>,
    /// The instance by which it is used, if it is by one.
    #[serde(skip)]
    instance: Option<InstanceId>,
    /// How long after that the last effect under it came, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_effect_ms: Option<u64>,
}

/// Whether a credential counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Valid,
    Dead,
    PassedOn,
}

/// When a credential died, and by what.
#[derive(Clone, Debug, Serialize)]
struct Died {
    #[serde(rename = "died", serialize_with = "text")]
    at: Timestamp,
    /// The record that took it away; none, if its time was over.
    #[serde(rename = "by", skip_serializing_if = "Option::is_none")]
    signal: Option<Signal>,
}

impl Credential {
    fn new(kind: CredentialKind, id: impl ToString, of: impl ToString) -> Self {
        let (id, of) = (id.to_string(), of.to_string());
        let (why, needs, died, instance, last_effect_ms) = (None, None, None, None, None);
        Self { kind, id, of, state: State::Valid, why, needs, died, instance, last_effect_ms }
    }

    /// The same, of which `why` says whether it is refused, and `died` since when.
    fn is(self, why: Option<&'static str>, died: impl FnOnce() -> Option<Died>) -> Self {
        match why {
            Some(why) => Self { state: State::Dead, why: Some(why), died: died(), ..self },
            None => self,
        }
    }
}

impl Administration {
    /// Every credential of a person: what they sponsor, what was done on their behalf, what they gave; and what
    /// was done by these since a time, as when they were in somebody else's hands.
    pub(crate) async fn offboard_person(
        &self,
        by: &PersonId,
        (id, since): (&str, Option<Timestamp>),
    ) -> Result<Value, AdminError> {
        let id: PersonId = id.parse().map_err(AdminError::invalid)?;
        let target = ResourceRef::Person(id.clone());
        let mut draft = self.draft(by, "person/offboard", target).await?;
        known::<model::Person>(&mut draft.reader, FactKey::person(&id), &format!("person `{id}`"))
            .await?;
        let report = self.report(&Whose::Person(id.clone()), since).await?;
        let done = draft.make(told(&report), Vec::new()).await?;
        Ok(with(report, json!({ "person": id, "decision": done.decision })))
    }

    /// Every credential of an agent.
    pub(crate) async fn offboard_agent(
        &self,
        by: &PersonId,
        (name, since): (&str, Option<Timestamp>),
    ) -> Result<Value, AdminError> {
        let name: AgentName = name.parse().map_err(AdminError::invalid)?;
        let target = ResourceRef::Agent(name.clone());
        let mut draft = self.draft(by, "agent/offboard", target).await?;
        crate::register::registered(&mut draft.reader, &name).await?;
        let report = self.report(&Whose::Agent(name.clone()), since).await?;
        let done = draft.make(told(&report), Vec::new()).await?;
        Ok(with(report, json!({ "agent": name, "decision": done.decision })))
    }

    async fn report(&self, whose: &Whose, since: Option<Timestamp>) -> Result<Value, AdminError> {
        let _turn = self.report_turn()?;
        let signals = self.signals().await?;
        let now = self.now();
        let held = self.held(whose, &signals, now).await.map_err(unavailable)?;
        let Held { mut credentials, instances, is_all } = held;
        let effects = self.effects(&instances, (since, now)).await?;
        let Effects { of_instances, paths, tokens, acts, is_all: has_all_acts } = effects;
        credentials.extend(tokens);
        for credential in &mut credentials {
            let instance = credential.instance.filter(|_| credential.died.is_some());
            let last = instance.and_then(|instance| of_instances.get(&instance));
            credential.last_effect_ms = last.copied();
        }
        let is_all = is_all && has_all_acts && credentials.len() <= CREDENTIALS_MAX;
        credentials.truncate(CREDENTIALS_MAX);
        let count = |state| credentials.iter().filter(|it| it.state == state).count();
        let (valid, dead) = (count(State::Valid), count(State::Dead));
        let under_way: u64 = paths.values().map(|path| path.under_way).sum();
        let later: u64 = paths.values().map(|path| path.permitted_later).sum();
        let last = paths.values().filter_map(|path| path.last_effect_ms).max();
        let more = match since {
            Some(since) => json!({ "since": since.to_string(), "acts": acts }),
            None => json!({}),
        };
        let report = json!({
            "credentials": credentials,
            "paths": paths,
            "at": now.to_string(),
            "valid": valid,
            "dead": dead,
            "under_way": under_way,
            "permitted_later": later,
            "last_effect_ms": last,
            "is_all": is_all,
            "is_over": valid == 0 && under_way == 0 && later == 0 && is_all,
        });
        Ok(with(report, more))
    }
}

/// What the record of a report commits to: that it was made, and of what exactly.
fn told(report: &Value) -> Value {
    let digest = Sha256Digest::of(&json::canonical(report));
    let mut told = json!({ "report": digest });
    for member in ["valid", "dead", "under_way", "permitted_later", "last_effect_ms", "is_over"] {
        told[member] = report[member].clone();
    }
    told
}

fn with(mut report: Value, more: Value) -> Value {
    if let (Some(report), Value::Object(more)) = (report.as_object_mut(), more) {
        report.extend(more);
    }
    report
}

fn unavailable(error: FactsError) -> AdminError {
    AdminError::unavailable(error)
}

/// How it stands with an instance.
#[derive(Clone, Debug)]
struct Used {
    /// Whether it may do anything.
    counts: bool,
    /// When it died, if it did and that is known.
    died: Option<Died>,
}

/// The instances of a report.
type Instances = ByInstance<Used>;
