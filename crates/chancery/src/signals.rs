//! `chancery signal`: what the service is asked, and what a founder signs for it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use pap::{Command as Asked, UndoAsked};
use serde_json::{Value, json};

use crate::cli::{Signal, UndoSignal};
use crate::words::word;

/// What is asked of mistaken signals.
pub(crate) async fn asked(typed: Signal) -> anyhow::Result<(PathBuf, Asked)> {
    Ok(match typed {
        Signal::Undo(typed) => {
            let UndoSignal { record, directory, stream, from, until, reason, signed, socket } =
                typed;
            let asked = UndoAsked { record, directory, stream, from, until, reason };
            let said = json!({ "do": "signal-undo", "asked": asked });
            let word = word(signed, async { Ok(said) }).await?;
            (socket.socket, Asked::SignalUndo { asked, word })
        }
        Signal::Approve { id, signed, socket } => {
            let word = word(signed, approval(&socket.socket, &id)).await?;
            (socket.socket, Asked::SignalApprove { id, word })
        }
        Signal::List { socket } => (socket.socket, Asked::SignalList),
    })
}

/// What a founder signs to approve the undoing `id`: for what was asked as the service tells it, which they
/// are shown, and for nothing else.
async fn approval(socket: &Path, id: &str) -> anyhow::Result<Value> {
    let all = crate::socket::call(socket, &Asked::SignalList).await?;
    let mut all = all.as_array().into_iter().flatten();
    let found = all.find(|undo| undo["id"] == id);
    let found = found.with_context(|| format!("nobody asked for `{id}`"))?;
    eprintln!("chancery: you sign for {}", mcp::render_untrusted(&found.to_string()));
    let undo: model::Undo = serde_json::from_value(found.clone())?;
    Ok(json!({ "do": "signal-approve", "id": id, "digest": undo.digest() }))
}
