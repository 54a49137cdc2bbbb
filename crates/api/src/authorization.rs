//! The authorization endpoint: where a client sends a person, in their browser (RFC 6749 §3.1).

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use oauth::OAuthError;
use sts::{NotAuthorized, TokenHttpRequest};

use crate::Peer;
use crate::pages;
use crate::people::People;

/// The longest query, in bytes: a person who is not logged in comes back to it from the provider.
const QUERY_MAX: usize = 4_000;

/// Takes down what a client asks of the person who is logged in, and leads on to the page where they
/// answer. Whoever is not logged in does that first: nothing is fetched or kept for strangers.
pub(crate) async fn authorize(
    State(state): State<People>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let client = headers.get(header::USER_AGENT).and_then(|client| client.to_str().ok());
    let from = peer.map(|Extension(Peer(address))| address);
    let arrived = state.clock.monotonic();
    let http = TokenHttpRequest { form: query.as_bytes(), dpop: None, from, client, arrived };
    let asked = async {
        state.door()?;
        if query.len() > QUERY_MAX {
            let why = "the client asks for more than fits into a link";
            return Err(pages::told(StatusCode::BAD_REQUEST, "Not done", why));
        }
        let authorizing = state.tokens.authorizing(http).await.map_err(|error| told(&error))?;
        let path = format!("/oauth/authorize?{query}");
        let person = state.visitor(&headers, &path).await?.person;
        let asked = state.tokens.ask(http, authorizing, &person).await;
        let id = asked.map_err(|why| match why {
            NotAuthorized::Told(error) => told(&error),
            NotAuthorized::Sent(to) => pages::see_other(&to, &[]),
        })?;
        Ok(pages::see_other(&format!("/consent/{id}"), &[]))
    };
    asked.await.unwrap_or_else(|response: Response| response)
}

/// What the person is told, and the client is not: it is not known whether it is that client.
fn told(error: &OAuthError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    // There is nothing that a browser could authenticate with (RFC 9110 §15.5.2).
    let status = if status == StatusCode::UNAUTHORIZED { StatusCode::FORBIDDEN } else { status };
    pages::told(status, "Not authorized", &error.description)
}
