//! OAuth and JOSE on the wire: strict JWS, access tokens, proofs of possession, client assertions,
//! the token endpoint's forms and errors, authorization and pushed requests, what clients say of
//! themselves, metadata, and signed lists of people.
//!
//! Pure rules: it is given the time and the keys, and says what holds. What a verification accepts
//! follows from the key's own kind, never from a header. It knows no store, no clock, no network.

pub mod access_token;
pub mod authorization_code;
pub mod client_assertion;
pub mod client_document;
pub mod consent;
pub mod device;
pub mod dpop;
mod error;
pub mod exchange;
pub mod form;
pub mod initiation;
pub mod jwks;
pub mod jws;
pub mod metadata;
pub mod nonces;
pub mod people;
pub mod proofs;
pub mod redirect_uri;
pub mod revocation;
pub mod signals;
pub mod token_endpoint;
pub mod verified_tokens;
pub mod word;

pub use error::{ConsentLink, ErrorCode, OAuthError, challenge, challenge_of_either};
