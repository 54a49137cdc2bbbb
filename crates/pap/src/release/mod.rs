//! Releases of policy: one person publishes, another approves, and then one is put in force.
//!
//! INVARIANT: an author is not the approver, and the service's own user is neither; versions only go forward
//! (`r_39_…`). A deployment for development has one administrator, who is both.

mod activating;
mod founded;
mod locking;
mod observe;
mod owned;
mod sound;

use std::time::Duration;

use authority::{Administered, FactsError, Reader};
use model::{
    Approval, Base, FactKey, PersonId, PolicyDigest, Release, ReleaseState, ReleaseTerms, Releases,
    ResourceRef, Sha256Digest, SignedBy, Timestamp,
};
use pdp::Bundle;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::asked::Command;
use crate::command::{AdminError, Administration, Draft};
use crate::flips::PolicyFiles;
use crate::founding::is_for_development;
use crate::policy::{Content, Tried};
use crate::register::{known, put, put_new};
use crate::words::{Acting, answers_for};
pub use activating::{RELEASE_BRIEF, release_at_start};
use founded::publish_first;
use owned::is_owned;
pub use sound::{PolicyKey, Unsound, observed_release};
use sound::{Sound, in_time, is_signed_by_now, sound};

/// How the keys of releases begin.
const RELEASES: &str = "release/";

/// How the names of schema parts end.
const SCHEMA_PART: &str = ".cedarschema";

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
    /// The digest of what its author proved of it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub proof: Option<Sha256Digest>,
    /// Who answers for it; its author, unless somebody else is named.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub owner: Option<PersonId>,
}

impl From<ReleaseAsked> for ReleaseTerms {
    fn from(asked: ReleaseAsked) -> Self {
        let ReleaseAsked { version, content, expires, rollback_of, proof, owner } = asked;
        Self { version, content, expires, rollback_of, proof, owner }
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
                let (base, _) = self.base_of(found.as_ref()).await?;
                let said = found.as_ref().map_or(Value::Null, |it| it.approval_over(&base));
                let (by, uses) = self.acting_as_one(by, word.as_deref(), &said).await?;
                let signed = self.signature(&by, (word, at));
                let done = self.approve((by, uses.clone()), (version, found, base), signed).await;
                self.settled(done, uses).await
            }
            Command::PolicyObserve { version } => self.observe(by, version).await,
            Command::PolicyActivate { version, content } => {
                self.activate(by, (version, content)).await
            }
            Command::PolicyWithdraw { version } => self.withdraw(by, version).await,
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
        let author = signed.ok_or_else(unsigned)?;
        if let Some(release) = self.founded_with(&mut draft, (&terms, &author)).await? {
            return publish_first((draft, effects), &release).await;
        }
        let mut releases = self.kept(&mut draft).await?;
        let next = releases.newest + 1;
        if terms.version != next {
            let why = format!("the next version is {next}: publish again");
            return Err(AdminError::Invalid(why));
        }
        self.is_proved(&terms)?;
        let author = Some(author);
        let mut release = Release { terms, author, cases: None, state: ReleaseState::Proposed };
        is_owned(&mut draft.reader, &release).await?;
        ends_in_time(&release.terms, self.now())?;
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
            let why = "the content is not what its digest says: publish the set again".to_owned();
            return Err(AdminError::Invalid(why));
        }
        are_schema_parts(&files)?;
        let Tried { snapshot, cases, .. } =
            Box::pin(self.publisher.tried_to_publish(&files)).await?;
        release.cases = Some(cases);
        releases.newest = next;
        effects.extend([
            put(FactKey::policy(&release.terms.content), &bundle),
            put_new(FactKey::release(next), &release),
            put(FactKey::releases(), &releases),
        ]);
        let done = draft.make(told(&release), effects).await?;
        let mut warnings: Vec<_> = snapshot.warnings().iter().map(ToString::to_string).collect();
        warnings.extend(self.locks_out(&snapshot, &release.terms.content).await?);
        Ok(proposed(&release, (warnings, &done)))
    }

    /// The content of a release that was in force.
    async fn content_of(&self, version: u64) -> Result<PolicyFiles, AdminError> {
        let Sound { release, files } = self.sound(version).await?;
        match release.state {
            ReleaseState::Superseded { .. } => Ok(files),
            ReleaseState::Proposed
            | ReleaseState::Released { .. }
            | ReleaseState::Active { .. }
            | ReleaseState::Withdrawn { .. } => {
                let why = format!(
                    "release {version} is none that was in force before: `policy history` lists those"
                );
                Err(AdminError::Invalid(why))
            }
        }
    }

    /// Approves what somebody else published, in place of `base`: from now on it can be put in force.
    async fn approve(
        &self,
        (by, mut effects): Acting,
        (version, found, base): (u64, Option<Release>, Base),
        signed: Option<SignedBy>,
    ) -> Result<Value, AdminError> {
        let mut draft = self.draft(&by, "policy/approve", target(version, found.as_ref())).await?;
        let by_approver = signed.ok_or_else(unsigned)?;
        let Sound { release, .. } = self.in_turn(&mut draft, version).await?;
        if self.base_of(Some(&release)).await?.0 != base {
            let why = "another release was put in force meanwhile: approve again";
            return Err(AdminError::Conflict(why.to_owned()));
        }
        let is_own = release.author.as_ref().is_some_and(|author| author.person == by);
        if is_own && !is_for_development(self.authority.journal()).await? {
            return Err(self.takes_another("approved_by_the_same_person"));
        }
        let author = (release.author.as_ref(), &release.terms.published());
        stands(&mut draft, author, ("policy/publish", &release)).await?;
        is_owned(&mut draft.reader, &release).await?;
        let release = release.approved(Approval { base, by: by_approver });
        let release = release.ok_or_else(|| {
            AdminError::Invalid(format!(
                "release {version} waits for nobody's approval any longer: publish the set again"
            ))
        })?;
        let release = self.countersigned_anew(release)?;
        effects.push(put(FactKey::release(version), &release));
        let done = draft.make(told(&release), effects).await?;
        Ok(json!({ "released": version, "over": base, "decision": done.decision }))
    }

    /// Takes back a release that was not in force yet, and ends its observation: one person suffices, as it only takes
    /// away.
    async fn withdraw(&self, by: &PersonId, version: u64) -> Result<Value, AdminError> {
        let found = self.reader().find::<Release>(FactKey::release(version)).await;
        let target = target(version, found.ok().flatten().as_ref());
        let mut draft = self.draft(by, "policy/withdraw", target).await?;
        let of = format!("release {version} of policy");
        let release = known::<Release>(&mut draft.reader, FactKey::release(version), &of).await?;
        let withdrawn = release.withdrawn(by.clone(), self.now()).ok_or_else(|| {
            AdminError::Invalid(format!(
                "release {version} was in force, or was withdrawn before: bring another one back (`policy rollback`)"
            ))
        })?;
        let mut effects = vec![put(FactKey::release(version), &withdrawn)];
        // Nobody else observes anything meanwhile.
        let _turn = self.publisher.turn().await;
        let mut releases = self.kept(&mut draft).await?;
        let ends = releases.observed == Some(version);
        if ends {
            releases.observed = None;
            effects.push(put(FactKey::releases(), &releases));
        }
        let done = draft.make(told(&withdrawn), effects).await?;
        if ends {
            self.publisher.observe(None).await?;
        }
        Ok(json!({ "withdrawn": version, "decision": done.decision }))
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
        // What is in force was put there as it is.
        if !found.release.is_unapproved() {
            self.is_proved(&found.release.terms)?;
        }
        let newest = self.kept(draft).await?.active;
        let older = Unsound::Older { version, newest };
        let in_turn = if version < newest { Err(older) } else { Ok(()) };
        let expires = found.release.terms.expires;
        let in_turn = in_turn.and_then(|()| in_time((version, expires), self.now()));
        in_turn.inspect_err(|error| drop(self.alarmed(error)))?;
        Ok(found)
    }

    /// Whether its author says that it is proved, where that is required. What was in force comes back without.
    fn is_proved(&self, terms: &ReleaseTerms) -> Result<(), AdminError> {
        if !self.requires_proof || terms.proof.is_some() || terms.rollback_of.is_some() {
            return Ok(());
        }
        let why = format!(
            "release {} is not proved, as releases are here (`policy.require_proof`): publish the set with its proof",
            terms.version
        );
        Err(AdminError::Invalid(why))
    }

    /// A release with its content, and what it would replace.
    async fn release(&self, by: &PersonId, version: u64) -> Result<Value, AdminError> {
        self.may_read(by, "release").await?;
        let Sound { release, files } = self.sound(version).await?;
        let (base, replaced) = self.base_of(Some(&release)).await?;
        Ok(json!({ "release": release, "files": files, "base": base, "replaced": replaced }))
    }

    /// All releases, and what is in force of them. What cannot be read of them is told as damaged.
    async fn history(&self, by: &PersonId) -> Result<Value, AdminError> {
        self.may_read(by, RELEASES).await?;
        let (mut releases, mut pages) = (Vec::new(), self.pages(RELEASES));
        while let Some(facts) = pages.next().await.map_err(AdminError::unavailable)? {
            releases.extend(facts.iter().map(|(key, body)| listed(key, body)));
        }
        let kept = self.kept_by(&mut self.reader()).await?;
        let (base, _) = self.base().await?;
        let signers: Vec<_> = self.signers().await?.into_iter().map(|person| person.id).collect();
        let release = self.publisher.turn().await.release;
        let (owner, is_here) = self.owner_in_force(release).await?;
        let observed = kept.observed.map(|release| self.observation(release));
        let in_force = self.authority.pip().policy().snapshot.digest();
        let development = is_for_development(self.authority.journal()).await?;
        Ok(json!({
            "releases": releases, "newest": kept.newest, "active": kept.active, "base": base,
            "signers": signers, "requires_proof": self.requires_proof, "development": development,
            "in_force": {
                "digest": in_force, "release": release, "owner": owner, "owned": is_here,
            },
            "observed": observed,
        }))
    }

    /// The set in force, as it was released or read from files.
    async fn in_force(&self, by: &PersonId) -> Result<Value, AdminError> {
        self.may_read(by, "policy").await?;
        let Content { files, release, expires: _ } = self.publisher.turn().await.clone();
        let digest = self.authority.pip().policy().snapshot.digest();
        Ok(json!({ "files": files, "release": release, "digest": digest }))
    }

    /// Which releases there are.
    async fn kept(&self, draft: &mut Draft<'_>) -> Result<Releases, AdminError> {
        self.kept_by(&mut draft.reader).await
    }

    /// The same; if that was damaged, what the releases themselves and the file beside the keys say. No version that
    /// was in force is given again, though an older database does not know of it.
    async fn kept_by(&self, reader: &mut Reader<'_>) -> Result<Releases, AdminError> {
        let known = self.policy_key.newest()?;
        let kept = match reader.find::<Releases>(FactKey::releases()).await {
            Ok(found) => found.unwrap_or_default(),
            Err(FactsError::Damaged { .. }) => {
                let (mut newest, mut pages) = (0, self.pages(RELEASES));
                while let Some(facts) = pages.next().await.map_err(AdminError::unavailable)? {
                    newest =
                        facts.iter().filter_map(|(key, _)| version_of(key)).fold(newest, u64::max);
                }
                Releases { newest, active: known, observed: None }
            }
            Err(other) => return Err(AdminError::unavailable(other)),
        };
        Ok(Releases { newest: kept.newest.max(known), ..kept })
    }
}

/// A release as the store has it under `key`, with who owns it.
fn listed(key: &FactKey, body: &[u8]) -> Value {
    match serde_json::from_slice::<Release>(body) {
        Ok(release) => {
            let mut row = json!(release);
            row["owner"] = json!(release.owner().map(|(owner, _)| owner));
            row
        }
        Err(_) => json!({ "terms": { "version": version_of(key) }, "state": { "is": "damaged" } }),
    }
}

/// The version whose release is kept under `key`.
fn version_of(key: &FactKey) -> Option<u64> {
    key.as_str().strip_prefix(RELEASES)?.parse().ok()
}

/// The set that an act is about, or what was named for one.
fn target(version: u64, found: Option<&Release>) -> ResourceRef {
    let content = found.map(|release| release.terms.content.to_string());
    ResourceRef::Bundle(content.unwrap_or_else(|| version.to_string()))
}

/// Whether who signed what is `said` of it still answers for that, by the key by which they signed it, and may still
/// do so: `policy/publish`, or `policy/approve`.
async fn stands(
    draft: &mut Draft<'_>,
    (by, said): (Option<&SignedBy>, &Value),
    (action, release): (&'static str, &Release),
) -> Result<(), AdminError> {
    let Some(by) = by else { return Ok(()) };
    let is_signed = is_signed_by_now(&mut draft.reader, by, said).await;
    let is_signed = is_signed.map_err(AdminError::unavailable)?;
    if !is_signed || !answers_for(&mut draft.reader, (&by.person, by.at)).await? {
        let why = "who signed it does not answer for it any longer, or has another key since: publish the set again";
        return Err(AdminError::Invalid(why.to_owned()));
    }
    let target = target(release.terms.version, Some(release));
    let may = draft.includes((&by.person).into(), action, target).await?;
    may.map_err(|why| {
        let remedy = "somebody else publishes or approves it";
        AdminError::Refused(format!("who signed it may not any longer ({action}): {why}; {remedy}"))
    })
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
        "owner": release.owner().map(|(owner, _)| owner),
        "approver": by(release.approval().map(|it| &it.by)),
        "cases": release.cases,
        "base": release.approval().map(|it| it.base), "activation": activation,
    })
}

/// Whether the schema parts have names that no other file of a set has: of two by one name, whoever approves would be
/// shown one.
fn are_schema_parts(files: &PolicyFiles) -> Result<(), AdminError> {
    match files.schema.keys().find(|name| name.strip_suffix(SCHEMA_PART).is_none()) {
        None => Ok(()),
        Some(other) => {
            let shown = other.escape_debug();
            Err(AdminError::Invalid(format!(
                "`{shown}` is no schema part: name it `NAME{SCHEMA_PART}`"
            )))
        }
    }
}

/// Whether what is published could be put in force at `now`, and does not end too far ahead.
fn ends_in_time(terms: &ReleaseTerms, now: Timestamp) -> Result<(), AdminError> {
    in_time((terms.version, terms.expires), now)?;
    if terms.expires.is_some_and(|expires| expires > now.plus(EXPIRES_MAX)) {
        let days = EXPIRES_MAX.as_secs() / 86_400;
        return Err(AdminError::Invalid(format!(
            "a release expires within {days} days: say so (`--expires {days}d`)"
        )));
    }
    Ok(())
}

/// What is told of a release that was published.
fn proposed(release: &Release, (warnings, done): (Vec<String>, &Administered)) -> Value {
    json!({
        "version": release.terms.version, "content": release.terms.content,
        "digest": release.digest(), "cases": release.cases,
        "waits": "for somebody else's approval", "warnings": warnings, "decision": done.decision,
    })
}

fn unsigned() -> AdminError {
    let why = "a release is signed by the keys of two people: say whose with `--as` and `--key`";
    AdminError::Invalid(why.to_owned())
}
