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
        expect!["policy `all`: permits everything to everybody"],
    );
    check(
        r#"@id("wide") @description("W") permit (principal, action in Action::"tools/call", resource in Server::"crm");
           @id("narrow") @description("N") permit (principal, action in Action::"tools/call", resource in Server::"crm")
           when { context.depth == 0 };"#,
        expect!["policy `narrow`: is shadowed: `wide` applies wherever it does"],
    );
    check(
        r#"@id("never") @description("F") forbid (principal, action == Action::"payments/refund", resource);
           @id("dead") @description("D") permit (principal, action == Action::"payments/refund", resource);
           @id("plain") @obligation("redact:x") permit (principal, action == Action::"crm/lookup", resource);"#,
        expect![[r#"
            policy `dead`: is unreachable: `never` forbids all that it permits
            policy `plain`: has no `@description`
            policy `plain`: owes an obligation that nothing discharges: it is never begun"#]],
    );
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
            "no forbid guards `payments/refund`, which can do more than read: whatever a permit misses is done"
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
    let same = || expect!["policy `narrow`: is shadowed: `wide` applies wherever it does"];
    idle(["permit", "permit"], [crm, lookup], same());
    idle(["forbid", "forbid"], [crm, lookup], same());
    idle(["permit", "permit"], [lookup, crm], expect![""]);
    idle(["permit", "forbid"], [crm, lookup], expect![""]);
    let dead = expect!["policy `narrow`: is unreachable: `wide` forbids all that it permits"];
    idle(["forbid", "permit"], [crm, lookup], dead);
    // It names the tool, without which nobody could call it.
    let every = r#"action in Action::"tools/call", resource is Tool"#;
    idle(["permit", "permit"], [every, lookup], expect![""]);
    idle(["forbid", "forbid"], [every, lookup], same());
    let listing = r#"action in [Action::"tools/list", Action::"prompts/list"], resource"#;
    let tools = r#"action == Action::"tools/list", resource in Server::"crm""#;
    idle(["permit", "permit"], [listing, tools], same());
}
