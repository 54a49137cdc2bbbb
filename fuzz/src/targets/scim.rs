//! SCIM: what identity providers send.

use scim::{Filter, GROUP, Patch, Query, Resource, USER};
use serde_json::{Value, json};

use super::text;

/// A person whom filters are asked of and patches are applied to.
fn person() -> Resource {
    let sent = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "ann", "externalId": "A", "active": true, "name": { "givenName": "Ann" },
        "emails": [{ "value": "ann@example.com", "type": "work", "primary": true }],
    });
    USER.read(sent).expect("a person")
}

/// A filter: its negation is its complement, and what can be looked up for it is in all that it
/// matches.
pub fn filter(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    let Ok(filter) = Filter::parse(text, &USER) else { return false };
    let person = person();
    let matches = filter.matches(&person);
    if let Ok(not) = Filter::parse(&format!("not ({text})"), &USER) {
        assert_ne!(matches, not.matches(&person));
    }
    for equality in filter.equalities().iter().filter(|_| matches) {
        let own = person.get(equality.attribute).and_then(Value::as_str).map(scim::fold);
        assert_eq!(own, Some(scim::fold(equality.value)));
    }
    true
}

/// A PATCH request: made whole or not at all, and what it leaves is a resource.
pub fn patch(bytes: &[u8]) -> bool {
    let Ok(body) = serde_json::from_slice::<Value>(bytes) else { return false };
    let (user, group) = (Patch::parse(body.clone(), &USER), Patch::parse(body, &GROUP));
    let is_request = user.is_ok() || group.is_ok();
    let Ok(patch) = user else { return is_request };
    let before = person();
    let mut after = before.clone();
    match patch.apply(&mut after) {
        Err(_) => assert_eq!(after, before),
        Ok(changed) => {
            assert_eq!(changed, after != before);
            assert_eq!(USER.read(after.clone().into()), Ok(after));
        }
    }
    true
}

/// A resource: what is read of it is read in the same way again, and holds no password.
pub fn resource(bytes: &[u8]) -> bool {
    let Ok(sent) = serde_json::from_slice::<Value>(bytes) else { return false };
    let mut is_resource = false;
    for of in scim::TYPES {
        let Ok(read) = of.read(sent.clone()) else { continue };
        assert!(!["password", "id", "meta", "groups"].iter().any(|name| read.contains_key(*name)));
        assert_eq!(of.read(read.clone().into()), Ok(read));
        is_resource = true;
    }
    is_resource
}

/// The query of a URL, or a search: its page begins with the first at the earliest and has an end.
pub fn query(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    let read = match serde_json::from_str::<Value>(text) {
        Ok(body) => Query::of_search(&body, &USER),
        Err(_) => Query::of_url(text, &USER),
    };
    let Ok(query) = read else { return false };
    assert!(query.start_index >= 1 && query.count <= scim::PAGE_MAX);
    let person = person();
    let shown = query.projection.apply(person.clone());
    assert!(shown.contains_key("schemas") && shown.len() <= person.len());
    true
}
