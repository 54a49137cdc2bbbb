//! Each caller's share of what is limited: a flood takes from itself.
//!
//! Two things are shared out. [`Turns`] are places in which a request is authenticated and decided:
//! who alone asks may have many at once; as soon as somebody else asks too, each has one for each
//! thread, and whoever waits is served in turn, so that nobody waits behind another's queue.
//! [`Tally`] counts what lasts longer, as requests under way, and refuses what would be one too
//! many. Both refuse at once what is beyond; nothing waits without bound.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::AgentName;
use tokio::sync::oneshot;

/// The most places of one who alone asks, for each thread that serves.
const ALONE_MAX: usize = 64;

/// The most places of each while others ask too, for each thread that serves. Each place of a flood
/// is one more decision in the commit that a quiet caller waits for: with two its slowest calls take
/// half as long again.
const AMONG_OTHERS_MAX: usize = 1;

/// The most requests of one that wait for a place.
const WAITING_MAX: usize = 256;

/// How long after its last request somebody counts as asking.
const ASKING_FOR: Duration = Duration::from_secs(1);

/// Who shares: an agent whose token is known, or wherever an unknown request comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sharer {
    /// An agent. That the token is its own is not proven yet.
    Agent(AgentName),
    /// An address.
    Stranger(Option<IpAddr>),
}

/// Places in which requests are authenticated and decided. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Shared>);

struct Shared {
    threads: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sharers: HashMap<Sharer, Sharing>,
    /// Those who have somebody waiting, in the order in which they are served.
    waiting: VecDeque<Sharer>,
    /// When those who ask no more were last looked for.
    looked: Duration,
}

#[derive(Default)]
struct Sharing {
    held: usize,
    asked: Duration,
    queue: VecDeque<oneshot::Sender<Place>>,
}

/// A place. It is given back when it is dropped, if it was not before.
pub(crate) struct Place {
    turns: Turns,
    sharer: Sharer,
    is_held: AtomicBool,
}

/// Somebody has as many requests waiting as may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Turns {
    /// Places for as many threads as serve.
    pub(crate) fn new(threads: usize) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Shared { threads: threads.max(1), state }))
    }

    /// A place for `sharer`, who asks at `now` on the monotonic clock, once it is its turn.
    pub(crate) async fn enter(&self, sharer: Sharer, now: Duration) -> Result<Place, Full> {
        let waited = {
            let mut state = self.0.state.lock().expect("no panic while it is held");
            state.forget_idle(now);
            let most = state.most(&sharer, self.0.threads);
            let sharing = state.sharers.entry(sharer.clone()).or_default();
            sharing.asked = now;
            if sharing.held < most && sharing.queue.is_empty() {
                sharing.held += 1;
                return Ok(self.place(sharer));
            }
            if sharing.queue.len() >= WAITING_MAX {
                return Err(Full);
            }
            let (given, waited) = oneshot::channel();
            sharing.queue.push_back(given);
            if sharing.queue.len() == 1 {
                state.waiting.push_back(sharer);
            }
            waited
        };
        waited.await.map_err(|_| Full)
    }

    fn place(&self, sharer: Sharer) -> Place {
        Place { turns: self.clone(), sharer, is_held: AtomicBool::new(true) }
    }

    /// Takes back a place of `sharer`, and gives places to those who wait, each in turn.
    fn take_back(&self, sharer: &Sharer) {
        let mut given = Vec::new();
        {
            let mut state = self.0.state.lock().expect("no panic while it is held");
            if let Some(sharing) = state.sharers.get_mut(sharer) {
                sharing.held -= 1;
            }
            // One each in turn, until nobody who waits may have another: who was among others and is
            // alone by now has many.
            let mut passed_over = 0;
            while passed_over < state.waiting.len() {
                let Some(next) = state.waiting.pop_front() else { break };
                let most = state.most(&next, self.0.threads);
                let Some(sharing) = state.sharers.get_mut(&next) else { continue };
                passed_over += 1;
                if sharing.held < most
                    && let Some(waiter) = sharing.queue.pop_front()
                {
                    sharing.held += 1;
                    given.push((waiter, self.place(next.clone())));
                    passed_over = 0;
                }
                if !sharing.queue.is_empty() {
                    state.waiting.push_back(next);
                }
            }
        }
        // Who has stopped waiting gives its place back at once, which must not be within the lock.
        for (waiter, place) in given {
            drop(waiter.send(place));
        }
    }
}

impl State {
    /// The most places that `sharer` may have now. Strangers take nothing from an agent.
    fn most(&self, sharer: &Sharer, threads: usize) -> usize {
        let is_agent = matches!(sharer, Sharer::Agent(_));
        let beside = |other: &Sharer| is_agent && matches!(other, Sharer::Stranger(_));
        let alone = self.sharers.keys().all(|other| other == sharer || beside(other));
        threads * if alone { ALONE_MAX } else { AMONG_OTHERS_MAX }
    }

    fn forget_idle(&mut self, now: Duration) {
        if now.saturating_sub(self.looked) < ASKING_FOR / 10 {
            return;
        }
        self.looked = now;
        self.sharers.retain(|_, sharing| {
            let idle = sharing.held == 0 && sharing.queue.is_empty();
            !idle || now.saturating_sub(sharing.asked) < ASKING_FOR
        });
    }
}

impl Place {
    /// Gives the place back: what follows takes nobody's turn.
    pub(crate) fn give_back(&self) {
        if self.is_held.swap(false, Ordering::AcqRel) {
            self.turns.take_back(&self.sharer);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Counts what each has open. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Tally<K>(Arc<Counted<K>>);

#[derive(Debug)]
struct Counted<K> {
    each_max: usize,
    open: Mutex<HashMap<K, usize>>,
}

/// One thing that is open. It is no longer counted when it is dropped.
#[derive(Debug)]
pub(crate) struct Open<K: Hash + Eq> {
    tally: Tally<K>,
    whose: K,
}

impl<K> Clone for Tally<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Hash + Eq + Clone> Tally<K> {
    /// Nothing is open; nobody may have more than `each_max`.
    pub(crate) fn new(each_max: usize) -> Self {
        Self(Arc::new(Counted { each_max, open: Mutex::default() }))
    }

    /// Counts one more of `whose`.
    pub(crate) fn open(&self, whose: &K) -> Result<Open<K>, Full> {
        let mut open = self.0.open.lock().expect("no panic while it is held");
        let count = open.entry(whose.clone()).or_default();
        if *count >= self.0.each_max {
            return Err(Full);
        }
        *count += 1;
        Ok(Open { tally: self.clone(), whose: whose.clone() })
    }
}

impl<K: Hash + Eq> Drop for Open<K> {
    fn drop(&mut self) {
        let mut open = self.tally.0.open.lock().expect("no panic while it is held");
        if let Some(count) = open.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const START: Duration = Duration::from_secs(100);

    fn agent(name: &str) -> Sharer {
        Sharer::Agent(name.parse().expect("a name"))
    }

    /// A place that is to be had at once.
    fn at_once(turns: &Turns, name: &str) -> Option<Place> {
        turns.enter(agent(name), START).now_or_never().map(|place| place.expect("there is room"))
    }

    #[test]
    fn who_alone_asks_has_many_places_and_no_more() {
        let turns = Turns::new(1);
        let held: Vec<_> = (0..ALONE_MAX).map(|_| at_once(&turns, "a").expect("a place")).collect();
        let mut waiting = Box::pin(turns.enter(agent("a"), START));
        assert!(waiting.as_mut().now_or_never().is_none(), "one more waits");
        drop(held);
        assert!(waiting.now_or_never().is_some(), "it is its turn");
    }

    #[test]
    fn n_116_nobody_waits_behind_the_queue_of_another() {
        let turns = Turns::new(1);
        let mut held: Vec<_> = (0..ALONE_MAX).filter_map(|_| at_once(&turns, "flood")).collect();
        let flood: Vec<_> = (0..WAITING_MAX).map(|_| turns.enter(agent("flood"), START)).collect();
        let mut flood: Vec<_> = flood.into_iter().map(Box::pin).collect();
        assert!(flood.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        // Somebody else has a share at once, however long the queue of the first is.
        let quiet: Vec<_> =
            (0..AMONG_OTHERS_MAX).filter_map(|_| at_once(&turns, "quiet")).collect();
        assert_eq!(quiet.len(), AMONG_OTHERS_MAX);
        assert!(at_once(&turns, "quiet").is_none(), "the share of each is the same");
        // The flood gives back until it has no more than its own share.
        held.truncate(AMONG_OTHERS_MAX);
        assert!(flood.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        held.pop();
        assert!(flood[0].as_mut().now_or_never().is_some());
    }

    #[test]
    fn n_116_what_is_beyond_the_queue_is_refused_at_once() {
        let turns = Turns::new(1);
        let _held: Vec<_> = (0..ALONE_MAX).filter_map(|_| at_once(&turns, "a")).collect();
        let queue: Vec<_> = (0..WAITING_MAX).map(|_| turns.enter(agent("a"), START)).collect();
        let mut queue: Vec<_> = queue.into_iter().map(Box::pin).collect();
        assert!(queue.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        let beyond = turns.enter(agent("a"), START).now_or_never();
        assert!(matches!(beyond, Some(Err(Full))));
    }

    #[test]
    fn n_116_who_is_alone_again_has_many_places_again() {
        let turns = Turns::new(1);
        let quiet = at_once(&turns, "quiet").expect("a place");
        let held = at_once(&turns, "flood").expect("a place");
        let waiting: Vec<_> = (0..8).map(|_| turns.enter(agent("flood"), START)).collect();
        let mut waiting: Vec<_> = waiting.into_iter().map(Box::pin).collect();
        assert!(waiting.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        drop(quiet);
        let mut later = Box::pin(turns.enter(agent("flood"), START + ASKING_FOR));
        assert!(later.as_mut().now_or_never().is_none(), "it waits behind the others");
        drop(held);
        let all: Vec<_> = waiting.into_iter().chain([later]).map(FutureExt::now_or_never).collect();
        assert!(all.iter().all(Option::is_some), "nobody else asks any more");
    }

    #[test]
    fn who_stops_waiting_loses_no_place_for_others() {
        let turns = Turns::new(1);
        let held: Vec<_> = (0..ALONE_MAX).filter_map(|_| at_once(&turns, "a")).collect();
        let mut gone = Box::pin(turns.enter(agent("a"), START));
        assert!(gone.as_mut().now_or_never().is_none());
        let mut stays = Box::pin(turns.enter(agent("a"), START));
        assert!(stays.as_mut().now_or_never().is_none());
        drop(gone);
        drop(held);
        assert!(stays.now_or_never().is_some());
        let again: Vec<_> = (0..ALONE_MAX).filter_map(|_| at_once(&turns, "a")).collect();
        assert_eq!(again.len(), ALONE_MAX, "every place came back");
    }

    #[test]
    fn a_tally_refuses_one_too_many_and_forgets_what_is_closed() {
        let tally = Tally::new(2);
        let (one, two) = (tally.open(&"a"), tally.open(&"a"));
        assert!(one.is_ok() && two.is_ok());
        assert_eq!(tally.open(&"a").err(), Some(Full));
        assert!(tally.open(&"b").is_ok(), "another has its own");
        drop(one);
        assert!(tally.open(&"a").is_ok());
        drop(two);
        assert!(tally.0.open.lock().unwrap().is_empty());
    }
}
