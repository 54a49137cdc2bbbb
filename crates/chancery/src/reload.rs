//! Policy while the service runs: the active release, or, where that is meant, the starter policy, or files, read again
//! when they change and are whole.
//!
//! What is on disk is put in force only if it was seen the same twice (a file may be half written),
//! if no file of it is empty or gone (a forbid could be gone with it), and if it compiles. Else the
//! last good set stays in force, and that is told. SIGHUP says that what is there is meant.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::ensure;
use authority::{Authority, SharedCompiler};
use pap::{Content, PolicyFiles, PolicyKey, Publisher};

use crate::config::Config;
use crate::{founding, policy_set};

/// What a look at the files found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// What is on disk is in force.
    InForce,
    /// They changed; the next look tells whether that is all.
    Changing,
    /// They are not put in force, because of this.
    Refused(String),
}

/// Why the last good set stays in force in place of another one, if it does.
#[derive(Default)]
pub(crate) struct Stale(Option<String>);

impl Stale {
    /// Takes what a look found; gives the reason, if it is another than after the look before.
    pub(crate) fn news(&mut self, looked: Looked) -> Option<&str> {
        match looked {
            Looked::InForce => self.0 = None,
            Looked::Refused(why) if self.0.as_ref() != Some(&why) => {
                return Some(self.0.insert(why).as_str());
            }
            Looked::Changing | Looked::Refused(_) => {}
        }
        None
    }

    /// Whether it does.
    pub(crate) const fn is_so(&self) -> bool {
        self.0.is_some()
    }
}

/// Puts the active release in force, or, where the configuration says so, the starter policy, or files, which are
/// watched: those only of a deployment for development.
pub(crate) async fn in_force(
    config: &Config,
    authority: &Arc<Authority>,
    key: &PolicyKey,
) -> anyhow::Result<(Arc<Publisher>, Option<PolicyWatch>)> {
    let (content, loose) = if let Some(path) = &config.policy.path {
        let path_shown = path.display();
        ensure!(
            pap::is_for_development(authority.journal()).await?,
            "policy is read from files only where a deployment was founded for development, and this one was not: remove \
             `policy.path` and `policy.allow_loose`, and release what is in `{path_shown}` (`chancery policy publish \
             {path_shown}`, `policy approve`, `policy activate`); where no release can be in force meanwhile, say \
             `policy.starter: true` until one is (docs/releases.md)"
        );
        tracing::warn!("policy is read from files, which nobody signs: `policy.allow_loose`");
        (Content { files: policy_set::files(path)?, ..Content::default() }, Some(path.clone()))
    } else if config.policy.starter {
        tracing::warn!("the starter policy is in force in place of releases: `policy.starter`");
        (Content { files: founding::starter(), ..Content::default() }, None)
    } else {
        (pap::release_at_start(authority, key).await?, None)
    };
    let publisher = Publisher::new(authority.clone(), content.clone(), SharedCompiler::default());
    let publisher = Arc::new(publisher);
    let (warnings, left_out) = publisher.publish_usable().await?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    for tool in left_out {
        tracing::error!("{tool}");
    }
    observed(authority, key, &publisher).await;
    let watch = loose.map(|path| PolicyWatch::new(path, publisher.clone(), content.files));
    Ok((publisher, watch))
}

/// Has the release decide beside what is in force that is under observation. Whatever is wrong with it keeps nothing from
/// being in force.
async fn observed(authority: &Arc<Authority>, key: &PolicyKey, publisher: &Publisher) {
    let now = authority.clock().now();
    let put = match pap::observed_release(authority.journal(), key, now).await {
        Ok(None) => return,
        Ok(observed) => {
            let put = publisher.observe(observed).await;
            put.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = put {
        tracing::warn!(%error, "no set is under observation");
    }
}

/// Looks at the policy files of a running service.
pub(crate) struct PolicyWatch {
    path: PathBuf,
    publisher: Arc<Publisher>,
    in_force: PolicyFiles,
    /// What was found last and is not in force, with the reason, if it was tried.
    found: Option<(PolicyFiles, Option<String>)>,
}

impl PolicyWatch {
    /// Watches the files in `path`, of which `in_force` were published.
    pub(crate) const fn new(
        path: PathBuf,
        publisher: Arc<Publisher>,
        in_force: PolicyFiles,
    ) -> Self {
        Self { path, publisher, in_force, found: None }
    }

    /// Looks once. `meant`: somebody said that what is there is meant.
    pub(crate) async fn look(&mut self, meant: bool) -> Looked {
        let files = match policy_set::files(&self.path) {
            Ok(files) => files,
            Err(error) => {
                self.found = None;
                return Looked::Refused(format!("{error:#}"));
            }
        };
        if files == self.in_force {
            self.found = None;
            return Looked::InForce;
        }
        if !meant {
            match self.found.take().filter(|(found, _)| *found == files) {
                None => {
                    self.found = Some((files, None));
                    return Looked::Changing;
                }
                Some((found, Some(why))) => {
                    self.found = Some((found, Some(why.clone())));
                    return Looked::Refused(why);
                }
                Some((_, None)) => {}
            }
        }
        let put = self.put_in_force(&files, meant).await;
        match put {
            Ok(()) => {
                self.in_force = files;
                Looked::InForce
            }
            Err(why) => {
                self.found = Some((files, Some(why.clone())));
                Looked::Refused(why)
            }
        }
    }

    async fn put_in_force(&self, files: &PolicyFiles, meant: bool) -> Result<(), String> {
        if let (Some(gone), false) = (gone(&self.in_force, files), meant) {
            return Err(format!("the policy file `{gone}` is gone: if that is meant, send SIGHUP"));
        }
        let published =
            self.publisher.replace(Content { files: files.clone(), ..Content::default() }).await;
        published.map(drop).map_err(|error| error.to_string())
    }
}

/// The first file of the set `was` that `is` has no more: a policy, or what is said beside them.
fn gone(was: &PolicyFiles, is: &PolicyFiles) -> Option<String> {
    let names = |files: &PolicyFiles| -> BTreeSet<String> {
        files.policies.keys().cloned().chain(files.beside_policies().into_keys()).collect()
    };
    let (was, is) = (names(was), names(is));
    was.difference(&is).next().cloned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Change = fn(&mut PolicyFiles);

    /// Each reason is told once, also one that follows another, and that comes back.
    #[test]
    fn a_reason_is_told_whenever_it_is_another() {
        let refused = |why: &str| Looked::Refused(why.to_owned());
        let rows = [
            (Looked::Changing, None, false),
            (refused("cut"), Some("cut"), true),
            (refused("cut"), None, true),
            (Looked::Changing, None, true),
            (refused("cut"), None, true),
            (refused("gone"), Some("gone"), true),
            (refused("cut"), Some("cut"), true),
            (Looked::InForce, None, false),
            (refused("cut"), Some("cut"), true),
        ];
        let mut stale = Stale::default();
        for (at, (looked, news, is_so)) in rows.into_iter().enumerate() {
            assert_eq!(stale.news(looked), news, "{at}");
            assert_eq!(stale.is_so(), is_so, "{at}");
        }
    }

    #[test]
    fn whatever_decides_can_be_gone() {
        let one = |name: &str| BTreeMap::from([(name.to_owned(), "text".to_owned())]);
        let all = PolicyFiles {
            policies: one("a.cedar"),
            schema: one("own.cedarschema"),
            labels: Some("text".to_owned()),
            budgets: Some("text".to_owned()),
            strictness: Some("text".to_owned()),
            cases: one("cases/a.yaml"),
        };
        let rows: [(Change, Option<&str>); 8] = [
            (|_| {}, None),
            (|files| files.policies.clear(), Some("a.cedar")),
            (|files| files.schema.clear(), Some("own.cedarschema")),
            (|files| files.labels = None, Some("labels.yaml")),
            (|files| files.budgets = None, Some("budgets.yaml")),
            (|files| files.strictness = None, Some("strictness.yaml")),
            // What is tried decides nothing, and what says something else is not gone.
            (|files| files.cases.clear(), None),
            (|files| files.labels = Some("other".to_owned()), None),
        ];
        for (change, expected) in rows {
            let mut now = all.clone();
            change(&mut now);
            assert_eq!(gone(&all, &now).as_deref(), expected);
            assert_eq!(gone(&now, &all), None, "what is new is not gone");
        }
    }
}
