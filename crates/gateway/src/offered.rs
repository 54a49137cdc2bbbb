//! Which methods each era of the protocol has, as far as they are offered here.
//!
//! A method that the client's era does not have is not known there; one that the upstream's era
//! does not have, or that only it could mean, is refused and not guessed at. `docs/mcp.md` is the
//! table.

use mcp::{Era, Method};

/// Whether `method` is one of `era`, and offered.
pub(crate) fn is_offered(method: &Method, era: Era) -> bool {
    let session = era == Era::Session;
    match method {
        Method::ToolsList | Method::ToolsCall | Method::OnPrompt(_) => true,
        Method::Initialize | Method::Ping => session,
        Method::Discover => !session,
        Method::OnServer(name) => match *name {
            "logging/setLevel" | "tasks/list" => session,
            // A stream that outlives its request would have to be decided again and again.
            "subscriptions/listen" => false,
            _ => true,
        },
        Method::OnResource(name) => session || *name == "resources/read",
        // In the stateless era a task is known to whoever knows its id, and no task is begun
        // through here: there is none to ask about.
        Method::OnTask(name) => session && *name != "tasks/update",
        Method::Unknown(_) => false,
    }
}

/// Whether `method` changes, or tells, what a server keeps for one client: nothing to ask of a
/// process that all share.
pub(crate) fn keeps_state(method: &Method) -> bool {
    match method {
        Method::OnServer(name) => matches!(*name, "logging/setLevel" | "tasks/list"),
        Method::OnResource(name) => *name != "resources/read",
        Method::OnTask(_) => true,
        _ => false,
    }
}

/// Whether a decision stands behind `method`, whose commit uses its proof up.
pub(crate) fn is_decided(method: &Method, era: Era) -> bool {
    is_offered(method, era) && *method != Method::Ping
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, session: bool, stateless: bool) {
        let method = Method::named(name);
        assert_eq!(is_offered(&method, Era::Session), session, "{name}, session era");
        assert_eq!(is_offered(&method, Era::Stateless), stateless, "{name}, stateless era");
    }

    #[test]
    fn n_042_each_era_has_its_own_methods() {
        check("initialize", true, false);
        check("server/discover", false, true);
        check("ping", true, false);
        check("tools/list", true, true);
        check("tools/call", true, true);
        check("resources/list", true, true);
        check("resources/templates/list", true, true);
        check("resources/read", true, true);
        check("resources/subscribe", true, false);
        check("resources/unsubscribe", true, false);
        check("prompts/list", true, true);
        check("prompts/get", true, true);
        check("completion/complete", true, true);
        check("logging/setLevel", true, false);
        check("tasks/list", true, false);
        check("tasks/get", true, false);
        check("tasks/result", true, false);
        check("tasks/cancel", true, false);
        check("tasks/update", false, false);
        check("subscriptions/listen", false, false);
        check("tools/Call", false, false);
        check("server/secret", false, false);
    }
}
