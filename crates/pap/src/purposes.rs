//! The register of purposes: what work is for, by which tools, on which data objects and data of which
//! categories.
//!
//! What narrows a purpose counts at once, for work under way too: every decision reads it. What widens it adds
//! nothing to what was given before: each mandate holds what it held.

use std::collections::BTreeSet;
use std::str::FromStr;

use authority::Reader;
use model::{
    DataCategory, FactKey, MAX_PATTERNS, OBJECT_PATTERNS_MAX, PersonId, Purpose, PurposeId,
    ResourceRef, Scope,
};
use serde_json::{Value, json};

use crate::asked::Command;
use crate::command::{AdminError, Administration};
use crate::register::{active, classes, known, owned_purpose, put, put_new};
use crate::said::{PurposeRegistration, PurposeSaid};

/// The most categories of data of one purpose, or of one tool.
const CATEGORIES_MAX: usize = 32;

impl Administration {
    pub(crate) async fn purposes(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        match command {
            Command::PurposeAdd(registration) => self.purpose_add(by, registration).await,
            Command::PurposeNarrow(said) => self.purpose_narrow(by, &said).await,
            Command::PurposeWiden(said) => self.purpose_widen(by, &said).await,
            Command::PurposeOwner { id, owner } => self.purpose_owner(by, &id, &owner).await,
            Command::PurposeList { id, as_of } => {
                self.purpose_list(by, (id.as_deref(), as_of.as_deref())).await
            }
            other => unreachable!("{other:?} is about no purpose"),
        }
    }

    async fn purpose_add(
        &self,
        by: &PersonId,
        registration: PurposeRegistration,
    ) -> Result<Value, AdminError> {
        let PurposeRegistration { max_calls, max_tasks_a_day, description, .. } = registration;
        let objects = read(&registration.objects)?;
        let scope = Scope {
            tools: read(&registration.tools)?,
            harm: classes(&registration.harm)?,
            objects: (!objects.is_empty()).then_some(objects),
            max_calls,
            max_tasks_a_day,
        };
        let data = read(&registration.data)?;
        let id: PurposeId = registration.id.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "purpose/add", ResourceRef::Purpose(id.clone())).await?;
        let owner = active(&mut draft.reader, &registration.owner, "owner").await?;
        let purpose = Purpose {
            id: id.clone(),
            owner: owner.id,
            owned: Some(self.now()),
            scope,
            data,
            description,
        };
        within_limits(&purpose)?;
        let effects = vec![put_new(FactKey::purpose(&id), &purpose)];
        let done = draft.make(json!(purpose), effects).await?;
        Ok(json!({ "purpose": id, "decision": done.decision }))
    }

    /// Says that a purpose is for no more than this; what is left out stays.
    async fn purpose_narrow(&self, by: &PersonId, said: &PurposeSaid) -> Result<Value, AdminError> {
        let (tools, objects, data) = (read(&said.tools)?, read(&said.objects)?, read(&said.data)?);
        if said.any_object || said.any_data {
            return Err(AdminError::Invalid("whatever there is narrows nothing".to_owned()));
        }
        let id: PurposeId = said.id.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "purpose/narrow", ResourceRef::Purpose(id.clone())).await?;
        let before = registered(&mut draft.reader, &id).await?;
        let mut purpose = before.clone();
        if !tools.is_empty() {
            purpose.scope.tools = tools;
        }
        if !objects.is_empty() {
            purpose.scope.objects = Some(objects);
        }
        if !data.is_empty() {
            purpose.data = data;
        }
        within_limits(&purpose)?;
        if purpose == before || !before.includes(&purpose) {
            let why = format!("this is no less than `{id}` is for: `chancery purpose show {id}`");
            return Err(AdminError::Invalid(why));
        }
        let done = draft.make(json!(purpose), vec![put(FactKey::purpose(&id), &purpose)]).await?;
        Ok(json!({ "purpose": purpose, "decision": done.decision }))
    }

    /// Says that a purpose is for this as well, if its owner still answers for it.
    async fn purpose_widen(&self, by: &PersonId, said: &PurposeSaid) -> Result<Value, AdminError> {
        let (tools, objects, data) = (read(&said.tools)?, read(&said.objects)?, read(&said.data)?);
        let id: PurposeId = said.id.parse().map_err(AdminError::invalid)?;
        let mut draft = self.draft(by, "purpose/widen", ResourceRef::Purpose(id.clone())).await?;
        let before = owned_purpose(&mut draft.reader, &id).await?;
        let mut purpose = before.clone();
        purpose.scope.tools.extend(tools);
        if said.any_object {
            purpose.scope.objects = None;
        } else if let Some(known) = &mut purpose.scope.objects {
            known.extend(objects);
        }
        if said.any_data {
            purpose.data.clear();
        } else if !purpose.data.is_empty() {
            purpose.data.extend(data);
        }
        within_limits(&purpose)?;
        if before.includes(&purpose) {
            let why = format!("`{id}` is for all of this: `chancery purpose show {id}`");
            return Err(AdminError::Invalid(why));
        }
        let done = draft.make(json!(purpose), vec![put(FactKey::purpose(&id), &purpose)]).await?;
        Ok(json!({ "purpose": purpose, "decision": done.decision }))
    }

    /// Names who answers for a purpose.
    async fn purpose_owner(
        &self,
        by: &PersonId,
        id: &str,
        owner: &str,
    ) -> Result<Value, AdminError> {
        let id: PurposeId = id.parse().map_err(AdminError::invalid)?;
        let target = ResourceRef::Purpose(id.clone());
        let mut draft = self.draft(by, "purpose/owner", target).await?;
        let mut purpose = registered(&mut draft.reader, &id).await?;
        purpose.owner = active(&mut draft.reader, owner, "owner").await?.id;
        purpose.owned = Some(self.now());
        let done = draft.make(json!(purpose), vec![put(FactKey::purpose(&id), &purpose)]).await?;
        Ok(json!({ "purpose": id, "owner": purpose.owner, "decision": done.decision }))
    }

    /// Lists purposes, or the one that is named, as they are or were at a time.
    async fn purpose_list(
        &self,
        by: &PersonId,
        (id, as_of): (Option<&str>, Option<&str>),
    ) -> Result<Value, AdminError> {
        let id = id.map(str::parse::<PurposeId>).transpose().map_err(AdminError::invalid)?;
        let moment = self.moment(as_of)?;
        self.may_read(by, "purpose/").await?;
        let mut purposes: Vec<Purpose> = self.facts_at("purpose/", moment).await?;
        if let Some(id) = id {
            purposes.retain(|purpose| purpose.id == id);
            if purposes.is_empty() {
                return Err(AdminError::Missing(format!("purpose `{id}`")));
            }
        }
        Ok(purposes.iter().map(row).collect())
    }
}

/// A purpose, with what it leaves open.
fn row(purpose: &Purpose) -> Value {
    let mut row = json!(purpose);
    row["any_object"] = purpose.scope.objects.is_none().into();
    row["any_category"] = purpose.data.is_empty().into();
    row
}

/// The purpose `id`, which must be registered.
async fn registered(reader: &mut Reader<'_>, id: &PurposeId) -> Result<Purpose, AdminError> {
    known::<Purpose>(reader, FactKey::purpose(id), &format!("purpose `{id}`")).await
}

fn read<T: FromStr<Err = model::InvalidName> + Ord>(
    texts: &[String],
) -> Result<BTreeSet<T>, AdminError> {
    texts.iter().map(|text| text.parse().map_err(AdminError::invalid)).collect()
}

/// Categories of data with these names, as many as there may be.
pub(crate) fn categories(names: &[String]) -> Result<BTreeSet<DataCategory>, AdminError> {
    let all = read(names)?;
    if all.len() > CATEGORIES_MAX {
        return Err(too_many(CATEGORIES_MAX, "categories of data"));
    }
    Ok(all)
}

/// Refuses a purpose that names more than one may.
fn within_limits(purpose: &Purpose) -> Result<(), AdminError> {
    let objects = purpose.scope.objects.as_ref().map_or(0, BTreeSet::len);
    let all: [(usize, usize, &str); 3] = [
        (purpose.scope.tools.len(), MAX_PATTERNS, "tools"),
        (objects, OBJECT_PATTERNS_MAX, "data objects"),
        (purpose.data.len(), CATEGORIES_MAX, "categories of data"),
    ];
    match all.into_iter().find(|(named, most, _)| named > most) {
        None => Ok(()),
        Some((_, most, what)) => Err(too_many(most, what)),
    }
}

fn too_many(most: usize, what: &str) -> AdminError {
    AdminError::Invalid(format!("at most {most} {what} are named"))
}
