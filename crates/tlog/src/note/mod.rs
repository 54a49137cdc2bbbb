//! Signed notes (C2SP signed-note v1.0.0): a text, and signatures of it by named keys.
//!
//! A [`SignedNote`] is only parsed; nothing in it is true until [`SignedNote::signed_by`] says so.
//! A parsed note is written back byte for byte.

mod key;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub use key::{Algorithm, KeyId, Name, NameError, VerifierKey, VerifierKeyError};

/// The most bytes of a note: room for a checkpoint with sixteen post-quantum signatures.
pub const MAX_NOTE_BYTES: usize = 128 << 10;

/// The most signature lines of a note.
pub const MAX_SIGNATURES: usize = 64;

/// Bytes of a plain Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// What each signature line begins with: an em dash and a space.
const LINE_START: &str = "— ";

/// Signs notes under one name. Implemented by whoever holds the key.
pub trait NoteSigner {
    /// The name under which it signs.
    fn name(&self) -> &Name;

    /// The id of its key, [`VerifierKey::id`].
    fn key_id(&self) -> KeyId;

    /// The Ed25519 signature of `text`.
    fn sign(&self, text: &[u8]) -> [u8; SIGNATURE_BYTES];
}

/// Why a text cannot be signed as a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// It does not end with a newline.
    #[error("the text of a note must end with a newline")]
    NoFinalNewline,
    /// It has a control character other than a newline.
    #[error("the text of a note must not have control characters")]
    ControlCharacter,
    /// The note would have more than [`MAX_NOTE_BYTES`].
    #[error("a note must not be larger than {MAX_NOTE_BYTES} bytes")]
    TooLarge,
}

/// Why bytes are no signed note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It has more than [`MAX_NOTE_BYTES`].
    #[error("the note is larger than {MAX_NOTE_BYTES} bytes")]
    TooLarge,
    /// It is not UTF-8, or has a control character other than a newline.
    #[error("the note is not plain text")]
    NotText,
    /// No blank line divides text and signatures.
    #[error("the note has no signatures")]
    Unsigned,
    /// It has more than [`MAX_SIGNATURES`].
    #[error("the note has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// A signature line is not of the prescribed form.
    #[error("signature line {line} of the note is malformed")]
    MalformedSignature {
        /// Which, from 1.
        line: usize,
    },
}

/// A signature does not fit the text and the key that it names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature of `{by}` is wrong")]
pub struct WrongSignature {
    /// The key that the signature names.
    pub by: Name,
}

/// What a signature that was verified says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attested {
    /// When a cosigner signed, in seconds since 1970; `None` for a plain signature.
    pub at: Option<u64>,
}

/// A note as it was received: nothing in it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<Signature>,
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    name: Name,
    key: KeyId,
    bytes: Vec<u8>,
}

impl SignedNote {
    /// Signs `text`.
    pub fn sign(text: &str, signer: &dyn NoteSigner) -> Result<Self, TextError> {
        if !text.ends_with('\n') {
            return Err(TextError::NoFinalNewline);
        }
        if text.bytes().any(is_forbidden) {
            return Err(TextError::ControlCharacter);
        }
        let signature = Signature {
            name: signer.name().clone(),
            key: signer.key_id(),
            bytes: signer.sign(text.as_bytes()).into(),
        };
        let note = Self { text: text.to_owned(), signatures: vec![signature] };
        if note.to_string().len() > MAX_NOTE_BYTES {
            return Err(TextError::TooLarge);
        }
        Ok(note)
    }

    /// Reads a note.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::NotText)?;
        if note.bytes().any(is_forbidden) {
            return Err(NoteError::NotText);
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Unsigned)?;
        if lines.is_empty() {
            return Err(NoteError::Unsigned);
        }
        let mut signatures = Vec::new();
        for (index, line) in lines.split_inclusive('\n').enumerate() {
            if index == MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            let signature = Signature::parse(line);
            signatures.push(signature.ok_or(NoteError::MalformedSignature { line: index + 1 })?);
        }
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// The text that was signed, if it was. It ends with a newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Says whether `key` signed the text: `None` if no signature names it, an error if one does
    /// and is wrong.
    pub fn signed_by(&self, key: &VerifierKey) -> Result<Option<Attested>, WrongSignature> {
        let mut attested = None;
        let named =
            |signature: &&Signature| signature.name == *key.name() && signature.key == key.id();
        for signature in self.signatures.iter().filter(named) {
            let said = key.verify(&self.text, &signature.bytes);
            let said = said.ok_or_else(|| WrongSignature { by: key.name().clone() })?;
            attested.get_or_insert(said);
        }
        Ok(attested)
    }
}

/// Writes the note as it is sent and stored.
impl fmt::Display for SignedNote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.text)?;
        for Signature { name, key, bytes } in &self.signatures {
            let bytes = STANDARD.encode([key.as_bytes(), bytes.as_slice()].concat());
            writeln!(formatter, "{LINE_START}{name} {bytes}")?;
        }
        Ok(())
    }
}

impl Signature {
    fn parse(line: &str) -> Option<Self> {
        let line = line.strip_prefix(LINE_START)?.strip_suffix('\n')?;
        let (name, bytes) = line.split_once(' ')?;
        let bytes = STANDARD.decode(bytes).ok()?;
        let (key, bytes) = bytes.split_first_chunk()?;
        let name = name.parse().ok()?;
        let signature = Self { name, key: KeyId::from_bytes(*key), bytes: bytes.to_vec() };
        (!bytes.is_empty()).then_some(signature)
    }
}

const fn is_forbidden(byte: u8) -> bool {
    byte < b' ' && byte != b'\n'
}
