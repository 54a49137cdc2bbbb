//! What the provider says of itself (RFC 7644 §4).

use scim::{ListResponse, PAGE_MAX};
use serde_json::{Value, json};

use crate::ENTERPRISE;

const BASE: &str = "https://scim.example/v2";

fn attribute<'s>(schema: &'s Value, name: &str) -> &'s Value {
    let attributes = schema["attributes"].as_array().expect("attributes");
    attributes.iter().find(|attribute| attribute["name"] == name).expect(name)
}

#[test]
fn the_provider_says_what_it_can() {
    let config = scim::service_provider_config(BASE);
    for (what, supported) in [
        ("patch", true),
        ("bulk", false),
        ("filter", true),
        ("changePassword", false),
        ("sort", false),
        ("etag", true),
    ] {
        assert_eq!(config[what]["supported"], supported, "{what}");
    }
    assert_eq!(config["filter"]["maxResults"], PAGE_MAX);
    assert_eq!(config["authenticationSchemes"][0]["type"], "oauthbearertoken");
    assert_eq!(config["meta"]["location"], "https://scim.example/v2/ServiceProviderConfig");
}

#[test]
fn resource_types_are_told_by_their_name() {
    let types = scim::resource_types(BASE);
    for of in &types {
        let id = of["id"].as_str().expect("an id");
        assert_eq!(scim::resource_type(BASE, id).as_ref(), Some(of));
        let urn = of["schema"].as_str().expect("a URN");
        assert!(scim::schema(BASE, urn).is_some(), "{urn}");
    }
    assert_eq!(scim::resource_type(BASE, "Agent"), None);
    let user = scim::resource_type(BASE, "User").expect("users");
    assert_eq!(user["endpoint"], "/Users");
    assert_eq!(user["schemaExtensions"], json!([{ "schema": ENTERPRISE, "required": false }]));
    assert_eq!(user["meta"]["location"], "https://scim.example/v2/ResourceTypes/User");
    assert_eq!(ListResponse::whole(types).into_json()["totalResults"], 2);
}

#[test]
fn schemas_are_told_by_their_urn() {
    let schemas = scim::schemas(BASE);
    assert_eq!(schemas.len(), 3);
    for schema in &schemas {
        let id = schema["id"].as_str().expect("an id");
        assert_eq!(scim::schema(BASE, &id.to_lowercase()).as_ref(), Some(schema));
        assert_eq!(schema["meta"]["location"], format!("{BASE}/Schemas/{id}"));
    }
    assert_eq!(scim::schema(BASE, "urn:example:2.0:Shoes"), None);

    let user = scim::schema(BASE, "urn:ietf:params:scim:schemas:core:2.0:User").expect("users");
    let name = json!({
        "name": "userName", "type": "string", "multiValued": false, "required": true,
        "description": "The name that the person logs in by.", "caseExact": false,
        "mutability": "readWrite", "returned": "default", "uniqueness": "server",
    });
    assert_eq!(attribute(&user, "userName"), &name);
    let password = attribute(&user, "password");
    assert_eq!(
        (&password["mutability"], &password["returned"]),
        (&json!("writeOnly"), &json!("never"))
    );
    assert_eq!(attribute(&user, "groups")["mutability"], "readOnly");
    let emails = attribute(&user, "emails");
    assert_eq!((&emails["type"], &emails["multiValued"]), (&json!("complex"), &json!(true)));
    assert_eq!(emails["subAttributes"][2]["canonicalValues"], json!(["work", "home", "other"]));
    // What every resource has stands in no schema.
    let all = user["attributes"].as_array().expect("attributes");
    assert!(!all.iter().any(|attribute| attribute["name"] == "id"));
}
