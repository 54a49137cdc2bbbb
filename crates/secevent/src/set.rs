//! Security event tokens: whose they are, for whom, of when, and about whom (RFC 8417, SSF 1.0 §4.1).

use std::collections::BTreeSet;

use oauth::jwks::Algorithm;
use oauth::jws::{Foreign, Verifier};
use serde_json::{Map, Value};

use crate::error::SetError;
use crate::event::{Event, Meaning};
use crate::subject::{Subject, is_sound};

/// The largest token, in bytes.
pub const SET_BYTES_MAX: usize = 64 << 10;

/// The longest `jti`, and the longest `txn`, in bytes.
pub const JTI_MAX: usize = 256;

/// How long after it was issued a token counts, in milliseconds: a transmitter whose receiver was down
/// tries again for days, and for as long it is remembered which tokens there were.
pub const AGE_MAX_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

/// By how much a transmitter's clock may be ahead of ours, in milliseconds.
pub const SKEW_MS: i64 = 5 * 60 * 1_000;

/// The most audiences that a token may list.
const AUDIENCES_MAX: usize = 16;

/// The type of a security event token (RFC 8417 §2.3).
pub const TYPE: &str = "secevent+jwt";

/// Claims by which a token is another kind of token, or would be about somebody in a way of its own
/// (SSF 1.0 §4.1.4, §4.1.7).
const OTHER_KINDS: [&str; 2] = ["sub", "exp"];

/// The last second of which anything can be told: that of the year 9999.
const SECONDS_MAX: f64 = 253_402_300_799.0;

/// From whom tokens are taken, and how.
#[derive(Clone, Copy, Debug)]
pub struct Transmitter<'a> {
    /// Its issuer: `iss` of all its tokens.
    pub issuer: &'a str,
    /// For whom its tokens are.
    pub audience: &'a str,
    /// By which algorithms it may sign.
    pub algorithms: &'a BTreeSet<Algorithm>,
}

/// A security event token that was read, is of the transmitter by its own word, and is still to be
/// verified.
#[derive(Debug)]
pub struct Unverified<'a> {
    token: Foreign<'a>,
    of: Transmitter<'a>,
}

/// What a transmitter told, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its id, unique at its issuer.
    pub jti: String,
    /// When it was issued, in milliseconds since the epoch.
    pub issued: i64,
    /// Whom it is about.
    pub subject: Subject,
    /// What it tells.
    pub event: Event,
    /// When what it tells happened.
    at: Time,
}

/// A moment, in milliseconds since the epoch, and the last that is told by the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl<'a> Unverified<'a> {
    /// Reads a token of `of`: by its own word, and by an algorithm that it allows. Nobody need be asked
    /// for the key of a token that could not be taken.
    pub fn read(token: &'a str, of: Transmitter<'a>) -> Result<Self, SetError> {
        let token = Foreign::read_typed(token, TYPE, SET_BYTES_MAX)?;
        let algorithm = Algorithm::named(token.alg()?);
        if !algorithm.is_some_and(|algorithm| of.algorithms.contains(&algorithm)) {
            return Err(SetError::Algorithm);
        }
        is_of(&token.unverified_claims()?, of.issuer)?;
        Ok(Self { token, of })
    }

    /// The name of the key that signed it, if it says so.
    pub fn kid(&self) -> Result<Option<&str>, SetError> {
        Ok(self.token.kid()?)
    }

    /// What it says, once `key`, which is the transmitter's, verifies it, at `now` (milliseconds since
    /// the epoch).
    pub fn verified_by(self, key: &dyn Verifier, now: i64) -> Result<Set, SetError> {
        let claims = self.token.verified_by(key)?;
        let other = OTHER_KINDS.iter().find(|name| claims.contains_key(**name));
        if let Some(name) = other {
            return Err(SetError::OtherKind(name));
        }
        is_for(&claims, self.of.audience)?;
        let issued = time(claim(&claims, "iat")?, SetError::Claim("iat"))?;
        if issued.first > now.saturating_add(SKEW_MS) {
            return Err(SetError::NotYet);
        }
        if issued.first < now.saturating_sub(AGE_MAX_MS) {
            return Err(SetError::TooOld);
        }
        let jti = id(claim(&claims, "jti")?).ok_or(SetError::Claim("jti"))?;
        if let Some(txn) = claims.get("txn") {
            // Some write a number.
            let is_number = txn.as_i64().is_some();
            if !is_number && id(txn).is_none() {
                return Err(SetError::Claim("txn"));
            }
        }
        let event = Event::parse(claim(&claims, "events")?)?;
        let subject = Subject::parse(claim(&claims, "sub_id")?)?;
        let toe = claims.get("toe").map(|toe| time(toe, SetError::Claim("toe"))).transpose()?;
        let at = event.at.or(toe).unwrap_or(issued);
        // Whoever could date an event later than any other would have the last word for ever.
        if at.first > issued.first.saturating_add(SKEW_MS) {
            return Err(SetError::NotYet);
        }
        Ok(Set { jti, issued: issued.first, subject, event, at })
    }
}

impl Set {
    /// The same, of a transmitter whose receivers have to understand the members `critical` of a subject: what
    /// has one that is not defined means nothing, whatever it tells.
    #[must_use]
    pub fn understood(mut self, critical: &BTreeSet<String>) -> Self {
        if self.subject.unknown().iter().any(|member| critical.contains(member)) {
            self.event.meaning = Meaning::NotUnderstood;
        }
        self
    }

    /// When what it tells happened, in milliseconds since the epoch.
    pub const fn at(&self) -> i64 {
        self.at.first
    }

    /// The last millisecond at which it can have happened: whoever tells of a second means all of it.
    pub const fn until(&self) -> i64 {
        self.at.last
    }
}

fn claim<'c>(claims: &'c Map<String, Value>, name: &'static str) -> Result<&'c Value, SetError> {
    claims.get(name).ok_or(SetError::Claim(name))
}

fn is_of(claims: &Map<String, Value>, issuer: &str) -> Result<(), SetError> {
    let named = claims.get("iss").and_then(Value::as_str).ok_or(SetError::Claim("iss"))?;
    if named == issuer { Ok(()) } else { Err(SetError::Issuer) }
}

/// Checks that it is for `ours`, perhaps among others.
fn is_for(claims: &Map<String, Value>, ours: &str) -> Result<(), SetError> {
    let is_for = match claims.get("aud") {
        Some(Value::String(one)) => one == ours,
        Some(Value::Array(all)) if all.len() <= AUDIENCES_MAX => {
            let all: Option<Vec<_>> = all.iter().map(Value::as_str).collect();
            all.ok_or(SetError::Claim("aud"))?.contains(&ours)
        }
        _ => return Err(SetError::Claim("aud")),
    };
    if is_for { Ok(()) } else { Err(SetError::Audience) }
}

fn id(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| is_sound(text) && text.len() <= JTI_MAX);
    text.map(str::to_owned)
}

/// A `NumericDate` (RFC 7519 §2): seconds, perhaps with a fraction.
pub(crate) fn time(value: &Value, wrong: SetError) -> Result<Time, SetError> {
    if let Some(seconds) = value.as_i64() {
        let is_sound = (0..=253_402_300_799).contains(&seconds);
        let first = seconds.saturating_mul(1_000);
        return if is_sound { Ok(Time { first, last: first + 999 }) } else { Err(wrong) };
    }
    let seconds = value.as_f64().filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds));
    let millis = seconds.ok_or(wrong.clone())? * 1_000.0;
    let first = format!("{millis:.0}").parse().map_err(|_| wrong)?;
    Ok(Time { first, last: first })
}
