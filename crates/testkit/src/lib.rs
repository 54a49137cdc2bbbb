//! What tests share: a clock that they move, randomness that repeats, a store that fails on demand.
//!
//! Never a normal dependency. Nothing here sleeps or reads the machine's time.

mod clock;
mod entropy;
mod faults;

pub use clock::ManualClock;
pub use entropy::SeededEntropy;
pub use faults::{Call, Fault, FaultyStore, GARBAGE};
