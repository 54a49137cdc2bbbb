//! Where the provider and we can be reached, and where a person goes on after a login.

use https_url::{HttpsUrl, NotHttpsUrl};

/// The longest path to go on to, in bytes: an authorization request of a client is in it whole.
pub(crate) const RETURN_MAX: usize = 4_096;

/// Hosts that are this machine, as they stand in a URL.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// A URL of the provider's or of ours: https, or, for development, http on loopback.
///
/// It is kept as it was written: issuers and redirect URIs are compared byte for byte
/// (OpenID Connect Discovery 1.0 §4.3, RFC 9700 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointUrl {
    text: String,
    reached: Reached,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reached {
    Https(HttpsUrl),
    Loopback,
}

/// Why a text is no [`EndpointUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotEndpointUrl {
    /// It is not https, nor http on loopback with a port.
    #[error("the URL is neither https nor http on loopback with a port")]
    Scheme,
    /// It is no URL that can be read in one way.
    #[error(transparent)]
    Url(#[from] NotHttpsUrl),
    /// It has a fragment (RFC 6749 §3.1, §3.2).
    #[error("the URL has a fragment")]
    Fragment,
}

impl EndpointUrl {
    /// Reads `text`.
    pub fn parse(text: &str) -> Result<Self, NotEndpointUrl> {
        let (https, is_loopback) = match text.strip_prefix("http://") {
            Some(rest) => (HttpsUrl::parse(&stand_in(rest)?)?, true),
            None => match HttpsUrl::parse(text) {
                Err(NotHttpsUrl::Scheme) => return Err(NotEndpointUrl::Scheme),
                read => (read?, false),
            },
        };
        if https.has_fragment() {
            return Err(NotEndpointUrl::Fragment);
        }
        let reached = if is_loopback { Reached::Loopback } else { Reached::Https(https) };
        Ok(Self { text: text.to_owned(), reached })
    }

    /// The URL, as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is plain http on this machine.
    pub const fn is_loopback(&self) -> bool {
        matches!(self.reached, Reached::Loopback)
    }

    /// Whether it has a query.
    pub(crate) fn has_query(&self) -> bool {
        self.text.contains('?')
    }

    /// The URL to fetch from over TLS; `None` on loopback.
    pub(crate) const fn https(&self) -> Option<&HttpsUrl> {
        match &self.reached {
            Reached::Https(url) => Some(url),
            Reached::Loopback => None,
        }
    }

    /// The host in lower case; `None` for this machine.
    pub(crate) fn host(&self) -> Option<&str> {
        self.https().map(HttpsUrl::host)
    }

    /// The URL with `pairs` at the end of its query (RFC 6749 §3.1: what is there stays).
    pub(crate) fn with_query(&self, pairs: &[(&str, &str)]) -> String {
        let query = form(pairs);
        let mark = if self.has_query() { '&' } else { '?' };
        format!("{}{mark}{query}", self.text)
    }
}

impl std::fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// An https URL like the one on loopback that goes on with `rest`, so that both are read by the same
/// rules. The port is demanded: that of http would be mistaken for that of https.
fn stand_in(rest: &str) -> Result<String, NotEndpointUrl> {
    let after = LOOPBACK.iter().find_map(|host| rest.strip_prefix(host));
    let after = after.filter(|after| after.starts_with(':')).ok_or(NotEndpointUrl::Scheme)?;
    Ok(format!("https://localhost{after}"))
}

/// `pairs` as `application/x-www-form-urlencoded`.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// A path on our own site to go on to after a login.
///
/// INVARIANT: no browser finds another host in it, so a login never ends at somebody else's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnPath(String);

/// A text is no path to return to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a path on this site of at most {RETURN_MAX} bytes")]
pub struct NotReturnPath;

impl ReturnPath {
    /// Reads `text`: a path, perhaps with a query.
    pub fn parse(text: &str) -> Result<Self, NotReturnPath> {
        // `//host` and, to browsers, `/\host` name a host; tabs and line breaks are dropped by them.
        let is_path = text.starts_with('/') && !text.starts_with("//");
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\\\"<>#".contains(&byte);
        let fits = text.len() <= RETURN_MAX;
        let holds = fits && is_path && text.bytes().all(is_plain);
        if holds { Ok(Self(text.to_owned())) } else { Err(NotReturnPath) }
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
