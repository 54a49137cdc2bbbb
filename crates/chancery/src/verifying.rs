//! Streams whose transmitters are asked to verify them, so that a quiet one is told from one that is cut
//! off (SSF 1.0 §8.1.4).

use std::sync::Arc;
use std::time::Duration;

use model::{Entropy as _, SourceName};
use pap::streams::Receiver;
use tokio_util::sync::CancellationToken;

use crate::config::Verification;
use crate::shown::AllTokens;
use crate::system::SystemEntropy;
use crate::transmitter::{Endpoint, Pause};

/// How often within the bound of its silence a transmitter is asked.
const TIMES: u32 = 3;

/// How far apart it is looked whether a stream is there whose silence is bounded.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// One stream that is verified.
pub(crate) struct Verifying {
    stream: SourceName,
    /// Its id, as its transmitter has it.
    id: String,
    endpoint: Endpoint,
    receiver: Arc<Receiver>,
}

impl Verifying {
    /// One for each stream of the configuration, which shows its transmitter one of `tokens`, or a line.
    pub(crate) fn all(
        configured: &[Verification],
        tokens: &AllTokens,
        receiver: &Arc<Receiver>,
    ) -> anyhow::Result<Vec<Self>> {
        let verifying = |said: &Verification| {
            let shown = tokens.shown(&said.stream, said.header_file.as_deref())?;
            Ok(Self {
                stream: said.stream.parse()?,
                id: said.stream_id.clone(),
                endpoint: Endpoint::new(&said.url, shown)?,
                receiver: receiver.clone(),
            })
        };
        configured.iter().map(verifying).collect()
    }

    /// Asks until `stopped`.
    pub(crate) async fn run(self, stopped: CancellationToken) {
        let mut pause = Pause::new(LOOK_EVERY);
        loop {
            let asked = tokio::select! {
                asked = self.ask() => asked,
                () = stopped.cancelled() => return,
            };
            let wait = match asked {
                Ok(wait) => {
                    pause.over();
                    wait
                }
                Err(error) => {
                    tracing::warn!(stream = %self.stream, "could not be verified: {error:#}");
                    pause.after(Some(&error))
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stopped.cancelled() => return,
            }
        }
    }

    /// Asks once, if the silence of the stream is bounded; says when to ask again.
    async fn ask(&self) -> anyhow::Result<Duration> {
        let stream = self.receiver.stream(&self.stream).await?;
        let bound = stream.and_then(|stream| stream.silence_min);
        let Some(minutes) = bound else { return Ok(LOOK_EVERY) };
        let mut state = [0; 16];
        SystemEntropy::new().fill(&mut state);
        let state = keys::base64url(&state);
        self.endpoint.post(&secevent::verification_request(&self.id, &state)).await?;
        Ok(Duration::from_secs(u64::from(minutes) * 60) / TIMES)
    }
}
