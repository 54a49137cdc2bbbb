//! Commits sequenced records to the tree, one signed checkpoint at a time.
//!
//! Order of effects: re-hash the leaves, write bundles and tiles durably, compare and swap the
//! checkpoint in the store, publish it. A crash between two of these loses nothing: tiles are a
//! function of the leaves, and the next start publishes the checkpoint that the store has.
//!
//! INVARIANT: successive checkpoints are consistent (`i_15_…`): only who holds the newest one can
//! replace it, and only by a longer tree that it extended itself.

use std::sync::Arc;

use store::{CheckpointRow, LogEntry, Store, StoreError};
use tlog::note::{Name, NoteSigner};
use tlog::{
    Checkpoint, Entry, EntryBundle, LeafHash, NewTile, TILE_WIDTH, TiledTree, TreeSize,
    bundles_between, leaf_hash,
};

use crate::directory::{LogDirectory, LogReadError, PublishError};

/// The most records that one checkpoint adds, so that one step is short.
const BATCH_MAX: usize = 4_096;

/// Why no checkpoint was made.
#[derive(Debug, thiserror::Error)]
pub enum IntegrateError {
    /// Nothing was changed. The next step may succeed.
    #[error("could not read sequenced records")]
    Unread(#[from] StoreError),
    /// The next step may succeed.
    #[error("could not publish")]
    Unpublished(#[from] PublishError),
    /// The checkpoint that is published cannot be read: nobody can tell whether the records are older than it. The next
    /// step may succeed.
    #[error("could not read what is published")]
    Unseen(#[from] LogReadError),
    /// The checkpoint cannot be signed.
    #[error("could not sign the checkpoint")]
    Unsignable(#[source] tlog::note::TextError),
    /// We no longer know which checkpoint is current: guessing could sign two histories of one log.
    /// The next step reads it again first.
    #[error("lost track of the current checkpoint")]
    Lost(#[source] Option<StoreError>),
    /// A record is not what its receipt promised, or is not there.
    #[error("record {0} is not what was committed")]
    NotAsCommitted(u64),
    /// The records do not belong to the newest checkpoint.
    #[error("the records do not belong to the newest checkpoint: {0}")]
    Inconsistent(String),
}

/// Makes checkpoints. There is one at a time for a log.
pub struct Integrator {
    store: Arc<dyn Store>,
    directory: LogDirectory,
    signer: Arc<dyn NoteSigner + Send + Sync>,
    origin: Name,
    at: At,
    /// Whether the last swap was answered; if not, `at` may not be where the log is.
    is_known: bool,
    /// Whether the checkpoint that the store has is the published one.
    is_published: bool,
}

/// Where the log is.
struct At {
    tree: TiledTree,
    /// The entries of the partial bundle at the right edge.
    edge: Vec<Entry>,
    /// The checkpoint that the store has.
    current: Option<CheckpointRow>,
}

impl Integrator {
    /// Takes up where the newest checkpoint of `store` left off, and publishes it.
    pub async fn open(
        store: Arc<dyn Store>,
        directory: LogDirectory,
        signer: Arc<dyn NoteSigner + Send + Sync>,
        origin: Name,
    ) -> Result<Self, IntegrateError> {
        let at = load(store.as_ref(), &directory).await?;
        let (is_known, is_published) = (true, false);
        let mut own = Self { store, directory, signer, origin, at, is_known, is_published };
        own.publish().await?;
        Ok(own)
    }

    /// The size of the newest checkpoint.
    pub const fn size(&self) -> u64 {
        self.at.tree.size().get()
    }

    /// The newest checkpoint, a signed note; none if there never was one.
    pub fn checkpoint(&self) -> Option<&[u8]> {
        self.at.current.as_ref().map(|row| row.note.as_slice())
    }

    /// Integrates one batch; gives its signed checkpoint, or `None` if there was nothing new.
    pub async fn step(&mut self) -> Result<Option<Vec<u8>>, IntegrateError> {
        if !self.is_known || self.is_taken_away().await {
            self.at = load(self.store.as_ref(), &self.directory).await?;
            (self.is_known, self.is_published) = (true, false);
        }
        if !self.is_published {
            self.publish().await?;
        }
        let old = self.at.tree.size();
        let entries = self.store.entries(old.get(), BATCH_MAX).await?;
        if entries.is_empty() && self.at.current.is_some() {
            return Ok(None);
        }
        let entries = as_committed(old.get(), entries)?;
        let (tree, edge) = (self.at.tree.clone(), self.at.edge.clone());
        let grown = blocking({
            let directory = self.directory.clone();
            move || -> Result<Grown, PublishError> {
                let grown = Grown::of(tree, edge, entries);
                directory.write_all(&grown.files).map(|()| grown)
            }
        });
        let Grown { tree, edge, full, .. } = grown.await?;

        let checkpoint = Checkpoint::new(self.origin.clone(), tree.size(), tree.root());
        let note = checkpoint.sign(self.signer.as_ref()).map_err(IntegrateError::Unsignable)?;
        let row = CheckpointRow { size: tree.size().get(), note: note.to_string().into_bytes() };

        // Whoever drops this step, or if the swap fails: we cannot tell whether it was made.
        self.is_known = false;
        let from = self.at.current.as_ref().map(|row| row.size);
        match self.store.swap_checkpoint(from, &row).await {
            Ok(true) => {}
            Ok(false) => return Err(IntegrateError::Lost(None)),
            Err(error) => return Err(IntegrateError::Lost(Some(error))),
        }
        self.at = At { tree, edge, current: Some(row.clone()) };
        (self.is_known, self.is_published) = (true, false);
        self.publish().await?;
        let directory = self.directory.clone();
        blocking(move || full.iter().for_each(|name| directory.remove_partial(name))).await;
        Ok(Some(row.note))
    }

    /// Whether the published log is gone, or an older one lies in its place: what only adds to that would leave holes,
    /// which the next start does not see.
    async fn is_taken_away(&self) -> bool {
        let Some(size) = self.at.current.as_ref().map(|row| row.size) else { return false };
        let directory = self.directory.clone();
        let published = blocking(move || directory.checkpoint()).await;
        published.is_ok_and(|note| {
            note.is_none_or(|note| signed_size(&note).is_some_and(|of| of < size))
        })
    }

    async fn publish(&mut self) -> Result<(), IntegrateError> {
        if let Some(row) = self.at.current.clone() {
            let directory = self.directory.clone();
            blocking(move || directory.write_checkpoint(&row.note)).await?;
        }
        self.is_published = true;
        Ok(())
    }
}

/// A tree that has grown, and what is to be written before its checkpoint.
struct Grown {
    tree: TiledTree,
    edge: Vec<Entry>,
    files: Vec<(String, Vec<u8>)>,
    /// The names of the files whose partial predecessors are no longer needed.
    full: Vec<String>,
}

impl Grown {
    /// Adds `entries` to `tree`, whose partial bundle has the entries `edge`.
    fn of(mut tree: TiledTree, mut edge: Vec<Entry>, entries: Vec<(Entry, LeafHash)>) -> Self {
        let old = tree.size();
        let (entries, leaves): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        let tiles = tree.extend(leaves);
        edge.extend(entries);
        let (mut files, mut full) = (Vec::new(), Vec::new());
        for bundle in bundles_between(old, tree.size()) {
            let width = usize::from(bundle.width());
            files.push((bundle.to_string(), EntryBundle::encode(&edge[..width])));
            if bundle.width() == TILE_WIDTH {
                full.push(bundle.to_string());
                edge.drain(..width);
            }
        }
        for NewTile { tile, bytes } in tiles {
            full.extend(tile.is_full().then(|| tile.to_string()));
            files.push((tile.to_string(), bytes));
        }
        Self { tree, edge, files, full }
    }
}

/// The entries from `first` on, each with its hash, if each is the one of its index and hashes to its promise.
fn as_committed(
    first: u64,
    entries: Vec<LogEntry>,
) -> Result<Vec<(Entry, LeafHash)>, IntegrateError> {
    let entry = |(index, entry): (u64, LogEntry)| {
        let promised = LeafHash::from_bytes(*entry.leaf.as_bytes());
        if entry.index != index || leaf_hash(&entry.bytes) != promised {
            return Err(IntegrateError::NotAsCommitted(index));
        }
        let entry = Entry::new(entry.bytes).map_err(|_| IntegrateError::NotAsCommitted(index))?;
        Ok((entry, promised))
    };
    (first..).zip(entries).map(entry).collect()
}

async fn range(
    store: &dyn Store,
    first: u64,
    end: u64,
) -> Result<Vec<(Entry, LeafHash)>, IntegrateError> {
    let count = usize::try_from(end - first).unwrap_or(BATCH_MAX).min(BATCH_MAX);
    let entries = as_committed(first, store.entries(first, count).await?)?;
    if entries.len() < count {
        return Err(IntegrateError::NotAsCommitted(first + entries.len() as u64));
    }
    Ok(entries)
}

/// Where the newest checkpoint of `store` left off: from its tiles or, where they are gone or
/// damaged, from the records themselves, which write them again.
async fn load(store: &dyn Store, directory: &LogDirectory) -> Result<At, IntegrateError> {
    let current = store.checkpoint().await?;
    let size = TreeSize::new(current.as_ref().map_or(0, |row| row.size));
    not_put_back(current.as_ref(), directory)?;
    let edge = size.get() - size.get() % u64::from(TILE_WIDTH);
    let edge = range(store, edge, size.get()).await?;
    let edge = edge.into_iter().map(|(entry, _)| entry).collect();
    let signed = current.as_ref().map(|row| signed_root(&row.note));
    let is_signed = |tree: &TiledTree| {
        signed.as_ref().is_none_or(|signed| *signed == Some(tree.root().to_string()))
    };
    let tiles = directory.clone();
    let read = blocking(move || TiledTree::load(size, &|tile| tiles.tile(tile)).ok()).await;
    if let Some(tree) = read.filter(is_signed) {
        return Ok(At { tree, edge, current });
    }
    tracing::warn!("the published tiles are gone or damaged: they are made again");
    let (mut tree, mut edge) = (TiledTree::new(), Vec::new());
    while tree.size() < size {
        let entries = range(store, tree.size().get(), size.get()).await?;
        let directory = directory.clone();
        let grown = blocking(move || {
            let grown = Grown::of(tree, edge, entries);
            directory.write_all(&grown.files).map(|()| grown)
        });
        Grown { tree, edge, .. } = grown.await?;
    }
    if !is_signed(&tree) {
        let root = tree.root();
        return Err(IntegrateError::Inconsistent(format!("{size} records hash to {root}")));
    }
    Ok(At { tree, edge, current })
}

/// What was published was in the store before. If the store does not have it any more, it was put
/// back to an older state, and going on would make two histories of one log. Where that cannot be told,
/// nothing goes on either.
fn not_put_back(
    current: Option<&CheckpointRow>,
    directory: &LogDirectory,
) -> Result<(), IntegrateError> {
    let Some(published) = directory.checkpoint()? else { return Ok(()) };
    let Some(size) = signed_size(&published) else {
        let why =
            "what is published as a checkpoint is none: remove it, if the database is the newest";
        return Err(IntegrateError::Inconsistent(why.to_owned()));
    };
    let stored: u64 = current.map_or(0, |row| row.size);
    let forked = stored == size
        && current.is_some_and(|row| signed_root(&row.note) != signed_root(&published));
    if stored < size || forked {
        return Err(IntegrateError::Inconsistent(format!(
            "a checkpoint of {size} records is published, the store's has {stored}: was the \
             database put back?"
        )));
    }
    Ok(())
}

/// How many records a note of ours is of.
fn signed_size(note: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(note);
    text.lines().nth(1).and_then(|size| size.parse().ok())
}

/// The root that a note of ours commits to.
fn signed_root(note: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(note);
    text.lines().nth(2).map(str::to_owned)
}

/// Runs what touches files on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
