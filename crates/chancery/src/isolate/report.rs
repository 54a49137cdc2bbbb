//! How servers are kept apart on this machine, for people: in the log, in metrics.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use super::Isolation;
use crate::config::Config;

/// The metric of how servers are kept apart.
pub(crate) const ISOLATION: &str = "chancery_server_isolation";

/// How each stdio server is kept apart, or why it is not started.
pub(crate) type Servers = BTreeMap<String, Result<(Isolation, Report), String>>;

/// What each server is started through, or why it is not started.
pub(crate) type Launchers = BTreeMap<String, Result<Vec<OsString>, String>>;

/// What separates a server from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Apart {
    /// It runs as another user.
    User,
    /// It runs as the service's user, in a user namespace.
    Namespace,
    /// Nothing does.
    None,
}

/// How a server is kept apart on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// What separates it from us.
    pub(crate) isolation: Apart,
    /// Whether it sees files, processes and IPC of its own (mount, PID and IPC namespaces).
    pub(crate) namespaces: bool,
    /// The ABI of Landlock that holds; 0 where the kernel has none.
    pub(crate) landlock: u32,
    /// Whether the kernel counts its processes.
    pub(crate) counted: bool,
}

impl Apart {
    /// The value as metrics spell it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Namespace => "namespace",
            Self::None => "none",
        }
    }
}

impl Report {
    /// What is not as it should be, if anything, and the remedy.
    pub(crate) const fn shortcoming(&self) -> Option<&'static str> {
        match self {
            Self { isolation: Apart::None, .. } => {
                Some("it is not isolated: set `user`, or allow user namespaces")
            }
            Self { isolation: Apart::Namespace, counted: false, .. } => Some(
                "it runs as root, without root's rights but with root's files, and its processes \
                 are not counted: set `user`",
            ),
            Self { namespaces: false, .. } => {
                Some("it sees the files and processes that its user sees: allow namespaces")
            }
            Self { landlock: 0, .. } => Some("the kernel has no Landlock: it may listen on ports"),
            Self { .. } => None,
        }
    }
}

/// How each configured stdio server is kept apart.
pub(crate) fn settle(config: &Config) -> Servers {
    let stdio = config.servers.iter().filter(|(_, server)| server.command.is_some());
    stdio.map(|(name, server)| (name.clone(), Isolation::settle(server, config))).collect()
}

/// What each server is started through, or why it is not started.
pub(crate) fn launchers(servers: &Servers) -> Launchers {
    let launcher = |settled: &Result<(Isolation, Report), String>| {
        settled.as_ref().map(|(isolation, _)| isolation.launcher()).map_err(Clone::clone)
    };
    servers.iter().map(|(name, settled)| (name.clone(), launcher(settled))).collect()
}

/// What is not as it should be, one line each.
pub(crate) fn warnings(servers: &Servers) -> Vec<String> {
    let warning = |(server, settled): (&String, &Result<(Isolation, Report), String>)| match settled
    {
        Ok((_, report)) => report.shortcoming().map(|told| format!("server `{server}`: {told}")),
        Err(why) => Some(format!("server `{server}` is not started: {why}")),
    };
    servers.iter().filter_map(warning).collect()
}

/// Says how servers are kept apart: in the service's log, and to who administers it.
pub(crate) async fn tell(
    servers: &Servers,
    administration: &pap::Administration,
) -> anyhow::Result<()> {
    for (server, settled) in servers {
        if let Ok((_, Report { isolation, namespaces, landlock, .. })) = settled {
            let isolation = isolation.name();
            tracing::info!(server, isolation, namespaces, landlock, "a server is isolated");
        }
    }
    for told in warnings(servers) {
        tracing::warn!("{told}");
    }
    let words = servers.iter().map(|(server, settled)| Ok((server.parse()?, word(settled))));
    Ok(administration.note_isolation(words.collect::<anyhow::Result<_>>()?).await?)
}

/// How a server is kept apart, in one word.
const fn word(settled: &Result<(Isolation, Report), String>) -> &'static str {
    match settled {
        Ok((_, report)) => report.isolation.name(),
        Err(_) => "refused",
    }
}

/// How servers are kept apart, in the text format of Prometheus; empty without stdio servers.
pub(crate) fn metrics(servers: &Servers) -> String {
    let line = |(server, settled): (&String, &Result<(Isolation, Report), String>)| {
        let isolation = word(settled);
        let (namespaces, landlock) = match settled {
            Ok((_, report)) => (report.namespaces, report.landlock),
            Err(_) => (false, 0),
        };
        format!(
            "{ISOLATION}{{server=\"{server}\",isolation=\"{isolation}\",namespaces=\"{namespaces}\",\
             landlock=\"{landlock}\"}} 1\n"
        )
    };
    let lines = servers.iter().map(line).collect::<String>();
    if lines.is_empty() { lines } else { format!("# TYPE {ISOLATION} gauge\n{lines}") }
}
