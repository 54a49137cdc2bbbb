//! Policy sets at the real program, as the page on them says it: tried before they are in force, and explained after.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::path::Path;
use std::process::{Command, Output};

use e2e::{Caller, Canary, Deployment, Options, Page};
use serde_json::{Value, json};

/// Runs the program; what it said and how it ended.
fn chancery(deployment: &Deployment, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(e2e::binary());
    command.args(arguments).current_dir(deployment.path("home"));
    command.env("CHANCERY_SOCKET", deployment.path("home/state/admin.sock"));
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    let told = [stdout, stderr].concat();
    (status.code().expect("it ends by itself"), String::from_utf8(told).expect("it is text"))
}

/// Runs the blocks of the page: what each says.
fn shows(deployment: &Deployment, decision: &str) {
    let told = Page::read("policy-sets.md", &[("$DECISION", decision)]).run(deployment);
    assert!(told[0].contains("0 of which do not hold"), "{}", told[0]);
    assert!(told[0].contains("policies apply in a case"), "{}", told[0]);
    let recorded = "cases/recorded.yaml: `canary/touch at ";
    assert!(told[1].contains(recorded) && told[1].contains(decision), "{}", told[1]);
    assert!(told[2].contains(" 0 erased, 0 cannot be read"), "{}", told[2]);
    assert!(told[3].contains(" 0 erased, 0 cannot be read"), "{}", told[3]);
    assert!(told[4].contains("decided by `canary`"), "{}", told[4]);
    assert!(told[4].contains("permit `canary` applies (asked of the instance)"), "{}", told[4]);
    assert!(told[5].contains("canary/touch on Tool::canary/touch\ndeny: "), "{}", told[5]);
    assert!(told[5].contains("would be permitted with attestation: \"host\""), "{}", told[5]);
    let home = deployment.path("home");
    let read = |name: &str| std::fs::read_to_string(home.join(name)).expect("it was written");
    assert!(
        read("policies/tools.yaml").contains("canary/touch"),
        "{}",
        read("policies/tools.yaml")
    );
    let schema = read("policies/chancery.cedarschema");
    assert!(schema.contains("canary/touch"), "{schema}");
    // Those in `tools.yaml` are those that are onboarded; a policy that is half written is in nobody's way.
    std::fs::create_dir(home.join("half")).expect("it can be made");
    std::fs::write(home.join("half/half.cedar"), "permit (").expect("it can be written");
    std::fs::copy(home.join("policies/tools.yaml"), home.join("half/tools.yaml")).expect("it can");
    assert_eq!(chancery(deployment, &["policy", "schema", "half"]), (0, schema));
    assert!(read("cases.xml").contains("<testcase "), "{}", read("cases.xml"));
}

/// Says what of `next`, which forbids what was done, is affected; and makes no case of what it would not answer alike.
fn plans_and_records(deployment: &Deployment, decision: &str) {
    let home = deployment.path("home");
    std::fs::remove_file(home.join("next/x.cedar")).expect("it is there");
    let (code, told) = chancery(deployment, &["policy", "plan", "next"]);
    assert_eq!(code, 3, "{told}");
    for says in [
        "policy `nobody` is new\n",
        "policy `starter-administration` is gone\n",
        "concerns canary/touch, by policy `nobody`",
        ": agents bot (sponsor sam)\n",
        "newly_denied 2: agent bot, sponsor sam, canary/touch on Tool::canary/touch",
    ] {
        assert!(told.contains(says), "{says}: {told}");
    }
    let (code, told) = chancery(deployment, &["policy", "plan", "next", "--since", "1d", "--json"]);
    assert_eq!(code, 3, "{told}");
    let told = told.lines().filter(|line| !line.contains("records")).collect::<String>();
    let told: Value = serde_json::from_str(told.trim()).expect("it is JSON");
    let concerned = &told["affected"]["canary/touch"][0];
    assert_eq!((&concerned["agent"], &concerned["sponsor"]), (&json!("bot"), &json!("sam")));
    let tools = home.join("next/tools.yaml");
    std::fs::copy(home.join("policies/tools.yaml"), tools).expect("it can be copied");
    let (code, told) = chancery(deployment, &["policy", "test", "next", "--record", decision]);
    assert_eq!(code, 1, "{told}");
    assert!(
        told.contains("is not written") && told.contains("forbidden by policy `nobody`"),
        "{told}"
    );
    assert!(!home.join("next/cases/recorded.yaml").exists());
    let (code, told) = chancery(deployment, &["policy", "test", "policies", "--record", decision]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("it is there already"), "{told}");
    let (code, told) = chancery(deployment, &["policy", "test", "policies"]);
    assert_eq!(code, 0, "{told}");
    let question = home.join("question.yaml");
    std::fs::write(&question, "call: { tool: canary/touch, input: { mark: it } }").expect("it can");
    let asked = ["policy", "explain", "--ask", "question.yaml", "--set", "next"];
    let (code, told) = chancery(deployment, &asked);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("decided by `nobody`"), "{told}");
    assert!(told.contains("no other circumstances would permit it"), "{told}");
}

/// A set is checked, laid out, tested, tried on what happened and explained, as the page shows.
#[test]
fn the_page_on_policy_sets_shows_what_works() {
    let canary = Canary::start();
    let policy = Canary::PERMIT.to_owned();
    let options = Options { policy, ..Options::default() };
    let deployment = Deployment::with_canary(canary.port, "changes-production", options);
    let mut caller = Caller::new(&deployment, "canary");
    assert!(caller.call("touch", "before").is_done());
    let log = deployment.run(&["log", "export"]);
    let mut decided = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_call = |record: &Value| {
        record["kind"] == "decision" && record["action"].as_str() == Some("canary/touch")
    };
    let decision = decided.rfind(is_call).expect("the call is recorded");
    let decision = decision["id"].as_str().expect("it has an id").to_owned();

    shows(&deployment, &decision);

    let home = deployment.path("home");
    // Another set, which is not in force: what it would have denied is told, and nothing else happens.
    let dir = home.join("next");
    std::fs::create_dir(&dir).expect("it can be made");
    for (name, text) in [("canary.cedar", Canary::PERMIT), ("nobody.cedar", Canary::FORBID)] {
        std::fs::write(dir.join(name), text).expect("it can be written");
    }
    let (code, told) = chancery(&deployment, &["policy", "replay", "next", "--since", "1d"]);
    assert_eq!(code, 3, "{told}");
    let flip = told.lines().find(|line| line.contains("Tool::canary/touch")).expect("it flips");
    assert!(flip.contains("newly_denied 1: agent bot, sponsor sam"), "{flip}");
    assert!(flip.contains("nobody"), "{flip}");
    assert!(caller.call("touch", "after").is_done());

    // What is wrong is told with its place, and is nothing that anybody could use.
    for (text, code, why) in [
        (
            "@id(\"x\") permit (principal, action, resource)\nwhen { context.nothing };",
            1,
            "x.cedar:2: policy `x`",
        ),
        ("@id(\"x\") permit (principal, action", 1, "x.cedar:1"),
        ("", 1, "is empty"),
    ] {
        std::fs::write(dir.join("x.cedar"), text).expect("it can be written");
        let (ended, told) = chancery(&deployment, &["policy", "check", "next"]);
        assert_eq!(ended, code, "{told}");
        assert!(told.contains(why), "{told}");
    }
    what_would_lift_a_forbid_is_told(&deployment, &dir);
    std::fs::write(dir.join("x.cedar"), "@id(\"x\") permit(principal,action,resource);")
        .expect("it can");
    let (code, told) = chancery(&deployment, &["policy", "lint", "next"]);
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("policy `x`: permits everything to everybody"), "{told}");
    let (code, told) = chancery(&deployment, &["policy", "fmt", "next", "--check"]);
    assert_eq!((code, told.trim()), (3, "x.cedar"));
    assert_eq!(chancery(&deployment, &["policy", "fmt", "next"]).0, 0);
    assert_eq!(chancery(&deployment, &["policy", "fmt", "next", "--check"]).0, 0);
    plans_and_records(&deployment, &decision);
    what_was_administered_is_a_case(&deployment);
    a_case_that_does_not_hold_or_is_not_read_is_told(&deployment, &dir);
}

/// In the set in `dir`, which is `next`: nothing asks for it yet.
fn what_would_lift_a_forbid_is_told(deployment: &Deployment, dir: &Path) {
    let lifted = "@id(\"x\") @remedy(\"step_up\") forbid(principal,action,resource);";
    std::fs::write(dir.join("x.cedar"), lifted).expect("it can be written");
    for command in ["check", "lint"] {
        let told = chancery(deployment, &["policy", command, "next"]).1;
        let wants = "`x` wants a stronger login, which costs a person's time; nothing asks for one";
        assert!(told.contains(wants), "{command}: {told}");
    }
}

/// As is asked in the set that is in force.
fn what_was_administered_is_a_case(deployment: &Deployment) {
    let records = deployment.records();
    let added = records.iter().rfind(|it| it["action"] == "server/add").expect("it was onboarded");
    let id = added["id"].as_str().expect("it has an id");
    let (code, told) = chancery(deployment, &["policy", "test", "policies", "--record", id]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("cases/recorded.yaml: `server/add at "), "{told}");
    let recorded = deployment.path("home/policies/cases/recorded.yaml");
    let recorded = std::fs::read_to_string(recorded).expect("it was written");
    assert!(recorded.contains("starter-administration"), "{recorded}");
    let (code, told) = chancery(deployment, &["policy", "test", "policies"]);
    assert_eq!(code, 0, "{told}");
}

/// In the set in `dir`, which is `next`.
fn a_case_that_does_not_hold_or_is_not_read_is_told(deployment: &Deployment, dir: &Path) {
    // A case that does not hold.
    std::fs::create_dir(dir.join("cases")).expect("it can be made");
    let case = "cases: [{ name: it, method: { name: tools/list, server: canary }, expect: deny, by: [canary] }]";
    std::fs::write(dir.join("cases/it.yaml"), case).expect("it can be written");
    let lists = r#"@id("lists") @description("L")
        permit (principal, action == Action::"tools/list", resource) when { context.depth == 0 };"#;
    std::fs::write(dir.join("lists.cedar"), lists).expect("it can be written");
    let remedy = ": mend the policies or the case\n";
    let fails = "cases/it.yaml:1: the case `it` expects deny by canary, the set answers";
    for command in ["check", "plan"] {
        let (code, told) = chancery(deployment, &["policy", command, "next"]);
        assert_eq!(code, 3, "{command}: {told}");
        assert!(told.contains(fails) && told.contains(remedy), "{command}: {told}");
    }
    let junit = ["policy", "test", "next", "--junit", "failed.xml"];
    let (code, told) = chancery(deployment, &junit);
    assert_eq!(code, 3, "{told}");
    for says in [
        fails,
        remedy,
        "not covered: policy `nobody` applies in no case",
        "half covered: policy `lists`: always met: context.depth == 0",
    ] {
        assert!(told.contains(says), "{says}: {told}");
    }
    let report = std::fs::read_to_string(deployment.path("home/failed.xml")).expect("a report");
    assert!(report.contains("<failure message=\"expects deny by canary"), "{report}");
    assert!(report.contains("file=\"cases/it.yaml\" line=\"1\""), "{report}");

    // Nor does one that nobody would read.
    std::fs::rename(dir.join("cases/it.yaml"), dir.join("cases/it.yml")).expect("it can be moved");
    let (code, told) = chancery(deployment, &["policy", "test", "next"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("cases/it.yml` is not read: name it `*.yaml`"), "{told}");
}

/// A set is begun from those that are shipped, and another one from what was written for `AgentCore`.
#[test]
fn the_page_on_shipped_sets_shows_what_works() {
    let deployment = Deployment::start(&Options::default());
    let told = Page::read("sets.md", &[]).run(&deployment);
    let [begun, imported] = told.as_slice() else { panic!("{told:?}") };
    assert!(begun.contains("coding-agents") && begun.contains("labels.yaml"), "{begun}");
    assert!(begun.contains("cases, 0 of which do not hold"), "{begun}");
    let tested = begun.lines().last().expect("it says how many hold");
    let numbers: Vec<_> = tested.split(' ').filter_map(|word| word.parse::<u64>().ok()).collect();
    assert!(numbers.len() == 2 && numbers[0] == numbers[1] && numbers[0] > 40, "{tested}");
    assert!(imported.contains("1 policies, 1 tools"), "{imported}");
    let home = deployment.path("home");
    let read = |name: &str| std::fs::read_to_string(home.join(name)).expect("it was written");
    let refunds = read("imported/refunds.cedar");
    assert!(refunds.contains("@description(\"The service desk refunds up to 500\")"), "{refunds}");
    assert!(refunds.contains("context.subject in Group::\"service-desk\""), "{refunds}");
    assert!(refunds.contains("the gateway `arn:aws:bedrock-agentcore"), "{refunds}");

    // Every set has its section.
    let page = std::fs::read_to_string(e2e::repository().join("docs/sets.md"));
    let page = page.expect("the page is there");
    let (code, listed) = chancery(&deployment, &["policy", "sets"]);
    assert_eq!(code, 0, "{listed}");
    for name in listed.lines().filter_map(|line| line.split(' ').next()) {
        assert!(page.contains(&format!("\n## {name}\n")), "{name}");
    }

    // What is there is not written over, and of what cannot be said nothing is.
    let (code, told) = chancery(&deployment, &["policy", "new", "next", "business-hours"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("is no empty directory"), "{told}");
    let forbid = "forbid(principal is AgentCore::IamEntity, action, resource);\n";
    std::fs::write(home.join("gateway/accounts.cedar"), forbid).expect("it can be written");
    let arguments = ["policy", "import", "gateway", "--from", "agentcore"];
    let (code, told) = chancery(&deployment, &arguments);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("nothing is imported:\naccounts.cedar:1: "), "{told}");
    assert!(!told.contains("permit"), "{told}");
}
