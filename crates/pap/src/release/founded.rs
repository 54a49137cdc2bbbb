//! The release that a deployment was founded with. Nobody has a key before the service runs, so its founders sign it
//! when they redeem their codes: the first is its author and owns it, the next one approves it. Until then it decides
//! on what they administer, and no agent is registered.

use authority::{Effect, Reader};
use model::{Base, FactKey, PersonId, Release, ReleaseState, ReleaseTerms, SignedBy};
use serde_json::{Value, json};

use super::owned::is_owned;
use super::sound::Sound;
use super::{proposed, told};
use crate::command::{AdminError, Administration, Draft};
use crate::flips::PolicyFiles;
use crate::founding::{FIRST, is_for_development, is_founded};
use crate::register::put;

/// Keeps the `release` that the deployment was founded with, and which is in force, with its author.
pub(super) async fn publish_first(
    (mut draft, mut effects): (Draft<'_>, Vec<Effect>),
    release: &Release,
) -> Result<Value, AdminError> {
    is_owned(&mut draft.reader, release).await?;
    effects.push(put(FactKey::release(FIRST), release));
    let done = draft.make(told(release), effects).await?;
    Ok(proposed(release, (Vec::new(), &done)))
}

impl Administration {
    /// What `founder`, who has a key now, has to sign of the release that they founded the deployment with, and for
    /// which URL. That it cannot be read takes nothing from them: they release another one then.
    pub(crate) async fn founders_sign(&self, founder: &PersonId) -> Option<Value> {
        let found = self.reader().find::<Release>(FactKey::release(FIRST)).await.ok()??;
        let waits = found.waits_for(founder).is_some();
        waits.then(|| json!({ "url": self.issuer, "release": found }))
    }

    /// The release of these `terms` with its author, if the deployment was founded with it and it is nobody's yet.
    pub(super) async fn founded_with(
        &self,
        draft: &mut Draft<'_>,
        (terms, author): (&ReleaseTerms, &SignedBy),
    ) -> Result<Option<Release>, AdminError> {
        if terms.version != FIRST {
            return Ok(None);
        }
        let found = draft.reader.find::<Release>(FactKey::release(FIRST)).await;
        let found = found.map_err(AdminError::unavailable)?;
        let waits = |it: &Release| it.is_unapproved() && it.author.is_none() && it.terms == *terms;
        if !found.as_ref().is_some_and(waits) {
            return Ok(None);
        }
        let Sound { release, .. } = self.sound(FIRST).await?;
        let release = release.authored(author.clone());
        release.map(|release| self.countersigned_anew(release)).transpose()
    }

    /// The same; if it is in force, with who is behind it by now countersigned as having put it in force when it was.
    pub(super) fn countersigned_anew(&self, release: Release) -> Result<Release, AdminError> {
        let ReleaseState::Active { approval, activation } = &release.state else {
            return Ok(release);
        };
        let by = (&activation.by, activation.at);
        let activation = self.policy_key.countersigned(&release, by)?;
        let state = ReleaseState::Active { approval: approval.clone(), activation };
        Ok(Release { state, ..release })
    }

    /// What `release` is approved in place of, with its content: what is in force; nothing, if the deployment was
    /// founded with it.
    pub(super) async fn base_of(
        &self,
        release: Option<&Release>,
    ) -> Result<(Base, Option<PolicyFiles>), AdminError> {
        if release.is_some_and(Release::is_unapproved) {
            return Ok((Base::NOTHING, None));
        }
        self.base().await
    }

    /// Whether the release in force has an owner and an approver, without whom no agent goes live. A deployment for
    /// development has one person.
    pub(crate) async fn is_answered_for(&self, reader: &mut Reader<'_>) -> Result<(), AdminError> {
        let (journal, version) = (self.authority.journal(), self.publisher.turn().await.release);
        // What was not founded is served to nobody.
        if is_for_development(journal).await? || (version.is_none() && !is_founded(journal).await?)
        {
            return Ok(());
        }
        let Some(version) = version else {
            let why = "no release of policy is in force: publish, approve and activate one, and start the service by it";
            return Err(AdminError::Invalid(why.to_owned()));
        };
        let release = reader.find::<Release>(FactKey::release(version)).await;
        let release = release.map_err(AdminError::unavailable)?;
        let who = match release.map(|it| (it.owner().is_some(), it.approval().is_some())) {
            Some((true, true)) => return Ok(()),
            Some((true, false)) => "nobody approved",
            _ => "nobody owns",
        };
        Err(AdminError::Invalid(format!(
            "{who} release {version} of policy, which is in force: the founders redeem their codes, or publish, \
             approve and activate another one"
        )))
    }
}
