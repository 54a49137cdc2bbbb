//! TLS before something on loopback, with certificates of the tests' own.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Child, Deployment, Options, Page, free_port, python, repository, wait_until};

fn tls() -> Command {
    let mut command = Command::new(python());
    command.arg(repository().join("e2e/servers/tls.py")).stderr(Stdio::null());
    command
}

/// Makes certificates in `dir`: those of `e2e/servers/tls.py`, and `ca.pem`.
pub fn certificates(dir: &Path) {
    assert!(tls().arg("make").arg(dir).status().expect("it starts").success());
}

/// TLS with the certificate `kind` before the port `target`.
pub fn front(certificates: &Path, kind: &str, (port, target): (u16, u16)) -> Child {
    let file = certificates.join(format!("{kind}.pem"));
    let mut command = tls();
    command.arg("serve").arg(file).args([port.to_string(), target.to_string()]);
    let child = Child::start(&mut command);
    wait_until("it listens", || TcpStream::connect(("127.0.0.1", port)).ok());
    child
}

/// A host on loopback with TLS, before a port at which something may listen without.
#[derive(Debug)]
pub struct Host {
    /// The certificates, and whatever a test puts beside them.
    pub dir: TempDir,
    /// Its URL.
    pub url: String,
    /// The port behind it.
    pub target: u16,
    _front: Child,
}

impl Host {
    /// A host before a free port.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        certificates(dir.path());
        let (port, target) = (free_port(), free_port());
        let front = front(dir.path(), "good", (port, target));
        Self { dir, url: format!("https://localhost:{port}"), target, _front: front }
    }

    /// The URL of what is behind it.
    pub fn behind(&self) -> String {
        format!("http://127.0.0.1:{}", self.target)
    }

    /// The file with the certificate that vouches for it.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Starts a deployment behind it, whose issuer it is.
    pub fn deployment(&self) -> Deployment {
        Deployment::start(&Options {
            configuration: "behind_tls_proxy: true\n".to_owned(),
            port: Some(self.target),
            public_url: Some(self.url.clone()),
            ..Options::default()
        })
    }
}

/// Documents on a host of the operator's own network, over TLS.
#[derive(Debug)]
pub struct Published {
    host: Host,
    _server: Child,
}

impl Published {
    /// Serves what is put there.
    pub fn start() -> Self {
        let host = Host::start();
        let documents = host.dir.path().join("documents");
        std::fs::create_dir(&documents).expect("it is ours");
        let mut command = Command::new(python());
        command.args(["-m", "http.server", &host.target.to_string(), "--bind", "127.0.0.1"]);
        command.arg("--directory").arg(documents);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let server = Child::start(&mut command);
        wait_until("it listens", || TcpStream::connect(("127.0.0.1", host.target)).ok());
        Self { host, _server: server }
    }

    /// The URL of the document `name`.
    pub fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.host.url)
    }

    /// Puts a document there.
    pub fn put(&self, name: &str, document: &Value) {
        let path = self.host.dir.path().join("documents").join(name);
        std::fs::create_dir_all(path.parent().expect("it is in a directory")).expect("it is ours");
        std::fs::write(path, document.to_string()).expect("it is ours");
    }

    /// The file with the certificate that vouches for the host.
    pub fn authority(&self) -> PathBuf {
        self.host.authority()
    }

    /// What the service's configuration says of the host, as `page` of the documentation shows it first.
    pub fn configuration(&self, page: &str) -> String {
        let file = self.authority().display().to_string();
        let hosts = ["clients", "idp"].map(|name| format!("{name}.internal.example"));
        let hosts = hosts.iter().map(|host| (host.as_str(), "localhost"));
        let named: Vec<_> = hosts.chain([("/etc/chancery/ca.pem", &*file)]).collect();
        Page::read(page, &named).blocks("yaml").swap_remove(0)
    }
}
