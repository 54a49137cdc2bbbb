//! What the parts read from outside: the configured servers, and what they list.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};

use anyhow::Context as _;
use async_trait::async_trait;
use gateway::{Gateway, Listing, PinChange, Route, Routes, Target};
use model::{Enforcement, ServerName, Sha256Digest};
use pap::{Administration, Found, ToolSource};

use crate::config::{Config, Denials, Server};
use crate::isolate::Launchers;

/// The ways to the configured servers; one on stdio that `launchers` do not tell of is not started.
pub(crate) fn routes(config: &Config, launchers: &Launchers) -> anyhow::Result<Routes> {
    let route = |(name, server): (&String, &Server)| {
        let launcher = launchers.get(name).cloned();
        let launcher = launcher.unwrap_or_else(|| Err("it was not looked at".to_owned()));
        let name: ServerName = name.parse()?;
        let target = target(server, launcher).with_context(|| format!("server `{name}`"))?;
        let audience = server.url.clone().unwrap_or_else(|| format!("stdio:{name}"));
        let denials = match server.denials {
            Denials::Result => mcp::DenialStyle::Result,
            Denials::Jsonrpc => mcp::DenialStyle::JsonRpc,
        };
        let elicitation_hosts = server.elicitation_hosts.clone();
        Ok((name, Arc::new(Route { target, audience, denials, elicitation_hosts })))
    };
    config.servers.iter().map(route).collect()
}

fn target(server: &Server, launcher: Result<Vec<OsString>, String>) -> anyhow::Result<Target> {
    if let Some(url) = &server.url {
        let header = server.header_file.as_deref().map(header).transpose()?;
        return Ok(Target::Http { url: url.parse()?, header });
    }
    let command = server.command.as_deref().context("needs `url` or `command`")?;
    let (args, env) = (server.args.clone(), server.env.clone());
    let (command, is_stateless) = (command.into(), server.stateless);
    Ok(Target::Stdio { command, args, env, launcher, is_stateless })
}

/// The one header that the file at `path` holds.
pub(crate) fn header(path: &Path) -> anyhow::Result<(http::HeaderName, http::HeaderValue)> {
    let text = String::from_utf8(keys::read_private(path)?)
        .with_context(|| format!("`{}` does not hold text", path.display()))?;
    let (name, value) = text.trim().split_once(':').with_context(|| {
        format!("`{}` does not hold one line of the form `Name: value`", path.display())
    })?;
    let mut value = http::HeaderValue::from_str(value.trim())?;
    value.set_sensitive(true);
    Ok((http::HeaderName::try_from(name.trim())?, value))
}

/// The account with which a server is called that is shown a header of its own.
fn account(target: &Target) -> Option<Sha256Digest> {
    let Target::Http { header: Some((_, value)), .. } = target else { return None };
    Some(Sha256Digest::of(value.as_bytes()))
}

/// Reads servers for administration, and notes what they list for the gateway.
#[derive(Default)]
pub(crate) struct Sources {
    /// Both hold this: they are only reached, not kept alive, from here.
    parts: OnceLock<(Weak<Gateway>, Weak<Administration>)>,
}

impl Sources {
    /// Says who reads and who notes, once both are there.
    pub(crate) fn connect(&self, gateway: Arc<Gateway>, administration: Arc<Administration>) {
        let parts = (Arc::downgrade(&gateway), Arc::downgrade(&administration));
        assert!(self.parts.set(parts).is_ok(), "it is connected once");
    }

    fn gateway(&self) -> Option<Arc<Gateway>> {
        self.parts.get()?.0.upgrade()
    }
}

#[async_trait]
impl ToolSource for Sources {
    async fn read(&self, server: &ServerName) -> Result<Found, String> {
        let gateway = self.gateway().ok_or("the service is stopping")?;
        let route = gateway.route(server).ok_or_else(|| {
            format!(
                "server `{server}` is not in the configuration that the service started with: add it under `servers`, \
                 and start the service again"
            )
        })?;
        let origin = origin(&route.target);
        let tools = gateway::list_tools(&gateway, server, true).await;
        let look = match &route.target {
            Target::Stdio { .. } => {
                ": if its program could not be started, the service's log says why"
            }
            Target::Http { .. } => "",
        };
        let tools = tools.map_err(|error| format!("could not read the tools: {error}{look}"))?;
        // Who answers without seeing who asks can be called around us.
        let bare = gateway::list_tools(&gateway, server, false).await;
        let enforcement =
            if bare.is_err() { Enforcement::Mandatory } else { Enforcement::Bypassable };
        let account = account(&route.target);
        Ok(Found { tools, origin, enforcement, account })
    }
}

#[async_trait]
impl PinChange for Sources {
    async fn note(&self, server: &ServerName, listing: Listing) -> Result<(), String> {
        let administration = self.parts.get().and_then(|parts| parts.1.upgrade());
        let administration = administration.ok_or("the service is stopping")?;
        let noted = administration.note_tools(server, &listing.tools, listing.is_whole).await;
        noted.map_err(|error| error.to_string())
    }
}

/// Where the configured servers are served from.
pub(crate) fn origins(config: &Config) -> anyhow::Result<BTreeMap<ServerName, String>> {
    let routes = routes(config, &Launchers::new())?.into_iter();
    Ok(routes.map(|(name, route)| (name, origin(&route.target))).collect())
}

/// Where a server is served from: its URL, or what would be started and its digest.
fn origin(target: &Target) -> String {
    match target {
        Target::Http { url, .. } => url.to_string(),
        Target::Stdio { command, args, .. } => {
            let digest = std::fs::read(command).map(|bytes| Sha256Digest::of(&bytes).to_string());
            // A bare name is looked up in PATH when it starts: then the name and the arguments,
            // with their exact version, are what is pinned.
            let digest = digest.unwrap_or_else(|_| "by name".to_owned());
            format!("{} {} ({digest})", command.display(), args.join(" "))
        }
    }
}
