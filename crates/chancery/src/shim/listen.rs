//! MCP over streamable HTTP on loopback, for clients that speak nothing else.
//!
//! Anybody on the machine can open a connection there, another user or a tool server too. So the path has
//! a secret that is this user's alone, the same at each start: a client keeps its URL.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path as InUrl, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use model::{Entropy, Sha256Digest};

use super::Gateway;
use super::answer::Message;
use crate::dev;
use crate::system::SystemEntropy;

/// The largest message of a client, in bytes.
const BODY_MAX: usize = 4 << 20;

/// The bytes of a secret.
const SECRET: usize = 16;

/// The headers of a client that go on to the gateway: MCP's own and nothing else.
const PASSED_ON: [&str; 5] =
    ["mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name", "last-event-id"];

/// Serves until it is told to stop.
pub(super) async fn run(gateway: Gateway, address: SocketAddr) -> anyhow::Result<()> {
    ensure!(
        address.ip().is_loopback(),
        "`--listen {address}` is off loopback: whoever reached it would act as this agent"
    );
    let secret = secret(&dev::listen_secret_file()?, &SystemEntropy::new())?;
    let listener = tokio::net::TcpListener::bind(address).await;
    let listener = listener.with_context(|| {
        format!("could not listen on `{address}`: is another process using the port?")
    })?;
    let address = listener.local_addr()?;
    let state = Local { gateway: Arc::new(gateway), address, secret: of(&secret) };
    let router = Router::new()
        .route("/mcp/{secret}", post(pass).delete(pass))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(state);
    eprintln!("chancery: speaking MCP on http://{address}/mcp/{secret}");
    axum::serve(listener, router).await.context("could not serve")
}

#[derive(Clone)]
struct Local {
    gateway: Arc<Gateway>,
    address: SocketAddr,
    secret: Sha256Digest,
}

/// What is compared of a secret: how long that takes tells nothing of how much of one is right.
fn of(secret: &str) -> Sha256Digest {
    Sha256Digest::of(secret.as_bytes())
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
    let secret = String::from_utf8(keys::read_private(path)?).unwrap_or_default();
    let is_one = secret.len() == 2 * SECRET && secret.bytes().all(|it| it.is_ascii_hexdigit());
    ensure!(is_one, "`{}` is no secret of a URL: remove it", path.display());
    Ok(secret)
}

async fn pass(
    State(local): State<Local>,
    InUrl(secret): InUrl<String>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !is_ours(&headers, local.address) {
        return (StatusCode::FORBIDDEN, "the Host or Origin is not ours\n").into_response();
    }
    if of(&secret) != local.secret {
        return (StatusCode::NOT_FOUND, "this is not the URL that was printed\n").into_response();
    }
    // What a page may send without asking is never JSON.
    if method == Method::POST && !is_json(&headers) {
        let why = "the content type must be application/json\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, why).into_response();
    }
    let mcp = headers.iter().filter(|(name, _)| {
        PASSED_ON.contains(&name.as_str()) || name.as_str().starts_with("mcp-param-")
    });
    let mcp: HeaderMap = mcp.map(|(name, value)| (name.clone(), value.clone())).collect();
    match local.gateway.send(method, &mcp, body.clone()).await {
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
            let answer = Message::read(&body).unanswered(&error);
            tracing::error!("{:#}", anyhow::Error::from(error));
            let unreached = "the authorization service cannot be reached\n";
            let Some(answer) = answer else {
                return (StatusCode::BAD_GATEWAY, unreached).into_response();
            };
            ([(header::CONTENT_TYPE, "application/json")], answer).into_response()
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
