//! The MCP clients of this user: which of their servers go through `chancery mcp`.
//!
//! It reads the usual configuration files and nothing else: a client that it does not know, or one
//! with another place for its file, is not seen.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

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

/// Where they keep those of one project, below its directory.
const PROJECT_FILES: [(&str, &str, &str); 3] = [
    ("Claude Code, this directory", ".mcp.json", "mcpServers"),
    ("Cursor, this directory", ".cursor/mcp.json", "mcpServers"),
    ("VS Code, this directory", ".vscode/mcp.json", "servers"),
];

/// The member of a client's file under which it keeps those of single projects, by their directories.
const PROJECTS: &str = "projects";

/// Looks at the clients of whoever has the `home` directory and works in the directory `project`.
pub(super) fn check(home: Option<PathBuf>, project: Option<PathBuf>) -> Vec<Observation> {
    let of_dir = |dir: Option<PathBuf>, files: &[(&str, &str, &str)]| {
        let files = files.iter().filter_map(|(client, file, member)| {
            of_client(client, &dir.as_ref()?.join(file), member)
        });
        files.collect::<Vec<_>>()
    };
    let mut observations = [of_dir(home, &FILES), of_dir(project, &PROJECT_FILES)].concat();
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
    let projects = value.get(PROJECTS).and_then(Value::as_object).into_iter().flat_map(Map::values);
    let places = std::iter::once(&value).chain(projects);
    let places: Vec<_> = places.filter_map(|place| place.get(member)?.as_object()).collect();
    if places.is_empty() {
        return None;
    }
    let servers: Vec<_> = places.into_iter().flatten().collect();
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

    /// What is said of `text` as the file of a home directory, and as that of a project.
    fn check_file(text: &str, state: State, said: &str) {
        for file in [".claude.json", ".mcp.json"] {
            let kept = tempfile::tempdir().expect("a directory");
            std::fs::write(kept.path().join(file), text).expect("it is ours");
            let dir = Some(kept.path().to_owned());
            let (home, project) = if file == ".mcp.json" { (None, dir) } else { (dir, None) };
            let observations = check(home, project);
            let [observation] = observations.as_slice() else { panic!("{observations:?}") };
            assert_eq!(observation.state, state, "{file}: {observation:?}");
            assert!(observation.what.contains(said), "{file}: {observation:?}");
        }
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
        let of_projects =
            format!(r#"{{"projects": {{"/p": {}, "/q": {{}}}}}}"#, file(r#""web": {}"#));
        check_file(&of_projects, State::Weak, "1 do not go through here: web");
    }
}
