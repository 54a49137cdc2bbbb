//! Commits sequenced records to the tree, one signed checkpoint at a time.
//!
//! Order of effects: re-hash the leaves, write bundles and tiles durably, compare and swap the
//! checkpoint in the store, publish it. A crash between two of these loses nothing: tiles are a
//! function of the leaves, and the next start publishes the checkpoint that the store has.
//!
//! INVARIANT: successive checkpoints are consistent (`i_15_…`): only who holds the newest one can
//! replace it, and only by a longer tree that it extended itself.

use std::sync::Arc;

use store::{CheckpointRow, Store, StoreError};
use tlog::note::{Name, NoteSigner};
use tlog::{Checkpoint, Entry, EntryBundle, TiledTree, TreeSize, bundles_between, leaf_hash};

use crate::directory::{LogDirectory, LogReadError, PublishError};

/// The most records that one checkpoint adds, so that one step is short.
const BATCH_MAX: usize = 4_096;

/// Why no checkpoint was made.
#[derive(Debug, thiserror::Error)]
pub enum IntegrateError {
    /// Nothing was changed. The next step may succeed.
    #[error("could not read sequenced records")]
    Unread(#[from] StoreError),
    /// Nothing was signed. The next step may succeed.
    #[error("could not publish")]
    Unpublished(#[from] PublishError),
    /// The checkpoint cannot be signed.
    #[error("could not sign the checkpoint")]
    Unsignable(#[source] tlog::note::TextError),
    /// What is published cannot be read.
    #[error("could not read what is published")]
    Unreadable(#[from] LogReadError),
    /// We no longer know which checkpoint is current. Open again before going on: guessing could
    /// sign two histories of one log.
    #[error("lost track of the current checkpoint")]
    Lost,
    /// The published tiles do not belong to the newest checkpoint.
    #[error("the published tiles do not belong to the newest checkpoint: {0}")]
    Inconsistent(String),
}

/// Makes checkpoints. There is one at a time for a log.
pub struct Integrator {
    store: Arc<dyn Store>,
    directory: LogDirectory,
    signer: Arc<dyn NoteSigner + Send + Sync>,
    origin: Name,
    tree: TiledTree,
    /// The size of the checkpoint that the store has.
    current: Option<u64>,
}

impl Integrator {
    /// Takes up where the newest checkpoint of `store` left off, and publishes it.
    pub async fn open(
        store: Arc<dyn Store>,
        directory: LogDirectory,
        signer: Arc<dyn NoteSigner + Send + Sync>,
        origin: Name,
    ) -> Result<Self, IntegrateError> {
        let newest = store.checkpoint().await?;
        let size = newest.as_ref().map_or(0, |row| row.size);
        let tree = load(store.as_ref(), &directory, size).await?;
        if let Some(row) = &newest {
            let note = String::from_utf8_lossy(&row.note);
            let root = tree.root().to_string();
            if note.lines().nth(2) != Some(root.as_str()) {
                return Err(IntegrateError::Inconsistent(format!("the root is {root}")));
            }
            directory.write_checkpoint(&row.note)?;
        }
        let current = newest.map(|row| row.size);
        Ok(Self { store, directory, signer, origin, tree, current })
    }

    /// The size of the newest checkpoint.
    pub const fn size(&self) -> u64 {
        self.tree.size().get()
    }

    /// Integrates one batch; gives its signed checkpoint, or `None` if there was nothing new.
    pub async fn step(&mut self) -> Result<Option<Vec<u8>>, IntegrateError> {
        let old = self.tree.size();
        let entries = self.store.entries(old.get(), BATCH_MAX).await?;
        if entries.is_empty() && self.current.is_some() {
            return Ok(None);
        }
        let mut tree = self.tree.clone();
        let tiles = tree.extend(entries.iter().map(|entry| leaf_hash(&entry.bytes)));
        assert_eq!(tree.size().get(), old.get() + entries.len() as u64);

        for bundle in bundles_between(old, tree.size()) {
            let bytes = self.bundle(bundle).await?;
            self.directory.write(&bundle.to_string(), &bytes)?;
        }
        for new in tiles {
            self.directory.write(&new.tile.to_string(), &new.bytes)?;
        }
        let checkpoint = Checkpoint::new(self.origin.clone(), tree.size(), tree.root());
        let note = checkpoint.sign(self.signer.as_ref()).map_err(IntegrateError::Unsignable)?;
        let row = CheckpointRow { size: tree.size().get(), note: note.to_string().into_bytes() };

        // If the swap fails we cannot tell whether it was made, hence `Lost`.
        match self.store.swap_checkpoint(self.current, &row).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return Err(IntegrateError::Lost),
        }
        (self.tree, self.current) = (tree, Some(row.size));
        self.directory.write_checkpoint(&row.note)?;
        Ok(Some(row.note))
    }

    async fn bundle(&self, bundle: EntryBundle) -> Result<Vec<u8>, IntegrateError> {
        let first = bundle.first().get();
        let stored = self.store.entries(first, usize::from(bundle.width())).await?;
        let entries: Vec<_> = stored.into_iter().filter_map(|e| Entry::new(e.bytes).ok()).collect();
        assert_eq!(entries.len(), usize::from(bundle.width()), "the log has no gap");
        Ok(EntryBundle::encode(&entries))
    }
}

/// The tree of the first `size` records: from its tiles, or, where they cannot be read, from the
/// records themselves.
async fn load(
    store: &dyn Store,
    directory: &LogDirectory,
    size: u64,
) -> Result<TiledTree, IntegrateError> {
    if let Ok(tree) = TiledTree::load(TreeSize::new(size), &|tile| directory.tile(tile)) {
        return Ok(tree);
    }
    let mut tree = TiledTree::new();
    while tree.size().get() < size {
        let rest = usize::try_from(size - tree.size().get()).unwrap_or(BATCH_MAX);
        let entries = store.entries(tree.size().get(), rest.min(BATCH_MAX)).await?;
        if entries.is_empty() {
            return Err(IntegrateError::Inconsistent("records are missing".to_owned()));
        }
        for new in tree.extend(entries.iter().map(|entry| leaf_hash(&entry.bytes))) {
            directory.write(&new.tile.to_string(), &new.bytes)?;
        }
    }
    Ok(tree)
}
