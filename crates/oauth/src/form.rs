//! Forms that clients send (`application/x-www-form-urlencoded`), read strictly and in one way, and
//! how a client says in them who it is.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{ErrorCode, OAuthError};
use crate::{client_assertion, device};

/// The largest form, in bytes.
pub const FORM_MAX: usize = 16 * 1024;

/// How deep a parameter in JSON may nest.
const JSON_DEPTH_MAX: usize = 8;

/// The most parameters of one form.
const PARAMETERS_MAX: usize = 32;

/// Who asks, by an assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The agent.
    pub id: String,
    /// Its assertion.
    pub assertion: String,
    /// Who signed that.
    pub by: Signed,
}

/// Who signed a client's assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// The client's registered key (`private_key_jwt`, RFC 7523 §2.2).
    Key,
    /// A SPIFFE trust domain: it is a JWT-SVID (draft-ietf-oauth-spiffe-client-auth §3.1).
    TrustDomain,
    /// A device that a person enrolled: it is an enrolment.
    Device,
}

impl Client {
    /// Who a form of whatever kind says that it is from.
    pub fn claimed(form: &[u8]) -> Option<Self> {
        Parameters::read(form).ok()?.client().ok()
    }
}

/// The parameters in which credentials are shown.
const CREDENTIALS: [&str; 5] =
    ["actor_token", "assertion", "client_assertion", "subject_token", "workload_token"];

/// The credentials that a form of whatever kind shows.
pub fn credentials(form: &[u8]) -> Vec<String> {
    let parameters = Parameters::read(form).ok();
    parameters
        .into_iter()
        .flat_map(|mut all| CREDENTIALS.map(|it| all.take(it)))
        .flatten()
        .collect()
}

/// The `client_id` in a form or a query of whatever kind.
pub fn claimed_id(form: &[u8]) -> Option<String> {
    Parameters::read(form).ok()?.take("client_id")
}

/// The form with these parameters, for clients.
pub fn form(parameters: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// What is told of the parameter `name` that is in JSON and not as it should be.
pub(crate) fn unlike(name: &str) -> OAuthError {
    let code = match name {
        "authorization_details" => ErrorCode::InvalidAuthorizationDetails,
        _ => ErrorCode::InvalidRequest,
    };
    OAuthError::new(code, format!("`{name}` is not as it should be"))
}

pub(crate) fn invalid(why: &str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRequest, why)
}

/// The pairs of a form, as [`form_urlencoded::parse`] gives them: but most of a form are tokens, which are spelt as they
/// are, and nothing of those is looked for byte after byte.
fn pairs(form: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let all = form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    all.filter_map(|pair| plain(pair).or_else(|| form_urlencoded::parse(pair).next()))
}

/// What `pair` says, if that is spelt as it is.
fn plain(pair: &[u8]) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let is_plain = pair.is_ascii() && !pair.contains(&b'%') && !pair.contains(&b'+');
    let text = str::from_utf8(pair).ok().filter(|_| is_plain)?;
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    Some((name.into(), value.into()))
}

pub(crate) fn missing(name: &str) -> OAuthError {
    OAuthError::new(code_of(name), format!("`{name}` is missing"))
}

/// The code for the parameter `name` that is missing or stands twice (RFC 6749 §5.2). Of what the token is for, several
/// may be named (RFC 8707 §2, RFC 8693 §2.1): more than one is no target here, and none is none.
fn code_of(name: &str) -> ErrorCode {
    match name {
        "audience" | "resource" => ErrorCode::InvalidTarget,
        _ => ErrorCode::InvalidRequest,
    }
}

/// The parameters of a form that nobody has taken yet.
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    pub(crate) fn read(form: &[u8]) -> Result<Self, OAuthError> {
        if form.len() > FORM_MAX {
            return Err(invalid("the form is too large"));
        }
        let mut parameters = BTreeMap::new();
        for (name, value) in pairs(form) {
            if parameters.len() >= PARAMETERS_MAX {
                return Err(invalid("the form has too many parameters"));
            }
            // Whatever is not UTF-8 arrives as the replacement character: two forms could be one.
            if [&name, &value].iter().any(|text| text.contains(char::REPLACEMENT_CHARACTER)) {
                return Err(invalid("the form is not UTF-8"));
            }
            let code = code_of(&name);
            if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(OAuthError::new(code, "a parameter stands twice"));
            }
        }
        Ok(Self(parameters))
    }

    /// The parameter `name`; one without a value counts as left out (RFC 6749 §3.2).
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    /// The same, left for whoever takes it.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether there is a parameter `name` with a value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn need(&mut self, name: &str) -> Result<String, OAuthError> {
        self.take(name).ok_or_else(|| missing(name))
    }

    /// The one service that is named: an `audience` (RFC 8693 §2.1) may say once more what `resource` says.
    pub(crate) fn target(&mut self) -> Result<Option<String>, OAuthError> {
        let (resource, audience) = (self.take("resource"), self.take("audience"));
        if audience.is_some() && audience != resource {
            let why =
                "name the one service in `resource`: `audience` says the same, or is left out";
            return Err(OAuthError::new(ErrorCode::InvalidTarget, why));
        }
        Ok(resource)
    }

    /// Refuses a `scope` where none is granted (RFC 6749 §3.3).
    pub(crate) fn without_scope(&mut self) -> Result<(), OAuthError> {
        if self.take("scope").is_none() {
            return Ok(());
        }
        let why = "`scope` is not granted here: what it is for stands in `authorization_details`";
        Err(OAuthError::new(ErrorCode::InvalidScope, why))
    }

    /// What `name` says in JSON.
    pub(crate) fn need_json<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, OAuthError> {
        let text = self.need(name)?;
        let limits = json::Limits { bytes: FORM_MAX, depth: JSON_DEPTH_MAX };
        // What is derived would take an array for an object.
        let is_plain = |value: &Value| match value {
            Value::Array(items) => items.iter().all(Value::is_object),
            other => other.is_object(),
        };
        let value = json::parse(text.as_bytes(), limits).ok().filter(is_plain);
        let read = value.and_then(|value| serde_json::from_value(value).ok());
        read.ok_or_else(|| unlike(name))
    }

    /// Who asks.
    pub(crate) fn client(&mut self) -> Result<Client, OAuthError> {
        let by = match self.take("client_assertion_type").as_deref() {
            Some(client_assertion::TYPE) => Signed::Key,
            Some(client_assertion::SPIFFE_TYPE) => Signed::TrustDomain,
            Some(device::TYPE) => Signed::Device,
            _ => {
                let why = "the client must authenticate with private_key_jwt, a JWT-SVID or an \
                           enrolment";
                return Err(OAuthError::new(ErrorCode::InvalidClient, why));
            }
        };
        if self.take("client_secret").is_some() {
            return Err(invalid("the client must authenticate in one way only"));
        }
        let assertion = self.need("client_assertion")?;
        // It may be left out beside an assertion that names the client too (RFC 7521 §4.2). That of
        // a trust domain names the workload; beside an enrolment the form names the agent.
        let named = self.take("client_id").or_else(|| match by {
            Signed::Key => client_assertion::claimed(&assertion),
            Signed::TrustDomain | Signed::Device => None,
        });
        Ok(Client { id: named.ok_or_else(|| missing("client_id"))?, assertion, by })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes of which one or another way to spell something is made.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let special = prop::sample::select(b"&&==%%++aAfF02;\xc3\xa9\xff\0 ".to_vec());
        prop::collection::vec(prop_oneof![special, any::<u8>()], 0..24)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        #[test]
        fn a_form_is_read_in_the_one_way(form in bytes()) {
            let expected: Vec<_> = form_urlencoded::parse(&form).collect();
            prop_assert_eq!(pairs(&form).collect::<Vec<_>>(), expected);
        }
    }

    fn check(client_id: Option<&str>, assertion: &str, expected: Option<&str>) {
        check_of(client_assertion::TYPE, client_id, assertion, expected);
    }

    fn check_of(kind: &str, client_id: Option<&str>, assertion: &str, expected: Option<&str>) {
        let mut all = vec![
            ("grant_type", "client_credentials"),
            ("client_assertion_type", kind),
            ("client_assertion", assertion),
            ("resource", "https://g/mcp/s"),
        ];
        all.extend(client_id.map(|id| ("client_id", id)));
        let parsed = Parameters::read(form(&all).as_bytes()).and_then(|mut form| form.client());
        let parsed = parsed.map(|client| client.id);
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
        // A JWT-SVID is of a workload, and says nothing of the client.
        check_of(client_assertion::SPIFFE_TYPE, None, assertion, None);
        check_of(client_assertion::SPIFFE_TYPE, Some("bot"), assertion, Some("bot"));
    }
}
