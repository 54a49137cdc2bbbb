//! Each caller's share of what is limited: a flood takes from itself.
//!
//! Two things are shared out. [`Turns`] are places in which a request is authenticated and decided:
//! who alone asks may have many at once; as soon as somebody else asks too, each has one for each
//! thread, and whoever waits is served in turn, so that nobody waits behind another's queue.
//! [`Tally`] counts what lasts longer, as requests under way, and refuses what would be one too
//! many. Both refuse at once what is beyond; nothing waits without bound.
//!
//! Of what an agent has, each person for whom it works has a part, whatever number of instances they
//! begin, and so has each instance that works for nobody: where the agent is everybody's client, nobody
//! takes anything from the others.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{AgentName, InstanceId};
use tokio::sync::oneshot;

/// The most places of one who alone asks, for each thread that serves.
const ALONE_MAX: usize = 64;

/// The most places of each while others ask too, for each thread that serves. Each place of a flood
/// is one more decision in the commit that a quiet caller waits for: with two its slowest calls take
/// half as long again.
const AMONG_OTHERS_MAX: usize = 1;

/// Of what is one agent's, one of its subjects has at most one such part.
const PARTS: usize = 4;

/// The most requests of one agent that wait for a place.
const WAITING_MAX: usize = 1_024;

/// The most requests of one subject, or of one address, that wait for a place.
const WAITING_OF_ONE_MAX: usize = WAITING_MAX / PARTS;

/// How long after its last request somebody counts as asking.
const ASKING_FOR: Duration = Duration::from_secs(1);

/// For whom an agent works.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A person, by whatever instances.
    Person(String),
    /// Nobody: an instance of its own.
    Nobody(InstanceId),
}

impl Subject {
    /// For whom `instance` works, whose token has the subject `sub`: a person, or the instance that
    /// began the work.
    pub(crate) fn of(sub: &str, instance: InstanceId) -> Self {
        match sub.parse::<InstanceId>() {
            Ok(_) => Self::Nobody(instance),
            Err(_) => Self::Person(sub.to_owned()),
        }
    }
}

/// Who asks: an agent whose token is known, or wherever an unknown request comes from.
#[derive(Clone, Debug)]
pub(crate) enum Asker {
    /// An instance of the agent that works for a subject. That the token is its own is not proven yet.
    Agent(AgentName, Subject),
    /// An address.
    Stranger(Option<IpAddr>),
}

/// Who shares: an agent, or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Sharer {
    Agent(AgentName),
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
    queue: Queue,
}

/// The requests of one sharer that wait: of an agent, those of each of its subjects in turn.
#[derive(Default)]
struct Queue {
    lines: VecDeque<(Option<Subject>, VecDeque<oneshot::Sender<Place>>)>,
    /// How many there are in all lines.
    length: usize,
}

/// A place. It is given back when it is dropped, if it was not before.
pub(crate) struct Place {
    turns: Turns,
    sharer: Sharer,
    is_held: AtomicBool,
}

/// Somebody has as much as may be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Turns {
    /// Places for as many threads as serve.
    pub(crate) fn new(threads: usize) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Shared { threads: threads.max(1), state }))
    }

    /// A place for `asker`, who asks at `now` on the monotonic clock, once it is its turn.
    pub(crate) async fn enter(&self, asker: Asker, now: Duration) -> Result<Place, Full> {
        let (sharer, subject) = match asker {
            Asker::Agent(agent, subject) => (Sharer::Agent(agent), Some(subject)),
            Asker::Stranger(address) => (Sharer::Stranger(address), None),
        };
        let waited = {
            let mut state = self.0.state.lock().expect("no panic while it is held");
            state.forget_idle(now);
            let most = state.most(&sharer, self.0.threads);
            let sharing = state.sharers.entry(sharer.clone()).or_default();
            sharing.asked = now;
            if sharing.held < most && sharing.queue.length == 0 {
                sharing.held += 1;
                return Ok(self.place(sharer));
            }
            let waited = sharing.queue.join(subject)?;
            if sharing.queue.length == 1 {
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
                    && let Some(waiter) = sharing.queue.next()
                {
                    sharing.held += 1;
                    given.push((waiter, self.place(next.clone())));
                    passed_over = 0;
                }
                if sharing.queue.length > 0 {
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
            let idle = sharing.held == 0 && sharing.queue.length == 0;
            !idle || now.saturating_sub(sharing.asked) < ASKING_FOR
        });
    }
}

impl Queue {
    /// Waits at the end of the line of `subject`.
    fn join(&mut self, subject: Option<Subject>) -> Result<oneshot::Receiver<Place>, Full> {
        let line = self.lines.iter_mut().find(|(whose, _)| *whose == subject);
        let own = line.as_ref().map_or(0, |(_, line)| line.len());
        if own >= WAITING_OF_ONE_MAX || self.length >= WAITING_MAX {
            return Err(Full);
        }
        let (given, waited) = oneshot::channel();
        match line {
            Some((_, line)) => line.push_back(given),
            None => self.lines.push_back((subject, VecDeque::from([given]))),
        }
        self.length += 1;
        Ok(waited)
    }

    /// The first of the line whose turn it is.
    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        let (subject, mut line) = self.lines.pop_front()?;
        let next = line.pop_front()?;
        self.length -= 1;
        if !line.is_empty() {
            self.lines.push_back((subject, line));
        }
        Some(next)
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

/// Counts what each agent has open, and each of its subjects. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Tally(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    of_agent: usize,
    of_subject: usize,
    open: Mutex<HashMap<AgentName, Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    each: HashMap<Subject, usize>,
}

/// One thing that is open. It is no longer counted when it is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    tally: Tally,
    agent: AgentName,
    subject: Subject,
}

impl Tally {
    /// Nothing is open; no agent may have more than `of_agent`, and none of its subjects more than their
    /// part of that.
    pub(crate) fn new(of_agent: usize) -> Self {
        let of_subject = (of_agent / PARTS).max(1);
        Self(Arc::new(Counted { of_agent, of_subject, open: Mutex::default() }))
    }

    /// Counts one more of `agent`, for `subject`.
    pub(crate) fn open(&self, agent: &AgentName, subject: Subject) -> Result<Open, Full> {
        let Counted { of_agent, of_subject, open } = self.0.as_ref();
        let mut open = open.lock().expect("no panic while it is held");
        let counts = open.entry(agent.clone()).or_default();
        let own = counts.each.get(&subject).copied().unwrap_or(0);
        if own >= *of_subject || counts.all >= *of_agent {
            return Err(Full);
        }
        counts.all += 1;
        counts.each.insert(subject.clone(), own + 1);
        Ok(Open { tally: self.clone(), agent: agent.clone(), subject })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.tally.0.open.lock().expect("no panic while it is held");
        let Some(counts) = open.get_mut(&self.agent) else { return };
        counts.all -= 1;
        if let Some(own) = counts.each.get_mut(&self.subject) {
            *own -= 1;
            if *own == 0 {
                counts.each.remove(&self.subject);
            }
        }
        if counts.all == 0 {
            open.remove(&self.agent);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const START: Duration = Duration::from_secs(100);

    const ONE: Subject = Subject::Nobody(InstanceId::from_bytes([1; 16]));
    const OTHER: Subject = Subject::Nobody(InstanceId::from_bytes([2; 16]));

    /// An instance of the agent of this name.
    fn agent(name: &str) -> Asker {
        Asker::Agent(name.parse().expect("a name"), ONE)
    }

    /// Another instance of it.
    fn another(name: &str) -> Asker {
        Asker::Agent(name.parse().expect("a name"), OTHER)
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
        let flood: Vec<_> =
            (0..WAITING_OF_ONE_MAX).map(|_| turns.enter(agent("flood"), START)).collect();
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
        let queue: Vec<_> =
            (0..WAITING_OF_ONE_MAX).map(|_| turns.enter(agent("a"), START)).collect();
        let mut queue: Vec<_> = queue.into_iter().map(Box::pin).collect();
        assert!(queue.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        let beyond = turns.enter(agent("a"), START).now_or_never();
        assert!(matches!(beyond, Some(Err(Full))));
    }

    #[test]
    fn n_116_no_instance_waits_behind_the_queue_of_another_of_its_agent() {
        let turns = Turns::new(1);
        let mut held: Vec<_> = (0..ALONE_MAX).filter_map(|_| at_once(&turns, "a")).collect();
        let flood: Vec<_> =
            (0..WAITING_OF_ONE_MAX).map(|_| turns.enter(agent("a"), START)).collect();
        let mut flood: Vec<_> = flood.into_iter().map(Box::pin).collect();
        assert!(flood.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        let quiet: Vec<_> = (0..2).map(|_| turns.enter(another("a"), START)).collect();
        let mut quiet: Vec<_> = quiet.into_iter().map(Box::pin).collect();
        assert!(quiet.iter_mut().all(|one| one.as_mut().now_or_never().is_none()), "it may wait");
        // Of four places that are given back, each of the two has two.
        held.truncate(ALONE_MAX - 4);
        let has_places = quiet.into_iter().map(FutureExt::now_or_never).collect::<Vec<_>>();
        assert!(has_places.iter().all(Option::is_some));
        let has_places = flood.into_iter().map(FutureExt::now_or_never).collect::<Vec<_>>();
        assert_eq!(has_places.iter().flatten().count(), 2);
    }

    #[test]
    fn n_116_an_agent_has_no_more_waiting_than_its_instances_together_may() {
        let turns = Turns::new(1);
        let _held: Vec<_> = (0..ALONE_MAX).filter_map(|_| at_once(&turns, "a")).collect();
        let asker = |last: usize| {
            let instance = InstanceId::from_bytes([u8::try_from(last).unwrap(); 16]);
            Asker::Agent("a".parse().unwrap(), Subject::Nobody(instance))
        };
        let queue = (0..WAITING_MAX).map(|one| turns.enter(asker(one / WAITING_OF_ONE_MAX), START));
        let mut queue: Vec<_> = queue.map(Box::pin).collect();
        assert!(queue.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        let beyond = turns.enter(asker(PARTS), START).now_or_never();
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
    fn n_116_a_tally_refuses_one_too_many_and_forgets_what_is_closed() {
        let (tally, agent) = (Tally::new(2), "a".parse().unwrap());
        let (one, two) = (tally.open(&agent, ONE), tally.open(&agent, OTHER));
        assert!(one.is_ok() && two.is_ok());
        let third = || Subject::Nobody(InstanceId::from_bytes([3; 16]));
        assert_eq!(tally.open(&agent, third()).err(), Some(Full));
        assert!(tally.open(&"b".parse().unwrap(), third()).is_ok(), "another agent has its own");
        drop(one);
        assert!(tally.open(&agent, third()).is_ok());
        drop(two);
        assert!(tally.0.open.lock().unwrap().is_empty());
    }

    #[test]
    fn n_116_an_instance_has_a_part_of_what_its_agent_has() {
        let (tally, agent) = (Tally::new(PARTS * 3), "a".parse().unwrap());
        let mut own: Vec<_> = (0..3).map(|_| tally.open(&agent, ONE).expect("a part")).collect();
        assert_eq!(tally.open(&agent, ONE).err(), Some(Full), "no more than that");
        let others: Vec<_> = (0..3).map(|_| tally.open(&agent, OTHER)).collect();
        assert!(others.iter().all(Result::is_ok), "another instance has its own");
        own.pop();
        assert!(tally.open(&agent, ONE).is_ok());
    }

    #[test]
    fn n_116_a_person_has_one_part_by_however_many_instances() {
        let (tally, agent) = (Tally::new(PARTS * 3), "a".parse().unwrap());
        let instance = |number: u8| InstanceId::from_bytes([number; 16]);
        let own = |sub: &str, number| tally.open(&agent, Subject::of(sub, instance(number)));
        let open: Vec<_> = (0..3).map(|number| own("ann", number).expect("her part")).collect();
        assert_eq!(own("ann", 3).err(), Some(Full), "by another instance");
        assert!(own("bob", 3).is_ok(), "another person has their own");
        // What works for nobody is one by one, also what was handed on by another.
        let began = instance(9).to_string();
        let others: Vec<_> = (0..6).map(|number| own(&began, number)).collect();
        assert!(others.iter().all(Result::is_ok));
        drop(open);
    }
}
