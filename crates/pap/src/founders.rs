//! Who signs, after the founding: two founders make another one, or give one another key, and whoever's key is gone
//! signs nothing any more.
//!
//! INVARIANT: nobody becomes a founder, or has another key, by one person at once, by themselves, or by the service's
//! own user; and neither of the two who want it could take the key for themselves, as each knows half of the code
//! (`r_39_nobody_becomes_a_founder_by_one_alone`). A deployment for development has one administrator, who does.

use std::time::Duration;

use authority::{Effect, Reader};
use keys::VerifyingKey;
use model::{
    FORMER_KEYS_MAX, FOUNDER_WAITS, FactKey, FormerKeys, FounderAsked, FounderChange, Person,
    PersonId, PersonState, ResourceRef, Sha256Digest, Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::asked::Command;
use crate::command::{AdminError, Administration, Draft};
use crate::founding::{
    CODES, Code, FOUNDER_KEYS, administrators, code_key, founder_key, is_for_development, joined,
    replaced,
};
use crate::register::{known, put, put_new};
use crate::sponsor::check_reason;
use crate::widening;
use crate::words::{Acting, key_of, stands_behind};

/// How the places of what waits begin.
const ASKED: &str = "founder-asked/";

/// How many are left who sign, at least: with fewer nobody could agree that there is another.
const LEFT_MIN: usize = 2;

/// What a founder says of who is to have a key.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the members are those of the command line, documented there")]
pub struct FounderSaid {
    pub id: String,
    /// The digest of the half of the code that whoever says this keeps.
    #[schemars(with = "String")]
    pub code: Sha256Digest,
    pub reason: String,
}

/// What somebody signs by, what waits of them, and the codes for which they would get a key.
struct Signs {
    asked: Option<FounderAsked>,
    key: Option<Value>,
    former: FormerKeys,
    codes: Vec<(FactKey, Code)>,
}

impl Administration {
    pub(crate) async fn founders(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        match command {
            Command::FounderRedeem { code, key } => self.redeem(by, &code, &key).await,
            Command::FounderAdd { said, word } => {
                self.founder_change(by, (FounderChange::Add, said), word).await
            }
            Command::FounderRekey { said, word } => {
                self.founder_change(by, (FounderChange::Rekey, said), word).await
            }
            Command::FounderRemove { id, reason } => self.founder_remove(by, &id, reason).await,
            Command::FounderWithdraw { id, reason } => self.founder_withdraw(by, &id, reason).await,
            _ => self.founder_list(by).await,
        }
    }

    async fn founder_change(
        &self,
        by: &PersonId,
        (change, said): (FounderChange, FounderSaid),
        word: Option<String>,
    ) -> Result<Value, AdminError> {
        let id: PersonId = said.id.parse().map_err(AdminError::invalid)?;
        check_reason(&said.reason)?;
        // Who signs does so beside what waits as they were shown it, or as the first.
        let waits = self.reader().find::<FounderAsked>(FactKey::founder_asked(&id)).await;
        let waits = waits.map_err(AdminError::unavailable)?;
        let signed = json!({ "do": change.command(), "said": said, "waits": waits });
        let (by, uses) = self.acting_as_one(by, word.as_deref(), &signed).await?;
        let done = self.founder_changed((by, uses.clone()), (change, id), (said, waits)).await;
        self.settled(done, uses).await
    }

    /// Keeps what the first founder asks for. Of the second, or once it has waited long enough, a code comes for which
    /// a key is registered; the one before signs nothing from now on.
    async fn founder_changed(
        &self,
        (by, mut effects): Acting,
        (change, id): (FounderChange, PersonId),
        (said, waits): (FounderSaid, Option<FounderAsked>),
    ) -> Result<Value, AdminError> {
        let target = ResourceRef::Person(id.clone());
        let mut draft = self.draft(&by, change.action(), target).await?;
        if by == id {
            return Err(self.takes_another("asked_for_an_own_key"));
        }
        let now = self.now();
        let of = self.signs(&mut draft.reader, &id).await?;
        let gone = may_change(&mut draft.reader, &of, (change, &id)).await?;
        if of.asked != waits {
            let why = "what waits changed meanwhile: look again";
            return Err(AdminError::Conflict(why.to_owned()));
        }
        let is_this = |it: &FounderAsked| it.change == change && it.gone == gone && it.waits(now);
        let first = self.asked_before(&mut draft, waits.filter(is_this)).await?;
        let alone = alone_after(&mut draft.reader, change, now).await?;
        if first.as_ref().is_some_and(|first| !first.is_agreed(&by, (now, alone))) {
            return Err(self.takes_another("asked_by_the_same_person"));
        }
        if first.is_none() && !is_for_development(self.authority.journal()).await? {
            let alone_from = alone.map(|alone| now.plus(alone));
            let key = key_of(&mut draft.reader, &by).await?;
            let FounderSaid { code, reason, .. } = said;
            let (founder, by, at) = (id, by.clone(), now);
            let asked =
                FounderAsked { founder, change, code, reason, by, key, at, alone_from, gone };
            effects.push(put(FactKey::founder_asked(&asked.founder), &asked));
            let done = draft.make(json!({ "asked": asked }), effects).await?;
            let alone_from = asked.alone_from.map(|from| from.to_string());
            return Ok(json!({
                "waits": asked.founder, "for": "another founder", "alone_from": alone_from,
                "until": asked.until().to_string(), "decision": done.decision,
            }));
        }
        let code = first.as_ref().map_or(said.code, |first| joined(&first.code, &said.code));
        let until = now.plus(FOUNDER_WAITS);
        let told = json!({
            "founder": id, "reason": said.reason, "asked": first, "key": of.key, "gone": gone,
        });
        effects.extend(of.ended(&id, now));
        let kept = Code { founder: id.clone(), until: Some(until), change: Some(change), gone };
        effects.push(put_new(code_key(&code), &kept));
        let done = draft.make(told, effects).await?;
        Ok(json!({
            "founder": id, "redeems_until": until.to_string(), "decision": done.decision,
        }))
    }

    /// What was asked for before, if whoever asked still stands behind it and may.
    async fn asked_before(
        &self,
        draft: &mut Draft<'_>,
        waits: Option<FounderAsked>,
    ) -> Result<Option<FounderAsked>, AdminError> {
        let Some(first) = waits else { return Ok(None) };
        if !stands_behind(&mut draft.reader, (&first.by, first.at), first.key).await? {
            return Ok(None);
        }
        let target = ResourceRef::Person(first.founder.clone());
        let may = draft.includes((&first.by).into(), first.change.action(), target).await?;
        Ok(may.is_ok().then_some(first))
    }

    /// What is taken from `id`, for that reason: nothing is decided yet.
    async fn taking_away<'a>(
        &'a self,
        by: &'a PersonId,
        id: &str,
        reason: &str,
    ) -> Result<(PersonId, Draft<'a>), AdminError> {
        let id: PersonId = id.parse().map_err(AdminError::invalid)?;
        check_reason(reason)?;
        let target = ResourceRef::Person(id.clone());
        let draft = self.draft(by, "founder/remove", target).await?;
        Ok((id, draft))
    }

    /// From now on somebody signs nothing and administers nothing: one person suffices, as it only takes away.
    async fn founder_remove(
        &self,
        by: &PersonId,
        id: &str,
        reason: String,
    ) -> Result<Value, AdminError> {
        let (id, mut draft) = self.taking_away(by, id, &reason).await?;
        let place = FactKey::person(&id);
        let was = known::<Person>(&mut draft.reader, place, &format!("person `{id}`")).await?;
        let of = self.signs(&mut draft.reader, &id).await?;
        if of.key.is_none() && of.codes.is_empty() {
            return Err(AdminError::Missing(format!("founder `{id}`")));
        }
        if of.key.is_some() {
            self.are_enough_without(&mut draft.reader, &id).await?;
        }
        let (mut person, now) = (was.clone(), self.now());
        person.waits.joins.remove(&administrators());
        if person.groups.remove(&administrators()) {
            person.moved = Some(now);
        }
        person.joined.remove(&administrators());
        // Also where somebody else took it from them before: undoing that gives it back to nobody.
        person.narrowed = Some(now);
        let change = json!({
            "founder": id, "reason": reason, "key": of.key, "person": person, "was": was,
        });
        for stranger in widening::brief(&was, &person, now) {
            draft.note_found(stranger).await?;
        }
        let mut effects = widening::written(&person);
        effects.extend(of.ended(&id, now));
        let done = draft.make(change, effects).await?;
        Ok(json!({ "removed": id, "decision": done.decision }))
    }

    /// Takes back what waits: one person suffices for that, too.
    async fn founder_withdraw(
        &self,
        by: &PersonId,
        id: &str,
        reason: String,
    ) -> Result<Value, AdminError> {
        let (id, mut draft) = self.taking_away(by, id, &reason).await?;
        let place = FactKey::founder_asked(&id);
        let what = format!("key for `{id}` that waits");
        let asked = known::<FounderAsked>(&mut draft.reader, place.clone(), &what).await?;
        let change = json!({ "withdrawn": asked, "reason": reason });
        let done = draft.make(change, vec![Effect::Remove { key: place }]).await?;
        Ok(json!({ "withdrawn": id, "decision": done.decision }))
    }

    /// Who signs, who could redeem a code, and what waits.
    async fn founder_list(&self, by: &PersonId) -> Result<Value, AdminError> {
        self.may_read(by, FOUNDER_KEYS).await?;
        let (mut rows, mut pages) = (Vec::new(), self.pages(FOUNDER_KEYS));
        while let Some(facts) = pages.next().await.map_err(AdminError::unavailable)? {
            rows.extend(facts.iter().map(|(place, body)| {
                let id = place.as_str().strip_prefix(FOUNDER_KEYS);
                let key = serde_json::from_slice(body).ok();
                let key = key.and_then(|jwk: Value| VerifyingKey::from_jwk(&jwk).ok());
                json!({ "founder": id, "key": key.map(|key| key.thumbprint_text()) })
            }));
        }
        let store = self.authority.pip().store();
        let codes = authority::all::<Code>(store, CODES).await.map_err(AdminError::unavailable)?;
        let codes = codes.into_iter();
        rows.extend(codes.map(|it| json!({ "founder": it.founder, "redeems_until": it.until })));
        let asked = authority::all::<FounderAsked>(store, ASKED).await;
        let asked = asked.map_err(AdminError::unavailable)?.into_iter();
        rows.extend(asked.map(|it| json!({ "founder": it.founder, "waits": it })));
        Ok(Value::Array(rows))
    }

    /// Whether enough administer and sign without `id`, on which what is done then rests.
    async fn are_enough_without(
        &self,
        reader: &mut Reader<'_>,
        id: &PersonId,
    ) -> Result<(), AdminError> {
        let mut left = 0;
        for person in self.signers().await?.iter().filter(|person| person.id != *id) {
            let key = reader.find::<Value>(founder_key(&person.id)).await;
            let found = reader.find::<Person>(FactKey::person(&person.id)).await;
            let found = found.map_err(AdminError::unavailable)?;
            let is_there =
                found.is_some_and(|it| it.is_active() && it.groups.contains(&administrators()));
            left += usize::from(key.map_err(AdminError::unavailable)?.is_some() && is_there);
        }
        if left >= LEFT_MIN {
            return Ok(());
        }
        let why = format!(
            "without `{id}` fewer than {LEFT_MIN} sign who administer, and nobody else could be added: add somebody first; \
             `person deactivate` stops them at once, and `founder rekey` brings them back by another key"
        );
        Err(AdminError::Invalid(why))
    }

    /// What `id` signs by, on which what is done then rests. A code that comes meanwhile comes of what waits, which is
    /// read before codes are listed.
    async fn signs(&self, reader: &mut Reader<'_>, id: &PersonId) -> Result<Signs, AdminError> {
        let asked = reader.find::<FounderAsked>(FactKey::founder_asked(id)).await;
        let asked = asked.map_err(AdminError::unavailable)?;
        let key = reader.find::<Value>(founder_key(id)).await.map_err(AdminError::unavailable)?;
        let former = reader.find::<FormerKeys>(FactKey::former_keys(id)).await;
        let former = former.map_err(AdminError::unavailable)?.unwrap_or_default();
        let (mut codes, mut pages) = (Vec::new(), self.pages(CODES));
        while let Some(facts) = pages.next().await.map_err(AdminError::unavailable)? {
            for (place, body) in facts {
                let code: Code = serde_json::from_slice(&body).map_err(AdminError::unavailable)?;
                if code.founder == *id {
                    let found = reader.find::<Code>(place.clone()).await;
                    codes.extend(found.map_err(AdminError::unavailable)?.map(|code| (place, code)));
                }
            }
        }
        Ok(Signs { asked, key, former, codes })
    }
}

impl Signs {
    /// Whether they were a founder before what waits of them now: whom two only want to make one is none until they
    /// have a key.
    fn is_founder(&self) -> bool {
        let is_of_one = |(_, code): &(FactKey, Code)| code.change != Some(FounderChange::Add);
        self.key.is_some() || self.codes.iter().any(is_of_one)
    }

    /// What is written so that nothing of it counts from `now` on: neither what they sign, nor what waits, nor a code.
    fn ended(self, id: &PersonId, now: Timestamp) -> Vec<Effect> {
        let Self { asked: _, key, former: FormerKeys(mut former), codes } = self;
        let codes = codes.into_iter().map(|(key, _)| key);
        let places = codes.chain([FactKey::founder_asked(id)]);
        let mut effects: Vec<_> = places.map(|key| Effect::Remove { key }).collect();
        if let Some(key) = key {
            let mark = VerifyingKey::from_jwk(&key).map(|key| put(replaced(&key), &now));
            effects.extend(mark);
            effects.push(Effect::Remove { key: founder_key(id) });
            former.push(key);
            effects.push(put(FactKey::former_keys(id), &FormerKeys(former)));
        }
        effects
    }
}

/// Whether what is asked for makes sense of a person who signs as `of` says; since when they are gone, if they are.
async fn may_change(
    reader: &mut Reader<'_>,
    of: &Signs,
    (change, id): (FounderChange, &PersonId),
) -> Result<Option<Timestamp>, AdminError> {
    let person = known::<Person>(reader, FactKey::person(id), &format!("person `{id}`")).await?;
    let gone = match person.state {
        PersonState::Active { .. } => None,
        PersonState::Inactive { since } => Some(since),
    };
    let had_all = of.former.0.len() >= FORMER_KEYS_MAX;
    let why = match change {
        _ if had_all => format!("`{id}` had {FORMER_KEYS_MAX} keys before, and gets no other"),
        FounderChange::Add if of.key.is_some() => {
            format!("`{id}` is a founder: `founder rekey` gives them another key")
        }
        FounderChange::Add if gone.is_some() => format!("`{id}` is not active"),
        FounderChange::Rekey if !of.is_founder() => {
            format!("`{id}` is no founder: `founder add` makes them one")
        }
        FounderChange::Add | FounderChange::Rekey => return Ok(gone),
    };
    Err(AdminError::Invalid(why))
}

/// How long one founder waits at `now` to do it alone, if ever: where a key is lost, as long as what widens waits
/// otherwise, and a day at least.
async fn alone_after(
    reader: &mut Reader<'_>,
    change: FounderChange,
    now: Timestamp,
) -> Result<Option<Duration>, AdminError> {
    if change != FounderChange::Rekey {
        return Ok(None);
    }
    let rule = widening::rule(reader).await.map_err(AdminError::unavailable)?;
    Ok(rule.alone_after(now))
}
