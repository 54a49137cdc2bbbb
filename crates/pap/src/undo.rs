//! A mistaken signal is undone: one person asks and names the event, another approves it, and whom it
//! suspended is back, whom it moved is where they were, whom it rated is rated as before. What was granted to
//! who is back stays dead, and ended sessions stay ended.
//!
//! INVARIANT: nobody is brought back by fewer than two people, nor whom anything but the event that is named
//! sent away (`sc_02_a_mistake_is_undone_by_two_and_brings_back_nobody_else`).

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use authority::{Effect, Reader};
use model::record::{AdministrationRecord, Verdict};
use model::{
    FactKey, Gone, Mistake, Person, PersonId, PersonState, RecordId, ResourceRef, ScimResource,
    SignalMark, SourceName, Speaker, Suspended, Timestamp, UNDO_AGE_MAX, UNDO_WAITS, UNDONE_MAX,
    Undo, UndoState,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::asked::Command;
use crate::command::{AdminError, Administration, Draft};
use crate::directory::{group_name, kept_of, restored_user};
use crate::founding::is_for_development;
use crate::log::Disclosed;
use crate::register::{known, put, put_new};
use crate::sponsor::REASON_MAX;
use crate::widening;
use crate::words::{Acting, key_of, stands_behind};

/// How many people are looked at in one commit: of each, three facts are read and written.
const PART: usize = 16;

/// How many facts are written before no more people are looked at: one for each group in which somebody is
/// again, or no longer.
const WRITTEN: usize = 256;

/// The most records of one page.
const PAGE: usize = 1_000;

/// How long what a directory asks for takes at most: by then what it took away is recorded.
const TAKES_MAX: Duration = Duration::from_mins(1);

/// How much later than it says something may have happened that is told by the second.
const SECOND: Duration = Duration::from_secs(1);

/// How often a part is tried again whose people changed meanwhile.
const ATTEMPTS_MAX: usize = 3;

/// What somebody wants undone: what one record tells, or what was told for a time.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the members are those of the command line, documented there")]
pub struct UndoAsked {
    pub record: Option<String>,
    pub directory: Option<String>,
    pub stream: Option<String>,
    #[schemars(with = "Option<i64>")]
    pub from: Option<Timestamp>,
    #[schemars(with = "Option<i64>")]
    pub until: Option<Timestamp>,
    pub reason: String,
}

/// What a record tells that somebody made of a person.
struct Told {
    at: Timestamp,
    directory: SourceName,
    speaker: Speaker,
    /// As they were; not in records of before that was kept.
    was: Option<Person>,
    is: Person,
    /// That they are gone by it.
    gone: Option<Gone>,
}

impl Administration {
    pub(crate) async fn undoing(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        match command {
            Command::SignalUndo { asked, word } => {
                let said = json!({ "do": "signal-undo", "asked": asked });
                let (by, uses) = self.acting_as_one(by, word.as_deref(), &said).await?;
                let done = self.undo_asked((by, uses.clone()), asked).await;
                self.settled(done, uses).await
            }
            Command::SignalApprove { id, word } => {
                let id: RecordId = id.parse().map_err(AdminError::invalid)?;
                let found = self.reader().find::<Undo>(FactKey::undo(id)).await;
                let digest = found.map_err(AdminError::unavailable)?.map(|undo| undo.digest());
                let said = json!({ "do": "signal-approve", "id": id, "digest": digest });
                let (by, uses) = self.acting_as_one(by, word.as_deref(), &said).await?;
                let done = self.undo_approved((by, uses.clone()), id).await;
                self.settled(done, uses).await
            }
            _ => self.list(by, "undo/", "").await,
        }
    }

    /// Keeps whom an event suspended until somebody approves that they are back.
    async fn undo_asked(
        &self,
        (by, mut effects): Acting,
        asked: UndoAsked,
    ) -> Result<Value, AdminError> {
        if asked.reason.is_empty() || asked.reason.len() > REASON_MAX {
            let why = format!("say why, in at most {REASON_MAX} bytes");
            return Err(AdminError::Invalid(why));
        }
        let event = asked.event()?;
        let mut draft = self.draft(&by, "signal/undo", ResourceRef::Deployment).await?;
        let told = self.told_by(&event).await?;
        let nobody = || AdminError::Invalid("nobody was suspended by that".to_owned());
        let first = told.first().ok_or_else(nobody)?;
        let now = self.now();
        if now > first.at.plus(UNDO_AGE_MAX) {
            let days = UNDO_AGE_MAX.as_secs() / (24 * 3_600);
            let why = format!("what was told more than {days} days ago is not undone any more");
            return Err(AdminError::Invalid(why));
        }
        let key = key_of(&mut draft.reader, &by).await?;
        let mut undo = Undo {
            id: RecordId::new(now, self.authority.entropy().as_ref()),
            event,
            speaker: first.speaker.clone(),
            directory: first.directory.clone(),
            people: suspended(&told),
            reason: asked.reason,
            asked_by: by.clone(),
            key,
            asked: now,
            state: UndoState::Asked,
        };
        let mut all = BTreeMap::new();
        // Nobody has themselves brought back.
        for (id, how) in undo.people.iter().filter(|(id, _)| **id != by) {
            // Read beside the act: it is looked at again when it is approved.
            let (person, mark) = person_and_mark(&mut self.reader(), &undo.directory, id).await?;
            if person.is_some_and(|person| undo.restored(&person, &mark, now).is_some()) {
                all.insert(id.clone(), how.clone());
            }
        }
        if all.is_empty() {
            return Err(nobody());
        }
        if all.len() > UNDONE_MAX {
            let why = format!(
                "it suspended {}: at most {UNDONE_MAX} are brought back at once, so name a shorter time",
                all.len()
            );
            return Err(AdminError::Invalid(why));
        }
        undo.people = all;
        effects.push(put_new(FactKey::undo(undo.id), &undo));
        let done = draft.make(json!(undo), effects).await?;
        Ok(json!({
            "waits": undo.id, "for": "somebody else's approval", "people": undo.people.len(),
            "until": now.plus(UNDO_WAITS).to_string(), "decision": done.decision,
        }))
    }

    /// Approves what somebody else asked for, and brings back whom it names, part by part. What was cut short
    /// is gone on with by the same command.
    async fn undo_approved(
        &self,
        (by, mut uses): Acting,
        id: RecordId,
    ) -> Result<Value, AdminError> {
        let mut attempts = 0;
        loop {
            match self.undo_part((&by, uses.clone()), id).await {
                Ok((told, true)) => return Ok(told),
                Ok((_, false)) => (attempts, uses) = (0, Vec::new()),
                Err(AdminError::Conflict(_)) if attempts < ATTEMPTS_MAX => attempts += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Does one part; says whether that was the last.
    async fn undo_part(
        &self,
        (by, mut effects): (&PersonId, Vec<Effect>),
        id: RecordId,
    ) -> Result<(Value, bool), AdminError> {
        let mut draft = self.draft(by, "signal/approve", ResourceRef::Deployment).await?;
        let mut undo =
            known::<Undo>(&mut draft.reader, FactKey::undo(id), &format!("undoing `{id}`")).await?;
        let now = self.now();
        let (first, at, after, mut restored) = match &undo.state {
            UndoState::Asked => {
                self.may_approve(&mut draft.reader, &undo, (by, now)).await?;
                (by.clone(), now, None, 0)
            }
            UndoState::Approved { by, at, after, restored } => {
                (by.clone(), *at, Some(after.clone()), *restored)
            }
            UndoState::Done { .. } => {
                return Err(AdminError::Invalid(format!("`{id}` is undone already")));
            }
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = undo.people.range((from, Bound::Unbounded)).peekable();
        let (mut back, mut left_out, mut last) = (Vec::new(), Vec::new(), None);
        // Who waited too long stays as they are, and that is told at once of all of them.
        if undo.is_past(now) {
            left_out.extend(rest.by_ref().map(|(id, _)| id.clone()));
        }
        while back.len() + left_out.len() < PART && effects.len() < WRITTEN {
            let Some((id, _)) = rest.next() else { break };
            match restored_by(&mut draft, &undo, (id, now)).await? {
                Some(written) => {
                    effects.extend(written);
                    back.push(id.clone());
                }
                None => left_out.push(id.clone()),
            }
            last = Some(id);
        }
        restored += back.len();
        let after = last.filter(|_| rest.peek().is_some()).cloned();
        undo.state = match after {
            Some(after) => UndoState::Approved { by: first, at, after, restored },
            None => UndoState::Done { by: first, at, restored },
        };
        let is_last = matches!(undo.state, UndoState::Done { .. });
        effects.push(put(FactKey::undo(id), &undo));
        let change = json!({
            "undo": id, "event": undo.event, "reason": undo.reason, "asked_by": undo.asked_by,
            "restored": back, "left_out": left_out,
        });
        let done = draft.make(change, effects).await?;
        let told = json!({
            "undone": id, "restored": restored, "of": undo.people.len(), "decision": done.decision,
        });
        Ok((told, is_last))
    }

    /// Whether `by` may approve `undo`: somebody else asked for it, of late, and stands by it, and it does not
    /// bring back `by`.
    async fn may_approve(
        &self,
        reader: &mut Reader<'_>,
        undo: &Undo,
        (by, now): (&PersonId, Timestamp),
    ) -> Result<(), AdminError> {
        if undo.asked_by == *by && !is_for_development(self.authority.journal()).await? {
            return Err(self.takes_another("approved_by_the_same_person"));
        }
        if undo.people.contains_key(by) {
            return Err(self.takes_another("approved_by_who_is_brought_back"));
        }
        let asked = (&undo.asked_by, undo.asked);
        let is_wanted = stands_behind(reader, asked, undo.key).await?;
        if undo.waits(now) && is_wanted {
            return Ok(());
        }
        let why = format!("`{}` waits for nobody's approval any longer", undo.id);
        Err(AdminError::Invalid(why))
    }

    /// What `event` told of people, in order, as the log has it.
    async fn told_by(&self, event: &Mistake) -> Result<Vec<Told>, AdminError> {
        let store = self.authority.journal().store();
        if let Mistake::Record { record } = event {
            let (index, found) = self.found(&record.to_string()).await?;
            let found = serde_json::from_value(found).map_err(AdminError::invalid)?;
            return Ok(self.told_in(index, &found).await?.into_iter().collect());
        }
        let turn = self.reports.try_lock();
        let _turn = turn.map_err(|_| {
            AdminError::Unavailable("the whole log is being read already: ask again".to_owned())
        })?;
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            let entries = store.entries(from, PAGE).await.map_err(AdminError::unavailable)?;
            for entry in &entries {
                let record = serde_json::from_slice::<AdministrationRecord>(&entry.bytes);
                let Some(record) = record.ok().filter(|record| covers(event, record)) else {
                    continue;
                };
                let told = self.told_in(entry.index, &record).await?;
                all.extend(told.filter(|told| is_told_by(event, told)));
            }
            if entries.is_empty() {
                return Ok(all);
            }
            from += entries.len() as u64;
        }
    }

    /// What a directory, or a stream for it, made of a person with this record.
    async fn told_in(
        &self,
        index: u64,
        record: &AdministrationRecord,
    ) -> Result<Option<Told>, AdminError> {
        let is_told = ["person/provision", "person/restrict"].contains(&record.action.as_str());
        if !is_told || record.decision != Verdict::Permit {
            return Ok(None);
        }
        let Disclosed::Values(own) = self.disclosed(index, &record.commitments).await? else {
            return Ok(None);
        };
        let member = |name: &str, of: &str| {
            own.value(name).map(|value| value[of].clone()).unwrap_or_default()
        };
        let directory = serde_json::from_value::<SourceName>(member("directory", "name"));
        let person = |of: &str| serde_json::from_value::<Person>(member("change", of));
        let (Ok(directory), Ok(is), was) = (directory, person("person"), person("was").ok()) else {
            return Ok(None);
        };
        let (speaker, told) = match &record.signal {
            Some(signal) => (Speaker::stream(&signal.stream), signal.at.plus(SECOND)),
            None => (Speaker::directory(), record.time),
        };
        let gone = match is.state {
            // Records after it tell of them as gone too.
            PersonState::Inactive { since } if record.time.since(since) <= TAKES_MAX => {
                Some(Gone { since, told })
            }
            _ => None,
        };
        Ok(Some(Told { at: record.time, directory, speaker, was, is, gone }))
    }
}

/// Whom what was `told` suspended, each with how.
fn suspended(told: &[Told]) -> BTreeMap<PersonId, Suspended> {
    let mut all = BTreeMap::<_, Suspended>::new();
    for Told { speaker, was, is, gone, .. } in told {
        let how = all.entry(is.id.clone()).or_default();
        how.gone = gone.or(how.gone);
        if let Some(was) = was {
            how.follow(speaker, (was, is));
        }
    }
    all.into_iter().filter_map(|(id, how)| Some((id, how.settled()?))).collect()
}

/// Whether `record` may be of `event`.
fn covers(event: &Mistake, record: &AdministrationRecord) -> bool {
    match event {
        Mistake::Record { record: id } => *id == record.id,
        Mistake::Span { from, until, .. } => *from <= record.time && record.time <= *until,
    }
}

/// Whether who `event` names is who `told` it.
fn is_told_by(event: &Mistake, told: &Told) -> bool {
    match event {
        Mistake::Record { .. } => true,
        Mistake::Span { directory, stream, .. } => {
            let speaker = stream.as_ref().map_or_else(Speaker::directory, Speaker::stream);
            told.directory == *directory && told.speaker == speaker
        }
    }
}

impl UndoAsked {
    fn event(&self) -> Result<Mistake, AdminError> {
        let name = |name: &String| name.parse::<SourceName>().map_err(AdminError::invalid);
        let stream = self.stream.as_ref().map(name).transpose()?;
        match (&self.record, &self.directory, self.from, self.until) {
            (Some(record), None, None, None) if stream.is_none() => {
                Ok(Mistake::Record { record: record.parse().map_err(AdminError::invalid)? })
            }
            (None, Some(directory), Some(from), Some(until)) if from <= until => {
                Ok(Mistake::Span { directory: name(directory)?, stream, from, until })
            }
            _ => Err(AdminError::Invalid(
                "name a record, or a directory with the time from when until when it was wrong"
                    .to_owned(),
            )),
        }
    }
}

/// The person `id` of `directory`, and what was told of whether they are there.
async fn person_and_mark(
    reader: &mut Reader<'_>,
    directory: &SourceName,
    id: &PersonId,
) -> Result<(Option<Person>, SignalMark), AdminError> {
    let person = reader.find::<Person>(FactKey::person(id)).await;
    let mark = reader.find::<SignalMark>(FactKey::signal_mark(directory, id)).await;
    let mark = mark.map_err(AdminError::unavailable)?.unwrap_or_default();
    Ok((person.map_err(AdminError::unavailable)?, mark))
}

/// What makes the person `id` what they were before, as far as nothing but the event changed that.
async fn restored_by(
    draft: &mut Draft<'_>,
    undo: &Undo,
    (id, now): (&PersonId, Timestamp),
) -> Result<Option<Vec<Effect>>, AdminError> {
    let (reader, directory) = (&mut draft.reader, &undo.directory);
    let (person, mark) = person_and_mark(reader, directory, id).await?;
    let Some(was) = person else { return Ok(None) };
    let Some(mut is) = undo.restored(&was, &mark, now) else { return Ok(None) };
    let place = FactKey::scim_user(directory, id.as_str());
    let user = reader.find::<ScimResource>(place.clone()).await;
    // Whom the directory has no longer it could not send away again.
    let Some(user) = user.map_err(AdminError::unavailable)? else { return Ok(None) };
    let mut effects = regrouped(reader, directory, (&was, &mut is)).await?;
    if is == was {
        return Ok(None);
    }
    if is.is_active() && !was.is_active() {
        effects.push(put(FactKey::signal_mark(directory, id), &mark.undone()));
    }
    // What is so of them could not be told it.
    let Ok(resource) = restored_user(&user.resource, (&was, &is)) else { return Ok(None) };
    effects.extend(widening::written(&is));
    effects.push(put(place, &kept_of(Some(&user), resource, now)));
    for stranger in widening::brief(&was, &is, now) {
        draft.note_found(stranger).await?;
    }
    Ok(Some(effects))
}

/// What puts who `was` in other groups of `directory` into those that they are to be in. If one of these is there no
/// longer, they stay where they are: nobody loses a group for one that they do not get.
async fn regrouped(
    reader: &mut Reader<'_>,
    directory: &SourceName,
    (was, is): (&Person, &mut Person),
) -> Result<Vec<Effect>, AdminError> {
    let (before, after) = (was.as_told().groups, is.as_told().groups);
    let mut effects = Vec::new();
    for name in before.symmetric_difference(&after) {
        let group = reader.find::<String>(group_name(directory, name)).await;
        let group = group.map_err(AdminError::unavailable)?;
        let member = group.map(|group| FactKey::scim_member(directory, &group, &is.id));
        match (member, after.contains(name)) {
            (Some(key), true) => effects.push(put(key, &json!({}))),
            (Some(key), false) => effects.push(Effect::Remove { key }),
            (None, true) => {
                is.groups.clone_from(&was.groups);
                is.joined.clone_from(&was.joined);
                is.waits.joins.clone_from(&was.waits.joins);
                is.narrowed = was.narrowed;
                return Ok(Vec::new());
            }
            (None, false) => {}
        }
    }
    Ok(effects)
}
