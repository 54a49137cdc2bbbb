//! How others are asked over HTTP.
//!
//! Who wrote the URL decides how. At one that the operator wrote, [`http_client`] asks: whatever it
//! leads to is meant. At one that somebody else wrote (metadata, keys), [`Fetcher`] fetches: only
//! from public addresses, within limits, and never with anything of ours. By the same rules it delivers
//! what somebody asked for, to where they asked for it. `docs/outbound.md` says
//! what is refused and why.
//!
//! It knows no product: what a document means, how long it may be kept, and how many are fetched at
//! once is its caller's to know.

mod address;
mod fetcher;
mod plain;
mod resolver;
#[cfg(test)]
mod tests;

pub use fetcher::{FetchError, Fetcher, Message, SetupError, Trust};
pub use plain::{HttpClient, NoCertificates, http_client};
pub use resolver::NotPublic;
