//! Tells people of findings and reminds them of agents, several at once: one attempt that hangs holds up no
//! other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{Clock, Finding, PersonId, Reminder, Sha256Digest};
use tokio::task::{AbortHandle, JoinSet};

/// The most attempts to tell somebody that are under way at once: of as many findings as may be open,
/// somebody is tried to be told of each within five minutes, whatever becomes of the others.
const ATTEMPTS_MAX: usize = 64;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// What a person is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A caller that is no active agent.
    UnknownAgent(Box<Finding>),
    /// What becomes of an agent, or became.
    Reminder(Reminder),
}

impl News {
    /// Names it, where `person` is told: of one name, one attempt is under way at once.
    fn id(&self, person: &PersonId) -> Sha256Digest {
        match self {
            Self::UnknownAgent(finding) => finding.id,
            Self::Reminder(reminder) => reminder.id(person),
        }
    }
}

/// Tells a person something.
#[async_trait]
pub trait Messenger: Send + Sync {
    /// Tells `person`; an error if that did not get through. It is given up when it takes too long.
    async fn tell(&self, person: &PersonId, news: &News) -> Result<(), String>;
}

/// The attempts that are under way.
pub(crate) struct Telling {
    messenger: Option<Arc<dyn Messenger>>,
    clock: Arc<dyn Clock>,
    attempts: JoinSet<Attempt>,
    /// Since when, on the monotonic clock, and what cuts it off, by what is told.
    under_way: BTreeMap<Sha256Digest, (Duration, AbortHandle)>,
}

/// An attempt that has ended.
pub(crate) struct Attempt {
    pub(crate) id: Sha256Digest,
    pub(crate) person: PersonId,
    pub(crate) news: News,
    pub(crate) result: Result<(), String>,
}

impl Telling {
    pub(crate) fn new(messenger: Option<Arc<dyn Messenger>>, clock: Arc<dyn Clock>) -> Self {
        Self { messenger, clock, attempts: JoinSet::new(), under_way: BTreeMap::new() }
    }

    /// Whether somebody can be told of one more.
    pub(crate) fn has_room(&self) -> bool {
        self.messenger.is_some() && self.under_way.len() < ATTEMPTS_MAX
    }

    /// Whether somebody is being told what `id` names.
    pub(crate) fn is_under_way(&self, id: &Sha256Digest) -> bool {
        self.under_way.contains_key(id)
    }

    /// Begins to tell `person`, if there is room.
    pub(crate) fn begin(&mut self, person: PersonId, news: News) {
        let Some(messenger) = self.messenger.clone().filter(|_| self.has_room()) else { return };
        let id = news.id(&person);
        let attempt = self.attempts.spawn(async move {
            let result = messenger.tell(&person, &news).await;
            Attempt { id, person, news, result }
        });
        self.under_way.insert(id, (self.clock.monotonic(), attempt));
    }

    /// The next attempt that ends; one that is cut off, or panicked, does not.
    pub(crate) async fn ended(&mut self) -> Attempt {
        loop {
            match self.attempts.join_next_with_id().await {
                Some(Ok((id, attempt))) => {
                    let under_way = self.under_way.get(&attempt.id);
                    if under_way.is_some_and(|(_, handle)| handle.id() == id) {
                        self.under_way.remove(&attempt.id);
                    }
                    return attempt;
                }
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Cuts off what takes too long; what it was about.
    pub(crate) fn cut_off(&mut self) -> Vec<Sha256Digest> {
        let now = self.clock.monotonic();
        let late = |since: &Duration| now.saturating_sub(*since) >= ATTEMPT;
        // Of one that has just finished, `ended` tells.
        let cut = |since: &Duration, attempt: &AbortHandle| late(since) && !attempt.is_finished();
        let cut = self.under_way.extract_if(.., |_, (since, attempt)| cut(since, attempt));
        cut.map(|(id, (_, attempt))| {
            attempt.abort();
            id
        })
        .collect()
    }
}
