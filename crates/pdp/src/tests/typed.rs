//! That what a schema says of arguments is what decisions are made on, what editors are told, and what is warned of.

use std::collections::BTreeSet;

use cedar_policy::{Context, Request, RestrictedExpression, Schema};
use expect_test::{Expect, expect};
use model::Decision;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::fixtures::{Case, bundle, found_in, tool_ref};
use crate::context::{self, AskedFor, Given};
use crate::decide::arguments;
use crate::entities::World;
use crate::formats::Format;
use crate::labels::Labels;
use crate::reads::pointer_tokens;
use crate::schema::Part;
use crate::shape::{Members, Shape};
use crate::{Bundle, Compiler, Snapshot, ToolSchema, schema_text};

const TOOL: &str = "crm/any";

fn with_tool(policies: &str, tools: &[(&str, Value)]) -> Bundle {
    let mut bundle = bundle(policies);
    for (name, schema) in tools {
        let input_schema = schema.clone();
        bundle.tools.insert(tool_ref(name), ToolSchema { input_schema });
    }
    bundle
}

fn told(bundle: &Bundle) -> (String, Schema) {
    let (text, left_out) = schema_text(bundle).expect("it has a text");
    assert!(left_out.is_empty(), "{left_out:?}");
    let (schema, _) = Schema::from_cedarschema_str(&text).expect("Cedar reads it");
    (text, schema)
}

/// What Cedar says of a call with this `input`, by `schema`, which counts the calls of all tools or of none.
fn asked(
    snapshot: &Snapshot,
    case: &Case,
    (input, unread): (RestrictedExpression, &BTreeSet<String>),
    (schema, counts_all): (&Schema, bool),
) -> Result<Request, String> {
    let facts = case.facts();
    let counted = snapshot.tools.keys().filter(|_| counts_all).cloned().collect();
    let given = Given { input, unread, provenance: None, outside: false };
    let context = context::of((&facts, None), given, (&counted, &AskedFor::Everything));
    let context = context.expect("all of it can be said");
    let World { actor, resource, .. } = World::of(&case.request, &facts, &Labels::default());
    let action = snapshot.vocabulary.actions[TOOL].placed.uid.clone();
    let request = Request::new(actor.uid, action, resource.uid, context, Some(schema));
    request.map_err(|error| error.to_string())
}

/// An argument's schema, with a value that it allows.
fn argument() -> impl Strategy<Value = (Value, Value)> {
    let texts = prop::collection::btree_set("[a-c\"\\\\)]{1,3}", 1..4);
    let formats = prop::sample::select(vec!["date-time", "decimal", "ipv4", "ipv6", "email"]);
    let formatted = prop::sample::select(vec![
        "2026-11-24T00:00:00+01:00",
        "2026-11-24T00:00:60Z",
        "12.50",
        "1e5",
        "10.0.0.1",
        "2001:db8::1",
        "::ffff:10.0.0.1",
        "",
    ]);
    let leaf = prop_oneof![
        "[a-z ]{0,8}".prop_map(|text| (json!({ "type": "string" }), json!(text))),
        texts.prop_map(|texts| (json!({ "enum": texts }), json!(texts.iter().next()))),
        (formats, formatted).prop_map(|(format, text)| {
            (json!({ "type": "string", "format": format }), json!(text))
        }),
        any::<i64>().prop_map(|number| (json!({ "type": "integer" }), json!(number))),
        (-1e9..1e9_f64).prop_map(|number| (json!({ "type": "number" }), json!(number))),
        any::<bool>().prop_map(|is| (json!({ "type": "boolean" }), json!(is))),
        Just((json!({ "type": "string", "const": "a" }), json!("a"))),
        Just((json!({ "type": ["string", "null"] }), json!(null))),
        Just((json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }] }), json!(1))),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let list = (inner.clone(), 0..3_usize).prop_map(|((schema, value), count)| {
            (json!({ "type": "array", "items": schema }), json!(vec![value; count]))
        });
        prop_oneof![list, object(inner)]
    })
}

/// An object of such, of which some are required and some are left out.
fn object(member: impl Strategy<Value = (Value, Value)>) -> impl Strategy<Value = (Value, Value)> {
    let member = (member, any::<bool>(), any::<bool>());
    prop::collection::btree_map("[a-z/~ \"]{1,4}", member, 0..4).prop_map(|members| {
        let (mut properties, mut given, mut required) = (Map::new(), Map::new(), Vec::new());
        for (name, ((schema, value), is_required, is_given)) in members {
            if is_required {
                required.push(name.clone());
            }
            if is_required || is_given {
                given.insert(name.clone(), value);
            }
            properties.insert(name, schema);
        }
        let schema = json!({ "type": "object", "properties": properties, "required": required });
        (schema, Value::Object(given))
    })
}

/// Whether policies know of the argument at `pointer`.
fn is_typed(arguments: &Members, pointer: &str) -> bool {
    let (mut members, mut found) = (Some(arguments), false);
    for name in pointer_tokens(pointer) {
        let Some(member) = members.and_then(|members| members.get(&name)) else { return false };
        found = true;
        members = match &member.shape {
            Shape::Record(below) => Some(below),
            _ => None,
        };
    }
    found
}

/// The same schema, all members of which can be left out.
fn without_required(mut schema: Value) -> Value {
    let below = match &mut schema {
        Value::Object(keywords) => {
            keywords.remove("required");
            keywords.values_mut().collect::<Vec<_>>()
        }
        Value::Array(items) => items.iter_mut().collect(),
        _ => Vec::new(),
    };
    for value in below {
        *value = without_required(value.take());
    }
    schema
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Strictly: by what editors are told, and by what policies are checked against; but for what has no exact value
    /// and is left out, which no policy that is asked looks at.
    #[test]
    fn what_is_asked_is_as_the_schema_says((schema, given) in object(argument())) {
        let snapshot = Snapshot::compile(with_tool("", &[(TOOL, schema.clone())]));
        let snapshot = snapshot.expect("it compiles");
        prop_assume!(snapshot.validate_arguments(&tool_ref(TOOL), &given).is_ok());
        let case = Case::call(TOOL, given);
        let action = &snapshot.vocabulary.actions[TOOL];
        let (input, unread) = arguments(&case.request, action).expect("they fit");
        let is_whole = !unread.iter().any(|pointer| is_typed(&action.input, pointer));
        let schema = if is_whole { schema } else { without_required(schema) };
        let bundle = with_tool("", &[(TOOL, schema)]);
        let (_, told) = told(&bundle);
        let snapshot = Snapshot::compile(bundle).expect("it compiles");
        let part = Part { actions: BTreeSet::from([TOOL]), ..Part::default() };
        let own = snapshot.vocabulary.part(&part).expect("it is a schema");
        for (schema, counts_all) in [(&told, true), (&own, false)] {
            let answer = asked(&snapshot, &case, (input.clone(), &unread), (schema, counts_all));
            prop_assert!(answer.is_ok(), "{:?}", answer);
        }
    }

    #[test]
    fn a_formatted_text_is_a_value_or_left_out(
        text in prop_oneof![
            "[0-2]{4}-[0-1][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,4})?(Z|[+-][0-2][0-9]:[0-6][0-9])",
            "-?[0-9]{1,16}(\\.[0-9]{1,5})?",
            "([0-9]{1,3}\\.){3}[0-9]{1,3}",
            "([0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}",
            "\\PC{0,20}",
        ],
    ) {
        for name in ["date-time", "decimal", "ipv4", "ipv6"] {
            let format = Format::named(name).expect("it has values");
            if let Some(value) = format.value(&text) {
                let context = Context::from_pairs([("x".to_owned(), value)]);
                prop_assert!(context.is_ok(), "{} {}: {:?}", name, text, context.err());
            }
        }
    }
}

/// The test above would see it.
#[test]
fn what_is_not_as_the_schema_says_is_refused() {
    let number = json!({ "properties": { "n": { "type": "integer" } }, "required": ["n"] });
    let bundle = with_tool("", &[(TOOL, number)]);
    let (_, schema) = told(&bundle);
    let snapshot = Snapshot::compile(bundle).expect("it compiles");
    let case = Case::call(TOOL, json!({ "n": 1 }));
    let check = |value: Option<RestrictedExpression>, expected: bool| {
        let input = RestrictedExpression::new_record(value.map(|value| ("n".to_owned(), value)));
        let input = input.expect("one name");
        let answer = asked(&snapshot, &case, (input, &BTreeSet::new()), (&schema, true));
        assert_eq!(answer.is_ok(), expected, "{answer:?}");
    };
    check(Some(RestrictedExpression::new_long(1)), true);
    check(Some(RestrictedExpression::new_string("1".to_owned())), false);
    check(None, false);
}

/// What was decided before formats were types is decided again as it was, by a set of the same digest.
#[test]
fn a_set_that_compared_formats_as_texts_is_read_as_it_was() {
    let at = json!({ "type": "string", "format": "date-time" });
    let schema = json!({ "properties": { "at": at }, "required": ["at"] });
    let policy = r#"@id("a") permit (principal, action == Action::"crm/lookup", resource)
        when { context.input.at like "2026-*" };"#;
    let bundle = with_tool(policy, &[("crm/lookup", schema)]);
    assert!(Snapshot::compile(bundle.clone()).is_err(), "it is no text any more");
    let [_, mut before] = Compiler::of_before();
    let snapshot = before.compile(bundle.clone()).expect("it was one");
    assert_eq!(snapshot.digest(), bundle.digest());
    for (at, permits) in [("2026-11-24", true), ("2027-11-24", false)] {
        let case = Case::call("crm/lookup", json!({ "at": at }));
        let decision = snapshot.decide(&case.request, &case.facts());
        assert_eq!(matches!(decision, Decision::Permit(_)), permits, "{at}: {decision:?}");
    }
}

fn ticket() -> Value {
    json!({
        "type": "object",
        "properties": {
            "kind": { "enum": ["bug", "task"] },
            "tags": { "type": "array", "items": { "enum": ["red", "blue"] } },
            "to": {
                "type": "object",
                "properties": { "country": { "type": "string", "enum": ["DE", "FR"] } },
                "required": ["country"],
            },
            "free": { "type": "string", "format": "email" },
            "only": { "type": "string", "const": "a" },
        },
        "required": ["kind", "tags", "to", "free", "only"],
    })
}

/// What is warned of a policy with this scope and condition.
fn warned(scope: &str, condition: &str, expected: Expect) {
    let policy = format!("// One\n@id(\"a\") permit (principal, {scope}) when {{ {condition} }};");
    let other = json!({ "properties": { "kind": { "enum": ["bug", "chore"] } } });
    let bundle = with_tool(&policy, &[("crm/ticket", ticket()), ("crm/other", other)]);
    expected.assert_eq(&found_in("test.cedar", bundle));
}

#[test]
fn a_text_that_an_argument_never_is_is_found() {
    let it = r#"action == Action::"crm/ticket", resource"#;
    for condition in [
        r#"context.input.kind == "bug""#,
        r#"["bug", "task"].contains(context.input.kind)"#,
        r#"context.input.tags.containsAny(["red", "blue"])"#,
        r#"context.input.to.country != "DE""#,
        r#"context.input.only == "a""#,
        r#"context.input.free == "anything""#,
        r#"context.input.kind like "b*""#,
        r#"context.purpose == "bgu""#,
    ] {
        warned(it, condition, expect![""]);
    }
    let kind = || {
        expect![[
            r#"test.cedar:2: policy `a`: compares the argument `/kind` with "bgu", which it never is: name one of "bug", "task", or leave that out"#
        ]]
    };
    warned(it, r#"context.input.kind == "bgu""#, kind());
    warned(it, r#""bgu" != context.input.kind"#, kind());
    warned(it, r#"["bug", "bgu"].contains(context.input.kind)"#, kind());
    let tags = || {
        expect![[
            r#"test.cedar:2: policy `a`: compares the argument `/tags` with "green", which it never is: name one of "blue", "red", or leave that out"#
        ]]
    };
    warned(it, r#"context.input.tags.contains("green")"#, tags());
    warned(it, r#"context.input.tags.containsAll(["red", "green"])"#, tags());
    warned(
        it,
        r#"context.depth == 0 || context.input.to.country == "IT""#,
        expect![[
            r#"test.cedar:2: policy `a`: compares the argument `/to/country` with "IT", which it never is: name one of "DE", "FR", or leave that out"#
        ]],
    );
    warned(
        it,
        r#"context.input.only == "b""#,
        expect![[
            r#"test.cedar:2: policy `a`: compares the argument `/only` with "b", which it never is: name one of "a", or leave that out"#
        ]],
    );
}

/// Of a policy for several tools, what one of them takes is no mistake.
#[test]
fn a_text_that_one_of_its_tools_takes_is_not_found() {
    let server = r#"action in Action::"tools/call", resource in Server::"crm""#;
    let kind = |text: &str| format!(r#"context.input has kind && context.input.kind == "{text}""#);
    warned(server, &kind("chore"), expect![""]);
    warned(server, &kind("task"), expect![""]);
    warned(
        server,
        &kind("bgu"),
        expect![[
            r#"test.cedar:2: policy `a`: compares the argument `/kind` with "bgu", which it never is: name one of "bug", "chore", "task", or leave that out"#
        ]],
    );
}

/// Whatever a server says of its arguments: it is text to who reads the schema, and no part of it.
#[test]
fn editors_are_told_which_texts_there_can_be() {
    let (text, schema) = told(&with_tool("", &[("crm/ticket", ticket())]));
    for doc in [
        r#"@doc("one of \"bug\", \"task\"")"#,
        r#"@doc("one of \"blue\", \"red\"")"#,
        r#"@doc("one of \"DE\", \"FR\"")"#,
        r#"@doc("format \"email\"")"#,
    ] {
        assert!(text.contains(doc), "{doc}: {text}");
    }
    let evil = "x\")\n}; action \"evil\"; // \u{202e}";
    let hostile = json!({ "properties": {
        "kind": { "enum": [evil, "y".repeat(2_000)], "format": evil },
        "x\": Long }; action \"evil\"; //": { "type": "string", "enum": ["a"] },
    } });
    let (text, hostile) = told(&with_tool("", &[("crm/ticket", hostile)]));
    let names = |schema: &Schema| schema.actions().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&hostile), names(&schema), "{text}");
    assert!(text.contains("1 more") && !text.contains('\u{202e}'), "{text}");
}

/// What one server lists keeps nobody from being told of the others.
#[test]
fn a_tool_without_a_usable_schema_is_named_and_left_out() {
    let elsewhere = json!({ "$ref": "https://schemas.example/x" });
    let bundle = with_tool("permit (", &[("crm/elsewhere", elsewhere), ("crm/ticket", ticket())]);
    let (text, left_out) = schema_text(&bundle).expect("it has a text");
    let left_out: Vec<_> = left_out.iter().map(ToString::to_string).collect();
    expect![
        "tool `crm/elsewhere` is not callable: its input schema refers to `https://schemas.example/x`"
    ]
    .assert_eq(&left_out.join("\n"));
    assert!(text.contains("crm/ticket") && !text.contains("crm/elsewhere"), "{text}");
}
