//! Policy in force: read, compiled with the onboarded tools, kept, and put in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use authority::{Authority, Reader, SharedCompiler, Unit, Urgency};
use model::record::{SystemRecord, VERSION};
use model::{FactKey, PersonId, RecordId, Timestamp, Tool};
use pdp::{Bundle, LABELS_FILE, Snapshot, ToolSchema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::flips::PolicyFiles;
use crate::founding::BOOTSTRAP;
use crate::register::put;

/// Why a policy set is not in force.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It does not compile. What was in force stays.
    #[error("the policy set does not compile:\n{0}")]
    Invalid(String),
    /// The tools cannot be read, or it cannot be recorded.
    #[error("the policy set could not be put in force: {0}")]
    Unavailable(String),
}

/// The most times at which one policy set came into force that are kept, the newest.
const ACTIVATIONS_MAX: usize = 64;

/// When one policy set came into force, and by whose act, the newest last.
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
}

impl From<PublishError> for crate::AdminError {
    fn from(reason: PublishError) -> Self {
        match reason {
            PublishError::Invalid(_) => Self::Invalid(reason.to_string()),
            PublishError::Unavailable(_) => Self::Unavailable(reason.to_string()),
        }
    }
}

impl Activations {
    /// The same, and `by` put it in force at `since`.
    fn and(mut self, by: PersonId, since: Timestamp) -> Self {
        self.0.push(Activation { by, since });
        let older = self.0.len().saturating_sub(ACTIVATIONS_MAX);
        self.0.drain(..older);
        self
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
    fn from(mut policies: BTreeMap<String, String>) -> Self {
        let labels = policies.remove(LABELS_FILE);
        let files = PolicyFiles { policies, labels, ..PolicyFiles::default() };
        Self { files, ..Self::default() }
    }
}

/// Puts policy sets in force.
pub struct Publisher {
    authority: Arc<Authority>,
    compiler: SharedCompiler,
    /// The set in force; who holds it publishes, one at a time.
    content: Mutex<Content>,
}

impl Publisher {
    /// A publisher of `content`.
    pub fn new(authority: Arc<Authority>, content: impl Into<Content>) -> Self {
        let compiler = SharedCompiler::default();
        Self { authority, compiler, content: Mutex::new(content.into()) }
    }

    /// Puts `content` in force, if it compiles; else what was in force stays.
    pub async fn replace(&self, content: impl Into<Content>) -> Result<Vec<String>, PublishError> {
        let mut turn = self.turn().await;
        self.switch(&mut turn, content.into(), &of_the_machine()).await
    }

    /// Compiles the files with the tools as they are onboarded now, and puts the result in force.
    /// Gives the warnings.
    pub async fn publish(&self) -> Result<Vec<String>, PublishError> {
        self.publish_by(&of_the_machine()).await
    }

    /// The same, because `by` changed the tools.
    pub(crate) async fn publish_by(&self, by: &PersonId) -> Result<Vec<String>, PublishError> {
        let turn = self.turn().await;
        self.put_in_force(&turn, by).await
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
        let snapshot = self.compiler.compile(self.bundle(files).await?).await;
        let snapshot = snapshot.map_err(|errors| PublishError::Invalid(errors.to_string()))?;
        // A file that was cut off may have held what forbids: an empty one is never meant.
        match snapshot.gap() {
            Some(gap) => Err(PublishError::Invalid(gap.to_string())),
            None => Ok(snapshot),
        }
    }

    async fn put_in_force(
        &self,
        content: &Content,
        by: &PersonId,
    ) -> Result<Vec<String>, PublishError> {
        let pip = self.authority.pip();
        let snapshot = self.compiled(&content.files).await?;
        let warnings = snapshot.warnings().iter().map(ToString::to_string).collect();
        if snapshot.digest() == pip.policy().snapshot.digest() {
            pip.policy_expires(content.expires);
            return Ok(warnings);
        }
        pip.announce_policy(snapshot.clone());
        let unavailable =
            |error: authority::CommitError| PublishError::Unavailable(error.to_string());
        let store = self.authority.journal().store();
        let unit = self.unit(&snapshot, (by, content.release)).await?;
        let committed = store.commit(unit).await.map_err(unavailable)?;
        pip.put_in_force(snapshot, committed.revision);
        pip.policy_expires(content.expires);
        Ok(warnings)
    }

    async fn bundle(&self, files: &PolicyFiles) -> Result<Bundle, PublishError> {
        let listed = authority::all::<Tool>(self.authority.pip().store(), "tool/").await;
        let listed = listed.map_err(|error| PublishError::Unavailable(error.to_string()))?;
        let tools = listed.into_iter().map(|tool| {
            let any = || json!({ "type": "object" });
            let input_schema = tool.descriptor.get("inputSchema").cloned();
            let input_schema: Value = input_schema.unwrap_or_else(any);
            (tool.tool, ToolSchema { input_schema })
        });
        Ok(Bundle { tools: tools.collect(), ..files.clone().into() })
    }

    async fn unit(
        &self,
        snapshot: &Snapshot,
        (by, release): (&PersonId, Option<u64>),
    ) -> Result<Unit, PublishError> {
        let now = self.authority.clock().now();
        let digest = snapshot.digest();
        let place = FactKey::policy_activations(&digest);
        let known = Reader::new(self.authority.pip().store()).find(place.clone()).await;
        let known: Option<Activations> =
            known.map_err(|error| PublishError::Unavailable(error.to_string()))?;
        let activations = known.unwrap_or_default().and(by.clone(), now);
        let record = SystemRecord {
            details: BTreeMap::from([
                ("from".to_owned(), release.map_or_else(|| "files".to_owned(), of_release)),
                ("policy".to_owned(), digest.to_string()),
            ]),
            event: "policy_in_force".to_owned(),
            id: RecordId::new(now, self.authority.entropy().as_ref()),
            kind: "system".to_owned(),
            time: now,
            v: VERSION,
        };
        let entries = vec![authority::entry(*record.id.as_bytes(), &record, None)];
        let effects = vec![
            put(FactKey::policy(&digest), snapshot.bundle()),
            put(FactKey::active_policy(), &json!({ "digest": digest })),
            put(place, &activations),
        ];
        Ok(Unit { entries, effects, urgency: Urgency::Awaited, ..Unit::default() })
    }
}

/// How a record names a release.
fn of_release(version: u64) -> String {
    format!("release {version}")
}
