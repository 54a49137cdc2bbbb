//! TLS before something on loopback, with certificates of the tests' own.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Child, Page, free_port, python, repository, wait_until};

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

/// Documents on a host of the operator's own network, over TLS.
#[derive(Debug)]
pub struct Published {
    dir: TempDir,
    port: u16,
    _processes: [Child; 2],
}

impl Published {
    /// Serves what is put there.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        certificates(dir.path());
        std::fs::create_dir(dir.path().join("documents")).expect("it is ours");
        let (port, target) = (free_port(), free_port());
        let mut command = Command::new(python());
        command.args(["-m", "http.server", &target.to_string(), "--bind", "127.0.0.1"]);
        command.arg("--directory").arg(dir.path().join("documents"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let server = Child::start(&mut command);
        wait_until("it listens", || TcpStream::connect(("127.0.0.1", target)).ok());
        let front = front(dir.path(), "good", (port, target));
        Self { dir, port, _processes: [server, front] }
    }

    /// The URL of the document `name`.
    pub fn url(&self, name: &str) -> String {
        format!("https://localhost:{}/{name}", self.port)
    }

    /// Puts a document there.
    pub fn put(&self, name: &str, document: &Value) {
        let path = self.dir.path().join("documents").join(name);
        std::fs::create_dir_all(path.parent().expect("it is in a directory")).expect("it is ours");
        std::fs::write(path, document.to_string()).expect("it is ours");
    }

    /// The file with the certificate that vouches for the host.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
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
