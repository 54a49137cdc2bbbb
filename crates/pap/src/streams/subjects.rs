//! Whom a signal is about, among a directory's people.

use std::collections::BTreeSet;

use authority::Reader;
use model::{FactKey, PersonId, ScimResource, SourceName, Stream};
use secevent::Identifier;
use serde_json::Value;

use crate::command::{AdminError, Administration};
use crate::directory::SCANNED_MAX;

/// The place of users, in the URI of one (RFC 7644 §3.2).
const USERS: &str = "/Users/";

/// Whom identifiers name.
pub(super) enum Named {
    /// This person.
    One(PersonId),
    /// No one person, but these, if several; why, in a word that stays.
    NoOne(BTreeSet<PersonId>, &'static str),
}

impl Administration {
    /// Whom `identifiers`, all of one person, name among the people of the directory of `stream`, whose users
    /// are at `base`.
    pub(super) async fn named(
        &self,
        reader: &mut Reader<'_>,
        (stream, base): (&Stream, &str),
        identifiers: &[Identifier],
    ) -> Result<Named, AdminError> {
        let (mut all, mut is_told_apart) = (BTreeSet::new(), true);
        for identifier in identifiers {
            match self.identified(reader, (stream, base), identifier).await? {
                Some(found) => all.extend(found),
                None => is_told_apart = false,
            }
        }
        Ok(match (all.pop_first(), all.is_empty()) {
            (Some(id), true) => Named::One(id),
            (Some(id), false) => {
                all.insert(id);
                Named::NoOne(all, "ambiguous_subject")
            }
            (None, _) if is_told_apart => Named::NoOne(all, "unknown_subject"),
            (None, _) => Named::NoOne(all, "too_many_users"),
        })
    }

    /// All that `identifier` names; none, if there are too many users to say.
    async fn identified(
        &self,
        reader: &mut Reader<'_>,
        (stream, base): (&Stream, &str),
        identifier: &Identifier,
    ) -> Result<Option<BTreeSet<PersonId>>, AdminError> {
        let directory = &stream.directory;
        let found = match identifier {
            Identifier::IssSub { iss, sub } => whose(reader, FactKey::login(iss, sub)).await?,
            Identifier::Scim { uri, external_id } => {
                let mut all = BTreeSet::new();
                if let Some(id) = external_id {
                    let place = FactKey::scim_unique(directory, "externalId", id);
                    all.extend(whose(reader, place).await?);
                }
                if let Some(uri) = uri {
                    all.extend(user_at(reader, (directory, base), uri).await?);
                }
                all
            }
            Identifier::Uri(uri) => user_at(reader, (directory, base), uri).await?,
            Identifier::Email(email) if stream.email => {
                return self.by_email(reader, directory, email).await;
            }
            Identifier::Email(_)
            | Identifier::Account(_)
            | Identifier::Opaque(_)
            | Identifier::PhoneNumber(_)
            | Identifier::Did(_)
            | Identifier::Other => BTreeSet::new(),
        };
        Ok(Some(found))
    }

    /// The users of `directory` that have `email`: the one whose name it is, which has no case (RFC 7643
    /// §4.1.1), else all among whose addresses it is, letter for letter; none, if there are too many to look at.
    async fn by_email(
        &self,
        reader: &mut Reader<'_>,
        directory: &SourceName,
        email: &str,
    ) -> Result<Option<BTreeSet<PersonId>>, AdminError> {
        let place = FactKey::scim_unique(directory, "userName", &scim::fold(email));
        if let Some(id) = whose(reader, place).await?.pop_first() {
            return Ok(Some([id].into()));
        }
        let prefix = FactKey::scim_user(directory, "").as_str().to_owned();
        let (mut pages, mut seen, mut all) = (self.pages(&prefix), 0, BTreeSet::new());
        while let Some(facts) = pages.next().await.map_err(AdminError::unavailable)? {
            seen += facts.len();
            if seen > SCANNED_MAX {
                return Ok(None);
            }
            for (key, body) in facts {
                let user = serde_json::from_slice::<ScimResource>(&body);
                if has_address(&user.map_err(AdminError::unavailable)?, email) {
                    let id = key.as_str().strip_prefix(&prefix).unwrap_or_default();
                    all.insert(id.parse().map_err(AdminError::unavailable)?);
                }
            }
        }
        Ok(Some(all))
    }
}

fn has_address(user: &ScimResource, email: &str) -> bool {
    let all = user.resource.get("emails").and_then(Value::as_array);
    all.into_iter().flatten().any(|it| it["value"] == email)
}

/// The person of whom it stands at `place` that it is theirs.
async fn whose(reader: &mut Reader<'_>, place: FactKey) -> Result<BTreeSet<PersonId>, AdminError> {
    let found = reader.find::<PersonId>(place).await.map_err(AdminError::unavailable)?;
    Ok(found.into_iter().collect())
}

/// The user of `directory` whom `uri` leads to: below `base`, or relative to that. Where else it leads, others
/// have users of the same names.
async fn user_at(
    reader: &mut Reader<'_>,
    (directory, base): (&SourceName, &str),
    uri: &str,
) -> Result<BTreeSet<PersonId>, AdminError> {
    let path = uri.strip_prefix(base).unwrap_or(uri);
    let id = path.strip_prefix(USERS).and_then(|id| id.parse::<PersonId>().ok());
    let Some(id) = id else { return Ok(BTreeSet::new()) };
    let user = reader.find::<ScimResource>(FactKey::scim_user(directory, id.as_str())).await;
    Ok(user.map_err(AdminError::unavailable)?.map(|_| id).into_iter().collect())
}
