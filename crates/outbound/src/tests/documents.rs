//! What is read of an answer: sizes, times, encodings, JSON.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use http::Method;
use tokio::net::TcpListener;

use super::server::{Act, Authority, answer};
use super::{Answers, LONG, PRIVATE, PUBLIC, World, resolver, told, url};
use crate::fetcher::{BODY_MAX, DEPTH_MAX, HEAD_MAX};
use crate::resolver::Lookup;
use crate::{FetchError, Fetcher, Message};

/// Short, but longer than a busy machine takes for a handshake, and stands still for.
const SHORT: Duration = Duration::from_secs(4);

/// What kernels and TLS keep of what nobody reads, on both sides.
const BUFFERS: usize = 32 << 20;

const ENDLESS: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

async fn check(act: impl Fn() -> Act + Send + Sync + 'static, is_it: fn(&FetchError) -> bool) {
    let world = World::new(move |_| act()).await;
    let error = world.fetch("/").await.expect_err("it is refused");
    assert!(is_it(&error), "{}", told(&error));
    assert!(world.server.taken() < BUFFERS, "{} bytes were taken", world.server.taken());
}

/// JSON of so many bytes.
fn of_bytes(length: usize) -> String {
    format!("\"{}\"", "x".repeat(length - 2))
}

/// JSON of so many levels.
fn of_levels(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

#[tokio::test]
async fn n_074_a_document_is_as_large_and_deep_as_may_be_and_no_more() {
    let world = World::new(|path| match path {
        "/bytes" => answer(200, "", &of_bytes(BODY_MAX)),
        "/bytes-1" => answer(200, "", &of_bytes(BODY_MAX + 1)),
        "/levels" => answer(200, "", &of_levels(DEPTH_MAX)),
        _ => answer(200, "", &of_levels(DEPTH_MAX + 1)),
    })
    .await;
    world.fetch("/bytes").await.expect("it is within the limit");
    world.fetch("/levels").await.expect("it is within the limit");
    let error = world.fetch("/bytes-1").await.expect_err("one byte too many");
    assert!(matches!(error, FetchError::TooLarge), "{}", told(&error));
    let error = world.fetch("/levels-1").await.expect_err("one level too many");
    assert!(matches!(error, FetchError::Json(json::ParseError::TooDeep { .. })));
}

#[tokio::test]
async fn n_074_a_document_without_end_is_not_read_to_its_end() {
    let too_large = |error: &FetchError| matches!(error, FetchError::TooLarge);
    check(|| Act::Endless(ENDLESS, "0123456789abcdef"), too_large).await;
    check(|| Act::Endless(CHUNKED, "10\r\n0123456789abcdef\r\n"), too_large).await;
    check(|| Act::Endless("HTTP/1.1 200 OK\r\n\r\n", "0123456789abcdef"), too_large).await;
}

#[tokio::test]
async fn n_074_a_head_has_limits() {
    let unreadable = |error: &FetchError| matches!(error, FetchError::Unreadable(_));
    let large = || format!("x: {}\r\n", "y".repeat(HEAD_MAX));
    check(move || answer(200, &large(), "{}"), unreadable).await;
    check(|| answer(200, &"x: y\r\n".repeat(64), "{}"), unreadable).await;
    check(|| Act::Endless("HTTP/1.1 200 OK\r\n", "x-y: 0123456789abcdef\r\n"), unreadable).await;
    check(|| Act::Endless("HTTP/1.1 200 ", "0123456789abcdef"), unreadable).await;
    check(|| Act::Endless(CHUNKED, "1;0123456789abcdef"), unreadable).await;
    check(|| Act::Answer(b"SSH-2.0-x\r\n".to_vec()), unreadable).await;
}

#[tokio::test]
async fn n_074_what_is_compressed_is_not_read() {
    for encoding in ["gzip", "br", "deflate", "zstd", "gzip, gzip", "identity, gzip", ""] {
        let headers = format!("content-encoding: {encoding}\r\n");
        let compressed = |error: &FetchError| matches!(error, FetchError::Compressed);
        check(move || answer(200, &headers, "{}"), compressed).await;
    }
    let twice = "content-encoding: identity\r\ncontent-encoding: gzip\r\n";
    check(move || answer(200, twice, "{}"), |error| matches!(error, FetchError::Compressed)).await;
    let world = World::new(|_| answer(200, "content-encoding: Identity\r\n", "{}")).await;
    world.fetch("/").await.expect("it is as it is");
}

/// N-074: what is asked for where it lies alone says that it is JSON.
#[tokio::test]
async fn n_074_what_does_not_say_that_it_is_json_is_not_read_there() {
    let check = async |headers: &'static str, expected: Result<(), &str>| {
        let world = World::new(move |_| answer(200, headers, "{}")).await;
        let fetched = world.fetcher.fetch_json_there(&world.url("/")).await;
        match (fetched, expected) {
            (Ok(_), Ok(())) => {}
            (Err(FetchError::ContentType(said)), Err(expected)) => assert_eq!(said, expected),
            (other, _) => panic!("{headers}: {other:?}"),
        }
        world.fetch("/").await.expect("elsewhere nobody looks at it");
    };
    for json in ["json", "JSON", "json; charset=utf-8", "oauth-client+json", "a.b+json;x=y"] {
        let headers = format!("content-type: application/{json}\r\n");
        check(headers.leak(), Ok(())).await;
    }
    check("content-type: Application/Json\r\n", Ok(())).await;
    for other in ["text/html", "text/plain", "text/json", "application/jsonp", "application/+json"]
    {
        let headers = format!("content-type: {other}\r\n");
        check(headers.leak(), Err(other)).await;
    }
    check("", Err("")).await;
    check("content-type: application/json\r\ncontent-type: text/html\r\n", Err("")).await;
    let long = format!("content-type: text/{}\r\n", "x".repeat(100));
    check(long.leak(), Err(&format!("text/{}", "x".repeat(59)))).await;
}

/// N-074: whoever is slow, at any step, is given up at the deadline.
#[tokio::test]
async fn n_074_who_is_slow_is_given_up_at_the_deadline() {
    let slow: [fn() -> Act; 4] = [
        || Act::Drip(ENDLESS, " "),
        || Act::Drip("HTTP/1.1 200 OK\r\n", "x: y\r\n"),
        || Act::Drip("", "HTTP/1.1 100 Continue\r\n\r\n"),
        || Act::Answer(Vec::new()),
    ];
    let asked = slow.into_iter().enumerate().map(async |(number, act): (usize, fn() -> Act)| {
        let world = World::with(vec![vec![PUBLIC]], SHORT, move |_| act()).await;
        let begun = Instant::now();
        let error = world.fetch("/").await.expect_err("it is slow");
        assert!(matches!(error, FetchError::TimedOut(SHORT)), "{number}: {}", told(&error));
        assert!(begun.elapsed() < 2 * SHORT, "{number}: {:?}", begun.elapsed());
        assert_eq!(world.server.heads().len(), 1, "{number}: it was asked");
    });
    // It takes the connection, and says nothing.
    let silent = async {
        let silent = TcpListener::bind((PUBLIC, 0)).await.unwrap();
        let there = format!("https://idp.example:{}/", silent.local_addr().unwrap().port());
        let public = resolver(Answers::new([vec![PUBLIC]]), &[]);
        let fetcher = Fetcher::with(public, Authority::new().roots(), SHORT).unwrap();
        let begun = Instant::now();
        let error = fetcher.fetch_json(&url(&there)).await.expect_err("it is slow");
        assert!(matches!(error, FetchError::TimedOut(SHORT)), "{}", told(&error));
        assert!(begun.elapsed() < 2 * SHORT, "{:?}", begun.elapsed());
    };
    // Each waits for the deadline: all at once.
    tokio::join!(join_all(asked), silent);
}

/// A resolver without an answer.
struct Silence;

#[async_trait]
impl Lookup for Silence {
    async fn lookup(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn n_074_a_name_without_an_answer_is_given_up_at_the_deadline() {
    let resolver = resolver(Arc::new(Silence), &[]);
    let fetcher = Fetcher::with(resolver, Authority::new().roots(), SHORT).unwrap();
    let begun = tokio::time::Instant::now();
    let error = fetcher.fetch_json(&url("https://idp.example/")).await.expect_err("no answer");
    assert!(matches!(error, FetchError::TimedOut(SHORT)), "{}", told(&error));
    assert_eq!(begun.elapsed().as_secs(), SHORT.as_secs());
}

#[tokio::test]
async fn n_074_a_document_that_could_be_read_in_two_ways_is_refused() {
    for body in [
        r#"{"issuer":"a","issuer":"b"}"#,
        r#"{"issuer":"a","\u0069ssuer":"b"}"#,
        r#"{"issuer":"a","Issuer":"b"}"#,
        r#"{"a":1e999}"#,
        r#"{"a":1}{"a":2}"#,
        "<html></html>",
        "\u{feff}{}",
        "",
    ] {
        let json = |error: &FetchError| matches!(error, FetchError::Json(_));
        check(move || answer(200, "", body), json).await;
    }
}

#[tokio::test]
async fn only_a_whole_document_is_one() {
    for status in [201, 204, 206, 300, 304, 404, 500] {
        let refused = |error: &FetchError| matches!(error, FetchError::Status(_));
        check(move || answer(status, "", ""), refused).await;
    }
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{}".to_vec();
    let world = World::with(vec![vec![PUBLIC]], SHORT, move |_| Act::Answer(cut.clone())).await;
    assert!(world.fetch("/").await.is_err(), "the rest never comes");
}

/// What somebody asked for goes to where they asked for it: no redirect is followed, and no private address
/// is reached.
#[tokio::test]
async fn n_074_a_message_is_delivered_where_it_was_meant_and_nowhere_else() {
    let world = World::new(|path| match path {
        "/moved" => answer(307, "location: /events\r\n", ""),
        _ => answer(202, "", ""),
    })
    .await;
    let post = async |world: &World, path: &str| {
        let (content_type, body) = ("application/secevent+jwt", Bytes::from_static(b"a.b.c"));
        let message = Message { content_type, authorization: Some("Bearer x"), body };
        world.fetcher.post(&world.url(path), message).await
    };
    let (status, _) = post(&world, "/events").await.expect("it is delivered");
    assert_eq!(status, 202);
    let (status, _) = post(&world, "/moved").await.expect("it is answered");
    assert_eq!(status, 307);
    let heads = world.server.heads();
    assert_eq!(heads.len(), 2);
    assert!(heads[0].starts_with("POST /events "), "{}", heads[0]);
    assert!(heads[0].contains("authorization: Bearer x\r\n"), "{}", heads[0]);
    let message = Message { content_type: "", authorization: Some("Bearer x"), body: Bytes::new() };
    let read = world.fetcher.request(Method::GET, &world.url("/moved"), message).await;
    let read = read.expect("it is answered");
    assert_eq!(read.status(), 307);
    assert_eq!(read.headers()["location"], "/events");
    let heads = world.server.heads();
    assert!(heads[2].starts_with("GET /moved ") && !heads[2].contains("content-type"), "{heads:?}");
    let private = World::with(vec![vec![PRIVATE]], LONG, |_| answer(202, "", "")).await;
    let error = post(&private, "/events").await.expect_err("it is refused");
    assert!(matches!(error, FetchError::NotPublic(_)), "{}", told(&error));
    assert_eq!(private.server.connections(), 0);
}
