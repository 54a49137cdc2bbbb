//! A policy set as a directory: read whole, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{anyhow, bail, ensure};
use model::{Harm, ToolRef};
use pap::{CaseFile, CaseResult, PolicyFiles, TOOLS_FILE, Tools};
use pdp::{CompileErrors, Snapshot};

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
        if names.contains(TOOLS_FILE) {
            files.cases.insert(TOOLS_FILE.to_owned(), folder.text(TOOLS_FILE)?);
        }
        let within = |name: &str, extension: &str| -> anyhow::Result<BTreeMap<String, String>> {
            if !names.contains(name) {
                return Ok(BTreeMap::new());
            }
            let texts = folder.within(name)?.all(extension)?.into_iter();
            Ok(texts.map(|(file, text)| (format!("{name}/{file}"), text)).collect())
        };
        files.cases.extend(within(CASES, "yaml")?);
        let read = pap::read_cases(&files.cases);
        let (tools, cases) = read.map_err(|wrong| anyhow!("not in order: {wrong}"))?;
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
mod tests;
