//! What is said about a policy set that was compiled: errors and warnings, each with its place.

use std::fmt;

use miette::Diagnostic;
use model::ToolRef;

use crate::schema::chain;

/// At which byte of a text something is the matter, if that is known, and what.
pub(crate) type Said = (Option<usize>, String);

/// One thing that is wrong, or doubtful, in a policy set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, if it is in one.
    pub file: Option<String>,
    /// The line, counted from 1, if known.
    pub line: Option<usize>,
    /// The `@id` of the policy, if it is in one that has one.
    pub policy: Option<String>,
    /// The tool, if it is about how one is described.
    pub tool: Option<Box<ToolRef>>,
    /// What is the matter.
    pub message: String,
}

impl Finding {
    pub(crate) fn general(message: impl Into<String>) -> Self {
        Self { file: None, line: None, policy: None, tool: None, message: message.into() }
    }

    pub(crate) fn at(file: &str, line: Option<usize>, message: impl Into<String>) -> Self {
        Self { file: Some(file.to_owned()), line, ..Self::general(message) }
    }

    /// What is said of the `text` that begins on `line` of `file`, on the line that it is about.
    pub(crate) fn within((file, line, text): (&str, usize, &str), (at, message): Said) -> Self {
        let further = at.map_or(0, |at| line_of(text, at) - 1);
        Self::at(file, Some(line + further), message)
    }

    pub(crate) fn of(mut self, policy: &str) -> Self {
        self.policy = Some(policy.to_owned());
        self
    }

    pub(crate) fn of_tool(mut self, tool: &ToolRef) -> Self {
        self.tool = Some(Box::new(tool.clone()));
        self
    }

    /// It, where the tool is described that it is about, by file and line, if it has no place of its own.
    #[must_use]
    pub fn at_tool(mut self, place: impl Fn(&ToolRef) -> Option<(String, usize)>) -> Self {
        if self.file.is_none()
            && let Some((file, line)) = self.tool.as_deref().and_then(place)
        {
            (self.file, self.line) = (Some(file), Some(line));
        }
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            (None, _) => {}
        }
        if let Some(policy) = &self.policy {
            write!(f, "policy `{policy}`: ")?;
        }
        f.write_str(&self.message)
    }
}

/// The line, counted from 1, in which the byte at `offset` stands.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}

/// What Cedar's parser says of a text: where in it, and what is the matter, with what it expected there or advises.
pub(crate) fn parsed<E: Diagnostic>(error: &E) -> Said {
    let label = error.labels().into_iter().flatten().next();
    let expected = label.as_ref().and_then(|it| it.label()).map(str::to_owned);
    let remedy = expected.or_else(|| error.help().map(|help| help.to_string()));
    let remedy = remedy.map(|it| format!(" ({})", it.replace('\n', " "))).unwrap_or_default();
    (label.map(|it| it.offset()), chain(error) + &remedy)
}

/// Why a policy set could not be compiled: every reason that was found, one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileErrors(pub Vec<Finding>);

impl fmt::Display for CompileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Finding::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for CompileErrors {}

impl From<Finding> for CompileErrors {
    fn from(finding: Finding) -> Self {
        Self(vec![finding])
    }
}
