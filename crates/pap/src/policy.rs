//! Policy in force: read, compiled with the onboarded tools, kept, and put in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use authority::{Activating, Authority, NewEntry, Reader, SharedCompiler, Unit, Urgency};
use model::{FactKey, PersonId, Timestamp, Tool, ToolRef};
use pdp::{Bundle, Snapshot, ToolSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

use crate::cases::{self, CaseTool, Tools, any_object};
use crate::flips::PolicyFiles;
use crate::founding::BOOTSTRAP;
use crate::loose;
use crate::register::put;

/// Why a policy set is not in force.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It does not compile. What was in force stays.
    #[error("the policy set does not compile:\n{0}")]
    Invalid(String),
    /// It is not what its cases say. What was in force stays.
    #[error("{0}")]
    Fails(String),
    /// The tools cannot be read, or it cannot be recorded.
    #[error("the policy set could not be put in force: {0}")]
    Unavailable(String),
}

/// The most times at which one policy set came into force that are kept, the newest.
const ACTIVATIONS_MAX: usize = 64;

/// When one policy set came into force, by whose act and as which release, the newest last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Activations(Vec<Activation>);

/// That a policy set came into force.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Activation {
    /// By whose act: who changed its files, or the tools that it is compiled with.
    pub(crate) by: PersonId,
    /// Since when.
    pub(crate) since: Timestamp,
    /// As which release; none if it was read from files, or before that was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) release: Option<u64>,
}

impl From<PublishError> for crate::AdminError {
    fn from(reason: PublishError) -> Self {
        match reason {
            PublishError::Invalid(_) | PublishError::Fails(_) => Self::Invalid(reason.to_string()),
            PublishError::Unavailable(_) => Self::Unavailable(reason.to_string()),
        }
    }
}

impl Activations {
    /// The same, and then this one.
    fn and(mut self, activation: Activation) -> Self {
        self.0.push(activation);
        let older = self.0.len().saturating_sub(ACTIVATIONS_MAX);
        self.0.drain(..older);
        self
    }

    /// As which release it last came into force.
    fn release(&self) -> Option<u64> {
        self.0.last()?.release
    }

    /// The one that counted at `at`, if that is known.
    pub(crate) fn at(&self, at: Timestamp) -> Option<&Activation> {
        self.0.iter().rev().find(|activation| activation.since <= at)
    }
}

/// Whoever writes the files of the machine: nobody else is known of them.
pub(crate) fn of_the_machine() -> PersonId {
    BOOTSTRAP.parse().expect("it is a person's id")
}

/// What is in force, but for the tools that it is compiled with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The set.
    pub files: PolicyFiles,
    /// The release that it is; none if it was read from files.
    pub release: Option<u64>,
    /// Since when that may not be put in force any more, if ever.
    pub expires: Option<Timestamp>,
}

impl From<BTreeMap<String, String>> for Content {
    fn from(policies: BTreeMap<String, String>) -> Self {
        Self { files: PolicyFiles::of(policies), ..Self::default() }
    }
}

/// A set whose cases hold.
pub(crate) struct Tried {
    /// The set with the tools.
    pub(crate) snapshot: Arc<Snapshot>,
    /// How many cases it has.
    pub(crate) cases: u64,
    /// The tools as they were onboarded when it was tried.
    tools: Tools,
}

/// Puts policy sets in force.
pub struct Publisher {
    authority: Arc<Authority>,
    compiler: SharedCompiler,
    /// The set in force; who holds it publishes, one at a time.
    content: Mutex<Content>,
    /// The set under observation, if one is to be; taken after the set in force.
    observed: Mutex<Option<Content>>,
    /// Held by the one set that is published whose cases are decided, and by the one that is to be put in force: who
    /// publishes much keeps nobody from that.
    published: Mutex<()>,
    activated: Mutex<()>,
}

impl Publisher {
    /// A publisher of `content`, which `compiler` compiles.
    pub fn new(
        authority: Arc<Authority>,
        content: impl Into<Content>,
        compiler: SharedCompiler,
    ) -> Self {
        let (content, observed) = (Mutex::new(content.into()), Mutex::default());
        let (published, activated) = (Mutex::default(), Mutex::default());
        Self { authority, compiler, content, observed, published, activated }
    }

    /// Puts `content` in force, if it compiles; else what was in force stays.
    pub async fn replace(&self, content: impl Into<Content>) -> Result<Vec<String>, PublishError> {
        let mut turn = self.turn().await;
        self.switch(&mut turn, content.into(), &of_the_machine()).await
    }

    /// Compiles the files with the tools as they are onboarded now, and puts the result in force.
    /// Gives the warnings.
    pub async fn publish(&self) -> Result<Vec<String>, PublishError> {
        let turn = self.turn().await;
        self.put_with_tools(&turn, &of_the_machine()).await
    }

    /// The same, when the service starts: tools with which the policies do not compile are left out, so that
    /// nobody can call them, and whatever one server listed keeps nothing from starting. Gives the warnings,
    /// and what is left out.
    pub async fn publish_usable(&self) -> Result<(Vec<String>, Vec<String>), PublishError> {
        let turn = self.turn().await;
        let (snapshot, left_out) = self.usable(self.bundle(&turn.files).await?).await?;
        let warnings = self.put(snapshot, (&of_the_machine(), &turn)).await?;
        Ok((warnings, left_out))
    }

    /// Whether the set compiles with `proposed` beside the tools as they are onboarded now, in its `turn`.
    pub(crate) async fn admits(
        &self,
        turn: &Content,
        proposed: BTreeMap<ToolRef, Value>,
    ) -> Result<(), PublishError> {
        let mut bundle = self.bundle(&turn.files).await?;
        let proposed = proposed.into_iter().map(|(tool, it)| (tool, schema_of(&it)));
        bundle.tools.extend(proposed);
        self.whole(bundle).await.map(drop)
    }

    /// Puts what is in its `turn` in force as the tools are now, by an act of `by`, and what is observed beside it.
    pub(crate) async fn put_with_tools(
        &self,
        turn: &Content,
        by: &PersonId,
    ) -> Result<Vec<String>, PublishError> {
        let mut warnings = self.put_in_force(turn, by).await?;
        let mut observed = self.observed.lock().await;
        let content = observed.take();
        // What is under observation keeps nothing from being in force.
        if let Err(error) = self.decide_beside(content, &mut observed).await {
            warnings.push(format!("no set is under observation: {error}"));
        }
        Ok(warnings)
    }

    /// Has `content` decide beside the set in force, or nothing any more.
    pub async fn observe(&self, content: Option<Content>) -> Result<(), PublishError> {
        let mut observed = self.observed.lock().await;
        *observed = None;
        self.decide_beside(content, &mut observed).await
    }

    /// The release that is to be under observation, if one is.
    pub(crate) async fn observed(&self) -> Option<u64> {
        self.observed.lock().await.as_ref()?.release
    }

    /// The same; then it is what is `observed`, unless that failed in passing: whoever follows what is kept tries again.
    async fn decide_beside(
        &self,
        content: Option<Content>,
        observed: &mut Option<Content>,
    ) -> Result<(), PublishError> {
        let pip = self.authority.pip();
        let beside = match &content {
            Some(content) => self.kept_beside(content).await.map(Some),
            None => Ok(None),
        };
        if !matches!(beside, Err(PublishError::Unavailable(_))) {
            *observed = content;
        }
        match beside {
            Ok(Some(known)) if pip.observation().is_some_and(|it| it.policy == known.digest()) => {}
            Ok(snapshot) => pip.observe(snapshot),
            Err(error) => {
                pip.observe(None);
                return Err(error);
            }
        }
        Ok(())
    }

    /// `content` with the tools as they are onboarded now, kept as what records name.
    async fn kept_beside(&self, content: &Content) -> Result<Arc<Snapshot>, PublishError> {
        let snapshot = self.compiled(&content.files).await?;
        let digest = snapshot.digest();
        if self.authority.pip().observation().is_none_or(|known| known.policy != digest) {
            let unit = Unit {
                entries: vec![self.told("policy_under_observation", &snapshot, content.release)],
                effects: vec![put(FactKey::policy(&digest), snapshot.bundle())],
                urgency: Urgency::Awaited,
                ..Unit::default()
            };
            let committed = self.authority.journal().store().commit(unit).await;
            committed.map_err(|error| PublishError::Unavailable(error.to_string()))?;
        }
        Ok(snapshot)
    }

    /// What is in force; nobody else publishes while it is held.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, Content> {
        self.content.lock().await
    }

    /// Puts `content` in force in its `turn`, by an act of `by`.
    pub(crate) async fn switch(
        &self,
        turn: &mut Content,
        content: Content,
        by: &PersonId,
    ) -> Result<Vec<String>, PublishError> {
        let warnings = self.put_in_force(&content, by).await?;
        *turn = content;
        Ok(warnings)
    }

    /// The set of `files` with the tools as they are onboarded now.
    pub(crate) async fn compiled(
        &self,
        files: &PolicyFiles,
    ) -> Result<Arc<Snapshot>, PublishError> {
        self.whole(self.bundle(files).await?).await
    }

    /// The same, and how many cases of it there are, if all of them hold with these tools. It takes long: nobody's
    /// `turn` is held meanwhile.
    async fn tried(&self, files: &PolicyFiles) -> Result<Tried, PublishError> {
        let tools = self.onboarded().await?;
        let snapshot = self.whole(cases::bundle(files, &tools)).await?;
        let held = cases::tried(files, (&self.compiler, &snapshot, &tools)).await;
        Ok(Tried { snapshot, cases: held.map_err(PublishError::Fails)?, tools })
    }

    /// The same of what is published, one set after another: many at once keep no more busy than one.
    pub(crate) async fn tried_to_publish(
        &self,
        files: &PolicyFiles,
    ) -> Result<Tried, PublishError> {
        let _one = self.published.lock().await;
        self.tried(files).await
    }

    /// The same of what is to be put in force.
    pub(crate) async fn tried_to_activate(
        &self,
        files: &PolicyFiles,
    ) -> Result<Tried, PublishError> {
        let _one = self.activated.lock().await;
        self.tried(files).await
    }

    /// Whether the tools are those still on which a set was `tried`.
    pub(crate) async fn has_tools_of(&self, tried: &Tried) -> Result<bool, PublishError> {
        Ok(self.onboarded().await? == tried.tools)
    }

    async fn whole(&self, bundle: Bundle) -> Result<Arc<Snapshot>, PublishError> {
        let snapshot = self.compiler.compile(bundle).await;
        let snapshot = snapshot.map_err(|errors| PublishError::Invalid(errors.to_string()))?;
        // A file that was cut off may have held what forbids: an empty one is never meant.
        match snapshot.gap() {
            Some(gap) => Err(PublishError::Invalid(gap.to_string())),
            None => Ok(snapshot),
        }
    }

    /// The set of `bundle` with as many of its tools as it compiles with, and what is wrong with the others.
    async fn usable(
        &self,
        mut bundle: Bundle,
    ) -> Result<(Arc<Snapshot>, Vec<String>), PublishError> {
        if let Ok(snapshot) = self.whole(bundle.clone()).await {
            return Ok((snapshot, Vec::new()));
        }
        let tools: Vec<_> = std::mem::take(&mut bundle.tools).into_iter().collect();
        let (mut snapshot, mut left_out) = (self.whole(bundle.clone()).await?, Vec::new());
        let mut untried = vec![tools.as_slice()];
        while let Some(tools) = untried.pop() {
            let mut with = bundle.clone();
            with.tools.extend(tools.iter().cloned());
            match (self.whole(with.clone()).await, tools) {
                (Ok(compiled), _) => (bundle, snapshot) = (with, compiled),
                (Err(PublishError::Invalid(why)), [(tool, _)]) => {
                    left_out.push(format!("tool `{tool}` is left out and not callable: {why}"));
                }
                (Err(PublishError::Invalid(_)), several) => {
                    let (first, second) = several.split_at(several.len() / 2);
                    untried.extend([second, first]);
                }
                (Err(error), _) => return Err(error),
            }
        }
        Ok((snapshot, left_out))
    }

    /// Puts what is in its `turn` in force, with the tools as they are onboarded now, by an act of `by`.
    pub(crate) async fn put_in_force(
        &self,
        turn: &Content,
        by: &PersonId,
    ) -> Result<Vec<String>, PublishError> {
        let snapshot = self.compiled(&turn.files).await?;
        self.put(snapshot, (by, turn)).await
    }

    async fn put(
        &self,
        snapshot: Arc<Snapshot>,
        (by, content): (&PersonId, &Content),
    ) -> Result<Vec<String>, PublishError> {
        let pip = self.authority.pip();
        let warnings = snapshot.warnings().iter().map(ToString::to_string).collect();
        let place = FactKey::policy_activations(&snapshot.digest());
        let known = Reader::new(self.authority.pip().store()).find::<Activations>(place).await;
        let known = known.map_err(|error| PublishError::Unavailable(error.to_string()))?;
        let known = known.unwrap_or_default();
        let is_in_force = snapshot.digest() == pip.policy().snapshot.digest();
        // For another release others answer, though it has the same content.
        if is_in_force && known.release() == content.release {
            pip.policy_expires(content.expires);
            return Ok(warnings);
        }
        pip.announce_policy(snapshot.clone());
        let unavailable =
            |error: authority::CommitError| PublishError::Unavailable(error.to_string());
        let store = self.authority.journal().store();
        let now = self.authority.clock().now();
        let activation = Activation { by: by.clone(), since: now, release: content.release };
        let active = pip.activating(&snapshot).await;
        let active = active.map_err(|error| PublishError::Unavailable(error.to_string()))?;
        let mut unit = self.unit(&snapshot, (activation, known), &active);
        let noted = loose::noted(&self.authority, content, now).await;
        let (effects, mut found) = noted.map_err(|it| PublishError::Unavailable(it.to_string()))?;
        let is_found = !found.is_empty();
        unit.effects.extend(effects);
        found.append(&mut unit.entries);
        unit.entries = found;
        let committed = store.commit(unit).await.map_err(unavailable)?;
        if is_found {
            self.authority.note_committed();
        }
        pip.put_in_force(snapshot.clone(), committed.revision);
        pip.policy_expires(content.expires);
        self.remember_for(snapshot, active).await;
        Ok(warnings)
    }

    /// Says that what `snapshot` looks at is remembered from now on, when it is in force. If that cannot be written
    /// down, nobody takes it for remembered until the set is put in force again, at a start say.
    async fn remember_for(&self, snapshot: Arc<Snapshot>, active: Activating) {
        let Some(done) = active.done(self.authority.clock().now()) else { return };
        let unit = Unit { effects: vec![done], urgency: Urgency::Awaited, ..Unit::default() };
        match self.authority.journal().store().commit(unit).await {
            Ok(committed) => self.authority.pip().put_in_force(snapshot, committed.revision),
            Err(error) => tracing::error!(%error, "no session counts as remembered from its start"),
        }
    }

    async fn bundle(&self, files: &PolicyFiles) -> Result<Bundle, PublishError> {
        Ok(cases::bundle(files, &self.onboarded().await?))
    }

    /// The tools as they are onboarded now.
    pub(crate) async fn onboarded(&self) -> Result<Tools, PublishError> {
        let listed = authority::all::<Tool>(self.authority.pip().store(), "tool/").await;
        let listed = listed.map_err(|error| PublishError::Unavailable(error.to_string()))?;
        Ok(listed.into_iter().map(|it| (it.tool.clone(), CaseTool::from(&it))).collect())
    }

    fn unit(
        &self,
        snapshot: &Snapshot,
        (activation, before): (Activation, Activations),
        active: &Activating,
    ) -> Unit {
        let digest = snapshot.digest();
        let entries = vec![self.told("policy_in_force", snapshot, activation.release)];
        let effects = vec![
            put(FactKey::policy(&digest), snapshot.bundle()),
            active.effect(),
            put(FactKey::policy_activations(&digest), &before.and(activation)),
        ];
        Unit { entries, effects, urgency: Urgency::Awaited, ..Unit::default() }
    }

    /// The record of what becomes of a set: `event`.
    fn told(&self, event: &str, snapshot: &Snapshot, release: Option<u64>) -> NewEntry {
        let details = BTreeMap::from([
            ("from".to_owned(), release.map_or_else(|| "files".to_owned(), of_release)),
            ("policy".to_owned(), snapshot.digest().to_string()),
        ]);
        let stamp = (self.authority.clock().now(), self.authority.entropy().as_ref());
        authority::event(stamp, event, details)
    }
}

/// The schema of the arguments of a tool that is described so; any object if it has none.
fn schema_of(descriptor: &Value) -> ToolSchema {
    let input_schema = descriptor.get("inputSchema").cloned();
    ToolSchema { input_schema: input_schema.unwrap_or_else(any_object) }
}

/// How a record names a release.
fn of_release(version: u64) -> String {
    format!("release {version}")
}
