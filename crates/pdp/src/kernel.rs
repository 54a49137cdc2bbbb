//! The rules that are compiled in, and the scopes: what no policy set can remove or except.
//!
//! They come before any policy, so that no policy can permit what they deny.

use model::AccessRequest;
use model::{
    AgentName, Answer, Answers, Denial, Elevated, Elevation, Facts, Gives, Hop, KernelRule,
    Mandate, MandateBasis, PersonId, Principal, PrincipalFacts, ResourceRef, Scope, ServerName,
    Standing, ToolRef,
};

use crate::ends::{self, Outside};
use crate::schema::{Action, AskedBy, DELEGATE};
use crate::stands;

/// What a person takes back of what they gave themselves: no policy keeps them from it. Whoever asks has
/// found that it is theirs (`nothing_keeps_a_person_from_taking_back_what_they_gave`).
const TAKE_BACK: &str = "consent/withdraw";

/// What a directory takes away from its people, and from the agents that it registered: no policy keeps it
/// from that.
const RESTRICT: [&str; 2] = ["agent/restrict", "person/restrict"];

/// Taking responsibility for an agent whose sponsor answers for it no longer.
const TAKE_OVER: &str = "agent/take-over";

/// Saying that an agent is to go on, and that one which lapsed is to begin anew.
const BY_SPONSOR: [&str; 2] = ["agent/reinstate", "agent/renew"];

/// Saying that the processes of an agent forget between mandates.
const FORGET: &str = "agent/forget";

/// Taking over a task whose holder is gone: the same work, for the same person.
const RESUME: &str = "task/resume";

/// What tools cannot be used without: it gives away nothing but what there is.
pub(crate) const BESIDE_TOOLS: [&str; 14] = [
    "initialize",
    "logging/setLevel",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "server/discover",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/update",
    "token/issue",
    "tools/list",
];

/// Whether no policy is asked about an act, because it only takes away. Whoever asks has found that it
/// is theirs to take.
pub(crate) fn only_takes_away(request: &AccessRequest) -> bool {
    asks_no_policy(request.action.as_str())
}

/// Whether this action only takes away.
pub(crate) fn asks_no_policy(action: &str) -> bool {
    action == TAKE_BACK || RESTRICT.contains(&action)
}

/// Checks that `facts` are about `request`: otherwise nothing they say counts.
pub(crate) fn belongs_together(request: &AccessRequest, facts: &Facts, action: &Action) -> bool {
    let principal = match (&request.principal, &facts.principal) {
        (Principal::Instance(id), PrincipalFacts::Instance(standing)) => {
            *id == standing.instance.id && standing_is_one(standing)
        }
        (Principal::Person(id), PrincipalFacts::Administrator(person)) => *id == person.id,
        (Principal::Directory(name), PrincipalFacts::Directory(directory, _)) => {
            *name == directory.name
        }
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
    let task = match (&request.resource, &facts.principal) {
        (ResourceRef::Task(named), PrincipalFacts::Instance(standing)) => {
            *named == standing.task.id
        }
        _ => true,
    };
    principal && tool && server && task
}

/// Checks that the parts of a standing refer to each other; of its person and its delegators, [`stands::chain`] does.
fn standing_is_one(standing: &Standing) -> bool {
    let Standing { task, purpose, .. } = standing;
    let is_one =
        |hop: Hop<'_>| hop.instance.agent == hop.agent.name && hop.agent.sponsor == hop.sponsor.id;
    standing.hops().all(is_one) && task.purpose == purpose.id
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

/// What the kernel rules and the scopes said, where they all permit.
pub(crate) struct Passed<'a> {
    pub(crate) answers: Answers,
    /// What lifts the scope of the task, if the act is beyond that.
    pub(crate) elevation: Option<&'a Elevation>,
    /// That the act is done to what the work is not for, if it is: it is denied, and all that policy says of that is
    /// whether an approval would lift it.
    pub(crate) outside: Option<Outside>,
}

impl Passed<'_> {
    /// That the kernel rules permit, where there is no scope.
    fn by_kernel() -> Self {
        let answers = Answers { kernel: Some(Answer::Permit), ..Answers::default() };
        Self { answers, elevation: None, outside: None }
    }
}

/// Applies the kernel rules and the scopes; answers what they said if they all permit.
pub(crate) fn check<'a>(
    request: &AccessRequest,
    facts: &'a Facts,
    action: &Action,
) -> Result<Passed<'a>, Denial> {
    match &facts.principal {
        PrincipalFacts::Administrator(person) => {
            if !person.is_active() {
                return Err(Denial::Kernel(KernelRule::AdministratorNotActive));
            }
            // A person calls tools through an agent only, never as an administrator.
            if action.asked_by != AskedBy::Person {
                return Err(Denial::Malformed);
            }
            answering(request, facts, &person.id).map_err(Denial::Kernel)?;
            Ok(Passed::by_kernel())
        }
        PrincipalFacts::Directory(directory, provisioning) => {
            if !directory.is_active() {
                return Err(Denial::Kernel(KernelRule::DirectoryNotActive));
            }
            let gives = provisioning.gives != Gives::Nothing;
            let is_restricting = RESTRICT.contains(&request.action.as_str());
            let is_of_agent = matches!(request.resource, ResourceRef::Agent(_));
            let is_one = gives != is_restricting && is_of_agent == provisioning.purpose.is_some();
            if action.asked_by != AskedBy::Directory || !is_one {
                return Err(Denial::Malformed);
            }
            Ok(Passed::by_kernel())
        }
        PrincipalFacts::Instance(standing) => {
            if action.asked_by != AskedBy::Instance {
                return Err(Denial::Kernel(KernelRule::AgentsDoNotAdminister));
            }
            stops(standing, (request, facts), action).map_err(Denial::Kernel)?;
            stands::chain(standing, delegate(request)).map_err(Denial::Kernel)?;
            handed_on(standing, request).map_err(Denial::Kernel)?;
            stands::actor(standing, (facts.binding, facts.now)).map_err(Denial::Kernel)?;
            if let Some(tool) = &action.tool {
                tool_rules(tool, standing, facts).map_err(Denial::Kernel)?;
            }
            scopes(standing, request, facts, action)
        }
    }
}

/// Whether `person` may say who answers for an agent: nobody takes over what they let go of themselves,
/// nobody but the sponsor says that it is to go on or to begin anew, and nobody but the technical owner
/// that it forgets.
fn answering(request: &AccessRequest, facts: &Facts, person: &PersonId) -> Result<(), KernelRule> {
    let Some(known) = &facts.agent else { return Ok(()) };
    let is_sponsor = known.agent.sponsor == *person;
    match request.action.as_str() {
        TAKE_OVER if is_sponsor => Err(KernelRule::SponsorIsNotSuccessor),
        act if BY_SPONSOR.contains(&act) && !is_sponsor => Err(KernelRule::SponsorRenews),
        FORGET if known.agent.technical_owner != *person => Err(KernelRule::TechnicalOwnerAnswers),
        _ => Ok(()),
    }
}

/// Whether an administrator has stopped all, the tool, or who acts, handed the work on, or is to be
/// handed it.
fn stops(
    standing: &Standing,
    (request, facts): (&AccessRequest, &Facts),
    action: &Action,
) -> Result<(), KernelRule> {
    stands::stopped(standing, &facts.stops, (action.tool.as_ref(), delegate(request)))
}

/// Whether who consented was told that the work may be handed on, if it is.
fn handed_on(standing: &Standing, request: &AccessRequest) -> Result<(), KernelRule> {
    let MandateBasis::Consented { agreed, .. } = &standing.mandate.basis else { return Ok(()) };
    let is_handed_on = !standing.delegators.is_empty() || delegate(request).is_some();
    if is_handed_on && !agreed.delegable { Err(KernelRule::NotDelegable) } else { Ok(()) }
}

/// The agent that the work is handed on to, if that is asked for.
fn delegate(request: &AccessRequest) -> Option<&AgentName> {
    match &request.resource {
        ResourceRef::Agent(agent) if request.action.as_str() == DELEGATE => Some(agent),
        _ => None,
    }
}

fn tool_rules(called: &ToolRef, standing: &Standing, facts: &Facts) -> Result<(), KernelRule> {
    let tool = facts.tool.as_ref().filter(|tool| tool.tool == *called);
    let tool = tool.filter(|tool| tool.is_pinned()).ok_or(KernelRule::ToolNotPinned)?;
    if tool.owner.is_none() || tool.harm.is_empty() {
        return Err(KernelRule::ToolUnaccounted);
    }
    let answers = facts.tool_owner.as_ref().is_some_and(|person| tool.is_answered_for_by(person));
    if tool.is_consequential() && !answers {
        return Err(KernelRule::ToolUnaccounted);
    }
    if tool.is_consequential() && !standing.is_owned() {
        return Err(KernelRule::OwnersNotActive);
    }
    standing.bars(tool).map_or(Ok(()), Err)
}

fn scopes<'a>(
    standing: &'a Standing,
    request: &AccessRequest,
    facts: &Facts,
    action: &Action,
) -> Result<Passed<'a>, Denial> {
    let covers = |scope: &Scope| match (&action.tool, &facts.tool) {
        (Some(called), Some(tool)) => scope.covers(called, &tool.harm),
        (Some(_), None) => false,
        // What is handed on is held against the scopes by who hands it on, whole.
        (None, _) if delegate(request).is_some() => true,
        // A task that is taken over stays as wide as it was.
        (None, _) if matches!(request.resource, ResourceRef::Task(_)) => true,
        (None, _) => server_of(&request.resource).is_some_and(|server| scope.touches(server)),
    };
    let purpose = &standing.purpose;
    let mandated = standing.hops().all(|hop| hop.agent.purposes.contains(&purpose.id))
        && covers(&standing.mandate.scope)
        && is_agreed(&standing.mandate, request, (facts, action))
        && covers(&purpose.scope);
    if !mandated {
        return Err(Denial::OutsideMandate);
    }
    if !standing.hops().all(|hop| covers(&hop.agent.ceiling)) {
        return Err(Denial::OutsideCeiling);
    }
    let is_beyond = !standing.hops().all(|hop| covers(&hop.task.scope));
    let elevation = if is_beyond {
        Some(elevated(standing, request, (facts, action)).ok_or(Denial::OutsideScope)?)
    } else {
        None
    };
    let permit = Some(Answer::Permit);
    let answers = Answers {
        kernel: permit,
        mandate: permit,
        ceiling: permit,
        scope: permit,
        ..Answers::default()
    };
    Ok(Passed { answers, elevation, outside: ends::outside(standing, request, facts) })
}

/// The elevation in force of the task, not of one above it, that names the tool, with no other harm than
/// was approved; beside tools, one that needs it to be called.
fn elevated<'a>(
    standing: &'a Standing,
    request: &AccessRequest,
    (facts, action): (&Facts, &Action),
) -> Option<&'a Elevation> {
    let lifts = |elevation: &Elevation| match (&action.tool, &facts.tool) {
        (Some(called), Some(tool)) => elevation.covers(called, &tool.harm),
        (Some(_), None) => false,
        (None, _) => {
            BESIDE_TOOLS.contains(&request.action.as_str())
                && server_of(&request.resource).is_some_and(|server| elevation.touches(server))
        }
    };
    let in_force = |it: &&Elevated| it.is_in_force(&standing.task, facts.now);
    let in_force = standing.elevations.iter().filter(in_force);
    in_force.map(|it| &it.elevation).find(|it| lifts(it))
}

/// Whether the mandate, if it rests on a consent, says what its page said: of tools what they could do
/// then, and beside tools nothing but lists, unless the page named the server for more.
fn is_agreed(
    mandate: &Mandate,
    request: &AccessRequest,
    (facts, action): (&Facts, &Action),
) -> bool {
    let MandateBasis::Consented { agreed, .. } = &mandate.basis else { return true };
    match (&action.tool, &facts.tool) {
        // That it is the one called was looked at before.
        (Some(_), Some(tool)) => mandate.agrees_to(tool),
        (Some(_), None) => false,
        (None, _) => {
            let named = |server: &ServerName| agreed.resources.contains(server);
            delegate(request).is_some()
                || request.action.as_str() == RESUME
                || BESIDE_TOOLS.contains(&request.action.as_str())
                || server_of(&request.resource).is_some_and(named)
        }
    }
}
