//! Records on their way into the log, and back.

use std::sync::Arc;

use model::record::{Disclosure, Record};
use model::{PersonId, RecordDigest};
use store::{LogEntry, NewEntry, SealedDisclosure, Store, StoreError};

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
        let bytes = serde_json::to_vec(disclosure).expect("a disclosure is a map with text keys");
        self.sealer.seal(self.store.as_ref(), person, &bytes).await
    }

    /// Seals `disclosure` under the key of somebody new, which is stored with it.
    pub fn seal_first(
        &self,
        data_key: &DataKey,
        disclosure: &Disclosure,
    ) -> Result<SealedDisclosure, SealError> {
        let bytes = serde_json::to_vec(disclosure).expect("a disclosure is a map with text keys");
        self.sealer.seal_first(data_key, &bytes)
    }

    /// The record at `index`, if the log has one.
    pub async fn record(&self, index: u64) -> Result<Option<LogEntry>, StoreError> {
        Ok(self.store.entries(index, 1).await?.into_iter().next())
    }

    /// The disclosure of the record at `index`; `None` if it has none, or it was erased.
    pub async fn disclosure(&self, index: u64) -> Result<Option<Disclosure>, DisclosureError> {
        let Some(sealed) = self.store.disclosure(index).await? else { return Ok(None) };
        let Some(bytes) = self.sealer.open(self.store.as_ref(), &sealed).await? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes).map(Some).map_err(DisclosureError::Damaged)
    }
}
