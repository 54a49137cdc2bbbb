//! Cases of administration: who may do what of it, asked as it is asked in service; and recorded acts as cases.

use std::collections::{BTreeMap, BTreeSet};

use pap::{CaseError, CaseFile, Command, PolicyFiles, Tools};
use pdp::STARTER_POLICY;
use serde_json::{Value, json};

use crate::desk::{files, word};
use crate::directories::{Scene, user};
use crate::policy_sets::beside;
use crate::support::POLICY;

fn set(policy: &str) -> PolicyFiles {
    PolicyFiles { policies: files(policy), ..PolicyFiles::default() }
}

/// What comes of the cases of `text` by the starter set, with their names.
fn run(text: &str) -> Vec<(String, Result<(), CaseError>)> {
    let file = CaseFile::read("cases/it.yaml", text).expect("it can be read");
    let results = file.run(&set(STARTER_POLICY), &Tools::new()).expect("the set compiles");
    results.into_iter().map(|it| (it.name, it.held)).collect()
}

/// Principals, acts of administration, and what the starter set answers.
const ADMINISTRATION: &str = "\
cases:
  - name: administrators administer
    person: { id: ada, groups: [administrators] }
    vary:
      act:
        - { name: policy/publish, to: { bundle: any } }
        - { name: policy/activate, to: { bundle: any } }
        - { name: agent/add, to: { agent: desk } }
        - { name: person/deactivate, to: { person: ann } }
        - { name: tool/pin, to: { tool: crm/lookup } }
        - { name: clock/trust }
    expect: permit
    only: [starter-administration]
  - name: nobody else does
    vary:
      person: [{ id: ann, groups: [staff] }, { id: ben }]
      act:
        - { name: policy/publish, to: { bundle: any } }
        - { name: agent/add, to: { agent: desk } }
        - { name: person/deactivate, to: { person: ann } }
    expect: deny
    reason: not_granted
  - name: nor who is gone
    act: { name: clock/trust }
    person: { id: ada, groups: [administrators], active: false }
    expect: deny
    reason: administrator_not_active
  - name: its sponsor renews an agent
    act: { name: agent/renew, to: { agent: desk } }
    registered: { sponsor: { id: sam } }
    person: { id: sam }
    expect: permit
    by: [starter-affirm]
  - name: nobody but its sponsor does
    act: { name: agent/renew, to: { agent: desk } }
    registered: { sponsor: { id: sam } }
    person: { id: ada, groups: [administrators] }
    expect: deny
    reason: sponsor_renews
  - name: who keeps it running says that it forgets, and that it does no more
    act: { name: agent/forget, to: { agent: desk } }
    registered: { sponsor: { id: sam }, technical_owner: tom }
    person: { id: tom }
    expect: permit
    by: [starter-memory]
  - name: nobody else says that it forgets
    act: { name: agent/forget, to: { agent: desk } }
    registered: { sponsor: { id: sam }, technical_owner: tom }
    person: { id: ada, groups: [administrators] }
    expect: deny
    reason: technical_owner_answers
  - name: an agent falls to those above, named, and beside
    act: { name: agent/take-over, to: { agent: desk } }
    registered: { sponsor: { id: sam }, line: [carl, dora], backups: [betty], unit: Desk 4 }
    vary: { person: [{ id: dora }, { id: betty }, { id: eve, unit: Desk 4 }] }
    expect: permit
    only: [starter-take-over]
  - name: and to nobody else
    act: { name: agent/take-over, to: { agent: desk } }
    registered: { sponsor: { id: sam }, line: [carl, dora], backups: [betty], unit: Desk 4 }
    vary: { person: [{ id: eve }, { id: eve, unit: Desk 5 }, { id: ada, groups: [administrators] }] }
    expect: deny
    reason: not_granted
  - name: a directory says who there is
    act: { name: person/provision, to: { person: ann } }
    directory: { name: okta, gives: added, joins: [staff] }
    expect: permit
    only: [starter-directory]
  - name: until it is suspended
    act: { name: person/provision, to: { person: ann } }
    directory: { name: okta, gives: added, active: false }
    expect: deny
    reason: directory_not_active
  - name: it registers agents
    act: { name: agent/provision, to: { agent: desk } }
    directory: { name: okta, gives: added, person: { id: sam }, purpose: refunds }
    expect: permit
    only: [starter-directory-agents]
  - name: what it takes away no policy is asked about
    act: { name: person/restrict, to: { person: ann } }
    directory: { name: okta, gives: nothing, person: { id: ann } }
    expect: permit
    only: []
";

/// Who administers by the starter set.
#[test]
fn r_38_cases_ask_for_administration() {
    let results = run(ADMINISTRATION);
    assert_eq!(results.len(), 27);
    for (name, held) in results {
        assert_eq!(held, Ok(()), "{name}");
    }
}

/// The cases that the page on them shows are cases, which the starter set holds.
#[test]
fn the_cases_of_the_page_hold() {
    let page = include_str!("../../../../docs/policy-sets.md");
    let blocks = page.split("```yaml\n").skip(1).filter_map(|part| part.split_once("```"));
    let blocks: Vec<_> = blocks.map(|(block, _)| block).collect();
    assert_eq!(blocks.len(), 2, "of calls, and of administration");
    for (name, held) in blocks.into_iter().flat_map(run) {
        assert_eq!(held, Ok(()), "{name}");
    }
}

/// A case of administration that cannot be asked, or that says what nobody would look at, does not hold.
#[test]
fn what_nobody_administers_cannot_be_asked() {
    let check = |members: &str, why: &str| {
        let text = format!("cases: [{{ name: it, expect: deny, {members} }}]\n");
        let results = run(&text);
        let [(_, Err(CaseError::Unaskable(told)))] = results.as_slice() else {
            panic!("{members}: {results:?}")
        };
        assert!(told.contains(why), "{members}: {told}");
    };
    let both = "either the `person` or the `directory`";
    check("act: { name: clock/trust }", both);
    let okta = "directory: { name: okta, gives: added }";
    check(&format!("act: {{ name: clock/trust }}, person: {{ id: ada }}, {okta}"), both);
    check(&format!("act: {{ name: clock/trust }}, {okta}"), "nobody can ask so");
    let ada = "person: { id: ada }";
    check(&format!("act: {{ name: policy/publish }}, {ada}"), "nobody can ask so");
    check(&format!("act: {{ name: policy/publsh, to: {{ bundle: x }} }}, {ada}"), "nobody can ask");
    check(&format!("act: {{ name: tools/list, to: {{ server: crm }} }}, {ada}"), "nobody can ask");
    let registered = "registered: { sponsor: { id: sam } }";
    check(&format!("act: {{ name: clock/trust }}, {ada}, {registered}"), "`registered` says of no");
    check(&format!("act: {{ name: clock/trust }}, {ada}, attestation: host"), "unknown field `att");
    check(
        &format!("act: {{ name: clock/trust }}, {ada}, call: {{ tool: crm/x }}"),
        "unknown field",
    );
    check("call: { tool: crm/x }, person: { id: ada }", "unknown field `person`");
    check("agent: desk", "either `call` or `method`, or `act`");
}

/// What was administered is a case, which is answered alike: by people and directories, permitted or not.
#[tokio::test]
async fn r_38_whatever_was_administered_is_a_case() {
    let scene = Box::pin(Scene::set()).await;
    let desk = &scene.desk;
    let ann = scene.creates(user("ann")).await;
    scene.activity(&ann, false).await.expect("it takes away");
    let (other, agent) =
        (desk.world.standing.other.id.clone(), desk.world.standing.agent.name.to_string());
    assert_eq!(word(&desk.run_as(&other, Command::PersonList).await), "refused");
    let reason = "to see".to_owned();
    let takes = Command::AgentTakeOver { name: agent.clone(), reason: reason.clone(), word: None };
    assert_eq!(word(&desk.run_as(&other, takes).await), "refused");
    desk.run(Command::AgentSuspend { name: agent, reason }).await.expect("it is suspended");
    let (mut file, mut acts) = (CaseFile::default(), BTreeSet::new());
    for record in desk.world.records("administration").await {
        let id = record.text_of("id").to_owned();
        let mut told =
            desk.run(Command::PolicyCase { id: id.clone() }).await.expect("it is a case");
        assert_eq!(told["untold"], json!([]), "{told}");
        let case = told["case"].take();
        assert_eq!(case["act"]["name"], record.value["action"]);
        let Value::Object(case) = case else { panic!("{case} is no map") };
        file.add(case, Tools::new()).expect("it is another");
        acts.insert(format!("{} {}", record.text_of("action"), record.text_of("decision")));
    }
    for act in [
        "agent/suspend permit",
        "agent/take-over deny",
        "log/read deny",
        "people/directory permit",
        "person/provision permit",
        "person/restrict permit",
    ] {
        assert!(acts.contains(act), "{act}: {acts:?}");
    }
    let results = file.run(&set(POLICY), &beside(desk)).expect("the set compiles");
    assert!(results.iter().all(|it| it.held.is_ok()), "{results:?}");
    // They fail where the set answers otherwise.
    let no = r#"@id("no") forbid (principal, action == Action::"agent/suspend", resource);"#;
    let results = file.run(&set(&format!("{POLICY}{no}")), &beside(desk)).expect("it compiles");
    let failed: BTreeMap<_, _> =
        results.iter().filter_map(|it| Some((&it.name, it.held.as_ref().err()?))).collect();
    assert!(failed.keys().all(|name| name.starts_with("agent/suspend at ")), "{failed:?}");
    assert_eq!(failed.len(), 1);
}

/// A question is put to the set in force as a case puts it.
#[tokio::test]
async fn administration_is_asked_about_as_a_case_asks() {
    let scene = Box::pin(Scene::set()).await;
    let ask = async |person: Value| {
        let act = json!({ "name": "person/deactivate", "to": { "person": "ann" } });
        let case = json!({ "act": act, "person": person });
        let case = case.as_object().expect("an object").clone();
        scene.desk.run(Command::PolicyAsk { case }).await.expect("it is answered")
    };
    let told = ask(json!({ "id": "ada", "groups": ["administrators"] })).await;
    assert_eq!((&told["answer"], &told["by"]), (&json!("permit"), &json!(["administration"])));
    let told = ask(json!({ "id": "ada" })).await;
    assert_eq!((&told["answer"], &told["reason"]), (&json!("deny"), &json!("not_granted")));
    assert_eq!(told["permitted_with"], json!([]), "no circumstances make up for who they are");
}
