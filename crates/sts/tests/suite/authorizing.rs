//! A client that is known by its document, and Carla, who authorizes it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use authority::{Effect, Unit};
use https_url::HttpsUrl;
use keys::SigningKey;
use model::{
    Agreed, Clock as _, Code, Consent, ConsentId, ConsentState, FactKey, Mandate, MandateBasis,
    MandateId, Person, PersonId, RegisteredClient, Sha256Digest, Task, TaskState,
};
use oauth::access_token::AccessTokenClaims;
use oauth::token_endpoint::TokenResponse;
use oauth::{ErrorCode, OAuthError};
use serde_json::{Value, json};
use store::Store as _;
use sts::{Documents, NotAuthorized, TokenHttpRequest};

use crate::RESOURCE;
use crate::client::{Sts, key};

pub(crate) const CLIENT: &str = "https://client.example/oauth.json";
pub(crate) const REDIRECT: &str = "http://127.0.0.1:51004/cb";

/// The example of RFC 7636 appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The document of the client, and how often it was fetched.
#[derive(Default)]
pub(crate) struct Published {
    pub(crate) fetched: AtomicUsize,
    /// What it says beside the usual.
    more: Value,
}

#[async_trait]
impl Documents for Published {
    async fn fetch(&self, url: &HttpsUrl) -> Result<Value, String> {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        let mut document = json!({
            "client_id": url.as_str(),
            "client_name": "A client",
            "redirect_uris": ["http://127.0.0.1/cb", "https://client.example/cb"],
            "token_endpoint_auth_method": "none",
        });
        for (name, value) in self.more.as_object().into_iter().flatten() {
            document[name] = value.clone();
        }
        Ok(document)
    }
}

pub(crate) struct Stage {
    pub(crate) sts: Sts,
    pub(crate) published: Arc<Published>,
}

/// What came of a request for a token.
pub(crate) type Answer = Result<TokenResponse, OAuthError>;

pub(crate) fn carla() -> PersonId {
    "carla".parse().expect("a person")
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::of(true, Value::Null).await
    }

    /// The deployment with the person `carla`, and a client that may use `bearer` tokens and says `more`
    /// of itself.
    pub(crate) async fn of(bearer: bool, more: Value) -> Self {
        let published = Arc::new(Published { more, ..Published::default() });
        let documents = published.clone();
        let change = |facts: &mut crate::support::Facts| {
            let (id, since) = (CLIENT.to_owned(), facts.agent.registered);
            facts.agent.client = Some(RegisteredClient { id, bearer, since });
        };
        let sts = Sts::served(change, |service, _| service.with_clients(documents)).await;
        let carla = Person::new(carla(), BTreeSet::new());
        let data_key = sts.world.journal.sealer().new_data_key(&carla.id);
        let effects = vec![Effect::Put { key: data_key.key, body: data_key.body }];
        sts.world.store.commit(Unit { effects, ..Unit::default() }).await.expect("it commits");
        sts.world.put(FactKey::person(&carla.id), &carla).await;
        sts.world.put(FactKey::client(CLIENT), &sts.world.standing.agent.name).await;
        Self { sts, published }
    }

    pub(crate) fn http<'a>(&self, form: &'a str, dpop: Option<&'a str>) -> TokenHttpRequest<'a> {
        let arrived = self.sts.world.clock.monotonic();
        TokenHttpRequest { form: form.as_bytes(), dpop, from: None, client: None, arrived }
    }

    /// What is asked of Carla by the authorization request with `change`.
    pub(crate) async fn ask(&self, change: &[(&str, &str)]) -> Result<ConsentId, NotAuthorized> {
        let right = [
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("redirect_uri", REDIRECT),
            ("state", "a state"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("resource", RESOURCE),
        ];
        let query = changed(&right, change);
        let http = self.http(&query, None);
        let authorizing = self.sts.service.authorizing(http).await.map_err(NotAuthorized::Told)?;
        self.sts.service.ask(http, authorizing, &carla()).await
    }

    /// Carla consents to what was asked; gives the code.
    pub(crate) async fn consent(&self, id: ConsentId) -> (String, Mandate) {
        let world = &self.sts.world;
        let mut asked: Consent = self.sts.fact(FactKey::consent(id)).await;
        let now = world.clock.now();
        let request = Sha256Digest::of(b"what she was shown");
        let Consent { resources, delegable, .. } = asked.clone();
        let agreed = Agreed { resources, delegable, ..Agreed::default() };
        let mandate = Mandate {
            id: MandateId::new(now, world.entropy.as_ref()),
            basis: MandateBasis::Consented {
                subject: carla(),
                request,
                once: true,
                agreed,
                session: None,
            },
            agent: asked.agent.clone(),
            purpose: asked.purpose.clone(),
            scope: asked.scope.clone(),
            given: now,
            valid_until: asked.until,
            withdrawn: None,
        };
        asked.state = ConsentState::Given { mandate: mandate.id };
        let code = format!("{id}.what nobody can guess");
        let digest = Sha256Digest::of(code.as_bytes());
        let sent = asked.client.as_mut().expect("a client asks");
        sent.code = Some(Code { digest, expires: now.plus(Duration::from_mins(1)) });
        world.put(FactKey::mandate(mandate.id), &mandate).await;
        world.put(FactKey::consent(id), &asked).await;
        (code, mandate)
    }

    /// A code that Carla came back with.
    pub(crate) async fn code(&self) -> String {
        let id = self.ask(&[]).await.expect("it is asked");
        self.consent(id).await.0
    }

    pub(crate) async fn redeem(
        &self,
        code: &str,
        change: &[(&str, &str)],
        key: Option<&SigningKey>,
    ) -> Answer {
        let right = [
            ("grant_type", "authorization_code"),
            ("client_id", CLIENT),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
            ("resource", RESOURCE),
        ];
        self.send(&changed(&right, change), key).await
    }

    pub(crate) async fn refresh(
        &self,
        token: &str,
        change: &[(&str, &str)],
        key: Option<&SigningKey>,
    ) -> Answer {
        let right =
            [("grant_type", "refresh_token"), ("client_id", CLIENT), ("refresh_token", token)];
        self.send(&changed(&right, change), key).await
    }

    async fn send(&self, form: &str, key: Option<&SigningKey>) -> Answer {
        let proof = key.map(|key| self.sts.proof(key, &self.sts.jti()));
        self.sts.service.token(self.http(form, proof.as_deref())).await
    }

    /// An administrator takes the client back, and says it anew.
    pub(crate) async fn client_said_anew(&self) {
        let world = &self.sts.world;
        world.clock.advance(Duration::from_secs(1));
        let mut agent = world.standing.agent.clone();
        let client = agent.client.as_mut().expect("it has a client");
        client.since = world.clock.now();
        world.put(FactKey::agent(&agent.name), &agent).await;
    }

    /// What the agent's own key is told of `token`.
    pub(crate) async fn introspected(&self, token: &str) -> Value {
        let request = self.sts.request(&key()).with("token", token);
        let all: Vec<_> =
            request.parameters.iter().map(|(name, it)| (*name, it.as_str())).collect();
        let form = oauth::form::form(&all);
        self.sts.service.introspect(self.http(&form, None)).await.expect("it is answered")
    }

    /// A first token, with the code that it was redeemed for.
    pub(crate) async fn begun(&self) -> (TokenResponse, String) {
        let code = self.code().await;
        (self.redeem(&code, &[], None).await.expect("it holds"), code)
    }

    pub(crate) async fn task(&self, claims: &AccessTokenClaims) -> Task {
        let id = claims.authorization_details[0].task.parse().expect("an id");
        self.sts.fact(FactKey::task(id)).await
    }

    /// That all that came of `claims` has ended, and is found.
    pub(crate) async fn has_ended(&self, claims: &AccessTokenClaims, signal: &str) {
        let task = self.task(claims).await;
        assert!(matches!(task.state, TaskState::Ended { .. }), "{task:?}");
        let mandate: Mandate = self.sts.fact(FactKey::mandate(task.mandate)).await;
        assert_eq!(mandate.withdrawn.map(|it| it.reason).as_deref(), Some(signal));
        let signals = self.sts.world.records("signal").await;
        let told: Vec<_> = signals.iter().map(|it| it.text_of("signal").to_owned()).collect();
        assert_eq!(told, [signal]);
    }
}

/// `all` with other values; without what is left empty.
pub(crate) fn changed(all: &[(&str, &str)], change: &[(&str, &str)]) -> String {
    let kept = all.iter().filter(|(name, _)| change.iter().all(|(other, _)| name != other));
    let both: Vec<_> = kept.chain(change).copied().collect();
    oauth::form::form(&both)
}

pub(crate) fn refresh_of(response: &TokenResponse) -> &str {
    response.refresh_token.as_deref().expect("one comes with it")
}

pub(crate) fn code_of(answer: Answer) -> Option<ErrorCode> {
    answer.err().map(|error| error.code)
}
