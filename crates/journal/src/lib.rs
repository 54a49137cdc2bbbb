//! The decision log: seals what is personal, appends records, integrates them into a Merkle tree,
//! publishes signed checkpoints, and lets an outsider verify all of it.
//!
//! A record is *sequenced* once its unit is committed, *integrated* once a signed checkpoint covers
//! it, *published* once that checkpoint and its tiles are in the log's directory. Enforcement waits
//! for the first only. It does not know what may happen; it knows what was said about it.

mod anchor;
mod directory;
mod entry;
mod integrate;
mod seal;
pub mod verify;

pub use anchor::anchor_entry;
pub use directory::{LogDirectory, LogReadError, PublishError};
pub use entry::{DisclosureError, Journal, entry};
pub use integrate::{IntegrateError, Integrator};
pub use seal::{DataKey, SealError, Sealer};
