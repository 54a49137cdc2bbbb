//! Whether an agent may begin anything now, whatever it would rest on: what is asked before people are.
//!
//! It decides nothing: what is begun is decided on whole, at its own time. It keeps agents that would
//! be denied from asking people meanwhile.

use model::{Agent, AgentName, AgentState, FactKey, Person, Stop, StopTarget, Stopped, Timestamp};

use crate::{FactsError, Reader};

/// Why an agent may begin nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtRest {
    /// It is not active, or its key has expired.
    Agent,
    /// Its lease has ended.
    Lease,
    /// Nobody answered its review by the date.
    Review,
    /// An administrator stopped it, or everything.
    Stopped,
    /// One of its instances is stopped because of what was seen of it.
    Quarantined,
    /// Nobody answers for it.
    Sponsor,
}

impl AtRest {
    /// The code of the reason: a contract.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Agent => "agent_not_active",
            Self::Lease => "agent_lease_ended",
            Self::Review => "agent_review_lapsed",
            Self::Stopped => "agent_stopped",
            Self::Quarantined => "agent_quarantined",
            Self::Sponsor => "sponsor_not_active",
        }
    }
}

/// The agent `name`, if it may begin something at `now`. All that says so is read by `reader`: what
/// rests on that is refused when it has changed.
pub async fn may_begin(
    reader: &mut Reader<'_>,
    name: &AgentName,
    now: Timestamp,
) -> Result<Result<Agent, AtRest>, FactsError> {
    for what in [StopTarget::All, StopTarget::Agent(name.clone())] {
        if reader.find::<Stop>(FactKey::stop(&what)).await?.is_some() {
            return Ok(Err(AtRest::Stopped));
        }
    }
    let agent: Agent = reader.need(FactKey::agent(name)).await?;
    if agent.state != AgentState::Active || agent.key_expires <= now {
        return Ok(Err(AtRest::Agent));
    }
    if agent.has_lapsed(now) {
        return Ok(Err(AtRest::Review));
    }
    if !agent.is_leased(now) {
        return Ok(Err(AtRest::Lease));
    }
    let stopped: Option<Stopped> = reader.find(FactKey::stopped(name)).await?;
    if stopped.is_some_and(|stopped| !stopped.0.is_empty()) {
        return Ok(Err(AtRest::Quarantined));
    }
    let sponsor: Person = reader.need(FactKey::person(&agent.sponsor)).await?;
    if agent.is_answered_for_by(&sponsor) { Ok(Ok(agent)) } else { Ok(Err(AtRest::Sponsor)) }
}
