//! What a transmitter tells a receiver that manages its stream: the examples of SSF 1.0 §7.1 and §8.1.

use std::collections::BTreeSet;

use https_url::HttpsUrl;
use serde_json::{Value, json};

use super::with;
use crate::{
    ANSWER_BYTES_MAX, AnswerError, Authorization, DeliveryAsked, Expected, LISTED_MAX, Offer,
    Offers, Place, SetError, StatusAsked, StreamAsked, StreamSeen, StreamStatus, Unread,
    status_seen, subject_request,
};

const ISSUER: &str = "https://tr.example.com";
const AUDIENCE: &str = "https://receiver.example.com";
const EVENTS: &str = "https://receiver.example.com/events";
const PUSH: &str = "urn:ietf:rfc:8935";
const POLL: &str = "urn:ietf:rfc:8936";

/// Of SSF 1.0 §7.2.2.
fn metadata() -> Value {
    json!({
        "spec_version": "1_0",
        "issuer": ISSUER,
        "jwks_uri": "https://tr.example.com/jwks.json",
        "delivery_methods_supported": [PUSH],
        "configuration_endpoint": "https://tr.example.com/ssf/mgmt/stream",
        "status_endpoint": "https://tr.example.com/ssf/mgmt/status",
        "add_subject_endpoint": "https://tr.example.com/ssf/mgmt/subject:add",
        "remove_subject_endpoint": "https://tr.example.com/ssf/mgmt/subject:remove",
        "critical_subject_members": ["tenant", "user"],
        "authorization_schemes": [{ "spec_urn": "urn:ietf:rfc:6749" }],
        "default_subjects": "NONE",
    })
}

/// Of SSF 1.0 §8.1.1.1.
fn stream() -> Value {
    json!({
        "stream_id": "f67e39a0a4d34d56b3aa1bc4cff0069f",
        "iss": ISSUER,
        "aud": ["https://receiver.example.com/web", AUDIENCE],
        "delivery": { "method": PUSH, "endpoint_url": EVENTS, "authorization_header": "Bearer x" },
        "events_supported": ["urn:a", "urn:b", "urn:c"],
        "events_requested": ["urn:b", "urn:c"],
        "events_delivered": ["urn:b", "urn:c"],
        "description": "Stream for Receiver A",
    })
}

fn texts(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|&text| text.to_owned()).collect()
}

fn places(all: &[&str]) -> BTreeSet<Place> {
    all.iter().map(|place| place.parse().expect("it is a place")).collect()
}

fn offers() -> Offers {
    Offers::read(&metadata(), ISSUER, &BTreeSet::new()).expect("it can be read")
}

fn pushed() -> DeliveryAsked {
    let url = HttpsUrl::parse(EVENTS).unwrap();
    DeliveryAsked::Push {
        url: Box::new(url),
        authorization: Authorization::of("Bearer x".to_owned()),
    }
}

#[test]
fn a_transmitter_is_asked_where_its_metadata_say() {
    let offers = offers();
    let check = |offer: Offer, id: Option<&str>, expected: Result<&str, AnswerError>| {
        let url = offers.at(offer, id);
        assert_eq!(url.as_ref().map(HttpsUrl::as_str), expected.as_ref().copied());
    };
    let configuration = "https://tr.example.com/ssf/mgmt/stream";
    check(Offer::Configuration, None, Ok(configuration));
    let named = format!("{configuration}?stream_id=a%26b%3D%2Fc%C3%A4");
    check(Offer::Configuration, Some("a&b=/cä"), Ok(&named));
    let missing = AnswerError::NotOffered("verification_endpoint");
    check(Offer::Verification, None, Err(missing));
    let long = "a".repeat(1 << 14);
    check(Offer::Status, Some(&long), Err(AnswerError::Member("stream_id")));
    assert_eq!(offers.deliver(&pushed()), Ok(()));
    assert_eq!(offers.deliver(&DeliveryAsked::Poll), Err(AnswerError::NotDelivered(POLL)));
}

#[test]
fn n_074_metadata_of_others_or_that_lead_elsewhere_lead_nowhere() {
    let check = |name: &str, value: Value, others: &[&str], expected: Option<AnswerError>| {
        let told = with(metadata(), name, Some(value));
        let asked = Offers::read(&told, ISSUER, &places(others))
            .and_then(|offers| offers.at(Offer::Status, None));
        assert_eq!(asked.err(), expected, "{name}");
    };
    let member = |name| Some(AnswerError::Member(name));
    check("issuer", json!("https://tr.example.com/"), &[], Some(AnswerError::Issuer));
    check("issuer", json!(7), &[], member("issuer"));
    let elsewhere = |place: &str| {
        let place = place.parse().expect("it is a place");
        Some(AnswerError::Elsewhere("status_endpoint", place))
    };
    let status = json!("https://other.example.com/status");
    check("status_endpoint", status.clone(), &[], elsewhere("other.example.com"));
    check(
        "status_endpoint",
        status.clone(),
        &["other.example.com:8443"],
        elsewhere("other.example.com"),
    );
    check("status_endpoint", status, &["Other.example.com:443"], None);
    let port = json!("https://tr.example.com:8443/status");
    check("status_endpoint", port.clone(), &[], elsewhere("tr.example.com:8443"));
    check("status_endpoint", port, &["tr.example.com:8443"], None);
    // What is elsewhere keeps nobody from asking for the rest.
    check("verification_endpoint", json!("https://other.example.com/verify"), &[], None);
    for url in ["http://tr.example.com/status", "https://tr.example.com/#x", "/status"] {
        check("status_endpoint", json!(url), &[], member("status_endpoint"));
    }
    for text in ["", "other.example.com/x", "127.0.0.1", "user@other.example.com", "x:0", "x?"] {
        assert!(text.parse::<Place>().is_err(), "{text}");
    }
    let mtls = json!([{ "spec_urn": "urn:ietf:rfc:8705" }]);
    check("authorization_schemes", mtls, &[], Some(AnswerError::Scheme));
    check("authorization_schemes", json!(["x"]), &[], member("authorization_schemes"));
    check("authorization_schemes", Value::Null, &[], None);
    check("delivery_methods_supported", json!(PUSH), &[], member("delivery_methods_supported"));
    assert_eq!(Offers::read(&json!([]), ISSUER, &BTreeSet::new()), Err(AnswerError::NotJson));
}

#[test]
fn a_stream_is_read_strictly_and_without_what_shows_us_who_pushes() {
    let parse = |told: &Value| StreamSeen::parse(told.to_string().as_bytes());
    let seen = parse(&stream()).expect("it can be read");
    assert_eq!(seen.id, "f67e39a0a4d34d56b3aa1bc4cff0069f");
    assert!(!format!("{seen:?} {}", seen.to_json()).contains("Bearer"));
    let id = || Some("f67e39a0a4d34d56b3aa1bc4cff0069f".to_owned());
    let check = |name: &'static str, value: Option<Value>| {
        let id = id().filter(|_| name != "stream_id");
        let unread = Unread { id, why: AnswerError::Member(name) };
        assert_eq!(parse(&with(stream(), name, value)), Err(unread));
    };
    for name in ["stream_id", "iss", "aud", "delivery", "events_delivered"] {
        check(name, None);
        check(name, Some(json!(7)));
    }
    check("stream_id", Some(json!("a\nb")));
    check("events_delivered", Some(json!(["urn:b", 7])));
    let many = |count: usize| json!((0..count).map(|at| format!("urn:{at}")).collect::<Vec<_>>());
    check("events_delivered", Some(many(LISTED_MAX + 1)));
    assert!(parse(&with(stream(), "events_delivered", Some(many(LISTED_MAX)))).is_ok());
    let not_json = || Unread { id: None, why: AnswerError::NotJson };
    assert_eq!(parse(&json!([])), Err(not_json()));
    assert_eq!(StreamSeen::parse(br#"{"a":1,"a":2}"#), Err(not_json()));
    assert_eq!(StreamSeen::parse(&vec![b' '; ANSWER_BYTES_MAX + 1]), Err(not_json()));
    let all = |told: &Value| StreamSeen::parse_all(told.to_string().as_bytes());
    let broken = with(stream(), "iss", None);
    let unread = Unread { id: id(), why: AnswerError::Member("iss") };
    let both = [Err(unread), Ok(seen)];
    assert_eq!(all(&json!([broken, stream()])).expect("it is a list"), both);
    assert_eq!(all(&stream()), Err(AnswerError::NotJson));
    // What is empty is missing.
    let empty = parse(&with(stream(), "description", Some(json!("")))).expect("it can be read");
    assert_eq!(empty.to_json()["description"], Value::Null);
}

#[test]
fn a_status_is_read_strictly() {
    let check = |told: Value, expected: Result<StatusAsked, AnswerError>| {
        assert_eq!(status_seen(told.to_string().as_bytes()), expected, "{told}");
    };
    let paused = |reason: Option<&str>| StatusAsked {
        id: "a".to_owned(),
        status: StreamStatus::Paused,
        reason: reason.map(str::to_owned),
    };
    check(json!({ "stream_id": "a", "status": "paused", "reason": "b" }), Ok(paused(Some("b"))));
    check(json!({ "stream_id": "a", "status": "paused", "reason": "" }), Ok(paused(None)));
    let member = |name| Err(AnswerError::Member(name));
    check(json!({ "stream_id": "a", "status": "gone" }), member("status"));
    check(json!({ "stream_id": "", "status": "paused" }), member("stream_id"));
    check(json!({ "stream_id": "a", "status": "paused", "reason": 7 }), member("reason"));
    check(json!([]), Err(AnswerError::NotJson));
}

#[test]
fn what_is_other_than_it_was_asked_for_is_told() {
    let offers = offers();
    let expected = Expected {
        issuer: ISSUER,
        audience: AUDIENCE,
        pushed_to: EVENTS,
        polled_at: Some("https://TR.example.com:443/poll"),
        offers: &offers,
    };
    let asked = StreamAsked::wanting(
        Some("f67e39a0a4d34d56b3aa1bc4cff0069f".to_owned()),
        Some(pushed()),
        Some(texts(&["urn:b", "urn:c"])),
        Some("Stream for Receiver A".to_owned()),
    );
    let differs = |told: &Value, asked: &StreamAsked| {
        let seen = StreamSeen::parse(told.to_string().as_bytes()).expect("it can be read");
        let drift = seen.drift(expected, asked);
        drift.iter().map(|drift| drift.member).collect::<Vec<_>>()
    };
    assert!(differs(&stream(), &asked).is_empty());
    let check = |name: &str, value: Value, members: &[&str]| {
        assert_eq!(differs(&with(stream(), name, Some(value)), &asked), members, "{name}");
    };
    check("stream_id", json!("another"), &["stream_id"]);
    check("iss", json!("https://tr.example.com/"), &["iss"]);
    check("aud", json!("https://other.example.com"), &["aud"]);
    let elsewhere = json!({ "method": PUSH, "endpoint_url": "https://evil.example.com/events" });
    check("delivery", elsewhere, &["delivery.endpoint_url"]);
    let polled = json!({ "method": POLL, "endpoint_url": "https://tr.example.com/poll" });
    check("delivery", polled.clone(), &["delivery.method"]);
    check("events_requested", json!(["urn:b"]), &["events_requested"]);
    check("events_delivered", json!(["urn:a", "urn:b"]), &["events_delivered"]);
    check("events_delivered", json!(["urn:a", "urn:b", "urn:c"]), &[]);
    check("description", json!("x"), &["description"]);
    // Of what nothing is asked, nothing is other.
    let nothing = StreamAsked::wanting(None, None, None, None);
    let polled = with(stream(), "delivery", Some(polled));
    assert!(differs(&polled, &nothing).is_empty());
    let google =
        json!({ "method": "https://schemas.openid.net/secevent/risc/delivery-method/push" });
    let old = with(stream(), "delivery", Some(google));
    assert_eq!(differs(&old, &nothing), ["delivery.method"]);
}

/// What nobody polls tells nobody anything; and whoever is polled is shown a token.
#[test]
fn a_stream_is_polled_where_its_transmitter_is_asked_and_only_if_somebody_polls_it() {
    let others = places(&["other.example.com"]);
    let offers = Offers::read(&metadata(), ISSUER, &others).expect("it can be read");
    let check = |url: Option<&str>, polled_at: Option<&str>, asked: bool, members: &[&str]| {
        let expected = Expected {
            issuer: ISSUER,
            audience: AUDIENCE,
            pushed_to: EVENTS,
            polled_at,
            offers: &offers,
        };
        let delivery = json!({ "method": POLL, "endpoint_url": url });
        let told = with(stream(), "delivery", Some(delivery)).to_string();
        let seen = StreamSeen::parse(told.as_bytes()).expect("it can be read");
        let delivery = asked.then_some(DeliveryAsked::Poll);
        let asked = StreamAsked::wanting(None, delivery, None, None);
        let drift = seen.drift(expected, &asked);
        assert_eq!(drift.iter().map(|it| it.member).collect::<Vec<_>>(), members, "{url:?}");
    };
    let (ours, evil) = ("https://tr.example.com/poll", "https://evil.example.com/poll");
    check(Some(ours), Some(ours), false, &[]);
    check(Some(ours), None, false, &["delivery.method"]);
    check(Some(ours), None, true, &[]);
    check(Some("https://other.example.com/poll"), None, true, &[]);
    let endpoint = "delivery.endpoint_url";
    check(Some(evil), None, true, &[endpoint]);
    check(Some(evil), None, false, &["delivery.method", endpoint]);
    check(Some(evil), Some(ours), true, &[endpoint]);
    check(Some("https://tr.example.com:8443/poll"), None, true, &[endpoint]);
    check(Some("http://tr.example.com/poll"), None, true, &[endpoint]);
    check(None, None, true, &[endpoint]);
}

#[test]
fn what_we_ask_others_for_we_read() {
    let asked = StreamAsked::wanting(
        Some("a".to_owned()),
        Some(pushed()),
        Some(texts(&crate::TOLD)),
        Some("b".to_owned()),
    );
    assert_eq!(StreamAsked::parse(asked.to_json().to_string().as_bytes()), Ok(asked));
    let polled = StreamAsked::wanting(None, Some(DeliveryAsked::Poll), None, None);
    assert_eq!(polled.to_json(), json!({ "delivery": { "method": POLL } }));
}

#[test]
fn subjects_are_added_and_removed_as_they_are_read() {
    let subject = json!({ "format": "email", "email": "example.user@example.com" });
    // SSF 1.0 §8.1.3.2 and §8.1.3.3.
    assert_eq!(
        subject_request("f67e39a0", &subject, Some(true)),
        Ok(json!({ "stream_id": "f67e39a0", "subject": subject, "verified": true }))
    );
    assert_eq!(
        subject_request("f67e39a0", &subject, None),
        Ok(json!({ "stream_id": "f67e39a0", "subject": subject }))
    );
    let wrong = json!({ "format": "email", "email": "nobody" });
    assert_eq!(subject_request("f67e39a0", &wrong, None), Err(SetError::Claim("sub_id")));
}
