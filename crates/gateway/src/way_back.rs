//! The way back to a client: what it is told takes room until the client has taken it.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use crate::authenticate::Caller;
use crate::recorder::{Recorder, Who};
use crate::room::{Kept, Room, Whose};
use crate::shares::Open;
use crate::upstream::MESSAGES_WAITING_MAX;

/// The most bytes at once that are on their way to clients: one subject of an agent has room for four
/// of the largest answers.
pub(crate) const ANSWERS_MAX: usize = 512 << 20;

/// What is recorded where a client loses an answer or a message, as too little is taken of others.
const LOST: &str = "answers";

/// The way back to the client of one request, which is under way as long as this is there. Cheap to
/// clone.
#[derive(Clone)]
pub struct WayBack(Arc<Inner>);

struct Inner {
    room: Room,
    whose: Arc<[Whose]>,
    recorder: Recorder,
    who: Who,
    /// That it counts among its agent's.
    _counted: Open,
}

impl fmt::Debug for WayBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WayBack").finish_non_exhaustive()
    }
}

impl WayBack {
    /// The way back to `caller`, whose request counts as long as `counted` is there.
    pub(crate) fn new(
        (room, recorder): (&Room, &Recorder),
        caller: &Caller,
        counted: Open,
    ) -> Self {
        let whose = Whose::of_agent(&caller.agent, &caller.subject());
        let who = Some((caller.agent.clone(), caller.instance));
        let (room, recorder) = (room.clone(), recorder.clone());
        Self(Arc::new(Inner { room, whose, recorder, who, _counted: counted }))
    }

    /// Keeps `bytes` until the client takes them. None if there is no room, which is recorded.
    pub fn keep(&self, bytes: Bytes) -> Option<Kept> {
        let kept = self.0.room.keep(self.0.whose.clone(), BytesMut::from(bytes));
        kept.inspect_err(|_| self.lost()).ok()
    }

    /// Records that what was kept made room for others.
    pub fn lost(&self) {
        self.refuse(LOST);
    }

    /// Records that the caller was refused for `cause`.
    pub(crate) fn refuse(&self, cause: &'static str) {
        self.0.recorder.refuse(cause, self.0.who.clone());
    }
}

/// A message for the client. A channel keeps room for 32 of them as long as it is there: boxed, they
/// take a half of it.
pub(crate) type Message = Box<Kept>;

/// Where a call says something to its client before it is answered.
#[derive(Clone)]
pub(crate) struct Messages {
    to: mpsc::Sender<Message>,
    way_back: WayBack,
}

impl Messages {
    /// Messages on `way_back`, and where they arrive.
    pub(crate) fn new(way_back: WayBack) -> (Self, mpsc::Receiver<Message>) {
        let (to, heard) = mpsc::channel(MESSAGES_WAITING_MAX);
        (Self { to, way_back }, heard)
    }

    /// Says `message` once there is a place for it. None if nobody will hear it.
    pub(crate) async fn say(&self, message: Bytes) -> Option<()> {
        let place = self.to.reserve().await.ok()?;
        place.send(Box::new(self.way_back.keep(message)?));
        Some(())
    }

    /// Says `message`, which is lost if as many wait as may wait.
    pub(crate) fn try_say(&self, message: Bytes) {
        let Ok(place) = self.to.try_reserve() else { return };
        if let Some(kept) = self.way_back.keep(message) {
            place.send(Box::new(kept));
        }
    }
}
