//! ID tokens: what must hold before one says who somebody is (OpenID Connect Core 1.0 §3.1.3.7).

use std::collections::BTreeSet;

use aws_lc_rs::digest;
use model::{SessionDigest, Sha256Digest, Timestamp};
use serde_json::{Map, Value};

use crate::error::IdTokenError;
use crate::jws::Unverified;
use crate::key_set::KeySet;
use crate::provider::Settings;

/// How far the provider's clock may be from ours, in seconds.
const SKEW_S: i64 = 30;

/// The longest subject, in bytes (Core §2).
pub(crate) const SUBJECT_MAX: usize = 255;

/// The longest name, class or method of authentication, and group, in bytes.
pub(crate) const TEXT_MAX: usize = 256;

/// The most groups of a person in a token.
pub(crate) const GROUPS_MAX: usize = 512;

/// The most audiences of a token, and methods of authentication.
pub(crate) const LIST_MAX: usize = 16;

/// A person, as the provider vouches for it.
///
/// Issuer and subject say who it is. No other claim does: an e-mail address may be anybody's
/// tomorrow, and is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// The provider.
    pub issuer: String,
    /// Whom it vouches for, by the name that it never gives to anybody else.
    pub subject: String,
    /// The groups, if the provider's word on them is to count; `None` where it is not.
    pub groups: Option<BTreeSet<String>>,
    /// When the login was begun.
    pub begun: Timestamp,
    /// When the person authenticated, if the provider says so.
    pub auth_time: Option<Timestamp>,
    /// The class of that authentication.
    pub acr: Option<String>,
    /// Its methods (RFC 8176).
    pub amr: BTreeSet<String>,
    /// The session at the provider (`sid`, OpenID Connect Front-Channel Logout 1.0 §3), if it names one as signals of
    /// its end could.
    pub session: Option<SessionDigest>,
    /// What to call the person in a page. It identifies nobody.
    pub name: Option<String>,
}

impl LoggedIn {
    /// Since when the person is logged in: a provider that asks nobody again vouches only for when they
    /// authenticated.
    pub fn since(&self) -> Timestamp {
        self.auth_time.unwrap_or(self.begun)
    }
}

/// What an ID token is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) settings: &'a Settings,
    /// The nonce of the login.
    pub(crate) nonce: &'a str,
    /// The access token that came beside it.
    pub(crate) access_token: &'a str,
    /// When the login was begun.
    pub(crate) begun: Timestamp,
    /// The time, in seconds since the epoch.
    pub(crate) now: i64,
}

/// Verifies `token` by `keys` and says who logged in.
pub(crate) fn verify(
    token: Unverified<'_>,
    keys: &KeySet,
    expected: Expected<'_>,
) -> Result<LoggedIn, IdTokenError> {
    let settings = expected.settings;
    if token.alg() != Some(settings.signed_by.as_str()) {
        return Err(IdTokenError::OtherAlgorithm);
    }
    let key = keys.find(token.kid()?).ok_or(IdTokenError::UnknownKey)?;
    if !key.verifies(token.signed.as_bytes(), &token.signature) {
        return Err(IdTokenError::WrongSignature);
    }
    let claims = token.claims;
    if text(&claims, "iss")? != settings.issuer.as_str() {
        return Err(IdTokenError::Claim("iss"));
    }
    audience(&claims, settings)?;
    times(&claims, expected)?;
    // By digests, so that comparing takes no longer for a better guess.
    let nonce = Sha256Digest::of(text(&claims, "nonce")?.as_bytes());
    if nonce != Sha256Digest::of(expected.nonce.as_bytes()) {
        return Err(IdTokenError::Claim("nonce"));
    }
    access_token_hash(&claims, expected)?;
    let auth_time = authenticated(&claims, expected)?;
    Ok(LoggedIn {
        issuer: settings.issuer.as_str().to_owned(),
        subject: subject(&claims)?,
        groups: groups(&claims, settings.groups_claim.as_deref())?,
        begun: expected.begun,
        auth_time,
        acr: class(&claims, &settings.acr_values)?,
        amr: optional(&claims, "amr", |amr| texts(amr, LIST_MAX))?.unwrap_or_default(),
        session: line(&claims, "sid").map(|sid| SessionDigest::of(sid.as_bytes())),
        name: line(&claims, "name"),
    })
}

/// Checks that the token is for us, and for nobody else that the operator does not know
/// (Core §3.1.3.7, items 3 to 5).
fn audience(claims: &Map<String, Value>, settings: &Settings) -> Result<(), IdTokenError> {
    let all: Vec<_> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(all)) if all.len() <= LIST_MAX => {
            let all = all.iter().map(|one| one.as_str().ok_or(IdTokenError::Claim("aud")));
            all.collect::<Result<_, _>>()?
        }
        _ => return Err(IdTokenError::Claim("aud")),
    };
    let us = settings.client_id.as_str();
    let is_known = |one: &&str| *one == us || settings.other_audiences.contains(*one);
    if !all.contains(&us) || !all.iter().all(is_known) {
        return Err(IdTokenError::Claim("aud"));
    }
    // Where there are several, the party that asked for it is to be named; where it is named, it
    // must be us.
    match claims.get("azp") {
        Some(azp) if azp == us => Ok(()),
        None if all.iter().all(|one| *one == us) => Ok(()),
        Some(_) | None => Err(IdTokenError::Claim("azp")),
    }
}

/// Checks that the token was made for this login, is not over, and has begun.
fn times(claims: &Map<String, Value>, expected: Expected<'_>) -> Result<(), IdTokenError> {
    let (iat, exp) = (seconds(claims, "iat")?, seconds(claims, "exp")?);
    let Expected { begun, now, .. } = expected;
    if exp <= now - SKEW_S || exp <= iat {
        return Err(IdTokenError::Claim("exp"));
    }
    // One from before the login is somebody's older one.
    if iat > now + SKEW_S || iat < begun.as_seconds() - SKEW_S {
        return Err(IdTokenError::Claim("iat"));
    }
    let nbf = optional(claims, "nbf", whole)?;
    if nbf.is_some_and(|nbf| nbf > now + SKEW_S) {
        return Err(IdTokenError::Claim("nbf"));
    }
    Ok(())
}

/// Checks that the access token beside it is its own, where it says so: the left half of the hash
/// (Core §3.1.3.6).
fn access_token_hash(
    claims: &Map<String, Value>,
    expected: Expected<'_>,
) -> Result<(), IdTokenError> {
    let Some(found) = claims.get("at_hash") else { return Ok(()) };
    let hash = digest::digest(expected.settings.signed_by.hash(), expected.access_token.as_bytes());
    let (left, _) = hash.as_ref().split_at(hash.as_ref().len() / 2);
    if *found == keys::base64url(left) { Ok(()) } else { Err(IdTokenError::Claim("at_hash")) }
}

/// When the person authenticated: known, and not too long ago, where that is asked for.
fn authenticated(
    claims: &Map<String, Value>,
    expected: Expected<'_>,
) -> Result<Option<Timestamp>, IdTokenError> {
    let wrong = IdTokenError::Claim("auth_time");
    let at = optional(claims, "auth_time", whole)?;
    if at.is_some_and(|at| at > expected.now + SKEW_S) {
        return Err(wrong);
    }
    if let Some(max_age) = expected.settings.max_age {
        let max_age = i64::try_from(max_age.as_secs()).map_err(|_| wrong.clone())?;
        if at.is_none_or(|at| at < expected.now - max_age - SKEW_S) {
            return Err(wrong);
        }
    }
    Ok(at.map(Timestamp::from_seconds))
}

/// The class of authentication: one of those that are demanded, if any are.
fn class(
    claims: &Map<String, Value>,
    demanded: &BTreeSet<String>,
) -> Result<Option<String>, IdTokenError> {
    let class = optional(claims, "acr", short)?;
    let is_met = demanded.is_empty() || class.as_ref().is_some_and(|acr| demanded.contains(acr));
    if is_met { Ok(class) } else { Err(IdTokenError::Claim("acr")) }
}

/// The subject: up to 255 characters of ASCII, none of them invisible (Core §2).
fn subject(claims: &Map<String, Value>) -> Result<String, IdTokenError> {
    let subject = text(claims, "sub")?;
    let is_visible = subject.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let fits = subject.len() <= SUBJECT_MAX && is_visible;
    if fits { Ok(subject.to_owned()) } else { Err(IdTokenError::Claim("sub")) }
}

/// The groups in `claim`, if there is one that counts. Without the claim there are none; if they
/// stand somewhere else (Core §5.6.2), they are not known, which is not the same.
fn groups(
    claims: &Map<String, Value>,
    claim: Option<&str>,
) -> Result<Option<BTreeSet<String>>, IdTokenError> {
    let Some(claim) = claim else { return Ok(None) };
    let elsewhere = claims.get("_claim_names");
    if elsewhere.is_some_and(|names| names.get(claim).is_some() || !names.is_object()) {
        return Err(IdTokenError::Groups);
    }
    match claims.get(claim) {
        None => Ok(Some(BTreeSet::new())),
        Some(found) => texts(found, GROUPS_MAX).map(Some).ok_or(IdTokenError::Groups),
    }
}

/// The claim `name`, without which there is a login too; nothing rather than something that does not fit a line.
fn line(claims: &Map<String, Value>, name: &str) -> Option<String> {
    let line = claims.get(name).and_then(short)?;
    (!line.chars().any(char::is_control)).then_some(line)
}

fn text<'a>(claims: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, IdTokenError> {
    let value = claims.get(name).and_then(Value::as_str);
    value.filter(|text| !text.is_empty()).ok_or(IdTokenError::Claim(name))
}

/// The `NumericDate` claim `name`.
fn seconds(claims: &Map<String, Value>, name: &'static str) -> Result<i64, IdTokenError> {
    claims.get(name).and_then(whole).ok_or(IdTokenError::Claim(name))
}

/// The claim `name`, where it stands, as `read` has it.
fn optional<T>(
    claims: &Map<String, Value>,
    name: &'static str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Result<Option<T>, IdTokenError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    read(value).map(Some).ok_or(IdTokenError::Claim(name))
}

/// A number of seconds since the epoch: whole, not negative, and of this era, so that sums with it
/// do not overflow.
fn whole(value: &Value) -> Option<i64> {
    /// 9999-12-31T23:59:59Z.
    const LAST: i64 = 253_402_300_799;
    value.as_i64().filter(|seconds| (0..=LAST).contains(seconds))
}

fn short(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| (1..=TEXT_MAX).contains(&text.len()))?;
    Some(text.to_owned())
}

/// An array of at most `limit` texts.
fn texts(value: &Value, limit: usize) -> Option<BTreeSet<String>> {
    let all = value.as_array().filter(|all| all.len() <= limit)?;
    all.iter().map(short).collect()
}
