//! Devices that ask to be enrolled, and from where.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::{Agents, Peer};
use axum::Router;
use axum::body::Body;
use keys::{KeyAlgorithm, SigningKey};
use oauth::dpop::{self, DpopExpect};
use serde_json::Value;
use sts::{NoDevice, TokenService};

use crate::support::{BOOT, ISSUER, jti, nonces};
use crate::{Surface, ask, of, request};

/// A new device asks, from `address`; gives its code.
async fn begin(surface: &Surface, router: &Router, address: &str) -> String {
    surface.world.clock.advance(Duration::from_millis(1));
    let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
    let (url, now) = (format!("{ISSUER}/oauth/device"), surface.world.now());
    let expect = DpopExpect { method: "POST", url: &url, access_token: None, now, max_skew_s: 0 };
    let proof = dpop::make_proof(&key, &expect, (&jti(), None)).expect("signed");
    let request = request("POST", "/oauth/device")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("dpop", proof)
        .extension(Peer(address.parse::<IpAddr>().expect("an address")))
        .body(Body::from("client_id=bot&device_name=laptop"));
    let told = ask(router, request.expect("a request")).await;
    let told: Value = serde_json::from_str(&told.text).expect("JSON");
    told["user_code"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned()
}

/// One address has so many devices that wait, where an address tells one from another.
#[tokio::test]
async fn n_113_behind_a_proxy_the_devices_of_all_are_not_one_address() {
    let surface = Surface::new().await;
    let check = async |behind_proxy: bool, address: &str, expected: Result<(), NoDevice>| {
        let world = &surface.world;
        let keyed = (world.keys.clone(), nonces(BOOT));
        let tokens = TokenService::new(world.authority.clone(), ISSUER.to_owned(), keyed);
        let tokens = Arc::new(tokens.with_consent_at("https://people.test".to_owned()));
        let agents = Agents { tokens: tokens.clone(), behind_proxy, ..of(world) };
        let router = api::agents(agents, crate::receivers(world));
        let first = begin(&surface, &router, address).await;
        for _ in 0..256 {
            begin(&surface, &router, address).await;
        }
        let found = tokens.device_asked(&"ann".parse().expect("a person"), &first);
        assert_eq!(found.map(drop), expected, "{behind_proxy} {address}");
    };
    check(false, "192.0.2.1", Err(NoDevice::Unknown)).await;
    check(false, "127.0.0.1", Ok(())).await;
    check(true, "192.0.2.1", Ok(())).await;
}
