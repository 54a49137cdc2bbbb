//! What an act is done to, held against what the work is for: data objects and categories of data.
//!
//! INVARIANT: what is outside is never permitted (`r_41_…`). Scopes bound data objects, and an elevation lifts no
//! such bound: it is of tools.

use model::{AccessRequest, Denial, Facts, Objects, ResourceRef, Scope, Standing};

use crate::kernel::{BESIDE_TOOLS, server_of};
use crate::schema::SERVER_REQUEST;

/// That an act is done to what the work is not for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outside {
    /// Why it is denied.
    pub(crate) denial: Denial,
    /// Whether it is so by its arguments: with others it may be otherwise.
    pub(crate) by_arguments: bool,
}

/// Whether the act that `request` asks for is done to what the work of `standing` is not for.
pub(crate) fn outside(
    standing: &Standing,
    request: &AccessRequest,
    facts: &Facts,
) -> Option<Outside> {
    let tool = facts.tool.as_ref();
    if tool.is_some_and(|tool| !standing.is_for(tool)) {
        return Some(Outside { denial: Denial::OutsidePurpose, by_arguments: false });
    }
    let server = server_of(&request.resource)?;
    let hops = standing.hops().flat_map(|hop| [&hop.agent.ceiling, &hop.task.scope]);
    let scopes: [&Scope; 2] = [&standing.purpose.scope, &standing.mandate.scope];
    let mut bounds = scopes.into_iter().chain(hops).filter_map(|it| it.objects.as_ref()).peekable();
    bounds.peek()?;
    let objects = objects(request, facts);
    if bounds.all(|patterns| objects.are_within(patterns, server)) {
        return None;
    }
    let denial = match objects {
        Objects::Any => Denial::ObjectUnknown,
        Objects::None | Objects::Named(_) => Denial::OutsidePurpose,
    };
    let by_arguments = tool.is_some_and(|tool| tool.objects.is_some());
    Some(Outside { denial, by_arguments })
}

/// Whether an act that is outside of what the work is for names a data object that is not declared of who acts: its
/// agent, the purpose or the mandate does not have it. What whoever handed the work on left out is declared all the
/// same; and by what a tool is said to touch nobody learns whether there is one.
pub(crate) fn names_undeclared(
    standing: &Standing,
    request: &AccessRequest,
    facts: &Facts,
) -> bool {
    let Standing { agent, purpose, mandate, .. } = standing;
    let is_hidden = facts.tool.as_ref().is_some_and(|tool| !purpose.is_for(&tool.data));
    let Some(server) = server_of(&request.resource).filter(|_| !is_hidden) else { return false };
    let objects = objects(request, facts);
    let scopes: [&Scope; 3] = [&agent.ceiling, &purpose.scope, &mandate.scope];
    let mut bounds = scopes.into_iter().filter_map(|it| it.objects.as_ref());
    matches!(objects, Objects::Named(_)) && !bounds.all(|it| objects.are_within(it, server))
}

/// The data objects that an act is done to. Of what is no tool they are known where it reads a resource, and where
/// it gives away nothing but what there is; what a server asks of the client whose call is under way is about that.
fn objects(request: &AccessRequest, facts: &Facts) -> Objects {
    let method = request.action.as_str();
    match &request.resource {
        ResourceRef::Tool(_) => {
            let tool = facts.tool.as_ref();
            tool.map_or(Objects::Any, |tool| tool.objects_of(&request.input))
        }
        ResourceRef::Resource { uri, .. } => Objects::Named([uri.clone()].into()),
        _ if BESIDE_TOOLS.contains(&method) || method == SERVER_REQUEST => Objects::None,
        _ => Objects::Any,
    }
}
