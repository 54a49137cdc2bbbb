//! `exchange`: a token exchange with its records, against the cryptography that it cannot do without.
//!
//! The holder's assertion, proof and token are verified, and the other agent's actor token; the new
//! token is signed. Beside it the same verifications and the same signature alone.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use keys::{KeyAlgorithm, SigningKey, TokenKeys};
use model::{Clock as _, Entropy as _, FactKey};
use oauth::access_token::{self, AccessTokenClaims};
use oauth::dpop::{self, DpopExpect};
use oauth::{client_assertion, exchange, form};
use serde_json::json;
use sts::{TokenHttpRequest, TokenService};

use crate::house::{House, put};
use crate::machine::{self, SERVER_CORE};
use crate::report::{Goal, Round, Row};
use crate::stats::median;
use crate::workload::SERVER;
use crate::world::Random;

const ROUNDS: usize = 5;

/// How many exchanges a round makes.
const EXCHANGES: usize = 500;

const ISSUER: &str = "https://chancery.example";

/// What one exchange shows.
struct Shown {
    assertion: String,
    proof: String,
    actor: String,
    form: String,
}

/// The holder, and the agent that work is handed on to.
struct Bench {
    house: House,
    service: TokenService,
    keys: Arc<TokenKeys>,
    signer: Arc<SigningKey>,
    lead: SigningKey,
    holder: SigningKey,
    hand: SigningKey,
    token: String,
    claims: AccessTokenClaims,
}

fn key() -> anyhow::Result<SigningKey> {
    Ok(SigningKey::generate(KeyAlgorithm::Es256)?)
}

fn jti() -> String {
    let mut bytes = [0; 16];
    Random.fill(&mut bytes);
    keys::base64url(&bytes)
}

fn endpoint() -> String {
    format!("{ISSUER}/oauth/token")
}

fn resource() -> String {
    format!("{ISSUER}/mcp/{SERVER}")
}

impl Bench {
    async fn open(dir: &Path) -> anyhow::Result<Self> {
        let (lead, holder, hand, signer) = (key()?, key()?, key()?, Arc::new(key()?));
        let house = House::open(dir, lead.verifying().to_jwk()).await?;
        let agent = house.agent("hand", hand.verifying().to_jwk());
        house.put(vec![put(FactKey::agent(&agent.name), &agent)]).await?;
        let keys = Arc::new(TokenKeys::new(signer.verifying(), &[]));
        let authority = house.authority.clone();
        let service = TokenService::new(authority, ISSUER.to_owned(), signer.clone(), keys.clone());
        let now = house.clock.now().as_seconds();
        let assertion = client_assertion::make(("lead", ISSUER), &lead, now, &jti())?;
        let proof = proof(&holder, now)?;
        let resource = resource();
        let form = form::form(&[
            ("grant_type", "client_credentials"),
            ("client_id", "lead"),
            ("client_assertion_type", client_assertion::TYPE),
            ("client_assertion", &assertion),
            ("resource", &resource),
        ]);
        let arrived = house.clock.monotonic();
        let http = TokenHttpRequest {
            form: form.as_bytes(),
            dpop: Some(&proof),
            from: None,
            client: None,
            arrived,
        };
        let token = service.token(http).await.context("the holder gets no token")?.access_token;
        let claims = access_token::verify(&token, &keys, (ISSUER, &resource), now)?;
        Ok(Self { house, service, keys, signer, lead, holder, hand, token, claims })
    }

    fn now(&self) -> i64 {
        self.house.clock.now().as_seconds()
    }

    fn shown(&self) -> anyhow::Result<Shown> {
        let (now, jkt) = (self.now(), key()?.verifying().thumbprint_text());
        let assertion = client_assertion::make(("lead", ISSUER), &self.lead, now, &jti())?;
        let actor = exchange::make_actor(("hand", ISSUER), &self.hand, &jkt, (now, &jti()))?;
        let task = json!([{
            "type": "agent_task", "purpose": "support", "tools": [format!("{SERVER}/tool-0")],
            "until": now + 600,
        }]);
        let form = form::form(&[
            ("grant_type", exchange::GRANT_TYPE),
            ("client_id", "lead"),
            ("client_assertion_type", client_assertion::TYPE),
            ("client_assertion", &assertion),
            ("resource", &resource()),
            ("subject_token", &self.token),
            ("subject_token_type", exchange::ACCESS_TOKEN),
            ("actor_token", &actor),
            ("actor_token_type", exchange::JWT),
            ("authorization_details", &task.to_string()),
        ]);
        Ok(Shown { assertion, proof: proof(&self.holder, now)?, actor, form })
    }

    /// The processor time of one exchange, in microseconds.
    async fn exchanges(&self, all: &[Shown]) -> anyhow::Result<f64> {
        let before = cpu()?;
        for shown in all {
            let http = TokenHttpRequest {
                form: shown.form.as_bytes(),
                dpop: Some(&shown.proof),
                from: None,
                client: None,
                arrived: self.house.clock.monotonic(),
            };
            let answer = self.service.token(http).await.context("an exchange is refused")?;
            ensure!(answer.issued_token_type.is_some(), "it is no exchange");
        }
        Ok(each(cpu()? - before, all.len()))
    }

    /// The processor time of the cryptography alone, in microseconds.
    fn verifications(&self, all: &[Shown]) -> anyhow::Result<f64> {
        let (url, resource, now) = (endpoint(), resource(), self.now());
        let (lead, hand) = (self.lead.verifying(), self.hand.verifying());
        let before = cpu()?;
        for shown in all {
            client_assertion::verify(&shown.assertion, ("lead", ISSUER), lead, now)?;
            dpop::verify_proof(&shown.proof, &expect(&url, now, 60))?;
            access_token::verify(&self.token, &self.keys, (ISSUER, &resource), now)?;
            exchange::verify_actor(&shown.actor, ("hand", ISSUER), hand, now)?;
            black_box(access_token::mint(&self.claims, self.signer.as_ref())?);
        }
        Ok(each(cpu()? - before, all.len()))
    }
}

fn expect(url: &str, now: i64, max_skew_s: i64) -> DpopExpect<'_> {
    DpopExpect { method: "POST", url, access_token: None, now, max_skew_s }
}

fn proof(key: &SigningKey, now: i64) -> anyhow::Result<String> {
    Ok(dpop::make_proof(key, &expect(&endpoint(), now, 0), (&jti(), None))?)
}

fn cpu() -> anyhow::Result<Duration> {
    machine::cpu_time(std::process::id())
}

fn each(all: Duration, times: usize) -> f64 {
    all.as_secs_f64() * 1e6 / f64::from(u32::try_from(times).unwrap_or(u32::MAX))
}

/// Measures the row.
pub(crate) fn measure(dir: &Path) -> anyhow::Result<Row> {
    machine::pin(SERVER_CORE)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let bench = runtime.block_on(Bench::open(dir))?;
    let (mut base, mut rounds) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let shown: Vec<_> = (0..EXCHANGES).map(|_| bench.shown()).collect::<Result<_, _>>()?;
        let value = runtime.block_on(bench.exchanges(&shown))?;
        let least = bench.verifications(&shown)?;
        // The first round is the one in which caches fill.
        if round > 0 {
            base.push(least);
            rounds.push(Round { value, ratio: value / least });
        }
    }
    let against = format!("its verifications and its signature: {:.0} µs", median(&base));
    let goal = Goal { ratio_at_most: Some(1.5), ..Goal::default() };
    Ok(Row::new("exchange", "µs of processor", rounds).against(against).wants(goal))
}
