//! The process of the service itself: what it holds, and how it ends.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use store_sqlite::OnFatal;

/// Ends the process: after a failed sync nobody knows what is durable.
pub(crate) fn end_process() -> OnFatal {
    Arc::new(|error| {
        tracing::error!("{error}; ending the process");
        std::process::abort();
    })
}

/// Takes as many descriptors as it may: each call under way needs two.
pub(crate) fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// Locks the state directory: two services on one state could give out one index twice. The
/// directory itself is locked, because a lock file can be tidied away.
pub(crate) fn lock(state_dir: &Path) -> anyhow::Result<File> {
    let directory = File::open(state_dir).with_context(|| {
        let dir = state_dir.display();
        format!("could not open the state directory `{dir}`: was it founded with `chancery init`?")
    })?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => {
            bail!("the state directory `{}` is in use by another process", state_dir.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| {
            format!("could not lock the state directory `{}`", state_dir.display())
        }),
    }
}
