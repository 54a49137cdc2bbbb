//! The other end of a holder: who it holds the key for is the process that started this one.
//!
//! Shims find the holder by a socket in a directory of this user's alone, whose name says which
//! client process, which agent and which gateway. Who is first starts it.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail, ensure};
use futures::{SinkExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio_util::codec::{Framed, LinesCodec};

use super::credentials::Shown;
use super::instance::NoToken;
use super::{Initiation, Options, Platform};
use crate::socket;

/// The longest message between shim and holder, in bytes.
const LINE_MAX: usize = 64 * 1024;

/// What a holder prints when it can be reached.
pub(super) const READY: &str = "ready";

/// What a shim asks of a holder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Ask {
    /// What a request for a method to a server shows.
    Show(String, String),
    /// The same, in place of a token that the gateway did not take.
    ShowAnother(String, String),
    /// Remember the gateway's nonce.
    Nonce(String),
}

/// What a holder says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Told {
    /// Token and proof.
    Shown(String, String),
    /// It is done.
    Done,
    /// There is no token, for this reason.
    NoToken(String),
    /// It cannot be done now, for this reason.
    Refused(String),
}

impl From<anyhow::Result<Shown>> for Told {
    fn from(shown: anyhow::Result<Shown>) -> Self {
        match shown {
            Ok(shown) => Self::Shown(shown.token, shown.proof),
            Err(error) if error.is::<NoToken>() => Self::NoToken(error.to_string()),
            Err(error) => Self::Refused(format!("{error:#}")),
        }
    }
}

/// A connection between shim and holder.
pub(super) type Wire = Framed<UnixStream, LinesCodec>;

/// Messages on `stream`: one a line.
pub(super) fn wire(stream: UnixStream) -> Wire {
    Framed::new(stream, LinesCodec::new_with_max_length(LINE_MAX))
}

/// The client process for which a key is held.
#[derive(Clone, Copy, Debug)]
struct Client {
    pid: u32,
    since: u64,
}

/// A holder as one shim reaches it.
pub(crate) struct Held {
    options: Options,
    client: Client,
    place: PathBuf,
    wire: Mutex<Option<Wire>>,
}

impl Held {
    /// The holder for the process that started this one; it is started if need be. The agent's key
    /// is `pem`.
    pub(super) async fn meet(options: &Options, pem: Option<&str>) -> anyhow::Result<Self> {
        let parent =
            rustix::process::getppid().and_then(|pid| u32::try_from(pid.as_raw_pid()).ok());
        let client = parent.and_then(|pid| Some(Client { pid, since: crate::host::started(pid)? }));
        let client = client.context("could not find out which process started this one")?;
        let mut options = options.clone();
        for path in options.key.iter_mut().chain([&mut options.host]) {
            *path = std::path::absolute(&*path)?;
        }
        let place = own_directory()?.join(name(&options, client, pem));
        let held = Self { options, client, place, wire: Mutex::new(None) };
        *held.wire.lock().await = Some(held.connect().await?);
        Ok(held)
    }

    pub(super) async fn show(&self, (method, server): (&str, &str)) -> anyhow::Result<Shown> {
        self.shown(Ask::Show(method.to_owned(), server.to_owned())).await
    }

    pub(super) async fn show_another(
        &self,
        (method, server): (&str, &str),
    ) -> anyhow::Result<Shown> {
        self.shown(Ask::ShowAnother(method.to_owned(), server.to_owned())).await
    }

    async fn shown(&self, ask: Ask) -> anyhow::Result<Shown> {
        match self.ask(&ask).await? {
            Told::Shown(token, proof) => Ok(Shown { token, proof }),
            Told::NoToken(why) => Err(NoToken(why).into()),
            Told::Refused(why) => bail!("{why}"),
            Told::Done => bail!("the holder of the key has nothing to show"),
        }
    }

    pub(super) async fn note_nonce(&self, nonce: &str) {
        if let Err(error) = self.ask(&Ask::Nonce(nonce.to_owned())).await {
            tracing::debug!("the holder of the key was not told: {error:#}");
        }
    }

    /// Asks the holder; one that has ended is followed by another.
    async fn ask(&self, ask: &Ask) -> anyhow::Result<Told> {
        let mut wire = self.wire.lock().await;
        // Taken out: who stops waiting leaves no wire with an answer that is nobody's.
        if let Some(mut open) = wire.take()
            && let Ok(told) = exchange(&mut open, ask).await
        {
            *wire = Some(open);
            return Ok(told);
        }
        let mut fresh = self.connect().await?;
        let told = exchange(&mut fresh, ask).await?;
        *wire = Some(fresh);
        Ok(told)
    }

    /// Connects to the holder, which is started if nobody answers.
    async fn connect(&self) -> anyhow::Result<Wire> {
        if let Some(wire) = self.reach().await? {
            return Ok(wire);
        }
        // One at a time: two holders would be two instances.
        let lock = File::create(self.place.with_file_name("lock"))?;
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
        if let Some(wire) = self.reach().await? {
            return Ok(wire);
        }
        let _ = fs::remove_file(&self.place);
        self.start().await?;
        drop(lock);
        self.reach().await?.context("the holder of the key ended at once")
    }

    async fn reach(&self) -> anyhow::Result<Option<Wire>> {
        let Ok(stream) = UnixStream::connect(&self.place).await else { return Ok(None) };
        ensure!(socket::is_own(&stream), "`{}` is somebody else's", self.place.display());
        Ok(Some(wire(stream)))
    }

    /// Starts a holder, which outlives this process, and waits until it can be reached.
    async fn start(&self) -> anyhow::Result<()> {
        let Options { agent, key, is_device, platform, url, host, initiation, .. } = &self.options;
        // What runs here, even if another program has its name by now.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("chancery").arg("holder");
        command.args(["--client", &self.client.pid.to_string()]);
        command.args(["--since", &self.client.since.to_string()]);
        command.arg("--meet").arg(&self.place).args(["--agent", agent, "--url", url]);
        command.arg("--host-socket").arg(host).current_dir("/");
        if let Some(key) = key {
            command.arg("--key").arg(key);
        }
        if *is_device {
            command.arg("--device");
        }
        command.args(platform.iter().flat_map(Platform::typed));
        if let Some(initiation) = initiation {
            command.arg("--initiation").arg(&initiation.file);
            command.args(["--initiation-digest", &initiation.digest()]);
        }
        // Who waits for the end of this process's streams must not wait for that one.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut holder = command.spawn().context("could not start a holder for the key")?;
        let output = BufReader::new(holder.stdout.take().context("no output")?);
        let said = output.lines().next_line().await?.unwrap_or_default();
        ensure!(said == READY, "the holder of the key did not start: {said}");
        Ok(())
    }
}

async fn exchange(wire: &mut Wire, ask: &Ask) -> anyhow::Result<Told> {
    wire.send(serde_json::to_string(ask)?).await?;
    let line = wire.next().await.context("the holder of the key has ended")??;
    Ok(serde_json::from_str(&line)?)
}

/// The name of the socket: who has the same client, agent, key, gateway and program meets there, to
/// do the work that was started by the same word.
fn name(options: &Options, client: Client, pem: Option<&str>) -> String {
    let Options { agent, key, is_device, platform, url, host, initiation, .. } = options;
    let begun = initiation.as_ref().map(Initiation::digest);
    let shown = platform.as_ref().map(Platform::typed);
    let who = (client.pid, client.since, agent, (key, is_device), pem, begun, shown);
    let all = (env!("CARGO_PKG_VERSION"), who, url, host);
    let digest =
        Sha256::digest(serde_json::to_vec(&all).expect("paths and texts have a JSON form"));
    let digest = keys::base64url(&digest);
    format!("{}-{}.sock", client.pid, digest.get(..22).unwrap_or(&digest))
}

/// The directory in which shims meet, which nobody else can enter.
fn own_directory() -> anyhow::Result<PathBuf> {
    let dir = crate::dev::meeting_dir();
    let dir = dir.context("no place to meet others of this client: set XDG_RUNTIME_DIR or HOME")?;
    private(&dir)?;
    Ok(dir)
}

fn private(dir: &Path) -> anyhow::Result<()> {
    let create = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    create.with_context(|| format!("could not create `{}`", dir.display()))?;
    let found = fs::symlink_metadata(dir)?;
    let own = found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw();
    ensure!(
        own && found.mode() & 0o777 == 0o700,
        "`{}` is not a directory of this user's alone (0700)",
        dir.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn shims_meet_only_where_nobody_else_can_enter() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("own");
        assert!(private(&own).is_ok());
        assert_eq!(fs::metadata(&own).unwrap().mode() & 0o777, 0o700);
        for mode in [0o710, 0o701, 0o770] {
            fs::set_permissions(&own, fs::Permissions::from_mode(mode)).unwrap();
            assert!(private(&own).is_err(), "{mode:o}");
        }
        fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&own, &link).unwrap();
        assert!(private(&link).is_err(), "a link leads who knows where");
    }

    #[test]
    fn that_there_is_no_token_is_told_apart_from_what_may_work_later() {
        let told = |error: anyhow::Error| {
            let line = serde_json::to_string(&Told::from(Err(error))).unwrap();
            let told = serde_json::from_str::<Told>(&line).unwrap();
            matches!(told, Told::NoToken(why) if why == "no")
        };
        assert!(told(NoToken("no".to_owned()).into()));
        assert!(!told(anyhow::anyhow!("no")));
    }

    #[test]
    fn another_client_agent_gateway_key_or_work_is_another_meeting_place() {
        let options = |agent: &str, url: &str| Options {
            server: "s".to_owned(),
            agent: agent.to_owned(),
            key: Some("/k".into()),
            is_device: false,
            platform: None,
            url: url.to_owned(),
            host: "/h".into(),
            initiation: None,
            listen: None,
        };
        let client = |pid, since| Client { pid, since };
        let first = name(&options("a", "u"), client(1, 2), Some("pem"));
        let mut same = options("a", "u");
        same.server = "another".to_owned();
        assert_eq!(name(&same, client(1, 2), Some("pem")), first);
        let mut begun = options("a", "u");
        begun.initiation = Some(Initiation { file: "/i".into(), text: "begun".to_owned() });
        for other in [
            name(&options("b", "u"), client(1, 2), Some("pem")),
            name(&options("a", "v"), client(1, 2), Some("pem")),
            name(&options("a", "u"), client(3, 2), Some("pem")),
            name(&options("a", "u"), client(1, 3), Some("pem")),
            name(&options("a", "u"), client(1, 2), Some("other")),
            name(&begun, client(1, 2), Some("pem")),
        ] {
            assert_ne!(other, first);
        }
    }
}
