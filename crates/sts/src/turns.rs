//! Requests with one key, one after another: each sees what the one before it was given.
//!
//! Requests with different keys never wait for each other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use model::Thumbprint;
use tokio::sync::OwnedMutexGuard;

type Lock = Arc<tokio::sync::Mutex<()>>;

/// The keys with which somebody asks right now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Arc<Mutex<BTreeMap<Thumbprint, Lock>>>);

/// The turn of one request. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _held: OwnedMutexGuard<()>,
    _asking: Asking,
}

/// Somebody asks with a key, or waits to.
#[derive(Debug)]
struct Asking {
    turns: Turns,
    key: Thumbprint,
    /// Given up when it is dropped.
    lock: Option<Lock>,
}

impl Turns {
    /// The turn of a request with `key`, once those before it have had theirs.
    pub(crate) async fn enter(&self, key: Thumbprint) -> Turn {
        let lock = {
            let mut asked = self.0.lock().expect("no panic while it is held");
            asked.entry(key).or_default().clone()
        };
        let asking = Asking { turns: self.clone(), key, lock: Some(lock.clone()) };
        Turn { _held: lock.lock_owned().await, _asking: asking }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut asked = self.turns.0.lock().expect("no panic while it is held");
        self.lock.take();
        // The one in the table is the last: nobody else asks with this key.
        if asked.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            asked.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn who_asks_with_another_key_waits_for_nobody() {
        let turns = Turns::default();
        let key = |last: u8| {
            Thumbprint::from_bytes([[7; 31].as_slice(), &[last]].concat().try_into().unwrap())
        };
        let first = turns.enter(key(1)).now_or_never().expect("nobody is before it");
        let other = turns.enter(key(2)).now_or_never();
        assert!(other.is_some(), "all but the last byte is the same");
        let mut second = Box::pin(turns.enter(key(1)));
        assert!(second.as_mut().now_or_never().is_none(), "one after another");
        let mut gone = Box::pin(turns.enter(key(1)));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(gone);
        drop(first);
        let second = second.now_or_never();
        assert!(second.is_some(), "it is its turn");
        assert!(turns.enter(key(1)).now_or_never().is_none(), "one after another, still");
        drop((second, other));
        assert!(turns.0.lock().unwrap().is_empty(), "nobody asks any more");
    }

    /// One that waited and went away in its own turn leaves nothing behind either.
    #[test]
    fn nothing_is_kept_of_who_stops_waiting() {
        let turns = Turns::default();
        let key = Thumbprint::from_bytes([7; 32]);
        let first = turns.enter(key).now_or_never();
        let mut waiting = Box::pin(turns.enter(key));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        drop(waiting);
        assert!(turns.0.lock().unwrap().is_empty());
    }
}
