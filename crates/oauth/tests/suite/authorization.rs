//! Authorization requests, and what redeems the codes and refresh tokens that come of them.

use oauth::ErrorCode;
use oauth::authorization_code::{ClientRequest, Narrowed, Redeemed, is_verified, parse};
use oauth::form::form;
use oauth::token_endpoint::{self, Asked};

/// The example of RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

const CLIENT: &str = "https://client.example/oauth.json";
const RESOURCE: &str = "https://chancery.example/mcp/payments";

const RIGHT: [(&str, &str); 7] = [
    ("response_type", "code"),
    ("client_id", CLIENT),
    ("redirect_uri", "http://127.0.0.1:8/cb"),
    ("state", "s"),
    ("code_challenge", CHALLENGE),
    ("code_challenge_method", "S256"),
    ("resource", RESOURCE),
];

/// What a form at the token endpoint asks for by a code or a refresh token.
fn redeemed(all: &[(&str, &str)]) -> Result<ClientRequest, ErrorCode> {
    match token_endpoint::read(form(all).as_bytes()) {
        Ok(Asked::Redeemed(request)) => Ok(request),
        Ok(other) => panic!("it is by something else: {other:?}"),
        Err(error) => Err(error.code),
    }
}

/// `all` with another value of `name`; without it if that is empty.
fn with<'a>(all: &[(&'a str, &'a str)], name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let others = all.iter().copied().filter(|(known, _)| *known != name);
    others.chain([(name, value)]).collect()
}

/// What the client of a request is told that has another value of `name`.
fn check(name: &str, value: &str, expected: Option<ErrorCode>) {
    let read = parse(form(&with(&RIGHT, name, value)).as_bytes()).expect("it is a request");
    assert_eq!(read.asked.err().map(|error| error.code), expected, "{name}={value}");
}

#[test]
fn an_authorization_request_names_client_server_and_challenge() {
    let read = parse(form(&RIGHT).as_bytes()).expect("it is a request");
    assert_eq!((read.client_id.as_str(), read.state.as_deref()), (CLIENT, Some("s")));
    let asked = read.asked.expect("it can be had");
    assert_eq!((asked.resource.as_str(), &asked.narrowed), (RESOURCE, &Narrowed::Not));
    assert!(is_verified(VERIFIER, &asked.challenge));
    assert!(!is_verified(CHALLENGE, &asked.challenge));
    // What is not known is passed over (RFC 6749 §3.1).
    check("nonce", "x", None);
    check("response_mode", "query", None);
    check("scope", "payments/pay", None);
}

/// OA: `plain` and a missing challenge are refused, and so is what is said in two ways.
#[test]
fn ma_04_what_cannot_be_had_is_told_to_the_client() {
    let invalid = Some(ErrorCode::InvalidRequest);
    check("code_challenge", "", invalid);
    check("code_challenge", VERIFIER.get(1..).expect("long"), invalid);
    check("code_challenge_method", "", invalid);
    check("code_challenge_method", "plain", invalid);
    check("code_challenge_method", "s256", invalid);
    check("resource", "", Some(ErrorCode::InvalidTarget));
    check("response_type", "", invalid);
    check("response_type", "token", Some(ErrorCode::UnsupportedResponseType));
    check("response_type", "code id_token", Some(ErrorCode::UnsupportedResponseType));
    check("response_mode", "form_post", invalid);
    check("request", "a.b.c", invalid);
    check("request_uri", "https://x.example/r", invalid);
    check("authorization_details", "[]", Some(ErrorCode::InvalidAuthorizationDetails));
}

/// What stands twice, or cannot be answered to anybody, is no request at all.
#[test]
fn n_079_a_parameter_that_stands_twice_leads_nowhere() {
    for (name, value) in RIGHT {
        let twice: Vec<_> = RIGHT.into_iter().chain([(name, value)]).collect();
        assert!(parse(form(&twice).as_bytes()).is_err(), "{name}");
    }
    for name in ["client_id", "redirect_uri"] {
        assert!(parse(form(&with(&RIGHT, name, "")).as_bytes()).is_err(), "{name}");
    }
    let long = "s".repeat(1_025);
    assert!(parse(form(&with(&RIGHT, "state", &long)).as_bytes()).is_err());
    assert!(parse(form(&with(&RIGHT, "state", &long[1..])).as_bytes()).is_ok());
}

#[test]
fn a_code_is_redeemed_with_all_that_it_is_bound_to() {
    let right = [
        ("grant_type", "authorization_code"),
        ("client_id", CLIENT),
        ("code", "c"),
        ("redirect_uri", "http://127.0.0.1:8/cb"),
        ("code_verifier", VERIFIER),
        ("resource", RESOURCE),
    ];
    let read = redeemed(&right).expect("it is a request");
    assert!(matches!(&read.by, Redeemed::Code { code, .. } if code == "c"), "{read:?}");
    let check = |name: &str, value: &str, expected| {
        let read = redeemed(&with(&right, name, value));
        assert_eq!(read, Err(expected), "{name}={value}");
    };
    for name in ["client_id", "code", "redirect_uri", "code_verifier"] {
        check(name, "", ErrorCode::InvalidRequest);
    }
    check("resource", "", ErrorCode::InvalidTarget);
    check("code_verifier", VERIFIER.get(1..).expect("long"), ErrorCode::InvalidRequest);
    check("code_verifier", &"v".repeat(129), ErrorCode::InvalidRequest);
    check("scope", "payments/pay", ErrorCode::InvalidScope);
    check("audience", "https://chancery.example", ErrorCode::InvalidTarget);
    assert_eq!(redeemed(&with(&right, "audience", RESOURCE)), Ok(read), "it says the same");
    check("client_secret", "x", ErrorCode::InvalidClient);
    check("client_assertion", "x", ErrorCode::InvalidClient);
    let twice: Vec<_> = right.into_iter().chain([("code", "d")]).collect();
    assert_eq!(redeemed(&twice), Err(ErrorCode::InvalidRequest));
}

#[test]
fn a_refresh_token_needs_no_resource_and_another_grant_is_not_looked_at() {
    let right = [("grant_type", "refresh_token"), ("client_id", CLIENT), ("refresh_token", "r")];
    let read = redeemed(&right).expect("it is a request");
    assert_eq!((read.by, read.resource), (Redeemed::Refresh("r".to_owned()), None));
    assert_eq!(redeemed(&with(&right, "refresh_token", "")), Err(ErrorCode::InvalidRequest));
    assert_eq!(redeemed(&with(&right, "scope", "x")), Err(ErrorCode::InvalidScope));
    assert_eq!(redeemed(&with(&right, "audience", RESOURCE)), Err(ErrorCode::InvalidTarget));
    // An agent's client authenticates.
    let other = with(&right, "grant_type", "client_credentials");
    assert_eq!(redeemed(&other), Err(ErrorCode::InvalidClient));
}
