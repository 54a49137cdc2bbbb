//! `chancery founder`: what the service is asked of who signs, and what a founder signs for it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use keys::SigningKey;
use model::{Entropy, FounderChange, Release, ReleaseTerms, Sha256Digest};
use pap::{Command as Asked, FounderSaid, ReleaseAsked};
use pdp::Bundle;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::{Founder, FounderNamed};
use crate::socket;
use crate::system::SystemEntropy;
use crate::words::{made, word};

/// A one-use code, or half of one. It is hexadecimal: a code that began with a hyphen would be taken for a flag.
pub(crate) fn new_code(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// What a founder who redeemed their code was told that they sign.
#[derive(Deserialize)]
struct Signs {
    url: String,
    release: Release,
}

/// Signs by the new key `pem` the release that the deployment was founded with, where its founder is `told` that they
/// do: they are its author and own it, or approve it. What becomes of that takes nothing of their key, and is said.
pub(crate) async fn sign_first(told: &mut Value, pem: &str, socket: &Path) {
    let signs = told.as_object_mut().and_then(|told| told.remove("signs")).unwrap_or_default();
    if signs.is_null() {
        return;
    }
    let founder = told["founder"].as_str().unwrap_or_default();
    match signed_first((founder, signs), pem, socket).await {
        Ok(role) => {
            eprintln!(
                "chancery: `{founder}` signed the release that the deployment was founded with, the starter policy, as \
                 its {role}"
            );
            told["signed_as"] = role.into();
        }
        Err(error) => eprintln!(
            "chancery: `{founder}` did not sign the release that the deployment was founded with: {error:#}; until \
             one is in force that has an owner and an approver, no agent is registered (docs/releases.md: `policy \
             approve 1` signs it as its approver)"
        ),
    }
}

/// The same; says as what.
async fn signed_first(
    (founder, signs): (&str, Value),
    pem: &str,
    socket: &Path,
) -> anyhow::Result<&'static str> {
    let Signs { url, release } = serde_json::from_value(signs)?;
    let by = (founder, url.as_str(), pem);
    let error = match signs_first(by, release, socket).await {
        Err(error) => error,
        done => return done,
    };
    // Of two who redeem at once one is its author: then the other one approves it.
    match authored(socket).await {
        Some(release) => signs_first(by, release, socket).await,
        None => Err(error),
    }
}

/// The release that the deployment was founded with, once a founder is its author.
async fn authored(socket: &Path) -> Option<Release> {
    let told = socket::call(socket, &Asked::PolicyRelease { version: 1 }).await.ok()?;
    let release: Release = serde_json::from_value(told.get("release")?.clone()).ok()?;
    release.author.is_some().then_some(release)
}

async fn signs_first(
    (founder, url, pem): (&str, &str, &str),
    release: Release,
    socket: &Path,
) -> anyhow::Result<&'static str> {
    let said = release.waits_for(&founder.parse()?).context("others signed it")?;
    // Nothing is signed unseen: this program knows what it founds deployments with.
    let content = Bundle::from(crate::founding::starter()).digest();
    let (version, expires, rollback_of, proof, owner) = (1, None, None, None, None);
    let asked = ReleaseAsked { version, content, expires, rollback_of, proof, owner };
    ensure!(
        release.terms == ReleaseTerms::from(asked.clone()),
        "it is not the starter policy of this program"
    );
    let word = Some(made((founder, url), &SigningKey::from_pem(pem)?, said)?);
    let (role, asked) = match release.author {
        None => ("author and owner", Asked::PolicyPublish { asked, files: None, word }),
        Some(_) => ("approver", Asked::PolicyApprove { version, word }),
    };
    socket::call(socket, &asked).await?;
    Ok(role)
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
