//! What the provider answers through the browser (RFC 6749 §4.1.2): anybody can write it.

use keys::Secret;

use crate::error::LoginError;

/// The longest query, in bytes. Codes of large providers have some 2 KiB.
pub(crate) const QUERY_MAX: usize = 8 << 10;

/// The most parameters.
pub(crate) const PARAMETERS_MAX: usize = 32;

/// Errors that are told apart (RFC 6749 §4.1.2.1, Core §3.1.2.6). The text of others, and every
/// description, is somebody else's, and is not shown.
const KNOWN: [&str; 12] = [
    "access_denied",
    "account_selection_required",
    "consent_required",
    "interaction_required",
    "invalid_request",
    "invalid_scope",
    "login_required",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unmet_authentication_requirements",
    "unsupported_response_type",
];

/// An answer that was read; that it belongs to a login of ours is still to be shown.
#[derive(Debug)]
pub(crate) struct Callback {
    /// The state that we gave.
    pub(crate) state: String,
    /// The issuer that it says it is of (RFC 9207).
    pub(crate) iss: Option<String>,
    /// The code, or why there is none.
    pub(crate) outcome: Result<Secret<String>, &'static str>,
}

/// Reads the query of a request to the redirect URI.
pub(crate) fn read(query: &str) -> Result<Callback, LoginError> {
    if query.len() > QUERY_MAX {
        return Err(LoginError::Callback("too long"));
    }
    let (mut state, mut iss, mut code, mut error) = (None, None, None, None);
    for (place, (name, value)) in form_urlencoded::parse(query.as_bytes()).enumerate() {
        if place >= PARAMETERS_MAX {
            return Err(LoginError::Callback("too many parameters"));
        }
        let slot = match &*name {
            "state" => &mut state,
            "iss" => &mut iss,
            "code" => &mut code,
            "error" => &mut error,
            // Unrecognised parameters are ignored (RFC 6749 §4.1.2).
            _ => continue,
        };
        if slot.replace(value.into_owned()).is_some() {
            return Err(LoginError::Callback("a parameter stands twice"));
        }
    }
    let state = state.ok_or(LoginError::Callback("no state"))?;
    let outcome = match (code, error) {
        (Some(code), None) if !code.is_empty() => Ok(Secret::new(code)),
        (None, Some(error)) => Err(known(&error)),
        _ => return Err(LoginError::Callback("not one of code and error")),
    };
    Ok(Callback { state, iss, outcome })
}

/// The error by a name of our own.
fn known(error: &str) -> &'static str {
    KNOWN.into_iter().find(|known| *known == error).unwrap_or("another error")
}
