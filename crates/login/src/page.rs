//! What every page for a person is sent with.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue};

/// Nothing runs, nothing comes from elsewhere, nothing goes elsewhere, and nobody frames the page
/// (Content Security Policy Level 3). A form cannot lead to the provider either, as browsers follow
/// `form-action` through redirects: a login begins by a link.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// The same policy for a page whose form leads on to `source`, as browsers follow `form-action`
/// through redirects. It names one source alone: whatever could end a directive is left out with it.
pub fn page_policy(source: &str) -> HeaderValue {
    let is_one =
        !source.bytes().any(|byte| matches!(byte, b';' | b',') || !byte.is_ascii_graphic());
    let form_action = format!("form-action 'self' {};", if is_one { source } else { "" });
    let policy = POLICY.replace("form-action 'self';", &form_action);
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static(POLICY))
}

/// The headers of a page: against framing (clickjacking), keeping, and telling others by `Referer`
/// which page somebody came from. Our own site is told: with `no-referrer` browsers would send
/// `Origin: null` with our own forms (Fetch §3.2), as with those of anybody.
pub const fn page_headers() -> [(HeaderName, HeaderValue); 5] {
    [
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        // For browsers that do not know `frame-ancestors`.
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ]
}
