//! Where the development deployment that runs is: one small file of this user's own.
//!
//! `mcp` and the administrative commands use it when neither flag nor environment says otherwise.
//! It holds no secret, but whoever could write it could lead this user's agents elsewhere: it is
//! believed only if it is this user's and nobody else can touch it. It is removed when `dev` ends.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, bail};
use model::{AgentName, Sha256Digest};
use serde::{Deserialize, Serialize};

/// The name of the file, below the user's directory for state (XDG Base Directory, `STATE_HOME`).
const FILE: &str = "chancery/dev.json";

/// That directory, below the home directory, where nothing else is said.
const USUAL_STATE: &str = ".local/state";

/// The secret of which the URLs of this user's `mcp --listen` are made, beside the file.
const LISTEN_SECRET: &str = "listen.secret";

/// The socket of the deployment in the working directory.
const OWN_SOCKET: &str = "state/admin.sock";

/// The socket beside that of the administrator at which the host vouches for processes.
const HOST_SOCKET: &str = "host.sock";

/// That of a service that nothing else is said of.
const DEFAULT_HOST_SOCKET: &str = "/run/chancery/host.sock";

/// The URL of a gateway that nothing else is said of.
const DEFAULT_URL: &str = "http://127.0.0.1:8420";

/// Where a development deployment is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// The base URL of its gateway.
    pub(crate) url: String,
    /// Its administrator's socket.
    pub(crate) socket: PathBuf,
    /// The directory of its agents' keys.
    pub(crate) keys: PathBuf,
}

/// The file while `dev` runs. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Announced {
    path: PathBuf,
    place: Place,
}

impl Place {
    /// Says where the deployment is, for this user alone. Refused while another one runs.
    pub(crate) fn announce(self) -> anyhow::Result<Option<Announced>> {
        let Some(path) = file(std::env::var) else { return Ok(None) };
        refuse_second(&path)?;
        let parent = path.parent().context("the file has a directory")?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .with_context(|| format!("could not create `{}`", parent.display()))?;
        let text = serde_json::to_vec(&self)?;
        // Beside it first: nobody reads half a file, and what stood there is replaced whole.
        let beside = path.with_extension(format!("{}.new", std::process::id()));
        let _ = fs::remove_file(&beside);
        keys::write_private(&beside, &text)?;
        fs::rename(&beside, &path)
            .with_context(|| format!("could not write `{}`", path.display()))?;
        Ok(Some(Announced { path, place: self }))
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        // Not if somebody else's stands there by now.
        if read(&self.path).is_ok_and(|found| found.as_ref() == Some(&self.place)) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The development deployment that this user runs, if one does.
pub(crate) fn found() -> Option<&'static Place> {
    static FOUND: OnceLock<Option<Place>> = OnceLock::new();
    let find = || match read(&file(std::env::var)?) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("chancery: what `chancery dev` wrote is not used: {error:#}");
            None
        }
    };
    FOUND.get_or_init(find).as_ref()
}

/// The administrator's socket where nothing else is said: that of the deployment in the working
/// directory, if there is one, else that of the development deployment.
pub(crate) fn socket() -> PathBuf {
    let own = PathBuf::from(OWN_SOCKET);
    if own.exists() {
        return own;
    }
    found().map_or(own, |place| place.socket.clone())
}

/// The gateway where nothing else is said.
pub(crate) fn url() -> String {
    found().map_or_else(|| DEFAULT_URL.to_owned(), |place| place.url.clone())
}

/// The socket at which the host vouches for processes where nothing else is said.
pub(crate) fn host_socket() -> PathBuf {
    found().map_or_else(
        || DEFAULT_HOST_SOCKET.into(),
        |place| place.socket.with_file_name(HOST_SOCKET),
    )
}

/// The directory in which `mcp` meets others of this user: below the one for what runs, if there is
/// one, else below the one for state (XDG Base Directory).
pub(crate) fn meeting_dir() -> Option<PathBuf> {
    meeting_dir_of(std::env::var)
}

/// What no tool server of this user's may reach: where `mcp` meets others, and what this user keeps below
/// the directory for state, the keys of devices among it. Who logs in may have other variables than a
/// service of the same user, so the usual place is one whatever they say.
pub(crate) fn private_places() -> Vec<PathBuf> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    private_places_of(std::env::var, user.map(|user| user.dir))
}

fn private_places_of<E>(
    variable: impl Fn(&'static str) -> Result<String, E>,
    home: Option<PathBuf>,
) -> Vec<PathBuf> {
    let usual = home.map(|home| home.join(USUAL_STATE).join(FILE));
    let state = file(&variable).into_iter().chain(usual);
    let state = state.filter_map(|file| file.parent().map(Path::to_owned));
    let all: BTreeSet<_> = meeting_dir_of(&variable).into_iter().chain(state).collect();
    all.into_iter().collect()
}

fn meeting_dir_of<E>(variable: impl Fn(&'static str) -> Result<String, E>) -> Option<PathBuf> {
    let runtime = variable("XDG_RUNTIME_DIR").ok().map(PathBuf::from);
    let runtime = runtime.filter(|path| path.is_absolute() && path.is_dir());
    let runtime = runtime.map(|runtime| runtime.join("chancery"));
    runtime.or_else(|| file(variable)?.parent().map(|state| state.join("run")))
}

/// The file of `agent`'s key where nothing else is said.
pub(crate) fn key_file(agent: &str) -> anyhow::Result<PathBuf> {
    let place = found().with_context(|| {
        format!(
            "name the key of agent `{agent}` with `--key` or CHANCERY_AGENT_KEY, or enrol this device \
             with `chancery login --agent {agent}`: no `chancery dev` runs that would have the key"
        )
    })?;
    let path = place.keys.join(format!("{agent}.pem"));
    if !path.exists() {
        bail!(
            "there is no key of agent `{agent}` in `{}`: register it with `chancery agent add \
             {agent}`, or name its key with `--key`",
            place.keys.display()
        );
    }
    Ok(path)
}

/// The file of the key by which this user's device vouches for instances of `agent` at the gateway
/// `url`, whether there is one or not.
pub(crate) fn device_file(url: &str, agent: &str) -> anyhow::Result<PathBuf> {
    let agent: AgentName = agent.parse()?;
    let file = file(std::env::var).context("no place for the key: set XDG_STATE_HOME or HOME")?;
    let at = Sha256Digest::of(url.trim_end_matches('/').as_bytes()).to_string();
    let at = at.get(..16).unwrap_or(&at);
    Ok(file.with_file_name("devices").join(format!("{agent}-{at}.pem")))
}

/// The file of the secret of which the URLs of this user's `mcp --listen` are made.
pub(crate) fn listen_secret_file() -> anyhow::Result<PathBuf> {
    let file = file(std::env::var).context("no place for a secret: set XDG_STATE_HOME or HOME")?;
    Ok(file.with_file_name(LISTEN_SECRET))
}

/// Where the key of a new agent is written: with the others of the development deployment, or
/// beside the socket of another one.
pub(crate) fn new_key_file(socket: &Path, agent: &str) -> PathBuf {
    let name = format!("{agent}.pem");
    match found().filter(|place| place.socket == socket) {
        Some(place) => place.keys.join(name),
        None => socket.with_file_name(name),
    }
}

/// The path of the file, by what the environment says; a relative directory means nothing (XDG).
fn file<E>(variable: impl Fn(&'static str) -> Result<String, E>) -> Option<PathBuf> {
    let absolute = |name| variable(name).ok().map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || absolute("HOME").map(|home| home.join(USUAL_STATE));
    absolute("XDG_STATE_HOME").or_else(home).map(|state| state.join(FILE))
}

/// What is in the file at `path`, which is this user's and nobody else can touch; nothing if there is none.
pub(crate) fn read_own(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(None) };
    if !metadata.is_file() || metadata.uid() != nix::unistd::geteuid().as_raw() {
        bail!("`{}` is not a file of this user's", path.display());
    }
    Ok(Some(keys::read_private(path)?))
}

/// What the file says; nothing if there is none.
fn read(path: &Path) -> anyhow::Result<Option<Place>> {
    let Some(bytes) = read_own(path)? else { return Ok(None) };
    let place = serde_json::from_slice(&bytes);
    place.map(Some).with_context(|| format!("`{}` is not what `dev` writes", path.display()))
}

fn refuse_second(path: &Path) -> anyhow::Result<()> {
    let Some(other) = read(path)? else { return Ok(()) };
    if UnixStream::connect(&other.socket).is_ok() {
        bail!(
            "another development deployment runs at {}: stop it first, or give this one a state \
             directory of its own with XDG_STATE_HOME",
            other.url
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn check(variables: &[(&str, &str)], expected: Option<&str>) {
        let variable = |name: &'static str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned()).ok_or(())
        };
        assert_eq!(file(variable), expected.map(PathBuf::from));
    }

    #[test]
    fn the_file_is_below_the_users_own_state() {
        check(&[("HOME", "/home/u")], Some("/home/u/.local/state/chancery/dev.json"));
        let both = [("HOME", "/home/u"), ("XDG_STATE_HOME", "/s")];
        check(&both, Some("/s/chancery/dev.json"));
        let relative = [("HOME", "/home/u"), ("XDG_STATE_HOME", "s")];
        check(&relative, Some("/home/u/.local/state/chancery/dev.json"));
        check(&[("HOME", "")], None);
    }

    #[test]
    fn shims_meet_below_the_users_own_directories() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = dir.path().display().to_string();
        let check = |runtime: &str, expected: &str| {
            let variable = |name: &'static str| match name {
                "XDG_RUNTIME_DIR" => Ok(runtime.to_owned()),
                "HOME" => Ok("/home/u".to_owned()),
                _ => Err(()),
            };
            assert_eq!(meeting_dir_of(variable), Some(expected.into()), "{runtime}");
        };
        check(&runtime, &format!("{runtime}/chancery"));
        for wrong in ["", "relative", "/nowhere/at/all"] {
            check(wrong, "/home/u/.local/state/chancery/run");
        }
    }

    #[test]
    fn what_shims_and_devices_keep_is_private_whatever_the_variables() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = dir.path().display().to_string();
        let check = |variables: &[(&str, &str)], expected: &[&str]| {
            let variable = |name: &'static str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned()).ok_or(())
            };
            let places = private_places_of(variable, Some("/home/u".into()));
            let expected: BTreeSet<_> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(places.into_iter().collect::<BTreeSet<_>>(), expected, "{variables:?}");
        };
        let usual = "/home/u/.local/state/chancery";
        check(&[], &[usual]);
        check(&[("HOME", "/home/u")], &[usual, &format!("{usual}/run")]);
        let state = [("XDG_STATE_HOME", "/s")];
        check(&state, &[usual, "/s/chancery", "/s/chancery/run"]);
        let both = [("XDG_RUNTIME_DIR", runtime.as_str()), ("HOME", "/home/u")];
        check(&both, &[usual, &format!("{runtime}/chancery")]);
    }

    #[test]
    fn a_file_that_others_can_touch_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dev.json");
        assert_eq!(read(&path).unwrap(), None);
        let place = Place { url: "u".to_owned(), socket: "s".into(), keys: "k".into() };
        keys::write_private(&path, &serde_json::to_vec(&place).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(place));
        for mode in [0o620, 0o602, 0o604] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(read(&path).is_err(), "{mode:o}");
        }
        let link = dir.path().join("link.json");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read(&link).is_err(), "a link leads who knows where");
    }
}
