//! Room for bytes on their way, in or out: so many in all, and so many of one.
//!
//! What is slow holds nobody up: where there is no room, the oldest that is still on its way makes
//! some, and is lost; not that of who has little, as long as others have more. What has arrived whole
//! keeps its room until it is dealt with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Buf as _, Bytes, BytesMut};
use model::AgentName;

use crate::shares::{Full, Subject};

/// Of a room, one agent or one address has at most one such part; of an agent's part, one of its
/// subjects again.
const PARTS: usize = 4;

/// So many bytes, and who has how many of them. Cheap to clone.
#[derive(Clone)]
pub struct Room(Arc<Inner>);

struct Inner {
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    all: usize,
    of: BTreeMap<Whose, usize>,
    /// What is kept, the oldest first.
    each: BTreeMap<u64, Piece>,
    begun: u64,
    /// Tells of what made room, once nobody waits for this.
    lost: Vec<Tell>,
}

struct Piece {
    whose: Arc<[Whose]>,
    taken: usize,
    /// None once they have arrived whole.
    bytes: Option<BytesMut>,
    /// Tells that it made room for others.
    lost: Option<Tell>,
}

type Tell = Box<dyn FnOnce() + Send>;

/// What can be full.
enum Part<'a> {
    One(&'a Whose),
    All,
}

impl Part<'_> {
    fn has(&self, piece: &Piece) -> bool {
        match self {
            Self::One(whose) => piece.whose.contains(whose),
            Self::All => true,
        }
    }

    /// Whose `piece`, which it has, is of those who share it.
    fn owner<'p>(&self, piece: &'p Piece) -> Option<&'p Whose> {
        match self {
            Self::One(whose) => piece.whose.iter().skip_while(|one| one != whose).nth(1),
            Self::All => piece.whose.first(),
        }
    }
}

/// Whose bytes they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// An agent's.
    Agent(AgentName),
    /// Those of one of its subjects.
    Subject(AgentName, Subject),
    /// Those of whoever is at an address.
    Address(IpAddr),
}

impl Whose {
    /// What is `agent`'s and its subject's.
    pub(crate) fn of_agent(agent: &AgentName, subject: &Subject) -> Arc<[Self]> {
        [Self::Agent(agent.clone()), Self::Subject(agent.clone(), subject.clone())].into()
    }

    /// How much of a room of `most` bytes it has.
    const fn part(&self, most: usize) -> usize {
        match self {
            Self::Agent(_) | Self::Address(_) => most / PARTS,
            Self::Subject(..) => most / PARTS / PARTS,
        }
    }
}

/// Bytes in a room. They give it back when this is dropped.
pub struct Kept {
    room: Room,
    number: u64,
}

impl Room {
    /// Room for `most` bytes.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Inner { most, state: Mutex::default() }))
    }

    /// Keeps `bytes`, which are `whose`.
    pub fn keep(&self, whose: Arc<[Whose]>, bytes: BytesMut) -> Result<Kept, Full> {
        let number = self.changed(|state| state.keep(whose, bytes, self.0.most))?;
        Ok(Kept { room: self.clone(), number })
    }

    /// The same, if nothing has to make room for them.
    pub(crate) fn keep_beside(&self, whose: Arc<[Whose]>, bytes: BytesMut) -> Result<Kept, Full> {
        let most = self.0.most;
        let number = self.changed(|state| match state.full(&whose, bytes.len(), most) {
            Some(_) => Err(Full),
            None => state.keep(whose.clone(), bytes, most),
        })?;
        Ok(Kept { room: self.clone(), number })
    }

    /// What comes of `change`, once it is told what made room for it.
    fn changed<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let changed = change(&mut state);
        let lost = std::mem::take(&mut state.lost);
        drop(state);
        for tell in lost {
            tell();
        }
        changed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no panic while it is held")
    }
}

impl Kept {
    /// Adds `more` to them.
    pub fn add(&self, more: &[u8]) -> Result<(), Full> {
        self.room.changed(|state| {
            let piece = state.grow(self.number, more.len(), self.room.0.most)?;
            piece.bytes.as_mut().ok_or(Full)?.extend_from_slice(more);
            Ok(())
        })
    }

    /// Has `tell` tell it if they make room for others.
    pub(crate) fn telling(&self, tell: Tell) {
        let mut state = self.room.state();
        if let Some(piece) = state.each.get_mut(&self.number) {
            piece.lost = Some(tell);
            return;
        }
        drop(state);
        tell();
    }

    /// All of them, which have arrived and keep their room until this is dropped. None if they made
    /// room for others.
    pub fn whole(&self) -> Option<Bytes> {
        self.room.state().each.get_mut(&self.number)?.bytes.take().map(BytesMut::freeze)
    }

    /// The next of them, `most` at most; empty after the last. None if they made room for others.
    pub fn next(&self, most: usize) -> Option<Bytes> {
        let mut state = self.room.state();
        let bytes = state.each.get_mut(&self.number)?.bytes.as_mut()?;
        // Copied: a part of them would keep all of them in memory.
        let next = Bytes::copy_from_slice(&bytes[..most.min(bytes.len())]);
        bytes.advance(next.len());
        Some(next)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.room.state().forget(self.number);
    }
}

impl State {
    /// Keeps `bytes`, which are `whose`: by which number.
    fn keep(&mut self, whose: Arc<[Whose]>, bytes: BytesMut, most: usize) -> Result<u64, Full> {
        let number = self.begun;
        self.begun += 1;
        self.each.insert(number, Piece { whose, taken: 0, bytes: None, lost: None });
        let grown = self.grow(number, bytes.len(), most);
        let grown = grown.map(|piece| piece.bytes = Some(bytes));
        if grown.is_err() {
            self.forget(number);
        }
        grown.map(|()| number)
    }

    /// Takes room for `more` bytes of the piece `number`. What is too large for the part that it has
    /// drives nobody out.
    fn grow(&mut self, number: u64, more: usize, most: usize) -> Result<&mut Piece, Full> {
        let piece = self.each.get(&number).ok_or(Full)?;
        let whose = piece.whose.clone();
        let part = whose.iter().map(|one| one.part(most)).min().unwrap_or(most);
        if piece.taken + more > part {
            return Err(Full);
        }
        while let Some(full) = self.full(&whose, more, most) {
            let makes_room = self.makes_room(&full, number).ok_or(Full)?;
            let lost = self.forget(makes_room).and_then(|piece| piece.lost);
            self.lost.extend(lost);
        }
        self.all += more;
        for one in whose.iter() {
            *self.of.entry(one.clone()).or_default() += more;
        }
        let piece = self.each.get_mut(&number).ok_or(Full)?;
        piece.taken += more;
        Ok(piece)
    }

    /// What has no room for `more` bytes of `whose`, if anything.
    fn full<'a>(&self, whose: &'a [Whose], more: usize, most: usize) -> Option<Part<'a>> {
        let one = whose.iter().find(|one| self.has(one) + more > one.part(most));
        one.map(Part::One).or_else(|| (self.all + more > most).then_some(Part::All))
    }

    /// What makes room in `full` for the piece `number`: the oldest that is on its way, of those first
    /// who have at least half as much as one has there on average. By age alone who takes much would
    /// drive out who has little; by size alone many who have little each, who has more than one of them.
    fn makes_room(&self, full: &Part<'_>, number: u64) -> Option<u64> {
        let there = || self.each.iter().filter(|(_, piece)| full.has(piece));
        let owners: BTreeSet<_> = there().filter_map(|(_, piece)| full.owner(piece)).collect();
        let all = match full {
            Part::One(whose) => self.has(whose),
            Part::All => self.all,
        };
        let has_little = |piece: &Piece| {
            full.owner(piece).is_some_and(|owner| 2 * self.has(owner) * owners.len() < all)
        };
        let on_its_way =
            there().filter(|(other, piece)| **other != number && piece.bytes.is_some());
        let (other, piece) = on_its_way.min_by_key(|(_, piece)| has_little(piece))?;
        match full.owner(piece) {
            // Of what it has, again.
            Some(owner) => self.makes_room(&Part::One(owner), number),
            None => Some(*other),
        }
    }

    fn has(&self, one: &Whose) -> usize {
        self.of.get(one).copied().unwrap_or(0)
    }

    /// Gives back the room of the piece `number`, if it has any.
    fn forget(&mut self, number: u64) -> Option<Piece> {
        let piece = self.each.remove(&number)?;
        self.all -= piece.taken;
        for one in piece.whose.iter() {
            match self.of.get_mut(one) {
                Some(own) if *own > piece.taken => *own -= piece.taken,
                _ => drop(self.of.remove(one)),
            }
        }
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Arc<[Whose]> {
        [Whose::Address(IpAddr::from([192, 0, 2, last]))].into()
    }

    fn of(person: &str) -> Arc<[Whose]> {
        of_agent("desk", person)
    }

    fn of_agent(agent: &str, person: &str) -> Arc<[Whose]> {
        Whose::of_agent(&agent.parse().expect("a name"), &Subject::Person(person.to_owned()))
    }

    /// So many bytes that have arrived.
    fn arrived(room: &Room, whose: Arc<[Whose]>, bytes: usize) -> Result<Kept, Full> {
        let kept = room.keep(whose, BytesMut::zeroed(bytes))?;
        assert_eq!(kept.whole().expect("they are there").len(), bytes);
        Ok(kept)
    }

    #[test]
    fn n_110_nobody_takes_more_than_a_part_of_the_room_and_all_no_more_than_there_is() {
        let room = Room::new(1_000);
        let first = arrived(&room, address(1), 250).expect("a part of it");
        assert!(arrived(&room, address(1), 1).is_err(), "no more than that");
        let others: Vec<_> = (2..=4).map(|last| arrived(&room, address(last), 250)).collect();
        assert!(others.iter().all(Result::is_ok));
        assert!(arrived(&room, address(9), 1).is_err(), "there is no more");
        drop(first);
        assert!(arrived(&room, address(9), 250).is_ok());
        drop(others);
        assert!(room.state().of.is_empty() && room.state().each.is_empty());
    }

    #[test]
    fn n_110_a_person_takes_no_more_than_a_part_of_their_agents_room() {
        let room = Room::new(1_600);
        let own = arrived(&room, of("ann"), 100).expect("a part of a part");
        assert!(arrived(&room, of("ann"), 1).is_err(), "no more than that");
        let others: Vec<_> = ["b", "c", "d"].map(|name| arrived(&room, of(name), 100)).into();
        assert!(others.iter().all(Result::is_ok));
        assert!(arrived(&room, of("e"), 1).is_err(), "their agent has no more");
        drop((own, others));
        assert!(room.state().of.is_empty());
    }

    /// Whoever is nobody in particular has no part, and takes no room from who comes after.
    #[test]
    fn the_oldest_that_is_on_its_way_makes_room() {
        let room = Room::new(1_000);
        let nobody = || Arc::from([]);
        let slow: Vec<_> =
            (0..10).map(|_| room.keep(nobody(), BytesMut::zeroed(100)).expect("room")).collect();
        assert!(slow[0].next(0).is_some(), "all of the room, and no more");
        let kept = room.keep(address(1), BytesMut::zeroed(1)).expect("the oldest makes room");
        assert!(slow[0].whole().is_none() && slow[0].add(&[0]).is_err());
        assert!(slow[0].next(0).is_none() && slow[1].next(0).is_some(), "one is enough");
        assert!(kept.add(&[0; 99]).is_ok());
        assert!(kept.add(&[0; 1]).is_ok() && slow[1].next(0).is_none(), "also for what follows");
        drop(slow);
        assert_eq!(room.state().all, 101);
        drop(kept);
        assert_eq!(room.state().all, 0);
    }

    #[test]
    fn one_who_has_its_part_makes_room_of_its_own() {
        let room = Room::new(1_000);
        let other = room.keep(address(1), BytesMut::zeroed(100)).expect("room");
        let own: Vec<_> =
            (0..3).filter_map(|_| room.keep(address(2), BytesMut::zeroed(100)).ok()).collect();
        assert!(other.next(0).is_some());
        assert_eq!(
            own.iter().map(|kept| kept.next(0).is_some()).collect::<Vec<_>>(),
            [false, true, true]
        );
        assert!(room.keep(address(2), BytesMut::zeroed(251)).is_err(), "more than its part");
        assert!(own[1].next(0).is_some(), "for which nothing was lost");
    }

    /// Whoever takes all that they may, in a part or in the room, makes room of their own.
    #[test]
    fn who_has_little_makes_no_room_for_who_has_much() {
        let address = |_: &str, last| address(last);
        let check = |most: usize, whose: &dyn Fn(&str, u8) -> Arc<[Whose]>| {
            let room = Room::new(most);
            let small = room.keep(whose("small", 9), BytesMut::zeroed(10)).expect("room");
            let mut kept = Vec::new();
            for (name, last) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)].repeat(20) {
                kept.push(room.keep(whose(name, last), BytesMut::zeroed(10)).expect("room"));
            }
            assert!(small.next(0).is_some(), "it was not the one that had to");
            assert!(kept.iter().any(|kept| kept.next(0).is_none()), "there was room for all");
        };
        check(1_600, &|name, _| of(name));
        check(400, &address);
    }

    #[test]
    fn who_has_little_of_an_agent_that_has_much_makes_no_room_for_another() {
        let room = Room::new(1_600);
        let keep =
            |agent, person| room.keep(of_agent(agent, person), BytesMut::zeroed(10)).expect("room");
        let small = keep("desk", "small");
        let mut kept = Vec::new();
        for agent in ["desk", "a", "b", "c"] {
            kept.extend(["1", "2", "3", "4"].repeat(10).into_iter().map(|one| keep(agent, one)));
        }
        let is_there = |kept: &Kept| kept.next(0).is_some();
        let before = kept.iter().filter(|kept| is_there(kept)).count();
        let next = keep("e", "1");
        assert!(is_there(&small) && is_there(&next));
        assert_eq!(kept.iter().filter(|kept| is_there(kept)).count(), before - 1);
    }

    /// Among many who have as little each, nobody is driven out for having a little more.
    #[test]
    fn the_oldest_of_many_makes_room_and_not_who_has_a_little_more() {
        let room = Room::new(1_000);
        let small = |last| room.keep(address(last), BytesMut::zeroed(10)).expect("room");
        let slow: Vec<_> = (1..=98).map(small).collect();
        let more = room.keep(address(99), BytesMut::zeroed(20)).expect("room");
        let next = small(100);
        assert!(slow[0].next(0).is_none() && slow[1].next(0).is_some());
        assert!(more.next(0).is_some() && next.next(0).is_some());
    }

    #[test]
    fn what_makes_room_is_told_at_once_and_what_is_taken_is_not() {
        let room = Room::new(1_000);
        let told = Arc::new(Mutex::new(Vec::new()));
        let keep = |number: usize| {
            let kept = room.keep(address(1), BytesMut::zeroed(100)).expect("room");
            let told = told.clone();
            kept.telling(Box::new(move || told.lock().expect("it is free").push(number)));
            kept
        };
        drop(keep(0));
        let _kept = [1, 2, 3, 4].map(keep);
        assert_eq!(*told.lock().expect("it is free"), [1, 2]);
    }

    #[test]
    fn what_is_kept_beside_others_drives_nobody_out() {
        let room = Room::new(1_000);
        let other = room.keep(address(1), BytesMut::zeroed(200)).expect("room");
        assert!(room.keep_beside(address(1), BytesMut::zeroed(51)).is_err());
        assert!(other.next(0).is_some());
        assert!(room.keep_beside(address(1), BytesMut::zeroed(50)).is_ok());
    }

    #[test]
    fn what_is_taken_bit_by_bit_keeps_its_room_until_the_end() {
        let room = Room::new(1_000);
        let kept = room.keep(address(1), BytesMut::from(&b"abcde"[..])).expect("room");
        let next = |most| kept.next(most).expect("it is there");
        assert_eq!([next(2), next(2), next(2), next(2)], ["ab", "cd", "e", ""]);
        assert_eq!(room.state().all, 5);
    }
}
