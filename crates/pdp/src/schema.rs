//! The schema of a policy set: the base schema, its further parts, and one action for each tool.
//!
//! The whole is never handed to Cedar at once: type checking grows with policies × actions. Each
//! question gets the part that it needs (see [`Vocabulary::part`]).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema, SchemaError, SchemaFragment};
use miette::Diagnostic as _;
use model::{Opens, Sha256Digest, ToolRef};
use serde_json::{Map, Value, json};

use crate::Bundle;
use crate::candidates::Placed;
use crate::declared::{declared_at, extra_part};
use crate::nesting::{MEMBERS_MAX, too_large};
use crate::report::{Finding, line_of};
use crate::shape::{self, Members, Notes};

/// The base schema, the same in every policy set.
pub const BASE_SCHEMA: &str = include_str!("../../../policies/chancery.cedarschema");

/// Where is said what a schema part can declare.
const PAGE: &str = "see docs/policy-sets.md";

/// How many schema parts are left out in turn, to find with which one the others do not go together.
const LEFT_OUT_MAX: usize = 16;

/// The action group of all tools.
pub(crate) const TOOL_CALLS: &str = "tools/call";

/// The types of those who ask for calls: the instance, and the person on whose behalf it acts.
pub(crate) const CALLERS: [&str; 2] = ["Person", "Instance"];

/// What hands a part of a task on to another agent.
pub(crate) const DELEGATE: &str = "delegate";

/// What a server asks of its client: its parameters are input to policy.
pub(crate) const SERVER_REQUEST: &str = "server/request";

/// What a token is issued by: what that opens is input to policy.
const TOKEN_ISSUE: &str = "token/issue";

/// The name of the stand-in for arguments that are not known yet.
pub(crate) const UNKNOWN_INPUT: &str = "UnknownInput";

/// The name of the stand-in for where they come from, while they are not known.
pub(crate) const UNKNOWN_PROVENANCE: &str = "UnknownProvenance";

/// The action that calls one tool, or a method.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    /// Its entity and the groups that it is in.
    pub(crate) placed: Placed,
    /// Who asks.
    pub(crate) asked_by: AskedBy,
    /// The types that the resource may have.
    pub(crate) resources: Vec<EntityTypeName>,
    /// The tool that it calls, if it does.
    pub(crate) tool: Option<ToolRef>,
    /// The members of its arguments.
    pub(crate) input: Arc<Members>,
    /// What is said of the texts among them.
    pub(crate) notes: Arc<Notes>,
    /// Names what its declaration rests on beside the base schema: the members of its arguments.
    pub(crate) form: Sha256Digest,
    /// The declaration of a method in a schema (JSON form); a tool's is made when it is needed.
    declared: Option<Arc<Value>>,
}

/// The arguments of an action as policy has them.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    members: Arc<Members>,
    notes: Arc<Notes>,
    /// Names the members.
    form: Sha256Digest,
}

/// Who asks for an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskedBy {
    /// An instance, perhaps on behalf of a person, who is asked about too.
    Instance,
    /// A person.
    Person,
    /// A directory.
    Directory,
}

impl AskedBy {
    /// By the types of principals that an action is declared with.
    fn of(principals: &[&str]) -> Self {
        if principals.contains(&"Instance") {
            Self::Instance
        } else if principals.contains(&"Directory") {
            Self::Directory
        } else {
            Self::Person
        }
    }
}

/// Everything that a policy may speak of.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    /// What can be asked for, by name. The order of the map reaches nothing.
    pub(crate) actions: HashMap<String, Action>,
    extra: Vec<SchemaFragment>,
    /// The types of the base schema, with the counters of the tools whose calls are counted.
    types: SchemaFragment,
    /// Names the schema parts beyond the base schema, and those tools.
    pub(crate) extra_form: Sha256Digest,
}

/// Which part of the schema a question needs.
#[derive(Default)]
pub(crate) struct Part<'a> {
    /// Actions declared in full.
    pub(crate) actions: BTreeSet<&'a str>,
    /// Actions that need only exist.
    pub(crate) names: BTreeSet<&'a str>,
    /// Types `context.input` as an entity whose attributes are the arguments, so that they can be
    /// unknown while the rest of the context is known, and so where they come from. Policies spell both
    /// alike.
    pub(crate) unknown_input: bool,
}

/// The base schema in JSON form.
pub(crate) static BASE: LazyLock<Value> = LazyLock::new(|| {
    let (fragment, _warnings) =
        SchemaFragment::from_cedarschema_str(BASE_SCHEMA).expect("the base schema parses");
    fragment.to_json_value().expect("the base schema has a JSON form")
});

/// The common types and entity types of the base schema, without actions: read once, for it is part of
/// every schema.
static TYPES: LazyLock<SchemaFragment> = LazyLock::new(|| {
    let mut types = BASE.clone();
    types[""]["actions"] = json!({});
    SchemaFragment::from_json_value(types).expect("the base schema's types are a schema")
});

/// The methods of the base schema: made once, for they are in every vocabulary.
static METHODS: LazyLock<HashMap<String, Action>> = LazyLock::new(|| {
    let methods = BASE[""]["actions"].as_object().into_iter().flatten();
    let methods = methods.filter(|(name, _)| *name != TOOL_CALLS);
    methods.map(|(name, declaration)| (name.clone(), method(name, declaration))).collect()
});

/// Whether methods begin with `name` (`tools` of `tools/call`): no server may be called so, because
/// its tools could not be told from them.
pub fn begins_methods(name: &str) -> bool {
    let methods = BASE[""]["actions"].as_object().into_iter().flatten();
    methods.into_iter().any(|(method, _)| method.split('/').next() == Some(name))
}

/// Whether entities of type `kind` can be in one of type `place`, or be it.
pub(crate) fn can_be_in(kind: &str, place: &str) -> bool {
    let above = BASE[""]["entityTypes"][kind]["memberOfTypes"].as_array();
    let mut above = above.into_iter().flatten().filter_map(Value::as_str);
    kind == place || above.any(|it| can_be_in(it, place))
}

pub(crate) fn type_name(name: &str) -> EntityTypeName {
    name.parse().expect("type names here are identifiers")
}

pub(crate) fn action_uid(id: &str) -> EntityUid {
    static ACTION: LazyLock<EntityTypeName> = LazyLock::new(|| type_name("Action"));
    EntityUid::from_type_name_and_id(ACTION.clone(), EntityId::new(id))
}

impl Vocabulary {
    /// The vocabulary with the methods only.
    pub(crate) fn base() -> Self {
        let (actions, extra, types) = (METHODS.clone(), Vec::new(), TYPES.clone());
        Self { actions, extra, types, extra_form: Sha256Digest::of(b"") }
    }

    /// The vocabulary of `bundle`, still without its tools.
    ///
    /// Of one `of_before`, schema parts may declare types under names that are taken, and be of any length.
    pub(crate) fn of(bundle: &Bundle, of_before: bool) -> Result<Self, Vec<Finding>> {
        let mut vocabulary = Self::base();
        vocabulary.extra_form = Sha256Digest::of(&json::canonical_of(&bundle.schema));
        let mut findings = Vec::new();
        let (mut places, mut syntax) = (Vec::new(), Vec::new());
        let mut names = (!of_before).then(BTreeSet::new);
        for (file, text) in &bundle.schema {
            match extra_part(text, names.as_mut()) {
                Ok((fragment, own)) => {
                    vocabulary.extra.push(fragment);
                    places.push((file, text));
                    syntax.push(own);
                }
                Err((at, why)) => {
                    let line = at.map(|at| line_of(text, at));
                    findings.push(Finding::at(file, line, format!("{why}: {PAGE}")));
                }
            }
        }
        if let Some((at, name)) = too_large(&syntax) {
            let (file, text) = places[at];
            let line = name.and_then(|name| declared_at(text, name)).map(|at| line_of(text, at));
            let why = "types nest too deep, or come to more than";
            let remedy = "members with those they name: declare fewer, or flatter ones";
            findings.push(Finding::at(file, line, format!("{why} {MEMBERS_MAX} {remedy}")));
        }
        if findings.is_empty()
            && !vocabulary.extra.is_empty()
            && let Err(error) = vocabulary.built(&Part::default(), vocabulary.extra.iter())
        {
            findings.push(vocabulary.does_not_go(bundle, &error));
        }
        if findings.is_empty() { Ok(vocabulary) } else { Err(findings) }
    }

    /// That the schema parts of `bundle` do not go together, or with what is declared here, and why: told of the first
    /// part without which they do, as far as that is looked for, and of the line in it, if that is known. Each time the
    /// whole schema is built.
    fn does_not_go(&self, bundle: &Bundle, error: &SchemaError) -> Finding {
        let without = |at: usize| {
            let others = self.extra.iter().enumerate().filter(move |(it, _)| *it != at);
            self.built(&Part::default(), others.map(|(_, part)| part))
        };
        let message = format!("{}: {PAGE}", chain(error));
        let mut files = bundle.schema.iter().enumerate().take(LEFT_OUT_MAX);
        let file = files.find(|(at, _)| without(*at).is_ok());
        match file {
            Some((_, (file, text))) => Finding::at(file, line_in(text, error), message),
            None => Finding::general(message),
        }
    }

    /// Adds the action of `tool`, unless a method has that name.
    pub(crate) fn add_tool(&mut self, tool: &ToolRef, input: &Input) -> Result<(), String> {
        let name = tool.to_string();
        if self.actions.contains_key(&name) {
            return Err("a method of the same name is built in".to_owned());
        }
        self.actions.insert(name, tool_action(tool, input.clone()));
        Ok(())
    }

    /// Has the calls of each of `tools` counted: policies may look at that.
    pub(crate) fn count(&mut self, tools: &BTreeSet<ToolRef>) {
        if tools.is_empty() {
            return;
        }
        let mut types = BASE.clone();
        types[""]["actions"] = json!({});
        count_in(&mut types, tools);
        self.types = SchemaFragment::from_json_value(types).expect("the types are a schema");
        self.extra_form = Sha256Digest::of(&json::canonical_of(&(self.extra_form, tools)));
    }

    /// The whole schema, in Cedar's syntax, with counters of these tools, and of the texts among their arguments
    /// which there can be (`@doc`).
    pub(crate) fn text<'a>(
        &self,
        counted: impl IntoIterator<Item = &'a ToolRef>,
    ) -> Result<String, String> {
        let actions = self.actions.keys().map(String::as_str).collect();
        let mut whole = BASE.clone();
        count_in(&mut whole, counted);
        whole[""]["actions"] = self.declarations(&Part { actions, ..Part::default() });
        for (name, action) in self.actions.iter().filter(|(_, action)| !action.notes.is_empty()) {
            let context = &mut whole[""]["actions"][name]["appliesTo"]["context"];
            let input = &mut context["attributes"]["input"];
            shape::annotate(input, &action.notes, &mut String::new());
        }
        // Each namespace stands in a text once, however many parts declare something in it.
        for part in &self.extra {
            let part = part.clone().to_json_value().map_err(|error| chain(&error))?;
            add(&mut whole, part);
        }
        let whole = SchemaFragment::from_json_value(whole).map_err(|error| chain(&error))?;
        whole.to_cedarschema().map_err(|error| chain(&error))
    }

    /// Builds the schema with the actions of `part`.
    pub(crate) fn part(&self, part: &Part<'_>) -> Result<Schema, String> {
        self.built(part, self.extra.iter()).map_err(|error| chain(&error))
    }

    fn built<'f>(
        &self,
        part: &Part<'_>,
        extra: impl Iterator<Item = &'f SchemaFragment>,
    ) -> Result<Schema, Box<SchemaError>> {
        let mut own = json!({ "entityTypes": {}, "actions": self.declarations(part) });
        if part.unknown_input {
            for action in part.actions.iter().filter_map(|name| self.actions.get(*name)) {
                let shape = shape::record_type(&action.input);
                own["entityTypes"][UNKNOWN_INPUT] = json!({ "shape": shape });
            }
            let shape = &BASE[""]["commonTypes"]["Provenance"];
            own["entityTypes"][UNKNOWN_PROVENANCE] = json!({ "shape": shape });
        }
        let own = SchemaFragment::from_json_value(json!({ "": own }))?;
        let fragments = [self.types.clone(), own].into_iter().chain(extra.cloned());
        Schema::from_schema_fragments(fragments).map_err(Box::new)
    }

    /// The declarations of the actions of `part` (JSON form).
    fn declarations(&self, part: &Part<'_>) -> Value {
        let mut actions = Map::new();
        actions.insert(TOOL_CALLS.to_owned(), json!({}));
        for name in &part.names {
            actions.insert((*name).to_owned(), json!({}));
        }
        for name in &part.actions {
            if let Some(action) = self.actions.get(*name) {
                let mut declaration = action.declaration();
                if part.unknown_input {
                    set(&mut declaration, "input", UNKNOWN_INPUT);
                    set(&mut declaration, "provenance", UNKNOWN_PROVENANCE);
                }
                actions.insert((*name).to_owned(), declaration);
            }
        }
        Value::Object(actions)
    }
}

impl Input {
    /// The arguments that `schema` allows, whose formats are no types if they are read `as_texts`.
    pub(crate) fn of(schema: &Value, as_texts: bool) -> Self {
        let (members, notes) = shape::with_notes(schema, as_texts);
        Self { notes: Arc::new(notes), ..Self::from(members) }
    }
}

impl From<Members> for Input {
    fn from(members: Members) -> Self {
        let form = Sha256Digest::of(shape::record_type(&members).to_string().as_bytes());
        Self { members: Arc::new(members), notes: Arc::default(), form }
    }
}

impl Action {
    /// The types of those who ask for it.
    pub(crate) fn principals(&self) -> Vec<&str> {
        match &self.declared {
            Some(declaration) => applies_to(declaration, "principalTypes"),
            None => CALLERS.to_vec(),
        }
    }

    fn declaration(&self) -> Value {
        self.declared.as_deref().cloned().unwrap_or_else(|| {
            json!({
                "memberOf": [{ "id": TOOL_CALLS }],
                "appliesTo": {
                    "principalTypes": CALLERS,
                    "resourceTypes": ["Tool"],
                    "context": circumstances(&self.input),
                },
            })
        })
    }
}

/// An error and its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}

/// The line of the schema part `text` that `error` is about, if it is about something that stands in that one.
fn line_in(text: &str, error: &SchemaError) -> Option<usize> {
    let label = error.labels().into_iter().flatten().next()?;
    let read = error.source_code()?.read_span(label.inner(), 0, 0).ok()?;
    let (from, to) = (label.offset(), label.offset() + label.len());
    let is_here = text.as_bytes().get(from..to).is_some_and(|here| here == read.data());
    is_here.then(|| line_of(text, from))
}

/// The input of a method.
fn method_input(name: &str) -> Input {
    let text = json!({ "type": "string" });
    let schema = match name {
        SERVER_REQUEST => json!({
            "properties": { "method": text, "mode": text, "host": text, "params": text },
            "required": ["method", "mode"],
        }),
        // Builds that did not say it decided without.
        TOKEN_ISSUE => json!({ "properties": { "opens": { "enum": Opens::ALL } } }),
        _ => return Members::new().into(),
    };
    Input::of(&schema, false)
}

/// The types that a declaration lists as `key`.
fn applies_to<'a>(declaration: &'a Value, key: &str) -> Vec<&'a str> {
    let listed = declaration["appliesTo"][key].as_array();
    listed.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn method(name: &str, declaration: &Value) -> Action {
    let (Input { members: input, notes, form }, mut declaration) =
        (method_input(name), declaration.clone());
    if !input.is_empty() {
        declaration["appliesTo"]["context"] = circumstances(&input);
    }
    let resources = applies_to(&declaration, "resourceTypes");
    Action {
        placed: Placed { uid: action_uid(name), ancestors: Vec::new() },
        asked_by: AskedBy::of(&applies_to(&declaration, "principalTypes")),
        resources: resources.into_iter().map(type_name).collect(),
        tool: None,
        input,
        notes,
        form,
        declared: Some(Arc::new(declaration)),
    }
}

/// The circumstances of an act whose input has these members.
fn circumstances(input: &Members) -> Value {
    let mut context = BASE[""]["commonTypes"]["Circumstances"].clone();
    context["attributes"]["input"] = shape::record_type(input);
    context
}

fn tool_action(tool: &ToolRef, Input { members, notes, form }: Input) -> Action {
    Action {
        placed: Placed {
            uid: action_uid(&tool.to_string()),
            ancestors: vec![action_uid(TOOL_CALLS)],
        },
        asked_by: AskedBy::Instance,
        resources: vec![type_name("Tool")],
        tool: Some(tool.clone()),
        input: members,
        notes,
        form,
        declared: None,
    }
}

/// Has the circumstances of an action name an entity of `kind` as `member`.
fn set(declaration: &mut Value, member: &str, kind: &str) {
    let entity = json!({ "type": "Entity", "name": kind });
    declaration["appliesTo"]["context"]["attributes"][member] = entity;
}

/// Adds what stands in `part` to `whole` (JSON form), in the same namespaces.
fn add(whole: &mut Value, part: Value) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (name, value) in part {
                if let Some(known) = whole.get_mut(&name) {
                    add(known, value);
                } else {
                    whole.insert(name, value);
                }
            }
        }
        (whole, part) => *whole = part,
    }
}

/// Adds a counter for each of `tools` to the types of `schema`.
fn count_in<'a>(schema: &mut Value, tools: impl IntoIterator<Item = &'a ToolRef>) {
    let session = &mut schema[""]["commonTypes"]["Session"]["attributes"];
    let counters = &mut session["counters"]["attributes"];
    for tool in tools {
        counters[tool.to_string()] = json!({ "type": "Long" });
    }
}
