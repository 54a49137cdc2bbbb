//! `chancery policy publish | approve | activate | rollback | history | diff`: what the service is asked of
//! releases, and what a founder signs for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use model::{Clock as _, PolicyDigest, Release, ReleaseTerms};
use pap::{Command as Asked, PolicyFiles, ReleaseAsked};
use pdp::Bundle;
use serde_json::Value;

use crate::cli::Signed;
use crate::policy_set::PolicySet;
use crate::socket;
use crate::system::SystemClock;
use crate::words::word;

/// The most lines of two policies that are held against each other line by line.
const LINES_MAX: usize = 2_000;

/// Publishes the set in `dir`, if its cases hold.
pub(crate) async fn publish(
    (dir, expires): (&Path, Option<Duration>),
    signed: Signed,
    socket: &Path,
) -> anyhow::Result<Value> {
    crate::policy::held(dir)?;
    let files = PolicySet::read(dir)?.files;
    let content = Bundle::from(files.clone()).digest();
    let expires = expires.map(|after| SystemClock::new().now().plus(after));
    let version = newest(socket).await? + 1;
    let asked = ReleaseAsked { version, content, expires, rollback_of: None };
    propose((asked, Some(files)), signed, socket).await
}

/// Publishes what the release `old` held.
pub(crate) async fn roll_back(old: u64, signed: Signed, socket: &Path) -> anyhow::Result<Value> {
    let (release, _) = release(old, socket).await?;
    let version = newest(socket).await? + 1;
    let content = release.terms.content;
    let asked = ReleaseAsked { version, content, expires: None, rollback_of: Some(old) };
    propose((asked, None), signed, socket).await
}

async fn propose(
    (asked, files): (ReleaseAsked, Option<PolicyFiles>),
    signed: Signed,
    socket: &Path,
) -> anyhow::Result<Value> {
    let said = ReleaseTerms::from(asked.clone()).published();
    let word = word(signed, async { Ok(said) }).await?;
    socket::call(socket, &Asked::PolicyPublish { asked, files, word }).await
}

/// Approves a release: for what the service tells of it, which its approver is shown, and for nothing else.
pub(crate) async fn approve(version: u64, signed: Signed, socket: &Path) -> anyhow::Result<Value> {
    let word = word(signed, shown(version, socket)).await?;
    socket::call(socket, &Asked::PolicyApprove { version, word }).await
}

async fn shown(version: u64, socket: &Path) -> anyhow::Result<Value> {
    let (release, files) = release(version, socket).await?;
    let author = release.author.as_ref().context("nobody published it")?;
    let active = active(socket).await?;
    let terms = serde_json::to_string(&release.terms)?;
    let differs = difference(&active, &files)?;
    // Whoever published wrote it: what is shown is what is signed.
    let shown = format!("release {terms} of {}, which changes:\n{differs}", author.person);
    eprintln!("chancery: you sign for {}", lines(&shown));
    Ok(release.approval())
}

/// What somebody else wrote, line by line, as it can be shown.
fn lines(text: &str) -> String {
    text.lines().map(mcp::render_untrusted).collect::<Vec<_>>().join("\n")
}

/// The content of the release in force.
pub(crate) async fn active(socket: &Path) -> anyhow::Result<PolicyFiles> {
    let history = socket::call(socket, &Asked::PolicyHistory).await?;
    match history["active"].as_u64() {
        Some(version) if version > 0 => Ok(release(version, socket).await?.1),
        _ => Ok(PolicyFiles::default()),
    }
}

async fn newest(socket: &Path) -> anyhow::Result<u64> {
    let history = socket::call(socket, &Asked::PolicyHistory).await?;
    history["newest"].as_u64().context("the service told no version")
}

/// A release with its content, which is what its digest says.
async fn release(version: u64, socket: &Path) -> anyhow::Result<(Release, PolicyFiles)> {
    let mut told = socket::call(socket, &Asked::PolicyRelease { version }).await?;
    let release: Release = serde_json::from_value(told["release"].take())?;
    let files: PolicyFiles = serde_json::from_value(told["files"].take())?;
    let content: PolicyDigest = Bundle::from(files.clone()).digest();
    ensure!(content == release.terms.content, "the content is not what its digest says");
    Ok((release, files))
}

/// All releases, the newest last, and what is in force: a line each.
pub(crate) fn history(told: &Value) -> String {
    let mut all = String::new();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    for release in told["releases"].as_array().into_iter().flatten() {
        let (terms, state) = (&release["terms"], &release["state"]);
        let by = |signed: &Value| text(&signed["person"]);
        let rollback = terms["rollback_of"].as_u64().map(|of| format!(", rollback of {of}"));
        let expires = terms["expires"]
            .as_i64()
            .map(|at| format!(", expires {}", model::Timestamp::from_millis(at)));
        let _ = writeln!(
            all,
            "{} {} by {}, approved by {}, content {}{}{}",
            terms["version"],
            text(&state["is"]),
            by(&release["author"]),
            by(&state["approver"]),
            text(&terms["content"]),
            rollback.unwrap_or_default(),
            expires.unwrap_or_default(),
        );
    }
    let in_force = &told["in_force"];
    let of = in_force["release"].as_u64();
    let of = of.map_or_else(|| "files".to_owned(), |release| format!("release {release}"));
    let _ = writeln!(all, "in force: {of}, digest {}", text(&in_force["digest"]));
    all
}

/// How two sets differ, each a version or a directory; whether they do.
pub(crate) async fn diff([a, b]: [&str; 2], socket: &Path) -> anyhow::Result<String> {
    let (a, b) = (side(a, socket).await?, side(b, socket).await?);
    difference(&a, &b)
}

async fn side(named: &str, socket: &Path) -> anyhow::Result<PolicyFiles> {
    match named.parse() {
        Ok(version) => Ok(release(version, socket).await?.1),
        Err(_) => Ok(PolicySet::read(Path::new(named))?.files),
    }
}

/// The policies, the schema parts, and what is said beside them, that `b` has otherwise than `a`.
fn difference(a: &PolicyFiles, b: &PolicyFiles) -> anyhow::Result<String> {
    let by_id = |files: &PolicyFiles| pdp::by_id(&files.policies).map_err(|it| anyhow!("{it}"));
    let policies = compared("policy", &by_id(a)?, &by_id(b)?);
    let beside = compared("file", &beside(a), &beside(b));
    Ok(policies + &compared("schema", &a.schema, &b.schema) + &beside)
}

/// What the set says beside its policies, by file.
fn beside(files: &PolicyFiles) -> BTreeMap<String, String> {
    let all = [
        (pdp::LABELS_FILE, &files.labels),
        (pdp::BUDGETS_FILE, &files.budgets),
        (pdp::STRICTNESS_FILE, &files.strictness),
    ];
    all.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.clone()?))).collect()
}

fn compared(what: &str, a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> String {
    let mut all = String::new();
    let ids: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
    for id in ids {
        let (old, new) = (a.get(id), b.get(id));
        let how = match (old, new) {
            (Some(old), Some(new)) if old == new => continue,
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "removed",
            _ => "added",
        };
        let _ = writeln!(all, "{how} {what} `{id}`");
        let text = |side: Option<&String>| side.cloned().unwrap_or_default();
        all.push_str(&by_line(&text(old), &text(new)));
    }
    all
}

/// The lines that only one of both has, in the order in which they stand, with those of both between them.
fn by_line(old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    if old.len().max(new.len()) > LINES_MAX {
        return format!("  ({} lines became {})\n", old.len(), new.len());
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
    let (mut i, mut j, mut all) = (0, 0, String::new());
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
        let _ = writeln!(all, "  {mark} {line}");
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
        let with = |cap: u8| PolicyFiles { budgets: Some(format!("cap: {cap}\n")), ..one.clone() };
        let labelled = PolicyFiles { labels: Some("labels: {}\n".to_owned()), ..with(5) };
        let check = |a: &PolicyFiles, b: &PolicyFiles, expected: Expect| {
            expected.assert_eq(&difference(a, b).expect("both can be read"));
        };
        check(&with(5), &with(5), expect![""]);
        check(
            &with(5),
            &with(9),
            expect![[r"
                changed file `budgets.yaml`
                  - cap: 5
                  + cap: 9
            "]],
        );
        check(
            &labelled,
            &one,
            expect![[r"
                removed file `budgets.yaml`
                  - cap: 5
                removed file `labels.yaml`
                  - labels: {}
            "]],
        );
    }
}
