//! Three small MCP servers with real tools: `payments`, `crm` and `tickets`.
//!
//! Each is a process of its own, on `rmcp`'s streamable HTTP server. It lets nobody in who does not
//! show the gateway's assertion for exactly this server and, for a call, for exactly these
//! arguments; and it writes down what reached it before it acts.

mod admission;
mod books;
pub(crate) mod desk;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use self::admission::Admission;
use self::desk::Desk;

/// What a run of a tool server needs to know.
#[derive(Clone, Debug)]
pub struct ToolServerOptions {
    /// Which of the three it is.
    pub name: String,
    /// Where it listens; port 0 is any free one.
    pub listen: SocketAddr,
    /// Whose assertions it trusts: the base URL of the gateway.
    pub issuer: String,
    /// Its own name in assertions; the URL at which it listens, unless something stands before it.
    pub audience: Option<String>,
    /// Where it writes down what reached it.
    pub dir: PathBuf,
}

/// Serves the tools of one server until standard input ends.
pub async fn serve_tools(options: ToolServerOptions) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.listen).await;
    let listener = listener.with_context(|| format!("could not listen on `{}`", options.listen))?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    let audience = options.audience.clone().unwrap_or_else(|| url.clone());
    let desk = Desk::open(&options.name, &options.dir)?;
    let admission = Arc::new(Admission::new(options.issuer, audience));
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true);
    let sessions = Arc::new(NeverSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(desk.clone()), sessions, config);
    let check = axum::middleware::from_fn_with_state(admission, admission::check);
    let router = Router::new().route_service("/mcp", service).layer(check);
    println!("listening {url}");
    tokio::select! {
        served = async { axum::serve(listener, router).await } => served.context("could not serve"),
        () = input_ends() => Ok(()),
    }
}

/// Returns when whoever started this process is gone.
async fn input_ends() {
    let mut input = tokio::io::stdin();
    let mut bytes = [0; 64];
    while input.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
}
