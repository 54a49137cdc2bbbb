//! The token endpoint's forms: what may be asked, read strictly.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::access_token::AgentTask;
use crate::client_assertion;
use crate::error::{ErrorCode, OAuthError};
use crate::initiation;

/// The largest form, in bytes.
pub const FORM_MAX: usize = 16 * 1024;

/// How long an `attempt` is, in bytes: at least 128 bits in base64url.
const ATTEMPT: std::ops::RangeInclusive<usize> = 22..=128;

/// The most parameters of one form.
const PARAMETERS_MAX: usize = 32;

/// A request for a token: by `client_credentials` (RFC 6749 §4.4), or by an initiation (RFC 7523
/// §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// The agent.
    pub client_id: String,
    /// Its assertion (RFC 7523).
    pub client_assertion: String,
    /// The one service that the token is for (RFC 8707).
    pub resource: String,
    /// What a system signed to start the work; none for work on the sponsor's standing mandate, or
    /// that was started already.
    pub initiation: Option<String>,
    /// What for, where the agent has several purposes.
    pub purpose: Option<String>,
    /// Which token it follows; none for a client that knows nothing of that.
    pub renewal: Option<Renewal>,
    /// What its host said of the process that asks.
    pub voucher: Option<String>,
}

/// Which token of its instance a request follows (docs/instances.md).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// A value that the client made for this renewal, and repeats if it has to ask again.
    pub attempt: String,
    /// The last token that it was given; none before the first.
    pub previous: Option<Previous>,
}

/// The token before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Its id.
    pub jti: String,
    /// The nonce that came with it.
    pub nonce: String,
}

/// A token, as it is answered (RFC 6749 §5.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenResponse {
    /// The token.
    pub access_token: String,
    /// Always `DPoP`.
    pub token_type: String,
    /// For how many seconds it is good.
    pub expires_in: i64,
    /// The task that it belongs to (RFC 9396 §7).
    pub authorization_details: Vec<AgentTask>,
    /// What the next renewal has to name, for a client that knows of that.
    #[serde(flatten)]
    pub next: Option<Next>,
}

/// What the next renewal has to name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Next {
    /// The id of the token.
    pub jti: String,
    /// Good for one renewal.
    pub renewal_nonce: String,
}

/// Reads the form of a token request. A parameter that stands twice is refused (RFC 6749 §3.2).
pub fn parse(form: &[u8]) -> Result<TokenRequest, OAuthError> {
    let invalid = |why: &str| OAuthError::new(ErrorCode::InvalidRequest, why);
    if form.len() > FORM_MAX {
        return Err(invalid("the form is too large"));
    }
    let mut parameters = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(form) {
        if parameters.len() >= PARAMETERS_MAX {
            return Err(invalid("the form has too many parameters"));
        }
        // Whatever is not UTF-8 arrives as the replacement character: two forms could be one.
        if [&name, &value].iter().any(|text| text.contains(char::REPLACEMENT_CHARACTER)) {
            return Err(invalid("the form is not UTF-8"));
        }
        if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
            return Err(invalid("a parameter stands twice"));
        }
    }
    let mut take = |name: &str| parameters.remove(name).filter(|value| !value.is_empty());
    let missing = |name: &str| invalid(&format!("`{name}` is missing"));
    let initiation = match take("grant_type").as_deref() {
        Some("client_credentials") if take("assertion").is_some() => {
            return Err(invalid("`assertion` belongs to another grant type"));
        }
        Some("client_credentials") => None,
        Some(initiation::GRANT_TYPE) => {
            Some(take("assertion").ok_or_else(|| missing("assertion"))?)
        }
        _ => {
            let why = "the grant type is not one that is offered";
            return Err(OAuthError::new(ErrorCode::UnsupportedGrantType, why));
        }
    };
    if take("client_assertion_type").as_deref() != Some(client_assertion::TYPE) {
        let why = "the client must authenticate with private_key_jwt";
        return Err(OAuthError::new(ErrorCode::InvalidClient, why));
    }
    if take("client_secret").is_some() {
        return Err(invalid("the client must authenticate in one way only"));
    }
    let renewal = renewal([take("attempt"), take("previous_jti"), take("renewal_nonce")])?;
    let client_assertion = take("client_assertion").ok_or_else(|| missing("client_assertion"))?;
    // It may be left out beside an assertion, which names the client too (RFC 7521 §4.2).
    let named = take("client_id").or_else(|| client_assertion::claimed(&client_assertion));
    Ok(TokenRequest {
        client_id: named.ok_or_else(|| missing("client_id"))?,
        client_assertion,
        resource: take("resource").ok_or_else(|| missing("resource"))?,
        initiation,
        purpose: take("purpose"),
        renewal,
        voucher: take("voucher"),
    })
}

/// Which token is followed, if that is said, and said whole.
fn renewal([attempt, jti, nonce]: [Option<String>; 3]) -> Result<Option<Renewal>, OAuthError> {
    let previous = match (jti, nonce) {
        (Some(jti), Some(nonce)) => Some(Previous { jti, nonce }),
        (None, None) => None,
        _ => {
            let why = "`previous_jti` and `renewal_nonce` go together";
            return Err(OAuthError::new(ErrorCode::InvalidRequest, why));
        }
    };
    match attempt {
        Some(attempt) if ATTEMPT.contains(&attempt.len()) => {
            Ok(Some(Renewal { attempt, previous }))
        }
        None if previous.is_none() => Ok(None),
        _ => {
            let why = "a renewal has an `attempt` of 22 to 128 characters";
            Err(OAuthError::new(ErrorCode::InvalidRequest, why))
        }
    }
}

/// The form with these parameters, for clients.
pub fn form(parameters: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(client_id: Option<&str>, assertion: &str, expected: Option<&str>) {
        let mut all = vec![
            ("grant_type", "client_credentials"),
            ("client_assertion_type", client_assertion::TYPE),
            ("client_assertion", assertion),
            ("resource", "https://g/mcp/s"),
        ];
        all.extend(client_id.map(|id| ("client_id", id)));
        let parsed = parse(form(&all).as_bytes()).map(|parsed| parsed.client_id);
        assert_eq!(parsed.ok().as_deref(), expected, "{client_id:?} {assertion}");
    }

    #[test]
    fn an_assertion_names_the_client_where_the_form_does_not() {
        // {"alg":"ES256"}.{"sub":"bot"}: whom it names is only a claim until it is verified.
        let assertion = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJib3QifQ.AAAA";
        check(None, assertion, Some("bot"));
        check(Some("bot"), assertion, Some("bot"));
        check(Some("other"), assertion, Some("other"));
        check(None, "not an assertion", None);
        check(None, "eyJhbGciOiJFUzI1NiJ9.e30.AAAA", None);
    }
}
