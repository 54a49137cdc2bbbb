//! What a receiver asks a transmitter for of its stream, and what it is told of it (SSF 1.0 §7.1, §8.1).

use std::collections::BTreeSet;
use std::fmt;

use https_url::HttpsUrl;
use serde_json::{Map, Value, json};

use crate::event::StreamStatus;
use crate::subject::{TEXT_MAX, is_sound};
use crate::telling::TOLD;

/// The most bytes of a request.
pub const REQUEST_BYTES_MAX: usize = 16 << 10;

/// Signals are pushed (RFC 8935).
pub(crate) const PUSH: &str = "urn:ietf:rfc:8935";

/// Signals are asked for (RFC 8936).
pub(crate) const POLL: &str = "urn:ietf:rfc:8936";

/// The most events that a request may list.
const EVENTS_MAX: usize = 64;

/// What of a stream is not its receiver's to say: it may repeat that, and nothing else.
const OURS: [&str; 5] = ["iss", "aud", "events_supported", "events_delivered", INTERVAL];

/// How far apart a receiver may ask that its stream be verified.
const INTERVAL: &str = "min_verification_interval";

/// Why a request cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It is not JSON that can be read in one way only, no object, or too large.
    #[error("the body is no JSON object of at most {REQUEST_BYTES_MAX} bytes")]
    NotJson,
    /// A member is missing or not what it should be.
    #[error("the member `{0}` is missing or not as it should be")]
    Member(&'static str),
}

pub(crate) type Members = Map<String, Value>;

/// What shows a receiver who pushes to it: a secret of the receiver's.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization(String);

impl Authorization {
    /// The value of a header that is `text`, if there can be one.
    pub fn of(text: String) -> Option<Self> {
        text.bytes().all(|byte| (b' '..=b'~').contains(&byte)).then_some(Self(text))
    }

    /// The value of the header.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(…)")
    }
}

/// How a receiver wants signals to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryAsked {
    /// It asks for them.
    Poll,
    /// They are pushed.
    Push {
        /// Where.
        url: Box<HttpsUrl>,
        /// What goes with each.
        authorization: Option<Authorization>,
    },
}

impl DeliveryAsked {
    /// The method, as a stream's `delivery` names it.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Poll => POLL,
            Self::Push { .. } => PUSH,
        }
    }

    fn to_json(&self) -> Value {
        let mut told = json!({ "method": self.method() });
        if let Self::Push { url, authorization } = self {
            told["endpoint_url"] = url.as_str().into();
            if let Some(secret) = authorization {
                told["authorization_header"] = secret.expose().into();
            }
        }
        told
    }
}

/// What a receiver says of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAsked {
    /// Which.
    pub id: Option<String>,
    /// How signals reach it.
    pub delivery: Option<DeliveryAsked>,
    /// Which of the events that can be told it wants.
    pub requested: Option<BTreeSet<String>>,
    /// What it says besides.
    pub description: Option<String>,
    /// What it repeats of what the transmitter says.
    repeated: Members,
}

impl StreamAsked {
    /// Reads the body of a request.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let body = object(bytes)?;
        let delivery = body.get("delivery").map(delivery).transpose()?;
        let requested = body.get("events_requested").map(events).transpose()?;
        let repeated = OURS.iter().filter_map(|name| {
            let value = body.get(*name)?.clone();
            Some(((*name).to_owned(), value))
        });
        Ok(Self {
            id: maybe(&body, "stream_id")?,
            delivery,
            requested,
            description: maybe(&body, "description")?,
            repeated: repeated.collect(),
        })
    }

    /// What a receiver asks for that wants signals to reach it by `delivery`, of these events, if it says so.
    pub fn wanting(
        id: Option<String>,
        delivery: Option<DeliveryAsked>,
        requested: Option<BTreeSet<String>>,
        description: Option<String>,
    ) -> Self {
        Self { id, delivery, requested, description, repeated: Members::new() }
    }

    /// The body of the request. What it holds shows us who pushes.
    pub fn to_json(&self) -> Value {
        let mut body = self.repeated.clone();
        let mut say = |name: &str, value: Option<Value>| {
            body.extend(value.map(|value| (name.to_owned(), value)));
        };
        say("stream_id", self.id.clone().map(Value::from));
        say("delivery", self.delivery.as_ref().map(DeliveryAsked::to_json));
        say("events_requested", self.requested.as_ref().map(|events| json!(events)));
        say("description", self.description.clone().map(Value::from));
        Value::Object(body)
    }

    /// Whether all that it repeats is so of the stream `told`.
    pub fn agrees_with(&self, told: &Value) -> bool {
        self.repeated.iter().all(|(name, value)| told[name] == *value)
    }
}

/// What a receiver wants its stream to be, or is told that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusAsked {
    /// Which stream.
    pub id: String,
    /// What it is from now on.
    pub status: StreamStatus,
    /// Why.
    pub reason: Option<String>,
}

impl StatusAsked {
    /// Reads the body of a request.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let body = object(bytes)?;
        let status = StreamStatus::named(&text(&body, "status")?);
        Ok(Self {
            id: text(&body, "stream_id")?,
            status: status.ok_or(RequestError::Member("status"))?,
            reason: maybe(&body, "reason")?,
        })
    }
}

/// That a receiver wants its stream to be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationAsked {
    /// Which stream.
    pub id: String,
    /// What the event has to say.
    pub state: Option<String>,
}

impl VerificationAsked {
    /// Reads the body of a request.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let body = object(bytes)?;
        Ok(Self { id: text(&body, "stream_id")?, state: maybe(&body, "state")? })
    }
}

/// A stream, as its receiver is told of it.
#[derive(Clone, Copy, Debug)]
pub struct StreamTold<'a> {
    /// Its id.
    pub id: &'a str,
    /// The issuer of its tokens.
    pub issuer: &'a str,
    /// For whom they are.
    pub audience: &'a str,
    /// Where signals are pushed; they are polled otherwise.
    pub pushed_to: Option<&'a str>,
    /// The events that its receiver asked for.
    pub requested: &'a BTreeSet<String>,
    /// What its receiver says besides.
    pub description: Option<&'a str>,
    /// How far apart its receiver may ask that it be verified, in seconds.
    pub interval_s: u64,
}

impl StreamTold<'_> {
    /// The configuration, without what shows the receiver who pushes.
    pub fn to_json(self) -> Value {
        let polled = || format!("{}/{}", endpoint(self.issuer, "poll"), self.id);
        let delivery = match self.pushed_to {
            Some(url) => json!({ "method": PUSH, "endpoint_url": url }),
            None => json!({ "method": POLL, "endpoint_url": polled() }),
        };
        let mut told = json!({
            "stream_id": self.id,
            "iss": self.issuer,
            "aud": self.audience,
            "delivery": delivery,
            "events_supported": TOLD,
            "events_requested": self.requested,
            "events_delivered": self.requested,
            INTERVAL: self.interval_s,
        });
        if let Some(description) = self.description {
            told["description"] = description.into();
        }
        told
    }
}

/// The status of the stream `id`, as its receiver is told, or asks for it.
pub fn status_told(id: &str, status: StreamStatus, reason: Option<&str>) -> Value {
    let mut told = json!({ "stream_id": id, "status": status.as_str() });
    if let Some(reason) = reason {
        told["reason"] = reason.into();
    }
    told
}

/// What the transmitter `issuer` says of itself (SSF 1.0 §7.1). No subjects are added to a stream, or
/// removed: of whom a receiver is told is not its own to say.
pub fn metadata(issuer: &str) -> Value {
    json!({
        "spec_version": "1_0",
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/oauth/jwks"),
        "delivery_methods_supported": [PUSH, POLL],
        "configuration_endpoint": endpoint(issuer, "streams"),
        "status_endpoint": endpoint(issuer, "status"),
        "verification_endpoint": endpoint(issuer, "verify"),
        "authorization_schemes": [{ "spec_urn": "urn:ietf:rfc:6750" }, { "spec_urn": "urn:ietf:rfc:6749" }],
        // Who does not understand which instance is meant would take all of its agent for stopped.
        "critical_subject_members": ["application", "session"],
        "default_subjects": "ALL",
    })
}

/// Whether `text` is the name of a host to which signals can be pushed, as URLs have it.
pub fn is_host(text: &str) -> bool {
    HttpsUrl::parse(&format!("https://{text}/")).is_ok_and(|url| url.host() == text)
}

fn endpoint(issuer: &str, name: &str) -> String {
    format!("{issuer}/ssf/{name}")
}

pub(crate) fn object(bytes: &[u8]) -> Result<Members, RequestError> {
    let limits = json::Limits { bytes: REQUEST_BYTES_MAX, depth: 4 };
    match json::parse(bytes, limits) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(RequestError::NotJson),
    }
}

pub(crate) fn text(members: &Members, name: &'static str) -> Result<String, RequestError> {
    maybe(members, name)?.ok_or(RequestError::Member(name))
}

pub(crate) fn maybe(members: &Members, name: &'static str) -> Result<Option<String>, RequestError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if is_sound(text) => Ok(Some(text.clone())),
        Some(_) => Err(RequestError::Member(name)),
    }
}

fn delivery(value: &Value) -> Result<DeliveryAsked, RequestError> {
    let members = value.as_object().ok_or(RequestError::Member("delivery"))?;
    match text(members, "method")?.as_str() {
        // Where it is polled is the transmitter's to say.
        POLL => Ok(DeliveryAsked::Poll),
        PUSH => {
            let url = HttpsUrl::parse(&text(members, "endpoint_url")?);
            let url = url.map_err(|_| RequestError::Member("endpoint_url"))?;
            let wrong = RequestError::Member("authorization_header");
            let authorization = maybe(members, "authorization_header")?;
            let authorization = authorization.map(|text| Authorization::of(text).ok_or(wrong));
            Ok(DeliveryAsked::Push {
                url: Box::new(url),
                authorization: authorization.transpose()?,
            })
        }
        _ => Err(RequestError::Member("method")),
    }
}

/// The events of a list that can be told; the others are passed over (SSF 1.0 §8.1.1). A list of which
/// nothing is left asks for nothing.
fn events(value: &Value) -> Result<BTreeSet<String>, RequestError> {
    let wrong = RequestError::Member("events_requested");
    let all = value.as_array().filter(|all| all.len() <= EVENTS_MAX).ok_or(wrong)?;
    let is_named = |event: &Value| event.as_str().is_some_and(|event| event.len() <= TEXT_MAX);
    if !all.iter().all(is_named) {
        return Err(wrong);
    }
    let told: BTreeSet<_> =
        TOLD.into_iter().filter(|told| all.iter().any(|event| event == told)).collect();
    if told.is_empty() { Err(wrong) } else { Ok(told.into_iter().map(str::to_owned).collect()) }
}
