//! Which scopes cover which, by the hierarchy.

use super::differential::{ACTIONS, PRINCIPALS, RESOURCES};
use super::fixtures::{Case, person, snapshot};
use crate::candidates::{Asked, ScopeOf};
use crate::compile::parse;
use crate::entities::World;
use crate::extent::{Extent, Kinds};
use crate::labels::Labels;
use serde_json::json;

/// Two scopes, and whether the first covers the second (`>`), the second the first (`<`), both each other (`=`), or
/// none the other (`|`).
const ROWS: &[(&str, char, &str)] = &[
    // A tool is in its server, and in no other; also one to come.
    ("CALLS & IN_CRM", '>', "LOOKUP"),
    ("CALLS & IN_CRM", '>', "CALLS & resource == Tool::\"crm/lookup\""),
    ("CALLS & IN_CRM", '>', "CALLS & resource in Tool::\"crm/later\""),
    ("CALLS & IN_CRM", '>', "action == Action::\"crm/later\""),
    ("CALLS & IN_CRM", '=', "CALLS & resource is Tool in Server::\"crm\""),
    ("CALLS & IN_CRM", '|', "REFUND"),
    ("CALLS & IN_CRM", '|', "LOOKUP_OR_REFUND"),
    // The one that a server has now is not all that it will have.
    ("CALLS & resource in Server::\"tickets\"", '>', "action == Action::\"tickets/close\""),
    // A call of a tool is on it, however that is said.
    ("LOOKUP", '=', "CALLS & resource == Tool::\"crm/lookup\""),
    ("LOOKUP", '=', "LOOKUP & IN_CRM"),
    ("LOOKUP & resource is Tool", '=', "CALLS & resource in Tool::\"crm/lookup\""),
    ("LOOKUP_OR_REFUND", '>', "LOOKUP"),
    ("LOOKUP_OR_REFUND & IN_CRM", '=', "LOOKUP"),
    ("CALLS", '>', "LOOKUP_OR_REFUND"),
    ("CALLS", '=', "CALLS & resource is Tool"),
    ("CALLS", '<', "action in [Action::\"tools/call\", Action::\"tools/list\"]"),
    ("action", '>', "CALLS"),
    ("resource == Tool::\"crm/lookup\"", '>', "LOOKUP"),
    // The group itself is nothing that is asked for.
    ("action == Action::\"tools/call\"", '|', "LOOKUP"),
    // Methods are on what they are on.
    ("LIST", '=', "LIST & resource is Server"),
    ("LIST & IN_CRM", '=', "LIST & resource == Server::\"crm\""),
    ("READ & IN_CRM", '>', "READ & resource == Resource::\"crm/file:///a\""),
    ("READ & IN_CRM", '|', "READ & resource == Resource::\"payments/file:///a\""),
    ("CALLS", '|', "LIST"),
    // Who is in what is a fact; of which type whatever is in it can be is none.
    ("principal is Instance & CALLS", '>', "principal in Agent::\"a\" & CALLS"),
    ("principal is Instance & CALLS", '>', "principal in Team::\"t\" & LOOKUP"),
    ("principal is Person & CALLS", '>', "principal in Group::\"g\" & CALLS"),
    ("principal in Group::\"g\" & CALLS", '=', "principal is Person in Group::\"g\" & CALLS"),
    ("principal in Group::\"g\" & CALLS", '|', "principal == Person::\"p\" & CALLS"),
    ("principal in Person::\"p\" & CALLS", '=', "principal == Person::\"p\" & CALLS"),
    ("principal is Person & ADD", '=', "ADD"),
];

const WORDS: [(&str, &str); 7] = [
    ("LOOKUP_OR_REFUND", "action in [Action::\"crm/lookup\", Action::\"payments/refund\"]"),
    ("CALLS", "action in Action::\"tools/call\""),
    ("LOOKUP", "action == Action::\"crm/lookup\""),
    ("REFUND", "action == Action::\"payments/refund\""),
    ("LIST", "action == Action::\"tools/list\""),
    ("READ", "action == Action::\"resources/read\""),
    ("ADD", "action == Action::\"person/add\""),
];

fn parsed(text: &str) -> ScopeOf {
    let Ok(policy) = parse(&format!("permit ({text});")) else { panic!("{text}") };
    ScopeOf::new(&policy)
}

/// The scope of a row: what it does not say is anything.
fn scope(row: &str) -> ScopeOf {
    let in_crm = row.replace("IN_CRM", "resource in Server::\"crm\"");
    let text = WORDS.iter().fold(in_crm, |text, (word, meant)| text.replace(word, meant));
    let part =
        |word: &'static str| text.split(" & ").find(|it| it.starts_with(word)).unwrap_or(word);
    parsed(&["principal", "action", "resource"].map(part).join(", "))
}

#[test]
fn scopes_are_compared_by_the_hierarchy() {
    let snapshot = snapshot("");
    let kinds = Kinds::of(&snapshot.vocabulary);
    let covers = |wide: &ScopeOf, narrow: &ScopeOf| {
        wide.covers(&Extent::of(narrow, (&snapshot.vocabulary, &kinds)))
    };
    for (a, expected, b) in ROWS {
        let (first, second) = (scope(a), scope(b));
        let found = match (covers(&first, &second), covers(&second, &first)) {
            (true, false) => '>',
            (false, true) => '<',
            (true, true) => '=',
            (false, false) => '|',
        };
        assert_eq!(found, *expected, "{a} and {b}");
    }
}

/// Of all scopes of which the random sets are made.
#[test]
fn what_covers_a_scope_matches_what_it_does() {
    let snapshot = snapshot("");
    let kinds = Kinds::of(&snapshot.vocabulary);
    let mut scopes = Vec::new();
    for principal in PRINCIPALS {
        for action in ACTIONS {
            scopes.extend(
                RESOURCES.map(|resource| parsed(&format!("{principal}, {action}, {resource}"))),
            );
        }
    }
    let extents = scopes.iter().map(|it| Extent::of(it, (&snapshot.vocabulary, &kinds)));
    let extents: Vec<_> = extents.collect();
    let cases = [
        Case::call("payments/refund", json!({})),
        Case::call("crm/lookup", json!({ "id": 5 })),
        Case::method("tools/list", "crm"),
    ];
    let with = |case: &Case| case.clone().on_behalf_of(person("carla", &["clerks", "guests"]));
    let asked: Vec<_> = cases.iter().map(with).collect();
    let mut matched = vec![0_u32; scopes.len()];
    for case in &asked {
        let world = World::of(&case.request, &case.facts(), &Labels::default());
        let action = &snapshot.vocabulary.actions[case.request.action.as_str()].placed;
        for principal in world.subject.iter().chain([&world.actor]) {
            let asked = Asked { principal, action, resource: &world.resource };
            for (bits, scope) in matched.iter_mut().zip(&scopes) {
                *bits = (*bits << 1) | u32::from(scope.matches(&asked));
            }
        }
    }
    let mut covered = 0;
    for (wide, by_wide) in scopes.iter().zip(&matched) {
        for ((extent, by_narrow), narrow) in extents.iter().zip(&matched).zip(&scopes) {
            if wide.covers(extent) {
                covered += 1;
                assert_eq!(by_narrow & !by_wide, 0, "{wide:?} does not cover {narrow:?}");
            }
        }
    }
    assert!(covered > 1_000, "{covered}");
}
