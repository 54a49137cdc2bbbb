//! Tokens for shared signals (RFC 6749 §4.4, as CAEP's interoperability profile wants them): how a receiver of
//! ours asks for one, and what a transmitter's token endpoint answers us.

use keys::Secret;
use serde_json::Value;

use crate::error::{ErrorCode, OAuthError};
use crate::form::{Client, Parameters, Signed};

/// The scope by which a receiver reads its stream, and polls it.
pub const READ: &str = "ssf.read";

/// The scope by which it manages its stream too.
pub const MANAGE: &str = "ssf.manage";

/// What every scope for shared signals begins with.
const PREFIX: &str = "ssf.";

/// The longest token that is taken, in bytes.
const TOKEN_MAX: usize = 8 << 10;

/// How an endpoint's answer is read.
const LIMITS: json::Limits = json::Limits { bytes: 64 << 10, depth: 16 };

/// Why a token endpoint gives no token (RFC 6749 §5.2).
const REFUSALS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// A receiver's request for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverRequest {
    /// Who asks.
    pub client: Client,
    /// Where the token is to count (RFC 8707), if that is said.
    pub resource: Option<String>,
    /// Whether it is to manage the stream.
    pub manages: bool,
}

/// What a receiver asks for a token with: none but they ask for a scope for shared signals. Of a form that is
/// another's nothing is taken.
pub(crate) fn asked(form: &mut Parameters) -> Result<Option<ReceiverRequest>, OAuthError> {
    if form.get("grant_type") != Some("client_credentials") {
        return Ok(None);
    }
    let scope = form.get("scope").unwrap_or_default().to_owned();
    let scopes: Vec<_> = scope.split(' ').collect();
    if !scopes.iter().any(|scope| scope.starts_with(PREFIX)) {
        return Ok(None);
    }
    if scopes.iter().any(|scope| ![READ, MANAGE].contains(scope)) {
        let why = "the scopes of a receiver are `ssf.read` and `ssf.manage`";
        return Err(OAuthError::new(ErrorCode::InvalidScope, why));
    }
    let client = form.client()?;
    if client.by != Signed::Key {
        let why = "a receiver authenticates with private_key_jwt";
        return Err(OAuthError::new(ErrorCode::InvalidClient, why));
    }
    let manages = scopes.contains(&MANAGE);
    Ok(Some(ReceiverRequest { client, resource: form.take("resource"), manages }))
}

/// A token that a transmitter's token endpoint gave.
#[derive(Debug)]
pub struct Granted {
    /// The token.
    pub token: Secret<String>,
    /// For how many seconds it counts, if that is said; what cannot be read is no time.
    pub lasts_s: Option<u64>,
}

/// What a token endpoint answered is no bearer token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer holds no bearer token (RFC 6749 §5.1)")]
pub struct NotGranted;

/// Reads what a token endpoint answered.
pub fn granted(answer: &[u8]) -> Result<Granted, NotGranted> {
    let answer = json::parse(answer, LIMITS).map_err(|_| NotGranted)?;
    let is_bearer = |kind: &str| kind.eq_ignore_ascii_case("bearer");
    let token = answer["access_token"].as_str().filter(|token| is_token(token));
    match (token, answer["token_type"].as_str()) {
        (Some(token), Some(kind)) if is_bearer(kind) => {
            let lasts_s = answer.get("expires_in").map(|said| said.as_u64().unwrap_or(0));
            Ok(Granted { token: Secret::new(token.to_owned()), lasts_s })
        }
        _ => Err(NotGranted),
    }
}

/// Why a token endpoint gave no token, if it says so by a code that is known: of what else it says, nothing is
/// told on.
pub fn refusal(answer: &[u8]) -> Option<&'static str> {
    let answer = json::parse(answer, LIMITS).ok()?;
    let said = answer.get("error").and_then(Value::as_str)?;
    REFUSALS.into_iter().find(|known| *known == said)
}

/// Whether `text` can be shown as a bearer token (RFC 6750 §2.1).
fn is_token(text: &str) -> bool {
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    (1..=TOKEN_MAX).contains(&text.len()) && text.bytes().all(is_of_token)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{client_assertion, device, form};

    #[test]
    fn who_asks_for_a_scope_for_signals_is_a_receiver_and_nothing_else() {
        let check = |pairs: &[(&str, &str)], expected: Result<Option<bool>, ErrorCode>| {
            let shown = [("client_id", "siem"), ("client_assertion", "a.b.c")];
            let kind = [("client_assertion_type", client_assertion::TYPE)];
            let is_said = pairs.iter().any(|(name, _)| *name == "client_assertion_type");
            let kind = if is_said { &[][..] } else { &kind[..] };
            let form = form::form(&[&shown[..], kind, pairs].concat());
            let told = Parameters::read(form.as_bytes()).and_then(|mut form| asked(&mut form));
            let told = told.map(|asked| asked.map(|it| it.manages)).map_err(|error| error.code);
            assert_eq!(told, expected, "{pairs:?}");
        };
        let own = ("grant_type", "client_credentials");
        check(&[own, ("scope", READ)], Ok(Some(false)));
        check(&[own, ("scope", "ssf.read ssf.manage")], Ok(Some(true)));
        check(&[own, ("scope", MANAGE), ("resource", "x")], Ok(Some(true)));
        check(&[own], Ok(None));
        check(&[own, ("scope", "")], Ok(None));
        check(&[own, ("scope", "crm/read")], Ok(None));
        check(&[("grant_type", "authorization_code"), ("scope", READ)], Ok(None));
        check(&[own, ("scope", "ssf.admin")], Err(ErrorCode::InvalidScope));
        check(&[own, ("scope", "ssf.read crm/read")], Err(ErrorCode::InvalidScope));
        check(&[own, ("scope", "ssf.read  ssf.manage")], Err(ErrorCode::InvalidScope));
        check(&[own, ("scope", READ), ("scope", MANAGE)], Err(ErrorCode::InvalidRequest));
        let device = ("client_assertion_type", device::TYPE);
        check(&[own, ("scope", READ), device], Err(ErrorCode::InvalidClient));
        check(&[own, ("scope", READ), ("client_secret", "x")], Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn a_bearer_token_is_taken_and_nothing_that_could_say_more() {
        let check = |answer: Value, expected: Result<Option<u64>, NotGranted>| {
            let told = granted(answer.to_string().as_bytes()).map(|granted| granted.lasts_s);
            assert_eq!(told, expected, "{answer}");
        };
        let with = |name: &str, value: Value| {
            let mut answer = json!({ "access_token": "a.b-c", "token_type": "Bearer" });
            answer[name] = value;
            answer
        };
        check(with("expires_in", json!(300)), Ok(Some(300)));
        check(with("token_type", json!("bearer")), Ok(None));
        for odd in [json!(0), json!(-1), json!("300"), json!(1.5), Value::Null] {
            check(with("expires_in", odd), Ok(Some(0)));
        }
        check(with("expires_in", json!(1_000_000_000_000_u64)), Ok(Some(1_000_000_000_000)));
        for odd in [json!("DPoP"), json!("N_A"), Value::Null] {
            check(with("token_type", odd), Err(NotGranted));
        }
        for odd in ["", "a b", "a\r\nx-more: 1", "é"] {
            check(with("access_token", json!(odd)), Err(NotGranted));
        }
        check(with("access_token", json!("a".repeat(TOKEN_MAX))), Ok(None));
        check(with("access_token", json!("a".repeat(TOKEN_MAX + 1))), Err(NotGranted));
        check(json!([]), Err(NotGranted));
        assert_eq!(granted(b"access_token=a").map(drop), Err(NotGranted));
        let twice = br#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#;
        assert_eq!(granted(twice).map(drop), Err(NotGranted));
    }

    #[test]
    fn of_a_refusal_no_more_is_told_on_than_its_code() {
        let check = |answer: &str, expected| assert_eq!(refusal(answer.as_bytes()), expected);
        check(r#"{"error":"invalid_client","error_description":"s3cret"}"#, Some("invalid_client"));
        check(r#"{"error":"s3cret"}"#, None);
        check("s3cret", None);
    }
}
