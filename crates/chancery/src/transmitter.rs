//! How a transmitter is asked, at a URL that the operator named.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use outbound::{HttpClient, http_client};
use secevent::POLL_BYTES_MAX;
use serde_json::Value;

use crate::shown::{Header, Shown};

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// How far apart at most a transmitter is asked that could not be: it doubles.
const PAUSE_MAX: Duration = Duration::from_mins(2);

/// How long a transmitter is left alone at most, if it asks for that: beyond, its silence is its own.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// That a transmitter, or its token endpoint, did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("it answered {status}")]
pub(crate) struct Refused {
    status: StatusCode,
    /// After how long it may be asked again, if it says so.
    after: Option<Duration>,
}

impl Refused {
    /// What was answered by `status`, with `headers`.
    pub(crate) fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        Self { status, after: retry_after(headers) }
    }
}

/// How long a transmitter is left alone that could not be asked.
pub(crate) struct Pause {
    first: Duration,
    next: Duration,
}

impl Pause {
    /// Pauses, of which the first is so long.
    pub(crate) const fn new(first: Duration) -> Self {
        Self { first, next: first }
    }

    /// It could be asked: the next pause is the first.
    pub(crate) const fn over(&mut self) {
        self.next = self.first;
    }

    /// How long it is left alone now, after `error`, if that was one: each time longer, and no shorter than it
    /// asks for.
    pub(crate) fn after(&mut self, error: Option<&anyhow::Error>) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(PAUSE_MAX);
        let asked = error.and_then(|error| error.downcast_ref::<Refused>()?.after);
        asked.map_or(pause, |asked| pause.max(asked.min(RETRY_AFTER_MAX)))
    }
}

/// `Retry-After`, if it is in seconds (RFC 9110 §10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Where a transmitter is asked, and what shows it who asks.
pub(crate) struct Endpoint {
    url: Uri,
    shown: Shown,
    client: HttpClient,
}

impl Endpoint {
    /// The endpoint at `url`, which is shown that.
    pub(crate) fn new(url: &str, shown: Shown) -> anyhow::Result<Self> {
        let url = url.parse().with_context(|| format!("`{url}` is not a URL"))?;
        Ok(Self { url, shown, client: http_client()? })
    }

    /// What it answers to `body`, if that is a success. A token that was kept and is refused may have been taken
    /// back: then another one is shown, once.
    pub(crate) async fn post(&self, body: &Value) -> anyhow::Result<Bytes> {
        let body = Bytes::from(body.to_string());
        let answered = async {
            let header = self.shown.header(None).await?;
            let answer = self.ask(&header, body.clone()).await;
            if header.was_kept && answer.as_ref().is_err_and(is_unauthorized) {
                let another = self.shown.header(Some(&header.value)).await?;
                return self.ask(&another, body).await;
            }
            answer
        };
        tokio::time::timeout(ANSWER_WITHIN, answered).await.context("no answer in time")?
    }

    async fn ask(&self, shown: &Header, body: Bytes) -> anyhow::Result<Bytes> {
        let request = Request::post(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(&shown.name, &shown.value)
            .body(Full::new(body))?;
        let answer = self.client.request(request).await.context("it could not be reached")?;
        let status = answer.status();
        if !status.is_success() {
            return Err(Refused::of(status, answer.headers()).into());
        }
        let body = Limited::new(answer.into_body(), POLL_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("its answer cannot be read: {error}"));
        Ok(body?.to_bytes())
    }
}

/// Whether what it was shown counts for nothing.
fn is_unauthorized(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<Refused>();
    refused.is_some_and(|refused| refused.status == StatusCode::UNAUTHORIZED)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_transmitter_is_left_alone_for_longer_each_time_and_no_shorter_than_it_asks_for() {
        let mut pause = Pause::new(Duration::from_secs(50));
        let refused = |after: Option<&'static str>| {
            let after = after.map(|after| (header::RETRY_AFTER, HeaderValue::from_static(after)));
            let status = StatusCode::TOO_MANY_REQUESTS;
            Refused { status, after: retry_after(&after.into_iter().collect()) }.into()
        };
        let mut check = |error: Option<anyhow::Error>, seconds: u64| {
            assert_eq!(pause.after(error.as_ref()), Duration::from_secs(seconds));
        };
        check(None, 50);
        check(Some(refused(Some("7"))), 100);
        check(Some(refused(Some("600"))), 600);
        check(Some(refused(Some("99999999999"))), 3_600);
        check(Some(refused(Some("Fri, 31 Dec 1999 23:59:59 GMT"))), 120);
        check(Some(refused(None)), 120);
        check(Some(anyhow::anyhow!("it could not be reached")), 120);
        pause.over();
        assert_eq!(pause.after(None), Duration::from_secs(50));
    }
}
