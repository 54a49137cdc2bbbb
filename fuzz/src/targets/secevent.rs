//! Shared signals: what transmitters send, and what receivers ask for.

use std::collections::BTreeSet;

use oauth::jwks::Algorithm;
use oauth::jws::Verifier;
use secevent::{
    AGE_MAX_MS, ANSWER_BYTES_MAX, DeliveryAsked, Offer, Offers, PollAsked, Polled, SKEW_MS,
    StatusAsked, StreamAsked, StreamSeen, Transmitter, Unverified, VerificationAsked,
};

/// The one transmitter that is known here.
const ISSUER: &str = "https://idp.example.com/123456789/";

/// When all tokens of the corpus were issued, in milliseconds.
const NOW: i64 = 1_615_305_159_000;

/// A key that vouches for everything: what is tried is what stands below the signature.
struct Any;

impl Verifier for Any {
    fn is_for(&self, _: &str) -> bool {
        true
    }

    fn verify(&self, _: &str, _: &[u8], _: &[u8]) -> bool {
        true
    }
}

/// The claims of a token: whatever is taken is about one subject, and of no time but that which may be.
pub fn token(bytes: &[u8]) -> bool {
    let header = br#"{"typ":"secevent+jwt","alg":"ES256"}"#;
    let token = format!("{}.{}.", keys::base64url(header), keys::base64url(bytes));
    let algorithms = BTreeSet::from([Algorithm::Es256]);
    let of = Transmitter {
        issuer: ISSUER,
        audience: "https://sp.example.com/caep",
        algorithms: &algorithms,
    };
    let Ok(read) = Unverified::read(&token, of) else { return false };
    let Ok(set) = read.verified_by(&Any, NOW) else { return false };
    assert!((NOW - AGE_MAX_MS..=NOW + SKEW_MS).contains(&set.issued));
    assert!(set.at() <= set.until() && set.at() <= set.issued + SKEW_MS);
    assert!((1..=secevent::JTI_MAX).contains(&set.jti.len()));
    assert!(set.subject.person().len() <= secevent::ALIASES_MAX);
    true
}

/// An answer to a poll: no more tokens than were asked for, each with a name.
pub fn polled(bytes: &[u8]) -> bool {
    let Ok(polled) = Polled::parse(bytes) else { return false };
    assert!(polled.sets.len() <= secevent::POLL_SETS_MAX);
    assert!(polled.sets.keys().all(|jti| (1..=secevent::JTI_MAX).contains(&jti.len())));
    true
}

/// A request of a receiver: what it asks to be told can be told, and what it gives for a header is one.
pub fn asked(bytes: &[u8]) -> bool {
    let stream = StreamAsked::parse(bytes);
    if let Ok(asked) = &stream {
        let requested = asked.requested.iter().flatten();
        requested.for_each(|event| assert!(secevent::TOLD.contains(&event.as_str())));
        if let Some(DeliveryAsked::Push { authorization: Some(secret), .. }) = &asked.delivery {
            assert!(secret.expose().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
    }
    let poll = PollAsked::parse(bytes);
    if let Ok(asked) = &poll {
        assert!(asked.max <= secevent::POLL_SETS_MAX);
    }
    let status = StatusAsked::parse(bytes).is_ok();
    stream.is_ok() || poll.is_ok() || status || VerificationAsked::parse(bytes).is_ok()
}

/// What shows us who pushes.
const SECRET: &str = "Bearer caep.0a1b2c3d4e5f";

/// What a transmitter says of itself and of our streams: it leads to nobody else, and tells no secret.
pub fn answered(bytes: &[u8]) -> bool {
    let told = json::parse(bytes, json::Limits::of_bytes(ANSWER_BYTES_MAX)).unwrap_or_default();
    let mut planted = told.clone();
    if let Some(delivery) = planted.get_mut("delivery").and_then(|it| it.as_object_mut()) {
        delivery.insert("authorization_header".to_owned(), SECRET.into());
    }
    let seen = StreamSeen::parse(planted.to_string().as_bytes());
    if let Ok(seen) = &seen {
        assert!(!format!("{seen:?} {}", seen.to_json()).contains(SECRET));
    }
    let offers = Offers::read(&told, "https://tr.example.com", &BTreeSet::new());
    let offered = |offer: Offer| offers.as_ref().ok()?.at(offer, Some("a b")).ok();
    for url in Offer::ALL.into_iter().filter_map(offered) {
        assert_eq!((url.host(), url.port()), ("tr.example.com", 443));
    }
    let status = secevent::status_seen(bytes).is_ok();
    let all = StreamSeen::parse_all(bytes).is_ok_and(|all| all.iter().any(Result::is_ok));
    seen.is_ok() || offers.is_ok() || status || all
}
