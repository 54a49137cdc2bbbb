//! Reads JSON strictly, in one reading only, and writes it canonically.
//!
//! What [`parse`] accepts is I-JSON (RFC 7493) that no two parsers read differently: no member name
//! twice, none that differs from another in case alone, no lone surrogate, no number that a double
//! cannot hold. What [`canonical`] writes is RFC 8785: equal values give equal bytes.
//!
//! INVARIANT: `parse(canonical(v)) == v` for every value that `parse` gives.
//!
//! It knows no schema and no product.

mod canonical;
mod error;
mod number;
mod read;
mod scan;
mod weight;
mod write;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use canonical::{canonical, canonical_of};
pub use error::{ParseError, ReadError};
pub use number::is_exact_number;
pub use weight::weight;

/// The most bytes that a text may have unless its reader says otherwise.
pub const MAX_BYTES_DEFAULT: usize = 1 << 20;

/// The most arrays and objects inside each other unless the reader says otherwise.
pub const MAX_DEPTH_DEFAULT: usize = 64;

/// The most arrays and objects inside each other that any reader may allow.
pub const DEPTH_CEILING: usize = 127;

/// How much one text may ask of its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes.
    pub bytes: usize,
    /// The most arrays and objects inside each other; more than [`DEPTH_CEILING`] counts as that.
    pub depth: usize,
}

impl Limits {
    /// The default limits, but for `bytes`.
    pub const fn of_bytes(bytes: usize) -> Self {
        Self { bytes, depth: MAX_DEPTH_DEFAULT }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of_bytes(MAX_BYTES_DEFAULT)
    }
}

/// Reads one JSON text.
///
/// A number with an integral value becomes an integer however it is spelled, so `1e2`, `100.0` and
/// `100` are one value.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Value, ParseError> {
    if bytes.len() > limits.bytes {
        return Err(ParseError::TooLarge { limit: limits.bytes });
    }
    let text = scan::text(bytes)?;
    scan::scan(text, limits.depth.min(DEPTH_CEILING))?;
    read::read(text)
}

/// Reads one JSON text into a `T`.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8], limits: Limits) -> Result<T, ReadError> {
    let value = parse(bytes, limits)?;
    serde_json::from_value(value).map_err(ReadError::Unexpected)
}
