//! What transmitters are answered that push shared signals (RFC 8935).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::StatusCode;
use keys::{KeyAlgorithm, SigningKey};
use mcp::Era;
use model::{Clock as _, FactKey, Heard, LoginRule, Sha256Digest, Speaker};
use pap::streams::{Key, NoKey, Receiver, TransmitterKeys};
use pap::{Command, DirectoryRegistration, NewToken, StreamRegistration};
use serde_json::{Value, json};

use crate::support::{Agent, ISSUER, Setup, Upstream, World, tool};
use crate::{POLICY, Surface, Told, ask, request};

pub(crate) const TRANSMITTER: &str = "https://idp.example";
const PATH: &str = "/ssf/events/caep";
pub(crate) const TOKEN: &str = "caep.secret";
pub(crate) const SET: &str = "application/secevent+jwt";
const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";

/// A transmitter with one key, if it can be had.
pub(crate) struct Published(pub(crate) Option<Arc<dyn Key>>);

#[async_trait::async_trait]
impl TransmitterKeys for Published {
    async fn key(&self, _: &str, _: Option<&str>) -> Result<Arc<dyn Key>, NoKey> {
        self.0.clone().ok_or(NoKey::Unavailable)
    }

    fn critical(&self, _: &str) -> Result<BTreeSet<String>, NoKey> {
        Ok(BTreeSet::new())
    }
}

/// A deployment with the stream `caep`.
async fn surface() -> Surface {
    let surface = Surface::new().await;
    register(&surface.world, (&["ES256"], None), (Some(60), None)).await;
    surface
}

/// Registers the directory `okta`, whose people log in so, and the stream `caep`, whose transmitter may sign by
/// `algorithms`; each of which may be silent for so many minutes.
pub(crate) async fn register(
    world: &World,
    (algorithms, logins): (&[&str], Option<LoginRule>),
    (of_directory, of_stream): (Option<u32>, Option<u32>),
) {
    let expires = world.clock.now().plus(Duration::from_hours(24));
    let token = |text: &str| {
        let digest = Sha256Digest::of(text.as_bytes());
        NewToken { digest, expires, read_only: false }
    };
    let name = "okta".to_owned();
    let (token_of, silence_min) = (token("okta.secret"), of_directory);
    let directory = DirectoryRegistration { name, logins, silence_min, token: token_of };
    world.run(Command::DirectoryAdd(directory)).await;
    let stream = StreamRegistration {
        name: "caep".to_owned(),
        issuer: TRANSMITTER.to_owned(),
        audience: ISSUER.to_owned(),
        algorithms: algorithms.iter().map(|name| (*name).to_owned()).collect(),
        directory: "okta".to_owned(),
        email: false,
        silence_min: of_stream,
        token: token(TOKEN),
    };
    world.run(Command::StreamAdd(stream)).await;
}

/// Where transmitters push to, of `world`, whose keys are `published`.
pub(crate) fn router(world: &World, published: Published) -> Router {
    let (by, base) = (world.administration.clone(), ISSUER.to_owned());
    let receiver = Receiver::new(by, Arc::new(published), base);
    crate::listener_with(world, Arc::new(receiver))
}

pub(crate) async fn push(
    router: &Router,
    (token, kind): (&str, &str),
    body: impl Into<Body>,
) -> Told {
    let request = request("POST", PATH).header("authorization", format!("Bearer {token}"));
    let request = request.header("content-type", kind).body(body.into());
    ask(router, request.expect("a request")).await
}

/// What a transmitter tells at `now`, for `audience`, to show that it is there.
fn claims(audience: &str, now: i64) -> Value {
    json!({
        "iss": TRANSMITTER, "aud": audience, "iat": now, "jti": "one",
        "sub_id": { "format": "opaque", "id": "stream" }, "events": { VERIFICATION: {} },
    })
}

fn sign(claims: &Value, key: &SigningKey) -> String {
    oauth::jws::sign("secevent+jwt", claims, key).expect("signed")
}

/// At the path of all streams, the bearer token says which one it is; who shows none that counts is told no more there.
#[tokio::test]
async fn ss_04_a_bearer_token_names_its_stream() {
    let surface = surface().await;
    let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
    let set = sign(&claims(ISSUER, surface.world.clock.now().as_seconds()), &key);
    let router = router(&surface.world, Published(Some(Arc::new(key.verifying().clone()))));
    for path in ["/ssf/events", PATH] {
        let strangers = ["Bearer caep.other", "Bearer okta.secret", "Bearer secret", "Basic eDp4"];
        let strangers = strangers.map(|shown| (Some(shown), 401));
        let known = [(None, 401), (Some("Bearer caep.secret"), 202)];
        for (shown, status) in strangers.into_iter().chain(known) {
            let asked = request("POST", path).header("content-type", "application/secevent+jwt");
            let asked =
                shown.into_iter().fold(asked, |it, shown| it.header("authorization", shown));
            let told = ask(&router, asked.body(set.clone().into()).expect("a request")).await;
            assert_eq!(told.status.as_u16(), status, "{path} {shown:?}: {told:?}");
            let how = told.headers.get("www-authenticate");
            assert_eq!(how.is_some(), status == 401, "{path} {shown:?}: {told:?}");
        }
    }
}

#[tokio::test]
async fn ss_04_a_transmitter_is_answered_as_the_rfc_has_it() {
    let surface = surface().await;
    let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
    let now = surface.world.clock.now().as_seconds();
    let signed = |audience: &str| sign(&claims(audience, now), &key);
    let (good, other) = (signed(ISSUER), signed("https://other.example"));
    let (silent, published) = (
        router(&surface.world, Published(None)),
        Published(Some(Arc::new(key.verifying().clone()))),
    );
    let router = router(&surface.world, published);
    let check = async |router: &Router, asked: (&str, &str), body: &str, status: u16, err: &str| {
        let told = push(router, asked, body.to_owned()).await;
        assert_eq!(told.status.as_u16(), status, "{told:?}");
        let body: Value = serde_json::from_str(&told.text).unwrap_or_default();
        assert_eq!(body["err"].as_str().unwrap_or_default(), err, "{told:?}");
        if !err.is_empty() {
            assert_eq!(told.headers["content-type"], "application/json");
            assert_eq!(told.headers["content-language"], "en");
        }
        told
    };
    let told = check(&router, ("caep.other", SET), &good, 401, "authentication_failed").await;
    assert_eq!(told.headers["www-authenticate"], "Bearer realm=\"ssf\"");
    check(&router, ("okta.secret", SET), &good, 401, "authentication_failed").await;
    check(&router, (TOKEN, "application/jwt"), &good, 415, "invalid_request").await;
    check(&router, (TOKEN, "text/plain"), &good, 415, "invalid_request").await;
    let long = "x".repeat(secevent::SET_BYTES_MAX);
    check(&router, (TOKEN, SET), &long, 400, "invalid_request").await;
    check(&router, (TOKEN, SET), &(long + "x"), 413, "invalid_request").await;
    check(&router, (TOKEN, SET), "", 400, "invalid_request").await;
    let told = push(&router, (TOKEN, SET), vec![0xff; 8]).await;
    assert_eq!(told.status, StatusCode::BAD_REQUEST);
    check(&router, (TOKEN, SET), &other, 400, "invalid_audience").await;
    let told = check(&silent, (TOKEN, SET), &good, 503, "").await;
    assert_eq!(told.headers["retry-after"], "10");
    for _ in 0..2 {
        let told = check(&router, (TOKEN, "Application/SecEvent+JWT"), &good, 202, "").await;
        assert_eq!(told.text, "");
    }
}

/// A directory is heard by what is done for it, and not by what is refused.
#[tokio::test]
async fn a_directory_is_heard_by_what_is_done_for_it() {
    let surface = surface().await;
    let router = router(&surface.world, Published(None));
    let (world, start) = (&surface.world, surface.world.clock.now());
    let hour = Duration::from_hours(1);
    let asks = async |method: &str, path: &str, body: &'static str, status: u16| {
        world.clock.advance(hour);
        let asked = request(method, path).header("authorization", "Bearer okta.secret");
        let asked = asked.header("content-type", "application/scim+json").body(body.into());
        let told = ask(&router, asked.expect("a request")).await;
        assert_eq!(told.status.as_u16(), status, "{told:?}");
        let mut reader = world.authority.pip().reader();
        let heard = reader.need::<Heard>(FactKey::heard(&"okta".parse().expect("a name"))).await;
        heard.expect("it is waited for").0[&Speaker::directory()]
    };
    assert_eq!(asks("POST", "/scim/v2/Users", "{}", 400).await, start.plus(hour));
    assert_eq!(asks("GET", "/scim/v2/Users/nobody", "", 404).await, start.plus(hour));
    assert_eq!(asks("GET", "/scim/v2/Users", "", 200).await, start.plus(4 * hour));
}

/// What the directory is answered that says `body`, or asks who its people are.
async fn tells(router: &Router, body: Option<Value>) -> u16 {
    let method = if body.is_some() { "POST" } else { "GET" };
    let asked = request(method, "/scim/v2/Users").header("authorization", "Bearer okta.secret");
    let asked = asked.header("content-type", "application/scim+json");
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    ask(router, asked.body(body).expect("a request")).await.status.as_u16()
}

/// What becomes of a call of each tool, by an instance of `bot` that begins now: of the one that only reads, and of the
/// one that does more.
async fn calls(world: &World, bot: &Agent) -> [String; 2] {
    let client = bot.connected(world, "up", Era::Session).await;
    let call = async |name: &str| {
        let result = client.call(name, json!({})).await.result();
        let code = result["structuredContent"]["code"].as_str().unwrap_or("failed");
        let answer = if result["isError"] == false { "done" } else { code };
        answer.to_owned()
    };
    [call("echo").await, call("pay").await]
}

/// Whose directory, or a stream for it, says nothing for longer than its bound has agents that read and do nothing
/// else, by the starter policy as it is; what is next heard of it, as it comes over HTTP, ends that.
#[tokio::test]
async fn silence_leaves_agents_nothing_but_reading_until_the_source_is_heard() {
    for (of_directory, of_stream) in [(Some(1), None), (None, Some(1))] {
        let up = Upstream::start(Era::Session, vec![tool("echo"), tool("pay")]).await;
        let served = vec![("up", up.target())];
        let setup = Setup { policy: POLICY.to_owned(), routes: served, ..Setup::default() };
        let world = Box::pin(World::new(setup)).await;
        world.onboard("up", &["*=reads-data", "pay=changes-production"]).await;
        let bot = world.agent("bot", &["up/*"]).await;
        register(&world, (&["ES256"], None), (of_directory, of_stream)).await;
        let (name, person) = ("okta".to_owned(), "sam".to_owned());
        world.run(Command::DirectoryAdopt { name, person }).await;
        let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        let router = router(&world, Published(Some(Arc::new(key.verifying().clone()))));
        let schema = "urn:ietf:params:scim:schemas:core:2.0:User";
        let user = json!({ "schemas": [schema], "userName": "sam" });
        assert_eq!(tells(&router, Some(user)).await, 201);
        world.clock.advance(Duration::from_secs(1));
        assert_eq!(calls(&world, &bot).await, ["done", "done"]);

        world.clock.advance(Duration::from_mins(1));
        assert_eq!(calls(&world, &bot).await, ["done", "denied"]);
        assert_eq!(up.seen_of("tools/call").len(), 3, "it reached nobody");
        if of_directory.is_some() {
            assert_eq!(tells(&router, None).await, 200);
        } else {
            let claims = json!({
                "iss": TRANSMITTER, "aud": ISSUER, "iat": world.now(), "jti": "one",
                "sub_id": { "format": "opaque", "id": "stream" }, "events": { VERIFICATION: {} },
            });
            let token = oauth::jws::sign("secevent+jwt", &claims, &key).expect("signed");
            assert_eq!(push(&router, (TOKEN, SET), token).await.status, StatusCode::ACCEPTED);
        }
        assert_eq!(calls(&world, &bot).await, ["done", "done"]);
        world.record("it is heard again", |it| it["event"] == "heard_again").await;
    }
}
