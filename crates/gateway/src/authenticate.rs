//! Who calls: from the token and the proof in the headers, and from nothing else.
//!
//! A token is checked once and then known by its digest until it expires; the proof of possession
//! (RFC 9449) is checked with every request and used up by it: in memory, so that a replay reaches
//! no server, and where something is decided, in that decision's commit. Where nothing is decided,
//! it must for one proof window after a start carry a nonce of this boot.

use std::sync::Arc;
use std::time::Duration;

use authority::Effect;
use authority::OnceScope;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use keys::TokenKeys;
use model::{AgentName, Clock, InstanceId, Timestamp};
use moka::sync::Cache;
use oauth::access_token::{self, AccessTokenClaims, Actor};
use oauth::dpop::{self, DpopExpect, VerifiedProof};
use sha2::{Digest as _, Sha256};

use crate::proofs::{PROOF_WINDOW, PROOFS_MAX, Proofs, Seen};
use crate::refusal::Refusal;

/// The most tokens that are known by their digest at once.
const TOKENS_KNOWN_MAX: u64 = 100_000;

/// How far a proof's `iat` may be off, in seconds.
const PROOF_SKEW_S: i64 = 60;

/// The longest header that says who calls, in bytes; nothing is hashed or parsed beyond.
const HEADER_MAX: usize = oauth::jws::TOKEN_MAX + 16;

/// Who calls, as far as the headers prove it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The instance.
    pub instance: InstanceId,
    /// The agent that it is an execution of.
    pub agent: AgentName,
    /// On whose account: the person's, or that of the instance that began the work.
    pub sub: String,
    /// Who acts, if that is another, and before it those who handed the work on.
    pub act: Option<Actor>,
    /// The proof that was shown.
    pub proof: VerifiedProof,
    /// The digest by which the proof is used up.
    once: [u8; 32],
}

impl Caller {
    /// What a decision for this caller uses up.
    pub(crate) fn uses(&self) -> Effect {
        let expires = Timestamp::from_seconds(self.proof.iat.saturating_add(2 * PROOF_SKEW_S));
        Effect::UseOnce { scope: OnceScope::Proof, id: self.once, expires }
    }
}

fn once(proof: &VerifiedProof) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(proof.thumbprint);
    hash.update(proof.jti.as_bytes());
    hash.finalize().into()
}

/// A token that was verified.
struct Known {
    claims: AccessTokenClaims,
    /// By the keys of which era.
    era: u64,
}

/// Checks tokens and proofs.
pub struct Tokens {
    /// The issuer whose tokens are good here: ourselves.
    pub issuer: String,
    keys: Arc<TokenKeys>,
    clock: Arc<dyn Clock>,
    started: Duration,
    boot_nonce: String,
    known: Cache<[u8; 32], Arc<Known>>,
    proofs: Proofs,
}

impl Tokens {
    /// Checks tokens that `issuer` signed with `keys`; `boot_nonce` is unpredictable and new.
    pub fn new(
        issuer: String,
        keys: Arc<TokenKeys>,
        clock: Arc<dyn Clock>,
        boot_nonce: String,
    ) -> Self {
        let started = clock.monotonic();
        let known = Cache::new(TOKENS_KNOWN_MAX);
        let proofs = Proofs::new(PROOFS_MAX);
        Self { issuer, keys, clock, started, boot_nonce, known, proofs }
    }

    /// The agent whose token the headers show, if the token is known. Nothing is proven by it: it
    /// says whose share of our time the request takes.
    pub(crate) fn claimed(&self, headers: &HeaderMap) -> Option<AgentName> {
        let token = bearer(headers).ok()?;
        let digest: [u8; 32] = Sha256::digest(token).into();
        let known = self.known.get(&digest)?;
        let is_over = known.claims.exp <= self.clock.now().as_seconds();
        if is_over { None } else { known.claims.client_id.parse().ok() }
    }

    /// Authenticates a request for `method` on `url`, which is also the token's audience.
    pub(crate) fn authenticate(
        &self,
        headers: &HeaderMap,
        method: &str,
        url: &str,
    ) -> Result<Caller, Refusal> {
        let refuse = |cause, error| self.unauthenticated(cause, error, url);
        let token = bearer(headers).map_err(|cause| refuse(cause, "invalid_token"))?;
        let known = self.known(token, url).map_err(|cause| refuse(cause, "invalid_token"))?;
        let claims = &known.claims;
        let proof = single(headers, "dpop").map_err(|cause| refuse(cause, "invalid_dpop_proof"))?;
        let expect = DpopExpect {
            method,
            url,
            access_token: Some(token),
            now: self.clock.now().as_seconds(),
            max_skew_s: PROOF_SKEW_S,
        };
        let proof = dpop::verify_proof(proof, &expect)
            .map_err(|_| refuse("proof_invalid", "invalid_dpop_proof"))?;
        if Some(proof.thumbprint) != claims.cnf.thumbprint() {
            return Err(refuse("proof_of_other_key", "invalid_dpop_proof"));
        }
        let instance =
            claims.instance().parse().map_err(|_| refuse("token_invalid", "invalid_token"))?;
        let agent = claims.client_id.parse();
        let agent = agent.map_err(|_| refuse("token_invalid", "invalid_token"))?;
        let (sub, act) = (claims.sub.clone(), claims.act.clone());
        let once = once(&proof);
        Ok(Caller { instance, agent, sub, act, proof, once })
    }

    /// Uses up the proof in memory. Without a decision, whose commit would find a proof of before
    /// the start, a young process demands a nonce of its own.
    pub(crate) fn use_up(
        &self,
        caller: &Caller,
        is_decided: bool,
        url: &str,
    ) -> Result<(), Refusal> {
        let now = self.clock.monotonic();
        let young = now.saturating_sub(self.started) < PROOF_WINDOW;
        let has_nonce = caller.proof.nonce.as_deref() == Some(self.boot_nonce.as_str());
        if young && !is_decided && !has_nonce {
            return Err(self.unauthenticated("nonce_missing", "use_dpop_nonce", url));
        }
        match self.proofs.note(&caller.once, now) {
            Seen::Never => Ok(()),
            Seen::Before => Err(self.replayed(url)),
            Seen::NoRoom => Err(Refusal::TooMany("proofs")),
        }
    }

    /// The refusal of a proof that was used before.
    pub(crate) fn replayed(&self, url: &str) -> Refusal {
        self.unauthenticated("proof_replayed", "invalid_dpop_proof", url)
    }

    fn known(&self, token: &str, audience: &str) -> Result<Arc<Known>, &'static str> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let now = self.clock.now().as_seconds();
        // Read first: keys that are exchanged meanwhile have it verified again.
        let era = self.keys.era();
        let known = if let Some(known) = self.known.get(&digest).filter(|known| known.era == era) {
            known
        } else {
            let keys = self.keys.as_ref();
            let claims = access_token::verify(token, keys, (&self.issuer, audience), now);
            let known = Arc::new(Known { claims: claims.map_err(|_| "token_invalid")?, era });
            self.known.insert(digest, known.clone());
            known
        };
        if known.claims.aud != audience {
            return Err("token_for_other_audience");
        }
        if known.claims.exp <= now {
            self.known.invalidate(&digest);
            return Err("token_expired");
        }
        Ok(known)
    }

    fn unauthenticated(&self, cause: &'static str, error: &str, url: &str) -> Refusal {
        let path = url.strip_prefix(&self.issuer).unwrap_or_default();
        let metadata = format!("{}/.well-known/oauth-protected-resource{path}", self.issuer);
        Refusal::Unauthenticated {
            cause,
            challenge: oauth::challenge(error, Some(&metadata)),
            nonce: Some(self.boot_nonce.clone()),
        }
    }
}

/// The one header of this name, or why there is not exactly one.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, &'static str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if value.len() > HEADER_MAX => Err("header_too_large"),
        (Some(value), None) => value.to_str().map_err(|_| "header_invalid"),
        (None, _) => Err("header_missing"),
        (Some(_), Some(_)) => Err("header_repeated"),
    }
}

/// What an `Authorization` header shows, under whatever scheme.
pub(crate) fn shown(headers: &HeaderMap) -> Option<&str> {
    let (_, token) = single(headers, AUTHORIZATION.as_str()).ok()?.split_once(' ')?;
    Some(token.trim_start())
}

/// The token of an `Authorization: DPoP` header. A bound token under `Bearer` is refused.
fn bearer(headers: &HeaderMap) -> Result<&str, &'static str> {
    let value = single(headers, AUTHORIZATION.as_str())?;
    let (scheme, token) = value.split_once(' ').ok_or("header_invalid")?;
    if scheme.eq_ignore_ascii_case("dpop") { Ok(token.trim_start()) } else { Err("not_dpop") }
}
