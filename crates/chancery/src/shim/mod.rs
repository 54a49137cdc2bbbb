//! `chancery mcp`: puts a client that speaks MCP on stdio, or HTTP on loopback, under governance.
//!
//! All runs below one client process are one instance: another process holds its key, obtains tokens
//! with the agent's key or the device's, and signs a proof for every request (`holder`). A run passes
//! messages on as they are; what the gateway refuses, the client reads.

mod answer;
mod credentials;
mod held;
mod holder;
mod instance;
mod listen;
mod stdio;
mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use model::Sha256Digest;
use workload::Endpoint;

pub(crate) use credentials::Credentials;
pub(crate) use holder::run as hold;
pub(crate) use wire::Gateway;

use crate::cli::Mcp;
use crate::dev;

/// What a run of the shim needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The upstream server.
    pub(crate) server: String,
    /// The agent.
    pub(crate) agent: String,
    /// The file of the agent's key, or of the device's; without it, the workload's JWT-SVID says which
    /// agent it is.
    pub(crate) key: Option<PathBuf>,
    /// Whether that is the key of a device, which a person enrolled.
    pub(crate) is_device: bool,
    /// By whose word this is a workload of the agent's.
    pub(crate) platform: Option<Platform>,
    /// The base URL of the gateway.
    pub(crate) url: String,
    /// The socket at which the service on this host vouches for processes.
    pub(crate) host: PathBuf,
    /// What a system signed to start the work.
    pub(crate) initiation: Option<Initiation>,
    /// Where to speak HTTP instead of stdio.
    pub(crate) listen: Option<SocketAddr>,
}

impl Options {
    /// What was typed. Without the agent's key, the Workload API says which agent it is, or the device
    /// vouches that a person enrolled.
    pub(crate) fn typed(mcp: Mcp) -> anyhow::Result<Self> {
        let Mcp { server, agent, listen, .. } = mcp;
        let platform = Platform::of(mcp.workload_token, mcp.spiffe_socket.as_deref())?;
        let url = mcp.url.unwrap_or_else(dev::url);
        let device = || dev::device_file(&url, &agent).ok().filter(|file| file.exists());
        let (key, is_device) = match (mcp.key, &platform) {
            (Some(key), _) => (Some(key), false),
            (None, Some(Platform::WorkloadApi(_))) => (None, false),
            (None, _) => match device() {
                Some(file) => (Some(file), true),
                None => (Some(dev::key_file(&agent)?), false),
            },
        };
        let host = mcp.host_socket.unwrap_or_else(dev::host_socket);
        let initiation = mcp.initiation.as_deref().map(Initiation::read).transpose()?;
        Ok(Self { server, agent, key, is_device, platform, url, host, initiation, listen })
    }
}

/// By whose word this is a workload of the agent's.
#[derive(Clone, Debug)]
pub(crate) enum Platform {
    /// By the token in a file, as it is at each renewal.
    File(PathBuf),
    /// By the word of the Workload API, which is asked at each renewal.
    WorkloadApi(Endpoint),
}

impl Platform {
    /// The one that was typed: the file, else the socket.
    pub(crate) fn of(file: Option<PathBuf>, socket: Option<&str>) -> anyhow::Result<Option<Self>> {
        if let Some(file) = file {
            return Ok(Some(Self::File(std::path::absolute(file)?)));
        }
        let Some(socket) = socket else { return Ok(None) };
        let endpoint = if socket.contains("://") {
            Endpoint::parse(socket)
        } else {
            Endpoint::parse(&format!("unix://{}", std::path::absolute(socket)?.display()))
        };
        let endpoint = endpoint.with_context(|| format!("`{socket}` cannot be asked"))?;
        Ok(Some(Self::WorkloadApi(endpoint)))
    }

    /// What kind of token it has, and the one that it has now, for `audience`.
    async fn token(&self, audience: &str) -> anyhow::Result<(&'static str, String)> {
        match self {
            Self::File(file) => {
                let text = tokio::fs::read_to_string(file).await;
                let text = text.with_context(|| format!("could not read `{}`", file.display()))?;
                Ok(("oidc", text.trim().to_owned()))
            }
            Self::WorkloadApi(endpoint) => {
                let svid = workload::fetch_jwt_svid(endpoint, audience).await;
                let svid = svid.with_context(|| format!("no JWT-SVID from `{endpoint}`"))?;
                Ok(("jwt-svid", svid))
            }
        }
    }

    /// How it is typed.
    fn typed(&self) -> [String; 2] {
        match self {
            Self::File(file) => ["--workload-token".to_owned(), file.display().to_string()],
            Self::WorkloadApi(endpoint) => ["--spiffe-socket".to_owned(), endpoint.to_string()],
        }
    }
}

/// What a system signed to start the work, as it was read once.
#[derive(Clone, Debug)]
pub(crate) struct Initiation {
    file: PathBuf,
    text: String,
}

impl Initiation {
    /// Reads the one in `file`.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file);
        let text = text.with_context(|| format!("could not read `{}`", file.display()))?;
        Ok(Self { file: std::path::absolute(file)?, text: text.trim().to_owned() })
    }

    /// By what another process knows that it has read the same.
    fn digest(&self) -> String {
        Sha256Digest::of(self.text.as_bytes()).to_string()
    }
}

/// The agent's key in `file`, where there is one.
fn pem(file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let Some(file) = file else { return Ok(None) };
    Ok(Some(String::from_utf8(keys::read_private(file)?).unwrap_or_default()))
}

/// Runs until the client goes away.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let pem = pem(options.key.as_deref()).context("could not read the agent's key")?;
    let held = held::Held::meet(&options, pem.as_deref()).await?;
    let credentials = Credentials::Held(Box::new(held));
    let gateway = Gateway::new(&options.url, &options.server, credentials)?;
    // What cannot work is said at once, and not to whoever waits for an answer.
    gateway.show("POST").await?;
    match options.listen {
        Some(address) => listen::run(gateway, address, &options).await,
        None => stdio::run(gateway).await,
    }
}
