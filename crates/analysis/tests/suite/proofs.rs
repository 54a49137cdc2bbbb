//! Each kind of answer, on sets that are small enough to see that it is right.

use analysis::Why;

use crate::support::{Asked, answered, check, report, why};

/// The money that may be paid back, up to `limit`, by whoever has a host that vouches.
fn refunds(limit: &str) -> String {
    format!(
        r#"@id("refunds") permit (principal, action == Action::"payments/refund", resource)
        when {{ context.input.amount.lessThanOrEqual(decimal("{limit}")) && context.attestation == "host" }};"#
    )
}

const LOOKUP: &str =
    r#"@id("lookup") permit (principal, action == Action::"crm/lookup", resource);"#;
const FORBID: &str = r#"@id("calm") forbid (principal, action in Action::"tools/call", resource)
    when { context.risk == "high" };"#;

fn sets(of: &[&str]) -> String {
    of.join("\n")
}

#[tokio::test]
async fn a_widening_is_found_and_a_narrowing_is_proved() {
    let (small, large) = (refunds("100.0"), refunds("100.01"));
    let (small, large) = (sets(&[&small, LOOKUP, FORBID]), sets(&[&large, LOOKUP, FORBID]));
    let widened = Asked { set: &large, against: Some(&small), ..Asked::default() };
    check(widened, r#"Instance Action::"payments/refund" by refunds"#).await;
    assert!(answered(widened, &large).await.is_permitted);
    assert!(!answered(widened, &small).await.is_permitted);
    check(Asked { set: &small, against: Some(&large), ..Asked::default() }, "proved").await;
}

#[tokio::test]
async fn what_is_taken_out_of_a_set_widens_it_or_does_not() {
    let (with, without) = (sets(&[LOOKUP, FORBID]), LOOKUP.to_owned());
    let no_forbid = Asked { set: &without, against: Some(&with), ..Asked::default() };
    check(no_forbid, r#"Instance Action::"crm/lookup" by lookup"#).await;
    check(Asked { set: &with, against: Some(&without), ..Asked::default() }, "proved").await;
    // A forbid that another one covers is idle.
    let idle = r#"@id("idle") forbid (principal, action == Action::"crm/lookup", resource)
        when { context.risk == "high" && context.depth > 1 };"#;
    let more = sets(&[LOOKUP, FORBID, idle]);
    check(Asked { set: &with, against: Some(&more), ..Asked::default() }, "proved").await;
}

/// A policy that cannot be evaluated denies: without it, more is permitted.
#[tokio::test]
async fn taking_out_a_policy_that_can_fail_is_a_widening_that_is_not_overlooked() {
    let fails = r#"@id("fails") permit (principal, action == Action::"crm/lookup", resource)
        when { context.session.counters.calls + 1 > 0 };"#;
    let with = sets(&[LOOKUP, fails]);
    let asked = Asked { set: LOOKUP, against: Some(&with), ..Asked::default() };
    check(asked, "it rests on policy `fails`, which may not be evaluable").await;
}

/// A policy that looks at an argument without an exact value denies: without it, more is permitted.
#[tokio::test]
async fn looking_at_fewer_arguments_is_a_widening_that_is_not_overlooked() {
    let looks = r#"@id("looks") permit (principal in Agent::"billing", action == Action::"payments/refund", resource)
        when { context.input.amount.lessThan(decimal("1.0")) || true };"#;
    let looks_away = r#"@id("away") permit (principal in Agent::"billing", action == Action::"payments/refund", resource);"#;
    let asked = |set, against| Asked { set, against: Some(against), ..Asked::default() };
    let why = "where the argument `/amount` has no exact value the other set denies, as its policy `looks` looks at it";
    check(asked(looks_away, looks), why).await;
    check(asked(looks, looks_away), "proved").await;
    // Somebody else's policy is not asked.
    let other = looks.replace("billing", "other").replace("looks", "others");
    let (with_other, before) = (sets(&[looks_away, &other]), sets(&[looks, &other]));
    check(asked(&with_other, &before), why).await;
    let anybody =
        looks.replace(r#"principal in Agent::"billing""#, "principal").replace("permit", "forbid");
    let anybody = sets(&[looks_away, &anybody.replace("looks", "anybody")]);
    check(asked(&anybody, looks), "proved").await;
}

/// The scope that names a tool makes it callable, and so does more than it says.
#[tokio::test]
async fn naming_a_tool_is_a_widening() {
    let reading = r#"@id("reading") permit (principal, action in Action::"tools/call", resource is Tool)
        when { resource.harm == ["reads-data"] };"#;
    let never = r#"@id("never") permit (principal, action == Action::"crm/lookup", resource)
        when { context.depth > 8 };"#;
    let named = sets(&[reading, never]);
    let asked = Asked { set: &named, against: Some(reading), ..Asked::default() };
    check(asked, r#"Instance Action::"crm/lookup" by reading"#).await;
    check(Asked { set: reading, against: Some(&named), ..Asked::default() }, "proved").await;
}

#[tokio::test]
async fn sets_that_say_the_same_in_other_words_are_equivalent() {
    let one = r#"@id("one") permit (principal, action == Action::"crm/lookup", resource)
        when { context.risk == "low" || context.risk == "none" };"#;
    let other = r#"@id("other") permit (principal, action == Action::"crm/lookup", resource)
        unless { context.risk == "medium" || context.risk == "high" };"#;
    let asked =
        |set, against| Asked { set, against: Some(against), equivalent: true, ..Asked::default() };
    check(asked(one, other), "proved").await;
    // Less is no widening, but it is another set.
    let less = sets(&[
        other,
        FORBID,
        r#"@id("no") forbid (principal, action == Action::"crm/lookup", resource)
        when { context.binding == "none" };"#,
    ]);
    check(asked(&less, one), r#"Instance Action::"crm/lookup" by one"#).await;
}

#[tokio::test]
async fn a_policy_that_can_fail_is_found() {
    check(Asked { set: LOOKUP, ..Asked::default() }, "proved").await;
    let sum = r#"@id("sum") permit (principal, action == Action::"payments/refund", resource)
        when { context.input.times + 1 < 10 };"#;
    let asked = Asked { set: sum, ..Asked::default() };
    check(asked, r#"Instance Action::"payments/refund" by sum"#).await;
    assert_eq!(answered(asked, sum).await.errors.len(), 1);
    // What is bounded first cannot fail, and neither can what facts never are.
    let bounded = r#"@id("sum") permit (principal, action == Action::"payments/refund", resource)
        when { context.input.times < 10 && context.input.times > -10 && context.input.times * 7 + context.depth < 10 };"#;
    check(Asked { set: bounded, ..Asked::default() }, "proved").await;
}

#[tokio::test]
async fn a_property_holds_or_is_broken() {
    let refunds = refunds("50.0");
    let set = sets(&[&refunds, LOOKUP, FORBID]);
    let check = async |property: &str, expected: &str| {
        let asked = Asked { set: &set, properties: Some(property), ..Asked::default() };
        check(asked, expected).await;
    };
    let large = |limit: &str| {
        format!(
            r#"@id("it") @property("never-permits") forbid (principal, action in Action::"tools/call", resource is Tool)
            when {{ resource.harm.contains("moves-money") && !(context has approval) }}
            unless {{ context.input has amount && context.input.amount.lessThanOrEqual(decimal("{limit}")) }};"#
        )
    };
    check(&large("50.0"), "proved").await;
    check(&large("49.0"), r#"Instance Action::"payments/refund" by refunds"#).await;
    check(
        r#"@id("it") @property("always-permits") permit (principal, action == Action::"crm/lookup", resource)
        when { context.risk != "high" };"#,
        "proved",
    )
    .await;
    check(
        r#"@id("it") @property("always-permits") permit (principal, action == Action::"crm/lookup", resource);"#,
        r#"Instance Action::"crm/lookup" by calm"#,
    )
    .await;
}

/// An act on which a property cannot be evaluated it does not match: nothing is proved of that one.
#[tokio::test]
async fn a_property_that_can_fail_is_not_proved() {
    let refunds = |condition: &str| {
        format!(
            r#"@id("refunds") permit (principal, action == Action::"payments/refund", resource)
            when {{ {condition} }};"#
        )
    };
    let check = async |set: &str, property: &str, expected: &str| {
        check(Asked { set, properties: Some(property), ..Asked::default() }, expected).await;
    };
    let may_fail = "it rests on policy `it`, which may not be evaluable";
    let never = |condition: &str| {
        format!(
            r#"@id("it") @property("never-permits")
            forbid (principal, action == Action::"payments/refund", resource) when {{ {condition} }};"#
        )
    };
    // A thousand times that is no number.
    let (many, few) =
        (refunds("context.input.times > 9300000000000000"), refunds("context.input.times < 5"));
    check(&many, &never("context.input.times * 1000 > 5000"), may_fail).await;
    let bounded =
        "context.input.times > 5 && context.input.times < 50 && context.input.times * 1000 > 5000";
    check(&many, &never(bounded), "proved").await;
    let always =
        |condition: &str| never(condition).replace("never", "always").replace("forbid", "permit");
    check(&few, &always("context.input.times * 1000 < 5000"), may_fail).await;
    let bounded =
        "context.input.times > -5 && context.input.times < 50 && context.input.times * 1000 < 5000";
    check(&few, &always(bounded), "proved").await;
}

/// A property that is about nothing holds of every set: that is no proof, unless rules see to it.
#[tokio::test]
async fn what_matches_nothing_is_not_proved() {
    // By this set nearly everything that can be permitted is.
    let set = r#"@id("all") permit (principal, action, resource);
        @id("lookup") permit (principal, action == Action::"crm/lookup", resource);
        @id("refund") permit (principal, action == Action::"payments/refund", resource);"#;
    let check = async |property: &str, expected: &str| {
        let asked = Asked { set, properties: Some(property), ..Asked::default() };
        check(asked, expected).await;
    };
    let nothing = Why::MatchesNothing.to_string();
    let never = |condition: &str| {
        format!(
            r#"@id("it") @property("never-permits")
            forbid (principal, action in Action::"tools/call", resource is Tool) when {{ {condition} }};"#
        )
    };
    check(&never(r#"context.risk == "hihg""#), &nothing).await;
    check(&never(r#"resource.harm.contains("moves-mony")"#), &nothing).await;
    check(&never(r#"resource == Tool::"crm/lokup""#), &nothing).await;
    check(&never("context.depth > 1 && context.depth < 1"), &nothing).await;
    // The rules let nobody ask a policy about it.
    check(&never("!context.sponsor.active"), "guaranteed").await;
    check(&never("context.depth > 100"), "guaranteed").await;
    check(
        &never("!context.sponsor.active")
            .replace("Action::\"tools/call\"", "Action::\"crm/lookup\""),
        "guaranteed",
    )
    .await;
    // Nobody is of two agents.
    let both = r#"@id("it") @property("never-permits")
        forbid (principal in Agent::"reader", action in Action::"tools/call", resource is Tool)
        when { principal in Agent::"billing" };"#;
    check(both, &nothing).await;
    // Of what never is, all being permitted says nothing.
    let always = r#"@id("it") @property("always-permits") permit (principal, action == Action::"crm/lookup", resource)
        when { !context.sponsor.active };"#;
    check(always, &nothing).await;
}

/// Labels and schema decide too: the same question is not the same act under others.
#[tokio::test]
async fn sets_with_other_labels_are_not_held_against_each_other() {
    let labels =
        Some("labels: { private: Personal. }\ntools: { crm/lookup: { carries: [private] } }\n");
    let why = Why::Differs("labels".to_owned()).to_string();
    for equivalent in [false, true] {
        let same = Asked { set: LOOKUP, against: Some(LOOKUP), equivalent, ..Asked::default() };
        check(same, "proved").await;
        check(Asked { labels, ..same }, &why).await;
    }
    let report =
        report(Asked { set: LOOKUP, against: Some(LOOKUP), labels, ..Asked::default() }).await;
    let assumed = report.assumptions;
    assert_ne!(Some(assumed.content), assumed.against_content);
}

/// Budgets only deny: with those that hold back as much a set permits no more, whatever they are.
#[tokio::test]
async fn a_set_with_tighter_budgets_is_held_against_the_other() {
    let budget = |cap: u8| {
        let it = format!("match: {{}}, amount: calls, cap: {cap}, per: task");
        format!("budgets: {{ b: {{ description: x, {it} }} }}")
    };
    let (few, many) = (budget(5), budget(9));
    let [few, many] = [Some(few.as_str()), Some(many.as_str())];
    let asked = |budgets, equivalent| Asked {
        set: LOOKUP,
        against: Some(LOOKUP),
        equivalent,
        budgets,
        ..Asked::default()
    };
    let why = Why::Differs("budgets".to_owned()).to_string();
    for (budgets, is_tighter) in
        [([few, many], true), ([many, few], false), ([few, None], true), ([None, few], false)]
    {
        let expected = if is_tighter { "proved" } else { why.as_str() };
        check(asked(budgets, false), expected).await;
        check(asked(budgets, true), &why).await;
    }
    let assumed = report(asked([few, many], false)).await.assumptions;
    assert!(assumed.tighter.contains(pdp::BUDGETS_FILE), "{:?}", assumed.tighter);
    let alike = report(asked([few, few], true)).await.assumptions.tighter;
    assert!(alike.is_empty(), "{alike:?}");
    // What the policies permit beyond the other set is found all the same.
    let (small, large) = (refunds("100.0"), refunds("100.01"));
    let budgets = [few, many];
    let widened = Asked { set: &large, against: Some(&small), budgets, ..Asked::default() };
    check(widened, r#"Instance Action::"payments/refund" by refunds"#).await;
}

/// A policy under observation decides nothing, and proofs say nothing of it.
#[tokio::test]
async fn what_is_only_observed_has_no_say() {
    let observed = r#"@id("calm") @mode("observe") forbid (principal, action in Action::"tools/call", resource)
        when { context.risk == "high" };"#;
    let (observed, enforced) = (sets(&[LOOKUP, observed]), sets(&[LOOKUP, FORBID]));
    let asked = Asked { set: &observed, against: Some(&enforced), ..Asked::default() };
    check(asked, r#"Instance Action::"crm/lookup" by lookup"#).await;
    let same =
        Asked { set: &observed, against: Some(LOOKUP), equivalent: true, ..Asked::default() };
    check(same, "proved").await;
}

#[tokio::test]
async fn what_a_proof_rests_on_is_told() {
    let set = sets(&[LOOKUP, FORBID]);
    let asked = Asked { set: &set, against: Some(&set), ..Asked::default() };
    let report = report(asked).await;
    let assumed = &report.assumptions;
    assert!(report.is_proved());
    assert_eq!(Some(assumed.set), assumed.against);
    assert_eq!(Some(assumed.content), assumed.against_content);
    assert_ne!(assumed.content, assumed.set, "the set is named with its tools");
    // Nothing changed, and nothing in it can fail: terms alone show that.
    assert_eq!(assumed.queries, 0);
    assert!(assumed.solver.starts_with("cvc5 version "), "{}", assumed.solver);
    assert!(assumed.guaranteed.contains("context.sponsor.active"), "{:?}", assumed.guaranteed);
    assert_eq!(assumed.steps, model::DELEGATIONS_MAX);
    assert_eq!(assumed.tools.len(), 2);
    assert_eq!(assumed.environments, report.shown[0].environments);
}

/// A tool of which nobody has said what it can do, as `policy tools` prints it, is in nobody's way.
#[tokio::test]
async fn a_tool_without_harm_class_is_asked_about_like_any_other() {
    let property = r#"@id("it") @property("never-permits") forbid (principal, action in Action::"tools/call", resource is Tool)
        when { resource.harm.contains("moves-money") && context.risk == "high" };"#;
    let set = sets(&[&refunds("50.0"), LOOKUP, FORBID]);
    let properties = Some(property);
    let asked = Asked { set: &set, undescribed: true, properties, ..Asked::default() };
    check(asked, "proved").await;
}

/// What does not fit the arguments of one tool is not proved of that one.
#[tokio::test]
async fn a_property_that_does_not_fit_a_tool_is_not_proved() {
    let property = r#"@id("it") @property("never-permits") forbid (principal, action in Action::"tools/call", resource)
        when { context.input has id && context.input.id.lessThan(decimal("1.0")) };"#;
    let asked = Asked { set: LOOKUP, properties: Some(property), ..Asked::default() };
    let report = report(asked).await;
    let Why::Unsupported(said) = why(&report) else { panic!("{report:?}") };
    assert!(said.contains("decimal"), "{said}");
    assert_eq!(report.shown[1].unknown, 2);
}
