//! Calls under way: by which a client's cancellation finds them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use model::{InstanceId, ServerName};
use tokio_util::sync::CancellationToken;

/// Names calls under way: whose, where, in which MCP session, and under which id of the client's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallKey {
    pub(crate) instance: InstanceId,
    pub(crate) server: ServerName,
    pub(crate) session: Option<String>,
    pub(crate) id: String,
}

/// The calls of one name, each with its number.
type SameName = Vec<(u64, CancellationToken)>;

/// All calls under way. A client that uses an id twice at once cancels both.
#[derive(Clone, Default)]
pub(crate) struct CallsUnderWay {
    all: Arc<Mutex<HashMap<CallKey, SameName>>>,
    next: Arc<AtomicU64>,
}

/// A call under way. Forgotten when dropped.
pub(crate) struct UnderWay {
    key: CallKey,
    serial: u64,
    token: CancellationToken,
    calls: CallsUnderWay,
}

impl CallsUnderWay {
    /// Enters a call.
    pub(crate) fn enter(&self, key: CallKey) -> UnderWay {
        let serial = self.next.fetch_add(1, Ordering::Relaxed);
        let token = CancellationToken::new();
        let mut all = self.all.lock().expect("no panic while it is held");
        all.entry(key.clone()).or_default().push((serial, token.clone()));
        UnderWay { key, serial, token, calls: self.clone() }
    }

    /// Cancels what is under way by this name.
    pub(crate) fn cancel(&self, key: &CallKey) {
        let all = self.all.lock().expect("no panic while it is held");
        all.get(key).into_iter().flatten().for_each(|(_, token)| token.cancel());
    }

    /// Cancels all that is under way.
    pub(crate) fn cancel_all(&self) {
        let all = self.all.lock().expect("no panic while it is held");
        all.values().flatten().for_each(|(_, token)| token.cancel());
    }
}

impl UnderWay {
    /// What cancels the call.
    pub(crate) const fn token(&self) -> &CancellationToken {
        &self.token
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut all = self.calls.all.lock().expect("no panic while it is held");
        let Some(same) = all.get_mut(&self.key) else { return };
        same.retain(|(serial, _)| *serial != self.serial);
        if same.is_empty() {
            all.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(instance: u8, id: &str) -> CallKey {
        let instance = InstanceId::from_bytes([instance; 16]);
        let server = "crm".parse().expect("a server");
        CallKey { instance, server, session: None, id: id.to_owned() }
    }

    #[test]
    fn n_046_a_cancellation_finds_only_its_own_caller() {
        let calls = CallsUnderWay::default();
        let (mine, other) = (calls.enter(key(1, "1")), calls.enter(key(2, "1")));
        calls.cancel(&key(1, "1"));
        assert!(mine.token().is_cancelled());
        assert!(!other.token().is_cancelled());
    }

    #[test]
    fn an_id_that_is_used_twice_at_once_stays_until_both_have_ended() {
        let calls = CallsUnderWay::default();
        let (first, second) = (calls.enter(key(1, "1")), calls.enter(key(1, "1")));
        drop(first);
        calls.cancel(&key(1, "1"));
        assert!(second.token().is_cancelled());
        drop(second);
        assert!(calls.all.lock().unwrap().is_empty());
    }
}
