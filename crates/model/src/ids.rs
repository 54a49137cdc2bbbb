//! Identifiers that Chancery gives out: one type per kind, time-ordered (RFC 9562 UUID version 7).
//!
//! Time order keeps indices dense where they are written; the kind is in the text
//! (`ins_0193…`), so that one id is never taken for another, by the compiler or by a person.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Timestamp;
use crate::digest::write_hex;

/// The source of randomness: the operating system's, or a test's seeded one.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` with unpredictable bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// A text that is not an identifier of the kind that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {kind} id: expected `{prefix}_` and 32 lower-case hexadecimal digits")]
pub struct ParseIdError {
    text: String,
    kind: &'static str,
    prefix: &'static str,
}

fn parse(text: &str, kind: &'static str, prefix: &'static str) -> Result<[u8; 16], ParseIdError> {
    let error = || ParseIdError { text: text.chars().take(80).collect(), kind, prefix };
    let digits = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
    let digits = digits.ok_or_else(error)?;
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digits.len() != 32 || !digits.bytes().all(lower) {
        return Err(error());
    }
    u128::from_str_radix(digits, 16).map(u128::to_be_bytes).map_err(|_| error())
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal) => {
        spelt_id!($(#[$doc])* $name, $prefix, $kind);

        impl $name {
            /// Makes a new id that sorts after those made before `now`.
            pub fn new(now: Timestamp, entropy: &dyn Entropy) -> Self {
                let mut random = [0; 10];
                entropy.fill(&mut random);
                let millis = u64::try_from(now.as_millis()).unwrap_or(0);
                let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
                Self(uuid.into_bytes())
            }

            /// What sorts before the ids that are made at `time` and after it, and after those made before.
            pub fn before(time: Timestamp) -> Self {
                let millis = u128::try_from(time.as_millis()).unwrap_or(0);
                Self((millis << 80).to_be_bytes())
            }

            /// When it was made, to the millisecond.
            pub fn made(&self) -> Timestamp {
                let millis = u128::from_be_bytes(self.0) >> 80;
                Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
            }
        }
    };
}

macro_rules! spelt_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The id with these 16 bytes, as a store keeps it.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// As it is written everywhere: dozens of times in each decision.
            fn text(&self) -> [u8; 36] {
                let mut text = [0; 36];
                let (prefix, digits) = text.split_at_mut(4);
                prefix.copy_from_slice(concat!($prefix, "_").as_bytes());
                write_hex(digits, &self.0);
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(str::from_utf8(&self.text()).expect("digits are ASCII"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse(text, $kind, $prefix).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(str::from_utf8(&self.text()).expect("digits are ASCII"))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::spelt::read(deserializer)
            }
        }
    };
}

typed_id!(
    /// Names one running execution of an agent.
    InstanceId, "ins", "an instance"
);
typed_id!(
    /// Names one unit of work; a root task's id also names its session.
    TaskId, "tsk", "a task"
);
typed_id!(
    /// Names who authorised which purpose.
    MandateId, "man", "a mandate"
);
typed_id!(
    /// Names what somebody may do beyond their task.
    ElevationId, "elv", "an elevation"
);
typed_id!(
    /// Names one review of agents.
    ReviewId, "rvw", "a review"
);
typed_id!(
    /// Names one decision: what a tool's own line quotes, and what `log chain` starts from.
    DecisionId, "dec", "a decision"
);
typed_id!(
    /// Names a record that is not a decision.
    RecordId, "rec", "a record"
);

spelt_id!(
    /// Names what an agent asks a person for: 128 random bits, as it stands in a link.
    ConsentId, "con", "a consent"
);

impl ConsentId {
    /// Makes a new id that nobody can guess.
    pub fn new(entropy: &dyn Entropy) -> Self {
        let mut random = [0; 16];
        entropy.fill(&mut random);
        Self(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ones;

    impl Entropy for Ones {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0xff);
        }
    }

    #[test]
    fn an_id_sorts_by_when_it_was_made_and_tells_it() {
        for millis in [0, 1, 1_764_000_000_123, (1 << 48) - 2] {
            let [at, next] = [millis, millis + 1].map(Timestamp::from_millis);
            let id = TaskId::new(at, &Ones);
            assert_eq!(id.made(), at);
            assert!(TaskId::before(at) < id && id < TaskId::before(next), "{id}");
            assert_eq!(TaskId::before(at).made(), at);
        }
    }

    #[test]
    fn an_id_is_written_as_it_is_printed_and_reads_back() {
        for byte in [0, 1, 0x0f, 0x9a, 0xa7, 0xff] {
            let id = DecisionId::from_bytes([byte; 16]);
            let written = serde_json::to_string(&id).expect("it is text");
            assert_eq!(written, format!("\"{id}\""));
            assert_eq!(id.to_string(), format!("dec_{}", format!("{byte:02x}").repeat(16)));
            assert_eq!(serde_json::from_str::<DecisionId>(&written).expect("its own text"), id);
        }
    }
}
