//! What shows a transmitter who asks: a line that the operator wrote, or a token that is fetched where the
//! operator said (RFC 6749 §4.4).
//!
//! INVARIANT: what shows the token endpoint who we are goes there and nowhere else, whatever metadata or an answer
//! say; neither that nor a token stands in an error.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use https_url::HttpsUrl;
use keys::SigningKey;
use login::{ClientAuthentication, ClientSecret};
use model::{Clock, Entropy as _};
use oauth::signals::{Granted, granted, refusal};
use outbound::{Fetcher, Message};
use tokio::sync::Mutex;

use crate::attestation::fetcher;
use crate::config::{FetchedFrom, Signals, TokensFrom};
use crate::system::SystemEntropy;
use crate::transmitter::Refused;

/// How much sooner than it ends a token is shown no longer.
const SPARE: Duration = Duration::from_secs(30);

/// How long a token is kept at most.
const KEPT_MAX: Duration = Duration::from_hours(1);

/// How long one is kept of which nobody says when it ends.
const KEPT_UNTOLD: Duration = Duration::from_mins(5);

/// How long another token is not fetched for one that was: less than a transmitter is left alone that held nothing.
const FETCHED_APART: Duration = Duration::from_secs(4);

/// What shows a transmitter who asks.
#[derive(Clone)]
pub(crate) enum Shown {
    /// A line.
    Line(HeaderName, HeaderValue),
    /// Tokens.
    Tokens(Arc<Tokens>),
}

/// A header that is shown.
pub(crate) struct Header {
    pub(crate) name: HeaderName,
    pub(crate) value: HeaderValue,
    /// Whether it was shown before, and may have been taken back.
    pub(crate) was_kept: bool,
}

impl Shown {
    /// The header, which is not what was `refused`.
    pub(crate) async fn header(&self, refused: Option<&HeaderValue>) -> anyhow::Result<Header> {
        match self {
            Self::Line(name, value) => {
                Ok(Header { name: name.clone(), value: value.clone(), was_kept: false })
            }
            Self::Tokens(tokens) => tokens.header(refused).await,
        }
    }
}

/// By stream: the tokens by which its transmitter knows us.
pub(crate) struct AllTokens(BTreeMap<String, Arc<Tokens>>);

impl AllTokens {
    /// Those of `signals`: none is fetched yet.
    pub(crate) fn of(signals: &Signals, clock: &Arc<dyn Clock>) -> anyhow::Result<Self> {
        let of = |(stream, from): (&String, &TokensFrom)| {
            let tokens = Tokens::new(from, &signals.keys, clock.clone());
            let tokens = tokens.with_context(|| format!("`signals.oauth` of `{stream}`"))?;
            Ok((stream.clone(), Arc::new(tokens)))
        };
        signals.oauth.iter().map(of).collect::<anyhow::Result<_>>().map(Self)
    }

    /// What shows the transmitter of `stream` who asks: the line in `file`, or a token.
    pub(crate) fn shown(&self, stream: &str, file: Option<&Path>) -> anyhow::Result<Shown> {
        match (file, self.0.get(stream)) {
            (Some(file), _) => {
                let (name, value) = crate::sources::header(file)?;
                Ok(Shown::Line(name, value))
            }
            (None, Some(tokens)) => Ok(Shown::Tokens(tokens.clone())),
            (None, None) => bail!("nothing shows the transmitter of `{stream}` who asks"),
        }
    }
}

/// The tokens of one stream.
pub(crate) struct Tokens {
    endpoint: HttpsUrl,
    client_id: String,
    /// For whom it is shown who we are.
    issuer: String,
    scope: String,
    by: ClientAuthentication,
    fetcher: Fetcher,
    clock: Arc<dyn Clock>,
    /// Whoever fetches one has it: the others wait for that one.
    kept: Mutex<Option<Kept>>,
}

/// A token that counts for a while.
struct Kept {
    value: HeaderValue,
    /// When it was fetched, on the monotonic clock.
    fetched: Duration,
    /// Until when it is shown, on that clock.
    until: Duration,
}

impl Kept {
    /// The header, if it is shown at `now`; otherwise another one is fetched. But of whoever `refused` what was
    /// fetched a moment ago, that is no reason: it would have the endpoint asked as often as it answers us.
    fn header(
        &self,
        refused: Option<&HeaderValue>,
        now: Duration,
    ) -> anyhow::Result<Option<Header>> {
        if refused == Some(&self.value) {
            let is_new = now.saturating_sub(self.fetched) < FETCHED_APART;
            ensure!(!is_new, "it refused a token that was fetched a moment ago");
            return Ok(None);
        }
        let (name, value) = (header::AUTHORIZATION, self.value.clone());
        Ok((self.until > now).then_some(Header { name, value, was_kept: true }))
    }
}

impl Tokens {
    /// Tokens that are fetched as `from` says, and reached as the documents of transmitters are.
    pub(crate) fn new(
        from: &TokensFrom,
        reached: &FetchedFrom,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let by = match (&from.key, &from.client_secret_file) {
            (Some(path), _) => {
                let pem = String::from_utf8(keys::read_private(path)?).unwrap_or_default();
                let key = SigningKey::from_pem(&pem);
                let key = key.with_context(|| format!("`{}` holds no key", path.display()))?;
                ClientAuthentication::PrivateKeyJwt(Arc::new(key))
            }
            (None, Some(path)) => ClientAuthentication::Secret(ClientSecret::read(path)?),
            (None, None) => bail!("nothing shows the token endpoint who we are"),
        };
        Ok(Self {
            endpoint: HttpsUrl::parse(&from.token_endpoint)?,
            client_id: from.client_id.clone(),
            issuer: from.issuer.clone().unwrap_or_default(),
            scope: from.scope.clone(),
            by,
            fetcher: fetcher(&reached.private_hosts, &reached.ca_files)?,
            clock,
            kept: Mutex::default(),
        })
    }

    /// The header of a token that counts, and is not the one that was `refused`.
    pub(crate) async fn header(&self, refused: Option<&HeaderValue>) -> anyhow::Result<Header> {
        let mut kept = self.kept.lock().await;
        let now = self.clock.monotonic();
        if let Some(kept) = kept.as_ref()
            && let Some(header) = kept.header(refused, now)?
        {
            return Ok(header);
        }
        *kept = None;
        let fetched = self.fetch().await;
        let Granted { token, lasts_s } =
            fetched.with_context(|| format!("no token comes from `{}`", self.endpoint.as_str()))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))?;
        value.set_sensitive(true);
        let until = now + shown_for(lasts_s);
        *kept = Some(Kept { value: value.clone(), fetched: now, until });
        Ok(Header { name: header::AUTHORIZATION, value, was_kept: false })
    }

    async fn fetch(&self) -> anyhow::Result<Granted> {
        let jti = keys::unguessable(|bytes| SystemEntropy::new().fill(bytes));
        let pairs = [("grant_type", "client_credentials"), ("scope", &*self.scope)];
        let parties = (&*self.client_id, &*self.issuer);
        let request = self.by.request(&pairs, parties, (self.clock.now().as_seconds(), &jti))?;
        let message = Message {
            content_type: "application/x-www-form-urlencoded",
            authorization: request.authorization.as_ref().map(|secret| secret.expose().as_str()),
            body: Bytes::from(request.form.expose().clone()),
        };
        let answer = self.fetcher.request(Method::POST, &self.endpoint, message).await?;
        if answer.status() == StatusCode::OK {
            return Ok(granted(answer.body())?);
        }
        let refused = anyhow::Error::new(Refused::of(answer.status(), answer.headers()));
        Err(match refusal(answer.body()) {
            Some(why) => refused.context(why),
            None => refused,
        })
    }
}

/// How long a token is shown that lasts so many seconds, if that is said.
fn shown_for(lasts_s: Option<u64>) -> Duration {
    let lasts = lasts_s.map_or(KEPT_UNTOLD, Duration::from_secs);
    lasts.min(KEPT_MAX).saturating_sub(SPARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever takes what was just fetched and refuses what was kept has no token fetched for each answer.
    #[test]
    fn for_a_token_that_was_fetched_a_moment_ago_no_other_is() {
        let [value, other] = ["Bearer a", "Bearer b"].map(HeaderValue::from_static);
        let (fetched, until) = (Duration::from_secs(10), Duration::from_secs(100));
        let kept = Kept { value: value.clone(), fetched, until };
        let check = |refused: Option<&HeaderValue>, at_ms: u64, expected: Option<bool>| {
            let header = kept.header(refused, Duration::from_millis(at_ms)).ok();
            let is_shown = header.map(|header| header.is_some());
            assert_eq!(is_shown, expected, "{refused:?} at {at_ms} ms");
        };
        check(None, 10_000, Some(true));
        check(None, 99_999, Some(true));
        check(None, 100_000, Some(false));
        check(Some(&other), 10_000, Some(true));
        check(Some(&value), 13_999, None);
        check(Some(&value), 14_000, Some(false));
    }

    #[test]
    fn a_token_is_shown_until_shortly_before_it_ends_and_for_an_hour_at_most() {
        let check = |lasts_s, seconds| {
            assert_eq!(shown_for(lasts_s), Duration::from_secs(seconds), "{lasts_s:?}");
        };
        check(Some(0), 0);
        check(Some(30), 0);
        check(Some(31), 1);
        check(Some(300), 270);
        check(Some(3_600), 3_570);
        check(Some(3_601), 3_570);
        check(Some(1_000_000_000_000), 3_570);
        check(Some(u64::MAX), 3_570);
        check(None, 270);
    }
}
