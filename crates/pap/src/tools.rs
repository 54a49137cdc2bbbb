//! Servers and tools: onboarded, pinned, described, and watched for change.

use std::collections::BTreeSet;

use authority::{Effect, Unit, Urgency};
use model::record::{SystemRecord, VERSION};
use model::{
    FactKey, Harm, PersonId, PinDigest, RecordId, ResourceRef, Server, ServerName, Tool, ToolName,
    ToolRef, ToolState,
};
use serde_json::{Value, json};

use crate::command::{AdminError, Administration, Change, Found};
use crate::register::{active, classes, put};

/// Server names that would make a tool's action look like a method's.
const RESERVED: [&str; 13] = [
    "tools",
    "resources",
    "prompts",
    "tasks",
    "completion",
    "logging",
    "server",
    "subscriptions",
    "token",
    "task",
    "policy",
    "log",
    "notifications",
];

/// The pin of a tool: its descriptor, and where it is served from.
pub fn pin_digest(descriptor: &Value, origin: &str) -> PinDigest {
    PinDigest::of(&json::canonical(&json!({ "descriptor": descriptor, "origin": origin })))
}

impl Administration {
    pub(crate) async fn server_add(
        &self,
        by: &PersonId,
        name: &str,
        owner: Option<&str>,
        harm: &[String],
    ) -> Result<Value, AdminError> {
        let name: ServerName = name.parse().map_err(AdminError::invalid)?;
        if RESERVED.contains(&name.as_str()) {
            return Err(AdminError::Invalid(format!("`{name}` is taken by methods: name it else")));
        }
        let Found { tools, origin, enforcement } =
            self.source.read(&name).await.map_err(AdminError::Unavailable)?;
        let mut reader = self.reader();
        let owner = match owner {
            Some(owner) => Some(active(&mut reader, owner, "owner").await?.id),
            None => None,
        };
        let server =
            Server { name: name.clone(), enforcement, origin: origin.clone(), added: self.now() };
        let mut effects = vec![put(FactKey::server(&name), &server)];
        let mut added = Vec::new();
        for (tool, descriptor) in tools {
            let reference = ToolRef { server: name.clone(), tool };
            let tool = Tool {
                pin: pin_digest(&descriptor, &origin),
                harm: harm_of(&reference.tool, harm)?,
                tool: reference.clone(),
                descriptor,
                owner: owner.clone(),
                state: ToolState::Pinned,
            };
            added.push(json!({ "tool": reference, "pin": tool.pin, "harm": tool.harm }));
            effects.push(put(FactKey::tool(&reference), &tool));
        }
        // One unit has its limits; the tools of a large server are many units of one act.
        let target = ResourceRef::Server(name.clone());
        let change = json!({ "server": server, "tools": added });
        let mut reader = Some(reader);
        for chunk in effects.chunks(EFFECTS_OF_ONE_ACT) {
            let change = Change {
                action: "server/add",
                target: target.clone(),
                change: change.clone(),
                reader: reader.take().unwrap_or_else(|| self.reader()),
                effects: chunk.to_vec(),
            };
            self.change(by, change).await?;
        }
        let warnings = self.publisher.publish().await.map_err(AdminError::unavailable)?;
        Ok(json!({ "server": server, "tools": added, "warnings": warnings }))
    }

    pub(crate) async fn tool_describe(
        &self,
        by: &PersonId,
        tool: &str,
        owner: Option<&str>,
        harm: &[String],
    ) -> Result<Value, AdminError> {
        let (mut reader, mut found) = self.tool(tool).await?;
        if let Some(owner) = owner {
            found.owner = Some(active(&mut reader, owner, "owner").await?.id);
        }
        if !harm.is_empty() {
            found.harm = classes(harm)?;
        }
        let change = Change {
            action: "tool/describe",
            target: ResourceRef::Tool(found.tool.clone()),
            change: json!({ "owner": found.owner, "harm": found.harm }),
            reader,
            effects: vec![put(FactKey::tool(&found.tool), &found)],
        };
        let done = self.change(by, change).await?;
        Ok(json!({ "tool": found.tool, "decision": done.decision }))
    }

    pub(crate) async fn tool_diff(&self, by: &PersonId, tool: &str) -> Result<Value, AdminError> {
        self.may_read(by, "tool").await?;
        let (mut reader, found) = self.tool(tool).await?;
        let ToolState::Changed { descriptor, .. } = &found.state else {
            return Ok(json!({ "tool": found.tool, "diff": [], "digest": found.pin }));
        };
        let server: Server = reader
            .need(FactKey::server(&found.tool.server))
            .await
            .map_err(AdminError::unavailable)?;
        let diff = mcp::descriptor_diff(&found.descriptor, descriptor);
        let digest = pin_digest(descriptor, &server.origin);
        Ok(json!({ "tool": found.tool, "diff": diff, "digest": digest }))
    }

    pub(crate) async fn tool_pin(
        &self,
        by: &PersonId,
        tool: &str,
        digest: &str,
    ) -> Result<Value, AdminError> {
        let digest: PinDigest = digest.parse().map_err(AdminError::invalid)?;
        let (mut reader, mut found) = self.tool(tool).await?;
        let server: Server = reader
            .need(FactKey::server(&found.tool.server))
            .await
            .map_err(AdminError::unavailable)?;
        let ToolState::Changed { descriptor, .. } = found.state else {
            return Err(AdminError::Invalid(format!("`{tool}` is pinned as it is listed")));
        };
        if pin_digest(&descriptor, &server.origin) != digest {
            let why = "the digest is not that of the tool as it is now: look at `tool diff` again";
            return Err(AdminError::Conflict(why.to_owned()));
        }
        (found.descriptor, found.pin, found.state) = (descriptor, digest, ToolState::Pinned);
        let change = Change {
            action: "tool/pin",
            target: ResourceRef::Tool(found.tool.clone()),
            change: json!({ "pin": digest }),
            reader,
            effects: vec![put(FactKey::tool(&found.tool), &found)],
        };
        let done = self.change(by, change).await?;
        self.publisher.publish().await.map_err(AdminError::unavailable)?;
        Ok(json!({ "tool": found.tool, "pin": digest, "decision": done.decision }))
    }

    async fn tool(&self, tool: &str) -> Result<(authority::Reader<'_>, Tool), AdminError> {
        let tool: ToolRef = tool.parse().map_err(AdminError::invalid)?;
        let mut reader = self.reader();
        let found = reader.find::<Tool>(FactKey::tool(&tool)).await;
        let found = found.map_err(AdminError::unavailable)?;
        found
            .map(|found| (reader, found))
            .ok_or_else(|| AdminError::Missing(format!("tool `{tool}`")))
    }

    /// Compares what `server` lists with its pins, and records every tool that is no longer what
    /// was approved. The service's own act: it only takes away.
    pub async fn note_tools(
        &self,
        server: &ServerName,
        listed: &std::collections::BTreeMap<ToolName, Value>,
    ) -> Result<(), AdminError> {
        let pinned =
            self.authority.pip().tools_of(server).await.map_err(AdminError::unavailable)?;
        let now = self.now();
        let mut effects = Vec::new();
        let mut details = std::collections::BTreeMap::new();
        for mut tool in pinned {
            let state = match listed.get(&tool.tool.tool) {
                Some(descriptor) if *descriptor == tool.descriptor => ToolState::Pinned,
                Some(descriptor) => {
                    ToolState::Changed { descriptor: descriptor.clone(), seen: now }
                }
                None => ToolState::Gone { seen: now },
            };
            if is_same(&tool.state, &state) {
                continue;
            }
            let what = match state {
                ToolState::Pinned => "as pinned",
                ToolState::Changed { .. } => "changed",
                ToolState::Gone { .. } => "gone",
            };
            details.insert(mcp::render_untrusted(&tool.tool.to_string()), what.to_owned());
            tool.state = state;
            effects.push(put(FactKey::tool(&tool.tool), &tool));
        }
        for chunk in effects.chunks(EFFECTS_OF_ONE_ACT) {
            let unit = self.noted(&details, chunk.to_vec());
            self.authority.journal().store().commit(unit).await.map_err(AdminError::unavailable)?;
        }
        Ok(())
    }

    fn noted(
        &self,
        details: &std::collections::BTreeMap<String, String>,
        effects: Vec<Effect>,
    ) -> Unit {
        let now = self.now();
        let record = SystemRecord {
            details: details.clone(),
            event: "tools_changed".to_owned(),
            id: RecordId::new(now, self.authority.entropy().as_ref()),
            kind: "system".to_owned(),
            time: now,
            v: VERSION,
        };
        let entries = vec![authority::entry(*record.id.as_bytes(), &record, None)];
        Unit { entries, effects, urgency: Urgency::Awaited, ..Unit::default() }
    }
}

/// The most state changes of one act, well below what one unit may have.
const EFFECTS_OF_ONE_ACT: usize = 32;

/// Whether nothing is to be noted: the same descriptor is listed as at the last look.
fn is_same(known: &ToolState, now: &ToolState) -> bool {
    match (known, now) {
        (ToolState::Pinned, ToolState::Pinned)
        | (ToolState::Gone { .. }, ToolState::Gone { .. }) => true,
        (ToolState::Changed { descriptor: a, .. }, ToolState::Changed { descriptor: b, .. }) => {
            a == b
        }
        _ => false,
    }
}

/// The harm classes that `rules` (`TOOL=CLASS,…` or `*=CLASS`) give `tool`; later ones win.
fn harm_of(tool: &ToolName, rules: &[String]) -> Result<BTreeSet<Harm>, AdminError> {
    let mut found = BTreeSet::new();
    for rule in rules {
        let (name, named) = rule.split_once('=').ok_or_else(|| {
            AdminError::Invalid(format!("`{rule}` is not of the form TOOL=CLASS or *=CLASS"))
        })?;
        let named: Vec<_> = named.split(',').map(str::to_owned).collect();
        let named = classes(&named)?;
        if name == "*" || name == tool.as_str() {
            found = named;
        }
    }
    Ok(found)
}
