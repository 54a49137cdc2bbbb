//! An agent's program that speaks OAuth and HTTP itself, so that what it sends can be stolen.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use keys::{KeyAlgorithm, SigningKey};
use oauth::client_assertion;
use oauth::dpop::{self, DpopExpect};
use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::web::{self, Answer};

/// The protocol version of its requests.
const VERSION: &str = "2026-07-28";

/// One instance with its own key and a token that is bound to it.
pub(crate) struct Instance {
    /// The URL of the server's way through the gateway.
    url: String,
    key: SigningKey,
    /// Its access token.
    pub(crate) token: String,
}

impl Instance {
    /// Obtains a token for `server` as a new instance of `agent`.
    pub(crate) async fn enrol(
        deployment: &Deployment,
        (agent, server): (&str, &str),
    ) -> anyhow::Result<Self> {
        let pem = std::fs::read_to_string(deployment.agent_key(agent))?;
        let agent_key = SigningKey::from_pem(&pem)?;
        let key = SigningKey::generate(KeyAlgorithm::Es256)?;
        let issuer = deployment.url();
        let (url, endpoint) = (format!("{issuer}/mcp/{server}"), format!("{issuer}/oauth/token"));
        let assertion = client_assertion::make((agent, &issuer), &agent_key, now(), &jti()?)?;
        let jkt = key.verifying().thumbprint_text();
        let voucher = web::voucher(&deployment.host_socket(), &jkt).await?;
        let form = oauth::form::form(&[
            ("grant_type", "client_credentials"),
            ("client_id", agent),
            ("client_assertion_type", client_assertion::TYPE),
            ("client_assertion", &assertion),
            ("resource", &url),
            ("voucher", &voucher),
        ]);
        let request = Request::post(&endpoint)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("dpop", proof(&key, &endpoint, None)?)
            .body(Full::new(Bytes::from(form)))?;
        let answer = web::send(request).await?;
        let token = answer.json()["access_token"].as_str().map(str::to_owned);
        ensure!(
            answer.status == 200,
            "the token service said {}: {}",
            answer.status,
            answer.json()
        );
        Ok(Self { url, key, token: token.context("the answer has no token")? })
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

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn jti() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    let filled = aws_lc_rs::rand::fill(&mut bytes);
    ensure!(filled.is_ok(), "the operating system gives no randomness");
    Ok(keys::base64url(&bytes))
}
