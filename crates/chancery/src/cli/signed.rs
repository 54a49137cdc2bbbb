//! Who asks, where all who come look alike.

use std::path::PathBuf;

use clap::Args;

/// Whose word a request is.
#[derive(Debug, Args)]
pub(crate) struct Signed {
    /// The founder who asks, if it is not the administrator of this machine.
    #[arg(long = "as", value_name = "FOUNDER", requires = "key")]
    pub(crate) founder: Option<String>,
    /// The file of the founder's key.
    #[arg(long, requires = "founder")]
    pub(crate) key: Option<PathBuf>,
    /// The base URL of the gateway, for which the founder signs; default: that of the deployment
    /// that `dev` runs, else `http://127.0.0.1:8420`.
    #[arg(long, env = "CHANCERY_URL")]
    pub(crate) url: Option<String>,
}
