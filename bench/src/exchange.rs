//! `exchange`: a token exchange with its records, against the cryptography that it cannot do without.
//!
//! The holder's assertion, proof and token are verified, and the other agent's actor token and proof;
//! the new token is signed. Beside it the same verifications and the same signature alone.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use keys::{KeyAlgorithm, SigningKey, TokenKeys};
use model::{Clock as _, Entropy as _, FactKey};
use oauth::access_token::{self, AccessTokenClaims};
use oauth::dpop::{self, DpopExpect};
use oauth::nonces::Nonces;
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
pub(crate) struct Shown {
    assertion: String,
    pub(crate) proof: String,
    actor: String,
    actor_proof: String,
    pub(crate) form: String,
}

/// Who hands on to whom, and where.
pub(crate) struct Parties<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) resource: &'a str,
    /// The agent that hands on, with its key, and the one that is handed on to.
    pub(crate) lead: (&'a str, &'a SigningKey),
    pub(crate) hand: (&'a str, &'a SigningKey),
    /// The key of the holder, and its token.
    pub(crate) holder: &'a SigningKey,
    pub(crate) token: &'a str,
    /// What is handed on (RFC 9396), if that is to be said.
    pub(crate) task: Option<String>,
}

impl Parties<'_> {
    /// One exchange, for an instance of its own, at `now` in seconds since the epoch.
    pub(crate) fn shown(&self, now: i64) -> anyhow::Result<Shown> {
        let (worker, endpoint) = (key()?, format!("{}/oauth/token", self.issuer));
        let jkt = worker.verifying().thumbprint_text();
        let ((lead, lead_key), (hand, hand_key)) = (self.lead, self.hand);
        let assertion = client_assertion::make((lead, self.issuer), lead_key, now, &jti())?;
        let actor = exchange::make_actor((hand, lead, self.issuer), hand_key, &jkt, (now, &jti()))?;
        let actor_proof = proof(&worker, &endpoint, now)?;
        let mut fields = vec![
            ("grant_type", exchange::GRANT_TYPE),
            ("client_id", lead),
            ("client_assertion_type", client_assertion::TYPE),
            ("client_assertion", &assertion),
            ("resource", self.resource),
            ("subject_token", self.token),
            ("subject_token_type", exchange::ACCESS_TOKEN),
            ("actor_token", &actor),
            ("actor_token_type", exchange::JWT),
            ("actor_proof", &actor_proof),
        ];
        fields.extend(self.task.iter().map(|task| ("authorization_details", task.as_str())));
        let form = form::form(&fields);
        Ok(Shown {
            assertion,
            proof: proof(self.holder, &endpoint, now)?,
            actor,
            actor_proof,
            form,
        })
    }
}

/// The holder, and the agent that work is handed on to.
struct Bench {
    house: House,
    service: TokenService,
    keys: Arc<TokenKeys>,
    lead: SigningKey,
    holder: SigningKey,
    hand: SigningKey,
    token: String,
    claims: AccessTokenClaims,
}

pub(crate) fn key() -> anyhow::Result<SigningKey> {
    Ok(SigningKey::generate(KeyAlgorithm::Es256)?)
}

pub(crate) fn jti() -> String {
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
        let (lead, holder, hand) = (key()?, key()?, key()?);
        let house = House::open(dir, lead.verifying().to_jwk()).await?;
        let agent = house.agent("hand", hand.verifying().to_jwk());
        house.put(vec![put(FactKey::agent(&agent.name), &agent)]).await?;
        let keys = Arc::new(TokenKeys::new(Arc::new(key()?), Vec::new()));
        let authority = house.authority.clone();
        let nonces = Arc::new(Nonces::new(&[0; 32]));
        let service = TokenService::new(authority, ISSUER.to_owned(), (keys.clone(), nonces));
        let now = house.clock.now().as_seconds();
        let assertion = client_assertion::make(("lead", ISSUER), &lead, now, &jti())?;
        let proof = proof(&holder, &endpoint(), now)?;
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
        Ok(Self { house, service, keys, lead, holder, hand, token, claims })
    }

    fn now(&self) -> i64 {
        self.house.clock.now().as_seconds()
    }

    fn shown(&self) -> anyhow::Result<Shown> {
        let task = json!([{
            "type": "agent_task", "purpose": "support", "tools": [format!("{SERVER}/tool-0")],
            "until": self.now() + 600,
        }]);
        let parties = Parties {
            issuer: ISSUER,
            resource: &resource(),
            lead: ("lead", &self.lead),
            hand: ("hand", &self.hand),
            holder: &self.holder,
            token: &self.token,
            task: Some(task.to_string()),
        };
        parties.shown(self.now())
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
        Ok(each(cpu()?.saturating_sub(before), all.len()))
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
            exchange::verify_actor(&shown.actor, ("hand", "lead", ISSUER), hand, now)?;
            dpop::verify_proof(&shown.actor_proof, &expect(&url, now, 60))?;
            black_box(access_token::mint(&self.claims, self.keys.signer().as_ref())?);
        }
        Ok(each(cpu()?.saturating_sub(before), all.len()))
    }
}

fn expect(url: &str, now: i64, max_skew_s: i64) -> DpopExpect<'_> {
    DpopExpect { method: "POST", url, access_token: None, now, max_skew_s }
}

/// A proof of possession for `endpoint`.
pub(crate) fn proof(key: &SigningKey, endpoint: &str, now: i64) -> anyhow::Result<String> {
    Ok(dpop::make_proof(key, &expect(endpoint, now, 0), (&jti(), None))?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_measured_is_an_exchange() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let bench = Bench::open(dir.path()).await.expect("the holder has a token");
        let shown = vec![bench.shown().expect("it can be made")];
        bench.exchanges(&shown).await.expect("it is exchanged");
        bench.verifications(&shown).expect("everything holds");
    }
}
