//! The agent that work is handed on to, as whoever decides on that reads it.

use std::sync::Arc;

use model::{AgentFacts, AgentName, FactKey, Stop, StopTarget};

use crate::pip::{FactsError, Pip, Shared};

/// The agent that work is handed on to.
pub(crate) struct HandedTo {
    /// The agent, if it is registered.
    pub(crate) agent: Option<Arc<AgentFacts>>,
    /// Whether an administrator has stopped it.
    pub(crate) is_stopped: bool,
}

impl Pip {
    /// The agent `name`, to which work is to be handed on.
    pub(crate) async fn handed_to(&self, name: &AgentName) -> Result<Shared<HandedTo>, FactsError> {
        if let Some(known) = self.handed_to.get(name).filter(|known| self.is_fresh(known)) {
            return Ok(known);
        }
        let mut reader = self.reader();
        let agent = reader.agent(name).await?.map(Arc::new);
        let stop = FactKey::stop(&StopTarget::Agent(name.clone()));
        let is_stopped = reader.find::<Stop>(stop).await?.is_some();
        let read = Arc::new(reader.sourced(Arc::new(HandedTo { agent, is_stopped })));
        // Of names that nobody has none is kept: anybody who holds a task can make them up.
        if read.value.agent.is_some() {
            self.handed_to.insert(name.clone(), read.clone());
        }
        Ok(read)
    }
}
