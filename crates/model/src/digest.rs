//! SHA-256 digests: one type for each thing that is digested, so that two never swap.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// What is no hexadecimal digit.
const NONE: u8 = 16;

/// What each byte is worth as a hexadecimal digit.
const NIBBLES: [u8; 256] = {
    let mut all = [NONE; 256];
    let mut nibble = 0;
    while nibble < NONE {
        all[DIGITS[nibble as usize] as usize] = nibble;
        nibble += 1;
    }
    all
};

/// A text that is not a digest: not 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest: expected 64 lower-case hexadecimal digits")]
pub struct ParseDigestError(String);

/// Hexadecimal text of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = vec![0; bytes.len() * 2];
    write_hex(&mut text, bytes);
    String::from_utf8(text).expect("hexadecimal digits are ASCII")
}

/// Writes the hexadecimal text of `bytes` to `text`, which is twice as long. Records have so many
/// digests and ids that writing each to memory of its own first would cost as much as they do.
pub(crate) fn write_hex(text: &mut [u8], bytes: &[u8]) {
    assert_eq!(text.len(), bytes.len() * 2);
    for (digits, byte) in text.chunks_exact_mut(2).zip(bytes) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// The hexadecimal text of a digest.
fn text_of(digest: &[u8; 32]) -> [u8; 64] {
    let mut text = [0; 64];
    write_hex(&mut text, digest);
    text
}

pub(crate) fn unhex(text: &str) -> Result<[u8; 32], ParseDigestError> {
    let nibble = |digit: u8| NIBBLES[usize::from(digit)];
    let (mut bytes, mut all) = ([0; 32], 0);
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let (high, low) = (nibble(pair[0]), nibble(pair[1]));
        all |= high | low;
        *byte = (high << 4) | low;
    }
    // Only what is none has this bit.
    if text.len() != 64 || all & NONE != 0 {
        return Err(ParseDigestError(text.chars().take(80).collect()));
    }
    Ok(bytes)
}

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The SHA-256 of `bytes`.
            pub fn of(bytes: &[u8]) -> Self {
                Self(Sha256::digest(bytes).into())
            }

            /// The digest with these bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes of the digest.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(str::from_utf8(&text_of(&self.0)).expect("digits are ASCII"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, ParseDigestError> {
                unhex(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(str::from_utf8(&text_of(&self.0)).expect("digits are ASCII"))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::spelt::read(deserializer)
            }
        }
    };
}

digest!(
    /// The digest of something that has no type of its own here.
    Sha256Digest
);
digest!(
    /// Names a compiled policy set: its policies, schema and tool schemas.
    PolicyDigest
);
digest!(
    /// Names a mandate by its canonical content; stands in every token and record below it.
    MandateDigest
);
digest!(
    /// Names a login session of a person at their provider: by what the provider calls it (`sid`).
    SessionDigest
);
digest!(
    /// Names the canonical arguments of one call.
    ArgumentsDigest
);
digest!(
    /// Names one act whole: agent, action, resource and canonical arguments.
    ActDigest
);
digest!(
    /// Names a tool's descriptor, with where it is served from, as somebody approved it.
    PinDigest
);
digest!(
    /// Names a record by the hash of its leaf.
    RecordDigest
);

/// The RFC 7638 thumbprint of a public key, printed as base64url by those who speak JOSE.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Thumbprint(Sha256Digest);

impl Thumbprint {
    /// The thumbprint with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Sha256Digest::from_bytes(bytes))
    }

    /// The 32 bytes of the thumbprint.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Its first 80 bits, as people compare them by eye.
    pub fn fingerprint(&self) -> String {
        let pairs = self.as_bytes()[..10].chunks(2).map(hex);
        pairs.collect::<Vec<_>>().join(" ")
    }
}

impl FromStr for Thumbprint {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_spelt_in_one_way() {
        let digest = Sha256Digest::of(b"what it is of");
        let text = digest.to_string();
        assert_eq!(text.parse(), Ok(digest));
        for other in [&text[1..], format!("{text}0").as_str(), text.to_uppercase().as_str(), ""] {
            assert!(other.parse::<Sha256Digest>().is_err(), "{other}");
        }
        for (at, character) in
            [0, 1, 62, 63].into_iter().flat_map(|at| ('\0'..'Ā').map(move |it| (at, it)))
        {
            let mut spelt: Vec<char> = text.chars().collect();
            spelt[at] = character;
            let spelt = String::from_iter(spelt);
            let parsed = spelt.parse::<Sha256Digest>().map(|digest| digest.to_string()).ok();
            let is_digit = matches!(character, '0'..='9' | 'a'..='f');
            assert_eq!(parsed, is_digit.then(|| spelt.clone()), "{spelt}");
        }
    }
}
