//! The provider's metadata (OpenID Connect Discovery 1.0 §3, RFC 8414 §2), of which little is taken.
//!
//! INVARIANT: every endpoint is at a host that the operator named, so that whoever writes metadata
//! chooses nothing that this machine connects to, nor where people and credentials are sent.

use serde_json::{Map, Value};

use crate::error::{LoginError, MetadataError};
use crate::provider::Provider;
use crate::url::EndpointUrl;

/// Where the metadata of an issuer is, below it (Discovery §4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// What is taken of a provider's metadata.
#[derive(Debug)]
pub(crate) struct Metadata {
    issuer: String,
    pub(crate) authorization_endpoint: EndpointUrl,
    pub(crate) token_endpoint: EndpointUrl,
    pub(crate) jwks_uri: EndpointUrl,
    /// Whether answers say which issuer they are of (RFC 9207 §3).
    says_issuer: bool,
}

/// The URL of the metadata of `provider`.
pub(crate) fn location(provider: &Provider) -> EndpointUrl {
    let issuer = provider.settings().issuer.as_str();
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    EndpointUrl::parse(&format!("{issuer}{WELL_KNOWN}")).expect("an issuer has no query")
}

impl Metadata {
    /// Reads the metadata of `provider`.
    pub(crate) fn read(document: &Value, provider: &Provider) -> Result<Self, MetadataError> {
        let members = document.as_object().ok_or(MetadataError::Member("issuer"))?;
        let settings = provider.settings();
        if text(members, "issuer")? != settings.issuer.as_str() {
            return Err(MetadataError::OtherIssuer);
        }
        let method = settings.authentication.method();
        // What is demanded of each list, and what a list that is not there stands for.
        let demands = [
            ("response_types_supported", "code", false),
            ("id_token_signing_alg_values_supported", settings.signed_by.as_str(), false),
            // Discovery §3: without the list, `client_secret_basic`.
            ("token_endpoint_auth_methods_supported", method, method == "client_secret_basic"),
            // RFC 8414 has it, Discovery does not: large providers do it and do not say so.
            ("code_challenge_methods_supported", "S256", true),
            // Discovery §3: without the list, `query` is among them.
            ("response_modes_supported", "query", true),
        ];
        for (member, wanted, by_default) in demands {
            supports(members, (member, wanted), by_default)?;
        }
        let says_issuer = match members.get("authorization_response_iss_parameter_supported") {
            None => false,
            Some(Value::Bool(says)) => *says,
            Some(_) => {
                let member = "authorization_response_iss_parameter_supported";
                return Err(MetadataError::Member(member));
            }
        };
        Ok(Self {
            issuer: settings.issuer.as_str().to_owned(),
            authorization_endpoint: endpoint(members, "authorization_endpoint", provider)?,
            token_endpoint: endpoint(members, "token_endpoint", provider)?,
            jwks_uri: endpoint(members, "jwks_uri", provider)?,
            says_issuer,
        })
    }

    /// Checks the issuer that an answer names (RFC 9207 §2.4): the right one, or, from a provider
    /// that names none, nothing.
    pub(crate) fn check_issuer(&self, named: Option<&str>) -> Result<(), LoginError> {
        match named {
            Some(named) if named == self.issuer => Ok(()),
            None if !self.says_issuer => Ok(()),
            Some(_) | None => Err(LoginError::OtherIssuer),
        }
    }
}

/// Checks that the list `member` holds `wanted`.
fn supports(
    members: &Map<String, Value>,
    (member, wanted): (&'static str, &'static str),
    by_default: bool,
) -> Result<(), MetadataError> {
    let holds = match members.get(member) {
        None => by_default,
        Some(Value::Array(all)) => all.iter().any(|one| one == wanted),
        Some(_) => return Err(MetadataError::Member(member)),
    };
    if holds { Ok(()) } else { Err(MetadataError::Unsupported { member, wanted }) }
}

fn endpoint(
    members: &Map<String, Value>,
    member: &'static str,
    provider: &Provider,
) -> Result<EndpointUrl, MetadataError> {
    let url = EndpointUrl::parse(text(members, member)?);
    let url = url.map_err(|_| MetadataError::Member(member))?;
    if provider.is_at(&url) { Ok(url) } else { Err(MetadataError::OtherHost(member)) }
}

fn text<'a>(
    members: &'a Map<String, Value>,
    member: &'static str,
) -> Result<&'a str, MetadataError> {
    members.get(member).and_then(Value::as_str).ok_or(MetadataError::Member(member))
}
