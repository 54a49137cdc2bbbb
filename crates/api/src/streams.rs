//! Where transmitters push shared signals (RFC 8935).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::SourceName;
use pap::streams::{NotTaken, Receiver};
use secevent::{ErrorCode, MEDIA_TYPE, Refusal, SET_BYTES_MAX};
use tokio::sync::Semaphore;

use crate::described::streams as described;
use crate::directories::bearer;
use crate::hosts::{self, Hosts};
use crate::openapi::{JSON, Routes};

/// How long a body may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// The most tokens of one stream that are dealt with at once.
const TURNS: usize = 16;

/// How long one may take: its transmitter's keys may have to be fetched.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// After how many seconds whoever pushed what could not be taken may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");

/// What the handler for streams needs. Cheap to clone.
#[derive(Clone)]
pub struct Streams {
    receiver: Arc<Receiver>,
    hosts: Hosts,
    /// By stream. A token is shown before a turn is taken.
    turns: Arc<Mutex<BTreeMap<SourceName, Arc<Semaphore>>>>,
}

/// What transmitters reach.
pub(crate) fn routes() -> Routes<Streams> {
    Routes::new(described::always)
        .post("/ssf/events", push_by_token, described::push_by_token())
        .post("/ssf/events/{stream}", push, described::push())
}

impl Streams {
    /// What transmitters reach under the names `hosts`.
    pub fn new(receiver: Arc<Receiver>, hosts: Hosts) -> Self {
        Self { receiver, hosts, turns: Arc::default() }
    }

    /// The same routes, answered by this.
    pub(crate) fn answering(self, routes: Router<Self>) -> Router {
        let (hosts, receiver) = (self.hosts.clone(), self.receiver.clone());
        let hosts = hosts.telling(Arc::new(move |cause| receiver.refuse(None, cause)));
        routes.layer(axum::middleware::from_fn_with_state(hosts, hosts::check)).with_state(self)
    }

    fn turns_of(&self, stream: &SourceName) -> Arc<Semaphore> {
        let mut all = self.turns.lock().expect("no panic while it is held");
        all.entry(stream.clone()).or_insert_with(|| Arc::new(Semaphore::new(TURNS))).clone()
    }

    /// Takes what is pushed to the stream `name`, or, without it, to the one that the bearer token names.
    async fn take(
        &self,
        name: Option<&str>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(), Response> {
        let Some(token) = bearer(headers) else {
            self.receiver.refuse(None, "token_missing");
            return Err(not_taken(&NotTaken::Stranger));
        };
        let known = match name {
            Some(name) => self.receiver.known((name, token)).await,
            None => self.receiver.known_by(token).await,
        };
        let stream = known.map_err(|error| {
            if error == NotTaken::Stranger {
                self.receiver.refuse(None, "token_unknown");
            }
            not_taken(&error)
        })?;
        let refuse = |cause, status, why: &str| {
            self.receiver.refuse(Some(&stream.name), cause);
            let (code, description) = (ErrorCode::InvalidRequest, why.to_owned());
            told(status, &Refusal { code, description })
        };
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(MEDIA_TYPE)) {
            let why = format!("the content type must be {MEDIA_TYPE}");
            return Err(refuse("content_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, &why));
        }
        let turns = self.turns_of(&stream.name);
        let Ok(_turn) = turns.try_acquire() else {
            self.receiver.refuse(Some(&stream.name), "too_many");
            return Err(not_taken(&NotTaken::Later));
        };
        let read = tokio::time::timeout(BODY_WITHIN, axum::body::to_bytes(body, SET_BYTES_MAX));
        let body = match read.await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => {
                let why = format!("a token has at most {SET_BYTES_MAX} bytes");
                return Err(refuse("too_large", StatusCode::PAYLOAD_TOO_LARGE, &why));
            }
            Err(_) => {
                let why = "the body did not arrive in time";
                return Err(refuse("too_slow", StatusCode::REQUEST_TIMEOUT, why));
            }
        };
        let Ok(set) = std::str::from_utf8(&body) else {
            return Err(refuse("unreadable", StatusCode::BAD_REQUEST, "the token is not text"));
        };
        let answer = tokio::time::timeout(ANSWER_WITHIN, self.receiver.take(&stream, set)).await;
        answer.unwrap_or(Err(NotTaken::Later)).map_err(|error| {
            if error == NotTaken::Stranger {
                self.receiver.refuse(Some(&stream.name), "token_unknown");
            }
            not_taken(&error)
        })
    }
}

async fn push(
    State(streams): State<Streams>,
    Path(name): Path<String>,
    asked: Request,
) -> Response {
    pushed(&streams, Some(&name), asked).await
}

async fn push_by_token(State(streams): State<Streams>, asked: Request) -> Response {
    pushed(&streams, None, asked).await
}

async fn pushed(streams: &Streams, name: Option<&str>, asked: Request) -> Response {
    let (parts, body) = asked.into_parts();
    match streams.take(name, &parts.headers, body).await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(refused) => refused,
    }
}

fn not_taken(error: &NotTaken) -> Response {
    match error {
        NotTaken::Refused(refusal) => told(StatusCode::BAD_REQUEST, refusal),
        NotTaken::Stranger => {
            let description = "a bearer token of the stream is needed".to_owned();
            let refusal = Refusal { code: ErrorCode::AuthenticationFailed, description };
            let mut response = told(StatusCode::UNAUTHORIZED, &refusal);
            let how = HeaderValue::from_static("Bearer realm=\"ssf\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
            response
        }
        NotTaken::Later => {
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER)]).into_response()
        }
    }
}

fn told(status: StatusCode, refusal: &Refusal) -> Response {
    let language = (header::CONTENT_LANGUAGE, "en");
    let headers = [(header::CONTENT_TYPE, JSON), language];
    (status, headers, refusal.to_json().to_string()).into_response()
}
