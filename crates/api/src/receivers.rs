//! Where receivers manage their streams of shared signals (SSF 1.0 §7 and §8), and poll them (RFC 8936).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequest, Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use model::SourceName;
use pap::receivers::{Known, Transmitter, Untold};
use secevent::{
    PollAsked, REQUEST_BYTES_MAX, RequestError, StatusAsked, StreamAsked, VerificationAsked,
};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::agents::is_json;
use crate::described::receivers as described;
use crate::directories::bearer;
use crate::hosts::{self, Hosts};
use crate::openapi::Routes;

/// How long a body may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// The most requests of one receiver that are dealt with at once.
const TURNS: usize = 4;

/// How long a receiver that polls waits at most, if there is nothing, unless it wants an answer at once.
const WAITS: Duration = Duration::from_secs(5);

/// How often it is looked meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// After how many seconds what could not be done may be tried again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");

/// What the handlers for receivers need. Cheap to clone.
#[derive(Clone)]
pub struct Receivers {
    transmitter: Arc<Transmitter>,
    hosts: Hosts,
    /// By receiver. A token is shown before a turn is taken.
    turns: Arc<Mutex<BTreeMap<SourceName, Arc<Semaphore>>>>,
}

/// What receivers reach.
pub(crate) fn routes() -> Routes<Receivers> {
    let streams = "/ssf/streams";
    Routes::new(crate::described::hosted)
        .get("/.well-known/ssf-configuration", metadata, described::metadata())
        .post(streams, create, described::create())
        .get(streams, read, described::read())
        .patch(streams, update, described::update())
        .put(streams, replace, described::replace())
        .delete(streams, delete, described::delete())
        .get("/ssf/status", status, described::status())
        .post("/ssf/status", set_status, described::set_status())
        .post("/ssf/verify", verify, described::verify())
        .post("/ssf/poll/{stream}", poll, described::poll())
}

impl Receivers {
    /// What receivers reach under the names `hosts`.
    pub fn new(transmitter: Arc<Transmitter>, hosts: Hosts) -> Self {
        Self { transmitter, hosts, turns: Arc::default() }
    }

    /// The same routes, answered by this.
    pub(crate) fn answering(self, routes: Router<Self>) -> Router {
        let (hosts, transmitter) = (self.hosts.clone(), self.transmitter.clone());
        let hosts = hosts.telling(Arc::new(move |cause| transmitter.refuse(cause)));
        routes.layer(axum::middleware::from_fn_with_state(hosts, hosts::check)).with_state(self)
    }

    async fn known(&self, headers: &HeaderMap) -> Result<Known, Response> {
        let known = match bearer(headers) {
            Some(token) => self.transmitter.known(token).await,
            None => Err(Untold::Stranger),
        };
        known.map_err(|error| self.refused(&error))
    }

    fn turn_of(&self, known: &Known) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut all = self.turns.lock().expect("no panic while it is held");
            let turns = all.entry(known.name().clone());
            turns.or_insert_with(|| Arc::new(Semaphore::new(TURNS))).clone()
        };
        turns.try_acquire_owned().ok()
    }

    /// The answer to whoever is refused, once that is noted.
    fn refused(&self, error: &Untold) -> Response {
        let (status, code, cause) = match error {
            Untold::Stranger => {
                (StatusCode::UNAUTHORIZED, "authentication_failed", "token_unknown")
            }
            Untold::MayNot => (StatusCode::FORBIDDEN, "access_denied", "token_reads"),
            Untold::NoStream => (StatusCode::NOT_FOUND, "invalid_request", "stream_unknown"),
            Untold::HasOne => (StatusCode::CONFLICT, "invalid_request", "stream_exists"),
            Untold::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_request", "unreadable"),
            Untold::TooSoon(_) => (StatusCode::TOO_MANY_REQUESTS, "invalid_request", "too_often"),
            Untold::Later => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "unavailable"),
        };
        self.transmitter.refuse(cause);
        let mut response = told(status, &json!({ "err": code, "description": error.to_string() }));
        let headers = response.headers_mut();
        match error {
            Untold::Stranger => {
                let how = HeaderValue::from_static("Bearer realm=\"ssf\"");
                headers.insert(header::WWW_AUTHENTICATE, how);
            }
            Untold::TooSoon(wait) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
            }
            Untold::Later => drop(headers.insert(header::RETRY_AFTER, RETRY_AFTER)),
            _ => {}
        }
        response
    }
}

/// What a receiver asks for, once it has shown a token.
struct Asked {
    receivers: Receivers,
    known: Known,
    /// The stream that the query names, if it names one.
    id: Option<String>,
    body: Bytes,
    _turn: OwnedSemaphorePermit,
}

impl FromRequest<Receivers> for Asked {
    type Rejection = Response;

    async fn from_request(request: Request, state: &Receivers) -> Result<Self, Response> {
        let receivers = state.clone();
        let (parts, body) = request.into_parts();
        let known = receivers.known(&parts.headers).await?;
        let turn = receivers.turn_of(&known);
        let turn = turn.ok_or_else(|| receivers.refused(&Untold::Later))?;
        let query = parts.uri.query().unwrap_or_default();
        let mut ids =
            form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "stream_id");
        let id = ids.next().map(|(_, id)| id.into_owned());
        let invalid = |why: &str| receivers.refused(&Untold::Invalid(why.to_owned()));
        if ids.next().is_some() {
            return Err(invalid("`stream_id` stands twice"));
        }
        let has_body = ![Method::GET, Method::HEAD, Method::DELETE].contains(&parts.method);
        if has_body && !is_json(&parts.headers) {
            return Err(invalid("the content type must be application/json"));
        }
        let read = axum::body::to_bytes(body, REQUEST_BYTES_MAX);
        let body = match tokio::time::timeout(BODY_WITHIN, read).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => return Err(invalid("the body is too large, or broke off")),
            Err(_) => return Err(invalid("the body did not arrive in time")),
        };
        Ok(Self { receivers, known, id, body, _turn: turn })
    }
}

impl Asked {
    /// What the body asks for.
    fn read<T>(&self, parse: fn(&[u8]) -> Result<T, RequestError>) -> Result<T, Untold> {
        parse(&self.body).map_err(|error| Untold::Invalid(error.to_string()))
    }

    /// The stream that the query names.
    fn id(&self) -> Result<&str, Untold> {
        self.id.as_deref().ok_or_else(|| Untold::Invalid("`stream_id` is missing".to_owned()))
    }

    /// The answer of `status`, unless it is refused.
    fn answered(&self, status: StatusCode, answer: Result<Value, Untold>) -> Response {
        match answer {
            Ok(Value::Null) => status.into_response(),
            Ok(body) => told(status, &body),
            Err(error) => self.receivers.refused(&error),
        }
    }

    fn transmitter(&self) -> &Transmitter {
        &self.receivers.transmitter
    }
}

async fn metadata(State(receivers): State<Receivers>) -> Response {
    told(StatusCode::OK, &receivers.transmitter.metadata())
}

async fn create(asked: Asked) -> Response {
    let answer = async {
        let wanted = asked.read(StreamAsked::parse)?;
        asked.transmitter().create(&asked.known, wanted).await
    };
    asked.answered(StatusCode::CREATED, answer.await)
}

async fn read(asked: Asked) -> Response {
    let answer = asked.transmitter().read(&asked.known, asked.id.as_deref()).await;
    asked.answered(StatusCode::OK, answer)
}

async fn update(asked: Asked) -> Response {
    changed(&asked, false).await
}

async fn replace(asked: Asked) -> Response {
    changed(&asked, true).await
}

async fn changed(asked: &Asked, replaces: bool) -> Response {
    let answer = async {
        let wanted = asked.read(StreamAsked::parse)?;
        asked.transmitter().update(&asked.known, wanted, replaces).await
    };
    asked.answered(StatusCode::OK, answer.await)
}

async fn delete(asked: Asked) -> Response {
    let answer = async {
        asked.transmitter().delete(&asked.known, asked.id()?).await?;
        Ok(Value::Null)
    };
    asked.answered(StatusCode::NO_CONTENT, answer.await)
}

async fn status(asked: Asked) -> Response {
    let answer = async { asked.transmitter().status(&asked.known, asked.id()?).await };
    asked.answered(StatusCode::OK, answer.await)
}

async fn set_status(asked: Asked) -> Response {
    let answer = async {
        let wanted = asked.read(StatusAsked::parse)?;
        asked.transmitter().set_status(&asked.known, wanted).await
    };
    asked.answered(StatusCode::OK, answer.await)
}

async fn verify(asked: Asked) -> Response {
    let answer = async {
        let wanted = asked.read(VerificationAsked::parse)?;
        asked.transmitter().verify(&asked.known, wanted).await?;
        Ok(Value::Null)
    };
    asked.answered(StatusCode::NO_CONTENT, answer.await)
}

async fn poll(Path(stream): Path<String>, asked: Asked) -> Response {
    let answer = async {
        let mut wanted = asked.read(PollAsked::parse)?;
        let mut looks = WAITS.as_millis() / LOOK_EVERY.as_millis();
        loop {
            let polled = asked.transmitter().poll(&asked.known, &stream, &wanted).await?;
            if !polled.sets.is_empty() || wanted.immediately || wanted.max == 0 || looks == 0 {
                return Ok(polled.to_json());
            }
            // What it tells of is noted.
            wanted = PollAsked { max: wanted.max, ..PollAsked::default() };
            looks -= 1;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    asked.answered(StatusCode::OK, answer.await)
}

fn told(status: StatusCode, body: &Value) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], (status, axum::Json(body))).into_response()
}
