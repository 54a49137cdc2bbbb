//! Connections of which nobody knows yet whether they may be there: the oldest of them gives its place to
//! the next, so that whoever only connects keeps nobody out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio_util::sync::CancellationToken;

/// All such connections, each with its place, of type `P`.
#[derive(Debug)]
pub(crate) struct Strangers<P>(Arc<Mutex<All<P>>>);

#[derive(Debug)]
struct All<P> {
    begun: u64,
    /// The oldest first, with what tells that the place is gone.
    strangers: BTreeMap<u64, (P, CancellationToken)>,
    known: BTreeMap<u64, P>,
}

/// One connection, and its place until this is dropped.
#[derive(Debug)]
pub(crate) struct Stranger<P> {
    all: Strangers<P>,
    number: u64,
    given_up: CancellationToken,
}

impl<P> Clone for Strangers<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P> Strangers<P> {
    pub(crate) fn new() -> Self {
        let all = All { begun: 0, strangers: BTreeMap::new(), known: BTreeMap::new() };
        Self(Arc::new(Mutex::new(all)))
    }

    /// A connection that has `place`.
    pub(crate) fn enter(&self, place: P) -> Stranger<P> {
        let mut all = self.all();
        let (number, given_up) = (all.begun, CancellationToken::new());
        all.begun += 1;
        all.strangers.insert(number, (place, given_up.clone()));
        Stranger { all: self.clone(), number, given_up }
    }

    /// Has the oldest give up its place; false if there is none.
    pub(crate) fn give_up_one(&self) -> bool {
        let oldest = self.all().strangers.pop_first();
        oldest.is_some_and(|(_, (_place, given_up))| {
            given_up.cancel();
            true
        })
    }

    fn all(&self) -> MutexGuard<'_, All<P>> {
        self.0.lock().expect("no panic while it is held")
    }
}

impl<P> Stranger<P> {
    /// It may be there: it gives its place to nobody.
    pub(crate) fn pass(&self) {
        let mut all = self.all.all();
        if let Some((place, _)) = all.strangers.remove(&self.number) {
            all.known.insert(self.number, place);
        }
    }

    /// Returns once its place is another's.
    pub(crate) async fn given_up(&self) {
        self.given_up.cancelled().await;
    }
}

impl<P> Drop for Stranger<P> {
    fn drop(&mut self) {
        let mut all = self.all.all();
        let place = (all.strangers.remove(&self.number), all.known.remove(&self.number));
        drop(all);
        drop(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::{Full, Places};

    #[test]
    fn the_oldest_that_nobody_knows_gives_its_place_to_the_next() {
        let places = Places::<u8>::new(2, 2);
        let strangers = Strangers::new();
        let enter = || Ok::<_, Full>(strangers.enter(places.take(None)?));
        let [known, stranger] = [enter(), enter()].map(|entered| entered.expect("a place"));
        known.pass();
        assert_eq!(enter().err(), Some(Full::All));
        assert!(strangers.give_up_one());
        assert!(stranger.given_up.is_cancelled() && !known.given_up.is_cancelled());
        let next = enter().expect("its place");
        // Too late.
        stranger.pass();
        drop(stranger);
        assert_eq!(enter().err(), Some(Full::All), "its place was given once");
        next.pass();
        assert!(!strangers.give_up_one(), "all are known");
        drop(known);
        assert!(enter().is_ok());
    }
}
