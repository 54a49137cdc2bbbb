//! `exchange`: a token exchange with its records, against the cryptography that it cannot do without.
//!
//! The holder's assertion, proof and token are verified, and the other agent's actor token and proof;
//! the new token is signed. Beside it the same verifications and the same signature alone. Many
//! exchange at once, as at a service that is in use, each with a holder of its own; and then one alone.

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
use tokio::task::JoinSet;

use crate::house::{House, put};
use crate::machine::{self, SERVER_CORE};
use crate::report::{Goal, Round, Row};
use crate::stats::median;
use crate::workload::SERVER;
use crate::world::Random;

const ROUNDS: usize = 5;

/// How many callers exchange at once.
pub(crate) const CALLERS: usize = 64;

/// How many exchanges each of them makes in a round: one task is handed on ten thousand times at most. A test, which is
/// not optimised, finds out with one whether they are exchanges.
const EACH: usize = if cfg!(test) { 1 } else { 8 };

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
    /// What is handed on (RFC 9396), if that is to be said.
    pub(crate) task: Option<String>,
}

/// Who holds a task.
pub(crate) struct Holder {
    pub(crate) key: SigningKey,
    pub(crate) token: String,
}

impl Parties<'_> {
    /// What a round shows at `now`, in seconds since the epoch: for each of the `holders` its own.
    pub(crate) fn round(&self, holders: &[Holder], now: i64) -> anyhow::Result<Vec<Vec<Shown>>> {
        let own = |holder| (0..EACH).map(|_| self.shown(holder, now)).collect();
        holders.iter().map(own).collect()
    }

    /// One exchange by `holder`, for an instance of its own.
    fn shown(&self, holder: &Holder, now: i64) -> anyhow::Result<Shown> {
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
            ("subject_token", &holder.token),
            ("subject_token_type", exchange::ACCESS_TOKEN),
            ("actor_token", &actor),
            ("actor_token_type", exchange::JWT),
            ("actor_proof", &actor_proof),
        ];
        fields.extend(self.task.iter().map(|task| ("authorization_details", task.as_str())));
        let form = form::form(&fields);
        Ok(Shown {
            assertion,
            proof: proof(&holder.key, &endpoint, now)?,
            actor,
            actor_proof,
            form,
        })
    }
}

/// The holders, and the agent that work is handed on to.
struct Bench {
    house: House,
    service: TokenService,
    keys: Arc<TokenKeys>,
    lead: SigningKey,
    hand: SigningKey,
    holders: Vec<Holder>,
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
        let (lead, hand) = (key()?, key()?);
        let house = House::open(dir, lead.verifying().to_jwk()).await?;
        let agent = house.agent("hand", hand.verifying().to_jwk());
        house.put(vec![put(FactKey::agent(&agent.name), &agent)]).await?;
        let keys = Arc::new(TokenKeys::new(Arc::new(key()?), Vec::new()));
        let authority = house.authority.clone();
        let nonces = Arc::new(Nonces::new(&[0; 32]));
        let service = TokenService::new(authority, ISSUER.to_owned(), (keys.clone(), nonces));
        let mut holders = Vec::with_capacity(CALLERS);
        for _ in 0..CALLERS {
            holders.push(holder(&house, &service, &lead).await?);
        }
        let now = house.clock.now().as_seconds();
        let token = &holders.first().context("nobody holds a token")?.token;
        let claims = access_token::verify(token, &keys, (ISSUER, &resource()), now)?;
        Ok(Self { house, service, keys, lead, hand, holders, claims })
    }

    fn now(&self) -> i64 {
        self.house.clock.now().as_seconds()
    }

    fn round(&self) -> anyhow::Result<Vec<Vec<Shown>>> {
        let task = json!([{
            "type": "agent_task", "purpose": "support", "tools": [format!("{SERVER}/tool-0")],
            "until": self.now() + 600,
        }]);
        let parties = Parties {
            issuer: ISSUER,
            resource: &resource(),
            lead: ("lead", &self.lead),
            hand: ("hand", &self.hand),
            task: Some(task.to_string()),
        };
        parties.round(&self.holders, self.now())
    }

    /// The processor time of one exchange until all of it is on record, in microseconds; each part of
    /// `all` has a caller of its own.
    async fn exchanges(self: &Arc<Self>, all: Vec<Vec<Shown>>) -> anyhow::Result<f64> {
        let times = all.iter().map(Vec::len).sum();
        let (before, mut callers) = (cpu()?, JoinSet::new());
        for own in all {
            let bench = self.clone();
            callers.spawn(async move { bench.caller(&own).await });
        }
        while let Some(done) = callers.join_next().await {
            done??;
        }
        self.house.authority.drained().await;
        Ok(each(cpu()?.saturating_sub(before), times))
    }

    async fn caller(&self, own: &[Shown]) -> anyhow::Result<()> {
        for shown in own {
            let answer = self.service.token(http(&self.house, &shown.form, &shown.proof)).await;
            let answer = answer.context("an exchange is refused")?;
            ensure!(answer.issued_token_type.is_some(), "it is no exchange");
        }
        Ok(())
    }

    /// The processor time of the cryptography alone, in microseconds.
    fn verifications(&self, all: &[Vec<Shown>]) -> anyhow::Result<f64> {
        let (url, resource, now) = (endpoint(), resource(), self.now());
        let (lead, hand) = (self.lead.verifying(), self.hand.verifying());
        let before = cpu()?;
        for (holder, own) in self.holders.iter().zip(all) {
            for shown in own {
                client_assertion::verify(&shown.assertion, ("lead", ISSUER), lead, now)?;
                dpop::verify_proof(&shown.proof, &expect(&url, now, 60))?;
                access_token::verify(&holder.token, &self.keys, (ISSUER, &resource), now)?;
                exchange::verify_actor(&shown.actor, ("hand", "lead", ISSUER), hand, now)?;
                dpop::verify_proof(&shown.actor_proof, &expect(&url, now, 60))?;
                black_box(access_token::mint(&self.claims, self.keys.signer().as_ref())?);
            }
        }
        Ok(each(cpu()?.saturating_sub(before), all.iter().map(Vec::len).sum()))
    }
}

/// A holder of a new root task of `lead`.
async fn holder(
    house: &House,
    service: &TokenService,
    lead: &SigningKey,
) -> anyhow::Result<Holder> {
    let (key, now) = (key()?, house.clock.now().as_seconds());
    let assertion = client_assertion::make(("lead", ISSUER), lead, now, &jti())?;
    let proof = proof(&key, &endpoint(), now)?;
    let form = form::form(&[
        ("grant_type", "client_credentials"),
        ("client_id", "lead"),
        ("client_assertion_type", client_assertion::TYPE),
        ("client_assertion", &assertion),
        ("resource", &resource()),
    ]);
    let given = service.token(http(house, &form, &proof)).await;
    Ok(Holder { key, token: given.context("a holder gets no token")?.access_token })
}

fn http<'a>(house: &House, form: &'a str, proof: &'a str) -> TokenHttpRequest<'a> {
    let (form, dpop, arrived) = (form.as_bytes(), Some(proof), house.clock.monotonic());
    TokenHttpRequest { form, dpop, from: None, client: None, arrived }
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
    let bench = Arc::new(runtime.block_on(Bench::open(dir))?);
    let (mut base, mut alone, mut rounds) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let shown = bench.round()?;
        let least = bench.verifications(&shown)?;
        let value = runtime.block_on(bench.exchanges(shown))?;
        let one_by_one = vec![bench.round()?.into_iter().flatten().collect()];
        let one = runtime.block_on(bench.exchanges(one_by_one))?;
        // The first round is the one in which caches fill.
        if round > 0 {
            base.push(least);
            alone.push(one);
            rounds.push(Round { value, ratio: value / least });
        }
    }
    let (least, alone) = (median(&base), median(&alone));
    let against = format!(
        "its verifications and its signature: {least:.0} µs; one after the other it takes {alone:.0} µs"
    );
    let goal = Goal { ratio_at_most: Some(1.5), ..Goal::default() };
    Ok(Row::new("exchange", "µs of processor", rounds).against(against).wants(goal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_measured_is_an_exchange() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let bench = Arc::new(Bench::open(dir.path()).await.expect("the holders have tokens"));
        let shown = bench.round().expect("it can be made");
        bench.verifications(&shown).expect("everything holds");
        bench.exchanges(shown).await.expect("it is exchanged");
    }
}
