//! What a browser is told when a login cannot be begun.

use std::net::IpAddr;

use api::Peer;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use login::{EndpointUrl, PENDING_OF_ONE_MAX, TokenRequest, Transport, TransportError};
use serde_json::{Value, json};

use crate::{PROVIDER, Silent, Surface, Told, ask, door, listener, request};

/// A provider that has metadata and no tokens.
struct Published;

#[async_trait::async_trait]
impl Transport for Published {
    async fn document(&self, _: &EndpointUrl) -> Result<Value, TransportError> {
        Ok(json!({
            "issuer": PROVIDER,
            "authorization_endpoint": format!("{PROVIDER}/auth"),
            "token_endpoint": format!("{PROVIDER}/token"),
            "jwks_uri": format!("{PROVIDER}/jwks"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES256"],
            "code_challenge_methods_supported": ["S256"],
        }))
    }

    async fn tokens(
        &self,
        url: &EndpointUrl,
        request: TokenRequest,
    ) -> Result<(StatusCode, Bytes), TransportError> {
        Silent.tokens(url, request).await
    }
}

/// Begins a login, from `address`.
async fn begin(router: &Router, address: &str) -> Told {
    let peer = Peer(address.parse::<IpAddr>().expect("an address"));
    let request = request("GET", "/login?to=/mandates").extension(peer);
    ask(router, request.body(Body::empty()).expect("a request")).await
}

#[tokio::test]
async fn a_provider_that_is_down_is_told_as_that() {
    let surface = Surface::new().await;
    let router = listener(&surface.world, Some(door(&surface.world, Silent)), false);
    // The first asks the provider; the second is told that it was asked a moment ago.
    for why in ["does not answer", "did not answer a moment ago"] {
        let told = begin(&router, "192.0.2.1").await;
        assert_eq!(told.status, StatusCode::SERVICE_UNAVAILABLE, "{}", told.text);
        assert_eq!(told.headers["retry-after"], "10");
        assert_eq!(told.headers["content-type"], "text/html; charset=utf-8");
        assert!(told.text.contains(why) && told.text.contains("try again"), "{}", told.text);
    }
    surface.world.refusal("provider_unavailable").await;
}

#[tokio::test]
async fn whom_the_provider_knows_the_browser_for_can_log_in_as_another() {
    let surface = Surface::new().await;
    let router = listener(&surface.world, Some(door(&surface.world, Published)), false);
    for (query, asks) in [("prompt=login&to=/mandates", true), ("to=/mandates", false)] {
        let request = request("GET", &format!("/login?{query}")).body(Body::empty());
        let told = ask(&router, request.expect("a request")).await;
        assert_eq!(told.status, StatusCode::SEE_OTHER, "{}", told.text);
        let provider = told.headers["location"].to_str().expect("it is text");
        assert_eq!(provider.contains("&prompt=login"), asks, "{provider}");
    }
}

#[tokio::test]
async fn n_113_one_address_begins_only_so_many_logins_in_a_browser() {
    let surface = Surface::new().await;
    let door = |transport| Some(door(&surface.world, transport));
    let router = listener(&surface.world, door(Published), false);
    for _ in 0..PENDING_OF_ONE_MAX {
        assert_eq!(begin(&router, "2001:db8::1").await.status, StatusCode::SEE_OTHER);
    }
    // All addresses of one network are one's.
    let told = begin(&router, "2001:db8:0:0:1::2").await;
    assert_eq!(told.status, StatusCode::TOO_MANY_REQUESTS, "{}", told.text);
    assert_eq!(told.headers["retry-after"], "600");
    surface.world.refusal("login_busy_of_one").await;
    for another in ["192.0.2.1", "2001:db8:0:100::1"] {
        assert_eq!(begin(&router, another).await.status, StatusCode::SEE_OTHER, "{another}");
    }
    // On loopback, and behind a proxy, an address tells nobody from another.
    let proxied = listener(&surface.world, door(Published), true);
    for (router, address) in [(&router, "127.0.0.1"), (&proxied, "192.0.2.1")] {
        for _ in 0..=PENDING_OF_ONE_MAX {
            assert_eq!(begin(router, address).await.status, StatusCode::SEE_OTHER, "{address}");
        }
    }
}
