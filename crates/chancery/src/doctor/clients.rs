//! The MCP clients of this user: which of their servers go through `chancery mcp`.
//!
//! It reads the usual configuration files and nothing else: a client that it does not know, or one
//! with another place for its file, is not seen.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Observation;

const AREA: &str = "clients";

/// The largest configuration file that is read, in bytes.
const FILE_MAX: u64 = 16 << 20;

/// Where clients keep their servers, below the home directory, and under which member.
const FILES: [(&str, &str, &str); 6] = [
    ("Claude Code", ".claude.json", "mcpServers"),
    ("Cursor", ".cursor/mcp.json", "mcpServers"),
    ("VS Code", ".config/Code/User/mcp.json", "servers"),
    ("Gemini CLI", ".gemini/settings.json", "mcpServers"),
    ("Copilot CLI", ".copilot/mcp-config.json", "mcpServers"),
    ("Windsurf", ".codeium/windsurf/mcp_config.json", "mcpServers"),
];

/// Looks at the clients of whoever has this home directory.
pub(super) fn check(home: Option<PathBuf>) -> Vec<Observation> {
    let Some(home) = home else { return Vec::new() };
    let mut observations: Vec<_> = FILES
        .iter()
        .filter_map(|(client, file, member)| of_client(client, &home.join(file), member))
        .collect();
    if observations.is_empty() {
        observations
            .push(Observation::ok(AREA, "no configuration of a known MCP client was found"));
    }
    observations
}

fn of_client(client: &str, path: &Path, member: &str) -> Option<Observation> {
    if std::fs::metadata(path).ok()?.len() > FILE_MAX {
        return None;
    }
    let text = std::fs::read_to_string(path).ok()?;
    let Ok(value) = serde_json::from_str::<Value>(&text) else {
        let what = format!("{client}: `{}` is not JSON", path.display());
        return Some(Observation::weak(AREA, what, "mend it: nobody can tell what it starts"));
    };
    let servers = value.get(member)?.as_object()?;
    let direct: Vec<_> = servers
        .iter()
        .filter(|(_, entry)| !is_governed(entry))
        .map(|(name, _)| name.as_str())
        .collect();
    let governed = servers.len() - direct.len();
    if direct.is_empty() {
        return Some(Observation::ok(
            AREA,
            format!("{client}: all of {governed} servers go through here"),
        ));
    }
    let what = format!("{client}: {} do not go through here: {}", direct.len(), direct.join(", "));
    let remedy = "start each by `chancery mcp SERVER --agent NAME` (docs/clients.md)";
    Some(Observation::weak(AREA, what, remedy))
}

/// Whether an entry starts `chancery mcp`.
fn is_governed(entry: &Value) -> bool {
    let command = entry.get("command").and_then(Value::as_str).unwrap_or_default();
    let program = Path::new(command).file_name().and_then(|name| name.to_str());
    let first = entry.pointer("/args/0").and_then(Value::as_str);
    program == Some("chancery") && first == Some("mcp")
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn check_file(text: &str, state: State, said: &str) {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::write(home.path().join(".claude.json"), text).expect("it is ours");
        let observations = check(Some(home.path().to_owned()));
        let [observation] = observations.as_slice() else { panic!("{observations:?}") };
        assert_eq!(observation.state, state, "{observation:?}");
        assert!(observation.what.contains(said), "{observation:?}");
    }

    #[test]
    fn a_server_that_does_not_go_through_here_is_named() {
        let ours = r#"{"command": "/opt/bin/chancery", "args": ["mcp", "crm", "--agent", "a"]}"#;
        let other = r#"{"command": "npx", "args": ["-y", "chancery", "mcp"]}"#;
        let file = |servers: &str| format!(r#"{{"mcpServers": {{{servers}}}}}"#);
        check_file(&file(&format!(r#""crm": {ours}"#)), State::Ok, "all of 1");
        let both = file(&format!(r#""crm": {ours}, "mail": {other}"#));
        check_file(&both, State::Weak, "1 do not go through here: mail");
        check_file(&file(r#""web": {"url": "https://mcp.example"}"#), State::Weak, "web");
        check_file("{", State::Weak, "is not JSON");
        check_file("{}", State::Ok, "no configuration");
    }
}
