//! Assertions and proofs: each holds for one request, by one key, now.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use keys::{KeyAlgorithm, SigningKey};
use oauth::{ErrorCode, nonces};
use serde_json::{Value, json};

use crate::client::{Sts, assertion, key};
use crate::{ISSUER, RESOURCE};

const RACERS: usize = 64;

/// Of many requests that `request` makes, all with one thing in common, exactly one is answered.
async fn check_race(request: impl Fn(&Sts, &str) -> crate::client::Request, code: ErrorCode) {
    let sts = Arc::new(Sts::new().await);
    let jti = sts.jti();
    let asked: Vec<_> = (0..RACERS).map(|_| request(&sts, &jti)).collect();
    let asked = asked.into_iter().map(|request| {
        let sts = sts.clone();
        tokio::spawn(async move { sts.send(request).await })
    });
    let answers = join_all(asked).await;
    let answers: Vec<_> = answers.into_iter().map(|it| it.unwrap()).collect();
    assert_eq!(answers.iter().filter(|it| it.is_ok()).count(), 1);
    let others = answers.iter().filter_map(|it| it.as_ref().err());
    for error in others {
        assert_eq!(error.code, code, "{error}");
    }
    let causes = sts.causes(RACERS - 1).await;
    assert!(causes.iter().all(|cause| cause == "replayed"));
    assert_eq!(sts.world.records("issuance").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n_142_an_assertion_is_good_once_among_64_racers() {
    let request = |sts: &Sts, jti: &str| {
        let mut claims = sts.claims();
        claims["jti"] = json!(jti);
        let assertion = assertion(&claims, &sts.agent_key);
        // Each with a key and a proof of its own.
        sts.request(&key()).with("client_assertion", &assertion)
    };
    check_race(request, ErrorCode::InvalidClient).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n_142_a_proof_is_good_once_among_64_racers() {
    let own = key();
    let request = move |sts: &Sts, jti: &str| {
        let proof = sts.proof(&own, jti);
        // Each with an assertion of its own.
        sts.request(&own).proved_by(proof)
    };
    check_race(request, ErrorCode::InvalidDpopProof).await;
}

/// Where a nonce is needed, what was made before it was told gets no token.
#[tokio::test]
async fn n_146_a_proof_without_a_fresh_nonce_gets_no_token_where_one_is_needed() {
    let sts = Sts::served(|_| (), |service, _| service.needing_nonces()).await;
    let own = key();
    let ask = async |nonce: Option<&str>| {
        let by = (&*own, &*sts.jti());
        let proof = sts.proof_with(nonce, ("/oauth/token", by));
        sts.send(sts.request(&own).proved_by(proof)).await.map(drop).map_err(|error| error.code)
    };
    let old = sts.service.nonce();
    sts.world.clock.advance(Duration::from_secs(2 * nonces::LIFETIME_S.unsigned_abs()));
    for nonce in [None, Some("made up"), Some(&*old)] {
        assert_eq!(ask(nonce).await, Err(ErrorCode::UseDpopNonce), "{nonce:?}");
    }
    assert_eq!(sts.causes(3).await, ["nonce_missing"; 3]);
    assert_eq!(ask(Some(&sts.service.nonce())).await, Ok(()));
}

/// An assertion that is wrong in one way is refused like any other.
async fn check_assertion(what: &str, change: impl FnOnce(&mut Value)) {
    let sts = Sts::new().await;
    let mut claims = sts.claims();
    change(&mut claims);
    let assertion = assertion(&claims, &sts.agent_key);
    let error = sts.send(sts.request(&key()).with("client_assertion", &assertion)).await;
    let error = error.expect_err(what);
    assert_eq!(error.code, ErrorCode::InvalidClient, "{what}");
    assert_eq!(error.description, "the client did not authenticate", "{what}");
    assert_eq!(sts.causes(1).await, ["client_unknown"], "{what}");
}

#[tokio::test]
async fn an_assertion_is_for_this_issuer_by_this_agent_and_short() {
    check_assertion("another audience", |it| it["aud"] = json!(RESOURCE)).await;
    check_assertion("two audiences", |it| it["aud"] = json!([ISSUER, RESOURCE])).await;
    check_assertion("no audience", |it| drop(it.as_object_mut().unwrap().remove("aud"))).await;
    check_assertion("the endpoint", |it| it["aud"] = json!(format!("{ISSUER}/oauth/token"))).await;
    check_assertion("another issuer", |it| it["iss"] = json!("other")).await;
    check_assertion("another subject", |it| it["sub"] = json!("other")).await;
    check_assertion("too long", |it| it["exp"] = json!(it["exp"].as_i64().unwrap() + 6)).await;
    check_assertion("over", |it| it["exp"] = json!(it["iat"].as_i64().unwrap() - 5)).await;
    check_assertion("not yet", |it| it["iat"] = json!(it["iat"].as_i64().unwrap() + 6)).await;
    check_assertion("text", |it| it["exp"] = json!("soon")).await;
    check_assertion("no id", |it| drop(it.as_object_mut().unwrap().remove("jti"))).await;
    check_assertion("a long id", |it| it["jti"] = json!("j".repeat(257))).await;
}

#[tokio::test]
async fn n_020_an_assertion_by_another_key_or_algorithm_is_refused() {
    let sts = Sts::new().await;
    let (header, rest) = {
        let good = assertion(&sts.claims(), &sts.agent_key);
        let (header, rest) = good.split_once('.').unwrap();
        (header.to_owned(), rest.to_owned())
    };
    let claims = rest.split('.').next().unwrap();
    let header_of =
        |alg: &str| keys::base64url(json!({ "alg": alg, "typ": "JWT" }).to_string().as_bytes());
    let other = SigningKey::generate(KeyAlgorithm::EdDsa).unwrap();
    let wrong = [
        assertion(&sts.claims(), &key()),
        assertion(&sts.claims(), &other),
        format!("{}.{claims}.", header_of("none")),
        format!("{}.{rest}", header_of("EdDSA")),
        format!("{}.{rest}", header_of("HS256")),
        format!("{header}.{claims}."),
        format!("{header}.{rest}x"),
        "not a token".to_owned(),
    ];
    let count = wrong.len();
    for assertion in wrong {
        let request = sts.request(&key()).with("client_assertion", &assertion);
        let error = sts.send(request).await.expect_err(&assertion);
        assert_eq!(error.code, ErrorCode::InvalidClient, "{assertion}");
    }
    assert!(sts.causes(count).await.iter().all(|cause| cause == "client_unknown"));
}

#[tokio::test]
async fn n_140_without_a_proof_for_this_request_there_is_no_token() {
    let sts = Sts::new().await;
    let own = key();
    let mut none = sts.request(&own);
    none.proof = None;
    let mut wrong = vec![none];
    let url = format!("{ISSUER}/oauth/token");
    let now = model::Clock::now(sts.world.clock.as_ref()).as_seconds();
    for (method, url, now) in [
        ("GET", url.as_str(), now),
        ("POST", RESOURCE, now),
        ("POST", url.as_str(), now - 61),
        ("POST", url.as_str(), now + 61),
    ] {
        let expect =
            oauth::dpop::DpopExpect { method, url, access_token: None, now, max_skew_s: 60 };
        let proof = oauth::dpop::make_proof(own.as_ref(), &expect, ("p", None)).unwrap();
        wrong.push(sts.request(&own).proved_by(proof));
    }
    let count = wrong.len();
    for request in wrong {
        let error = sts.send(request).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidDpopProof);
    }
    assert!(sts.causes(count).await.iter().all(|cause| cause == "proof_invalid"));
    assert!(sts.world.records("decision").await.is_empty());
    assert!(sts.token(&own).await.is_ok());
}

/// What was used is remembered for as long as it could be accepted again.
#[tokio::test]
async fn n_113_a_used_proof_is_not_accepted_once_it_is_forgotten() {
    let sts = Sts::new().await;
    let own = key();
    let request = sts.request(&own);
    sts.send(request.clone()).await.unwrap();
    for _ in 0..20 {
        sts.world.clock.advance(Duration::from_secs(10));
        let now = model::Clock::now(sts.world.clock.as_ref());
        store::Store::forget_expired(sts.world.store.as_ref(), now).await.unwrap();
        assert!(sts.send(request.clone()).await.is_err());
    }
    assert_eq!(sts.world.records("issuance").await.len(), 1);
}
