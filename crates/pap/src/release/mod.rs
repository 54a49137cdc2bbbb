//! Releases of policy: one person publishes, another approves, and then one is put in force.
//!
//! INVARIANT: an author is not the approver, and the service's own user is neither; versions only go forward
//! (`r_39_…`). A deployment for development has one administrator, who is both.

mod observe;
mod sound;

use std::time::Duration;

use model::{
    FactKey, Person, PersonId, PolicyDigest, Release, ReleaseState, ReleaseTerms, Releases,
    ResourceRef, SignedBy, Stranger, Timestamp,
};
use pdp::Bundle;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::asked::Command;
use crate::command::{AdminError, Administration, Draft};
use crate::flips::PolicyFiles;
use crate::founding::is_for_development;
use crate::policy::Content;
use crate::register::{known, put, put_new};
use crate::words::Acting;
pub use sound::{PolicyKey, Unsound, active_release, observed_release};
use sound::{Sound, in_time, sound};

/// How the keys of releases begin.
const RELEASES: &str = "release/";

/// The longest that a release says it may be put in force.
const EXPIRES_MAX: Duration = Duration::from_hours(24 * 3_660);

/// What an author publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseAsked {
    /// One more than the newest version that there is.
    pub version: u64,
    /// The digest of the set without tools.
    #[schemars(with = "String")]
    pub content: PolicyDigest,
    /// Since when it may not be put in force any more, in milliseconds since the epoch.
    #[serde(default)]
    #[schemars(with = "Option<i64>")]
    pub expires: Option<Timestamp>,
    /// The release whose content it brings back.
    #[serde(default)]
    pub rollback_of: Option<u64>,
}

impl From<ReleaseAsked> for ReleaseTerms {
    fn from(asked: ReleaseAsked) -> Self {
        let ReleaseAsked { version, content, expires, rollback_of } = asked;
        Self { version, content, expires, rollback_of }
    }
}

impl Administration {
    pub(crate) async fn releases(
        &self,
        by: &PersonId,
        command: Command,
    ) -> Result<Value, AdminError> {
        // As of before the words are looked at: by then they hold.
        let at = self.now();
        match command {
            Command::PolicyPublish { asked, files, word } => {
                let terms = ReleaseTerms::from(asked);
                let (by, uses) =
                    self.acting_as_one(by, word.as_deref(), &terms.published()).await?;
                let signed = self.signature(&by, (word, at));
                let done = self.publish((by, uses.clone()), (terms, files), signed).await;
                self.settled(done, uses).await
            }
            Command::PolicyApprove { version, word } => {
                let found = self.reader().find::<Release>(FactKey::release(version)).await;
                let found = found.map_err(AdminError::unavailable)?;
                let said = found.as_ref().map_or(Value::Null, Release::approval);
                let (by, uses) = self.acting_as_one(by, word.as_deref(), &said).await?;
                let signed = self.signature(&by, (word, at));
                let done = self.approve((by, uses.clone()), (version, found), signed).await;
                self.settled(done, uses).await
            }
            Command::PolicyActivate { version } => self.activate(by, version).await,
            Command::PolicyObserve { version } => self.observe(by, version).await,
            Command::PolicyRelease { version } => self.release(by, version).await,
            Command::PolicyInForce => self.in_force(by).await,
            _ => self.history(by).await,
        }
    }

    fn signature(
        &self,
        by: &PersonId,
        (word, at): (Option<String>, Timestamp),
    ) -> Option<SignedBy> {
        Some(SignedBy { person: by.clone(), at, url: self.issuer.clone(), word: word? })
    }

    /// Keeps what its author publishes until another person approves it: until then it decides nothing.
    async fn publish(
        &self,
        (by, mut effects): Acting,
        (terms, files): (ReleaseTerms, Option<PolicyFiles>),
        signed: Option<SignedBy>,
    ) -> Result<Value, AdminError> {
        let target = ResourceRef::Bundle(terms.content.to_string());
        let mut draft = self.draft(&by, "policy/publish", target).await?;
        let author = Some(signed.ok_or_else(unsigned)?);
        let mut releases = kept(&mut draft).await?;
        let next = releases.newest + 1;
        if terms.version != next {
            let why = format!("the next version is {next}: publish again");
            return Err(AdminError::Invalid(why));
        }
        let release = Release { terms, author, state: ReleaseState::Proposed };
        let now = self.now();
        in_time(&release, now)?;
        if release.terms.expires.is_some_and(|expires| expires > now.plus(EXPIRES_MAX)) {
            let days = EXPIRES_MAX.as_secs() / 86_400;
            return Err(AdminError::Invalid(format!("a release expires within {days} days")));
        }
        let files = match (files, release.terms.rollback_of) {
            (Some(files), None) => files,
            (None, Some(old)) => self.content_of(old).await?,
            _ => {
                let why = "a release has files, or is a rollback of another one";
                return Err(AdminError::Invalid(why.to_owned()));
            }
        };
        let bundle = Bundle::from(files.clone());
        if bundle.digest() != release.terms.content {
            let why = "the content is not what its digest says".to_owned();
            return Err(AdminError::Invalid(why));
        }
        let snapshot = self.publisher.compiled(&files).await?;
        releases.newest = next;
        effects.extend([
            put(FactKey::policy(&release.terms.content), &bundle),
            put_new(FactKey::release(next), &release),
            put(FactKey::releases(), &releases),
        ]);
        let done = draft.make(told(&release), effects).await?;
        let warnings: Vec<_> = snapshot.warnings().iter().map(ToString::to_string).collect();
        Ok(json!({
            "version": next, "content": release.terms.content, "digest": release.digest(),
            "waits": "for somebody else's approval", "warnings": warnings, "decision": done.decision,
        }))
    }

    /// The content of a release that was in force.
    async fn content_of(&self, version: u64) -> Result<PolicyFiles, AdminError> {
        let Sound { release, files } = self.sound(version).await?;
        match release.state {
            ReleaseState::Superseded { .. } => Ok(files),
            ReleaseState::Proposed
            | ReleaseState::Released { .. }
            | ReleaseState::Active { .. } => {
                let why = format!("release {version} is none that was in force before");
                Err(AdminError::Invalid(why))
            }
        }
    }

    /// Approves what somebody else published: from now on it can be put in force.
    async fn approve(
        &self,
        (by, mut effects): Acting,
        (version, found): (u64, Option<Release>),
        signed: Option<SignedBy>,
    ) -> Result<Value, AdminError> {
        let mut draft = self.draft(&by, "policy/approve", target(version, found.as_ref())).await?;
        let approver = signed.ok_or_else(unsigned)?;
        let Sound { release, .. } = self.in_turn(&mut draft, version).await?;
        let is_own = release.author.as_ref().is_some_and(|author| author.person == by);
        if is_own && !is_for_development(self.authority.journal()).await? {
            return Err(self.takes_another("approved_by_the_same_person"));
        }
        stands(&mut draft, release.author.as_ref()).await?;
        let release = release.approved(approver);
        let release = release.ok_or_else(|| {
            AdminError::Invalid(format!("release {version} waits for nobody's approval any longer"))
        })?;
        effects.push(put(FactKey::release(version), &release));
        let done = draft.make(told(&release), effects).await?;
        Ok(json!({ "released": version, "decision": done.decision }))
    }

    /// Puts a release in force in place of the one that is, unless the service reads files.
    async fn activate(&self, by: &PersonId, version: u64) -> Result<Value, AdminError> {
        let found = self.reader().find::<Release>(FactKey::release(version)).await;
        let found = found.map_err(AdminError::unavailable)?;
        let target = target(version, found.as_ref());
        let mut draft = self.draft(by, "policy/activate", target).await?;
        // Nobody else compiles or puts anything in force meanwhile.
        let mut turn = self.publisher.turn().await;
        let Sound { release, files } = self.in_turn(&mut draft, version).await?;
        let ReleaseState::Released { approver } = &release.state else {
            return Err(AdminError::Invalid(format!("release {version} is not approved")));
        };
        for person in [release.author.as_ref(), Some(approver)] {
            stands(&mut draft, person).await?;
        }
        self.publisher.compiled(&files).await?;
        let now = self.now();
        let activation = self.policy_key.countersigned(&release, (by, now))?;
        let mut releases = kept(&mut draft).await?;
        let mut effects = Vec::new();
        if releases.active != 0 {
            let last = FactKey::release(releases.active);
            let last: Release = draft.reader.need(last).await.map_err(AdminError::unavailable)?;
            let last = last.superseded(now).ok_or_else(|| {
                AdminError::Unavailable("the release in force is not the active one".to_owned())
            })?;
            effects.push(put(FactKey::release(releases.active), &last));
        }
        let release = release.activated(activation).expect("it is released");
        releases.active = version;
        // What is older than the one in force is none that could follow it.
        let ends = releases.observed.is_some_and(|observed| observed <= version);
        if ends {
            releases.observed = None;
        }
        effects.push(put(FactKey::release(version), &release));
        effects.push(put(FactKey::releases(), &releases));
        let done = draft.make(told(&release), effects).await?;
        self.policy_key.remember(version)?;
        let is_loose = turn.release.is_none();
        if !is_loose {
            self.publisher.switch(&mut turn, Content { files, release: Some(version) }, by).await?;
        }
        if ends {
            self.publisher.observe(None).await?;
        }
        Ok(json!({ "active": version, "in_force": !is_loose, "decision": done.decision }))
    }

    /// Puts the release in force that the store says is active, if another set is; the last good one stays
    /// if that one is not sound.
    pub async fn follow_releases(&self) -> Result<(), String> {
        let mut turn = self.publisher.turn().await;
        self.follow_observed().await;
        if turn.release.is_none() {
            return Ok(());
        }
        let journal = self.authority.journal();
        let active = active_release(journal, &self.policy_key, self.now()).await;
        let (version, files) = active.map_err(|error| self.alarmed(&error))?;
        let to = Content { files, release: Some(version) };
        if *turn == to {
            return Ok(());
        }
        let by = crate::policy::of_the_machine();
        let put = self.publisher.switch(&mut turn, to, &by).await;
        put.map(drop).map_err(|error| error.to_string())
    }

    /// Notes that a release is refused, for who looks at findings; says why.
    fn alarmed(&self, why: &Unsound) -> String {
        if let Unsound::Older { .. } | Unsound::Expired { .. } | Unsound::Altered { .. } = why {
            self.authority.note_stranger(Stranger {
                cause: "release_refused".to_owned(),
                tried: "policy/activate".to_owned(),
                client: Some(why.to_string()),
                ..Stranger::default()
            });
        }
        why.to_string()
    }

    async fn sound(&self, version: u64) -> Result<Sound, AdminError> {
        let there = self.reader().find::<Release>(FactKey::release(version)).await;
        let there = there.map_err(AdminError::unavailable)?;
        there.ok_or_else(|| AdminError::Missing(format!("release {version} of policy")))?;
        let found = sound(self.authority.journal(), &self.policy_key, version).await;
        found.map_err(|error| {
            self.alarmed(&error);
            error.into()
        })
    }

    /// The release `version`, if it is sound and newer than the one in force, and its time is not over.
    async fn in_turn(&self, draft: &mut Draft<'_>, version: u64) -> Result<Sound, AdminError> {
        let of = format!("release {version} of policy");
        known::<Release>(&mut draft.reader, FactKey::release(version), &of).await?;
        let found = self.sound(version).await?;
        let newest = kept(draft).await?.active;
        let older = Unsound::Older { version, newest };
        let in_turn = if version < newest { Err(older) } else { Ok(()) };
        let in_turn = in_turn.and_then(|()| in_time(&found.release, self.now()));
        in_turn.inspect_err(|error| drop(self.alarmed(error)))?;
        Ok(found)
    }

    /// A release with its content.
    async fn release(&self, by: &PersonId, version: u64) -> Result<Value, AdminError> {
        self.may_read(by, "release").await?;
        let Sound { release, files } = self.sound(version).await?;
        Ok(json!({ "release": release, "files": files }))
    }

    /// All releases, and what is in force of them.
    async fn history(&self, by: &PersonId) -> Result<Value, AdminError> {
        let releases = self.list(by, RELEASES, "").await?;
        let kept = self.kept_releases().await?;
        let release = self.publisher.turn().await.release;
        let observed = kept.observed.map(|release| self.observation(release));
        let in_force = self.authority.pip().policy().snapshot.digest();
        Ok(json!({
            "releases": releases, "newest": kept.newest, "active": kept.active,
            "in_force": { "digest": in_force, "release": release }, "observed": observed,
        }))
    }

    /// The set in force, as it was released or read from files.
    async fn in_force(&self, by: &PersonId) -> Result<Value, AdminError> {
        self.may_read(by, "policy").await?;
        let Content { files, release } = self.publisher.turn().await.clone();
        let digest = self.authority.pip().policy().snapshot.digest();
        Ok(json!({ "files": files, "release": release, "digest": digest }))
    }
}

/// The set that an act is about, or what was named for one.
fn target(version: u64, found: Option<&Release>) -> ResourceRef {
    let content = found.map(|release| release.terms.content.to_string());
    ResourceRef::Bundle(content.unwrap_or_else(|| version.to_string()))
}

async fn kept(draft: &mut Draft<'_>) -> Result<Releases, AdminError> {
    let found = draft.reader.find::<Releases>(FactKey::releases()).await;
    Ok(found.map_err(AdminError::unavailable)?.unwrap_or_default())
}

/// Whether who signed it still answers for that.
async fn stands(draft: &mut Draft<'_>, by: Option<&SignedBy>) -> Result<(), AdminError> {
    let Some(by) = by else { return Ok(()) };
    let person = draft.reader.need::<Person>(FactKey::person(&by.person)).await;
    if person.map_err(AdminError::unavailable)?.answers_for(by.at) {
        return Ok(());
    }
    Err(AdminError::Invalid("who signed it does not answer for it any longer".to_owned()))
}

/// What the record of an act about `release` tells.
fn told(release: &Release) -> Value {
    let by = |signed: Option<&SignedBy>| {
        signed.map(|it| json!({ "person": it.person, "at": it.at, "word": it.word }))
    };
    let activation = match &release.state {
        ReleaseState::Active { activation, .. } => Some(activation),
        _ => None,
    };
    json!({
        "terms": release.terms, "digest": release.digest(), "author": by(release.author.as_ref()),
        "approver": by(release.approver()), "activation": activation,
    })
}

fn unsigned() -> AdminError {
    let why = "a release is signed by the keys of two people: say whose with `--as` and `--key`";
    AdminError::Invalid(why.to_owned())
}
