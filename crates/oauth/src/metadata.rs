//! How clients find us: RFC 8414 for the token service, RFC 9728 for each resource.

use serde_json::{Value, json};

use crate::{consent, exchange, initiation, token_endpoint};

/// The metadata of the authorization server `issuer` (RFC 8414). No grant here uses the
/// authorization endpoint, which may then be left out (§2); it stands here, and refuses, because
/// the official MCP SDKs take no metadata without it. Clients may authenticate by a JWT-SVID where
/// that `takes_svids`.
pub fn authorization_server(issuer: &str, takes_svids: bool) -> Value {
    let methods = ["private_key_jwt", "spiffe_jwt"];
    let methods = if takes_svids { &methods[..] } else { &methods[..1] };
    let grants = [
        "client_credentials",
        initiation::GRANT_TYPE,
        exchange::GRANT_TYPE,
        consent::GRANT_TYPE,
        token_endpoint::RESUME,
    ];
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/oauth/authorize"),
        "token_endpoint": format!("{issuer}/oauth/token"),
        "pushed_authorization_request_endpoint": format!("{issuer}/oauth/par"),
        "revocation_endpoint": format!("{issuer}/oauth/revoke"),
        "introspection_endpoint": format!("{issuer}/oauth/introspect"),
        "jwks_uri": format!("{issuer}/oauth/jwks"),
        "grant_types_supported": grants,
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA"],
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA"],
        "introspection_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA"],
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
        "authorization_details_types_supported": ["agent_task"],
    })
}

/// The metadata of the resource `resource`, whose tokens `issuer` issues (RFC 9728).
pub fn protected_resource(resource: &str, issuer: &str) -> Value {
    json!({
        "resource": resource,
        "authorization_servers": [issuer],
        "bearer_methods_supported": ["header"],
        "dpop_bound_access_tokens_required": true,
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
    })
}
