//! What a client sends to create or to replace a resource.

use scim::{
    BINARY_CHARS_MAX, GROUP, MEMBERS_MAX, RESOURCE_BYTES_MAX, ResourceType, STRING_CHARS_MAX, USER,
    VALUES_MAX,
};
use serde_json::{Value, json};

use crate::{ENTERPRISE, barbara, kind, tour_guides};

const USER_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

fn user(attributes: Value) -> Value {
    let mut user = json!({ "schemas": [USER_URN], "userName": "ann" });
    user.as_object_mut().unwrap().extend(attributes.as_object().unwrap().clone());
    user
}

/// `sent` is read as `expected`.
fn check(sent: Value, expected: Value) {
    let read = USER.read(sent.clone()).unwrap_or_else(|error| panic!("{sent}: {error}"));
    assert_eq!(Value::from(read), expected, "{sent}");
}

fn refused(of: &'static ResourceType, sent: Value, expected: (u16, &str)) {
    let error = of.read(sent).expect_err("it is refused");
    assert_eq!((error.status, kind(&error)), expected, "{error}");
}

#[test]
fn what_is_known_is_kept_as_it_was_sent() {
    check(barbara(), barbara());
    let read = GROUP.read(tour_guides()).expect("a group");
    assert_eq!(Value::from(read), tour_guides());
}

#[test]
fn names_are_spelt_as_the_schema_has_them() {
    let sent = json!({
        "SCHEMAS": [USER_URN.to_uppercase()], "USERNAME": "ann", "EMails": [{ "VALUE": "a@b.example" }],
        ENTERPRISE.to_lowercase(): { "Department": "x", "MANAGER": { "Value": "1" } },
    });
    let expected = json!({
        "schemas": [USER_URN, ENTERPRISE], "userName": "ann", "emails": [{ "value": "a@b.example" }],
        ENTERPRISE: { "department": "x", "manager": { "value": "1" } },
    });
    check(sent, expected);
}

#[test]
fn what_is_unknown_empty_or_the_providers_is_dropped() {
    for dropped in [
        json!({ "shoeSize": 42 }),
        json!({ "name": { "shoeSize": 42 } }),
        json!({ "urn:example:2.0:Shoes": { "size": 42 } }),
        json!({ "schemas": [USER_URN, "urn:example:2.0:Shoes", ENTERPRISE] }),
        json!({ "id": "x", "meta": { "version": 3 } }),
        json!({ "groups": [{ "value": "admins" }] }),
        json!({ "password": "secret", "PASSWORD": 1 }),
        json!({ "title": null, "emails": [], "name": {}, "active": null }),
        json!({ ENTERPRISE: {} }),
        json!({ ENTERPRISE: { "manager": { "displayName": "x" }, "shoeSize": 42 } }),
    ] {
        check(user(dropped), user(json!({})));
    }
}

#[test]
fn what_is_not_as_the_schema_has_it_is_refused() {
    let syntax = (400, "invalidSyntax");
    for sent in [
        json!([]),
        json!({ "userName": "ann" }),
        json!({ "schemas": [], "userName": "ann" }),
        json!({ "schemas": USER_URN, "userName": "ann" }),
        json!({ "schemas": [ENTERPRISE], "userName": "ann" }),
        user(json!({ ENTERPRISE: "x" })),
        user(json!({ "title": "x", "Title": "y" })),
        user(json!({ "name": { "givenName": "x", "givenname": "y" } })),
    ] {
        refused(&USER, sent, syntax);
    }
    let value = (400, "invalidValue");
    for attributes in [
        json!({ "userName": null }),
        json!({ "userName": "" }),
        json!({ "userName": 1 }),
        json!({ "active": "true" }),
        json!({ "title": ["x"] }),
        json!({ "name": "Ann" }),
        json!({ "emails": { "value": "a@b.example" } }),
        json!({ "emails": ["a@b.example"] }),
        json!({ "emails": [null] }),
        json!({ "emails": [{ "value": "a", "primary": true }, { "value": "b", "primary": true }] }),
        json!({ "x509Certificates": [{ "value": "A" }] }),
        json!({ "x509Certificates": [{ "value": "AAA=====" }] }),
    ] {
        refused(&USER, user(attributes), value);
    }
    let group = |members: Value| {
        json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
                "displayName": "g", "members": members })
    };
    refused(&GROUP, group(json!([{ "type": "User" }])), value);
    refused(&GROUP, json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"] }), value);
}

#[test]
fn i_18_a_resource_has_limits() {
    let value = (400, "invalidValue");
    let title = |chars: usize| user(json!({ "title": "ä".repeat(chars) }));
    check(title(STRING_CHARS_MAX), title(STRING_CHARS_MAX));
    refused(&USER, title(STRING_CHARS_MAX + 1), value);

    let certificate =
        |chars: usize| user(json!({ "x509Certificates": [{ "value": "A".repeat(chars) }] }));
    check(certificate(BINARY_CHARS_MAX), certificate(BINARY_CHARS_MAX));
    refused(&USER, certificate(BINARY_CHARS_MAX + 4), value);

    let roles = |count: usize| user(json!({ "roles": vec![json!({ "value": "r" }); count] }));
    check(roles(VALUES_MAX), roles(VALUES_MAX));
    refused(&USER, roles(VALUES_MAX + 1), value);

    let group = |count: usize| {
        let members: Vec<_> = (0..count).map(|n| json!({ "value": format!("{n:0>64}") })).collect();
        json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
                "displayName": "g", "members": members })
    };
    // The members are apart: they are more than a resource may be.
    assert!(group(MEMBERS_MAX).to_string().len() > RESOURCE_BYTES_MAX);
    GROUP.read(group(MEMBERS_MAX)).expect("a group");
    refused(&GROUP, group(MEMBERS_MAX + 1), value);

    // Members of the object as they are counted: name and value, without what stands between.
    let bytes = |sent: &Value| -> usize {
        let counted = sent.as_object().unwrap().iter().filter(|(name, _)| *name != "schemas");
        counted.map(|(name, value)| name.len() + value.to_string().len()).sum()
    };
    let mut sent =
        user(json!({ "title": "", "roles": vec![json!({ "value": "x".repeat(1_000) }); 16] }));
    let left = RESOURCE_BYTES_MAX - bytes(&sent);
    sent["title"] = "x".repeat(left).into();
    assert_eq!(bytes(&sent), RESOURCE_BYTES_MAX);
    check(sent.clone(), sent.clone());
    sent["title"] = "x".repeat(left + 1).into();
    refused(&USER, sent, (413, ""));
}
