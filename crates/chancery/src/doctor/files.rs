//! Who else can read or change what only the service should.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::Observation;
use crate::config::Config;

const AREA: &str = "files";

/// What others may not do with a file.
#[derive(Clone, Copy)]
enum Kept {
    /// Neither read nor write.
    Secret,
    /// Not write.
    Whole,
}

/// Looks at keys, database, socket, configuration, policy and header files.
pub(super) fn check(config: &Config) -> Vec<Observation> {
    let wrong: Vec<_> =
        watched(config).iter().filter_map(|(path, kept)| exposed(path, *kept)).collect();
    if wrong.is_empty() {
        let what = "keys, database, socket, configuration and policy are out of others' reach";
        return vec![Observation::ok(AREA, what)];
    }
    wrong
}

fn watched(config: &Config) -> Vec<(PathBuf, Kept)> {
    let state = [config.database(), config.admin_socket(), config.keys_dir()];
    let headers = config.servers.values().filter_map(|server| server.header_file.clone());
    let headers = headers.chain(config.findings.header_file.clone());
    let private = config.private.iter().cloned();
    let log_of_database = ["-wal", "-shm"].map(|end| {
        let mut name = config.database().into_os_string();
        name.push(end);
        PathBuf::from(name)
    });
    let tls = config.tls.iter().map(|tls| tls.key.clone());
    let is_public = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "pub");
    let keys = inside(&config.keys_dir()).into_iter().filter(|path| !is_public(path));
    let secret = state.into_iter().chain(keys).chain(headers).chain(tls);
    let secret = secret.chain(private).chain(log_of_database);
    let loose = config.policy.path.iter();
    let policy = loose.flat_map(|path| std::iter::once(path.clone()).chain(inside(path)));
    let whole = policy.chain([config.state_dir.clone(), config.log_dir()]);
    let secret = secret.map(|path| (path, Kept::Secret));
    secret.chain(whole.map(|path| (path, Kept::Whole))).collect()
}

/// What lies in a directory; nothing if it cannot be read.
fn inside(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// What others can do with `path`, if it is more than they may.
fn exposed(path: &Path, kept: Kept) -> Option<Observation> {
    // What is not there yet exposes nothing; the service says what it misses.
    let metadata = std::fs::metadata(path).ok()?;
    let mode = metadata.permissions().mode() & 0o777;
    let (forbidden, remedy) = match kept {
        Kept::Secret => (0o077, "go-rwx"),
        Kept::Whole => (0o022, "go-w"),
    };
    let name = path.display();
    if mode & forbidden != 0 {
        let what = format!("`{name}` has mode {mode:o}: others can use it");
        return Some(Observation::broken(AREA, what, format!("chmod {remedy} {name}")));
    }
    let (own, owner) = (nix::unistd::geteuid().as_raw(), metadata.uid());
    (owner != own && owner != 0).then(|| {
        let what = format!("`{name}` belongs to the user {owner}, and this is the user {own}");
        Observation::weak(
            AREA,
            what,
            "run `chancery doctor` as the service's user, or chown the file",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_can_use_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        std::fs::write(&path, "x").expect("it is ours");
        let check = |mode: u32, kept: Kept, wanted: bool| {
            let set = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode));
            set.expect("it is ours");
            assert_eq!(exposed(&path, kept).is_some(), wanted, "{mode:o}");
        };
        check(0o600, Kept::Secret, false);
        check(0o640, Kept::Secret, true);
        check(0o601, Kept::Secret, true);
        check(0o644, Kept::Whole, false);
        check(0o664, Kept::Whole, true);
        check(0o602, Kept::Whole, true);
        assert!(exposed(&dir.path().join("absent"), Kept::Secret).is_none());
    }
}
