//! Which agents stopped by a record that is about several: looked for once for all receivers, and only where
//! somebody whom it is about sponsors any.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use model::{Agent, AgentName, FactKey, PersonId, Revision, Timestamp};

use super::happened::Stopped;
use crate::command::{AdminError, Administration};

/// Of how many records it is kept who stopped by them: receivers are about as far as each other.
const KEPT_MAX: usize = 8;

/// Where agents are.
const AGENTS: &str = "agent/";

/// Which agents stopped, by record.
#[derive(Default)]
pub(super) struct Listed {
    sponsors: Arc<Mutex<Sponsors>>,
    /// By the index of the record.
    kept: tokio::sync::Mutex<BTreeMap<u64, Arc<BTreeSet<AgentName>>>>,
}

/// Who sponsors agents.
///
/// INVARIANT: whoever sponsored one at [`Sponsors::heard`] is among those who are known, or sponsors one that
/// changed; who sponsors none any longer may be among them, too.
#[derive(Default)]
struct Sponsors {
    /// None, if they were not looked for yet.
    known: Option<BTreeSet<PersonId>>,
    /// The agents that changed since they were.
    changed: BTreeSet<FactKey>,
    /// Up to where changes were heard.
    heard: Revision,
}

impl Sponsors {
    fn hear(&mut self, keys: &[FactKey], revision: Revision) {
        let agents = keys.iter().filter(|key| key.as_str().starts_with(AGENTS));
        self.changed.extend(agents.cloned());
        self.heard = self.heard.max(revision);
    }
}

impl Listed {
    /// One that hears of what changes in the register of `administration` from now on.
    pub(super) fn of(administration: &Administration) -> Self {
        let listed = Self::default();
        let sponsors = listed.sponsors.clone();
        let hear = move |keys: &[FactKey], revision: Revision| {
            sponsors.lock().expect("no panic while it is held").hear(keys, revision);
        };
        administration.authority.journal().store().on_change(Arc::new(hear));
        listed
    }

    /// The agents that are of `many`, who stopped by the record at `index` at that time, as they were when
    /// that was first asked.
    pub(super) async fn stopped(
        &self,
        administration: &Administration,
        (index, at): (u64, Timestamp),
        many: &Stopped,
    ) -> Result<Arc<BTreeSet<AgentName>>, AdminError> {
        // Whoever comes second waits for what the first finds.
        let mut kept = self.kept.lock().await;
        if let Some(known) = kept.get(&index) {
            return Ok(known.clone());
        }
        let may_have = match many {
            Stopped::Of(people) => self.sponsor(administration, people.keys()).await?,
            Stopped::One(_) | Stopped::These(_) | Stopped::All => true,
        };
        let mut stopped = BTreeSet::new();
        if may_have {
            let see = |agent: Agent| {
                if many.has(&agent, at) {
                    stopped.insert(agent.name);
                }
            };
            each_agent(administration, see).await?;
        }
        let stopped = Arc::new(stopped);
        kept.insert(index, stopped.clone());
        if kept.len() > KEPT_MAX {
            kept.pop_first();
        }
        Ok(stopped)
    }

    /// Whether one of `people` may sponsor an agent.
    async fn sponsor(
        &self,
        administration: &Administration,
        mut people: impl Iterator<Item = &PersonId>,
    ) -> Result<bool, AdminError> {
        // No older than the record, which was read before.
        let now = administration.authority.journal().store().load(&[]).await;
        let now = now.map_err(AdminError::unavailable)?.revision;
        let (is_known, changed) = {
            let mut sponsors = self.sponsors.lock().expect("no panic while it is held");
            if sponsors.known.is_some() && sponsors.heard < now {
                return Ok(true);
            }
            (sponsors.known.is_some(), std::mem::take(&mut sponsors.changed))
        };
        let found = sponsors_of(administration, is_known.then_some(&changed)).await;
        let mut sponsors = self.sponsors.lock().expect("no panic while it is held");
        match found {
            Ok(found) => {
                sponsors.known.get_or_insert_default().extend(found);
                sponsors.heard = sponsors.heard.max(now);
            }
            Err(error) => {
                sponsors.changed.extend(changed);
                return Err(error);
            }
        }
        Ok(people.any(|person| sponsors.known.as_ref().is_none_or(|known| known.contains(person))))
    }
}

/// Who sponsors the agents that `changed`; without these, any that there is.
async fn sponsors_of(
    administration: &Administration,
    changed: Option<&BTreeSet<FactKey>>,
) -> Result<BTreeSet<PersonId>, AdminError> {
    let mut sponsors = BTreeSet::new();
    let Some(changed) = changed else {
        let see = |agent: Agent| {
            sponsors.insert(agent.sponsor);
        };
        each_agent(administration, see).await?;
        return Ok(sponsors);
    };
    let mut reader = administration.reader();
    for key in changed {
        let agent = reader.find::<Agent>(key.clone()).await.map_err(AdminError::unavailable)?;
        sponsors.extend(agent.map(|agent| agent.sponsor));
    }
    Ok(sponsors)
}

/// Lets `see` see each agent that there is.
async fn each_agent(
    administration: &Administration,
    mut see: impl FnMut(Agent),
) -> Result<(), AdminError> {
    let mut pages = administration.pages(AGENTS);
    while let Some(facts) = pages.next().await.map_err(AdminError::unavailable)? {
        for (_, body) in facts {
            see(serde_json::from_slice(&body).map_err(AdminError::unavailable)?);
        }
    }
    Ok(())
}
