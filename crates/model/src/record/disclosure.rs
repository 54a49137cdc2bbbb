//! Disclosures: the values and salts behind a record's commitments, kept apart from it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::de::DeserializeOwned;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Commitments;
use crate::{Commitment, Salts, Sha256Digest};

/// The most members that one disclosure may have.
pub const MEMBERS_MAX: usize = 16;

/// What stands around the values of a disclosure at most, about: the names of its members, and its seed.
const AROUND_MAX: usize = 512;

/// The values behind the commitments of one record, and the seed of their salts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disclosure {
    /// The values, by the name of the member that commits to them.
    members: BTreeMap<String, Member>,
    /// The seed of the salts.
    seed: Sha256Digest,
}

/// The value of a member.
#[derive(Clone, Debug)]
struct Member {
    /// Its text, as it is committed to (RFC 8785): but earlier builds sealed it as it came.
    text: Vec<u8>,
    /// Whether it was committed to here, and so surely is canonical.
    is_canonical: bool,
    /// As it is read, once somebody looks at it; none, if it cannot be.
    value: OnceLock<Option<Value>>,
}

impl Disclosure {
    /// An empty disclosure whose salts follow from `seed`, which must be unpredictable.
    pub const fn new(seed: [u8; 32]) -> Self {
        Self { members: BTreeMap::new(), seed: Sha256Digest::from_bytes(seed) }
    }

    /// Adds `value` under `member` and returns the commitment that the record carries.
    pub fn commit<T: Serialize + ?Sized>(&mut self, member: &str, value: &T) -> Commitment {
        assert!(self.members.len() < MEMBERS_MAX, "a record has a fixed, small set of members");
        let salt = Salts::from_seed(*self.seed.as_bytes()).of(member);
        let text = json::canonical_of(value);
        let commitment = Commitment::to(&salt, &text);
        let value = OnceLock::new();
        self.members.insert(member.to_owned(), Member { text, is_canonical: true, value });
        commitment
    }

    /// Whether a value of `member` was disclosed.
    pub fn has(&self, member: &str) -> bool {
        self.members.contains_key(member)
    }

    /// The value of `member`, if it was disclosed and can be read.
    pub fn value(&self, member: &str) -> Option<&Value> {
        self.members.get(member)?.value()
    }

    /// What the value of `member` says, if it was disclosed.
    ///
    /// # Errors
    /// It says no such thing.
    pub fn read<T: DeserializeOwned>(&self, member: &str) -> Result<Option<T>, serde_json::Error> {
        let member = self.members.get(member);
        member.map(|member| serde_json::from_slice(&member.text)).transpose()
    }

    /// The first member whose value does not open its commitment in `commitments`, or that has none.
    pub fn mismatch(&self, commitments: &Commitments) -> Option<&str> {
        let salts = Salts::from_seed(*self.seed.as_bytes());
        let opens = |(member, value): &(&String, &Member)| {
            let Some(commitment) = commitments.get(member.as_str()) else { return false };
            let salt = salts.of(member);
            commitment.opens_to(&salt, &value.text)
                || commitment.opens_to(&salt, &value.canonical())
        };
        self.members.iter().find(|pair| !opens(pair)).map(|(member, _)| member.as_str())
    }

    /// Its canonical form (RFC 8785): the values stand in it as they were committed to. The names of
    /// members are ASCII, so their order is that of their units.
    pub fn to_canonical_bytes(&self) -> Vec<u8> {
        let values: usize = self.members.values().map(|member| member.text.len()).sum();
        let mut out = Vec::with_capacity(values + AROUND_MAX);
        out.extend_from_slice(br#"{"members":{"#);
        for (index, (name, member)) in self.members.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend(json::canonical_of(name));
            out.push(b':');
            out.extend_from_slice(&member.canonical());
        }
        out.extend_from_slice(br#"},"seed":"#);
        out.extend(json::canonical_of(&self.seed));
        out.push(b'}');
        out
    }
}

impl Member {
    fn value(&self) -> Option<&Value> {
        self.value.get_or_init(|| serde_json::from_slice(&self.text).ok()).as_ref()
    }

    /// Its text in the form in which it is committed to; what cannot be read has none but its own.
    fn canonical(&self) -> Cow<'_, [u8]> {
        let value = if self.is_canonical { None } else { self.value() };
        value.map_or(Cow::Borrowed(self.text.as_slice()), |it| Cow::Owned(json::canonical(it)))
    }
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text || self.canonical() == other.canonical()
    }
}

impl Serialize for Member {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.value().ok_or_else(|| S::Error::custom("the value cannot be read"))?;
        value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Member {
    /// Its text alone: most of them are only hashed, or read as what they are.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = Box::<str>::from(raw).into_string().into_bytes();
        Ok(Self { text, is_canonical: false, value: OnceLock::new() })
    }
}
