//! What holds for any input.

use proptest::prelude::*;
use scim::{Filter, GROUP, Patch, Query, USER};
use serde_json::{Value, json};

use crate::{ENTERPRISE, barbara, stored};

/// Filters that are built as the grammar has it.
fn filter() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "userName",
        "emails",
        "emails.type",
        "name.familyName",
        "active",
        "title",
        "shoeSize",
        "id",
        "meta.created",
    ]);
    let op = prop::sample::select(vec!["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"]);
    let value = prop::sample::select(vec![
        "\"bjensen@example.com\"",
        "\"work\"",
        "\"\"",
        "\"J\"",
        "true",
        "false",
        "null",
        "42",
        "\"2011-08-01T18:29:49.793Z\"",
    ]);
    let term = prop_oneof![
        (name, op, value).prop_map(|(name, op, value)| format!("{name} {op} {value}")),
        Just("title pr".to_owned()),
        Just("emails[type eq \"work\" and value co \"@\"]".to_owned()),
    ];
    term.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) or ({b})")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    })
}

/// Values of every type, with names that schemas know and that they do not.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec!["", "x", "True", "work", "2011-08-01T18:29:49Z"])
            .prop_map(Value::from),
    ];
    let name = prop::sample::select(vec![
        "value",
        "type",
        "primary",
        "givenName",
        "name.givenName",
        "active",
        "emails",
        "userName",
        "manager",
        "members",
        "shoeSize",
        "id",
        ENTERPRISE,
    ]);
    leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..4)
                .prop_map(|members| json!(members)),
        ]
    })
}

fn operations() -> impl Strategy<Value = Value> {
    let op = prop::sample::select(vec!["add", "replace", "remove"]);
    let path = prop::sample::select(vec![
        "title",
        "name",
        "name.givenName",
        "emails",
        "emails.value",
        "emails[type eq \"work\"]",
        "emails[type eq \"other\"].value",
        "emails[primary eq true]",
        "active",
        "userName",
        "manager",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager",
        ENTERPRISE,
        "id",
        "members",
        "members[value eq \"x\"]",
        "displayName",
    ]);
    let operation = (op, prop::option::of(path), prop::option::of(value())).prop_map(
        |(op, path, value)| match (path, value) {
            (Some(path), Some(value)) => json!({ "op": op, "path": path, "value": value }),
            (Some(path), None) => json!({ "op": op, "path": path }),
            (None, value) => json!({ "op": op, "value": value }),
        },
    );
    prop::collection::vec(operation, 1..4).prop_map(|operations| {
        json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                "Operations": operations })
    })
}

proptest! {
    #[test]
    fn no_text_breaks_the_parsers(text in ".{0,200}") {
        let _ = Filter::parse(&text, &USER);
        let _ = Query::of_url(&text, &USER);
        let path = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                           "Operations": [{ "op": "remove", "path": text }] });
        let _ = Patch::parse(path, &USER);
    }

    #[test]
    fn no_value_breaks_the_readers(value in value()) {
        let _ = USER.read(value.clone());
        let _ = GROUP.read(value.clone());
        let _ = Query::of_search(&value, &USER);
        let _ = Patch::parse(value, &USER);
    }

    #[test]
    fn not_is_the_complement(text in filter()) {
        let user = stored(&USER, barbara());
        if let Ok(filter) = Filter::parse(&text, &USER) {
            let not = Filter::parse(&format!("not ({text})"), &USER);
            if let Ok(not) = not {
                prop_assert_ne!(filter.matches(&user), not.matches(&user), "{}", text);
            }
        }
    }

    #[test]
    fn what_is_looked_up_is_in_all_that_matches(text in filter()) {
        let user = stored(&USER, barbara());
        if let Ok(filter) = Filter::parse(&text, &USER) && filter.matches(&user) {
            for equality in filter.equalities() {
                let own = user[equality.attribute].as_str().map(scim::fold);
                prop_assert_eq!(own, Some(scim::fold(equality.value)), "{}", text);
            }
        }
    }

    /// It is done whole or not at all, and what comes out is what a client may write.
    #[test]
    fn a_patch_is_atomic(body in operations()) {
        for (of, before) in [(&USER, stored(&USER, barbara())), (&GROUP, stored(&GROUP, crate::tour_guides()))] {
            let Ok(patch) = Patch::parse(body.clone(), of) else { continue };
            let mut after = before.clone();
            match patch.apply(&mut after) {
                Err(_) => prop_assert_eq!(&after, &before),
                Ok(changed) => {
                    prop_assert_eq!(changed, after != before);
                    let mut written = after.clone();
                    written.remove("id");
                    written.remove("meta");
                    prop_assert_eq!(of.read(written.clone().into()), Ok(written));
                    for kept in ["id", "meta"] {
                        prop_assert_eq!(&after[kept], &before[kept]);
                    }
                }
            }
        }
    }

    #[test]
    fn the_same_again_changes_nothing(path in "title|nickName|emails|name|addresses", value in value()) {
        let body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                           "Operations": [{ "op": "replace", "path": path, "value": value }] });
        let mut user = stored(&USER, barbara());
        if let Ok(patch) = Patch::parse(body, &USER) && patch.apply(&mut user).is_ok() {
            prop_assert_eq!(patch.apply(&mut user), Ok(false));
        }
    }
}
