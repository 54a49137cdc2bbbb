//! What is doubtful in a set that compiles.

use std::collections::{BTreeMap, BTreeSet};

use expect_test::{Expect, expect};
use model::Harm;

use super::fixtures::{snapshot, tool_ref};

/// What is found in `policies`, where `payments/refund` moves money and every other tool reads.
fn check(policies: &str, expected: Expect) {
    let harm = BTreeMap::from([(tool_ref("payments/refund"), BTreeSet::from([Harm::MovesMoney]))]);
    let found = snapshot(policies).lint(&harm);
    let shown = found.iter().map(ToString::to_string);
    let own: Vec<_> = shown.filter(|it| !it.contains("no permit names")).collect();
    expected.assert_eq(&own.join("\n"));
}

#[test]
fn a_set_that_says_what_it_means_has_no_findings() {
    check(
        r#"@id("a") @description("Refunds") permit (principal, action == Action::"payments/refund", resource)
           when { context.depth == 0 };
           @id("b") @description("Guard") forbid (principal, action == Action::"payments/refund", resource)
           when { context.depth > 1 };"#,
        expect![[""]],
    );
}

#[test]
fn everything_to_everybody_idle_policies_and_unguarded_tools_are_found() {
    check(
        r#"@id("all") @description("All") permit (principal, action, resource);"#,
        expect![
            "test.cedar:1: policy `all`: permits everything to everybody: say in its scope to whom, what, or of what"
        ],
    );
    check(
        r#"@id("wide") @description("W") permit (principal, action in Action::"tools/call", resource in Server::"crm");
           @id("narrow") @description("N") permit (principal, action in Action::"tools/call", resource in Server::"crm")
           when { context.depth == 0 };"#,
        expect![
            "test.cedar:2: policy `narrow`: is shadowed: `wide` applies wherever it does; take this out, or narrow that"
        ],
    );
    check(
        r#"@id("never") @description("F") forbid (principal, action == Action::"payments/refund", resource);
           @id("dead") @description("D") permit (principal, action == Action::"payments/refund", resource);
           @id("plain") @obligation("redact:x") permit (principal, action == Action::"crm/lookup", resource);"#,
        expect![[r#"
            test.cedar:2: policy `dead`: is unreachable: `never` forbids all that it permits; narrow that, or take this out
            test.cedar:3: policy `plain`: has no `@description`: say what it is for
            test.cedar:3: policy `plain`: owes an obligation that nothing discharges: it is never begun, so take `@obligation` out"#]],
    );
}

/// Whatever way a permit says that it has no bound: by types that all have who act, or that all tools have, or by a
/// condition that is always met.
#[test]
fn what_permits_everything_to_everybody_is_found_in_other_words() {
    let check = |scope: &str, conditions: &str, what: Option<&str>| {
        let policies = format!(r#"@id("it") @description("I") permit ({scope}) {conditions};"#);
        let found = snapshot(&policies).lint(&BTreeMap::new());
        let found = found.iter().find(|it| it.message.starts_with("permits "));
        let expected = what.map(|what| format!("permits {what} to everybody: say in its scope "));
        match (found, expected) {
            (Some(found), Some(expected)) => {
                assert!(found.message.starts_with(&expected), "{found}");
            }
            (found, expected) => assert_eq!(found.map(ToString::to_string), expected, "{scope}"),
        }
    };
    let all = "principal, action, resource";
    let calls = r#"principal, action in Action::"tools/call", resource"#;
    for conditions in ["", "when { true }", "when { true && true } unless { false }"] {
        check(all, conditions, Some("everything"));
        check("principal is Instance, action, resource", conditions, Some("everything"));
        check("principal is Person, action, resource", conditions, Some("everything"));
        check(calls, conditions, Some("every call"));
        check(&format!("{calls} is Tool"), conditions, Some("every call"));
        check("principal, action, resource is Tool", conditions, Some("every call"));
        check(&calls.replace("principal", "principal is Instance"), conditions, Some("every call"));
        // What of people is so wide leaves it to what is permitted to those who act on their behalf.
        check(&calls.replace("principal", "principal is Person"), conditions, None);
        let listing = calls
            .replace("in ", "in [Action::\"tools/list\", ")
            .replace(", resource", "], resource");
        check(&listing, conditions, Some("every call"));
        check(r#"principal in Agent::"billing", action, resource"#, conditions, None);
        check(&format!(r#"{calls} in Server::"crm""#), conditions, None);
        check(r#"principal, action == Action::"tools/list", resource"#, conditions, None);
        check("principal is Directory, action, resource", conditions, None);
    }
    let by_nobody_else = "when { context has depth && context.depth == 0 }";
    for conditions in ["when { false }", "unless { true }", by_nobody_else] {
        check(all, conditions, None);
    }
}

/// What can do more than read is guarded by a forbid that could match it, whatever it looks at; not by one that is
/// only observed, or of something else. What only reads needs none.
#[test]
fn what_can_do_more_than_read_and_no_forbid_guards_is_found() {
    let permits = r#"@id("p") @description("P") permit (principal, action in Action::"tools/call", resource in Server::"payments")
           when { context.depth == 0 };
           @id("c") @description("C") permit (principal, action == Action::"crm/lookup", resource)
           when { context.depth == 0 };"#;
    let guard = |head: &str, scope: &str| {
        format!(
            r#"{permits} @id("g") @description("G") {head} forbid (principal, {scope}) when {{ context.depth > 1 }};"#
        )
    };
    let unguarded = || {
        expect![
            "test.cedar:1: no forbid guards `payments/refund`, which can do more than read: whatever a permit misses is done; forbid what must never be"
        ]
    };
    check(permits, unguarded());
    let it = r#"action == Action::"payments/refund", resource"#;
    check(&guard(r#"@mode("observe")"#, it), unguarded());
    check(&guard("", r#"action == Action::"crm/lookup", resource"#), unguarded());
    check(&guard("", it), expect![""]);
    let server = r#"action in Action::"tools/call", resource in Server::"payments""#;
    check(&guard("", server), expect![""]);
}

/// A forbid over all that does more than read guards no tool in particular: what it looks at has to be more than who acts
/// in what circumstances, or what the tool can do.
#[test]
fn what_is_forbidden_of_everything_in_some_circumstances_guards_nothing_in_particular() {
    let unguarded = "no forbid guards `payments/refund`, which can do more than read: whatever a permit misses is done; \
                     forbid what must never be";
    let starter = r#"resource.harm != ["reads-data"] && !context.confirmed"#;
    for (condition, is_guarded) in [
        (starter, false),
        (r#"context.risk == "high""#, false),
        (r#"resource.harm != ["reads-data"] && context.binding == "none""#, false),
        (r#"resource.harm.contains("runs-code") && context.depth > 1"#, false),
        (r#"resource.harm.contains("moves-money") && context.binding == "none""#, true),
        (r#"resource.harm != ["reads-data"] && context.depth > 1"#, true),
        ("!context.session.labels.isEmpty()", true),
    ] {
        let policies = format!(
            r#"@id("p") @description("P") permit (principal, action in Action::"tools/call", resource in Server::"payments")
               when {{ context.depth == 0 }};
               @id("g") @description("G") forbid (principal, action in Action::"tools/call", resource is Tool)
               when {{ {condition} }};"#
        );
        let harm =
            BTreeMap::from([(tool_ref("payments/refund"), BTreeSet::from([Harm::MovesMoney]))]);
        let found = snapshot(&policies).lint(&harm);
        let is_found = found.iter().any(|it| it.message == unguarded);
        assert_eq!(!is_found, is_guarded, "{condition}: {found:?}");
    }
}

/// Of two with the same conditions the second is idle, and a permit is dead where a forbid says what it says.
#[test]
fn twins_are_found_by_their_conditions() {
    let pair = |effects: [&str; 2], conditions: [&str; 2], expected: Expect| {
        let [first, second] = effects;
        let [one, other] = conditions;
        let scope = r#"principal, action in Action::"tools/call", resource in Server::"crm""#;
        check(
            &format!(
                r#"@id("one") @description("O") {first} ({scope}) when {{ {one} }};
                   @id("two") @description("T") {second} ({scope}) when {{ {other} }};"#
            ),
            expected,
        );
    };
    let same = ["context.depth == 0", "context.depth  ==  0"];
    let idle = || {
        expect![
            "test.cedar:2: policy `two`: is shadowed: `one` applies wherever it does; take this out, or narrow that"
        ]
    };
    pair(["permit", "permit"], same, idle());
    pair(["forbid", "forbid"], same, idle());
    let dead = expect![
        "test.cedar:2: policy `two`: is unreachable: `one` forbids all that it permits; narrow that, or take this out"
    ];
    pair(["forbid", "permit"], same, dead);
    pair(["permit", "permit"], ["context.depth == 0", "context.depth == 1"], expect![""]);
}

/// The idle one is found whatever way it says what another says of a group, or a server, that its tools are in.
#[test]
fn idle_policies_are_found_by_the_hierarchy() {
    let pair = |[first, second]: [&str; 2], [wide, narrow]: [&str; 2]| {
        format!(
            r#"@id("wide") @description("W") {first} (principal, {wide});
               @id("narrow") @description("N") {second} (principal, {narrow}) when {{ context.depth == 0 }};"#
        )
    };
    let idle = |effects, scopes, expected| check(&pair(effects, scopes), expected);
    let crm = r#"action in Action::"tools/call", resource in Server::"crm""#;
    let lookup = r#"action == Action::"crm/lookup", resource"#;
    let same = || {
        expect![
            "test.cedar:2: policy `narrow`: is shadowed: `wide` applies wherever it does; take this out, or narrow that"
        ]
    };
    idle(["permit", "permit"], [crm, lookup], same());
    idle(["forbid", "forbid"], [crm, lookup], same());
    idle(["permit", "permit"], [lookup, crm], expect![""]);
    idle(["permit", "forbid"], [crm, lookup], expect![""]);
    let dead = expect![
        "test.cedar:2: policy `narrow`: is unreachable: `wide` forbids all that it permits; narrow that, or take this out"
    ];
    idle(["forbid", "permit"], [crm, lookup], dead);
    // It names the tool, without which nobody could call it.
    let every = r#"action in Action::"tools/call", resource is Tool"#;
    let open = expect![
        "test.cedar:1: policy `wide`: permits every call to everybody: say in its scope to whom, what, or of what"
    ];
    idle(["permit", "permit"], [every, lookup], open);
    idle(["forbid", "forbid"], [every, lookup], same());
    let listing = r#"action in [Action::"tools/list", Action::"prompts/list"], resource"#;
    let tools = r#"action == Action::"tools/list", resource in Server::"crm""#;
    idle(["permit", "permit"], [listing, tools], same());
}
