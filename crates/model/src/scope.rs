//! Scopes: the most that somebody may do, as a set of tools, harm classes, data objects and a number of calls.
//!
//! A purpose, an agent's ceiling, a mandate and a task each have one. Narrowing is
//! [`Scope::includes`]: what it refuses is never granted.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Harm, InvalidName, ObjectPattern, ServerName, ToolName, ToolRef};

/// The most patterns that one scope may hold.
pub const MAX_PATTERNS: usize = 1_024;

/// One tool (`crm/lookup`) or all tools of one server (`crm/*`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolPattern {
    server: ServerName,
    tool: Option<ToolName>,
}

impl ToolPattern {
    /// Whether the pattern covers `tool`.
    pub fn covers(&self, tool: &ToolRef) -> bool {
        self.server == tool.server && self.tool.as_ref().is_none_or(|name| *name == tool.tool)
    }

    /// Whether the pattern covers all that `other` covers.
    pub fn includes(&self, other: &Self) -> bool {
        self.server == other.server && (self.tool.is_none() || self.tool == other.tool)
    }

    /// What both patterns cover, if that is anything.
    pub fn meet(&self, other: &Self) -> Option<Self> {
        let narrower = if self.includes(other) { other } else { self };
        (self.includes(narrower) && other.includes(narrower)).then(|| narrower.clone())
    }

    /// The pattern that covers `tool` and no other.
    pub fn of(tool: &ToolRef) -> Self {
        Self { server: tool.server.clone(), tool: Some(tool.tool.clone()) }
    }

    /// The one tool that the pattern covers; none, if it covers all of its server.
    pub fn exact(&self) -> Option<ToolRef> {
        let tool = self.tool.clone()?;
        Some(ToolRef { server: self.server.clone(), tool })
    }

    /// The server that the pattern speaks of.
    pub const fn server(&self) -> &ServerName {
        &self.server
    }
}

impl fmt::Display for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tool {
            Some(tool) => write!(f, "{}/{tool}", self.server),
            None => write!(f, "{}/*", self.server),
        }
    }
}

impl FromStr for ToolPattern {
    type Err = InvalidName;

    /// Reads `SERVER/TOOL` or `SERVER/*`; a tool really named `*` cannot be told apart and is
    /// covered by the latter only.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if let Some(server) = text.strip_suffix("/*") {
            return Ok(Self { server: server.parse()?, tool: None });
        }
        let whole = || InvalidName::new(text, "a pattern of tools", "`SERVER/TOOL` or `SERVER/*`");
        let (server, tool) = text.split_once('/').ok_or_else(whole)?;
        Ok(Self { server: server.parse()?, tool: Some(tool.parse()?) })
    }
}

impl Serialize for ToolPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ToolPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::spelt::read(deserializer)
    }
}

/// The most that may be done under a purpose, a ceiling, a mandate or a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The tools; none means no tool at all.
    pub tools: BTreeSet<ToolPattern>,
    /// The harm classes that a covered tool may have; reading is always among them.
    #[serde(default)]
    pub harm: BTreeSet<Harm>,
    /// The data objects that anything may be done to, where they are named: none at all, if none is among them.
    /// Where nobody named any, whatever the tools reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<BTreeSet<ObjectPattern>>,
    /// The most permitted calls in one session, if there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u64>,
    /// The most tasks that are opened in one day (UTC), if there is a limit. It holds beside those of
    /// everything above, each of which is counted by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tasks_a_day: Option<u64>,
}

impl Scope {
    /// Whether the scope covers a call of `tool`, which has the classes `harm`.
    pub fn covers(&self, tool: &ToolRef, harm: &BTreeSet<Harm>) -> bool {
        let allowed = |class: &Harm| *class == Harm::ReadsData || self.harm.contains(class);
        self.tools.iter().any(|pattern| pattern.covers(tool)) && harm.iter().all(allowed)
    }

    /// Whether the scope has anything to do with `server`: what lists and reads need.
    pub fn touches(&self, server: &ServerName) -> bool {
        self.tools.iter().any(|pattern| pattern.server() == server)
    }

    /// The widest scope that both include.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let least = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        let pairs = self.tools.iter().flat_map(|one| other.tools.iter().map(move |two| (one, two)));
        Self {
            tools: pairs.filter_map(|(one, two)| one.meet(two)).collect(),
            harm: self.harm.intersection(&other.harm).copied().collect(),
            objects: objects_of_both(self.objects.as_ref(), other.objects.as_ref()),
            max_calls: least(self.max_calls, other.max_calls),
            max_tasks_a_day: least(self.max_tasks_a_day, other.max_tasks_a_day),
        }
    }

    /// Whether everything in `narrower` is in this scope too.
    pub fn includes(&self, narrower: &Self) -> bool {
        let tool = |wanted: &ToolPattern| self.tools.iter().any(|held| held.includes(wanted));
        let harm = |class: &Harm| *class == Harm::ReadsData || self.harm.contains(class);
        let calls = match (self.max_calls, narrower.max_calls) {
            (None, _) => true,
            (Some(most), Some(wanted)) => wanted <= most,
            (Some(_), None) => false,
        };
        let opened = self.max_tasks_a_day.zip(narrower.max_tasks_a_day);
        let tasks = opened.is_none_or(|(most, wanted)| wanted <= most);
        let objects = match (&self.objects, &narrower.objects) {
            (None, _) => true,
            (Some(held), Some(wanted)) => {
                wanted.iter().all(|wanted| held.iter().any(|held| held.includes(wanted)))
            }
            (Some(_), None) => false,
        };
        let may = narrower.tools.iter().all(tool) && narrower.harm.iter().all(harm);
        may && objects && calls && tasks
    }

    /// The same, if it names data objects, or else for those that all of these `bounds` are for: who names none asks
    /// for no more than there is.
    #[must_use]
    pub fn for_objects_of<'a>(self, bounds: impl IntoIterator<Item = &'a Self>) -> Self {
        let of_all = || {
            let objects = bounds.into_iter().map(|bound| bound.objects.as_ref());
            objects.fold(None, |all: Option<Patterns>, own| objects_of_both(all.as_ref(), own))
        };
        Self { objects: self.objects.or_else(of_all), ..self }
    }
}

/// Data objects as a scope names them.
type Patterns = BTreeSet<ObjectPattern>;

/// The data objects that both are for.
fn objects_of_both(one: Option<&Patterns>, other: Option<&Patterns>) -> Option<Patterns> {
    match (one, other) {
        (Some(own), Some(others)) => {
            let pairs = own.iter().flat_map(|one| others.iter().map(move |two| (one, two)));
            Some(pairs.filter_map(|(one, two)| one.meet(two)).collect())
        }
        (one, other) => one.or(other).cloned(),
    }
}
