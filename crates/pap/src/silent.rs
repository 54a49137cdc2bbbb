//! Silence, as lists tell of it: until when whoever tells of people counts as heard, and who is unconfirmed since when.

use std::collections::BTreeMap;

use authority::FactsError;
use model::{Heard, PersonId, SourceName, Speaker, Timestamp};
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};

/// Where it is kept until when those count as heard who tell of the people of a source.
const HEARD: &str = "heard/";

/// Until when those count as heard who tell of people, by whose people these are.
pub(crate) struct AllHeard {
    by_source: BTreeMap<String, Heard>,
    now: Timestamp,
}

impl Administration {
    /// Lists the facts at `prefix`, each with what `tell` adds of who was heard.
    pub(crate) async fn list_heard(
        &self,
        by: &PersonId,
        prefix: &str,
        tell: fn(&AllHeard, &mut Value),
    ) -> Result<Value, AdminError> {
        let mut listed = self.list(by, prefix, "").await?;
        let heard = self.all_heard().await.map_err(AdminError::unavailable)?;
        for row in listed.as_array_mut().into_iter().flatten() {
            tell(&heard, row);
        }
        Ok(listed)
    }

    async fn all_heard(&self) -> Result<AllHeard, FactsError> {
        let (mut by_source, mut pages) = (BTreeMap::new(), self.pages(HEARD));
        while let Some(facts) = pages.next().await? {
            for (key, body) in facts {
                let name = key.as_str().strip_prefix(HEARD).unwrap_or_default().to_owned();
                let heard = serde_json::from_slice(&body)
                    .map_err(|source| FactsError::Damaged { key, source })?;
                by_source.insert(name, heard);
            }
        }
        Ok(AllHeard { by_source, now: self.now() })
    }
}

impl AllHeard {
    /// Of a directory, or of whoever signs lists: until when it counts as heard, if it is waited for; and since when
    /// its people are unconfirmed, if they are, and who is silent.
    pub(crate) fn tell_source(&self, row: &mut Value) {
        let Some(heard) = self.of(&row["name"]) else { return };
        if let Some(until) = heard.0.get(&Speaker::directory()) {
            row["heard_until"] = json!(until.to_string());
        }
        if let Some(since) = self.unconfirmed(heard) {
            let silent = heard.0.iter().filter(|(_, until)| **until <= self.now);
            let silent: Vec<_> = silent.map(|(speaker, _)| speaker.to_string()).collect();
            row["unconfirmed_since"] = json!(since.to_string());
            row["silent"] = json!(silent);
        }
    }

    /// Of a stream: until when it counts as heard, if it is waited for.
    pub(crate) fn tell_stream(&self, row: &mut Value) {
        let name = row["name"].as_str().and_then(|name| name.parse::<SourceName>().ok());
        let heard = self.of(&row["directory"]).zip(name);
        let until = heard.and_then(|(heard, name)| heard.0.get(&Speaker::stream(&name)));
        if let Some(until) = until {
            row["heard_until"] = json!(until.to_string());
        }
    }

    /// Of a person: since when they are unconfirmed, if they are.
    pub(crate) fn tell_person(&self, row: &mut Value) {
        let heard = self.of(&row["source"]);
        if let Some(since) = heard.and_then(|heard| self.unconfirmed(heard)) {
            row["unconfirmed_since"] = json!(since.to_string());
        }
    }

    fn of(&self, source: &Value) -> Option<&Heard> {
        self.by_source.get(source.as_str()?)
    }

    /// Since when those are unconfirmed of whom they tell that `heard` is of; not, if they are confirmed.
    fn unconfirmed(&self, heard: &Heard) -> Option<Timestamp> {
        heard.until().filter(|until| *until <= self.now)
    }
}
