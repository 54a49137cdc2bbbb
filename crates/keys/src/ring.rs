//! The service's own keys, one file each, separate by use.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::event::EventKey;
use crate::jwk::KeyAlgorithm;
use crate::seal::SealingKey;
use crate::signing::{KeyError, Signer as _, SigningKey};

/// The largest key file, in bytes.
const FILE_MAX: u64 = 16 * 1024;

/// Why the service's keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// A file cannot be read.
    #[error("could not read the key `{path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("could not write the key `{path}`")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than the owner may read a file.
    #[error("the key `{path}` can be read by others (mode {mode:o}): run `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file does not hold a key of the right kind.
    #[error("`{path}` does not hold the key that it should")]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
}

/// The keys of a deployment, but for the one that signs tokens: that is exchanged while it runs.
#[derive(Debug)]
pub struct KeyRing {
    /// Signs checkpoints (Ed25519).
    pub log: Arc<SigningKey>,
    /// Countersigns the activation of policy (Ed25519).
    pub policy: Arc<SigningKey>,
    /// The bytes of the key that seals data keys.
    sealing: crate::Secret<[u8; 32]>,
}

impl KeyRing {
    /// Makes new keys in `dir`, which must not exist; `sealing` is unpredictable.
    pub fn create(dir: &Path, sealing: [u8; 32]) -> Result<Self, KeyRingError> {
        let made = fs::DirBuilder::new().mode(0o700).create(dir);
        made.map_err(|source| KeyRingError::Unwritable { path: dir.to_owned(), source })?;
        let uses = [
            ("token.pem", KeyAlgorithm::Es256),
            ("log.pem", KeyAlgorithm::EdDsa),
            ("policy.pem", KeyAlgorithm::EdDsa),
        ];
        for (name, algorithm) in uses {
            let path = dir.join(name);
            let unfit = |source| KeyRingError::Unfit { path: path.clone(), source };
            let pem =
                SigningKey::generate(algorithm).and_then(|key| key.to_pem()).map_err(unfit)?;
            write_private(&path, pem.as_bytes())?;
        }
        write_private(&dir.join("sealing.key"), &sealing)?;
        Self::open(dir)
    }

    /// Reads the keys in `dir`.
    pub fn open(dir: &Path) -> Result<Self, KeyRingError> {
        let sealing = dir.join("sealing.key");
        let bytes = read_private(&sealing)?;
        let bytes: [u8; 32] = bytes
            .try_into()
            .map_err(|_| KeyRingError::Unfit { path: sealing, source: KeyError::Unsupported })?;
        Ok(Self {
            log: Arc::new(read_key(&dir.join("log.pem"), KeyAlgorithm::EdDsa)?),
            policy: Arc::new(read_key(&dir.join("policy.pem"), KeyAlgorithm::EdDsa)?),
            sealing: crate::Secret::new(bytes),
        })
    }

    /// The key that seals data keys.
    pub fn sealing(&self) -> SealingKey {
        SealingKey::from_bytes(*self.sealing.expose())
    }

    /// The key that seals what clients keep for us between two requests.
    pub fn state_sealing(&self) -> SealingKey {
        self.sealing().derived(b"chancery/request-state/v1")
    }

    /// The key that seals what we show receivers of shared signals.
    pub fn receiver_sealing(&self) -> SealingKey {
        self.sealing().derived(b"chancery/receiver/v1")
    }
}

/// Where the key that signs tokens lies: the first one, or the one with this thumbprint.
fn token_file(dir: &Path, thumbprint: Option<&str>) -> PathBuf {
    thumbprint.map_or_else(|| dir.join("token.pem"), |it| dir.join(format!("token-{it}.pem")))
}

/// Reads the key in `dir` that signs tokens and assertions (ES256): the one with this thumbprint, or
/// the first.
pub fn read_token_key(dir: &Path, thumbprint: Option<&str>) -> Result<SigningKey, KeyRingError> {
    read_key(&token_file(dir, thumbprint), KeyAlgorithm::Es256)
}

/// Makes another key to sign tokens by, and keeps it in `dir`.
pub fn make_token_key(dir: &Path) -> Result<SigningKey, KeyRingError> {
    let unfit = |source| KeyRingError::Unfit { path: dir.to_owned(), source };
    let key = SigningKey::generate(KeyAlgorithm::Es256).map_err(unfit)?;
    let path = token_file(dir, Some(&key.verifying().thumbprint_text()));
    write_made(dir, (path, &key.to_pem().map_err(unfit)?))?;
    Ok(key)
}

/// Removes the key with this thumbprint, which was to sign tokens, from `dir`.
pub fn remove_token_key(dir: &Path, thumbprint: &str) -> Result<(), KeyRingError> {
    remove(token_file(dir, Some(thumbprint)))
}

/// Removes every key from `dir` that signs tokens no more, or never did: all but the one with this
/// thumbprint, or the first.
pub fn keep_token_key(dir: &Path, thumbprint: Option<&str>) -> Result<(), KeyRingError> {
    let is_tokens = |stem: &str| stem == "token" || stem.starts_with("token-");
    keep_only(dir, is_tokens, Some(&token_file(dir, thumbprint)))
}

/// Where the key lies that signs events, with this thumbprint.
fn event_file(dir: &Path, thumbprint: &str) -> PathBuf {
    dir.join(format!("event-{thumbprint}.pem"))
}

/// Reads the key in `dir` that signs events (RS256), with this thumbprint.
pub fn read_event_key(dir: &Path, thumbprint: &str) -> Result<EventKey, KeyRingError> {
    let path = event_file(dir, thumbprint);
    let read = EventKey::from_pem(&read_text(&path)?);
    read.map_err(|source| KeyRingError::Unfit { path, source })
}

/// Makes another key to sign events by, and keeps it in `dir`.
pub fn make_event_key(dir: &Path) -> Result<EventKey, KeyRingError> {
    let unfit = |source| KeyRingError::Unfit { path: dir.to_owned(), source };
    let key = EventKey::generate().map_err(unfit)?;
    let path = event_file(dir, &key.public().thumbprint_text());
    write_made(dir, (path, &key.to_pem().map_err(unfit)?))?;
    Ok(key)
}

/// Removes the key with this thumbprint, which was to sign events, from `dir`.
pub fn remove_event_key(dir: &Path, thumbprint: &str) -> Result<(), KeyRingError> {
    remove(event_file(dir, thumbprint))
}

/// Removes every key from `dir` that signs events no more, or never did: all but the one with this
/// thumbprint, if there is one.
pub fn keep_event_key(dir: &Path, thumbprint: Option<&str>) -> Result<(), KeyRingError> {
    let kept = thumbprint.map(|it| event_file(dir, it));
    keep_only(dir, |stem| stem.starts_with("event-"), kept.as_deref())
}

/// Writes a key that was made, so that it is there whatever happens.
fn write_made(dir: &Path, (path, pem): (PathBuf, &str)) -> Result<(), KeyRingError> {
    write_private(&path, pem.as_bytes())?;
    let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|source| KeyRingError::Unwritable { path, source })
}

fn remove(path: PathBuf) -> Result<(), KeyRingError> {
    fs::remove_file(&path).map_err(|source| KeyRingError::Unwritable { path, source })
}

/// Removes the files in `dir` whose stem `is_such`, but `kept`.
fn keep_only(
    dir: &Path,
    is_such: impl Fn(&str) -> bool,
    kept: Option<&Path>,
) -> Result<(), KeyRingError> {
    let unreadable = |source| KeyRingError::Unreadable { path: dir.to_owned(), source };
    for file in fs::read_dir(dir).map_err(unreadable)? {
        let path = file.map_err(unreadable)?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if is_such(stem) && Some(path.as_path()) != kept {
            remove(path)?;
        }
    }
    Ok(())
}

/// Writes a private file that must not exist yet.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyRingError> {
    let unwritable = |source| KeyRingError::Unwritable { path: path.to_owned(), source };
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(unwritable)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(unwritable)
}

/// Writes a private file in place of the one that is there, if one is: whole, or not at all.
pub fn replace_private(path: &Path, bytes: &[u8]) -> Result<(), KeyRingError> {
    let unwritable = |source| KeyRingError::Unwritable { path: path.to_owned(), source };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritable(error)),
        _ => write_private(&beside, bytes)?,
    }
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    let moved = fs::rename(&beside, path).and_then(|()| fs::File::open(dir)?.sync_all());
    moved.map_err(unwritable)
}

/// Reads a private file, which nobody but its owner may be able to read.
pub fn read_private(path: &Path) -> Result<Vec<u8>, KeyRingError> {
    let unreadable = |source| KeyRingError::Unreadable { path: path.to_owned(), source };
    // What is checked is what is read: the open file, whatever its name comes to stand for.
    let file = fs::File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    // Whoever may read it: `chmod 600` makes no key of it.
    if metadata.is_dir() {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyRingError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(KeyRingError::Unfit { path: path.to_owned(), source: KeyError::NotPem });
    }
    Ok(bytes)
}

fn read_key(path: &Path, algorithm: KeyAlgorithm) -> Result<SigningKey, KeyRingError> {
    let unfit = |source| KeyRingError::Unfit { path: path.to_owned(), source };
    let key = SigningKey::from_pem(&read_text(path)?).map_err(unfit)?;
    if key.public().algorithm() == algorithm { Ok(key) } else { Err(unfit(KeyError::Unsupported)) }
}

fn read_text(path: &Path) -> Result<String, KeyRingError> {
    let not_pem = |_| KeyRingError::Unfit { path: path.to_owned(), source: KeyError::NotPem };
    String::from_utf8(read_private(path)?).map_err(not_pem)
}
