//! Who is affected by a policy set in place of the one in force, before it is released.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::anyhow;
use model::{AgentName, AgentState, PersonId, PolicyId, Scope, ToolRef};
use pap::{CaseTool, Command as Asked, PolicyFiles, Tools};
use pdp::{Bundle, Change, Finding, PartChange, PolicyChange, Snapshot};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cli::Plan;
use crate::policy::{holds, onboarded};
use crate::policy_set::{PolicySet, compiled_with};
use crate::releases;
use crate::replay::{self, Replayed};
use crate::socket;

/// An agent, as far as it says whom a policy concerns.
#[derive(Deserialize)]
struct Row {
    name: AgentName,
    sponsor: PersonId,
    ceiling: Scope,
    state: AgentState,
}

/// One change of what decides beside the policies.
#[derive(Debug, Serialize)]
pub(crate) struct FileChange {
    file: String,
    is: Change,
    /// Whether that alone may permit more, or for longer: it only holds back, and surely does so no less if this is
    /// not so.
    pub(crate) widens: bool,
    /// What of it is otherwise, if it is a file that only holds back.
    parts: Vec<PartChange>,
}

/// An agent whose calls of a tool a change concerns.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Concerned {
    agent: AgentName,
    /// Who answers for it.
    sponsor: PersonId,
    /// What of the change does: policies, and parts of files beside them.
    by: BTreeSet<String>,
}

/// Acts but for calls of tools that a policy concerns which is otherwise.
#[derive(Debug, Default, Serialize)]
struct Acts {
    /// What agents do, with those that it concerns.
    by_agents: BTreeMap<String, Vec<Concerned>>,
    /// What people and directories administer, with the policies.
    administered: BTreeMap<String, BTreeSet<String>>,
}

/// What a set changes.
struct Planned {
    policies: Vec<PolicyChange>,
    /// What decides beside them that is otherwise: schema parts, labels, budgets, strictness.
    files: Vec<FileChange>,
    /// The tools that something concerns which is otherwise, with the agents that it concerns there.
    affected: BTreeMap<ToolRef, Vec<Concerned>>,
    /// The other acts that such a policy concerns.
    acts: Acts,
    /// The cases that do not hold.
    failed: Vec<String>,
    /// What is doubtful, and was not in the set in force.
    doubtful: Vec<String>,
    replayed: Replayed,
}

/// Tells what the set changes that was `asked` about; it ends with 3 if something flips, or a case does not hold.
pub(crate) async fn run(asked: Plan) -> anyhow::Result<ExitCode> {
    let Plan { set, since, all, json, socket } = asked;
    let (set, socket) = (PolicySet::read(&set.dir)?, socket.socket);
    let replayed = replay::run(&set.files, Some(since), &socket).await?;
    let planned = planned(&set, replayed, &socket).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&planned.told())?);
    } else {
        print!("{planned}");
    }
    Ok(holds(planned.failed.is_empty() && planned.replayed.passes(all)))
}

async fn planned(set: &PolicySet, replayed: Replayed, socket: &Path) -> anyhow::Result<Planned> {
    let in_force = releases::in_force(socket).await?;
    let tools = onboarded(&socket::call(socket, &Asked::ServerList).await?)?;
    let agents = socket::call(socket, &Asked::AgentList { as_of: None }).await?;
    let agents: Vec<Row> = serde_json::from_value(agents)?;
    let old = compiled_with(&in_force, &tools)?;
    let new = compiled_with(&set.files, &tools)?;
    let policies = pdp::changes(&in_force.policies, &set.files.policies);
    let policies = policies.map_err(|it| anyhow!("{it}"))?;
    let changed: BTreeSet<_> = policies.iter().map(|it| &it.policy).collect();
    let files = files(&in_force, &set.files);
    let parts: Vec<_> = files.iter().flat_map(|file| &file.parts).collect();
    let results = set.run()?;
    let failed =
        results.iter().flat_map(|(file, results)| results.iter().map(move |it| (file, it)));
    let failed = failed.filter_map(|(file, result)| result.failure(file));
    Ok(Planned {
        affected: affected([&old, &new], (&changed, &parts), (&tools, &agents)),
        acts: Acts::of([&old, &new], &changed, &agents),
        files,
        failed: failed.collect(),
        doubtful: doubtful([&old, &new], &tools),
        policies,
        replayed,
    })
}

/// What decides beside the policies that `b` has otherwise than `a`.
pub(crate) fn files(a: &PolicyFiles, b: &PolicyFiles) -> Vec<FileChange> {
    let parts = pdp::parts(&Bundle::from(a.clone()), &Bundle::from(b.clone()));
    let (old, new) = (a.beside_policies(), b.beside_policies());
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = |file: &String| {
        let is = Change::of(old.get(file), new.get(file))?;
        let parts: Vec<_> = parts.iter().filter(|it| it.file == file).cloned().collect();
        let widens = parts.iter().any(|part| part.widens);
        Some(FileChange { file: file.clone(), is, widens, parts })
    };
    names.into_iter().filter_map(changed).collect()
}

/// The tools that one of the policies of either set concerns that are otherwise, or one of the `parts` beside them, with
/// the active agents that may be given them: no act but the call of a tool.
fn affected(
    sets: [&Snapshot; 2],
    (policies, parts): (&BTreeSet<&PolicyId>, &[&PartChange]),
    (tools, agents): (&Tools, &[Row]),
) -> BTreeMap<ToolRef, Vec<Concerned>> {
    let by = |agent: &Row, (tool, said): (&ToolRef, &CaseTool)| -> BTreeSet<String> {
        let asked = sets.into_iter().flat_map(|set| set.concerning(&agent.name, tool));
        let asked = asked.filter(|id| policies.contains(id)).map(|id| format!("policy `{id}`"));
        let who = (&agent.name, &agent.ceiling);
        let parts = parts.iter().filter(|part| part.concerns(who, (tool, &said.harm)));
        asked.chain(parts.map(|it| format!("{}: {}", it.file, it.part))).collect()
    };
    let concerned = |agent: &Row, tool: (&ToolRef, &CaseTool)| {
        let is_given =
            matches!(agent.state, AgentState::Active) && agent.ceiling.covers(tool.0, &tool.1.harm);
        let by = if is_given { by(agent, tool) } else { BTreeSet::new() };
        let (name, sponsor) = (agent.name.clone(), agent.sponsor.clone());
        (!by.is_empty()).then_some(Concerned { agent: name, sponsor, by })
    };
    let of_tool = |tool: (&ToolRef, &CaseTool)| {
        let all: Vec<_> = agents.iter().filter_map(|agent| concerned(agent, tool)).collect();
        (!all.is_empty()).then(|| (tool.0.clone(), all))
    };
    tools.iter().filter_map(of_tool).collect()
}

impl Acts {
    /// Those that one of the `policies` of either set concerns: of what active agents do whatever they may be given, and
    /// of what is administered.
    fn of(sets: [&Snapshot; 2], policies: &BTreeSet<&PolicyId>, agents: &[Row]) -> Self {
        let concerning = |agent: Option<&AgentName>| {
            let mut acts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for (act, ids) in sets.into_iter().flat_map(|set| set.concerning_acts(agent, policies))
            {
                let by = ids.into_iter().map(|id| format!("policy `{id}`"));
                acts.entry(act.to_owned()).or_default().extend(by);
            }
            acts
        };
        let mut by_agents: BTreeMap<String, Vec<Concerned>> = BTreeMap::new();
        for Row { name, sponsor, state, ceiling: _ } in agents {
            if !matches!(state, AgentState::Active) {
                continue;
            }
            for (act, by) in concerning(Some(name)) {
                let (agent, sponsor) = (name.clone(), sponsor.clone());
                by_agents.entry(act).or_default().push(Concerned { agent, sponsor, by });
            }
        }
        Self { by_agents, administered: concerning(None) }
    }
}

/// Whom something concerns, those together whom the same does: by what, and the agents with who answers for them.
fn alike(concerned: &[Concerned]) -> Vec<(String, String)> {
    let mut alike: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for Concerned { agent, sponsor, by } in concerned {
        alike.entry(by).or_default().push(format!("{agent} (sponsor {sponsor})"));
    }
    alike.into_iter().map(|(by, agents)| (listed(by), agents.join(", "))).collect()
}

fn listed(by: &BTreeSet<String>) -> String {
    let by: Vec<_> = by.iter().map(String::as_str).collect();
    mcp::render_untrusted(&by.join(", "))
}

impl fmt::Display for Acts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut by_agents: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for (act, concerned) in &self.by_agents {
            for who in alike(concerned) {
                by_agents.entry(who).or_default().push(act);
            }
        }
        for ((by, agents), acts) in by_agents {
            writeln!(f, "concerns {}, by {by}: agents {agents}", acts.join(", "))?;
        }
        let mut administered: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for (act, by) in &self.administered {
            administered.entry(listed(by)).or_default().push(act);
        }
        for (by, acts) in administered {
            writeln!(f, "concerns who administers, by {by}: {}", acts.join(", "))?;
        }
        Ok(())
    }
}

/// What is doubtful in the second set, and not in the first, wherever it stands.
fn doubtful(sets: [&Snapshot; 2], tools: &Tools) -> Vec<String> {
    let harm = tools.iter().map(|(name, tool)| (name.clone(), tool.harm.clone())).collect();
    let [old, new] = sets.map(|set| set.lint(&harm));
    let same = |a: &Finding, b: &Finding| (&a.policy, &a.message) == (&b.policy, &b.message);
    let more = new.iter().filter(|it| !old.iter().any(|known| same(known, it)));
    more.map(ToString::to_string).collect()
}

impl Planned {
    fn told(&self) -> Value {
        json!({
            "policies": self.policies,
            "files": self.files,
            "affected": self.affected,
            "acts": self.acts,
            "failed": self.failed,
            "doubtful": self.doubtful,
            "replayed": self.replayed.told(),
        })
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.policies {
            writeln!(f, "{}", told_of(change))?;
        }
        for file in &self.files {
            writeln!(f, "{file}")?;
            for PartChange { part, is, widens, .. } in &file.parts {
                writeln!(f, "  {} {}", mcp::render_untrusted(part), how((*is, *widens)))?;
            }
        }
        for (tool, concerned) in &self.affected {
            for (by, agents) in alike(concerned) {
                writeln!(f, "concerns {tool}, by {by}: agents {agents}")?;
            }
        }
        write!(f, "{}", self.acts)?;
        for failed in &self.failed {
            writeln!(f, "does not hold: {failed}")?;
        }
        for doubt in &self.doubtful {
            writeln!(f, "warning: {doubt}")?;
        }
        write!(f, "{}", self.replayed)
    }
}

impl fmt::Display for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", mcp::render_untrusted(&self.file), how((self.is, self.widens)))
    }
}

/// How a policy is otherwise, in words.
pub(crate) fn told_of(change: &PolicyChange) -> String {
    let policy = mcp::render_untrusted(change.policy.as_str());
    format!("policy `{policy}` {}", how((change.is, change.widens)))
}

fn how((is, widens): (Change, bool)) -> String {
    let how = match is {
        Change::New => "is new",
        Change::Gone => "is gone",
        Change::Changed => "says something else",
        Change::IntoObservation => "is only observed from now on",
        Change::OutOfObservation => "is not only observed any more",
        Change::Owes => "owes something else",
        Change::Lifted => "is lifted by something else",
    };
    how.to_owned() + if widens { ": a widening" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whom a cap, a label or a rule concerns is told as it is of a policy: of which tool, which agents and sponsors.
    #[test]
    fn whom_a_change_concerns_is_told_with_who_answers_for_it_and_by_what() {
        const LABELS: &str =
            "labels: { private: x }\ntools: { crm/lookup: { carries: [private] } }";
        let tools = json!({
            "crm/lookup": { "harm": ["reads-data"] }, "crm/refund": { "harm": ["moves-money"] }
        });
        let tools: Tools = serde_json::from_value(tools).expect("tools");
        let agent = |name: &str, sponsor: &str, state: &Value| {
            let ceiling = json!({ "tools": ["crm/*"], "harm": ["moves-money"] });
            json!({ "name": name, "sponsor": sponsor, "ceiling": ceiling, "state": state })
        };
        let active = json!({ "is": "active" });
        let agents = json!([
            agent("billing", "sam", &active),
            agent("reader", "kim", &active),
            agent("gone", "kim", &json!({ "is": "retired", "since": 0 })),
        ]);
        let agents: Vec<Row> = serde_json::from_value(agents).expect("agents");
        let policy = r#"@id("all") permit (principal, action, resource in Server::"crm");"#;
        let policies: BTreeMap<_, _> = [("a.cedar".to_owned(), policy.to_owned())].into();
        let budget = "match: { agents: [billing], harm: [moves-money] }, amount: calls, cap: 5";
        let budget = format!("budgets: {{ few: {{ description: x, {budget}, per: task }} }}");
        let old = PolicyFiles { policies, ..PolicyFiles::default() };
        let (budgets, labels) = (Some(budget), Some(LABELS.to_owned()));
        let owing = policy.replace("@id", "@obligation(\"notify:desk\") @id");
        let owing: BTreeMap<_, _> = [("a.cedar".to_owned(), owing)].into();
        let new = PolicyFiles { budgets, labels, ..old.clone() };
        let told = |old: &PolicyFiles, new: &PolicyFiles| {
            let policies = pdp::changes(&old.policies, &new.policies).expect("they are read");
            let changed: BTreeSet<_> = policies.iter().map(|it| &it.policy).collect();
            let files = files(old, new);
            let parts: Vec<_> = files.iter().flat_map(|file| &file.parts).collect();
            let sets = [old, new].map(|it| compiled_with(it, &tools).expect("it compiles"));
            let [before, after] = &sets;
            let affected = affected([before, after], (&changed, &parts), (&tools, &agents));
            let (failed, doubtful, replayed) = (Vec::new(), Vec::new(), Replayed::default());
            let acts = Acts::of([before, after], &changed, &agents);
            let planned = Planned { policies, files, affected, acts, failed, doubtful, replayed };
            let told = planned.to_string();
            told.lines()
                .filter(|line| !line.contains(" alike; "))
                .fold(String::new(), |all, line| all + line + "\n")
        };
        assert_eq!(
            told(&old, &new),
            "`budgets.yaml` is new\n  budget `few` is new\n`labels.yaml` is new: a widening\n  tool `crm/lookup` is new: a \
             widening\n\
             concerns crm/lookup, by labels.yaml: tool `crm/lookup`: agents billing (sponsor sam), reader (sponsor kim)\n\
             concerns crm/refund, by budgets.yaml: budget `few`: agents billing (sponsor sam)\n"
        );
        // The other way round it holds back less.
        let back = told(&new, &old);
        for says in [
            "`budgets.yaml` is gone: a widening\n  budget `few` is gone: a widening\n",
            "`labels.yaml` is gone: a widening\n  tool `crm/lookup` is gone: a widening\n",
        ] {
            assert!(back.contains(says), "{back}");
        }
        let owes = told(&PolicyFiles { policies: owing, ..old.clone() }, &old);
        assert!(owes.starts_with("policy `all` owes something else: a widening\n"), "{owes}");
        let by = "concerns crm/refund, by policy `all`: agents billing (sponsor sam), reader (sponsor kim)\n";
        assert!(owes.contains(by), "{owes}");
        // It is of all at that server, and so of whoever administers it.
        let acts = "prompts/get, prompts/list, resources/list, resources/read, ";
        let by = ", by policy `all`: agents billing (sponsor sam), reader (sponsor kim)\n";
        let of_agents = owes.lines().find(|line| line.contains(acts)).expect("acts are told");
        assert!(
            format!("{of_agents}\n").ends_with(by) && of_agents.contains("token/issue"),
            "{owes}"
        );
        assert!(!of_agents.contains("delegate") && !of_agents.contains("gone"), "{owes}");
        let administered = "concerns who administers, by policy `all`: label/remove, server/add, ";
        assert!(owes.contains(administered), "{owes}");
    }

    #[test]
    fn budgets_and_strictness_that_hold_back_less_are_a_widening() {
        const BUDGETS: &str =
            "budgets: { b: { description: x, match: {}, amount: calls, cap: 5, per: task } }";
        const STRICTNESS: &str = "calls: [{ description: x, token: once }]";
        let said = |text: &str| Some(text.to_owned());
        let old = PolicyFiles {
            labels: said("labels: {}"),
            budgets: said(BUDGETS),
            strictness: said(STRICTNESS),
            ..PolicyFiles::default()
        };
        let told = |a: &PolicyFiles, b: &PolicyFiles| -> Vec<String> {
            files(a, b).iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            told(&old, &PolicyFiles::default()),
            [
                "`budgets.yaml` is gone: a widening",
                "`labels.yaml` is gone",
                "`strictness.yaml` is gone: a widening",
            ]
        );
        assert_eq!(told(&PolicyFiles::default(), &old)[0], "`budgets.yaml` is new");
        assert_eq!(told(&old, &old), [""; 0]);
        let budgets = |text: &str| PolicyFiles { budgets: said(text), ..old.clone() };
        let (less, more) = (BUDGETS.replace('5', "4"), BUDGETS.replace('5', "6"));
        let other = "`budgets.yaml` says something else";
        assert_eq!(told(&old, &budgets(&less)), [other]);
        assert_eq!(told(&old, &budgets(&more)), [format!("{other}: a widening")]);
        assert_eq!(told(&old, &budgets("# none")), [format!("{other}: a widening")]);
        let strict = |text: &str| PolicyFiles { strictness: said(text), ..old.clone() };
        let (other, new) = ("`strictness.yaml` says something else", "attested_s: 60");
        let both = STRICTNESS.replace("token: once", &format!("token: once, {new}"));
        assert_eq!(told(&old, &strict(&both)), [other]);
        let looser = STRICTNESS.replace("token: once", new);
        assert_eq!(told(&old, &strict(&looser)), [format!("{other}: a widening")]);
    }
}
