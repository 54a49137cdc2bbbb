//! What clients were asked and have not answered: by which an answer finds who waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use mcp::Response;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::room::Kept;
use crate::under_way::CallKey;

/// What a client answers.
pub(crate) struct ClientAnswer {
    /// The raw result, or the raw error.
    pub(crate) said: Result<Box<RawValue>, Box<RawValue>>,
    /// The room of the request that brought it.
    pub(crate) room: Option<Arc<Kept>>,
}

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
    pub(crate) fn answer(
        &self,
        key: &CallKey,
        response: Response,
        room: Option<Arc<Kept>>,
    ) -> bool {
        let waiter = self.0.lock().expect("no panic while it is held").remove(key);
        let answer = ClientAnswer { said: response.answer, room };
        waiter.is_some_and(|waiter| waiter.send(answer).is_ok())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.awaited.0.lock().expect("no panic while it is held").remove(&self.key);
    }
}
