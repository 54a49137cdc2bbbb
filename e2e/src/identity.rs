//! An OpenID provider of others (npm `oidc-provider`), and a browser that logs in there.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::caller::exchange;
use crate::process::Child;
use crate::{Deployment, free_port, head, node_modules, repository};

/// What the provider gave the service as its secret.
const SECRET: &str = "a secret: of 32 bytes % and more";

/// The day in so many days.
pub fn day(days: u64) -> String {
    let mut date = Command::new("date");
    let printed = date.args(["-u", "-d", &format!("+{days} days"), "+%F"]).output().expect("date");
    String::from_utf8(printed.stdout).expect("text").trim().to_owned()
}

/// The most redirects of one page.
const HOPS_MAX: usize = 16;

/// The provider, at which `carla` logs in without being asked.
#[derive(Debug)]
pub struct Identity {
    /// Its issuer.
    pub issuer: String,
    dir: TempDir,
    command: Command,
    process: Child,
}

impl Identity {
    /// Starts it, for a service whose pages are at `port`.
    pub fn start(port: u16) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        keys::write_private(&dir.path().join("secret"), SECRET.as_bytes()).expect("it is written");
        let clients = json!([{
            "client_id": "chancery",
            "client_secret": SECRET,
            "token_endpoint_auth_method": "client_secret_basic",
            "redirect_uris": [format!("http://127.0.0.1:{port}/login/callback")],
            "response_types": ["code"],
            "grant_types": ["authorization_code"],
            "scope": "openid",
        }]);
        let mut command = Command::new(node_modules().join(".bin/node"));
        command.arg(repository().join("crates/login/tests/provider.mjs"));
        let module = node_modules().join("oidc-provider/lib/index.js");
        command.arg(module.canonicalize().expect("`cargo xtask provision` provisions it"));
        let at = free_port();
        command.arg(clients.to_string()).arg(at.to_string()).stdin(Stdio::piped());
        let (process, issuer) = started(&mut command);
        Self { issuer, dir, command, process }
    }

    /// Ends it.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, where it was.
    pub fn restart(&mut self) {
        let (process, issuer) = started(&mut self.command);
        assert_eq!(issuer, self.issuer);
        self.process = process;
    }

    /// Puts a signed list with Carla in force in `deployment`: she logs in here as `login`.
    pub fn join(&self, deployment: &Deployment, login: &str) {
        let path = |name: &str| deployment.path(name).display().to_string();
        let (key, list, jwt, jwk) = (path("hr.pem"), path("p.json"), path("p.jwt"), path("hr.jwk"));
        std::fs::write(&jwk, deployment.run(&["people", "key", &key])).expect("written");
        let add = ["people", "source", "add", "hr", "--key", &jwk, "--expires", &day(200)];
        deployment.run(&add);
        let logins = json!([{ "issuer": self.issuer, "subject": login }]);
        let people = json!([{ "id": "carla", "active": true, "logins": logins }]);
        let text = json!({ "version": 1, "people": people }).to_string();
        std::fs::write(&list, text).expect("written");
        let url = deployment.url();
        let sign = ["people", "sign", &list, "--source", "hr", "--key", &key, "--url", &url];
        std::fs::write(&jwt, deployment.run(&sign)).expect("written");
        deployment.run(&["people", "apply", &jwt]);
    }

    /// What the service's configuration says of it.
    pub fn configuration(&self) -> String {
        let (issuer, secret) = (&self.issuer, self.dir.path().join("secret"));
        format!(
            "login:\n  issuer: '{issuer}'\n  client_id: chancery\n  client_secret_file: '{}'\n",
            secret.display()
        )
    }
}

/// Starts the provider; gives its issuer.
fn started(command: &mut Command) -> (Child, String) {
    Child::start_and_read(command, |line| line.strip_prefix("issuer ").map(str::to_owned))
}

/// A page, as a browser got it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The HTTP status.
    pub status: u16,
    /// The page.
    pub text: String,
    head: String,
}

impl Shown {
    /// The value of the hidden field `name` of its form.
    pub fn field(&self, name: &str) -> String {
        let after = self.text.split_once(&format!("name=\"{name}\" value=\""));
        let value = after.and_then(|(_, rest)| rest.split_once('"'));
        value.unwrap_or_else(|| panic!("no `{name}`: {}", self.text)).0.to_owned()
    }

    /// Where its first link leads.
    pub fn link(&self) -> String {
        self.attribute("a href")
    }

    /// Where its first form leads.
    pub fn action(&self) -> String {
        self.attribute("form method=\"post\" action")
    }

    fn attribute(&self, name: &str) -> String {
        let after = self.text.split_once(&format!("<{name}=\""));
        let value = after.and_then(|(_, rest)| rest.split_once('"'));
        let value = value.unwrap_or_else(|| panic!("no `{name}`: {}", self.text)).0;
        value.replace("&amp;", "&")
    }

    /// The header `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }
}

/// A browser that knows cookies, redirects and forms.
#[derive(Debug, Default)]
pub struct Browser {
    /// By name alone: browsers tell hosts apart and not their ports (RFC 6265 §8.5), and every host
    /// is this machine.
    cookies: BTreeMap<String, String>,
}

impl Browser {
    /// The page at `url`, wherever it leads.
    pub fn get(&mut self, url: &str) -> Shown {
        let mut next = url.to_owned();
        for _ in 0..HOPS_MAX {
            let shown = self.send(&next, "GET", "", "");
            let Some(location) = shown.header("location") else { return shown };
            let origin: String = next.split_inclusive('/').take(3).collect();
            next = match location.strip_prefix('/') {
                Some(path) => format!("{origin}{path}"),
                None => location.to_owned(),
            };
        }
        panic!("more than {HOPS_MAX} redirects: `{next}`")
    }

    /// The page at `uri` of the people's pages at `people`, for which one logs in first.
    pub fn log_in(&mut self, people: &str, uri: &str) -> Shown {
        let first = self.get(uri);
        assert_eq!(first.status, 403, "{}", first.text);
        self.get(&format!("{people}{}", first.link()))
    }

    /// Sends `fields` to `url`, from a page of `origin`.
    pub fn post(&mut self, url: &str, fields: &[(&str, &str)], origin: &str) -> Shown {
        let body = oauth::form::form(fields);
        let kind = "application/x-www-form-urlencoded";
        let headers = format!("origin: {origin}\r\ncontent-type: {kind}\r\n");
        self.send(url, "POST", &headers, &body)
    }

    fn send(&mut self, url: &str, method: &str, headers: &str, body: &str) -> Shown {
        let rest = url.strip_prefix("http://127.0.0.1:").expect("it is on loopback");
        let (port, path) = rest.split_once('/').unwrap_or((rest, ""));
        let port: u16 = port.parse().expect("a port");
        let own = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        let own: Vec<_> = own.collect();
        let request = format!(
            "{method} /{path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\
             cookie: {}\r\n{headers}content-length: {}\r\n\r\n{body}",
            own.join("; "),
            body.len()
        );
        let bytes = exchange(port, &request).unwrap_or_else(|| panic!("no answer: {url}"));
        let end = head::end(&bytes).expect("a head");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (head, text) = (text(&bytes[..end]), text(&bytes[end..]));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        for line in head.lines() {
            let Some((name, value)) = line.split_once(": ") else { continue };
            if name.eq_ignore_ascii_case("set-cookie") {
                let pair = value.split(';').next().unwrap_or_default();
                let (name, value) = pair.split_once('=').expect("a cookie");
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        self.cookies.retain(|_, value| !value.is_empty());
        Shown { status: status.expect("a status"), text, head }
    }
}
