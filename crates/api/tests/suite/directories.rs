//! What directories are answered (RFC 7644): each error as SCIM tells it, with nothing changed, and versions.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use futures::stream;
use http::HeaderMap;
use model::{Clock as _, Sha256Digest};
use pap::{Command, DirectoryRegistration, NewToken};
use scim::GOVERNANCE;
use serde_json::{Value, json};
use testkit::{Call, Fault};

use crate::{Surface, Told, ask, request};

pub(crate) const TOKEN: &str = "okta.secret";
const READS: &str = "okta.reads";

/// The type of what is sent and answered.
const SCIM: &str = "application/scim+json";

/// The largest body, in bytes.
const BODY_MAX: usize = 256 << 10;

/// The most requests of one directory that read at once.
const READINGS: usize = 8;

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const AGENT: &str = "urn:ietf:params:scim:schemas:core:2.0:Agent";
const SEARCH: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// Registers the directory `okta`, with a token that reads beside its own.
pub(crate) async fn register(surface: &Surface) {
    let world = &surface.world;
    let expires = world.clock.now().plus(Duration::from_hours(24));
    let token = |text: &str, read_only| {
        let digest = Sha256Digest::of(text.as_bytes());
        NewToken { digest, expires, read_only }
    };
    let (name, token_of) = ("okta".to_owned(), token(TOKEN, false));
    let said = DirectoryRegistration { name, logins: None, silence_min: None, token: token_of };
    world.run(Command::DirectoryAdd(said)).await;
    let (name, token) = ("okta".to_owned(), token(READS, true));
    world.run(Command::DirectoryToken { name, token, alone: false }).await;
}

/// A deployment with the directory `okta`, whose user `ann` there is.
async fn surface() -> Surface {
    let surface = Surface::new().await;
    register(&surface).await;
    let told = says(&surface, ("POST", "/Users"), &user("ann"), &[]).await;
    assert_eq!(told.status.as_u16(), 201, "{}", told.text);
    surface
}

/// What is answered to `body`, sent with `headers` as they are.
async fn asked(
    surface: &Surface,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Told {
    let request = request(method, &format!("/scim/v2{path}"));
    let with = |request: http::request::Builder, (name, value): &(&str, &str)| {
        request.header(*name, *value)
    };
    let request = headers.iter().fold(request, with).body(body.into());
    ask(&surface.observers, request.expect("a request")).await
}

/// What the directory is answered that says `body`, with further headers.
async fn says(
    surface: &Surface,
    what: (&str, &str),
    body: &Value,
    headers: &[(&str, &str)],
) -> Told {
    let own = format!("Bearer {TOKEN}");
    let all = [&[("authorization", own.as_str()), ("content-type", SCIM)], headers].concat();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    asked(surface, what, &all, body).await
}

fn user(name: &str) -> Value {
    json!({ "schemas": [USER], "userName": name })
}

fn patch(path: &str, value: &str) -> Value {
    let operation = json!({ "op": "replace", "path": path, "value": value });
    let schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
    json!({ "schemas": [schema], "Operations": [operation] })
}

/// The state of the facts, as a number that every change increases.
async fn revision(surface: &Surface) -> u64 {
    let loaded = surface.world.journal.store().load(&[]).await;
    loaded.expect("it can be read").revision.0
}

/// That it is an error as SCIM tells it (RFC 7644 §3.12).
fn is_error(told: &Told, (status, kind): (u16, &str), case: &str) {
    assert_eq!(told.status.as_u16(), status, "{case}: {}", told.text);
    assert_eq!(told.headers["content-type"], SCIM, "{case}");
    let mut body: Value = serde_json::from_str(&told.text).expect("JSON");
    let detail = body.as_object_mut().and_then(|body| body.remove("detail"));
    assert!(detail.is_some_and(|it| it.as_str().is_some_and(|it| !it.is_empty())), "{case}");
    let schema = "urn:ietf:params:scim:api:messages:2.0:Error";
    let mut expected = json!({ "schemas": [schema], "status": status.to_string() });
    if !kind.is_empty() {
        expected["scimType"] = kind.into();
    }
    assert_eq!(body, expected, "{case}");
}

#[tokio::test]
async fn sc_01_every_error_is_told_as_scim_has_it_and_changes_nothing() {
    let surface = surface().await;
    let before = revision(&surface).await;
    let check = async |what: (&str, &str), headers: &[(&str, &str)], body: &str, status, kind| {
        let told = asked(&surface, what, headers, body.to_owned()).await;
        let case = format!("{what:?} {headers:?}");
        is_error(&told, (status, kind), &case);
        let how = told.headers.get("www-authenticate").map(|it| it.to_str().expect("text"));
        assert_eq!(how, (status == 401).then_some("Bearer realm=\"scim\""), "{case}");
        assert_eq!(revision(&surface).await, before, "{case}");
    };
    let (users, ann, list) = (("POST", "/Users"), "/Users/ann", ("GET", "/Users"));
    let (own, reads) = (format!("Bearer {TOKEN}"), format!("Bearer {READS}"));
    let token = ("authorization", own.as_str());
    let right = [token, ("content-type", SCIM)];
    let (whole, title) = (user("ben").to_string(), patch("title", "Dr").to_string());
    // Who they are.
    check(list, &[], "", 401, "").await;
    check(list, &[("authorization", "Bearer okta.other")], "", 401, "").await;
    check(list, &[("authorization", "Basic b2t0YTpzZWNyZXQ=")], "", 401, "").await;
    check(list, &[token, token], "", 401, "").await;
    let reader = [("authorization", reads.as_str()), ("content-type", SCIM)];
    check(users, &reader, &whole, 403, "").await;
    check(("DELETE", ann), &reader, "", 403, "").await;
    // What there is.
    check(("GET", "/Users/ben"), &right, "", 404, "").await;
    check(("GET", "/Me"), &right, "", 404, "").await;
    check(("PUT", "/Users"), &right, &whole, 405, "").await;
    check(users, &right, &user("ANN").to_string(), 409, "uniqueness").await;
    // What it is sent as.
    let typed = |kind| [token, ("content-type", kind)];
    check(users, &typed("application/scim+xml"), &whole, 415, "").await;
    check(("PATCH", ann), &typed("application/x-www-form-urlencoded"), &title, 415, "").await;
    check(users, &[token], &whole, 415, "").await;
    let short = json!({ "schemas": [USER] }).to_string();
    let long = |bytes: usize| short.clone() + &" ".repeat(bytes - short.len());
    check(users, &right, &long(BODY_MAX + 1), 413, "").await;
    check(users, &right, &long(BODY_MAX), 400, "invalidValue").await;
    // What it says.
    let twice =
        |other: &str| format!(r#"{{"schemas":["{USER}"],"userName":"ben","{other}":"bob"}}"#);
    check(users, &right, &twice("userName"), 400, "invalidSyntax").await;
    check(users, &right, &twice("username"), 400, "invalidSyntax").await;
    check(users, &right, &whole[1..], 400, "invalidSyntax").await;
    check(users, &right, &("[".repeat(65) + &"]".repeat(65)), 400, "invalidSyntax").await;
    check(users, &right, "", 400, "invalidSyntax").await;
    check(("GET", "/Users?filter=userName"), &right, "", 400, "invalidFilter").await;
    let search = json!({ "schemas": [SEARCH], "filter": "userName" }).to_string();
    check(("POST", "/.search"), &right, &search, 400, "invalidFilter").await;
    check(("PATCH", ann), &right, &patch("title[", "Dr").to_string(), 400, "invalidPath").await;
    check(("PATCH", ann), &right, &patch("id", "ben").to_string(), 400, "mutability").await;
    for cause in ["token_missing", "token_unknown", "token_reads_only", "not_done"] {
        surface.world.refusal(cause).await;
    }
}

/// A body that does not come, or is longer than its head says nothing of, ends within its time and its limit.
#[tokio::test]
async fn sc_01_a_body_that_does_not_come_is_not_waited_for() {
    let surface = surface().await;
    let own = format!("Bearer {TOKEN}");
    let headers = [("authorization", own.as_str()), ("content-type", SCIM)];
    let before = revision(&surface).await;
    let begun = || stream::iter([Ok::<_, Infallible>("{".to_owned())]);
    let chunks = stream::iter((0..5).map(|_| Ok::<_, Infallible>(" ".repeat(BODY_MAX / 4))));
    let told = asked(&surface, ("POST", "/Users"), &headers, Body::from_stream(chunks)).await;
    is_error(&told, (413, ""), "many chunks");
    tokio::time::pause();
    let never = Body::from_stream(futures::StreamExt::chain(begun(), stream::pending()));
    let told = asked(&surface, ("POST", "/Users"), &headers, never).await;
    is_error(&told, (408, ""), "it does not come");
    tokio::time::resume();
    assert_eq!(revision(&surface).await, before);
}

/// Of many that look through much at once, so many are dealt with as have a turn; who asks for one finds it.
#[tokio::test]
async fn sc_01_what_has_no_turn_is_told_to_come_again() {
    let surface = surface().await;
    let before = revision(&surface).await;
    let search = "/Users?filter=title%20eq%20%22Dr%22";
    let asks = |many| {
        let asks = |_| says(&surface, ("GET", search), &Value::Null, &[]);
        futures::future::join_all((0..many).map(asks))
    };
    let store = &surface.world.store;
    store.always(Call::List, Fault::Hang);
    let more = async {
        store.hanging(Call::List, READINGS).await;
        let refused = asks(4).await;
        store.heal();
        refused
    };
    let (done, refused) = futures::future::join(asks(READINGS), more).await;
    assert!(done.iter().all(|told| told.status.as_u16() == 200), "{}", done[0].text);
    for told in refused {
        is_error(&told, (503, ""), "no turn");
        assert_eq!(told.headers["retry-after"], "1");
    }
    assert_eq!(asks(1).await[0].status.as_u16(), 200, "there is room again");
    surface.world.refusal("too_many").await;
    assert_eq!(revision(&surface).await, before);
}

/// The version of a resource is in its answer, and what names another changes nothing and is given nothing twice.
#[tokio::test]
async fn sc_01_a_version_is_told_and_what_names_another_changes_nothing() {
    let surface = surface().await;
    let adopt = Command::DirectoryAdopt { name: "okta".to_owned(), person: "sam".to_owned() };
    surface.world.run(adopt).await;
    let sam = json!({ "value": "sam" });
    let governance = json!({
        "sponsor": sam, "businessOwner": sam, "technicalOwner": sam, "purposes": ["bot-work"],
    });
    let agent = json!({
        "schemas": [AGENT, GOVERNANCE], "agentUserName": "desk", GOVERNANCE: governance,
    });
    let group = json!({ "schemas": [GROUP], "displayName": "Staff" });
    for (all, said, member) in [
        ("/Users", user("ben"), "displayName"),
        ("/Groups", group, "displayName"),
        ("/Agents", agent, "displayName"),
    ] {
        let made = says(&surface, ("POST", all), &said, &[]).await;
        assert_eq!(made.status.as_u16(), 201, "{}", made.text);
        let first = tag(&made.headers);
        let body: Value = serde_json::from_str(&made.text).expect("JSON");
        assert_eq!(body["meta"]["version"], first);
        assert_eq!(body["meta"]["location"], made.headers["location"].to_str().expect("text"));
        let one = format!("{all}/{}", body["id"].as_str().expect("an id"));
        let get = async |name: &str, tag: &str| {
            says(&surface, ("GET", &one), &Value::Null, &[(name, tag)]).await
        };
        let known = get("if-none-match", &first).await;
        assert_eq!((known.status.as_u16(), known.text.as_str()), (304, ""), "{one}");
        assert_eq!(tag(&known.headers), first, "{one}");
        let unknown = get("if-none-match", "W/\"7\"").await;
        assert_eq!((unknown.status.as_u16(), &unknown.text), (200, &made.text), "{one}");
        let name = |value: &str| patch(member, value);
        let changed = says(&surface, ("PATCH", &one), &name("One"), &[("if-match", &first)]).await;
        assert_eq!(changed.status.as_u16(), 200, "{one}: {}", changed.text);
        let second = tag(&changed.headers);
        assert_ne!(first, second, "{one}");
        assert_eq!(get("if-none-match", &first).await.status.as_u16(), 200, "{one}");
        // Whoever read it before comes too late, however they say it.
        let before = revision(&surface).await;
        for (method, body) in
            [("PATCH", name("Two")), ("PUT", said.clone()), ("DELETE", Value::Null)]
        {
            let told = says(&surface, (method, &one), &body, &[("if-match", &first)]).await;
            is_error(&told, (412, ""), &format!("{method} {one}"));
        }
        assert_eq!(revision(&surface).await, before, "{one}");
        assert_eq!(get("if-none-match", &second).await.status.as_u16(), 304, "{one}");
        let gone = says(&surface, ("DELETE", &one), &Value::Null, &[("if-match", &second)]).await;
        assert_eq!(gone.status.as_u16(), 204, "{one}: {}", gone.text);
    }
}

fn tag(headers: &HeaderMap) -> String {
    headers["etag"].to_str().expect("text").to_owned()
}
