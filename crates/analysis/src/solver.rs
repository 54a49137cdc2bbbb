//! The solver: a process that is told a question and answers it, or is killed.
//!
//! Each question has a deadline of its own, which the solver is told and which is enforced from outside a
//! little later. A solver that failed once is not asked again: the next question starts another.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use cedar_policy_symcc::err::{Error, SolverError};
use cedar_policy_symcc::solver::LocalSolver;
use cedar_policy_symcc::{CedarSymCompiler, Env, WellFormedAsserts};
use tokio::process::Command;
use tokio::time::timeout;

use crate::compiled::is_contradictory;
use crate::report::Why;

/// The solver that Cedar's compiler speaks to.
const PROGRAM: &str = "cvc5";

/// How long after its own deadline a solver is killed.
const GRACE: Duration = Duration::from_secs(1);

/// How long a solver may take to say which version it is.
const VERSION_TIME: Duration = Duration::from_secs(10);

/// The most characters of what a solver says of itself, or of what is wrong, that are kept.
const SAID_MAX: usize = 200;

/// A solver that can be started.
#[derive(Clone, Debug)]
pub struct Solver {
    program: PathBuf,
    version: String,
    time: Duration,
}

/// There is no solver that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the solver `{program}` {why}: install it (Debian: `apt-get install cvc5`) or name it in `CVC5`"
)]
pub struct SolverMissing {
    program: String,
    why: String,
}

/// The program to ask: the one that is `named`, else `cvc5` in the first folder of `path` that has it.
pub fn program(named: Option<OsString>, path: &OsStr) -> PathBuf {
    if let Some(named) = named {
        return named.into();
    }
    let folders = std::env::split_paths(path).map(|folder| folder.join(PROGRAM));
    folders.into_iter().find(|it| it.is_file()).unwrap_or_else(|| PROGRAM.into())
}

impl Solver {
    /// The solver `program`, which may take `time` for each question.
    ///
    /// # Errors
    /// It does not say which version it is.
    pub async fn at(program: PathBuf, time: Duration) -> Result<Self, SolverMissing> {
        let missing = |why: String| SolverMissing { program: program.display().to_string(), why };
        let mut command = Command::new(&program);
        command.arg("--version").env_clear().stdin(Stdio::null()).kill_on_drop(true);
        let said = timeout(VERSION_TIME, command.output()).await;
        let said = said.map_err(|_| missing("does not answer".to_owned()))?;
        let said = said.map_err(|error| missing(format!("cannot be started ({error})")))?;
        let text = String::from_utf8_lossy(&said.stdout);
        let Some(line) = text.lines().next().filter(|_| said.status.success()) else {
            return Err(missing("does not say its version".to_owned()));
        };
        let version = line.strip_prefix("This is ").unwrap_or(line);
        let version = version.split(" [").next().unwrap_or(version);
        let version = version.chars().take(SAID_MAX).collect();
        Ok(Self { program, version, time })
    }

    /// What it says it is.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How long it may take for one question.
    pub const fn time(&self) -> Duration {
        self.time
    }

    /// Somebody who asks it one question after the other.
    pub(crate) const fn session(&self) -> Session<'_> {
        Session { solver: self, running: None, queries: 0 }
    }

    fn start(&self) -> Result<CedarSymCompiler<LocalSolver>, Why> {
        let mut command = Command::new(&self.program);
        // Nothing of ours reaches it, and it ends with us.
        command.env_clear().kill_on_drop(true);
        command.args(["--lang", "smt"]).arg(format!("--tlimit-per={}", self.time.as_millis()));
        let started = LocalSolver::from_command(&mut command).map_err(Error::from);
        started.and_then(CedarSymCompiler::new).map_err(|error| why(&error))
    }
}

/// Questions to one process, which is started when the first needs it.
pub(crate) struct Session<'a> {
    solver: &'a Solver,
    running: Option<CedarSymCompiler<LocalSolver>>,
    /// How many questions were put to the solver.
    pub(crate) queries: u64,
}

impl Session<'_> {
    /// An example of what is asserted; none if there is none, which is a proof.
    pub(crate) async fn example(
        &mut self,
        asserts: &WellFormedAsserts<'_>,
    ) -> Result<Option<Env>, Why> {
        if is_contradictory(asserts) {
            return Ok(None);
        }
        // Taken out, so that one that is given up here is dropped, and with that killed.
        let mut running = match self.running.take() {
            Some(running) => running,
            None => self.solver.start()?,
        };
        self.queries += 1;
        let asked = Box::pin(running.check_sat(asserts));
        match timeout(self.solver.time.saturating_add(GRACE), asked).await {
            Ok(Ok(found)) => {
                self.running = Some(running);
                Ok(found)
            }
            Ok(Err(error)) => Err(why(&error)),
            Err(_) => Err(Why::TooLong),
        }
    }
}

/// Why there is no answer, from what the compiler or the solver says.
pub(crate) fn why(error: &Error) -> Why {
    let said = |text: String| text.chars().take(SAID_MAX).collect::<String>().replace('\n', " ");
    match error {
        Error::SolverUnknown => Why::TooLong,
        Error::SolverError(SolverError::Io(error)) => Why::Solver(said(error.to_string())),
        Error::SolverError(error) => Why::Solver(said(error.to_string())),
        Error::EncodeError(_) | Error::ModelInvalid { .. } | Error::DecodeModel(_) => {
            Why::Solver(said(error.to_string()))
        }
        Error::PolicyNotWellTyped { errs } => {
            let first = errs.first().map(ToString::to_string).unwrap_or_default();
            Why::Unsupported(said(first))
        }
        other => Why::Unsupported(said(other.to_string())),
    }
}
