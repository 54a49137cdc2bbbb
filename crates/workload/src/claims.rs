//! Claims: when a token holds, whom it is for, and what it says of its holder.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::Timestamp;
use model::workload::{CLAIM_NAME_MAX, CLAIM_VALUE_MAX, REGISTERED};
use serde_json::{Map, Value};

use crate::error::VerifyError;

/// By how much others' clocks may differ from ours.
pub(crate) const SKEW: Duration = Duration::from_secs(30);

/// The longest lifetime of a token. One that lasts longer was made to be kept, as are the secrets of
/// service accounts of old.
pub(crate) const LIFETIME_MAX: Duration = Duration::from_hours(24);

/// The most audiences that a token may list.
pub(crate) const AUDIENCES_MAX: usize = 16;

/// The most claims that an identity has.
pub(crate) const CLAIMS_MAX: usize = 128;

/// Claims by which a token is another kind of token: one of an event (RFC 8417), also to log out
/// (OpenID Connect back-channel logout §2.4), or one that is worth nothing without a proof of
/// possession (RFC 7800), which nobody checks here.
const OTHER_KINDS: [&str; 2] = ["events", "cnf"];

/// Refuses what says of itself that it is another kind of token.
pub(crate) fn is_workload_token(claims: &Map<String, Value>) -> Result<(), VerifyError> {
    let other = OTHER_KINDS.iter().find(|name| claims.contains_key(**name));
    other.map_or(Ok(()), |name| Err(VerifyError::OtherKind(name)))
}

/// The claim `name`, a text that is not empty and has at most `max` bytes.
pub(crate) fn text<'a>(
    claims: &'a Map<String, Value>,
    name: &'static str,
    max: usize,
) -> Result<&'a str, VerifyError> {
    let value = claims.get(name).and_then(Value::as_str);
    let is_sound =
        |text: &&str| (1..=max).contains(&text.len()) && !text.chars().any(char::is_control);
    value.filter(is_sound).ok_or(VerifyError::Claim(name))
}

/// Checks that the token is for `ours`, and for nobody else: a text, or a list of one.
pub(crate) fn only_audience(claims: &Map<String, Value>, ours: &str) -> Result<(), VerifyError> {
    match audiences(claims)?.as_slice() {
        [one] if *one == ours => Ok(()),
        _ => Err(VerifyError::Audience),
    }
}

/// Checks that the token is for `ours`, perhaps among others (JWT-SVID §3.2).
pub(crate) fn has_audience(claims: &Map<String, Value>, ours: &str) -> Result<(), VerifyError> {
    if audiences(claims)?.contains(&ours) { Ok(()) } else { Err(VerifyError::Audience) }
}

fn audiences(claims: &Map<String, Value>) -> Result<Vec<&str>, VerifyError> {
    let wrong = VerifyError::Claim("aud");
    match claims.get("aud") {
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(all)) if all.len() <= AUDIENCES_MAX => {
            all.iter().map(Value::as_str).collect::<Option<_>>().ok_or(wrong)
        }
        _ => Err(wrong),
    }
}

/// Checks that the token holds `now`, and was not made to be kept; gives until when it holds. `iat`
/// may be missing unless `dated`.
pub(crate) fn expiry(
    claims: &Map<String, Value>,
    dated: bool,
    now: Timestamp,
) -> Result<Timestamp, VerifyError> {
    let expires = time(claims, "exp")?.ok_or(VerifyError::Claim("exp"))?;
    let issued = time(claims, "iat")?;
    if issued.is_none() && dated {
        return Err(VerifyError::Claim("iat"));
    }
    if now >= expires.plus(SKEW) {
        return Err(VerifyError::Expired);
    }
    let begins = [issued, time(claims, "nbf")?].into_iter().flatten().max();
    if begins.is_some_and(|begins| begins > now.plus(SKEW)) {
        return Err(VerifyError::NotYet);
    }
    // Whoever does not say when the token was made is taken to have made it now.
    let made = issued.unwrap_or_else(|| now.plus(SKEW));
    if expires.since(made) > LIFETIME_MAX || issued.is_some_and(|issued| issued >= expires) {
        return Err(VerifyError::Lifetime);
    }
    Ok(expires)
}

/// The time `name`, a whole number of seconds that is not negative (RFC 7519 §2).
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>, VerifyError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_i64().filter(|seconds| *seconds >= 0);
    seconds.map(Timestamp::from_seconds).map(Some).ok_or(VerifyError::Claim(name))
}

/// What the claims say of the holder, by name or path.
///
/// Lists, fractions and `null` are left out, and so are values that are too long: what is not there
/// meets no rule.
pub(crate) fn flat(claims: &Map<String, Value>) -> Result<BTreeMap<String, String>, VerifyError> {
    let (mut found, mut paths) = (BTreeMap::new(), BTreeSet::new());
    let mut open: Vec<_> = claims.iter().map(|(name, value)| (name.clone(), value)).collect();
    open.retain(|(name, _)| !REGISTERED.contains(&name.as_str()));
    while let Some((path, value)) = open.pop() {
        if let Value::Object(members) = value {
            open.extend(members.iter().map(|(name, value)| (format!("{path}.{name}"), value)));
            continue;
        }
        // A name may have dots, so two claims may have one path, and a rule mean the other.
        if !paths.insert(path.clone()) {
            return Err(VerifyError::Claims);
        }
        let text = scalar(value).filter(|text| text.len() <= CLAIM_VALUE_MAX);
        if let Some(text) = text.filter(|_| (1..=CLAIM_NAME_MAX).contains(&path.len())) {
            found.insert(path, text);
        }
        if found.len() > CLAIMS_MAX {
            return Err(VerifyError::Claims);
        }
    }
    Ok(found)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(is) => Some(is.to_string()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::Number(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
