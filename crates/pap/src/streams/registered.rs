//! Which streams there are, and how whoever pushes to each shows that they may.

use std::collections::BTreeSet;

use authority::{Effect, Reader};
use model::{
    Directory, DirectoryState, DirectoryTokens, FactKey, PersonId, ResourceRef, SourceName,
    Speaker, Stream, Timestamp,
};
use oauth::jwks::Algorithm;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::KnownStream;
use crate::asked::Command;
use crate::command::{AdminError, Administration, Draft};
use crate::directory::{NewToken, shown_token};
use crate::heard;
use crate::register::{known, put, put_new};
use crate::silent::AllHeard;

/// The most streams.
pub const STREAMS_MAX: usize = 64;

/// The longest issuer, and the longest audience, in bytes.
const TEXT_MAX: usize = 512;

/// What a registration of a stream names.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamRegistration {
    /// Its name.
    pub name: String,
    /// Its transmitter: the issuer of all its tokens.
    pub issuer: String,
    /// For whom its tokens are.
    pub audience: String,
    /// By which algorithms its transmitter may sign.
    pub algorithms: Vec<String>,
    /// The directory of whose people it tells.
    pub directory: String,
    /// Whether an e-mail address names somebody among these.
    pub email: bool,
    /// After how many minutes in which nothing was heard of it these are unconfirmed; `null`, if nobody waits
    /// for it.
    #[serde(default = "heard::by_default")]
    pub silence_min: Option<u32>,
    /// Its first token.
    pub token: NewToken,
}

impl Administration {
    pub(crate) async fn streams(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        match command {
            Command::StreamAdd(said) => self.stream_add(by, said).await,
            Command::StreamToken { name, token, alone } => {
                writes(&token)?;
                let kept = ("people/stream", FactKey::stream_tokens);
                self.give_token(by, ("stream", &name), kept, (token, alone)).await
            }
            Command::StreamSuspend { name, reason } => {
                let state = DirectoryState::Suspended { reason, since: self.now() };
                self.stream_state(by, &name, state).await
            }
            Command::StreamResume { name } => {
                self.stream_state(by, &name, DirectoryState::Active).await
            }
            Command::StreamSilence { name, silence_min } => {
                self.stream_silence(by, &name, silence_min).await
            }
            Command::StreamManage(said) => self.stream_managed(by, said).await,
            Command::StreamAnswered(said) => self.stream_answered(by, said).await,
            _ => self.list_heard(by, "stream/", AllHeard::tell_stream).await,
        }
    }

    async fn stream_add(
        &self,
        by: &PersonId,
        said: StreamRegistration,
    ) -> Result<Value, AdminError> {
        let algorithms = said.checked()?;
        let name: SourceName = said.name.parse().map_err(AdminError::invalid)?;
        let directory: SourceName = said.directory.parse().map_err(AdminError::invalid)?;
        let token = said.token.checked(self.now())?;
        let mut draft = self.draft(by, "people/stream", ResourceRef::Deployment).await?;
        known::<Directory>(
            &mut draft.reader,
            FactKey::directory(&directory),
            &format!("directory `{directory}`"),
        )
        .await?;
        if self.count("stream/").await? >= STREAMS_MAX {
            return Err(AdminError::Conflict(format!("there are {STREAMS_MAX} streams already")));
        }
        let StreamRegistration { issuer, audience, email, silence_min, .. } = said;
        let (registered, state) = (self.now(), DirectoryState::Active);
        let stream = Stream {
            name: name.clone(),
            issuer,
            audience,
            algorithms,
            directory,
            email,
            silence_min,
            registered,
            state,
        };
        let heard = heard_by(&mut draft, (None, &stream), registered).await?;
        let mut effects = vec![
            put_new(FactKey::stream(&name), &stream),
            put_new(FactKey::stream_tokens(&name), &DirectoryTokens(vec![token])),
        ];
        effects.extend(heard);
        let done = draft.make(json!(stream), effects).await?;
        Ok(json!({ "stream": name, "silence_min": silence_min, "decision": done.decision }))
    }

    async fn stream_state(
        &self,
        by: &PersonId,
        name: &str,
        state: DirectoryState,
    ) -> Result<Value, AdminError> {
        let name: SourceName = name.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "people/stream", ResourceRef::Deployment).await?;
        let was = registered(&mut draft, &name).await?;
        let stream = Stream { state, ..was.clone() };
        let mut effects = vec![put(FactKey::stream(&name), &stream)];
        effects.extend(heard_by(&mut draft, (Some(&was), &stream), self.now()).await?);
        if stream.is_active() {
            // Whoever lets it go on has seen to it that it tells something.
            effects.push(Effect::Remove { key: FactKey::stream_tells(&name) });
        }
        let done = draft.make(json!(stream), effects).await?;
        Ok(json!({ "stream": name, "state": stream.state, "decision": done.decision }))
    }

    async fn stream_silence(
        &self,
        by: &PersonId,
        name: &str,
        silence_min: Option<u32>,
    ) -> Result<Value, AdminError> {
        heard::checked(silence_min)?;
        let name: SourceName = name.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "people/stream", ResourceRef::Deployment).await?;
        let was = registered(&mut draft, &name).await?;
        let stream = Stream { silence_min, ..was.clone() };
        let mut effects = vec![put(FactKey::stream(&name), &stream)];
        effects.extend(heard_by(&mut draft, (Some(&was), &stream), self.now()).await?);
        let done = draft.make(json!(stream), effects).await?;
        Ok(json!({ "stream": name, "silence_min": silence_min, "decision": done.decision }))
    }

    /// The stream `name`, if it counts and `token` is one of its own.
    pub(super) async fn known_stream(
        &self,
        (name, token): (&str, &str),
    ) -> Result<Option<KnownStream>, AdminError> {
        let Ok(name) = name.parse::<SourceName>() else { return Ok(None) };
        let (mut reader, place) = (self.reader(), FactKey::stream_tokens(&name));
        let shown = shown_token(&mut reader, place, (token, self.now())).await?;
        let Some(shown) = shown else { return Ok(None) };
        let stream = active(&mut reader, &name).await?;
        Ok(stream.map(|stream| KnownStream { stream, shown: Some(shown.digest) }))
    }
}

/// The stream `name`, if there is one that counts.
pub(super) async fn active(
    reader: &mut Reader<'_>,
    name: &SourceName,
) -> Result<Option<Stream>, AdminError> {
    let stream = reader.find::<Stream>(FactKey::stream(name)).await;
    Ok(stream.map_err(AdminError::unavailable)?.filter(Stream::is_active))
}

/// What is written of until when `stream`, which `was` another one, if any, counts as heard.
async fn heard_by(
    draft: &mut Draft<'_>,
    (was, stream): (Option<&Stream>, &Stream),
    now: Timestamp,
) -> Result<Option<Effect>, AdminError> {
    let minutes = (was.and_then(Stream::waited_for), stream.waited_for());
    let speaks = (&stream.directory, &Speaker::stream(&stream.name));
    heard::bounded(&mut draft.reader, speaks, minutes, now).await
}

impl StreamRegistration {
    /// The algorithms that it names, once what it says makes sense.
    fn checked(&self) -> Result<BTreeSet<String>, AdminError> {
        let invalid = |why: String| Err(AdminError::Invalid(why));
        if secevent::metadata_url(&self.issuer).is_err() {
            return invalid(format!("`{}` is no issuer whose keys can be fetched", self.issuer));
        }
        for text in [&self.issuer, &self.audience] {
            if !(1..=TEXT_MAX).contains(&text.len()) || text.chars().any(char::is_control) {
                let why =
                    "an issuer, and an audience, have 1 to 512 bytes and no control character";
                return invalid(why.to_owned());
            }
        }
        let named = |name: &String| {
            Algorithm::named(name).is_some_and(|algorithm| Algorithm::OIDC.contains(&algorithm))
        };
        if self.algorithms.is_empty() || !self.algorithms.iter().all(named) {
            let all = Algorithm::OIDC.map(Algorithm::as_str).join(", ");
            return invalid(format!("a transmitter signs by one or more of {all}"));
        }
        writes(&self.token)?;
        heard::checked(self.silence_min)?;
        Ok(self.algorithms.iter().cloned().collect())
    }
}

/// Whether the token is one of a stream: they read nothing.
fn writes(token: &NewToken) -> Result<(), AdminError> {
    if token.read_only {
        return Err(AdminError::Invalid("a token of a stream is not for reading".to_owned()));
    }
    Ok(())
}

/// The stream `name`, whether it counts or not.
pub(super) async fn registered(
    draft: &mut Draft<'_>,
    name: &SourceName,
) -> Result<Stream, AdminError> {
    known::<Stream>(&mut draft.reader, FactKey::stream(name), &format!("stream `{name}`")).await
}
