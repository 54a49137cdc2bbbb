//! Disclosures: the values and salts behind a record's commitments, kept apart from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Commitments;
use crate::{Commitment, Salts, Sha256Digest};

/// The most members that one disclosure may have.
pub const MEMBERS_MAX: usize = 16;

/// The values behind the commitments of one record, and the seed of their salts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disclosure {
    /// The values, by the name of the member that commits to them.
    members: BTreeMap<String, serde_json::Value>,
    /// The seed of the salts.
    seed: Sha256Digest,
}

impl Disclosure {
    /// An empty disclosure whose salts follow from `seed`, which must be unpredictable.
    pub const fn new(seed: [u8; 32]) -> Self {
        Self { members: BTreeMap::new(), seed: Sha256Digest::from_bytes(seed) }
    }

    /// Adds `value` under `member` and returns the commitment that the record carries.
    pub fn commit(&mut self, member: &str, value: serde_json::Value) -> Commitment {
        assert!(self.members.len() < MEMBERS_MAX, "a record has a fixed, small set of members");
        let salt = Salts::from_seed(*self.seed.as_bytes()).of(member);
        let commitment = Commitment::to(&salt, &json::canonical(&value));
        self.members.insert(member.to_owned(), value);
        commitment
    }

    /// The value of `member`, if it was disclosed.
    pub fn value(&self, member: &str) -> Option<&serde_json::Value> {
        self.members.get(member)
    }

    /// The first member whose value does not open its commitment in `commitments`, or that has none.
    pub fn mismatch(&self, commitments: &Commitments) -> Option<&str> {
        let salts = Salts::from_seed(*self.seed.as_bytes());
        let opens = |(member, value): &(&String, &serde_json::Value)| {
            let commitment = commitments.get(member.as_str());
            commitment.is_some_and(|c| c.opens_to(&salts.of(member), &json::canonical(value)))
        };
        self.members.iter().find(|pair| !opens(pair)).map(|(member, _)| member.as_str())
    }
}
