//! What somebody in particular never does, and what they could have others do.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use analysis::{CHAIN_AGENTS_MAX, Chains, Counterexample, Report, Verdict, Why};
use pdp::{Posed, Snapshot};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Asked, check, report, snapshot};

/// That the reader never refunds, nor has it done.
const NEVER: &str = r#"@id("it") @property("never-reaches")
    forbid (principal in Agent::"reader", action == Action::"payments/refund", resource);"#;

const REFUNDS: &str = r#"@id("refunds")
    permit (principal in Agent::"billing", action == Action::"payments/refund", resource);"#;

/// `from` hands work on to `to`, as long as `condition` says.
fn hands_on(from: &str, to: &str, condition: &str) -> String {
    format!(
        r#"@id("{from}-{to}")
        permit (principal in Agent::"{from}", action == Action::"delegate", resource == Agent::"{to}") {condition};
        "#
    )
}

fn asked(set: &str) -> Asked<'_> {
    Asked { set, properties: Some(NEVER), ..Asked::default() }
}

fn chains(report: &Report) -> &Chains {
    report.shown.last().and_then(|it| it.chains.as_ref()).expect("it is claimed over chains")
}

/// What refutes the last claim.
fn refuting(report: &Report) -> &Counterexample {
    let last = report.shown.last().expect("something is claimed");
    let Verdict::Counterexample(example) = &last.verdict else { panic!("{last:?}") };
    example
}

/// The cases of a chain, which were decided.
fn cases(example: &Counterexample) -> Vec<&Value> {
    let before = example.handed_on.iter().map(|it| &it.case);
    before.chain([&example.case]).map(|it| it.as_ref().expect("it was decided")).collect()
}

#[tokio::test]
async fn what_is_handed_on_to_whom_may_not_do_it_either_is_proved() {
    // Nobody is of two agents, so the reader needs no forbid.
    check(asked(REFUNDS), "proved").await;
    let nobody = report(asked(REFUNDS)).await;
    let none = Chains { agents: BTreeSet::new(), others: false, steps: 0, is_closed: true };
    assert_eq!(*chains(&nobody), none);
    let set = [REFUNDS, &hands_on("reader", "writer", "")].concat();
    check(asked(&set), "proved").await;
    let report = report(asked(&set)).await;
    let agents = BTreeSet::from([r#"Agent::"writer""#.to_owned()]);
    assert_eq!(*chains(&report), Chains { agents, others: false, steps: 1, is_closed: true });
    assert_eq!(report.assumptions.agents.len(), 3, "{:?}", report.assumptions.agents);
    // Others hand on to who may: the work does not come to them.
    let others = [&*set, &hands_on("lead", "billing", "")].concat();
    check(asked(&others), "proved").await;
}

/// Each step is decided: by whom the work was handed to, as deep as it is then.
#[tokio::test]
async fn a_chain_is_decided_step_by_step() {
    let on = [hands_on("reader", "writer", ""), hands_on("writer", "billing", "")].concat();
    let set = [REFUNDS, &on].concat();
    check(asked(&set), r#"Instance Action::"payments/refund" by refunds"#).await;
    let report = report(asked(&set)).await;
    assert!(report.is_refuted());
    // The act itself is denied to whom the property names.
    assert!(matches!(report.shown[1].verdict, Verdict::Proved), "{:?}", report.shown[1]);
    let example = refuting(&report);
    let by = example.handed_on.iter().map(|it| it.by.iter().map(ToString::to_string).collect());
    let by: Vec<Vec<String>> = by.collect();
    assert_eq!(by, [["reader-writer"], ["writer-billing"]]);
    let cases = cases(example);
    let depth = cases[0]["depth"].as_u64().expect("a number");
    let told = cases.iter().map(|it| json!([it["agent"], it["method"]["agent"], it["depth"]]));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            json!(["reader", "writer", depth]),
            json!(["writer", "billing", depth + 1]),
            json!(["billing", null, depth + 2]),
        ]
    );
    assert!(cases.iter().all(|it| it["expect"] == "permit"), "{cases:?}");
    for alike in ["subject", "purpose", "labels", "attestation", "now"] {
        assert!(cases.iter().all(|it| it.get(alike) == cases[0].get(alike)), "{alike}: {cases:?}");
    }
    assert_eq!(chains(&report).steps, 2);
}

/// One of the agents of a chain may be any that nothing names: it is the same one in both steps.
#[tokio::test]
async fn a_chain_leads_through_agents_that_nothing_names() {
    let set = [
        REFUNDS,
        r#"@id("away") permit (principal in Agent::"reader", action == Action::"delegate", resource);
        @id("not") forbid (principal in Agent::"reader", action == Action::"delegate", resource == Agent::"billing");
        @id("on") permit (principal, action == Action::"delegate", resource == Agent::"billing");"#,
    ];
    let set = set.concat();
    let report = report(asked(&set)).await;
    let cases = cases(refuting(&report));
    assert_eq!(cases.len(), 3);
    assert_eq!(cases[0]["method"]["agent"], cases[1]["agent"], "{cases:?}");
    assert_eq!(cases[2]["agent"], "billing");
    let reached = chains(&report);
    assert!(reached.others && reached.agents.contains(r#"Agent::"billing""#), "{reached:?}");
}

/// How often work was handed on is known at each step.
#[tokio::test]
async fn how_deep_work_is_bounds_chains() {
    let shallow = "when { context.depth < 1 }";
    let on = [hands_on("reader", "writer", ""), hands_on("writer", "billing", shallow)].concat();
    check(asked(&[REFUNDS, &on].concat()), "proved").await;
    let first = REFUNDS.replace(", resource)", ", resource) when { context.depth < 2 }");
    let on = [hands_on("reader", "writer", ""), hands_on("writer", "billing", "")].concat();
    check(asked(&[&*first, &on].concat()), "proved").await;
    // No oftener than it can be.
    let agents: Vec<_> = (0..=model::DELEGATIONS_MAX).map(|number| format!("a{number}")).collect();
    let mut far: String = agents.windows(2).map(|it| hands_on(&it[0], &it[1], "")).collect();
    far += &hands_on("reader", "a0", "");
    let last = agents.last().expect("there is one");
    let set = [&*REFUNDS.replace("billing", last), &far].concat();
    check(asked(&set), "proved").await;
    let report = report(asked(&set)).await;
    let Chains { steps, is_closed, .. } = chains(&report);
    assert_eq!((*steps, *is_closed), (model::DELEGATIONS_MAX, false));
}

/// Of one task, what it is for stays as it is: steps of which each can be, but not with the others, are no breach, and are
/// not proved never to be.
#[tokio::test]
async fn steps_that_no_one_task_has_are_not_proved() {
    let purpose = |it: &str| format!(r#"when {{ context.purpose == "{it}" }}"#);
    let refunds = REFUNDS.replace(", resource)", &format!(", resource) {}", purpose("refunds")));
    for (purpose_of_step, is_breach) in [("reading", false), ("refunds", true)] {
        let set = [&*refunds, &hands_on("reader", "billing", &purpose(purpose_of_step))].concat();
        let report = report(asked(&set)).await;
        assert_eq!(report.is_refuted(), is_breach, "{report:?}");
        assert!(!report.is_proved());
        let last = report.shown.last().expect("something is claimed");
        let Verdict::Unconfirmed { example, why } = &last.verdict else {
            assert!(is_breach, "{last:?}");
            continue;
        };
        assert!(why.starts_with("of its step "), "{why}");
        assert!(example.case.is_none() && example.handed_on.len() == 1, "{example:?}");
        assert!(example.handed_on.iter().all(|it| it.case.is_none()), "{example:?}");
    }
}

/// Whoever may be in a team is followed. No case says teams, so it is told apart.
#[tokio::test]
async fn whoever_is_in_a_team_is_followed() {
    let never = NEVER.replace(r#"Agent::"reader""#, r#"Team::"readers""#);
    let set = [REFUNDS, &hands_on("writer", "billing", "")].concat();
    let report = report(Asked { set: &set, properties: Some(&never), ..Asked::default() }).await;
    let last = report.shown.last().expect("something is claimed");
    let Verdict::Unconfirmed { example, .. } = &last.verdict else { panic!("{last:?}") };
    let by: Vec<_> = example.handed_on.iter().flat_map(|it| &it.by).collect();
    assert!(by.len() == 1 && by[0].as_str() == "writer-billing", "{by:?}");
}

/// However many there are to whom work comes, of the chains to one act that no case says no more are tried than eight.
#[tokio::test]
async fn so_many_chains_to_an_act_are_tried_and_no_more() {
    let never = NEVER.replace(r#"Agent::"reader""#, r#"Team::"readers""#);
    let act = |agent: &String| {
        let refunds = REFUNDS.replace("billing", agent);
        let refunds = refunds.replace("refunds", &format!("refunds-{agent}"));
        [refunds, hands_on("writer", agent, "")].concat()
    };
    for (agents, expected) in [(3, 3), (10, 8)] {
        let agents: Vec<_> = (0..agents).map(|number| format!("a{number}")).collect();
        let set = agents.iter().map(act).collect::<Vec<_>>().concat();
        let tried = AtomicUsize::new(0);
        let properties = Some(never.as_str());
        let asked = Asked { set: &set, properties, chains: Some(&tried), ..Asked::default() };
        let report = report(asked).await;
        let last = report.shown.last().expect("something is claimed");
        assert!(matches!(last.verdict, Verdict::Unconfirmed { .. }), "{last:?}");
        assert_eq!(tried.load(Ordering::Relaxed), expected);
    }
}

/// What nobody else could do that matches would hold of any set.
#[tokio::test]
async fn what_matches_nobody_else_is_not_proved_over_chains() {
    let set = [REFUNDS, &hands_on("reader", "billing", "")].concat();
    let claim = async |condition: &str, expected: &str| {
        let never = NEVER.replace(", resource)", &format!(", resource) when {{ {condition} }}"));
        check(Asked { set: &set, properties: Some(&never), ..Asked::default() }, expected).await;
    };
    let nothing = Why::MatchesNothing.to_string();
    claim(r#"principal in Agent::"reader""#, &nothing).await;
    // Nobody is of two agents.
    claim(r#"principal in Agent::"billing" && principal in Agent::"writer""#, &nothing).await;
    // Whom work was handed on to has it no sooner than that.
    claim("context.depth < 1", &nothing).await;
    // What the built-in rules see to is no news about the set.
    claim("!context.sponsor.active", "guaranteed").await;
    // Others could do it, if they were handed the work.
    claim(r#"!(principal in Agent::"billing")"#, "proved").await;
    claim("context.depth > 0", r#"Instance Action::"payments/refund" by refunds"#).await;
}

/// Of an act on which a property cannot be evaluated nothing is proved, whoever does it.
#[tokio::test]
async fn what_can_fail_is_not_proved_over_chains() {
    let claim = async |limit: &str, condition: &str, expected: &str| {
        let limited = format!(", resource) when {{ context.input.times {limit} }}");
        let set = [&*REFUNDS.replace(", resource)", &limited), &hands_on("reader", "billing", "")];
        let never = NEVER.replace(", resource)", &format!(", resource) when {{ {condition} }}"));
        let (set, properties) = (set.concat(), Some(never.as_str()));
        check(Asked { set: &set, properties, ..Asked::default() }, expected).await;
    };
    // A thousand times that is no number.
    let may_fail = "it rests on policy `it/by-others`, which may not be evaluable";
    claim("> 9300000000000000", "context.input.times * 1000 > 5000", may_fail).await;
    claim("< 5", "context.input.times > 5", "proved").await;
}

#[tokio::test]
async fn so_many_agents_are_looked_at_and_no_more() {
    // The reader and who refunds are two.
    let others = |count: usize| -> String {
        let lookup = |number| {
            format!(
                r#"@id("l{number}") permit (principal in Agent::"l{number}", action == Action::"crm/lookup", resource);
            "#
            )
        };
        (2..count).map(lookup).collect()
    };
    let set = [REFUNDS, &others(CHAIN_AGENTS_MAX)].concat();
    check(asked(&set), "proved").await;
    let set = [REFUNDS, &others(CHAIN_AGENTS_MAX + 1)].concat();
    let why = "it cannot be compiled for the solver: 33 agents are named, and chains are looked at among 32";
    check(asked(&set), why).await;
}

const AGENTS: [&str; 4] = ["reader", "writer", "billing", "another"];

const DEPTHS: [&str; 4] =
    ["", "when { context.depth < 1 }", "when { context.depth > 1 }", "when { context.depth == 1 }"];

/// Whom who hands on to, and how deep.
fn steps() -> impl Strategy<Value = BTreeSet<(usize, usize, usize)>> {
    prop::collection::btree_set((0..AGENTS.len(), 0..AGENTS.len(), 0..DEPTHS.len()), 0..5)
}

fn permits(set: &Snapshot, (agent, depth): (&str, usize), to: Option<&str>) -> bool {
    let uid = |kind: &str, id: &str| json!({ "type": kind, "id": id });
    let it = json!({ "uid": uid("Instance", "it"), "attrs": {}, "parents": [uid("Agent", agent)] });
    let refund = ("payments/refund".to_owned(), r#"Tool::"payments/refund""#.to_owned());
    let (action, resource) =
        to.map_or(refund, |to| ("delegate".to_owned(), format!("Agent::\"{to}\"")));
    let posed = Posed {
        principal: r#"Instance::"it""#.to_owned(),
        action: format!("Action::\"{action}\""),
        resource,
        context: json!({ "depth": depth }),
        entities: json!([it]),
    };
    set.pose(&posed, &[]).expect("it can be asked").is_permitted
}

/// Whether work that `chain` has at `depth` comes to somebody who is permitted the act, along agents of which each has it once.
fn comes(set: &Snapshot, chain: &[&str], depth: usize) -> bool {
    let last = chain[chain.len() - 1];
    if chain.len() > 1 && permits(set, (last, depth), None) {
        return true;
    }
    let next = AGENTS.into_iter().filter(|agent| !chain.contains(agent));
    let mut next = next.filter(|agent| permits(set, (last, depth), Some(*agent)));
    depth < model::DELEGATIONS_MAX
        && next.any(|agent| comes(set, &[chain, &[agent]].concat(), depth + 1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What is proved of random steps is so of all chains that there are, and where there is none, nothing is refuted.
    #[test]
    fn what_is_proved_over_chains_is_so(steps in steps(), act in 0..DEPTHS.len()) {
        let on = steps.iter().enumerate().map(|(number, (from, to, depth))| {
            format!(
                r#"@id("p{number}") permit (principal in Agent::"{}", action == Action::"delegate", resource == Agent::"{}") {};
                "#,
                AGENTS[*from], AGENTS[*to], DEPTHS[*depth]
            )
        });
        let refunds = REFUNDS.replace(", resource)", &format!(", resource) {}", DEPTHS[act]));
        let set: String = on.chain([refunds]).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let report = runtime.expect("a runtime").block_on(report(asked(&set)));
        let set = snapshot(&set);
        let is_reached = (0..=model::DELEGATIONS_MAX).any(|depth| comes(&set, &["reader"], depth));
        let last = report.shown.last().expect("something is claimed");
        prop_assert!(!(is_reached && matches!(last.verdict, Verdict::Proved)), "{last:?}");
        prop_assert!(is_reached || !matches!(last.verdict, Verdict::Counterexample(_)), "{last:?}");
    }
}
