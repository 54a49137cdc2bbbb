//! The retail policy of tau2-bench, written in Cedar (`policies/examples/retail`): every action that a task
//! expects has a case, and every case holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pap::{CaseFile, CaseResult, PolicyFiles, Tools};
use serde_json::{Map, Value, json};

/// What waits for the customer's yes, and nothing else.
const CONFIRMATION: &str = "confirmation.cedar";

/// What a case says of an act beyond what the task does: what it rests on, which the server vouches for.
const VOUCHED_FOR: [&str; 3] = ["customer", "order", "payment"];

/// The one action that a task expects and the retail policy refuses: its order is pending, as the action
/// after it says.
const WRONG: &str = "task 64, action 6";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn set() -> (PolicyFiles, Tools) {
    let dir = root().join("policies/examples/retail");
    let files = fs::read_dir(dir).expect("it is there").map(|entry| entry.expect("it is").path());
    let policies: BTreeMap<_, _> = files
        .filter(|path| path.extension().is_some_and(|it| it == "cedar"))
        .map(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).expect("it is text");
            (name.to_owned(), fs::read_to_string(&path).expect("it is text"))
        })
        .collect();
    let tools = serde_json::from_value(yaml("policies/examples/retail/tools.yaml"));
    (PolicyFiles { policies, ..PolicyFiles::default() }, tools.expect("they are tools"))
}

/// The cases of a file, as they stand in it.
fn cases(file: &str) -> Vec<Map<String, Value>> {
    let file = yaml(&format!("policies/examples/retail/cases/{file}.yaml"));
    serde_json::from_value(file["cases"].clone()).expect("it has cases")
}

fn decided(cases: &[Map<String, Value>], set: &PolicyFiles, tools: &Tools) -> Vec<CaseResult> {
    let file: CaseFile = serde_json::from_value(json!({ "cases": cases })).expect("cases");
    file.run(set, tools).expect("the set compiles")
}

fn name(case: &Map<String, Value>) -> &str {
    case["name"].as_str().expect("a case has a name")
}

/// Every action that a task expects, by the name that its case has.
fn expected() -> BTreeMap<String, Value> {
    let tasks: Value = serde_json::from_str(&read("testdata/tau2/retail_tasks.json")).unwrap();
    let actions = |task: &Value| {
        let id = task["id"].as_str().expect("it has an id").to_owned();
        let actions = task["actions"].as_array().expect("it has actions").clone();
        let named = move |(number, action)| (format!("task {id}, action {number}"), action);
        actions.into_iter().enumerate().map(named)
    };
    tasks.as_array().expect("they are many").iter().flat_map(actions).collect()
}

#[test]
fn every_action_of_every_task_has_its_case() {
    let expected = expected();
    assert_eq!(expected.len(), 550);
    let (reading, changing) = (cases("reading"), cases("changing"));
    let mut seen = BTreeSet::new();
    for case in reading.iter().chain(&changing) {
        let name = name(case);
        let action = expected.get(name).unwrap_or_else(|| panic!("no task expects `{name}`"));
        assert!(seen.insert(name), "`{name}` is there twice");
        let tool = action["tool"].as_str().expect("it has a tool");
        assert_eq!(case["call"]["tool"], format!("retail/{tool}"), "{name}");
        let mut input = case["call"]["input"].as_object().expect("it has arguments").clone();
        input.retain(|argument, _| !VOUCHED_FOR.contains(&argument.as_str()));
        assert_eq!(Value::Object(input), action["args"], "{name}");
    }
    assert_eq!(seen.len(), expected.len(), "an action has no case");
    // A task that expects no action is there by what is refused in it.
    let refused = cases("refused");
    for task in 0..114 {
        let starts = [format!("task {task}, "), format!("task {task}:")];
        let mut all = reading.iter().chain(&changing).chain(&refused).map(name);
        assert!(all.any(|it| starts.iter().any(|start| it.starts_with(start))), "task {task}");
    }
}

#[test]
fn every_case_holds_and_every_rule_refuses_something_that_a_task_asks_for() {
    let (set, tools) = set();
    let mut refuses = BTreeSet::new();
    for file in ["reading", "changing", "refused"] {
        let cases = cases(file);
        for CaseResult { name, held, asked, .. } in decided(&cases, &set, &tools) {
            assert_eq!(held, Ok(()), "{file}: {name}");
            let applied = asked.iter().filter(|it| file == "refused" && it.applies == Some(true));
            refuses.extend(applied.map(|it| it.policy.to_string()));
        }
    }
    let all = set.policies.values().flat_map(|text| text.split("@id(\"").skip(1));
    for id in all.filter_map(|rest| rest.split('"').next()) {
        assert!(refuses.contains(id), "`{id}` refuses nothing");
        assert!(read("policies/examples/retail/README.md").contains(id), "`{id}` is not told of");
    }
}

/// What waits for the customer is permitted once the customer has said yes: nothing else is in its way.
#[test]
fn what_is_confirmed_is_permitted() {
    let (mut set, tools) = set();
    set.policies.remove(CONFIRMATION).expect("it is a part of the set");
    let mut cases = cases("changing");
    assert_eq!(cases.len(), 176);
    for case in &mut cases {
        let (expect, by) = match name(case) {
            WRONG => ("deny", "retail-delivered"),
            _ => ("permit", "retail-tools"),
        };
        case.extend([("expect".to_owned(), expect.into()), ("by".to_owned(), json!([by]))]);
        case.remove("remedies");
    }
    for CaseResult { name, held, .. } in decided(&cases, &set, &tools) {
        assert_eq!(held, Ok(()), "{name}");
    }
}
