//! `chancery stop`, `chancery start`: what the service is asked, and what a founder signs for it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use keys::SigningKey;
use model::{Clock as _, Entropy as _, StopTarget};
use oauth::word::{self, Word};
use pap::Command as Asked;
use serde_json::{Value, json};

use crate::cli::{Start, Stop};
use crate::system::{SystemClock, SystemEntropy};

/// What is asked to stop.
pub(crate) fn stop(typed: Stop) -> (PathBuf, Asked) {
    let Stop { target, reason, socket } = typed;
    (socket.socket, Asked::Stop { what: target.what(), reason })
}

/// What is asked to start again. A founder signs that for the stop that there is now, and for none
/// that comes after it.
pub(crate) async fn start(typed: Start) -> anyhow::Result<(PathBuf, Asked)> {
    let Start { target, reason, founder, key, url, socket } = typed;
    let (what, socket) = (target.what(), socket.socket);
    let url = url.unwrap_or_else(crate::dev::url);
    let word = match founder.zip(key) {
        Some((founder, key)) => {
            let since = stopped_since(&socket, &what).await?;
            let parties = (founder.as_str(), url.trim_end_matches('/'));
            let command = json!({ "do": "start", "what": what, "reason": reason, "since": since });
            Some(sign(parties, &key, command)?)
        }
        None => None,
    };
    Ok((socket, Asked::Start { what, reason, word }))
}

/// Since when `what` is stopped, as the service says.
async fn stopped_since(socket: &Path, what: &StopTarget) -> anyhow::Result<Value> {
    let stops = crate::socket::call(socket, &Asked::StopList).await?;
    let mut stops = stops.as_array().into_iter().flatten();
    let stop = stops.find(|stop| stop["what"] == json!(what));
    Ok(stop.with_context(|| format!("`{what}` is not stopped"))?["since"].clone())
}

fn sign(parties: (&str, &str), key: &Path, command: Value) -> anyhow::Result<String> {
    let pem = keys::read_private(key).context("could not read the founder's key")?;
    let pem = String::from_utf8(pem).unwrap_or_default();
    let key = SigningKey::from_pem(&pem)
        .with_context(|| format!("`{}` does not hold a founder's key", key.display()))?;
    let mut jti = [0; 16];
    SystemEntropy::new().fill(&mut jti);
    let now = SystemClock::new().now().as_seconds();
    let (jti, exp) = (keys::base64url(&jti), now + word::LIFETIME_MAX_S);
    Ok(word::make(parties, &key, now, &Word { command, jti, exp })?)
}
