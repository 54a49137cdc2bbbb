//! What can be typed, or is, on a client's side.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// Speaks MCP for a client.
#[derive(Debug, Args)]
pub(crate) struct Mcp {
    /// The upstream server to reach.
    pub(crate) server: String,
    /// The agent of which this run is an instance.
    #[arg(long, env = "CHANCERY_AGENT")]
    pub(crate) agent: String,
    /// The file of the agent's key; default: none with a `--spiffe-socket`, where the workload's JWT-SVID
    /// says which agent it is, else the key of this device if it was enrolled (`chancery login`), else
    /// `AGENT.pem` with the deployment that `dev` runs.
    #[arg(long, env = "CHANCERY_AGENT_KEY")]
    pub(crate) key: Option<PathBuf>,
    /// The base URL of the gateway; default: that of the deployment that `dev` runs, else
    /// `http://127.0.0.1:8420`.
    #[arg(long, env = "CHANCERY_URL", value_parser = super::signed::base_url)]
    pub(crate) url: Option<String>,
    /// The socket at which the service on this host vouches for processes; default: that of the
    /// deployment that `dev` runs, else `/run/chancery/host.sock`.
    #[arg(long, env = "CHANCERY_HOST_SOCKET")]
    pub(crate) host_socket: Option<PathBuf>,
    /// The file of what a system signed to start this work (`chancery system initiate`); without it,
    /// the work rests on the sponsor's standing mandate.
    #[arg(long, env = "CHANCERY_INITIATION")]
    pub(crate) initiation: Option<PathBuf>,
    /// The file of the token that the platform (Kubernetes, a CI service, a cloud) issued to this
    /// workload; read again at each renewal.
    #[arg(long, env = "CHANCERY_WORKLOAD_TOKEN")]
    pub(crate) workload_token: Option<PathBuf>,
    /// The socket of the SPIFFE Workload API, which is asked for a JWT-SVID at each renewal: a path, or
    /// `unix:///PATH`. Not used with `--workload-token`.
    #[arg(long, env = "SPIFFE_ENDPOINT_SOCKET", value_name = "PATH")]
    pub(crate) spiffe_socket: Option<String>,
    /// Speak streamable HTTP on this loopback address instead of stdio.
    #[arg(long)]
    pub(crate) listen: Option<SocketAddr>,
}

/// Holds the key of an instance.
#[derive(Debug, Args)]
pub(crate) struct Holder {
    /// The process id of the client.
    #[arg(long)]
    pub(crate) client: u32,
    /// When the client started, in clock ticks since the boot.
    #[arg(long)]
    pub(crate) since: u64,
    /// Where shims find this.
    #[arg(long)]
    pub(crate) meet: PathBuf,
    /// The agent.
    #[arg(long)]
    pub(crate) agent: String,
    /// The file of the agent's key, or of the device's.
    #[arg(long)]
    pub(crate) key: Option<PathBuf>,
    /// Whether that is the device's.
    #[arg(long, requires = "key")]
    pub(crate) device: bool,
    /// The file of the token that the platform issued to this workload.
    #[arg(long)]
    pub(crate) workload_token: Option<PathBuf>,
    /// The socket of the SPIFFE Workload API.
    #[arg(long)]
    pub(crate) spiffe_socket: Option<String>,
    /// The base URL of the gateway.
    #[arg(long)]
    pub(crate) url: String,
    /// The file of what a system signed to start the work.
    #[arg(long)]
    pub(crate) initiation: Option<PathBuf>,
    /// Its digest.
    #[arg(long, requires = "initiation")]
    pub(crate) initiation_digest: Option<String>,
    /// The socket at which the service on this host vouches for processes.
    #[arg(long)]
    pub(crate) host_socket: PathBuf,
}
