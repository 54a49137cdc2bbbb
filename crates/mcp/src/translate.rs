//! From one era to the other, where the meaning is the same.

use serde_json::{Value, json};

use crate::Era;
use crate::era::{SESSION_VERSIONS, STATELESS_VERSION, TASKS, versions};

/// How long a list of ours may be kept, in milliseconds: not at all, it depends on the caller.
const TTL_MS: u64 = 0;

/// A session-era result as the stateless era writes it.
pub fn to_stateless(mut result: Value) -> Value {
    if result.is_object() && result.get("resultType").is_none() {
        result["resultType"] = "complete".into();
    }
    result
}

/// The result, kept by nobody but the caller: what depends on the caller is never `public`.
pub fn forced_private(mut result: Value) -> Value {
    if result.is_object() {
        result["cacheScope"] = "private".into();
        if result.get("ttlMs").is_none() {
            result["ttlMs"] = TTL_MS.into();
        }
    }
    result
}

/// What `server/discover` answers for a server that greeted with `about` in the session era.
pub fn discover_from_initialize(about: &Value) -> Value {
    let mut result = json!({
        "supportedVersions": [STATELESS_VERSION],
        "capabilities": about.get("capabilities").cloned().unwrap_or_else(|| json!({})),
        "resultType": "complete",
    });
    if let Some(instructions) = about.get("instructions") {
        result["instructions"] = instructions.clone();
    }
    if let Some(info) = about.get("serverInfo") {
        result["_meta"] = json!({ "io.modelcontextprotocol/serverInfo": info });
    }
    forced_private(result)
}

/// What a server of the era `server` says of itself to a client of `client`, without what is not
/// passed on: that something has changed, where no request is there to say it to; calls that go on
/// after their answer; and between the eras, what only one of them asks for.
pub fn only_passed_on(mut greeting: Value, client: Era, server: Era) -> Value {
    let offered = greeting.get_mut("capabilities").and_then(Value::as_object_mut);
    if let Some(offered) = offered {
        offered.remove("tasks");
        if client != server {
            offered.remove("logging");
        }
        for (_, of) in offered.iter_mut() {
            let Some(members) = of.as_object_mut() else { continue };
            members.remove("listChanged");
            members.remove(TASKS);
            if (client, server) != (Era::Session, Era::Session) {
                members.remove("subscribe");
            }
        }
    }
    if client == Era::Stateless {
        greeting["supportedVersions"] = versions().into();
    }
    greeting
}

/// What `initialize` answers for a server that said `about` of itself in the stateless era.
pub fn initialize_from_discover(about: &Value, version: &str) -> Value {
    let info = about.pointer("/_meta/io.modelcontextprotocol~1serverInfo").cloned();
    let info = info.unwrap_or_else(|| json!({ "name": "server", "version": "0" }));
    let version = if SESSION_VERSIONS.contains(&version) { version } else { SESSION_VERSIONS[0] };
    let mut result = json!({
        "protocolVersion": version,
        "capabilities": about.get("capabilities").cloned().unwrap_or_else(|| json!({})),
        "serverInfo": info,
    });
    if let Some(instructions) = about.get("instructions") {
        result["instructions"] = instructions.clone();
    }
    result
}
