//! `chancery policy prove`: what is proved of a set, or an act that shows that it is otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

use analysis::{
    Assumptions, Chains, Counterexample, Mapping, Report, Shown, Solver, Step, Subject, Unshown,
    Verdict,
};
use anyhow::{Context as _, anyhow, bail, ensure};
use model::{Clock, DataCategory, Label, PolicyId, ReleaseTerms, Sha256Digest, ToolRef};
use pap::{CaseTool, Tools};
use pdp::{Bundle, Environment, Posed, Snapshot};
use serde_json::{Value, json};

use crate::cli::Prove;
use crate::policy::DOES_NOT_HOLD;
use crate::policy_set::{PolicySet, compiled_with};
use crate::system::SystemClock;

/// Nothing speaks against it, but it is not proved.
const NOT_PROVED: u8 = 4;

/// The most reasons that are told for one claim; `--json` has more.
const TOLD_MAX: usize = 5;

/// The most tools whose mappings are told; `--json` has all.
const MAPPINGS_TOLD_MAX: usize = 100;

/// The most characters that are told of one name in them: more than a tool's has.
const NAME_TOLD_MAX: usize = 200;

/// How long the solver may take for one question about a set that is released.
const QUESTION: Duration = Duration::from_secs(5);

/// The digest of what is proved of `set`, by its own properties, which are told: the same on each machine that proves the
/// same of the same. Where not all of it is proved, that is told, and there is none; nor, where a proof `is_required`, if
/// there are no properties.
pub(crate) async fn proof(set: &PolicySet, is_required: bool) -> anyhow::Result<Sha256Digest> {
    ensure!(
        !(is_required && set.properties.is_empty()),
        "nothing was signed: a release has to be proved here (`policy.require_proof`), and the set says nothing that \
         could be: write properties (`properties/*.cedar`)"
    );
    let program = analysis::program(std::env::var_os("CVC5"), &path());
    let solver = Solver::at(program, QUESTION).await;
    let solver = solver.context("nothing was signed: it cannot be proved here")?;
    let report = Box::pin(report(set, &solver)).await?;
    if !report.is_proved() {
        tell(&report)?;
        bail!("nothing was signed: not all of it is proved");
    }
    tell_proved(&report, set)?;
    Ok(digest(&report, set))
}

/// Who signs is told what was proved, by which properties, and what that rests on.
fn tell_proved(report: &Report, set: &PolicySet) -> anyhow::Result<()> {
    let names: Vec<_> = set.properties.keys().map(String::as_str).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    eprintln!("chancery: files of properties: {} ({names})", set.properties.len());
    for line in told(report)? {
        eprintln!("chancery: {line}");
    }
    Ok(())
}

/// Proves here what the author of a release says is proved of it, if they do, on the `own` copy of whoever approves.
pub(crate) async fn again(
    (terms, is_required): (&ReleaseTerms, bool),
    own: Option<&Path>,
) -> anyhow::Result<()> {
    let Some(said) = terms.proof else { return Ok(()) };
    let own = own.with_context(|| {
        format!(
            "nothing was signed: its author says that it is proved ({said}): prove it too, on your own copy of the set \
             (`--proving DIR`)"
        )
    })?;
    let set = PolicySet::read(own)?;
    let content = Bundle::from(set.files.clone()).digest();
    ensure!(
        content == terms.content,
        "nothing was signed: `{}` has the content {content}",
        own.display()
    );
    let is = proof(&set, is_required).await?;
    ensure!(
        is == said,
        "nothing was signed: what is proved here is {is}, and its author proved {said}: properties, tools, or what \
         these can do, are others"
    );
    eprintln!("chancery: it is proved here, too");
    Ok(())
}

/// What tells one proof from another: what is claimed of what, and what that assumes. By which solver, and by how many
/// questions, is no matter.
fn digest(report: &Report, set: &PolicySet) -> Sha256Digest {
    let Report { shown, assumptions } = report;
    let claims: Vec<_> = shown
        .iter()
        .map(|it| json!({ "claim": it.claim, "environments": it.environments }))
        .collect();
    Sha256Digest::of(&json::canonical(&json!({
        "claims": claims,
        "content": assumptions.content,
        "guaranteed": assumptions.guaranteed,
        "properties": set.properties,
        "schema": assumptions.schema,
        "set": assumptions.set,
        "tools": assumptions.tools,
        "type": "chancery/policy-proof/v1",
    })))
}

fn path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// What comes of proving `set`, with what its own properties claim.
pub(crate) async fn report(set: &PolicySet, solver: &Solver) -> anyhow::Result<Report> {
    let compiled = set.compiled()?;
    let properties = set.compiled_properties(&BTreeMap::new())?;
    let (tools, all, clock) = (set.harm(), set.all_tools(), SystemClock::new());
    let within: (&dyn Clock, Duration) = (&clock, solver.time());
    let subject = Subject {
        set: &compiled,
        against: None,
        properties: properties.as_ref(),
        tools: &tools,
        mappings: mappings(&compiled, &all),
        saying: &|posed, permits| pap::posed(posed, permits, (&compiled, &all)),
        chaining: &|steps, deciding| pap::chained(steps, (&compiled, &all), deciding, within),
    };
    Box::pin(proved(&subject, solver)).await
}

/// What comes of proving `subject`; meanwhile it is told how far that is.
async fn proved(subject: &Subject<'_>, solver: &Solver) -> anyhow::Result<Report> {
    let at_once = available_parallelism().map_or(1, usize::from);
    let progress = |done, all| eprint!("\r{done} of {all} environments");
    let proving = Box::pin(analysis::prove(subject, solver, at_once, progress));
    let report = proving.await.map_err(|why| anyhow!(why))?;
    eprintln!();
    Ok(report)
}

/// Proves what is `asked` for.
pub(crate) async fn run(asked: &Prove) -> anyhow::Result<ExitCode> {
    let set = PolicySet::read(&asked.set.dir)?;
    let compiled = set.compiled()?;
    let against = asked.against.as_deref().map(|dir| against(&set, dir)).transpose()?;
    let more = asked.property.iter().map(|path| property(path)).collect::<anyhow::Result<_>>()?;
    let properties = set.compiled_properties(&more)?;
    for warning in properties.iter().flat_map(Snapshot::warnings) {
        eprintln!("warning: {warning}");
    }
    let (tools, all, clock) = (set.harm(), set.all_tools(), SystemClock::new());
    let within: (&dyn Clock, Duration) = (&clock, asked.timeout);
    let subject = Subject {
        set: &compiled,
        against: against.as_ref().map(|it| (it, asked.equivalent)),
        properties: properties.as_ref(),
        tools: &tools,
        mappings: mappings(&compiled, &all),
        saying: &|posed, permits| pap::posed(posed, permits, (&compiled, &all)),
        chaining: &|steps, deciding| pap::chained(steps, (&compiled, &all), deciding, within),
    };
    let program = analysis::program(asked.solver.clone().map(Into::into), &path());
    let solver = match Solver::at(program, asked.timeout).await {
        Ok(solver) => solver,
        Err(missing) => {
            let why = missing.to_string();
            let told = json!({ "shown": [], "because": why }).to_string();
            println!("{}", if asked.json { told } else { format!("not proved, because {why}") });
            return Ok(ExitCode::from(NOT_PROVED));
        }
    };
    let report = proved(&subject, &solver).await?;
    if asked.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        tell(&report)?;
    }
    Ok(match (report.is_refuted(), report.is_proved()) {
        (true, _) => ExitCode::from(DOES_NOT_HOLD),
        (_, true) => ExitCode::SUCCESS,
        _ => ExitCode::from(NOT_PROVED),
    })
}

/// The set in `dir`, with the tools of `set`.
fn against(set: &PolicySet, dir: &Path) -> anyhow::Result<Snapshot> {
    let other = PolicySet::read(dir)?;
    let why = || format!("`{}`, with the tools of the other set", dir.display());
    compiled_with(&other.files, &set.all_tools()).with_context(why)
}

fn property(path: &Path) -> anyhow::Result<(String, String)> {
    let shown = path.display().to_string();
    let text = fs::read_to_string(path).with_context(|| format!("could not read `{shown}`"))?;
    Ok((shown, text))
}

fn tell(report: &Report) -> anyhow::Result<()> {
    told(report)?.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// The lines that are told of what came of proofs.
fn told(report: &Report) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for shown in &report.shown {
        let Shown { claim, verdict, environments, unknown, chains } = shown;
        lines.extend(holds(shown));
        match verdict {
            Verdict::Proved | Verdict::Guaranteed => {}
            Verdict::Counterexample(example) => {
                lines.push(format!("does not hold: the set {claim}"));
                lines.extend(example_told(example)?);
            }
            Verdict::Unconfirmed { example, why } => {
                lines.push(format!("not proved: the set {claim}"));
                lines.push(format!(
                    "  what was found is not confirmed by a decision, because {why}"
                ));
                lines.extend(example_told(example)?);
            }
            Verdict::NotProved { because } => {
                lines.push(format!("not proved: the set {claim}"));
                lines.extend(because.iter().take(TOLD_MAX).map(unshown_told));
            }
        }
        if *unknown > 0 {
            lines.push(format!("  unknown in {unknown} of {environments} environments"));
        }
        lines.extend(chains.as_ref().filter(|_| *unknown == 0).map(chains_told));
    }
    lines.extend(assumptions_told(&report.assumptions));
    Ok(lines)
}

/// What holds, if it does.
fn holds(Shown { claim, verdict, .. }: &Shown) -> Option<String> {
    match verdict {
        Verdict::Proved => Some(format!("proved: the set {claim}")),
        Verdict::Guaranteed => {
            Some(format!("guaranteed by the built-in rules, whatever the set says: it {claim}"))
        }
        Verdict::Counterexample(_) | Verdict::Unconfirmed { .. } | Verdict::NotProved { .. } => {
            None
        }
    }
}

fn unshown_told(Unshown { environment, policy, why }: &Unshown) -> String {
    let of = environment.as_ref().map(|it| {
        let Environment { principal, action, resource, .. } = it;
        format!("{principal} asks for {action} of {resource}")
    });
    let policy = policy.as_ref().map(|id| format!("policy `{id}`"));
    let place: Vec<_> = of.into_iter().chain(policy).collect();
    let place = if place.is_empty() { String::new() } else { place.join(", ") + ": " };
    format!("  {place}{why}")
}

/// To whom the work can come, and in how many steps.
fn chains_told(Chains { agents, others, steps, is_closed }: &Chains) -> String {
    let others = others.then_some("agents that no policy names");
    let reached: Vec<_> = agents.iter().map(String::as_str).chain(others).collect();
    let reached = if reached.is_empty() { "nobody".to_owned() } else { reached.join(", ") };
    let however = if *is_closed { "however often it is handed on" } else { "which is the most" };
    format!("  over chains: the policies let work come to {reached} (steps: {steps}, {however})")
}

fn example_told(example: &Counterexample) -> anyhow::Result<Vec<String>> {
    let Counterexample { by, is_permitted, case, posed, handed_on } = example;
    let answers = if *is_permitted { "the set permits" } else { "the set denies" };
    if handed_on.is_empty() {
        let mut lines = vec![format!("  {answers}{}:", by_told(by))];
        let case = case.as_ref().map(|it| (it, "which holds once the set answers otherwise"));
        lines.extend(asked_told(case, posed)?);
        return Ok(lines);
    }
    let all = handed_on.len() + 1;
    let before = handed_on.iter().map(|Step { by, case, posed }| (by, case, posed));
    let mut lines = Vec::new();
    for (number, (by, case, posed)) in before.chain([(by, case, posed)]).enumerate() {
        lines.push(format!("  step {} of {all}, {answers}{}:", number + 1, by_told(by)));
        let case = case.as_ref().map(|it| (it, "which holds as the set is"));
        lines.extend(asked_told(case, posed)?);
    }
    Ok(lines)
}

fn by_told(by: &BTreeSet<PolicyId>) -> String {
    let by: Vec<_> = by.iter().map(|id| format!("`{id}`")).collect();
    if by.is_empty() { String::new() } else { format!(", by {}", by.join(", ")) }
}

/// What is asked: as a case, if it is one, with when that holds; else in words.
fn asked_told(case: Option<(&Value, &str)>, posed: &Posed) -> anyhow::Result<Vec<String>> {
    if let Some((case, holds)) = case {
        let mut lines = vec![format!("  as a case, {holds}:")];
        let text = serde_saphyr::to_string(&json!([case]))?;
        lines.extend(text.lines().map(|line| format!("    {line}")));
        return Ok(lines);
    }
    let Posed { principal, action, resource, .. } = posed;
    let mut lines = vec![format!("  {principal} asks for {action} of {resource}")];
    lines.extend(words(posed).iter().map(|(path, value)| format!("    {path}: {value}")));
    Ok(lines)
}

fn assumptions_told(assumed: &Assumptions) -> Vec<String> {
    let mut lines = vec![format!("set {}, content {}", assumed.set, assumed.content)];
    if let (Some(against), Some(content)) = (assumed.against, assumed.against_content) {
        lines.push(format!("against {against}, content {content}, with the same tools"));
    }
    let tighter = assumed.tighter.iter();
    lines.extend(
        tighter.map(|it| format!("its `{it}` is another one, and surely holds back as much")),
    );
    lines.push(format!("schema {}, {} environments", assumed.schema, assumed.environments));
    lines.push(format!(
        "each act by itself, whoever does it, by work that was handed on up to {} times",
        assumed.steps
    ));
    if !assumed.agents.is_empty() {
        let named = assumed.agents.len();
        lines.push(format!(
            "assumes that an instance is of one agent, of the {named} named or another"
        ));
    }
    lines.extend(assumed.tools.iter().map(|(tool, harm)| {
        let harm: Vec<_> = harm.iter().map(|class| class.as_str()).collect();
        match harm.as_slice() {
            [] => format!("assumes that {tool} has no harm class"),
            harm => format!("assumes that {tool} is {}", harm.join(", ")),
        }
    }));
    lines.extend(mappings_told(&assumed.mappings));
    lines.push("assumes the built-in rules, and what they and the facts guarantee:".to_owned());
    lines.extend(assumed.guaranteed.iter().map(|expression| format!("  {expression}")));
    lines.push(format!("{}, asked {} questions", assumed.solver, assumed.queries));
    lines
}

/// How many tools have mappings, and what these are, one tool a line.
fn mappings_told(mappings: &BTreeMap<ToolRef, Mapping>) -> Vec<String> {
    let digest = Sha256Digest::of(&json::canonical_of(mappings));
    let count = |of: fn(&Mapping) -> bool| mappings.values().filter(|it| of(it)).count();
    let mut lines = vec![format!(
        "assumes the mappings {digest}: of {} tools, {} have arguments mapped to data objects, {} categories of data, \
         {} are sinks, {} carry labels",
        mappings.len(),
        count(|it| it.objects.is_some()),
        count(|it| !it.data.is_empty()),
        count(|it| it.sink),
        count(|it| !it.carries.is_empty()),
    )];
    let mut mapped = mappings.iter().filter(|(_, it)| **it != Mapping::default());
    lines.extend(mapped.by_ref().take(MAPPINGS_TOLD_MAX).map(mapping_told));
    let more = mapped.count();
    if more > 0 {
        lines.push(format!("  of {more} more tools: `policy prove --json` has all of them"));
    }
    lines
}

fn mapping_told((tool, mapping): (&ToolRef, &Mapping)) -> String {
    let Mapping { objects, data, sink, carries } = mapping;
    let objects = objects.as_ref().map(|places| {
        let at = listed(places.iter().map(String::as_str));
        if at.is_empty() { "no data objects".to_owned() } else { format!("data objects at {at}") }
    });
    let categories = listed(data.iter().map(DataCategory::as_str));
    let labels = listed(carries.iter().map(Label::as_str));
    let data = (!data.is_empty()).then(|| format!("data {categories}"));
    let sink = sink.then(|| "a sink".to_owned());
    let carries = (!carries.is_empty()).then(|| format!("carries {labels}"));
    let said: Vec<_> = [objects, data, sink, carries].into_iter().flatten().collect();
    format!("  {}: {}", quoted(&tool.to_string()), said.join("; "))
}

/// The first of `names`, and how many more there are.
fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(TOLD_MAX);
    let mut told: Vec<_> = names.take(TOLD_MAX).map(quoted).collect();
    if more > 0 {
        told.push(format!("{more} more"));
    }
    told.join(", ")
}

/// `name` in quotes, so that it can say nothing else at a terminal, and no more than a line bears.
fn quoted(name: &str) -> String {
    let told: String = name.chars().take(NAME_TOLD_MAX).collect();
    let rest = if told.len() < name.len() { "…" } else { "" };
    format!("{told:?}{rest}")
}

/// What is said of the tools of `set`, beside what each can do.
fn mappings(set: &Snapshot, tools: &Tools) -> BTreeMap<ToolRef, Mapping> {
    let mapping = |(name, tool): (&ToolRef, &CaseTool)| {
        let CaseTool { objects, data, .. } = tool.clone();
        let labels = set.labels();
        let (sink, carries) = (labels.is_sink(name), labels.carried_by(name).cloned().collect());
        (name.clone(), Mapping { objects, data, sink, carries })
    };
    tools.iter().map(mapping).collect()
}

/// What a question says, one member a line, as policies name it.
fn words(posed: &Posed) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    spread("context", &posed.context, &mut lines);
    for entity in posed.entities.as_array().into_iter().flatten() {
        let uid =
            |uid: &Value| format!("{}::{}", uid["type"].as_str().unwrap_or_default(), uid["id"]);
        let name = uid(&entity["uid"]);
        spread(&name, &entity["attrs"], &mut lines);
        let parents: Vec<_> = entity["parents"].as_array().into_iter().flatten().map(uid).collect();
        if !parents.is_empty() {
            lines.insert(format!("{name} is in"), parents.join(", "));
        }
    }
    lines
}

fn spread(path: &str, value: &Value, lines: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) if !members.keys().any(|name| name.starts_with("__")) => {
            for (name, member) in members {
                spread(&format!("{path}.{name}"), member, lines);
            }
        }
        Value::Object(members) => {
            let entity = members.get("__entity");
            let entity = entity
                .map(|it| format!("{}::{}", it["type"].as_str().unwrap_or_default(), it["id"]));
            lines.insert(path.to_owned(), entity.unwrap_or_else(|| pap::plain(value).to_string()));
        }
        other => drop(lines.insert(path.to_owned(), pap::plain(other).to_string())),
    }
}

#[cfg(test)]
mod tests;
