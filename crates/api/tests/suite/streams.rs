//! What transmitters are answered that push shared signals (RFC 8935).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::StatusCode;
use keys::{EventKey, KeyAlgorithm, SigningKey};
use model::{Clock as _, FactKey, Heard, LoginRule, LoginSubject, Person, Sha256Digest, Speaker};
use oauth::jwks::{KeySet, Purpose};
use pap::streams::{Key, NoKey, Receiver, TransmitterKeys};
use pap::{Command, DirectoryRegistration, NewToken, StreamRegistration};
use serde_json::{Value, json};

use crate::support::{ISSUER, until};
use crate::{Surface, Told, ask, request};

const TRANSMITTER: &str = "https://idp.example";
const PATH: &str = "/ssf/events/caep";
const TOKEN: &str = "caep.secret";

/// A token, and what it tells: that an account was disabled, and that a session was revoked.
const SET: &str = "secevent+jwt";
const DISABLED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-disabled";
const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

/// A transmitter with one key, if it can be had.
struct Published(Option<Arc<dyn Key>>);

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
    surface_of(&["ES256"]).await
}

/// The same, whose transmitter may sign by `algorithms`.
async fn surface_of(algorithms: &[&str]) -> Surface {
    let surface = Box::pin(Surface::new()).await;
    let world = &surface.world;
    let expires = world.clock.now().plus(Duration::from_hours(24));
    let token = |text: &str| {
        let digest = Sha256Digest::of(text.as_bytes());
        NewToken { digest, expires, read_only: false }
    };
    let (issuer, subject) = (TRANSMITTER.to_owned(), LoginSubject::ExternalId);
    let (name, logins) = ("okta".to_owned(), Some(LoginRule { issuer, subject }));
    let (token_of, silence_min) = (token("okta.secret"), Some(60));
    let directory = DirectoryRegistration { name, logins, silence_min, token: token_of };
    world.run(Command::DirectoryAdd(directory)).await;
    let stream = StreamRegistration {
        name: "caep".to_owned(),
        issuer: TRANSMITTER.to_owned(),
        audience: ISSUER.to_owned(),
        algorithms: algorithms.iter().map(|name| (*name).to_owned()).collect(),
        directory: "okta".to_owned(),
        email: false,
        silence_min: Some(60),
        token: token(TOKEN),
    };
    world.run(Command::StreamAdd(stream)).await;
    surface
}

/// Where transmitters push to, of `surface`, whose keys are `published`.
fn router(surface: &Surface, published: Published) -> Router {
    let (by, base) = (surface.world.administration.clone(), ISSUER.to_owned());
    let receiver = Receiver::new(by, Arc::new(published), base);
    crate::listener_with(&surface.world, Arc::new(receiver))
}

async fn push(router: &Router, (token, kind): (&str, &str), body: impl Into<Body>) -> Told {
    let request = request("POST", PATH).header("authorization", format!("Bearer {token}"));
    let request = request.header("content-type", kind).body(body.into());
    ask(router, request.expect("a request")).await
}

#[tokio::test]
async fn ss_04_a_transmitter_is_answered_as_the_rfc_has_it() {
    let surface = surface().await;
    let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
    let now = surface.world.clock.now().as_seconds();
    let uri = "https://schemas.openid.net/secevent/ssf/event-type/verification";
    let claims = |audience: &str| {
        json!({
            "iss": TRANSMITTER, "aud": audience, "iat": now, "jti": "one",
            "sub_id": { "format": "opaque", "id": "stream" }, "events": { uri: {} },
        })
    };
    let sign = |claims: &Value| oauth::jws::sign("secevent+jwt", claims, &key).expect("signed");
    let (good, other) = (sign(&claims(ISSUER)), sign(&claims("https://other.example")));
    let (silent, published) =
        (router(&surface, Published(None)), Published(Some(Arc::new(key.verifying().clone()))));
    let router = router(&surface, published);
    let set = "application/secevent+jwt";
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
    let told = check(&router, ("caep.other", set), &good, 401, "authentication_failed").await;
    assert_eq!(told.headers["www-authenticate"], "Bearer realm=\"ssf\"");
    check(&router, ("okta.secret", set), &good, 401, "authentication_failed").await;
    check(&router, (TOKEN, "application/jwt"), &good, 415, "invalid_request").await;
    check(&router, (TOKEN, "text/plain"), &good, 415, "invalid_request").await;
    let long = "x".repeat(secevent::SET_BYTES_MAX);
    check(&router, (TOKEN, set), &long, 400, "invalid_request").await;
    check(&router, (TOKEN, set), &(long + "x"), 413, "invalid_request").await;
    check(&router, (TOKEN, set), "", 400, "invalid_request").await;
    let told = push(&router, (TOKEN, set), vec![0xff; 8]).await;
    assert_eq!(told.status, StatusCode::BAD_REQUEST);
    check(&router, (TOKEN, set), &other, 400, "invalid_audience").await;
    let told = check(&silent, (TOKEN, set), &good, 503, "").await;
    assert_eq!(told.headers["retry-after"], "10");
    for _ in 0..2 {
        let told = check(&router, (TOKEN, "Application/SecEvent+JWT"), &good, 202, "").await;
        assert_eq!(told.text, "");
    }
}

/// A deployment where `sam` is of the directory, half an hour after anybody was heard.
async fn with_sam(algorithms: &[&str]) -> Surface {
    let surface = Box::pin(surface_of(algorithms)).await;
    let (name, person) = ("okta".to_owned(), "sam".to_owned());
    surface.world.run(Command::DirectoryAdopt { name, person }).await;
    let schema = "urn:ietf:params:scim:schemas:core:2.0:User";
    let sam = json!({ "schemas": [schema], "userName": "sam", "externalId": "x-sam" });
    let asked = request("POST", "/scim/v2/Users").header("authorization", "Bearer okta.secret");
    let asked = asked.header("content-type", "application/scim+json").body(sam.to_string().into());
    let told = ask(&surface.nobodys, asked.expect("a request")).await;
    assert_eq!(told.status, StatusCode::CREATED, "{told:?}");
    surface.world.clock.advance(Duration::from_mins(30));
    surface
}

/// That the account of `sam` was disabled now.
fn disabled(surface: &Surface) -> Value {
    let now = surface.world.clock.now().as_seconds();
    json!({
        "iss": TRANSMITTER, "aud": ISSUER, "iat": now, "jti": "one",
        "sub_id": { "format": "iss_sub", "iss": TRANSMITTER, "sub": "x-sam" },
        "events": { DISABLED: {} },
    })
}

async fn is_active(surface: &Surface) -> bool {
    let mut reader = surface.world.authority.pip().reader();
    let sam = reader.need::<Person>(FactKey::person(&"sam".parse().expect("a person"))).await;
    sam.expect("he is known").is_active()
}

/// All that a signal could change.
async fn kept(surface: &Surface) -> Vec<Value> {
    let places = ["person/", "heard/", "signal-mark/", "taken/", "stream/", "stream-tells/"];
    let mut kept = Vec::new();
    for prefix in places {
        let all = authority::all::<Value>(surface.world.authority.pip().store(), prefix).await;
        kept.extend(all.expect("they can be read"));
    }
    kept
}

/// How many refusals for `cause` are recorded.
async fn refused_for(surface: &Surface, cause: &str) -> usize {
    let records = surface.world.records().await;
    records.iter().filter(|it| it["kind"] == "refusal" && it["cause"] == cause).count()
}

/// Checks that `token` is refused: what its transmitter is told, that nothing changed, and the record of it.
async fn check_refused(
    (surface, router): (&Surface, &Router),
    token: String,
    (err, cause): (&str, &str),
) {
    let (before, refused) = (kept(surface).await, refused_for(surface, cause).await);
    let told = push(router, (TOKEN, "application/secevent+jwt"), token).await;
    assert_eq!(told.status, StatusCode::BAD_REQUEST, "{cause}: {told:?}");
    let body: Value = serde_json::from_str(&told.text).expect("JSON");
    assert!(body["description"].as_str().is_some_and(|why| !why.is_empty()), "{cause}: {body}");
    let exactly = json!({ "err": err, "description": body["description"] });
    assert_eq!(body, exactly, "{cause}");
    until("it is recorded", || async {
        (refused_for(surface, cause).await == refused + 1).then_some(())
    })
    .await;
    assert_eq!(kept(surface).await, before, "{cause}");
    assert!(is_active(surface).await, "{cause}");
}

/// How a token differs from one that is taken; the time is given in seconds.
type Differs = fn(&mut Value, i64);

/// Each token that is none of the stream is refused for what it is, by the RFC's error, and changes nothing.
#[tokio::test]
async fn ss_04_what_is_no_token_of_a_stream_changes_nothing_and_is_recorded() {
    let without = |claims: &mut Value, name: &str| {
        claims.as_object_mut().expect("claims").remove(name);
    };
    let cases: [(&str, Differs, &str, &str); 14] = [
        (SET, |it, _| it["events"][REVOKED] = json!({}), "invalid_request", "claim"),
        (SET, |it, _| it["events"] = json!({}), "invalid_request", "claim"),
        ("JWT", |_, _| {}, "invalid_request", "unreadable"),
        ("at+jwt", |_, _| {}, "invalid_request", "unreadable"),
        (SET, |it, _| it["iss"] = json!("https://other.example"), "invalid_issuer", "issuer"),
        (SET, |it, _| it["aud"] = json!("https://other.example"), "invalid_audience", "audience"),
        (SET, |it, now| it["iat"] = json!(now + 301), "invalid_request", "not_yet"),
        (SET, |it, now| it["iat"] = json!(now - 7 * 86_400 - 1), "invalid_request", "too_old"),
        (SET, |it, now| it["iat"] = json!(now.to_string()), "invalid_request", "claim"),
        (SET, |it, now| it["exp"] = json!(now + 300), "invalid_request", "other_kind"),
        (SET, |it, _| it["sub"] = json!("x-sam"), "invalid_request", "other_kind"),
        (SET, |it, _| it["jti"] = json!(1), "invalid_request", "claim"),
        (SET, |it, _| it["jti"] = json!(""), "invalid_request", "claim"),
        (SET, |it, _| it["jti"] = json!("j".repeat(257)), "invalid_request", "claim"),
    ];
    let missing = ["iss", "aud", "iat", "jti", "events", "sub_id"];
    let missing = missing.map(|name| (name, "invalid_request", "claim"));
    let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
    let signed = |typ: &str, claims: &Value| oauth::jws::sign(typ, claims, &key).expect("signed");
    let surface = Box::pin(with_sam(&["ES256"])).await;
    let router = router(&surface, Published(Some(Arc::new(key.verifying().clone()))));
    for (typ, differs, err, cause) in cases {
        let mut claims = disabled(&surface);
        differs(&mut claims, surface.world.clock.now().as_seconds());
        check_refused((&surface, &router), signed(typ, &claims), (err, cause)).await;
    }
    for (name, err, cause) in missing {
        let mut claims = disabled(&surface);
        without(&mut claims, name);
        check_refused((&surface, &router), signed(SET, &claims), (err, cause)).await;
    }
    // Without any of that it is taken.
    let token = signed(SET, &disabled(&surface));
    let told = push(&router, (TOKEN, "application/secevent+jwt"), token).await;
    assert_eq!(told.status, StatusCode::ACCEPTED, "{told:?}");
    assert!(!is_active(&surface).await);
}

/// By an algorithm that the stream does not allow nothing is taken, though the transmitter publishes such a key.
#[tokio::test]
async fn ss_04_a_stream_takes_no_token_by_an_algorithm_that_it_does_not_allow() {
    let key = EventKey::generate().expect("a key");
    let published = json!({ "keys": [key.public().to_jwk()] });
    let published = KeySet::parse(&published, Purpose::Signatures).expect("a set of keys");
    let published = published.find(None).expect("it is the only one").clone();
    let router = |surface: &Surface| router(surface, Published(Some(published.clone())));
    let signed = |claims: &Value| secevent::sign_rs256(claims, &key).expect("it is signed");

    let surface = Box::pin(with_sam(&["ES256"])).await;
    let token = signed(&disabled(&surface));
    let expected = ("invalid_key", "algorithm");
    check_refused((&surface, &router(&surface)), token, expected).await;

    let surface = Box::pin(with_sam(&["ES256", "RS256"])).await;
    let token = signed(&disabled(&surface));
    let told = push(&router(&surface), (TOKEN, "application/secevent+jwt"), token).await;
    assert_eq!(told.status, StatusCode::ACCEPTED, "{told:?}");
    assert!(!is_active(&surface).await);
}

/// A directory is heard by what is done for it, and not by what is refused.
#[tokio::test]
async fn a_directory_is_heard_by_what_is_done_for_it() {
    let surface = surface().await;
    let router = router(&surface, Published(None));
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
