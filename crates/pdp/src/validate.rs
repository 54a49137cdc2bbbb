//! Validates each policy, strictly and to two dereferences, against the part of the schema that its
//! scope can match.
//!
//! Cedar checks a policy once for each action that applies; with an action per tool and a policy
//! per tool that is quadratic. A policy can tell tools apart only by the arguments that it reads, and by
//! name; so of those that it does not name one of each kind stands for the others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use cedar_policy::{ValidationMode, Validator};
use model::Sha256Digest;

use crate::candidates::{Constraint, ScopeOf};
use crate::report::Said;
use crate::schema::{Part, TOOL_CALLS, Vocabulary};
use crate::shape::{Member, listed};
use crate::snapshot::Compiled;

/// How many dereferences a policy may chain: facts are gathered that far.
const LEVEL: u32 = 2;

/// How many schemas are kept for the next policy that is checked against the same.
const VALIDATORS_MAX: usize = 16;

/// Validates policies against the vocabulary.
pub(crate) struct Checker<'a> {
    vocabulary: &'a Vocabulary,
    has_tools: bool,
    parts: HashMap<Seen, Rc<Matched<'a>>>,
    choices: HashMap<(Constraint, Constraint), Choices<'a>>,
    validators: HashMap<Sha256Digest, Validator>,
}

/// Which texts there can be at a JSON pointer, in a call of any tool that a scope can match; none where there can be
/// any, or no text at all.
type Choices<'a> = BTreeMap<String, Option<Rc<BTreeSet<&'a str>>>>;

/// All of a policy that its part of the schema depends on.
#[derive(PartialEq, Eq, Hash)]
struct Seen {
    action: Constraint,
    resource: Constraint,
    /// The arguments that it reads.
    members: BTreeSet<String>,
    /// The actions that it names.
    names: BTreeSet<String>,
}

/// The part of the schema against which a policy is checked.
pub(crate) struct Matched<'a> {
    pub(crate) actions: BTreeSet<&'a str>,
    /// Names all that it consists of.
    pub(crate) digest: Sha256Digest,
}

impl Matched<'_> {
    /// Whether it has no action, so that nothing can be checked.
    pub(crate) fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}

impl<'a> Checker<'a> {
    pub(crate) fn new(vocabulary: &'a Vocabulary) -> Self {
        let has_tools = vocabulary.actions.values().any(|action| action.tool.is_some());
        let (parts, choices, validators) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { vocabulary, has_tools, parts, choices, validators }
    }

    /// What `policy` is checked against.
    pub(crate) fn part(&mut self, policy: &Compiled) -> Rc<Matched<'a>> {
        let seen = Seen {
            action: policy.scope.action.clone(),
            resource: policy.scope.resource.clone(),
            members: policy.reads.members(),
            names: policy.actions.clone(),
        };
        if let Some(known) = self.parts.get(&seen) {
            return known.clone();
        }
        let actions = self.actions(&policy.scope, &seen);
        let digest = self.digest(&actions, &seen.names);
        let part = Rc::new(Matched { actions, digest });
        self.parts.insert(seen, part.clone());
        part
    }

    fn digest(&self, actions: &BTreeSet<&'a str>, names: &BTreeSet<String>) -> Sha256Digest {
        let form = |name: &&'a str| (*name, self.vocabulary.actions[*name].form);
        let forms: Vec<_> = actions.iter().map(form).collect();
        Sha256Digest::of(&json::canonical_of(&(self.vocabulary.extra_form, forms, names)))
    }

    /// What is doubtful in a policy though it may be of the right types.
    pub(crate) fn doubts(&mut self, policy: &Compiled, part: &Matched<'_>) -> Vec<String> {
        let named = policy.actions.iter();
        let mut doubts: Vec<String> = named
            .filter(|name| *name != TOOL_CALLS && !self.vocabulary.actions.contains_key(*name))
            .map(|name| format!("names `{name}`, which is no method and no tool in the set: correct it, or describe the tool"))
            .collect();
        doubts.extend(self.unknown_tool(&policy.scope));
        doubts.extend(self.never(policy));
        // A new deployment has no tools yet, and policies for those to come.
        if part.is_empty() && self.has_tools {
            doubts.push(
                "matches no action, so it was not type-checked: describe the tools that it is for"
                    .to_owned(),
            );
        }
        doubts
    }

    /// Validates one policy; answers what is doubtful, or fails with what is wrong, each with where in its text.
    pub(crate) fn check(
        &mut self,
        policy: &Compiled,
        part: &Matched<'_>,
    ) -> Result<Vec<Said>, Vec<Said>> {
        let validator = self.validator(part, &policy.actions);
        let validator = validator.map_err(|error| -> Vec<Said> { vec![(None, error)] })?;
        let result = validator.validate_with_level(&policy.alone, ValidationMode::Strict, LEVEL);
        let id = policy.id.as_str();
        // Cedar reports them unordered, and what is told must not be.
        let errors: BTreeSet<Said> = result.validation_errors().map(|it| tidy(it, id)).collect();
        let doubts: BTreeSet<Said> = result.validation_warnings().map(|it| tidy(it, id)).collect();
        if errors.is_empty() { Ok(Vec::from_iter(doubts)) } else { Err(Vec::from_iter(errors)) }
    }

    /// The texts that an argument is compared with and never is: no schema of a tool that could be called has them.
    fn never(&mut self, policy: &Compiled) -> Vec<String> {
        let mut found = Vec::new();
        for (pointer, texts) in policy.compared.iter().filter(|(_, texts)| !texts.is_empty()) {
            let Some(choices) = self.choices(&policy.scope, pointer) else { continue };
            for text in texts.iter().filter(|text| !choices.contains(text.as_str())) {
                let one_of = listed(choices.iter());
                found.push(format!(
                    "compares the argument `{pointer}` with {text:?}, which it never is: name one of {one_of}, or leave \
                     that out"
                ));
            }
        }
        found
    }

    /// Which texts there can be at `pointer` in a call that `scope` can match, if only these.
    fn choices(&mut self, scope: &ScopeOf, pointer: &str) -> Option<Rc<BTreeSet<&'a str>>> {
        let of = (scope.action.clone(), scope.resource.clone());
        if let Some(known) = self.choices.get(&of).and_then(|choices| choices.get(pointer)) {
            return known.clone();
        }
        let (vocabulary, mut all) = (self.vocabulary, Some(BTreeSet::new()));
        for name in self.reachable(scope).into_iter().filter(|name| self.matches(scope, name)) {
            let Some(note) = vocabulary.actions[name].notes.get(pointer) else { continue };
            match (&mut all, &note.one_of) {
                (Some(all), Some(texts)) => all.extend(texts.iter().map(String::as_str)),
                _ => all = None,
            }
        }
        let all = all.filter(|texts| !texts.is_empty()).map(Rc::new);
        self.choices.entry(of).or_default().insert(pointer.to_owned(), all.clone());
        all
    }

    fn unknown_tool(&self, scope: &ScopeOf) -> Option<String> {
        let Constraint::Eq(uid) = &scope.resource else { return None };
        let name = uid.id().unescaped();
        let unknown = uid.type_name().basename() == "Tool"
            && self.vocabulary.actions.get(name).is_none_or(|action| action.tool.is_none());
        unknown.then(|| {
            format!(
                "names the tool `{name}`, which is not in the set: correct it, or describe the tool"
            )
        })
    }

    /// The actions with which a policy is type-checked: one of each kind that it can match, or
    /// those that it names one by one, for Cedar to say why it matches none. What it would match of a server
    /// that has no tools here is nothing that can be said wrong, or right, of it.
    fn actions(&self, scope: &ScopeOf, seen: &Seen) -> BTreeSet<&'a str> {
        let reachable = self.reachable(scope);
        let matching: BTreeSet<&'a str> =
            reachable.iter().copied().filter(|name| self.matches(scope, name)).collect();
        if !matching.is_empty() {
            return self.kinds(matching, seen);
        }
        reachable.into_iter().filter(|name| seen.names.contains(*name)).collect()
    }

    fn validator(
        &mut self,
        part: &Matched<'_>,
        names: &BTreeSet<String>,
    ) -> Result<Validator, String> {
        if let Some(known) = self.validators.get(&part.digest) {
            return Ok(known.clone());
        }
        let names = names.iter().map(String::as_str).collect();
        let schema = Part { actions: part.actions.clone(), names, unknown_input: false };
        let validator = self.vocabulary.part(&schema).map(Validator::new)?;
        if self.validators.len() == VALIDATORS_MAX {
            self.validators.clear();
        }
        self.validators.insert(part.digest, validator.clone());
        Ok(validator)
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

    /// The tools that the policy names, one for each kind of others, and all methods. Tools are of a kind if
    /// the arguments that the policy reads look alike.
    fn kinds(&self, names: BTreeSet<&'a str>, seen: &Seen) -> BTreeSet<&'a str> {
        let mut kinds: BTreeSet<Vec<Option<&Member>>> = BTreeSet::new();
        let keep = |name: &&str| match self.vocabulary.actions.get(*name) {
            Some(action) if action.tool.is_some() && !seen.names.contains(*name) => {
                let members = seen.members.iter().map(|member| action.input.get(member));
                kinds.insert(members.collect())
            }
            _ => true,
        };
        if names.len() == 1 { names } else { names.into_iter().filter(keep).collect() }
    }
}

fn is_of_server(kind: &cedar_policy::EntityTypeName) -> bool {
    matches!(kind.basename(), "Server" | "Tool" | "Resource" | "Prompt")
}

/// Cedar's message without what we say ourselves (which policy), with its advice, and where in the policy's text the
/// expression begins that it is about.
fn tidy<E: miette::Diagnostic>(error: &E, id: &str) -> Said {
    let at = error.labels().into_iter().flatten().next().map(|label| label.offset());
    let message = error.to_string().replace('\n', " ");
    let prefix = format!("for policy `{id}`, ");
    let message = message.strip_prefix(&prefix).unwrap_or(&message).to_owned();
    match error.help() {
        Some(help) => (at, format!("{message} ({help})")),
        None => (at, message),
    }
}
