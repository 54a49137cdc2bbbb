//! Metadata: the shape that RFC 8414 and RFC 9728 demand, and that it promises what is done.

use oauth::metadata::{authorization_server, protected_resource};
use serde_json::{Value, json};

const ISSUER: &str = "https://chancery.example";

/// RFC 8414 §3.2: no member without a value: none that is null or empty.
fn check_values(metadata: &Value) {
    for (name, value) in metadata.as_object().unwrap() {
        let empty = value.as_str() == Some("") || value.as_array().is_some_and(Vec::is_empty);
        assert!(!value.is_null() && !empty, "{name}");
    }
}

#[test]
fn the_authorization_server_of_rfc_8414() {
    let metadata = authorization_server(ISSUER, false, None);
    // §3.3: exactly the issuer that the client asked for.
    assert_eq!(metadata["issuer"], ISSUER);
    // §2: required, even where neither a code nor a token comes from the authorization endpoint.
    assert_eq!(metadata["response_types_supported"], json!(["none"]));
    check_values(&metadata);
    for name in ["token_endpoint", "jwks_uri"] {
        let url = metadata[name].as_str().unwrap();
        assert!(url.starts_with("https://chancery.example/") && !url.contains(['?', '#']), "{url}");
    }
    let offered = [
        "client_credentials",
        oauth::initiation::GRANT_TYPE,
        oauth::exchange::GRANT_TYPE,
        oauth::consent::GRANT_TYPE,
        oauth::token_endpoint::RESUME,
    ];
    assert_eq!(metadata["grant_types_supported"], json!(offered));
    assert_eq!(metadata["token_endpoint_auth_methods_supported"], json!(["private_key_jwt"]));
    // §2: there must be such a list with private_key_jwt, and `none` must not be in it.
    for name in
        ["token_endpoint_auth_signing_alg_values_supported", "dpop_signing_alg_values_supported"]
    {
        assert_eq!(metadata[name], json!(["ES256", "EdDSA"]), "{name}");
    }
    assert_eq!(metadata["authorization_details_types_supported"], json!(["agent_task"]));
    assert_eq!(metadata["scopes_supported"], json!(null), "an agent's SDK would ask for them");
    for absent in ["registration_endpoint", "signed_metadata"] {
        assert!(metadata.get(absent).is_none(), "{absent} is not offered");
    }
}

#[test]
fn ma_04_what_clients_with_a_document_need_is_promised_where_people_can_log_in() {
    let metadata = authorization_server(ISSUER, false, Some("https://people.example"));
    check_values(&metadata);
    for (name, expected) in [
        ("authorization_endpoint", json!("https://people.example/oauth/authorize")),
        ("token_endpoint", json!("https://chancery.example/oauth/token")),
        ("response_types_supported", json!(["code"])),
        ("response_modes_supported", json!(["query"])),
        ("code_challenge_methods_supported", json!(["S256"])),
        ("client_id_metadata_document_supported", json!(true)),
        ("authorization_response_iss_parameter_supported", json!(true)),
        ("token_endpoint_auth_methods_supported", json!(["private_key_jwt", "none"])),
        ("revocation_endpoint_auth_methods_supported", json!(["private_key_jwt", "none"])),
        ("introspection_endpoint_auth_methods_supported", json!(["private_key_jwt"])),
    ] {
        assert_eq!(metadata[name], expected, "{name}");
    }
    let grants = metadata["grant_types_supported"].as_array().unwrap();
    for grant in [oauth::authorization_code::GRANT_TYPE, oauth::authorization_code::REFRESH] {
        assert!(grants.contains(&json!(grant)), "{grant}");
    }
    let resource = protected_resource("https://chancery.example/mcp/payments", ISSUER, true);
    assert_eq!(resource["dpop_bound_access_tokens_required"], json!(false));
}

#[test]
fn the_protected_resource_of_rfc_9728() {
    let resource = "https://chancery.example/mcp/payments";
    let metadata = protected_resource(resource, ISSUER, false);
    // §3.3: exactly the resource that the client asked for.
    assert_eq!(metadata["resource"], resource);
    // MA-01: not empty.
    assert_eq!(metadata["authorization_servers"], json!([ISSUER]));
    // A token in a query or a body is never taken.
    assert_eq!(metadata["bearer_methods_supported"], json!(["header"]));
    assert_eq!(metadata["dpop_bound_access_tokens_required"], json!(true));
    assert_eq!(metadata["dpop_signing_alg_values_supported"], json!(["ES256", "EdDSA"]));
    check_values(&metadata);
}
