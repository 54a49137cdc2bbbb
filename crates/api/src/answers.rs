//! Answers: handed to the connection bit by bit, and kept in their room until it has taken them.

use axum::Error;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use gateway::{Kept, WayBack};
use http::header;

/// The most bytes of an answer that are in a connection and no longer in the room. A connection holds
/// as many for any client.
const BIT_MAX: usize = 64 << 10;

/// What is left of an answer.
struct Left {
    kept: Option<Kept>,
    further: BodyDataStream,
    way_back: WayBack,
}

/// An answer that is one JSON document; none if there is no room for it.
pub(crate) fn json(document: Bytes, way_back: Option<WayBack>) -> Option<Response> {
    let length = document.len();
    let body = match way_back {
        Some(way_back) if length > BIT_MAX => {
            Left::body(Some(way_back.keep(document)?), Body::empty(), way_back)
        }
        _ => Body::from(document),
    };
    let kind = (header::CONTENT_TYPE, "application/json".to_owned());
    Some(([kind, (header::CONTENT_LENGTH, length.to_string())], body).into_response())
}

/// The same answer as `stream`, whose request counts until it is taken.
pub(crate) fn stream(stream: Response, way_back: Option<WayBack>) -> Response {
    match way_back {
        Some(way_back) => stream.map(|body| Left::body(None, body, way_back)),
        None => stream,
    }
}

impl Left {
    fn body(kept: Option<Kept>, further: Body, way_back: WayBack) -> Body {
        let left = Self { kept, further: further.into_data_stream(), way_back };
        Body::from_stream(futures::stream::try_unfold(left, Self::next))
    }

    /// The next bit, and what is left then.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Error> {
        let lost = || Error::new("too much is under way");
        loop {
            if let Some(kept) = &self.kept {
                let bit = kept.next(BIT_MAX).ok_or_else(|| {
                    self.way_back.lost();
                    lost()
                })?;
                if !bit.is_empty() {
                    return Ok(Some((bit, self)));
                }
                self.kept = None;
            }
            let Some(chunk) = self.further.next().await.transpose()? else { return Ok(None) };
            if chunk.len() <= BIT_MAX {
                return Ok(Some((chunk, self)));
            }
            self.kept = Some(self.way_back.keep(chunk).ok_or_else(lost)?);
        }
    }
}
