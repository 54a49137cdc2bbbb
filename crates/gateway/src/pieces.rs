//! What is in a room, by whom and by age: which of it makes room is found without looking at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::BytesMut;

use crate::room::Whose;
use crate::shares::Full;

/// What a piece takes at least, in bytes: what is kept with it is bounded as it is.
pub(crate) const PIECE_MIN: usize = 4 << 10;

/// How what nobody in particular has, or one has alone, ranks among what can make room.
const FIRST: u32 = usize::BITS;

/// Tells that something made room for others.
pub(crate) type Tell = Box<dyn FnOnce() + Send>;

/// What a room keeps.
pub(crate) struct Pieces {
    most: usize,
    all: Part,
    of: BTreeMap<Whose, Part>,
    /// What is kept, the oldest first.
    each: BTreeMap<u64, Piece>,
    begun: u64,
    /// Tells of what made room, once nobody waits for this.
    lost: Vec<Tell>,
}

/// What there is of all, or of one. Which part it is, the beginning of what a piece in it has as its
/// [`Whose`] says: nothing of it for all.
#[derive(Default)]
struct Part {
    taken: usize,
    /// So much of it makes no room for others.
    fixed: usize,
    /// How many share it.
    owners: usize,
    /// Of each who shares it the oldest that is on its way, by the rank of who has it; and all that no
    /// one of them has.
    oldest: BTreeSet<(u32, u64)>,
}

/// What is kept at once.
pub(crate) struct Piece {
    whose: Arc<[Whose]>,
    /// So many bytes have arrived.
    arrived: usize,
    /// None once they have arrived whole.
    pub(crate) bytes: Option<BytesMut>,
    /// Whether it makes no room for others, though it is on its way.
    is_held: bool,
    /// Tells that it made room for others.
    pub(crate) lost: Option<Tell>,
}

impl Part {
    /// The oldest that is on its way, of those who rank at least so. It looks at each rank once.
    fn oldest(&self, rank: u32) -> Option<u64> {
        let first = |rank| self.oldest.range((rank, 0)..).next().copied();
        let of_each = std::iter::successors(first(rank), |(rank, _)| first(rank + 1));
        of_each.map(|(_, number)| number).min()
    }

    /// Its place among those who share the part above.
    fn place(&self) -> Option<(u32, u64)> {
        Some((rank(self.taken), self.oldest(0)?))
    }

    /// The rank of who has half as much as one of its owners has on average.
    fn enough(&self) -> u32 {
        rank(self.taken / (2 * self.owners).max(1))
    }
}

impl Piece {
    fn taken(&self) -> usize {
        taken(self.arrived)
    }

    /// How much of what it takes makes no room for others.
    fn fixed(&self) -> usize {
        if self.bytes.is_none() || self.is_held { self.taken() } else { 0 }
    }
}

/// Who has twice as much ranks one higher.
fn rank(bytes: usize) -> u32 {
    bytes.max(1).ilog2()
}

/// What a piece of so many bytes takes.
fn taken(bytes: usize) -> usize {
    bytes.max(PIECE_MIN)
}

/// The parts of a room that `whose` have, each with the one above it, the largest first.
fn parts(whose: &[Whose]) -> impl DoubleEndedIterator<Item = (&[Whose], &Whose)> {
    whose.iter().enumerate().map(move |(level, one)| (&whose[..level], one))
}

impl Pieces {
    pub(crate) fn new(most: usize) -> Self {
        let (all, of, each) = (Part::default(), BTreeMap::new(), BTreeMap::new());
        Self { most, all, of, each, begun: 0, lost: Vec::new() }
    }

    /// Keeps `bytes`, which are `whose`: by which number.
    pub(crate) fn keep(&mut self, whose: Arc<[Whose]>, bytes: BytesMut) -> Result<u64, Full> {
        let arrived = bytes.len();
        self.make_room(&whose, taken(arrived))?;
        let number = self.begun;
        self.begun += 1;
        self.enter(
            number,
            Piece { whose, arrived, bytes: Some(bytes), is_held: false, lost: None },
        );
        Ok(number)
    }

    /// The same, if nothing has to make room for them.
    pub(crate) fn keep_beside(
        &mut self,
        whose: Arc<[Whose]>,
        bytes: BytesMut,
    ) -> Result<u64, Full> {
        match self.full(&whose, taken(bytes.len())) {
            Some(_) => Err(Full),
            None => self.keep(whose, bytes),
        }
    }

    /// Adds `more` to the piece `number`, which is still on its way.
    pub(crate) fn add(&mut self, number: u64, more: &[u8]) -> Result<(), Full> {
        let piece = self.each.get(&number).filter(|piece| piece.bytes.is_some()).ok_or(Full)?;
        let arrived = piece.arrived + more.len();
        self.fit(number, arrived)?;
        let bytes = self.get_mut(number).and_then(|piece| piece.bytes.as_mut());
        bytes.ok_or(Full)?.extend_from_slice(more);
        Ok(())
    }

    /// Has the piece `number` take what `arrived` bytes take.
    pub(crate) fn fit(&mut self, number: u64, arrived: usize) -> Result<(), Full> {
        // Outside, it makes no room for itself.
        let mut piece = self.leave(number).ok_or(Full)?;
        let made = self.make_room(&piece.whose, taken(arrived));
        if made.is_ok() {
            piece.arrived = arrived;
        }
        self.enter(number, piece);
        made
    }

    /// All bytes of the piece `number`, which is not on its way any more.
    pub(crate) fn whole(&mut self, number: u64) -> Option<BytesMut> {
        let mut piece = self.leave(number)?;
        let bytes = piece.bytes.take();
        self.enter(number, piece);
        bytes
    }

    /// Has the piece `number` make no room for others any more. False if it is not there any more, or if
    /// more than half of a part that it is in would be held so.
    pub(crate) fn hold(&mut self, number: u64) -> bool {
        let Some(piece) = self.leave(number) else { return false };
        let (whose, taken) = (piece.whose.clone(), piece.taken());
        let mut all = (0..=whose.len()).map(|levels| &whose[..levels]);
        let is_held = all.all(|part| 2 * (self.fixed(part) + taken) <= self.most(part));
        self.enter(number, Piece { is_held, ..piece });
        is_held
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Piece> {
        self.each.get_mut(&number)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let Self { most: _, all, of, each, begun: _, lost: _ } = self;
        all.taken == 0
            && all.fixed == 0
            && all.owners == 0
            && all.oldest.is_empty()
            && of.is_empty()
            && each.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.all.taken
    }

    /// Who is to be told of what made room.
    pub(crate) fn lost(&mut self) -> Vec<Tell> {
        std::mem::take(&mut self.lost)
    }

    /// Has room for `taken` bytes of `whose`. What is too large for the part that it has drives nobody
    /// out.
    fn make_room(&mut self, whose: &[Whose], taken: usize) -> Result<(), Full> {
        let mut all = (0..=whose.len()).map(|levels| &whose[..levels]);
        if all.any(|part| taken > self.most(part)) {
            return Err(Full);
        }
        while let Some(full) = self.full(whose, taken) {
            let number = self.makes_room(full).ok_or(Full)?;
            let lost = self.leave(number).and_then(|piece| piece.lost);
            self.lost.extend(lost);
        }
        Ok(())
    }

    /// The part that has no room for `taken` bytes of `whose`, if any: first the smallest, so that what
    /// one can make of their own is not made of others.
    fn full<'a>(&self, whose: &'a [Whose], taken: usize) -> Option<&'a [Whose]> {
        let mut all = (0..=whose.len()).rev().map(|levels| &whose[..levels]);
        all.find(|part| self.part(part).map_or(0, |part| part.taken) + taken > self.most(part))
    }

    /// How much there may be in `of`: its part of what the others there have not fixed. Whoever they are,
    /// however many, something is left for who comes after.
    fn most(&self, of: &[Whose]) -> usize {
        let Some((one, above)) = of.split_last() else { return self.most };
        let others = self.fixed(above) - self.fixed(of);
        one.part(self.most(above).saturating_sub(others))
    }

    fn fixed(&self, of: &[Whose]) -> usize {
        self.part(of).map_or(0, |part| part.fixed)
    }

    /// What makes room in `full`: the oldest that is on its way, of those first who rank no lower than
    /// half of what one has there on average. By age alone who takes much would drive out who has
    /// little; by size alone many who have little each, who has more than one of them.
    fn makes_room(&self, full: &[Whose]) -> Option<u64> {
        let part = self.part(full)?;
        let number = part.oldest(part.enough()).or_else(|| part.oldest(0))?;
        let whose = &self.each.get(&number)?.whose;
        // Of what they have, again.
        if whose.len() > full.len() { self.makes_room(&whose[..=full.len()]) } else { Some(number) }
    }

    fn part(&self, of: &[Whose]) -> Option<&Part> {
        of.last().map_or(Some(&self.all), |one| self.of.get(one))
    }

    fn part_mut(&mut self, of: &[Whose]) -> Option<&mut Part> {
        match of.last() {
            Some(one) => self.of.get_mut(one),
            None => Some(&mut self.all),
        }
    }

    /// Has the piece `number` in the room.
    fn enter(&mut self, number: u64, piece: Piece) {
        let (whose, taken, fixed) = (piece.whose.clone(), piece.taken(), piece.fixed());
        self.each.insert(number, piece);
        self.change(&whose, |pieces| {
            pieces.all.taken += taken;
            pieces.all.fixed += fixed;
            for (above, one) in parts(&whose) {
                let part = pieces.of.entry(one.clone()).or_default();
                part.taken += taken;
                part.fixed += fixed;
                if part.taken == taken
                    && let Some(above) = pieces.part_mut(above)
                {
                    above.owners += 1;
                }
            }
            if fixed == 0
                && let Some(own) = pieces.part_mut(&whose)
            {
                own.oldest.insert((FIRST, number));
            }
        });
    }

    /// Gives back the room of the piece `number`, if it has any.
    pub(crate) fn leave(&mut self, number: u64) -> Option<Piece> {
        let piece = self.each.remove(&number)?;
        let (whose, taken, fixed) = (piece.whose.clone(), piece.taken(), piece.fixed());
        self.change(&whose, |pieces| {
            if let Some(own) = pieces.part_mut(&whose) {
                own.oldest.remove(&(FIRST, number));
            }
            for (above, one) in parts(&whose).rev() {
                let Some(part) = pieces.of.get_mut(one) else { continue };
                part.taken -= taken;
                part.fixed -= fixed;
                // Whoever has a piece has taken some.
                if part.taken == 0 {
                    pieces.of.remove(one);
                    if let Some(above) = pieces.part_mut(above) {
                        above.owners -= 1;
                    }
                }
            }
            pieces.all.taken -= taken;
            pieces.all.fixed -= fixed;
        });
        Some(piece)
    }

    /// Does `change` to what `whose` have: where they stand among those who share the part above them
    /// follows it.
    fn change(&mut self, whose: &[Whose], change: impl FnOnce(&mut Self)) {
        for (above, one) in parts(whose) {
            let place = self.of.get(one).and_then(Part::place);
            if let Some((above, place)) = self.part_mut(above).zip(place) {
                above.oldest.remove(&place);
            }
        }
        change(self);
        for (above, one) in parts(whose).rev() {
            let place = self.of.get(one).and_then(Part::place);
            if let Some((above, place)) = self.part_mut(above).zip(place) {
                above.oldest.insert(place);
            }
        }
    }
}
