//! Receivers of shared signals: `chancery receiver`, and telling them in the background.
//!
//! INVARIANT: nothing is settled before its receiver has answered; what it was told and we did not hear of
//! it is told again, under the same `jti`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::StatusCode;
use https_url::HttpsUrl;
use keys::KeyRing;
use model::{Clock, Covers, ReceiverKey, SourceName};
use outbound::{Fetcher, Message};
use pap::receivers::{Due, Told, Transmitter};
use pap::{Administration, Command as Asked, ReceiverRegistration};
use secevent::{MEDIA_TYPE, Refusal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attestation::fetcher;
use crate::cli::{Covered, KnownBy, NewBearer, Receiver, Socket};
use crate::config::{Config, FetchedFrom};
use crate::directories::{ToWrite, made};
use crate::people::jwk;
use crate::system::SystemClock;
use crate::transmitter::Pause;

/// How often it is looked whether there is something to tell.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long a receiver is left alone at first that did not take what it was told.
const PAUSE: Duration = Duration::from_secs(1);

/// How many tokens are pushed to one receiver at once.
const PUSHED_AT_ONCE: usize = 8;

/// What the service is asked, and at which socket.
pub(crate) fn asked(typed: Receiver) -> anyhow::Result<(PathBuf, Asked, ToWrite)> {
    Ok(match typed {
        Receiver::Add {
            name,
            audience,
            covered,
            issuer,
            push_host,
            algorithm,
            token,
            key: known,
        } => {
            let (covers, key) = (covers(covered)?, receiver_key(&known)?);
            let KnownBy { days, read_only, socket, .. } = known;
            let socket = socket.socket;
            let (token, to_write) = match token {
                Some(file) => {
                    let bearer =
                        NewBearer { file, days, socket: Socket { socket: socket.clone() } };
                    let (token, to_write, _) = made((&name, read_only), bearer)?;
                    (Some(token), to_write)
                }
                None => (None, None),
            };
            let said = ReceiverRegistration {
                name,
                audience,
                covers,
                issuer,
                push_host,
                algorithm,
                token,
                key,
            };
            (socket, Asked::ReceiverAdd(said), to_write)
        }
        Receiver::Key { name, key: known, .. } => {
            let key = receiver_key(&known)?;
            (known.socket.socket, Asked::ReceiverKey { name, key }, None)
        }
        Receiver::Cover { name, covered, socket } => {
            (socket.socket, Asked::ReceiverCover { name, covers: covers(covered)? }, None)
        }
        Receiver::Issuer { name, issuer, socket, .. } => {
            (socket.socket, Asked::ReceiverIssuer { name, issuer }, None)
        }
        Receiver::Token { name, alone, read_only, token } => {
            let (token, to_write, socket) = made((&name, read_only), token)?;
            (socket, Asked::ReceiverToken { name, token, alone }, to_write)
        }
        Receiver::Suspend { name, reason, socket } => {
            (socket.socket, Asked::ReceiverSuspend { name, reason }, None)
        }
        Receiver::Resume { name, socket } => (socket.socket, Asked::ReceiverResume { name }, None),
        Receiver::Remove { name, socket } => (socket.socket, Asked::ReceiverRemove { name }, None),
        Receiver::List { socket } => (socket.socket, Asked::ReceiverList, None),
    })
}

/// The key of a receiver, if one is named.
fn receiver_key(known: &KnownBy) -> anyhow::Result<Option<ReceiverKey>> {
    let Some(file) = &known.key else { return Ok(None) };
    let lasts = Duration::from_hours(u64::from(known.days) * 24);
    let (expires, read_only) = (SystemClock::new().now().plus(lasts), known.read_only);
    Ok(Some(ReceiverKey { jwk: jwk(file)?, expires, read_only }))
}

fn covers(Covered { agents, all_agents }: Covered) -> anyhow::Result<Covers> {
    if all_agents {
        return Ok(Covers::All);
    }
    let agents: Result<BTreeSet<_>, _> = agents.iter().map(|name| name.parse()).collect();
    Ok(Covers::These(agents?))
}

/// Shared signals, in both directions.
pub(crate) struct Signals {
    /// What takes what others tell.
    pub(crate) receiver: Arc<pap::streams::Receiver>,
    /// What tells others.
    pub(crate) transmitter: Arc<Transmitter>,
}

impl Signals {
    /// Both, in the background too, until `stop`.
    pub(crate) fn new(
        config: &Config,
        (administration, ring): (&Arc<Administration>, &KeyRing),
        (clock, tasks): (&Arc<dyn Clock>, &TaskTracker),
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let receiver = crate::streams::receiver(config, administration, (clock, tasks), stop)?;
        let transmitter = Transmitter::new(administration.clone(), ring.receiver_sealing());
        let transmitter = Arc::new(transmitter);
        let teller = Teller::new(transmitter.clone(), &config.signals.receivers)?;
        tasks.spawn(teller.run(stop.clone()));
        Ok(Self { receiver, transmitter })
    }
}

/// Tells receivers what the log holds for them.
struct Teller {
    transmitter: Arc<Transmitter>,
    /// None, if no certificate vouches for any receiver.
    fetcher: Option<Fetcher>,
}

/// Receivers that could not be told, or tokens that one of them did not take: each is left alone for longer each
/// time, and keeps no other waiting.
struct Left<K>(BTreeMap<K, (Pause, Instant)>);

impl<K: Ord> Left<K> {
    const fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether `it` may be tried.
    fn is_due(&self, it: &K, now: Instant) -> bool {
        self.0.get(it).is_none_or(|(_, until)| *until <= now)
    }

    /// Leaves `it` alone.
    fn leave(&mut self, it: K, now: Instant) {
        let (pause, until) = self.0.entry(it).or_insert_with(|| (Pause::new(PAUSE), now));
        *until = now + pause.after(None);
    }

    /// `it` is left alone no longer.
    fn over(&mut self, it: &K) {
        self.0.remove(it);
    }
}

/// How it went to tell one receiver, and which tokens it did not take.
type Went = (SourceName, Left<String>, anyhow::Result<()>);

impl Teller {
    /// One that reaches receivers as `reached` says.
    fn new(transmitter: Arc<Transmitter>, reached: &FetchedFrom) -> anyhow::Result<Self> {
        let fetcher = match fetcher(&reached.private_hosts, &reached.ca_files) {
            Ok(fetcher) => Some(fetcher),
            // Who pushes nothing needs no certificates either.
            Err(error) if reached.is_empty() => {
                tracing::debug!("nothing can be pushed to receivers: {error:#}");
                None
            }
            Err(error) => return Err(error.context("receivers cannot be reached")),
        };
        Ok(Self { transmitter, fetcher })
    }

    /// Tells until `stopped`. What one receiver does keeps no other waiting.
    async fn run(self, stopped: CancellationToken) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut busy, mut untold) = (BTreeSet::new(), Left::none());
        let mut untaken = BTreeMap::new();
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                _ = look.tick() => for name in self.receivers().await {
                    if untold.is_due(&name, Instant::now()) && busy.insert(name.clone()) {
                        let left = untaken.remove(&name).unwrap_or_else(Left::none);
                        under_way.push(self.tell(name, left));
                    }
                },
                Some((name, left, went)) = under_way.next() => {
                    busy.remove(&name);
                    if !left.0.is_empty() {
                        untaken.insert(name.clone(), left);
                    }
                    match went {
                        Ok(()) => untold.over(&name),
                        Err(error) => {
                            tracing::warn!(receiver = %name, "it could not be told: {error:#}");
                            untold.leave(name, Instant::now());
                        }
                    }
                }
                () = stopped.cancelled() => return,
            }
        }
    }

    async fn receivers(&self) -> Vec<SourceName> {
        let receivers = self.transmitter.receivers().await;
        receivers.unwrap_or_else(|error| {
            tracing::warn!(%error, "it is not known who is to be told");
            Vec::new()
        })
    }

    async fn tell(&self, name: SourceName, mut left: Left<String>) -> Went {
        let told = self.try_tell(&name, &mut left).await;
        (name, left, told)
    }

    /// Signs what there is to tell the receiver `name`, and pushes it, if that is how it is told: what it did not
    /// take, later and later, and the rest at once.
    async fn try_tell(&self, name: &SourceName, left: &mut Left<String>) -> anyhow::Result<()> {
        self.transmitter.advance(name).await?;
        let Some(mut due) = self.transmitter.due(name).await? else {
            *left = Left::none();
            return Ok(());
        };
        left.0.retain(|jti, _| due.sets.iter().any(|(due, _)| due == jti));
        due.sets.retain(|(jti, _)| left.is_due(jti, Instant::now()));
        if due.sets.is_empty() {
            return Ok(());
        }
        let (told, trouble) = self.push(&due).await?;
        if let Some(trouble) = trouble {
            tracing::warn!(receiver = %name, "it did not take all that it was told: {trouble}");
        }
        for (jti, _) in due.sets {
            if told.taken.contains(&jti) || told.refused.contains(&jti) {
                left.over(&jti);
            } else {
                left.leave(jti, Instant::now());
            }
        }
        if !told.taken.is_empty() || !told.refused.is_empty() {
            self.transmitter.settle(name, &due.stream, &told).await?;
        }
        Ok(())
    }

    /// Pushes what is due; says what came of it, and what was in the way of the rest.
    async fn push(&self, due: &Due) -> anyhow::Result<(Told, Option<String>)> {
        let fetcher = self.fetcher.as_ref().context("no certificate vouches for anybody")?;
        let url = HttpsUrl::parse(&due.url)?;
        let authorization = due.authorization.as_ref().map(|secret| secret.expose().as_str());
        let (mut told, mut trouble) = (Told::default(), None);
        for sets in due.sets.chunks(PUSHED_AT_ONCE) {
            let pushed = sets.iter().map(|(_, set)| {
                let body = Bytes::from(set.clone());
                fetcher.post(&url, Message { content_type: MEDIA_TYPE, authorization, body })
            });
            let answers = futures::future::join_all(pushed).await;
            for ((jti, _), answer) in sets.iter().zip(answers) {
                match answer {
                    // Any other success is somebody else's: a proxy's, or a page to log in at (RFC 8935 §2.2).
                    Ok((StatusCode::ACCEPTED, _)) => told.taken.push(jti.clone()),
                    Ok((StatusCode::BAD_REQUEST, body)) if Refusal::is_final(&body) => {
                        told.refused.push(jti.clone());
                    }
                    Ok((status, _)) => trouble = Some(format!("it answered {status}")),
                    Err(error) => trouble = Some(error.to_string()),
                }
            }
        }
        Ok((told, trouble))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_receiver_does_not_take_keeps_nothing_else_waiting() {
        let (now, mut left) = (Instant::now(), Left::none());
        for seconds in [1, 2, 4, 8] {
            left.leave("bad", now);
            assert!(left.is_due(&"good", now));
            let until = now + Duration::from_secs(seconds);
            assert!(!left.is_due(&"bad", until.checked_sub(Duration::from_millis(1)).unwrap()));
            assert!(left.is_due(&"bad", until));
        }
        left.over(&"bad");
        assert!(left.is_due(&"bad", now));
    }
}
