//! The process itself: what it holds, and how it ends.

use std::any::Any;
use std::fmt::Arguments;
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use store_sqlite::OnFatal;

/// As shells tell of a program that `SIGPIPE` ended: nobody reads its standard output any longer.
const UNREAD: u8 = 128 + 13;

/// How the standard library panics where standard output takes no more.
const NOT_PRINTED: &str = "failed printing to stdout: ";

/// How that ends where nobody reads it any longer: `EPIPE`.
const BROKEN_PIPE: &str = "(os error 32)";

/// Runs `command` to its exit code. Where standard output takes no more, what runs is unwound: without a word where it
/// is that nobody reads it any longer (`| head -1`), else with what was wrong.
pub(crate) fn printing(command: impl FnOnce() -> ExitCode) -> ExitCode {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if not_printed(panic.payload()).is_none() {
            tell(panic);
        }
    }));
    let ran = std::panic::catch_unwind(AssertUnwindSafe(command));
    ran.unwrap_or_else(|payload| match not_printed(&*payload) {
        Some(why) if why.ends_with(BROKEN_PIPE) => ExitCode::from(UNREAD),
        Some(why) => {
            eprintln!("chancery: could not write to standard output: {why}");
            ExitCode::from(crate::FAILED)
        }
        None => std::panic::resume_unwind(payload),
    })
}

/// Says `what` on standard output as a service does: where that takes no more, its log has it, and it goes on.
pub(crate) fn announce(what: Arguments<'_>) {
    if let Err(error) = writeln!(std::io::stdout(), "{what}") {
        tracing::warn!(%error, "{what}");
    }
}

/// Why standard output took no more, if a panic is of that.
fn not_printed(payload: &(dyn Any + Send)) -> Option<&str> {
    payload.downcast_ref::<String>()?.strip_prefix(NOT_PRINTED)
}

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
