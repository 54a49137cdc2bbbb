//! Streams of shared signals: `chancery stream`, and the keys of their transmitters.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::Clock;
use pap::streams::{Key, NoKey, Receiver, TransmitterKeys};
use pap::{Administration, Command as Asked, SILENCE, StreamRegistration};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use workload::{IssuerKeys, Parts, VerifyError};

use crate::attestation::fetcher;
use crate::cli::{Silence, Stream};
use crate::config::Config;
use crate::directories::{ToWrite, made};
use crate::polling::Poller;
use crate::shown::AllTokens;
use crate::verifying::Verifying;

/// For how long a transmitter's keys are used after they were last seen.
const KEYS_LAST: Duration = Duration::from_hours(1);

/// What the service is asked, and at which socket.
pub(crate) fn asked(typed: Stream) -> anyhow::Result<(PathBuf, Asked, ToWrite)> {
    Ok(match typed {
        Stream::Add { name, issuer, audience, algorithm, directory, email, silence, token } => {
            let (token, to_write, socket) = made((&name, false), token)?;
            let algorithms = algorithm;
            let said = StreamRegistration {
                name,
                issuer,
                audience,
                algorithms,
                directory,
                email,
                silence_min: silence.map_or(SILENCE, |Silence(minutes)| minutes),
                token,
            };
            (socket, Asked::StreamAdd(said), to_write)
        }
        Stream::Token { name, alone, token } => {
            let (token, to_write, socket) = made((&name, false), token)?;
            (socket, Asked::StreamToken { name, token, alone }, to_write)
        }
        Stream::Suspend { name, reason, socket } => {
            (socket.socket, Asked::StreamSuspend { name, reason }, None)
        }
        Stream::Resume { name, socket } => (socket.socket, Asked::StreamResume { name }, None),
        Stream::Silence { name, minutes: Silence(silence_min), socket } => {
            (socket.socket, Asked::StreamSilence { name, silence_min }, None)
        }
        Stream::List { socket } => (socket.socket, Asked::StreamList, None),
        manage @ Stream::Manage(_) => anyhow::bail!("{manage:?} asks the transmitter"),
    })
}

/// What receives streams: keys are fetched when they are needed, and kept fresh until `stopped`; as long
/// are those polled, and verified, that the configuration says.
pub(crate) fn receiver(
    config: &Config,
    administration: &Arc<Administration>,
    (clock, tasks): (&Arc<dyn Clock>, &TaskTracker),
    stopped: &CancellationToken,
) -> anyhow::Result<Arc<Receiver>> {
    let from = &config.signals.keys;
    let keys = match fetcher(&from.private_hosts, &from.ca_files) {
        Ok(fetcher) => {
            let parts = Parts { fetcher, clock: clock.clone(), tasks: tasks.clone() };
            Some(IssuerKeys::new(parts, KEYS_LAST, stopped.clone()))
        }
        // Who has no streams needs no certificates either.
        Err(error) if from.is_empty() => {
            tracing::debug!("the keys of transmitters cannot be fetched: {error:#}");
            None
        }
        Err(error) => return Err(error.context("the keys of transmitters cannot be fetched")),
    };
    let base = api::directory_base(&config.people_url());
    let receiver = Receiver::new(administration.clone(), Arc::new(Fetched(keys)), base);
    let receiver = Arc::new(receiver);
    let tokens = AllTokens::of(&config.signals, clock)?;
    for poller in Poller::all(&config.signals.polls, &tokens, &receiver)? {
        tasks.spawn(poller.run(stopped.clone()));
    }
    for verifying in Verifying::all(&config.signals.verifications, &tokens, &receiver)? {
        tasks.spawn(verifying.run(stopped.clone()));
    }
    Ok(receiver)
}

struct Fetched(Option<IssuerKeys>);

#[async_trait]
impl TransmitterKeys for Fetched {
    async fn key(&self, issuer: &str, kid: Option<&str>) -> Result<Arc<dyn Key>, NoKey> {
        let keys = self.0.as_ref().ok_or(NoKey::Unavailable)?;
        let metadata = secevent::metadata_url(issuer).map_err(|_| NoKey::Unavailable)?;
        match keys.key((issuer, metadata), kid).await {
            Ok(key) => Ok(key),
            Err(VerifyError::UnknownKey) => Err(NoKey::Unknown),
            Err(_) => Err(NoKey::Unavailable),
        }
    }

    fn critical(&self, issuer: &str) -> Result<BTreeSet<String>, NoKey> {
        let told = self.0.as_ref().and_then(|keys| keys.told(issuer, secevent::CRITICAL));
        told.map(|said| secevent::critical_members(&said)).ok_or(NoKey::Unavailable)
    }
}
