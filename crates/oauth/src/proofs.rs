//! Proofs that were seen: each is good once while it could still be accepted (RFC 9449 §11.1).
//!
//! In memory, for one start. What is decided uses its proof up in the commit as well, which holds
//! over starts and replicas.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

/// For how long a proof could be accepted: its time may be off by half of this, either way.
pub const WINDOW: Duration = Duration::from_mins(2);

/// What is known of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was not seen before, and is from now on.
    Never,
    /// It was seen before.
    Before,
    /// There is no room to remember it, so it cannot be taken.
    NoRoom,
}

/// The proofs of the last window and of the one before.
///
/// INVARIANT: a proof is forgotten only when it is too old to be accepted, never to make room.
#[derive(Debug)]
pub struct Proofs {
    max: usize,
    windows: Mutex<Windows>,
}

#[derive(Debug, Default)]
struct Windows {
    began: Duration,
    current: HashSet<u64>,
    last: HashSet<u64>,
}

impl Proofs {
    /// Remembers up to `max` proofs a window; beyond that no proof is taken.
    pub fn new(max: usize) -> Self {
        Self { max, windows: Mutex::default() }
    }

    /// Takes note of the proof with this digest at `now`, on the monotonic clock.
    pub fn note(&self, digest: &[u8; 32], now: Duration) -> Seen {
        // Two proofs with one short digest would deny the second: rare, and on the safe side.
        let short = u64::from_be_bytes(digest[..8].try_into().expect("eight bytes"));
        let mut windows = self.windows.lock().expect("no panic while it is held");
        windows.turn(now);
        if windows.current.contains(&short) || windows.last.contains(&short) {
            return Seen::Before;
        }
        if windows.current.len() >= self.max {
            return Seen::NoRoom;
        }
        windows.current.insert(short);
        Seen::Never
    }
}

impl Windows {
    fn turn(&mut self, now: Duration) {
        let age = now.saturating_sub(self.began);
        if age < WINDOW {
            return;
        }
        self.last = std::mem::take(&mut self.current);
        if age >= WINDOW * 2 {
            self.last.clear();
        }
        self.began = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_000);

    fn digest(n: u64) -> [u8; 32] {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.to_be_bytes());
        digest
    }

    /// Notes proof `n`, `after` seconds from the start.
    fn check(proofs: &Proofs, n: u64, after: u64, seen: Seen) {
        let now = START + Duration::from_secs(after);
        assert_eq!(proofs.note(&digest(n), now), seen, "proof {n} after {after} s");
    }

    #[test]
    fn n_142_a_proof_is_good_once_within_its_window() {
        let proofs = Proofs::new(10);
        check(&proofs, 1, 0, Seen::Never);
        check(&proofs, 1, 0, Seen::Before);
        check(&proofs, 1, 119, Seen::Before);
        check(&proofs, 2, 119, Seen::Never);
        check(&proofs, 1, 120, Seen::Before);
        check(&proofs, 2, 238, Seen::Before);
        check(&proofs, 1, 241, Seen::Never);
    }

    #[test]
    fn n_113_a_full_table_denies_and_forgets_nothing() {
        let proofs = Proofs::new(2);
        check(&proofs, 1, 0, Seen::Never);
        check(&proofs, 2, 0, Seen::Never);
        check(&proofs, 3, 1, Seen::NoRoom);
        check(&proofs, 1, 1, Seen::Before);
        check(&proofs, 3, 120, Seen::Never);
    }
}
