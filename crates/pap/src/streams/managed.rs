//! What the transmitter of a stream is asked for (SSF 1.0 §8.1), decided on and recorded before it is.
//!
//! The service asks no transmitter: whoever manages the stream does, once this permits it, and says then what that
//! answered. Of an answer there is its status and its digest: what it says is somebody else's, and may hold secrets.

use std::collections::BTreeSet;

use model::{DecisionId, FactKey, PersonId, ResourceRef, Sha256Digest, SourceName};
use schemars::JsonSchema;
use secevent::{LISTED_MAX, TEXT_MAX};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::registered::registered;
use crate::command::{AdminError, Administration};
use crate::register::put_new;

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

/// What a transmitter answered, as whoever asked it says.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamAnswered {
    /// The decision by which it was asked.
    pub decision: String,
    /// The HTTP status; none, if no answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The digest of the answer's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub body: Option<Sha256Digest>,
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

impl Administration {
    /// Records what a transmitter answered to what the same person was permitted to ask it for: once.
    pub(super) async fn stream_answered(
        &self,
        by: &PersonId,
        said: StreamAnswered,
    ) -> Result<Value, AdminError> {
        let StreamAnswered { decision, status, body } = &said;
        let is_answer = status.is_none_or(|status| (100..=599).contains(&status));
        if !is_answer || status.is_some() != body.is_some() {
            let why = "an answer has a status of HTTP and the digest of its body, or there is none";
            return Err(AdminError::Invalid(why.to_owned()));
        }
        let mut draft = self.draft(by, "people/stream", ResourceRef::Deployment).await?;
        let id: DecisionId = decision.parse().map_err(AdminError::invalid)?;
        let (index, _) = self.found(decision).await?;
        let behind = self.authority.journal().disclosure(index).await;
        let behind = behind.map_err(AdminError::unavailable)?;
        let value = |name: &str| behind.as_ref().and_then(|behind| behind.value(name));
        let is_own = value("administrator").is_some_and(|it| it["id"] == by.as_str());
        let asked = value("change").map(|change| &change["at_transmitter"]["name"]);
        let Some(name) = asked.and_then(Value::as_str).filter(|_| is_own) else {
            let why = format!("a stream that `{by}` was permitted by `{decision}` to manage");
            return Err(AdminError::Missing(why));
        };
        let place = FactKey::stream_answered(&id);
        let known = draft.reader.find::<Value>(place.clone()).await;
        if known.map_err(AdminError::unavailable)?.is_some() {
            let why = format!("what was answered to `{id}` is recorded already");
            return Err(AdminError::Conflict(why));
        }
        let change = json!({ "answered": said, "stream": name });
        let done = draft.make(change, vec![put_new(place, &name)]).await?;
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
