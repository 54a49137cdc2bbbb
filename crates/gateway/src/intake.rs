//! Room for what servers say, as it arrives and until it is read.

use std::sync::Arc;

use authority::Refused;
use bytes::{Bytes, BytesMut};
use tokio_util::sync::CancellationToken;

use crate::recorder::Recorder;
use crate::room::{Kept, Room, Whose};

/// The most bytes at once that arrive from servers: one subject of an agent has room for four of the
/// largest messages.
pub(crate) const ARRIVING_MAX: usize = 512 << 20;

/// The most bytes at once of lists that are read, page by page, and compared.
pub(crate) const LISTS_MAX: usize = 512 << 20;

/// What is recorded where a message of a server is given up, as too much else arrives.
const GIVEN_UP: &str = "arriving";

/// Where what a server says on account of somebody has room. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Intake {
    room: Room,
    whose: Arc<[Whose]>,
    /// Records that a message was given up.
    tell: Arc<dyn Fn() + Send + Sync>,
}

/// A message that is arriving, and the room that it takes.
pub(crate) struct Arriving {
    kept: Kept,
    given_up: CancellationToken,
}

impl Intake {
    /// Room in `room` for what is said on account of `who`, who are `whose`.
    pub(crate) fn new(
        room: &Room,
        recorder: &Recorder,
        (whose, who): (Arc<[Whose]>, Refused),
    ) -> Self {
        let recorder = recorder.clone();
        let tell = Arc::new(move || {
            recorder.refuse(GIVEN_UP, who.clone());
        });
        Self { room: room.clone(), whose, tell }
    }

    /// Keeps `message`, which has arrived, until it is read. None if there is no room.
    pub(crate) fn keep(&self, message: Bytes) -> Option<Kept> {
        let kept = self.room.keep(self.whose.clone(), BytesMut::from(message));
        let kept = kept.inspect_err(|_| (self.tell)()).ok()?;
        let tell = self.tell.clone();
        kept.telling(Box::new(move || tell()));
        Some(kept)
    }

    /// A message of which `bytes` bytes have arrived, which somebody else holds. None if there is no
    /// room.
    fn begin(&self, bytes: usize) -> Option<Arriving> {
        let kept = self.room.keep(self.whose.clone(), BytesMut::new());
        let kept = kept.inspect_err(|_| (self.tell)()).ok()?;
        let (given_up, tell) = (CancellationToken::new(), self.tell.clone());
        let cancels = given_up.clone();
        kept.telling(Box::new(move || {
            tell();
            cancels.cancel();
        }));
        let arriving = Arriving { kept, given_up };
        self.goes_on(&arriving, bytes).then_some(arriving)
    }

    /// Whether there is room for `arriving`, begun or not, now that `bytes` bytes of it are there.
    pub(crate) fn has_room(&self, arriving: &mut Option<Arriving>, bytes: usize) -> bool {
        if let Some(arriving) = arriving {
            return self.goes_on(arriving, bytes);
        }
        *arriving = self.begin(bytes);
        arriving.is_some()
    }

    /// Whether there is room for `arriving` now that `bytes` bytes of it are there.
    fn goes_on(&self, arriving: &Arriving, bytes: usize) -> bool {
        let fits = arriving.kept.fit(bytes);
        // Who made room for others is told of already.
        if fits.is_err() && !arriving.given_up.is_cancelled() {
            (self.tell)();
        }
        fits.is_ok()
    }
}

impl Arriving {
    /// Has it keep its room until it is dropped; false if it has to be given up.
    pub(crate) fn is_whole(&self) -> bool {
        self.kept.whole().is_some()
    }
}

/// Returns once `arriving` has to be given up, which nothing has not.
pub(crate) async fn given_up(arriving: Option<&Arriving>) {
    match arriving {
        Some(arriving) => arriving.given_up.cancelled().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::shares::Subject;

    /// An agent's subject, which has 64 KiB, and how often it was told.
    fn intake() -> (Intake, Arc<AtomicUsize>) {
        let agent = "bot".parse().expect("a name");
        let whose = Whose::of_agent(&agent, &Subject::Person("ann".to_owned()));
        let told = Arc::new(AtomicUsize::new(0));
        let counted = told.clone();
        let tell = Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        (Intake { room: Room::new(1 << 20), whose, tell }, told)
    }

    #[test]
    fn what_arrives_has_room_up_to_its_part_and_is_given_up_beyond() {
        let (intake, told) = intake();
        let arriving = intake.begin(1).expect("room");
        assert!(intake.goes_on(&arriving, 64 << 10));
        assert_eq!(told.load(Ordering::Relaxed), 0);
        assert!(!intake.goes_on(&arriving, (64 << 10) + 1));
        assert_eq!(told.load(Ordering::Relaxed), 1);
        drop(arriving);
        assert!(intake.begin((64 << 10) + 1).is_none() && intake.begin(64 << 10).is_some());
        let of = |bytes| intake.keep(Bytes::from(vec![b' '; bytes])).is_some();
        assert!(of(64 << 10) && !of((64 << 10) + 1));
        assert_eq!(told.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn the_message_that_arrives_the_longest_is_given_up_at_once() {
        let (intake, told) = intake();
        let slow = intake.begin(40 << 10).expect("room");
        let next = intake.begin(24 << 10).expect("room");
        let kept = intake.keep(Bytes::from_static(b"{}")).expect("the oldest makes room");
        given_up(Some(&slow)).await;
        assert!(!intake.goes_on(&slow, 1) && intake.goes_on(&next, 24 << 10));
        assert!(kept.whole().is_some());
        assert_eq!(told.load(Ordering::Relaxed), 1, "it is told once");
    }
}
