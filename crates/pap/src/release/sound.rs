//! Whether a release is what two people signed, and whether it is the newest that was in force.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use authority::{FactsError, Reader};
use journal::Journal;
use keys::{KeyRingError, Signer as _, SigningKey, VerifyingKey};
use model::{
    Activation, Approval, FactKey, FormerKeys, PersonId, Release, ReleaseState, Releases, SignedBy,
    Timestamp,
};
use oauth::word;
use pdp::Bundle;
use serde_json::Value;

use crate::AdminError;
use crate::flips::PolicyFiles;
use crate::founding::{founder_key, is_for_development};
use crate::policy::Content;

/// Why a release is not put in force.
#[derive(Debug, thiserror::Error)]
pub enum Unsound {
    /// None was put in force.
    #[error(
        "no release of policy is active: let the service run by the starter policy (`policy.starter: true`) until one \
         is"
    )]
    None,
    /// Another one was in force after it.
    #[error(
        "release {version} of policy is older than {newest}, which was active here: bring back what it held as a new \
         one (`policy rollback`)"
    )]
    Older {
        /// The release.
        version: u64,
        /// The newest one.
        newest: u64,
    },
    /// Its time is over.
    #[error("release {version} of policy expired at {expires}: publish another one")]
    Expired {
        /// The release.
        version: u64,
        /// Since when.
        expires: Timestamp,
    },
    /// It is not what was signed.
    #[error(
        "release {version} of policy was altered or is not signed: {why}; it stays as it is, so publish the set again"
    )]
    Altered {
        /// The release.
        version: u64,
        /// What does not fit.
        why: &'static str,
    },
    /// It cannot be read.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// What stands beside the keys cannot be read or written.
    #[error(transparent)]
    Keys(#[from] KeyRingError),
    /// It does not say what it should.
    #[error("`{0}` does not say which release of policy is the newest that was active")]
    Newest(PathBuf),
    /// How the deployment was founded cannot be read.
    #[error("could not read how the deployment was founded: {0}")]
    Founding(String),
}

impl Unsound {
    /// What tells it from others, if somebody has to look; none if it may be over by itself.
    pub(crate) fn cause(&self) -> Option<String> {
        Some(match self {
            Self::None => "release_refused/none".to_owned(),
            Self::Older { version, .. } => format!("release_refused/older/{version}"),
            Self::Expired { version, .. } => format!("release_refused/expired/{version}"),
            Self::Altered { version, .. } => format!("release_refused/altered/{version}"),
            Self::Facts(FactsError::Damaged { .. } | FactsError::Missing(_)) => {
                "release_refused/damaged".to_owned()
            }
            Self::Keys(_) | Self::Newest(_) => "release_refused/keys".to_owned(),
            Self::Facts(_) | Self::Founding(_) => return None,
        })
    }

    /// Whether what the store says of releases is not what it should be, which another release mends.
    pub(crate) const fn is_of_the_store(&self) -> bool {
        matches!(
            self,
            Self::None
                | Self::Older { .. }
                | Self::Altered { .. }
                | Self::Facts(FactsError::Damaged { .. } | FactsError::Missing(_))
        )
    }
}

impl From<Unsound> for AdminError {
    fn from(reason: Unsound) -> Self {
        match reason {
            Unsound::Facts(error) => Self::unavailable(error),
            Unsound::Keys(_) | Unsound::Newest(_) | Unsound::Founding(_) => {
                Self::unavailable(reason)
            }
            Unsound::None
            | Unsound::Older { .. }
            | Unsound::Expired { .. }
            | Unsound::Altered { .. } => Self::Refused(reason.to_string()),
        }
    }
}

/// The key that countersigns what is put in force, and beside it the newest version that was.
pub struct PolicyKey {
    key: Arc<SigningKey>,
    newest: PathBuf,
}

impl PolicyKey {
    /// The `key`, which lies in `dir`.
    pub fn new(key: Arc<SigningKey>, dir: &Path) -> Self {
        Self { key, newest: dir.join("policy.newest") }
    }

    /// The newest version that was active, as far as it is known here.
    pub(crate) fn newest(&self) -> Result<u64, Unsound> {
        match keys::read_private(&self.newest) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes).ok();
                let version = text.and_then(|text| text.trim().parse().ok());
                version.ok_or_else(|| Unsound::Newest(self.newest.clone()))
            }
            Err(KeyRingError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(0)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Remembers that `version` was active.
    pub(crate) fn remember(&self, version: u64) -> Result<(), Unsound> {
        if self.newest()? < version {
            keys::replace_private(&self.newest, format!("{version}\n").as_bytes())?;
        }
        Ok(())
    }

    /// The signature that `release` is put in force by `by` at `at`.
    pub(crate) fn countersigned(
        &self,
        release: &Release,
        (by, at): (&PersonId, Timestamp),
    ) -> Result<Activation, AdminError> {
        let signed = self.key.sign(&release.activated_bytes(by, at));
        let signature = keys::base64url(&signed.map_err(AdminError::unavailable)?);
        Ok(Activation { by: by.clone(), at, signature })
    }

    fn verifies(&self, release: &Release, activation: &Activation) -> bool {
        let bytes = release.activated_bytes(&activation.by, activation.at);
        let signature = keys::from_base64url(&activation.signature);
        signature.is_some_and(|signature| self.key.verifying().verify(&bytes, &signature))
    }
}

/// What the store holds of one release.
pub(crate) struct Sound {
    /// The release.
    pub(crate) release: Release,
    /// Its content.
    pub(crate) files: PolicyFiles,
}

/// The release that is to be in force, which is sound. Whether it has expired is for others to see.
pub(crate) async fn active_release(journal: &Journal, key: &PolicyKey) -> Result<Content, Unsound> {
    let mut reader = Reader::new(journal.store().as_ref());
    let releases = reader.find::<Releases>(FactKey::releases()).await?.unwrap_or_default();
    let version = releases.active;
    if version == 0 {
        return Err(Unsound::None);
    }
    let newest = key.newest()?;
    if version < newest {
        return Err(Unsound::Older { version, newest });
    }
    let Sound { release, files } = sound(journal, key, version).await?;
    let ReleaseState::Active { .. } = release.state else {
        return Err(Unsound::Altered { version, why: "it is not the active one" });
    };
    key.remember(version)?;
    Ok(Content { files, release: Some(version), expires: release.terms.expires })
}

/// The release that is to be under observation, if one that still waits is, which is sound and not expired at `now`.
pub async fn observed_release(
    journal: &Journal,
    key: &PolicyKey,
    now: Timestamp,
) -> Result<Option<Content>, Unsound> {
    let mut reader = Reader::new(journal.store().as_ref());
    let releases = reader.find::<Releases>(FactKey::releases()).await?.unwrap_or_default();
    let Some(version) = releases.observed else { return Ok(None) };
    let Sound { release, files } = sound(journal, key, version).await?;
    match release.state {
        ReleaseState::Released { .. } => {}
        ReleaseState::Active { .. }
        | ReleaseState::Superseded { .. }
        | ReleaseState::Withdrawn { .. } => return Ok(None),
        ReleaseState::Proposed => {
            return Err(Unsound::Altered { version, why: "nobody approved it" });
        }
    }
    in_time((version, release.terms.expires), now)?;
    let expires = release.terms.expires;
    Ok(Some(Content { files, release: Some(version), expires }))
}

/// Whether the release `version` that `expires` may be put in force at `now`.
pub(crate) fn in_time(
    (version, expires): (u64, Option<Timestamp>),
    now: Timestamp,
) -> Result<(), Unsound> {
    match expires {
        Some(expires) if expires <= now => Err(Unsound::Expired { version, expires }),
        _ => Ok(()),
    }
}

/// The release `version` with its content, if both are what was signed.
pub(crate) async fn sound(
    journal: &Journal,
    key: &PolicyKey,
    version: u64,
) -> Result<Sound, Unsound> {
    let mut reader = Reader::new(journal.store().as_ref());
    let altered = |why| Unsound::Altered { version, why };
    let whole = |error| match error {
        FactsError::Damaged { .. } | FactsError::Missing(_) => altered("it is not whole"),
        other => other.into(),
    };
    let release: Release = reader.need(FactKey::release(version)).await.map_err(whole)?;
    let terms = &release.terms;
    if terms.version != version {
        return Err(altered("it has another version"));
    }
    let bundle: Bundle = reader.need(FactKey::policy(&terms.content)).await.map_err(whole)?;
    if bundle.digest() != terms.content || !bundle.tools.is_empty() {
        return Err(altered("its content is not what its digest says"));
    }
    people(journal, &mut reader, &release).await?.map_err(altered)?;
    match &release.state {
        // Who wrote and approved it is countersigned with it: nobody adds or removes them.
        ReleaseState::Active { activation, .. } | ReleaseState::Superseded { activation, .. } => {
            if !key.verifies(&release, activation) {
                return Err(altered("the policy key did not countersign it"));
            }
        }
        ReleaseState::Proposed | ReleaseState::Released { .. } | ReleaseState::Withdrawn { .. } => {
            if release.author.is_none() {
                return Err(altered("nobody published it"));
            }
        }
    }
    Ok(Sound { release, files: bundle.into() })
}

/// Whether its author signed `release`, and another person approved it.
async fn people(
    journal: &Journal,
    reader: &mut Reader<'_>,
    release: &Release,
) -> Result<Result<(), &'static str>, Unsound> {
    if let Some(author) = &release.author
        && !is_signed(reader, author, &release.terms.published()).await?
    {
        return Ok(Err("its author did not sign it"));
    }
    let Some(Approval { base, by: approver }) = release.approval() else { return Ok(Ok(())) };
    if !is_signed(reader, approver, &release.approval_over(base)).await? {
        return Ok(Err("its approver did not sign it"));
    }
    let is_one = release.author.as_ref().is_some_and(|author| author.person == approver.person);
    let development = is_for_development(journal).await;
    if is_one && !development.map_err(|error| Unsound::Founding(error.to_string()))? {
        return Ok(Err("its author approved it"));
    }
    Ok(Ok(()))
}

/// Whether `by` signed what is `said`, by the key that is registered of them, or was before: by that nothing is signed
/// any more since it was replaced. Whether it still counts where it waits, is for who approves and activates it
/// ([`is_signed_by_now`]).
async fn is_signed(
    reader: &mut Reader<'_>,
    by: &SignedBy,
    said: &Value,
) -> Result<bool, FactsError> {
    let former = reader.find::<FormerKeys>(FactKey::former_keys(&by.person)).await?;
    let is_former = former.unwrap_or_default().0.iter().any(|key| is_by(key, by, said));
    Ok(is_former || is_signed_by_now(reader, by, said).await?)
}

/// Whether `by` signed what is `said` by the key that is theirs now.
pub(super) async fn is_signed_by_now(
    reader: &mut Reader<'_>,
    by: &SignedBy,
    said: &Value,
) -> Result<bool, FactsError> {
    let key = reader.find::<Value>(founder_key(&by.person)).await?;
    Ok(key.is_some_and(|key| is_by(&key, by, said)))
}

fn is_by(jwk: &Value, by: &SignedBy, said: &Value) -> bool {
    let Ok(key) = VerifyingKey::from_jwk(jwk) else { return false };
    let parties = (by.person.as_str(), by.url.as_str());
    let read = word::verify(&by.word, parties, &key, by.at.as_seconds());
    read.is_ok_and(|read| read.command == *said)
}
