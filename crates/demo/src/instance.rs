//! An agent's program that speaks OAuth and HTTP itself, so that what it sends can be stolen.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use keys::{KeyAlgorithm, SigningKey};
use oauth::dpop::{self, DpopExpect};
use oauth::{client_assertion, consent, exchange};
use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::web::{self, Answer};

/// The protocol version of its requests.
const VERSION: &str = "2026-07-28";

/// One instance with its own key and, once it has one, a token that is bound to it.
pub(crate) struct Instance {
    /// The agent that it is an instance of.
    pub(crate) agent: String,
    agent_key: SigningKey,
    issuer: String,
    host: PathBuf,
    /// The URL of the server's way through the gateway.
    url: String,
    key: SigningKey,
    /// Its access token; empty before it has one.
    pub(crate) token: String,
}

impl Instance {
    /// A new instance of `agent` for `server`, without a token.
    pub(crate) fn new(
        deployment: &Deployment,
        (agent, server): (&str, &str),
    ) -> anyhow::Result<Self> {
        let pem = std::fs::read_to_string(deployment.agent_key(agent))?;
        let issuer = deployment.url();
        Ok(Self {
            agent: agent.to_owned(),
            agent_key: SigningKey::from_pem(&pem)?,
            url: format!("{issuer}/mcp/{server}"),
            issuer,
            host: deployment.host_socket(),
            key: SigningKey::generate(KeyAlgorithm::Es256)?,
            token: String::new(),
        })
    }

    /// Obtains a token for `server` as a new instance of `agent`.
    pub(crate) async fn enrol(
        deployment: &Deployment,
        place: (&str, &str),
    ) -> anyhow::Result<Self> {
        let mut instance = Self::new(deployment, place)?;
        let answer = instance.ask_for_token(&[("grant_type", "client_credentials")]).await?;
        instance.takes(&answer)?;
        Ok(instance)
    }

    /// The same instance, on its way to another server; it has no token for that yet.
    pub(crate) fn elsewhere(&self, deployment: &Deployment, server: &str) -> anyhow::Result<Self> {
        let copy = |key: &SigningKey| anyhow::Ok(SigningKey::from_pem(&key.to_pem()?)?);
        Ok(Self {
            agent: self.agent.clone(),
            agent_key: copy(&self.agent_key)?,
            issuer: self.issuer.clone(),
            host: self.host.clone(),
            url: format!("{}/mcp/{server}", deployment.url()),
            key: copy(&self.key)?,
            token: self.token.clone(),
        })
    }

    /// Asks for a token by `grant`, vouched for by the host.
    pub(crate) async fn ask_for_token(&self, grant: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let voucher = web::voucher(&self.host, &self.key.verifying().thumbprint_text()).await?;
        let own = [("resource", self.url.as_str()), ("voucher", voucher.as_str())];
        self.ask(&[grant, &own].concat()).await
    }

    /// Takes the token that `answer` gives.
    pub(crate) fn takes(&mut self, answer: &Answer) -> anyhow::Result<()> {
        let (told, status) = (answer.json(), answer.status);
        ensure!(status == 200, "the token service said {status}: {told}");
        let token = told["access_token"].as_str();
        token.context("the answer has no token")?.clone_into(&mut self.token);
        Ok(())
    }

    /// Asks for a delegation of `part` of this instance's task for the instance `to`.
    pub(crate) async fn delegates(&self, to: &Self, part: &Value) -> anyhow::Result<Answer> {
        let jkt = to.key.verifying().thumbprint_text();
        let may_act = json!({ "client_id": to.agent, "jkt": jkt }).to_string();
        let voucher = web::voucher(&self.host, &self.key.verifying().thumbprint_text()).await?;
        self.ask(&[
            ("grant_type", exchange::GRANT_TYPE),
            ("subject_token", &self.token),
            ("subject_token_type", exchange::ACCESS_TOKEN),
            ("requested_token_type", exchange::DELEGATION),
            ("may_act", &may_act),
            ("authorization_details", &json!([part]).to_string()),
            ("voucher", &voucher),
        ])
        .await
    }

    /// Hands `part` of this instance's task on to a new instance of `agent` for `server`.
    pub(crate) async fn hands_on(
        &self,
        deployment: &Deployment,
        place: (&str, &str),
        part: &Value,
    ) -> anyhow::Result<Self> {
        let mut to = Self::new(deployment, place)?;
        let made = self.delegates(&to, part).await?;
        let (told, status) = (made.json(), made.status);
        ensure!(status == 200, "the token service said {status}: {told}");
        let delegation = told["access_token"].as_str().context("the answer has no delegation")?;
        let answer = to.ask_for_token(&taking_up(delegation)).await?;
        to.takes(&answer)?;
        Ok(to)
    }

    /// Pushes what the agent asks a person for.
    pub(crate) async fn pushes(&self, task: &Value) -> anyhow::Result<Answer> {
        let details = json!([task]).to_string();
        self.ask_at("par", &[("authorization_details", &details)]).await
    }

    /// Asks for a token by what a person was asked.
    pub(crate) async fn redeems(&self, request_uri: &str) -> anyhow::Result<Answer> {
        let grant = [("grant_type", consent::GRANT_TYPE), ("request_uri", request_uri)];
        self.ask_for_token(&grant).await
    }

    async fn ask(&self, form: &[(&str, &str)]) -> anyhow::Result<Answer> {
        self.ask_at("token", form).await
    }

    /// Asks the token service by `form`, as the agent and with the instance's proof.
    async fn ask_at(&self, endpoint: &str, form: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let endpoint = format!("{}/oauth/{endpoint}", self.issuer);
        let parties = (self.agent.as_str(), self.issuer.as_str());
        let assertion = client_assertion::make(parties, &self.agent_key, now(), &jti()?)?;
        let as_client = [
            ("client_id", self.agent.as_str()),
            ("client_assertion_type", client_assertion::TYPE),
            ("client_assertion", assertion.as_str()),
        ];
        let form = oauth::form::form(&[form, &as_client].concat());
        let request = Request::post(&endpoint)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("dpop", proof(&self.key, &endpoint, None)?)
            .body(Full::new(Bytes::from(form)))?;
        web::send(request).await
    }

    /// A proof of this instance's for a call with its token.
    pub(crate) fn proof(&self) -> anyhow::Result<String> {
        self.proof_by(&self.key)
    }

    /// A proof for a call with this instance's token, by whatever key.
    pub(crate) fn proof_by(&self, key: &SigningKey) -> anyhow::Result<String> {
        proof(key, &self.url, Some(&self.token))
    }

    /// Calls `tool` with this instance's token and `proof`.
    pub(crate) async fn call(
        &self,
        (tool, arguments): (&str, &Value),
        proof: &str,
    ) -> anyhow::Result<Answer> {
        let request = Request::post(&self.url)
            .header("authorization", format!("DPoP {}", self.token))
            .header("dpop", proof);
        web::send(call(request, tool, arguments)?).await
    }
}

/// What a form says that takes `delegation` up.
fn taking_up(delegation: &str) -> [(&'static str, &str); 3] {
    [
        ("grant_type", exchange::GRANT_TYPE),
        ("subject_token", delegation),
        ("subject_token_type", exchange::DELEGATION),
    ]
}

/// Completes `request` to a call of `tool` in the stateless protocol.
pub(crate) fn call(
    request: http::request::Builder,
    tool: &str,
    arguments: &Value,
) -> anyhow::Result<Request<Full<Bytes>>> {
    let body = json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": tool,
            "arguments": arguments,
            "_meta": {
                "progressToken": 1,
                "io.modelcontextprotocol/protocolVersion": VERSION,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": { "name": "demo", "version": "1" },
            },
        },
    });
    let request = request
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", VERSION)
        .header("mcp-method", "tools/call")
        .header("mcp-name", tool);
    Ok(request.body(Full::new(Bytes::from(body.to_string())))?)
}

fn proof(key: &SigningKey, url: &str, token: Option<&str>) -> anyhow::Result<String> {
    let expect = DpopExpect { method: "POST", url, access_token: token, now: now(), max_skew_s: 0 };
    Ok(dpop::make_proof(key, &expect, (&jti()?, None))?)
}

/// The time, in seconds since the epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// An id that was not given before.
pub(crate) fn jti() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    let filled = aws_lc_rs::rand::fill(&mut bytes);
    ensure!(filled.is_ok(), "the operating system gives no randomness");
    Ok(keys::base64url(&bytes))
}
