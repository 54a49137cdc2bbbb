//! What the provider publishes, and for how long it is taken.

use std::task::{Context, Waker};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::ManualClock;

use super::provider::{JWKS, Key, METADATA};
use super::{CLIENT, ISSUER, REDIRECT, World, block_on, just_before, settings, told, url};
use crate::cached::{Cached, FRESH, PAUSE, USABLE};
use crate::{ClientAuthentication, Settings, SignatureAlgorithm};

/// Begins a login where the metadata has `member` as it is given; null for not at all.
fn check_with(
    set: impl FnOnce(&mut Settings),
    (member, value): (&str, Value),
    expected: Option<&str>,
) {
    let mut settings = settings();
    set(&mut settings);
    let world = World::with(settings);
    world.provider.change_metadata(|metadata| match value.clone() {
        Value::Null => drop(metadata.as_object_mut().unwrap().remove(member)),
        value => metadata[member] = value,
    });
    let refused = world.begin().err().map(|error| {
        let source = std::error::Error::source(&error).unwrap();
        format!("{}: {source}", error.code())
    });
    let expected = expected.map(|expected| format!("provider_metadata: {expected}"));
    assert_eq!(refused, expected, "{member}: {value}");
}

fn check(member: &str, value: Value, expected: Option<&str>) {
    check_with(|_| (), (member, value), expected);
}

#[test]
fn n_014_metadata_is_the_issuers() {
    for other in ["https://id.example/", "https://ID.example", "https://evil.example", ""] {
        check("issuer", other.into(), Some("it is not the metadata of the issuer"));
    }
    check("issuer", Value::Null, Some("`issuer` is missing or not as it should be"));
    check("issuer", json!([ISSUER]), Some("`issuer` is missing or not as it should be"));
}

#[test]
fn metadata_lies_where_the_issuer_says() {
    for (issuer, expected) in [
        (ISSUER, METADATA),
        ("https://id.example/", METADATA),
        (
            "https://id.example/realms/r",
            "https://id.example/realms/r/.well-known/openid-configuration",
        ),
    ] {
        let settings = Settings { issuer: url(issuer), ..settings() };
        let world = World::with(settings);
        let _ = world.begin();
        assert_eq!(world.provider.fetched(), [expected]);
    }
}

#[test]
fn n_072_endpoints_are_where_the_operator_said_that_the_provider_is() {
    for member in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
        let missing = format!("`{member}` is missing or not as it should be");
        let elsewhere = format!(
            "`{member}` is at a host that is not the issuer's: name it in `other_hosts` if it is meant"
        );
        for wrong in [
            "http://id.example/x",
            "https://169.254.169.254/x",
            "https://[::1]/x",
            "ftp://id.example/",
            "https://user@id.example/x",
            "https://id.example/x#y",
            "javascript:alert(1)",
            "/x",
            "",
        ] {
            check(member, wrong.into(), Some(&missing));
        }
        check(member, Value::Null, Some(&missing));
        let others =
            ["https://evil.example/x", "https://id.example.evil.example/", "http://127.0.0.1:80/x"];
        for other in others {
            check(member, other.into(), Some(&elsewhere));
        }
        check(member, "https://id.example:8443/x?y=z".into(), None);
        let also = |settings: &mut Settings| {
            settings.other_hosts.insert("keys.example".to_owned());
        };
        check_with(also, (member, "https://KEYS.example/x".into()), None);
        check_with(also, (member, "https://more.keys.example/x".into()), Some(&elsewhere));
    }
}

#[test]
fn a_provider_does_what_is_needed() {
    let lacks = |member: &str, wanted: &str| format!("`{member}` does not have `{wanted}`");
    let demand = |member: &str, wanted: &str, by_default: bool| {
        let missing = lacks(member, wanted);
        check(member, json!(["x", wanted]), None);
        check(member, json!(["x"]), Some(&missing));
        check(member, json!([]), Some(&missing));
        check(member, Value::Null, (!by_default).then_some(missing.as_str()));
        let wrong = format!("`{member}` is missing or not as it should be");
        check(member, wanted.into(), Some(&wrong));
    };
    demand("response_types_supported", "code", false);
    demand("id_token_signing_alg_values_supported", "RS256", false);
    demand("token_endpoint_auth_methods_supported", "private_key_jwt", false);
    demand("code_challenge_methods_supported", "S256", true);
    demand("response_modes_supported", "query", true);
    let member = "token_endpoint_auth_methods_supported";
    let secret = |settings: &mut Settings| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        keys::write_private(&path, b"word").unwrap();
        let secret = crate::ClientSecret::read(&path).unwrap();
        settings.authentication = ClientAuthentication::Secret(secret);
    };
    check_with(secret, (member, Value::Null), None);
    let lacking = lacks(member, "client_secret_basic");
    check_with(secret, (member, json!(["private_key_jwt"])), Some(&lacking));
    let says = "authorization_response_iss_parameter_supported";
    check(says, "true".into(), Some(&format!("`{says}` is missing or not as it should be")));
}

#[test]
fn a_query_of_the_authorization_endpoint_stays() {
    let world = World::new();
    world.provider.change_metadata(|metadata| {
        metadata["authorization_endpoint"] = "https://id.example/authorize?p=policy".into();
    });
    let asked = world.begin().unwrap();
    assert_eq!((asked.told["p"].as_str(), asked.told["client_id"].as_str()), ("policy", CLIENT));
}

#[test]
fn metadata_is_fetched_again_once_it_is_old_and_served_while_it_cannot_be() {
    let world = World::new();
    let begin = |after: Duration, fetches: usize| {
        world.clock.advance(after);
        let code = world.begin().map_err(|error| error.code()).err();
        assert_eq!(world.provider.fetches(METADATA), fetches, "{after:?}");
        code
    };
    assert_eq!(begin(Duration::ZERO, 1), None);
    assert_eq!(begin(just_before(FRESH), 1), None);
    world.provider.publish(METADATA, Value::Null);
    assert_eq!(begin(Duration::from_millis(1), 2), None);
    assert_eq!(begin(just_before(PAUSE), 2), None);
    assert_eq!(begin(Duration::from_millis(1), 3), None);
    assert_eq!(begin(USABLE.saturating_sub(FRESH + PAUSE), 4), Some("provider_unavailable"));
    assert_eq!(begin(Duration::ZERO, 4), Some("provider_unavailable"));
    assert_eq!(begin(PAUSE, 5), Some("provider_unavailable"));
}

#[test]
fn n_029_keys_rotate_and_old_ones_count_until_their_bound() {
    let (first, second) = (Key::of(SignatureAlgorithm::Rs256), Key::OtherRsa);
    let world = World::new();
    let log_in = |key: Key, kid: &str, after: Duration, fetches: usize| {
        world.clock.advance(after);
        let asked = world.begin().unwrap();
        let token = key.sign(&json!({ "alg": "RS256", "kid": kid }), &world.claims(&asked));
        let told = told(&world.finish_by(asked, &token));
        assert_eq!(world.provider.fetches(JWKS), fetches, "{kid}");
        told
    };
    let unknown = "id_token_invalid: the key is not one of the provider's";
    assert_eq!(log_in(first, "first", Duration::ZERO, 1), "carla-7");
    // A key that is not known: asked for once, and not again for a while, however often it comes.
    assert_eq!(log_in(second, "second", Duration::ZERO, 1), unknown);
    assert_eq!(log_in(second, "second", PAUSE, 2), unknown);
    assert_eq!(log_in(second, "second", just_before(PAUSE), 2), unknown);
    world.provider.publish(JWKS, json!({ "keys": [first.jwk("first"), second.jwk("second")] }));
    assert_eq!(log_in(second, "second", Duration::from_millis(1), 3), "carla-7");
    // The old key within its grace; after it, once we look again.
    assert_eq!(log_in(first, "first", Duration::ZERO, 3), "carla-7");
    world.provider.publish(JWKS, json!({ "keys": [second.jwk("second")] }));
    assert_eq!(log_in(first, "first", FRESH, 4), unknown);
    // No answer, or one that cannot be read: the last keys until their bound, then none.
    world.provider.publish(JWKS, Value::Null);
    assert_eq!(log_in(second, "second", FRESH, 5), "carla-7");
    world.provider.publish(JWKS, json!({ "keys": 7 }));
    assert_eq!(log_in(second, "second", just_before(USABLE.saturating_sub(FRESH)), 6), "carla-7");
    let late = log_in(second, "second", PAUSE, 7);
    assert_eq!(late, "provider_metadata: the keys cannot be read");
}

#[test]
fn a_login_ends_at_the_provider_as_it_was_when_it_began() {
    let world = World::new();
    let asked = world.begin().unwrap();
    world.provider.change_metadata(|metadata| {
        metadata["token_endpoint"] = "https://id.example/moved".into();
    });
    world.clock.advance(Duration::from_mins(9));
    let claims = world.claims(&asked);
    world.finish(asked, &claims).unwrap();
    assert_eq!(world.provider.redeemed()[0].url, "https://id.example/token");
    assert_eq!(world.provider.redeemed()[0].form["redirect_uri"], REDIRECT);
}

/// Who hangs up while the provider is asked neither keeps others from asking nor leaves them waiting.
#[test]
fn n_116_a_question_that_was_given_up_holds_nobody_up() {
    let (clock, cached) = (ManualClock::new(), Cached::default());
    let mut given_up = Box::pin(cached.get(
        &clock,
        |_: &u8| true,
        async || std::future::pending::<Result<u8, &str>>().await,
    ));
    let mut context = Context::from_waker(Waker::noop());
    assert!(given_up.as_mut().poll(&mut context).is_pending());
    drop(given_up);
    let asked = block_on(cached.get(&clock, |_| true, async || Ok::<_, &str>(7)));
    assert_eq!(asked.unwrap().as_deref(), Some(&7));
}
