//! What is told: the events of CAEP 1.0, RISC 1.0, SSF 1.0 and RFC 9967, and what each means here.

use serde_json::{Map, Value};

use crate::error::SetError;
use crate::set::{Time, time};
use crate::subject::is_sound;

/// What kind of thing happened, when, and what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name: `caep/session-revoked`. `other` is none that is known.
    pub kind: &'static str,
    /// What it means.
    pub meaning: Meaning,
    /// When it happened, if it says so.
    pub(crate) at: Option<Time>,
}

/// What a receiver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The person is gone.
    Left,
    /// The person is gone, and what was done in their name since may not be theirs.
    Compromised,
    /// The person is back.
    Returned,
    /// The person's login sessions so far are over, and what was begun in them.
    SessionsEnded,
    /// The transmitter rates a risk.
    Risk {
        /// Of what: `USER`, `DEVICE`, ….
        principal: String,
        /// How high.
        level: RiskLevel,
    },
    /// The stream works (SSF 1.0 §8.1.4).
    Verified {
        /// What the receiver asked to be told, if it asked for this.
        state: Option<String>,
    },
    /// The transmitter changed the stream's status (SSF 1.0 §8.1.5).
    StreamUpdated {
        /// What it is from now on.
        status: StreamStatus,
    },
    /// It is about something that has to be understood, and is not (SSF 1.0 §7.1, `critical_subject_members`).
    NotUnderstood,
    /// Nothing has to be done.
    Noted,
}

/// How high a risk is (CAEP 1.0 §3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RiskLevel {
    /// `LOW`.
    Low,
    /// `MEDIUM`.
    Medium,
    /// `HIGH`.
    High,
}

impl RiskLevel {
    /// The value on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Low, Self::Medium, Self::High].into_iter().find(|it| it.as_str() == name)
    }
}

/// Whether a stream tells anything (SSF 1.0 §8.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStatus {
    /// It does.
    Enabled,
    /// It does later.
    Paused,
    /// It does not.
    Disabled,
}

impl StreamStatus {
    /// The value on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }

    /// The status that `name` is on the wire.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Enabled, Self::Paused, Self::Disabled].into_iter().find(|it| it.as_str() == name)
    }
}

type Members = Map<String, Value>;

/// How it is found out what an event means.
#[derive(Clone, Copy)]
enum Reading {
    Noted,
    Left,
    Compromised,
    Returned,
    SessionsEnded,
    /// By its members.
    By(fn(&Members) -> Result<Meaning, SetError>),
}

use Reading::{By, Compromised, Left, Noted, Returned, SessionsEnded};

/// An event: the end of its URI, its name here, and how it is read.
type Named = (&'static str, &'static str, Reading);

/// How the URIs of each family of events begin, and which there are.
const FAMILIES: [(&str, &[Named]); 4] = [
    ("https://schemas.openid.net/secevent/caep/event-type/", &CAEP),
    ("https://schemas.openid.net/secevent/risc/event-type/", &RISC),
    ("https://schemas.openid.net/secevent/ssf/event-type/", &SSF),
    ("urn:ietf:params:scim:event:", &SCIM),
];

const CAEP: [Named; 8] = [
    ("session-revoked", "caep/session-revoked", SessionsEnded),
    ("token-claims-change", "caep/token-claims-change", SessionsEnded),
    ("credential-change", "caep/credential-change", By(credential)),
    ("assurance-level-change", "caep/assurance-level-change", By(assurance)),
    ("device-compliance-change", "caep/device-compliance-change", By(compliance)),
    ("session-established", "caep/session-established", Noted),
    ("session-presented", "caep/session-presented", Noted),
    ("risk-level-change", "caep/risk-level-change", By(risk)),
];

const RISC: [Named; 14] = [
    (
        "account-credential-change-required",
        "risc/account-credential-change-required",
        SessionsEnded,
    ),
    ("account-disabled", "risc/account-disabled", By(disabled)),
    ("account-enabled", "risc/account-enabled", Returned),
    ("account-purged", "risc/account-purged", Left),
    ("credential-compromise", "risc/credential-compromise", Compromised),
    ("identifier-changed", "risc/identifier-changed", Noted),
    ("identifier-recycled", "risc/identifier-recycled", Noted),
    ("opt-in", "risc/opt-in", Noted),
    ("opt-out-cancelled", "risc/opt-out-cancelled", Noted),
    ("opt-out-effective", "risc/opt-out-effective", Noted),
    ("opt-out-initiated", "risc/opt-out-initiated", Noted),
    ("recovery-activated", "risc/recovery-activated", Noted),
    ("recovery-information-changed", "risc/recovery-information-changed", Noted),
    ("sessions-revoked", "risc/sessions-revoked", SessionsEnded),
];

const SSF: [Named; 2] = [
    ("stream-updated", "ssf/stream-updated", By(stream_updated)),
    ("verification", "ssf/verification", By(verified)),
];

const SCIM: [Named; 12] = [
    ("feed:add", "scim/feed:add", Noted),
    ("feed:remove", "scim/feed:remove", Noted),
    ("misc:asyncresp", "scim/misc:asyncresp", Noted),
    ("prov:activate", "scim/prov:activate", Returned),
    ("prov:create:full", "scim/prov:create:full", Noted),
    ("prov:create:notice", "scim/prov:create:notice", Noted),
    ("prov:deactivate", "scim/prov:deactivate", Left),
    ("prov:delete", "scim/prov:delete", Left),
    ("prov:patch:full", "scim/prov:patch:full", By(changed)),
    ("prov:patch:notice", "scim/prov:patch:notice", Noted),
    ("prov:put:full", "scim/prov:put:full", By(changed)),
    ("prov:put:notice", "scim/prov:put:notice", Noted),
];

impl Event {
    /// The one event of a token. One that is not known means nothing.
    pub(crate) fn parse(events: &Value) -> Result<Self, SetError> {
        let wrong = SetError::Claim("events");
        let mut all = events.as_object().ok_or(wrong.clone())?.iter();
        let (Some((uri, payload)), None) = (all.next(), all.next()) else { return Err(wrong) };
        let members = payload.as_object().ok_or(wrong)?;
        let at =
            members.get("event_timestamp").map(|at| time(at, SetError::Event("event_timestamp")));
        let at = at.transpose()?;
        let known = FAMILIES.iter().find_map(|(prefix, events)| {
            let name = uri.strip_prefix(prefix)?;
            events.iter().find(|(known, ..)| *known == name)
        });
        let Some((_, kind, read)) = known else {
            return Ok(Self { kind: "other", meaning: Meaning::Noted, at });
        };
        Ok(Self { kind, meaning: read.meaning(members)?, at })
    }
}

fn text<'a>(members: &'a Members, name: &'static str) -> Result<&'a str, SetError> {
    let text = members.get(name).and_then(Value::as_str);
    text.filter(|text| is_sound(text)).ok_or(SetError::Event(name))
}

/// The text of `name`, if it is there.
fn maybe<'a>(members: &'a Members, name: &'static str) -> Result<Option<&'a str>, SetError> {
    if members.contains_key(name) { text(members, name).map(Some) } else { Ok(None) }
}

impl Reading {
    fn meaning(self, members: &Members) -> Result<Meaning, SetError> {
        Ok(match self {
            Noted => Meaning::Noted,
            Left => Meaning::Left,
            Compromised => Meaning::Compromised,
            Returned => Meaning::Returned,
            SessionsEnded => Meaning::SessionsEnded,
            By(read) => read(members)?,
        })
    }
}

/// A resource is as `data` says, or was changed by it (RFC 9967): who is not active any more by that has left. That
/// somebody is active gives nothing.
fn changed(members: &Members) -> Result<Meaning, SetError> {
    let data = members.get("data").unwrap_or(&Value::Null);
    if members.contains_key("data") && !data.is_object() {
        return Err(SetError::Event("data"));
    }
    // With or without the URN of its schema.
    let is_active = |path: &str| {
        path.rsplit(':').next().is_some_and(|name| name.eq_ignore_ascii_case("active"))
    };
    // Some directories write it as a text.
    let is_false = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        *value == Value::Bool(false) || text.eq_ignore_ascii_case("false")
    };
    let ends = |resource: &Value| {
        let all = resource.as_object().into_iter().flatten();
        all.into_iter().any(|(name, value)| is_active(name) && is_false(value))
    };
    let is_over = |operation: &Value| match operation["path"].as_str() {
        Some(path) => is_active(path) && is_false(&operation["value"]),
        None => ends(&operation["value"]),
    };
    let mut operations = data["Operations"].as_array().into_iter().flatten();
    Ok(if ends(data) || operations.any(is_over) { Meaning::Left } else { Meaning::Noted })
}

/// An account was disabled (RISC 1.0 §2.3), perhaps as somebody else had got it.
fn disabled(members: &Members) -> Result<Meaning, SetError> {
    let is_hijacked = maybe(members, "reason")? == Some("hijacking");
    Ok(if is_hijacked { Meaning::Compromised } else { Meaning::Left })
}

fn credential(members: &Members) -> Result<Meaning, SetError> {
    text(members, "credential_type")?;
    text(members, "change_type")?;
    Ok(Meaning::SessionsEnded)
}

/// Only what says that it is an increase is none of what ends sessions.
fn assurance(members: &Members) -> Result<Meaning, SetError> {
    text(members, "current_level")?;
    let increases = maybe(members, "change_direction")? == Some("increase");
    Ok(if increases { Meaning::Noted } else { Meaning::SessionsEnded })
}

fn compliance(members: &Members) -> Result<Meaning, SetError> {
    match text(members, "current_status")? {
        "compliant" => Ok(Meaning::Noted),
        "not-compliant" => Ok(Meaning::SessionsEnded),
        _ => Err(SetError::Event("current_status")),
    }
}

fn risk(members: &Members) -> Result<Meaning, SetError> {
    let level = RiskLevel::named(text(members, "current_level")?);
    let level = level.ok_or(SetError::Event("current_level"))?;
    Ok(Meaning::Risk { principal: text(members, "principal")?.to_owned(), level })
}

fn verified(members: &Members) -> Result<Meaning, SetError> {
    Ok(Meaning::Verified { state: maybe(members, "state")?.map(str::to_owned) })
}

fn stream_updated(members: &Members) -> Result<Meaning, SetError> {
    let status = StreamStatus::named(text(members, "status")?);
    Ok(Meaning::StreamUpdated { status: status.ok_or(SetError::Event("status"))? })
}
