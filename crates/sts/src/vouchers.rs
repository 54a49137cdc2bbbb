//! Vouchers: what the host's kernel said of a process, kept until that process asks for a token.
//!
//! A voucher is good once, for one key, for a minute, and for whoever restarts nothing: it is kept
//! in memory, by its digest. Any user of the host may ask for one, so each user has few at a time.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use model::{Agent, Clock, Entropy, HostProcess, Sha256Digest, Thumbprint};
use oauth::token_endpoint::TokenRequest;
use oauth::{ErrorCode, OAuthError};

use crate::service::{TokenRefusal, TokenService};

/// How long a voucher is good.
const LIFETIME: Duration = Duration::from_mins(1);

/// The most vouchers that one user may have.
const OF_ONE_USER_MAX: usize = 256;

/// The most vouchers that there may be.
const VOUCHERS_MAX: usize = 16_384;

/// Vouchers that were given and not shown yet.
#[derive(Debug, Default)]
pub(crate) struct Vouchers(Mutex<BTreeMap<Sha256Digest, Vouched>>);

#[derive(Debug)]
struct Vouched {
    key: Thumbprint,
    process: HostProcess,
    expires: Duration,
}

impl Vouchers {
    /// A voucher that `process` holds `key`; none if there are too many.
    pub(crate) fn give(
        &self,
        (key, process): (Thumbprint, HostProcess),
        (clock, entropy): (&dyn Clock, &dyn Entropy),
    ) -> Option<String> {
        let now = clock.monotonic();
        let text = keys::unguessable(|bytes| entropy.fill(bytes));
        let mut given = self.0.lock().expect("no panic while it is held");
        given.retain(|_, vouched| vouched.expires > now);
        let own = given.values().filter(|vouched| vouched.process.uid == process.uid).count();
        if own >= OF_ONE_USER_MAX || given.len() >= VOUCHERS_MAX {
            return None;
        }
        let vouched = Vouched { key, process, expires: now.saturating_add(LIFETIME) };
        given.insert(Sha256Digest::of(text.as_bytes()), vouched);
        Some(text)
    }

    /// The process that shows the voucher `text` with `key`, which uses it up.
    pub(crate) fn redeem(
        &self,
        (text, key): (&str, Thumbprint),
        clock: &dyn Clock,
    ) -> Option<HostProcess> {
        let mut given = self.0.lock().expect("no panic while it is held");
        let vouched = given.remove(&Sha256Digest::of(text.as_bytes()))?;
        (vouched.key == key && vouched.expires > clock.monotonic()).then_some(vouched.process)
    }
}

impl TokenService {
    /// The process that the host vouches for, if a voucher is shown.
    pub(crate) fn process(
        &self,
        form: &TokenRequest,
        key: Thumbprint,
        agent: &Agent,
    ) -> Result<Option<HostProcess>, TokenRefusal> {
        let Some(voucher) = form.voucher.as_deref() else { return Ok(None) };
        let found = self.vouchers.redeem((voucher, key), self.authority.clock().as_ref());
        found.map(Some).ok_or_else(|| {
            let why = "the voucher is not known, was used, has expired, or is for another key";
            let error = OAuthError::new(ErrorCode::InvalidGrant, why);
            TokenRefusal::of("voucher_invalid", error, agent)
        })
    }
}

#[cfg(test)]
mod tests {
    use testkit::{ManualClock, SeededEntropy};

    use super::*;

    #[test]
    fn i_18_a_user_has_so_many_vouchers_and_another_has_its_own() {
        let (all, clock, entropy) =
            (Vouchers::default(), ManualClock::new(), SeededEntropy::new(1));
        let give = |uid| {
            let process = HostProcess { exe: None, pid: 7, started: 1, uid };
            all.give((Thumbprint::from_bytes([1; 32]), process), (&clock, &entropy)).is_some()
        };
        assert!((0..OF_ONE_USER_MAX).all(|_| give(1)));
        assert_eq!([give(1), give(2)], [false, true]);
        clock.advance(LIFETIME);
        assert!(give(1));
    }
}
