//! What transmitters and receivers say beside tokens: the examples of RFC 8935, RFC 8936 and SSF 1.0.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    ErrorCode, POLL_SETS_MAX, PollError, PollRequest, Polled, Refusal, SetError, metadata_url,
    verification_request,
};

#[test]
fn refusals_are_told_as_the_rfc_has_them() {
    let check = |error: SetError, code: ErrorCode, err: &str| {
        let told = Refusal { code: error.code(), description: error.to_string() };
        assert_eq!(told.code, code);
        assert_eq!(told.to_json(), json!({ "err": err, "description": error.to_string() }));
    };
    check(SetError::Issuer, ErrorCode::InvalidIssuer, "invalid_issuer");
    check(SetError::Audience, ErrorCode::InvalidAudience, "invalid_audience");
    check(SetError::Signature, ErrorCode::InvalidKey, "invalid_key");
    check(SetError::Claim("jti"), ErrorCode::InvalidRequest, "invalid_request");
    check(SetError::TooOld, ErrorCode::InvalidRequest, "invalid_request");
    assert_eq!(ErrorCode::AuthenticationFailed.as_str(), "authentication_failed");
}

#[test]
fn a_poll_tells_what_was_taken_and_what_was_not() {
    let refusal = Refusal { code: ErrorCode::AuthenticationFailed, description: "no".to_owned() };
    let request = PollRequest {
        ack: vec!["3d0c3cf797584bd193bd0fb1bd4e7d30".to_owned()],
        errors: BTreeMap::from([("4d3559ec67504aaba65d40b0363faad8".to_owned(), refusal)]),
        return_immediately: true,
    };
    let expected = json!({
        "ack": ["3d0c3cf797584bd193bd0fb1bd4e7d30"],
        "setErrs": {
            "4d3559ec67504aaba65d40b0363faad8": { "err": "authentication_failed", "description": "no" },
        },
        "returnImmediately": true, "maxEvents": POLL_SETS_MAX,
    });
    assert_eq!(request.to_json(), expected);
}

#[test]
fn an_answer_to_a_poll_holds_tokens_and_no_more_than_were_asked_for() {
    let parse = |body: &Value| Polled::parse(body.to_string().as_bytes());
    let sets = |count: usize| {
        let sets: BTreeMap<_, _> = (0..count).map(|at| (format!("j{at}"), "a.b.c")).collect();
        json!({ "sets": sets, "moreAvailable": true })
    };
    let most = parse(&sets(POLL_SETS_MAX)).unwrap();
    assert_eq!((most.sets.len(), most.more), (POLL_SETS_MAX, true));
    assert_eq!(parse(&sets(POLL_SETS_MAX + 1)), Err(PollError::TooMany));
    assert_eq!(parse(&json!({ "sets": {} })), Ok(Polled { sets: BTreeMap::new(), more: false }));
    assert_eq!(parse(&json!({ "sets": { "j": 1 } })), Err(PollError::NoSets));
    assert_eq!(parse(&json!({ "sets": { "": "a.b.c" } })), Err(PollError::NoSets));
    assert_eq!(parse(&json!([])), Err(PollError::NoSets));
    assert_eq!(Polled::parse(br#"{"sets":{"a":"1","a":"2"}}"#), Err(PollError::NotJson));
}

#[test]
fn metadata_are_those_of_the_issuer_at_its_own_place() {
    let check = |issuer: &str, url: &str| assert_eq!(metadata_url(issuer).unwrap().as_str(), url);
    // SSF 1.0 §7.2.1.
    check("https://tr.example.com", "https://tr.example.com/.well-known/ssf-configuration");
    check("https://tr.example.com/", "https://tr.example.com/.well-known/ssf-configuration");
    let url = "https://tr.example.com/.well-known/ssf-configuration/issuer1";
    check("https://tr.example.com/issuer1", url);
    assert!(metadata_url("http://tr.example.com").is_err());
    assert!(metadata_url("tr.example.com").is_err());
}

#[test]
fn a_stream_is_verified_by_its_id() {
    // SSF 1.0 §8.1.4.2.
    let verification = verification_request("f67e39a0a4d34d56b3aa1bc4cff0069f", "VGhpcyBpcyBhb");
    let expected = json!({
        "stream_id": "f67e39a0a4d34d56b3aa1bc4cff0069f", "state": "VGhpcyBpcyBhb",
    });
    assert_eq!(verification, expected);
}
