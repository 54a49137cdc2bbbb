//! The way back to a client: what it is told takes room until the client has taken it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use authority::Refused;
use bytes::{Bytes, BytesMut};
use model::{DecisionId, ServerName};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::authenticate::Caller;
use crate::intake::{ARRIVING_MAX, Intake, LISTS_MAX};
use crate::pieces::Tell;
use crate::recorder::{Loss, Recorder};
use crate::room::{Kept, Room, Whose};
use crate::shares::{Full, Open};
use crate::upstream::MESSAGES_WAITING_MAX;

/// The most bytes at once that are on their way to clients: one subject of an agent has room for four
/// of the largest answers.
const ANSWERS_MAX: usize = 512 << 20;

/// The most bytes at once of what servers say before they answer: one subject of an agent has room for
/// two of the largest messages.
const MESSAGES_MAX: usize = 256 << 20;

/// Room for what servers say as it arrives, and for what is on its way to clients. What they list, and what
/// they say before they answer, have their own, so that no server takes another one's answers.
/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rooms {
    pub(crate) arriving: Room,
    pub(crate) lists: Room,
    answers: Room,
    messages: Room,
}

impl Default for Rooms {
    fn default() -> Self {
        let [arriving, lists, answers, messages] =
            [ARRIVING_MAX, LISTS_MAX, ANSWERS_MAX, MESSAGES_MAX].map(Room::new);
        Self { arriving, lists, answers, messages }
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
    who: Refused,
    /// By which it was permitted, once it is.
    decision: OnceLock<DecisionId>,
    /// That it counts among its agent's.
    _counted: Open,
}

impl fmt::Debug for WayBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WayBack").finish_non_exhaustive()
    }
}

impl WayBack {
    /// The way back to `caller`, whose request to `server` counts as long as `counted` is there.
    pub(crate) fn new(
        (rooms, recorder): (&Rooms, &Recorder),
        (caller, server): (&Caller, &ServerName),
        counted: Open,
    ) -> Self {
        let whose = Whose::of_server(&caller.agent, &caller.subject(), server);
        let who = caller.who();
        let (rooms, recorder) = (rooms.clone(), recorder.clone());
        let decision = OnceLock::new();
        Self(Arc::new(Inner { rooms, whose, recorder, who, decision, _counted: counted }))
    }

    /// What is lost from now on is told of as what `decision` permitted.
    pub(crate) fn permitted_by(&self, decision: DecisionId) {
        // It is one call's: that is permitted once.
        let _ = self.0.decision.set(decision);
    }

    /// Keeps an answer until the client takes it. None if there is no room. That is recorded, and so it
    /// is, at once, if it makes room for others.
    pub fn keep(&self, answer: Bytes) -> Option<Kept> {
        let kept = self.0.rooms.answers.keep(self.0.whose.clone(), BytesMut::from(answer));
        telling(kept, self.tell(Loss::Answer, None))
    }

    /// Keeps a message in the same way. Others make room for it if it asks something.
    fn keep_message(&self, message: Bytes, asks: Option<&Lost>) -> Option<Kept> {
        telling(self.message(message, asks), self.tell(Loss::Message, asks))
    }

    /// Keeps a message that is being told, in the same way. It makes no room for others: whoever loses
    /// the rest of one loses the connection, and with it what another server answers.
    pub fn keep_told(&self, message: Bytes, asks: Option<&Lost>) -> Option<Kept> {
        let kept = self.message(message, asks).ok().filter(Kept::hold);
        if kept.is_none() {
            self.tell(Loss::Message, asks)();
        }
        kept
    }

    fn message(&self, message: Bytes, asks: Option<&Lost>) -> Result<Kept, Full> {
        let (whose, message) = (self.0.whose.clone(), BytesMut::from(message));
        match asks {
            Some(_) => self.0.rooms.messages.keep(whose, message),
            None => self.0.rooms.messages.keep_beside(whose, message),
        }
    }

    /// Where what a server says on account of the request has room.
    pub(crate) fn intake(&self) -> Intake {
        let Inner { rooms, whose, recorder, who, .. } = self.0.as_ref();
        Intake::new(&rooms.arriving, recorder, (whose.clone(), who.clone()))
    }

    /// Tells that something is lost: the record, and who waits for what it asks.
    fn tell(&self, loss: Loss, asks: Option<&Lost>) -> Tell {
        let Inner { recorder, who, decision, .. } = self.0.as_ref();
        let (recorder, who, decision) = (recorder.clone(), who.clone(), decision.get().copied());
        let asks = asks.cloned();
        Box::new(move || {
            recorder.lose(loss, who, decision);
            if let Some(asks) = asks {
                asks.cancel();
            }
        })
    }

    /// Records that the caller was refused for `cause`.
    pub(crate) fn refuse(&self, cause: &'static str) {
        self.0.recorder.refuse(cause, self.0.who.clone());
    }
}

/// What is kept, which has `tell` tell it if it makes room for others. None, once that is told, if there
/// is no room.
fn telling(kept: Result<Kept, Full>, tell: Tell) -> Option<Kept> {
    let Ok(kept) = kept else {
        tell();
        return None;
    };
    kept.telling(tell);
    Some(kept)
}

/// Cancelled if the client loses what it is asked: then nobody will answer it.
pub type Lost = CancellationToken;

/// A message for the client. A channel keeps room for 32 of them as long as it is there: boxed, they
/// take less of it.
pub(crate) type Message = Box<Saying>;

/// What the client is told before the answer.
pub(crate) struct Saying {
    pub(crate) kept: Kept,
    /// Where it asks something.
    pub(crate) asks: Option<Lost>,
}

/// Where a call says something to its client before it is answered.
#[derive(Clone)]
pub(crate) struct Messages {
    to: mpsc::Sender<Message>,
    way_back: WayBack,
    /// Told once something is said.
    said: Arc<Notify>,
}

impl Messages {
    /// Messages on `way_back`, and where they arrive.
    pub(crate) fn new(way_back: WayBack) -> (Self, mpsc::Receiver<Message>) {
        let (to, heard) = mpsc::channel(MESSAGES_WAITING_MAX);
        (Self { to, way_back, said: Arc::default() }, heard)
    }

    /// Waits until something is said: from then on the call is answered by a stream. For one who waits.
    pub(crate) async fn streams(&self) {
        self.said.notified().await;
    }

    /// Asks `message` once there is a place for it. None if nobody will hear it; otherwise what tells
    /// that it was lost.
    pub(crate) async fn ask(&self, message: Bytes) -> Option<Lost> {
        let lost = Lost::new();
        let kept = self.way_back.keep_message(message, Some(&lost))?;
        let place = lost.run_until_cancelled(self.to.reserve()).await?.ok()?;
        self.say(place, Saying { kept, asks: Some(lost.clone()) });
        Some(lost)
    }

    /// Says `message`, which is lost if as many wait as may wait, or as much.
    pub(crate) fn try_say(&self, message: Bytes) {
        let Ok(place) = self.to.try_reserve() else { return };
        if let Some(kept) = self.way_back.keep_message(message, None) {
            self.say(place, Saying { kept, asks: None });
        }
    }

    fn say(&self, place: mpsc::Permit<'_, Message>, saying: Saying) {
        place.send(Box::new(saying));
        self.said.notify_one();
    }
}
