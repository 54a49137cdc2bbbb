//! Where servers are served from: a pin holds for the place that it was taken from.
//!
//! The configuration says where a server is; the register says where it was when its tools were
//! pinned. They are compared when the service starts. An executable that is replaced while the
//! service runs is not noticed before the next start.

use std::collections::BTreeMap;

use authority::{CommitError, FactsError, Unit};
use model::{FactKey, Server, ServerName, Tool, ToolRef, ToolState};

use crate::command::{AdminError, Administration};
use crate::register::put;
use crate::tools::TOOLS_OF_ONE_ACT;

impl Administration {
    /// Compares where `server` is now, `origin`, with where its tools were pinned. If that is
    /// another place, none of them is callable until somebody pins it again, and a record says so.
    pub async fn note_origin(&self, server: &ServerName, origin: &str) -> Result<(), AdminError> {
        let found = self.reader().find::<Server>(FactKey::server(server)).await;
        let found = found.map_err(AdminError::unavailable)?;
        let Some(mut found) = found.filter(|known| known.origin != origin) else { return Ok(()) };
        let tools = self.authority.pip().tools_of(server).await;
        let tools = tools.map_err(AdminError::unavailable)?;
        for chunk in tools.chunks(TOOLS_OF_ONE_ACT) {
            let moved = chunk.iter().map(|tool| tool.tool.clone()).collect();
            self.unpin(moved).await.map_err(AdminError::unavailable)?;
        }
        // Last: if this ends half-way, the next start begins again.
        origin.clone_into(&mut found.origin);
        let details = BTreeMap::from([(format!("{server}/*"), "moved".to_owned())]);
        let unit = self.noted(details, vec![put(FactKey::server(server), &found)]);
        let committed = self.authority.journal().store().commit(unit).await;
        committed.map(drop).map_err(AdminError::unavailable)
    }

    /// Makes `tools` uncallable until they are pinned again.
    async fn unpin(&self, tools: Vec<ToolRef>) -> Result<(), CommitError> {
        let damaged = |error: FactsError| CommitError::Unavailable(error.into());
        let (mut reader, mut effects) = (self.reader(), Vec::new());
        let mut details = BTreeMap::new();
        for tool in tools {
            let key = FactKey::tool(&tool);
            let Some(mut found) = reader.find::<Tool>(key.clone()).await.map_err(damaged)? else {
                continue;
            };
            if matches!(found.state, ToolState::Changed { .. }) {
                continue;
            }
            let descriptor = found.descriptor.clone();
            found.state = ToolState::Changed { descriptor, seen: self.now() };
            details.insert(mcp::render_untrusted(&tool.to_string()), "moved".to_owned());
            effects.push(put(key, &found));
        }
        if effects.is_empty() {
            return Ok(());
        }
        let read = reader.sourced(());
        let unit = self.noted(details, effects);
        let unit = Unit { reads: read.keys, revision: read.revision, ..unit };
        self.authority.journal().store().commit(unit).await.map(drop)
    }
}
