//! Whatever is wrong with a set, it is told where that stands and what to do about it.

use super::fixtures::bundle;
use crate::report::CompileErrors;
use crate::{BUDGETS_MAX, Bundle, Snapshot};

const PERMIT: &str = r#"@id("a") permit (principal, action, resource in Server::"crm");"#;

/// Another policy set, what each line of the refusal of it begins with, and what it says is to be done.
type Row = (Bundle, &'static str, &'static str);

fn of_policy(text: &str) -> Bundle {
    bundle(&format!("{PERMIT}\n{text}"))
}

fn of_schema(text: &str) -> Bundle {
    Bundle { schema: [("own.cedarschema".to_owned(), text.to_owned())].into(), ..bundle(PERMIT) }
}

fn of_labels(text: &str) -> Bundle {
    Bundle { labels: Some(text.to_owned()), ..bundle(PERMIT) }
}

fn of_budgets(text: &str) -> Bundle {
    Bundle { budgets: Some(text.to_owned()), ..bundle(PERMIT) }
}

fn of_strictness(text: &str) -> Bundle {
    Bundle { strictness: Some(text.to_owned()), ..bundle(PERMIT) }
}

fn policies() -> Vec<Row> {
    let call = r#"@id("b") permit (principal, action == Action::"crm/lookup", resource)"#;
    vec![
        (of_policy("@id(\"b\")\npermit (principal, act"), "test.cedar:3: ", "(expected "),
        (of_policy("permit (principal, action, resource);"), "test.cedar:2: ", "write `@id("),
        (of_policy(PERMIT), "test.cedar:2: policy `a`: ", "give one of them another"),
        (
            of_policy(&format!("@obligaton(\"x\") {call};")),
            "test.cedar:2: policy `b`: ",
            "known are",
        ),
        (of_policy(&format!("@remedy(\"approval\") {call};")), "test.cedar:2: ", "take it out"),
        (of_policy(&format!("@mode(\"shadow\") {call};")), "test.cedar:2: ", "known is `observe`"),
        (
            of_policy(&format!("@property(\"never-permits\") {call};")),
            "test.cedar:2: ",
            "written as",
        ),
        (
            of_policy(r#"@id("b") permit (principal == ?principal, action, resource);"#),
            "test.cedar:2: ",
            "write out whom",
        ),
        (
            of_policy(&format!("{call} when {{ context.input.idd == 1 }};")),
            "test.cedar:2: policy `b`: ",
            "did you mean `id`?",
        ),
        (
            of_policy(&format!("{call} when {{ context.input.urgent }};")),
            "test.cedar:2: policy `b`: ",
            "try testing for the attribute's presence",
        ),
        (
            of_policy(&format!(
                "{call}\nwhen {{ context.depth == 0 }}\nunless {{\n  context.depth > 1 ||\n  context.input.idd == 1\n}};"
            )),
            "test.cedar:6: policy `b`: ",
            "did you mean `id`?",
        ),
        (
            of_policy(&format!(
                "{call}\nwhen {{ context.depth == 0 &&\n  context.depth == \"x\" }};"
            )),
            "test.cedar:4: policy `b`: ",
            "must have compatible types",
        ),
        (
            of_policy(&format!("{call} when {{ context.input == {{}} }};")),
            "test.cedar:2: policy `b`: ",
            "name the members",
        ),
        (
            of_policy(&format!("{call}\nwhen {{ {}true{} }};", "(".repeat(40), ")".repeat(40))),
            "test.cedar:3: ",
            "nest less",
        ),
        (
            of_policy(&format!("{call} when {{ context.provenance.trusted.contains(\"id\") }};")),
            "labels.yaml: ",
            "in `outsiders`",
        ),
    ]
}

/// Which of many schema parts it is takes a schema each to find out, and there may be any number of them.
#[test]
fn a_few_schema_parts_are_looked_at_to_find_the_wrong_one() {
    let check = |wrong: usize, file: Option<&str>| {
        let part = |at: usize| {
            let own = format!("entity Desk{at};");
            let text = if at == wrong { "entity Chair in [Nobody];".to_owned() } else { own };
            (format!("{at:02}.cedarschema"), text)
        };
        let schema = (0..=20).map(part).collect();
        let Err(errors) = Snapshot::compile(Bundle { schema, ..Bundle::default() }) else {
            panic!("there is no such type");
        };
        let told = errors.to_string();
        let named = told.split_once(".cedarschema:").map(|(name, _)| name);
        assert_eq!(named, file, "{told}");
    };
    check(15, Some("15"));
    check(16, None);
}

fn beside() -> Vec<Row> {
    let budget = |it: &str| of_budgets(&format!("budgets:\n  b: {{ description: x, {it} }}\n"));
    let many = |at: usize| {
        format!("  b-{at}: {{ description: x, match: {{}}, amount: calls, cap: 1, per: task }}\n")
    };
    let many = format!("budgets:\n{}", (0..=BUDGETS_MAX).map(many).collect::<String>());
    let schema = "see docs/policy-sets.md";
    vec![
        (of_schema("entity Desk;\nentity Desk2 {"), "own.cedarschema:2: ", "(expected "),
        (of_schema("entity Desk;\nentity Person;"), "own.cedarschema:2: ", "another name"),
        (of_schema("entity Desk;\nentity Chair in [Desk, Nobody];"), "own.cedarschema:2: ", schema),
        (of_schema("action sit;"), "own.cedarschema:1: ", "a schema part declares types"),
        (of_labels("labels: [\n"), "labels.yaml:", "see docs/labels.md"),
        (
            of_labels("labels: {}\ntools:\n  crm/lookup: { carries: [a] }\n"),
            "labels.yaml:3: ",
            "add it to `labels`",
        ),
        (budget("match: {}, amount: calls, cap: 1"), "budgets.yaml:", "see docs/budgets.md"),
        (
            budget("match: {}, amount: amount, cap: 1, per: task"),
            "budgets.yaml:2: budget `b`: ",
            "write `/NAME`",
        ),
        (
            budget("match: {}, amount: calls, cap: 1.5, per: task"),
            "budgets.yaml:2: budget `b`: ",
            "say more `places`",
        ),
        (
            budget("match: { when: principal == resource }, amount: calls, cap: 1, per: task"),
            "budgets.yaml:2: budget `b`: in `when`, ",
            "say whose calls they are with `agents`",
        ),
        (of_budgets(&many), "budgets.yaml: ", "have one count several tools"),
        (of_strictness("calls: []\nmore: 1\n"), "strictness.yaml:2: ", "see docs/strictness.md"),
        (of_strictness("{}"), "strictness.yaml: ", "say one, or remove the file"),
        (
            of_strictness("tokens:\n  - { description: x, lasts_s: 5 }\n"),
            "strictness.yaml:2: ",
            "is not within 40 and 300",
        ),
        (
            of_strictness("calls:\n  - { description: x, agents: [a] }\n"),
            "strictness.yaml:2: ",
            "say one",
        ),
    ]
}

#[test]
fn whatever_is_refused_names_its_place_and_the_remedy() {
    for (set, place, remedy) in policies().into_iter().chain(beside()) {
        let CompileErrors(found) = Snapshot::compile(set).expect_err(remedy);
        for line in found.iter().map(ToString::to_string) {
            assert!(line.starts_with(place), "{place}: {line}");
            assert!(!line.contains('\n'), "{line}");
        }
        assert!(found.iter().any(|it| it.message.contains(remedy)), "{remedy}: {found:?}");
    }
}

/// A set without a policy, or with a file of which nothing is left, denies, and is refused by whoever publishes it.
#[test]
fn what_is_empty_names_the_remedy() {
    let gap = |set: Bundle| {
        let compiled = Snapshot::compile(set).expect("it denies");
        compiled.gap().expect("it is told").to_string()
    };
    let none = gap(Bundle { policies: [].into(), ..bundle("") });
    assert!(none.contains("write one") && none.contains("`chancery policy new`"), "{none}");
    let mut cut = bundle(PERMIT);
    cut.policies.insert("cut.cedar".to_owned(), "// nothing is left".to_owned());
    assert_eq!(gap(cut), "cut.cedar: holds no policy: remove the file if that is meant");
}
