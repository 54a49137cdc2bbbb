//! What an ID token must say (Core §3.1.3.7).

use std::collections::BTreeSet;
use std::time::Duration;

use aws_lc_rs::digest;
use model::{SessionDigest, Timestamp};
use serde_json::{Value, json};

use super::provider::Key;
use super::{ACCESS_TOKEN, CLIENT, ISSUER, World, settings, told};
use crate::id_token::{LIST_MAX, SUBJECT_MAX, TEXT_MAX};
use crate::{Settings, SignatureAlgorithm};

const ALL: [SignatureAlgorithm; 4] = [
    SignatureAlgorithm::Rs256,
    SignatureAlgorithm::Ps256,
    SignatureAlgorithm::Es256,
    SignatureAlgorithm::EdDsa,
];

/// Logs in, under what `set` makes of the settings, with the claim `name` as it is given, and says
/// what comes of it.
fn check_with(
    set: impl FnOnce(&mut Settings),
    (name, claim): (&str, impl FnOnce(i64) -> Value),
    expected: &str,
) {
    let mut settings = settings();
    set(&mut settings);
    let world = World::with(settings);
    let claim = claim(world.now());
    let logged_in = world.log_in(|claims| match &claim {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        claim => claims[name] = claim.clone(),
    });
    assert_eq!(told(&logged_in), expected, "{name}: {claim}");
}

/// The same under plain settings; the answer is no, because of that claim, or yes.
fn check(name: &str, claim: impl FnOnce(i64) -> Value, holds: bool) {
    let expected = if holds { "carla-7".to_owned() } else { refusal(name) };
    check_with(|_| (), (name, claim), &expected);
}

fn refusal(claim: &str) -> String {
    format!("id_token_invalid: the claim `{claim}` is missing or not as it should be")
}

#[test]
fn a_person_is_an_issuer_and_a_subject() {
    for signed_by in ALL {
        let mut settings = settings();
        settings.signed_by = signed_by;
        let who = World::with(settings).log_in(|_| ()).unwrap();
        assert_eq!((who.issuer.as_str(), who.subject.as_str()), (ISSUER, "carla-7"));
        assert_eq!((who.groups, who.auth_time, who.acr, who.name), (None, None, None, None));
        assert_eq!(who.amr, BTreeSet::new());
    }
}

#[test]
fn an_e_mail_address_never_joins_a_token_to_a_person() {
    let log_in = |subject: &str| {
        let logged_in = World::new().log_in(|claims| {
            claims["sub"] = subject.into();
            claims["email"] = "boss@example.com".into();
            claims["email_verified"] = true.into();
            claims["preferred_username"] = "boss".into();
        });
        logged_in.unwrap()
    };
    let (one, two) = (log_in("carla-7"), log_in("mallory-8"));
    assert_ne!(one.subject, two.subject);
    for who in [one, two] {
        assert!(!format!("{who:?}").contains("boss"));
    }
}

#[test]
fn n_014_a_token_of_another_issuer_is_refused() {
    check("iss", |_| Value::Null, false);
    for issuer in ["https://id.example/", "https://ID.example", "http://id.example", "", "id"] {
        check("iss", |_| issuer.into(), false);
    }
    check("iss", |_| json!([ISSUER]), false);
}

#[test]
fn a_token_is_for_us_and_for_nobody_else() {
    check("aud", |_| Value::Null, false);
    for other in [json!("other"), json!("Chancery"), json!([]), json!(["other"]), json!(7)] {
        check("aud", |_| other, false);
    }
    check("aud", |_| json!([CLIENT]), true);
    check("aud", |_| json!([CLIENT, CLIENT]), true);
    check("aud", |_| json!([CLIENT, "other"]), false);
    check("aud", |_| json!([CLIENT, 7]), false);
    check("aud", |_| vec![CLIENT; LIST_MAX].into(), true);
    check("aud", |_| vec![CLIENT; LIST_MAX + 1].into(), false);
    check("azp", |_| CLIENT.into(), true);
    check("azp", |_| "other".into(), false);
    check("azp", |_| json!([CLIENT]), false);
}

#[test]
fn another_audience_is_taken_if_the_operator_knows_it_and_we_asked() {
    let check = |azp: Option<&str>, expected: &str| {
        let mut settings = settings();
        settings.other_audiences.insert("api".to_owned());
        let logged_in = World::with(settings).log_in(|claims| {
            claims["aud"] = json!([CLIENT, "api"]);
            if let Some(azp) = azp {
                claims["azp"] = azp.into();
            }
        });
        assert_eq!(told(&logged_in), expected);
    };
    check(Some(CLIENT), "carla-7");
    check(Some("api"), &refusal("azp"));
    check(None, &refusal("azp"));
}

#[test]
fn n_027_times_are_whole_numbers_in_bounds() {
    for name in ["exp", "iat", "nbf", "auth_time"] {
        for wrong in [json!("1767225600"), json!(-1), json!(1.5), json!(253_402_300_800_i64)] {
            check(name, |_| wrong, false);
        }
    }
    // No number that two readers could take for two.
    let unread = "id_token_invalid: its claims cannot be read as a JSON object in one way only";
    check_with(|_| (), ("exp", |_| i64::MAX.into()), unread);
    check("exp", |_| Value::Null, false);
    check("iat", |_| Value::Null, false);
    check("exp", |now| (now - 29).into(), false); // not after it was made
    check("exp", |now| (now + 1).into(), true);
    check("iat", |now| (now + 30).into(), true);
    check("iat", |now| (now + 31).into(), false);
    check("iat", |now| (now - 30).into(), true);
    check("iat", |now| (now - 31).into(), false);
    check("nbf", |now| (now + 30).into(), true);
    check("nbf", |now| (now + 31).into(), false);
    check("auth_time", |now| (now + 31).into(), false);
}

#[test]
fn a_token_that_is_over_is_refused() {
    let check = |after: u64, expected: &str| {
        let world = World::new();
        let asked = world.begin().unwrap();
        let claims = world.claims(&asked);
        world.clock.advance(Duration::from_secs(after));
        assert_eq!(told(&world.finish(asked, &claims)), expected);
    };
    check(329, "carla-7");
    check(330, &refusal("exp"));
}

#[test]
fn a_token_is_of_this_login() {
    check("nonce", |_| Value::Null, false);
    for nonce in [json!(""), json!("another"), json!(7)] {
        check("nonce", |_| nonce, false);
    }
    // Somebody else's token, made for a login of that browser, in the answer to this one.
    let world = World::new();
    let (mine, theirs) = (world.begin().unwrap(), world.begin().unwrap());
    let claims = world.claims(&theirs);
    assert_eq!(told(&world.finish(mine, &claims)), refusal("nonce"));
}

#[test]
fn the_access_token_beside_it_is_its_own() {
    for signed_by in ALL {
        let right = |algorithm, half: usize| {
            let hash = digest::digest(algorithm, ACCESS_TOKEN.as_bytes());
            Value::from(keys::base64url(&hash.as_ref()[..half]))
        };
        let (right, wrong) = match signed_by {
            SignatureAlgorithm::EdDsa => (right(&digest::SHA512, 32), right(&digest::SHA256, 16)),
            _ => (right(&digest::SHA256, 16), right(&digest::SHA256, 32)),
        };
        let set = |settings: &mut Settings| settings.signed_by = signed_by;
        check_with(set, ("at_hash", |_| right), "carla-7");
        for wrong in [wrong, json!(""), json!(7), json!("77QmUPtjPfzWtF2AnpK9RQ")] {
            check_with(set, ("at_hash", |_| wrong), &refusal("at_hash"));
        }
    }
}

#[test]
fn who_authenticated_too_long_ago_does_so_again() {
    let set = |settings: &mut Settings| settings.max_age = Some(Duration::from_mins(5));
    check_with(set, ("auth_time", |now| (now - 330).into()), "carla-7");
    check_with(set, ("auth_time", |now| (now - 331).into()), &refusal("auth_time"));
    check_with(set, ("auth_time", |_| Value::Null), &refusal("auth_time"));
    check("auth_time", |now| (now - 86_400).into(), true);
    let mut settings = settings();
    set(&mut settings);
    let asked = World::with(settings).begin().unwrap();
    assert_eq!(asked.told["max_age"], "300");
}

#[test]
fn a_class_that_is_demanded_is_met() {
    let demand = |settings: &mut Settings| {
        settings.acr_values = ["phr", "phrh"].map(str::to_owned).into();
    };
    check_with(demand, ("acr", |_| "phrh".into()), "carla-7");
    for other in [Value::Null, json!("1"), json!(""), json!(["phr"]), json!("phr phrh")] {
        check_with(demand, ("acr", |_| other), &refusal("acr"));
    }
    check("acr", |_| "1".into(), true);
    check("acr", |_| 1.into(), false);
    let mut settings = settings();
    demand(&mut settings);
    assert_eq!(World::with(settings).begin().unwrap().told["acr_values"], "phr phrh");
}

#[test]
fn what_else_is_told_is_of_bearable_size() {
    let who = World::new().log_in(|claims| {
        claims["sub"] = "x".repeat(SUBJECT_MAX).into();
        claims["name"] = "Carla".into();
        claims["amr"] = json!(["pwd", "otp"]);
        claims["acr"] = "2".into();
        claims["auth_time"] = 1_767_225_000.into();
    });
    let who = who.unwrap();
    assert_eq!(who.subject.len(), SUBJECT_MAX);
    assert_eq!((who.name.as_deref(), who.acr.as_deref()), (Some("Carla"), Some("2")));
    assert_eq!(who.amr, ["otp", "pwd"].map(str::to_owned).into());
    assert_eq!(who.auth_time, Some(Timestamp::from_seconds(1_767_225_000)));
    let subjects =
        ["x".repeat(SUBJECT_MAX + 1), "carla\n".to_owned(), "c\u{e4}rla".to_owned(), String::new()];
    for subject in subjects {
        check("sub", |_| subject.into(), false);
    }
    check("sub", |_| 7.into(), false);
    check("amr", |_| "pwd".into(), false);
    let many = |count: usize| (0..count).map(|one| one.to_string()).collect::<Value>();
    check("amr", |_| many(LIST_MAX), true);
    check("amr", |_| many(LIST_MAX + 1), false);
    // A name is for show: one that does not fit is none.
    for name in [json!("x".repeat(TEXT_MAX + 1)), json!("a\u{1b}[2J"), json!(7), json!("")] {
        let who = World::new().log_in(|claims| claims["name"] = name).unwrap();
        assert_eq!(who.name, None);
    }
}

/// The provider's session is known by the digest of its name; what no signal could name is none, and the person
/// logs in all the same.
#[test]
fn a_session_is_known_as_the_provider_names_it() {
    let session = |sid: Value| World::new().log_in(|claims| claims["sid"] = sid).unwrap().session;
    for sid in ["08a5019c", "x".repeat(TEXT_MAX).as_str()] {
        assert_eq!(session(json!(sid)), Some(SessionDigest::of(sid.as_bytes())));
    }
    for sid in [json!("x".repeat(TEXT_MAX + 1)), json!("a\u{1b}"), json!(7), json!(""), Value::Null]
    {
        assert_eq!(session(sid), None);
    }
    assert_eq!(World::new().log_in(|_| ()).unwrap().session, None);
}

#[test]
fn a_key_of_ours_or_others_signs_nothing_here() {
    let world = World::new();
    let asked = world.begin().unwrap();
    let token = Key::OtherRsa.sign(&world.provider.header(), &world.claims(&asked));
    let refused = told(&world.finish_by(asked, &token));
    assert_eq!(refused, "id_token_invalid: the signature does not verify");
}
