//! What an agent was given against what it used, and a policy that leaves it only that.
//!
//! The policy forbids: beside the set in force it permits nothing that the set does not
//! (`r_50_what_is_suggested_only_takes_away`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use model::{AgentName, PersonId, ResourceRef, Timestamp, Tool, ToolRef};
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};
use crate::flips::PolicyFiles;
use crate::register::registered;
use crate::review::{Tally, Used};

/// A policy to put beside the others.
struct Suggested {
    id: String,
    /// The name of its file.
    file: String,
    text: String,
}

impl Administration {
    /// What `agent` was given against what it used since then, and a narrower policy. Until the records are
    /// counted it tells how far it is; whoever waits asks again.
    pub(crate) async fn suggest(
        &self,
        by: &PersonId,
        (agent, since): (&str, Timestamp),
    ) -> Result<Value, AdminError> {
        let name: AgentName = agent.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "log/read", ResourceRef::Deployment).await?;
        let agent = registered(&mut draft.reader, &name).await?;
        let uses = match self.tally(by, None, BTreeMap::from([(name.clone(), since)])).await? {
            Tally::All(mut uses) => uses.remove(&name).unwrap_or_default(),
            Tally::SoFar(told) => return Ok(told),
        };
        let tools = authority::all::<Tool>(self.authority.pip().store(), "tool/").await;
        let tools = tools.map_err(AdminError::unavailable)?;
        let granted = tools.iter().filter(|tool| agent.ceiling.covers(&tool.tool, &tool.harm));
        let granted: Vec<Value> = granted.map(|tool| row(tool, uses.get(&tool.tool))).collect();
        let mut files = self.publisher.turn().await.files.clone();
        let window = (since, self.now());
        let suggested = suggested((&name, &uses), window, &files)?;
        files.policies.insert(suggested.file.clone(), suggested.text.clone());
        // What is suggested can be put in force.
        self.publisher.compiled(&files).await?;
        let change = json!({ "suggested": { "agent": name, "since": since.to_string() } });
        let done = draft.make(change, Vec::new()).await?;
        Ok(json!({
            "agent": name,
            "since": since.to_string(),
            "granted": granted,
            "policy": { "id": suggested.id, "file": suggested.file, "text": suggested.text },
            "files": files,
            "decision": done.decision,
        }))
    }
}

/// What is told of a tool that the agent was given.
pub(crate) fn row(tool: &Tool, used: Option<&Used>) -> Value {
    json!({
        "tool": tool.tool,
        "harm": tool.harm,
        "used": used.map_or(0, |used| used.count),
        "last": used.map(|used| used.last.to_string()),
    })
}

/// What leaves `agent` the tools that it used in this time, and no other, beside the policies of `files`.
fn suggested(
    (agent, uses): (&AgentName, &BTreeMap<ToolRef, Used>),
    (since, until): (Timestamp, Timestamp),
    files: &PolicyFiles,
) -> Result<Suggested, AdminError> {
    let known = pdp::by_id(&files.policies).map_err(AdminError::invalid)?;
    let file_of = |id: &str| format!("{id}.cedar");
    let is_free =
        |id: &String| !known.contains_key(id) && !files.policies.contains_key(&file_of(id));
    // What was suggested before stays: without it the set could permit more.
    let mut ids = (1_u32..).map(|n| match n {
        1 => format!("used-by-{agent}"),
        n => format!("used-by-{agent}-{n}"),
    });
    let id = ids.find(is_free).expect("a set has fewer policies than there are numbers");
    let mut text = format!(
        "@id({id:?})\n@description(\"`{agent}` calls what it used from {since} to {until}\")\n\
         forbid (principal in Agent::{:?}, action in Action::\"tools/call\", resource is Tool)",
        agent.as_str()
    );
    if !uses.is_empty() {
        let tools: Vec<_> =
            uses.keys().map(|tool| format!("Tool::{:?}", tool.to_string())).collect();
        // Writing to a text cannot fail.
        let _ = write!(text, "\nunless {{ resource in [{}] }}", tools.join(", "));
    }
    text.push(';');
    let text = pdp::format(&file_of(&id), &text).map_err(AdminError::invalid)?;
    Ok(Suggested { file: file_of(&id), id, text })
}
