//! Console sessions: who is logged in, in which browser. In memory: a restart logs everybody out.
//!
//! Of a session's id only the digest is kept, so that nobody who reads this memory or a dump of it
//! has one to show. What changes something is confirmed by the session's CSRF token, which pages of
//! ours hold and no other page can read.
//!
//! INVARIANT: a session ends 15 minutes after it was last used, and 8 hours after it began, whatever
//! was done in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_lc_rs::hmac;
use model::{Clock, Entropy, Sha256Digest, Timestamp};

use crate::cookies::SessionId;
use crate::id_token::LoggedIn;

/// How long a session lasts that nobody uses.
pub const SESSION_IDLE: Duration = Duration::from_mins(15);

/// How long a session lasts at most.
pub const SESSION_LIFETIME: Duration = Duration::from_hours(8);

/// The most sessions.
pub const SESSIONS_MAX: usize = 16_384;

/// The most sessions of one person.
pub const SESSIONS_OF_ONE_MAX: usize = 16;

/// What sets CSRF tokens apart from whatever else a key is used for.
const CSRF_LABEL: &[u8] = b"chancery/csrf/v1\0";

/// There is no place for another session: those that there are stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many sessions: log out elsewhere, or wait until one has ended")]
pub struct TooManySessions;

/// Why a request is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// There is no such session, or not any more.
    #[error("not logged in, or not any more")]
    Unknown,
    /// The request does not come from a page of this session.
    #[error("the request does not come from a page of this session: open the page again")]
    Csrf,
}

impl SessionError {
    /// The code of the error: a contract.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unknown => "not_logged_in",
            Self::Csrf => "csrf",
        }
    }
}

/// A console session, as it was when it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "whose session it is decides what may be done in it"]
pub struct ConsoleSession {
    /// Whose it is, and how that was shown.
    pub who: Arc<LoggedIn>,
    /// When the person authenticated for it: it is no session of who left and came back since, or whose
    /// sessions were ended since.
    pub since: Timestamp,
}

/// A person: an issuer and a subject.
type Person = (String, String);

#[derive(Debug)]
struct Entry {
    who: Arc<LoggedIn>,
    since: Timestamp,
    begun: Duration,
    used: Duration,
}

impl Entry {
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.used) >= SESSION_IDLE
            || now.saturating_sub(self.begun) >= SESSION_LIFETIME
    }
}

/// INVARIANT: `of` has for each person exactly the sessions that `entries` has of it.
#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<Sha256Digest, Entry>,
    of: BTreeMap<Person, BTreeSet<Sha256Digest>>,
}

impl Table {
    /// Whether there is no place for another session of `person`.
    fn is_full(&self, person: &Person) -> bool {
        let own = self.of.get(person).map_or(0, BTreeSet::len);
        own >= SESSIONS_OF_ONE_MAX || self.entries.len() >= SESSIONS_MAX
    }

    fn insert(&mut self, id: Sha256Digest, entry: Entry) {
        self.of.entry(person(&entry.who)).or_default().insert(id);
        self.entries.insert(id, entry);
    }

    fn remove(&mut self, id: &Sha256Digest) {
        let Some(entry) = self.entries.remove(id) else { return };
        let person = person(&entry.who);
        if let Some(own) = self.of.get_mut(&person) {
            own.remove(id);
            if own.is_empty() {
                self.of.remove(&person);
            }
        }
    }

    /// Removes what is over at `now`.
    fn sweep(&mut self, now: Duration) {
        let over = self.entries.iter().filter(|(_, entry)| entry.is_over(now));
        let over: Vec<_> = over.map(|(id, _)| *id).collect();
        for id in &over {
            self.remove(id);
        }
    }
}

fn person(who: &LoggedIn) -> Person {
    (who.issuer.clone(), who.subject.clone())
}

/// All console sessions of this process.
pub struct Sessions {
    table: Mutex<Table>,
    csrf: hmac::Key,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Sessions {
    /// No sessions.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let mut key = [0; 32];
        entropy.fill(&mut key);
        let csrf = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Self { table: Mutex::default(), csrf, clock, entropy }
    }

    /// Begins a session of `who`. Its id is new, whatever the browser held before, so that nobody
    /// can prepare one for somebody else.
    pub fn begin(&self, who: LoggedIn) -> Result<SessionId, TooManySessions> {
        let now = self.clock.monotonic();
        let id = SessionId::new(&*self.entropy);
        let mut table = self.table();
        let person = person(&who);
        if table.is_full(&person) {
            table.sweep(now);
        }
        if table.is_full(&person) {
            return Err(TooManySessions);
        }
        // A provider's clock may be ahead.
        let since = who.since().min(self.clock.now());
        let who = Arc::new(who);
        table.insert(id.digest(), Entry { who, since, begun: now, used: now });
        Ok(id)
    }

    /// The session `id`, for what changes nothing. This uses it.
    pub fn find(&self, id: &SessionId) -> Result<ConsoleSession, SessionError> {
        let now = self.clock.monotonic();
        let mut table = self.table();
        let digest = id.digest();
        let entry = table.entries.get_mut(&digest).ok_or(SessionError::Unknown)?;
        if entry.is_over(now) {
            table.remove(&digest);
            return Err(SessionError::Unknown);
        }
        entry.used = now;
        Ok(ConsoleSession { who: Arc::clone(&entry.who), since: entry.since })
    }

    /// The session `id`, for what changes something: only with its CSRF token. This uses it.
    pub fn confirm(
        &self,
        id: &SessionId,
        csrf_token: &str,
    ) -> Result<ConsoleSession, SessionError> {
        // The token first: a request from another page must not keep a session alive.
        let tag = keys::from_base64url(csrf_token).ok_or(SessionError::Csrf)?;
        // Compares in constant time.
        hmac::verify(&self.csrf, &csrf_input(id), &tag).map_err(|_| SessionError::Csrf)?;
        self.find(id)
    }

    /// The CSRF token of the session `id`, for forms in its pages. It is derived from the id, and
    /// the id cannot be found from it.
    pub fn csrf_token(&self, id: &SessionId) -> String {
        keys::base64url(hmac::sign(&self.csrf, &csrf_input(id)).as_ref())
    }

    /// Ends the session `id`: the person logs out here, or is nobody here any longer.
    pub fn end(&self, id: &SessionId) {
        self.table().remove(&id.digest());
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no panic while it is held")
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions(…)")
    }
}

fn csrf_input(id: &SessionId) -> Vec<u8> {
    [CSRF_LABEL, id.as_bytes()].concat()
}
