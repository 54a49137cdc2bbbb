//! One instance: its key and its tokens. The key never leaves the process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use keys::{KeyAlgorithm, SigningKey};
use model::{Clock, Entropy};
use oauth::device::{self, Enrolment};
use oauth::dpop::{self, DpopExpect};
use oauth::{client_assertion, consent, initiation};
use outbound::HttpClient;
use serde_json::Value;
use tokio::sync::Mutex;

use super::credentials::Shown;
use super::{Options, Platform};
use crate::config::check_destination;
use crate::system::{SystemClock, SystemEntropy};

/// How long before its end a token is replaced, in seconds.
const RENEW_BEFORE_S: i64 = 30;

/// The largest answer of a token endpoint that is read, in bytes.
const ANSWER_MAX: usize = 64 * 1024;

/// The token service was asked and gives no token: to ask the same again is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoToken(pub(super) String);

/// A token and when it ends, in seconds since the epoch.
struct Token {
    text: String,
    expires: i64,
}

/// The tokens of an instance: one for each server, each following the one before it.
#[derive(Default)]
struct Tokens {
    by_server: BTreeMap<String, Token>,
    /// What the next renewal names: the id and the nonce of the last token.
    last: Option<(String, String)>,
    /// The renewal that was asked for and not answered yet.
    attempt: Option<String>,
    /// What a system signed to start the work; shown until there is a token.
    initiation: Option<String>,
    /// What a person is asked for, as the agent lacks it: the server, and by what the answer is redeemed.
    consent: Option<(String, String)>,
}

/// An instance of an agent.
pub(crate) struct Instance {
    agent: String,
    /// The agent's, or the device's.
    signs: RwLock<Option<Arc<SigningKey>>>,
    /// The file in which that lies.
    key_file: Option<PathBuf>,
    is_device: bool,
    platform: Option<Platform>,
    instance_key: SigningKey,
    issuer: String,
    host: PathBuf,
    tokens: Mutex<Tokens>,
    nonce: RwLock<Option<String>>,
    over: AtomicBool,
    clock: SystemClock,
    entropy: SystemEntropy,
}

impl Instance {
    /// A new instance of the agent whose key is `pem`, or that a platform vouches for.
    pub(super) fn new(options: &Options, pem: Option<&str>) -> anyhow::Result<Self> {
        let signs = pem.map(SigningKey::from_pem).transpose();
        let signs = signs.with_context(|| {
            let file = options.key.clone().unwrap_or_default();
            format!("`{}` does not hold a key of an agent or a device", file.display())
        })?;
        if options.platform.is_some() {
            let sent = check_destination(&options.url);
            sent.map_err(|why| not_in_clear(&options.url, &why))?;
        }
        let initiation = options.initiation.as_ref().map(|it| it.text.clone());
        Ok(Self {
            agent: options.agent.clone(),
            signs: RwLock::new(signs.map(Arc::new)),
            key_file: options.key.clone(),
            is_device: options.is_device,
            platform: options.platform.clone(),
            instance_key: SigningKey::generate(KeyAlgorithm::Es256)?,
            issuer: options.url.trim_end_matches('/').to_owned(),
            host: options.host.clone(),
            tokens: Mutex::new(Tokens { initiation, ..Tokens::default() }),
            nonce: RwLock::new(None),
            over: AtomicBool::new(false),
            clock: SystemClock::new(),
            entropy: SystemEntropy::new(),
        })
    }

    /// Whether its task is over: only a new instance gets further.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// What a request for `method` to `server` shows.
    pub(super) async fn show(
        &self,
        client: &HttpClient,
        (method, server): (&str, &str),
    ) -> anyhow::Result<Shown> {
        let token = self.token(client, server).await?;
        let proof = self.proof(method, &self.resource(server), Some(&token))?;
        Ok(Shown { token, proof })
    }

    /// A token for `server` that is good for a while yet.
    async fn token(&self, client: &HttpClient, server: &str) -> anyhow::Result<String> {
        let mut tokens = self.tokens.lock().await;
        let now = self.clock.now().as_seconds();
        let known = tokens.by_server.get(server);
        if let Some(token) = known.filter(|token| token.expires - RENEW_BEFORE_S > now) {
            return Ok(token.text.clone());
        }
        let fresh = self.obtain(client, (server, now), &mut tokens).await?;
        let text = fresh.text.clone();
        tokens.by_server.insert(server.to_owned(), fresh);
        Ok(text)
    }

    /// What the same request shows in place of a token that the gateway did not take: a new one that no
    /// other request shows, as it may be good for one only.
    pub(super) async fn show_another(
        &self,
        client: &HttpClient,
        (method, server): (&str, &str),
    ) -> anyhow::Result<Shown> {
        let mut tokens = self.tokens.lock().await;
        let now = self.clock.now().as_seconds();
        let Token { text: token, .. } = self.obtain(client, (server, now), &mut tokens).await?;
        // As one that has ended: nobody shows it again, but it may be needed to give the task up.
        let kept = Token { text: token.clone(), expires: now };
        tokens.by_server.insert(server.to_owned(), kept);
        drop(tokens);
        let proof = self.proof(method, &self.resource(server), Some(&token))?;
        Ok(Shown { token, proof })
    }

    /// Remembers the nonce that the gateway wants.
    pub(super) fn note_nonce(&self, nonce: &str) {
        *self.nonce.write().expect("no panic while it is held") = Some(nonce.to_owned());
    }

    fn resource(&self, server: &str) -> String {
        format!("{}/mcp/{server}", self.issuer)
    }

    fn proof(&self, method: &str, url: &str, token: Option<&str>) -> anyhow::Result<String> {
        let now = self.clock.now().as_seconds();
        let expect = DpopExpect { method, url, access_token: token, now, max_skew_s: 0 };
        let nonce = self.nonce.read().expect("no panic while it is held").clone();
        let jti = self.random();
        Ok(dpop::make_proof(&self.instance_key, &expect, (&jti, nonce.as_deref()))?)
    }

    /// What nobody can guess.
    fn random(&self) -> String {
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes);
        keys::base64url(&bytes)
    }

    /// Takes the key that lies by now where the last one did, if that is another.
    fn takes_key_anew(&self) -> bool {
        let pem = super::pem(self.key_file.as_deref()).ok().flatten();
        let Some(key) = pem.and_then(|pem| SigningKey::from_pem(&pem).ok()) else { return false };
        let mut signs = self.signs.write().expect("no panic while it is held");
        let own = key.verifying().thumbprint();
        let is_another = signs.as_ref().is_some_and(|it| it.verifying().thumbprint() != own);
        if is_another {
            *signs = Some(Arc::new(key));
        }
        is_another
    }

    /// Obtains a token. A demand for a nonce is met once, and where the agent is known by another key by
    /// now, that is shown.
    async fn obtain(
        &self,
        client: &HttpClient,
        (server, now): (&str, i64),
        tokens: &mut Tokens,
    ) -> anyhow::Result<Token> {
        // The same until it is answered: an answer that was lost is asked for again.
        tokens.attempt.get_or_insert_with(|| self.random());
        let (mut status, mut answer) = self.ask(client, (server, now), tokens).await?;
        if answer["error"] == "use_dpop_nonce" {
            (status, answer) = self.ask(client, (server, now), tokens).await?;
        }
        if answer["error"] == "invalid_client" && self.takes_key_anew() {
            (status, answer) = self.ask(client, (server, now), tokens).await?;
        }
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        if !status.is_success() {
            let unsaid = format!("it answered {status}");
            let why = text("error_description").or_else(|| text("error")).unwrap_or(&unsaid);
            self.over.fetch_or(why.starts_with(sts::TASK_OVER), Ordering::Relaxed);
            tokens.consent = asked_from_now_on(tokens.consent.take(), server, &answer);
            let error = (text("error"), text("consent_uri"));
            let said = refused((&self.agent, &self.issuer), error, why);
            // Whatever else answers with such a status says no `error`.
            if status.is_client_error() && text("error").is_some() {
                return Err(NoToken(said).into());
            }
            bail!("{said}");
        }
        let token = text("access_token").context("the answer has no token")?.to_owned();
        tokens.last =
            text("jti").zip(text("renewal_nonce")).map(|(id, nonce)| (id.into(), nonce.into()));
        (tokens.attempt, tokens.initiation, tokens.consent) = (None, None, None);
        let lifetime = answer.get("expires_in").and_then(Value::as_i64).unwrap_or(0);
        Ok(Token { text: token, expires: now + lifetime })
    }

    async fn ask(
        &self,
        client: &HttpClient,
        (server, now): (&str, i64),
        tokens: &Tokens,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let url = format!("{}/oauth/token", self.issuer);
        let shown = self.shown(now).await?;
        let (resource, voucher) = (self.resource(server), self.voucher().await);
        let asked = tokens.consent.as_ref().filter(|(asked, _)| asked == server);
        let (grant_type, assertion, request_uri) = match (&tokens.initiation, asked) {
            (Some(initiation), _) => (initiation::GRANT_TYPE, initiation.as_str(), ""),
            (None, Some((_, request_uri))) => (consent::GRANT_TYPE, "", request_uri.as_str()),
            (None, None) => ("client_credentials", "", ""),
        };
        let mut form = vec![
            ("grant_type", grant_type),
            ("assertion", assertion),
            ("request_uri", request_uri),
            ("client_id", &self.agent),
            ("resource", &resource),
            ("attempt", tokens.attempt.as_deref().unwrap_or_default()),
            ("voucher", voucher.as_deref().unwrap_or_default()),
        ];
        form.extend(shown.iter().map(|(name, value)| (*name, value.as_str())));
        if let Some((id, nonce)) = &tokens.last {
            form.extend([("previous_jti", id.as_str()), ("renewal_nonce", nonce.as_str())]);
        }
        let request = Request::post(&url)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("dpop", self.proof("POST", &url, None)?)
            .body(Full::new(Bytes::from(oauth::form::form(&form))))?;
        let response = client.request(request).await.with_context(|| {
            format!("could not reach the gateway at `{}`: is it running?", self.issuer)
        })?;
        let nonce = response.headers().get("dpop-nonce").and_then(|value| value.to_str().ok());
        if let Some(nonce) = nonce {
            self.note_nonce(nonce);
        }
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error)).context("no whole answer")?;
        Ok((status, serde_json::from_slice(&body.to_bytes()).unwrap_or_default()))
    }

    /// By what this is an instance of the agent's: the key of the agent or the device, and what the
    /// platform says of this workload; without a key, by the latter alone.
    async fn shown(&self, now: i64) -> anyhow::Result<Vec<(&'static str, String)>> {
        let told = match &self.platform {
            Some(platform) => Some(platform.token(&self.issuer).await?),
            None => None,
        };
        let signs = self.signs.read().expect("no panic while it is held").clone();
        let Some(key) = signs.as_deref() else {
            let (_, svid) = told.context("there is no key of the agent, and no Workload API")?;
            let kind = client_assertion::SPIFFE_TYPE.to_owned();
            return Ok(vec![("client_assertion_type", kind), ("client_assertion", svid)]);
        };
        let parties = (self.agent.as_str(), self.issuer.as_str());
        let jti = self.random();
        let (kind, assertion) = if self.is_device {
            let jkt = self.instance_key.verifying().thumbprint_text();
            let enrolment = Enrolment { jkt, jti, exp: now + device::LIFETIME_MAX_S };
            (device::TYPE, device::make(parties, key, now, &enrolment)?)
        } else {
            (client_assertion::TYPE, client_assertion::make(parties, key, now, &jti)?)
        };
        let own = [("client_assertion_type", kind.to_owned()), ("client_assertion", assertion)];
        let beside = told.map(|(kind, token)| {
            [("workload_token_type", kind.to_owned()), ("workload_token", token)]
        });
        Ok(own.into_iter().chain(beside.into_iter().flatten()).collect())
    }

    /// Gives the task up, as the key is gone from now on: the token of the platform may then serve the
    /// next instance of this workload.
    pub(super) async fn give_up(&self, client: &HttpClient) -> anyhow::Result<()> {
        let tokens = self.tokens.lock().await;
        let newest = tokens.by_server.values().max_by_key(|token| token.expires);
        let Some(token) = newest.filter(|_| self.platform.is_some()) else { return Ok(()) };
        let shown = self.shown(self.clock.now().as_seconds()).await?;
        let mut form = vec![("client_id", self.agent.as_str()), ("token", token.text.as_str())];
        form.extend(shown.iter().map(|(name, value)| (*name, value.as_str())));
        let url = format!("{}/oauth/revoke", self.issuer);
        let request = Request::post(&url)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("dpop", self.proof("POST", &url, None)?)
            .body(Full::new(Bytes::from(oauth::form::form(&form))))?;
        client.request(request).await?;
        Ok(())
    }

    /// What the host says of this process. Without it, only the key of the agent or the device vouches.
    async fn voucher(&self) -> Option<String> {
        let key = self.instance_key.verifying().thumbprint_text();
        match crate::socket::voucher(&self.host, &key).await {
            Ok(voucher) => Some(voucher),
            Err(error) => {
                tracing::debug!("`{}` does not vouch: {error:#}", self.host.display());
                None
            }
        }
    }
}

/// Why the platform's token goes nowhere: whoever reads it on its way is the workload.
fn not_in_clear(url: &str, why: &str) -> anyhow::Error {
    anyhow::anyhow!("the platform's token is not sent to `{url}`, which {why}")
}

/// What a person is asked for, after this `answer` without a token for `server`: what they were asked `before`, unless
/// there is no such request any more, its time is over, or another one is told of. Whatever else is wrong, their answer
/// may yet come.
fn asked_from_now_on(
    before: Option<(String, String)>,
    server: &str,
    answer: &Value,
) -> Option<(String, String)> {
    match answer.get("request_uri").and_then(Value::as_str) {
        Some(request_uri) => Some((server.to_owned(), request_uri.to_owned())),
        None => before
            .filter(|_| answer["error"] != "invalid_grant" && answer["error"] != "expired_token"),
    }
}

/// Why there is no token, and what to do about it: by the error, and where a person can consent, if they can.
fn refused(
    (agent, issuer): (&str, &str),
    (error, consent_uri): (Option<&str>, Option<&str>),
    why: &str,
) -> String {
    if let Some(uri) = consent_uri {
        return format!(
            "`{issuer}` gives agent `{agent}` no token: {why}; a person can consent at {uri}, and then it is \
             tried again"
        );
    }
    let remedy = match error {
        Some("invalid_client") => {
            "is the key that of the agent, or the workload one that its rules admit, and is the \
             agent registered there and not suspended? a device is enrolled by `chancery login`"
        }
        Some("access_denied") => "see `chancery log chain` with the id of the decision",
        Some("unauthorized_client") => "see `chancery agent list` and `chancery mandate list`",
        Some("invalid_grant") => "see `chancery instance list` and `chancery log tail`",
        Some("invalid_target") => {
            "is the server's name right, and is the agent's work for it? `chancery log chain` tells, with \
             the id of the decision, if it was decided"
        }
        Some(_) => "see the service's log",
        None => "is it the URL for agents, and what does the service's log say?",
    };
    format!("`{issuer}` gives agent `{agent}` no token: {why}; {remedy}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_platforms_token_is_not_sent_in_clear() {
        let file = || Some(Platform::File("token".into()));
        let socket = || Platform::of(None, Some("/run/spire/agent.sock")).unwrap();
        let check = |url: &str, platform: Option<Platform>, expected: Option<&str>| {
            let options = Options {
                server: "crm".to_owned(),
                agent: "bot".to_owned(),
                key: None,
                is_device: false,
                platform,
                url: url.to_owned(),
                host: PathBuf::new(),
                initiation: None,
                listen: None,
            };
            let told = Instance::new(&options, None).err().map(|error| error.to_string());
            let is_told = told.as_deref().zip(expected).is_some_and(|(told, it)| told.contains(it));
            assert!(is_told || told.as_deref() == expected, "{url}: {told:?}");
        };
        let clear =
            Some("is not sent to `http://gateway.internal:8420`, which is http off loopback");
        for platform in [file, socket] {
            check("http://gateway.internal:8420", platform(), clear);
            check("http://127.0.0.1.evil.example", platform(), Some("is http off loopback"));
            check("http://10.0.0.1", platform(), Some("is http off loopback"));
            check("http://a@127.0.0.1", platform(), Some("names a user"));
            check("gateway:8420", platform(), Some("is not an https URL"));
            for sound in ["https://gateway.internal", "http://127.0.0.1:8420", "http://[::1]:1"] {
                check(sound, platform(), None);
            }
            check("http://localhost:8420", platform(), None);
        }
        // An assertion is for this gateway, and used once.
        check("http://gateway.internal:8420", None, None);
    }

    #[test]
    fn what_a_person_is_asked_is_kept_until_it_is_of_no_use() {
        let asked = |uri: &str| Some(("s".to_owned(), uri.to_owned()));
        let check = |answer: Value, expected: Option<(String, String)>| {
            assert_eq!(asked_from_now_on(asked("a"), "s", &answer), expected, "{answer}");
        };
        for error in
            ["temporarily_unavailable", "invalid_client", "use_dpop_nonce", "access_denied"]
        {
            check(json!({ "error": error }), asked("a"));
        }
        check(Value::Null, asked("a"));
        check(json!({ "error": "authorization_pending", "request_uri": "a" }), asked("a"));
        check(json!({ "error": "expired_token", "request_uri": "b" }), asked("b"));
        check(json!({ "error": "invalid_grant" }), None);
        check(json!({ "error": "expired_token" }), None);
        assert_eq!(asked_from_now_on(None, "s", &json!({ "error": "invalid_grant" })), None);
    }

    #[test]
    fn a_refused_token_says_what_to_do() {
        let check = |error: &str, expected: &str| {
            let said = refused(("bot", "http://g"), (Some(error), None), "because");
            assert!(said.contains("agent `bot`") && said.contains(expected), "{said}");
            let said = refused(("bot", "http://g"), (Some(error), Some("http://p/c")), "because");
            assert!(said.contains("because; a person can consent at http://p/c"), "{said}");
        };
        check("invalid_client", "suspended");
        check("access_denied", "chancery log chain");
        check("invalid_grant", "chancery instance list");
        check("unauthorized_client", "chancery mandate list");
        check("invalid_target", "name");
    }
}
