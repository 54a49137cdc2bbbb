//! How servers are kept apart on this machine, for people: in the log, in metrics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Isolation;
use crate::config::Config;

/// How each stdio server is kept apart, or why it is not started.
pub(crate) type Servers = BTreeMap<String, Result<Report, String>>;

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
    const fn name(self) -> &'static str {
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

/// How each configured stdio server is kept apart: tried, not guessed.
pub(crate) fn probe_all(config: &Config) -> Servers {
    let stdio = config.servers.iter().filter(|(_, server)| server.command.is_some());
    let probed = stdio.map(|(name, server)| {
        let report = Isolation::of(server, config).probe();
        (name.clone(), report.map_err(|error| format!("{error:#}")))
    });
    probed.collect()
}

/// Those that are not started, each with its reason.
pub(crate) fn refused(servers: &Servers) -> BTreeMap<String, String> {
    let why = servers.iter().filter_map(|(name, report)| Some((name, report.as_ref().err()?)));
    why.map(|(name, why)| (name.clone(), why.clone())).collect()
}

/// Writes to the log how servers are kept apart.
pub(crate) fn tell(servers: &Servers) {
    for (server, report) in servers {
        match report {
            Ok(report) => {
                let isolation = report.isolation.name();
                let (namespaces, landlock) = (report.namespaces, report.landlock);
                tracing::info!(server, isolation, namespaces, landlock, "a server is isolated");
                if let Some(shortcoming) = report.shortcoming() {
                    tracing::warn!(server, "{shortcoming}");
                }
            }
            Err(why) => tracing::error!(server, "it is not started: {why}"),
        }
    }
}

/// How servers are kept apart, in the text format of Prometheus; empty without stdio servers.
pub(crate) fn metrics(servers: &Servers) -> String {
    let name = "chancery_server_isolation";
    let line = |(server, report): (&String, &Result<Report, String>)| {
        let (isolation, namespaces, landlock) = match report {
            Ok(report) => (report.isolation.name(), report.namespaces, report.landlock),
            Err(_) => ("refused", false, 0),
        };
        format!(
            "{name}{{server=\"{server}\",isolation=\"{isolation}\",namespaces=\"{namespaces}\",\
             landlock=\"{landlock}\"}} 1\n"
        )
    };
    let lines = servers.iter().map(line).collect::<String>();
    if lines.is_empty() { lines } else { format!("# TYPE {name} gauge\n{lines}") }
}
