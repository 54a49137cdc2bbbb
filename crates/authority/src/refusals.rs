//! Refusals before a decision: recorded in the same log, without arguments and without waiting.
//!
//! Whoever refuses has a [`RefusalLog`] of its own. At most [`REFUSALS_PER_SECOND_MAX`] are written one
//! by one in a second; of what is beyond, one record for each point and cause says how many.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::record::{RefusalRecord, SystemRecord, VERSION};
use model::{AgentName, Entropy, InstanceId, MandateDigest, RecordId, Timestamp};
use store::{NewEntry, Unit, Urgency};

use crate::Authority;
use crate::outcomes::Queued;

/// The most refusal records a second; beyond it one record stands for many.
pub const REFUSALS_PER_SECOND_MAX: u64 = 100;

/// The most refusals on their way into the log; beyond that they are counted only.
pub(crate) const REFUSALS_WAITING_MAX: usize = 1_024;

/// How long refusals that are counted only wait for company.
pub(crate) const FOLDED_FOR: Duration = Duration::from_secs(1);

/// Counts refusals so that a flood of them cannot fill the log. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct RefusalLog(Arc<Mutex<Window>>);

#[derive(Debug, Default)]
struct Window {
    second: Option<u64>,
    written: u64,
    /// What was not written one by one, by point and cause.
    folded: BTreeMap<(&'static str, &'static str), u64>,
}

/// Where something was refused, and why, as stable codes.
pub type PointAndCause = (&'static str, &'static str);

/// Who was refused, as far as they were authenticated, and what else is to be seen.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    /// The agent.
    pub agent: Option<AgentName>,
    /// The instance.
    pub instance: Option<InstanceId>,
    /// The mandate that its token names.
    pub mandate: Option<MandateDigest>,
    /// What an administrator should see besides, as a record of its own: nothing personal.
    pub details: Option<BTreeMap<String, String>>,
}

/// When a record is made, and the source of its id.
pub type Stamp<'a> = (Timestamp, &'a dyn Entropy);

impl RefusalLog {
    /// Whether a refusal is to be written by itself; otherwise it is counted.
    fn counts(&self, authority: &Authority, place: PointAndCause) -> bool {
        let second = authority.clock.monotonic().as_secs();
        let mut window = self.0.lock().expect("no panic while it is held");
        if window.second != Some(second) {
            window.second = Some(second);
            window.written = 0;
        }
        if window.written < REFUSALS_PER_SECOND_MAX {
            window.written += 1;
            return true;
        }
        fold(&mut window, authority, self, place);
        false
    }

    /// The record of what was counted and not written, if anything was.
    pub(crate) fn unfold(&self, stamp: Stamp<'_>) -> Option<Unit> {
        let folded = {
            let mut window = self.0.lock().expect("no panic while it is held");
            std::mem::take(&mut window.folded)
        };
        let entries: Vec<_> = folded
            .into_iter()
            .map(|(place, count)| refusal(stamp, place, Refused::default(), count))
            .collect();
        (!entries.is_empty()).then(|| unit(entries))
    }
}

/// Counts a refusal that is not written, and sees to it that the count is.
fn fold(window: &mut Window, authority: &Authority, log: &RefusalLog, place: PointAndCause) {
    if window.folded.is_empty() {
        let _ = authority.outcomes.send(Queued::Folded(log.clone()));
    }
    *window.folded.entry(place).or_default() += 1;
}

impl Authority {
    /// Records, without waiting, that a request was refused before anything could be decided: the id of the
    /// record, unless it is only counted.
    pub fn record_refusal(
        &self,
        log: &RefusalLog,
        place: PointAndCause,
        mut refused: Refused,
    ) -> Option<RecordId> {
        let Ok(waiting) = self.refusals.clone().try_acquire_owned() else {
            let mut window = log.0.lock().expect("no panic while it is held");
            fold(&mut window, self, log, place);
            return None;
        };
        if !log.counts(self, place) {
            return None;
        }
        let stamp = (self.clock.now(), self.entropy.as_ref());
        let details = refused.details.take();
        let own = refusal(stamp, place, refused, 1);
        let id = RecordId::from_bytes(own.id);
        let mut entries = vec![own];
        entries.extend(details.map(|details| event(stamp, place.1, details)));
        let _ = self.outcomes.send(Queued::Refusal(unit(entries), waiting));
        Some(id)
    }
}

/// What writes `entries`, for which nobody waits.
pub(crate) fn unit(entries: Vec<NewEntry>) -> Unit {
    Unit { entries, urgency: Urgency::Deferred, ..Unit::default() }
}

fn refusal(
    (now, entropy): Stamp<'_>,
    (point, cause): PointAndCause,
    Refused { agent, instance, mandate, .. }: Refused,
    count: u64,
) -> NewEntry {
    let record = RefusalRecord {
        agent,
        cause: cause.to_owned(),
        count,
        id: RecordId::new(now, entropy),
        instance,
        kind: "refusal".to_owned(),
        mandate,
        point: point.to_owned(),
        time: now,
        v: VERSION,
    };
    journal::entry(*record.id.as_bytes(), &record, None)
}

/// The record of something that the service itself found.
pub fn event(
    (now, entropy): Stamp<'_>,
    event: &str,
    details: BTreeMap<String, String>,
) -> NewEntry {
    let record = SystemRecord {
        details,
        event: event.to_owned(),
        id: RecordId::new(now, entropy),
        kind: "system".to_owned(),
        time: now,
        v: VERSION,
    };
    journal::entry(*record.id.as_bytes(), &record, None)
}
