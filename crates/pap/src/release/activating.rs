//! Puts a release in force, and keeps the one in force that the store says is active, if that is sound.

use std::time::Duration;

use authority::{Authority, Effect, FactsError, Unit, Urgency};
use model::{
    Approval, Base, FactKey, Finding, PersonId, PolicyDigest, Release, ReleaseState, Stranger,
    Timestamp,
};
use pdp::Bundle;
use serde_json::{Value, json};

use super::owned::is_owned;
use super::sound::{PolicyKey, Sound, Unsound, active_release, in_time, sound};
use super::{stands, target, told};
use crate::command::{AdminError, Administration, Draft};
use crate::flips::PolicyFiles;
use crate::founding::FIRST;
use crate::policy::Content;
use crate::register::put;

/// A release or files that were in force for less than this are a finding, and so is somebody who was in a group that
/// approves: what was wide for just as long as somebody needed it looks like that.
pub const RELEASE_BRIEF: Duration = Duration::from_hours(1);

/// What a service begins with that runs releases. One that is refused is recorded, and a finding, before the
/// start fails.
pub async fn release_at_start(authority: &Authority, key: &PolicyKey) -> Result<Content, Unsound> {
    let active = active_release(authority.journal(), key).await;
    if let Err(why) = &active
        && let Some(stranger) = refused(why)
        && let Err(error) = write_down(authority, stranger).await
    {
        tracing::error!(%error, "that a release of policy was refused is not recorded");
    }
    active
}

async fn write_down(authority: &Authority, stranger: Stranger) -> Result<(), AdminError> {
    let mut reader = authority.pip().reader();
    let found = authority.found(&mut reader, stranger).await.map_err(AdminError::unavailable)?;
    let (finding, entry) = found;
    let effects = vec![put(FactKey::finding(&finding.id), &finding)];
    let unit = Unit { entries: vec![entry], effects, urgency: Urgency::Awaited, ..Unit::default() };
    let committed = authority.journal().store().commit(unit).await;
    committed.map(drop).map_err(AdminError::unavailable)
}

/// The finding that a refused release is, if somebody has to look: one for each release and reason.
fn refused(why: &Unsound) -> Option<Stranger> {
    Some(Stranger {
        cause: why.cause()?,
        tried: "policy/activate".to_owned(),
        client: Some(why.to_string()),
        ..Stranger::default()
    })
}

/// The finding that `release` is, in place of which `next` is in force at `at`, if it was in force but briefly: one
/// for each release. What a deployment was founded with was in force in place of nothing.
fn brief(release: &Release, next: u64, at: Timestamp) -> Option<Stranger> {
    let ReleaseState::Active { approval: Some(approval), activation } = &release.state else {
        return None;
    };
    let (version, lasted) = (release.terms.version, at.since(activation.at));
    (version > FIRST && lasted < RELEASE_BRIEF).then(|| Stranger {
        cause: format!("release_brief/{version}"),
        tried: "policy/activate".to_owned(),
        client: Some(format!(
            "release {version} was in force for {} s, after release {} and before release {next}",
            lasted.as_secs(),
            approval.base.version
        )),
        ..Stranger::default()
    })
}

impl Administration {
    /// Puts a release in force in place of the one over which it was approved, unless the service reads files.
    pub(super) async fn activate(
        &self,
        by: &PersonId,
        (version, content): (u64, Option<PolicyDigest>),
    ) -> Result<Value, AdminError> {
        let found = self.reader().find::<Release>(FactKey::release(version)).await;
        let found = found.map_err(AdminError::unavailable)?;
        let target = target(version, found.as_ref());
        let mut draft = self.draft(by, "policy/activate", target).await?;
        let Sound { mut release, files } = self.in_turn(&mut draft, version).await?;
        if content.is_some_and(|content| content != release.terms.content) {
            let why = format!(
                "release {version} has the content {}: look at what it changes (`policy diff`) before you name that",
                release.terms.content
            );
            return Err(AdminError::Invalid(why));
        }
        let replaced = self.may_replace(&mut draft, &release).await?;
        // Others onboard, read and take back meanwhile.
        let tried = Box::pin(self.publisher.tried_to_activate(&files)).await?;
        // Nobody else compiles or puts anything in force from here on.
        let mut turn = self.publisher.turn().await;
        if !self.publisher.has_tools_of(&tried).await? {
            let why = "the tools changed while the cases were decided: activate it again";
            return Err(AdminError::Conflict(why.to_owned()));
        }
        let cases = tried.cases;
        release.cases = Some(cases);
        let now = self.now();
        let activation = self.policy_key.countersigned(&release, (by, now))?;
        let mut releases = self.kept(&mut draft).await?;
        let (mut effects, left) = self.superseded(&mut draft, (replaced, version)).await?;
        let expires = release.terms.expires;
        let release = release.activated(activation).expect("it is released");
        releases.active = version;
        // What is older than the one in force is none that could follow it.
        let ends = releases.observed.is_some_and(|observed| observed <= version);
        if ends {
            releases.observed = None;
        }
        effects.push(put(FactKey::release(version), &release));
        effects.push(put(FactKey::releases(), &releases));
        let mut change = told(&release);
        change["left"] = json!(left);
        let done = draft.make(change, effects).await?;
        self.policy_key.remember(version)?;
        let is_loose = turn.release.is_none();
        if !is_loose {
            let content = Content { files, release: Some(version), expires };
            self.publisher.switch(&mut turn, content, by).await?;
        }
        if ends {
            self.publisher.observe(None).await?;
        }
        let decision = done.decision;
        Ok(json!({
            "active": version, "cases": cases, "in_force": !is_loose, "left": left,
            "decision": decision,
        }))
    }

    /// The release that `release` replaces, if it was approved in place of that, by people who may still do so.
    async fn may_replace(
        &self,
        draft: &mut Draft<'_>,
        release: &Release,
    ) -> Result<u64, AdminError> {
        let version = release.terms.version;
        let ReleaseState::Released { approval: Approval { base, by } } = &release.state else {
            let why = format!(
                "release {version} is not approved, or not any more: `policy history` says how it stands, and somebody else \
                 approves what waits (`policy approve {version}`)"
            );
            return Err(AdminError::Invalid(why));
        };
        let (now, _) = self.base().await?;
        if now != *base {
            let why = format!(
                "release {version} was approved in place of release {}, and release {} is in force: approve it \
                 again (`policy approve {version}`)",
                base.version, now.version
            );
            return Err(AdminError::Invalid(why));
        }
        let author = (release.author.as_ref(), &release.terms.published());
        stands(draft, author, ("policy/publish", release)).await?;
        let approver = (Some(by), &release.approval_over(base));
        stands(draft, approver, ("policy/approve", release)).await?;
        is_owned(&mut draft.reader, release).await?;
        Ok(base.version)
    }

    /// What makes the release `last` superseded by `next`. One that is not sound is left as it is, and told why. Either
    /// may be a finding, which is kept with that.
    async fn superseded(
        &self,
        draft: &mut Draft<'_>,
        (last, next): (u64, u64),
    ) -> Result<(Vec<Effect>, Option<String>), AdminError> {
        if last == 0 {
            return Ok((Vec::new(), None));
        }
        let place = FactKey::release(last);
        // Whatever it is, it is still that when it is replaced.
        match draft.reader.find::<Release>(place.clone()).await {
            Ok(_) | Err(FactsError::Damaged { .. }) => {}
            Err(other) => return Err(AdminError::unavailable(other)),
        }
        let now = self.now();
        let sound = sound(self.authority.journal(), &self.policy_key, last).await;
        let superseded = sound.and_then(|Sound { release, .. }| {
            let brief = brief(&release, next, now);
            let other = Unsound::Altered { version: last, why: "it is not the active one" };
            Ok((release.superseded(now).ok_or(other)?, brief))
        });
        let (effects, left, found) = match superseded {
            Ok((superseded, brief)) => (vec![put(place, &superseded)], None, brief),
            Err(why) if why.is_of_the_store() => (Vec::new(), Some(why.to_string()), refused(&why)),
            Err(other) => return Err(other.into()),
        };
        if let Some(found) = found
            && !self.is_open(&found).await
        {
            draft.note_found(found).await?;
        }
        Ok((effects, left))
    }

    /// Whether `stranger` is a finding already that nobody closed. That is read beside the act, which does not rest on
    /// how often it is found.
    async fn is_open(&self, stranger: &Stranger) -> bool {
        let found = self.reader().find::<Finding>(FactKey::finding(&stranger.id())).await;
        found.is_ok_and(|found| found.is_some_and(|finding| finding.closed.is_none()))
    }

    /// What a release that is put in force now would replace, with its content: the active one, or, where that is
    /// not sound, what is in force in its place. Without content if nobody can read it.
    pub(super) async fn base(&self) -> Result<(Base, Option<PolicyFiles>), AdminError> {
        let active = active_release(self.authority.journal(), &self.policy_key).await;
        let in_force = match active {
            Ok(active) => active,
            Err(why) if why.is_of_the_store() => self.publisher.turn().await.clone(),
            Err(other) => return Err(other.into()),
        };
        let Some(version) = in_force.release else {
            let version = self.kept_by(&mut self.reader()).await?.active;
            return Ok((Base { version, content: None }, None));
        };
        let content = Some(Bundle::from(in_force.files.clone()).digest());
        Ok((Base { version, content }, Some(in_force.files)))
    }

    /// Puts the release in force that the store says is active, if another set is; the last good one stays
    /// if that one is not sound. One that has expired stays too, and that is told.
    pub async fn follow_releases(&self) -> Result<(), String> {
        let mut turn = self.publisher.turn().await;
        self.follow_observed().await;
        if turn.release.is_none() {
            return Ok(());
        }
        let active = active_release(self.authority.journal(), &self.policy_key).await;
        let to = active.map_err(|error| self.alarmed(&error))?;
        if *turn != to {
            let by = crate::policy::of_the_machine();
            let put = self.publisher.switch(&mut turn, to, &by).await;
            put.map_err(|error| error.to_string())?;
        }
        let time = (turn.release.unwrap_or_default(), turn.expires);
        in_time(time, self.now()).map_err(|error| self.alarmed(&error))?;
        self.note_unowned(turn.release).await.map_err(|error| error.to_string())
    }

    /// Notes that a release is refused, for who looks at findings; says why.
    pub(super) fn alarmed(&self, why: &Unsound) -> String {
        if let Some(stranger) = refused(why) {
            self.authority.note_stranger(stranger);
        }
        why.to_string()
    }
}
