//! What the provider published, kept for a while.
//!
//! A copy is fresh for ten minutes and usable for an hour: if the provider cannot be asked, or
//! answers with something that cannot be used, the last copy serves until then, and nothing after
//! it. After an answer it is not asked again for ten seconds, whatever anybody demands.

use std::sync::Arc;
use std::time::Duration;

use model::Clock;
use tokio::sync::Mutex;

/// How long a copy is taken without asking.
pub(crate) const FRESH: Duration = Duration::from_mins(10);

/// How long a copy is taken if there is no newer one.
pub(crate) const USABLE: Duration = Duration::from_hours(1);

/// The least time between an answer, or none, and the next question.
pub(crate) const PAUSE: Duration = Duration::from_secs(10);

/// One document of the provider's.
#[derive(Debug)]
pub(crate) struct Cached<T>(Mutex<Slot<T>>);

#[derive(Debug)]
struct Slot<T> {
    kept: Option<(Arc<T>, Duration)>,
    asked: Option<Duration>,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self(Mutex::new(Slot { kept: None, asked: None }))
    }
}

impl<T> Cached<T> {
    /// The copy, fetched anew by `fetch` if it is not fresh or not `fit`. `None` if it would have to
    /// be, but the provider was asked a moment ago. What comes back need not be fit.
    pub(crate) async fn get<E>(
        &self,
        clock: &dyn Clock,
        fit: impl Fn(&T) -> bool,
        fetch: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<Option<Arc<T>>, E> {
        // One asks and all others wait for what it learns.
        let mut slot = self.0.lock().await;
        let now = clock.monotonic();
        let within = |bound: Duration| {
            let young = |at: &Duration| now.saturating_sub(*at) < bound;
            slot.kept.as_ref().filter(|(_, at)| young(at)).map(|(copy, _)| Arc::clone(copy))
        };
        if let Some(copy) = within(FRESH).filter(|copy| fit(copy)) {
            return Ok(Some(copy));
        }
        let usable = within(USABLE);
        if slot.asked.is_some_and(|at| now.saturating_sub(at) < PAUSE) {
            return Ok(usable);
        }
        // Noted only once there is an answer: who hangs up in between would otherwise keep all
        // others from asking.
        let fetched = fetch().await;
        let now = clock.monotonic();
        slot.asked = Some(now);
        match (fetched, usable) {
            (Ok(new), _) => {
                let new = Arc::new(new);
                slot.kept = Some((Arc::clone(&new), now));
                Ok(Some(new))
            }
            (Err(_), Some(old)) => Ok(Some(old)),
            (Err(error), None) => Err(error),
        }
    }
}
