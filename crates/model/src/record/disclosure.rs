//! Disclosures: the values and salts behind a record's commitments, kept apart from it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

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
    /// As it is committed to (RFC 8785).
    canonical: Vec<u8>,
    /// As it is read, once somebody looks at it.
    value: OnceLock<Value>,
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
        let (canonical, value) = (json::canonical_of(value), OnceLock::new());
        let commitment = Commitment::to(&salt, &canonical);
        self.members.insert(member.to_owned(), Member { canonical, value });
        commitment
    }

    /// The value of `member`, if it was disclosed.
    pub fn value(&self, member: &str) -> Option<&Value> {
        self.members.get(member).map(Member::value)
    }

    /// The first member whose value does not open its commitment in `commitments`, or that has none.
    pub fn mismatch(&self, commitments: &Commitments) -> Option<&str> {
        let salts = Salts::from_seed(*self.seed.as_bytes());
        let opens = |(member, value): &(&String, &Member)| {
            let commitment = commitments.get(member.as_str());
            commitment.is_some_and(|c| c.opens_to(&salts.of(member), &value.canonical))
        };
        self.members.iter().find(|pair| !opens(pair)).map(|(member, _)| member.as_str())
    }

    /// Its canonical form (RFC 8785): the values stand in it as they were committed to. The names of
    /// members are ASCII, so their order is that of their units.
    pub fn to_canonical_bytes(&self) -> Vec<u8> {
        let values: usize = self.members.values().map(|member| member.canonical.len()).sum();
        let mut out = Vec::with_capacity(values + AROUND_MAX);
        out.extend_from_slice(br#"{"members":{"#);
        for (index, (name, Member { canonical, .. })) in self.members.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend(json::canonical_of(name));
            out.push(b':');
            out.extend_from_slice(canonical);
        }
        out.extend_from_slice(br#"},"seed":"#);
        out.extend(json::canonical_of(&self.seed));
        out.push(b'}');
        out
    }
}

impl Member {
    fn value(&self) -> &Value {
        let read = || serde_json::from_slice(&self.canonical).expect("what is canonical is JSON");
        self.value.get_or_init(read)
    }
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Serialize for Member {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Ok(Self { canonical: json::canonical(&value), value: value.into() })
    }
}
