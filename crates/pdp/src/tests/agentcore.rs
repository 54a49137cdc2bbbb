//! Policies as they are written for `AgentCore`, and what they are here.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use serde_json::json;

use super::fixtures::{Case, bundle, person, show, tool_ref};
use crate::agentcore::{Claim, import, usual_claims};
use crate::{Snapshot, ToolSchema};

/// A gateway, as it is named there.
const GATEWAY: &str =
    r#"AgentCore::Gateway::"arn:aws:bedrock-agentcore:us-west-2:123456789012:gateway/shop""#;

fn files(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("shop.cedar".to_owned(), text.replace("GATEWAY", GATEWAY))])
}

/// With the usual claims, and those of the tiers of customers.
fn imported(text: &str) -> Result<String, String> {
    let mut claims = usual_claims();
    claims.insert("customer_tier".to_owned(), Claim::Group);
    import(&files(text), &claims).map_err(|errors| errors.to_string())
}

/// The tools of the gateway, as they are here.
fn snapshot(policies: &str) -> Snapshot {
    let schema = |properties: serde_json::Value, required: &[&str]| ToolSchema {
        input_schema: json!({ "type": "object", "properties": properties, "required": required }),
    };
    let mut bundle = bundle(policies);
    let refund = json!({ "orderId": { "type": "string" }, "amount": { "type": "integer" } });
    bundle.tools.extend([
        (tool_ref("refund-tool/process_refund"), schema(refund, &["orderId", "amount"])),
        (
            tool_ref("shipping-api/calculate_rate"),
            schema(json!({ "country": { "type": "string" } }), &["country"]),
        ),
        (
            tool_ref("order-api/create_order"),
            schema(json!({ "shippingAddress": { "type": "string" } }), &[]),
        ),
        (
            tool_ref("payment-api/transfer"),
            schema(json!({ "amount": { "type": "number" } }), &["amount"]),
        ),
    ]);
    Snapshot::compile(bundle).expect("what is imported compiles with the tools")
}

/// What becomes of `text`, which then compiles.
fn check(text: &str, expected: Expect) {
    let said = imported(text).unwrap_or_else(|errors| panic!("{errors}"));
    let findings = snapshot(&said).lint(&BTreeMap::new());
    let of_policies = findings.iter().filter(|it| it.policy.is_some());
    assert_eq!(of_policies.collect::<Vec<_>>(), Vec::<&crate::Finding>::new());
    expected.assert_eq(&said);
}

/// Why `text` is refused: of each reason the place, and some of its words.
fn refused(text: &str, reasons: &[(usize, &str)]) {
    let errors = imported(text).expect_err("it cannot be said");
    assert_eq!(errors.lines().count(), reasons.len(), "{errors}");
    for (told, (line, words)) in errors.lines().zip(reasons) {
        assert!(told.starts_with(&format!("shop.cedar:{line}: ")), "{told}");
        assert!(told.contains(words), "{told}: {words}");
    }
}

#[test]
fn a_claim_is_what_is_known_of_the_person_and_arguments_stay() {
    check(
        r#"
// Refunds by John, up to 500
permit(
  principal is AgentCore::OAuthUser,
  action == AgentCore::Action::"RefundTool___process_refund",
  resource == GATEWAY
)
when {
  principal.hasTag("username") &&
  principal.getTag("username") == "John" &&
  context.input.amount < 500
};"#,
        expect![[r#"
            // Imported from AgentCore. It rests on this:
            // - the gateway `arn:aws:bedrock-agentcore:us-west-2:123456789012:gateway/shop` is this deployment
            // - the target `RefundTool` is the server `refund-tool`
            // - who has the claim `username` with the value `John` is the person `John`
            @id("shop")
            @description("Refunds by John, up to 500")
            permit (
              principal,
              action == Action::"refund-tool/process_refund",
              resource
            )
            when
            {
              (context has subject) &&
              (context.subject == Person::"John") &&
              (context.input.amount < 500)
            };
        "#]],
    );
    check(
        r#"permit(
  principal is AgentCore::OAuthUser,
  action in [AgentCore::Action::"RefundTool__process_refund", AgentCore::Action::"PaymentAPI___transfer"],
  resource == GATEWAY
)
when { principal.hasTag("role") && (principal.getTag("role") == "admin" || principal.getTag("role") == "manager") }
unless { principal.hasTag("department") && ["legal", "Human Resources"].contains(principal.getTag("department")) };"#,
        expect![[r#"
            // Imported from AgentCore. It rests on this:
            // - the gateway `arn:aws:bedrock-agentcore:us-west-2:123456789012:gateway/shop` is this deployment
            // - the target `PaymentAPI` is the server `payment-api`
            // - the target `RefundTool` is the server `refund-tool`
            // - who has the claim `department` with the value `Human Resources` is in the unit `Human Resources`, and nobody else is
            // - who has the claim `department` with the value `legal` is in the unit `legal`, and nobody else is
            // - who has the claim `role` with the value `admin` is in the group `admin`, and nobody else is
            // - who has the claim `role` with the value `manager` is in the group `manager`, and nobody else is
            @id("shop")
            @description("From line 1 of `shop.cedar`")
            permit (
              principal,
              action in
                [Action::"refund-tool/process_refund", Action::"payment-api/transfer"],
              resource
            )
            when
            {
              (context has subject) &&
              ((context.subject in Group::"admin") ||
               (context.subject in Group::"manager")) &&
              (!((context.subject has unit) &&
                ((context.subject.unit == "legal") ||
                 (context.subject.unit == "Human Resources"))))
            };
        "#]],
    );
}

#[test]
fn what_is_asked_of_arguments_time_and_whole_targets_stays() {
    check(
        r#"permit(
  principal is AgentCore::OAuthUser,
  action == AgentCore::Action::"ShippingAPI___calculate_rate",
  resource == GATEWAY
)
when {
  // In North America.
  ["US", "CA", "MX"].contains(context.input.country)
}; // For now.
// Orders need an address, and are taken until 2027.
permit(principal, action == AgentCore::Action::"OrderAPI___create_order", resource == GATEWAY)
when { context.input has shippingAddress }
unless { context.system.now > datetime("2027-01-01T00:00:00Z") };

@id("small-transfers")
permit(principal, action == AgentCore::Action::"PaymentAPI___transfer", resource is AgentCore::Gateway)
when { context.input.amount.lessThan(decimal("10.5")) && !(context.input.amount.lessThan(decimal("0.0"))) };

permit(principal, action in AgentCore::Action::"RefundTool", resource == GATEWAY);"#,
        expect![[r#"
            // Imported from AgentCore. It rests on this:
            // - the gateway `arn:aws:bedrock-agentcore:us-west-2:123456789012:gateway/shop` is this deployment
            // - the target `OrderAPI` is the server `order-api`
            // - the target `PaymentAPI` is the server `payment-api`
            // - the target `RefundTool` is the server `refund-tool`
            // - the target `ShippingAPI` is the server `shipping-api`
            @id("shop-1")
            @description("From line 1 of `shop.cedar`")
            permit (
              principal,
              action == Action::"shipping-api/calculate_rate",
              resource
            )
            when { ["US", "CA", "MX"].contains(context.input.country) };

            @id("shop-2")
            @description("Orders need an address, and are taken until 2027.")
            permit (
              principal,
              action == Action::"order-api/create_order",
              resource
            )
            when
            {
              (context.input has shippingAddress) &&
              (!(!(context.now <= datetime("2027-01-01T00:00:00Z"))))
            };

            @id("small-transfers")
            @description("From line 15 of `shop.cedar`")
            permit (
              principal,
              action == Action::"payment-api/transfer",
              resource
            )
            when
            {
              context.input.amount.lessThan(decimal("10.5")) &&
              (!context.input.amount.lessThan(decimal("0.0")))
            };

            @id("shop-4")
            @description("From line 19 of `shop.cedar`")
            permit (
              principal,
              action in [Action::"tools/call"],
              resource in Server::"refund-tool"
            );
        "#]],
    );
}

#[test]
fn a_forbid_of_everything_stops_calls_and_no_administration() {
    check(
        "forbid(principal, action, resource);",
        expect![[r#"
        // Imported from AgentCore.
        @id("shop")
        @description("From line 1 of `shop.cedar`")
        forbid (
          principal,
          action in [Action::"tools/call"],
          resource
        );
    "#]],
    );
    check(
        r#"forbid(principal == AgentCore::OAuthUser::"mallory", action, resource is AgentCore::Gateway);
           forbid(principal, action, resource)
           when { ((principal is AgentCore::OAuthUser) || (principal is AgentCore::IamEntity)) && principal.id == "eve" };"#,
        expect![[r#"
            // Imported from AgentCore. It rests on this:
            // - who has the claim `sub` with the value `eve` is the person `eve`
            // - who has the claim `sub` with the value `mallory` is the person `mallory`
            @id("shop-1")
            @description("From line 1 of `shop.cedar`")
            forbid (
              principal,
              action in [Action::"tools/call"],
              resource
            )
            when { (context has subject) && (context.subject == Person::"mallory") };

            @id("shop-2")
            @description("From line 2 of `shop.cedar`")
            forbid (
              principal,
              action in [Action::"tools/call"],
              resource
            )
            when { (context has subject) && (context.subject == Person::"eve") };
        "#]],
    );
}

/// What is answered on behalf of a person, of this group and unit, or of nobody.
fn answer(said: &Snapshot, who: Option<(&str, &str, Option<&str>)>, amount: i64) -> String {
    let mut case = Case::call("payments/refund", json!({ "amount": amount }));
    if let Some((id, group, unit)) = who {
        let mut person = person(id, &[group]);
        person.unit = unit.map(|unit| unit.parse().expect("a unit"));
        case = case.on_behalf_of(person);
    }
    show(&case.decide(said)).split(':').next().unwrap_or_default().to_owned()
}

/// What is imported answers as it did there.
#[test]
fn what_is_imported_decides_as_it_did() {
    let said = imported(
        r#"permit(principal is AgentCore::OAuthUser, action == AgentCore::Action::"payments___refund", resource == GATEWAY)
           when {
             principal.hasTag("customer_tier") && principal.getTag("customer_tier") == "gold" &&
             principal.hasTag("department") && principal.getTag("department") != "legal" &&
             context.input has amount && context.input.amount < 500
           };
           forbid(principal, action, resource)
           when { principal.hasTag("username") && principal.getTag("username") == "mallory" };"#,
    );
    let said = snapshot(&said.expect("it can be said"));
    for (who, amount, expected) in [
        (Some(("john", "gold", Some("sales"))), 499, "permit by shop-1 [person yes, instance yes]"),
        (Some(("john", "gold", Some("sales"))), 500, "deny (not_granted)"),
        (Some(("john", "silver", Some("sales"))), 1, "deny (not_granted)"),
        (Some(("john", "gold", Some("legal"))), 1, "deny (not_granted)"),
        // Who has no such claim.
        (Some(("john", "gold", None)), 1, "deny (not_granted)"),
        (Some(("mallory", "gold", Some("sales"))), 1, "deny (forbidden)"),
        // On whose behalf is not known.
        (None, 1, "deny (not_granted)"),
    ] {
        assert_eq!(answer(&said, who, amount), expected, "{who:?} {amount}");
    }
}

#[test]
fn who_acts_for_nobody_is_not_alice_and_is_permitted_nothing_by_that() {
    const PERMIT: &str =
        r#"permit(principal, action == AgentCore::Action::"payments___refund", resource)"#;
    const FORBID: &str = "; forbid(principal, action, resource)";
    let (forbidden, not_granted) = ("deny (forbidden)", "deny (not_granted)");
    for (rest, expected) in [
        (
            format!(r#"{FORBID} when {{ principal.id != "alice" }};"#),
            ["permit", forbidden, forbidden],
        ),
        (
            format!(r#"{FORBID} when {{ principal != AgentCore::OAuthUser::"alice" }};"#),
            ["permit", forbidden, forbidden],
        ),
        (r#" when { principal.id != "alice" };"#.to_owned(), [not_granted, "permit", not_granted]),
        (
            r#" unless { principal.id != "alice" };"#.to_owned(),
            ["permit", not_granted, not_granted],
        ),
        (
            r#" when { (principal.id != "alice") == false };"#.to_owned(),
            ["permit", not_granted, not_granted],
        ),
    ] {
        let said = snapshot(&imported(&format!("{PERMIT}{rest}")).expect("it can be said"));
        let alice_bob_nobody = [Some("alice"), Some("bob"), None];
        for (who, expected) in alice_bob_nobody.into_iter().zip(expected) {
            let told = answer(&said, who.map(|id| (id, "staff", None)), 1);
            assert!(told.starts_with(expected), "{rest} {who:?}: {told}");
        }
    }
}

#[test]
fn methods_beside_all_tools_stay() {
    let said = imported(
        r#"permit(principal, action == AgentCore::Action::"tools/list", resource);
           forbid(principal, action in [AgentCore::Action::"CallTool", AgentCore::Action::"tools/list"], resource);"#,
    );
    let said = said.expect("it can be said");
    assert!(said.contains(r#"action in [Action::"tools/call", Action::"tools/list"]"#), "{said}");
    let told = show(&Case::method("tools/list", "crm").decide(&snapshot(&said)));
    assert!(told.starts_with("deny (forbidden)"), "{told}");
}

/// What cannot be said, each policy with some words of why.
const BEYOND: &[(&str, &str)] = &[
    (r#"permit(principal, action, resource);"#, "names tools or servers"),
    (
        r#"permit(principal, action in AgentCore::Action::"CallTool", resource);"#,
        "names tools or servers",
    ),
    (r#"forbid(principal is AgentCore::IamEntity, action, resource);"#, "signature of AWS"),
    (
        r#"forbid(principal == AgentCore::IamEntity::"arn:aws:sts::1:assumed-role/Admin", action, resource);"#,
        "signature of AWS",
    ),
    (r#"forbid(principal is Other::User, action, resource);"#, "only `AgentCore::OAuthUser`"),
    (
        r#"forbid(principal, action == AgentCore::Action::"refund", resource);"#,
        "expected `TARGET___TOOL`",
    ),
    (
        r#"forbid(principal, action == Other::Action::"A___b", resource);"#,
        "only `AgentCore::Action`",
    ),
    (
        r#"forbid(principal, action in [AgentCore::Action::"A", AgentCore::Action::"B___c"], resource);"#,
        "each a policy of its own",
    ),
    (
        r#"forbid(principal, action == AgentCore::Action::"tools___x", resource);"#,
        "no server can be called `tools`",
    ),
    (
        r#"forbid(principal, action == AgentCore::Action::"ä___x", resource);"#,
        "no server can be called",
    ),
    (
        r#"forbid(principal, action == AgentCore::Action::"a___b/c", resource);"#,
        "cannot be called so",
    ),
    (r#"forbid(principal, action, resource == Other::Gateway::"x");"#, "only `AgentCore::Gateway`"),
    (
        r#"forbid(principal, action, resource) when { principal.id like "*:444455556666:*" };"#,
        "a part of the claim `sub`",
    ),
    (
        r#"forbid(principal, action, resource) when { principal.hasTag("scope") && principal.getTag("scope") like "*refund*" };"#,
        "of the claim `scope` it is not known",
    ),
    (
        r#"forbid(principal, action, resource) when { principal.hasTag("role") && principal.getTag("role") != "admin" };"#,
        "not for one value",
    ),
    (
        r#"forbid(principal, action, resource) unless { principal.hasTag("role") };"#,
        "not for one value",
    ),
    (
        r#"forbid(principal, action, resource) when { principal.hasTag("role") && (context.input.a || principal.getTag("role") == "x") };"#,
        "not for one value",
    ),
    (
        r#"forbid(principal, action, resource) when { principal.hasTag("role") && principal.getTag("role") == "The Boss" };"#,
        "is not a group name",
    ),
    (
        r#"forbid(principal, action, resource) when { principal.getTag("username") == context.input.customer };"#,
        "with what is no text",
    ),
    (
        r#"forbid(principal, action, resource) when { [context.input.a].contains(principal.id) };"#,
        "no list of texts",
    ),
    (
        r#"forbid(principal, action, resource) when { context.output.score > 1 };"#,
        "members of `context.input`",
    ),
    (
        r#"forbid(principal, action, resource) when { context.input == {} };"#,
        "members of `context.input`",
    ),
    (
        r#"forbid(principal, action, resource) when { context has output };"#,
        "members of `context.input`",
    ),
    (
        r#"forbid(principal, action, resource) when { principal.name == "x" };"#,
        "of `principal` it can look at",
    ),
    (
        r#"forbid(principal, action, resource) when { resource == AgentCore::Gateway::"x" };"#,
        "belong into the scope",
    ),
    (
        r#"permit(principal, action == AgentCore::Action::"A___b", resource) unless { principal.getTag("department") == "legal" };"#,
        "ask `principal.hasTag(\"department\")` first",
    ),
    (
        r#"forbid(principal, action, resource) when { ["x"].contains(principal.getTag("role")) && principal.hasTag("role") };"#,
        "ask `principal.hasTag(\"role\")` first",
    ),
    (
        r#"forbid(principal, action, resource) when { (context.input.a || principal.hasTag("department")) && principal.getTag("department") like "x*" };"#,
        "ask `principal.hasTag(\"department\")` first",
    ),
    (r#"@mode("observe") forbid(principal, action, resource);"#, "`@mode` means nothing there"),
    (r#"@remedy("approval") forbid(principal, action, resource);"#, "take it out"),
    (r#"@obligation("notify:x") forbid(principal, action, resource);"#, "take it out"),
    (r#"@property("never-permits") forbid(principal, action, resource);"#, "take it out"),
    (r#"@unknown("x") forbid(principal, action, resource);"#, "unknown annotation `@unknown`"),
    (r#"@id("no such") forbid(principal, action, resource);"#, "is not a policy id"),
    (r#"forbid(principal == ?principal, action, resource);"#, "template"),
    (r#"forbid(principal, action"#, "unexpected end"),
];

#[test]
fn what_cannot_be_said_is_refused_with_its_place() {
    for (policy, why) in BEYOND {
        let whole = format!("// first\n{policy}");
        let errors = imported(&whole).expect_err(policy);
        let told: Vec<_> = errors.lines().collect();
        assert!(told.iter().all(|it| it.starts_with("shop.cedar:2: ")), "{policy}: {errors}");
        assert!(told.iter().any(|it| it.contains(why)), "{policy}: {errors}");
    }
    // All of it is told, and nothing of it is imported.
    refused(
        r#"permit(principal, action == AgentCore::Action::"A___b", resource == GATEWAY);
forbid(principal, action, resource) when temporal { formerly within 1h AgentCore::Action::"A___b" };
forbid(principal, action, resource == AgentCore::Gateway::"another");
permit(principal, action == AgentCore::Action::"a___b", resource);"#,
        &[
            (2, "unexpected token"),
            (2, "beyond Cedar"),
            (3, "and others are of"),
            (4, "would be one server `a`"),
        ],
    );
    refused(
        r#"@id("x") forbid(principal, action, resource);
@id("x") forbid(principal, action, resource);"#,
        &[(2, "policy `x`: `@id` is also at shop.cedar:1")],
    );
    let none = import(&files("// nothing\n"), &usual_claims()).expect_err("it holds nothing");
    assert_eq!(none.to_string(), "shop.cedar: holds no policy");
}
