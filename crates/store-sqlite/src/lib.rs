//! The storage contract on SQLite: one file, one writer thread, one sync per batch.
//!
//! Facts, records and everything that must be exact change in one transaction. Readers have
//! connections of their own and see only what is durable. It knows nothing of what facts mean.

mod batch;
mod chores;
mod loads;
mod open;
mod place;
mod queue;
mod read;
mod statements;
mod writer;

pub use open::{OpenError, Options, SCHEMA_VERSION, SqliteStore};
pub use writer::OnFatal;
