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

impl Administration {
    /// Whom `identifiers`, all of one person, name among the people of the directory of `stream`; nobody,
    /// if they name several.
    pub(super) async fn named(
        &self,
        reader: &mut Reader<'_>,
        stream: &Stream,
        identifiers: &[Identifier],
    ) -> Result<Option<PersonId>, AdminError> {
        let mut all = BTreeSet::new();
        for identifier in identifiers {
            all.extend(self.identified(reader, stream, identifier).await?);
        }
        Ok(all.pop_first().filter(|_| all.is_empty()))
    }

    async fn identified(
        &self,
        reader: &mut Reader<'_>,
        stream: &Stream,
        identifier: &Identifier,
    ) -> Result<BTreeSet<PersonId>, AdminError> {
        let directory = &stream.directory;
        match identifier {
            Identifier::IssSub { iss, sub } => whose(reader, FactKey::login(iss, sub)).await,
            Identifier::Scim { uri, external_id } => {
                let mut all = BTreeSet::new();
                if let Some(id) = external_id {
                    let place = FactKey::scim_unique(directory, "externalId", id);
                    all.extend(whose(reader, place).await?);
                }
                if let Some(uri) = uri {
                    all.extend(user_at(reader, directory, uri).await?);
                }
                Ok(all)
            }
            Identifier::Uri(uri) => user_at(reader, directory, uri).await,
            Identifier::Email(email) if stream.email => {
                self.by_email(reader, directory, email).await
            }
            Identifier::Email(_)
            | Identifier::Account(_)
            | Identifier::Opaque(_)
            | Identifier::PhoneNumber(_)
            | Identifier::Did(_)
            | Identifier::Other => Ok(BTreeSet::new()),
        }
    }

    /// The users of `directory` that have `email`, letter for letter, as their name or among their
    /// addresses.
    async fn by_email(
        &self,
        reader: &mut Reader<'_>,
        directory: &SourceName,
        email: &str,
    ) -> Result<BTreeSet<PersonId>, AdminError> {
        let place = FactKey::scim_unique(directory, "userName", &scim::fold(email));
        let mut all = BTreeSet::new();
        for id in whose(reader, place).await? {
            let user =
                reader.find::<ScimResource>(FactKey::scim_user(directory, id.as_str())).await;
            let user = user.map_err(AdminError::unavailable)?;
            let is_exact =
                |user: ScimResource| user.resource.get("userName").is_some_and(|it| it == email);
            all.extend(user.is_some_and(is_exact).then_some(id));
        }
        let prefix = FactKey::scim_user(directory, "").as_str().to_owned();
        let (mut pages, mut seen) = (self.pages(&prefix), 0);
        while let Some(facts) = pages.next().await.map_err(AdminError::unavailable)? {
            seen += facts.len();
            if seen > SCANNED_MAX {
                let why = format!("more than {SCANNED_MAX} users: no address names one of them");
                return Err(AdminError::Unavailable(why));
            }
            for (key, body) in facts {
                let user = serde_json::from_slice::<ScimResource>(&body);
                if has_address(&user.map_err(AdminError::unavailable)?, email) {
                    let id = key.as_str().strip_prefix(&prefix).unwrap_or_default();
                    all.insert(id.parse().map_err(AdminError::unavailable)?);
                }
            }
        }
        Ok(all)
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

/// The user of `directory` whom `uri` leads to.
async fn user_at(
    reader: &mut Reader<'_>,
    directory: &SourceName,
    uri: &str,
) -> Result<BTreeSet<PersonId>, AdminError> {
    let id = uri.rsplit_once(USERS).and_then(|(_, id)| id.parse::<PersonId>().ok());
    let Some(id) = id else { return Ok(BTreeSet::new()) };
    let user = reader.find::<ScimResource>(FactKey::scim_user(directory, id.as_str())).await;
    Ok(user.map_err(AdminError::unavailable)?.map(|_| id).into_iter().collect())
}
