//! The configuration, `chancery.yaml`: read whole, checked whole, then used.
//!
//! Every key can also be set by the environment: `listen.agents` is `CHANCERY_LISTEN_AGENTS`. An
//! unknown key is an error that names the nearest known one. Nothing is bound or written before
//! all of it is valid.

mod attestation;
mod directories;
mod findings;
mod login;
mod policy;
mod read;
mod server;
mod tokens;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use attestation::Attestation;
pub(crate) use directories::Directories;
pub(crate) use findings::Findings;
pub(crate) use login::LoginAt;
pub(crate) use policy::Policy;
pub(crate) use read::{check_destination, read, schema};
pub(crate) use server::{Account, Denials, ProcessLimits, Server};
pub(crate) use tokens::{FetchedFrom, Poll, Signals, Tokens, TokensFrom, Verification};

/// Everything that an operator can set.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where it listens.
    #[serde(default)]
    pub(crate) listen: Listen,
    /// The URL by which agents reach it; the issuer of its tokens. Default: `http://` (`https://`
    /// with `tls`) and `listen.agents`.
    #[serde(default)]
    pub(crate) public_url: Option<String>,
    /// The URL by which people reach `listen.admin`, where they log in and consent: https, but for a
    /// deployment for development. Default: `http://` (`https://` with `tls`) and `listen.admin`.
    #[serde(default)]
    pub(crate) people_url: Option<String>,
    /// The OpenID provider at which people log in; without one nobody can consent.
    #[serde(default)]
    pub(crate) login: Option<LoginAt>,
    /// Where it keeps its state; relative paths start at the configuration file.
    pub(crate) state_dir: PathBuf,
    /// Where policy is read from.
    #[serde(default)]
    pub(crate) policy: Policy,
    /// The upstream MCP servers, by name.
    #[serde(default)]
    pub(crate) servers: BTreeMap<String, Server>,
    /// What is refused beyond.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// How long it waits.
    #[serde(default)]
    pub(crate) timeouts: Timeouts,
    /// The decision log.
    #[serde(default)]
    pub(crate) log: Log,
    /// Whose word counts on which workload somebody is.
    #[serde(default)]
    pub(crate) attestation: Attestation,
    /// How tokens are asked for.
    #[serde(default)]
    pub(crate) tokens: Tokens,
    /// From where the documents of OAuth clients are fetched that people authorize.
    #[serde(default)]
    pub(crate) clients: FetchedFrom,
    /// What directories reach.
    #[serde(default)]
    pub(crate) directories: Directories,
    /// How transmitters of shared signals are reached.
    #[serde(default)]
    pub(crate) signals: Signals,
    /// Callers that are no active agent.
    #[serde(default)]
    pub(crate) findings: Findings,
    /// What it says about itself.
    #[serde(default)]
    pub(crate) logging: Logging,
    /// The certificate and key with which its listeners speak TLS themselves.
    #[serde(default)]
    pub(crate) tls: Option<Tls>,
    /// Something in front of it terminates TLS, so that listening off loopback is in order.
    #[serde(default)]
    pub(crate) behind_tls_proxy: bool,
    /// Files beside what is configured that no tool server may read, its own first.
    #[serde(skip)]
    pub(crate) private: Vec<PathBuf>,
}

/// Where it listens.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Listen {
    /// For agents and enforcement points.
    #[schemars(with = "String")]
    pub(crate) agents: SocketAddr,
    /// For people and auditors: health, metrics, the public part of the log.
    #[schemars(with = "String")]
    pub(crate) admin: SocketAddr,
    /// The socket at which this host's kernel vouches for processes of any user who can reach it.
    /// Default: `host.sock` in `state_dir`.
    pub(crate) host: Option<PathBuf>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            agents: SocketAddr::from(([127, 0, 0, 1], 8420)),
            admin: SocketAddr::from(([127, 0, 0, 1], 8421)),
            host: None,
        }
    }
}

/// With what its listeners speak TLS.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// The certificate chain, in PEM, its own certificate first.
    pub(crate) cert: PathBuf,
    /// The private key of that certificate, in PEM, readable by its owner alone.
    pub(crate) key: PathBuf,
}

/// What is refused beyond.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// The largest request body, in bytes.
    pub(crate) body_bytes: usize,
    /// The most connections at once, on each listener.
    pub(crate) connections: usize,
    /// The most connections of one address at once, on each listener; of IPv6, of one /56. Not
    /// counted on loopback and where `behind_tls_proxy` is set: there a proxy connects for all.
    pub(crate) connections_per_address: usize,
    /// The most requests of one agent under way; of one subject, a quarter of that.
    pub(crate) requests_per_agent: usize,
    /// The most MCP sessions and other conversations with servers at once.
    pub(crate) mcp_sessions: usize,
    /// The most MCP sessions and other conversations with servers of one agent at once; of one
    /// subject, a quarter of that.
    pub(crate) conversations_per_agent: usize,
    /// The most stdio servers running at once.
    pub(crate) stdio_processes: usize,
    /// The most stdio servers of one agent running at once; of one subject, a quarter of that.
    pub(crate) stdio_processes_per_agent: usize,
    /// The most tasks that all agents open in one day (UTC) on behalf of one person.
    pub(crate) tasks_per_person_a_day: u64,
    /// The most calls of all agents in one day (UTC) on behalf of one person.
    pub(crate) calls_per_person_a_day: u64,
    /// How many threads serve requests. Default: one for each core that the process may use.
    #[schemars(range(min = 1, max = 1024))]
    pub(crate) worker_threads: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            connections: 10_000,
            connections_per_address: 1_000,
            requests_per_agent: 1_000,
            mcp_sessions: 10_000,
            conversations_per_agent: 1_000,
            stdio_processes: 64,
            stdio_processes_per_agent: 16,
            tasks_per_person_a_day: 1_000,
            calls_per_person_a_day: 100_000,
            worker_threads: None,
        }
    }
}

impl Limits {
    /// The limits of which none would leave nothing that is served, by their keys.
    fn at_least_one(&self) -> [(&'static str, usize); 8] {
        [
            ("limits.body_bytes", self.body_bytes),
            ("limits.connections", self.connections),
            ("limits.connections_per_address", self.connections_per_address),
            ("limits.requests_per_agent", self.requests_per_agent),
            ("limits.mcp_sessions", self.mcp_sessions),
            ("limits.conversations_per_agent", self.conversations_per_agent),
            ("limits.stdio_processes", self.stdio_processes),
            ("limits.stdio_processes_per_agent", self.stdio_processes_per_agent),
        ]
    }
}

/// How long it waits, in milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Timeouts {
    /// For a decision and its record; beyond it the answer is a denial.
    pub(crate) decision_ms: u64,
    /// For the head or the body of a request to arrive, and for a client to take what it is told.
    pub(crate) request_ms: u64,
    /// For an upstream server to answer a call.
    pub(crate) upstream_ms: u64,
    /// For an MCP session, or a conversation with an upstream server, that nobody uses.
    pub(crate) idle_ms: u64,
    /// For calls in flight when it is told to stop.
    pub(crate) drain_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            decision_ms: 2_000,
            request_ms: 30_000,
            upstream_ms: 60_000,
            idle_ms: 600_000,
            drain_ms: 10_000,
        }
    }
}

/// The decision log.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// Its name in every checkpoint; fixed at founding.
    pub(crate) origin: Option<String>,
    /// Where checkpoints are put out of our own reach.
    pub(crate) anchors: Vec<Anchor>,
}

/// A place for checkpoints that somebody else keeps.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Anchor {
    /// A file that another user made append-only; it must exist.
    File {
        /// Its path.
        file: PathBuf,
    },
    /// A URL that takes a checkpoint by POST.
    Url {
        /// The URL; `https` unless it is on loopback.
        url: String,
    },
}

/// What it says about itself.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Logging {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub(crate) level: String,
    /// Whether each line is JSON.
    pub(crate) json: bool,
}

impl Default for Logging {
    fn default() -> Self {
        Self { level: "info".to_owned(), json: false }
    }
}

impl Config {
    /// The issuer of tokens and the base of every URL given to agents, without a trailing slash.
    pub(crate) fn issuer(&self) -> String {
        let url = self.public_url.clone();
        let url = url.unwrap_or_else(|| format!("{}://{}", self.scheme(), self.listen.agents));
        url.trim_end_matches('/').to_owned()
    }

    /// The base of every URL given to people, without a trailing slash.
    pub(crate) fn people_url(&self) -> String {
        let url = self.people_url.clone();
        let url = url.unwrap_or_else(|| format!("{}://{}", self.scheme(), self.listen.admin));
        url.trim_end_matches('/').to_owned()
    }

    /// How many threads serve requests.
    pub(crate) fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.limits.worker_threads.unwrap_or_else(cores)
    }

    /// The scheme of its listeners.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The log's name in every checkpoint.
    pub(crate) fn origin(&self) -> String {
        let host = || self.issuer().replace("https://", "").replace("http://", "");
        self.log.origin.clone().unwrap_or_else(|| format!("{}/log", host()))
    }

    /// The database file.
    pub(crate) fn database(&self) -> PathBuf {
        self.state_dir.join("chancery.db")
    }

    /// The directory of keys.
    pub(crate) fn keys_dir(&self) -> PathBuf {
        self.state_dir.join("keys")
    }

    /// The directory of the published log.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.state_dir.join("log")
    }

    /// The socket for administration on the machine itself.
    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.state_dir.join("admin.sock")
    }

    /// What no tool server may read or write, as it is now, the state directory first.
    pub(crate) fn protected(&self) -> Vec<PathBuf> {
        let named = self.named_protected().into_iter();
        named.map(|path| path.canonicalize().unwrap_or(path)).collect()
    }

    /// The same, absolute, by the names that the configuration has for it.
    pub(crate) fn named_protected(&self) -> Vec<PathBuf> {
        let headers = self.servers.values().filter_map(|server| server.header_file.as_ref());
        let keys = self.tls.iter().map(|tls| &tls.key);
        let anchors = self.log.anchors.iter().filter_map(|anchor| match anchor {
            Anchor::File { file } => Some(file),
            Anchor::Url { .. } => None,
        });
        let first = std::iter::once(&self.state_dir).chain(&self.policy.path);
        let all = first.chain(&self.private).chain(headers).chain(keys).chain(anchors);
        let all = all.chain(&self.findings.header_file);
        let all = all.chain(self.login.iter().flat_map(LoginAt::files)).map(PathBuf::as_path);
        let fetched = self.clients.ca_files.iter().chain(self.signals.files());
        let all = all.chain(fetched.map(PathBuf::as_path));
        let all = all.chain(self.attestation.places());
        let all = all.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        // The sockets at which a user's own processes are let act as an agent, and the keys beside them.
        all.chain(crate::dev::private_places()).collect()
    }

    /// The socket at which the host's kernel vouches for processes.
    pub(crate) fn host_socket(&self) -> PathBuf {
        self.listen.host.clone().unwrap_or_else(|| self.state_dir.join("host.sock"))
    }

    /// Makes relative paths start at `base`.
    fn anchored_at(mut self, base: &Path) -> Self {
        for path in std::iter::once(&mut self.state_dir).chain(&mut self.policy.path) {
            *path = base.join(&*path);
        }
        for anchor in &mut self.log.anchors {
            if let Anchor::File { file } = anchor {
                *file = base.join(&*file);
            }
        }
        for server in self.servers.values_mut() {
            for path in server.writes.iter_mut().chain(&mut server.header_file) {
                *path = base.join(&*path);
            }
        }
        self.attestation.anchor_at(base);
        for file in self.clients.ca_files.iter_mut().chain(self.signals.files_mut()) {
            *file = base.join(&*file);
        }
        let tls = self.tls.as_mut().map(|tls| [&mut tls.cert, &mut tls.key]);
        for file in self.login.iter_mut().flat_map(LoginAt::files_mut) {
            *file = base.join(&*file);
        }
        let more = self.findings.header_file.as_mut().into_iter().chain(self.listen.host.as_mut());
        for file in tls.into_iter().flatten().chain(more) {
            *file = base.join(&*file);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::read::{ConfigError, from_value};

    fn threads(value: Value, environment: &[(&str, &str)]) -> Result<Option<usize>, ConfigError> {
        let tree = json!({ "state_dir": "state", "limits": { "worker_threads": value } });
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let config = from_value(tree, environment.iter().map(owned))?;
        Ok(config.limits.worker_threads)
    }

    /// What is told of a stdio server with `keys`, if it is refused.
    fn refused(keys: Value) -> Option<String> {
        let mut server = json!({ "command": "server" });
        let members = server.as_object_mut().expect("it is an object");
        members.extend(keys.as_object().expect("it is an object").clone());
        let tree = json!({ "state_dir": "state", "servers": { "a": server } });
        from_value(tree, std::iter::empty()).err().map(|error| error.to_string())
    }

    #[test]
    fn a_server_is_given_no_more_than_there_are_limits_for() {
        let limits =
            [("memory_mb", 64, 1_048_576), ("processes", 1, 65_536), ("files", 16, 1_048_576)];
        for (key, least, most) in limits {
            let check = |value: u64| refused(json!({ "limits": { key: value } }));
            assert_eq!([check(least), check(most)], [None, None], "{key}");
            for value in [least - 1, most + 1] {
                let told = format!("`limits.{key}`: `{value}` is not from {least} to {most}");
                assert_eq!(check(value), Some(format!("`servers.a`: {told}")));
            }
        }
    }

    #[test]
    fn a_user_is_a_name_or_a_number() {
        assert_eq!(refused(json!({ "user": "tools" })), None);
        assert_eq!(refused(json!({ "user": 1001 })), None);
        assert!(refused(json!({ "user": -1 })).is_some());
        let url = json!({ "command": null, "url": "http://127.0.0.1:1/", "user": "tools" });
        let told =
            "`servers.a`: `user`, `writes`, `stateless` and `allow_unisolated` are for a `command`";
        assert_eq!(refused(url), Some(told.to_owned()));
    }

    #[test]
    fn no_server_writes_where_our_own_files_are() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let path = dir.path().join("chancery.yaml");
        for name in ["state", "state/keys", "policies", "work", "work/inner", "other"] {
            std::fs::create_dir(dir.path().join(name)).expect("it can be made");
        }
        let check = |writes: &str| {
            let server = format!("{{ command: server, writes: ['{writes}'] }}");
            let policy = "policy: { path: policies, allow_loose: true }";
            let text = format!("state_dir: state\n{policy}\nservers: {{ a: {server} }}\n");
            std::fs::write(&path, text).expect("it can be written");
            super::read(&path, std::iter::empty()).is_ok()
        };
        assert!(check("work"));
        assert!(check("work', 'other"));
        assert!(!check("work', 'work/inner"), "who writes to the outer could replace the inner");
        for wrong in
            [".", "state", "state/keys", "policies", "chancery.yaml", "work/..", "/", "none"]
        {
            assert!(!check(wrong), "{wrong}");
        }
    }

    #[test]
    fn files_are_in_force_only_where_that_is_meant() {
        let check = |policy: Value, refused: bool| {
            let tree = json!({ "state_dir": "state", "policy": policy });
            let found = from_value(tree, std::iter::empty()).map(drop).map_err(|it| it.to_string());
            assert_eq!(found.clone().is_err(), refused, "{policy}: {found:?}");
            let tells = ["`policy.allow_loose: true`", "`policy.starter`"];
            assert!(found.err().is_none_or(|why| tells.iter().any(|it| why.contains(it))));
        };
        check(json!({ "path": "policies" }), true);
        check(json!({ "path": "policies", "allow_loose": false }), true);
        check(json!({ "path": "policies", "allow_loose": true }), false);
        check(json!({ "path": "policies", "allow_loose": true, "starter": true }), true);
        check(json!({ "starter": true }), false);
        check(json!({}), false);
    }

    #[test]
    fn worker_threads_are_a_number_of_threads() {
        let check = |value: Value, wanted: Option<usize>| {
            let found = threads(value.clone(), &[]);
            assert_eq!(found.ok(), Some(wanted), "{value}");
        };
        check(Value::Null, None);
        check(json!(1), Some(1));
        check(json!(1_024), Some(1_024));
        for wrong in [json!(0), json!(1_025), json!(-1), json!("many")] {
            assert!(threads(wrong.clone(), &[]).is_err(), "{wrong}");
        }
        let told = threads(json!(0), &[]).expect_err("none is too few").to_string();
        assert_eq!(told, "`limits.worker_threads`: `0` is not a number of threads from 1 to 1024");
        let none = json!({ "state_dir": "state", "limits": { "connections": 0 } });
        let told = from_value(none, std::iter::empty()).expect_err("none is too few").to_string();
        assert_eq!(told, "`limits.connections`: `0` would refuse everything");
        let set = threads(json!(4), &[("CHANCERY_LIMITS_WORKER_THREADS", "2")]);
        assert_eq!(set.expect("it is in order"), Some(2));
    }
}
