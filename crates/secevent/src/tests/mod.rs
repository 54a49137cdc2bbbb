//! What is taken, what is refused, and what it means.

mod asking;
mod events;
mod messages;
mod subjects;
mod tokens;

use std::collections::BTreeSet;

use keys::{KeyAlgorithm, Signer as _, SigningKey};
use oauth::jwks::Algorithm;
use serde_json::{Value, json};

use crate::{Set, SetError, Transmitter, Unverified};

const ISSUER: &str = "https://idp.example.com/123456789/";
const AUDIENCE: &str = "https://sp.example.com/caep";

/// When the example of CAEP 1.0 was issued.
const ISSUED: i64 = 1_615_305_159;

/// A little later, in milliseconds.
const NOW: i64 = (ISSUED + 60) * 1_000;

/// The example of CAEP 1.0 §3.1.2: somebody's session was revoked.
fn session_revoked() -> Value {
    json!({
        "iss": ISSUER, "jti": "24c63fb56e5a2d77a6b512616ca9fa24", "iat": ISSUED, "aud": AUDIENCE,
        "txn": 8_675_309,
        "sub_id": {
            "format": "complex",
            "session": { "format": "opaque", "id": "dMTlD|1600802906337.16|16008.16" },
            "user": {
                "format": "iss_sub", "iss": ISSUER, "sub": "99beb27c-c1c2-4955-882a-e0dc4996fcbc",
            },
            "tenant": { "format": "opaque", "id": "123456789" },
        },
        "events": {
            "https://schemas.openid.net/secevent/caep/event-type/session-revoked": {
                "initiating_entity": "policy",
                "reason_admin": { "en": "Landspeed Policy Violation: C076E82F" },
                "event_timestamp": 1_615_304_991,
            },
        },
    })
}

/// The same claims, with `member` as `value`; without one, without it.
fn with(mut claims: Value, member: &str, value: Option<Value>) -> Value {
    let members = claims.as_object_mut().unwrap();
    match value {
        Some(value) => drop(members.insert(member.to_owned(), value)),
        None => drop(members.remove(member)),
    }
    claims
}

/// A transmitter with its key.
struct Signed {
    key: SigningKey,
    algorithms: BTreeSet<Algorithm>,
}

impl Signed {
    fn new() -> Self {
        let key = SigningKey::generate(KeyAlgorithm::Es256).unwrap();
        Self { key, algorithms: [Algorithm::Es256].into() }
    }

    fn of(&self) -> Transmitter<'_> {
        Transmitter { issuer: ISSUER, audience: AUDIENCE, algorithms: &self.algorithms }
    }

    fn sign(&self, typ: &str, claims: &Value) -> String {
        oauth::jws::sign(typ, claims, &self.key).unwrap()
    }

    fn take(&self, token: &str, now: i64) -> Result<Set, SetError> {
        let read = Unverified::read(token, self.of())?;
        assert_eq!(read.kid().unwrap(), Some(self.key.public().thumbprint_text().as_str()));
        read.verified_by(self.key.public(), now)
    }
}

/// What is read of `claims`, signed as they should be.
fn taken(claims: &Value) -> Result<Set, SetError> {
    let signed = Signed::new();
    signed.take(&signed.sign("secevent+jwt", claims), NOW)
}
