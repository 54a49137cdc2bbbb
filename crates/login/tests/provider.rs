//! A whole login at a provider that others wrote (npm `oidc-provider`), over HTTP on loopback.
#![allow(clippy::disallowed_methods, reason = "a real provider lives in real time")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::Full;
use keys::{KeyAlgorithm, Signer as _, SigningKey};
use login::{
    Begun, ClientAuthentication, ClientSecret, Cookies, EndpointUrl, LoggedIn, Login, LoginError,
    Outbound, Prompt, Provider, ReturnPath, Sessions, Settings, SignatureAlgorithm,
};
use model::Clock as _;
use outbound::{Fetcher, HttpClient, Trust, http_client};
use serde_json::{Value, json};
use testkit::{ManualClock, SeededEntropy};

/// Where nobody listens: the browser of the test does not go there.
const REDIRECT: &str = "http://127.0.0.1:8421/login/callback";

/// The most redirects of one login.
const HOPS_MAX: usize = 12;

/// What the client by secret was given.
const SECRET: &str = "a secret: of 32 bytes % and more";

/// The provider's process; it ends with the test.
struct Process {
    child: Child,
    issuer: String,
    /// What it prints goes somewhere as long as it lives.
    _output: BufReader<ChildStdout>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start(clients: &Value) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let modules = here.join("../../target/provision/npm/node_modules");
        let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
        let node = modules.join(format!("node-linux-{machine}/bin/node"));
        let module = modules.join("oidc-provider/lib/index.js");
        assert!(module.exists(), "`cargo xtask test` provisions `oidc-provider`");
        let mut child = Command::new(if node.exists() { node } else { PathBuf::from("node") })
            .arg(here.join("tests/provider.mjs"))
            .arg(module.canonicalize().unwrap())
            .arg(clients.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let issuer = loop {
            line.clear();
            let read = output.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "the provider ended before it said where it is");
            if let Some(issuer) = line.trim_end().strip_prefix("issuer ") {
                break issuer.to_owned();
            }
        };
        Self { child, issuer, _output: output }
    }
}

/// A browser that knows nothing but cookies and redirects.
struct Browser {
    client: HttpClient,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn new() -> Self {
        Self { client: http_client().unwrap(), cookies: BTreeMap::new() }
    }

    /// Follows `url` until it leads back to us, and gives the query that it comes back with.
    async fn follow(&mut self, url: &str) -> String {
        let origin: String = url.split_inclusive('/').take(3).collect();
        let mut next = url.to_owned();
        for _ in 0..HOPS_MAX {
            if let Some(query) = next.strip_prefix(REDIRECT) {
                return query.strip_prefix('?').unwrap().to_owned();
            }
            next = self.hop(&next).await;
            if let Some(path) = next.strip_prefix('/') {
                next = format!("{origin}{path}");
            }
        }
        panic!("more than {HOPS_MAX} redirects: `{next}`");
    }

    async fn hop(&mut self, url: &str) -> String {
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        let cookies = cookies.collect::<Vec<_>>().join("; ");
        let request = Request::get(url).header(COOKIE, cookies).body(Full::default()).unwrap();
        let answer = self.client.request(request).await.unwrap();
        for set in answer.headers().get_all(SET_COOKIE) {
            let (pair, _) = set.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let location = answer.headers().get(LOCATION);
        let location = location.unwrap_or_else(|| panic!("`{url}`: {}", answer.status()));
        location.to_str().unwrap().to_owned()
    }
}

/// The real time, in milliseconds since the epoch.
fn real_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// One client of the provider, with the real time.
struct Client {
    clock: Arc<ManualClock>,
    login: Login,
}

impl Client {
    fn new(settings: Settings) -> Self {
        let (clock, real) = (Arc::new(ManualClock::new()), real_ms());
        clock.step_wall(real - clock.now().as_millis());
        let fetcher = Fetcher::new(Trust::default()).unwrap();
        let transport = Arc::new(Outbound::new(fetcher, http_client().unwrap()));
        let provider = Provider::new(settings).unwrap();
        let entropy = Arc::new(SeededEntropy::new(u64::try_from(real).unwrap()));
        let login = Login::new(provider, transport, Arc::<ManualClock>::clone(&clock), entropy);
        Self { clock, login }
    }

    /// Logs in with a browser of its own; gives the code as well.
    async fn log_in(&self) -> (Result<LoggedIn, LoginError>, String) {
        let Begun { redirect, state } =
            self.login.begin(home(), None, Prompt::AsNeeded).await.unwrap();
        let query = Browser::new().follow(&redirect).await;
        let code = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "code");
        let code = code.map(|(_, code)| code.into_owned()).unwrap_or_default();
        let finished = self.login.finish(state, &query).await;
        (finished.map(|(who, return_to)| (assert_eq!(return_to, home()), who).1), code)
    }
}

fn home() -> ReturnPath {
    ReturnPath::parse("/approvals").unwrap()
}

fn url(text: &str) -> EndpointUrl {
    EndpointUrl::parse(text).unwrap()
}

/// Clients of all kinds, each with its registration at the provider.
struct Registered {
    key: Arc<SigningKey>,
    secret: ClientSecret,
    registrations: Value,
}

const ALGORITHMS: [SignatureAlgorithm; 4] = [
    SignatureAlgorithm::Rs256,
    SignatureAlgorithm::Ps256,
    SignatureAlgorithm::Es256,
    SignatureAlgorithm::EdDsa,
];

fn registered() -> Registered {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    keys::write_private(&path, SECRET.as_bytes()).unwrap();
    let key = Arc::new(SigningKey::generate(KeyAlgorithm::Es256).unwrap());
    let mut jwk = key.public().to_jwk();
    jwk["kid"] = key.public().thumbprint_text().into();
    let registration = |algorithm: SignatureAlgorithm, by: &str| {
        let mut client = json!({
            "client_id": format!("{by}-{}", algorithm.as_str()),
            "redirect_uris": [REDIRECT],
            "response_types": ["code"],
            "grant_types": ["authorization_code"],
            "scope": "openid profile groups email",
            "id_token_signed_response_alg": algorithm.as_str(),
        });
        if by == "key" {
            client["token_endpoint_auth_method"] = "private_key_jwt".into();
            client["token_endpoint_auth_signing_alg"] = "ES256".into();
            client["jwks"] = json!({ "keys": [jwk] });
        } else {
            client["token_endpoint_auth_method"] = "client_secret_basic".into();
            client["client_secret"] = SECRET.into();
        }
        client
    };
    let both = |algorithm| ["key", "secret"].map(|by| registration(algorithm, by));
    let registrations = ALGORITHMS.into_iter().flat_map(both).collect();
    Registered { key, secret: ClientSecret::read(&path).unwrap(), registrations }
}

impl Registered {
    fn settings(&self, issuer: &str, by: &str, algorithm: SignatureAlgorithm) -> Settings {
        let authentication = match by {
            "key" => ClientAuthentication::PrivateKeyJwt(self.key.clone()),
            _ => ClientAuthentication::Secret(self.secret.clone()),
        };
        let client_id = format!("{by}-{}", algorithm.as_str());
        let mut settings = Settings::new(url(issuer), client_id, authentication, url(REDIRECT));
        settings.scopes = ["profile", "groups", "email"].map(str::to_owned).into();
        settings.signed_by = algorithm;
        settings
    }
}

#[tokio::test]
async fn a_person_logs_in_at_a_provider_of_others() {
    let registered = registered();
    let process = Process::start(&registered.registrations);
    let issuer = process.issuer.as_str();
    for algorithm in ALGORITHMS {
        for by in ["key", "secret"] {
            let mut settings = registered.settings(issuer, by, algorithm);
            settings.groups_claim = Some("groups".to_owned());
            settings.acr_values.insert("phr".to_owned());
            settings.max_age = Some(Duration::from_mins(5));
            let client = Client::new(settings);
            let who = client.log_in().await.0.unwrap_or_else(|error| panic!("{by}: {error:?}"));
            assert_eq!((who.issuer.as_str(), who.subject.as_str()), (issuer, "carla"));
            let groups = ["approvers", "staff"].map(str::to_owned).into();
            assert_eq!(who.groups, Some(groups));
            assert_eq!((who.acr.as_deref(), who.name.as_deref()), (Some("phr"), Some("Carla")));
            assert_eq!(who.amr, ["hwk", "user"].map(str::to_owned).into());
            let meanwhile = client.clock.now().as_seconds()..=real_ms() / 1_000;
            assert!(who.auth_time.is_some_and(|at| meanwhile.contains(&at.as_seconds())));
            assert!(!format!("{who:?}").contains("example.com"));
        }
    }
}

#[tokio::test]
async fn what_the_provider_refuses_is_no_login() {
    let registered = registered();
    let process = Process::start(&registered.registrations);
    let settings = |by| registered.settings(&process.issuer, by, SignatureAlgorithm::Rs256);
    let client = Client::new(settings("key"));
    let (who, code) = client.log_in().await;
    assert_eq!(who.unwrap().groups, None);

    // The same code once more, in a login of its own.
    let Begun { redirect, state } =
        client.login.begin(home(), None, Prompt::AsNeeded).await.unwrap();
    let issuer = format!("&iss={}", process.issuer);
    let query = Browser::new().follow(&redirect).await;
    let given: String = query.split('&').filter(|pair| pair.starts_with("state=")).collect();
    let again = client.login.finish(state, &format!("code={code}&{given}{issuer}")).await;
    let again = again.unwrap_err();
    let expected = "the provider gave no token for the code: invalid_grant";
    assert_eq!((again.code(), again.to_string().as_str()), ("code_not_exchanged", expected));

    // This provider says that it names itself in answers (RFC 9207): one that does not is not its.
    let Begun { redirect, state } =
        client.login.begin(home(), None, Prompt::AsNeeded).await.unwrap();
    let query = Browser::new().follow(&redirect).await;
    let unnamed = query.split('&').filter(|pair| !pair.starts_with("iss="));
    let unnamed = unnamed.collect::<Vec<_>>().join("&");
    assert_ne!(unnamed, query);
    let refused = client.login.finish(state, &unnamed).await;
    assert_eq!(refused.unwrap_err().code(), "issuer_mismatch");

    // The person says no.
    let Begun { redirect, state } =
        client.login.begin(home(), None, Prompt::AsNeeded).await.unwrap();
    let query = Browser::new().follow(&format!("{redirect}&login_hint=nobody")).await;
    let refused = client.login.finish(state, &query).await.unwrap_err();
    assert_eq!(refused.to_string(), "the provider did not log the person in: access_denied");

    // Another key than the one that is registered is not us.
    let mut impostor = settings("key");
    let other = SigningKey::generate(KeyAlgorithm::Es256).unwrap();
    impostor.authentication = ClientAuthentication::PrivateKeyJwt(Arc::new(other));
    let refused = Client::new(impostor).log_in().await.0.unwrap_err();
    let expected = "the provider gave no token for the code: invalid_client";
    assert_eq!(refused.to_string(), expected);

    // A provider that signs otherwise than the operator said.
    let mut surprised = settings("key");
    surprised.signed_by = SignatureAlgorithm::Es256;
    let refused = Client::new(surprised).log_in().await.0.unwrap_err();
    assert_eq!(refused.code(), "id_token_invalid");
}

#[tokio::test]
async fn a_session_follows_a_login() {
    let registered = registered();
    let process = Process::start(&registered.registrations);
    let settings = registered.settings(&process.issuer, "secret", SignatureAlgorithm::Rs256);
    let client = Client::new(settings);
    let who = client.log_in().await.0.unwrap();
    let clock = Arc::<ManualClock>::clone(&client.clock);
    let sessions = Sessions::new(clock, Arc::new(SeededEntropy::new(5)));
    let id = sessions.begin(who.clone()).unwrap();
    let cookies = Cookies::of(&url(REDIRECT));
    let set = cookies.set_session(&id);
    let (pair, _) = set.to_str().unwrap().split_once(';').unwrap();
    let headers: HeaderMap = [(COOKIE, HeaderValue::from_str(pair).unwrap())].into_iter().collect();
    let shown = cookies.session(&headers).unwrap();
    let session = sessions.confirm(&shown, &sessions.csrf_token(&id)).unwrap();
    assert_eq!(*session.who, who);
    sessions.end(&shown);
    assert!(sessions.find(&shown).is_err());
}
