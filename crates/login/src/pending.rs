//! Logins that were begun and not finished yet, in memory.
//!
//! INVARIANT: one is finished at most once, by the browser that began it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest;
use keys::Secret;
use model::{Clock, Entropy, Sha256Digest, Timestamp};

use crate::cookies::{LoginState, unguessable};
use crate::error::LoginError;
use crate::metadata::Metadata;
use crate::url::ReturnPath;

/// How long a login may take.
pub const PENDING_LIFETIME: Duration = Duration::from_mins(10);

/// The most logins that are begun and not finished.
pub const PENDING_MAX: usize = 4_096;

/// The most of them that one began.
pub const PENDING_OF_ONE_MAX: usize = 256;

/// A login that was begun.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Comes back with the answer. By its digest, so that comparing takes no longer for a better
    /// guess.
    state: Sha256Digest,
    /// Comes back in the ID token.
    pub(crate) nonce: String,
    /// Shows the provider that who redeems the code is who asked for it (RFC 7636).
    pub(crate) verifier: Secret<String>,
    /// Where the person wanted to go.
    pub(crate) return_to: ReturnPath,
    /// The provider as it was then: what an answer is held to does not change under way.
    pub(crate) metadata: Arc<Metadata>,
    /// When it was begun.
    pub(crate) begun: Timestamp,
    /// By whom.
    from: Option<IpAddr>,
    expires: Duration,
}

/// What goes to the provider of a login that begins.
#[derive(Debug)]
pub(crate) struct Questions {
    pub(crate) state: String,
    pub(crate) nonce: String,
    /// The challenge that the verifier answers, by S256.
    pub(crate) challenge: String,
}

/// The table of all that were begun.
#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<BTreeMap<Sha256Digest, Pending>>);

impl Table {
    /// Begins a login of whoever comes `from` there. `Busy` if too many are begun: none is forgotten
    /// for another.
    pub(crate) fn begin(
        &self,
        from: Option<IpAddr>,
        (metadata, return_to): (Arc<Metadata>, ReturnPath),
        (clock, entropy): (&dyn Clock, &dyn Entropy),
    ) -> Result<(LoginState, Questions), LoginError> {
        let now = clock.monotonic();
        let login = LoginState::new(entropy);
        let [state, nonce, verifier] = std::array::from_fn(|_| unguessable(entropy));
        let challenge = digest::digest(&digest::SHA256, verifier.as_bytes());
        let challenge = keys::base64url(challenge.as_ref());
        let pending = Pending {
            state: Sha256Digest::of(state.as_bytes()),
            nonce: nonce.clone(),
            verifier: Secret::new(verifier),
            return_to,
            metadata,
            begun: clock.now(),
            from,
            expires: now.saturating_add(PENDING_LIFETIME),
        };
        let mut all = self.0.lock().expect("no panic while it is held");
        if all.len() >= PENDING_MAX {
            all.retain(|_, pending| pending.expires > now);
        }
        if all.len() >= PENDING_MAX {
            return Err(LoginError::Busy);
        }
        let is_theirs = |pending: &&Pending| pending.from == from && pending.expires > now;
        if from.is_some() && all.values().filter(is_theirs).count() >= PENDING_OF_ONE_MAX {
            return Err(LoginError::BusyOfOne);
        }
        all.insert(login.digest(), pending);
        Ok((login, Questions { state, nonce, challenge }))
    }

    /// The login of this browser that `state` belongs to, which it uses up.
    pub(crate) fn take(
        &self,
        login: &LoginState,
        state: &str,
        clock: &dyn Clock,
    ) -> Result<Pending, LoginError> {
        let (login, state) = (login.digest(), Sha256Digest::of(state.as_bytes()));
        let mut all = self.0.lock().expect("no panic while it is held");
        // A wrong state uses up nothing: any page can send a browser here with one.
        if all.get(&login).is_none_or(|pending| pending.state != state) {
            return Err(LoginError::Unknown);
        }
        let pending = all.remove(&login).ok_or(LoginError::Unknown)?;
        let is_late = pending.expires <= clock.monotonic();
        if is_late { Err(LoginError::Expired) } else { Ok(pending) }
    }
}
