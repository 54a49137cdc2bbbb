//! Streams that are polled (RFC 8936): what their transmitters hold is taken as if it were pushed, and
//! acknowledged once it is in force.
//!
//! INVARIANT: no token is acknowledged before it is committed; one whose acknowledgement was lost comes
//! once more, and does nothing then.

use std::sync::Arc;
use std::time::Duration;

use model::SourceName;
use pap::streams::Receiver;
use secevent::{PollRequest, Polled};
use tokio_util::sync::CancellationToken;

use crate::config::Poll;
use crate::transmitter::Endpoint;

/// How far apart a transmitter is asked that holds much.
const POLL_SOON: Duration = Duration::from_millis(100);

/// How far apart a transmitter is asked that held nothing.
const POLL_EVERY: Duration = Duration::from_secs(5);

/// How far apart at most, where nothing could be taken: it doubles.
const POLL_EVERY_MAX: Duration = Duration::from_mins(2);

/// One stream that is polled.
pub(crate) struct Poller {
    stream: SourceName,
    endpoint: Endpoint,
    receiver: Arc<Receiver>,
}

/// What came of one poll.
enum Came {
    /// Something to acknowledge, or more to ask for.
    Something,
    /// Nothing.
    Nothing,
    /// Something that could not be taken.
    Trouble,
}

impl Poller {
    /// A poller for each stream of the configuration.
    pub(crate) fn all(polls: &[Poll], receiver: &Arc<Receiver>) -> anyhow::Result<Vec<Self>> {
        let poller = |poll: &Poll| {
            Ok(Self {
                stream: poll.stream.parse()?,
                endpoint: Endpoint::new(&poll.url, &poll.header_file)?,
                receiver: receiver.clone(),
            })
        };
        polls.iter().map(poller).collect()
    }

    /// Polls until `stopped`.
    pub(crate) async fn run(self, stopped: CancellationToken) {
        let (mut told, mut pause) = (PollRequest::default(), POLL_EVERY);
        loop {
            let came = tokio::select! {
                came = self.poll(&mut told) => came,
                () = stopped.cancelled() => return,
            };
            let came = came.unwrap_or_else(|error| {
                tracing::warn!(stream = %self.stream, "could not be polled: {error:#}");
                Came::Trouble
            });
            let wait = match came {
                Came::Something => POLL_SOON,
                Came::Nothing => POLL_EVERY,
                Came::Trouble => pause,
            };
            let is_trouble = matches!(came, Came::Trouble);
            pause = if is_trouble { (pause * 2).min(POLL_EVERY_MAX) } else { POLL_EVERY };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stopped.cancelled() => return,
            }
        }
    }

    /// Asks once, tells what was `told` of what came before, and takes what comes.
    async fn poll(&self, told: &mut PollRequest) -> anyhow::Result<Came> {
        let Some(stream) = self.receiver.stream(&self.stream).await? else {
            return Ok(Came::Nothing);
        };
        told.return_immediately = true;
        let polled = self.ask(told).await?;
        // What it has answered to it has taken note of.
        *told = self.receiver.take_polled(&stream, &polled).await;
        let settled = told.ack.len() + told.errors.len();
        Ok(match (settled, polled.sets.len()) {
            (0, 0) => Came::Nothing,
            (settled, came) if settled < came => Came::Trouble,
            _ => Came::Something,
        })
    }

    async fn ask(&self, told: &PollRequest) -> anyhow::Result<Polled> {
        Ok(Polled::parse(&self.endpoint.post(&told.to_json()).await?)?)
    }
}
