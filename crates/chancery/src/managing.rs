//! `chancery stream manage`: a stream at its transmitter, which is asked from here (SSF 1.0 §8.1).
//!
//! INVARIANT: what shows the transmitter who asks goes over https to the issuer's host, and to those that the
//! operator names beside it, and nowhere else; what the transmitter tells is shown, and never acted on.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use https_url::HttpsUrl;
use model::{Entropy as _, Sha256Digest, Stream};
use outbound::{Fetcher, Message};
use pap::Command as Asked;
use secevent::{
    Authorization, DeliveryAsked, Drift, Expected, Offer, Offers, StatusAsked, StreamAsked,
    StreamSeen, StreamStatus, status_told, subject_request, verification_request,
};
use serde_json::{Value, json};

use crate::attestation::fetcher;
use crate::cli::{Manage, ManageAct, StreamWanted};
use crate::system::SystemEntropy;
use crate::transmitter::retry_after;
use crate::{config, socket, sources, system};

/// The stream is other than it was asked for.
const DIFFERS: u8 = 3;

/// After how long it is looked first whether an event has come, and how far apart at most: each look is a
/// reading of the log, which is recorded.
const LOOK_FIRST: Duration = Duration::from_millis(500);
const LOOK_MAX: Duration = Duration::from_secs(10);

/// The most bytes of a refusal that are read, and the most characters of it that are told.
const REFUSAL_BYTES_MAX: usize = 4 << 10;
const REFUSAL_TOLD_MAX: usize = 200;

/// Does one act and prints what the transmitter told.
pub(crate) async fn run(typed: Manage) -> anyhow::Result<ExitCode> {
    let managed = Managed::of(&typed).await?;
    let came = managed.does(typed.act).await?;
    came.told.iter().for_each(|line| println!("{line}"));
    if !came.differs {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "chancery: the transmitter tells of the stream otherwise than it should: see `drift`"
    );
    Ok(ExitCode::from(DIFFERS))
}

/// What came of an act.
struct Came {
    /// What is told of it, a line each.
    told: Vec<Value>,
    /// Whether something is other than it should be.
    differs: bool,
}

impl Came {
    /// It is done, as it was asked for.
    fn done(told: Value) -> Self {
        Self { told: vec![told], differs: false }
    }

    /// It is `told`, of which this is other than it should be.
    fn with(mut told: Value, drift: &[Drift]) -> Self {
        told["drift"] = drift.iter().map(Drift::to_json).collect();
        Self { told: vec![told], differs: !drift.is_empty() }
    }

    /// The transmitter will do it.
    fn later(id: Option<&str>) -> Self {
        eprintln!("chancery: the transmitter has not done it yet: look again later");
        Self::done(json!({ "stream_id": id, "accepted": true }))
    }
}

/// A stream of ours, and how its transmitter is asked.
struct Managed {
    stream: Stream,
    /// Where it is pushed, if it is.
    pushed_to: String,
    /// Where we poll it, if the configuration says so.
    polled_at: Option<String>,
    offers: Offers,
    fetcher: Fetcher,
    authorization: String,
    socket: PathBuf,
}

impl Managed {
    /// The stream as it is registered, and where its transmitter's metadata say that it is asked.
    async fn of(typed: &Manage) -> anyhow::Result<Self> {
        let Manage { name, header_file, endpoint_hosts, config, socket, act: _ } = typed;
        let config = config::read(&config.config, system::environment().into_iter())?;
        let authorization = shown(header_file)?;
        let stream = registered(&socket.socket, name).await?;
        let from = &config.signals.keys;
        let fetcher = fetcher(&from.private_hosts, &from.ca_files)?;
        let issuer = &stream.issuer;
        let metadata = secevent::metadata_url(issuer)
            .with_context(|| format!("the issuer `{issuer}` of the stream is no https URL"))?;
        let told = fetcher.fetch_json_there(&metadata).await;
        let told = told.with_context(|| format!("could not read `{metadata}`"))?;
        let hosts = endpoint_hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let offers = Offers::read(&told, issuer, &hosts)?;
        let pushed_to = format!("{}/ssf/events/{name}", config.people_url());
        let polled = config.signals.polls.iter().find(|poll| poll.stream == *name);
        Ok(Self {
            pushed_to: HttpsUrl::parse(&pushed_to).map_or(pushed_to, |url| url.as_str().to_owned()),
            polled_at: polled.map(|poll| poll.url.clone()),
            stream,
            offers,
            fetcher,
            authorization,
            socket: socket.socket.clone(),
        })
    }

    async fn does(&self, act: ManageAct) -> anyhow::Result<Came> {
        match act {
            ManageAct::Discover => Ok(Came::done(self.offers.to_json())),
            ManageAct::Create { wanted } => {
                let asked = self.asked(None, wanted)?;
                says_delivery(&asked)?;
                self.configure(Method::POST, &asked).await
            }
            ManageAct::Read { id } => self.read(id).await,
            ManageAct::Update { id, replace, wanted } => {
                let asked = self.asked(Some(id), wanted)?;
                if replace {
                    says_delivery(&asked)?;
                    return self.configure(Method::PUT, &asked).await;
                }
                self.configure(Method::PATCH, &asked).await
            }
            ManageAct::Delete { id } => {
                let url = self.offers.at(Offer::Configuration, Some(&id))?;
                self.ask((Method::DELETE, &url), None, &[StatusCode::NO_CONTENT]).await?;
                Ok(Came::done(json!({ "stream_id": id, "deleted": true })))
            }
            ManageAct::Status { id, set, reason } => {
                self.status(&id, (set.as_deref(), reason.as_deref())).await
            }
            ManageAct::AddSubject { id, subject, unverified } => {
                let asked = subject_asked(&id, &subject, Some(!unverified))?;
                self.post(Offer::AddSubject, &asked, StatusCode::OK).await?;
                Ok(Came::done(json!({ "stream_id": id, "subject": "added" })))
            }
            ManageAct::RemoveSubject { id, subject } => {
                let asked = subject_asked(&id, &subject, None)?;
                self.post(Offer::RemoveSubject, &asked, StatusCode::NO_CONTENT).await?;
                Ok(Came::done(json!({ "stream_id": id, "subject": "removed" })))
            }
            ManageAct::Verify { id, within } => self.verify(&id, Duration::from_secs(within)).await,
        }
    }

    /// What is asked of the stream `id`, or of a new one, as it is `wanted`.
    fn asked(&self, id: Option<String>, wanted: StreamWanted) -> anyhow::Result<StreamAsked> {
        let StreamWanted { push_token, poll, events, description } = wanted;
        let delivery = match push_token {
            Some(file) => Some(self.pushed(&file)?),
            None => poll.then_some(DeliveryAsked::Poll),
        };
        let requested = (!events.is_empty()).then(|| events.into_iter().collect());
        Ok(StreamAsked::wanting(id, delivery, requested, description))
    }

    /// That it is pushed to us, with the token that `file` holds.
    fn pushed(&self, file: &Path) -> anyhow::Result<DeliveryAsked> {
        let url = HttpsUrl::parse(&self.pushed_to).with_context(|| {
            format!(
                "nothing can be pushed to `{}`: say in `people_url` by which https URL the listener \
                 `listen.admin` is reached",
                self.pushed_to
            )
        })?;
        let (name, bytes) = (&self.stream.name, keys::read_private(file)?);
        let token = String::from_utf8(bytes).unwrap_or_default();
        // No other secret is given away by mistake.
        let token = token.trim().strip_prefix(&format!("{name}.")).with_context(|| {
            format!("`{}` holds no token of the stream: see `stream token`", file.display())
        })?;
        let authorization = Authorization::of(format!("Bearer {name}.{token}"));
        ensure!(authorization.is_some(), "`{}` holds no token", file.display());
        Ok(DeliveryAsked::Push { url: Box::new(url), authorization })
    }

    /// Has the transmitter make the stream what is `asked`, and compares.
    async fn configure(&self, method: Method, asked: &StreamAsked) -> anyhow::Result<Came> {
        asked.delivery.as_ref().map_or(Ok(()), |delivery| self.offers.deliver(delivery))?;
        let url = self.offers.at(Offer::Configuration, None)?;
        let done: &[StatusCode] = match method {
            Method::POST => &[StatusCode::CREATED],
            _ => &[StatusCode::OK, StatusCode::ACCEPTED],
        };
        let answer = self.ask((method, &url), Some(&asked.to_json()), done).await?;
        if answer.status() == StatusCode::ACCEPTED {
            return Ok(Came::later(asked.id.as_deref()));
        }
        Ok(self.compared(&StreamSeen::parse(answer.body())?, asked))
    }

    /// The stream `id`, or all that there are for us.
    async fn read(&self, id: Option<String>) -> anyhow::Result<Came> {
        let url = self.offers.at(Offer::Configuration, id.as_deref())?;
        let answer = self.ask((Method::GET, &url), None, &[StatusCode::OK]).await?;
        let all = match id {
            Some(_) => vec![StreamSeen::parse(answer.body())?],
            None => StreamSeen::parse_all(answer.body())?,
        };
        let asked = StreamAsked::wanting(id, None, None, None);
        let mut came = Came { told: Vec::new(), differs: false };
        for seen in &all {
            let Came { told, differs } = self.compared(seen, &asked);
            came.told.extend(told);
            came.differs |= differs;
        }
        Ok(came)
    }

    fn compared(&self, seen: &StreamSeen, asked: &StreamAsked) -> Came {
        let expected = Expected {
            issuer: &self.stream.issuer,
            audience: &self.stream.audience,
            pushed_to: &self.pushed_to,
            polled_at: self.polled_at.as_deref(),
        };
        Came::with(seen.to_json(), &seen.drift(expected, asked))
    }

    /// The status of the stream `id`, once it is what is `set`, if that is.
    async fn status(
        &self,
        id: &str,
        (set, reason): (Option<&str>, Option<&str>),
    ) -> anyhow::Result<Came> {
        let set = set.and_then(StreamStatus::named);
        let answer = if let Some(status) = set {
            let asked = status_told(id, status, reason);
            let url = self.offers.at(Offer::Status, None)?;
            let done = [StatusCode::OK, StatusCode::ACCEPTED];
            self.ask((Method::POST, &url), Some(&asked), &done).await?
        } else {
            let url = self.offers.at(Offer::Status, Some(id))?;
            self.ask((Method::GET, &url), None, &[StatusCode::OK]).await?
        };
        if answer.status() == StatusCode::ACCEPTED {
            return Ok(Came::later(Some(id)));
        }
        let told = StatusAsked::parse(answer.body()).context("its answer counts for nothing")?;
        let mut drift = Vec::new();
        if told.id != id {
            let (asked, told) = (json!(id), json!(told.id));
            drift.push(Drift { member: "stream_id", asked, told });
        }
        if let Some(status) = set.filter(|status| *status != told.status) {
            let (asked, told) = (json!(status.as_str()), json!(told.status.as_str()));
            drift.push(Drift { member: "status", asked, told });
        }
        Ok(Came::with(status_told(&told.id, told.status, told.reason.as_deref()), &drift))
    }

    /// Has the stream `id` verified, and waits until the service has the event that tells so.
    async fn verify(&self, id: &str, within: Duration) -> anyhow::Result<Came> {
        let mut state = [0; 16];
        SystemEntropy::new().fill(&mut state);
        let state = keys::base64url(&state);
        let end = socket::call(&self.socket, &Asked::LogTail { n: 1 }).await?;
        let end = end["next"].as_u64().context("the service tells no end of its log")?;
        let asked = verification_request(id, &state);
        self.post(Offer::Verification, &asked, StatusCode::NO_CONTENT).await?;
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
            loop {
                let page = socket::call(&self.socket, &Asked::LogExport { from }).await?;
                let records = page["records"].as_array().context("the service tells no records")?;
                if records.is_empty() {
                    break;
                }
                if records.iter().any(is_it) {
                    return Ok(());
                }
                from = page["next"].as_u64().context("the service tells no next record")?;
            }
        }
    }

    async fn post(&self, offer: Offer, body: &Value, done: StatusCode) -> anyhow::Result<()> {
        let url = self.offers.at(offer, None)?;
        self.ask((Method::POST, &url), Some(body), &[done]).await.map(drop)
    }

    /// What the transmitter answers at `url`, if that is one of `done`.
    async fn ask(
        &self,
        (method, url): (Method, &HttpsUrl),
        body: Option<&Value>,
        done: &[StatusCode],
    ) -> anyhow::Result<Response<Bytes>> {
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let authorization = Some(self.authorization.as_str());
        let message = Message { content_type: "application/json", authorization, body };
        let answer = self.fetcher.request(method, url, message).await;
        let answer = answer.with_context(|| format!("could not ask `{url}`"))?;
        if done.contains(&answer.status()) { Ok(answer) } else { Err(refused(&answer)) }
    }
}

/// What shows a transmitter who asks.
fn shown(file: &Path) -> anyhow::Result<String> {
    let (name, value) = sources::header(file)?;
    let text = value.to_str().unwrap_or_default();
    let is_bearer = text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "));
    ensure!(
        name == header::AUTHORIZATION && is_bearer,
        "`{}` does not hold one line of the form `Authorization: Bearer …`",
        file.display()
    );
    Ok(text.to_owned())
}

/// The stream `name`, as the service has it.
async fn registered(socket: &Path, name: &str) -> anyhow::Result<Stream> {
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

fn subject_asked(id: &str, subject: &str, verified: Option<bool>) -> anyhow::Result<Value> {
    let limits = json::Limits { bytes: secevent::REQUEST_BYTES_MAX, depth: 4 };
    let subject = json::parse(subject.as_bytes(), limits).context("`--subject` is not JSON")?;
    subject_request(id, &subject, verified).context("`--subject` is no subject (RFC 9493)")
}

/// Why a transmitter did not do what it was asked, and what helps.
fn refused(answer: &Response<Bytes>) -> anyhow::Error {
    let status = answer.status();
    let limits = json::Limits { bytes: REFUSAL_BYTES_MAX, depth: 4 };
    let said = json::parse(answer.body(), limits).unwrap_or_default();
    let said: String = match said["description"].as_str() {
        Some(text) => text.chars().take(REFUSAL_TOLD_MAX).collect(),
        None => String::new(),
    };
    let said =
        if said.is_empty() { said } else { format!(" (`{}`)", mcp::render_untrusted(&said)) };
    let remedy = match (status, retry_after(answer.headers())) {
        (StatusCode::UNAUTHORIZED, _) => {
            "the token of `--header-file` does not count there: have the transmitter give another"
                .to_owned()
        }
        (StatusCode::FORBIDDEN, _) => {
            "the token may not do that: it takes one that may manage streams (`ssf.manage`)"
                .to_owned()
        }
        (StatusCode::NOT_FOUND, _) => {
            "it has no such stream of ours: `read` without `--id` lists those that it has"
                .to_owned()
        }
        (StatusCode::CONFLICT, _) => {
            "it has a stream of ours already: `read` shows it, `update` changes it".to_owned()
        }
        (_, Some(wait)) => format!("ask again in {} s", wait.as_secs()),
        (StatusCode::TOO_MANY_REQUESTS, None) => "ask again later".to_owned(),
        _ => "that is not what SSF 1.0 has it answer to what was asked".to_owned(),
    };
    anyhow!("the transmitter answered {status}{said}: {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_with_what_helps_and_no_more_of_it_than_can_be_shown() {
        let check = |status: u16, body: &str, after: Option<&str>, expected: &str| {
            let mut answer = Response::builder().status(status);
            if let Some(after) = after {
                answer = answer.header(header::RETRY_AFTER, after);
            }
            let answer = answer.body(Bytes::from(body.to_owned())).unwrap();
            let told = refused(&answer).to_string();
            assert!(told.contains(expected), "{told}");
            assert!(told.len() < 1_000 && !told.contains('\u{1b}'), "{told}");
        };
        check(401, "<html>", None, "answered 401 Unauthorized: the token of `--header-file`");
        check(403, r#"{"description":"no"}"#, None, "answered 403 Forbidden (`no`): the token");
        check(404, "", None, "has no such stream");
        check(409, "[]", None, "`update` changes it");
        check(429, "{}", Some("7"), "ask again in 7 s");
        check(429, "{}", None, "ask again later");
        check(302, "", None, "not what SSF 1.0");
        let long = json!({ "description": "\u{1b}[2J".repeat(900) }).to_string();
        check(503, &long[..4_000], None, "answered 503");
        let hidden = json!({ "description": "\u{1b}[2J".repeat(100) }).to_string();
        check(503, &hidden, Some("9"), "ask again in 9 s");
    }
}
