//! What a receiver that manages its stream is told by the transmitter, and how that is other than what it
//! asked for (SSF 1.0 §7.1, §8.1).
//!
//! INVARIANT: no [`Offers`] lead to anywhere but the issuer's own host and port, and those that the
//! receiver names beside it: what shows who asks goes to nobody else, nor to where a stream is polled.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use https_url::{HttpsUrl, NotHttpsUrl};
use serde_json::{Value, json};

use crate::error::SetError;
use crate::event::StreamStatus;
use crate::managing::{
    DeliveryAsked, Members, POLL, PUSH, RequestError, StatusAsked, StreamAsked, maybe, text,
};
use crate::stream::metadata_url;
use crate::subject::{Subject, is_sound};

/// The most bytes of a transmitter's answer.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The most streams, and the most of what one list of a stream holds, that a transmitter may tell of.
pub const LISTED_MAX: usize = 64;

/// The ways in which a transmitter is shown a bearer token (SSF 1.0 §7.1.1).
const BEARER: [&str; 2] = ["urn:ietf:rfc:6749", "urn:ietf:rfc:6750"];

/// A host and port at which a transmitter may be asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(String);

impl Place {
    fn of(url: &HttpsUrl) -> Self {
        Self(format!("{}:{}", url.host(), url.port()))
    }
}

impl FromStr for Place {
    type Err = NotHttpsUrl;

    /// Reads `HOST:PORT`, or `HOST`, whose port is that of https.
    fn from_str(text: &str) -> Result<Self, NotHttpsUrl> {
        if text.contains(['/', '?', '#']) {
            return Err(NotHttpsUrl::Host);
        }
        HttpsUrl::parse(&format!("https://{text}")).map(|url| Self::of(&url))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why what a transmitter says counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is not JSON that can be read in one way only, not of the kind that it should be, or too large.
    #[error(
        "the answer is not the JSON that was asked for, in one reading and of at most \
         {ANSWER_BYTES_MAX} bytes"
    )]
    NotJson,
    /// A member is missing or not what it should be.
    #[error("the member `{0}` of the answer is missing or not as it should be")]
    Member(&'static str),
    /// The metadata are somebody else's.
    #[error("the metadata are of another issuer than the stream is registered with")]
    Issuer,
    /// It wants to be shown something else than a bearer token.
    #[error("the transmitter takes no bearer tokens (`authorization_schemes`)")]
    Scheme,
    /// It is asked somewhere else.
    #[error(
        "`{0}` is at `{1}`, not at the issuer's host and port: if that is the transmitter's too, say \
         `--endpoint-host {1}`; it will see the token"
    )]
    Elsewhere(&'static str, Place),
    /// It does not do that.
    #[error(
        "the transmitter offers no `{0}`: whoever administers it has to do that at its own console"
    )]
    NotOffered(&'static str),
    /// It does not deliver so.
    #[error("the transmitter does not deliver by `{0}` (`delivery_methods_supported`)")]
    NotDelivered(&'static str),
}

impl From<RequestError> for AnswerError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NotJson => Self::NotJson,
            RequestError::Member(name) => Self::Member(name),
        }
    }
}

/// What a transmitter may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offer {
    /// To create, read, change and delete streams.
    Configuration,
    /// To say whether a stream tells something.
    Status,
    /// To tell of somebody.
    AddSubject,
    /// To tell of somebody no longer.
    RemoveSubject,
    /// To verify a stream.
    Verification,
}

impl Offer {
    /// All that there are.
    pub const ALL: [Self; 5] = [
        Self::Configuration,
        Self::Status,
        Self::AddSubject,
        Self::RemoveSubject,
        Self::Verification,
    ];

    const fn member(self) -> &'static str {
        match self {
            Self::Configuration => "configuration_endpoint",
            Self::Status => "status_endpoint",
            Self::AddSubject => "add_subject_endpoint",
            Self::RemoveSubject => "remove_subject_endpoint",
            Self::Verification => "verification_endpoint",
        }
    }
}

/// Where a transmitter is asked, as its metadata say it (SSF 1.0 §7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offers {
    at: BTreeMap<Offer, HttpsUrl>,
    /// Where it may be asked.
    places: BTreeSet<Place>,
    /// How it delivers, if it says so.
    methods: Option<BTreeSet<String>>,
}

impl Offers {
    /// Reads the metadata `told` of the transmitter `issuer`, which may be asked at `others` too.
    pub fn read(told: &Value, issuer: &str, others: &BTreeSet<Place>) -> Result<Self, AnswerError> {
        let members = told.as_object().ok_or(AnswerError::NotJson)?;
        let own = metadata_url(issuer).map_err(|_| AnswerError::Issuer)?;
        if text(members, "issuer")? != issuer {
            return Err(AnswerError::Issuer);
        }
        takes_bearer(members)?;
        let mut at = BTreeMap::new();
        for offer in Offer::ALL {
            let name = offer.member();
            let Some(url) = maybe(members, name)? else { continue };
            let url = HttpsUrl::parse(&url).map_err(|_| AnswerError::Member(name))?;
            if url.has_fragment() {
                return Err(AnswerError::Member(name));
            }
            at.insert(offer, url);
        }
        let mut places = others.clone();
        places.insert(Place::of(&own));
        Ok(Self { at, places, methods: list(members, "delivery_methods_supported")? })
    }

    /// Where it is asked for `offer`; of the stream `id`, where that stands in the URL.
    pub fn at(&self, offer: Offer, id: Option<&str>) -> Result<HttpsUrl, AnswerError> {
        let url = self.at.get(&offer).ok_or(AnswerError::NotOffered(offer.member()))?;
        let place = Place::of(url);
        if !self.places.contains(&place) {
            return Err(AnswerError::Elsewhere(offer.member(), place));
        }
        let Some(id) = id else { return Ok(url.clone()) };
        let mark = if url.as_str().contains('?') { '&' } else { '?' };
        let url = HttpsUrl::parse(&format!("{url}{mark}stream_id={}", escaped(id)));
        url.map_err(|_| AnswerError::Member("stream_id"))
    }

    /// Whether it delivers as `asked`, as far as it says how it does.
    pub fn deliver(&self, asked: &DeliveryAsked) -> Result<(), AnswerError> {
        let method = asked.method();
        match &self.methods {
            Some(methods) if !methods.contains(method) => Err(AnswerError::NotDelivered(method)),
            _ => Ok(()),
        }
    }

    /// Whether `url` is where it may be asked.
    fn lead_to(&self, url: &str) -> bool {
        HttpsUrl::parse(url).is_ok_and(|url| self.places.contains(&Place::of(&url)))
    }

    /// All of it that is understood, also what is somewhere else.
    pub fn to_json(&self) -> Value {
        let all =
            self.at.iter().map(|(offer, url)| (offer.member().to_owned(), json!(url.as_str())));
        let mut told: Members = all.collect();
        if let Some(methods) = &self.methods {
            told.insert("delivery_methods_supported".to_owned(), json!(methods));
        }
        Value::Object(told)
    }
}

/// What a stream has to be, beside what was asked for it.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The issuer of its tokens.
    pub issuer: &'a str,
    /// For whom they are.
    pub audience: &'a str,
    /// Where they are pushed, if they are.
    pub pushed_to: &'a str,
    /// Where they are polled; without it, they are not.
    pub polled_at: Option<&'a str>,
    /// Where its transmitter may be asked.
    pub offers: &'a Offers,
}

/// What of a stream is other than it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Which member.
    pub member: &'static str,
    /// What it should be.
    pub asked: Value,
    /// What it is.
    pub told: Value,
}

impl Drift {
    /// It, for whoever asked.
    pub fn to_json(&self) -> Value {
        json!({ "member": self.member, "asked": self.asked, "told": self.told })
    }
}

/// That what tells of a stream cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Of which stream, if that can be.
    pub id: Option<String>,
    /// Why not.
    pub why: AnswerError,
}

/// A stream, as its transmitter tells of it (SSF 1.0 §8.1.1). What shows us who pushes is passed over: some tell
/// it, some do not, and some tell a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSeen {
    /// Its id.
    pub id: String,
    issuer: String,
    audience: BTreeSet<String>,
    method: String,
    endpoint: Option<String>,
    requested: Option<BTreeSet<String>>,
    delivered: BTreeSet<String>,
    description: Option<String>,
}

impl StreamSeen {
    /// Reads the body of an answer that tells of one stream.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unread> {
        let told = answer(bytes).map_err(|why| Unread { id: None, why })?;
        Self::of(&told)
    }

    /// Reads the body of an answer that lists streams; one that cannot be read hides no other.
    pub fn parse_all(bytes: &[u8]) -> Result<Vec<Result<Self, Unread>>, AnswerError> {
        let told = answer(bytes)?;
        let all = told.as_array().filter(|all| all.len() <= LISTED_MAX);
        Ok(all.ok_or(AnswerError::NotJson)?.iter().map(Self::of).collect())
    }

    fn of(told: &Value) -> Result<Self, Unread> {
        Self::read(told).map_err(|why| {
            let id = told.as_object().and_then(|members| text(members, "stream_id").ok());
            Unread { id, why }
        })
    }

    fn read(told: &Value) -> Result<Self, AnswerError> {
        let members = told.as_object().ok_or(AnswerError::NotJson)?;
        let delivery = members.get("delivery").and_then(Value::as_object);
        let delivery = delivery.ok_or(AnswerError::Member("delivery"))?;
        let audience = match members.get("aud") {
            Some(Value::String(one)) if is_sound(one) => Some([one.clone()].into()),
            _ => list(members, "aud")?,
        };
        let delivered = list(members, "events_delivered")?;
        Ok(Self {
            id: text(members, "stream_id")?,
            issuer: text(members, "iss")?,
            audience: audience.ok_or(AnswerError::Member("aud"))?,
            method: text(delivery, "method")?,
            endpoint: said(delivery, "endpoint_url")?,
            requested: list(members, "events_requested")?,
            delivered: delivered.ok_or(AnswerError::Member("events_delivered"))?,
            description: said(members, "description")?,
        })
    }

    /// What of it is other than `asked`, and than `expected`. What it tells beside what was asked for takes
    /// nothing away, and neither does whom else it is for.
    pub fn drift(&self, expected: Expected<'_>, asked: &StreamAsked) -> Vec<Drift> {
        let mut all = Vec::new();
        let mut compare = |member, agrees: bool, (asked, told): (Value, Value)| {
            if !agrees {
                all.push(Drift { member, asked, told });
            }
        };
        if let Some(id) = &asked.id {
            compare("stream_id", *id == self.id, (json!(id), json!(self.id)));
        }
        let Expected { issuer, audience, pushed_to, polled_at, offers } = expected;
        compare("iss", issuer == self.issuer, (json!(issuer), json!(self.issuer)));
        let is_ours = self.audience.contains(audience);
        compare("aud", is_ours, (json!(audience), json!(self.audience)));
        let taken = if polled_at.is_some() { vec![PUSH, POLL] } else { vec![PUSH] };
        let methods = asked.delivery.as_ref().map_or(taken, |it| vec![it.method()]);
        let is_so = methods.contains(&self.method.as_str());
        compare("delivery.method", is_so, (json!(methods), json!(self.method)));
        let told = self.endpoint.as_deref().unwrap_or_default();
        let (is_there, there) = match (self.method.as_str(), polled_at) {
            (PUSH, _) => (spelt(told) == spelt(pushed_to), json!(pushed_to)),
            (POLL, Some(url)) => (spelt(told) == spelt(url), json!(url)),
            // Whoever is polled is shown a token, too.
            (POLL, None) => (offers.lead_to(told), texts(&offers.places)),
            // The method is other already.
            _ => (true, Value::Null),
        };
        compare("delivery.endpoint_url", is_there, (there, json!(self.endpoint)));
        if let Some(requested) = &asked.requested {
            let agrees = self.requested.as_ref() == Some(requested);
            compare("events_requested", agrees, (json!(requested), json!(self.requested)));
        }
        if let Some(wanted) = asked.requested.as_ref().or(self.requested.as_ref()) {
            let agrees = wanted.is_subset(&self.delivered);
            compare("events_delivered", agrees, (json!(wanted), json!(self.delivered)));
        }
        if let Some(description) = &asked.description {
            let agrees = self.description.as_ref() == Some(description);
            compare("description", agrees, (json!(description), json!(self.description)));
        }
        all
    }

    /// All of it that is understood.
    pub fn to_json(&self) -> Value {
        json!({
            "stream_id": self.id,
            "iss": self.issuer,
            "aud": self.audience,
            "delivery": { "method": self.method, "endpoint_url": self.endpoint },
            "events_requested": self.requested,
            "events_delivered": self.delivered,
            "description": self.description,
        })
    }
}

/// The request that the stream `id` tell of `subject`, who is verified to be that or not, or, without that,
/// tell of it no longer (SSF 1.0 §8.1.3).
pub fn subject_request(
    id: &str,
    subject: &Value,
    verified: Option<bool>,
) -> Result<Value, SetError> {
    Subject::parse(subject)?;
    let mut asked = json!({ "stream_id": id, "subject": subject });
    if let Some(verified) = verified {
        asked["verified"] = verified.into();
    }
    Ok(asked)
}

/// Reads the body of an answer that tells of a stream whether it tells something.
pub fn status_seen(bytes: &[u8]) -> Result<StatusAsked, AnswerError> {
    let told = answer(bytes)?;
    let members = told.as_object().ok_or(AnswerError::NotJson)?;
    let status = StreamStatus::named(&text(members, "status")?);
    Ok(StatusAsked {
        id: text(members, "stream_id")?,
        status: status.ok_or(AnswerError::Member("status"))?,
        reason: said(members, "reason")?,
    })
}

fn answer(bytes: &[u8]) -> Result<Value, AnswerError> {
    let limits = json::Limits { bytes: ANSWER_BYTES_MAX, depth: 8 };
    json::parse(bytes, limits).map_err(|_| AnswerError::NotJson)
}

/// A text of an answer that may be missing: one that is empty is.
fn said(members: &Members, name: &'static str) -> Result<Option<String>, RequestError> {
    match members.get(name) {
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        _ => maybe(members, name),
    }
}

/// A URL in the one spelling that [`HttpsUrl`] has, if it is one.
fn spelt(url: &str) -> String {
    HttpsUrl::parse(url).map_or_else(|_| url.to_owned(), |url| url.as_str().to_owned())
}

fn texts(all: &BTreeSet<Place>) -> Value {
    all.iter().map(Place::to_string).collect()
}

/// The texts of a list, if there is one.
fn list(members: &Members, name: &'static str) -> Result<Option<BTreeSet<String>>, AnswerError> {
    let all = match members.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_array().filter(|all| all.len() <= LISTED_MAX),
    };
    let sound = |it: &Value| it.as_str().filter(|text| is_sound(text)).map(str::to_owned);
    let all: Option<BTreeSet<_>> = all.and_then(|all| all.iter().map(sound).collect());
    all.map(Some).ok_or(AnswerError::Member(name))
}

/// Whether the transmitter, if it says what it is shown, can be shown a bearer token.
fn takes_bearer(members: &Members) -> Result<(), AnswerError> {
    const NAME: &str = "authorization_schemes";
    let all = match members.get(NAME) {
        None | Some(Value::Null) => return Ok(()),
        Some(all) => all.as_array().filter(|all| all.len() <= LISTED_MAX),
    };
    let urn = |scheme: &Value| text(scheme.as_object()?, "spec_urn").ok();
    let urns: Option<Vec<_>> = all.and_then(|all| all.iter().map(urn).collect());
    let urns = urns.ok_or(AnswerError::Member(NAME))?;
    if urns.iter().any(|urn| BEARER.contains(&urn.as_str())) {
        return Ok(());
    }
    Err(AnswerError::Scheme)
}

/// `text` as the value of a query (RFC 3986 §2.3).
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
