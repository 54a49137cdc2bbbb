//! The published log: a directory in the layout of C2SP tlog-tiles.
//!
//! Everything in it is a function of the log's entries but the checkpoint, which is written last.
//! Entry bundles lie in it too, for auditors; what is served to the public leaves them out. Partial
//! tiles and bundles are removed once the full one is published (C2SP tlog-tiles, "Partial tiles").

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tlog::{Entry, EntryBundle, LeafIndex, Tile, TreeSize};

/// The name of the checkpoint's file.
const CHECKPOINT: &str = "checkpoint";

/// What the names of files begin with that are not finished yet.
const UNFINISHED: &str = ".new-";

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
        match self.bundle_readable(bundle)? {
            (entries, None) => Ok(entries),
            (_, Some(damaged)) => Err(damaged),
        }
    }

    /// The entries of `bundle` up to where it is damaged, and how it is.
    pub(crate) fn bundle_readable(
        &self,
        bundle: EntryBundle,
    ) -> Result<(Vec<Entry>, Option<LogReadError>), LogReadError> {
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
        let (mut entries, error) = read.decode_readable(&bytes);
        entries.truncate(usize::from(bundle.width()));
        Ok((entries, error.map(|error| damaged(error.to_string()))))
    }

    /// The entry at `index` of a log of `size`.
    pub fn entry(&self, index: u64, size: u64) -> Result<Option<Entry>, LogReadError> {
        let holding = EntryBundle::holding(TreeSize::new(size), LeafIndex::new(index));
        let Some(bundle) = holding else { return Ok(None) };
        let offset = usize::try_from(index - bundle.first().get()).unwrap_or(usize::MAX);
        Ok(self.bundle(bundle)?.into_iter().nth(offset))
    }

    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, LogReadError> {
        let path = self.0.join(name);
        let unread = |source| LogReadError::Unread { path: path.clone(), source };
        let length = fs::metadata(&path).map_err(unread)?.len();
        if length > FILE_MAX {
            return Err(LogReadError::TooLarge { path });
        }
        fs::read(&path).map_err(|source| LogReadError::Unread { path, source })
    }

    /// Makes the directory where it is not there, but nothing above it, which is to be put back where it is gone.
    fn make(&self) -> io::Result<()> {
        match fs::create_dir(&self.0) {
            Err(_) if self.0.is_dir() => Ok(()),
            made => made,
        }
    }

    /// Writes tiles and bundles durably. Writing them again is harmless.
    pub(crate) fn write_all(&self, files: &[(String, Vec<u8>)]) -> Result<(), PublishError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| PublishError { path, source }
        };
        let mut beside = Vec::with_capacity(files.len());
        for (number, (name, bytes)) in files.iter().enumerate() {
            let new = self.0.join(format!("{UNFINISHED}{number}"));
            self.make().map_err(failed(&new))?;
            let written = File::create(&new).and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_data()
            });
            written.map_err(failed(&new))?;
            beside.push((new, self.0.join(name)));
        }
        // A reader sees the old file or the new one.
        let mut parents = BTreeSet::new();
        for (new, path) in beside {
            let parent = path.parent().unwrap_or(&self.0).to_owned();
            let renamed = fs::create_dir_all(&parent).and_then(|()| fs::rename(&new, &path));
            renamed.map_err(failed(&path))?;
            // A directory that was made is itself an entry of the one above.
            let above = parent.ancestors().take_while(|above| above.starts_with(&self.0));
            parents.extend(above.map(Path::to_owned));
        }
        for parent in parents.iter().rev() {
            let synced = File::open(parent).and_then(|directory| directory.sync_all());
            synced.map_err(failed(parent))?;
        }
        Ok(())
    }

    /// Replaces the checkpoint durably.
    pub(crate) fn write_checkpoint(&self, note: &[u8]) -> Result<(), PublishError> {
        self.write_all(&[(CHECKPOINT.to_owned(), note.to_vec())])
    }

    /// Removes the partial tiles or bundles of the full one named `full`, where there are any.
    pub(crate) fn remove_partial(&self, full: &str) {
        let path = self.0.join(format!("{full}.p"));
        match fs::remove_dir_all(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // They are true all the same, and only take up space.
            Err(error) => tracing::warn!(%error, "could not remove `{}`", path.display()),
        }
    }

    /// The names of all files below `tile`, in order.
    pub(crate) fn tile_files(&self) -> Result<Vec<String>, LogReadError> {
        let (mut names, mut todo) = (Vec::new(), vec!["tile".to_owned()]);
        while let Some(name) = todo.pop() {
            let path = self.0.join(&name);
            let unread = |source| LogReadError::Unread { path: path.clone(), source };
            let entries = match fs::read_dir(&path) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(unread(error)),
            };
            for entry in entries {
                let entry = entry.map_err(unread)?;
                let below = format!("{name}/{}", entry.file_name().to_string_lossy());
                let is_directory = entry.file_type().map_err(unread)?.is_dir();
                if is_directory { todo.push(below) } else { names.push(below) }
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}
