//! What describes the provider: `/ServiceProviderConfig`, `/ResourceTypes`, `/Schemas` (RFC 7644 §4,
//! RFC 7643 §5 to §7).
//!
//! `types` are the resource types that the provider has. Lists go into [`ListResponse::whole`](crate::ListResponse::whole). `base` is the provider's base
//! URL, without a slash at its end.

use serde_json::{Value, json};

use crate::schema::{Attribute, Kind, Mutability, Returned, Schema, Uniqueness};
use crate::{AGENT, GROUP, PAGE_MAX, ResourceType, USER};

/// The resource types that there are. The last is a draft's, for a provider that wants it.
pub static TYPES: [&ResourceType; 3] = [&USER, &GROUP, &AGENT];

/// What the provider can do (RFC 7643 §5).
pub fn service_provider_config(base: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
        "filter": { "supported": true, "maxResults": PAGE_MAX },
        "changePassword": { "supported": false },
        "sort": { "supported": false },
        "etag": { "supported": true },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "OAuth bearer token",
            "description": "A bearer token that the operator gave out for this provider.",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
            "primary": true,
        }],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{base}/ServiceProviderConfig"),
        },
    })
}

/// All resource types (RFC 7643 §6).
pub fn resource_types(base: &str, types: &[&ResourceType]) -> Vec<Value> {
    types.iter().map(|of| type_json(of, base)).collect()
}

/// The resource type whose id is `id`: its name.
pub fn resource_type(base: &str, types: &[&ResourceType], id: &str) -> Option<Value> {
    let found = types.iter().find(|of| of.name == id);
    found.map(|of| type_json(of, base))
}

/// All schemas of resources and their extensions (RFC 7643 §7).
pub fn schemas(base: &str, types: &[&ResourceType]) -> Vec<Value> {
    known(types).map(|schema| schema_json(schema, base)).collect()
}

/// The schema whose id is the URN `id`, whatever its case.
pub fn schema(base: &str, types: &[&ResourceType], id: &str) -> Option<Value> {
    let found = known(types).find(|schema| schema.id.eq_ignore_ascii_case(id));
    found.map(|schema| schema_json(schema, base))
}

fn known(types: &[&ResourceType]) -> impl Iterator<Item = &'static Schema> {
    types.iter().flat_map(|of| of.schemas())
}

fn type_json(of: &ResourceType, base: &str) -> Value {
    let extension = |schema: &&Schema| {
        let required = schema.attributes.iter().any(|attribute| attribute.required);
        json!({ "schema": schema.id, "required": required })
    };
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": of.name,
        "name": of.name,
        "endpoint": of.endpoint,
        "description": of.schema.description,
        "schema": of.schema.id,
        "schemaExtensions": of.extensions.iter().map(extension).collect::<Vec<_>>(),
        "meta": {
            "resourceType": "ResourceType",
            "location": format!("{base}/ResourceTypes/{}", of.name),
        },
    })
}

fn schema_json(schema: &Schema, base: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": schema.id,
        "name": schema.name,
        "description": schema.description,
        "attributes": schema.attributes.iter().map(attribute_json).collect::<Vec<_>>(),
        "meta": {
            "resourceType": "Schema",
            "location": format!("{base}/Schemas/{}", schema.id),
        },
    })
}

fn attribute_json(attribute: &Attribute) -> Value {
    let mut json = json!({
        "name": attribute.name,
        "type": type_of(attribute.kind),
        "multiValued": attribute.is_multi_valued(),
        "description": attribute.description,
        "required": attribute.required,
        "caseExact": attribute.case_exact,
        "mutability": match attribute.mutability {
            Mutability::ReadOnly => "readOnly",
            Mutability::ReadWrite => "readWrite",
            Mutability::Immutable => "immutable",
            Mutability::WriteOnly => "writeOnly",
        },
        "returned": match attribute.returned {
            Returned::Always => "always",
            Returned::Default => "default",
            Returned::Never => "never",
        },
        "uniqueness": match attribute.uniqueness {
            Uniqueness::None => "none",
            Uniqueness::Server => "server",
        },
    });
    if !attribute.canonical.is_empty() {
        json["canonicalValues"] = attribute.canonical.into();
    }
    if let Kind::Reference(to) = attribute.kind {
        json["referenceTypes"] = to.into();
    }
    if attribute.is_complex() {
        json["subAttributes"] = attribute.subs().iter().map(attribute_json).collect();
    }
    json
}

const fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "string",
        Kind::Boolean => "boolean",
        Kind::DateTime => "dateTime",
        Kind::Binary => "binary",
        Kind::Reference(_) => "reference",
        Kind::Complex(_) => "complex",
    }
}
