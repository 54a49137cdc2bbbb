//! Checks what the compiler does not: that the crates depend inwards, and that promises have tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// Which crates of ours each crate may use. Any other edge is an error.
const EDGES: [(&str, &[&str]); 24] = [
    ("json", &[]),
    ("csv", &[]),
    ("https-url", &[]),
    ("tlog", &[]),
    ("keys", &[]),
    ("model", &["json"]),
    ("oauth", &["https-url", "json", "keys"]),
    ("mcp", &["https-url", "json"]),
    ("scim", &[]),
    ("secevent", &["https-url", "json", "keys", "oauth"]),
    ("outbound", &["https-url", "json"]),
    ("workload", &["https-url", "json", "keys", "model", "oauth", "outbound"]),
    ("login", &["https-url", "json", "keys", "model", "oauth", "outbound"]),
    ("pdp", &["json", "model"]),
    ("analysis", &["model", "pdp"]),
    ("store", &["model"]),
    ("store-sqlite", &["model", "store"]),
    ("journal", &["json", "keys", "model", "store", "tlog"]),
    ("authority", &["journal", "json", "keys", "model", "pdp", "store"]),
    ("sts", &["authority", "https-url", "json", "keys", "model", "oauth", "workload"]),
    ("gateway", &["authority", "json", "keys", "mcp", "model", "oauth"]),
    (
        "pap",
        &[
            "authority",
            "csv",
            "journal",
            "json",
            "keys",
            "mcp",
            "model",
            "oauth",
            "pdp",
            "scim",
            "secevent",
            "tlog",
        ],
    ),
    (
        "api",
        &[
            "gateway", "json", "keys", "login", "mcp", "model", "oauth", "pap", "scim", "secevent",
            "sts",
        ],
    ),
    // The demo knows the service from outside: what it speaks on the wire, and nothing else.
    ("demo", &["json", "keys", "model", "oauth"]),
];

/// Crates that know no IO, and what therefore they may not use.
const PURE: [&str; 11] = [
    "csv",
    "json",
    "https-url",
    "tlog",
    "keys",
    "model",
    "oauth",
    "mcp",
    "scim",
    "secevent",
    "pdp",
];
const IMPURE: [&str; 5] = ["tokio", "hyper", "axum", "rusqlite", "reqwest"];

/// The most lines of a source file.
const LINES_MAX: usize = 500;

/// What may stand in no tracked file but lock files.
const FORBIDDEN: [&str; 6] =
    ["TO\u{44}O", "FIX\u{4d}E", "#[ign\u{6f}re", "dbg\u{21}(", "/roo\u{74}/", "/wor\u{6b}/"];

/// Checks everything and tells all that is wrong.
pub(crate) fn check() -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    edges(&mut wrong)?;
    let files = tracked()?;
    let sources = read(&files);
    texts(&sources, &mut wrong);
    paragraphs(&sources, &mut wrong);
    paths(&sources, &mut wrong);
    shown(&sources, &mut wrong);
    listed(&sources, &mut wrong);
    failure_modes(&sources, &mut wrong);
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("tidy found {} things:\n{}", wrong.len(), wrong.join("\n"))
}

fn edges(wrong: &mut Vec<String>) -> anyhow::Result<()> {
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(super::root())
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("no cargo metadata")?;
    let allowed: BTreeMap<_, _> = EDGES.into_iter().collect();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(name) = name.strip_prefix("chancery-") else { continue };
        if ["bench", "demo-servers", "testkit"].contains(&name) {
            continue;
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            let normal = dependency["kind"].is_null();
            let ours = used.strip_prefix("chancery-").filter(|_| normal);
            let may = allowed.get(name).copied().unwrap_or_default();
            if let Some(ours) = ours.filter(|ours| !may.contains(ours)) {
                wrong.push(format!("crate `{name}` may not use `{ours}`"));
            }
            if normal && PURE.contains(&name) && IMPURE.contains(&used) {
                wrong.push(format!("crate `{name}` knows no IO and may not use `{used}`"));
            }
            if used.starts_with("cedar-policy") && !["analysis", "pdp"].contains(&name) {
                wrong.push(format!("only `analysis` and `pdp` name Cedar, not `{name}`"));
            }
            if used == "cedar-policy-symcc" && name != "analysis" {
                wrong.push(format!("only `analysis` names Cedar's compiler, not `{name}`"));
            }
        }
    }
    Ok(())
}

fn tracked() -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("git").args(["ls-files"]).current_dir(super::root()).output()?;
    let text = String::from_utf8(output.stdout)?;
    let kept = |name: &&str| {
        let is_lock = ["Cargo.lock", "package-lock.json"].iter().any(|lock| name.ends_with(lock));
        !name.starts_with("testdata/") && !is_lock
    };
    Ok(text.lines().filter(kept).map(PathBuf::from).collect())
}

fn read(files: &[PathBuf]) -> Vec<(String, String)> {
    let mut sources = Vec::new();
    for file in files {
        let path: &Path = &super::root().join(file);
        if let Ok(bytes) = std::fs::read(path)
            && let Ok(text) = String::from_utf8(bytes)
        {
            sources.push((file.display().to_string(), text));
        }
    }
    sources
}

fn texts(sources: &[(String, String)], wrong: &mut Vec<String>) {
    for (name, text) in sources {
        let found = FORBIDDEN.iter().filter(|word| text.contains(**word));
        wrong.extend(found.map(|word| format!("{name}: has `{word}`")));
        let is_rust = Path::new(name).extension().is_some_and(|extension| extension == "rs");
        if is_rust && !text.starts_with("//!") && !name.contains("/tests/") {
            wrong.push(format!("{name}: does not open with `//!`"));
        }
        let lines = text.lines().count();
        if is_rust && lines > LINES_MAX {
            wrong.push(format!("{name}: {lines} lines, more than {LINES_MAX}"));
        }
    }
}

/// Every crate has its paragraph in ARCHITECTURE.md.
fn paragraphs(sources: &[(String, String)], wrong: &mut Vec<String>) {
    let architecture = sources.iter().find(|(name, _)| name == "ARCHITECTURE.md");
    let architecture = architecture.map_or("", |(_, text)| text.as_str());
    let manifests = sources.iter().filter_map(|(name, _)| name.strip_suffix("/Cargo.toml"));
    for folder in manifests {
        let name = folder.strip_prefix("crates/").unwrap_or(folder);
        if !architecture.contains(&format!("`{name}`:")) {
            wrong.push(format!("ARCHITECTURE.md: has no paragraph that begins with `{name}`:"));
        }
    }
}

/// Every path of the repository that a document names is there.
fn paths(sources: &[(String, String)], wrong: &mut Vec<String>) {
    let roots = ["crates/", "docs/", "e2e/", "xtask/", "policies/", "testdata/", "fuzz/", "bench/"];
    let is_document = |name: &str| Path::new(name).extension().is_some_and(|ext| ext == "md");
    for (name, text) in sources.iter().filter(|(name, _)| is_document(name)) {
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_path = roots.iter().any(|root| quoted.starts_with(root));
            let is_plain = !quoted.contains(['*', '<', ' ', '…', '{', '\n']);
            if is_path && is_plain && !super::root().join(quoted).exists() {
                wrong.push(format!("{name}: there is no `{quoted}`"));
            }
        }
    }
}

/// Documents whose tables name, in the last column, the tests that show each row.
const SHOWN: [(&str, &str); 3] =
    [("INVARIANTS.md", "| I-"), ("docs/threats.md", "| N-"), ("docs/threats.md", "| F")];

/// How many failure modes there are: F1, F2, and so on.
const FAILURE_MODES: usize = 22;

/// Every failure mode has its row in the table of threats, or a paragraph that begins with its name and says why there is
/// none.
fn failure_modes(sources: &[(String, String)], wrong: &mut Vec<String>) {
    let table = sources.iter().find(|(name, _)| name == "docs/threats.md");
    let table = table.map_or("", |(_, text)| text.as_str());
    for mode in (1..=FAILURE_MODES).map(|number| format!("F{number}")) {
        let begins = [format!("| {mode} |"), format!("{mode}, ")];
        if !table.lines().any(|line| begins.iter().any(|begin| line.starts_with(begin))) {
            wrong.push(format!("docs/threats.md: has no row of `{mode}`, and does not say why"));
        }
    }
}

/// Every test that is named by the number of a threat stands in the table of threats.
fn listed(sources: &[(String, String)], wrong: &mut Vec<String>) {
    let table = sources.iter().find(|(name, _)| name == "docs/threats.md");
    let table = table.map_or("", |(_, text)| text.as_str());
    let is_numbered = |test: &str| {
        test.strip_prefix("n_").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    for (name, text) in sources.iter().filter(|(name, _)| name.contains("/tests/")) {
        let functions = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
        for test in functions.filter(|test| is_numbered(test)) {
            if !table.contains(&format!("`{test}`")) {
                wrong.push(format!("{name}: `{test}` is not in docs/threats.md"));
            }
        }
    }
}

/// Every row of such a table names tests, and they exist; none stands twice.
fn shown(sources: &[(String, String)], wrong: &mut Vec<String>) {
    for (document, row) in SHOWN {
        let found = sources.iter().find(|(name, _)| name == document);
        let Some((_, text)) = found else {
            wrong.push(format!("{document} is missing"));
            continue;
        };
        let mut rows = BTreeSet::new();
        for line in text.lines().filter(|line| line.starts_with(row)) {
            let name = line.split('|').nth(1).unwrap_or_default().trim();
            if !rows.insert(name) {
                wrong.push(format!("{document}: `{name}` has two rows"));
            }
            let tests = line.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap_or_default();
            for test in tests.split(',').map(|test| test.trim().trim_matches('`')) {
                let defined = [format!("fn {test}("), format!("fn {test}<")];
                let is_there = |text: &str| defined.iter().any(|start| text.contains(start));
                if !sources.iter().any(|(_, text)| is_there(text)) {
                    wrong.push(format!("{document}: there is no test `{test}`"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a table that has these lines.
    fn missing(lines: &[String]) -> Vec<String> {
        let mut wrong = Vec::new();
        failure_modes(&[("docs/threats.md".to_owned(), lines.join("\n"))], &mut wrong);
        wrong
    }

    #[test]
    fn a_failure_mode_without_a_row_is_named() {
        let all: Vec<_> = (1..=FAILURE_MODES).map(|number| format!("| F{number} | it |")).collect();
        assert_eq!(missing(&all), [""; 0]);
        for number in 1..=FAILURE_MODES {
            let mut lines = all.clone();
            lines.remove(number - 1);
            let named = format!("docs/threats.md: has no row of `F{number}`, and does not say why");
            assert_eq!(missing(&lines), [named]);
            lines.push(format!("F{number}, which is something else, has none yet."));
            assert_eq!(missing(&lines), [""; 0]);
        }
        assert_eq!(missing(&[]).len(), FAILURE_MODES);
    }
}
