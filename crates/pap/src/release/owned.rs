//! Who owns a release of policy: without them it is neither published, approved nor put in force.
//!
//! That the owner of the one in force leaves stops nothing: it decides on, that is a finding, and the next one
//! names somebody else.

use authority::{FactsError, Reader};
use model::{FactKey, Finding, PersonId, Release, Stranger};
use serde_json::{Value, json};

use super::sound::sound;
use crate::command::{AdminError, Administration};
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

impl Administration {
    /// Who owns the `release` that is in force, and whether they are here. Nobody owns files, nor what a
    /// deployment was founded with.
    pub(crate) async fn owner_in_force(
        &self,
        release: Option<u64>,
    ) -> Result<(Option<PersonId>, bool), AdminError> {
        let Some(version) = release else { return Ok((None, false)) };
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

    /// Who is behind the policy set that came into force so: as it was signed, if it is that still.
    pub(crate) async fn behind_policy(
        &self,
        activation: Option<&Activation>,
    ) -> Result<Value, AdminError> {
        let version = activation.and_then(|it| it.release);
        let mut told = json!({
            "release": version,
            "owner": null,
            "author": null,
            "approver": null,
            "put_in_force_by": activation.map(|it| it.by.clone()),
            "since": activation.map(|it| it.since.to_string()),
        });
        let Some(version) = version else { return Ok(told) };
        match sound(self.authority.journal(), &self.policy_key, version).await {
            Ok(found) => {
                let release = found.release;
                told["owner"] = json!(release.owner().map(|(owner, _)| owner));
                told["author"] = json!(release.author.as_ref().map(|by| &by.person));
                told["approver"] = json!(release.approval().map(|it| &it.by.person));
            }
            Err(why) if why.is_of_the_store() => told["damaged"] = why.to_string().into(),
            Err(other) => return Err(other.into()),
        }
        Ok(told)
    }
}
