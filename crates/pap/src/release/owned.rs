//! Who owns a release of policy: without them it is neither published, approved nor put in force.
//!
//! That the owner of the one in force leaves stops nothing: it decides on, that is a finding, and the next one
//! names somebody else. Files are nobody's, but in a deployment for development: there they are its one founder's.

use authority::{FactsError, Reader};
use model::{FactKey, Finding, PersonId, Release, Stranger, Timestamp};
use serde_json::{Value, json};

use super::sound::sound;
use crate::command::{AdminError, Administration};
use crate::founding::alone;
use crate::policy::Activation;
use crate::words::answers_for;

/// Whether who is to own `release` is here, and has not left since it was published.
pub(super) async fn is_owned(reader: &mut Reader<'_>, release: &Release) -> Result<(), AdminError> {
    let owner = release.owner();
    if let Some(owner) = owner
        && answers_for(reader, owner).await?
    {
        return Ok(());
    }
    let who = owner.map_or("nobody", |(owner, _)| owner.as_str());
    Err(AdminError::Invalid(format!(
        "`{who}`, who is to own release {} of policy, is nobody who is here, or left since it was published: \
         publish it with somebody who is (`--owner PERSON`)",
        release.terms.version
    )))
}

/// Who answers for a policy set, each by themselves.
const ROLES: [&str; 3] = ["owner", "author", "approver"];

/// Who was in each of these roles of `release` at `at`: what a deployment was founded with is signed once its founders
/// have keys, and was nobody's before.
fn behind(release: &Release, at: Timestamp) -> [Option<PersonId>; 3] {
    let owner = release.owner().filter(|(_, since)| *since <= at).map(|(owner, _)| owner.clone());
    let signed = [release.author.as_ref(), release.approval().map(|it| &it.by)];
    let [author, approver] =
        signed.map(|by| by.filter(|by| by.at <= at).map(|by| by.person.clone()));
    [owner, author, approver]
}

impl Administration {
    /// Who owns the `release` that is in force, or the files that are, and whether they are here.
    pub(crate) async fn owner_in_force(
        &self,
        release: Option<u64>,
    ) -> Result<(Option<PersonId>, bool), AdminError> {
        let Some(version) = release else {
            let alone = alone(self.authority.journal()).await?;
            let is_here = alone.is_some();
            return Ok((alone, is_here));
        };
        let mut reader = self.reader();
        let found = match reader.find::<Release>(FactKey::release(version)).await {
            Err(FactsError::Damaged { .. }) => None,
            found => found.map_err(AdminError::unavailable)?,
        };
        let Some((owner, since)) = found.as_ref().and_then(Release::owner) else {
            return Ok((None, false));
        };
        let is_here = answers_for(&mut reader, (owner, since)).await?;
        Ok((Some(owner.clone()), is_here))
    }

    /// Notes that who owned the `release` in force is gone, for who looks at findings: once for each release.
    pub(super) async fn note_unowned(&self, release: Option<u64>) -> Result<(), AdminError> {
        let (Some(version), (Some(owner), false)) = (release, self.owner_in_force(release).await?)
        else {
            return Ok(());
        };
        let stranger = Stranger {
            cause: format!("release_unowned/{version}"),
            tried: "policy".to_owned(),
            client: Some(format!(
                "`{owner}`, who owns release {version} of policy, is gone: publish the next one with `--owner PERSON`"
            )),
            ..Stranger::default()
        };
        let known = self.reader().find::<Finding>(FactKey::finding(&stranger.id())).await;
        if known.map_err(AdminError::unavailable)?.is_none() {
            self.authority.note_stranger(stranger);
        }
        Ok(())
    }

    /// Who was behind the policy set that came into force so, at `at`: as it was signed, if it is that still; and in
    /// which of the roles nobody was.
    pub(crate) async fn behind_policy(
        &self,
        activation: Option<&Activation>,
        at: Timestamp,
    ) -> Result<Value, AdminError> {
        let version = activation.and_then(|it| it.release);
        let mut told = json!({
            "release": version,
            "put_in_force_by": activation.map(|it| it.by.clone()),
            "since": activation.map(|it| it.since.to_string()),
        });
        let journal = self.authority.journal();
        let behind = match (activation, version) {
            (_, Some(version)) => match sound(journal, &self.policy_key, version).await {
                Ok(found) => behind(&found.release, at),
                Err(why) if why.is_of_the_store() => {
                    told["damaged"] = why.to_string().into();
                    [None, None, None]
                }
                Err(other) => return Err(other.into()),
            },
            (Some(_), None) => {
                let alone = alone(journal).await?;
                [alone.clone(), alone, None]
            }
            (None, None) => [None, None, None],
        };
        let missing = ROLES.iter().zip(&behind).filter(|(_, who)| who.is_none());
        let missing: Vec<_> = missing.map(|(role, _)| *role).collect();
        for (role, who) in ROLES.iter().zip(behind) {
            told[*role] = json!(who);
        }
        if told["damaged"].is_null() {
            told["missing"] = json!(missing);
        }
        Ok(told)
    }
}
