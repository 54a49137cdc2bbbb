//! The published log: a directory in the layout of C2SP tlog-tiles.
//!
//! Everything in it is a function of the log's entries but the checkpoint, which is written last.
//! Entry bundles lie in it too, for auditors; what is served to the public leaves them out.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tlog::{Entry, EntryBundle, LeafIndex, Tile, TreeSize};

/// The name of the checkpoint's file.
const CHECKPOINT: &str = "checkpoint";

/// The largest file of a log directory that is read, in bytes: a full bundle of the largest
/// entries.
const FILE_MAX: u64 = 256 * (2 + 64 * 1024);

/// The log's directory could not be written.
#[derive(Debug, thiserror::Error)]
#[error("could not write `{path}`")]
pub struct PublishError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The log's directory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogReadError {
    /// A file is missing or cannot be read.
    #[error("could not read `{path}`")]
    Unread {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is too large to be what its name says.
    #[error("`{path}` is larger than it can be")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A bundle of entries is not one.
    #[error("`{path}` is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// A log's directory.
#[derive(Clone, Debug)]
pub struct LogDirectory(PathBuf);

impl LogDirectory {
    /// The log in `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The published checkpoint; `None` if there is none yet.
    pub fn checkpoint(&self) -> Result<Option<Vec<u8>>, LogReadError> {
        match self.read(CHECKPOINT) {
            Ok(note) => Ok(Some(note)),
            Err(LogReadError::Unread { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The bytes of `tile`, or the beginning of the full tile where the partial one is gone.
    pub fn tile(&self, tile: Tile) -> Result<Vec<u8>, LogReadError> {
        match self.read(&tile.to_string()) {
            Err(LogReadError::Unread { source, .. })
                if source.kind() == io::ErrorKind::NotFound && !tile.is_full() =>
            {
                let mut bytes = self.read(&tile.full().to_string())?;
                bytes.truncate(tile.byte_len());
                Ok(bytes)
            }
            other => other,
        }
    }

    /// All entries of `bundle`, or the first ones of the full bundle where the partial one is gone.
    pub fn bundle(&self, bundle: EntryBundle) -> Result<Vec<Entry>, LogReadError> {
        let path = bundle.to_string();
        let (path, bytes, read) = match self.read(&path) {
            Ok(bytes) => (path, bytes, bundle),
            Err(error) => {
                let full = EntryBundle::new(bundle.index(), tlog::TILE_WIDTH).unwrap_or(bundle);
                let path = full.to_string();
                let bytes = self.read(&path).map_err(|_| error)?;
                (path, bytes, full)
            }
        };
        let damaged = |why: String| LogReadError::Damaged { path: self.0.join(&path), why };
        let mut entries = read.decode(&bytes).map_err(|error| damaged(error.to_string()))?;
        entries.truncate(usize::from(bundle.width()));
        Ok(entries)
    }

    /// The entry at `index` of a log of `size`.
    pub fn entry(&self, index: u64, size: u64) -> Result<Option<Entry>, LogReadError> {
        let holding = EntryBundle::holding(TreeSize::new(size), LeafIndex::new(index));
        let Some(bundle) = holding else { return Ok(None) };
        let offset = usize::try_from(index - bundle.first().get()).unwrap_or(usize::MAX);
        Ok(self.bundle(bundle)?.into_iter().nth(offset))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, LogReadError> {
        let path = self.0.join(name);
        let unread = |source| LogReadError::Unread { path: path.clone(), source };
        let length = fs::metadata(&path).map_err(unread)?.len();
        if length > FILE_MAX {
            return Err(LogReadError::TooLarge { path });
        }
        fs::read(&path).map_err(|source| LogReadError::Unread { path, source })
    }

    /// Writes a tile or bundle durably. Writing it again is harmless.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), PublishError> {
        let path = self.0.join(name);
        replace(&path, bytes).map_err(|source| PublishError { path, source })
    }

    /// Replaces the checkpoint durably.
    pub(crate) fn write_checkpoint(&self, note: &[u8]) -> Result<(), PublishError> {
        self.write(CHECKPOINT, note)
    }
}

/// Writes `bytes` beside `path`, syncs, and renames: a reader sees the old file or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(parent)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = parent.join(name);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&beside, path)?;
    File::open(parent)?.sync_all()
}
