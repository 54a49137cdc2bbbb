//! What `dev` prints: commands that work as they are printed, wherever they are typed.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::config::Config;

/// What to do next.
pub(super) fn next_steps(config: &Config, dir: &Path) -> String {
    let mut lines = vec![format!(
        "development deployment in {}: one founder, `dev`; never to be promoted",
        dir.display()
    )];
    let servers: Vec<_> = config.servers.keys().map(String::as_str).collect();
    if servers.is_empty() {
        lines.push("it has no server: name one with `--server NAME=URL` or `NAME=COMMAND`".into());
    } else {
        lines.extend(onboarding(&servers));
    }
    lines.extend(reading(config));
    lines.join("\n") + "\n"
}

fn onboarding(servers: &[&str]) -> Vec<String> {
    let program = program();
    let mut lines = vec![String::new(), "onboard in another terminal:".to_owned(), String::new()];
    for server in servers {
        let harm = "--harm '*=reads-data'";
        lines.push(format!("  {program} server add {server} --owner dev {harm}"));
    }
    let tools: Vec<_> = servers.iter().map(|server| format!("--tool '{server}/*'")).collect();
    lines.push(format!("  {program} purpose add try --owner dev {}", tools.join(" ")));
    let uid = nix::unistd::geteuid();
    lines.push(format!(
        "  {program} agent add bot --sponsor dev --owner dev --purpose try --host-uid {uid}"
    ));
    lines.push(String::new());
    lines.push(
        "(say `TOOL=CLASS` of a tool that does more than read: policy has to permit it)".into(),
    );
    lines.push(String::new());
    lines.push("then put this into the configuration of your MCP client:".to_owned());
    lines.push(String::new());
    let command = executable().display().to_string();
    let entry = |server: &&str| {
        let args = ["mcp", server, "--agent", "bot"];
        ((*server).to_owned(), json!({ "command": command, "args": args }))
    };
    let entries: serde_json::Map<_, _> = servers.iter().map(entry).collect();
    lines.push(format!("  {}", json!({ "mcpServers": entries })));
    lines
}

fn reading(config: &Config) -> Vec<String> {
    let (program, log) = (program(), quoted(&config.log_dir()));
    let key = quoted(&config.keys_dir().join("log.pub"));
    vec![
        String::new(),
        "and see what was decided:".to_owned(),
        String::new(),
        format!("  {program} log tail"),
        format!("  {program} log replay"),
        format!("  {program} log verify {log} --key {key}"),
        String::new(),
    ]
}

/// How this program is called in a shell: by its name if that finds it, else by its path.
fn program() -> String {
    let own = executable();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("chancery")).find(|at| at.exists());
    let is_own = found.and_then(|at| at.canonicalize().ok()).is_some_and(|at| at == own);
    if is_own { "chancery".to_owned() } else { quoted(&own) }
}

fn executable() -> PathBuf {
    let own = std::env::current_exe().and_then(std::fs::canonicalize);
    own.unwrap_or_else(|_| PathBuf::from("chancery"))
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    shlex::try_quote(&text).map_or_else(|_| text.clone(), std::borrow::Cow::into_owned)
}
