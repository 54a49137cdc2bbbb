//! Attested workload identity: turns a token that a platform issued to a workload into who that is.
//!
//! Two kinds of platforms are known: those that issue OpenID Connect tokens (Kubernetes, CI services,
//! clouds), and SPIFFE trust domains, which issue JWT-SVIDs. [`Sources`] holds the configured ones
//! with their keys, and [`Sources::verify`] answers who the holder of a token is: a
//! [`model::WorkloadIdentity`]. `docs/workload-identity.md`
//! says what is verified, and why.
//!
//! INVARIANT: a token is verified by the keys of the one issuer that it names, among those that are
//! configured, and those keys were seen within their bound. Nothing that a token brings along is a
//! key, leads to one, or is fetched.
//!
//! It knows no store, no agent and no server, and whether a token was shown before: both kinds are
//! bearer tokens, so whoever takes one binds what it gives for it to a key of the holder's.

mod claims;
mod config;
mod error;
mod identity;
mod issuer_keys;
mod origin;
mod source;
mod sources;
mod spiffe_id;
mod verify;
mod workload_api;

pub use config::{Issuer, SetupError, SourcesConfig, TrustDomainSource};
pub use error::{RefreshError, VerifyError};
pub use identity::Verified;
pub use issuer_keys::IssuerKeys;
pub use sources::{Parts, Sources};
pub use spiffe_id::{NotSpiffeId, SpiffeId, TrustDomain};
pub use verify::WorkloadToken;
pub use workload_api::{Endpoint, FetchError, NotEndpoint, fetch_jwt_svid};

#[cfg(test)]
mod tests;
