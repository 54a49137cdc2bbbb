//! People as a directory says them: a registered source signs who they are, and its newest version is
//! put in force.
//!
//! INVARIANT: by one key no version is in force that is older than one that was, and nobody is changed
//! by a source who is not its own (`people_of_one_source_are_never_changed_by_another`).

mod changes;
mod listed;

use std::collections::BTreeMap;
use std::time::Duration;

use authority::{Administered, Effect, Reader, Refused};
use keys::VerifyingKey;
use model::{
    Directory, FactKey, PeopleSource, PeopleVersion, Person, PersonId, ResourceRef, Sha256Digest,
    SourceName, Speaker, Timestamp, VERSION_STEP_MAX,
};
use oauth::people;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::changes::{Change, Plan, Register};
use self::listed::Listed;
use crate::asked::Command;
use crate::command::{AdminError, Administration};
use crate::heard;
use crate::register::{known, put, put_new};
use crate::silent::AllHeard;
use crate::widening;

/// How long a source's key counts at most.
const KEY_LIFETIME_MAX: Duration = Duration::from_hours(366 * 24);

/// The most entries that are left out of a list of which it is told why.
const CONFLICTS_TOLD_MAX: usize = 16;

/// What is said of a source's key.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the members are those of the command line, documented there")]
pub struct SourceKey {
    pub name: String,
    /// The public key (JWK).
    pub key: Value,
    /// When it stops counting, in milliseconds since the epoch.
    #[schemars(with = "i64")]
    pub expires: Timestamp,
}

/// A signed list that may be put in force.
struct Signed {
    source: PeopleSource,
    version: PeopleVersion,
    /// When.
    issued: Timestamp,
    listed: Listed,
}

/// A part of what a list changes.
struct Part<'a> {
    changes: &'a [Change],
    /// Which of how many it is.
    number: (usize, usize),
    /// The source before and after it.
    source: (&'a PeopleSource, &'a PeopleSource),
    version: &'a PeopleVersion,
    /// What of the list is left out.
    conflicts: &'a [String],
}

impl Administration {
    pub(crate) async fn people(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        match command {
            Command::PeopleSourceAdd { said, silence_min } => {
                self.source_add(by, (said, silence_min)).await
            }
            Command::PeopleSilence { name, silence_min } => {
                self.source_silence(by, (&name, silence_min)).await
            }
            Command::PeopleSourceRekey(said) => self.source_rekey(by, said).await,
            Command::PeopleApply { file } => self.people_apply(by, &file).await,
            _ => self.list_heard(by, "people-source/", AllHeard::tell_source).await,
        }
    }

    async fn source_add(
        &self,
        by: &PersonId,
        (said, silence_min): (SourceKey, Option<u32>),
    ) -> Result<Value, AdminError> {
        heard::checked(silence_min)?;
        let (name, key) = said.checked(self.now())?;
        let mut draft = self.draft(by, "people/source", ResourceRef::Deployment).await?;
        is_no_directory(&mut draft.reader, &name).await?;
        let source = PeopleSource {
            name: name.clone(),
            key: key.to_jwk(),
            key_expires: said.expires,
            registered: self.now(),
            silence_min,
            applied: None,
            applying: None,
        };
        let (speaks, minutes) = ((&name, &Speaker::directory()), (None, silence_min));
        let mut effects = vec![put_new(FactKey::people_source(&name), &source)];
        effects
            .extend(heard::bounded(&mut draft.reader, speaks, minutes, source.registered).await?);
        let done = draft.make(json!(source), effects).await?;
        Ok(json!({
            "source": name, "key": key.thumbprint_text(), "silence_min": silence_min,
            "decision": done.decision,
        }))
    }

    /// Says anew for how many minutes there may be no newer list of a source.
    async fn source_silence(
        &self,
        by: &PersonId,
        (name, silence_min): (&str, Option<u32>),
    ) -> Result<Value, AdminError> {
        heard::checked(silence_min)?;
        let name: SourceName = name.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "people/source", ResourceRef::Deployment).await?;
        let (place, of) = (FactKey::people_source(&name), format!("source `{name}`"));
        let was = known::<PeopleSource>(&mut draft.reader, place.clone(), &of).await?;
        // One of this name would be told to be heard, or to be waited for no longer, by what is said of lists.
        is_no_directory(&mut draft.reader, &name).await?;
        let (speaks, minutes) = ((&name, &Speaker::directory()), (was.silence_min, silence_min));
        let heard = heard::bounded(&mut draft.reader, speaks, minutes, self.now()).await?;
        let source = PeopleSource { silence_min, ..was };
        let effects = std::iter::once(put(place, &source)).chain(heard).collect();
        let done = draft.make(json!(source), effects).await?;
        Ok(json!({ "source": name, "silence_min": silence_min, "decision": done.decision }))
    }

    /// Gives a source another key: the one before counts no longer, nor what it signed.
    async fn source_rekey(&self, by: &PersonId, said: SourceKey) -> Result<Value, AdminError> {
        let (name, key) = said.checked(self.now())?;
        let mut draft = self.draft(by, "people/source", ResourceRef::Deployment).await?;
        let place = FactKey::people_source(&name);
        let source =
            known::<PeopleSource>(&mut draft.reader, place.clone(), &format!("source `{name}`"))
                .await?;
        let source = source.rekeyed(key.to_jwk(), said.expires);
        let done = draft.make(json!(source), vec![put(place, &source)]).await?;
        Ok(json!({ "source": name, "key": key.thumbprint_text(), "decision": done.decision }))
    }

    /// Puts a signed list in force: in one transaction if it fits, else in parts, of which the first
    /// hold who leaves. Until the last of them, the source says that it is being applied.
    async fn people_apply(&self, by: &PersonId, file: &str) -> Result<Value, AdminError> {
        let mut draft = self.draft(by, "people/apply", ResourceRef::Deployment).await?;
        let planned = self.planned(&mut draft.reader, (by, file)).await;
        if let Err(AdminError::Invalid(_)) = planned {
            let place = ("administration", "people_refused");
            self.authority.record_refusal(&self.refusals, place, Refused::default());
        }
        let (Signed { mut source, version, issued, .. }, Plan { changes, conflicts }) = planned?;
        let parts = changes::parts(changes);
        let (of, mut counts, mut last) = (parts.len(), BTreeMap::<_, usize>::new(), None);
        for (position, changes) in parts.iter().enumerate() {
            let mut next = source.clone();
            next.applying = Some(version.clone());
            if position + 1 == of {
                (next.applied, next.applying) = (next.applying, None);
            }
            let number = (position + 1, of);
            let of_source = (&source, &next);
            let part = Part {
                changes,
                number,
                source: of_source,
                version: &version,
                conflicts: &conflicts,
            };
            let done = self.people_part(by, &part).await;
            last = Some(done.map_err(|error| half_applied(error, position, of))?.decision);
            for change in changes {
                *counts.entry(change.word()).or_default() += 1;
            }
            source = next;
        }
        // The source told of all its people when it signed, however late that came.
        self.note_heard(&source.name, None, issued).await;
        let (name, version) = (source.name, version.version);
        if !conflicts.is_empty() {
            return Err(self.but_for(&name, version, &conflicts));
        }
        Ok(json!({
            "source": name, "version": version, "people": counts, "parts": of, "decision": last,
        }))
    }

    /// Says that version `version` of `name` is in force but for its `conflicts`, and records that.
    fn but_for(&self, name: &SourceName, version: u64, conflicts: &[String]) -> AdminError {
        let place = ("administration", "people_conflict");
        self.authority.record_refusal(&self.refusals, place, Refused::default());
        let (shown, more) = conflicts.split_at(conflicts.len().min(CONFLICTS_TOLD_MAX));
        let more = if more.is_empty() { String::new() } else { format!("; and {}", more.len()) };
        let told = shown.join("; ");
        AdminError::Conflict(format!(
            "version {version} of `{name}` is in force, but for what is not its own: {told}{more}"
        ))
    }

    /// What the list in `file` changes; an error if it may not be put in force.
    async fn planned(
        &self,
        reader: &mut Reader<'_>,
        (by, file): (&PersonId, &str),
    ) -> Result<(Signed, Plan), AdminError> {
        let signed = self.signed(reader, file).await?;
        let rule = widening::rule(reader).await.map_err(AdminError::unavailable)?;
        let register = self.people_known().await?;
        let list = (&signed.source.name, &signed.listed);
        let plan = changes::plan(&register, list, (&rule, by, self.now()));
        Ok((signed, plan))
    }

    /// The list in `file`, if its source signed it for this deployment and it is the newest.
    async fn signed(&self, reader: &mut Reader<'_>, file: &str) -> Result<Signed, AdminError> {
        let now = self.now();
        let claimed = people::claimed(file).map_err(AdminError::invalid)?;
        let name: SourceName = claimed.parse().map_err(AdminError::invalid)?;
        let found = reader.find::<PeopleSource>(FactKey::people_source(&name)).await;
        let source = found.map_err(AdminError::unavailable)?.ok_or_else(|| {
            AdminError::Invalid(format!(
                "`{name}` is no source of people: add it with `chancery people source add {name}`"
            ))
        })?;
        if now >= source.key_expires {
            let why = format!(
                "the key of `{name}` expired: give it another with `chancery people source rekey`"
            );
            return Err(AdminError::Invalid(why));
        }
        let key = VerifyingKey::from_jwk(&source.key).map_err(AdminError::unavailable)?;
        let parties = (name.as_str(), self.issuer.as_str());
        let list = people::verify(file, parties, &key, now.as_seconds());
        let list = list.map_err(AdminError::invalid)?;
        let issued = people::issued(file).map_err(AdminError::invalid)?;
        let issued = Timestamp::from_seconds(issued);
        let (version, file) = (list.version, Sha256Digest::of(file.as_bytes()));
        if !source.takes(version, &file) {
            return Err(AdminError::Invalid(not_newer(&source, version)));
        }
        if source.leaps(version) {
            let why = format!(
                "version {version} of `{name}` is more than {VERSION_STEP_MAX} beyond what is in force"
            );
            return Err(AdminError::Invalid(why));
        }
        let listed = Listed::of(&list.people)?;
        let version = PeopleVersion { version, file, since: now };
        Ok(Signed { source, version, issued, listed })
    }

    async fn people_known(&self) -> Result<Register, AdminError> {
        let store = self.authority.pip().store();
        let people = authority::all::<Person>(store, "person/").await;
        let people = people.map_err(AdminError::unavailable)?;
        let people = people.into_iter().map(|person| (person.id.clone(), person)).collect();
        let (mut logins, mut pages) = (BTreeMap::new(), self.pages("login/"));
        while let Some(facts) = pages.next().await.map_err(AdminError::unavailable)? {
            for (key, body) in facts {
                logins.insert(key, serde_json::from_slice(&body).map_err(AdminError::unavailable)?);
            }
        }
        Ok(Register { people, logins })
    }

    /// Puts one part in force, if nothing that it rests on is another than it was.
    async fn people_part(
        &self,
        by: &PersonId,
        part: &Part<'_>,
    ) -> Result<Administered, AdminError> {
        let mut draft = self.draft(by, "people/apply", ResourceRef::Deployment).await?;
        let (before, after) = part.source;
        let place = FactKey::people_source(&before.name);
        let found = draft.reader.find::<PeopleSource>(place.clone()).await;
        if found.map_err(AdminError::unavailable)?.as_ref() != Some(before) {
            return Err(changed_meanwhile(&before.name));
        }
        let (mut effects, now) = (vec![put(place, after)], self.now());
        for change in part.changes {
            let found = draft.reader.find::<Person>(FactKey::person(&change.is.id)).await;
            if found.map_err(AdminError::unavailable)? != change.was {
                return Err(changed_meanwhile(&change.is.id));
            }
            effects.extend(self.effects_of(change));
            for stranger in change.was.iter().flat_map(|was| widening::brief(was, &change.is, now))
            {
                draft.note_found(stranger).await?;
            }
        }
        draft.make(told_of(part), effects).await
    }

    fn effects_of(&self, change: &Change) -> Vec<Effect> {
        let Change { was, is, joined, parted } = change;
        let mut effects = Vec::new();
        if was.as_ref() != Some(is) {
            effects.extend(widening::written(is));
        }
        if was.is_none() {
            let data_key = self.authority.journal().sealer().new_data_key(&is.id);
            effects.push(Effect::PutNew { key: data_key.key, body: data_key.body });
        }
        effects.extend(joined.iter().map(|(key, _, is_known)| {
            let write = if *is_known { put } else { put_new };
            write(key.clone(), &is.id)
        }));
        effects.extend(parted.iter().map(|key| Effect::Remove { key: key.clone() }));
        effects
    }
}

impl SourceKey {
    fn checked(&self, now: Timestamp) -> Result<(SourceName, VerifyingKey), AdminError> {
        let name = self.name.parse().map_err(AdminError::invalid)?;
        let key = VerifyingKey::from_jwk(&self.key).map_err(AdminError::invalid)?;
        if self.expires <= now || self.expires > now.plus(KEY_LIFETIME_MAX) {
            let why = "a key of a source expires in the future, within 366 days";
            return Err(AdminError::Invalid(why.to_owned()));
        }
        Ok((name, key))
    }
}

fn not_newer(source: &PeopleSource, version: u64) -> String {
    let is_over = |known: &&PeopleVersion| version <= known.version;
    match (source.applied.as_ref().filter(is_over), &source.applying) {
        (None, Some(begun)) => format!(
            "version {} of `{}` is in force in part: apply it again, or a newer one",
            begun.version, source.name
        ),
        (applied, _) => {
            let newest = applied.map_or(0, |applied| applied.version);
            format!(
                "version {version} of `{}` is not newer than version {newest}, which is in force",
                source.name
            )
        }
    }
}

/// Whether no directory that pushes is called `name`, as one may be that was registered before.
async fn is_no_directory(reader: &mut Reader<'_>, name: &SourceName) -> Result<(), AdminError> {
    let other = reader.find::<Directory>(FactKey::directory(name)).await;
    if other.map_err(AdminError::unavailable)?.is_none() {
        return Ok(());
    }
    let why = format!("`{name}` is a directory that pushes: one name says one thing");
    Err(AdminError::Conflict(why))
}

/// What the record of a part commits to.
fn told_of(part: &Part<'_>) -> Value {
    let PeopleVersion { version, file, .. } = part.version;
    let people = part.changes.iter().map(|change| {
        let logins = change.joined.iter().map(|(_, login, _)| login).collect::<Vec<_>>();
        let (what, parted) = (change.word(), &change.parted);
        json!({ "what": what, "person": change.is, "joined": logins, "parted": parted })
    });
    let people: Vec<_> = people.collect();
    let conflicts = &part.conflicts[..part.conflicts.len().min(CONFLICTS_TOLD_MAX)];
    let (part, of) = (part.number, &part.source.0.name);
    json!({
        "source": of, "version": version, "file": file, "part": part.0, "of": part.1,
        "people": people, "left_out": conflicts,
    })
}

fn changed_meanwhile(what: &impl std::fmt::Display) -> AdminError {
    AdminError::Conflict(format!("`{what}` changed meanwhile"))
}

/// Says how much of a list is in force, where something went wrong after its beginning.
fn half_applied(error: AdminError, done: usize, of: usize) -> AdminError {
    if done == 0 {
        return error;
    }
    let told = |why: String| format!("{why}; {done} of {of} parts are in force: apply it again");
    match error {
        AdminError::Invalid(why) => AdminError::Invalid(told(why)),
        AdminError::Missing(why) => AdminError::Missing(told(why)),
        AdminError::Refused(why) => AdminError::Refused(told(why)),
        AdminError::Conflict(why) => AdminError::Conflict(told(why)),
        AdminError::Unavailable(why) => AdminError::Unavailable(told(why)),
        AdminError::Unknown(why) => AdminError::Unknown(told(why)),
    }
}
