//! What comes of cases.

use pdp::AskedPolicy;
use serde_json::Value;

/// What to do about a case that does not hold.
pub(super) const REMEDY: &str = "mend the policies or the case";

/// What came of one case.
#[derive(Debug)]
pub struct CaseResult {
    /// Its name, with what varies.
    pub name: String,
    /// The line on which it begins, if that is known.
    pub line: Option<usize>,
    /// Why it does not hold, if it does not.
    pub held: Result<(), CaseError>,
    /// The policies that were asked, and what each saw.
    pub asked: Vec<AskedPolicy>,
}

/// Why a case does not hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaseError {
    /// It describes something that cannot be.
    #[error("cannot be asked: {0}")]
    Unaskable(String),
    /// The answer is another.
    #[error("expects {expected}, the set answers: {answer}")]
    Differs {
        /// What it expects.
        expected: String,
        /// What was answered, and why.
        answer: String,
    },
}

impl CaseResult {
    /// Where it stands, which is in `file`.
    pub fn place(&self, file: &str) -> String {
        self.line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"))
    }

    /// Why it does not hold, which stands in `file`, and what to do; none if it holds.
    pub fn failure(&self, file: &str) -> Option<String> {
        let why = self.held.as_ref().err()?;
        Some(format!("{}: the case `{}` {why}: {REMEDY}", self.place(file), self.name))
    }

    /// It cannot be asked, for this reason.
    pub(super) fn unaskable(name: Option<&Value>, why: String) -> Self {
        let name = name.and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { name, line: None, held: Err(CaseError::Unaskable(why)), asked: Vec::new() }
    }
}
