//! A release under observation: it decides beside the set in force, and has no part in the answers.

use model::{FactKey, PersonId, Release, ReleaseState};
use serde_json::{Value, json};

use super::sound::{Sound, observed_release};
use super::{stands, target, told};
use crate::command::{AdminError, Administration};
use crate::policy::Content;
use crate::register::put;

impl Administration {
    /// Has the approved release `version` decide beside the set in force; without a version, none any more.
    pub(super) async fn observe(
        &self,
        by: &PersonId,
        version: Option<u64>,
    ) -> Result<Value, AdminError> {
        let named = match version {
            Some(version) => version,
            None => self.kept_by(&mut self.reader()).await?.observed.unwrap_or_default(),
        };
        let found = self.reader().find::<Release>(FactKey::release(named)).await;
        let found = found.map_err(AdminError::unavailable)?;
        let mut draft = self.draft(by, "policy/observe", target(named, found.as_ref())).await?;
        // Nobody else puts anything in force meanwhile.
        let _turn = self.publisher.turn().await;
        let mut releases = self.kept(&mut draft).await?;
        let mut change = json!({ "observed": version });
        let content = if version.is_some() {
            let Sound { release, files } = self.in_turn(&mut draft, named).await?;
            let ReleaseState::Released { approval } = &release.state else {
                let why = format!(
                    "release {named} is not one that waits to be put in force: have it approved first (`policy approve`), \
                     or publish the set again"
                );
                return Err(AdminError::Invalid(why));
            };
            let author = (release.author.as_ref(), &release.terms.published());
            stands(&mut draft, author, ("policy/publish", &release)).await?;
            let approver = (Some(&approval.by), &release.approval_over(&approval.base));
            stands(&mut draft, approver, ("policy/approve", &release)).await?;
            self.publisher.compiled(&files).await?;
            change["release"] = told(&release);
            Some(Content { files, release: version, expires: release.terms.expires })
        } else if releases.observed.is_none() {
            return Err(AdminError::Invalid(
                "no release is under observation: nothing is to be ended".to_owned(),
            ));
        } else {
            None
        };
        releases.observed = version;
        let done = draft.make(change, vec![put(FactKey::releases(), &releases)]).await?;
        self.publisher.observe(content).await?;
        Ok(json!({ "observed": version, "decision": done.decision }))
    }

    /// Has the release that the store says decide beside the set in force; none, if that one is not sound: whatever is
    /// wrong with it, what is in force stays.
    pub(super) async fn follow_observed(&self) {
        let journal = self.authority.journal();
        let observed = observed_release(journal, &self.policy_key, self.now()).await;
        let observed = observed.unwrap_or_else(|error| {
            self.alarmed(&error);
            None
        });
        if self.publisher.observed().await == observed.as_ref().and_then(|it| it.release) {
            return;
        }
        if let Err(error) = self.publisher.observe(observed).await {
            tracing::warn!(%error, "no set is under observation");
        }
    }

    /// What is told of the `release` under observation, and of what came of it; no digest, if it does not decide.
    pub(super) fn observation(&self, release: u64) -> Value {
        let Some(found) = self.authority.pip().observation() else {
            return json!({ "release": release });
        };
        json!({
            "release": release, "digest": found.policy, "alike": found.alike,
            "newly_denied": found.newly_denied, "newly_permitted": found.newly_permitted,
            "unanswered": found.unanswered,
        })
    }
}
