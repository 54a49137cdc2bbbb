//! This instance's key and tokens. Neither leaves the process but as what they are for.

use std::sync::RwLock;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use keys::{KeyAlgorithm, SigningKey};
use model::{Clock, Entropy};
use oauth::client_assertion;
use oauth::dpop::{self, DpopExpect};
use serde_json::Value;
use tokio::sync::Mutex;

use super::Options;
use super::wire::HttpClient;
use crate::system::{SystemClock, SystemEntropy};

/// How long before its end a token is replaced, in seconds.
const RENEW_BEFORE_S: i64 = 30;

/// The largest answer of a token endpoint that is read, in bytes.
const ANSWER_MAX: usize = 64 * 1024;

/// A token and when it ends, in seconds since the epoch.
struct Token {
    text: String,
    expires: i64,
}

/// What proves that requests come from this instance.
pub(crate) struct Credentials {
    agent: String,
    agent_key: SigningKey,
    instance_key: SigningKey,
    issuer: String,
    resource: String,
    token: Mutex<Option<Token>>,
    nonce: RwLock<Option<String>>,
    clock: SystemClock,
    entropy: SystemEntropy,
}

impl Credentials {
    pub(crate) fn new(options: &Options, pem: &str) -> anyhow::Result<Self> {
        let agent_key = SigningKey::from_pem(pem)
            .with_context(|| format!("`{}` does not hold an agent's key", options.key.display()))?;
        let issuer = options.url.trim_end_matches('/').to_owned();
        Ok(Self {
            agent: options.agent.clone(),
            agent_key,
            instance_key: SigningKey::generate(KeyAlgorithm::Es256)?,
            resource: format!("{issuer}/mcp/{}", options.server),
            issuer,
            token: Mutex::new(None),
            nonce: RwLock::new(None),
            clock: SystemClock::new(),
            entropy: SystemEntropy::new(),
        })
    }

    /// A token that is good for a while yet.
    pub(crate) async fn token(&self, client: &HttpClient) -> anyhow::Result<String> {
        let mut held = self.token.lock().await;
        let now = self.clock.now().as_seconds();
        if let Some(token) = held.as_ref().filter(|token| token.expires - RENEW_BEFORE_S > now) {
            return Ok(token.text.clone());
        }
        let fresh = self.obtain(client, now).await?;
        let text = fresh.text.clone();
        *held = Some(fresh);
        Ok(text)
    }

    /// Forgets the token, which the gateway did not take.
    pub(crate) async fn forget_token(&self) {
        *self.token.lock().await = None;
    }

    /// Remembers the nonce that the gateway wants.
    pub(crate) fn note_nonce(&self, headers: &HeaderMap) {
        let nonce = headers.get("dpop-nonce").and_then(|value| value.to_str().ok());
        if let Some(nonce) = nonce {
            *self.nonce.write().expect("no panic while it is held") = Some(nonce.to_owned());
        }
    }

    /// A proof for one request.
    pub(crate) fn proof(
        &self,
        method: &str,
        url: &str,
        token: Option<&str>,
    ) -> anyhow::Result<String> {
        let now = self.clock.now().as_seconds();
        let expect = DpopExpect { method, url, access_token: token, now, max_skew_s: 0 };
        let nonce = self.nonce.read().expect("no panic while it is held").clone();
        let jti = self.jti();
        Ok(dpop::make_proof(&self.instance_key, &expect, (&jti, nonce.as_deref()))?)
    }

    fn jti(&self) -> String {
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes);
        keys::base64url(&bytes)
    }

    /// Obtains a token. A demand for a nonce is met once.
    async fn obtain(&self, client: &HttpClient, now: i64) -> anyhow::Result<Token> {
        let (mut status, mut answer) = self.ask(client, now).await?;
        if answer["error"] == "use_dpop_nonce" {
            (status, answer) = self.ask(client, now).await?;
        }
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        if !status.is_success() {
            let why = text("error_description").or_else(|| text("error")).unwrap_or("no reason");
            bail!("{}", refused((&self.agent, &self.issuer), text("error"), why));
        }
        let token = text("access_token").context("the answer has no token")?.to_owned();
        let lifetime = answer.get("expires_in").and_then(Value::as_i64).unwrap_or(0);
        Ok(Token { text: token, expires: now + lifetime })
    }

    async fn ask(&self, client: &HttpClient, now: i64) -> anyhow::Result<(StatusCode, Value)> {
        let url = format!("{}/oauth/token", self.issuer);
        let parties = (self.agent.as_str(), self.issuer.as_str());
        let assertion = client_assertion::make(parties, &self.agent_key, now, &self.jti())?;
        let form = oauth::token_endpoint::form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &self.agent),
            ("client_assertion_type", client_assertion::TYPE),
            ("client_assertion", &assertion),
            ("resource", &self.resource),
        ]);
        let request = Request::post(&url)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("dpop", self.proof("POST", &url, None)?)
            .body(Full::new(Bytes::from(form)))?;
        let response = client.request(request).await.with_context(|| {
            format!("could not reach the gateway at `{}`: is it running?", self.issuer)
        })?;
        self.note_nonce(response.headers());
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error)).context("no whole answer")?;
        Ok((status, serde_json::from_slice(&body.to_bytes()).unwrap_or_default()))
    }
}

/// Why there is no token, and what to do about it.
fn refused((agent, issuer): (&str, &str), error: Option<&str>, why: &str) -> String {
    let remedy = match error {
        Some("invalid_client") => {
            "is the key that of the agent, and is the agent registered there and not suspended?"
        }
        Some("access_denied") => "see `chancery log chain` with the id of the decision",
        Some("invalid_target") => "is the server's name right?",
        _ => "see the service's log",
    };
    format!("`{issuer}` gives agent `{agent}` no token: {why}; {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_token_says_what_to_do() {
        let check = |error: &str, expected: &str| {
            let said = refused(("bot", "http://g"), Some(error), "because");
            assert!(said.contains("agent `bot`") && said.contains(expected), "{said}");
        };
        check("invalid_client", "suspended");
        check("access_denied", "chancery log chain");
        check("invalid_target", "name");
    }
}
