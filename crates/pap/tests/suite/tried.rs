//! The cases of a set are a part of what is signed, and the service decides them: one that fails keeps the set from
//! being published, from being put in force, and from being brought back.

use std::collections::BTreeMap;

use model::{FactKey, Harm, ReleaseState};
use pap::{AdminError, Command, PolicyFiles, ReleaseAsked};
use pdp::Bundle;
use serde_json::{Value, json};

use crate::desk::word as word_of;
use crate::releases::{CLOSED, House, asked};

/// Where the cases of the tests stand.
const PATH: &str = "cases/desk.yaml";

/// Forbids what changes production.
const CAREFUL: &str = r#"@id("careful")
    forbid (principal, action in Action::"tools/call", resource is Tool)
    when { resource.harm.contains("changes-production") };"#;

/// Holds as long as the lookup that is onboarded changes nothing.
const LOOKS_UP: &str = "\
given: { attestation: host }
cases:
  - name: what is asked before
    method: { name: tools/list, server: crm }
    expect: permit
  - name: anybody looks up
    call: { tool: crm/lookup }
    vary: { calls: [0, 1] }
    expect: permit
    by: [reading]
";

/// What is published as `version` with these cases.
fn with(version: u64, more: &str, cases: BTreeMap<String, String>) -> (ReleaseAsked, PolicyFiles) {
    let (asked, files) = asked(version, more);
    let files = PolicyFiles { cases, ..files };
    let content = Bundle::from(files.clone()).digest();
    (ReleaseAsked { content, ..asked }, files)
}

fn file(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(PATH.to_owned(), text.to_owned())])
}

impl House {
    async fn publish_with(
        &self,
        version: u64,
        more: &str,
        cases: BTreeMap<String, String>,
    ) -> Result<Value, AdminError> {
        let (asked, files) = with(version, more, cases);
        self.desk.run(self.published(asked, Some(files))).await
    }

    /// The lookup can do this from now on, and the set in force is compiled with it.
    async fn lookup_can(&self, harm: Harm) {
        let mut tool = self.desk.world.standing.tools[0].clone();
        assert_eq!(tool.tool.to_string(), "crm/lookup");
        tool.harm = [harm].into();
        self.desk.world.put(FactKey::tool(&tool.tool), &tool).await;
        self.desk.publisher.publish().await.expect("it compiles");
    }

    fn digest_in_force(&self) -> String {
        self.desk.world.authority.pip().policy().snapshot.digest().to_string()
    }

    async fn row(&self, version: u64) -> Value {
        let told = self.desk.run(Command::PolicyHistory).await.expect("it is told");
        let rows = told["releases"].as_array().expect("a list").clone();
        let is = |row: &Value| row["terms"]["version"] == version;
        rows.into_iter().find(is).expect("it is listed")
    }
}

#[tokio::test]
async fn r_39_cases_are_signed_and_how_many_hold_is_told() {
    let house = House::new().await;
    let told = house.publish_with(2, CAREFUL, file(LOOKS_UP)).await.expect("they hold");
    assert_eq!(told["cases"], 3);
    house.approve(2).await.expect("it is approved");
    let told = house.activate(2).await.expect("it is in force");
    assert_eq!(told["cases"], 3);
    assert_eq!(
        (&house.row(1).await["cases"], &house.row(2).await["cases"]),
        (&json!(null), &json!(3))
    );
    assert_eq!(house.follows().await, "in force");
    assert_eq!(house.desk.call("lookup").await, "permitted");
    // The same policies with other cases are another content.
    let (other, _) = with(3, CAREFUL, file(&LOOKS_UP.replace("anybody", "somebody")));
    assert_ne!(house.release(2).await.terms.content, other.content);
    let (without, _) = with(3, CAREFUL, BTreeMap::new());
    assert_eq!(without.content, asked(3, CAREFUL).0.content, "without cases nothing changes");
    // What was signed is what is kept, and how many held is countersigned.
    let place = FactKey::policy(&house.release(2).await.terms.content);
    let content = house.desk.fact(place.clone()).await.expect("it is kept");
    let mut altered = content.clone();
    altered["cases"][PATH] = json!("cases: []\n");
    house.desk.world.put(place.clone(), &altered).await;
    assert!(house.follows().await.contains("not what its digest says"));
    house.desk.world.put(place, &content).await;
    let good = house.release(2).await;
    let mut more = good.clone();
    more.cases = Some(1_000);
    house.desk.world.put(FactKey::release(2), &more).await;
    assert!(house.follows().await.contains("did not countersign it"));
    house.desk.world.put(FactKey::release(2), &good).await;
    assert_eq!(house.follows().await, "in force");
}

/// Whatever is wrong with the cases is told with its place, and nothing changes.
#[tokio::test]
async fn n_128_what_its_cases_deny_is_not_published() {
    let house = House::new().await;
    let check = async |cases: BTreeMap<String, String>, says: &[&str]| {
        let before = (house.desk.revision().await, house.digest_in_force());
        let answer = house.publish_with(2, CLOSED, cases).await;
        assert_eq!(word_of(&answer), "invalid", "{says:?}");
        let why = answer.expect_err("it fails").to_string();
        for part in says {
            assert!(why.contains(part), "{part}: {why}");
        }
        assert_eq!((house.desk.revision().await, house.digest_in_force()), before);
        assert_eq!(house.desk.fact(FactKey::release(2)).await, None);
    };
    let fails =
        "cases/desk.yaml:6: the case `anybody looks up [calls: 0]` expects permit by reading";
    check(file(LOOKS_UP), &[fails, "closed", "chancery policy test"]).await;
    // What is not read whole is not read.
    for text in [
        &LOOKS_UP[..100],
        "",
        "cases: []\ncases: []\n",
        "cases: []\nmore: 1\n",
        "given: &it { attestation: host }\ncases: []\n",
        "cases:\n  - &it { name: it }\n  - *it\n",
    ] {
        check(file(text), &["cases/desk.yaml", "see docs/policy-sets.md"]).await;
    }
    for path in
        ["properties/desk.yaml", "cases/desk.yml", "cases/a/b.yaml", "cases/.yaml", "cases/\n.yaml"]
    {
        let cases = BTreeMap::from([(path.to_owned(), "cases: []\n".to_owned())]);
        check(cases, &["is no file of cases: name it `cases/NAME.yaml`"]).await;
    }
    // A tool that neither the file describes nor anybody onboarded.
    let other = "cases:\n  - { name: it, call: { tool: crm/other }, expect: deny }\n";
    check(file(other), &["cases/desk.yaml:2: the case `it` cannot be asked: "]).await;
    let members: Vec<String> = (0..101).map(|member| member.to_string()).collect();
    let vary = format!("{{ calls: [{0}], token_age_s: [{0}] }}", members.join(", "));
    let many = format!(
        "cases: [{{ name: it, call: {{ tool: crm/lookup }}, vary: {vary}, expect: deny }}]\n"
    );
    check(file(&many), &["more than 10000 cases"]).await;
}

/// Two files by one name are shown as one to whoever approves.
#[tokio::test]
async fn n_094_no_schema_part_has_the_name_of_another_file() {
    let house = House::new().await;
    for (name, is_one) in
        [("labels.yaml", false), ("tools.yaml", false), (PATH, false), ("own.cedarschema", true)]
    {
        let (asked, files) = asked(2, CLOSED);
        let schema = BTreeMap::from([(name.to_owned(), "type Hidden = Long;".to_owned())]);
        let files = PolicyFiles { schema, ..files };
        let asked = ReleaseAsked { content: Bundle::from(files.clone()).digest(), ..asked };
        let answer = house.desk.run(house.published(asked, Some(files))).await;
        if is_one {
            answer.expect("it is a schema part");
        } else {
            assert_eq!(word_of(&answer), "invalid", "{name}");
            let why = answer.expect_err("it is none").to_string();
            assert!(why.contains("is no schema part"), "{why}");
        }
    }
}

/// Between publishing and activating tools change: what holds no more stays out, and the last good set in force.
#[tokio::test]
async fn n_128_what_its_cases_deny_by_now_is_not_put_in_force() {
    let house = House::new().await;
    house.publish_with(2, CAREFUL, file(LOOKS_UP)).await.expect("they hold");
    house.approve(2).await.expect("it is approved");
    house.lookup_can(Harm::ChangesProduction).await;
    let (before, log) = (house.digest_in_force(), house.desk.revision().await);
    let answer = house.activate(2).await;
    assert_eq!(word_of(&answer), "invalid");
    let why = answer.expect_err("it fails").to_string();
    assert!(why.contains("cases/desk.yaml:6: the case `anybody looks up [calls: 0]`"), "{why}");
    assert!(why.contains("careful") && why.contains("publish the set again"), "{why}");
    assert_eq!((house.digest_in_force(), house.desk.revision().await), (before.clone(), log));
    assert!(matches!(house.release(2).await.state, ReleaseState::Released { .. }));
    assert_eq!(house.base().await.version, 1);
    assert_eq!(house.follows().await, "in force");
    assert_eq!(house.digest_in_force(), before);
    // Once it holds again, it is put in force.
    house.lookup_can(Harm::ReadsData).await;
    house.activate(2).await.expect("it is in force");
    assert_ne!(house.digest_in_force(), before);
}

/// Nobody waits for it: who onboards, reads or takes something back meanwhile does so.
#[tokio::test]
async fn deciding_many_cases_holds_up_nobody_else() {
    let house = House::new().await;
    let numbers: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    let vary = format!("{{ calls: [{0}], token_age_s: [{0}] }}", numbers.join(", "));
    let many = LOOKS_UP.replace("{ calls: [0, 1] }", &vary);
    house.publish_with(2, CAREFUL, file(&many)).await.expect("they hold");
    house.approve(2).await.expect("it is approved");
    let mut activating = Box::pin(house.activate(2));
    let others = async {
        for _ in 0..5 {
            house.desk.run(Command::PolicyInForce).await.expect("it is told");
        }
    };
    tokio::select! {
        biased;
        _ = &mut activating => panic!("the others waited"),
        () = others => {}
    }
    assert_eq!(activating.await.expect("it is in force")["cases"], 2_501);
}

/// Bringing back is a release like others; what was released before there were cases comes back as it was.
#[tokio::test]
async fn n_128_what_is_brought_back_is_tried_again() {
    let house = House::new().await;
    house.publish_with(2, CAREFUL, file(LOOKS_UP)).await.expect("they hold");
    house.approve(2).await.expect("it is approved");
    house.activate(2).await.expect("it is in force");
    house.release_all(3, CLOSED).await;
    house.lookup_can(Harm::ChangesProduction).await;
    let why = house.roll_back(4, 2).await.expect_err("its case fails").to_string();
    assert!(why.contains("cases/desk.yaml:6: "), "{why}");
    house.roll_back(4, 1).await.expect("it has no cases");
    house.approve(4).await.expect("it is approved");
    house.activate(4).await.expect("it is in force");
    assert_eq!(house.row(4).await["cases"], 0);
    house.lookup_can(Harm::ReadsData).await;
    house.roll_back(5, 2).await.expect("its cases hold again");
    assert_eq!(house.row(5).await["cases"], 3);
}

/// What a file describes is what its cases call, whatever is onboarded by that name.
#[tokio::test]
async fn a_file_brings_its_own_tools() {
    let house = House::new().await;
    let cases = "\
tools:
  crm/lookup: { harm: [changes-production] }
  crm/other: { harm: [reads-data] }
cases:
  - { name: careful, call: { tool: crm/lookup }, expect: deny, by: [careful] }
  - { name: nobody permits it, call: { tool: crm/other }, expect: deny, reason: not_granted }
";
    let both = BTreeMap::from([
        (PATH.to_owned(), LOOKS_UP.to_owned()),
        ("cases/own.yaml".to_owned(), cases.to_owned()),
    ]);
    let told = house.publish_with(2, CAREFUL, both).await.expect("they hold");
    assert_eq!(told["cases"], 5);
}

/// What a set says of tools is what its cases call, as far as nobody onboarded them.
#[tokio::test]
async fn a_set_says_which_tools_there_are_where_nobody_onboarded_them() {
    let house = House::new().await;
    let tools = "\
crm/lookup: { harm: [changes-production] }
crm/other: { harm: [changes-production] }
";
    let other = "cases: [{ name: it, call: { tool: crm/other }, expect: deny, by: [careful] }]\n";
    let mut files = file(LOOKS_UP);
    files.insert("cases/other.yaml".to_owned(), other.to_owned());
    let permits = r#"@id("all") permit (principal, action in Action::"tools/call", resource == Tool::"crm/other");"#;
    let policies = format!("{CAREFUL}{permits}");
    let answer = house.publish_with(2, &policies, files.clone()).await;
    let why = answer.expect_err("nobody knows the other tool").to_string();
    assert!(why.contains("cases/other.yaml:1: the case `it` cannot be asked"), "{why}");
    files.insert(pap::TOOLS_FILE.to_owned(), tools.to_owned());
    let told = house.publish_with(2, &policies, files.clone()).await.expect("they hold");
    assert_eq!(told["cases"], 4);
    for wrong in ["crm/other: { harm: [none] }\n", "- crm/other\n", "crm/other: &it {}\n"] {
        files.insert(pap::TOOLS_FILE.to_owned(), wrong.to_owned());
        let answer = house.publish_with(3, &policies, files.clone()).await;
        let why = answer.expect_err("it is not in order").to_string();
        assert!(why.contains("tools.yaml"), "{wrong}: {why}");
    }
}
