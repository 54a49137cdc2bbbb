//! What the files beside the policies say otherwise, part by part, and whose calls that is about.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use model::{
    AccessRequest, ActionName, AgentName, FactKey, Harm, ResourceRef, Scope, ServerName, ToolRef,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixtures::Case;
use crate::labels::Labels;
use crate::{Bundle, Flow, PartChange};

fn said(budgets: &str, labels: &str, strictness: &str) -> Bundle {
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let (budgets, labels, strictness) = (said(budgets), said(labels), said(strictness));
    Bundle { labels, budgets, strictness, ..Bundle::default() }
}

fn check(before: &Bundle, after: &Bundle, expected: Expect) {
    let told = |it: &PartChange| {
        let widens = if it.widens { ": a widening" } else { "" };
        format!("{}: {} {:?}{widens}", it.file, it.part, it.is)
    };
    let told: Vec<_> = crate::parts(before, after).iter().map(told).collect();
    expected.assert_eq(&told.join("\n"));
}

const BUDGETS: &str = "budgets:
  few: { description: x, match: { tools: [crm/refund] }, amount: calls, cap: 5, per: task }
  many: { description: x, match: {}, amount: calls, cap: 500, per: agent }
";

const STRICTNESS: &str = "
tokens: [{ description: Short, lasts_s: 60, harm: [moves-money] }]
calls: [{ description: Once, token: once, agents: [billing], harm: [moves-money] }]
";

const LABELS: &str = "
labels: { private: Personal., external: Of others. }
outsiders: [external]
servers: { mail: { resources: [external], sink: true } }
tools:
  crm/lookup: { carries: [private] }
  mail/*: { carries: [external] }
  mail/send: { sink: true }
";

#[test]
fn each_part_is_told_by_itself_and_widenings_are_named() {
    let all = said(BUDGETS, LABELS, STRICTNESS);
    check(&all, &all, expect![""]);
    check(
        &all,
        &Bundle::default(),
        expect![[r"
            budgets.yaml: budget `few` Gone: a widening
            budgets.yaml: budget `many` Gone: a widening
            labels.yaml: tool `crm/lookup` Gone: a widening
            labels.yaml: tool `mail/send` Gone: a widening
            labels.yaml: tools `mail/*` Gone: a widening
            labels.yaml: server `mail` Gone: a widening
            labels.yaml: outsiders Gone: a widening
            strictness.yaml: rule of tokens `Short` Gone: a widening
            strictness.yaml: rule of calls `Once` Gone: a widening"]],
    );
    let budgets = BUDGETS.replace("cap: 5,", "cap: 4,").replace("cap: 500", "cap: 501");
    let labels = LABELS.replace("carries: [private]", "carries: [private, external]");
    let labels = labels.replace("resources: [external], ", "");
    let strictness = STRICTNESS.replace("lasts_s: 60", "lasts_s: 50");
    let strictness = strictness.replace("agents: [billing], ", "");
    check(
        &all,
        &said(&budgets, &labels, &strictness),
        expect![[r"
            budgets.yaml: budget `few` Changed
            budgets.yaml: budget `many` Changed: a widening
            labels.yaml: tool `crm/lookup` Changed
            labels.yaml: server `mail` Changed: a widening
            strictness.yaml: rule of tokens `Short` Gone
            strictness.yaml: rule of calls `Once` Gone
            strictness.yaml: rule of tokens `Short` New
            strictness.yaml: rule of calls `Once` New"]],
    );
    // What only describes is no matter, and what cannot be read holds nothing back.
    let described = STRICTNESS.replace("Short", "Shorter");
    check(&all, &said(BUDGETS, LABELS, &described), expect![""]);
    check(
        &all,
        &said(BUDGETS, "labels: [", STRICTNESS),
        expect!["labels.yaml: what cannot be read Changed: a widening"],
    );
    // Where there is no label left, nothing is carried, but what sends out still does.
    check(
        &said("", "labels: { a: x }\ntools: { crm/a: { carries: [a], sink: true } }", ""),
        &said("", "labels: {}\ntools: { crm/a: { sink: true } }", ""),
        expect!["labels.yaml: tool `crm/a` Changed: a widening"],
    );
}

/// What nothing is said of may be anybody's, so that no policy takes it for what is trusted: an entry makes it ours.
#[test]
fn to_say_something_of_a_tool_is_a_widening_unless_it_is_of_outsiders() {
    let labels = |tools: &str| {
        let all = "labels: { private: x, external: x }\noutsiders: [external]\n";
        said("", &format!("{all}tools: {{ {tools} }}\n"), "")
    };
    let none = labels("crm/other: {}");
    check(
        &none,
        &labels("crm/other: {}, crm/lookup: {}, crm/find: { carries: [private] }"),
        expect![[r"
            labels.yaml: tool `crm/find` New: a widening
            labels.yaml: tool `crm/lookup` New: a widening"]],
    );
    check(
        &none,
        &labels("crm/other: {}, 'crm/*': {}"),
        expect!["labels.yaml: tools `crm/*` New: a widening"],
    );
    check(
        &none,
        &labels("crm/other: {}, crm/find: { carries: [private, external] }"),
        expect!["labels.yaml: tool `crm/find` New"],
    );
    // What was said of all others of its server was said of it, too, and to say nothing any more takes it out again.
    check(&labels("'crm/*': {}"), &labels("'crm/*': {}, crm/find: {}"), expect![""]);
    check(&labels("crm/other: {}, crm/find: {}"), &none, expect![""]);
}

/// What somebody reviewed, say: who can put that label on a tool of their own lifts what waits for it.
#[test]
fn n_094_a_label_by_which_more_may_be_done_is_a_widening_where_it_is_put_on_something_else() {
    const SAYS: &str = r#"context.session.labels.contains("reviewed")"#;
    let budgets = |says: &str| {
        let it = format!("match: {{ when: '{says}' }}, amount: calls, cap: 5, per: task");
        format!("budgets: {{ few: {{ description: x, {it} }} }}")
    };
    let policy = |says: &str| {
        format!(r#"@id("it") {says} (principal, action == Action::"crm/refund", resource)"#)
    };
    let named = |policy: &str, budgets: &str| {
        let set = |tools: &str| {
            let labels = format!("labels: {{ reviewed: x }}\ntools: {{ {tools} }}\n");
            let policies = [("it.cedar".to_owned(), policy.to_owned())].into();
            Bundle { policies, ..said(budgets, &labels, "") }
        };
        let parts = crate::parts(&set("crm/find: {}"), &set("crm/find: { carries: [reviewed] }"));
        let [part] = parts.as_slice() else { panic!("one is otherwise: {parts:?}") };
        part.widens
    };
    for (effect, holds_back, lifts) in [("permit", "unless", "when"), ("forbid", "when", "unless")]
    {
        let it = policy(effect);
        assert!(!named(&format!("{it} {holds_back} {{ {SAYS} }};"), ""), "{effect}");
        let lifting = format!("{it} {lifts} {{ {SAYS} }};");
        assert!(named(&lifting, ""), "{effect}");
        // Nothing is lifted by what is only observed.
        assert!(!named(&format!("@mode(\"observe\") {lifting}"), ""), "{effect}");
    }
    assert!(!named("", &budgets(SAYS)));
    assert!(named("", &budgets(&format!("!{SAYS}"))));
}

#[test]
fn a_part_concerns_the_calls_that_it_is_about() {
    let parts = crate::parts(&Bundle::default(), &said(BUDGETS, LABELS, STRICTNESS));
    let concerned = |agent: &str, tool: &str, harm: Harm| {
        let (agent, tool): (AgentName, ToolRef) = (agent.parse().unwrap(), tool.parse().unwrap());
        // It may be given what that tool does, and what is read.
        let ceiling = Scope { harm: [harm].into(), ..Scope::default() };
        let harm = BTreeSet::from([harm]);
        let is = |part: &&PartChange| part.concerns((&agent, &ceiling), (&tool, &harm));
        parts.iter().filter(is).map(|part| part.part.as_str()).collect::<Vec<_>>().join(", ")
    };
    for (agent, tool, harm, expected) in [
        (
            "billing",
            "crm/refund",
            Harm::MovesMoney,
            "budget `few`, budget `many`, outsiders, rule of tokens `Short`, rule of calls `Once`",
        ),
        (
            "other",
            "crm/refund",
            Harm::MovesMoney,
            "budget `few`, budget `many`, outsiders, rule of tokens `Short`",
        ),
        ("billing", "crm/lookup", Harm::ReadsData, "budget `many`, tool `crm/lookup`, outsiders"),
        (
            "billing",
            "mail/send",
            Harm::ExposesData,
            "budget `many`, tool `mail/send`, server `mail`, outsiders",
        ),
        (
            "billing",
            "mail/read",
            Harm::ReadsData,
            "budget `many`, tools `mail/*`, server `mail`, outsiders",
        ),
    ] {
        assert_eq!(concerned(agent, tool, harm), expected, "{agent} {tool}");
    }
}

/// What may be said of a tool, each by a bit.
const OF_TOOL: [&str; 8] = [
    "carries: [one]",
    "carries: [one, two]",
    "when: [{ argument: /f, prefix: a, carries: [two] }]",
    "when: [{ argument: /f, equals: 1, carries: [one] }, { argument: /f, prefix: a, carries: [two] }]",
    "sink: true",
    "reads: /id",
    "reads: any",
    "stores: /id",
];

/// Of which of these nothing more may be said than of one.
const ALIKE: [&[usize]; 3] = [&[0, 1], &[2, 3], &[5, 6]];

const TOOLS: [&str; 3] = ["crm/a", "crm/b", "crm/*"];

/// What is said of each tool: none, if nothing is.
type Entries = [Option<[bool; 8]>; 3];

fn labels_of(entries: &Entries) -> Labels {
    let entry = |bits: &[bool; 8]| {
        let is_said = |at: usize| {
            let later = ALIKE.iter().any(|alike| alike[0] == at && bits[alike[1]]);
            bits[at] && !later
        };
        let said = (0..OF_TOOL.len()).filter(|at| is_said(*at)).map(|at| OF_TOOL[at]);
        said.collect::<Vec<_>>().join(", ")
    };
    let tools = TOOLS
        .iter()
        .zip(entries)
        .filter_map(|(tool, bits)| Some(format!("  '{tool}': {{ {} }}\n", entry(bits.as_ref()?))));
    let tools = tools.collect::<String>();
    let tools = if tools.is_empty() { tools } else { format!("tools:\n{tools}") };
    let text = format!("labels: {{ one: x, two: x }}\n{tools}");
    Labels::read(&text).unwrap_or_else(|errors| panic!("{text}: {errors}"))
}

fn flow(labels: &Labels, tool: &ToolRef, input: &Value) -> Flow {
    let request = AccessRequest {
        action: ActionName::tool(tool),
        resource: ResourceRef::Tool(tool.clone()),
        input: input.clone(),
        ..Case::method("tools/list", "crm").request
    };
    labels.of(&request)
}

/// Whether as much flows to where it is seen.
fn is_no_less(old: &Flow, new: &Flow) -> bool {
    let server: ServerName = "crm".parse().expect("a server");
    let all = FactKey::kept(&server, None);
    let is_read = |key: &FactKey| new.reads.contains(key) || new.reads.contains(&all);
    let is_stored = match (&old.stores, &new.stores) {
        (None, _) => true,
        (Some(old), Some(new)) => old == new || new.1.is_none(),
        (Some(_), None) => false,
    };
    old.carries.is_subset(&new.carries) && old.reads.iter().all(is_read) && is_stored
}

fn entries() -> impl Strategy<Value = Entries> {
    let entry = prop::option::of(prop::array::uniform8(any::<bool>()));
    prop::array::uniform3(entry)
}

proptest! {
    #[test]
    fn what_is_no_widening_carries_no_less(
        before in entries(),
        more in entries(),
        is_added in any::<bool>(),
    ) {
        let added = |(old, more): (&Option<[bool; 8]>, &Option<[bool; 8]>)| {
            let bits = |it: &Option<[bool; 8]>| it.unwrap_or_default();
            let both: [bool; 8] = std::array::from_fn(|at| bits(old)[at] || bits(more)[at]);
            old.map(|_| both)
        };
        let after: Entries = if is_added {
            std::array::from_fn(|at| added((&before[at], &more[at])))
        } else {
            more
        };
        let (old, new) = (labels_of(&before), labels_of(&after));
        let widens = old.differing(&new).iter().any(|part| part.widens);
        prop_assert!(old.differing(&old).is_empty());
        for tool in ["crm/a", "crm/b", "crm/c"].map(|it| it.parse::<ToolRef>().expect("a tool")) {
            prop_assert!(widens || !old.is_sink(&tool) || new.is_sink(&tool));
            prop_assert!(widens || old.speaks_of(&tool) || !new.speaks_of(&tool));
            for input in [json!({}), json!({ "id": "k", "f": "ab" }), json!({ "id": "k", "f": 1 })] {
                let (was, is) = (flow(&old, &tool, &input), flow(&new, &tool, &input));
                prop_assert!(widens || is_no_less(&was, &is), "{:?} {:?}", was, is);
            }
        }
    }
}
