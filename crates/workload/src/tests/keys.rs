//! Where keys come from, how often they are asked for, and how long they count.

use std::time::Duration;

use futures::future::join_all;
use https_url::HttpsUrl;
use oauth::jwks::KEYS_MAX;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::issuer::{Authority, Issuer};
use super::signing::TestKey;
use super::{
    CLUSTER, Files, US, World, account, is_unknown, sign, token, told, until, with, workload,
};
use crate::origin::jwks_uri;

/// An issuer with one key, `k1`, and sources that trust it.
async fn start() -> (Issuer, TestKey, World) {
    let key = TestKey::new("ES256");
    let issuer = Issuer::start(&[key.jwk("k1")]).await;
    let world = World::new(issuer.config(), &issuer.authority);
    (issuer, key, world)
}

/// Claims of a token of `issuer` that is good for as long as one may be.
fn claims(issuer: &Issuer) -> Value {
    let claims = with(&account(), "iss", issuer.url.clone());
    with(&claims, "exp", super::NOW + 86_400)
}

async fn check(world: &World, token: &str, expected: &str) {
    assert_eq!(told(&world.oidc(token).await), expected);
}

#[tokio::test]
async fn keys_are_found_by_the_issuers_metadata_and_kept() {
    let (issuer, key, world) = start().await;
    for _ in 0..20 {
        check(&world, &token("k1", &claims(&issuer), &key), "ok").await;
    }
    assert_eq!(issuer.asked(), 1);
}

/// Nothing of what a token says is fetched, and nobody is asked for the key of one that could not
/// be taken.
#[tokio::test]
async fn n_023_nothing_that_a_token_offers_is_fetched() {
    let (issuer, key, world) = start().await;
    for name in ["jku", "x5u"] {
        let there = format!("{}/.well-known/openid-configuration", issuer.url);
        let header = json!({ "alg": "ES256", "kid": "k1", name: there });
        check(&world, &sign(&header, &claims(&issuer), &key), "unreadable").await;
    }
    for alg in ["none", "HS256", "RS384", "XX256"] {
        let header = json!({ "alg": alg, "kid": "k1" });
        check(&world, &sign(&header, &claims(&issuer), &key), "algorithm").await;
    }
    for foreign in [format!("{}/", issuer.url), format!("{}/a", issuer.url), CLUSTER.to_owned()] {
        let claims = with(&account(), "iss", foreign);
        check(&world, &token("k1", &claims, &key), "foreign_issuer").await;
    }
    assert_eq!(issuer.asked(), 0);
}

#[tokio::test]
async fn many_tokens_by_unknown_keys_ask_once_in_ten_seconds() {
    let (issuer, key, world) = start().await;
    let flood = |count: usize| {
        let tokens: Vec<_> =
            (0..count).map(|n| token(&format!("x{n}"), &claims(&issuer), &key)).collect();
        let world = &world;
        async move {
            let found = join_all(tokens.iter().map(|token| world.oidc(token))).await;
            assert!(found.iter().all(is_unknown));
            for token in &tokens {
                check(world, token, "key_unasked").await;
            }
        }
    };
    flood(200).await;
    assert_eq!(issuer.asked(), 1);
    world.pass(9);
    flood(200).await;
    assert_eq!(issuer.asked(), 1);
    world.pass(1);
    flood(200).await;
    assert_eq!(issuer.asked(), 2);
    // Good ones need nobody.
    world.pass(1_000);
    check(&world, &token("k1", &claims(&issuer), &key), "ok").await;
    assert_eq!(issuer.asked(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Whatever comes when, whether the issuer answers or not.
    #[test]
    fn nobody_is_asked_more_than_once_in_ten_seconds(
        steps in prop::collection::vec((0_u64..15, 0_usize..4, any::<bool>()), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (issuer, key, world) = start().await;
            let mut passed = 0;
            for (number, (seconds, tokens, breaks)) in steps.into_iter().enumerate() {
                world.pass(seconds);
                passed += seconds;
                if breaks {
                    issuer.break_down();
                }
                for n in 0..tokens {
                    let _ = world.oidc(&token(&format!("x{number}-{n}"), &claims(&issuer), &key)).await;
                }
                let most = usize::try_from(passed / 10).unwrap() + 1;
                assert!(issuer.asked() <= most, "{} times in {passed} s", issuer.asked());
            }
        });
    }
}

#[tokio::test]
async fn who_comes_at_once_shares_one_fetch() {
    let (issuer, key, world) = start().await;
    issuer.hold();
    let good = token("k1", &claims(&issuer), &key);
    let waiting = join_all((0..50).map(|_| world.oidc(&good)));
    let answering = async {
        until(async || issuer.asked() == 1).await;
        issuer.let_answer(2);
    };
    let (found, ()) = tokio::join!(waiting, answering);
    assert!(found.iter().all(|found| told(found) == "ok"));
    assert_eq!(issuer.asked(), 1);
}

/// Who asks and goes away has not kept the keys from the next.
#[tokio::test]
async fn who_gives_up_leaves_the_fetch_to_others() {
    let (issuer, key, world) = start().await;
    issuer.hold();
    let good = token("k1", &claims(&issuer), &key);
    tokio::select! {
        _ = world.oidc(&good) => panic!("nobody answers"),
        () = until(async || issuer.asked() == 1) => {}
    }
    issuer.let_answer(2);
    check(&world, &good, "ok").await;
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn n_029_keys_rotate_and_the_retired_one_counts_until_the_set_is_fetched_again() {
    let (issuer, old, world) = start().await;
    let new = TestKey::new("ES384");
    let [by_old, by_new] =
        [("k1", &old), ("k2", &new)].map(|(kid, key)| token(kid, &claims(&issuer), key));
    check(&world, &by_old, "ok").await;
    issuer.publish(&[new.jwk("k2")]);
    // Nobody asks before there is need, nor too soon.
    check(&world, &by_old, "ok").await;
    check(&world, &by_new, "key_unasked").await;
    assert_eq!(issuer.asked(), 1);
    world.pass(10);
    check(&world, &by_new, "ok").await;
    check(&world, &by_old, "key_unasked").await;
    assert_eq!(issuer.asked(), 2);
    // The retired key under the new name is as little worth.
    check(&world, &token("k2", &claims(&issuer), &old), "algorithm").await;
    // An issuer that has no keys any more has revoked all.
    issuer.publish(&[]);
    world.pass(10);
    check(&world, &by_old, "unknown_key").await;
    check(&world, &by_new, "key_unasked").await;
}

/// Identity provider down: known keys until their bound, then deny.
#[tokio::test]
async fn n_029_without_the_issuer_known_keys_count_until_their_bound() {
    let (issuer, key, world) = start().await;
    let good = token("k1", &claims(&issuer), &key);
    check(&world, &good, "ok").await;
    issuer.break_down();
    let bad = token("k2", &claims(&issuer), &key);
    for _ in 0..360 {
        check(&world, &good, "ok").await;
        world.pass(10);
        check(&world, &bad, "key_unasked").await;
    }
    check(&world, &good, "ok").await;
    world.clock.advance(Duration::from_millis(1));
    check(&world, &good, "keys_unavailable").await;
    check(&world, &bad, "keys_unavailable").await;
    // A clock that is set back makes no keys young.
    world.clock.step_wall(-1_000);
    check(&world, &good, "keys_unavailable").await;
    // It is back.
    issuer
        .put_metadata(&json!({ "issuer": issuer.url, "jwks_uri": format!("{}/keys", issuer.url) }));
    issuer.publish(&[key.jwk("k1")]);
    check(&world, &good, "keys_unavailable").await;
    world.pass(10);
    check(&world, &good, "ok").await;
}

/// While the machine is suspended one clock stands still, and the other goes on.
#[tokio::test]
async fn n_029_keys_age_while_the_machine_is_suspended() {
    let (issuer, key, world) = start().await;
    let good = token("k1", &claims(&issuer), &key);
    check(&world, &good, "ok").await;
    issuer.break_down();
    world.clock.step_wall(3_600_000);
    check(&world, &good, "ok").await;
    world.clock.step_wall(1);
    check(&world, &good, "keys_unavailable").await;
    // Set back, it gives back what it took, and no more.
    world.clock.step_wall(-3_600_001);
    check(&world, &good, "ok").await;
    world.pass(3_601);
    check(&world, &good, "keys_unavailable").await;
}

#[tokio::test]
async fn keys_count_for_as_long_as_is_configured() {
    let (issuer, key, _) = start().await;
    let config = with(&issuer.config(), "keys_last_s", 60);
    let world = World::new(config, &issuer.authority);
    let good = token("k1", &claims(&issuer), &key);
    check(&world, &good, "ok").await;
    issuer.break_down();
    world.pass(60);
    check(&world, &good, "ok").await;
    world.pass(1);
    check(&world, &good, "keys_unavailable").await;
}

/// What the metadata say is checked; what is wrong gives no keys.
#[tokio::test]
async fn metadata_are_the_issuers_own_and_lead_to_its_keys_over_https() {
    let (issuer, key, _) = start().await;
    let uri = format!("{}/keys", issuer.url);
    let right = json!({ "issuer": issuer.url, "jwks_uri": uri });
    let good = token("k1", &claims(&issuer), &key);
    let cases = [
        (right.clone(), "ok"),
        (with(&right, "issuer", Value::Null), "keys_unavailable"),
        (with(&right, "issuer", "https://evil.example"), "keys_unavailable"),
        (with(&right, "issuer", format!("{}/", issuer.url)), "keys_unavailable"),
        (with(&right, "issuer", json!([issuer.url])), "keys_unavailable"),
        (with(&right, "jwks_uri", Value::Null), "keys_unavailable"),
        (with(&right, "jwks_uri", uri.replace("https", "http")), "keys_unavailable"),
        (with(&right, "jwks_uri", "file:///etc/passwd"), "keys_unavailable"),
        (with(&right, "jwks_uri", uri.replace("localhost", "127.0.0.1")), "keys_unavailable"),
        (with(&right, "jwks_uri", "https://169.254.169.254/keys"), "keys_unavailable"),
        (with(&right, "jwks_uri", format!("{uri}-none")), "keys_unavailable"),
        (json!([]), "keys_unavailable"),
    ];
    for (metadata, expected) in cases {
        issuer.put_metadata(&metadata);
        let world = World::new(issuer.config(), &issuer.authority);
        assert_eq!(told(&world.oidc(&good).await), expected, "{metadata}");
    }
    // Who serves it has to be the one that it is called.
    issuer.put_metadata(&right);
    let world = World::new(issuer.config(), &Authority::new());
    check(&world, &good, "keys_unavailable").await;
}

/// What somebody else's metadata say leads to no host of the operator's own network, though there are
/// such that keys may be fetched from.
#[test]
fn n_072_a_public_issuer_leads_to_no_private_host() {
    let check = |host: &str, is_own: bool, expected: &str| {
        let issuer = "https://idp.example";
        let keys = format!("https://{host}/keys");
        let document = json!({ "issuer": issuer, "jwks_uri": keys });
        let is_private = |url: &HttpsUrl| url.host().ends_with(".internal");
        let told = jwks_uri(&document, issuer, is_own, is_private);
        let told = told.map_or_else(|error| error.to_string(), |url| url.as_str().to_owned());
        assert!(told.contains(expected), "{host} {is_own}: {told}");
    };
    let refused = "lead to the private host `keys.internal`";
    check("keys.internal", false, refused);
    check("KEYS.internal:8443", false, refused);
    check("keys.internal", true, "https://keys.internal/keys");
    check("keys.example", false, "https://keys.example/keys");
    check("keys.example", true, "https://keys.example/keys");
}

/// Keys that we cannot verify by are for others, and no reason to refuse the rest.
#[tokio::test]
async fn a_set_is_read_for_the_keys_that_verify() {
    let (key, rsa) = (TestKey::new("ES256"), TestKey::new("RS256"));
    let jwk = key.jwk("k1");
    let n = rsa.public()["n"].as_str().unwrap().to_owned();
    let short = n[..170].to_owned();
    for (jwk, expected) in [
        (jwk.clone(), "ok"),
        (with(&jwk, "use", "enc"), "unknown_key"),
        (with(&jwk, "use", "jwt-svid"), "unknown_key"),
        (with(&jwk, "key_ops", json!(["encrypt"])), "unknown_key"),
        (with(&jwk, "alg", "ES384"), "unknown_key"),
        (with(&jwk, "alg", "HS256"), "unknown_key"),
        (with(&jwk, "alg", 1), "unknown_key"),
        (with(&jwk, "crv", "secp256k1"), "unknown_key"),
        (with(&jwk, "crv", "P-384"), "unknown_key"),
        (with(&jwk, "kty", "oct"), "unknown_key"),
        (with(&jwk, "x", jwk["y"].clone()), "unknown_key"),
        (with(&jwk, "y", Value::Null), "unknown_key"),
        // A private key that was published is everybody's.
        (with(&jwk, "d", "AAAA"), "unknown_key"),
        (json!({ "kty": "oct", "k": "AAAA", "kid": "k1" }), "unknown_key"),
        (with(&rsa.jwk("k1"), "n", short), "unknown_key"),
        (with(&rsa.jwk("k1"), "n", format!("AAAA{n}")), "unknown_key"),
        (with(&rsa.jwk("k1"), "n", n.repeat(3)), "unknown_key"),
        (with(&rsa.jwk("k1"), "n", format!("{n}=")), "unknown_key"),
        (with(&rsa.jwk("k1"), "e", "Aw"), "unknown_key"),
        (with(&rsa.jwk("k1"), "e", "AQ"), "unknown_key"),
        (rsa.jwk("k1"), "algorithm"),
        (json!("k1"), "unknown_key"),
    ] {
        let files = Files::new(&[json!({ "kty": "none" }), jwk.clone()], &[]);
        let found = files.world.oidc(&token("k1", &account(), &key)).await;
        assert_eq!(told(&found), expected, "{jwk}");
    }
    // Points of small order, for which anybody can sign.
    let weak = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": "A".repeat(43) });
    let files = Files::new(&[weak], &[]);
    let edwards = TestKey::new("EdDSA");
    let found = files.world.oidc(&token("k1", &account(), &edwards)).await;
    assert_eq!(told(&found), "unknown_key");
}

#[tokio::test]
async fn a_set_has_as_many_keys_as_may_be_and_no_more() {
    let key = TestKey::new("ES256");
    let many = |number: usize| (1..=number).map(|n| key.jwk(&format!("k{n}"))).collect::<Vec<_>>();
    let good = token("k1", &account(), &key);
    let files = Files::new(&many(KEYS_MAX), &[]);
    check(&files.world, &good, "ok").await;
    files.write("jwks", &many(KEYS_MAX + 1));
    let last = token(&format!("k{}", KEYS_MAX + 1), &account(), &key);
    files.world.pass(10);
    check(&files.world, &last, "key_unasked").await;
    check(&files.world, &good, "ok").await;
}

#[tokio::test]
async fn a_file_of_keys_is_read_within_limits_and_strictly() {
    let key = TestKey::new("ES256");
    let good = token("k1", &account(), &key);
    let right = json!({ "keys": [key.jwk("k1")] }).to_string();
    let padded = |length: usize| right.clone() + &" ".repeat(length - right.len());
    for (text, expected) in [
        (padded(256 << 10), "ok"),
        (padded((256 << 10) + 1), "keys_unavailable"),
        (right.replacen('{', r#"{"keys":[],"#, 1), "keys_unavailable"),
        (right.replacen('{', r#"{"Keys":[],"#, 1), "keys_unavailable"),
        (format!("\u{feff}{right}"), "keys_unavailable"),
        (format!(r#"{{"keys":{}}}"#, "[".repeat(20) + &"]".repeat(20)), "keys_unavailable"),
        ("{}".to_owned(), "keys_unavailable"),
        (r#"{"keys":{}}"#.to_owned(), "keys_unavailable"),
        (String::new(), "keys_unavailable"),
    ] {
        let files = Files::new(&[], &[]);
        files.write_text("jwks", &text);
        check(&files.world, &good, expected).await;
    }
    let files = Files::new(&[], &[]);
    std::fs::remove_file(files.folder.path().join("jwks")).unwrap();
    check(&files.world, &good, "keys_unavailable").await;
}

#[tokio::test]
async fn keys_are_fetched_before_a_token_needs_them_until_the_service_stops() {
    let (issuer, key, world) = start().await;
    world.keep_fresh();
    until(async || issuer.asked() == 1).await;
    check(&world, &token("k1", &claims(&issuer), &key), "ok").await;
    assert_eq!(issuer.asked(), 1);
    world.stopped.cancel();
    world.tasks.close();
    world.tasks.wait().await;
}

/// A key that is gone from the file is forgotten without anybody's need.
#[tokio::test(start_paused = true)]
async fn keys_are_read_again_every_five_minutes() {
    let (old, new) = (TestKey::new("ES256"), TestKey::new("ES256"));
    let files = Files::new(&[old.jwk("k1")], &[old.svid_jwk("k1")]);
    let claims = [account(), with(&workload(), "exp", super::NOW + 3_600)];
    let [oidc, svid] = claims.map(|claims| token("k1", &claims, &old));
    files.world.keep_fresh();
    check(&files.world, &oidc, "ok").await;
    assert_eq!(told(&files.world.svid(&svid).await), "ok");
    files.write("jwks", &[new.jwk("k2")]);
    files.write("bundle", &[new.svid_jwk("k2")]);
    check(&files.world, &oidc, "ok").await;
    for _ in 0..31 {
        files.world.pass(10);
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    until(async || is_unknown(&files.world.oidc(&oidc).await)).await;
    until(async || is_unknown(&files.world.svid(&svid).await)).await;
}

/// One that is down does not slow the others, and a good token waits for nobody.
#[tokio::test]
async fn an_issuer_that_hangs_holds_up_nobody_elses_tokens() {
    let (issuer, key, _) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks");
    std::fs::write(&file, json!({ "keys": [key.jwk("k1")] }).to_string()).unwrap();
    let mut config = issuer.config();
    let cluster = json!({ "issuer": CLUSTER, "audience": US, "jwks_file": file });
    config["oidc"].as_array_mut().unwrap().push(cluster);
    let world = World::new(config, &issuer.authority);
    let good = token("k1", &claims(&issuer), &key);
    check(&world, &good, "ok").await;
    world.pass(10);
    issuer.hold();
    let unknown = token("k2", &claims(&issuer), &key);
    tokio::select! {
        _ = world.oidc(&unknown) => panic!("nobody answers"),
        () = async {
            until(async || issuer.asked() == 2).await;
            check(&world, &good, "ok").await;
            check(&world, &token("k1", &account(), &key), "ok").await;
        } => {}
    }
}
