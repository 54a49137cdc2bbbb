//! A client of the token endpoint: an agent's key, any number of instances, and every way to get a
//! request wrong.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use authority::{Effect, Unit};
use keys::{KeyAlgorithm, Signer, SigningKey, TokenKeys};
use model::{Clock as _, FactKey};
use oauth::access_token::{self, AccessTokenClaims};
use oauth::dpop::{self, DpopExpect};
use oauth::nonces::Nonces;
use oauth::token_endpoint::{Next, TokenResponse};
use oauth::{OAuthError, client_assertion};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use store::Store as _;
use sts::{TokenHttpRequest, TokenService};

use crate::devices::{enrolment, shown};
use crate::support::{Facts, World};
use crate::{ISSUER, RESOURCE};

/// The deployment with its token service, and the key of its agent.
pub(crate) struct Sts {
    pub(crate) world: World,
    pub(crate) service: Arc<TokenService>,
    pub(crate) agent_key: Arc<SigningKey>,
    keys: Arc<TokenKeys>,
    serial: AtomicU64,
    /// The last token of each key, with the nonce that came with it.
    last: Mutex<BTreeMap<String, Next>>,
    /// The devices that vouch for instances, by the key of each.
    devices: Mutex<BTreeMap<String, Arc<SigningKey>>>,
}

/// One request, before it is sent: change what is to be wrong.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) parameters: Vec<(&'static str, String)>,
    pub(crate) proof: Option<String>,
    pub(crate) from: Option<IpAddr>,
    /// The key whose token is asked for.
    key: String,
}

impl Request {
    /// The same with another value of `name`; without it if the value is empty.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.parameters.retain(|(known, _)| *known != name);
        if !value.is_empty() {
            self.parameters.push((name, value.to_owned()));
        }
        self
    }

    /// The same with `name` once more.
    pub(crate) fn and(mut self, name: &'static str, value: &str) -> Self {
        self.parameters.push((name, value.to_owned()));
        self
    }

    /// The same by a client that knows nothing of the chain of tokens.
    pub(crate) fn unchained(self) -> Self {
        let all = ["attempt", "previous_jti", "renewal_nonce"];
        all.into_iter().fold(self, |request, name| request.with(name, ""))
    }

    /// The same, following the token that `next` came with.
    pub(crate) fn following(self, next: &Next) -> Self {
        self.with("previous_jti", &next.jti).with("renewal_nonce", &next.renewal_nonce)
    }

    /// The same from another address.
    pub(crate) fn from(mut self, address: &str) -> Self {
        self.from = Some(address.parse().expect("an address"));
        self
    }

    pub(crate) fn proved_by(mut self, proof: String) -> Self {
        self.proof = Some(proof);
        self
    }
}

pub(crate) fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::generate(KeyAlgorithm::Es256).expect("a key"))
}

impl Sts {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The deployment with other facts than usual.
    pub(crate) async fn with(change: impl FnOnce(&mut Facts)) -> Self {
        Self::served(change, |service, _| service).await
    }

    /// The deployment with other facts and another service than usual.
    pub(crate) async fn served(
        change: impl FnOnce(&mut Facts),
        serve: impl FnOnce(TokenService, &World) -> TokenService,
    ) -> Self {
        let agent_key = key();
        let jwk = agent_key.verifying().to_jwk();
        let world = World::with(|facts| {
            facts.agent.key = jwk;
            change(facts);
        })
        .await;
        let keys = Arc::new(TokenKeys::new(key(), Vec::new()));
        let authority = world.authority.clone();
        let nonces = Arc::new(Nonces::new(&[1; 32]));
        let service = TokenService::new(authority, ISSUER.to_owned(), (keys.clone(), nonces));
        let service = service.with_consent_at("https://people.example".to_owned());
        let service = Arc::new(serve(service, &world));
        let (last, devices) = (Mutex::default(), Mutex::default());
        Self { world, service, agent_key, keys, serial: AtomicU64::new(0), last, devices }
    }

    pub(crate) fn jti(&self) -> String {
        format!("jti-{}", self.serial.fetch_add(1, Ordering::Relaxed))
    }

    fn now(&self) -> i64 {
        self.world.clock.now().as_seconds()
    }

    /// What the agent asserts of itself, to be changed before it is signed.
    pub(crate) fn claims(&self) -> Value {
        self.claims_of("billing")
    }

    fn claims_of(&self, agent: &str) -> Value {
        let now = self.now();
        json!({
            "iss": agent, "sub": agent, "aud": ISSUER, "iat": now, "exp": now + 60,
            "jti": self.jti(),
        })
    }

    pub(crate) fn proof(&self, key: &SigningKey, jti: &str) -> String {
        self.proof_at("/oauth/token", (key, jti))
    }

    /// A proof for a request to `path`.
    pub(crate) fn proof_at(&self, path: &str, by: (&SigningKey, &str)) -> String {
        self.proof_with(None, (path, by))
    }

    /// A proof with `nonce` for a request to `path`.
    pub(crate) fn proof_with(
        &self,
        nonce: Option<&str>,
        (path, (key, jti)): (&str, (&SigningKey, &str)),
    ) -> String {
        let url = format!("{ISSUER}{path}");
        let (method, now) = ("POST", self.now());
        let expect = DpopExpect { method, url: &url, access_token: None, now, max_skew_s: 60 };
        dpop::make_proof(key, &expect, (jti, nonce)).expect("it can be signed")
    }

    /// A request of the agent for the instance that holds `key`, with nothing wrong.
    pub(crate) fn request(&self, key: &SigningKey) -> Request {
        self.request_of(("billing", &self.agent_key), key)
    }

    /// A request of another agent for the instance that holds `key`, with nothing wrong.
    pub(crate) fn request_of(
        &self,
        (agent, agent_key): (&str, &SigningKey),
        key: &SigningKey,
    ) -> Request {
        let assertion = assertion(&self.claims_of(agent), agent_key);
        let parameters = vec![
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", agent.to_owned()),
            ("client_assertion_type", client_assertion::TYPE.to_owned()),
            ("client_assertion", assertion),
            ("resource", RESOURCE.to_owned()),
        ];
        let own = key.verifying().thumbprint_text();
        let proof = Some(self.proof(key, &self.jti()));
        let request = Request { parameters, proof, from: None, key: own.clone() };
        let request = match self.devices.lock().unwrap().get(&own) {
            Some(device) => shown(request, &enrolment(self, device, key, agent)),
            None => request,
        };
        let request = request.with("attempt", &format!("attempt-at-a-renewal-{}", self.jti()));
        match self.last.lock().unwrap().get(&own) {
            Some(next) => request.following(next),
            None => request,
        }
    }

    /// From now on the instance that holds `key` shows the word of `device`.
    pub(crate) fn vouched(&self, key: &SigningKey, device: Arc<SigningKey>) {
        let own = key.verifying().thumbprint_text();
        self.devices.lock().unwrap().insert(own, device);
    }

    /// Sends `request`; what comes of it is what the next one of that key follows.
    pub(crate) async fn send(&self, request: Request) -> Result<TokenResponse, OAuthError> {
        let key = request.key.clone();
        let answer = send(&self.service, self.world.clock.as_ref(), request).await;
        if let Some(next) = answer.as_ref().ok().and_then(|answer| answer.next.clone()) {
            self.last.lock().unwrap().insert(key, next);
        }
        answer
    }

    /// A token for the instance that holds `key`.
    pub(crate) async fn token(&self, key: &SigningKey) -> Result<AccessTokenClaims, OAuthError> {
        let response = self.send(self.request(key)).await?;
        Ok(self.verified(&response))
    }

    /// What the token in `response` says, which holds.
    pub(crate) fn verified(&self, response: &TokenResponse) -> AccessTokenClaims {
        let parties = (ISSUER, RESOURCE);
        access_token::verify(&response.access_token, &self.keys, parties, self.now())
            .expect("the token holds")
    }

    /// A token with these claims, as only our own key can sign it.
    pub(crate) fn forged(&self, claims: &AccessTokenClaims) -> String {
        access_token::mint(claims, self.keys.signer().as_ref()).expect("it can be signed")
    }

    /// Adds another agent like the first, with `key`.
    pub(crate) async fn another_agent(&self, name: &str, key: &SigningKey) {
        let standing = &self.world.standing;
        let mut agent = standing.agent.clone();
        agent.name = name.parse().expect("an agent");
        agent.key = key.public().to_jwk();
        let mut mandate = standing.mandate.clone();
        mandate.id = model::MandateId::new(self.world.clock.now(), self.world.entropy.as_ref());
        mandate.agent = agent.name.clone();
        let standing_key = FactKey::standing_mandate(&agent.name, &mandate.purpose);
        self.world.put(FactKey::agent(&agent.name), &agent).await;
        self.world.put(FactKey::mandate(mandate.id), &mandate).await;
        self.world.put(standing_key, &mandate.id).await;
    }

    /// Takes the agent its standing mandate: it works on behalf of people only.
    pub(crate) async fn works_for_people_only(&self) {
        let standing = &self.world.standing;
        let key = FactKey::standing_mandate(&standing.agent.name, &standing.purpose.id);
        let unit = Unit { effects: vec![Effect::Remove { key }], ..Unit::default() };
        self.world.store.commit(unit).await.expect("it commits");
    }

    /// What the register says under `key`.
    pub(crate) async fn fact<T: DeserializeOwned>(&self, key: FactKey) -> T {
        let loaded = self.world.store.load(&[key]).await.expect("it can be read");
        serde_json::from_slice(loaded.bodies[0].as_ref().expect("it is there")).expect("a fact")
    }

    /// The causes of the refusals in the log, in order, once there are `count`.
    pub(crate) async fn causes(&self, count: usize) -> Vec<String> {
        crate::support::until("the refusals are recorded", || async {
            self.world.records("refusal").await.len() >= count
        })
        .await;
        let records = self.world.records("refusal").await;
        records.iter().map(|entry| entry.text_of("cause").to_owned()).collect()
    }
}

/// An agent's assertion with these claims.
pub(crate) fn assertion(claims: &Value, key: &SigningKey) -> String {
    oauth::jws::sign("JWT", claims, key).expect("it can be signed")
}

/// Sends `request` to `service`.
pub(crate) async fn send(
    service: &TokenService,
    clock: &dyn model::Clock,
    request: Request,
) -> Result<TokenResponse, OAuthError> {
    let parameters: Vec<_> =
        request.parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let form = oauth::form::form(&parameters);
    let (form, dpop) = (form.as_bytes(), request.proof.as_deref());
    let (from, arrived) = (request.from, clock.monotonic());
    service.token(TokenHttpRequest { form, dpop, from, client: None, arrived }).await
}
