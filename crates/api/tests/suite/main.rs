//! The HTTP surface as the network sees it: who gets which answer where.
#![allow(clippy::disallowed_methods, reason = "tests race, wait and read the clock")]

#[path = "../../../gateway/tests/support/mod.rs"]
mod support;

mod answers;
mod devices;
mod directories;
mod forms;
mod leavers;
mod logins;
mod matrix;
mod openapi;
mod receiver_tokens;
mod receivers;
mod refused_sets;
mod streams;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use api::{
    Agents, Bodies, Directories, Door, Health, Hosts, Observers, People, Receivers, Streams,
};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use keys::{KeyAlgorithm, SealingKey, SigningKey};
use login::{
    ClientAuthentication, Cookies, EndpointUrl, Login, Provider, Sessions, Settings, TokenRequest,
    Transport, TransportError,
};
use mcp::Era;
use pap::receivers::Transmitter;
use pap::streams::{Key, NoKey, Receiver, TransmitterKeys};
use serde_json::Value;
use support::{Agent, ISSUER, Setup, Upstream, World, tool};
use tower::ServiceExt as _;

/// The host under which the service is addressed.
const HOST: &str = "chancery.test:8420";

/// The issuer of the provider at which people log in.
const PROVIDER: &str = "http://127.0.0.1:1";

/// The largest body of these tests.
const BODY_MAX: usize = 4_096;

const POLICY: &str = r#"
@id("up") permit (principal, action in Action::"tools/call", resource in Server::"up");
@id("other") permit (principal, action in Action::"tools/call", resource in Server::"other");
"#;

struct Quiet;

impl Health for Quiet {
    fn troubles(&self) -> Vec<String> {
        Vec::new()
    }

    fn metrics(&self) -> String {
        "# TYPE chancery_log_stuck gauge\nchancery_log_stuck 0\n".to_owned()
    }

    fn policy(&self) -> String {
        "00".to_owned()
    }
}

/// The routers over one deployment with the servers `up` and `other`.
struct Surface {
    world: World,
    bot: Agent,
    agents: Router,
    /// Where people log in at a provider that does not answer, too.
    observers: Router,
    /// The same without a provider.
    nobodys: Router,
    admin: Router,
}

impl Surface {
    async fn new() -> Self {
        let up = Upstream::start(Era::Session, vec![tool("echo")]).await;
        let other = Upstream::start(Era::Session, vec![tool("echo")]).await;
        let routes = vec![("up", up.target()), ("other", other.target())];
        let setup = Setup { policy: POLICY.to_owned(), routes, ..Setup::default() };
        let world = World::new(setup).await;
        world.onboard("up", &["*=reads-data"]).await;
        world.onboard("other", &["*=reads-data"]).await;
        let bot = world.agent("bot", &["up/*"]).await;
        let agents = api::agents(of(&world), receivers(&world));
        let log_dir = world.dir.path().join("log");
        std::fs::create_dir_all(log_dir.join("tile/0")).expect("it can be made");
        std::fs::create_dir_all(log_dir.join("tile/entries")).expect("it can be made");
        for name in ["checkpoint", "tile/0/000", "tile/entries/000"] {
            std::fs::write(log_dir.join(name), name).expect("it can be written");
        }
        let (observers, nobodys) =
            (listener(&world, Some(door(&world, Silent)), false), listener(&world, None, false));
        let administrator = "alice".parse().expect("a person");
        let admin = api::admin(world.administration.clone(), administrator);
        Self { world, bot, agents, observers, nobodys, admin }
    }

    /// The router of `listener`, as the matrix names it.
    fn router(&self, listener: &str) -> &Router {
        match listener {
            "agents" => &self.agents,
            // People and observers are on one listener.
            "observers" | "people" => &self.observers,
            "nobody's" => &self.nobodys,
            "admin" => &self.admin,
            other => panic!("there is no listener `{other}`"),
        }
    }
}

/// What the listener of agents needs.
fn of(world: &World) -> Agents {
    let address: SocketAddr = "127.0.0.1:8420".parse().expect("an address");
    Agents {
        gateway: world.gateway.clone(),
        tokens: world.tokens.clone(),
        clock: world.authority.clock().clone(),
        bodies: Bodies::new(BODY_MAX, std::time::Duration::from_secs(10)),
        hosts: Hosts::new(ISSUER, address),
        behind_proxy: false,
    }
}

/// Where receivers manage their streams.
fn receivers(world: &World) -> Receivers {
    let sealing = SealingKey::from_bytes([9; 32]);
    let transmitter = Transmitter::new(world.administration.clone(), sealing);
    let address = "127.0.0.1:8420".parse().expect("an address");
    Receivers::new(Arc::new(transmitter), Hosts::new(ISSUER, address))
}

/// Transmitters whose keys cannot be had.
struct Keyless;

#[async_trait::async_trait]
impl TransmitterKeys for Keyless {
    async fn key(&self, _: &str, _: Option<&str>) -> Result<Arc<dyn Key>, NoKey> {
        Err(NoKey::Unavailable)
    }

    fn critical(&self, _: &str) -> Result<BTreeSet<String>, NoKey> {
        Err(NoKey::Unavailable)
    }
}

/// The listener of people, who come in by `door`, and observers.
fn listener(world: &World, door: Option<Arc<Door>>, behind_proxy: bool) -> Router {
    let receiver =
        Receiver::new(world.administration.clone(), Arc::new(Keyless), ISSUER.to_owned());
    listener_of(world, (door, behind_proxy), Arc::new(receiver))
}

/// The same, without a provider, where `receiver` receives what transmitters push.
fn listener_with(world: &World, receiver: Arc<Receiver>) -> Router {
    listener_of(world, (None, false), receiver)
}

fn listener_of(
    world: &World,
    (door, behind_proxy): (Option<Arc<Door>>, bool),
    receiver: Arc<Receiver>,
) -> Router {
    let hosts = Hosts::new(ISSUER, "127.0.0.1:8420".parse().expect("an address"));
    let people = People {
        administration: world.administration.clone(),
        tokens: world.tokens.clone(),
        clock: world.authority.clock().clone(),
        door,
        hosts: hosts.clone(),
        behind_proxy,
    };
    let (health, log_dir) = (Arc::new(Quiet), world.dir.path().join("log"));
    let directories = Directories::new(world.administration.clone(), ISSUER, hosts.clone());
    let directories = directories.with_agents(true);
    let streams = Streams::new(receiver, hosts.clone());
    let told = (directories, streams);
    api::admin_listener(Observers { health, log_dir, hosts }, people, told)
}

/// Where people log in at the provider behind `transport`.
fn door(world: &World, transport: impl Transport + 'static) -> Arc<Door> {
    let url = |text: &str| EndpointUrl::parse(text).expect("a URL");
    let redirect_uri = url("http://127.0.0.1:8421/login/callback");
    let cookies = Cookies::of(&redirect_uri);
    let authentication = ClientAuthentication::PrivateKeyJwt(Arc::new(
        SigningKey::generate(KeyAlgorithm::Es256).expect("a key"),
    ));
    let issuer = url(PROVIDER);
    let settings = Settings::new(issuer, "chancery", authentication, redirect_uri);
    let provider = Provider::new(settings).expect("a provider");
    let (clock, entropy) = (world.authority.clock(), world.authority.entropy());
    let login = Login::new(provider, Arc::new(transport), clock.clone(), entropy.clone());
    let sessions = Sessions::new(clock.clone(), entropy.clone());
    Arc::new(Door { login, sessions, cookies })
}

/// A provider that does not answer.
struct Silent;

#[async_trait::async_trait]
impl Transport for Silent {
    async fn document(&self, _: &EndpointUrl) -> Result<Value, TransportError> {
        Err(TransportError("nobody is there".into()))
    }

    async fn tokens(
        &self,
        _: &EndpointUrl,
        _: TokenRequest,
    ) -> Result<(StatusCode, Bytes), TransportError> {
        Err(TransportError("nobody is there".into()))
    }
}

/// An answer.
#[derive(Debug)]
struct Told {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

async fn ask(router: &Router, request: Request<Body>) -> Told {
    let response = router.clone().oneshot(request).await.expect("it answers");
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Told { status: parts.status, headers: parts.headers, text }
}

/// The OpenAPI document of a listener.
async fn document(router: &Router) -> Value {
    let request = request("GET", "/openapi.json").body(Body::empty()).expect("a request");
    let told = ask(router, request).await;
    assert_eq!(told.status, StatusCode::OK);
    assert_eq!(told.headers["content-type"], "application/json");
    serde_json::from_str(&told.text).expect("JSON")
}

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("host", HOST)
}
