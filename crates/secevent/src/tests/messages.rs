//! What transmitters and receivers say beside tokens: the examples of RFC 8935, RFC 8936 and SSF 1.0.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    DeliveryMethod, ErrorCode, MessageError, Metadata, POLL_SETS_MAX, PollError, PollRequest,
    Polled, Refusal, SetError, StreamConfiguration, metadata_url, new_stream, verification_request,
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
    assert_eq!(ErrorCode::AccessDenied.as_str(), "access_denied");
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
    let metadata = json!({
        "spec_version": "1_0", "issuer": "https://tr.example.com",
        "jwks_uri": "https://tr.example.com/jwks.json",
        "delivery_methods_supported": ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936", "urn:else"],
        "configuration_endpoint": "https://tr.example.com/ssf/mgmt/stream",
        "verification_endpoint": "https://tr.example.com/ssf/mgmt/verification",
        "critical_subject_members": ["tenant", "user"],
        "authorization_schemes": [{ "spec_urn": "urn:ietf:rfc:6749" }],
        "default_subjects": "NONE",
    });
    let parse = |metadata: &Value, issuer| Metadata::parse(metadata.to_string().as_bytes(), issuer);
    let read = parse(&metadata, "https://tr.example.com").unwrap();
    assert_eq!(read.delivery_methods, [DeliveryMethod::Push, DeliveryMethod::Poll].into());
    assert_eq!(read.critical_subject_members.len(), 2);
    assert!(read.verification_endpoint.is_some() && read.configuration_endpoint.is_some());
    let other = parse(&metadata, "https://evil.example.com");
    assert_eq!(other, Err(MessageError::OtherIssuer));
    for (member, value) in
        [("jwks_uri", json!("http://tr.example.com/jwks")), ("jwks_uri", json!(7))]
    {
        let mut metadata = metadata.clone();
        metadata[member] = value;
        let read = parse(&metadata, "https://tr.example.com");
        assert_eq!(read, Err(MessageError::Member("jwks_uri")));
    }
}

#[test]
fn a_stream_is_asked_for_and_read_as_its_transmitter_has_it() {
    let endpoint = metadata_url("https://receiver.example.com").unwrap();
    let asked = new_stream(Some((&endpoint, "Bearer xyz")));
    assert_eq!(asked["delivery"]["method"], "urn:ietf:rfc:8935");
    assert_eq!(asked["delivery"]["authorization_header"], "Bearer xyz");
    assert_eq!(new_stream(None)["delivery"], json!({ "method": "urn:ietf:rfc:8936" }));
    let verification = verification_request("f67e39a0a4d34d56b3aa1bc4cff0069f", "VGhpcyBpcyBhb");
    assert_eq!(verification["state"], "VGhpcyBpcyBhb");
    // SSF 1.0 §8.1.1.1.
    let stream = json!({
        "stream_id": "f67e39a0a4d34d56b3aa1bc4cff0069f", "iss": "https://tr.example.com",
        "aud": ["http://receiver.example.com/web", "http://receiver.example.com/mobile"],
        "delivery": {
            "method": "urn:ietf:rfc:8935", "endpoint_url": "https://receiver.example.com/events",
        },
        "events_delivered": ["urn:example:secevent:events:type_2"],
        "min_verification_interval": 60,
    });
    let parse = |stream: &Value| {
        StreamConfiguration::parse(stream.to_string().as_bytes(), "https://tr.example.com")
    };
    let read = parse(&stream).unwrap();
    assert_eq!((read.audience.len(), read.min_verification_interval), (2, Some(60)));
    assert_eq!(read.delivery.method, DeliveryMethod::Push);
    for (member, value) in [
        ("stream_id", Value::Null),
        ("aud", json!(7)),
        ("delivery", json!("push")),
        ("min_verification_interval", json!("60")),
    ] {
        let mut stream = stream.clone();
        stream[member] = value;
        assert_eq!(parse(&stream), Err(MessageError::Member(member)));
    }
}
