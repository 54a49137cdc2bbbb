//! What comes back through the browser, and whose browser that is.

use std::time::Duration;

use aws_lc_rs::digest;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use keys::{KeyAlgorithm, SigningKey};
use oauth::client_assertion;
use proptest::prelude::*;
use serde_json::json;

use super::provider::Key;
use super::{
    CLIENT, ISSUER, REDIRECT, World, block_on, home, just_before, query, settings, told, url,
};
use crate::callback::{self, PARAMETERS_MAX, QUERY_MAX};
use crate::{ClientAuthentication, ClientSecret, Cookies, LoginState, Prompt, SignatureAlgorithm};

/// The state that a browser with the cookie line `line` holds.
fn held(cookies: Cookies, lines: &[&str]) -> Option<LoginState> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(COOKIE, HeaderValue::from_str(line).unwrap());
    }
    cookies.login(&headers)
}

/// `state` once more, as a browser that copied it sends it.
pub(super) fn copy(state: &LoginState) -> LoginState {
    let cookies = Cookies::of(&url(REDIRECT));
    let set = cookies.set_login(state);
    let (pair, _) = set.to_str().unwrap().split_once(';').unwrap();
    held(cookies, &[pair]).unwrap()
}

/// Finishes a login by the query that `write` makes of the state.
fn check(write: impl FnOnce(&str) -> String, expected: &str) {
    let world = World::new();
    let asked = world.begin().unwrap();
    let token =
        Key::of(SignatureAlgorithm::Rs256).sign(&world.provider.header(), &world.claims(&asked));
    world.provider.answer_with(&token);
    let query = write(&asked.told["state"]);
    let finished = block_on(world.login.finish(asked.state, &query)).map(|(who, _)| who);
    let finished = match finished {
        Ok(who) => who.subject,
        Err(error) => format!("{}: {error}", error.code()),
    };
    assert_eq!(finished, expected, "{query}");
}

const UNKNOWN: &str = "login_unknown: no such login was begun in this browser: log in again";

#[test]
fn what_is_asked_is_a_code_with_proof_of_who_asked() {
    let mut settings = settings();
    settings.scopes = ["openid", "profile", "groups"].map(str::to_owned).into();
    let world = World::with(settings);
    let asked = world.begin().unwrap();
    let is_random = |name: &str| asked.told[name].len() == 43;
    assert!(["state", "nonce", "code_challenge"].into_iter().all(is_random));
    for (name, expected) in [
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", REDIRECT),
        ("scope", "openid groups profile"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(asked.told[name], expected);
    }
    assert_eq!(asked.told.len(), 8);
    let told = asked.told.clone();
    let claims = world.claims(&asked);
    world.finish(asked, &claims).unwrap();

    let redeemed = world.provider.redeemed().pop().unwrap();
    let verifier = digest::digest(&digest::SHA256, redeemed.form["code_verifier"].as_bytes());
    assert_eq!(keys::base64url(verifier.as_ref()), told["code_challenge"]);
    assert_eq!(redeemed.url, "https://id.example/token");
    assert_eq!(redeemed.form["grant_type"], "authorization_code");
    assert_eq!(redeemed.form["code"], "the-code");
    assert_eq!(redeemed.form["redirect_uri"], REDIRECT);
}

#[test]
fn no_two_logins_share_anything() {
    let world = World::new();
    let (one, two) = (world.begin().unwrap(), world.begin().unwrap());
    for name in ["state", "nonce", "code_challenge"] {
        assert_ne!(one.told[name], two.told[name]);
    }
}

#[test]
fn our_key_proves_us_to_the_issuer_alone() {
    let key = std::sync::Arc::new(SigningKey::generate(KeyAlgorithm::Es256).unwrap());
    let mut settings = settings();
    settings.authentication = ClientAuthentication::PrivateKeyJwt(key.clone());
    let world = World::with(settings);
    world.log_in(|_| ()).unwrap();
    let redeemed = world.provider.redeemed().pop().unwrap();
    assert_eq!(redeemed.authorization, None);
    assert_eq!(redeemed.form["client_id"], CLIENT);
    assert_eq!(redeemed.form["client_assertion_type"], client_assertion::TYPE);
    let assertion = &redeemed.form["client_assertion"];
    let verify = |issuer| {
        client_assertion::verify(assertion, (CLIENT, issuer), key.verifying(), world.now())
    };
    assert!(verify(ISSUER).is_ok());
    assert!(verify("https://id.example/token").is_err());
}

#[test]
fn a_secret_goes_to_the_token_endpoint_and_is_printed_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    keys::write_private(&path, b"p%ss: w\xc3rd\n").unwrap();
    assert!(ClientSecret::read(&path).is_err());
    let path = folder.path().join("another");
    keys::write_private(&path, b"p%ss: word\n").unwrap();
    let mut settings = settings();
    settings.authentication = ClientAuthentication::Secret(ClientSecret::read(&path).unwrap());
    let printed = format!("{settings:?}");
    let world = World::with(settings);
    world.log_in(|_| ()).unwrap();
    let redeemed = world.provider.redeemed().pop().unwrap();
    // RFC 7617 over RFC 6749 §2.3.1: `chancery:p%25ss%3A+word`.
    let expected = "Basic Y2hhbmNlcnk6cCUyNXNzJTNBK3dvcmQ=";
    assert_eq!(redeemed.authorization.as_deref(), Some(expected));
    assert!(!redeemed.form.contains_key("client_assertion"));
    assert!(!printed.contains("word") && !format!("{:?}", world.login).contains("word"));
}

#[test]
fn an_answer_is_read_in_one_way() {
    let plain = |state: &str| format!("code=c&state={state}");
    check(plain, "carla-7");
    check(|state| format!("{}&session_state=x&id_token=y", plain(state)), "carla-7");
    let refused =
        |why: &str| format!("answer_malformed: the provider's answer cannot be read: {why}");
    for again in ["code=d", "code=c", "state=x", "co%64e=d"] {
        let twice = refused("a parameter stands twice");
        check(|state| format!("{}&{again}", plain(state)), &twice);
    }
    check(|_| "code=c".to_owned(), &refused("no state"));
    let neither = refused("not one of code and error");
    check(|state| format!("state={state}"), &neither);
    check(|state| format!("code=&state={state}"), &neither);
    check(|state| format!("{}&error=access_denied", plain(state)), &neither);
    let padded = |state: &str, length: usize| {
        let query = format!("{}&x=", plain(state));
        format!("{query}{}", "x".repeat(length - query.len()))
    };
    check(|state| padded(state, QUERY_MAX), "carla-7");
    check(|state| padded(state, QUERY_MAX + 1), &refused("too long"));
    let with = |state: &str, count: usize| format!("{}{}", plain(state), "&x=1".repeat(count - 2));
    check(|state| with(state, PARAMETERS_MAX), "carla-7");
    check(|state| with(state, PARAMETERS_MAX + 1), &refused("too many parameters"));
}

#[test]
fn a_state_that_is_not_this_logins_is_refused() {
    check(|_| "code=c&state=".to_owned(), UNKNOWN);
    check(|_| "code=c&state=x".to_owned(), UNKNOWN);
    check(|state| format!("code=c&state={state}x"), UNKNOWN);
    check(|state| format!("code=c&state={}", state.to_ascii_uppercase()), UNKNOWN);
}

#[test]
fn a_login_is_finished_by_the_browser_that_began_it() {
    let world = World::new();
    let (victim, attacker) = (world.begin().unwrap(), world.begin().unwrap());
    let copied = copy(&victim.state);
    // The attacker's answer in the victim's browser: a login as the attacker.
    let answer = query(&attacker);
    let planted = block_on(world.login.finish(victim.state, &answer));
    assert_eq!(planted.unwrap_err().code(), "login_unknown");
    // That used up neither login.
    let claims = world.claims(&attacker);
    assert!(world.finish(attacker, &claims).is_ok());
    let again = super::Asked { state: copied, told: victim.told };
    let claims = world.claims(&again);
    assert!(world.finish(again, &claims).is_ok());
    assert_eq!(world.provider.redeemed().len(), 2);
}

#[test]
fn n_040d_a_state_is_used_once_whatever_came_of_it() {
    for query_of in [
        |state: &str| format!("code=c&state={state}"),
        |state: &str| format!("error=access_denied&state={state}"),
    ] {
        let world = World::new();
        let asked = world.begin().unwrap();
        let (second, answer) = (copy(&asked.state), query_of(&asked.told["state"]));
        let claims = world.claims(&asked);
        let token = Key::of(SignatureAlgorithm::Rs256).sign(&world.provider.header(), &claims);
        world.provider.answer_with(&token);
        let _ = block_on(world.login.finish(asked.state, &answer));
        let redeemed = world.provider.redeemed().len();
        let replayed = block_on(world.login.finish(second, &answer));
        assert_eq!(replayed.unwrap_err().code(), "login_unknown");
        assert_eq!(world.provider.redeemed().len(), redeemed);
    }
}

#[test]
fn n_040d_a_state_expires() {
    let check = |after: Duration, expected: &str| {
        let world = World::new();
        let asked = world.begin().unwrap();
        world.clock.advance(after);
        let claims = world.claims(&asked);
        assert_eq!(told(&world.finish(asked, &claims)), expected);
    };
    check(just_before(Duration::from_mins(10)), "carla-7");
    check(Duration::from_mins(10), "login_expired");
}

#[test]
fn n_014_an_answer_names_the_issuer_if_the_provider_says_that_it_does() {
    let check = |says: bool, iss: &str, expected: &str| {
        let world = World::new();
        world.provider.change_metadata(|metadata| {
            metadata["authorization_response_iss_parameter_supported"] = says.into();
        });
        let asked = world.begin().unwrap();
        let claims = world.claims(&asked);
        let token = Key::of(SignatureAlgorithm::Rs256).sign(&world.provider.header(), &claims);
        world.provider.answer_with(&token);
        let answer = format!("{}{iss}", query(&asked));
        let finished = block_on(world.login.finish(asked.state, &answer)).map(|(who, _)| who);
        assert_eq!(told(&finished), expected, "{iss}");
        // Where the issuer is wrong, the code went nowhere.
        assert_eq!(world.provider.redeemed().len(), usize::from(finished.is_ok()));
    };
    check(true, "&iss=https%3A%2F%2Fid.example", "carla-7");
    check(false, "&iss=https%3A%2F%2Fid.example", "carla-7");
    check(false, "", "carla-7");
    for says in [true, false] {
        for other in ["https://evil.example", "https://id.example/", "https://ID.example", ""] {
            check(says, &format!("&iss={other}"), "issuer_mismatch");
        }
    }
    check(true, "", "issuer_mismatch");
}

/// Two providers at one deployment: what was begun at one is not finished at the other.
#[test]
fn n_014_a_login_is_finished_at_the_provider_where_it_was_begun() {
    let (honest, other) = (World::new(), World::new());
    let asked = honest.begin().unwrap();
    let claims = honest.claims(&asked);
    assert_eq!(told(&other.finish(asked, &claims)), "login_unknown");
    assert!(other.provider.redeemed().is_empty());
}

#[test]
fn why_nobody_logged_in_is_said_in_words_of_ours() {
    let refused =
        |why: &str| format!("not_logged_in: the provider did not log the person in: {why}");
    check(|state| format!("error=access_denied&state={state}"), &refused("access_denied"));
    let shout = "error=<script>&error_description=secret-words&error_uri=https://evil.example";
    check(|state| format!("{shout}&state={state}"), &refused("another error"));
    check(|_| "error=access_denied&state=x".to_owned(), UNKNOWN);
}

#[test]
fn a_code_that_the_provider_does_not_take_is_no_login() {
    let check = |status: u16, body: &str, expected: &str| {
        let world = World::new();
        let asked = world.begin().unwrap();
        world.provider.answer(status, body);
        let error = block_on(
            world.login.finish(asked.state, &format!("code=c&state={}", asked.told["state"])),
        );
        let error = error.unwrap_err();
        let expected = format!("the provider gave no token for the code: {expected}");
        assert_eq!((error.code(), error.to_string()), ("code_not_exchanged", expected), "{body}");
    };
    let used = json!({ "error": "invalid_grant", "error_description": "code 4711 was used" });
    check(400, &used.to_string(), "invalid_grant");
    check(401, r#"{"error":"invalid_client"}"#, "invalid_client");
    check(500, r#"{"error":"secret-words"}"#, "another error");
    check(302, "{}", "another error");
    let no_object = "the answer is no JSON object";
    for body in ["", "<html>", "[]", r#"{"id_token":"a","id_token":"b"}"#] {
        check(200, body, no_object);
    }
    let answer = |kind: &str, id_token: &str, access_token: &str| {
        json!({ "token_type": kind, "id_token": id_token, "access_token": access_token })
            .to_string()
    };
    check(200, &answer("DPoP", "a", "b"), "the token type is not Bearer");
    check(200, &answer("Bearer", "", "b"), "there is no ID token");
    check(200, &answer("bearer", "a", ""), "there is no access token");
    check(201, &answer("Bearer", "a", "b"), "another error");
}

#[test]
fn cookies_are_for_us_alone() {
    let state = World::new().begin().unwrap().state;
    let (secure, plain) =
        (Cookies::of(&url(REDIRECT)), Cookies::of(&url("http://localhost:8421/cb")));
    let check = |cookies: Cookies, start: &str, end: &str| {
        let set = cookies.set_login(&state);
        assert!(set.is_sensitive());
        let set = set.to_str().unwrap();
        assert!(set.starts_with(start) && set.ends_with(end), "{set}");
        let (pair, _) = set.split_once(';').unwrap();
        assert!(held(cookies, &[pair]).is_some());
        assert!(held(cookies, &[&format!("a=b; {pair};c")]).is_some());
        assert!(held(cookies, &["a=b", pair]).is_some());
        // Of two, one is planted.
        assert!(held(cookies, &[pair, pair]).is_none());
        assert!(held(cookies, &[&format!("{pair}; {pair}")]).is_none());
        for spoilt in [format!("{pair}A"), pair.to_ascii_uppercase(), format!("x{pair}")] {
            assert!(held(cookies, &[&spoilt]).is_none(), "{spoilt}");
        }
        let (name, _) = pair.split_once('=').unwrap();
        let cleared = cookies.clear_login();
        let expected = format!(
            "{name}=; Path=/; Max-Age=0{}",
            end.strip_prefix("; Path=/; Max-Age=600").unwrap()
        );
        assert_eq!(cleared.to_str().unwrap(), expected);
    };
    check(
        secure,
        "__Host-chancery-login=",
        "; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure",
    );
    check(plain, "chancery-login=", "; Path=/; Max-Age=600; HttpOnly; SameSite=Lax");
    // A cookie that anybody on the way could have set is not taken over TLS.
    let set = plain.set_login(&state);
    assert!(held(secure, &[set.to_str().unwrap().split_once(';').unwrap().0]).is_none());
    assert!(held(secure, &["__Host-chancery-login="]).is_none());
}

#[test]
fn a_login_can_be_awaited_on_any_thread() {
    fn is_send<T: Send>(_: T) {}
    let world = World::new();
    is_send(world.login.begin(home(), None, Prompt::AsNeeded));
    is_send(world.login.finish(world.begin().unwrap().state, ""));
}

proptest! {
    /// Whatever comes through the browser, there is an answer, and a state or a refusal.
    #[test]
    fn n_110_any_query_is_answered(query in "[ -~]{0,300}") {
        if let Ok(answer) = callback::read(&query) {
            prop_assert!(query.contains("state") || query.contains('%'));
            prop_assert!(answer.outcome.is_ok_and(|code| !code.expose().is_empty()) || query.contains("error") || query.contains('%'));
        }
    }
}
