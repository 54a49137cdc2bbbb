//! Which directories there are, and how each shows that it is one.

use std::time::Duration;

use authority::{FactsError, Reader, Refused};
use model::{
    Directory, DirectoryState, DirectoryToken, DirectoryTokens, FactKey, LoginRule, PeopleSource,
    Person, PersonId, ResourceRef, Sha256Digest, SourceName, Speaker, Timestamp,
};
use schemars::JsonSchema;
use scim::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::errors::{stranger, unavailable};
use crate::asked::Command;
use crate::command::{AdminError, Administration, Draft};
use crate::heard;
use crate::register::{known, put, put_new};
use crate::silent::AllHeard;

/// How long a token of a directory counts at most.
const TOKEN_LIFETIME_MAX: Duration = Duration::from_hours(366 * 24);

/// The longest token of a directory, or a stream, that is looked at, in bytes.
const TOKEN_MAX: usize = 256;

/// What a registration of a directory names.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DirectoryRegistration {
    /// Its name.
    pub name: String,
    /// How its people log in.
    pub logins: Option<LoginRule>,
    /// After how many minutes in which nothing was heard of it its people are unconfirmed; `null`, if nobody waits
    /// for it.
    #[serde(default = "heard::by_default")]
    pub silence_min: Option<u32>,
    /// Its first token.
    pub token: NewToken,
}

/// A token that whoever asks has made, and keeps.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// The digest of it.
    #[schemars(with = "String")]
    pub digest: Sha256Digest,
    /// When it stops counting, in milliseconds since the epoch.
    #[schemars(with = "i64")]
    pub expires: Timestamp,
    /// Whether it reads only.
    pub read_only: bool,
}

/// A directory that has shown a token of its own.
#[derive(Clone, Debug)]
pub struct KnownDirectory {
    /// Which.
    pub name: SourceName,
    /// How its people log in.
    pub logins: Option<LoginRule>,
    /// Whether the token reads only.
    pub read_only: bool,
    /// The token.
    shown: Sha256Digest,
}

impl KnownDirectory {
    /// That its token has not been taken back since it was shown. What `reader` reads then rests on that: it
    /// is not done if the token is taken back before.
    pub(super) async fn still_known(&self, reader: &mut Reader<'_>) -> Result<(), Error> {
        let place = FactKey::directory_tokens(&self.name);
        if has_shown(reader, place, &self.shown).await.map_err(unavailable)? {
            return Ok(());
        }
        Err(stranger())
    }
}

impl Administration {
    pub(crate) async fn directories(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        match command {
            Command::DirectoryAdd(said) => self.directory_add(by, said).await,
            Command::DirectoryToken { name, token, alone } => {
                let kept = ("people/directory", FactKey::directory_tokens);
                self.give_token(by, ("directory", &name), kept, (token, alone)).await
            }
            Command::DirectoryAdopt { name, person } => {
                self.directory_adopt(by, &name, &person).await
            }
            Command::DirectorySuspend { name, reason } => {
                let state = DirectoryState::Suspended { reason, since: self.now() };
                self.directory_change(by, &name, |known| Directory { state, ..known }).await
            }
            Command::DirectoryResume { name } => {
                let state = DirectoryState::Active;
                self.directory_change(by, &name, |known| Directory { state, ..known }).await
            }
            Command::DirectorySilence { name, silence_min } => {
                heard::checked(silence_min)?;
                self.directory_change(by, &name, |known| Directory { silence_min, ..known }).await
            }
            _ => self.list_heard(by, "directory/", AllHeard::tell_source).await,
        }
    }

    async fn directory_add(
        &self,
        by: &PersonId,
        said: DirectoryRegistration,
    ) -> Result<Value, AdminError> {
        heard::checked(said.silence_min)?;
        let name: SourceName = said.name.parse().map_err(AdminError::invalid)?;
        let token = said.token.checked(self.now())?;
        let mut draft = self.draft(by, "people/directory", ResourceRef::Deployment).await?;
        let other = draft.reader.find::<PeopleSource>(FactKey::people_source(&name)).await;
        if other.map_err(AdminError::unavailable)?.is_some() {
            let why = format!("`{name}` is a source of signed lists: one name says one thing");
            return Err(AdminError::Conflict(why));
        }
        let (registered, state) = (self.now(), DirectoryState::Active);
        let (logins, silence_min) = (said.logins, said.silence_min);
        let directory = Directory { name: name.clone(), logins, silence_min, registered, state };
        let speaks = (&name, &Speaker::directory());
        let minutes = (None, silence_min);
        let heard = heard::bounded(&mut draft.reader, speaks, minutes, registered).await?;
        let mut effects = vec![
            put_new(FactKey::directory(&name), &directory),
            put_new(FactKey::directory_tokens(&name), &DirectoryTokens(vec![token])),
        ];
        effects.extend(heard);
        let done = draft.make(json!(directory), effects).await?;
        Ok(json!({ "directory": name, "silence_min": silence_min, "decision": done.decision }))
    }

    /// Gives the `kind` `name`, whose tokens are at `place`, another one by `action`: beside the newest that it has, or
    /// `alone`.
    pub(crate) async fn give_token(
        &self,
        by: &PersonId,
        (kind, name): (&'static str, &str),
        (action, place): (&'static str, impl Fn(&SourceName) -> FactKey + Send),
        (token, alone): (NewToken, bool),
    ) -> Result<Value, AdminError> {
        let name: SourceName = name.parse().map_err(AdminError::invalid)?;
        let (token, place) = (token.checked(self.now())?, place(&name));
        let mut draft = self.draft(by, action, ResourceRef::Deployment).await?;
        let what = format!("{kind} `{name}`");
        let tokens = known::<DirectoryTokens>(&mut draft.reader, place.clone(), &what).await?;
        let expires = token.expires;
        let tokens = tokens.with(token, alone);
        let change = json!({ kind: name, "expires": expires, "alone": alone });
        let done = draft.make(change, vec![put(place, &tokens)]).await?;
        Ok(json!({ kind: name, "tokens": tokens.0.len(), "decision": done.decision }))
    }

    /// Makes a person that an administrator added one of a directory's, which tells of them from now on.
    async fn directory_adopt(
        &self,
        by: &PersonId,
        name: &str,
        person: &str,
    ) -> Result<Value, AdminError> {
        let name: SourceName = name.parse().map_err(AdminError::invalid)?;
        let person: PersonId = person.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "people/directory", ResourceRef::Deployment).await?;
        registered(&mut draft, &name).await?;
        let place = FactKey::person(&person);
        let known =
            known::<Person>(&mut draft.reader, place.clone(), &format!("person `{person}`"))
                .await?;
        if let Some(source) = &known.source {
            let why = format!("`{person}` is of the source `{source}` already");
            return Err(AdminError::Conflict(why));
        }
        let adopted = Person { source: Some(name.clone()), ..known };
        let change = json!({ "directory": name, "person": adopted });
        let done = draft.make(change, vec![put(place, &adopted)]).await?;
        Ok(json!({ "person": person, "directory": name, "decision": done.decision }))
    }

    /// Registers of a directory what `change` makes of it.
    async fn directory_change(
        &self,
        by: &PersonId,
        name: &str,
        change: impl FnOnce(Directory) -> Directory + Send,
    ) -> Result<Value, AdminError> {
        let name: SourceName = name.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "people/directory", ResourceRef::Deployment).await?;
        let was = registered(&mut draft, &name).await?;
        let waited = was.waited_for();
        let directory = change(was);
        let mut effects = vec![put(FactKey::directory(&name), &directory)];
        let (speaks, minutes) = ((&name, &Speaker::directory()), (waited, directory.waited_for()));
        effects.extend(heard::bounded(&mut draft.reader, speaks, minutes, self.now()).await?);
        let done = draft.make(json!(directory), effects).await?;
        let Directory { state, silence_min, .. } = directory;
        Ok(json!({
            "directory": name, "state": state, "silence_min": silence_min, "decision": done.decision,
        }))
    }

    /// Records that somebody at the service provider was refused for `cause`.
    pub fn refuse_directory(&self, cause: &'static str) {
        let place = ("directory", cause);
        self.authority.record_refusal(&self.refusals, place, Refused::default());
    }

    /// The directory whose token this is, if it is one that counts.
    pub async fn known_directory(&self, token: &str) -> Result<Option<KnownDirectory>, AdminError> {
        let Some(name) = named_in(token) else { return Ok(None) };
        let (mut reader, place) = (self.knowing(), FactKey::directory_tokens(&name));
        let shown = shown_token(&mut reader, place, (token, self.now())).await?;
        let Some(shown) = shown else { return Ok(None) };
        let directory = reader.find::<Directory>(FactKey::directory(&name)).await;
        let directory = directory.map_err(AdminError::unavailable)?;
        let active = directory.filter(Directory::is_active);
        Ok(active.map(|Directory { name, logins, .. }| KnownDirectory {
            name,
            logins,
            read_only: shown.read_only,
            shown: shown.digest,
        }))
    }

    /// Notes that `directory` was heard: what it asked was done. Whoever only reads tells of nobody.
    pub async fn directory_heard(&self, directory: &KnownDirectory) {
        if directory.read_only {
            return;
        }
        self.note_heard(&directory.name, None, self.now()).await;
    }
}

impl NewToken {
    pub(crate) fn checked(self, now: Timestamp) -> Result<DirectoryToken, AdminError> {
        let Self { digest, expires, read_only } = self;
        ends_in_time(expires, now)?;
        Ok(DirectoryToken { digest, expires, read_only })
    }
}

/// Refuses what shows somebody who asks and is over, or counts for too long.
pub(crate) fn ends_in_time(expires: Timestamp, now: Timestamp) -> Result<(), AdminError> {
    if expires <= now || expires > now.plus(TOKEN_LIFETIME_MAX) {
        let why = "a token, or the key of a receiver, expires in the future, within 366 days";
        return Err(AdminError::Invalid(why.to_owned()));
    }
    Ok(())
}

/// Whose token this says that it is: the name stands before the first dot.
pub(crate) fn named_in(token: &str) -> Option<SourceName> {
    token.split_once('.').and_then(|(name, _)| name.parse().ok())
}

/// The token that is `shown`, if it is one of those at `place` that count `now`.
pub(crate) async fn shown_token(
    reader: &mut Reader<'_>,
    place: FactKey,
    (shown, now): (&str, Timestamp),
) -> Result<Option<DirectoryToken>, AdminError> {
    if shown.len() > TOKEN_MAX {
        return Ok(None);
    }
    let tokens = reader.find::<DirectoryTokens>(place).await.map_err(AdminError::unavailable)?;
    let digest = Sha256Digest::of(shown.as_bytes());
    Ok(tokens.unwrap_or_default().counting(&digest, now).cloned())
}

/// Whether the token `shown` is one of those at `place` still.
pub(crate) async fn has_shown(
    reader: &mut Reader<'_>,
    place: FactKey,
    shown: &Sha256Digest,
) -> Result<bool, FactsError> {
    let tokens = reader.find::<DirectoryTokens>(place).await?;
    Ok(tokens.is_some_and(|tokens| tokens.has(shown)))
}

async fn registered(draft: &mut Draft<'_>, name: &SourceName) -> Result<Directory, AdminError> {
    known::<Directory>(&mut draft.reader, FactKey::directory(name), &format!("directory `{name}`"))
        .await
}
