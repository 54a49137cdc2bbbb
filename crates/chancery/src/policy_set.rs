//! A policy set as a directory: read whole, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{anyhow, bail, ensure};
use model::{Harm, ToolRef};
use pap::{CaseFile, CaseResult, PolicyFiles, TOOLS_FILE, Tools};
use pdp::{CompileErrors, Finding, Snapshot};

use crate::folder::{Folder, is_of};

/// How policies, and parts of a schema, are named.
const POLICY: &str = "cedar";
const SCHEMA: &str = "cedarschema";

/// What a set says beside its policies.
const BESIDE: [&str; 3] = [pdp::LABELS_FILE, pdp::BUDGETS_FILE, pdp::STRICTNESS_FILE];

/// The directory of what is tried on a set, and of what is to be proved of it.
const CASES: &str = "cases";
const PROPERTIES: &str = "properties";

/// What `chancery policy schema` writes, for editors: never part of a set.
const GENERATED: &str = "chancery.cedarschema";

/// A policy set with what is tried on it.
pub(crate) struct PolicySet {
    pub(crate) files: PolicyFiles,
    /// The tools that it describes.
    pub(crate) tools: Tools,
    /// Its cases, by file.
    pub(crate) cases: BTreeMap<String, CaseFile>,
    /// What is to be proved of it, by file: never part of it.
    pub(crate) properties: BTreeMap<String, String>,
}

impl PolicySet {
    /// Reads the set in `dir`.
    pub(crate) fn read(dir: &Path) -> anyhow::Result<Self> {
        Folder::read(dir, Self::of)
    }

    fn of(folder: &Folder) -> anyhow::Result<Self> {
        let names = folder.names()?;
        let mut files = deciding(folder, &names)?;
        let not_in_order = |wrong: Finding| anyhow!("not in order: {wrong}");
        let mut tools = Tools::new();
        if names.contains(TOOLS_FILE) {
            let text = folder.text(TOOLS_FILE)?;
            tools = pap::read_tools(&text).map_err(not_in_order)?;
            files.cases.insert(TOOLS_FILE.to_owned(), text);
        }
        let within = |name: &str, extension: &str| -> anyhow::Result<BTreeMap<String, String>> {
            if !names.contains(name) {
                return Ok(BTreeMap::new());
            }
            let texts = folder.within(name)?.all(extension)?.into_iter();
            Ok(texts.map(|(file, text)| (format!("{name}/{file}"), text)).collect())
        };
        let mut cases = BTreeMap::new();
        for (path, text) in within(CASES, "yaml")? {
            let read = CaseFile::read(&path, &text);
            cases.insert(path.clone(), read.map_err(not_in_order)?);
            files.cases.insert(path, text);
        }
        let properties = within(PROPERTIES, POLICY)?;
        Ok(Self { files, tools, cases, properties })
    }

    /// It, compiled with all tools that it and its cases describe.
    pub(crate) fn compiled(&self) -> anyhow::Result<Snapshot> {
        compiled_with(&self.files, &self.all_tools())
    }

    /// Its properties, and `more`, compiled with its schema and tools; none if there is none.
    pub(crate) fn compiled_properties(
        &self,
        more: &BTreeMap<String, String>,
    ) -> anyhow::Result<Option<Snapshot>> {
        let mut all = self.properties.clone();
        all.extend(more.clone());
        if all.is_empty() {
            return Ok(None);
        }
        let bundle = pap::bundle(&self.with(&all), &self.all_tools());
        in_order(Snapshot::compile_properties(bundle)).map(Some)
    }

    fn with(&self, policies: &BTreeMap<String, String>) -> PolicyFiles {
        PolicyFiles { policies: policies.clone(), ..self.files.clone() }
    }

    /// What each of its tools can do.
    pub(crate) fn harm(&self) -> BTreeMap<ToolRef, BTreeSet<Harm>> {
        self.all_tools().into_iter().map(|(name, tool)| (name, tool.harm)).collect()
    }

    /// In which of its files, and on which line, each of its tools is described.
    pub(crate) fn tool_places(&self) -> BTreeMap<ToolRef, (String, usize)> {
        let mut places = BTreeMap::new();
        // What the set describes comes before what files of cases add.
        let first = self.files.cases.get_key_value(TOOLS_FILE);
        for (path, text) in first.into_iter().chain(&self.files.cases) {
            for (tool, line) in pap::tool_lines(path, text) {
                places.entry(tool).or_insert_with(|| (path.clone(), line));
            }
        }
        places
    }

    /// All tools that it and its cases describe: those of the set, and of each file what it adds.
    pub(crate) fn all_tools(&self) -> Tools {
        let mut all = self.tools.clone();
        for file in self.cases.values() {
            for (name, tool) in file.tools(&Tools::new()) {
                all.entry(name).or_insert(tool);
            }
        }
        all
    }

    /// Decides all cases; the results, by file.
    pub(crate) fn run(&self) -> anyhow::Result<BTreeMap<String, Vec<CaseResult>>> {
        let run = |(name, file): (&String, &CaseFile)| {
            let why = "the set does not compile with the tools that the cases describe";
            let results = file.run(&self.files, &self.tools);
            Ok((name.clone(), results.map_err(|errors| anyhow!("`{name}`: {why}:\n{errors}"))?))
        };
        self.cases.iter().map(run).collect()
    }
}

/// What decides of the set in `dir`: its cases do not.
pub(crate) fn files(dir: &Path) -> anyhow::Result<PolicyFiles> {
    Folder::read(dir, |folder| deciding(folder, &folder.names()?))
}

/// The policies in `dir`, which is no set: nothing stands beside them.
pub(crate) fn foreign(dir: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    Folder::read(dir, |folder| whole(folder, folder.all(POLICY)?))
}

/// What decides of the set in `folder`, of which these are the names: whole, or nothing of it.
fn deciding(folder: &Folder, names: &BTreeSet<String>) -> anyhow::Result<PolicyFiles> {
    if let Some(stranger) = names.iter().find(|name| !is_part(name)) {
        bail!(
            "`{}` is no part of a policy set, and nothing in it would count: name it as what it is (`*.{POLICY}`, \
             `*.{SCHEMA}`, `labels.yaml`, `budgets.yaml`, `strictness.yaml`, `tools.yaml`, `cases/*.yaml`, \
             `properties/*.cedar`), or move it elsewhere",
            folder.shown(stranger)
        );
    }
    let texts = |is_meant: &dyn Fn(&str) -> bool| -> anyhow::Result<BTreeMap<String, String>> {
        let meant = names.iter().filter(|name| is_meant(name));
        meant.map(|name| Ok((name.clone(), folder.text(name)?))).collect()
    };
    let policies = texts(&|name: &str| is_of(name, POLICY) || BESIDE.contains(&name))?;
    let schema = texts(&|name: &str| is_of(name, SCHEMA) && name != GENERATED)?;
    Ok(PolicyFiles { schema, ..PolicyFiles::of(whole(folder, policies)?) })
}

/// Whether what is called so in a set is a part of it, or is made of it.
fn is_part(name: &str) -> bool {
    let is_file = [POLICY, SCHEMA].iter().any(|extension| is_of(name, extension));
    is_file || BESIDE.contains(&name) || [TOOLS_FILE, CASES, PROPERTIES].contains(&name)
}

/// The same files of `folder`, none of which is empty, and one a policy.
fn whole(
    folder: &Folder,
    files: BTreeMap<String, String>,
) -> anyhow::Result<BTreeMap<String, String>> {
    for (name, text) in &files {
        // An empty file is one that is being written, or was cut off.
        let shown = folder.shown(name);
        ensure!(
            !text.trim().is_empty(),
            "the policy `{shown}` is empty: write it whole, or remove the file"
        );
    }
    ensure!(
        files.keys().any(|name| is_of(name, POLICY)),
        "`{}` has no policy file (*.cedar): write one, or begin with `chancery policy new`",
        folder.path().display()
    );
    Ok(files)
}

/// `files`, compiled with `tools`.
pub(crate) fn compiled_with(files: &PolicyFiles, tools: &Tools) -> anyhow::Result<Snapshot> {
    in_order(Snapshot::compile(pap::bundle(files, tools)))
}

/// What is wrong with a set is told, each thing with its place.
fn in_order(compiled: Result<Snapshot, CompileErrors>) -> anyhow::Result<Snapshot> {
    let snapshot =
        compiled.map_err(|errors| anyhow!("the policy set does not compile:\n{errors}"))?;
    match snapshot.gap() {
        Some(gap) => bail!("{gap}"),
        None => Ok(snapshot),
    }
}

#[cfg(test)]
mod tests {
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
            &[
                WHOLE,
                ("properties/own.cedar", "\n@id(\"p\") forbid (principal, action, resource);"),
            ],
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
        let passed = [
            ".gitignore",
            ".git/config",
            ".#all.cedar",
            ".all.cedar.swp",
            "all.cedar~",
            "#all.cedar#",
        ];
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
}
