//! The token service: turns an agent's proof of who it is into a short, narrow token, bound to one
//! instance's key, for one service, under one task.
//!
//! Issuing is an act like any other: it is decided and recorded before a token is signed
//! (`i_01_…`). It knows OAuth and the authority; the store it sees only through the latter.

mod asker;
mod attest;
mod authorize;
mod bound;
mod client;
mod clients;
mod consented;
mod delegate;
mod devices;
mod enrol;
mod family;
mod given_up;
mod grant;
mod initiated;
mod mint;
mod narrow;
mod not_permitted;
mod possession;
mod proposed;
mod pushed;
mod receivers;
mod redeem;
mod renewal;
mod resume;
mod service;
mod strangers;
mod turns;
mod vouchers;

pub use authorize::{Authorizing, NotAuthorized};
pub use bound::SHOWN_OF_AGENT_MAX;
pub use clients::Documents;
pub use delegate::HandingOn;
pub use devices::NoDevice;
pub use grant::TokenGrant;
pub use mint::Minter;
pub use receivers::RECEIVER_TOKENS_MAX;
pub use service::{TASK_OVER, TokenHttpRequest, TokenService};
