//! The relying party against a provider that says whatever a test wants it to.
#![allow(clippy::disallowed_methods, reason = "tests sign by RSA, which wants randomness")]

mod answers;
mod bounds;
mod groups;
mod hostile;
mod id_tokens;
mod provider;
mod published;
mod sessions;
mod settings;
mod transport;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use keys::{KeyAlgorithm, SigningKey};
use model::Clock as _;
use serde_json::{Value, json};
use testkit::{ManualClock, SeededEntropy};

use crate::{
    Begun, ClientAuthentication, EndpointUrl, LoggedIn, Login, LoginError, LoginState, Prompt,
    Provider, ReturnPath, Settings,
};
use provider::{Key, Scripted};

const ISSUER: &str = "https://id.example";
const CLIENT: &str = "chancery";
const REDIRECT: &str = "https://chancery.example/login/callback";
const ACCESS_TOKEN: &str = "the-access-token";

/// One millisecond less than `bound`.
fn just_before(bound: Duration) -> Duration {
    bound.checked_sub(Duration::from_millis(1)).unwrap()
}

/// Runs what waits for nothing but this process.
fn block_on<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(task)
}

fn url(text: &str) -> EndpointUrl {
    EndpointUrl::parse(text).unwrap()
}

fn home() -> ReturnPath {
    ReturnPath::parse("/approvals?open=1").unwrap()
}

/// Settings with a key of ours and nothing else.
fn settings() -> Settings {
    let key = Arc::new(SigningKey::generate(KeyAlgorithm::Es256).unwrap());
    let authentication = ClientAuthentication::PrivateKeyJwt(key);
    Settings::new(url(ISSUER), CLIENT, authentication, url(REDIRECT))
}

/// A relying party, its provider and their time.
struct World {
    clock: Arc<ManualClock>,
    provider: Arc<Scripted>,
    login: Login,
}

/// A login that was begun, with what the provider was told.
struct Asked {
    state: LoginState,
    told: BTreeMap<String, String>,
}

impl World {
    fn new() -> Self {
        Self::with(settings())
    }

    fn with(settings: Settings) -> Self {
        let clock = Arc::new(ManualClock::new());
        let provider = Arc::new(Scripted::new(settings.signed_by));
        let login = Login::new(
            Provider::new(settings).unwrap(),
            Arc::<Scripted>::clone(&provider),
            Arc::<ManualClock>::clone(&clock),
            Arc::new(SeededEntropy::new(7)),
        );
        Self { clock, provider, login }
    }

    fn now(&self) -> i64 {
        self.clock.now().as_seconds()
    }

    fn begin(&self) -> Result<Asked, LoginError> {
        self.begin_from(None)
    }

    fn begin_from(&self, from: Option<IpAddr>) -> Result<Asked, LoginError> {
        let Begun { redirect, state } = block_on(self.login.begin(home(), from, Prompt::AsNeeded))?;
        let (_, query) = redirect.split_once('?').unwrap();
        let told = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Ok(Asked { state, told })
    }

    /// The claims of an ID token that holds.
    fn claims(&self, asked: &Asked) -> Value {
        json!({
            "iss": ISSUER,
            "sub": "carla-7",
            "aud": CLIENT,
            "iat": self.now(),
            "exp": self.now() + 300,
            "nonce": asked.told["nonce"],
        })
    }

    /// Finishes `asked`, for which the provider has the token of `claims` by its own key.
    fn finish(&self, asked: Asked, claims: &Value) -> Result<LoggedIn, LoginError> {
        let token = Key::of(self.provider.signed_by).sign(&self.provider.header(), claims);
        self.finish_by(asked, &token)
    }

    /// Finishes `asked`, for which the provider has this ID token.
    fn finish_by(&self, asked: Asked, token: &str) -> Result<LoggedIn, LoginError> {
        self.provider.answer_with(token);
        let query = query(&asked);
        let finished = block_on(self.login.finish(asked.state, &query)).map(|(who, _)| who);
        // Whatever went wrong, what is told of it holds nothing that opens anything.
        let told = format!("{finished:?}");
        let secrets = [token, ACCESS_TOKEN, "the-code", &asked.told["nonce"]];
        let secrets = secrets.into_iter().filter(|secret| secret.len() > 6);
        assert!(secrets.into_iter().all(|secret| !told.contains(secret)), "{told}");
        finished
    }

    /// Logs in with the claims that `change` makes of those that hold.
    fn log_in(&self, change: impl FnOnce(&mut Value)) -> Result<LoggedIn, LoginError> {
        let asked = self.begin()?;
        let mut claims = self.claims(&asked);
        change(&mut claims);
        self.finish(asked, &claims)
    }
}

/// The query with which the provider sends the browser back.
fn query(asked: &Asked) -> String {
    crate::url::form(&[("code", "the-code"), ("state", &asked.told["state"])])
}

/// `result` in a word: who, or the code of the error and its causes.
fn told(result: &Result<LoggedIn, LoginError>) -> String {
    match result {
        Ok(who) => who.subject.clone(),
        Err(error) => {
            let source = std::error::Error::source(error);
            source.map_or_else(|| error.code().to_owned(), |why| format!("{}: {why}", error.code()))
        }
    }
}
