//! How two policy sets differ, as it is shown to whoever approves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::anyhow;
use pap::PolicyFiles;
use pdp::Change;

use crate::plan;

/// The most lines of two policies that are held against each other line by line; longer ones are shown whole, both.
const LINES_MAX: usize = 2_000;

/// What `b` has otherwise than `a`, policies and other files; what is a widening whatever else it says comes first.
/// What nobody is shown, nobody can be said to have approved: somebody else wrote it, and no character of it hides
/// others.
pub(crate) fn difference(a: &PolicyFiles, b: &PolicyFiles) -> anyhow::Result<String> {
    let changes = pdp::changes(&a.policies, &b.policies).map_err(|it| anyhow!("{it}"))?;
    let widening = changes.iter().filter(|it| it.widens);
    let mut widening: String = widening.map(|it| plan::told_of(it) + "\n").collect();
    for file in plan::files(a, b).iter().filter(|it| it.widens) {
        let _ = writeln!(widening, "file {file}");
    }
    let by_id = |files: &PolicyFiles| pdp::by_id(&files.policies).map_err(|it| anyhow!("{it}"));
    let policies = compared("policy", &by_id(a)?, &by_id(b)?);
    let beside = |files: &PolicyFiles| -> BTreeMap<String, String> {
        let cases = files.cases.clone();
        files.beside_policies().into_iter().chain(cases).collect()
    };
    Ok(widening + &policies + &compared("file", &beside(a), &beside(b)))
}

fn compared(what: &str, a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> String {
    let mut all = String::new();
    let ids: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    for id in ids {
        let (old, new) = (a.get(id), b.get(id));
        let how = match Change::of(old, new) {
            None => continue,
            Some(Change::New) => "added",
            Some(Change::Gone) => "removed",
            Some(_) => "changed",
        };
        let _ = writeln!(all, "{how} {what} `{}`", mcp::render_untrusted(id));
        let text = |side: Option<&String>| side.cloned().unwrap_or_default();
        all.push_str(&by_line(&text(old), &text(new)));
    }
    all
}

/// The lines that only one of both has, in the order in which they stand, with those of both between them.
fn by_line(old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let mut all = String::new();
    if old.len().max(new.len()) > LINES_MAX {
        for (mark, lines) in [('-', &old), ('+', &new)] {
            for line in lines {
                let _ = writeln!(all, "  {mark} {}", mcp::render_untrusted(line));
            }
        }
        return all;
    }
    // How many lines the ends of both from there on have in common (longest common subsequence).
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for (i, line) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            common[i][j] = if line == other {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        let (mark, line) = match (old.get(i), new.get(j)) {
            (Some(line), Some(other)) if line == other => {
                (i, j) = (i + 1, j + 1);
                (' ', line)
            }
            (Some(line), other) if other.is_none() || common[i + 1][j] >= common[i][j + 1] => {
                i += 1;
                ('-', line)
            }
            (_, Some(line)) => {
                j += 1;
                ('+', line)
            }
            _ => break,
        };
        let _ = writeln!(all, "  {mark} {}", mcp::render_untrusted(line));
    }
    all
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn set(policies: &str) -> PolicyFiles {
        let policies = [("a.cedar".to_owned(), policies.to_owned())].into();
        PolicyFiles { policies, ..PolicyFiles::default() }
    }

    fn check(a: &str, b: &str, expected: &Expect) {
        expected.assert_eq(&difference(&set(a), &set(b)).expect("both can be read"));
    }

    /// What a result carries decides as much as a policy does.
    #[test]
    fn r_39_every_part_of_a_set_is_in_the_difference() {
        let labels = |text: &str| PolicyFiles { labels: Some(text.to_owned()), ..set("") };
        let schema = |text: &str| {
            let schema = [("a.cedarschema".to_owned(), text.to_owned())].into();
            PolicyFiles { schema, ..set("") }
        };
        let check = |a: &PolicyFiles, b: &PolicyFiles, expected: &Expect| {
            expected.assert_eq(&difference(a, b).expect("both can be read"));
        };
        let (carries, nothing) = ("labels:\n  private: Personal.\n", "labels: {}\n");
        check(
            &labels(carries),
            &labels(nothing),
            &expect![[r"
            changed file `labels.yaml`
              - labels:
              -   private: Personal.
              + labels: {}
        "]],
        );
        check(
            &labels(nothing),
            &set(""),
            &expect![[r"
            removed file `labels.yaml`
              - labels: {}
        "]],
        );
        check(
            &schema("action a;"),
            &set(""),
            &expect![[r"
            removed file `a.cedarschema`
              - action a;
        "]],
        );
    }

    /// What is too long to be held against each other line by line is shown all the same.
    #[test]
    fn r_39_a_long_part_is_shown_whole() {
        let long = "x\n".repeat(LINES_MAX + 1);
        let shown = by_line(&long, "permit\n");
        assert_eq!(shown.lines().filter(|line| *line == "  - x").count(), LINES_MAX + 1);
        assert!(shown.ends_with("  + permit\n"), "{}", &shown[shown.len() - 40..]);
    }

    /// A terminal does what such characters say: a line that takes back those above it would be approved unseen.
    #[test]
    fn n_094_nothing_that_is_written_hides_what_else_is() {
        let cases = |path: &str, text: &str| {
            let cases = [(path.to_owned(), text.to_owned())].into();
            PolicyFiles { cases, ..set("") }
        };
        let (path, hides) = ("cases/a\nadded.yaml", "# \u{1b}[1A\u{1b}[2K\r# \u{202e}none\n");
        let told = difference(&set(""), &cases(path, hides)).expect("both can be read");
        let says = [
            r"added file `cases/a\u{a}added.yaml`",
            r"  + # \u{1b}[1A\u{1b}[2K\u{d}# \u{202e}none",
            "",
        ];
        assert_eq!(told, says.join("\n"));
        let long = hides.repeat(LINES_MAX + 1);
        let told = difference(&set(""), &cases("cases/a.yaml", &long)).expect("both can be read");
        assert_eq!(told.chars().filter(|it| *it == '\u{1b}' || *it == '\r').count(), 0);
    }

    #[test]
    fn sets_differ_by_policies_and_not_by_how_they_are_laid_out() {
        let one = r#"@id("one") permit (principal, action, resource);"#;
        let two = r#"@id("two") forbid (principal, action, resource) when { context.depth > 1 };"#;
        let three =
            r#"@id("two") forbid (principal, action, resource) when { context.depth > 2 };"#;
        check(one, &format!("// A remark.\n{one}\n"), &expect![""]);
        check(&format!("{one}\n{two}"), &format!("{two}\n{one}"), &expect![""]);
        check(
            &format!("{one}{two}"),
            three,
            &expect![[r#"
            policy `two` says something else: a widening
            removed policy `one`
              - @id("one")
              - permit (principal, action, resource);
            changed policy `two`
                @id("two")
                forbid (principal, action, resource)
              - when { context.depth > 1 };
              + when { context.depth > 2 };
        "#]],
        );
    }

    /// Whoever approves sees what is said beside the policies, too: another cap widens as another policy does.
    #[test]
    fn n_088_sets_differ_by_what_is_said_beside_the_policies() {
        let one = set(r#"@id("one") permit (principal, action, resource);"#);
        let budget = |cap: u8| {
            let it =
                format!("{{ description: x, match: {{}}, amount: calls, cap: {cap}, per: task }}");
            format!("budgets:\n  it: {it}\n")
        };
        let with = |cap: u8| PolicyFiles { budgets: Some(budget(cap)), ..one.clone() };
        let labelled = PolicyFiles { labels: Some("labels: {}\n".to_owned()), ..with(5) };
        let check = |a: &PolicyFiles, b: &PolicyFiles, expected: Expect| {
            expected.assert_eq(&difference(a, b).expect("both can be read"));
        };
        check(&with(5), &with(5), expect![""]);
        check(
            &with(5),
            &with(9),
            expect![[r"
                file `budgets.yaml` says something else: a widening
                changed file `budgets.yaml`
                    budgets:
                  -   it: { description: x, match: {}, amount: calls, cap: 5, per: task }
                  +   it: { description: x, match: {}, amount: calls, cap: 9, per: task }
            "]],
        );
        check(
            &labelled,
            &one,
            expect![[r"
                file `budgets.yaml` is gone: a widening
                removed file `budgets.yaml`
                  - budgets:
                  -   it: { description: x, match: {}, amount: calls, cap: 5, per: task }
                removed file `labels.yaml`
                  - labels: {}
            "]],
        );
    }

    #[test]
    fn what_is_only_observed_from_now_on_is_named_a_widening_and_labels_are_shown() {
        let guard = r#"@id("guard") forbid (principal, action, resource);"#;
        let observed = format!("@mode(\"observe\")\n{guard}");
        check(
            guard,
            &observed,
            &expect![[r#"
            policy `guard` is only observed from now on: a widening
            changed policy `guard`
              + @mode("observe")
                @id("guard")
                forbid (principal, action, resource);
        "#]],
        );
        let labelled =
            PolicyFiles { labels: Some("labels: { external: x }\n".to_owned()), ..set(guard) };
        let differs = difference(&set(guard), &labelled).expect("both can be read");
        assert_eq!(differs, "added file `labels.yaml`\n  + labels: { external: x }\n");
    }
}
