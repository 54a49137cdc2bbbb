//! What is found when a policy set is compiled.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cedar_policy::{PolicySet, Schema, ValidationMode, Validator};
use expect_test::{Expect, expect};
use serde_json::json;

use super::fixtures::{Case, bundle, show, snapshot, tool_ref};
use crate::limits::limits;
use crate::{
    Bundle, Compiler, POLICIES_MAX, POLICY_BYTES_MAX, Snapshot, TEXT_MAX, TOOLS_MAX, ToolSchema,
    schema_text,
};

fn check(policies: &str, expected: Expect) {
    check_bundle(bundle(policies), expected);
}

fn check_bundle(bundle: Bundle, expected: Expect) {
    let found = match Snapshot::compile(bundle) {
        Ok(snapshot) => {
            let shown: Vec<String> = snapshot.warnings().iter().map(ToString::to_string).collect();
            let own = shown.into_iter().filter(|it| !it.starts_with("no permit names"));
            own.fold("compiles".to_owned(), |text, it| text + "\nwarning: " + &it)
        }
        Err(errors) => errors.to_string(),
    };
    expected.assert_eq(&found);
}

#[test]
fn annotations_are_checked() {
    check(
        "permit(principal, action, resource);\n@id(\"a b\") permit(principal, action, resource);",
        expect![[r#"
            test.cedar:1: every policy needs an `@id`: write `@id("NAME")` before it
            test.cedar:2: policy `a b`: `a b` is not a policy id: expected 1 to 128 of a-z, A-Z, 0-9, `.`, `_`, `-`, `/`, `:`"#]],
    );
    check(
        r#"@id("a") @obligaton("redact:x") permit(principal, action, resource);
           @id("b") @obligation("shred:x") permit(principal, action, resource);
           @id("c") @obligation("redact") permit(principal, action, resource);
           @id("d") @obligation("redact:x") forbid(principal, action, resource);
           @id("e") @remedy("prayer") forbid(principal, action, resource);
           @id("f") @remedy("approval") permit(principal, action, resource);
           @id("g") @mode("shadow") permit(principal, action, resource);
           @id("h") @control("") permit(principal, action, resource);"#,
        expect![[r#"
            test.cedar:1: policy `a`: unknown annotation `@obligaton`; known are `control`, `description`, `id`, `mode`, `obligation`, `property`, `remedy`
            test.cedar:2: policy `b`: unknown obligation `shred`; known are `notify`, `redact`
            test.cedar:3: policy `c`: obligation `redact` needs an argument: `redact:ARGUMENT`
            test.cedar:4: policy `d`: `@obligation` says what a permit owes, and this is a forbid: take it out
            test.cedar:5: policy `e`: unknown remedy `prayer`; known are `approval`, `step_up`
            test.cedar:6: policy `f`: `@remedy` says what lifts a forbid, and this is a permit: take it out
            test.cedar:7: policy `g`: unknown mode `shadow`; known is `observe`
            test.cedar:8: policy `h`: `@control` names no control: say which, or take it out"#]],
    );
}

#[test]
fn ids_are_unique_over_all_files() {
    let mut bundle = bundle(r#"@id("a") permit(principal, action, resource);"#);
    let second = "\n\n@id(\"a\")\nforbid(principal, action, resource);";
    bundle.policies.insert("z.cedar".to_owned(), second.to_owned());
    check_bundle(
        bundle,
        expect!["z.cedar:3: policy `a`: `@id` is also at test.cedar:1: give one of them another"],
    );
}

#[test]
fn mistakes_are_named_with_their_place() {
    let cut = "@id(\"a\")\npermit(principal, action, resource)\nwhen { 1 + };";
    let told = Snapshot::compile(bundle(cut)).expect_err("it is cut").to_string();
    // What could stand there is told as the parser says it.
    assert!(told.starts_with("test.cedar:3: unexpected token `}` (expected "), "{told}");
    check(
        r#"@id("typo") permit(principal, action == Action::"payments/refund", resource)
           when { context.input.amuont > 1 };
           @id("type") permit(principal, action == Action::"payments/refund", resource)
           when { context.input has amount && context.input.amount == "1" };
           @id("optional") permit(principal, action == Action::"payments/refund", resource)
           when { context.input.amount > 1 };
           @id("entity") permit(principal is Robot, action, resource);
           @id("whole") permit(principal, action == Action::"crm/lookup", resource)
           when { context.input == {id: 1} };"#,
        expect![[r#"
            test.cedar:2: policy `typo`: attribute `input.amuont` in context for Action::"payments/refund" not found (did you mean `amount`?)
            test.cedar:4: policy `type`: the types Long and String are not compatible (for policy `type`, both operands to a `==` expression must have compatible types. Types must be exactly equal to be compatible)
            test.cedar:6: policy `optional`: unable to guarantee safety of access to optional attribute `input.amount` in context for Action::"payments/refund" (try testing for the attribute's presence with `context.input has amount && ..`)
            test.cedar:7: policy `entity`: unrecognized entity type `Robot` (did you mean `Tool`?)
            test.cedar:8: policy `whole`: uses `context`, `context.input` or `context.provenance` as a whole; name the members it reads"#]],
    );
}

#[test]
fn templates_are_refused() {
    check(
        r#"@id("template") permit(principal == ?principal, action, resource);"#,
        expect!["test.cedar:1: templates are not supported: write out whom it is about"],
    );
}

#[test]
fn what_names_nothing_is_doubtful() {
    check(
        r#"@id("later") permit(principal, action == Action::"crm/later", resource)
           when { context.input.x > 1 };
           @id("tool") permit(principal, action, resource == Tool::"crm/later");
           @id("mismatch") permit(principal, action == Action::"tools/list", resource is Tool);
           @id("some") permit(principal, action in [Action::"crm/later", Action::"crm/lookup"],
           resource) when { context.input.id > 1 };"#,
        expect![[r#"
            compiles
            warning: test.cedar:1: policy `later`: names `crm/later`, which is no method and no tool in the set: correct it, or describe the tool
            warning: test.cedar:1: policy `later`: matches no action, so it was not type-checked: describe the tools that it is for
            warning: test.cedar:3: policy `tool`: names the tool `crm/later`, which is not in the set: correct it, or describe the tool
            warning: test.cedar:4: policy `mismatch`: policy is impossible: the policy expression evaluates to false for all valid requests
            warning: test.cedar:4: policy `mismatch`: unable to find an applicable action given the policy scope constraints
            warning: test.cedar:5: policy `some`: names `crm/later`, which is no method and no tool in the set: correct it, or describe the tool"#]],
    );
    // Of a server that has no tools here nothing is said of how others look.
    check(
        r#"@id("elsewhere") permit(principal, action in Action::"tools/call", resource in Server::"hr")
           when { context.input.whatever == 1 };"#,
        expect![[r#"
            compiles
            warning: test.cedar:1: policy `elsewhere`: matches no action, so it was not type-checked: describe the tools that it is for"#]],
    );
    let without_tools = Bundle { tools: [].into(), ..bundle(crate::STARTER_POLICY) };
    check_bundle(without_tools, expect!["compiles"]);
}

#[test]
fn a_tool_whose_schema_cannot_be_used_is_left_out() {
    let mut bundle = bundle("");
    for (name, schema) in [
        ("crm/remote", json!({ "$ref": "https://schemas.example/x.json" })),
        ("crm/self", json!({ "$ref": "#" })),
        ("crm/pattern", json!({ "properties": { "x": { "type": "string", "pattern": "(" } } })),
        ("tasks/get", json!({ "type": "object" })),
    ] {
        bundle.tools.insert(tool_ref(name), ToolSchema { input_schema: schema });
    }
    check_bundle(
        bundle,
        expect![[r#"
        compiles
        warning: tool `crm/pattern` is not callable: its input schema is none: "(" is not a "regex"
        warning: tool `crm/remote` is not callable: its input schema refers to `https://schemas.example/x.json`
        warning: tool `crm/self` is not callable: its input schema is recursive, or nests deeper than 64
        warning: tool `tasks/get` is not callable: a method of the same name is built in"#]],
    );
}

#[test]
fn schema_parts_add_types_but_no_actions() {
    let mut with_type = bundle("");
    with_type.schema.insert("more".to_owned(), "entity Desk;".to_owned());
    check_bundle(with_type.clone(), expect!["compiles"]);
    let actions = r#"entity Desk; action "sit" appliesTo { principal: Desk, resource: Desk };"#;
    with_type.schema.insert("more".to_owned(), actions.to_owned());
    check_bundle(
        with_type.clone(),
        expect![
            "more:1: a schema part declares types; actions come from methods and tools: see docs/policy-sets.md"
        ],
    );
    with_type.schema.insert("more".to_owned(), "entity Person;".to_owned());
    check_bundle(
        with_type,
        expect![
            "more:1: `Person` names something else already: give the type another name: see docs/policy-sets.md"
        ],
    );
}

#[test]
fn the_digest_names_the_content() {
    let one = bundle(r#"@id("a") permit(principal, action, resource);"#);
    let mut other = one.clone();
    assert_eq!(one.digest(), other.digest());
    let read: Bundle = serde_json::from_slice(&json::canonical_of(&one)).expect("a bundle");
    assert_eq!(read, one);
    other.tools.remove(&tool_ref("crm/lookup"));
    assert_ne!(one.digest(), other.digest());
    assert_eq!(Snapshot::compile(one.clone()).expect("it compiles").digest(), one.digest());
    expect!["bdb4c86838d40168cf1151ca6b1b3b9f5062f205e8f23b9cf140b85a13aaa51c"]
        .assert_eq(&Bundle::default().digest().to_string());
}

/// With a policy per tool, each is checked against one action, and one that meets all tools
/// against one tool of each kind: the work is linear, not quadratic.
#[test]
fn n_114_policies_are_checked_against_the_part_that_they_can_match() {
    const TOOLS: usize = 60;
    let mut bundle = bundle("");
    for n in 0..TOOLS {
        let properties = json!({ format!("arg{}", n % 3): { "type": "integer" } });
        let input_schema = json!({ "type": "object", "properties": properties });
        bundle.tools.insert(tool_ref(&format!("crm/t{n}")), ToolSchema { input_schema });
    }
    let mut counts = String::new();
    for text in [
        r#"permit(principal, action == Action::"crm/t1", resource);"#,
        r#"permit(principal, action, resource == Tool::"crm/t1") when { context has depth };"#,
        r#"permit(principal, action in Action::"tools/call", resource in Server::"crm");"#,
        r#"permit(principal, action in Action::"tools/call", resource in Server::"crm")
           when { context.input has id };"#,
        r#"permit(principal, action in Action::"tools/call", resource is Tool);"#,
        r#"permit(principal is Person, action, resource is Bundle);"#,
    ] {
        bundle.policies = [("a".to_owned(), format!("@id(\"a\") {text}"))].into();
        let snapshot = Snapshot::compile(bundle.clone()).expect("it compiles");
        let part = crate::validate::Checker::new(&snapshot.vocabulary).part(&snapshot.policies[0]);
        writeln!(counts, "{} for {text}", part.actions.len()).expect("text");
    }
    expect![[r#"
        1 for permit(principal, action == Action::"crm/t1", resource);
        5 for permit(principal, action, resource == Tool::"crm/t1") when { context has depth };
        1 for permit(principal, action in Action::"tools/call", resource in Server::"crm");
        2 for permit(principal, action in Action::"tools/call", resource in Server::"crm")
                   when { context.input has id };
        1 for permit(principal, action in Action::"tools/call", resource is Tool);
        5 for permit(principal is Person, action, resource is Bundle);
    "#]]
    .assert_eq(&counts);
}

/// Another tool looks alike, and to it the condition does not apply: it cannot stand for the one that is named.
#[test]
fn a_tool_that_a_condition_names_is_checked_by_itself() {
    let mut bundle = bundle(
        r#"@id("a") permit(principal, action in Action::"tools/call", resource in Server::"crm")
           when { action == Action::"crm/other" && context.input.id > "x" };"#,
    );
    let lookup = bundle.tools[&tool_ref("crm/lookup")].clone();
    bundle.tools.insert(tool_ref("crm/other"), lookup);
    check_bundle(
        bundle,
        expect!["test.cedar:2: policy `a`: unexpected type: expected Long but saw String"],
    );
}

#[test]
fn a_bundle_has_limits() {
    let of_bytes = |count: usize| {
        let text = " ".repeat(count);
        Bundle { policies: [("a".to_owned(), text)].into(), ..Bundle::default() }
    };
    assert!(limits(&of_bytes(POLICY_BYTES_MAX)).is_ok());
    assert!(limits(&of_bytes(POLICY_BYTES_MAX + 1)).is_err());
    let of_tools = |count: usize| {
        let tool = |n| (tool_ref(&format!("crm/t{n}")), ToolSchema { input_schema: json!({}) });
        Bundle { tools: (0..count).map(tool).collect(), ..Bundle::default() }
    };
    assert!(limits(&of_tools(TOOLS_MAX)).is_ok());
    assert!(limits(&of_tools(TOOLS_MAX + 1)).is_err());
    let policies = "permit(principal,action,resource);".repeat(POLICIES_MAX + 1);
    let errors = Snapshot::compile(bundle(&policies)).expect_err("too many policies");
    expect!["more than 20000 policies: say of several tools or agents at once what is alike"]
        .assert_eq(&errors.to_string());
}

/// Whichever text it is that is parsed, and whatever reads it; but for a set by which an earlier build decided.
#[test]
fn what_is_too_long_is_refused_before_it_is_parsed() {
    let told = |several: &str| {
        let remedy = format!("say of many at once what is alike, or write several {several}");
        format!("is {} bytes long, of at most {TEXT_MAX}: {remedy}", TEXT_MAX + 1)
    };
    let policy = |bytes: usize| {
        let [begin, end] = [
            "@id(\"a\") permit (principal, action == Action::\"crm/lookup\", resource)\nwhen { context.risk != \"",
            "\" };",
        ];
        format!("// It is on line 2.\n{begin}{}{end}", "x".repeat(bytes - begin.len() - end.len()))
    };
    let part = |bytes: usize| {
        let part = "entity Desk;";
        let part = format!("{part}{}", " ".repeat(bytes - part.len()));
        BTreeMap::from([("a.cedarschema".to_owned(), part)])
    };
    let fits = Bundle { schema: part(TEXT_MAX), ..bundle(&policy(TEXT_MAX)) };
    Snapshot::compile(fits.clone()).expect("each is as long as may be");
    assert!(schema_text(&fits).is_ok());
    let long = bundle(&policy(TEXT_MAX + 1));
    let refused = Snapshot::compile(long.clone()).expect_err("it is too long").to_string();
    assert_eq!(refused, format!("test.cedar:2: {}", told("policies")));
    let property = Snapshot::compile_properties(long.clone()).expect_err("it is too long");
    assert_eq!(property.to_string(), refused);
    let part = Bundle { schema: part(TEXT_MAX + 1), ..fits };
    let of_part = format!("a.cedarschema:1: {}", told("schema parts"));
    let found = Snapshot::compile(part.clone()).expect_err("it is too long").to_string();
    assert!(found.starts_with(&of_part), "{found}");
    assert!(schema_text(&part).expect_err("it is too long").to_string().starts_with(&of_part));
    let files = &long.policies;
    let formatted = crate::format("test.cedar", &files["test.cedar"]);
    assert_eq!(formatted.expect_err("it is too long").to_string(), refused);
    assert_eq!(crate::by_id(files).expect_err("it is too long").to_string(), refused);
    let imported = crate::agentcore::import(files, &crate::agentcore::usual_claims());
    assert_eq!(imported.expect_err("it is too long").to_string(), refused);
    for mut before in Compiler::of_before() {
        for bundle in [&long, &part] {
            let set = before.compile(bundle.clone()).expect("it was one");
            assert_eq!(set.digest(), bundle.digest());
        }
    }
}

/// Whatever the text is of that is parsed: the process goes on.
#[test]
fn what_nests_too_deep_is_refused_before_it_is_parsed() {
    let told = "more than 32 brackets stand in one another: nest less";
    let nested = |times: usize| format!("{}true{}", "(".repeat(times), ")".repeat(times));
    let condition = nested(100_000);
    let policy =
        format!("@id(\"a\") permit (principal, action, resource)\nwhen {{ {condition} }};");
    let refused = |bundle: Bundle| Snapshot::compile(bundle).expect_err("it is deep").to_string();
    assert_eq!(refused(bundle(&policy)), format!("test.cedar:2: {told}"));
    let permit = r#"@id("a") permit (principal, action, resource in Server::"crm");"#;
    let written = format!(
        "{{ description: x, match: {{ when: '{}' }}, amount: calls, cap: 1, per: task }}",
        nested(2_000)
    );
    let budgets = Some(format!("budgets: {{ a: {written} }}"));
    assert!(refused(Bundle { budgets, ..bundle(permit) }).contains(told));
    let sets = format!("type A = {}Long{};", "Set<".repeat(40_000), ">".repeat(40_000));
    let schema = [("a.cedarschema".to_owned(), sets)].into();
    assert!(refused(Bundle { schema, ..bundle(permit) }).contains(told));
    let files = BTreeMap::from([("a.cedar".to_owned(), policy)]);
    let at = format!("a.cedar:2: {told}");
    assert_eq!(
        crate::format("a.cedar", &files["a.cedar"]).expect_err("it is deep").to_string(),
        at
    );
    assert_eq!(crate::by_id(&files).expect_err("it is deep").to_string(), at);
    let imported = crate::agentcore::import(&files, &crate::agentcore::usual_claims());
    assert_eq!(imported.expect_err("it is deep").to_string(), at);
}

/// Whatever is made of a policy is about as much as it is, however deep it goes below what is wide.
#[test]
fn what_is_deep_and_wide_is_no_more_for_it() {
    let peak_kib = || -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("this process has one");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        peak.and_then(|peak| peak.parse().ok()).expect("it has memory")
    };
    let policy = |texts: usize, depth: usize| {
        let texts: Vec<_> = (0..texts).map(|number| format!("\"{number:x}\"")).collect();
        let (texts, deep) = (texts.join(", "), " || context.depth > 9".repeat(depth));
        format!(
            r#"@id("a") permit (principal, action in [Action::"crm/lookup", Action::"tools/list"], resource)
            when {{ [{texts}, "none"].contains(context.risk){deep} }};
            @id("lookup") permit (principal, action == Action::"crm/lookup", resource)
            when {{ context.depth > 9 }};"#
        )
    };
    let case = Case::call("crm/lookup", json!({ "id": 1 }));
    let (before, wide) = (peak_kib(), policy(30_000, 120));
    let set = snapshot(&wide);
    assert!(set.policies[0].beside_scope.is_some());
    let explained = set.explain(&case.request, &case.facts());
    let taken = peak_kib() - before;
    assert!(taken < 1_500_000, "{taken} KiB for {} bytes of policy", wide.len());
    let told = show(&explained.decision);
    assert!(told.starts_with("permit by a "), "{told}");
    let asked = explained.asked.iter().find(|it| it.policy.as_str() == "a").expect("it is asked");
    assert!(asked.conditions.len() == 1 && asked.conditions[0].met == Some(true));
    // As deep as may be it is refused or not, and the process goes on.
    if let Ok(set) = Snapshot::compile(bundle(&policy(1, 240))) {
        assert!(!set.explain(&case.request, &case.facts()).asked.is_empty());
    }
}

#[test]
fn n_128_empty_and_broken_policies_never_allow() {
    let whole = r#"@id("a") permit(principal, action, resource in Server::"crm");"#;
    let case = Case::call("crm/lookup", json!({ "id": 1 }));
    assert!(show(&case.decide(&snapshot(whole))).starts_with("permit"));
    for cut in 0..whole.len() {
        if let Ok(snapshot) = Snapshot::compile(bundle(&whole[..cut])) {
            assert!(show(&case.decide(&snapshot)).starts_with("deny"), "cut at {cut}");
        }
    }
}

/// What the starter policy shows in its comments is policy that works.
#[test]
fn the_examples_of_the_starter_policy_compile() {
    let shown = crate::STARTER_POLICY.lines().filter_map(|line| line.strip_prefix("//   "));
    let shown: Vec<&str> = shown.collect();
    let mut bundle = bundle(&shown.join("\n"));
    let amount =
        json!({ "properties": { "amount": { "type": "number" } }, "required": ["amount"] });
    let refund = ToolSchema { input_schema: amount };
    bundle.tools.insert(tool_ref("payments/refund"), refund);
    let snapshot = Snapshot::compile(bundle).expect("the examples compile");
    let ids = snapshot.policies.iter().map(|policy| policy.id.as_str()).collect::<Vec<_>>();
    expect!["crm-lookup, crm-reading, small-refunds, not-after-outside-data, crm-asks-by-form"]
        .assert_eq(&ids.join(", "));
}

/// One snapshot serves all threads.
#[test]
fn a_snapshot_is_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&Snapshot::empty());
}

/// What is told of the schema, for editors, is one that Cedar reads, and by which it says of a policy what we say.
#[test]
fn cedar_validates_by_the_schema_that_is_told() {
    let (text, _) = schema_text(&bundle("")).expect("it has a text");
    let (schema, _) = Schema::from_cedarschema_str(&text).expect("Cedar reads it");
    let validator = Validator::new(schema);
    let check = |action: &str, condition: &str, expected: bool| {
        let policy = format!(
            r#"@id("it") permit (principal, action == Action::"{action}", resource) when {{ {condition} }};"#
        );
        let set: PolicySet = policy.parse().expect("it is a policy");
        let passed = validator.validate(&set, ValidationMode::Strict).validation_passed();
        let compiles = Snapshot::compile(bundle(&policy)).is_ok();
        assert_eq!((passed, compiles), (expected, expected), "{policy}");
    };
    let refund = "payments/refund";
    check(refund, "context.input has amount && context.input.amount > 5", true);
    check(refund, r#"context.input has to && context.input.to.iban == "DE12""#, true);
    check(refund, "context.input.amount > 5", false);
    check(refund, r#"context.input has amount && context.input.amount == "5""#, false);
    check(refund, "context.input has price && context.input.price > 5", false);
    check(refund, "context.input.sum > 5", false);
    check("crm/lookup", "context.input.id > 5 && context.purpose == \"care\"", true);
    check("crm/lookup", "context.input.urgent", false);
}

/// What a set does not have changes no digest: what was signed before it could have that is still signed.
#[test]
fn r_39_the_digest_of_a_set_is_that_of_what_it_has() {
    let check = |bundle: &Bundle, expected: &str| {
        let text = String::from_utf8(json::canonical_of(bundle)).expect("it is text");
        assert_eq!(text, expected);
        assert_eq!(bundle.digest(), model::PolicyDigest::of(expected.as_bytes()));
    };
    let named = |name: &str, text: &str| BTreeMap::from([(name.to_owned(), text.to_owned())]);
    let bundle = Bundle { policies: named("a.cedar", "permit"), ..Bundle::default() };
    check(&bundle, r#"{"policies":{"a.cedar":"permit"},"schema":{},"tools":{}}"#);
    let cases = named("cases/a.yaml", "cases: []");
    check(
        &Bundle { cases, ..bundle },
        r#"{"cases":{"cases/a.yaml":"cases: []"},"policies":{"a.cedar":"permit"},"schema":{},"tools":{}}"#,
    );
}
