//! Compiles a bundle into a snapshot; everything that can be wrong with a policy is found here.
//!
//! What was parsed and validated is kept by digest, so that a set in which little changed takes little time
//! (see [`Compiler`]). INVARIANT: the answer is the same as from nothing
//! (`what_is_kept_changes_no_answer`).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::str::FromStr as _;
use std::sync::{Arc, OnceLock};

use cedar_policy::{Effect, EntityUid, Policy, PolicySet};
use jsonschema::Validator;
use model::{PolicyId, Sha256Digest};
use serde_json::{Value, json};

use crate::budgets::{BUDGETS_FILE, Budgets};
use crate::candidates::{Constraint, Index, ScopeOf};
use crate::explain::conditions_in;
use crate::kept::Kept;
use crate::labels::{LABELS_FILE, Labels};
use crate::limits::{POLICIES_MAX, is_short, limits};
use crate::nesting::is_shallow;
use crate::remembered::Remembered;
use crate::report::{CompileErrors, Finding, Said, parsed};
use crate::schema::{Input, TOOL_CALLS, Vocabulary, action_uid, chain};
use crate::snapshot::{Compiled, CompiledTool, NO_POLICY, Snapshot};
use crate::split::placed;
use crate::strictness::Strictness;
use crate::validate::Checker;
use crate::{Bundle, annotations, arguments, evaluate, properties, reads};

/// Compiles one policy set after another, and keeps of the last one that compiled what its policies and tools
/// came to: each policy by its text, what was found by checking it by its text and the part of the schema that
/// its scope can match, each tool by its schema.
#[derive(Default)]
pub struct Compiler {
    role: Role,
    /// Whether a text with a format is a text and no more.
    pub(crate) as_texts: bool,
    /// Whether it compiles what only earlier builds did, too: schema parts that declare types under names that are
    /// taken, and texts of any length.
    pub(crate) of_before: bool,
    policies: Kept<Arc<Compiled>>,
    /// What is doubtful in a policy that was checked.
    doubts: Kept<Arc<[Said]>>,
    tools: Kept<Result<ToolForm, String>>,
}

/// What the policies of a bundle are for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Role {
    /// They decide.
    #[default]
    Deciding,
    /// They say what is to be proved of those that decide.
    Properties,
}

/// What a tool's schema came to.
#[derive(Clone)]
struct ToolForm {
    arguments: Arc<Validator>,
    input: Input,
}

/// A policy in its file.
struct Source<'a> {
    file: &'a str,
    line: usize,
    text: &'a str,
    /// Names its text.
    digest: Sha256Digest,
    policy: Result<Arc<Compiled>, Fault>,
}

/// What is wrong with one policy by itself.
pub(crate) enum Fault {
    /// It does not parse: each reason, with where it is in the policy.
    Syntax(Vec<Said>),
    /// It is not as policies are here; its `@id`, if it has one, and the reasons.
    Form(Option<String>, Vec<String>),
}

impl Fault {
    /// The reasons, in one line.
    pub(crate) fn message(self) -> String {
        let messages = match self {
            Self::Syntax(found) => found.into_iter().map(|(_, message)| message).collect(),
            Self::Form(_, messages) => messages,
        };
        messages.join("; ")
    }
}

/// The schema by which a set with the schema parts and tools of `bundle` is checked, for editors (Cedar schema
/// syntax), and which tools it leaves out, and why. Its policies are not looked at.
pub fn schema_text(bundle: &Bundle) -> Result<(String, Vec<Finding>), CompileErrors> {
    limits(bundle)?;
    let mut vocabulary = Vocabulary::of(bundle, false).map_err(CompileErrors)?;
    let mut left_out = Vec::new();
    let tools = Compiler::default().tools(bundle, &mut vocabulary, &mut left_out);
    let text = vocabulary.text(tools.keys()).map_err(Finding::general)?;
    Ok((text, left_out))
}

impl Snapshot {
    /// Compiles and validates `bundle`, from nothing.
    pub fn compile(bundle: Bundle) -> Result<Self, CompileErrors> {
        Compiler::default().compile(bundle)
    }

    /// Compiles and validates the properties in `bundle`: each says of a policy set with the same tools
    /// that it never, or always, permits what its scope and conditions match. Nothing is decided by it.
    pub fn compile_properties(bundle: Bundle) -> Result<Self, CompileErrors> {
        Compiler { role: Role::Properties, ..Compiler::default() }.compile(bundle)
    }

    fn warn_of_tools(&mut self) {
        let unnamed = self.tools.keys().filter(|tool| !self.names_tool(tool)).map(|tool| {
            let why = "so it is not callable: permit it, or leave it out";
            Finding::general(format!("no permit names tool `{tool}`, {why}")).of_tool(tool)
        });
        let unlabelled = self
            .tools
            .keys()
            .filter(|tool| !self.labels.knows(tool))
            .map(|tool| {
                format!("says nothing of tool `{tool}`: its results carry no label; say what, under `tools`")
            })
            .map(|message| Finding::at(LABELS_FILE, None, message));
        let warnings: Vec<_> = unnamed.chain(unlabelled).collect();
        self.warnings.extend(warnings);
    }
}

impl Compiler {
    /// Compiles and validates `bundle`. If it fails, what is kept stays.
    pub fn compile(&mut self, bundle: Bundle) -> Result<Snapshot, CompileErrors> {
        self.policies.begin();
        self.doubts.begin();
        self.tools.begin();
        let snapshot = self.compiled(bundle)?;
        self.policies.end();
        self.doubts.end();
        self.tools.end();
        Ok(snapshot)
    }

    fn compiled(&mut self, bundle: Bundle) -> Result<Snapshot, CompileErrors> {
        limits(&bundle)?;
        let labels = bundle.labels.as_deref().map(Labels::read).transpose()?.unwrap_or_default();
        let (budgets, mut warnings) = Budgets::read(&bundle)?;
        let strictness = Strictness::of(&bundle)?;
        let mut vocabulary = Vocabulary::of(&bundle, self.of_before).map_err(CompileErrors)?;
        let tools = self.tools(&bundle, &mut vocabulary, &mut warnings);
        let mut sources = self.parsed(&bundle)?;
        if self.role == Role::Properties {
            sources.extend(over_chains(&sources)?);
        }
        let parsed = sources.iter().filter_map(|source| source.policy.as_deref().ok());
        let conditions = budgets.conditions().flat_map(|(when, _)| when.policies());
        let asked = parsed.chain(conditions.map(|(_, policy)| policy.as_ref()));
        let remembered = Remembered::by(asked, (&tools, bundle.labels.as_deref()));
        let mut errors = Vec::new();
        if self.role == Role::Deciding {
            errors.extend(remembered.wrong(&labels));
        }
        vocabulary.count(&remembered.counted);
        let mut checker = Checker::new(&vocabulary);
        let mut policies: Vec<Arc<Compiled>> = Vec::with_capacity(sources.len());
        let mut places: BTreeMap<String, String> = BTreeMap::new();
        for source in &sources {
            match self.checked(source, &mut checker) {
                Ok((policy, doubts)) => {
                    let place = format!("{}:{}", source.file, source.line);
                    let id = policy.id.as_str();
                    if let Some(first) = places.insert(id.to_owned(), place) {
                        let message = format!("`@id` is also at {first}: give one of them another");
                        errors.push(source.finding((None, message)).of(id));
                    }
                    warnings.extend(doubts.into_iter().map(|it| source.finding(it).of(id)));
                    policies.push(policy.clone());
                }
                Err(found) => errors.extend(found),
            }
        }
        let (wrong, doubtful) = self.conditions(&budgets, &mut checker);
        errors.extend(wrong);
        warnings.extend(doubtful);
        if !errors.is_empty() {
            return Err(CompileErrors(errors));
        }
        let named = named(&policies);
        let gap = gap(&bundle, &sources);
        let index = Index::new(policies.iter().map(|policy| policy.scope.clone()).collect());
        let digest = bundle.digest();
        let mut snapshot = Snapshot {
            bundle,
            digest,
            vocabulary,
            policies,
            index,
            tools,
            named,
            warnings,
            gap,
            labels,
            budgets,
            strictness,
            remembered,
        };
        if self.role == Role::Deciding {
            snapshot.warn_of_tools();
        }
        Ok(snapshot)
    }

    /// A tool whose schema cannot be used is left out, and so cannot be called: what one server lists
    /// must not keep a policy set from being published.
    fn tools(
        &mut self,
        bundle: &Bundle,
        vocabulary: &mut Vocabulary,
        warnings: &mut Vec<Finding>,
    ) -> BTreeMap<model::ToolRef, CompiledTool> {
        let mut tools = BTreeMap::new();
        for (tool, schema) in &bundle.tools {
            let schema = &schema.input_schema;
            let digest = Sha256Digest::of(schema.to_string().as_bytes());
            let make = || -> Result<_, std::convert::Infallible> {
                Ok(arguments::compile(schema).map(|arguments| ToolForm {
                    arguments: Arc::new(arguments),
                    input: Input::of(schema, self.as_texts),
                }))
            };
            let Ok(form) = self.tools.get(digest, make);
            let compiled = form.and_then(|ToolForm { arguments, input }| {
                vocabulary.add_tool(tool, &input)?;
                Ok(CompiledTool { arguments, unknown_input: OnceLock::new() })
            });
            match compiled {
                Ok(compiled) => drop(tools.insert(tool.clone(), compiled)),
                Err(why) => {
                    let message = format!("tool `{tool}` is not callable: {why}");
                    warnings.push(Finding::general(message).of_tool(tool));
                }
            }
        }
        tools
    }

    /// The policies of all files, in the order in which they stand there.
    fn parsed<'a>(&mut self, bundle: &'a Bundle) -> Result<Vec<Source<'a>>, CompileErrors> {
        let parse: fn(&str) -> Result<Policy, Vec<Said>> =
            if self.of_before { parse_of_any_length } else { parse };
        let mut sources: Vec<Source<'a>> = Vec::new();
        let mut errors = Vec::new();
        for (file, line, text) in placed(&bundle.policies) {
            if sources.len() == POLICIES_MAX {
                let message = format!(
                    "more than {POLICIES_MAX} policies: say of several tools or agents at once what is alike"
                );
                return Err(Finding::general(message).into());
            }
            let digest = Sha256Digest::of(text.as_bytes());
            let make = || {
                let policy = parse(text).map_err(Fault::Syntax)?;
                compile_policy(policy, self.role).map(Arc::new)
            };
            let policy = self.policies.get(digest, make);
            let source = Source { file, line, text, digest, policy };
            if let Err(Fault::Syntax(found)) = &source.policy {
                errors.extend(found.iter().map(|it| source.finding(it.clone())));
            }
            sources.push(source);
        }
        if errors.is_empty() { Ok(sources) } else { Err(CompileErrors(errors)) }
    }

    /// The policy of `source` with what is doubtful in it, or what is wrong with it.
    fn checked<'s>(
        &mut self,
        source: &'s Source<'_>,
        checker: &mut Checker<'_>,
    ) -> Result<(&'s Arc<Compiled>, Vec<Said>), Vec<Finding>> {
        let policy = match &source.policy {
            Ok(policy) => policy,
            Err(fault) => return Err(source.wrong(fault)),
        };
        let part = checker.part(policy);
        let doubts = checker.doubts(policy, &part);
        let mut doubts: Vec<Said> = doubts.into_iter().map(|it| (None, it)).collect();
        if part.is_empty() {
            return Ok((policy, doubts));
        }
        let digest = [source.digest.as_bytes().as_slice(), part.digest.as_bytes()].concat();
        let digest = Sha256Digest::of(&digest);
        let found = self.doubts.get(digest, || checker.check(policy, &part).map(Arc::from));
        let found = match (found, self.role) {
            (Ok(found), _) => found,
            // It is not proved of the tools that have other arguments, and can be of all others.
            (Err(wrong), Role::Properties) => wrong.into(),
            (Err(wrong), Role::Deciding) => {
                let wrong = wrong.into_iter().map(|it| source.finding(it).of(policy.id.as_str()));
                return Err(wrong.collect());
            }
        };
        doubts.extend_from_slice(&found);
        Ok((policy, doubts))
    }

    /// What is wrong with the conditions of budgets, and what is doubtful.
    fn conditions(
        &mut self,
        budgets: &Budgets,
        checker: &mut Checker<'_>,
    ) -> (BTreeSet<Finding>, BTreeSet<Finding>) {
        let (mut wrong, mut doubtful) = (BTreeSet::new(), BTreeSet::new());
        for (when, finding) in budgets.conditions() {
            for (digest, policy) in when.policies() {
                let policy = Ok(policy.clone());
                let source = Source { file: BUDGETS_FILE, line: 0, text: "", digest, policy };
                match self.checked(&source, checker) {
                    Ok((_, doubts)) => doubtful.extend(doubts.iter().map(|(_, it)| finding(it))),
                    Err(found) => wrong.extend(found.iter().map(|it| finding(&it.message))),
                }
            }
        }
        (wrong, doubtful)
    }

    /// How many policies, checks and tools are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> (usize, usize, usize) {
        (self.policies.len(), self.doubts.len(), self.tools.len())
    }
}

impl Source<'_> {
    /// What is said of its text, with where that stands in its file.
    fn finding(&self, said: Said) -> Finding {
        Finding::within((self.file, self.line, self.text), said)
    }

    fn wrong(&self, fault: &Fault) -> Vec<Finding> {
        // What does not parse was told before.
        let Fault::Form(id, messages) = fault else { return Vec::new() };
        let found = messages.iter().map(|message| self.finding((None, message.clone())));
        found.map(|finding| id.iter().fold(finding, |finding, id| finding.of(id))).collect()
    }
}

/// The further parts of the properties that hold over chains.
fn over_chains<'a>(properties: &[Source<'a>]) -> Result<Vec<Source<'a>>, CompileErrors> {
    let mut all = Vec::new();
    for property in properties {
        let compiled = property.policy.as_ref().ok();
        let Some(policy) = compiled.and_then(|it| it.alone.policies().next()) else { continue };
        let parts = properties::over_chains(policy);
        let parts = parts.map_err(|why| CompileErrors::from(property.finding((None, why))))?;
        all.extend(parts.into_iter().map(|policy| Source {
            digest: Sha256Digest::of(policy.to_string().as_bytes()),
            policy: compile_policy(policy, Role::Properties).map(Arc::new),
            ..*property
        }));
    }
    Ok(all)
}

/// The first file without a policy, or the whole set if it has no file.
fn gap(bundle: &Bundle, sources: &[Source<'_>]) -> Option<Finding> {
    if bundle.policies.is_empty() {
        return Some(Finding::general(NO_POLICY));
    }
    let full: HashSet<&str> = sources.iter().map(|source| source.file).collect();
    let empty = bundle.policies.keys().find(|file| !full.contains(file.as_str()))?;
    Some(Finding::at(empty, None, "holds no policy: remove the file if that is meant"))
}

/// What the policy `text` says by itself, which is in no set.
pub(crate) fn alone(text: &str) -> Result<Compiled, Fault> {
    compile_policy(parse(text).map_err(Fault::Syntax)?, Role::Deciding)
}

/// What one policy says by itself.
fn compile_policy(policy: Policy, role: Role) -> Result<Compiled, Fault> {
    let given = annotations::of(&policy, "id").map(str::to_owned);
    let form = |id: &Option<String>, messages| Fault::Form(id.clone(), messages);
    let annotations = annotations::read(&policy).map_err(|it| form(&given, it))?;
    let id = annotations.id.as_str();
    let misplaced = match (role, annotations.is_property) {
        (Role::Deciding, true) => "is a property, which belongs into `properties/`: no set has it",
        (Role::Properties, false) => "needs `@property`: what is to be proved of the set",
        _ => "",
    };
    if !misplaced.is_empty() {
        return Err(form(&given, vec![misplaced.to_owned()]));
    }
    let syntax = policy.to_json().map_err(|error| form(&given, vec![error.to_string()]))?;
    let reads = reads::of_syntax(&syntax, policy.effect());
    if reads.whole {
        let message = "uses `context`, `context.input` or `context.provenance` as a whole; name the \
                       members it reads";
        return Err(form(&given, vec![message.to_owned()]));
    }
    let policy = policy.new_id(cedar_policy::PolicyId::new(id));
    let (effect, scope) = (policy.effect(), ScopeOf::new(&policy));
    let description = annotations::of(&policy, "description").map(str::to_owned);
    // What is always met says as little as nothing.
    let is_met = |(kind, body): &(String, Value)| *body == json!({ "Value": kind == "when" });
    let is_unconditional = reads.attributes.is_empty() && conditions_in(&syntax).iter().all(is_met);
    let beside_scope = evaluate::beside_scope(&policy);
    let alone = PolicySet::from_policies([policy]).map_err(|it| form(&given, vec![chain(&it)]))?;
    Ok(Compiled {
        id: PolicyId::from(id),
        effect,
        scope,
        description,
        is_unconditional,
        alone,
        beside_scope,
        observe: annotations.observe,
        obligations: annotations.obligations,
        remedy: annotations.remedy,
        reads: reads.input,
        compared: reads.compared,
        attributes: reads.attributes,
        asks_within: reads.within,
        actions: reads.actions,
        looks_at_provenance: reads.provenance,
        lifting: reads.lifting,
    })
}

/// The policy `text`, or the reasons why it is none, with where in it they are.
pub(crate) fn parse(text: &str) -> Result<Policy, Vec<Said>> {
    is_short(text, "policies").map_err(|said| vec![said])?;
    parse_of_any_length(text)
}

fn parse_of_any_length(text: &str) -> Result<Policy, Vec<Said>> {
    is_shallow(text).map_err(|(at, why)| vec![(Some(at), why)])?;
    let set =
        PolicySet::from_str(text).map_err(|found| found.iter().map(parsed).collect::<Vec<_>>())?;
    let message = "templates are not supported: write out whom it is about".to_owned();
    set.policies().next().cloned().ok_or(vec![(None, message)])
}

/// The tools and servers that the scopes of the permits in force name for calls.
fn named(policies: &[Arc<Compiled>]) -> HashSet<EntityUid> {
    let permits = policies.iter().filter(|it| it.effect == Effect::Permit && !it.observe);
    permits.flat_map(|it| it.names()).collect()
}

impl Compiled {
    /// The tools and servers that its scope names for calls.
    pub(crate) fn names(&self) -> HashSet<EntityUid> {
        let mut named = HashSet::new();
        let calls = action_uid(TOOL_CALLS);
        let any_call = match &self.scope.action {
            Constraint::Eq(uid) => {
                named.insert(uid.clone());
                false
            }
            Constraint::In(uids) => {
                named.extend(uids.iter().filter(|uid| **uid != calls).cloned());
                uids.contains(&calls)
            }
            Constraint::Any | Constraint::Is(_) | Constraint::IsIn(..) => true,
        };
        // Who permits only listing on a server has not named its tools.
        match &self.scope.resource {
            // `==` names a tool; a server that it names is the server itself, not its tools.
            Constraint::Eq(uid) if any_call && uid.type_name().basename() == "Tool" => {
                named.insert(uid.clone());
            }
            Constraint::IsIn(_, uid) if any_call => {
                named.insert(uid.clone());
            }
            Constraint::In(uids) if any_call => named.extend(uids.iter().cloned()),
            _ => {}
        }
        named
    }
}
