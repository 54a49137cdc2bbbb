//! Accounts of ours at servers, and the agents that call with each: one that is used by several is
//! found, because what one of them may do there the others inherit (`r_11_…`).

use std::collections::BTreeSet;

use model::{AgentName, FactKey, Server, Sha256Digest, Stranger};
use store::Effect;

use crate::pip::Gathered;

/// The account with which a call that is permitted is the first of its agent, and at which server.
fn first(gathered: &Gathered) -> Option<(&Server, Sha256Digest)> {
    let server = gathered.server.as_ref()?;
    let account = server.account?;
    let is_known = server.callers.contains(&gathered.standing.agent.name);
    (!is_known).then_some((server, account))
}

/// All agents that call with the account once this one does.
fn callers(server: &Server, gathered: &Gathered) -> BTreeSet<AgentName> {
    let own = gathered.standing.agent.name.clone();
    server.callers.iter().cloned().chain([own]).collect()
}

/// What enters the agent among those that call with the account of the server.
pub(crate) fn joined(gathered: &Gathered) -> Option<Effect> {
    let (server, account) = first(gathered)?;
    let body = json::canonical_of(&callers(server, gathered));
    Some(Effect::Put { key: FactKey::account(&account), body })
}

/// That the agent shares the account of the server by this call, if it does.
pub(crate) fn found(gathered: &Gathered) -> Option<Stranger> {
    let (server, account) = first(gathered)?;
    if server.callers.is_empty() {
        return None;
    }
    Some(Stranger {
        cause: "account_shared".to_owned(),
        tried: "call".to_owned(),
        server: Some(server.name.clone()),
        credential: Some(account),
        proven: Some(gathered.standing.agent.name.clone()),
        agents: callers(server, gathered).into_iter().collect(),
        ..Stranger::default()
    })
}
