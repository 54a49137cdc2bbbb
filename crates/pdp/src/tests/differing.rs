//! How two sets differ, and whom a policy can concern.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};

use super::fixtures::{bundle, snapshot};

const READING: &str =
    r#"@id("reading") permit (principal, action == Action::"crm/lookup", resource);"#;
const GUARD: &str = r#"@id("guard") forbid (principal, action == Action::"crm/refund", resource) when { context.depth > 1 };"#;

fn check(before: &[&str], after: &[&str], expected: &Expect) {
    let files = |policies: &[&str]| bundle(&policies.concat()).policies;
    let changes = crate::changes(&files(before), &files(after)).expect("both can be read");
    expected.assert_eq(&serde_json::to_string(&changes).expect("it is JSON"));
}

fn observed(policy: &str) -> String {
    format!("@mode(\"observe\") {policy}")
}

#[test]
fn r_39_putting_a_policy_into_observation_is_a_widening() {
    let (reading, guard) = (observed(READING), observed(GUARD));
    check(&[READING, GUARD], &[GUARD, "\n", READING], &expect!["[]"]);
    check(
        &[READING, GUARD],
        &[READING, &guard],
        &expect![[r#"[{"policy":"guard","is":"into_observation","widens":true}]"#]],
    );
    check(
        &[READING, &guard],
        &[READING, GUARD],
        &expect![[r#"[{"policy":"guard","is":"out_of_observation","widens":false}]"#]],
    );
    // A permit that fails denies, until it is only observed.
    check(
        &[READING, GUARD],
        &[&reading, GUARD],
        &expect![[r#"[{"policy":"reading","is":"into_observation","widens":true}]"#]],
    );
    check(
        &[&reading, GUARD],
        &[READING, GUARD],
        &expect![[r#"[{"policy":"reading","is":"out_of_observation","widens":true}]"#]],
    );
}

#[test]
fn a_policy_is_new_or_gone_or_changed_and_may_be_moved_at_once() {
    let other = observed(&GUARD.replace("> 1", "> 2"));
    check(
        &[READING, GUARD],
        &[&other, r#"@id("more") permit (principal, action, resource);"#],
        &expect![[
            r#"[{"policy":"guard","is":"changed","widens":false},{"policy":"guard","is":"into_observation","widens":true},{"policy":"more","is":"new","widens":true},{"policy":"reading","is":"gone","widens":false}]"#
        ]],
    );
}

/// A name is no way around it: what is gone under one and comes back observed under another forbids no more.
#[test]
fn a_permit_that_is_new_and_a_forbid_that_is_gone_are_widenings() {
    check(
        &[READING, GUARD],
        &[READING, &observed(&GUARD.replace("guard", "other"))],
        &expect![[
            r#"[{"policy":"guard","is":"gone","widens":true},{"policy":"other","is":"new","widens":false}]"#
        ]],
    );
    check(
        &[&observed(GUARD)],
        &[&observed(READING)],
        &expect![[
            r#"[{"policy":"guard","is":"gone","widens":false},{"policy":"reading","is":"new","widens":false}]"#
        ]],
    );
    check(
        &[GUARD],
        &[&GUARD.replace("forbid", "permit")],
        &expect![[r#"[{"policy":"guard","is":"changed","widens":true}]"#]],
    );
    check(
        &[READING],
        &[READING, GUARD],
        &expect![[r#"[{"policy":"guard","is":"new","widens":false}]"#]],
    );
}

/// That an act is outside of its purpose nothing lifts, unless a forbid says that something does.
#[test]
fn a_forbid_that_sends_on_what_is_outside_of_the_purpose_is_a_widening() {
    let outside = GUARD.replace("context.depth > 1", "context.ends.outside_purpose");
    let sent = |policy: &str| format!("@remedy(\"approval\") {policy}");
    check(
        &[READING],
        &[READING, &sent(&outside)],
        &expect![[r#"[{"policy":"guard","is":"new","widens":true}]"#]],
    );
    check(
        &[READING],
        &[READING, &outside],
        &expect![[r#"[{"policy":"guard","is":"new","widens":false}]"#]],
    );
    check(
        &[READING],
        &[READING, &sent(GUARD)],
        &expect![[r#"[{"policy":"guard","is":"new","widens":false}]"#]],
    );
    check(
        &[&sent(GUARD)],
        &[&sent(&outside)],
        &expect![[r#"[{"policy":"guard","is":"changed","widens":true}]"#]],
    );
    check(
        &[&observed(&sent(&outside))],
        &[&sent(&outside)],
        &expect![[r#"[{"policy":"guard","is":"out_of_observation","widens":true}]"#]],
    );
}

/// What a permit owed it may not owe any more, and what nothing lifted something may.
#[test]
fn what_a_policy_owes_and_what_lifts_it_is_told_by_itself() {
    let owes = |what: &str| format!("@obligation({what:?}) {READING}");
    let lifted = format!("@remedy(\"approval\") {GUARD}");
    check(
        &[READING, GUARD],
        &[&owes("notify:desk"), GUARD],
        &expect![[r#"[{"policy":"reading","is":"owes","widens":false}]"#]],
    );
    check(
        &[&owes("notify:desk; redact:/iban"), GUARD],
        &[&owes("redact:/iban"), GUARD],
        &expect![[r#"[{"policy":"reading","is":"owes","widens":true}]"#]],
    );
    check(
        &[&owes("notify:desk")],
        &[READING],
        &expect![[r#"[{"policy":"reading","is":"owes","widens":true}]"#]],
    );
    check(
        &[READING, GUARD],
        &[READING, &lifted],
        &expect![[r#"[{"policy":"guard","is":"lifted","widens":true}]"#]],
    );
    check(
        &[READING, &lifted],
        &[READING, GUARD],
        &expect![[r#"[{"policy":"guard","is":"lifted","widens":false}]"#]],
    );
}

/// Whether the policy that says `after` and said `before` is named a widening.
fn widens(before: &str, after: &str) -> bool {
    let named = |policy: &str| bundle(&format!("@id(\"it\") {policy};")).policies;
    let changes = crate::changes(&named(before), &named(after)).expect("both can be read");
    changes.iter().any(|it| it.widens)
}

/// Under its old name, too, a policy lets more be done that asks for less, or of others.
#[test]
fn n_094_what_a_policy_says_otherwise_is_a_widening_unless_it_surely_holds_back_as_much() {
    const TO: &str = r#"(principal, action == Action::"crm/refund", resource)"#;
    let said = |effect: &str, conditions: &str| format!("{effect} {TO} {conditions}");
    let permit = |conditions: &str| said("permit", conditions);
    let forbid = |conditions: &str| said("forbid", conditions);
    let (few, cheap) = ("context.depth < 2", "context.input.amount < 5");
    let both = format!("when {{ {few} && {cheap} }}");
    let (few, cheap) = (format!("when {{ {few} }}"), format!("when {{ {cheap} }}"));
    // A permit that asks for more holds back more, and a forbid that asks for less.
    assert!(!widens(&permit(&few), &permit(&both)));
    assert!(!widens(&permit(&few), &permit(&format!("{few} unless {{ context.depth > 0 }}"))));
    assert!(!widens(&permit(&both), &permit(&format!("{few} {cheap}"))));
    assert!(!widens(&forbid(&format!("{few} when {{ context.depth > 0 }}")), &forbid(&few)));
    for (before, after) in [
        (permit(&both), permit(&few)),
        (permit(&few), permit("")),
        (permit(&few), permit(&few.replace('2', "3"))),
        // By the first of both it may have failed, which denied.
        (permit(&both), permit(&format!("{cheap} {few}"))),
        (permit(&few), permit(&few).replace("principal,", "principal is Instance,")),
        (permit(&few), permit(&few).replace("crm/refund", "crm/lookup")),
        (forbid(&few), forbid(&both)),
        (forbid(""), forbid(&few)),
        (forbid(&few), forbid(&few.replace('2', "1"))),
        (forbid(&few), forbid(&few).replace("crm/refund", "crm/lookup")),
        (forbid(&few), permit(&few)),
        // An amount without an exact value was denied, as the forbid looked at it.
        (forbid(&both), forbid(&few)),
    ] {
        assert!(widens(&before, &after), "{before} -> {after}");
    }
}

/// What a permit owed is not owed by others that permit the same.
#[test]
fn a_permit_that_owed_something_and_permits_less_is_a_widening() {
    let owing = format!("@obligation(\"notify:desk\") {READING}");
    let narrower = owing.replace("resource)", "resource) when { context.depth < 1 }");
    let described = format!("@description(\"Looks up.\") {owing}");
    let wanted =
        |widens: bool| format!(r#"[{{"policy":"reading","is":"changed","widens":{widens}}}]"#);
    let told = |after: &str| {
        let files = |policy: &str| bundle(policy).policies;
        let changes = crate::changes(&files(&owing), &files(after)).expect("both can be read");
        serde_json::to_string(&changes).expect("it is JSON")
    };
    assert_eq!(told(&narrower), wanted(true));
    assert_eq!(told(&described), wanted(false));
    check(
        &[&owing, GUARD],
        &[GUARD],
        &expect![[r#"[{"policy":"reading","is":"gone","widens":true}]"#]],
    );
}

#[test]
fn a_policy_concerns_whom_its_scope_lets_in() {
    let asked = |scope: &str| {
        let set = format!("@id(\"it\") permit ({scope}, resource);");
        let (set, agent) = (snapshot(&set), "billing".parse().expect("an agent"));
        let tool = "crm/lookup".parse().expect("a tool");
        !set.concerning(&agent, &tool).is_empty()
    };
    for (scope, concerns) in [
        (r#"principal, action == Action::"crm/lookup""#, true),
        (r#"principal, action == Action::"crm/refund""#, false),
        (r#"principal in Agent::"billing", action"#, true),
        (r#"principal in Agent::"other", action"#, false),
        (r#"principal is Instance in Agent::"other", action"#, false),
        (r#"principal in Group::"clerks", action"#, true),
        (r#"principal is Person, action"#, true),
        (r#"principal is Directory, action"#, false),
    ] {
        assert_eq!(asked(scope), concerns, "{scope}");
    }
}

/// Of other acts than calls it is said which ones, of what agents do and of what is administered.
#[test]
fn a_policy_concerns_the_acts_that_its_scope_lets_in() {
    let check = |scope: &str, by_agents: &[&str], administered: &[&str]| {
        let set = snapshot(&format!("@id(\"it\") permit ({scope});"));
        let agent = "billing".parse().expect("an agent");
        let (it, other) = ("it".into(), "other".into());
        for (agent, expected) in [(Some(&agent), by_agents), (None, administered)] {
            let told = set.concerning_acts(agent, &BTreeSet::from([&it]));
            let acts: Vec<_> = told.keys().copied().collect();
            assert_eq!(acts, expected, "{scope} {agent:?}");
            assert!(told.values().all(|by| by.contains(&it)), "{scope}");
            assert!(set.concerning_acts(agent, &BTreeSet::from([&other])).is_empty());
        }
    };
    check("principal, action == Action::\"delegate\", resource", &["delegate"], &[]);
    check(
        "principal, action == Action::\"token/issue\", resource in Server::\"crm\"",
        &["token/issue"],
        &[],
    );
    let (elevate, policy) = ("elevation/approve", "policy/approve");
    let both = format!("principal, action in [Action::{elevate:?}, Action::{policy:?}], resource");
    check(&both, &[], &[elevate, policy]);
    check(
        &both.replace("principal,", "principal in Group::\"founders\","),
        &[],
        &[elevate, policy],
    );
    // A call is told of its tool.
    check("principal, action == Action::\"crm/lookup\", resource", &[], &[]);
    check("principal, action in Action::\"tools/call\", resource", &[], &[]);
    // It is somebody else, or done to something else.
    check("principal in Agent::\"other\", action == Action::\"delegate\", resource", &[], &[]);
    check(
        "principal in Agent::\"billing\", action == Action::\"delegate\", resource",
        &["delegate"],
        &[],
    );
    let acts = "[Action::\"delegate\", Action::\"agent/stop\", Action::\"person/add\"]";
    let on_desk = format!("principal, action in {acts}, resource in Agent::\"desk\"");
    check(&on_desk, &["delegate"], &["agent/stop"]);
    check("principal, action, resource is Prompt", &["prompts/get"], &[]);
    check(
        "principal is Directory, action, resource is Person",
        &[],
        &["person/provision", "person/restrict"],
    );
}
