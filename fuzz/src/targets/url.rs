//! URLs that somebody else wrote.

use https_url::HttpsUrl;

use super::text;

/// A URL that is accepted is fit to be shown and opened, has one spelling of its origin, and leads
/// another reader to the same host and port.
pub fn https(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    let Ok(url) = HttpsUrl::parse(text) else { return false };
    for spelling in [text, url.as_str()] {
        let uri: http::Uri = spelling.parse().expect("what is accepted is a URI");
        let host = uri.host().map(str::to_ascii_lowercase);
        assert_eq!(host.as_deref(), Some(url.host()), "{spelling}");
        assert_eq!(uri.port_u16().unwrap_or(https_url::DEFAULT_PORT), url.port(), "{spelling}");
    }
    let shell = ['$', '`', '\'', '"', '\\', '|', '<', '>', ' ', '\n'];
    assert!(!url.as_str().contains(shell), "{url}");
    assert_eq!(HttpsUrl::parse(url.as_str()).as_ref(), Ok(&url), "it is spelt in one way");
    true
}
