//! The condition of a budget: what stands in a policy after `when`, asked of the calls that the budget is for.
//!
//! It is compiled, checked and asked as the condition of a policy is, once for each of the tools that the budget
//! names. Of who acts it says nothing (`agents` does, and follows work that is handed on), and of how often tools were
//! called neither: of calls at once none sees the others, and none would be counted.

use std::str::FromStr as _;
use std::sync::Arc;

use cedar_policy::Expression;
use model::{BudgetName, Sha256Digest, ToolPattern};
use serde_json::Value;

use crate::candidates::{Asked, Placed};
use crate::compile::{self, Fault};
use crate::evaluate::{Outcome, Question};
use crate::nesting::is_shallow;
use crate::reads;
use crate::report::{Said, line_of, parsed};
use crate::schema::TOOL_CALLS;
use crate::snapshot::Compiled;

/// The longest condition, in bytes.
pub(super) const WHEN_MAX: usize = 4_096;

/// What can overflow: no type says that it does not.
const CALCULATES: [&str; 6] = ["+", "-", "*", "neg", "offset", "durationSince"];

/// The condition, for each of the tools that the budget names; for all, if it names none.
#[derive(Debug)]
pub(crate) struct When {
    /// As it is written.
    text: String,
    /// Where it stands.
    pub(super) line: u64,
    policies: Vec<Arc<Compiled>>,
}

impl When {
    /// Reads the condition `text` of the budget `name`, which is for calls of `tools`.
    pub(super) fn read(
        name: &BudgetName,
        (text, line): (&str, u64),
        tools: &[ToolPattern],
    ) -> Result<Self, String> {
        if text.len() > WHEN_MAX {
            return Err(format!(
                "it is longer than {WHEN_MAX} bytes: shorten it, or write several budgets"
            ));
        }
        is_shallow(text).map_err(|(at, why)| told(text, (Some(at), why)))?;
        // By itself: else it could end the policy, and begin another one.
        Expression::from_str(text).map_err(|error| told(text, parsed(&error)))?;
        let scopes = match tools {
            [] => vec![format!("action in Action::{TOOL_CALLS:?}, resource")],
            tools => tools.iter().map(scope).collect(),
        };
        // What it ends with may be a comment.
        let policy = |scope| {
            format!("@id(\"budget/{name}\")\npermit (principal, {scope})\nwhen {{\n{text}\n}};")
        };
        let compiled = scopes.into_iter().map(|scope| compile::alone(&policy(scope)).map(Arc::new));
        let policies = compiled.collect::<Result<Vec<_>, Fault>>().map_err(Fault::message)?;
        let when = Self { text: text.trim().to_owned(), line, policies };
        if when.syntax().any(|it| it.principal) {
            return Err(
                "names `principal`: say whose calls they are with `agents`, which counts who \
                        hands work on as well"
                    .to_owned(),
            );
        }
        if when.syntax().any(|it| it.counts()) {
            return Err(
                "looks at `context.session.counters`, which calls at once all see as they were \
                        before: count how often by a budget of its own, with `amount: calls` and a `cap`"
                    .to_owned(),
            );
        }
        Ok(when)
    }

    /// The text of it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it calculates, and so can fail where it was not seen to.
    pub(super) fn can_overflow(&self) -> bool {
        let policies = self.policies.iter().flat_map(|it| it.alone.policies());
        let mut syntax = policies.filter_map(|policy| policy.to_json().ok());
        syntax.any(|syntax| calculates(&syntax["conditions"]))
    }

    fn syntax(&self) -> impl Iterator<Item = reads::Reads> {
        let policies = self.policies.iter().flat_map(|it| it.alone.policies());
        policies.filter_map(|policy| reads::of(policy).ok())
    }

    /// The policies that have it as their condition, each with what names its text.
    pub(crate) fn policies(&self) -> impl Iterator<Item = (Sha256Digest, &Arc<Compiled>)> {
        self.policies.iter().map(|policy| {
            let text = policy.alone.to_string();
            (Sha256Digest::of(text.as_bytes()), policy)
        })
    }

    /// The policy that is asked of such a call.
    pub(super) fn asked(&self, asked: &Asked<'_>) -> Option<&Compiled> {
        self.policies.iter().map(AsRef::as_ref).find(|it| it.scope.matches(asked))
    }

    /// Whether it is met; none if nobody can tell, for it fails, or looks at what has no exact value.
    pub(super) fn is_met(&self, question: &Question<'_>, actor: &Placed) -> Option<bool> {
        let (action, resource) = (question.action, &question.resource);
        let policy = self.asked(&Asked { principal: actor, action, resource })?;
        if question.unread.iter().any(|it| policy.reads.see(it)) {
            return None;
        }
        match policy.outcome(&question.of(actor)?, &question.entities) {
            Outcome::Satisfied => Some(true),
            Outcome::NotSatisfied => Some(false),
            Outcome::Failed => None,
        }
    }
}

/// What is the matter with the condition `text`, with the line of it where it has several.
fn told(text: &str, (at, message): Said) -> String {
    match at {
        Some(at) if text.trim().contains('\n') => {
            format!("on line {} of it, {message}", line_of(text, at))
        }
        _ => message,
    }
}

/// Calls of such a tool, as the scope of a policy says it.
fn scope(tools: &ToolPattern) -> String {
    if let Some(tool) = tools.exact() {
        return format!("action == Action::{:?}, resource", tool.to_string());
    }
    let server = tools.server().as_str();
    format!("action in Action::{TOOL_CALLS:?}, resource in Server::{server:?}")
}

fn calculates(syntax: &Value) -> bool {
    match syntax {
        Value::Array(items) => items.iter().any(calculates),
        Value::Object(members) => {
            let mut members = members.iter();
            members.any(|(name, it)| CALCULATES.contains(&name.as_str()) || calculates(it))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
