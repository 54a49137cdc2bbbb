//! `chancery dev`: everything on loopback, one founder, a temporary store.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::Dev;
use crate::serve;

/// Where `dev` writes agents' keys, so that `mcp` finds them.
fn keys_dir() -> PathBuf {
    std::env::temp_dir().join("chancery-dev-keys")
}

/// The file in which an agent's key is looked for.
pub(crate) fn key_file(agent: &str) -> PathBuf {
    keys_dir().join(format!("{agent}.pem"))
}

/// Founds a development deployment and serves it.
pub(crate) async fn run(dev: Dev) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir().context("could not make a temporary directory")?;
    let dir = dev.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    let path = dir.join("chancery.yaml");
    if !path.exists() {
        std::fs::create_dir_all(dir.join("policies"))?;
        std::fs::write(dir.join("policies/starter.cedar"), pdp::STARTER_POLICY)?;
        std::fs::write(dir.join("policies/dev.cedar"), policy(&dev.servers)?)?;
        std::fs::write(&path, configuration(&dev)?)?;
    }
    let config = super::configured(&path)?;
    if !config.keys_dir().exists() {
        crate::founding::found(&config, vec![("dev".to_owned(), None)], true).await?;
    }
    next_steps(&dir, &config.admin_socket());
    serve::serve(config).await
}

fn next_steps(dir: &Path, socket: &Path) {
    println!("development deployment in {} (never to be promoted)", dir.display());
    println!("in another terminal:");
    println!("  export CHANCERY_SOCKET={}", socket.display());
    println!("  chancery server add NAME --owner dev --harm '*=reads-data'");
    println!("  chancery purpose add try --owner dev --tool 'NAME/*'");
    println!("  chancery agent add bot --sponsor dev --purpose try");
    println!("and in your MCP client: chancery mcp NAME --agent bot");
}

fn split(server: &str) -> anyhow::Result<(&str, &str)> {
    server.split_once('=').with_context(|| format!("`{server}` is not NAME=URL or NAME=COMMAND"))
}

fn configuration(dev: &Dev) -> anyhow::Result<String> {
    let mut servers = serde_json::Map::new();
    for server in &dev.servers {
        let (name, place) = split(server)?;
        let entry = if place.starts_with("http://") || place.starts_with("https://") {
            serde_json::json!({ "url": place })
        } else {
            let mut words = place.split_whitespace();
            let command = words.next().unwrap_or_default();
            serde_json::json!({ "command": command, "args": words.collect::<Vec<_>>() })
        };
        servers.insert(name.to_owned(), entry);
    }
    let configuration = serde_json::json!({
        "state_dir": "state",
        "listen": {
            "agents": format!("127.0.0.1:{}", dev.port),
            "admin": format!("127.0.0.1:{}", dev.port + 1),
        },
        "servers": servers,
    });
    // JSON is YAML.
    Ok(serde_json::to_string_pretty(&configuration)?)
}

/// Names every server, so that its reading tools are callable.
fn policy(servers: &[String]) -> anyhow::Result<String> {
    let mut all = vec!["// What `chancery dev` lets agents do: read.".to_owned()];
    for server in servers {
        let (name, _) = split(server)?;
        let server = format!("resource in Server::\"{name}\"");
        let scope = format!("permit (principal, action in Action::\"tools/call\", {server})");
        let condition = "when { resource.harm == [\"reads-data\"] };";
        all.push(format!("@id(\"dev-{name}\")\n{scope}\n{condition}"));
    }
    Ok(all.join("\n\n") + "\n")
}
