//! Proofs at the real program, as the page on them says it.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::fs;
use std::process::{Command, Output};

use e2e::{Deployment, Options, Page};
use serde_json::Value;

const POLICY: &str = r#"@id("refunds")
@description("The billing agent refunds up to 2,000")
permit (
  principal in Agent::"billing",
  action == Action::"payments/refund",
  resource
)
when { context.input.amount.lessThanOrEqual(decimal("2000.0")) };
"#;

const PROPERTY: &str = r#"@id("nothing-at-high-risk")
@property("never-permits")
forbid (principal, action in Action::"tools/call", resource)
when { context.risk == "high" };
"#;

const TOOLS: &str = "payments/refund:
  harm: [moves-money]
  input: { type: object, properties: { amount: { type: number } }, required: [amount] }
";

/// Runs the program; how it ended, and what it printed.
fn chancery(deployment: &Deployment, arguments: &[&str], solver: Option<&str>) -> (i32, String) {
    let mut command = Command::new(e2e::binary());
    command
        .args(arguments)
        .current_dir(deployment.path("home"))
        .envs(solver.map(|it| ("CVC5", it)));
    let Output { status, stdout, .. } = command.output().expect("it starts");
    let told = String::from_utf8(stdout).expect("it is text");
    (status.code().expect("it ends by itself"), told)
}

#[test]
fn the_page_on_proofs_shows_what_works() {
    let deployment = Deployment::start(&Options::default());
    let told = Page::read("proving.md", &[]).run(&deployment);
    let [shipped, narrowed, widened, own, chain] = told.as_slice() else { panic!("{told:?}") };
    for proved in [shipped, narrowed, own] {
        assert!(proved.contains("proved: the set evaluates each of its policies"), "{proved}");
        assert!(!proved.contains("not proved"), "{proved}");
        assert!(proved.contains("cvc5 version"), "{proved}");
    }
    // The rules see to it, whatever the policies say.
    let sponsored = "guaranteed by the built-in rules, whatever the set says: it never permits what `sponsored`";
    assert!(shipped.contains(sponsored), "{shipped}");
    let money = "proved: the set never permits what `money-needs-approval` matches";
    assert!(shipped.contains(money), "{shipped}");
    assert!(narrowed.contains("proved: the set permits nothing that the other set does not"));
    assert!(widened.contains("does not hold: the set permits nothing"), "{widened}");
    assert!(widened.contains("expect: deny") && widened.contains("agent: billing"), "{widened}");
    assert!(own.contains("proved: the set never permits what `nothing-at-high-risk` matches"));
    for line in [
        "proved: the set never permits what `reader-moves-no-money` matches",
        "does not hold: the set never lets whom `reader-moves-no-money` names reach what it matches",
        "step 1 of 3, the set permits, by `reader-asks-desk`",
        "step 2 of 3, the set permits, by `desk-asks-anybody`",
        "step 3 of 3, the set permits, by `refunds`",
    ] {
        assert!(chain.contains(line), "{line}: {chain}");
    }
}

/// What is found is a case, which the very set does not hold, and holds once it is narrowed.
#[test]
fn a_counterexample_is_a_case_that_the_set_does_not_hold() {
    let deployment = Deployment::start(&Options::default());
    let home = deployment.path("home");
    let write = |name: &str, text: &str| {
        let path = home.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        fs::write(path, text).expect("it can be written");
    };
    let starter = fs::read_to_string(home.join("policies/properties/starter.cedar"));
    write("set/own.cedar", POLICY);
    write("set/tools.yaml", TOOLS);
    write("set/properties/own.cedar", &starter.expect("it is there"));
    let (code, told) = chancery(&deployment, &["policy", "prove", "set"], None);
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("does not hold: the set never permits what `money-needs-approval`"));
    assert!(told.contains("the set permits, by `refunds`"), "{told}");
    let case = told.split("otherwise:\n").nth(1).expect("a case");
    let case: Vec<_> = case.lines().take_while(|line| line.starts_with("    ")).collect();
    write("set/cases/found.yaml", &format!("cases:\n{}\n", case.join("\n")));
    let (code, told) = chancery(&deployment, &["policy", "test", "set"], None);
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("`found by a proof` expects deny, the set answers: permit"), "{told}");

    write("set/own.cedar", &POLICY.replace("2000.0", "1000.0"));
    let (code, told) = chancery(&deployment, &["policy", "prove", "set", "--json"], None);
    assert_eq!(code, 0, "{told}");
    let report: Value = serde_json::from_str(&told).expect("it is JSON");
    let shown = report["shown"].as_array().expect("claims");
    let verdicts: Vec<_> = shown.iter().map(|it| &it["verdict"]).collect();
    assert_eq!(verdicts, ["proved", "guaranteed", "proved"], "{told}");
    assert_eq!(report["assumptions"]["tools"]["payments/refund"][0], "moves-money");
    assert_eq!(chancery(&deployment, &["policy", "test", "set"], None).0, 0);

    // Without a solver nothing is proved, and nothing that could be mistaken for a proof is said.
    let missing = Some("/nowhere/cvc5");
    let (code, told) = chancery(&deployment, &["policy", "prove", "set"], missing);
    assert_eq!(code, 4, "{told}");
    assert!(told.starts_with("not proved, because the solver `/nowhere/cvc5`"), "{told}");
    assert!(told.contains("apt-get install cvc5"), "{told}");

    // Nor is one proved that matches nothing, or against a set that is asked of other things.
    write(
        "set/properties/own.cedar",
        "@id(\"typo\") @property(\"never-permits\") forbid (principal, action in Action::\"tools/call\", resource is Tool) when { resource.harm.contains(\"moves-mony\") };",
    );
    let (code, told) = chancery(&deployment, &["policy", "prove", "set"], None);
    assert_eq!(code, 4, "{told}");
    assert!(told.contains("policy `typo`: it matches no act that could be asked for"), "{told}");
    fs::remove_file(home.join("set/properties/own.cedar")).expect("it is ours");
    write("other/own.cedar", &POLICY.replace("2000.0", "1000.0"));
    write("other/labels.yaml", "labels: { private: Personal. }\n");
    let against = ["policy", "prove", "set", "--against", "other"];
    let (code, told) = chancery(&deployment, &against, None);
    assert_eq!(code, 4, "{told}");
    assert!(told.contains("the labels of both sets differ"), "{told}");
    assert_eq!(told.matches(", content ").count(), 2, "{told}");

    // A property that is cut off is no property that holds.
    write("set/properties/own.cedar", "// nothing\n");
    assert_eq!(chancery(&deployment, &["policy", "prove", "set"], None).0, 1);
}

/// While it proves, it tells how far it is, environment by environment, beside what is read by programs.
#[test]
fn how_far_a_proof_is_is_told_meanwhile() {
    let deployment = Deployment::start(&Options::default());
    let mut command = Command::new(e2e::binary());
    command.args(["policy", "prove", "policies", "--json"]).current_dir(deployment.path("home"));
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    assert!(status.success(), "{status}");
    let report: Value = serde_json::from_slice(&stdout).expect("it is JSON, and nothing else");
    let all = report["assumptions"]["environments"].as_u64().expect("a number");
    let told = String::from_utf8(stderr).expect("it is text");
    let steps = told.split('\r').filter_map(|it| it.trim_end().strip_suffix(" environments"));
    let expected: Vec<_> = (1..=all).map(|done| format!("{done} of {all}")).collect();
    assert_eq!(steps.collect::<Vec<_>>(), expected, "{told}");
    assert!(all > 1 && told.ends_with('\n'), "{told}");
}

/// Where proofs are required, the author's machine proves the set, and the approver's proves the same again.
#[test]
fn r_39_what_is_released_is_proved_twice() {
    let configuration = "policy: { require_proof: true }\n".to_owned();
    let options = Options { releases: true, configuration, ..Options::default() };
    let deployment = Deployment::start(&options);
    let path = |name: &str| deployment.path(name).display().to_string();
    let signed = |founder: &str, typed: &[&str]| {
        let (key, url) = (path(&format!("{founder}.pem")), deployment.url());
        deployment.run_any(&[typed, &["--as", founder, "--key", &key, "--url", &url]].concat())
    };
    let own = path("home/policies");
    let published = signed("alice", &["policy", "publish", &own]);
    assert!(published.contains("\"version\":2"), "{published}");
    let told = [
        "files of properties: 1 (properties/starter.cedar)",
        "proved: the set never permits what `money-needs-approval` matches",
        // What that rests on, as well.
        "chancery: schema ",
        "chancery: each act by itself, whoever does it, by work that was handed on up to ",
        "chancery: assumes the mappings ",
        "chancery:   context.sponsor.active",
        "cvc5 version",
    ];
    let check = |printed: &str| {
        for it in told {
            assert!(printed.contains(it), "{it}: {printed}");
        }
    };
    check(&published);
    let history = deployment.run(&["policy", "history"]);
    let line = history.lines().find(|line| line.starts_with("2 ")).expect("it is listed");
    let (_, proof) = line.split_once(", proof ").expect("its author signed what is proved");
    let digest = line.split("content ").nth(1).and_then(|it| it.split(',').next());
    let approve = ["policy", "approve", "2", "--digest", digest.expect("a digest")];
    let unproved = signed("bob", &approve);
    assert!(unproved.contains("nothing was signed") && unproved.contains("`--proving DIR`"));
    assert!(unproved.contains(proof), "{unproved}");
    // Who has other properties proves something else, and who has none proves nothing.
    let other = path("home/other");
    let copied = Command::new("cp").args(["-r", &own, &other]).status().expect("it starts");
    assert!(copied.success());
    let properties = format!("{other}/properties/starter.cedar");
    fs::remove_file(&properties).expect("it is ours");
    let none = signed("bob", &[&approve[..], &["--proving", &other]].concat());
    assert!(none.contains("nothing was signed") && none.contains("write properties"), "{none}");
    let none = signed("alice", &["policy", "publish", &other]);
    assert!(none.contains("nothing was signed") && none.contains("write properties"), "{none}");
    fs::write(properties, PROPERTY).expect("it is ours");
    let less = signed("bob", &[&approve[..], &["--proving", &other]].concat());
    assert!(less.contains("nothing was signed: what is proved here is"), "{less}");
    fs::write(format!("{other}/more.cedar"), POLICY).expect("it is ours");
    let more = signed("bob", &[&approve[..], &["--proving", &other]].concat());
    assert!(more.contains("has the content"), "{more}");
    let approved = signed("bob", &[&approve[..], &["--proving", &own]].concat());
    assert!(approved.contains("\"released\":2"), "{approved}");
    check(&approved);
    deployment.run(&["policy", "activate", "2"]);
    let history = deployment.run(&["policy", "history"]);
    assert!(history.contains("in force: release 2"), "{history}");
}
