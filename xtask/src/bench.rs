//! `cargo xtask bench [ROW…] --json FILE`: builds what is measured and what measures, gets the
//! peers, runs the rows, and keeps the last of them in `docs/performance.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use super::provision;

#[path = "../../bench/src/rows.rs"]
mod rows;

/// Where the table begins and ends in the document.
const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    rows: Vec<String>,
    json: PathBuf,
}

/// Measures the rows that `arguments` name, all if they name none.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let asked = parse(arguments)?;
    let chosen = rows::chosen(&asked.rows).map_err(|error| anyhow::anyhow!(error))?;
    let (envoy, npm) = provision::peers()?;
    super::step("build", || {
        let packages = ["--package", "chancery", "--package", "chancery-bench"];
        super::cargo(&[&["build", "--release"][..], &packages].concat())
    })?;
    let target = target()?;
    let table = target.join("bench-table");
    let mut command = Command::new(target.join("release/chancery-bench"));
    command.args(&chosen).arg("--json").arg(&asked.json).arg("--table").arg(&table);
    command.arg("--dir").arg(target.join("bench")).arg("--envoy").arg(envoy);
    command.arg("--npm").arg(npm);
    command.arg("--chancery").arg(target.join("release/chancery"));
    let status = command.status().with_context(|| format!("could not run {command:?}"))?;
    ensure!(status.success(), "a row was not measured");
    keep(&super::root().join("docs/performance.md"), &fs::read_to_string(table)?, &rows::ROWS)
}

fn parse(arguments: &[String]) -> anyhow::Result<Asked> {
    let (mut rows, mut json) = (Vec::new(), None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = arguments.next(),
            option if option.starts_with('-') => bail!("there is no option `{option}`"),
            row => rows.push(row.to_owned()),
        }
    }
    let json = json.context("usage: cargo xtask bench [ROW…] --json FILE")?;
    Ok(Asked { rows, json: json.into() })
}

/// Where cargo builds to.
fn target() -> anyhow::Result<PathBuf> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    Ok(std::path::absolute(super::root().join(target))?)
}

/// Puts the measured rows into the document's table; rows that were not measured stay.
fn keep(document: &Path, measured: &str, order: &[&str]) -> anyhow::Result<()> {
    let text = fs::read_to_string(document)?;
    Ok(fs::write(document, refreshed(&text, measured, order)?)?)
}

fn refreshed(text: &str, measured: &str, order: &[&str]) -> anyhow::Result<String> {
    let missing = || format!("the document has no `{BEGIN}` and `{END}`");
    let (before, rest) = text.split_once(BEGIN).with_context(missing)?;
    let (table, after) = rest.split_once(END).with_context(missing)?;
    let (machine, lines) = measured.split_once('\n').context("nothing was measured")?;
    let head: Vec<&str> =
        table.lines().filter(|line| !line.is_empty()).take_while(is_head).collect();
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    known.extend(table.lines().chain(lines.lines()).filter_map(|line| Some((name(line)?, line))));
    let rows = order.iter().filter_map(|row| known.get(row).copied());
    let mut lines = vec![BEGIN, "", machine, ""];
    lines.extend(head.iter().filter(|line| line.starts_with('|')));
    lines.extend(rows);
    lines.extend(["", END]);
    Ok(format!("{before}{}{after}", lines.join("\n")))
}

/// What stands before the first row.
fn is_head(line: &&str) -> bool {
    name(line).is_none()
}

/// The row that a line of the table is about.
fn name(line: &str) -> Option<&str> {
    line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn rows_and_a_file_are_asked_for() {
        let asked = parse(&words("decide-100 --json out.json idle-rss")).expect("it is in order");
        assert_eq!(asked, Asked { rows: words("decide-100 idle-rss"), json: "out.json".into() });
        for wrong in ["", "decide-100", "--json", "--jsn out.json"] {
            assert!(parse(&words(wrong)).is_err(), "`{wrong}` is not in order");
        }
    }

    #[test]
    fn an_unknown_row_names_those_that_there_are() {
        let error = rows::chosen(&words("decide-100 decide-7")).expect_err("there is none");
        assert!(error.starts_with("there is no row `decide-7`; the rows are decide-100, decide-"));
        assert_eq!(rows::chosen(&[]), Ok(rows::ROWS.to_vec()));
        // In the order of the table, and once.
        let chosen = rows::chosen(&words("idle-rss decide-100 idle-rss"));
        assert_eq!(chosen, Ok(vec!["decide-100", "idle-rss"]));
    }

    #[test]
    fn measured_rows_replace_those_of_before_and_others_stay() {
        let text = format!(
            "# T\n{BEGIN}\n\nold\n\n| Row |\n| --- |\n| `a` | 1 |\n| `c` | 3 |\n\n{END}\nend\n"
        );
        let text = refreshed(&text, "new\n| `c` | 4 |\n| `b` | 2 |\n", &["a", "b", "c"]);
        let wanted = format!(
            "# T\n{BEGIN}\n\nnew\n\n| Row |\n| --- |\n| `a` | 1 |\n| `b` | 2 |\n| `c` | 4 |\n\n{END}\nend\n"
        );
        assert_eq!(text.expect("it has a table"), wanted);
        assert!(refreshed("no table", "new\n", &["a"]).is_err());
    }
}
