//! `chancery dev`: everything on loopback, one founder, a temporary store.

mod place;
mod printed;

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::cli::Dev;
use crate::serve;

pub(crate) use place::{
    Place, device_file, host_socket, key_file, listen_secret_file, meeting_dir, new_key_file,
    private_places, read_own, socket, url,
};

/// Founds a development deployment and serves it.
pub(crate) async fn run(dev: Dev) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir().context("could not make a temporary directory")?;
    let dir = dev.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    let create = |dir: &Path| {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.with_context(|| format!("could not create `{}`", dir.display()))
    };
    create(&dir)?;
    // What is printed is used from other directories.
    let dir = dir.canonicalize().with_context(|| format!("could not find `{}`", dir.display()))?;
    let path = dir.join("chancery.yaml");
    if path.exists() {
        let why = "`--server` is for a new deployment: this one has its configuration in";
        ensure!(dev.servers.is_empty(), "{why} `{}`", path.display());
    } else {
        create(&dir.join("policies"))?;
        std::fs::write(dir.join("policies/starter.cedar"), pdp::STARTER_POLICY)?;
        // A file of a set that holds no policy is a mistake, and refused.
        if !dev.servers.is_empty() {
            std::fs::write(dir.join("policies/dev.cedar"), policy(&dev.servers)?)?;
        }
        std::fs::write(&path, configuration(&dev)?)?;
    }
    let keys = dir.join("agents");
    let mut config = super::configured(&path)?;
    config.private.push(keys.clone());
    if !config.keys_dir().exists() {
        crate::founding::found(&config, vec![("dev".to_owned(), None)], true).await?;
    }
    create(&keys)?;
    let place = Place { url: config.issuer(), socket: config.admin_socket(), keys };
    let announced = place.announce()?;
    print!("{}", printed::next_steps(&config, &dir));
    let served = serve::serve(config).await;
    drop(announced);
    served
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
            let words = shlex::split(place).unwrap_or_default();
            let (command, args) = words.split_first().with_context(|| {
                format!("the command of `{name}` is not one that a shell would take: `{place}`")
            })?;
            serde_json::json!({ "command": command, "args": args, "writes": caches(command)? })
        };
        servers.insert(name.to_owned(), entry);
    }
    let observers = dev.port.checked_add(1).context("the port after `--port` is for observers")?;
    let configuration = serde_json::json!({
        "state_dir": "state",
        "listen": {
            "agents": format!("127.0.0.1:{}", dev.port),
            "admin": format!("127.0.0.1:{observers}"),
        },
        "policy": { "path": "policies", "allow_loose": true },
        "servers": servers,
    });
    // JSON is YAML.
    Ok(serde_json::to_string_pretty(&configuration)?)
}

/// Where a package runner keeps, below the home directory, what it fetched.
fn caches(command: &str) -> anyhow::Result<Vec<PathBuf>> {
    let below: &[&str] = match Path::new(command).file_name().and_then(|name| name.to_str()) {
        Some("npx") => &[".npm"],
        Some("uvx") => &[".cache/uv", ".local/share/uv"],
        _ => &[],
    };
    let home = std::env::home_dir().context("there is no home directory")?;
    let caches: Vec<_> = below.iter().map(|name| home.join(name)).collect();
    caches.iter().try_for_each(std::fs::create_dir_all)?;
    Ok(caches)
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
