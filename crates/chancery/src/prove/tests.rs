//! What a proof finds is decided, on facts that say it, before it is told as a breach.

use super::*;

/// How long the solver may take for one question here, on however busy a machine.
const TIME: Duration = Duration::from_mins(1);

const TOOLS: &str = "crm/lookup:
  harm: [reads-data]
  input: { type: object, properties: { id: { type: string } } }
  objects: [/id]
  data: [personal]
";

const LABELS: &str = "labels: { private: Personal. }
tools: { crm/lookup: { carries: [private], sink: true } }
outsiders: [private]
";

const OPEN: &str = r#"@id("open") permit (principal, action == Action::"crm/lookup", resource)"#;

/// The set with this policy, and with this property of it.
fn written(policy: &str, property: &str) -> PolicySet {
    let home = tempfile::tempdir().expect("a directory can be made");
    let write = |name: &str, text: &str| {
        fs::write(home.path().join(name), text).expect("it can be written");
    };
    fs::create_dir(home.path().join("properties")).expect("it can be made");
    write("set.cedar", policy);
    write("tools.yaml", TOOLS);
    write("labels.yaml", LABELS);
    write("properties/it.cedar", property);
    PolicySet::read(home.path()).expect("it can be read")
}

/// What is proved of the set with this policy, and of this property of it.
async fn proved(policy: &str, property: &str) -> Report {
    let set = written(policy, property);
    let program = analysis::program(std::env::var_os("CVC5"), &path());
    let solver = Solver::at(program, TIME).await.expect("there is a solver");
    Box::pin(report(&set, &solver)).await.expect("it can be asked")
}

/// That the set never permits the calls in which this is so.
fn never(condition: &str) -> String {
    format!(
        r#"@id("it") @property("never-permits")
        forbid (principal, action == Action::"crm/lookup", resource) when {{ {condition} }};"#
    )
}

fn last(report: &Report) -> &Verdict {
    &report.shown.last().expect("something is claimed").verdict
}

fn is_in(name: &str, all: &Value) -> bool {
    all.as_array().is_some_and(|all| all.iter().any(|it| it == name))
}

/// The case that was decided.
fn case(report: &Report) -> &Value {
    let Verdict::Counterexample(example) = last(report) else { panic!("{:?}", last(report)) };
    example.case.as_ref().expect("it was decided")
}

/// In whatever circumstances an act breaks a property, these are the facts that it is decided on, and told with.
#[tokio::test]
async fn a_counterexample_is_decided_on_facts_that_say_it() {
    let open = format!("{OPEN};");
    let found = async |condition: &str| case(&proved(&open, &never(condition)).await).clone();
    let subject = found(r#"context has subject && context.subject in Group::"clerks""#).await;
    assert!(is_in("clerks", &subject["subject"]["groups"]), "{subject}");
    let labels = found(r#"context.session.labels.contains("private")"#).await;
    assert_eq!(labels["labels"], json!(["private"]), "{labels}");
    let depth = found("context.depth == 3").await;
    assert_eq!(depth["depth"], 3, "{depth}");
    let risk = found(r#"context.risk == "high" && context.binding == "none""#).await;
    assert_eq!((&risk["risk"], &risk["binding"]), (&json!("high"), &json!("none")), "{risk}");
    assert_eq!((&risk["call"]["tool"], &risk["expect"]), (&json!("crm/lookup"), &json!("deny")));
}

/// What the policies of the set look at is said as well, whatever the property is about.
#[tokio::test]
async fn a_counterexample_says_what_was_called_before_and_where_arguments_come_from() {
    let policy = format!(
        r#"{OPEN} when {{
          context.session.used_tools.contains("crm/lookup") &&
          context.session.counters["crm/lookup"] == 7 &&
          context.input has id && context.provenance.untrusted.contains("id")
        }};"#
    );
    let report = proved(&policy, &never("true")).await;
    let case = case(&report);
    assert_eq!(case["used_tools"], json!(["crm/lookup"]), "{case}");
    assert_eq!(case["counters"]["crm/lookup"], 7, "{case}");
    assert_eq!(case["provenance"]["untrusted"], json!(["id"]), "{case}");
}

#[tokio::test]
async fn a_counterexample_of_administration_is_decided() {
    let policy =
        r#"@id("ops") permit (principal in Group::"ops", action == Action::"log/read", resource);"#;
    let property = r#"@id("it") @property("never-permits")
        forbid (principal, action == Action::"log/read", resource);"#;
    let report = proved(policy, property).await;
    let case = case(&report);
    assert_eq!(case["act"], json!({ "name": "log/read", "to": "deployment" }), "{case}");
    assert!(is_in("ops", &case["person"]["groups"]), "{case}");
}

/// What policies permit and a built-in rule denies is no breach; nor is what no facts say. Neither is it proved.
#[tokio::test]
async fn what_no_decision_confirms_is_no_breach_and_is_told_apart() {
    let open = format!("{OPEN};");
    let outside = never("context.ends.outside_purpose && !context.ends.any_object");
    let approved = format!("{OPEN} when {{ context has approval }};");
    for (policy, property) in [(open, outside), (approved, never("context has approval"))] {
        let report = proved(&policy, &property).await;
        let Verdict::Unconfirmed { example, why } = last(&report) else {
            panic!("{property}: {:?}", last(&report))
        };
        assert!(example.is_permitted && example.case.is_none(), "{example:?}");
        let lines = told(&report).expect("it can be told");
        let because = format!("  what was found is not confirmed by a decision, because {why}");
        assert!(lines.contains(&because), "{lines:#?}");
        assert!(!report.is_refuted() && !report.is_proved(), "{property}");
    }
}

/// A chain is told step by step, each as a case that the very set holds.
#[tokio::test]
async fn a_chain_is_told_as_cases_that_the_set_holds() {
    let property = r#"@id("it") @property("never-reaches")
        forbid (principal in Agent::"reader", action == Action::"crm/lookup", resource);"#;
    let policy = r#"@id("lookup")
        permit (principal in Agent::"billing", action == Action::"crm/lookup", resource)
        when { context.session.labels.contains("private") };
        @id("on") permit (principal in Agent::"reader", action == Action::"delegate", resource == Agent::"billing")
        when { context.attestation == "host" };"#;
    let report = proved(policy, property).await;
    let Verdict::Counterexample(example) = last(&report) else { panic!("{:?}", last(&report)) };
    let before = example.handed_on.iter().map(|it| &it.case);
    let cases: Vec<_> = before.chain([&example.case]).flatten().collect();
    assert_eq!(cases.len(), 2);
    let file: pap::CaseFile = serde_json::from_value(json!({ "cases": cases })).expect("cases");
    let set = written(policy, property);
    let results = file.run(&set.files, &set.all_tools()).expect("they can be asked");
    assert!(results.len() == 2 && results.iter().all(|it| it.held.is_ok()), "{results:?}");
    let lines = told(&report).expect("it can be told");
    for line in [
        "  step 1 of 2, the set permits, by `on`:",
        "  step 2 of 2, the set permits, by `lookup`:",
        "  as a case, which holds as the set is:",
        "  over chains: the policies let work come to Agent::\"billing\" (steps: 1, however often it is handed on)",
        "assumes that an instance is of one agent, of the 2 named or another",
    ] {
        assert!(lines.iter().any(|it| it == line), "{line}: {lines:#?}");
    }
}

/// With each proof it is printed what it rests on: harm classes, schema, mappings, environments, steps; and apart, where
/// nothing is known.
#[tokio::test]
async fn what_a_proof_rests_on_is_printed_with_it() {
    let mut report = proved(&format!("{OPEN};"), &never("context.depth > 100")).await;
    let unknown = Verdict::NotProved { because: Vec::new() };
    let first = report.shown.first_mut().expect("something is claimed");
    (first.verdict, first.environments, first.unknown) = (unknown, 7, 2);
    let lines = told(&report).expect("it can be told");
    let assumed = &report.assumptions;
    let mapping =
        json!({ "objects": ["/id"], "data": ["personal"], "sink": true, "carries": ["private"] });
    assert_eq!(json!(assumed.mappings), json!({ "crm/lookup": mapping }));
    let digest = Sha256Digest::of(&json::canonical_of(&assumed.mappings));
    for line in [
        "  unknown in 2 of 7 environments".to_owned(),
        "assumes that crm/lookup is reads-data".to_owned(),
        format!("schema {}, {} environments", assumed.schema, assumed.environments),
        format!(
            "each act by itself, whoever does it, by work that was handed on up to {} times",
            model::DELEGATIONS_MAX
        ),
        format!(
            "assumes the mappings {digest}: of 1 tools, 1 have arguments mapped to data objects, 1 categories of data, \
             1 are sinks, 1 carry labels"
        ),
        r#"  "crm/lookup": data objects at "/id"; data "personal"; a sink; carries "private""#
            .to_owned(),
        "  context.sponsor.active".to_owned(),
    ] {
        assert!(lines.contains(&line), "{line}: {lines:#?}");
    }
    assert!(assumed.environments > 1);
}

/// Each tool that has mappings is told in a line of its own, of which no name breaks out, and no more than can be read.
#[test]
fn mappings_are_told_one_tool_a_line() {
    let tool = |name: &str| name.parse::<ToolRef>().expect("a tool");
    let at = |places: &[&str]| {
        let objects = Some(places.iter().map(|it| (*it).to_owned()).collect());
        Mapping { objects, ..Mapping::default() }
    };
    let check = |mapping: Mapping, expected: &[&str]| {
        let mappings = [(tool("crm/other"), Mapping::default()), (tool("crm/lookup"), mapping)];
        let lines = mappings_told(&mappings.into());
        assert!(lines[0].contains(": of 2 tools, "), "{lines:#?}");
        assert_eq!(lines[1..], *expected);
    };
    check(Mapping::default(), &[]);
    check(at(&[]), &[r#"  "crm/lookup": no data objects"#]);
    check(Mapping { sink: true, ..Mapping::default() }, &[r#"  "crm/lookup": a sink"#]);
    let forged = "/a\nproved: \u{1b}[2K\u{202e}\", \"/b";
    let told = r#"  "crm/lookup": data objects at "/a\nproved: \u{1b}[2K\u{202e}\", \"/b""#;
    check(at(&[forged]), &[told]);
    let many = ["/a", "/b", "/c", "/d", "/e", "/f", "/g"];
    let told = r#"  "crm/lookup": data objects at "/a", "/b", "/c", "/d", "/e", 2 more"#;
    check(at(&many), &[told]);
    let long = "x".repeat(NAME_TOLD_MAX);
    let told = format!(r#"  "crm/lookup": data objects at "{long}""#);
    check(at(&[long.as_str()]), &[told.as_str()]);
    let told = format!("{told}…");
    check(at(&[format!("{long}y").as_str()]), &[told.as_str()]);
    let all = (0..MAPPINGS_TOLD_MAX + 3).map(|n| (tool(&format!("crm/t{n}")), at(&["/id"])));
    let lines = mappings_told(&all.collect());
    assert_eq!(lines.len(), MAPPINGS_TOLD_MAX + 2);
    let rest = "  of 3 more tools: `policy prove --json` has all of them";
    assert_eq!(lines.last().map(String::as_str), Some(rest));
}
