//! The SCIM 2.0 service provider, by which directories push who their people are (RFC 7644).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest, Path, Request};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use model::SourceName;
use pap::Administration;
use pap::directory::{AgentChange, GroupChange, Kind, KnownDirectory, Page, Place, UserChange};
use scim::{
    AGENT, Error, GROUP, ListResponse, MEDIA_TYPE, Patch, Query, Resource, ResourceType, USER,
    Version,
};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::described::directories as described;
use crate::hosts::{self, Hosts};
use crate::openapi::Routes;

/// The path of the service provider.
const BASE: &str = "/scim/v2";

/// The largest body, in bytes: a group with as many members as one request may name fits.
const BODY_MAX: usize = 256 << 10;

/// How long a body may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// The most changes of one directory that are dealt with at once.
const CHANGES: usize = 64;

/// The most requests of one directory that read and are dealt with at once: one may look through much.
const READINGS: usize = 8;

/// What there is of people.
const PEOPLE: [Kind; 2] = [Kind::Users, Kind::Groups];

/// What there is where agents are wanted too: their resources are a draft's.
const WITH_AGENTS: [Kind; 3] = [Kind::Users, Kind::Groups, Kind::Agents];

/// How long something may take that a directory asks for.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

/// What the handlers for directories need. Cheap to clone.
#[derive(Clone)]
pub struct Directories {
    administration: Arc<Administration>,
    base: Arc<str>,
    /// Which kinds of resources there are.
    kinds: &'static [Kind],
    hosts: Hosts,
    turns: Turns,
}

/// By directory, the turns of its changes and of its readings. A token is shown before one is taken.
type Turns = Arc<Mutex<BTreeMap<SourceName, [Arc<Semaphore>; 2]>>>;

/// A request of a directory that is known.
struct Asked {
    state: Directories,
    directory: KnownDirectory,
    query: String,
    headers: HeaderMap,
    body: Value,
    /// Whether it only reads.
    reads: bool,
}

/// What directories reach.
pub(crate) fn routes() -> Routes<Directories> {
    let routes = Routes::new(described::always)
        .get("/scim/v2/ServiceProviderConfig", provider, described::provider())
        .get("/scim/v2/ResourceTypes", types, described::types())
        .get("/scim/v2/ResourceTypes/{id}", type_of, described::type_of())
        .get("/scim/v2/Schemas", schemas, described::schemas())
        .get("/scim/v2/Schemas/{id}", schema, described::schema());
    WITH_AGENTS
        .into_iter()
        .fold(routes, resources)
        .post("/scim/v2/.search", search_all, described::search_all())
        .nothing_else("/scim/v2/{*path}", nothing)
}

/// The routes of one kind of resources.
fn resources(routes: Routes<Directories>, kind: Kind) -> Routes<Directories> {
    let all = format!("{BASE}{}", type_of_kind(kind).endpoint());
    let (one, search) = (format!("{all}/{{id}}"), format!("{all}/.search"));
    let told = described::of(kind);
    routes
        .get(&all, async move |asked: Asked| asked.list(kind).await, told.list)
        .post(&search, async move |asked: Asked| asked.search(kind).await, told.search)
        .post(&all, async move |asked: Asked| asked.create(kind).await, told.create)
        .get(&one, async move |Path(id), asked: Asked| asked.read(kind, id).await, told.read)
        .put(&one, async move |Path(id), asked: Asked| asked.replace(kind, id).await, told.replace)
        .patch(&one, async move |Path(id), asked: Asked| asked.patch(kind, id).await, told.patch)
        .delete(&one, async move |Path(id), asked: Asked| asked.delete(kind, id).await, told.delete)
}

const fn type_of_kind(kind: Kind) -> &'static ResourceType {
    match kind {
        Kind::Users => &USER,
        Kind::Groups => &GROUP,
        Kind::Agents => &AGENT,
    }
}

impl Directories {
    /// What directories reach at `url`, under the names `hosts`: people only.
    pub fn new(administration: Arc<Administration>, url: &str, hosts: Hosts) -> Self {
        let base = directory_base(url).into();
        Self { administration, base, kinds: &PEOPLE, hosts, turns: Turns::default() }
    }

    /// The same, with agents if they are `wanted`.
    #[must_use]
    pub fn with_agents(self, wanted: bool) -> Self {
        let kinds: &[Kind] = if wanted { &WITH_AGENTS } else { &PEOPLE };
        Self { kinds, ..self }
    }

    /// The types of resources that there are.
    fn types(&self) -> Vec<&'static ResourceType> {
        self.kinds.iter().map(|kind| type_of_kind(*kind)).collect()
    }

    /// The same routes, answered by this.
    pub(crate) fn answering(self, routes: Router<Self>) -> Router {
        let (hosts, administration) = (self.hosts.clone(), self.administration.clone());
        let hosts = hosts.telling(Arc::new(move |cause| administration.refuse_directory(cause)));
        routes
            .method_not_allowed_fallback(not_allowed)
            .layer(axum::middleware::from_fn_with_state(hosts, hosts::check))
            .with_state(self)
    }

    /// The directory that shows its token, if it may do what `method` does.
    async fn known(
        &self,
        headers: &HeaderMap,
        (method, path): (&Method, &str),
    ) -> Result<KnownDirectory, Error> {
        let refuse = |cause: &'static str, status, why: &str| {
            self.administration.refuse_directory(cause);
            Err(Error::of_status(status, why))
        };
        let Some(token) = bearer(headers) else {
            return refuse("token_missing", 401, "a bearer token of a directory is needed");
        };
        let known = self.administration.known_directory(token).await;
        let known = known.map_err(|_| Error::of_status(503, "try again later"))?;
        let Some(known) = known else {
            return refuse("token_unknown", 401, "the token is none of a directory, or is over");
        };
        if known.read_only && !is_reading(method, path) {
            return refuse("token_reads_only", 403, "the token reads only");
        }
        Ok(known)
    }
}

/// Where directories find all that is theirs, at `url`.
pub fn directory_base(url: &str) -> String {
    format!("{}{BASE}", url.trim_end_matches('/'))
}

/// Whether a request only reads.
fn is_reading(method: &Method, path: &str) -> bool {
    method == Method::GET || path.ends_with("/.search")
}

/// The one bearer token of a request (RFC 6750 §2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let only = all.next().filter(|_| all.next().is_none())?.to_str().ok()?;
    let (scheme, token) = only.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

impl FromRequest<Directories> for Asked {
    type Rejection = Response;

    async fn from_request(request: Request, state: &Directories) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let asked = async {
            let directory = state.known(&parts.headers, (&parts.method, parts.uri.path())).await?;
            let body = json_of(&parts.headers, body).await?;
            let reads = is_reading(&parts.method, parts.uri.path());
            let (query, headers) =
                (parts.uri.query().unwrap_or_default().to_owned(), parts.headers);
            Ok(Self { state: state.clone(), directory, query, headers, body, reads })
        };
        asked.await.map_err(|error| refused(&error))
    }
}

/// The body as JSON; null if there is none.
async fn json_of(headers: &HeaderMap, body: Body) -> Result<Value, Error> {
    let read = tokio::time::timeout(BODY_WITHIN, axum::body::to_bytes(body, BODY_MAX)).await;
    let Ok(read) = read else {
        return Err(Error::of_status(408, "the body did not arrive in time"));
    };
    let bytes =
        read.map_err(|_| Error::of_status(413, format!("a body has at most {BODY_MAX} bytes")))?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if ![MEDIA_TYPE, "application/json"].iter().any(|known| kind.eq_ignore_ascii_case(known)) {
        return Err(Error::of_status(415, format!("the content type must be {MEDIA_TYPE}")));
    }
    let parsed = json::parse(&bytes, json::Limits::of_bytes(BODY_MAX));
    parsed.map_err(|error| Error::new(scim::ScimType::InvalidSyntax, error.to_string()))
}

impl Asked {
    fn place(&self, kind: Kind) -> Place<'_> {
        Place { directory: &self.directory.name, kind, base: &self.state.base, members: true }
    }

    /// The entity tags of a header, all of its lines, if it is there.
    fn tags(&self, name: HeaderName) -> Option<String> {
        let lines = self.headers.get_all(name).iter();
        let lines: Vec<_> = lines.map(|value| value.to_str().unwrap_or_default()).collect();
        (!lines.is_empty()).then(|| lines.join(", "))
    }

    /// The turns of what this asks for.
    fn turns(&self) -> Arc<Semaphore> {
        let mut all = self.state.turns.lock().expect("no panic while it is held");
        let new = || [CHANGES, READINGS].map(|most| Arc::new(Semaphore::new(most)));
        let own = all.entry(self.directory.name.clone()).or_insert_with(new);
        own[usize::from(self.reads)].clone()
    }

    /// Answers by `answer`, if there are resources of that kind.
    async fn answered_of(
        &self,
        kind: Kind,
        answer: impl Future<Output = Result<Response, Error>>,
    ) -> Response {
        if !self.state.kinds.contains(&kind) {
            return refused(&no_endpoint());
        }
        self.answered(Box::pin(answer)).await
    }

    /// Answers by `answer`, in its turn and in time.
    async fn answered(&self, answer: impl Future<Output = Result<Response, Error>>) -> Response {
        let turns = self.turns();
        let Ok(_turn) = turns.try_acquire() else {
            self.state.administration.refuse_directory("too_many");
            return refused(&Error::of_status(503, "too much is under way: try again later"));
        };
        let late = |_| Err(Error::of_status(503, "it took too long: ask again, or for less"));
        let answer = tokio::time::timeout(ANSWER_WITHIN, answer).await.unwrap_or_else(late);
        if answer.is_ok() {
            self.state.administration.directory_heard(&self.directory).await;
        }
        answer.unwrap_or_else(|error| {
            if error.status != 404 {
                self.state.administration.refuse_directory("not_done");
            }
            refused(&error)
        })
    }

    async fn list(self, kind: Kind) -> Response {
        let query = Query::of_url(&self.query, type_of_kind(kind));
        self.answered_of(kind, async { self.page(kind, &query?).await }).await
    }

    async fn search(self, kind: Kind) -> Response {
        let query = Query::of_search(&self.body, type_of_kind(kind));
        self.answered_of(kind, async { self.page(kind, &query?).await }).await
    }

    async fn page(&self, kind: Kind, query: &Query) -> Result<Response, Error> {
        let page = self.found(kind, query).await?;
        let told = ListResponse::of(query, page.total, page.resources).into_json();
        Ok(written(StatusCode::OK, &told))
    }

    async fn found(&self, kind: Kind, query: &Query) -> Result<Page, Error> {
        // A filter may ask for what is not shown.
        let members = query.filter.is_some() || query.projection.wants("members");
        let place = Place { members, ..self.place(kind) };
        self.state.administration.directory_page(&place, query).await
    }

    /// A page of all kinds, one after the other. A filter that one of them cannot be asked is refused.
    async fn page_of_all(&self) -> Result<Response, Error> {
        let kinds = self.state.kinds.iter();
        let read = |kind: &Kind| Ok((*kind, Query::of_search(&self.body, type_of_kind(*kind))?));
        let queries: Vec<_> = kinds.map(read).collect::<Result<_, Error>>()?;
        let mut whole = ListResponse::whole(Vec::new());
        for (kind, query) in queries {
            whole.start_index = query.start_index;
            let left = query.after(whole.total, whole.resources.len());
            let page = self.found(kind, &left).await?;
            whole.add(&left, page.total, page.resources);
        }
        Ok(written(StatusCode::OK, &whole.into_json()))
    }

    async fn read(self, kind: Kind, id: String) -> Response {
        let shown = async {
            let place = self.place(kind);
            let (resource, version) =
                self.state.administration.directory_resource(&place, &id).await?;
            let is_known = self.tags(header::IF_NONE_MATCH).is_some_and(|it| version.is_in(&it));
            let mut shown = self.shown(kind, StatusCode::OK, (resource, version))?;
            if is_known {
                // With what it is known by, and nothing of it (RFC 9110 §15.4.5).
                *shown.status_mut() = StatusCode::NOT_MODIFIED;
                *shown.body_mut() = Body::empty();
                shown.headers_mut().remove(header::CONTENT_TYPE);
            }
            Ok(shown)
        };
        self.answered_of(kind, shown).await
    }

    /// The resource, as much of it as is asked for.
    fn shown(
        &self,
        kind: Kind,
        status: StatusCode,
        (resource, version): (Resource, Version),
    ) -> Result<Response, Error> {
        let query = Query::of_url(&self.query, type_of_kind(kind))?;
        let location = resource.get("meta").and_then(|meta| meta["location"].as_str());
        let location = location.unwrap_or_default().to_owned();
        let shown = Value::Object(query.projection.apply(resource));
        let mut response = written(status, &shown);
        for (name, value) in [(header::ETAG, version.to_string()), (header::LOCATION, location)] {
            let value = value.parse().map_err(|_| Error::of_status(500, "it has no location"))?;
            response.headers_mut().insert(name, value);
        }
        Ok(response)
    }

    async fn create(mut self, kind: Kind) -> Response {
        let said = type_of_kind(kind).read(self.body.take());
        let created = async {
            let (administration, said) = (&self.state.administration, said?);
            let id = match kind {
                Kind::Users => administration.create_user(&self.directory, said).await?.to_string(),
                Kind::Groups => administration.create_group(&self.directory, said).await?,
                Kind::Agents => {
                    Box::pin(administration.create_agent(&self.directory, &said)).await?
                }
            };
            let made = administration.directory_resource(&self.place(kind), &id).await?;
            self.shown(kind, StatusCode::CREATED, made)
        };
        self.answered_of(kind, created).await
    }

    async fn replace(mut self, kind: Kind, id: String) -> Response {
        let said = type_of_kind(kind).read(self.body.take());
        let replaced = async {
            match kind {
                Kind::Users => self.change_user(&id, &UserChange::Replace(said?)).await?,
                Kind::Groups => self.change_group(&id, &GroupChange::Replace(said?)).await?,
                Kind::Agents => self.change_agent(&id, &AgentChange::Replace(said?)).await?,
            }
            self.now(kind, &id).await
        };
        self.answered_of(kind, replaced).await
    }

    async fn patch(mut self, kind: Kind, id: String) -> Response {
        let patch = Patch::parse(self.body.take(), type_of_kind(kind));
        let patched = async {
            match kind {
                Kind::Users => self.change_user(&id, &UserChange::Patch(&patch?)).await?,
                Kind::Groups => self.change_group(&id, &GroupChange::Patch(&patch?)).await?,
                Kind::Agents => self.change_agent(&id, &AgentChange::Patch(&patch?)).await?,
            }
            self.now(kind, &id).await
        };
        self.answered_of(kind, patched).await
    }

    async fn delete(self, kind: Kind, id: String) -> Response {
        let deleted = async {
            match kind {
                Kind::Users => self.change_user(&id, &UserChange::Delete).await?,
                Kind::Groups => self.change_group(&id, &GroupChange::Delete).await?,
                Kind::Agents => self.change_agent(&id, &AgentChange::Delete).await?,
            }
            Ok(StatusCode::NO_CONTENT.into_response())
        };
        self.answered_of(kind, deleted).await
    }

    async fn change_user(&self, id: &str, change: &UserChange<'_>) -> Result<(), Error> {
        let tags = self.tags(header::IF_MATCH);
        let named = (id, tags.as_deref());
        self.state.administration.change_user(&self.directory, named, change).await
    }

    async fn change_group(&self, id: &str, change: &GroupChange<'_>) -> Result<(), Error> {
        let tags = self.tags(header::IF_MATCH);
        let named = (id, tags.as_deref());
        self.state.administration.change_group(&self.directory, named, change).await
    }

    async fn change_agent(&self, id: &str, change: &AgentChange<'_>) -> Result<(), Error> {
        let tags = self.tags(header::IF_MATCH);
        let named = (id, tags.as_deref());
        Box::pin(self.state.administration.change_agent(&self.directory, named, change)).await
    }

    /// What was changed, as it is now.
    async fn now(&self, kind: Kind, id: &str) -> Result<Response, Error> {
        let place = self.place(kind);
        let now = self.state.administration.directory_resource(&place, id).await?;
        self.shown(kind, StatusCode::OK, now)
    }
}

async fn provider(asked: Asked) -> Response {
    written(StatusCode::OK, &scim::service_provider_config(&asked.state.base))
}

async fn types(asked: Asked) -> Response {
    let all = scim::resource_types(&asked.state.base, &asked.state.types());
    written(StatusCode::OK, &ListResponse::whole(all).into_json())
}

async fn type_of(Path(id): Path<String>, asked: Asked) -> Response {
    found(scim::resource_type(&asked.state.base, &asked.state.types(), &id))
}

async fn schemas(asked: Asked) -> Response {
    let all = scim::schemas(&asked.state.base, &asked.state.types());
    written(StatusCode::OK, &ListResponse::whole(all).into_json())
}

async fn schema(Path(id): Path<String>, asked: Asked) -> Response {
    found(scim::schema(&asked.state.base, &asked.state.types(), &id))
}

/// Searches all types of resources at once (RFC 7644 §3.4.3).
async fn search_all(asked: Asked) -> Response {
    asked.answered(asked.page_of_all()).await
}

async fn nothing(_: Asked) -> Response {
    refused(&no_endpoint())
}

fn no_endpoint() -> Error {
    Error::of_status(404, "there is no such endpoint")
}

async fn not_allowed() -> Response {
    refused(&Error::of_status(405, "the endpoint has no such method"))
}

fn found(described: Option<Value>) -> Response {
    match described {
        Some(described) => written(StatusCode::OK, &described),
        None => refused(&Error::of_status(404, "there is no such thing")),
    }
}

fn written(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body.to_string()).into_response()
}

/// An error as SCIM tells it; who shows no token is told how (RFC 6750 §3).
fn refused(error: &Error) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = written(status, &error.to_json());
    let headers = response.headers_mut();
    match status {
        StatusCode::UNAUTHORIZED => {
            let how = http::HeaderValue::from_static("Bearer realm=\"scim\"");
            headers.insert(header::WWW_AUTHENTICATE, how);
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, http::HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}
