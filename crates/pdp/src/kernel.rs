//! The rules that are compiled in, and the scopes: what no policy set can remove or except.
//!
//! They come before any policy, so that no policy can permit what they deny.

use model::AccessRequest;
use model::{
    AgentState, Answer, Answers, Denial, Facts, Initiator, InstanceState, KernelRule, Mandate,
    MandateBasis, Principal, PrincipalFacts, ResourceRef, Scope, ServerName, Standing, TaskState,
    TaskSubject, Timestamp, ToolRef,
};

use crate::mandates;
use crate::schema::Action;

/// Checks that `facts` are about `request`: otherwise nothing they say counts.
pub(crate) fn belongs_together(request: &AccessRequest, facts: &Facts, action: &Action) -> bool {
    let principal = match (&request.principal, &facts.principal) {
        (Principal::Instance(id), PrincipalFacts::Instance(standing)) => {
            *id == standing.instance.id && standing_is_one(standing)
        }
        (Principal::Person(id), PrincipalFacts::Administrator(person)) => *id == person.id,
        _ => false,
    };
    let tool = match (&action.tool, &request.resource) {
        (Some(called), ResourceRef::Tool(resource)) => {
            called == resource && facts.tool.as_ref().is_none_or(|tool| tool.tool == *called)
        }
        (Some(_), _) => false,
        (None, _) => true,
    };
    let server = match (server_of(&request.resource), &facts.server) {
        (Some(named), Some(known)) => *named == known.name,
        _ => true,
    };
    principal && tool && server
}

/// Checks that the parts of a standing refer to each other.
fn standing_is_one(standing: &Standing) -> bool {
    let Standing { instance, agent, sponsor, subject, task, purpose, .. } = standing;
    let subject_fits = match (&task.subject, subject) {
        (TaskSubject::OnBehalfOf { person }, Some(subject)) => subject.id == *person,
        (TaskSubject::Autonomous, None) => true,
        _ => false,
    };
    instance.agent == agent.name
        && agent.sponsor == sponsor.id
        && task.purpose == purpose.id
        && subject_fits
}

/// The server that a resource belongs to or is.
pub(crate) fn server_of(resource: &ResourceRef) -> Option<&ServerName> {
    match resource {
        ResourceRef::Tool(tool) => Some(&tool.server),
        ResourceRef::Server(server)
        | ResourceRef::Resource { server, .. }
        | ResourceRef::Prompt { server, .. } => Some(server),
        _ => None,
    }
}

/// Applies the kernel rules and the scopes; answers what they said if they all permit.
pub(crate) fn check(
    request: &AccessRequest,
    facts: &Facts,
    action: &Action,
) -> Result<Answers, Denial> {
    match &facts.principal {
        PrincipalFacts::Administrator(person) => {
            if !person.is_active() {
                return Err(Denial::Kernel(KernelRule::AdministratorNotActive));
            }
            // A person calls tools through an agent only, never as an administrator.
            if action.for_instances {
                return Err(Denial::Malformed);
            }
            Ok(Answers { kernel: Some(Answer::Permit), ..Answers::default() })
        }
        PrincipalFacts::Instance(standing) => {
            if !action.for_instances {
                return Err(Denial::Kernel(KernelRule::AgentsDoNotAdminister));
            }
            actor(standing, facts).map_err(Denial::Kernel)?;
            if let Some(tool) = &action.tool {
                tool_rules(tool, facts).map_err(Denial::Kernel)?;
            }
            scopes(standing, request, facts, action)
        }
    }
}

fn actor(standing: &Standing, facts: &Facts) -> Result<(), KernelRule> {
    let Standing { instance, agent, sponsor, task, mandate, initiator, .. } = standing;
    if let InstanceState::Quarantined { .. } = instance.state {
        return Err(KernelRule::InstanceQuarantined);
    }
    let active = instance.state == InstanceState::Active
        && agent.state == AgentState::Active
        && facts.now < agent.key_expires;
    if !active {
        return Err(KernelRule::ActorNotActive);
    }
    if !sponsor.answers_for(agent.registered) || !sponsor.answers_for(mandate.given) {
        return Err(KernelRule::SponsorNotActive);
    }
    // A person who has left has nobody acting on their behalf.
    if standing.subject.as_ref().is_some_and(|subject| !subject.answers_for(task.opened)) {
        return Err(KernelRule::MandateNotValid);
    }
    if task.state != TaskState::Open || facts.now >= task.deadline || task.instance != instance.id {
        return Err(KernelRule::TaskNotOpen);
    }
    let valid = facts.now < mandate.valid_until
        && mandate.id == task.mandate
        && mandate.agent == agent.name
        && mandate.purpose == task.purpose
        && mandates::digest(mandate) == task.mandate_digest
        && mandate.basis.subject() == task.subject
        && is_vouched(mandate, initiator.as_ref(), facts.now);
    if valid { Ok(()) } else { Err(KernelRule::MandateNotValid) }
}

/// Whether who gave the mandate still stands by it.
fn is_vouched(mandate: &Mandate, initiator: Option<&Initiator>, now: Timestamp) -> bool {
    match (&mandate.basis, initiator) {
        (MandateBasis::Standing { .. }, None) => true,
        (MandateBasis::Initiated { system, .. }, Some(initiator)) => {
            initiator.system.name == *system && initiator.answers_for(mandate, now)
        }
        _ => false,
    }
}

fn tool_rules(called: &ToolRef, facts: &Facts) -> Result<(), KernelRule> {
    let tool = facts.tool.as_ref().filter(|tool| tool.tool == *called);
    let tool = tool.filter(|tool| tool.is_pinned()).ok_or(KernelRule::ToolNotPinned)?;
    let owner = tool.owner.as_ref().ok_or(KernelRule::ToolUnaccounted)?;
    if tool.harm.is_empty() {
        return Err(KernelRule::ToolUnaccounted);
    }
    let answers =
        facts.tool_owner.as_ref().is_some_and(|person| person.id == *owner && person.is_active());
    if tool.is_consequential() && !answers {
        return Err(KernelRule::ToolUnaccounted);
    }
    Ok(())
}

fn scopes(
    standing: &Standing,
    request: &AccessRequest,
    facts: &Facts,
    action: &Action,
) -> Result<Answers, Denial> {
    let covers = |scope: &Scope| match (&action.tool, &facts.tool) {
        (Some(called), Some(tool)) => scope.covers(called, &tool.harm),
        (Some(_), None) => false,
        (None, _) => server_of(&request.resource).is_some_and(|server| scope.touches(server)),
    };
    let purpose = &standing.purpose;
    let mandated = standing.agent.purposes.contains(&purpose.id)
        && covers(&standing.mandate.scope)
        && covers(&purpose.scope);
    if !mandated {
        return Err(Denial::OutsideMandate);
    }
    if !covers(&standing.agent.ceiling) {
        return Err(Denial::OutsideCeiling);
    }
    if !covers(&standing.task.scope) {
        return Err(Denial::OutsideScope);
    }
    let permit = Some(Answer::Permit);
    Ok(Answers {
        kernel: permit,
        mandate: permit,
        ceiling: permit,
        scope: permit,
        ..Answers::default()
    })
}
