//! `chancery elevation`: what the service is asked, and what a founder signs for it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use pap::{Command as Asked, ElevationAsked};
use serde_json::{Value, json};

use crate::cli::Elevation;
use crate::words::word;

/// What is asked of elevations.
pub(crate) async fn asked(typed: Elevation) -> anyhow::Result<(PathBuf, Asked)> {
    Ok(match typed {
        Elevation::Ask { task, name, tools, max_calls, lasts, reason, signed, socket } => {
            let lasts_s = lasts.as_secs();
            let asked = ElevationAsked { task, name, tools, max_calls, lasts_s, reason };
            let said = json!({ "do": "elevation-ask", "asked": asked });
            let word = word(signed, async { Ok(said) }).await?;
            (socket.socket, Asked::ElevationAsk { asked, word })
        }
        Elevation::Approve { id, signed, socket } => {
            let word = word(signed, approval(&socket.socket, &id)).await?;
            (socket.socket, Asked::ElevationApprove { id, word })
        }
        Elevation::Revoke { id, reason, socket } => {
            (socket.socket, Asked::ElevationRevoke { id, reason })
        }
        Elevation::List { socket } => (socket.socket, Asked::ElevationList),
    })
}

/// What a founder signs to approve the elevation `id`: for what was asked as the service tells it, which
/// they are shown, and for nothing else.
async fn approval(socket: &Path, id: &str) -> anyhow::Result<Value> {
    let all = crate::socket::call(socket, &Asked::ElevationList).await?;
    let mut all = all.as_array().into_iter().flatten();
    let found = all.find(|elevation| elevation["id"] == id);
    let found = found.with_context(|| format!("there is no elevation `{id}`"))?;
    // Whoever asked wrote some of it: what is shown is what is signed.
    eprintln!("chancery: you sign for {}", mcp::render_untrusted(&found.to_string()));
    let elevation: model::Elevation = serde_json::from_value(found.clone())?;
    Ok(json!({ "do": "elevation-approve", "id": id, "digest": elevation.digest() }))
}
