//! `chancery people`: reads what is registered and applied, makes keys of sources, signs lists.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use keys::{KeyAlgorithm, SigningKey};
use model::Clock as _;
use oauth::people;
use pap::{Command as Asked, SILENCE};
use serde_json::{Value, json};

use crate::cli::{People, PeopleSource, Person, SignPeople, Silence, SourceKey};
use crate::system::SystemClock;
use crate::words::word;

/// The largest file of a public key, in bytes.
const JWK_MAX: usize = 16 << 10;

/// Does what asks no service; `None` for what does.
pub(crate) fn offline(typed: &People) -> Option<anyhow::Result<()>> {
    match typed {
        People::Key { file } => Some(new_key(file)),
        People::Sign(asked) => Some(sign(asked)),
        People::Source(_) | People::Apply { .. } | People::Widening { .. } => None,
    }
}

/// What the service is asked, and at which socket.
pub(crate) fn asked(typed: People) -> anyhow::Result<(PathBuf, Asked)> {
    Ok(match typed {
        People::Source(PeopleSource::Add { key, silence }) => {
            let silence_min = silence.map_or(SILENCE, |Silence(minutes)| minutes);
            let socket = key.socket.socket.clone();
            (socket, Asked::PeopleSourceAdd { said: source_key(key)?, silence_min })
        }
        People::Source(PeopleSource::Silence { name, minutes: Silence(silence_min), socket }) => {
            (socket.socket, Asked::PeopleSilence { name, silence_min })
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
        People::Widening { groups, after, confirmed, socket } => {
            let said = after.is_some() || confirmed;
            anyhow::ensure!(said || groups.is_empty(), "say `--after TIME`, or `--confirmed`");
            let after_s = after.map(|after| after.as_secs());
            let said = said.then_some(pap::WideningSaid { groups, after_s });
            (socket.socket, Asked::PeopleWidening { said })
        }
        other @ (People::Key { .. } | People::Sign(_)) => {
            anyhow::bail!("{other:?} asks no service")
        }
    })
}

/// What is asked of a person.
pub(crate) async fn of_person(typed: Person) -> anyhow::Result<(PathBuf, Asked)> {
    let (socket, asked) = match typed {
        Person::Add { id, groups, socket } => (socket, Asked::PersonAdd { id, groups }),
        Person::Deactivate { id, socket } => (socket, Asked::PersonDeactivate { id }),
        Person::Confirm { id, signed, socket } => {
            let word = word(signed, confirmation(&socket.socket, &id)).await?;
            (socket, Asked::PersonConfirm { id, word })
        }
        Person::List { socket } => (socket, Asked::PersonList),
    };
    Ok((socket.socket, asked))
}

/// What a founder signs to confirm what waits of the person `id`: just what the service tells, which they
/// are shown.
async fn confirmation(socket: &Path, id: &str) -> anyhow::Result<Value> {
    let all = crate::socket::call(socket, &Asked::PersonList).await?;
    let mut all = all.as_array().into_iter().flatten();
    let person = all.find(|person| person["id"] == id);
    let person = person.with_context(|| format!("there is no person `{id}`"))?;
    let waits = person["waits"].clone();
    anyhow::ensure!(!waits.is_null(), "nothing of `{id}` waits");
    eprintln!("chancery: you sign for {}", mcp::render_untrusted(&waits.to_string()));
    Ok(json!({ "do": "person-confirm", "id": id, "waits": waits }))
}

fn source_key(typed: SourceKey) -> anyhow::Result<pap::SourceKey> {
    let SourceKey { name, key: file, expires, .. } = typed;
    Ok(pap::SourceKey { name, key: jwk(&file)?, expires })
}

/// The public key in `file`.
pub(crate) fn jwk(file: &Path) -> anyhow::Result<Value> {
    let key = json::parse(&read(file, JWK_MAX)?, json::Limits::default());
    key.with_context(|| format!("`{}` holds no public key", file.display()))
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
