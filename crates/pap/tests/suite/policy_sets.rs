//! What another policy set would have answered, and how a recorded decision came about.

use model::Clock as _;
use pap::{CaseFile, CaseTool, Command, PolicyFiles, Tools};
use serde_json::{Value, json};

use crate::desk::{Desk, files, word};
use crate::support::POLICY;

fn set(policy: &str) -> PolicyFiles {
    PolicyFiles { policies: files(policy), ..PolicyFiles::default() }
}

/// All pages of a replay by `policy`, summed up: how many were decided, how many alike, and the flips.
async fn tried(desk: &Desk, policy: &str) -> (u64, u64, Vec<Value>) {
    let (mut from, mut decided, mut same, mut flips) = (0, 0, 0, Vec::new());
    loop {
        let files = set(policy);
        let told = desk.run(Command::PolicyReplay { files, from, since: None }).await.unwrap();
        assert_eq!((&told["erased"], &told["damaged"]), (&json!(0), &json!(0)), "{told}");
        decided += told["decided"].as_u64().unwrap();
        same += told["same"].as_u64().unwrap();
        flips.extend(told["flips"].as_array().unwrap().clone());
        let Some(next) = told["next"].as_u64() else { return (decided, same, flips) };
        from = next;
    }
}

/// What a policy would say by the tools that were called before is not guessed of when nobody took note of them.
#[tokio::test]
async fn which_tools_were_called_before_is_unknown_where_nobody_took_note() {
    let desk = Desk::new().await;
    for tool in ["lookup", "refund"] {
        assert_eq!(desk.call(tool).await, "permitted");
    }
    let after = r#"@id("after") forbid (principal, action == Action::"crm/refund", resource)
        when { context.session.used_tools.contains("crm/lookup") };"#;
    let files = set(&format!("{POLICY}{after}"));
    let told = desk.run(Command::PolicyReplay { files, from: 0, since: None }).await.unwrap();
    assert_eq!((&told["unknown"], &told["flips"]), (&json!(1), &json!([])), "{told}");
    assert!(told["same"].as_u64() >= Some(1), "{told}");
}

#[tokio::test]
async fn the_same_set_flips_nothing_and_another_says_what_and_by_which_rule() {
    let desk = Desk::new().await;
    assert_eq!(desk.call("lookup").await, "permitted");
    assert_eq!(desk.call("lookup").await, "permitted");
    let (decided, same, flips) = tried(&desk, POLICY).await;
    assert!(decided >= 2 && decided == same, "{decided} {same}");
    assert_eq!(flips, Vec::<Value>::new());

    let forbid =
        r#"@id("no-lookup") forbid (principal, action == Action::"crm/lookup", resource);"#;
    let (_, _, flips) = tried(&desk, &format!("{POLICY}{forbid}")).await;
    let kind = &flips[0]["kind"];
    assert_eq!(flips.len(), 1, "{flips:?}");
    assert_eq!(flips[0]["times"], 2);
    assert_eq!(kind["flip"], "newly_denied");
    assert_eq!(kind["resource"], "Tool::crm/lookup");
    assert_eq!(kind["agent"], json!(desk.world.standing.agent.name));
    assert_eq!(kind["sponsor"], json!(desk.world.standing.sponsor.id));
    assert!(kind["by"].as_str().unwrap().contains("no-lookup"), "{kind}");
    assert!(flips[0]["example"].as_str().unwrap().starts_with("dec_"));

    // And what was denied would be permitted, if nothing forbade it.
    desk.publisher.replace(files(&format!("{POLICY}{forbid}"))).await.unwrap();
    assert_eq!(desk.call("lookup").await, "forbidden");
    let (_, _, flips) = tried(&desk, POLICY).await;
    assert_eq!(flips.len(), 1, "{flips:?}");
    assert_eq!(
        (&flips[0]["kind"]["flip"], &flips[0]["times"]),
        (&json!("newly_permitted"), &json!(1))
    );
    assert!(!desk.world.log().await.is_empty());
}

/// What else is decided flips as calls do: with who administers, and the agent that it is done to.
#[tokio::test]
async fn what_is_administered_flips_with_whom_it_concerns() {
    let desk = Desk::new().await;
    let (agent, by) =
        (desk.world.standing.agent.name.clone(), desk.world.standing.sponsor.id.clone());
    let (name, reason) = (agent.to_string(), "review".to_owned());
    desk.run(Command::AgentSuspend { name, reason }).await.expect("it is suspended");
    let nobody =
        r#"@id("nobody") forbid (principal, action == Action::"agent/suspend", resource);"#;
    let (_, _, flips) = tried(&desk, &format!("{POLICY}{nobody}")).await;
    let kinds: Vec<_> = flips.iter().map(|flip| &flip["kind"]).collect();
    let [kind] = kinds.as_slice() else { panic!("{flips:?}") };
    assert_eq!((&kind["flip"], &kind["action"]), (&json!("newly_denied"), &json!("agent/suspend")));
    assert_eq!((&kind["administrator"], &kind["agent"]), (&json!(by), &json!(agent)));
    assert_eq!(kind["sponsor"], json!(desk.world.standing.sponsor.id));
}

/// What is permitted as before, and for more or for less, is no act that is decided alike.
#[tokio::test]
async fn what_permits_owe_otherwise_is_told_with_who_acts() {
    const LABELS: &str =
        "labels: { private: Personal. }\ntools: { crm/lookup: { carries: [private] } }\n";
    let desk = Desk::new().await;
    assert_eq!(desk.call("lookup").await, "permitted");
    let reading = "@id(\"reading\")";
    assert!(POLICY.contains(reading), "it permits lookups");
    let owing = POLICY.replace(reading, &format!("{reading} @obligation(\"notify:desk\")"));
    let tried = async |policy: &str, labels: Option<&str>| {
        let files = PolicyFiles { labels: labels.map(str::to_owned), ..set(policy) };
        let told = desk.run(Command::PolicyReplay { files, from: 0, since: None }).await.unwrap();
        let flips = told["flips"].as_array().unwrap().iter();
        let flips = flips.map(|it| json!([it["kind"]["flip"], it["kind"]["by"], it["times"]]));
        flips.collect::<Value>()
    };
    assert_eq!(tried(POLICY, None).await, json!([]));
    let owes = json!([["owes_more", "owes `notify:desk`", 1]]);
    assert_eq!(tried(&owing, None).await, owes);
    let both = json!([["owes_more", "owes `notify:desk`, the label `private`", 1]]);
    assert_eq!(tried(&owing, Some(LABELS)).await, both);
    // And the other way round it is a widening.
    let mut in_force = files(&owing);
    in_force.insert(pdp::LABELS_FILE.to_owned(), LABELS.to_owned());
    desk.publisher.replace(in_force).await.unwrap();
    assert_eq!(desk.call("lookup").await, "permitted");
    let told = tried(POLICY, None).await;
    let less = json!([["owes_less", "no longer owes `notify:desk`, the label `private`", 1]]);
    assert_eq!(told, less);
    let mixed = owing.replace("notify:desk", "notify:other");
    let told = tried(&mixed, None).await;
    let by = "owes `notify:other`, no longer `notify:desk`, the label `private`";
    assert!(told.as_array().unwrap().contains(&json!(["owes_less", by, 1])), "{told}");
}

#[tokio::test]
async fn a_set_that_is_tried_changes_nothing_and_says_what_is_wrong_with_it() {
    let desk = Desk::new().await;
    assert_eq!(desk.call("lookup").await, "permitted");
    let nothing = format!("{POLICY}@id(\"x\") forbid (principal, action, resource);");
    assert!(!tried(&desk, &nothing).await.2.is_empty());
    assert_eq!(desk.call("lookup").await, "permitted");
    for (policy, why) in
        [("permit (principal, action", "does not compile"), ("// none", "no policy")]
    {
        let tried = Command::PolicyReplay { files: set(policy), from: 0, since: None };
        let error = desk.run(tried).await.expect_err("it is no set").to_string();
        assert!(error.contains(why), "{error}");
    }
    let other = desk.world.standing.other.id.clone();
    let tried = Command::PolicyReplay { files: set(POLICY), from: 0, since: None };
    assert_eq!(word(&desk.run_as(&other, tried).await), "refused");
}

#[tokio::test]
async fn only_what_was_decided_since_is_tried() {
    let desk = Desk::new().await;
    assert_eq!(desk.call("lookup").await, "permitted");
    desk.world.clock.advance(std::time::Duration::from_mins(10));
    let since = Some(desk.world.clock.now());
    let asked = Command::PolicyReplay { files: set(POLICY), from: 0, since };
    let told = desk.run(asked).await.unwrap();
    // Nothing but that the log is read now.
    assert_eq!(told["decided"], 1, "{told}");
}

#[tokio::test]
async fn a_decision_is_explained_by_the_policies_that_were_asked_and_what_they_saw() {
    let desk = Desk::new().await;
    let forbid = r#"
        @id("guard") @description("Nobody looks up nine") @remedy("approval")
        forbid (principal, action == Action::"crm/lookup", resource)
        when { context.purpose == "care" && resource.harm == ["reads-data"] };"#;
    desk.publisher.replace(files(&format!("{POLICY}{forbid}"))).await.unwrap();
    assert_eq!(desk.call("lookup").await, "forbidden");
    let records = desk.world.log().await;
    let denied = records.iter().rev().find(|it| it.is("decision")).expect("it is recorded");
    let id = denied.value["id"].as_str().expect("it has an id").to_owned();
    let told = desk.run(Command::PolicyExplain { id: id.clone() }).await.unwrap();
    assert_eq!((&told["decision"], &told["answer"]), (&json!(id), &json!("deny")));
    assert_eq!(told["remedies"], json!(["approval"]));
    let asked = told["asked"].as_array().unwrap();
    let guard = asked.iter().find(|it| it["policy"] == "guard").expect("it was asked");
    assert_eq!(guard["applies"], true);
    assert_eq!(guard["description"], "Nobody looks up nine");
    let conditions = guard["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 2, "{guard}");
    assert_eq!(conditions[0]["met"], true);
    assert_eq!(conditions[0]["saw"], json!([["context.purpose", "\"care\""]]));
    assert_eq!(conditions[1]["saw"][0][0], "resource.harm");

    let missing = Command::PolicyExplain { id: "dec_00000000000000000000000000000000".to_owned() };
    assert_eq!(word(&desk.run(missing).await), "missing");
}

/// Of a denial that is recorded it is told what it lacked, and in which other circumstances it would have been
/// permitted: where policies saw what no case tells, nothing is guessed.
#[tokio::test]
async fn a_recorded_denial_is_explained_by_what_is_missing_and_what_would_be_permitted() {
    let desk = Desk::new().await;
    let check = async |policy: &str, amount: i64, told: [Value; 3]| {
        desk.publisher.replace(files(policy)).await.expect("it compiles");
        let act = desk.world.call("refund", json!({ "amount": amount }));
        assert!(desk.world.authorize(act).await.is_err(), "{policy}");
        let id = desk.world.records("decision").await.pop().expect("one").text_of("id").to_owned();
        let explained = desk.run(Command::PolicyExplain { id }).await.expect("it is explained");
        let members = ["by", "missing", "permitted_with"].map(|member| explained[member].clone());
        assert_eq!(members, told, "{explained}");
        // What was not looked for says why, and nothing else does.
        let why = explained["untried"].as_str();
        assert_eq!(why.is_some(), explained["permitted_with"].is_null(), "{explained}");
        assert!(why.is_none_or(|why| why.contains("`context.sponsor`")), "{explained}");
    };
    let missing = json!([
        { "policy": "refunds", "of": "instance", "needs": ["context.input.amount <= 100"] }
    ]);
    check(POLICY, 500, [json!([]), missing, json!([])]).await;
    let vouched = r#"@id("vouched") forbid (principal, action == Action::"crm/refund", resource)
        when { context.attestation == "user" };"#;
    let with = json!([{ "attestation": "host" }, { "attestation": "workload" }]);
    check(&format!("{POLICY}{vouched}"), 5, [json!(["vouched"]), json!([]), with]).await;
    let of_sponsor = r#"when { context.sponsor in Group::"administrators" &&"#;
    let sponsored = vouched.replace("when {", of_sponsor);
    check(&format!("{POLICY}{sponsored}"), 5, [json!(["vouched"]), json!([]), Value::Null]).await;
}

/// The newest decision, and how it is told as a case.
pub(crate) async fn as_case(desk: &Desk) -> (String, Result<Value, String>) {
    let records = desk.world.log().await;
    let decided = records.iter().rfind(|it| it.is("decision")).expect("it is recorded");
    let id = decided.value["id"].as_str().expect("it has an id").to_owned();
    let told = desk.run(Command::PolicyCase { id: id.clone() }).await;
    (id, told.map_err(|error| error.to_string()))
}

/// The tools of the deployment.
pub(crate) fn beside(desk: &Desk) -> Tools {
    let tools = desk.world.authority.pip().policy().snapshot.bundle().tools.clone();
    let described = |schema: pdp::ToolSchema| CaseTool {
        harm: [].into(),
        input: schema.input_schema,
        objects: None,
        data: [].into(),
    };
    tools.into_iter().map(|(name, schema)| (name, described(schema))).collect()
}

#[tokio::test]
async fn a_recorded_decision_is_a_case_that_is_answered_alike() {
    let desk = Desk::new().await;
    let forbid = r#"
        @id("guard") @remedy("approval") forbid (principal, action == Action::"crm/lookup", resource)
        when { context.purpose == "care" && context.session.counters.calls >= 1 };
        @id("sponsored") permit (principal, action == Action::"crm/lookup", resource)
        when { context.sponsor == context.sponsor && context.attestation == "user" };"#;
    let set = set(&format!("{POLICY}{forbid}"));
    desk.publisher.replace(set.policies.clone()).await.expect("it compiles");
    let mut file = CaseFile::default();
    for (answer, expect, by) in [
        ("permitted", "permit", json!(["reading", "sponsored"])),
        ("forbidden", "deny", json!(["guard"])),
    ] {
        assert_eq!(desk.called("lookup").await, answer);
        let (id, told) = as_case(&desk).await;
        let mut told = told.expect("it is told");
        let case = told["case"].clone();
        assert_eq!((&case["expect"], &case["by"]), (&json!(expect), &by), "{case}");
        assert_eq!(case["call"], json!({ "tool": "crm/lookup", "input": { "amount": 5 } }));
        assert_eq!((&case["purpose"], &case["attestation"]), (&json!("care"), &json!("user")));
        assert!(case["name"].as_str().expect("a name").contains(&id), "{case}");
        // Who the sponsor is no case tells, and a policy saw it.
        assert_eq!(told["untold"], json!(["`context.sponsor`"]));
        let case = serde_json::from_value(told["case"].take()).expect("a map");
        let tools: Tools = serde_json::from_value(told["tools"].take()).expect("tools");
        let again: serde_json::Map<String, Value> = case;
        file.add(again.clone(), tools.clone()).expect("it is another");
        assert_eq!(file.add(again, tools).expect_err("it is there"), "it is there already");
    }
    let results = file.run(&set, &beside(&desk)).expect("the set compiles");
    assert_eq!(results.len(), 2);
    assert!(results.iter().all(|it| it.held.is_ok()), "{results:?}");
}

/// What a case cannot tell, it does not pretend to.
#[tokio::test]
async fn a_decision_that_a_case_cannot_tell_is_no_case() {
    let desk = Desk::new().await;
    let sponsor = &desk.world.standing.sponsor.id;
    let forbid = format!(
        r#"@id("guard") forbid (principal, action == Action::"crm/lookup", resource)
           when {{ context.sponsor == Person::"{sponsor}" }};"#
    );
    desk.publisher.replace(files(&format!("{POLICY}{forbid}"))).await.expect("it compiles");
    assert_eq!(desk.call("lookup").await, "forbidden");
    let why = as_case(&desk).await.1.expect_err("its sponsor is another");
    assert!(
        why.contains("recorded forbidden, now granted; it cannot tell `context.sponsor`"),
        "{why}"
    );
    // A rule that is built in decided, on what no case says.
    desk.publisher.replace(files(POLICY)).await.expect("it compiles");
    desk.world.journal.store().commit(desk.world.stopping("all")).await.expect("it commits");
    assert_eq!(desk.call("lookup").await, "stopped");
    let why = as_case(&desk).await.1.expect_err("nothing is stopped in a case");
    assert!(why.contains("recorded stopped, now granted"), "{why}");
}

#[tokio::test]
async fn a_question_is_answered_with_what_is_missing_and_what_would_be_permitted() {
    let desk = Desk::new().await;
    let forbid = r#"
        @id("vouched") forbid (principal, action == Action::"crm/refund", resource)
        when { context.attestation == "none" || context.attestation == "user" };
        @id("early") @remedy("approval") forbid (principal, action == Action::"crm/refund", resource)
        when { context.session.counters.calls > 9 };"#;
    desk.publisher.replace(files(&format!("{POLICY}{forbid}"))).await.expect("it compiles");
    let ask = async |case: Value| {
        let case = case.as_object().expect("an object").clone();
        desk.run(Command::PolicyAsk { case }).await
    };
    let refund = |amount: i64, members: Value| {
        let call = json!({ "tool": "crm/refund", "input": { "amount": amount } });
        let mut case = json!({ "call": call });
        let members = members.as_object().expect("an object").clone();
        case.as_object_mut().expect("an object").extend(members);
        case
    };
    let told = ask(refund(5, json!({ "attestation": "host" }))).await.expect("it is answered");
    assert_eq!((&told["answer"], &told["by"]), (&json!("permit"), &json!(["refunds"])));
    let told = ask(refund(5, json!({}))).await.expect("it is answered");
    assert_eq!((&told["answer"], &told["by"]), (&json!("deny"), &json!(["vouched"])));
    let vouched = json!([{ "attestation": "host" }, { "attestation": "workload" }]);
    assert_eq!(told["permitted_with"], vouched);
    // Of two that it takes, none is left out, and nothing is told that it does not take.
    let told = ask(refund(5, json!({ "calls": 10, "expect": "permit" }))).await.expect("it is");
    assert_eq!(told["permitted_with"], json!([{ "attestation": "host", "calls": 0 }]));
    // What no circumstances lift.
    let told = ask(refund(500, json!({ "attestation": "host" }))).await.expect("it is answered");
    assert_eq!((&told["reason"], &told["permitted_with"]), (&json!("not_granted"), &json!([])));
    let missing = &told["missing"][0];
    assert_eq!((&missing["policy"], &missing["of"]), (&json!("refunds"), &json!("instance")));
    assert_eq!(missing["needs"], json!(["context.input.amount <= 100"]));
    for (case, why) in [
        (json!({ "call": { "tool": "crm/nothing" } }), "no usable input schema"),
        (refund(5, json!({ "vary": {} })), "unknown field `vary`"),
        (json!({}), "either `call` or `method`"),
    ] {
        let told = ask(case).await.expect_err(why).to_string();
        assert!(told.contains(why), "{told}");
    }
    let other = desk.world.standing.other.id.clone();
    let case = serde_json::Map::new();
    assert_eq!(word(&desk.run_as(&other, Command::PolicyAsk { case }).await), "refused");
}
