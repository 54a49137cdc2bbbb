//! Keys that sign events: what they are, where they lie, and that they are keys for nothing else.

use std::fs;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use keys::{
    EventKey, EventPublicKey, JwkError, KeyAlgorithm, KeyError, KeyRing, KeyRingError, RetiredKey,
    SigningKey, TokenKeys, VerifyingKey, keep_event_key, keep_token_key, make_event_key,
    read_event_key, read_token_key, remove_event_key,
};
use serde_json::json;

/// RSA keys take long to make, so all tests have the same.
static KEY: LazyLock<EventKey> = LazyLock::new(|| EventKey::generate().unwrap());

fn kid() -> String {
    KEY.public().thumbprint_text()
}

#[test]
fn what_it_signs_others_verify_by_its_jwk() {
    let jwk = KEY.public().to_jwk();
    let member = |name: &str| keys::from_base64url(jwk[name].as_str().unwrap()).unwrap();
    let public = RsaPublicKeyComponents { n: member("n"), e: member("e") };
    let verified = |message: &[u8], signature: &[u8]| {
        public.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
    };
    let signature = KEY.sign(b"message").unwrap();
    assert_eq!((signature.len(), member("n").len() * 8), (256, 2048));
    assert!(verified(b"message", &signature));
    assert!(!verified(b"massage", &signature));
}

#[test]
fn the_thumbprint_of_rfc_7638_3_1() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECP\
             ebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY3\
             68QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4\
             lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let jwk = json!({ "e": "AQAB", "kty": "RSA", "n": n });
    let key = EventPublicKey::from_jwk(&jwk).unwrap();
    assert_eq!(key.thumbprint_text(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    assert_eq!(key.to_jwk(), jwk);
    // What is not written as we write it is none: fewer bits, another exponent.
    for (name, value) in [("n", &n[..340]), ("e", "Aw"), ("kty", "EC")] {
        let mut other = jwk.clone();
        other[name] = value.into();
        assert_eq!(EventPublicKey::from_jwk(&other), None, "{name}");
    }
}

/// Whatever is done with such a key, no token of ours comes of it, and nothing verifies by it.
#[test]
fn a_key_that_signs_events_is_no_key_of_tokens() {
    let pem = KEY.to_pem().unwrap();
    assert_eq!(SigningKey::from_pem(&pem).unwrap_err(), KeyError::Unsupported);
    assert_eq!(VerifyingKey::from_jwk(&KEY.public().to_jwk()), Err(JwkError::Unsupported));
    assert_eq!(EventKey::from_pem(&pem).unwrap().public(), KEY.public());
    let signer = SigningKey::generate(KeyAlgorithm::Es256).unwrap();
    let of_tokens = signer.verifying().thumbprint_text();
    assert_eq!(EventKey::from_pem(&signer.to_pem().unwrap()).unwrap_err(), KeyError::Unsupported);
    let keys = TokenKeys::new(Arc::new(signer), Vec::new());
    assert!(keys.event_signer().is_none() && !keys.lists(&kid(), 0));
    let other = EventKey::generate().unwrap();
    let retired = RetiredKey { key: other.public().clone(), until: 100 };
    let key = EventKey::from_pem(&pem).unwrap();
    keys.replace_for_events(Arc::new(key), vec![retired]);
    let other = other.public().thumbprint_text();
    for kid in [&kid(), &other] {
        assert_eq!(keys.find(kid, 0), None);
        assert!(keys.lists(kid, 99));
    }
    assert!(keys.lists(&kid(), 100) && !keys.lists(&other, 100) && keys.lists(&of_tokens, 100));
    let listed = |now: i64| {
        let jwks = keys.jwks(now);
        let all = jwks["keys"].as_array().unwrap().iter();
        let named = all.map(|jwk| (jwk["kid"].clone(), jwk["alg"].clone(), jwk["use"].clone()));
        named.collect::<Vec<_>>()
    };
    let as_listed = |kid: &str, alg: &str| (json!(kid), json!(alg), json!("sig"));
    let current = [as_listed(&of_tokens, "ES256"), as_listed(&kid(), "RS256")];
    assert_eq!(listed(99), [&current[..], &[as_listed(&other, "RS256")]].concat());
    assert_eq!(listed(100), current);
    assert!(!keys.jwks(0).to_string().contains("\"d\""));
}

#[test]
fn it_lies_in_a_file_of_its_own_that_others_do_not_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    KeyRing::create(&path, [7; 32]).unwrap();
    let files = || {
        let names = fs::read_dir(&path).unwrap().map(|file| file.unwrap().file_name());
        let names = names.map(|name| name.into_string().unwrap());
        names.filter(|name| name.starts_with("event")).collect::<Vec<_>>()
    };
    assert!(files().is_empty(), "it is made when it is needed");
    let made = make_event_key(&path).unwrap();
    let kid = made.public().thumbprint_text();
    let file = format!("event-{kid}.pem");
    assert_eq!(files(), [file.as_str()]);
    let access = fs::metadata(path.join(&file)).unwrap().permissions().mode() & 0o777;
    assert_eq!(access, 0o600);
    assert_eq!(read_event_key(&path, &kid).unwrap().public(), made.public());
    // Which other keys stay, of either kind, is no concern of the other.
    keep_token_key(&path, None).unwrap();
    let unused = make_event_key(&path).unwrap().public().thumbprint_text();
    keep_event_key(&path, Some(&kid)).unwrap();
    assert_eq!(files(), [file.as_str()]);
    assert!(matches!(remove_event_key(&path, &unused), Err(KeyRingError::Unwritable { .. })));
    fs::copy(path.join("token.pem"), path.join(format!("event-{unused}.pem"))).unwrap();
    assert!(matches!(read_event_key(&path, &unused), Err(KeyRingError::Unfit { .. })));
    fs::set_permissions(path.join(&file), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(read_event_key(&path, &kid), Err(KeyRingError::Exposed { .. })));
    keep_event_key(&path, None).unwrap();
    assert!(files().is_empty());
    assert!(read_token_key(&path, None).is_ok());
}

#[test]
fn it_does_not_print_its_private_half() {
    let (pem, shown) = (KEY.to_pem().unwrap(), format!("{:?}", *KEY));
    assert!(shown.contains(&kid()), "{shown}");
    for line in pem.lines().filter(|line| !line.starts_with('-')) {
        assert!(!shown.contains(line), "{shown}");
    }
}
