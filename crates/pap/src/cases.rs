//! Cases: what a policy set must answer, written beside it and run before it is relied on.
//!
//! A case is decided by the very [`Snapshot::decide`] that decides in service, on made-up facts: an
//! active agent with an active sponsor, an open task, and the tools that the file itself describes; or a person, or a
//! directory, that administers.

mod administrative;
mod by_instance;
mod chained;
mod found;
mod made_up;
mod recorded;
mod result;
#[cfg(test)]
mod tests;
mod trial;
mod varied;
mod wanted;
mod would;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use model::{AccessRequest, DataCategory, Decision, Denial, Facts, Harm, Timestamp, Tool, ToolRef};
use pdp::{AskedPolicy, Bundle, Explanation, Snapshot, ToolSchema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use crate::flips::PolicyFiles;
use administrative::Administrative;
use by_instance::ByInstance;
pub use chained::chained;
pub use found::{plain, posed};
pub(crate) use recorded::recorded;
pub use result::{CaseError, CaseResult};
pub(crate) use trial::tried;
use varied::{VARY, Varied, combinations};
use wanted::Wanted;
pub use would::ask;
pub use written::{TOOLS_FILE, read_cases, read_tools, tool_lines};

/// The cases that a new deployment starts with, in YAML.
pub const STARTER_CASES: &str = include_str!("../../../policies/cases/starter.yaml");

/// The instant at which a case is decided that names none: 2026-01-01T00:00:00Z.
const NOW: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// A file of cases.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// The tools that its cases call, beside those that the set describes.
    #[serde(default)]
    tools: Tools,
    /// The members that each of its cases has which does not say otherwise.
    #[serde(default)]
    given: Map<String, Value>,
    /// The cases, each as it is written.
    cases: Vec<Map<String, Value>>,
    /// On which line each begins, as far as that is known.
    #[serde(skip)]
    lines: Vec<Option<usize>>,
}

/// Tools as cases see them: what they can do, and their arguments.
pub type Tools = BTreeMap<ToolRef, CaseTool>;

/// The most cases of one set, each combination of what varies counted.
const CASES_MAX: usize = 10_000;

/// The member of a case that names it.
const NAME: &str = "name";

/// A tool as a case sees it: pinned, with an active owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseTool {
    /// What it can do.
    pub harm: BTreeSet<Harm>,
    /// The schema of its arguments; any object if it is left out.
    #[serde(default = "any_object")]
    pub input: Value,
    /// Where its arguments name the data objects that it is used on; nothing, where nobody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<BTreeSet<String>>,
    /// The categories of data that it touches.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub data: BTreeSet<DataCategory>,
}

impl From<&Tool> for CaseTool {
    fn from(tool: &Tool) -> Self {
        Self {
            objects: tool.objects.clone(),
            data: tool.data.clone(),
            ..Self::described(tool.harm.clone(), &tool.descriptor)
        }
    }
}

impl CaseTool {
    /// A tool that is described so (MCP), and can do so much. Nobody said what data it is used on.
    pub fn described(harm: BTreeSet<Harm>, descriptor: &Value) -> Self {
        let input = descriptor.get("inputSchema").cloned();
        let input = input.unwrap_or_else(any_object);
        Self { harm, input, objects: None, data: BTreeSet::new() }
    }
}

/// The schema of the arguments of a tool that has none.
pub(crate) fn any_object() -> Value {
    json!({ "type": "object" })
}

impl CaseFile {
    /// Its tools, with those that are described beside it: the file's own come first.
    pub fn tools(&self, beside: &Tools) -> Tools {
        let mut tools = beside.clone();
        tools.extend(self.tools.clone());
        tools
    }

    /// Adds `case`, as it was made of a recorded decision, with the `tools` that it calls.
    ///
    /// # Errors
    /// It is there already, or other cases of the file call a tool that is described otherwise.
    pub fn add(&mut self, case: Map<String, Value>, tools: Tools) -> Result<(), String> {
        let name = case.get(NAME);
        if self.cases.iter().any(|known| known.get(NAME) == name) {
            return Err("it is there already".to_owned());
        }
        for (name, tool) in tools {
            let known = self.tools.entry(name.clone()).or_insert_with(|| tool.clone());
            if *known != tool {
                return Err(format!("its other cases call another `{name}`"));
            }
        }
        self.cases.push(case);
        Ok(())
    }

    /// Decides every case by the set `policies`, beside whose tools there are those of the file.
    ///
    /// # Errors
    /// The set does not compile with these tools, or there are too many cases.
    pub fn run(&self, set: &PolicyFiles, beside: &Tools) -> Result<Vec<CaseResult>, String> {
        let tools = self.tools(beside);
        let bundle = bundle(set, &tools);
        let snapshot = Snapshot::compile(bundle).map_err(|errors| errors.to_string())?;
        if self.count() > CASES_MAX {
            return Err(format!("more than {CASES_MAX} cases"));
        }
        let mut results = Vec::new();
        self.each((&snapshot, &tools), |result| {
            results.push(result);
            ControlFlow::Continue(())
        });
        Ok(results)
    }

    /// How many cases it has, each combination of what varies counted. No copy is made of what is given for all:
    /// there may be much of that, and many cases.
    pub fn count(&self) -> usize {
        let given = self.given.get(VARY);
        let count = |case: &Map<String, Value>| combinations(case.get(VARY).or(given));
        self.cases.iter().map(count).fold(0, usize::saturating_add)
    }

    /// Decides one case after another by the set, which has these tools, and gives what comes of each to `take`, until
    /// that wants no more.
    fn each(&self, set: (&Snapshot, &Tools), mut take: impl FnMut(CaseResult) -> ControlFlow<()>) {
        for (position, case) in self.cases.iter().enumerate() {
            let line = self.lines.get(position).copied().flatten();
            let mut take = |result| take(CaseResult { line, ..result });
            let taken = match Varied::of(self.whole(case)) {
                Ok(varied) => varied.all().try_for_each(|case| take(result(case, set))),
                Err(why) => take(CaseResult::unaskable(case.get(NAME), why)),
            };
            if taken.is_break() {
                return;
            }
        }
    }

    /// A case with what is given for all.
    fn whole(&self, case: &Map<String, Value>) -> Map<String, Value> {
        let mut whole = self.given.clone();
        whole.extend(case.clone());
        whole
    }
}

/// The bundle of a set with these tools.
pub fn bundle(set: &PolicyFiles, tools: &Tools) -> Bundle {
    let schema = |tool: &CaseTool| ToolSchema { input_schema: tool.input.clone() };
    let tools = tools.iter().map(|(name, tool)| (name.clone(), schema(tool))).collect();
    Bundle { tools, ..set.clone().into() }
}

fn result(mut case: Map<String, Value>, set: (&Snapshot, &Tools)) -> CaseResult {
    let Some(Value::String(name)) = case.remove(NAME) else {
        return CaseResult::unaskable(None, "it has no `name`".to_owned());
    };
    match Case::read(case).and_then(|case| case.answered(set)) {
        Ok((held, asked)) => CaseResult { name, line: None, held, asked },
        Err(why) => CaseResult::unaskable(Some(&name.into()), why),
    }
}

/// One question, and what must be answered.
struct Case {
    question: Question,
    wanted: Wanted,
}

/// What a case asks for.
enum Question {
    /// An act of an instance.
    ByInstance(Box<ByInstance>),
    /// An act of administration.
    Administrative(Box<Administrative>),
}

/// Whether a case holds, with what was asked for it.
type Answered = (Result<(), CaseError>, Vec<AskedPolicy>);

impl Case {
    /// Reads a case, but for its name.
    fn read(case: Map<String, Value>) -> Result<Self, String> {
        let (wanted, question) = case.into_iter().partition(|(member, _)| wanted::is_said(member));
        Ok(Self { question: Question::read(question)?, wanted: Wanted::read(wanted)? })
    }

    fn answered(&self, set: (&Snapshot, &Tools)) -> Result<Answered, String> {
        let (_, Explanation { decision, asked, .. }) = self.question.answered(set)?;
        if matches!(decision, Decision::Deny(Denial::Malformed)) {
            return Err("nobody can ask so: it is denied before any policy".to_owned());
        }
        Ok((self.wanted.held_against(&decision), asked))
    }
}

impl Question {
    fn read(question: Map<String, Value>) -> Result<Self, String> {
        let question = if administrative::is_one(&question) {
            serde_json::from_value(question.into()).map(Self::Administrative)
        } else {
            serde_json::from_value(question.into()).map(Self::ByInstance)
        };
        question.map_err(|error| error.to_string())
    }

    /// What is asked, and what is answered, as the commit of the act would leave that.
    fn answered(
        &self,
        (snapshot, tools): (&Snapshot, &Tools),
    ) -> Result<(AccessRequest, Explanation), String> {
        let (request, facts) = self.possible((snapshot, tools))?;
        let Explanation { decision, asked, for_others } = snapshot.explain(&request, &facts);
        let decision = self.counted(decision, snapshot)?;
        Ok((request, Explanation { decision, asked, for_others }))
    }

    /// What is asked of the set, if that can be, and the facts that it is decided on.
    fn possible(&self, set: (&Snapshot, &Tools)) -> Result<(AccessRequest, Facts), String> {
        if let Self::ByInstance(it) = self {
            it.is_possible(set)?;
        }
        self.put(set.1)
    }

    /// What is asked, and the facts that it is decided on.
    fn put(&self, tools: &Tools) -> Result<(AccessRequest, Facts), String> {
        match self {
            Self::ByInstance(it) => it.put(tools),
            Self::Administrative(it) => it.put(),
        }
    }

    /// The decision as its commit would leave it.
    fn counted(&self, decision: Decision, snapshot: &Snapshot) -> Result<Decision, String> {
        match self {
            Self::ByInstance(it) => it.counted(decision, snapshot),
            Self::Administrative(_) => Ok(decision),
        }
    }
}

const fn then() -> Timestamp {
    NOW
}

fn point_in_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}
