//! Keys of other issuers as they publish them (RFC 7517), and the algorithms by which they sign.
//!
//! INVARIANT: what verifies is a public key of 2,048 bits or more, or of a curve, by an algorithm that
//! is its own; no shared key, no private one, and no key of which a set holds two under one name.

mod algorithm;
mod key;
mod set;
#[cfg(test)]
mod wycheproof;

pub use algorithm::Algorithm;
pub use key::{PublicKey, Purpose};
pub use set::{KEYS_MAX, KeySet, KeySetError};
