//! What a policy set says of where data comes from and where it goes (`labels.yaml`).
//!
//! What a result can carry is said before it is known, by who it comes from: labels are joined to a
//! session when an act is permitted, and nothing that is read takes one off. Where the file leaves open
//! which labels there may be, all of them are there: an argument that is missing meets every condition,
//! and an object that is not named is whatever the server keeps: what is stored so is read under every name.

mod compared;

use std::collections::{BTreeMap, BTreeSet};

use model::{AccessRequest, FactKey, Label, ResourceRef, ServerName, ToolRef};
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::beside;
use crate::report::{CompileErrors, Finding};

/// The name of the file, beside the policies.
pub const LABELS_FILE: &str = "labels.yaml";

/// The most labels of one policy set.
pub const LABELS_MAX: usize = 64;

/// The most conditions of one tool.
const CONDITIONS_MAX: usize = 64;

/// As what a tool is named that stands for those of its server that have no entry of their own.
const EVERY_OTHER: &str = "*";

/// The word for whatever a server keeps.
const ANY: &str = "any";

/// What results carry, which tools send out, and what servers keep.
#[derive(Debug, Default)]
pub struct Labels {
    declared: BTreeSet<Label>,
    /// Those of what people outside may have written.
    outsiders: BTreeSet<Label>,
    servers: BTreeMap<ServerName, OfServer>,
    tools: BTreeMap<ToolRef, OfTool>,
    /// Of the tools of a server that have no entry of their own.
    others: BTreeMap<ServerName, OfTool>,
    /// The servers that keep what they are given.
    keepers: BTreeSet<ServerName>,
}

/// What one act lets flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// What its result can carry.
    pub carries: BTreeSet<Label>,
    /// What is kept of which its result can tell: where the labels of that are.
    pub reads: Vec<FactKey>,
    /// The server that keeps what it brings, and the name under which it does, if it has one.
    pub stores: Option<(ServerName, Option<FactKey>)>,
}

/// Labels as they stand in the file, each with its place.
type Named = Vec<Spanned<Label>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    labels: BTreeMap<Label, String>,
    #[serde(default)]
    outsiders: Named,
    #[serde(default)]
    servers: BTreeMap<ServerName, OfServer>,
    #[serde(default)]
    tools: BTreeMap<ToolRef, OfTool>,
}

/// What comes from a server otherwise than as the result of a tool.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OfServer {
    /// With resources that are read or subscribed to.
    resources: Named,
    /// With prompts.
    prompts: Named,
    /// With completions.
    completions: Named,
    /// With what it asks of its clients, and what is answered.
    requests: Named,
    /// With lists of resources and prompts.
    lists: Named,
    /// What a result may say that it carries besides.
    reveals: Named,
    /// Whether it sends out what it is told otherwise than by a call of a tool.
    sink: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OfTool {
    /// What its results carry.
    carries: Named,
    /// What they carry besides, by argument.
    when: Vec<Condition>,
    /// Whether it sends out.
    sink: bool,
    /// Of what is kept its results tell.
    reads: Option<Spanned<String>>,
    /// As what is kept what it is given.
    stores: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    argument: Spanned<String>,
    equals: Option<Value>,
    prefix: Option<String>,
    carries: Named,
}

impl Labels {
    /// Reads the file.
    pub(crate) fn read(text: &str) -> Result<Self, CompileErrors> {
        let File { labels, outsiders, servers, mut tools } = beside::read(LABELS_FILE, text)?;
        let declared: BTreeSet<Label> = labels.into_keys().collect();
        let mut check = Check { declared: &declared, found: Vec::new() };
        if declared.len() > LABELS_MAX {
            let why = "have one stand for what policies tell apart";
            check.finding(None, format!("more than {LABELS_MAX} labels: {why}"));
        }
        for label in &outsiders {
            check.label(label);
        }
        for server in servers.values() {
            check.server(server);
        }
        for tool in tools.values() {
            check.tool(tool);
        }
        if !check.found.is_empty() {
            return Err(CompileErrors(check.found));
        }
        let keepers = tools.iter().filter(|(_, tool)| tool.stores.is_some());
        let keepers = keepers.map(|(name, _)| name.server.clone()).collect();
        let others = tools.extract_if(.., |name, _| name.tool.as_str() == EVERY_OTHER);
        let others = others.map(|(name, tool)| (name.server, tool)).collect();
        let outsiders = self::labels(outsiders.iter());
        Ok(Self { declared, outsiders, servers, tools, others, keepers })
    }

    /// All labels that there are.
    pub const fn declared(&self) -> &BTreeSet<Label> {
        &self.declared
    }

    /// The labels of what people outside may have written.
    pub const fn outsiders(&self) -> &BTreeSet<Label> {
        &self.outsiders
    }

    /// Whether it says anything of the tool.
    pub fn speaks_of(&self, tool: &ToolRef) -> bool {
        self.tool(tool).is_some()
    }

    /// What a result of `server` may say that it carries besides.
    pub fn revealed_by(&self, server: &ServerName) -> BTreeSet<Label> {
        labels(self.servers.get(server).into_iter().flat_map(|server| &server.reveals))
    }

    /// Whether the server sends out what it is told otherwise than by a call of a tool.
    pub(crate) fn sends(&self, server: &ServerName) -> bool {
        self.servers.get(server).is_some_and(|server| server.sink)
    }

    /// Whether the tool sends out.
    pub fn is_sink(&self, tool: &ToolRef) -> bool {
        self.tool(tool).is_some_and(|tool| tool.sink)
    }

    /// What a result of the tool can carry, whatever its arguments.
    pub fn carried_by(&self, tool: &ToolRef) -> impl Iterator<Item = &Label> {
        let tool = self.tool(tool).into_iter();
        tool.flat_map(OfTool::all).map(|label| &label.value)
    }

    /// Whether it says anything of the tool, or there is nothing that it is said in.
    pub(crate) fn knows(&self, tool: &ToolRef) -> bool {
        self.declared.is_empty() || self.speaks_of(tool)
    }

    fn tool(&self, tool: &ToolRef) -> Option<&OfTool> {
        self.tools.get(tool).or_else(|| self.others.get(&tool.server))
    }

    /// What the act that `request` asks for lets flow.
    pub fn of(&self, request: &AccessRequest) -> Flow {
        if self.declared.is_empty() {
            return Flow::default();
        }
        let (server, of_server): (_, fn(&OfServer) -> &Named) = match &request.resource {
            ResourceRef::Tool(tool) => return self.of_tool(tool, &request.input),
            ResourceRef::Resource { server, .. }
                if request.action.as_str() != "resources/unsubscribe" =>
            {
                (server, |it| &it.resources)
            }
            ResourceRef::Prompt { server, .. } => (server, |it| &it.prompts),
            ResourceRef::Server(server) => match request.action.as_str() {
                "completion/complete" => (server, |it| &it.completions),
                "server/request" => (server, |it| &it.requests),
                "resources/list"
                | "resources/templates/list"
                | "prompts/list"
                | "subscriptions/listen" => (server, |it| &it.lists),
                _ => return Flow::default(),
            },
            _ => return Flow::default(),
        };
        let carries = labels(self.servers.get(server).into_iter().flat_map(of_server));
        Flow { carries, reads: self.kept_by(server), stores: None }
    }

    fn of_tool(&self, tool: &ToolRef, input: &Value) -> Flow {
        let Some(said) = self.tool(tool) else {
            return Flow { reads: self.kept_by(&tool.server), ..Flow::default() };
        };
        let server = &tool.server;
        let object = |place: &Spanned<String>| {
            let name = input.pointer(&place.value).filter(|_| place.value != ANY);
            name.filter(|name| is_name(name)).map(|name| FactKey::kept(server, Some(name)))
        };
        let met = said.when.iter().filter(|condition| condition.is_met(input));
        let carries = labels(said.carries.iter().chain(met.flat_map(|it| &it.carries)));
        let reads = said.reads.iter().flat_map(|place| match object(place) {
            // What was stored without a name may be what has this one.
            Some(object) => vec![object, FactKey::kept_unnamed(server)],
            None => vec![FactKey::kept(server, None)],
        });
        let stores = said.stores.as_ref().map(|place| (server.clone(), object(place)));
        Flow { carries, reads: reads.collect(), stores }
    }

    /// Where the labels are of whatever `server` keeps, if it keeps anything.
    fn kept_by(&self, server: &ServerName) -> Vec<FactKey> {
        let keeps = self.keepers.contains(server);
        keeps.then(|| FactKey::kept(server, None)).into_iter().collect()
    }
}

impl OfTool {
    fn all(&self) -> impl Iterator<Item = &Spanned<Label>> {
        self.carries.iter().chain(self.when.iter().flat_map(|condition| &condition.carries))
    }
}

impl Condition {
    fn is_met(&self, input: &Value) -> bool {
        let Some(argument) = input.pointer(&self.argument.value) else { return true };
        match (&self.equals, &self.prefix) {
            // However a number is spelt, it is that number.
            (Some(value), _) => json::canonical(argument) == json::canonical(value),
            (None, Some(prefix)) => {
                argument.as_str().is_none_or(|argument| argument.starts_with(prefix.as_str()))
            }
            (None, None) => true,
        }
    }
}

/// Whether an argument names one object: a list, or nothing, does not.
fn is_name(argument: &Value) -> bool {
    !(argument.is_null() || argument.is_array() || argument.is_object())
}

fn labels<'a>(named: impl Iterator<Item = &'a Spanned<Label>>) -> BTreeSet<Label> {
    named.map(|label| label.value.clone()).collect()
}

/// Looks for what is wrong in a file that could be read.
struct Check<'a> {
    declared: &'a BTreeSet<Label>,
    found: Vec<Finding>,
}

impl Check<'_> {
    fn finding(&mut self, line: Option<u64>, message: String) {
        let line = line.and_then(|line| usize::try_from(line).ok());
        self.found.push(Finding::at(LABELS_FILE, line, message));
    }

    fn server(&mut self, server: &OfServer) {
        let OfServer { resources, prompts, completions, requests, lists, reveals, .. } = server;
        let all = [resources, prompts, completions, requests, lists, reveals];
        for label in all.into_iter().flatten() {
            self.label(label);
        }
    }

    fn tool(&mut self, tool: &OfTool) {
        tool.all().for_each(|label| self.label(label));
        if tool.when.len() > CONDITIONS_MAX {
            let line = tool.when[CONDITIONS_MAX].argument.referenced.line();
            let why = "have it carry the labels whatever its arguments";
            let message = format!("more than {CONDITIONS_MAX} conditions of one tool: {why}");
            self.finding(Some(line), message);
        }
        for condition in &tool.when {
            self.pointer(&condition.argument);
            if condition.equals.is_some() == condition.prefix.is_some() {
                let line = condition.argument.referenced.line();
                let message = "needs either `equals` or `prefix`: say one of both";
                self.finding(Some(line), message.to_owned());
            }
        }
        let places = tool.reads.iter().chain(&tool.stores);
        places.filter(|place| place.value != ANY).for_each(|place| self.pointer(place));
    }

    fn label(&mut self, label: &Spanned<Label>) {
        if !self.declared.contains(&label.value) {
            let message = format!("label `{}` is not declared: add it to `labels`", label.value);
            self.finding(Some(label.referenced.line()), message);
        }
    }

    fn pointer(&mut self, pointer: &Spanned<String>) {
        if let Err(message) = beside::is_pointer(&pointer.value) {
            self.finding(Some(pointer.referenced.line()), message);
        }
    }
}
