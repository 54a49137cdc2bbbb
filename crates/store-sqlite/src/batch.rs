//! One batch: units as savepoints of one transaction, one sync.

use std::collections::HashMap;

use model::{FactKey, Revision};
use rusqlite::{Connection, OptionalExtension as _, params};
use store::{CommitError, Committed, CounterKey, Effect, Unit};

/// Where log and facts are, as the writer knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) revision: Revision,
    pub(crate) next: u64,
}

/// The last change of every key since the start.
#[derive(Debug, Default)]
pub(crate) struct LastChanges {
    pub(crate) floor: Revision,
    pub(crate) changed: HashMap<FactKey, Revision>,
}

/// The most keys whose last change is remembered; beyond that whatever was read before is stale.
const CHANGED_MAX: usize = 262_144;

impl LastChanges {
    fn stale(&self, unit: &Unit, fresh: &HashMap<FactKey, Revision>) -> Option<FactKey> {
        if unit.reads.is_empty() {
            return None;
        }
        if unit.revision < self.floor {
            return unit.reads.first().cloned();
        }
        let changed = |key: &&FactKey| {
            fresh.contains_key(*key) || self.changed.get(*key).is_some_and(|at| *at > unit.revision)
        };
        unit.reads.iter().find(changed).cloned()
    }

    /// Takes over what a committed batch changed.
    pub(crate) fn absorb(&mut self, fresh: &HashMap<FactKey, Revision>, revision: Revision) {
        if self.changed.len() + fresh.len() > CHANGED_MAX {
            self.changed.clear();
            self.floor = revision;
        }
        self.changed.extend(fresh.iter().map(|(key, at)| (key.clone(), *at)));
    }
}

/// What one batch has done so far.
pub(crate) struct Batch<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) changes: &'a LastChanges,
    pub(crate) head: Head,
    /// The keys that the batch wrote.
    pub(crate) fresh: HashMap<FactKey, Revision>,
}

impl Batch<'_> {
    /// Applies one unit, or nothing of it.
    pub(crate) fn apply(&mut self, unit: &Unit) -> Result<Committed, CommitError> {
        if let Some(key) = self.changes.stale(unit, &self.fresh) {
            return Err(CommitError::Changed { key });
        }
        let size = unit.entries.len() + unit.effects.len() + unit.reads.len();
        let fits = unit.entries.iter().all(|e| e.bytes.len() <= model::record::MAX_RECORD_BYTES);
        if size > store::UNIT_MAX || !fits {
            return Err(CommitError::Unavailable("the unit is too large".into()));
        }
        let before = (self.head, self.fresh.clone());
        self.run("SAVEPOINT unit")?;
        match self.apply_all(unit) {
            Ok(committed) => {
                self.run("RELEASE unit")?;
                Ok(committed)
            }
            Err(error) => {
                (self.head, self.fresh) = before;
                self.run("ROLLBACK TO unit")?;
                self.run("RELEASE unit")?;
                Err(error)
            }
        }
    }

    fn apply_all(&mut self, unit: &Unit) -> Result<Committed, CommitError> {
        let mut indices = Vec::with_capacity(unit.entries.len());
        for entry in &unit.entries {
            let index = self.head.next;
            self.exec(
                "INSERT INTO leaf (idx, id, bytes, hash) VALUES (?1, ?2, ?3, ?4)",
                params![signed(index), entry.id, entry.bytes, entry.leaf.as_bytes()],
            )?;
            if let Some(disclosure) = &entry.disclosure {
                self.exec(
                    "INSERT INTO disclosure (idx, data_key, sealed) VALUES (?1, ?2, ?3)",
                    params![signed(index), disclosure.data_key.as_str(), disclosure.sealed],
                )?;
            }
            indices.push(index);
            self.head.next += 1;
        }
        let last = indices.last().copied();
        let writes = unit.effects.iter().any(writes_fact);
        if writes {
            self.head.revision = Revision(self.head.revision.0 + 1);
        }
        let mut counters = Vec::new();
        for effect in &unit.effects {
            counters.extend(self.effect(effect, last)?);
        }
        Ok(Committed { indices, revision: self.head.revision, counters })
    }

    /// Applies one effect; gives the value of the counter that it counted, if it did.
    fn effect(&mut self, effect: &Effect, last: Option<u64>) -> Result<Option<i64>, CommitError> {
        match effect {
            Effect::Put { key, body } => self.put(key, body)?,
            Effect::PutNew { key, body } => {
                if self.exists(key)? {
                    return Err(CommitError::Exists { key: key.clone() });
                }
                self.put(key, body)?;
            }
            Effect::Remove { key } => {
                self.exec("DELETE FROM fact WHERE key = ?1", params![key.as_str()])?;
                self.fresh.insert(key.clone(), self.head.revision);
            }
            Effect::UseOnce { scope, id, expires } => {
                let sql = "INSERT OR IGNORE INTO once (scope, id, expires) VALUES (?1, ?2, ?3)";
                let new = self.exec(sql, params![*scope as u8, id, expires.as_millis()])?;
                if new != 1 {
                    return Err(CommitError::Used);
                }
            }
            Effect::Count { counter, amount, limit } => {
                return self.count(counter, *amount, *limit).map(Some);
            }
            Effect::OpenPermit => {
                let index = last.ok_or_else(|| unfit("a permit needs a record"))?;
                self.exec("INSERT INTO open_permit (idx) VALUES (?1)", params![signed(index)])?;
            }
            Effect::ClosePermit { index } => {
                let sql = "DELETE FROM open_permit WHERE idx = ?1";
                if self.exec(sql, params![signed(*index)])? != 1 {
                    return Err(CommitError::Used);
                }
            }
        }
        Ok(None)
    }

    fn put(&mut self, key: &FactKey, body: &[u8]) -> Result<(), CommitError> {
        let sql = "INSERT INTO fact (key, revision, body) VALUES (?1, ?2, ?3) \
                   ON CONFLICT (key) DO UPDATE SET revision = ?2, body = ?3";
        self.exec(sql, params![key.as_str(), signed(self.head.revision.0), body])?;
        self.fresh.insert(key.clone(), self.head.revision);
        Ok(())
    }

    fn exists(&self, key: &FactKey) -> Result<bool, CommitError> {
        let query = self.connection.prepare_cached("SELECT 1 FROM fact WHERE key = ?1");
        let mut query = query.map_err(lost)?;
        let found = query.query_row(params![key.as_str()], |_| Ok(())).optional().map_err(lost)?;
        Ok(found.is_some())
    }

    fn count(
        &self,
        counter: &CounterKey,
        amount: i64,
        limit: Option<i64>,
    ) -> Result<i64, CommitError> {
        let sql = "INSERT INTO counter (name, value) VALUES (?1, ?2) \
                   ON CONFLICT (name) DO UPDATE SET value = value + ?2 RETURNING value";
        let mut query = self.connection.prepare_cached(sql).map_err(lost)?;
        let value: i64 =
            query.query_row(params![counter.0, amount], |row| row.get(0)).map_err(lost)?;
        if amount > 0 && limit.is_some_and(|limit| value > limit) {
            return Err(CommitError::OverLimit { counter: counter.clone() });
        }
        Ok(value)
    }

    fn exec(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, CommitError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(lost)?;
        statement.execute(params).map_err(lost)
    }

    fn run(&self, sql: &str) -> Result<(), CommitError> {
        self.exec(sql, []).map(drop)
    }
}

const fn writes_fact(effect: &Effect) -> bool {
    matches!(effect, Effect::Put { .. } | Effect::PutNew { .. } | Effect::Remove { .. })
}

fn lost(error: rusqlite::Error) -> CommitError {
    CommitError::Unavailable(Box::new(error))
}

fn unfit(what: &'static str) -> CommitError {
    CommitError::Unavailable(what.into())
}

/// SQLite's integers are signed; ours never get that far.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
