//! A compiler that keeps what the last set came to answers as one that knows nothing.

use cedar_policy::{Policy, PolicySet};
use model::ToolRef;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixtures::{Case, bundle, show, tool_ref};
use crate::split::{Piece, split};
use crate::{Bundle, CompileErrors, Compiler, Snapshot, ToolSchema};

/// Some fail by themselves, some with some schemas of the tools only, some are doubtful with some tools.
const POLICIES: [&str; 14] = [
    r#"permit(principal, action, resource in Server::"payments");"#,
    r#"permit(principal, action in Action::"tools/call", resource in Server::"crm")
       when { context.input has id && context.input.id > 0 };"#,
    r#"permit(principal, action == Action::"crm/lookup", resource) when { context.input.id > 0 };"#,
    r#"forbid(principal, action in Action::"tools/call", resource)
       when { action == Action::"crm/find" && context.input has id && context.input.id > 1 };"#,
    r#"forbid(principal, action == Action::"payments/refund", resource)
       when { context.input has amount && context.input.amount > 100 };"#,
    r#"@description("a; \" // b") forbid(principal, action, resource == Tool::"crm/find")
       // a comment; with "one
       when { context.input has id && context.input.id == 7 };"#,
    r#"@mode("observe") forbid(principal, action, resource == Tool::"payments/refund");"#,
    r#"permit(principal is Desk, action, resource);"#,
    r#"forbid(principal, action, resource) when { context.input == {id: 1} };"#,
    r#"@mode("shadow") permit(principal, action, resource);"#,
    r#"permit(principal, action, resource) when { 1 + };"#,
    r#"permit(principal == ?principal, action, resource);"#,
    r#"permit(principal, action, resource)"#,
    r#"permit(principal, action == Action::"tools/list", resource == Tool::"crm/lookup");"#,
];

const SCHEMAS: [&str; 5] = [
    r#"{ "properties": { "id": { "type": "integer" } }, "required": ["id"] }"#,
    r#"{ "properties": { "id": { "type": "integer" } } }"#,
    r#"{ "properties": { "id": { "type": "string" }, "amount": { "type": "integer" } } }"#,
    r#"{ "type": "object" }"#,
    r##"{ "$ref": "#" }"##,
];

const TOOLS: [&str; 3] = ["crm/find", "crm/lookup", "payments/refund"];

/// One step of a set's history.
#[derive(Clone, Debug)]
enum Change {
    /// The file has these policies, each by number and by the number of its `@id`.
    File(usize, Vec<(usize, usize)>),
    Tool(usize, Option<usize>),
    /// The set has an entity type `Desk`, or not.
    Type(bool),
}

fn change() -> impl Strategy<Value = Change> {
    // Mostly what compiles, so that there is something to keep.
    let number = prop_oneof![6 => 0..7_usize, 1 => 7..POLICIES.len()];
    let policies = prop::collection::vec((number, 0..8_usize), 0..5);
    prop_oneof![
        3 => (0..3_usize, policies).prop_map(|(file, policies)| Change::File(file, policies)),
        2 => (0..TOOLS.len(), prop::option::of(0..SCHEMAS.len()))
            .prop_map(|(tool, schema)| Change::Tool(tool, schema)),
        1 => any::<bool>().prop_map(Change::Type),
    ]
}

fn apply(change: &Change, bundle: &mut Bundle) {
    match change {
        Change::File(file, policies) => {
            let one = |(number, id): &(usize, usize)| {
                format!("// p{id}; \"\n@id(\"p{id}\") {}\n", POLICIES[*number])
            };
            let text = policies.iter().map(one).collect();
            bundle.policies.insert(format!("{file}.cedar"), text);
        }
        Change::Tool(tool, None) => drop(bundle.tools.remove(&tool_ref(TOOLS[*tool]))),
        Change::Tool(tool, Some(schema)) => {
            let input_schema: Value = serde_json::from_str(SCHEMAS[*schema]).expect("a schema");
            bundle.tools.insert(tool_ref(TOOLS[*tool]), ToolSchema { input_schema });
        }
        Change::Type(true) => {
            bundle.schema.insert("desk".to_owned(), "entity Desk;".to_owned());
        }
        Change::Type(false) => drop(bundle.schema.remove("desk")),
    }
}

/// All that a compiled set says, or what is wrong with it.
fn said(compiled: &Result<Snapshot, CompileErrors>) -> String {
    let snapshot = match compiled {
        Ok(snapshot) => snapshot,
        Err(errors) => return errors.to_string(),
    };
    let mut said = vec![snapshot.digest().to_string(), format!("{:?}", snapshot.gap())];
    said.extend(snapshot.warnings().iter().map(ToString::to_string));
    said.push(format!("{:?}", snapshot.ids_of_all().collect::<Vec<_>>()));
    for tool in TOOLS {
        for input in [json!({ "id": 7 }), json!({ "id": "x", "amount": 101 }), json!({})] {
            let name: ToolRef = tool_ref(tool);
            said.push(format!("{:?}", snapshot.validate_arguments(&name, &input)));
            let case = Case::call(tool, input);
            said.push(show(&case.decide(snapshot)));
            said.push(case.could_permit(snapshot).to_string());
        }
    }
    said.push(show(&Case::method("tools/list", "crm").decide(snapshot)));
    said.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_kept_changes_no_answer(changes in prop::collection::vec(change(), 1..12)) {
        let (mut compiler, mut bundle) = (Compiler::default(), bundle(""));
        for change in &changes {
            apply(change, &mut bundle);
            let kept = compiler.compile(bundle.clone());
            prop_assert_eq!(said(&kept), said(&Snapshot::compile(bundle.clone())));
        }
    }

    /// Whatever the text is, the pieces are the policies that Cedar finds in it.
    #[test]
    fn pieces_are_the_policies_of_the_text(
        parts in prop::collection::vec(
            prop_oneof![
                (0..POLICIES.len()).prop_map(|number| POLICIES[number].to_owned()),
                r#"[ ;"/\\\n\r@a(){}]{0,6}"#,
            ],
            0..6,
        ),
    ) {
        let text = parts.join("\n");
        let pieces = split(&text);
        let sets: Vec<_> = pieces.iter().map(|piece| piece.text.parse::<PolicySet>().ok()).collect();
        match text.parse::<PolicySet>() {
            Ok(whole) => {
                let found = sets.iter().map(|set| {
                    let set = set.as_ref().expect("a policy of a text that parses");
                    (set.policies().count(), set.templates().count())
                });
                let found: Vec<_> = found.collect();
                prop_assert!(found.iter().all(|(policies, templates)| policies + templates == 1));
                prop_assert_eq!(found.len(), whole.policies().count() + whole.templates().count());
                let texts = |set: &PolicySet| -> Vec<String> {
                    let mut texts: Vec<_> = set.policies().filter_map(Policy::to_cedar).collect();
                    texts.sort_unstable();
                    texts
                };
                let mut own: Vec<_> = sets.iter().flatten().flat_map(texts).collect();
                own.sort_unstable();
                prop_assert_eq!(own, texts(&whole));
            }
            Err(_) => prop_assert!(sets.iter().any(Option::is_none)),
        }
    }
}

#[test]
fn a_policy_begins_at_its_first_word_and_ends_at_its_semicolon() {
    let text = "// of; \"clerks\n@a(\";\\\"\") permit; // x\r permit // \"\n;;\n \"a;\\";
    let pieces = split(text);
    let texts: Vec<_> = pieces.iter().map(|piece| piece.text).collect();
    assert_eq!(texts, ["@a(\";\\\"\") permit;", "permit // \"\n;", ";", "\"a;\\"]);
    let is_in_place = |piece: &Piece<'_>| text[piece.offset..].starts_with(piece.text);
    assert!(pieces.iter().all(is_in_place));
    assert!(split(" // nothing;").is_empty());
}

/// It keeps what the last set that compiled needed, and no more.
#[test]
fn what_the_last_set_did_not_need_is_forgotten() {
    let mut compiler = Compiler::default();
    let text = |ids: std::ops::Range<usize>| {
        ids.map(|id| format!("@id(\"p{id}\") {}", POLICIES[0])).collect::<Vec<_>>().concat()
    };
    let tools = bundle("").tools.len();
    for ids in [0..5, 5..9, 8..10] {
        let policies = ids.len();
        compiler.compile(bundle(&text(ids))).expect("it compiles");
        assert_eq!(compiler.kept(), (policies, policies, tools));
    }
    // What fails takes nothing away, and what it left is forgotten with the next.
    compiler.compile(bundle(&format!("{} {}", text(20..30), POLICIES[7]))).expect_err("no `@id`");
    compiler.compile(bundle(&text(8..10))).expect("it compiles");
    assert_eq!(compiler.kept(), (2, 2, tools));
}
