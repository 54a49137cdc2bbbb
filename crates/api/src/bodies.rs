//! Request bodies: read whole, within their limit and in time, and not more at once than there is
//! room for.
//!
//! Who shows no token that is known has less room, so that strangers cannot take it all.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse as _, Response};
use gateway::Gateway;
use http::{HeaderMap, StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::agents::Agents;

/// The most bodies at once of those whose token is known, in KiB.
const KNOWN_KIB_MAX: usize = 256 * 1024;

/// The most bodies at once of all others, in KiB.
const STRANGERS_KIB_MAX: usize = 64 * 1024;

/// Room for request bodies. Cheap to clone.
#[derive(Clone)]
pub struct Bodies {
    body_max: usize,
    within: Duration,
    known: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

/// Why a request is not read at all, for the record, and what it is answered.
pub(crate) struct Unread {
    pub(crate) cause: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) why: String,
}

/// A body that came whole, within its limit and in time.
pub(crate) struct Whole {
    pub(crate) body: Result<Bytes, Unread>,
    /// Its room, as long as the request is dealt with.
    pub(crate) _room: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    /// Room for bodies of up to `body_max` bytes that arrive within `within`.
    pub fn new(body_max: usize, within: Duration) -> Self {
        let [known, strangers] =
            [KNOWN_KIB_MAX, STRANGERS_KIB_MAX].map(|kib| Arc::new(Semaphore::new(kib)));
        Self { body_max, within, known, strangers }
    }

    /// The largest body, in bytes.
    pub(crate) const fn body_max(&self) -> usize {
        self.body_max
    }

    /// Room for the body that `headers` announce: as much as it may become, if they say nothing.
    fn room(&self, headers: &HeaderMap, is_known: bool) -> Option<OwnedSemaphorePermit> {
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok());
        let announced = announced.and_then(|length| length.parse().ok()).unwrap_or(self.body_max);
        let kib = u32::try_from(announced.min(self.body_max).div_ceil(1_024)).ok()?;
        let room = if is_known { &self.known } else { &self.strangers };
        room.clone().try_acquire_many_owned(kib).ok()
    }
}

impl Unread {
    /// The answer, once it is noted.
    pub(crate) fn told(self, gateway: &Gateway) -> Response {
        gateway.note_refusal(self.cause);
        (self.status, self.why).into_response()
    }
}

impl FromRequest<Agents> for Whole {
    type Rejection = Infallible;

    async fn from_request(request: Request, state: &Agents) -> Result<Self, Infallible> {
        let is_known = state.gateway.knows(request.headers());
        let Some(room) = state.bodies.room(request.headers(), is_known) else {
            let (cause, status) = ("bodies", StatusCode::SERVICE_UNAVAILABLE);
            let why = "too much is under way: try again later\n".to_owned();
            return Ok(Self { body: Err(Unread { cause, status, why }), _room: None });
        };
        let read = Bytes::from_request(request, state);
        let late =
            |_| (StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time\n".to_owned());
        let read = tokio::time::timeout(state.bodies.within, read).await.map_err(late);
        let unread = |refused: BytesRejection| (refused.status(), refused.body_text());
        let read = read.and_then(|read| read.map_err(unread));
        let cause = "body_unread";
        let body = read.map_err(|(status, why)| Unread { cause, status, why });
        Ok(Self { body, _room: Some(room) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(length: usize) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_LENGTH, length.into())])
    }

    #[test]
    fn n_110_strangers_have_room_of_their_own_and_no_more() {
        let bodies = Bodies::new(1 << 20, Duration::from_secs(1));
        // Without a length it may become as large as any.
        let large = [HeaderMap::new(), announced(1 << 20), announced(1 << 30)];
        let held: Vec<_> =
            large.iter().cycle().map_while(|headers| bodies.room(headers, false)).collect();
        assert_eq!(held.len(), STRANGERS_KIB_MAX / 1_024);
        assert!(bodies.room(&announced(1), false).is_none());
        assert!(bodies.room(&announced(1 << 20), true).is_some(), "not the room of the known");
        drop(held);
        assert!(bodies.room(&announced(1), false).is_some());
    }
}
