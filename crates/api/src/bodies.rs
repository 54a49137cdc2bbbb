//! Request bodies: read whole, within their limit and in time, and not more at once than there is
//! room for.
//!
//! Who shows no token that is known has less room, so that strangers cannot take it all; nobody has
//! more than a part of it; and requests for tokens, which are small, have room of their own. A body
//! takes as much as has arrived of it, and one that is slow makes room for those that are not.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse as _, Response};
use bytes::BytesMut;
use futures::StreamExt as _;
use gateway::{Full, Gateway, Kept, Room, Whose};
use http::{HeaderMap, StatusCode, header};
use oauth::form::FORM_MAX;

use crate::agents::{Agents, Peer};
use crate::network;

/// The most bytes of bodies at once of those whose token is known: one subject of an agent has room for
/// one of as much structure as the largest can have, once it is read.
const KNOWN_MAX: usize = 1 << 30;

/// The most bytes of bodies at once of all others.
const STRANGERS_MAX: usize = 64 << 20;

/// The most bytes of requests for tokens at once.
const FORMS_MAX: usize = 16 << 20;

/// Room for request bodies. Cheap to clone.
#[derive(Clone)]
pub struct Bodies {
    body_max: usize,
    within: Duration,
    known: Room,
    strangers: Room,
    forms: Room,
}

/// Why a request is not read at all, for the record, and what it is answered.
pub(crate) struct Unread {
    pub(crate) cause: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) why: &'static str,
}

/// A body that came whole, within its limit and in time.
pub(crate) struct Whole {
    pub(crate) body: Result<Bytes, Unread>,
    /// Its room, as long as the request is dealt with.
    pub(crate) room: Option<Kept>,
}

/// A request for a token, which came as a body does.
pub(crate) struct Form(pub(crate) Whole);

/// Where a body is kept, whose it is, and the most bytes that it may have.
type Place<'a> = (&'a Room, Arc<[Whose]>, usize);

impl Bodies {
    /// Room for bodies of up to `body_max` bytes that arrive within `within`.
    pub fn new(body_max: usize, within: Duration) -> Self {
        let [known, strangers, forms] = [KNOWN_MAX, STRANGERS_MAX, FORMS_MAX].map(Room::new);
        Self { body_max, within, known, strangers, forms }
    }

    /// Reads the body of `request` into its place.
    async fn read(&self, request: Request, place: Place<'_>) -> Whole {
        let late = |_| Unread {
            cause: "body_unread",
            status: StatusCode::REQUEST_TIMEOUT,
            why: "the body did not arrive in time\n",
        };
        let arrived = tokio::time::timeout(self.within, arrived(request, place)).await;
        match arrived.map_err(late).and_then(|arrived| arrived) {
            Ok(None) => Whole { body: Ok(Bytes::new()), room: None },
            Ok(Some(kept)) => {
                Whole { body: kept.whole().ok_or_else(|| no_room(Full)), room: Some(kept) }
            }
            Err(unread) => Whole { body: Err(unread), room: None },
        }
    }
}

/// What has arrived of a body once all of it has. It takes room as it arrives, whatever its head says.
async fn arrived(request: Request, (room, whose, most): Place<'_>) -> Result<Option<Kept>, Unread> {
    let unread = |status, why| Unread { cause: "body_unread", status, why };
    let too_large = || unread(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n");
    let mut left = most;
    if announced(request.headers()).is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let mut chunks = request.into_body().into_data_stream();
    let mut kept: Option<Kept> = None;
    while let Some(chunk) = chunks.next().await {
        let broken = |_| unread(StatusCode::BAD_REQUEST, "the body did not arrive\n");
        let chunk = chunk.map_err(broken)?;
        left = left.checked_sub(chunk.len()).ok_or_else(too_large)?;
        if let Some(kept) = &kept {
            kept.add(&chunk).map_err(no_room)?;
        } else {
            // Copied: a chunk may keep all that the connection read in memory.
            let begun = room.keep(whose.clone(), BytesMut::from(chunk.as_ref()));
            kept = Some(begun.map_err(no_room)?);
        }
    }
    Ok(kept)
}

fn no_room(Full: Full) -> Unread {
    let (cause, status) = ("bodies", StatusCode::SERVICE_UNAVAILABLE);
    Unread { cause, status, why: "too much is under way: try again later\n" }
}

/// How long the body is, if its head says so.
fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
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
        let bodies = &state.bodies;
        let place = match state.gateway.known(request.headers()) {
            Some(whose) => (&bodies.known, whose, bodies.body_max),
            None => (&bodies.strangers, sender(&request, state), bodies.body_max),
        };
        Ok(bodies.read(request, place).await)
    }
}

impl FromRequest<Agents> for Form {
    type Rejection = Infallible;

    async fn from_request(request: Request, state: &Agents) -> Result<Self, Infallible> {
        let place = (&state.bodies.forms, sender(&request, state), FORM_MAX);
        Ok(Self(state.bodies.read(request, place).await))
    }
}

/// Whose a body is that comes from nobody known: nobody's in particular, if all come from one address.
fn sender(request: &Request, state: &Agents) -> Arc<[Whose]> {
    let peer = request.extensions().get::<Peer>().copied();
    network::sender(peer, state.behind_proxy).into_iter().map(Whose::Address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n_110_a_length_is_what_the_head_says() {
        let check = |text: &str, length: Option<usize>| {
            let value = text.parse().expect("a header's value");
            let headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, value)]);
            assert_eq!(announced(&headers), length, "{text}");
        };
        check("12", Some(12));
        check("-1", None);
        check("twelve", None);
        assert_eq!(announced(&HeaderMap::new()), None);
    }
}
