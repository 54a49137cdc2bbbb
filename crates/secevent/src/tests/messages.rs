//! What transmitters and receivers say beside tokens: the examples of RFC 8935, RFC 8936 and SSF 1.0.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    ErrorCode, POLL_SETS_MAX, PollAsked, PollError, PollRequest, Polled, Refusal, RequestError,
    SetError, StreamAsked, metadata, metadata_url, verification_request,
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

/// Whatever the issuer's path: the metadata name it exactly, and stand where a receiver of ours looks for them, and
/// what they name is below it.
#[test]
fn ss_02_an_issuer_with_a_path_has_its_metadata_before_it() {
    let of_path = "https://acme.example/.well-known/ssf-configuration/chancery/eu";
    for (issuer, place) in [
        ("https://acme.example", "https://acme.example/.well-known/ssf-configuration"),
        ("https://acme.example/chancery/eu", of_path),
    ] {
        let told = metadata(issuer);
        let named = told["issuer"].as_str().expect("an issuer");
        assert_eq!((named, metadata_url(named).unwrap().as_str()), (issuer, place));
        for (name, path) in [
            ("jwks_uri", "/oauth/jwks"),
            ("configuration_endpoint", "/ssf/streams"),
            ("status_endpoint", "/ssf/status"),
            ("verification_endpoint", "/ssf/verify"),
        ] {
            assert_eq!(told[name], format!("{issuer}{path}"), "{name}");
        }
    }
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

#[test]
fn what_a_receiver_asks_for_is_read_strictly() {
    let stream = |body: &str| StreamAsked::parse(body.as_bytes()).err();
    let push = |more: &str| format!(r#"{{"delivery":{{"method":"urn:ietf:rfc:8935",{more}}}}}"#);
    let url = r#""endpoint_url":"https://rp.example/e""#;
    let header = |text: &str| push(&format!(r#"{url},"authorization_header":{text}"#));
    assert_eq!(stream("{}"), None);
    assert_eq!(stream(&push(url)), None);
    assert_eq!(stream(&header(r#""Bearer x""#)), None);
    let cases = [
        ("[]".to_owned(), RequestError::NotJson),
        (r#"{"a":1,"a":2}"#.to_owned(), RequestError::NotJson),
        (r#"{"stream_id":1}"#.to_owned(), RequestError::Member("stream_id")),
        (r#"{"delivery":"poll"}"#.to_owned(), RequestError::Member("delivery")),
        (r#"{"delivery":{}}"#.to_owned(), RequestError::Member("method")),
        (push(r#""endpoint_url":"http://rp.example/e""#), RequestError::Member("endpoint_url")),
        (push(r#""x":1"#), RequestError::Member("endpoint_url")),
        (header(r#""a\r\nb: c""#), RequestError::Member("authorization_header")),
        (header(r#""ä""#), RequestError::Member("authorization_header")),
        (r#"{"events_requested":[]}"#.to_owned(), RequestError::Member("events_requested")),
        (r#"{"events_requested":["x"]}"#.to_owned(), RequestError::Member("events_requested")),
    ];
    for (body, error) in cases {
        assert_eq!(stream(&body), Some(error), "{body}");
    }
    let secret = StreamAsked::parse(header(r#""Bearer x""#).as_bytes()).expect("it can be read");
    assert!(!format!("{secret:?}").contains("Bearer x"));
    let poll = |body: &str| PollAsked::parse(body.as_bytes());
    assert_eq!(poll("{}").map(|asked| asked.max), Ok(POLL_SETS_MAX));
    assert_eq!(poll(r#"{"ack":[1]}"#), Err(RequestError::Member("ack")));
    assert_eq!(poll(r#"{"setErrs":{"a":{}}}"#), Err(RequestError::Member("setErrs")));
    assert_eq!(poll(r#"{"maxEvents":1.5}"#), Err(RequestError::Member("maxEvents")));
    // What we ask others for, we read.
    let asked = PollRequest { ack: vec!["a".to_owned()], ..PollRequest::default() };
    let read = poll(&asked.to_json().to_string()).expect("it can be read");
    assert_eq!((read.max, read.ack), (POLL_SETS_MAX, asked.ack));
    let told = Polled { sets: [("a".to_owned(), "b".to_owned())].into(), more: true };
    assert_eq!(Polled::parse(told.to_json().to_string().as_bytes()), Ok(told));
    assert!(Refusal::is_final(br#"{"err":"invalid_request"}"#));
    for body in [&br#"{"err":"invalid_key"}"#[..], br"{}", b"", br#"{"err":1}"#] {
        assert!(!Refusal::is_final(body));
    }
}
