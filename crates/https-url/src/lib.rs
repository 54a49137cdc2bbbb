//! URLs that somebody else wrote, read strictly and in one way only.
//!
//! What [`HttpsUrl::parse`] accepts may be fetched, or shown to a person and opened: it is `https`,
//! names a host by its DNS name and no user, and every reader finds the same host in it, whether it
//! goes by RFC 3986 or, as browsers do, by the WHATWG's URL standard.
//!
//! INVARIANT: an [`HttpsUrl`] holds no character that ends a quotation, or is expanded within one,
//! in a POSIX shell or in PowerShell. Whoever opens one hands it over as one argument all the same:
//! `&` and `;` stand in good URLs.
//!
//! It knows no IO. Whether a host may be reached is decided by whoever connects.

use std::fmt;

/// The longest URL, in bytes.
pub const URL_MAX: usize = 4_096;

/// The port of https (RFC 9110 §4.2.2).
pub const DEFAULT_PORT: u16 = 443;

/// The longest DNS name, in bytes, without the dot of the root (RFC 1035 §2.3.4).
const HOST_MAX: usize = 253;

/// The longest label of a DNS name, in bytes (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;

/// What may stand in a URL beside letters, digits and `%` (RFC 3986 §2), without `$` and `'`, which
/// shells take for their own, and `[` and `]`, which only an address can need.
const MARKS: &[u8] = b"-._~:/?#@!&()*+,;=";

/// An https URL with one reading.
///
/// It is spelt with scheme and host in lower case and without the default port, so that two of one
/// origin begin with the same text (RFC 3986 §6.2.2.1, §6.2.3). The rest is as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsUrl {
    text: String,
    host: String,
    port: u16,
}

/// Why a text is no [`HttpsUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHttpsUrl {
    /// It has more than [`URL_MAX`] bytes.
    #[error("the URL is longer than {URL_MAX} bytes")]
    TooLong,
    /// It does not begin with `https://`.
    #[error("the URL does not begin with `https://`")]
    Scheme,
    /// It holds a character that readers or shells take in ways of their own, or a broken escape.
    #[error("the URL holds a character that has to be percent-encoded")]
    Character,
    /// It names a user, or a password.
    #[error("the URL names a user")]
    User,
    /// Its host is no DNS name: empty, an address in any spelling, or with an empty label.
    #[error("the URL does not name a host by its DNS name")]
    Host,
    /// Its port is no number from 1 to 65535, or written with zeros before it.
    #[error("the URL's port is not a number from 1 to 65535")]
    Port,
}

impl HttpsUrl {
    /// Reads `text`.
    pub fn parse(text: &str) -> Result<Self, NotHttpsUrl> {
        if text.len() > URL_MAX {
            return Err(NotHttpsUrl::TooLong);
        }
        let rest = match text.split_at_checked("https://".len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https://") => rest,
            _ => return Err(NotHttpsUrl::Scheme),
        };
        if !is_plain(rest) {
            return Err(NotHttpsUrl::Character);
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.contains('@') {
            return Err(NotHttpsUrl::User);
        }
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, read_port(port).ok_or(NotHttpsUrl::Port)?),
            None => (authority, DEFAULT_PORT),
        };
        let host = host.to_ascii_lowercase();
        if !is_dns_name(&host) {
            return Err(NotHttpsUrl::Host);
        }
        let text = match port {
            DEFAULT_PORT => format!("https://{host}{tail}"),
            _ => format!("https://{host}:{port}{tail}"),
        };
        Ok(Self { text, host, port })
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host that it leads to, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port that it leads to.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it names a part of what it leads to (RFC 3986 §3.5).
    pub fn has_fragment(&self) -> bool {
        self.text.contains('#')
    }

    /// Whether both lead to the same host and port (RFC 6454 §5).
    pub fn is_same_origin(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }
}

impl fmt::Display for HttpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether `rest` holds nothing but what may stand in a URL, and whole escapes.
fn is_plain(rest: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'%' || MARKS.contains(&byte);
    let is_escape = |escape: &str| {
        escape.get(..2).is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    rest.bytes().all(is_known)
        && rest.split('%').skip(1).all(is_escape)
        && rest.matches('#').count() <= 1
}

/// The port that `text` spells in the only way that it can be spelt.
fn read_port(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port != 0 && port.to_string() == text).then_some(port)
}

/// Whether `host` is a DNS name (RFC 1123 §2.1) that no reader takes for an address.
fn is_dns_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=LABEL_MAX).contains(&label.len())
            && label.bytes().all(known)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // Whatever ends in a number, decimal, octal or hexadecimal, is an IPv4 address to browsers and to
    // `inet_aton`: `2130706433`, `0x7f.1` (URL standard, "ends in a number").
    let last = host.rsplit('.').next().unwrap_or_default();
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = digits(last) || last.strip_prefix("0x").is_some_and(hex);
    host.len() <= HOST_MAX && host.split('.').all(is_label) && !is_number
}
