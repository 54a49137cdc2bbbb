//! What is read as a policy set, and what is not.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use super::*;

/// Files with their texts, what is told of their place, and what to do.
type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);

const PERMIT: &str = r#"@id("all") permit (principal, action, resource in Server::"crm");"#;
const WHOLE: (&str, &str) = ("all.cedar", PERMIT);
const READING: (&str, &str) = ("tools.yaml", "crm/a: { harm: [reads-data] }");

/// What is wrong with what decides.
const DECIDING: [Row<'static>; 10] = [
    (&[], "has no policy file", "`chancery policy new`"),
    (&[WHOLE, ("cut.cedar", " \n")], "cut.cedar` is empty", "write it whole, or remove"),
    (&[WHOLE, ("labels.yaml", "")], "labels.yaml` is empty", "write it whole, or remove"),
    (&[WHOLE, ("cut.cedar", "// gone")], "cut.cedar: holds no policy", "remove the file"),
    (&[("cut.cedar", "@id(\"a\")\npermit (principal, act")], "cut.cedar:2: ", "(expected "),
    (
        &[
            WHOLE,
            (
                "b.cedar",
                "@id(\"b\")\npermit (principal, action, resource in Server::\"crm\")\n\
                 when { context.depth == 0 &&\n  context.depth == \"x\" };",
            ),
        ],
        "b.cedar:4: policy `b`: ",
        "compatible types",
    ),
    (&[WHOLE, ("own.cedarschema", "entity Desk")], "own.cedarschema:1: ", "(expected "),
    (&[WHOLE, ("labels.yaml", "labels: {}\nlabel: 1")], "labels.yaml:2: ", "docs/labels.md"),
    (&[WHOLE, ("budgets.yaml", "budget: 1")], "budgets.yaml:1: ", "docs/budgets.md"),
    (&[WHOLE, ("strictness.yaml", "call: 1")], "strictness.yaml:1: ", "docs/strictness.md"),
];

/// What is wrong with what is tried on it, and with what is to be proved.
const TRIED: [Row<'static>; 6] = [
    (
        &[WHOLE, ("tools.yaml", "crm/a:\n  harms: []")],
        "not in order: tools.yaml:",
        "docs/policy-sets.md",
    ),
    (
        &[WHOLE, ("cases/own.yaml", "case: []")],
        "not in order: cases/own.yaml:1: ",
        "docs/policy-sets.md",
    ),
    (
        &[
            WHOLE,
            READING,
            (
                "cases/own.yaml",
                "cases:\n\n  - name: one\n    calls: { tool: crm/a }\n    expect: deny\n",
            ),
        ],
        "cases/own.yaml:3: the case `one` cannot be asked: ",
        "mend the policies or the case",
    ),
    (
        &[
            ("no.cedar", "@id(\"no\")\nforbid (principal, action, resource);"),
            READING,
            (
                "cases/own.yaml",
                "cases:\n  - name: one\n    call: { tool: crm/a }\n    expect: permit\n",
            ),
        ],
        "cases/own.yaml:2: the case `one` expects permit",
        "mend the policies or the case",
    ),
    (
        &[WHOLE, ("properties/own.cedar", "@id(\"p\")\nforbid (principal, act")],
        "properties/own.cedar:2: ",
        "(expected ",
    ),
    (
        &[WHOLE, ("properties/own.cedar", "\n@id(\"p\") forbid (principal, action, resource);")],
        "properties/own.cedar:2: policy `p`: ",
        "needs `@property`",
    ),
];

/// Whatever is wrong with a directory, it is told in which file, where in it, and what to do.
#[test]
fn what_is_wrong_with_a_directory_names_file_and_remedy() {
    let looked_at = |dir: &Path| -> anyhow::Result<()> {
        let set = PolicySet::read(dir)?;
        set.compiled()?;
        set.compiled_properties(&BTreeMap::new())?;
        crate::policy::held(&set).map(drop)
    };
    for (files, place, remedy) in DECIDING.into_iter().chain(TRIED) {
        let home = tempfile::tempdir().expect("a directory can be made");
        for (name, text) in files {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("it can be made");
            fs::write(path, text).expect("it can be written");
        }
        let why = looked_at(home.path()).expect_err(remedy).to_string();
        assert!(why.contains(place) && why.contains(remedy), "{place}: {why}");
    }
}

/// What is told of a tool has the place at which the set describes it.
#[test]
fn what_is_doubtful_with_a_tool_names_where_it_is_described() {
    let home = one();
    let cases = "tools:\n  crm/a: { harm: [] }\n  own/c: { harm: [] }\ncases: []\n";
    let tools = "crm/a: { harm: [reads-data] }\nown/b: { harm: [reads-data] }\n";
    fs::create_dir(home.path().join(CASES)).expect("it can be made");
    for (name, text) in [("cases/own.yaml", cases), (TOOLS_FILE, tools)] {
        fs::write(home.path().join(name), text).expect("it can be written");
    }
    let set = PolicySet::read(home.path()).expect("it is a set");
    let found = crate::policy::findings(&set, &set.compiled().expect("it compiles"));
    let of_tools = found.iter().filter(|finding| finding.tool.is_some());
    let why = "so it is not callable: permit it, or leave it out";
    let expected = [("tools.yaml:2", "own/b"), ("cases/own.yaml:3", "own/c")]
        .map(|(place, tool)| format!("{place}: no permit names tool `{tool}`, {why}"));
    assert_eq!(of_tools.map(ToString::to_string).collect::<Vec<_>>(), expected);
}

/// What the service would not try is not told to hold.
#[test]
fn r_39_a_set_has_no_more_cases_than_the_service_tries() {
    let check = |files: usize, text: &str, wrong: Option<&str>| {
        let home = one();
        fs::create_dir(home.path().join(CASES)).expect("it can be made");
        for at in 0..files {
            let path = home.path().join(format!("{CASES}/{at}.yaml"));
            fs::write(path, text).expect("it can be written");
        }
        let read = PolicySet::read(home.path()).map(|set| set.cases.len());
        match (read, wrong) {
            (Ok(read), None) => assert_eq!(read, files),
            (Err(why), Some(wrong)) => assert!(why.to_string().contains(wrong), "{why}"),
            (read, _) => panic!("{files}: {read:?}"),
        }
    };
    let few = "cases: []\n";
    check(64, few, None);
    check(65, few, Some("more than 64 files of cases: put them together"));
    check(1, &format!("{few}# {}", "x".repeat(4 << 20)), Some("more than 4194304 bytes: "));
    let many = |count: usize| {
        let calls: Vec<String> = (0..count).map(|calls| calls.to_string()).collect();
        let case = "name: it, call: { tool: crm/a }, expect: deny";
        format!("cases: [{{ {case}, vary: {{ calls: [{}] }} }}]\n", calls.join(", "))
    };
    check(2, &many(5_000), None);
    check(2, &many(5_001), Some("the set has more than 10000 cases: leave some out"));
}

/// A property that is not read would be one that nobody proves.
#[test]
fn r_39_what_is_beside_the_properties_is_refused() {
    let home = tempfile::tempdir().expect("a directory can be made");
    let dir = home.path();
    let permit = r#"@id("all") permit (principal, action, resource);"#;
    fs::write(dir.join("all.cedar"), permit).expect("it can be written");
    fs::create_dir_all(dir.join("properties/more.cedar")).expect("it can be made");
    let refused = |name: &str| {
        let why = PolicySet::read(dir).err().expect("it is not read").to_string();
        assert!(why.contains(name) && why.contains("name it `*.cedar`"), "{why}");
    };
    refused("more.cedar");
    fs::remove_dir(dir.join("properties/more.cedar")).expect("it is ours");
    assert!(PolicySet::read(dir).is_ok());
    fs::write(dir.join("properties/own.txt"), permit).expect("it can be written");
    refused("own.txt");
}

/// A directory with one policy.
fn one() -> TempDir {
    let home = tempfile::tempdir().expect("a directory can be made");
    fs::write(home.path().join("all.cedar"), PERMIT).expect("it can be written");
    home
}

/// Why the set in `dir` is read in neither way.
fn refused(dir: &Path) -> String {
    let why = PolicySet::read(dir).err().expect("it is no set").to_string();
    assert_eq!(files(dir).expect_err("nor do they decide").to_string(), why);
    why
}

/// What is no part of a set would be a guard that nobody asks.
#[test]
fn what_is_no_part_of_a_set_is_refused() {
    for name in [
        "labels.yml",
        "budget.yaml",
        "guards.Cedar",
        "guards.cedar.txt",
        ".guards.cedar",
        "guards.cedar.bak",
        "case/own.yaml",
        "more/guards.cedar",
        "README",
    ] {
        let home = one();
        let path = home.path().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("it can be made");
        fs::write(&path, PERMIT).expect("it can be written");
        let (why, shown) = (refused(home.path()), name.split('/').next().unwrap_or(name));
        let place = format!("`{}` is no part", home.path().join(shown).display());
        assert!(why.starts_with(&place) && why.contains("or move it elsewhere"), "{why}");
        let why = foreign(home.path()).expect_err(name).to_string();
        assert!(why.contains(shown) && why.contains("is not read: name it `*.cedar`"), "{why}");
    }
}

#[test]
fn what_nobody_means_to_be_a_part_is_passed_over() {
    let home = one();
    let all = PolicySet::read(home.path()).expect("it is a set").files;
    let passed =
        [".gitignore", ".git/config", ".#all.cedar", ".all.cedar.swp", "all.cedar~", "#all.cedar#"];
    let parts = ["README.md", "LICENSE", "cases/README.md", "properties/.keep"];
    for name in passed.into_iter().chain(parts) {
        let path = home.path().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("it can be made");
        fs::write(&path, "permit").expect("it can be written");
        assert_eq!(PolicySet::read(home.path()).expect(name).files, all, "{name}");
        assert_eq!(files(home.path()).expect(name), all, "{name}");
    }
    // Nor is what is made of it, half written as it may be.
    fs::write(home.path().join(GENERATED), "").expect("it can be written");
    assert_eq!(PolicySet::read(home.path()).expect("it is a set").files, all);
}

/// Of a device that never ends, nobody would ever see what is wrong with it.
#[test]
fn what_is_no_file_is_not_read() {
    for name in ["labels.yaml", "budgets.yaml", "more.cedar", "own.cedarschema"] {
        let home = one();
        symlink("/dev/null", home.path().join(name)).expect("it can be made");
        let why = refused(home.path());
        assert!(why.contains(&format!("{name}` is no file")), "{why}");
    }
    let home = one();
    symlink("/dev/null", home.path().join("tools.yaml")).expect("it can be made");
    let why = PolicySet::read(home.path()).err().expect("it is no set").to_string();
    assert!(why.contains("tools.yaml` is no file"), "{why}");
}

/// Two of them would be one, under no name.
#[test]
fn a_name_that_is_not_utf_8_is_refused() {
    let home = one();
    fs::write(home.path().join(OsStr::from_bytes(b"\xff.cedar")), PERMIT).expect("it can be");
    let why = refused(home.path());
    assert!(why.contains("is not UTF-8: give it another"), "{why}");
}

#[test]
fn a_name_that_would_act_on_a_terminal_is_refused_and_not_told() {
    let home = one();
    fs::write(home.path().join("a\u{1b}[2J.cedar"), PERMIT).expect("it can be written");
    let why = refused(home.path());
    assert!(why.contains("has control characters: give it another"), "{why}");
    assert!(!why.contains('\u{1b}'), "{why}");
}

/// Who swaps a link while it is read gets one set or the other.
#[test]
fn two_sets_are_never_mixed() {
    let home = tempfile::tempdir().expect("a directory can be made");
    let path = home.path().join("set");
    for set in ["one", "two"] {
        let dir = home.path().join(set);
        fs::create_dir(&dir).expect("it can be made");
        for name in ["a.cedar", "own.cedarschema", "labels.yaml", "budgets.yaml"] {
            fs::write(dir.join(name), set).expect("it can be written");
        }
    }
    let put = |set: &str| {
        let link = home.path().join("link");
        symlink(set, &link).expect("it can be made");
        fs::rename(&link, &path).expect("it can be swapped");
    };
    put("one");
    let both = ["one", "two"].map(|set| files(&home.path().join(set)).expect("it is a set"));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let sets = ["two", "one"].iter().cycle();
            sets.take_while(|_| !is_over.load(Ordering::Acquire)).for_each(|set| put(set));
        });
        let reads =
            (0..500).flat_map(|_| [files(&path), PolicySet::read(&path).map(|set| set.files)]);
        let reads: Vec<_> = reads.collect();
        is_over.store(true, Ordering::Release);
        for read in reads {
            match read {
                Ok(read) => assert!(both.contains(&read), "{read:?}"),
                Err(why) => assert!(why.to_string().contains("each time it is read"), "{why}"),
            }
        }
    });
    assert!(both.contains(&files(&path).expect("it stays")));
}
