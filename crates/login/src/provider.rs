//! The provider, and how we are registered there: what the operator wrote, checked once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keys::{KeyRingError, Secret, Signer};
use oauth::client_assertion;
use oauth::jws::JwsError;

use crate::key_set::SignatureAlgorithm;
use crate::transport::TokenRequest;
use crate::url::{EndpointUrl, form};

/// The longest client id, scope, class of authentication, and name of a claim, in bytes.
const NAME_MAX: usize = 256;

/// The most scopes, classes of authentication, hosts and audiences, each.
const NAMES_MAX: usize = 16;

/// The longest `max_age`: a day. Beyond it nobody is asked to log in again.
const MAX_AGE_MAX: Duration = Duration::from_hours(24);

/// The longest client secret, in bytes.
const SECRET_MAX: usize = 1_024;

/// A client secret, as the provider gave it to us.
#[derive(Clone, Debug)]
pub struct ClientSecret(Secret<String>);

/// Why there is no client secret.
#[derive(Debug, thiserror::Error)]
pub enum ClientSecretError {
    /// The file cannot be read, or others can read it.
    #[error(transparent)]
    File(#[from] KeyRingError),
    /// The file holds something else.
    #[error("`{0}` does not hold one line of printable ASCII as a client secret")]
    Unfit(PathBuf),
}

impl ClientSecret {
    /// Reads the secret in the file at `path`, which nobody but its owner may be able to read.
    pub fn read(path: &Path) -> Result<Self, ClientSecretError> {
        let unfit = || ClientSecretError::Unfit(path.to_owned());
        let text = String::from_utf8(keys::read_private(path)?).map_err(|_| unfit())?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let is_line = line.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if line.is_empty() || line.len() > SECRET_MAX || !is_line {
            return Err(unfit());
        }
        Ok(Self(Secret::new(line.to_owned())))
    }

    const fn expose(&self) -> &String {
        self.0.expose()
    }
}

/// How we show the provider's token endpoint who we are.
#[derive(Clone)]
pub enum ClientAuthentication {
    /// By a key of ours (`private_key_jwt`, RFC 7523 §2.2). What RFC 9700 §2.5 prefers: the provider
    /// holds nothing with which anybody could pretend to be us.
    PrivateKeyJwt(Arc<dyn Signer>),
    /// By a secret (`client_secret_basic`, RFC 6749 §2.3.1).
    Secret(ClientSecret),
}

impl ClientAuthentication {
    /// The form of `pairs`, with which `client` shows the token endpoint of `issuer` who it is, at a time in
    /// seconds since the epoch, under an id that was never used.
    pub fn request(
        &self,
        pairs: &[(&str, &str)],
        (client, issuer): (&str, &str),
        (now, jti): (i64, &str),
    ) -> Result<TokenRequest, JwsError> {
        let mut pairs = pairs.to_vec();
        match self {
            Self::PrivateKeyJwt(signer) => {
                // For the issuer and nobody else: another's token endpoint could not use it.
                let assertion = client_assertion::make((client, issuer), &**signer, now, jti)?;
                pairs.push(("client_id", client));
                pairs.push(("client_assertion_type", client_assertion::TYPE));
                pairs.push(("client_assertion", &assertion));
                Ok(TokenRequest { form: Secret::new(form(&pairs)), authorization: None })
            }
            Self::Secret(secret) => {
                // Each is encoded as in a form first (RFC 6749 §2.3.1).
                let encode = |text: &str| {
                    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
                };
                let both = format!("{}:{}", encode(client), encode(secret.expose()));
                let authorization = format!("Basic {}", STANDARD.encode(both));
                let authorization = Some(Secret::new(authorization));
                Ok(TokenRequest { form: Secret::new(form(&pairs)), authorization })
            }
        }
    }

    /// The method by its registered name.
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::PrivateKeyJwt(_) => "private_key_jwt",
            Self::Secret(_) => "client_secret_basic",
        }
    }
}

impl std::fmt::Debug for ClientAuthentication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.method())
    }
}

/// What the operator says of the provider and of our registration there.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The issuer, exactly as its tokens and metadata spell it.
    pub issuer: EndpointUrl,
    /// The id under which we are registered.
    pub client_id: String,
    /// How we authenticate.
    pub authentication: ClientAuthentication,
    /// Where the provider sends people back to, exactly as it is registered.
    pub redirect_uri: EndpointUrl,
    /// What is asked for beside `openid`.
    pub scopes: BTreeSet<String>,
    /// The claim that holds a person's groups. Without it, groups in a token count for nothing.
    pub groups_claim: Option<String>,
    /// The classes of authentication (`acr`) of which one must have been met; any, if empty.
    pub acr_values: BTreeSet<String>,
    /// How long ago a person may have authenticated at the provider.
    pub max_age: Option<Duration>,
    /// The one algorithm by which the provider signs ID tokens for us (Core §3.1.3.7, item 7).
    pub signed_by: SignatureAlgorithm,
    /// Hosts, beside the issuer's own, at which the provider may have its endpoints and keys, each a
    /// DNS name in lower case. What we prove ourselves with goes to no other.
    pub other_hosts: BTreeSet<String>,
    /// Audiences that an ID token for us may have beside us.
    pub other_audiences: BTreeSet<String>,
}

impl Settings {
    /// Settings with nothing that can be left out: `openid` alone, RS256, no groups.
    pub fn new(
        issuer: EndpointUrl,
        client_id: impl Into<String>,
        authentication: ClientAuthentication,
        redirect_uri: EndpointUrl,
    ) -> Self {
        Self {
            issuer,
            client_id: client_id.into(),
            authentication,
            redirect_uri,
            scopes: BTreeSet::new(),
            groups_claim: None,
            acr_values: BTreeSet::new(),
            max_age: None,
            signed_by: SignatureAlgorithm::Rs256,
            other_hosts: BTreeSet::new(),
            other_audiences: BTreeSet::new(),
        }
    }
}

/// Why settings describe no provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The issuer has a query (Discovery §2).
    #[error("the issuer has a query")]
    IssuerQuery,
    /// The redirect URI has a query, in which an answer could hide.
    #[error("the redirect URI has a query")]
    RedirectQuery,
    /// A name is empty, too long, or holds what cannot stand in it.
    #[error("`{name}` cannot be a value of `{setting}`")]
    Name {
        /// The setting.
        setting: &'static str,
        /// The name.
        name: String,
    },
    /// There are too many names in a setting.
    #[error("`{0}` has more than {NAMES_MAX} values")]
    TooMany(&'static str),
    /// The groups are to come from a claim that means something else.
    #[error("`{0}` is no claim for groups: it has a meaning of its own")]
    GroupsClaim(String),
    /// People may have authenticated longer ago than makes sense.
    #[error("`max_age` is more than {} hours", MAX_AGE_MAX.as_secs() / 3_600)]
    MaxAge,
}

/// A provider at which people log in.
#[derive(Clone, Debug)]
pub struct Provider(Settings);

impl Provider {
    /// The provider that `settings` describe.
    pub fn new(settings: Settings) -> Result<Self, ProviderError> {
        if settings.issuer.has_query() {
            return Err(ProviderError::IssuerQuery);
        }
        if settings.redirect_uri.has_query() {
            return Err(ProviderError::RedirectQuery);
        }
        if settings.max_age.is_some_and(|age| age > MAX_AGE_MAX) {
            return Err(ProviderError::MaxAge);
        }
        // A name from any of these could be put in by whoever chooses an address or a nickname.
        let taken = ["iss", "sub", "aud", "azp", "email", "name", "preferred_username", "nonce"];
        if let Some(claim) = &settings.groups_claim
            && taken.contains(&claim.as_str())
        {
            return Err(ProviderError::GroupsClaim(claim.clone()));
        }
        names("client_id", [&settings.client_id])?;
        names("scopes", &settings.scopes)?;
        names("groups_claim", &settings.groups_claim)?;
        names("acr_values", &settings.acr_values)?;
        names("other_hosts", &settings.other_hosts)?;
        names("other_audiences", &settings.other_audiences)?;
        Ok(Self(settings))
    }

    pub(crate) const fn settings(&self) -> &Settings {
        &self.0
    }

    /// The scopes as they are asked for.
    pub(crate) fn scope(&self) -> String {
        let others = self.0.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid");
        std::iter::once("openid").chain(others).collect::<Vec<_>>().join(" ")
    }

    /// Whether what is at `url` is the provider's own, as far as the operator said so.
    pub(crate) fn is_at(&self, url: &EndpointUrl) -> bool {
        match url.host() {
            Some(host) => self.0.issuer.host() == Some(host) || self.0.other_hosts.contains(host),
            None => self.0.issuer.is_loopback(),
        }
    }
}

/// Checks the values of `setting`: printable ASCII without spaces, quotes and backslashes, as RFC
/// 6749 §3.3 has it for scopes.
fn names<'a>(
    setting: &'static str,
    values: impl IntoIterator<Item = &'a String>,
) -> Result<(), ProviderError> {
    let is_known = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    for (place, name) in values.into_iter().enumerate() {
        if place >= NAMES_MAX {
            return Err(ProviderError::TooMany(setting));
        }
        if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_known) {
            return Err(ProviderError::Name { setting, name: name.clone() });
        }
    }
    Ok(())
}
