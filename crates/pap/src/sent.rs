//! Clients that sent a person here to consent: what is shown of them, and what they are told.

use std::time::Duration;

use model::{Code, ConsentId, Entropy, SentBy, Sha256Digest, Timestamp};
use oauth::redirect_uri::RedirectUri;
use oauth::{ErrorCode, OAuthError, authorization_code};

use crate::command::AdminError;

/// Where the answer to `sent` goes: it was one of the client's own when it was asked.
pub(crate) fn redirect(sent: &SentBy) -> Result<RedirectUri, AdminError> {
    let unreadable = || AdminError::unavailable("the client's redirect URI cannot be read");
    RedirectUri::parse(&sent.redirect_uri).ok_or_else(unreadable)
}

/// What is shown of the client of `sent`. Of its name nobody knows whether it is its own.
pub(crate) fn shown(sent: &SentBy) -> Result<Vec<(&'static str, String)>, AdminError> {
    let redirect = redirect(sent)?;
    let place = if redirect.is_loopback() {
        format!("{}: a program on the machine that you are at", redirect.host())
    } else {
        redirect.host().to_owned()
    };
    let name = sent.name.as_ref().map(|name| ("Calls itself", name.clone()));
    let scopes =
        sent.scope.clone().unwrap_or_else(|| "none named: all of the tools below".to_owned());
    let own = [("Client", sent.client_id.clone())].into_iter().chain(name);
    let rest = [
        ("Sends the answer to", place),
        ("For the server", sent.server.to_string()),
        ("Scopes", scopes),
    ];
    Ok(own.chain(rest).collect())
}

/// Makes the code by which the client of `sent` gets what was consented to as `id`; gives where the
/// browser goes on to with it.
pub(crate) fn coded(
    sent: &mut SentBy,
    id: ConsentId,
    (issuer, now, entropy): (&str, Timestamp, &dyn Entropy),
) -> Result<String, AdminError> {
    let code = format!("{id}.{}", keys::unguessable(|bytes| entropy.fill(bytes)));
    let expires = now.plus(Duration::from_secs(authorization_code::LIFETIME_S));
    sent.code = Some(Code { digest: Sha256Digest::of(code.as_bytes()), expires });
    let said = (sent.state.as_deref(), issuer);
    Ok(authorization_code::answered(&redirect(sent)?, &code, said))
}

/// Where the browser goes on to with the news that the person refused.
pub(crate) fn refused(sent: &SentBy, issuer: &str) -> Result<String, AdminError> {
    let error = OAuthError::new(ErrorCode::AccessDenied, "the person refused");
    let said = (sent.state.as_deref(), issuer);
    Ok(authorization_code::refused(&redirect(sent)?, &error, said))
}
