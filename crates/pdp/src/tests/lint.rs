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
