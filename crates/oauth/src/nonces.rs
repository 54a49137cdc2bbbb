//! Nonces for proofs of possession (RFC 9449 §8, §9): whoever shows one made the proof after it was
//! told. Without, whoever had a key for a moment could make proofs for later. None is kept: it is
//! computed again.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

/// For how many seconds at least a nonce is good; for twice as many at most.
pub const LIFETIME_S: i64 = 300;

/// Tells nonces, and knows its own again.
#[derive(Debug)]
pub struct Nonces(hmac::Key);

impl Nonces {
    /// Nonces that nobody can tell beforehand who does not know `secret`.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The nonce to be told at `now`, in seconds since the epoch.
    pub fn at(&self, now: i64) -> String {
        self.of(now.div_euclid(LIFETIME_S))
    }

    /// Whether `nonce` was told not long before `now`.
    pub fn is_fresh(&self, nonce: &str, now: i64) -> bool {
        let period = now.div_euclid(LIFETIME_S);
        [period, period - 1].into_iter().any(|period| {
            verify_slices_are_equal(self.of(period).as_bytes(), nonce.as_bytes()).is_ok()
        })
    }

    fn of(&self, period: i64) -> String {
        keys::base64url(hmac::sign(&self.0, &period.to_be_bytes()).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n_146_a_nonce_is_good_for_a_while_and_nobody_elses() {
        let (ours, others) = (Nonces::new(&[1; 32]), Nonces::new(&[2; 32]));
        for told in [0, 1, LIFETIME_S - 1, 1_790_000_000] {
            let nonce = ours.at(told);
            let check = |now, expected| {
                assert_eq!(ours.is_fresh(&nonce, now), expected, "told at {told}, shown at {now}");
            };
            check(told, true);
            check(told + LIFETIME_S, true);
            check(told + 2 * LIFETIME_S, false);
            check(told - LIFETIME_S, false);
            assert!(!others.is_fresh(&nonce, told));
            assert!(!ours.is_fresh(&nonce[1..], told) && !ours.is_fresh("", told));
        }
    }
}
