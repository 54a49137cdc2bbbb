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
    #[arg(long, env = "CHANCERY_URL", value_parser = base_url)]
    pub(crate) url: Option<String>,
}

/// The base URL of a gateway.
pub(super) fn base_url(text: &str) -> Result<String, String> {
    let uri = text.parse::<http::Uri>().ok();
    match uri.as_ref().and_then(http::Uri::scheme_str) {
        Some("http" | "https") => Ok(text.to_owned()),
        _ => Err(format!("`{text}` is not a URL such as `http://127.0.0.1:8420`")),
    }
}
