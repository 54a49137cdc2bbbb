//! Which files are in force in place of a release, and since when: that they were but briefly is a finding, as of a
//! release.

use authority::{Authority, Effect, FactsError, NewEntry};
use model::{FactKey, PolicyDigest, Stranger, Timestamp};
use pdp::Bundle;
use serde::{Deserialize, Serialize};

use crate::command::AdminError;
use crate::founding::is_for_development;
use crate::policy::Content;
use crate::register::put;
use crate::release::RELEASE_BRIEF;

/// The files that are in force.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Loose {
    /// By the digest of the set without tools.
    content: PolicyDigest,
    /// Since when.
    since: Timestamp,
}

impl Loose {
    /// The finding that they are which are replaced at `now`, if they were in force but briefly: one for each set.
    fn brief(&self, now: Timestamp) -> Option<Stranger> {
        let (content, lasted) = (self.content, now.since(self.since));
        (lasted < RELEASE_BRIEF).then(|| Stranger {
            cause: format!("files_brief/{content}"),
            tried: "policy".to_owned(),
            client: Some(format!("the files {content} were in force for {} s", lasted.as_secs())),
            ..Stranger::default()
        })
    }
}

/// What is written with it that `content` comes into force at `now`, by which files are told from others; and what
/// records a finding, if those before are one. Who is alone, in a deployment for development, tries their own files.
pub(crate) async fn noted(
    authority: &Authority,
    content: &Content,
    now: Timestamp,
) -> Result<(Vec<Effect>, Vec<NewEntry>), AdminError> {
    let mut reader = authority.pip().reader();
    let known = match reader.find::<Loose>(FactKey::policy_files()).await {
        Err(FactsError::Damaged { .. }) => None,
        found => found.map_err(AdminError::unavailable)?,
    };
    let is = content.release.is_none().then(|| Bundle::from(content.files.clone()).digest());
    if known.as_ref().map(|known| known.content) == is {
        return Ok((Vec::new(), Vec::new()));
    }
    let key = FactKey::policy_files();
    let mut effects = vec![match is {
        Some(content) => put(key, &Loose { content, since: now }),
        None => Effect::Remove { key },
    }];
    let Some(stranger) = known.and_then(|known| known.brief(now)) else {
        return Ok((effects, Vec::new()));
    };
    if is_for_development(authority.journal()).await? {
        return Ok((effects, Vec::new()));
    }
    let found = authority.found(&mut reader, stranger).await;
    let (finding, entry) = found.map_err(AdminError::unavailable)?;
    effects.push(put(FactKey::finding(&finding.id), &finding));
    Ok((effects, vec![entry]))
}
