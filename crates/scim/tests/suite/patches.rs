//! PATCH on the examples of RFC 7644 §3.5.2, on what identity providers send, and at its limits.

use scim::{GROUP, MEMBERS_MAX, OPERATIONS_MAX, Patch, Resource, ResourceType, USER, VALUES_MAX};
use serde_json::{Value, json};

use crate::{ENTERPRISE, barbara, kind, stored, tour_guides};

fn request(operations: Value) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": operations,
    })
}

fn start(of: &ResourceType) -> Resource {
    if of.name() == "User" { stored(&USER, barbara()) } else { stored(&GROUP, tour_guides()) }
}

/// What `operations` make of the example, and whether they say that they changed it.
fn patched(of: &'static ResourceType, operations: Value) -> (Value, bool) {
    let patch = Patch::parse(request(operations.clone()), of);
    let patch = patch.unwrap_or_else(|error| panic!("{operations}: {error}"));
    let before = start(of);
    let mut after = before.clone();
    let changed = patch.apply(&mut after).unwrap_or_else(|error| panic!("{operations}: {error}"));
    assert_eq!(changed, before != after, "{operations}");
    (after.into(), changed)
}

/// `operations` change nothing but the attribute at `pointer`, which is `expected` then.
fn check(of: &'static ResourceType, operations: Value, pointer: &str, expected: Value) {
    let (mut after, changed) = patched(of, operations.clone());
    let before = Value::from(start(of));
    let was = before.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(changed, was != expected, "{operations}");
    let top = pointer.split('/').nth(1).unwrap().replace("~1", "/");
    assert_eq!(after.pointer(pointer).cloned().unwrap_or_default(), expected, "{operations}");
    let mut before = before;
    for resource in [&mut after, &mut before] {
        resource.as_object_mut().unwrap().remove(&top);
        resource.as_object_mut().unwrap().remove("schemas");
    }
    assert_eq!(after, before, "{operations}");
}

/// `operations` are refused, and the resource is as it was.
fn refused(of: &'static ResourceType, operations: Value, expected: &str) {
    let before = start(of);
    let mut after = before.clone();
    let patch = Patch::parse(request(operations.clone()), of);
    let error = patch.and_then(|patch| patch.apply(&mut after)).expect_err(&operations.to_string());
    assert_eq!(kind(&error), expected, "{operations}: {error}");
    assert_eq!(after, before, "{operations}");
}

#[test]
fn the_examples_of_add_are_followed() {
    let whole = json!([{ "op": "add", "value": {
        "emails": [{ "value": "babs2@jensen.org", "type": "home" }], "nickname": "Babs",
    }}]);
    let (after, changed) = patched(&USER, whole);
    assert_eq!((&after["nickName"], changed), (&json!("Babs"), true));
    assert_eq!(after["emails"][2], json!({ "value": "babs2@jensen.org", "type": "home" }));

    let ann = json!({ "display": "Babs Jensen", "$ref": "https://scim.example/v2/Users/ann",
                      "value": "ann" });
    let (after, _) = patched(&GROUP, json!([{ "op": "add", "path": "members", "value": [ann] }]));
    assert_eq!(
        after["members"][2],
        json!({ "$ref": "https://scim.example/v2/Users/ann", "value": "ann" })
    );
    // Who is a member already is not added.
    let (_, changed) = patched(
        &GROUP,
        json!([{ "op": "add", "path": "members", "value": [{ "value": "902c246b" }] }]),
    );
    assert!(!changed);
    let same = json!({ "value": "babs@jensen.org", "type": "home" });
    let (_, changed) = patched(&USER, json!([{ "op": "add", "path": "emails", "value": [same] }]));
    assert!(!changed);
}

#[test]
fn the_examples_of_remove_are_followed() {
    let home = json!({ "value": "babs@jensen.org", "type": "home" });
    let second = json!([{ "value": "902c246b", "type": "User" }]);
    let remove = |path: &str| json!([{ "op": "remove", "path": path }]);
    check(&GROUP, remove("members"), "/members", Value::Null);
    check(&GROUP, remove("members[value eq \"2819c223\"]"), "/members", second);
    check(
        &USER,
        remove("emails[type eq \"work\" and value ew \"example.com\"]"),
        "/emails",
        json!([home]),
    );
    check(&USER, remove("emails[type eq \"work\"].primary"), "/emails/0/primary", Value::Null);
    check(&USER, remove("title"), "/title", Value::Null);
    check(&USER, remove("name.middleName"), "/name/middleName", Value::Null);
    check(&USER, remove("name"), "/name", Value::Null);
    check(&USER, remove("nickName"), "/nickName", Value::Null);
    check(&USER, remove("emails[type eq \"other\"]"), "/nickName", Value::Null);
    check(&USER, remove("ims[type eq \"aim\"]"), "/ims", Value::Null);
    check(&USER, remove("emails.type"), "/emails/1/type", Value::Null);
    check(&USER, remove(ENTERPRISE), &format!("/{ENTERPRISE}"), Value::Null);
    check(
        &USER,
        remove(&format!("{ENTERPRISE}:manager")),
        &format!("/{ENTERPRISE}/manager"),
        Value::Null,
    );
    let (after, _) = patched(&USER, remove(ENTERPRISE));
    assert_eq!(after["schemas"], json!(["urn:ietf:params:scim:schemas:core:2.0:User"]));

    // All members are replaced by one, in two operations.
    let both = json!([
        { "op": "remove", "path": "members" },
        { "op": "add", "path": "members", "value": [{ "value": "ann" }] },
    ]);
    check(&GROUP, both, "/members", json!([{ "value": "ann" }]));
}

#[test]
fn the_examples_of_replace_are_followed() {
    let replace =
        |path: &str, value: Value| json!([{ "op": "replace", "path": path, "value": value }]);
    let members = json!([{ "value": "ann" }, { "value": "ben" }]);
    check(&GROUP, replace("members", members.clone()), "/members", members);
    let work =
        json!({ "type": "work", "streetAddress": "911 Universal City Plaza", "primary": true });
    check(&USER, replace("addresses[type eq \"work\"]", work.clone()), "/addresses/0", work);
    check(
        &USER,
        replace("addresses[type eq \"work\"].streetAddress", json!("1010 Broadway Ave")),
        "/addresses/0/streetAddress",
        json!("1010 Broadway Ave"),
    );
    let emails = json!([{ "value": "b@example.com", "type": "work", "primary": true }]);
    let whole = json!([{ "op": "replace", "value": { "emails": emails, "nickname": "Babs" } }]);
    let (after, _) = patched(&USER, whole);
    assert_eq!((&after["emails"], &after["nickName"]), (&emails, &json!("Babs")));
    check(&USER, replace("title", Value::Null), "/title", Value::Null);
    check(&USER, replace("emails", json!([])), "/emails", Value::Null);
    // Parts that the value does not have stay.
    check(&USER, replace("name", json!({ "givenName": "Ann" })), "/name/givenName", json!("Ann"));
    check(&USER, replace("name", json!({ "GIVENNAME": null })), "/name/givenName", Value::Null);
    check(&USER, replace("nickName", json!("Babs")), "/nickName", json!("Babs"));
    check(
        &USER,
        replace("urn:ietf:params:scim:schemas:core:2.0:User:title", json!("x")),
        "/title",
        json!("x"),
    );
    let department = format!("/{ENTERPRISE}/department");
    check(&USER, replace(&format!("{ENTERPRISE}:department"), json!("x")), &department, json!("x"));
    check(&USER, replace(ENTERPRISE, json!({ "department": "x" })), &department, json!("x"));
}

#[test]
fn one_value_is_primary() {
    let primary = json!({ "value": "new@example.com", "primary": true });
    let (after, _) = patched(&USER, json!([{ "op": "add", "path": "emails", "value": [primary] }]));
    assert_eq!(after["emails"][0]["primary"], false);
    assert_eq!(after["emails"][2]["primary"], true);
    let set =
        json!([{ "op": "replace", "path": "emails[type eq \"home\"].primary", "value": true }]);
    let (after, _) = patched(&USER, set);
    assert_eq!(
        (&after["emails"][0]["primary"], &after["emails"][1]["primary"]),
        (&json!(false), &json!(true))
    );
    let both = json!([{ "op": "replace", "path": "emails.primary", "value": true }]);
    refused(&USER, both, "invalidValue");
    let two = json!([{ "op": "add", "path": "emails", "value": [primary, primary] }]);
    refused(&USER, two, "invalidValue");
}

#[test]
fn what_providers_send_beside_the_rfc_is_taken() {
    // Microsoft Entra ID.
    let entra =
        |op: &str, path: &str, value: Value| json!([{ "op": op, "path": path, "value": value }]);
    check(&USER, entra("Replace", "active", json!("False")), "/active", json!(false));
    check(&USER, entra("Add", "nickName", json!("Babs")), "/nickName", json!("Babs"));
    let dotted = json!([{ "op": "Replace", "value": {
        "name.givenName": "Ann", "emails[type eq \"work\"].value": "ann@example.com",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department": "x",
        ENTERPRISE: { "costCenter": "47", "manager.value": "1" },
    }}]);
    let (after, _) = patched(&USER, dotted);
    assert_eq!(after["name"]["givenName"], "Ann");
    assert_eq!(after["emails"][0]["value"], "ann@example.com");
    let enterprise = json!({ "employeeNumber": "701984", "department": "x", "costCenter": "47",
                             "manager": { "value": "1", "$ref": "../Users/26118915" } });
    assert_eq!(after[ENTERPRISE], enterprise);
    let manager = format!("{ENTERPRISE}:manager");
    let pointer = format!("/{ENTERPRISE}/manager/value");
    check(&USER, entra("Add", &manager, json!("77")), &pointer, json!("77"));
    check(&USER, entra("Add", &manager, json!([{ "value": "77" }])), &pointer, json!("77"));
    let second = json!([{ "value": "902c246b", "type": "User" }]);
    let first = json!([{ "value": "2819c223" }, { "value": "nobody" }]);
    check(&GROUP, entra("Remove", "members", first), "/members", second.clone());
    check(
        &GROUP,
        entra("Remove", "members", json!({ "value": "2819c223" })),
        "/members",
        second.clone(),
    );
    check(&GROUP, entra("Remove", "members", json!(["2819c223"])), "/members", second);
    check(&GROUP, entra("Remove", "members", json!([])), "/nickName", Value::Null);
    let other = json!({ "type": "Other", "value": "x@y.example" });
    check(
        &USER,
        entra("Add", "emails[type eq \"Other\"].value", json!("x@y.example")),
        "/emails/2",
        other,
    );
    let role = json!([{ "primary": true, "value": "admin" }]);
    check(&USER, entra("Add", "roles[primary eq \"True\"].value", json!("admin")), "/roles", role);
    // Okta.
    let okta = |value: Value| json!([{ "op": "replace", "value": value }]);
    check(&USER, okta(json!({ "active": false })), "/active", json!(false));
    let named = okta(json!({ "id": "2819c223-7f76", "displayName": "Guides" }));
    check(&GROUP, named, "/displayName", json!("Guides"));
    // A list of one.
    check(
        &GROUP,
        entra("add", "members", json!({ "value": "ann" })),
        "/members/2",
        json!({ "value": "ann" }),
    );
}

#[test]
fn what_nobody_may_change_stays() {
    for (path, value) in [
        ("id", json!("x")),
        ("meta.created", json!("2011-08-01T18:29:49Z")),
        ("groups", json!([{ "value": "admins" }])),
        ("groups[value eq \"x\"].value", json!("admins")),
        ("schemas", json!([])),
        (
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.displayName",
            json!("x"),
        ),
    ] {
        for op in ["add", "replace", "remove"] {
            refused(&USER, json!([{ "op": op, "path": path, "value": value }]), "mutability");
        }
        // Without a path it is dropped.
        let (_, changed) = patched(&USER, json!([{ "op": "add", "value": { path: value } }]));
        assert!(!changed, "{path}");
    }
    refused(&USER, json!([{ "op": "remove", "path": "userName" }]), "mutability");
    refused(&USER, json!([{ "op": "replace", "path": "userName", "value": null }]), "mutability");
    refused(&USER, json!([{ "op": "replace", "path": "userName", "value": "" }]), "invalidValue");
    refused(&GROUP, json!([{ "op": "remove", "path": "displayName" }]), "mutability");
    let member = "members[value eq \"2819c223\"].value";
    refused(&GROUP, json!([{ "op": "replace", "path": member, "value": "admin" }]), "mutability");
    refused(&GROUP, json!([{ "op": "remove", "path": member }]), "mutability");
    refused(
        &GROUP,
        json!([{ "op": "add", "path": "members[value eq \"902c246b\"]", "value": { "type": "Group" } }]),
        "mutability",
    );
    let reference =
        json!([{ "op": "add", "path": "members[value eq \"902c246b\"].type", "value": "User" }]);
    let (_, changed) = patched(&GROUP, reference);
    assert!(!changed, "it is of that type already");
}

#[test]
fn a_password_is_thrown_away() {
    for operations in [
        json!([{ "op": "replace", "path": "password", "value": "secret" }]),
        json!([{ "op": "add", "value": { "password": "secret" } }]),
        json!([{ "op": "remove", "path": "password" }]),
    ] {
        let (after, changed) = patched(&USER, operations);
        assert!(!changed && !after.to_string().contains("secret"));
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    let op =
        |op: &str, path: &str, value: Value| json!([{ "op": op, "path": path, "value": value }]);
    for (operations, expected) in [
        (json!([]), "invalidSyntax"),
        (json!([1]), "invalidSyntax"),
        (json!([{ "path": "title" }]), "invalidSyntax"),
        (json!([{ "op": "move", "path": "title", "value": "x" }]), "invalidSyntax"),
        (json!([{ "op": "replace", "path": "title" }]), "invalidValue"),
        (json!([{ "op": "replace", "path": 1, "value": "x" }]), "invalidPath"),
        (json!([{ "op": "remove" }]), "noTarget"),
        (json!([{ "op": "add", "value": "x" }]), "invalidValue"),
        (op("replace", "shoeSize", json!(42)), "invalidPath"),
        (op("replace", "name.shoeSize", json!(42)), "invalidPath"),
        (op("replace", "title.x", json!(42)), "invalidPath"),
        (op("replace", "", json!("x")), "invalidPath"),
        (op("replace", "title eq", json!("x")), "invalidPath"),
        (op("replace", "title[value eq \"x\"]", json!("x")), "invalidPath"),
        (op("replace", "emails[primary gt true]", json!({})), "invalidFilter"),
        (op("replace", "emails[type eq \"other\"].value", json!("x")), "noTarget"),
        (op("add", "emails[type ne \"work\" and type ne \"home\"].value", json!("x")), "noTarget"),
        (op("replace", "title", json!(42)), "invalidValue"),
        (op("replace", "active", json!("no")), "invalidValue"),
        (op("replace", "emails", json!([{ "value": 1 }])), "invalidValue"),
        (op("replace", "emails[type eq \"work\"]", json!(1)), "invalidValue"),
        (op("replace", "x509Certificates", json!([{ "value": "?" }])), "invalidValue"),
        (op("remove", "addresses", json!([{ "type": "work" }])), "invalidValue"),
        (op("replace", ENTERPRISE, json!("x")), "invalidValue"),
        (
            json!([{ "op": "replace", "path": "title", "value": "x" }, { "op": "remove" }]),
            "noTarget",
        ),
        (
            json!([{ "op": "replace", "path": "title", "value": "x" },
                { "op": "replace", "path": "emails[type eq \"other\"].value", "value": "x" }]),
            "noTarget",
        ),
    ] {
        refused(&USER, operations, expected);
    }
    refused(&GROUP, op("add", "members", json!([{ "display": "x" }])), "invalidValue");
    refused(&GROUP, op("add", "members", json!([{ "type": "User" }])), "invalidValue");
    let bodies = [
        json!(1),
        json!({ "Operations": [{ "op": "remove", "path": "title" }] }),
        json!({ "schemas": [], "Operations": [{ "op": "remove", "path": "title" }] }),
        json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"] }),
    ];
    for body in bodies {
        let error = Patch::parse(body, &USER).expect_err("no request");
        assert_eq!(kind(&error), "invalidSyntax", "{error}");
    }
}

#[test]
fn i_18_a_request_has_limits() {
    let operations = |count: usize| vec![json!({ "op": "remove", "path": "title" }); count];
    assert!(patched(&USER, operations(OPERATIONS_MAX).into()).1);
    refused(&USER, operations(OPERATIONS_MAX + 1).into(), "invalidSyntax");

    let add = |path: &str, count: usize| {
        let values: Vec<_> = (0..count).map(|n| json!({ "value": n.to_string() })).collect();
        json!({ "op": "add", "path": path, "value": values })
    };
    let (after, _) = patched(&GROUP, json!([add("members", MEMBERS_MAX)]));
    assert_eq!(after["members"].as_array().unwrap().len(), MEMBERS_MAX + 2);
    refused(&GROUP, json!([add("members", MEMBERS_MAX), add("members", 1)]), "invalidValue");
    refused(&GROUP, json!([add("members", MEMBERS_MAX + 1)]), "invalidValue");

    let (after, _) = patched(&USER, json!([add("emails", VALUES_MAX - 2)]));
    assert_eq!(after["emails"].as_array().unwrap().len(), VALUES_MAX);
    refused(&USER, json!([add("emails", VALUES_MAX - 1)]), "invalidValue");
}
