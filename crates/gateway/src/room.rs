//! Room for bytes on their way, in or out: so many in all, and so many of one.
//!
//! What is slow holds nobody up: where there is no room, the oldest that is still on its way makes
//! some, and is lost; not that of who has little, as long as others have more. What has arrived whole
//! keeps its room until it is dealt with.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Buf as _, Bytes, BytesMut};
use model::{AgentName, ServerName};

use crate::pieces::{Pieces, Tell};
use crate::shares::{Full, Subject};

/// Of what the others of a room have not fixed, one agent or one address has at most one such part; of an
/// agent's part, one of its subjects again.
const PARTS: usize = 4;

/// So many bytes, and who has how many of them. Cheap to clone.
#[derive(Clone)]
pub struct Room(Arc<Mutex<Pieces>>);

/// Whose bytes they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// An agent's.
    Agent(AgentName),
    /// Those of one of its subjects.
    Subject(AgentName, Subject),
    /// Of those, what is on account of one server: it may be all of them.
    Server(AgentName, Subject, ServerName),
    /// Those of whoever is at an address.
    Address(IpAddr),
}

impl Whose {
    /// What is `agent`'s and its subject's.
    pub(crate) fn of_agent(agent: &AgentName, subject: &Subject) -> Arc<[Self]> {
        Self::of_agent_and_subject(agent, subject).into()
    }

    /// What is on account of `server`, for `agent` and its subject.
    pub(crate) fn of_server(
        agent: &AgentName,
        subject: &Subject,
        server: &ServerName,
    ) -> Arc<[Self]> {
        let [of_agent, of_subject] = Self::of_agent_and_subject(agent, subject);
        let of_server = Self::Server(agent.clone(), subject.clone(), server.clone());
        [of_agent, of_subject, of_server].into()
    }

    fn of_agent_and_subject(agent: &AgentName, subject: &Subject) -> [Self; 2] {
        [Self::Agent(agent.clone()), Self::Subject(agent.clone(), subject.clone())]
    }

    /// How much it has of `most` bytes.
    pub(crate) const fn part(&self, most: usize) -> usize {
        match self {
            Self::Agent(_) | Self::Address(_) | Self::Subject(..) => most / PARTS,
            Self::Server(..) => most,
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
        Self(Arc::new(Mutex::new(Pieces::new(most))))
    }

    /// Keeps `bytes`, which are `whose`.
    pub fn keep(&self, whose: Arc<[Whose]>, bytes: BytesMut) -> Result<Kept, Full> {
        let number = self.changed(|pieces| pieces.keep(whose, bytes))?;
        Ok(Kept { room: self.clone(), number })
    }

    /// The same, if nothing has to make room for them.
    pub(crate) fn keep_beside(&self, whose: Arc<[Whose]>, bytes: BytesMut) -> Result<Kept, Full> {
        let number = self.changed(|pieces| pieces.keep_beside(whose, bytes))?;
        Ok(Kept { room: self.clone(), number })
    }

    /// What comes of `change`, once it is told what made room for it.
    fn changed<T>(&self, change: impl FnOnce(&mut Pieces) -> T) -> T {
        let mut pieces = self.pieces();
        let changed = change(&mut pieces);
        let lost = pieces.lost();
        drop(pieces);
        for tell in lost {
            tell();
        }
        changed
    }

    fn pieces(&self) -> MutexGuard<'_, Pieces> {
        self.0.lock().expect("no panic while it is held")
    }
}

impl Kept {
    /// Adds `more` to them.
    pub fn add(&self, more: &[u8]) -> Result<(), Full> {
        self.room.changed(|pieces| pieces.add(self.number, more))
    }

    /// Takes room for `bytes` bytes, which somebody else holds.
    pub(crate) fn fit(&self, bytes: usize) -> Result<(), Full> {
        self.room.changed(|pieces| pieces.fit(self.number, bytes))
    }

    /// Has `tell` tell it if they make room for others.
    pub(crate) fn telling(&self, tell: Tell) {
        let mut pieces = self.room.pieces();
        if let Some(piece) = pieces.get_mut(self.number) {
            piece.lost = Some(tell);
            return;
        }
        drop(pieces);
        tell();
    }

    /// Has them make no room for others any more; false if they have done so, or if too much is held so.
    pub(crate) fn hold(&self) -> bool {
        self.room.pieces().hold(self.number)
    }

    /// All of them, which have arrived and keep their room until this is dropped. None if they made
    /// room for others.
    pub fn whole(&self) -> Option<Bytes> {
        self.room.pieces().whole(self.number).map(BytesMut::freeze)
    }

    /// The next of them, `most` at most; empty after the last. None if they made room for others.
    pub fn next(&self, most: usize) -> Option<Bytes> {
        let mut pieces = self.room.pieces();
        let bytes = pieces.get_mut(self.number)?.bytes.as_mut()?;
        // Copied: a part of them would keep all of them in memory.
        let next = Bytes::copy_from_slice(&bytes[..most.min(bytes.len())]);
        bytes.advance(next.len());
        Some(next)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // What it held is dropped once the room is free again.
        let forgotten = self.room.pieces().leave(self.number);
        drop(forgotten);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pieces::PIECE_MIN;

    /// So many of the smallest pieces.
    fn units(count: usize) -> BytesMut {
        BytesMut::zeroed(count * PIECE_MIN)
    }

    /// Room for so many.
    fn room_of(count: usize) -> Room {
        Room::new(count * PIECE_MIN)
    }

    fn address(last: u8) -> Arc<[Whose]> {
        [Whose::Address(IpAddr::from([192, 0, 2, last]))].into()
    }

    fn of(person: &str) -> Arc<[Whose]> {
        of_agent("desk", person)
    }

    fn of_agent(agent: &str, person: &str) -> Arc<[Whose]> {
        Whose::of_agent(&agent.parse().expect("a name"), &Subject::Person(person.to_owned()))
    }

    /// So many that have arrived.
    fn arrived(room: &Room, whose: Arc<[Whose]>, count: usize) -> Result<Kept, Full> {
        let kept = room.keep(whose, units(count))?;
        assert_eq!(kept.whole().expect("they are there").len(), count * PIECE_MIN);
        Ok(kept)
    }

    #[test]
    fn n_110_nobody_takes_more_than_a_part_of_the_room_and_all_no_more_than_there_is() {
        let room = room_of(1_000);
        let first = arrived(&room, address(1), 250).expect("a part of it");
        assert!(arrived(&room, address(1), 1).is_err(), "no more than that");
        assert!(arrived(&room, address(2), 188).is_err(), "of what is left");
        let second = arrived(&room, address(2), 187).expect("a part of what is left");
        let rest = arrived(&room, Arc::from([]), 563).expect("all that is left");
        assert!(arrived(&room, address(9), 1).is_err(), "there is no more");
        drop((second, rest));
        assert!(arrived(&room, address(9), 187).is_ok());
        drop(first);
        assert!(room.pieces().is_empty());
    }

    #[test]
    fn something_is_left_for_who_comes_after_however_many_take_all_they_may() {
        let check = |whose: &dyn Fn(u8) -> Arc<[Whose]>, left: usize| {
            let room = room_of(10_000);
            let all = |last| std::iter::from_fn(move || Some(last));
            let kept: Vec<_> = (1..=20)
                .flat_map(|last| all(last).map_while(|last| arrived(&room, whose(last), 5).ok()))
                .collect();
            assert!(arrived(&room, whose(99), left).is_ok(), "{} are kept", kept.len());
            drop(kept);
            assert!(room.pieces().is_empty());
        };
        check(&address, 5);
        check(&|last| of_agent(&format!("a{last}"), "ann"), 5);
        check(&|last| of(&format!("p{last}")), 1);
    }

    #[test]
    fn n_110_a_person_takes_no_more_than_a_part_of_their_agents_room() {
        let room = room_of(1_600);
        let own = arrived(&room, of("ann"), 100).expect("a part of a part");
        assert!(arrived(&room, of("ann"), 1).is_err(), "no more than that");
        assert!(arrived(&room, of("b"), 76).is_err(), "of what is left of their agent's");
        let other = arrived(&room, of("b"), 75).expect("a part of what is left");
        assert!(arrived(&room, of_agent("audit", "ann"), 89).is_ok(), "another agent has its own");
        drop((own, other));
        assert!(room.pieces().is_empty());
    }

    /// Whoever is nobody in particular has no part, and takes no room from who comes after.
    #[test]
    fn the_oldest_that_is_on_its_way_makes_room() {
        let room = room_of(1_000);
        let nobody = || Arc::from([]);
        let slow: Vec<_> =
            (0..10).map(|_| room.keep(nobody(), units(100)).expect("room")).collect();
        assert!(slow[0].next(0).is_some(), "all of the room, and no more");
        let kept = room.keep(address(1), units(1)).expect("the oldest makes room");
        assert!(slow[0].whole().is_none() && slow[0].add(&[0]).is_err());
        assert!(slow[0].next(0).is_none() && slow[1].next(0).is_some(), "one is enough");
        assert!(kept.add(&units(99)).is_ok());
        assert!(kept.add(&units(1)).is_ok() && slow[1].next(0).is_none(), "also for what follows");
        drop(slow);
        assert_eq!(room.pieces().taken(), 101 * PIECE_MIN);
        drop(kept);
        assert!(room.pieces().is_empty());
    }

    #[test]
    fn one_who_has_its_part_makes_room_of_its_own() {
        let room = room_of(1_000);
        let other = room.keep(address(1), units(100)).expect("room");
        let own: Vec<_> = (0..3).filter_map(|_| room.keep(address(2), units(100)).ok()).collect();
        assert!(other.next(0).is_some());
        assert_eq!(
            own.iter().map(|kept| kept.next(0).is_some()).collect::<Vec<_>>(),
            [false, true, true]
        );
        assert!(room.keep(address(2), units(251)).is_err(), "more than its part");
        assert!(own[1].next(0).is_some(), "for which nothing was lost");
    }

    /// Whoever takes all that they may, in a part or in the room, makes room of their own.
    #[test]
    fn who_has_little_makes_no_room_for_who_has_much() {
        let address = |_: &str, last| address(last);
        let check = |most: usize, whose: &dyn Fn(&str, u8) -> Arc<[Whose]>| {
            let room = room_of(most);
            let small = room.keep(whose("small", 9), units(10)).expect("room");
            let mut kept = Vec::new();
            for (name, last) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)].repeat(20) {
                kept.push(room.keep(whose(name, last), units(10)).expect("room"));
            }
            assert!(small.next(0).is_some(), "it was not the one that had to");
            assert!(kept.iter().any(|kept| kept.next(0).is_none()), "there was room for all");
        };
        check(1_600, &|name, _| of(name));
        check(400, &address);
    }

    #[test]
    fn who_has_little_of_an_agent_that_has_much_makes_no_room_for_another() {
        let room = room_of(1_600);
        let keep = |agent, person| room.keep(of_agent(agent, person), units(10)).expect("room");
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

    #[test]
    fn what_one_server_says_makes_no_room_for_what_another_one_does() {
        let room = room_of(1_600);
        let agent = "desk".parse().expect("a name");
        let keep = |server: &str| {
            let (subject, server) = (Subject::Person("ann".to_owned()), server.parse());
            let whose = Whose::of_server(&agent, &subject, &server.expect("a name"));
            room.keep(whose, units(10)).expect("room")
        };
        let slow = keep("slow");
        let loud: Vec<_> = (0..20).map(|_| keep("loud")).collect();
        assert!(slow.next(0).is_some());
        assert!(loud.iter().any(|kept| kept.next(0).is_none()), "there was room for all");
    }

    /// Among many who have as little each, nobody is driven out for having a little more.
    #[test]
    fn the_oldest_of_many_makes_room_and_not_who_has_a_little_more() {
        let room = room_of(1_000);
        let small = |last| room.keep(address(last), units(10)).expect("room");
        let slow: Vec<_> = (1..=98).map(small).collect();
        let more = room.keep(address(99), units(20)).expect("room");
        let next = small(100);
        assert!(slow[0].next(0).is_none() && slow[1].next(0).is_some());
        assert!(more.next(0).is_some() && next.next(0).is_some());
    }

    /// Each is found without looking at the others: one that is large waits for nobody's thousands.
    #[test]
    fn thousands_make_room_for_one() {
        let room = room_of(10_000);
        let agents: Vec<_> = (0..40).map(|number| of_agent(&format!("a{number}"), "ann")).collect();
        let whose = agents.iter().cycle().take(10_000);
        let small: Vec<_> =
            whose.map(|whose| room.keep(whose.clone(), units(1)).expect("room")).collect();
        assert!(small[0].next(0).is_some(), "all of the room, and no more");
        let large = room.keep(address(1), units(2_500)).expect("the oldest make room");
        let is_there = |kept: &Kept| kept.next(0).is_some();
        assert!(!small[..2_500].iter().any(is_there) && small[2_500..].iter().all(is_there));
        drop((small, large));
        assert!(room.pieces().is_empty());
    }

    #[test]
    fn a_piece_takes_four_kibibytes_at_least() {
        let room = room_of(4);
        let kept = room.keep(address(1), BytesMut::new()).expect("room");
        assert!(kept.add(&[0; PIECE_MIN]).is_ok(), "it has them already");
        assert!(kept.add(&[0; 1]).is_err(), "all of its part");
        assert!(kept.whole().is_some());
        assert!(room.keep(address(1), BytesMut::new()).is_err(), "also for who sends nothing");
    }

    #[test]
    fn what_makes_room_is_told_at_once_and_what_is_taken_is_not() {
        let room = room_of(1_000);
        let told = Arc::new(Mutex::new(Vec::new()));
        let keep = |number: usize| {
            let kept = room.keep(address(1), units(100)).expect("room");
            let told = told.clone();
            kept.telling(Box::new(move || told.lock().expect("it is free").push(number)));
            kept
        };
        drop(keep(0));
        let _kept = [1, 2, 3, 4].map(keep);
        assert_eq!(*told.lock().expect("it is free"), [1, 2]);
    }

    #[test]
    fn what_is_held_makes_no_room() {
        let room = room_of(1_000);
        let [held, next] = [0; 2].map(|_| room.keep(address(1), units(100)).expect("room"));
        assert!(held.hold());
        let last = room.keep(address(1), units(150)).expect("the next makes room");
        assert!(held.next(0).is_some() && next.next(0).is_none() && !next.hold());
        assert!(!last.hold(), "more than half of its part would be held");
        let after = room.keep(address(1), units(150)).expect("what is not held makes room");
        assert!(held.next(0).is_some() && last.next(0).is_none());
        drop((held, after));
        assert!(room.keep(address(1), units(250)).is_ok());
    }

    #[test]
    fn what_is_kept_beside_others_drives_nobody_out() {
        let room = room_of(1_000);
        let other = room.keep(address(1), units(200)).expect("room");
        assert!(room.keep_beside(address(1), units(51)).is_err());
        assert!(other.next(0).is_some());
        assert!(room.keep_beside(address(1), units(50)).is_ok());
    }

    #[test]
    fn what_is_taken_bit_by_bit_keeps_its_room_until_the_end() {
        let room = room_of(1_000);
        let kept = room.keep(address(1), BytesMut::from(&b"abcde"[..])).expect("room");
        let next = |most| kept.next(most).expect("it is there");
        assert_eq!([next(2), next(2), next(2), next(2)], ["ab", "cd", "e", ""]);
        assert_eq!(room.pieces().taken(), PIECE_MIN, "of which any piece takes so much");
    }
}
