//! Instances that depart from what is declared of them: what they depart in is counted in the commit of each act,
//! by the counters of all limits, and the act with which it is enough raises their risk in that same commit.
//!
//! So the act itself is decided as it would be, and the next one sees it. What was raised for what is a record; it
//! is told as a finding, too.
//!
//! INVARIANT: by what it does an instance raises its own risk, and that at which later ones of its agent begin, and
//! nobody else's; and that once an hour for each kind, however often it departs (`r_48_…`).

use std::collections::BTreeSet;
use std::time::Duration;

use model::{
    Agent, DecisionId, Departed, Departure, FactKey, Instance, InstanceId, InstanceState, Standing,
    Stranger, Timestamp, ToolRef,
};
use pdp::{Strictness, Tolerance};
use serde_json::{Value, json};
use store::{Effect, NewEntry, Unit, Urgency};

use crate::quarantine::{NotStopped, again_if_changed};
use crate::{Authority, FactsError, NotPermitted, counted};

/// In which state a record says that an instance is since.
const AT_RISK: &str = "at_risk";

/// By how much sooner that of later instances may end: those of one agent that depart at once do not all write it.
const SOONER: Duration = Duration::from_hours(1);

/// What comes of an act in which an instance departs.
#[derive(Default)]
pub(crate) struct Departing {
    entries: Vec<NewEntry>,
    effects: Vec<Effect>,
    /// What that rests on.
    reads: Vec<FactKey>,
    found: Vec<Stranger>,
}

impl Departing {
    /// Whether nothing comes of it.
    fn is_nothing(&self) -> bool {
        self.effects.is_empty()
    }

    /// Joins `unit`, which was made as of when the instance was read; gives what is found once that is committed.
    pub(crate) fn join(self, unit: &mut Unit) -> Vec<Stranger> {
        unit.entries.extend(self.entries);
        unit.effects.extend(self.effects);
        let unread: Vec<_> = self.reads.into_iter().filter(|it| !unit.reads.contains(it)).collect();
        unit.reads.extend(unread);
        self.found
    }
}

/// One departure that is raised.
struct Raised {
    kind: Departure,
    /// Which one of its hour it is, counted from 1.
    number: i64,
    tolerance: Tolerance,
    /// The act, if it was decided on.
    act: Option<DecisionId>,
}

impl From<NotStopped> for NotPermitted {
    fn from(error: NotStopped) -> Self {
        match error {
            NotStopped::Facts(error) => Self::FactsUnavailable(error),
            NotStopped::Commit(error) => Self::Unrecorded(error),
        }
    }
}

impl Authority {
    /// Counts that an instance asked for `tool`, which there is not for it, as it was told, as far as that is not
    /// declared of it: by its name, by when it asked and how often, so that nobody learns whether there is one. It
    /// takes no longer than a decision; what cannot be counted is in the record of the refusal.
    pub async fn asked_for(&self, instance: InstanceId, tool: &ToolRef) {
        self.count_in_time((instance, tool), false).await;
    }

    /// The same of a tool on which was decided: when and how often it asked is counted by that already.
    pub async fn asked_for_denied(&self, instance: InstanceId, tool: &ToolRef) {
        self.count_in_time((instance, tool), true).await;
    }

    async fn count_in_time(&self, asked: (InstanceId, &ToolRef), is_decided: bool) {
        // By a clock that ran ahead it would be at risk until who knows when.
        let Ok(now) = self.trusted_now() else {
            tracing::warn!("a departure was not counted: the clock is unsure");
            return;
        };
        let counting = again_if_changed(|| Box::pin(self.count_asked(asked, (is_decided, now))));
        match tokio::time::timeout(self.limits.decision_timeout, counting).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a departure was not counted"),
            Err(_) => tracing::warn!("a departure was not counted in time"),
        }
    }

    async fn count_asked(
        &self,
        (instance, tool): (InstanceId, &ToolRef),
        (is_decided, now): (bool, Timestamp),
    ) -> Result<(), NotStopped> {
        let standing = self.pip.standing(instance).await?;
        let is_undeclared = !standing.value.declares(tool);
        let mut kinds: BTreeSet<_> = is_undeclared.then_some(Departure::Tool).into_iter().collect();
        if !is_decided {
            kinds.extend(pdp::calling_departs(&standing.value.agent, now));
        }
        if kinds.is_empty() {
            return Ok(());
        }
        let policy = self.pip.policy_as_it_is().await?;
        let of = (standing.value.as_ref(), policy.snapshot.strictness());
        let departing = self.departing(of, &kinds, (None, now)).await?;
        if departing.is_nothing() {
            return Ok(());
        }
        let (revision, urgency) = (standing.revision, Urgency::Awaited);
        let mut unit = Unit { revision, urgency, ..Unit::default() };
        let found = departing.join(&mut unit);
        self.journal.store().commit(unit).await?;
        self.note_found(found);
        Ok(())
    }

    /// Notes who was found by what is committed now.
    pub(crate) fn note_found(&self, found: Vec<Stranger>) {
        for stranger in found {
            self.note_stranger(stranger);
        }
    }

    /// What comes of it that the instance of `standing` departs in `kinds` at `now`, by an `act` if one was decided
    /// on.
    pub(crate) async fn departing(
        &self,
        (standing, strictness): (&Standing, &Strictness),
        kinds: &BTreeSet<Departure>,
        (act, now): (Option<DecisionId>, Timestamp),
    ) -> Result<Departing, NotStopped> {
        let Standing { instance, agent, task, .. } = standing;
        let (mut departing, mut is) = (Departing::default(), instance.departed.clone());
        let kinds = counting(kinds, instance, now);
        if kinds.is_empty() {
            return Ok(departing);
        }
        let counter = |kind: &Departure| counted::departure(instance.id, *kind, now);
        let counters: Vec<_> = kinds.iter().map(counter).collect();
        let before = self.journal.store().counters(&counters).await.map_err(FactsError::from)?;
        for ((kind, counter), before) in kinds.into_iter().zip(counters).zip(before) {
            departing.effects.push(counted::one(counter, None));
            let tolerance = strictness.tolerance(kind, &agent.name);
            let raised = Raised { kind, number: before + 1, tolerance, act };
            if !raised.is_enough(agent) {
                continue;
            }
            let until = now.plus(tolerance.lasts);
            let departed = Departed::raise(is, (kind, tolerance.level), (now, until));
            let seen = raised.seen(agent, &departed);
            let signal = (kind.signal(), AT_RISK);
            let who = (agent, instance.id, Some(task.mandate_digest));
            let (_, entry) = self.signalled(who, signal, &seen).await?;
            departing.entries.push(entry);
            departing.found.push(stranger(instance, kind));
            is = Some(departed);
        }
        if let Some(departed) = is.filter(|_| !departing.entries.is_empty()) {
            departing.effects.extend(of_new(agent, &departed, now));
            let (instance, key) = (instance.clone(), FactKey::instance(instance.id));
            let raised = Instance { departed: Some(departed), ..instance };
            let body = json::canonical_of(&raised);
            departing.effects.push(Effect::Put { key: key.clone(), body });
            departing.reads.extend([key, FactKey::agent(&agent.name)]);
        }
        Ok(departing)
    }
}

impl Raised {
    /// Whether it is more than is let pass.
    fn is_enough(&self, agent: &Agent) -> bool {
        let declared = match self.kind {
            Departure::Rate => agent.declared.calls_an_hour.map_or(0, i64::from),
            Departure::Data | Departure::Time | Departure::Tool => 0,
        };
        self.number.saturating_sub(declared) >= i64::from(self.tolerance.after)
    }

    /// What the record of it tells: what follows is reckoned again from that.
    fn seen(&self, agent: &Agent, departed: &Departed) -> Vec<(&'static str, Value)> {
        let declared = match self.kind {
            Departure::Rate => agent.declared.calls_an_hour.map(|most| json!(most)),
            Departure::Time => agent.declared.hours.map(|hours| json!(hours)),
            Departure::Data | Departure::Tool => None,
        };
        let seen = [
            ("after", Some(json!(self.tolerance.after))),
            ("act", self.act.map(|act| json!(act))),
            ("declared", declared),
            ("level", Some(json!(departed.level))),
            ("number", Some(json!(self.number))),
            ("until", Some(json!(departed.until))),
        ];
        seen.into_iter().filter_map(|(member, value)| Some((member, value?))).collect()
    }
}

/// Of `kinds`, those that are counted of `instance` at `now`: none for which it is raised in this hour, so that a
/// flood costs no more than what it is made of; and none once it is stopped, when whoever has what it had would put
/// those at risk that begin after it.
fn counting(kinds: &BTreeSet<Departure>, instance: &Instance, now: Timestamp) -> Vec<Departure> {
    let is_raised = |kind: Departure| {
        instance.departed.as_ref().is_some_and(|departed| departed.is_raised(kind, now))
    };
    let is_stopped = instance.state != InstanceState::Active;
    kinds.iter().copied().filter(|kind| !is_stopped && !is_raised(*kind)).collect()
}

/// What makes those of `agent` that begin later begin at the same risk, unless they would at about that already.
fn of_new(agent: &Agent, departed: &Departed, now: Timestamp) -> Option<Effect> {
    let known = agent.departed.as_ref();
    let departed = departed.of_new(known, now);
    let is_as_much = |known: &Departed| {
        known.level_at(now) == Some(departed.level) && known.until.plus(SOONER) >= departed.until
    };
    if known.is_some_and(is_as_much) {
        return None;
    }
    let agent = Agent { departed: Some(departed), ..agent.clone() };
    Some(Effect::Put { key: FactKey::agent(&agent.name), body: json::canonical_of(&agent) })
}

/// Who is found by it.
fn stranger(instance: &Instance, kind: Departure) -> Stranger {
    Stranger {
        cause: kind.signal().to_owned(),
        tried: "call".to_owned(),
        proven: Some(instance.agent.clone()),
        holder: Some(instance.id.to_string()),
        ..Stranger::default()
    }
}
