//! What tests share: a clock that they move, randomness that repeats.
//!
//! Never a normal dependency. Nothing here sleeps or reads the machine's time.

mod clock;
mod entropy;

pub use clock::ManualClock;
pub use entropy::SeededEntropy;
