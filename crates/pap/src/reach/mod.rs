//! What an instance could do now, itself and by handing its work on, and what of it came or went since a time.
//!
//! INVARIANT: what is permitted is in reach (`r_49_whatever_is_permitted_is_in_reach`): nothing is left out but what is
//! named as unbounded or unknown. What is in reach may still be denied, as what is listed may be.

mod beginning;
mod readable;
mod search;
mod then;
mod unattended;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{
    AgentName, Denial, Enforcement, Harm, InstanceId, PersonId, ServerName, Standing, Timestamp,
    Tool, ToolRef, ToolState,
};
use pdp::Outlook;
use serde_json::{Map, Value, json};
use tokio::sync::MutexGuard;

use self::readable::Readable;
use self::search::{ByChain, HOLDERS_MAX, QUESTIONS_MAX, Reach, is_unlisted};
use self::world::{World, binding};
use crate::command::{AdminError, Administration};

/// How far back it is looked for what came and went, unless somebody says since when.
const CHANGED_WITHIN: Duration = Duration::from_hours(7 * 24);

/// The most tools that are told of.
const TOOLS_MAX: usize = 2_000;

/// Something that cannot be told, or has no bound.
struct Unknown {
    /// Which tool, server or agent; nothing, where it is about all of it.
    what: String,
    why: &'static str,
}

impl Unknown {
    fn told(&self) -> Value {
        json!({ "what": self.what, "why": self.why })
    }
}

impl Administration {
    /// What `instance` could do now, and what data is in its reach; and what of that came or went since a time.
    pub(crate) async fn reach(
        &self,
        by: &PersonId,
        (instance, since): (&str, Option<Timestamp>),
    ) -> Result<Value, AdminError> {
        let instance: InstanceId = instance.parse().map_err(AdminError::invalid)?;
        self.may_read(by, &format!("reach/{instance}")).await?;
        let _turn = self.report_turn()?;
        let (world, standing) = self.world(instance).await?;
        let entropy = self.authority.entropy().as_ref();
        let reach = Box::pin(Reach::of(&world, standing.clone(), entropy)).await;
        let mut told = told(&world, &standing, &reach);
        told["limits"] = self.limits_left(&world, &standing).await?;
        let readable = Readable::of(&world, &standing, &reach);
        told["data"] = readable.told();
        let asked = since.unwrap_or_else(|| world.now.minus(CHANGED_WITHIN));
        let change = Box::pin(self.change((&world, &standing), (&reach, &readable), asked)).await;
        told["change"] = match change {
            // Nobody asked of that time in particular.
            Err(AdminError::Invalid(why) | AdminError::Unavailable(why)) if since.is_none() => {
                json!({ "since": asked.to_string(), "unknown": why })
            }
            change => change?,
        };
        Ok(told)
    }

    /// The turn to make a report, of which one is made at a time: each reads the register.
    pub(crate) fn report_turn(&self) -> Result<MutexGuard<'_, ()>, AdminError> {
        let why = |_| AdminError::Unavailable("another report is being made: ask again".to_owned());
        self.reports.try_lock().map_err(why)
    }

    /// When it ends, and how many calls are left.
    async fn limits_left(&self, world: &World, standing: &Standing) -> Result<Value, AdminError> {
        let limits = authority::limits_of_calls(standing, world.now, self.authority.limits());
        let counters: Vec<_> = limits.iter().map(|(counter, _)| counter.clone()).collect();
        let used = self.authority.pip().store().counters(&counters).await;
        let used = used.map_err(AdminError::unavailable)?;
        let left = |most: i64, used: i64| most.saturating_sub(used).max(0);
        let rows = limits.iter().zip(&used).map(|((counter, most), used)| {
            json!({ "of": counter.0, "most": most, "used": used, "left": left(*most, *used) })
        });
        let least = limits.iter().zip(&used).map(|((_, most), used)| left(*most, *used)).min();
        Ok(json!({
            "ends": standing.ends(None).to_string(),
            "calls": rows.collect::<Vec<_>>(),
            "calls_left": least,
        }))
    }
}

/// The tools that are in reach, as far as that is known: those of the instance itself, and those that it
/// takes others for, by whom.
struct Known<'a> {
    direct: BTreeMap<&'a ToolRef, Outlook>,
    delegated: BTreeMap<&'a ToolRef, &'a ByChain>,
}

impl<'a> Known<'a> {
    fn of(world: &World, reach: &'a Reach) -> Self {
        let is_told = |name: &ToolRef, outlook: Outlook| {
            outlook != Outlook::Untold && world.tools.get(name).is_some_and(|tool| tool.is_pinned())
        };
        let direct = reach.direct.iter().filter(|(name, outlook)| is_told(name, **outlook));
        let delegated = reach.delegated.iter().filter(|(name, it)| is_told(name, it.outlook));
        Self {
            direct: direct.map(|(name, outlook)| (name, *outlook)).collect(),
            delegated: delegated.collect(),
        }
    }
}

fn told(world: &World, standing: &Standing, reach: &Reach) -> Value {
    let known = Known::of(world, reach);
    let all: BTreeSet<_> = known.direct.keys().chain(known.delegated.keys()).copied().collect();
    let (mut rows, mut harm) = (Map::new(), BTreeMap::<&str, [Vec<&ToolRef>; 2]>::new());
    for name in all.iter().take(TOOLS_MAX) {
        let Some(tool) = world.tools.get(*name) else { continue };
        let (direct, by_chain) = (known.direct.get(*name), known.delegated.get(*name));
        let classes = tool.harm.iter().map(|class| class.as_str());
        for class in classes {
            let [own, others] = harm.entry(class).or_default();
            own.extend(direct.map(|_| *name));
            others.extend(by_chain.map(|_| *name));
        }
        rows.insert(name.to_string(), row(world, (standing, tool), (direct, by_chain)));
    }
    let harm = harm
        .into_iter()
        .map(|(class, [own, others])| (class, json!({ "direct": own, "by_delegation": others })));
    let in_order = Harm::ALL.map(Harm::as_str);
    let mut harm: Vec<_> = harm.collect();
    harm.sort_by_key(|(class, _)| in_order.iter().position(|it| it == class));
    let at = (binding(standing), world.now);
    let stands = pdp::stands::standing(standing, &world.stops, at);
    let unknown = unknown((world, standing), reach, &all);
    json!({
        "instance": standing.instance.id,
        "agent": standing.agent.name,
        "task": standing.task.id,
        "purpose": standing.purpose.id,
        "at": world.now.to_string(),
        "policy": world.snapshot.digest(),
        "labels": world.session.labels,
        "dead": stands.err().map(|rule| Denial::Kernel(rule).code()),
        "harm": harm.into_iter().map(|(class, tools)| {
            json!({ "class": class, "tools": tools })
        }).collect::<Vec<_>>(),
        "tools": rows,
        "agents": reach.agents,
        "unknown": unknown.iter().map(Unknown::told).collect::<Vec<_>>(),
    })
}

/// What is told of one tool.
fn row(
    world: &World,
    (standing, tool): (&Standing, &Tool),
    (direct, by_chain): (Option<&Outlook>, Option<&&ByChain>),
) -> Value {
    let how = |outlook: Outlook| if outlook == Outlook::Possible { "now" } else { "if_lifted" };
    let server = world.servers.get(&tool.tool.server);
    json!({
        "server": tool.tool.server,
        "harm": tool.harm,
        "sink": world.snapshot.labels().is_sink(&tool.tool),
        "enforcement": server.map(|server| server.enforcement),
        "account": server.map(|server| server.account_of(Some(&standing.agent.name))),
        "direct": direct.map(|outlook| how(*outlook)),
        "by_delegation": by_chain.map(|it| how(it.outlook)),
        "chain": by_chain.map(|it| &it.chain),
    })
}

/// What has no bound, or cannot be told, of the work that reaches `tools`.
fn unknown(
    (world, standing): (&World, &Standing),
    reach: &Reach,
    tools: &BTreeSet<&ToolRef>,
) -> Vec<Unknown> {
    let delegated = reach.delegated.iter().map(|(name, it)| (name, it.outlook));
    let found: BTreeMap<_, _> =
        delegated.chain(reach.direct.iter().map(|(name, outlook)| (name, *outlook))).collect();
    let of_tools = found.iter().filter_map(|(name, outlook)| {
        let why = unknown_of(world.tools.get(*name)?, *outlook)?;
        Some(Unknown { what: name.to_string(), why })
    });
    let servers = tools.iter().map(|tool| &tool.server).collect();
    let beside = reach.beside.keys().filter(|(_, method)| is_unlisted(method)).cloned();
    let beside = beside.map(|(server, method)| Unknown { what: server.to_string(), why: method });
    let limits = [
        (reach.more_holders, HOLDERS_MAX, "more_chains"),
        (reach.more_questions, QUESTIONS_MAX, "more_questions"),
        (tools.len() > TOOLS_MAX, TOOLS_MAX, "more_tools"),
    ];
    let of_servers = of_servers(world, &standing.agent.name, servers);
    of_tools.chain(of_servers).chain(beside).chain(beyond(limits)).collect()
}

/// Why nobody knows of `tool`, of which this is the outlook, that it is in reach as things are.
const fn unknown_of(tool: &Tool, outlook: Outlook) -> Option<&'static str> {
    match (&tool.state, outlook) {
        (ToolState::Changed { .. }, _) => Some("changed"),
        (ToolState::Gone { .. }, _) => Some("gone"),
        (ToolState::Pinned, Outlook::Untold) => Some("cannot_be_told"),
        (ToolState::Pinned, _) => None,
    }
}

/// What has no bound where `agent` calls these servers.
fn of_servers(world: &World, agent: &AgentName, servers: BTreeSet<&ServerName>) -> Vec<Unknown> {
    let mut all = Vec::new();
    for server in servers.into_iter().filter_map(|name| world.servers.get(name)) {
        let mut note = |why| all.push(Unknown { what: server.name.to_string(), why });
        if server.enforcement != Enforcement::Mandatory {
            note(server.enforcement.as_str());
        }
        if server.account_of(Some(agent)) == "shared" {
            note("shared_account");
        }
    }
    all
}

/// The limits that are met, of these: beyond them it was not looked, or is not told.
fn beyond(
    limits: impl IntoIterator<Item = (bool, usize, &'static str)>,
) -> impl Iterator<Item = Unknown> {
    let met = limits.into_iter().filter(|(is_met, ..)| *is_met);
    met.map(|(_, most, why)| Unknown { what: format!("beyond {most}"), why })
}
