//! The keys of one issuer at one time (RFC 7517 §5).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::jws::KID_MAX;
use serde_json::Value;

use super::key::{PublicKey, Purpose};

/// The most keys that a set may list, of any kind.
pub const KEYS_MAX: usize = 64;

/// Why a document is no set of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It has no list `keys`.
    #[error("the document has no list `keys`")]
    NoKeys,
    /// It lists too many.
    #[error("the document lists more than {KEYS_MAX} keys")]
    TooMany,
    /// Two keys have one name, so that it does not say which of them is meant.
    #[error("two keys have the same `kid`")]
    SameKid,
}

/// The keys of one issuer. Empty means that the issuer has revoked all.
#[derive(Default)]
pub struct KeySet {
    named: BTreeMap<String, Arc<PublicKey>>,
    nameless: Vec<Arc<PublicKey>>,
}

impl KeySet {
    /// The keys for `purpose` in `document`. Others are left out (RFC 7517 §5).
    pub fn parse(document: &Value, purpose: Purpose) -> Result<Self, KeySetError> {
        let listed = document.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoKeys)?;
        if listed.len() > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let mut set = Self::default();
        for members in listed.iter().filter_map(Value::as_object) {
            let Some(key) = PublicKey::from_jwk(members, purpose) else { continue };
            match (members.get("kid"), purpose) {
                (Some(Value::String(kid)), _) if (1..=KID_MAX).contains(&kid.len()) => {
                    if set.named.insert(kid.clone(), Arc::new(key)).is_some() {
                        return Err(KeySetError::SameKid);
                    }
                }
                (None, Purpose::Signatures) => set.nameless.push(Arc::new(key)),
                // A trust domain's keys have names, and a name that no token can have is none.
                (None, Purpose::JwtSvid | Purpose::JwtBundle) | (Some(_), _) => {}
            }
        }
        Ok(set)
    }

    /// The key that `kid` names; without a name, the only one.
    pub fn find(&self, kid: Option<&str>) -> Option<&Arc<PublicKey>> {
        match kid {
            Some(kid) => self.named.get(kid),
            None if self.len() == 1 => self.named.values().chain(&self.nameless).next(),
            None => None,
        }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.named.len() + self.nameless.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
