//! The policy sets that are shipped, and how a set of one's own is begun from them.
//!
//! Each is a directory of `policies/sets`: guards, which only ever deny, and what they are tried on. Several of them
//! make one set: their policies stand beside each other, and what they say of tools, labels and budgets is joined.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail, ensure};
use serde_json::Value;

/// A set that is shipped.
pub(crate) struct Shipped {
    /// Its name, which is that of its directory.
    pub(crate) name: &'static str,
    /// Its files, by their paths in it.
    pub(crate) files: &'static [(&'static str, &'static str)],
}

macro_rules! shipped {
    ($name:literal $(, $more:literal)*) => {
        Shipped {
            name: $name,
            files: &[
                shipped!(file $name, concat!($name, ".cedar")),
                shipped!(file $name, concat!("cases/", $name, ".yaml")),
                shipped!(file $name, "examples.cedar"),
                shipped!(file $name, "tools.yaml"),
                $(shipped!(file $name, $more),)*
            ],
        }
    };
    (file $name:literal, $file:expr) => {
        ($file, include_str!(concat!("../../../policies/sets/", $name, "/", $file)))
    };
}

/// All of them, by name.
pub(crate) const SHIPPED: [Shipped; 9] = [
    shipped!("business-hours"),
    shipped!("coding-agents", "labels.yaml"),
    shipped!("data-residency", "labels.yaml"),
    shipped!("least-privilege"),
    shipped!("lethal-trifecta", "labels.yaml"),
    shipped!("purpose-limitation"),
    shipped!("read-only-subagents"),
    shipped!("separation-of-duties"),
    shipped!("spending-limits", "budgets.yaml"),
];

/// What every set begins with: the set that a new deployment starts with.
const STARTER: [(&str, &str); 3] = [
    ("starter.cedar", pdp::STARTER_POLICY),
    ("cases/starter.yaml", pap::STARTER_CASES),
    ("properties/starter.cedar", pdp::STARTER_PROPERTIES),
];

/// What permits what the guards are tried on.
const EXAMPLES: &str = "examples.cedar";

impl Shipped {
    /// What it is for, in its own words.
    pub(crate) fn about(&self) -> &'static str {
        let (_, guards) = self.files[0];
        guards.lines().next().and_then(|line| line.strip_prefix("// ")).unwrap_or_default()
    }
}

/// Lists them, each with what it is for.
pub(crate) fn list() -> String {
    let width = SHIPPED.iter().map(|set| set.name.len()).max().unwrap_or_default();
    let lines = SHIPPED.iter().map(|set| format!("{:width$}  {}", set.name, set.about()));
    lines.collect::<Vec<_>>().join("\n")
}

/// Writes the sets of these names, as one with what every set begins with, into the directory `dir`, which must be
/// empty; what to do next.
pub(crate) fn begin(dir: &Path, names: &[String]) -> anyhow::Result<String> {
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let sets = names.iter().map(|name| named(name)).collect::<anyhow::Result<Vec<_>>>()?;
    let files = joined(&sets)?;
    let shown = dir.display();
    let is_empty = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    ensure!(is_empty, "`{shown}` is no empty directory: begin a set in one of its own");
    for (name, text) in &files {
        let path = dir.join(name);
        let folder = path.parent().expect("it is in the directory");
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("could not write `{}`", path.display()))?;
    }
    Ok(format!(
        "`{shown}` holds {}.\n\
         Next: put your own tools in place of the examples (`chancery policy tools > {shown}/tools.yaml`),\n\
         permit what your agents do in place of `{EXAMPLES}`, and read docs/sets.md on what to change.\n\
         Try it: chancery policy test {shown}\n",
        files.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    ))
}

fn named(name: &str) -> anyhow::Result<&'static Shipped> {
    let found = SHIPPED.iter().find(|set| set.name == name);
    found.with_context(|| format!("no set `{name}` is shipped; there are:\n{}", list()))
}

/// The files of all of `sets` in one directory.
fn joined(sets: &[&Shipped]) -> anyhow::Result<BTreeMap<&'static str, String>> {
    let mut texts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, text) in STARTER.iter().chain(sets.iter().flat_map(|set| set.files)) {
        texts.entry(name).or_default().push(text);
    }
    let join = |(name, texts): (&'static str, Vec<&str>)| {
        let text = match texts.as_slice() {
            [text] => (*text).to_owned(),
            texts if name == EXAMPLES => examples(texts)?,
            texts => tables(texts).with_context(|| format!("`{name}` of several sets"))?,
        };
        Ok((name, text))
    };
    texts.into_iter().map(join).collect()
}

/// The policies of all `texts`, each once.
fn examples(texts: &[&str]) -> anyhow::Result<String> {
    let about = texts[0].lines().take_while(|line| line.starts_with("//")).collect::<Vec<_>>();
    let mut policies = BTreeMap::new();
    for text in texts {
        let file = BTreeMap::from([(EXAMPLES.to_owned(), (*text).to_owned())]);
        policies.extend(pdp::by_id(&file).map_err(|error| anyhow!("{error}"))?);
    }
    let policies: Vec<_> = policies.values().map(|text| text.trim()).collect();
    Ok(format!("{}\n\n{}\n", about.join("\n"), policies.join("\n\n")))
}

/// What all `texts`, which are YAML, say together.
fn tables(texts: &[&str]) -> anyhow::Result<String> {
    let mut all = Value::Null;
    for text in texts {
        let said = serde_saphyr::from_str(text).map_err(|error| anyhow!("{error}"))?;
        all = both(all, said)?;
    }
    Ok(serde_saphyr::to_string(&all)?)
}

/// What one says and the other: tables are joined, of lists everything is there once, and else they must agree.
fn both(one: Value, other: Value) -> anyhow::Result<Value> {
    match (one, other) {
        (Value::Null, value) | (value, Value::Null) => Ok(value),
        (Value::Object(mut one), Value::Object(other)) => {
            for (name, value) in other {
                let before = one.remove(&name).unwrap_or_default();
                let value = both(before, value).with_context(|| format!("at `{name}`"))?;
                one.insert(name, value);
            }
            Ok(one.into())
        }
        (Value::Array(mut one), Value::Array(other)) => {
            let more: Vec<_> = other.into_iter().filter(|item| !one.contains(item)).collect();
            one.extend(more);
            Ok(one.into())
        }
        (one, other) if one == other => Ok(one),
        (one, other) => bail!("they do not agree: `{one}` and `{other}`"),
    }
}

#[cfg(test)]
mod tests;
