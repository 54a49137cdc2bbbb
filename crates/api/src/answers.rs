//! Answers: handed to the connection bit by bit, and kept in their room until it has taken them.

use std::time::Duration;

use axum::Error;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse as _, Response};
use gateway::{Events, Kept, Told, WayBack};
use http::header;

/// The most bytes of an answer that are in a connection and no longer in the room. A connection holds
/// as many for any client.
const BIT_MAX: usize = 64 << 10;

/// How often a silent stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What is left of an answer.
struct Left {
    kept: Option<Kept>,
    further: Option<Events>,
    /// By which the request counts until it is taken.
    way_back: WayBack,
}

/// An answer that is one JSON document; none if there is no room for it.
pub(crate) fn json(document: Bytes, way_back: Option<WayBack>) -> Option<Response> {
    let length = document.len();
    let body = match way_back {
        Some(way_back) if length > BIT_MAX => {
            let kept = Some(way_back.keep(document)?);
            Left { kept, further: None, way_back }.body()
        }
        _ => Body::from(document),
    };
    let kind = (header::CONTENT_TYPE, "application/json".to_owned());
    Some(([kind, (header::CONTENT_LENGTH, length.to_string())], body).into_response())
}

/// An answer that is a stream of events.
pub(crate) fn stream(events: Events) -> Response {
    let way_back = events.way_back();
    let body = Left { kept: None, further: Some(events), way_back }.body();
    let kind = (header::CONTENT_TYPE, "text/event-stream");
    ([kind, (header::CACHE_CONTROL, "no-cache")], body).into_response()
}

/// One message as an event (server-sent events, HTML §9.2).
fn event(message: &[u8]) -> Bytes {
    let data = String::from_utf8_lossy(message).replace(['\n', '\r'], " ");
    format!("event: message\ndata: {data}\n\n").into()
}

impl Left {
    fn body(self) -> Body {
        Body::from_stream(futures::stream::try_unfold(self, Self::next))
    }

    /// The next bit, and what is left then. An answer that made room for others once it was begun, or for
    /// which there is none, breaks the connection.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Error> {
        let lost = || Error::new("too much is under way");
        loop {
            if let Some(kept) = &self.kept {
                let bit = kept.next(BIT_MAX).ok_or_else(lost)?;
                if !bit.is_empty() {
                    return Ok(Some((bit, self)));
                }
                self.kept = None;
            }
            let Some(further) = &mut self.further else { return Ok(None) };
            let Ok(told) = tokio::time::timeout(KEEP_ALIVE, further.recv()).await else {
                return Ok(Some((Bytes::from_static(b":\n\n"), self)));
            };
            let Some(Told { message, is_answer, asks }) = told else { return Ok(None) };
            let event = event(&message);
            if event.len() <= BIT_MAX {
                return Ok(Some((event, self)));
            }
            self.kept = if is_answer {
                Some(self.way_back.keep(event).ok_or_else(lost)?)
            } else {
                self.way_back.keep_told(event, asks.as_ref())
            };
        }
    }
}
