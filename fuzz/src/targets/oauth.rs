//! OAuth and keys: tokens, proofs, assertions, forms, JWK, PEM.
//!
//! Nobody here has a private key while an input is tried: what verifies was signed before, and is
//! an example, byte for byte.

use std::sync::{Arc, LazyLock};

use keys::{KeyAlgorithm, RetiredKey, SigningKey, TokenKeys, VerifyingKey};
use oauth::dpop::{DpopExpect, verify_proof};
use oauth::initiation::{self, AskedTask};
use oauth::token_endpoint::{self, Grant};
use oauth::{access_token, client_assertion, device, exchange, jws, people, signals, word};
use serde_json::json;

use crate::corpus;

/// The key of RFC 8037 A.1, by which the examples of tokens are signed.
static KEY: LazyLock<VerifyingKey> = LazyLock::new(|| {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
    VerifyingKey::from_jwk(&jwk).expect("the key of an RFC")
});

/// The time at which the examples of tokens hold, in seconds since the epoch.
const NOW: i64 = 1_764_000_000;

const ISSUER: &str = "https://chancery.example";
const AUDIENCE: &str = "https://chancery.example/mcp/payments";

/// Panics if `token`, which was taken, is not one of the examples of the target `name`.
fn assert_is_example(name: &str, token: &str) {
    let known = corpus(name).iter().any(|example| example == token.as_bytes());
    assert!(known, "a token is taken that nobody signed: {token}");
}

/// A compact JWS by a known key.
pub fn token(bytes: &[u8]) -> bool {
    let Some(token) = super::text(bytes) else { return false };
    let holds = jws::verify(token, "", &KEY).is_ok();
    if holds {
        assert_is_example("jws", token);
    }
    holds
}

/// A compact JWS of another issuer's.
pub fn foreign(bytes: &[u8]) -> bool {
    let Some(token) = super::text(bytes) else { return false };
    let read = jws::Foreign::read(token, &["JWT"]);
    let holds = read.and_then(|read| read.verified_by(&*KEY)).is_ok();
    if holds {
        assert_is_example("foreign-jws", token);
    }
    holds
}

/// An access token.
pub fn access(bytes: &[u8]) -> bool {
    static KEYS: LazyLock<TokenKeys> = LazyLock::new(|| {
        let signer = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        let listed = RetiredKey { key: KEY.clone(), until: i64::MAX };
        TokenKeys::new(Arc::new(signer), vec![listed])
    });
    let Some(token) = super::text(bytes) else { return false };
    let holds = access_token::verify(token, &KEYS, (ISSUER, AUDIENCE), NOW).is_ok();
    if holds {
        assert_is_example("access-token", token);
    }
    holds
}

/// A client assertion.
pub fn assertion(bytes: &[u8]) -> bool {
    let Some(token) = super::text(bytes) else { return false };
    let holds = client_assertion::verify(token, ("support-bot", ISSUER), &KEY, NOW).is_ok();
    if holds {
        assert_is_example("client-assertion", token);
    }
    holds
}

/// What a system signed to start work.
pub fn initiation(bytes: &[u8]) -> bool {
    let Some(token) = super::text(bytes) else { return false };
    let holds = initiation::verify(token, ("portal", ISSUER), &KEY, NOW).is_ok();
    if holds {
        assert_is_example("initiation", token);
    }
    holds
}

/// What a device signed for an instance.
pub fn enrolment(bytes: &[u8]) -> bool {
    let Some(token) = super::text(bytes) else { return false };
    let holds = device::verify(token, ("support-bot", ISSUER), &KEY, NOW).is_ok();
    if holds {
        assert_is_example("enrolment", token);
    }
    holds
}

/// A list of people, as a directory signed it.
pub fn people(bytes: &[u8]) -> bool {
    let Some(list) = super::text(bytes) else { return false };
    let holds = people::verify(list, ("hr", ISSUER), &KEY, NOW).is_ok();
    if holds {
        assert_is_example("people", list);
    }
    holds
}

/// The word of an administrator.
pub fn word(bytes: &[u8]) -> bool {
    let Some(word) = super::text(bytes) else { return false };
    let holds = word::verify(word, ("alice", ISSUER), &KEY, NOW).is_ok();
    if holds {
        assert_is_example("word", word);
    }
    holds
}

/// A proof of possession, which brings its own key: that of RFC 9449, or nobody's.
pub fn proof(bytes: &[u8]) -> bool {
    let Some(proof) = super::text(bytes) else { return false };
    let expect = DpopExpect {
        method: "GET",
        url: "https://resource.example.org/protectedresource",
        access_token: Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"),
        now: 1_562_262_618,
        max_skew_s: 60,
    };
    let holds = verify_proof(proof, &expect).is_ok();
    if holds {
        assert_is_example("dpop-proof", proof);
    }
    holds
}

/// The form of a token request: what is read and written again is read the same.
pub fn form(bytes: &[u8]) -> bool {
    let Ok(read) = token_endpoint::parse(bytes) else { return false };
    let task = |task: &AskedTask| ("authorization_details", serde_json::json!([task]).to_string());
    let exchanged = |token: &str, kind: &str| {
        vec![
            ("grant_type", exchange::GRANT_TYPE.to_owned()),
            ("subject_token", token.to_owned()),
            ("subject_token_type", kind.to_owned()),
        ]
    };
    let mut parameters = match &read.grant {
        Grant::ClientCredentials => vec![("grant_type", "client_credentials".to_owned())],
        Grant::Initiation(assertion) => vec![
            ("grant_type", initiation::GRANT_TYPE.to_owned()),
            ("assertion", assertion.clone()),
        ],
        Grant::Consent(request_uri) => vec![
            ("grant_type", oauth::consent::GRANT_TYPE.to_owned()),
            ("request_uri", request_uri.clone()),
        ],
        Grant::Resume(task) => {
            vec![("grant_type", token_endpoint::RESUME.to_owned()), ("task", task.clone())]
        }
        Grant::TakeUp(delegation) => exchanged(delegation, exchange::DELEGATION),
        Grant::Delegate { subject_token, may_act, task: asked } => {
            let mut all = exchanged(subject_token, exchange::ACCESS_TOKEN);
            all.push(("requested_token_type", exchange::DELEGATION.to_owned()));
            all.push(("may_act", serde_json::json!(may_act).to_string()));
            all.push(task(asked));
            all
        }
        Grant::Bare(subject_token) => exchanged(subject_token, exchange::ACCESS_TOKEN),
        Grant::HandOver { subject_token, actor_token, actor_proof, task: asked } => {
            let mut all = exchanged(subject_token, exchange::ACCESS_TOKEN);
            all.push(("actor_token", actor_token.clone()));
            all.push(("actor_token_type", exchange::JWT.to_owned()));
            all.push(("actor_proof", actor_proof.clone()));
            all.push(task(asked));
            all
        }
    };
    parameters.extend([
        ("client_assertion_type", client_assertion::TYPE.to_owned()),
        ("client_id", read.client.id.clone()),
        ("client_assertion", read.client.assertion.clone()),
        ("resource", read.resource.clone().unwrap_or_default()),
        ("purpose", read.purpose.clone().unwrap_or_default()),
        ("voucher", read.voucher.clone().unwrap_or_default()),
    ]);
    if let Some(renewal) = &read.renewal {
        parameters.push(("attempt", renewal.attempt.clone()));
        if let Some(previous) = &renewal.previous {
            parameters.push(("previous_jti", previous.jti.clone()));
            parameters.push(("renewal_nonce", previous.nonce.clone()));
        }
    }
    let parameters: Vec<_> =
        parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let written = oauth::form::form(&parameters);
    // What has to be escaped may not fit any more.
    if written.len() <= oauth::form::FORM_MAX {
        assert_eq!(token_endpoint::parse(written.as_bytes()), Ok(read));
    }
    true
}

/// A public key: what is read is written as the same key.
pub fn jwk(bytes: &[u8]) -> bool {
    let Ok(value) = json::parse(bytes, json::Limits::default()) else { return false };
    let Ok(key) = VerifyingKey::from_jwk(&value) else { return false };
    let written = key.to_jwk();
    for private in ["d", "k", "p", "q"] {
        assert!(value.get(private).is_none() && written.get(private).is_none());
    }
    assert_eq!(written["x"], value["x"], "a coordinate has one spelling");
    let again = VerifyingKey::from_jwk(&written).expect("what is written is read");
    assert_eq!((again.thumbprint(), &again), (key.thumbprint(), &key));
    assert!(!key.verify(bytes, &[0; 64]) && !key.verify(bytes, &[]));
    true
}

/// A private key in a file: what is read is written as the same key.
pub fn pem(bytes: &[u8]) -> bool {
    let Some(text) = super::text(bytes) else { return false };
    let Ok(key) = SigningKey::from_pem(text) else { return false };
    let written = key.to_pem().expect("a key is written");
    let again = SigningKey::from_pem(&written).expect("what is written is read");
    assert_eq!(again.verifying(), key.verifying());
    true
}

/// What a transmitter's token endpoint answers: a token that is taken is shown in one header, and says nothing
/// beside; what refuses one gives no token.
pub fn answer(bytes: &[u8]) -> bool {
    let refusal = signals::refusal(bytes);
    let Ok(granted) = signals::granted(bytes) else { return refusal.is_some() };
    let token = granted.token.expose();
    assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()), "{token}");
    true
}
