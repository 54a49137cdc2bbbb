//! `chancery risk`, `chancery label`, `chancery instance release`: what the service is asked, and what a founder signs for it.

use std::path::PathBuf;

use model::RiskLevel;
use pap::Command as Asked;
use serde_json::json;

use crate::cli::{Label, Risk, Signed, Socket};
use crate::words::word;

/// What is asked of risks.
pub(crate) async fn asked(typed: Risk) -> anyhow::Result<(PathBuf, Asked)> {
    Ok(match typed {
        Risk::Raise { what, level, reason, socket } => {
            (socket.socket, Asked::RiskRaise { what, level: level.into(), reason })
        }
        Risk::Lower { what, level, reason, signed, socket } => {
            let level: Option<RiskLevel> = level.into();
            let said =
                json!({ "do": "risk-lower", "what": what, "level": level, "reason": reason });
            let word = word(signed, async { Ok(said) }).await?;
            (socket.socket, Asked::RiskLower { what, level, reason, word })
        }
    })
}

/// What is asked of labels.
pub(crate) async fn label(typed: Label) -> anyhow::Result<(PathBuf, Asked)> {
    let Label::Remove { label, what, reason, signed, socket } = typed;
    let said = json!({ "do": "label-remove", "label": label, "what": what, "reason": reason });
    let word = word(signed, async { Ok(said) }).await?;
    Ok((socket.socket, Asked::LabelRemove { label, what, reason, word }))
}

/// What is asked so that the instance `id` acts again.
pub(crate) async fn release(
    (id, reason): (String, String),
    signed: Signed,
    socket: Socket,
) -> anyhow::Result<(PathBuf, Asked)> {
    let said = json!({ "do": "instance-release", "id": id, "reason": reason });
    let word = word(signed, async { Ok(said) }).await?;
    Ok((socket.socket, Asked::InstanceRelease { id, reason, word }))
}
