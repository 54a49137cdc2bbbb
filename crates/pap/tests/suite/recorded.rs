//! Recorded decisions as cases: whatever an instance did, for whomever, and what no case says.

use std::time::Duration;

use model::{ActionName, Harm, MandateBasis, ResourceRef};
use pap::{CaseFile, PolicyFiles, Tools};
use serde_json::{Value, json};

use crate::desk::{Desk, files};
use crate::elevations::consented;
use crate::policy_sets::{as_case, beside};
use crate::strictness::STRICTNESS;
use crate::support::{Act, POLICY, World};

/// What policies say of acts on behalf of somebody, and of resources and prompts.
const MORE: &str = r#"
    @id("documents") permit (principal, action in [Action::"resources/read", Action::"prompts/get"], resource);
    @id("secret") forbid (principal, action == Action::"resources/read", resource == Resource::"crm/file:///secret");
    @id("farewell") forbid (principal, action == Action::"prompts/get", resource == Prompt::"crm/bye");
    @id("sales") forbid (principal, action in Action::"tools/call", resource in Server::"crm")
    unless {
        context has subject && context.subject in Group::"staff" &&
        context.subject has unit && context.subject.unit == "sales"
    };
    @id("to-lab") forbid (principal, action == Action::"delegate", resource) unless { resource == Agent::"lab" };
"#;

impl Desk {
    /// That the newest decision is a case which the set `files` answers alike; the case.
    async fn is_case(&self, files: &PolicyFiles) -> Value {
        let mut told = as_case(self).await.1.expect("it is told");
        assert_eq!(told["untold"], json!([]));
        let (case, mut file) = (told["case"].clone(), CaseFile::default());
        let tools: Tools = serde_json::from_value(told["tools"].take()).expect("tools");
        file.add(case.as_object().expect("a map").clone(), tools).expect("it is the first");
        let results = file.run(files, &beside(self)).expect("the set compiles");
        assert!(results.len() == 1 && results[0].held.is_ok(), "{case}: {results:?}");
        case
    }

    async fn asks(&self, act: Act) -> String {
        match self.world.authorize(act).await {
            Ok(_) => "permitted".to_owned(),
            Err(authority::NotPermitted::Denied { denial, .. }) => denial.code().to_owned(),
            Err(other) => other.to_string(),
        }
    }
}

#[tokio::test]
async fn whatever_an_instance_did_on_behalf_of_a_person_is_a_case() {
    let world = World::with(|facts| {
        consented(facts, &[Harm::MovesMoney]);
        if let MandateBasis::Consented { agreed, .. } = &mut facts.mandate.basis {
            agreed.resources.insert(facts.server.name.clone());
        }
        facts.task.mandate_digest = facts.mandate.digest();
        facts.other.groups.insert("staff".parse().expect("a group"));
        facts.other.unit = Some("sales".parse().expect("a unit"));
    })
    .await;
    let desk = Desk::over(world).await;
    let set = PolicyFiles { policies: files(&format!("{POLICY}{MORE}")), ..PolicyFiles::default() };
    desk.publisher.replace(set.policies.clone()).await.expect("it compiles");
    let person =
        json!({ "id": desk.world.standing.other.id, "groups": ["staff"], "unit": "sales" });
    let server = || desk.world.standing.server.name.clone();
    let resource = |uri: &str| ResourceRef::Resource { server: server(), uri: uri.to_owned() };
    let prompt = |name: &str| ResourceRef::Prompt { server: server(), name: name.to_owned() };
    let agent = |name: &str| ResourceRef::Agent(name.parse().expect("an agent"));
    let task = ResourceRef::Task(desk.world.standing.task.id);
    for (name, resource, answer, members) in [
        (
            "resources/read",
            resource("file:///a"),
            "permitted",
            json!({ "server": "crm", "uri": "file:///a" }),
        ),
        (
            "resources/read",
            resource("file:///secret"),
            "forbidden",
            json!({ "server": "crm", "uri": "file:///secret" }),
        ),
        (
            "prompts/get",
            prompt("hello"),
            "permitted",
            json!({ "server": "crm", "prompt": "hello" }),
        ),
        ("prompts/get", prompt("bye"), "forbidden", json!({ "server": "crm", "prompt": "bye" })),
        ("delegate", agent("lab"), "permitted", json!({ "agent": "lab" })),
        ("delegate", agent("other"), "forbidden", json!({ "agent": "other" })),
        ("task/resume", task, "permitted", json!({})),
    ] {
        let act = desk.world.act(ActionName::method(name), resource, Value::Null);
        assert_eq!(desk.asks(act).await, answer, "{name} {members}");
        let case = desk.is_case(&set).await;
        let mut method = members;
        method["name"] = name.into();
        assert_eq!((&case["method"], &case["subject"]), (&method, &person));
    }
    assert_eq!(desk.call("lookup").await, "permitted");
    let case = desk.is_case(&set).await;
    assert_eq!((&case["subject"], &case["by"]), (&person, &json!(["reading"])));
}

/// What only the commit found is said, where a case has it; else it is refused.
#[tokio::test]
async fn what_only_the_commit_found_is_a_case_where_cases_say_it() {
    let world = World::with(|facts| facts.task.scope.max_calls = Some(2)).await;
    let desk = Desk::over(world).await;
    let mut all = files(POLICY);
    all.insert(pdp::STRICTNESS_FILE.to_owned(), STRICTNESS.to_owned());
    desk.publisher.replace(all).await.expect("it is in force");
    let (strictness, policies) = (Some(STRICTNESS.to_owned()), files(POLICY));
    let set = PolicyFiles { policies, strictness, ..PolicyFiles::default() };
    let token = desk.token("one");
    assert_eq!(desk.call_with("refund", &token).await, "permitted");
    let case = desk.is_case(&set).await;
    assert_eq!((&case["token_used"], &case["expect"]), (&Value::Null, &json!("permit")));
    desk.world.clock.advance(Duration::from_secs(9));
    assert_eq!(desk.call_with("refund", &token).await, "token_used");
    let case = desk.is_case(&set).await;
    assert_eq!(
        (&case["token_used"], &case["token_age_s"], &case["reason"]),
        (&json!(true), &json!(9), &json!("token_used"))
    );
    desk.world.clock.advance(Duration::from_mins(1));
    assert_eq!(desk.call_with("refund", &token).await, "token_too_old");
    assert_eq!(desk.is_case(&set).await["token_age_s"], 69);
    assert_eq!(desk.called("lookup").await, "permitted");
    assert_eq!(desk.called("lookup").await, "limit_reached");
    let why = as_case(&desk).await.1.expect_err("no case has limits of tasks");
    assert!(why.contains("no policy is asked about, and no case says: `limit_reached`"), "{why}");
}
