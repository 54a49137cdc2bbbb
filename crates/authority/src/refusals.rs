//! Refusals before a decision: recorded in the same log, without arguments and without waiting.

use std::collections::BTreeMap;
use std::sync::Mutex;

use model::record::{RefusalRecord, VERSION};
use model::{AgentName, InstanceId, RecordId};
use store::{Unit, Urgency};

use crate::Authority;

/// The most refusal records a second; beyond it one record stands for many.
pub const REFUSALS_PER_SECOND_MAX: u64 = 100;

/// Counts refusals so that a flood of them cannot fill the log.
#[derive(Debug, Default)]
pub struct RefusalLog(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    second: Option<u64>,
    written: u64,
    /// What was not written one by one, by point and cause.
    folded: BTreeMap<(&'static str, &'static str), u64>,
}

/// Who was refused, where they were authenticated.
type RefusedCaller = Option<(AgentName, InstanceId)>;

impl RefusalLog {
    /// Records that a request at `point` was refused for `cause`. Returns at once.
    pub fn refuse(
        &self,
        authority: &Authority,
        (point, cause): (&'static str, &'static str),
        caller: Option<(AgentName, InstanceId)>,
    ) -> Option<Unit> {
        let second = authority.clock.monotonic().as_secs();
        let mut window = self.0.lock().expect("no panic while it is held");
        let mut records = Vec::new();
        if window.second != Some(second) {
            let folded = std::mem::take(&mut window.folded);
            *window = Window { second: Some(second), ..Window::default() };
            let many = folded.into_iter().map(|((point, cause), count)| (point, cause, count));
            records.extend(many.map(|(p, c, n)| record(authority, (p, c), None, n)));
        }
        if window.written < REFUSALS_PER_SECOND_MAX {
            window.written += 1;
            records.push(record(authority, (point, cause), caller, 1));
        } else {
            *window.folded.entry((point, cause)).or_default() += 1;
        }
        let entry = |record: RefusalRecord| journal::entry(*record.id.as_bytes(), &record, None);
        let entries: Vec<_> = records.into_iter().map(entry).collect();
        (!entries.is_empty()).then(|| Unit {
            entries,
            urgency: Urgency::Deferred,
            ..Unit::default()
        })
    }
}

fn record(
    authority: &Authority,
    (point, cause): (&str, &str),
    caller: RefusedCaller,
    count: u64,
) -> RefusalRecord {
    let now = authority.clock.now();
    let (agent, instance) = caller.unzip();
    RefusalRecord {
        agent,
        cause: cause.to_owned(),
        count,
        id: RecordId::new(now, authority.entropy.as_ref()),
        instance,
        kind: "refusal".to_owned(),
        point: point.to_owned(),
        time: now,
        v: VERSION,
    }
}
