//! The keys that sign notes, as verifiers are told them: `name+id+base64(algorithm ‖ public key)`.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, ED25519_PUBLIC_KEY_LEN, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::{Attested, SIGNATURE_BYTES};

/// The most bytes of a name.
const MAX_NAME_BYTES: usize = 255;

/// The latest time of a cosignature (tlog-cosignature: 2^63 - 1), in seconds since 1970.
const MAX_TIME: u64 = i64::MAX.cast_unsigned();

/// The name of a key, and of the log whose key it is (its origin).
///
/// Not empty, without spaces, `+` and control characters, so it fits every format here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a text is no [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a log or key is 1 to {MAX_NAME_BYTES} bytes without spaces and `+`")]
pub struct NameError;

/// The first bytes of the hash of a key with its name. Tells keys apart; proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

/// What a key's signatures are signatures of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519 over the text (signed-note, type 0x01). A log signs so.
    Ed25519,
    /// Ed25519 over a time and the text (tlog-cosignature v1, type 0x04). A witness signs so.
    Cosignature,
}

/// A public key that verifies notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: Name,
    id: KeyId,
    algorithm: Algorithm,
    public: [u8; ED25519_PUBLIC_KEY_LEN],
}

/// Why a text is no [`VerifierKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierKeyError {
    /// It is not `name+id+base64`.
    #[error("not a verifier key: it should read `name+id+base64`")]
    Malformed,
    /// Its name cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It is of another kind than Ed25519.
    #[error("the verifier key is not of a kind that is supported")]
    UnknownAlgorithm,
    /// Its id is not that of its name and key: some of it was changed.
    #[error("the id of the verifier key does not fit its name and key")]
    WrongId,
}

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = |char: char| !char.is_whitespace() && !char.is_control() && char != '+';
        let fits = (1..=MAX_NAME_BYTES).contains(&text.len()) && text.chars().all(fits);
        if fits { Ok(Self(text.to_owned())) } else { Err(NameError) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl KeyId {
    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl Algorithm {
    const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Cosignature => 4,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Ed25519, Self::Cosignature].into_iter().find(|algorithm| algorithm.byte() == byte)
    }
}

impl VerifierKey {
    /// The key named `name` with these public bytes (RFC 8032).
    pub fn new(name: Name, algorithm: Algorithm, public: [u8; ED25519_PUBLIC_KEY_LEN]) -> Self {
        let hash = Sha256::new().chain_update(&name.0).chain_update([b'\n', algorithm.byte()]);
        let [a, b, c, d, ..]: [u8; 32] = hash.chain_update(public).finalize().into();
        Self { name, id: KeyId([a, b, c, d]), algorithm, public }
    }

    /// The key's name.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// The key's id, which its signatures carry.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// What the key's signatures are signatures of.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key (RFC 8032).
    pub const fn public(&self) -> &[u8; ED25519_PUBLIC_KEY_LEN] {
        &self.public
    }

    /// Says what `signature` attests of `text`; `None` if it is not this key's signature of it.
    pub(super) fn verify(&self, text: &str, signature: &[u8]) -> Option<Attested> {
        match self.algorithm {
            Algorithm::Ed25519 => {
                self.verify_bytes(text.as_bytes(), signature)?;
                Some(Attested { at: None })
            }
            Algorithm::Cosignature => {
                let (time, signature) = signature.split_first_chunk()?;
                let at = Some(u64::from_be_bytes(*time)).filter(|at| *at <= MAX_TIME)?;
                let signed = format!("cosignature/v1\ntime {at}\n{text}");
                self.verify_bytes(signed.as_bytes(), signature)?;
                Some(Attested { at: Some(at) })
            }
        }
    }

    fn verify_bytes(&self, signed: &[u8], signature: &[u8]) -> Option<()> {
        let signature: &[u8; SIGNATURE_BYTES] = signature.try_into().ok()?;
        UnparsedPublicKey::new(&ED25519, &self.public).verify(signed, signature).ok()
    }
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(VerifierKeyError::Malformed);
        };
        let name = name.parse()?;
        let key = STANDARD.decode(key).map_err(|_| VerifierKeyError::Malformed)?;
        let (algorithm, public) = key.split_first().ok_or(VerifierKeyError::Malformed)?;
        let algorithm = Algorithm::from_byte(*algorithm);
        let algorithm = algorithm.ok_or(VerifierKeyError::UnknownAlgorithm)?;
        let public = public.try_into().map_err(|_| VerifierKeyError::Malformed)?;
        let key = Self::new(name, algorithm, public);
        if key.id.to_string() == id { Ok(key) } else { Err(VerifierKeyError::WrongId) }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([&[self.algorithm.byte()], self.public.as_slice()].concat());
        write!(formatter, "{}+{}+{key}", self.name, self.id)
    }
}
