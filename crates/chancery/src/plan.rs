//! Who is affected by a policy set in place of the one in force, before it is released.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::anyhow;
use model::{AgentName, AgentState, PolicyId, Scope, ToolRef};
use pap::{Command as Asked, PolicyFiles, Tools};
use pdp::{Bundle, Change, Finding, PolicyChange, Snapshot};
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
    ceiling: Scope,
    state: AgentState,
}

/// One change of what decides beside the policies.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FileChange {
    file: String,
    is: Change,
    /// Whether that alone may permit more, or for longer: it only holds back, and surely does so no less if this is
    /// not so.
    pub(crate) widens: bool,
}

/// What a set changes.
struct Planned {
    policies: Vec<PolicyChange>,
    /// What decides beside them that is otherwise: schema parts, labels, budgets, strictness.
    files: Vec<FileChange>,
    /// The tools that a policy concerns which is otherwise, with the agents that it concerns there.
    affected: BTreeMap<ToolRef, BTreeSet<AgentName>>,
    /// The cases that do not hold.
    failed: Vec<String>,
    /// What is doubtful, and was not in the set in force.
    doubtful: Vec<String>,
    replayed: Replayed,
}

/// Tells what the set changes that was `asked` about; it ends with 3 if something flips, or a case does not hold.
pub(crate) async fn run(asked: Plan) -> anyhow::Result<ExitCode> {
    let Plan { set, since, json, socket } = asked;
    let (set, socket) = (PolicySet::read(&set.dir)?, socket.socket);
    let replayed = replay::run(&set.files, Some(since), &socket).await?;
    let planned = planned(&set, replayed, &socket).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&planned.told())?);
    } else {
        print!("{planned}");
    }
    Ok(holds(planned.failed.is_empty() && planned.replayed.is_alike()))
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
    let changed = policies.iter().map(|it| &it.policy).collect();
    let results = set.run()?;
    let failed =
        results.iter().flat_map(|(file, results)| results.iter().map(move |it| (file, it)));
    let failed = failed.filter_map(|(file, result)| {
        let error = result.held.as_ref().err()?;
        Some(format!("{}: `{}` {error}", result.place(file), result.name))
    });
    Ok(Planned {
        files: files(&in_force, &set.files),
        affected: affected([&old, &new], &changed, (&tools, &agents)),
        failed: failed.collect(),
        doubtful: doubtful([&old, &new], &tools),
        policies,
        replayed,
    })
}

/// What decides beside the policies that `b` has otherwise than `a`.
pub(crate) fn files(a: &PolicyFiles, b: &PolicyFiles) -> Vec<FileChange> {
    let loosened = pdp::loosened(&Bundle::from(a.clone()), &Bundle::from(b.clone()));
    let (old, new) = (a.beside_policies(), b.beside_policies());
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = |file: &String| {
        let is = Change::of(old.get(file), new.get(file))?;
        let widens = loosened.contains(file.as_str());
        Some(FileChange { file: file.clone(), is, widens })
    };
    names.into_iter().filter_map(changed).collect()
}

/// The tools that one of the `changed` policies of either set concerns, with the active agents that may be given them:
/// not whom a change beside the policies concerns, and no act but the call of a tool.
fn affected(
    sets: [&Snapshot; 2],
    changed: &BTreeSet<&PolicyId>,
    (tools, agents): (&Tools, &[Row]),
) -> BTreeMap<ToolRef, BTreeSet<AgentName>> {
    let concerns = |agent: &Row, tool: &ToolRef| {
        let of = |set: &Snapshot| set.concerning(&agent.name, tool).is_disjoint(changed);
        !sets.into_iter().all(of)
    };
    let active = || agents.iter().filter(|it| matches!(it.state, AgentState::Active));
    let of_tool = |(name, tool): (&ToolRef, &pap::CaseTool)| {
        let agents = active().filter(|agent| agent.ceiling.covers(name, &tool.harm));
        let agents: BTreeSet<_> =
            agents.filter(|agent| concerns(agent, name)).map(|it| it.name.clone()).collect();
        (!agents.is_empty()).then(|| (name.clone(), agents))
    };
    tools.iter().filter_map(of_tool).collect()
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
        }
        for (tool, agents) in &self.affected {
            let agents: Vec<_> = agents.iter().map(AgentName::as_str).collect();
            writeln!(f, "concerns {tool}: agents {}", agents.join(", "))?;
        }
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
        write!(f, "`{}` {}", self.file, how((self.is, self.widens)))
    }
}

/// How a policy is otherwise, in words.
pub(crate) fn told_of(change: &PolicyChange) -> String {
    format!("policy `{}` {}", change.policy, how((change.is, change.widens)))
}

fn how((is, widens): (Change, bool)) -> String {
    let how = match is {
        Change::New => "is new",
        Change::Gone => "is gone",
        Change::Changed => "says something else",
        Change::IntoObservation => "is only observed from now on",
        Change::OutOfObservation => "is not only observed any more",
    };
    how.to_owned() + if widens { ": a widening" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

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
