//! Who may ask a tool server anything: the gateway, and for a call only for what was decided.
//!
//! The assertion is an `at+jwt` (RFC 9068) of the gateway's, verified by the key set that it
//! publishes. Its audience must be exactly this server; for a call its digest must be that of the
//! arguments received, and its decision must not have been used before. So neither an agent's own
//! token nor an assertion that was overheard opens this door.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::Full;
use keys::VerifyingKey;
use model::ArgumentsDigest;
use serde_json::{Map, Value, json};

use crate::web;

/// The largest request, in bytes.
const REQUEST_MAX: usize = 1 << 20;

/// How long an assertion may be good for, in seconds.
const ASSERTION_LIFETIME_MAX_S: i64 = 60;

/// How far our clock and the gateway's may differ, in seconds.
const SKEW_S: i64 = 5;

/// The most decisions that are remembered as used.
const DECISIONS_MAX: usize = 100_000;

/// The decision behind a call that was let in.
#[derive(Clone, Debug)]
pub(super) struct Decision(pub(super) String);

/// Lets in what the gateway vouches for.
pub(super) struct Admission {
    issuer: String,
    audience: String,
    keys: RwLock<Vec<VerifyingKey>>,
    used: Mutex<BTreeSet<String>>,
}

/// Why somebody is not let in.
#[derive(Debug)]
struct Refused(String);

fn refused(why: impl Into<String>) -> Refused {
    Refused(why.into())
}

/// Passes a request on to the tools if it may be, else answers 401 (RFC 6750 §3).
pub(super) async fn check(
    State(admission): State<Arc<Admission>>,
    request: Request,
    next: Next,
) -> Response {
    match admission.admit(request).await {
        Ok(request) => next.run(request).await,
        Err(Refused(why)) => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")];
            (StatusCode::UNAUTHORIZED, challenge, format!("{why}\n")).into_response()
        }
    }
}

impl Admission {
    /// Lets in what `issuer` vouches for towards `audience`.
    pub(super) fn new(issuer: String, audience: String) -> Self {
        Self { issuer, audience, keys: RwLock::default(), used: Mutex::default() }
    }

    async fn admit(&self, request: Request) -> Result<Request, Refused> {
        let (mut parts, body) = request.into_parts();
        let assertion = bearer(&parts.headers)?.to_owned();
        let claims = self.verify(&assertion).await?;
        self.check_claims(&claims)?;
        let body = axum::body::to_bytes(body, REQUEST_MAX).await;
        let body = body.map_err(|_| refused("the request is too large"))?;
        if !body.is_empty() {
            // Read in one way only: what is checked here is what the tool will read.
            let message = json::parse(&body, json::Limits::of_bytes(REQUEST_MAX));
            let message = message.map_err(|error| refused(error.to_string()))?;
            if message["method"] == "tools/call" {
                parts.extensions.insert(self.check_call(&claims, &message)?);
            }
        }
        Ok(Request::from_parts(parts, Body::from(body)))
    }

    /// The claims of `assertion`, by a key that the gateway publishes.
    async fn verify(&self, assertion: &str) -> Result<Map<String, Value>, Refused> {
        if let Some(claims) = self.verified(assertion) {
            return Ok(claims);
        }
        // The gateway may not have run when we started, or may have a new key.
        let fetched = self.fetch_keys().await;
        fetched.map_err(|error| refused(format!("the gateway's keys: {error:#}")))?;
        self.verified(assertion).ok_or_else(|| refused("no key of the gateway's signed this"))
    }

    fn verified(&self, assertion: &str) -> Option<Map<String, Value>> {
        let keys = self.keys.read().expect("no panic while it is held");
        keys.iter().find_map(|key| oauth::jws::verify(assertion, "at+jwt", key).ok())
    }

    async fn fetch_keys(&self) -> anyhow::Result<()> {
        let request = http::Request::get(format!("{}/oauth/jwks", self.issuer));
        let answer = web::send(request.body(Full::new(Bytes::new()))?).await?.json();
        let published = answer["keys"].as_array().into_iter().flatten();
        let keys = published.filter_map(|jwk| VerifyingKey::from_jwk(jwk).ok()).collect();
        *self.keys.write().expect("no panic while it is held") = keys;
        Ok(())
    }

    fn check_claims(&self, claims: &Map<String, Value>) -> Result<(), Refused> {
        if claims.get("iss") != Some(&json!(self.issuer)) {
            return Err(refused("the assertion is not the gateway's"));
        }
        if claims.get("aud") != Some(&json!(self.audience)) {
            return Err(refused("the assertion is for another server"));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let left = claims.get("exp").and_then(Value::as_i64).unwrap_or_default()
            - i64::try_from(now).unwrap_or(i64::MAX);
        if left <= 0 || left > ASSERTION_LIFETIME_MAX_S + SKEW_S {
            return Err(refused("the assertion has expired, or lasts too long"));
        }
        Ok(())
    }

    /// The decision behind a call of exactly these arguments, which is used up.
    fn check_call(
        &self,
        claims: &Map<String, Value>,
        message: &Value,
    ) -> Result<Decision, Refused> {
        let said = claims.get("chancery").cloned().unwrap_or_default();
        let decision = said["decision_id"].as_str();
        let decision = decision.ok_or_else(|| refused("no decision stands behind this call"))?;
        let arguments = message.pointer("/params/arguments").cloned();
        let arguments = arguments.unwrap_or_else(|| json!({}));
        let digest = ArgumentsDigest::of(&json::canonical(&arguments));
        if said["args_digest"] != json!(digest) {
            return Err(refused("other arguments were decided on"));
        }
        let mut used = self.used.lock().expect("no panic while it is held");
        if used.len() >= DECISIONS_MAX {
            return Err(refused("too many calls for a demo"));
        }
        if !used.insert(decision.to_owned()) {
            return Err(refused("the decision was used before"));
        }
        Ok(Decision(decision.to_owned()))
    }
}

/// The token of the one `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Result<&str, Refused> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(refused("not one assertion of the gateway's is shown"));
    };
    let value = value.to_str().map_err(|_| refused("the assertion is not text"))?;
    value.strip_prefix("Bearer ").ok_or_else(|| refused("the assertion is not a bearer token"))
}

#[cfg(test)]
mod tests {
    use keys::{KeyAlgorithm, SigningKey};

    use super::*;

    const ISSUER: &str = "http://127.0.0.1:1";
    const AUDIENCE: &str = "http://127.0.0.1:2/mcp";

    fn arguments() -> Value {
        json!({ "cents": 100, "order": "A-1" })
    }

    /// The claims of an assertion that opens the door, once.
    fn claims(decision: &str) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let digest = ArgumentsDigest::of(&json::canonical(&arguments()));
        json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "exp": now + 60,
            "chancery": { "decision_id": decision, "args_digest": digest },
        })
    }

    fn door() -> (Admission, SigningKey) {
        let key = SigningKey::generate(KeyAlgorithm::Es256).unwrap();
        let admission = Admission::new(ISSUER.to_owned(), AUDIENCE.to_owned());
        admission.keys.write().unwrap().push(key.verifying().clone());
        (admission, key)
    }

    fn call(assertion: &str, arguments: &Value) -> Request {
        let params = json!({ "name": "refund", "arguments": arguments });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let request = Request::post("/mcp").header("authorization", format!("Bearer {assertion}"));
        request.body(Body::from(body.to_string())).unwrap()
    }

    /// What a call is told that shows `claims` and comes with `arguments`: nothing if it is let in.
    async fn told(claims: &Value, arguments: &Value) -> String {
        let (admission, key) = door();
        let assertion = oauth::jws::sign("at+jwt", claims, &key).unwrap();
        match admission.admit(call(&assertion, arguments)).await {
            Ok(request) => {
                assert!(request.extensions().get::<Decision>().is_some());
                String::new()
            }
            Err(Refused(why)) => why,
        }
    }

    #[tokio::test]
    async fn it_opens_for_what_was_decided_and_for_nothing_else() {
        assert_eq!(told(&claims("dec_1"), &arguments()).await, "");
        let reordered: Value = serde_json::from_str(r#"{"order":"A-1","cents":1e2}"#).unwrap();
        assert_eq!(told(&claims("dec_1"), &reordered).await, "", "the same arguments");
        let other = json!({ "cents": 101, "order": "A-1" });
        assert_eq!(told(&claims("dec_1"), &other).await, "other arguments were decided on");
        let expired = "the assertion has expired, or lasts too long";
        for (member, value, why) in [
            ("aud", json!("http://127.0.0.1:3/mcp"), "the assertion is for another server"),
            ("aud", json!([AUDIENCE]), "the assertion is for another server"),
            ("iss", json!("http://127.0.0.1:9"), "the assertion is not the gateway's"),
            ("exp", json!(1), expired),
            ("exp", json!(4_102_444_800_i64), expired),
            ("exp", Value::Null, expired),
            ("chancery", json!({}), "no decision stands behind this call"),
            ("chancery", json!({ "decision_id": "dec_1" }), "other arguments were decided on"),
        ] {
            let mut claims = claims("dec_1");
            claims[member] = value;
            assert_eq!(told(&claims, &arguments()).await, why, "{member}");
        }
    }

    #[tokio::test]
    async fn a_decision_opens_it_once() {
        let (admission, key) = door();
        let assertion = oauth::jws::sign("at+jwt", &claims("dec_1"), &key).unwrap();
        assert!(admission.admit(call(&assertion, &arguments())).await.is_ok());
        let again = admission.admit(call(&assertion, &arguments())).await;
        assert_eq!(again.unwrap_err().0, "the decision was used before");
    }

    #[tokio::test]
    async fn another_key_opens_nothing() {
        let (admission, _) = door();
        let thief = SigningKey::generate(KeyAlgorithm::Es256).unwrap();
        let forged = oauth::jws::sign("at+jwt", &claims("dec_1"), &thief).unwrap();
        // Nobody answers at the issuer's address, so no other key can be found.
        assert!(admission.admit(call(&forged, &arguments())).await.is_err());
        let of_another_type = oauth::jws::sign("JWT", &claims("dec_1"), &thief).unwrap();
        assert!(admission.admit(call(&of_another_type, &arguments())).await.is_err());
    }

    #[tokio::test]
    async fn without_an_assertion_nothing_is_read() {
        let (admission, _) = door();
        let bare = Request::post("/mcp").body(Body::from("{}")).unwrap();
        let refused = admission.admit(bare).await.unwrap_err();
        assert_eq!(refused.0, "not one assertion of the gateway's is shown");
    }
}
