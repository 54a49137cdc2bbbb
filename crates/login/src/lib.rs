//! A person logs in at the organisation's OpenID provider, and stays logged in for a while.
//!
//! [`Login`] is the relying party of OpenID Connect Core 1.0: authorization code, PKCE with S256,
//! state, nonce, and the issuer in the answer (RFC 9207). [`Sessions`] are the console sessions
//! that browsers hold afterwards. `docs/login.md` says what is checked and within which bounds.
//!
//! INVARIANT: a person is an issuer and a subject. Nothing else that a token says joins it to a
//! person, an e-mail address least of all; it is not even read.
//!
//! It is a library: it mounts no routes and stores nothing beyond its process. Who may do what is
//! not its to know, and whom an address tells from another is its caller's.

mod cached;
mod callback;
mod cookies;
mod error;
mod flow;
mod id_token;
mod jws;
mod key_set;
mod metadata;
mod page;
mod pending;
mod provider;
mod sessions;
#[cfg(test)]
mod tests;
mod transport;
mod url;

pub use cookies::{Cookies, LoginState, SessionId};
pub use error::{IdTokenError, LoginError, MetadataError};
pub use flow::{Begun, Login, Prompt};
pub use id_token::LoggedIn;
pub use key_set::SignatureAlgorithm;
pub use page::{page_headers, page_policy};
pub use pending::{PENDING_LIFETIME, PENDING_MAX, PENDING_OF_ONE_MAX};
pub use provider::{
    ClientAuthentication, ClientSecret, ClientSecretError, Provider, ProviderError, Settings,
};
pub use sessions::{
    ConsoleSession, SESSION_IDLE, SESSION_LIFETIME, SESSIONS_MAX, SESSIONS_OF_ONE_MAX,
    SessionError, Sessions, TooManySessions,
};
pub use transport::{Outbound, TokenRequest, Transport, TransportError};
pub use url::{EndpointUrl, NotEndpointUrl, NotReturnPath, ReturnPath};
