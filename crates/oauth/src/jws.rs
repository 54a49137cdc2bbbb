//! JSON Web Signature, compact and strict (RFC 7515, hardened as RFC 8725 asks).
//!
//! One reading only: three parts of canonical base64url, strict JSON, one type. What verifies is
//! the caller's key by the algorithm that its own kind has; the header chooses nothing. An
//! encrypted token (RFC 7516) is never one of ours and never accepted.

mod foreign;
#[cfg(test)]
mod wycheproof;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keys::{Signer, TokenKeys, VerifyingKey};
use serde_json::{Map, Value, json};

use crate::dpop::JTI_MAX;

pub use foreign::{Foreign, Verifier};

/// The largest token, in bytes.
pub const TOKEN_MAX: usize = 8 * 1024;

/// The longest `kid`, in bytes.
pub const KID_MAX: usize = 256;

/// How far clocks may differ, in seconds.
pub(crate) const SKEW_S: i64 = 5;

/// How deep headers and claims may nest.
const DEPTH_MAX: usize = 16;

/// Header members that name or carry keys, or change what is signed: never followed, so refused.
const REFUSED: [&str; 9] = ["jku", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "enc"];

/// Why a JWS is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// It is longer than a token may be.
    #[error("the token is longer than {TOKEN_MAX} bytes")]
    TooLong,
    /// It is not three parts of canonical base64url.
    #[error("not a compact JWS")]
    NotCompact,
    /// Header or claims are not strict JSON objects.
    #[error("the {0} is not a JSON object that can be read in one way only")]
    NotJson(&'static str),
    /// The header has a member that is never followed.
    #[error("the header has the member `{0}`")]
    HeaderMember(&'static str),
    /// It is of another type than is expected here.
    #[error("the token is not of type `{0}`")]
    WrongType(&'static str),
    /// No key is known under its `kid`.
    #[error("the key is not known")]
    UnknownKey,
    /// Its `alg` is not that of the key.
    #[error("the algorithm is not that of the key")]
    WrongAlgorithm,
    /// The signature is not the key's.
    #[error("the signature does not verify")]
    WrongSignature,
    /// A claim is missing or not what it should be.
    #[error("the claim `{0}` is missing or not as it should be")]
    Claim(&'static str),
    /// It could not be signed.
    #[error("could not sign")]
    Unsigned,
}

/// A compact JWS whose header was read and whose signature is still to be verified.
#[derive(Debug)]
struct Compact<'a> {
    header: Map<String, Value>,
    payload: Vec<u8>,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    fn read(token: &'a str, most: usize) -> Result<Self, JwsError> {
        Self::read_without(token, &REFUSED, most)
    }

    /// Reads a token of at most `most` bytes whose header has none of the members `refused`.
    fn read_without(
        token: &'a str,
        refused: &[&'static str],
        most: usize,
    ) -> Result<Self, JwsError> {
        if token.len() > most {
            return Err(JwsError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwsError::NotCompact)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsError::NotCompact)?;
        if payload.contains('.') {
            return Err(JwsError::NotCompact);
        }
        let header = object(&decode(header)?, "header", TOKEN_MAX)?;
        let refused = refused.iter().find(|name| header.contains_key(**name));
        if let Some(name) = refused {
            return Err(JwsError::HeaderMember(name));
        }
        Ok(Self { header, payload: decode(payload)?, signed, signature: decode(signature)? })
    }

    /// Whether `key` signed it, by the one algorithm that `key` has.
    fn check(&self, key: &VerifyingKey) -> Result<(), JwsError> {
        let alg = self.header.get("alg").and_then(Value::as_str);
        if alg != Some(key.algorithm().as_str()) {
            return Err(JwsError::WrongAlgorithm);
        }
        let holds = key.verify(self.signed.as_bytes(), &self.signature);
        if holds { Ok(()) } else { Err(JwsError::WrongSignature) }
    }

    /// Whether it is of type `typ` (RFC 7515 §4.1.9: `application/` may be left out).
    fn is_of_type(&self, typ: &str) -> bool {
        // An empty expectation stands for the forms in which a plain JWT says, or does not say, so.
        let Some(found) = self.header.get("typ") else { return typ.is_empty() };
        let Some(found) = found.as_str() else { return false };
        let found = found.strip_prefix("application/").unwrap_or(found);
        if typ.is_empty() { found.eq_ignore_ascii_case("JWT") } else { found == typ }
    }
}

/// A JWS of one type whose header and claims were read and whose signature is still to be
/// verified.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    compact: Compact<'a>,
    pub(crate) claims: Map<String, Value>,
}

/// Reads a compact JWS whose `typ` is `typ`.
pub(crate) fn read<'a>(token: &'a str, typ: &'static str) -> Result<Unverified<'a>, JwsError> {
    read_up_to(token, typ, TOKEN_MAX)
}

/// Reads a compact JWS whose `typ` is `typ`, of `most` bytes.
pub(crate) fn read_up_to<'a>(
    token: &'a str,
    typ: &'static str,
    most: usize,
) -> Result<Unverified<'a>, JwsError> {
    let compact = Compact::read(token, most)?;
    if !compact.is_of_type(typ) {
        return Err(JwsError::WrongType(typ));
    }
    let claims = object(&compact.payload, "claims", most)?;
    Ok(Unverified { compact, claims })
}

/// Reads one canonical base64url text: no padding, no spare bits, so no second spelling.
fn decode(part: &str) -> Result<Vec<u8>, JwsError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::NotCompact)
}

fn object(bytes: &[u8], what: &'static str, most: usize) -> Result<Map<String, Value>, JwsError> {
    let limits = json::Limits { bytes: most, depth: DEPTH_MAX };
    match json::parse(bytes, limits) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(JwsError::NotJson(what)),
    }
}

impl Unverified<'_> {
    /// The `kid`, if there is one of bearable length.
    pub(crate) fn kid(&self) -> Option<&str> {
        let kid = self.compact.header.get("kid").and_then(Value::as_str);
        kid.filter(|kid| kid.len() <= KID_MAX)
    }

    /// The key that it brings along: worth something only where possession is to be proven.
    pub(crate) fn jwk(&self) -> Option<&Value> {
        self.compact.header.get("jwk")
    }

    /// Whether `key`, which is known from elsewhere, verifies the signature.
    pub(crate) fn check_by_known(&self, key: &VerifyingKey) -> Result<(), JwsError> {
        // A key that a token brings along proves nothing.
        if self.jwk().is_some() {
            return Err(JwsError::HeaderMember("jwk"));
        }
        self.compact.check(key)
    }

    /// The claims, once `key`, which is known from elsewhere, verifies the signature.
    pub(crate) fn verified_by_known(
        self,
        key: &VerifyingKey,
    ) -> Result<Map<String, Value>, JwsError> {
        self.check_by_known(key)?;
        Ok(self.claims)
    }

    /// The claims, once the one of `keys`, which are ours, that it names and that counts at `now`
    /// (seconds since the epoch) verifies the signature.
    pub(crate) fn verified_by_ours(
        self,
        (keys, now): (&TokenKeys, i64),
    ) -> Result<Map<String, Value>, JwsError> {
        if self.jwk().is_some() {
            return Err(JwsError::HeaderMember("jwk"));
        }
        let key = self.kid().and_then(|kid| keys.find(kid, now)).ok_or(JwsError::UnknownKey)?;
        self.verified_by(&key)
    }

    /// The claims, once `key` verifies the signature.
    pub(crate) fn verified_by(self, key: &VerifyingKey) -> Result<Map<String, Value>, JwsError> {
        self.compact.check(key)?;
        Ok(self.claims)
    }
}

/// Verifies a compact JWS of type `typ` by `key` and gives its claims.
pub fn verify(
    token: &str,
    typ: &'static str,
    key: &VerifyingKey,
) -> Result<Map<String, Value>, JwsError> {
    read(token, typ)?.verified_by_known(key)
}

/// Verifies a compact JWS of type `typ` by the one of `keys`, which are ours, that it names and that
/// counts at `now` (seconds since the epoch).
pub(crate) fn verify_ours(
    token: &str,
    typ: &'static str,
    (keys, now): (&TokenKeys, i64),
) -> Result<Map<String, Value>, JwsError> {
    read(token, typ)?.verified_by_ours((keys, now))
}

/// What `token` of type `typ` claims under `name`. Nothing is verified: it says by whose key, or as
/// whose, to verify it.
pub(crate) fn claimed(token: &str, typ: &'static str, name: &'static str) -> Option<String> {
    text(&read(token, typ).ok()?.claims, name).ok()
}

/// Who says (`iss`) whom `token` is about (`sub`), whatever type it is of. Nothing is verified: it
/// tells apart what is refused.
pub fn claimed_subject(token: &str) -> Option<(String, String)> {
    let payload = Compact::read_without(token, &[], TOKEN_MAX).ok()?.payload;
    let claims = object(&payload, "claims", TOKEN_MAX).ok()?;
    Some((text(&claims, "iss").ok()?, text(&claims, "sub").ok()?))
}

/// Verifies what `signer` said to `issuer` by `key`, for at most `most` seconds, at `now`: gives the
/// claims, and when it ends.
pub(crate) fn said(
    token: &str,
    typ: &'static str,
    (signer, issuer): (&str, &str),
    key: &VerifyingKey,
    (most, now): (i64, i64),
) -> Result<(Map<String, Value>, i64), JwsError> {
    let claims = verify(token, typ, key)?;
    if text(&claims, "iss")? != signer {
        return Err(JwsError::Claim("iss"));
    }
    if audience(&claims)? != issuer {
        return Err(JwsError::Claim("aud"));
    }
    let exp = short_lived(&claims, most, now)?;
    Ok((claims, exp))
}

/// Checks that what these claims say is said for at most `most` seconds, and counts at `now`; gives
/// when it ends.
pub(crate) fn short_lived(
    claims: &Map<String, Value>,
    most: i64,
    now: i64,
) -> Result<i64, JwsError> {
    let (iat, exp) = (seconds(claims, "iat")?, seconds(claims, "exp")?);
    if iat > now.saturating_add(SKEW_S) {
        return Err(JwsError::Claim("iat"));
    }
    let too_long = exp > now.saturating_add(most + SKEW_S) || exp - iat > most;
    if exp <= now || too_long {
        return Err(JwsError::Claim("exp"));
    }
    not_before(claims, now.saturating_add(SKEW_S))?;
    Ok(exp)
}

/// Signs `claims` as a JWS of type `typ`, naming the key by its thumbprint.
pub fn sign(typ: &str, claims: &Value, signer: &dyn Signer) -> Result<String, JwsError> {
    let key = signer.public();
    let header =
        json!({ "alg": key.algorithm().as_str(), "kid": key.thumbprint_text(), "typ": typ });
    sign_with(&header, claims, signer)
}

/// Signs `claims` under exactly `header`.
pub(crate) fn sign_with(
    header: &Value,
    claims: &Value,
    signer: &dyn Signer,
) -> Result<String, JwsError> {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", encode(header), encode(claims));
    let signature = signer.sign(input.as_bytes()).map_err(|_| JwsError::Unsigned)?;
    Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The text claim `name`.
pub(crate) fn text(claims: &Map<String, Value>, name: &'static str) -> Result<String, JwsError> {
    let value = claims.get(name).and_then(Value::as_str);
    value.filter(|text| !text.is_empty()).map(str::to_owned).ok_or(JwsError::Claim(name))
}

/// The `NumericDate` claim `name`, which must be a whole number that is not negative.
pub(crate) fn seconds(claims: &Map<String, Value>, name: &'static str) -> Result<i64, JwsError> {
    let value = claims.get(name).and_then(Value::as_i64);
    value.filter(|seconds| *seconds >= 0).ok_or(JwsError::Claim(name))
}

/// The claim `jti`, of bearable length.
pub(crate) fn id(claims: &Map<String, Value>) -> Result<String, JwsError> {
    let jti = text(claims, "jti")?;
    if jti.len() > JTI_MAX { Err(JwsError::Claim("jti")) } else { Ok(jti) }
}

/// Checks that `nbf`, where it stands, is not after `latest`.
pub(crate) fn not_before(claims: &Map<String, Value>, latest: i64) -> Result<(), JwsError> {
    if claims.contains_key("nbf") && seconds(claims, "nbf")? > latest {
        return Err(JwsError::Claim("nbf"));
    }
    Ok(())
}

/// The one audience: a text, or an array of one.
pub(crate) fn audience(claims: &Map<String, Value>) -> Result<String, JwsError> {
    match claims.get("aud") {
        Some(Value::String(one)) => Ok(one.clone()),
        Some(Value::Array(all)) => match all.as_slice() {
            [Value::String(one)] => Ok(one.clone()),
            _ => Err(JwsError::Claim("aud")),
        },
        _ => Err(JwsError::Claim("aud")),
    }
}
