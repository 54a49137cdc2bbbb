//! R41: what work is for is registered, and whatever is done to anything else is denied, from when that is said.

use std::time::Duration;

use authority::NotPermitted;
use model::{Clock as _, FactKey, Mandate, Purpose};
use pap::{Command, PurposeSaid, ToolSaid};
use serde_json::{Value, json};

use crate::desk::{Desk, SAM, jwk, word};

impl Desk {
    /// What comes of looking up `account`.
    async fn looks_up(&self, account: &str) -> String {
        let act = self.world.call("lookup", json!({ "account": account }));
        match self.world.authorize(act).await {
            Ok(_) => "permitted".to_owned(),
            Err(NotPermitted::Denied { denial, .. }) => denial.code().to_owned(),
            Err(other) => other.to_string(),
        }
    }

    async fn describes(&self, said: ToolSaid) -> &'static str {
        let describe = Command::ToolDescribe { tool: "crm/lookup".to_owned(), said };
        word(&self.run(describe).await)
    }

    /// A deployment whose `crm/lookup` says by `account` what it is used on.
    async fn with_objects() -> Self {
        let desk = Self::new().await;
        let said = ToolSaid { objects: vec!["/account".to_owned()], ..ToolSaid::default() };
        assert_eq!(desk.describes(said).await, "done");
        desk
    }

    async fn narrows(&self, said: PurposeSaid) -> &'static str {
        word(&self.run(Command::PurposeNarrow(said)).await)
    }

    async fn widens(&self, said: PurposeSaid) -> &'static str {
        word(&self.run(Command::PurposeWiden(said)).await)
    }

    async fn purpose(&self) -> Purpose {
        let key = FactKey::purpose(&self.world.standing.purpose.id);
        serde_json::from_value(self.fact(key).await.expect("there is one")).expect("a purpose")
    }
}

/// What is said of the purpose of the deployment.
fn said(objects: &[&str]) -> PurposeSaid {
    let objects = objects.iter().map(|&object| object.to_owned()).collect();
    PurposeSaid { id: "care".to_owned(), objects, ..PurposeSaid::default() }
}

#[tokio::test]
async fn r_41_a_narrower_purpose_counts_at_once_and_cuts_what_is_under_way() {
    let desk = Desk::with_objects().await;
    for account in ["c-1", "o-1", ""] {
        assert_eq!(desk.looks_up(account).await, "permitted", "nothing is named");
    }
    let act = desk.world.call("lookup", json!({ "account": "o-1" }));
    let permit = desk.world.authorize(act).await.expect("it is permitted");
    let watch = desk.world.authority.watch(&permit);
    let _begun = permit.begin(desk.world.clock.as_ref()).expect("it begins");
    assert_eq!(desk.narrows(said(&["crm/c-*"])).await, "done");
    let cut = watch.no_longer_permitted().await;
    assert_eq!(cut.to_string(), "on data outside the purpose of the task");
    assert_eq!(desk.looks_up("c-1").await, "permitted");
    assert_eq!(desk.looks_up("o-1").await, "outside_purpose");
    assert_eq!(desk.looks_up("c-1/../o-1").await, "outside_purpose");
    assert_eq!(desk.looks_up("").await, "object_unknown");
    // Nobody said what another tool is used on.
    assert_eq!(desk.call("refund").await, "object_unknown");
    let none = ToolSaid { no_object: true, ..ToolSaid::default() };
    let describe = Command::ToolDescribe { tool: "crm/refund".to_owned(), said: none };
    desk.run(describe).await.expect("it is said");
    assert_eq!(desk.call("refund").await, "permitted");
    let told = desk.run(Command::LogReplay).await.expect("it is told");
    assert_eq!(told["differ"], json!([]));
    // What the call named is in no record in clear.
    let records = desk.world.records("decision").await;
    let denied: Vec<_> =
        records.iter().filter(|it| it.value["reason"] == "outside_purpose").collect();
    assert_eq!(denied.len(), 2);
    assert!(denied.iter().all(|it| !it.value.to_string().contains("o-1")));
}

#[tokio::test]
async fn r_41_categories_are_decided_on_where_both_are_said() {
    let desk = Desk::new().await;
    let data = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let of = |names: &[&str]| PurposeSaid { data: data(names), ..said(&[]) };
    assert_eq!(desk.narrows(of(&["orders"])).await, "done");
    assert_eq!(desk.looks_up("c-1").await, "permitted", "nobody said what it touches");
    let touches = ToolSaid { data: data(&["customers"]), ..ToolSaid::default() };
    assert_eq!(desk.describes(touches).await, "done");
    assert_eq!(desk.looks_up("c-1").await, "outside_purpose");
    assert_eq!(desk.widens(of(&["customers"])).await, "done");
    assert_eq!(desk.looks_up("c-1").await, "permitted");
    assert_eq!(desk.narrows(of(&["orders"])).await, "done");
    assert_eq!(desk.looks_up("c-1").await, "outside_purpose");
    assert_eq!(desk.widens(PurposeSaid { any_data: true, ..said(&[]) }).await, "done");
    assert_eq!(desk.looks_up("c-1").await, "permitted");
}

/// What is widened adds nothing to a mandate that was given before, and takes an owner who is here.
#[tokio::test]
async fn r_41_a_wider_purpose_gives_nothing_to_what_was_given_before() {
    let desk = Desk::with_objects().await;
    assert_eq!(desk.narrows(said(&["crm/c-*"])).await, "done");
    let add: Command = serde_json::from_value(json!({
        "do": "agent-add", "name": "clerk", "sponsor": SAM, "purpose": "care",
        "business_owner": SAM, "technical_owner": SAM, "key": jwk(),
    }))
    .expect("a command");
    let told = desk.run(add).await.expect("it is added");
    let mandate: model::MandateId = serde_json::from_value(told["mandate"].clone()).expect("an id");
    assert_eq!(desk.widens(said(&["crm/o-1"])).await, "done");
    assert_eq!(desk.looks_up("o-1").await, "permitted", "its mandate names nothing");
    assert_eq!(desk.looks_up("o-2").await, "outside_purpose");
    let objects = |purpose: &Purpose| json!(purpose.scope.objects);
    assert_eq!(objects(&desk.purpose().await), json!(["crm/c-*", "crm/o-1"]));
    let mandate = desk.fact(FactKey::mandate(mandate)).await.expect("it is given");
    let mandate: Mandate = serde_json::from_value(mandate).expect("a mandate");
    assert_eq!(json!(mandate.scope.objects), json!(["crm/c-*"]));

    // Each says one thing, and what it does not do is refused.
    let before = desk.purpose().await;
    let no_less: [&[&str]; 5] =
        [&["crm/c-*", "crm/o-1"], &["crm/*"], &["crm/o-*"], &["mail/x"], &[]];
    for objects in no_less {
        assert_eq!(desk.narrows(said(objects)).await, "invalid", "{objects:?}");
    }
    let no_more: [&[&str]; 3] = [&["crm/c-7"], &["crm/o-1"], &[]];
    for objects in no_more {
        assert_eq!(desk.widens(said(objects)).await, "invalid", "{objects:?}");
    }
    let any = PurposeSaid { any_object: true, ..said(&[]) };
    assert_eq!(desk.narrows(any.clone()).await, "invalid");
    for wrong in ["crm", "CRM/x", "crm/a*b"] {
        assert_eq!(desk.narrows(said(&[wrong])).await, "invalid", "{wrong}");
    }
    let many: Vec<_> = (0..=model::OBJECT_PATTERNS_MAX).map(|n| format!("crm/c-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(desk.narrows(said(&many)).await, "invalid");
    assert_eq!(
        desk.narrows(PurposeSaid { id: "none".to_owned(), ..said(&["crm/c-7"]) }).await,
        "missing"
    );
    let add = Command::PersonAdd { id: "pia".to_owned(), groups: Vec::new() };
    desk.run(add).await.expect("they are added");
    let give = Command::PurposeOwner { id: "care".to_owned(), owner: "pia".to_owned() };
    desk.run(give).await.expect("it has an owner");
    desk.run(Command::PersonDeactivate { id: "pia".to_owned() }).await.expect("they left");
    assert_eq!(desk.widens(any.clone()).await, "invalid");
    assert_eq!(desk.purpose().await.scope, before.scope);
    // To narrow it, nobody has to be there.
    assert_eq!(desk.narrows(said(&many[1..])).await, "done");
    let give = Command::PurposeOwner { id: "care".to_owned(), owner: SAM.to_owned() };
    desk.run(give).await.expect("it has an owner");
    assert_eq!(desk.widens(any).await, "done");
    assert_eq!(desk.looks_up("o-2").await, "permitted");
}

#[tokio::test]
async fn r_41_purposes_are_listed_as_they_are_and_were() {
    let desk = Desk::with_objects().await;
    let listed = async |id: Option<&str>, as_of: Option<String>| {
        let id = id.map(str::to_owned);
        desk.run(Command::PurposeList { id, as_of }).await.map(|rows| rows[0].clone())
    };
    let open = listed(None, None).await.expect("it is told");
    assert_eq!((&open["any_object"], &open["any_category"]), (&json!(true), &json!(true)));
    let then = desk.world.clock.now();
    desk.world.clock.advance(Duration::from_secs(1));
    assert_eq!(desk.narrows(said(&["crm/c-*"])).await, "done");
    desk.world.clock.advance(Duration::from_secs(1));
    let now = listed(Some("care"), None).await.expect("it is told");
    assert_eq!((&now["id"], &now["any_object"]), (&json!("care"), &json!(false)));
    assert_eq!(now["scope"]["objects"], json!(["crm/c-*"]));
    let was = listed(Some("care"), Some(then.to_string())).await.expect("it is told");
    assert_eq!(was["scope"].get("objects"), None);
    assert_eq!(word(&listed(Some("other"), None).await), "missing");
}

/// Where a tool names what it is used on is a place that its arguments have.
#[tokio::test]
async fn r_41_a_tool_names_its_objects_by_arguments_that_it_has() {
    let desk = Desk::new().await;
    let at = |places: &[&str]| ToolSaid {
        objects: places.iter().map(|&place| place.to_owned()).collect(),
        ..ToolSaid::default()
    };
    let both = ToolSaid { no_object: true, ..at(&["/account"]) };
    let category = ToolSaid { data: vec!["No Name".to_owned()], ..ToolSaid::default() };
    let places = |count: usize| ToolSaid {
        objects: (0..count).map(|n| format!("/account/{n}")).collect(),
        ..ToolSaid::default()
    };
    let categories = |count: usize| ToolSaid {
        data: (0..count).map(|n| format!("data-{n}")).collect(),
        ..ToolSaid::default()
    };
    let one_more = [places(9), categories(33)];
    let wrong = [at(&["/acount"]), at(&["account"]), at(&[""]), both, category];
    for wrong in wrong.into_iter().chain(one_more) {
        let before = desk.revision().await;
        assert_eq!(desk.describes(wrong.clone()).await, "invalid", "{wrong:?}");
        assert_eq!(desk.revision().await, before);
    }
    for as_many_as_may_be in [places(8), categories(32)] {
        assert_eq!(desk.describes(as_many_as_may_be).await, "done");
    }
    assert_eq!(desk.describes(at(&["/account"])).await, "done");
    let found = async || -> Value {
        let key = FactKey::tool(&"crm/lookup".parse().expect("a tool"));
        desk.fact(key).await.expect("it is onboarded")
    };
    assert_eq!(found().await["objects"], json!(["/account"]));
    // What is left out stays.
    assert_eq!(desk.describes(ToolSaid::default()).await, "done");
    assert_eq!(found().await["objects"], json!(["/account"]));
    assert_eq!(desk.describes(ToolSaid { no_object: true, ..ToolSaid::default() }).await, "done");
    assert_eq!(found().await["objects"], json!([]));
}

/// What was said of the arguments that it had is not said of others.
#[tokio::test]
async fn r_41_a_tool_that_is_pinned_with_other_arguments_is_described_anew() {
    let desk = Desk::with_objects().await;
    assert_eq!(desk.narrows(said(&["crm/c-*"])).await, "done");
    let pinned = async |change: fn(&mut Value)| {
        desk.list(|tools| change(tools.get_mut(&"lookup".parse().expect("a name")).expect("it")));
        desk.look().await;
        assert_eq!(desk.looks_up("c-1").await, "tool_not_pinned");
        let tool = || "crm/lookup".to_owned();
        let told = desk.run(Command::ToolDiff { tool: tool() }).await.expect("it is told");
        let digest = told["digest"].as_str().expect("a digest").to_owned();
        desk.run(Command::ToolPin { tool: tool(), digest }).await.expect("it is pinned")
    };
    let told = pinned(|it| it["description"] = json!("Looks up an account.")).await;
    assert_eq!(told["objects"], json!(["/account"]));
    assert_eq!(desk.looks_up("c-1").await, "permitted");
    let customer = |it: &mut Value| {
        it["inputSchema"]["properties"]["customer"] = json!({ "type": "string" });
    };
    assert_eq!(pinned(customer).await["objects"], Value::Null);
    assert_eq!(desk.looks_up("c-1").await, "object_unknown");
    let both = ToolSaid {
        objects: vec!["/account".to_owned(), "/customer".to_owned()],
        ..ToolSaid::default()
    };
    assert_eq!(desk.describes(both).await, "done");
    assert_eq!(desk.looks_up("c-1").await, "object_unknown", "it names one of two");
}

/// An argument that the schema does not say is none, also where it says none at all.
#[tokio::test]
async fn r_41_a_tool_without_a_schema_of_its_arguments_names_no_objects() {
    let desk = Desk::new().await;
    let mut lookup = desk.world.standing.tools[0].clone();
    let nested = json!({ "properties": { "to": { "properties": { "id": {} } }, "of": {} } });
    for (schema, place, expected) in [
        (json!({ "type": "object" }), "/account", "invalid"),
        (nested.clone(), "/to/id", "done"),
        (nested.clone(), "/of/id", "done"),
        (nested.clone(), "/to/other", "invalid"),
        (nested, "/other", "invalid"),
    ] {
        lookup.descriptor["inputSchema"] = schema;
        desk.world.put(FactKey::tool(&lookup.tool), &lookup).await;
        let said = ToolSaid { objects: vec![place.to_owned()], ..ToolSaid::default() };
        assert_eq!(desk.describes(said).await, expected, "{place}");
    }
}
