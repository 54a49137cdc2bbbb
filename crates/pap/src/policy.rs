//! Policy in force: read, compiled with the onboarded tools, kept, and put in force.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use authority::{Authority, Unit, Urgency};
use model::record::{SystemRecord, VERSION};
use model::{FactKey, RecordId, Tool};
use pdp::{Bundle, Snapshot, ToolSchema};
use serde_json::{Value, json};

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

/// Puts policy sets in force.
pub struct Publisher {
    authority: Arc<Authority>,
    files: RwLock<BTreeMap<String, String>>,
    /// One publication at a time.
    publishing: tokio::sync::Mutex<()>,
}

impl Publisher {
    /// A publisher of the policy `files`, by name.
    pub fn new(authority: Arc<Authority>, files: BTreeMap<String, String>) -> Self {
        Self { authority, files: RwLock::new(files), publishing: tokio::sync::Mutex::default() }
    }

    /// Puts `files` in force, if they compile; else what was in force stays.
    pub async fn replace(
        &self,
        files: BTreeMap<String, String>,
    ) -> Result<Vec<String>, PublishError> {
        let before = {
            let mut current = self.files.write().expect("no panic while it is held");
            std::mem::replace(&mut *current, files)
        };
        let published = self.publish().await;
        if published.is_err() {
            *self.files.write().expect("no panic while it is held") = before;
        }
        published
    }

    /// Compiles the files with the tools as they are onboarded now, and puts the result in force.
    /// Gives the warnings.
    pub async fn publish(&self) -> Result<Vec<String>, PublishError> {
        let _one = self.publishing.lock().await;
        let bundle = self.bundle().await?;
        let in_force = self.authority.pip().policy();
        let snapshot = Snapshot::compile(bundle);
        let snapshot = snapshot.map_err(|errors| PublishError::Invalid(errors.to_string()))?;
        let warnings = snapshot.warnings().iter().map(ToString::to_string).collect();
        if snapshot.digest() == in_force.snapshot.digest() {
            return Ok(warnings);
        }
        let unavailable =
            |error: authority::CommitError| PublishError::Unavailable(error.to_string());
        let unit = self.unit(&snapshot);
        let store = self.authority.journal().store();
        let committed = store.commit(unit).await.map_err(unavailable)?;
        self.authority.pip().put_in_force(Arc::new(snapshot), committed.revision);
        Ok(warnings)
    }

    async fn bundle(&self) -> Result<Bundle, PublishError> {
        let mut tools = BTreeMap::new();
        let store = self.authority.pip().store();
        let mut after = None;
        loop {
            let page = store.list("tool/", after.as_ref(), 1_000).await;
            let page = page.map_err(|error| PublishError::Unavailable(error.to_string()))?;
            for (_, body) in page.facts {
                let tool: Tool = serde_json::from_slice(&body)
                    .map_err(|error| PublishError::Unavailable(error.to_string()))?;
                let any = || json!({ "type": "object" });
                let input_schema = tool.descriptor.get("inputSchema").cloned();
                let input_schema: Value = input_schema.unwrap_or_else(any);
                tools.insert(tool.tool, ToolSchema { input_schema });
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let policies = self.files.read().expect("no panic while it is held").clone();
        Ok(Bundle { policies, tools, ..Bundle::default() })
    }

    fn unit(&self, snapshot: &Snapshot) -> Unit {
        let now = self.authority.clock().now();
        let digest = snapshot.digest();
        let record = SystemRecord {
            details: BTreeMap::from([("policy".to_owned(), digest.to_string())]),
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
        ];
        Unit { entries, effects, urgency: Urgency::Awaited, ..Unit::default() }
    }
}
