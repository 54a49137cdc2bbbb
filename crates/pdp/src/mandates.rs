//! The digests of mandates, each computed once: hashing one anew would cost as much as all its
//! other checks together.
//!
//! INVARIANT: what is answered for a mandate is what [`Mandate::digest`] gives for it, whatever was
//! asked before. A digest is found again only by a mandate that equals the one it was computed of.

use std::collections::HashMap;
use std::sync::{LazyLock, RwLock};

use model::{Mandate, MandateDigest, MandateId};

/// The most mandates that are remembered; beyond that they are forgotten all at once.
const MANDATES_MAX: usize = 4_096;

type Known = HashMap<MandateId, (Mandate, MandateDigest)>;

static KNOWN: LazyLock<RwLock<Known>> = LazyLock::new(RwLock::default);

/// The digest of `mandate`.
pub(crate) fn digest(mandate: &Mandate) -> MandateDigest {
    let known = KNOWN.read().expect("no panic while it is held");
    if let Some((same, digest)) = known.get(&mandate.id)
        && same == mandate
    {
        return *digest;
    }
    drop(known);
    let digest = mandate.digest();
    let mut known = KNOWN.write().expect("no panic while it is held");
    if known.len() >= MANDATES_MAX {
        known.clear();
    }
    known.insert(mandate.id, (mandate.clone(), digest));
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mandate_that_changed_has_another_digest() {
        let mut mandate = crate::tests::fixtures::standing().mandate;
        let before = digest(&mandate);
        assert_eq!(digest(&mandate), before);
        mandate.valid_until = mandate.given;
        assert_eq!(digest(&mandate), mandate.digest());
        assert_ne!(digest(&mandate), before);
        for number in 0..=MANDATES_MAX {
            mandate.id = MandateId::from_bytes((number as u128).to_be_bytes());
            assert_eq!(digest(&mandate), mandate.digest());
        }
        assert!(KNOWN.read().expect("nobody panicked").len() <= MANDATES_MAX);
    }
}
