//! Which `Host` and `Origin` a request may carry: what keeps other people's web pages out.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};

/// The names under which a listener may be addressed, and the path behind which others reach it.
#[derive(Clone)]
pub struct Hosts {
    allowed: Arc<[String]>,
    /// The path of the URL by which others reach the listener; empty, if it has none.
    path: Arc<str>,
    /// Told of each request that is refused.
    tell: Option<Tell>,
}

/// Told why a request is refused.
type Tell = Arc<dyn Fn(&'static str) + Send + Sync>;

impl Hosts {
    /// The listener at `address`, which others reach by `public_url`.
    pub fn new(public_url: &str, address: SocketAddr) -> Self {
        let url = public_url.parse::<http::Uri>().ok();
        let path = url.as_ref().map(|url| url.path().trim_end_matches('/')).unwrap_or_default();
        let authority = url.as_ref().and_then(http::Uri::authority);
        let public = authority.map(|name| name.as_str().to_ascii_lowercase());
        let port = address.port();
        let local = [format!("localhost:{port}"), address.to_string()];
        let allowed = public.into_iter().chain(local).collect();
        Self { allowed, path: path.into(), tell: None }
    }

    /// The path of the URL by which others reach the listener; empty, if it has none.
    pub(crate) const fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// The same names; `tell` is told of each request that is refused.
    #[must_use]
    pub(crate) fn telling(self, tell: Tell) -> Self {
        Self { tell: Some(tell), ..self }
    }

    fn allows(&self, headers: &HeaderMap, uri: &http::Uri) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok(),
            (None, _) => uri.authority().map(http::uri::Authority::as_str),
            (Some(_), Some(_)) => None,
        };
        let known = |name: &str| self.allowed.contains(&name.to_ascii_lowercase());
        let own_origin = |origin: &http::HeaderValue| {
            let text = origin.to_str().unwrap_or_default();
            let name = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
            name.is_some_and(known)
        };
        host.is_some_and(known) && headers.get_all(header::ORIGIN).iter().all(own_origin)
    }
}

/// Refuses a request that is addressed to somebody else, or comes from somebody else's page.
pub(crate) async fn check(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    if hosts.allows(request.headers(), request.uri()) {
        return next.run(request).await;
    }
    hosts.tell.iter().for_each(|tell| tell("host_or_origin"));
    (StatusCode::FORBIDDEN, "the Host or Origin of the request is not ours\n").into_response()
}
