//! The way back to a client: what it is told takes room until the client has taken it.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use crate::authenticate::Caller;
use crate::intake::{ARRIVING_MAX, Intake};
use crate::recorder::{Recorder, Who};
use crate::room::{Kept, Room, Whose};
use crate::shares::{Full, Open};
use crate::upstream::MESSAGES_WAITING_MAX;

/// The most bytes at once that are on their way to clients: one subject of an agent has room for four
/// of the largest answers.
const ANSWERS_MAX: usize = 512 << 20;

/// The most bytes at once of what servers say before they answer: one subject of an agent has room for
/// two of the largest messages.
const MESSAGES_MAX: usize = 256 << 20;

/// What is recorded where a client loses an answer or a message, as too little is taken of others.
const LOST: &str = "answers";

/// Room for what servers say as it arrives, and for what is on its way to clients. What servers say before they answer has its own, so that no
/// server takes another one's answers from their client. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rooms {
    pub(crate) arriving: Room,
    answers: Room,
    messages: Room,
}

impl Default for Rooms {
    fn default() -> Self {
        let [arriving, answers, messages] =
            [ARRIVING_MAX, ANSWERS_MAX, MESSAGES_MAX].map(Room::new);
        Self { arriving, answers, messages }
    }
}

/// The way back to the client of one request, which is under way as long as this is there. Cheap to
/// clone.
#[derive(Clone)]
pub struct WayBack(Arc<Inner>);

struct Inner {
    rooms: Rooms,
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
        (rooms, recorder): (&Rooms, &Recorder),
        caller: &Caller,
        counted: Open,
    ) -> Self {
        let whose = Whose::of_agent(&caller.agent, &caller.subject());
        let who = Some((caller.agent.clone(), caller.instance));
        let (rooms, recorder) = (rooms.clone(), recorder.clone());
        Self(Arc::new(Inner { rooms, whose, recorder, who, _counted: counted }))
    }

    /// Keeps an answer until the client takes it. None if there is no room. That is recorded, and so it
    /// is, at once, if it makes room for others.
    pub fn keep(&self, answer: Bytes) -> Option<Kept> {
        self.kept(self.0.rooms.answers.keep(self.0.whose.clone(), BytesMut::from(answer)))
    }

    /// Keeps a message in the same way. It drives out no other.
    pub fn keep_message(&self, message: Bytes) -> Option<Kept> {
        let message = BytesMut::from(message);
        self.kept(self.0.rooms.messages.keep_beside(self.0.whose.clone(), message))
    }

    /// Keeps a message that somebody waits for, for which others make room.
    fn keep_question(&self, message: Bytes) -> Option<Kept> {
        self.kept(self.0.rooms.messages.keep(self.0.whose.clone(), BytesMut::from(message)))
    }

    /// Where what a server says on account of the request has room.
    pub(crate) fn intake(&self) -> Intake {
        let Inner { rooms, whose, recorder, who, .. } = self.0.as_ref();
        Intake::new(&rooms.arriving, recorder, (whose.clone(), who.clone()))
    }

    fn kept(&self, kept: Result<Kept, Full>) -> Option<Kept> {
        let kept = kept.inspect_err(|_| self.refuse(LOST)).ok()?;
        let (recorder, who) = (self.0.recorder.clone(), self.0.who.clone());
        kept.telling(Box::new(move || recorder.refuse(LOST, who)));
        Some(kept)
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
        place.send(Box::new(self.way_back.keep_question(message)?));
        Some(())
    }

    /// Says `message`, which is lost if as many wait as may wait, or as much.
    pub(crate) fn try_say(&self, message: Bytes) {
        let Ok(place) = self.to.try_reserve() else { return };
        if let Some(kept) = self.way_back.keep_message(message) {
            place.send(Box::new(kept));
        }
    }
}
