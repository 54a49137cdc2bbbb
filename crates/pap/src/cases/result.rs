//! What comes of cases.

use pdp::AskedPolicy;
use serde_json::Value;

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

    /// It cannot be asked, for this reason.
    pub(super) fn unaskable(name: Option<&Value>, why: String) -> Self {
        let name = name.and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { name, line: None, held: Err(CaseError::Unaskable(why)), asked: Vec::new() }
    }
}
