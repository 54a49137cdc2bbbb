//! What the transmitter of a stream is asked for (SSF 1.0 §8.1), decided on and recorded before it is.
//!
//! The service asks no transmitter: whoever manages the stream does, once this permits it.

use std::collections::BTreeSet;

use model::{PersonId, ResourceRef, Sha256Digest, SourceName};
use schemars::JsonSchema;
use secevent::{LISTED_MAX, TEXT_MAX};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::registered::registered;
use crate::command::{AdminError, Administration};

/// What is done to a stream at its transmitter.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ManagedAct {
    /// It is created.
    Create,
    /// What is said of it is changed.
    Update,
    /// What is not said of it is as if it were new.
    Replace,
    /// It is deleted.
    Delete,
    /// It tells.
    Enable,
    /// It tells later.
    Pause,
    /// It tells nothing.
    Disable,
    /// It tells of somebody.
    AddSubject,
    /// It tells of somebody no longer.
    RemoveSubject,
}

/// What a transmitter is about to be asked for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamManaged {
    /// The stream.
    pub name: String,
    /// What is done to it.
    pub act: ManagedAct,
    /// Its id there, if it has one yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// By which method it has to deliver, if that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
    /// Of which events it has to tell, if that is said.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub events: BTreeSet<String>,
    /// The digest of the subject, as canonical JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub subject: Option<Sha256Digest>,
    /// Why, as the transmitter is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Administration {
    /// Decides whether a transmitter may be asked for what is `said`, and records that it is to be.
    pub(super) async fn stream_managed(
        &self,
        by: &PersonId,
        said: StreamManaged,
    ) -> Result<Value, AdminError> {
        said.check()?;
        let name: SourceName = said.name.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "people/stream", ResourceRef::Deployment).await?;
        registered(&mut draft, &name).await?;
        let done = draft.make(json!({ "at_transmitter": said }), Vec::new()).await?;
        Ok(json!({ "stream": name, "decision": done.decision }))
    }
}

impl StreamManaged {
    fn check(&self) -> Result<(), AdminError> {
        let texts = [&self.id, &self.delivery, &self.reason].into_iter().flatten();
        let is_sound = |text: &String| {
            (1..=TEXT_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
        };
        if self.events.len() > LISTED_MAX || !texts.chain(&self.events).all(is_sound) {
            let why = format!(
                "an id, an event and a reason have 1 to {TEXT_MAX} bytes and no control character, \
                 and there are {LISTED_MAX} events at most"
            );
            return Err(AdminError::Invalid(why));
        }
        Ok(())
    }
}
