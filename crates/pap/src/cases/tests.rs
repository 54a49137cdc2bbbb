//! Cases hold only where a set answers as they say; and what is asked beside them.

use super::*;

const POLICY: &str = r#"
    @id("reading") permit (principal, action in Action::"tools/call", resource in Server::"crm")
    when { resource.harm == ["reads-data"] };
    @id("not-nine") @remedy("approval") forbid (principal, action == Action::"crm/lookup", resource)
    when { context.input.id == 9 };
"#;

fn set(policies: &str) -> PolicyFiles {
    let policies = BTreeMap::from([("test.cedar".to_owned(), policies.to_owned())]);
    PolicyFiles { policies, ..PolicyFiles::default() }
}

/// What comes of one case with these members, of a call of `crm/lookup` with the id `id`.
fn check(id: i64, members: &Value) -> Vec<(String, Result<(), CaseError>)> {
    let lookup = json!({
        "harm": ["reads-data"],
        "input": {
            "type": "object",
            "properties": { "id": { "type": "integer" } },
            "required": ["id"],
        },
    });
    let mut case = json!({ "name": "it", "call": { "tool": "crm/lookup", "input": { "id": id } } });
    let members = members.as_object().cloned().unwrap_or_default();
    case.as_object_mut().expect("it is an object").extend(members);
    let file = json!({ "tools": { "crm/lookup": lookup }, "cases": [case] });
    let file: CaseFile = serde_json::from_value(file).expect("a case file");
    let results = file.run(&set(POLICY), &Tools::new()).expect("the set compiles");
    results.into_iter().map(|it| (it.name, it.held)).collect()
}

fn holds(id: i64, members: &Value) -> bool {
    check(id, members).iter().all(|(_, held)| held.is_ok())
}

#[test]
fn a_case_holds_only_if_the_set_answers_as_it_says() {
    assert!(holds(1, &json!({ "expect": "permit" })));
    assert!(holds(9, &json!({ "expect": "deny" })));
    assert!(!holds(1, &json!({ "expect": "deny" })));
    assert!(!holds(9, &json!({ "expect": "permit" })));
    assert!(holds(1, &json!({ "expect": "permit", "by": ["reading"] })));
    assert!(!holds(1, &json!({ "expect": "permit", "by": ["other"] })));
    let lifted = json!({
        "expect": "deny", "by": ["not-nine"], "reason": "forbidden", "remedies": ["approval"],
    });
    assert!(holds(9, &lifted));
    assert!(!holds(9, &json!({ "expect": "deny", "reason": "not_granted" })));
    assert!(!holds(9, &json!({ "expect": "deny", "remedies": [] })));
}

/// What data the purpose is for, and on what the tool is used.
#[test]
fn r_41_a_case_says_what_data_its_purpose_is_for() {
    let check = |ends: &Value, reason: &str| {
        let expect = if reason == "granted" { "permit" } else { "deny" };
        let case = json!({
            "name": "it", "call": { "tool": "crm/lookup", "input": { "id": 7 } },
            "ends": ends, "expect": expect, "reason": reason,
        });
        let input = json!({ "type": "object", "properties": { "id": { "type": "integer" } }, "required": ["id"] });
        let lookup = json!({ "harm": ["reads-data"], "input": input, "objects": ["/id"], "data": ["customers"] });
        let file = json!({ "tools": { "crm/lookup": lookup }, "cases": [case] });
        let file: CaseFile = serde_json::from_value(file).expect("a case file");
        let results = file.run(&set(POLICY), &Tools::new()).expect("the set compiles");
        assert!(results.iter().all(|it| it.held == Ok(())), "{ends}: {:?}", results[0].held);
    };
    check(&json!({}), "granted");
    check(&json!({ "objects": ["crm/7"], "data": ["customers", "orders"] }), "granted");
    check(&json!({ "objects": ["crm/8", "crm/70"] }), "outside_purpose");
    check(&json!({ "objects": [] }), "outside_purpose");
    check(&json!({ "data": ["orders"] }), "outside_purpose");
}

/// By `only` these decide and no others, and all that is owed is what is said.
#[test]
fn a_case_says_all_that_decides_and_is_owed() {
    let policies = r#"
        @id("one") @obligation("notify:desk; redact:id")
        permit (principal, action in Action::"tools/call", resource in Server::"crm");
        @id("two") permit (principal, action == Action::"crm/lookup", resource);"#;
    let check = |members: Value, expected: bool| {
        let mut case =
            json!({ "name": "it", "call": { "tool": "crm/lookup" }, "expect": "permit" });
        let members = members.as_object().cloned().unwrap_or_default();
        case.as_object_mut().expect("it is an object").extend(members);
        let tools = json!({ "crm/lookup": { "harm": ["reads-data"] } });
        let file = json!({ "tools": tools, "cases": [case] });
        let file: CaseFile = serde_json::from_value(file).expect("a case file");
        let results = file.run(&set(policies), &Tools::new()).expect("the set compiles");
        assert_eq!(results.iter().all(|it| it.held.is_ok()), expected, "{results:?}");
    };
    check(json!({ "by": ["one"] }), true);
    check(json!({ "only": ["one"] }), false);
    check(json!({ "only": ["one", "two"] }), true);
    check(json!({ "obligations": ["redact:id", "notify:desk"] }), true);
    check(json!({ "obligations": ["notify:desk"] }), false);
    check(json!({ "obligations": [] }), false);
    // What is denied owes nothing.
    let denied = json!({ "call": null, "method": { "name": "tools/list", "server": "crm" } });
    let mut denied = denied.as_object().expect("an object").clone();
    denied.extend([("expect".to_owned(), json!("deny")), ("obligations".to_owned(), json!([]))]);
    check(denied.into(), true);
}

#[test]
fn what_cannot_be_asked_does_not_hold_and_says_why() {
    for (id, members, why) in [
        (1, json!({ "expect": "deny", "call": { "tool": "crm/other" } }), "no usable"),
        (1, json!({ "expect": "deny", "call": { "tool": "crm/lookup" } }), "id"),
        (1, json!({ "expect": "perhaps" }), "unknown variant `perhaps`"),
        (1, json!({ "expect": "deny", "expects": "deny" }), "unknown field `expects`"),
        (1, json!({}), "missing field `expect`"),
        (1, json!({ "expect": "deny", "vary": {} }), "`vary` says of no member"),
        (1, json!({ "expect": "deny", "vary": ["host"] }), "`vary` says of no member"),
        (1, json!({ "expect": "deny", "vary": { "calls": [] } }), "gives `calls` no value"),
        (1, json!({ "expect": "deny", "labels": ["private"] }), "declares no label `private`"),
        (1, json!({ "expect": "deny", "used_tools": ["crm/lokup"] }), "has no `crm/lokup`"),
        (1, json!({ "expect": "deny", "counters": { "crm/lokup": 1 } }), "has no `crm/lokup`"),
        (
            1,
            json!({ "expect": "deny", "provenance": { "mandate": ["to"] } }),
            "no argument by `to`",
        ),
        (
            1,
            json!({ "expect": "deny", "provenance": { "mandate": ["id"], "unknown": ["id"] } }),
            "`id`, or one twice",
        ),
        (1, no_method(), "nobody can ask so"),
    ] {
        let results = check(id, &members);
        let [(_, Err(CaseError::Unaskable(told)))] = results.as_slice() else {
            panic!("{results:?}")
        };
        assert!(told.contains(why), "{told}");
    }
}

/// A case of a method that there is not.
fn no_method() -> Value {
    json!({ "expect": "deny", "call": null, "method": { "name": "tools/lst", "server": "crm" } })
}

#[test]
fn what_varies_makes_a_case_for_each_combination() {
    let vary = json!({ "attestation": ["host", "user"], "calls": [0, 7] });
    let results = check(1, &json!({ "vary": vary, "expect": "permit" }));
    let names: Vec<_> = results.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "it [attestation: host] [calls: 0]",
            "it [attestation: host] [calls: 7]",
            "it [attestation: user] [calls: 0]",
            "it [attestation: user] [calls: 7]",
        ]
    );
    assert!(results.iter().all(|(_, held)| held.is_ok()), "{results:?}");
}

/// As many are counted as are decided, also where what varies is given for all, or is none that varies.
#[test]
fn each_combination_is_counted_whoever_says_it() {
    let check = |given: &Value, case: &Value, expected: usize| {
        let file = json!({ "given": given, "cases": [case, { "name": "other", "vary": {} }] });
        let file: CaseFile = serde_json::from_value(file).expect("it is a file of cases");
        let results = file.run(&set(POLICY), &Tools::new()).expect("the set compiles");
        assert_eq!((file.count(), results.len()), (expected + 1, expected + 1), "{given} {case}");
    };
    let both = json!({ "vary": { "calls": [0, 1, 2], "depth": [0, 1] } });
    check(&both, &json!({ "name": "it" }), 6);
    check(&both, &json!({ "name": "it", "vary": { "calls": [0, 1] } }), 2);
    check(&json!({}), &json!({ "name": "it" }), 1);
    for nothing in [json!({}), json!([]), json!(1), json!({ "calls": [], "depth": [0, 1] })] {
        check(&json!({}), &json!({ "name": "it", "vary": nothing }), 1);
    }
    check(&json!({}), &json!({ "name": "it", "vary": { "calls": 1, "depth": [0, 1] } }), 2);
}

#[test]
fn what_is_given_is_given_to_every_case_that_does_not_say_otherwise() {
    let file = json!({
        "tools": { "crm/lookup": { "harm": ["reads-data"] } },
        "given": { "call": { "tool": "crm/lookup" }, "enforcement": "bypassable", "expect": "permit" },
        "cases": [
            { "name": "given" },
            { "name": "own", "enforcement": "mandatory", "expect": "deny", "by": ["around"] },
            { "name": "shared", "shared_account": true, "expect": "deny", "by": ["account"] },
            { "name": "both", "enforcement": "cooperative", "shared_account": true, "expect": "deny", "by": ["around"] },
            { "name": "workload", "shared_workload": true, "expect": "deny", "by": ["workload"] },
        ],
    });
    let file: CaseFile = serde_json::from_value(file).expect("it is a file of cases");
    let guards = r#"
        @id("it") permit (principal, action, resource in Server::"crm");
        @id("around") forbid (principal, action in Action::"tools/call", resource is Tool)
        when { resource.enforcement != "bypassable" };
        @id("account") forbid (principal, action in Action::"tools/call", resource is Tool)
        when { resource.account == "shared" };
        @id("workload") forbid (principal, action in Action::"tools/call", resource is Tool)
        when { context.shared_workload };"#;
    let results = file.run(&set(guards), &Tools::new()).expect("the set compiles");
    assert!(results.iter().all(|it| it.held.is_ok()), "{results:?}");
}

/// Of resources and prompts, of work that is handed on or taken over, and on behalf of somebody.
#[test]
fn a_case_asks_for_every_act_of_an_instance() {
    let policies = r#"
        @id("reads") permit (principal, action == Action::"resources/read", resource == Resource::"crm/file:///a");
        @id("prompts") permit (principal, action == Action::"prompts/get", resource == Prompt::"crm/hello");
        @id("hands-on") permit (principal, action == Action::"delegate", resource == Agent::"lab");
        @id("takes-over") permit (principal, action == Action::"task/resume", resource);
        @id("staff") forbid (principal, action == Action::"resources/read", resource)
        when { context has subject && !(context.subject in Group::"staff") };
        @id("sales") forbid (principal is Person, action == Action::"prompts/get", resource)
        unless { principal has unit && principal.unit == "sales" };"#;
    let check = |method: Value, members: Value, expect: &str, by: &str| {
        let mut case = json!({ "name": "it", "method": method, "expect": expect });
        let case = case.as_object_mut().expect("it is an object");
        case.extend(members.as_object().cloned().unwrap_or_default());
        if !by.is_empty() {
            case.insert("by".to_owned(), json!([by]));
        }
        let file = serde_json::from_value(json!({ "cases": [case] }));
        let file: CaseFile = file.expect("it is a file of cases");
        file.run(&set(policies), &Tools::new()).expect("the set compiles").remove(0).held
    };
    let read = |uri: &str| json!({ "name": "resources/read", "server": "crm", "uri": uri });
    let prompt = json!({ "name": "prompts/get", "server": "crm", "prompt": "hello" });
    let delegate = |agent: &str| json!({ "name": "delegate", "agent": agent });
    let staff = json!({ "subject": { "id": "ann", "groups": ["staff"] } });
    let below = json!({ "subject": { "id": "ann", "groups": ["staff"] }, "depth": 2 });
    let sales = json!({ "subject": { "id": "ben", "unit": "sales" } });
    for (method, members, expect, by) in [
        (read("file:///a"), json!({}), "permit", "reads"),
        (read("file:///b"), json!({}), "deny", ""),
        (read("file:///a"), staff.clone(), "permit", "reads"),
        (read("file:///a"), below, "permit", "reads"),
        (read("file:///a"), sales.clone(), "deny", "staff"),
        (prompt.clone(), json!({}), "permit", "prompts"),
        (prompt.clone(), sales, "permit", "prompts"),
        (prompt, staff.clone(), "deny", "sales"),
        (delegate("lab"), json!({}), "permit", "hands-on"),
        (delegate("lab"), staff, "permit", "hands-on"),
        (delegate("other"), json!({}), "deny", ""),
        (json!({ "name": "task/resume" }), json!({}), "permit", "takes-over"),
    ] {
        let held = check(method.clone(), members.clone(), expect, by);
        assert_eq!(held, Ok(()), "{method} {members}");
    }
    for method in [
        json!({ "name": "tools/list" }),
        json!({ "name": "resources/read", "uri": "file:///a" }),
        json!({ "name": "resources/read", "server": "crm", "uri": "a", "prompt": "b" }),
        json!({ "name": "delegate", "server": "crm", "agent": "lab" }),
    ] {
        let Err(CaseError::Unaskable(why)) = check(method.clone(), json!({}), "deny", "") else {
            panic!("{method} is asked")
        };
        assert!(why.contains("needs a `server`, or one `uri` or `prompt` there"), "{why}");
    }
}

/// A set that lets a task use up ids to the sum of five, and the tool that it counts.
fn budgeted() -> (PolicyFiles, Value) {
    let budgets = "budgets: { ids: { description: x, match: {}, amount: /id, cap: 5, per: task } }";
    let set = PolicyFiles { budgets: Some(budgets.to_owned()), ..set(POLICY) };
    let id = json!({ "id": { "type": "integer" } });
    let input = json!({ "type": "object", "properties": id, "required": ["id"] });
    (set, json!({ "crm/lookup": { "harm": ["reads-data"], "input": input } }))
}

#[test]
fn a_case_says_what_was_used_up_before() {
    let (set, tools) = budgeted();
    let holds = |used: Value, expect: &str, reason: &str| {
        let call = json!({ "tool": "crm/lookup", "input": { "id": 2 } });
        let case = json!({
            "name": "it", "call": call, "used": used, "expect": expect, "reason": reason,
        });
        let file: CaseFile =
            serde_json::from_value(json!({ "tools": tools, "cases": [case] })).expect("a file");
        let results = file.run(&set, &Tools::new()).expect("the set compiles");
        results.into_iter().all(|it| it.held.is_ok())
    };
    assert!(holds(json!({}), "permit", "granted"));
    assert!(holds(json!({ "ids": 3 }), "permit", "granted"));
    assert!(holds(json!({ "ids": 3.5 }), "deny", "budget_exceeded"));
    assert!(!holds(json!({ "other": 3 }), "permit", "granted"), "there is no such budget");
    assert!(!holds(json!({ "ids": -3 }), "permit", "granted"), "it is no amount");
}

#[test]
fn a_question_says_what_was_used_up_before() {
    let (set, tools) = budgeted();
    let tools: Tools = serde_json::from_value(tools).expect("tools");
    let snapshot = Snapshot::compile(bundle(&set, &tools)).expect("the set compiles");
    let asked = |used: Value| {
        let call = json!({ "tool": "crm/lookup", "input": { "id": 2 } });
        let case = json!({ "call": call, "used": used });
        ask(case.as_object().expect("it is an object").clone(), (&snapshot, &tools))
    };
    let told = asked(json!({ "ids": 3 })).expect("it is answered");
    assert_eq!(told["answer"], "permit");
    let told = asked(json!({ "ids": 4 })).expect("it is answered");
    assert_eq!((&told["answer"], &told["reason"]), (&json!("deny"), &json!("budget_exceeded")));
    assert_eq!(told["permitted_with"], json!([{ "used": {} }]));
    let why = asked(json!({ "other": 3 })).expect_err("there is no such budget");
    assert_eq!(why, "the set has no budget `other`");
}

#[test]
fn a_question_says_which_token_is_shown() {
    let strictness = "calls: [{ description: x, token: once, attested_s: 60 }]";
    let (set, tools) = budgeted();
    let set = PolicyFiles { strictness: Some(strictness.to_owned()), ..set };
    let tools: Tools = serde_json::from_value(tools).expect("tools");
    let snapshot = Snapshot::compile(bundle(&set, &tools)).expect("the set compiles");
    for (members, reason, enough) in [
        (json!({}), "granted", json!(null)),
        (json!({ "token_age_s": 60 }), "granted", json!(null)),
        (json!({ "token_age_s": 61 }), "token_too_old", json!([{ "token_age_s": 0 }])),
        (json!({ "token_used": true }), "token_used", json!([{ "token_used": false }])),
        (
            json!({ "token_age_s": 61, "token_used": true }),
            "token_too_old",
            json!([{ "token_age_s": 0, "token_used": false }]),
        ),
        // A new token is asked for only where nothing else denies.
        (
            json!({ "used": { "ids": 4 }, "token_used": true }),
            "budget_exceeded",
            json!([{ "used": {}, "token_used": false }]),
        ),
    ] {
        let call = json!({ "tool": "crm/lookup", "input": { "id": 2 } });
        let mut case = json!({ "call": call });
        let more = members.as_object().cloned().unwrap_or_default();
        case.as_object_mut().expect("it is an object").extend(more);
        let case = case.as_object().expect("it is an object").clone();
        let told = ask(case, (&snapshot, &tools)).expect("it is answered");
        assert_eq!(
            (&told["reason"], &told["permitted_with"]),
            (&json!(reason), &enough),
            "{members}"
        );
    }
}

#[test]
fn i_18_the_cases_of_a_file_are_limited_in_number() {
    let many: Vec<i64> = (0..101).collect();
    let case = json!({ "name": "it", "vary": { "calls": many, "agent": many }, "expect": "deny" });
    let file: CaseFile = serde_json::from_value(json!({ "cases": [case] })).expect("a file");
    let error = file.run(&set(POLICY), &Tools::new()).expect_err("too many");
    assert_eq!(error, "more than 10000 cases");
}

#[test]
fn i_18_the_files_of_cases_that_a_release_has_are_limited() {
    let check = |files: BTreeMap<String, String>, why: Option<&str>| {
        let read = read_cases(&files).map(|(_, read)| read.len());
        match why {
            None => assert_eq!(read, Ok(files.len())),
            Some(why) => {
                let told = read.expect_err(why);
                assert!(told.contains(why), "{told}");
            }
        }
    };
    let none = "cases: []\n";
    let files = |count: usize| -> BTreeMap<String, String> {
        (0..count).map(|n| (format!("cases/{n}.yaml"), none.to_owned())).collect()
    };
    check(files(64), None);
    check(files(65), Some("more than 64 files"));
    let one = |path: String, text: String| BTreeMap::from([(path, text)]);
    let of_bytes = |bytes: usize| none.to_owned() + &"\n".repeat(bytes - none.len());
    check(one("cases/it.yaml".to_owned(), of_bytes(4 << 20)), None);
    check(one("cases/it.yaml".to_owned(), of_bytes((4 << 20) + 1)), Some("than 4194304 bytes"));
    let path = |bytes: usize| format!("cases/{}.yaml", "x".repeat(bytes - "cases/.yaml".len()));
    check(one(path(256), none.to_owned()), None);
    check(one(path(257), none.to_owned()), Some("no file of cases"));
}

/// What does more than read is forbidden where nobody but a key vouches, by a bearer token whoever
/// does, while nobody has told of the people for too long, and at a high risk.
#[test]
fn the_starter_set_guards_what_does_more_than_read() {
    let permits = r#"
        @id("deploy") permit (principal, action == Action::"crm/deploy", resource);
        @id("lookup") permit (principal, action == Action::"crm/lookup", resource);
    "#;
    let set = set(&[pdp::STARTER_POLICY, permits].concat());
    let reads = || json!({ "tool": "crm/lookup" });
    for (members, expect) in [
        (json!({ "vary": { "attestation": ["none", "user"] } }), "deny"),
        (json!({ "vary": { "attestation": ["host", "workload"] } }), "permit"),
        (
            json!({
                "vary": { "attestation": ["host", "workload"] }, "unconfirmed": true,
                "by": ["starter-confirmed"], "remedies": ["approval"],
            }),
            "deny",
        ),
        (json!({ "vary": { "attestation": ["host", "workload"] }, "binding": "none" }), "deny"),
        (json!({ "attestation": "host", "risk": "high" }), "deny"),
        (json!({ "attestation": "host", "unconfirmed": true, "call": reads() }), "permit"),
        (json!({ "attestation": "host", "risk": "high", "call": reads() }), "deny"),
    ] {
        let mut case = json!({ "name": "it", "call": { "tool": "crm/deploy" }, "expect": expect });
        let members = members.as_object().cloned().unwrap_or_default();
        case.as_object_mut().expect("it is an object").extend(members);
        let file: CaseFile = serde_json::from_value(json!({
            "tools": {
                "crm/deploy": { "harm": ["changes-production"] },
                "crm/lookup": { "harm": ["reads-data"] },
            },
            "cases": [case],
        }))
        .expect("it is a file of cases");
        let results = file.run(&set, &Tools::new()).expect("the set compiles");
        assert!(results.iter().all(|it| it.held.is_ok()), "{results:?}");
    }
}
