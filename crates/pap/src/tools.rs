//! Servers and tools: onboarded, pinned, described, and watched for change.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use authority::{CommitError, Effect, Unit, Urgency};
use model::{
    Enforcement, FactKey, Harm, PersonId, PinDigest, Place, ResourceRef, Server, ServerName,
    Sha256Digest, Timestamp, Tool, ToolName, ToolRef, ToolState,
};
use serde_json::{Value, json};

use crate::command::{AdminError, Administration, Draft};
use crate::register::{active, classes, known, put};
use crate::said::{ServerSaid, ToolSaid};

/// The most tools that are told where a rule names none of them.
const TOOLS_TOLD_MAX: usize = 20;

/// What a server lists, as somebody read it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The descriptors, by name.
    pub tools: BTreeMap<ToolName, Value>,
    /// Where it is served from.
    pub origin: String,
    /// Whether it refuses who is not us.
    pub enforcement: Enforcement,
    /// The account with which it is called, by the digest of its credential, if it is by one.
    pub account: Option<Sha256Digest>,
}

/// Reads what a configured server lists.
#[async_trait]
pub trait ToolSource: Send + Sync {
    /// Reads the tools of `server`.
    async fn read(&self, server: &ServerName) -> Result<Found, String>;
}

/// The pin of a tool: its descriptor, and where it is served from.
pub fn pin_digest(descriptor: &Value, origin: &str) -> PinDigest {
    PinDigest::of(&json::canonical(&json!({ "descriptor": descriptor, "origin": origin })))
}

/// A server as an administrator onboards it.
struct Onboarding<'a> {
    server: Server,
    owner: Option<PersonId>,
    /// `TOOL=CLASS,…` or `*=CLASS`.
    harm: &'a [String],
}

impl Administration {
    /// Onboards a server, or what is new on one that is onboarded: nothing that was pinned before is
    /// pinned to anything else by this.
    pub(crate) async fn server_add(
        &self,
        by: &PersonId,
        name: &str,
        said: ServerSaid,
    ) -> Result<Value, AdminError> {
        let ServerSaid { owner, harm, environment, region } = said;
        let name: ServerName = name.parse().map_err(AdminError::invalid)?;
        if pdp::begins_methods(name.as_str()) {
            return Err(AdminError::Invalid(format!("`{name}` is taken by methods: name it else")));
        }
        let target = ResourceRef::Server(name.clone());
        let mut draft = self.draft(by, "server/add", target.clone()).await?;
        let Found { tools, origin, enforcement, account } =
            self.source.read(&name).await.map_err(AdminError::Unavailable)?;
        are_listed(&harm, &tools)?;
        let reader = &mut draft.reader;
        let owner = match owner {
            Some(owner) => Some(active(reader, &owner, "owner").await?.id),
            None => None,
        };
        let known: Option<Server> =
            reader.find(FactKey::server(&name)).await.map_err(AdminError::unavailable)?;
        let (added, mut place) = known
            .map_or_else(|| (self.now(), Place::default()), |known| (known.added, known.place));
        if let Some(environment) = environment {
            place.environment = Some(environment.parse().map_err(AdminError::invalid)?);
        }
        if let Some(region) = region {
            place.region = Some(region.parse().map_err(AdminError::invalid)?);
        }
        let (name, callers) = (name.clone(), BTreeSet::new());
        let server = Server { name, enforcement, origin, added, account, callers, place };
        let onboarding = Onboarding { server, owner, harm: &harm };
        let tools: Vec<_> = tools.into_iter().collect();
        // Nothing is onboarded with which the set in force would not compile.
        let turn = self.publisher.turn().await;
        self.publisher.admits(&turn, self.new_of(&onboarding.server.name, &tools).await?).await?;
        let mut told = Vec::new();
        // One unit has its limits; the tools of a large server are many units of one act.
        let mut draft = Some(draft);
        let chunks: Vec<_> = tools.chunks(TOOLS_OF_ONE_ACT).collect();
        for chunk in if chunks.is_empty() { vec![tools.as_slice()] } else { chunks } {
            let draft = match draft.take() {
                Some(first) => first,
                None => self.draft(by, "server/add", target.clone()).await?,
            };
            told.extend(self.onboard(draft, &onboarding, chunk).await?);
        }
        let warnings = self.publisher.put_with_tools(&turn, by).await;
        let warnings = warnings.map_err(AdminError::unavailable)?;
        let policy = self.authority.pip().policy();
        for tool in &mut told {
            tool["needs"] = needs(tool, &policy.snapshot).into();
        }
        Ok(json!({ "server": onboarding.server, "tools": told, "warnings": warnings }))
    }

    /// Those of the listed `tools` that are not onboarded yet, with their descriptors.
    async fn new_of(
        &self,
        server: &ServerName,
        tools: &[(ToolName, Value)],
    ) -> Result<BTreeMap<ToolRef, Value>, AdminError> {
        let known = self.authority.pip().tools_of(server).await.map_err(AdminError::unavailable)?;
        let known: BTreeSet<ToolName> = known.into_iter().map(|tool| tool.tool.tool).collect();
        let new = tools
            .iter()
            .filter(|(tool, _)| !known.contains(tool))
            .map(|(tool, it)| (ToolRef { server: server.clone(), tool: tool.clone() }, it.clone()));
        Ok(new.collect())
    }

    /// Onboards some of a server's tools; gives what to tell of them.
    async fn onboard(
        &self,
        mut draft: Draft<'_>,
        onboarding: &Onboarding<'_>,
        tools: &[(ToolName, Value)],
    ) -> Result<Vec<Value>, AdminError> {
        let server = &onboarding.server;
        let mut effects = vec![put(FactKey::server(&server.name), server)];
        let mut told = Vec::new();
        for (tool, descriptor) in tools {
            let reference = ToolRef { server: server.name.clone(), tool: tool.clone() };
            let known = draft.reader.find::<Tool>(FactKey::tool(&reference)).await;
            let known = known.map_err(AdminError::unavailable)?;
            let tool = onboarding.tool(reference, descriptor.clone(), known, self.now())?;
            told.push(json!({
                "tool": tool.tool, "pin": tool.pin, "pinned": tool.is_pinned(),
                "owner": tool.owner, "harm": tool.harm,
            }));
            effects.push(put(FactKey::tool(&tool.tool), &tool));
        }
        draft.make(json!({ "server": server, "tools": told }), effects).await?;
        Ok(told)
    }

    pub(crate) async fn tool_describe(
        &self,
        by: &PersonId,
        tool: &str,
        said: ToolSaid,
    ) -> Result<Value, AdminError> {
        let tool: ToolRef = tool.parse().map_err(AdminError::invalid)?;
        let target = ResourceRef::Tool(tool.clone());
        let mut draft = self.draft(by, "tool/describe", target).await?;
        let mut found = onboarded(&mut draft.reader, &tool).await?;
        if let Some(owner) = &said.owner {
            let owner = active(&mut draft.reader, owner, "owner").await?;
            found.give_to(owner.id, self.now());
        }
        if !said.harm.is_empty() {
            found.harm = classes(&said.harm)?;
        }
        if let Some(places) = object_places(&said, &found)? {
            found.objects = Some(places);
        }
        if !said.data.is_empty() {
            found.data = crate::purposes::categories(&said.data)?;
        }
        found.requires_subject = said.requires_subject.unwrap_or(found.requires_subject);
        found.not_delegable = said.not_delegable.unwrap_or(found.not_delegable);
        let change = json!({
            "owner": found.owner, "harm": found.harm, "objects": found.objects, "data": found.data,
            "requires_subject": found.requires_subject, "not_delegable": found.not_delegable,
        });
        let done = draft.make(change, vec![put(FactKey::tool(&tool), &found)]).await?;
        Ok(json!({ "tool": tool, "decision": done.decision }))
    }

    pub(crate) async fn tool_diff(&self, by: &PersonId, tool: &str) -> Result<Value, AdminError> {
        let tool: ToolRef = tool.parse().map_err(AdminError::invalid)?;
        self.may_read(by, "tool").await?;
        let mut reader = self.reader();
        let found = onboarded(&mut reader, &tool).await?;
        let ToolState::Changed { descriptor, .. } = &found.state else {
            return Ok(json!({ "tool": tool, "diff": [], "digest": found.pin }));
        };
        let server: Server =
            reader.need(FactKey::server(&tool.server)).await.map_err(AdminError::unavailable)?;
        let diff = mcp::descriptor_diff(&found.descriptor, descriptor);
        let digest = pin_digest(descriptor, &server.origin);
        Ok(json!({ "tool": tool, "diff": diff, "digest": digest }))
    }

    pub(crate) async fn tool_pin(
        &self,
        by: &PersonId,
        tool: &str,
        digest: &str,
    ) -> Result<Value, AdminError> {
        let digest: PinDigest = digest.parse().map_err(AdminError::invalid)?;
        let tool: ToolRef = tool.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "tool/pin", ResourceRef::Tool(tool.clone())).await?;
        let mut found = onboarded(&mut draft.reader, &tool).await?;
        let server: Server = draft
            .reader
            .need(FactKey::server(&tool.server))
            .await
            .map_err(AdminError::unavailable)?;
        let descriptor = match found.state {
            ToolState::Changed { descriptor, .. } => descriptor,
            ToolState::Pinned => {
                return Err(AdminError::Invalid(format!("`{tool}` is pinned as it is listed")));
            }
            ToolState::Gone { .. } => {
                return Err(AdminError::Conflict(format!("the server no longer lists `{tool}`")));
            }
        };
        if pin_digest(&descriptor, &server.origin) != digest {
            let why = "the digest is not that of the tool as it is now: look at `tool diff` again";
            return Err(AdminError::Conflict(why.to_owned()));
        }
        let turn = self.publisher.turn().await;
        let proposed = BTreeMap::from([(tool.clone(), descriptor.clone())]);
        self.publisher.admits(&turn, proposed).await?;
        // What its arguments name was said of those that it had: with others nobody knows.
        if !is_same(&found.descriptor["inputSchema"], &descriptor["inputSchema"]) {
            found.objects = None;
        }
        (found.descriptor, found.pin, found.state) = (descriptor, digest, ToolState::Pinned);
        let effects = vec![put(FactKey::tool(&tool), &found)];
        let change = json!({ "pin": digest, "objects": found.objects });
        let done = draft.make(change, effects).await?;
        self.publisher.put_with_tools(&turn, by).await.map_err(AdminError::unavailable)?;
        let objects = found.objects;
        Ok(json!({ "tool": tool, "pin": digest, "objects": objects, "decision": done.decision }))
    }

    /// Compares what `server` lists with its pins, and records every tool that is no longer what
    /// was approved. The service's own act: it only takes away, and what it took away only somebody
    /// who pins the tool again gives back. What `listed` does not have is gone if it `is_whole`.
    pub async fn note_tools(
        &self,
        server: &ServerName,
        listed: &BTreeMap<ToolName, Value>,
        is_whole: bool,
    ) -> Result<(), AdminError> {
        for _ in 0..ATTEMPTS_MAX {
            match self.try_note_tools(server, listed, is_whole).await {
                Err(CommitError::Changed { .. }) => {}
                done => return done.map_err(AdminError::unavailable),
            }
        }
        Err(AdminError::Unavailable("the tools kept changing".to_owned()))
    }

    async fn try_note_tools(
        &self,
        server: &ServerName,
        listed: &BTreeMap<ToolName, Value>,
        is_whole: bool,
    ) -> Result<(), CommitError> {
        let damaged = |error: authority::FactsError| CommitError::Unavailable(error.into());
        let pinned = self.authority.pip().tools_of(server).await.map_err(damaged)?;
        let counts = |tool: &Tool| is_whole || listed.contains_key(&tool.tool.tool);
        let different =
            |tool: &&Tool| counts(tool) && state_now(tool, listed, self.now()).is_some();
        let different: Vec<ToolRef> =
            pinned.iter().filter(different).map(|tool| tool.tool.clone()).collect();
        for chunk in different.chunks(TOOLS_OF_ONE_ACT) {
            // Read again one by one: what somebody says of a tool meanwhile is not overwritten.
            let mut reader = self.reader();
            let (mut effects, mut details) = (Vec::new(), BTreeMap::new());
            for tool in chunk {
                let key = FactKey::tool(tool);
                let found = reader.find::<Tool>(key.clone()).await.map_err(damaged)?;
                let Some(mut found) = found else { continue };
                let Some(state) = state_now(&found, listed, self.now()) else { continue };
                let what = match state {
                    ToolState::Pinned => "as pinned",
                    ToolState::Changed { .. } => "changed",
                    ToolState::Gone { .. } => "gone",
                };
                details.insert(mcp::render_untrusted(&tool.to_string()), what.to_owned());
                found.state = state;
                effects.push(put(key, &found));
            }
            if effects.is_empty() {
                continue;
            }
            let read = reader.sourced(());
            let unit = self.noted(details, effects);
            let unit = Unit { reads: read.keys, revision: read.revision, ..unit };
            self.authority.journal().store().commit(unit).await?;
        }
        Ok(())
    }

    pub(crate) fn noted(&self, details: BTreeMap<String, String>, effects: Vec<Effect>) -> Unit {
        let stamp = (self.now(), self.authority.entropy().as_ref());
        let entries = vec![authority::event(stamp, "tools_changed", details)];
        Unit { entries, effects, urgency: Urgency::Awaited, ..Unit::default() }
    }
}

/// The most tools of one act: each is read and written, and one unit may only have so much.
pub(crate) const TOOLS_OF_ONE_ACT: usize = 24;

/// The most arguments of one tool that name data objects.
const OBJECT_PLACES_MAX: usize = 8;

/// How often a comparison is made again because somebody changed a tool meanwhile.
const ATTEMPTS_MAX: u32 = 3;

impl Onboarding<'_> {
    /// What becomes of a tool that the server lists as `descriptor`.
    fn tool(
        &self,
        tool: ToolRef,
        descriptor: Value,
        known: Option<Tool>,
        now: Timestamp,
    ) -> Result<Tool, AdminError> {
        let pin = pin_digest(&descriptor, &self.server.origin);
        let harm = harm_of(&tool.tool, self.harm)?;
        let Some(mut known) = known else {
            let (owner, state) = (self.owner.clone(), ToolState::Pinned);
            return Ok(Tool {
                tool,
                pin,
                descriptor,
                owned: owner.as_ref().map(|_| now),
                owner,
                harm,
                objects: None,
                data: BTreeSet::new(),
                requires_subject: false,
                not_delegable: false,
                state,
            });
        };
        if let (None, Some(owner)) = (&known.owner, &self.owner) {
            known.give_to(owner.clone(), now);
        }
        if known.harm.is_empty() {
            known.harm = harm;
        }
        known.state = match known.state {
            ToolState::Pinned | ToolState::Gone { .. } if known.pin == pin => ToolState::Pinned,
            _ => ToolState::Changed { descriptor, seen: now },
        };
        Ok(known)
    }
}

/// What a tool lacks before it may be called: an owner, a harm class, a policy that names it.
fn needs(told: &Value, policy: &pdp::Snapshot) -> Vec<&'static str> {
    let tool = told["tool"].as_str().and_then(|tool| tool.parse::<ToolRef>().ok());
    let is_named = tool.is_some_and(|tool| policy.names_tool(&tool));
    let has_harm = told["harm"].as_array().is_some_and(|harm| !harm.is_empty());
    let all = [("owner", !told["owner"].is_null()), ("harm", has_harm), ("policy", is_named)];
    all.into_iter().filter(|(_, has)| !has).map(|(what, _)| what).collect()
}

/// Where the arguments of `tool` name data objects, if anything is said of that.
fn object_places(said: &ToolSaid, tool: &Tool) -> Result<Option<BTreeSet<String>>, AdminError> {
    let ToolSaid { objects, no_object, .. } = said;
    if *no_object && !objects.is_empty() {
        return Err(AdminError::Invalid("it is used on no object, or on some".to_owned()));
    }
    if objects.len() > OBJECT_PLACES_MAX {
        let why = format!("at most {OBJECT_PLACES_MAX} arguments of a tool name data objects");
        return Err(AdminError::Invalid(why));
    }
    for place in objects {
        pdp::is_pointer(place).map_err(AdminError::Invalid)?;
        if !has_argument(&tool.descriptor["inputSchema"], place) {
            return Err(AdminError::Invalid(format!("`{}` has no argument `{place}`", tool.tool)));
        }
    }
    let is_said = *no_object || !objects.is_empty();
    Ok(is_said.then(|| objects.iter().cloned().collect()))
}

/// Whether arguments of this `schema` have the `place`: an argument that the schema names, and within that whatever it
/// does not say otherwise.
fn has_argument(schema: &Value, place: &str) -> bool {
    let mut schema = schema;
    for (depth, name) in pdp::pointer_tokens(place).enumerate() {
        let members = &schema["properties"];
        match members.get(&name) {
            Some(member) => schema = member,
            None => return depth > 0 && members.is_null(),
        }
    }
    true
}

/// The tool `tool`, which must be onboarded.
async fn onboarded(reader: &mut authority::Reader<'_>, tool: &ToolRef) -> Result<Tool, AdminError> {
    known::<Tool>(reader, FactKey::tool(tool), &format!("tool `{tool}`")).await
}

/// Whether two descriptors are one: the spelling of a number is no change.
fn is_same(listed: &Value, known: &Value) -> bool {
    listed == known || json::canonical(listed) == json::canonical(known)
}

/// The state of `tool` now that its server lists `listed`, if that is another than was known.
///
/// INVARIANT: a tool that was seen to have changed stays so until somebody pins it again, even if
/// the server lists what was approved once more (`i_07_…`): it may list something else to others.
fn state_now(tool: &Tool, listed: &BTreeMap<ToolName, Value>, now: Timestamp) -> Option<ToolState> {
    let listed = listed.get(&tool.tool.tool);
    match (&tool.state, listed) {
        (ToolState::Pinned, Some(listed)) if is_same(listed, &tool.descriptor) => None,
        (ToolState::Gone { .. }, Some(listed)) if is_same(listed, &tool.descriptor) => {
            Some(ToolState::Pinned)
        }
        (ToolState::Changed { descriptor, .. }, Some(listed)) if is_same(listed, descriptor) => {
            None
        }
        (_, Some(listed)) => Some(ToolState::Changed { descriptor: listed.clone(), seen: now }),
        (ToolState::Pinned, None) => Some(ToolState::Gone { seen: now }),
        (ToolState::Changed { .. } | ToolState::Gone { .. }, None) => None,
    }
}

/// Demands that each of the `rules` that names a tool names one of `tools`, which the server lists: of one that is
/// misspelt, what is said of all would count.
fn are_listed(rules: &[String], tools: &BTreeMap<ToolName, Value>) -> Result<(), AdminError> {
    let mut names = rules.iter().filter_map(|rule| rule.split_once('=')).map(|(name, _)| name);
    let is_listed = |name: &str| name == "*" || tools.keys().any(|tool| tool.as_str() == name);
    let Some(unlisted) = names.find(|&name| !is_listed(name)) else { return Ok(()) };
    let told = tools.keys().take(TOOLS_TOLD_MAX).map(|tool| format!("`{tool}`"));
    let mut told: Vec<_> = told.collect();
    told.extend((tools.len() > TOOLS_TOLD_MAX).then(|| "…".to_owned()));
    let others =
        if told.is_empty() { "nor any".to_owned() } else { "but ".to_owned() + &told.join(", ") };
    let why = format!("the server lists no tool `{unlisted}`, {others}");
    Err(AdminError::Invalid(why))
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
