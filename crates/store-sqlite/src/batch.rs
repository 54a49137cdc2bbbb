//! One batch: units of one transaction, one sync.
//!
//! A batch is first tried without savepoints: what refuses a unit mostly does so before the unit
//! has written anything. If one has, the transaction is rolled back and tried again with a
//! savepoint for each unit.

use std::collections::HashSet;

use model::{FactKey, Revision, Timestamp};
use rusqlite::{OptionalExtension as _, params};
use store::{
    CheckpointRow, CommitError, Committed, CounterKey, Effect, LastChanges, ONCE_MAX, Once, Unit,
};

use crate::statements::Statements;

/// Where log and facts are, as the writer knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) revision: Revision,
    pub(crate) next: u64,
}

/// What was used once, as it is remembered: its scope and the beginning of its digest.
pub(crate) type OnceKey = [u8; 17];

/// What was used once and is not forgotten. The writer alone asks, so that the table need not be
/// searched and is written at its end only: no page of it is written for each unit of a batch.
pub(crate) type Used = HashSet<OnceKey>;

/// The key of a thing of `scope` with the digest `id`.
pub(crate) fn once_key(scope: u8, id: &[u8]) -> OnceKey {
    let mut key = [0; 17];
    key[0] = scope;
    let length = id.len().min(16);
    key[1..=length].copy_from_slice(&id[..length]);
    key
}

/// Why a unit is not part of the batch.
pub(crate) enum Refused {
    /// It may not be; it has written nothing.
    Cleanly(CommitError),
    /// It may not be, and has written something that must be undone.
    HalfWay(CommitError),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Self::HalfWay(CommitError::Unavailable(Box::new(error)))
    }
}

/// What one batch has done so far.
pub(crate) struct Batch<'a, 'c> {
    pub(crate) sql: &'a mut Statements<'c>,
    pub(crate) changes: &'a LastChanges,
    pub(crate) used: &'a Used,
    /// What the batch uses once.
    pub(crate) using: Used,
    /// What its last unit does.
    last_using: Vec<OnceKey>,
    /// The revision before the batch: what anybody can have read.
    pub(crate) readable: Revision,
    pub(crate) head: Head,
    /// When it is.
    at: Timestamp,
    /// The keys that each unit wrote, and the revision that it made.
    pub(crate) wrote: Vec<(Vec<FactKey>, Revision)>,
    /// All keys that the batch wrote.
    pub(crate) fresh: HashSet<FactKey>,
    /// What the unit at hand left its counters at.
    pub(crate) counted: Vec<i64>,
    /// Whether there is anything to commit.
    pub(crate) is_dirty: bool,
}

impl<'a, 'c> Batch<'a, 'c> {
    /// A batch on top of `head`, at `at`.
    pub(crate) fn on(
        (head, at): (Head, Timestamp),
        sql: &'a mut Statements<'c>,
        changes: &'a LastChanges,
        used: &'a Used,
    ) -> Self {
        Self {
            sql,
            changes,
            used,
            using: Used::new(),
            last_using: Vec::new(),
            readable: head.revision,
            head,
            at,
            wrote: Vec::new(),
            fresh: HashSet::new(),
            counted: Vec::new(),
            is_dirty: false,
        }
    }

    /// Applies one unit, or says why not.
    pub(crate) fn apply(&mut self, unit: &Unit) -> Result<Committed, Refused> {
        let clean = |error| Err(Refused::Cleanly(error));
        if let Err(error) = unit.check_limits() {
            return clean(CommitError::Unavailable(Box::new(error)));
        }
        if let Some(key) = self.stale(unit) {
            return clean(CommitError::Changed { key: key.clone() });
        }
        let was_dirty = std::mem::replace(&mut self.is_dirty, false);
        let before = self.head;
        self.last_using.clear();
        let applied = self.apply_all(unit);
        let has_written = std::mem::replace(&mut self.is_dirty, was_dirty);
        match applied {
            Ok(committed) => {
                self.is_dirty |= has_written;
                Ok(committed)
            }
            Err(refused) => {
                self.head = before;
                for key in &self.last_using {
                    self.using.remove(key);
                }
                Err(match refused {
                    Refused::Cleanly(error) if has_written => Refused::HalfWay(error),
                    refused => refused,
                })
            }
        }
    }

    /// Applies one unit within a savepoint: what it wrote is undone if it is refused.
    pub(crate) fn apply_undoably(
        &mut self,
        unit: &Unit,
    ) -> Result<Result<Committed, CommitError>, rusqlite::Error> {
        self.sql.savepoint.execute([])?;
        let applied = self.apply(unit);
        if applied.is_err() {
            self.sql.rollback_to.execute([])?;
        }
        self.sql.release.execute([])?;
        Ok(applied.map_err(|refused| match refused {
            Refused::Cleanly(error) | Refused::HalfWay(error) => error,
        }))
    }

    /// Replaces the checkpoint of `from` by `to`; false if the newest is another.
    pub(crate) fn swap(
        &mut self,
        from: Option<u64>,
        to: &CheckpointRow,
    ) -> Result<bool, rusqlite::Error> {
        let size = signed(to.size);
        let swapped = match from {
            None => self.sql.first_checkpoint.execute(params![size, to.note])?,
            Some(from) => self.sql.next_checkpoint.execute(params![size, to.note, signed(from)])?,
        };
        self.is_dirty |= swapped == 1;
        Ok(swapped == 1)
    }

    fn stale<'u>(&self, unit: &'u Unit) -> Option<&'u FactKey> {
        if unit.revision > self.readable {
            return unit.reads.first();
        }
        let fresh = unit.reads.iter().find(|key| self.fresh.contains(*key));
        fresh.or_else(|| self.changes.changed(&unit.reads, unit.revision))
    }

    fn apply_all(&mut self, unit: &Unit) -> Result<Committed, Refused> {
        let first = self.head.next;
        let next = first + unit.entries.len() as u64;
        if unit.effects.iter().any(|effect| effect.writes().is_some()) {
            self.head.revision = Revision(self.head.revision.0 + 1);
        }
        self.counted.clear();
        let mut keys = Vec::new();
        for effect in &unit.effects {
            keys.extend(self.effect(effect, (first, next))?);
        }
        for (index, entry) in (first..).zip(&unit.entries) {
            self.is_dirty = true;
            let (id, leaf) = (entry.id, entry.leaf.as_bytes());
            self.sql.leaf.execute(params![signed(index), id, entry.bytes, leaf])?;
            // Ids are ordered by time, so this writes at the end too.
            self.sql.leaf_id.execute(params![id, signed(index)])?;
            if let Some(disclosure) = &entry.disclosure {
                let key = disclosure.data_key.as_str();
                self.sql.disclosure.execute(params![signed(index), key, disclosure.sealed])?;
            }
        }
        self.head.next = next;
        let revision = self.head.revision;
        if !keys.is_empty() {
            self.fresh.extend(keys.iter().cloned());
            self.wrote.push((keys, revision));
        }
        let counters = std::mem::take(&mut self.counted);
        Ok(Committed { indices: (first..next).collect(), revision, counters })
    }

    /// Does one effect of a unit whose entries stand from `first` to before `next`; gives the key
    /// of the fact that it wrote.
    fn effect(
        &mut self,
        effect: &Effect,
        (first, next): (u64, u64),
    ) -> Result<Option<FactKey>, Refused> {
        let revision = signed(self.head.revision.0);
        let done = match effect {
            Effect::Put { key, body } => {
                self.sql.put.execute(params![key.as_str(), revision, body])?
            }
            Effect::PutNew { key, body } => {
                let new = self.sql.put_new.execute(params![key.as_str(), revision, body])?;
                only_once(new, || CommitError::Exists { key: key.clone() })?
            }
            Effect::Lacks { key } => {
                if self.sql.exists.exists([key.as_str()])? {
                    return Err(Refused::Cleanly(CommitError::Exists { key: key.clone() }));
                }
                0
            }
            Effect::Remove { key } => self.sql.remove.execute(params![key.as_str()])?,
            Effect::UseOnce { scope, id, expires } => {
                let key = once_key(*scope as u8, id);
                if self.used.contains(&key) || self.using.contains(&key) {
                    let once = Once { scope: *scope, id: *id };
                    return Err(Refused::Cleanly(CommitError::Used(Some(once))));
                }
                if (self.used.len() + self.using.len()) as u64 >= ONCE_MAX {
                    return Err(unfit("too many things used once are still remembered"));
                }
                let row = params![*scope as u8, id, expires.as_millis()];
                let new = self.sql.use_once.execute(row)?;
                self.using.insert(key);
                self.last_using.push(key);
                new
            }
            Effect::Count { counter, amount, limit } => self.count(counter, *amount, *limit)?,
            Effect::OpenPermit { entry, body } => {
                let index = (first..next).nth(*entry);
                let index = index.ok_or_else(|| unfit("a permit needs a record"))?;
                self.sql.open_permit.execute(params![signed(index), body])?
            }
            Effect::ClosePermit { index } => {
                let closed = self.sql.close_permit.execute([signed(*index)])?;
                only_once(closed, || CommitError::Used(None))?
            }
        };
        self.is_dirty |= done > 0;
        if let Some(key) = effect.writes().filter(|key| done > 0 && store::is_kept(key)) {
            let body = match effect {
                Effect::Put { body, .. } | Effect::PutNew { body, .. } => Some(body),
                _ => None,
            };
            self.sql.past.execute(params![key.as_str(), revision, self.at.as_millis(), body])?;
        }
        Ok(effect.writes().cloned())
    }

    fn count(
        &mut self,
        counter: &CounterKey,
        amount: i64,
        limit: Option<i64>,
    ) -> Result<usize, Refused> {
        let value = self.sql.counter.query_row([&counter.0], |row| row.get(0)).optional()?;
        let value = i64::checked_add(value.unwrap_or(0), amount);
        // What is given back was counted before, and may be forgotten by now.
        let value = value.map(|value| if amount < 0 { value.max(0) } else { value });
        let within = |value: &i64| amount <= 0 || limit.is_none_or(|limit| *value <= limit);
        let over = || Refused::Cleanly(CommitError::OverLimit { counter: counter.clone() });
        let value = value.filter(within).ok_or_else(over)?;
        self.counted.push(value);
        if value == 0 {
            return Ok(self.sql.uncount.execute([&counter.0])?);
        }
        Ok(self.sql.count.execute(params![counter.0, value])?)
    }
}

fn only_once(done: usize, otherwise: impl FnOnce() -> CommitError) -> Result<usize, Refused> {
    if done == 1 { Ok(done) } else { Err(Refused::Cleanly(otherwise())) }
}

fn unfit(what: &'static str) -> Refused {
    Refused::Cleanly(CommitError::Unavailable(what.into()))
}

/// What SQLite has of an unsigned number of ours.
pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// SQLite's integers are signed; ours never get that far.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
