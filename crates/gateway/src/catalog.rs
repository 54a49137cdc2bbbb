//! What may be called at all: routes to servers, and calls bound to pinned tools.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use authority::{Actor, Circumstances, Effect, Governed};
use http::{HeaderName, HeaderValue};
use mcp::Method;
use model::{AccessRequest, ActionName, Principal, ResourceRef, ServerName, ToolRef};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::authenticate::Caller;
use crate::request_state::Resumed;
use crate::upstream::Target;

/// The enforcement point as records name it.
pub(crate) const POINT: &str = "gateway/mcp-http";

/// The way to one upstream server.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where it is.
    pub target: Target,
    /// The audience of our assertions to it.
    pub audience: String,
    /// Whether a denied `tools/call` is a JSON-RPC error instead of a result.
    pub denials: mcp::DenialStyle,
    /// The hosts to which the server may send whoever is at the client.
    pub elicitation_hosts: BTreeSet<String>,
}

/// The ways to all upstream servers.
pub type Routes = BTreeMap<ServerName, Arc<Route>>;

/// A request bound to its caller, to what it is about, and to exactly what will be sent.
#[derive(Debug)]
pub struct GovernedCall {
    request: Arc<AccessRequest>,
    circumstances: Circumstances,
    /// The method.
    pub(crate) method: Method,
    /// What the header `Mcp-Name` carries.
    pub(crate) name: Option<String>,
    /// The parameters as they were received.
    pub(crate) params: Option<Box<RawValue>>,
    /// By what the server names the request in progress notifications.
    pub(crate) progress: Option<Value>,
    /// Headers computed from the arguments, where the server wants them repeated.
    pub(crate) param_headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether it goes on with a call that waited for input.
    pub(crate) goes_on: bool,
}

impl GovernedCall {
    /// The same, begun: what asking used up, and what came with it, is on record.
    pub(crate) fn begun(mut self) -> Self {
        (self.circumstances.uses, self.circumstances.enclosed) = (Vec::new(), Vec::new());
        self
    }
}

impl Governed for GovernedCall {
    fn request(&self) -> &AccessRequest {
        &self.request
    }

    fn shared_request(&self) -> Arc<AccessRequest> {
        self.request.clone()
    }

    fn circumstances(&self) -> &Circumstances {
        &self.circumstances
    }
}

/// What a request asks for, besides who asks.
pub(crate) struct Wanted {
    pub(crate) method: Method,
    pub(crate) resource: ResourceRef,
    pub(crate) input: Value,
    pub(crate) name: Option<String>,
    pub(crate) params: Option<Box<RawValue>>,
    pub(crate) progress: Option<Value>,
    pub(crate) param_headers: Vec<(HeaderName, HeaderValue)>,
    /// What it tells the server that is no input to policy.
    pub(crate) said: Option<Value>,
    /// If it goes on with a call that waited for input, with what.
    pub(crate) resumed: Option<Resumed>,
}

impl GovernedCall {
    /// Binds what is wanted to who wants it.
    pub(crate) fn new(caller: &Caller, wanted: Wanted, arrived: Duration) -> Self {
        let action = match &wanted.resource {
            ResourceRef::Tool(tool) => ActionName::tool(tool),
            _ => ActionName::method(wanted.method.as_str()),
        };
        let request = Arc::new(AccessRequest {
            principal: Principal::Instance(caller.instance),
            action,
            resource: wanted.resource,
            input: wanted.input,
        });
        let goes_on = wanted.resumed.is_some();
        let (state, enclosed) = wanted.resumed.map(|it| (it.uses, it.enclosed)).unzip();
        let uses = caller.uses().into_iter().chain(state).collect();
        let said = wanted.said.map(|said| ("arguments", said));
        let enclosed = said.into_iter().chain(enclosed.into_iter().flatten()).collect();
        let circumstances = Circumstances { enclosed, ..circumstances(caller, uses, arrived) };
        let Wanted { method, name, params, progress, param_headers, .. } = wanted;
        Self { request, circumstances, method, name, params, progress, param_headers, goes_on }
    }
}

/// The circumstances of a request by `caller`.
pub(crate) fn circumstances(
    caller: &Caller,
    uses: Vec<Effect>,
    arrived: Duration,
) -> Circumstances {
    Circumstances {
        actor: Actor::Known(caller.instance),
        binding: caller.binding(),
        token: Some(caller.token),
        point: POINT,
        arrived,
        trace: None,
        uses,
        enclosed: Vec::new(),
    }
}

/// The question whether `caller` could call `tool` with any arguments.
pub(crate) fn visibility(caller: &Caller, tool: &ToolRef) -> AccessRequest {
    AccessRequest {
        principal: Principal::Instance(caller.instance),
        action: ActionName::tool(tool),
        resource: ResourceRef::Tool(tool.clone()),
        input: Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use model::{Binding, InstanceId};
    use serde_json::json;

    use super::*;

    /// It may be under way for long, and what came with it may be large.
    #[test]
    fn a_call_that_is_begun_keeps_nothing_that_was_only_for_its_record() {
        let instance = InstanceId::from_bytes([1; 16]);
        let request = Arc::new(AccessRequest {
            principal: Principal::Instance(instance),
            action: ActionName::method("prompts/get"),
            resource: ResourceRef::Server("up".parse().expect("a name")),
            input: Value::Null,
        });
        let circumstances = Circumstances {
            actor: Actor::Known(instance),
            binding: Binding::Dpop,
            token: None,
            point: POINT,
            arrived: Duration::ZERO,
            trace: None,
            uses: Vec::new(),
            enclosed: vec![("arguments", json!([1]))],
        };
        let call = GovernedCall {
            request,
            circumstances,
            method: Method::named("prompts/get"),
            name: None,
            params: None,
            progress: None,
            param_headers: Vec::new(),
            goes_on: false,
        };
        assert!(call.begun().circumstances.enclosed.is_empty());
    }
}
