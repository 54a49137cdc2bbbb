//! Groups in a token count only for a provider of which the operator said so.

use serde_json::{Value, json};

use super::{World, settings, told};
use crate::id_token::{GROUPS_MAX, TEXT_MAX};

const REFUSED: &str = "id_token_invalid: the groups cannot be read, or are too many for a token";

/// Logs in with `groups` in the claim `groups`, where `claim` is what the operator named.
fn check(claim: Option<&str>, groups: Value, expected: Result<Option<&[&str]>, ()>) {
    let mut settings = settings();
    settings.groups_claim = claim.map(str::to_owned);
    let told_groups = groups.clone();
    let logged_in = World::with(settings).log_in(|claims| {
        if !groups.is_null() {
            claims["groups"] = groups;
        }
    });
    let Ok(expected) = expected else {
        assert_eq!(told(&logged_in), REFUSED, "{told_groups}");
        return;
    };
    let expected = expected.map(|all| all.iter().map(|&one| one.to_owned()).collect());
    assert_eq!(logged_in.unwrap().groups, expected, "{told_groups}");
}

#[test]
fn groups_are_ignored_unless_the_operator_named_their_claim() {
    check(None, json!(["admins"]), Ok(None));
    check(None, json!("admins"), Ok(None));
    check(None, json!({ "admins": 1 }), Ok(None));
    check(Some("roles"), json!(["admins"]), Ok(Some(&[])));
    check(Some("groups"), json!(["admins", "users"]), Ok(Some(&["admins", "users"])));
    check(Some("groups"), json!(["users", "users"]), Ok(Some(&["users"])));
    check(Some("groups"), json!([]), Ok(Some(&[])));
    check(Some("groups"), Value::Null, Ok(Some(&[])));
}

#[test]
fn groups_that_cannot_be_read_are_not_no_groups() {
    for wrong in [json!("admins"), json!([1]), json!([""]), json!([null]), json!({})] {
        check(Some("groups"), wrong, Err(()));
    }
    check(Some("groups"), json!(["x".repeat(TEXT_MAX + 1)]), Err(()));
    let many = |count: usize| (0..count).map(|one| one.to_string()).collect::<Value>();
    check(Some("groups"), many(GROUPS_MAX + 1), Err(()));
    let mut settings = settings();
    settings.groups_claim = Some("groups".to_owned());
    let world = World::with(settings);
    let who = world.log_in(|claims| claims["groups"] = many(GROUPS_MAX)).unwrap();
    assert_eq!(who.groups.map(|groups| groups.len()), Some(GROUPS_MAX));
}

/// A provider says so if a person has more groups than fit a token: fewer rights and fewer
/// prohibitions would follow from taking that for none.
#[test]
fn groups_that_stand_somewhere_else_are_not_no_groups() {
    let check = |names: Value, expected: &str| {
        let mut settings = settings();
        settings.groups_claim = Some("groups".to_owned());
        let logged_in = World::with(settings).log_in(|claims| claims["_claim_names"] = names);
        assert_eq!(told(&logged_in), expected);
    };
    check(json!({ "groups": "src1" }), REFUSED);
    check(json!("groups"), REFUSED);
    check(json!({ "address": "src1" }), "carla-7");
}
