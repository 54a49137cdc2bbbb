//! Decisions on a review, as a reviewer's tool sends them.

use std::collections::BTreeSet;

use model::{AgentName, Certification, PersonId, REVIEW_ITEMS_MAX, ReviewId, Sha256Digest};

use crate::sponsor::REASON_MAX;

/// The columns, in this order and no others.
const HEADER: [&str; 5] = ["item", "version", "decision", "reviewer", "reason"];

/// The most lines of which it is told at once what is wrong with them.
const TOLD_MAX: usize = 16;

/// What somebody decided of one agent.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// In which line of the file.
    pub(super) line: usize,
    pub(super) agent: AgentName,
    /// What the agent was when they saw it.
    pub(super) version: Sha256Digest,
    pub(super) decision: Certification,
    pub(super) reviewer: PersonId,
    pub(super) reason: String,
}

/// What is wrong with lines of a file: each is told, up to a limit.
#[derive(Debug, Default)]
pub(super) struct Wrong(Vec<String>);

impl Wrong {
    pub(super) fn note(&mut self, line: usize, why: impl std::fmt::Display) {
        self.0.push(format!("line {line}: {why}"));
    }

    /// What to tell, if anything is wrong.
    pub(super) fn told(mut self) -> Result<(), String> {
        let more = self.0.len().saturating_sub(TOLD_MAX);
        self.0.truncate(TOLD_MAX);
        if more > 0 {
            self.0.push(format!("and {more} lines more"));
        }
        if self.0.is_empty() { Ok(()) } else { Err(self.0.join("; ")) }
    }
}

/// The decisions of `file`, all of which are on items of `review`, each once.
pub(super) fn parse(file: &str, review: ReviewId) -> Result<Vec<Said>, String> {
    // Spreadsheets put a byte order mark before what they write as UTF-8.
    let file = file.strip_prefix('\u{feff}').unwrap_or(file);
    let mut lines = csv::parse(file).map_err(|error| error.to_string())?.into_iter();
    if lines.next().is_none_or(|header| header.fields != HEADER) {
        return Err(format!("line 1: the columns are `{}`", HEADER.join(",")));
    }
    if lines.len() == 0 || lines.len() > REVIEW_ITEMS_MAX {
        return Err(format!("a file has one decision at least and {REVIEW_ITEMS_MAX} at most"));
    }
    let (mut all, mut wrong, mut agents) = (Vec::new(), Wrong::default(), BTreeSet::new());
    for line in lines {
        match said(&line, review) {
            Ok(said) if agents.insert(said.agent.clone()) => all.push(said),
            Ok(said) => wrong.note(line.number, format_args!("`{}` stands twice", said.agent)),
            Err(why) => wrong.note(line.number, why),
        }
    }
    wrong.told().map(|()| all)
}

fn said(line: &csv::Line, review: ReviewId) -> Result<Said, String> {
    let [item, version, decision, reviewer, reason] = line.fields.as_slice() else {
        return Err(format!("it has {} fields, not {}", line.fields.len(), HEADER.len()));
    };
    let (of, agent) = item.split_once('/').unwrap_or((item, ""));
    let of: ReviewId = of.parse().map_err(text)?;
    if of != review {
        return Err(format!("it is of another review, `{of}`"));
    }
    let mut decisions = Certification::ALL.into_iter();
    let decision = decisions.find(|it| it.as_str() == decision).ok_or_else(|| {
        let all = Certification::ALL.map(Certification::as_str).join("`, `");
        format!("the decision is one of `{all}`")
    })?;
    if reason.trim().is_empty() || reason.len() > REASON_MAX {
        return Err(format!("a reason is needed, of at most {REASON_MAX} bytes"));
    }
    Ok(Said {
        line: line.number,
        agent: agent.parse().map_err(text)?,
        version: version.parse().map_err(text)?,
        decision,
        reviewer: reviewer.parse().map_err(text)?,
        reason: reason.clone(),
    })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
