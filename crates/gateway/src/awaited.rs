//! What clients were asked and have not answered: by which an answer finds who waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use mcp::Response;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::under_way::CallKey;

/// A client's answer: the raw result, or the raw error.
pub(crate) type ClientAnswer = Result<Box<RawValue>, Box<RawValue>>;

/// All that clients were asked, by whom, in which MCP session, and under which id of ours.
#[derive(Clone, Default)]
pub(crate) struct Awaited(Arc<Mutex<HashMap<CallKey, oneshot::Sender<ClientAnswer>>>>);

/// The place that an answer has. Given up when dropped: what comes later answers nothing.
pub(crate) struct Place {
    key: CallKey,
    awaited: Awaited,
}

impl Awaited {
    /// Makes a place for the answer to what is asked under `key`, which is used once.
    pub(crate) fn enter(&self, key: CallKey) -> (Place, oneshot::Receiver<ClientAnswer>) {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().expect("no panic while it is held").insert(key.clone(), sender);
        (Place { key, awaited: self.clone() }, receiver)
    }

    /// Hands `response` to who waits for it; false if nobody does.
    pub(crate) fn answer(&self, key: &CallKey, response: Response) -> bool {
        let waiter = self.0.lock().expect("no panic while it is held").remove(key);
        waiter.is_some_and(|waiter| waiter.send(response.answer).is_ok())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.awaited.0.lock().expect("no panic while it is held").remove(&self.key);
    }
}
