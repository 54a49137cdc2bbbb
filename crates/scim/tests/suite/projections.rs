//! What is returned of a resource (RFC 7644 §3.9).

use scim::{NAMES_MAX, Projection, USER};
use serde_json::{Value, json};

use crate::{ENTERPRISE, barbara, kind, stored};

/// What is shown of the example by `attributes` or by `excluded`.
fn shown(attributes: &[&str], excluded: &[&str]) -> Value {
    let projection = Projection::of_names(attributes, excluded, &USER).expect("a projection");
    projection.apply(stored(&USER, barbara())).into()
}

fn only(attributes: &[&str], expected: Value) {
    let mut whole = json!({ "id": "2819c223-7f76", "schemas": barbara()["schemas"] });
    whole.as_object_mut().unwrap().extend(expected.as_object().unwrap().clone());
    assert_eq!(shown(attributes, &[]), whole, "{attributes:?}");
}

fn without(excluded: &[&str], pointers: &[&str]) {
    let mut whole = Value::from(stored(&USER, barbara()));
    for pointer in pointers {
        let (above, name) = pointer.rsplit_once('/').expect("a pointer");
        whole.pointer_mut(above).expect(above).as_object_mut().expect(above).remove(name);
    }
    assert_eq!(shown(&[], excluded), whole, "{excluded:?}");
}

#[test]
fn everything_is_shown_but_what_never_is() {
    let mut resource = stored(&USER, barbara());
    let expected = Value::from(resource.clone());
    resource.insert("password".to_owned(), "secret".into());
    resource.insert("shoeSize".to_owned(), 42.into());
    assert_eq!(Value::from(Projection::default_of(&USER).apply(resource)), expected);
    assert_eq!(shown(&[], &[]), expected);
}

#[test]
fn what_is_asked_for_is_shown() {
    only(&["userName"], json!({ "userName": "bjensen@example.com" }));
    only(&[" USERNAME "], json!({ "userName": "bjensen@example.com" }));
    only(&["urn:ietf:params:scim:schemas:core:2.0:User:title"], json!({ "title": "Tour Guide" }));
    only(&["name.familyName"], json!({ "name": { "familyName": "Jensen" } }));
    only(
        &["name.familyName", "name.givenName"],
        json!({ "name": { "familyName": "Jensen", "givenName": "Barbara" } }),
    );
    only(&["name.familyName", "name"], json!({ "name": barbara()["name"] }));
    only(&["emails.type"], json!({ "emails": [{ "type": "work" }, { "type": "home" }] }));
    only(&[ENTERPRISE], json!({ ENTERPRISE: barbara()[ENTERPRISE] }));
    only(
        &[&format!("{ENTERPRISE}:manager.$ref")],
        json!({ ENTERPRISE: { "manager": { "$ref": "../Users/26118915" } } }),
    );
    only(&["password", "shoeSize", "department"], json!({}));
    only(&["id"], json!({}));
}

#[test]
fn what_is_excluded_is_not() {
    without(&["name", "meta"], &["/name", "/meta"]);
    without(&["name.familyName", "meta.version"], &["/name/familyName", "/meta/version"]);
    without(&["emails.primary"], &["/emails/0/primary"]);
    without(&["id", "schemas"], &[]);
    without(&[ENTERPRISE], &[&format!("/{ENTERPRISE}")]);
    without(&[&format!("{ENTERPRISE}:department")], &[&format!("/{ENTERPRISE}/department")]);
    without(&["shoeSize"], &[]);
}

#[test]
fn what_is_not_shown_need_not_be_read() {
    let check = |attributes: &[&str], excluded: &[&str], expected| {
        let projection = Projection::of_names(attributes, excluded, &USER).expect("a projection");
        assert_eq!(projection.wants("groups"), expected, "{attributes:?} {excluded:?}");
    };
    check(&[], &[], true);
    check(&["groups.value"], &[], true);
    check(&["userName"], &[], false);
    check(&[], &["groups"], false);
    check(&[], &["groups.value"], true);
}

#[test]
fn i_18_names_have_a_limit_and_the_two_lists_exclude_each_other() {
    let names = ["title"; NAMES_MAX + 1];
    let one = &names[..1];
    Projection::of_names(&names[1..], &[], &USER).expect("a projection");
    for (attributes, excluded) in [(&names[..], &[][..]), (&[][..], &names[..]), (one, one)] {
        let error = Projection::of_names(attributes, excluded, &USER).expect_err("it is refused");
        assert_eq!(kind(&error), "invalidValue");
    }
}
