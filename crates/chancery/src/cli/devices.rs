//! What can be typed of devices.

use clap::{Args, Subcommand};

use super::Socket;

/// Enrols this device.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The agent for whose instances this device is to vouch.
    #[arg(long, env = "CHANCERY_AGENT")]
    pub(crate) agent: String,
    /// The base URL of the gateway; default: that of the deployment that `dev` runs, else
    /// `http://127.0.0.1:8420`.
    #[arg(long, env = "CHANCERY_URL", value_parser = super::signed::base_url)]
    pub(crate) url: Option<String>,
    /// What the page calls this device; default: the name of the host.
    #[arg(long)]
    pub(crate) name: Option<String>,
}

/// Devices.
#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// Revoke a device for good: all instances that it vouched for stop at the next commit.
    Revoke {
        /// The agent.
        agent: String,
        /// The device's id, as it is listed.
        id: String,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// List devices.
    List {
        #[command(flatten)]
        socket: Socket,
    },
}
