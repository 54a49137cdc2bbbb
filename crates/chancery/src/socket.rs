//! Sockets of this machine: who is on the other end is what the kernel says.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

use axum::Router;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long to wait before a connection is accepted again when there was no descriptor for it.
pub(crate) const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Binds the socket at `path`, to which those may connect whom `mode` lets write. What a crash left
/// there is removed; a socket on which somebody answers is not.
pub(crate) async fn bind(path: &Path, mode: u32) -> anyhow::Result<UnixListener> {
    if path.exists() {
        if UnixStream::connect(path).await.is_ok() {
            bail!("another process serves `{}` already", path.display());
        }
        std::fs::remove_file(path)
            .with_context(|| format!("could not remove the stale socket `{}`", path.display()))?;
    }
    create(path, mode)
}

/// Creates the socket at `path`, where nothing is, to which those may connect whom `mode` lets write.
pub(crate) fn create(path: &Path, mode: u32) -> anyhow::Result<UnixListener> {
    let listener = UnixListener::bind(path)
        .with_context(|| format!("could not create the socket `{}`", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// The next connection. One that broke, or for which there is no descriptor, is waited out.
pub(crate) async fn accept(listener: &UnixListener) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
        }
    }
}

/// Whether the peer of `stream` is a process of this user.
pub(crate) fn is_own(stream: &UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own)
}

/// Serves `router` to peers that are the service's own user.
pub(crate) async fn serve(
    listener: UnixListener,
    router: Router,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    while let Some(stream) = stop.run_until_cancelled(accept(&listener)).await {
        if !is_own(&stream) {
            tracing::warn!("somebody else's process opened the administrator's socket");
            continue;
        }
        let served = serve_one(stream, router.clone());
        tasks.spawn(async move {
            if let Err(error) = served.await {
                tracing::debug!(%error, "a connection of the administrator's socket ended");
            }
        });
    }
}

/// Serves `router` on one connection until that ends.
pub(crate) async fn serve_one(stream: UnixStream, router: Router) -> anyhow::Result<()> {
    let service = hyper_util::service::TowerToHyperService::new(router);
    let connection = hyper::server::conn::http1::Builder::new();
    Ok(connection.serve_connection(TokioIo::new(stream), service).await?)
}

/// Sends `command` to the service at `socket` and gives its answer.
pub(crate) async fn call(socket: &Path, command: &pap::Command) -> anyhow::Result<Value> {
    let connected = UnixStream::connect(socket).await;
    let stream = connected.map_err(|error| {
        let what = if error.kind() == std::io::ErrorKind::PermissionDenied {
            "run this as the user of the service"
        } else {
            "is it running? name its socket with `--socket`"
        };
        let why = format!("could not reach the service at `{}`: {what}", socket.display());
        anyhow::Error::new(error).context(why)
    })?;
    let (status, bytes) = post(stream, "/api/v1/command", serde_json::to_vec(command)?).await?;
    let answer: Value =
        serde_json::from_slice(&bytes).context("the service's answer is not JSON")?;
    if status.is_success() {
        return Ok(answer);
    }
    let message = answer.get("error").and_then(Value::as_str).unwrap_or("it was refused");
    bail!("{message}")
}

/// Asks the host's service at `socket` for a voucher that this process holds the key with the
/// thumbprint `jkt`.
pub(crate) async fn voucher(socket: &Path, jkt: &str) -> anyhow::Result<String> {
    let stream = UnixStream::connect(socket).await?;
    let body = serde_json::to_vec(&serde_json::json!({ "jkt": jkt }))?;
    let (status, bytes) = post(stream, "/v1/voucher", body).await?;
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let voucher = answer["voucher"].as_str().map(str::to_owned);
    voucher.with_context(|| format!("the host's service gave no voucher: {status}"))
}

async fn post(
    stream: UnixStream,
    path: &str,
    body: Vec<u8>,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::post(format!("http://localhost{path}"))
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}
