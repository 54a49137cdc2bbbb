//! `chancery policy publish | approve | activate | rollback | history | diff`: what the service is asked of
//! releases, and what a founder signs for it.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use model::{Base, Clock as _, PersonId, PolicyDigest, Release, ReleaseTerms, Timestamp};
use pap::{Command as Asked, PolicyFiles, ReleaseAsked};
use pdp::Bundle;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::Signed;
use crate::difference::difference;
use crate::policy_set::PolicySet;
use crate::socket;
use crate::system::SystemClock;
use crate::words::word;

/// Publishes the set in `dir`, if its cases hold.
pub(crate) async fn publish(
    (dir, expires, prove): (&Path, Option<Duration>, bool),
    (owner, signed): (Option<PersonId>, Signed),
    socket: &Path,
) -> anyhow::Result<Value> {
    // Read once: what is proved and tried is what is published.
    let set = PolicySet::read(dir)?;
    let cases = crate::policy::held(&set)?;
    eprintln!(
        "chancery: {cases} cases hold here, on the tools that they and the set describe; the service decides them again, \
         on those that are onboarded"
    );
    let content = Bundle::from(set.files.clone()).digest();
    let (version, is_required) = next(socket).await?;
    let proof = if prove || is_required {
        Some(Box::pin(crate::prove::proof(&set, is_required)).await?)
    } else {
        None
    };
    let expires = end(expires);
    let asked = ReleaseAsked { version, content, expires, rollback_of: None, proof, owner };
    propose((asked, Some(set.files)), signed, socket).await
}

/// Publishes what the release `old` held.
pub(crate) async fn roll_back(
    (old, expires): (u64, Option<Duration>),
    (owner, signed): (Option<PersonId>, Signed),
    socket: &Path,
) -> anyhow::Result<Value> {
    let content = told(old, socket).await?.release.terms.content;
    let (version, _) = next(socket).await?;
    let (expires, rollback_of) = (end(expires), Some(old));
    let asked = ReleaseAsked { version, content, expires, rollback_of, proof: None, owner };
    propose((asked, None), signed, socket).await
}

fn end(expires: Option<Duration>) -> Option<Timestamp> {
    expires.map(|after| SystemClock::new().now().plus(after))
}

async fn propose(
    (asked, files): (ReleaseAsked, Option<PolicyFiles>),
    signed: Signed,
    socket: &Path,
) -> anyhow::Result<Value> {
    let word = word(signed, async { Ok(ReleaseTerms::from(asked.clone()).published()) }).await?;
    let told = socket::call(socket, &Asked::PolicyPublish { asked, files, word }).await?;
    for warning in told["warnings"].as_array().into_iter().flatten() {
        eprintln!("chancery: warning: {}", lines(warning.as_str().unwrap_or_default()));
    }
    Ok(told)
}

/// What whoever approves names: the content that they mean, and where their own copy of the set is.
type Meant<'a> = (Option<PolicyDigest>, Option<&'a Path>);

/// Approves a release: for what the service tells of it, which its approver is shown, and for nothing else.
pub(crate) async fn approve(
    (version, meant): (u64, Meant<'_>),
    signed: Signed,
    socket: &Path,
) -> anyhow::Result<Value> {
    let word = word(signed, shown((version, meant), socket)).await?;
    socket::call(socket, &Asked::PolicyApprove { version, word }).await
}

async fn shown((version, (meant, own)): (u64, Meant<'_>), socket: &Path) -> anyhow::Result<Value> {
    let told = told(version, socket).await?;
    // Whoever published wrote it: what is shown is what is signed.
    eprintln!("chancery: you sign for {}", lines(&told.to_be_signed()?));
    let (_, is_required) = next(socket).await?;
    Box::pin(crate::prove::again((&told.release.terms, is_required), own)).await?;
    is_meant(&told, meant)?;
    Ok(told.release.approval_over(&told.base))
}

/// Whether whoever signs means what they were shown: they name its digest, or say so at a terminal.
fn is_meant(told: &Told, meant: Option<PolicyDigest>) -> anyhow::Result<()> {
    let ReleaseTerms { version, content, .. } = told.release.terms;
    if let Some(meant) = meant {
        ensure!(
            meant == content,
            "nothing was signed: release {version} has the content {content}"
        );
        return Ok(());
    }
    let base = told.base.version;
    ensure!(
        std::io::stdin().is_terminal(),
        "nothing was signed: say which content you mean with `--digest`, which `chancery policy diff {base} {version}` \
         shows with what changes, and `chancery policy history`"
    );
    eprint!("chancery: sign for this? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    ensure!(answer.trim() == "y", "nothing was signed");
    Ok(())
}

/// Puts a release in force, with what is shown of who is behind it.
pub(crate) async fn activate(
    (version, meant): (u64, Option<PolicyDigest>),
    socket: &Path,
) -> anyhow::Result<Value> {
    let release = told(version, socket).await?.release;
    let approver = release.approval().map(|it| &it.by.person);
    let author = release.author.as_ref().map(|by| &by.person);
    let owner = release.owner().map(|(owner, _)| owner);
    let [author, approver, owner] =
        [author, approver, owner].map(|person| person.map_or("nobody", PersonId::as_str));
    let content = release.terms.content;
    eprintln!(
        "chancery: release {version} of {author}, approved by {approver}, owned by {owner}, content {content}"
    );
    let content = Some(meant.unwrap_or(content));
    socket::call(socket, &Asked::PolicyActivate { version, content }).await
}

/// What somebody else wrote, line by line, as it can be shown.
fn lines(text: &str) -> String {
    text.lines().map(mcp::render_untrusted).collect::<Vec<_>>().join("\n")
}

/// The version of the release that is named by it, or by a directory: the newest with the content of that.
pub(crate) async fn named(release: &str, socket: &Path) -> anyhow::Result<u64> {
    if let Ok(version) = release.parse() {
        return Ok(version);
    }
    let told = listed(Some(Path::new(release)), socket).await?;
    let newest = told["releases"].as_array().and_then(|releases| releases.last());
    newest.and_then(|newest| newest["terms"]["version"].as_u64()).with_context(|| {
        format!("no release has the content of `{release}`: publish it, or name a version")
    })
}

/// What the service tells of releases: of those alone that have the content of the set in `dir`, if one is named.
pub(crate) async fn listed(dir: Option<&Path>, socket: &Path) -> anyhow::Result<Value> {
    let content = dir.map(PolicySet::read).transpose()?;
    let content = content.map(|set| Bundle::from(set.files).digest().to_string());
    let mut told = socket::call(socket, &Asked::PolicyHistory).await?;
    if let (Some(content), Some(releases)) = (content, told["releases"].as_array_mut()) {
        releases.retain(|release| release["terms"]["content"] == *content);
    }
    Ok(told)
}

/// The set in force.
pub(crate) async fn in_force(socket: &Path) -> anyhow::Result<PolicyFiles> {
    let mut told = socket::call(socket, &Asked::PolicyInForce).await?;
    Ok(serde_json::from_value(told["files"].take())?)
}

/// The version that is published next, and whether it has to be proved.
async fn next(socket: &Path) -> anyhow::Result<(u64, bool)> {
    let history = socket::call(socket, &Asked::PolicyHistory).await?;
    let newest = history["newest"].as_u64().context("the service told no version")?;
    Ok((newest + 1, history["requires_proof"] == true))
}

/// What the service tells of a release.
#[derive(Deserialize)]
struct Told {
    release: Release,
    files: PolicyFiles,
    /// What it would replace.
    base: Base,
    /// The content of that, if it can be read.
    replaced: Option<PolicyFiles>,
}

/// A release with its content, and that of what it would replace: both are what their digests say.
async fn told(version: u64, socket: &Path) -> anyhow::Result<Told> {
    let told = socket::call(socket, &Asked::PolicyRelease { version }).await?;
    let told: Told = serde_json::from_value(told)?;
    ensure!(told.release.terms.version == version, "the service told of another release");
    let contents = [
        (Some(&told.files), Some(told.release.terms.content)),
        (told.replaced.as_ref(), told.base.content),
    ];
    for (files, content) in contents {
        let is = files.map(|files| Bundle::from(files.clone()).digest());
        ensure!(
            is == content,
            "the content is not what its digest says, so nothing is done: publish the set again"
        );
    }
    Ok(told)
}

impl Told {
    /// All that is signed for, with what it changes.
    fn to_be_signed(&self) -> anyhow::Result<String> {
        let Self { release, files, base, replaced } = self;
        let author = release.author.as_ref().context("nobody published it")?;
        let terms = serde_json::to_string(&release.terms)?;
        let over = match (base, replaced) {
            (Base { version: 0, .. }, None) => "where nothing was released before".to_owned(),
            (Base { version, .. }, None) => format!(
                "in place of release {version}.\nTHAT RELEASE CANNOT BE READ: you are shown the whole set, as if \
                 nothing were in force, and not what changes"
            ),
            (Base { version, .. }, Some(_)) => format!("in place of release {version}"),
        };
        let differs = difference(&replaced.clone().unwrap_or_default(), files)?;
        let (author, owner) = (&author.person, release.owner().map_or(&author.person, |it| it.0));
        Ok(format!("release {terms} of {author}, owned by {owner}, {over}. It changes:\n{differs}"))
    }
}

/// All releases, the newest last, and what is in force: a line each.
pub(crate) fn history(told: &Value) -> String {
    let mut all = String::new();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    for release in told["releases"].as_array().into_iter().flatten() {
        let (terms, state) = (&release["terms"], &release["state"]);
        let by = |signed: &Value| text(&signed["person"]);
        let rollback = terms["rollback_of"].as_u64().map(|of| format!(", rollback of {of}"));
        let cases = release["cases"].as_u64().map(|cases| format!(", {cases} cases hold"));
        let proof = terms["proof"].as_str().map(|digest| format!(", proof {digest}"));
        let expires =
            terms["expires"].as_i64().map(|at| format!(", expires {}", Timestamp::from_millis(at)));
        let _ = writeln!(
            all,
            "{} {} by {}, approved by {}, owned by {}, content {}{}{}{}{}",
            terms["version"],
            text(&state["is"]),
            by(&release["author"]),
            by(&state["approval"]["by"]),
            text(&release["owner"]),
            text(&terms["content"]),
            cases.unwrap_or_default(),
            rollback.unwrap_or_default(),
            expires.unwrap_or_default(),
            proof.unwrap_or_default(),
        );
    }
    let in_force = &told["in_force"];
    all.push_str(&unanswered(told));
    let of = in_force["release"].as_u64();
    let none = if is_starter(told) { "the starter policy" } else { "files" };
    let of = of.map_or_else(|| none.to_owned(), |release| format!("release {release}"));
    let _ = writeln!(all, "in force: {of}, digest {}", text(&in_force["digest"]));
    let observed = &told["observed"];
    if let Some(release) = observed["release"].as_u64() {
        let _ = writeln!(
            all,
            "under observation: release {release}, digest {}, {} alike, {} newly denied, {} newly permitted, {} unanswered",
            text(&observed["digest"]),
            observed["alike"],
            observed["newly_denied"],
            observed["newly_permitted"],
            observed["unanswered"],
        );
    }
    all
}

/// Who is missing behind what is in force, in a line; nothing if nobody is.
fn unanswered(told: &Value) -> String {
    let (release, owner) = (&told["in_force"]["release"], told["in_force"]["owner"].as_str());
    let mut rows = told["releases"].as_array().into_iter().flatten();
    let row = rows.find(|row| row["terms"]["version"] == *release);
    let approval = row.map(|row| &row["state"]["approval"]);
    match (release.as_u64(), owner) {
        (Some(_), Some(_)) if approval.is_some_and(|it| !it.is_null()) => String::new(),
        (Some(release), Some(owner)) => {
            format!("release {release} is owned by {owner} alone: no second person approved it\n")
        }
        (Some(release), None) => format!("nobody owns release {release}, and nobody approved it\n"),
        (None, Some(owner)) => {
            format!("the files are owned by {owner} alone: no second person approved them\n")
        }
        (None, None) if is_starter(told) => {
            "nobody owns the starter policy: agents call nothing by it, and none is registered\n"
                .to_owned()
        }
        (None, None) => "nobody owns the files, and nobody approved them\n".to_owned(),
    }
}

/// Whether the starter policy is in force: files are in place of a release for development only.
fn is_starter(told: &Value) -> bool {
    told["in_force"]["release"].is_null() && told["development"] == false
}

/// The contents of two sets by their digests, and how they differ; each set is a version or a directory.
pub(crate) async fn diff([a, b]: [&str; 2], socket: &Path) -> anyhow::Result<(String, String)> {
    let (old, new) = (side(a, socket).await?, side(b, socket).await?);
    let content = |files: &PolicyFiles| Bundle::from(files.clone()).digest();
    let contents =
        format!("--- {a}, content {}\n+++ {b}, content {}\n", content(&old), content(&new));
    Ok((contents, difference(&old, &new)?))
}

async fn side(named: &str, socket: &Path) -> anyhow::Result<PolicyFiles> {
    match named.parse() {
        Ok(version) => Ok(told(version, socket).await?.files),
        Err(_) => Ok(PolicySet::read(Path::new(named))?.files),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R22: who is missing behind what is in force is said plainly.
    #[test]
    fn r_22_the_history_says_who_is_missing() {
        let check = |release: Option<u64>,
                     owner: Option<&str>,
                     approver: Option<&str>,
                     says: &str| {
            let approval = approver.map(|person| serde_json::json!({ "by": { "person": person } }));
            let told = serde_json::json!({
                "development": true, "releases": [{ "terms": { "version": 1 }, "state": { "is": "active", "approval": approval } }],
                "in_force": { "release": release, "owner": owner, "digest": "00" },
            });
            let history = history(&told);
            assert!(history.ends_with("digest 00\n"), "{history}");
            assert_eq!(history.lines().count(), if says.is_empty() { 2 } else { 3 }, "{history}");
            assert!(history.contains(says), "{history}");
        };
        check(Some(1), Some("ann"), Some("ben"), "");
        check(Some(1), Some("ann"), None, "release 1 is owned by ann alone: no second person");
        check(Some(1), None, None, "nobody owns release 1, and nobody approved it");
        check(None, Some("dev"), None, "the files are owned by dev alone: no second person");
        check(None, None, None, "nobody owns the files, and nobody approved them");
        let told = serde_json::json!({
            "development": false, "releases": [], "in_force": { "release": null, "digest": "00" },
        });
        let says = "nobody owns the starter policy: agents call nothing by it, and none is registered\n\
                    in force: the starter policy, digest 00\n";
        assert_eq!(history(&told), says);
    }

    /// Nobody signs by mistake: whoever has no terminal names what they mean.
    #[test]
    fn r_39_nothing_is_signed_that_is_not_meant() {
        let files = PolicyFiles::of([("a.cedar".to_owned(), String::new())].into());
        let content = Bundle::from(files.clone()).digest();
        let (version, expires, rollback_of, proof, owner) = (2, None, None, None, None);
        let terms = ReleaseTerms { version, content, expires, rollback_of, proof, owner };
        let state = model::ReleaseState::Proposed;
        let release = Release { terms, author: None, cases: None, state };
        let base = Base { version: 1, content: None };
        let told = Told { release, files, base, replaced: None };
        let other = Bundle::default().digest();
        assert!(is_meant(&told, Some(content)).is_ok());
        let why = is_meant(&told, Some(other)).expect_err("it is another").to_string();
        assert!(why.starts_with("nothing was signed: release 2 has the content"), "{why}");
    }
}
