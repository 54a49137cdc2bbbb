//! A login from its beginning to its end: authorization code with PKCE (Core §3.1, RFC 9700 §2.1.1).

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use keys::Secret;
use model::{Clock, Entropy};
use serde_json::{Map, Value};

use crate::cached::Cached;
use crate::callback;
use crate::cookies::{LoginState, unguessable};
use crate::error::LoginError;
use crate::id_token::{self, Expected, LoggedIn};
use crate::jws;
use crate::key_set::KeySet;
use crate::metadata::{self, Metadata};
use crate::pending::{Pending, Questions, Table};
use crate::provider::Provider;
use crate::transport::{ANSWER_MAX, DEPTH_MAX, TokenRequest, Transport};
use crate::url::ReturnPath;

/// Errors of the token endpoint that are told apart (RFC 6749 §5.2). Whatever else it says is its
/// own text, and is not shown.
const KNOWN: [&str; 6] = [
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_grant_type",
];

/// A login that was begun.
#[derive(Debug)]
#[must_use = "a browser that does not hold the state cannot finish the login"]
pub struct Begun {
    /// The URL at the provider to which the browser is sent.
    pub redirect: String,
    /// What the browser is to hold until it comes back.
    pub state: LoginState,
}

/// Whether the provider is to ask who it is (OpenID Connect Core 1.0 §3.1.2.1, `prompt`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// As it sees fit: it may know the browser.
    AsNeeded,
    /// In any case: whom it knows the browser for is not whom we need, or was logged in too long ago.
    Login,
}

/// The relying party of one provider.
pub struct Login {
    provider: Provider,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    metadata: Cached<Metadata>,
    keys: Cached<KeySet>,
    pending: Table,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.provider.settings().issuer)
    }
}

impl Login {
    /// Logs people in at `provider`, which is asked over `transport` when first needed.
    pub fn new(
        provider: Provider,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let (metadata, keys, pending) = (Cached::default(), Cached::default(), Table::default());
        Self { provider, transport, clock, entropy, metadata, keys, pending }
    }

    /// Begins a login of whoever wants to go to `return_to`, and comes `from` there, as its caller tells
    /// one from another; nobody in particular if that says nothing.
    pub async fn begin(
        &self,
        return_to: ReturnPath,
        from: Option<IpAddr>,
        prompt: Prompt,
    ) -> Result<Begun, LoginError> {
        let metadata = self.metadata().await?;
        let sources = (&*self.clock, &*self.entropy);
        let (state, questions) =
            self.pending.begin(from, (Arc::clone(&metadata), return_to), sources)?;
        Ok(Begun { redirect: self.question(&metadata, &questions, prompt), state })
    }

    /// Finishes the login that the browser with `login` began, by the `query` with which it came
    /// back. Whatever comes of it, a second try needs a new login.
    pub async fn finish(
        &self,
        login: LoginState,
        query: &str,
    ) -> Result<(LoggedIn, ReturnPath), LoginError> {
        let answer = callback::read(query)?;
        let pending = self.pending.take(&login, &answer.state, &*self.clock)?;
        pending.metadata.check_issuer(answer.iss.as_deref())?;
        let code = answer.outcome.map_err(LoginError::NotLoggedIn)?;
        let tokens = self.redeem(&code, &pending).await?;
        let who = self.identify(&tokens, &pending).await?;
        Ok((who, pending.return_to))
    }

    /// The authorization request (Core §3.1.2.1).
    fn question(&self, metadata: &Metadata, questions: &Questions, prompt: Prompt) -> String {
        let settings = self.provider.settings();
        let scope = self.provider.scope();
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", &settings.client_id),
            ("redirect_uri", settings.redirect_uri.as_str()),
            ("scope", &scope),
            ("state", &questions.state),
            ("nonce", &questions.nonce),
            ("code_challenge", &questions.challenge),
            ("code_challenge_method", "S256"),
        ];
        let classes = settings.acr_values.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        if !classes.is_empty() {
            pairs.push(("acr_values", &classes));
        }
        let max_age = settings.max_age.map(|age| age.as_secs().to_string());
        if let Some(max_age) = &max_age {
            pairs.push(("max_age", max_age));
        }
        if prompt == Prompt::Login {
            pairs.push(("prompt", "login"));
        }
        metadata.authorization_endpoint.with_query(&pairs)
    }

    /// Redeems `code` at the token endpoint (Core §3.1.3).
    async fn redeem(&self, code: &Secret<String>, pending: &Pending) -> Result<Tokens, LoginError> {
        let request = self.token_request(code, pending)?;
        let endpoint = &pending.metadata.token_endpoint;
        let answer = self.transport.tokens(endpoint, request).await;
        let (status, body) = answer.map_err(LoginError::Unavailable)?;
        Tokens::read(status, &body).map_err(LoginError::NotExchanged)
    }

    fn token_request(
        &self,
        code: &Secret<String>,
        pending: &Pending,
    ) -> Result<TokenRequest, LoginError> {
        let settings = self.provider.settings();
        let client = settings.client_id.as_str();
        let pairs = [
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", settings.redirect_uri.as_str()),
            ("code_verifier", pending.verifier.expose()),
        ];
        let parties = (client, settings.issuer.as_str());
        let (now, jti) = (self.clock.now().as_seconds(), unguessable(&*self.entropy));
        let request = settings.authentication.request(&pairs, parties, (now, &jti));
        request.map_err(|_| LoginError::Unsigned)
    }

    /// Who logged in, by the ID token of this login.
    async fn identify(&self, tokens: &Tokens, pending: &Pending) -> Result<LoggedIn, LoginError> {
        let token = jws::read(tokens.id_token.expose())?;
        let kid = token.kid()?.map(str::to_owned);
        let fit = |keys: &KeySet| keys.find(kid.as_deref()).is_some();
        let keys = self.keys.get(&*self.clock, fit, async || {
            let document = self.transport.document(&pending.metadata.jwks_uri).await;
            let document = document.map_err(LoginError::Unavailable)?;
            Ok::<_, LoginError>(KeySet::read(&document, self.provider.settings().signed_by)?)
        });
        let keys = keys.await?.ok_or(LoginError::Waiting)?;
        let expected = Expected {
            settings: self.provider.settings(),
            nonce: &pending.nonce,
            access_token: tokens.access_token.expose(),
            begun: pending.begun,
            now: self.clock.now().as_seconds(),
        };
        Ok(id_token::verify(token, &keys, expected)?)
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, LoginError> {
        let fetched = self.metadata.get(
            &*self.clock,
            |_| true,
            async || {
                let document = self.transport.document(&metadata::location(&self.provider)).await;
                let document = document.map_err(LoginError::Unavailable)?;
                Ok::<_, LoginError>(Metadata::read(&document, &self.provider)?)
            },
        );
        fetched.await?.ok_or(LoginError::Waiting)
    }
}

/// What is taken of the token endpoint's answer. The access token is only hashed: nothing is asked
/// with it, and neither it nor a refresh token is kept.
#[derive(Debug)]
struct Tokens {
    id_token: Secret<String>,
    access_token: Secret<String>,
}

impl Tokens {
    /// Reads an answer (RFC 6749 §5.1, Core §3.1.3.3); the error says in a word of ours why there are
    /// no tokens.
    fn read(status: StatusCode, body: &Bytes) -> Result<Self, &'static str> {
        let limits = json::Limits { bytes: ANSWER_MAX, depth: DEPTH_MAX };
        let Ok(Value::Object(members)) = json::parse(body, limits) else {
            return Err("the answer is no JSON object");
        };
        if status != StatusCode::OK {
            let error = text(&members, "error").unwrap_or_default();
            return Err(KNOWN.into_iter().find(|known| *known == error).unwrap_or("another error"));
        }
        let kind = text(&members, "token_type").unwrap_or_default();
        if !kind.eq_ignore_ascii_case("Bearer") {
            return Err("the token type is not Bearer");
        }
        let token = |name, missing| {
            let token = text(&members, name).filter(|token| !token.is_empty()).ok_or(missing)?;
            Ok::<_, &'static str>(Secret::new(token.to_owned()))
        };
        let id_token = token("id_token", "there is no ID token")?;
        Ok(Self { id_token, access_token: token("access_token", "there is no access token")? })
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}
