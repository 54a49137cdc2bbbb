//! Tokens: whose, for whom, of when.

use keys::{KeyAlgorithm, Signer as _, SigningKey};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{AUDIENCE, ISSUED, NOW, Signed, session_revoked, taken, with};
use crate::{AGE_MAX_MS, Meaning, SET_BYTES_MAX, SKEW_MS, SetError, Unverified};

#[test]
fn the_example_of_caep_is_taken_whatever_the_case_of_its_type() {
    let signed = Signed::new();
    for typ in ["secevent+jwt", "SecEvent+JWT", "application/secevent+jwt"] {
        let set = signed.take(&signed.sign(typ, &session_revoked()), NOW).unwrap();
        assert_eq!(set.jti, "24c63fb56e5a2d77a6b512616ca9fa24");
        assert_eq!((set.issued, set.at()), (ISSUED * 1_000, 1_615_304_991_000));
        assert_eq!(set.until(), 1_615_304_991_999, "a second is told, and all of it is meant");
        assert_eq!(set.event.meaning, Meaning::SessionsEnded);
        assert_eq!(set.event.kind, "caep/session-revoked");
    }
    for typ in ["JWT", "at+jwt", "logout+jwt", "", "text/secevent+jwt"] {
        let refused = signed.take(&signed.sign(typ, &session_revoked()), NOW);
        assert!(matches!(refused, Err(SetError::Unreadable(_))), "{typ}: {refused:?}");
    }
}

#[test]
fn who_it_is_by_and_for_and_of_when_is_as_it_should_be() {
    let check = |member: &str, value: Option<Value>, expected: Option<SetError>| {
        let told = format!("{member}: {value:?}");
        assert_eq!(taken(&with(session_revoked(), member, value)).err(), expected, "{told}");
    };
    let (seconds, claim) = (NOW / 1_000, SetError::Claim);
    check("iss", None, Some(claim("iss")));
    check("iss", Some(json!("https://idp.example.com/123456789")), Some(SetError::Issuer));
    check("aud", Some(json!(["https://other.example", AUDIENCE])), None);
    check("aud", Some(json!(["https://other.example"])), Some(SetError::Audience));
    check("aud", Some(json!([AUDIENCE, 7])), Some(claim("aud")));
    check("aud", Some(json!(vec![AUDIENCE; 17])), Some(claim("aud")));
    check("aud", None, Some(claim("aud")));
    check("sub", Some(json!("ann")), Some(SetError::OtherKind("sub")));
    check("exp", Some(json!(seconds + 60)), Some(SetError::OtherKind("exp")));
    check("iat", None, Some(claim("iat")));
    check("iat", Some(json!(-1)), Some(claim("iat")));
    check("iat", Some(json!(seconds + SKEW_MS / 1_000)), None);
    check("iat", Some(json!(seconds + SKEW_MS / 1_000 + 1)), Some(SetError::NotYet));
    check("jti", None, Some(claim("jti")));
    check("jti", Some(json!("")), Some(claim("jti")));
    check("jti", Some(json!("j".repeat(256))), None);
    check("jti", Some(json!("j".repeat(257))), Some(claim("jti")));
    check("txn", Some(json!({})), Some(claim("txn")));
    check("events", Some(json!({})), Some(claim("events")));
    check("events", Some(json!({ "a": {}, "b": {} })), Some(claim("events")));
    check("events", Some(json!({ "a": 1 })), Some(claim("events")));
    check("sub_id", None, Some(claim("sub_id")));
    check("toe", Some(json!("now")), Some(claim("toe")));
    check("else", Some(json!([{ "unknown": true }])), None);
}

#[test]
fn it_counts_for_a_week_and_no_longer() {
    let signed = Signed::new();
    let token = signed.sign("secevent+jwt", &session_revoked());
    let last = ISSUED * 1_000 + AGE_MAX_MS;
    assert!(signed.take(&token, last).is_ok());
    assert_eq!(signed.take(&token, last + 1), Err(SetError::TooOld));
}

#[test]
fn nothing_is_told_of_the_future() {
    let uri = "https://schemas.openid.net/secevent/risc/event-type/account-enabled";
    let at = |at: Value| {
        let events = json!({ uri: { "event_timestamp": at } });
        taken(&with(session_revoked(), "events", Some(events)))
    };
    let (last, wrong) = (ISSUED + SKEW_MS / 1_000, SetError::Event("event_timestamp"));
    assert_eq!(at(json!(last)).unwrap().at(), last * 1_000);
    assert_eq!(at(json!(last + 1)), Err(SetError::NotYet));
    assert_eq!(at(json!(1_615_304_991.25)).unwrap().until(), 1_615_304_991_250);
    for other in [json!("1615304991"), json!(-1), json!(1e300), Value::Null] {
        assert_eq!(at(other), Err(wrong.clone()));
    }
    // Without it what it says of its time counts, and else when it was issued.
    let claims = with(session_revoked(), "events", Some(json!({ uri: {} })));
    assert_eq!(taken(&claims).unwrap().at(), ISSUED * 1_000);
    let claims = with(claims, "toe", Some(json!(ISSUED - 9)));
    assert_eq!(taken(&claims).unwrap().at(), (ISSUED - 9) * 1_000);
}

#[test]
fn nobody_elses_signature_nor_algorithm_counts() {
    let signed = Signed::new();
    let token = signed.sign("secevent+jwt", &session_revoked());
    let other = SigningKey::generate(KeyAlgorithm::Es256).unwrap();
    let read = || Unverified::read(&token, signed.of()).unwrap();
    assert_eq!(read().verified_by(other.public(), NOW), Err(SetError::Signature));
    let edwards = SigningKey::generate(KeyAlgorithm::EdDsa).unwrap();
    assert_eq!(read().verified_by(edwards.public(), NOW), Err(SetError::Algorithm));
    let by_edwards = oauth::jws::sign("secevent+jwt", &session_revoked(), &edwards).unwrap();
    assert_eq!(Unverified::read(&by_edwards, signed.of()).err(), Some(SetError::Algorithm));
    // The example of RFC 8417 §2.1 is not signed at all.
    let header = keys::base64url(br#"{"typ":"secevent+jwt","alg":"none"}"#);
    let claims = keys::base64url(session_revoked().to_string().as_bytes());
    let unsigned = format!("{header}.{claims}.");
    assert_eq!(Unverified::read(&unsigned, signed.of()).err(), Some(SetError::Algorithm));
}

#[test]
fn claims_have_one_reading_and_an_end() {
    let signed = Signed::new();
    let claims = session_revoked().to_string();
    let twice = claims.replacen('{', r#"{"iss":"https://evil.example","#, 1);
    let header = keys::base64url(br#"{"typ":"secevent+jwt","alg":"ES256"}"#);
    let input = format!("{header}.{}", keys::base64url(twice.as_bytes()));
    let signature = signed.key.sign(input.as_bytes()).unwrap();
    let token = format!("{input}.{}", keys::base64url(&signature));
    assert!(matches!(Unverified::read(&token, signed.of()), Err(SetError::Unreadable(_))));
    let long = with(session_revoked(), "long", Some(json!("x".repeat(SET_BYTES_MAX))));
    assert!(matches!(taken(&long), Err(SetError::Unreadable(_))));
    let fits = with(session_revoked(), "long", Some(json!("x".repeat(SET_BYTES_MAX / 2))));
    assert!(taken(&fits).is_ok());
}

proptest! {
    /// Whatever is changed of a token, it is no token, or nobody's word.
    #[test]
    fn a_token_that_was_changed_is_refused(position in any::<prop::sample::Index>(), to in 0u8..64) {
        let signed = Signed::new();
        let token = signed.sign("secevent+jwt", &session_revoked());
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut changed = token.clone().into_bytes();
        let position = position.index(changed.len());
        changed[position] = digits[usize::from(to)];
        let changed = String::from_utf8(changed).unwrap();
        prop_assume!(changed != token);
        let taken = Unverified::read(&changed, signed.of())
            .and_then(|read| read.verified_by(signed.key.public(), NOW));
        prop_assert!(taken.is_err());
    }
}
