//! `chancery people`: reads what is registered and applied, makes keys of sources, signs lists.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use keys::{KeyAlgorithm, SigningKey};
use model::Clock as _;
use oauth::people;
use pap::Command as Asked;

use crate::cli::{People, PeopleSource, SignPeople, SourceKey};
use crate::system::SystemClock;

/// The largest file of a public key, in bytes.
const JWK_MAX: usize = 16 << 10;

/// Does what asks no service; `None` for what does.
pub(crate) fn offline(typed: &People) -> Option<anyhow::Result<()>> {
    match typed {
        People::Key { file } => Some(new_key(file)),
        People::Sign(asked) => Some(sign(asked)),
        People::Source(_) | People::Apply { .. } => None,
    }
}

/// What the service is asked, and at which socket.
pub(crate) fn asked(typed: People) -> anyhow::Result<(PathBuf, Asked)> {
    Ok(match typed {
        People::Source(PeopleSource::Add(typed)) => {
            (typed.socket.socket.clone(), Asked::PeopleSourceAdd(source_key(typed)?))
        }
        People::Source(PeopleSource::Rekey(typed)) => {
            (typed.socket.socket.clone(), Asked::PeopleSourceRekey(source_key(typed)?))
        }
        People::Source(PeopleSource::List { socket }) => (socket.socket, Asked::PeopleSourceList),
        People::Apply { file, socket } => {
            let list = String::from_utf8(read(&file, people::FILE_MAX + 1)?);
            let list = list.with_context(|| format!("`{}` is no signed list", file.display()))?;
            (socket.socket, Asked::PeopleApply { file: list.trim().to_owned() })
        }
        other @ (People::Key { .. } | People::Sign(_)) => {
            anyhow::bail!("{other:?} asks no service")
        }
    })
}

fn source_key(typed: SourceKey) -> anyhow::Result<pap::SourceKey> {
    let SourceKey { name, key: file, expires, .. } = typed;
    let key = json::parse(&read(&file, JWK_MAX)?, json::Limits::default());
    let key = key.with_context(|| format!("`{}` holds no public key", file.display()))?;
    Ok(pap::SourceKey { name, key, expires })
}

fn new_key(file: &Path) -> anyhow::Result<()> {
    let file = crate::administer::fresh(file)?;
    let made = SigningKey::generate(KeyAlgorithm::Es256)?;
    keys::write_private(&file, made.to_pem()?.as_bytes())?;
    println!("{}", made.verifying().to_jwk());
    Ok(())
}

fn sign(asked: &SignPeople) -> anyhow::Result<()> {
    let SignPeople { file, source, key, url } = asked;
    let pem = keys::read_private(key).context("could not read the source's key")?;
    let pem = String::from_utf8(pem).unwrap_or_default();
    let key = SigningKey::from_pem(&pem)
        .with_context(|| format!("`{}` does not hold a private key", key.display()))?;
    let limits = json::Limits::of_bytes(people::FILE_MAX);
    let list = json::from_slice(&read(file, people::FILE_MAX)?, limits);
    let list = list.with_context(|| format!("`{}` is no list of people", file.display()))?;
    let issuer = url.clone().unwrap_or_else(crate::dev::url);
    let (parties, now) =
        ((source.as_str(), issuer.trim_end_matches('/')), SystemClock::new().now());
    println!("{}", people::make(parties, &key, now.as_seconds(), &list)?);
    Ok(())
}

/// The bytes of `file`, of which there are at most `most`.
pub(crate) fn read(file: &Path, most: usize) -> anyhow::Result<Vec<u8>> {
    let size = std::fs::metadata(file).map(|about| about.len());
    let size = size.with_context(|| format!("could not read `{}`", file.display()))?;
    let fits = usize::try_from(size).is_ok_and(|size| size <= most);
    anyhow::ensure!(fits, "`{}` is larger than {most} bytes", file.display());
    std::fs::read(file).with_context(|| format!("could not read `{}`", file.display()))
}
