//! Agents and their instances, which hold keys, get tokens and call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gateway::{Gateway, HttpCall, Kept, Reply, ReplyBody};
use http::{HeaderMap, HeaderName, HeaderValue};
use keys::{KeyAlgorithm, Signer as _, SigningKey};
use mcp::Era;
use oauth::dpop::{self, DpopExpect};
use oauth::{client_assertion, token_endpoint};
use serde_json::{Value, json};

use super::world::{BOOT, ISSUER, World, nonces};

static NEXT_JTI: AtomicU64 = AtomicU64::new(1);

/// A `jti` that no proof of this process had before.
pub fn jti() -> String {
    format!("jti-{}", NEXT_JTI.fetch_add(1, Ordering::Relaxed))
}

/// A registered agent and its key.
pub struct Agent {
    pub name: String,
    pub key: SigningKey,
}

impl Agent {
    pub fn new(name: &str) -> Self {
        let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        Self { name: name.to_owned(), key }
    }

    pub fn public_jwk(&self) -> Value {
        self.key.public().to_jwk()
    }

    /// A new instance with a token for `server`, speaking `era`; in the session era it has no MCP
    /// session yet.
    pub async fn client<'w>(&self, world: &'w World, server: &str, era: Era) -> Client<'w> {
        let client = self.token(world, server, era).await;
        client.unwrap_or_else(|error| panic!("no token for `{server}`: {error}"))
    }

    /// A client with an MCP session, or of the stateless era.
    pub async fn connected<'w>(&self, world: &'w World, server: &str, era: Era) -> Client<'w> {
        self.declaring(world, (server, era), json!({})).await
    }

    /// The same, of a client that declares these capabilities.
    pub async fn declaring<'w>(
        &self,
        world: &'w World,
        (server, era): (&str, Era),
        capabilities: Value,
    ) -> Client<'w> {
        let mut client = self.client(world, server, era).await;
        client.capabilities = capabilities;
        if era == Era::Session {
            client.initialize().await;
        }
        client
    }

    pub async fn token<'w>(
        &self,
        world: &'w World,
        server: &str,
        era: Era,
    ) -> Result<Client<'w>, oauth::OAuthError> {
        let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        let (url, resource) = (format!("{ISSUER}/oauth/token"), format!("{ISSUER}/mcp/{server}"));
        let now = world.now();
        let assertion = client_assertion::make((&self.name, ISSUER), &self.key, now, &jti());
        let assertion = assertion.expect("signed");
        let thumbprint = model::Thumbprint::from_bytes(key.verifying().thumbprint());
        let voucher = world.tokens.vouch(thumbprint, process()).expect("there is room");
        let form = oauth::form::form(&[
            ("voucher", &voucher),
            ("grant_type", "client_credentials"),
            ("client_id", &self.name),
            ("client_assertion_type", client_assertion::TYPE),
            ("client_assertion", &assertion),
            ("resource", &resource),
        ]);
        let expect =
            DpopExpect { method: "POST", url: &url, access_token: None, now, max_skew_s: 0 };
        let proof = dpop::make_proof(&key, &expect, (&jti(), None)).expect("signed");
        let (form, dpop) = (form.as_bytes(), Some(proof.as_str()));
        let asked =
            sts::TokenHttpRequest { form, dpop, from: None, client: None, arrived: Duration::ZERO };
        let answer = world.tokens.token(asked).await?;
        let (server, session) = (server.to_owned(), None);
        let token = answer.access_token;
        let (nonce, capabilities) = (Some(nonces(BOOT).at(now)), json!({}));
        Ok(Client { world, server, key, token, era, session, nonce, capabilities })
    }
}

/// What the kernel says of every instance.
fn process() -> model::HostProcess {
    model::HostProcess { exe: None, pid: 1, started: 0, uid: 1_000 }
}

/// One instance, talking to one server.
pub struct Client<'w> {
    pub world: &'w World,
    pub server: String,
    pub key: SigningKey,
    pub token: String,
    pub era: Era,
    pub session: Option<String>,
    pub nonce: Option<String>,
    /// What it declares.
    pub capabilities: Value,
}

/// What the gateway answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    /// The body as it was sent; of a stream, the last event.
    pub text: String,
    /// The events of a stream; empty if it was none.
    pub events: Vec<String>,
}

impl Answer {
    pub async fn of(reply: Reply) -> Self {
        let Reply { status, headers, body, .. } = reply;
        let (text, events) = match body {
            ReplyBody::Empty => (String::new(), Vec::new()),
            ReplyBody::Json(bytes) => (string(&bytes), Vec::new()),
            ReplyBody::Events(mut events) => {
                let mut all = Vec::new();
                while let Some(event) = events.recv().await {
                    all.push(string(&event.message));
                }
                (all.last().cloned().unwrap_or_default(), all)
            }
        };
        Self { status, headers, text, events }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The result, which there must be.
    pub fn result(&self) -> Value {
        let json = self.json();
        assert!(json.get("result").is_some(), "no result: {self:?}");
        json["result"].clone()
    }

    /// The code of the JSON-RPC error, if it is one.
    pub fn error(&self) -> Option<i64> {
        self.json()["error"]["code"].as_i64()
    }

    /// The code of the refusal, if it is one.
    pub fn refused(&self) -> Option<String> {
        let json = self.json();
        let result = json.pointer("/result/structuredContent/code");
        let code = result.or_else(|| json.pointer("/error/data/code"));
        code.and_then(Value::as_str).map(str::to_owned)
    }
}

fn string(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

impl Client<'_> {
    pub fn url(&self) -> String {
        format!("{ISSUER}/mcp/{}", self.server)
    }

    /// The same instance with the same token, speaking `era`.
    pub fn again(&self, era: Era) -> Self {
        let pem = self.key.to_pem().expect("a key");
        Self {
            world: self.world,
            server: self.server.clone(),
            key: SigningKey::from_pem(&pem).expect("a key"),
            token: self.token.clone(),
            era,
            session: self.session.clone(),
            nonce: self.nonce.clone(),
            capabilities: self.capabilities.clone(),
        }
    }

    /// A proof for one request.
    pub fn proof(&self, method: &str, jti: &str) -> String {
        self.proof_at(method, &self.url(), self.world.now(), jti)
    }

    pub fn proof_at(&self, method: &str, url: &str, now: i64, jti: &str) -> String {
        let access_token = Some(self.token.as_str());
        let expect = DpopExpect { method, url, access_token, now, max_skew_s: 0 };
        let made = dpop::make_proof(&self.key, &expect, (jti, self.nonce.as_deref()));
        made.expect("signed")
    }

    /// The headers of a request, with a fresh proof.
    pub fn headers(&self, method: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        set(&mut headers, "authorization", &format!("DPoP {}", self.token));
        set(&mut headers, "dpop", &self.proof(method, &jti()));
        if let (Era::Session, Some(session)) = (self.era, &self.session) {
            set(&mut headers, "mcp-session-id", session);
        }
        headers
    }

    /// The headers that the stateless era wants beside, for `body`.
    pub fn mirror(headers: &mut HeaderMap, body: &Value) {
        set(headers, "mcp-protocol-version", mcp::STATELESS_VERSION);
        let method = body["method"].as_str().unwrap_or_default();
        set(headers, "mcp-method", method);
        let member = mcp::Method::named(method).name_member();
        let name = member.and_then(|member| body["params"][member].as_str());
        if let Some(name) = name {
            set(headers, "mcp-name", &mcp::encode_header_value(name));
        }
    }

    /// Sends exactly these headers and bytes.
    pub async fn post_raw(&self, headers: &HeaderMap, body: impl Into<Bytes>) -> Answer {
        Answer::of(self.reply(&self.world.gateway, headers, body.into()).await).await
    }

    pub async fn reply(&self, gateway: &Gateway, headers: &HeaderMap, body: Bytes) -> Reply {
        self.reply_in(gateway, (headers, body), None).await
    }

    /// The reply to a request whose body has this room.
    pub async fn reply_in(
        &self,
        gateway: &Gateway,
        (headers, body): (&HeaderMap, Bytes),
        room: Option<Kept>,
    ) -> Reply {
        let (arrived, room) = (self.world.authority.clock().monotonic(), room.map(Arc::new));
        let (server, peer, sender) = (self.server.as_str(), None, None);
        let call = HttpCall { server, headers, body, room, arrived, peer, sender };
        // What a call takes is large, and no part of each test that waits for it.
        Box::pin(gateway.post(call)).await
    }

    /// The body of a request as this client's era writes it.
    pub fn body(&self, id: &Value, method: &str, params: Value) -> Value {
        let mut params = if params.is_null() { json!({}) } else { params };
        if self.era == Era::Stateless {
            let mut meta = params.get("_meta").cloned().unwrap_or_else(|| json!({}));
            meta["io.modelcontextprotocol/protocolVersion"] = mcp::STATELESS_VERSION.into();
            meta["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
            params["_meta"] = meta;
        }
        json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
    }

    /// Everything that goes out for one request.
    pub fn request(&self, method: &str, params: Value) -> (HeaderMap, Bytes) {
        self.request_with_id(&json!(1), method, params)
    }

    pub fn request_with_id(&self, id: &Value, method: &str, params: Value) -> (HeaderMap, Bytes) {
        let body = self.body(id, method, params);
        let mut headers = self.headers("POST");
        if self.era == Era::Stateless {
            Self::mirror(&mut headers, &body);
        }
        (headers, body.to_string().into())
    }

    pub async fn ask(&self, method: &str, params: Value) -> Answer {
        let (headers, body) = self.request(method, params);
        self.post_raw(&headers, body).await
    }

    pub async fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// Sends a notification.
    pub async fn tell(&self, method: &str, params: Value) -> Answer {
        let body = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        let mut headers = self.headers("POST");
        if self.era == Era::Stateless {
            set(&mut headers, "mcp-protocol-version", mcp::STATELESS_VERSION);
            set(&mut headers, "mcp-method", method);
        }
        self.post_raw(&headers, body.to_string()).await
    }

    /// Answers what it was asked under `id`.
    pub async fn respond(&self, id: &Value, result: Value) -> Answer {
        let body = json!({ "jsonrpc": "2.0", "id": id, "result": result });
        self.post_raw(&self.headers("POST"), body.to_string()).await
    }

    /// Begins an MCP session.
    pub async fn initialize(&mut self) -> Answer {
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": self.capabilities,
            "clientInfo": { "name": "test", "version": "1" },
        });
        let answer = self.ask("initialize", params).await;
        self.session = answer.header("mcp-session-id").map(str::to_owned);
        assert!(self.session.is_some(), "no session: {answer:?}");
        answer
    }

    /// Ends the MCP session.
    pub async fn delete(&self) -> Option<Reply> {
        let (mut headers, arrived) = (self.headers("DELETE"), Duration::ZERO);
        if self.era == Era::Stateless {
            set(&mut headers, "mcp-protocol-version", mcp::STATELESS_VERSION);
        }
        let body = Bytes::new();
        let (server, headers, peer, sender) = (self.server.as_str(), &headers, None, None);
        let call = HttpCall { server, headers, body, room: None, arrived, peer, sender };
        self.world.gateway.delete(&call).await
    }

    /// The names of the tools that it is shown.
    pub async fn tools(&self) -> Vec<String> {
        let result = self.ask("tools/list", json!({})).await.result();
        let tools = result["tools"].as_array().expect("a list").iter();
        tools.map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
    }
}

/// Sets a header.
pub fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::try_from(name).expect("a header name");
    headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
}
