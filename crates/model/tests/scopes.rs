//! Scopes only narrow: what one includes, it covers.

use std::collections::BTreeSet;

use model::{Harm, ObjectPattern, Objects, Scope, ServerName, ToolPattern, ToolRef};
use proptest::prelude::*;

fn tool() -> impl Strategy<Value = ToolRef> {
    ("[ab]", "[xyz]").prop_map(|(server, tool)| format!("{server}/{tool}").parse().unwrap())
}

fn pattern() -> impl Strategy<Value = ToolPattern> {
    ("[ab]", "[xyz*]").prop_map(|(server, tool)| format!("{server}/{tool}").parse().unwrap())
}

fn harm() -> impl Strategy<Value = BTreeSet<Harm>> {
    proptest::sample::subsequence(Harm::ALL.to_vec(), 0..=Harm::ALL.len())
        .prop_map(|classes| classes.into_iter().collect())
}

fn object() -> impl Strategy<Value = ObjectPattern> {
    let names = vec!["x", "xy", "x*", "xy*", "*", "x/../y", "x/*", "x/..*"];
    ("[ab]", prop::sample::select(names))
        .prop_map(|(server, name)| format!("{server}/{name}").parse().unwrap())
}

/// An object, by its server and name.
fn named() -> impl Strategy<Value = (ServerName, String)> {
    let names = vec!["x", "xy", "xyz", "z", "x/../y", "x/y", "x/..y", "x/%2e%2e/y"];
    ("[ab]", prop::sample::select(names))
        .prop_map(|(server, name)| (server.parse().unwrap(), name.to_owned()))
}

/// Whether `scope` is for the object.
fn is_for(scope: &Scope, (server, name): &(ServerName, String)) -> bool {
    let object = Objects::Named([name.clone()].into());
    scope.objects.as_ref().is_none_or(|patterns| object.are_within(patterns, server))
}

prop_compose! {
    fn scope()(
        tools in proptest::collection::btree_set(pattern(), 0..4),
        harm in harm(),
        objects in proptest::option::of(proptest::collection::btree_set(object(), 0..4)),
        max_calls in proptest::option::of(0_u64..3),
    ) -> Scope {
        Scope { tools, harm, objects, max_calls, max_tasks_a_day: None }
    }
}

proptest! {
    #[test]
    fn i_08_an_included_scope_covers_nothing_more(
        wide in scope(), narrow in scope(), tool in tool(), harm in harm(), object in named(),
    ) {
        let widened = narrow.covers(&tool, &harm) && !wide.covers(&tool, &harm);
        let is_wider = is_for(&narrow, &object) && !is_for(&wide, &object);
        prop_assert!(!(wide.includes(&narrow) && (widened || is_wider)));
    }

    #[test]
    fn inclusion_is_an_order(a in scope(), b in scope(), c in scope()) {
        prop_assert!(a.includes(&a));
        prop_assert!(!(a.includes(&b) && b.includes(&c)) || a.includes(&c));
    }

    #[test]
    fn i_08_what_two_scopes_meet_in_is_the_widest_that_both_include(
        a in scope(), b in scope(), c in scope(), tool in tool(), harm in harm(), object in named(),
    ) {
        let met = a.meet(&b);
        prop_assert!(a.includes(&met) && b.includes(&met));
        prop_assert_eq!(met.includes(&c), a.includes(&c) && b.includes(&c));
        let both = a.covers(&tool, &harm) && b.covers(&tool, &harm);
        prop_assert_eq!(met.covers(&tool, &harm), both);
        prop_assert_eq!(is_for(&met, &object), is_for(&a, &object) && is_for(&b, &object));
    }

    #[test]
    fn i_08_who_names_no_objects_asks_for_those_of_the_widest_scope_within_all_bounds(
        asked in scope(), bounds in proptest::collection::vec(scope(), 1..4),
    ) {
        let widest = bounds.iter().skip(1).fold(bounds[0].clone(), |all, bound| all.meet(bound));
        let objects = asked.objects.clone().or(widest.objects);
        let given = asked.clone().for_objects_of(&bounds);
        prop_assert_eq!(given, Scope { objects, ..asked });
    }
}

/// Whoever forgets the server, or the tool, is told how it is written.
#[test]
fn a_tool_is_named_with_its_server() {
    let tool = "lookup".parse::<ToolRef>().expect_err("it names no server").to_string();
    assert_eq!(tool, "`lookup` is not a tool of a server: expected `SERVER/TOOL`");
    let pattern = "crm".parse::<ToolPattern>().expect_err("it names no tool").to_string();
    let expected = "expected `SERVER/TOOL` or `SERVER/*`";
    assert_eq!(pattern, format!("`crm` is not a pattern of tools: {expected}"));
}

#[test]
fn an_empty_scope_covers_nothing() {
    let tool: ToolRef = "crm/lookup".parse().unwrap();
    assert!(!Scope::default().covers(&tool, &BTreeSet::new()));
    assert!(!Scope::default().touches(&tool.server));
}

#[test]
fn r_41_a_pattern_of_objects_says_what_it_covers() {
    for said in ["crm/customer-7", "crm/customer-*", "crm/*", "crm/crm://customers/7", "crm/a b"] {
        let pattern: ObjectPattern = said.parse().unwrap();
        assert_eq!(pattern.to_string(), said);
    }
    let long = format!("crm/{}", "x".repeat(508));
    assert!(long.parse::<ObjectPattern>().is_ok());
    for invalid in [
        "",
        "crm",
        "crm/",
        "/x",
        "*",
        "*/x",
        "CRM/x",
        "crm/a*b",
        "crm/**",
        "crm/a\n",
        (long + "x").as_str(),
    ] {
        assert!(invalid.parse::<ObjectPattern>().is_err(), "{invalid:?}");
    }
}

/// Who names the objects of a part of the work, and those of a call, makes no decision long.
#[test]
fn r_41_a_long_name_is_looked_through_once() {
    let server: ServerName = "crm".parse().unwrap();
    let beginnings = (1..=256).map(|n| format!("crm/{}*", "a".repeat(n)).parse().unwrap());
    let mut patterns: BTreeSet<ObjectPattern> = beginnings.collect();
    let name = format!("{}{}/..", "a".repeat(300), "b".repeat(1 << 20));
    let object = |name: &str| Objects::Named([name.to_owned()].into());
    assert!(object("aaa").are_within(&patterns, &server));
    assert!(object("a%").are_within(&patterns, &server));
    assert!(!object("b").are_within(&patterns, &server));
    assert!(!object(&name).are_within(&patterns, &server));
    patterns.insert("crm/a/../b".parse().unwrap());
    assert!(object("a/../b").are_within(&patterns, &server));
    assert!(!object("a/../c").are_within(&patterns, &server));
    patterns.insert("crm/*".parse().unwrap());
    assert!(object(&name).are_within(&patterns, &server));
}

#[test]
fn n_053_names_are_compared_byte_for_byte() {
    let pattern: ToolPattern = "crm/lookup".parse().unwrap();
    for other in ["crm/Lookup", "crm/lookup ", "crm/look\u{fb01}", "crm/l\u{043e}okup"] {
        assert!(!pattern.covers(&other.parse().unwrap()), "{other}");
    }
    for invalid in
        ["crm/look\u{200b}up", "crm/lookup\0", "CRM/lookup", "crm/", "/lookup", "crm/a/b"]
    {
        assert!(invalid.parse::<ToolRef>().is_err(), "{invalid:?}");
    }
}
