//! Seals disclosures, each under the key of the person whom it concerns.
//!
//! A person's data key is a fact, wrapped under the deployment's sealing key. Removing that fact
//! erases everything sealed under it, and leaves every leaf as it was.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use keys::SealingKey;
use model::{DATA_KEYS, Entropy, FactKey, PersonId};
use moka::sync::Cache;
use store::{CommitError, SealedDisclosure, Store, StoreError};

/// The most persons whose data key is kept unwrapped in memory.
const DATA_KEYS_MAX: u64 = 10_000;

/// Why something cannot be sealed or unsealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The person has no data key.
    #[error("there is no {0} to seal under")]
    NoDataKey(FactKey),
    /// A sealed value does not open: it was changed, or belongs to another key.
    #[error("the sealed value does not open")]
    Broken(#[source] keys::SealError),
}

impl From<SealError> for CommitError {
    fn from(error: SealError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

/// A person's data key as it is stored: wrapped.
#[derive(Clone, Debug)]
pub struct DataKey {
    /// The fact under which it is stored.
    pub key: FactKey,
    /// The stored value.
    pub body: Vec<u8>,
}

/// Seals and opens disclosures.
pub struct Sealer {
    master: SealingKey,
    entropy: Arc<dyn Entropy>,
    known: Cache<FactKey, Arc<SealingKey>>,
}

impl Sealer {
    /// A sealer whose data keys are wrapped under `master`.
    pub fn new(master: SealingKey, entropy: Arc<dyn Entropy>) -> Self {
        Self { master, entropy, known: Cache::new(DATA_KEYS_MAX) }
    }

    /// The key by whose codes it is remembered what results said: it is in no database.
    pub fn saying(&self) -> SealingKey {
        self.master.derived(b"chancery/said/v1")
    }

    /// Makes a data key for `person`, to be stored with the person.
    pub fn new_data_key(&self, person: &PersonId) -> DataKey {
        let mut bytes = [0; 32];
        self.entropy.fill(&mut bytes);
        let key = FactKey::data_key(person);
        let wrapped = self.master.seal(&bytes, key.as_str().as_bytes(), self.nonce());
        let body = serde_json::json!({ "wrapped": hex(&wrapped) });
        DataKey { key, body: json::canonical(&body) }
    }

    pub(crate) async fn seal(
        &self,
        store: &dyn Store,
        person: &PersonId,
        bytes: &[u8],
    ) -> Result<SealedDisclosure, SealError> {
        let data_key = FactKey::data_key(person);
        let key = match self.known.get(&data_key) {
            Some(known) => Some(known),
            None => self.load(store, &data_key).await?,
        };
        let key = key.ok_or_else(|| SealError::NoDataKey(data_key.clone()))?;
        let sealed = key.seal(bytes, data_key.as_str().as_bytes(), self.nonce());
        Ok(SealedDisclosure { data_key, sealed })
    }

    /// Seals under a data key that is made with what is sealed, and kept nowhere yet.
    pub(crate) fn seal_first(
        &self,
        data_key: &DataKey,
        bytes: &[u8],
    ) -> Result<SealedDisclosure, SealError> {
        let key = self.unwrapped(&data_key.key, &data_key.body)?;
        let data_key = data_key.key.clone();
        let sealed = key.seal(bytes, data_key.as_str().as_bytes(), self.nonce());
        Ok(SealedDisclosure { data_key, sealed })
    }

    /// Opens `sealed` by its data key `name`, of which `body` is what is stored. What was `unwrapped` before need not be
    /// again.
    pub(crate) fn open<'k>(
        &self,
        sealed: &SealedDisclosure,
        (name, body): (&'k FactKey, &[u8]),
        unwrapped: &mut BTreeMap<&'k FactKey, SealingKey>,
    ) -> Result<Vec<u8>, SealError> {
        let key = match unwrapped.entry(name) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(self.unwrapped(name, body)?),
        };
        key.open(&sealed.sealed, name.as_str().as_bytes()).map_err(SealError::Broken)
    }

    /// Forgets the data keys among `keys`: they have changed.
    pub(crate) fn forget(&self, keys: &[FactKey]) {
        for key in keys.iter().filter(|key| key.as_str().starts_with(DATA_KEYS)) {
            self.known.invalidate(key);
        }
    }

    async fn load(
        &self,
        store: &dyn Store,
        name: &FactKey,
    ) -> Result<Option<Arc<SealingKey>>, SealError> {
        let loaded = store.load(std::slice::from_ref(name)).await?;
        let Some(body) = loaded.bodies.into_iter().next().flatten() else { return Ok(None) };
        let key = Arc::new(self.unwrapped(name, &body)?);
        self.known.insert(name.clone(), key.clone());
        Ok(Some(key))
    }

    /// The key in the `body` of the fact `name`.
    fn unwrapped(&self, name: &FactKey, body: &[u8]) -> Result<SealingKey, SealError> {
        let wrapped = serde_json::from_slice::<serde_json::Value>(body).ok();
        let wrapped = wrapped.as_ref().and_then(|body| unhex(body.get("wrapped")?.as_str()?));
        let wrapped = wrapped.ok_or_else(|| SealError::NoDataKey(name.clone()))?;
        let bytes = self.master.open(&wrapped, name.as_str().as_bytes());
        let bytes = bytes.map_err(SealError::Broken)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| SealError::NoDataKey(name.clone()))?;
        Ok(SealingKey::from_bytes(bytes))
    }

    fn nonce(&self) -> [u8; 12] {
        let mut nonce = [0; 12];
        self.entropy.fill(&mut nonce);
        nonce
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
}

fn digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(|pair| (pair.len() == 2).then(|| byte(pair)).flatten()).collect()
}
