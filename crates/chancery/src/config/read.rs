//! Reads, overlays and checks the configuration.

use std::path::{Path, PathBuf};

use https_url::HttpsUrl;
use serde_json::{Map, Value};

use super::attestation::check_hosts;
use super::findings::SERVICE_ACCOUNTS;
use super::{Anchor, Config, Findings, LoginAt, ProcessLimits, Server};

/// The largest configuration file, in bytes.
const CONFIG_MAX: u64 = 1 << 20;

/// How many threads may serve requests.
const THREADS: std::ops::RangeInclusive<usize> = 1..=1_024;

/// What a process of a stdio server may be given: memory in MiB, processes, open files.
const MEMORY_MB: std::ops::RangeInclusive<u64> = 64..=1_048_576;
const PROCESSES: std::ops::RangeInclusive<u64> = 1..=65_536;
const FILES: std::ops::RangeInclusive<u64> = 16..=1_048_576;

/// What every environment variable that sets a key begins with.
const PREFIX: &str = "CHANCERY_";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("could not read the configuration `{path}`{}", to_name_it(.source))]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// It is not YAML.
    #[error("the configuration `{path}` is not valid YAML: {message}")]
    NotYaml { path: PathBuf, message: String },
    /// It has a key that means nothing.
    #[error("unknown key `{key}` in the configuration{}", did_you_mean(.nearest.as_deref()))]
    UnknownKey { key: String, nearest: Option<String> },
    /// A value is not what its key takes.
    #[error("the configuration does not fit: {0}")]
    Unfit(String),
    /// The values do not go together.
    #[error("`{key}`: {why}")]
    Invalid { key: String, why: String },
}

fn to_name_it(source: &std::io::Error) -> &'static str {
    let is_missing = source.kind() == std::io::ErrorKind::NotFound;
    let what = ": name it with `--config`, or found a deployment with `chancery init`";
    if is_missing { what } else { "" }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|key| format!(": did you mean `{key}`?")).unwrap_or_default()
}

/// The JSON Schema of the configuration.
pub(crate) fn schema() -> Value {
    schemars::schema_for!(Config).to_value()
}

/// Reads the configuration at `path`, with what `environment` sets on top.
pub(crate) fn read(
    path: &Path,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > CONFIG_MAX {
        return Err(ConfigError::Unfit(format!("`{}` is over {CONFIG_MAX} bytes", path.display())));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let not_yaml = |message| ConfigError::NotYaml { path: path.to_owned(), message };
    let parsed: Value =
        serde_saphyr::from_str(&text).map_err(|error| not_yaml(error.to_string()))?;
    let base = path.parent().unwrap_or_else(|| Path::new("."));
    let mut config = from_value(parsed, environment)?.anchored_at(base);
    config.private.push(path.to_owned());
    check_writes(&config)?;
    Ok(config)
}

pub(super) fn from_value(
    mut tree: Value,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    // What the environment sets stands beside what is there, and not in place of what is no configuration.
    let is_other = !(tree.is_object() || tree.is_null());
    let keys = known_keys();
    for (name, value) in environment.filter(|(name, _)| name.starts_with(PREFIX)) {
        let key = keys.iter().find(|key| variable(key) == name);
        if let Some(key) = key {
            overlay(&mut tree, key, &value);
        }
    }
    if is_other || !tree.is_object() {
        return Err(ConfigError::Unfit("expected keys with values, as `state_dir: state`".into()));
    }
    refuse_unknown(&tree, "", &keys)?;
    let config: Config =
        serde_json::from_value(tree).map_err(|error| ConfigError::Unfit(error.to_string()))?;
    check(&config)?;
    Ok(config)
}

/// The environment variable that sets `key`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// Sets `key` in `tree`: as JSON where the text is JSON, else as text.
fn overlay(tree: &mut Value, key: &str, text: &str) {
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    let mut place = tree;
    for part in key.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[part];
    }
    *place = value;
}

/// Every key of the configuration, with dots; `servers.*.KEY` for those of a server.
fn known_keys() -> Vec<String> {
    let schema = schema();
    let mut keys = Vec::new();
    collect_keys(&schema, &schema, "", &mut keys);
    keys
}

fn collect_keys(root: &Value, node: &Value, prefix: &str, keys: &mut Vec<String>) {
    let node = resolve(root, node);
    let Some(properties) = node.get("properties").and_then(Value::as_object) else { return };
    for (name, child) in properties {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        keys.push(key.clone());
        let child = resolve(root, child);
        match child.get("additionalProperties") {
            Some(entry) if entry.is_object() => {
                collect_keys(root, entry, &format!("{key}.*"), keys);
            }
            _ => collect_keys(root, child, &key, keys),
        }
    }
}

/// What `node` of the schema stands for: what it refers to, or, where it may be absent, what it is
/// if it is there.
fn resolve<'a>(root: &'a Value, node: &'a Value) -> &'a Value {
    let choices = node.get("anyOf").and_then(Value::as_array);
    let node = choices.and_then(|all| all.first()).unwrap_or(node);
    let reference = node.get("$ref").and_then(Value::as_str);
    let target = reference.and_then(|path| root.pointer(path.strip_prefix('#')?));
    target.unwrap_or(node)
}

fn refuse_unknown(node: &Value, prefix: &str, keys: &[String]) -> Result<(), ConfigError> {
    let Some(members) = node.as_object() else { return Ok(()) };
    let any = format!("{prefix}.*");
    let is_map = keys.iter().any(|key| key.starts_with(&format!("{any}.")));
    for (name, child) in members {
        let key = match (prefix.is_empty(), is_map) {
            (true, _) => name.clone(),
            (false, true) => any.clone(),
            (false, false) => format!("{prefix}.{name}"),
        };
        // The members of an open map (an environment) are the operator's own.
        let is_open = !keys.iter().any(|known| known.starts_with(&format!("{prefix}.")));
        if !is_map && !keys.contains(&key) && (prefix.is_empty() || !is_open) {
            return Err(ConfigError::UnknownKey { nearest: nearest(&key, keys), key });
        }
        refuse_unknown(child, &key, keys)?;
    }
    Ok(())
}

fn nearest(key: &str, keys: &[String]) -> Option<String> {
    let distance = |known: &&String| strsim::damerau_levenshtein(key, known);
    keys.iter().min_by_key(distance).filter(|known| distance(known) <= 3).cloned()
}

fn check(config: &Config) -> Result<(), ConfigError> {
    let invalid = |key: &str, why: String| ConfigError::Invalid { key: key.to_owned(), why };
    for (key, address) in
        [("listen.agents", config.listen.agents), ("listen.admin", config.listen.admin)]
    {
        let has_tls = config.tls.is_some() || config.behind_tls_proxy;
        if !address.ip().is_loopback() && !has_tls {
            let why = format!(
                "`{address}` is off loopback without TLS: set `tls`, or `behind_tls_proxy` where \
                 something in front of it speaks TLS"
            );
            return Err(invalid(key, why));
        }
    }
    let issuer = config.issuer();
    let uri = issuer.parse::<http::Uri>().ok();
    let host = uri.as_ref().and_then(http::Uri::host);
    if host.is_none() || !(issuer.starts_with("http://") || issuer.starts_with("https://")) {
        return Err(invalid("public_url", format!("`{issuer}` is not an http or https URL")));
    }
    if config.policy.path.is_some() && !config.policy.allow_loose {
        let why = "files are in force only where `policy.allow_loose: true` stands beside it; without both, the \
                   active release is (docs/releases.md)";
        return Err(invalid("policy.path", why.to_owned()));
    }
    if config.policy.starter && config.policy.path.is_some() {
        let why =
            "either the starter policy is in force, or the files of `policy.path`: remove one";
        return Err(invalid("policy.starter", why.to_owned()));
    }
    if let Some(login) = &config.login {
        check_login(login).map_err(|why| invalid("login", why))?;
        let url = config.people_url();
        check_destination(&url).map_err(|why| invalid("people_url", format!("`{url}` {why}")))?;
    }
    if let Some(threads) = config.limits.worker_threads.filter(|it| !THREADS.contains(it)) {
        let why = format!("`{threads}` is not a number of threads from 1 to {}", THREADS.end());
        return Err(invalid("limits.worker_threads", why));
    }
    for (key, limit) in config.limits.at_least_one() {
        if limit == 0 {
            return Err(invalid(key, "`0` would refuse everything".to_owned()));
        }
    }
    let level = config.logging.level.as_str();
    if !["error", "warn", "info", "debug", "trace"].contains(&level) {
        return Err(invalid("logging.level", format!("`{level}` is not a level")));
    }
    for (number, anchor) in config.log.anchors.iter().enumerate() {
        let wrong = check_anchor(anchor);
        wrong.map_err(|why| invalid(&format!("log.anchors[{number}]"), why))?;
    }
    check_findings(&config.findings)?;
    let platforms = config.attestation.sources(&issuer);
    platforms.map_err(|why| invalid("attestation", why))?;
    let signals = &config.signals;
    let reached = [
        ("clients", &config.clients),
        ("signals.keys", &signals.keys),
        ("signals.receivers", &signals.receivers),
    ];
    for (key, from) in reached {
        check_hosts(&from.private_hosts).map_err(|why| invalid(key, why))?;
    }
    signals.check().map_err(|why| invalid("signals", why))?;
    config.servers.iter().try_for_each(|(name, server)| check_server(name, server))
}

/// Refuses to tell of findings in clear, or later than of service accounts.
fn check_findings(findings: &Findings) -> Result<(), ConfigError> {
    let invalid = |key: &str, why| ConfigError::Invalid { key: format!("findings.{key}"), why };
    if let Some(url) = &findings.webhook {
        check_destination(url).map_err(|why| invalid("webhook", why))?;
    }
    let (after, most) = (findings.escalate_after_ms, SERVICE_ACCOUNTS.as_millis());
    if u128::from(after) < most {
        return Ok(());
    }
    let why = "within which somebody is told of service accounts";
    Err(invalid("escalate_after_ms", format!("`{after}` is not less than {most}, {why}")))
}

/// Refuses a login in clear, or one for which it is not said how we show who we are.
fn check_login(login: &LoginAt) -> Result<(), String> {
    check_destination(&login.issuer).map_err(|why| format!("its `issuer` {why}"))?;
    match login.files().count() {
        1 => Ok(()),
        _ => Err("needs exactly one of `key` and `client_secret_file`".to_owned()),
    }
}

/// Refuses an anchor that would send checkpoints in clear, or a secret in its address.
fn check_anchor(anchor: &Anchor) -> Result<(), String> {
    let Anchor::Url { url } = anchor else { return Ok(()) };
    check_destination(url).map_err(|why| format!("its `url` {why}"))
}

/// Refuses a URL to which something would go in clear, or that holds a secret.
pub(crate) fn check_destination(url: &str) -> Result<(), String> {
    let uri = url.parse::<http::Uri>().map_err(|_| "is not a URL".to_owned())?;
    let host = uri.host().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("names a user: take the name out".to_owned());
    }
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(()),
        Some("http") if loopback => Ok(()),
        Some("http") => Err("is http off loopback: use https".to_owned()),
        _ => Err("is not an https URL".to_owned()),
    }
}

fn check_server(name: &str, server: &Server) -> Result<(), ConfigError> {
    let invalid = |why: String| ConfigError::Invalid { key: format!("servers.{name}"), why };
    name.parse::<model::ServerName>().map_err(|error| invalid(error.to_string()))?;
    if pdp::begins_methods(name) {
        return Err(invalid("methods begin with this name: call the server something else".into()));
    }
    for host in &server.elicitation_hosts {
        // As it is compared: a host that every reader of a URL finds there, and nothing else.
        let read = HttpsUrl::parse(&format!("https://{host}/"));
        if !read.is_ok_and(|url| url.host() == host) {
            let why = "is not a host name in lower case without port";
            return Err(invalid(format!("`elicitation_hosts`: `{host}` {why}")));
        }
    }
    match (&server.url, &server.command) {
        (Some(_), None) if server.is_narrowed() => {
            let why = "`user`, `writes`, `stateless` and `allow_unisolated` are for a `command`";
            Err(invalid(why.to_owned()))
        }
        (Some(url), None) => {
            let uri = url.parse::<http::Uri>().ok();
            let scheme = uri.as_ref().and_then(http::Uri::scheme_str);
            let authority = uri.as_ref().and_then(http::Uri::authority);
            if authority.is_some_and(|authority| authority.as_str().contains('@')) {
                return Err(invalid("a URL holds no credentials: use `header_file`".to_owned()));
            }
            match scheme {
                Some("http" | "https") => Ok(()),
                _ => Err(invalid(format!("`{url}` is not an http or https URL"))),
            }
        }
        (None, Some(command)) => check_command(command, &server.args)
            .and_then(|()| check_limits(&server.limits))
            .map_err(invalid),
        _ => Err(invalid("needs exactly one of `url` and `command`".to_owned())),
    }
}

fn check_limits(limits: &ProcessLimits) -> Result<(), String> {
    let all = [
        ("memory_mb", limits.memory_mb, MEMORY_MB),
        ("processes", limits.processes, PROCESSES),
        ("files", limits.files, FILES),
    ];
    let beyond = all.into_iter().find(|(_, value, range)| !range.contains(value));
    beyond.map_or(Ok(()), |(key, value, range)| {
        Err(format!("`limits.{key}`: `{value}` is not from {} to {}", range.start(), range.end()))
    })
}

/// Refuses to let a server write where what is protected lies, or where nothing is.
fn check_writes(config: &Config) -> Result<(), ConfigError> {
    let protected = config.protected();
    let written = config.servers.values().flat_map(|server| &server.writes);
    let written: Vec<_> = written.filter_map(|path| path.canonicalize().ok()).collect();
    for (name, server) in &config.servers {
        for path in &server.writes {
            let key = format!("servers.{name}.writes");
            let Ok(real) = path.canonicalize() else {
                let why = format!("there is no `{}`", path.display());
                return Err(ConfigError::Invalid { key, why });
            };
            // Who may write around it could put something else in its place.
            let around = |outer: &&PathBuf| real.starts_with(outer) && real != **outer;
            if let Some(outer) = written.iter().find(around) {
                let why = format!("`{}` lies in `{}`", path.display(), outer.display());
                return Err(ConfigError::Invalid { key, why: why + ", which servers write to" });
            }
            let touches = |place: &PathBuf| place.starts_with(&real) || real.starts_with(place);
            if let Some(place) = protected.iter().find(|place| touches(place)) {
                let (path, place) = (path.display(), place.display());
                let why = format!("`{path}` would open `{place}`, which no server may touch");
                return Err(ConfigError::Invalid { key, why });
            }
        }
    }
    Ok(())
}

/// Refuses a package runner without an exact version: what it starts could change any day.
fn check_command(command: &str, args: &[String]) -> Result<(), String> {
    let program = command.rsplit('/').next().unwrap_or(command);
    let package = args.iter().find(|arg| !arg.starts_with('-'));
    let versioned = |package: &str| match program {
        "npx" => package.rfind('@').is_some_and(|at| at > 0 && is_exact(&package[at + 1..])),
        "uvx" => package.split_once("==").is_some_and(|(_, version)| is_exact(version)),
        _ => true,
    };
    match package {
        Some(package) if versioned(package) => Ok(()),
        None if !["npx", "uvx"].contains(&program) => Ok(()),
        _ => Err(format!(
            "`{program}` without an exact version could start something else any day: name one"
        )),
    }
}

fn is_exact(version: &str) -> bool {
    let digit = version.chars().next().is_some_and(|c| c.is_ascii_digit());
    digit && version.chars().all(|c| c.is_ascii_alphanumeric() || ".-+_".contains(c))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Anchor, check_anchor, from_value};

    #[test]
    fn the_environment_makes_no_configuration_of_what_is_none() {
        let check = |tree: Value, is_one: bool| {
            let set = [("CHANCERY_STATE_DIR".to_owned(), "state".to_owned())];
            let told = from_value(tree, set.into_iter()).err().map(|error| error.to_string());
            let is_other = told.as_ref().is_some_and(|told| told.contains("expected keys with"));
            assert_eq!((told.is_none(), is_other), (is_one, !is_one), "{told:?}");
        };
        check(json!({}), true);
        check(json!({ "state_dir": "elsewhere" }), true);
        // An empty file.
        check(Value::Null, true);
        for other in [json!(["state_dir"]), json!("state_dir"), json!(1), json!(false)] {
            check(other, false);
        }
    }

    #[test]
    fn n_084_a_host_of_elicitations_is_named_as_it_is_compared() {
        let read = |host: &str| {
            let server = json!({ "url": "https://crm.example/mcp", "elicitation_hosts": [host] });
            let tree = json!({ "state_dir": "state", "servers": { "crm": server } });
            from_value(tree, std::iter::empty())
        };
        assert!(
            read("login.example").expect("in order").servers["crm"].elicitation_hosts.len() == 1
        );
        for wrong in [
            "",
            "*",
            "*.example",
            "Login.example",
            "https://login.example",
            "login.example:443",
            "a/b",
        ] {
            let why = read(wrong).expect_err(wrong).to_string();
            assert!(why.starts_with("`servers.crm`: `elicitation_hosts`"), "{why}");
        }
    }

    #[test]
    fn an_anchor_is_https_or_on_loopback() {
        let accepted = [
            "https://witness.example/log",
            "http://127.0.0.1:9000/",
            "http://[::1]/x",
            "http://localhost:1/x",
        ];
        let refused = [
            "http://witness.example/log",
            "http://127.0.0.1.example/",
            "http://10.0.0.1/",
            "https://name:secret@witness.example/",
            "ftp://witness.example/",
            "/var/log/anchors",
            "",
        ];
        let check = |url: &str| check_anchor(&Anchor::Url { url: url.to_owned() });
        for url in accepted {
            assert_eq!(check(url), Ok(()), "{url}");
        }
        for url in refused {
            let why = check(url).expect_err(url);
            assert!(!why.contains("secret"), "{why}");
        }
    }
}
