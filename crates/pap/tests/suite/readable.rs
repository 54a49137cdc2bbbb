//! R49: what data is in reach, directly and by others, and what of that came and went.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{
    Agreed, Clock as _, DataCategory, FactKey, Label, MandateBasis, Purpose, ServerName,
    Sha256Digest, TaskSubject, Tool,
};
use pap::{Content, PolicyFiles};
use serde_json::{Value, json};

use crate::desk::{Desk, files};
use crate::reach::{ASKING, CHAIN, desk, puts_in_force, reach, unknown};
use crate::support::World;

/// What comes back from the tools and the resources of the server.
const LABELS: &str = "
labels:
  external: What outsiders wrote.
  notes: What was kept.
  private: Personal data.
servers:
  crm: { resources: [private] }
tools:
  crm/lookup: { carries: [private] }
  crm/refund: { carries: [external] }
  crm/deploy: { reads: any }
";

/// Puts the chain in force, with what is said of labels; `reader` may read resources.
async fn labelled(desk: &Desk, labels: &str) {
    labelled_with(desk, labels, "").await;
}

/// The same, with more policies.
async fn labelled_with(desk: &Desk, labels: &str, more: &str) {
    let reads = r#"@id("files") permit (principal in Agent::"reader", action == Action::"resources/read", resource in Server::"crm");"#;
    let policies = files(&format!("{ASKING}{CHAIN}{reads}{more}"));
    let files = PolicyFiles { policies, labels: Some(labels.to_owned()), ..PolicyFiles::default() };
    let content = Content { files, ..Content::default() };
    desk.publisher.replace(content).await.expect("it compiles");
}

fn categories(names: &[&str]) -> BTreeSet<DataCategory> {
    names.iter().map(|name| name.parse().expect("a category")).collect()
}

/// Says on which data objects, and of which categories, the work is.
async fn is_for(desk: &Desk, (objects, data): (&[&str], &[&str])) {
    let facts = &desk.world.standing;
    let mut purpose = Purpose { data: categories(data), ..facts.purpose.clone() };
    let objects: BTreeSet<_> = objects.iter().map(|it| it.parse().expect("a pattern")).collect();
    purpose.scope.objects = (!objects.is_empty()).then_some(objects);
    desk.world.put(FactKey::purpose(&purpose.id), &purpose).await;
}

/// Says of all tools that the account is what they are used on, and which categories each touches.
async fn touch(desk: &Desk, data: [&[&str]; 3]) {
    for (tool, data) in desk.world.standing.tools.iter().zip(data) {
        let objects = Some(["/account".to_owned()].into());
        let tool = Tool { objects, data: categories(data), ..tool.clone() };
        desk.world.put(FactKey::tool(&tool.tool), &tool).await;
    }
}

/// What is told of one category or label.
fn row(kind: &str, name: &str, direct: &[&str], by_delegation: &[&str]) -> Value {
    json!({ kind: name, "direct": direct, "by_delegation": by_delegation })
}

#[tokio::test]
async fn r_49_what_data_is_in_reach_is_told_by_what_it_comes_from() {
    let desk = desk(CHAIN).await;
    labelled(&desk, LABELS).await;
    is_for(&desk, (&["crm/customer-*"], &["customers", "payments"])).await;
    touch(&desk, [&["customers"], &["customers", "payments"], &["payments"]]).await;
    let kept = BTreeSet::from(["notes".parse::<Label>().expect("a label")]);
    desk.world.put(FactKey::kept(&desk.world.standing.server.name, None), &kept).await;
    let told = reach(&desk, None).await;
    let expected = json!({
        "for": { "objects": ["crm/customer-*"], "categories": ["customers", "payments"] },
        "resources": null,
        "categories": [
            row("category", "customers", &["crm/lookup"], &["crm/refund"]),
            row("category", "payments", &[], &["crm/deploy", "crm/refund"]),
        ],
        "labels": [
            row("label", "external", &[], &["crm/refund"]),
            row("label", "notes", &[], &["crm/deploy"]),
            row("label", "private", &["crm/lookup"], &["crm resources/read"]),
        ],
        "unknown": [],
    });
    assert_eq!(told["data"], expected);
}

/// So is what comes with whatever else a server is asked for; of what has no list, that is named.
#[tokio::test]
async fn r_49_what_comes_with_lists_completions_and_requests_is_told() {
    let desk = desk(CHAIN).await;
    let more =
        "resources: [private], completions: [external], lists: [external], requests: [notes]";
    let labels = LABELS.replace("resources: [private]", more);
    let beside = r#"@id("beside") permit (principal in Agent::"billing", action in [Action::"completion/complete",
        Action::"prompts/list", Action::"resources/subscribe", Action::"server/request"], resource in Server::"crm");"#;
    labelled_with(&desk, &labels, beside).await;
    let told = reach(&desk, None).await;
    let all = ["completion/complete", "resources/read", "resources/subscribe", "server/request"];
    assert_eq!(unknown(&told), all.map(|method| format!("crm {method}")));
    let lists = ["crm completion/complete", "crm prompts/list"];
    let labels = json!([
        row("label", "external", &lists, &["crm/refund"]),
        row("label", "notes", &["crm server/request"], &[]),
        row(
            "label",
            "private",
            &["crm resources/subscribe", "crm/lookup"],
            &["crm resources/read"]
        ),
    ]);
    assert_eq!(told["data"]["labels"], labels, "{told}");
}

/// What nobody said is named: of the work, of the set, and of each tool.
#[tokio::test]
async fn r_49_what_is_not_said_of_data_is_named() {
    let desk = desk(CHAIN).await;
    labelled(&desk, &LABELS.replace("  crm/deploy: { reads: any }\n", "")).await;
    is_for(&desk, (&["crm/*"], &["customers"])).await;
    touch(&desk, [&["customers"], &["customers"], &["customers"]]).await;
    assert_eq!(unknown(&reach(&desk, None).await["data"]), ["crm/deploy unlabelled"]);
    is_for(&desk, (&[], &[])).await;
    touch(&desk, [&[], &["customers"], &["customers"]]).await;
    puts_in_force(&desk, CHAIN).await;
    let deploy = &desk.world.standing.tools[2];
    desk.world.put(FactKey::tool(&deploy.tool), deploy).await;
    let told = reach(&desk, None).await;
    assert_eq!(
        (&told["data"]["labels"], &told["data"]["for"]["objects"]),
        (&json!([]), &Value::Null)
    );
    let all = [
        "care any_object",
        "care any_category",
        "labels no_labels",
        "crm/lookup any_category",
        "crm/deploy any_object",
        "crm/deploy any_category",
    ];
    assert_eq!(unknown(&told["data"]), all);
}

/// Without a time it is since a week ago; before the register was kept, nobody knows.
#[tokio::test]
async fn r_49_what_data_came_and_went_is_told() {
    let desk = desk(CHAIN).await;
    let clock = &desk.world.clock;
    clock.advance(Duration::from_mins(1));
    labelled(&desk, LABELS).await;
    is_for(&desk, (&["crm/customer-*"], &["customers"])).await;
    touch(&desk, [&["customers"], &["customers"], &["customers"]]).await;
    clock.advance(Duration::from_mins(1));
    let since = clock.now();
    clock.advance(Duration::from_mins(1));
    let nothing = json!({ "for": [], "categories": [], "labels": [] });
    let told = reach(&desk, Some(since)).await;
    assert_eq!(told["change"]["data"], json!({ "gained": nothing, "lost": nothing }), "{told}");
    let told = reach(&desk, None).await;
    let early = &told["change"];
    assert_eq!(early["since"], clock.now().minus(Duration::from_hours(168)).to_string());
    assert!(early["unknown"].as_str().is_some_and(|why| why.contains("kept since")), "{early}");

    labelled(&desk, &LABELS.replace("carries: [external]", "carries: [notes]")).await;
    is_for(&desk, (&["crm/*"], &["customers", "payments"])).await;
    let told = reach(&desk, Some(since)).await;
    let ends = ["category payments", "object crm/*"];
    let gained = json!({ "for": ends, "categories": [], "labels": ["notes"] });
    let lost =
        json!({ "for": ["object crm/customer-*"], "categories": [], "labels": ["external"] });
    assert_eq!(told["change"]["data"], json!({ "gained": gained, "lost": lost }), "{told}");
}

/// Of who acts by a person's consent, the resources of those servers alone that the person was shown.
#[tokio::test]
async fn r_49_a_consent_bounds_which_resources_are_in_reach() {
    let check = async |shown: &[&str], expected: &[&str]| {
        let named = shown.iter().map(|name| name.parse::<ServerName>().expect("a server"));
        let resources: BTreeSet<_> = named.collect();
        let agreed = Agreed { resources, ..Agreed::default() };
        let world = World::with(|facts| {
            let (subject, request) = (facts.other.id.clone(), Sha256Digest::of(b""));
            let person = subject.clone();
            let (once, session) = (false, None);
            facts.mandate.basis =
                MandateBasis::Consented { subject, request, once, agreed, session };
            facts.task.subject = TaskSubject::OnBehalfOf { person };
            facts.task.mandate_digest = facts.mandate.digest();
        })
        .await;
        let desk = Desk::over(world).await;
        let reads = r#"@id("files") permit (principal, action in [Action::"resources/read", Action::"crm/lookup"], resource in Server::"crm");"#;
        puts_in_force(&desk, reads).await;
        let told = reach(&desk, None).await;
        assert_eq!(told["dead"], Value::Null, "{told}");
        assert_eq!(told["tools"]["crm/lookup"]["direct"], "now", "{told}");
        assert_eq!(unknown(&told), expected);
        assert_eq!(told["data"]["resources"], json!(shown));
    };
    check(&[], &[]).await;
    check(&["crm"], &["crm resources/read"]).await;
}
