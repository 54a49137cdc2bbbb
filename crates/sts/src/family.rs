//! What came of one authorization code: an instance, and the tokens that it was given one after
//! another, each with the refresh token by which the next is asked for.
//!
//! A refresh token is good once. All of one family begin with the same, which nobody sees but who
//! has one of them: whoever shows another than the last has one that was used, or was stolen from
//! who did (RFC 9700 §4.14.2).

use std::fmt;

use model::{Entropy, FactKey, Family, InstanceId, SentBy, Sha256Digest};

/// The next refresh token of a family, and the family once it was given.
pub(crate) struct Rotation {
    family: Family,
    place: FactKey,
    token: String,
}

/// Where the family of `token` is kept, if that could be a refresh token.
pub(crate) fn place_of(token: &str) -> Option<FactKey> {
    token.split_once('.').map(|(family, _)| place(family))
}

fn place(family: &str) -> FactKey {
    FactKey::family(&Sha256Digest::of(family.as_bytes()))
}

impl Rotation {
    /// The first refresh token for `instance`, which began with what was `sent`.
    pub(crate) fn first(sent: &SentBy, instance: InstanceId, entropy: &dyn Entropy) -> Self {
        let SentBy { client_id, since, server, .. } = sent.clone();
        let family = Family { client_id, since, instance, server, refresh: Sha256Digest::of(b"") };
        Self::of(family, &keys::unguessable(|bytes| entropy.fill(bytes)), entropy)
    }

    /// The refresh token after `last`, which is the last one of `family`.
    pub(crate) fn after(family: Family, last: &str, entropy: &dyn Entropy) -> Self {
        let id = last.split_once('.').map_or(last, |(id, _)| id);
        Self::of(family, id, entropy)
    }

    fn of(family: Family, id: &str, entropy: &dyn Entropy) -> Self {
        let token = format!("{id}.{}", keys::unguessable(|bytes| entropy.fill(bytes)));
        let refresh = Sha256Digest::of(token.as_bytes());
        Self { family: Family { refresh, ..family }, place: place(id), token }
    }

    /// The fact that giving it writes.
    pub(crate) fn fact(&self) -> (FactKey, Vec<u8>) {
        (self.place.clone(), json::canonical_of(&self.family))
    }

    /// The refresh token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation").field("family", &self.family).finish_non_exhaustive()
    }
}
