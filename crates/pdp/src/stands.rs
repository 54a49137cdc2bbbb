//! What still counts, whatever is asked by it: the part of the built-in rules that no request changes.
//!
//! The kernel asks here for every decision, and whoever reports what is dead asks the same: what is
//! refused here is refused to whoever tries it.

use model::{
    Agent, AgentName, AgentState, Binding, DELEGATIONS_MAX, Enrolled, Hop, Initiator,
    InstanceState, KernelRule, Mandate, MandateBasis, Person, Standing, StopTarget, Stops, Task,
    TaskState, TaskSubject, Timestamp, ToolRef,
};

use crate::mandates;

/// Whether who stands as `standing` says may do anything at all at `now`, by a token that is bound so.
pub fn standing(
    standing: &Standing,
    stops: &Stops,
    (binding, now): (Binding, Timestamp),
) -> Result<(), KernelRule> {
    stopped(standing, stops, (None, None))?;
    chain(standing, None)?;
    actor(standing, (binding, now))
}

/// Whether a device vouches at `now` for instances of `agent`, which may begin something.
pub fn device(enrolled: &Enrolled, agent: &Agent, now: Timestamp) -> Result<(), KernelRule> {
    // It was enrolled by the word of who sponsored the agent then, or with their leave.
    let vouches = enrolled.vouches(now) && enrolled.device.enrolled >= agent.registered;
    if vouches { Ok(()) } else { Err(KernelRule::DeviceNotActive) }
}

/// Whether a task that is opened at `now` may rest on `mandate`, which `agent` was given.
pub fn mandate(
    mandate: &Mandate,
    (agent, sponsor): (&Agent, &Person),
    (subject, initiator): (Option<&Person>, Option<&Initiator>),
    now: Timestamp,
) -> Result<(), KernelRule> {
    works(agent, now)?;
    answers(agent, sponsor, mandate.given)?;
    not_taken_over(agent, mandate)?;
    let is_here = subject.is_none_or(|subject| subject.answers_for(now));
    if is_here && counts(mandate, now) && is_vouched(mandate, (subject, initiator), now) {
        Ok(())
    } else {
        Err(KernelRule::MandateNotValid)
    }
}

/// Whether an administrator has stopped all, the tool `called`, or who acts, handed the work on, or is
/// to be handed it.
pub(crate) fn stopped(
    standing: &Standing,
    stops: &Stops,
    (called, delegate): (Option<&ToolRef>, Option<&AgentName>),
) -> Result<(), KernelRule> {
    let agents = || standing.hops().map(|hop| &hop.agent.name).chain(delegate);
    let concerns = |stop: &StopTarget| match stop {
        StopTarget::All => true,
        StopTarget::Tool(tool) => called == Some(tool),
        StopTarget::Agent(agent) => agents().any(|name| name == agent),
    };
    if stops.0.iter().any(concerns) { Err(KernelRule::Stopped) } else { Ok(()) }
}

/// Whether who acts, all who handed the work on, and what it rests on are as they must be.
pub(crate) fn actor(
    standing: &Standing,
    (binding, now): (Binding, Timestamp),
) -> Result<(), KernelRule> {
    let Standing { instance, task, mandate, .. } = standing;
    if let InstanceState::Quarantined { .. } = instance.state {
        return Err(KernelRule::InstanceQuarantined);
    }
    if binding == Binding::None && !standing.agent.takes_bearer_of(instance) {
        return Err(KernelRule::BearerNotAdmitted);
    }
    for hop in standing.hops() {
        let holds = holds(hop, mandate, now);
        let is_actor = hop.instance.id == instance.id;
        holds.map_err(|rule| if is_actor { rule } else { KernelRule::DelegatorNotActive })?;
    }
    let root = standing.hops().next_back();
    root.map_or(Ok(()), |root| not_taken_over(root.agent, mandate))?;
    // What a holder handed on ends when another instance takes its task over.
    let mut links = standing.hops().zip(standing.hops().skip(1));
    let by_holder = |(own, above): (Hop<'_>, Hop<'_>)| {
        own.task.delegation.is_some_and(|delegation| delegation.by == above.instance.id)
    };
    if !links.all(by_holder) {
        return Err(KernelRule::DelegatorNotActive);
    }
    // A person who has left has nobody acting on their behalf, who comes back revives nothing, and what
    // was begun in a login session ends with it: the root task was opened before all others.
    let (opened, session) = (standing.root().opened, mandate.basis.session());
    if standing.subject.as_ref().is_some_and(|subject| !subject.stands_by(opened, session)) {
        return Err(KernelRule::MandateNotValid);
    }
    let valid = counts(mandate, now)
        && mandate.id == task.mandate
        && root.map(|hop| &hop.agent.name) == Some(&mandate.agent)
        && mandate.purpose == task.purpose
        && mandates::digest(mandate) == task.mandate_digest
        && mandate.basis.subject() == task.subject
        && is_vouched(mandate, (standing.subject.as_ref(), standing.initiator.as_ref()), now);
    if valid { Ok(()) } else { Err(KernelRule::MandateNotValid) }
}

/// Whether the delegation chain is one: for the person whom its tasks name, each task a part of the next, all for
/// one purpose, mandate and person, no agent twice, and not longer than a chain may be (with whom it is handed on to).
pub(crate) fn chain(standing: &Standing, delegate: Option<&AgentName>) -> Result<(), KernelRule> {
    if !is_for_whom_it_says(standing) {
        return Err(KernelRule::DelegationCollapse);
    }
    if standing.delegators.is_empty() && standing.task.delegation.is_none() {
        let returns = delegate.is_some_and(|agent| *agent == standing.agent.name);
        return if returns { Err(KernelRule::DelegationCycle) } else { Ok(()) };
    }
    let tasks: Vec<&Task> = standing.hops().map(|hop| hop.task).collect();
    let is_part = |pair: &[&Task]| {
        pair[0].parent() == Some(pair[1].id)
            && pair[0].mandate == pair[1].mandate
            && pair[0].mandate_digest == pair[1].mandate_digest
            && pair[0].purpose == pair[1].purpose
            && pair[0].subject == pair[1].subject
    };
    if !tasks.windows(2).all(is_part) || standing.root().delegation.is_some() {
        return Err(KernelRule::DelegationCollapse);
    }
    let agents = standing.hops().map(|hop| &hop.agent.name);
    let agents: Vec<_> = agents.chain(delegate).collect();
    if agents.len() > DELEGATIONS_MAX + 1 {
        return Err(KernelRule::DelegationTooDeep);
    }
    let is_new = |(position, agent): (usize, &&AgentName)| !agents[..position].contains(agent);
    if agents.iter().enumerate().all(is_new) { Ok(()) } else { Err(KernelRule::DelegationCycle) }
}

/// Whether whom the work is for is whom its task names, or nobody where that names nobody.
fn is_for_whom_it_says(standing: &Standing) -> bool {
    match (&standing.task.subject, &standing.subject) {
        (TaskSubject::OnBehalfOf { person }, Some(subject)) => subject.id == *person,
        (TaskSubject::Autonomous, None) => true,
        _ => false,
    }
}

/// Whether the instance of `hop` is active, with all behind it, and has its task.
fn holds(hop: Hop<'_>, mandate: &Mandate, now: Timestamp) -> Result<(), KernelRule> {
    let Hop { instance, agent, sponsor, device: vouching, task } = hop;
    if instance.state != InstanceState::Active {
        return Err(KernelRule::ActorNotActive);
    }
    works(agent, now)?;
    match vouching {
        None if instance.device.is_none() => {}
        Some(enrolled) if enrolled.vouches_for(instance, now) => device(enrolled, agent, now)?,
        _ => return Err(KernelRule::DeviceNotActive),
    }
    if hop.is_by_compromised_key() {
        return Err(KernelRule::AgentKeyCompromised);
    }
    answers(agent, sponsor, mandate.given)?;
    if task.opened < agent.registered {
        return Err(KernelRule::TakenOver);
    }
    if task.state != TaskState::Open || now >= task.deadline || task.instance != instance.id {
        return Err(KernelRule::TaskNotOpen);
    }
    Ok(())
}

fn works(agent: &Agent, now: Timestamp) -> Result<(), KernelRule> {
    if agent.state != AgentState::Active || now >= agent.key_expires {
        return Err(KernelRule::ActorNotActive);
    }
    if agent.has_lapsed(now) {
        return Err(KernelRule::ReviewLapsed);
    }
    if agent.is_leased(now) { Ok(()) } else { Err(KernelRule::LeaseEnded) }
}

/// Whether `sponsor` answers for `agent`, and for what was given at `given`.
fn answers(agent: &Agent, sponsor: &Person, given: Timestamp) -> Result<(), KernelRule> {
    if !sponsor.answers_for(agent.registered) || !sponsor.answers_for(given) {
        return Err(KernelRule::SponsorNotActive);
    }
    if agent.is_answered_for_by(sponsor) { Ok(()) } else { Err(KernelRule::SponsorMoved) }
}

/// Who consented was told who answers for the agent.
fn not_taken_over(agent: &Agent, mandate: &Mandate) -> Result<(), KernelRule> {
    if mandate.given < agent.registered { Err(KernelRule::TakenOver) } else { Ok(()) }
}

fn counts(mandate: &Mandate, now: Timestamp) -> bool {
    mandate.withdrawn.is_none() && now < mandate.valid_until
}

/// Whether who gave the mandate still stands by it.
fn is_vouched(
    mandate: &Mandate,
    (subject, initiator): (Option<&Person>, Option<&Initiator>),
    now: Timestamp,
) -> bool {
    match (&mandate.basis, initiator) {
        (MandateBasis::Standing { .. }, None) => true,
        (MandateBasis::Initiated { system, .. }, Some(initiator)) => {
            initiator.system.name == *system && initiator.answers_for(mandate, now)
        }
        // Who came back since they consented, or in whose login session that was that ended, has not consented to what
        // is begun now.
        (basis @ MandateBasis::Consented { .. }, None) => {
            subject.is_some_and(|subject| subject.stands_by(mandate.begun(), basis.session()))
        }
        _ => false,
    }
}
