//! `chancery founder`: what the service is asked of who signs, and what a founder signs for it.

use std::path::{Path, PathBuf};

use model::{Entropy, FounderChange, Sha256Digest};
use pap::{Command as Asked, FounderSaid};
use serde_json::{Value, json};

use crate::cli::{Founder, FounderNamed};
use crate::socket;
use crate::system::SystemEntropy;
use crate::words::word;

/// A one-use code, or half of one. It is hexadecimal: a code that began with a hyphen would be taken for a flag.
pub(crate) fn new_code(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// What is asked of founders, but for redeeming a code.
pub(crate) async fn asked(typed: Founder) -> anyhow::Result<(PathBuf, Asked)> {
    Ok(match typed {
        Founder::Add(named) => change(FounderChange::Add, named).await?,
        Founder::Rekey(named) => change(FounderChange::Rekey, named).await?,
        Founder::Remove { id, reason, socket } => {
            (socket.socket, Asked::FounderRemove { id, reason })
        }
        Founder::Withdraw { id, reason, socket } => {
            (socket.socket, Asked::FounderWithdraw { id, reason })
        }
        Founder::List { socket } => (socket.socket, Asked::FounderList),
        other @ Founder::Redeem { .. } => anyhow::bail!("{other:?} makes a key"),
    })
}

/// That somebody is to have a key, with the half of the code that whoever asks tells them.
async fn change(change: FounderChange, named: FounderNamed) -> anyhow::Result<(PathBuf, Asked)> {
    let FounderNamed { id, reason, signed, socket } = named;
    let half = new_code(&SystemEntropy::new());
    let said = FounderSaid { id, code: Sha256Digest::of(half.as_bytes()), reason };
    let signs = async {
        let waits = waiting(&socket.socket, &said.id).await?;
        Ok(json!({ "do": change.command(), "said": said, "waits": waits }))
    };
    let word = word(signed, signs).await?;
    // Nobody but who asks knows it, and the service its digest: it is told to whom it is for.
    eprintln!("chancery: if this is done, your half of the code for `{}` is", said.id);
    println!("half {half}");
    let asked = match change {
        FounderChange::Add => Asked::FounderAdd { said, word },
        FounderChange::Rekey => Asked::FounderRekey { said, word },
    };
    Ok((socket.socket, asked))
}

/// What waits of a key for `id`, which whoever signs is shown; nothing, if they are the first.
async fn waiting(socket: &Path, id: &str) -> anyhow::Result<Value> {
    let all = socket::call(socket, &Asked::FounderList).await?;
    let mut all = all.as_array().into_iter().flatten();
    let found = all.find(|it| it["founder"] == id && !it["waits"].is_null());
    let waits = found.map(|it| it["waits"].clone()).unwrap_or_default();
    if !waits.is_null() {
        // Whoever asked wrote some of it: what is shown is what is signed.
        eprintln!("chancery: you sign for {}", mcp::render_untrusted(&waits.to_string()));
    }
    Ok(waits)
}
