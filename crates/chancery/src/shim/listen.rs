//! MCP over streamable HTTP on loopback, for clients that speak nothing else.
//!
//! Anybody on the machine can open a connection there, another user or a tool server too. So the path is made of
//! a secret that is this user's alone, the same at each start: a client keeps its URL. Whoever has one URL has no
//! other: neither that of another agent, server or gateway, nor the secret.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path as InUrl, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use model::{Entropy, Sha256Digest};
use tokio_util::sync::CancellationToken;

use super::answer::Message;
use super::{Gateway, Options};
use crate::dev;
use crate::listener::{self, ConnectionLimits, Guest, Serving};
use crate::system::SystemEntropy;

/// The largest message of a client, in bytes.
const BODY_MAX: usize = 4 << 20;

/// The most connections at once.
const CONNECTIONS_MAX: usize = 64;

/// How long a request's head, its body, and a write that the client does not take may last.
const WITHIN: Duration = Duration::from_secs(30);

/// The bytes of a secret, and of what a URL has of one.
const SECRET: usize = 16;

/// The headers of a client that go on to the gateway: MCP's own and nothing else.
const PASSED_ON: [&str; 5] =
    ["mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name", "last-event-id"];

/// Serves until the process ends.
pub(super) async fn run(
    gateway: Gateway,
    address: SocketAddr,
    options: &Options,
) -> anyhow::Result<()> {
    ensure!(
        address.ip().is_loopback(),
        "`--listen {address}` is off loopback: whoever reached it would act as this agent"
    );
    let secret = secret(&dev::listen_secret_file()?, &SystemEntropy::new())?;
    let path = path_of(&secret, [&options.url, &options.server, &options.agent]);
    let listener = tokio::net::TcpListener::bind(address).await;
    let listener = listener.with_context(|| {
        format!("could not listen on `{address}`: is another process using the port?")
    })?;
    let address = listener.local_addr()?;
    let local = Local { gateway: Arc::new(gateway), door: Door { address, path: of(&path) } };
    let router = Router::new().route("/mcp/{path}", post(pass).delete(pass)).with_state(local);
    eprintln!("chancery: speaking MCP on http://{address}/mcp/{path}");
    let limits = ConnectionLimits {
        connections: CONNECTIONS_MAX,
        of_address: None,
        within: WITHIN,
        // Whoever has no URL keeps nobody out who has it.
        strangers_give_way: true,
    };
    let tell = Arc::new(|why: &'static str| tracing::warn!(why, "a connection was refused"));
    let serving = Serving { listener, acceptor: None, router, limits, tell };
    listener::serve(serving, CancellationToken::new()).await;
    Ok(())
}

#[derive(Clone)]
struct Local {
    gateway: Arc<Gateway>,
    door: Door,
}

/// Lets in who has the URL.
#[derive(Clone, Copy)]
struct Door {
    address: SocketAddr,
    path: Sha256Digest,
}

/// Why a request is not let in.
type Refused = (StatusCode, &'static str);

/// What is compared of a path: how long that takes tells nothing of how much of one is right.
fn of(path: &str) -> Sha256Digest {
    Sha256Digest::of(path.as_bytes())
}

/// What a URL has of `secret`: of its own for each gateway, server and agent, none of which has a zero byte.
fn path_of(secret: &str, [url, server, agent]: [&str; 3]) -> String {
    let text = [secret, url.trim_end_matches('/'), server, agent].join("\0");
    let mut path = of(&text).to_string();
    path.truncate(2 * SECRET);
    path
}

/// The secret in the file at `path`, made anew if there is none.
fn secret(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<String> {
    if !path.exists() {
        let dir = path.parent().context("the file has a directory")?;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.with_context(|| format!("could not create `{}`", dir.display()))?;
        let mut bytes = [0; SECRET];
        entropy.fill(&mut bytes);
        let text = bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        // Whole from the first moment, and of two that start at once, both use the first one's.
        let beside = path.with_extension(format!("{}.new", std::process::id()));
        let _ = std::fs::remove_file(&beside);
        keys::write_private(&beside, text.as_bytes())?;
        let _ = std::fs::hard_link(&beside, path);
        std::fs::remove_file(&beside)?;
    }
    let secret = dev::read_own(path)?.context("the secret was removed meanwhile")?;
    let secret = String::from_utf8(secret).unwrap_or_default();
    let is_one = secret.len() == 2 * SECRET && secret.bytes().all(|it| it.is_ascii_hexdigit());
    ensure!(is_one, "`{}` is no secret of a URL: remove it", path.display());
    Ok(secret)
}

impl Door {
    /// The message of a request at `path`: nothing of it is read for whoever does not have the URL.
    async fn message(&self, path: &str, parts: &Parts, body: Body) -> Result<Bytes, Refused> {
        if !is_ours(&parts.headers, self.address) {
            return Err((StatusCode::FORBIDDEN, "the Host or Origin is not ours\n"));
        }
        if of(path) != self.path {
            return Err((StatusCode::NOT_FOUND, "this is not the URL that was printed\n"));
        }
        if let Some(guest) = parts.extensions.get::<Guest>() {
            guest.pass();
        }
        // What a page may send without asking is never JSON.
        if parts.method == Method::POST && !is_json(&parts.headers) {
            let why = "the content type must be application/json\n";
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        let read = tokio::time::timeout(WITHIN, axum::body::to_bytes(body, BODY_MAX)).await;
        let read =
            read.map_err(|_| (StatusCode::REQUEST_TIMEOUT, "the message did not arrive\n"))?;
        read.map_err(|_| (StatusCode::PAYLOAD_TOO_LARGE, "the message is too large\n"))
    }
}

async fn pass(
    State(Local { gateway, door }): State<Local>,
    InUrl(path): InUrl<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = match door.message(&path, &parts, body).await {
        Ok(body) => body,
        Err(refused) => return refused.into_response(),
    };
    let mcp = parts.headers.iter().filter(|(name, _)| {
        PASSED_ON.contains(&name.as_str()) || name.as_str().starts_with("mcp-param-")
    });
    let mcp: HeaderMap = mcp.map(|(name, value)| (name.clone(), value.clone())).collect();
    match gateway.send(parts.method, &mcp, body.clone()).await {
        Ok(response) => {
            let (mut parts, body) = response.into_parts();
            // Challenges are between us and the gateway: a client that saw one would log in.
            for name in [header::WWW_AUTHENTICATE, header::TRANSFER_ENCODING, header::CONNECTION] {
                parts.headers.remove(name);
            }
            parts.headers.remove("dpop-nonce");
            Response::from_parts(parts, Body::new(body.map_err(axum::Error::new)))
        }
        Err(error) => {
            let (status, answer) = Message::read(&body).unanswered_over_http(&error);
            tracing::error!("{:#}", anyhow::Error::from(error));
            (status, [(header::CONTENT_TYPE, "application/json")], answer).into_response()
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Whether a request is addressed to us, once, and comes from no other page than our own.
fn is_ours(headers: &HeaderMap, address: SocketAddr) -> bool {
    let names = [address.to_string(), format!("localhost:{}", address.port())];
    let is_name = |text: &str| names.iter().any(|name| name.eq_ignore_ascii_case(text));
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    };
    let own_origin = |value: &http::HeaderValue| {
        value.to_str().ok().and_then(|text| text.strip_prefix("http://")).is_some_and(is_name)
    };
    host.is_some_and(is_name) && headers.get_all(header::ORIGIN).iter().all(own_origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &'static str)], expected: bool) {
        let value = http::HeaderValue::from_static;
        let mut all = HeaderMap::new();
        for (name, text) in headers {
            all.append(http::HeaderName::from_static(name), value(text));
        }
        let address = SocketAddr::from(([127, 0, 0, 1], 9000));
        assert_eq!(is_ours(&all, address), expected, "{headers:?}");
    }

    #[test]
    fn a_url_is_this_users_own_and_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("state/listen.secret");
        let entropy = SystemEntropy::new();
        let own = secret(&path, &entropy).expect("it can be made");
        assert_eq!(own.len(), 2 * SECRET);
        assert_eq!(secret(&path, &entropy).expect("it is there"), own);
        let files = std::fs::read_dir(dir.path().join("state")).expect("it is ours").count();
        assert_eq!(files, 1, "nothing is left beside it");
        let check = |text: &str, mode: u32| {
            std::fs::remove_file(&path).expect("it is ours");
            std::fs::write(&path, text).expect("it is ours");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&path, mode).expect("it is ours");
            secret(&path, &entropy).is_ok()
        };
        assert!(check(&own, 0o600));
        assert!(!check(&own, 0o640), "others could read it");
        assert!(!check("", 0o600), "an empty one is everybody's");
        let elsewhere = dir.path().join("elsewhere");
        assert!(check(&own, 0o600));
        std::fs::rename(&path, &elsewhere).expect("it is ours");
        std::os::unix::fs::symlink(&elsewhere, &path).expect("it is ours");
        assert!(secret(&path, &entropy).is_err(), "a link leads who knows where");
    }

    #[test]
    fn each_agent_server_and_gateway_has_a_url_of_its_own() {
        let all = ["http://127.0.0.1:8420", "crm", "bot"];
        let path = path_of("5ec2e7", all);
        assert_eq!(path, "0b44a7320e80782ab6203ef966097b90", "a client keeps its URL");
        assert_eq!(path, path_of("5ec2e7", ["http://127.0.0.1:8420/", "crm", "bot"]));
        for other in [
            path_of("5ec2e8", all),
            path_of("5ec2e7", ["http://127.0.0.1:8421", "crm", "bot"]),
            path_of("5ec2e7", ["http://127.0.0.1:8420", "mail", "bot"]),
            path_of("5ec2e7", ["http://127.0.0.1:8420", "crm", "billing"]),
        ] {
            assert_ne!(path, other);
        }
    }

    #[tokio::test]
    async fn nothing_is_read_for_whoever_does_not_have_the_url() {
        let door = Door { address: SocketAddr::from(([127, 0, 0, 1], 9000)), path: of("right") };
        let check = async |(host, path): (&str, &str), kind: &str, body: Body| {
            let request = Request::post("/").header("host", host).header("content-type", kind);
            let (parts, ()) = request.body(()).expect("it is a request").into_parts();
            let read = door.message(path, &parts, body).await;
            read.map(|body| body.len()).map_err(|(status, _)| status.as_u16())
        };
        // It never arrives: whoever waited for it would wait for good.
        let silent = || Body::from_stream(futures::stream::pending::<Result<Bytes, axum::Error>>());
        let (own, json) = ("127.0.0.1:9000", "application/json");
        assert_eq!(check(("evil.example", "right"), json, silent()).await, Err(403));
        assert_eq!(check((own, "wrong"), json, silent()).await, Err(404));
        assert_eq!(check((own, "right"), "text/plain", silent()).await, Err(415));
        let of_bytes = |count: usize| Body::from(vec![b' '; count]);
        assert_eq!(check((own, "right"), json, of_bytes(BODY_MAX)).await, Ok(BODY_MAX));
        assert_eq!(check((own, "right"), json, of_bytes(BODY_MAX + 1)).await, Err(413));
    }

    #[test]
    fn n_070_n_071_a_foreign_host_or_origin_is_refused() {
        check(&[("host", "127.0.0.1:9000")], true);
        check(&[("host", "LocalHost:9000")], true);
        check(&[("host", "127.0.0.1:9000"), ("origin", "http://localhost:9000")], true);
        check(&[], false);
        check(&[("host", "127.0.0.1")], false);
        check(&[("host", "evil.example:9000")], false);
        check(&[("host", "127.0.0.1:9000"), ("host", "evil.example")], false);
        check(&[("host", "127.0.0.1:9000"), ("origin", "http://evil.example")], false);
        check(&[("host", "127.0.0.1:9000"), ("origin", "null")], false);
        check(&[("host", "127.0.0.1:9000"), ("origin", "https://localhost:9000")], false);
        let twice = ("origin", "http://localhost:9000");
        check(&[("host", "127.0.0.1:9000"), twice, ("origin", "http://evil.example")], false);
    }
}
