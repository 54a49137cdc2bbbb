//! `chancery stop`, `chancery start`: what the service is asked, and what a founder signs for it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use model::StopTarget;
use pap::Command as Asked;
use serde_json::{Value, json};

use crate::cli::{Start, Stop};
use crate::words::word;

/// What is asked to stop.
pub(crate) fn stop(typed: Stop) -> (PathBuf, Asked) {
    let Stop { target, reason, socket } = typed;
    (socket.socket, Asked::Stop { what: target.what(), reason })
}

/// What is asked to start again. A founder signs that for the stop that there is now, and for none
/// that comes after it.
pub(crate) async fn start(typed: Start) -> anyhow::Result<(PathBuf, Asked)> {
    let Start { target, reason, signed, socket } = typed;
    let (what, socket) = (target.what(), socket.socket);
    let said = async {
        let since = stopped_since(&socket, &what).await?;
        Ok(json!({ "do": "start", "what": what, "reason": reason, "since": since }))
    };
    let word = word(signed, said).await?;
    Ok((socket, Asked::Start { what, reason, word }))
}

/// Since when `what` is stopped, as the service says.
async fn stopped_since(socket: &Path, what: &StopTarget) -> anyhow::Result<Value> {
    let stops = crate::socket::call(socket, &Asked::StopList).await?;
    let mut stops = stops.as_array().into_iter().flatten();
    let stop = stops.find(|stop| stop["what"] == json!(what));
    Ok(stop.with_context(|| format!("`{what}` is not stopped"))?["since"].clone())
}
