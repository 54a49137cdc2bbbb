//! Who acts, where all who come look alike: who signed a word for just this. And who may not, because it
//! takes another.

use authority::{CommitError, Effect, OnceScope, Reader, Refused, Unit};
use keys::VerifyingKey;
use model::{FactKey, Person, PersonId, Sha256Digest, Thumbprint, Timestamp};
use oauth::word;
use serde_json::Value;

use crate::command::{AdminError, Administration};
use crate::founding::{BOOTSTRAP, founder_key, is_for_development, replaced};

/// Who acts, with what their word uses up, if they gave one.
pub(crate) type Acting = (PersonId, Vec<Effect>);

impl Administration {
    /// Who acts: `by`, or whoever signed `word`, if that asks for just what is `asked`.
    pub(crate) async fn acting(
        &self,
        by: &PersonId,
        word: Option<&str>,
        asked: &Value,
    ) -> Result<Acting, AdminError> {
        let Some(word) = word else { return Ok((by.clone(), Vec::new())) };
        let signer = self.signer(word, asked).await;
        let (by, uses) = signer.inspect_err(|_| self.note_refused("word_refused"))?;
        Ok((by, uses.into()))
    }

    /// The same, where two people are to act: outside a deployment for development the service's own user
    /// is neither of them, as whoever is that user and holds a founder's key would be both.
    pub(crate) async fn acting_as_one(
        &self,
        by: &PersonId,
        word: Option<&str>,
        asked: &Value,
    ) -> Result<Acting, AdminError> {
        let is_anybody = word.is_none() && by.as_str() == BOOTSTRAP;
        if is_anybody && !is_for_development(self.authority.journal()).await? {
            self.note_refused("word_missing");
            let why =
                "not permitted: a founder signs for this; say which one with `--as` and `--key`";
            return Err(AdminError::Refused(why.to_owned()));
        }
        self.acting(by, word, asked).await
    }

    /// What was `done`; a word that led to nothing is used up: it is kept for no better moment.
    pub(crate) async fn settled(
        &self,
        done: Result<Value, AdminError>,
        uses: Vec<Effect>,
    ) -> Result<Value, AdminError> {
        if done.is_ok() || uses.is_empty() {
            return done;
        }
        let unit = Unit { effects: uses, ..Unit::default() };
        match self.authority.journal().store().commit(unit).await {
            // By a key that was replaced meanwhile nobody is known any more.
            Ok(_) | Err(CommitError::Used(_) | CommitError::Exists { .. }) => done,
            Err(error) => Err(AdminError::unavailable(error)),
        }
    }

    /// That somebody wants to do alone what takes two, recorded as `cause`.
    pub(crate) fn takes_another(&self, cause: &'static str) -> AdminError {
        self.note_refused(cause);
        let why = "not permitted: nobody approves what they asked for themselves";
        AdminError::Refused(why.to_owned())
    }

    fn note_refused(&self, cause: &'static str) {
        let place = ("administration", cause);
        self.authority.record_refusal(&self.refusals, place, Refused::default());
    }

    /// Who signed `word`, if that asks for just what is `asked`, and what using it uses up. Whatever is
    /// wrong with it, the answer is the same.
    async fn signer(
        &self,
        word: &str,
        asked: &Value,
    ) -> Result<(PersonId, [Effect; 2]), AdminError> {
        let refused = || {
            let why = "not permitted: it is not signed by an administrator whose key is known";
            AdminError::Refused(why.to_owned())
        };
        let claimed = word::claimed(word).and_then(|person| person.parse::<PersonId>().ok());
        let by = claimed.ok_or_else(refused)?;
        let jwk = self.reader().find::<Value>(founder_key(&by)).await;
        let jwk = jwk.map_err(AdminError::unavailable)?.ok_or_else(refused)?;
        let key = VerifyingKey::from_jwk(&jwk).map_err(|_| refused())?;
        let parties = (by.as_str(), self.issuer.as_str());
        let read = word::verify(word, parties, &key, self.now().as_seconds());
        let read = read.map_err(|_| refused())?;
        if read.command != *asked {
            return Err(refused());
        }
        let id = Sha256Digest::of(&[&key.thumbprint(), read.jti.as_bytes()].concat());
        let expires = Timestamp::from_seconds(read.exp + word::LIFETIME_MAX_S);
        // A key that is replaced signs nothing from that commit on.
        let stands = Effect::Lacks { key: replaced(&key) };
        let uses = Effect::UseOnce { scope: OnceScope::Word, id: *id.as_bytes(), expires };
        Ok((by, [stands, uses]))
    }
}

/// The key by which `by` is known, if by one. Read as a part of what they sign by it, it is that until it is done.
pub(crate) async fn key_of(
    reader: &mut Reader<'_>,
    by: &PersonId,
) -> Result<Option<Thumbprint>, AdminError> {
    let jwk = reader.find::<Value>(founder_key(by)).await.map_err(AdminError::unavailable)?;
    let key = jwk.map(|jwk| VerifyingKey::from_jwk(&jwk)).transpose();
    let key = key.map_err(AdminError::unavailable)?;
    Ok(key.map(|key| Thumbprint::from_bytes(key.thumbprint())))
}

/// Whether `by` still stands behind what they asked for `at` that time, known by `key`, and which waits: they answer
/// for it, and that is still their key. What time it was when it was taken from them is no matter: clocks are corrected.
pub(crate) async fn stands_behind(
    reader: &mut Reader<'_>,
    (by, at): (&PersonId, Timestamp),
    key: Option<Thumbprint>,
) -> Result<bool, AdminError> {
    let is_theirs = key.is_none() || key_of(reader, by).await? == key;
    Ok(is_theirs && answers_for(reader, (by, at)).await?)
}

/// Whether `by` still answers for what they did `at` that time.
pub(crate) async fn answers_for(
    reader: &mut Reader<'_>,
    (by, at): (&PersonId, Timestamp),
) -> Result<bool, AdminError> {
    let person = reader.find::<Person>(FactKey::person(by)).await;
    let person = person.map_err(AdminError::unavailable)?;
    Ok(person.is_some_and(|person| person.answers_for(at)))
}
