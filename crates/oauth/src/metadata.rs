//! How clients find us: RFC 8414 for the token service, RFC 9728 for each resource.

use serde_json::{Value, json};

use crate::{authorization_code, consent, exchange, initiation, token_endpoint};

/// The metadata of the authorization server `issuer` (RFC 8414). Clients may authenticate by a
/// JWT-SVID where that `takes_svids`.
///
/// People come to the authorization endpoint below `people_url`, with clients that are known by a
/// document of theirs. Without it no grant uses that endpoint, which may then be left out (§2); it
/// stands here, and refuses, because the official MCP SDKs take no metadata without it. Its one response type
/// is then `none`, by which neither a code nor a token comes (OAuth 2.0 Multiple Response Type Encoding Practices,
/// §4): there must be a list of them (§2), and no list is empty (§3.2). `scopes_supported`
/// is left out: there are none but a receiver's, and some of these SDKs ask for whatever stands there.
pub fn authorization_server(issuer: &str, takes_svids: bool, people_url: Option<&str>) -> Value {
    let methods = ["private_key_jwt", "spiffe_jwt"];
    let methods = if takes_svids { &methods[..] } else { &methods[..1] };
    let grants = [
        "client_credentials",
        initiation::GRANT_TYPE,
        exchange::GRANT_TYPE,
        consent::GRANT_TYPE,
        token_endpoint::RESUME,
    ];
    let mut metadata = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{}/oauth/authorize", people_url.unwrap_or(issuer)),
        "token_endpoint": format!("{issuer}/oauth/token"),
        "pushed_authorization_request_endpoint": format!("{issuer}/oauth/par"),
        "revocation_endpoint": format!("{issuer}/oauth/revoke"),
        "introspection_endpoint": format!("{issuer}/oauth/introspect"),
        "jwks_uri": format!("{issuer}/oauth/jwks"),
        "grant_types_supported": grants,
        "response_types_supported": ["none"],
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA"],
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA"],
        "introspection_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA"],
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
        "authorization_details_types_supported": ["agent_task"],
    });
    if people_url.is_some() {
        of_clients(&mut metadata);
    }
    metadata
}

/// What is offered to clients that are known by a document of theirs, and have no key.
fn of_clients(metadata: &mut Value) {
    let add = |list: &mut Value, more: &[&str]| {
        let list = list.as_array_mut().expect("it is a list");
        list.extend(more.iter().map(|&it| it.into()));
    };
    let grants = [authorization_code::GRANT_TYPE, authorization_code::REFRESH];
    add(&mut metadata["grant_types_supported"], &grants);
    add(&mut metadata["token_endpoint_auth_methods_supported"], &["none"]);
    add(&mut metadata["revocation_endpoint_auth_methods_supported"], &["none"]);
    metadata["response_types_supported"] = json!(["code"]);
    metadata["response_modes_supported"] = json!(["query"]);
    // RFC 7636; RFC 9207; draft-ietf-oauth-client-id-metadata-document §5.
    metadata["code_challenge_methods_supported"] = json!(["S256"]);
    metadata["authorization_response_iss_parameter_supported"] = true.into();
    metadata["client_id_metadata_document_supported"] = true.into();
}

/// The metadata of the resource `resource`, whose tokens `issuer` issues (RFC 9728). A token is bound
/// to a key, unless clients that have none may get one: `has_clients`.
pub fn protected_resource(resource: &str, issuer: &str, has_clients: bool) -> Value {
    json!({
        "resource": resource,
        "authorization_servers": [issuer],
        "bearer_methods_supported": ["header"],
        "dpop_bound_access_tokens_required": !has_clients,
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
    })
}
