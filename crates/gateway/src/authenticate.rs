//! Who calls: from the token and the proof in the headers, and from nothing else.
//!
//! A token is checked once and then known by its digest until it expires; the proof of possession
//! (RFC 9449) is checked with every request that has a bound token, and used up by it: in memory, so
//! that a replay reaches no server, and where something is decided, in that decision's commit. Where
//! nothing is decided, it must for one proof window after a start carry a nonce of this boot.

use std::sync::Arc;
use std::time::Duration;

use authority::{Effect, OnceScope, Refused, ShownToken};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use keys::TokenKeys;
use model::{
    AgentName, Binding, Clock, DecisionId, Denial, InstanceId, MandateDigest, Sha256Digest,
    Thumbprint, Timestamp,
};
use oauth::access_token::{self, AccessTokenClaims, Actor};
use oauth::dpop::{self, DpopExpect};
use oauth::nonces::Nonces;
use oauth::proofs::{self, Proofs, Seen};
use oauth::verified_tokens::VerifiedTokens;

use crate::refusal::Refusal;
use crate::shares::Subject;

/// The most proofs that are remembered from one window; beyond that no proof is taken.
const PROOFS_MAX: usize = 4_000_000;

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
    /// The mandate behind the task that the token belongs to.
    mandate: Option<MandateDigest>,
    /// The token that was shown.
    pub(crate) token: ShownToken,
    /// The proof that was shown; none with a token that is bound to no key.
    proof: Option<Proved>,
    /// By the keys of which era the token was verified.
    era: u64,
}

/// A token of ours in other hands than its instance's.
#[derive(Clone, Debug)]
pub struct OtherHands {
    /// The agent whose it is.
    pub(crate) agent: AgentName,
    /// Its instance.
    pub(crate) instance: InstanceId,
    /// The key that whoever showed it has.
    pub(crate) key: Thumbprint,
}

/// A proof of possession that holds: what a call needs of it for as long as it is under way.
#[derive(Clone, Debug)]
struct Proved {
    /// The digest by which it is used up.
    once: [u8; 32],
    /// When it was made, in seconds since the epoch.
    iat: i64,
    /// The nonce that it carries.
    nonce: Option<String>,
}

impl Caller {
    /// What a decision for this caller uses up.
    pub(crate) fn uses(&self) -> Option<Effect> {
        let Proved { once, iat, .. } = self.proof.as_ref()?;
        let expires = Timestamp::from_seconds(iat.saturating_add(2 * PROOF_SKEW_S));
        Some(Effect::UseOnce { scope: OnceScope::Proof, id: *once, expires })
    }

    /// Who it is, for the record that it was refused.
    pub(crate) fn who(&self) -> Refused {
        Refused {
            agent: Some(self.agent.clone()),
            instance: Some(self.instance),
            mandate: self.mandate,
            details: None,
        }
    }

    /// For whom it works.
    pub(crate) fn subject(&self) -> Subject {
        Subject::of(&self.sub, self.instance)
    }

    /// How the caller's token is bound.
    pub(crate) const fn binding(&self) -> Binding {
        match self.proof {
            Some(_) => Binding::Dpop,
            None => Binding::None,
        }
    }
}

/// Checks tokens and proofs.
pub struct Tokens {
    /// The issuer whose tokens are good here: ourselves.
    pub issuer: String,
    clock: Arc<dyn Clock>,
    started: Duration,
    nonces: Arc<Nonces>,
    /// Whether there are clients that may show a token alone.
    takes_bearer: bool,
    pub(crate) keys: Arc<TokenKeys>,
    pub(crate) verified: Arc<VerifiedTokens>,
    proofs: Proofs,
}

impl Tokens {
    /// Checks tokens that `issuer` signed with `keys`; `nonces` are of this boot.
    pub fn new(
        issuer: String,
        keys: Arc<TokenKeys>,
        clock: Arc<dyn Clock>,
        nonces: Arc<Nonces>,
    ) -> Self {
        let started = clock.monotonic();
        let verified = Arc::new(VerifiedTokens::new(keys.clone()));
        let proofs = Proofs::new(PROOFS_MAX);
        Self { issuer, clock, started, nonces, takes_bearer: false, keys, verified, proofs }
    }

    /// The same, which says that some clients may show a token alone, as far as `takes` says so.
    #[must_use]
    pub fn taking_bearer(self, takes: bool) -> Self {
        Self { takes_bearer: takes, ..self }
    }

    /// The agent whose token the headers show, if the token is known, and for whom it works. Nothing is
    /// proven by it: it says whose share of our time the request takes.
    pub(crate) fn claimed(&self, headers: &HeaderMap) -> Option<(AgentName, Subject)> {
        let (_, token) = presented(headers).ok()?;
        let claims = self.verified.known(token)?;
        if claims.exp <= self.clock.now().as_seconds() {
            return None;
        }
        let (agent, instance) = (claims.client_id.parse().ok()?, claims.instance().parse().ok()?);
        Some((agent, Subject::of(&claims.sub, instance)))
    }

    /// Authenticates a request for `method` on `url`, which is also the token's audience.
    pub(crate) fn authenticate(
        &self,
        headers: &HeaderMap,
        method: &str,
        url: &str,
    ) -> Result<Caller, Refusal> {
        let refuse = |cause, error| self.unauthenticated(cause, error, url);
        // Read first: what is verified by keys that are exchanged meanwhile counts as by the last ones.
        let era = self.keys.era();
        let (scheme, token) = presented(headers).map_err(|cause| refuse(cause, "invalid_token"))?;
        let claims = self.claims(token, url).map_err(|cause| refuse(cause, "invalid_token"))?;
        let proof = match (scheme, claims.bound_to()) {
            (Scheme::Dpop, Some(key)) => {
                Some(self.proved(headers, (method, url), (token, &claims, key))?)
            }
            // One that is bound to no key needs no proof; one beside it would be of nobody knows whom.
            (Scheme::Bearer, None) if !headers.contains_key("dpop") => None,
            (Scheme::Bearer, _) => return Err(refuse("not_dpop", "invalid_token")),
            (Scheme::Dpop, None) => return Err(refuse("not_bound", "invalid_token")),
        };
        let instance =
            claims.instance().parse().map_err(|_| refuse("token_invalid", "invalid_token"))?;
        let agent = claims.client_id.parse();
        let agent = agent.map_err(|_| refuse("token_invalid", "invalid_token"))?;
        let (sub, act) = (claims.sub.clone(), claims.act.clone());
        let mandate = claims.authorization_details.first().and_then(|it| it.mandate.parse().ok());
        let token = ShownToken {
            jti: Sha256Digest::of(claims.jti.as_bytes()),
            issued: Timestamp::from_seconds(claims.iat),
            expires: Timestamp::from_seconds(claims.exp),
        };
        Ok(Caller { instance, agent, sub, act, mandate, token, proof, era })
    }

    /// The proof that whoever shows `token` holds the key that it is bound to.
    fn proved(
        &self,
        headers: &HeaderMap,
        (method, url): (&str, &str),
        (token, claims, key): (&str, &AccessTokenClaims, [u8; 32]),
    ) -> Result<Proved, Refusal> {
        let refuse = |cause| self.unauthenticated(cause, "invalid_dpop_proof", url);
        let proof = single(headers, "dpop").map_err(refuse)?;
        let expect = DpopExpect {
            method,
            url,
            access_token: Some(token),
            now: self.clock.now().as_seconds(),
            max_skew_s: PROOF_SKEW_S,
        };
        let proof = dpop::verify_proof(proof, &expect).map_err(|_| refuse("proof_invalid"))?;
        if proof.thumbprint != key {
            return Err(self.in_other_hands(claims, proof.thumbprint, url));
        }
        Ok(Proved { once: proof.digest(), iat: proof.iat, nonce: proof.nonce })
    }

    /// The refusal of a token that is bound to another key than the one that was proved.
    fn in_other_hands(&self, claims: &AccessTokenClaims, key: [u8; 32], url: &str) -> Refusal {
        let whose = || {
            let (agent, instance) =
                (claims.client_id.parse().ok()?, claims.instance().parse().ok()?);
            Some(Box::new(OtherHands { agent, instance, key: Thumbprint::from_bytes(key) }))
        };
        let (challenge, nonce) = self.challenge("invalid_dpop_proof", url);
        let (cause, other_hands) = ("proof_of_other_key", whose());
        Refusal::Unauthenticated { cause, challenge, nonce, other_hands }
    }

    /// Uses up the proof in memory, if there is one. Without a decision, whose commit would find a proof
    /// of before the start, a young process demands a nonce of its own.
    pub(crate) fn use_up(
        &self,
        caller: &Caller,
        is_decided: bool,
        url: &str,
    ) -> Result<(), Refusal> {
        let Some(Proved { once, nonce, .. }) = &caller.proof else { return Ok(()) };
        let now = self.clock.monotonic();
        let young = now.saturating_sub(self.started) < proofs::WINDOW;
        let seconds = self.clock.now().as_seconds();
        let has_nonce = nonce.as_ref().is_some_and(|it| self.nonces.is_fresh(it, seconds));
        if young && !is_decided && !has_nonce {
            return Err(self.unauthenticated("nonce_missing", "use_dpop_nonce", url));
        }
        match self.proofs.note(once, now) {
            Seen::Never => Ok(()),
            Seen::Before => Err(self.replayed(url)),
            Seen::NoRoom => Err(Refusal::TooMany("proofs")),
        }
    }

    /// Refuses a caller whose token was verified by keys that have turned out since to be in other hands.
    pub(crate) fn counts(&self, caller: &Caller, url: &str) -> Result<(), Refusal> {
        if self.keys.counts(caller.era) {
            return Ok(());
        }
        Err(self.unauthenticated("token_invalid", "invalid_token", url))
    }

    /// The refusal of a proof that was used before.
    pub(crate) fn replayed(&self, url: &str) -> Refusal {
        self.unauthenticated("proof_replayed", "invalid_dpop_proof", url)
    }

    /// The refusal of a token with which it was decided that the act may not happen, and a new one may be good
    /// for it: a client obtains that as it does in place of one that has ended.
    pub(crate) fn token_needed(
        &self,
        (denial, decision): (Box<Denial>, DecisionId),
        url: &str,
    ) -> Refusal {
        let (challenge, nonce) = self.challenge("invalid_token", url);
        Refusal::TokenNeeded { denial, decision, challenge, nonce }
    }

    fn claims(&self, token: &str, audience: &str) -> Result<Arc<AccessTokenClaims>, &'static str> {
        let now = self.clock.now().as_seconds();
        let claims = self
            .verified
            .claims(token, |keys| access_token::verify(token, keys, (&self.issuer, audience), now));
        let claims = claims.map_err(|_| "token_invalid")?;
        if claims.aud != audience {
            return Err("token_for_other_audience");
        }
        if claims.exp <= now {
            self.verified.forget(token);
            return Err("token_expired");
        }
        Ok(claims)
    }

    fn unauthenticated(&self, cause: &'static str, error: &str, url: &str) -> Refusal {
        let (challenge, nonce) = self.challenge(error, url);
        Refusal::Unauthenticated { cause, challenge, nonce, other_hands: None }
    }

    /// What is demanded at `url`, and a fresh nonce.
    fn challenge(&self, error: &str, url: &str) -> (String, Option<String>) {
        let path = url.strip_prefix(&self.issuer).unwrap_or_default();
        let metadata = format!("{}/.well-known/oauth-protected-resource{path}", self.issuer);
        let challenge = match error {
            "invalid_token" if self.takes_bearer => oauth::challenge_of_either,
            _ => oauth::challenge,
        };
        let nonce = self.nonces.at(self.clock.now().as_seconds());
        (challenge(error, Some(&metadata)), Some(nonce))
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

/// How a token is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    /// With a proof of possession (RFC 9449 §7.1).
    Dpop,
    /// Alone (RFC 6750 §2.1).
    Bearer,
}

/// The token of the `Authorization` header, and how it is presented.
fn presented(headers: &HeaderMap) -> Result<(Scheme, &str), &'static str> {
    let value = single(headers, AUTHORIZATION.as_str())?;
    let (scheme, token) = value.split_once(' ').ok_or("header_invalid")?;
    let known = [("dpop", Scheme::Dpop), ("bearer", Scheme::Bearer)];
    let scheme = known.into_iter().find(|(name, _)| scheme.eq_ignore_ascii_case(name));
    scheme.map(|(_, scheme)| (scheme, token.trim_start())).ok_or("not_dpop")
}

#[cfg(test)]
mod tests {
    use keys::{KeyAlgorithm, RetiredKey, SigningKey};
    use testkit::ManualClock;

    use super::*;

    #[test]
    fn a_caller_counts_until_the_keys_were_in_other_hands() {
        let key = || Arc::new(SigningKey::generate(KeyAlgorithm::Es256).expect("a key"));
        let (issuer, first) = ("https://issuer.example".to_owned(), key());
        let keys = Arc::new(TokenKeys::new(first.clone(), Vec::new()));
        let (clock, nonces) = (Arc::new(ManualClock::new()), Arc::new(Nonces::new(&[1; 32])));
        let tokens = Tokens::new(issuer, keys.clone(), clock, nonces);
        let caller = Caller {
            instance: InstanceId::from_bytes([1; 16]),
            agent: "bot".parse().expect("an agent"),
            sub: "somebody".to_owned(),
            act: None,
            mandate: None,
            token: ShownToken {
                jti: Sha256Digest::of(b"its id"),
                issued: Timestamp::from_seconds(0),
                expires: Timestamp::from_seconds(300),
            },
            proof: None,
            era: keys.era(),
        };
        let counts = || tokens.counts(&caller, "https://issuer.example/mcp/crm");
        keys.replace(key(), vec![RetiredKey { key: first.verifying().clone(), until: 3_600 }]);
        assert!(counts().is_ok());
        keys.replace(key(), Vec::new());
        assert!(matches!(counts(), Err(Refusal::Unauthenticated { .. })));
    }
}
