//! The banking suite as its makers wrote it (`testdata/agentdojo`), and what we say of its tools
//! (`bench/agentdojo`). Nothing here knows what an attack looks like.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, ensure};
use model::{
    Clock as _, Enforcement, FactKey, Harm, PinDigest, Place, Scope, Server, Tool, ToolRef,
    ToolState,
};
use pdp::{BUDGETS_FILE, Bundle, ToolSchema};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::house::{House, put};

const SERVER: &str = "bank";

/// The file of a set in which the tools stand that its own cases are tried on.
const EXAMPLES: &str = "examples.cedar";

/// How `spending-limits` names the one tool that pays in its cases, and how those that pay here are named
/// in its place, as the set tells whoever takes it over.
const PAYS: [&str; 2] = [
    r#"action == Action::"example/pay""#,
    r#"action in [Action::"bank/schedule_transaction", Action::"bank/send_money"]"#,
];

/// The same in its budgets.
const COUNTED: [&str; 2] = ["example/pay", "bank/schedule_transaction, bank/send_money"];

/// The suite.
#[derive(Debug, Deserialize)]
pub(super) struct Suite {
    tools: Vec<Described>,
    pub(super) user_tasks: Vec<Work>,
    pub(super) injection_tasks: Vec<Work>,
}

#[derive(Debug, Deserialize)]
struct Described {
    name: String,
    parameters: Value,
}

/// What somebody wants, by the calls that do it.
#[derive(Debug, Deserialize)]
pub(super) struct Work {
    pub(super) id: String,
    pub(super) calls: Vec<Call>,
}

/// One call.
#[derive(Debug, Deserialize)]
pub(super) struct Call {
    pub(super) tool: String,
    pub(super) args: Value,
    /// Where in its result an attacker can write.
    pub(super) injection_vectors_visible: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    harm: BTreeSet<Harm>,
}

/// A file of the repository.
fn read(path: &str) -> anyhow::Result<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).with_context(|| format!("could not read `{}`", path.display()))
}

/// The tool of the bank with this name.
pub(super) fn tool(name: &str) -> anyhow::Result<ToolRef> {
    Ok(format!("{SERVER}/{name}").parse()?)
}

impl Suite {
    pub(super) fn read() -> anyhow::Result<Self> {
        Ok(serde_json::from_str(&read("testdata/agentdojo/banking.json")?)?)
    }

    /// The policies of `sets`, beside those and the labels of the bank.
    pub(super) fn bundle(&self, sets: &[&str]) -> anyhow::Result<Bundle> {
        let mut policies =
            BTreeMap::from([("bank.cedar".to_owned(), read("bench/agentdojo/bank.cedar")?)]);
        let mut budgets = None;
        for set in sets {
            let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../policies/sets").join(set);
            for entry in fs::read_dir(&dir).with_context(|| format!("there is no set `{set}`"))? {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if path.extension().is_some_and(|it| it == "cedar") && name != EXAMPLES {
                    let text = fs::read_to_string(&path)?;
                    policies.insert(name, text.replace(PAYS[0], PAYS[1]));
                } else if name == BUDGETS_FILE {
                    let text = fs::read_to_string(&path)?.replace(COUNTED[0], COUNTED[1]);
                    ensure!(budgets.replace(text).is_none(), "two of {sets:?} have budgets");
                }
            }
        }
        ensure!(policies.len() > sets.len(), "a set of {sets:?} has no policies");
        let mut tools = BTreeMap::new();
        for Described { name, parameters } in &self.tools {
            tools.insert(tool(name)?, ToolSchema { input_schema: parameters.clone() });
        }
        let labels = Some(read("bench/agentdojo/labels.yaml")?);
        Ok(Bundle { policies, tools, labels, budgets, ..Bundle::default() })
    }

    /// Onboards the bank, in production, and lets the agents of `house` do everything there that they are permitted.
    pub(super) async fn move_in(&self, house: &mut House) -> anyhow::Result<()> {
        let everything = Scope {
            tools: BTreeSet::from([format!("{SERVER}/*").parse()?]),
            harm: Harm::ALL.into_iter().collect(),
            objects: None,
            max_calls: None,
            max_tasks_a_day: None,
        };
        let lead = &mut house.lead;
        lead.agent.ceiling = everything.clone();
        lead.purpose.scope = everything.clone();
        lead.mandate.scope = everything.clone();
        lead.task.scope = everything;
        let server = Server {
            name: SERVER.parse()?,
            enforcement: Enforcement::Mandatory,
            origin: "https://bank.example/mcp".to_owned(),
            added: house.clock.now(),
            account: None,
            callers: BTreeSet::new(),
            place: Place { environment: Some("production".parse()?), region: None },
        };
        let purpose = &house.lead.purpose;
        let mut effects = vec![
            put(FactKey::server(&server.name), &server),
            put(FactKey::purpose(&purpose.id), purpose),
        ];
        for tool in self.onboarded(house)? {
            effects.push(put(FactKey::tool(&tool.tool), &tool));
        }
        house.put(effects).await
    }

    fn onboarded(&self, house: &House) -> anyhow::Result<Vec<Tool>> {
        let said: BTreeMap<ToolRef, Said> =
            serde_saphyr::from_str(&read("bench/agentdojo/tools.yaml")?)
                .map_err(|error| anyhow!("`tools.yaml` is not in order: {error}"))?;
        let onboard = |Described { name, parameters }: &Described| {
            let tool = tool(name)?;
            let said = said.get(&tool).with_context(|| format!("nothing is said of `{tool}`"))?;
            Ok(Tool {
                tool,
                pin: PinDigest::from_bytes([7; 32]),
                descriptor: json!({ "inputSchema": parameters }),
                owner: Some(house.lead.sponsor.id.clone()),
                owned: Some(house.clock.now()),
                harm: said.harm.clone(),
                objects: None,
                data: BTreeSet::new(),
                requires_subject: false,
                not_delegable: false,
                state: ToolState::Pinned,
            })
        };
        self.tools.iter().map(onboard).collect()
    }
}
