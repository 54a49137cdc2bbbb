//! What the provider says of itself (RFC 7644 §4).

use scim::{AGENT, GOVERNANCE, GROUP, ListResponse, PAGE_MAX, ResourceType, TYPES, USER};
use serde_json::{Value, json};

use crate::ENTERPRISE;

const AGENT_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Agent";

const BASE: &str = "https://scim.example/v2";

/// What a provider has that does not want agents.
const PEOPLE: [&ResourceType; 2] = [&USER, &GROUP];

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
    let types = scim::resource_types(BASE, &PEOPLE);
    for of in &types {
        let id = of["id"].as_str().expect("an id");
        assert_eq!(scim::resource_type(BASE, &PEOPLE, id).as_ref(), Some(of));
        let urn = of["schema"].as_str().expect("a URN");
        assert!(scim::schema(BASE, &PEOPLE, urn).is_some(), "{urn}");
    }
    assert_eq!(scim::resource_type(BASE, &PEOPLE, "Agent"), None);
    let user = scim::resource_type(BASE, &PEOPLE, "User").expect("users");
    assert_eq!(user["endpoint"], "/Users");
    assert_eq!(user["schemaExtensions"], json!([{ "schema": ENTERPRISE, "required": false }]));
    assert_eq!(user["meta"]["location"], "https://scim.example/v2/ResourceTypes/User");
    assert_eq!(ListResponse::whole(types).into_json()["totalResults"], 2);
}

#[test]
fn schemas_are_told_by_their_urn() {
    let schemas = scim::schemas(BASE, &PEOPLE);
    assert_eq!(schemas.len(), 3);
    for schema in &schemas {
        let id = schema["id"].as_str().expect("an id");
        assert_eq!(scim::schema(BASE, &PEOPLE, &id.to_lowercase()).as_ref(), Some(schema));
        assert_eq!(schema["meta"]["location"], format!("{BASE}/Schemas/{id}"));
    }
    assert_eq!(scim::schema(BASE, &PEOPLE, "urn:example:2.0:Shoes"), None);

    let user =
        scim::schema(BASE, &PEOPLE, "urn:ietf:params:scim:schemas:core:2.0:User").expect("users");
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

/// Agents are a draft's: a provider has them if it wants them.
#[test]
fn agents_are_told_where_they_are_wanted() {
    let agent = scim::resource_type(BASE, &TYPES, "Agent").expect("agents");
    assert_eq!(agent["schemaExtensions"], json!([{ "schema": GOVERNANCE, "required": true }]));
    assert_eq!(scim::schemas(BASE, &TYPES).len(), 5);
    assert_eq!(scim::schema(BASE, &PEOPLE, GOVERNANCE), None);
    let governance = scim::schema(BASE, &TYPES, GOVERNANCE).expect("it is known");
    let check = |name: &str, required: bool, mutability: &str| {
        let told = attribute(&governance, name);
        let expected = (&json!(required), &json!(mutability));
        assert_eq!((&told["required"], &told["mutability"]), expected, "{name}");
    };
    for name in ["sponsor", "businessOwner", "technicalOwner", "purposes"] {
        check(name, true, "immutable");
    }
    check("tools", false, "readOnly");
    check("leaseUntil", false, "readOnly");
    let read = AGENT.read(json!({ "schemas": [AGENT_SCHEMA], "agentUserName": "desk" }));
    assert_eq!(read.expect_err("nobody answers for it").detail, "attribute `sponsor` is required");
}
