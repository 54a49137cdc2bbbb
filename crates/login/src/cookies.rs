//! What a browser holds: the cookie of a login that it began, and that of its session.
//!
//! Both are `SameSite=Lax`. `Strict` would not come with the provider's redirect back to us, which
//! is a navigation from another site, nor when somebody follows a link to an approval in a message.
//! `Lax` comes with navigations by GET alone. They change nothing here, but that a client asks a person
//! something, which locks nobody out; what changes something is a POST, with which it does not come from
//! another site, and needs the session's CSRF token besides.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use keys::Secret;
use model::{Entropy, Sha256Digest};

use crate::pending::PENDING_LIFETIME;
use crate::sessions::SESSION_LIFETIME;
use crate::url::EndpointUrl;

/// The length of what nobody may guess: 32 bytes in base64url.
const TEXT_LEN: usize = 43;

/// What nobody can guess.
pub(crate) fn unguessable(entropy: &dyn Entropy) -> String {
    keys::unguessable(|bytes| entropy.fill(bytes))
}

/// What binds a login to the browser that began it: good once, and for ten minutes.
#[derive(Debug)]
pub struct LoginState(Secret<String>);

/// The id of a session. Who has it is the person, so it lives in the browser and nowhere else.
#[derive(Debug)]
pub struct SessionId(Secret<String>);

impl LoginState {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        Self(Secret::new(unguessable(entropy)))
    }

    pub(crate) fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.0.expose().as_bytes())
    }
}

impl SessionId {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        Self(Secret::new(unguessable(entropy)))
    }

    pub(crate) fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.0.expose().as_bytes())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }
}

/// How cookies are spelt at our own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookies {
    /// Whether browsers reach us over TLS.
    is_secure: bool,
}

impl Cookies {
    /// The cookies of the site at `redirect_uri`. Over TLS their names begin with `__Host-`: no
    /// other host, and nobody on the way, can set them. On loopback, where there is no TLS, browsers
    /// would not take such names; there every process of the machine can have what it likes sent to
    /// it from another port, so that this is for development alone.
    pub const fn of(redirect_uri: &EndpointUrl) -> Self {
        Self { is_secure: !redirect_uri.is_loopback() }
    }

    /// Sets the cookie of a login that begins.
    pub fn set_login(self, state: &LoginState) -> HeaderValue {
        self.set(self.login_name(), state.0.expose(), PENDING_LIFETIME.as_secs())
    }

    /// Takes the cookie of a login away.
    pub fn clear_login(self) -> HeaderValue {
        self.set(self.login_name(), "", 0)
    }

    /// The login that a browser began, by its request.
    pub fn login(self, headers: &HeaderMap) -> Option<LoginState> {
        find(headers, self.login_name()).map(|value| LoginState(Secret::new(value)))
    }

    /// Sets the cookie of a session.
    pub fn set_session(self, id: &SessionId) -> HeaderValue {
        self.set(self.session_name(), id.0.expose(), SESSION_LIFETIME.as_secs())
    }

    /// Takes the cookie of a session away.
    pub fn clear_session(self) -> HeaderValue {
        self.set(self.session_name(), "", 0)
    }

    /// The session of a browser, by its request.
    pub fn session(self, headers: &HeaderMap) -> Option<SessionId> {
        find(headers, self.session_name()).map(|value| SessionId(Secret::new(value)))
    }

    const fn login_name(self) -> &'static str {
        if self.is_secure { "__Host-chancery-login" } else { "chancery-login" }
    }

    const fn session_name(self) -> &'static str {
        if self.is_secure { "__Host-chancery-session" } else { "chancery-session" }
    }

    fn set(self, name: &str, value: &str, seconds: u64) -> HeaderValue {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let text =
            format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        let mut header = HeaderValue::from_str(&text).expect("base64url is ASCII");
        header.set_sensitive(true);
        header
    }
}

/// The value of the cookie `name`, if it stands there once and is one of ours. Two of a name are one
/// too many: who of the two was planted cannot be told.
fn find(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';'));
    let mut values = pairs.filter_map(|pair| {
        let (found, value) = pair.trim_matches([' ', '\t']).split_once('=')?;
        (found == name).then_some(value)
    });
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let is_ours = value.len() == TEXT_LEN && keys::from_base64url(value).is_some();
    is_ours.then(|| value.to_owned())
}
