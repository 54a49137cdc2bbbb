//! What shows a transmitter who asks: a line that the operator wrote, or a token that is fetched where the
//! operator said (RFC 6749 §4.4).
//!
//! INVARIANT: what shows the token endpoint who we are goes there and nowhere else, whatever metadata or an answer
//! say; neither that nor a token stands in an error.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
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
    /// Until when it is shown, on the monotonic clock.
    until: Duration,
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
        let (name, now) = (header::AUTHORIZATION, self.clock.monotonic());
        let counts = |kept: &&Kept| kept.until > now && Some(&kept.value) != refused;
        if let Some(Kept { value, .. }) = kept.as_ref().filter(counts) {
            return Ok(Header { name, value: value.clone(), was_kept: true });
        }
        *kept = None;
        let fetched = self.fetch().await;
        let Granted { token, lasts_s } =
            fetched.with_context(|| format!("no token comes from `{}`", self.endpoint.as_str()))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))?;
        value.set_sensitive(true);
        *kept = Some(Kept { value: value.clone(), until: now + shown_for(lasts_s) });
        Ok(Header { name, value, was_kept: false })
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
