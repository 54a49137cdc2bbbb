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
use crate::shown::AllTokens;
use crate::transmitter::{Endpoint, Pause};

/// How far apart a transmitter is asked that holds much.
const POLL_SOON: Duration = Duration::from_millis(100);

/// How far apart a transmitter is asked that held nothing.
const POLL_EVERY: Duration = Duration::from_secs(5);

/// One stream that is polled.
pub(crate) struct Poller {
    stream: SourceName,
    endpoint: Endpoint,
    receiver: Arc<Receiver>,
}

/// What came of one poll.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// Something to acknowledge, or more to ask for.
    Something,
    /// Nothing.
    Nothing,
    /// Something that could not be taken, or nothing but what the transmitter was told of already.
    Trouble,
}

impl Came {
    /// What came of a poll that told `before`, and gave `polled`, of which `told` is told next.
    fn of(before: &PollRequest, polled: &Polled, told: &PollRequest) -> Self {
        let settled = told.ack.len() + told.errors.len();
        let is_known = |jti| before.ack.contains(jti) || before.errors.contains_key(jti);
        match polled.sets.len() {
            0 => Self::Nothing,
            came if settled < came || polled.sets.keys().all(is_known) => Self::Trouble,
            _ => Self::Something,
        }
    }
}

impl Poller {
    /// A poller for each stream of the configuration, which shows its transmitter one of `tokens`, or a line.
    pub(crate) fn all(
        polls: &[Poll],
        tokens: &AllTokens,
        receiver: &Arc<Receiver>,
    ) -> anyhow::Result<Vec<Self>> {
        let poller = |poll: &Poll| {
            let shown = tokens.shown(&poll.stream, poll.header_file.as_deref())?;
            Ok(Self {
                stream: poll.stream.parse()?,
                endpoint: Endpoint::new(&poll.url, shown)?,
                receiver: receiver.clone(),
            })
        };
        polls.iter().map(poller).collect()
    }

    /// Polls until `stopped`.
    pub(crate) async fn run(self, stopped: CancellationToken) {
        let (mut told, mut pause) = (PollRequest::default(), Pause::new(POLL_EVERY));
        loop {
            let came = tokio::select! {
                came = self.poll(&mut told) => came,
                () = stopped.cancelled() => return,
            };
            if matches!(came, Ok(Came::Something | Came::Nothing)) {
                pause.over();
            }
            let wait = match came {
                Ok(Came::Something) => POLL_SOON,
                Ok(Came::Nothing) => POLL_EVERY,
                Ok(Came::Trouble) => pause.after(None),
                Err(error) => {
                    tracing::warn!(stream = %self.stream, "could not be polled: {error:#}");
                    pause.after(Some(&error))
                }
            };
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
        let before = std::mem::take(told);
        *told = self.receiver.take_polled(&stream, &polled).await;
        Ok(Came::of(&before, &polled, told))
    }

    async fn ask(&self, told: &PollRequest) -> anyhow::Result<Polled> {
        Ok(Polled::parse(&self.endpoint.post(&told.to_json()).await?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transmitter_that_ignores_what_it_is_told_is_not_asked_at_once() {
        let told = |ack: &[&str]| PollRequest {
            ack: ack.iter().map(|&jti| jti.to_owned()).collect(),
            ..PollRequest::default()
        };
        let check = |before: &[&str], sets: &[&str], now: &[&str], expected: Came| {
            let sets = sets.iter().map(|&jti| (jti.to_owned(), String::new())).collect();
            let polled = Polled { sets, more: true };
            assert_eq!(Came::of(&told(before), &polled, &told(now)), expected);
        };
        check(&[], &[], &[], Came::Nothing);
        check(&["a"], &[], &[], Came::Nothing);
        check(&[], &["a"], &["a"], Came::Something);
        check(&[], &["a", "b"], &["a"], Came::Trouble);
        check(&["a"], &["a", "b"], &["a", "b"], Came::Something);
        check(&["a", "b"], &["b", "a"], &["a", "b"], Came::Trouble);
    }
}
