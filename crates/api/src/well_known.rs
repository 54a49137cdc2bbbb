//! Where what an issuer publishes is found whose URL has a path: before that (RFC 8414 §3.1, RFC 9728 §3.1, SSF 1.0
//! §7.2.1).
//!
//! Whatever is in front of the service takes the path off of what lies behind it, and this does not: it comes as it is
//! asked for.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Uri;

/// Before which places are well known (RFC 8615).
const WELL_KNOWN: &str = "/.well-known/";

/// `routes`, which find what is well known of an issuer with this `path` before it, too; as they are, if it has none.
/// What is there as it is asked for is that, whatever the path: `/mcp` is the beginning of other places, too.
pub(crate) fn found_before(path: &Arc<str>, routes: Router) -> Router {
    if path.is_empty() {
        return routes;
    }
    // What changes where a request goes has to come before the routes.
    let led: Router = Router::new().fallback_service(routes.clone());
    let led = led.layer(axum::middleware::from_fn_with_state(path.clone(), lead));
    routes.fallback_service(led)
}

async fn lead(State(path): State<Arc<str>>, mut request: Request, next: Next) -> Response {
    if let Some(uri) = without(request.uri(), &path) {
        *request.uri_mut() = uri;
    }
    next.run(request).await
}

/// The same place, without the issuer's `path` behind what is well known.
fn without(uri: &Uri, path: &str) -> Option<Uri> {
    let asked = uri.path().strip_prefix(WELL_KNOWN)?;
    let (name, behind) = asked.split_at(asked.find('/')?);
    let rest = behind.strip_prefix(path).filter(|it| it.is_empty() || it.starts_with('/'))?;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("{WELL_KNOWN}{name}{rest}{query}").parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_issuers_path_is_taken_off_and_only_there() {
        let check = |path: &str, asked: &str, expected: Option<&str>| {
            let led = without(&asked.parse().expect("a place"), path);
            assert_eq!(led.map(|uri| uri.to_string()).as_deref(), expected, "{asked} of {path}");
        };
        let metadata = "/.well-known/oauth-authorization-server";
        check("/eu", "/.well-known/oauth-authorization-server/eu", Some(metadata));
        check("/a/eu", "/.well-known/oauth-authorization-server/a/eu", Some(metadata));
        check("/eu", "/.well-known/a/eu/mcp/crm?b=c", Some("/.well-known/a/mcp/crm?b=c"));
        check("/eu", "http://a.example/.well-known/a/eu", Some("http://a.example/.well-known/a"));
        check("/eu", "/.well-known/a/eu/eu", Some("/.well-known/a/eu"));
        for asked in ["/.well-known/a", "/.well-known/a/eux", "/.well-known/a/e", "/a/eu", "/eu"] {
            check("/eu", asked, None);
        }
    }
}
