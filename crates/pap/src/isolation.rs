//! How the tool servers that the service starts are kept apart from it, as it settled that at its start.

use std::collections::BTreeMap;

use authority::{Unit, event};
use model::{PersonId, ServerName};
use serde_json::Value;

use crate::command::{AdminError, Administration};

/// How a server is kept apart that is not.
const NOT_ISOLATED: &str = "none";

impl Administration {
    /// Takes note of how each server that is started here is kept apart, to say so beside what the register
    /// has of it. That one is not, and starts all the same, a record says.
    pub async fn note_isolation(
        &self,
        settled: BTreeMap<ServerName, &'static str>,
    ) -> Result<(), AdminError> {
        let open = settled.iter().filter(|(_, isolation)| **isolation == NOT_ISOLATED);
        let stamp = (self.now(), self.authority.entropy().as_ref());
        let entries = open.map(|(server, _)| {
            let details = BTreeMap::from([("server".to_owned(), server.to_string())]);
            event(stamp, "server_not_isolated", details)
        });
        let unit = Unit { entries: entries.collect(), ..Unit::default() };
        if !unit.entries.is_empty() {
            let committed = self.authority.journal().store().commit(unit).await;
            committed.map_err(AdminError::unavailable)?;
        }
        let _ = self.isolation.set(settled);
        Ok(())
    }

    /// Lists servers with their tools; of each server also how it is kept apart, if it is started here.
    pub(crate) async fn server_list(&self, by: &PersonId) -> Result<Value, AdminError> {
        let mut rows = self.list_with_stops(by, "server/", "tool/").await?;
        for row in rows.as_array_mut().into_iter().flatten() {
            let name = row["name"].as_str().and_then(|name| name.parse::<ServerName>().ok());
            let settled = name.and_then(|name| self.isolation.get()?.get(&name));
            if let Some(isolation) = settled {
                row["isolation"] = Value::from(*isolation);
            }
        }
        Ok(rows)
    }
}
