//! Where a checkpoint is put: a file that only grows, or a URL that takes a POST.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use outbound::{HttpClient, http_client};
use tokio::sync::Semaphore;

use crate::config::Anchor;

/// How long one attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);

/// The most bytes of an answer that are read.
const ANSWER_MAX: usize = 64 << 10;

/// A place for checkpoints.
pub(super) enum Place {
    /// A file that another user made append-only.
    File(Arc<AnchorFile>),
    /// Something that takes a checkpoint by POST.
    Url { client: Box<HttpClient>, url: Uri },
}

impl Place {
    /// The place that the configuration names.
    pub(super) fn of(anchor: &Anchor) -> anyhow::Result<Self> {
        Ok(match anchor {
            Anchor::File { file } => Self::File(Arc::new(AnchorFile::new(file.clone()))),
            Anchor::Url { url } => Self::Url {
                client: Box::new(http_client()?),
                url: url.parse().context("an anchor's URL is not one")?,
            },
        })
    }

    /// Whether it is a file that this process could change in other ways than appending.
    pub(super) fn is_ours(&self) -> bool {
        let Self::File(file) = self else { return false };
        let owner = std::fs::metadata(&file.path).map(|found| found.uid());
        owner.is_ok_and(|owner| owner == nix::unistd::geteuid().as_raw())
    }

    /// Puts `note` there, within a bounded time.
    pub(super) async fn keep(&self, note: &Arc<[u8]>) -> anyhow::Result<()> {
        let kept = async {
            match self {
                Self::File(file) => file.clone().append_apart(note.clone()).await,
                Self::Url { client, url } => post(client, url, note).await,
            }
        };
        match tokio::time::timeout(ATTEMPT_MAX, kept).await {
            Ok(kept) => kept,
            Err(_) => bail!("no answer within {} s", ATTEMPT_MAX.as_secs()),
        }
    }
}

/// A file that only grows.
pub(super) struct AnchorFile {
    path: PathBuf,
    /// How long it was when it was last seen.
    length: AtomicU64,
    /// One attempt at a time: a file system that hangs takes one thread, not many.
    turn: Arc<Semaphore>,
}

impl AnchorFile {
    fn new(path: PathBuf) -> Self {
        Self { path, length: AtomicU64::new(0), turn: Arc::new(Semaphore::new(1)) }
    }

    async fn append_apart(self: Arc<Self>, note: Arc<[u8]>) -> anyhow::Result<()> {
        let turn = self.turn.clone().try_acquire_owned();
        let turn = turn.context("the attempt before is still under way")?;
        let task = tokio::task::spawn_blocking(move || {
            let appended = self.append(&note);
            drop(turn);
            appended
        });
        task.await.context("the attempt was given up")?
    }

    /// Appends `note`: never makes the file, never shortens it, and sees that it grew.
    fn append(&self, note: &[u8]) -> anyhow::Result<()> {
        let path: &Path = &self.path;
        // A pipe without a reader would hold up the opening.
        let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC;
        let file = OpenOptions::new().append(true).custom_flags(flags).open(path);
        let mut file = file.with_context(|| format!("could not open `{}`", path.display()))?;
        let before = file.metadata().context("could not look at the file")?;
        ensure!(before.is_file(), "`{}` is not a file", path.display());
        let known = self.length.swap(before.len(), Ordering::Relaxed);
        let entry = journal::anchor_entry(note);
        // One write: what others append does not get between.
        let written = file.write(&entry).context("could not append")?;
        ensure!(written == entry.len(), "only {written} of {} bytes were appended", entry.len());
        file.sync_data().context("could not sync")?;
        let after = file.metadata().context("could not look at the file")?.len();
        self.length.store(after, Ordering::Relaxed);
        ensure!(after >= before.len() + entry.len() as u64, "`{}` did not grow", path.display());
        ensure!(before.len() >= known, "`{}` got shorter: checkpoints are gone", path.display());
        Ok(())
    }
}

/// Posts `note`. Whatever is no success is a failure, a redirect too.
async fn post(client: &HttpClient, url: &Uri, note: &[u8]) -> anyhow::Result<()> {
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .body(Full::new(Bytes::copy_from_slice(note)))?;
    let answer = client.request(request).await.context("could not be reached")?;
    let status = answer.status();
    // Read to its end, so that the connection serves again.
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
    ensure!(status.is_success(), "it answered {status}");
    match body {
        Ok(_) => Ok(()),
        Err(error) => bail!("its answer could not be read: {error}"),
    }
}
