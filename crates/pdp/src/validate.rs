//! Validates each policy, strictly and to two dereferences, against the part of the schema that its
//! scope can match.
//!
//! Cedar checks a policy once for each action that applies; with an action per tool and a policy
//! per tool that is quadratic. Tools whose arguments look alike are alike to a policy, and to one
//! that reads no argument all of them are; so one of each kind stands for the others.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Policy, PolicySet, ValidationMode, Validator};

use crate::candidates::{Constraint, ScopeOf};
use crate::reads::Reads;
use crate::schema::{Action, Part, TOOL_CALLS, Vocabulary, chain};
use crate::shape;

/// How many dereferences a policy may chain: facts are gathered that far.
const LEVEL: u32 = 2;

/// Schemas with more actions than this are kept for the next policy that needs the same.
const KEEP_FROM: usize = 4;

/// Validates policies against the vocabulary.
pub(crate) struct Checker<'a> {
    vocabulary: &'a Vocabulary,
    kept: BTreeMap<(BTreeSet<&'a str>, BTreeSet<String>), Validator>,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(vocabulary: &'a Vocabulary) -> Self {
        Self { vocabulary, kept: BTreeMap::new() }
    }

    /// Validates one policy; answers what is doubtful, or fails with what is wrong.
    pub(crate) fn check(
        &mut self,
        policy: &Policy,
        scope: &ScopeOf,
        reads: &Reads,
    ) -> Result<Vec<String>, Vec<String>> {
        let mut doubts: Vec<String> = reads
            .actions
            .iter()
            .filter(|name| *name != TOOL_CALLS && !self.vocabulary.actions.contains_key(*name))
            .map(|name| format!("names `{name}`, which is no method and no tool in the set"))
            .collect();
        doubts.extend(self.unknown_tool(scope));
        let actions = self.actions(scope, reads);
        if actions.is_empty() {
            // A new deployment has no tools yet, and policies for those to come.
            if self.vocabulary.actions.values().any(|action| action.tool.is_some()) {
                doubts.push("matches no action, so it was not type-checked".to_owned());
            }
            return Ok(doubts);
        }
        let result = self.validator(actions, reads).map_err(|error| vec![error])?;
        let set = PolicySet::from_policies([policy.clone()]).map_err(|it| vec![chain(&it)])?;
        let result = result.validate_with_level(&set, ValidationMode::Strict, LEVEL);
        let errors: Vec<String> = result.validation_errors().map(|it| tidy(it, policy)).collect();
        doubts.extend(result.validation_warnings().map(|it| tidy(it, policy)));
        if errors.is_empty() { Ok(doubts) } else { Err(errors) }
    }

    fn unknown_tool(&self, scope: &ScopeOf) -> Option<String> {
        let Constraint::Eq(uid) = &scope.resource else { return None };
        let name = uid.id().unescaped();
        let unknown = uid.type_name().basename() == "Tool"
            && self.vocabulary.actions.get(name).is_none_or(|action| action.tool.is_none());
        unknown.then(|| format!("names the tool `{name}`, which is not in the set"))
    }

    /// The actions with which a policy is type-checked: one of each kind that it can match, or
    /// those that it names, for Cedar to say why it matches none.
    pub(crate) fn actions(&self, scope: &ScopeOf, reads: &Reads) -> BTreeSet<&'a str> {
        let reachable = self.reachable(scope);
        let matching: BTreeSet<&'a str> =
            reachable.iter().copied().filter(|name| self.matches(scope, name)).collect();
        if matching.is_empty() { reachable } else { self.kinds(matching, reads) }
    }

    fn validator(
        &mut self,
        actions: BTreeSet<&'a str>,
        reads: &Reads,
    ) -> Result<Validator, String> {
        let vocabulary = self.vocabulary;
        let build = |actions: &BTreeSet<&'a str>| {
            let names = reads.actions.iter().map(String::as_str).collect();
            let part = Part { actions: actions.clone(), names, unknown_input: false };
            vocabulary.part(&part).map(Validator::new)
        };
        if actions.len() < KEEP_FROM {
            return build(&actions);
        }
        let key = (actions, reads.actions.clone());
        if !self.kept.contains_key(&key) {
            let validator = build(&key.0)?;
            self.kept.insert(key.clone(), validator);
        }
        Ok(self.kept[&key].clone())
    }

    /// The actions that the action constraint allows; of tools, those that the resource can be.
    fn reachable(&self, scope: &ScopeOf) -> BTreeSet<&'a str> {
        let all = &self.vocabulary.actions;
        let name = |name: &str| all.get_key_value(name).map(|(name, _)| name.as_str());
        let named = |uid: &cedar_policy::EntityUid| name(uid.id().unescaped());
        let (mut found, every_tool, every_method): (BTreeSet<&'a str>, _, _) = match &scope.action {
            Constraint::In(uids) => {
                let group = uids.iter().any(|uid| uid.id().unescaped() == TOOL_CALLS);
                (uids.iter().filter_map(named).collect(), group, false)
            }
            Constraint::Eq(uid) => (named(uid).into_iter().collect(), false, false),
            Constraint::Any | Constraint::Is(_) | Constraint::IsIn(..) => {
                (BTreeSet::new(), true, true)
            }
        };
        let of_kind = |tools: bool| all.iter().filter(move |(_, it)| it.tool.is_some() == tools);
        if every_method {
            found.extend(of_kind(false).map(|(name, _)| name.as_str()));
        }
        if every_tool {
            match &scope.resource {
                // One tool, found directly: going over all for each policy would be quadratic.
                Constraint::Eq(uid) if uid.type_name().basename() == "Tool" => {
                    found.extend(named(uid));
                }
                _ => found.extend(of_kind(true).map(|(name, _)| name.as_str())),
            }
        }
        found
    }

    /// Whether the resource constraint can match a resource of the action.
    fn matches(&self, scope: &ScopeOf, name: &str) -> bool {
        let Some(action) = self.vocabulary.actions.get(name) else { return false };
        let applies_to = |kind: &cedar_policy::EntityTypeName| action.resources.contains(kind);
        let below = |uid: &cedar_policy::EntityUid| match (&action.tool, uid.type_name().basename())
        {
            (Some(tool), "Server") => uid.id().unescaped() == tool.server.as_str(),
            (None, "Server") => action.resources.iter().any(is_of_server),
            _ => applies_to(uid.type_name()),
        };
        match &scope.resource {
            Constraint::Any => true,
            Constraint::Is(kind) => applies_to(kind),
            Constraint::In(uids) => uids.iter().any(below),
            Constraint::IsIn(kind, uid) => applies_to(kind) && below(uid),
            Constraint::Eq(uid) => {
                applies_to(uid.type_name())
                    && (action.tool.is_none() || uid.id().unescaped() == name)
            }
        }
    }

    /// One tool for each kind of arguments that the policy can tell apart, and all methods.
    fn kinds(&self, names: BTreeSet<&'a str>, reads: &Reads) -> BTreeSet<&'a str> {
        let mut seen = BTreeSet::new();
        let kind = |action: &Action| match action.tool {
            Some(_) if reads.input.is_empty() => String::new(),
            _ => shape::record_type(&action.input).to_string(),
        };
        let keep = |name: &&str| match self.vocabulary.actions.get(*name) {
            Some(action) if action.tool.is_some() => seen.insert(kind(action)),
            _ => true,
        };
        if names.len() == 1 { names } else { names.into_iter().filter(keep).collect() }
    }
}

fn is_of_server(kind: &cedar_policy::EntityTypeName) -> bool {
    matches!(kind.basename(), "Server" | "Tool" | "Resource" | "Prompt")
}

/// Cedar's message without what we say ourselves (which policy), with its advice.
fn tidy<E: miette::Diagnostic>(error: &E, policy: &Policy) -> String {
    let message = error.to_string().replace('\n', " ");
    let prefix = format!("for policy `{}`, ", policy.id());
    let message = message.strip_prefix(&prefix).unwrap_or(&message).to_owned();
    match error.help() {
        Some(help) => format!("{message} ({help})"),
        None => message,
    }
}
