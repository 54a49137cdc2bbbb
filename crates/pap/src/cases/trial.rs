//! The cases of a set as the service decides them, before the set is published and before it is put in force.
//!
//! The tools are those that are onboarded then. Of those that nobody onboarded it is what the set says (`tools.yaml`);
//! a file that describes tools itself has those, here as where its author tried it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use authority::SharedCompiler;
use pdp::Snapshot;

use super::result::REMEDY;
use super::{CaseFile, CaseResult, Tools, bundle, read_cases};
use crate::flips::PolicyFiles;

/// The longest that deciding the cases of one set may take.
const TRIAL_MAX: Duration = Duration::from_secs(30);

/// The most characters that are told of the name of a case, and of why it does not hold.
const SHOWN_MAX: usize = 1_000;

/// A set as it is compiled with the tools that are onboarded, and what compiles it with others.
pub(crate) type Compiled<'a> = (&'a SharedCompiler, &'a Arc<Snapshot>, &'a Tools);

/// Stops the thread that decides once nobody waits for it.
struct Waited(Arc<AtomicBool>);

impl Drop for Waited {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How many cases the set of `files` has, all of which hold.
///
/// # Errors
/// One does not, or cannot be read: which, where, and what to do about it.
pub(crate) async fn tried(
    files: &PolicyFiles,
    (compiler, snapshot, onboarded): Compiled<'_>,
) -> Result<u64, String> {
    let deciding = async {
        let texts = files.cases.clone();
        let (mut beside, read) = busy(move || read_cases(&texts)).await?;
        let count: usize = read.values().map(CaseFile::count).sum();
        beside.extend(onboarded.clone());
        let mut known = (snapshot.clone(), onboarded.clone());
        for (path, file) in read {
            let tools = file.tools(&beside);
            if tools != known.1 {
                let other = compiler.compile(bundle(files, &tools)).await;
                let other = other.map_err(|errors| {
                    let why = "the set does not compile with the tools that it describes";
                    format!("`{path}`: {why}:\n{errors}")
                });
                known = (other?, tools);
            }
            decided((path, file), known.clone()).await?;
        }
        Ok(count as u64)
    };
    let too_long = || {
        let seconds = TRIAL_MAX.as_secs();
        Err(format!("deciding its cases takes longer than {seconds} s: leave some out of the set"))
    };
    tokio::time::timeout(TRIAL_MAX, deciding).await.unwrap_or_else(|_| too_long())
}

/// Does `work` on a thread that may be busy for long.
async fn busy<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Decides the cases of one file; why one does not hold.
async fn decided(
    (path, file): (String, CaseFile),
    (snapshot, tools): (Arc<Snapshot>, Tools),
) -> Result<(), String> {
    let waited = Waited(Arc::default());
    let is_over = waited.0.clone();
    let work = move || {
        let mut failed = None;
        file.each((&snapshot, &tools), |result| {
            if result.held.is_err() {
                failed = Some(result);
            }
            if failed.is_some() || is_over.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        failed
    };
    let failed = busy(work).await;
    failed.map_or(Ok(()), |result| Err(told(&result, &path)))
}

/// Which case does not hold, and what to do about it. Somebody else may have written it.
fn told(result: &CaseResult, path: &str) -> String {
    let why = result.held.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let shown = |text: &str| {
        let begins: String = text.chars().take(SHOWN_MAX).collect();
        mcp::render_untrusted(&begins)
    };
    let (name, why) = (shown(&result.name), shown(&why));
    format!(
        "{}: the case `{name}` {why}: {REMEDY} (try it with the tools as they are \
         onboarded: `chancery policy tools > tools.yaml`, then `chancery policy test`; what nobody onboarded, \
         that file describes), and publish the set again",
        result.place(path)
    )
}
