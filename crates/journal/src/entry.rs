//! Records on their way into the log, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::record::{Disclosure, Record};
use model::{FactKey, PersonId, RecordDigest};
use store::{LOAD_MAX, LogEntry, NewEntry, SealedDisclosure, Store, StoreError};

use crate::seal::{DataKey, SealError, Sealer};

/// Makes the entry of `record`, whose id is `id`.
pub fn entry<R: Record>(
    id: [u8; 16],
    record: &R,
    disclosure: Option<SealedDisclosure>,
) -> NewEntry {
    let bytes = record.to_canonical_bytes();
    let leaf = RecordDigest::from_bytes(*tlog::leaf_hash(&bytes).as_bytes());
    NewEntry { id, bytes, leaf, disclosure }
}

/// Why a disclosure cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DisclosureError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be unsealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// What was sealed is not a disclosure.
    #[error("the disclosure is damaged")]
    Damaged(#[source] serde_json::Error),
}

/// The log as those who decide see it. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    store: Arc<dyn Store>,
    sealer: Arc<Sealer>,
}

impl Journal {
    /// The journal kept in `store`, whose disclosures `sealer` seals.
    pub fn new(store: Arc<dyn Store>, sealer: Arc<Sealer>) -> Self {
        let forgetting = sealer.clone();
        store.on_change(Arc::new(move |keys, _| forgetting.forget(keys)));
        Self { store, sealer }
    }

    /// The store in which records and facts are committed.
    pub const fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Seals disclosures and makes data keys.
    pub const fn sealer(&self) -> &Arc<Sealer> {
        &self.sealer
    }

    /// Seals `disclosure` under the key of `person`, whom it concerns.
    pub async fn seal(
        &self,
        person: &PersonId,
        disclosure: &Disclosure,
    ) -> Result<SealedDisclosure, SealError> {
        self.sealer.seal(self.store.as_ref(), person, &disclosure.to_canonical_bytes()).await
    }

    /// Seals `disclosure` under the key of somebody new, which is stored with it.
    pub fn seal_first(
        &self,
        data_key: &DataKey,
        disclosure: &Disclosure,
    ) -> Result<SealedDisclosure, SealError> {
        self.sealer.seal_first(data_key, &disclosure.to_canonical_bytes())
    }

    /// The record at `index`, if the log has one.
    pub async fn record(&self, index: u64) -> Result<Option<LogEntry>, StoreError> {
        Ok(self.store.entries(index, 1).await?.into_iter().next())
    }

    /// The disclosure of the record at `index`; `None` if it has none, or it was erased.
    pub async fn disclosure(&self, index: u64) -> Result<Option<Disclosure>, DisclosureError> {
        self.disclosures(index, 1).await?.remove(&index).transpose()
    }

    /// The disclosures of up to `max` records from `index` on, by index: those that there are and that were
    /// not erased when this was asked.
    pub async fn disclosures(
        &self,
        index: u64,
        max: usize,
    ) -> Result<BTreeMap<u64, Result<Disclosure, DisclosureError>>, StoreError> {
        let all = self.store.disclosures(index, max).await?;
        let names = all.iter().map(|(_, sealed)| sealed.data_key.clone()).collect();
        let keys = self.data_keys(names).await?;
        let mut unwrapped = BTreeMap::new();
        let opened = all.into_iter().filter_map(|(index, sealed)| {
            let (name, body) = keys.get_key_value(&sealed.data_key)?;
            let bytes = self.sealer.open(&sealed, (name, body.as_slice()), &mut unwrapped);
            let bytes = bytes.map_err(DisclosureError::Seal);
            let read =
                |bytes: Vec<u8>| serde_json::from_slice(&bytes).map_err(DisclosureError::Damaged);
            Some((index, bytes.and_then(read)))
        });
        Ok(opened.collect())
    }

    /// The data keys among `names` as they are stored now. What was erased has none and does not open, whoever
    /// remembers its key.
    async fn data_keys(
        &self,
        names: BTreeSet<FactKey>,
    ) -> Result<BTreeMap<FactKey, Vec<u8>>, StoreError> {
        let names = Vec::from_iter(names);
        let mut keys = BTreeMap::new();
        for names in names.chunks(LOAD_MAX) {
            let loaded = self.store.load(names).await?;
            let found = names.iter().cloned().zip(loaded.bodies);
            keys.extend(found.filter_map(|(name, body)| Some((name, body?))));
        }
        Ok(keys)
    }
}
