//! Policy files that are broken while the service runs: the last good set stays in force.

use std::path::PathBuf;

use e2e::stage::{POLICY, REQUEST, options};
use e2e::{Options, Stage};

/// Breaks the policy file at a path.
type Breaking = fn(&PathBuf);

/// How the file with the deployment's own policy can be broken, and what is told in one line: where, and what to do.
const WAYS: [(&str, Breaking, [&str; 2]); 5] = [
    (
        "cut in half",
        |path| write(path, &POLICY[..POLICY.len() / 2]),
        ["test.cedar:5: ", "(expected "],
    ),
    ("empty", |path| write(path, ""), ["test.cedar` is empty: ", "write it whole, or remove"]),
    (
        "a link to nowhere",
        |path| {
            std::fs::remove_file(path).expect("it was there");
            std::os::unix::fs::symlink("nowhere.cedar", path).expect("a link can be made");
        },
        ["test.cedar`: ", "see that it is there for this user to read, or remove it"],
    ),
    (
        "gone",
        |path| std::fs::remove_file(path).expect("it was there"),
        ["test.cedar` is gone: ", "if that is meant, send SIGHUP"],
    ),
    (
        "not what is checked",
        |path| {
            write(path, "@id(\"a\") permit (principal, action, resource) when { principal.nope };");
        },
        ["test.cedar:1: policy `a`: ", "not found"],
    ),
];

fn write(path: &PathBuf, text: &str) {
    // Whatever stood there, a link too, makes place.
    let _ = std::fs::remove_file(path);
    std::fs::write(path, text).expect("it can be written");
}

/// N-128: cut in half, empty, gone, a dangling link, not valid, also one after the other: each leaves the last good set
/// in force, the forbids in it too; and is told, each with its place and what to do.
#[test]
fn n_128_no_broken_policy_file_opens_anything() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let log = dir.path().join("service.log");
    let service_log = Some(log.clone());
    let mut stage = Stage::set_by(|port| Options { service_log, ..options(port, REQUEST, "") });
    let path = stage.deployment.path("home/policies/test.cedar");
    for ways in WAYS.chunks(2) {
        for (what, damage, said) in ways {
            damage(&path);
            let ready = stage.told("chancery_policy_stale 1");
            assert!(ready.contains("503") && ready.contains("policy"), "{what}: {ready}");
            e2e::wait_until(what, || {
                let logged = std::fs::read_to_string(&log).expect("it is written");
                let is_it = |line: &str| said.iter().all(|part| line.contains(part));
                logged.lines().any(is_it).then_some(())
            });
            is_in_force(&mut stage);
        }
        write(&path, POLICY);
        let ready = stage.told("chancery_policy_stale 0");
        assert!(ready.contains("200 OK"), "{ready}");
    }
    is_in_force(&mut stage);
    stage.ends_well();
}

/// N-128: what is said beside policies restricts as they do; that it is gone counts as little.
#[test]
fn n_128_what_is_said_beside_policies_is_not_gone_by_itself() {
    let mut stage = Stage::set();
    let dir = stage.deployment.path("home/policies");
    write(&dir.join("labels.yaml"), "labels: 1");
    stage.told("chancery_policy_stale 1");
    let beside = [
        ("labels.yaml", "labels: {}"),
        ("budgets.yaml", "budgets: {}"),
        ("strictness.yaml", "calls: []"),
        ("own.cedarschema", "entity Desk;"),
    ];
    for (name, text) in beside {
        std::fs::write(dir.join(name), text).expect("it can be written");
    }
    stage.told("chancery_policy_stale 0");
    for (name, text) in beside {
        println!("{name} is gone");
        std::fs::remove_file(dir.join(name)).expect("it was there");
        stage.told("chancery_policy_stale 1");
        is_in_force(&mut stage);
        write(&dir.join(name), text);
        stage.told("chancery_policy_stale 0");
    }
    stage.ends_well();
}

/// N-128: a set that is swapped by a link is taken whole, the new one after the old one.
#[test]
fn n_128_a_swapped_link_puts_the_new_set_in_force() {
    let mut stage = Stage::set();
    let path = stage.deployment.path("home/policies/test.cedar");
    let other = stage.deployment.path("other.cedar");
    let text = "@id(\"nothing\") forbid (principal, action in Action::\"tools/call\", resource);";
    std::fs::write(&other, format!("{POLICY}\n{text}")).expect("it can be written");
    let link = stage.deployment.path("home/policies/link");
    std::os::unix::fs::symlink(&other, &link).expect("a link can be made");
    std::fs::rename(&link, &path).expect("it can be swapped");
    // Who could never be permitted a call learns no more than that there is no such tool. A call that
    // is under way when the set changes is cut: of it nobody knows. One that is permitted by the old set
    // and not begun when the new one counts is not begun at all, and its client may ask again.
    e2e::wait_until("the new set is in force", || {
        let (mark, answer) = stage.touch();
        if answer.code() == "unavailable" {
            assert_eq!(stage.reached(&mark), 0, "{answer:?}");
            return None;
        }
        let before = answer.is_done() || answer.code() == "outcome_unknown";
        assert!(before || answer.code() == "unknown_tool", "{answer:?}");
        (!before).then_some(())
    });
    write(&path, POLICY);
    stage.recovers();
    stage.ends_well();
}

/// N-128: a directory that another one takes the place of is taken whole, or not at all.
#[test]
fn n_128_a_swapped_directory_is_taken_whole_or_not_at_all() {
    let mut stage = Stage::set();
    let home = stage.deployment.path("home");
    let (set, first, second) = (home.join("policies"), home.join("first"), home.join("second"));
    std::fs::rename(&set, &first).expect("it was there");
    let put = |name: &str| {
        let link = home.join("link");
        std::os::unix::fs::symlink(name, &link).expect("a link can be made");
        std::fs::rename(&link, &set).expect("it can be swapped");
    };
    put("first");
    let copied = std::process::Command::new("cp").arg("-r").args([&first, &second]).status();
    assert!(copied.expect("it starts").success());
    write(&second.join("guards.Cedar"), POLICY);
    put("second");
    stage.told("chancery_policy_stale 1");
    is_in_force(&mut stage);
    put("first");
    stage.told("chancery_policy_stale 0");
    is_in_force(&mut stage);
    stage.ends_well();
}

/// N-128: the service does not start on a set that it cannot take whole.
#[test]
fn n_128_a_broken_policy_file_keeps_it_from_starting() {
    let mut stage = Stage::set();
    let path = stage.deployment.path("home/policies/test.cedar");
    let config = stage.deployment.path("home/chancery.yaml");
    stage.deployment.stop();
    for (what, damage, _) in WAYS.iter().filter(|(what, ..)| *what != "gone") {
        damage(&path);
        let said = stage.deployment.run_refused(&["serve", "--config", config.to_str().unwrap()]);
        assert!(said.contains("polic"), "{what}: {said}");
        write(&path, POLICY);
    }
    stage.deployment.serve();
    stage.ends_well();
}

/// The policy that stood last does what it did: it permits, and it forbids.
fn is_in_force(stage: &mut Stage) {
    stage.works();
    let mark = format!("forbidden-{}", stage.mark());
    let answer = stage.caller.call("touch", &mark);
    assert_eq!(answer.code(), "denied", "{answer:?}");
    assert_eq!(answer.told("policies")[0], "never");
    assert_eq!(stage.reached(&mark), 0);
}
