//! The token endpoint's forms: what may be asked, read strictly.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::access_token::{self, AgentTask};
use crate::error::{ErrorCode, OAuthError};
use crate::exchange::MayAct;
use crate::initiation::AskedTask;
use crate::{client_assertion, exchange, initiation};

/// The largest form, in bytes.
pub const FORM_MAX: usize = 16 * 1024;

/// How long an `attempt` is, in bytes: at least 128 bits in base64url.
const ATTEMPT: std::ops::RangeInclusive<usize> = 22..=128;

/// How deep a parameter in JSON may nest.
const JSON_DEPTH_MAX: usize = 8;

/// The most parameters of one form.
const PARAMETERS_MAX: usize = 32;

/// A request for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// The agent.
    pub client_id: String,
    /// Its assertion (RFC 7523).
    pub client_assertion: String,
    /// The one service that the token is for (RFC 8707); nothing, for a delegation.
    pub resource: Option<String>,
    /// By what.
    pub grant: Grant,
    /// What for, where the agent has several purposes.
    pub purpose: Option<String>,
    /// Which token it follows; none for a client that knows nothing of that.
    pub renewal: Option<Renewal>,
    /// What its host said of the process that asks.
    pub voucher: Option<String>,
}

/// By what a token is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// By the agent's own authority (RFC 6749 §4.4): on the sponsor's standing mandate, or for work
    /// that was begun already.
    ClientCredentials,
    /// By what a system signed to start the work (RFC 7523 §2.1).
    Initiation(String),
    /// By the holder of a task, for an instance of another agent (RFC 8693).
    HandOver {
        /// The holder's own token.
        subject_token: String,
        /// In which the other agent names its instance.
        actor_token: String,
        /// The part of the task.
        task: AskedTask,
    },
    /// By the holder of a task: not a token, but what another instance gets one by.
    Delegate {
        /// The holder's own token.
        subject_token: String,
        /// Who may take it up.
        may_act: MayAct,
        /// The part of the task.
        task: AskedTask,
    },
    /// By such a delegation (RFC 8693).
    TakeUp(String),
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
    /// The token, or the delegation.
    pub access_token: String,
    /// What that is, where it was exchanged for something (RFC 8693 §2.2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<String>,
    /// `DPoP`; `N_A` for a delegation.
    pub token_type: String,
    /// For how many seconds it is good.
    pub expires_in: i64,
    /// The task that it belongs to (RFC 9396 §7).
    #[serde(skip_serializing_if = "Vec::is_empty")]
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
    if form.len() > FORM_MAX {
        return Err(invalid("the form is too large"));
    }
    let mut form = Parameters::read(form)?;
    let grant = grant(&mut form)?;
    if form.take("client_assertion_type").as_deref() != Some(client_assertion::TYPE) {
        let why = "the client must authenticate with private_key_jwt";
        return Err(OAuthError::new(ErrorCode::InvalidClient, why));
    }
    if form.take("client_secret").is_some() {
        return Err(invalid("the client must authenticate in one way only"));
    }
    let renewal = ["attempt", "previous_jti", "renewal_nonce"].map(|name| form.take(name));
    let client_assertion = form.need("client_assertion")?;
    // It may be left out beside an assertion, which names the client too (RFC 7521 §4.2).
    let named = form.take("client_id").or_else(|| client_assertion::claimed(&client_assertion));
    let resource = match grant {
        Grant::Delegate { .. } => None,
        _ => Some(form.need("resource")?),
    };
    Ok(TokenRequest {
        client_id: named.ok_or_else(|| missing("client_id"))?,
        client_assertion,
        resource,
        grant,
        purpose: form.take("purpose"),
        renewal: self::renewal(renewal)?,
        voucher: form.take("voucher"),
    })
}

fn invalid(why: &str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRequest, why)
}

fn missing(name: &str) -> OAuthError {
    invalid(&format!("`{name}` is missing"))
}

/// The parameters of a form that nobody has taken yet.
struct Parameters(BTreeMap<String, String>);

impl Parameters {
    fn read(form: &[u8]) -> Result<Self, OAuthError> {
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
        Ok(Self(parameters))
    }

    /// The parameter `name`; one without a value counts as left out (RFC 6749 §3.2).
    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    fn need(&mut self, name: &str) -> Result<String, OAuthError> {
        self.take(name).ok_or_else(|| missing(name))
    }

    /// What `name` says in JSON.
    fn need_json<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, OAuthError> {
        let text = self.need(name)?;
        let limits = json::Limits { bytes: FORM_MAX, depth: JSON_DEPTH_MAX };
        // What is derived would take an array for an object.
        let is_plain = |value: &Value| match value {
            Value::Array(items) => items.iter().all(Value::is_object),
            other => other.is_object(),
        };
        let value = json::parse(text.as_bytes(), limits).ok().filter(is_plain);
        let read = value.and_then(|value| serde_json::from_value(value).ok());
        read.ok_or_else(|| {
            let why = format!("`{name}` is not as it should be");
            let code = match name {
                "authorization_details" => ErrorCode::InvalidAuthorizationDetails,
                _ => ErrorCode::InvalidRequest,
            };
            OAuthError::new(code, why)
        })
    }
}

/// The parameters that belong to one grant type or another.
const OF_GRANTS: [&str; 8] = [
    "assertion",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
    "authorization_details",
    "may_act",
];

/// By what a token is asked for. What belongs to another grant type is refused, not passed over.
fn grant(form: &mut Parameters) -> Result<Grant, OAuthError> {
    let grant = match form.take("grant_type").as_deref() {
        Some("client_credentials") => Grant::ClientCredentials,
        Some(initiation::GRANT_TYPE) => Grant::Initiation(form.need("assertion")?),
        Some(exchange::GRANT_TYPE) => exchanged(form)?,
        _ => {
            let why = "the grant type is not one that is offered";
            return Err(OAuthError::new(ErrorCode::UnsupportedGrantType, why));
        }
    };
    match OF_GRANTS.iter().find(|name| form.take(name).is_some()) {
        Some(name) => Err(invalid(&format!("`{name}` does not belong here"))),
        None => Ok(grant),
    }
}

/// What is exchanged, for what (RFC 8693 §2.1).
fn exchanged(form: &mut Parameters) -> Result<Grant, OAuthError> {
    if form.take("audience").is_some() {
        let why = "name the one service in `resource`, not in `audience`";
        return Err(OAuthError::new(ErrorCode::InvalidTarget, why));
    }
    if form.take("scope").is_some() {
        let why = "say what is handed on in `authorization_details`, not in `scope`";
        return Err(OAuthError::new(ErrorCode::InvalidScope, why));
    }
    let (subject_token, kind) = (form.need("subject_token")?, form.need("subject_token_type")?);
    let wanted = form.take("requested_token_type");
    let wanted = wanted.as_deref().unwrap_or(exchange::ACCESS_TOKEN);
    match (kind.as_str(), wanted) {
        (exchange::DELEGATION, exchange::ACCESS_TOKEN) => Ok(Grant::TakeUp(subject_token)),
        (exchange::ACCESS_TOKEN, exchange::DELEGATION) => {
            let may_act = form.need_json("may_act")?;
            Ok(Grant::Delegate { subject_token, may_act, task: task(form)? })
        }
        (exchange::ACCESS_TOKEN, exchange::ACCESS_TOKEN) => {
            let actor_token = form.need("actor_token")?;
            if form.need("actor_token_type")? != exchange::JWT {
                return Err(invalid("the actor token is a JWT that the other agent signs"));
            }
            Ok(Grant::HandOver { subject_token, actor_token, task: task(form)? })
        }
        _ => Err(invalid("tokens of these types are not exchanged here")),
    }
}

/// The one task that `authorization_details` asks for.
fn task(form: &mut Parameters) -> Result<AskedTask, OAuthError> {
    let [task] = form.need_json::<[AskedTask; 1]>("authorization_details")?;
    if task.kind == access_token::AGENT_TASK {
        return Ok(task);
    }
    let why = "the type of `authorization_details` is `agent_task`";
    Err(OAuthError::new(ErrorCode::InvalidAuthorizationDetails, why))
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
