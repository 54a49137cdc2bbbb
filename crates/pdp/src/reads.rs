//! What a policy can read of a request's arguments, and which actions it names: from its syntax.
//!
//! An argument that has no exact Cedar value is left out of `context.input`; a policy that could
//! look at it must then not be asked. The answer here is an upper bound: what a policy mentions,
//! it reads.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Effect, Policy};
use serde_json::Value;

use crate::context::{COUNTERS, PROVENANCE, USED_TOOLS};
use crate::lifting;

/// The operators that compare with a text, or with those of a set.
const COMPARING: [&str; 5] = ["==", "!=", "contains", "containsAll", "containsAny"];

/// JSON pointers of the arguments that a policy looks at.
#[derive(Clone, Debug, Default)]
pub struct InputReads {
    /// Whose value it uses.
    values: BTreeSet<String>,
    /// Of which it asks whether they are there.
    presence: BTreeSet<String>,
}

/// What one policy mentions.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is found by itself")]
pub(crate) struct Reads {
    /// What it looks at below `context.input`.
    pub(crate) input: InputReads,
    /// The texts that it compares arguments with, or elements of them, by their JSON pointers.
    pub(crate) compared: BTreeMap<String, BTreeSet<String>>,
    /// The names of all attributes, of whatever.
    pub(crate) attributes: BTreeSet<String>,
    /// The ids of all `Action` entities, in scope and conditions.
    pub(crate) actions: BTreeSet<String>,
    /// Whether `context`, `context.input` or `context.provenance` is used as a whole, not by member.
    pub(crate) whole: bool,
    /// Whether it looks at where arguments come from.
    pub(crate) provenance: bool,
    /// The members of `context.session` that it looks at; none is named where it uses that as a whole.
    pub(crate) session: BTreeSet<Option<String>>,
    /// Whether its conditions name `principal`.
    pub(crate) principal: bool,
    /// Whether its conditions ask what lies within what (`in`).
    pub(crate) within: bool,
    /// By which members of the context more is permitted the more was read.
    pub(crate) lifting: BTreeSet<&'static str>,
}

/// Reads the syntax of `policy`, or says why it cannot be read.
pub(crate) fn of(policy: &Policy) -> Result<Reads, String> {
    let syntax = policy.to_json().map_err(|error| error.to_string())?;
    Ok(of_syntax(&syntax, policy.effect()))
}

/// Reads the `syntax` of a policy with this effect.
pub(crate) fn of_syntax(syntax: &Value, effect: Effect) -> Reads {
    let lifting = lifting::of(syntax, effect);
    let mut reads = Reads { lifting, ..Reads::default() };
    for part in ["principal", "action", "resource"] {
        reads.actions_in(&syntax[part]);
    }
    let conditions = syntax["conditions"].as_array().into_iter().flatten();
    for condition in conditions {
        reads.expression(&condition["body"]);
    }
    reads
}

impl InputReads {
    /// The first token of each pointer (RFC 6901): the arguments of which it can tell anything.
    pub(crate) fn members(&self) -> BTreeSet<String> {
        let first = |pointer: &String| pointer_tokens(pointer).next().unwrap_or_default();
        self.values.iter().chain(&self.presence).map(first).collect()
    }

    /// An argument that this looks at and `others` do not: where it has no exact value, a policy that looks at
    /// it lets nothing be permitted, and these others do.
    pub fn beyond<'a>(&self, others: impl Iterator<Item = &'a Self> + Clone) -> Option<&str> {
        let uses = |path: &String| others.clone().any(|it| it.values.contains(path));
        let asks = |path: &String| others.clone().any(|it| it.presence.contains(path));
        let value = self.values.iter().find(|path| !uses(path));
        value
            .or_else(|| self.presence.iter().find(|path| !uses(path) && !asks(path)))
            .map(String::as_str)
    }

    /// Whether leaving out the argument at `pointer` can change what it sees.
    pub(crate) fn see(&self, pointer: &str) -> bool {
        let value = |path: &String| holds(path, pointer) || holds(pointer, path);
        self.values.iter().any(value) || self.presence.iter().any(|path| holds(pointer, path))
    }
}

/// Whether `inner` lies within what `outer` points at.
fn holds(outer: &str, inner: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What the reference tokens of a JSON pointer name, from the outermost on (RFC 6901 §4).
pub fn pointer_tokens(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~"))
}

/// Appends one reference token to a JSON pointer (RFC 6901 §3).
pub(crate) fn push_token(pointer: &mut String, token: &str) {
    pointer.push('/');
    pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
}

impl Reads {
    /// Whether it can look at how often tools were called.
    pub(crate) fn counts(&self) -> bool {
        self.session.iter().any(|member| member.as_deref().is_none_or(|it| it == COUNTERS))
    }

    fn expression(&mut self, node: &Value) {
        self.attributes_of(node);
        if let Some((path, presence)) = context_path(node) {
            return self.path(&path, presence);
        }
        match node {
            Value::Array(items) => items.iter().for_each(|item| self.expression(item)),
            Value::Object(members) => {
                for (operator, operand) in members {
                    if COMPARING.contains(&operator.as_str()) {
                        self.comparison(operand);
                    }
                    // Also below `is`.
                    self.within |= operator == "in";
                    match (operator.as_str(), operand) {
                        ("Value", literal) => self.actions_in(literal),
                        ("Var", name) => self.principal |= name == "principal",
                        // The keys of a record literal are its attributes, not operators.
                        ("Record", Value::Object(attributes)) => {
                            attributes.values().for_each(|value| self.expression(value));
                        }
                        _ => self.expression(operand),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn path(&mut self, path: &[&str], presence: bool) {
        match path {
            // Whether there is an input at all is no secret: there always is.
            ["input"] if presence => {}
            [] | ["input"] => self.whole = true,
            ["input", members @ ..] => {
                let pointer = pointer(members);
                let uses = &mut self.input;
                let set = if presence { &mut uses.presence } else { &mut uses.values };
                set.insert(pointer);
            }
            ["session", member, ..] => drop(self.session.insert(Some((*member).to_owned()))),
            ["session"] if !presence => {
                // As a whole it is looked at with what was called.
                self.attributes.insert(USED_TOOLS.to_owned());
                self.session.insert(None);
            }
            [PROVENANCE, members @ ..] => {
                self.provenance = true;
                self.whole |= members.is_empty() && !presence;
            }
            _ => {}
        }
    }

    /// Notes which texts an argument is compared with.
    fn comparison(&mut self, operand: &Value) {
        let (left, right) = (&operand["left"], &operand["right"]);
        for (argument, other) in [(left, right), (right, left)] {
            let Some((path, false)) = context_path(argument) else { continue };
            if let ["input", members @ ..] = path.as_slice() {
                let texts = self.compared.entry(pointer(members)).or_default();
                texts.extend(literals(other).map(str::to_owned));
            }
        }
    }

    /// Notes the attribute of one operator, or those of a path; the walk comes by what is below.
    fn attributes_of(&mut self, node: &Value) {
        let Some(members) = node.as_object() else { return };
        for operand in [".", "has"].iter().filter_map(|operator| members.get(*operator)) {
            let names = match &operand["attr"] {
                Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
                name => Vec::from_iter(name.as_str()),
            };
            self.attributes.extend(names.into_iter().map(str::to_owned));
            self.attributes_of(&operand["left"]);
        }
    }

    fn actions_in(&mut self, node: &Value) {
        match node {
            Value::Array(items) => items.iter().for_each(|item| self.actions_in(item)),
            Value::Object(members) => {
                let text = |key: &str| members.get(key).and_then(Value::as_str);
                if let (Some("Action"), Some(id)) = (text("type"), text("id")) {
                    self.actions.insert(id.to_owned());
                }
                members.values().for_each(|value| self.actions_in(value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// The JSON pointer of the argument that these names lead to.
fn pointer(members: &[&str]) -> String {
    let mut pointer = String::new();
    for member in members {
        push_token(&mut pointer, member);
    }
    pointer
}

/// The text that stands there, or those of a set that does.
fn literals(node: &Value) -> impl Iterator<Item = &str> {
    let set = node["Set"].as_array().into_iter().flatten();
    set.chain([node]).filter_map(|it| it["Value"].as_str())
}

/// The attributes after `context`, if the expression is such a path, and whether it only asks if
/// the last of them is there.
pub(crate) fn context_path(node: &Value) -> Option<(Vec<&str>, bool)> {
    let members = node.as_object().filter(|members| members.len() == 1)?;
    let (operator, operand) = members.iter().next()?;
    match operator.as_str() {
        "Var" => (operand.as_str() == Some("context")).then(|| (Vec::new(), false)),
        "." | "has" => {
            let (mut path, _) = context_path(&operand["left"]).filter(|(_, asks)| !asks)?;
            match &operand["attr"] {
                Value::String(attribute) => path.push(attribute),
                Value::Array(all) => path.extend(all.iter().filter_map(Value::as_str)),
                _ => return None,
            }
            Some((path, operator == "has"))
        }
        _ => None,
    }
}
