//! `chancery stop`, `chancery start`: what the service is asked, and what a founder signs for it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use keys::SigningKey;
use model::{Clock as _, Entropy as _, StopTarget};
use oauth::word::{self, Word};
use pap::Command as Asked;
use serde_json::json;

use crate::cli::{Start, Stop};
use crate::system::{SystemClock, SystemEntropy};

/// What is asked to stop.
pub(crate) fn stop(typed: Stop) -> (PathBuf, Asked) {
    let Stop { target, reason, socket } = typed;
    (socket.socket, Asked::Stop { what: target.what(), reason })
}

/// What is asked to start again.
pub(crate) fn start(typed: Start) -> anyhow::Result<(PathBuf, Asked)> {
    let Start { target, reason, founder, key, url, socket } = typed;
    let what = target.what();
    let url = url.unwrap_or_else(crate::dev::url);
    let signed = founder.zip(key).map(|(founder, key)| {
        let parties = (founder.as_str(), url.trim_end_matches('/'));
        sign(parties, &key, (&what, &reason))
    });
    Ok((socket.socket, Asked::Start { what, reason, word: signed.transpose()? }))
}

fn sign(
    parties: (&str, &str),
    key: &Path,
    (what, reason): (&StopTarget, &str),
) -> anyhow::Result<String> {
    let pem = keys::read_private(key).context("could not read the founder's key")?;
    let pem = String::from_utf8(pem).unwrap_or_default();
    let key = SigningKey::from_pem(&pem)
        .with_context(|| format!("`{}` does not hold a founder's key", key.display()))?;
    let mut jti = [0; 16];
    SystemEntropy::new().fill(&mut jti);
    let (now, command) = (
        SystemClock::new().now().as_seconds(),
        json!({
            "do": "start", "what": what, "reason": reason,
        }),
    );
    let (jti, exp) = (keys::base64url(&jti), now + word::LIFETIME_MAX_S);
    Ok(word::make(parties, &key, now, &Word { command, jti, exp })?)
}
