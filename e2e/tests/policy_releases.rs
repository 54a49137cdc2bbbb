//! Policy at the real program as it is released: two people sign, one puts it in force, two bring the old set back;
//! and what somebody alters where it is kept is not served.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::process::Command;

use e2e::{Caller, Canary, Deployment, Options, Page};
use serde_json::Value;

/// A deployment that runs releases, with the author's policy beside the starter policy, in no release yet.
fn deployment(canary: &Canary) -> Deployment {
    let policy = Canary::PERMIT.to_owned();
    let options = Options { policy, releases: true, ..Options::default() };
    Deployment::with_canary(canary.port, "changes-production", options)
}

/// Who signs, and for which deployment.
fn as_founder(deployment: &Deployment, founder: &str) -> [String; 6] {
    let key = deployment.path(&format!("{founder}.pem")).display().to_string();
    ["--as", founder, "--key", &key, "--url", &deployment.url()].map(str::to_owned)
}

fn signed(deployment: &Deployment, founder: &str, arguments: &[&str]) -> String {
    let by = as_founder(deployment, founder);
    deployment
        .run(&arguments.iter().copied().chain(by.iter().map(String::as_str)).collect::<Vec<_>>())
}

fn publish(deployment: &Deployment, version: &str) {
    let policies = deployment.path("home/policies").display().to_string();
    let told = signed(deployment, "alice", &["policy", "publish", &policies]);
    assert!(told.contains(&format!("\"version\":{version}")), "{told}");
}

fn approve(deployment: &Deployment, version: &str) {
    let digest = content(deployment, version);
    signed(deployment, "bob", &["policy", "approve", version, "--digest", &digest]);
}

/// The digest of what a release holds, as its approver reads it.
fn content(deployment: &Deployment, version: &str) -> String {
    let told = deployment.run(&["policy", "history"]);
    let line = told.lines().find(|line| line.starts_with(&format!("{version} ")));
    let digest = line.and_then(|line| line.split("content ").nth(1)).expect("it is listed");
    digest.split(',').next().expect("a digest").to_owned()
}

/// The digest of the set in force, which `history` says last, and the metrics and whether it is ready say too.
fn in_force<'a>(deployment: &Deployment, history: &'a str) -> &'a str {
    let digest = history.rsplit("digest ").next().expect("a digest").trim();
    let metrics = deployment.observed("/metrics");
    let line = format!("chancery_policy_info{{digest=\"{digest}\"}} 1");
    assert!(metrics.contains(&line), "{metrics}");
    let ready = deployment.observed("/readyz");
    assert!(ready.contains(&format!("ready\npolicy {digest}\n")), "{ready}");
    digest
}

/// What the service says when it refuses to start.
fn refuses(deployment: &Deployment) -> String {
    let mut serve = Command::new(e2e::binary());
    serve.args(["serve", "--config"]).arg(deployment.path("home/chancery.yaml"));
    let output = serve.output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).expect("it is text")
}

/// Changes what the database of a service that does not run holds.
fn alter(deployment: &Deployment, statement: &str) {
    let path = deployment.path("home/state/chancery.db");
    let database = rusqlite::Connection::open(path).expect("it can be opened");
    assert_eq!(database.execute(statement, []).expect("it is done"), 1, "{statement}");
}

#[test]
fn the_page_on_releases_shows_what_works() {
    let canary = Canary::start();
    let deployment = deployment(&canary);
    let mut caller = Caller::new(&deployment, "canary");
    assert!(!caller.call("touch", "before").is_done(), "no release permits it");
    let told = Page::read("releases.md", &[]).run(&deployment);
    assert!(told[0].contains("policy `canary` is new: a widening\n"), "{}", told[0]);
    assert!(told[0].contains("concerns canary/touch, by policy `canary`: agents bot (sponsor "));
    assert!(told[0].contains("under observation: release 2, digest "), "{}", told[0]);
    assert!(told[0].contains("added policy `canary`"), "{}", told[0]);
    assert!(
        told[0].contains("\n2 active by alice, approved by bob, owned by alice"),
        "{}",
        told[0]
    );
    // Its founders signed what it was founded with, in the order in which they redeemed their codes.
    let first = "\n1 active by alice, approved by bob, owned by alice";
    assert!(told[0].contains(first), "{}", told[0]);
    assert!(told[0].contains("in force: release 2"), "{}", told[0]);
    assert!(told[1].contains("3 active by bob, approved by alice"), "{}", told[1]);
    assert!(told[1].contains("rollback of 1"), "{}", told[1]);
    assert!(!caller.call("touch", "rolled-back").is_done(), "the answers are those of before");
    let digest = in_force(&deployment, &told[1]);
    let records = deployment.records();
    let newest = records.iter().rfind(|it| it["kind"] == "decision").expect("one");
    assert_eq!(newest["policy"], digest);
    let released = records.iter().filter(|it| it["event"] == "policy_in_force");
    let from: Vec<_> = released.map(|it| it["details"]["from"].to_string()).collect();
    assert_eq!(from.last().map(String::as_str), Some("\"release 3\""), "{from:?}");
    // The page gave the third founder a key, and bob another one.
    assert!(told[2].contains("a key for \"bob\" waits"), "{}", told[2]);
    assert!(told[2].contains("\"founder\":\"carol\""), "{}", told[2]);
    let old = as_founder(&deployment, "bob");
    let rekey = ["founder", "rekey", "carol", "--reason", "to see"];
    let rekey: Vec<_> = rekey.into_iter().chain(old.iter().map(String::as_str)).collect();
    let refused = deployment.run_refused(&rekey);
    assert!(refused.contains("not signed by an administrator whose key is known"), "{refused}");
    assert!(deployment.run(&["policy", "history"]).contains("in force: release 3"));
    let (code, told) = deployment.run_told(&["log", "replay"]);
    assert_eq!(code, Some(0), "{told}");
}

/// One who is author and approver, one who signs nothing, and one who signs for what is old.
#[test]
fn r_39_nobody_releases_alone_and_no_version_goes_back() {
    let canary = Canary::start();
    let deployment = deployment(&canary);
    let policies = deployment.path("home/policies").display().to_string();
    let alone = deployment.run_refused(&["policy", "publish", &policies]);
    assert!(alone.contains("`--as`"), "{alone}");
    let by = as_founder(&deployment, "alice");
    a_set_whose_cases_fail_is_not_published(&deployment, &by);
    publish(&deployment, "2");
    let digest = content(&deployment, "2");
    let own = ["policy", "approve", "2", "--digest", &digest];
    let own: Vec<_> = own.into_iter().chain(by.iter().map(String::as_str)).collect();
    let own = deployment.run_refused(&own);
    assert!(own.contains("nobody approves what they asked for themselves"), "{own}");
    let early = deployment.run_refused(&["policy", "activate", &policies]);
    assert!(early.contains("is not approved"), "{early}");
    approve(&deployment, "2");
    let before = deployment.run(&["policy", "history"]);
    let before = in_force(&deployment, &before);
    let of_these = deployment.run(&["policy", "history", &policies]);
    assert!(of_these.starts_with("2 released by alice, approved by bob"), "{of_these}");
    assert!(!of_these.contains("\n1 "), "{of_these}");
    deployment.run(&["policy", "activate", &policies]);
    let after = deployment.run(&["policy", "history"]);
    assert_ne!(in_force(&deployment, &after), before, "another set is in force");
    let mut caller = Caller::new(&deployment, "canary");
    assert!(caller.call("touch", "permitted").is_done());
    let back = deployment.run_refused(&["policy", "activate", "1"]);
    assert!(back.contains("older than 2"), "{back}");
    // Files change nothing.
    std::fs::write(deployment.path("home/policies/test.cedar"), "permit (").expect("it is ours");
    assert!(caller.call("touch", "again").is_done());
    let other = deployment.run_refused(&["policy", "activate", &policies]);
    assert!(other.contains("no release has the content"), "{other}");
}

/// Nothing of it is, and the case is told.
fn a_set_whose_cases_fail_is_not_published(deployment: &Deployment, by: &[String; 6]) {
    let policies = deployment.path("home/policies");
    let failing = policies.join("cases/failing.yaml");
    std::fs::create_dir_all(policies.join("cases")).expect("it can be made");
    let case = "{ name: nobody, method: { name: tools/list, server: canary }, expect: permit, by: [none] }";
    std::fs::write(&failing, format!("cases: [{case}]")).expect("it is ours");
    let shown = policies.display().to_string();
    let publish = ["policy", "publish", &shown];
    let publish: Vec<_> = publish.into_iter().chain(by.iter().map(String::as_str)).collect();
    let before = deployment.run(&["policy", "history"]);
    let refused = deployment.run_refused(&publish);
    assert!(refused.contains("cases/failing.yaml:1: the case `nobody` expects"), "{refused}");
    assert_eq!(deployment.run(&["policy", "history"]), before);
    std::fs::remove_file(failing).expect("it is ours");
}

/// The service decides the cases on the tools that are onboarded, when a set is published and when it is put in force.
#[test]
fn n_128_a_set_whose_cases_fail_at_the_service_is_not_in_force() {
    let canary = Canary::start();
    let deployment = deployment(&canary);
    let policies = deployment.path("home/policies");
    let case =
        "{ name: touched, call: { tool: canary/touch, input: { mark: it } }, expect: permit }";
    std::fs::write(policies.join("cases/canary.yaml"), format!("cases:\n  - {case}\n"))
        .expect("it is ours");
    // To its author the tool is one that only reads.
    let tools = deployment.run(&["policy", "tools"]).replace("changes-production", "reads-data");
    std::fs::write(policies.join("tools.yaml"), tools).expect("it is ours");
    let shown = policies.display().to_string();
    assert!(deployment.run(&["policy", "test", &shown]).contains("5 of 5 cases hold"));
    let fails =
        "cases/canary.yaml:2: the case `touched` expects permit, the set answers: deny (forbidden)";
    let can = |harm: &str| deployment.run(&["tool", "describe", "canary/touch", "--harm", harm]);
    let by = as_founder(&deployment, "alice");
    let typed = ["policy", "publish", &shown];
    let typed: Vec<_> = typed.into_iter().chain(by.iter().map(String::as_str)).collect();
    let before = deployment.run(&["policy", "history"]);
    let refused = deployment.run_refused(&typed);
    assert!(refused.contains(fails) && refused.contains("starter-attested"), "{refused}");
    assert!(refused.contains("chancery policy tools > tools.yaml"), "{refused}");
    assert_eq!(deployment.run(&["policy", "history"]), before);

    can("reads-data");
    publish(&deployment, "2");
    approve(&deployment, "2");
    can("changes-production");
    let refused = deployment.run_refused(&["policy", "activate", "2"]);
    assert!(refused.contains(fails), "{refused}");
    assert!(deployment.run(&["policy", "history"]).contains("in force: release 1"));
    assert!(!Caller::new(&deployment, "canary").call("touch", "denied").is_done());
    can("reads-data");
    let told = deployment.run(&["policy", "activate", "2"]);
    assert!(told.contains("\"cases\":5"), "{told}");
    let history = deployment.run(&["policy", "history"]);
    assert!(
        history.contains("\n2 active by alice") && history.contains(", 5 cases hold\n"),
        "{history}"
    );
    assert!(history.contains("in force: release 2"), "{history}");
    can("changes-production");
    assert!(Caller::new(&deployment, "canary").call("touch", "permitted").is_done());
}

/// What a release would have answered is recorded and counted, also by a service that was killed; it changes no answer.
#[test]
fn r_39_a_release_under_observation_is_recorded_and_decides_nothing() {
    let canary = Canary::start();
    let mut deployment = deployment(&canary);
    publish(&deployment, "2");
    approve(&deployment, "2");
    deployment.run(&["policy", "activate", "2"]);
    std::fs::write(deployment.path("home/policies/nobody.cedar"), Canary::FORBID)
        .expect("it is ours");
    publish(&deployment, "3");
    let early = deployment.run_refused(&["policy", "observe", "3"]);
    assert!(early.contains("not one that waits to be put in force"), "{early}");
    approve(&deployment, "3");
    deployment.run(&["policy", "observe", "3"]);
    deployment.process.take().expect("it runs").kill();
    deployment.serve();
    let mut caller = Caller::new(&deployment, "canary");
    // One that was not answered in time is tried again.
    let observed = loop {
        assert!(caller.call("touch", "observed").is_done(), "the set in force permits it");
        let records = deployment.records();
        let touched = |it: &&Value| it["kind"] == "decision" && it["action"] == "canary/touch";
        let record = records.iter().rfind(touched).expect("it is recorded");
        if record["observed_set"]["reason"] != "late" {
            break record["observed_set"].clone();
        }
    };
    assert_eq!(observed["decision"], "deny", "{observed}");
    assert_eq!(observed["policies"][0], "nobody", "{observed}");
    let history = deployment.run(&["policy", "history"]);
    assert!(history.contains("in force: release 2"), "{history}");
    let digest = observed["policy"].as_str().expect("a digest");
    let told = format!("under observation: release 3, digest {digest}");
    assert!(history.contains(&told) && history.contains(" 1 newly denied"), "{history}");
    let metrics = deployment.observed("/metrics");
    let newly = format!("chancery_policy_observed_newly_denied{{digest=\"{digest}\"}} 1");
    assert!(metrics.contains(&newly), "{metrics}");
    let policies = deployment.path("home/policies").display().to_string();
    let (code, told) = deployment.run_told(&["policy", "plan", &policies]);
    assert_eq!(code, Some(3), "{told}");
    assert!(
        told.contains(": agent bot, sponsor sam, canary/touch on Tool::canary/touch"),
        "{told}"
    );
    let (code, told) = deployment.run_told(&["log", "replay"]);
    assert_eq!(code, Some(0), "{told}");
    deployment.run(&["policy", "observe", "--end"]);
    assert!(!deployment.run(&["policy", "history"]).contains("under observation"));
    deployment.run(&["policy", "activate", "3"]);
    assert!(!caller.call("touch", "denied").is_done());
}

/// Who approves is shown all that changes, labels too, names what they mean, and may say no.
#[test]
fn n_094_nobody_signs_for_what_they_were_not_shown() {
    let canary = Canary::start();
    let deployment = deployment(&canary);
    let labels = deployment.path("home/policies/labels.yaml");
    let said =
        "labels: { secret: Not for others. }\ntools: { canary/touch: { carries: [secret] } }\n";
    std::fs::write(&labels, said).expect("it is ours");
    publish(&deployment, "2");
    approve(&deployment, "2");
    deployment.run(&["policy", "activate", "2"]);
    std::fs::write(&labels, "labels: {}\n").expect("it is ours");
    publish(&deployment, "3");
    let (code, told) = deployment.run_told(&["policy", "diff", "2", "3"]);
    assert_eq!(code, Some(3), "{told}");
    let digest = content(&deployment, "3");
    assert!(told.contains(&format!("+++ 3, content {digest}\n")), "{told}");
    assert!(told.contains("changed file `labels.yaml`\n"), "{told}");
    assert!(told.contains("- tools: { canary/touch: { carries: [secret] } }"), "{told}");
    let by = as_founder(&deployment, "bob");
    let approve = |more: &[&str]| {
        let typed = ["policy", "approve", "3"].iter().chain(more);
        let typed: Vec<_> = typed.copied().chain(by.iter().map(String::as_str)).collect();
        deployment.run_refused(&typed)
    };
    let unsaid = approve(&[]);
    assert!(unsaid.contains("nothing was signed") && unsaid.contains("`--digest`"), "{unsaid}");
    assert!(unsaid.contains("in place of release 2"), "{unsaid}");
    assert!(unsaid.contains("changed file `labels.yaml`"), "{unsaid}");
    let other = approve(&["--digest", &content(&deployment, "2")]);
    assert!(other.contains("nothing was signed"), "{other}");
    assert!(deployment.run(&["policy", "history"]).contains("3 proposed by alice, approved by -"));
    deployment.run(&["policy", "withdraw", "3"]);
    assert!(deployment.run(&["policy", "history"]).contains("3 withdrawn by alice"));
}

/// Killed at each step, the service goes on with what was done before.
#[test]
fn r_39_a_release_outlives_a_kill_at_each_step() {
    let canary = Canary::start();
    let mut deployment = deployment(&canary);
    let kill = |deployment: &mut Deployment| {
        deployment.process.take().expect("it runs").kill();
        deployment.serve();
    };
    publish(&deployment, "2");
    kill(&mut deployment);
    approve(&deployment, "2");
    kill(&mut deployment);
    assert!(deployment.run(&["policy", "history"]).contains("in force: release 1"));
    deployment.run(&["policy", "activate", "2"]);
    kill(&mut deployment);
    assert!(deployment.run(&["policy", "history"]).contains("in force: release 2"));
    let mut caller = Caller::new(&deployment, "canary");
    assert!(caller.call("touch", "permitted").is_done());
}

/// Goes on from the starter policy, for as long as it takes to release another set; meanwhile nobody goes live.
fn recovers(deployment: &mut Deployment) {
    let path = deployment.path("home/chancery.yaml");
    let released = std::fs::read_to_string(&path).expect("it is ours");
    std::fs::write(&path, format!("{released}policy: {{ starter: true }}\n")).expect("it is ours");
    deployment.serve();
    assert!(!Caller::new(deployment, "canary").call("touch", "starter").is_done());
    let who = ["--sponsor", "sam", "--owner", "sam", "--purpose", "work"];
    let key = deployment.agent_key("new").display().to_string();
    let new = [&["agent", "add", "new"][..], &who, &["--key", &key]].concat();
    let refused = deployment.run_refused(&new);
    assert!(refused.contains("no release of policy is in force"), "{refused}");
    let config = path.display().to_string();
    let told = deployment.run_any(&["doctor", "--config", &config]);
    assert!(told.contains("what is in force is no release"), "{told}");
    assert!(deployment.run(&["policy", "history"]).contains("in force: the starter policy"));
    // With what is in it the same, what was altered would be written anew.
    let set = deployment.path("home/policies/test.cedar");
    std::fs::write(set, format!("// Again.\n{}", Canary::PERMIT)).expect("it is ours");
    publish(deployment, "3");
    let by = as_founder(deployment, "bob");
    let digest = content(deployment, "3");
    let typed = ["policy", "approve", "3", "--digest", &digest];
    let typed: Vec<_> = typed.into_iter().chain(by.iter().map(String::as_str)).collect();
    let shown = deployment.run_any(&typed);
    assert!(shown.contains("THAT RELEASE CANNOT BE READ"), "{shown}");
    deployment.run(&["policy", "activate", "3"]);
    deployment.stop();
    std::fs::write(&path, released).expect("it is ours");
    deployment.serve();
    assert!(deployment.run(&["policy", "history"]).contains("in force: release 3"));
    assert!(Caller::new(deployment, "canary").call("touch", "released").is_done());
    // The start that was refused is a finding.
    assert!(deployment.run(&["finding", "list"]).contains("release_refused/"));
    deployment.stop();
}

#[test]
fn n_094_a_release_that_is_altered_or_older_keeps_it_from_starting() {
    let canary = Canary::start();
    let mut deployment = deployment(&canary);
    publish(&deployment, "2");
    approve(&deployment, "2");
    deployment.run(&["policy", "activate", "2"]);
    deployment.stop();
    let content = "(SELECT 'policy/set/' || json_extract(CAST(body AS TEXT), '$.terms.content') FROM fact WHERE key LIKE 'release/%2')";
    for (change, why) in [
        // An open door, and half of what was signed.
        (format!("UPDATE fact SET body = CAST(replace(CAST(body AS TEXT), 'Server::', 'Tool::') AS BLOB) WHERE key = {content}"), "content is not what its digest says"),
        (format!("UPDATE fact SET body = substr(body, 1, length(body) / 2) WHERE key = {content}"), "it is not whole"),
        ("UPDATE fact SET body = CAST(replace(CAST(body AS TEXT), 'alice', 'bob') AS BLOB) WHERE key LIKE 'release/%2'".to_owned(), "did not sign it"),
        (r#"UPDATE fact SET body = CAST('{"active":1,"newest":2}' AS BLOB) WHERE key = 'releases'"#.to_owned(), "older than 2"),
    ] {
        let mut copy = deployment.copy();
        alter(&copy, &change);
        let said = refuses(&copy);
        assert!(said.contains(why), "{change}: {said}");
        recovers(&mut copy);
    }
    deployment.serve();
    assert!(deployment.run(&["policy", "history"]).contains("in force: release 2"));
}

/// Files are in force for development only, where the configuration says that they are meant, and are said to be.
#[test]
fn r_39_loose_files_are_meant_or_refused() {
    let mut deployment = Deployment::start(&Options { releases: true, ..Options::default() });
    deployment.stop();
    let path = deployment.path("home/chancery.yaml");
    let released = std::fs::read_to_string(&path).expect("it is ours");
    let with =
        |policy: &str| std::fs::write(&path, format!("{released}{policy}")).expect("it is ours");
    with("policy: { path: policies }\n");
    let said = refuses(&deployment);
    assert!(
        said.contains("`policy.path`") && said.contains("`policy.allow_loose: true`"),
        "{said}"
    );
    with("policy: { path: policies, allow_loose: true }\n");
    let said = refuses(&deployment);
    for told in ["only where a deployment was founded for development", "policy publish", "starter"]
    {
        assert!(said.contains(told), "{told}: {said}");
    }
    with("");
    deployment.serve();
    assert!(deployment.run(&["policy", "history"]).contains("in force: release 1"));

    let deployment = Deployment::start(&Options::default());
    assert!(deployment.run(&["policy", "history"]).contains("in force: files"));
    let config = deployment.path("home/chancery.yaml").display().to_string();
    let said = deployment.run_any(&["doctor", "--config", &config]);
    assert!(said.contains("policy is read from files, which nobody signs"), "{said}");
    let said = deployment.run_any(&["check-config", "--config", &config]);
    assert!(said.contains("files that nobody signs"), "{said}");
    let records = deployment.records();
    let newest = records.iter().rfind(|it| it["event"] == "policy_in_force").expect("one");
    assert_eq!(newest["details"]["from"], "files");
}

/// Of two founders who redeem at once one is the author of the first release, and the other one approves it.
#[test]
fn r_22_two_who_redeem_at_once_both_sign() {
    let options = Options { releases: true, ..Options::default() };
    let (deployment, codes) = Deployment::founded(&options);
    let [first, second] = codes.as_slice() else { panic!("two codes: {}", codes.len()) };
    let (alice, bob) = std::thread::scope(|scope| {
        let bob = scope.spawn(|| deployment.redeem("bob", second));
        (deployment.redeem("alice", first), bob.join().expect("it is redeemed"))
    });
    let role = |told: &str| {
        let told: Value = serde_json::from_str(told).expect("it is JSON");
        told["signed_as"].as_str().map(str::to_owned)
    };
    let mut roles = [role(&alice), role(&bob)];
    roles.sort();
    assert_eq!(roles, ["approver", "author and owner"].map(|role| Some(role.to_owned())));
}
