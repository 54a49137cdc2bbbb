//! Keys of issuers that are registered while the service runs.

use std::sync::Arc;
use std::time::Duration;

use https_url::HttpsUrl;
use serde_json::json;
use testkit::ManualClock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::fetcher;
use super::issuer::Issuer;
use super::signing::TestKey;
use crate::issuer_keys::{ISSUERS_MAX, IssuerKeys};
use crate::{Parts, VerifyError};

/// The keys of issuers like `issuer`, where its metadata are, and the clock.
fn keys(issuer: &Issuer) -> (IssuerKeys, HttpsUrl, Arc<ManualClock>) {
    let (clock, tasks) = (Arc::new(ManualClock::new()), TaskTracker::new());
    let parts = Parts { fetcher: fetcher(&issuer.authority), clock: clock.clone(), tasks };
    let stopped = CancellationToken::new();
    let keys = IssuerKeys::new(parts, Duration::from_hours(1), stopped);
    let metadata = format!("{}/.well-known/openid-configuration", issuer.url);
    (keys, HttpsUrl::parse(&metadata).expect("a URL"), clock)
}

#[tokio::test]
async fn keys_are_fetched_when_they_are_first_needed_and_when_one_is_not_known() {
    let issuer = Issuer::start(&[TestKey::new("ES256").jwk("k1")]).await;
    let (keys, metadata, clock) = keys(&issuer);
    let find = async |kid: &str| {
        let found = keys.key((&issuer.url, metadata.clone()), Some(kid)).await;
        found.map(drop)
    };
    assert_eq!(keys.told(&issuer.url, "issuer"), None, "nobody asked for its keys yet");
    assert_eq!(find("k1").await, Ok(()));
    assert_eq!(keys.told(&issuer.url, "issuer"), Some(json!(issuer.url)));
    assert_eq!(keys.told(&issuer.url, "other"), Some(json!(null)));
    issuer.publish(&[TestKey::new("RS256").jwk("k2")]);
    assert_eq!(find("k2").await, Err(VerifyError::KeyUnasked), "it was just asked");
    assert_eq!(find("k1").await, Ok(()));
    clock.advance(Duration::from_secs(10));
    assert_eq!(find("k2").await, Ok(()));
    clock.advance(Duration::from_secs(10));
    assert_eq!(find("k1").await, Err(VerifyError::UnknownKey), "it is gone");
}

/// However many issuers there are, keys of so many are kept; those of whoever came first stay.
#[tokio::test]
async fn keys_of_so_many_issuers_are_kept_and_no_more() {
    for (others, expected) in
        [(ISSUERS_MAX - 2, Ok(())), (ISSUERS_MAX - 1, Err(VerifyError::KeysUnavailable))]
    {
        let issuer = Issuer::start(&[TestKey::new("ES256").jwk("k1")]).await;
        let (keys, metadata, _) = keys(&issuer);
        let find =
            async |name: &str| keys.key((name, metadata.clone()), Some("k1")).await.map(drop);
        assert_eq!(find(&issuer.url).await, Ok(()));
        for number in 0..others {
            let name = format!("https://other.example/{number}");
            assert_eq!(find(&name).await, Err(VerifyError::KeysUnavailable));
        }
        let (name, jwks_uri) = ("https://late.example", format!("{}/keys", issuer.url));
        issuer.put_metadata(&json!({ "issuer": name, "jwks_uri": jwks_uri }));
        assert_eq!(find(name).await, expected, "{others}");
        assert_eq!(find(&issuer.url).await, Ok(()));
    }
}
