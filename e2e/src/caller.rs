//! A caller of the gateway: an instance of an agent with a key, proofs and a clock of its own.
//!
//! It speaks the stateless era and opens a connection for each request, so that a test sees what
//! one request was answered and how long that took. It never tries anything twice.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keys::{KeyAlgorithm, SigningKey};
use oauth::client_assertion;
use oauth::dpop::{self, DpopExpect};
use serde_json::{Value, json};

use crate::Deployment;
use crate::head;

/// How long to wait for an answer before there is none.
const PATIENCE: Duration = Duration::from_mins(1);

/// The protocol version that it speaks.
const VERSION: &str = "2026-07-28";

/// What one request was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status; 0 if no whole answer came.
    pub status: u16,
    /// The body, null if it is not JSON.
    pub body: Value,
    /// How long it took.
    pub took: Duration,
}

impl Answer {
    /// What comes back on `stream` until the end.
    pub fn of(mut stream: TcpStream) -> Self {
        let started = Instant::now();
        let answered = read_to_end(&mut stream);
        Self::new(answered.as_deref(), started.elapsed())
    }

    fn new(answered: Option<&[u8]>, took: Duration) -> Self {
        let (status, body) = answered.and_then(parse).unwrap_or_default();
        Self { status, body: serde_json::from_slice(&body).unwrap_or_default(), took }
    }

    /// Whether the tool said that it did it.
    pub fn is_done(&self) -> bool {
        self.status == 200 && self.body.pointer("/result/isError") == Some(&Value::Bool(false))
    }

    /// What became of it in a word: `done`, the code of a refusal, `http-STATUS`, or `nothing`
    /// where no answer came.
    pub fn code(&self) -> String {
        let told = self.body.pointer("/result/structuredContent/code");
        let told = told.or_else(|| self.body.get("error").filter(|error| error.is_string()));
        match (self.is_done(), told.and_then(Value::as_str), self.status) {
            (true, ..) => "done".to_owned(),
            (false, Some(code), _) => code.to_owned(),
            (false, None, 0) => "nothing".to_owned(),
            (false, None, status) => format!("http-{status}"),
        }
    }

    /// A member of what a refusal tells.
    pub fn told(&self, member: &str) -> &Value {
        &self.body["result"]["structuredContent"][member]
    }
}

/// By what the work of an instance begins.
#[derive(Clone, Debug)]
enum Beginning {
    /// What a system signed.
    Initiation(String),
    /// What another instance handed on.
    Delegation(String),
    /// What a person was asked, and answered.
    Consent(String),
}

/// One instance of an agent.
#[derive(Debug)]
pub struct Caller {
    pub(crate) port: u16,
    agent: String,
    server: String,
    agent_key: SigningKey,
    instance_key: SigningKey,
    token: Option<String>,
    /// The socket at which the service vouches for this process.
    host: PathBuf,
    /// The id of the last token and the nonce that came with it.
    last: Option<(String, String)>,
    /// The renewal that was not answered yet.
    attempt: Option<String>,
    /// By what its work begins; shown until there is a token.
    begins: Option<Beginning>,
    made: u64,
    /// By how many seconds its clock is ahead.
    pub ahead: i64,
}

impl Caller {
    /// A new instance of the agent `bot` of `deployment`, for `server`. It has no token yet.
    pub fn new(deployment: &Deployment, server: &str) -> Self {
        Self::of(deployment, "bot", server)
    }

    /// The same of another agent.
    pub fn of(deployment: &Deployment, agent: &str, server: &str) -> Self {
        let pem = std::fs::read_to_string(deployment.agent_key(agent)).expect("the key is there");
        Self {
            port: deployment.port,
            agent: agent.to_owned(),
            server: server.to_owned(),
            agent_key: SigningKey::from_pem(&pem).expect("it is a key"),
            instance_key: SigningKey::generate(KeyAlgorithm::Es256).expect("keys can be made"),
            token: None,
            host: deployment.host_socket(),
            last: None,
            attempt: None,
            begins: None,
            made: 0,
            ahead: 0,
        }
    }

    /// The same, for which the service vouches at the socket `host`.
    pub fn vouched(deployment: &Deployment, server: &str, host: &Path) -> Self {
        Self { host: host.to_owned(), ..Self::new(deployment, server) }
    }

    /// The same, whose work a system started by `initiation`.
    pub fn begun_by(deployment: &Deployment, server: &str, initiation: &str) -> Self {
        let begins = Some(Beginning::Initiation(initiation.to_owned()));
        Self { begins, ..Self::new(deployment, server) }
    }

    /// Asks some person for `task`; what they answer is what the work of this caller begins by.
    pub fn push(&mut self, task: &Value) -> Answer {
        let details = json!([task]).to_string();
        let answer = self.ask_at("/oauth/par", &[("authorization_details", &details)]);
        let uri = answer.body["request_uri"].as_str();
        self.begins = uri.map(|uri| Beginning::Consent(uri.to_owned()));
        answer
    }

    /// Makes a delegation of `part` of this caller's task for `to`; gives what was answered, and
    /// what `to` asks by from then on if it was made.
    pub fn delegate(&mut self, to: &mut Self, part: &Value) -> Answer {
        if self.token.is_none()
            && let Err(refused) = self.obtain()
        {
            return refused;
        }
        let token = self.token.clone().unwrap_or_default();
        let may_act =
            json!({ "client_id": to.agent, "jkt": to.instance_key.verifying().thumbprint_text() });
        let voucher = voucher(&self.host, &self.instance_key).unwrap_or_default();
        let answer = self.ask(&[
            ("grant_type", oauth::exchange::GRANT_TYPE),
            ("subject_token", &token),
            ("subject_token_type", oauth::exchange::ACCESS_TOKEN),
            ("requested_token_type", oauth::exchange::DELEGATION),
            ("may_act", &may_act.to_string()),
            ("authorization_details", &json!([part]).to_string()),
            ("voucher", &voucher),
        ]);
        let made = answer.body["access_token"].as_str();
        to.begins = made.map(|made| Beginning::Delegation(made.to_owned()));
        answer
    }

    /// Whoever stole this caller's token, without its key.
    #[must_use]
    pub fn robbed_by(&self, mut thief: Self) -> Self {
        thief.token.clone_from(&self.token);
        thief
    }

    /// Somebody who copied this caller's key and everything that belongs to it.
    #[must_use]
    pub fn copied(&self) -> Self {
        let copy = |key: &SigningKey| {
            SigningKey::from_pem(&key.to_pem().expect("it can be written")).expect("it is a key")
        };
        Self {
            port: self.port,
            agent: self.agent.clone(),
            server: self.server.clone(),
            agent_key: copy(&self.agent_key),
            instance_key: copy(&self.instance_key),
            token: self.token.clone(),
            host: self.host.clone(),
            last: self.last.clone(),
            attempt: None,
            begins: self.begins.clone(),
            made: self.made + 1_000,
            ahead: self.ahead,
        }
    }

    /// Calls `tool` with `mark`, with a token that it obtains if it has none.
    pub fn call(&mut self, tool: &str, mark: &str) -> Answer {
        match self.request(tool, mark) {
            Ok(request) => self.send(&request),
            Err(refused) => refused,
        }
    }

    /// Begins such a call on `stream`, and does not wait for its answer.
    pub fn begin(&mut self, stream: &mut TcpStream, (tool, mark): (&str, &str)) {
        let request = self.request(tool, mark);
        let request = request.unwrap_or_else(|refused| panic!("no token: {refused:?}"));
        stream.set_read_timeout(Some(PATIENCE)).expect("it is a duration");
        stream.write_all(request.as_bytes()).expect("it reads");
    }

    /// The request of such a call, all of it.
    fn request(&mut self, tool: &str, mark: &str) -> Result<String, Answer> {
        if self.token.is_none() {
            self.obtain()?;
        }
        let path = format!("/mcp/{}", self.server);
        let token = self.token.clone().unwrap_or_default();
        let proof = self.proof(("POST", &path), Some(&token), None);
        let headers = format!(
            "content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
             authorization: DPoP {token}\r\ndpop: {proof}\r\nmcp-protocol-version: {VERSION}\r\n\
             mcp-method: tools/call\r\nmcp-name: {tool}\r\n"
        );
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({ "name": tool, "arguments": { "mark": mark }, "_meta": meta });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        Ok(self.text(&path, &headers, &body.to_string()))
    }

    /// Obtains a token, in place of any that it has.
    pub fn obtain(&mut self) -> Result<(), Answer> {
        self.token = None;
        let attempt = self.attempt.clone().unwrap_or_else(|| self.jti());
        self.attempt = Some(attempt.clone());
        let voucher = voucher(&self.host, &self.instance_key).unwrap_or_default();
        let last = self.last.clone().unwrap_or_default();
        let begins = self.begins.clone();
        let mut form = match &begins {
            None => vec![("grant_type", "client_credentials")],
            Some(Beginning::Initiation(initiation)) => vec![
                ("grant_type", oauth::initiation::GRANT_TYPE),
                ("assertion", initiation.as_str()),
            ],
            Some(Beginning::Consent(request_uri)) => vec![
                ("grant_type", oauth::consent::GRANT_TYPE),
                ("request_uri", request_uri.as_str()),
            ],
            Some(Beginning::Delegation(delegation)) => vec![
                ("grant_type", oauth::exchange::GRANT_TYPE),
                ("subject_token", delegation.as_str()),
                ("subject_token_type", oauth::exchange::DELEGATION),
            ],
        };
        let resource = format!("http://127.0.0.1:{}/mcp/{}", self.port, self.server);
        form.extend([
            ("resource", resource.as_str()),
            ("attempt", &attempt),
            ("previous_jti", &last.0),
            ("renewal_nonce", &last.1),
            ("voucher", &voucher),
        ]);
        let answer = self.ask(&form);
        match answer.body["access_token"].as_str().filter(|_| answer.status == 200) {
            Some(token) => {
                self.token = Some(token.to_owned());
                let text = |name: &str| answer.body[name].as_str().map(str::to_owned);
                self.last = text("jti").zip(text("renewal_nonce"));
                (self.attempt, self.begins) = (None, None);
                Ok(())
            }
            None => Err(answer),
        }
    }

    /// Asks the token endpoint by `form`, as the agent and with the instance's proof.
    fn ask(&mut self, form: &[(&str, &str)]) -> Answer {
        self.ask_at("/oauth/token", form)
    }

    fn ask_at(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let (now, jti) = (self.now(), self.jti());
        let issuer = format!("http://127.0.0.1:{}", self.port);
        let parties = (self.agent.as_str(), issuer.as_str());
        let assertion = client_assertion::make(parties, &self.agent_key, now, &jti);
        let assertion = assertion.expect("it can sign");
        let as_client = [
            ("client_id", self.agent.as_str()),
            ("client_assertion_type", client_assertion::TYPE),
            ("client_assertion", &assertion),
        ];
        let form = oauth::form::form(&[form, &as_client].concat());
        let proof = self.proof(("POST", path), None, None);
        let kind = "application/x-www-form-urlencoded";
        let headers = format!("content-type: {kind}\r\ndpop: {proof}\r\n");
        self.post(path, &headers, &form)
    }

    /// The headers that show who sends a request, with a token that it obtains if it has none.
    pub(crate) fn credentials(&mut self, request: (&str, &str), nonce: Option<&str>) -> String {
        if self.token.is_none() {
            self.obtain().unwrap_or_else(|refused| panic!("no token: {refused:?}"));
        }
        let token = self.token.clone().unwrap_or_default();
        let proof = self.proof(request, Some(&token), nonce);
        format!("authorization: DPoP {token}\r\ndpop: {proof}\r\n")
    }

    fn proof(
        &mut self,
        (method, path): (&str, &str),
        token: Option<&str>,
        nonce: Option<&str>,
    ) -> String {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let (now, jti) = (self.now(), self.jti());
        let url = url.as_str();
        let expect = DpopExpect { method, url, access_token: token, now, max_skew_s: 0 };
        dpop::make_proof(&self.instance_key, &expect, (&jti, nonce)).expect("it can sign")
    }

    fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        i64::try_from(since).expect("not that late") + self.ahead
    }

    fn jti(&mut self) -> String {
        self.made += 1;
        let key = self.instance_key.verifying().thumbprint_text();
        format!("{key}-{}", self.made)
    }

    fn post(&self, path: &str, headers: &str, body: &str) -> Answer {
        self.send(&self.text(path, headers, body))
    }

    fn send(&self, request: &str) -> Answer {
        let started = Instant::now();
        let answered = exchange(self.port, request);
        Answer::new(answered.as_deref(), started.elapsed())
    }

    fn text(&self, path: &str, headers: &str, body: &str) -> String {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\n{headers}\
             content-length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        head + body
    }
}

/// What the service at `host` vouches of this process, for `key`; none if it does not.
pub fn voucher(host: &Path, key: &SigningKey) -> Option<String> {
    let body = json!({ "jkt": key.verifying().thumbprint_text() }).to_string();
    let head = "POST /v1/voucher HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    let length = body.len();
    let mut stream = UnixStream::connect(host).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(format!("{head}content-length: {length}\r\n\r\n{body}").as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let answer: Value = serde_json::from_slice(&parse(&bytes)?.1).ok()?;
    answer["voucher"].as_str().map(str::to_owned)
}

/// Sends `request` and gives all that comes back until the end; none if the connection breaks.
pub(crate) fn exchange(port: u16, request: &str) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    read_to_end(&mut stream)
}

fn read_to_end(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Status and body of a whole HTTP/1.1 answer; none if it is cut short.
fn parse(bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
    let (head, rest) = bytes.split_at(head::end(bytes)?);
    let status = std::str::from_utf8(head).ok()?.split(' ').nth(1)?.parse().ok()?;
    let body = rest.get(..head::content_length(head))?;
    Some((status, body.to_vec()))
}
