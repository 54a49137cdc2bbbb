//! Proof of possession at the application layer: DPoP (RFC 9449).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keys::{Signer, VerifyingKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::jws::{self, JwsError, seconds, text};

/// The `typ` of a proof.
pub const TYP: &str = "dpop+jwt";

/// The longest `jti`, in bytes.
pub const JTI_MAX: usize = 256;

/// What a proof must be for.
#[derive(Clone, Copy, Debug)]
pub struct DpopExpect<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The URL, without query and fragment.
    pub url: &'a str,
    /// The access token that goes with it, if one does.
    pub access_token: Option<&'a str>,
    /// The time, in seconds since the epoch.
    pub now: i64,
    /// How far its `iat` may be off, in seconds.
    pub max_skew_s: i64,
}

/// A proof that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedProof {
    /// The key that signed it.
    pub key: VerifyingKey,
    /// Its thumbprint.
    pub thumbprint: [u8; 32],
    /// Its id, to be used once.
    pub jti: String,
    /// When it was made.
    pub iat: i64,
    /// The nonce that it carries.
    pub nonce: Option<String>,
}

/// Verifies a proof: one signature by the key that it brings, for exactly this request.
pub fn verify_proof(proof: &str, expect: &DpopExpect<'_>) -> Result<VerifiedProof, JwsError> {
    let unverified = jws::read(proof, TYP)?;
    let jwk = unverified.jwk().ok_or(JwsError::UnknownKey)?;
    let key = VerifyingKey::from_jwk(jwk).map_err(|_| JwsError::UnknownKey)?;
    let claims = &unverified.claims;
    if text(claims, "htm")? != expect.method {
        return Err(JwsError::Claim("htm"));
    }
    if !is_same_url(&text(claims, "htu")?, expect.url) {
        return Err(JwsError::Claim("htu"));
    }
    let iat = seconds(claims, "iat")?;
    if iat.abs_diff(expect.now) > expect.max_skew_s.unsigned_abs() {
        return Err(JwsError::Claim("iat"));
    }
    let jti = text(claims, "jti")?;
    if jti.len() > JTI_MAX {
        return Err(JwsError::Claim("jti"));
    }
    if let Some(token) = expect.access_token
        && text(claims, "ath")? != token_hash(token)
    {
        return Err(JwsError::Claim("ath"));
    }
    let nonce = claims.get("nonce").and_then(Value::as_str).map(str::to_owned);
    unverified.verified_by(&key)?;
    Ok(VerifiedProof { thumbprint: key.thumbprint(), key, jti, iat, nonce })
}

impl VerifiedProof {
    /// What is used up with it: its id, of its key.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.thumbprint);
        hash.update(self.jti.as_bytes());
        hash.finalize().into()
    }
}

/// Makes a proof for a request.
pub fn make_proof(
    signer: &dyn Signer,
    expect: &DpopExpect<'_>,
    (jti, nonce): (&str, Option<&str>),
) -> Result<String, JwsError> {
    let key = signer.public();
    let header = json!({ "alg": key.algorithm().as_str(), "jwk": key.to_jwk(), "typ": TYP });
    let mut claims =
        json!({ "htm": expect.method, "htu": expect.url, "iat": expect.now, "jti": jti });
    if let Some(token) = expect.access_token {
        claims["ath"] = token_hash(token).into();
    }
    if let Some(nonce) = nonce {
        claims["nonce"] = nonce.into();
    }
    jws::sign_with(&header, &claims, signer)
}

/// The `ath` of an access token.
fn token_hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token))
}

/// Whether `claimed` names `expected`, leaving out query and fragment (RFC 9449 §4.3), and the
/// case of scheme and host and a default port, which mean nothing (RFC 3986 §6.2).
fn is_same_url(claimed: &str, expected: &str) -> bool {
    claimed == expected || normal(claimed).is_some_and(|url| Some(url) == normal(expected))
}

fn normal(url: &str) -> Option<(String, String, u16, String)> {
    let url = url.split(['?', '#']).next()?;
    let uri: http::Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let authority = uri.authority().filter(|name| !name.as_str().contains('@'))?;
    let default = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let port = match authority.as_str().strip_prefix(authority.host())? {
        "" | ":" => default,
        // `port_u16` would take a port that is none for a missing one.
        port => port.strip_prefix(':').filter(|port| all_digits(port))?.parse().ok()?,
    };
    Some((scheme, authority.host().to_ascii_lowercase(), port, uri.path().to_owned()))
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
