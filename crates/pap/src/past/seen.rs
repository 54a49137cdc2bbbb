//! When what acted at a time had last been seen by then, and until when its tokens were good: by the records of the log.
//!
//! INVARIANT: by a log that lacks a record nothing is told
//! (`r_23_by_a_log_that_lacks_a_record_nobody_is_told_when_an_instance_was_seen`).

use std::collections::BTreeMap;

use authority::LogEntry;
use model::record::{DecisionRecord, IssuanceRecord};
use model::{Agent, InstanceId, PersonId, ResourceRef, Timestamp};
use serde_json::{Value, json};

use super::{INSTANCES_MAX, Moment, id_of};
use crate::command::{AdminError, Administration};
use crate::walk::{Underway, Walk, Walked, lacking};

/// How far each administrator has come with looking.
pub(crate) type Lookings = Underway<Looking>;

/// What the records tell of one instance.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// When it last asked for something, permitted or not.
    asked: Option<Timestamp>,
    /// When the last of its tokens ends.
    token_until: Option<Timestamp>,
}

/// Instances that are looked for in the records up to a time.
#[derive(Debug)]
pub(crate) struct Looking {
    at: Timestamp,
    walk: Walk,
    seen: BTreeMap<InstanceId, Seen>,
    /// The record that the log lacks, if it does.
    lacks: Option<u64>,
}

/// What came of looking.
pub(super) enum Look {
    /// The log is looked through.
    Through(Looking),
    /// How far it is: whoever waits asks again.
    SoFar(Value),
}

impl Administration {
    /// Looks through the next part of the log for what acted at `moment`.
    pub(super) async fn look(&self, by: &PersonId, moment: Moment) -> Result<Look, AdminError> {
        // That the administrator may is asked for each part, and recorded once the register is told.
        self.draft(by, "log/read", ResourceRef::Deployment).await?;
        let known = self.looking.take(by, |it| it.at == moment.at);
        let mut looking =
            if let Some(known) = known { known } else { self.looking_at(moment).await? };
        // Nobody is looked for where nobody acted.
        if looking.lacks.is_some() || looking.seen.is_empty() {
            return Ok(Look::Through(looking));
        }
        let Looking { at, walk, seen, .. } = &mut looking;
        let walked = walk.part(self, |entry| note(entry, seen, *at)).await?;
        match walked {
            Walked::All => {}
            Walked::Lacks(record) => looking.lacks = Some(record),
            Walked::SoFar(told) => {
                self.looking.keep(by, looking);
                return Ok(Look::SoFar(told));
            }
        }
        Ok(Look::Through(looking))
    }

    /// Begins to look for the instances that are shown of `moment`.
    async fn looking_at(&self, moment: Moment) -> Result<Looking, AdminError> {
        let agents: Vec<Agent> = self.facts_at("agent/", moment).await?;
        let working = self.working(&agents, moment).await?;
        let shown = working.values().flat_map(|all| all.iter().take(INSTANCES_MAX));
        let seen = shown.map(|instance| id_of(instance).map(|id| (id, Seen::default())));
        let seen = seen.collect::<Result<BTreeMap<_, _>, AdminError>>()?;
        Ok(Looking { at: moment.at, walk: Walk::default(), seen, lacks: None })
    }
}

impl Looking {
    /// Says of `instances` what the records tell: nothing, where one is lacking.
    pub(super) fn tell(&self, instances: &mut [Value]) -> Result<(), AdminError> {
        for instance in instances {
            let known = self.seen.get(&id_of(instance)?).filter(|_| self.lacks.is_none());
            let asked = known.and_then(|seen| seen.asked);
            let by = match (known, asked) {
                (None, _) => "unknown",
                (Some(_), None) => "none",
                (Some(_), Some(_)) => "decision",
            };
            let text = |at: Option<Timestamp>| json!(at.map(|at| at.to_string()));
            instance["last_seen"] = text(asked);
            instance["last_seen_by"] = by.into();
            instance["token_until"] = text(known.and_then(|seen| seen.token_until));
        }
        Ok(())
    }

    /// Why nobody can tell when an instance was seen, if nobody can.
    pub(super) fn unseen(&self) -> Option<String> {
        self.lacks.map(lacking)
    }
}

/// Notes what `entry` says of those who are looked for, unless it is of later than `at`. Which came first is said by their
/// times: the clock may have been set back.
fn note(entry: &LogEntry, seen: &mut BTreeMap<InstanceId, Seen>, at: Timestamp) {
    if let Ok(record) = serde_json::from_slice::<DecisionRecord>(&entry.bytes) {
        if let Some(seen) = seen.get_mut(&record.instance).filter(|_| record.time <= at) {
            seen.asked = seen.asked.max(Some(record.time));
        }
    } else if let Ok(record) = serde_json::from_slice::<IssuanceRecord>(&entry.bytes)
        && let Some(seen) = seen.get_mut(&record.instance).filter(|_| record.time <= at)
    {
        seen.token_until = seen.token_until.max(Some(record.expires));
    }
}
