//! A policy set as a directory: read whole, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, anyhow, bail, ensure};
use model::{Harm, ToolRef};
use pap::{CaseFile, CaseResult, PolicyFiles, TOOLS_FILE, Tools};
use pdp::{CompileErrors, Finding, Snapshot};

use crate::sources;

/// The most files of one kind.
const FILES_MAX: usize = 1_000;

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
        let mut files = files(dir)?;
        let not_in_order = |wrong: Finding| anyhow!("not in order: {wrong}");
        let mut tools = Tools::new();
        if let Some(text) = texts(dir, "yaml")?.remove(TOOLS_FILE) {
            tools = pap::read_tools(&text).map_err(not_in_order)?;
            files.cases.insert(TOOLS_FILE.to_owned(), text);
        }
        let mut cases = BTreeMap::new();
        let place = dir.join("cases");
        nothing_else(&place, "yaml")?;
        for (name, text) in texts(&place, "yaml")? {
            let path = format!("cases/{name}");
            let read = CaseFile::read(&path, &text);
            cases.insert(path.clone(), read.map_err(not_in_order)?);
            files.cases.insert(path, text);
        }
        let place = dir.join("properties");
        nothing_else(&place, "cedar")?;
        let properties = texts(&place, "cedar")?;
        let properties =
            properties.into_iter().map(|(name, it)| (format!("properties/{name}"), it));
        let properties = properties.collect();
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
    let mut schema = texts(dir, "cedarschema")?;
    schema.remove(GENERATED);
    Ok(PolicyFiles { schema, ..PolicyFiles::of(sources::policy_files(dir)?) })
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

/// The files in `dir` with this extension, by name; none if there is no such directory.
fn texts(dir: &Path, extension: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    if !dir.exists() {
        return Ok(files);
    }
    let entries =
        std::fs::read_dir(dir).with_context(|| format!("could not read `{}`", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|it| it != extension) {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("could not read `{}`", path.display()))?;
        files.insert(name, text);
        ensure!(
            files.len() <= FILES_MAX,
            "`{}` has more than {FILES_MAX} files: put several into one",
            dir.display()
        );
    }
    Ok(files)
}

/// What is in `dir` and no file with this extension would never be read, as if it held.
fn nothing_else(dir: &Path, extension: &str) -> anyhow::Result<()> {
    for entry in dir.read_dir().into_iter().flatten() {
        let path = entry?.path();
        let is_read = path.is_file() && path.extension().is_some_and(|it| it == extension);
        ensure!(is_read, "`{}` is not read: name it `*.{extension}`", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Files with their texts, what is told of their place, and what to do.
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);

    /// Whatever is wrong with a directory, it is told in which file, where in it, and what to do.
    #[test]
    fn what_is_wrong_with_a_directory_names_file_and_remedy() {
        let permit = r#"@id("all") permit (principal, action, resource in Server::"crm");"#;
        let whole = ("all.cedar", permit);
        let rows: [Row<'_>; 10] = [
            (&[], "has no policy file", "`chancery policy new`"),
            (&[whole, ("cut.cedar", " \n")], "cut.cedar` is empty", "write it whole, or remove"),
            (&[whole, ("labels.yaml", "")], "labels.yaml` is empty", "write it whole, or remove"),
            (&[whole, ("cut.cedar", "// gone")], "cut.cedar: holds no policy", "remove the file"),
            (&[("cut.cedar", "@id(\"a\")\npermit (principal, act")], "cut.cedar:2: ", "(expected "),
            (&[whole, ("own.cedarschema", "entity Desk")], "own.cedarschema:1: ", "(expected "),
            (
                &[whole, ("labels.yaml", "labels: {}\nlabel: 1")],
                "labels.yaml:2: ",
                "docs/labels.md",
            ),
            (&[whole, ("budgets.yaml", "budget: 1")], "budgets.yaml:1: ", "docs/budgets.md"),
            (&[whole, ("strictness.yaml", "call: 1")], "strictness.yaml:1: ", "docs/strictness.md"),
            (
                &[whole, ("tools.yaml", "crm/a:\n  harms: []")],
                "not in order: tools.yaml:",
                "docs/policy-sets.md",
            ),
        ];
        for (files, place, remedy) in rows {
            let home = tempfile::tempdir().expect("a directory can be made");
            for (name, text) in files {
                fs::write(home.path().join(name), text).expect("it can be written");
            }
            let compiled = PolicySet::read(home.path()).and_then(|set| set.compiled());
            let why = compiled.expect_err(remedy).to_string();
            assert!(why.contains(place) && why.contains(remedy), "{place}: {why}");
        }
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
}
