//! Tokens of a stream that are refused (RFC 8935 §2.4): each is recorded, and nothing changes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::StatusCode;
use keys::{EventKey, KeyAlgorithm, SigningKey};
use model::{Clock as _, FactKey, LoginRule, LoginSubject, Person};
use oauth::jwks::{KeySet, Purpose};
use pap::Command;
use serde_json::{Value, json};

use crate::streams::{Published, SET, TOKEN, TRANSMITTER, push, register, router};
use crate::support::{ISSUER, until};
use crate::{Surface, ask, request};

/// The type of a token, and what it tells: that an account was disabled, and that a session was revoked.
const TYPE: &str = "secevent+jwt";
const DISABLED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-disabled";
const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

/// A deployment where `sam` is of the directory, half an hour after anybody was heard.
async fn with_sam(algorithms: &[&str]) -> Surface {
    let surface = Box::pin(Surface::new()).await;
    let (issuer, subject) = (TRANSMITTER.to_owned(), LoginSubject::ExternalId);
    let logins = Some(LoginRule { issuer, subject });
    register(&surface.world, (algorithms, logins), (Some(60), Some(60))).await;
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
    let told = push(router, (TOKEN, SET), token).await;
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
        (TYPE, |it, _| it["events"][REVOKED] = json!({}), "invalid_request", "claim"),
        (TYPE, |it, _| it["events"] = json!({}), "invalid_request", "claim"),
        ("JWT", |_, _| {}, "invalid_request", "unreadable"),
        ("at+jwt", |_, _| {}, "invalid_request", "unreadable"),
        (TYPE, |it, _| it["iss"] = json!("https://other.example"), "invalid_issuer", "issuer"),
        (TYPE, |it, _| it["aud"] = json!("https://other.example"), "invalid_audience", "audience"),
        (TYPE, |it, now| it["iat"] = json!(now + 301), "invalid_request", "not_yet"),
        (TYPE, |it, now| it["iat"] = json!(now - 7 * 86_400 - 1), "invalid_request", "too_old"),
        (TYPE, |it, now| it["iat"] = json!(now.to_string()), "invalid_request", "claim"),
        (TYPE, |it, now| it["exp"] = json!(now + 300), "invalid_request", "other_kind"),
        (TYPE, |it, _| it["sub"] = json!("x-sam"), "invalid_request", "other_kind"),
        (TYPE, |it, _| it["jti"] = json!(1), "invalid_request", "claim"),
        (TYPE, |it, _| it["jti"] = json!(""), "invalid_request", "claim"),
        (TYPE, |it, _| it["jti"] = json!("j".repeat(257)), "invalid_request", "claim"),
    ];
    let missing = ["iss", "aud", "iat", "jti", "events", "sub_id"];
    let missing = missing.map(|name| (name, "invalid_request", "claim"));
    let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
    let signed = |typ: &str, claims: &Value| oauth::jws::sign(typ, claims, &key).expect("signed");
    let surface = Box::pin(with_sam(&["ES256"])).await;
    let router = router(&surface.world, Published(Some(Arc::new(key.verifying().clone()))));
    for (typ, differs, err, cause) in cases {
        let mut claims = disabled(&surface);
        differs(&mut claims, surface.world.clock.now().as_seconds());
        check_refused((&surface, &router), signed(typ, &claims), (err, cause)).await;
    }
    for (name, err, cause) in missing {
        let mut claims = disabled(&surface);
        without(&mut claims, name);
        check_refused((&surface, &router), signed(TYPE, &claims), (err, cause)).await;
    }
    // Without any of that it is taken.
    let token = signed(TYPE, &disabled(&surface));
    let told = push(&router, (TOKEN, SET), token).await;
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
    let router = |surface: &Surface| router(&surface.world, Published(Some(published.clone())));
    let signed = |claims: &Value| secevent::sign_rs256(claims, &key).expect("it is signed");

    let surface = Box::pin(with_sam(&["ES256"])).await;
    let token = signed(&disabled(&surface));
    let expected = ("invalid_key", "algorithm");
    check_refused((&surface, &router(&surface)), token, expected).await;

    let surface = Box::pin(with_sam(&["ES256", "RS256"])).await;
    let token = signed(&disabled(&surface));
    let told = push(&router(&surface), (TOKEN, SET), token).await;
    assert_eq!(told.status, StatusCode::ACCEPTED, "{told:?}");
    assert!(!is_active(&surface).await);
}
