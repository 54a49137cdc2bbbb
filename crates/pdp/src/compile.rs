//! Compiles a bundle into a snapshot; everything that can be wrong with a policy is found here.

use std::collections::{BTreeMap, HashSet};
use std::str::FromStr as _;
use std::sync::OnceLock;

use cedar_policy::{Effect, EntityUid, Policy, PolicySet};
use miette::Diagnostic as _;
use model::PolicyId;

use crate::candidates::{Constraint, Index, ScopeOf};
use crate::context::USED_TOOLS;
use crate::labels::{LABELS_FILE, Labels};
use crate::report::{CompileErrors, Finding};
use crate::schema::{TOOL_CALLS, Vocabulary, action_uid, chain};
use crate::snapshot::{Compiled, CompiledTool, NO_POLICY, Snapshot};
use crate::validate::Checker;
use crate::{Bundle, annotations, arguments, reads};

/// The most policies in one bundle.
pub const POLICIES_MAX: usize = 20_000;

/// The most bytes of policy and schema text in one bundle.
pub const POLICY_BYTES_MAX: usize = 16 << 20;

/// The most tools in one bundle.
pub const TOOLS_MAX: usize = 20_000;

/// A policy in its file.
struct Source<'a> {
    file: &'a str,
    line: usize,
    policy: Policy,
}

impl Snapshot {
    /// Compiles and validates `bundle`.
    pub fn compile(bundle: Bundle) -> Result<Self, CompileErrors> {
        limits(&bundle)?;
        let labels = bundle.labels.as_deref().map(Labels::read).transpose()?.unwrap_or_default();
        let mut warnings = Vec::new();
        let mut vocabulary = Vocabulary::of(&bundle).map_err(CompileErrors)?;
        let tools = compile_tools(&bundle, &mut vocabulary, &mut warnings);
        let sources = parse(&bundle)?;
        let mut errors = Vec::new();
        let mut checker = Checker::new(&vocabulary);
        let mut policies = Vec::with_capacity(sources.len());
        let mut scopes = Vec::with_capacity(sources.len());
        let mut places: BTreeMap<String, String> = BTreeMap::new();
        for source in &sources {
            match compile_policy(source, &mut checker) {
                Ok((policy, scope, doubts)) => {
                    let place = format!("{}:{}", source.file, source.line);
                    let id = policy.id.as_str().to_owned();
                    if let Some(first) = places.insert(id.clone(), place) {
                        errors.push(source.finding(format!("`@id` is also at {first}")).of(&id));
                    }
                    warnings.extend(doubts.into_iter().map(|it| source.finding(it).of(&id)));
                    policies.push(policy);
                    scopes.push(scope);
                }
                Err(found) => errors.extend(found),
            }
        }
        if !errors.is_empty() {
            return Err(CompileErrors(errors));
        }
        let named = named(&policies, &scopes);
        let gap = gap(&bundle, &sources);
        let (digest, index) = (bundle.digest(), Index::new(scopes));
        let looks_at_used_tools = policies.iter().any(|it| it.attributes.contains(USED_TOOLS));
        let mut snapshot = Self {
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
            looks_at_used_tools,
        };
        snapshot.warn_of_tools();
        Ok(snapshot)
    }

    fn warn_of_tools(&mut self) {
        let unnamed = self
            .tools
            .keys()
            .filter(|tool| !self.names_tool(tool))
            .map(|tool| format!("no permit names tool `{tool}`, so it is not callable"))
            .map(Finding::general);
        let unlabelled = self
            .tools
            .keys()
            .filter(|tool| !self.labels.knows(tool))
            .map(|tool| format!("says nothing of tool `{tool}`: its results carry no label"))
            .map(|message| Finding::at(LABELS_FILE, None, message));
        let warnings: Vec<_> = unnamed.chain(unlabelled).collect();
        self.warnings.extend(warnings);
    }
}

impl Source<'_> {
    fn finding(&self, message: String) -> Finding {
        Finding::at(self.file, Some(self.line), message)
    }
}

pub(crate) fn limits(bundle: &Bundle) -> Result<(), CompileErrors> {
    let texts = bundle.policies.values().chain(bundle.schema.values()).chain(&bundle.labels);
    let bytes: usize = texts.map(String::len).sum();
    if bytes > POLICY_BYTES_MAX {
        return Err(
            Finding::general(format!("more than {POLICY_BYTES_MAX} bytes of policy")).into()
        );
    }
    if bundle.tools.len() > TOOLS_MAX {
        return Err(Finding::general(format!("more than {TOOLS_MAX} tools")).into());
    }
    Ok(())
}

/// A tool whose schema cannot be used is left out, and so cannot be called: what one server lists
/// must not keep a policy set from being published.
fn compile_tools(
    bundle: &Bundle,
    vocabulary: &mut Vocabulary,
    warnings: &mut Vec<Finding>,
) -> BTreeMap<model::ToolRef, CompiledTool> {
    let mut tools = BTreeMap::new();
    for (tool, schema) in &bundle.tools {
        let compiled = arguments::compile(&schema.input_schema).and_then(|arguments| {
            vocabulary.add_tool(tool, &schema.input_schema)?;
            Ok(CompiledTool { arguments, unknown_input: OnceLock::new() })
        });
        match compiled {
            Ok(compiled) => drop(tools.insert(tool.clone(), compiled)),
            Err(why) => {
                let message = format!("tool `{tool}` is not callable: {why}");
                warnings.push(Finding::general(message));
            }
        }
    }
    tools
}

fn parse(bundle: &Bundle) -> Result<Vec<Source<'_>>, CompileErrors> {
    let mut sources = Vec::new();
    let mut errors = Vec::new();
    for (file, text) in &bundle.policies {
        match PolicySet::from_str(text) {
            Ok(set) => {
                if set.templates().next().is_some() {
                    errors.push(Finding::at(file, None, "templates are not supported"));
                }
                sources.extend(in_order(file, text, &set));
            }
            Err(found) => errors.extend(found.iter().map(|error| {
                let mut labels = error.labels().into_iter().flatten();
                let line = labels.next().map(|label| line_of(text, label.offset()));
                Finding::at(file, line, chain(error))
            })),
        }
    }
    if sources.len() > POLICIES_MAX {
        errors.push(Finding::general(format!("more than {POLICIES_MAX} policies")));
    }
    if errors.is_empty() { Ok(sources) } else { Err(CompileErrors(errors)) }
}

/// The policies of one file, in the order in which they stand there.
fn in_order<'a>(file: &'a str, text: &str, set: &PolicySet) -> Vec<Source<'a>> {
    // Cedar names the policies of a text by position: `policy0`, `policy1`, …
    let position = |policy: &Policy| -> usize {
        let id: &str = policy.id().as_ref();
        id.trim_start_matches("policy").parse().unwrap_or(usize::MAX)
    };
    let mut policies: Vec<Policy> = set.policies().cloned().collect();
    policies.sort_by_key(position);
    let (mut from, mut line) = (0, 1);
    let mut sources = Vec::with_capacity(policies.len());
    for policy in policies {
        let own = policy.to_cedar().unwrap_or_default();
        let offset = text[from..].find(&own).map_or(from, |found| from + found);
        // Counted on from the policy before, so that a long file takes linear time.
        line += line_of(&text[from..], offset - from) - 1;
        from = offset;
        sources.push(Source { file, line, policy });
    }
    sources
}

/// The line, counted from 1, in which the byte at `offset` stands.
fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
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

type CompiledPolicy = (Compiled, ScopeOf, Vec<String>);

fn compile_policy(
    source: &Source<'_>,
    checker: &mut Checker<'_>,
) -> Result<CompiledPolicy, Vec<Finding>> {
    let findings = |id: Option<&str>, messages: Vec<String>| -> Vec<Finding> {
        let found = messages.into_iter().map(|message| source.finding(message));
        found.map(|finding| id.map_or(finding.clone(), |id| finding.of(id))).collect()
    };
    let given = source.policy.annotation("id");
    let annotations = annotations::read(&source.policy).map_err(|it| findings(given, it))?;
    let id = annotations.id.as_str();
    let reads = reads::of(&source.policy).map_err(|it| findings(Some(id), vec![it]))?;
    if reads.whole {
        let message = "uses `context` or `context.input` as a whole; name the members it reads";
        return Err(findings(Some(id), vec![message.to_owned()]));
    }
    let policy = source.policy.new_id(cedar_policy::PolicyId::new(id));
    let scope = ScopeOf::new(&policy);
    let doubts = checker.check(&policy, &scope, &reads).map_err(|it| findings(Some(id), it))?;
    let effect = policy.effect();
    let description = policy.annotation("description").map(str::to_owned);
    let is_unconditional = !policy.has_non_scope_constraint();
    let alone =
        PolicySet::from_policies([policy]).map_err(|it| findings(Some(id), vec![chain(&it)]))?;
    let compiled = Compiled {
        id: PolicyId::from(id),
        effect,
        description,
        is_unconditional,
        alone,
        observe: annotations.observe,
        obligations: annotations.obligations,
        remedy: annotations.remedy,
        reads: reads.input,
        attributes: reads.attributes,
        actions: reads.actions,
    };
    Ok((compiled, scope, doubts))
}

/// The tools and servers that the scopes of the permits in force name for calls.
fn named(policies: &[Compiled], scopes: &[ScopeOf]) -> HashSet<EntityUid> {
    let mut named = HashSet::new();
    let permits = policies.iter().zip(scopes);
    for (_, scope) in permits.filter(|(it, _)| it.effect == Effect::Permit && !it.observe) {
        let calls = action_uid(TOOL_CALLS);
        let any_call = match &scope.action {
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
        match &scope.resource {
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
    }
    named
}
