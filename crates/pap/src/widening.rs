//! What widens somebody's standing waits: for a time, or for another person who confirms it.
//!
//! INVARIANT: nobody confirms what is theirs, nor what they asked for, and the service's own user neither
//! (`sc_02_what_waits_another_person_confirms`).

use std::collections::BTreeSet;
use std::time::Duration;

use authority::{Effect, FactsError, Reader, Unit, event};
use model::{
    Directory, Due, ELIGIBLE_MAX, FactKey, Person, PersonId, ResourceRef, Stranger, Timestamp,
    WAITING, WAITS_MAX, Widening,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};
use crate::founding::{BOOTSTRAP, is_for_development};
use crate::register::{known, put};
use crate::release::RELEASE_BRIEF;
use crate::words::Acting;

/// How many people are looked at at once of whom something may be due.
const DUE_MAX: usize = 64;

/// When somebody is looked at again whose directory may not say anything now.
const AGAIN: Duration = Duration::from_hours(1);

/// What is said of what widens.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the members are those of the command line, documented there")]
pub struct WideningSaid {
    pub groups: Vec<String>,
    /// After how many seconds it counts by itself; without it, never.
    pub after_s: Option<u64>,
}

/// What waits, and for how long.
pub(crate) async fn rule(reader: &mut Reader<'_>) -> Result<Widening, FactsError> {
    Ok(reader.find(FactKey::widening()).await?.unwrap_or_default())
}

/// What of a person who `was` so, and `is` so at `now`, people have to be told: that they were but briefly in a group
/// that approves, administers, or makes eligible to take over. One finding for each person and group.
pub(crate) fn brief(was: &Person, is: &Person, now: Timestamp) -> Vec<Stranger> {
    let left = was.left(is, now).filter(|(_, lasted)| *lasted < RELEASE_BRIEF);
    let found = left.map(|(group, lasted)| Stranger {
        cause: format!("group_brief/{group}"),
        tried: "group".to_owned(),
        claimed: Some(was.id.to_string()),
        client: Some(format!("`{}` was in `{group}` for {} s", was.id, lasted.as_secs())),
        ..Stranger::default()
    });
    found.collect()
}

/// What people have to be told of a rule that `was` so, and `is` so at `now`: that it was loosened but briefly. Whoever
/// joined a group meanwhile waited for nothing.
fn brief_rule(was: &Widening, is: &Widening, now: Timestamp) -> Option<Stranger> {
    let lasted = was.was_loose(is, now).filter(|lasted| *lasted < RELEASE_BRIEF)?;
    Some(Stranger {
        cause: "widening_brief".to_owned(),
        tried: "widening".to_owned(),
        client: Some(format!("what widens waited less for {} s", lasted.as_secs())),
        ..Stranger::default()
    })
}

/// What is written of `person`.
pub(crate) fn written(person: &Person) -> Vec<Effect> {
    let own = put(FactKey::person(&person.id), person);
    std::iter::once(own).chain(due(person)).collect()
}

/// What is written so that what waits of `person` counts once it is time.
pub(crate) fn due(person: &Person) -> Option<Effect> {
    let from = person.waits_until()?;
    Some(put(FactKey::waits_until(from, &person.id), &person.id))
}

impl Administration {
    /// Says what waits, and how long; without that, tells it.
    pub(crate) async fn people_widening(
        &self,
        by: &PersonId,
        said: Option<WideningSaid>,
    ) -> Result<Value, AdminError> {
        let Some(WideningSaid { groups, after_s }) = said else {
            self.may_read(by, "widening").await?;
            let rule = rule(&mut self.reader()).await.map_err(AdminError::unavailable)?;
            return Ok(json!(rule));
        };
        let groups = groups.iter().map(|group| group.parse().map_err(AdminError::invalid));
        let groups = groups.collect::<Result<BTreeSet<_>, _>>()?;
        if groups.len() > ELIGIBLE_MAX {
            return Err(AdminError::Invalid(format!("at most {ELIGIBLE_MAX} groups are named")));
        }
        if after_s.is_some_and(|after| after > WAITS_MAX.as_secs()) {
            let most = WAITS_MAX.as_secs();
            return Err(AdminError::Invalid(format!("it waits {most} seconds at most")));
        }
        let mut draft = self.draft(by, "people/widening", ResourceRef::Deployment).await?;
        let was = rule(&mut draft.reader).await.map_err(AdminError::unavailable)?;
        let now = self.now();
        let rule = was.said((groups, after_s), now);
        if let Some(stranger) = brief_rule(&was, &rule, now) {
            draft.note_found(stranger).await?;
        }
        let done = draft.make(json!(rule), vec![put(FactKey::widening(), &rule)]).await?;
        Ok(json!({ "widening": rule, "decision": done.decision }))
    }

    pub(crate) async fn person_confirm(
        &self,
        by: &PersonId,
        (id, word): (&str, Option<String>),
    ) -> Result<Value, AdminError> {
        let id: PersonId = id.parse().map_err(AdminError::invalid)?;
        // Who signs does so for what waits as they were shown it.
        let found = self.reader().find::<Person>(FactKey::person(&id)).await;
        let waits = found.map_err(AdminError::unavailable)?.map(|person| person.waits);
        let said = json!({ "do": "person-confirm", "id": id, "waits": waits });
        let (by, uses) = self.acting_as_one(by, word.as_deref(), &said).await?;
        let done = self.confirmed((by, uses.clone()), id).await;
        self.settled(done, uses).await
    }

    /// All that waits of a person counts from now on. What the service's own user asked for waits for two:
    /// the first of them stands for who asked.
    async fn confirmed(
        &self,
        (by, mut effects): Acting,
        id: PersonId,
    ) -> Result<Value, AdminError> {
        let target = ResourceRef::Person(id.clone());
        let mut draft = self.draft(&by, "person/confirm", target).await?;
        let was =
            known::<Person>(&mut draft.reader, FactKey::person(&id), &format!("person `{id}`"))
                .await?;
        let asked = |by: &PersonId| was.waits.all().any(|due| due.by.as_ref() == Some(by));
        let is_own = id == by || asked(&by);
        if is_own && !is_for_development(self.authority.journal()).await? {
            return Err(self.takes_another("confirmed_by_the_same_person"));
        }
        let anybody: PersonId = BOOTSTRAP.parse().expect("it is a person id");
        let is = if asked(&anybody) && by != anybody {
            let waits = was.waits.clone().asked_by((&anybody, &by));
            Person { waits, ..was.clone() }
        } else {
            let widened = was.widened(|_| true, self.now());
            widened.ok_or_else(|| AdminError::Invalid(format!("nothing of `{id}` waits")))?
        };
        effects.extend(written(&is));
        let done = draft.make(json!({ "person": is }), effects).await?;
        let mut told = json!({ "person": id, "decision": done.decision });
        if !is.waits.is_empty() {
            told["waits"] = json!(is.waits);
        }
        Ok(told)
    }

    /// What waited until `now` counts.
    pub async fn widen(&self, now: Timestamp) -> Result<(), FactsError> {
        let store = self.authority.pip().store();
        let first = format!("{WAITING}{:013}/", now.as_millis() + 1);
        loop {
            let page = store.list(WAITING, None, DUE_MAX).await?;
            let over = page.facts.into_iter().take_while(|(key, _)| key.as_str() < first.as_str());
            let mut done = 0;
            for (key, body) in over {
                let id: PersonId = serde_json::from_slice(&body)
                    .map_err(|source| FactsError::Damaged { key: key.clone(), source })?;
                done += usize::from(self.widen_one((key, &id), now).await?);
            }
            // Whatever failed is tried later.
            if done < DUE_MAX {
                return Ok(());
            }
        }
    }

    /// What waited of one person counts, as `place` says that it may. What a directory told that may not say
    /// anything now waits on. Says whether that was done.
    async fn widen_one(
        &self,
        (place, id): (FactKey, &PersonId),
        now: Timestamp,
    ) -> Result<bool, FactsError> {
        let mut reader = self.reader();
        let person = reader.find::<Person>(FactKey::person(id)).await?;
        let is =
            person.as_ref().and_then(|person| person.widened(|due: &Due| due.is_over(now), now));
        let mut effects = vec![Effect::Remove { key: place }];
        let mut entries = Vec::new();
        if let (Some(was), Some(is)) = (person, is) {
            let of = was.source.as_ref().map(FactKey::directory);
            let directory = match of {
                Some(key) => reader.find::<Directory>(key).await?,
                None => None,
            };
            if directory.is_some_and(|directory| !directory.is_active()) {
                effects.push(put(FactKey::waits_until(now.plus(AGAIN), id), id));
            } else {
                let joins = is.groups.difference(&was.groups).count().to_string();
                let returns = (is.is_active() != was.is_active()).to_string();
                // Of whom, stays out of the log: the register has it.
                let details = [("joins", joins), ("returns", returns)];
                let details = details.map(|(name, value)| (name.to_owned(), value)).into();
                let stamp = (now, self.authority.entropy().as_ref());
                entries.push(event(stamp, "widening_in_force", details));
                effects.extend(written(&is));
            }
        }
        let unit = Unit { entries, effects, ..Unit::resting_on(reader.sourced(())) };
        match self.authority.journal().store().commit(unit).await {
            Ok(_) => Ok(true),
            Err(error) => {
                tracing::warn!(%error, "what waited does not count yet");
                Ok(false)
            }
        }
    }
}
