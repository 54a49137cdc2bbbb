//! The storage contract: facts by key, one log, and the unit of work that ties them together.
//!
//! A back end keeps three things: *facts* (canonical JSON by [`FactKey`], each with the revision of
//! its last change, and of the kinds that are kept what each was at any time), the *log* (entries by
//! index, never updated or deleted), and small state that must be exact (what was used once, counters,
//! open permits). [`Store::commit`] changes them together or not at all. What the facts mean is known
//! elsewhere.
//!
//! INVARIANT: a unit commits only if no fact that it read has changed since it was read, so the
//! order of the log is the order of authority.

mod contract;
mod last_changes;
mod limits;
#[cfg(feature = "suite")]
pub mod suite;
mod unit;

pub use contract::{
    ChangeListener, CheckpointRow, Facts, LogEntry, NotDurable, NotKept, OpenPermit, Page, Store,
    StoreError,
};
pub use last_changes::LastChanges;
pub use limits::{
    BODY_MAX, KEPT, KEY_MAX, LOAD_MAX, ONCE_MAX, PAGE_MAX, QUEUE_MAX, TooLarge, UNIT_MAX, is_kept,
    prefix_end,
};
pub use unit::{
    CommitError, Committed, CounterKey, Effect, NewEntry, Once, OnceScope, SealedDisclosure, Unit,
    Urgency,
};
