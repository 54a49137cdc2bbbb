//! How a provider on loopback is asked, against a server that says what a test wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keys::Secret;
use outbound::{Fetcher, Trust, http_client};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::url;
use crate::transport::{ANSWER_MAX, DEPTH_MAX, DOCUMENT_MAX};
use crate::{EndpointUrl, Outbound, TokenRequest, Transport as _, TransportError};

/// A server that answers every request with `answer`, or never; counts its connections.
async fn server(answer: Option<String>) -> (EndpointUrl, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = url(&format!("http://{}/x", listener.local_addr().unwrap()));
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = [0; 4_096];
                let _ = stream.read(&mut head).await;
                match answer {
                    Some(answer) => drop(stream.write_all(answer.as_bytes()).await),
                    None => std::future::pending().await,
                }
            });
        }
    });
    (endpoint, connections)
}

fn outbound() -> Outbound {
    Outbound::new(Fetcher::new(Trust::default()).unwrap(), http_client().unwrap())
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn request() -> TokenRequest {
    TokenRequest { form: Secret::new("a=b".to_owned()), authorization: None }
}

async fn document(answer: &str) -> Result<Value, TransportError> {
    outbound().document(&server(Some(answer.to_owned())).await.0).await
}

#[tokio::test]
async fn n_074_a_document_is_as_large_and_deep_as_may_be_and_no_more() {
    let text = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
    assert!(document(&ok(&text(DOCUMENT_MAX))).await.is_ok());
    assert!(document(&ok(&text(DOCUMENT_MAX + 1))).await.is_err());
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(document(&ok(&deep(DEPTH_MAX))).await.is_ok());
    assert!(document(&ok(&deep(DEPTH_MAX + 1))).await.is_err());
    for other in ["", "<html>", r#"{"a":1,"a":2}"#] {
        assert!(document(&ok(other)).await.is_err(), "{other}");
    }
    assert!(document("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}").await.is_err());
}

#[tokio::test]
async fn n_074_an_answer_with_tokens_is_as_large_as_may_be_and_no_more() {
    for (length, expected) in [(ANSWER_MAX, true), (ANSWER_MAX + 1, false)] {
        let (endpoint, _) = server(Some(ok(&"x".repeat(length)))).await;
        assert_eq!(outbound().tokens(&endpoint, request()).await.is_ok(), expected, "{length}");
    }
}

#[tokio::test]
async fn n_077_nothing_of_ours_follows_a_redirect() {
    let (elsewhere, visits) = server(Some(ok("{}"))).await;
    for status in [301, 302, 307, 308] {
        let answer =
            format!("HTTP/1.1 {status} X\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n");
        let (endpoint, _) = server(Some(answer)).await;
        let (answered, _) = outbound().tokens(&endpoint, request()).await.unwrap();
        assert_eq!(answered.as_u16(), status);
        assert!(outbound().document(&endpoint).await.is_err());
    }
    assert_eq!(visits.load(Ordering::SeqCst), 0);
}

/// Time stands still but for what waits: the deadline comes at once.
#[tokio::test(start_paused = true)]
async fn n_074_who_does_not_answer_is_given_up() {
    let (endpoint, _) = server(None).await;
    assert!(outbound().document(&endpoint).await.is_err());
    assert!(outbound().tokens(&endpoint, request()).await.is_err());
}

/// What is published elsewhere is fetched from public addresses alone.
#[tokio::test]
async fn n_072_a_name_that_leads_to_a_private_address_is_not_asked() {
    let error = outbound().document(&url("https://localhost:8443/x")).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("is no public address"), "{source}");
}
