//! Reads facts one after another and remembers which, and as of when.
//!
//! The facts of one reading may have been read at several revisions. They are consistent only if
//! none has changed since the oldest of these: freshness against that one, at the decision and
//! again at its commit, says so.

use model::{
    Agent, AgentFacts, AgentName, Device, Enrolled, FactKey, Instance, Revision, Sourced,
    Thumbprint,
};
use serde::de::DeserializeOwned;
use store::Store;

use crate::FactsError;

/// How many facts one page of a list has.
const LIST_PAGE: usize = 1_000;

/// All facts whose keys begin with `prefix`, in the order of their keys.
pub async fn all<T: DeserializeOwned>(
    store: &dyn Store,
    prefix: &str,
) -> Result<Vec<T>, FactsError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(prefix, after.as_ref(), LIST_PAGE).await?;
        for (key, body) in page.facts {
            let fact = serde_json::from_slice(&body);
            all.push(fact.map_err(|source| FactsError::Damaged { key, source })?);
        }
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}

/// Reads facts one after another and remembers which, and as of when.
pub struct Reader<'a> {
    store: &'a dyn Store,
    keys: Vec<FactKey>,
    oldest: Option<Revision>,
}

impl<'a> Reader<'a> {
    /// A reader of `store` that has read nothing yet.
    pub fn new(store: &'a dyn Store) -> Self {
        Self { store, keys: Vec::new(), oldest: None }
    }

    /// Reads the fact at `key`, if there is one.
    pub async fn find<T: DeserializeOwned>(
        &mut self,
        key: FactKey,
    ) -> Result<Option<T>, FactsError> {
        let loaded = self.store.load(std::slice::from_ref(&key)).await?;
        self.oldest = Some(self.oldest.map_or(loaded.revision, |r| r.min(loaded.revision)));
        let body = loaded.bodies.into_iter().next().flatten();
        let parsed = body.map(|body| serde_json::from_slice(&body)).transpose();
        let found = parsed.map_err(|source| FactsError::Damaged { key: key.clone(), source });
        self.keys.push(key);
        found
    }

    /// Reads the fact at `key`, which must be there.
    pub async fn need<T: DeserializeOwned>(&mut self, key: FactKey) -> Result<T, FactsError> {
        self.find(key.clone()).await?.ok_or(FactsError::Missing(key))
    }

    /// The agent `name` with who answers for it, if it is registered.
    pub(crate) async fn agent(
        &mut self,
        name: &AgentName,
    ) -> Result<Option<AgentFacts>, FactsError> {
        let Some(agent) = self.find::<Agent>(FactKey::agent(name)).await? else { return Ok(None) };
        let sponsor = self.need(FactKey::person(&agent.sponsor)).await?;
        Ok(Some(AgentFacts { agent, sponsor }))
    }

    /// The device `id` of `agent` with who enrolled it, if it was enrolled.
    pub async fn device(
        &mut self,
        agent: &AgentName,
        id: &Thumbprint,
    ) -> Result<Option<Enrolled>, FactsError> {
        let device = self.find::<Device>(FactKey::device(agent, id)).await?;
        let Some(device) = device else { return Ok(None) };
        let by = self.need(FactKey::person(&device.by)).await?;
        Ok(Some(Enrolled { device, by }))
    }

    /// The device that vouched for `instance`, if one did, with who enrolled it.
    pub async fn vouched_by(
        &mut self,
        instance: &Instance,
    ) -> Result<Option<Enrolled>, FactsError> {
        let Some(id) = &instance.device else { return Ok(None) };
        let missing = || FactsError::Missing(FactKey::device(&instance.agent, id));
        self.device(&instance.agent, id).await?.ok_or_else(missing).map(Some)
    }

    /// `value`, with what was read to make it.
    pub fn sourced<T>(self, value: T) -> Sourced<T> {
        let revision = self.oldest.unwrap_or_default();
        Sourced { value, keys: self.keys, revision }
    }
}
