//! What people reach in a browser: logging in, what agents ask of them, and what they consented to.
//!
//! Pages are plain HTML without scripts. A page that is shown changes nothing, whoever opens it:
//! what changes something is a form with the token of the person's session.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use login::{ConsoleSession, Cookies, Login, LoginError, Prompt, ReturnPath, SessionId, Sessions};
use model::{Authentication, Clock, FactKey, LoginSession, PersonId, Timestamp};
use pap::{AdminError, Administration, Answer, By};
use sts::TokenService;

use crate::Peer;
use crate::authorization::authorize;
use crate::described::people as described;
use crate::devices;
use crate::hosts::{self, Hosts};
use crate::network;
use crate::openapi::Routes;
use crate::pages::{self, Page};
use crate::sponsors;

/// The largest form, in bytes.
const FORM_MAX: usize = 4 * 1024;

/// The most fields of a form.
const FIELDS_MAX: usize = 8;

/// How long a form may take to arrive.
const FORM_WITHIN: Duration = Duration::from_secs(10);

/// One day, for a date whose end is meant.
const DAY: Duration = Duration::from_hours(24);

/// What the handlers for people need.
#[derive(Clone)]
pub struct People {
    /// Does what people may do.
    pub administration: Arc<Administration>,
    /// Issues tokens to the clients that people authorize, and knows which devices ask.
    pub tokens: Arc<TokenService>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// By which people come in; without one there is nothing here.
    pub door: Option<Arc<Door>>,
    /// The names under which it may be addressed.
    pub hosts: Hosts,
    /// Whether all connections are a proxy's: then their addresses tell nobody from another.
    pub behind_proxy: bool,
}

/// By which people come in.
#[derive(Debug)]
pub struct Door {
    /// The provider at which they log in.
    pub login: Login,
    /// Who is logged in.
    pub sessions: Sessions,
    /// How cookies are spelt here.
    pub cookies: Cookies,
}

/// Who is logged in, and in which session.
pub(crate) struct Visitor {
    pub(crate) person: PersonId,
    /// The groups that the provider says they are in, if its word on that counts.
    groups: Option<BTreeSet<String>>,
    session: SessionId,
    /// Its token, for forms.
    csrf: String,
    /// The same, as the provider names it.
    login: LoginSession,
    /// How they authenticated for it.
    authentication: Option<Authentication>,
    /// Where it says whose the login is.
    place: FactKey,
}

impl Visitor {
    pub(crate) fn by(&self) -> By<'_> {
        By {
            person: &self.person,
            groups: self.groups.as_ref(),
            session: Some(self.login),
            login: Some(&self.place),
            authentication: self.authentication.as_ref(),
        }
    }

    /// What a page of theirs at `path` belongs to.
    pub(crate) fn page<'a>(&'a self, path: &'a str) -> Page<'a> {
        Page { path, person: &self.person, csrf: &self.csrf }
    }
}

/// What people reach.
pub(crate) fn routes() -> Routes<People> {
    Routes::new(described::always)
        .get(pages::STYLE_PATH, pages::style, described::style())
        .get(pages::ICON_PATH, pages::icon, described::icon())
        .get("/login", login, described::login())
        .get("/login/callback", callback, described::callback())
        .post("/logout", logout, described::logout())
        .get("/oauth/authorize", authorize, described::authorize())
        .get("/consent/{id}", consent, described::consent())
        .post("/consent/{id}", answer, described::answer())
        .get("/device", devices::page, described::device())
        .post("/device", devices::answer, described::device_answer())
        .get("/agents", sponsors::page, described::sponsored())
        .post("/agents/{name}", sponsors::answer, described::sponsor())
        .get("/mandates", mandates, described::mandates())
        .post("/mandates/{id}", withdraw, described::withdraw())
}

impl People {
    /// The same routes, answered by this.
    pub(crate) fn answering(self, routes: Router<Self>) -> Router {
        let administration = self.administration.clone();
        let hosts = self.hosts.clone();
        let hosts = hosts.telling(Arc::new(move |cause| administration.refuse_person(cause)));
        routes.layer(axum::middleware::from_fn_with_state(hosts, hosts::check)).with_state(self)
    }

    #[expect(clippy::result_large_err, reason = "what is refused is a whole page")]
    pub(crate) fn door(&self) -> Result<&Door, Response> {
        self.door.as_deref().ok_or_else(|| StatusCode::NOT_FOUND.into_response())
    }

    /// The fields of a form, each once.
    pub(crate) async fn fields(&self, body: Body) -> Result<BTreeMap<String, String>, Response> {
        let read = tokio::time::timeout(FORM_WITHIN, axum::body::to_bytes(body, FORM_MAX)).await;
        let Ok(Ok(bytes)) = read else {
            return Err(self.bad_request("the form is too long, or late"));
        };
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(&bytes) {
            let is_new = fields.insert(name.into_owned(), value.into_owned()).is_none();
            if !is_new || fields.len() > FIELDS_MAX {
                return Err(self.bad_request("a field stands twice, or there are too many"));
            }
        }
        Ok(fields)
    }

    pub(crate) fn bad_request(&self, why: &str) -> Response {
        self.administration.refuse_person("form_malformed");
        pages::told(StatusCode::BAD_REQUEST, "Not done", why)
    }

    /// Who opens the page at `path`, which changes nothing.
    pub(crate) async fn visitor(
        &self,
        headers: &HeaderMap,
        path: &str,
    ) -> Result<Visitor, Response> {
        let door = self.door()?;
        let session = door.cookies.session(headers);
        let found = session.and_then(|id| Some((door.sessions.find(&id).ok()?, id)));
        let Some((found, session)) = found else { return Err(pages::log_in(path)) };
        self.known(door, (&found, session), path).await
    }

    /// Who sends the form `fields` of a page of theirs, which changes something.
    pub(crate) async fn sender(
        &self,
        headers: &HeaderMap,
        fields: &BTreeMap<String, String>,
        path: &str,
    ) -> Result<Visitor, Response> {
        let door = self.door()?;
        let Some(session) = door.cookies.session(headers) else {
            self.administration.refuse_person("not_logged_in");
            return Err(pages::log_in(path));
        };
        let token = fields.get("csrf").map(String::as_str).unwrap_or_default();
        match door.sessions.confirm(&session, token) {
            Ok(found) => self.known(door, (&found, session), path).await,
            Err(error) => {
                self.administration.refuse_person(error.code());
                Err(pages::told(StatusCode::FORBIDDEN, "Not done", &error.to_string()))
            }
        }
    }

    /// The person whose session was `found`, if that is somebody here.
    async fn known(
        &self,
        door: &Door,
        (found, session): (&ConsoleSession, SessionId),
        path: &str,
    ) -> Result<Visitor, Response> {
        let ConsoleSession { who, since } = found;
        let name = (who.issuer.as_str(), who.subject.as_str());
        let login = LoginSession { id: who.session, since: *since };
        match self.administration.logged_in(name, login).await {
            Ok(Some(person)) => {
                let how = Authentication::said(who.auth_time, who.acr.as_deref(), &who.amr);
                let (groups, place) = (who.groups.clone(), FactKey::login(name.0, name.1));
                let csrf = door.sessions.csrf_token(&session);
                Ok(Visitor { person, groups, session, csrf, login, authentication: how, place })
            }
            Ok(None) => {
                // A newer one, in another browser, may be somebody's.
                door.sessions.end(&session);
                Err(pages::nobody(path))
            }
            Err(error) => Err(refused(&error)),
        }
    }
}

async fn login(
    State(state): State<People>,
    peer: Option<Extension<Peer>>,
    RawQuery(query): RawQuery,
) -> Response {
    let door = match state.door() {
        Ok(door) => door,
        Err(response) => return response,
    };
    let query = query.as_deref().unwrap_or_default();
    let (prompt, query) = match query.strip_prefix(pages::ANEW) {
        Some(query) => (Prompt::Login, query),
        None => (Prompt::AsNeeded, query),
    };
    let wanted = query.strip_prefix("to=");
    let Ok(to) = ReturnPath::parse(wanted.unwrap_or("/mandates")) else {
        state.administration.refuse_person("login_return_path");
        return pages::told(StatusCode::BAD_REQUEST, "Not here", "this is no page of ours");
    };
    let from = network::sender(peer.map(|Extension(peer)| peer), state.behind_proxy);
    let again = to.as_str().to_owned();
    match door.login.begin(to, from, prompt).await {
        Ok(begun) => {
            let cookie = door.cookies.set_login(&begun.state);
            pages::see_other(&begun.redirect, &[cookie])
        }
        Err(error) => not_logged_in(&state, &error, Some(&again)),
    }
}

async fn callback(
    State(state): State<People>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let door = match state.door() {
        Ok(door) => door,
        Err(response) => return response,
    };
    let Some(begun) = door.cookies.login(&headers) else {
        return not_logged_in(&state, &LoginError::Unknown, None);
    };
    let (who, to) = match door.login.finish(begun, query.as_deref().unwrap_or_default()).await {
        Ok(finished) => finished,
        Err(error) => return not_logged_in(&state, &error, None),
    };
    // Whoever was logged in in this browser is so no longer.
    door.cookies.session(&headers).iter().for_each(|session| door.sessions.end(session));
    match door.sessions.begin(who) {
        Ok(session) => {
            let cookies = [door.cookies.set_session(&session), door.cookies.clear_login()];
            pages::see_other(to.as_str(), &cookies)
        }
        Err(error) => {
            state.administration.refuse_person("sessions_full");
            pages::told(StatusCode::SERVICE_UNAVAILABLE, "Not logged in", &error.to_string())
        }
    }
}

fn not_logged_in(state: &People, error: &LoginError, again: Option<&str>) -> Response {
    state.administration.refuse_person(error.code());
    tracing::info!(code = error.code(), "somebody could not log in");
    let mut response = pages::not_logged_in(login_status(error), &error.to_string(), again);
    if let Some(after) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, after.as_secs().into());
    }
    response
}

/// The status of a login that failed. What is not the browser's fault, and may go by, is 503: a
/// proxy or a person may try again (RFC 9110 §15.6.4).
const fn login_status(error: &LoginError) -> StatusCode {
    match error {
        LoginError::BusyOfOne => StatusCode::TOO_MANY_REQUESTS,
        LoginError::Unsigned => StatusCode::INTERNAL_SERVER_ERROR,
        _ if error.retry_after().is_some() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::FORBIDDEN,
    }
}

async fn logout(State(state): State<People>, headers: HeaderMap, body: Body) -> Response {
    let done = async {
        let fields = state.fields(body).await?;
        let Visitor { session, .. } = state.sender(&headers, &fields, "/mandates").await?;
        let door = state.door()?;
        door.sessions.end(&session);
        let mut response = pages::told(StatusCode::OK, "Logged out", "you are logged out here");
        let cookie = door.cookies.clear_session();
        response.headers_mut().append(header::SET_COOKIE, cookie);
        Ok(response)
    };
    done.await.unwrap_or_else(|response: Response| response)
}

/// What an agent asks. Opening it answers nothing.
async fn consent(
    State(state): State<People>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let shown = async {
        let path = path_of(&state, &id)?;
        let visitor = state.visitor(&headers, &path).await?;
        let answered = state.administration.consent_answered(&visitor.person, &id).await;
        if let Some(answered) = answered.map_err(|error| refused(&error))? {
            return Ok(pages::answered(&answered));
        }
        let shown = state.administration.consent_show(&visitor.person, &id).await;
        let shown = shown.map_err(|error| refused(&error))?;
        Ok(pages::consent(&visitor.page(&path), &shown))
    };
    shown.await.unwrap_or_else(|response: Response| response)
}

async fn answer(
    State(state): State<People>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answered = async {
        let path = path_of(&state, &id)?;
        let fields = state.fields(body).await?;
        let visitor = state.sender(&headers, &fields, &path).await?;
        let answer = choice(&fields).map_err(|why| state.bad_request(&why))?;
        let shown = fields.get("shown").map(String::as_str).unwrap_or_default();
        let reply = state.administration.consent_answer(visitor.by(), &id, (answer, shown)).await;
        let reply = reply.map_err(|error| refused(&error))?;
        Ok(match &reply.goes_to {
            Some(client) => pages::see_other(client, &[]),
            None => pages::answered(&reply.answered),
        })
    };
    answered.await.unwrap_or_else(|response: Response| response)
}

/// What the person who is logged in consented to.
async fn mandates(State(state): State<People>, headers: HeaderMap) -> Response {
    let shown = async {
        let visitor = state.visitor(&headers, "/mandates").await?;
        let given = state.administration.consents_of(&visitor.person).await;
        let given = given.map_err(|error| refused(&error))?;
        Ok(pages::mandates(&visitor.page("/mandates"), &given))
    };
    shown.await.unwrap_or_else(|response: Response| response)
}

async fn withdraw(
    State(state): State<People>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let done = async {
        state.door()?;
        let fields = state.fields(body).await?;
        let visitor = state.sender(&headers, &fields, "/mandates").await?;
        let done = state.administration.consent_withdraw(visitor.by(), &id).await;
        done.map_err(|error| refused(&error))?;
        Ok(pages::see_other("/mandates", &[]))
    };
    done.await.unwrap_or_else(|response: Response| response)
}

/// The path of the request `id`; nothing else is put into a page or sent to the provider.
#[expect(clippy::result_large_err, reason = "what is refused is a whole page")]
fn path_of(state: &People, id: &str) -> Result<String, Response> {
    state.door()?;
    let id = id.parse::<model::ConsentId>().map_err(|_| {
        state.administration.refuse_person("consent_unknown");
        refused(&AdminError::Missing("such request".to_owned()))
    })?;
    Ok(format!("/consent/{id}"))
}

/// What the form says that was chosen.
fn choice(fields: &BTreeMap<String, String>) -> Result<Answer, String> {
    match fields.get("choice").map(String::as_str) {
        Some("once") => Ok(Answer::Once),
        Some("refuse") => Ok(Answer::Refuse),
        Some("until") => {
            let day = fields.get("day").filter(|day| day.len() == "2027-01-31".len());
            let day = day.and_then(|day| day.parse::<Timestamp>().ok());
            // The end of the day that is named is meant.
            let day = day.ok_or("name the last day, as 2027-01-31")?;
            Ok(Answer::Until(day.plus(DAY)))
        }
        _ => Err("choose one of what the page offers".to_owned()),
    }
}

pub(crate) fn refused(error: &AdminError) -> Response {
    if let AdminError::Unknown(_) = error {
        return pages::unknown(crate::admin::status(error));
    }
    pages::told(crate::admin::status(error), "Not done", &error.to_string())
}

/// Headers of every answer to a browser, and what it is to hold.
pub(crate) fn with_cookies(mut response: Response, cookies: &[HeaderValue]) -> Response {
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie.clone());
    }
    response
}
