//! SCIM by the RFCs' own examples, by what identity providers send, and by arbitrary input.

mod discovery;
mod filters;
mod patches;
mod projections;
mod properties;
mod queries;
mod reading;

use scim::{Error, Resource, ResourceType};
use serde_json::{Value, json};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// A person, after RFC 7643 §8.2 and §8.3.
fn barbara() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
        "externalId": "bjensen-42",
        "userName": "bjensen@example.com",
        "name": {
            "formatted": "Ms. Barbara J Jensen, III", "familyName": "Jensen",
            "givenName": "Barbara", "middleName": "Jane",
        },
        "displayName": "Babs Jensen",
        "title": "Tour Guide",
        "userType": "Employee",
        "active": true,
        "emails": [
            { "value": "bjensen@example.com", "type": "work", "primary": true },
            { "value": "babs@jensen.org", "type": "home" },
        ],
        "addresses": [
            { "type": "work", "streetAddress": "100 Universal City Plaza", "locality": "Hollywood",
              "region": "CA", "postalCode": "91608", "country": "USA", "primary": true },
            { "type": "home", "streetAddress": "456 Hollywood Blvd", "locality": "Hollywood" },
        ],
        "ims": [{ "value": "someaimhandle", "type": "aim" }],
        ENTERPRISE: {
            "employeeNumber": "701984", "department": "Tour Operations",
            "manager": { "value": "26118915", "$ref": "../Users/26118915" },
        },
    })
}

/// A group of two, after RFC 7643 §8.4.
fn tour_guides() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "Tour Guides",
        "members": [
            { "value": "2819c223", "$ref": "../Users/2819c223", "type": "User" },
            { "value": "902c246b", "type": "User" },
        ],
    })
}

/// What is read of `sent`, with what the provider adds to it.
fn stored(of: &'static ResourceType, sent: Value) -> Resource {
    let mut resource = of.read(sent).expect("a resource");
    resource.insert("id".to_owned(), "2819c223-7f76".into());
    let meta = json!({
        "resourceType": of.name(), "created": "2011-08-01T18:29:49.793Z",
        "lastModified": "2011-08-01T18:29:49.793Z", "version": "W/\"1\"",
        "location": of.location("https://scim.example/v2", "2819c223-7f76"),
    });
    resource.insert("meta".to_owned(), meta);
    resource
}

/// The name of the error's kind.
fn kind(error: &Error) -> &'static str {
    error.scim_type.map_or("", scim::ScimType::as_str)
}
