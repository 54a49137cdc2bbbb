//! What a transmitter says of itself, and of one stream (SSF 1.0 §7, §8.1).

use std::collections::BTreeSet;

use https_url::{HttpsUrl, NotHttpsUrl};
use serde_json::{Map, Value, json};

use crate::event::Event;
use crate::subject::is_sound;

/// The most bytes, and the most levels, of a document.
const DOCUMENT_LIMITS: json::Limits = json::Limits { bytes: 64 << 10, depth: 8 };

/// The most values of a list.
const VALUES_MAX: usize = 64;

/// Why a document of a transmitter's is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It is no JSON object that can be read in one way only, or too large.
    #[error("it is not a JSON object that can be read in one way only")]
    NotJson,
    /// A member is missing or not what it should be.
    #[error("the member `{0}` is missing or not as it should be")]
    Member(&'static str),
    /// It is of another issuer.
    #[error("it is of another issuer")]
    OtherIssuer,
}

/// How a transmitter delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeliveryMethod {
    /// It pushes (RFC 8935).
    Push,
    /// It is polled (RFC 8936).
    Poll,
}

impl DeliveryMethod {
    /// The value of `method`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Push => "urn:ietf:rfc:8935",
            Self::Poll => "urn:ietf:rfc:8936",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Push, Self::Poll].into_iter().find(|method| method.as_str() == name)
    }
}

/// Where the metadata of the transmitter `issuer` are (SSF 1.0 §7.2): its path comes after the name.
pub fn metadata_url(issuer: &str) -> Result<HttpsUrl, NotHttpsUrl> {
    let (scheme, rest) = issuer.split_once("://").unwrap_or_default();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_end_matches('/');
    let path = if path.is_empty() { String::new() } else { format!("/{path}") };
    HttpsUrl::parse(&format!("{scheme}://{host}/.well-known/ssf-configuration{path}"))
}

/// What a transmitter says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Where its keys are.
    pub jwks_uri: HttpsUrl,
    /// How it delivers.
    pub delivery_methods: BTreeSet<DeliveryMethod>,
    /// Where streams are made and changed.
    pub configuration_endpoint: Option<HttpsUrl>,
    /// Where it is asked to verify a stream.
    pub verification_endpoint: Option<HttpsUrl>,
    /// Which parts of a complex subject must be understood.
    pub critical_subject_members: BTreeSet<String>,
}

impl Metadata {
    /// Reads the metadata of `issuer`.
    pub fn parse(bytes: &[u8], issuer: &str) -> Result<Self, MessageError> {
        let members = object(bytes)?;
        if members.get("issuer").and_then(Value::as_str) != Some(issuer) {
            return Err(MessageError::OtherIssuer);
        }
        let url = |name| maybe_url(&members, name);
        let methods = texts(&members, "delivery_methods_supported")?;
        Ok(Self {
            jwks_uri: url("jwks_uri")?.ok_or(MessageError::Member("jwks_uri"))?,
            delivery_methods: methods.iter().filter_map(|it| DeliveryMethod::named(it)).collect(),
            configuration_endpoint: url("configuration_endpoint")?,
            verification_endpoint: url("verification_endpoint")?,
            critical_subject_members: texts(&members, "critical_subject_members")?,
        })
    }
}

/// How a stream is delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// How.
    pub method: DeliveryMethod,
    /// Where to: of a receiver that is pushed to, its own; of one that polls, the transmitter's.
    pub endpoint: HttpsUrl,
}

/// A stream, as its transmitter has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConfiguration {
    /// Its id.
    pub stream_id: String,
    /// Whom it is for.
    pub audience: BTreeSet<String>,
    /// Which events it delivers.
    pub events_delivered: BTreeSet<String>,
    /// How.
    pub delivery: Delivery,
    /// How many seconds apart it may be asked to verify it.
    pub min_verification_interval: Option<u64>,
}

impl StreamConfiguration {
    /// Reads the configuration of a stream of `issuer`.
    pub fn parse(bytes: &[u8], issuer: &str) -> Result<Self, MessageError> {
        let members = object(bytes)?;
        if members.get("iss").and_then(Value::as_str) != Some(issuer) {
            return Err(MessageError::OtherIssuer);
        }
        let text = |name| {
            let text = members.get(name).and_then(Value::as_str).filter(|text| is_sound(text));
            text.map(str::to_owned).ok_or(MessageError::Member(name))
        };
        let audience = match members.get("aud") {
            Some(Value::String(_)) => [text("aud")?].into(),
            _ => texts(&members, "aud")?,
        };
        let seconds = match members.get("min_verification_interval") {
            None => None,
            Some(value) => {
                Some(value.as_u64().ok_or(MessageError::Member("min_verification_interval"))?)
            }
        };
        let delivery = members.get("delivery").and_then(Value::as_object);
        Ok(Self {
            stream_id: text("stream_id")?,
            audience,
            events_delivered: texts(&members, "events_delivered")?,
            delivery: delivered(delivery.ok_or(MessageError::Member("delivery"))?)?,
            min_verification_interval: seconds,
        })
    }
}

fn delivered(members: &Map<String, Value>) -> Result<Delivery, MessageError> {
    let method = members.get("method").and_then(Value::as_str).and_then(DeliveryMethod::named);
    let endpoint = maybe_url(members, "endpoint_url")?;
    Ok(Delivery {
        method: method.ok_or(MessageError::Member("method"))?,
        endpoint: endpoint.ok_or(MessageError::Member("endpoint_url"))?,
    })
}

/// The request for a new stream that pushes to `endpoint`, which whoever sends `authorization` reaches;
/// without either, for one that is polled.
pub fn new_stream(push: Option<(&HttpsUrl, &str)>) -> Value {
    let delivery = match push {
        Some((endpoint, authorization)) => json!({
            "method": DeliveryMethod::Push.as_str(),
            "endpoint_url": endpoint.as_str(),
            "authorization_header": authorization,
        }),
        None => json!({ "method": DeliveryMethod::Poll.as_str() }),
    };
    let events: Vec<_> = Event::uris().collect();
    json!({ "events_requested": events, "delivery": delivery })
}

/// The request that the stream `id` be verified, by an event that tells `state` (SSF 1.0 §8.1.4.2).
pub fn verification_request(id: &str, state: &str) -> Value {
    json!({ "stream_id": id, "state": state })
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, MessageError> {
    match json::parse(bytes, DOCUMENT_LIMITS) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(MessageError::NotJson),
    }
}

fn maybe_url(
    members: &Map<String, Value>,
    name: &'static str,
) -> Result<Option<HttpsUrl>, MessageError> {
    let Some(value) = members.get(name) else { return Ok(None) };
    let url = value.as_str().and_then(|text| HttpsUrl::parse(text).ok());
    url.map(Some).ok_or(MessageError::Member(name))
}

/// The texts of a list, which may be missing.
fn texts(
    members: &Map<String, Value>,
    name: &'static str,
) -> Result<BTreeSet<String>, MessageError> {
    let wrong = MessageError::Member(name);
    let Some(value) = members.get(name) else { return Ok(BTreeSet::new()) };
    let all = value.as_array().filter(|all| all.len() <= VALUES_MAX).ok_or(wrong.clone())?;
    let sound = |value: &Value| value.as_str().filter(|text| is_sound(text)).map(str::to_owned);
    let all: Option<BTreeSet<_>> = all.iter().map(sound).collect();
    all.ok_or(wrong)
}
