//! The callers' side: instances with a key, a token and an MCP session each, and calls signed
//! before anything is timed.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use keys::{KeyAlgorithm, SigningKey};
use model::{Clock as _, Entropy as _};
use oauth::client_assertion;
use oauth::dpop::{self, DpopExpect};
use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::http::Connection;
use crate::load::Requests;
use crate::upstream::{ACCOUNT, NAME, SILENT, TOOL};
use crate::world::{Random, WallClock};

/// The version of the protocol that is spoken.
const VERSION: &str = "2025-11-25";

/// One running execution of the agent.
pub(crate) struct Instance {
    key: SigningKey,
    token: Token,
    session: String,
}

/// A token, with what its renewal names.
struct Token {
    text: String,
    jti: String,
    nonce: String,
}

/// The instances that call a deployment.
pub(crate) struct Callers {
    port: u16,
    /// The socket at which the service vouches for this process.
    host: PathBuf,
    clock: WallClock,
    agent: String,
    agent_key: SigningKey,
    instances: Vec<Instance>,
}

impl Callers {
    /// `count` instances of `agent`, each with its own session.
    pub(crate) fn open(deployment: &Deployment, agent: &str, count: usize) -> anyhow::Result<Self> {
        let pem = std::fs::read_to_string(deployment.key(agent))?;
        let agent_key = SigningKey::from_pem(&pem)?;
        let (port, clock) = (deployment.port, WallClock::new());
        let host = deployment.host_socket();
        let agent = agent.to_owned();
        let mut callers = Self { port, host, clock, agent, agent_key, instances: Vec::new() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        for _ in 0..count {
            let instance = runtime.block_on(callers.instance())?;
            callers.instances.push(instance);
        }
        Ok(callers)
    }

    /// `count` calls, signed now: they are good for a minute.
    pub(crate) fn sign(&mut self, count: usize) -> anyhow::Result<Requests> {
        self.sign_for(count, ACCOUNT)
    }

    /// The same, of which each is answered by a stream that falls silent.
    pub(crate) fn sign_silent(&mut self, count: usize, round: usize) -> anyhow::Result<Requests> {
        // What a round leaves unknown is done again by none.
        self.sign_for(count, &format!("{SILENT}-{round}"))
    }

    fn sign_for(&mut self, count: usize, account: &str) -> anyhow::Result<Requests> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        for at in 0..self.instances.len() {
            let Instance { key, token, .. } = &self.instances[at];
            let token = runtime.block_on(self.token(key, Some(token)))?;
            self.instances[at].token = token;
        }
        let calls = (0..count).map(|id| self.signed_for(id, account));
        Ok(Arc::new(calls.collect::<anyhow::Result<_>>()?))
    }

    /// The call `id`, signed now.
    pub(crate) fn signed(&self, id: usize) -> anyhow::Result<Vec<u8>> {
        self.signed_for(id, ACCOUNT)
    }

    /// The same on `account`.
    pub(crate) fn signed_for(&self, id: usize, account: &str) -> anyhow::Result<Vec<u8>> {
        let Instance { key, token, session } = &self.instances[id % self.instances.len()];
        let token = &token.text;
        let proof = self.proof(key, &self.url(), Some(token))?;
        let headers = format!(
            "mcp-session-id: {session}\r\nauthorization: DPoP {token}\r\ndpop: {proof}\r\n"
        );
        Ok(request(self.port, &format!("/mcp/{NAME}"), &headers, &call_on(account, id)))
    }

    async fn instance(&self) -> anyhow::Result<Instance> {
        let key = SigningKey::generate(KeyAlgorithm::Es256)?;
        let token = self.token(&key, None).await?;
        let proof = self.proof(&key, &self.url(), Some(&token.text))?;
        let headers = format!("authorization: DPoP {}\r\ndpop: {proof}\r\n", token.text);
        let body = initialize();
        let path = format!("/mcp/{NAME}");
        let mut connection = Connection::open(self.port).await?;
        let message = request(self.port, &path, &headers, &body.to_string());
        let answer = connection.ask(&message).await?;
        let said = String::from_utf8_lossy(connection.body(&answer)).into_owned();
        let session = connection.header(&answer, "mcp-session-id");
        let session = session.with_context(|| format!("no session was begun: {said}"))?;
        Ok(Instance { key, token, session })
    }

    /// A token for the instance that holds `key`, after the one that it has.
    async fn token(&self, key: &SigningKey, last: Option<&Token>) -> anyhow::Result<Token> {
        let voucher = self.voucher(key)?;
        let (issuer, now) = (self.issuer(), self.clock.now().as_seconds());
        let assertion =
            client_assertion::make((&self.agent, &issuer), &self.agent_key, now, &unpredictable())?;
        let form = oauth::form::form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &self.agent),
            ("client_assertion_type", client_assertion::TYPE),
            ("client_assertion", &assertion),
            ("resource", &self.url()),
            ("voucher", &voucher),
            ("attempt", &unpredictable()),
            ("previous_jti", last.map_or("", |last| &last.jti)),
            ("renewal_nonce", last.map_or("", |last| &last.nonce)),
        ]);
        let proof = self.proof(key, &format!("{issuer}/oauth/token"), None)?;
        let message = format!(
            "POST /oauth/token HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ndpop: {proof}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            self.port,
            form.len(),
        );
        let mut connection = Connection::open(self.port).await?;
        let answer = connection.ask(message.as_bytes()).await?;
        let body = connection.body(&answer);
        ensure!(answer.status == 200, "no token: {}", String::from_utf8_lossy(body));
        let body: Value = serde_json::from_slice(body)?;
        let text = |name: &str| body[name].as_str().map(str::to_owned).context("no whole answer");
        Ok(Token { text: text("access_token")?, jti: text("jti")?, nonce: text("renewal_nonce")? })
    }

    /// What the service vouches of this process.
    fn voucher(&self, key: &SigningKey) -> anyhow::Result<String> {
        let body = json!({ "jkt": key.verifying().thumbprint_text() }).to_string();
        let head = "POST /v1/voucher HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
        let mut stream = UnixStream::connect(&self.host)?;
        let length = body.len();
        stream.write_all(format!("{head}content-length: {length}\r\n\r\n{body}").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let body: Value = serde_json::from_str(body)?;
        Ok(body["voucher"].as_str().context("no voucher")?.to_owned())
    }

    fn proof(&self, key: &SigningKey, url: &str, token: Option<&str>) -> anyhow::Result<String> {
        let now = self.clock.now().as_seconds();
        let expect = DpopExpect { method: "POST", url, access_token: token, now, max_skew_s: 0 };
        Ok(dpop::make_proof(key, &expect, (&unpredictable(), None))?)
    }

    fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn url(&self) -> String {
        format!("{}/mcp/{NAME}", self.issuer())
    }
}

/// The same calls without credentials, for whoever asks for none.
pub(crate) fn bare(port: u16, count: usize) -> Requests {
    Arc::new((0..count).map(|id| request(port, "/mcp", "", &call(id))).collect())
}

/// The message that begins a session.
pub(crate) fn initialize() -> Value {
    let params = json!({
        "protocolVersion": VERSION,
        "capabilities": {},
        "clientInfo": { "name": "bench", "version": "1.0.0" },
    });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params })
}

/// The message of the call `id`.
pub(crate) fn call(id: usize) -> String {
    call_on(ACCOUNT, id)
}

fn call_on(account: &str, id: usize) -> String {
    let amount = 1 + id % 1_000;
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"{TOOL}\",\
         \"arguments\":{{\"account\":\"{account}\",\"amount\":{amount},\"reason\":\"late \
         delivery\"}}}}}}"
    )
}

fn request(port: u16, path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: {VERSION}\r\n\
         {headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn unpredictable() -> String {
    let mut bytes = [0; 16];
    Random.fill(&mut bytes);
    keys::base64url(&bytes)
}
