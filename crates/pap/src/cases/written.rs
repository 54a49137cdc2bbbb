//! Files of cases as they are written: read strictly, each whole or not at all.

use std::collections::BTreeMap;

use model::ToolRef;
use pdp::Finding;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_saphyr::{Options, Spanned};

use super::{CASES_MAX, CaseFile, Tools};

/// The file of a set that says which tools there are: where the set is tried, and as far as nobody onboarded them.
pub const TOOLS_FILE: &str = "tools.yaml";

/// In which folder of a set they are, and how each is called.
const FOLDER: &str = "cases/";
const EXTENSION: &str = ".yaml";

/// The page on them.
const PAGE: &str = "policy-sets";

/// The most files of cases that one release has.
const FILES_MAX: usize = 64;

/// The most bytes of all of them together, with the tools.
const BYTES_MAX: usize = 4 << 20;

/// The longest path of one, in bytes.
const PATH_MAX: usize = 256;

/// Where the cases of a file begin.
#[derive(Deserialize)]
struct Places {
    cases: Vec<Spanned<IgnoredAny>>,
}

/// Where the tools of such a file are described.
#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    tools: ToolPlaces,
}

type ToolPlaces = BTreeMap<ToolRef, Spanned<IgnoredAny>>;

impl CaseFile {
    /// Reads the `text` of the file that is at `path` in its set.
    ///
    /// # Errors
    /// It is no such file: what is wrong, with its line.
    pub fn read(path: &str, text: &str) -> Result<Self, Finding> {
        let file: Self = yaml(path, text)?;
        let Places { cases } = yaml(path, text)?;
        let line = |it: &Spanned<IgnoredAny>| usize::try_from(it.referenced.line()).ok();
        Ok(Self { lines: cases.iter().map(line).collect(), ..file })
    }
}

/// Reads the `text` of the file that says which tools there are.
///
/// # Errors
/// It says something else: what is wrong, with its line.
pub fn read_tools(text: &str) -> Result<Tools, Finding> {
    yaml(TOOLS_FILE, text)
}

/// On which line the `text` of the file that is at `path` in its set describes each tool that it does.
pub fn tool_lines(path: &str, text: &str) -> BTreeMap<ToolRef, usize> {
    let places: Result<ToolPlaces, _> = if path == TOOLS_FILE {
        yaml(path, text)
    } else {
        yaml(path, text).map(|Described { tools }| tools)
    };
    let line = |(tool, it): (ToolRef, Spanned<IgnoredAny>)| {
        usize::try_from(it.referenced.line()).ok().map(|line| (tool, line))
    };
    places.unwrap_or_default().into_iter().filter_map(line).collect()
}

/// Reads the tools that a set describes, and its files of cases, of which `files` are the texts by their paths in it:
/// what somebody else wrote, within limits.
///
/// # Errors
/// One is no such file, or all are more than is tried of one set: what is wrong, and where.
pub fn read_cases(
    files: &BTreeMap<String, String>,
) -> Result<(Tools, BTreeMap<String, CaseFile>), String> {
    let bytes: usize = files.values().map(String::len).sum();
    if bytes > BYTES_MAX {
        let why = "put what varies under `vary`, or leave cases, or tools that none calls, out of the set";
        return Err(format!("cases and `{TOOLS_FILE}` have more than {BYTES_MAX} bytes: {why}"));
    }
    if files.keys().filter(|path| *path != TOOLS_FILE).count() > FILES_MAX {
        return Err(format!("more than {FILES_MAX} files of cases: put them together"));
    }
    let (mut tools, mut all) = (Tools::new(), BTreeMap::new());
    for (path, text) in files {
        if path == TOOLS_FILE {
            tools = read_tools(text).map_err(|wrong| wrong.to_string())?;
            continue;
        }
        if !is_path(path) {
            let shown = path.escape_debug();
            return Err(format!(
                "`{shown}` is no file of cases: name it `{FOLDER}NAME{EXTENSION}`"
            ));
        }
        let file = CaseFile::read(path, text).map_err(|wrong| wrong.to_string())?;
        all.insert(path.clone(), file);
    }
    let count = all.values().map(CaseFile::count).fold(0, usize::saturating_add);
    if count > CASES_MAX {
        let why = "leave some out, or have less vary in them";
        return Err(format!("the set has more than {CASES_MAX} cases: {why}"));
    }
    Ok((tools, all))
}

/// Whether `path` is that of a file of cases in a set.
fn is_path(path: &str) -> bool {
    let name = path.strip_prefix(FOLDER).and_then(|name| name.strip_suffix(EXTENSION));
    let is_plain = |c: char| c.is_alphanumeric() || " -_.".contains(c);
    path.len() <= PATH_MAX && name.is_some_and(|it| !it.is_empty() && it.chars().all(is_plain))
}

fn yaml<T: DeserializeOwned>(path: &str, text: &str) -> Result<T, Finding> {
    serde_saphyr::from_str_with_options(text, strict())
        .map_err(|error| pdp::misread((path, PAGE), &error))
}

/// What is said once stands where it is said: a file is as large as it is written, whoever wrote it.
fn strict() -> Options {
    serde_saphyr::options! { budget: serde_saphyr::budget! { max_aliases: 0, max_anchors: 0 } }
}
