//! Puts checkpoints out of our own reach: into files that others keep, and to URLs.
//!
//! Each anchor gets every checkpoint as it is made and, while there is none, the newest again each
//! minute, so that its silence is noticed. One that is slow or down gets the newest when it is
//! back: a checkpoint commits to all before it. Nothing waits for an anchor; one that was not
//! reached for five minutes is an alarm.

mod place;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::Clock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Anchor;
use place::Place;

/// How long an anchor may go without a checkpoint.
const AT_LEAST_EVERY: Duration = Duration::from_mins(1);

/// How long an anchor may be out of reach before it is an alarm.
const ALARM_AFTER: Duration = Duration::from_mins(5);

/// The first pause after an attempt that failed; each next one is twice as long.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// The longest pause after an attempt that failed.
const RETRY_MAX: Duration = Duration::from_mins(1);

/// The newest checkpoint, a signed note; none before the first.
pub(crate) type Newest = watch::Receiver<Option<Arc<[u8]>>>;

/// Which anchors are out of reach.
#[derive(Debug, Default)]
pub(crate) struct AnchorAlarms(Vec<Arc<AtomicBool>>);

impl AnchorAlarms {
    /// One for each of `anchors`, none of them alarmed.
    pub(crate) fn of(anchors: &[Anchor]) -> Self {
        Self(anchors.iter().map(|_| Arc::default()).collect())
    }

    /// What is wrong, one line each. An anchor is named by its place in the configuration.
    pub(crate) fn troubles(&self) -> impl Iterator<Item = String> {
        let down = self.0.iter().enumerate().filter(|(_, down)| down.load(Ordering::Relaxed));
        let minutes = ALARM_AFTER.as_secs() / 60;
        down.map(move |(place, _)| {
            format!("`log.anchors[{place}]` has not taken a checkpoint for {minutes} minutes")
        })
    }

    /// The metrics, in the text format of Prometheus; empty without anchors.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        for (place, down) in self.0.iter().enumerate() {
            if place == 0 {
                text.push_str("# TYPE chancery_anchor_down gauge\n");
            }
            let value = u8::from(down.load(Ordering::Relaxed));
            let _ = writeln!(text, "chancery_anchor_down{{anchor=\"{place}\"}} {value}");
        }
        text
    }
}

/// Starts one task for each of `anchors`; they end after `stop`.
pub(crate) fn start(
    anchors: &[Anchor],
    alarms: &AnchorAlarms,
    (newest, clock): (&Newest, &Arc<dyn Clock>),
    stop: &CancellationToken,
) -> anyhow::Result<TaskTracker> {
    let tasks = TaskTracker::new();
    for (number, (anchor, alarm)) in anchors.iter().zip(&alarms.0).enumerate() {
        let place = Place::of(anchor)?;
        if place.is_ours() {
            tracing::warn!("`log.anchors[{number}]` is a file of our own: we could change it");
        }
        let keeping = Keeping {
            number,
            place,
            alarm: alarm.clone(),
            schedule: Schedule::begin(clock.monotonic()),
            newest: newest.clone(),
            clock: clock.clone(),
        };
        tasks.spawn(keeping.until(stop.clone()));
    }
    tasks.close();
    Ok(tasks)
}

/// When one anchor is tried, and when its silence is an alarm. Knows only what time it is.
#[derive(Debug)]
struct Schedule {
    reached: Duration,
    tried: Duration,
    failures: u32,
}

impl Schedule {
    const fn begin(now: Duration) -> Self {
        Self { reached: now, tried: now, failures: 0 }
    }

    /// How long to wait before the next attempt; `has_new` says that there is a checkpoint which
    /// the anchor does not have.
    fn wait(&self, now: Duration, has_new: bool) -> Duration {
        let pause = match (self.failures, has_new) {
            (0, true) => Duration::ZERO,
            (0, false) => AT_LEAST_EVERY,
            (failures, _) => {
                let doubled = RETRY_FIRST.saturating_mul(1 << (failures - 1).min(16));
                doubled.min(RETRY_MAX)
            }
        };
        (self.tried + pause).saturating_sub(now)
    }

    /// Takes note of an attempt that ended at `now`.
    const fn attempted(&mut self, now: Duration, has_reached: bool) {
        self.tried = now;
        if has_reached {
            (self.reached, self.failures) = (now, 0);
        } else {
            self.failures = self.failures.saturating_add(1);
        }
    }

    fn is_alarm(&self, now: Duration) -> bool {
        self.failures > 0 && now.saturating_sub(self.reached) >= ALARM_AFTER
    }
}

/// One anchor, kept up to date.
struct Keeping {
    number: usize,
    place: Place,
    alarm: Arc<AtomicBool>,
    schedule: Schedule,
    newest: Newest,
    clock: Arc<dyn Clock>,
}

impl Keeping {
    async fn until(mut self, stop: CancellationToken) {
        let mut kept: Option<Arc<[u8]>> = None;
        loop {
            let note = self.newest.borrow_and_update().clone();
            let has_new = note != kept;
            let wait = self.schedule.wait(self.clock.monotonic(), has_new);
            if let (Some(note), Duration::ZERO) = (&note, wait) {
                self.attempt(note, &mut kept).await;
                continue;
            }
            // Before the first checkpoint there is nothing to do but to wait for it.
            let wait = if note.is_none() { AT_LEAST_EVERY } else { wait };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
                changed = self.newest.changed() => if changed.is_err() { break },
            }
        }
        // What was made last before the end, once.
        let note = self.newest.borrow_and_update().clone();
        if let Some(note) = note.filter(|note| kept.as_ref() != Some(note)) {
            self.attempt(&note, &mut kept).await;
        }
    }

    async fn attempt(&mut self, note: &Arc<[u8]>, kept: &mut Option<Arc<[u8]>>) {
        let attempt = self.place.keep(note).await;
        let now = self.clock.monotonic();
        self.schedule.attempted(now, attempt.is_ok());
        self.alarm.store(self.schedule.is_alarm(now), Ordering::Relaxed);
        match attempt {
            Ok(()) => *kept = Some(note.clone()),
            Err(error) => {
                tracing::warn!(
                    "`log.anchors[{}]` did not take a checkpoint: {error:#}",
                    self.number
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
