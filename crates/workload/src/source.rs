//! The keys of one issuer: fetched now and then, and when a token names one that is not known.
//!
//! INVARIANT: tokens make an issuer be asked at most once in [`FETCH_EVERY`], however many come, and
//! keys that were last seen longer ago than their bound verify nothing, by whichever clock that is
//! longer: one stands still while the machine is suspended, the other can be set back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use model::{Clock, Timestamp};
use oauth::jwks::{KeySet, PublicKey};
use outbound::Fetcher;
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::{RefreshError, VerifyError};
use crate::origin::Origin;
use crate::workload_api::Subscription;

/// How far apart an issuer is asked at least.
pub(crate) const FETCH_EVERY: Duration = Duration::from_secs(10);

/// How far apart it is asked without need, so that a key that is gone is forgotten.
pub(crate) const REFRESH_EVERY: Duration = Duration::from_mins(5);

/// How long to wait after the Workload API went away, at first and at most.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);
const RECONNECT_AFTER_MAX: Duration = Duration::from_mins(1);

/// What a source needs of the world.
pub(crate) struct World {
    pub(crate) fetcher: Fetcher,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tasks: TaskTracker,
    /// For how long keys are used after they were last seen.
    pub(crate) keys_last: Duration,
}

/// Keys, and when they were asked for.
struct Known {
    keys: KeySet,
    /// What the issuer says of itself; null, if its keys do not come by that.
    metadata: Value,
    at: Moment,
}

/// A moment by both clocks.
#[derive(Clone, Copy)]
struct Moment {
    /// By the one that never goes back.
    monotonic: Duration,
    /// By the one on the wall.
    wall: Timestamp,
}

impl Moment {
    fn now(clock: &dyn Clock) -> Self {
        Self { monotonic: clock.monotonic(), wall: clock.now() }
    }

    /// The longer time of both that has passed since `earlier`.
    fn since(self, earlier: Self) -> Duration {
        let monotonic = self.monotonic.saturating_sub(earlier.monotonic);
        monotonic.max(self.wall.since(earlier.wall))
    }
}

/// The keys of one issuer.
pub(crate) struct Source {
    /// Who it is, for the log.
    name: String,
    origin: Origin,
    world: Arc<World>,
    known: ArcSwapOption<Known>,
    /// Whose turn it is to ask, and when the issuer was last asked.
    turn: Arc<Mutex<Option<Moment>>>,
    /// How often the issuer was asked.
    asked: AtomicU64,
}

impl Source {
    pub(crate) fn new(name: String, origin: Origin, world: Arc<World>) -> Arc<Self> {
        let (known, turn) = (ArcSwapOption::empty(), Arc::default());
        Arc::new(Self { name, origin, world, known, turn, asked: AtomicU64::new(0) })
    }

    /// The key that `kid` names. If it is not known, the issuer is asked, unless it just was.
    pub(crate) async fn key(
        self: &Arc<Self>,
        kid: Option<&str>,
    ) -> Result<Arc<PublicKey>, VerifyError> {
        let (asked, before) = (self.asked.load(Ordering::SeqCst), self.known.load_full());
        if let Ok(key) = self.known_key(kid) {
            return Ok(key);
        }
        let turn = self.turn.clone().lock_owned().await;
        // Whoever waited has what the one before fetched, and does not ask once more.
        if self.asked.load(Ordering::SeqCst) == asked {
            self.ask(turn).await;
        }
        match (self.known_key(kid), before, self.known.load_full()) {
            // Nobody has answered since: it may have a key by now that it had not.
            (Err(VerifyError::UnknownKey), Some(before), Some(after))
                if Arc::ptr_eq(&before, &after) =>
            {
                Err(VerifyError::KeyUnasked)
            }
            (found, ..) => found,
        }
    }

    /// Who it is.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What its metadata say as `member`; none, if its keys are not known.
    pub(crate) fn told(&self, member: &str) -> Option<Value> {
        self.fresh().map(|known| known.metadata[member].clone())
    }

    /// Whether it has keys that were seen within their bound.
    pub(crate) fn has_keys(&self) -> bool {
        self.fresh().is_some_and(|known| !known.keys.is_empty())
    }

    fn known_key(&self, kid: Option<&str>) -> Result<Arc<PublicKey>, VerifyError> {
        let known = self.fresh().ok_or(VerifyError::KeysUnavailable)?;
        known.keys.find(kid).cloned().ok_or(VerifyError::UnknownKey)
    }

    fn fresh(&self) -> Option<Arc<Known>> {
        let now = Moment::now(self.world.clock.as_ref());
        let is_fresh = |known: &Arc<Known>| now.since(known.at) <= self.world.keys_last;
        self.known.load_full().filter(is_fresh)
    }

    /// Asks the issuer for its keys, unless it just was asked; says whether they are known now.
    ///
    /// That is done by a task of its own: who asks may give up, and somebody who always gives up
    /// would else keep the keys from everybody.
    async fn ask(self: &Arc<Self>, mut turn: OwnedMutexGuard<Option<Moment>>) -> bool {
        let now = Moment::now(self.world.clock.as_ref());
        if turn.is_some_and(|last| now.since(last) < FETCH_EVERY) {
            return false;
        }
        let source = self.clone();
        let asking = self.world.tasks.spawn(async move {
            *turn = Some(now);
            source.asked.fetch_add(1, Ordering::SeqCst);
            let fetched = source.origin.fetch(&source.world.fetcher).await;
            source.learn(fetched.map(|(keys, metadata)| Known { keys, metadata, at: now }))
        });
        asking.await.unwrap_or(false)
    }

    /// Takes keys that were asked for. Those that are known stay if there is no answer.
    fn learn(&self, fetched: Result<Known, RefreshError>) -> bool {
        match fetched {
            Ok(known) => {
                let keys = known.keys.len();
                tracing::debug!(issuer = %self.name, keys, "keys were fetched");
                if keys == 0 {
                    tracing::warn!(issuer = %self.name, "has no keys: all its tokens are refused");
                }
                self.known.store(Some(Arc::new(known)));
                true
            }
            Err(error) => {
                // All was taken back (SPIFFE Workload API §6.2.2).
                if matches!(error, RefreshError::Refused(tonic::Code::PermissionDenied)) {
                    self.known.store(None);
                }
                let error: &dyn std::error::Error = &error;
                tracing::warn!(issuer = %self.name, error, "keys could not be fetched");
                false
            }
        }
    }

    /// Keeps the keys fresh until `stopped`.
    pub(crate) async fn keep_fresh(self: Arc<Self>, stopped: CancellationToken) {
        let keeping = async {
            match &self.origin {
                Origin::WorkloadApi(..) => self.follow().await,
                Origin::Metadata { .. } | Origin::JwksFile(_) | Origin::BundleFile(_) => {
                    self.poll().await;
                }
            }
        };
        tokio::select! {
            () = keeping => {}
            () = stopped.cancelled() => {}
        }
    }

    async fn poll(self: &Arc<Self>) {
        let mut pause = FETCH_EVERY;
        loop {
            let turn = self.turn.clone().lock_owned().await;
            if self.ask(turn).await {
                pause = FETCH_EVERY;
                tokio::time::sleep(REFRESH_EVERY).await;
            } else {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(REFRESH_EVERY);
            }
        }
    }

    /// Follows the stream of the Workload API, and connects anew when it ends.
    async fn follow(&self) {
        let mut pause = RECONNECT_AFTER;
        loop {
            match self.follow_once().await {
                Ok(()) => pause = RECONNECT_AFTER,
                Err((error, learnt)) => {
                    if learnt {
                        pause = RECONNECT_AFTER;
                    }
                    self.learn(Err(error));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RECONNECT_AFTER_MAX);
                }
            }
        }
    }

    /// Follows one stream for a while. A stream says nothing as long as nothing changes, and so does
    /// one whose other end hangs: asked anew, it has to say what there is.
    async fn follow_once(&self) -> Result<(), (RefreshError, bool)> {
        let Origin::WorkloadApi(endpoint, domain) = &self.origin else { return Ok(()) };
        let opened = Subscription::open(endpoint, domain).await;
        let mut stream = opened.map_err(|error| (error, false))?;
        let first = stream.next().await.map_err(|error| (error, false))?;
        self.learn_pushed(first).await;
        let renew = tokio::time::sleep(REFRESH_EVERY);
        tokio::pin!(renew);
        loop {
            tokio::select! {
                next = stream.wait() => match next {
                    Ok(keys) => self.learn_pushed(keys).await,
                    Err(error) => return Err((error, true)),
                },
                () = &mut renew => return Ok(()),
            }
        }
    }

    /// Takes keys that the Workload API sent of its own.
    ///
    /// In turn with those that were asked for: an answer that is older than what was sent meanwhile
    /// is taken before it, never after.
    async fn learn_pushed(&self, keys: KeySet) {
        let _turn = self.turn.lock().await;
        let at = Moment::now(self.world.clock.as_ref());
        self.learn(Ok(Known { keys, metadata: Value::Null, at }));
    }
}
