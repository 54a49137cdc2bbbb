//! Which receivers there are, of whom each is told, and how it shows that it is one.

use authority::{Effect, Reader};
use keys::VerifyingKey;
use model::{
    Agent, Covers, DirectoryState, DirectoryTokens, EventAlgorithm, FactKey, PersonId, Receiver,
    ReceiverKey, ReceiverStream, ResourceRef, SourceName, TellingStatus,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{GONE, Known};
use crate::asked::Command;
use crate::command::{AdminError, Administration, Draft};
use crate::directory::{NewToken, ends_in_time, named_in, shown_token};
use crate::register::{known, put, put_new};

/// The most receivers: the log is read for each.
pub const RECEIVERS_MAX: usize = 16;

/// The most agents that a receiver can be told of by name.
pub const COVERED_MAX: usize = 64;

/// The longest audience, in bytes.
const AUDIENCE_MAX: usize = 512;

/// The act that says who is told of what.
const ACT: &str = "signals/receiver";

/// What a registration of a receiver names.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiverRegistration {
    /// Its name.
    pub name: String,
    /// Who it is: the audience of all tokens for it.
    pub audience: String,
    /// Of whom it is told.
    pub covers: Covers,
    /// The issuer of the streams by which it tells us, if it is a transmitter, too.
    #[serde(default)]
    pub issuer: Option<String>,
    /// The host to which it may have signals pushed.
    #[serde(default)]
    pub push_host: Option<String>,
    /// By which algorithm what it is told is signed.
    #[serde(default)]
    pub algorithm: EventAlgorithm,
    /// Its first token; one that reads only manages no stream.
    #[serde(default)]
    pub token: Option<NewToken>,
    /// The key by which it gets tokens for itself.
    #[serde(default)]
    pub key: Option<ReceiverKey>,
}

impl ReceiverRegistration {
    /// Whether it makes sense by itself.
    fn checked(&self) -> Result<(), AdminError> {
        let Self { audience, push_host, token, key, .. } = self;
        if !(1..=AUDIENCE_MAX).contains(&audience.len()) || audience.chars().any(char::is_control) {
            let why = "an audience has 1 to 512 bytes and no control character";
            return Err(AdminError::Invalid(why.to_owned()));
        }
        if let Some(host) = push_host.as_deref().filter(|host| !secevent::is_host(host)) {
            let why =
                format!("`{host}` is not the name of a host, in lower case and without a port");
            return Err(AdminError::Invalid(why));
        }
        if token.is_none() && key.is_none() {
            let why = "a receiver has a token, or a key by which it gets some";
            return Err(AdminError::Invalid(why.to_owned()));
        }
        Ok(())
    }
}

impl Administration {
    pub(crate) async fn receivers(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        match command {
            Command::ReceiverAdd(said) => self.receiver_add(by, said).await,
            Command::ReceiverCover { name, covers } => self.receiver_cover(by, &name, covers).await,
            Command::ReceiverIssuer { name, issuer } => {
                self.receiver_issuer(by, &name, issuer).await
            }
            Command::ReceiverToken { name, token, alone } => {
                let kept = (ACT, FactKey::receiver_tokens);
                self.give_token(by, ("receiver", &name), kept, (token, alone)).await
            }
            Command::ReceiverKey { name, key } => self.receiver_key(by, &name, key).await,
            Command::ReceiverSuspend { name, reason } => {
                let state = DirectoryState::Suspended { reason, since: self.now() };
                self.receiver_state(by, &name, state).await
            }
            Command::ReceiverResume { name } => {
                self.receiver_state(by, &name, DirectoryState::Active).await
            }
            Command::ReceiverRemove { name } => self.receiver_remove(by, &name).await,
            _ => self.list(by, "receiver/", "receiver-stream/").await,
        }
    }

    async fn receiver_add(
        &self,
        by: &PersonId,
        said: ReceiverRegistration,
    ) -> Result<Value, AdminError> {
        said.checked()?;
        let name: SourceName = said.name.parse().map_err(AdminError::invalid)?;
        let ReceiverRegistration { audience, covers, issuer, push_host, algorithm, .. } = said;
        let key = said.key;
        let token = said.token.map(|token| token.checked(self.now())).transpose()?;
        let mut draft = self.draft(by, ACT, ResourceRef::Deployment).await?;
        let keeps = match &key {
            Some(key) => self.of_receiver(&mut draft, &name, (key, None)).await?,
            None => None,
        };
        are_known(&mut draft, &covers).await?;
        self.is_heard(issuer.as_deref()).await?;
        let all = authority::all::<Receiver>(self.authority.pip().store(), "receiver/").await;
        let all = all.map_err(AdminError::unavailable)?;
        if all.len() >= RECEIVERS_MAX {
            return Err(AdminError::Conflict(format!(
                "there are {RECEIVERS_MAX} receivers already"
            )));
        }
        // What is for one would be for the other, too.
        if let Some(other) = all.iter().find(|other| other.audience == audience) {
            let why = format!("`{audience}` is the audience of `{}`", other.name);
            return Err(AdminError::Conflict(why));
        }
        // Of two that are registered at once it is the first one's.
        let audience_is_its = put_new(FactKey::receiver_audience(&audience), &name);
        let (registered, state) = (self.now(), DirectoryState::Active);
        let receiver = Receiver {
            name: name.clone(),
            audience,
            covers,
            issuer,
            push_host,
            algorithm,
            key,
            registered,
            state,
        };
        let tokens = DirectoryTokens(token.into_iter().collect());
        let mut effects = vec![
            audience_is_its,
            put_new(FactKey::receiver(&name), &receiver),
            put_new(FactKey::receiver_tokens(&name), &tokens),
        ];
        effects.extend(keeps);
        let change = json!(receiver);
        let done = match algorithm {
            EventAlgorithm::Es256 => draft.make(change, effects).await?,
            EventAlgorithm::Rs256 => self.make_with_event_key(draft, (change, effects)).await?,
        };
        Ok(json!({ "receiver": name, "decision": done.decision }))
    }

    /// Says anew of whom a receiver is told.
    async fn receiver_cover(
        &self,
        by: &PersonId,
        name: &str,
        covers: Covers,
    ) -> Result<Value, AdminError> {
        let name: SourceName = name.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, ACT, ResourceRef::Deployment).await?;
        are_known(&mut draft, &covers).await?;
        let receiver = Receiver { covers, ..registered(&mut draft, &name).await? };
        let effects = vec![put(FactKey::receiver(&name), &receiver)];
        let done = draft.make(json!(receiver), effects).await?;
        Ok(json!({ "receiver": name, "covers": receiver.covers, "decision": done.decision }))
    }

    /// Says anew by which issuer's streams a receiver tells us, if by any.
    async fn receiver_issuer(
        &self,
        by: &PersonId,
        name: &str,
        issuer: Option<String>,
    ) -> Result<Value, AdminError> {
        let name: SourceName = name.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, ACT, ResourceRef::Deployment).await?;
        self.is_heard(issuer.as_deref()).await?;
        let receiver = Receiver { issuer, ..registered(&mut draft, &name).await? };
        let effects = vec![put(FactKey::receiver(&name), &receiver)];
        let done = draft.make(json!(receiver), effects).await?;
        Ok(json!({ "receiver": name, "issuer": receiver.issuer, "decision": done.decision }))
    }

    /// That there is a stream of `issuer`, if one is named: of one that is misspelt nothing would be kept back.
    async fn is_heard(&self, issuer: Option<&str>) -> Result<(), AdminError> {
        if let Some(issuer) = issuer
            && self.streams_of(issuer).await?.is_empty()
        {
            return Err(AdminError::Missing(format!("stream of `{issuer}`")));
        }
        Ok(())
    }

    /// Gives a receiver another key, or none, or says anew what the one that it has is for; what it got before
    /// counts no longer.
    async fn receiver_key(
        &self,
        by: &PersonId,
        name: &str,
        key: Option<ReceiverKey>,
    ) -> Result<Value, AdminError> {
        let name: SourceName = name.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, ACT, ResourceRef::Deployment).await?;
        let receiver = registered(&mut draft, &name).await?;
        let mut effects = vec![Effect::Remove { key: FactKey::receiver_granted(&name) }];
        if let Some(key) = &key {
            let present = receiver.key.as_ref();
            effects.extend(self.of_receiver(&mut draft, &name, (key, present)).await?);
        }
        let receiver = Receiver { key, ..receiver };
        effects.push(put(FactKey::receiver(&name), &receiver));
        let done = draft.make(json!(receiver), effects).await?;
        Ok(json!({ "receiver": name, "key": receiver.key, "decision": done.decision }))
    }

    /// What makes `key` that of the receiver `name` alone, if it is not the `present` one.
    async fn of_receiver(
        &self,
        draft: &mut Draft<'_>,
        name: &SourceName,
        (key, present): (&ReceiverKey, Option<&ReceiverKey>),
    ) -> Result<Option<Effect>, AdminError> {
        ends_in_time(key.expires, self.now())?;
        let verifies = VerifyingKey::from_jwk(&key.jwk).map_err(AdminError::invalid)?;
        let present = present.and_then(|present| VerifyingKey::from_jwk(&present.jwk).ok());
        if present.is_some_and(|present| present.thumbprint() == verifies.thumbprint()) {
            return Ok(None);
        }
        let owner = FactKey::receiver(name);
        self.own_key(&mut draft.reader, &verifies, owner).await.map(Some)
    }

    async fn receiver_state(
        &self,
        by: &PersonId,
        name: &str,
        state: DirectoryState,
    ) -> Result<Value, AdminError> {
        let name: SourceName = name.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, ACT, ResourceRef::Deployment).await?;
        let receiver = Receiver { state, ..registered(&mut draft, &name).await? };
        let mut effects = vec![put(FactKey::receiver(&name), &receiver)];
        if receiver.is_active() {
            // Whoever lets it go on knows that it is back; and while it was suspended it was told nothing that
            // it could have acknowledged.
            let stream = draft.reader.find::<ReceiverStream>(FactKey::receiver_stream(&name)).await;
            let stream = stream.map_err(AdminError::unavailable)?;
            effects.extend(stream.map(|stream| {
                let since = self.now();
                let goes_on = if is_gone(&stream) {
                    let (status, reason) = (TellingStatus::Enabled, None);
                    ReceiverStream { status, since, reason, ..stream }
                } else {
                    ReceiverStream { since, ..stream }
                };
                put(FactKey::receiver_stream(&name), &goes_on)
            }));
        } else {
            effects.push(Effect::Remove { key: FactKey::receiver_granted(&name) });
        }
        let done = draft.make(json!(receiver), effects).await?;
        Ok(json!({ "receiver": name, "state": receiver.state, "decision": done.decision }))
    }

    async fn receiver_remove(&self, by: &PersonId, name: &str) -> Result<Value, AdminError> {
        let name: SourceName = name.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, ACT, ResourceRef::Deployment).await?;
        let receiver = registered(&mut draft, &name).await?;
        let own = [
            FactKey::receiver(&name),
            FactKey::receiver_tokens(&name),
            FactKey::receiver_granted(&name),
            FactKey::receiver_audience(&receiver.audience),
        ];
        // Whose its key was stays known: it does not come back, and is no other's.
        let removed = own.into_iter().chain(of_stream(&name));
        let effects = removed.map(|key| Effect::Remove { key }).collect();
        let change = json!({ "receiver": receiver, "removed": true });
        let done = draft.make(change, effects).await?;
        Ok(json!({ "receiver": name, "removed": true, "decision": done.decision }))
    }

    /// The receiver whose token this is, if it is one that counts.
    pub(super) async fn known_receiver(&self, token: &str) -> Result<Option<Known>, AdminError> {
        let Some(name) = named_in(token) else { return Ok(None) };
        let mut reader = self.reader();
        // Those that somebody gave it, and those that it got for itself.
        for place in [FactKey::receiver_tokens(&name), FactKey::receiver_granted(&name)] {
            let token = (token, self.now());
            if let Some(shown) = shown_token(&mut reader, place.clone(), token).await? {
                let receiver = active(&mut reader, &name).await?;
                let (may_manage, shown) = (!shown.read_only, shown.digest);
                return Ok(receiver.map(|_| Known { name, may_manage, place, shown }));
            }
        }
        Ok(None)
    }
}

/// The receiver `name`, if there is one that counts.
pub(super) async fn active(
    reader: &mut Reader<'_>,
    name: &SourceName,
) -> Result<Option<Receiver>, AdminError> {
    let receiver = reader.find::<Receiver>(FactKey::receiver(name)).await;
    Ok(receiver.map_err(AdminError::unavailable)?.filter(Receiver::is_active))
}

async fn registered(draft: &mut Draft<'_>, name: &SourceName) -> Result<Receiver, AdminError> {
    known::<Receiver>(&mut draft.reader, FactKey::receiver(name), &format!("receiver `{name}`"))
        .await
}

/// Where all is that is kept of the stream of the receiver `name`.
pub(super) fn of_stream(name: &SourceName) -> [FactKey; 3] {
    [FactKey::receiver_stream(name), FactKey::telling(name), FactKey::receiver_secret(name)]
}

/// Whether there are the agents that are named: of one that is misspelt nobody would be told.
async fn are_known(draft: &mut Draft<'_>, covers: &Covers) -> Result<(), AdminError> {
    let Covers::These(agents) = covers else { return Ok(()) };
    if agents.len() > COVERED_MAX {
        let why = format!("a receiver is told of {COVERED_MAX} agents by name at most, or of all");
        return Err(AdminError::Invalid(why));
    }
    for name in agents {
        let found = draft.reader.find::<Agent>(FactKey::agent(name)).await;
        if found.map_err(AdminError::unavailable)?.is_none() {
            return Err(AdminError::Missing(format!("agent `{name}`")));
        }
    }
    Ok(())
}

/// Whether `stream` was paused as its receiver was gone.
fn is_gone(stream: &ReceiverStream) -> bool {
    stream.status == TellingStatus::Paused && stream.reason.as_deref() == Some(GONE)
}
