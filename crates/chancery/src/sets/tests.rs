//! Every directory of `policies/sets` is a set that holds, alone and beside the others.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use analysis::{Report, Solver};
use pap::CaseResult;
use tempfile::TempDir;

use super::*;
use crate::policy_set::PolicySet;
use crate::prove;

/// How long the solver may take for one question here, on however busy a machine.
const TIME: Duration = Duration::from_mins(1);

fn sets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/sets")
}

/// The directories of all sets, by name.
fn directories() -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(sets()).expect("there are sets");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let name = |path: &PathBuf| path.file_name().and_then(|name| name.to_str().map(str::to_owned));
    paths.map(|path| (name(&path).expect("it has a name"), path)).collect()
}

fn read(dir: &Path) -> PolicySet {
    PolicySet::read(dir).unwrap_or_else(|error| panic!("{}: {error:#}", dir.display()))
}

/// What came of all cases of a set, each of which holds.
fn held(set: &PolicySet) -> Vec<CaseResult> {
    let results = set.run().expect("the cases can be decided");
    let mut held = Vec::new();
    for (file, results) in results {
        for result in results {
            assert_eq!(result.held, Ok(()), "{file}: `{}`", result.name);
            held.push(result);
        }
    }
    assert!(!held.is_empty());
    held
}

fn begun(names: &[&str]) -> (TempDir, PolicySet) {
    let home = tempfile::tempdir().expect("a directory can be made");
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let told = begin(&home.path().join("set"), &names).expect("it can be begun");
    assert!(told.contains("chancery policy test"), "{told}");
    let set = read(&home.path().join("set"));
    (home, set)
}

#[test]
fn every_set_is_in_the_program_whole() {
    let there: Vec<String> = directories().into_keys().collect();
    assert_eq!(SHIPPED.map(|set| set.name.to_owned()).to_vec(), there);
    for Shipped { name, files } in SHIPPED {
        let dir = sets().join(name);
        let mut there = BTreeSet::new();
        for folder in [dir.clone(), dir.join("cases"), dir.join("properties")] {
            let entries = fs::read_dir(folder).into_iter().flatten();
            there.extend(entries.map(|entry| entry.expect("it is there").path()));
        }
        there.retain(|path| path.is_file());
        let compiled = files.iter().map(|(file, _)| dir.join(file)).collect::<BTreeSet<_>>();
        assert_eq!(compiled, there);
    }
}

#[test]
fn every_set_holds_and_its_cases_cover_it() {
    for (name, dir) in directories() {
        let set = read(&dir);
        let results = held(&set);
        let compiled = set.compiled().expect("it compiles");
        let asked = results.iter().flat_map(|result| &result.asked);
        let applied: BTreeSet<_> =
            asked.filter(|it| it.applies == Some(true)).map(|it| &it.policy).collect();
        let idle: Vec<_> = compiled.ids_of_all().filter(|id| !applied.contains(id)).collect();
        assert!(idle.is_empty(), "{name}: {idle:?} apply in no case");
        assert_eq!(compiled.lint(&set.harm()), [], "{name}");
        for (file, text) in &set.files.policies {
            assert_eq!(&pdp::format(file, text).expect("it can be laid out"), text, "{name}");
        }
        let about = SHIPPED.iter().find(|set| set.name == name).map(Shipped::about);
        assert!(about.is_some_and(|about| about.ends_with('.')), "{name}: {about:?}");
    }
}

async fn solver() -> Solver {
    let program = analysis::program(std::env::var_os("CVC5"), &std::env::var_os("PATH").unwrap());
    Solver::at(program, TIME).await.expect("there is a solver")
}

/// What is proved of `set`, with what its properties claim.
async fn proved(set: &PolicySet, solver: &Solver) -> Report {
    Box::pin(prove::report(set, solver)).await.expect("it can be asked")
}

/// That no policy of it can fail, of every act that can be asked for, and what its properties claim.
#[tokio::test]
async fn what_every_set_claims_is_proved() {
    let solver = solver().await;
    for (name, dir) in directories() {
        let report = proved(&read(&dir), &solver).await;
        assert!(report.is_proved(), "{name}: {:?}", report.shown);
    }
}

/// What is claimed of acts of who is not vouched for, or by a token that anybody could show.
const UNATTESTED: &str = r#"@id("unattested")
@property("never-permits")
forbid (principal, action in Action::"tools/call", resource is Tool)
when
{
  resource.harm != ["reads-data"] &&
  (["none", "user"].contains(context.attestation) || context.binding == "none") &&
  !(context has approval)
};"#;

/// Whichever sets a deployment begins with: whatever they permit, for whom nobody vouches but the user does no more
/// than read without the approval of a person. It holds of what every set begins with, before any guard denies more.
#[tokio::test]
async fn who_is_not_vouched_for_does_no_more_than_read() {
    let solver = solver().await;
    let is_proved = async |names: &[&str], claim: &str| {
        let (home, _) = begun(names);
        let dir = home.path().join("set");
        fs::write(dir.join("properties/starter.cedar"), claim).expect("it is ours");
        for guards in names.iter().map(|name| dir.join(format!("{name}.cedar"))) {
            let text = fs::read_to_string(&guards).expect("it is there");
            assert!(!text.contains("permit ("), "{}: guards only deny", guards.display());
            fs::remove_file(guards).expect("it is ours");
        }
        proved(&read(&dir), &solver).await.is_proved()
    };
    let names = SHIPPED.map(|set| set.name);
    for name in &names {
        assert!(is_proved(&[name], UNATTESTED).await, "{name}");
    }
    assert!(is_proved(&names, UNATTESTED).await, "all together");
    // Where a host vouches, more is done: the claim is not empty.
    let attested = UNATTESTED.replace(r#"["none", "user"]"#, r#"["host"]"#);
    assert!(!is_proved(&names, &attested).await);
}

/// In the circumstances that its cases give, no set changes what another one answers; and a set that another one
/// joins still denies what it denied, by the same policies.
#[test]
fn all_sets_hold_together_and_each_beside_what_every_set_begins_with() {
    let names = SHIPPED.map(|set| set.name);
    let (_home, all) = begun(&names);
    let together = held(&all).len();
    let mut alone = 0;
    for name in names {
        let (_home, set) = begun(&[name]);
        alone += held(&set).len();
    }
    // What every set begins with has cases of its own.
    let starter = all.run().expect("they can be decided")["cases/starter.yaml"].len();
    assert_eq!(together, alone - starter * (names.len() - 1));
    let harm = all.harm();
    for finding in all.compiled().expect("it compiles").lint(&harm) {
        // Of what has no labels, and of the one tool that no policy is to name.
        // `least-privilege` asks who vouches for an instance as every set does that is begun.
        let twin = "-attested` applies wherever it does; take this out, or narrow that";
        let expected = ["says nothing of tool `", "no permit names tool `unnamed/lookup`", twin];
        assert!(expected.iter().any(|it| finding.message.contains(it)), "{finding}");
    }
}

/// A tool that a set's own permit lets be called, and what must be answered while nobody has told of the people for
/// too long. In these circumstances the guards of no set have anything to say.
const SILENT: &str = r#"
tools: { own/deploy: { harm: [changes-production] } }
given: { now: "2026-01-01T12:00:00Z", attestation: workload, environment: test, region: eu }
cases:
  - name: somebody has told of them
    call: { tool: own/deploy }
    expect: permit
  - name: nobody has
    call: { tool: own/deploy }
    unconfirmed: true
    expect: deny
    by: [starter-confirmed]
"#;

/// Whichever set a deployment begins with, silence denies what does more than read.
#[test]
fn no_set_does_more_than_read_while_nobody_tells_of_its_people() {
    let own = r#"@id("own") permit (principal, action == Action::"own/deploy", resource);"#;
    for name in SHIPPED.map(|set| set.name) {
        let (home, _) = begun(&[name]);
        let dir = home.path().join("set");
        fs::write(dir.join("own.cedar"), own).expect("it is ours");
        fs::write(dir.join("cases/silent.yaml"), SILENT).expect("it is ours");
        held(&read(&dir));
    }
}

#[test]
fn a_set_is_begun_in_a_directory_of_its_own_only() {
    let home = tempfile::tempdir().expect("a directory can be made");
    let begin = |dir: &str, name: &str| begin(&home.path().join(dir), &[name.to_owned()]);
    assert!(begin("set", "nothing").is_err_and(|error| {
        error.to_string().contains("no set `nothing` is shipped; there are:\nbusiness-hours")
    }));
    assert!(!home.path().join("set").exists());
    begin("set", "least-privilege").expect("it can be begun");
    fs::write(home.path().join("file"), "").expect("it can be written");
    for there in ["set", "file"] {
        let error = begin(there, "least-privilege").expect_err("something is there").to_string();
        assert!(error.contains("is no empty directory"), "{error}");
    }
}

#[test]
fn what_sets_do_not_agree_on_is_not_joined() {
    let told = tables(&["a: { b: [x], c: 1 }", "a: { b: [z, x], d: 2 }"]).expect("they agree");
    let read: Value = serde_saphyr::from_str(&told).expect("it is YAML");
    assert_eq!(read, serde_json::json!({ "a": { "b": ["x", "z"], "c": 1, "d": 2 } }));
    let error = tables(&["a: { c: 1 }", "a: { c: 2 }"]).expect_err("they do not agree");
    assert!(format!("{error:#}").contains("at `a`: at `c`: they do not agree"), "{error:#}");
}
