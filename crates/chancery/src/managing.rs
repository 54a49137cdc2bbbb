//! `chancery stream manage`: a stream at its transmitter, which is asked from here (SSF 1.0 §8.1).
//!
//! INVARIANT: what shows the transmitter who asks goes over https to the issuer's host and port, and to those
//! that the operator names beside them, and nowhere else; what changes something is permitted and recorded here
//! before it is asked for, and then what was answered; what the transmitter tells is shown, and never acted on.

mod told;
mod typed;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use https_url::HttpsUrl;
use model::{Entropy as _, Sha256Digest, SourceName};
use outbound::{FetchError, Fetcher, Message};
use pap::{Command as Asked, ManagedAct, StreamAnswered, StreamManaged};
use secevent::{
    AnswerError, Authorization, DeliveryAsked, Drift, Expected, Offer, Offers, StatusAsked,
    StreamAsked, StreamSeen, StreamStatus, Unread, status_seen, status_told, verification_request,
};
use serde::Deserialize;
use serde_json::{Value, json};

use self::told::{Came, End, Secrets, Whence, refused};
use self::typed::{fetched, pushing, shown, subject_asked};
use crate::attestation::fetcher;
use crate::cli::{Manage, ManageAct, StreamWanted};
use crate::system::SystemEntropy;
use crate::{config, socket, system};

/// After how long it is looked first whether an event has come, and how far apart at most: each look is a
/// reading of the log, which is recorded.
const LOOK_FIRST: Duration = Duration::from_millis(500);
const LOOK_MAX: Duration = Duration::from_secs(10);

/// Does one act and prints what the transmitter told.
pub(crate) async fn run(typed: Manage) -> anyhow::Result<ExitCode> {
    let managed = Managed::of(&typed).await?;
    let came = managed.does(typed.act).await?;
    Ok(came.show(&managed.secrets))
}

/// What is needed of a stream to manage it; the list of streams tells more of each.
#[derive(Deserialize)]
struct Registered {
    name: SourceName,
    issuer: String,
    audience: String,
}

/// A stream of ours, and how its transmitter is asked.
struct Managed {
    stream: Registered,
    /// Where it is pushed, if it is.
    pushed_to: String,
    /// Where we poll it, if the configuration says so.
    polled_at: Option<String>,
    offers: Offers,
    fetcher: Fetcher,
    authorization: String,
    whence: Whence,
    /// What shows us who pushes, if the transmitter is told that.
    push_token: Option<String>,
    secrets: Secrets,
    socket: PathBuf,
}

impl Managed {
    /// The stream as it is registered, and where its transmitter's metadata say that it is asked.
    async fn of(typed: &Manage) -> anyhow::Result<Self> {
        let Manage { name, header_file, endpoint_hosts, config, socket, act } = typed;
        let config = config::read(&config.config, system::environment().into_iter())?;
        let (authorization, whence) = match header_file {
            Some(file) => (shown(file)?, Whence::File),
            None => (fetched(&config.signals, name).await?, Whence::Fetched),
        };
        let push_token = act.push_token().map(|file| pushing(file, name)).transpose()?;
        let stream = registered(&socket.socket, name).await?;
        let from = &config.signals.keys;
        let fetcher = fetcher(&from.private_hosts, &from.ca_files)?;
        let issuer = &stream.issuer;
        let metadata = secevent::metadata_url(issuer)
            .with_context(|| format!("the issuer `{issuer}` of the stream is no https URL"))?;
        let told = fetcher.fetch_json_there(&metadata).await;
        let told = told.with_context(|| format!("could not read `{metadata}`"))?;
        let others = endpoint_hosts.iter().cloned().collect();
        let offers = Offers::read(&told, issuer, &others)?;
        let polled = config.signals.polls.iter().find(|poll| poll.stream == *name);
        let (_, bearer) = authorization.split_once(' ').unwrap_or_default();
        let secrets = [Some(bearer.trim().to_owned()), push_token.clone()];
        Ok(Self {
            pushed_to: format!("{}/ssf/events/{name}", config.people_url()),
            polled_at: polled.map(|poll| poll.url.clone()),
            secrets: Secrets::of(secrets.into_iter().flatten()),
            stream,
            offers,
            fetcher,
            authorization,
            whence,
            push_token,
            socket: socket.socket.clone(),
        })
    }

    async fn does(&self, act: ManageAct) -> anyhow::Result<Came> {
        match act {
            ManageAct::Discover => Ok(Came::done(self.offers.to_json())),
            ManageAct::Create { wanted } => {
                let asked = self.asked(None, wanted)?;
                says_delivery(&asked)?;
                self.configure(ManagedAct::Create, &asked).await
            }
            ManageAct::Read { id, events } => self.read(id, events).await,
            ManageAct::Update { id, replace, wanted } => {
                let asked = self.asked(Some(id), wanted)?;
                if replace {
                    says_delivery(&asked)?;
                    return self.configure(ManagedAct::Replace, &asked).await;
                }
                self.configure(ManagedAct::Update, &asked).await
            }
            ManageAct::Delete { id } => {
                let url = self.offers.at(Offer::Configuration, Some(&id))?;
                let said = self.about(ManagedAct::Delete, Some(&id));
                let (decision, answer) = self.change(said, (Method::DELETE, &url), None).await?;
                self.accepted(answer, &[StatusCode::NO_CONTENT])?;
                Ok(Came::done(json!({ "stream_id": id, "deleted": true })).decided(&decision))
            }
            ManageAct::Status { id, set, reason } => {
                match set.as_deref().and_then(StreamStatus::named) {
                    Some(status) => self.set_status(&id, status, reason).await,
                    None => self.status(&id).await,
                }
            }
            ManageAct::AddSubject { id, subject, unverified } => {
                let asked = subject_asked(&id, &subject, Some(!unverified))?;
                self.subject((Offer::AddSubject, &id), &asked, StatusCode::OK).await
            }
            ManageAct::RemoveSubject { id, subject } => {
                let asked = subject_asked(&id, &subject, None)?;
                self.subject((Offer::RemoveSubject, &id), &asked, StatusCode::NO_CONTENT).await
            }
            ManageAct::Verify { id, within } => self.verify(&id, Duration::from_secs(within)).await,
        }
    }

    /// What is said of `act` where it is decided on.
    fn about(&self, act: ManagedAct, id: Option<&str>) -> StreamManaged {
        StreamManaged {
            name: self.stream.name.to_string(),
            act,
            id: id.map(str::to_owned),
            delivery: None,
            events: BTreeSet::new(),
            subject: None,
            reason: None,
        }
    }

    /// Has the service decide on what is `said`, and record it, asks the transmitter for it, and has that answer
    /// recorded; gives the decision and the answer.
    async fn change(
        &self,
        said: StreamManaged,
        asked: (Method, &HttpsUrl),
        body: Option<&Value>,
    ) -> anyhow::Result<(Value, Response<Bytes>)> {
        let decision = socket::call(&self.socket, &Asked::StreamManage(said)).await?;
        let decision = decision["decision"].as_str().context("the service tells no decision")?;
        let answer = self.answer(asked, body).await;
        let known = answer.as_ref().ok();
        let answered = StreamAnswered {
            decision: decision.to_owned(),
            status: known.map(|answer| answer.status().as_u16()),
            body: known.map(|answer| Sha256Digest::of(answer.body())),
        };
        // What is done is done: whoever asked for it is told, and that it is not on the record.
        if let Err(error) = socket::call(&self.socket, &Asked::StreamAnswered(answered)).await {
            eprintln!("chancery: what the transmitter answered could not be recorded: {error:#}");
        }
        Ok((decision.into(), answer?))
    }

    /// What is asked of the stream `id`, or of a new one, as it is `wanted`.
    fn asked(&self, id: Option<String>, wanted: StreamWanted) -> anyhow::Result<StreamAsked> {
        let StreamWanted { push_token: _, poll, events, description } = wanted;
        let delivery = match &self.push_token {
            Some(token) => Some(self.pushed(token)?),
            None => poll.then_some(DeliveryAsked::Poll),
        };
        Ok(StreamAsked::wanting(id, delivery, listed(events), description))
    }

    /// That it is pushed to us, with `token`.
    fn pushed(&self, token: &str) -> anyhow::Result<DeliveryAsked> {
        let url = HttpsUrl::parse(&self.pushed_to).with_context(|| {
            format!(
                "nothing can be pushed to `{}`: say in `people_url` by which https URL the listener \
                 `listen.admin` is reached",
                self.pushed_to
            )
        })?;
        let authorization = Authorization::of(format!("Bearer {token}"));
        Ok(DeliveryAsked::Push { url: Box::new(url), authorization })
    }

    /// Has the transmitter make the stream what is `asked`, and compares.
    async fn configure(&self, act: ManagedAct, asked: &StreamAsked) -> anyhow::Result<Came> {
        asked.delivery.as_ref().map_or(Ok(()), |delivery| self.offers.deliver(delivery))?;
        let url = self.offers.at(Offer::Configuration, None)?;
        let changed: &[StatusCode] = &[StatusCode::OK, StatusCode::ACCEPTED];
        let (method, done): (_, &[StatusCode]) = match act {
            ManagedAct::Create => (Method::POST, &[StatusCode::CREATED]),
            ManagedAct::Replace => (Method::PUT, changed),
            _ => (Method::PATCH, changed),
        };
        let said = StreamManaged {
            delivery: asked.delivery.as_ref().map(|delivery| delivery.method().to_owned()),
            events: asked.requested.clone().unwrap_or_default(),
            ..self.about(act, asked.id.as_deref())
        };
        let (decision, answer) = self.change(said, (method, &url), Some(&asked.to_json())).await?;
        let answer = self.accepted(answer, done)?;
        let came = if answer.status() == StatusCode::ACCEPTED {
            Came::later(asked.id.as_deref())
        } else {
            match StreamSeen::parse(answer.body()) {
                Ok(seen) => Came::with(seen.to_json(), &self.drift(&seen, asked)),
                Err(unread) => Came::unread(&unread, End::Unread),
            }
        };
        Ok(came.decided(&decision))
    }

    /// The stream `id`, or all that there are for us, which have to tell of `events`, if that is said.
    async fn read(&self, id: Option<String>, events: Vec<String>) -> anyhow::Result<Came> {
        let url = self.offers.at(Offer::Configuration, id.as_deref())?;
        let answer = self.ask((Method::GET, &url), None, &[StatusCode::OK]).await?;
        let all = match id {
            Some(_) => vec![StreamSeen::parse(answer.body())],
            None => StreamSeen::parse_all(answer.body())?,
        };
        if all.is_empty() {
            return Ok(Came::nothing());
        }
        let asked = StreamAsked::wanting(id, None, listed(events), None);
        let mut each = Vec::new();
        for seen in &all {
            each.push(match seen {
                Ok(seen) => self.whole(seen, &asked).await?,
                Err(unread) => Came::unread(unread, End::Differs),
            });
        }
        Ok(Came::all(each))
    }

    /// The stream that was `seen`, with its status, if its transmitter offers that.
    async fn whole(&self, seen: &StreamSeen, asked: &StreamAsked) -> anyhow::Result<Came> {
        let (mut told, mut drift) = (seen.to_json(), self.drift(seen, asked));
        match self.offers.at(Offer::Status, Some(&seen.id)) {
            Err(AnswerError::NotOffered(_)) => told["status"] = Value::Null,
            url => {
                let status = self.status_at(&url?).await?;
                drift.extend(status_drift(&seen.id, StreamStatus::Enabled, &status));
                told["status"] = status.status.as_str().into();
                told["reason"] = json!(status.reason);
            }
        }
        Ok(Came::with(told, &drift))
    }

    fn drift(&self, seen: &StreamSeen, asked: &StreamAsked) -> Vec<Drift> {
        let expected = Expected {
            issuer: &self.stream.issuer,
            audience: &self.stream.audience,
            pushed_to: &self.pushed_to,
            polled_at: self.polled_at.as_deref(),
            offers: &self.offers,
        };
        seen.drift(expected, asked)
    }

    /// The status of the stream `id`: what is not enabled tells nothing.
    async fn status(&self, id: &str) -> anyhow::Result<Came> {
        let url = self.offers.at(Offer::Status, Some(id))?;
        let told = self.status_at(&url).await?;
        Ok(status_came(id, StreamStatus::Enabled, &told))
    }

    async fn status_at(&self, url: &HttpsUrl) -> anyhow::Result<StatusAsked> {
        let answer = self.ask((Method::GET, url), None, &[StatusCode::OK]).await?;
        status_seen(answer.body()).with_context(|| format!("what `{url}` told counts for nothing"))
    }

    /// Has the transmitter make the stream `id` be so, and compares.
    async fn set_status(
        &self,
        id: &str,
        status: StreamStatus,
        reason: Option<String>,
    ) -> anyhow::Result<Came> {
        let url = self.offers.at(Offer::Status, None)?;
        let act = match status {
            StreamStatus::Enabled => ManagedAct::Enable,
            StreamStatus::Paused => ManagedAct::Pause,
            StreamStatus::Disabled => ManagedAct::Disable,
        };
        let asked = status_told(id, status, reason.as_deref());
        let said = StreamManaged { reason, ..self.about(act, Some(id)) };
        let (decision, answer) = self.change(said, (Method::POST, &url), Some(&asked)).await?;
        let answer = self.accepted(answer, &[StatusCode::OK, StatusCode::ACCEPTED])?;
        let came = if answer.status() == StatusCode::ACCEPTED {
            Came::later(Some(id))
        } else {
            match status_seen(answer.body()) {
                Ok(told) => status_came(id, status, &told),
                Err(why) => Came::unread(&Unread { id: Some(id.to_owned()), why }, End::Unread),
            }
        };
        Ok(came.decided(&decision))
    }

    /// Has the stream `id` tell of the subject that is `asked` for, or no longer.
    async fn subject(
        &self,
        (offer, id): (Offer, &str),
        asked: &Value,
        done: StatusCode,
    ) -> anyhow::Result<Came> {
        let url = self.offers.at(offer, None)?;
        let (act, told) = match offer {
            Offer::AddSubject => (ManagedAct::AddSubject, "added"),
            _ => (ManagedAct::RemoveSubject, "removed"),
        };
        let subject = Some(Sha256Digest::of(&json::canonical(&asked["subject"])));
        let said = StreamManaged { subject, ..self.about(act, Some(id)) };
        let (decision, answer) = self.change(said, (Method::POST, &url), Some(asked)).await?;
        self.accepted(answer, &[done])?;
        Ok(Came::done(json!({ "stream_id": id, "subject": told })).decided(&decision))
    }

    /// Has the stream `id` verified, and waits until the service has the event that tells so.
    async fn verify(&self, id: &str, within: Duration) -> anyhow::Result<Came> {
        let mut state = [0; 16];
        SystemEntropy::new().fill(&mut state);
        let state = keys::base64url(&state);
        let end = socket::call(&self.socket, &Asked::LogTail { n: 1 }).await?;
        let end = end["next"].as_u64().context("the service tells no end of its log")?;
        let asked = verification_request(id, &state);
        let url = self.offers.at(Offer::Verification, None)?;
        self.ask((Method::POST, &url), Some(&asked), &[StatusCode::NO_CONTENT]).await?;
        let Ok(came) = tokio::time::timeout(within, self.comes(&state, end)).await else {
            let (name, seconds) = (&self.stream.name, within.as_secs());
            bail!(
                "the transmitter said yes, but no verification came within {seconds} s: look by `stream \
                 manage {name} … read` whether it is pushed to `{}`, or polled as `signals.polls` says, \
                 and in `log tail` for a refusal of `{name}`",
                self.pushed_to
            );
        };
        came?;
        Ok(Came::done(json!({ "stream_id": id, "verified": true })))
    }

    /// Waits for the record, at `from` or after it, that a verification came which tells `state`.
    async fn comes(&self, state: &str, mut from: u64) -> anyhow::Result<()> {
        let state = Sha256Digest::of(state.as_bytes()).to_string();
        let is_it = |record: &Value| {
            let record = record.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
            record.is_some_and(|record| {
                let details = &record["details"];
                record["event"] == "signal_noted"
                    && details["stream"] == self.stream.name.as_str()
                    && details["outcome"] == "verified"
                    && details["state"] == state
            })
        };
        let mut pause = LOOK_FIRST;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
            let mut export = None;
            loop {
                let page = socket::call(&self.socket, &Asked::LogExport { from, export }).await?;
                let records = page["records"].as_array().context("the service tells no records")?;
                if records.iter().any(is_it) {
                    return Ok(());
                }
                from = page["next"].as_u64().context("the service tells no next record")?;
                export = page["export"].as_u64();
                if export.is_none() {
                    break;
                }
            }
        }
    }

    /// What the transmitter answers at `url`, if that is one of `done`.
    async fn ask(
        &self,
        asked: (Method, &HttpsUrl),
        body: Option<&Value>,
        done: &[StatusCode],
    ) -> anyhow::Result<Response<Bytes>> {
        self.accepted(self.answer(asked, body).await?, done)
    }

    /// What the transmitter answers at `url`, whatever that is.
    async fn answer(
        &self,
        (method, url): (Method, &HttpsUrl),
        body: Option<&Value>,
    ) -> anyhow::Result<Response<Bytes>> {
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let authorization = Some(self.authorization.as_str());
        let message = Message { content_type: "application/json", authorization, body };
        let is_reading = method == Method::GET;
        self.fetcher.request(method, url, message).await.map_err(|error| {
            use FetchError::{NotPublic, Unreached, Url};
            let is_unasked = matches!(error, Url(_) | NotPublic(_) | Unreached(_));
            let told = if is_reading || is_unasked {
                format!("could not ask `{url}`")
            } else {
                format!("`{url}` was asked, and may have DONE it: look by `read`")
            };
            anyhow::Error::new(error).context(told)
        })
    }

    /// That `answer`, if it is one of `done`.
    fn accepted(
        &self,
        answer: Response<Bytes>,
        done: &[StatusCode],
    ) -> anyhow::Result<Response<Bytes>> {
        if done.contains(&answer.status()) {
            return Ok(answer);
        }
        Err(refused(&answer, self.whence, &self.secrets))
    }
}

/// The stream `name`, as the service has it.
async fn registered(socket: &Path, name: &str) -> anyhow::Result<Registered> {
    let all = socket::call(socket, &Asked::StreamList).await?;
    let mut all = all.as_array().into_iter().flatten();
    let found = all.find(|stream| stream["name"] == name);
    let found = found.with_context(|| {
        format!("there is no stream `{name}`: register it by `chancery stream add`")
    })?;
    Ok(serde_json::from_value(found.clone())?)
}

fn says_delivery(asked: &StreamAsked) -> anyhow::Result<()> {
    let is_said = asked.delivery.is_some();
    ensure!(is_said, "say how the stream is delivered: `--push-token FILE`, or `--poll`");
    Ok(())
}

fn listed(events: Vec<String>) -> Option<BTreeSet<String>> {
    (!events.is_empty()).then(|| events.into_iter().collect())
}

/// What the transmitter told of the stream `id`, which has to be `status`.
fn status_came(id: &str, status: StreamStatus, told: &StatusAsked) -> Came {
    let drift = status_drift(id, status, told);
    Came::with(status_told(&told.id, told.status, told.reason.as_deref()), &drift)
}

fn status_drift(id: &str, status: StreamStatus, told: &StatusAsked) -> Vec<Drift> {
    let mut drift = Vec::new();
    if told.id != id {
        drift.push(Drift { member: "stream_id", asked: json!(id), told: json!(told.id) });
    }
    if told.status != status {
        let (asked, told) = (json!(status.as_str()), json!(told.status.as_str()));
        drift.push(Drift { member: "status", asked, told });
    }
    drift
}
