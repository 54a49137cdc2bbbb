//! The process that holds the key of an instance: as long as the client lives whose instance it is.
//!
//! Every shim that the client starts asks here for a token and a proof for each of its requests. So
//! all of them are one instance with one task, and the key leaves no process. A shim that ends takes
//! nothing along.

use std::os::fd::OwnedFd;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::ensure;
use futures::{SinkExt as _, StreamExt as _};
use outbound::{HttpClient, http_client};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::task::TaskTracker;

use super::held::{Ask, READY, Told, wire};
use super::instance::Instance;
use super::{Initiation, Options, Platform, pem};
use crate::cli::Holder;
use crate::socket;

/// The most shims of one client.
const SHIMS_MAX: usize = 256;

/// How long to tell the service that the key is gone: longer than a busy one takes to decide.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(10);

/// What is held.
struct Holding {
    options: Options,
    pem: Option<String>,
    client: HttpClient,
    instance: RwLock<Arc<Instance>>,
}

/// Holds a key until the client has ended, and everybody who asked with it.
pub(crate) async fn run(holder: Holder) -> anyhow::Result<()> {
    // Whatever ends the client's own processes does not end this one.
    let _ = rustix::process::setsid();
    let begun = begin(&holder);
    let said = begun.as_ref().map_or_else(|error| format!("{error:#}"), |_| READY.to_owned());
    println!("{said}");
    let (holding, client, listener) = begun?;
    let shims = TaskTracker::new();
    let gone = async {
        let _ = tokio::task::spawn_blocking(move || ended(&client)).await;
        shims.close();
        shims.wait().await;
    };
    tokio::select! {
        () = serve(&listener, &shims, |shim| holding.clone().answer(shim)) => {}
        () = gone => {}
    }
    let _ = tokio::time::timeout(GIVE_UP_WITHIN, holding.give_up()).await;
    let _ = std::fs::remove_file(&holder.meet);
    Ok(())
}

fn begin(holder: &Holder) -> anyhow::Result<(Arc<Holding>, OwnedFd, UnixListener)> {
    let client = client(holder)?;
    let pem = pem(holder.key.as_deref())?;
    let platform = Platform::of(holder.workload_token.clone(), holder.spiffe_socket.as_deref())?;
    let initiation = holder.initiation.as_deref().map(Initiation::read).transpose()?;
    let read = initiation.as_ref().map(Initiation::digest);
    ensure!(read == holder.initiation_digest, "the initiation was replaced meanwhile");
    let options = Options {
        server: String::new(),
        agent: holder.agent.clone(),
        key: holder.key.clone(),
        is_device: holder.device,
        platform,
        url: holder.url.clone(),
        host: holder.host_socket.clone(),
        initiation,
        listen: None,
    };
    let instance = RwLock::new(Arc::new(Instance::new(&options, pem.as_deref())?));
    let holding = Holding { options, pem, client: http_client()?, instance };
    // The directory is this user's alone, so nobody connects before the mode is set.
    Ok((Arc::new(holding), client, socket::create(&holder.meet, 0o600)?))
}

/// The client, if it is still the process that it was.
fn client(holder: &Holder) -> anyhow::Result<OwnedFd> {
    let held = crate::host::held(holder.client)?;
    let since = crate::host::started(holder.client);
    ensure!(since == Some(holder.since), "the client is gone");
    Ok(held)
}

/// Waits until the client has ended.
fn ended(client: &OwnedFd) {
    let mut wanted = [PollFd::new(client, PollFlags::IN)];
    while rustix::event::poll(&mut wanted, None) == Err(Errno::INTR) {}
}

/// Lets `answer` deal with each shim of this user that comes, up to [`SHIMS_MAX`] at once.
async fn serve<A: Future<Output = ()> + Send + 'static>(
    listener: &UnixListener,
    shims: &TaskTracker,
    answer: impl Fn(UnixStream) -> A,
) {
    loop {
        let stream = socket::accept(listener).await;
        if socket::is_own(&stream) && shims.len() < SHIMS_MAX {
            shims.spawn(answer(stream));
        }
    }
}

impl Holding {
    /// Answers one shim until it goes away.
    async fn answer(self: Arc<Self>, stream: UnixStream) {
        self.begin_anew();
        let mut wire = wire(stream);
        while let Some(Ok(line)) = wire.next().await {
            let Ok(ask) = serde_json::from_str(&line) else { return };
            let told = self.told(ask).await;
            let told = serde_json::to_string(&told).expect("it is text");
            if wire.send(told).await.is_err() {
                return;
            }
        }
    }

    /// Nobody has the key from now on.
    async fn give_up(&self) {
        let instance = self.instance.read().expect("no panic while it is held").clone();
        let _ = instance.give_up(&self.client).await;
    }

    /// Where the task of the instance is over, whoever starts next begins a new one, for all; one
    /// that a system started is over for good.
    fn begin_anew(&self) {
        let mut instance = self.instance.write().expect("no panic while it is held");
        if instance.is_over()
            && self.options.initiation.is_none()
            && let Ok(fresh) = Instance::new(&self.options, self.pem.as_deref())
        {
            *instance = Arc::new(fresh);
        }
    }

    async fn told(&self, ask: Ask) -> Told {
        let instance = self.instance.read().expect("no panic while it is held").clone();
        match ask {
            Ask::Show(method, server) => {
                instance.show(&self.client, (&method, &server)).await.into()
            }
            Ask::ShowAnother(method, server) => {
                instance.show_another(&self.client, (&method, &server)).await.into()
            }
            Ask::Nonce(nonce) => {
                instance.note_nonce(&nonce);
                Told::Done
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn so_many_shims_of_one_client_are_answered_and_no_more() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("holder.sock");
        let listener = socket::create(&path, 0o600).expect("it can be made");
        tokio::spawn(async move {
            let answer = |mut shim: UnixStream| async move {
                let _ = shim.write_all(b"!").await;
                let _ = shim.read(&mut [0]).await;
            };
            serve(&listener, &TaskTracker::new(), answer).await;
        });
        let answered = async || {
            let mut shim = UnixStream::connect(&path).await.expect("it listens");
            let read = shim.read(&mut [0]).await.unwrap_or_default();
            (read == 1).then_some(shim)
        };
        let mut shims = Vec::new();
        for _ in 0..SHIMS_MAX {
            shims.push(answered().await.expect("there is a place"));
        }
        assert!(answered().await.is_none(), "one too many");
        shims.pop();
        // Until it is noticed that one has gone.
        while answered().await.is_none() {}
    }
}
