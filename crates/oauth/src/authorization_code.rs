//! The authorization code grant with PKCE (RFC 6749 §4.1, RFC 7636, draft-ietf-oauth-v2-1): a client
//! sends a person to us with what it asks for, and redeems the code with which they come back; and
//! the refresh tokens that follow (RFC 6749 §6).
//!
//! `S256` alone is taken, the server is named (RFC 8707), and no parameter stands twice.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::consent;
use crate::error::{ErrorCode, OAuthError};
use crate::form::{Parameters, invalid, missing};
use crate::redirect_uri::RedirectUri;

/// The `grant_type` under which a code is redeemed.
pub const GRANT_TYPE: &str = "authorization_code";

/// The `grant_type` under which a refresh token is.
pub const REFRESH: &str = "refresh_token";

/// For how many seconds a code can be redeemed.
pub const LIFETIME_S: u64 = 60;

/// The longest `state`, in bytes: it is kept, and stands in a URL.
const STATE_MAX: usize = 1_024;

/// How long a verifier is (RFC 7636 §4.1).
const VERIFIER: std::ops::RangeInclusive<usize> = 43..=128;

/// An authorization request (RFC 6749 §4.1.1), of which nothing is checked yet but its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationRequest {
    /// Who asks.
    pub client_id: String,
    /// Where the answer is to go.
    pub redirect_uri: String,
    /// What is said again with it.
    pub state: Option<String>,
    /// For what; or why it cannot be had, which the client is told once it is known where to.
    pub asked: Result<Asked, OAuthError>,
}

/// What an authorization request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The digest of the verifier (`S256`).
    pub challenge: [u8; 32],
    /// The one service that the token is to be for.
    pub resource: String,
    /// Less than could be had.
    pub narrowed: Narrowed,
    /// The thumbprint of the one key for which the code is to be good (RFC 9449 §10).
    pub jkt: Option<[u8; 32]>,
}

/// To what a client narrows what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Narrowed {
    /// To nothing: all that there is for it at that service.
    Not,
    /// To these tools, as `scope` has them.
    Tools(String),
    /// To one task (RFC 9396).
    Task(Box<consent::Asked>),
}

/// What a client that has no key of its own sends to the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRequest {
    /// Who it says that it is.
    pub client_id: String,
    /// The one service that the token is for; for a refresh token it may be left out.
    pub resource: Option<String>,
    /// By what it asks.
    pub by: Redeemed,
}

/// By what such a client asks for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// By the code that a person came back with (RFC 6749 §4.1.3).
    Code {
        /// The code.
        code: String,
        /// Where it went.
        redirect_uri: String,
        /// What only the client knows that asked for it (RFC 7636 §4.5).
        verifier: String,
    },
    /// By the refresh token that came with the last token (RFC 6749 §6).
    Refresh(String),
}

/// Reads the query of an authorization request. What makes it no request at all, and what stands
/// twice, is told to nobody but the person: where else would be a guess.
pub fn parse(query: &[u8]) -> Result<AuthorizationRequest, OAuthError> {
    let mut query = Parameters::read(query)?;
    let client_id = query.need("client_id")?;
    let redirect_uri = query.need("redirect_uri")?;
    let state = query.take("state");
    if state.as_ref().is_some_and(|state| state.len() > STATE_MAX) {
        return Err(invalid("`state` is too long"));
    }
    let asked = asked(&mut query);
    Ok(AuthorizationRequest { client_id, redirect_uri, state, asked })
}

fn asked(query: &mut Parameters) -> Result<Asked, OAuthError> {
    if query.need("response_type")? != "code" {
        let why = "the response type is `code`";
        return Err(OAuthError::new(ErrorCode::UnsupportedResponseType, why));
    }
    if query.take("response_mode").is_some_and(|mode| mode != "query") {
        return Err(invalid("the response mode is `query`"));
    }
    if ["request", "request_uri"].into_iter().any(|name| query.take(name).is_some()) {
        return Err(invalid("what is asked for stands in the request itself"));
    }
    if query.take("code_challenge_method").as_deref() != Some("S256") {
        return Err(invalid("`code_challenge_method` is `S256`"));
    }
    let challenge = digest("code_challenge", query.need("code_challenge")?)?;
    let jkt = query.take("dpop_jkt").map(|jkt| digest("dpop_jkt", jkt)).transpose()?;
    let resource = query.need("resource")?;
    let narrowed = match (query.take("scope"), query.has("authorization_details")) {
        (None, false) => Narrowed::Not,
        (Some(scope), false) => Narrowed::Tools(scope),
        (None, true) => match consent::asked(query)? {
            asked if asked.sub_id.is_some() => {
                return Err(invalid("whoever is sent here is asked, and nobody else"));
            }
            asked => Narrowed::Task(Box::new(asked)),
        },
        (Some(_), true) => {
            return Err(invalid("say what is asked for once: in `scope` or in details"));
        }
    };
    Ok(Asked { challenge, resource, narrowed, jkt })
}

/// The SHA-256 digest that the parameter `name` is.
fn digest(name: &str, text: String) -> Result<[u8; 32], OAuthError> {
    let read = URL_SAFE_NO_PAD.decode(text).ok().and_then(|it| it.try_into().ok());
    read.ok_or_else(|| invalid(&format!("`{name}` is no SHA-256 digest")))
}

/// Where the browser is sent with `code` (RFC 6749 §4.1.2, RFC 9207 §2).
pub fn answered(
    redirect: &RedirectUri,
    code: &str,
    (state, issuer): (Option<&str>, &str),
) -> String {
    let state = state.map(|state| ("state", state));
    let answer = [("code", code)].into_iter().chain(state).chain([("iss", issuer)]);
    redirect.with(&answer.collect::<Vec<_>>())
}

/// Where the browser is sent with `error` (RFC 6749 §4.1.2.1, RFC 9207 §2).
pub fn refused(
    redirect: &RedirectUri,
    error: &OAuthError,
    (state, issuer): (Option<&str>, &str),
) -> String {
    let why = error.plain();
    let state = state.map(|state| ("state", state));
    let answer = [("error", error.code.as_str()), ("error_description", &why)];
    let answer = answer.into_iter().chain(state).chain([("iss", issuer)]);
    redirect.with(&answer.collect::<Vec<_>>())
}

/// What a token is asked for by a code or a refresh token with; nothing, if it is asked for by something
/// else: then nothing is taken of the form.
pub(crate) fn redeemed(form: &mut Parameters) -> Result<Option<ClientRequest>, OAuthError> {
    let is_by_code = form.get("grant_type") == Some(GRANT_TYPE);
    let by = if is_by_code {
        let (code, redirect_uri) = (form.need("code")?, form.need("redirect_uri")?);
        let verifier = form.need("code_verifier")?;
        if !VERIFIER.contains(&verifier.len()) {
            return Err(invalid("`code_verifier` has 43 to 128 characters"));
        }
        Redeemed::Code { code, redirect_uri, verifier }
    } else if form.get("grant_type") == Some(REFRESH) {
        Redeemed::Refresh(form.need("refresh_token")?)
    } else {
        return Ok(None);
    };
    if form.has("scope") || form.has("authorization_details") {
        return Err(OAuthError::new(
            ErrorCode::InvalidScope,
            "what was consented to stays as it is",
        ));
    }
    let client_id = public_client(form)?;
    let resource = form.target()?;
    if resource.is_none() && is_by_code {
        return Err(missing("resource"));
    }
    Ok(Some(ClientRequest { client_id, resource, by }))
}

/// The client that a form names which has nothing to show for it (RFC 6749 §2.1, public clients).
pub(crate) fn public_client(form: &mut Parameters) -> Result<String, OAuthError> {
    let shown = ["client_secret", "client_assertion", "client_assertion_type"];
    if shown.into_iter().any(|name| form.take(name).is_some()) {
        let why = "a client that is known by its document does not authenticate";
        return Err(OAuthError::new(ErrorCode::InvalidClient, why));
    }
    form.need("client_id")
}

/// Whether `challenge` is that of `verifier` (RFC 7636 §4.6).
pub fn is_verified(verifier: &str, challenge: &[u8; 32]) -> bool {
    <[u8; 32]>::from(Sha256::digest(verifier)) == *challenge
}
